"""What the device backends share: tensors in, tensors on the same device out, and checks that keep the rows there.

Rows are never copied to the host: it learns whether any are unusable, how many and which first, and the sums of
`moments`. Vectors (n_dims,) are uploaded, and those that shape noise may be downloaded to be checked and summed. While
a CUDA graph is recorded nothing is checked, and rows without a direction come out as zeros. The `meta` device holds
shapes only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from c3align._typing import Int64Array
from c3align.errors import C3AlignError
from c3align.ops import _checks, deferred, fixed
from c3align.ops.arrays import as_vector, check_shape_and_dtype, check_tensor, dtype_name
from c3align.ops.fixed import ROWS_PER_BLOCK
from c3align.ops.reference import AT_MEAN, BAD_NORM
from c3align.ops.rowmap import (
    MOST_GOAL,
    NO_NOISE,
    Noise,
    NoiseRequest,
    Request,
    RowMap,
    check_goal,
    check_row_numbers,
    raise_for_negative,
)

__all__ = ["compute_dtype", "kinds_of", "may_ask", "moments", "on_device", "transform", "vector_on"]

_VECTORS = ("mean", "scale", "shift", "goal")
_BLOCK_ELEMENTS = 1 << 22


def transform(
    backend: Any, X: torch.Tensor, request: Request, out: torch.Tensor | None, overwrite_out: bool
) -> torch.Tensor:
    """See `c3align.ops`; `backend.run` fills a tensor and says what is wrong with each row.

    A refused batch leaves `out` unchanged: results are computed elsewhere first.
    """
    _check(X, backend)
    target = torch.empty(X.shape, dtype=X.dtype, device=X.device) if out is None else _checked_out(out, X)
    row_map = on_device(request, X)
    if X.is_meta:
        return target
    asks = may_ask(X)
    row_map, is_shared = (row_map, False) if out is None else _apart(row_map, target, X)
    later = deferred.flag_for(X.device, request.zero_rows) if asks else None
    is_direct = out is None or not asks or later is not None or (overwrite_out and not is_shared)
    result = target if is_direct else torch.empty_like(target)
    if later is not None:
        backend.run(X, result, row_map, later)
        later |= _more_bits(row_map)
    elif asks:
        _refuse(X, *_run(backend, X, result, row_map), row_map, request.zero_rows)
    else:
        backend.run(X, result, row_map)
    return target if is_direct else target.copy_(result)


def _run(backend: Any, X: torch.Tensor, out: torch.Tensor, row_map: RowMap) -> tuple[torch.Tensor, torch.Tensor]:
    """The status of each row, and one number () that is 0 where all are usable: bits, where the backend knows them."""
    if not backend.KNOWS_KINDS:
        status = backend.run(X, out, row_map)
        return status, status.any() * (deferred.SMALL | deferred.UNUSABLE | deferred.AT_MEAN_FLAG)
    flag = torch.zeros((), dtype=torch.int32, device=X.device)
    return backend.run(X, out, row_map, flag), flag


def moments(
    backend: Any, X: torch.Tensor, zero_rows: str | None
) -> tuple[int, int, Int64Array, Int64Array, Int64Array]:
    """See `c3align.ops.moments`; the sums come back to the host. With None for `zero_rows` no row is refused."""
    _check(X, backend)
    if X.is_meta:
        raise C3AlignError("X is on the meta device, which holds no values to sum; pass a tensor on another device")
    n_dims = X.shape[1]
    sums, squares = np.zeros((2, n_dims), np.int64), np.zeros((2, n_dims), np.int64)
    bins, n_kept = np.zeros(fixed.NORM_BINS, np.int64), 0
    for start in range(0, X.shape[0], ROWS_PER_BLOCK):
        on_device, status = backend.summed(X[start : start + ROWS_PER_BLOCK])
        totals = on_device.cpu().numpy()
        if zero_rows is not None and int(totals[-1]) < len(status):
            _checks.refuse("X", X.shape[0], zero_rows, _found(X, status, start))
        block_sums, block_squares, block_bins, kept = np.split(totals, [n_dims, 2 * n_dims, len(totals) - 1])
        sums, squares = fixed.add(sums, fixed.widen(block_sums)), fixed.add(squares, fixed.widen(block_squares))
        bins, n_kept = bins + block_bins, n_kept + int(kept[0])
    return n_kept, X.shape[0] - n_kept, sums, squares, bins


def compute_dtype(X: torch.Tensor) -> torch.dtype:
    """The dtype in which rows of X's dtype are computed."""
    return torch.float64 if X.dtype == torch.float64 else torch.float32


