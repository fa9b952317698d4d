"""Second moments across columns, for what needs more than a mean: spectra, shaped noise, whitening.

Products of columns are summed in float64 by BLAS, in blocks of rows. Unlike the exact statistics beside them they are
reproducible up to a tolerance only: the order of the additions is BLAS's own. Means and diagonal stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from c3align._arguments import check_number, check_same_class, checked
from c3align._matrices import check_packed, rounded, symmetric_root
from c3align._typing import Array, Float64Array, ZeroRows
from c3align.ops import products
from c3align.statistics import ModalityStatistics, PairStatistics

__all__ = ["CovarianceStatistics", "PairCovariance", "Precision", "symmetric_root"]

Precision: TypeAlias = Literal["float64", "float32"]
_Sums = TypeVar("_Sums", bound="_Products")


@dataclass(frozen=True, eq=False)
class _Products:
    """Exact statistics of some rows, and the float64 sums of products of their columns."""

    statistics: Any
    products: Float64Array = field(repr=False)

    def __post_init__(self) -> None:
        self.products.flags.writeable = False

    def __getstate__(self) -> dict[str, Any]:
        """What was learned, without cached results."""
        return {"statistics": self.statistics, "products": self.products}

    @property
    def n_rows(self) -> int:
        """Number of rows summed."""
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

    @checked
    def packed(self, dtype: Precision = "float64") -> npt.NDArray[Any]:
        """Flatten the upper triangle of `products`, or in half the space that of `covariance`.

        Parameters
        ----------
        dtype : "float64" or "float32"
            Of the sums of products, as they are; or of covariances, rounded to 24 bits and made smaller by 2**-22, so
            that no pair of columns varies together more than each does alone.

        Returns
        -------
        (n_dims * (n_dims + 1) / 2,) float64 or float32
            Row by row, diagonal included.
        """
        if dtype == "float64" or not self.n_rows:
            return self.products[_upper(len(self.products))].astype(dtype)
        return rounded(self.covariance)[_upper(len(self.products))]

    @classmethod
    @checked
    def from_packed(cls: type[_Sums], statistics: Any, packed: npt.NDArray[Any]) -> _Sums:
        """Build statistics from the result of `packed`.

        Parameters
        ----------
        statistics : ModalityStatistics or PairStatistics
            Exact statistics of the same rows.
        packed : (n_dims * (n_dims + 1) / 2,) float64 or float32
            Upper triangle of the products, or of the covariances.
        """
        n_dims = check_packed(statistics, packed)
        products = np.zeros((n_dims, n_dims))
        upper = _upper(n_dims)
        products[upper] = products.T[upper] = packed
        if packed.dtype == np.float32 and statistics.n_rows:
            np.fill_diagonal(products, statistics.variance)
            products = (products + np.outer(statistics.mean, statistics.mean)) * statistics.n_rows
        return cls(statistics, products)

    def merge(self: _Sums, other: _Sums) -> _Sums:
        """Combine the statistics of two sets of rows.

        Parameters
        ----------
        other : CovarianceStatistics or PairCovariance
            Statistics of the same class and width.

        Returns
        -------
        CovarianceStatistics or PairCovariance
            Statistics of all rows together; ``+`` does the same.
        """
        return self._combined(other, 1)

    def subtract(self: _Sums, other: _Sums) -> _Sums:
        """Remove rows that were learned before.

        Parameters
        ----------
        other : CovarianceStatistics or PairCovariance
            Statistics of some of the same rows.

        Returns
        -------
        CovarianceStatistics or PairCovariance
            Exact in `statistics`, up to rounding in `products`; ``-`` does the same.
        """
        return self._combined(other, -1)

    __add__ = merge
    __sub__ = subtract

    def _combined(self: _Sums, other: _Sums, sign: int) -> _Sums:
        check_same_class(self, other)
        both = self.statistics.merge if sign > 0 else self.statistics.subtract
        return type(self)(both(other.statistics), self.products + sign * other.products)

    def problem(self) -> str | None:
        """Find a contradiction in these numbers, as loading does.

        Returns
        -------
        str or None
            What is wrong.
        """
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

    Parameters
    ----------
    statistics : ModalityStatistics
        Exact statistics of the same rows.
    products : (n_dims, n_dims) float64
        ``sum(u u^T)`` over the unit rows u, within ``1e-12 * n_rows`` per entry.

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
    @checked
    def empty(cls, n_dims: int) -> CovarianceStatistics:
        """Make the statistics of no rows, the identity of `merge`.

        Parameters
        ----------
        n_dims : int
            Dimension of the rows.
        """
        return cls(ModalityStatistics.empty(n_dims), np.zeros((n_dims, n_dims)))

    @classmethod
    @checked
    def from_rows(cls, X: Array, *, zero_rows: ZeroRows = "raise") -> CovarianceStatistics:
        """Learn the unit rows of X, which is read twice.

        Parameters
        ----------
        X, zero_rows : optional
            As in `ops.moments`.
        """
        return cls.of(ModalityStatistics.from_rows(X, zero_rows=zero_rows), X)

    @classmethod
    def of(cls, statistics: ModalityStatistics, X: Array) -> CovarianceStatistics:
        """Learn rows whose statistics are known.

        Parameters
        ----------
        statistics, X : ModalityStatistics, (n_rows, n_dims) array or tensor
            The rows X and their statistics; rows without a direction, if any, were left out.
        """
        return cls(statistics, _mirrored(products.of_rows(X)))

    @cached_property
    def shrinkage(self) -> float:
        """Ledoit and Wolf's (2004) weight of ``tr(S) / d * I``, in [0, 1], from the sums alone.

        It needs the mean fourth power of the centered rows' norms: for unit rows u of mean m with ``q = m . m`` that is
        ``E(1 + q - 2 u . m)**2 = (1 + q)**2 - 4 (1 + q) q + 4 m' E[u u'] m``.
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
        """The covariance (n_dims, n_dims) shrunk towards a multiple of the identity by `shrinkage`."""
        return self.shrunken_by(self.shrinkage)

    @checked
    def shrunken_by(self, weight: float) -> Float64Array:
        """Shrink the covariance towards a multiple of the identity.

        Parameters
        ----------
        weight : float in [0, 1]
            Of the identity.

        Returns
        -------
        (n_dims, n_dims) float64
            ``(1 - weight) S + weight tr(S) / d I``.
        """
        check_number("weight", weight, most=1)
        found = (1 - weight) * self.covariance
        found[np.diag_indices_from(found)] += weight * np.trace(self.covariance) / len(self.covariance)
        found.flags.writeable = False
        return found


