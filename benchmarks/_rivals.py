"""What `throughput.py` lets run against each other: ours, the floors, and others at their best."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import _gpu_rivals
import numpy as np
import torch

from c3align import ops

FLOORS = ("copy", "read", "numpy copy", "torch copy")
SIGMA = 0.1
BLOCK_BYTES = 1 << 18  # half of a usual L2


class Case:
    """Rows of one size and dtype, with outputs that are allocated and warm."""

    def __init__(self, *, device: str, rows: int, dims: int, dtype: str, threads: int, compile: bool) -> None:
        generator = np.random.default_rng(0)
        host = torch.from_numpy(generator.standard_normal((rows, dims), dtype=np.float32))
        self.tensor = host.to(device=device, dtype=getattr(torch, dtype))
        self.out = torch.zeros_like(self.tensor)
        wide = torch.float64 if dtype == "float64" else torch.float32
        self.mean = torch.from_numpy(generator.standard_normal(dims) / dims).to(device=device, dtype=wide)
        self.as_numpy = device == "cpu" and dtype != "bfloat16"
        self.compile = compile
        self.device = device
        if device == "cuda":
            os.environ["C3ALIGN_BACKEND"] = "native"
        if self.as_numpy:
            self.rows, self.target, self.center = (t.numpy() for t in (self.tensor, self.out, self.mean))

    def n_bytes(self, op: str) -> int:
        """Useful bytes: what has to be read and written once."""
        size = self.tensor.numel() * self.tensor.element_size()
        return {"moments": size, "philox_normal": self.tensor.numel() * 4}.get(op, 2 * size)

    def contestants(self, op: str) -> dict[str, Callable[[], Any]]:
        found: dict[str, Callable[[], Any]] = {"c3align": self.ours(op), **self.floors(op)}
        if self.as_numpy:
            found |= getattr(self, f"numpy_{op}")()
        found |= self.torch_rivals(op)
        if self.device == "cuda":
            found |= self.recorded(op) | _gpu_rivals.contestants(op, self.tensor, self.mean, self.out, SIGMA)
        return found

    def recorded(self, op: str) -> dict[str, Callable[[], Any]]:
        """Ours in a CUDA graph, where no call waits for its verdict."""
        if op not in ("align", "corrupt"):
            return {}
        call, graph = self.ours(op), torch.cuda.CUDAGraph()
        call()
        with torch.cuda.graph(graph):
            call()
        return {"c3align, in a graph": graph.replay}

    def ours(self, op: str) -> Callable[[], Any]:
        X, out, mean = (self.rows, self.target, self.center) if self.as_numpy else (self.tensor, self.out, self.mean)
        if op == "align":
            return lambda: ops.align(X, mean, out=out, overwrite_out=True)
        if op == "corrupt":
            return lambda: ops.corrupt(X, mean, sigma=SIGMA, seed=1, out=out, overwrite_out=True)
        if op == "moments":
            return lambda: ops.moments(X)
        if self.device == "cuda":
            from c3align.ops import cuda

            return lambda: cuda.philox_normal(*X.shape, seed=1)
        return lambda: ops.philox_normal(*X.shape, seed=1)

    def floors(self, op: str) -> dict[str, Callable[[], Any]]:
        if op == "moments":
            flat = self.tensor.reshape(-1)
            return {"read": lambda: torch.dot(flat, flat)}
        if self.device == "cuda" or not self.as_numpy:
            return {"torch copy": lambda: self.out.copy_(self.tensor)}
        found = {"numpy copy": lambda: np.copyto(self.target, self.rows)}
        if ops.backend() == "native":
            from c3align.ops import native

            found["copy"] = lambda: native.copy(self.rows, self.target)
        return found

    def numpy_align(self) -> dict[str, Callable[[], Any]]:
        numba = _numba_align()
        mean = self.center.astype(self.rows.dtype)
        fused = {"numba": lambda: numba(self.rows, mean, self.target)} if numba else {}
        return fused | {
            "numpy": lambda: _plain(self.rows, self.center, None),
            "numpy, blocked": lambda: self.blocked(None),
            "scikit-learn": _sklearn(self.rows),
        }

    def numpy_corrupt(self) -> dict[str, Callable[[], Any]]:
        generator = np.random.Generator(np.random.SFC64(0))  # its fastest
        return {
            "numpy": lambda: _plain(self.rows, self.center, generator),
            "numpy, blocked": lambda: self.blocked(generator),
        }

    def numpy_moments(self) -> dict[str, Callable[[], Any]]:
        return {"numpy, blocked": self.blocked_moments}

    def numpy_philox_normal(self) -> dict[str, Callable[[], Any]]:
        generator = np.random.Generator(np.random.SFC64(0))
        out = np.empty(self.rows.shape, np.float32)
        return {"numpy SFC64": lambda: generator.standard_normal(out.shape, dtype=np.float32, out=out)}

    def blocks(self) -> range:
        return range(0, len(self.rows), max(1, BLOCK_BYTES // self.rows[0].nbytes))

    def blocked(self, generator: Any) -> None:
        """In place, in blocks that stay in L2."""
        step = max(1, BLOCK_BYTES // self.rows[0].nbytes)
        noise = np.empty((step, self.rows.shape[1]), np.float32)
        for start in self.blocks():
            block = self.target[start : start + step]
            _divide(self.rows[start : start + step], block)
            block -= self.center
            if generator is not None:
                z = noise[: len(block)]
                generator.standard_normal(z.shape, dtype=np.float32, out=z)
                z *= SIGMA
                block += z
            _divide(block, block)

    def blocked_moments(self) -> None:
        step = max(1, BLOCK_BYTES // self.rows[0].nbytes)
        scratch = np.empty((step, self.rows.shape[1]), self.rows.dtype)
        sums, squares = np.zeros((2, self.rows.shape[1]))
        for start in self.blocks():
            rows = self.rows[start : start + step]
            unit = scratch[: len(rows)]
            _divide(rows, unit)
            sums += unit.sum(axis=0, dtype=np.float64)
            squares += np.einsum("ij,ij->j", unit, unit)

    def torch_rivals(self, op: str) -> dict[str, Callable[[], Any]]:
        X, mean = self.tensor, self.mean.to(self.tensor.dtype)
        chains = {
            "align": lambda: _torch_align(X, mean),
            "corrupt": lambda: _torch_corrupt(X, mean),
            "moments": lambda: _torch_moments(X),
            "philox_normal": lambda: torch.randn(X.shape, device=X.device),
        }
        found = {"torch eager": chains[op]}
        if self.compile and op in ("align", "corrupt"):
            compiled = torch.compile(_torch_align if op == "align" else _torch_corrupt)
            found["torch.compile"] = lambda: compiled(X, mean)
        return found


def set_numba_threads(n: int) -> None:
    if importlib.util.find_spec("numba"):
        import numba

        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))


@functools.cache
def _numba_align() -> Any:
    """One fused loop, all rows in parallel, any order of addition allowed; None where numba is not installed."""
    if not importlib.util.find_spec("numba"):
        return None
    import numba

    @numba.njit(parallel=True, fastmath=True)
    def align(rows, mean, out):  # type: ignore[no-untyped-def]
        for i in numba.prange(rows.shape[0]):
            total = np.float32(0)
            for j in range(rows.shape[1]):
                total += rows[i, j] * rows[i, j]
            factor = np.float32(1) / np.sqrt(total)
            total = np.float32(0)
            for j in range(rows.shape[1]):
                value = rows[i, j] * factor - mean[j]
                out[i, j] = value
                total += value * value
            factor = np.float32(1) / np.sqrt(total)
            for j in range(rows.shape[1]):
                out[i, j] *= factor

    return align


def _divide(rows: np.ndarray, out: np.ndarray) -> None:
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    np.multiply(rows, (1 / norms)[:, None], out=out)


def _plain(rows: np.ndarray, mean: np.ndarray, generator: Any) -> np.ndarray:
    """As people write it."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    unit = unit - mean
    if generator is not None:
        unit = unit + SIGMA * generator.standard_normal(unit.shape, dtype=np.float32)
    return unit / np.linalg.norm(unit, axis=1, keepdims=True)


def _sklearn(rows: np.ndarray) -> Callable[[], Any]:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    pipeline = make_pipeline(Normalizer(), StandardScaler(with_std=False), Normalizer()).fit(rows[:4096])
    return lambda: pipeline.transform(rows)


def _torch_align(X: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    normalize = torch.nn.functional.normalize
    return normalize(normalize(X, dim=1) - mean, dim=1)


def _torch_corrupt(X: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    normalize = torch.nn.functional.normalize
    return normalize(normalize(X, dim=1) - mean + SIGMA * torch.randn_like(X), dim=1)


def _torch_moments(X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    unit = torch.nn.functional.normalize(X, dim=1)
    return unit.sum(dim=0, dtype=torch.float64), (unit * unit).sum(dim=0, dtype=torch.float64)
