"""Rows that decoders learn from: of one named modality, with fresh noise every epoch."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import centering, ops
from c3align._typing import Int64Array
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.ops.arrays import Rows, as_rows, first_non_finite

_STRAY_ROWS = 1 << 13
_DIGEST_ROWS = 1 << 12
_NOISY_ROWS = 256  # that tell aligner and noise from others
BLOCK_ROWS = 1 << 16  # rows that are corrupted and shuffled together

Block = npt.NDArray[np.float32]


def seed_of(seed: int, *what: int) -> int:
    """A seed for one purpose out of many: a function of all the numbers, 64 bits."""
    return int(np.random.SeedSequence([seed, *what]).generate_state(1, np.uint64)[0])


def digest_of(values: Any) -> str:
    """The SHA-256 of an array's shape, dtype and all its values, read block by block."""
    digest = hashlib.sha256(f"{values.dtype} {values.shape}".encode())
    for start in range(0, len(values), _DIGEST_ROWS):
        digest.update(np.ascontiguousarray(values[start : start + _DIGEST_ROWS]).tobytes())
    return digest.hexdigest()


def checked_rows(X: Any, n_dims: int | None = None) -> Rows:
    """Rows (n_rows, n_dims), all finite; others are refused with their number and the first of them."""
    rows = as_rows(X, "embeddings")
    if n_dims is not None and rows.shape[1] != n_dims:
        raise C3AlignError(
            f"the embeddings must have {n_dims} dimensions, got {rows.shape[1]}; pass rows of the encoder that this "
            "decoder was made for"
        )
    count, first = first_non_finite(rows)
    if count:
        raise C3AlignError(
            f"embeddings hold NaN or infinity in {count} of {rows.shape[0]} rows, first in row {first}; remove or fix "
            "those rows"
        )
    return rows


def refuse_other_modality(X: Any, aligner: Any, modality: str) -> None:
    """Refuse rows that lie far from the named modality's mean, or on another one's side.

    A decoder that sees a single row of another modality is no longer trained on one modality alone.
    """
    state, glance = centering.state_of(aligner, modality), centering.Glance.of(X)
    problem = centering.doubt_about(modality, state, glance, centering.FAR, mixtures=False)
    if problem is not None:
        raise C3AlignError(
            f"the embeddings given as modality={modality!r} {problem}; a decoder learns from one modality alone: pass "
            f"raw {modality!r} rows of the encoder that the aligner was fitted on, or name their modality"
        )
    small = centering.doubt_about(modality, state, glance, mixtures=False)
    if small is not None:
        warnings.warn(
            f"the embeddings given as modality={modality!r} {small}; check that they are {modality!r} rows of the "
            "encoder that the aligner was fitted on",
            ModalityMeanWarning,
            stacklevel=4,
        )


def strays(X: Any, aligner: Any, modality: str, first_row: int = 0) -> dict[int, str]:
    """Numbers of the rows on another modality's side of the gap, and its name.

    Asked only where the gap is wide, four standard deviations (as if columns were independent) from mean to middle.
    On CLIP's COCO pairs, ConVIRT and the glyphs this separates every row: none of a modality lies beyond 0.47 of
    the way to the other's mean, none of the other before 0.73.
    """
    own, found = aligner.statistics_[modality], dict[int, str]()
    for name, other in aligner.statistics_.items():
        gap = other.mean - own.mean
        length = float(np.linalg.norm(gap))
        spread = float(np.sqrt((gap**2) @ own.variance)) / length if length else np.inf
        if name != modality and other.n_rows and 4 * spread <= length / 2:
            beyond = first_row + _beyond_the_middle(as_rows(X), own.mean, gap)
            found |= dict.fromkeys(beyond.tolist(), name)
    return found


def refuse_strays(X: Any, aligner: Any, modality: str, first_row: int = 0) -> None:
    """Refuse single rows on another modality's side of the gap."""
    found = strays(X, aligner, modality, first_row)
    if found:
        before = centering.aligned_before(aligner.state_, modality, centering.Glance.of(X))
        if before:
            raise C3AlignError(f"embeddings lie{before.removeprefix(',')}; pass raw rows, as their encoder gives them")
        first, name = min(found.items())
        raise C3AlignError(
            f"{len(found)} of {X.shape[0]} embeddings given as modality={modality!r} lie on the side of {name!r}, "
            f"first row {first}; a decoder learns from one modality alone: remove those rows, or "
            "pass --on-error skip (on_error='skip')"
        )


