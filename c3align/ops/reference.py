"""The specification of every op in plain NumPy: the mathematics and the bits.

A backend may be faster than this file; it may not differ from it. What fixes the bits:

* **Sums over a row** follow one tree (`row_sum`): column ``j`` belongs to slot ``j % 128``; a slot adds its
  columns in rising order, 8 at most, and rows wider than 1024 add their 1024-wide segments in rising order.
  Then the slots of a lane (4 neighbors) are added as ``(a + b) + (c + d)``, and the 32 lanes by a butterfly
  of distances 16, 8, 4, 2, 1. Squares of float32 are exact in float64, so only the additions round.
* **Element-wise work** is float32 for float16, bfloat16 and float32 rows, float64 for float64 rows, with one
  IEEE rounding for each operation written below. ``fma32`` is a fused multiply-add: one rounding for both.
* **Rows at the mean** have no direction (`AT_MEAN`): where a mean is given, no shift, and the result is renormalized,
  a row is at the mean when the norm of ``fl(unit(x) - mean)``, by the tree and before scale and noise, is at most
  `at_mean_limit`, the error that the mean itself has. So is a row whose mapped norm is unusable.
* **Noise** is Philox4x32-10 with key = seed and counter = (column // 4, row low, row high, purpose); its word
  ``w`` belongs to column ``4 * (column // 4) + w``, and two words make two normals by Box-Muller. What shapes
  the noise of a row (`Noise`) is one float64 number a row, rounded once to the rows' dtype.
* **Statistics** are integers: ``rint(u * 2**40)`` and ``rint(u**2 * 2**40)``, so no order of addition shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.ops.rowmap import Noise, RowMap

Rows = npt.NDArray[Any]
FloatArray = npt.NDArray[Any]

SLOTS = 128  # 32 lanes of 4 neighboring columns: one float4 for each thread of a warp
SEGMENT = 8 * SLOTS
MIN_NORM = 2.0**-126  # below it a float32 row has lost its direction to subnormal rounding
MAX_NORM = 2.0**126  # above it the reciprocal would be subnormal
FIXED_SCALE = 2.0**40

OK, BAD_NORM, AT_MEAN = 0, 1, 2
AT_MEAN_IN_FLOAT, AT_MEAN_IN_DOUBLE = 2.0**-22, 2.0**-40  # the second times sqrt(n_dims); see `at_mean_limit`

# fourth counter word, so that two kinds of noise never share a stream
PURPOSE_ROW_NOISE, PURPOSE_ROW_STRENGTH = 0, 1

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

# Minimax polynomials, fitted for this file; coefficients are float32 values, lowest power first.
# (log1p(f) - f) / f**2 on [sqrt(1/2) - 1, sqrt(2) - 1]; relative error of the logarithm 5.9e-9
LOG1P_COEFFICIENTS = np.array(
    [
        -0.5,
        0.3333333134651184,
        -0.2500081956386566,
        0.20001226663589478,
        -0.16623356938362122,
        0.14201757311820984,
        -0.13160182535648346,
        0.1276157647371292,
        -0.07634496688842773,
    ],
    np.float32,
)
# sin(2 pi y) / y and (cos(2 pi y) - 1) / y**2 in t = y**2 on [0, 1/64]; relative errors 3.3e-9 and 6.4e-11
SIN_COEFFICIENTS = np.array([6.2831854820251465, -41.3416633605957, 81.59235382080078, -75.39356231689453], np.float32)
COS_COEFFICIENTS = np.array([-19.739208221435547, 64.93932342529297, -85.4432373046875, 59.229244232177734], np.float32)
LOG_2 = np.float32(0.6931471824645996)
SQRT_HALF_BITS = 0x3F3504F3


def row_sum(terms: FloatArray) -> FloatArray:
    """Sum each row of ``terms`` (n, d) float64 along the fixed tree; returns (n,) float64."""
    n_rows, n_dims = terms.shape
    n_steps = max(1, -(-n_dims // SLOTS))
    padded = np.zeros((n_rows, n_steps * SLOTS))
    padded[:, :n_dims] = terms
    steps = padded.reshape(n_rows, n_steps, SLOTS)
    slots = None
    for first in range(0, n_steps, 8):
        segment = steps[:, first]
        for k in range(first + 1, min(first + 8, n_steps)):
            segment = segment + steps[:, k]
        slots = segment if slots is None else slots + segment
    assert slots is not None
    return _butterfly(slots.reshape(n_rows, SLOTS // 4, 4))


def _butterfly(slots: FloatArray) -> FloatArray:
    lanes = (slots[:, :, 0] + slots[:, :, 1]) + (slots[:, :, 2] + slots[:, :, 3])
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]


def fma32(a: Any, b: Any, c: Any) -> FloatArray:
    """``a * b + c`` of float32 values with a single rounding, as hardware fma does.

    The product is exact in float64. Their float64 sum may round, and rounding again to float32 goes wrong
    only when that sum sits on the midpoint of two float32 values; there the lost part decides.
    """
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    midpoint = (total.view(np.int64) & 0x1FFFFFFF) == 0x10000000
    if midpoint.any():
        where = np.nonzero(midpoint)
        p, t = product[where], total[where]
        addend = np.broadcast_to(c, total.shape)[where].astype(np.float64)
        # TwoSum: the exact error of t = p + addend
        part = t - p
        lost = (p - (t - part)) + (addend - part)
        total[where] = np.where(lost == 0, t, np.nextafter(t, np.where(lost > 0, np.inf, -np.inf)))
    return total.astype(np.float32)


def _scale_rows(rows: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Norm of each row, its reciprocal in the rows' dtype (0 where unusable), and which are usable."""
    wide = rows.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        norms = np.sqrt(row_sum(wide * wide))
        usable = (norms >= MIN_NORM) & (norms <= MAX_NORM)
        reciprocal = np.where(usable, 1.0 / norms, 0.0)
    return norms, reciprocal.astype(rows.dtype)[:, None], usable


