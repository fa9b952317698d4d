"""A language model that reads embeddings, behind a mapper that learns from texts alone."""

from __future__ import annotations

from c3align.decoders.prefix.decoder import PrefixCaptioner

__all__ = ["PrefixCaptioner"]
