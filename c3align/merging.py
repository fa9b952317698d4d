"""Several result lists as one, where scores cannot be calibrated: by places, or within each list."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._arguments import as_floats, check_number, checked, shown
from c3align._typing import Float64Array
from c3align.errors import C3AlignError

__all__ = ["list_z_scores", "merge_by_rank"]


def list_z_scores(scores: npt.ArrayLike) -> Float64Array:
    """Compute the scores of a result list less their mean and over their standard deviation.

    For lists of other systems, whose scores cannot be calibrated: what comes out compares places within lists, not how
    related the documents are.

    Parameters
    ----------
    scores : (..., n) numbers
        Finite scores; one list, or one a row.

    Returns
    -------
    (..., n) float64
        Their z-scores; zeros for a list of one score throughout.

    Raises
    ------
    C3AlignError
        No scores, or scores that are not finite.
    """
    found = as_floats("scores", scores)
    if not found.ndim or not found.size or not np.isfinite(found).all():
        raise C3AlignError(f"scores must be finite and at least one a list, got shape {found.shape}; remove the others")
    largest = np.abs(found).max(axis=-1, keepdims=True)
    found = np.ldexp(found, -np.frexp(largest)[1])  # of about one, so that no square is too large or too small
    away = found - found.mean(axis=-1, keepdims=True)
    deviation = found.std(axis=-1, keepdims=True)
    return np.divide(away, deviation, out=np.zeros_like(away), where=deviation > 1e-12)


@checked
def merge_by_rank(lists: Iterable[Sequence[Hashable]], *, constant: float = 60) -> tuple[list[Hashable], Float64Array]:
    """Merge several lists into one by places alone: reciprocal rank fusion (Cormack et al. 2009).

    Parameters
    ----------
    lists : iterable of sequences of documents' names or numbers
        Each with the best first.
    constant : float >= 0
        A document's score is the sum of ``1 / (constant + place)`` over the lists that have it, places from 1: the
        larger the constant, the less the first places stand out.

    Returns
    -------
    documents : list
        The best first, equal scores in the order in which documents first come.
    scores : (n,) float64
        Their sums of ``1 / (constant + place)``.

    Raises
    ------
    C3AlignError
        A list that names a document twice; a constant below zero.
    """
    check_number("constant", constant)
    total: dict[Hashable, float] = {}
    for number, given in enumerate(lists):
        documents = given.tolist() if hasattr(given, "tolist") else given
        if (
            isinstance(documents, str | bytes)
            or not isinstance(documents, Sequence)
            or not all(map(_is_name, documents))
        ):
            raise C3AlignError(
                f"list {number} must be a list of documents' names or numbers, got {shown(given)}; pass each list's "
                "documents, the best first"
            )
        if len(set(documents)) < len(documents):
            raise C3AlignError(f"list {number} names a document twice; give each document its best place alone")
        for place, document in enumerate(documents, 1):
            total[document] = total.get(document, 0.0) + 1 / (constant + place)
    best = sorted(total, key=lambda document: -total[document])
    return best, np.array([total[document] for document in best])


def _is_name(document: Any) -> bool:
    try:
        hash(document)
    except TypeError:
        return False
    return document == document  # NaN is none
