"""Encoders by name: pictures, texts and sounds to embeddings of one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError

__all__ = ["Encoder", "available", "load"]

ENTRY_POINTS = "c3align.encoders"  # third parties: name = "module:function", which takes what follows the colon
_BUILT_IN = {"glyphs": "c3align.encoders.glyphs"}


@runtime_checkable
class Encoder(Protocol):
    """What every encoder offers.

    Attributes
    ----------
    modalities : tuple of str
    n_dims : int
    fingerprint : str
        Names library, model, weights, dimension and preprocessing: equal fingerprints, one space.
    """

    modalities: tuple[str, ...]
    n_dims: int
    fingerprint: str

    def encode(
        self, items: Sequence[Any], *, modality: str, batch_size: int = 256, progress: bool = False
    ) -> npt.NDArray[np.float32]:
        """Embeddings (n, n_dims) float32 of the items, in order, not normalised."""
        ...


def available() -> list[str]:
    """Names that `load` knows: the built-in ones and those of installed packages."""
    return sorted({*_BUILT_IN, *(point.name for point in metadata.entry_points(group=ENTRY_POINTS))})


def load(spec: str) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    spec : str
        "name" or "name:what the encoder takes", such as "glyphs".

    Raises
    ------
    C3AlignError
        An unknown name; the known ones are listed.
    MissingExtraError
        A package that the encoder needs is absent; the pip command is named.
    """
    name, _, rest = spec.partition(":")
    maker: Callable[[str], Encoder] | None = None
    if name in _BUILT_IN:
        maker = import_module(_BUILT_IN[name]).load
    for point in metadata.entry_points(group=ENTRY_POINTS):
        if maker is None and point.name == name:
            maker = point.load()
    if maker is None:
        raise C3AlignError(f"encoder {spec!r} is unknown; pass one of {', '.join(available())}")
    return maker(rest)
