"""Alignment and uniformity on the sphere (Wang and Isola, ICML 2020)."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from c3align._typing import Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import BLOCK_ELEMENTS, pair_blocks, unit_rows

__all__ = ["alignment", "uniformity"]


def alignment(a: Array, b: Array, *, alpha: float = 2) -> float:
    """Average ``||u_a - u_b||**alpha`` over pairs.

    Parameters
    ----------
    a, b : (n_rows, n_dims) arrays or tensors
        Pairs of any norm.
    alpha : float
        The exponent.

    Returns
    -------
    float
        Smaller is better aligned. With alpha 2 it is ``||c||**2`` plus the residual's total variance, so that a gap
        alone makes it large.
    """
    powers = [np.linalg.norm(x - y, axis=1) ** alpha for x, y in pair_blocks(a, b)]
    return float(np.concatenate(powers).mean())


def uniformity(X: Array, *, t: float = 2) -> float:
    """Compute ``log E exp(-t ||u_i - u_j||**2)`` over all pairs of different rows, exactly.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor
        At least two rows of any norm; takes ``n_rows**2`` products, in blocks.
    t : float
        Weight of the distances.

    Returns
    -------
    float
        At most 0, where all rows are equal; lower is more uniform.
    """
    unit = unit_rows(X)
    n_rows = len(unit)
    if n_rows < 2:
        raise C3AlignError(f"uniformity compares rows with each other, got {n_rows}; pass at least two")
    step, parts = max(1, BLOCK_ELEMENTS // n_rows), []
    for start in range(0, n_rows, step):
        exponents = 2 * t * (unit[start : start + step] @ unit.T - 1)
        rows = np.arange(len(exponents))
        exponents[rows, start + rows] = -np.inf
        parts.append(logsumexp(exponents))
    return float(logsumexp(parts) - np.log(n_rows) - np.log(n_rows - 1))
