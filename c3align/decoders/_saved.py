"""A decoder's tensors and settings on disk: one safetensors file that is the whole of it, and a readable copy.

Loading runs no code, and believes nothing it can check; a file is replaced in one step (promises P6, P7).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from c3align.errors import C3AlignError, FormatError
from c3align.persistence import CONFIG_FILE, _replace

__all__ = ["read", "read_file", "refusal", "same_tensors", "write", "write_file"]


def write(folder: str | os.PathLike[str], name: str, tensors: Mapping[str, Any], config: dict[str, Any]) -> None:
    """Write `folder`/`name`, and the configuration once more into config.json."""
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise C3AlignError(f"{target} is a file; pass the name of a folder")
    target.mkdir(parents=True, exist_ok=True)
    write_file(target / name, tensors, config)
    _replace(target / CONFIG_FILE, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())


def write_file(path: Path, tensors: Mapping[str, Any], config: dict[str, Any]) -> None:
    from safetensors.torch import save

    whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    _replace(path, save(whole, {"config": json.dumps(config, sort_keys=True)}))


def read(folder: str | os.PathLike[str], name: str, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration and tensors that `write` wrote for a decoder called `kind`.

    Raises
    ------
    FileNotFoundError, FormatError
    """
    path = Path(folder) / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent; pass a folder that {kind}.save_pretrained wrote")
    config, tensors = read_file(path)
    if config.get("format") != f"c3align.{kind}" or config.get("format_version") != 1:
        raise refusal(f"format {config.get('format')!r} version {config.get('format_version')!r} is unknown")
    copy = path.with_name(CONFIG_FILE)
    if copy.is_file() and copy.read_bytes() != (json.dumps(config, indent=2, sort_keys=True) + "\n").encode():
        raise FormatError(
            f"{CONFIG_FILE} differs from the configuration inside {name}, which is the one that counts; delete "
            f"{CONFIG_FILE} to load that"
        )
    return config, tensors


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    import safetensors

    try:
        with safetensors.safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        config = json.loads(metadata["config"])
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise refusal(f"{path.name} cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise refusal("its configuration is not a table")
    return config, tensors


def same_tensors(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse tensors of other names, shapes or dtypes than expected."""
    for key in sorted(set(found) ^ set(expected)):
        raise refusal(f"unknown tensor {key!r}" if key in found else f"tensor {key!r} is missing")
    for key, tensor in expected.items():
        if found[key].shape != tensor.shape or found[key].dtype != tensor.dtype:
            raise refusal(
                f"tensor {key!r} is {found[key].dtype} {tuple(found[key].shape)} and not {tensor.dtype} "
                f"{tuple(tensor.shape)}"
            )
        if not found[key].isfinite().all():
            raise refusal(f"tensor {key!r} is not finite")


def refusal(reason: str) -> FormatError:
    return FormatError(f"not a whole c3align decoder: {reason}; save it again from its source")
