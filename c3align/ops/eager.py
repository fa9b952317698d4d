"""The ops on any device that torch knows, by torch's own operations: what `_device` asks of a backend.

The bits are the reference's (for the devices where they are not, see `c3align.ops._eager_math`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from c3align._typing import Float64Array
from c3align.errors import C3AlignError
from c3align.ops import _eager_math, _matrix_noise, fixed
from c3align.ops._device import compute_dtype, kinds_of, may_ask, moments, vector_on
from c3align.ops.fixed import PAIRS_PER_BLOCK
from c3align.ops.reference import BAD_NORM, FIXED_SCALE, MAX_NORM, MIN_NORM, OK
from c3align.ops.rowmap import Noise, RowMap

__all__ = ["KNOWS_KINDS", "MAX_DIMS", "glance", "gram", "in_float64", "matrix_noise", "positions", "run", "summed"]
__all__ += ["vector_on"]

KNOWS_KINDS = False  # at once: they take a look at all values
MAX_DIMS = 1 << 40
_BLOCK_ELEMENTS = 1 << 22  # about 20 arrays of a block are held, some of them float64


def run(X: torch.Tensor, out: torch.Tensor, row_map: RowMap, flag: torch.Tensor | None = None) -> torch.Tensor:
    """Fill `out` and return a status (n_rows,) uint8, and the bits of `flag`; nothing here waits for the device."""
    status = torch.empty(X.shape[0], dtype=torch.uint8, device=X.device)
    noise = row_map.noise
    numbers = numbers_of(noise, len(X), X.device) if noise.sigma else None
    for block in _blocks(X):
        here = noise if numbers is None else noise._replace(row_ids=numbers[block])
        rows = X[block].to(compute_dtype(X))
        computed, status[block] = _eager_math.transform(rows, row_map._replace(noise=here))
        out[block] = computed
        if flag is not None:
            flag |= kinds_of(X[block], status[block])
    return status


def summed(X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums, sums of squares, binned norms and the number of usable rows, concatenated; and the status."""
    status = torch.empty(X.shape[0], dtype=torch.uint8, device=X.device)
    totals = torch.zeros(2 * X.shape[1] + fixed.NORM_BINS + 1, dtype=torch.int64, device=X.device)
    for block in _blocks(X):
        unit, norms, usable = _eager_math.unit_rows(X[block].to(compute_dtype(X)))
        status[block] = torch.where(usable, OK, BAD_NORM)
        wide = unit.to(_eager_math.wide_dtype(X.device))
        parts = [_fixed(wide).sum(0), _fixed(wide * wide).sum(0), _binned(norms, usable), usable.sum()[None]]
        totals += torch.cat(parts)
    return totals, status


def pair_moments(backend: Any, X: torch.Tensor, y: torch.Tensor, zero_rows: str, y_zero_rows: str) -> Any:
    """See `c3align.ops.pair_moments`: of X and of y as `backend` sums them, and of the differences."""
    of_x, of_y = moments(backend, X, zero_rows), moments(backend, y, y_zero_rows)
    sums, squares, n_kept = *np.zeros((2, 2, X.shape[1]), np.int64), 0
    for start in range(0, X.shape[0], PAIRS_PER_BLOCK):
        block = slice(start, start + PAIRS_PER_BLOCK)
        on_device, kept = _summed_differences(X[block].detach(), y[block].detach())
        here = [fixed.widen(part) for part in on_device.cpu().numpy()]
        sums, squares, n_kept = fixed.add(sums, here[0]), fixed.add(squares, here[1]), n_kept + int(kept)
    return of_x, of_y, (n_kept, X.shape[0] - n_kept, sums, squares)


