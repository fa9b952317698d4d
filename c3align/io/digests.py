"""Digests of files and folders: what was written is what is read, and nothing beside it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from c3align.errors import FormatError, NoDigestWarning

__all__ = ["DIGEST_BYTES", "check_folders", "is_signed", "of_file", "of_folders", "refusal", "signed"]
__all__ += ["warn_of_no_digest"]

DIGEST_BYTES = 32
_CHUNK = 1 << 20


def refusal(kind: str, reason: str) -> FormatError:
    """The error for a file that is not what it says."""
    fix = "delete it to begin anew" if kind == "checkpoint" else "save it again from its source"
    return FormatError(f"not a whole c3align {kind}: {reason}; {fix}")


def warn_of_no_digest(kind: str) -> None:
    """Warn of what an older version wrote."""
    warnings.warn(
        f"this {kind} was written by an older c3align, without a digest that would tell of damage; save it again",
        NoDigestWarning,
        stacklevel=3,
    )


def signed(content: bytes) -> bytes:
    """Bytes, and their SHA-256 behind them."""
    return content + hashlib.sha256(content).digest()


def is_signed(content: bytes) -> bool:
    """Whether the last bytes are the SHA-256 of all before them."""
    return content[-DIGEST_BYTES:] == hashlib.sha256(memoryview(content)[:-DIGEST_BYTES]).digest()


def of_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def of_folders(root: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of every file in some folders under `root`, by its path from there."""
    return {name: of_file(root / name) for name in _files(root, names)}


def check_folders(root: Path, names: Iterable[str], expected: Any, kind: str) -> None:
    """Refuse folders that hold anything but the files that `of_folders` found there; hidden files are left alone.

    Raises
    ------
    FormatError
        A file more, or less, or of other content. A file that is more is not read.
    """
    if not isinstance(expected, dict):
        raise refusal(kind, "it does not say which files belong to it")
    found = _files(root, names)
    for name in sorted(set(found) ^ set(expected)):
        what = "does not belong to it; remove it" if name in found else "is absent"
        raise refusal(kind, f"{str(root / name)!r} {what}")
    for name in found:
        if not (root / name).is_file() or of_file(root / name) != expected[name]:
            raise refusal(kind, f"{str(root / name)!r} is damaged, or another file")


def _files(root: Path, names: Iterable[str]) -> list[str]:
    """All that is no folder, hidden names apart; a link to a folder counts as a file."""
    paths = (path for name in names for path in (root / name).rglob("*") if path.is_symlink() or not path.is_dir())
    found = (path.relative_to(root) for path in paths)
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
