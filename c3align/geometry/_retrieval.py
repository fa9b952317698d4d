"""Measures of nearest neighbors: recall, modality bias, hubness. Exact, by cosine, in blocks of queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from c3align._arguments import as_groups, check_whole, checked
from c3align._typing import Array, Float64Array, Int64Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import as_pairs, unit_both, unit_part, unit_rows
from c3align.ops.arrays import as_rows
from c3align.sample import row_keys, together

_BLOCK_ELEMENTS = 1 << 23
_SIDES = "queries", "targets"


class Hubness(NamedTuple):
    """How unevenly targets are found (Radovanovic et al., JMLR 2010).

    Parameters
    ----------
    skewness : float
        Skewness of the k-occurrence; 0 is even, above 1 there are hubs.
    anti_hubs : float
        Share of the targets that no query finds.
    largest : float
        Share of the queries that find the most popular target.
    """

    skewness: float
    anti_hubs: float
    largest: float


@checked
def recall_at_k(
    queries: Array, targets: Array, ks: Sequence[int] = (1, 5, 10), *, groups: npt.ArrayLike | None = None
) -> dict[int, float]:
    """Measure the share of queries that find a target of their own among the k nearest by cosine.

    Rows that are equal count once: five captions of one picture are five texts, of which it finds one, and one picture.

    Parameters
    ----------
    queries, targets : (n_rows, n_dims) arrays or tensors
        Row i of `targets` belongs to row i of `queries`.
    ks : sequence of int
        The ranks to report.
    groups : (n_rows,) integers, optional
        Rows of one number are one another's own. By default those that equal rows on either side connect.

    Returns
    -------
    dict of int to float
        Recall at each k. Other targets that tie with a query's own rank before it, so that a collapsed space scores 0.
    """
    ranked = [check_whole("each of ks", k) for k in ks]
    query, target = (unit_part(rows, slice(None)) for rows in as_pairs(queries, targets, _SIDES))
    labels = pair_groups(query, target) if groups is None else as_groups("groups", groups, len(query), "pair")
    places = _distinct(query, labels), _distinct(target, labels)
    (query, target), (mine, theirs) = zip(*((rows[at], labels[at]) for rows, at in zip((query, target), places)))
    ranks = np.empty(len(query), np.int64)
    step = max(1, _BLOCK_ELEMENTS // len(target))
    for start in range(0, len(query), step):
        scores, own = query[start : start + step] @ target.T, mine[start : start + step, None] == theirs
        best = np.where(own, scores, -np.inf).max(axis=1)
        ranks[start : start + step] = ((scores >= best[:, None]) & ~own).sum(axis=1)
    return {k: float((ranks < k).mean()) for k in ranked}


def pair_groups(a: Array, b: Array) -> Int64Array:
    """Number pairs: those that equal rows on either side connect have one number.

    Parameters
    ----------
    a, b : (n, n_dims)
        Rows of any norm, row i of a the partner of row i of b.

    Returns
    -------
    (n,) int64
        Numbers from 0; each pair's own where all of them would be one group, as in a collapsed space.
    """
    as_pairs(a, b)
    labels = together(*(row_keys(rows, zero_rows="keep") for rows in (a, b)))
    return labels if labels.any() else np.arange(len(labels))


def distinct_rows(X: Array) -> Int64Array:
    """Find the first of each set of equal rows.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor
        Rows of any norm.

    Returns
    -------
    (n,) int64
        Their places, rising. All rows where they are all equal, as in a collapsed space.
    """
    keys = row_keys(X, zero_rows="keep")
    places = np.sort(np.unique(keys, return_index=True)[1])
    return places if len(places) > 1 else np.arange(len(keys))


def _distinct(rows: Float64Array, labels: Int64Array) -> Int64Array:
    """Places of the first of equal rows of one group, rising; all where everything is one row."""
    keys = row_keys(rows, zero_rows="keep")
    places = np.sort(np.unique(np.stack([keys, labels]), axis=1, return_index=True)[1])
    return places if len(np.unique(keys)) > 1 else np.arange(len(keys))


@checked
def modality_bias(a: Array, b: Array, k: int = 10) -> tuple[float, float]:
    """Measure how strongly one index over both modalities prefers the query's own.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
        Rows of any norm.
    k : int
        Number of neighbors.

    Returns
    -------
    (float, float)
        Share of a row's k nearest neighbors that are of its own modality: mean over a, and over b. With equally many
        rows 0.5 is fair; 1 never finds the other modality.
    """
    units = unit_both(a, b)
    check_whole("k", k)
    both, is_b = np.concatenate(units), np.repeat([False, True], [len(units[0]), len(units[1])])
    same = [
        (is_b[nearest] == is_b[start : start + len(nearest), None]).mean(axis=1)
        for start, nearest in _nearest(both, None, min(k, len(both) - 1))
    ]
    shares = np.concatenate(same)
    return float(shares[~is_b].mean()), float(shares[is_b].mean())


@checked
def k_occurrence(queries: Array, targets: Array | None = None, k: int = 10) -> Int64Array:
    """Count how many queries have each target among their k nearest.

    Parameters
    ----------
    queries : (n_queries, n_dims) array or tensor
        Rows of any norm.
    targets : (n_targets, n_dims) array or tensor, optional
        By default the queries themselves, where no row finds itself.
    k : int
        Number of neighbors; fewer if there are fewer targets.

    Returns
    -------
    (n_targets,) int64
        Counts, with sum ``k * n_queries``.
    """
    check_whole("k", k)
    query, target = (unit_rows(queries), None) if targets is None else unit_both(queries, targets, _SIDES)
    n_targets = len(query) if target is None else len(target)
    k = min(k, n_targets - (target is None))
    if k < 1:
        raise C3AlignError(f"no neighbor to find among {n_targets} targets; pass more, and k of 1 or more")
    return sum(
        (np.bincount(nearest.ravel(), minlength=n_targets) for _, nearest in _nearest(query, target, k)),
        np.zeros(n_targets, np.int64),
    )


@checked
def hubness(queries: Array, targets: Array | None = None, k: int = 10) -> Hubness:
    """Measure hubness: skewness of the k-occurrence, and the share of targets that no query finds.

    Compare raw with aligned rows: means far from zero create hubs, which centering removes.

    Parameters
    ----------
    queries, targets, k : optional
        As in `k_occurrence`.

    Returns
    -------
    Hubness
        `skewness` is 0 where all targets are found equally often.
    """
    counts = k_occurrence(queries, targets, k)
    n_queries = as_rows(queries).shape[0]
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
