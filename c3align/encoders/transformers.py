"""`transformers:`, the two-tower models of Hugging Face: "transformers:openai/clip-vit-base-patch32[@revision]".

CLIP, SigLIP, SigLIP 2, MetaCLIP 2 and ALIGN (pictures), CLAP (sound), X-CLIP (video); the model's own config says
which. Weights are read from safetensors alone, and no code of a repository is run: its files are judged by
`c3align.io.model_folders` before the library sees them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.encoders import base, fingerprints
from c3align.encoders.families import FAMILIES, Family, taken_by
from c3align.errors import C3AlignError
from c3align.io import model_configs, model_folders

__all__ = ["FAMILIES", "TransformersEncoder", "claim", "load"]

# what prepares their pictures and sounds, under the names that it has had
PREPARED_BY = re.compile(
    "(Align|CLIP|Clap|EfficientNet|MetaClip2|Siglip2?|VideoMAE|ViT|XCLIP)(FeatureExtractor|(Image)?Processor)(Fast|Pil)?"
)
PREPARED_IN = ("preprocessor_config.json", "processor_config.json")


def claim(rest: str) -> str:
    """How the fingerprint of the encoder of `rest` begins: known before it is built."""
    name = rest.partition("@")[0]
    return f"transformers:{'local' if base.is_local(name) else name}/"


def load(rest: str) -> TransformersEncoder:
    """The encoder of a repository or folder, "name" or "name@revision"."""
    transformers = need("transformers", "transformers")
    name, _, revision = rest.partition("@")
    fix = "check the name, or pass a folder that save_pretrained wrote, with safetensors weights"
    with model_configs.loading(f"transformers cannot load {rest!r}", fix):
        folder = model_folders.fetched(name, revision or None)
        model = _model(transformers, folder, rest)
        processor = _processor(transformers, model.config.model_type, folder)
        return TransformersEncoder(model, processor, rest)


def _model(transformers: Any, folder: Path, rest: str) -> Any:
    """The towers, after a look at all that the folder says."""
    path = folder / "config.json"
    found = model_configs.read_config(path) if path.is_file() else None
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind not in FAMILIES:
        known, fix = ", ".join(FAMILIES), taken_by(folder, rest.partition("@")[0])
        raise C3AlignError(f"{rest!r} is a model of type {kind!r}, and here are models of {known}; {fix}")
    weights = model_folders.check_folder(folder)
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model_folders.check_size(lambda: transformers.AutoModel.from_config(config), weights, folder)
    model, told = transformers.AutoModel.from_pretrained(
        folder, config=config, trust_remote_code=False, use_safetensors=True, dtype="float32", output_loading_info=True
    )
    model_folders.check_built(told, folder)
    return model_folders.check_finite(model, folder)


def _processor(transformers: Any, kind: str, folder: Path) -> Any:
    for path in (folder / name for name in PREPARED_IN if (folder / name).is_file()):
        for key, value in model_configs.pairs(model_configs.read_config(path)):
            if key in model_configs.PREPARING and not PREPARED_BY.fullmatch(str(value)):
                raise model_configs.refused(path, f"{key!r} is {value!r}, which no family here has", "pass its own")
    if kind == "xclip":  # not in the automatic table
        return transformers.XCLIPProcessor.from_pretrained(folder)
    return transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False)


class TransformersEncoder(base.TowerEncoder):
    """A two-tower model of transformers with its processor, named `spec` in the fingerprint."""

    def __init__(self, model: Any, processor: Any, spec: str) -> None:
        super().__init__(model)
        self._processor, config = processor, model.config
        self._family = FAMILIES[config.model_type]
        self.modalities = self._family.modalities
        if config.model_type == "xclip":
            self.n_frames = self._tower_frames = config.vision_config.num_frames
            self._embed_videos = True  # by a tower of its own, not frame by frame
        if "audio" in self.modalities:
            self.sample_rate = processor.feature_extractor.sampling_rate
        self.name = claim(spec)[:-1]
        # SigLIP 2 was trained on lower case; for its models of fixed resolution only the tokenizer tells
        self._lower = config.model_type == "siglip" and type(processor.tokenizer).__name__.startswith("Gemma")
        self._text_limit = _text_limit(processor.tokenizer, config, self._family)
        self.n_dims = int(self._rows([""], "text").shape[1])
        prepared = fingerprints.short_digest(f"{fingerprints.preparation(processor)} {self._text_limit} {self._lower}")
        self.fingerprint = f"{self.name}/{fingerprints.weights_digest(model)}/{self.n_dims}d/{prepared}"

    def _prepare_picture(self, picture: Any) -> Any:
        return _first(self._processor.image_processor(images=[picture], return_tensors="pt"))

    def _prepare_video(self, pictures: list[Any]) -> Any:
        if "image" in self.modalities:
            return super()._prepare_video(pictures)
        n = self._tower_frames  # as many as it was built for, some twice when a video has fewer
        whole = [pictures[i * len(pictures) // n] for i in range(n)]
        return _first(self._processor.image_processor([whole], return_tensors="pt"))

    def _prepare_sound(self, waveform: npt.NDArray[np.float32]) -> Any:
        """Windows of the length the towers take: the extractor itself would draw one of a long sound at random."""
        extractor = self._processor.feature_extractor
        prepared = []
        for window in base.windows(waveform, extractor.nb_max_samples):
            features = extractor(window, sampling_rate=self.sample_rate, return_tensors="pt")
            # it would also call one sound of a batch longer than it is, at random
            features["is_longer"][:] = False
            prepared.append(_first(features))
        return prepared

    def _embed(self, batch: list[Any], modality: str) -> Any:
        inputs = self._tokens(batch) if modality == "text" else _stacked(batch)
        moved = {name: value.to(self.device) for name, value in inputs.items()}
        found = getattr(self._model, f"get_{modality}_features")(**moved)
        return unwrapped(found)

    def _tokens(self, texts: list[str]) -> dict[str, Any]:
        tokenizer, length = self._processor.tokenizer, self._family.text_length
        texts = [text.lower() for text in texts] if self._lower else texts
        whole = tokenizer(texts, truncation=False, padding=False, verbose=False)["input_ids"]
        self._truncated += base.count_truncated(map(len, whole), self._text_limit)
        padding = {"padding": True} if length is None else {"padding": "max_length"}
        found = tokenizer(texts, truncation=True, max_length=self._text_limit, return_tensors="pt", **padding)
        # SigLIP and SigLIP 2 were trained without a mask: padding is part of their texts
        unmasked = self._model.config.model_type.startswith("siglip")
        names = ("input_ids",) if unmasked else ("input_ids", "attention_mask")
        return {name: found[name] for name in names if name in found}


def unwrapped(found: Any) -> Any:
    """The embeddings that `get_*_features` return: a tensor until transformers 4, an object since 5."""
    return found if hasattr(found, "shape") else found.pooler_output


def _text_limit(tokenizer: Any, config: Any, family: Family) -> int:
    text = config.text_config
    positions = int(text.max_position_embeddings)
    if text.model_type in ("roberta", "clap_text_model"):  # whose positions begin behind the padding token's
        positions -= int(text.pad_token_id) + 1
    return min(positions, int(tokenizer.model_max_length), family.text_length or positions)


def _first(features: Any) -> dict[str, Any]:
    """Tensors of the one item of a batch."""
    return {name: value[0] for name, value in features.items()}


def _stacked(batch: list[dict[str, Any]]) -> dict[str, Any]:
    import torch

    return {name: torch.stack([item[name] for item in batch]) for name in batch[0]}
