"""Decoders: what learns from embeddings of one modality and runs on those of another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from c3align.decoders.diffusion import DiffusersGenerator
    from c3align.decoders.memory import MemoryCaptioner
    from c3align.decoders.pictures import EmbeddingGenerator
    from c3align.decoders.prefix import PrefixCaptioner
    from c3align.decoders.prefix.language_models import small_lm
    from c3align.decoders.prefix.model import Projector

__all__ = ["DiffusersGenerator", "EmbeddingGenerator", "MemoryCaptioner", "PrefixCaptioner", "Projector", "small_lm"]

_HOMES = {
    "DiffusersGenerator": "c3align.decoders.diffusion",
    "EmbeddingGenerator": "c3align.decoders.pictures",
    "MemoryCaptioner": "c3align.decoders.memory",
    "PrefixCaptioner": "c3align.decoders.prefix",
    "Projector": "c3align.decoders.prefix.model",
    "small_lm": "c3align.decoders.prefix.language_models",
}


def __getattr__(name: str) -> Any:
    """Import on first use: each decoder needs heavy packages of its own."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'c3align.decoders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
