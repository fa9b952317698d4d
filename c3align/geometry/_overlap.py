"""Whether two sets of rows come from one encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align import ops
from c3align._arguments import checked
from c3align._typing import Array
from c3align.errors import ALONE, C3AlignError, EncoderMismatchWarning, PairOrderWarning
from c3align.geometry._rows import as_pairs
from c3align.ops.arrays import as_rows, is_on_device
from c3align.ops.backends import load
from c3align.statistics import ModalityStatistics, PairStatistics

SAMPLE_ROWS, ENOUGH_ROWS = 2048, 200
# two encoders give an overlap of about 1, and centered partners a cosine of about 0; one gives 3, and .3, or more
ONE_ENCODER, PARTNERS = 1.4, 0.1
BY_CHANCE, FEW_PAIRS = 3.0, 30  # 30 pairs of CLIP, CLAP, ConVIRT and glyphs lie 6 to 17 standard deviations above
# right pairs of COCO, ConVIRT, CLAP and glyphs have parts of 6 to 33, of CLIP and ConVIRT moved by one at most 2.4
MOST_PARTS, LEAST_PARTS, PART_PAIRS = 8, 3, 64
AT_CHANCE, CLEAR = 2.5, 8.0
SAME = 2e-5  # squared distance of unit rows that float16, or bfloat16, rounded; the most alike pairs we know have 0.2
_FLOOR = 0.05  # of the mean variance of the columns, so that columns without variance count little
MIN_ROWS = 3
_ROUNDING = 1e-12  # total variance of unit rows that are all alike


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

    Rows that fill their space evenly, as synthetic ones do, have a small overlap; similar partners then decide.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
        Rows of any norm.
    paired : bool
        Whether row i of a is the partner of row i of b.

    Returns
    -------
    overlap : float or None
        See `encoder_overlap`; None with fewer than 200 rows, or where it is undefined.
    may_be_one : bool
        Always True where the overlap is None.
    """
    if min(_n_rows(a), _n_rows(b)) < ENOUGH_ROWS:
        return None, True
    try:
        overlap = encoder_overlap(a, b)
    except C3AlignError:
        return None, True
    return overlap, overlap >= ONE_ENCODER or (paired and centered_pair_cosine(a, b) >= PARTNERS)


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


@checked
def doubt(a: Array, b: Array, *, paired: bool) -> UserWarning | None:
    """Find what speaks against the rows: two encoders, or pairs in which row i does not belong to row i.

    Parameters
    ----------
    a, b, paired : optional
        As in `one_encoder`.

    Returns
    -------
    UserWarning or None
        An `EncoderMismatchWarning` or a `PairOrderWarning`; None where nothing does, or with fewer than 200 rows
        for the one and 30 for the other.
    """
    overlap, is_one = one_encoder(a, b, paired=paired)
    if not is_one:
        return EncoderMismatchWarning(
            f"these do not look like rows of one encoder: overlap {overlap:.1f}, one encoder gives 3 or more, and no "
            "mapping makes up for that; check that X and y come from the same, trained encoder"
            + (", and that row i of y is the partner of row i of X" if paired else "")
        )
    if paired and a.shape[0] >= FEW_PAIRS and order_evidence(a, b) < BY_CHANCE:
        return PairOrderWarning(
            "these do not look like pairs: row i of X is no more like row i of y than like any other, so that gap and "
            f"noise come out far too large; put both into the same order, or, if they are no pairs, {ALONE}"
        )
    return (repeated(a, b) or misplaced(a, b)) if paired else None


