"""Pictures of phones (HEIC), which Pillow does not read, by pillow-heif where it is installed."""

from __future__ import annotations

from typing import Any

from c3align._imports import need
from c3align.errors import C3AlignError, MissingExtraError

__all__ = ["is_heic", "picture_of"]

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_heic(file: Any) -> bool:
    """Whether a file calls itself so in its first bytes; it is wound back."""
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    return bool(head[4:8] == b"ftyp" and head[8:12] in _BRANDS)


def picture_of(file: Any) -> Any:
    """The main picture as a PIL image, of which no more than the header is decoded; Pillow itself stays as it is."""
    try:
        module = need("pillow_heif", "pillow-heif", "heic")
    except MissingExtraError as error:  # of this item alone: others can be read
        raise C3AlignError(f"a HEIC picture: {error}, or convert it") from error
    return module.HeifImageFile(file)
