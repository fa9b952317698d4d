"""Tensors and JSON in one safetensors file, read strictly: no code can run, and all that can be checked is.

The file is the whole of what it holds (promise P6). Its last 32 bytes, a tensor "sha256", are the digest of all bytes
before them: no bit of it changes unnoticed. A `config.json` beside it is a copy for people, with the digest of the
file: an edited copy, and a file exchanged for another, are refused. It is removed before the file is replaced and
written afterwards, so that a kill at any instant leaves a folder that loads.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import numpy as of_numpy

from c3align.errors import C3AlignError, FormatError
from c3align.io import atomic, opening
from c3align.io.digests import DIGEST_BYTES, about, check_folders, is_signed, refusal, signed, warn_of_no_digest

__all__ = [
    "CONFIG_FILE",
    "about",
    "check_digest",
    "check_tensors",
    "dump",
    "layout",
    "parse",
    "parse_config",
    "parse_json",
]
__all__ += ["parse_tensors", "read", "read_bytes", "read_config", "read_decoder", "read_folder", "read_header"]
__all__ += ["read_json", "readable", "refusal", "sign", "signed_json", "write_folder"]

CONFIG_FILE = "config.json"
MAX_JSON_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 24
DIGEST = "sha256"
_NO_DIGEST_YET = bytes(range(DIGEST_BYTES))
SIGNED_SINCE = 2  # format version of decoders and checkpoints; those before have no digest
T = TypeVar("T")


def dump(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> bytes:
    """A safetensors file: the same NumPy arrays, or torch tensors, and the same configuration give the same bytes."""
    metadata, digest = {"config": _json(config)}, np.frombuffer(bytearray(_NO_DIGEST_YET), np.uint8)
    if not any(hasattr(tensor, "detach") for tensor in tensors.values()):
        arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        return sign(of_numpy.save({**arrays, DIGEST: digest}, metadata))
    import torch
    from safetensors import torch as of_torch

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return sign(of_torch.save({**whole, DIGEST: torch.from_numpy(digest)}, metadata))


def sign(content: bytes) -> bytes:
    """The same, with the digest of what is before them as the last 32 bytes, which `dump` keeps free.

    Refused where other values stand there: safetensors puts those of the smallest type last.
    """
    if content[-DIGEST_BYTES:] != _NO_DIGEST_YET:
        raise C3AlignError("tensors of bools cannot be saved with a digest; convert them to integers")
    return signed(content[:-DIGEST_BYTES])


def check_digest(content: bytes, kind: str, is_old: bool) -> None:
    """Refuse a file of which a bit has changed, and warn of an old one that has no digest."""
    if DIGEST in parse_header(content[: MAX_HEADER_BYTES + 8], len(content), kind):
        if not is_signed(content):
            raise refusal(kind, "it is damaged: its digest is that of other content")
    elif is_old:
        warn_of_no_digest(kind)
    else:
        raise refusal(kind, "it has no digest")


def _json(config: Mapping[str, Any], **options: Any) -> str:
    try:
        return json.dumps(config, sort_keys=True, allow_nan=False, **options)
    except ValueError as error:
        raise C3AlignError(f"a configuration with NaN or infinity cannot be saved ({error}); remove them") from error


def parse_header(head: bytes, size: int, kind: str, limit: int = MAX_HEADER_BYTES) -> dict[str, Any]:
    """The header in the first bytes of a file of `size` bytes, without trusting the length that they state."""
    stated = int.from_bytes(head[:8], "little")
    if not 2 <= stated <= min(limit, size - 8):
        raise refusal(kind, f"it states a header of {stated} bytes in a file of {size}")
    header = parse_json(head[8 : 8 + stated], kind, "its header")
    return header if isinstance(header, dict) else {}


def parse_config(head: bytes, size: int, kind: str, limit: int = MAX_HEADER_BYTES) -> Any:
    """The configuration in a header."""
    metadata = parse_header(head, size, kind, limit).get("__metadata__")
    if not isinstance(metadata, dict) or set(metadata) != {"config"} or not isinstance(metadata["config"], str):
        raise refusal(kind, "its metadata do not hold a configuration and nothing else")
    config = parse_json(metadata["config"].encode(errors="replace"), kind, "its configuration")
    if not isinstance(config, dict):
        raise refusal(kind, f"its configuration is a {type(config).__name__}")
    return config


def read_header(path: str | Path, kind: str, limit: int = MAX_HEADER_BYTES) -> tuple[dict[str, Any], int, int]:
    """A file's header, the place of its first tensor, and its size."""
    head, size = _head(path, limit)
    return parse_header(head, size, kind, limit), 8 + int.from_bytes(head[:8], "little"), size


