"""Which mean belongs to a batch: one decision for `transform`, `corrupt`, the module, decoders and the command line.

| `modality` | fitted, and where the batch lies | the mean |
|---|---|---|
| a name |  | that modality's; a large shift warns |
| "batch" |  | the batch's own |
| "auto" | two or more, one clearly | that one's |
| "auto" | two or more, none clearly | error: name the modality |
| "auto" | one, no significant shift | that one's |
| "auto" | one, a shift, 8 rows or more | the batch's own, with a `ModalityMeanWarning` |
| "auto" | one, a shift, fewer rows | error: name the modality |

A *shift* is the squared distance between the batch's mean and a fitted one, less the sampling error of both. It is
significant if it exceeds a few percent of the modality's total variance and what chance explains; the size of the gap
relative to the spread of the rows does not matter, as real gaps are as small as 0.3 of it. Chance is judged by the
columns' own variances, and from 8 rows on also by how few directions the rows vary in (their Gram matrix).

Between two modalities a linear discriminant decides, ``w = S**-1 (mean_a - mean_b)``: a batch belongs to one if it
cannot be explained as the other. S is diagonal, or the shrunken covariance where second moments were learned.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from c3align._arguments import shown
from c3align._discriminant import (
    MIN_ROWS_FOR_BATCH_MEAN,
    ROUNDING,
    SURPRISE,
    Claim,
    Yardstick,
    discriminants,
    quantile,
)
from c3align._discriminant import claimed_by as claimed_by  # decoders ask it too
from c3align._state import State
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.mappings import RowAffine
from c3align.ops import glance as looks
from c3align.ops.arrays import as_rows, is_on_device
from c3align.ops.glance import Glance

__all__ = ["AUTO", "BATCH", "FAR", "Center", "Glance", "center", "doubt_about"]

AUTO, BATCH = "auto", "batch"  # reserved: no modality may have these names
_POSITIONS = 64  # rows looked at to tell raw ones, which lie around 1 of their mean, from aligned ones, around 0
NAMED_ROWS = 16  # rows looked at if a name is given
NEGLIGIBLE = 0.04  # of the total variance; halves of one modality stay below it from some 50 rows on
LARGE, LARGE_CLAIMED = 0.15, 0.5  # of the total variance: the shift that warns; the same for rows clearly of no other
FAR, FAR_FEW = 1.0, 2.0  # of the total variance: rows this far from the nearest of several means belong to none
MIXED = 0.02  # share of rows on another modality's side, beyond a single one, that makes a batch a mixture


@dataclass(frozen=True)
class Center:
    """Whose mean to subtract.

    Parameters
    ----------
    modality : str
        A fitted modality's name, or "batch".
    warning : str, optional
        The warning to give.
    """

    modality: str
    warning: str | None = None


def center(modality: str, state: State, X: Any, n_rows: int | None = None) -> Center:
    """Decide whose mean the rows X are centered by; see the table above.

    Parameters
    ----------
    modality : str
        "auto", "batch", or the name of a fitted one.
    state : State
        What was learned.
    X : (n_rows, n_dims) array or tensor
        Rows, or an evenly spaced sample of them.
    n_rows : int, optional
        The number of all rows, if X is a sample.

    Returns
    -------
    Center
        With a warning where the table says so.

    Raises
    ------
    C3AlignError
        Where the table says so; the message ends with the call that resolves it.
    """
    has_values = looks.can_look(X)
    if modality == BATCH or (modality != AUTO and not has_values):
        return Center(modality)
    if not has_values:
        raise C3AlignError("modality='auto' looks at rows, and a meta tensor has no values; name a fitted modality")
    if modality != AUTO:
        if modality in state.usable and Claim.of(state, modality).is_plain(X, NAMED_ROWS, LARGE, LARGE_CLAIMED):
            return Center(modality)
        doubt = doubt_about(modality, state, Glance.of(X), mixtures=False)  # a second look, at more rows
        return Center(modality, _warning(f"given as modality={modality!r}", modality, doubt))
    glance = Glance.of(X)
    if len(state.usable) > 1:
        name = clear_modality(state, glance)
        return Center(name, _warning(f"taken as {name!r}", name, doubt_about(name, state, glance)))
    name = next(iter(state.usable or state.statistics))
    found = shift(state, name, glance)
    if not found:
        return Center(name)
    if glance.n_rows < MIN_ROWS_FOR_BATCH_MEAN:
        raise C3AlignError(_refusal(state, name, glance))
    return Center(BATCH, _readings(state, name, glance, n_rows or X.shape[0]))


def shift(state: State, name: str, glance: Glance) -> float:
    """The rows' shift from a modality's mean, as a share of its total variance; 0 where chance explains it."""
    n = glance.n_rows
    if not n or not state.statistics[name].n_rows:
        return 0.0
    fitted = Yardstick.of(state, name)
    few = n < MIN_ROWS_FOR_BATCH_MEAN
    if fitted.n_rows == 1:  # it has no spread of its own
        fitted, few = fitted.spread_by(glance.variance), False
    difference = glance.mean - fitted.mean
    own = fitted.total if few else glance.total_variance
    excess = float(difference @ difference) - own / n - fitted.total / fitted.n_rows
    if excess <= max(NEGLIGIBLE * fitted.total, ROUNDING):
        return 0.0
    difference *= difference
    own = fitted.weighted_total if few else float(glance.variance @ fitted.weights)
    error = max(own / n + fitted.weighted_total / fitted.n_rows, 1e-12)
    surprise = float(difference @ fitted.weights) / error
    most = fitted.most_by_chance(n) if n < MIN_ROWS_FOR_BATCH_MEAN else _most_by_chance(glance, fitted)
    return excess / max(fitted.total, ROUNDING) if surprise > most else 0.0


def _most_by_chance(glance: Glance, fitted: Yardstick) -> float:
    """The squared distance of two means, over its expectation, that chance exceeds less than once in thousands."""
    return quantile(glance.participation(np.sqrt(fitted.weights)), SURPRISE * (1 + 2 / glance.n_rows))


def clear_modality(state: State, glance: Glance) -> str:
    """The fitted modality that the rows clearly belong to.

    Raises
    ------
    C3AlignError
        If there is none, or the rows are far from all.
    """
    names = ", ".join(repr(name) for name in state.statistics)
    if glance.n_rows:
        found = claimed_by(state, glance)
        few = glance.n_rows < MIN_ROWS_FOR_BATCH_MEAN
        if found is not None and shift(state, found, glance) <= (FAR_FEW if few else FAR):
            others = strays(state, found, glance)
            if not others:
                return found
            raise C3AlignError(f"these rows are a mixture: {others}; split them, and pass each part with its modality=")
    second = "" if state.second_moments else "; C3Aligner(second_moments=True) separates more of them"
    raise C3AlignError(
        f"these rows do not clearly belong to one of the fitted modalities ({names}); pass modality= with one of "
        f"them{second}"
    )


def strays(state: State, name: str, glance: Glance) -> str:
    """How many of the rows looked at lie on another modality's side, in words; empty where hardly any do."""
    if glance.n_rows < 2 or len(state.usable) < 2:
        return ""
    for line in discriminants(state):
        if name in (line.a, line.b):
            other = line.b if name == line.a else line.a
            positions = looks.positions(glance.rows, line.direction) - line.middle
            away = 2 * np.median(positions) - positions  # as many rows lie as far out on the side of nobody
            count, alike = (int(np.count_nonzero(line.winner_at(at, other))) for at in (positions, away))
            if count - alike > 1 + MIXED * glance.n_rows + 3 * math.sqrt(2 * alike):
                return f"{count} of {len(positions)} lie on the side of {other!r}"
    return ""


