"""What a stranger can do too: files that were changed get the digests of what they now hold."""

from __future__ import annotations

import json
from pathlib import Path

from c3align.io import container, digests

PARTS = ("lm", "memory")


def sign_captioner(folder: Path, **changes) -> None:
    """Settings changed, and the files beside them as they are now; the readable copy goes."""
    path = folder / "captioner.safetensors"
    config, tensors = container.parse(path.read_bytes(), "decoder", torch=True)
    files = digests.of_folders(folder, PARTS)
    path.write_bytes(container.dump(tensors, {**config, "files": files, **changes}))
    (folder / "config.json").unlink(missing_ok=True)


def sign_pipeline(folder: Path, **changes) -> None:
    """The same for a pipeline."""
    path = folder / "pipeline.json"
    parts = sorted(path for name in ("aligner", "decoder") for path in (folder / name).glob("*.safetensors"))
    files = {path.relative_to(folder).as_posix(): digests.of_file(path) for path in parts}
    path.write_bytes(container.signed_json({**json.loads(path.read_text()), "parts": files, **changes}))
