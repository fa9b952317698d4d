"""How decoders learn: settings, rows with fresh noise every epoch, and one loop that resumes to the same bits."""

from __future__ import annotations

from c3align.training.settings import Training

__all__ = ["Training"]