def doubt_about(name: str, state: State, glance: Glance, most: float = LARGE, *, mixtures: bool = True) -> str | None:
    """Say where rows given as a modality lie, if that casts doubt: too far off, or on another modality's side.

    Parameters
    ----------
    name : str
        A fitted modality.
    state : State
        What was learned.
    glance : Glance
        A look at the rows.
    most : float
        The tolerated shift, as a share of the modality's total variance.
    mixtures : bool
        Whether single rows on another modality's side count.

    Returns
    -------
    str or None
        None if there is no doubt.
    """
    if not glance.n_rows or not state.statistics[name].sums.any():
        return None  # a mean of zeros, as for rows and their opposites, is meant to change nothing
    other = claimed_by(state, glance) if len(state.usable) > 1 else None
    before = aligned_before(state, name, glance)
    most = max(most, LARGE_CLAIMED) if other == name else min(most, LARGE_CLAIMED) if before else most
    mixed = strays(state, name, glance) if mixtures and other in (None, name) else ""
    if other in (None, name) and not mixed and shift(state, name, glance) <= most:
        return None
    where = f"lie {_distance(state, name, glance):.2f} from its mean (its own rows {_spread(state, name):.2f}){before}"
    if mixed:
        return f"{where}, and {mixed}"
    return where if other in (None, name) else f"{where}, on the side of {other!r}"


