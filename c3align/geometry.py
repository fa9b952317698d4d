"""Measures of an embedding space: the gap between two modalities, the noise around it, spectrum and retrieval.

Every function takes rows (n_rows, n_dims) of any norm, NumPy or torch, normalises them, and computes in float64.
"Pairs" are rows of equal number. Definitions follow C3 (ICLR 2024), section 3, and its released notebooks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from c3align import ops
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError
from c3align.ops._rows import as_rows

__all__ = [
    "covariance_spectrum",
    "effective_dimension",
    "gap_consistency",
    "gap_orthogonality",
    "gap_vector",
    "modality_bias",
    "pair_cosine",
    "participation",
    "recall_at_k",
    "residual_sigma",
    "unit_rows",
]

_BLOCK_ELEMENTS = 1 << 23


def unit_rows(X: Array) -> Float64Array:
    """Rows over their norm, (n_rows, n_dims) float64."""
    rows = as_rows(X)
    return ops.normalize(rows.widened().astype(np.float64))


def _pairs(a: Array, b: Array) -> tuple[Float64Array, Float64Array]:
    units = unit_rows(a), unit_rows(b)
    if units[0].shape != units[1].shape:
        raise C3AlignError(
            f"pairs need equal shapes, not {units[0].shape} and {units[1].shape}; pass row i of b as partner of a's"
        )
    return units


def gap_vector(a: Array, b: Array) -> Float64Array:
    """The gap c = mean of a's unit rows less mean of b's, (n_dims,); n_rows may differ (C3, Proposition 1)."""
    return unit_rows(a).mean(axis=0) - unit_rows(b).mean(axis=0)


def gap_consistency(a: Array, b: Array, *, group: int = 100, seed: int = 0) -> tuple[float, float]:
    """Whether the gap is one constant: its length and direction over random groups of pairs (C3, Table 1).

    Parameters
    ----------
    a, b : (n_rows, n_dims), pairs
    group : int
        Pairs in a group; what is left over is dropped.
    seed : int
        Of the shuffle.

    Returns
    -------
    length : float
        Standard deviation of the groups' gap lengths.
    direction : float
        Mean cosine of one group's gap with the next one's; NaN with fewer than two groups.
    """
    units = _pairs(a, b)
    difference = (units[0] - units[1])[np.random.default_rng(seed).permutation(len(units[0]))]
    n_groups = len(difference) // group
    if n_groups < 2:
        return float("nan"), float("nan")
    gaps = difference[: n_groups * group].reshape(n_groups, group, -1).mean(axis=1)
    lengths = np.linalg.norm(gaps, axis=1)
    cosines = (gaps[1:] * gaps[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
    return float(lengths.std()), float(cosines.mean())


def gap_orthogonality(a: Array, b: Array, *, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of the cosine between the gap and differences within a modality (C3, Table 1).

    Rows are shuffled and repeated ones dropped first, or lists of five captions an image would count as orthogonal
    to anything. Near 0 on average means that the gap is orthogonal to what a modality says.
    """
    gap, cosines = gap_vector(a, b), []
    for unit in (unit_rows(a), unit_rows(b)):
        distinct = np.unique(unit, axis=0)
        rows = distinct[np.random.default_rng(seed).permutation(len(distinct))]
        steps = rows[1:] - rows[:-1]
        cosines.append(steps @ gap / (np.linalg.norm(steps, axis=1) * np.linalg.norm(gap)))
    found = np.concatenate(cosines)
    return float(found.mean()), float(found.std())


def pair_cosine(a: Array, b: Array) -> float:
    """Mean cosine of pairs."""
    units = _pairs(a, b)
    return float((units[0] * units[1]).sum(axis=1).mean())


def residual_sigma(a: Array, b: Array) -> float:
    """Standard deviation per coordinate of eps in ``u_a - u_b = c + eps`` over pairs: ``sqrt(E||eps||**2 / d)``."""
    units = _pairs(a, b)
    difference = units[0] - units[1]
    return float(np.sqrt(difference.var(axis=0).mean()))


def covariance_spectrum(X: Array) -> Float64Array:
    """Eigenvalues (n_dims,) of the unit rows' covariance (divisor n_rows - 1), largest first."""
    unit = unit_rows(X)
    if len(unit) < 2:
        raise C3AlignError("a covariance needs two rows; pass more")
    centred = unit - unit.mean(axis=0)
    values = linalg.eigvalsh(centred.T @ centred / (len(unit) - 1))
    return np.maximum(values[::-1], 0)


def effective_dimension(X: Array, energy: float = 0.99) -> int:
    """Smallest k whose k largest covariance eigenvalues hold more than `energy` of their sum (C3, section 3).

    Parameters
    ----------
    X : (n_rows, n_dims)
    energy : float in (0, 1)

    Returns
    -------
    int
        At most n_dims; fewer means dimensional collapse.
    """
    if not 0 < energy < 1:
        raise C3AlignError(f"energy={energy} is no share; pass a number in (0, 1)")
    sums = np.cumsum(covariance_spectrum(X))
    if not sums[-1]:
        return 0  # all rows are one
    return min(int((sums <= energy * sums[-1]).sum()) + 1, len(sums))


def participation(X: Array) -> float:
    """Participation ratio of the spectrum, ``(sum l)**2 / sum l**2``: n_dims when isotropic, 1 on a line."""
    values = covariance_spectrum(X)
    return float(values.sum() ** 2 / (values**2).sum())


def recall_at_k(queries: Array, targets: Array, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Share of queries whose own target is among the k nearest by cosine; row i belongs to row i.

    Exact, in blocks. Targets that tie with a query's own count before it, so that a collapsed space scores 0.
    """
    query, target = _pairs(queries, targets)
    ranks = np.empty(len(query), np.int64)
    step = max(1, _BLOCK_ELEMENTS // len(target))
    for start in range(0, len(query), step):
        scores = query[start : start + step] @ target.T
        own = scores[np.arange(len(scores)), start + np.arange(len(scores))]
        ranks[start : start + step] = (scores >= own[:, None]).sum(axis=1) - 1
    return {k: float((ranks < k).mean()) for k in ks}


def modality_bias(a: Array, b: Array, k: int = 10) -> tuple[float, float]:
    """How far one index over both modalities prefers the query's own: 0.5 is fair (for equally many rows), 1 blind.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
    k : int
        Neighbours looked at.

    Returns
    -------
    Of each row of a, and of b, the mean share of its k nearest other rows, of both, that are of its own modality.
    """
    units = unit_rows(a), unit_rows(b)
    both, is_b = np.concatenate(units), np.repeat([False, True], [len(units[0]), len(units[1])])
    k = min(k, len(both) - 1)
    same = np.empty(len(both))
    step = max(1, _BLOCK_ELEMENTS // len(both))
    for start in range(0, len(both), step):
        scores = both[start : start + step] @ both.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        nearest = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        same[start + rows] = (is_b[nearest] == is_b[start + rows, None]).mean(axis=1)
    return float(same[~is_b].mean()), float(same[is_b].mean())
