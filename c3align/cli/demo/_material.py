"""What the demo is about: characters and their names, their rows from the encoder in this package, and their gap."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import C3Aligner, geometry, ops
from c3align import datasets as data
from c3align.io import atomic, container

N_FOUND = 10
Rows = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Material:
    """Characters of both splits and their raw rows, by modality."""

    encoder: Any
    train: data.Glyphs
    held_out: data.Glyphs
    train_rows: Rows
    held_out_rows: Rows

    def aligner(self) -> C3Aligner:
        """Fitted on the training characters, without telling it which picture belongs to which name."""
        rows = self.train_rows
        return C3Aligner().fit(rows["text"]).partial_fit(rows["image"], modality="image")

    def aligned(self) -> Rows:
        """The held-out rows, each centered by the mean of its modality."""
        aligner = self.aligner()
        return {modality: aligner.transform(rows, modality=modality) for modality, rows in self.held_out_rows.items()}


def embed(encoder: Any, folder: Path | None = None) -> Material:
    """Pictures and names of all characters through the encoder, or the rows that an earlier run left in `folder`."""
    splits = {split: data.glyphs(split=split) for split in ("train", "held_out")}
    path = folder / "rows.safetensors" if folder else None
    rows = (_kept(path, splits) if path else None) or _embedded(encoder, splits)
    if path and not path.exists():
        kept: dict[str, Any] = {
            f"{split}-{name}": part for split, found in rows.items() for name, part in found.items()
        }
        atomic.write(path, container.dump(kept, {}))
    return Material(encoder, splits["train"], splits["held_out"], rows["train"], rows["held_out"])


def _embedded(encoder: Any, splits: dict[str, data.Glyphs]) -> dict[str, Rows]:
    rows: dict[str, Rows] = {split: {} for split in splits}
    jobs = [(split, modality) for split in splits for modality in ("text", "image")]
    for split, modality in tqdm(
        jobs, desc="embedding", unit="set", delay=1, disable=None, leave=False, file=sys.stderr
    ):
        items: Any = splits[split].names if modality == "text" else splits[split].pictures
        rows[split][modality] = encoder.encode(items, modality=modality)
    return rows


def _kept(path: Path, splits: dict[str, data.Glyphs]) -> dict[str, Rows] | None:
    """The rows in the file, or None where it is absent, damaged, or of other characters."""
    try:
        found = container.parse(path.read_bytes(), "demo")[1]
        rows = {split: {name: found[f"{split}-{name}"] for name in ("text", "image")} for split in splits}
    except (OSError, ValueError, KeyError):
        path.unlink(missing_ok=True)
        return None
    if any(len(part) != len(splits[split]) for split, found in rows.items() for part in found.values()):
        path.unlink()
        return None
    return rows


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
