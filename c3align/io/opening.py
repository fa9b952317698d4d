"""Items as open binary files: paths, bytes, and what stands behind a URL."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from c3align._imports import need
from c3align.errors import C3AlignError, MissingExtraError
from c3align.io.limits import MAX_FETCHED, item_errors

__all__ = ["name_of", "opened", "size_of"]


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


def _remote(url: str) -> Any:
    try:
        return need("fsspec", "fsspec").open(url, "rb")
    except MissingExtraError:
        raise
    except ImportError as error:  # of what fsspec needs for this protocol
        fix = "install that; pip install 'c3align[encoders]' brings what http and https need"
        raise MissingExtraError(f"{url} cannot be opened ({error}); {fix}") from error
