"""What `PrefixCaptioner` is made of: its settings, checked, and its language model, made ready to learn."""

from __future__ import annotations

import numbers
from typing import Any

from c3align._imports import need
from c3align.decoders._memory import check_factory
from c3align.decoders.training import Training
from c3align.errors import C3AlignError

__all__ = ["adapted", "check_seed", "check_settings", "end_of_text"]

MAPPERS, TUNES, SHOWN = ("mlp", "transformer", "linear"), ("full", "frozen", "lora"), ("captions", "embeddings")
COUNTS = {"n_dims": (1, 1 << 16), "prefix_length": (1, 1 << 10), "n_neighbours": (0, 1 << 10)}


def check_settings(captioner: Any) -> None:
    """Raise C3AlignError for the first setting that cannot be."""
    for name, known in {"mapper": MAPPERS, "tune": TUNES, "neighbours_as": SHOWN}.items():
        if getattr(captioner, name) not in known:
            raise C3AlignError(
                f"{name}={getattr(captioner, name)!r} is unknown; pass one of {', '.join(map(repr, known))}"
            )
    for name, (least, most) in COUNTS.items():
        value = getattr(captioner, name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise C3AlignError(f"{name}={value!r} cannot be; pass an integer in [{least}, {most}]")
    if captioner.lora is not None and captioner.tune != "lora":
        raise C3AlignError(f"lora= is given and tune is {captioner.tune!r}; pass tune='lora'")
    if not isinstance(captioner.training, Training):
        raise C3AlignError("training= is no Training; pass one of c3align.decoders.training.Training")
    check_factory(captioner.index)


def check_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= int(seed) < 2**64:
        raise C3AlignError(f"seed={seed!r} does not fit; pass an integer in [0, 2**64)")
    return int(seed)


def end_of_text(lm: Any, tokenizer: Any) -> int:
    """The token that ends a caption."""
    if getattr(lm, "get_input_embeddings", None) is None or getattr(lm, "get_output_embeddings", None) is None:
        raise C3AlignError(f"a {type(lm).__name__} is no causal language model of transformers; pass one")
    found = tokenizer.eos_token_id
    if found is None:
        found = lm.config.get_text_config().eos_token_id
    found = found[0] if isinstance(found, list | tuple) and found else found
    if found is None:
        raise C3AlignError("neither tokenizer nor model has an end-of-text token; set tokenizer.eos_token")
    return int(found)


def adapted(lm: Any, tune: str, lora: dict[str, Any] | None) -> Any:
    """The language model with those weights open to training that `tune` says."""
    for parameter in lm.parameters():
        parameter.requires_grad_(tune == "full")
    if tune != "lora":
        return lm
    peft = need("peft", "peft", "captions")
    try:
        config = peft.LoraConfig(task_type="CAUSAL_LM", **(lora or {}))
        return peft.get_peft_model(lm, config)
    except (TypeError, ValueError) as error:
        raise C3AlignError(
            f"LoRA cannot be put into a {type(lm).__name__} ({error}); pass lora={{'target_modules': [...]}} with "
            "names of its layers, and settings that peft.LoraConfig knows"
        ) from error
