"""`sentence-transformers:`, its models of texts, pictures and sounds: "sentence-transformers:clip-ViT-B-32".

The list of modules in a model's folder names classes; those on a list of ours alone are loaded, each from a folder
within, after a look at its files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.encoders import base, fingerprints
from c3align.encoders.families import taken_by
from c3align.errors import C3AlignError
from c3align.io import model_configs, model_folders

__all__ = ["SentenceTransformersEncoder", "claim", "load"]

MODULE = re.compile(  # where releases have kept them
    r"sentence_transformers\.(?:models|base\.modules|sentence_transformer\.modules)(?:\.\w+)?\."
    r"(CLIPModel|Dense|Dropout|LayerNorm|Normalize|Pooling|StaticEmbedding|Transformer)"
)
TOWERS, WEIGHED = ("CLIPModel", "Transformer"), ("Dense", "LayerNorm", "StaticEmbedding")
TASKS = ("any-to-any", "feature-extraction", "fill-mask", "text-generation")
METHOD = re.compile(r"forward|get_\w+_features")
ACTIVATION = re.compile(r"torch\.nn\.modules\.(activation|linear)\.\w+")
MODULE_CONFIGS = "sentence_*_config.json"
SETTINGS = {"max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name"}
SETTINGS |= {"processing_kwargs", "unpad_inputs", "query_length", "document_length", "query_expansion"}
FOR_LIBRARY = {"model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs"}
OPTIONS = {"torch_dtype", "dtype", "attn_implementation", "use_safetensors", "add_pooling_layer", "max_length"}
OPTIONS |= {"model_max_length", "padding_side", "truncation_side", "do_lower_case", "use_fast", "min_pixels"}
OPTIONS |= {"max_pixels", "padding", "truncation", "is_causal", "use_cache"}


def claim(rest: str) -> str:
    """How the fingerprint of the encoder of `rest` begins: known before it is built."""
    return f"sentence-transformers:{'local' if base.is_local(rest) else rest}/"


def load(rest: str) -> SentenceTransformersEncoder:
    """The encoder of a model's name or folder."""
    module = need("sentence_transformers", "sentence-transformers")
    if not rest:
        raise C3AlignError("no model is named; write sentence-transformers:NAME, for instance clip-ViT-B-32")
    with model_configs.loading(f"sentence-transformers cannot load {rest!r}", "check the name"):
        folder = _fetched(rest)
        _check(folder, rest)
        options = {"trust_remote_code": False, "local_files_only": True, "model_kwargs": {"use_safetensors": True}}
        model = model_folders.check_finite(module.SentenceTransformer(str(folder), **options), folder)
        return SentenceTransformersEncoder(model, rest)


def _fetched(rest: str) -> Path:
    """Its own models are named without an owner."""
    weights = ("*model.safetensors", "*model-*.safetensors")
    own = not Path(rest).is_dir() and re.fullmatch(r"[\w.-]+", rest, re.ASCII)
    return model_folders.fetched(f"sentence-transformers/{rest}" if own else rest, weights=weights)


def _check(folder: Path, rest: str) -> None:
    """Refuse modules that are not on the list, or elsewhere, or whose files are not as they should be."""
    model_folders.check_files(folder)
    path = folder / "modules.json"
    if not path.is_file() and not (folder / "config.json").is_file():
        raise model_configs.refused(folder, "it is no model of sentence-transformers", taken_by(folder, rest))
    listed = model_configs.read_config(path) if path.is_file() else [{"path": "", "type": f"{_MODULES}.Transformer"}]
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise model_configs.refused(path, "it is no list of modules", "save the model again")
    for entry in listed:
        known = MODULE.fullmatch(str(entry.get("type")))
        if known is None:
            reason = f"the module class {str(entry.get('type'))[:120]!r} is not among those that c3align loads"
            raise model_configs.refused(path, reason, "use a model of the library's own modules")
        within = entry.get("path")
        if not isinstance(within, str) or "\\" in within or ".." in within.split("/") or within.startswith("/"):
            raise model_configs.refused(path, f"the module path {within!r} leads out of the folder", "correct it")
        _check_module(folder / within, known[1])


_MODULES = "sentence_transformers.base.modules"


