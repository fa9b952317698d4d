"""Rows through a modality's map: one pass of the kernels where it works column by column, else a product of matrices.

`align`, `corrupt`, `invert` and `translate` are those of `c3align.ops` with a row map in place of the mean. A map that
works column by column has their bits. A matrix is applied block by block in the rows' compute dtype, by BLAS: another
machine, batch or number of threads may change a result by 2**-22 of the matrix' largest singular value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from c3align import ops
from c3align._typing import Array, ZeroRows
from c3align.errors import C3AlignError
from c3align.mappings._affine import RowAffine, RowTransform
from c3align.ops.arrays import Rows, as_rows, dtype_name, is_tensor
from c3align.ops.backends import load
from c3align.ops.reference import AT_MEAN_IN_DOUBLE, AT_MEAN_IN_FLOAT
from c3align.ops.rowmap import check_row_numbers, stream

__all__ = ["align", "corrupt", "invert", "mapped", "translate"]

_BLOCK_ELEMENTS = 1 << 20
_ROUNDING = 1e-6
_MORE_ROUNDING = 4.0  # of maps that are not affine, relative to that of a mean


def align(X: Array, row_map: RowTransform, *, renormalize: bool, zero_rows: ZeroRows) -> Any:
    """``unit(map(unit(x)))``, as `c3align.ops.align`."""
    if (vectors := _columnwise(row_map, X)) is not None:
        return ops.align(X, **vectors, renormalize=renormalize, zero_rows=zero_rows)

    def ended(found: Any, _: slice) -> Any:
        return ops.align(found, None, normalize=False, renormalize=renormalize, zero_rows=zero_rows)

    return _through(X, row_map, zero_rows, ended)


def corrupt(
    X: Array, row_map: RowTransform, *, row_offset: Any = 0, row_ids: Any = None, zero_rows: ZeroRows, **settings: Any
) -> Any:
    """``unit(map(unit(x)) + sigma * z)``, as `c3align.ops.corrupt` with these settings of its own."""
    settings |= {"zero_rows": zero_rows}
    if (vectors := _columnwise(row_map, X)) is not None:
        return ops.corrupt(X, **vectors, row_offset=row_offset, row_ids=row_ids, **settings)

    _check_place(row_offset, row_ids, X.shape[0])

    def ended(found: Any, block: slice) -> Any:
        ids = None if row_ids is None else row_ids[block]
        here = row_offset + block.start if ids is None else row_offset
        return ops.corrupt(found, None, normalize=False, row_offset=here, row_ids=ids, **settings)

    return _through(X, row_map, zero_rows, ended)


def _check_place(row_offset: Any, row_ids: Any, n_rows: int) -> None:
    """Refuse numbers of other rows before blocks are cut out of them."""
    if row_ids is not None:
        shape = tuple(getattr(row_ids, "shape", np.shape(row_ids)))
        check_row_numbers(shape, dtype_name(row_ids if hasattr(row_ids, "dtype") else np.asarray(row_ids)), n_rows)
    elif not is_tensor(row_offset):
        stream(0, row_offset, n_rows)


def invert(Z: Array, row_map: RowTransform, *, renormalized: bool, zero_rows: ZeroRows) -> Any:
    """The unit rows that `align` turned into Z, as `c3align.ops.invert`: ``t z B + o`` with B the inverse matrix.

    Raises
    ------
    C3AlignError
        Where the map has no way back.
    """
    back = row_map.inverse()
    if isinstance(back, RowAffine):
        if renormalized and np.linalg.norm(back.offset) > 1 + _ROUNDING:
            raise C3AlignError(
                "this mapping has no way back from rows of norm 1, as two rows may have become one; "
                "use C3Aligner(renormalize=False)"
            )
        settings: dict[str, Any] = {"renormalized": renormalized, "zero_rows": zero_rows}
        if back.linear is None:
            return ops.invert(Z, back.offset_for(Z), **settings)
        rows = _times(_wide(Z), back)
        return _narrowed(ops.invert(rows, back.offset_for(rows), **settings), Z)
    if renormalized:
        raise C3AlignError(
            "this mapping has no way back from rows of norm 1; use C3Aligner(renormalize=False), or an affine mapping"
        )
    return _narrowed(ops.normalize(back.apply(_wide(Z)), zero_rows=zero_rows), Z)


def translate(
    X: Array, row_map: RowTransform, goal: RowTransform, *, norm: float, renormalize: bool, zero_rows: ZeroRows
) -> Any:
    """`align`, then the way back of another modality's map, times a norm; as `c3align.ops.translate`."""
    if _only_centers(row_map) and _only_centers(goal):
        means = row_map.vectors_for(X)["mean"], goal.vectors_for(X)["mean"]  # type: ignore[attr-defined]
        return ops.translate(X, *means, norm=norm, renormalize=renormalize, zero_rows=zero_rows)
    aligned = align(_wide(X), row_map, renormalize=renormalize, zero_rows=zero_rows)
    moved = invert(aligned, goal, renormalized=renormalize, zero_rows=zero_rows)
    return _narrowed(moved * norm, X)


