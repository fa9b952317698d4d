"""How measures read rows: unit rows in float64, block by block, and the moments of any source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from c3align import ops
from c3align._typing import Array, Float64Array
from c3align.covariance import CovarianceStatistics
from c3align.errors import KEEP, C3AlignError, without_advice
from c3align.ops.arrays import Rows, as_rows
from c3align.statistics import ModalityStatistics

Source: TypeAlias = Any  # rows, statistics of rows, or an iterable of blocks of rows
BLOCK_ELEMENTS = 1 << 21  # 16 MiB of float64


class Moments(NamedTuple):
    """Count, mean (n_dims,) and covariance (n_dims, n_dims), divisor n_rows - 1, of unit rows."""

    n_rows: int
    mean: Float64Array
    covariance: Float64Array


def unit_rows(X: Array) -> Float64Array:
    """Divide rows by their norm.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor, floating
        Rows of any norm.

    Returns
    -------
    (n_rows, n_dims) float64
        NumPy array of unit rows.
    """
    return unit_part(as_rows(X), slice(None))


def unit_part(rows: Rows, index: Any) -> Float64Array:
    """Unit rows of the rows in a slice, or with these numbers."""
    with without_advice(KEEP):
        try:
            return ops.normalize(rows.take(index).widened().astype(np.float64))
        except C3AlignError:
            ops.moments(rows)  # refuses with the row's number in the whole
            raise


def block_rows(n_dims: int, multiple: int = 1) -> int:
    """How many rows a block has: a multiple of `multiple`, at least that many."""
    return multiple * max(1, BLOCK_ELEMENTS // (n_dims * multiple))


def _parts(X: Source) -> Iterator[Rows]:
    if hasattr(X, "shape") or not isinstance(X, Iterable):
        yield as_rows(X)
        return
    n_dims = 0
    for block in X:
        rows = as_rows(block, "a block")
        if n_dims not in (0, rows.shape[1]):
            raise C3AlignError(f"blocks of {n_dims} and of {rows.shape[1]} dimensions; pass rows of one encoder")
        n_dims = rows.shape[1]
        yield rows


def unit_blocks(X: Source, order: Any = None) -> Iterator[Float64Array]:
    """Unit rows of rows or of an iterable of blocks, some thousand at a time; `order` (row numbers) only for rows."""
    for rows in _parts(X):
        n_rows, step = rows.shape[0] if order is None else len(order), block_rows(rows.shape[1])
        for start in range(0, n_rows, step):
            span = slice(start, start + step)
            yield unit_part(rows, span if order is None else order[span])


def mean_of(X: Source) -> Float64Array:
    """Mean (n_dims,) of unit rows."""
    if isinstance(X, CovarianceStatistics):
        return X.statistics.mean
    if isinstance(X, ModalityStatistics):
        return X.mean
    total, n_rows = None, 0
    for unit in unit_blocks(X):
        total = unit.sum(axis=0) + (0 if total is None else total)
        n_rows += len(unit)
    if total is None or not n_rows:
        raise C3AlignError("cannot average zero rows; pass at least one")
    return total / n_rows


def moments_of(X: Source) -> Moments:
    """Count, mean and covariance of unit rows."""
    if isinstance(X, ModalityStatistics):
        raise C3AlignError("these statistics hold no covariance; pass CovarianceStatistics.from_rows(X), or the rows")
    if isinstance(X, CovarianceStatistics):
        _need_two(X.n_rows)
        return Moments(X.n_rows, X.statistics.mean, X.covariance * (X.n_rows / (X.n_rows - 1)))
    return moments_of_blocks(unit_blocks(X))


def moments_of_blocks(blocks: Iterable[Float64Array]) -> Moments:
    """One pass; the first row is subtracted first, so that a far mean costs no digits and equal rows give 0."""
    near: Any = None
    n_rows, total, products = 0, np.zeros(()), np.zeros(())
    for block in blocks:
        near = block[0] if near is None and len(block) else near
        centered = block - near if len(block) else block
        n_rows += len(centered)
        total = total + centered.sum(axis=0)
        products = products + centered.T @ centered
    _need_two(n_rows)
    covariance = (products - np.outer(total, total) / n_rows) / (n_rows - 1)
    return Moments(n_rows, near + total / n_rows, covariance)


def _need_two(n_rows: int) -> None:
    if n_rows < 2:
        raise C3AlignError(f"a covariance needs at least two rows, got {n_rows}; pass more")


def check_widths(a: int, b: int, names: tuple[str, str] = ("a", "b")) -> None:
    """Refuse rows of two widths."""
    if a != b:
        raise C3AlignError(f"{names[0]} has {a} dimensions and {names[1]} {b}; pass rows of one encoder")


def unit_both(a: Array, b: Array, names: tuple[str, str] = ("a", "b")) -> tuple[Float64Array, Float64Array]:
    """Unit rows of two sets, of one width and one row or more."""
    both = unit_rows(a), unit_rows(b)
    check_widths(both[0].shape[1], both[1].shape[1], names)
    for unit, name in zip(both, names):
        if not len(unit):
            raise C3AlignError(f"{name} must have one row or more, got none; pass some")
    return both


def as_pairs(a: Array, b: Array, names: tuple[str, str] = ("a", "b")) -> tuple[Rows, Rows]:
    """Both as rows, of equal shape."""
    pair = as_rows(a, names[0]), as_rows(b, names[1])
    if pair[0].shape != pair[1].shape:
        shapes = f"{pair[0].shape} and {pair[1].shape}"
        raise C3AlignError(
            f"pairs need equal shapes, got {shapes}; pass row i of {names[1]} as partner of {names[0]}'s"
        )
    if not pair[0].shape[0]:
        raise C3AlignError("cannot measure zero pairs; pass at least one")
    return pair


def pair_blocks(
    a: Array, b: Array, order: Any = None, multiple: int = 1
) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Unit rows of pairs, in the order of row numbers `order`, blocks of a multiple of `multiple` pairs."""
    pair = as_pairs(a, b)
    n_rows, n_dims = pair[0].shape
    n_rows, step = n_rows if order is None else len(order), block_rows(n_dims, multiple)
    for start in range(0, n_rows, step):
        span = slice(start, start + step)
        index = span if order is None else order[span]
        yield unit_part(pair[0], index), unit_part(pair[1], index)
