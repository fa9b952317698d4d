"""All that an aligner has learned, as one frozen value: a change makes a new one, or raises and changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from c3align import noise
from c3align._typing import Float64Array
from c3align.covariance import CovarianceStatistics, PairCovariance
from c3align.errors import C3AlignError, EncoderMismatchError
from c3align.ops.arrays import is_on_device
from c3align.ops.backends import load
from c3align.statistics import ModalityStatistics, PairStatistics

__all__ = ["PairKey", "State", "check_order", "learning", "pair_key"]

PairKey = tuple[str, str]
MIN_PAIRS_FOR_NOISE = 2  # one pair has no residual: its difference is the gap
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
    fingerprint: str | None = None
    feature_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """What was learned; what was only worked out from it is not copied along."""
        return {name: vars(self)[name] for name in self.__dataclass_fields__}

    def with_modality(
        self, name: str, found: ModalityStatistics | CovarianceStatistics, names: tuple[str, ...] | None = None
    ) -> State:
        """Rows of a modality more; `names` are those of their columns."""
        second = {name: found} if isinstance(found, CovarianceStatistics) else {}
        plain = found.statistics if isinstance(found, CovarianceStatistics) else found
        other = State(plain.n_dims, {name: plain}, second_moments=second, feature_names={name: names} if names else {})
        return self.merged(other)

    def with_pairs(self, a: str, b: str, found: PairStatistics | PairCovariance) -> State:
        """Pairs more, of differences a - b."""
        ordered = found if a < b else found.negated()
        key, shape = pair_key(a, b), {}
        if isinstance(ordered, PairCovariance):
            shape, ordered = {key: ordered}, ordered.statistics
        return self.merged(State(self.n_dims, pairs={key: ordered}, covariances=shape))

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
            _one_fingerprint(self.fingerprint, other.fingerprint),
            {**self.feature_names, **{n: c for n, c in other.feature_names.items() if n not in self.feature_names}},
        )
        for _, known, found, what in merged._parts():
            # what is known of more than the means is known of all rows, or of none
            for key, statistics in known.items() if found else ():
                if key not in found or found[key].n_rows != statistics.n_rows:
                    raise C3AlignError(_missing(key, what))
        return merged

    def reduced(self, *, second_moments: bool, covariances: bool) -> State:
        """The same without what is not wanted; what is wanted must have been learned.

        Raises
        ------
        C3AlignError
            When it was not.
        """
        for wanted, known, found, what in self._parts(second_moments, covariances):
            if wanted and known and not found:
                raise C3AlignError(_missing(next(iter(known)), what))
        second = self.second_moments if second_moments else {}
        return replace(self, second_moments=second, covariances=self.covariances if covariances else {})

    def _parts(self, second_moments: bool = True, covariances: bool = True) -> list[tuple[bool, Any, Any, int]]:
        return [
            (second_moments, self.statistics, self.second_moments, 0),
            (covariances, self.pairs, self.covariances, 1),
        ]

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

    @cached_property
    def pairs_sigma(self) -> float | None:
        """Standard deviation per coordinate of the residuals of all pairs; None where fewer than two were seen."""
        weights = [pairs.n_rows for pairs in self.pairs.values()]
        if sum(weights) < MIN_PAIRS_FOR_NOISE:
            return None
        return float(np.sqrt(np.average([pairs.sigma**2 for pairs in self.pairs.values()], weights=weights)))

    @cached_property
    def rms_norm(self) -> float:
        """Root mean square norm of the centered unit rows of all modalities: ``sqrt(1 - ||mean||**2)``."""
        found = self.usable.values()
        variances = [statistics.total_variance for statistics in found]
        return float(np.sqrt(np.average(variances, weights=[statistics.n_rows for statistics in found])))

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

    def mean_for(self, name: str, rows: Any) -> Any:
        """A modality's mean (n_dims,): float64, or a tensor on the rows' device, uploaded once for each and dtype."""
        mean = self.statistics[name].mean
        if not is_on_device(rows):
            return mean
        known: dict[Any, Any] = vars(self).setdefault("_uploaded", {})
        key = (name, rows.device, rows.dtype)
        if key not in known:
            known[key] = load("eager").vector_on(mean, rows, "mean")
        return known[key]

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

    def sigma(self, asked: float | None, cosine: str | float) -> float:
        """Standard deviation of the noise per coordinate: as asked, by the cosine, from the pairs, or the paper's."""
        if asked is not None:
            return float(asked)
        if cosine != "auto":
            return noise.sigma_from_cosine(float(cosine), self.n_dims, norm=self.rms_norm)
        return noise.paper_sigma(self.n_dims) if self.pairs_sigma is None else self.pairs_sigma

    def strength(self, asked: float | None, cosine: str | float, kind: str) -> float | Float64Array:
        """What `ops.corrupt` takes as sigma: a number, or for "residual" noise a root of its covariance."""
        sigma = self.sigma(asked, cosine)
        return self.residual_root(sigma) if kind == "residual" and sigma else sigma

    def residual_root(self, sigma: float) -> Float64Array:
        """A root (n_dims, n_dims) of the residuals' covariance, scaled to this standard deviation per coordinate.

        Raises
        ------
        C3AlignError
            When fewer than two pairs were learned, or without their covariance, or they have no residuals.
        """
        if not self.covariances or self.pairs_sigma is None:
            raise C3AlignError(
                "noise='residual' takes its covariance from two pairs or more, and none were learned with it; "
                "call fit(X, y) with row i of y as the partner of row i of X, or choose noise='isotropic'"
            )
        if not self.pairs_sigma:
            raise C3AlignError("the pairs have no residuals to take a covariance from; choose noise='isotropic'")
        root = noise.residual_root(self.covariances.values())
        return root if sigma == self.pairs_sigma else root * (sigma / self.pairs_sigma)


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


def _missing(key: Any, what: int) -> str:
    kind = f"pairs of {' and '.join(key)}" if isinstance(key, tuple) else f"rows of {key!r}"
    name, setting = (("second moments", "second_moments=True"), ("covariance", "noise='residual'"))[what]
    return f"{kind} were learned without their {name}; fit on all of them with {setting}"


def _one_fingerprint(*given: str | None) -> str | None:
    known = [fingerprint for fingerprint in given if fingerprint is not None]
    if len(set(known)) > 1:
        raise EncoderMismatchError(
            f"these aligners learned from different encoders ({' and '.join(known)}); merge those of one encoder"
        )
    return known[0] if known else None
