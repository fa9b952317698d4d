"""`c3align.ops.reference` operation by operation in plain torch, for every device that torch knows.

Where the device has float64 the bits are the reference's: sums follow its tree, `fma32` rounds once, and words of
Philox are int64 numbers below 2**32 whose products wrap. Devices without float64 (Apple's MPS) compute in float32
throughout: norms within 2**-21, multiply-adds with two roundings, normals within 2**-18.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from c3align.ops import reference
from c3align.ops.reference import AT_MEAN, BAD_NORM, MAX_NORM, MIN_NORM, OK, SEGMENT, SLOTS
from c3align.ops.rowmap import Noise, RowMap

__all__ = ["normals", "transform", "unit_rows", "wide_dtype"]

_MASK = 0xFFFFFFFF
_EXPONENT = 0x7F800000  # of a float32
_LOG1P, _SIN, _COS = (
    [float(c) for c in coefficients]
    for coefficients in (reference.LOG1P_COEFFICIENTS, reference.SIN_COEFFICIENTS, reference.COS_COEFFICIENTS)
)
_LOG_2 = float(reference.LOG_2)
_NEAR_ONE = 0.2928932309150696  # 1 - sqrt(1/2) in float32
_FAR = 2.0**700  # brings the least error of a sum of float32 products above the largest step of such a sum


@functools.cache
def wide_dtype(device: torch.device) -> torch.dtype:
    """float64, or float32 on devices without it."""
    try:
        torch.ones(1, dtype=torch.float64, device=device).mul(0.5)
    except (TypeError, RuntimeError):
        return torch.float32
    return torch.float64


def row_sum(terms: torch.Tensor) -> torch.Tensor:
    """Sum each row of (n, d) along the reference's tree; (n,)."""
    n_rows, n_dims = terms.shape
    n_steps = max(1, -(-n_dims // SLOTS))
    steps = torch.nn.functional.pad(terms, (0, n_steps * SLOTS - n_dims)).reshape(n_rows, n_steps, SLOTS)
    per_segment = SEGMENT // SLOTS
    slots = _in_order(steps[:, :per_segment])
    for first in range(per_segment, n_steps, per_segment):
        slots = slots + _in_order(steps[:, first : first + per_segment])
    return _butterfly(slots.reshape(n_rows, SLOTS // 4, 4))


def _in_order(steps: torch.Tensor) -> torch.Tensor:
    total = steps[:, 0]
    for k in range(1, steps.shape[1]):
        total = total + steps[:, k]
    return total


def _butterfly(slots: torch.Tensor) -> torch.Tensor:
    lanes = (slots[:, :, 0] + slots[:, :, 1]) + (slots[:, :, 2] + slots[:, :, 3])
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]


def fma32(a: torch.Tensor, b: Any, c: Any) -> torch.Tensor:
    """``a * b + c`` of float32 values, rounded once; see `reference.fma32`. b and c: tensors, or float32 numbers."""
    wide = wide_dtype(a.device)
    if wide == torch.float32:
        return a * b + c
    product = a.to(wide) * b
    total = product + c
    # TwoSum: what rounding took from `total`; on the midpoint of two float32 values it decides
    part = total - product
    lost = (product - (total - part)) + (c - part)
    midpoint = (total.view(torch.int64) & 0x1FFFFFFF) == 0x10000000
    towards = torch.add(total, lost, alpha=_FAR)  # `total` itself where nothing was lost
    return torch.where(midpoint, torch.nextafter(total, towards), total).to(torch.float32)


def _multiply_add(a: torch.Tensor, b: Any, c: Any) -> torch.Tensor:
    """Fused for float32 rows; two roundings for float64 ones."""
    return fma32(a, b, c) if a.dtype == torch.float32 else a * b + c


def row_norms(rows: torch.Tensor) -> torch.Tensor:
    """Norms (n,) in the device's widest dtype."""
    if wide_dtype(rows.device) == torch.float32:
        return _narrow_norms(rows)
    wide = rows.to(torch.float64)
    return _root(row_sum(wide * wide))


def _root(x: torch.Tensor) -> torch.Tensor:
    """Square roots of float64 values, rounded correctly: torch's own are one step off at times (MKL's).

    ``x - y**2`` is exact by Dekker's product, and a whole number of squared steps: it cannot lie on the midpoint.
    """
    y = x.sqrt()
    if x.dtype == torch.float32:
        return y
    high = y * (2.0**27 + 1)
    high = high - (high - y)
    low, square = y - high, y * y
    rest = (x - square) - ((high * high - square) + 2.0 * high * low + low * low)
    above, below = torch.nextafter(y, y + torch.inf), torch.nextafter(y, torch.zeros_like(y))
    y_above = torch.where(rest > y * (above - y), above, y)
    return torch.where(rest <= y * (below - y), below, y_above)


def _root32(x: torch.Tensor) -> torch.Tensor:
    """Square roots of float32 values, rounded correctly: rounding those of float64 again does no harm."""
    return x.to(wide_dtype(x.device)).sqrt().to(torch.float32)


def _narrow_norms(rows: torch.Tensor) -> torch.Tensor:
    """In float32 alone: rows are brought near 1 by powers of two first, so that no square leaves the range."""
    bits = rows.abs().amax(dim=1, keepdim=True).view(torch.int32) & _EXPONENT
    power = bits.clamp(1 << 23, 253 << 23)
    near_one = rows * ((254 << 23) - power).view(torch.float32)
    return row_sum(near_one * near_one).sqrt() * power[:, 0].view(torch.float32)


def _scale_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Norm of each row, its reciprocal (n, 1) in the rows' dtype (0 where unusable), and which are usable."""
    norms = row_norms(rows)
    usable = (norms >= MIN_NORM) & (norms <= MAX_NORM)
    reciprocal = torch.where(usable, norms.reciprocal(), 0.0)
    return norms, reciprocal.to(rows.dtype)[:, None], usable


def unit_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit rows (zeros where the norm is unusable), norms (n,), and which are usable (n,)."""
    norms, reciprocal, usable = _scale_rows(rows)
    return torch.where(usable[:, None], rows * reciprocal, 0.0), norms, usable


def transform(rows: torch.Tensor, row_map: RowMap) -> tuple[torch.Tensor, torch.Tensor]:
    """See `reference.transform`: rows (n, d) and a status (n,) uint8 for each; numbers of rows are all in `row_ids`."""
    _, reciprocal, usable = _scale_rows(rows)
    if row_map.is_raw:
        reciprocal = usable.to(rows.dtype)[:, None]
    centred = rows * reciprocal if row_map.mean is None else _multiply_add(rows, reciprocal, -row_map.mean)
    mapped = _scale_and_shift(centred, row_map)
    if row_map.noise.sigma:
        mapped = _add_noise(mapped, row_map.noise)
    status = torch.where(usable, OK, BAD_NORM)
    if row_map.renormalize:
        norms, reciprocal, has_direction = _scale_rows(mapped)
        if row_map.compares:
            distance = norms if mapped is centred else row_norms(centred)
            has_direction = has_direction & (distance > _at_mean_limit(rows))
        mapped = mapped * reciprocal
        status = torch.where(usable & ~has_direction, AT_MEAN, status)
    if row_map.goal is not None:
        mapped = _around(mapped, row_map.goal)
    if row_map.norm != 1:
        mapped = mapped * row_map.norm
    return torch.where((status == OK)[:, None], mapped, 0.0), status.to(torch.uint8)


def _around(z: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """See `reference._around`."""
    wide = goal.to(wide_dtype(z.device))
    along = row_sum(z.to(wide.dtype) * wide)
    inside = torch.clamp(along * along + (1 - row_sum((wide * wide)[None])), min=0)
    step = (_root(inside) - along).to(z.dtype)
    return _multiply_add(step[:, None].expand_as(z), z, goal.expand_as(z))


def _at_mean_limit(rows: torch.Tensor) -> float:
    return reference.at_mean_limit(rows.shape[1], np.float64 if rows.dtype == torch.float64 else np.float32)


def _scale_and_shift(centred: torch.Tensor, row_map: RowMap) -> torch.Tensor:
    if row_map.scale is not None and row_map.shift is not None:
        return _multiply_add(centred, row_map.scale, row_map.shift)
    if row_map.scale is not None:
        return centred * row_map.scale
    return centred if row_map.shift is None else centred + row_map.shift


def _add_noise(mapped: torch.Tensor, noise: Noise) -> torch.Tensor:
    wide = wide_dtype(mapped.device)
    e = normals(noise.row_ids, mapped.shape[1], noise.seed).to(mapped.dtype)
    if noise.columns is not None:
        e = e * noise.columns
    if noise.direction is not None:
        along = row_sum(e.to(wide) * noise.direction.to(wide))
        e = _multiply_add((-along.to(e.dtype)[:, None]).expand_as(e), noise.direction, e)
    amount = torch.full((len(e),), noise.sigma, dtype=wide, device=e.device)
    if noise.radius:
        squares = e.to(wide)
        norms = _root(row_sum(squares * squares))
        # a number over a tensor would be a product with its reciprocal, and round twice
        amount = torch.where(norms > 0, torch.full_like(norms, noise.radius) / norms, 0.0)
    if noise.random_strength:
        amount = amount * _row_uniform(noise.row_ids, noise.seed, wide)
    return _multiply_add(e, amount.to(e.dtype)[:, None], mapped)


def _row_uniform(row_numbers: torch.Tensor, seed: int, wide: torch.dtype) -> torch.Tensor:
    """Uniform numbers in (0, 1), one per row; see `reference.row_uniform`."""
    word = _row_words(row_numbers, 1, seed, reference.PURPOSE_ROW_STRENGTH)[0][:, 0]
    return (word.to(wide) + 0.5) * 2.0**-32


def normals(row_numbers: torch.Tensor, n_dims: int, seed: int) -> torch.Tensor:
    """Standard normals (n, n_dims) float32 of the rows with these numbers (n,) int64, read as unsigned."""
    n_blocks = -(-n_dims // 4)
    words = _row_words(row_numbers, n_blocks, seed, reference.PURPOSE_ROW_NOISE)
    found = [*_box_muller(words[0], words[1]), *_box_muller(words[2], words[3])]
    return torch.stack(found, dim=-1).reshape(len(row_numbers), 4 * n_blocks)[:, :n_dims]


def _row_words(row_numbers: torch.Tensor, n_blocks: int, seed: int, purpose: int) -> list[torch.Tensor]:
    """Four words for each of `n_blocks` of each row, each (n, n_blocks) int64; the first rounds need only edges."""
    block = torch.arange(n_blocks, dtype=torch.int64, device=row_numbers.device)[None]
    low, high = (row_numbers & _MASK)[:, None], (row_numbers >> 32 & _MASK)[:, None]
    return philox4x32([block, low, high, torch.full_like(block[:, :1], purpose)], (seed & _MASK, seed >> 32))


def philox4x32(counter: Sequence[torch.Tensor], key: tuple[int, int], n_rounds: int = 10) -> list[torch.Tensor]:
    """See `reference.philox4x32`; words are int64 in [0, 2**32), whose products wrap."""
    x, k = list(counter), list(key)
    for _ in range(n_rounds):
        first, second = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [
            (second >> 32 & _MASK) ^ x[1] ^ k[0],
            second & _MASK,
            (first >> 32 & _MASK) ^ x[3] ^ k[1],
            first & _MASK,
        ]
        k = [(k[0] + 0x9E3779B9) & _MASK, (k[1] + 0xBB67AE85) & _MASK]
    return x


def _box_muller(radius_word: torch.Tensor, angle_word: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    radius = _root32(-2.0 * _log_uniform(radius_word))
    cosine, sine = _cos_sin_turns(angle_word)
    return radius * cosine, radius * sine


def _horner(coefficients: list[float], x: torch.Tensor) -> torch.Tensor:
    value = fma32(x, coefficients[-1], coefficients[-2])
    for coefficient in coefficients[-3::-1]:
        value = fma32(value, x, coefficient)
    return value


def _log_uniform(word: torch.Tensor) -> torch.Tensor:
    """See `reference._log_uniform`."""
    lower_half = word < 2**31
    t = (torch.where(lower_half, word, _MASK - word).to(torch.float32) + 0.5) * 2.0**-32
    bits = t.view(torch.int32) - reference.SQRT_HALF_BITS
    exponent = torch.where(lower_half, bits >> 23, torch.where(t > _NEAR_ONE, -1, 0))
    mantissa = ((bits & 0x007FFFFF) + reference.SQRT_HALF_BITS).view(torch.float32)
    upper = torch.where(exponent == 0, -t, fma32(t, -2.0, 1.0))
    f = torch.where(lower_half, mantissa - 1.0, upper)
    log1p = fma32(f * f, _horner(_LOG1P, f), f)
    return fma32(exponent.to(torch.float32), _LOG_2, log1p)


def _cos_sin_turns(word: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """See `reference._cos_sin_turns`."""
    eighth = 1 << 29
    quarter = (word + eighth & _MASK) >> 30
    rest = (word - (quarter << 30) + eighth & _MASK) - eighth
    y = (rest.to(torch.float32) + 0.5) * 2.0**-32
    t = y * y
    sine = y * _horner(_SIN, t)
    cosine = fma32(t, _horner(_COS, t), 1.0)
    swap = (quarter & 1) == 1
    c, s = torch.where(swap, sine, cosine), torch.where(swap, cosine, sine)
    negative_cosine = (quarter == 1) | (quarter == 2)
    return torch.where(negative_cosine, -c, c), torch.where(quarter >= 2, -s, s)
