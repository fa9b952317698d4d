"""Which mean belongs to a batch: one decision for `transform`, `corrupt`, the module, decoders and the command line.

===================== ================================== ====================================================
`modality`            fitted, and where the batch lies   the mean
===================== ================================== ====================================================
a name                                                   that modality's; a large shift warns
"batch"                                                  the batch's own
"auto"                two or more, one clearly           that one's
"auto"                two or more, none clearly          error: name the modality
"auto"                one, no significant shift          that one's
"auto"                one, a shift, 8 rows or more       the batch's own, with a `ModalityMeanWarning`
"auto"                one, a shift, fewer rows           error: name the modality
===================== ================================== ====================================================

A *shift* is the squared distance of the batch's mean and a fitted one, less the sampling error of both. It counts when
it is more than a few per cent of the modality's total variance and too large for chance; how large the gap is against
the spread of the rows does not matter, for real gaps are as small as 0.3 of it. Chance is judged by the columns' own
variances, and from 8 rows on also by how few directions the rows vary in (their Gram matrix).

Between two modalities a linear discriminant decides, ``w = S**-1 (mean_a - mean_b)``: a batch belongs to one when it
cannot be explained as the other. S is diagonal, or the shrunken covariance where second moments were learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from c3align._discriminant import discriminants, steadied_variance, unbiased_variance
from c3align._state import State
from c3align._typing import Float64Array
from c3align.errors import C3AlignError
from c3align.ops import _glance

__all__ = [
    "AUTO",
    "BATCH",
    "FAR",
    "Center",
    "Glance",
    "center",
    "claimed_by",
    "clear_modality",
    "doubt_about",
    "shift",
    "state_of",
]

AUTO, BATCH = "auto", "batch"  # names no modality may have
GLANCE_ROWS, NAMED_ROWS, GRAM_ROWS = 4096, 32, 256  # rows looked at, evenly spaced
MIN_ROWS_FOR_BATCH_MEAN = 8
NEGLIGIBLE = 0.04  # of the total variance; halves of one modality stay below it from some 50 rows on
LARGE = 0.25  # of the total variance: what a named modality's rows may be off before a warning
FAR, FAR_FEW = 1.0, 2.0  # of the total variance: rows so far from the nearest of several means belong to none
SURPRISE = 5.0  # standard deviations of a squared distance that are no chance
ROUNDING = 1e-9  # squared distances below it are rounding


@dataclass(frozen=True, eq=False)
class Glance:
    """What evenly spaced rows of a batch show: float64, no exact sums.

    Attributes
    ----------
    n_rows : int
        Rows looked at that have a direction.
    mean, variance : (n_dims,) float64
        Of their unit rows; the variance with divisor n_rows - 1, zeros for one row.
    rows : array or tensor
        Those rows, and those without a direction.
    """

    n_rows: int
    mean: Float64Array
    variance: Float64Array
    rows: Any

    @classmethod
    def of(cls, X: Any, n_rows: int = GLANCE_ROWS) -> Glance:
        """Look at no more than `n_rows` of the rows X; unusable ones are left out unreported."""
        return cls(*_glance.moments(X, n_rows))

    def participation(self, scale: Float64Array) -> float:
        """How many directions the rows, with their columns times `scale`, vary in: ``tr(S)**2 / tr(S**2)``.

        Both traces are unbiased (Himeno and Yamada 2014); at least 1.5, for a few rows show too little.
        """
        gram = _glance.gram(self.rows, scale, GRAM_ROWS)
        n = len(gram)
        diagonal = np.diagonal(gram)
        trace, squares = diagonal.sum() / (n - 1), (gram**2).sum() / (n - 1) ** 2
        fourth = (diagonal**2).sum() / (n - 1)
        trace_of_square = (n - 1) / (n * (n - 2) * (n - 3)) * ((n - 1) * (n - 2) * squares + trace**2 - n * fourth)
        return float(min(max(trace**2 / max(trace_of_square, 1e-300), 1.5), len(self.mean)))


@dataclass(frozen=True)
class Center:
    """Whose mean to subtract, a fitted modality's name or "batch", and what the user must hear about it."""

    modality: str
    warning: str | None = None


