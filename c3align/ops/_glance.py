"""A quick look at some rows, in float64 and without exact sums: enough to decide whose they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align._typing import Float64Array
from c3align.ops._backend import pick
from c3align.ops._rows import Rows, as_rows
from c3align.ops.reference import FIXED_SCALE, OK, unit_rows

__all__ = ["gram", "moments"]


def moments(X: Any, n_rows: int) -> tuple[int, Float64Array, Any, Any]:
    """Number, mean (n_dims,) and sums of squares (n_dims,) of at most `n_rows` evenly spaced rows of X, and these rows.

    Rows without a direction, or not finite, are left out unreported: a glance is no check. Squares are in units of
    2**-40.
    """
    rows = as_rows(X)
    step = -(-rows.shape[0] // n_rows)
    sample = rows if step <= 1 else rows.take(slice(None, None, step))
    sums, squares, _, status = pick().moments(sample)
    n = sample.shape[0] - int(np.count_nonzero(status))
    return n, sums * (1 / (max(n, 1) * FIXED_SCALE)), squares, sample


def gram(rows: Rows, scale: Float64Array, n_rows: int) -> Float64Array:
    """Products of up to `n_rows` unit rows with each other, their mean subtracted and their columns times `scale`."""
    unit, _, status = unit_rows(rows.widened())
    usable = np.flatnonzero(status == OK)
    chosen = unit[usable[:: -(-len(usable) // n_rows)]].astype(np.float64) * scale
    centered = chosen - chosen.mean(axis=0)
    return centered @ centered.T