def _check_module(folder: Path, kind: str) -> None:
    if kind in TOWERS:
        weights = model_folders.check_folder(folder)
        task = _check_settings(folder)
        shell = model_folders.check_size(lambda: _towers(folder, task), weights, folder)
        if not set(shell.state_dict()) <= set(weights.shapes):  # older names, or random weights
            model_folders.check_built(_towers(folder, task, whole=True), folder)
    elif kind in WEIGHED:
        weights = model_folders.check_folder(folder, model_folders.SAFE)
        if kind == "Dense":
            _check_dense(folder, weights)
    elif folder.is_dir():
        model_folders.check_files(folder)
    for path in sorted(folder.glob("*config.json")) if kind not in TOWERS else []:
        found = model_configs.read_config(path)
        model_configs.check_config(path, found, 0)
        activation = found.get("activation_function") if isinstance(found, dict) else None
        if activation is not None and not ACTIVATION.fullmatch(str(activation)):
            raise model_configs.refused(path, f"the activation {activation!r} is none of torch", "use one of torch.nn")


def _towers(folder: Path, task: Any, whole: bool = False) -> Any:
    """A tower of a configuration; or, with its weights, what transformers tells of loading them."""
    from sentence_transformers.base.modules.transformer import TRANSFORMER_TASK_TO_AUTO_MODEL
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    auto = TRANSFORMER_TASK_TO_AUTO_MODEL[task]
    if whole:
        options = {"trust_remote_code": False, "use_safetensors": True, "output_loading_info": True}
        return auto.from_pretrained(folder, config=config, **options)[1]
    return auto.from_config(config)


def _check_settings(folder: Path) -> str:
    """The task of a model that the library wraps; its settings may lead nowhere else."""
    task = "feature-extraction"
    for path in sorted(folder.glob(MODULE_CONFIGS)):
        found = model_configs.read_config(path)
        options = {name for key in FOR_LIBRARY & set(found) for name in found[key]}
        strange = sorted((set(found) - SETTINGS - FOR_LIBRARY) | (options - OPTIONS))
        if strange:
            raise model_configs.refused(path, f"the setting {strange[0][:80]!r} is not known here", "remove it")
        for key, value in model_configs.pairs(found):
            if key == "method" and not METHOD.fullmatch(str(value)):
                raise model_configs.refused(path, f"the method {value!r} does not embed anything", "correct it")
        task = found.get("transformer_task", task)
        if task not in TASKS:
            raise model_configs.refused(path, f"its task is {task!r}", f"use a model for one of {', '.join(TASKS)}")
    return task


def _check_dense(folder: Path, weights: model_folders.Weights) -> None:
    path = folder / "config.json"
    found = model_configs.read_config(path)
    shape = found.get("out_features"), found.get("in_features")
    if weights.shapes.get("linear.weight") != shape or (
        found.get("bias", True) and "linear.bias" not in weights.shapes
    ):
        raise model_configs.refused(path, f"its layer of {shape} numbers is not in its weights", "save the model again")


def _settings(part: Any) -> str:
    """What a module does with its items, as text."""
    config = part.get_config_dict() if hasattr(part, "get_config_dict") else {}
    processor = getattr(part, "processor", None) or getattr(part, "tokenizer", None)
    return f"{sorted(map(str, config.items()))} {fingerprints.preparation(processor) if processor is not None else ''}"


class SentenceTransformersEncoder(base.TowerEncoder):
    """A model of sentence-transformers; the embeddings are as its modules leave them."""

    def __init__(self, model: Any, spec: str) -> None:
        super().__init__(model)
        known = tuple(getattr(model, "modalities", ("text",)))
        pictures = ("image", "video") if "image" in known else ()
        sounds = ("audio",) if "audio" in known else ()
        self.modalities = (*pictures, *sounds, "text")
        self._extractor = getattr(getattr(model[0], "processor", None), "feature_extractor", None)
        if sounds:
            self.sample_rate = int(getattr(self._extractor, "sampling_rate", self.sample_rate))
        self.name = claim(spec)[:-1]
        self.n_dims = int(self._rows([""], "text").shape[1])
        prompt = (getattr(model, "prompts", None) or {}).get(getattr(model, "default_prompt_name", None))
        modules = [(type(part).__name__, _settings(part)) for part in model]
        prepared = fingerprints.short_digest(f"{modules} {model.max_seq_length} {prompt} {model.truncate_dim}")
        self.fingerprint = f"{self.name}/{fingerprints.weights_digest(model)}/{self.n_dims}d/{prepared}"

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
