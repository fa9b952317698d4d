"""Whether new rows of a modality still are what an aligner has learned: drift of their mean and covariance.

The new rows are compared with those that `fit` has kept, and the two sets are dealt anew into sets of the same sizes
by chance, 999 times. What chance does not reach in 99 of 100 cases is an alarm: the rate of false alarms follows from
the dealing alone, whatever the rows' distribution.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from c3align import centering, ops
from c3align._arguments import as_floats, check_seed
from c3align._kinds import names_of
from c3align._state import check_order
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError
from c3align.ops.arrays import is_tensor
from c3align.sample import SIZE, row_keys

__all__ = ["FALSE_ALARMS", "Drift", "drift"]

FALSE_ALARMS = 0.01
LEAST_ROWS = 8
LEAST_DIFFERENT = 0.9  # of all rows, where nothing is said
DEALS = 999  # by chance; with what was observed a thousand, of which ten are an alarm


@dataclass(frozen=True)
class Drift:
    """What `drift` finds.

    Parameters
    ----------
    modality : str
        The modality that the rows were compared with.
    n_rows, n_fitted : int
        How many rows were compared, and with how many that `fit` has kept.
    mean, covariance : float
        Distance of the two means, and of the two covariances, in standard errors: squared distance, less what chance
        leads to expect, over its deviation by chance.
    p_value : float
        Share of deals by chance that lie as far apart, by the further of both.
    is_drift : bool
        Whether it is at most `FALSE_ALARMS`.

    Examples
    --------
    >>> import numpy as np
    >>> from c3align import C3Aligner
    >>> first, second = np.random.default_rng(0).normal(size=(2, 500, 16)) + 1
    >>> aligner = C3Aligner(second_moments=True).fit(first)
    >>> drift(aligner, second, modality="text").is_drift, drift(aligner, second - 0.5, modality="text").is_drift
    (False, True)
    """

    modality: str
    n_rows: int
    n_fitted: int
    mean: float
    covariance: float
    p_value: float
    is_drift: bool

    def __str__(self) -> str:
        verdict = "by more than chance" if self.is_drift else "no more than by chance"
        return (
            f"{self.n_rows} new {self.modality!r} rows differ from {self.n_fitted} fitted ones {verdict} (mean "
            f"{self.mean:+.1f} and covariance {self.covariance:+.1f} standard deviations from what chance gives; "
            f"p = {self.p_value:.3f}, an alarm at {FALSE_ALARMS:.2f} or less)"
        )


def drift(aligner: Any, X: Array, *, modality: str, seed: int = 0) -> Drift:
    """Compare new rows of a modality with those that an aligner has learned from.

    Parameters
    ----------
    aligner : C3Aligner
        Fitted with rows kept: ``second_moments=True``, or a mapping that needs them.
    X : (n_rows, n_dims) array or tensor
        Raw rows, eight or more and independent of each other; of many, 1,024 are drawn. Equal rows count once, as they
        do among the fitted ones.
    modality : str
        What they are.
    seed : int
        Of the draw and of the deals.

    Returns
    -------
    Drift
        Prints as a sentence. With rows of the fitted kind it is an alarm in one of a hundred cases; not where many rows
        repeat others, of which it warns.

    Raises
    ------
    C3AlignError
        Rows that `ops.normalize` refuses, of another width or too few; no rows kept of the modality.
    """
    check_seed(seed)
    state, rng = centering.state_of(aligner, modality, named=True), np.random.default_rng(seed)
    if modality not in state.samples:
        raise C3AlignError(
            f"no rows of {modality!r} were kept; fit C3Aligner(second_moments=True) on them, or run c3align fit "
            "--second-moments"
        )
    fitted = state.samples[modality].rows[:SIZE]
    check_order(names_of(X), {modality: state.feature_names.get(modality, ())}, "X")
    X = X.to_numpy() if hasattr(X, "to_numpy") else X if hasattr(X, "shape") else as_floats("X", X)
    if X.ndim != 2 or X.shape[1] != state.n_dims or X.shape[0] < LEAST_ROWS:
        fix = "rows of the encoder that fit saw" if X.ndim != 2 or X.shape[1] != state.n_dims else "more"
        raise C3AlignError(
            f"X must be {LEAST_ROWS} rows or more of {state.n_dims} dimensions, got {tuple(X.shape)}; pass {fix}"
        )
    once = np.sort(np.unique(row_keys(X), return_index=True)[1])
    if len(once) < LEAST_ROWS:
        raise C3AlignError(f"X must hold {LEAST_ROWS} different rows or more, got {len(once)}; look at its rows")
    if len(once) < LEAST_DIFFERENT * len(X):
        warnings.warn(
            f"of {len(X)} rows of {modality!r} {len(once)} are different, and drift looks at these alone: an alarm may "
            "mean that others repeat, and none that the same come too often; compare rows of many different items",
            UserWarning,
            stacklevel=2,
        )
    some = X[np.sort(rng.permutation(once)[:SIZE])]
    new = ops.normalize(some.detach().float().cpu().numpy() if is_tensor(some) else np.asarray(some))
    together = np.concatenate([new, fitted]).astype(np.float64)
    far = _distances(together - together.mean(axis=0), len(new), rng)
    far = (far - far.mean(axis=1, keepdims=True)) / np.maximum(far.std(axis=1, keepdims=True), np.finfo(float).tiny)
    further = far.max(axis=0)  # of every deal, the observed one among them, so that all have the same chances
    p_value = float((further >= further[0]).mean())
    mean, covariance = far[:, 0].tolist()
    return Drift(modality, len(new), len(fitted), mean, covariance, p_value, p_value <= FALSE_ALARMS)


def _distances(rows: Float64Array, n_new: int, rng: np.random.Generator) -> Float64Array:
    """Squared distances (2, 1 + DEALS) of means and of covariances: as observed, and as dealt by chance."""
    n = len(rows)
    deals = np.full((n, 1 + DEALS), -1 / (n - n_new))
    deals[:n_new, 0] = 1 / n_new
    for deal in deals.T[1:]:
        deal[rng.permutation(n)[:n_new]] = 1 / n_new
    gram = rows @ rows.T
    squares = gram**2
    return np.stack([np.einsum("ij,ij->j", deals, kind @ deals) for kind in (gram, squares)])
