"""The pages of a .parquet by their own headers: a footer may state less than they unpack to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any

from c3align._imports import need
from c3align.errors import C3AlignError

__all__ = ["opened_table", "pages", "unpacked_size"]

_HEADER = 1 << 18  # bytes that a page's header may take, texts of its statistics among them
_PREFIXES = 7  # the encoding of texts as a part of the one before and an end, which may grow without bound
_ENCODING = {5: 2, 7: 2, 8: 4}  # where the headers of data, of a dictionary, and of newer data keep it
Place = tuple[Any, int]


def opened_table(file: Any, **how: Any) -> Any:
    """The table of a file, of which every column's metadata can be looked at.

    PyArrow ends the process where one is asked for that contradicts itself; where it reads them to decode pages, it
    raises. So each column of each row group is read first, from a file that gives no pages.

    Raises
    ------
    OSError
        For metadata that contradict themselves.
    """
    parquet, guard = need("pyarrow.parquet", "pyarrow"), _NoPages(file)
    file.seek(0)
    table = parquet.ParquetFile(guard, pre_buffer=False)
    guard.is_open = False
    paths = {table.schema.column(i).path for i in range(len(table.schema))}
    for group, path in product(range(table.num_row_groups), sorted(paths)):
        with suppress(_NoPage):
            next(table.iter_batches(1, row_groups=[group], columns=[path]), None)
    file.seek(0)
    return parquet.ParquetFile(file, **how)


class _NoPage(Exception):
    """Raised where a page would be read."""


class _NoPages(io.RawIOBase):
    """A file that is read while it is open, as a footer is."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file, self.is_open = file, True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> Any:
        if not self.is_open:
            raise _NoPage
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


def pages(file: Any, start: int, n_bytes: int, longest: int = _HEADER) -> Iterator[dict[int, Any]]:
    """The headers of the pages in `n_bytes`, each as a table by the numbers of its fields."""
    stop = start + n_bytes
    while start < stop:
        file.seek(start)
        content = file.read(min(longest, stop - start))
        header, size = _struct(content, 0)
        if not (header.get(2, -1) >= 0 and header.get(3, -1) >= 0):
            raise ValueError("a page without a size")
        yield header
        start += size + header[3]


def unpacked_size(header: dict[int, Any]) -> int:
    """How many bytes a page unpacks to.

    Raises
    ------
    C3AlignError
        Its encoding says more than that.
    """
    for part, place in _ENCODING.items():
        if header.get(part, {}).get(place) == _PREFIXES:
            raise C3AlignError("texts in the encoding DELTA_BYTE_ARRAY are not read; write the table as .jsonl")
    return int(header[2])


def _struct(content: bytes, at: int) -> tuple[dict[int, Any], int]:
    """A struct of thrift's compact protocol, and where it ends."""
    found, field = {}, 0
    while (head := content[at]) != 0:
        at += 1
        if head >> 4:
            field += head >> 4
        else:
            field, at = _value(content, at, 4)
        found[field], at = _value(content, at, head & 15)
    return found, at + 1


def _value(content: bytes, at: int, kind: int) -> Place:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind == 3:
        return content[at], at + 1
    if kind in (4, 5, 6):  # whole numbers: 0, -1, 1, -2, ...
        number, at = _varint(content, at)
        return number >> 1 ^ -(number & 1), at
    if kind == 7:
        return None, at + 8
    if kind == 8:  # a text
        size, at = _varint(content, at)
        return None, at + size
    if kind == 12:
        return _struct(content, at)
    raise ValueError(f"a page's header holds a value of the kind {kind}")  # lists and maps are in none


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while content[at] & 128:
        number |= (content[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return number | content[at] << shift, at + 1
