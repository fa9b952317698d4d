"""A `PrefixCaptioner` on disk: mapper and settings in one file, the language model as its library writes it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from c3align._imports import need
from c3align._settings import check_modality_name
from c3align.decoders.place import Place
from c3align.decoders.prefix.language_models import is_adapter, load_lm, save_lm
from c3align.decoders.retrieval import CAPTIONER_FILE, MEMORY_FOLDER, Memory, is_captioner
from c3align.io import atomic, container, digests, hub
from c3align.training.settings import Training

if TYPE_CHECKING:
    from c3align.decoders.prefix.decoder import PrefixCaptioner

FORMAT = "c3align.PrefixCaptioner"
LM_FOLDER = "lm"
PARTS = (LM_FOLDER, MEMORY_FOLDER)  # the folders of files that have no digest of their own
SETTINGS = ("n_dims", "mapper", "prefix_length", "tune", "lora", "n_neighbours", "neighbours_as", "index")
LEARNED = ("max_tokens", "prompt_tokens", "losses", "validation_losses", "encoder_fingerprint", "training", "modality")
MAX_TOKENS = 1 << 16


def save(captioner: PrefixCaptioner, folder: str | os.PathLike[str]) -> None:
    """See `PrefixCaptioner.save_pretrained`."""
    config = {
        "format": FORMAT,
        "format_version": container.SIGNED_SINCE,
        **{name: getattr(captioner, name) for name in SETTINGS},
        "max_tokens": captioner.max_tokens_,
        "prompt_tokens": captioner._prompt_tokens,
        "losses": captioner.losses_,
        "validation_losses": captioner.validation_losses_,
        "encoder_fingerprint": captioner.encoder_fingerprint_,
        "training": asdict(captioner.training),
        "modality": captioner.modality_,
    }
    tensors = {**_own_weights(captioner), **({} if captioner._place is None else captioner._place.tensors())}
    with atomic.replaced_folder(folder, "captioner", is_captioner) as scratch:
        save_lm(captioner.lm, captioner.tokenizer, scratch / LM_FOLDER)
        if captioner._retrieval is not None:
            captioner._retrieval.memory.save(scratch / MEMORY_FOLDER)
        config["files"] = digests.of_folders(scratch, PARTS)
        container.write_folder(scratch, CAPTIONER_FILE, container.dump(tensors, config), config)


def load(cls: type[PrefixCaptioner], folder: str | os.PathLike[str], **options: Any) -> PrefixCaptioner:
    """See `PrefixCaptioner.from_pretrained`."""
    path = hub.folder(folder, hub.DECODER, **options)
    keys = {*SETTINGS, *LEARNED}
    config, tensors = container.read_decoder(path, CAPTIONER_FILE, FORMAT, keys, PARTS, modality="text")
    learns = config["tune"] == "full"  # then its weights are float32; others stay as they were trained with
    lm, tokenizer = load_lm(path / LM_FOLDER, "float32" if learns else "auto")
    place = Place.taken_from(tensors, config["n_dims"])
    _check_mapper(config, lm, tensors)
    try:
        training = Training(**config["training"])
        captioner = cls(lm, tokenizer, training=training, **{name: config[name] for name in SETTINGS})
    except (TypeError, ValueError) as error:
        raise container.refusal("decoder", f"its settings do not fit ({error})") from error
    captioner._place = place
    container.check_tensors(tensors, container.layout(_own_weights(captioner)), "decoder")
    captioner._model.load_state_dict(tensors, strict=False)
    _set_learned(captioner, config)
    if captioner.n_neighbours:
        memory = Memory.load(path / MEMORY_FOLDER, captioner.n_dims, captioner.index)
        captioner._retrieval = captioner._retrieval_of(memory)
    return captioner


def _own_weights(captioner: PrefixCaptioner) -> dict[str, Any]:
    """All that is not in the language model's own files: the mapper, and LoRA."""
    state = captioner._model.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("lm.") or is_adapter(name)}


def _check_mapper(config: dict[str, Any], lm: Any, tensors: dict[str, Any]) -> None:
    """Refuse a mapper that is not as its tensors before it takes memory."""
    torch, model = need("torch", "torch", "captions"), need("c3align.decoders.prefix.model", "torch", "captions")
    shown = config["n_neighbours"] if config["neighbours_as"] == "embeddings" else 0
    shell = None
    with suppress(Exception), torch.device("meta"):  # settings of other types are refused by the captioner itself
        shell = model.PrefixModel(lm, config["mapper"], config["n_dims"], config["prefix_length"], shown)
    if shell is not None:
        own = {name: value for name, value in shell.state_dict().items() if not name.startswith("lm.")}
        given = {name: value for name, value in tensors.items() if not name.startswith("lm.")}
        container.check_tensors(given, container.layout(own), "decoder")


def _set_learned(captioner: PrefixCaptioner, config: dict[str, Any]) -> None:
    counts = config["max_tokens"], config["prompt_tokens"]
    if not all(type(value) is int and 0 <= value <= MAX_TOKENS for value in counts) or not config["max_tokens"]:
        raise container.refusal("decoder", f"captions of {counts[0]!r} and prompts of {counts[1]!r} tokens")
    for name in ("losses", "validation_losses"):
        if not isinstance(config[name], list) or not all(isinstance(loss, float) for loss in config[name]):
            raise container.refusal("decoder", f"its {name} are not numbers")
    fingerprint = config["encoder_fingerprint"]
    if fingerprint is not None and not (isinstance(fingerprint, str) and fingerprint):
        raise container.refusal("decoder", "its encoder fingerprint is not a text")
    captioner.max_tokens_, captioner._prompt_tokens = counts
    captioner.losses_, captioner.validation_losses_ = config["losses"], config["validation_losses"]
    check_modality_name(config["modality"])
    captioner.encoder_fingerprint_, captioner.modality_ = fingerprint, config["modality"]
