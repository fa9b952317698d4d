"""`open_clip:`, any model of open_clip: "open_clip:ViT-B-32/laion2b_s34b_b79k", "open_clip:hf-hub:org/name".

Names and tags are those of open_clip's own table. Folders, files and repositories are looked through first: weights
from safetensors alone, towers of open_clip and timm, and no other model that a configuration might name.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from c3align._imports import need
from c3align.encoders import base, fingerprints
from c3align.encoders.families import taken_by
from c3align.errors import C3AlignError
from c3align.io import model_configs, model_folders

__all__ = ["OpenClipEncoder", "claim", "load"]

_FOLDERS = ("hf-hub:", "local-dir:")  # their weights come with the name
CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")  # as the library chooses
LOCAL_WEIGHTS = (*WEIGHTS, "model.safetensors")  # the last where no pickle of the library's own name is there
TOKENIZER_OPTIONS = {"additional_special_tokens", "clean", "language", "reduction_mask", "strip_sep_token"}
CLEANED = ("clean_fn", "context_length", "strip_sep_token", "tokenizer_mode")  # what decides a tokenizer's result
MAX_CONTEXT = 1 << 16  # tokens of a text, where no tensor says how many


def claim(rest: str) -> str:
    """How the fingerprint of the encoder of `rest` begins: known before it is built."""
    name, _, tag = rest.partition("/")
    if rest.startswith("local-dir:"):
        return "open_clip:local-dir/"
    return f"open_clip:{name}/local/" if tag.endswith(".safetensors") else f"open_clip:{rest}/"


def load(rest: str) -> OpenClipEncoder:
    """The encoder of "model/pretrained tag", "model/file.safetensors", "hf-hub:org/name" or "local-dir:folder"."""
    open_clip = need("open_clip", "open_clip_torch")
    name, tag = (rest, None) if rest.startswith(_FOLDERS) else _name_and_tag(open_clip, rest)
    with model_configs.loading(f"open_clip cannot load {rest!r}", "see open_clip.list_pretrained()"):
        if tag is None:
            _check(open_clip, rest)
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=tag)
        model_folders.check_finite(model, rest)
        return OpenClipEncoder(model, preprocess, open_clip.get_tokenizer(name), rest)


def _name_and_tag(open_clip: Any, rest: str) -> tuple[str, str]:
    name, _, tag = rest.partition("/")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if name not in open_clip.list_models():
        raise C3AlignError(f"open_clip has no model {name!r}; pass one of open_clip.list_models(), or hf-hub:org/name")
    if not tag or (tag not in tags and not Path(tag).is_file()):
        known = ", ".join(tags) or "none; give a file of weights"
        raise C3AlignError(f"{rest!r} names no weights; write open_clip:{name}/TAG with one of: {known}")
    if tag not in tags:
        if not tag.endswith(".safetensors"):
            raise model_configs.refused(tag, "weights that are pickles could run code", model_folders.CONVERT)
        _check_size(open_clip, open_clip.get_model_config(name), model_folders.read_header(Path(tag)), tag)
    return name, tag


def _check(open_clip: Any, rest: str) -> None:
    """Refuse a folder or repository whose files lead elsewhere, or whose weights do not fit what it describes."""
    scheme, _, name = rest.partition(":")
    folder = model_folders.fetched(name, weights=WEIGHTS) if scheme == "hf-hub" else Path(name)
    found = model_configs.read_config(folder / CONFIG) if (folder / CONFIG).is_file() or not folder.is_dir() else None
    config = found.get("model_cfg") if isinstance(found, dict) else None
    if not isinstance(config, dict) or not all(isinstance(config.get(k), dict) for k in ("text_cfg", "vision_cfg")):
        raise model_configs.refused(folder / CONFIG, "it describes no towers", taken_by(folder, name))
    usual = WEIGHTS if scheme == "hf-hub" or any(folder.glob("open_clip_pytorch_model.*")) else LOCAL_WEIGHTS
    weights = next((file for file in usual if (folder / file).is_file()), None)
    if weights is None:
        fix = model_folders.CONVERT.replace("model.safetensors", WEIGHTS[0])
        raise model_configs.refused(folder, "it has no weights in safetensors", fix)
    header = model_folders.check_folder(folder, weights)
    _check_names(folder / CONFIG, config, scheme)
    _check_size(open_clip, config, header, folder)


def _check_names(path: Path, config: dict[str, Any], scheme: str) -> None:
    """Refuse towers and tokenizers that would be looked for elsewhere."""
    text, vision = config["text_cfg"], config["vision_cfg"]
    tower = vision.get("timm_model_name")
    if tower is not None and not re.fullmatch(r"[\w.]+", str(tower), re.ASCII):
        raise model_configs.refused(path, f"{tower!r} is no model of timm's own", "save the model with open_clip")
    strange = sorted(set(text.get("tokenizer_kwargs") or {}) - TOKENIZER_OPTIONS)
    if strange:
        raise model_configs.refused(path, f"the tokenizer option {strange[0][:80]!r} is not known here", "remove it")
    length = text.get("context_length", 77)
    if type(length) is not int or not 1 <= length <= MAX_CONTEXT:
        raise model_configs.refused(path, f"its texts have {length!r} tokens", f"use 1 to {MAX_CONTEXT}")
    for key in ("hf_model_name", "hf_tokenizer_name"):
        if text.get(key) and (scheme == "hf-hub" or key == "hf_model_name"):
            _check_named(path, key, text[key], scheme)


def _check_named(path: Path, key: str, name: Any, scheme: str) -> None:
    """Another repository, whose configurations are read: looked through too, and for a folder never downloaded."""
    from huggingface_hub import try_to_load_from_cache

    known = isinstance(name, str) and model_folders.HUB_NAME.fullmatch(name) and not Path(name).exists()
    if not known or (scheme != "hf-hub" and not isinstance(try_to_load_from_cache(name, "config.json"), str)):
        fix = f"if you trust it, run once: hf download {name} config.json" if known else "save the model again"
        raise model_configs.refused(path, f"{key!r} names {name!r}, which is not in the folder", fix)
    other = model_folders.fetched(name, weights=())
    for file in sorted(other.glob("*config*.json")):
        model_configs.check_config(file, model_configs.read_config(file), 0)


def _check_size(open_clip: Any, config: dict[str, Any], weights: model_folders.Weights, what: Any) -> None:
    settings = copy.deepcopy(config)
    settings["text_cfg"]["hf_model_pretrained"] = settings["vision_cfg"]["timm_model_pretrained"] = False
    custom = settings.pop("custom_text", False) or bool(settings["text_cfg"].get("hf_model_name"))
    towers = open_clip.CoCa if custom and "multimodal_cfg" in settings else open_clip.CustomTextCLIP
    model_folders.check_size(lambda: (towers if custom else open_clip.CLIP)(**settings), weights, what)


class OpenClipEncoder(base.TowerEncoder):
    """A model of open_clip with its own preprocessing and tokenizer, named `spec` in the fingerprint."""

    modalities = ("image", "text", "video")

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any, spec: str) -> None:
        super().__init__(model)
        self._preprocess, self._tokenizer = preprocess, tokenizer
        self.name = claim(spec)[:-1]
        self.n_dims = int(self._rows([""], "text").shape[1])
        rules = {k: getattr(v, "__name__", v) for k, v in vars(tokenizer).items() if k in CLEANED}
        words = fingerprints.preparation(getattr(tokenizer, "tokenizer", tokenizer))
        prepared = fingerprints.short_digest(f"{preprocess} {sorted(rules.items())} {words}")
        self.fingerprint = f"{self.name}/{fingerprints.weights_digest(model)}/{self.n_dims}d/{prepared}"

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
