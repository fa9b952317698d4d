"""Second moments across columns, for what needs more than a mean: spectra, shaped noise, whitening.

Products of columns are summed in float64 by BLAS, in blocks of rows. Unlike the statistics beside them they carry a
tolerance and not bits: the order of the additions is BLAS's own. The means and the diagonal stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from c3align import ops
from c3align._typing import Array, Float64Array, ZeroRows
from c3align.statistics import ModalityStatistics

__all__ = ["CovarianceStatistics"]


@dataclass(frozen=True, eq=False)
class CovarianceStatistics:
    """Exact statistics of a modality's unit rows, and the float64 sums of products of their columns.

    Attributes
    ----------
    statistics : ModalityStatistics
        Of the same rows.
    products : (n_dims, n_dims) float64
        ``sum(u u^T)`` over the unit rows u, within ``1e-12 * n_rows`` an entry.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(1000, 4)) + 2
    >>> whole = CovarianceStatistics.from_rows(rows)
    >>> parts = CovarianceStatistics.from_rows(rows[:10]) + CovarianceStatistics.from_rows(rows[10:])
    >>> bool(np.allclose(whole.covariance, parts.covariance, atol=1e-12))
    True
    """

    statistics: ModalityStatistics
    products: Float64Array

    def __post_init__(self) -> None:
        self.products.flags.writeable = False

    @classmethod
    def empty(cls, n_dims: int) -> CovarianceStatistics:
        """Statistics of no rows: the identity of `merge`."""
        return cls(ModalityStatistics.empty(n_dims), np.zeros((n_dims, n_dims)))

    @classmethod
    def from_rows(cls, X: Array, *, zero_rows: ZeroRows = "raise") -> CovarianceStatistics:
        """Statistics of the rows X (n_rows, n_dims), floating, of any norm; reads X twice."""
        statistics = ModalityStatistics.from_rows(X, zero_rows=zero_rows)
        return cls(statistics, ops.column_products(X, zero_rows=zero_rows))

    @property
    def n_rows(self) -> int:
        return self.statistics.n_rows

    @cached_property
    def covariance(self) -> Float64Array:
        """``E[u u^T] - m m^T`` (n_dims, n_dims), divisor n_rows; the diagonal is the exact variance."""
        mean = self.statistics.mean
        found = self.products / self.n_rows - np.outer(mean, mean)
        np.fill_diagonal(found, self.statistics.variance)
        found.flags.writeable = False
        return found

    @cached_property
    def eigenvalues(self) -> Float64Array:
        """Eigenvalues (n_dims,) of the covariance, largest first, none below zero."""
        return np.maximum(0.0, np.linalg.eigvalsh(self.covariance)[::-1])

    def merge(self, other: CovarianceStatistics) -> CovarianceStatistics:
        """Statistics of both sets of rows together."""
        return self._combined(other, 1)

    def subtract(self, other: CovarianceStatistics) -> CovarianceStatistics:
        """Statistics without the rows of `other`; exact in `statistics`, to rounding in `products`."""
        return self._combined(other, -1)

    __add__ = merge
    __sub__ = subtract

    def _combined(self, other: CovarianceStatistics, sign: int) -> CovarianceStatistics:
        if not isinstance(other, CovarianceStatistics):
            raise TypeError(f"cannot combine CovarianceStatistics with {type(other).__name__}")
        both = self.statistics.merge if sign > 0 else self.statistics.subtract
        return CovarianceStatistics(both(other.statistics), self.products + sign * other.products)

    def problem(self) -> str | None:
        """Why these numbers contradict one another, or None: what loading checks."""
        found = self.statistics.problem()
        if found or not self.n_rows:
            return found or ("no rows, yet products" if self.products.any() else None)
        products, bound = self.products, 1e-9 * self.n_rows
        exact = self.statistics.variance + self.statistics.mean**2
        if not np.isfinite(products).all() or np.abs(products - products.T).max() > bound:
            return "the products of columns are not finite or not symmetric"
        if np.abs(np.diagonal(products) - self.n_rows * exact).max() > bound:
            return "the products of columns contradict the sums of squares"
        return None
