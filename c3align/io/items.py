"""What `c3align embed` is pointed at, as a list of items: folders, patterns, URLs, files of captions or of paths."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from c3align.errors import C3AlignError, printable
from c3align.io import digests, npy, opening, tables
from c3align.io.media import EXTENSIONS, name_of
from c3align.io.patterns import natural

__all__ = ["Item", "gather"]

COLUMNS = {"text": ("caption", "text", "sentence", "name")}  # where none is named, the first that is there
CAPTION, ID = "caption", "id"
PATH_COLUMNS = ("path", "file_name", "filename", "file", "url")
# of URLs in tables: no chains ("zip://a::https://..."), and no protocol of fsspec's that runs or unpacks something
PROTOCOLS = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "hf")
_LONGEST_NAME = 4096
_HALF = re.compile("[\ud800-\udfff]")  # of a character of UTF-16, as JSON may hold it
_KINDS = 8  # of files left out that a warning names


class Item(NamedTuple):
    """Something to embed: its name for people, and a caption and an id where they are known."""

    source: Any  # what the encoder takes, or the file that it is picture number `row` of
    name: str
    caption: str | None = None
    row: int = -1
    id: str | None = None

    @property
    def is_blank(self) -> bool:
        """Whether it is a text that says nothing."""
        return isinstance(self.source, str) and not self.source.strip()

    def read(self) -> Any:
        """What the encoder takes; a picture of an array is read now."""
        return self.source if self.row < 0 else self.source.read(self.row, self.row + 1)[0]

    def digest(self, modality: str) -> str | None:
        """The SHA-256 of its bytes; "" of a URL, which is not fetched for it, and None of what has no bytes."""
        source = self.read()
        name = name_of(source)
        if modality == "text":
            content = str(source).encode("utf-8", "surrogatepass")
        elif name is not None and "://" in name and not name.startswith("file://"):
            return ""
        elif name is not None:
            path = name.removeprefix("file://")
            with suppress(OSError):
                if os.path.isfile(path):  # and no pipe
                    return digests.of_file(path)
            content = os.fsencode(name)
        elif isinstance(source, bytes | bytearray | memoryview):
            content = bytes(source)
        elif isinstance(source, np.ndarray | np.generic | int):
            array = np.asarray(source)
            content = f"{array.dtype} {array.shape} ".encode() + array.tobytes()
        else:
            return None
        return hashlib.sha256(content).hexdigest()


def gather(
    data: str,
    modality: str,
    column: str | None = None,
    *,
    id_column: str | None = None,
    root: str | None = None,
    allow_absolute: bool = False,
    allow_urls: bool = False,
) -> list[Item]:
    """The items of `data`, in an order that does not change: names with numbers in them by those.

    `data` is a folder (searched to its leaves; what is hidden or no such item is left out), a pattern, one file, a URL
    of any of them (by fsspec), a table of paths or captions (.txt, .csv, .tsv, .jsonl, .parquet), or pictures as one
    array (.npy). By default the first column with a known name is read. What `id_column` holds, by default the column
    "id" if there is one, is the item's id: a text or a whole number, of which several items may have one; an item
    without has none. The paths in a table are relative to it, and may not leave `root`, by default its own folder,
    neither by ``..`` nor by a link, unless `allow_absolute` lets it name any file of this machine; `allow_urls` lets it
    name URLs of `PROTOCOLS`.
    """
    suffix = Path(data).suffix.lower()
    if suffix in tables.SUFFIXES:
        places = Places(os.path.dirname(data), root or os.path.dirname(data), allow_absolute, allow_urls)
        items = _of_table(data, modality, (column, id_column), places)
    elif column or id_column:
        raise C3AlignError(f"{data} has no columns; pass a table ({', '.join(tables.SUFFIXES[1:])}) or no column")
    elif suffix == ".npy":
        items = _of_array(data)
    elif modality == "text":
        raise C3AlignError(f"{data} holds no texts; pass a file of captions ({', '.join(tables.SUFFIXES)})")
    else:
        paths = _paths(data, EXTENSIONS.get(modality, (".npy",)))
        items = [Item(path, os.fsencode(path).decode("utf-8", "backslashreplace")) for path in paths]
    if not items:
        raise C3AlignError(f"{data} holds no {modality} items; check the name, the extensions and --modality")
    return items


def _paths(data: str, extensions: tuple[str, ...]) -> list[str]:
    if "://" in data:
        return sorted((url for url in opening.listed(data) if url.lower().endswith(extensions)), key=natural)
    if os.path.isfile(data):
        return [data]
    if os.path.isdir(data):
        return _in_folder(data, extensions)
    if not glob.has_magic(data):
        raise C3AlignError(f"no file or folder {data}; check the name")
    found = glob.glob(data, recursive=True)
    return sorted((path for path in found if path.lower().endswith(extensions) and os.path.isfile(path)), key=natural)


def _in_folder(data: str, extensions: tuple[str, ...]) -> list[str]:
    """The media of a folder, to its leaves, without what is hidden; what else there is is counted in a warning."""
    found, others = [], Counter[str]()
    for path in _leaves(data):
        if path.lower().endswith(extensions) and os.path.isfile(path):
            found.append(path)
        else:
            others[Path(path).suffix.lower() or "without extension"] += 1
    told = [f"{n} {kind}" for kind, n in others.most_common(_KINDS)]
    if found and told:
        warnings.warn(
            f"{data} holds more than was taken: {printable(', '.join(told))}; to take such files too, pass them by "
            f"name or by a pattern, with the extensions {' '.join(extensions)}",
            stacklevel=2,
        )
    return sorted(found, key=natural)


def _leaves(data: str) -> Iterator[str]:
    """All files of a folder; links to folders are followed where they lead to one that has not been seen."""
    todo, seen = [data], set[str]()
    while todo:
        links = list[str]()
        for start in todo:
            for folder, folders, names in os.walk(start):
                if (real := os.path.realpath(folder)) in seen:
                    folders.clear()
                    continue
                seen.add(real)
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                links += [path for name in folders if os.path.islink(path := os.path.join(folder, name))]
                yield from (str(Path(folder, name)) for name in names if not name.startswith("."))
        todo = links


def _of_array(data: str) -> list[Item]:
    try:
        pictures = npy.stored(data)
    except ValueError as error:
        raise C3AlignError(f"{data} holds no pictures ({error}); save them with numpy.save") from error
    if len(pictures.shape) not in (3, 4) or 0 in pictures.shape[1:]:
        raise C3AlignError(f"{data} has shape {pictures.shape}; save pictures as (n, height, width[, channels])")
    return [Item(pictures, f"{data}[{i}]", row=i) for i in range(len(pictures))]


def _of_table(data: str, modality: str, asked: tuple[str | None, str | None], places: Places) -> list[Item]:
    def choose(names: Sequence[str]) -> Sequence[str]:
        return _column(names, modality, asked[0], data), CAPTION, _id_column(names, asked[1], data)

    if "://" not in data and not os.path.isfile(data):
        raise C3AlignError(f"no file {data}; check the name")
    if data.lower().endswith(".txt") and any(asked):
        raise C3AlignError(f"{data} has no columns, its lines are the items; pass another table or no column")
    _real.cache_clear()
    items = []
    for i, (value, caption, given) in enumerate((*row, None, None)[:3] for row in tables.read(data, choose)):
        where = f"row {i} of {data}"
        text, known = _text(value, where), _id(given, where)
        if modality == "text":
            items.append(Item(text, f"{data}[{i}]", text, id=known))
        else:
            path = places.find(text, where)
            items.append(Item(path, path, caption if isinstance(caption, str) else None, id=known))
    return items


def _text(value: Any, where: str) -> str:
    if value is None:
        raise C3AlignError(f"{where} has nothing in its column; fill it in or drop the row")
    if not isinstance(value, str):
        raise C3AlignError(f"{where} has {value!r:.200} in its column, which is no text; write it as one")
    if _HALF.search(value):
        raise C3AlignError(f"{where} has {value!r:.200}, with half of a character; write the table again")
    return value


def _id(value: Any, where: str) -> str | None:
    """An id as text: 7, "7", and 7.0, which pandas makes of 7 where others are absent, are one."""
    if value is None or value == "" or value != value:  # NaN
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or _HALF.search(value):
        raise C3AlignError(f"{where} has the id {value!r:.200}; an id must be a text or a whole number")
    return value


def _column(names: Sequence[str], modality: str, column: str | None, data: str) -> str:
    known = COLUMNS.get(modality, (f"{modality}_path", modality, *PATH_COLUMNS))
    for name in (column,) if column else known:
        if name in names:
            return name
    raise C3AlignError(
        f"{data} has the columns {', '.join(map(repr, names))}; pass the one of {modality} items as --column"
    )


def _id_column(names: Sequence[str], asked: str | None, data: str) -> str:
    if asked is not None and asked not in names:
        raise C3AlignError(f"{data} has the columns {', '.join(map(repr, names))}; pass the one of ids as --id")
    return asked or ID


class Places(NamedTuple):
    """Where the rows of a table may lead: a stranger may have written them."""

    folder: str
    root: str
    allow_absolute: bool
    allow_urls: bool

    def find(self, value: str, where: str) -> str:
        """The path or URL that a row names; what it may not name is refused with the option that allows it."""
        if "\0" in value or len(value) > _LONGEST_NAME:
            raise C3AlignError(f"{where} names {value!r:.200}, which no file can be called; fix or drop the row")
        if "://" in value and not value.startswith("file://"):
            return self._url(value, where)
        path = value if os.path.isabs(value) or "://" in value else os.path.join(self.folder, value)
        if self.allow_absolute or (not os.path.isabs(value) and self._is_inside(path)):
            return path
        raise C3AlignError(
            f"{where} names {value!r:.200}, an absolute path or one that leaves {self.root or '.'}; if you trust the "
            "table, pass --allow-absolute (allow_absolute=True), or --root with a folder that holds all"
        )

    def _url(self, value: str, where: str) -> str:
        protocol = re.match(r"([a-z0-9]+)://", value)
        if protocol is None or protocol[1] not in PROTOCOLS or "::" in value:
            kinds = ", ".join(PROTOCOLS)
            raise C3AlignError(f"{where} names {value!r:.200}; a table may name URLs of {kinds} alone, without chains")
        if not self.allow_urls:
            raise C3AlignError(
                f"{where} names {value!r:.200}; if you trust the table, pass --allow-urls (allow_urls=True)"
            )
        return value

    def _is_inside(self, path: str) -> bool:
        if "://" in self.folder:
            return not {"..", ""}.intersection(unquote(path.removeprefix(self.folder + "/")).split("/"))
        if path.startswith("file://"):
            return False
        folder, name = os.path.split(path)
        real = os.path.join(_real(folder), name)
        if name in ("", os.curdir, os.pardir) or os.path.islink(real):
            real = os.path.realpath(real)
        return os.path.commonpath([real, _real(self.root)]) == _real(self.root)


@lru_cache(1 << 12)  # of many rows in few folders
def _real(folder: str) -> str:
    return os.path.realpath(folder)
