"""How far two modalities are apart as distributions: Gaussians fitted to both, and a line drawn between them."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg

from c3align import ops
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import Source, moments_of, unit_rows

__all__ = ["DistributionGap", "Separability", "distribution_gap", "linear_separability"]

BoolArray: TypeAlias = npt.NDArray[np.bool_]


class DistributionGap(NamedTuple):
    """Squared Wasserstein-2 distance of two Gaussians (embedding FID), in its two parts; `total` is their sum.

    centroid : ``||m_a - m_b||**2``, what centering takes away
    covariance : ``tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)``, Bures' squared distance, which it leaves
    """

    total: float
    centroid: float
    covariance: float


class Separability(NamedTuple):
    """How well a linear classifier tells the modalities apart on rows that it has not seen.

    accuracy : mean of the shares of a's and of b's rows that it gets right; 0.5 is chance
    auc : area under the ROC curve; 0.5 is chance
    """

    accuracy: float
    auc: float


def distribution_gap(a: Source, b: Source) -> DistributionGap:
    """Fréchet distance of the Gaussians with the means and covariances of the unit rows (Dowson and Landau, 1982).

    Parameters
    ----------
    a, b : sources of (n_a, n_dims), (n_b, n_dims)
        `CovarianceStatistics`, rows, or an iterable of blocks. Covariances have the divisor n_rows - 1. Estimates
        from few rows are too large, as FID is.
    """
    both = moments_of(a), moments_of(b)
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


def linear_separability(a: Array, b: Array, *, n_folds: int = 5, centered: bool = False, seed: int = 0) -> Separability:
    """Cross-validated accuracy and AUC of a logistic regression that tells a's rows from b's.

    1 as they came and 0.5 when centered is a gap that centering closes.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
        With equally many, row i of a and row i of b are always in one fold: a partner that was learned under the
        other name would mislead.
    n_folds : int
        Each modality needs as many rows.
    centered : bool
        Whether each modality is centered first, by the mean of the rows that the fold learns from. Rows that were
        centered by means of their own, those of few rows above all, score below chance: what a fold lacks, the others
        have too much of.
    seed : int
        Chooses the folds.
    """
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    units = unit_rows(a), unit_rows(b)
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
    """Decision function on the held rows of a model that learned from the others."""
    from sklearn.linear_model import LogisticRegression

    if centered:
        rows = np.where(is_b[:, None], _centred(rows, is_b & ~held), _centred(rows, ~is_b & ~held))
    rows = rows * np.sqrt(rows.shape[1])  # coordinates about 1, for the penalty
    # Newton's steps end on the same digits in any basis
    model = LogisticRegression(class_weight="balanced", solver="newton-cholesky").fit(rows[~held], is_b[~held])
    return model.decision_function(rows[held])


def _centred(rows: Float64Array, learned: BoolArray) -> Float64Array:
    return ops.align(rows, rows[learned].mean(axis=0), zero_rows="keep")
