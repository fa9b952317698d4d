"""Second moments of pairs, across: what maps that are learned from pairs need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import ops
from c3align._arguments import check_same_class, checked
from c3align._matrices import rounded
from c3align._typing import Array, Float64Array, ZeroRows
from c3align.covariance import CovarianceStatistics, Precision
from c3align.ops import products
from c3align.ops.arrays import as_rows, is_on_device, is_tensor
from c3align.statistics import paired_statistics

__all__ = ["CrossCovariance"]


@dataclass(frozen=True, eq=False)
class CrossCovariance:
    """Second moments of paired unit rows (u, v): of both sides and across; `PairCovariance` knows ``u - v`` alone.

    Parameters
    ----------
    x, y : CovarianceStatistics
        Statistics of the u and of the v of these pairs.
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
    products: Float64Array = field(repr=False)

    def __post_init__(self) -> None:
        self.products.flags.writeable = False

    @property
    def n_rows(self) -> int:
        """Number of pairs summed."""
        return self.x.n_rows

    @property
    def covariance(self) -> Float64Array:
        """``E[u v^T] - E[u] E[v]^T`` (n_dims, n_dims), divisor n_rows."""
        return self.products / self.n_rows - np.outer(self.x.statistics.mean, self.y.statistics.mean)

    @classmethod
    @checked
    def empty(cls, n_dims: int) -> CrossCovariance:
        """Make the statistics of no pairs, the identity of `merge`.

        Parameters
        ----------
        n_dims : int
            Dimension of the rows.
        """
        return cls(CovarianceStatistics.empty(n_dims), CovarianceStatistics.empty(n_dims), np.zeros((n_dims, n_dims)))

    @classmethod
    @checked
    def from_rows(cls, X: Array, Y: Array, *, zero_rows: ZeroRows = "raise") -> CrossCovariance:
        """Learn paired rows.

        Parameters
        ----------
        X, Y : (n_rows, n_dims) arrays or tensors, floating
            Row i of X is the partner of row i of Y; refused as by `PairStatistics.from_rows`.
        zero_rows : "raise" or "keep"
            Whether pairs with a row without a direction are refused or left out.
        """
        x, y, pairs = paired_statistics(X, Y, zero_rows=zero_rows)
        if x.n_zero_rows or y.n_zero_rows:
            where = _both(X, Y)
            return cls.from_rows(_taken(X, where), _taken(Y, where)) if pairs.n_rows else cls.empty(int(X.shape[1]))
        total = np.zeros((3, x.n_dims, x.n_dims))
        for u, v in products.unit_pairs(X, Y):
            for k, (a, b) in enumerate(((u, u), (v, v), (u, v))):
                found = a.T @ b
                total[k] += found.cpu().numpy() if is_tensor(found) else found
        of_x, of_y = ((part + part.T) / 2 for part in total[:2])  # as BLAS may not have them to the bit
        return cls(CovarianceStatistics(x, of_x), CovarianceStatistics(y, of_y), total[2])

    def transposed(self) -> CrossCovariance:
        """Take the same pairs the other way round.

        Returns
        -------
        CrossCovariance
            Statistics of (v, u).
        """
        return CrossCovariance(self.y, self.x, self.products.T)

    def merge(self, other: CrossCovariance) -> CrossCovariance:
        """Combine the statistics of two sets of pairs.

        Parameters
        ----------
        other : CrossCovariance
            Statistics of the same width.

        Returns
        -------
        CrossCovariance
            Statistics of all pairs together; ``+`` does the same.
        """
        check_same_class(self, other)
        return CrossCovariance(self.x + other.x, self.y + other.y, self.products + other.products)

    def subtract(self, other: CrossCovariance) -> CrossCovariance:
        """Remove pairs that were learned before.

        Parameters
        ----------
        other : CrossCovariance
            Statistics of some of the same pairs.

        Returns
        -------
        CrossCovariance
            Exact in the means and variances of both sides, up to rounding in all products; ``-`` does the same.
        """
        check_same_class(self, other)
        return CrossCovariance(self.x - other.x, self.y - other.y, self.products - other.products)

    __add__ = merge
    __sub__ = subtract

    @checked
    def kept(self, dtype: Precision = "float64") -> npt.NDArray[Any]:
        """Give what a file holds of the products: they themselves, or the covariance in half the space.

        Parameters
        ----------
        dtype : "float64" or "float32"
            As in `CovarianceStatistics.packed`.

        Returns
        -------
        (n_dims, n_dims) float64 or float32
            For `from_kept`.
        """
        return self.products.astype(dtype) if dtype == "float64" or not self.n_rows else rounded(self.covariance)

    @classmethod
    @checked
    def from_kept(cls, x: CovarianceStatistics, y: CovarianceStatistics, kept: npt.NDArray[Any]) -> CrossCovariance:
        """Build statistics from the result of `kept`.

        Parameters
        ----------
        x, y : CovarianceStatistics
            Of the two sides.
        kept : (n_dims, n_dims) float64 or float32
            What `kept` gave.
        """
        products = kept.astype(np.float64)
        if kept.dtype == np.float32 and x.n_rows:
            products = (products + np.outer(x.statistics.mean, y.statistics.mean)) * x.n_rows
        return cls(x, y, products)

    def problem(self) -> str | None:
        """Find a contradiction in these numbers, as loading does.

        Returns
        -------
        str or None
            What is wrong.
        """
        found = self.x.problem() or self.y.problem()
        if found is None and self.x.n_rows != self.y.n_rows:
            return "the two sides of the pairs differ in number"
        if found or not self.n_rows:
            return found or ("no pairs, yet products" if self.products.any() else None)
        spreads = [np.sqrt(side.statistics.variance + 2.0**-38) for side in (self.x, self.y)]
        if not (np.abs(self.covariance) <= np.outer(*spreads) + 2e-9).all():  # Cauchy-Schwarz; NaN fails too
            return "the products across contradict the variances"
        return None


def _both(X: Array, Y: Array) -> npt.NDArray[np.intp]:
    """Numbers of the pairs of which both rows have a direction."""
    usable = []
    for rows in (X, Y):
        unit = ops.normalize(rows, zero_rows="keep").any(1)
        usable.append(unit.cpu().numpy() if is_tensor(unit) else unit)
    return np.flatnonzero(usable[0] & usable[1])


def _taken(X: Array, where: npt.NDArray[np.intp]) -> Array:
    return X[where] if is_on_device(X) else as_rows(X).take(where)
