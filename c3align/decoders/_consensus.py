"""Of several captions the one that agrees with most: what stays right when each of them is wrong somewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["consensus"]


def consensus(texts: Sequence[str], weights: npt.ArrayLike) -> int:
    """Place of the text with the largest weighted mean word F1 to all, itself among them; the first of equals.

    With draws from a model this is minimum Bayes risk decoding (Eikema and Aziz, 2020); with neighbours the consensus
    caption of Devlin et al. (2015).

    Parameters
    ----------
    texts : n str
    weights : (n,) >= 0
    """
    bags = [Counter(text.split()) for text in texts]
    common = np.array([[_word_f1(a, b) for b in bags] for a in bags])
    return int((common @ np.asarray(weights, np.float64)).argmax())


def _word_f1(a: Counter[str], b: Counter[str]) -> float:
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0
