"""Table 2: captions of COCO's pictures, learned from its captions alone.

Examples
--------
    python benchmarks/paper/table2_coco_captioning.py --data COCO --cache embeddings --json table2.json
    python benchmarks/paper/table2_coco_captioning.py --encoder glyphs
"""

from __future__ import annotations

from functools import partial
from typing import Any

import _captioning
import _data
from _configs import GLYPH_CAPTIONS, TABLE_2, Captioning
from _embeddings import embed
from _entry import caption_parser, configured
from _published import TABLE_2 as PUBLISHED
from _results import Results
from _variants import VARIANTS, fit_aligner

from c3align import encoders

SHOWN = ("bleu_1", "bleu_4", "meteor", "rouge_l", "cider", "spice", "word_f1", "exact", "bigram_precision")


def main() -> None:
    arguments = caption_parser(__doc__, list(VARIANTS))
    arguments.add_argument("--validate", action="store_true", help="on glyphs: test on left-out training characters")
    options = arguments.parse_args()
    config: Captioning = configured(TABLE_2, GLYPH_CAPTIONS, options)
    encoder = encoders.load(config.encoder)
    data = _data.read("coco", options.data, config.encoder, validate=options.validate).first(options.limit)
    rows = embed(encoder, data, options.cache, options.device)
    results = Results(options.json, {"table": 2, "config": vars(config), "limit": options.limit})
    for seed in config.seeds:
        for variant in options.variants:
            key: dict[str, Any] = {"variant": variant, "seed": seed, "validate": options.validate}
            fit = partial(fit_aligner, variant)
            results.run(key, lambda f=fit, s=seed: _captioning.measure(config, data, rows, f, s))
    groups = [(variant, {"variant": variant, "validate": options.validate}) for variant in options.variants]
    _captioning.show(results, groups, SHOWN, PUBLISHED.get)


if __name__ == "__main__":
    main()
