"""MixBench as it lies on the Hub: queries, and one corpus of texts, pictures and documents of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import C3Aligner, ops
from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.search import calibrate_fused

SUBSETS = ("MSCOCO", "Google_WIT", "VisualNews", "OVEN")
KINDS = ("text", "image", "image+text")
LAYOUT = """--mixbench FOLDER reads a clone of https://huggingface.co/datasets/mixed-modality-search/MixBench25, or a
folder like it:

  MSCOCO, Google_WIT, VisualNews, OVEN   one folder for each subset, with
    queries.jsonl        {"query_id": ..., "text": ..., "image": ...}: a text, a picture or both
    mixed_corpus.jsonl   {"corpus_id": ..., "text": ..., "image": ...}
    qrels/qrels.tsv      query_id, corpus_id, score, with a header or without; or qrels.tsv

  A picture is a path from the folder, from the subset or from the subset's folder "images". Or queries.parquet and
  mixed_corpus.parquet, with the pictures in them, as in MixBench2026: it has no qrels, copy those of MixBench25 there.
  corpus.jsonl, which has all documents whole, is not read.

Means and covariances are learned from the texts and pictures of the mixed corpus, without pairs and without queries;
queries count as texts. Rows as they are make one row of a document of both by their mean, as MixBench's authors do;
aligned ones by `Calibration.fuse`.
"""
TOP, BATCH = 10, 256
_POINTER = b"version https://git-lfs"
Rows = npt.NDArray[Any]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A query or a document: a text, a picture (a path, or the bytes of a file), or both."""

    id: str
    text: str | None
    image: str | bytes | None

    @property
    def kind(self) -> str:
        return "+".join(name for name in ("image", "text") if getattr(self, name) is not None)


@dataclass(frozen=True)
class Subset:
    """Queries, documents, and the gains of documents by query."""

    queries: tuple[Entry, ...]
    documents: tuple[Entry, ...]
    gains: dict[str, dict[str, int]]

    def digest(self) -> str:
        """A hash of all that figures depend on, pictures too, wherever they lie."""
        found = hashlib.sha256(repr(sorted((query, sorted(own.items())) for query, own in self.gains.items())).encode())
        for entry in (*self.queries, *self.documents):
            image = Path(entry.image).read_bytes() if isinstance(entry.image, str) else entry.image
            found.update(repr((entry.id, entry.text, image and hashlib.sha256(image).hexdigest())).encode())
        return found.hexdigest()[:16]


def subsets(folder: Path, chosen: list[str] | None) -> list[str]:
    """The subsets that are there, or those that were chosen, if they are."""
    found = [name for name in SUBSETS if (folder / name).is_dir()]
    if missing := [name for name in chosen or SUBSETS[:1] if name not in found and (chosen or not found)]:
        here = f"it has {', '.join(found)}" if found else "it has none of the subsets"
        raise C3AlignError(f"{folder} has no folder {missing[0]}, {here}; pass the folder that holds them")
    return chosen or found


def load(folder: Path, name: str) -> Subset:
    """Read one subset; what is not as `LAYOUT` says is refused."""
    queries, documents = (
        _entries(folder, folder / name, what) for what in (("queries", "query_id"), ("mixed_corpus", "corpus_id"))
    )
    return Subset(queries, documents, _gains(folder / name, {q.id for q in queries}, {d.id for d in documents}))


def _entries(folder: Path, subset: Path, what: tuple[str, str]) -> tuple[Entry, ...]:
    name, key = what
    path = _one_of(subset, f"{name}.jsonl", f"{name}.parquet")
    found: dict[str, Entry] = {}
    for where, entry in _of_parquet(path) if path.suffix == ".parquet" else _of_lines(path):
        given = entry.get(key, entry.get("id"))
        if not isinstance(given, str | int) or isinstance(given, bool) or str(given) in found:
            raise C3AlignError(f"{where} must have a {key} of its own, got {given!r:.100}; fix that line")
        found[str(given)] = Entry(str(given), _text(entry, where), _image(entry, where, folder, subset))
        if not found[str(given)].kind:
            raise C3AlignError(f"{where} has neither a text nor an image; fix or remove it")
    if not found:
        raise C3AlignError(f"{path} is empty; download it again")
    return tuple(found.values())