def _numpy_dtype(X: torch.Tensor) -> type[np.float32] | type[np.float64]:
    return np.float64 if X.dtype == torch.float64 else np.float32


def _check(X: torch.Tensor, backend: Any) -> None:
    check_tensor(X, "X")
    check_shape_and_dtype(tuple(X.shape), dtype_name(X), "X")
    if X.shape[1] > backend.MAX_DIMS:
        raise C3AlignError(f"X has {X.shape[1]} dimensions, its backend takes {backend.MAX_DIMS}; pass X.cpu()")


def vector_on(vector: Any, X: torch.Tensor, name: str) -> torch.Tensor | None:
    """A vector (n_dims,) on the rows' device in their compute dtype; one from the host is checked fully here."""
    if vector is None:
        return None
    if not isinstance(vector, torch.Tensor) or vector.is_cpu:
        return torch.tensor(as_vector(vector, X.shape[1], _numpy_dtype(X), name), device=X.device)
    if vector.shape != (X.shape[1],):
        raise C3AlignError(
            f"{name} has shape {tuple(vector.shape)} and the rows have {X.shape[1]} dimensions; pass one value a column"
        )
    return vector.detach() if X.is_meta else vector.detach().to(X.device, compute_dtype(X)).contiguous()


def on_device(request: Request, X: torch.Tensor) -> RowMap:
    """The request with its vectors on the rows' device."""
    mean, scale, shift, goal = (vector_on(getattr(request, name), X, name) for name in _VECTORS)
    noise = NO_NOISE if request.noise is None else _noise_on(request.noise, X)
    return RowMap(mean, scale, shift, noise, request.renormalize, request.is_raw, goal, request.checked_norm())


def _noise_on(asked: NoiseRequest, X: torch.Tensor) -> Noise:
    """The noise with all that the host knows; the rows' place in the stream may be known to the device only."""
    asked.check_one_place()
    first_row = row_ids = None
    if is_device_scalar(asked.row_offset):
        first_row, asked = _first_row(asked.row_offset, X), asked._replace(row_offset=0)
    if is_device_scalar(asked.row_ids):
        row_ids, asked = _row_ids(asked.row_ids, X), asked._replace(row_ids=None)
    if X.is_meta:
        return NO_NOISE
    noise = asked.prepare(X.shape[0], X.shape[1], _numpy_dtype(X))
    columns, direction = (None if v is None else torch.tensor(v, device=X.device) for v in noise[1:3])
    if noise.row_ids is not None:
        row_ids = torch.from_numpy(noise.row_ids).to(X.device)
    return noise._replace(columns=columns, direction=direction, row_ids=row_ids, first_row=first_row)


def is_device_scalar(number: Any) -> bool:
    """Whether a number lies on a device, where reading it would make the host wait."""
    return isinstance(number, torch.Tensor) and not number.is_cpu


