"""Figure 6 and Table 5: texts alone first, then a share of the pairs.

Stage 1 is Table 2's: every caption, no picture. Stage 2 goes on with 1, 5, 25 or 100 % of the pairs: pictures in,
without noise, their captions out. "pairs only" leaves stage 1 out.

Examples
--------
    python benchmarks/paper/figure6_low_data.py --data COCO --cache embeddings --json table5.json
    python benchmarks/paper/figure6_low_data.py --encoder glyphs
"""

from __future__ import annotations

import copy
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import _captioning
import _data
import numpy as np
from _configs import GLYPH_LOW_DATA, TABLE_5, LowData
from _embeddings import Embedded, embed
from _entry import caption_parser, configured
from _published import SHARES
from _published import TABLE_5 as PUBLISHED
from _results import Results
from _variants import VARIANTS, fit_aligner

from c3align import C3Aligner, encoders
from c3align.decoders import PrefixCaptioner

PAIRS_ONLY = "pairs only"
SHOWN = ("bleu_4", "cider", "spice", "word_f1", "exact", "bigram_precision")


class Runs:
    """Both stages of one variant and seed; what stage 1 learned is on disk while it is needed."""

    def __init__(
        self, config: LowData, data: _data.Data, rows: Embedded, variant: str, seed: int, folder: Path
    ) -> None:
        self.config, self.data, self.rows, self.seed = config, data, rows, seed
        self.folder = folder
        self.reads_texts = variant != PAIRS_ONLY
        fit = partial(fit_aligner, variant if self.reads_texts else "C1")
        self.aligner = _captioning.aligned(config, data, rows, fit)

    def decoder(self) -> PrefixCaptioner:
        """One that has learned from texts alone; without stage 1, a new one."""
        texts = self.data.train.texts()
        if not self.reads_texts:
            return _captioning.captioner(self.config, texts, self.rows.n_dims, self.seed)
        if not self.folder.exists():
            made = _captioning.captioner(self.config, texts, self.rows.n_dims, self.seed)
            _captioning.learn(self.config, made, self.rows.text, texts, self.aligner, self.seed)
            made.save_pretrained(self.folder)
        return PrefixCaptioner.from_pretrained(self.folder)

    def after(self, share: float) -> dict[str, Any]:
        """Scores when this share of the training items came with its captions; 0 is stage 1 alone."""
        decoder, train = self.decoder(), self.data.train
        n_items = round(share * len(train))
        if share:
            chosen = np.sort(np.random.default_rng(self.seed).permutation(len(train))[: max(1, n_items)])
            texts = [caption for i in chosen for caption in train.captions[i]]
            rows = np.repeat(self.rows.train[chosen], [len(train.captions[i]) for i in chosen], axis=0)
            warmup, lr = self.config.warmup, self.config.lr
            config = replace(
                self.config,
                warmup=round(warmup * share) if isinstance(warmup, int) else warmup,
                lr=self.config.pairs_lr or lr if self.reads_texts else lr,
            )
            quiet = self._without_noise()
            _captioning.learn(config, decoder, rows, texts, quiet, self.seed, modality=self.data.modality)
        args = (self.config, decoder, self.aligner, self.rows.test, self.data.modality, self.data.test.captions)
        return {"n_trained_on": n_items, **_captioning.scored(*args)}

    def _without_noise(self) -> C3Aligner:
        return copy.deepcopy(self.aligner).set_params(sigma=0.0)


def main() -> None:
    variants = [PAIRS_ONLY, *VARIANTS]
    arguments = caption_parser(__doc__, variants)
    arguments.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="of the pairs, 1 is all")
    options = arguments.parse_args()
    config: LowData = configured(TABLE_5, GLYPH_LOW_DATA, options)
    encoder = encoders.load(config.encoder)
    data = _data.read("coco", options.data, config.encoder).first(options.limit)
    rows = embed(encoder, data, options.cache, options.device)
    results = Results(options.json, {"table": 5, "config": vars(config), "limit": options.limit})
    for seed in config.seeds:
        for variant in options.variants:
            with tempfile.TemporaryDirectory() as name:
                runs = Runs(config, data, rows, variant, seed, Path(name) / "stage 1")
                for share in [*([0.0] if variant != PAIRS_ONLY else []), *options.shares]:
                    key = {"variant": variant, "seed": seed, "share": share}
                    results.run(key, lambda r=runs, s=share: r.after(s))
    for share in [0.0, *options.shares]:
        print(f"\n{100 * share:g} % of the pairs")
        groups = [(variant, {"variant": variant, "share": share}) for variant in options.variants]
        _captioning.show(results, groups, SHOWN, partial(published, share))


def published(share: float, variant: str) -> dict[str, float]:
    if share not in SHARES:
        return {}
    return {metric: values[SHARES.index(share)] for metric, values in PUBLISHED[variant].items()}


if __name__ == "__main__":
    main()
