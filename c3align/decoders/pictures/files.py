"""An `EmbeddingGenerator` on disk: one file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from c3align.decoders.place import Place
from c3align.io import container

if TYPE_CHECKING:
    from c3align.decoders.pictures.decoder import EmbeddingGenerator

__all__ = ["load", "save"]

FILE, FORMAT = "generator.safetensors", "c3align.EmbeddingGenerator"
MAX_DIMS, MAX_EDGE, MAX_CHANNELS, MAX_WIDTH = 1 << 16, 4096, 16, 1024


def save(generator: EmbeddingGenerator, folder: str | os.PathLike[str]) -> None:
    """See `EmbeddingGenerator.save_pretrained`."""
    config = {
        "format": FORMAT,
        "format_version": container.SIGNED_SINCE,
        "losses": generator.losses_,
        "n_dims": generator.n_dims,
        "shape": list(generator.shape_),
        "width": int(generator.width),
        "modality": generator.modality_,
    }
    place = {} if generator._place is None else generator._place.tensors()
    content = container.dump({**generator._fitted().state_dict(), **place}, config)
    container.write_folder(folder, FILE, content, config)


def load(cls: type[EmbeddingGenerator], folder: str | os.PathLike[str]) -> EmbeddingGenerator:
    """See `EmbeddingGenerator.from_pretrained`."""
    import torch

    from c3align.decoders.pictures.model import PictureNet

    config, tensors = container.read_decoder(folder, FILE, FORMAT)
    config = {"modality": "image", **config}  # older files do not name it
    n_dims, shape, width = _checked(config)
    place = Place.taken_from(tensors)
    with torch.device("meta"):  # shapes alone: a file that lies gets no memory
        net = PictureNet(n_dims, (*shape, 1)[:3], width)
    container.check_tensors(tensors, container.layout(net.state_dict()), "decoder")
    net.load_state_dict(tensors, assign=True)
    generator = cls(width=width)
    generator._net, generator.n_dims, generator.shape_ = net.eval(), n_dims, shape
    generator.losses_, generator.modality_, generator._place = config["losses"], config["modality"], place
    return generator


def _checked(config: dict[str, Any]) -> tuple[int, tuple[int, ...], int]:
    """Dimension, shape and width of a saved generator, within bounds."""
    keys = {"format", "format_version", "losses", "modality", "n_dims", "shape", "width"}
    if set(config) != keys:
        raise container.refusal(
            "decoder", f"its configuration has unknown or missing keys {sorted(set(config) ^ keys)}"
        )
    n_dims, shape, width = config["n_dims"], config["shape"], config["width"]
    limits = [(n_dims, MAX_DIMS), (width, MAX_WIDTH)]
    if not isinstance(shape, list) or len(shape) not in (2, 3):
        raise container.refusal("decoder", f"pictures of shape {shape!r}")
    limits += list(zip(shape, (MAX_EDGE, MAX_EDGE, MAX_CHANNELS)))
    if not all(type(value) is int and 1 <= value <= limit for value, limit in limits):
        wrong = f"a dimension of {n_dims!r}, pictures of shape {shape!r} or a width of {width!r}"
        raise container.refusal("decoder", wrong)
    if not isinstance(config["losses"], list) or not all(isinstance(loss, float) for loss in config["losses"]):
        raise container.refusal("decoder", "its losses are not numbers")
    return n_dims, tuple(shape), width
