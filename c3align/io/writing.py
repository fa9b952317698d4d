"""Rows written as they were read: .npy, .safetensors, or a column of a .parquet whose other columns stay.

Each file appears whole under its name, or not at all; every byte goes through `os.write`, and its error names the file.
"""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.io import atomic, columns, container, opening
from c3align.io.ahead import beside
from c3align.io.columns import Column

__all__ = ["Sink", "sink", "write_npy", "write_parquet", "write_safetensors"]

_LARGE = 1 << 20  # bytes whose digest takes as long as a thread
_SAFE_NAMES = {"float16": "F16", "float32": "F32", "float64": "F64"}
Blocks = Iterable[npt.NDArray[Any]]


class Sink:
    """A file that is written from its beginning to its end; `digest` sees every byte."""

    closed = False

    def __init__(self, handle: int, digest: Any = None) -> None:
        self._handle, self._digest, self._place = handle, digest, 0

    def write(self, content: Any) -> int:
        left = memoryview(content)
        left = left.cast("B") if left.nbytes else left[:0]
        n_bytes = len(left)
        if self._digest is None or n_bytes < _LARGE:
            if self._digest is not None:
                self._digest.update(left)
            self._write(left)
        else:
            with beside(self._digest.update, left):
                self._write(left)
        self._place += n_bytes
        return n_bytes

    def _write(self, left: memoryview) -> None:
        while len(left):
            left = left[os.write(self._handle, left) :]

    def reserve(self, n_bytes: int) -> None:
        """Ask for the space that is still needed, where it is a file."""
        if hasattr(os, "posix_fallocate") and stat.S_ISREG(os.fstat(self._handle).st_mode) and n_bytes:
            try:
                os.posix_fallocate(self._handle, 0, self._place + n_bytes)
            except OSError as error:
                raise OSError(error.errno, f"{error.strerror} ({n_bytes:,} bytes are needed)") from error

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """Nothing is held back."""


@contextmanager
def sink(path: str | os.PathLike[str], *, digest: Any = None, **how: Any) -> Iterator[Sink]:
    """What takes the place of a file in the end."""
    with atomic.replaced_file(path, **how) as scratch:
        handle = os.open(scratch, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        try:
            yield Sink(handle, digest)
        finally:
            os.close(handle)


def write_npy(
    path: str | os.PathLike[str], shape: tuple[int, ...], dtype: Any, blocks: Iterable[Any], **how: Any
) -> None:
    """Replace a .npy file by blocks of rows, `shape` in all; the space is reserved first, and a full disk named."""
    dtype = np.dtype(dtype)
    with sink(path, **how) as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        _write_rows(file, path, shape, dtype, blocks)


def write_safetensors(path: Path, like: str, shape: tuple[int, ...], dtype: Any, blocks: Blocks, **how: Any) -> None:
    """A .safetensors file with one tensor, called as the one in `like` is."""
    dtype = np.dtype(dtype)
    header = container.read_header(like, "file of rows")[0]
    (name,) = [name for name in header if name != "__metadata__"]
    n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    entry = {"dtype": _SAFE_NAMES[dtype.name], "shape": list(shape), "data_offsets": [0, n_bytes]}
    text = json.dumps({**header, name: entry}).encode()
    text += b" " * (-len(text) % 8)
    with sink(path, **how) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        _write_rows(file, path, shape, dtype, blocks)


def _write_rows(file: Sink, path: Any, shape: tuple[int, ...], dtype: Any, blocks: Iterable[Any]) -> None:
    n_rows = 0
    file.reserve(int(np.prod(shape, dtype=object)) * dtype.itemsize)
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype).data)
        n_rows += len(block)
    if n_rows != shape[0]:
        raise C3AlignError(f"{path} must get {shape[0]} rows, got {n_rows}; pass all of them")


def write_parquet(
    path: Path, part: Column, change: Callable[[Callable[..., Any]], Iterable[tuple[Any, Any]]], **how: Any
) -> None:
    """A .parquet with all that `part`'s file holds, and its column of rows changed.

    `change` is given what yields the number of each batch's first row and its rows, and yields in their order which of
    them stay and what becomes of those.
    """
    pyarrow, parquet = need("pyarrow", "pyarrow"), need("pyarrow.parquet", "pyarrow")
    with opening.in_parts(part.path) as read, sink(path, **how) as file:
        table = part.table(read)
        place = table.schema_arrow.get_field_index(part.column)
        packed = table.metadata.row_group(0).column(0).compression if table.num_row_groups else "snappy"
        compression = "none" if packed == "UNCOMPRESSED" else packed.lower()
        writer, waiting = parquet.ParquetWriter(file, table.schema_arrow, compression=compression), deque[Any]()

        def blocks(*_: Any) -> Iterator[tuple[int, npt.NDArray[Any]]]:
            for start, batch in part.batches(read):
                waiting.append(batch)
                yield start, columns.floats_of(batch.column(place), part.shape[1], part.path, start)

        with writer:
            for stays, rows in change(blocks):
                batch = waiting.popleft()
                batch = batch if stays is None else batch.filter(pyarrow.array(stays))
                batch = batch.set_column(place, table.schema_arrow.field(place), _lists(pyarrow, rows, batch, place))
                writer.write_batch(batch)


def _lists(pyarrow: Any, rows: npt.NDArray[Any], batch: Any, place: int) -> Any:
    """Rows as the kind of lists that the column has."""
    kind = batch.schema.field(place).type
    values = pyarrow.array(np.ascontiguousarray(rows).reshape(-1), kind.value_type)
    if hasattr(kind, "list_size"):
        return pyarrow.FixedSizeListArray.from_arrays(values, type=kind)
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1]
    if pyarrow.types.is_large_list(kind):
        return pyarrow.LargeListArray.from_arrays(pyarrow.array(offsets), values, type=kind)
    return pyarrow.ListArray.from_arrays(pyarrow.array(offsets.astype(np.int32)), values, type=kind)