@dataclass(frozen=True, eq=False)
class PairCovariance(_Products):
    """Exact statistics of the differences ``u_x - u_y = c + eps`` of paired unit rows, and products of their columns.

    Its `covariance` is that of the residuals eps, as the gap c is the mean.

    Parameters
    ----------
    statistics : PairStatistics
        Exact statistics of the same pairs.
    products : (n_dims, n_dims) float64
        ``sum(D D^T)`` over the differences D, exactly symmetric, within ``4e-12 * n_rows`` per entry.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> text = rng.normal(size=(1000, 4)) + 2
    >>> image = text + rng.normal(size=(1000, 4)) * [0.5, 0.1, 0.1, 0.1]
    >>> bool(PairCovariance.from_rows(text, image).covariance[0, 0] > 0.005)
    True
    """

    statistics: PairStatistics

    @classmethod
    @checked
    def empty(cls, n_dims: int) -> PairCovariance:
        """Make the statistics of no pairs, the identity of `merge`.

        Parameters
        ----------
        n_dims : int
            Dimension of the rows.
        """
        return cls(PairStatistics.empty(n_dims), np.zeros((n_dims, n_dims)))

    @classmethod
    @checked
    def from_rows(cls, X: Array, Y: Array, *, zero_rows: ZeroRows = "raise") -> PairCovariance:
        """Learn the differences of paired unit rows, which are read twice.

        Parameters
        ----------
        X, Y, zero_rows : optional
            As in `PairStatistics.from_rows`.
        """
        return cls.of(PairStatistics.from_rows(X, Y, zero_rows=zero_rows), X, Y)

    @classmethod
    def of(cls, statistics: PairStatistics, X: Array, Y: Array) -> PairCovariance:
        """Learn pairs whose statistics are known.

        Parameters
        ----------
        statistics, X, Y : PairStatistics, (n_rows, n_dims) arrays or tensors
            The pairs and their statistics; those with a row without a direction, if any, were left out.
        """
        return cls(statistics, _mirrored(products.of_differences(X, Y)))

    def negated(self) -> PairCovariance:
        """Swap the two sides of all pairs.

        Returns
        -------
        PairCovariance
            Of the differences ``u_y - u_x``.
        """
        return PairCovariance(self.statistics.negated(), self.products)


def _upper(n_dims: int) -> Any:
    return np.tri(n_dims, dtype=bool).T


def _mirrored(products: Float64Array) -> Float64Array:
    """The upper triangle on both sides of the diagonal."""
    return np.where(_upper(len(products)), products, products.T)