def _summed_differences(X: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums (2, n_dims) of the differences of unit rows and of their squares, and of how many pairs."""
    totals = torch.zeros((2, X.shape[1]), dtype=torch.int64, device=X.device)
    n_kept = torch.zeros((), dtype=torch.int64, device=X.device)
    for block in _blocks(X):
        (a, _, of_a), (b, _, of_b) = (_eager_math.unit_rows(computed(Z[block])) for Z in (X, y))
        well = of_a & of_b
        difference = torch.where(well[:, None], widest(a) - widest(b), 0)
        totals += torch.stack([_fixed(difference).sum(0), _fixed(difference * difference).sum(0)])
        n_kept += well.sum()
    return totals, n_kept


def glance(X: torch.Tensor, mean: Float64Array, directions: Float64Array) -> tuple[int, float, float, list[float]]:
    """See `c3align.ops.glance.against`, for all rows of X; its results come to the host in one transfer."""
    wide = X.detach().to(_eager_math.wide_dtype(X.device))
    norms = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    usable = (norms >= MIN_NORM) & (norms <= MAX_NORM)
    n = usable.sum()
    found = torch.where(usable, wide / norms, 0.0).sum(dim=0) / n.clamp(min=1)
    there = torch.from_numpy(np.vstack([mean, directions])).to(X.device, wide.dtype)
    away = found - there[0]
    numbers = torch.cat([torch.stack([n.to(wide.dtype), found @ found, away @ away]), there[1:] @ found]).tolist()
    return int(numbers[0]), numbers[1], numbers[2], numbers[3:]


def gram(X: torch.Tensor, scale: Float64Array, n_rows: int) -> Float64Array:
    """See `c3align.ops.glance.gram`; at most ``n_rows**2`` numbers come to the host."""
    unit, _, usable = _eager_math.unit_rows(X.to(compute_dtype(X)))
    chosen = unit[usable][:: -(-int(usable.sum()) // n_rows)]
    wide = chosen.to(_eager_math.wide_dtype(X.device))
    scaled = (wide - wide.mean(dim=0)) * torch.tensor(scale, dtype=wide.dtype, device=X.device)
    return (scaled @ scaled.T).cpu().numpy().astype(np.float64)


def positions(X: torch.Tensor, direction: Float64Array) -> Float64Array:
    """See `c3align.ops.glance.positions`; one number per row comes to the host."""
    unit, _, usable = _eager_math.unit_rows(X.to(compute_dtype(X)))
    along = unit[usable] @ torch.tensor(direction, dtype=unit.dtype, device=X.device)
    return along.cpu().numpy().astype(np.float64)


def in_float64(X: torch.Tensor) -> torch.Tensor:
    """The tensor in float64, on the host where its device has none."""
    return X.double() if _eager_math.wide_dtype(X.device) == torch.float64 else X.cpu().double()


def widest(X: torch.Tensor) -> torch.Tensor:
    """The tensor in the widest dtype of its device."""
    return X.to(_eager_math.wide_dtype(X.device))


def computed(X: torch.Tensor) -> torch.Tensor:
    """The tensor in the dtype that the ops compute in."""
    return X.to(compute_dtype(X))


def _fixed(values: torch.Tensor) -> torch.Tensor:
    return (values * FIXED_SCALE).round().to(torch.int64)


def _binned(norms: torch.Tensor, usable: torch.Tensor) -> torch.Tensor:
    """See `fixed.binned`: the mantissas of the usable norms, by exponent."""
    bits = torch.where(usable, norms, 1.0).to(torch.float32).view(torch.int32).to(torch.int64)
    mantissas = torch.where(usable, bits & 0x7FFFFF | 0x800000, 0)
    return torch.zeros(fixed.NORM_BINS, dtype=torch.int64, device=norms.device).index_add_(0, bits >> 23, mantissas)


def matrix_noise(root: torch.Tensor, row_numbers: torch.Tensor, seed: int) -> torch.Tensor:
    """``z @ root`` (n, n_dims) float64 of the rows with these numbers, to the bits of `c3align.ops._matrix_noise`."""
    largest = root.abs().sum(0).max()
    if may_ask(root) and not bool(largest.isfinite()):
        raise C3AlignError("sigma holds NaN or infinity; pass finite values")
    exponent = (_matrix_noise.ROOT_BITS - torch.frexp(largest).exponent).to(torch.int64).clamp(max=1000)
    integers = (root * _power_of_two(exponent)).round()
    out = torch.empty((len(row_numbers), root.shape[1]), dtype=torch.float64, device=root.device)
    for block in _blocks(out):
        z = _eager_math.normals(row_numbers[block], root.shape[0], seed)
        out[block] = (z * 2.0**_matrix_noise.NORMAL_BITS).round().to(torch.float64) @ integers
    return out * _power_of_two(-exponent - _matrix_noise.NORMAL_BITS)


def _power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """Two to a power, () float64 and exact, which `pow` need not be."""
    return (exponent + 1023 << 52).view(torch.float64)


def _blocks(X: torch.Tensor) -> Iterator[slice]:
    step = max(1, _BLOCK_ELEMENTS // X.shape[1])
    return (slice(start, start + step) for start in range(0, X.shape[0], step))


def numbers_of(noise: Noise, n_rows: int, device: torch.device) -> torch.Tensor:
    """Numbers of the rows in the noise, (n_rows,) int64; those from 2**63 on are negative."""
    ids = noise.row_ids
    if ids is None:
        first = noise.row_offset - 2**64 if noise.row_offset >= 2**63 else noise.row_offset
        numbers = torch.arange(n_rows, dtype=torch.int64, device=device) + first
        return numbers if noise.first_row is None else numbers + noise.first_row
    return ids.view(torch.int64) if ids.dtype == torch.uint64 else ids.to(torch.int64)
