"""The paper's questions on characters that nothing has seen: names learned from names alone, read off pictures.

Five seeds of each variant; noise of other strengths and of the residuals' shape; more text, which is free; answers
without training; and what a memory adds. Settings were chosen by `--validate`, on training characters left out.

Examples
--------
    python benchmarks/paper/glyphs.py ablation --json benchmarks/results/paper-glyphs.json --cache CACHE
    python benchmarks/paper/glyphs.py sweep residual memory --seeds 0 1 2 --json ... --cache CACHE
    python benchmarks/paper/glyphs.py sweep memory --seeds 0 --validate --json ... --cache CACHE   # to choose by
    python benchmarks/paper/glyphs.py show --json benchmarks/results/paper-glyphs.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import _captioning
import _data
import numpy as np
import torch
from _configs import GLYPH_CAPTIONS, SEEDS
from _embeddings import embed
from _results import Results, spread, table
from _variants import VARIANTS, fit_aligner

from c3align import C3Aligner, encoders, scores
from c3align.decoders import MemoryCaptioner, PrefixCaptioner

METRICS = ("word_f1", "exact", "bigram_precision")
COSINES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CONFIG = GLYPH_CAPTIONS
N_SAMPLES, N_NEAREST = 16, 5  # of the vote
TEMPERATURES = (0.01, 0.03, 0.1)  # of the projection
EXTRA_EPOCHS = 6  # of texts that are six times as many


class Bench:
    """Rows of one split, the decoders that have learned from it, and where their scores go."""

    def __init__(self, results: Results, validate: bool, cache: Path) -> None:
        self.results, self.validate, self.cache = results, validate, cache
        self.encoder = encoders.load("glyphs")
        self.data = _data.glyphs(validate=validate)
        self.rows = embed(self.encoder, self.data, cache)

    def aligner(self, variant: str, noise: dict[str, Any]) -> C3Aligner:
        paired = noise.get("noise") == "residual"
        return fit_aligner(variant, self.rows.text, self.rows.train, paired=paired, **noise)

    def decoder(self, variant: str, noise: dict[str, Any], seed: int, texts: list[str], rows: Any) -> PrefixCaptioner:
        """One that has learned the texts; kept in the cache."""
        what = {"variant": variant, "noise": noise, "seed": seed, "n": len(texts), "validate": self.validate}
        name = json.dumps([what, asdict(CONFIG)], sort_keys=True)
        folder = self.cache / f"captioner-{_digest(name)}"
        if not folder.exists():
            made = _captioning.captioner(CONFIG, texts, self.rows.n_dims, seed)
            _captioning.learn(self.config_for(texts), made, rows, texts, self.aligner(variant, noise), seed)
            made.save_pretrained(folder)
        return PrefixCaptioner.from_pretrained(folder)

    def config_for(self, texts: list[str]) -> Any:
        return replace(CONFIG, epochs=EXTRA_EPOCHS) if len(texts) > 2 * len(self.data.train) else CONFIG

    def score(self, key: dict[str, Any], made: Any) -> None:
        """Record the scores of the captions that `made` returns, unless they are there."""

        def measure() -> dict[str, Any]:
            begin = time.monotonic()
            captions = made()
            found = scores.caption_scores(captions, self.data.test.captions, METRICS)
            return {**found, "seconds": round(time.monotonic() - begin, 1)}

        self.results.run({**key, "validate": self.validate}, measure)


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_variant(bench: Bench, row: str, variant: str, noise: dict[str, Any], seed: int) -> None:
    """Train on names and read pictures, greedily and by beam search."""
    texts = bench.data.train.texts()
    aligner = bench.aligner(variant, noise)
    rows = aligner.transform(bench.rows.test, modality="image")
    for beams in (1, 4):
        key = {"row": row, "variant": variant, "noise": noise, "seed": seed, "beams": beams}
        bench.score(
            key, lambda b=beams: bench.decoder(variant, noise, seed, texts, bench.rows.text).generate(rows, num_beams=b)
        )
    key = {"row": row, "variant": variant, "noise": noise, "seed": seed, "beams": 1, "read": "names"}
    names = aligner.transform(bench.rows.test_text, modality="text")
    bench.score(key, lambda: bench.decoder(variant, noise, seed, texts, bench.rows.text).generate(names))


def ablation(bench: Bench, seeds: Sequence[int]) -> None:
    """C1, C2_1, C2_2 and C3 at the chosen noise."""
    for seed in seeds:
        for variant, (_, corrupt) in VARIANTS.items():
            run_variant(bench, "ablation", variant, CONFIG.noise if corrupt else {}, seed)


def sweep(bench: Bench, seeds: Sequence[int]) -> None:
    """C2_2 and C3 over the strength of the noise."""
    for seed in seeds:
        for cosine in COSINES:
            for variant in ("C3", "C2_2"):
                run_variant(bench, "sweep", variant, {"noise_cosine": cosine}, seed)


def residual(bench: Bench, seeds: Sequence[int]) -> None:
    """C3 with the covariance of the residuals of training pairs (CLOSE), at several strengths; pairs, for once."""
    for seed in seeds:
        for cosine in (0.5, 0.6, 0.7, 0.8):
            run_variant(bench, "residual", "C3", {"noise": "residual", "noise_cosine": cosine}, seed)


def more_text(bench: Bench, seeds: Sequence[int]) -> None:
    """C3 with the names of all characters that have no picture here and are not held out."""
    texts = bench.data.train.texts() + _data.other_names()
    rows = np.concatenate([bench.rows.text, bench.encoder.encode(texts[len(bench.rows.text) :], modality="text")])
    aligner = bench.aligner("C3", CONFIG.noise)
    read = aligner.transform(bench.rows.test, modality="image")
    for seed in seeds:
        for beams in (1, 4):
            key = {"row": "more text", "variant": "C3", "noise": CONFIG.noise, "seed": seed, "beams": beams}
            bench.score(
                key,
                lambda b=beams, s=seed: bench.decoder("C3", CONFIG.noise, s, texts, rows).generate(read, num_beams=b),
            )


def memory(bench: Bench, seeds: Sequence[int]) -> None:
    """Without training, the nearest names; with C3's decoder, projection on names, and a vote of both."""
    aligner, texts = bench.aligner("C3", CONFIG.noise), bench.data.train.texts()
    rows = aligner.transform(bench.rows.test, modality="image")
    for k, temperature in [(1, 0.01), *((k, t) for k in (3, 5, 8) for t in (0.03, 0.1, 0.3))]:
        nearest = MemoryCaptioner(k=k, temperature=temperature).fit(bench.rows.text, texts, aligner=aligner)
        bench.score({"row": "nearest", "k": k, "temperature": temperature}, lambda m=nearest: m.generate(rows))
    for seed in seeds:
        base = {"variant": "C3", "noise": CONFIG.noise, "seed": seed}
        decoder = bench.decoder("C3", CONFIG.noise, seed, texts, bench.rows.text)
        for temperature in TEMPERATURES:
            projected = MemoryCaptioner(mode="project", temperature=temperature, decoder=decoder)
            projected.fit(bench.rows.text, texts, aligner=aligner)
            bench.score({"row": "projection", "temperature": temperature, **base}, lambda m=projected: m.generate(rows))
        for n_nearest in (0, N_NEAREST):
            bench.score(
                {"row": "vote", "n_nearest": n_nearest, **base}, lambda d=decoder, n=n_nearest: vote(bench, d, rows, n)
            )


