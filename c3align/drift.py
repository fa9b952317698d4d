"""Whether new rows of a modality still are what an aligner has learned: drift of their mean and covariance.

The new rows are compared with those that `fit` has kept, and the two sets are dealt anew into sets of the same sizes
by chance, 999 times. What chance does not reach in 99 of 100 cases is an alarm: the rate of false alarms follows from
the dealing alone, whatever the rows' distribution, if rows are independent of each other. Rows in groups, such as five
captions of one picture, are not: with the groups named one row of each is dealt, and of the fitted rows one of each
partner; without, it warns where that shows: where rows of a group stand side by side. Groups in a random order cannot
be told from independent rows, and are an alarm as a rule.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import centering, ops
from c3align._arguments import as_floats, as_groups, check_seed
from c3align._kinds import names_of
from c3align._state import check_order
from c3align._typing import Array, Float64Array, Int64Array
from c3align.errors import C3AlignError
from c3align.ops.arrays import is_tensor
from c3align.sample import SIZE, related, row_keys

__all__ = ["FALSE_ALARMS", "Drift", "drift"]

FALSE_ALARMS = 0.01
LEAST_ROWS = 8
LEAST_DIFFERENT = 0.9  # of all rows, where nothing is said
MOST_ALIKE = 6.0  # neighbors, in standard deviations of what a random order gives: COCO and ConVIRT have 1.8
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


def drift(aligner: Any, X: Array, *, modality: str, seed: int = 0, groups: npt.ArrayLike | None = None) -> Drift:
    """Compare new rows of a modality with those that an aligner has learned from.

    Parameters
    ----------
    aligner : C3Aligner
        Fitted with rows kept: ``second_moments=True``, or a mapping that needs them.
    X : (n_rows, n_dims) array or tensor
        Raw rows, eight or more and independent of each other but for `groups`; of many, 1,024 are drawn. Equal rows
        count once, as they do among the fitted ones.
    modality : str
        What they are.
    seed : int
        Of the draw and of the deals.
    groups : (n_rows,) integers, optional
        What each row is about, such as the number of the picture for five captions each. One row of each group is
        compared then, with one fitted row for each partner; rows that were fitted alone are taken as independent.

    Returns
    -------
    Drift
        Prints as a sentence. With independent rows of the fitted kind it is an alarm in one of a hundred cases.

    Raises
    ------
    C3AlignError
        Rows that `ops.normalize` refuses, of another width or too few; no rows kept of the modality.

    Warns
    -----
    UserWarning
        Where many rows repeat others; where, without `groups`, rows side by side seem to come in groups.
    """
    check_seed(seed)
    state, rng = centering.state_of(aligner, modality, named=True), np.random.default_rng(seed)
    if modality not in state.samples:
        raise C3AlignError(
            f"no rows of {modality!r} were kept; fit C3Aligner(second_moments=True) on them, or run c3align fit "
            "--second-moments"
        )
    check_order(names_of(X), {modality: state.feature_names.get(modality, ())}, "X")
    X = X.to_numpy() if hasattr(X, "to_numpy") else X if hasattr(X, "shape") else as_floats("X", X)
    if X.ndim != 2 or X.shape[1] != state.n_dims or X.shape[0] < LEAST_ROWS:
        fix = "rows of the encoder that fit saw" if X.ndim != 2 or X.shape[1] != state.n_dims else "more"
        raise C3AlignError(
            f"X must be {LEAST_ROWS} rows or more of {state.n_dims} dimensions, got {tuple(X.shape)}; pass {fix}"
        )
    own = None if groups is None else as_groups("groups", groups, len(X))
    new, fitted = _drawn(X, modality, own, rng), state.samples[modality].rows[:SIZE]
    about = related(dict(state.samples))[modality][: len(fitted)]
    if groups is not None:
        fitted = fitted[_one_of_each(about, rng.permutation(len(fitted)))]
    elif doubt := _doubt_of_groups(new, about):
        warnings.warn(doubt, UserWarning, stacklevel=2)
    return _compared(modality, new, fitted, rng)


def _drawn(X: Any, modality: str, groups: Int64Array | None, rng: np.random.Generator) -> Any:
    """Unit rows, up to `SIZE`, in their order: different ones, of different groups."""
    once = np.sort(np.unique(row_keys(X), return_index=True)[1])
    if len(once) < LEAST_DIFFERENT * len(X):
        warnings.warn(
            f"of {len(X)} rows of {modality!r} {len(once)} are different, and drift looks at these alone: an alarm may "
            "mean that others repeat, and none that the same come too often; compare rows of many different items",
            UserWarning,
            stacklevel=3,
        )
    drawn = rng.permutation(once)
    drawn = drawn if groups is None else _one_of_each(groups, drawn)
    if len(drawn) < LEAST_ROWS:
        what = "different rows" if len(once) < LEAST_ROWS else "groups"
        raise C3AlignError(f"X must hold {LEAST_ROWS} {what} or more, got {len(drawn)}; look at its rows")
    some = X[np.sort(drawn[:SIZE])]
    return ops.normalize(some.detach().float().cpu().numpy() if is_tensor(some) else np.asarray(some))


def _one_of_each(groups: Int64Array, order: Int64Array) -> Int64Array:
    """Of rows in some order those that come first of their group."""
    return order[np.sort(np.unique(groups[order], return_index=True)[1])]


def _doubt_of_groups(new: Any, about: Int64Array) -> str | None:
    """What to warn of where several fitted rows had one partner, or new rows are most like those beside them."""
    n_groups, advice = len(np.unique(about)), "pass the number of each row's item as groups= (--groups)"
    if n_groups < LEAST_DIFFERENT * len(about):
        return (
            f"the {len(about)} fitted rows are about {n_groups} items, and rows of one item are not independent, so "
            f"that drift may be alarmed by other items alone; {advice}"
        )
    rows = (new - new.mean(axis=0)).astype(np.float64)
    products = rows @ rows.T
    others = products[~np.eye(len(rows), dtype=bool)]
    spread = max(float(others.std()), np.finfo(float).tiny)
    alike = float(np.diagonal(products, 1).mean() - others.mean()) / spread * (len(rows) - 1) ** 0.5
    if alike < MOST_ALIKE:
        return None
    return (
        f"rows are more alike than others where they are neighbors (by {alike:.0f} standard deviations), as where "
        f"several are about one item, so that an alarm may be of these items alone; {advice}, or, if independent rows "
        "were sorted, shuffle them"
    )


def _compared(modality: str, new: Any, fitted: Any, rng: np.random.Generator) -> Drift:
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
