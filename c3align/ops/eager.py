"""The ops on any device that torch knows, by torch's own operations: tensors in, tensors on that device out.

The bits are the reference's (see `c3align.ops._eager_math` for the devices whose are not). Rows never come to the
host: it hears whether any of them is unusable, how many and which first, and the sums of `moments`. Vectors
(n_dims,) go up, and those that shape noise may come down to be checked and summed. While a CUDA graph is recorded
nothing is asked for, and rows without a direction come out as zeros. The `meta` device has shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from c3align._typing import Float64Array, Int64Array
from c3align.errors import C3AlignError
from c3align.ops import _checks, _eager_math, _shaped, fixed
from c3align.ops._eager_math import Affine, Noise
from c3align.ops._noise import NoiseRequest, check_row_numbers, is_device_scalar, raise_for_negative
from c3align.ops._rows import as_vector, check_shape_and_dtype, check_tensor, dtype_name
from c3align.ops.reference import AT_MEAN, BAD_NORM, FIXED_SCALE, OK

__all__ = ["gram", "in_float64", "moments", "shaped_noise", "transform"]

_BLOCK_ELEMENTS = 1 << 22  # about 20 arrays of a block are held, some of them float64
_ROWS_PER_BLOCK = 1 << 22  # an int64 holds the fixed-point sum of this many unit rows


def transform(
    X: torch.Tensor,
    vectors: dict[str, Any],
    noise: NoiseRequest | None,
    *,
    zero_rows: str,
    out: torch.Tensor | None,
    renormalize: bool,
) -> torch.Tensor:
    """See `c3align.ops.align` and `corrupt`."""
    _check(X)
    target = None if out is None else _checked_out(out, X)
    columns = {name: column(vectors.get(name), X, name) for name in ("mean", "scale", "shift")}
    prepared = None if noise is None else _prepare(noise, X)
    if X.is_meta:
        return _empty_like(X) if target is None else target
    result, status = _transformed(X, Affine(**columns), prepared, renormalize)
    if _may_ask(X):
        ids = None if noise is None else _row_ids(noise.row_ids, X)
        _refuse(X, status, {**columns, "row_ids": ids}, zero_rows)
    return result if target is None else target.copy_(result)  # a refused batch leaves X as it was


def _transformed(
    X: torch.Tensor, affine: Affine, noise: Noise | None, renormalize: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Results in X's dtype and a status (n_rows,) for each row; nothing here asks the device for a number."""
    result, status = _empty_like(X), torch.empty(X.shape[0], dtype=torch.uint8, device=X.device)
    for block in _blocks(X):
        here = None if noise is None else noise._replace(row_numbers=noise.row_numbers[block])
        rows = X[block].to(_compute_dtype(X))
        computed, status[block] = _eager_math.align(rows, affine, here, renormalize=renormalize)
        result[block] = computed
    return result, status


def moments(X: torch.Tensor, zero_rows: str | None) -> tuple[int, int, Int64Array, Int64Array, Int64Array]:
    """See `c3align.ops.moments`; the sums come back to the host. With None for `zero_rows` no row is refused."""
    _check(X)
    if X.is_meta:
        raise C3AlignError("X is on the meta device, which holds no values to sum; pass a tensor on another device")
    n_dims = X.shape[1]
    sums, squares = np.zeros((2, n_dims), np.int64), np.zeros((2, n_dims), np.int64)
    bins, n_kept = np.zeros(fixed.NORM_BINS, np.int64), 0
    for start in range(0, X.shape[0], _ROWS_PER_BLOCK):
        on_device, status = _summed(X[start : start + _ROWS_PER_BLOCK])
        totals = on_device.cpu().numpy()
        if zero_rows is not None:
            _refuse(X, status, {}, zero_rows, start)
        block_sums, block_squares, block_bins, kept = np.split(totals, [n_dims, 2 * n_dims, len(totals) - 1])
        sums, squares = fixed.add(sums, fixed.widen(block_sums)), fixed.add(squares, fixed.widen(block_squares))
        bins, n_kept = bins + block_bins, n_kept + int(kept[0])
    return n_kept, X.shape[0] - n_kept, sums, squares, bins


