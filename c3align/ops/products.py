"""Sums of products of columns over unit rows, in float64 by BLAS, block by block: to a tolerance and not to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from c3align._typing import Array, Float64Array
from c3align.ops._dispatch import run
from c3align.ops.arrays import as_rows, is_on_device, is_tensor
from c3align.ops.backends import load
from c3align.ops.rowmap import Request

__all__ = ["of_differences", "of_rows", "unit_pairs"]

_BLOCK_ELEMENTS = 1 << 21  # 16 MiB of float64
_UNIT = Request(renormalize=False, zero_rows="keep")


def of_rows(X: Array) -> Float64Array:
    """``sum(u u^T)`` (n_dims, n_dims) over the unit rows; those without a direction add nothing."""
    return _summed(X.shape[1], (unit for (unit,) in _blocks(X)))


def of_differences(X: Array, Y: Array) -> Float64Array:
    """``sum(D D^T)`` (n_dims, n_dims) over the differences D of paired unit rows, where both have a direction."""
    return _summed(X.shape[1], (a - b for a, b in unit_pairs(X, Y)))


def unit_pairs(X: Array, Y: Array) -> Iterator[tuple[Any, Any]]:
    """Paired unit rows, both (n, n_dims) float64, block by block, where both have a direction."""
    for a, b in _blocks(X, Y):
        whole = a.any(axis=1) & b.any(axis=1)
        yield a[whole], b[whole]


def _summed(n_dims: int, blocks: Iterator[Any]) -> Float64Array:
    total = np.zeros((n_dims, n_dims))
    for block in blocks:
        products = block.T @ block
        total += products.cpu().numpy() if is_tensor(products) else products
    return total


def _blocks(*given: Array) -> Iterator[tuple[Any, ...]]:
    rows = [X if is_on_device(X) else as_rows(X) for X in given]
    step = max(1, _BLOCK_ELEMENTS // rows[0].shape[1])
    for start in range(0, rows[0].shape[0], step):
        yield tuple(_unit(X, slice(start, start + step)) for X in rows)


def _unit(rows: Any, block: slice) -> Any:
    """Unit rows in float64, normalized in the compute dtype but not rounded back to half precision."""
    if is_tensor(rows):
        eager = load("eager")
        return eager.in_float64(run(eager.computed(rows[block].detach()), _UNIT))
    return run(rows.take(block).widened(), _UNIT).astype(np.float64)
