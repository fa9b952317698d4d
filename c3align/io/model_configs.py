"""Configuration files in model folders of other libraries, read and judged before any library sees them.

What a file may say is decided here: no code of its own, no kernels of the Hub, no other model or file, no count that
fills the memory. The rules look at keys, wherever in a file they stand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from c3align import errors
from c3align._imports import is_torchvision_mismatch, torchvision_mismatch
from c3align.errors import C3AlignError, FormatError
from c3align.io import container

__all__ = ["MAX_CONFIG_BYTES", "PREPARING", "check_config", "loading", "one_line", "pairs", "read_config", "refused"]

MAX_CONFIG_BYTES = 1 << 24  # tokenizers list thousands of tokens in theirs
MAX_COUNT = 4096  # layers, experts, labels, where the weights have fewer tensors
MAX_TOKEN_COUNT = 1 << 20
MAX_PIXELS = 1 << 13  # of an edge that pictures are resized to
MAX_FOURIER, MAX_BANDS = 1 << 13, 1 << 9  # what the filters of sounds are built from

# keys that lead a library to code, packages, kernels, other models or other files
CODE = ("auto_map", "custom_pipelines", "custom_generate", "kernel_config")
ELSEWHERE = ("base_model_name_or_path", "backbone", "configuration_files", "transformers_weights", "gguf_file")
QUANTIZED = ("quantization_config", "compression_config")
SWITCHES = ("trust_remote_code", "use_kernels", "use_pretrained_backbone", "use_timm_backbone")
ATTENTION = re.compile(r"_?(attn|experts)_implementation(_internal)?")
FLASH = ("flash_attention_2", "flash_attention_3", "flex_attention")
IMPLEMENTATIONS = (None, "eager", "sdpa", "batched_mm", "grouped_mm", *FLASH)
PREPARING = ("feature_extractor_type", "image_processor_type", "processor_class", "video_processor_type")
CLASSES = (*PREPARING, "tokenizer_class")
CLASS = re.compile(r"[A-Z]\w*(Processor|Extractor|Tokenizer|Backend)(Fast|Pil)?", re.ASCII)
# what a constructor counts up to
COUNTED = re.compile(r"(^|_)(layers?|depths?|blocks?|groups?|repeats?|stages?|levels?|labels?|experts?)(_|$)")
NO_COUNT = re.compile(r"(dims?|size|width|ids?|index|value|of|types?)$")
LENGTHS = ("model_max_length", "max_length", "max_len")
EDGES = ("size", "crop_size", "pad_size", "image_size")


def refused(what: Any, reason: str, fix: str) -> C3AlignError:
    """The error for a file or folder that is not loaded."""
    return C3AlignError(f"{str(what)!r} is not loaded: {reason}; {fix}")


def one_line(error: object, length: int = 300) -> str:
    """What an error of another library says, in one printable line."""
    return errors.one_line(error)[:length]


@contextmanager
def loading(what: str, fix: str) -> Iterator[None]:
    """Whatever a library raises while it loads a model becomes one line that names it."""
    try:
        yield
    except C3AlignError:
        raise
    except Exception as error:
        if is_torchvision_mismatch(error):
            raise torchvision_mismatch(error) from error
        raise C3AlignError(f"{what}: {one_line(error)}; {fix}") from error


def read_config(path: Path) -> Any:
    """A JSON file of bounded size, each key once."""
    try:
        return container.read_json(path, "configuration", MAX_CONFIG_BYTES)
    except FormatError as error:
        reason = error.__cause__ or f"it is larger than {MAX_CONFIG_BYTES} bytes"
        raise refused(path, f"it is no plain JSON ({one_line(reason, 100)})", "correct the file") from None


def check_config(path: Path, found: Any, n_tensors: int) -> None:
    """Refuse a configuration that leads a library anywhere but to its own code and the weights beside the file.

    The name of the file says which rules hold. No count of layers is larger than that of the tensors, or `MAX_COUNT`.
    """
    for key, value in pairs(found):
        _check_code(path, key, value)
        _check_paths(path, key, value)
        for number in _whole(value):
            if number > _most(path.name, key, max(MAX_COUNT, n_tensors)):
                raise refused(path, f"{key!r} is {number}", "no published model has so many; correct the file")


def pairs(found: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, of all levels."""
    waiting = [found]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield from node.items()
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []


def _check_code(path: Path, key: str, value: Any) -> None:
    if key in CODE and value:
        raise refused(path, f"{key!r} names code to run", "use a model whose class the library itself has")
    if key in ELSEWHERE and isinstance(value, str | list) and value:
        raise refused(path, f"{key!r} names another file or model", "save the whole model in one folder")
    if key in QUANTIZED and value:
        raise refused(path, f"{key!r}: quantized weights are not read", "save the model in float16 or float32")
    if key in SWITCHES and value:
        raise refused(path, f"{key!r} is set", "remove it")
    if ATTENTION.fullmatch(key):
        for name in value.values() if isinstance(value, dict) else [value]:
            if name not in IMPLEMENTATIONS:
                raise refused(path, f"{key!r} is {name!r}, no attention of the library's own", "remove it")
    if key in CLASSES and not (value is None or (isinstance(value, str) and CLASS.fullmatch(value))):
        raise refused(path, f"{key!r} is {value!r}, no class of transformers", "save the model with save_pretrained")


def _check_paths(path: Path, key: str, value: Any) -> None:
    """Files that are there, but elsewhere: what an author's machine had once does no harm."""
    if not re.search(r"(_files?|_path|^subfolder)$", key):
        return
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, str) and Path(name).name != name and (".." in name or os.path.lexists(name)):
            raise refused(path, f"{key!r} leads out of the folder, to {name!r}", "remove it")


def _whole(value: Any) -> list[int]:
    """The numbers of a value: itself, or those of its list or its edges."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return [part for part in parts if type(part) is int]


def _most(name: str, key: str, count: int) -> float:
    """How large a number may be."""
    if name in ("tokenizer_config.json", "special_tokens_map.json"):
        return float("inf") if key in LENGTHS else MAX_TOKEN_COUNT
    if key == "fft_window_size":
        return MAX_FOURIER
    if key == "feature_size":
        return MAX_BANDS
    if key in EDGES:
        return MAX_PIXELS
    return count if COUNTED.search(key) and not NO_COUNT.search(key) else float("inf")
