"""Cheap scores of captions as bags of words, which need no package and no Java. Ours, hence defined here.

Words are runs of letters and digits, lower case, with apostrophes inside; everything else is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

__all__ = ["WORD_METRICS", "plain_words"]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")

Samples = Sequence[Sequence[str]]  # captions of each item; of candidates the first one counts, but for word_map


def plain_words(caption: str) -> list[str]:
    """Words of a caption, in order."""
    return _WORD.findall(caption.lower())


def word_f1(candidates: Samples, references: Samples) -> float:
    """Harmonic mean of precision and recall of a caption's words, as a bag, against its best reference; averaged.

    Two captions without words agree: 1.
    """
    return _mean_of_best(candidates, references, lambda a, b: _f1(Counter(a), Counter(b)))


def exact(candidates: Samples, references: Samples) -> float:
    """Share of captions whose words are, in order, those of a reference."""
    return _mean_of_best(candidates, references, lambda a, b: float(a == b))


def _mean_of_best(candidates: Samples, references: Samples, score: Callable[[list[str], list[str]], float]) -> float:
    best = []
    for samples, captions in zip(candidates, references):
        words = plain_words(samples[0])
        best.append(max(score(words, plain_words(caption)) for caption in captions))
    return float(np.mean(best))


def _f1(a: Counter[str], b: Counter[str]) -> float:
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0


def bigram_precision(candidates: Samples, references: Samples) -> float:
    """Share of all captions' pairs of neighbouring words that a reference has too, each as often as there at most.

    This is BLEU's modified precision of order 2; 0 when no caption has two words.
    """
    found = total = 0
    for samples, captions in zip(candidates, references):
        own = _bigrams(samples[0])
        allowed: Counter[tuple[str, str]] = Counter()
        for caption in captions:
            allowed |= _bigrams(caption)
        found, total = found + (own & allowed).total(), total + own.total()
    return found / total if total else 0.0


def _bigrams(caption: str) -> Counter[tuple[str, str]]:
    words = plain_words(caption)
    return Counter(pairwise(words))


def word_map(candidates: Samples, references: Samples) -> float:
    """Mean average precision of an item's words, ranked, against all words of its references.

    Words are ranked by the number of the item's captions that hold them, then by their first place. With one caption
    that is its order. Average precision is ``sum of precision at each hit / number of the references' words``, so
    that a word never said counts as a miss: short captions of long references score low, all alike.
    """
    return float(np.mean([_average_precision(*item) for item in zip(candidates, references)]))


def _average_precision(samples: Sequence[str], captions: Sequence[str]) -> float:
    wanted = {word for caption in captions for word in plain_words(caption)}
    said = [list(dict.fromkeys(plain_words(sample))) for sample in samples]
    votes = Counter(word for words in said for word in words)  # keeps the order of the first place
    hits, total = 0, 0.0
    for rank, word in enumerate(sorted(votes, key=lambda word: -votes[word]), start=1):
        if word in wanted:
            hits += 1
            total += hits / rank
    return total / len(wanted) if wanted else float(not votes)


WORD_METRICS = {"word_f1": word_f1, "exact": exact, "bigram_precision": bigram_precision, "word_map": word_map}
