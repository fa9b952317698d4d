"""Decoders: what learns from embeddings of one modality and runs on those of another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from c3align.decoders._caption_training import Training
    from c3align.decoders.embedding import EmbeddingGenerator
    from c3align.decoders.memory import MemoryCaptioner
    from c3align.decoders.prefix import PrefixCaptioner

__all__ = ["EmbeddingGenerator", "MemoryCaptioner", "PrefixCaptioner", "Training"]

_HOMES = {
    "EmbeddingGenerator": "c3align.decoders.embedding",
    "MemoryCaptioner": "c3align.decoders.memory",
    "PrefixCaptioner": "c3align.decoders.prefix",
    "Training": "c3align.decoders._caption_training",
}


def __getattr__(name: str) -> Any:
    """Import on first use: each decoder needs heavy packages of its own."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'c3align.decoders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