def _first_row(row_offset: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    if row_offset.dtype != torch.int64 or row_offset.device != X.device:
        raise C3AlignError("row_offset is a tensor, but not an int64 on X's device; pass one, or an int")
    return row_offset


def _row_ids(row_ids: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    """64 bits per number; negative ones of a signed dtype are found along with the status."""
    check_row_numbers(tuple(row_ids.shape), dtype_name(row_ids), X.shape[0])
    dtype = torch.uint64 if row_ids.dtype == torch.uint64 else torch.int64
    return row_ids.detach().to(X.device, dtype).contiguous()


def may_ask(X: torch.Tensor) -> bool:
    """Whether the device may be waited for: not while a CUDA graph is recorded."""
    return not (X.is_cuda and torch.cuda.is_current_stream_capturing())


def kinds_of(X: torch.Tensor, status: torch.Tensor) -> torch.Tensor:
    """What is wrong with any row, () int32 of the bits in `deferred`, where a backend knows their status alone."""
    is_bad = status == BAD_NORM
    is_unusable = is_bad & ~(X.abs() <= 1).all(dim=1)  # for NaN too
    found = {deferred.UNUSABLE: is_unusable, deferred.SMALL: is_bad & ~is_unusable}
    found[deferred.AT_MEAN_FLAG] = status == AT_MEAN
    return sum(flags.any().to(torch.int32) * bit for bit, flags in found.items())  # type: ignore[return-value]


def _more_bits(row_map: RowMap) -> torch.Tensor | int:
    """What is wrong beside the rows, () int32 of the bits in `deferred`."""
    negative, vectors = _negative(row_map), [getattr(row_map, name) for name in _VECTORS]
    bits: Any = 0 if negative is None else negative.to(torch.int32) * deferred.NEGATIVE
    for vector in vectors:
        if vector is not None:
            bits = bits | (~vector.isfinite().all()).to(torch.int32) * deferred.VECTOR
    if row_map.goal is not None:
        is_beyond = torch.linalg.vector_norm(row_map.goal) > MOST_GOAL
        bits = bits | is_beyond.to(torch.int32) * deferred.VECTOR
    return bits


def _negative(row_map: RowMap) -> torch.Tensor | None:
    ids = row_map.noise.row_ids
    return (ids < 0).any() if ids is not None and ids.dtype.is_signed else None


def _refuse(X: torch.Tensor, status: torch.Tensor, flag: torch.Tensor, row_map: RowMap, zero_rows: str) -> None:
    """Raise for vectors, numbers of rows and rows that are unusable; one wait where all are usable."""
    negative = _negative(row_map)
    bits = int(flag if negative is None else flag | negative * deferred.NEGATIVE)
    # of vectors that are not finite no row keeps a length, unless none is asked for
    if row_map.renormalize and row_map.goal is None and len(X) and not bits:
        return
    for name in _VECTORS:
        vector = getattr(row_map, name)
        if vector is not None and not bool(vector.isfinite().all()):
            raise C3AlignError(f"{name} holds NaN or infinity; pass finite values")
    if row_map.goal is not None:
        check_goal(float(torch.linalg.vector_norm(row_map.goal)))
    if bits & deferred.NEGATIVE:
        raise_for_negative()
    if deferred.is_wrong(bits, zero_rows):
        _checks.refuse("X", X.shape[0], zero_rows, _found(X, status, 0))


def _found(X: torch.Tensor, status: torch.Tensor, first_row: int) -> dict[int, tuple[int, int]]:
    """How many rows of each kind, and the first of them, counted on the device; see `_checks.status`."""
    non_finite, huge = torch.zeros((2, X.shape[0]), dtype=torch.bool, device=X.device)
    step = max(1, _BLOCK_ELEMENTS // X.shape[1])
    for block in (slice(start, start + step) for start in range(0, X.shape[0], step)):
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
        raise C3AlignError("out is read-only or repeats its elements; pass an array with memory of its own")
    is_X = _extent(out) == _extent(X) and out.stride() == X.stride()
    if not X.is_meta and not is_X and _share_memory(out, X):
        raise C3AlignError("out overlaps X; pass X itself or an array with memory of its own")
    return out


def _apart(row_map: RowMap, target: torch.Tensor, X: torch.Tensor) -> tuple[RowMap, bool]:
    """The row map with copies of what shares memory with the target, and whether that or X does."""
    noise = row_map.noise
    vectors = {name: _copied(getattr(row_map, name), target) for name in _VECTORS}
    numbers = {name: _copied(getattr(noise, name), target) for name in ("row_ids", "first_row")}
    shared: dict[str, Any] = {name: copy for name, copy in vectors.items() if copy is not None}
    moved: dict[str, Any] = {name: copy for name, copy in numbers.items() if copy is not None}
    if moved:
        shared["noise"] = noise._replace(**moved)
    return row_map._replace(**shared), bool(shared) or _share_memory(X, target)


def _copied(tensor: torch.Tensor | None, target: torch.Tensor) -> torch.Tensor | None:
    return tensor.clone() if tensor is not None and _share_memory(tensor, target) else None


def _share_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    (first, last), (first_of_b, last_of_b) = _extent(a), _extent(b)
    return first < last_of_b and first_of_b < last


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Where its memory begins, and the first address behind it."""
    steps = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride())) if tensor.numel() else -1
    start = 0 if tensor.is_meta else tensor.data_ptr()
    return start, start + (steps + 1) * tensor.element_size()
