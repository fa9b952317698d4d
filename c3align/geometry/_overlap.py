"""Whether two sets of rows come from one encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align import ops
from c3align._arguments import checked
from c3align._typing import Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import as_pairs
from c3align.ops.arrays import as_rows, is_on_device
from c3align.ops.backends import load
from c3align.statistics import ModalityStatistics, PairStatistics

SAMPLE_ROWS, ENOUGH_ROWS = 2048, 200
# two encoders give an overlap of about 1, and centered partners a cosine of about 0; one gives 3, and .3, or more
ONE_ENCODER, PARTNERS = 1.4, 0.1
_FLOOR = 0.05  # of the mean variance of the columns, so that columns without variance count little
MIN_ROWS = 3
ROUNDING = 1e-12  # total variance of unit rows that are all alike


def encoder_overlap(a: Array, b: Array) -> float:
    """Measure how much the columns of two sets of rows vary together, relative to two unrelated encoders.

    ``tr(R_a R_b) / (tr R_a tr R_b / d)`` with R the correlations of the columns of unit rows. Two modalities, or two
    kinds of material, of one trained encoder use the same directions: 3.4 to 23 on CLIP, ConVIRT, CLAP and glyphs, from
    200 rows on. Rows of two encoders give 0.8 to 1.2, whatever their number, and so do the towers of an encoder that
    was never trained, which share no direction. The rows need not be paired.

    The sums of products over independent rows are unbiased for both traces (divisors n - 1), so few rows make the
    result less precise but not larger. Columns are standardized first: single columns of large variance, as CLIP has,
    or towers that vary in two or three directions, otherwise raise the overlap of unrelated encoders up to 1.5.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
        Rows of any norm; 2,048 evenly spaced ones of each are read.

    Returns
    -------
    float
        At least 0; about 1 for two encoders, 3 or more for one.

    Raises
    ------
    C3AlignError
        Different widths, fewer than 3 rows with a direction, or rows that are all alike.
    """
    first, second = _standardized(a, "a"), _standardized(b, "b")
    if first.shape[1] != second.shape[1]:
        raise C3AlignError(
            f"a has {first.shape[1]} columns and b {second.shape[1]}, so two encoders made them; pass rows of one"
        )
    # tr(A A' B B') by the smaller of its two forms
    is_tall = min(len(first), len(second)) > first.shape[1]
    products = (first.T @ first) * (second.T @ second) if is_tall else (first @ second.T) ** 2
    expected = float((first**2).sum()) * float((second**2).sum()) / first.shape[1]
    return float(products.sum()) / expected


@checked
def one_encoder(a: Array, b: Array, *, paired: bool) -> tuple[float | None, bool]:
    """Decide whether the rows may come from one encoder.

    Rows that fill their space evenly, as synthetic ones do, have a small overlap; similar partners then decide. Where
    columns are not correlated, as of rows turned by a PCA, even halves of one side do not overlap: that tells nothing.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
        Rows of any norm.
    paired : bool
        Whether row i of a is the partner of row i of b.

    Returns
    -------
    overlap : float or None
        See `encoder_overlap`; None with fewer than 200 rows, or where it is undefined or tells nothing.
    may_be_one : bool
        Always True where the overlap is None.
    """
    if min(n_rows(a), n_rows(b)) < ENOUGH_ROWS:
        return None, True
    try:
        overlap = encoder_overlap(a, b)
        if overlap < ONE_ENCODER and min(_own_overlap(a, "a"), _own_overlap(b, "b")) < ONE_ENCODER:
            return None, True
    except C3AlignError:
        return None, True
    return overlap, overlap >= ONE_ENCODER or (paired and centered_pair_cosine(a, b) >= PARTNERS)


def _own_overlap(X: Array, name: str) -> float:
    """The overlap of two halves of the same rows."""
    rows = _sample(X, name)
    return encoder_overlap(rows[::2], rows[1::2])


@checked
def are_partners(of_a: ModalityStatistics, of_b: ModalityStatistics, of_pairs: PairStatistics) -> bool:
    """Decide from all pairs whether centered partners are as similar as one encoder's; `one_encoder` takes a sample.

    Exact sums suffice: ``tr C_ab = (tr C_aa + tr C_bb - tr C_dd) / 2`` with d the differences.

    Parameters
    ----------
    of_a, of_b : ModalityStatistics
        Statistics of both sides.
    of_pairs : PairStatistics
        Statistics of their pairs.

    Returns
    -------
    bool
        Whether the centered partners' cosine, over all pairs together, is at least 0.1.
    """
    a, b = of_a.total_variance, of_b.total_variance
    shared = (a + b - of_pairs.total_variance) / 2
    return shared > 0 and shared >= PARTNERS * (a * b) ** 0.5


def centered_pair_cosine(a: Array, b: Array) -> float:
    """Cosine of centered partners: ``tr(C_ab) / sqrt(tr C_aa tr C_bb)`` over a sample of pairs."""
    first, second = centered_pairs(a, b)
    size = float((first**2).sum()) * float((second**2).sum())
    return float((first * second).sum()) / size**0.5 if size else 0.0


def centered_pairs(a: Array, b: Array) -> tuple[Any, Any]:
    """Unit rows less their mean of a sample of pairs in which both have a direction."""
    if not is_on_device(a):
        as_pairs(a, b)
    first, second = _sample(a, "a"), _sample(b, "b")
    whole = first.any(axis=1) & second.any(axis=1)
    first, second = first[whole], second[whole]
    return first - first.mean(axis=0), second - second.mean(axis=0)


def n_rows(X: Array) -> int:
    return int((X if is_on_device(X) else as_rows(X)).shape[0])


def _sample(X: Array, name: str) -> Any:
    """Unit rows, evenly spaced, float64, on the rows' device; zeros for those without a direction."""
    unit = unit_at(X, name, slice(None, None, max(1, -(-n_rows(X) // SAMPLE_ROWS))))
    return unit if is_on_device(X) else unit.astype(np.float64)


def unit_at(X: Array, name: str, places: Any) -> Any:
    """The same of the rows at some places, as precise as they are where they lie in this process's memory."""
    if is_on_device(X):
        eager = load("eager")
        return eager.widest(ops.normalize(eager.computed(X[places].detach()), zero_rows="keep"))
    return ops.normalize(as_rows(X, name).take(places).widened(), zero_rows="keep")


def _standardized(X: Array, name: str) -> Any:
    """Unit rows of an even sample, less their mean, over the deviation of each column."""
    unit = _sample(X, name)
    unit = unit[unit.any(axis=1)]
    if len(unit) < MIN_ROWS:
        raise C3AlignError(f"{name} has {len(unit)} rows with a direction; pass at least {MIN_ROWS}, better 200")
    centered = unit - unit.mean(axis=0)
    variance = (centered**2).mean(axis=0)
    if float(variance.sum()) < ROUNDING:
        raise C3AlignError(f"the rows of {name} are all alike; pass rows that vary")
    return centered / (variance + _FLOOR * variance.mean()) ** 0.5
