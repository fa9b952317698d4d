"""Items and shards as open binary files: paths, bytes, and what stands behind a URL.

What is read in parts is asked for in parts: of a shard behind a URL no more than the bytes that are needed.
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from c3align._imports import need
from c3align.errors import C3AlignError, MissingExtraError
from c3align.io.limits import MAX_FETCHED, item_errors

__all__ = [
    "first_bytes",
    "identity",
    "in_parts",
    "is_local",
    "is_url",
    "listed",
    "n_bytes",
    "name_of",
    "opened",
    "size_of",
]

# what protocols call the version of a file, or the time of its last change
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "mtime", "LastModified", "last_modified", "created")


def name_of(item: Any) -> str | None:
    """The path or URL of an item that is one."""
    return os.fspath(item) if isinstance(item, str | os.PathLike) else None


@contextmanager
def opened(item: Any) -> Iterator[Any]:
    """A binary file of a path, a URL (by fsspec) or bytes."""
    if isinstance(item, bytes | bytearray | memoryview):
        yield io.BytesIO(item)
        return
    name = name_of(item)
    if name is None:
        raise C3AlignError(f"a {type(item).__name__} is no file; pass a path, a URL, bytes or an array")
    if "://" in name:
        yield io.BytesIO(_fetched(name))
        return
    if "\0" in os.fsdecode(name):
        raise C3AlignError(f"no file can be called {name!r:.200}; check the name")
    if os.path.exists(name) and not (os.path.isfile(name) or os.path.isdir(name)):  # which might never end
        raise C3AlignError(f"{name} is a pipe or a device; pass a file")
    with open(name, "rb") as file:
        yield file


def size_of(file: Any) -> int:
    """Bytes of an open file, which is wound back."""
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    return int(n_bytes)


def _fetched(url: str) -> bytes:
    parts, left = [], MAX_FETCHED
    with item_errors(url), _remote(url) as file:
        while left >= 0 and (part := file.read(1 << 20)):  # some protocols give less than they are asked for
            parts.append(part)
            left -= len(part)
    if left < 0:
        raise C3AlignError(f"{url} is longer than {MAX_FETCHED:,} bytes; download it and pass its path")
    return b"".join(parts)


def _remote(url: str, **how: Any) -> Any:
    with _known_protocol(url):
        return need("fsspec", "fsspec").open(url, "rb", **how)


@contextmanager
def _known_protocol(url: str) -> Iterator[None]:
    try:
        yield
    except MissingExtraError:
        raise
    except ImportError as error:  # of what fsspec needs for this protocol
        fix = "install that; pip install 'c3align[encoders]' brings what http and https need"
        raise MissingExtraError(f"{url} cannot be opened ({error}); {fix}") from error


def is_url(name: str) -> bool:
    return "://" in name


def here(name: str) -> str:
    """The path that a URL of this machine stands for; other names as they are."""
    return name.removeprefix("file://").removeprefix("local://")


def in_parts(name: str) -> Any:
    """A binary file of a path, or of a URL whose protocol can give a part of it."""
    if not is_url(name):
        return open(name, "rb", buffering=0)
    with item_errors(name):
        return _remote(name, cache_type="none").open()


def is_local(file: Any) -> bool:
    return isinstance(file, io.FileIO)


def n_bytes(file: Any) -> int:
    """The size of a file of `in_parts`."""
    return os.fstat(file.fileno()).st_size if is_local(file) else size_of(file)


def first_bytes(file: Any, n: int) -> bytes:
    """The next `n` bytes of a file that gives fewer at a time than it is asked for, perhaps; fewer at its end."""
    found = b""
    while len(found) < n and (part := file.read(n - len(found))):
        found += part
    return found


def identity(file: Any) -> tuple[Any, ...]:
    """What tells a file of `in_parts` from another one, or from what it was before."""
    if is_local(file):
        stat = os.fstat(file.fileno())
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
    files, path = getattr(file, "fs", None), getattr(file, "path", None)
    told = files.info(path) if files is not None and path is not None else {}
    return n_bytes(file), *(str(told[name]) for name in _VERSIONS if told.get(name) is not None)


def listed(url: str) -> list[str]:
    """The URLs of the files that a URL stands for: those of a pattern, all below a folder, or itself."""
    with item_errors(url), _known_protocol(url):
        files, path = need("fsspec.core", "fsspec").url_to_fs(url)
        if glob.has_magic(path):
            found = [name for name, info in files.glob(path, detail=True).items() if info.get("type") != "directory"]
        else:
            found = files.find(path) if files.isdir(path) else [path]
        return [files.unstrip_protocol(name) for name in found]
