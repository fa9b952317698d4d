"""The sets of embeddings that `recipes.py` compares mappings on, each cut into rows to learn from and rows to test."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import datasets, encoders, ops
from c3align.datasets import is_held_out
from c3align.errors import C3AlignError

DATA = Path(os.environ.get("C3ALIGN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
PAIRS = {
    "CLIP, COCO": ("coco-clip-vitb16/features_clip.npy", "coco-clip-vitb16/coco_captions_aligned.json"),
    "ConVIRT": ("convirt/features_convirt.npy", None),
    "CLIP, untrained": ("coco-clip-vitb16/features_clip_random.npy", None),
    "ConVIRT, untrained": ("convirt/features_convirt_random.npy", None),
}
LEAST_ROWS, MOST_ROWS = 20, 20_000  # of a modality
LEAST_OF_A_SCRIPT = 30  # characters of a class

Rows = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Unit rows of texts and of one other modality, and what is known about them.

    Attributes
    ----------
    rows : dict of str to (n_rows, n_dims) float32
    groups : dict of str to (n_rows,) int64
        Rows of one number belong together. Where no pairs are known, every row has a number of its own.
    labels : dict of str to (n_rows,) int64, or empty
        Classes; -1 is none.
    texts : list of str, or None
        What the rows of the texts say.
    held_out : frozenset of int
        Groups that are for the test alone; where there are none, each seed draws its own.
    """

    name: str
    other: str
    rows: dict[str, Rows]
    groups: dict[str, Numbers]
    labels: dict[str, Numbers] = field(default_factory=dict)
    texts: list[str] | None = None
    held_out: frozenset[int] = frozenset()

    @property
    def is_paired(self) -> bool:
        return bool(np.isin(self.groups["text"], self.groups[self.other]).any())

    @property
    def has_prompts(self) -> bool:
        """Whether the texts are one prompt for each class of the other modality."""
        labels = self.labels.get("text", np.zeros(0))
        return 0 < len(set(labels.tolist())) == len(labels) < len(self.rows[self.other])

    def pairs(self, which: dict[str, Numbers]) -> tuple[Numbers, Numbers]:
        """Row numbers of texts and of the other modality that belong together, among the rows `which`."""
        own, others = (self.groups[name][which[name]] for name in ("text", self.other))
        order = np.argsort(others, kind="stable")
        first, last = (np.searchsorted(others[order], own, side) for side in ("left", "right"))
        places = [order[start:stop] for start, stop in zip(first, last)]
        return np.repeat(which["text"], last - first), which[self.other][np.concatenate(places)]


@dataclass(frozen=True, eq=False)
class Cut:
    """Row numbers by modality: to learn statistics from, and to test; groups of the index and of the queries.

    The reader learns from `read_fit`, texts alone, and is scored on pictures of `read_test`.
    """

    fit: dict[str, Numbers]
    test: dict[str, Numbers]
    corpus: Numbers
    queries: Numbers
    read_fit: dict[str, Numbers]
    read_test: dict[str, Numbers]


