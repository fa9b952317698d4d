"""The Hugging Face Hub behind a plain `owner/name`: what is on disk wins, and only files of our names are fetched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from c3align.errors import C3AlignError, HubError, MissingExtraError, one_line
from c3align.io import atomic

__all__ = ["ALIGNER", "DECODER", "PIPELINE", "folder", "is_id", "said"]

ALIGNER = ("aligner.safetensors", "config.json")
DECODER = ("captioner.safetensors", "generator.safetensors", "config.json", "lm/*", "memory/*")
PIPELINE = ("pipeline.json", *(f"aligner/{name}" for name in ALIGNER), *(f"decoder/{name}" for name in DECODER))
OPTIONS = ("revision", "token", "cache_dir", "local_files_only")
_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_LOGIN = "check the name, or log in by `hf auth login` or token="
# by the name of an error of huggingface_hub, the nearest of its bases first: what happened, and what to do
_SAID = {
    "GatedRepoError": ("it is gated", "ask for access on its page, and log in by `hf auth login` or token="),
    "RepositoryNotFoundError": ("it is absent or private", _LOGIN),
    "RevisionNotFoundError": ("it has no such revision", "pass another revision="),
    "LocalEntryNotFoundError": ("it is not in the cache, and cannot be reached", "check the network and the name"),
    "OfflineModeIsEnabled": ("offline mode is on", "unset HF_HUB_OFFLINE"),
    "LocalTokenNotFoundError": ("no token was found", "log in by `hf auth login`, or pass token="),
    "ConnectError": ("it cannot be reached", "check the network"),
    "TimeoutException": ("it does not answer", "try again later"),
}


def is_id(name: str | os.PathLike[str]) -> bool:
    """Whether this may be a name on the Hub: two words with one slash between them."""
    return bool(_ID.fullmatch(str(name)))


def folder(name: str | os.PathLike[str], files: tuple[str, ...], **options: Any) -> Path:
    """The folder that a name stands for: one on disk, else a snapshot of `files` of a repository of the Hub.

    `options` are huggingface_hub's, of `OPTIONS`.

    Raises
    ------
    HubError
        When there is neither.
    """
    for option in options:
        if option not in OPTIONS:
            raise C3AlignError(f"options of the Hub must be of {', '.join(OPTIONS)}, got {option!r}; omit it")
    path = atomic.found(name)
    if path.exists():
        if options.get("revision") is not None:
            raise C3AlignError(f"revision= must be that of a Hub id, and {path} is a folder here; omit revision=")
        return path
    if os.path.islink(atomic.expanded(name)):
        target = os.readlink(atomic.expanded(name))
        raise HubError(f"{name} is a link to {target}, which is gone; put that back, or remove the link")
    if not is_id(name):
        raise HubError(f"no folder {path}; pass one that save_pretrained wrote, or a Hub id 'owner/name'")
    with said(f"no folder {path}, and the Hub says"):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(str(name), allow_patterns=list(files), **options))


@contextmanager
def said(before: str) -> Iterator[None]:
    """What the Hub or its library says, as one line behind `before`.

    Raises
    ------
    HubError
        Whatever it was.
    """
    try:
        yield
    except C3AlignError:
        raise
    except ImportError as error:
        needed = f"{before} nothing, as huggingface_hub is absent"
        raise MissingExtraError(f"{needed}; pip install huggingface_hub, or correct the path") from error
    except Exception as error:  # of the library, and of what it reaches the network by
        reason, fix = _reason(error)
        raise HubError(f"{before}: {reason}; {fix}") from error


def _reason(error: Exception) -> tuple[str, str]:
    status = getattr(getattr(error, "response", None), "status_code", None)
    for kind in type(error).__mro__:
        if kind.__name__ in _SAID:
            return _SAID[kind.__name__]
    if status in (401, 403):
        return f"you may not ({status})", "log in by `hf auth login`, or pass token= of an account that may"
    return one_line(error)[:200] or type(error).__name__, "check the name"
