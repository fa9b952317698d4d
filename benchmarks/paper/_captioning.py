"""What the captioning tables share: learn from texts alone, caption the test items, score."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scores
from _configs import WORDS, Captioning
from _data import Data
from _embeddings import Embedded
from _results import Results, spread, table

from c3align import C3Aligner
from c3align.decoders import PrefixCaptioner, small_lm

PERCENT = {"cider": 100.0, "bleu_1": 100.0, "bleu_4": 100.0, "meteor": 100.0, "rouge_l": 100.0, "spice": 100.0}


def captioner(config: Captioning, texts: Sequence[str], n_dims: int, seed: int, **more: Any) -> PrefixCaptioner:
    """The decoder before it has learned anything."""
    settings: dict[str, Any] = {name: getattr(config, name) for name in ("mapper", "prefix_length", "tune")} | more
    if config.lm == WORDS:
        return PrefixCaptioner(*small_lm(texts, seed=seed, **config.small_lm), n_dims=n_dims, seed=seed, **settings)
    return PrefixCaptioner.from_pretrained_lm(config.lm, n_dims=n_dims, seed=seed, **settings)


def learn(
    config: Captioning,
    decoder: PrefixCaptioner,
    rows: Any,
    texts: Sequence[str],
    aligner: C3Aligner,
    seed: int,
    **more: Any,
) -> PrefixCaptioner:
    """Fit on raw rows of one modality."""
    names = ("epochs", "batch_size", "lr", "schedule", "warmup", "optimizer", "max_grad_norm", "precision")
    options: dict[str, Any] = {name: getattr(config, name) for name in names}
    return decoder.fit(rows, texts, aligner=aligner, **{"modality": "text", "seed": seed, **options, **more})


def scored(
    config: Captioning, decoder: Any, aligner: C3Aligner, rows: Any, modality: str, captions: list[list[str]]
) -> dict[str, Any]:
    """Scores of the captions of raw rows of a modality."""
    made = decoder.generate(aligner.transform(np.asarray(rows), modality=modality), **config.generate)
    found = scores.caption_scores(made, captions, config.metrics)
    return {**found, "examples": [[made[i], captions[i][0]] for i in range(min(5, len(made)))]}


def aligned(config: Captioning, data: Data, rows: Embedded, fit_aligner: Callable[..., C3Aligner]) -> C3Aligner:
    return fit_aligner(rows.text, rows.train, modality=data.modality, renormalize=config.renormalize, **config.noise)


def measure(
    config: Captioning, data: Data, rows: Embedded, fit_aligner: Callable[..., C3Aligner], seed: int
) -> dict[str, Any]:
    """One run: from texts alone to the score on the other modality."""
    begin = time.monotonic()
    texts = data.train.texts()
    aligner = aligned(config, data, rows, fit_aligner)
    decoder = learn(config, captioner(config, texts, rows.n_dims, seed), rows.text, texts, aligner, seed)
    learned = round(time.monotonic() - begin, 1)
    found = scored(config, decoder, aligner, rows.test, data.modality, data.test.captions)
    return {**found, "sigma": aligner.sigma_, "seconds": learned}


def show(
    results: Results,
    groups: Sequence[tuple[str, dict[str, Any]]],
    metrics: Sequence[str],
    published: Callable[[str], Any],
) -> None:
    """A line for each group of records, ours and the paper's figure side by side."""
    names = [name for name in metrics if any(name in record for record in results.records)]
    lines = []
    for label, key in groups:
        records = [r for r in results.records if all(r.get(name) == value for name, value in key.items())]
        theirs = published(label) or {}
        cells = []
        for name in names:
            scale = PERCENT.get(name, 1.0)
            ours = spread((record[name] for record in records), scale, 1 if scale > 1 else 3) if records else ""
            cells.append(f"{ours} | {theirs[name]}" if name in theirs else ours)
        lines.append([label, *cells])
    print(table(["ours | the paper's", *names], lines))