@checked
def repeated(a: Array, b: Array) -> PairOrderWarning | None:
    """Find pairs whose two sides are the same rows, as where one file was named twice: they leave no noise to learn.

    Parameters
    ----------
    a, b : (n, n_dims)
        Rows of any norm, row i of b the partner of row i of a; 64 evenly spaced pairs are read.

    Returns
    -------
    PairOrderWarning or None
        A warning where more than half of the pairs with a direction have a cosine of 1, but for rounding (1e-5).

    Raises
    ------
    C3AlignError
        For rows of different shapes.
    """
    if not is_on_device(a):
        as_pairs(a, b)
    places = slice(None, None, max(1, -(-_n_rows(a) // PART_PAIRS)))
    first, second = _unit(a, "a", places), _unit(b, "b", places)
    whole = first.any(axis=1) & second.any(axis=1)
    is_same = ((first - second) ** 2).sum(axis=1)[whole] < SAME
    if 2 * int(is_same.sum()) <= int(whole.sum()):
        return None
    return PairOrderWarning(
        "X and y hold the same rows, which leaves no gap and no noise to learn; pass the rows of one modality as X and "
        "those of the other as y, or X alone"
    )


@checked
def misplaced(a: Array, b: Array) -> PairOrderWarning | None:
    """Find pairs one behind another that are no more alike than by chance, while the others are.

    That is what a row that only one side lacks leaves behind it. Up to 8 parts of 64 pairs, evenly spaced, are compared
    with each other: a part's evidence is the sum of its pairs' similarity over the root mean square of what its rows
    and those of another part come to, place by place. Neighbors that are alike count on both sides.

    Parameters
    ----------
    a, b : (n, n_dims)
        Rows of any norm, row i of b the partner of row i of a.

    Returns
    -------
    PairOrderWarning or None
        None with fewer than 192 pairs too, where no part has clear evidence (8), and where neighbors are so alike that
        pairs that have moved by one are hardly worse.

    Raises
    ------
    C3AlignError
        For rows of different shapes.
    """
    if not is_on_device(a):
        as_pairs(a, b)
    n_pairs = _n_rows(a)
    n_parts = min(MOST_PARTS, n_pairs // PART_PAIRS)
    if n_parts < LEAST_PARTS:
        return None
    n_seen = n_parts * PART_PAIRS
    places = np.arange(n_seen) * n_pairs // n_seen
    evidence = _evidence_of_parts(_unit(a, "a", places), _unit(b, "b", places), n_parts)
    is_chance = [own < AT_CHANCE for own in evidence]
    if not any(is_chance) or max(evidence) < CLEAR:
        return None
    begins = [*places[::PART_PAIRS].tolist(), n_pairs]
    begin, end = begins[is_chance.index(True)], begins[n_parts - is_chance[::-1].index(True)]
    return PairOrderWarning(
        f"from row {begin:,} to row {end - 1:,} row i of X is no more like row i of y than like any other, as where "
        "one side lacks a row, and gap and noise come out too large; put both into the same order"
    )


def _evidence_of_parts(first: Any, second: Any, n_parts: int) -> list[float]:
    """Compare parts of unit rows: one number each, infinity where many rows have no direction."""
    whole = first.any(axis=1) & second.any(axis=1)
    n_whole = int(whole.sum())
    if not n_whole:
        return [float("inf")] * n_parts
    sides = [((rows - rows[whole].mean(axis=0)) * whole[:, None]).reshape(n_parts, -1) for rows in (first, second)]
    sums = sides[0] @ sides[1].T
    of_pairs = [float(sums[i, i]) for i in range(n_parts)]
    squares = float((sums**2).sum()) - sum(own**2 for own in of_pairs)
    deviation = (max(0.0, squares) / (n_parts * (n_parts - 1))) ** 0.5
    counts = [int(part.sum()) for part in whole.reshape(n_parts, -1)]
    is_known = [2 * count > PART_PAIRS and deviation > _ROUNDING for count in counts]
    return [own / deviation if known else float("inf") for own, known in zip(of_pairs, is_known)]


def centered_pair_cosine(a: Array, b: Array) -> float:
    """Cosine of centered partners: ``tr(C_ab) / sqrt(tr C_aa tr C_bb)`` over a sample of pairs."""
    first, second = _centered_pairs(a, b)
    size = float((first**2).sum()) * float((second**2).sum())
    return float((first * second).sum()) / size**0.5 if size else 0.0


def order_evidence(a: Array, b: Array) -> float:
    """Measure how far the similarity of partners lies above that of rows in a random order.

    ``sum_i a_i . b_i`` of centered unit rows, over its standard deviation when the rows of b are put in random order,
    ``sqrt(sum_ij (a_i . b_j)^2 / (n - 1))``, which is exact. Pairs of CLIP, CLAP, ConVIRT and glyphs
    give 6 to 17 with 30 rows and 15 to 56 with 200, those in a random order a standard normal number.

    Parameters
    ----------
    a, b : (n, n_dims)
        Rows of any norm, row i of b the partner of row i of a; 2,048 evenly spaced pairs are read.

    Returns
    -------
    float
        In standard deviations; infinity where rows that are all alike cannot tell.
    """
    first, second = _centered_pairs(a, b)
    is_tall = len(first) > first.shape[1]
    products = (first.T @ first) * (second.T @ second) if is_tall else (first @ second.T) ** 2
    spread = float(products.sum()) / max(1, len(first) - 1)
    return float((first * second).sum()) / spread**0.5 if spread > _ROUNDING else float("inf")


def _centered_pairs(a: Array, b: Array) -> tuple[Any, Any]:
    """Unit rows less their mean of a sample of pairs in which both have a direction."""
    if not is_on_device(a):
        as_pairs(a, b)
    first, second = _sample(a, "a"), _sample(b, "b")
    whole = first.any(axis=1) & second.any(axis=1)
    first, second = first[whole], second[whole]
    return first - first.mean(axis=0), second - second.mean(axis=0)


def _n_rows(X: Array) -> int:
    return int((X if is_on_device(X) else as_rows(X)).shape[0])


def _sample(X: Array, name: str) -> Any:
    """Unit rows, evenly spaced, float64, on the rows' device; zeros for those without a direction."""
    unit = _unit(X, name, slice(None, None, max(1, -(-_n_rows(X) // SAMPLE_ROWS))))
    return unit if is_on_device(X) else unit.astype(np.float64)


def _unit(X: Array, name: str, places: Any) -> Any:
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
    if float(variance.sum()) < _ROUNDING:
        raise C3AlignError(f"the rows of {name} are all alike; pass rows that vary")
    return centered / (variance + _FLOOR * variance.mean()) ** 0.5
