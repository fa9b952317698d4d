"""A small network that learns to draw from pictures alone."""

from __future__ import annotations

from c3align.decoders.pictures.decoder import EmbeddingGenerator

__all__ = ["EmbeddingGenerator"]
