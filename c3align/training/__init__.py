"""How decoders learn: settings, rows with fresh noise every epoch, and one loop that resumes to the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from c3align._imports import need
from c3align.training.repeats import make_corrupted
from c3align.training.settings import Training

if TYPE_CHECKING:
    from c3align.training.hf import CorruptedCollator, NoiseOfEpoch

__all__ = ["CorruptedCollator", "NoiseOfEpoch", "Training", "make_corrupted"]


def __getattr__(name: str) -> Any:
    """Import on first use: transformers is large."""
    if name in ("CorruptedCollator", "NoiseOfEpoch"):
        return getattr(need("c3align.training.hf", "transformers", "captions"), name)
    raise AttributeError(f"module 'c3align.training' has no attribute {name!r}")
