"""Arrays of numbers in files, which the file's size and a short header must agree about before anything is read.

Rows are read, not mapped: a file that is cut while it is read is an error, where touching a map would end the process.
"""

from __future__ import annotations

import io
import math
import os
import re
import weakref
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError
from c3align.io import opening
from c3align.io.ahead import beside
from c3align.ops.backends import get_num_threads

__all__ = ["BFLOAT16", "Stored", "as_floats", "of_layout", "stored"]

_MAGIC = b"\x93NUMPY"
_HAS_PREADV = hasattr(os, "preadv")
_LARGE = 1 << 22  # bytes that two threads copy from the page cache faster than one
_LONGEST_HEADER = 10_000  # as NumPy bounds it
# one type of numbers and one shape: nothing nested, so that NumPy's parser meets no depth
_HEADER = re.compile(rb"\{[^][(){}+~-]*\([\dL, ]*\)[^][(){}+~-]*\} *\n?")
BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # which NumPy lacks
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
    kept: np.dtype[Any] | None = None  # what the numbers are in the file, where that is not `dtype`
    scale: float = 1.0  # what a step of kept integers is worth

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "descriptor": -1}  # copies and other processes open it themselves

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def in_file(self) -> np.dtype[Any]:
        return self.dtype if self.kept is None else self.kept

    @property
    def n_bytes(self) -> int:
        return prod(self.shape) * self.in_file.itemsize

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        start, stop, step = rows.indices(len(self))
        return self.read(start, stop) if step == 1 else self.take(np.arange(start, stop, step))

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start to stop, read at once; refused if the file is another one than it was when it was opened."""
        n_rows = max(0, stop - start)
        with self._opened() as file:
            if not self.by_columns:
                out = np.empty((n_rows, *self.shape[1:]), self.in_file)
                self._fill(file, out, start * prod(self.shape[1:]))
                return self._plain(out)
            columns = np.empty((*self.shape[:0:-1], n_rows), self.in_file)
            for number, column in enumerate(columns.reshape(prod(self.shape[1:]), n_rows)):
                self._fill(file, column, number * self.shape[0] + start)
            return self._plain(columns.T)

    def read_into(self, out: npt.NDArray[Any], start: int) -> None:
        """Rows from `start` on, as many as there is room for, without a copy where the file has them as they are."""
        if self.kept is None and not self.by_columns:
            with self._opened() as file:
                self._fill(file, out, start * prod(self.shape[1:]))
        else:
            out[:] = self.read(start, start + len(out))

    def take(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Rows by number, in any order."""
        if self.by_columns:
            return np.concatenate([self.read(0, 0), *(self.read(int(i), int(i) + 1) for i in numbers)])
        out = np.empty((len(numbers), self.shape[1]), self.in_file)
        with self._opened() as file:
            for row, number in zip(out, numbers):
                self._fill(file, row, int(number) * self.shape[1])
        return self._plain(out)

    def _plain(self, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Numbers as `dtype`, of numbers as they are in the file."""
        if self.kept is None:
            return found
        if self.kept == BFLOAT16:
            return (found.view("<u2").astype(np.uint32) << 16).view(np.float32)
        plain = found.astype(self.dtype)
        return plain if self.scale == 1 else np.multiply(plain, self.dtype.type(self.scale), out=plain)

    def held(self) -> Stored:
        """The same rows of a file that stays open: they can be read when another file has taken its name."""
        found = replace(self, descriptor=os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        weakref.finalize(found, os.close, found.descriptor)
        return found

    def _opened(self) -> Any:
        if self.descriptor < 0:
            file = opening.in_parts(self.path)
        else:
            file = open(self.descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115 (its callers close it)
        if opening.identity(file) != self.seen:
            file.close()
            raise self._changed()
        return file

    def _fill(self, file: Any, out: npt.NDArray[Any], first: int) -> None:
        """Numbers from the `first` on."""
        place, left = self.offset + first * self.in_file.itemsize, out.reshape(-1).view(np.uint8).data
        if len(left) < _LARGE or get_num_threads() < 2 or not (_HAS_PREADV and opening.is_local(file)):
            self._fill_bytes(file, left, place)
            return
        half = len(left) // 2
        with beside(self._fill_bytes, file, left[half:], place + half):
            self._fill_bytes(file, left[:half], place)

    def _fill_bytes(self, file: Any, left: memoryview, place: int) -> None:
        while len(left):
            n_bytes = _read(file, left, place)
            if not n_bytes:
                raise self._changed()
            place, left = place + n_bytes, left[n_bytes:]

    def _changed(self) -> C3AlignError:
        return C3AlignError(f"{self.path} was changed while it was read; run this again when it is complete")


def stored(path: str | os.PathLike[str]) -> Stored:
    """The rows of a .npy file; ValueError if its header is not one of numbers, or does not agree with its size."""
    with opening.in_parts(os.fspath(path)) as file:
        head = opening.first_bytes(file, len(_MAGIC) + 6 + _LONGEST_HEADER)
        if not head.startswith(_MAGIC):
            raise ValueError("it is not a .npy file")
        text, offset = _header(head)
        dtype, shape, by_columns = _parsed(text)
        return of_layout(path, dtype, shape, offset, by_columns, file)


def of_layout(
    path: Any, dtype: Any, shape: tuple[int, ...], offset: int, by_columns: bool = False, file: Any = None
) -> Stored:
    """An array that begins at `offset` and ends with the file."""
    if file is None:
        with opening.in_parts(os.fspath(path)) as file:
            return of_layout(path, dtype, shape, offset, by_columns, file)
    seen = opening.identity(file)
    found = Stored(os.fspath(path), np.dtype(dtype), shape, offset, by_columns, seen)
    size = seen[2] if opening.is_local(file) else opening.n_bytes(file)
    if size != offset + found.n_bytes:
        raise ValueError(f"it is {size} bytes long, where {shape} {found.dtype} need {offset + found.n_bytes}")
    return found


def as_floats(found: Stored, scale: float | None = None) -> Stored:
    """The same rows as numbers of this machine: of swapped bytes, of bfloat16, and of int8 in steps of `scale`.

    Raises
    ------
    C3AlignError
        int8 without a scale, and a scale of what has none.
    """
    kept = found.dtype
    if (kept == np.int8) != (scale is not None):
        if scale is None:
            raise C3AlignError(
                f"{found.path} has dtype int8; convert it, or, to commands that know it, pass what a step is worth as "
                "--scale (1 / 127, often)"
            )
        raise C3AlignError(f"{found.path} must be int8 to have a scale, got {kept}; omit --scale")
    if scale is not None and not 0 < scale < math.inf:
        raise C3AlignError(f"--scale must be a finite number above 0, got {scale}; pass what a step is worth")
    if scale is not None or kept == BFLOAT16:
        return replace(found, dtype=np.dtype(np.float32), kept=kept, scale=1.0 if scale is None else scale)
    return found if kept.isnative or kept.kind != "f" else replace(found, dtype=kept.newbyteorder("="), kept=kept)


def _read(file: Any, into: memoryview, place: int) -> int:
    """Bytes read from a place; without moving the file's own, which threads share, where the system can."""
    if _HAS_PREADV and opening.is_local(file):
        return os.preadv(file.fileno(), [into], place)
    file.seek(place)
    return int(file.readinto(into))


def _header(head: bytes) -> tuple[bytes, int]:
    """The text that describes the array, and where the numbers begin."""
    version = head[len(_MAGIC) : len(_MAGIC) + 2]
    start = len(_MAGIC) + 2 + (2 if version == b"\1\0" else 4)
    end = start + int.from_bytes(head[len(_MAGIC) + 2 : start], "little")
    if version not in (b"\1\0", b"\2\0") or end > len(head):
        raise ValueError("its header is not that of an array of numbers")
    return head[start:end], end


@lru_cache(64)
def _parsed(text: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Dtype, shape and order; shards of one run have one header, which is read once."""
    if not _HEADER.fullmatch(text):
        raise ValueError("its header is not that of an array of numbers")
    file = io.BytesIO(len(text).to_bytes(4, "little") + text)
    try:
        shape, by_columns, dtype = np.lib.format.read_array_header_2_0(file)
    except Exception as error:  # of Python's tokenizer too, for quotes and comments
        raise ValueError("its header is not that of an array of numbers") from error
    if not _DTYPE.fullmatch(dtype.str):
        raise ValueError(f"it holds {dtype} and not numbers")
    return dtype, shape, by_columns and len(shape) > 1