def _only_centers(row_map: RowTransform) -> bool:
    return isinstance(row_map, RowAffine) and row_map.linear is None and row_map.shift is None


def _columnwise(row_map: RowTransform, X: Array) -> dict[str, Any] | None:
    """Mean, scale and shift of a map that the kernels know."""
    return row_map.vectors_for(X) if isinstance(row_map, RowAffine) and not row_map.has_matrix else None


def _through(X: Any, row_map: RowTransform, zero_rows: ZeroRows, ended: Callable[[Any, slice], Any]) -> Any:
    """Rows through a map that mixes columns and through what comes after it, in blocks that stay in the caches."""
    if is_tensor(X):
        found = ended(mapped(_wide(X), row_map, zero_rows), slice(0, X.shape[0]))
        return found.to(X.dtype)
    rows = as_rows(X)
    out = np.empty(rows.shape, rows.values.dtype)
    step = max(1, _BLOCK_ELEMENTS // rows.shape[1])
    for block in (slice(start, start + step) for start in range(0, rows.shape[0], step)):
        part = rows.take(block)
        try:
            found = ended(mapped(part.widened(), row_map, zero_rows), block)
        except C3AlignError as error:
            raise _in_whole(rows, row_map, zero_rows, error) from error
        out[block] = part.narrowed(found)
    return rows.restore(out)


def _in_whole(rows: Rows, row_map: RowTransform, zero_rows: ZeroRows, error: C3AlignError) -> C3AlignError:
    """What a block was refused for, with the row's number among all rows."""
    try:
        found = mapped(rows.widened(), row_map, zero_rows)
        ops.normalize(Rows(found, dtype_name(found), None, rows.name), zero_rows=zero_rows)
    except C3AlignError as whole:
        return whole
    return error


def mapped(wide: Any, row_map: RowTransform, zero_rows: ZeroRows, parts: Any = None) -> Any:
    """Rows (n, n_dims) float32 or float64 through a map, zeros where nothing but rounding is left of a row.

    Parameters
    ----------
    wide : array or tensor
    row_map : RowTransform
    zero_rows : "raise" or "keep"
    parts : (mean, matrix, shift or None), optional
        Those of a map with a matrix, where the caller has them in the rows' dtype on their device.
    """
    if not (isinstance(row_map, RowAffine) and row_map.has_matrix):
        unit = ops.normalize(wide, zero_rows=zero_rows)
        found = row_map.apply(unit)
        return _without(found, ~unit.any(1) | _is_lost(found, _MORE_ROUNDING))
    mean, matrix, shift = parts or row_map.rounded(wide)[:3]
    centred = ops.align(wide, mean, renormalize=False, zero_rows=zero_rows)
    found = centred @ matrix
    if shift is not None:
        return _without(found + shift, ~centred.any(1))
    return _without(found, _is_lost(found, row_map.gain))


def _is_lost(found: Any, gain: float) -> Any:
    """Which of the mapped rows are no longer than rounding may leave a row at the mean."""
    own = math.sqrt(found.shape[1]) * AT_MEAN_IN_DOUBLE if dtype_name(found) == "float64" else AT_MEAN_IN_FLOAT
    squares = (found * found).sum(1) if is_tensor(found) else np.einsum("ij,ij->i", found, found)
    return squares <= (own * gain) ** 2


def _without(rows: Any, lost: Any) -> Any:
    """The rows with zeros in place of those that are lost."""
    if is_tensor(rows):
        return rows.masked_fill(lost[:, None], 0)
    rows[lost] = 0
    return rows


def _times(rows: Any, back: RowAffine) -> Any:
    """Rows times the linear part alone."""
    linear = back.rounded(rows)[1]
    return rows * linear if linear.ndim == 1 else rows @ linear


def _wide(X: Any) -> Any:
    """The rows in their compute dtype."""
    if is_tensor(X):
        return load("eager").computed(X)
    return as_rows(X).widened()


def _narrowed(rows: Any, X: Any) -> Any:
    """Results in the rows' own dtype, as an array of their library."""
    if is_tensor(X):
        return rows.to(X.dtype)
    given = as_rows(X)
    return given.restore(given.narrowed(rows))