def _one_of(subset: Path, *names: str) -> Path:
    path = next((path for name in names if (path := subset / name).is_file()), None)
    if path is None:
        raise C3AlignError(f"{subset} has no {' or '.join(names)}; see --help for the files that it must have")
    return _checked(path)


def _checked(path: Path) -> Path:
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise C3AlignError(f"{path} is a pointer of Git LFS and not the file; run `git lfs pull` in the clone")
    return path


def _of_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            where = f"line {number} of {path}"
            try:
                entry = json.loads(line) if line.strip() else None
            except ValueError as error:
                raise C3AlignError(f"{where} is no JSON ({error}); download the file again") from error
            if entry is not None and not isinstance(entry, dict):
                raise C3AlignError(f"{where} is no JSON object; download the file again")
            if entry is not None:
                yield where, entry


def _of_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for batch in need("pyarrow.parquet", "pyarrow").ParquetFile(path).iter_batches(BATCH):
        yield from ((f"{entry.get('id')!r} of {path}", entry) for entry in batch.to_pylist())


def _text(entry: dict[str, Any], where: str) -> str | None:
    text = entry.get("text")
    if not (text is None or isinstance(text, str)):
        raise C3AlignError(f"the text of {where} must be a string, got {text!r:.100}; fix it")
    return text if text and text.strip() else None


def _image(entry: dict[str, Any], where: str, folder: Path, subset: Path) -> str | bytes | None:
    """The path of its picture, or its bytes; a path must not leave the folder."""
    image = entry.get("image")
    if isinstance(image, dict) and isinstance(image.get("bytes"), bytes):
        return bytes(image["bytes"])
    if image is None or image == "":
        return None
    if not isinstance(image, str):
        raise C3AlignError(f"the image of {where} must be a path, got {image!r:.100}; fix it")
    places = (folder / image, subset / image, subset / "images" / image)
    path = next((path for path in places if path.is_file()), None)
    if path is None or not path.resolve().is_relative_to(folder.resolve()):
        tried = ", ".join(str(place) for place in places)
        raise C3AlignError(f"the image of {where} must be a file inside {folder}, tried {tried}; download the pictures")
    return str(_checked(path))


def _gains(subset: Path, queries: set[str], documents: set[str]) -> dict[str, dict[str, int]]:
    path = _one_of(subset, "qrels/qrels.tsv", "qrels.tsv")
    found: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8") as file:
        for number, row in enumerate((line.rstrip("\n").split("\t") for line in file), 1):
            if row == [""] or (number == 1 and row[0].replace("-", "_") == "query_id"):
                continue
            if len(row) != 3 or not row[2].isdecimal():
                raise C3AlignError(f"line {number} of {path} must be query_id, corpus_id and score, got {row}; fix it")
            if row[0] not in queries or row[1] not in documents:
                unknown = row[0] if row[0] not in queries else row[1]
                raise C3AlignError(
                    f"line {number} of {path} names {unknown!r}, which is not there; take one version's files"
                )
            if found.setdefault(row[0], {}).setdefault(row[1], int(row[2])) != int(row[2]):
                raise C3AlignError(f"line {number} of {path} contradicts an earlier one of the same two; remove one")
    gains = {query: own for query, own in found.items() if any(own.values())}
    if not gains:
        raise C3AlignError(f"{path} has no relevant documents; download it again")
    return gains


@dataclass(frozen=True, eq=False)
class Embedded:
    """Raw unit rows of entries: for each kind, the places of its entries and a row of each for each modality."""

    places: dict[str, npt.NDArray[np.int64]]
    rows: dict[str, dict[str, Rows]]

    def parts(self, modality: str) -> Rows:
        """All rows of one modality."""
        return np.concatenate([own[modality] for own in self.rows.values() if modality in own])


