"""Embeddings of a data set's texts and items, kept on disk between runs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _data import Data

from c3align.encoders import Encoder


@dataclass(frozen=True)
class Embedded:
    """Raw rows: of all training captions, one after the other, and of the items of both splits."""

    text: npt.NDArray[np.float32]
    train: npt.NDArray[np.float32]
    test: npt.NDArray[np.float32]
    test_text: npt.NDArray[np.float32]

    @property
    def n_dims(self) -> int:
        return self.text.shape[1]


def embed(encoder: Encoder, data: Data, cache: Path | None = None, device: Any = None) -> Embedded:
    """Embed a data set, each item once; with a cache, only what is not there yet."""
    jobs = [
        (data.train.texts(), "text"),
        (data.train.items, data.modality),
        (data.test.items, data.modality),
        (data.test.texts(), "text"),
    ]
    return Embedded(*[_rows(encoder, items, modality, cache, device) for items, modality in jobs])


def _rows(
    encoder: Encoder, items: Sequence[Any], modality: str, cache: Path | None, device: Any
) -> npt.NDArray[np.float32]:
    path = None if cache is None else cache / f"{modality}-{_digest(encoder, items)}.npy"
    if path is not None and path.exists():
        return np.load(path, mmap_mode="r", allow_pickle=False)
    rows = encoder.encode(items, modality=modality, batch_size=64, device=device, progress=len(items) > 10_000)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            np.save(file, rows, allow_pickle=False)
        os.replace(scratch, path)
    return rows


def _digest(encoder: Encoder, items: Sequence[Any]) -> str:
    digest = hashlib.sha256(encoder.fingerprint.encode())
    for item in items:
        digest.update(item.encode() + b"\n" if isinstance(item, str) else np.ascontiguousarray(item).tobytes())
    return digest.hexdigest()[:16]
