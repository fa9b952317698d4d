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
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import _captioning
import _data
import numpy as np
import scores
import torch
from _configs import GLYPH_CAPTIONS, SEEDS
from _embeddings import embed
from _results import Results, spread, table
from _variants import VARIANTS, fit_aligner

from c3align import C3Aligner, encoders
from c3align.decoders import MemoryCaptioner, PrefixCaptioner
from c3align.decoders.captions import consensus

METRICS = ("word_f1", "exact", "bigram_precision")
COSINES = (0.4, 0.5, 0.7, 0.8)
CONFIG = GLYPH_CAPTIONS
RESIDUAL_COSINES = (0.5, 0.6, 0.7, 0.8, 0.9)
N_DRAWS, N_NEAREST = 16, 5
TEMPERATURES = (0.01, 0.03, 0.1)  # of the projection
WEIGHTS = (0.25, 0.5, 0.75)  # of the nearest names in the vote
EXTRA_EPOCHS = 6  # of texts that are six times as many


class Bench:
    """Rows of one split, the decoders that have learned from it, and where their scores go."""

    def __init__(self, results: Results, options: argparse.Namespace) -> None:
        self.results, self.validate, self.cache = results, options.validate, options.cache
        self.variants, self.cosines = options.variants, options.noise_cosines
        self.encoder = encoders.load("glyphs")
        self.data = _data.glyphs(validate=self.validate)
        self.texts = self.data.train.texts()
        self.rows = embed(self.encoder, self.data, self.cache)

    def aligner(self, variant: str, noise: dict[str, Any]) -> C3Aligner:
        paired = noise.get("noise") == "residual"
        return fit_aligner(variant, self.rows.text, self.rows.train, paired=paired, **noise)

    def pictures(self, variant: str, noise: dict[str, Any]) -> Any:
        return self.aligner(variant, noise).transform(self.rows.test, modality="image")

    def decoder(
        self, variant: str, noise: dict[str, Any], seed: int, extra: Sequence[str] = (), **settings: Any
    ) -> PrefixCaptioner:
        """One that has learned the training names, and `extra` ones; kept in the cache."""
        config = replace(CONFIG, noise=noise, epochs=EXTRA_EPOCHS if extra else CONFIG.epochs)
        what = [variant, seed, len(self.texts), len(extra), settings, asdict(config)]
        folder = self.cache / f"captioner-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]}"
        if not folder.exists():
            rows = self.rows.text
            if extra:
                rows = np.concatenate([rows, self.encoder.encode(extra, modality="text")])
            texts = [*self.texts, *extra]
            made = _captioning.captioner(config, texts, rows.shape[1], seed, **settings)
            _captioning.learn(config, made, rows, texts, self.aligner(variant, noise), seed)
            made.save_pretrained(folder)
        return PrefixCaptioner.from_pretrained(folder)

    def score(self, key: dict[str, Any], make: Callable[[], list[str]]) -> None:
        """Record the scores of the captions that `make` returns, unless they are there."""

        def measure() -> dict[str, Any]:
            begin = time.process_time()
            found = scores.caption_scores(make(), self.data.test.captions, METRICS)
            return {**found, "cpu_seconds": round(time.process_time() - begin, 1)}

        self.results.run({**key, "validate": self.validate}, measure)

    def score_all(self, row: str, variant: str, noise: dict[str, Any], seed: int, **more: Any) -> None:
        """Read pictures greedily, by beam search and by the consensus of draws; and names, the same modality."""
        key = {"row": row, "variant": variant, "noise": noise, "seed": seed}
        pictures, decoder = self.pictures(variant, noise), partial(self.decoder, variant, noise, seed, **more)
        for how in ({}, {"num_beams": 4}, {"consensus": N_DRAWS}):
            self.score({**key, "decoding": how}, lambda: decoder().generate(pictures, **how))  # noqa: B023
        names = self.aligner(variant, noise).transform(self.rows.test_text, modality="text")
        self.score({**key, "decoding": {}, "reads": "names"}, lambda: decoder().generate(names))


def ablation(bench: Bench, seeds: Sequence[int]) -> None:
    """C1, C2_1, C2_2 and C3 at the chosen noise."""
    for seed in seeds:
        for variant in bench.variants:
            noise = CONFIG.noise if VARIANTS[variant][1] else {}
            bench.score_all("ablation", variant, noise, seed)


def sweep(bench: Bench, seeds: Sequence[int]) -> None:
    """C2_2 and C3 over the strength of the noise."""
    for seed in seeds:
        for cosine in bench.cosines or COSINES:
            for variant in bench.variants:
                if VARIANTS[variant][1]:
                    bench.score_all("sweep", variant, {"noise_cosine": cosine}, seed)


