"""Second moments across columns, for what needs more than a mean: spectra, shaped noise, whitening.

Products of columns are summed in float64 by BLAS, in blocks of rows. Unlike the statistics beside them they carry a
tolerance and not bits: the order of the additions is BLAS's own. The means and the diagonal stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from c3align import ops
from c3align._typing import Array, Float64Array, ZeroRows
from c3align.ops.arrays import is_tensor
from c3align.statistics import ModalityStatistics, PairStatistics, pair_differences, unit_pairs

__all__ = ["CovarianceStatistics", "CrossCovariance", "PairCovariance", "symmetric_root"]

_Sums = TypeVar("_Sums", bound="_Products")


@dataclass(frozen=True, eq=False)
class _Products:
    """Exact statistics of some rows, and the float64 sums of products of their columns."""

    statistics: Any
    products: Float64Array

    def __post_init__(self) -> None:
        self.products.flags.writeable = False

    def __getstate__(self) -> dict[str, Any]:
        """What was learned; what was only worked out from it is not copied along."""
        return {"statistics": self.statistics, "products": self.products}

    @property
    def n_rows(self) -> int:
        return int(self.statistics.n_rows)

    @cached_property
    def covariance(self) -> Float64Array:
        """``E[v v^T] - m m^T`` (n_dims, n_dims), divisor n_rows; the diagonal is the exact variance."""
        mean = self.statistics.mean
        found = self.products / self.n_rows - np.outer(mean, mean)
        np.fill_diagonal(found, self.statistics.variance)
        found.flags.writeable = False
        return found

    @cached_property
    def eigenvalues(self) -> Float64Array:
        """Eigenvalues (n_dims,) of the covariance, largest first, none below zero."""
        return np.maximum(0.0, np.linalg.eigvalsh(self.covariance)[::-1])

    def packed(self) -> Float64Array:
        """The upper triangle of `products` row by row, diagonal included, (n_dims * (n_dims + 1) / 2,)."""
        return self.products[_upper(len(self.products))]

    @classmethod
    def from_packed(cls: type[_Sums], statistics: Any, packed: Float64Array) -> _Sums:
        """The way back from `packed`."""
        products = np.zeros((statistics.n_dims, statistics.n_dims))
        upper = _upper(statistics.n_dims)
        products[upper] = products.T[upper] = packed
        return cls(statistics, products)

    def merge(self: _Sums, other: _Sums) -> _Sums:
        """Statistics of both sets of rows together."""
        return self._combined(other, 1)

    def subtract(self: _Sums, other: _Sums) -> _Sums:
        """Statistics without the rows of `other`; exact in `statistics`, to rounding in `products`."""
        return self._combined(other, -1)

    __add__ = merge
    __sub__ = subtract

    def _combined(self: _Sums, other: _Sums, sign: int) -> _Sums:
        if type(self) is not type(other):
            raise TypeError(f"cannot combine {type(self).__name__} with {type(other).__name__}")
        both = self.statistics.merge if sign > 0 else self.statistics.subtract
        return type(self)(both(other.statistics), self.products + sign * other.products)

    def problem(self) -> str | None:
        """Why these numbers contradict one another, or None: what loading checks."""
        found: str | None = self.statistics.problem()
        if found or not self.n_rows:
            return found or ("no rows, yet products" if self.products.any() else None)
        products, mean, bound = self.products / self.n_rows, self.statistics.mean, 1e-9
        if not np.isfinite(products).all() or any(np.abs(p - q).max() > bound for p, q in zip(products, products.T)):
            return "the products of columns are not finite or not symmetric"
        if np.abs(np.diagonal(products) - self.statistics.variance - mean**2).max() > bound:
            return "the products of columns contradict the sums of squares"
        spread = np.sqrt(self.statistics.variance + 2.0**-38)  # what the rounding of the sums may hide
        for p, m, s in zip(products, mean, spread):
            if (np.abs(p - m * mean) > s * spread + 2 * bound).any():  # Cauchy-Schwarz
                return "the products of columns contradict the variances"
        return None


@dataclass(frozen=True, eq=False)
class CovarianceStatistics(_Products):
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

    @classmethod
    def empty(cls, n_dims: int) -> CovarianceStatistics:
        """Statistics of no rows: the identity of `merge`."""
        return cls(ModalityStatistics.empty(n_dims), np.zeros((n_dims, n_dims)))

    @classmethod
    def from_rows(cls, X: Array, *, zero_rows: ZeroRows = "raise") -> CovarianceStatistics:
        """Statistics of the rows X (n_rows, n_dims), floating, of any norm; reads X twice."""
        statistics = ModalityStatistics.from_rows(X, zero_rows=zero_rows)
        return cls(statistics, _mirrored(ops.column_products(X, zero_rows=zero_rows)))

    @cached_property
    def shrinkage(self) -> float:
        """Ledoit and Wolf's (2004) weight of ``tr(S) / d * I``, in [0, 1], from the sums alone.

        They need the mean fourth power of the centered rows' norms: for unit rows u of mean m with ``q = m . m`` it is
        ``E(1 + q - 2 u.m)**2 = (1 + q)**2 - 4 (1 + q) q + 4 m' E[u u'] m``.
        """
        n, mean, covariance = self.n_rows, self.statistics.mean, self.covariance
        d, q = len(mean), float(mean @ mean)
        along = float(mean @ covariance @ mean) + q * q
        fourth = (1 + q) ** 2 - 4 * (1 + q) * q + 4 * along
        size = float((covariance**2).sum())
        distance = size - float(np.trace(covariance)) ** 2 / d
        error = max(fourth - size, 0.0) / n
        return min(error / distance, 1.0) if distance > 0 else 1.0

    @cached_property
    def oas_shrinkage(self) -> float:
        """The weight of `shrinkage` by the oracle approximation of Chen, Wiesel, Eldar and Hero (2010), in [0, 1].

        As scikit-learn has it, without the factor ``1 - 2 / d`` of the paper.
        """
        d, size = len(self.covariance), float((self.covariance**2).mean())
        level = (float(np.trace(self.covariance)) / d) ** 2
        distance = size - level / d
        return min((size + level) / ((self.n_rows + 1) * distance), 1.0) if distance > 0 else 1.0

    @cached_property
    def shrunken(self) -> Float64Array:
        """The covariance (n_dims, n_dims) drawn towards a multiple of the identity by `shrinkage`."""
        return self.shrunken_by(self.shrinkage)

    def shrunken_by(self, weight: float) -> Float64Array:
        """``(1 - weight) S + weight tr(S) / d I``, (n_dims, n_dims)."""
        found = (1 - weight) * self.covariance
        found[np.diag_indices_from(found)] += weight * np.trace(self.covariance) / len(self.covariance)
        found.flags.writeable = False
        return found


@dataclass(frozen=True, eq=False)
class PairCovariance(_Products):
    """Exact statistics of the differences ``u_x - u_y = c + eps`` of paired unit rows, and of products of columns.

    Its `covariance` is that of the residuals eps: the gap c is the mean, and drops out.

    Attributes
    ----------
    statistics : PairStatistics
        Of the same pairs.
    products : (n_dims, n_dims) float64
        ``sum(D D^T)`` over the differences D, exactly symmetric, within ``4e-12 * n_rows`` an entry.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> text = rng.normal(size=(1000, 4)) + 2
    >>> image = text + rng.normal(size=(1000, 4)) * [0.5, 0.1, 0.1, 0.1]
    >>> bool(PairCovariance.from_rows(text, image).covariance[0, 0] > 0.01)
    True
    """

    statistics: PairStatistics

    @classmethod
    def empty(cls, n_dims: int) -> PairCovariance:
        """Statistics of no pairs: the identity of `merge`."""
        return cls(PairStatistics.empty(n_dims), np.zeros((n_dims, n_dims)))

    @classmethod
    def from_rows(cls, X: Array, Y: Array, *, zero_rows: ZeroRows = "raise") -> PairCovariance:
        """Statistics of the pairs (X[i], Y[i]), both (n_rows, n_dims) floating; refuses as `PairStatistics`."""
        n_dims = int(X.shape[1])
        statistics, products = PairStatistics.empty(n_dims), np.zeros((n_dims, n_dims))
        for differences, n_without in pair_differences(X, Y, zero_rows=zero_rows):
            statistics = statistics + PairStatistics.of_differences(differences, n_without)
            found = differences.T @ differences
            products += found.cpu().numpy() if is_tensor(found) else found
        return cls(statistics, _mirrored(products))

    def negated(self) -> PairCovariance:
        """The same pairs the other way round: differences ``u_y - u_x``."""
        return PairCovariance(self.statistics.negated(), self.products)


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
        total = cls.empty(int(X.shape[1]))
        for u, v, _ in unit_pairs(X, Y, zero_rows=zero_rows):
            u, v = ops.normalize(u), ops.normalize(v)  # as the statistics beside them see the rows
            products = u.T @ v
            products = products.cpu().numpy() if is_tensor(products) else products
            total = total + cls(CovarianceStatistics.from_rows(u), CovarianceStatistics.from_rows(v), products)
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


def _upper(n_dims: int) -> Any:
    return np.tri(n_dims, dtype=bool).T


def _mirrored(products: Float64Array) -> Float64Array:
    """The upper triangle on both sides of the diagonal."""
    return np.where(_upper(len(products)), products, products.T)


def symmetric_root(covariance: Float64Array) -> Float64Array:
    """The symmetric square root (n_dims, n_dims) of a covariance: of its roots the one that has no signs to choose.

    Eigenvalues below rounding (``n_dims * 2**-52`` of the largest) count as zero, so that a covariance of few rows
    gives no noise where it has no variance.
    """
    values, vectors = np.linalg.eigh(covariance)
    values[values < values[-1] * len(values) * np.finfo(np.float64).eps] = 0
    root: Float64Array = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root
