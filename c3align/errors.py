"""The exceptions and warnings of c3align. Every message ends with the fix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "C3AlignError",
    "CalibrationWarning",
    "EncoderMismatchError",
    "EncoderMismatchWarning",
    "FormatError",
    "HubError",
    "InputTypeError",
    "MissingExtraError",
    "ModalityMeanWarning",
    "NoDigestWarning",
    "PairOrderWarning",
    "TruncationWarning",
    "ZeroRowsWarning",
    "counted",
    "one_line",
    "printable",
]

# advice that some callers replace, as they take no such option
KEEP = ", or keep them as zeros with zero_rows='keep'"
ALONE = "pass X and y to partial_fit one after the other, each with its modality="
PAIRED = "fit them as pairs then, else ignore this"
_LONGEST = 1000  # characters of a message, whatever was given; its last words are the fix
# control characters, and what turns the direction of writing or stands for bytes that are no UTF-8
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def counted(n: int, what: str) -> str:
    """Say how many things there are: "1 row", "2 rows".

    Parameters
    ----------
    n, what : int, str
        How many, and the name of one.

    Returns
    -------
    str
        With an "s" unless there is one.
    """
    return f"{n} {what}{'s' * (n != 1)}"


def printable(text: str) -> str:
    """Escape what would steer a terminal.

    Parameters
    ----------
    text : str
        Of a stranger's file, perhaps.

    Returns
    -------
    str
        With control characters written out, as \\x1b; letters of all scripts stay.
    """
    return _HARMFUL.sub(lambda found: _escaped(found[0]), text)


def one_line(message: object) -> str:
    """Make one printable line of a message.

    Parameters
    ----------
    message : object
        Its `str` is taken.

    Returns
    -------
    str
        With white space as single spaces, and other characters that are not printable written out.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in " ".join(str(message).split()))


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode()


class C3AlignError(ValueError):
    """Base of the library's own errors: an input or a setting that cannot be used."""

    def __str__(self) -> str:
        text = one_line(super().__str__())  # names of a stranger's files among them
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 210]} [...] {text[-200:]}"


@contextmanager
def without_advice(text: str) -> Iterator[None]:
    """Leave a piece of advice out of errors, where what it names cannot be passed."""
    try:
        yield
    except C3AlignError as error:
        if text in str(error):
            raise type(error)(str(error).replace(text, "")) from error
        raise


class FormatError(C3AlignError):
    """A file that is not what was asked for (an aligner, a pipeline, a tree), or is damaged; the message says how."""


class HubError(C3AlignError, FileNotFoundError):
    """A folder that is neither on disk nor to be had from the Hugging Face Hub, or cannot be put there."""


class InputTypeError(C3AlignError, TypeError):
    """Rows that are no numbers; a TypeError too, as scikit-learn has it."""


class EncoderMismatchError(C3AlignError):
    """Rows of one encoder were given to statistics of another (promise P11)."""


class MissingExtraError(C3AlignError, ImportError):
    """An optional package is absent, cannot be imported or is unsafe; the message holds the ``pip install`` line."""


class ModalityMeanWarning(UserWarning):
    """Rows may not be what they were given as: of another modality, already aligned, or raw where aligned are due."""


class NoDigestWarning(UserWarning):
    """What was loaded was written by an older version, without the digest that tells of changes."""


class PairOrderWarning(UserWarning):
    """Pairs in which partners are no more alike than in a random order, or are the same rows."""


class CalibrationWarning(UserWarning):
    """Calibrated scores or thresholds may not mean what they say: of few rows, or alike in no one scale."""


class EncoderMismatchWarning(UserWarning):
    """Two sets of rows do not look as if they came from one encoder."""


class ZeroRowsWarning(UserWarning):
    """Integer rows without a direction were kept as zeros."""


class TruncationWarning(UserWarning):
    """Texts were longer than the encoder reads, and were cut."""