def unit_rows(rows: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.uint8]]:
    """Rows divided by their norm: ``u = x * fl(1 / ||x||)``.

    Parameters
    ----------
    rows : (n, d) float32 or float64

    Returns
    -------
    (n, d) unit rows in the same dtype (zeros where the norm is unusable), (n,) float64 norms, (n,) status.
    """
    norms, reciprocal, usable = _scale_rows(rows)
    with np.errstate(invalid="ignore"):
        unit = np.where(usable[:, None], rows * reciprocal, rows.dtype.type(0))
    return unit, norms, np.where(usable, OK, BAD_NORM).astype(np.uint8)


def at_mean_limit(n_dims: int, dtype: Any) -> float:
    """The largest norm of a centered row that the mean's error explains: float32 rounding, or statistics to 2**-40."""
    return AT_MEAN_IN_FLOAT if dtype == np.float32 else math.sqrt(n_dims) * AT_MEAN_IN_DOUBLE


def _at_mean(centred: FloatArray, row_map: RowMap) -> npt.NDArray[np.bool_]:
    if not row_map.compares:
        return np.zeros(len(centred), bool)
    norms: FloatArray = np.sqrt(row_sum(centred.astype(np.float64) ** 2))
    return norms <= at_mean_limit(centred.shape[1], centred.dtype)


def transform(rows: FloatArray, row_map: RowMap) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    """Apply a `RowMap`, in its order; returns the rows and a status for each."""
    _, reciprocal, usable = _scale_rows(rows)
    if row_map.is_raw:
        reciprocal = np.where(usable, 1, 0).astype(rows.dtype)[:, None]
    with np.errstate(invalid="ignore", over="ignore"):
        centred = rows * reciprocal if row_map.mean is None else _multiply_add(rows, reciprocal, -row_map.mean)
        mapped = _scale_and_shift(centred, row_map)
        if row_map.noise.sigma:
            mapped = _add_noise(mapped, row_map.noise)
        status = np.where(usable, OK, BAD_NORM).astype(np.uint8)
        if row_map.renormalize:
            _, reciprocal, has_direction = _scale_rows(mapped)
            mapped = mapped * reciprocal
            status[usable & (~has_direction | _at_mean(centred, row_map))] = AT_MEAN
        if row_map.goal is not None:
            mapped = _around(mapped, row_map.goal)
        if row_map.norm != 1:
            mapped = mapped * rows.dtype.type(row_map.norm)
        mapped = np.where(status[:, None] == OK, mapped, rows.dtype.type(0))
    return mapped, status


