"""What distances are measured by: a modality's own spread, and the line between two modalities.

Along the line it is decided whose a batch is: ``w = S**-1 (mean_a - mean_b)``, Fisher's linear discriminant. S is the
average of both shrunken covariances where second moments were learned, and else diagonal: the columns' variances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from c3align._state import State
from c3align._typing import Float64Array
from c3align.covariance import CovarianceStatistics
from c3align.ops import glance as looks
from c3align.ops.glance import Glance
from c3align.statistics import ModalityStatistics

__all__ = [
    "MIN_ROWS_FOR_BATCH_MEAN",
    "SURPRISE",
    "Claim",
    "Discriminant",
    "Yardstick",
    "claimed_by",
    "discriminants",
    "quantile",
]

SURPRISE = 5.0  # standard deviations of a squared distance that are no chance
ROUNDING = 1e-9  # squared distances below it are rounding
MIN_ROWS_FOR_BATCH_MEAN = 8
MOST_BY_CHANCE = 4.0  # times its expectation, that a squared distance of two means has where columns are correlated
PRIOR_ROWS = 8  # weight of the columns' mean variance in the variance of each
# Of the way from mean to mean. A batch needs 4 standard deviations of the other modality; correlations between columns,
# which their variances do not show, made these up to 2.6 times as large on CLAP (and 0.8 times on glyphs).
LEAST_MARGIN, MOST_MARGIN, DEVIATIONS, UNSEEN = 0.15, 0.3, 4.0, 2.5


@dataclass(frozen=True, eq=False)
class Yardstick:
    """How far rows of a modality lie from its mean by chance.

    Attributes
    ----------
    mean, spread : (n_dims,) float64
        Of the modality; the spread is each column's variance.
    n_rows : int
        Rows that both come from.
    total : float
        Sum of the spread.
    weights : (n_dims,) float64
        One over the steadied spread.
    weighted_total : float
        ``weights . spread``.
    freedom : float
        Directions that rows vary in, columns weighted: of the covariance where it was learned, else all columns.
    is_known : bool
        Whether the covariance was learned.
    """

    mean: Float64Array
    spread: Float64Array
    n_rows: int
    total: float
    weights: Float64Array
    weighted_total: float
    freedom: float
    is_known: bool

    @classmethod
    def of(cls, state: State, name: str) -> Yardstick:
        """Measure a fitted modality that has rows, once for a state."""
        known: dict[str, Yardstick] = vars(state).setdefault("_yardsticks", {})
        if name not in known:
            found = state.statistics[name]
            known[name] = cls._with(found, unbiased_variance(found), state.second_moments.get(name))
        return known[name]

    @classmethod
    def _with(
        cls, found: ModalityStatistics, spread: Float64Array, second: CovarianceStatistics | None = None
    ) -> Yardstick:
        weights = 1 / steadied_variance(found, spread)
        freedom = float((spread > 1e-6 * spread.mean()).sum()) or 1.0
        if second is not None:
            scaled = second.shrunken * np.sqrt(np.outer(weights, weights))
            freedom = max(float(np.trace(scaled) ** 2 / max((scaled**2).sum(), 1e-300)), 1.0)
        totals = float(spread.sum()), float(spread @ weights)
        return cls(found.mean, spread, found.n_rows, totals[0], weights, totals[1], freedom, second is not None)

    def spread_by(self, variance: Float64Array) -> Yardstick:
        """The same with the spread of other rows."""
        weights = 1 / np.maximum(variance + ROUNDING, 1e-12)
        total, weighted = float(variance.sum()), float(variance @ weights)
        return replace(self, spread=variance, total=total, weights=weights, weighted_total=weighted)

    def most_by_chance(self, n_rows: int) -> float:
        """The squared distance of the mean of a few rows, over its expectation, that is still no wonder.

        Few rows do not show in how few directions they vary. Without a covariance the figures are those measured on
        CLIP, ConVIRT, CLAP and glyphs.
        """
        most = quantile(self.freedom, SURPRISE)
        return most if self.is_known else max(min(1.4 + 0.8 * n_rows, 4.0), most)


@dataclass(frozen=True, eq=False)
class Discriminant:
    """The line between two modalities: rows of `a` lie about 1/2, rows of `b` about -1/2.

    Attributes
    ----------
    a, b : str
    direction : (n_dims,) float64
    middle : float
        ``position(v) = direction . v - middle``
    spreads : (float, float)
        Standard deviation of single rows of a, and of b, along the line.
    n_rows : (int, int)
        Rows that the means come from.
    """

    a: str
    b: str
    direction: Float64Array
    middle: float
    spreads: tuple[float, float]
    n_rows: tuple[int, int]

    @classmethod
    def between(cls, state: State, a: str, b: str) -> Discriminant:
        """Separate two fitted modalities."""
        first, second = state.statistics[a], state.statistics[b]
        gap = first.mean - second.mean
        if a in state.second_moments and b in state.second_moments:
            direction, variances = _by_covariance(gap, state.second_moments[a], state.second_moments[b])
        else:
            direction, variances = _by_columns(gap, first, second)
        length = float(direction @ gap)
        if not length > 0 or not _is_a_gap(gap, first, second):
            return cls(a, b, np.zeros_like(gap), 0.0, (math.inf, math.inf), (first.n_rows, second.n_rows))
        direction = direction / length
        spreads = (math.sqrt(max(variances[0], 0.0)) / length, math.sqrt(max(variances[1], 0.0)) / length)
        middle = float(direction @ (first.mean + second.mean)) / 2
        return cls(a, b, direction, middle, spreads, (first.n_rows, second.n_rows))

    def winner(self, mean: Float64Array, n_rows: int) -> str | None:
        """The modality that rows of this mean belong to, for they cannot be explained as the other; or None."""
        return self.winner_of(float(self.direction @ mean), n_rows)

    def winner_of(self, product: float, n_rows: int) -> str | None:
        """The same of the product of their mean with the direction."""
        position = product - self.middle
        if position > self._margin(1, n_rows):
            return self.a
        return self.b if position < -self._margin(0, n_rows) else None

    def winner_at(self, positions: Float64Array, name: str) -> Any:
        """Which single rows at these positions belong to `name`, for they cannot be explained as the other."""
        if name == self.a:
            return positions > self._margin(1, 1)
        return positions < -self._margin(0, 1)

    def _margin(self, other: int, n_rows: int) -> float:
        deviation = self.spreads[other] * math.sqrt(1 / n_rows + 1 / self.n_rows[other])
        return min(max(DEVIATIONS * deviation - 0.5, LEAST_MARGIN), MOST_MARGIN)


def claimed_by(state: State, glance: Glance) -> str | None:
    """The modality that wins against every other, or None."""
    lost: set[str] = set()
    for line in discriminants(state):
        winner = line.winner(glance.mean, glance.n_rows)
        lost.update(name for name in (line.a, line.b) if name != winner)
    left = [name for name in state.usable if name not in lost]
    return left[0] if len(left) == 1 else None


@dataclass(frozen=True, eq=False)
class Claim:
    """Rows are said to be of a modality: what is seen in microseconds to be in order, and needs no second look.

    Attributes
    ----------
    name : str
    fitted : Yardstick
    lines : list of Discriminant
        Between the modality and each other one.
    directions : (n_lines, n_dims) float64
    """

    name: str
    fitted: Yardstick
    lines: list[Discriminant]
    directions: Float64Array

    @classmethod
    def of(cls, state: State, name: str) -> Claim:
        """Worked out once for a state and a modality with rows."""
        known: dict[str, Claim] = vars(state).setdefault("_claims", {})
        if name not in known:
            lines = [line for line in discriminants(state) if name in (line.a, line.b)]
            fitted = Yardstick.of(state, name)
            directions = np.array([line.direction for line in lines]).reshape(len(lines), state.n_dims)
            known[name] = cls(name, fitted, lines, directions)
        return known[name]

    def is_plain(self, X: Any, n_rows: int, most: float, most_claimed: float) -> bool:
        """Whether the rows are on no other modality's side, and no farther off than `most` of the total variance.

        Parameters
        ----------
        X : (n, n_dims) rows
        n_rows : int
            Rows to look at.
        most, most_claimed : float
            The second where they are clearly of this modality.
        """
        fitted = self.fitted
        n, squares, distance, products = looks.against(X, n_rows, fitted.mean, self.directions)
        if not n or fitted.n_rows == 1:
            return not n
        winners = [line.winner_of(product, n) for line, product in zip(self.lines, products)]
        if any(winner not in (None, self.name) for winner in winners):
            return False
        own = fitted.total if n < MIN_ROWS_FOR_BATCH_MEAN else (1 - squares) * n / (n - 1)
        excess = distance - own / n - fitted.total / fitted.n_rows
        return excess <= (most_claimed if winners and None not in winners else most) * fitted.total


def _is_a_gap(gap: Float64Array, first: ModalityStatistics, second: ModalityStatistics) -> bool:
    """Whether the means differ by more than chance: of the same rows they would by the sampling error of both."""
    variances = [steadied_variance(found) for found in (first, second)]
    weights = 2 / (variances[0] + variances[1])
    error = sum(float(variance @ weights) / found.n_rows for variance, found in zip(variances, (first, second)))
    return float(gap**2 @ weights) > MOST_BY_CHANCE * error


def _by_columns(
    gap: Float64Array, first: ModalityStatistics, second: ModalityStatistics
) -> tuple[Float64Array, tuple[float, float]]:
    """Direction by the columns' variances, and what variance along it they lead to expect."""
    variances = [steadied_variance(found) for found in (first, second)]
    direction = gap / ((variances[0] + variances[1]) / 2)
    along = [float(direction**2 @ variance) * UNSEEN**2 for variance in variances]
    return direction, (along[0], along[1])