def warn_of_strangers(name: str, state: State | None, X: Any, *, is_named: bool) -> None:
    """Warn if rows learned as a known modality do not look like it, sooner where its name was not given."""
    if state is None or name not in state.usable or not looks.can_look(X):
        return
    if state.statistics[name].n_rows < MIN_ROWS_FOR_BATCH_MEAN:
        return  # few rows do not show where others lie
    glance, most = (Glance.of(X, NAMED_ROWS), FAR) if is_named else (Glance.of(X), LARGE)
    if (doubt := doubt_about(name, state, glance, most, mixtures=not is_named)) is not None:
        warnings.warn(
            f"rows that {doubt} were learned as {name!r} rows; if they are another modality, name it with modality=",
            ModalityMeanWarning,
            stacklevel=4,
        )


def _warning(how: str, name: str, doubt: str | None) -> str | None:
    if doubt is None:
        return None
    return (
        f"the rows {how} {doubt}, but were centered by its mean; check that they are {name!r} rows of "
        f"the encoder seen by fit, on any topic; if they are, ignore this"
    )


def state_of(aligner: Any, *modalities: str, whose: str = "this", named: bool = False) -> State:
    """Get what an aligner has learned, checking that it knows these modalities; "auto" and "batch" unless `named`.

    Raises
    ------
    NotFittedError
        If not, with the call that fixes it.
    """
    from sklearn.exceptions import NotFittedError  # scikit-learn is slow to import, and a command line may not need it

    state: State | None = getattr(aligner, "__dict__", {}).get("state_")
    if state is None and not hasattr(aligner, "partial_fit"):
        raise C3AlignError(f"{whose} must be a C3Aligner, got {shown(aligner)}; load one by C3Aligner.from_pretrained")
    if state is None:
        raise NotFittedError(f"{whose} C3Aligner has learned nothing yet; call fit(X) with rows of one modality first")
    for modality in modalities:
        if isinstance(modality, str) and modality in state.statistics:
            continue
        if not isinstance(modality, str):
            raise C3AlignError(f"modality must be a string, got {modality!r}; pass a fitted modality's name")
        fitted = ", ".join(map(repr, state.statistics))
        if named and modality in (AUTO, BATCH):
            raise C3AlignError(f"modality must be a fitted one, got {modality!r}; pass one of {fitted}")
        if modality not in (AUTO, BATCH):
            raise NotFittedError(
                f"no mean was learned for modality {modality!r} (learned: {fitted}); "
                f"pass a learned one, or call partial_fit(X, modality={modality!r}) with rows of it first"
            )
    return state


