"""The one place that picks an implementation of the ops: `C3ALIGN_BACKEND=native` or `reference`.

If unset, the compiled core is used where it was built, else the reference, which is slower and equal to the bit.
"""

from __future__ import annotations

import functools
import logging
import os
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._arguments import check_whole, checked
from c3align.errors import C3AlignError
from c3align.ops import fixed, interpreter, reference
from c3align.ops._floats import usual_floats
from c3align.ops.arrays import Rows, is_tensor
from c3align.ops.rowmap import RowMap

BACKENDS = ("native", "reference")
_BUILD = "pip install --force-reinstall --no-deps --no-cache-dir --no-binary c3align c3align"
_FIX = f"install a C++17 compiler and run `{_BUILD}`, with C3ALIGN_NATIVE unset or `on`"
_BLOCK_ELEMENTS = 1 << 20  # the reference holds about 20 arrays of a block


class ReferenceBackend:
    """The specification with the interface of `native`, block by block, so that memory stays bounded."""

    name = "reference"

    @staticmethod
    @usual_floats
    def transform(rows: Rows, out: npt.NDArray[Any] | None, row_map: RowMap) -> npt.NDArray[np.uint8]:
        """Fill `out`, if given, and return a status for each row."""
        status = np.empty(rows.shape[0], np.uint8)
        for block in _blocks(rows):
            part = rows.take(block)
            here = row_map._replace(noise=row_map.noise.of(block))
            computed, status[block] = reference.transform(part.widened(), here)
            if out is not None:
                out[block] = part.narrowed(computed)
        return status

    @staticmethod
    @usual_floats
    def moments(rows: Rows) -> Any:
        parts = [reference.moments(rows.take(b).widened()) for b in _blocks(rows)]
        return _joined(parts)

    @staticmethod
    @usual_floats
    def pair_moments(x: Rows, y: Rows) -> Any:
        parts = [reference.pair_moments(x.take(b).widened(), y.take(b).widened()) for b in _blocks(x)]
        of_x, of_y, sums, squares = zip(*parts)
        return _joined(of_x), _joined(of_y), sum(sums), sum(squares)

    @staticmethod
    @usual_floats
    def binned(norms: npt.NDArray[Any], status: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return fixed.binned(norms[status == reference.OK])

    @staticmethod
    @usual_floats
    def philox_normal(
        n_rows: int, n_dims: int, *, seed: int, row_offset: int, row_ids: Any = None
    ) -> npt.NDArray[np.float32]:
        out: npt.NDArray[np.float32] = np.empty((n_rows, n_dims), np.float32)
        step = max(1, _BLOCK_ELEMENTS // n_dims)
        for start in range(0, n_rows, step):
            part = out[start : start + step]
            first, ids = row_offset + start, None if row_ids is None else row_ids[start : start + step]
            part[:] = reference.philox_normal(len(part), n_dims, seed=seed, row_offset=first, row_ids=ids)
        return out


def _joined(moments: Any) -> Any:
    """The moments of blocks as those of all their rows."""
    sums, squares, norms, status = zip(*moments)
    return sum(sums), sum(squares), np.concatenate(norms), np.concatenate(status)


def _blocks(rows: Rows) -> list[slice]:
    step = max(1, _BLOCK_ELEMENTS // rows.shape[1])
    return [slice(start, min(start + step, rows.shape[0])) for start in range(0, max(1, rows.shape[0]), step)]


@functools.cache
def _native() -> Any:
    """The compiled backend, or the ImportError that says why there is none."""
    try:
        from c3align.ops import native
    except ImportError as error:
        return error
    return native


@functools.cache
def _choose(wanted: str) -> tuple[Any, str]:
    if wanted not in ("", *BACKENDS):
        raise C3AlignError(f"C3ALIGN_BACKEND must be one of {', '.join(BACKENDS)}, got {wanted}; set or unset it")
    if wanted == "reference":
        return ReferenceBackend, "C3ALIGN_BACKEND=reference asks for it"
    native = _native()
    if not isinstance(native, ImportError):
        return native, f"the compiled core runs here with {native.isa} instructions"
    fix = _FIX if interpreter.is_main() else interpreter.FIX
    reason = f"the compiled core is not available ({native}); {fix}"
    if wanted == "native":
        raise C3AlignError(f"C3ALIGN_BACKEND=native, but {reason}")
    logging.getLogger("c3align").warning("using the slower reference path: %s", reason)
    return ReferenceBackend, reason


def pick() -> Any:
    """The backend in use; the environment is read at every call, so that a test may change it."""
    return _choose(os.environ.get("C3ALIGN_BACKEND", ""))[0]


def on_cuda(X: Any) -> bool:
    """Whether X goes to the CUDA kernels: a tensor on a CUDA device whose known answers came out right.

    With `C3ALIGN_BACKEND=native` they are not asked for; with `reference` torch computes tensors on their GPU, to the
    same bits.
    """
    if not is_tensor(X) or not X.is_cuda or not getattr(pick(), "has_cuda", False):
        return False
    return os.environ.get("C3ALIGN_BACKEND") == "native" or bool(load("known_answers").are_right(X.device))


@functools.cache
def load(name: str) -> Any:
    """A module of `c3align.ops` that imports torch; only called where a tensor exists."""
    return import_module(f"c3align.ops.{name}")


def backend() -> str:
    """Name the implementation in use.

    Returns
    -------
    str
        Either "native" or "reference".
    """
    return str(pick().name)


def backend_reason() -> str:
    """Say why that implementation is in use.

    Returns
    -------
    str
        One sentence.
    """
    return _choose(os.environ.get("C3ALIGN_BACKEND", ""))[1]


def get_num_threads() -> int:
    """Get the number of threads that one call may use.

    Returns
    -------
    int
        As set by `set_num_threads`; else by `C3ALIGN_NUM_THREADS`; else 1 in a worker of a torch DataLoader; else the
        processors that this process may use (affinity, cgroup), or `OMP_NUM_THREADS` if that is fewer. A forked child
        determines it again, unless it was set.
    """
    return _threads()[0]


def num_threads_reason() -> str:
    """Say what decided the number of threads.

    Returns
    -------
    str
        A phrase such as "OMP_NUM_THREADS".
    """
    return _threads()[1]


def _threads() -> tuple[int, str]:
    native = _native()
    return (1, "the reference has no threads") if isinstance(native, ImportError) else native.decide_threads()


@checked
def set_num_threads(n: int) -> None:
    """Set how many threads one call of the compiled core may use; no bit of a result depends on it.

    Parameters
    ----------
    n : int
        At least 1.
    """
    n, native = check_whole("n", n), _native()
    if not isinstance(native, ImportError):
        native.set_num_threads(n)