def _by_covariance(
    gap: Float64Array, first: CovarianceStatistics, second: CovarianceStatistics
) -> tuple[Float64Array, tuple[float, float]]:
    pooled = (first.shrunken + second.shrunken) / 2
    ridge = 1e-9 * max(np.trace(pooled) / len(pooled), 1e-12)
    direction = np.linalg.solve(pooled + ridge * np.eye(len(pooled)), gap)
    along = [float(direction @ found.shrunken @ direction) for found in (first, second)]
    return direction, (along[0], along[1])


def unbiased_variance(statistics: ModalityStatistics) -> Float64Array:
    """Variance (n_dims,) of the columns with divisor ``n_rows - 1``."""
    return statistics.variance * (statistics.n_rows / max(statistics.n_rows - 1, 1))


def steadied_variance(statistics: ModalityStatistics, variance: Float64Array | None = None) -> Float64Array:
    """Variances of columns drawn towards their mean, the more the fewer rows they come from; never zero."""
    found = unbiased_variance(statistics) if variance is None else variance
    n = statistics.n_rows
    return np.maximum((n * found + PRIOR_ROWS * found.mean()) / (n + PRIOR_ROWS), 1e-12)


def discriminants(state: State) -> list[Discriminant]:
    """One for every two modalities, worked out once for a state."""
    known: list[Discriminant] | None = vars(state).get("_discriminants")
    if known is None:
        known = vars(state)["_discriminants"] = [
            Discriminant.between(state, a, b) for a, b in combinations(state.usable, 2)
        ]
    return known


def quantile(freedom: float, deviations: float) -> float:
    """Chi-square over its degrees of freedom, so many standard deviations up (Wilson and Hilferty 1931)."""
    width = 2 / (9 * freedom)
    return (1 - width + deviations * math.sqrt(width)) ** 3
