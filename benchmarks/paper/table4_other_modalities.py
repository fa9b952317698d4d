"""Table 4: captions of pictures, sounds and videos through ImageBind, learned from their captions alone.

On glyphs, three fonts stand for the three modalities: each has a mean of its own.

Examples
--------
    python benchmarks/paper/table4_other_modalities.py --coco COCO --clotho CLOTHO --msrvtt MSRVTT --json table4.json
    python benchmarks/paper/table4_other_modalities.py --clotho CLOTHO --encoder transformers:laion/clap-htsat-unfused
    python benchmarks/paper/table4_other_modalities.py --encoder glyphs
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import _captioning
import _data
from _configs import GLYPH_CAPTIONS, TABLE_4, Captioning
from _embeddings import embed
from _entry import caption_parser, configured
from _published import TABLE_4 as PUBLISHED
from _results import Results
from _variants import VARIANTS, fit_aligner

from c3align import encoders
from c3align.errors import C3AlignError

NAMES = ("coco", "clotho", "msrvtt")
FONTS = {"coco": "DejaVuSans", "clotho": "DejaVuSerif-Italic", "msrvtt": "DejaVuSansMono-Bold"}
SHOWN = ("bleu_1", "meteor", "rouge_l", "word_f1", "exact", "bigram_precision")
# the light decoder of this table: one linear token
GLYPHS = replace(GLYPH_CAPTIONS, mapper="linear", prefix_length=1)


def main() -> None:
    arguments = caption_parser(__doc__, list(VARIANTS))
    for name in NAMES:
        arguments.add_argument(f"--{name}", type=Path, help="folder of that data set")
    options = arguments.parse_args()
    config: Captioning = configured(TABLE_4, GLYPHS, options)
    chosen = list(NAMES) if config.encoder == "glyphs" else [name for name in NAMES if getattr(options, name)]
    if not chosen:
        raise C3AlignError("no data set was named; pass --coco, --clotho or --msrvtt FOLDER, or --encoder glyphs")
    encoder = encoders.load(config.encoder)
    results = Results(options.json, {"table": 4, "config": vars(config), "limit": options.limit})
    for name in chosen:
        root, font = getattr(options, name), FONTS[name]
        data = _data.read(name, root, config.encoder, font=font).first(options.limit)
        rows = embed(encoder, data, options.cache, options.device)
        for seed in config.seeds:
            for variant in options.variants:
                key: dict[str, Any] = {"data": name, "variant": variant, "seed": seed}
                fit = partial(fit_aligner, variant)
                results.run(key, lambda f=fit, s=seed, d=data, r=rows: _captioning.measure(config, d, r, f, s))
        title = font if config.encoder == "glyphs" else name
        print(f"\n{title}")
        groups = [(variant, {"data": name, "variant": variant}) for variant in options.variants]
        _captioning.show(results, groups, SHOWN, PUBLISHED[name].get)


if __name__ == "__main__":
    main()
