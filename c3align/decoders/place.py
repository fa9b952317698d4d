"""Where the rows lie that a decoder takes: a few numbers, by which rows of another kind are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError
from c3align.io import container
from c3align.training.rows import TrainingRows

LOOKED_AT = 1024  # rows of a training set
ENOUGH = 8  # different rows, of which the mean is judged; fewer may all be extreme
WIDENED, WIDENED_FEW = 1.25, 1.75  # how far beyond the most extreme training row legitimate rows may lie
PART, PART_FEW = 0.5, 0.75  # how much of the way to where wrong rows lie
ONE_NORM, LONGER = 1.01, 1.25  # norms up to the first times each other are one; up to the second times it are that one

Rows = npt.NDArray[Any]


@dataclass(frozen=True)
class Place:
    """Directions in which aligned rows lie near zero, and rows that are raw or centered by another mean do not.

    The directions are that of the training modality's mean, and those from it to the other means that the aligner
    knew. Rows are refused when their mean lies beyond `WIDENED` times the most extreme of the aligned training rows
    and beyond `PART` of the way to where wrong rows lie; of fewer than `ENOUGH` different rows more is asked. On
    CLIP's COCO pairs, ConVIRT, CLAP and the glyphs no aligned row is refused, alone or among others.
    """

    directions: npt.NDArray[np.float32]  # (k, n_dims), of norm 1
    usual: npt.NDArray[np.float32]  # (k,): the largest component, in size, of an aligned training row of norm 1
    wrong: npt.NDArray[np.float32]  # (k,): the component of rows that are not aligned so
    norm: npt.NDArray[np.float32]  # (1,): of the training rows; zero where they have many, or any will do

    @classmethod
    def of(cls, source: TrainingRows, *, any_norm: bool = False) -> Place | None:
        """The place of training rows; None where no aligner tells how they are aligned, or nothing can be told."""
        if source.aligner is None:
            return None
        statistics = source.aligner.statistics_
        own = statistics[source.modality].mean
        pairs = [(own, float(np.linalg.norm(own)))]
        for name, other in statistics.items():
            if name != source.modality and other.n_rows:
                gap = other.mean - own
                length = float(gap @ gap) ** 0.5
                # where its rows lie when they are centered by this mean, and normalized
                pairs.append((gap, length / max((length**2 + other.total_variance) ** 0.5, 1e-12)))
        directions = np.array([axis / max(float(np.linalg.norm(axis)), 1e-12) for axis, _ in pairs], np.float32)
        rows = source.clean(slice(0, None, max(1, len(source) // LOOKED_AT)))
        lengths = np.linalg.norm(rows, axis=1)
        has_one = not any_norm and lengths.max() <= ONE_NORM * lengths.min()
        norm = np.array([lengths.mean() if has_one else 0], np.float32)
        usual = np.abs(_unit(rows) @ directions.T).max(axis=0)
        wrong = np.array([distance for _, distance in pairs], np.float32)
        told = WIDENED * usual < wrong
        return cls(directions[told], usual[told], wrong[told], norm) if told.any() or norm.any() else None

    def check(self, rows: Rows, modality: str) -> None:
        """Refuse finite rows (n, n_dims) that are not aligned; the decoder learned from `modality`."""
        if len(self.directions):
            self._check_directions(rows, modality)
        self._check_norm(rows)

    def _check_directions(self, rows: Rows, modality: str) -> None:
        components = _unit(rows) @ self.directions.T
        few = len(np.unique(components.round(5), axis=0)) < ENOUGH
        widened, part = (WIDENED_FEW, PART_FEW) if few else (WIDENED, PART)
        most = np.maximum(widened * self.usual, part * self.wrong)
        means = np.abs(components.mean(axis=0, keepdims=True)) if len(rows) else np.zeros((1, 1))
        if (means > most).any():
            raise C3AlignError(
                "the embeddings must be aligned rows, and these are raw or were centered by another modality's mean "
                f"(the decoder learned from {modality!r}); pass aligner.transform(rows, modality=...) with the "
                "modality that they are of"
            )

    def _check_norm(self, rows: Rows) -> None:
        """Refuse rows that are scaled, or of an aligner that leaves rows as long as they come out."""
        usual, mean = float(self.norm[0]), float(np.linalg.norm(rows, axis=1).mean()) if len(rows) else 0.0
        if usual and len(rows) and not usual / LONGER <= mean <= usual * LONGER:
            raise C3AlignError(
                f"the embeddings have norms around {mean:.3g}, and the decoder learned from rows of norm {usual:.3g}; "
                "pass what transform of the same aligner gives, unscaled"
            )

    def tensors(self) -> dict[str, Any]:
        """Its arrays by name, as tensors, to be saved."""
        import torch

        return {f"place.{name}": torch.from_numpy(value) for name, value in vars(self).items()}

    @classmethod
    def taken_from(cls, tensors: dict[str, Any], n_dims: int) -> Place | None:
        """Take its tensors out of those of a file; None where an older version wrote none, `FormatError` for others."""
        import torch

        found: Mapping[str, Any] = {name: tensors.pop(name) for name in [*tensors] if name.startswith("place.")}
        if not found:
            return None
        found = {"place.norm": torch.zeros(1), **found}  # which older versions did not write
        k = len(found["place.usual"]) if getattr(found.get("place.usual"), "ndim", 0) else 0
        shapes = {"directions": (k, n_dims), "usual": (k,), "wrong": (k,), "norm": (1,)}
        expected = {f"place.{name}": (torch.float32, shape) for name, shape in shapes.items()}
        container.check_tensors(found, expected, "decoder")
        return cls(**{name.removeprefix("place."): value.numpy() for name, value in found.items()})


def _unit(rows: Rows) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-30), np.float32)
