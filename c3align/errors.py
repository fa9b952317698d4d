"""Everything c3align raises or warns with. Every message ends with the fix."""

from __future__ import annotations

__all__ = [
    "C3AlignError",
    "CalibrationWarning",
    "EncoderMismatchError",
    "EncoderMismatchWarning",
    "FormatError",
    "MissingExtraError",
    "ModalityMeanWarning",
    "TruncationWarning",
    "ZeroRowsWarning",
]


class C3AlignError(ValueError):
    """Base of the library's own errors: an input or a setting that cannot be honoured."""


class FormatError(C3AlignError):
    """A file that is not a c3align aligner, or is damaged; the message says what is wrong with it."""


class EncoderMismatchError(C3AlignError):
    """Rows of one encoder were given to statistics of another (promise P11)."""


class MissingExtraError(C3AlignError, ImportError):
    """An optional package is absent; the message holds the ``pip install`` line that fixes it."""


class ModalityMeanWarning(UserWarning):
    """A batch was centred by a mean that may not be its modality's own."""


class CalibrationWarning(UserWarning):
    """Scores of two pairs of modalities are not made alike by one standard deviation a pair."""


class EncoderMismatchWarning(UserWarning):
    """Two sets of rows do not look as if they came from one encoder."""


class ZeroRowsWarning(UserWarning):
    """Integer rows without a direction were kept as zeros."""


class TruncationWarning(UserWarning):
    """Texts were longer than the encoder reads, and were cut."""
