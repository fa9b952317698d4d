"""Exact sums in 128 bits: two's complement integers as an int64 array (2, n), high words first.

One int64 holds the fixed-point sum of 2**22 unit rows; two hold 2**85, more than there will ever be. Addition is
associative, so no split, order or merge tree shows in the bytes (promise P1), and subtraction is exact.
"""

from __future__ import annotations

import numpy as np

from c3align._typing import Float64Array, Int64Array

NORM_BINS = 256
FRACTION_BITS = 40  # entries are multiples of 2**-40


def widen(block: Int64Array) -> Int64Array:
    """int64 values (n,) as 128-bit ones (2, n)."""
    return np.stack([block >> 63, block])


def add(a: Int64Array, b: Int64Array) -> Int64Array:
    low = a[1].view(np.uint64) + b[1].view(np.uint64)
    carry = low < a[1].view(np.uint64)
    return np.stack([a[0] + b[0] + carry, low.view(np.int64)])


def negate(a: Int64Array) -> Int64Array:
    low = ~a[1].view(np.uint64) + np.uint64(1)
    return np.stack([~a[0] + (low == 0), low.view(np.int64)])


def to_ints(a: Int64Array) -> list[int]:
    """Python integers, one a column."""
    return [(int(high) << 64) + int(low) for high, low in zip(a[0], a[1].view(np.uint64))]


def divide(numerators: list[int], denominator: int) -> Float64Array:
    """Quotients, each rounded once: Python divides integers of any size correctly."""
    return np.array([numerator / denominator for numerator in numerators], np.float64)


def binned(norms: Float64Array) -> Int64Array:
    """Sums of the 24-bit mantissas of the norms, each rounded to float32, by binary exponent: (256,) int64."""
    mantissa, exponent = np.frexp(norms.astype(np.float32))
    bins = np.zeros(NORM_BINS, np.int64)
    np.add.at(bins, exponent.astype(np.int64) + 126, (mantissa * 2**24).astype(np.int64))
    return bins