def residual(bench: Bench, seeds: Sequence[int]) -> None:
    """C3 with the covariance of the residuals of training pairs (CLOSE), at several strengths; pairs, for once."""
    for seed in seeds:
        for cosine in bench.cosines or RESIDUAL_COSINES:
            bench.score_all("residual", "C3", {"noise": "residual", "noise_cosine": cosine}, seed)


def more_text(bench: Bench, seeds: Sequence[int]) -> None:
    """C3 with the names of all characters that have no picture here and are not held out."""
    for seed in seeds:
        bench.score_all("more text", "C3", CONFIG.noise, seed, extra=_data.other_names())


def neighbours(bench: Bench, seeds: Sequence[int]) -> None:
    """C3 that also reads the embeddings of the nearest names."""
    for seed in seeds:
        bench.score_all("neighbours", "C3", CONFIG.noise, seed, n_neighbours=N_NEAREST, neighbours_as="embeddings")


def memory(bench: Bench, seeds: Sequence[int]) -> None:
    """Without training, the nearest names; with C3's decoder, projection on names, and a vote of both."""
    aligner, rows = bench.aligner("C3", CONFIG.noise), bench.pictures("C3", CONFIG.noise)
    for k, temperature in [(1, 0.01), *((k, t) for k in (3, 5, 8) for t in (0.03, 0.1, 0.3))]:
        nearest = MemoryCaptioner(k=k, temperature=temperature).fit(bench.rows.text, bench.texts, aligner=aligner)
        bench.score({"row": "nearest", "k": k, "temperature": temperature}, lambda m=nearest: m.generate(rows))
    for seed in seeds:
        base = {"variant": "C3", "noise": CONFIG.noise, "seed": seed}
        for temperature in TEMPERATURES:
            key = {"row": "projection", "temperature": temperature, **base}
            bench.score(key, lambda t=temperature, s=seed: projected(bench, aligner, rows, t, s))
        for weight in WEIGHTS:
            key = {"row": "vote", "weight": weight, **base}
            bench.score(key, lambda w=weight, s=seed: vote(bench, aligner, rows, w, s))


def projected(bench: Bench, aligner: C3Aligner, rows: Any, temperature: float, seed: int) -> list[str]:
    """The captions of rows that are replaced by their means of names (DeCap)."""
    names = MemoryCaptioner().fit(bench.rows.text, bench.texts, aligner=aligner)
    return bench.decoder("C3", CONFIG.noise, seed).generate(names.project(rows, temperature=temperature))


def vote(bench: Bench, aligner: C3Aligner, rows: Any, weight: float, seed: int) -> list[str]:
    """The caption that agrees most with draws of the decoder and with the nearest names, which weigh `weight` of it."""
    decoder = bench.decoder("C3", CONFIG.noise, seed)
    drawn = decoder.generate(rows, do_sample=True, top_k=0, num_return_sequences=N_DRAWS, seed=seed)
    names = MemoryCaptioner().fit(bench.rows.text, bench.texts, aligner=aligner)
    nearness, places = names.memory_.nearest(rows, N_NEAREST)
    found = []
    for draws, near, row in zip(drawn, nearness, places):
        close = np.exp((near - near[0]) / 0.1)
        weights = [*np.full(N_DRAWS, (1 - weight) / N_DRAWS), *(weight * close / close.sum())]
        captions = [*draws, *(bench.texts[i] for i in row)]
        found.append(captions[consensus(captions, weights)])
    return found


JOBS = {
    "ablation": ablation,
    "sweep": sweep,
    "residual": residual,
    "memory": memory,
    "neighbours": neighbours,
    "more-text": more_text,
}


def show(results: Results, validate: bool) -> None:
    """Mean and standard deviation over seeds, a line for each setting."""
    groups: dict[str, list[dict[str, Any]]] = {}
    hidden = ("seed", "n_items", "cpu_seconds", "validate", *METRICS)
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
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--noise-cosines", type=float, nargs="+", help="of sweep and residual, instead of ours")
    parser.add_argument("--validate", action="store_true", help="test on training characters that are left out")
    parser.add_argument("--json", type=Path, help="results, a record for each run; started again, it goes on")
    parser.add_argument("--cache", type=Path, default=Path("paper-cache"), help="embeddings and trained captioners")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shared = {name: value for name, value in asdict(CONFIG).items() if name not in ("noise", "generate", "seeds")}
    results = Results(options.json, {"config": shared, "epochs of more text": EXTRA_EPOCHS})
    if options.jobs != ["show"]:
        bench = Bench(results, options)
        for job in options.jobs:
            if job != "show":
                JOBS[job](bench, options.seeds)
    show(results, options.validate)


if __name__ == "__main__":
    main()
