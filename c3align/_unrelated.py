"""What rows score that have nothing to do with one another: moments, quantiles, and shares above a limit.

And how rows and scores come in and go out, as arrays of any library.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import ops
from c3align._arguments import as_floats, check_by_modality, shown
from c3align._raw import RawPlace, warn_of_raw
from c3align._typing import Float64Array, Int64Array
from c3align.errors import KEEP, C3AlignError, PairOrderWarning, without_advice
from c3align.geometry import BY_CHANCE, FEW_PAIRS, misplaced, order_evidence, repeated
from c3align.ops.arrays import as_rows, from_dlpack, is_foreign, is_on_device, is_tensor, to_like
from c3align.ops.backends import load
from c3align.sample import RowSample, samples_of

__all__ = [
    "KNOTS",
    "LEAST_DEVIATION",
    "SHARES",
    "WEIGHTS",
    "Sampled",
    "as_values",
    "common_place",
    "few_message",
    "is_number",
    "is_unequal",
    "like",
    "piecewise",
    "rate_message",
    "sampled",
    "scores_of_pairs",
    "share_above",
    "unequal_message",
    "uneven_message",
    "unit_rows",
    "unrelated",
    "weights_of",
]

MIN_PAIRS = 10
# 1 % let through: 1.2 to 1.9 times that with 50 rows, 1.1 to 1.4 with 100; up to 2.9 and 2.0 times in 19 of 20 cases
FEW_ROWS = 200
MOST_UNEVEN = 0.25  # standard deviations
MANY_RELATED = 0.01  # of all scores; beyond, their mean is not that of the unrelated ones
KNOTS = np.linspace(-4.25, 4.25, 137)  # normal quantiles at which the distribution of unrelated scores is kept
SHARES = np.array([NormalDist().cdf(knot) for knot in KNOTS])
WEIGHTS = np.diff([0, *[NormalDist().cdf(middle) for middle in (KNOTS[1:] + KNOTS[:-1]) / 2], 1])
LEAST_DEVIATION = 1e-6  # below it scores are one number and float32's rounding
MOST_UNEQUAL = 2.5  # shares above one threshold of 1 %: 1.1 to 1.7 times each other on CLIPs, 10 on ConVIRT


@dataclass(frozen=True, eq=False)
class Sampled:
    """Rows of a modality whose scores are compared, and the fold of each, which is scored within itself alone."""

    sample: RowSample
    folds: Int64Array

    @property
    def rows(self) -> npt.NDArray[np.float32]:
        """The unit rows (n, n_dims)."""
        return self.sample.rows


def sampled(
    rows: Mapping[str, Any], groups: Mapping[str, Any], folds: Mapping[str, Any] | None, size: int
) -> dict[str, Sampled]:
    """Samples of the modalities' rows, as `samples_of`; one fold of all rows by default."""
    found = samples_of(rows, groups, size)
    if folds is None:
        return {name: Sampled(sample, np.zeros(len(sample.keys), np.int64)) for name, sample in found.items()}
    parts = samples_of(rows, folds, size)
    return {name: Sampled(sample, parts[name].groups) for name, sample in found.items()}


