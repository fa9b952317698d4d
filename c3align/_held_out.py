"""Aligned rows to calibrate by: where rows are few, each by a map that was learned without it.

A map follows from the rows that it was learned from, and the more so the fewer they are: scores among these rows vary
otherwise than those of new rows. So the rows are dealt into folds, related ones into the same, and the rows of a fold
go through the map that the others teach. Rows of different folds are not scored against each other, since each has
taught the other's map.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from collections.abc import Mapping as Table
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import mappings
from c3align._state import State
from c3align._typing import Int64Array
from c3align.covariance import CovarianceStatistics
from c3align.cross_covariance import CrossCovariance
from c3align.errors import PAIRED, C3AlignError, CalibrationWarning
from c3align.mappings.rows import align
from c3align.ops import fixed
from c3align.sample import SIZE, RowSample, related
from c3align.statistics import ModalityStatistics

__all__ = ["aligned_rows"]

FOLDS = 5
LEAST_GROUPS = 120  # of a modality: in five folds they have the thousand scores that tell a share of 1 %
MOST_ROWS = 8 * SIZE  # of a sample, each as often as it came
_Numbers = Table[str, Int64Array]


def aligned_rows(
    state: State, mapping: str | mappings.Mapping, renormalize: bool, *, may_fold: bool = True
) -> dict[str, Any]:
    """What `Calibration.from_rows` takes: aligned rows of each modality's sample, with folds where they are few.

    Raises
    ------
    C3AlignError
        When rows of one were learned without a sample.

    Warns
    -----
    CalibrationWarning
        Where a map fits rows that are too few to be dealt into folds, and where few rows were learned apart.
    """
    for name in state.usable:
        if name not in state.samples:
            raise C3AlignError(
                f"no rows of {name!r} were sampled; fit C3Aligner(second_moments=True), or call "
                "calibration.Calibration.from_rows with aligned rows of each modality"
            )
    through = partial(align, renormalize=renormalize, zero_rows="keep")
    about = related({name: state.samples[name] for name in state.usable})
    folds = (
        _folds(state, about)
        if may_fold and _are_few(state) and "sketches" not in mappings.load(mapping).needs
        else None
    )
    rows = {name: through(state.samples[name].rows, state.row_map(name, mapping)) for name in state.usable}
    held_out = folds and _cross_validated(state, folds, mapping, through)
    if held_out:
        _warn_of_strangers(about)
    else:
        _warn_of_few(state, mapping)
    means = {name: found.mean for name, found in state.usable.items()}
    return {"rows": held_out or rows, "groups": about, "folds": folds if held_out else None, "raw_means": means}


def _cross_validated(
    state: State, folds: _Numbers, mapping: str | mappings.Mapping, through: Callable[[Any, Any], Any]
) -> dict[str, Any] | None:
    """Each fold of the rows through the map that the others teach, where they determine one."""
    found = {name: np.empty_like(state.samples[name].rows) for name in folds}
    for k in range(FOLDS):
        gone = {name: fold == k for name, fold in folds.items()}
        others = _without(state, gone)
        for name, which in gone.items():
            try:
                found[name][which] = through(state.samples[name].rows[which], others.row_map(name, mapping))
            except C3AlignError:
                return None
    return found


def _warn_of_few(state: State, mapping: str | mappings.Mapping) -> None:
    few = {name: found.n_rows for name, found in state.usable.items() if found.n_rows < 2 * state.n_dims}
    told = [f"{n} of {name!r}" for name, n in few.items() if getattr(state.row_map(name, mapping), "has_matrix", False)]
    if told:
        warnings.warn(
            f"the mapping follows from the rows that this calibration sees, {', '.join(told)}, too few for "
            f"{state.n_dims} dimensions and, with less than {LEAST_GROUPS} that are unrelated, for a cross-validation: "
            "a threshold between modalities may let through as little as a fiftieth of the share of new rows that it "
            "states; fit more rows, or calibrate by others: Calibration.from_rows(aligned)",
            CalibrationWarning,
            stacklevel=4,
        )


def _warn_of_strangers(about: _Numbers) -> None:
    """Rows of one thing that were learned apart are not known as such, and fall into several folds."""
    apart = [f"{a!r} and {b!r}" for a, b in combinations(about, 2) if not np.intersect1d(about[a], about[b]).size]
    if apart:
        warnings.warn(
            f"few rows of {' and of '.join(apart)} were learned apart: if they are of the same things a threshold "
            f"between them may let through twice what it says, and a low one hardly anything; {PAIRED}",
            CalibrationWarning,
            stacklevel=4,
        )


def _are_few(state: State) -> bool:
    """Whether rows of some modality are so few that maps follow them."""
    return any(found.n_rows < max(SIZE, 2 * state.n_dims) for found in state.usable.values())


def _folds(state: State, about: _Numbers) -> dict[str, Int64Array] | None:
    """The fold of each row; none where too few are unrelated, most are about one thing, or some came very often."""
    folds = {name: numbers % FOLDS for name, numbers in about.items()}
    for name, numbers in about.items():
        largest = np.bincount(folds[name], minlength=FOLDS).max()
        is_little = len(np.unique(numbers)) < LEAST_GROUPS or largest > len(numbers) // 2
        if is_little or state.samples[name].counts.sum() > MOST_ROWS:
            return None
    return folds


def _without(state: State, gone: Table[str, Any]) -> State:
    """What all rows but these of the samples teach; raw norms stay as they are, for no map looks at them."""
    sides = [{n: _part(state.samples[n], which == out) for n, which in gone.items()} for out in (True, False)]
    left, kept = sides
    second = {}
    for name, sample in left.items():
        rows = CovarianceStatistics.from_rows(np.repeat(sample.rows, sample.counts, axis=0))
        second[name] = _less(state.second_moments[name], rows)
    return replace(
        state,
        statistics={name: found.statistics for name, found in second.items()},
        second_moments=second,
        across={(a, b): _less_pairs(found, left[a], left[b]) for (a, b), found in state.across.items()},
        samples=kept,
    )


def _part(sample: RowSample, which: npt.NDArray[np.bool_]) -> RowSample:
    keys = sample.keys[which]
    links = sample.links[np.isin(sample.links[:, 0], keys)]
    return RowSample(sample.size, keys, sample.groups[which], sample.rows[which], sample.counts[which], links)


def _less(found: CovarianceStatistics, gone: CovarianceStatistics) -> CovarianceStatistics:
    mine, less = found.statistics, gone.statistics
    sums, squares = (fixed.add(a, fixed.negate(b)) for a, b in ((mine.sums, less.sums), (mine.squares, less.squares)))
    statistics = ModalityStatistics(mine.n_rows - less.n_rows, mine.n_zero_rows, sums, squares, mine.norms)
    return CovarianceStatistics(statistics, found.products - gone.products)


def _less_pairs(found: CrossCovariance, x: RowSample, y: RowSample) -> CrossCovariance:
    """Without the pairs of which both rows are in these samples."""
    links = np.unique(np.concatenate([x.links, y.links[:, ::-1]]), axis=0)
    links = links[np.isin(links[:, 0], x.keys) & np.isin(links[:, 1], y.keys)]
    if not len(links):
        return found
    rows = (side.rows[np.searchsorted(side.keys, links[:, k])] for k, side in enumerate((x, y)))
    gone = CrossCovariance.from_rows(*rows)
    return CrossCovariance(_less(found.x, gone.x), _less(found.y, gone.y), found.products - gone.products)
