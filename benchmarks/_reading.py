"""Words read off rows of another modality, by what learned from texts alone: a network with noise, and no training."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from _recipes import NOISES, Fitted, fit, noise_root, noisy
from _sets import Cut, Embeddings, Numbers, Rows
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import label_ranking_average_precision_score

COSINES = (0.6, 0.8)  # of the noise; which of them is chosen on items that are left out
LEAST_TEXTS = 5  # that hold a word
HIDDEN, BATCH, RATE = 256, 128, 2e-3
LEAST_EPOCHS, STEPS = 10, 160
TEMPERATURE = 0.05  # of a memory of texts
LEFT_OUT = 10  # one in as many items of the training
Figures = dict[str, Any]
Reader = Callable[[Rows], Any]


class Task:
    """Words of texts to learn from, and rows of items left out and of items to test."""

    def __init__(self, found: Embeddings, cut: Cut) -> None:
        self.found, groups = found, np.unique(found.groups["text"][cut.read_fit["text"]])
        left_out = groups[::LEFT_OUT]
        self.fit = {name: rows[~np.isin(found.groups[name][rows], left_out)] for name, rows in cut.read_fit.items()}
        words = CountVectorizer(binary=True).fit_transform(found.texts).toarray().astype(np.float32)
        words = words[:, words[self.fit["text"]].sum(axis=0) >= LEAST_TEXTS]
        self.words, known = words[self.fit["text"]], cut.read_fit[found.other]
        left_out = known[np.isin(found.groups[found.other][known], left_out)]
        items = {"left out": left_out, "test": cut.read_test[found.other]}
        self.items = {name: self._truth(rows, words) for name, rows in items.items()}

    def _truth(self, rows: Numbers, words: Any) -> tuple[Numbers, Any]:
        """Items that have a word to be read, and their words: those of all their texts."""
        own = self.found.groups[self.found.other][rows]
        found = np.array([words[self.found.groups["text"] == group].any(axis=0) for group in own])
        return rows[found.any(axis=1)], found[found.any(axis=1)]

    @property
    def is_readable(self) -> bool:
        return all(len(rows) for rows, _ in self.items.values())

    def scores(self, fitted: Fitted, read: Reader) -> Figures:
        """Mean average precision of the words of an item, by its row, over items."""
        result = {}
        for name, (rows, words) in self.items.items():
            aligned = fitted.aligned(self.found.rows[self.found.other][rows], self.found.other)
            result[name] = float(label_ranking_average_precision_score(words, read(aligned)))
        return result


def measure(found: Embeddings, cut: Cut, name: str, seed: int) -> Figures:
    """Every noise and decoder with this mapping."""
    task = Task(found, cut)
    if not task.is_readable:
        return {}
    fitted = fit(found, name, task.fit)
    text = fitted.mapped(found.rows["text"][task.fit["text"]], "text")
    memory = Memory(text, task.words)
    results = [{"noise": "none", "cosine": 1.0, "decoder": "nearest texts", **task.scores(fitted, memory.words_of)}]
    for noise, cosine in [("none", 1.0), *product(NOISES[1:], COSINES)]:
        root = noise_root(noise, cosine, text, residuals(found, fitted, task.fit) if noise == "residual" else None)
        read = learned(text, task.words, root, seed)
        for decoder, reader in (("reader", read), ("reader, projected", lambda rows: read(memory.projected(rows)))):  # noqa: B023
            results.append({"noise": noise, "cosine": cosine, "decoder": decoder, **task.scores(fitted, reader)})
    return {"read": results}


def residuals(found: Embeddings, fitted: Fitted, which: dict[str, Numbers]) -> Rows:
    """Differences of mapped pairs."""
    texts, others = found.pairs(which)
    mapped = fitted.mapped(found.rows[found.other][others], found.other)
    return mapped - fitted.mapped(found.rows["text"][texts], "text")


class Memory:
    """Texts that rows are compared with."""

    def __init__(self, text: Rows, words: Rows) -> None:
        self.rows, self.words = noisy(text, None, 0), words

    def weights(self, rows: Rows) -> Rows:
        scores = rows @ self.rows.T / TEMPERATURE
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def words_of(self, rows: Rows) -> Any:
        """How much of a row's neighbors' weight has each word."""
        return self.weights(rows) @ self.words

    def projected(self, rows: Rows) -> Rows:
        """The mean of a row's neighbors (DeCap), of norm 1."""
        found = self.weights(rows) @ self.rows
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def learned(text: Rows, words: Rows, root: Any, seed: int) -> Reader:
    """A network of one hidden layer that tells the words of a text by its mapped row, with new noise in each epoch."""
    torch.manual_seed(seed)
    n_dims, n_words = text.shape[1], words.shape[1]
    network = torch.nn.Sequential(torch.nn.Linear(n_dims, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, n_words))
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    truth, scale = torch.from_numpy(words), n_dims**0.5  # columns of about 1
    for epoch in range(max(LEAST_EPOCHS, -(-STEPS * BATCH // len(text)))):
        rows = torch.from_numpy(noisy(text, root, (seed << 16) + epoch)) * scale
        for part in torch.randperm(len(rows)).split(BATCH):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(rows[part]), truth[part])
            optimizer.zero_grad()
            (loss * n_words).backward()
            optimizer.step()

    def read(aligned: Rows) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(aligned) * scale).numpy()

    return read