def read_config(path: Path, kind: str, limit: int = MAX_HEADER_BYTES) -> dict[str, Any]:
    """The configuration of a file, from its head alone."""
    return parse_config(*_head(path, limit), kind, limit)


def _head(path: str | Path, limit: int) -> tuple[bytes, int]:
    """The length of the header and the header, and the size of the file."""
    with opening.in_parts(os.fspath(path)) as file:
        size, head = opening.n_bytes(file), opening.first_bytes(file, 8)
        return head + opening.first_bytes(file, min(int.from_bytes(head, "little"), limit, size)), size


def parse(content: bytes, kind: str, torch: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration, and tensors as NumPy arrays or as torch's, of what `dump` returned."""
    config = parse_config(content[: MAX_HEADER_BYTES + 8], len(content), kind)
    version = config.get("format_version")
    check_digest(content, kind, is_old=type(version) is int and version < SIGNED_SINCE)
    return config, parse_tensors(content, kind, torch)


def parse_tensors(content: bytes, kind: str, torch: bool = False) -> dict[str, Any]:
    """The tensors alone, without the digest."""
    try:
        library = import_module("safetensors.torch") if torch else of_numpy
        return {name: tensor for name, tensor in library.load(content).items() if name != DIGEST}
    except Exception as error:  # the library's own kinds, and KeyError for dtypes that NumPy lacks
        raise refusal(kind, f"its tensors cannot be read ({error})") from error


def read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration and torch tensors of a file."""
    with about(path):
        try:
            read_config(path, kind)  # before the rest is read
            return parse(path.read_bytes(), kind, torch=True)
        except OSError as error:
            raise refusal(kind, f"{path.name} cannot be read ({error})") from error


def check_tensors(found: Mapping[str, Any], expected: Mapping[str, tuple[Any, tuple[int, ...]]], kind: str) -> None:
    """Refuse tensors that are not finite, or of other names, dtypes or shapes than expected."""
    for name in sorted(set(found) ^ set(expected)):
        raise refusal(kind, f"unknown tensor {name!r}" if name in found else f"tensor {name!r} is missing")
    for name, (dtype, shape) in expected.items():
        tensor = found[name]
        if tensor.dtype != dtype or tuple(tensor.shape) != shape:
            raise refusal(kind, f"tensor {name!r} is {tensor.dtype} {tuple(tensor.shape)} and not {dtype} {shape}")
        finite = tensor.isfinite() if hasattr(tensor, "isfinite") else np.isfinite(tensor)
        if not finite.all():
            raise refusal(kind, f"tensor {name!r} is not finite")


def layout(tensors: Mapping[str, Any]) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Dtype and shape of each tensor, as `check_tensors` expects them."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def parse_json(text: bytes | str, kind: str, name: str) -> Any:
    """JSON without NaN, infinities and keys that stand there twice."""

    def refuse(value: Any) -> Any:
        raise ValueError(f"{value} is not allowed")

    def once(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in items}) < len(items):
            raise ValueError("a key stands there twice")
        return dict(items)

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise refusal(kind, f"{name} is not JSON ({error})") from error


def read_json(path: Path, kind: str, limit: int = MAX_JSON_BYTES) -> Any:
    """A JSON file of bounded size."""
    with about(path):
        return parse_json(read_bytes(path, kind, limit), kind, path.name)


def read_bytes(path: Path, kind: str, limit: int = MAX_JSON_BYTES) -> bytes:
    """The bytes of a file of bounded size."""
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise refusal(kind, f"{path.name} is larger than {limit} bytes")
    return content


def write_folder(folder: str | os.PathLike[str], name: str, content: bytes, config: Mapping[str, Any]) -> None:
    """Write `content` into `folder`/`name` and a readable copy of its configuration into config.json.

    Raises
    ------
    C3AlignError
        `folder` is a URL or a file, or holds a config.json or a file `name` of something else.
    """
    target = atomic.local_path(folder)
    if target.exists() and not target.is_dir():
        raise C3AlignError(f"{folder} is a file; pass the name of a folder")
    if not _is_of(target / CONFIG_FILE, config["format"]):
        raise C3AlignError(f"{target / CONFIG_FILE} belongs to something else; choose another folder")
    if _is_foreign(target / name, config["format"]):
        raise C3AlignError(f"{target / name} belongs to something else; choose another folder")
    with atomic.made(target), atomic.locked(target), atomic.replaced_file(target / CONFIG_FILE) as copy:
        copy.write_bytes(readable(config, content))
        with atomic.replaced_file(target / name) as scratch:
            scratch.write_bytes(content)
            atomic.remove(target / CONFIG_FILE)


def readable(config: Mapping[str, Any], content: bytes) -> bytes:
    """The bytes of config.json."""
    return _text({**config, DIGEST: hashlib.sha256(content).hexdigest()})


def signed_json(config: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON file with the digest of its other entries."""
    others = {name: value for name, value in config.items() if name != DIGEST}
    return _text({**others, DIGEST: hashlib.sha256(_text(others)).hexdigest()})


def _text(config: Mapping[str, Any]) -> bytes:
    return (_json(config, indent=1, ensure_ascii=False) + "\n").encode(errors="replace")


def _is_of(path: Path, form: str) -> bool:
    """Whether a config.json may be replaced by one of this format."""
    try:
        found = read_json(path, "file")
    except (FormatError, OSError):
        return not path.exists()
    return isinstance(found, dict) and found.get("format") == form


def _is_foreign(path: Path, form: str) -> bool:
    """Whether a file is none of this format; of a damaged one the config.json beside it tells."""
    try:
        return bool(read_config(path, "file").get("format") != form)
    except FileNotFoundError:
        return False
    except FormatError:
        return not path.with_name(CONFIG_FILE).exists()


def read_folder(folder: Path, name: str, kind: str, parse: Callable[[bytes], tuple[dict[str, Any], T]]) -> T:
    """What `parse` makes of `folder`/`name`, beside its configuration, which config.json must confirm if it is there.

    A file that another process replaces in the meantime is read again.
    """
    path = folder / name
    while True:
        with about(path):
            content = path.read_bytes()
            config, value = parse(content)
            try:
                _check_copy(path, kind, config, content)
            except FormatError:
                if path.read_bytes() == content:
                    raise
            else:
                return value


def _check_copy(path: Path, kind: str, config: Mapping[str, Any], content: bytes) -> None:
    try:
        copy = read_bytes(path.with_name(CONFIG_FILE), kind)
    except FileNotFoundError:
        return
    if copy == readable(config, content):
        return
    found, digest = parse_json(copy, kind, CONFIG_FILE), hashlib.sha256(content).hexdigest()
    is_old = DIGEST not in parse_header(content[: MAX_HEADER_BYTES + 8], len(content), kind)
    if is_old and found in (config, {**config, DIGEST: digest}):
        return
    if isinstance(found, dict) and found.get(DIGEST) != digest and {**found, DIGEST: 0} == {**config, DIGEST: 0}:
        raise refusal(kind, f"{path.name} is damaged, or not the file that {CONFIG_FILE} was written with")
    raise FormatError(
        f"{CONFIG_FILE} differs from the configuration inside {path.name}, which is the one that counts; delete "
        f"{CONFIG_FILE} to load that, or set parameters in code and save again"
    )


def read_decoder(
    folder: str | os.PathLike[str], name: str, form: str, keys: set[str], folders: tuple[str, ...] = (), **older: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration, with these keys, and torch tensors that `write_folder` wrote under the format `form`, "c3align.X".

    Its file has the digests of what is in `folders`; `older` files lack these entries.
    """
    path = Path(atomic.expanded(folder)) / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent; pass a folder that {form.partition('.')[2]}.save_pretrained wrote")

    def checked(content: bytes) -> tuple[dict[str, Any], tuple[dict[str, Any], dict[str, Any]]]:
        config, tensors = parse(content, "decoder", torch=True)
        version = config.get("format_version")
        if config.get("format") != form or type(version) is not int or not 1 <= version <= SIGNED_SINCE:
            raise refusal("decoder", f"format {config.get('format')!r} version {version!r} is unknown")
        return config, (config, tensors)

    config, tensors = read_folder(path.parent, name, "decoder", checked)
    if folders and config["format_version"] >= SIGNED_SINCE:
        check_folders(path.parent, folders, config.pop("files", None), "decoder")
    config = {**older, **config}
    wrong = sorted(set(config) ^ {*keys, "format", "format_version"})
    if wrong:
        raise refusal("decoder", f"its configuration has unknown or missing keys {wrong}")
    return config, tensors