def _summed(X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums, sums of squares, binned norms and the number of usable rows, one after another; and the status."""
    status = torch.empty(X.shape[0], dtype=torch.uint8, device=X.device)
    totals = torch.zeros(2 * X.shape[1] + fixed.NORM_BINS + 1, dtype=torch.int64, device=X.device)
    for block in _blocks(X):
        unit, norms, usable = _eager_math.unit_rows(X[block].to(_compute_dtype(X)))
        status[block] = torch.where(usable, OK, BAD_NORM)
        wide = unit.to(_eager_math.wide_dtype(X.device))
        parts = [_fixed(wide).sum(0), _fixed(wide * wide).sum(0), _binned(norms, usable), usable.sum()[None]]
        totals += torch.cat(parts)
    return totals, status


def gram(X: torch.Tensor, scale: Float64Array, n_rows: int) -> Float64Array:
    """See `c3align.ops.glance.gram`; up to `n_rows` squared numbers come to the host."""
    unit, _, usable = _eager_math.unit_rows(X.to(_compute_dtype(X)))
    chosen = unit[usable][:: -(-int(usable.sum()) // n_rows)]
    wide = chosen.to(_eager_math.wide_dtype(X.device))
    scaled = (wide - wide.mean(dim=0)) * torch.tensor(scale, dtype=wide.dtype, device=X.device)
    return (scaled @ scaled.T).cpu().numpy().astype(np.float64)


def positions(X: torch.Tensor, direction: Float64Array) -> Float64Array:
    """See `c3align.ops.glance.positions`; one number a row comes to the host."""
    unit, _, usable = _eager_math.unit_rows(X.to(_compute_dtype(X)))
    along = unit[usable] @ torch.tensor(direction, dtype=unit.dtype, device=X.device)
    return along.cpu().numpy().astype(np.float64)


def in_float64(X: torch.Tensor) -> torch.Tensor:
    """On its device, or on the host where the device has no float64."""
    return X.double() if _eager_math.wide_dtype(X.device) == torch.float64 else X.cpu().double()


def widest(X: torch.Tensor) -> torch.Tensor:
    """In the widest dtype of its device."""
    return X.to(_eager_math.wide_dtype(X.device))


def computed(X: torch.Tensor) -> torch.Tensor:
    """In the dtype that the ops compute in."""
    return X.to(_compute_dtype(X))


def _fixed(values: torch.Tensor) -> torch.Tensor:
    return (values * FIXED_SCALE).round().to(torch.int64)


def fixed_sums(values: torch.Tensor) -> Int64Array:
    """Sums (n_dims,) of the values in units of 2**-40, on the host."""
    return np.asarray(_fixed(values).sum(dim=0).cpu().numpy())


def _binned(norms: torch.Tensor, usable: torch.Tensor) -> torch.Tensor:
    """See `fixed.binned`: the mantissas of the usable norms, by exponent."""
    bits = torch.where(usable, norms, 1.0).to(torch.float32).view(torch.int32).to(torch.int64)
    mantissas = torch.where(usable, bits & 0x7FFFFF | 0x800000, 0)
    return torch.zeros(fixed.NORM_BINS, dtype=torch.int64, device=norms.device).index_add_(0, bits >> 23, mantissas)


def shaped_noise(root: torch.Tensor, row_numbers: torch.Tensor, seed: int) -> torch.Tensor:
    """``z @ root`` (n, n_dims) float64 of the rows with these numbers: see `c3align.ops._shaped`, whose bits it has."""
    largest = root.abs().sum(0).max()
    if _may_ask(root) and not bool(largest.isfinite()):
        raise C3AlignError("sigma holds NaN or infinity; pass finite values")
    exponent = (_shaped.ROOT_BITS - torch.frexp(largest).exponent).to(torch.int64).clamp(max=1000)
    integers = (root * _power_of_two(exponent)).round()
    out = torch.empty((len(row_numbers), root.shape[1]), dtype=torch.float64, device=root.device)
    for block in _blocks(out):
        z = _eager_math.normals(row_numbers[block], root.shape[0], seed)
        out[block] = (z * 2.0**_shaped.NORMAL_BITS).round().to(torch.float64) @ integers
    return out * _power_of_two(-exponent - _shaped.NORMAL_BITS)


def _power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """() float64; `pow` need not be exact."""
    return (exponent + 1023 << 52).view(torch.float64)


def _check(X: torch.Tensor) -> None:
    check_tensor(X, "X")
    check_shape_and_dtype(tuple(X.shape), dtype_name(X), "X")


def _compute_dtype(X: torch.Tensor) -> torch.dtype:
    return torch.float64 if X.dtype == torch.float64 else torch.float32


def _numpy_dtype(X: torch.Tensor) -> type[np.float32] | type[np.float64]:
    return np.float64 if X.dtype == torch.float64 else np.float32


def _empty_like(X: torch.Tensor) -> torch.Tensor:
    return torch.empty(X.shape, dtype=X.dtype, device=X.device)


def _blocks(X: torch.Tensor) -> Iterator[slice]:
    step = max(1, _BLOCK_ELEMENTS // X.shape[1])
    return (slice(start, start + step) for start in range(0, X.shape[0], step))


def column(vector: Any, X: torch.Tensor, name: str) -> torch.Tensor | None:
    """A vector (n_dims,) on the rows' device in their compute dtype; of one from the host all is checked here."""
    if vector is None:
        return None
    dtype = _compute_dtype(X)
    if isinstance(vector, torch.Tensor) and not vector.is_cpu:
        if vector.shape != (X.shape[1],):
            shape, n_dims = tuple(vector.shape), X.shape[1]
            raise C3AlignError(
                f"{name} has shape {shape} and the rows have {n_dims} dimensions; pass one value a column"
            )
        return vector.detach() if X.is_meta else vector.detach().to(X.device, dtype)
    return torch.tensor(as_vector(vector, X.shape[1], _numpy_dtype(X), name), device=X.device)


def _prepare(noise: NoiseRequest, X: torch.Tensor) -> Noise | None:
    """The noise with all that the host knows; the place of the rows in the stream may lie on the device."""
    noise.check_one_place()
    first = _first_row(noise.row_offset, X)
    ids = _row_ids(noise.row_ids, X)
    if X.is_meta:
        return None
    host: Any = noise if first is None else noise._replace(row_offset=0)
    known: Any = (host if ids is None else host._replace(row_ids=None)).prepare(*X.shape, _numpy_dtype(X))
    columns, direction = (None if v is None else torch.tensor(v, device=X.device) for v in known[1:3])
    ids = known.row_ids if ids is None else ids
    numbers = numbers_of(ids, known.row_offset if first is None else first, X.shape[0], X.device)
    return Noise(known.sigma, columns, direction, known.radius, known.random_strength, known.seed, numbers)


def _first_row(row_offset: Any, X: torch.Tensor) -> torch.Tensor | None:
    if not is_device_scalar(row_offset):
        return None
    if row_offset.dtype != torch.int64 or row_offset.device != X.device:
        raise C3AlignError("row_offset is a tensor, but not an int64 on X's device; pass one, or an int")
    return torch.as_tensor(row_offset)


def _row_ids(row_ids: Any, X: torch.Tensor) -> torch.Tensor | None:
    """Those that lie on the device; signed ones are looked at with the status."""
    if not is_device_scalar(row_ids):
        return None
    check_row_numbers(tuple(row_ids.shape), dtype_name(row_ids), X.shape[0])
    return torch.as_tensor(row_ids.detach())


def numbers_of(row_ids: Any, first: Any, n_rows: int, device: torch.device) -> torch.Tensor:
    """Numbers of rows in the noise, (n_rows,) int64 of which the upper half of 64 bits is negative."""
    if row_ids is None:
        return row_numbers(n_rows, first, device)
    if isinstance(row_ids, np.ndarray):
        return torch.tensor(row_ids.view(np.int64), device=device)
    ids = row_ids.to(device)
    return ids.view(torch.int64) if ids.dtype == torch.uint64 else ids.to(torch.int64)


def row_numbers(n_rows: int, first: Any, device: torch.device) -> torch.Tensor:
    """(n_rows,) int64 from `first` on, a tensor or a number in [0, 2**64), whose upper half wraps."""
    if not isinstance(first, torch.Tensor) and first >= 2**63:
        first -= 2**64
    return torch.arange(n_rows, dtype=torch.int64, device=device) + first


def _may_ask(X: torch.Tensor) -> bool:
    """Whether the device may be waited for: not while a CUDA graph is recorded."""
    return not (X.is_cuda and torch.cuda.is_current_stream_capturing())


def _refuse(X: torch.Tensor, status: torch.Tensor, inputs: dict[str, Any], zero_rows: str, first_row: int = 0) -> None:
    """Raise for vectors, numbers of rows and rows that are unusable; one wait where all are well."""
    wrong = {name: _is_wrong(tensor) for name, tensor in inputs.items() if tensor is not None}
    if not bool(torch.stack([status.any(), *wrong.values()]).any()):
        return
    for name, flag in wrong.items():
        if bool(flag):
            if name == "row_ids":
                raise_for_negative()
            raise C3AlignError(f"{name} holds NaN or infinity; pass finite values")
    _checks.refuse("X", X.shape[0], zero_rows, _found(X, status, first_row))


def _is_wrong(tensor: torch.Tensor) -> torch.Tensor:
    """() bool: of a vector, not finite; of numbers of rows, below 0."""
    if tensor.is_floating_point():
        return ~tensor.isfinite().all()
    return (tensor < 0).any() if tensor.dtype.is_signed else torch.zeros((), dtype=torch.bool, device=tensor.device)


def _found(X: torch.Tensor, status: torch.Tensor, first_row: int) -> dict[int, tuple[int, int]]:
    """How many rows of each kind, and the first of them, counted on the device; see `_checks.status`."""
    non_finite, huge = torch.zeros((2, X.shape[0]), dtype=torch.bool, device=X.device)
    for block in _blocks(X):
        non_finite[block] = ~X[block].isfinite().all(dim=1)
        huge[block] = (X[block].abs() > 1).any(dim=1)
    seen = slice(first_row, first_row + len(status))
    kinds = {BAD_NORM: status == BAD_NORM, AT_MEAN: status == AT_MEAN, _checks.HUGE: (status == BAD_NORM) & huge[seen]}
    found = {kind: _count(flags, first_row) for kind, flags in kinds.items()}
    if bool(non_finite[seen].any()):
        found[_checks.NON_FINITE] = _count(non_finite, 0)
    return {kind: counted for kind, counted in found.items() if counted[0]}


def _count(flags: torch.Tensor, first_row: int) -> tuple[int, int]:
    return int(flags.sum()), first_row + int(flags.to(torch.int32).argmax())


def _checked_out(out: Any, X: torch.Tensor) -> torch.Tensor:
    if not isinstance(out, torch.Tensor) or out.dtype != X.dtype or out.shape != X.shape:
        raise C3AlignError(
            f"out is {dtype_name(out)} {tuple(out.shape)} and X is {dtype_name(X)} {tuple(X.shape)}; "
            "pass an out of X's type, dtype and shape"
        )
    if out.device != X.device:
        raise C3AlignError(f"out is on {out.device} and X on {X.device}; pass an out on X's device")
    if _checks.overlaps_itself(out.shape, out.stride()):
        raise C3AlignError("out is read-only or repeats its elements; pass an array of its own memory")
    (first, last), (first_of_X, last_of_X) = _extent(out), _extent(X)
    is_X = first == first_of_X and out.stride() == X.stride()
    if not X.is_meta and not is_X and first < last_of_X and first_of_X < last:
        raise C3AlignError("out overlaps X; pass X itself or an array of other memory")
    return out


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Where its memory begins, and the first address behind it."""
    steps = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride())) if tensor.numel() else -1
    start = 0 if tensor.is_meta else tensor.data_ptr()
    return start, start + (steps + 1) * tensor.element_size()


def invert_center(aligned: torch.Tensor, mean: Any, size: float, *, renormalized: bool) -> torch.Tensor:
    """See `c3align.mappings.invert_center`."""
    there = torch.as_tensor(mean).to(aligned.device, aligned.dtype)
    return _eager_math.invert_center(aligned, there, size, renormalized=renormalized)
