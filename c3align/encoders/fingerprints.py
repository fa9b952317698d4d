"""What tells encoders apart, as short digests: weights, configuration, preprocessing, tokenizer."""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["preparation", "short_digest", "weights_digest"]

_ASIDE = ("architectures", "dtype", "torch_dtype", "transformers_version")  # what changes no row of float32 towers


def weights_digest(model: Any) -> str:
    """Hash of all parameters and buffers, by name, and of what computes with them: equal digests, equal towers."""
    import torch

    # what a model prints names its layers, as another release of a library may do otherwise: where nothing else tells
    layers = "" if hasattr(getattr(model, "config", None), "to_dict") else str(model)
    digest = hashlib.blake2b(f"{layers} {_configuration(model)}".encode(), digest_size=6)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _configuration(model: Any) -> str:
    """What a configuration of transformers says about the towers, as text; not where they came from."""
    configs: list[Any] = [getattr(part, "config", None) for part in model.modules()]
    found: dict[str, Any] = next((config.to_dict() for config in configs if hasattr(config, "to_dict")), {})

    def told(value: Any) -> Any:
        if not isinstance(value, dict):
            return str(value)
        return sorted((str(k), told(v)) for k, v in value.items() if not str(k).startswith("_") and k not in _ASIDE)

    return str(told(found))


def short_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def preparation(processor: Any) -> str:
    """All that decides how a processor of transformers, or a tokenizer alone, prepares items, as text."""
    parts = [getattr(processor, name, None) for name in ("image_processor", "feature_extractor", "video_processor")]
    settings = [sorted((k, str(v)) for k, v in part.to_dict().items() if "class" not in k) for part in parts if part]
    return f"{settings} {_tokenization(getattr(processor, 'tokenizer', processor))}"


def _tokenization(tokenizer: Any) -> str:
    """Vocabulary and rules; padding and truncation are set anew by every call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        rules = {k: v for k, v in json.loads(backend.to_str()).items() if k not in ("padding", "truncation", "version")}
    else:  # tokenizers in Python, and open_clip's own
        vocabulary = getattr(tokenizer, "get_vocab", lambda: getattr(tokenizer, "encoder", {}))()
        rules = {"vocabulary": vocabulary, "merges": sorted(map(str, getattr(tokenizer, "bpe_ranks", {}).items()))}
        rules["kind"] = type(tokenizer).__name__
    names = ("padding_side", "truncation_side", "pad_token_id", "bos_token_id", "eos_token_id", "do_lower_case")
    return json.dumps([rules, [str(getattr(tokenizer, name, None)) for name in names]], sort_keys=True, default=str)
