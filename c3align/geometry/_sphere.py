"""Alignment and uniformity on the sphere (Wang and Isola, ICML 2020)."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from c3align._typing import Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import BLOCK_ELEMENTS, pair_blocks, unit_rows

__all__ = ["alignment", "uniformity"]


def alignment(a: Array, b: Array, *, alpha: float = 2) -> float:
    """Mean of ``||u_a - u_b||**alpha`` over pairs; smaller is better aligned.

    With alpha 2 it is ``||c||**2``, of the gap, and the residual's total variance: a gap alone makes it large.
    """
    powers = [np.linalg.norm(x - y, axis=1) ** alpha for x, y in pair_blocks(a, b)]
    return float(np.concatenate(powers).mean())


def uniformity(X: Array, *, t: float = 2) -> float:
    """``log E exp(-t ||u_i - u_j||**2)`` over all pairs of different rows; lower is more uniform, 0 is one point.

    Exact, in blocks: n_rows**2 products, of which a block at a time is held.
    """
    unit = unit_rows(X)
    n_rows = len(unit)
    if n_rows < 2:
        raise C3AlignError("uniformity compares rows with one another; pass two or more")
    step, parts = max(1, BLOCK_ELEMENTS // n_rows), []
    for start in range(0, n_rows, step):
        exponents = 2 * t * (unit[start : start + step] @ unit.T - 1)
        rows = np.arange(len(exponents))
        exponents[rows, start + rows] = -np.inf
        parts.append(logsumexp(exponents))
    return float(logsumexp(parts) - np.log(n_rows) - np.log(n_rows - 1))
