"""Exact sums of rows in memory, and of pairs of them: block by block, so that 64 bits hold the sums of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from c3align._typing import Float64Array, Int64Array, ZeroRows
from c3align.errors import C3AlignError
from c3align.ops import _checks, fixed
from c3align.ops.arrays import Rows
from c3align.ops.backends import pick
from c3align.ops.fixed import PAIRS_PER_BLOCK, ROWS_PER_BLOCK
from c3align.ops.reference import OK

__all__ = ["Differences", "Moments", "PairMoments", "of_pairs", "of_rows"]


class Moments(NamedTuple):
    """Exact sums over the rows that have a direction.

    Parameters
    ----------
    n_rows, n_zero_rows : int
        Rows summed, and rows without a direction that were left out (``zero_rows="keep"``).
    sums, squares : (2, n_dims) int64
        The 128-bit sums of ``rint(u * 2**40)`` and of ``rint(u**2 * 2**40)`` over the unit rows u.
    norms : (256,) int64
        Sums of the 24-bit mantissas of the raw norms, one bin for each binary exponent.
    """

    n_rows: int
    n_zero_rows: int
    sums: Int64Array
    squares: Int64Array
    norms: Int64Array


class Differences(NamedTuple):
    """Exact sums over the pairs whose rows both have a direction.

    Parameters
    ----------
    n_rows, n_zero_rows : int
        Pairs summed, and pairs left out.
    sums, squares : (2, n_dims) int64
        The 128-bit sums of ``rint(D * 2**40)`` and of ``rint(D**2 * 2**40)`` over the float64 differences D.
    """

    n_rows: int
    n_zero_rows: int
    sums: Int64Array
    squares: Int64Array


class PairMoments(NamedTuple):
    """Exact sums of both sides of pairs, and of their differences.

    Parameters
    ----------
    x, y, differences : Moments, Moments, Differences
        Sums of the unit rows of either side, and of the differences first - second.
    """

    x: Moments
    y: Moments
    differences: Differences

    @classmethod
    def of(cls, x: Any, y: Any, differences: Any) -> PairMoments:
        """Make them from plain tuples.

        Parameters
        ----------
        x, y, differences : tuple
            Fields of `Moments` and `Differences`, in order.
        """
        return cls(Moments(*x), Moments(*y), Differences(*differences))


def of_rows(rows: Rows, zero_rows: ZeroRows) -> Moments:
    """See `c3align.ops.moments`."""

    def of_block(block: slice) -> Moments:
        found = pick().moments(rows.take(block))
        _checks.status(rows, found[3], zero_rows, first_row=block.start)
        return _moments(*found)

    return reduce(_added, map(of_block, _blocks(rows.shape[0], ROWS_PER_BLOCK)))


def of_pairs(x: Rows, y: Rows, zero_rows: ZeroRows, y_zero_rows: ZeroRows) -> PairMoments:
    """See `c3align.ops.pair_moments`."""

    def of_block(block: slice) -> PairMoments:
        of_x, of_y, sums, squares = pick().pair_moments(x.take(block), y.take(block))
        if of_x[3].any() or of_y[3].any():
            _refuse_pairs((x, of_x[3], zero_rows), (y, of_y[3], y_zero_rows), block.start)
        n_kept = int(np.count_nonzero((of_x[3] == OK) & (of_y[3] == OK)))
        found = Differences(n_kept, len(of_x[3]) - n_kept, fixed.widen(sums), fixed.widen(squares))
        return PairMoments(_moments(*of_x), _moments(*of_y), found)

    def added(a: PairMoments, b: PairMoments) -> PairMoments:
        return PairMoments(*map(_added, a, b))

    return reduce(added, map(of_block, _blocks(x.shape[0], PAIRS_PER_BLOCK)))


def _refuse_pairs(x: tuple[Rows, Any, ZeroRows], y: tuple[Rows, Any, ZeroRows], first_row: int) -> None:
    """Raise as for the rows of x alone, wherever they are, and then as for those of y."""
    with suppress(C3AlignError):
        for rows, status, zero_rows in (x, y):
            _checks.status(rows, status, zero_rows, first_row)
        return
    for rows, _, zero_rows in (x, y):
        of_rows(rows, zero_rows)


def _blocks(n_rows: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, max(n_rows, 1), step))


def _moments(sums: Int64Array, squares: Int64Array, norms: Float64Array, status: Any) -> Moments:
    """What a backend found in one block; the norms of rows that are flagged do not count."""
    n_flagged = int(np.count_nonzero(status))
    bins = pick().binned(norms, status)
    return Moments(len(status) - n_flagged, n_flagged, fixed.widen(sums), fixed.widen(squares), bins)


def _added(a: Any, b: Any) -> Any:
    """Sums of two blocks together: counts and norms, and numbers of 128 bits."""
    return type(a)(*(fixed.add(p, q) if np.ndim(p) == 2 else p + q for p, q in zip(a, b)))
