"""Nearest rows by dot product: exact, in blocks, with the same result for any blocks and threads.

A matrix product finds candidates, and its rounding decides nothing: all that it could have misplaced are scored again
in float64, along the fixed tree of `c3align.ops.reference.row_sum`, and these scores decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align._arguments import as_groups, check_seed, checked, shown
from c3align._imports import need
from c3align._typing import Array, Float64Array, Int64Array
from c3align.errors import C3AlignError, counted, one_line
from c3align.io.rows import RowSource
from c3align.ops import reference
from c3align.ops.arrays import Rows, as_rows, first_non_finite

__all__ = ["Search", "faiss_index", "nearest"]

QUERY_BLOCK, MEMORY_BLOCK = 256, 1 << 13
SPARE_CANDIDATES = 16  # candidates requested from an index beyond k, for ties and rounding
LISTS_FOR_ONE = 16  # an index of inverted lists searches one list in this many
TRAINING_ROWS = 1 << 18  # at most, for an index that has to be trained
INNER_PRODUCT = 0  # faiss.METRIC_INNER_PRODUCT
_RESCORED_ELEMENTS = 1 << 21
_FLOAT32_STEP = 2.0**-24


@checked
def nearest(
    queries: Array,
    memory: Array | Sequence[Array],
    k: int,
    *,
    query_groups: npt.ArrayLike | None = None,
    memory_groups: npt.ArrayLike | None = None,
    index: Any = None,
    progress: bool = False,
) -> tuple[npt.NDArray[np.float32], Int64Array]:
    """Find the k rows of the memory with the largest dot product with each query.

    Parameters
    ----------
    queries : (n, n_dims) array or tensor
        Rows as they are to be compared; nothing is normalized.
    memory : (m, n_dims) array or tensor, path of such rows, or sequence of such shards
        Rows to search; memmaps and files are read in blocks.
    k : int
        From 1 to m.
    query_groups, memory_groups : (n,) and (m,) int, optional
        A query never finds rows of its own group, such as the caption that it was made from.
    index : optional
        A faiss index over the same rows, as `faiss_index` builds it, which proposes the candidates: rows that it misses
        are not found. Without one the search is exact.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    scores : (n, k) float32
        Dot products, largest first; -inf at the end if fewer than k rows are left for a query.
    indices : (n, k) int64
        Numbers of the rows, smallest first for equal scores; -1 where the score is -inf.

    Raises
    ------
    C3AlignError
        Different widths, rows that are not finite, or a k out of range.
    """
    if (query_groups is None) != (memory_groups is None):
        raise C3AlignError("one of query_groups and memory_groups is missing; pass both or none")
    return Search(memory, groups=memory_groups, index=index).nearest(queries, k, groups=query_groups, progress=progress)


@checked
def faiss_index(memory: Array | Sequence[Array], factory: str = "Flat", *, seed: int = 0) -> Any:
    """Build a faiss index over the memory's dot products, for memories too large for exact search.

    Parameters
    ----------
    memory : (m, n_dims) array or tensor, path of such rows, or sequence of such shards
        As in `nearest`.
    factory : str
        A description for ``faiss.index_factory``, such as "IVF1024,Flat" or "HNSW32". "Flat" is exact, and on a CPU no
        faster than the search without an index. One inverted list in 16 is searched (``nprobe``).
    seed : int
        Where the evenly spaced sample begins that an index is trained on.

    Returns
    -------
    faiss.Index
        Trained, and holding all rows of the memory.

    Raises
    ------
    MissingExtraError
        If faiss is not installed.
    """
    faiss = need("faiss", "faiss", "search")
    check_seed(seed)
    source = _memory(memory)
    try:
        index = faiss.index_factory(source.n_dims, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise C3AlignError(f"faiss knows no index {factory!r}; pass one such as 'IVF1024,Flat'") from error
    try:
        _fill(faiss, index, source, seed)
    except RuntimeError as error:
        raise C3AlignError(
            f"faiss cannot build {factory!r} of {counted(source.n_rows, 'row')} ({one_line(error)[-120:]}); pass one "
            "of fewer lists, or search without an index"
        ) from error
    return index


def _fill(faiss: Any, index: Any, source: RowSource, seed: int) -> None:
    """Train an index on evenly spaced rows, and add all of them."""
    if not index.is_trained:
        step = -(-source.n_rows // TRAINING_ROWS)
        index.train(source.take(np.arange(seed % step, source.n_rows, step)).astype(np.float32, copy=False))
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        lists.nprobe = max(1, lists.nlist // LISTS_FOR_ONE)
    for _, block in _blocks(source):
        index.add(block.astype(np.float32, copy=False))


def _memory(memory: Any) -> RowSource:
    """Checked rows of the memory, in memory or in files."""
    source = RowSource.of(memory, "memory")
    if not source.n_rows:
        raise C3AlignError("the memory holds no rows; pass at least one")
    for start, block in source.blocks():
        with source.located(start, block):
            _checked(block, "memory", source.n_dims)
    return source


def _checked(X: Any, name: str, n_dims: int) -> Rows:
    rows = as_rows(X, name)
    if rows.shape[1] != n_dims:
        raise C3AlignError(f"{name} has {rows.shape[1]} dimensions, not {n_dims}; pass rows of one encoder")
    count, first = first_non_finite(rows)
    if count:
        raise C3AlignError(
            f"{name} holds NaN or infinity in {counted(count, 'row')}, first in row {first}; remove or fix them"
        )
    return rows


def _blocks(source: RowSource) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Number of the first row, and rows, of every block."""
    for start, block in source.blocks(MEMORY_BLOCK):
        yield start, as_rows(block).widened()


