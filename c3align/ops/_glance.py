"""A quick look at some rows, in float64 and without exact sums: enough to decide whose they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align._typing import Float64Array, Int64Array
from c3align.ops._backend import eager_backend, pick
from c3align.ops._rows import Rows, as_rows, is_on_device
from c3align.ops.reference import FIXED_SCALE, OK, unit_rows

__all__ = ["can_look", "gram", "moments", "positions"]


def can_look(X: Any) -> bool:
    """Whether X has values: tensors on torch's meta device have none."""
    return not is_on_device(X) or X.device.type != "meta"


def moments(X: Any, n_rows: int) -> tuple[int, Float64Array, Any, Any]:
    """Number, mean (n_dims,) and sums of squares (n_dims,) of at most `n_rows` evenly spaced rows of X, and these rows.

    Rows without a direction, or not finite, are left out unreported: a glance is no check. Squares are in units of
    2**-40.
    """
    sample, n, sums, squares = (_on_device if is_on_device(X) else _on_host)(X, n_rows)
    return n, np.asarray(sums * (1 / (max(n, 1) * FIXED_SCALE)), np.float64), squares, sample


def _on_host(X: Any, n_rows: int) -> tuple[Rows, int, Int64Array, Int64Array]:
    rows = as_rows(X)
    step = -(-rows.shape[0] // n_rows)
    sample = rows if step <= 1 else rows.take(slice(None, None, step))
    sums, squares, _, status = pick().moments(sample)
    return sample, sample.shape[0] - int(np.count_nonzero(status)), sums, squares


def _on_device(X: Any, n_rows: int) -> tuple[Any, int, Int64Array, Int64Array]:
    """The same sums; so few rows need the low words alone."""
    sample = X[:: -(-X.shape[0] // n_rows) or 1]
    n, _, sums, squares, _ = eager_backend().moments(sample, None)
    return sample, n, sums[1], squares[1]


def gram(rows: Any, scale: Float64Array, n_rows: int) -> Float64Array:
    """Products of up to `n_rows` unit rows with each other, their mean subtracted and their columns times `scale`."""
    if is_on_device(rows):
        return eager_backend().gram(rows, scale, n_rows)
    unit, _, status = unit_rows(rows.widened())
    usable = np.flatnonzero(status == OK)
    chosen = unit[usable[:: -(-len(usable) // n_rows)]].astype(np.float64) * scale
    centered = chosen - chosen.mean(axis=0)
    return centered @ centered.T


def positions(rows: Any, direction: Float64Array) -> Float64Array:
    """Products of the unit rows with a direction, one for each row that has one."""
    if is_on_device(rows):
        return eager_backend().positions(rows, direction)
    wide = rows.widened()
    squares = np.einsum("nd,nd->n", wide, wide)
    usable = np.isfinite(squares) & (squares > 0)
    along = np.einsum("nd,d->n", wide, direction.astype(wide.dtype))  # so few rows are not worth BLAS's threads
    return np.asarray(along[usable] / np.sqrt(squares[usable]), np.float64)
