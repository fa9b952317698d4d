"""Rivals that run on a CUDA card alone: one fused Triton kernel, and CuPy with fused element-wise parts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch


def contestants(op: str, X: torch.Tensor, mean: torch.Tensor, out: torch.Tensor, sigma: float) -> dict[str, Any]:
    """Those of them that are installed, for "align" and "corrupt"."""
    found: dict[str, Callable[[], Any]] = {}
    if op not in ("align", "corrupt"):
        return found
    noise = sigma if op == "corrupt" else 0.0
    if importlib.util.find_spec("triton"):
        found["triton"] = triton_rows(X, mean.float(), out, noise)
    if importlib.util.find_spec("cupy") and X.dtype != torch.bfloat16:
        found["cupy"] = cupy_rows(X, mean, noise)
    return found


def triton_rows(X: torch.Tensor, mean: torch.Tensor, out: torch.Tensor, sigma: float) -> Callable[[], Any]:
    """One program a row, float32 sums, fast square roots, Triton's own normals: no promise on bits."""
    import triton
    import triton.language as tl

    @triton.jit
    def kernel(x_ptr, mean_ptr, out_ptr, n_dims, seed, SIGMA: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        row = tl.program_id(0).to(tl.int64)
        j = tl.arange(0, BLOCK)
        inside = j < n_dims
        x = tl.load(x_ptr + row * n_dims + j, mask=inside, other=0.0).to(tl.float32)
        u = x / tl.sqrt(tl.sum(x * x)) - tl.load(mean_ptr + j, mask=inside, other=0.0)
        if SIGMA > 0:
            u += SIGMA * tl.randn(seed, row * n_dims + j)
        u = tl.where(inside, u, 0.0)
        u = u / tl.sqrt(tl.sum(u * u))
        tl.store(out_ptr + row * n_dims + j, u.to(out_ptr.dtype.element_ty), mask=inside)

    n_rows, n_dims = X.shape
    block = triton.next_power_of_2(n_dims)
    return lambda: kernel[(n_rows,)](X, mean, out, n_dims, 1, SIGMA=sigma, BLOCK=block, num_warps=4)


def cupy_rows(X: torch.Tensor, mean: torch.Tensor, sigma: float) -> Callable[[], Any]:
    import cupy

    rows, center = cupy.from_dlpack(X), cupy.from_dlpack(mean.to(X.dtype))

    @cupy.fuse()
    def centred(x, norm, m):  # type: ignore[no-untyped-def]
        return x / norm - m

    def norm(x):  # type: ignore[no-untyped-def]
        return cupy.sqrt((x * x).sum(axis=1, keepdims=True))

    def call() -> Any:
        u = centred(rows, norm(rows), center)
        if sigma:
            u += cupy.float32(sigma) * cupy.random.standard_normal(u.shape, dtype=cupy.float32)
        return u / norm(u)

    return call