def center(modality: str, state: State, X: Any, n_rows: int | None = None) -> Center:
    """Decide whose mean the rows X are centered by; see the table above.

    Parameters
    ----------
    modality : str
        "auto", "batch", or a fitted one's name.
    state : State
    X : (n_rows, n_dims) rows, array or tensor, or an even sample of them
    n_rows : int, optional
        Rows in all, where X is a sample.

    Raises
    ------
    C3AlignError
        Where the table says so; the message ends with the line that settles it.
    """
    if modality == BATCH:
        return Center(BATCH)
    if modality != AUTO:
        return Center(modality, _warning(modality, doubt_about(modality, state, Glance.of(X, NAMED_ROWS))))
    glance = Glance.of(X)
    if len(state.usable) > 1:
        return Center(clear_modality(state, glance))
    name = next(iter(state.usable or state.statistics))
    found = shift(state, name, glance)
    if not found:
        return Center(name)
    if glance.n_rows < MIN_ROWS_FOR_BATCH_MEAN:
        raise C3AlignError(_refusal(state, name, glance))
    return Center(BATCH, _readings(state, name, glance, n_rows or X.shape[0]))


def shift(state: State, name: str, glance: Glance) -> float:
    """The shift of the rows from a modality's mean as a share of its total variance; 0 where chance explains it."""
    fitted = state.statistics[name]
    if not glance.n_rows or not fitted.n_rows:
        return 0.0
    difference, spread, own = glance.mean - fitted.mean, unbiased_variance(fitted), glance.variance
    if glance.n_rows < MIN_ROWS_FOR_BATCH_MEAN:
        own = spread if fitted.n_rows > 1 else own
    if fitted.n_rows == 1:
        spread = own
    error = own / glance.n_rows + spread / fitted.n_rows
    total, excess = float(spread.sum()), float(difference @ difference - error.sum())
    if excess <= max(NEGLIGIBLE * total, ROUNDING):
        return 0.0
    weights = 1 / steadied_variance(fitted, spread)
    surprise = float((difference**2 * weights).sum() / max(float((error * weights).sum()), 1e-12))
    return excess / max(total, ROUNDING) if surprise > _most_by_chance(state, name, glance, weights) else 0.0


def _most_by_chance(state: State, name: str, glance: Glance, weights: Float64Array) -> float:
    """The squared distance of two means, over its expectation, that chance does not exceed once in some thousands."""
    n = glance.n_rows
    if n >= MIN_ROWS_FOR_BATCH_MEAN:
        return _quantile(glance.participation(np.sqrt(weights)), SURPRISE * (1 + 2 / n))
    if name in state.second_moments:
        scaled = state.second_moments[name].shrunken * np.sqrt(np.outer(weights, weights))
        return _quantile(float(np.trace(scaled) ** 2 / (scaled**2).sum()), SURPRISE)
    # few rows do not show in how few directions they vary: measured on CLIP, ConVIRT, CLAP and glyphs
    variance = state.statistics[name].variance
    n_columns = int((variance > 1e-6 * variance.mean()).sum()) or 1
    return max(min(1.4 + 0.8 * n, 4.0), _quantile(n_columns, SURPRISE))


def _quantile(freedom: float, deviations: float) -> float:
    """Chi-square over its degrees of freedom, so many standard deviations up (Wilson and Hilferty 1931)."""
    width = 2 / (9 * freedom)
    return (1 - width + deviations * math.sqrt(width)) ** 3


def claimed_by(state: State, glance: Glance) -> str | None:
    """The modality that wins against every other, or None."""
    lost: set[str] = set()
    for (a, b), line in discriminants(state).items():
        winner = line.winner(glance.mean, glance.n_rows)
        lost |= {a, b} - {winner}
    left = [name for name in state.usable if name not in lost]
    return left[0] if len(left) == 1 else None


