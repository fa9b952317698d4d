"""Rows on disk: read in blocks, written one block after the other."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Any

import numpy as np

from c3align.errors import C3AlignError
from c3align.io import atomic

__all__ = ["write_npy"]


def write_npy(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: Any, blocks: Iterable[Any]) -> None:
    """Replace a .npy file by blocks of rows, `shape` in all; the space is reserved first, and a full disk named.

    Raises
    ------
    C3AlignError
        The blocks are not of that many rows.
    OSError
        The disk is full.
    """
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
