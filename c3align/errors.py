"""The exceptions and warnings of c3align. Every message ends with the fix."""

from __future__ import annotations

__all__ = [
    "C3AlignError",
    "EncoderMismatchError",
    "EncoderMismatchWarning",
    "FormatError",
    "MissingExtraError",
    "ModalityMeanWarning",
    "NoDigestWarning",
    "TruncationWarning",
    "ZeroRowsWarning",
]


class C3AlignError(ValueError):
    """Base of the library's own errors: an input or a setting that cannot be used."""


class FormatError(C3AlignError):
    """A file that is not a c3align aligner, or is damaged; the message says what is wrong with it."""


class EncoderMismatchError(C3AlignError):
    """Rows of one encoder were given to statistics of another (promise P11)."""


class MissingExtraError(C3AlignError, ImportError):
    """An optional package is absent; the message holds the ``pip install`` line that fixes it."""


class ModalityMeanWarning(UserWarning):
    """A batch was centered by a mean that may not be its modality's own."""


class NoDigestWarning(UserWarning):
    """What was loaded was written by an older version, without the digest that tells of changes."""


class EncoderMismatchWarning(UserWarning):
    """Two sets of rows do not look as if they came from one encoder."""


class ZeroRowsWarning(UserWarning):
    """Integer rows without a direction were kept as zeros."""


class TruncationWarning(UserWarning):
    """Texts were longer than the encoder reads, and were cut."""