def _matrix(a: Sampled, b: Sampled) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scores (n_a, n_b) of all rows of two samples, and which of them are of unrelated rows of one fold."""
    others = (a.sample.groups[:, None] != b.sample.groups) & (a.sample.keys[:, None] != b.sample.keys)
    return a.rows @ b.rows.T, others & (a.folds[:, None] == b.folds)


def unrelated(a: Sampled, b: Sampled, names: str) -> tuple[float, float, int, Float64Array]:
    """Mean, standard deviation, number and quantiles of the scores of unrelated rows.

    Where but few rows are related, the mean is that of all scores, ``m_a . m_b``: rows that are centered by their own
    mean score less with each other than new ones will.
    """
    scores, mask = _matrix(a, b)
    chosen = scores[mask]
    n_scores = len(chosen) // 2 if a is b else len(chosen)
    deviation = float(chosen.std(dtype=np.float64)) if n_scores else 0.0
    if deviation < LEAST_DEVIATION:
        raise C3AlignError(
            f"scores of unrelated rows of {names} do not vary ({n_scores} seen, of {len(a.rows)} and {len(b.rows)} "
            "different rows); pass more and different rows"
        )
    mean = float(a.rows.mean(axis=0, dtype=np.float64) @ b.rows.mean(axis=0, dtype=np.float64))
    if _share_of_related(a, b) > MANY_RELATED:
        mean = float(chosen.mean(dtype=np.float64))
    return mean, deviation, n_scores, np.quantile(chosen, SHARES).astype(np.float64)


def _share_of_related(a: Sampled, b: Sampled) -> float:
    """Share of scores between different rows about one thing, such as a class prompt and a picture of the class."""
    is_other = a.sample.keys[:, None] != b.sample.keys
    return float(((a.sample.groups[:, None] == b.sample.groups) & is_other).mean())


def share_above(a: Sampled, b: Sampled, limit: float) -> tuple[float, float]:
    """Share of the scores of unrelated rows above a limit, and the variance of its sampling error.

    Rows are what was drawn at random, so that the shares of each row tell the error, and not the number of scores.
    """
    scores, mask = _matrix(a, b)
    above = (scores > limit) & mask
    parts = [np.var(above.sum(axis=k) / np.maximum(mask.sum(axis=k), 1)) / mask.shape[1 - k] for k in (0, 1)]
    return float(above.sum() / mask.sum()), float(sum(parts)) * (2 if a is b else 1)


def is_unequal(shares: Sequence[tuple[float, float]]) -> bool:
    """Whether the largest share is far above the smallest, and by more than four standard errors."""
    if len(shares) < 2:
        return False
    (least, error), (most, other) = min(shares), max(shares)
    return most > MOST_UNEQUAL * least and most - least > 4 * math.sqrt(error + other)


def unequal_message(query: str, documents: Sequence[str], shares: Float64Array) -> str:
    """What to warn of where these shares of each modality's unrelated documents come above one threshold."""
    through = " and ".join(f"{share:.2%} of {name!r} rows" for share, name in zip(shares, documents))
    return (
        f"one standard deviation a pair does not make scores alike: for {query!r} queries one threshold lets "
        f"through {through} that are unrelated; score() and threshold() use quantiles of the scores seen instead, "
        "and row_scale() cannot; pass groups= if many of the rows are related, else search each modality apart and "
        "use merge_by_rank() where a plain index must do"
    )


def uneven_message(places: Float64Array) -> str | None:
    """What to warn of where the means of unrelated scores, in deviations, differ from document to document."""
    if np.ptp(places) <= MOST_UNEVEN:
        return None
    return (
        f"the means of unrelated scores differ by {np.ptp(places):.1f} standard deviations between modalities of "
        "documents, and factors do not move them; align with a mapping that centers, such as 'center' or 'barycenter', "
        "or score by z_scores()"
    )


