"""Rows, however many and wherever they are: one source of them, read in blocks, and one way to write them."""

from __future__ import annotations

import glob
import mmap
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError
from c3align.io import atomic, container, digests, npy
from c3align.ops.arrays import as_rows, dtype_name, first_non_finite

__all__ = ["Picked", "RowSource", "natural", "write_npy"]

# of rows in float32; as much as glibc gives again and again without new pages from the system
BLOCK_BYTES = (1 << 25) - (1 << 16)
FILES = (".npy", ".safetensors")
_TAKEN = 256  # far rows of a mapped file bring many others into memory, so that they are taken in parts
_SAFE_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def natural(name: str | os.PathLike[str]) -> tuple[list[int | str], str]:
    """A key that sorts numbers in names as numbers: x_2 before x_10."""
    text = os.fspath(name)
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", text))], text


@dataclass(frozen=True)
class RowSource:
    """Rows of one or more arrays, tensors or files one after the other; files are read in blocks."""

    name: str  # what messages call them
    parts: tuple[Any, ...]  # arrays or `npy.Stored` (n, n_dims)
    paths: tuple[str, ...] = ()  # the files of the parts; none for arrays
    modality: str | None = None  # what a tree of shards says about them
    fingerprint: str | None = None
    watch: digests.Watch | None = None  # compares files that are read from first to last with their digests

    @classmethod
    def of(cls, X: Any, name: str = "X") -> RowSource:
        """From an array, a path (a .npy or .safetensors file, a folder of them, a pattern), or a list of either."""
        if isinstance(X, cls):
            return replace(X, name=name)
        given = tuple(X) if isinstance(X, list | tuple) else (X,)
        if given and all(isinstance(part, str | os.PathLike) for part in given):
            return cls.open([os.fspath(part) for part in given], name)
        if not given:
            raise C3AlignError(f"{name} holds no rows; pass some")
        widths = {as_rows(part, name).shape[1] for part in given}
        if len(widths) != 1:
            raise C3AlignError(f"the parts of {name} are not all of one width ({sorted(widths)}); use one encoder")
        return cls(name, given)

    @classmethod
    def open(cls, patterns: Sequence[str], name: str = "X", **said: Any) -> RowSource:
        """Files, in the order given; those of a pattern or a folder in the order of the numbers in their names."""
        paths = tuple(path for pattern in patterns for path in _files(pattern))
        if not paths:
            raise C3AlignError(f"no file fits {' '.join(patterns)}; check the pattern")
        parts = tuple(_stored(path) for path in paths)
        for path, part in zip(paths, parts):
            if part.shape[1] != parts[0].shape[1] or part.dtype != parts[0].dtype:
                raise C3AlignError(
                    f"{path} is {part.dtype} with {part.shape[1]} columns and {paths[0]} {parts[0].dtype} with "
                    f"{parts[0].shape[1]}; pass files of one encoder and dtype"
                )
        return cls(name, parts, paths, **said)

    @property
    def n_rows(self) -> int:
        return sum(int(part.shape[0]) for part in self.parts)

    @property
    def n_dims(self) -> int:
        return int(self.parts[0].shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        return self.n_rows, self.n_dims

    @property
    def dtype(self) -> str:
        """Its name, as NumPy and torch share it."""
        return dtype_name(self.parts[0])

    def read(self, start: int, stop: int) -> Any:
        """Rows start to stop: a view where one array holds them all."""
        found, first = [], 0
        for i, part in enumerate(self.parts):
            low, high = max(start - first, 0), min(stop - first, int(part.shape[0]))
            if low < high:
                found.append(part[low:high])
                if self.watch is not None:
                    self.watch.see(self.paths[i], low, found[-1], int(part.shape[0]))
            first += int(part.shape[0])
        return found[0] if len(found) == 1 else np.concatenate([as_rows(part).widened() for part in found])

    def blocks(self, n_rows: int | None = None) -> Iterator[tuple[int, Any]]:
        """Number of the first row, and rows, block by block, `n_rows` at a time or in bounded memory."""
        step = n_rows or max(1, BLOCK_BYTES // (4 * self.n_dims))
        for start in range(0, self.n_rows, step):
            yield start, self.read(start, start + step)
            self.release()

    def take(self, numbers: npt.ArrayLike) -> npt.NDArray[Any]:
        """Rows by number, in any order, widened to float32 or float64."""
        wanted = np.asarray(numbers, np.int64)
        out = np.empty((len(wanted), self.n_dims), np.float64 if self.dtype == "float64" else np.float32)
        first = 0
        for part in self.parts:
            rows = part if isinstance(part, npy.Stored) else as_rows(part, self.name)
            here = np.flatnonzero((first <= wanted) & (wanted < first + rows.shape[0]))
            for i in range(0, len(here), _TAKEN):
                some = here[i : i + _TAKEN]
                out[some] = as_rows(rows.take(wanted[some] - first)).widened()
                self.release()
            first += rows.shape[0]
        return out

    def sample(self, n_rows: int) -> npt.NDArray[Any]:
        """Evenly spaced rows, widened."""
        return self.take(np.unique(np.linspace(0, self.n_rows - 1, min(n_rows, self.n_rows)).astype(np.int64)))

    def where(self, row: int) -> str:
        """File and row of a row, for messages."""
        for i, part in enumerate(self.parts):
            if row < part.shape[0]:
                return f"{self.paths[i] if self.paths else self.name}, row {row}"
            row -= int(part.shape[0])
        return self.name

    @contextmanager
    def located(self, start: int, rows: Any) -> Iterator[None]:
        """Errors about a block that begins with row `start` name the file and the row in it."""
        try:
            yield
        except ValueError as error:
            if not start and len(self.parts) == 1 and type(self) is RowSource:
                raise
            block = as_rows(rows, self.name)
            first = first_non_finite(block)[1]
            zeros = np.flatnonzero(~block.widened().any(axis=1))
            place = self.where(start + (first if first >= 0 else int(zeros[0]) if len(zeros) else 0))
            raise C3AlignError(f"{place}: counted from row {start} of {self.name}: {error}") from error

    def release(self) -> None:
        """Give back the memory of what was read of memory-mapped arrays; their files stay as they are."""
        for part in self.parts:
            mapped = getattr(part, "_mmap", None)
            # only of read-only maps: a private one (mode "c") would forget what was written into it
            if getattr(part, "mode", None) == "r" and mapped is not None and hasattr(mapped, "madvise"):
                mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Picked(RowSource):
    """Some rows of a source, in an order of their own."""

    numbers: Any = ()  # (n,) int64, of the rows of all parts

    @classmethod
    def from_source(cls, source: RowSource, numbers: npt.NDArray[np.int64]) -> RowSource:
        """Those with these numbers; all files are read once where digests are known, as later only some rows are."""
        if len(numbers) == source.n_rows and (np.diff(numbers) == 1).all():
            return source
        if source.watch is not None:
            for _ in source.blocks():
                pass
        return cls(source.name, source.parts, source.paths, source.modality, source.fingerprint, None, numbers)

    @property
    def n_rows(self) -> int:
        return len(self.numbers)

    def read(self, start: int, stop: int) -> Any:
        wanted = self.numbers[start:stop]
        first, behind = (int(wanted.min()), int(wanted.max()) + 1) if len(wanted) else (0, 0)
        if behind - first <= 2 * len(wanted):  # one piece of the files, where the order is much the same
            return super().read(first, behind)[wanted - first]
        return super().take(wanted)

    def take(self, numbers: npt.ArrayLike) -> npt.NDArray[Any]:
        return super().take(self.numbers[np.asarray(numbers, np.int64)])

    def where(self, row: int) -> str:
        return super().where(int(self.numbers[row]))


def _files(pattern: str) -> list[str]:
    """The files that a name stands for; one that exists stands for itself, brackets and all."""
    name = atomic.expanded(pattern)
    if os.path.isdir(name):
        return sorted((str(path) for path in Path(name).iterdir() if path.suffix in FILES), key=natural)
    return sorted(glob.glob(name), key=natural) if glob.has_magic(name) and not os.path.exists(name) else [name]


def _stored(path: str) -> npy.Stored:
    """A file of rows, never unpickled, of which no more than the header is read."""
    if not os.path.isfile(path):
        raise C3AlignError(f"no file {path}; check the name")
    try:
        rows = _of_safetensors(Path(path)) if path.endswith(".safetensors") else npy.stored(path)
    except (ValueError, EOFError, OSError) as error:
        raise C3AlignError(
            f"{path} is not a whole file of numbers ({error}); save rows with numpy.save, or copy the file again"
        ) from error
    if len(rows.shape) != 2 or rows.shape[1] == 0:
        raise C3AlignError(f"{path} does not hold rows (n, d) but {rows.shape}; save a 2-d array with numpy.save")
    as_rows(np.empty((0, 1), rows.dtype), path)
    return rows


def _of_safetensors(path: Path) -> npy.Stored:
    header, first, _ = container.read_header(path, "file of rows")
    tensors = [value for name, value in header.items() if name != "__metadata__"]
    if len(tensors) != 1 or not isinstance(tensors[0], dict) or tensors[0].get("dtype") not in _SAFE_DTYPES:
        raise ValueError(f"it must hold one tensor of {', '.join(_SAFE_DTYPES)}, got {list(header)}")
    shape = tensors[0].get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"it states the shape {shape!r}")
    found = npy.of_layout(path, _SAFE_DTYPES[tensors[0]["dtype"]], tuple(shape), first)
    if tensors[0].get("data_offsets") != [0, found.n_bytes]:
        raise ValueError(f"it states the bytes {tensors[0].get('data_offsets')!r} for {found.n_bytes}")
    return found


def write_npy(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: Any, blocks: Iterable[Any]) -> None:
    """Replace a .npy file by blocks of rows, `shape` in all; the space is reserved first, and a full disk named."""
    dtype, n_rows = np.dtype(dtype), 0
    with atomic.replaced_file(path) as scratch, scratch.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        _reserve(file, int(np.prod(shape, dtype=object)) * dtype.itemsize, path)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
            n_rows += len(block)
        if n_rows != shape[0]:
            raise C3AlignError(f"{path} must get {shape[0]} rows, got {n_rows}; pass all of them")


def _reserve(file: Any, n_bytes: int, path: str | os.PathLike[str]) -> None:
    if hasattr(os, "posix_fallocate") and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.flush()
        try:
            os.posix_fallocate(file.fileno(), 0, file.tell() + n_bytes)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror} ({n_bytes:,} bytes are needed)", os.fspath(path)) from error
