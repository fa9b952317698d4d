"""What `recipes.py` measures of a mapping: gap, retrieval, one index of two modalities, thresholds, classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from _recipes import LISTS, Fitted, Index, Scores, fit
from _sets import Cut, Embeddings, Numbers, Rows
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_rand_score

from c3align.geometry import distribution_gap

RANKS = (1, 5, 10)
TOP = 10
LEVEL = 0.01  # the share of unrelated texts with the other modality that the threshold lets through
Figures = dict[str, Any]


def measure(found: Embeddings, cut: Cut, name: str, seed: int) -> Figures:
    """All that can be said of a recipe on these rows, and its mapping."""
    mapping, how = LISTS.get(name, (name, "cosine"))
    fitted = fit(found, mapping, cut.fit)
    index = Index(found, fitted, cut.fit, how)
    test = {modality: fitted.aligned(found.rows[modality][rows], modality) for modality, rows in cut.test.items()}
    figures: Figures = {}
    if how == "cosine":
        figures |= gaps(found, test) | classes(found, cut, test, seed)
        calibrated = Index(found, fitted, cut.fit, "calibrated")
        figures["false positives"] = false_positives(found, cut, test, index)
        figures["false positives, calibrated"] = false_positives(found, cut, test, calibrated)
        if mixed := mixed_index(found, cut, fitted, calibrated, seed):
            figures["mixed, calibrated"] = mixed
    if found.is_paired and how in ("cosine", "nnn"):  # in one list the others change no order
        figures["recall"] = recalls(found, cut, test, index)
    if mixed := mixed_index(found, cut, fitted, index, seed):
        figures["mixed"] = mixed
    return figures


def gaps(found: Embeddings, test: dict[str, Rows]) -> Figures:
    """Distance of the means, and of the Gaussians, in the aligned space."""
    gap = float(np.linalg.norm(test["text"].mean(axis=0) - test[found.other].mean(axis=0)))
    return {"gap": gap, "distribution gap": distribution_gap(test["text"], test[found.other]).total}


def recalls(found: Embeddings, cut: Cut, test: dict[str, Rows], index: Index) -> Figures:
    """Share of queries with a document of their own group among the k best."""
    result: Figures = {}
    for query, document in (("text", found.other), (found.other, "text")):
        scores = index.scores(test[query], test[document], query, document)
        own, others = (found.groups[name][cut.test[name]] for name in (query, document))
        result[f"{query} -> {document}"] = at_ranks(scores, own[:, None] == others[None, :])
    return result


def at_ranks(scores: Scores, is_own: npt.NDArray[np.bool_]) -> Figures:
    """Queries without a document of their own are left out; what ties with the best of these ranks before it."""
    scores, is_own = scores[is_own.any(axis=1)], is_own[is_own.any(axis=1)]
    best = np.where(is_own, scores, -np.inf).max(axis=1, keepdims=True)
    ranks = ((scores >= best) & ~is_own).sum(axis=1)
    return {str(k): float((ranks < k).mean()) for k in RANKS}


def false_positives(found: Embeddings, cut: Cut, test: dict[str, Rows], index: Index) -> Figures:
    """Shares of unrelated rows of one modality above the threshold that lets 1 % of texts with the other through."""

    def unrelated(query: str, document: str) -> Scores:
        own, others = (found.groups[name][cut.test[name]] for name in (query, document))
        scores = index.scores(test[query], test[document], query, document)
        return scores[own[:, None] != others[None, :]]

    threshold = np.quantile(unrelated("text", found.other), 1 - LEVEL)
    return {f"{name} -> {name}": float((unrelated(name, name) > threshold).mean()) for name in ("text", found.other)}


def mixed_index(found: Embeddings, cut: Cut, fitted: Fitted, index: Index, seed: int) -> Figures:
    """An index that has each item as its text or as the other modality's row, by a coin.

    Text queries about other items: NDCG@10 by the similarity of the captions, and the share of the other modality
    among the ten best less its share of the index. Needle: the NDCG@10 of a text whose own item is there as the other
    modality's row alone. Rows that belong to nothing have no needle; of class prompts there is no such index.
    """
    if found.has_prompts or not len(cut.queries):
        return {}
    coin = np.random.default_rng([seed, 1]).random(len(cut.corpus)) < 0.5
    items = {"text": cut.corpus[~coin], found.other: cut.corpus[coin]}
    rows = {name: np.flatnonzero(np.isin(found.groups[name], groups)) for name, groups in items.items()}
    documents = {name: fitted.aligned(found.rows[name][numbers], name) for name, numbers in rows.items()}
    queries = _of(found, cut.queries)
    if not len(queries) or not all(map(len, rows.values())):
        return {}

    def scored(numbers: Numbers) -> Scores:
        asked = fitted.aligned(found.rows["text"][numbers], "text")
        return np.concatenate([index.scores(asked, part, "text", name) for name, part in documents.items()], axis=1)

    is_other = np.repeat([False, True], [len(part) for part in documents.values()])
    order = np.random.default_rng([seed, 2]).permutation(len(is_other))  # ties are broken at random
    best = order[np.argsort(-scored(queries)[:, order], axis=1, kind="stable")[:, :TOP]]
    result: Figures = {"share": float(is_other[best].mean() - is_other.mean())}
    if found.texts is not None:
        result["ndcg"] = _ndcg(found, queries, _of(found, cut.corpus), rows, best)
    own = _of(found, items[found.other])
    if found.is_paired and len(own):
        groups = np.concatenate([found.groups[name][numbers] for name, numbers in rows.items()])
        ranked = order[np.argsort(-scored(own)[:, order], axis=1, kind="stable")[:, :TOP]]
        hits = groups[ranked] == found.groups["text"][own][:, None]
        ideal = np.minimum((groups[None, :] == found.groups["text"][own][:, None]).sum(axis=1), TOP)
        result["needle"] = float((hits @ _discounts(TOP) / np.cumsum(_discounts(TOP))[ideal - 1]).mean())
    return result


def _ndcg(found: Embeddings, queries: Numbers, about: Numbers, rows: dict[str, Numbers], best: Numbers) -> float:
    """NDCG@10, a document gaining the TF-IDF cosine of its caption and the query's: the first of its captions."""
    texts = found.texts or []
    vectors = TfidfVectorizer().fit_transform(texts)
    first = {int(group): int(row) for row, group in reversed([*zip(about, found.groups["text"][about])])}
    captions = [
        number if name == "text" else first.get(int(found.groups[name][number]), -1)
        for name, numbers in rows.items()
        for number in numbers
    ]
    gains = (vectors[queries] @ vectors[np.maximum(captions, 0)].T).toarray() * (np.array(captions) >= 0)
    discounts = _discounts(best.shape[1])
    ideal = -np.sort(-gains, axis=1)[:, : best.shape[1]] @ discounts
    gained = np.take_along_axis(gains, best, axis=1) @ discounts
    return float((gained[ideal > 0] / ideal[ideal > 0]).mean())


def _discounts(n: int) -> npt.NDArray[np.float64]:
    return 1 / np.log2(np.arange(2, n + 2))


def _of(found: Embeddings, groups: Numbers) -> Numbers:
    """Rows of texts of these groups."""
    return np.flatnonzero(np.isin(found.groups["text"], groups))


def classes(found: Embeddings, cut: Cut, test: dict[str, Rows], seed: int) -> Figures:
    """Where classes are known: how well clusters of both modalities together find them, and prompts name them."""
    if not found.labels:
        return {}
    labels = {name: found.labels[name][cut.test[name]] for name in test}
    known = {name: each >= 0 for name, each in labels.items()}
    rows = np.concatenate([test[name][known[name]] for name in test])
    truth = np.concatenate([labels[name][known[name]] for name in test])
    clusters = KMeans(len(set(truth.tolist())), n_init=4, random_state=seed).fit_predict(rows)
    result: Figures = {"ari": float(adjusted_rand_score(truth, clusters))}
    if found.has_prompts:
        nearest = (test[found.other] @ test["text"].T).argmax(axis=1)
        result["zero shot"] = float((labels["text"][nearest] == labels[found.other]).mean())
    return result
