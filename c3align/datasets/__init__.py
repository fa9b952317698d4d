"""Small real data sets that need no download."""

from __future__ import annotations

from c3align.datasets._glyphs import FONTS, SIZE, UNICODE_DIGEST, Glyphs, glyphs, is_held_out

__all__ = ["FONTS", "SIZE", "UNICODE_DIGEST", "Glyphs", "glyphs", "is_held_out"]
