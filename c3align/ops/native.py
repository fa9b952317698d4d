"""The compiled backend: passes checked arrays to `csrc/`, one call per op."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from c3align._typing import Float64Array
from c3align.errors import C3AlignError
from c3align.ops import interpreter
from c3align.ops.arrays import Rows
from c3align.ops.fixed import NORM_BINS
from c3align.ops.rowmap import RowMap

if not interpreter.is_main():
    raise ImportError(interpreter.REFUSAL)
import c3align.ops._C as _C

name = "native"
Moments: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float64Array, npt.NDArray[np.uint8]]
_CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}


def isas() -> list[str]:
    """Instruction sets that this build has and this machine runs, best last."""
    return list(_C.isas())


isa = isas()[-1]
has_cuda = bool(_C.has_cuda)  # whether the CUDA kernels were compiled; there may be no GPU
_threads = 0  # as set; 0: not set
ELEMENTS_PER_THREAD = 1 << 16  # below two such parts a second thread gains little
NOISE_COST = 4  # an element with noise takes as long as this many without
STREAM_BYTES = 1 << 24  # larger results bypass the caches


def get_num_threads() -> int:
    """Threads that one call may use."""
    return decide_threads()[0]


def set_num_threads(n: int) -> None:
    """Let one call use up to `n` threads."""
    global _threads
    _threads = n


def decide_threads() -> tuple[int, str]:
    """How many threads one call may use, and what decided that."""
    if _threads:
        return _threads, "ops.set_num_threads"
    if asked := os.environ.get("C3ALIGN_NUM_THREADS"):
        return _as_threads(asked), "C3ALIGN_NUM_THREADS"
    return (1, "a worker of a torch DataLoader has one") if _in_data_loader() else _default_threads()


def _as_threads(asked: str) -> int:
    if not asked.strip().isdecimal() or not int(asked):
        raise C3AlignError(f"C3ALIGN_NUM_THREADS must be a whole number from 1, got {asked}; correct or unset it")
    return int(asked)


def _in_data_loader() -> bool:
    """Checked each time: a worker knows that it is one only after unpickling its data set."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and data.get_worker_info() is not None


@functools.cache
def _default_threads() -> tuple[int, str]:
    from joblib import cpu_count  # scikit-learn brings it; it knows affinities and cgroups

    found = cpu_count(), "the processors that this process may use"
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2" is for nested loops
    return min(found, (int(asked), "OMP_NUM_THREADS")) if asked.isdecimal() and int(asked) else found


if hasattr(os, "register_at_fork"):  # a child may be given other processors
    os.register_at_fork(after_in_child=_default_threads.cache_clear)


def _threads_for(n_elements: int) -> int:
    """As many threads as have enough work."""
    return 1 if n_elements < 2 * ELEMENTS_PER_THREAD else min(get_num_threads(), n_elements // ELEMENTS_PER_THREAD)


def _addressable(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The kernels count strides in elements and read aligned ones; anything else is copied."""
    flags, size = values.flags, values.itemsize
    if flags.aligned and (flags.c_contiguous or not any(stride % size for stride in values.strides)):
        return values
    return values.copy()


def transform(rows: Rows, out: npt.NDArray[Any] | None, row_map: RowMap) -> npt.NDArray[np.uint8] | None:
    """Fill `out`, if given, with the mapped rows; returns a status for each, or None when all are usable.

    See `reference.transform`.
    """
    values = _addressable(rows.values)
    status = np.empty(len(values), np.uint8)
    stream = out is not None and out.nbytes >= STREAM_BYTES and not np.may_share_memory(out, values)
    cost = NOISE_COST if row_map.noise.sigma else 1
    threads, code = _threads_for(cost * values.size), _CODES[rows.dtype]
    return status if _C.transform(isa, threads, values, out, code, row_map, stream, status) else None


def moments(rows: Rows) -> Moments:
    """Fixed-point sums, sums of squares, norms and status of at most 2**22 rows. See `reference.moments`."""
    values, found = _addressable(rows.values), _no_moments(*rows.shape)
    _C.moments(isa, _threads_for(values.size), values, _CODES[rows.dtype], *found)
    return found


def pair_moments(x: Rows, y: Rows) -> tuple[Any, Any, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The same of both sides of at most 2**20 pairs, and sums of their differences. See `reference.pair_moments`."""
    a, b = _addressable(x.values), _addressable(y.values)
    of_x, of_y, (sums, squares) = _no_moments(*x.shape), _no_moments(*x.shape), np.zeros((2, x.shape[1]), np.int64)
    threads = _threads_for(2 * a.size)
    _C.pair_moments(isa, threads, a, _CODES[x.dtype], b, _CODES[y.dtype], of_x, of_y, sums, squares)
    return of_x, of_y, sums, squares


def _no_moments(n_rows: int, n_dims: int) -> Moments:
    sums, squares = np.zeros((2, n_dims), np.int64)
    return sums, squares, np.empty(n_rows), np.empty(n_rows, np.uint8)


def glance(rows: Rows, step: int, mean: Float64Array, directions: Float64Array) -> Any:
    """See `c3align.ops.glance.against`."""
    return _C.glance(isa, _addressable(rows.values), _CODES[rows.dtype], step, mean, directions)


def binned(norms: npt.NDArray[Any], status: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Sums of the norms of usable rows, by exponent. See `fixed.binned`."""
    bins = np.zeros(NORM_BINS, np.int64)
    _C.bin_norms(norms, status, bins)
    return bins


def philox_normal(
    n_rows: int, n_dims: int, *, seed: int, row_offset: int, row_ids: Any = None
) -> npt.NDArray[np.float32]:
    """Standard normals (n_rows, n_dims). See `reference.philox_normal`."""
    out = np.empty((n_rows, n_dims), np.float32)
    _C.normals(isa, _threads_for(NOISE_COST * out.size), out, seed, row_offset, row_ids)
    return out


def copy(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Copy contiguous memory past the caches, on all threads: the lower bound that benchmarks compare with."""
    if source.nbytes != target.nbytes or not (source.flags.c_contiguous and target.flags.c_contiguous):
        raise C3AlignError("source and target must be contiguous and of equal size; pass two such arrays")
    _C.copy(isa, get_num_threads(), source, target)
