"""Noise of any covariance, ``z @ root`` with z the normals of `philox_normal`: the same bits in any batch.

BLAS adds in an order of its own, which changes with the number of rows. So both factors are rounded to a fixed point
that leaves every partial sum an integer below 2**53, which float64 holds exactly: no order of addition, no number of
threads, no fused operation shows. Normals are kept to 2**-20, the root to 2**-28 of its largest column (sum of absolute
values), which moves the noise by about one part in a million.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from c3align._typing import Float64Array, ZeroRows
from c3align.errors import C3AlignError
from c3align.ops import _checks
from c3align.ops._backend import pick
from c3align.ops._noise import NoiseRequest
from c3align.ops._rows import Rows, as_rows, as_vector, is_tensor
from c3align.ops.reference import OK, Affine

__all__ = ["compares", "normals", "transform"]

NORMAL_BITS = 20  # |z| < 8, so that |z| * 2**20 < 2**23
ROOT_BITS = 28  # a column's sum of absolute values < 2**28; products sum up below 2**52
_BLOCK_ELEMENTS = 1 << 20


class _Root(NamedTuple):
    """A root as integers in float64, in units of ``2**-exponent``."""

    integers: Float64Array
    exponent: int


def _fixed_point(root: Any, n_dims: int) -> _Root:
    values = np.asarray(root.detach().cpu() if is_tensor(root) else root, np.float64)
    if values.shape != (n_dims, n_dims):
        raise C3AlignError(
            f"sigma has shape {values.shape} and the rows have {n_dims} dimensions; pass a number, one a column, or a "
            f"root of shape {(n_dims, n_dims)}"
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


def compares(vectors: dict[str, Any], renormalize: bool) -> bool:
    """Whether rows at the mean have no direction; see `c3align.ops.reference`."""
    return renormalize and vectors.get("mean") is not None and vectors.get("shift") is None


def transform(
    X: Any, vectors: dict[str, Any], noise: NoiseRequest, *, zero_rows: ZeroRows, out: Any, renormalize: bool
) -> Any:
    """`c3align.ops.corrupt` with a matrix for sigma."""
    if noise.direction is not None or noise.fixed_norm or noise.random_strength:
        raise C3AlignError("a matrix sigma is the noise's whole shape; leave direction and the norm's options away")
    if is_tensor(X):
        from c3align.ops import torch as torch_face

        if X.device.type != "cpu" or torch_face.wanted(X, vectors):
            return torch_face.shaped(X, vectors, noise, zero_rows=zero_rows, out=out, renormalize=renormalize)
    rows = as_rows(X)
    root = _fixed_point(noise.sigma, rows.shape[1])
    target = None if out is None else _checks.target(out, rows)
    result = rows.narrowed(_corrupted(rows, vectors, root, noise, zero_rows, renormalize))
    if target is None:
        return rows.restore(result)
    target[...] = result
    return out


def _corrupted(
    rows: Rows, vectors: dict[str, Any], root: _Root, noise: NoiseRequest, zero_rows: ZeroRows, renormalize: bool
) -> Any:
    from c3align import ops

    place = noise.place(rows.shape[0])
    wide = Rows(rows.widened(), rows.compute_dtype.__name__, None, rows.name)
    noisy = ops.align(wide, **vectors, renormalize=False, zero_rows=zero_rows)
    mean = vectors.get("mean") if compares(vectors, renormalize) else None
    centred = Affine(None if mean is None else as_vector(mean, rows.shape[1], rows.compute_dtype, "mean"))
    status = pick().transform(wide, None, centred, renormalize=True)
    _checks.status(wide, status, zero_rows)
    step = max(1, _BLOCK_ELEMENTS // rows.shape[1])
    for start in range(0, rows.shape[0], step):
        part = noisy[start : start + step]
        ids = None if place["row_ids"] is None else place["row_ids"][start : start + step]
        here = {"seed": place["seed"], "row_offset": place["row_offset"] + start, "row_ids": ids}
        part += _normals(len(part), root, here).astype(part.dtype)
    if status is not None:
        noisy[status != OK] = 0
    return ops.normalize(noisy, zero_rows=zero_rows) if renormalize else noisy
