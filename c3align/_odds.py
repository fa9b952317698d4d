"""The log odds that a score is one of a pair's: lines between a few places, so that pairs may differ in quality.

With z-scores z of pairs and of unrelated rows, weighted as in an index of which a share `prior` is related, they are

``log(p / (1 - p)) = a + sum_k s_k length_k(z)``

where ``length_k(z)`` is how much of the way from the first place to z lies in piece k, and where a and the slopes
``s_k >= 0.01`` minimize the log loss of n_pairs pairs and their share of unrelated scores, plus

``mean(s)^2 / 2 + (1 + 10 / s^2 + 100 / n_pairs + 10000 / n_scores) sum_k (s_(k+1) - s_k)^2 / 2``

with s the slope of the one line, the logistic regression, to which this comes down with few pairs or few unrelated
scores. The problem is convex; it has one solution, the same each time.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from c3align._typing import Float64Array
from c3align._unrelated import SHARES, WEIGHTS, as_values, is_number, like, piecewise
from c3align.errors import C3AlignError
from c3align.ops.arrays import is_tensor

__all__ = ["chances", "curve"]

N_PLACES = 10
LEAST_WIDTH = 0.5  # between the first place and the last, in z
LEAST_SLOPE = 0.01  # so that a higher score always has higher odds
STRAIGHT, BY_SLOPE, BY_PAIRS, BY_SCORES = 1.0, 10.0, 100.0, 10_000.0


def chances(
    scores: Any, related: Float64Array, unrelated: Float64Array, *, n_pairs: int, n_scores: int, prior: float
) -> Any:
    """Probabilities that z-scores of any shape and library are of pairs, of which there is a share `prior`.

    `related` and `unrelated` are z-scores at the levels `SHARES`, of `n_pairs` pairs and `n_scores` others.
    """
    from scipy.special import expit

    values = as_values(scores)
    if bool((values != values).any()):
        raise C3AlignError("scores hold NaN; pass what score() gives")
    if not (is_number(prior) and 0 < prior < 1):
        raise C3AlignError(
            f"prior must be in (0, 1), got {prior!r}; pass the share of related documents, such as 1 / n"
        )
    odds = piecewise(values, *curve(related.tobytes(), unrelated.tobytes(), n_pairs, n_scores, float(prior)))
    return like(odds.sigmoid() if is_tensor(odds) else expit(odds), scores)


@lru_cache(maxsize=64)  # an index asks at every query
def curve(related: bytes, unrelated: bytes, n_pairs: int, n_scores: int, prior: float) -> tuple[Any, Any, Any]:
    """Places in z, the log odds there, and the slopes before the first and after the last."""
    from scipy.optimize import minimize
    from scipy.special import expit

    pairs, others = np.frombuffer(related), np.frombuffer(unrelated)
    z = np.concatenate([pairs, others])
    is_pair = np.arange(len(z)) < len(pairs)
    weights = n_pairs * np.concatenate([WEIGHTS, WEIGHTS * ((1 - prior) / prior)])
    slope, offset = _line(z, is_pair, weights)
    first = float(np.interp(0.5, SHARES, others))
    places = np.linspace(first, max(float(np.interp(0.95, SHARES, pairs)), first + LEAST_WIDTH), N_PLACES)
    lengths = _lengths(z, places)
    steps = np.diff(np.eye(N_PLACES + 1), axis=0)
    bend = STRAIGHT + BY_SLOPE / slope**2 + BY_PAIRS / n_pairs + BY_SCORES / n_scores
    penalty = bend * steps.T @ steps + 1 / (N_PLACES + 1) ** 2

    def loss(parameters: Float64Array) -> tuple[float, Float64Array]:
        odds, slopes = parameters[0] + lengths @ parameters[1:], parameters[1:]
        off, pulled = weights * (expit(odds) - is_pair), penalty @ slopes
        value = weights @ np.logaddexp(0, np.where(is_pair, -odds, odds)) + slopes @ pulled / 2
        return float(value), np.concatenate([[off.sum()], lengths.T @ off + pulled])

    start = np.concatenate([[offset + slope * first], np.full(N_PLACES + 1, slope)])
    bounds = [(None, None), *[(LEAST_SLOPE, None)] * (N_PLACES + 1)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000}).x
    return places, found[0] + _lengths(places, places) @ found[1:], (found[1], found[-1])


def _line(z: Float64Array, is_pair: Any, weights: Float64Array) -> tuple[float, float]:
    """Slope, above zero, and offset of the logistic regression."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(z[:, None], is_pair, sample_weight=weights)
    return max(float(model.coef_[0, 0]), 0.1), float(model.intercept_[0])


def _lengths(z: Float64Array, places: Float64Array) -> Float64Array:
    """How much of the way from the first place to each z is in each piece, (n, n_places + 1); below zero before it."""
    edges = np.concatenate([[-np.inf], places, [np.inf]])
    return np.stack([np.clip(z, a, b) - np.clip(places[0], a, b) for a, b in pairwise(edges)], axis=1)
