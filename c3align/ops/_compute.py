"""Rows in memory and tensors on a device: checked, computed by their backend, refused where rows are unusable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from c3align.ops import _checks, _matrix_noise
from c3align.ops.arrays import Rows, as_rows, is_tensor
from c3align.ops.backends import load, on_cuda, pick
from c3align.ops.rowmap import Request, RowMap

__all__ = ["compute", "device_backend"]

_SMALL_BYTES, _SCRATCH_BYTES = 1 << 22, 1 << 24  # up to here a copy is faster than two passes; the second with noise


def device_backend(X: Any, request: Request | None = None) -> Any:
    """The backend of a tensor's device; None for memory of this process."""
    if not is_tensor(X) or X.is_cpu:
        return None
    if on_cuda(X) and load("cuda").serves(X, request):
        return load("cuda")
    return load("eager")


def compute(X: Any, request: Request, out: Any = None, overwrite_out: bool = False) -> Any:
    """The mapped rows of arrays, and of tensors that nothing records; a matrix sigma for rows in memory alone."""
    if type(X) is not np.ndarray and type(X) is not Rows and (where := device_backend(X, request)) is not None:
        return load("_device").transform(where, X, request, out, overwrite_out)
    rows = as_rows(X)
    if request.noise is not None and request.has_matrix:
        return _filled(rows, _matrix_noise.corrupted(rows, request), out)
    row_map = request.on_host(rows)
    if out is not None:
        _write(rows, _checks.target(out, rows), row_map, request, overwrite_out)
        return out
    target = np.empty(rows.values.shape, rows.values.dtype)
    status = pick().transform(rows, target, row_map)
    if status is not None:
        _checks.status(rows, status, request.zero_rows)
    return target if type(X) is not Rows and rows.values is X else rows.restore(target)


def _filled(rows: Rows, values: Any, out: Any) -> Any:
    if out is None:
        return rows.restore(values)
    _checks.target(out, rows)[...] = values
    return out


def _write(rows: Rows, target: Any, row_map: RowMap, request: Request, overwrite: bool) -> None:
    """Transform into the caller's memory; a refused batch leaves it unchanged, or at least X and the vectors."""
    own = _checks.apart(row_map, target)
    is_apart = own is row_map and not np.may_share_memory(target, rows.values)
    transform: Callable[..., Any] = pick().transform
    if overwrite and is_apart:
        _checks.status(rows, transform(rows, target, own), request.zero_rows)
    elif target.nbytes < (_SCRATCH_BYTES if row_map.noise.sigma else _SMALL_BYTES):
        scratch = np.empty(target.shape, target.dtype)
        _checks.status(rows, transform(rows, scratch, own), request.zero_rows)
        target[...] = scratch
    else:
        _checks.status(rows, transform(rows, None, own), request.zero_rows)
        transform(rows, target, own)