@dataclass(frozen=True)
class _Best:
    """The best rows so far of each query: scores (n, k) float64, indices (n, k)."""

    scores: Float64Array
    indices: Int64Array

    @classmethod
    def none(cls, n_queries: int, k: int) -> _Best:
        return cls(np.full((n_queries, k), -np.inf), np.full((n_queries, k), -1, np.int64))

    def merged(self, queries: Int64Array, scores: Float64Array, indices: Int64Array) -> _Best:
        """Merged with candidates: their queries, exact scores and indices, all (n_candidates,)."""
        n, k = self.scores.shape
        every = np.concatenate([np.repeat(np.arange(n), k), queries])
        all_scores = np.concatenate([self.scores.ravel(), scores])
        all_indices = np.concatenate([self.indices.ravel(), indices])
        order = np.lexsort((all_indices, -all_scores, every))
        rank = np.arange(len(order)) - np.searchsorted(every[order], every[order])
        kept = order[rank < k]
        return _Best(all_scores[kept].reshape(n, k), all_indices[kept].reshape(n, k))


class Search:
    """A memory that is searched more than once: checked once, and never copied.

    Parameters
    ----------
    memory : (m, n_dims) array or tensor, path of such rows, or sequence of such shards
        As in the function `nearest`.
    groups : (m,) int, optional
        Its `memory_groups`.
    index : optional
        Its `index`.

    Attributes
    ----------
    n_rows, n_dims : int
        Shape of the memory.
    """

    def __init__(self, memory: Array | Sequence[Array], *, groups: npt.ArrayLike | None = None, index: Any = None):
        self._source = _memory(memory)
        self.n_rows, self.n_dims = self._source.shape
        self._groups = None if groups is None else as_groups("memory_groups", groups, self.n_rows)
        self._largest = [_norms(block).max() for _, block in _blocks(self._source)]
        self._index = index
        if index is not None:
            _check_index(index, self.n_rows, self.n_dims)

    @checked
    def nearest(
        self, queries: Array, k: int, *, groups: npt.ArrayLike | None = None, progress: bool = False
    ) -> tuple[npt.NDArray[np.float32], Int64Array]:
        """Find the k nearest rows of the memory for each query.

        Parameters
        ----------
        queries, k : (n, n_dims) array or tensor, int
            As in the function `nearest`.
        groups : (n,) int, optional
            Its `query_groups`.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        scores : (n, k) float32
            As in the function `nearest`.
        indices : (n, k) int64
            As in the function `nearest`.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= self.n_rows:
            raise C3AlignError(f"k must be an integer in [1, {self.n_rows}], the number of rows, got {k!r}")
        rows = _checked(queries, "queries", self.n_dims)
        if groups is not None and self._groups is None:
            raise C3AlignError("this memory has no groups, which groups= are compared with; pass Search(..., groups=)")
        own = None if groups is None else as_groups("query_groups", groups, rows.shape[0])
        scores, indices = np.empty((rows.shape[0], k), np.float32), np.empty((rows.shape[0], k), np.int64)
        starts = range(0, rows.shape[0], QUERY_BLOCK)
        for start in tqdm(starts, disable=not progress, unit="block", desc="nearest"):
            part = slice(start, start + QUERY_BLOCK)
            search = self._exact if self._index is None else self._proposed
            best = search(rows.take(part).widened(), int(k), None if own is None else own[part])
            scores[part], indices[part] = best.scores, best.indices
        return scores, indices

    def _exact(self, queries: npt.NDArray[Any], k: int, own: Int64Array | None) -> _Best:
        """Search all blocks of the memory: products in float32, then exact scores of possible results."""
        best = _Best.none(len(queries), k)
        narrow, norms = queries.astype(np.float32, copy=False), _norms(queries)
        for (first, block), largest in zip(_blocks(self._source), self._largest):
            scores = narrow @ block.astype(np.float32, copy=False).T
            if own is not None and self._groups is not None:
                scores[own[:, None] == self._groups[None, first : first + len(block)]] = -np.inf
            # twice the error of a float32 sum of products, whatever its order, operands rounded to float32 too
            error = 2 * (self.n_dims + 4) * _FLOAT32_STEP * norms * largest
            who, where = _candidates(scores, best.scores[:, -1] - error, error, k)
            best = best.merged(who, _products(queries, who, block, where), first + where)
        return best

    def _proposed(self, queries: npt.NDArray[Any], k: int, own: Int64Array | None) -> _Best:
        """Rank what the index proposes by exact scores."""
        n_asked = k + SPARE_CANDIDATES
        if own is not None and self._groups is not None:
            n_asked += int(np.unique(self._groups, return_counts=True)[1].max())
        narrow = np.ascontiguousarray(queries, np.float32)
        proposed = self._index.search(narrow, min(n_asked, self.n_rows))[1].astype(np.int64)
        usable = proposed >= 0
        if own is not None and self._groups is not None:
            usable &= self._groups[proposed] != own[:, None]
        who, where = np.nonzero(usable)[0], proposed[usable]
        scores = _products(queries, who, self._source.take(where), np.arange(len(where)))
        return _Best.none(len(queries), k).merged(who, scores, where)


def _check_index(index: Any, n_rows: int, n_dims: int) -> None:
    """Refuse what is no index of faiss, or one of another memory or of distances."""
    if not hasattr(index, "ntotal"):
        raise C3AlignError(f"index must be an index of faiss, got {shown(index)}; pass what faiss_index gives")
    if index.ntotal != n_rows:
        raise C3AlignError(f"the index holds {index.ntotal} rows and the memory {n_rows}; build it from this memory")
    if getattr(index, "d", n_dims) != n_dims:
        raise C3AlignError(f"the index has {index.d} dimensions and the memory {n_dims}; build it from this memory")
    if getattr(index, "metric_type", INNER_PRODUCT) != INNER_PRODUCT:
        raise C3AlignError("the index compares distances and not dot products; pass what faiss_index gives")


def _norms(rows: npt.NDArray[Any]) -> Float64Array:
    return np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))


def _candidates(scores: Any, floor: Any, error: Any, k: int) -> tuple[Int64Array, Int64Array]:
    """Places (query, row) of all that may be among the k best: not below `floor`, nor below the block's own k-th."""
    above = (scores >= floor[:, None]) & (scores > -np.inf)
    if scores.shape[1] > k and np.count_nonzero(above) > 4 * k * len(scores):
        own = np.partition(scores, -k, axis=1)[:, -k].astype(np.float64) - error
        above &= scores >= own[:, None]
    who, where = np.nonzero(above)
    return who, where


def _products(queries: Any, who: Int64Array, rows: Any, where: Int64Array) -> Float64Array:
    """Dot products of pairs of rows, each with the same bits in any batch."""
    out = np.empty(len(who))
    step = max(1, _RESCORED_ELEMENTS // queries.shape[1])
    for start in range(0, len(who), step):
        part = slice(start, start + step)
        terms = queries[who[part]].astype(np.float64) * rows[where[part]].astype(np.float64)
        out[part] = reference.row_sum(terms)
    return out
