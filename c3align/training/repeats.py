"""Rows repeated with noise, for estimators that read all rows at once: a linear probe of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align import centering
from c3align._arguments import check_seed, check_whole, checked
from c3align._typing import Array
from c3align.errors import C3AlignError
from c3align.training.rows import seed_of

__all__ = ["make_corrupted"]


@checked
def make_corrupted(
    aligner: Any, X: Array, y: Any, *, modality: str = "text", n_repeats: int = 4, seed: int = 0
) -> tuple[Any, Any]:
    """Repeat rows, each time with other noise, and their targets: what an estimator learns one modality from.

    It then predicts ``aligner.transform(rows, modality=...)`` of any modality.

    Parameters
    ----------
    aligner : C3Aligner
        A fitted aligner.
    X : (n_rows, n_dims) array
        Raw rows of `modality`.
    y : (n_rows, ...) array
        Their targets.
    modality : str
        Modality of the rows.
    n_repeats : int
        How often each row comes.
    seed : int >= 0
        Seed of the noise, of which each repetition takes another.

    Returns
    -------
    rows : (n_repeats * n_rows, n_dims) array
        Aligned and noisy.
    targets : (n_repeats * n_rows, ...) array
        Those of the rows.
    """
    check_whole("n_repeats", n_repeats)
    check_seed(seed)
    centering.state_of(aligner, modality)
    noisy = [np.asarray(aligner.corrupt(X, modality=modality, seed=seed_of(seed, i))) for i in range(n_repeats)]
    targets = np.asarray(y)
    if targets.shape[:1] != noisy[0].shape[:1]:
        raise C3AlignError(f"y must have one target a row, got {targets.shape} for {len(noisy[0])} rows; pass as many")
    return np.concatenate(noisy), np.concatenate([targets] * n_repeats)
