"""Where the demo keeps what it trained: a folder of the user's cache, named by everything that decides on it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from c3align import __version__
from c3align.persistence import NUMERICS


def root() -> Path:
    """``C3ALIGN_CACHE``, or the user's cache folder as the system has it."""
    given = os.environ.get("C3ALIGN_CACHE")
    if given:
        return Path(given)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "c3align"


def folder_for(fingerprint: str, settings: dict[str, Any]) -> Path:
    """One folder for each encoder, setting and version of what computes the result."""
    versions = {name: metadata.version(name) for name in ("numpy", "torch", "transformers")}
    decides = {"encoder": fingerprint, "settings": settings, "c3align": [__version__, NUMERICS], **versions}
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
    return root() / f"demo-{digest[:12]}"
