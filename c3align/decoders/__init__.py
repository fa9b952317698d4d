"""Decoders: what learns from embeddings of one modality and runs on those of another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from c3align.decoders.embedding import EmbeddingGenerator

__all__ = ["EmbeddingGenerator"]

_HOMES = {
    "EmbeddingGenerator": "c3align.decoders.embedding",
}


def __getattr__(name: str) -> Any:
    """Import on first use: each decoder needs heavy packages of its own."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'c3align.decoders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
