"""Symmetric matrices: their square root, and covariances in half the room."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._arguments import as_floats, shown
from c3align._typing import Float64Array
from c3align.errors import C3AlignError

__all__ = ["check_covariance", "check_packed", "rounded", "spectrum", "symmetric_root"]

_ROUNDING = 1e-8  # of the largest entry


def check_covariance(covariance: Any, n_dims: int | None = None, *, may_be_zero: bool = False) -> Float64Array:
    """Read a covariance, which is square, finite, symmetric, and has some variance.

    Raises
    ------
    C3AlignError
        For any other.
    """
    found = as_floats("covariance", covariance)
    n = found.shape[0] if n_dims is None and found.ndim == 2 else n_dims
    if found.shape != (n, n) or not n:
        raise C3AlignError(f"covariance must be {n or 'n'} x {n or 'n'}, got shape {found.shape}; pass a square one")
    if not np.isfinite(found).all():
        raise C3AlignError("covariance must be finite, got NaN or infinity; pass that of finite rows")
    if not (may_be_zero or np.trace(found) > 0):
        raise C3AlignError("covariance must have some variance, got none; pass that of rows that vary")
    if np.abs(found - found.T).max() > _ROUNDING * np.abs(found).max():
        raise C3AlignError("covariance must be symmetric, and is not; pass one such as numpy.cov(rows, rowvar=False)")
    return found


def check_packed(statistics: Any, packed: Any) -> int:
    """The width of the rows whose upper triangle this is.

    Raises
    ------
    C3AlignError
        When it is none of theirs.
    """
    n_dims = int(getattr(statistics, "n_dims", 0))
    is_float = getattr(getattr(packed, "dtype", None), "kind", "") == "f"
    if not (n_dims and is_float and packed.shape == (n_dims * (n_dims + 1) // 2,)):
        raise C3AlignError(f"packed must be what packed() gave, got {shown(packed)}; pass its statistics with it")
    return n_dims


def spectrum(covariance: Any, *, may_be_zero: bool = False) -> tuple[Float64Array, Float64Array]:
    """Eigenvalues, in rising order, and eigenvectors; those below rounding (``n_dims * 2**-52``) are zero.

    Raises
    ------
    C3AlignError
        For what `check_covariance` refuses, and where one is negative beyond rounding (1e-8 of the largest).
    """
    values, vectors = np.linalg.eigh(check_covariance(covariance, may_be_zero=may_be_zero))
    if values[0] < -_ROUNDING * max(values[-1], -values[0]):
        raise C3AlignError(
            f"covariance must have no negative eigenvalue, got {values[0]:.3g}; pass that of whole rows, such as "
            "numpy.cov(rows, rowvar=False)"
        )
    values[values < values[-1] * len(values) * np.finfo(np.float64).eps] = 0
    return values, vectors


def symmetric_root(covariance: Float64Array) -> Float64Array:
    """Compute the symmetric square root of a covariance, which is unique.

    Eigenvalues below rounding (``n_dims * 2**-52`` of the largest) count as zero, so that a covariance of few rows
    gives no noise where it has no variance.

    Parameters
    ----------
    covariance : (n_dims, n_dims) float64
        Symmetric.

    Returns
    -------
    (n_dims, n_dims) float64
        Its product with itself is the covariance.
    """
    values, vectors = spectrum(covariance, may_be_zero=True)
    root: Float64Array = (vectors * np.sqrt(values)) @ vectors.T
    return root


def rounded(covariance: Float64Array) -> npt.NDArray[np.float32]:
    """Round covariances to float32, a little smaller.

    Parameters
    ----------
    covariance : (n, m) float64
        Of columns with columns.

    Returns
    -------
    (n, m) float32
        Times ``1 - 2**-22``: what Cauchy and Schwarz allow two columns stays allowed.
    """
    return (covariance * (1 - 2.0**-22)).astype(np.float32)
