"""Arrays of numbers in files, which the file's size and a short header must agree about before anything is read.

Rows are read, not mapped: a file that is cut while it is read is an error, where touching a map would end the process.
"""

from __future__ import annotations

import os
import re
import weakref
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError

__all__ = ["Stored", "of_layout", "stored"]

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000  # as NumPy bounds it
# one type of numbers and one shape: nothing nested, so that NumPy's parser meets no depth
_HEADER = re.compile(rb"\{[^][(){}+~-]*\([\dL, ]*\)[^][(){}+~-]*\} *\n?")
_DTYPE = re.compile(r"[<>=|]?[biuf]\d\d?")


@dataclass(frozen=True)
class Stored:
    """Rows (n_rows, n_dims), or pictures (n, height, width[, channels]), of a file, read when they are asked for."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int  # where the first number is
    by_columns: bool  # the numbers of a column, not of a row, are side by side
    seen: tuple[int, ...]  # what tells the file from another one, or from what it was before
    descriptor: int = -1  # of the open file; -1 opens it by its path for every read

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "descriptor": -1}  # copies and other processes open it themselves

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def n_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        start, stop, step = rows.indices(len(self))
        return self.read(start, stop) if step == 1 else self.take(np.arange(start, stop, step))

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start to stop, read at once; refused if the file is another one than it was when it was opened."""
        n_rows = max(0, stop - start)
        with self._opened() as file:
            if not self.by_columns:
                out = np.empty((n_rows, *self.shape[1:]), self.dtype)
                self._fill(file, out, start * prod(self.shape[1:]))
                return out
            columns = np.empty((*self.shape[:0:-1], n_rows), self.dtype)
            for number, column in enumerate(columns.reshape(prod(self.shape[1:]), n_rows)):
                self._fill(file, column, number * self.shape[0] + start)
            return columns.T

    def take(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Rows by number, in any order."""
        if self.by_columns:
            return np.concatenate([self.read(0, 0), *(self.read(int(i), int(i) + 1) for i in numbers)])
        out = np.empty((len(numbers), self.shape[1]), self.dtype)
        with self._opened() as file:
            for row, number in zip(out, numbers):
                self._fill(file, row, int(number) * self.shape[1])
        return out

    def held(self) -> Stored:
        """The same rows of a file that stays open: they can be read when another file has taken its name."""
        found = replace(self, descriptor=os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        weakref.finalize(found, os.close, found.descriptor)
        return found

    def _opened(self) -> Any:
        given = self.path if self.descriptor < 0 else self.descriptor
        file = open(given, "rb", buffering=0, closefd=self.descriptor < 0)  # noqa: SIM115 (its callers close it)
        if _identity(file) != self.seen:
            file.close()
            raise self._changed()
        return file

    def _fill(self, file: Any, out: npt.NDArray[Any], first: int) -> None:
        """Numbers from the `first` on."""
        place, left = self.offset + first * self.dtype.itemsize, out.reshape(-1).view(np.uint8).data
        while len(left):
            n_bytes = _read(file, left, place)
            if not n_bytes:
                raise self._changed()
            place, left = place + n_bytes, left[n_bytes:]

    def _changed(self) -> C3AlignError:
        return C3AlignError(f"{self.path} was changed while it was read; run this again when it is complete")


def stored(path: str | os.PathLike[str]) -> Stored:
    """The rows of a .npy file; ValueError if its header is not one of numbers, or does not agree with its size."""
    with open(path, "rb") as file:
        if file.read(6) != _MAGIC:
            raise ValueError("it is not a .npy file")
        file.seek(0)
        dtype, shape, by_columns = _header(file)
        return of_layout(path, dtype, shape, file.tell(), by_columns)


def of_layout(path: Any, dtype: Any, shape: tuple[int, ...], offset: int, by_columns: bool = False) -> Stored:
    """An array that begins at `offset` and ends with the file."""
    with open(path, "rb") as file:
        found = Stored(os.fspath(path), np.dtype(dtype), shape, offset, by_columns, _identity(file))
        size = os.fstat(file.fileno()).st_size
    if size != offset + found.n_bytes:
        raise ValueError(f"it is {size} bytes long, where {shape} {found.dtype} need {offset + found.n_bytes}")
    return found


def _read(file: Any, into: memoryview, place: int) -> int:
    """Bytes read from a place; without moving the file's own, which threads share, where the system can."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [into], place)
    file.seek(place)
    return int(file.readinto(into))


def _header(file: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    version = np.lib.format.read_magic(file)
    n_bytes = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
    start = file.tell()
    text = file.read(min(n_bytes, _LONGEST_HEADER + 1))
    if version not in ((1, 0), (2, 0)) or len(text) != n_bytes or not _HEADER.fullmatch(text):
        raise ValueError("its header is not that of an array of numbers")
    file.seek(start - (2 if version == (1, 0) else 4))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, by_columns, dtype = read(file)
    except Exception as error:  # of Python's tokenizer too, for quotes and comments
        raise ValueError("its header is not that of an array of numbers") from error
    if not _DTYPE.fullmatch(dtype.str):
        raise ValueError(f"it holds {dtype} and not numbers")
    return dtype, shape, by_columns and len(shape) > 1


def _identity(file: Any) -> tuple[int, int, int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