def _around(z: FloatArray, goal: FloatArray) -> FloatArray:
    """The unit rows that lie from `goal` in the directions z: ``goal + t z``, t the positive root.

    ``t = -goal . z + sqrt((goal . z)**2 + 1 - ||goal||**2)``, sums by the tree in float64 and t rounded once.
    """
    wide = goal.astype(np.float64)
    along = row_sum(z.astype(np.float64) * wide)
    inside = np.maximum(0.0, along * along + (1 - row_sum((wide * wide)[None])))
    step = (np.sqrt(inside) - along).astype(z.dtype)
    return _multiply_add(np.broadcast_to(step[:, None], z.shape), z, np.broadcast_to(goal, z.shape))


def _scale_and_shift(centred: FloatArray, row_map: RowMap) -> FloatArray:
    if row_map.scale is not None and row_map.shift is not None:
        return _multiply_add(centred, row_map.scale, row_map.shift)
    if row_map.scale is not None:
        return centred * row_map.scale
    return centred if row_map.shift is None else centred + row_map.shift


def _add_noise(mapped: FloatArray, noise: Noise) -> FloatArray:
    place: dict[str, Any] = {"seed": noise.seed, "row_offset": noise.row_offset, "row_ids": noise.row_ids}
    e: FloatArray = philox_normal(*mapped.shape, **place).astype(mapped.dtype)
    if noise.columns is not None:
        e = e * noise.columns
    if noise.direction is not None:
        along = row_sum(e.astype(np.float64) * noise.direction.astype(np.float64))
        e = _multiply_add(-along.astype(e.dtype)[:, None], noise.direction, e)
    amount = np.full(len(e), noise.sigma)
    if noise.radius:
        norms = np.sqrt(row_sum(e.astype(np.float64) ** 2))
        amount = np.divide(noise.radius, norms, out=np.zeros_like(norms), where=norms > 0)
    if noise.random_strength:
        amount = amount * row_uniform(len(e), **place)
    return _multiply_add(e, amount.astype(e.dtype)[:, None], mapped)


def row_uniform(n_rows: int, *, seed: int, row_offset: int = 0, row_ids: Any = None) -> FloatArray:
    """Uniform numbers in (0, 1), one a row: (n_rows,) float64, ``(word + 1/2) / 2**32``."""
    words = _row_words(_row_numbers(n_rows, row_offset, row_ids), 1, seed, PURPOSE_ROW_STRENGTH)
    return (words[0][:, 0].astype(np.float64) + 0.5) * 2.0**-32


def _multiply_add(a: FloatArray, b: Any, c: FloatArray) -> FloatArray:
    """Fused in float32; two roundings in float64, where NumPy has no fused operation."""
    return fma32(a, b, c) if c.dtype == np.float32 else a * b + c


def moments(rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.uint8]]:
    """Column sums of ``rint(u * 2**40)`` and ``rint(u**2 * 2**40)`` as int64 (d,); norms; status.

    Rows with an unusable norm add nothing. At most 2**22 rows, or an int64 could overflow.
    """
    unit, norms, status = unit_rows(rows)
    return *_fixed_sums(unit.astype(np.float64)), norms, status


def pair_moments(x: FloatArray, y: FloatArray) -> tuple[Any, Any, FloatArray, FloatArray]:
    """`moments` of x and of y, and the same sums of ``D = float64(u_x) - float64(u_y)`` where both norms are usable.

    x and y, of one shape, may be of different dtypes. At most 2**20 rows, for squares are up to 4.
    """
    (u_x, *of_x), (u_y, *of_y) = unit_rows(x), unit_rows(y)
    u_x, u_y = u_x.astype(np.float64), u_y.astype(np.float64)
    well = (of_x[1] == OK) & (of_y[1] == OK)
    return (*_fixed_sums(u_x), *of_x), (*_fixed_sums(u_y), *of_y), *_fixed_sums(u_x[well] - u_y[well])


