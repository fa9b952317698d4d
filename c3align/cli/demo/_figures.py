"""The figures of the first two acts: the gap, and one index over pictures and names that is searched by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align import geometry, ops
from c3align.cli.demo._material import Material

__all__ = ["N_FOUND", "gap", "search"]

N_FOUND = 10


def gap(material: Material) -> dict[str, dict[str, float]]:
    """Distance of the two means, and how often a straight line tells the modalities apart, before and after."""
    return {when: _distances(**rows) for when, rows in _before_and_after(material).items()}


def search(material: Material) -> dict[str, dict[str, float]]:
    """What a name finds before and after; see `_shares`."""
    return {when: _shares(**rows) for when, rows in _before_and_after(material).items()}


def _before_and_after(material: Material) -> dict[str, dict[str, Any]]:
    raw = {modality: ops.normalize(rows) for modality, rows in material.held_out_rows.items()}
    return {"before": raw, "after": material.aligned()}


def _distances(image: Any, text: Any) -> dict[str, float]:
    separability = geometry.linear_separability(image, text).accuracy
    return {"gap_norm": float(np.linalg.norm(geometry.gap_vector(image, text))), "separability": separability}


def _shares(image: Any, text: Any) -> dict[str, float]:
    """Share of pictures among the nearest of each name, itself left out, and of names whose own picture is there."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=N_FOUND + 1, algorithm="brute").fit(np.concatenate([image, text]))
    found = index.kneighbors(text, return_distance=False)
    numbers = np.arange(len(text))
    others = np.array([row[row != own][:N_FOUND] for row, own in zip(found, len(image) + numbers)])
    return {"pictures": float((others < len(image)).mean()), "own": float((others == numbers[:, None]).any(1).mean())}
