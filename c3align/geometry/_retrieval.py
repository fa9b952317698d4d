"""Measures of neighbors: recall, whose modality they are of, and hubs. Exact, by cosine, in blocks of queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from c3align._typing import Array, Float64Array, Int64Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import as_pairs, unit_rows

__all__ = ["Hubness", "hubness", "k_occurrence", "modality_bias", "recall_at_k"]

_BLOCK_ELEMENTS = 1 << 23


class Hubness(NamedTuple):
    """How unevenly targets are found (Radovanovic and others, JMLR 2010).

    skewness : of the number of queries that have a target among their k nearest; 0 is even, above 1 there are hubs
    anti_hubs : share of the targets that no query finds
    largest : most queries that one target is found by, as a share of them
    """

    skewness: float
    anti_hubs: float
    largest: float


def recall_at_k(queries: Array, targets: Array, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Share of queries whose own target is among the k nearest by cosine; row i belongs to row i.

    Exact, in blocks. Targets that tie with a query's own count before it, so that a collapsed space scores 0.
    """
    query, target = (unit_rows(rows) for rows in as_pairs(queries, targets))
    ranks = np.empty(len(query), np.int64)
    step = max(1, _BLOCK_ELEMENTS // len(target))
    for start in range(0, len(query), step):
        scores = query[start : start + step] @ target.T
        own = scores[np.arange(len(scores)), start + np.arange(len(scores))]
        ranks[start : start + step] = (scores >= own[:, None]).sum(axis=1) - 1
    return {k: float((ranks < k).mean()) for k in ks}


def modality_bias(a: Array, b: Array, k: int = 10) -> tuple[float, float]:
    """How far one index over both modalities prefers the query's own: 0.5 is fair (for equally many rows), 1 blind.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
    k : int
        Neighbours looked at.

    Returns
    -------
    (float, float)
        Share of the k nearest other rows, in both modalities, that are of the row's own: mean over a, and over b.
    """
    units = unit_rows(a), unit_rows(b)
    both, is_b = np.concatenate(units), np.repeat([False, True], [len(units[0]), len(units[1])])
    same = [
        (is_b[nearest] == is_b[start : start + len(nearest), None]).mean(axis=1)
        for start, nearest in _nearest(both, None, min(k, len(both) - 1))
    ]
    shares = np.concatenate(same)
    return float(shares[~is_b].mean()), float(shares[is_b].mean())


def k_occurrence(queries: Array, targets: Array | None = None, k: int = 10) -> Int64Array:
    """How many queries have each target among their k nearest: (n_targets,) int64, of sum ``k * n_queries``.

    Parameters
    ----------
    queries : (n_queries, n_dims)
    targets : (n_targets, n_dims), optional
        By default the queries themselves, where no row finds itself.
    k : int
        Fewer when there are fewer targets.
    """
    query, target = unit_rows(queries), None if targets is None else unit_rows(targets)
    n_targets = len(query) if target is None else len(target)
    k = min(k, n_targets - (target is None))
    if k < 1:
        raise C3AlignError(f"no neighbor to find among {n_targets} targets; pass more, and k of 1 or more")
    return sum(
        (np.bincount(nearest.ravel(), minlength=n_targets) for _, nearest in _nearest(query, target, k)),
        np.zeros(n_targets, np.int64),
    )


def hubness(queries: Array, targets: Array | None = None, k: int = 10) -> Hubness:
    """Skewness of the k-occurrence, and the share of targets that nobody finds; see `k_occurrence`.

    Measure it on the rows as they came and on the aligned ones: means far from zero make hubs, and centering is their
    oldest cure.
    """
    counts = k_occurrence(queries, targets, k)
    n_queries = queries.shape[0]
    centered = counts - counts.mean()
    spread = float((centered**2).mean())
    skewness = float((centered**3).mean()) / spread**1.5 if spread else 0.0
    return Hubness(skewness, float((counts == 0).mean()), float(counts.max()) / n_queries)


def _nearest(query: Float64Array, target: Float64Array | None, k: int) -> Iterator[tuple[int, Int64Array]]:
    """Row numbers (block, k) of each query's nearest targets, in no order, and the number of the block's first query.

    Without targets these are the other queries.
    """
    among = query if target is None else target
    step = max(1, _BLOCK_ELEMENTS // len(among))
    for start in range(0, len(query), step):
        scores = query[start : start + step] @ among.T
        if target is None:
            rows = np.arange(len(scores))
            scores[rows, start + rows] = -np.inf
        yield start, np.argpartition(-scores, k - 1, axis=1)[:, :k]
