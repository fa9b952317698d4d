"""What `c3align embed` is pointed at, as a list of items: folders, patterns, URLs, files of captions or of paths."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.io.media import EXTENSIONS

__all__ = ["Item", "gather"]

TABLES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
COLUMNS = {"text": ("caption", "text", "sentence", "name")}  # where none is named, the first that is there
PATH_COLUMNS = ("path", "file_name", "filename", "file", "url")


class Item(NamedTuple):
    """Something to embed: what the encoder takes, its name for people, and a caption where one is known."""

    source: Any
    name: str
    caption: str | None = None


def gather(data: str, modality: str, column: str | None = None) -> list[Item]:
    """The items of `data`, in an order that does not change.

    Parameters
    ----------
    data : str
        A folder (searched to its leaves), a pattern, one file, a URL of any of them (by fsspec), a table of paths or
        captions (.txt, .csv, .tsv, .jsonl, .parquet), or pictures as one array (.npy).
    modality : str
    column : str, optional
        Of a table; by default the first known name.

    Raises
    ------
    C3AlignError
        Nothing there, or a table without a column that fits.
    """
    suffix = Path(data).suffix.lower()
    if suffix in TABLES:
        items = _of_table(data, modality, column, suffix)
    elif suffix == ".npy":
        items = _of_array(data)
    elif modality == "text":
        raise C3AlignError(f"{data} holds no texts; pass a file of captions ({', '.join(TABLES)})")
    else:
        items = [Item(path, path) for path in _paths(data, EXTENSIONS.get(modality, (".npy",)))]
    if not items:
        raise C3AlignError(f"{data} holds no {modality} items; check the name, the extensions and --modality")
    return items


def _paths(data: str, extensions: tuple[str, ...]) -> list[str]:
    if "://" in data:
        return _remote_paths(data, extensions)
    if glob.has_magic(data):
        found = glob.glob(data, recursive=True)
    elif os.path.isdir(data):
        found = [str(path) for path in Path(data).rglob("*")]
    elif os.path.isfile(data):
        return [data]
    else:
        raise C3AlignError(f"no file or folder {data}; check the name")
    return sorted(path for path in found if path.lower().endswith(extensions) and os.path.isfile(path))


def _remote_paths(data: str, extensions: tuple[str, ...]) -> list[str]:
    fsspec = need("fsspec", "fsspec")
    files, path = fsspec.core.url_to_fs(data)
    if glob.has_magic(path):
        found = files.glob(path)
    else:
        found = files.find(path) if files.isdir(path) else [path]
    return sorted(files.unstrip_protocol(name) for name in found if name.lower().endswith(extensions))


def _of_array(data: str) -> list[Item]:
    pictures = np.load(data, mmap_mode="r", allow_pickle=False)
    if pictures.ndim not in (3, 4):
        raise C3AlignError(f"{data} has shape {pictures.shape}; save pictures as (n, height, width[, channels])")
    return [Item(picture, f"{data}[{i}]") for i, picture in enumerate(pictures)]


def _of_table(data: str, modality: str, column: str | None, suffix: str) -> list[Item]:
    rows = list(_rows_of(data, suffix))
    if not rows:
        return []
    chosen = _column(rows[0], modality, column, data, suffix)
    folder = os.path.dirname(data)
    items = []
    for i, row in enumerate(rows):
        value = row.get(chosen)
        if not isinstance(value, str):
            raise C3AlignError(f"row {i} of {data} has {value!r} in column {chosen!r}; fill it in or drop the row")
        caption = row.get("caption")
        if modality == "text":
            items.append(Item(value, f"{data}[{i}]", value))
        else:
            path = value if os.path.isabs(value) or "://" in value else os.path.join(folder, value)
            items.append(Item(path, path, caption if isinstance(caption, str) else None))
    return items


def _rows_of(data: str, suffix: str) -> Iterator[dict[str, Any]]:
    if suffix == ".parquet":
        yield from need("pyarrow.parquet", "pyarrow").read_table(data).to_pylist()
        return
    with _text_file(data) as file:
        if suffix == ".txt":
            yield from ({"line": line.rstrip("\r\n")} for line in file if line.strip())
        elif suffix == ".jsonl":
            yield from (json.loads(line) for line in file if line.strip())
        else:
            try:
                yield from csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
            except csv.Error as error:
                raise C3AlignError(f"{data} cannot be read ({error}); fix its quotes, or save it as .jsonl") from error


def _text_file(data: str) -> Any:
    if "://" in data:
        return need("fsspec", "fsspec").open(data, "rt", encoding="utf-8", newline="").open()
    if not os.path.isfile(data):
        raise C3AlignError(f"no file {data}; check the name")
    return open(data, encoding="utf-8", newline="")


def _column(row: dict[str, Any], modality: str, column: str | None, data: str, suffix: str) -> str:
    if suffix == ".txt":
        return "line"
    known = COLUMNS.get(modality, (f"{modality}_path", modality, *PATH_COLUMNS))
    candidates = [column] if column else [name for name in known if name in row]
    if not candidates or candidates[0] not in row:
        raise C3AlignError(
            f"{data} has the columns {', '.join(map(repr, row))}; pass the one of {modality} items as --column"
        )
    return str(candidates[0])
