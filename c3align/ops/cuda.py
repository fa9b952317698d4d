"""The CUDA kernels: tensors on a device in, tensors on that device out, on the caller's stream.

Launches neither wait nor allocate beyond the result. What the kernels say of each row (P5) has to reach the host
before an error can be raised, so a call waits for its verdict; while a CUDA graph is recorded none is asked for, and
rows without a direction come out as zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from c3align._typing import Int64Array
from c3align.errors import C3AlignError
from c3align.ops import _C, _checks, fixed  # type: ignore[attr-defined]
from c3align.ops._noise import NoiseRequest, check_row_numbers, is_device_scalar, raise_for_negative
from c3align.ops._rows import as_rows, check_shape_and_dtype, check_tensor, dtype_name
from c3align.ops.reference import NO_NOISE, Noise

__all__ = ["moments", "philox_normal", "transform"]

_CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
_VECTORS = ("mean", "scale", "shift")
Inputs = dict[str, "torch.Tensor | None"]
_ROWS_PER_BLOCK = 1 << 22  # an int64 holds the fixed-point sum of this many unit rows


def transform(
    X: torch.Tensor,
    vectors: dict[str, Any],
    noise: NoiseRequest | None,
    *,
    zero_rows: str,
    out: torch.Tensor | None,
    renormalize: bool,
    overwrite_out: bool = False,
) -> torch.Tensor:
    """See `c3align.ops.align` and `corrupt`; what of the noise lies on the device is read at each replay of a graph."""
    _check(X)
    inputs, prepared = _inputs(vectors, noise, X)
    target = torch.empty(X.shape, dtype=X.dtype, device=X.device) if out is None else _checked_out(out, X)
    asks = not torch.cuda.is_current_stream_capturing()
    is_shared = out is not None and _takes_apart(inputs, target, X)
    looks_first = out is not None and asks and (is_shared or not overwrite_out)
    if asks and (looks_first or not renormalize or not len(X)):
        _raise_for_inputs(inputs)
    if looks_first:  # a refused batch must leave what was given as it was
        _raise_for(X, _launch(X, None, inputs, prepared, renormalize), zero_rows)
    status = _launch(X, target, inputs, prepared, renormalize)
    if asks and not looks_first and _is_any_wrong(status, inputs):  # the one wait
        _raise_for_inputs(inputs)  # of vectors that are not finite no row keeps a length
        _raise_for(X, status, zero_rows)
    return target


def _launch(
    X: torch.Tensor, target: torch.Tensor | None, inputs: Inputs, noise: Noise, renormalize: bool
) -> torch.Tensor:
    """What is wrong with each row, (n_rows,) uint8 on the device, once the kernel that is queued here has run.

    Without a target nothing else is written.
    """
    status = torch.empty(X.shape[0], dtype=torch.uint8, device=X.device)
    at = {name: 0 if tensor is None else tensor.data_ptr() for name, tensor in inputs.items()}
    numbers = noise.sigma, at["columns"], at["direction"], *noise[3:7], at["row_ids"], at["first_row"]
    with torch.cuda.device(X.device):
        where = at["mean"], at["scale"], at["shift"], renormalize, status.data_ptr(), _queue()
        _C.cuda_transform(_describe(X), None if target is None else _describe(target), *where, *numbers)
    return status


def moments(X: torch.Tensor, zero_rows: str) -> tuple[int, int, Int64Array, Int64Array, Int64Array]:
    """See `c3align.ops.moments`; the sums come back to the host."""
    _check(X)
    n_dims = X.shape[1]
    sums, squares = np.zeros((2, n_dims), np.int64), np.zeros((2, n_dims), np.int64)
    bins, n_kept = np.zeros(fixed.NORM_BINS, np.int64), 0
    for start in range(0, X.shape[0], _ROWS_PER_BLOCK):
        totals, status = _block_moments(X[start : start + _ROWS_PER_BLOCK])
        _raise_for(X, status, zero_rows, start)
        block_sums, block_squares, block_bins, kept = np.split(totals, [n_dims, 2 * n_dims, len(totals) - 1])
        sums, squares = fixed.add(sums, fixed.widen(block_sums)), fixed.add(squares, fixed.widen(block_squares))
        bins, n_kept = bins + block_bins, n_kept + int(kept[0])
    return n_kept, X.shape[0] - n_kept, sums, squares, bins


def _block_moments(block: torch.Tensor) -> tuple[Int64Array, torch.Tensor]:
    """Sums, sums of squares, binned norms and the number of usable rows, one after another; and the status."""
    totals = torch.zeros(2 * block.shape[1] + fixed.NORM_BINS + 1, dtype=torch.int64, device=block.device)
    status = torch.empty(block.shape[0], dtype=torch.uint8, device=block.device)
    with torch.cuda.device(block.device):
        _C.cuda_moments(_describe(block), totals.data_ptr(), status.data_ptr(), _queue())
    return totals.cpu().numpy(), status


def philox_normal(
    n_rows: int, n_dims: int, *, seed: int, row_offset: int = 0, device: torch.device | str = "cuda"
) -> torch.Tensor:
    """See `c3align.ops.philox_normal`; (n_rows, n_dims) float32 on `device`."""
    out = torch.empty((n_rows, n_dims), dtype=torch.float32, device=device)
    with torch.cuda.device(out.device):
        _C.cuda_normals(out.data_ptr(), n_rows, n_dims, seed, row_offset, _queue())
    return out


def _check(X: torch.Tensor) -> None:
    check_tensor(X, "X")
    check_shape_and_dtype(tuple(X.shape), dtype_name(X), "X")
    if X.shape[1] > _C.max_cuda_dims:
        raise C3AlignError(f"X has {X.shape[1]} dimensions, the CUDA kernels take {_C.max_cuda_dims}; pass X.cpu()")


def _inputs(vectors: dict[str, Any], noise: NoiseRequest | None, X: torch.Tensor) -> tuple[Inputs, Noise]:
    """All that the kernel reads beside X, on its device; and the noise with all that the host knows."""
    inputs: Inputs = {name: _column(vectors.get(name), X, name) for name in _VECTORS}
    inputs.update(dict.fromkeys(("columns", "direction", "row_ids", "first_row")))
    if noise is None:
        return inputs, NO_NOISE
    noise.check_one_place()
    if is_device_scalar(noise.row_offset):
        inputs["first_row"], noise = _first_row(noise.row_offset, X), noise._replace(row_offset=0)
    if is_device_scalar(noise.row_ids):
        inputs["row_ids"], noise = _row_ids(noise.row_ids, X), noise._replace(row_ids=None)
    prepared = noise.prepare(X.shape[0], X.shape[1], np.float64 if X.dtype == torch.float64 else np.float32)
    inputs.update({name: _column(getattr(prepared, name), X, "noise") for name in ("columns", "direction")})
    if prepared.row_ids is not None:
        inputs["row_ids"] = torch.from_numpy(prepared.row_ids).to(X.device)
    return inputs, prepared


def _first_row(row_offset: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    if row_offset.dtype != torch.int64 or row_offset.device != X.device:
        raise C3AlignError("row_offset is a tensor, but not an int64 on X's device; pass one, or an int")
    return row_offset


def _row_ids(row_ids: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    """64 bits a number; those of a signed dtype are looked at with the status."""
    check_row_numbers(tuple(row_ids.shape), dtype_name(row_ids), X.shape[0])
    dtype = torch.uint64 if row_ids.dtype == torch.uint64 else torch.int64
    return row_ids.detach().to(X.device, dtype).contiguous()


def _queue() -> int:
    return int(torch.cuda.current_stream().cuda_stream)


def _describe(X: torch.Tensor) -> tuple[int, int, int, int, int, int]:
    return X.data_ptr(), _CODES[dtype_name(X)], X.shape[0], X.shape[1], X.stride(0), X.stride(1)


def _column(vector: Any, X: torch.Tensor, name: str) -> torch.Tensor | None:
    """A vector (n_dims,) on the rows' device in their compute dtype."""
    if vector is None:
        return None
    dtype = torch.float64 if X.dtype == torch.float64 else torch.float32
    column = torch.as_tensor(vector).detach().to(X.device, dtype).contiguous()
    if column.shape != (X.shape[1],):
        raise C3AlignError(
            f"{name} has shape {tuple(column.shape)} and the rows have {X.shape[1]} dimensions; pass one value a column"
        )
    return column


