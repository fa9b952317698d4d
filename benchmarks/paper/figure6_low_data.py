"""Figure 6 and Table 5: texts alone first, then a share of the pairs.

Stage 1 is Table 2's: every caption, no picture. Stage 2 goes on with 1, 5, 25 or 100 % of the pairs: pictures in,
without noise, their captions out. "pairs only" leaves stage 1 out.

Examples
--------
    python benchmarks/paper/figure6_low_data.py --data COCO --cache embeddings --json table5.json
    python benchmarks/paper/figure6_low_data.py --encoder glyphs
"""

from __future__ import annotations

import time
from typing import Any

import _captioning
import _data
import numpy as np
from _configs import GLYPH_CAPTIONS, TABLE_5, Captioning
from _embeddings import Embedded, embed
from _entry import configured, parser
from _published import SHARES
from _published import TABLE_5 as PUBLISHED
from _results import Results
from _variants import VARIANTS, fit_aligner

from c3align import encoders

PAIRS_ONLY = "pairs only"
SHOWN = ("bleu_4", "cider", "spice", "word_f1", "exact", "bigram_precision")


def measure(
    config: Captioning, data: _data.Data, rows: Embedded, variant: str, seed: int, done: Any
) -> dict[str, dict[str, Any]]:
    """Scores after stage 1, and after stage 2 on each share of the pairs."""
    raise NotImplementedError
