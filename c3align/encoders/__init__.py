"""Encoders by name: pictures, texts, sounds and videos to embeddings of one space.

Importing this imports none of them; `load` does, and names the pip command for what is missing.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import Any, NamedTuple

from c3align._arguments import checked
from c3align._typing import Encoder
from c3align.errors import C3AlignError, EncoderMismatchError, without_advice

__all__ = ["Encoder", "Known", "available", "check_claim", "fit_stream", "list", "load"]

ENTRY_POINTS = "c3align.encoders"  # third parties: name = "module:function", which takes what follows the colon
_BUILT_IN = {
    "glyphs": "c3align.encoders.glyphs",
    "imagebind": "c3align.encoders.imagebind",
    "open_clip": "c3align.encoders.open_clip",
    "precomputed": "c3align.encoders.precomputed",
    "sentence-transformers": "c3align.encoders.sentence_transformers",
    "transformers": "c3align.encoders.transformers",
}


class Known(NamedTuple):
    """An encoder that `load` knows.

    Parameters
    ----------
    spec, modalities : str
        How it is written, and what it embeds.
    package : str or None
        The package that it needs besides c3align.
    version : str or None
        That package's version, or None if it is not installed.
    """

    spec: str
    modalities: str
    package: str | None = None
    version: str | None = None

    @property
    def is_installed(self) -> bool:
        """Whether it can be loaded here."""
        return self.package is None or self.version is not None


_KNOWN = (
    Known("glyphs", "image, text"),
    Known("imagebind", "image, text, audio, video, depth, thermal, imu", "imagebind"),
    Known(
        "open_clip:MODEL/TAG, open_clip:hf-hub:ORG/NAME or open_clip:local-dir:FOLDER",
        "image, text, video",
        "open_clip_torch",
    ),
    Known("precomputed:FOLDER", "what is in it"),
    Known("sentence-transformers:NAME", "text, and what the model has: image, video, audio", "sentence-transformers"),
    Known("transformers:NAME", "image, text, video; audio, text (CLAP); video, text (X-CLIP)", "transformers"),
)


def list() -> tuple[Known, ...]:
    """List the encoders that `load` knows, with what they embed and whether they are installed; imports none.

    Returns
    -------
    tuple of Known
        Built-in encoders, and those of installed packages, whose modalities are known once they are loaded.
    """
    own = [known._replace(version=known.package and _version(known.package)) for known in _KNOWN]
    others = [point for point in metadata.entry_points(group=ENTRY_POINTS) if point.name not in _BUILT_IN]
    found = [(point, point.dist.metadata["Name"] if point.dist else None) for point in others]
    return (*own, *(Known(f"{point.name}:...", "ask it", name, name and _version(name)) for point, name in found))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def available() -> builtins.list[str]:
    """List the names that `load` knows.

    Returns
    -------
    list of str
        Built-in encoders, and those of installed packages.
    """
    return sorted({*_BUILT_IN, *(point.name for point in metadata.entry_points(group=ENTRY_POINTS))})


@checked
def load(spec: str) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    spec : str
        "name" or "name:what the encoder takes", such as "glyphs", "open_clip:ViT-B-32/laion2b_s34b_b79k",
        "transformers:openai/clip-vit-base-patch32", "sentence-transformers:clip-ViT-B-32", "imagebind",
        "precomputed:emb/".

    Returns
    -------
    Encoder
        Ready to embed; weights are downloaded if needed.

    Raises
    ------
    C3AlignError
        An unknown name; the message lists the known ones.
    MissingExtraError
        A required package is missing or broken; the message has the pip command.
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


@checked
def check_claim(spec: str, fingerprint: str) -> None:
    """Refuse a fingerprint that a spec's encoder cannot have, before anything is loaded.

    Kind and name are part of a fingerprint and are compared here; for "glyphs" all of it. The digest of the weights is
    computed from the towers once they are built, when names and dtypes are the library's own, so `Pipeline` compares
    it only then; until then the checks of `c3align.io.model_folders` limit what a folder of weights can do. Nothing is
    known in advance about encoders of other packages, or about rows on disk, whose files hold the fingerprint.

    Parameters
    ----------
    spec : str
        As in `load`.
    fingerprint : str
        The expected one.

    Raises
    ------
    EncoderMismatchError
        If it begins in another way.
    """
    name, _, rest = spec.partition(":")
    claim = getattr(import_module(_BUILT_IN[name]), "claim", None) if name in _BUILT_IN else None
    if claim is not None and not fingerprint.startswith(claim(rest)):
        raise EncoderMismatchError(
            f"the encoder {spec!r} has a fingerprint that begins {claim(rest)!r}, not {fingerprint[:200]!r}; pass the "
            "encoder with that fingerprint"
        )


@checked
def fit_stream(aligner: Any, encoder: Encoder, items: Sequence[Any], *, modality: str, batch_size: int = 32) -> Any:
    """Fit an aligner while items are encoded: one pass, no embedding kept; binds the encoder's fingerprint.

    Parameters
    ----------
    aligner : C3Aligner
        Learns by `partial_fit`, keeping what it knew.
    encoder : Encoder
        Embeds the items.
    items, modality, batch_size : optional
        As in `Encoder.encode`.

    Returns
    -------
    C3Aligner
        The same aligner, with the state that `partial_fit` on all embeddings at once gives, to the byte.

    Raises
    ------
    EncoderMismatchError
        An aligner that is bound to another encoder. After any error it is as it was.
    """
    from c3align.encoders.base import SKIP, batches
    from c3align.encoders.binding import learning_from

    with learning_from(encoder, aligner), without_advice(SKIP):
        for batch in batches(encoder, items, modality=modality, batch_size=batch_size):
            aligner.partial_fit(batch.rows, modality=modality)
    return aligner
