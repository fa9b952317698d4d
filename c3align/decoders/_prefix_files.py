"""A `PrefixCaptioner` on disk: mapper and settings in one file, the language model as its library writes it."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from c3align.decoders import _caption_files as files
from c3align.decoders._memory import Memory
from c3align.decoders.training import Training
from c3align.errors import C3AlignError
from c3align.io import atomic, container

if TYPE_CHECKING:
    from c3align.decoders.prefix import PrefixCaptioner

__all__ = ["load", "save"]

_SETTINGS = ("n_dims", "mapper", "prefix_length", "tune", "lora", "n_neighbours", "neighbours_as", "index")
_LEARNED = ("max_tokens", "prompt_tokens", "losses", "validation_losses", "encoder_fingerprint", "training")
MAX_TOKENS = 1 << 16


def save(captioner: PrefixCaptioner, folder: str | os.PathLike[str]) -> None:
    """See `PrefixCaptioner.save_pretrained`."""
    config = {
        "format": "c3align.PrefixCaptioner",
        "format_version": 1,
        **{name: getattr(captioner, name) for name in _SETTINGS},
        "max_tokens": captioner.max_tokens_,
        "prompt_tokens": captioner._prompt_tokens,
        "losses": captioner.losses_,
        "validation_losses": captioner.validation_losses_,
        "encoder_fingerprint": captioner.encoder_fingerprint_,
        "training": asdict(captioner.training),
    }
    with files.replaced_folder(folder) as scratch:
        files.save_lm(captioner.lm, captioner.tokenizer, scratch / files.LM_FOLDER)
        if captioner._retrieval is not None:
            (scratch / files.MEMORY_FOLDER).mkdir()
            captioner._retrieval.memory.save(scratch / files.MEMORY_FOLDER)
        container.write_folder(scratch, files.FILE, container.dump(_own_weights(captioner), config), config)


def load(cls: type[PrefixCaptioner], folder: str | os.PathLike[str]) -> PrefixCaptioner:
    """See `PrefixCaptioner.from_pretrained`."""
    path = atomic.found(folder)
    config, tensors = files.read(path, "PrefixCaptioner", {*_SETTINGS, *_LEARNED})
    lm, tokenizer = files.load_lm(path / files.LM_FOLDER)
    try:
        training = Training(**config["training"])
        captioner = cls(lm, tokenizer, training=training, **{name: config[name] for name in _SETTINGS})
    except (TypeError, C3AlignError) as error:
        raise container.refusal("decoder", f"its settings do not fit ({error})") from error
    container.check_tensors(tensors, container.layout(_own_weights(captioner)), "decoder")
    captioner._model.load_state_dict(tensors, strict=False)
    _set_learned(captioner, config)
    if captioner.n_neighbours:
        memory = Memory.load(path / files.MEMORY_FOLDER, captioner.n_dims, captioner.index)
        captioner._retrieval = captioner._retrieval_of(memory, None, [])
    return captioner


def _own_weights(captioner: PrefixCaptioner) -> dict[str, Any]:
    """All that is not in the language model's own files: the mapper, and LoRA."""
    state = captioner._model.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("lm.") or ".lora_" in name}


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
    captioner.encoder_fingerprint_ = fingerprint
