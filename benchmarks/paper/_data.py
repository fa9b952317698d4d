"""The standard data sets in the layouts that people have them in, and the glyphs, as one and the same thing.

Nothing is downloaded: a path goes in. Files are named, not opened.
"""

from __future__ import annotations

import csv
import json
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c3align import datasets as characters
from c3align.errors import C3AlignError


@dataclass(frozen=True)
class Split:
    """Items (paths or pictures) and, for each, the captions that people gave it."""

    items: Sequence[Any]
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.captions)

    def texts(self) -> list[str]:
        """All captions, one after the other: what a captioner learns from."""
        return [caption for captions in self.captions for caption in captions]

    def first(self, n_items: int | None) -> Split:
        return Split(self.items[:n_items], self.captions[:n_items])


@dataclass(frozen=True)
class Data:
    """A data set; `train` is for means, texts and low-data pairs, `test` for nothing but the score."""

    name: str
    modality: str
    train: Split
    test: Split

    def first(self, n_items: int | None) -> Data:
        """The beginning of both splits, for a trial run."""
        return Data(self.name, self.modality, self.train.first(n_items), self.test.first(n_items))


def coco(root: Path) -> Data:
    """Karpathy's split: `dataset_coco.json` beside the folders that its `filepath` names (`train2014/`, `val2014/`).

    train and restval together are the training split: 113,287 pictures and 566,747 captions; 5,000 are for the test.
    """
    images = _json(root / "dataset_coco.json")["images"]
    splits: dict[str, list[tuple[Path, list[str]]]] = {"train": [], "val": [], "test": []}
    for image in images:
        name = "train" if image["split"] == "restval" else image["split"]
        captions = [sentence["raw"].strip() for sentence in image["sentences"]]
        splits[name].append((root / image["filepath"] / image["filename"], captions))
    return Data("coco", "image", _split(splits["train"]), _split(splits["test"]))


def clotho(root: Path) -> Data:
    """`clotho_captions_{development,evaluation}.csv` (file_name, caption_1 to caption_5) beside folders of sounds."""
    splits = []
    for part in ("development", "evaluation"):
        path = root / f"clotho_captions_{part}.csv"
        with _opened(path) as file:
            rows = list(csv.DictReader(file))
        named = [(root / part / row["file_name"], [row[f"caption_{k}"].strip() for k in range(1, 6)]) for row in rows]
        splits.append(_split(named))
    return Data("clotho", "audio", *splits)


def msrvtt(root: Path) -> Data:
    """`*videodatainfo.json` (one for all 10,000 videos, or train_val and test) and the videos anywhere under `root`.

    The paper trains on train and validate together: 7,010 videos; 2,990 are for the test.
    """
    paths = sorted(root.glob("*videodatainfo.json"))
    if not paths:
        raise C3AlignError(f"{root} holds no *videodatainfo.json; pass the folder of MSR-VTT")
    found = [_json(path) for path in paths]
    captions: dict[str, list[str]] = {}
    for sentence in (sentence for part in found for sentence in part["sentences"]):
        captions.setdefault(sentence["video_id"], []).append(sentence["caption"].strip())
    files = {path.stem: path for path in sorted(root.rglob("*.mp4"))}
    splits: dict[str, list[tuple[Path, list[str]]]] = {"train": [], "test": []}
    for video in (video for part in found for video in part["videos"]):
        name, key = video["video_id"], "test" if video["split"] == "test" else "train"
        if name not in files:
            raise C3AlignError(f"{name}.mp4 is not under {root}; put the videos there")
        splits[key].append((files[name], captions[name]))
    return Data("msrvtt", "video", _split(splits["train"]), _split(splits["test"]))


def glyphs(font: str = "DejaVuSans", *, validate: bool = False) -> Data:
    """Pictures of characters and their names; the test split are characters that neither tower has seen.

    With `validate`, the test split is a tenth of the *training* characters, left out of the training split: what
    settings are chosen by.
    """
    train = characters.glyphs(font, "train")
    if not validate:
        return Data("glyphs", "image", _of_glyphs(train), _of_glyphs(characters.glyphs(font, "held_out")))
    chosen = [_is_validation(point) for point in train.code_points.tolist()]
    return Data("glyphs", "image", *(_of_glyphs(train, [c is wanted for c in chosen]) for wanted in (False, True)))


def _of_glyphs(found: characters.Glyphs, keep: list[bool] | None = None) -> Split:
    rows = [i for i in range(len(found)) if keep is None or keep[i]]
    return Split(found.pictures[rows], [[found.names[i]] for i in rows])


def _is_validation(code_point: int) -> bool:
    return zlib.crc32(b"c3align validation %06x" % code_point) % 10 == 0


def other_names() -> list[str]:
    """Names of the characters that no picture was made of and that are not held out: text is free.

    Those that are numbered and not named (ideographs, Hangul syllables) are left out.
    """
    drawn = set(characters.glyphs().code_points.tolist())
    numbered = ("cjk unified", "cjk compatibility", "hangul syllable", "tangut", "nushu", "khitan")
    found = []
    for point in range(sys.maxunicode + 1):
        name = unicodedata.name(chr(point), "").lower().replace("-", " ")
        if name and point not in drawn and not characters.is_held_out(point) and not name.startswith(numbered):
            found.append(name)
    return found


READERS: dict[str, Callable[..., Data]] = {"coco": coco, "clotho": clotho, "msrvtt": msrvtt}


def read(name: str, root: Path | None, encoder: str, *, font: str = "DejaVuSans", validate: bool = False) -> Data:
    """The data set of an experiment; with the encoder of glyphs, these in its place."""
    if encoder == "glyphs":
        return glyphs(font, validate=validate)
    if root is None:
        raise C3AlignError(f"this reads {name} from a folder; pass --data FOLDER, or --encoder glyphs to run without")
    return READERS[name](root)


def _split(named: Iterable[tuple[Path, list[str]]]) -> Split:
    pairs = list(named)
    return Split([str(path) for path, _ in pairs], [captions for _, captions in pairs])


def _json(path: Path) -> Any:
    with _opened(path) as file:
        return json.load(file)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise C3AlignError(f"no file {path}; pass the folder of the data set as it is distributed")
    return path.open(encoding="utf-8", newline="")
