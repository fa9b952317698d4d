"""Table 6 (appendix G): how a captioner of texts suffers when its texts are shifted by a constant.

A captioner without collapse or noise learns from texts, and reads texts moved along the gap by growing lengths. The
paper's values were not found; it says that they fall sharply.

Examples
--------
    python benchmarks/paper/table6_shift.py --data COCO --cache embeddings --json table6.json
    python benchmarks/paper/table6_shift.py --encoder glyphs
"""

from __future__ import annotations

from functools import partial
from typing import Any

import _captioning
import _data
import numpy as np
import scores
from _configs import GLYPH_CAPTIONS, TABLE_2, Captioning
from _embeddings import Embedded, embed
from _entry import caption_parser, configured
from _results import Results, spread, table
from _variants import fit_aligner

from c3align import encoders, geometry
from c3align.statistics import ModalityStatistics

SHOWN = ("bleu_1", "meteor", "rouge_l", "cider", "word_f1", "exact", "bigram_precision")
LENGTHS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


def measure(config: Captioning, data: _data.Data, rows: Embedded, seed: int) -> dict[str, Any]:
    """Scores of the test texts, the first caption of each item, at each length of the shift."""
    texts = data.train.texts()
    aligner = _captioning.aligned(config, data, rows, partial(fit_aligner, "C1"))
    decoder = _captioning.captioner(config, texts, rows.n_dims, seed)
    _captioning.learn(config, decoder, rows.text, texts, aligner, seed)
    gap = ModalityStatistics.from_rows(rows.train).mean - ModalityStatistics.from_rows(rows.text).mean
    direction = geometry.unit_rows(gap[None])
    firsts = np.cumsum([0, *(len(captions) for captions in data.test.captions[:-1])])
    clean = geometry.unit_rows(rows.test_text[firsts])
    references = [captions[:1] for captions in data.test.captions]
    shifts = {}
    for length in LENGTHS:
        moved = aligner.transform((clean + length * direction).astype(np.float32), modality="text")
        made = decoder.generate(moved, **config.generate)
        shifts[f"{length:.1f}"] = scores.caption_scores(made, references, config.metrics)
    return {"gap": float(np.linalg.norm(gap)), "shifts": shifts}


def main() -> None:
    options = caption_parser(__doc__, ["C1"]).parse_args()
    config: Captioning = configured(TABLE_2, GLYPH_CAPTIONS, options)
    encoder = encoders.load(config.encoder)
    data = _data.read("coco", options.data, config.encoder).first(options.limit)
    rows = embed(encoder, data, options.cache, options.device)
    results = Results(options.json, {"table": 6, "config": vars(config), "limit": options.limit})
    for seed in config.seeds:
        results.run({"seed": seed}, lambda s=seed: measure(config, data, rows, s))
    records = results.records
    names = [name for name in SHOWN if name in records[0]["shifts"]["0.0"]]
    lines = [
        [length, *(spread(record["shifts"][length][name] for record in records) for name in names)]
        for length in records[0]["shifts"]
    ]
    print(f"the gap itself is {records[0]['gap']:.2f} long")
    print(table(["shift", *names], lines))


if __name__ == "__main__":
    main()