def cut(found: Embeddings, seed: int) -> Cut:
    """40 % of the groups to learn from, 45 % for the index, 15 % for queries; 75 % to read, and 25 % to be read.

    Held-out groups, where there are some, are the test: three quarters of them the index. Class prompts are all known
    beforehand, and half of the other modality's rows are learned from.
    """
    rng = np.random.default_rng(seed)
    groups = np.unique(np.concatenate([*found.groups.values()]))
    order, held = rng.permutation(groups), np.array(sorted(found.held_out), np.int64)
    if len(held):
        known, tested = groups[~np.isin(groups, held)], rng.permutation(held)
        corpus, queries = np.split(tested, [3 * len(tested) // 4])
        return Cut(*(_of(found, part) for part in (known, held)), corpus, queries, _of(found, known), _of(found, held))
    if found.has_prompts:
        prompts = np.arange(len(found.rows["text"]))
        halves = np.array_split(rng.permutation(len(found.rows[found.other])), 2)
        fit, test = ({"text": prompts, found.other: np.sort(half)} for half in halves)
        return Cut(fit, test, groups[:0], groups[:0], fit, test)
    known, corpus, queries = np.split(order, [2 * len(order) // 5, 17 * len(order) // 20])
    read, tested = np.split(order, [3 * len(order) // 4])
    test = np.concatenate([corpus, queries])
    return Cut(*(_of(found, part) for part in (known, test)), corpus, queries, _of(found, read), _of(found, tested))


def _of(found: Embeddings, groups: Numbers) -> dict[str, Numbers]:
    return {name: np.flatnonzero(np.isin(own, groups)) for name, own in found.groups.items()}


def built_in() -> list[str]:
    """Names of the sets that are at hand."""
    names = ["glyphs", *(name for name, (path, _) in PAIRS.items() if (DATA / path).exists())]
    return [*names, "CLAP, ESC-50"] if (DATA / "clap-esc50").exists() else names


def load(name: str) -> Embeddings:
    """A set of `built_in`, or the folder of this name."""
    if name == "glyphs":
        return _glyphs()
    if name == "CLAP, ESC-50":
        audio, text, labels = (
            np.load(DATA / "clap-esc50" / f"{file}.npy") for file in ("audio", "class_text", "labels")
        )
        numbers = {"text": np.arange(len(text)), "audio": labels.astype(np.int64)}
        return Embeddings(name, "audio", _unit({"text": text, "audio": audio}), numbers, numbers)
    if name in PAIRS:
        rows, captions = (None if path is None else DATA / path for path in PAIRS[name])
        image, text = np.load(rows)
        texts = None if captions is None else [each["caption"] for each in json.loads(captions.read_text())]
        return Embeddings(name, "image", _unit({"text": text, "image": image}), _one_each(len(text)), texts=texts)
    return of_folder(Path(name))


def of_folder(folder: Path) -> Embeddings:
    """A folder of the user's: `text.npy`, one other `<modality>.npy`, and what is known, as `recipes.py` lists it."""
    names = sorted(path.stem for path in folder.glob("*.npy") if not path.stem.endswith(("_groups", "_labels")))
    if len(names) != 2 or "text" not in names:
        raise C3AlignError(
            f"{folder} must hold text.npy and one other <modality>.npy, got {names}; name the arrays like that"
        )
    other = next(name for name in names if name != "text")
    rows = _unit({name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("text", other)})
    groups, labels = (_numbers(folder, rows, what) for what in ("groups", "labels"))
    if not groups:
        n_texts, n_others = (len(part) for part in rows.values())
        groups = _one_each(n_texts, other) if n_texts == n_others else _one_each(n_texts, other, n_others)
    path = folder / "texts.txt"
    texts = path.read_text().splitlines() if path.exists() else None
    if texts is not None and len(texts) != len(rows["text"]):
        raise C3AlignError(
            f"{path} must have a line for each of {len(rows['text'])} rows, got {len(texts)}; write them"
        )
    return Embeddings(folder.name, other, rows, groups, labels, texts)


def _numbers(folder: Path, rows: dict[str, Rows], what: str) -> dict[str, Numbers]:
    """`<modality>_<what>.npy` of both modalities, or nothing."""
    paths = {name: folder / f"{name}_{what}.npy" for name in rows}
    if not all(path.exists() for path in paths.values()):
        return {}
    found = {name: np.load(path, allow_pickle=False) for name, path in paths.items()}
    for name, numbers in found.items():
        if numbers.shape != rows[name].shape[:1] or numbers.dtype.kind not in "iu":
            raise C3AlignError(
                f"{paths[name]} must be {len(rows[name])} integers, got {numbers.dtype} of shape {numbers.shape}; "
                "save one a row"
            )
    return {name: numbers.astype(np.int64) for name, numbers in found.items()}


def _one_each(n_texts: int, other: str = "image", n_others: int | None = None) -> dict[str, Numbers]:
    """Groups of pairs, or, with a number of others, of rows that are alone."""
    first = 0 if n_others is None else n_texts
    return {"text": np.arange(n_texts), other: first + np.arange(n_texts if n_others is None else n_others)}


def _unit(rows: dict[str, Any]) -> dict[str, Rows]:
    for name, part in rows.items():
        if part.ndim != 2 or not LEAST_ROWS <= len(part) <= MOST_ROWS:
            sizes = f"{LEAST_ROWS} to {MOST_ROWS:,}"
            raise C3AlignError(f"{name} must be ({sizes} rows, n_dims), got {part.shape}; pass more rows, or a sample")
    return {name: ops.normalize(part.astype(np.float32)) for name, part in rows.items()}


def _glyphs() -> Embeddings:
    """All characters; statistics and texts are of training characters, the test is of those that are held out.

    Their classes are scripts: the first word of the name, where many characters share it.
    """
    encoder, chosen = encoders.load("glyphs"), datasets.glyphs()
    rows = {
        "text": encoder.encode(chosen.names, modality="text"),
        "image": encoder.encode(list(chosen.pictures), modality="image"),
    }
    held = np.array([is_held_out(point) for point in chosen.code_points.tolist()])
    first = [name.split()[0] for name in chosen.names]
    scripts = [word for word, n in Counter(np.array(first)[held].tolist()).items() if n >= LEAST_OF_A_SCRIPT]
    labels = np.array([scripts.index(word) if word in scripts else -1 for word in first])
    numbers = np.arange(len(chosen))
    groups, classes = ({"text": each, "image": each} for each in (numbers, labels))
    return Embeddings("glyphs", "image", _unit(rows), groups, classes, chosen.names, frozenset(numbers[held].tolist()))
