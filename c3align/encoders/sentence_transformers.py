"""`sentence-transformers:`, its models of texts, pictures and sounds: "sentence-transformers:clip-ViT-B-32"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import is_torchvision_mismatch, need, torchvision_mismatch
from c3align.encoders import base
from c3align.errors import C3AlignError

__all__ = ["SentenceTransformersEncoder", "load"]


def load(rest: str) -> SentenceTransformersEncoder:
    """The encoder of a model's name or folder."""
    module = need("sentence_transformers", "sentence-transformers")
    if not rest:
        raise C3AlignError("no model is named; write sentence-transformers:NAME, for instance clip-ViT-B-32")
    try:
        model = module.SentenceTransformer(rest, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except Exception as error:
        if is_torchvision_mismatch(error):
            raise torchvision_mismatch(error) from error
        raise C3AlignError(
            f"sentence-transformers cannot load {rest!r}: {' '.join(str(error).split())[:300]}; check the name"
        ) from error
    return SentenceTransformersEncoder(model, rest)


class SentenceTransformersEncoder(base.TowerEncoder):
    """A model of sentence-transformers; the embeddings are as its modules leave them.

    Parameters
    ----------
    model : SentenceTransformer
    spec : str
        Its name, for the fingerprint.
    """

    def __init__(self, model: Any, spec: str) -> None:
        super().__init__(model)
        known = tuple(getattr(model, "modalities", ("text",)))
        pictures = ("image", "video") if "image" in known else ()
        sounds = ("audio",) if "audio" in known else ()
        self.modalities = (*pictures, *sounds, "text")
        self._extractor = getattr(getattr(model[0], "processor", None), "feature_extractor", None)
        if sounds:
            self.sample_rate = int(getattr(self._extractor, "sampling_rate", self.sample_rate))
        name = Path(spec).name if Path(spec).is_dir() else spec
        self.name = f"sentence-transformers:{name}"
        self.n_dims = int(self._rows([""], "text").shape[1])
        preparation = base.short_digest(f"{[type(part).__name__ for part in model]} {model.max_seq_length}")
        self.fingerprint = f"{self.name}/{base.weights_digest(model)}/{self.n_dims}d/{preparation}"

    def _prepare_picture(self, picture: Any) -> Any:
        return picture

    def _prepare_sound(self, waveform: npt.NDArray[np.float32]) -> Any:
        """Windows of the length its extractor takes, which would draw one of a longer sound at random."""
        windows = base.windows(waveform, getattr(self._extractor, "nb_max_samples", None))
        return [{"array": window, "sampling_rate": self.sample_rate} for window in windows]

    def _embed(self, batch: list[Any], modality: str) -> Any:
        if modality == "text":
            self._truncated += base.count_truncated(map(self._n_tokens, batch), self._model.max_seq_length or 2**62)
        # an extractor that fuses calls one sound of a batch longer than it is, at random: it is given them one by one
        alone = modality == "audio" and getattr(self._extractor, "truncation", None) == "fusion"
        return self._model.encode(
            batch,
            batch_size=1 if alone else len(batch),
            convert_to_tensor=True,
            normalize_embeddings=False,
            show_progress_bar=False,
        )

    def _n_tokens(self, text: str) -> int:
        tokenizer = getattr(self._model.tokenizer, "tokenizer", self._model.tokenizer)
        return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])
