"""Scores of made names against the right ones, word by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["word_scores"]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def word_scores(names: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    """Shares of words (F1 of bags, averaged), of whole names, and of pairs of neighboring words that are right."""
    both = [(_WORD.findall(name.lower()), _WORD.findall(other.lower())) for name, other in zip(names, right)]
    bigrams = [(Counter(pairwise(a)), Counter(pairwise(b))) for a, b in both]
    said = sum(a.total() for a, _ in bigrams)
    return {
        "word_f1": sum(_f1(Counter(a), Counter(b)) for a, b in both) / len(both),
        "exact": sum(a == b for a, b in both) / len(both),
        "bigram_precision": sum((a & b).total() for a, b in bigrams) / said if said else 0.0,
    }


def _f1(a: Counter[str], b: Counter[str]) -> float:
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0
