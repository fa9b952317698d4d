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
from c3align.ops._noise import NoiseRequest, is_device_scalar
from c3align.ops._rows import as_rows, check_shape_and_dtype, check_tensor, dtype_name
from c3align.ops.reference import NO_NOISE, Noise

__all__ = ["moments", "philox_normal", "transform"]

_CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
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
    """See `c3align.ops.align` and `corrupt`; a `row_offset` on the device is read there, at each replay of a graph."""
    _check(X)
    columns = {name: _column(vectors.get(name), X, name) for name in ("mean", "scale", "shift")}
    first_row, prepared = _prepare(noise, X)
    target = torch.empty(X.shape, dtype=X.dtype, device=X.device) if out is None else _checked_out(out, X)
    asks = not torch.cuda.is_current_stream_capturing()
    in_place = out is not None and target.data_ptr() == X.data_ptr()
    if asks and (in_place or not renormalize or not len(X)):
        _raise_for_vectors(columns)
    if asks and in_place:
        moments(X, zero_rows)  # a refused batch must leave the input as it was
    status = _launch(X, target, columns, prepared, first_row, renormalize)
    if asks and bool(status.any()):  # the one wait; of vectors that are not finite no row keeps a length
        _raise_for_vectors(columns)
        _raise_for(X, status, zero_rows)
    return target


def _launch(
    X: torch.Tensor,
    target: torch.Tensor,
    columns: dict[str, torch.Tensor | None],
    noise: Noise,
    first_row: torch.Tensor | None,
    renormalize: bool,
) -> torch.Tensor:
    """What is wrong with each row, (n_rows,) uint8 on the device, once the kernel that is queued here has run."""
    status = torch.empty(X.shape[0], dtype=torch.uint8, device=X.device)
    shaping = [_column(vector, X, "noise") for vector in (noise.columns, noise.direction)]
    numbers = (noise.sigma, *map(_address, shaping), *noise[3:])
    with torch.cuda.device(X.device):
        where = (*map(_address, columns.values()), renormalize, status.data_ptr(), _queue())
        _C.cuda_transform(_describe(X), _describe(target), *where, *numbers, _address(first_row))
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


def _prepare(noise: NoiseRequest | None, X: torch.Tensor) -> tuple[torch.Tensor | None, Noise]:
    """A row offset that lies on the device, and the noise with all that the host knows."""
    if noise is None:
        return None, NO_NOISE
    first_row = noise.row_offset if is_device_scalar(noise.row_offset) else None
    if first_row is not None:
        if first_row.dtype != torch.int64 or first_row.device != X.device:
            raise C3AlignError("row_offset is a tensor, but not an int64 on X's device; pass one, or an int")
        noise = noise._replace(row_offset=0)
    return first_row, noise.prepare(X.shape[0], X.shape[1], np.float64 if X.dtype == torch.float64 else np.float32)


def _address(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


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
    if any(stride == 0 and n > 1 for stride, n in zip(out.stride(), out.shape)):
        raise C3AlignError("out repeats its elements; pass a tensor of its own memory")
    (first, last), (first_of_X, last_of_X) = _extent(out), _extent(X)
    is_X = first == first_of_X and out.stride() == X.stride()
    if not is_X and first < last_of_X and first_of_X < last:
        raise C3AlignError("out overlaps X; pass X itself or a tensor of other memory")
    return out


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Where its memory begins, and the first address behind it."""
    steps = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride())) if tensor.numel() else -1
    return tensor.data_ptr(), tensor.data_ptr() + (steps + 1) * tensor.element_size()


def _raise_for_vectors(columns: dict[str, torch.Tensor | None]) -> None:
    for name, column in columns.items():
        if column is not None and not bool(column.isfinite().all()):
            raise C3AlignError(f"{name} holds NaN or infinity; pass finite values")


def _raise_for(X: torch.Tensor, status: torch.Tensor, zero_rows: str, first_row: int = 0) -> None:
    if bool(status.any()):
        _checks.status(as_rows(X), status.cpu().numpy(), zero_rows, first_row)
