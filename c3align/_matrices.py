"""Symmetric matrices: their square root, and covariances in half the room."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c3align._typing import Float64Array

__all__ = ["rounded", "symmetric_root"]


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
    values, vectors = np.linalg.eigh(covariance)
    values[values < values[-1] * len(values) * np.finfo(np.float64).eps] = 0
    root: Float64Array = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
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
