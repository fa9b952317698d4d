"""All that an aligner has learned, as one frozen value: a change makes a new one, or raises and changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from c3align import mappings
from c3align.covariance import CovarianceStatistics, PairCovariance
from c3align.cross_covariance import CrossCovariance
from c3align.errors import C3AlignError, EncoderMismatchError
from c3align.mappings import CENTER, QuantileSketch, RowTransform
from c3align.sample import RowSample
from c3align.statistics import ModalityStatistics, PairStatistics

__all__ = ["MORE", "PairKey", "State", "check_order", "learning", "pair_key"]

PairKey = tuple[str, str]
# what may be known of rows or pairs beyond their means, and what is to be done where it is known of a part alone
MORE = {
    "second_moments": ("second moments", "second_moments=True"),
    "covariances": ("covariance", "noise='residual'"),
    "across": ("products across", "the same mapping="),
    "sketches": ("quantiles", "mapping='quantile'"),
}
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class State:
    """Statistics of modalities and of pairs, in alphabetical order, so that no trace of the order of learning remains.

    Attributes
    ----------
    n_dims : int
        Width of the rows.
    statistics : mapping of str to ModalityStatistics
    pairs : mapping of (str, str) to PairStatistics
        Differences first - second; names in alphabetical order.
    second_moments : mapping of str to CovarianceStatistics
        Of every modality, or of none.
    covariances : mapping of (str, str) to PairCovariance
        Of every pair, or of none.
    across : mapping of (str, str) to CrossCovariance
        Of every pair, or of none.
    sketches : mapping of str to QuantileSketch
        Of every modality, or of none.
    samples : mapping of str to RowSample
        Some rows of modalities whose second moments are known.
    fingerprint : str or None
        The encoder whose rows these were.
    feature_names : mapping of str to tuple of str
        Column names of the modalities that were learned from data frames, in the order of learning.
    """

    n_dims: int
    statistics: Mapping[str, ModalityStatistics] = field(default_factory=dict)
    pairs: Mapping[PairKey, PairStatistics] = field(default_factory=dict)
    second_moments: Mapping[str, CovarianceStatistics] = field(default_factory=dict)
    covariances: Mapping[PairKey, PairCovariance] = field(default_factory=dict)
    across: Mapping[PairKey, CrossCovariance] = field(default_factory=dict)
    sketches: Mapping[str, QuantileSketch] = field(default_factory=dict)
    samples: Mapping[str, RowSample] = field(default_factory=dict)
    fingerprint: str | None = None
    feature_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """What was learned; what was only worked out from it is not copied along."""
        return {name: vars(self)[name] for name in self.__dataclass_fields__}

    def with_modality(
        self,
        name: str,
        found: ModalityStatistics | CovarianceStatistics,
        names: tuple[str, ...] | None = None,
        sketch: QuantileSketch | None = None,
        sample: RowSample | None = None,
    ) -> State:
        """Add rows of a modality; `names` are those of their columns."""
        second = {name: found} if isinstance(found, CovarianceStatistics) else {}
        plain = found.statistics if isinstance(found, CovarianceStatistics) else found
        more = {"sketches": sketch, "samples": sample, "feature_names": names or None}
        known: dict[str, Any] = {what: {name: value} for what, value in more.items() if value is not None}
        return self.merged(State(plain.n_dims, {name: plain}, second_moments=second, **known))

    def with_pairs(
        self, a: str, b: str, found: PairStatistics | PairCovariance, across: CrossCovariance | None = None
    ) -> State:
        """Add pairs, of differences a - b."""
        ordered = found if a < b else found.negated()
        key, shape = pair_key(a, b), {}
        if isinstance(ordered, PairCovariance):
            shape, ordered = {key: ordered}, ordered.statistics
        products = {} if across is None else {key: across if a < b else across.transposed()}
        return self.merged(State(self.n_dims, pairs={key: ordered}, covariances=shape, across=products))

    def same_rows(self, other: State) -> list[str]:
        """Modalities of which both know the same rows, as exact sums of two rows and more tell."""
        both = self.statistics.keys() & other.statistics.keys()
        return sorted(n for n in both if self.statistics[n] == other.statistics[n] and self.statistics[n].n_rows > 1)

    def merged(self, other: State) -> State:
        """What both have learned.

        Raises
        ------
        C3AlignError
            When the widths differ; when second moments, or covariances of pairs, are known of a part alone.
        EncoderMismatchError
            When both are bound, to different encoders.
        """
        if self.n_dims != other.n_dims:
            raise C3AlignError(
                f"rows of {self.n_dims} and of {other.n_dims} dimensions cannot be learned together; "
                "use rows of one encoder"
            )
        for name, columns in other.feature_names.items():
            check_order(columns, self.feature_names, name)
            if self.feature_names.get(name, columns) != columns:
                raise C3AlignError(f"{name!r} has columns of other names; use frames of one encoder")
        merged = State(
            self.n_dims,
            _merged(self.statistics, other.statistics),
            _merged(self.pairs, other.pairs),
            _merged(self.second_moments, other.second_moments),
            _merged(self.covariances, other.covariances),
            _merged(self.across, other.across),
            _merged(self.sketches, other.sketches),
            self._samples_with(other),
            _one_fingerprint(self.fingerprint, other.fingerprint),
            {**self.feature_names, **{n: c for n, c in other.feature_names.items() if n not in self.feature_names}},
        )
        for what in MORE:  # is known of all rows, or of none
            known, found = merged._part(what)
            for key, statistics in known.items() if found else ():
                if key not in found or found[key].n_rows != statistics.n_rows:
                    raise C3AlignError(_missing(key, what))
        return merged

    def without(self, other: State) -> State:
        """What is left without rows that were learned, exactly.

        Raises
        ------
        C3AlignError
            Where more is known than exact sums, and for rows that were not learned, or as pairs and are not taken so.
        """
        if self.second_moments or self.covariances or self.across or self.sketches or self.samples:
            raise C3AlignError("covariances, quantiles and samples must be learned anew without rows; fit those left")
        if self.n_dims != other.n_dims:
            raise C3AlignError(
                f"rows of {other.n_dims} dimensions are not among those of {self.n_dims}; use one encoder's"
            )
        if not {*other.statistics} <= {*self.statistics}:
            raise C3AlignError(f"{', '.join(other.statistics)} rows must be among those learned; pass what was merged")
        left, pairs = _less(self.statistics, other.statistics), _less(self.pairs, other.pairs)
        if any(name not in left or found.n_rows > left[name].n_rows for key, found in pairs.items() for name in key):
            raise C3AlignError("rows that were learned as pairs must be taken away so; fit the part with --pair too")
        if not left:
            raise C3AlignError("some rows must be left, and all were subtracted; delete the aligner")
        columns = {name: names for name, names in self.feature_names.items() if name in left}
        bound = _one_fingerprint(self.fingerprint, other.fingerprint)
        return State(self.n_dims, left, pairs, fingerprint=bound, feature_names=columns)

    def _samples_with(self, other: State) -> Mapping[str, RowSample]:
        """Those of modalities that were sampled wherever they were learned; old files have none."""
        both = _merged(self.samples, other.samples)
        known = [(state.statistics, state.samples) for state in (self, other)]
        return {name: found for name, found in both.items() if all(name in s or name not in r for r, s in known)}

    def reduced(self, wanted: Collection[str]) -> State:
        """The same without what is not wanted; what is, of `MORE`, must have been learned.

        Raises
        ------
        C3AlignError
            When it was not.
        """
        for what in sorted(wanted):
            known, found = self._part(what)
            if known and not found:
                raise C3AlignError(_missing(next(iter(known)), what))
        absent: dict[str, Any] = {what: {} for what in MORE if what not in wanted}
        return replace(self, **absent, samples=self.samples if "second_moments" in wanted else {})

    def _part(self, what: str) -> tuple[Any, Any]:
        """Return what `what` (one of `MORE`) could be known for, and what is known."""
        return (self.pairs if what in ("covariances", "across") else self.statistics), getattr(self, what)

    def bound(self, fingerprint: str) -> State:
        """The same, tied to an encoder.

        Raises
        ------
        EncoderMismatchError
            When it is tied to another one.
        """
        if not isinstance(fingerprint, str) or not fingerprint:
            raise C3AlignError(f"fingerprint must be a non-empty string, got {fingerprint!r}; pass encoder.fingerprint")
        if self.fingerprint not in (None, fingerprint):
            raise EncoderMismatchError(
                f"these statistics come from the encoder {self.fingerprint} and not from {fingerprint}; "
                "use that encoder, or fit an aligner on rows of this one"
            )
        return replace(self, fingerprint=fingerprint)

    @cached_property
    def usable(self) -> dict[str, ModalityStatistics]:
        """The modalities of which at least one row had a direction."""
        return {name: found for name, found in self.statistics.items() if found.n_rows}

    @property
    def first_names(self) -> Any:
        """Columns (n_dims,) of the first data frame.

        Raises
        ------
        AttributeError
            When no rows came as one.
        """
        if self.feature_names:
            return np.array(next(iter(self.feature_names.values())), dtype=object)
        raise AttributeError("feature_names_in_ exists only after a fit on a data frame")

    def row_map(self, name: str, mapping: str | mappings.Mapping = CENTER) -> RowTransform:
        """What rows of a modality go through, solved once.

        Raises
        ------
        C3AlignError
            A modality without rows; what the mapping needs was not learned, or does not determine it.
        """
        self.statistics[name].mean  # noqa: B018 (of a modality without rows, which this says)
        known: dict[Any, Any] = vars(self).setdefault("_solved", {})
        if mapping not in known:
            known[mapping] = self._solve(mappings.load(mapping))
        if name not in known[mapping]:
            raise C3AlignError(
                f"{mapping!r} has solved no map for {name!r}; let its solve() give one for each modality"
            )
        found: RowTransform = known[mapping][name]
        return found

    def _solve(self, mapping: mappings.Mapping) -> Mapping[str, RowTransform]:
        rows = {name: found.drawn().astype(np.float64) for name, found in self.samples.items() if len(found.rows)}
        second = self.second_moments if "second_moments" in mapping.needs else {}
        known = {name: second.get(name, found) for name, found in self.usable.items()}
        return mapping.solve(known, pairs=self.across, sketches=self.sketches, samples=rows)

    @property
    def only(self) -> str:
        """The one modality that was learned.

        Raises
        ------
        C3AlignError
            When there are several.
        """
        if len(self.statistics) > 1:
            names = ", ".join(repr(name) for name in self.statistics)
            raise C3AlignError(f"several modalities are fitted ({names}); pass modality= with one of them")
        return next(iter(self.statistics))


def learning() -> Any:
    """The lock under which one state follows another; rows are read outside of it."""
    return _learning[0]


_learning = [threading.RLock()]
if hasattr(os, "register_at_fork"):  # a child has the lock as it was, and not the thread that would free it
    os.register_at_fork(after_in_child=lambda: _learning.__setitem__(0, threading.RLock()))


def check_order(names: tuple[str, ...] | None, known: Mapping[str, tuple[str, ...]], what: str) -> None:
    """Refuse columns that are known in another order.

    Raises
    ------
    C3AlignError
        With the name of whoever has them in another order.
    """
    for owner, columns in known.items():
        if names and names != columns and sorted(names) == sorted(columns):
            raise C3AlignError(
                f"{what} has the columns of {owner} in another order; reorder them, as with {what}[columns]"
            )


def pair_key(a: str, b: str) -> PairKey:
    """Both names in alphabetical order."""
    return (a, b) if a < b else (b, a)


def _merged(mine: Mapping[_Key, Any], others: Mapping[_Key, Any]) -> dict[_Key, Any]:
    both = {**mine, **{key: mine[key] + found if key in mine else found for key, found in others.items()}}
    return dict(sorted(both.items()))


def _less(mine: Mapping[_Key, Any], others: Mapping[_Key, Any]) -> dict[_Key, Any]:
    left = {key: found - others[key] if key in others else found for key, found in mine.items()}
    return {key: found for key, found in left.items() if found.n_rows or found.n_zero_rows}


def _missing(key: Any, what: str) -> str:
    kind = f"pairs of {' and '.join(key)}" if isinstance(key, tuple) else f"rows of {key!r}"
    name, setting = MORE[what]
    return f"{kind} were learned without their {name}; fit on all of them with {setting}"


def _one_fingerprint(*given: str | None) -> str | None:
    known = [fingerprint for fingerprint in given if fingerprint is not None]
    if len(set(known)) > 1:
        raise EncoderMismatchError(
            f"these aligners learned from different encoders ({' and '.join(known)}); merge those of one encoder"
        )
    return known[0] if known else None
