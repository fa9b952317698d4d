"""Pairs that are learned after others: as much alike as those, or, all together, more than by chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align._arguments import checked
from c3align._typing import Array
from c3align.errors import PairOrderWarning
from c3align.geometry._order import BY_CHANCE, FEW_PAIRS
from c3align.geometry._overlap import PARTNERS, ROUNDING, are_partners, centered_pairs
from c3align.ops.arrays import is_on_device
from c3align.statistics import ModalityStatistics, PairStatistics

__all__ = ["Sides", "later_doubt", "total_doubt"]

Sides = tuple[ModalityStatistics, ModalityStatistics, PairStatistics]  # of both sides of pairs, and of the pairs
LEAST_PAIRS = 8  # of a batch that is judged
FALLEN, SURE = 1 / 3, 5.0  # of the similarity of the pairs before; in standard errors
LEAST_TOTAL, LEAST_DIRECTIONS = 1024, 5.0  # judged by sums alone; directions that rows of any encoder vary in


@checked
def later_doubt(a: Array, b: Array, before: Sides, now: Sides) -> PairOrderWarning | None:
    """Find what speaks against pairs that are learned after others, as a batch in another order or of another encoder.

    Their similarity, ``(a - mean_a) . (b - mean_b)`` by the means of before, is compared with that of the pairs before;
    and whenever the number of all pairs passes a power of two, their sum over its standard deviation in a random order,
    which this batch shows (`order_evidence`).

    Parameters
    ----------
    a, b : (n, n_dims)
        The later pairs, of any norm.
    before, now : (ModalityStatistics, ModalityStatistics, PairStatistics)
        What was learned before, and of these pairs alone: of the sides of a and b, and of the pairs.

    Returns
    -------
    PairOrderWarning or None
        A warning where pairs are a third as alike as those before, or less, by 5 standard errors, and those had a
        centered cosine of 0.1 or more; or where all pairs together are no more alike than by chance. None below 8
        pairs, and 30 with those before.

    Raises
    ------
    C3AlignError
        For rows of different shapes.
    """
    if now[2].n_rows < LEAST_PAIRS or before[2].n_rows + now[2].n_rows < FEW_PAIRS:
        return None
    return _less_alike(a, b, before, now) or _by_chance(a, b, before, now)


@checked
def total_doubt(
    of_a: ModalityStatistics, of_b: ModalityStatistics, of_pairs: PairStatistics
) -> PairOrderWarning | None:
    """Find by exact sums alone that many pairs are no more alike than rows in a random order.

    Parameters
    ----------
    of_a, of_b : ModalityStatistics
        Statistics of both sides.
    of_pairs : PairStatistics
        Statistics of their pairs.

    Returns
    -------
    PairOrderWarning or None
        A warning where their sum is below 3 standard deviations, if rows vary in 5 directions, which rows of every
        encoder do; None below 1,024 pairs.
    """
    if of_pairs.n_rows < LEAST_TOTAL:
        return None
    shared, size = _likeness((of_a, of_b, of_pairs))
    return _no_more_alike(of_pairs.n_rows, shared, size**2 / LEAST_DIRECTIONS)


def _likeness(sides: Sides) -> tuple[float, float]:
    """``tr C_ab`` and ``sqrt(tr C_aa tr C_bb)``, as in `are_partners`."""
    a, b, of_pairs = (found.total_variance for found in sides)
    return (a + b - of_pairs) / 2, (a * b) ** 0.5


def _less_alike(a: Array, b: Array, before: Sides, now: Sides) -> PairOrderWarning | None:
    if before[2].n_rows < FEW_PAIRS:
        return None
    (shared, size), means = _likeness(before), [found.mean for found in before[:2]]
    here, there = (found.mean for found in now[:2])
    found = now[2].mean_cosine - float(means[0] @ there + here @ means[1] - means[0] @ means[1])
    if shared < PARTNERS * size or size < ROUNDING or found > FALLEN * shared:
        return None
    first, second = (_in_memory(rows) for rows in centered_pairs(a, b))
    of_each = ((first + here - means[0]) * (second + there - means[1])).sum(axis=1)
    if shared - of_each.mean() < SURE * of_each.std(ddof=1) / len(of_each) ** 0.5:
        return None
    return PairOrderWarning(
        f"these {now[2].n_rows:,} pairs are far less alike than the {before[2].n_rows:,} before them, with a centered "
        f"cosine of {found / size:.2f}, not {shared / size:.2f}, as where row i of y is not the partner of row i of X, "
        "or comes from another encoder; check both, and ignore this if these partners are only loosely related"
    )


def _by_chance(a: Array, b: Array, before: Sides, now: Sides) -> PairOrderWarning | None:
    known, n_pairs = before[2].n_rows, before[2].n_rows + now[2].n_rows
    if known.bit_length() == n_pairs.bit_length() and known >= FEW_PAIRS:
        return None
    total: Any = tuple(one.merge(other) for one, other in zip(before, now))
    if are_partners(*total):
        return None
    first, second = (_in_memory(rows) for rows in centered_pairs(a, b))
    spread = float(((first @ second.T) ** 2).sum()) / (len(first) * (len(first) - 1))
    return _no_more_alike(n_pairs, _likeness(total)[0], spread)


def _no_more_alike(n_pairs: int, shared: float, spread: float) -> PairOrderWarning | None:
    """`spread` is the mean square of the similarity of rows that are no partners."""
    if spread < ROUNDING or shared >= BY_CHANCE * (spread / n_pairs) ** 0.5:
        return None
    return PairOrderWarning(
        f"all {n_pairs:,} pairs learned so far are no more alike than rows in any order, so that the noise comes out "
        "far too large; check that row i of y is the partner of row i of X in each batch, and learn them anew"
    )


def _in_memory(rows: Any) -> Any:
    return rows.cpu().numpy() if is_on_device(rows) else np.asarray(rows)
