"""Everything c3align raises or warns with. Every message ends with the mend."""

from __future__ import annotations

__all__ = [
    "C3AlignError",
    "EncoderMismatchError",
    "FormatError",
    "MissingExtraError",
    "ModalityMeanWarning",
    "TruncationWarning",
]


class C3AlignError(ValueError):
    """Base of the library's own errors: an input or a setting that cannot be honoured."""


class FormatError(C3AlignError):
    """A file that is not a c3align aligner, or is damaged; the message says what is wrong with it."""


class EncoderMismatchError(C3AlignError):
    """Rows of one encoder were given to statistics of another (promise P11)."""


class MissingExtraError(C3AlignError, ImportError):
    """An optional package is absent; the message holds the ``pip install`` line that mends it."""


class ModalityMeanWarning(UserWarning):
    """A batch was centred by a mean that may not be its modality's own."""


class TruncationWarning(UserWarning):
    """Texts were longer than the encoder reads, and were cut."""
