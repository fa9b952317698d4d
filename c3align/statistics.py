"""What fit learns: exact sums over unit rows, of one modality and of pairs.

The sums are integers (`c3align.ops.fixed`), so that the same rows give the same bytes for any split, order, merge tree
or backend, and rows that were added can be removed again (promise P1). Floats appear only when a mean or a variance
is read, each rounded once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from c3align import ops
from c3align._arguments import as_floats, check_whole, checked, shown
from c3align._exact import MAX_ROWS, ONE, ExactSums
from c3align._typing import Array, Float64Array, Int64Array, ZeroRows
from c3align.errors import C3AlignError
from c3align.ops import fixed

__all__ = ["ModalityStatistics", "PairStatistics", "paired_statistics"]


@dataclass(frozen=True, eq=False, repr=False)
class ModalityStatistics(ExactSums):
    """Exact statistics of one modality's unit rows and raw norms.

    Parameters
    ----------
    n_rows, n_zero_rows : int
        Rows summed, and rows without a direction that were left out (``zero_rows="keep"``).
    sums, squares : (2, n_dims) int64
        The 128-bit sums of ``rint(u * 2**40)`` and of ``rint(u**2 * 2**40)`` over the unit rows u.
    norms : (256,) int64
        Sums of the 24-bit mantissas of the raw norms, one bin for each binary exponent.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(100, 8))
    >>> whole = ModalityStatistics.from_rows(rows)
    >>> whole == ModalityStatistics.from_rows(rows[:30]) + ModalityStatistics.from_rows(rows[30:])
    True
    """

    norms: Int64Array

    @classmethod
    @checked
    def from_rows(cls, X: Array, *, zero_rows: ZeroRows = "raise") -> ModalityStatistics:
        """Learn the unit rows of X.

        Parameters
        ----------
        X, zero_rows : optional
            As in `ops.moments`.
        """
        return cls(*ops.moments(X, zero_rows=zero_rows))

    @classmethod
    @checked
    def from_mean(cls, mean: Array, n_rows: int) -> ModalityStatistics:
        """Stand in for rows of which nothing but their mean was published.

        Mean, gap, total variance and standard error are those of the rows, as exactly as the mean was given. How the
        variance spreads over columns, and raw norms, are unknown: it spreads evenly here, and norms are 1.

        Parameters
        ----------
        mean : (n_dims,) or (1, n_dims) array or tensor
            The mean of unit rows, shorter than 1.
        n_rows : int
            How many rows it is the mean of.
        """
        n_rows = check_whole("n_rows", n_rows, 1, MAX_ROWS - 1)
        shape = np.shape(mean)
        if not shape or not shape[-1]:
            raise C3AlignError(f"mean must be a vector (n_dims,), got {shown(mean)}; pass the mean of unit rows")
        values = as_floats("mean", mean).ravel()
        with np.errstate(over="ignore"):
            length = float(np.linalg.norm(values))
        if values.size != np.shape(mean)[-1] or not length < 1:
            raise C3AlignError(
                f"mean must be that of unit rows, (n_dims,) and shorter than 1, got {np.shape(mean)} of length "
                f"{length:.4g}; normalize the rows before their mean is taken"
            )
        squares = values**2 + (1 - length**2) / values.size
        sums, energy = (fixed.from_ints([round(v * ONE) * n_rows for v in part.tolist()]) for part in (values, squares))
        return cls(n_rows, 0, sums, energy, fixed.binned(np.ones(1)) * n_rows)

    @cached_property
    def mean_norm(self) -> float:
        """Mean Euclidean norm of the raw rows (each rounded to float32), which `translate` restores."""
        self._need_rows()
        total = sum(int(mantissas) << exponent for exponent, mantissas in enumerate(self.norms))
        return total / (self.n_rows << 150)  # bin b holds multiples of 2**(b - 126 - 24)

    @property
    def standard_error(self) -> float:
        """Expected distance of this mean from the true one: ``sqrt(total_variance / n_rows)``; infinite for one row."""
        return math.inf if self.n_rows == 1 else float(np.sqrt(self.total_variance / self.n_rows))

    def problem(self) -> str | None:
        """Find a contradiction in these numbers, norms included, as loading and `subtract` do.

        Returns
        -------
        str or None
            What is wrong.
        """
        found = super().problem()
        if found or not self.n_rows:
            return found
        n, energy, bins = self.n_rows, fixed.total(self.squares), [int(mantissas) for mantissas in self.norms]
        if abs(energy - n * ONE) > n * (ONE // 2**20 + self.n_dims):
            return "the count contradicts the sums of squares of unit rows"
        # the highest of a mantissa's 24 bits is set, so that each bin bounds the number of its rows on both sides
        fewest, most = sum(-(-found // ((1 << 24) - 1)) for found in bins), sum(found >> 23 for found in bins)
        if any(found < 1 << 23 for found in bins if found) or not fewest <= n <= most:
            return "the count contradicts the norms"
        return None


@dataclass(frozen=True, eq=False, repr=False)
class PairStatistics(ExactSums):
    """Exact statistics of the differences ``u_x - u_y`` of paired unit rows: ``u_x - u_y = gap + eps``.

    Parameters
    ----------
    n_rows, n_zero_rows : int
        Pairs summed, and pairs left out as a row has no direction (``zero_rows="keep"``).
    sums, squares : (2, n_dims) int64
        The 128-bit sums of ``rint(D * 2**40)`` and of ``rint(D**2 * 2**40)`` over the float64 differences D.
    """

    def problem(self) -> str | None:
        """Find a contradiction in these numbers, as loading and `subtract` do; unit rows are at most 2 apart.

        Returns
        -------
        str or None
            What is wrong.
        """
        found = super().problem()
        if found is None and fixed.total(self.squares) > self.n_rows * (4 * ONE + ONE // 2**20 + self.n_dims):
            return "the squares are not those of unit rows"
        return found

    @classmethod
    @checked
    def from_rows(cls, X: Array, Y: Array, *, zero_rows: ZeroRows = "raise") -> PairStatistics:
        """Learn the differences of paired unit rows.

        Parameters
        ----------
        X, Y : (n_rows, n_dims) arrays or tensors, floating
            Row i of X is the partner of row i of Y; raises for different shapes, and as `ops.normalize`.
        zero_rows : "raise" or "keep"
            Whether pairs with a row without a direction are refused or left out and counted.
        """
        return paired_statistics(X, Y, zero_rows=zero_rows)[2]

    def negated(self) -> PairStatistics:
        """Swap the two sides of all pairs.

        Returns
        -------
        PairStatistics
            Of the differences ``u_y - u_x``.
        """
        return PairStatistics(self.n_rows, self.n_zero_rows, fixed.negate(self.sums), self.squares)

    @property
    def gap(self) -> Float64Array:
        """Constant part c (n_dims,) of the difference (C3, eq. 1)."""
        return self.mean

    @property
    def sigma(self) -> float:
        """Standard deviation of the residual eps per coordinate: ``sqrt(E||eps||**2 / n_dims)``."""
        return float(np.sqrt(self.total_variance / self.n_dims))

    @property
    def mean_cosine(self) -> float:
        """Mean cosine of a pair: ``1 - E||u_x - u_y||**2 / 2``."""
        self._need_rows()
        return 1 - fixed.total(self.squares) / (2 * self.n_rows * ONE)


@checked
def paired_statistics(
    X: Array, Y: Array, *, zero_rows: ZeroRows = "raise", y_zero_rows: ZeroRows | None = None
) -> tuple[ModalityStatistics, ModalityStatistics, PairStatistics]:
    """Learn X, Y and their pairs in one pass over both.

    Parameters
    ----------
    X, Y, zero_rows, y_zero_rows : optional
        As in `ops.pair_moments`.

    Returns
    -------
    ModalityStatistics, ModalityStatistics, PairStatistics
        Of X, of Y, and of the pairs.
    """
    found = ops.pair_moments(X, Y, zero_rows=zero_rows, y_zero_rows=y_zero_rows)
    return ModalityStatistics(*found.x), ModalityStatistics(*found.y), PairStatistics(*found.differences)
