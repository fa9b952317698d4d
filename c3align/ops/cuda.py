"""The CUDA kernels: what `_device` asks of a backend, on the caller's stream. Launches neither wait nor allocate."""

from __future__ import annotations

from typing import Any

import torch

import c3align.ops._C as _C
from c3align.ops import fixed
from c3align.ops.arrays import dtype_name
from c3align.ops.rowmap import Request, RowMap

__all__ = ["KNOWS_KINDS", "MAX_DIMS", "philox_normal", "run", "serves", "summed"]

KNOWS_KINDS = True  # of what is wrong with rows, beside each row's status
MAX_DIMS: int = getattr(_C, "max_cuda_dims", 0)  # of a build without the kernels
_CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}


def serves(X: torch.Tensor, request: Request | None) -> bool:
    """Whether the kernels know rows so wide and this kind of request; the others go to torch's own operations."""
    is_known = request is None or (not request.is_raw and request.goal is None and request.norm == 1)
    return is_known and X.shape[-1] <= MAX_DIMS


def run(X: torch.Tensor, out: torch.Tensor, row_map: RowMap, flag: torch.Tensor | None = None) -> torch.Tensor:
    """What is wrong with each row, (n_rows,) uint8 on the device, once the kernel that is queued here has run.

    What is wrong with any is added to the bits of `flag`, () int32, of `_device.kinds_of`.
    """
    status = torch.empty(X.shape[0], dtype=torch.uint8, device=X.device)
    noise = _with_addresses(row_map.noise, "columns", "direction", "row_ids", "first_row")
    at = _with_addresses(row_map._replace(noise=noise), "mean", "scale", "shift")
    with torch.cuda.device(X.device):
        _C.cuda_transform(_describe(X), _describe(out), at, status.data_ptr(), _address(flag), _queue())
    return status


def summed(block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums, sums of squares, binned norms and the number of usable rows, concatenated; and the status."""
    totals = torch.zeros(2 * block.shape[1] + fixed.NORM_BINS + 1, dtype=torch.int64, device=block.device)
    status = torch.empty(block.shape[0], dtype=torch.uint8, device=block.device)
    with torch.cuda.device(block.device):
        _C.cuda_moments(_describe(block), totals.data_ptr(), status.data_ptr(), _queue())
    return totals, status


def philox_normal(
    n_rows: int, n_dims: int, *, seed: int, row_offset: int = 0, device: torch.device | str = "cuda"
) -> torch.Tensor:
    """See `c3align.ops.philox_normal`; (n_rows, n_dims) float32 on `device`."""
    out = torch.empty((n_rows, n_dims), dtype=torch.float32, device=device)
    with torch.cuda.device(out.device):
        _C.cuda_normals(out.data_ptr(), n_rows, n_dims, seed, row_offset, _queue())
    return out


def _queue() -> int:
    return int(torch.cuda.current_stream().cuda_stream)


def _with_addresses(value: Any, *names: str) -> Any:
    """The value with these tensors replaced by their addresses, which the binding takes."""
    return value._replace(**{name: _address(getattr(value, name)) for name in names})


def _address(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _describe(X: torch.Tensor) -> tuple[int, int, int, int, int, int]:
    return X.data_ptr(), _CODES[dtype_name(X)], X.shape[0], X.shape[1], X.stride(0), X.stride(1)
