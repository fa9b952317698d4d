"""The third act: decoders that learn from one modality alone, in the variants of the paper."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import C3Aligner, Pipeline, geometry
from c3align.cli.demo._material import Material, Rows
from c3align.decoders import EmbeddingGenerator, PrefixCaptioner, small_lm
from c3align.decoders.captions import word_f1
from c3align.errors import C3AlignError

# of the paper's ablation: whether the means are taken away, and noise is added
VARIANTS = {"C1": (False, False), "C2_1": (True, False), "C2_2": (False, True), "C3": (True, True)}
SETTINGS: dict[str, Any] = {
    "captioner": {"epochs": 6, "batch_size": 32, "lr": 3e-3, "warmup": 0.1, "max_grad_norm": 1.0},
    "prefix_length": 4,
    "lm": {"width": 128, "n_layers": 1, "dropout": 0.0},
    "captioner_noise_cosine": 0.6,
    "generator": {"epochs": 12},
    "generator_noise_cosine": 0.7,
    "seed": 0,
}
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


@dataclass(frozen=True)
class Learned:
    """What one variant made of the held-out characters: names or pictures, and its scores."""

    made: Any
    scores: dict[str, float]


def name(material: Material, folder: Path, variants: Sequence[str]) -> dict[str, Learned]:
    """Train on names alone in every variant, and name the pictures of held-out characters."""
    found = {}
    for variant in variants:
        pipeline = _pipeline(material, folder / f"names-{variant}", partial(_learn_names, material, variant))
        captions = [text or "" for text in pipeline.caption(material.held_out.pictures)]
        found[variant] = Learned(captions, word_scores(captions, material.held_out.names))
    return found


def draw(material: Material, folder: Path, variants: Sequence[str]) -> dict[str, Learned]:
    """Train on pictures alone in every variant, and draw held-out characters from their names."""
    found = {}
    for variant in variants:
        pipeline = _pipeline(material, folder / f"pictures-{variant}", partial(_learn_pictures, material, variant))
        drawn = np.stack(pipeline.draw(material.held_out.names))
        found[variant] = Learned(drawn, _recall(material, drawn))
    return found


def surest(material: Material, captions: Sequence[str], n: int) -> list[int]:
    """The `n` pictures whose captions the encoder finds most like them: a rule that does not know the right names."""
    said = material.encoder.encode([caption or " " for caption in captions], modality="text")
    likeness = (material.aligner().transform(said, modality="text") * material.aligned()["image"]).sum(axis=1)
    return np.argsort(-likeness, kind="stable")[:n].tolist()


def word_scores(names: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    """Shares of words (F1 of bags, averaged), of whole names, and of pairs of neighboring words that are right."""
    both = [(_WORD.findall(name.lower()), _WORD.findall(other.lower())) for name, other in zip(names, right)]
    bigrams = [(Counter(pairwise(a)), Counter(pairwise(b))) for a, b in both]
    said = sum(a.total() for a, _ in bigrams)
    return {
        "word_f1": sum(word_f1(Counter(a), Counter(b)) for a, b in both) / len(both),
        "exact": sum(a == b for a, b in both) / len(both),
        "bigram_precision": sum((a & b).total() for a, b in bigrams) / said if said else 0.0,
    }


def _recall(material: Material, drawn: npt.NDArray[np.uint8]) -> dict[str, float]:
    """How often the encoder, shown the drawing, finds the character among all held-out ones."""
    rows = material.encoder.encode(drawn, modality="image")
    recall = geometry.recall_at_k(rows, material.held_out_rows["image"], (1, 5))
    return {f"recall@{k}": value for k, value in recall.items()}


def _pipeline(material: Material, folder: Path, learn: Callable[[], Pipeline]) -> Pipeline:
    """The one that an earlier run saved, or a new one, saved."""
    if folder.exists():
        try:
            return Pipeline.from_pretrained(folder, encoder=material.encoder)
        except (C3AlignError, OSError):  # incomplete, or of an older version: learned anew
            rmtree(folder)
    print(f"training {folder.name} ...", file=sys.stderr)
    pipeline = learn()
    pipeline.save_pretrained(folder)
    return pipeline


def _learn_names(material: Material, variant: str) -> Pipeline:
    names, seed = material.train.names, SETTINGS["seed"]
    aligner = fit_aligner(variant, material.train_rows, SETTINGS["captioner_noise_cosine"])
    lm, tokenizer = small_lm(names, seed=seed, **SETTINGS["lm"])
    settings = {"n_dims": material.encoder.n_dims, "prefix_length": SETTINGS["prefix_length"], "seed": seed}
    pipeline = Pipeline("glyphs", aligner, PrefixCaptioner(lm, tokenizer, **settings))
    return pipeline.fit_text(names, seed=seed, progress=sys.stderr.isatty(), **SETTINGS["captioner"])


def _learn_pictures(material: Material, variant: str) -> Pipeline:
    aligner = fit_aligner(variant, material.train_rows, SETTINGS["generator_noise_cosine"])
    pipeline = Pipeline("glyphs", aligner, EmbeddingGenerator())
    options = {"seed": SETTINGS["seed"], "progress": sys.stderr.isatty(), **SETTINGS["generator"]}
    return pipeline.fit_images(material.train.pictures, **options)


def fit_aligner(variant: str, rows: Rows, noise_cosine: float) -> C3Aligner:
    """An aligner of the variant.

    Without collapse the means must be zero. So every row is given with its opposite: sums are integers, and theirs
    are zero to the bit.
    """
    collapse, corrupt = VARIANTS[variant]
    if not collapse:
        rows = {modality: np.concatenate([part, -part]) for modality, part in rows.items()}
    aligner = C3Aligner(noise_cosine=noise_cosine) if corrupt else C3Aligner(sigma=0.0)
    return aligner.fit(rows["text"]).partial_fit(rows["image"], modality="image")
