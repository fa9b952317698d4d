"""Whether row i of one set belongs to row i of the other, or pairs are out of order, exchanged, or twice the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align._arguments import checked
from c3align._typing import Array
from c3align.errors import ALONE, EncoderMismatchWarning, PairOrderWarning
from c3align.geometry._overlap import ROUNDING, centered_pairs, n_rows, one_encoder, unit_at
from c3align.geometry._rows import as_pairs
from c3align.ops.arrays import is_on_device

BY_CHANCE, FEW_PAIRS = 3.0, 30  # 30 pairs of CLIP, CLAP, ConVIRT and glyphs lie 6 to 17 standard deviations above
# right pairs of COCO, ConVIRT, CLAP and glyphs have parts of 6 to 33, of CLIP and ConVIRT moved by one at most 2.4
MOST_PARTS, LEAST_PARTS, PART_PAIRS = 8, 3, 64
AT_CHANCE, CLEAR = 2.5, 8.0
LOOKED_AT, FEW_SAME, LEAST_SAME = 512, 0.05, 3
ONE_SIZE, POWER_STEPS = 6.0, 30
MOST_LEFT = 0.25  # squared sum of two means, in their squared distance: about 0 where one is minus the other
SAME = 2e-5  # squared distance of unit rows that float16, or bfloat16, rounded; the most alike pairs we know have 0.2


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
            f"these do not look like rows of one encoder: overlap {overlap:.1f}, one encoder gives 3 or more, and "
            "centering does not make up for that; check that X and y come from the same, trained encoder"
            + (", and that row i of y is the partner of row i of X" if paired else "")
        )
    found = (repeated(a, b) or exchanged(a, b)) if paired else None
    if paired and not found and a.shape[0] >= FEW_PAIRS and order_evidence(a, b) < BY_CHANCE:
        return PairOrderWarning(
            "these do not look like pairs: row i of X is no more like row i of y than like any other, so that gap and "
            f"noise come out far too large; put both into the same order, or, if they are no pairs, {ALONE}"
        )
    return found or (misplaced(a, b) if paired else None)


@checked
def order_doubt(a: Array, b: Array) -> PairOrderWarning | None:
    """Find what speaks against pairs though partners are alike: `repeated`, `exchanged`, `misplaced`.

    Parameters
    ----------
    a, b : (n, n_dims)
        Rows of any norm, row i of b the partner of row i of a.

    Returns
    -------
    PairOrderWarning or None
        The first of them that there is.

    Raises
    ------
    C3AlignError
        For rows of different shapes.
    """
    return repeated(a, b) or exchanged(a, b) or misplaced(a, b)


@checked
def repeated(a: Array, b: Array) -> PairOrderWarning | None:
    """Find pairs whose two sides are the same row, as where one file was named twice: they leave no noise to learn.

    Parameters
    ----------
    a, b : (n, n_dims)
        Rows of any norm, row i of b the partner of row i of a; 512 evenly spaced pairs are read.

    Returns
    -------
    PairOrderWarning or None
        A warning where more than 5 % of the pairs with a direction have a cosine of 1, but for rounding (1e-5).

    Raises
    ------
    C3AlignError
        For rows of different shapes.
    """
    first, second = _looked_at(a, b)
    n_pairs, n_same = len(first), int((((first - second) ** 2).sum(axis=1) < SAME).sum())
    if n_same <= n_pairs * FEW_SAME or n_same < min(n_pairs, LEAST_SAME):
        return None
    return PairOrderWarning(
        f"X and y hold the same row in {n_same} of {n_pairs} pairs looked at, which leaves no gap and no noise to "
        "learn; pass the rows of one modality as X and those of the other as y, or X alone"
    )


@checked
def exchanged(a: Array, b: Array) -> PairOrderWarning | None:
    """Find pairs whose two sides have changed places: their difference points the other way along the gap.

    Parameters
    ----------
    a, b : (n, n_dims)
        As in `repeated`.

    Returns
    -------
    PairOrderWarning or None
        A warning where the differences, along the direction in which they are largest, have one size (6 times what it
        varies by, in medians) and 1 % of them, or more, another sign than most; None below 30 pairs.

    Raises
    ------
    C3AlignError
        For rows of different shapes.
    """
    first, second = _looked_at(a, b)
    differences = first - second
    if len(differences) < FEW_PAIRS:
        return None
    direction = differences[int((differences**2).sum(axis=1).argmax())]
    for _ in range(POWER_STEPS):
        direction = differences.T @ (differences @ direction)
        direction = direction / max(float((direction**2).sum()) ** 0.5, ROUNDING)
    found: Any = differences @ direction
    along = np.asarray(found.cpu() if is_on_device(found) else found)
    size = np.median(np.abs(along))
    other = min(int((along > size / 2).sum()), int((along < -size / 2).sum()))
    if size <= ONE_SIZE * np.median(np.abs(np.abs(along) - size)) or other < max(LEAST_SAME, 0.01 * len(along)):
        return None
    if not _is_opposite(differences, found, size / 2):
        return None
    return PairOrderWarning(
        f"in {other} of {len(along)} pairs looked at X and y seem to have changed places, as their difference points "
        "the other way; pass all rows of one modality as X, and of the other as y"
    )


def _is_opposite(differences: Any, along: Any, size: float) -> bool:
    """Whether the differences on both sides have opposite means: of exchanged pairs, and not of two kinds of them."""
    sides = [along * 0 + (found > size) for found in (along, -along)]
    means = [(side @ differences) / side.sum() for side in sides]
    left, apart = (float((means[0] + sign * means[1]) @ (means[0] + sign * means[1])) for sign in (1, -1))
    spread = float((differences**2).sum()) / len(differences) - apart / 4
    return left - spread * sum(1 / float(side.sum()) for side in sides) <= MOST_LEFT * apart


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
    n_pairs = n_rows(a)
    n_parts = min(MOST_PARTS, n_pairs // PART_PAIRS)
    if n_parts < LEAST_PARTS:
        return None
    n_seen = n_parts * PART_PAIRS
    places = np.arange(n_seen) * n_pairs // n_seen
    evidence = _evidence_of_parts(unit_at(a, "a", places), unit_at(b, "b", places), n_parts)
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
    is_known = [2 * count > PART_PAIRS and deviation > ROUNDING for count in counts]
    return [own / deviation if known else float("inf") for own, known in zip(of_pairs, is_known)]


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
    first, second = centered_pairs(a, b)
    is_tall = len(first) > first.shape[1]
    products = (first.T @ first) * (second.T @ second) if is_tall else (first @ second.T) ** 2
    spread = float(products.sum()) / max(1, len(first) - 1)
    return float((first * second).sum()) / spread**0.5 if spread > ROUNDING else float("inf")


def _looked_at(a: Array, b: Array) -> tuple[Any, Any]:
    """Unit rows of evenly spaced pairs in which both have a direction."""
    if not is_on_device(a):
        as_pairs(a, b)
    places = slice(None, None, max(1, -(-n_rows(a) // LOOKED_AT)))
    first, second = unit_at(a, "a", places), unit_at(b, "b", places)
    whole = first.any(axis=1) & second.any(axis=1)
    return first[whole], second[whole]
