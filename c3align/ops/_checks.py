"""Errors of the ops: what is wrong, where first, and the fix. Nothing is repaired silently (promise P5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import KEEP, C3AlignError
from c3align.ops.arrays import Rows, as_rows, dtype_name, first_non_finite, is_on_device, is_tensor
from c3align.ops.reference import AT_MEAN, BAD_NORM
from c3align.ops.rowmap import RowMap

NON_FINITE, HUGE = -1, -2  # beside the kinds that the backends flag


def zero_rows(value: Any) -> None:
    """Refuse an unknown policy.

    Raises
    ------
    C3AlignError
    """
    if not isinstance(value, str) or value not in ("raise", "keep"):
        raise C3AlignError(f"zero_rows must be 'raise' or 'keep', got {value!r}")


def flags(**given: Any) -> None:
    """Refuse what is neither True nor False.

    Raises
    ------
    C3AlignError
    """
    for name, value in given.items():
        if value is not True and value is not False and not isinstance(value, np.bool_):
            raise C3AlignError(f"{name} must be True or False, got a {type(value).__name__}; omit it for the default")


def pairs(X: Any, y: Any) -> None:
    """Refuse arrays or tensors whose rows are no pairs.

    Raises
    ------
    C3AlignError
    """
    if tuple(X.shape) != tuple(y.shape):
        shapes = f"X has shape {tuple(X.shape)} and y {tuple(y.shape)}"
        raise C3AlignError(f"{shapes}; pass row i of y as the partner of row i of X")
    if is_on_device(X) != is_on_device(y) or (is_on_device(X) and X.device != y.device):
        raise C3AlignError("X and y are on different devices; pass both on one")


def status(rows: Rows, row_status: npt.NDArray[np.uint8] | None, policy: str, first_row: int = 0) -> None:
    """Raise for flagged rows, the worst kind first. `row_status` begins at `first_row` of `rows`; None flags none."""
    if row_status is None or not row_status.any():
        return
    flagged = np.flatnonzero(row_status)
    found: dict[Any, tuple[int, int]] = {}
    if first_non_finite(rows.take(first_row + flagged))[0]:
        found[NON_FINITE] = first_non_finite(rows)  # of all rows, those of later blocks too
    numbers = {kind: first_row + flagged[row_status[flagged] == kind] for kind in (BAD_NORM, AT_MEAN)}
    numbers[HUGE] = _huge_rows(rows, numbers[BAD_NORM])
    found |= {kind: (rows_of.size, int(rows_of[0])) for kind, rows_of in numbers.items() if rows_of.size}
    refuse(rows.name, rows.shape[0], policy, found)


def refuse(name: str, n_rows: int, policy: str, found: Mapping[int, tuple[int, int]]) -> None:
    """Raise for the worst of the kinds `found`: how many rows of each, and the first of them."""
    where = {kind: f"{count} of {n_rows} rows, first in row {first}" for kind, (count, first) in found.items()}
    if NON_FINITE in where:
        raise C3AlignError(f"{name} holds NaN or infinity in {where[NON_FINITE]}; remove or fix those rows")
    if HUGE in where:
        raise C3AlignError(f"{name} holds a norm above 2**126 in {where[HUGE]}; scale the rows down")
    for kind, what in ((BAD_NORM, "has a norm of zero or below 2**-126"), (AT_MEAN, "equals the mean")):
        if kind in where and policy != "keep":
            raise C3AlignError(f"{name} {what}, so no direction, in {where[kind]}; remove those rows{KEEP}")


def _huge_rows(rows: Rows, flagged: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of the finite rows without a usable norm whose norm is too large rather than too small."""
    wide = np.abs(rows.take(flagged).widened())
    return flagged[(wide > 1).any(axis=1)]


def target(out: Any, rows: Rows) -> npt.NDArray[Any]:
    """The memory of `out`, when results can be written there as they are."""
    memory = out if _is_twin(out, rows) else _twin(out, rows)
    if not memory.flags.writeable or (
        not memory.flags.c_contiguous and overlaps_itself(memory.shape, memory.strides, memory.itemsize)
    ):
        raise C3AlignError("out is read-only or repeats its elements; pass an array with memory of its own")
    if np.may_share_memory(memory, rows.values):
        same = memory.__array_interface__["data"] == rows.values.__array_interface__["data"]
        if not same or memory.strides != rows.values.strides:
            raise C3AlignError("out overlaps X; pass X itself or an array with memory of its own")
    return memory


def overlaps_itself(shape: Sequence[int], strides: Sequence[int], size: int = 1) -> bool:
    """Whether two elements of a 2-d array share memory: the smaller step has to clear an element, the larger a line."""
    steps = sorted((abs(step), n) for step, n in zip(strides, shape) if n > 1)
    reach = size
    for step, n in steps:
        if step < reach:
            return True
        reach = step * n
    return False


def apart(row_map: RowMap, memory: npt.NDArray[Any]) -> RowMap:
    """The row map with copies of what shares `memory`, which will be written; itself when nothing does."""
    shared = {
        name: value.copy()
        for name in ("mean", "scale", "shift", "goal")
        if (value := getattr(row_map, name)) is not None and np.may_share_memory(value, memory)
    }
    noise = row_map.noise  # its other vectors were made anew
    if noise.row_ids is not None and np.may_share_memory(noise.row_ids, memory):
        shared["noise"] = noise._replace(row_ids=noise.row_ids.copy())
    return row_map._replace(**shared) if shared else row_map


def _is_twin(out: Any, rows: Rows) -> bool:
    """Whether `out` is plainly like X, the common case."""
    values = rows.values
    return type(out) is type(rows.source) is np.ndarray and out.dtype == values.dtype and out.shape == values.shape


def _twin(out: Any, rows: Rows) -> npt.NDArray[Any]:
    if not hasattr(out, "dtype"):
        raise C3AlignError(f"out must be an array or tensor like X, got {type(out).__name__}; omit it, or pass one")
    same_kind = is_tensor(out) == is_tensor(rows.source) and dtype_name(out) == dtype_name(rows.source)
    if not same_kind or tuple(out.shape) != rows.shape:
        raise C3AlignError(
            f"out is {dtype_name(out)} {tuple(out.shape)} and X is {rows.dtype} {rows.shape}; "
            "pass an out of X's type, dtype and shape"
        )
    if is_tensor(out) and out.device.type != "cpu":
        raise C3AlignError(f"out is on {out.device} and X is not; pass an out on X's device")
    return as_rows(out, "out").values
