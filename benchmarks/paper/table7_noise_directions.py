"""Table 7 (appendix H): what is left of corrupting alone when the noise has nothing along the gap?

Examples
--------
    python benchmarks/paper/table7_noise_directions.py --data COCO --cache embeddings --json table7.json
    python benchmarks/paper/table7_noise_directions.py --encoder glyphs
"""

from __future__ import annotations

from functools import partial
from typing import Any

import _captioning
import _data
from _configs import GLYPH_CAPTIONS, TABLE_7, Captioning
from _embeddings import embed
from _entry import caption_parser, configured
from _published import TABLE_7 as PUBLISHED
from _results import Results
from _variants import WITHOUT_GAP, fit_aligner, fit_without_gap

from c3align import encoders

ROWS = {"C1": partial(fit_aligner, "C1"), "C2_2": partial(fit_aligner, "C2_2"), WITHOUT_GAP: fit_without_gap}
SHOWN = ("rouge_l", "meteor", "word_f1", "exact", "bigram_precision")


def main() -> None:
    options = caption_parser(__doc__, list(ROWS)).parse_args()
    config: Captioning = configured(TABLE_7, GLYPH_CAPTIONS, options)
    encoder = encoders.load(config.encoder)
    data = _data.read("coco", options.data, config.encoder).first(options.limit)
    rows = embed(encoder, data, options.cache, options.device)
    results = Results(options.json, {"table": 7, "config": vars(config), "limit": options.limit})
    for seed in config.seeds:
        for name in options.variants:
            key: dict[str, Any] = {"variant": name, "seed": seed}
            results.run(key, lambda f=ROWS[name], s=seed: _captioning.measure(config, data, rows, f, s))
    groups = [(name, {"variant": name}) for name in options.variants]
    _captioning.show(results, groups, SHOWN, PUBLISHED.get)


if __name__ == "__main__":
    main()
