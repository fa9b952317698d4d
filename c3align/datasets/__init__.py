"""Small real data sets that need no download."""

from __future__ import annotations

__all__ = ["glyphs"]
