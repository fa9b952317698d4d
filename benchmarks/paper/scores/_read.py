"""Captions from files: plain lines, tables, COCO's results and annotations."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c3align.errors import C3AlignError

__all__ = ["Captions", "join", "read_captions"]

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".json")
ID_NAMES = ("image_id", "id", "audio_id", "video_id", "image", "audio", "video", "file_name", "path")
CAPTION_NAMES = ("caption", "captions", "references", "sentence", "text", "name")


@dataclass(frozen=True)
class Captions:
    """Captions of items, in order; `ids` name the items where the file does.

    Attributes
    ----------
    source : str
        Where they come from, for messages.
    captions : list of lists of str
    ids : list of str, or None
    """

    source: str
    captions: list[list[str]]
    ids: list[str] | None


def read_captions(path: str | os.PathLike[str]) -> Captions:
    """Read captions.

    Parameters
    ----------
    path : path
        .txt: one caption a line. .csv, .tsv, .jsonl: a row a caption, in a column ``caption`` (or ``captions``,
        ``references``, ``text``, ...; a list of strings in .jsonl), with the item in ``image_id`` (or ``id``, ...)
        where there is one; rows of one item are gathered. .json: COCO results (a list of ``{"image_id",
        "caption"}``), COCO annotations (``{"annotations": [...]}``), a list of strings or of lists of strings, or a
        table from item to captions.

    Raises
    ------
    C3AlignError
        No such file, another suffix, or content that holds no captions, with the first bad row.
    """
    name, suffix = str(path), Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise C3AlignError(f"{name} is no file of captions; pass one that ends with {', '.join(SUFFIXES)}")
    if not os.path.isfile(path):
        raise C3AlignError(f"no file {name}; check the name")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            found = _records(file, suffix)
    except (ValueError, csv.Error, RecursionError) as error:
        raise C3AlignError(f"{name} cannot be read ({error}); save it as UTF-8 {suffix}") from error
    if not found:
        raise C3AlignError(f"{name} holds no captions; pass a file with at least one")
    return _gathered(name, found)


def _records(file: Iterable[str], suffix: str) -> list[Any]:
    if suffix == ".txt":
        return [line.rstrip("\r\n") for line in file]
    if suffix == ".jsonl":
        return [json.loads(line) for line in file if line.strip()]
    if suffix == ".json":
        return _of_json(json.loads("".join(file)))
    return list(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ","))


def _of_json(document: Any) -> list[Any]:
    if isinstance(document, dict) and isinstance(document.get("annotations"), list):
        return document["annotations"]
    if isinstance(document, dict):
        return [{"id": key, "captions": value} for key, value in document.items()]
    return document if isinstance(document, list) else [document]


def _gathered(source: str, records: list[Any]) -> Captions:
    """Captions of every item; rows of the same item together."""
    items: dict[str, list[str]] = {}
    plain: list[list[str]] = []
    for i, record in enumerate(records):
        item, captions = _parsed(record)
        if captions is None and item is not None and isinstance(record.get("error"), str):
            continue  # an item that `c3align caption --on-error skip` had no caption for
        if captions is None or (plain and item is not None) or (items and item is None):
            raise C3AlignError(f"row {i} of {source} is {_short(record)}; give every row a caption, and an id or none")
        if item is None:
            plain.append(captions)
        else:
            items.setdefault(item, []).extend(captions)
    return Captions(source, plain, None) if plain else Captions(source, list(items.values()), list(items))


def _parsed(record: Any) -> tuple[str | None, list[str] | None]:
    """Item and captions of a row; captions None when it holds none."""
    if not isinstance(record, dict):
        return None, _as_captions(record)
    item = next((record[name] for name in ID_NAMES if record.get(name) is not None), None)
    found = next((record[name] for name in CAPTION_NAMES if record.get(name) is not None), None)
    return None if item is None else str(item), _as_captions(found)


def _as_captions(value: Any) -> list[str] | None:
    if isinstance(value, list) and value and isinstance(value[0], dict):  # of COCO: {"caption": ...}
        value = [entry.get("caption") for entry in value if isinstance(entry, dict)]
    captions = [value] if isinstance(value, str) else value
    good = isinstance(captions, list) and captions and all(isinstance(caption, str) for caption in captions)
    return captions if good else None


def _short(record: Any) -> str:
    text = repr(record)
    return text if len(text) <= 80 else f"{text[:77]}..."


def join(candidates: Captions, references: list[Captions]) -> tuple[list[list[str]], list[list[str]], int]:
    """Candidates and references of the same items.

    Parameters
    ----------
    candidates : Captions
    references : list of Captions
        Each of several adds to every item's references.

    Returns
    -------
    candidates, references : lists of n lists of str
    unused : int
        Items of the references without a candidate.

    Raises
    ------
    C3AlignError
        Candidates without references, or files without ids and of unequal length.
    """
    joined: list[list[str]] = [[] for _ in candidates.captions]
    unused = 0
    for found in references:
        if candidates.ids is not None and found.ids is not None:
            table = dict(zip(found.ids, found.captions))
            missing = [item for item in candidates.ids if item not in table]
            if missing:
                raise C3AlignError(
                    f"{len(missing)} of {len(candidates.ids)} items of {candidates.source} are not in {found.source}, "
                    f"first {missing[0]!r}; pass the references of the same split"
                )
            unused = max(unused, len(table) - len(candidates.ids))
            parts = [table[item] for item in candidates.ids]
        elif len(found.captions) == len(candidates.captions):
            parts = found.captions
        else:
            raise C3AlignError(
                f"{candidates.source} holds {len(candidates.captions)} items and {found.source} "
                f"{len(found.captions)}; pass files of equally many items, or with ids in both"
            )
        joined = [before + more for before, more in zip(joined, parts)]
    return candidates.captions, joined, unused
