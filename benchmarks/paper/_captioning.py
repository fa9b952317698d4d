"""What the captioning tables share: train on texts alone, caption the test items, score."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from _configs import GLYPH_CAPTIONS, WORDS, Captioning
from _data import Data
from _embeddings import Embedded
from _results import Results, spread, table

from c3align import C3Aligner, scores
from c3align.decoders import PrefixCaptioner
from c3align.decoders.small_lm import small_lm


def captioner(config: Captioning, texts: list[str], n_dims: int, seed: int) -> PrefixCaptioner:
    """The decoder before it has learned anything."""
    settings = {"mapper": config.mapper, "prefix_length": config.prefix_length, "tune": config.tune, "n_dims": n_dims}
    if config.lm == WORDS:
        return PrefixCaptioner(*small_lm(texts, seed=seed, **config.small_lm), **settings)
    return PrefixCaptioner.from_pretrained_lm(config.lm, **settings)
