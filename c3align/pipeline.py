"""`Pipeline`: encoder, aligner and decoder in sequence; trained on one modality alone, run on another."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from c3align import encoders
from c3align._typing import Decoder, Encoder
from c3align.aligner import C3Aligner
from c3align.encoders.base import Batch, Broken, batches, check_many
from c3align.encoders.binding import check_encoder, learning_from, unchanged_on_error
from c3align.errors import C3AlignError

__all__ = ["Pipeline", "Result"]


class Result(NamedTuple):
    """The outcome for one item.

    Parameters
    ----------
    place, value : int, any
        Number of the item, and its caption, captions or picture; None where there is none.
    reason : str or None
        Why there is none.
    """

    place: int
    value: Any
    reason: str | None = None


class Pipeline:
    """Encoder, aligner and decoder in sequence: train on one modality, caption or draw from another.

    The decoder learns from one modality only: `fit_text` shows it no picture, `fit_images` no text. The other modality
    needs only its mean, from an aligner that has it or from unpaired items (`collect`).

    Parameters
    ----------
    encoder : Encoder or str
        An encoder, or its spec for `c3align.encoders.load`. A saved pipeline loads its encoder by the spec; one passed
        as an object has to be passed again.
    aligner : C3Aligner, optional
        Fitted or not; by default a new one. It learns what it lacks, and is bound to the encoder;
        `EncoderMismatchError` if its statistics, or what the decoder has learned, come from another.
    decoder : Decoder
        `PrefixCaptioner`, `MemoryCaptioner`, `EmbeddingGenerator` or `DiffusersGenerator` of `c3align.decoders`, or
        another object with ``takes``, ``modality_``, ``n_dims``, ``fit`` and ``generate``; else `C3AlignError`.

    Examples
    --------
    >>> from c3align import Pipeline
    >>> from c3align.decoders import MemoryCaptioner
    >>> from c3align.datasets import glyphs
    >>> train, unseen = glyphs(split="train"), glyphs(split="held_out")
    >>> pipeline = Pipeline("glyphs", decoder=MemoryCaptioner()).fit_text(train.names)
    >>> pipeline.collect(train.pictures, modality="image").caption(unseen.pictures[12:13])  # "multiplication sign"
    ['multiplication x']
    """

    def __init__(
        self, encoder: Encoder | str, aligner: C3Aligner | None = None, decoder: Decoder | None = None
    ) -> None:
        _check_parts(encoder, aligner, decoder)
        self.spec = encoder if isinstance(encoder, str) else None
        self.encoder = encoders.load(encoder) if isinstance(encoder, str) else encoder
        self.aligner = C3Aligner() if aligner is None else aligner
        self.decoder: Any = decoder
        check_encoder("aligner", self.aligner, self.encoder)
        check_encoder("decoder", decoder, self.encoder)

    def fit_text(self, captions: Sequence[str], *, encode_batch_size: int = 256, **options: Any) -> Pipeline:
        """Train the decoder on texts alone (C3, algorithm 1): it learns a caption from its own noisy embedding.

        Parameters
        ----------
        captions : sequence of str
            Texts to learn.
        encode_batch_size : int
            Number of items that the encoder takes at a time.
        **options : optional
            Passed to the decoder's `fit`, such as ``epochs``, ``seed``, ``progress``.

        Returns
        -------
        Pipeline
            Itself; the aligner now has the texts' mean, and is unchanged if anything fails.
        """
        check_many(captions)
        return self._fit(list(captions), "text", encode_batch_size, options)

    def fit_images(self, pictures: Any, *, encode_batch_size: int = 256, **options: Any) -> Pipeline:
        """Train a generator on pictures alone: it learns to draw a picture from its own noisy embedding.

        Parameters
        ----------
        pictures : sequence, or array (n, height, width[, channels]) uint8
            Pictures that both the encoder and the generator accept.
        encode_batch_size, **options : optional
            As in `fit_text`.

        Returns
        -------
        Pipeline
            Itself, as in `fit_text`.
        """
        check_many(pictures)
        found = pictures if hasattr(pictures, "__len__") else list(pictures)
        return self._fit(found, "image", encode_batch_size, options)

    def _fit(self, items: Any, modality: str, batch_size: int, options: dict[str, Any]) -> Pipeline:
        if not len(items):
            raise C3AlignError(f"no {modality} items to learn from; pass at least one")
        if self.decoder.takes == "raw" and self.decoder.modality_ != modality:
            raise C3AlignError(
                f"a {type(self.decoder).__name__} takes rows in the place of {self.decoder.modality_!r} and cannot "
                f"learn from {modality!r}; call collect(items, modality={modality!r}) for the mean of these"
            )
        progress = bool(options.get("progress", False))
        rows = self.encoder.encode(items, modality=modality, batch_size=batch_size, progress=progress)
        with unchanged_on_error(self.aligner):
            if modality not in self._fitted():
                self.aligner.partial_fit(rows, modality=modality)
            self.aligner.bind_encoder(self.encoder.fingerprint)
            self.decoder.fit(rows, items, aligner=self.aligner, modality=modality, **options)
        return self

    def collect(
        self, items: Iterable[Any], *, modality: str = "image", batch_size: int = 64, on_error: str = "raise"
    ) -> Pipeline:
        """Learn the mean of a modality from unpaired items, added to what the aligner knows; no embedding is kept.

        Parameters
        ----------
        items, modality, batch_size, on_error : optional
            As in `caption`. A few hundred items are enough: the mean's error falls with the root of their number.

        Returns
        -------
        Pipeline
            Itself, unchanged if anything fails.
        """
        check_many(items)
        broken: list[Broken] = []
        with learning_from(self.encoder, self.aligner):
            for batch in self._batches(items, modality, batch_size, on_error):
                broken += batch.broken
                if len(batch.rows):
                    self.aligner.partial_fit(batch.rows, modality=modality)
            if modality not in self._fitted():
                raise C3AlignError(f"no {modality} items to learn the mean from; pass some that can be read")
        _warn_of(broken, modality)
        return self

    def caption(
        self,
        items: Iterable[Any],
        *,
        modality: str = "image",
        batch_size: int = 64,
        on_error: str = "raise",
        **options: Any,
    ) -> list[str | None]:
        """Caption pictures, sounds or videos.

        Parameters
        ----------
        items : iterable
            What the encoder takes: paths, URLs, PIL images, arrays, (waveform, rate).
        modality : str
            Modality of the items; `C3AlignError` if the aligner does not know its mean.
        batch_size : int
            Number of items at a time; results do not depend on it beyond float32 rounding.
        on_error : "raise" or "skip"
            Whether items that cannot be read, or whose embedding is NaN or zero, raise `C3AlignError` with their
            number, or give None and are counted in a warning.
        **options : optional
            Passed to the decoder's `generate`, such as ``num_beams``.

        Returns
        -------
        list of str or None
            One caption per item; a list of captions where the decoder makes several.
        """
        return self._all(items, modality, batch_size, on_error, options, wanted="caption")

    def draw(self, texts: Iterable[str], *, batch_size: int = 64, on_error: str = "raise", **options: Any) -> list[Any]:
        """Draw what texts describe, by a generator trained on pictures alone.

        Parameters
        ----------
        texts : iterable of str
            Descriptions.
        batch_size, on_error, **options : optional
            As in `caption`.

        Returns
        -------
        list
            One (height, width[, channels]) uint8 array, or what the generator makes, per text; None if skipped.
        """
        return self._all(texts, "text", batch_size, on_error, options, wanted="picture")

    def _all(
        self, items: Iterable[Any], modality: str, batch_size: int, on_error: str, options: dict[str, Any], wanted: str
    ) -> list[Any]:
        results = []
        for result in self.stream(items, modality=modality, batch_size=batch_size, on_error=on_error, **options):
            if _is_picture(result.value) is (wanted == "caption") and result.reason is None:
                other = "draw(texts)" if wanted == "caption" else "caption(items)"
                raise C3AlignError(
                    f"this pipeline's decoder, {type(self.decoder).__name__}, makes no {wanted}s; call {other}"
                )
            results.append(result)
        _warn_of([Broken(r.place, "", r.reason) for r in results if r.reason is not None], modality)
        return [result.value for result in results]

    def stream(
        self, items: Iterable[Any], *, modality: str, batch_size: int = 64, on_error: str = "raise", **options: Any
    ) -> Iterator[Result]:
        """Caption or draw any number of items in order, holding a few batches in memory.

        Parameters
        ----------
        items, modality, batch_size, on_error, **options : optional
            As in `caption`.

        Returns
        -------
        iterator of Result
            One per item, broken ones included.
        """
        check_many(items)
        if modality not in self._fitted():
            raise C3AlignError(
                f"this pipeline does not know the mean of modality {modality!r}; "
                f"call collect(items, modality={modality!r}) with a few hundred items first"
            )
        return self._stream(items, modality, batch_size, on_error, options)

    def _stream(
        self, items: Iterable[Any], modality: str, batch_size: int, on_error: str, options: dict[str, Any]
    ) -> Iterator[Result]:
        for batch in self._batches(items, modality, batch_size, on_error):
            made = self._decode(batch, modality, {"batch_size": batch_size, **options})
            found = [Result(place, value) for place, value in zip(batch.kept, made)]
            found += [Result(item.place, None, _reason(item)) for item in batch.broken]
            yield from sorted(found, key=lambda result: result.place)

    def _decode(self, batch: Batch, modality: str, options: dict[str, Any]) -> Iterator[Any]:
        """Decode a batch; the decoder receives the true item number, even after skipped items."""
        if not len(batch.rows):
            return
        if self.decoder.takes == "raw":
            rows = self.aligner.translate(batch.rows, source=modality, target=self.decoder.modality_)
        else:
            rows = self.aligner.transform(batch.rows, modality=modality)
        starts = [i for i, place in enumerate(batch.kept) if i == 0 or place != batch.kept[i - 1] + 1]
        for start, stop in zip(starts, [*starts[1:], len(rows)]):
            yield from self.decoder.generate(rows[start:stop], row_offset=batch.kept[start], **options)

    def _batches(self, items: Iterable[Any], modality: str, batch_size: int, on_error: str) -> Iterator[Batch]:
        """Embedded batches; rows that are not finite or have no direction count as broken."""
        for batch in batches(self.encoder, items, modality=modality, batch_size=batch_size, on_error=on_error):
            usable = np.isfinite(batch.rows).all(axis=1) & batch.rows.any(axis=1)
            reason = "its embedding is zero or not finite"
            unusable = [Broken(place, "", reason) for place, ok in zip(batch.kept, usable) if not ok]
            if unusable and on_error == "raise":
                raise C3AlignError(
                    f"{modality} {unusable[0].place} cannot be used: {unusable[0].reason}; remove it, or pass "
                    "on_error='skip'"
                )
            kept = [place for place, ok in zip(batch.kept, usable) if ok]
            yield Batch(batch.rows[usable], kept, batch.broken + unusable, batch.n_items)

    def _fitted(self) -> dict[str, Any]:
        return getattr(self.aligner, "statistics_", {})

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `pipeline.json`, `aligner/` and `decoder/`, all of it or nothing.

        Parameters
        ----------
        folder : str or path
            Holds the encoder's spec and fingerprint, but not the encoder.
        """
        from c3align import _pipeline_files

        _pipeline_files.save(self, folder)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], *, encoder: Any = None, **hub: Any) -> Pipeline:
        """Load a pipeline that `save_pretrained` wrote.

        Parameters
        ----------
        folder : str or path
            A folder if it exists, else "owner/name" on the Hugging Face Hub. `FormatError` if it is damaged or is not
            c3align's; no code in it can run.
        encoder : Encoder or str, optional
            Replaces the one that the folder names; `EncoderMismatchError` if the fingerprint is another.
        **hub : optional
            As in `C3Aligner.from_pretrained`.
        """
        from c3align import _pipeline_files

        return _pipeline_files.load(cls, folder, encoder, **hub)