def _beyond_the_middle(rows: Rows, mean: npt.NDArray[Any], gap: npt.NDArray[Any]) -> Int64Array:
    """Numbers of the rows that lie more than half of `gap` from `mean` along it."""
    found = []
    for start in range(0, rows.shape[0], _STRAY_ROWS):
        unit = ops.normalize(rows.take(slice(start, start + _STRAY_ROWS)).widened(), zero_rows="keep")
        beyond = unit.astype(np.float64) @ gap > mean @ gap + gap @ gap / 2
        found.append(start + np.flatnonzero(beyond & unit.any(axis=1)))
    return np.concatenate(found) if found else np.empty(0, np.int64)


@dataclass(frozen=True)
class TrainingRows:
    """Rows of one modality, in blocks; block, order and noise are functions of seed, epoch and row number."""

    rows: Rows  # as given, a memmap too
    aligner: Any  # None: the rows are used as they are
    modality: str
    seed: int

    def __len__(self) -> int:
        return self.rows.shape[0]

    def check(self, skip: bool = False) -> dict[int, str]:
        """Refuse other modalities, block by block, so that none hides behind the first rows.

        With `skip`, single rows on the side of another one are not refused but returned, with its name.
        """
        found: dict[int, str] = {}
        for part in self._parts() if self.aligner is not None else []:
            block = self.rows.take(part)
            refuse_other_modality(block, self.aligner, self.modality)
            if skip:
                found |= strays(block, self.aligner, self.modality, part.start)
            else:
                refuse_strays(block, self.aligner, self.modality, part.start)
        return found

    def _parts(self) -> list[slice]:
        # what is left over goes with the last block: a few rows would say little about their mean
        starts = [*range(0, max(1, len(self) - BLOCK_ROWS // 2), BLOCK_ROWS)]
        return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(self)])]

    def blocks(
        self, epoch: int, batch_size: int, kept: npt.NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[list[Int64Array], int, Block]]:
        """Row numbers of every batch of a block, the block's first row, and its rows, aligned and noisy.

        With `kept` (n_rows,) only those rows are in a batch.
        """
        rng = np.random.default_rng([self.seed, epoch])
        for i in rng.permutation(len(self._parts())).tolist():
            part = self._parts()[i]
            order = np.arange(part.stop - part.start) if kept is None else np.flatnonzero(kept[part])
            numbers = part.start + rng.permutation(order)
            # not sorted by length: batches of equal lengths spare padding and learn far worse (word F1 .36, not .46)
            batches = [numbers[first : first + batch_size] for first in range(0, len(numbers), batch_size)]
            yield batches, part.start, self._corrupted(part, epoch)

    def n_batches(self, batch_size: int, kept: npt.NDArray[np.bool_] | None = None) -> int:
        """Batches of an epoch."""
        sizes = [part.stop - part.start if kept is None else int(kept[part].sum()) for part in self._parts()]
        return sum(-(-size // batch_size) for size in sizes)

    def aligned(self) -> Iterator[tuple[slice, Block]]:
        """All rows without noise, block by block."""
        for part in self._parts():
            yield part, self.clean(part)

    def clean(self, part: slice) -> Block:
        """Some rows, aligned, without noise."""
        return self._moved(part, "transform")

    def digest(self) -> str:
        """What tells these rows, aligned and noisy, from others: all of them are read once."""
        noisy = self._corrupted(slice(0, None, max(1, len(self) // _NOISY_ROWS)), 0)
        return digest_of(self.rows.values) + digest_of(noisy)

    def _corrupted(self, part: slice, epoch: int) -> Block:
        return self._moved(part, "corrupt", seed=seed_of(self.seed, epoch), row_offset=part.start)

    def _moved(self, part: slice, how: str, **options: Any) -> Block:
        block = self.rows.take(part).widened().astype(np.float32, copy=False)
        if self.aligner is None:
            return block
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModalityMeanWarning)  # `check` has looked
            return np.asarray(getattr(self.aligner, how)(block, modality=self.modality, **options), np.float32)