def warn_of_raw(rows: Any, state: State, name: str, mapping: Any) -> None:
    """Warn of eight or more rows given as aligned that lie around the modality's raw mean, which the mapping moves."""
    mean, row_map = state.statistics[name].mean, state.row_map(name, mapping)
    is_moved = isinstance(row_map, RowAffine) and bool((abs(row_map.apply(mean[None])) < ROUNDING).all())  # to zero
    if rows.shape[0] < MIN_ROWS_FOR_BATCH_MEAN or not (mean.any() and is_moved and looks.can_look(rows)):
        return
    sample = slice(None, None, -(-rows.shape[0] // _POSITIONS))
    along = looks.positions(rows[sample] if is_on_device(rows) else as_rows(rows).take(sample), mean / (mean @ mean))
    if len(along) > 1 and along.mean() > max(1 / 2, SURPRISE * along.std() / math.sqrt(len(along))):
        text = f"these look like raw rows of {name!r}, as they lie around its raw mean; pass what transform gave"
        warnings.warn(text, ModalityMeanWarning, stacklevel=3)


def two_of(aligner: Any, a: str | None, b: str | None) -> tuple[State, str, str]:
    """Get what an aligner has learned and two modalities: as named, else image and text, or the two that there are."""
    names = [*state_of(aligner, *(name for name in (a, b) if name is not None), named=True).statistics]
    known = ["image", "text"] if len(names) != 2 or {"image", "text"} == {*names} else names
    first = a if a is not None else next(name for name in known if name != b)
    second = b if b is not None else next(name for name in reversed(known) if name != first)
    if len(names) > 2 and not {first, second} <= {*names}:
        raise C3AlignError(f"several modalities are fitted ({', '.join(map(repr, names))}); name two of them")
    return state_of(aligner, first, second, named=True), first, second


def _distance(state: State, name: str, glance: Glance) -> float:
    return math.dist(glance.mean, state.statistics[name].mean)


def _spread(state: State, name: str) -> float:
    """Root mean square distance of a modality's rows from their mean."""
    return math.sqrt(Yardstick.of(state, name).total)


def _found(state: State, name: str, glance: Glance) -> str:
    where = f"{_distance(state, name, glance):.2f} from its mean"
    return (
        f"only {name!r} is fitted, and these rows lie {where}, which chance does not explain: they are another "
        f"modality, or other material of the same one{aligned_before(state, name, glance)}"
    )


def aligned_before(state: State, name: str, glance: Glance) -> str:
    """What rows around zero have been through, where those of the fitted modality lie elsewhere."""
    means = (glance.mean, glance.total_variance), (state.statistics[name].mean, Yardstick.of(state, name).total)
    (here, there), n = [float(mean @ mean) / max(total, ROUNDING) for mean, total in means], glance.n_rows
    is_centered = n >= MIN_ROWS_FOR_BATCH_MEAN and here <= NEGLIGIBLE + 1 / n and there > LARGE
    return ", around zero, as rows do that were aligned before" if is_centered else ""


def _settle(name: str, state: State) -> str:
    other = "text" if name != "text" else "image"
    return (
        f"if they are another modality, call partial_fit(X, modality={other!r}) (or what they are) on representative "
        f"rows; if they are {name!r}, pass modality={name!r}"
    )


def _readings(state: State, name: str, glance: Glance, n_rows: int) -> str:
    spread = math.sqrt(glance.variance.sum())
    error = spread / math.sqrt(max(n_rows, glance.n_rows))
    return (
        f"{_found(state, name, glance)}. They were centered by their own mean, with an expected error of {error:.3f} "
        f"if they are a random sample and not one topic (the rows spread {spread:.2f} around it), so pass all rows "
        f"of a set at once; {_settle(name, state)}"
    )


def _refusal(state: State, name: str, glance: Glance) -> str:
    return (
        f"{_found(state, name, glance)}. They are too few ({glance.n_rows}) for a mean of their own, which takes "
        f"{MIN_ROWS_FOR_BATCH_MEAN}; {_settle(name, state)}"
    )