def _checked_out(out: Any, X: torch.Tensor) -> torch.Tensor:
    fits = isinstance(out, torch.Tensor) and out.shape == X.shape and out.dtype == X.dtype and out.device == X.device
    if not fits:
        raise C3AlignError("out differs from X in shape, dtype or device; pass a tensor like X")
    if _checks.overlaps_itself(out.shape, out.stride()):
        raise C3AlignError("out repeats its elements; pass a tensor of its own memory")
    is_X = out.data_ptr() == X.data_ptr() and out.stride() == X.stride()
    if not is_X and _share_memory(out, X):
        raise C3AlignError("out overlaps X; pass X itself or a tensor of other memory")
    return out


def _takes_apart(inputs: Inputs, target: torch.Tensor, X: torch.Tensor) -> bool:
    """Copy the inputs that share memory with the target; whether any does, or X."""
    shared = {name: tensor for name, tensor in inputs.items() if tensor is not None and _share_memory(tensor, target)}
    inputs.update({name: tensor.clone() for name, tensor in shared.items()})
    return bool(shared) or _share_memory(X, target)


def _share_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    (first, last), (first_of_b, last_of_b) = _extent(a), _extent(b)
    return first < last_of_b and first_of_b < last


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Where its memory begins, and the first address behind it."""
    steps = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride())) if tensor.numel() else -1
    return tensor.data_ptr(), tensor.data_ptr() + (steps + 1) * tensor.element_size()


def _is_any_wrong(status: torch.Tensor, inputs: Inputs) -> bool:
    wrong, row_ids = status.any(), inputs["row_ids"]
    return bool(wrong | (row_ids < 0).any() if row_ids is not None and row_ids.dtype.is_signed else wrong)


def _raise_for_inputs(inputs: Inputs) -> None:
    for name in _VECTORS:
        column = inputs[name]
        if column is not None and not bool(column.isfinite().all()):
            raise C3AlignError(f"{name} holds NaN or infinity; pass finite values")
    row_ids = inputs["row_ids"]
    if row_ids is not None and row_ids.dtype.is_signed and bool((row_ids < 0).any()):
        raise_for_negative()


def _raise_for(X: torch.Tensor, status: torch.Tensor, zero_rows: str, first_row: int = 0) -> None:
    if bool(status.any()):
        _checks.status(as_rows(X), status.cpu().numpy(), zero_rows, first_row)
