"""A quick look at some rows in float64, without exact sums: enough to decide their modality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from c3align._typing import Float64Array, Int64Array
from c3align.ops.arrays import Rows, as_rows, is_on_device
from c3align.ops.backends import load, pick
from c3align.ops.reference import FIXED_SCALE, OK, unit_rows

__all__ = ["GLANCE_ROWS", "Glance", "against", "can_look", "gram", "moments", "positions"]


GLANCE_ROWS, GRAM_ROWS = 1024, 256  # rows looked at, evenly spaced


@dataclass(frozen=True, eq=False)
class Glance:
    """What evenly spaced rows of a batch show: float64, no exact sums.

    Parameters
    ----------
    n_rows : int
        Rows looked at that have a direction.
    mean : (n_dims,) float64
        Mean of their unit rows.
    squares : (n_dims,) float64 or int64
        Sums of the squares of their unit rows, in units of 2**-40.
    rows : array or tensor
        All rows looked at, those without a direction too.
    """

    n_rows: int
    mean: Float64Array
    squares: Any
    rows: Any

    @classmethod
    def of(cls, X: Any, n_rows: int = GLANCE_ROWS) -> Glance:
        """Look at some of the rows X; unusable ones are left out unreported.

        Parameters
        ----------
        X : (n, n_dims) array or tensor
            Rows.
        n_rows : int
            How many to look at, at most.

        Returns
        -------
        Glance
            What they show.
        """
        return cls(*moments(X, n_rows))

    @cached_property
    def variance(self) -> Float64Array:
        """Variance (n_dims,) of the columns with divisor ``n_rows - 1``; zeros for one row."""
        n = max(self.n_rows, 1)
        return np.maximum(self.squares / (n * FIXED_SCALE) - self.mean**2, 0.0) * (n / max(n - 1, 1)) * (n > 1)

    @property
    def total_variance(self) -> float:
        """Sum of the variances: ``1 - ||mean||**2`` for unit rows, times ``n / (n - 1)``."""
        n = self.n_rows
        return (1 - float(self.mean @ self.mean)) * n / (n - 1) if n > 1 else 0.0

    def participation(self, scale: Float64Array) -> float:
        """Count the directions that the rows vary in: ``tr(S)**2 / tr(S**2)``, S their covariance.

        Both traces are unbiased (Himeno and Yamada 2014); at least 1.5, as few rows show too little.

        Parameters
        ----------
        scale : (n_dims,) float64
            What columns are multiplied by before.

        Returns
        -------
        float
            Their number.
        """
        products = gram(self.rows, scale, GRAM_ROWS)
        n = len(products)
        diagonal = np.diagonal(products)
        trace, squares = diagonal.sum() / (n - 1), (products**2).sum() / (n - 1) ** 2
        fourth = (diagonal**2).sum() / (n - 1)
        trace_of_square = (n - 1) / (n * (n - 2) * (n - 3)) * ((n - 1) * (n - 2) * squares + trace**2 - n * fourth)
        return float(min(max(trace**2 / max(trace_of_square, 1e-300), 1.5), len(self.mean)))


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
    """The same sums; so few rows need only the low words."""
    sample = X[:: -(-X.shape[0] // n_rows) or 1]
    n, _, sums, squares, _ = load("_device").moments(load("eager"), sample, None)
    return sample, n, sums[1], squares[1]


def against(X: Any, n_rows: int, mean: Float64Array, directions: Float64Array) -> tuple[int, float, float, list[float]]:
    """The essentials of a glance at no more than `n_rows` evenly spaced rows of X, in a few microseconds.

    Parameters
    ----------
    X : (n, n_dims) rows
    n_rows : int
    mean : (n_dims,) float64, contiguous
    directions : (k, n_dims) float64, contiguous

    Returns
    -------
    How many of them have a direction; and for the mean of their unit rows: its squared norm, its squared distance from
    `mean`, and its product with each of `directions`.
    """
    if is_on_device(X):
        return load("eager").glance(X[:: max(-(-X.shape[0] // n_rows), 1)], mean, directions)
    if pick().name == "native":
        rows = as_rows(X)
        return pick().glance(rows, max(-(-rows.shape[0] // n_rows), 1), mean, directions)
    n, found, _, _ = moments(X, n_rows)
    difference = found - mean
    return n, float(found @ found), float(difference @ difference), (directions @ found).tolist()


def gram(rows: Any, scale: Float64Array, n_rows: int) -> Float64Array:
    """Products of up to `n_rows` unit rows with each other, their mean subtracted and their columns times `scale`."""
    if is_on_device(rows):
        return load("eager").gram(rows, scale, n_rows)
    unit, _, status = unit_rows(rows.widened())
    usable = np.flatnonzero(status == OK)
    chosen = unit[usable[:: -(-len(usable) // n_rows)]].astype(np.float64) * scale
    centered = chosen - chosen.mean(axis=0)
    return centered @ centered.T


def positions(rows: Any, direction: Float64Array) -> Float64Array:
    """Products of the unit rows with a direction, one for each row that has one."""
    if is_on_device(rows):
        return load("eager").positions(rows, direction)
    wide = rows.widened()
    squares = np.einsum("nd,nd->n", wide, wide)
    usable = np.isfinite(squares) & (squares > 0)
    along = np.einsum("nd,d->n", wide, direction.astype(wide.dtype))  # too few rows for BLAS's threads to pay
    return np.asarray(along[usable] / np.sqrt(squares[usable]), np.float64)
