"""Digests of files and folders: what was written is what is read, and nothing beside it."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from c3align.errors import FormatError, NoDigestWarning

__all__ = [
    "DIGEST_BYTES",
    "Watch",
    "about",
    "check_folders",
    "is_signed",
    "new",
    "of_file",
    "of_folders",
    "refusal",
    "signed",
]
__all__ += ["warn_of_no_digest"]

DIGEST_BYTES = 32
_CHUNK = 1 << 16


def refusal(kind: str, reason: str) -> FormatError:
    """The error for a file that is not what it says."""
    fix = "delete it to begin anew" if kind == "checkpoint" else "save it again from its source"
    return FormatError(f"not a whole c3align {kind}: {reason}; {fix}")


@contextmanager
def about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors about a file that is not what it says begin with its path, unless they name it."""
    try:
        yield
    except FormatError as error:
        if os.fspath(path) in str(error):
            raise
        raise FormatError(f"{os.fspath(path)}: {error}") from error


def warn_of_no_digest(kind: str, fix: str = "save it again") -> None:
    """Warn of what an older version wrote."""
    warnings.warn(
        f"this {kind} was written by an older c3align, without a digest that would tell of damage; {fix}",
        NoDigestWarning,
        stacklevel=3,
    )


def signed(content: bytes) -> bytes:
    """Bytes, and their SHA-256 behind them."""
    return content + hashlib.sha256(content).digest()


def is_signed(content: bytes) -> bool:
    """Whether the last bytes are the SHA-256 of all before them."""
    return content[-DIGEST_BYTES:] == hashlib.sha256(memoryview(content)[:-DIGEST_BYTES]).digest()


def new() -> Any:
    """A SHA-256 that has seen nothing yet."""
    return hashlib.sha256()


def of_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def of_folders(root: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of every file in some folders under `root`, by its path from there."""
    return {name: of_file(root / name) for name in _files(root, names)}


def check_folders(root: Path, names: Iterable[str], expected: Any, kind: str) -> None:
    """Refuse folders that hold anything but the files that `of_folders` found there; hidden files are left alone.

    A file that does not belong there is refused by its name, without being read.
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


class Watch:
    """Compares files of rows with their digests while they are read, each from its first row to its last.

    What is read in another order is not compared, and costs nothing. `expected` has the SHA-256 by the name of the
    file, without its folder.
    """

    def __init__(self, expected: Mapping[str, str]) -> None:
        self.expected = expected
        self._next: tuple[str, int] | None = None
        self._digest = hashlib.sha256()

    def compare(self, path: str) -> None:
        """Refuse a file that is not what it was."""
        if of_file(path) != self.expected.get(os.path.basename(path)):
            raise refusal("tree of shards", f"{path!r} is damaged, or another file")

    def see(self, path: str, first: int, rows: Any, n_rows: int) -> None:
        """Rows from the `first` on, of a file of `n_rows`; after the last ones another file is refused."""
        if first == 0:
            with open(path, "rb") as file:
                head = file.read(os.fstat(file.fileno()).st_size - n_rows * rows[:1].nbytes)
            self._next, self._digest = (path, 0), hashlib.sha256(head)
        if self._next != (path, first):
            return
        self._digest.update(np.ascontiguousarray(rows).view(np.uint8).data)
        self._next = (path, first + len(rows))
        if first + len(rows) == n_rows and self._digest.hexdigest() != self.expected.get(os.path.basename(path)):
            raise refusal("tree of shards", f"{path!r} is damaged, or another file")
