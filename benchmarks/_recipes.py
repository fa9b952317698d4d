"""What `recipes.py` compares: mappings solved from some rows, noise around them, and ways to score an index."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from _sets import Embeddings, Numbers, Rows

from c3align import mappings, ops
from c3align.calibration import Calibration
from c3align.covariance import CovarianceStatistics, symmetric_root
from c3align.cross_covariance import CrossCovariance
from c3align.errors import CalibrationWarning
from c3align.noise import sigma_from_cosine

FREE = ("raw", "center", "standardize", "realign", "coral", "gaussian_ot", "barycenter", "drop_unequal", "quantile")
PAIRED = ("procrustes", "ridge", "cca")
# two lists, one a modality, made one: the rows' mapping, and how scores are made comparable
LISTS = {
    "raw, by rank": ("raw", "rank"),
    "center, z-scores": ("center", "z"),
    "barycenter, by rank": ("barycenter", "rank"),
    "raw, NNN": ("raw", "nnn"),
}
NOISES = ("none", "isotropic", "text covariance ^1/2", "residual")  # the last needs pairs
REFERENCES, NNN_WEIGHT = 128, 0.75  # of NNN: the nearest queries, and what their mean counts

Scores = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A mapping that was solved: rows of a modality -> mapped, and aligned ones."""

    maps: dict[str, mappings.RowTransform]

    def mapped(self, rows: Rows, modality: str) -> Rows:
        """Before they are brought back to norm 1."""
        return self.maps[modality].apply(rows) if self.maps else rows

    def aligned(self, rows: Rows, modality: str) -> Rows:
        return ops.normalize(self.mapped(rows, modality))


def fit(found: Embeddings, name: str, which: dict[str, Numbers]) -> Fitted:
    """A mapping with its defaults, from the rows `which`; where there are pairs and it needs them, from these."""
    if name == "raw":
        return Fitted({})
    rows = {modality: found.rows[modality][numbers] for modality, numbers in which.items()}
    mapping = mappings.load(name)
    if name == "realign":  # whose target is the modality that texts are moved to
        mapping = replace(mapping, target=found.other)  # type: ignore[type-var]
    for setting in {"n_components", "n_directions"} & {each.name for each in fields(mapping)}:  # type: ignore[arg-type]
        most = rows["text"].shape[1] // 2  # of few dimensions
        mapping = replace(mapping, **{setting: min(getattr(mapping, setting), most)})  # type: ignore[type-var]
    learned: dict[str, Any] = {"samples": {modality: part.astype(np.float64) for modality, part in rows.items()}}
    if "sketches" in mapping.needs:
        learned["sketches"] = {modality: mappings.QuantileSketch.from_rows(part) for modality, part in rows.items()}
    if "pairs" in mapping.needs:
        texts, others = found.pairs(which)
        both = CrossCovariance.from_rows(found.rows["text"][texts], found.rows[found.other][others])
        learned["pairs"] = {("text", found.other): both}
    known = {modality: CovarianceStatistics.from_rows(part) for modality, part in rows.items()}
    return Fitted(dict(mapping.solve(known, **learned)))


def noise_root(kind: str, cosine: float, text: Rows, residuals: Rows | None) -> Any:
    """What standard normals are multiplied by: nothing, a number or a matrix; `text` are mapped rows of texts.

    Whatever the shape, the noise has the expected square norm ``d sigma**2``.
    """
    n_dims = text.shape[1]
    sigma = sigma_from_cosine(cosine, n_dims, norm=float(np.sqrt((text.astype(np.float64) ** 2).sum(axis=1).mean())))
    if kind in ("none", "isotropic"):
        return None if kind == "none" else sigma
    covariance = np.cov(text if residuals is None else residuals, rowvar=False, bias=True)
    if kind == NOISES[2]:
        covariance = symmetric_root(covariance)
    return symmetric_root(covariance) * np.sqrt(n_dims * sigma**2 / np.trace(covariance))


def noisy(rows: Rows, root: Any, seed: int, row_offset: int = 0) -> Rows:
    """Mapped rows, corrupted, of norm 1."""
    if root is None:
        return ops.normalize(rows)
    normals = ops.philox_normal(*rows.shape, seed=seed, row_offset=row_offset)
    return ops.normalize(rows + (normals * np.float32(root) if np.ndim(root) == 0 else normals @ root.astype("f4")))


class Index:
    """Scores of documents of each modality for queries, as a way of scoring makes them."""

    def __init__(self, found: Embeddings, fitted: Fitted, which: dict[str, Numbers], how: str = "cosine") -> None:
        self.how = how
        self.known = {name: fitted.aligned(found.rows[name][numbers], name) for name, numbers in which.items()}
        if how == "calibrated":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CalibrationWarning)  # it then scores by quantiles
                self.calibration = Calibration.from_rows(self.known)

    def scores(self, queries: Rows, documents: Rows, query: str, document: str) -> Scores:
        """(n_queries, n_documents), of documents of one modality."""
        if self.how == "calibrated":
            return self.calibration.score(queries, documents, query=query, document=document)
        return HOW[self.how](queries @ documents.T, documents, self.known[query], self.known[document])


def _by_rank(found: Scores, documents: Rows, queries: Rows, others: Rows) -> Scores:
    return -np.argsort(np.argsort(-found, axis=1), axis=1)


def _by_z(found: Scores, documents: Rows, queries: Rows, others: Rows) -> Scores:
    """Less the mean and over the standard deviation of what rows of these modalities score that were learned from."""
    known = queries @ others.T
    return (found - known.mean()) / known.std()


def _by_nnn(found: Scores, documents: Rows, queries: Rows, others: Rows) -> Scores:
    """Less what a document scores for the reference queries that are nearest to it."""
    known = np.sort(queries @ documents.T, axis=0)[-REFERENCES:]
    return found - NNN_WEIGHT * known.mean(axis=0)


HOW: dict[str, Callable[[Scores, Rows, Rows, Rows], Scores]] = {
    "cosine": lambda found, *_: found,
    "rank": _by_rank,
    "z": _by_z,
    "nnn": _by_nnn,
}