def _fixed_sums(wide: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Column sums of the values and of their squares, each rounded to float64 and then to 2**-40."""
    terms = (np.rint(values * FIXED_SCALE).astype(np.int64) for values in (wide, wide * wide))
    sums, squares = (values.sum(axis=0) for values in terms)
    return sums, squares


def philox4x32(counter: Sequence[Any], key: tuple[int, int], n_rounds: int = 10) -> list[Rows]:
    """Philox4x32 (Salmon et al. 2011): four words (each an array) for counters (4, ...) and a 2-word key."""
    x = [np.asarray(word, np.uint64) & _MASK for word in counter]
    k = [int(key[0]) & 0xFFFFFFFF, int(key[1]) & 0xFFFFFFFF]
    for _ in range(n_rounds):
        first, second = x[0] * _MULTIPLIERS[0], x[2] * _MULTIPLIERS[1]
        x = [
            (second >> _SHIFT) ^ x[1] ^ np.uint64(k[0]),
            second & _MASK,
            (first >> _SHIFT) ^ x[3] ^ np.uint64(k[1]),
            first & _MASK,
        ]
        k = [(k[i] + _KEY_STEPS[i]) & 0xFFFFFFFF for i in range(2)]
    return [word.astype(np.uint32) for word in x]


def _row_numbers(n_rows: int, row_offset: int, row_ids: Any) -> npt.NDArray[np.uint64]:
    return np.arange(n_rows, dtype=np.uint64) + np.uint64(row_offset) if row_ids is None else row_ids


def _row_words(row: npt.NDArray[np.uint64], n_blocks: int, seed: int, purpose: int) -> list[Rows]:
    """Four words for each of `n_blocks` of each row of these numbers; each (n_rows, n_blocks)."""
    block = np.arange(n_blocks, dtype=np.uint64)
    low, high = (row & _MASK)[:, None], (row >> _SHIFT)[:, None]
    shape = (len(row), n_blocks)
    counter = [np.broadcast_to(part, shape) for part in (block[None, :], low, high, np.uint64(purpose))]
    return philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))


def philox_normal(n_rows: int, n_dims: int, *, seed: int, row_offset: int = 0, row_ids: Any = None) -> FloatArray:
    """Standard normals (n_rows, n_dims) float32 as a function of (seed, row_offset + row or row_ids[row], column)."""
    n_blocks = -(-n_dims // 4)
    words = _row_words(_row_numbers(n_rows, row_offset, row_ids), n_blocks, seed, PURPOSE_ROW_NOISE)
    normals = [*_box_muller(words[0], words[1]), *_box_muller(words[2], words[3])]
    return np.stack(normals, axis=-1).reshape(n_rows, 4 * n_blocks)[:, :n_dims]


def _box_muller(radius_word: Rows, angle_word: Rows) -> tuple[FloatArray, FloatArray]:
    radius = np.sqrt(np.float32(-2) * _log_uniform(radius_word.view(np.int32)))
    cosine, sine = _cos_sin_turns(angle_word)
    return radius * cosine, radius * sine


def _horner(coefficients: FloatArray, x: FloatArray) -> FloatArray:
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = fma32(value, x, coefficient)
    return value


def _log_uniform(word: npt.NDArray[np.int32]) -> FloatArray:
    """log(u) for u = (word mod 2**32 + 1/2) / 2**32, keeping u near 0 and 1 - u near 0 to full precision.

    ``t`` is the distance to the nearer end of (0, 1): u itself for word >= 0, else 1 - u.
    """
    lower_half = word >= 0
    t = ((word ^ (word >> 31)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    bits = t.view(np.int32) - np.int32(SQRT_HALF_BITS)  # so that the mantissa lies around 1
    exponent = np.where(lower_half, bits >> 23, np.where(t > np.float32(0.29289323), -1, 0))
    mantissa = ((bits & 0x007FFFFF) + np.int32(SQRT_HALF_BITS)).view(np.float32)
    upper = np.where(exponent == 0, -t, fma32(t, np.float32(-2), np.float32(1)))
    f = np.where(lower_half, mantissa - np.float32(1), upper)
    log1p = fma32(f * f, _horner(LOG1P_COEFFICIENTS, f), f)
    return fma32(exponent.astype(np.float32), LOG_2, log1p)


def _cos_sin_turns(word: Rows) -> tuple[FloatArray, FloatArray]:
    """cos and sin of 2 pi (word + 1/2) / 2**32: the nearest quarter turn, and the rest by polynomial."""
    quarter = (word + np.uint32(1 << 29)) >> np.uint32(30)
    rest = (word - (quarter << np.uint32(30))).view(np.int32)
    y = (rest.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    t = y * y
    sine = y * _horner(SIN_COEFFICIENTS, t)
    cosine = fma32(t, _horner(COS_COEFFICIENTS, t), np.float32(1))
    swap = (quarter & np.uint32(1)) == 1
    c, s = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    negative_cosine = (quarter == 1) | (quarter == 2)
    return np.where(negative_cosine, -c, c), np.where(quarter >= 2, -s, s)