def clear_modality(state: State, glance: Glance) -> str:
    """The fitted modality that the rows clearly belong to.

    Raises
    ------
    C3AlignError
        When there is none, or the rows are far from all.
    """
    names = ", ".join(repr(name) for name in state.statistics)
    if glance.n_rows:
        found = claimed_by(state, glance)
        few = glance.n_rows < MIN_ROWS_FOR_BATCH_MEAN
        if found is not None and shift(state, found, glance) <= (FAR_FEW if few else FAR):
            return found
    second = "" if state.second_moments else "; C3Aligner(second_moments=True) tells more rows apart"
    raise C3AlignError(
        f"these rows do not clearly belong to one of the fitted modalities ({names}); pass modality= with one of "
        f"them{second}"
    )


def doubt_about(name: str, state: State, glance: Glance, most: float = LARGE) -> str | None:
    """Where rows given as a modality lie, when that speaks against it: too far off, or on another one's side.

    Parameters
    ----------
    name : str
        A fitted modality.
    state : State
    glance : Glance
    most : float
        The shift that is tolerated, as a share of the modality's total variance.
    """
    if not glance.n_rows:
        return None
    other = claimed_by(state, glance) if len(state.usable) > 1 else None
    if other in (None, name) and shift(state, name, glance) <= most:
        return None
    where = f"lie {_distance(state, name, glance):.2f} from its mean (its own rows {_spread(state, name):.2f})"
    return where if other in (None, name) else f"{where}, on the side of {other!r}"


def _warning(name: str, doubt: str | None) -> str | None:
    if doubt is None:
        return None
    return (
        f"the rows given as modality={name!r} {doubt}, and were centered by it all the same; check that they are "
        f"{name!r} rows of the encoder that fit saw, or pass modality='batch'"
    )


def state_of(aligner: Any, *modalities: str) -> State:
    """What an aligner has learned, in which the modalities are known.

    Raises
    ------
    NotFittedError
        With the line that fixes it.
    """
    state: State | None = vars(aligner).get("state_")
    if state is None:
        raise NotFittedError("this C3Aligner has learned nothing yet; call fit(X) with rows of one modality first")
    for modality in modalities:
        if modality not in state.statistics and modality not in (AUTO, BATCH):
            fitted = ", ".join(repr(name) for name in state.statistics)
            raise NotFittedError(
                f"no mean was learned for modality {modality!r} (learned: {fitted}); "
                f"call partial_fit(X, modality={modality!r}) with rows of it first"
            )
    return state


def _distance(state: State, name: str, glance: Glance) -> float:
    return math.dist(glance.mean, state.statistics[name].mean)


def _spread(state: State, name: str) -> float:
    """Root mean square distance of a modality's rows from their mean."""
    return math.sqrt(float(unbiased_variance(state.statistics[name]).sum()))


def _found(state: State, name: str, glance: Glance) -> str:
    return (
        f"only {name!r} is fitted, and these rows lie {_distance(state, name, glance):.2f} from its mean, which chance "
        "does not explain: they are another modality, or other material of the same one"
    )


def _settle(name: str, state: State) -> str:
    other = "image" if name != "image" else "text"
    return (
        f"if they are another modality, call partial_fit(X, modality={other!r}) (or what they are) on representative "
        f"rows; if they are {name!r}, pass modality={name!r}"
    )


def _readings(state: State, name: str, glance: Glance, n_rows: int) -> str:
    total = float(glance.variance.sum())
    error, spread = math.sqrt(total / max(n_rows, glance.n_rows)), math.sqrt(total)
    return (
        f"{_found(state, name, glance)}. They were centered by their own mean, with an expected error of {error:.3f} "
        f"(the rows spread {spread:.2f} around it); {_settle(name, state)}"
    )


def _refusal(state: State, name: str, glance: Glance) -> str:
    return (
        f"{_found(state, name, glance)}. They are too few ({glance.n_rows}) for a mean of their own, which takes "
        f"{MIN_ROWS_FOR_BATCH_MEAN}; {_settle(name, state)}"
    )
