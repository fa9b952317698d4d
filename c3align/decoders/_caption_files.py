"""A captioner on disk: one folder, which appears whole or not at all. Loading runs no code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from c3align._imports import is_torchvision_mismatch, need, torchvision_mismatch
from c3align.errors import C3AlignError
from c3align.io import atomic, container

__all__ = ["FILE", "LM_FOLDER", "MEMORY_FOLDER", "load_lm", "replaced_folder", "save_lm"]

FILE, LM_FOLDER, MEMORY_FOLDER = "captioner.safetensors", "lm", "memory"


def replaced_folder(folder: str | os.PathLike[str]) -> AbstractContextManager[Path]:
    """A folder that takes the place of `folder` when it is whole."""
    return atomic.replaced_folder(folder, "captioner", _is_captioner)


def _is_captioner(folder: Path) -> bool:
    # a folder that holds a memory alone was given to fit to put it there
    return (folder / FILE).is_file() or {path.name for path in folder.iterdir()} == {"memory.npy", "captions.jsonl"}


def save_lm(lm: Any, tokenizer: Any, folder: Path) -> None:
    """By their own `save_pretrained`; of a model with LoRA the weights that it was made of."""
    base = lm.get_base_model() if hasattr(lm, "get_base_model") else lm
    with _without_bars():
        base.save_pretrained(folder, state_dict=base_weights(lm), safe_serialization=True)
    tokenizer.save_pretrained(folder)


@contextmanager
def _without_bars() -> Iterator[None]:
    """transformers shows a bar for every file; it goes back to doing so afterwards."""
    logging = need("transformers.utils.logging", "transformers", "captions")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def base_weights(lm: Any) -> dict[str, Any]:
    """Weights under the names that they have without LoRA."""
    base = lm.get_base_model() if hasattr(lm, "get_base_model") else lm
    state = {name: value for name, value in base.state_dict().items() if ".lora_" not in name}
    return {name.replace(".base_layer.", "."): value for name, value in state.items()}


def load_lm(folder: str | os.PathLike[str]) -> tuple[Any, Any]:
    """Language model and tokenizer of a folder, or by a name of the Hub: safetensors only, no remote code."""
    hf = need("transformers", "transformers", "captions")
    try:
        with _without_bars():
            lm = hf.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, use_safetensors=True)
        tokenizer = hf.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if is_torchvision_mismatch(error):
            raise torchvision_mismatch(error) from error
        raise C3AlignError(
            f"the language model {str(folder)!r} cannot be loaded ({' '.join(str(error).split())[:300]}); pass a "
            "folder with safetensors of a causal language model that transformers knows, or the name of one on the Hub"
        ) from error
    return lm, tokenizer


def read(folder: Path, kind: str, keys: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration, with these keys and no others, and tensors."""
    config, tensors = container.read_decoder(folder, FILE, f"c3align.{kind}")
    if set(config) != keys | {"format", "format_version"}:
        unknown = sorted(set(config) ^ (keys | {"format", "format_version"}))
        raise container.refusal("decoder", f"its configuration has unknown or missing keys ({unknown})")
    return config, tensors
