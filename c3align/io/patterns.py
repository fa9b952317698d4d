"""The files that a name, a folder or a pattern stands for, here or behind a URL, in the order of their numbers."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import PurePath

from c3align.errors import C3AlignError
from c3align.io import atomic, opening

__all__ = ["FILES", "METADATA", "NoFileError", "base_of", "files_of", "natural"]

FILES = (".npy", ".safetensors", ".parquet")
METADATA = "metadata"  # the folder of a tree whose tables hold no rows


class NoFileError(C3AlignError):
    """Nothing that a pattern or a folder stands for."""


def natural(name: str | os.PathLike[str]) -> tuple[list[int | str], str]:
    """A key that sorts numbers in names as numbers: x_2 before x_10."""
    text = os.fspath(name)
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", text))], text


def base_of(patterns: Sequence[str]) -> str:
    """The folder that all files of some patterns are below; that of a tree, where they are its shards."""
    names = [name.partition("#")[0] if opening.is_url(name) else atomic.expanded(name) for name in patterns]
    found = []
    for name in names:
        parts = PurePath(name).parts
        fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        base = PurePath(*parts[:fixed]) if fixed else PurePath(".")
        is_file = fixed == len(parts) and (base.suffix in FILES if opening.is_url(name) else not os.path.isdir(name))
        base = base.parent if is_file or base.name.endswith("_emb") else base
        found.append(os.path.abspath(base))
    return os.path.commonpath(found)


def files_of(pattern: str) -> list[tuple[str, str | None]]:
    """The files that a name stands for, each with the column after a #; one that exists stands for itself."""
    name, column = pattern if opening.is_url(pattern) else atomic.expanded(pattern), ""
    if not os.path.exists(name):
        name, _, column = name.partition("#")
    if opening.is_url(name):
        names = _of_rows(opening.listed(name), name)
    elif os.path.isdir(name):
        names = [e.path for e in os.scandir(name) if PurePath(e.name).suffix in FILES and not e.name.startswith(".")]
    elif glob.has_magic(name) and not os.path.exists(name):
        names = _of_rows(_matching(name), name)
    else:
        names = [name]
    if not names:
        raise NoFileError(f"no file fits {pattern}; check the pattern")
    return [(path, column or None) for path in sorted(names, key=natural)]


def _matching(pattern: str) -> list[str]:
    """What `glob` finds; but all that is below a folder is walked, where it tries to open each file as a folder."""
    if not re.fullmatch(r"[^*?[]+/\*\*", pattern):
        return glob.glob(pattern, recursive=True)
    found = [pattern[:-2]]
    for place, folders, files in os.walk(found[0], followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(place, name) for name in files]
    return found


def _of_rows(names: list[str], pattern: str) -> list[str]:
    """Those of a folder's files that may hold rows; a pattern without ** is taken at its word."""
    if len(names) == 1 or (glob.has_magic(pattern) and "**" not in pattern):
        return names
    found = ((name, name.replace(os.sep, "/").split("/")) for name in names if os.path.splitext(name)[1] in FILES)
    return [name for name, (*folders, last) in found if METADATA not in folders and not last.startswith(".")]
