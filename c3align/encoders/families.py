"""The kinds of two-tower models that c3align knows, and which backend takes what another was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from c3align.encoders.base import is_local
from c3align.io import model_configs


class Family(NamedTuple):
    """What a kind of model takes."""

    modalities: tuple[str, ...]
    text_length: int | None = None  # texts are padded to it, as in training; None pads to the longest of a batch


PICTURES = ("image", "text", "video")
FAMILIES = {
    "clip": Family(PICTURES),
    "siglip": Family(PICTURES, 64),
    "siglip2": Family(PICTURES, 64),
    "metaclip_2": Family(PICTURES),
    "align": Family(PICTURES, 64),
    "clap": Family(("audio", "text")),
    "xclip": Family(("video", "text")),
}


def taken_by(folder: Path, name: str) -> str:
    """What to do with a model's folder, or a name of the Hub, that another backend was asked for."""
    where = f"local-dir:{name}" if is_local(name) else f"hf-hub:{name}"
    if (folder / "open_clip_config.json").is_file():
        return f"pass 'open_clip:{where}'"
    if (folder / "modules.json").is_file():
        return f"pass 'sentence-transformers:{name}'"
    path = folder / "config.json"
    found = model_configs.read_config(path) if path.is_file() else None
    if isinstance(found, dict) and found.get("model_type") in FAMILIES:
        return f"pass 'transformers:{name}'"
    return "no encoder of c3align takes it; embed with its own library, and pass the rows as 'precomputed:FOLDER'"
