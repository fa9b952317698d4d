"""What learns from an encoder's rows: those of one encoder alone, and all of them or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from c3align.errors import EncoderMismatchError

__all__ = ["check_encoder", "learning_from", "unchanged_on_error"]


def check_encoder(what: str, learned: Any, encoder: Any) -> None:
    """Refuse an aligner or a decoder, as `what` says, of another encoder's rows."""
    bound = getattr(learned, "encoder_fingerprint_", None)
    if bound not in (None, encoder.fingerprint):
        raise EncoderMismatchError(
            f"the {what} comes from the encoder {bound} and not from {encoder.fingerprint}; pass that encoder, or "
            f"{'an aligner without statistics' if what == 'aligner' else 'a decoder that has learned nothing'}"
        )
    n_dims = getattr(learned, "n_dims", None)
    if n_dims not in (None, encoder.n_dims):
        raise EncoderMismatchError(
            f"the {what} takes rows of {n_dims} dimensions and {encoder.fingerprint} makes {encoder.n_dims}; pass the "
            "encoder that it was made for"
        )


@contextmanager
def unchanged_on_error(aligner: Any) -> Iterator[None]:
    """Restore the aligner if anything fails."""
    before = dict(vars(aligner))
    try:
        yield
    except BaseException:
        aligner.__dict__ = before
        raise


@contextmanager
def learning_from(encoder: Any, aligner: Any) -> Iterator[None]:
    """Let an aligner learn from an encoder's rows and bind it to that; it is as before if anything fails."""
    check_encoder("aligner", aligner, encoder)
    with unchanged_on_error(aligner):
        yield
        aligner.bind_encoder(encoder.fingerprint)
