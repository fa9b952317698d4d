"""Captions of real photographs through real CLIP embeddings, as far as 500 pairs go.

OpenAI CLIP ViT-B/16 embeddings of 500 COCO pairs, without the photographs. A small language model learns 375 captions
from the embeddings of these captions and nothing else, and reads the image embeddings of the other 125. Each seed
divides the pairs anew. Noise and epochs are chosen with --validate, on 75 of the 375.

Examples
--------
    python benchmarks/paper/coco_pairs.py --json benchmarks/results/paper-coco-pairs.json
    python benchmarks/paper/coco_pairs.py --validate --noise-cosines 0.25 0.4 0.6 0.8 --seeds 0 1
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import _captioning
import numpy as np
import scores
import torch
from _configs import GLYPH_CAPTIONS, SEEDS
from _results import DATA, Results, spread, table
from _variants import VARIANTS, fit_aligner

from c3align.decoders import MemoryCaptioner

COCO = DATA / "coco-clip-vitb16"
N_TRAIN, N_VALIDATION = 375, 75
METRICS = ("cider", "word_map", "word_f1", "bleu", "rouge_l")
SHOWN = ("cider", "word_map", "word_f1", "bleu_1", "bleu_4", "rouge_l")
N_SAMPLES = 16  # captions drawn of each picture, by which its words are ranked
CONFIG = replace(GLYPH_CAPTIONS, epochs=60, batch_size=16, lr=1e-3, generate={"max_new_tokens": 16}, metrics=METRICS)


class Pairs:
    """Rows and captions of one division of the pairs."""

    def __init__(self, seed: int, validate: bool) -> None:
        image, text = np.load(COCO / "features_clip.npy")
        found = json.loads((COCO / "coco_captions_aligned.json").read_text())
        order = np.random.default_rng(seed).permutation(len(found))
        train, test = order[:N_TRAIN], order[N_TRAIN:]
        if validate:
            train, test = train[N_VALIDATION:], train[:N_VALIDATION]
        self.text, self.image, self.test = text[train], image[train], image[test]
        self.captions = [plain(found[i]["caption"]) for i in train]
        self.references = [[plain(text) for text in found[i]["references"]] for i in test]


def plain(caption: str) -> str:
    """Lower case, words alone: a model of few captions needs few words."""
    return " ".join(re.findall(r"[a-z0-9']+", caption.lower()))


def measure(pairs: Pairs, variant: str, noise: dict[str, Any], seed: int) -> dict[str, Any]:
    aligner = fit_aligner(variant, pairs.text, pairs.image, **noise)
    decoder = _captioning.captioner(CONFIG, pairs.captions, pairs.text.shape[1], seed)
    _captioning.learn(CONFIG, decoder, pairs.text, pairs.captions, aligner, seed, progress=False)
    rows = aligner.transform(pairs.test, modality="image")
    made = decoder.generate(rows, **CONFIG.generate)
    drawn = decoder.generate(rows, do_sample=True, num_return_sequences=N_SAMPLES, seed=seed, **CONFIG.generate)
    return scored([[one, *several] for one, several in zip(made, drawn)], pairs)


def nearest(pairs: Pairs, k: int, temperature: float) -> dict[str, Any]:
    """Captions of the memory, without training."""
    aligner = fit_aligner("C3", pairs.text, pairs.image)
    memory = MemoryCaptioner(k=k, temperature=temperature).fit(pairs.text, pairs.captions, aligner=aligner)
    rows = aligner.transform(pairs.test, modality="image")
    places = memory.memory_.nearest(rows, N_SAMPLES)[1]
    made = memory.generate(rows)
    return scored([[one, *(pairs.captions[i] for i in row)] for one, row in zip(made, places)], pairs)


def scored(samples: list[list[str]], pairs: Pairs) -> dict[str, Any]:
    found = scores.caption_scores(samples, pairs.references, METRICS)
    return {**found, "examples": [[samples[i][0], pairs.references[i][0]] for i in range(3)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--noise-cosines", type=float, nargs="+", default=[0.6])
    parser.add_argument("--validate", action="store_true", help="test on 75 of the training pairs")
    parser.add_argument("--json", type=Path, help="results, a record for each run; started again, it goes on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(options.json, {"config": asdict(CONFIG), "validate": options.validate})
    for seed in options.seeds:
        pairs = Pairs(seed, options.validate)
        for variant, (_, corrupt) in VARIANTS.items():
            for noise in [{"noise_cosine": c} for c in options.noise_cosines] if corrupt else [{}]:
                key = {"row": variant, "noise": noise, "seed": seed}
                results.run(key, lambda p=pairs, v=variant, n=noise, s=seed: measure(p, v, n, s))
        for k, temperature in ((1, 0.01), (5, 0.1)):
            key = {"row": f"nearest {k}, no training", "noise": {}, "seed": seed}
            results.run(key, lambda p=pairs, k=k, t=temperature: nearest(p, k, t))
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in results.records:
        groups.setdefault(" ".join([record["row"], *map(str, record["noise"].values())]), []).append(record)
    names = [name for name in SHOWN if name in results.records[0]]
    lines = [[label, *(spread(r[name] for r in found) for name in names)] for label, found in groups.items()]
    print(table(["", *names], lines))


if __name__ == "__main__":
    main()