def _check_parts(encoder: Any, aligner: Any, decoder: Any) -> None:
    """Refuse what is no encoder, no aligner or no decoder, such as one in another's place."""
    if not isinstance(encoder, str | Encoder):
        raise C3AlignError(
            "encoder must be a spec, or have modalities, n_dims, fingerprint and encode, got "
            f"{type(encoder).__name__}; pass one such as 'glyphs', or what c3align.encoders.load gives"
        )
    if not isinstance(aligner, C3Aligner | None):
        fix = "pass it as decoder=" if isinstance(aligner, Decoder) else "load one by C3Aligner.from_pretrained(folder)"
        raise C3AlignError(f"aligner must be a C3Aligner, got {type(aligner).__name__}; {fix}")
    if not isinstance(decoder, Decoder):
        raise C3AlignError(
            "decoder must have takes, modality_, n_dims, fit and generate, got "
            f"{type(decoder).__name__}; pass one such as c3align.decoders.MemoryCaptioner()"
        )


def _is_picture(value: Any) -> bool:
    """A caption is a string, or a list of strings where several were requested."""
    return not isinstance(value, str | list)


def _reason(item: Broken) -> str:
    return f"{item.name}: {item.reason}" if item.name else item.reason


def _warn_of(broken: list[Broken], modality: str) -> None:
    if broken:
        warnings.warn(
            f"{len(broken)} of the {modality} items could not be used and were skipped, first number "
            f"{broken[0].place} ({_reason(broken[0])}); remove or fix them",
            stacklevel=3,
        )
