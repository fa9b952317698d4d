"""How each column of a modality's unit rows is distributed, in mergeable counts, and monotone maps between columns.

The counts are integers in bins that are fixed beforehand, so that the same rows give the same counts for any batch
split, order or merge tree, and rows that were added can be taken away again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from c3align import ops
from c3align._arguments import as_floats, check_same_class, check_whole, checked, shown
from c3align._typing import Array, Float64Array, Int64Array, ZeroRows
from c3align.errors import C3AlignError
from c3align.mappings._affine import RowTransform, check_rows
from c3align.mappings._learned import Need, Statistics, check_count, means, moments, of_all
from c3align.ops.arrays import as_rows, dtype_name, is_on_device, is_tensor

__all__ = ["BINS", "Quantile", "QuantileSketch", "RowQuantiles"]

BINS = 1024
BIN_WIDTH = 2 / BINS
_BLOCK_ELEMENTS = 1 << 21


@dataclass(frozen=True, eq=False)
class QuantileSketch:
    """How many of a modality's unit rows have each column in each of 1,024 equal bins of [-1, 1]: 8 KiB a column.

    Parameters
    ----------
    counts : (n_dims, 1024) int64
        Rows in each bin, column by column.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(1000, 8))
    >>> whole = QuantileSketch.from_rows(rows)
    >>> parts = QuantileSketch.from_rows(rows[:10]) + QuantileSketch.from_rows(rows[10:])
    >>> bool((whole.counts == parts.counts).all())
    True
    """

    counts: Int64Array = field(repr=False)

    def __post_init__(self) -> None:
        self.counts.flags.writeable = False

    @property
    def n_dims(self) -> int:
        """Dimension of the rows."""
        return len(self.counts)

    @property
    def n_rows(self) -> int:
        """Number of rows counted."""
        return int(self.counts[0].sum())

    @classmethod
    @checked
    def empty(cls, n_dims: int) -> QuantileSketch:
        """Make the sketch of no rows, the identity of `merge`.

        Parameters
        ----------
        n_dims : int
            Dimension of the rows.
        """
        check_whole("n_dims", n_dims)
        return cls(np.zeros((n_dims, BINS), np.int64))

    @classmethod
    @checked
    def from_rows(cls, X: Array, *, zero_rows: ZeroRows = "raise") -> QuantileSketch:
        """Count the unit rows of X, on the host: rows on a device are copied there block by block.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor, floating
            Rows of any norm; refused as by `ops.normalize`.
        zero_rows : "raise" or "keep"
            Whether rows without a direction are refused or left out.
        """
        ops.moments(X, zero_rows=zero_rows)  # refuses with the row's number in the whole
        n_rows, n_dims = X.shape
        rows: Any = X if is_on_device(X) else as_rows(X)
        counts = np.zeros(n_dims * BINS, np.int64)
        step = max(1, _BLOCK_ELEMENTS // n_dims)
        for start in range(0, n_rows, step):
            block = slice(start, start + step)
            part = as_rows(rows[block].detach().cpu()) if is_tensor(rows) else rows.take(block)
            unit = ops.normalize(part.widened(), zero_rows=zero_rows)
            unit = unit[unit.any(axis=1)]
            bins = np.clip((unit + 1) * (BINS / 2), 0, BINS - 1).astype(np.int64)
            counts += np.bincount((bins + np.arange(n_dims) * BINS).ravel(), minlength=counts.size)
        return cls(counts.reshape(n_dims, BINS))

    def merge(self, other: QuantileSketch) -> QuantileSketch:
        """Combine the sketches of two sets of rows.

        Parameters
        ----------
        other : QuantileSketch
            A sketch of the same width.

        Returns
        -------
        QuantileSketch
            The sketch of all rows together; ``+`` does the same.
        """
        return self._combined(other, 1)

    def subtract(self, other: QuantileSketch) -> QuantileSketch:
        """Remove rows that were counted before.

        Parameters
        ----------
        other : QuantileSketch
            The sketch of some of these rows; `C3AlignError` where a count would fall below zero.

        Returns
        -------
        QuantileSketch
            The sketch of the other rows; ``-`` does the same.
        """
        return self._combined(other, -1)

    __add__ = merge
    __sub__ = subtract

    def _combined(self, other: QuantileSketch, sign: int) -> QuantileSketch:
        check_same_class(self, other)
        if self.n_dims != other.n_dims:
            raise C3AlignError(
                f"sketches of {self.n_dims} and of {other.n_dims} dimensions cannot be combined; "
                "use rows of one encoder"
            )
        return _checked(QuantileSketch(self.counts + sign * other.counts))

    def problem(self) -> str | None:
        """Find a contradiction in these numbers, as loading and `subtract` do.

        Returns
        -------
        str or None
            What is wrong.
        """
        totals = self.counts.sum(axis=1)
        if (self.counts < 0).any() or (totals != totals[0]).any():
            return "counts are negative, or differ from column to column"
        return None

    def quantiles(self, at: Float64Array) -> Float64Array:
        """Compute quantiles of each column, linear within a bin.

        Parameters
        ----------
        at : (n,) float64
            Shares of the rows, in [0, 1].

        Returns
        -------
        (n, n_dims) float64
            Values below which these shares lie.

        Raises
        ------
        C3AlignError
            A sketch of no rows.
        """
        if not self.n_rows:
            raise C3AlignError("this sketch holds no rows; fit it on some first")
        at = as_floats("at", at)
        if at.ndim != 1 or not ((at >= 0) & (at <= 1)).all():
            raise C3AlignError(f"at must be shares (n,) of the rows, in [0, 1], got {shown(at)}; pass such as [0.5]")
        edges = np.linspace(-1, 1, BINS + 1)
        below = np.concatenate([np.zeros((self.n_dims, 1)), np.cumsum(self.counts, axis=1)], axis=1) / self.n_rows
        return np.stack([np.interp(at, column, edges) for column in below], axis=1)


@dataclass(frozen=True, eq=False)
class RowQuantiles:
    """A monotone map of each column: piecewise linear through knots, of slope 1 beyond the first and the last.

    Parameters
    ----------
    source, goal : (n_knots, n_dims) float64, strictly increasing down each column
        ``source[k, j]`` becomes ``goal[k, j]``, and there always is a way back.
    """

    source: Float64Array
    goal: Float64Array

    def apply(self, rows: Array) -> Array:
        """See `RowTransform.apply`."""
        check_rows(rows, self.source.shape[1])
        if is_tensor(rows):
            knots = (np.ascontiguousarray(knots.T, dtype_name(rows)) for knots in (self.source, self.goal))
            return _interpolated(rows, *(rows.detach().new_tensor(each) for each in knots))
        found = rows - np.clip(rows, self.source[0], self.source[-1]).astype(rows.dtype)
        for column, source, goal in zip(range(rows.shape[1]), self.source.T, self.goal.T):
            found[:, column] += np.interp(rows[:, column], source, goal).astype(rows.dtype)
        return found

    def inverse(self) -> RowQuantiles:
        """See `RowTransform.inverse`."""
        return RowQuantiles(self.goal, self.source)


@dataclass(frozen=True)
class Quantile:
    """Each column to one distribution, whose quantiles are the mean of the modalities' own: their barycenter.

    A column whose standard deviation is below a bin of the sketches (0.002) in some modality is centered alone in all.

    Parameters
    ----------
    n_quantiles : int
        Knots of each column's map, from 2 to 1,024.
    """

    n_quantiles: int = 100
    needs: ClassVar[tuple[Need, ...]] = ("sketches",)

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowTransform]:
        """See `Mapping.solve`."""
        check_count("n_quantiles", self.n_quantiles, 2, BINS)
        centers = means(statistics)
        sketches = of_all(statistics, learned.get("sketches"), "sketches")
        at = (np.arange(self.n_quantiles) + 0.5) / self.n_quantiles
        own = {name: sketches[name].quantiles(at) for name in statistics}
        goal = np.mean(list(own.values()), axis=0) - np.mean(list(centers.values()), axis=0)
        narrow = np.min([moments(found).variance for found in statistics.values()], axis=0) < BIN_WIDTH**2
        straight = np.linspace(-1, 1, self.n_quantiles)[:, None]
        goal = np.where(narrow, straight, goal)
        return {
            name: RowQuantiles(np.where(narrow, straight + centers[name], knots), goal) for name, knots in own.items()
        }


def _interpolated(rows: Any, source: Any, goal: Any) -> Any:
    """`RowQuantiles.apply` for a tensor; knots are (n_dims, n_knots), on its device."""
    torch = sys.modules["torch"]
    x = rows.T.contiguous()
    inside = x.clamp(source[:, :1], source[:, -1:])
    right = torch.searchsorted(source, inside).clamp(1, source.shape[1] - 1)
    a, b, c, d = (knots.gather(1, at) for knots in (source, goal) for at in (right - 1, right))
    return (c + (inside - a) * ((d - c) / (b - a)) + (x - inside)).T.contiguous()


def _checked(found: QuantileSketch) -> QuantileSketch:
    if problem := found.problem():
        raise C3AlignError(f"the result could not come from any rows ({problem}); subtract only rows that were added")
    return found
