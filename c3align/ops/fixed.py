"""Exact sums in 128 bits: two's complement integers as an int64 array (2, n), high words first.

One int64 holds the fixed-point sum of 2**22 unit rows; two hold that of 2**85. Addition is
associative, so no split, order or merge tree shows in the bytes (promise P1), and subtraction is exact.
"""

from __future__ import annotations

import numpy as np

from c3align._typing import Float64Array, Int64Array

ROWS_PER_BLOCK = 1 << 22  # an int64 holds the fixed-point sum of this many unit rows
PAIRS_PER_BLOCK = 1 << 20  # and that of the squares of so many differences, each up to 4

NORM_BINS = 256
FRACTION_BITS = 40  # entries are multiples of 2**-40


def widen(block: Int64Array) -> Int64Array:
    """int64 values (n,) as 128-bit ones (2, n)."""
    wide = np.empty((2, block.size), np.int64)
    np.right_shift(block, 63, out=wide[0])
    wide[1] = block
    return wide


def add(a: Int64Array, b: Int64Array) -> Int64Array:
    total = np.add(a, b)
    carry = total[1].view(np.uint64) < a[1].view(np.uint64)
    total[0] += carry
    return total


def negate(a: Int64Array) -> Int64Array:
    low = ~a[1].view(np.uint64) + np.uint64(1)
    return np.stack([~a[0] + (low == 0), low.view(np.int64)])


def to_ints(a: Int64Array) -> list[int]:
    """One Python integer per column."""
    return [(int(high) << 64) + int(low) for high, low in zip(a[0], a[1].view(np.uint64))]


def from_ints(values: list[int]) -> Int64Array:
    """The inverse of `to_ints`."""
    low = np.array([value & 0xFFFFFFFFFFFFFFFF for value in values], np.uint64)
    return np.stack([np.array([value >> 64 for value in values], np.int64), low.view(np.int64)])


def to_floats(a: Int64Array) -> Float64Array:
    """One float64 per column, off by three roundings at most: the low word counts from the middle, so none cancels."""
    return (a[0].astype(np.float64) + (a[1] < 0)) * 2.0**64 + a[1]


def total(a: Int64Array) -> int:
    """The exact sum of all columns, at most 2**31 of them."""
    low = a[1].view(np.uint64)
    words = (a[0].sum(), 64), ((low >> np.uint64(32)).sum(), 32), ((low & np.uint64(0xFFFFFFFF)).sum(), 0)
    return sum(int(word) << place for word, place in words)


def divide(numerators: list[int], denominator: int) -> Float64Array:
    """Quotients, each rounded once: Python divides integers of any size correctly."""
    return np.array([numerator / denominator for numerator in numerators], np.float64)


def binned(norms: Float64Array) -> Int64Array:
    """Sums of the 24-bit mantissas of the norms, each rounded to float32, by binary exponent: (256,) int64."""
    mantissa, exponent = np.frexp(norms.astype(np.float32))
    # integers, and their sums stay below 2**53: doubles hold them
    return np.bincount(exponent + 126, mantissa * 2.0**24, NORM_BINS).astype(np.int64)