def is_number(value: Any) -> bool:
    """Whether it is one that can be compared: no text, no truth value, no array."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def weights_of(rows: Mapping[str, Any], weights: Mapping[str, float] | None) -> dict[str, float]:
    """A weight for each of the modalities: 1, or as given."""
    if weights is not None:
        check_by_modality("weights", weights)
    found = dict.fromkeys(rows, 1.0) if weights is None else dict(weights)
    whole = set(found) == set(rows) and all(map(is_number, found.values()))
    if not (whole and 0 < sum(found.values()) < math.inf and min(found.values()) >= 0):
        raise C3AlignError(
            f"weights must be one number from 0 for each of {[*rows]}, not all 0, got {found}; omit them"
        )
    return found


def few_message(n_scores: Int64Array) -> str | None:
    """What to warn of where so few rows were seen that their own mean makes unrelated scores look too small."""
    n_rows = round(math.sqrt(2 * int(n_scores.diagonal().min())))
    if n_rows >= FEW_ROWS:
        return None
    return (
        f"a modality was calibrated by about {n_rows} rows: by less than {FEW_ROWS} a threshold may let through twice "
        "the share that it is asked for, and by 50 three times; calibrate with more rows"
    )


def rate_message(least: float, given: Any) -> str:
    """What is wrong with a false-positive rate, of which `least` is the lowest that the scores tell."""
    if least >= 1:
        return "too few unrelated scores were seen to tell any false-positive rate; calibrate with more rows"
    digits = 1 - math.floor(math.log10(least))
    least = math.ceil(round(least * 10**digits, 9)) / 10**digits  # up, so that what is shown is taken
    return (
        f"false_positive_rate must be in [{least:.2g}, 1) by the unrelated scores that were seen, got {shown(given)}; "
        "pass one in that range, or calibrate with more rows"
    )


def scores_of_pairs(X: Any, Y: Any, others: float, names: tuple[str, str], raw: Mapping[str, RawPlace]) -> Float64Array:
    """Scores (n_pairs,) of the rows of X with those of Y, which are above the mean of unrelated ones."""
    found = unit_rows(X, "X"), unit_rows(Y, "Y")
    for unit, name in zip(found, names):
        warn_of_raw(unit, name, raw, stacklevel=4)
    x, y = (unit.cpu().numpy() if is_tensor(unit) else unit for unit in found)
    if x.shape != y.shape or len(x) < MIN_PAIRS:
        raise C3AlignError(
            f"X has shape {x.shape} and Y {y.shape}; pass {MIN_PAIRS} pairs or more, row i of both a pair"
        )
    scores = np.einsum("ij,ij->i", x, y).astype(np.float64)
    if not scores.mean() > others:
        raise C3AlignError(
            "these pairs score no higher than unrelated rows; pass row i of Y as the partner of row i of X"
        )
    if doubtful := _order_doubt(x, y):
        warnings.warn(doubtful, stacklevel=3)
    return scores


def _order_doubt(x: Any, y: Any) -> PairOrderWarning | None:
    """What speaks against the order of aligned pairs; that sides changed places is not to be seen without a gap."""
    if len(x) >= FEW_PAIRS and order_evidence(x, y) < BY_CHANCE:
        return PairOrderWarning(
            "these do not look like pairs: row i of X is no more like row i of Y than like any other, so that "
            "probabilities come out far too small; put both into the same order"
        )
    return repeated(x, y) or misplaced(x, y)


def common_place(z_knots: Sequence[Float64Array], share: float) -> float:
    """The z-score below which this share of unrelated documents comes, on average over their modalities."""
    if len(z_knots) == 1:
        return float(np.interp(share, SHARES, z_knots[0]))
    places = np.sort(np.concatenate(z_knots))
    below = np.mean([np.interp(places, own, SHARES) for own in z_knots], axis=0)
    return float(np.interp(share, below, places))


def piecewise(values: Any, points: Float64Array, z: Float64Array, outer: float | tuple[float, float]) -> Any:
    """Lines through the points (points, z), and on beyond them with `outer` slopes; `values` of any shape."""
    search: Any = np.searchsorted
    table: Any = np.array([points, z])
    before, after = np.broadcast_to(outer, 2)
    slopes: Any = np.concatenate([[before], np.diff(z) / np.diff(points), [after]])
    if is_tensor(values):
        import torch

        search = torch.searchsorted
        table, slopes = (torch.from_numpy(array).to(values.device, values.dtype) for array in (table, slopes))
    else:
        table, slopes = table.astype(values.dtype), slopes.astype(values.dtype)
    piece = search(table[0], values)
    start = piece - 1 * (piece > 0)
    return table[1][start] + (values - table[0][start]) * slopes[piece]


def unit_rows(X: Any, name: str) -> Any:
    """Unit rows in float32: a tensor on a device, else a NumPy array."""
    X = from_dlpack(X, name) if is_foreign(X) else X
    with without_advice(KEEP):
        if is_on_device(X):
            return ops.normalize(load("eager").computed(X.detach())).float()
        rows: Any = as_rows(X, name).in_compute_dtype()
        return ops.normalize(rows).astype(np.float32, copy=False)


def as_values(scores: Any) -> Any:
    """Scores of any shape as a tensor, where they are one or in some other library, else as a NumPy array."""
    found: Any = from_dlpack(scores, "scores") if is_foreign(scores) else scores
    if "float" in str(getattr(found, "dtype", "")):
        return found
    return found.double() if is_tensor(found) else as_floats("scores", found)


def like(result: Any, X: Any) -> Any:
    """A result, in NumPy or a tensor, as an array of X's library."""
    if is_tensor(X) and not is_tensor(result):
        import torch

        return torch.from_numpy(result)
    return to_like(result, X) if is_foreign(X) else result
