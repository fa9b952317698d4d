"""Second moments of pairs, across: what maps that are learned from pairs need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c3align import ops
from c3align._typing import Array, Float64Array, ZeroRows
from c3align.covariance import CovarianceStatistics
from c3align.ops import products
from c3align.ops.arrays import is_tensor
from c3align.statistics import PairStatistics

__all__ = ["CrossCovariance"]


@dataclass(frozen=True, eq=False)
class CrossCovariance:
    """Second moments of paired unit rows (u, v): of both sides and across; `PairCovariance` knows ``u - v`` alone.

    Attributes
    ----------
    x, y : CovarianceStatistics
        Of the u and of the v of these pairs.
    products : (n_dims, n_dims) float64
        ``sum(u v^T)`` over the pairs, within ``1e-12 * n_rows`` an entry.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(100, 4))
    >>> found = CrossCovariance.from_rows(rows, rows)
    >>> bool(np.allclose(found.covariance, found.x.covariance, atol=1e-12))
    True
    """

    x: CovarianceStatistics
    y: CovarianceStatistics
    products: Float64Array

    def __post_init__(self) -> None:
        self.products.flags.writeable = False

    @property
    def n_rows(self) -> int:
        return self.x.n_rows

    @property
    def covariance(self) -> Float64Array:
        """``E[u v^T] - E[u] E[v]^T`` (n_dims, n_dims), divisor n_rows."""
        return self.products / self.n_rows - np.outer(self.x.statistics.mean, self.y.statistics.mean)

    @classmethod
    def empty(cls, n_dims: int) -> CrossCovariance:
        """Statistics of no pairs: the identity of `merge`."""
        return cls(CovarianceStatistics.empty(n_dims), CovarianceStatistics.empty(n_dims), np.zeros((n_dims, n_dims)))

    @classmethod
    def from_rows(cls, X: Array, Y: Array, *, zero_rows: ZeroRows = "raise") -> CrossCovariance:
        """Statistics of the pairs (X[i], Y[i]), both (n_rows, n_dims) floating; refuses as `PairStatistics`."""
        PairStatistics.from_rows(X, Y, zero_rows=zero_rows)  # refuses with the row's number in the whole
        total = cls.empty(int(X.shape[1]))
        for u, v in products.unit_pairs(X, Y):
            u, v = ops.normalize(u), ops.normalize(v)  # as the statistics beside them see the rows
            found = u.T @ v
            found = found.cpu().numpy() if is_tensor(found) else found
            total = total + cls(CovarianceStatistics.from_rows(u), CovarianceStatistics.from_rows(v), found)
        return total

    def transposed(self) -> CrossCovariance:
        """The same pairs the other way round: (v, u)."""
        return CrossCovariance(self.y, self.x, self.products.T)

    def merge(self, other: CrossCovariance) -> CrossCovariance:
        """Statistics of both sets of pairs together."""
        return CrossCovariance(self.x + other.x, self.y + other.y, self.products + other.products)

    def subtract(self, other: CrossCovariance) -> CrossCovariance:
        """Statistics without the pairs of `other`, exact but for `products`, which are so to rounding."""
        return CrossCovariance(self.x - other.x, self.y - other.y, self.products - other.products)

    __add__ = merge
    __sub__ = subtract

    def problem(self) -> str | None:
        """Why these numbers contradict one another, or None: what loading checks."""
        found = self.x.problem() or self.y.problem()
        if found is None and self.x.n_rows != self.y.n_rows:
            return "the two sides of the pairs differ in number"
        if found or not self.n_rows:
            return found or ("no pairs, yet products" if self.products.any() else None)
        spreads = [np.sqrt(side.statistics.variance + 2.0**-38) for side in (self.x, self.y)]
        if not (np.abs(self.covariance) <= np.outer(*spreads) + 2e-9).all():  # Cauchy-Schwarz; NaN fails too
            return "the products across contradict the variances"
        return None
