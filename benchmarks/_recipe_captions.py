"""Captions of characters never seen, by a language model that learned names alone, with the recipes of `recipes.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from _recipes import NOISES, Fitted, fit, noise_root, noisy
from _sets import Embeddings

from c3align import C3Aligner, ops
from c3align.noise import stream_seed

sys.path.append(str(Path(__file__).parent / "paper"))

import _captioning
import scores
from _configs import GLYPH_CAPTIONS

METRICS = ("word_f1", "exact", "bigram_precision")
# mapping, noise and its cosine, which need no pair; center with isotropic noise, C3, is in `paper/glyphs.py`
CHOSEN = (("barycenter", "text covariance ^1/2", 0.8), ("center", "text covariance ^1/2", 0.8))


class Aligner(C3Aligner):
    """An aligner whose rows go through a mapping that was solved elsewhere, with noise of any shape."""

    fitted: Fitted
    root: Any

    def transform(self, X: Any, *, modality: str = "text") -> Any:
        """Rows of a named modality."""
        return self.fitted.aligned(ops.normalize(X), modality)

    def corrupt(self, X: Any, *, modality: str = "text", seed: int | None = None, row_offset: int = 0) -> Any:
        """With noise, of a stream of its own for each modality."""
        key = stream_seed(self.seed if seed is None else seed, modality)
        return noisy(self.fitted.mapped(ops.normalize(X), modality), self.root, key, row_offset)


def measure(found: Embeddings, mapping: str, noise: str, cosine: float, seed: int) -> dict[str, Any]:
    """Word F1, exact names and bigrams of the held-out characters' captions, greedily."""
    held = np.isin(found.groups["text"], [*found.held_out])
    which = {name: np.flatnonzero(~held) for name in found.rows}
    fitted = fit(found, mapping, which)
    text, image = (fitted.mapped(found.rows[name][which[name]], name) for name in ("text", "image"))
    aligner = Aligner().fit(found.rows["text"][which["text"]])
    aligner.partial_fit(found.rows["image"][which["image"]], modality="image")
    aligner.fitted = fitted
    aligner.root = noise_root(noise, cosine, text, image - text if noise == NOISES[3] else None)
    names = found.texts or []
    known, asked = ([names[i] for i in np.flatnonzero(part)] for part in (~held, held))
    rows = found.rows["text"][which["text"]]
    decoder = _captioning.captioner(GLYPH_CAPTIONS, known, rows.shape[1], seed)
    _captioning.learn(GLYPH_CAPTIONS, decoder, rows, known, aligner, seed)
    made = decoder.generate(aligner.transform(found.rows["image"][held], modality="image"))
    return scores.caption_scores(made, [[name] for name in asked], METRICS)