def embed(encoder: Any, entries: tuple[Entry, ...], batch_size: int) -> Embedded:
    """Embed texts and pictures of all entries."""
    places, rows = {}, {}
    for kind in KINDS:
        chosen = [i for i, entry in enumerate(entries) if entry.kind == kind]
        if chosen:
            places[kind] = np.array(chosen)
            items = {name: [getattr(entries[i], name) for i in chosen] for name in kind.split("+")}
            rows[kind] = {
                name: ops.normalize(encoder.encode(own, modality=name, batch_size=batch_size))
                for name, own in items.items()
            }
    return Embedded(places, rows)


def scored(queries: Embedded, documents: Embedded, mapping: Any) -> dict[str, Rows]:
    """Scores (n_queries, n_documents) of rows as they are, or of aligned ones: cosines, and calibrated ones."""
    if mapping is None:
        asked, found = ({kind: _mean(own) for kind, own in side.rows.items()} for side in (queries, documents))
        return {"cosine": _table(queries, documents, lambda a, b: asked[a] @ found[b].T)}
    aligner = C3Aligner(mapping=mapping, second_moments=True)
    for modality in ("text", "image"):
        aligner.partial_fit(documents.parts(modality), modality=modality)
    both = documents.rows.get("image+text") or queries.rows.get("image+text")
    calibration = calibrate_fused(aligner, {"image+text": both} if both else {})

    def aligned(side: Embedded) -> dict[str, Rows]:
        result = {}
        for kind, own in side.rows.items():
            parts = {name: aligner.transform(rows, modality=name) for name, rows in own.items()}
            result[kind] = calibration.fuse(parts, query="text") if len(parts) > 1 else parts[kind]
        return result

    asked, found = aligned(queries), aligned(documents)
    return {
        "cosine": _table(queries, documents, lambda a, b: asked[a] @ found[b].T),
        "calibrated": _table(
            queries, documents, lambda a, b: calibration.score(asked[a], found[b], query=a, document=b)
        ),
    }


def _mean(parts: dict[str, Rows]) -> Rows:
    return np.asarray(ops.normalize(sum(parts.values())))


def _table(queries: Embedded, documents: Embedded, score: Any) -> Rows:
    n_queries, n_documents = (sum(map(len, side.places.values())) for side in (queries, documents))
    table = np.empty((n_queries, n_documents), np.float32)
    for a, asked in queries.places.items():
        for b, found in documents.places.items():
            table[np.ix_(asked, found)] = score(a, b)
    return table


def figures(subset: Subset, scores: Rows) -> Figures:
    """NDCG@10, also of the queries whose relevant documents are of one kind, and the kinds in the top ten."""
    order = np.random.default_rng(0).permutation(len(subset.documents))  # ties are broken at random
    kinds = np.array([entry.kind for entry in subset.documents])
    place = {entry.id: i for i, entry in enumerate(subset.documents)}
    discounts = 1 / np.log2(np.arange(2, TOP + 2))
    values, of_kind, shown = [], [], []
    for query, own in zip(subset.queries, scores):
        if query.id not in subset.gains:
            continue
        gains = np.zeros(len(kinds))
        for name, gain in subset.gains[query.id].items():
            gains[place[name]] = gain
        best = order[np.argsort(-own[order], kind="stable")[:TOP]]
        ideal = -np.sort(-gains)[:TOP]
        values.append(gains[best] @ discounts[: len(best)] / (ideal @ discounts[: len(ideal)]))
        of_kind.append({*kinds[gains > 0]})
        shown.append(kinds[best])
    each = {kind: [v for v, own in zip(values, of_kind) if own == {kind}] for kind in KINDS}
    return {
        "ndcg": float(np.mean(values)),
        "ndcg of": {kind: float(np.mean(own)) for kind, own in each.items() if own},
        "share": {kind: float((np.array(shown) == kind).mean() - (kinds == kind).mean()) for kind in KINDS},
        "queries": len(values),
        "documents": {kind: int((kinds == kind).sum()) for kind in KINDS},
    }
