"""Table 3: text to image on COCO, learned from pictures alone.

The paper trains LAFITE, a StyleGAN2, for GPU-days; here the small network of the library learns, so that figures
compare with each other and not with the paper's. FID is Inception's, or of the glyph encoder's own space.

Examples
--------
    python benchmarks/paper/table3_text_to_image.py --data COCO --json table3.json --cache embeddings
    python benchmarks/paper/table3_text_to_image.py --encoder glyphs
"""

from __future__ import annotations

import time
from typing import Any

import _data
import numpy as np
import numpy.typing as npt
import scores
from _configs import GLYPH_PICTURES, TABLE_3, Drawing
from _embeddings import Embedded, embed
from _entry import configured, parser
from _published import TABLE_3 as PUBLISHED
from _results import Results, spread, table
from _variants import VARIANTS, fit_aligner

from c3align import encoders
from c3align.decoders import EmbeddingGenerator
from c3align.io import media

METRICS = ("fid", "kid", "retrieval", "pixel_error")


def measure(
    config: Drawing,
    rows: Embedded,
    pictures: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]],
    features: Any,
    variant: str,
    seed: int,
    device: str,
) -> dict[str, Any]:
    """Learn from the training pictures, draw the first caption of every test picture, score."""
    begin = time.monotonic()
    train, test = pictures
    aligner = fit_aligner(variant, rows.text, rows.train, **config.noise)
    generator = EmbeddingGenerator(width=config.width)
    settings = {"epochs": config.epochs, "batch_size": config.batch_size, "lr": config.lr}
    generator.fit(rows.train, train, aligner=aligner, seed=seed, device=device, progress=True, **settings)
    learned = time.monotonic() - begin
    drawn = generator.generate(aligner.transform(rows.test_text, modality="text"), device=device)
    found = scores.picture_scores(drawn, test, features, METRICS)
    return {**found, "seconds": round(learned, 1), "loss": generator.losses_[-1]}


def stacked(items: Any, edge: int) -> npt.NDArray[np.uint8]:
    """Pictures of one size: glyphs as they are; photographs cut to their middle square and resized."""
    if isinstance(items, np.ndarray):
        return items
    from PIL import Image, ImageOps

    size, how = (edge, edge), Image.Resampling.BICUBIC
    return np.stack([np.asarray(ImageOps.fit(media.image(path), size, how)) for path in items])


def first_captions(split: _data.Split) -> _data.Split:
    return _data.Split(split.items, [captions[:1] for captions in split.captions])


def main() -> None:
    arguments = parser(__doc__, list(VARIANTS))
    arguments.add_argument("--validate", action="store_true", help="on glyphs: test on left-out training characters")
    arguments.add_argument("--noise-cosine", type=float, help="instead of the table's noise")
    options = arguments.parse_args()
    config = configured(TABLE_3, GLYPH_PICTURES, options)
    noise = config.noise if options.noise_cosine is None else {"noise_cosine": options.noise_cosine}
    config = Drawing(**{**vars(config), "noise": noise})
    encoder = encoders.load(config.encoder)
    data = _data.read("coco", options.data, config.encoder, validate=options.validate).first(options.limit)
    # LAFITE takes the mean of one caption a picture, and draws one
    data = _data.Data(data.name, data.modality, first_captions(data.train), first_captions(data.test))
    rows = embed(encoder, data, options.cache, options.device)
    pictures = (stacked(data.train.items, config.edge), stacked(data.test.items, config.edge))
    features = encoder if config.encoder == "glyphs" or options.limit else None
    results = Results(options.json, {"table": 3, "config": vars(config), "limit": options.limit})
    for seed in config.seeds:
        for variant in options.variants:
            key = {"variant": variant, "seed": seed, "noise": config.noise, "validate": options.validate}
            results.run(key, lambda v=variant, s=seed: measure(config, rows, pictures, features, v, s, options.device))
    show(results, options.variants)


def show(results: Results, variants: list[str]) -> None:
    names = ("fid", "recall@1", "recall@5", "pixel_error")
    lines = []
    for variant in variants:
        records = [record for record in results.records if record["variant"] == variant]
        cells = [spread(record[name] for record in records) for name in names]
        lines.append([variant, *cells, f"{PUBLISHED[variant]['fid']}"])
    print(table(["", *names, "the paper's FID (LAFITE, Inception)"], lines))


if __name__ == "__main__":
    main()
