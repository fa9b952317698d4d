"""The line between two modalities: whose a batch is, decided along the one direction in which they differ most.

``w = S**-1 (mean_a - mean_b)`` is Fisher's linear discriminant. S is the average of both shrunken covariances where
second moments were learned, and else diagonal: the columns' variances alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from c3align._state import State
from c3align._typing import Float64Array
from c3align.covariance import CovarianceStatistics
from c3align.statistics import ModalityStatistics

__all__ = ["Discriminant", "discriminants", "steadied_variance", "unbiased_variance"]

PRIOR_ROWS = 8  # weight of the columns' mean variance in the variance of each
# Of the way from mean to mean. A batch needs 4 standard deviations of the other modality; correlations between columns,
# which their variances do not show, made these up to 2.6 times as large on CLAP (and 0.8 times on glyphs).
LEAST_MARGIN, MOST_MARGIN, DEVIATIONS, UNSEEN = 0.15, 0.3, 4.0, 2.5


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
        """Of two fitted modalities."""
        first, second = state.statistics[a], state.statistics[b]
        gap = first.mean - second.mean
        if a in state.second_moments and b in state.second_moments:
            direction, variances = _by_covariance(gap, state.second_moments[a], state.second_moments[b])
        else:
            direction, variances = _by_columns(gap, first, second)
        length = float(direction @ gap)
        if not length > 0:
            return cls(a, b, np.zeros_like(gap), 0.0, (math.inf, math.inf), (first.n_rows, second.n_rows))
        direction = direction / length
        spreads = (math.sqrt(variances[0]) / length, math.sqrt(variances[1]) / length)
        middle = float(direction @ (first.mean + second.mean)) / 2
        return cls(a, b, direction, middle, spreads, (first.n_rows, second.n_rows))

    def winner(self, mean: Float64Array, n_rows: int) -> str | None:
        """The modality that rows of this mean belong to, for they cannot be explained as the other; or None."""
        position = float(self.direction @ mean) - self.middle
        if position > self._margin(1, n_rows):
            return self.a
        return self.b if position < -self._margin(0, n_rows) else None

    def _margin(self, other: int, n_rows: int) -> float:
        deviation = self.spreads[other] * math.sqrt(1 / n_rows + 1 / self.n_rows[other])
        return min(max(DEVIATIONS * deviation - 0.5, LEAST_MARGIN), MOST_MARGIN)


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


def discriminants(state: State) -> Mapping[tuple[str, str], Discriminant]:
    """One for every two modalities, worked out once for a state."""
    known: dict[tuple[str, str], Discriminant] | None = vars(state).get("_discriminants")
    if known is None:
        known = {(a, b): Discriminant.between(state, a, b) for a, b in combinations(state.usable, 2)}
        vars(state)["_discriminants"] = known
    return known
