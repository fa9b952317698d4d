"""The spectrum of a modality: effective dimension and dimensional collapse (C3, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from c3align._arguments import as_floats, checked
from c3align._typing import Float64Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import Moments, Source, check_widths, moments_of


class DimensionalCollapse(NamedTuple):
    """How many dimensions hold nearly all of a modality's variance; fewer than n_dims is dimensional collapse.

    Parameters
    ----------
    effective_dimension : int
        The smallest k whose k largest eigenvalues hold more than `energy` of the sum.
    n_dims : int
        Dimension of the space.
    partial_sum, total : float
        Sum of those k eigenvalues, and of all.
    """

    effective_dimension: int
    n_dims: int
    partial_sum: float
    total: float

    def __str__(self) -> str:
        return f"{self.effective_dimension} of {self.n_dims} ({self.partial_sum:.4f} of {self.total:.4f})"


def covariance_spectrum(X: Source) -> Float64Array:
    """Compute the eigenvalues of the unit rows' covariance.

    Parameters
    ----------
    X : source of (n_rows, n_dims)
        Rows, an iterable of blocks, or `CovarianceStatistics`.

    Returns
    -------
    (n_dims,) float64
        Largest first, none below zero (divisor n_rows - 1).
    """
    return spectrum_of(moments_of(X))


def spectrum_of(moments: Moments) -> Float64Array:
    """Eigenvalues of a covariance, largest first, none below zero."""
    return np.maximum(linalg.eigvalsh(moments.covariance)[::-1], 0)


@checked
def effective_dimension(X: Source, energy: float = 0.99) -> int:
    """Find the smallest k whose k largest covariance eigenvalues hold more than `energy` of their sum (C3, section 3).

    Parameters
    ----------
    X : source of (n_rows, n_dims)
        Rows, an iterable of blocks, or `CovarianceStatistics`.
    energy : float in (0, 1)
        The share to exceed.

    Returns
    -------
    int
        At most n_dims; fewer means dimensional collapse. 0 when all rows are equal.
    """
    return dimensional_collapse(X, energy).effective_dimension


@checked
def dimensional_collapse(X: Source, energy: float = 0.99) -> DimensionalCollapse:
    """Find the effective dimension with the partial sums that the authors' notebook prints (C3, Figure 3).

    Parameters
    ----------
    X, energy : optional
        As in `effective_dimension`.

    Returns
    -------
    DimensionalCollapse
        All zeros but n_dims when all rows are equal.
    """
    if not 0 < energy < 1:
        raise C3AlignError(f"energy must be in (0, 1), got {energy}")
    sums = np.cumsum(covariance_spectrum(X))
    total = float(sums[-1])
    if not total:  # all rows are equal
        return DimensionalCollapse(0, len(sums), 0.0, 0.0)
    k = min(int((sums <= energy * total).sum()) + 1, len(sums))
    return DimensionalCollapse(k, len(sums), float(sums[k - 1]), total)


def participation(X: Source) -> float:
    """Compute the participation ratio of the spectrum, ``(sum l)**2 / sum l**2``.

    Parameters
    ----------
    X : source of (n_rows, n_dims)
        Rows, an iterable of blocks, or `CovarianceStatistics`.

    Returns
    -------
    float
        From 1 (rows on a line) to n_dims (isotropic).
    """
    return participation_ratio(covariance_spectrum(X))


def participation_ratio(values: Float64Array) -> float:
    """Compute the participation ratio of known eigenvalues, ``(sum l)**2 / sum l**2``.

    Parameters
    ----------
    values : (n,) array
        Eigenvalues, such as those of `residual_spectrum`.

    Returns
    -------
    float
        In [1, n]; 0 if all are zero.
    """
    values = as_floats("values", values)
    if not (values.ndim == 1 and np.isfinite(values).all() and values.size and values.sum() >= 0):
        raise C3AlignError(f"values must be finite eigenvalues (n,), got shape {values.shape}; pass a spectrum")
    energy = float((values**2).sum())
    return float(values.sum() ** 2 / energy) if energy else 0.0


@checked
def principal_angles(a: Source, b: Source, k: int | tuple[int, int]) -> Float64Array:
    """Compute the angles between the subspaces of the k largest principal components of two modalities.

    Parameters
    ----------
    a, b : sources of (n_a, n_dims), (n_b, n_dims)
        Rows, an iterable of blocks, or `CovarianceStatistics`.
    k : int or (int, int)
        Components of both, or of a and of b, such as their effective dimensions.

    Returns
    -------
    (min(k),) float64
        Smallest first, in radians from 0 to pi / 2; all 0 when one subspace lies in the other.
    """
    both = moments_of(a), moments_of(b)
    sizes = k if isinstance(k, tuple) else (k, k)
    n_dims = len(both[0].mean)
    check_widths(n_dims, len(both[1].mean))
    if len(sizes) != 2 or not all(type(size) is not bool and 1 <= size <= n_dims for size in sizes):
        raise C3AlignError(f"k must be from 1 to {n_dims}, got {k}; pass one, or two for a and for b")
    bases = [
        linalg.eigh(moments.covariance, subset_by_index=(n_dims - size, n_dims - 1))[1]
        for moments, size in zip(both, sizes)
    ]
    return linalg.subspace_angles(*bases)[::-1]
