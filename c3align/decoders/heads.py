"""What each family of diffusers pipelines takes for an image embedding: argument, layout, negative, scale."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError

Block = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A family of pipelines."""

    name: str  # the pipeline's class, for messages
    n_dims: int
    takes_prompts: bool
    takes_negative: bool
    norm: float | None = None  # of raw image embeddings, where the pipeline knows it
    max_rows: int | None = None  # that one call keeps apart

    def arguments(self, pipeline: Any, rows: Block, negatives: Block | None, guided: bool) -> dict[str, Any]:
        """What the pipeline is called with for these rows (n, n_dims)."""
        raise NotImplementedError


class ImageEmbeds(Head):
    """Kandinsky 2.2: embeddings and negatives side by side, both (n, n_dims)."""

    def arguments(self, pipeline: Any, rows: Block, negatives: Block | None, guided: bool) -> dict[str, Any]:
        negatives = np.zeros_like(rows) if negatives is None else negatives
        # cast here too: without guidance the pipeline takes them as they are
        return {"image_embeds": _cast(pipeline, rows), "negative_image_embeds": _cast(pipeline, negatives)}


class NoisedEmbeds(Head):
    """Stable unCLIP: raw embeddings (n, n_dims), which it normalises by statistics of its own."""

    def arguments(self, pipeline: Any, rows: Block, negatives: Block | None, guided: bool) -> dict[str, Any]:
        return {"image_embeds": _cast(pipeline, rows)}


class AdapterEmbeds(Head):
    """An IP-Adapter: one tensor (1, 1, n_dims); with guidance (2, 1, n_dims), the negative first.

    A row at a time: diffusers repeats the tensor for every prompt of a call, so that all rows of it would flow into
    each picture (huggingface/diffusers issue 9813).
    """

    def arguments(self, pipeline: Any, rows: Block, negatives: Block | None, guided: bool) -> dict[str, Any]:
        negatives = np.zeros_like(rows) if negatives is None else negatives
        both = np.concatenate([negatives, rows]) if guided else rows
        return {"ip_adapter_image_embeds": [_cast(pipeline, both)[:, None]]}


def _cast(pipeline: Any, rows: Block) -> Any:
    import torch

    device = getattr(pipeline, "_execution_device", pipeline.device)
    return torch.from_numpy(np.array(rows)).to(device=device, dtype=pipeline.unet.dtype)


def head_of(pipeline: Any) -> Head:
    """The head of a pipeline, by what its call takes; refused where that is no image embedding of one vector."""
    name, known = type(pipeline).__name__, _parameters(pipeline)
    unet = getattr(pipeline, "unet", None)
    if unet is not None and {"image_embeds", "negative_image_embeds"} <= set(known):
        return ImageEmbeds(name, int(unet.config.encoder_hid_dim), "prompt" in known, True)
    if unet is not None and "image_embeds" in known and hasattr(pipeline, "image_normalizer"):
        normalizer = pipeline.image_normalizer
        return NoisedEmbeds(name, int(normalizer.config.embedding_dim), True, False, _norm_of(normalizer))
    if unet is not None and "ip_adapter_image_embeds" in known:
        return AdapterEmbeds(name, _adapter_dims(unet, name), True, True, max_rows=1)
    raise C3AlignError(
        f"{name} takes no image embeddings; pass a Kandinsky 2.2 or Stable unCLIP pipeline, or Stable Diffusion with "
        "an IP-Adapter"
    )


def _norm_of(normalizer: Any) -> float | None:
    """Root mean square norm of the embeddings that gave its mean and standard deviation; None while it has neither."""
    mean, std = (value.detach().double().cpu() for value in (normalizer.mean, normalizer.std))
    if not mean.any() and (std == 1).all():
        return None
    return float((mean**2 + std**2).sum().sqrt())


def _adapter_dims(unet: Any, name: str) -> int:
    layers = getattr(getattr(unet, "encoder_hid_proj", None), "image_projection_layers", None)
    if layers is None:
        raise C3AlignError(f"this {name} has no IP-Adapter; call pipeline.load_ip_adapter(...) first")
    if len(layers) != 1 or not hasattr(layers[0], "image_embeds"):
        kinds = ", ".join(type(layer).__name__ for layer in layers)
        raise C3AlignError(
            f"this {name} has the IP-Adapters {kinds}; load one plain IP-Adapter, which takes one embedding a picture "
            "(not Plus, FaceID or several)"
        )
    return int(layers[0].image_embeds.in_features)


def is_guided(pipeline: Any, asked: dict[str, Any]) -> bool:
    """Whether the pipeline will compare with a negative (classifier-free guidance), as it decides it itself."""
    scale = asked.get("guidance_scale", _parameters(pipeline)["guidance_scale"].default)
    return scale > 1 and getattr(pipeline.unet.config, "time_cond_proj_dim", None) is None


def _parameters(pipeline: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(type(pipeline).__call__).parameters)
