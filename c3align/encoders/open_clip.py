"""`open_clip:`, all that open_clip knows: "open_clip:ViT-B-32/laion2b_s34b_b79k", "open_clip:hf-hub:org/name"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from c3align._imports import need
from c3align.encoders import base
from c3align.errors import C3AlignError

__all__ = ["OpenClipEncoder", "load"]

_FOLDERS = ("hf-hub:", "local-dir:")  # their weights come with the name


def load(rest: str) -> OpenClipEncoder:
    """The encoder of "model/pretrained tag", "hf-hub:org/name" or "local-dir:folder"."""
    open_clip = need("open_clip", "open_clip_torch")
    name, tag = (rest, None) if rest.startswith(_FOLDERS) else _name_and_tag(open_clip, rest)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=tag)
        tokenizer = open_clip.get_tokenizer(name)
    except (RuntimeError, ValueError, OSError) as error:
        raise C3AlignError(
            f"open_clip cannot load {rest!r}: {' '.join(str(error).split())[:300]}; see open_clip.list_pretrained()"
        ) from error
    return OpenClipEncoder(model, preprocess, tokenizer, rest)


def _name_and_tag(open_clip: Any, rest: str) -> tuple[str, str]:
    name, _, tag = rest.partition("/")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if name not in open_clip.list_models():
        raise C3AlignError(f"open_clip has no model {name!r}; pass one of open_clip.list_models(), or hf-hub:org/name")
    if not tag or (tag not in tags and not Path(tag).is_file()):
        known = ", ".join(tags) or "none; give a file of weights"
        raise C3AlignError(f"{rest!r} names no weights; write open_clip:{name}/TAG with one of: {known}")
    return name, tag


class OpenClipEncoder(base.TowerEncoder):
    """A model of open_clip with its own preprocessing and tokenizer.

    Parameters
    ----------
    model, preprocess, tokenizer
        As `open_clip.create_model_and_transforms` and `get_tokenizer` return them.
    spec : str
        Their name, for the fingerprint.
    """

    modalities = ("image", "text", "video")

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any, spec: str) -> None:
        super().__init__(model)
        self._preprocess, self._tokenizer = preprocess, tokenizer
        name = f"local-dir:{Path(spec.removeprefix('local-dir:')).name}" if spec.startswith("local-dir:") else spec
        self.name = f"open_clip:{name}"
        self.n_dims = int(self._rows([""], "text").shape[1])
        preparation = base.short_digest(f"{preprocess} {type(tokenizer).__name__} {tokenizer.context_length}")
        self.fingerprint = f"{self.name}/{base.weights_digest(model)}/{self.n_dims}d/{preparation}"

    def _prepare_picture(self, picture: Any) -> Any:
        return self._preprocess(picture)

    def _embed(self, batch: list[Any], modality: str) -> Any:
        import torch

        if modality == "text":
            limit = self._tokenizer.context_length
            self._truncated += base.count_truncated(map(self._n_tokens, batch), limit)
            return self._model.encode_text(self._tokenizer(batch).to(self.device))
        return self._model.encode_image(torch.stack(batch).to(self.device))

    def _n_tokens(self, text: str) -> int:
        inner = getattr(self._tokenizer, "tokenizer", None)  # of a Hugging Face tokenizer
        if inner is not None:
            return len(inner(text, truncation=False, verbose=False)["input_ids"])
        return len(self._tokenizer.encode(text)) + 2  # what begins and ends a text
