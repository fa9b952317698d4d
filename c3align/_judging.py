"""Candidates, and how well the rows that they align do a job: figures by name, of which the first decides.

Each judge takes a `Split` and looks at rows that its aligner has not learned; see `c3align.choosing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from c3align import geometry, mappings
from c3align._halves import Rows, Split, half
from c3align._typing import Float64Array
from c3align.errors import C3AlignError

__all__ = ["NOISES", "Trial", "candidates", "captioning", "classification", "likeness", "retrieval", "search"]

TOP, RATE = 10, 0.01
TIE = 1e-6  # scores of float32 rows that differ by less are equal
# noisy rows for each that the reader learns from; its ridge, of their mean square: with a tenth of it, noise of few
# pairs' residuals is read around, and the cosine contradicts what words of real captions the same reader finds
COPIES, PENALTY = 4, 0.1
_USUAL: dict[str, Any] = {"mapping": mappings.CENTER, "noise": "isotropic", "noise_cosine": "auto", "sigma": None}
NOISES: dict[str, dict[str, Any]] = {
    "no noise": {"sigma": 0.0},
    **{f"noise cosine {cosine}": {"noise_cosine": cosine} for cosine in (0.9, 0.8, 0.6, 0.4)},
    "residual noise": {"noise": "residual"},
}


def candidates(rows: Rows) -> dict[str, dict[str, Any]]:
    """Settings of every mapping that the rows allow, by name; center first."""
    found: dict[str, dict[str, Any]] = {mappings.CENTER: {}, "raw": {"mapping": mappings.Center(strength=0.0)}}
    for name in mappings.available():
        built: Any = mappings.load(name)
        if name != mappings.CENTER and (rows.paired or "pairs" not in built.needs):
            is_usual = getattr(built, "target", None) in (None, *rows.names)
            found[name] = {"mapping": name if is_usual else replace(built, target=rows.names[0])}
            found[name] |= {"second_moments": True} if "second_moments" in built.needs else {}
    return found


@dataclass
class Trial:
    """Candidates on the same splits; `columns` names their figures, `notes` gets those that could not be tried."""

    rows: Rows
    judge: Callable[[Split], dict[str, float]]
    n_splits: int
    bar: Any
    notes: list[str]
    columns: tuple[str, ...] = field(default=(), init=False)

    def of(self, wanted: Mapping[str, dict[str, Any]]) -> dict[str, Float64Array]:
        """Figures (n_splits, n_columns) of each candidate."""
        found: dict[str, list[Any]] = {name: [] for name in wanted}
        for seed in range(self.n_splits if wanted else 0):
            split = self.rows.split(seed)
            for name in list(found):
                split.aligner.set_params(**{**_USUAL, **wanted[name]})
                self.bar.update()
                try:
                    figures = self.judge(split)
                except C3AlignError as error:
                    if name == mappings.CENTER:
                        raise
                    self.notes.append(f"{name} was left out: {error}")
                    del found[name]
                else:
                    self.columns = tuple(figures)
                    found[name].append([*figures.values()])
        return {name: np.array(figures, np.float64) for name, figures in found.items()}


def search(split: Split) -> dict[str, float]:
    """Every item is in one index as its row of one modality, by coin, and is searched by its row of the other."""
    (x, y), (a, b) = split.aligned(), split.names
    as_x = half(split.about, np.random.default_rng([split.seed, 1]))
    index, queries = np.where(as_x[:, None], x, y), np.where(as_x[:, None], y, x)
    found = _gain(queries @ index.T, split.about[:, None] == split.about)
    by = {f"{a} queries": float(found[~as_x].mean()), f"{b} queries": float(found[as_x].mean())}
    return {f"NDCG@{TOP}": float(found.mean()), **by}


def _gain(scores: Any, relevant: Any) -> Float64Array:
    """NDCG of each query (n_queries,); what ties with a relevant row comes before it."""
    scores, k = scores - TIE * relevant, min(TOP, len(scores))
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1)
    gains = np.take_along_axis(relevant, np.take_along_axis(top, order, axis=1), axis=1)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return gains @ discounts / np.cumsum(discounts)[np.minimum(relevant.sum(axis=1), k) - 1]


def retrieval(split: Split) -> dict[str, float]:
    """R@1 in the other modality alone; any row about the same thing is right."""
    (x, y), (a, b) = split.aligned(), split.names
    scores, relevant = x @ y.T, split.about[:, None] == split.about
    right, wrong = np.where(relevant, scores, -np.inf), np.where(relevant, -np.inf, scores)
    there, back = (float((right.max(axis=k) > wrong.max(axis=k) + TIE).mean()) for k in (1, 0))
    return {"R@1": (there + back) / 2, f"{a} -> {b}": there, f"{b} -> {a}": back}


def captioning(split: Split) -> dict[str, float]:
    """A ridge regression learns to read X's rows from their aligned and noisy ones, and reads their partners."""
    own, other = split.sides[0][split.learned[0]], split.aligned()[1]
    noisy = [split.aligner.corrupt(own, modality=split.names[0], seed=seed) for seed in range(COPIES)]
    rows, center = np.concatenate(noisy).astype(np.float64), geometry.unit_rows(own).mean(axis=0)
    goal, truth = (geometry.unit_rows(geometry.unit_rows(X) - center) for X in (own, split.sides[0][split.tested[0]]))
    near, level = rows.mean(axis=0), goal.mean(axis=0)
    rows -= near
    square = rows.T @ rows
    square[np.diag_indices_from(square)] += PENALTY * np.trace(square) / len(square)
    weights = np.linalg.solve(square, rows.T @ np.tile(goal, (COPIES, 1)))
    read = (other - near) @ weights + level
    return {"cosine": float(np.einsum("ij,ij->i", geometry.unit_rows(read), truth).mean())}


def classification(split: Split) -> dict[str, float]:
    """Accuracy of the nearest class prompt."""
    prompts, rows = split.aligned()
    return {"accuracy": float(((rows @ prompts.T).argmax(axis=1) == split.about).mean())}


def likeness(split: Split) -> dict[str, float]:
    """What tells without pairs how alike the modalities have become."""
    x, y = split.aligned()
    m = min(len(x), len(y))
    x, y = (rows[np.linspace(0, len(rows) - 1, m).astype(int)] for rows in (x, y))
    limit, others = np.quantile(x @ y.T, 1 - RATE), ~np.eye(m, dtype=bool)
    shares = [RATE, *(float(((rows @ rows.T)[others] > limit).mean()) for rows in (x, y))]
    other = 1 - np.mean(geometry.modality_bias(x, y, k=TOP))
    return {
        "false positives": max(shares) / max(min(shares), 1 / m**2),
        f"other in top {TOP}": float(other) * (2 * m - 1) / m / 2,
        "distribution gap": geometry.distribution_gap(x, y).total,
    }
