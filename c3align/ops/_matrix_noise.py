"""Noise with any covariance, ``z @ root`` with z the normals of `philox_normal`: the same bits in any batch.

BLAS adds in an order of its own, which changes with the number of rows. So both factors are rounded to a fixed point
that leaves every partial sum an integer below 2**53, which float64 holds exactly: no order of addition, number
of threads or fused operation changes a bit. Normals are kept to 2**-20, the root to 2**-28 of its largest column (sum
of absolute values), which moves the noise by about one part in a million.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from c3align._arguments import as_floats
from c3align._typing import Float64Array, ZeroRows
from c3align.errors import C3AlignError
from c3align.ops import _checks
from c3align.ops.arrays import Rows, is_tensor
from c3align.ops.backends import pick
from c3align.ops.reference import OK
from c3align.ops.rowmap import NoiseRequest, Request, RowMap

__all__ = ["check", "corrupted", "normals"]

NORMAL_BITS = 20  # |z| < 8, so that |z| * 2**20 < 2**23
ROOT_BITS = 28  # a column's sum of absolute values < 2**28; products sum up below 2**52
_BLOCK_ELEMENTS = 1 << 20


class _Root(NamedTuple):
    """A root as integers in float64, in units of ``2**-exponent``."""

    integers: Float64Array
    exponent: int


def _fixed_point(root: Any, n_dims: int) -> _Root:
    values = as_floats("sigma", root.detach().cpu() if is_tensor(root) else root)
    if values.shape != (n_dims, n_dims):
        raise C3AlignError(
            f"sigma has shape {values.shape} and the rows have {n_dims} dimensions; pass a number, one per column, or "
            f"a root of shape {(n_dims, n_dims)}"
        )
    largest = np.abs(values).sum(axis=0).max()
    if not np.isfinite(largest):
        raise C3AlignError("sigma holds NaN or infinity; pass finite values")
    exponent = min(ROOT_BITS - int(np.frexp(largest)[1]), 1000)
    return _Root(np.rint(values * 2.0**exponent), exponent)


def normals(n_rows: int, root: Any, **place: Any) -> Float64Array:
    """``z @ root`` (n_rows, n_dims) float64, exact in the rounded factors; `place` as `NoiseRequest.place` has it."""
    return _normals(n_rows, _fixed_point(root, root.shape[1]), place)


def _normals(n_rows: int, root: _Root, place: dict[str, Any]) -> Float64Array:
    z = pick().philox_normal(n_rows, len(root.integers), **place)
    integers = np.rint(z * 2.0**NORMAL_BITS, dtype=np.float64)
    return (integers @ root.integers) * 2.0 ** -(NORMAL_BITS + root.exponent)


def corrupted(rows: Rows, request: Request) -> npt.NDArray[Any]:
    """What `c3align.ops.corrupt` gives for a matrix sigma, in the rows' dtype."""
    noise = check(request.noise)
    root, place = _fixed_point(noise.sigma, rows.shape[1]), noise.place(rows.shape[0])
    row_map, wide = request._replace(noise=None).on_host(rows), rows.in_compute_dtype()
    noisy = np.empty(rows.shape, rows.compute_dtype)
    _fill(noisy, wide, row_map._replace(renormalize=False), request.zero_rows)
    status = _fill(None, wide, RowMap(row_map.mean if row_map.compares else None), request.zero_rows)
    step = max(1, _BLOCK_ELEMENTS // rows.shape[1])
    for start in range(0, rows.shape[0], step):
        part = noisy[start : start + step]
        ids = None if place["row_ids"] is None else place["row_ids"][start : start + step]
        here = {"seed": place["seed"], "row_offset": place["row_offset"] + start, "row_ids": ids}
        part += _normals(len(part), root, here).astype(part.dtype)
    if status is not None:
        noisy[status != OK] = 0
    if request.renormalize:
        _fill(noisy, Rows(noisy, wide.dtype, None, rows.name), RowMap(renormalize=False), request.zero_rows)
    return rows.narrowed(noisy)


def check(noise: NoiseRequest | None) -> NoiseRequest:
    """Refuse other settings of the noise's shape beside a matrix."""
    assert noise is not None
    if noise.direction is not None or noise.fixed_norm or noise.random_strength:
        raise C3AlignError(
            "a matrix sigma is the whole shape of the noise; omit direction, fixed_norm, random_strength"
        )
    return noise


def _fill(out: npt.NDArray[Any] | None, rows: Rows, row_map: RowMap, zero_rows: ZeroRows) -> Any:
    """The status of the rows, None where all are usable; raises where rows are refused."""
    status = pick().transform(rows, out, row_map)
    _checks.status(rows, status, zero_rows)
    return status
