"""Rows, however many and wherever they are: one source of them, read in blocks."""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError
from c3align.io import container, digests, npy, opening
from c3align.io.ahead import read_ahead
from c3align.io.columns import Column
from c3align.io.patterns import files_of
from c3align.io.writing import write_npy
from c3align.ops.arrays import as_rows, dtype_name, first_bad, of_frame

__all__ = ["Picked", "RowSource", "write_npy"]

# of rows in float32; as much as glibc gives again and again without new pages from the system
BLOCK_BYTES = (1 << 25) - (1 << 16)
_CONNECTIONS = 16  # headers that are fetched at a time
_TAKEN = 256  # far rows of a mapped file bring many others into memory, so that they are taken in parts
_SAFE_DTYPES: dict[str, Any] = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": npy.BFLOAT16}


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
        """From an array, a path (of a file, a folder of them, a pattern, a URL), or a list of either."""
        if isinstance(X, cls):
            return replace(X, name=name)
        given = tuple(X) if isinstance(X, list | tuple) else (X,)
        if given and all(isinstance(part, str | os.PathLike) for part in given):
            return cls.open([os.fspath(part) for part in given], name)
        if not given:
            raise C3AlignError(f"{name} holds no rows; pass some")
        given = tuple(map(of_frame, given))
        widths = {as_rows(part, name).shape[1] for part in given}
        if len(widths) != 1:
            raise C3AlignError(f"the parts of {name} are not all of one width ({sorted(widths)}); use one encoder")
        return cls(name, given)

    @classmethod
    def open(
        cls,
        patterns: Sequence[str],
        name: str = "X",
        column: str | None = None,
        scale: float | None = None,
        **said: Any,
    ) -> RowSource:
        """Files, in the order given; those of a pattern or a folder in the order of the numbers in their names.

        `column` is that of a .parquet, which ``x.parquet#column`` names too; `scale` what a step of int8 is worth.
        """
        files = []
        for pattern in patterns:
            files += [(path, own or column) for path, own in files_of(pattern)]
        paths, stored = tuple(path for path, _ in files), partial(_stored, scale=scale)
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            each = pool.map if opening.is_url(paths[0]) else map
            parts = tuple(each(stored, *zip(*files)))
        width = next((part.shape[1] for part in parts if part.shape[0]), parts[0].shape[1])
        parts = tuple(part.of_width(width) if isinstance(part, Column) else part for part in parts)
        as_rows(np.empty((0, 1), parts[0].dtype), paths[0])  # refuses other kinds of numbers
        for path, part in zip(paths, parts):
            if part.shape[1] != parts[0].shape[1] or part.dtype != parts[0].dtype:
                raise _unlike(path, part, paths[0], parts[0])
        return cls(name, parts, paths, **said)

    @cached_property
    def ends(self) -> list[int]:
        """The number of the first row behind each part, and 0 before the first."""
        return [0, *accumulate(int(part.shape[0]) for part in self.parts)]

    @property
    def n_rows(self) -> int:
        return self.ends[-1]

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

    def read(self, start: int, stop: int, into: npt.NDArray[Any] | None = None) -> Any:
        """Rows start to stop: a view where one array holds them all; rows of files at the beginning of `into`."""
        start, stop = max(start, 0), min(stop, self.n_rows)
        first = max(0, bisect_right(self.ends, start) - 1)
        within = range(first, min(bisect_right(self.ends, max(start, stop - 1)), len(self.parts)))
        if self.paths:
            return self._read_files(start, stop, within, into)
        found = [self.parts[i][max(start - self.ends[i], 0) : max(stop - self.ends[i], 0)] for i in within]
        return found[0] if len(found) == 1 else np.concatenate([as_rows(part).widened() for part in found])

    def _read_files(self, start: int, stop: int, within: range, into: Any) -> npt.NDArray[Any]:
        """Rows of some files, which have one dtype."""
        n_rows = max(0, stop - start)
        out = np.empty((n_rows, self.n_dims), self.parts[0].dtype) if into is None else into[:n_rows]
        for i in within:
            low, high = max(start, self.ends[i]), min(stop, self.ends[i + 1])
            if low < high:
                rows = out[low - start : high - start]
                self.parts[i].read_into(rows, low - self.ends[i])
                if self.watch is not None:
                    self.watch.see(self.paths[i], low - self.ends[i], rows, self.ends[i + 1] - self.ends[i])
        return out

    def blocks(self, n_rows: int | None = None) -> Iterator[tuple[int, Any]]:
        """Number of the first row, and rows, block by block, `n_rows` at a time or in bounded memory."""
        step = n_rows or max(1, BLOCK_BYTES // (4 * self.n_dims))
        for start in range(0, self.n_rows, step):
            yield start, self.read(start, start + step)
            self.release()

    def blocks_of(self, first: int, stop: int, empty: Any = None) -> Iterator[tuple[int, Any]]:
        """Blocks of some rows, with the number of their first row; into what `empty` gives, else read ahead."""
        step = max(1, BLOCK_BYTES // (4 * self.n_dims))
        room = partial(empty, (step, self.n_dims), self.parts[0].dtype) if self.paths and empty else lambda: None
        found = ((start, self.read(start, min(start + step, stop), room())) for start in range(first, stop, step))
        yield from read_ahead(found) if self.paths and not empty else found

    def pieces(self, n_rows: int, first_part: int = 0, empty: Any = None) -> Iterator[tuple[int, Any, int]]:
        """Number of the first row, and rows, of blocks that hold whole parts or are a piece of one; and how many parts
        are behind each. Rows of files are in what `empty` gives, else in one buffer, which the next block takes.
        """
        places = list(self._places(n_rows, first_part))
        most = max((stop - start for start, stop, _ in places), default=0)
        empty = (empty or lru_cache(np.empty)) if self.paths else lambda *_: None
        for start, stop, behind in places:
            yield start, self.read(start, stop, empty((most, self.n_dims), self.parts[0].dtype)), behind
            self.release()

    def _places(self, n_rows: int, first_part: int) -> Iterator[tuple[int, int, int]]:
        part = first_part
        while part < len(self.parts):
            behind = max(bisect_right(self.ends, self.ends[part] + n_rows) - 1, part + 1)
            for place in range(self.ends[part], self.ends[behind], n_rows):
                stop = min(place + n_rows, self.ends[behind])
                yield place, stop, behind if stop == self.ends[behind] else part
            part = behind

    def take(self, numbers: npt.ArrayLike) -> npt.NDArray[Any]:
        """Rows by number, in any order, widened to float32 or float64."""
        wanted = np.asarray(numbers, np.int64)
        out = np.empty((len(wanted), self.n_dims), np.float64 if self.dtype == "float64" else np.float32)
        first = 0
        for part in self.parts:
            rows = part if self.paths else as_rows(part, self.name)
            here = np.flatnonzero((first <= wanted) & (wanted < first + rows.shape[0]))
            step = max(1, len(here)) if self.paths else _TAKEN
            for i in range(0, len(here), step):
                some = here[i : i + step]
                out[some] = as_rows(rows.take(wanted[some] - first)).widened()
                self.release()
            first += rows.shape[0]
        return out

    def spread(self, n_rows: int) -> npt.NDArray[np.int64]:
        """Numbers of evenly spaced rows."""
        return np.unique(np.linspace(0, self.n_rows - 1, min(n_rows, self.n_rows)).astype(np.int64))

    def sample(self, n_rows: int) -> npt.NDArray[Any]:
        """Evenly spaced rows, widened."""
        return self.take(self.spread(n_rows))

    def where(self, row: int) -> str:
        """File and row of a row, for messages."""
        if not 0 <= row < self.n_rows:
            return self.paths[0] if self.paths and not self.n_rows else self.name
        i = bisect_right(self.ends, row) - 1
        return f"{self.paths[i] if self.paths else self.name}, row {row - self.ends[i]}"

    @contextmanager
    def located(self, start: int, rows: Any, numbers: Any = None) -> Iterator[None]:
        """Errors about a block name the file and the row in it; it begins with row `start`, or has these numbers."""
        try:
            yield
        except ValueError as error:
            if not start and len(self.parts) == 1 and type(self) is RowSource:
                raise
            bad = max(0, first_bad(as_rows(rows)))
            place = self.where(start + bad if numbers is None else int(numbers[bad]))
            raise C3AlignError(f"{place}: counted from row {start} of {self.name}: {error}") from error

    def release(self) -> None:
        """Give back the memory of what was read of memory-mapped arrays; their files stay as they are."""
        for mapped in self._mapped:
            mapped.madvise(mmap.MADV_DONTNEED)

    @cached_property
    def _mapped(self) -> list[Any]:
        # read-only maps alone: a private one (mode "c") would forget what was written into it
        maps = [getattr(part, "_mmap", None) for part in self.parts if getattr(part, "mode", None) == "r"]
        return [found for found in maps if found is not None and hasattr(found, "madvise")]


@dataclass(frozen=True)
class Picked(RowSource):
    """Some rows of a source, in an order of their own."""

    base: Any = None  # the source
    numbers: Any = ()  # (n,) int64, of its rows

    @classmethod
    def from_source(cls, source: RowSource, numbers: npt.NDArray[np.int64]) -> RowSource:
        """Those with these numbers; all files are read once where digests are known, as later only some rows are."""
        if len(numbers) == source.n_rows and (np.diff(numbers) == 1).all():
            return source
        if source.watch is not None:
            for _ in source.blocks():
                pass
        base = replace(source, watch=None)
        return cls(base.name, base.parts, base.paths, base.modality, base.fingerprint, None, base, numbers)

    @property
    def n_rows(self) -> int:
        return len(self.numbers)

    def read(self, start: int, stop: int, into: npt.NDArray[Any] | None = None) -> Any:
        wanted = self.numbers[start:stop]
        first, behind = (int(wanted.min()), int(wanted.max()) + 1) if len(wanted) else (0, 0)
        if behind - first <= 2 * len(wanted):  # one piece of the files, where the order is much the same
            return self.base.read(first, behind)[wanted - first]
        return self.base.take(wanted)

    def take(self, numbers: npt.ArrayLike) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = self.base.take(self.numbers[np.asarray(numbers, np.int64)])
        return found

    def where(self, row: int) -> str:
        return str(self.base.where(int(self.numbers[row])))


def _unlike(path: str, part: Any, first_path: str, first: Any) -> C3AlignError:
    """The error for files that are not of one width and dtype."""
    fix = "pass files of one encoder and dtype"
    if part.shape[1] == first.shape[1]:
        small, large = (path, first) if part.dtype.itemsize < first.dtype.itemsize else (first_path, part)
        fix = "write them in one dtype, as c3align embed --dtype does"
        if small.endswith(".npy") and not opening.is_url(small):
            call = f"numpy.save({small!r}, numpy.load({small!r}).astype({large.dtype.name!r}))"
            fix = f"convert one in Python: import numpy; {call}"
    told = f"{path} is {part.dtype} with {part.shape[1]} columns and {first_path} {first.dtype} with {first.shape[1]}"
    return C3AlignError(f"{told}; {fix}")


def _stored(path: str, column: str | None = None, scale: float | None = None) -> npy.Stored | Column:
    """A file of rows, never unpickled, of which no more than the header is read."""
    suffix = os.path.splitext(path)[1]
    if not opening.is_url(path) and not os.path.isfile(path):
        if os.path.exists(path):
            raise C3AlignError(
                f"{path} is no file, and rows are read more than once; write them to a file, and pass that"
            )
        raise C3AlignError(f"no {'file' if suffix else 'file or folder'} {path}; check the name")
    if (column is not None and suffix != ".parquet") or (scale is not None and suffix == ".parquet"):
        option = "--column is about .parquet" if column is not None else "--scale is about int8"
        raise C3AlignError(f"{path} must be another kind of file: {option}; omit it")
    rows = Column(path, column) if suffix == ".parquet" else npy.as_floats(_array(path), scale)
    if len(rows.shape) != 2 or rows.shape[1] == 0:
        raise C3AlignError(f"{path} does not hold rows (n, d) but {rows.shape}; save a 2-d array with numpy.save")
    return rows


def _array(path: str) -> npy.Stored:
    try:
        return _of_safetensors(path) if path.endswith(".safetensors") else npy.stored(path)
    except (ValueError, EOFError, OSError) as error:
        raise C3AlignError(
            f"{path} is not a whole file of numbers ({error}); save rows with numpy.save, or copy the file again"
        ) from error


def _of_safetensors(path: str) -> npy.Stored:
    header, first, _ = container.read_header(path, "file of rows")
    tensors = [value for name, value in header.items() if name != "__metadata__"]
    if len(tensors) != 1 or not isinstance(tensors[0], dict) or tensors[0].get("dtype") not in _SAFE_DTYPES:
        held = f"{len(tensors)}, first {min(header.keys() - {'__metadata__'}, default=None)!r:.60}"
        told = "if it is a model's, move it elsewhere: a folder of embeddings holds nothing else"
        raise ValueError(f"it must hold one tensor of {', '.join(_SAFE_DTYPES)}, got {held}; {told}")
    shape = tensors[0].get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"it states the shape {shape!r}")
    found = npy.of_layout(path, _SAFE_DTYPES[tensors[0]["dtype"]], tuple(shape), first)
    if tensors[0].get("data_offsets") != [0, found.n_bytes]:
        raise ValueError(f"it states the bytes {tensors[0].get('data_offsets')!r} for {found.n_bytes}")
    return found
