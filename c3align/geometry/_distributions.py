"""How rows lie on the sphere (Wang and Isola), and how far apart two modalities are as distributions."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import logsumexp

from c3align import ops
from c3align._arguments import check_seed, checked
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import BLOCK_ELEMENTS, Source, check_widths, moments_of, pair_blocks, unit_both, unit_rows

BoolArray: TypeAlias = npt.NDArray[np.bool_]


class DistributionGap(NamedTuple):
    """Squared Wasserstein-2 distance of two Gaussians (embedding FID), and its two parts.

    Parameters
    ----------
    total : float
        Sum of both parts.
    centroid : float
        ``||m_a - m_b||**2``, which centering removes.
    covariance : float
        ``tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)``, Bures' squared distance, which centering leaves.
    """

    total: float
    centroid: float
    covariance: float


class Separability(NamedTuple):
    """How well a linear classifier separates the modalities on rows that it has not seen.

    Parameters
    ----------
    accuracy : float
        Balanced accuracy; 0.5 is chance.
    auc : float
        Area under the ROC curve; 0.5 is chance.
    """

    accuracy: float
    auc: float


@checked
def distribution_gap(a: Source, b: Source) -> DistributionGap:
    """Measure the Fréchet distance of Gaussians with the unit rows' means and covariances (Dowson and Landau, 1982).

    Parameters
    ----------
    a, b : sources of (n_a, n_dims), (n_b, n_dims)
        Rows, an iterable of blocks, or `CovarianceStatistics`.

    Returns
    -------
    DistributionGap
        With covariances of divisor n_rows - 1. Estimates from few rows are too large, as FID's are.
    """
    both = moments_of(a), moments_of(b)
    check_widths(len(both[0].mean), len(both[1].mean))
    gap = both[0].mean - both[1].mean
    roots = [_square_root(moments.covariance) for moments in both]
    # tr (A^1/2 B A^1/2)^1/2 is the nuclear norm of B^1/2 A^1/2, without a root of rounding errors
    common = linalg.svdvals(roots[1] @ roots[0]).sum()
    covariance = float(np.trace(both[0].covariance) + np.trace(both[1].covariance) - 2 * common)
    centroid, covariance = float(gap @ gap), max(0.0, covariance)
    return DistributionGap(centroid + covariance, centroid, covariance)


def _square_root(covariance: Float64Array) -> Float64Array:
    values, vectors = linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


@checked
def linear_separability(a: Array, b: Array, *, n_folds: int = 5, centered: bool = False, seed: int = 0) -> Separability:
    """Cross-validate a logistic regression that separates a's rows from b's.

    A score of 1 on the raw rows and 0.5 on the centered ones means that centering closes the gap.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
        Rows of any norm. If equally many, row i of a and row i of b share a fold: a partner that the classifier had
        learned under the other label would mislead it.
    n_folds : int
        From 2 to the number of rows of either modality.
    centered : bool
        Whether each modality is centered first by the mean of its training rows. Rows already centered by their own
        mean score below chance, most clearly if few: what a fold lacks, the other folds have in excess.
    seed : int
        Determines the folds.

    Returns
    -------
    Separability
        Accuracy and AUC over all held-out rows together.
    """
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    units = unit_both(a, b)
    check_seed(seed)
    if min(map(len, units)) < n_folds or n_folds < 2:
        raise C3AlignError(
            f"n_folds must be from 2 to the number of rows, got {n_folds} for {[*map(len, units)]} rows; pass more rows"
        )
    fold = np.concatenate([np.random.default_rng(seed).permutation(len(unit)) % n_folds for unit in units])
    is_b = np.repeat([False, True], [len(unit) for unit in units])
    scores = np.empty(len(is_b))
    for number in range(n_folds):
        held = fold == number
        scores[held] = _scores(np.concatenate(units), is_b, held, centered)
    return Separability(float(balanced_accuracy_score(is_b, scores > 0)), float(roc_auc_score(is_b, scores)))


def _scores(rows: Float64Array, is_b: BoolArray, held: BoolArray, centered: bool) -> Float64Array:
    """Decision function, on the held rows, of a model that learned from the others."""
    from sklearn.linear_model import LogisticRegression

    if centered:
        rows = np.where(is_b[:, None], _centred(rows, is_b & ~held), _centred(rows, ~is_b & ~held))
    rows = rows * np.sqrt(rows.shape[1])  # coordinates about 1, for the penalty
    # Newton's method gives the same digits in any basis
    model = LogisticRegression(class_weight="balanced", solver="newton-cholesky").fit(rows[~held], is_b[~held])
    return model.decision_function(rows[held])


def _centred(rows: Float64Array, learned: BoolArray) -> Float64Array:
    return ops.align(rows, rows[learned].mean(axis=0), zero_rows="keep")


@checked
def alignment(a: Array, b: Array, *, alpha: float = 2) -> float:
    """Average ``||u_a - u_b||**alpha`` over pairs (Wang and Isola, ICML 2020).

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


@checked
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