def vote(bench: Bench, decoder: PrefixCaptioner, rows: Any, n_nearest: int) -> list[str]:
    """Of captions drawn from the decoder, and the nearest names, the one that agrees most with all (word F1).

    Minimum Bayes risk over the decoder's own distribution, with a vote for each of the nearest names.
    """
    drawn = decoder.generate(rows, do_sample=True, num_return_sequences=N_SAMPLES, seed=0)
    aligner, texts = bench.aligner("C3", CONFIG.noise), bench.data.train.texts()
    names = MemoryCaptioner().fit(bench.rows.text, texts, aligner=aligner)
    places = names.memory_.nearest(rows, max(1, n_nearest))[1][:, :n_nearest]
    return [agreed([*samples, *(texts[i] for i in row)]) for samples, row in zip(drawn, places)]


def agreed(captions: list[str]) -> str:
    bags = [Counter(caption.split()) for caption in captions]
    agreement = [sum(2 * (a & b).total() / max(1, a.total() + b.total()) for b in bags) for a in bags]
    return captions[int(np.argmax(agreement))]


JOBS = {"ablation": ablation, "sweep": sweep, "residual": residual, "more-text": more_text, "memory": memory}


def show(results: Results, validate: bool) -> None:
    """Mean and standard deviation over seeds, a line for each setting."""
    groups: dict[str, list[dict[str, Any]]] = {}
    hidden = ("seed", "n_items", "seconds", "validate", *METRICS)
    for record in results.records:
        if record["validate"] == validate:
            label = ", ".join(f"{k} {v}" for k, v in record.items() if k not in hidden)
            groups.setdefault(label, []).append(record)
    lines = [
        [label, str(len(found)), *(spread(record[name] for record in found) for name in METRICS)]
        for label, found in groups.items()
    ]
    print(table(["", "seeds", *METRICS], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="+", choices=[*JOBS, "show"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--validate", action="store_true", help="test on training characters that are left out")
    parser.add_argument("--json", type=Path, help="results, a record for each run; started again, it goes on")
    parser.add_argument("--cache", type=Path, default=Path("paper-cache"), help="embeddings and trained captioners")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = Results(options.json, {"config": asdict(CONFIG), "extra_epochs": EXTRA_EPOCHS})
    if options.jobs != ["show"]:
        bench = Bench(results, options.validate, options.cache)
        for job in options.jobs:
            if job != "show":
                JOBS[job](bench, options.seeds)
    show(results, options.validate)


if __name__ == "__main__":
    main()
