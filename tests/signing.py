"""What a stranger can do too: files that were changed get the digests of what they now hold."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from c3align.io import container, digests

__all__ = ["sign", "sign_captioner", "sign_pipeline"]

PARTS = ("lm", "memory")


def sign(given: Path) -> None:
    """Sign a file, or all that has a digest in a folder, as far as it is whole enough to hold one."""
    paths = [given] if given.is_file() else [*given.glob("*.safetensors"), *given.glob("*/*.safetensors")]
    for path in paths:
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            _sign_file(path)
    with suppress(ValueError, KeyError, TypeError, OSError, RecursionError):
        sign_pipeline(given)


def sign_captioner(folder: Path, **changes) -> None:
    """Settings changed, and the files beside them as they are now."""
    _sign_file(folder / "captioner.safetensors", **changes)


def _sign_file(path: Path, **changes) -> None:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if container.DIGEST not in header:
        return
    config = json.loads(header["__metadata__"]["config"])
    if "files" in config:
        changes = {"files": digests.of_folders(path.parent, PARTS), **changes}
    if {**config, **changes} != config:
        header["__metadata__"]["config"] = json.dumps({**config, **changes})
        text = json.dumps(header).encode()
        content = len(text).to_bytes(8, "little") + text + content[8 + size :]
    content = digests.signed(content[: -digests.DIGEST_BYTES])
    path.write_bytes(content)
    if (path.parent / container.CONFIG_FILE).exists():
        (path.parent / container.CONFIG_FILE).write_bytes(container.readable({**config, **changes}, content))


def sign_pipeline(folder: Path, **changes) -> None:
    """The same for a pipeline."""
    path = folder / "pipeline.json"
    parts = sorted(path for name in ("aligner", "decoder") for path in (folder / name).glob("*.safetensors"))
    files = {path.relative_to(folder).as_posix(): digests.of_file(path) for path in parts}
    found = json.loads(path.read_text())
    if "parts" in found:
        path.write_bytes(container.signed_json({**found, "parts": files, **changes}))
