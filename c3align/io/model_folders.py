"""Model folders of other libraries, looked through before any library sees them: files, configurations, weights.

Weights come from safetensors alone. Their headers are compared with the size of the files, and what a configuration
would build with them: a model is first built of shapes without memory, with no more parts than there are tensors.
"""

from __future__ import annotations

import math
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from c3align.errors import C3AlignError, FormatError
from c3align.io import container
from c3align.io.model_configs import check_config, one_line, read_config, refused

__all__ = ["Weights", "check_built", "check_finite", "check_folder", "check_size", "fetched", "read_header"]

SAFE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
CONVERT = (
    'convert them where you trust them: python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('FILE', weights_only=True), 'model.safetensors')\", or load the model there and call "
    "save_pretrained"
)
MAX_FILES = 10_000
MOST_PARTS = 3  # of a path from the Hub's "snapshots" to a model: revision, "decoder", "lm"
SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")  # what a repository holds besides weights
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FREE_BYTES = 1 << 26  # masks and tables that a model computes for itself
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


class Weights(NamedTuple):
    """What the headers of safetensors files state, compared with their sizes: shape by name, and the sizes' sum."""

    shapes: dict[str, tuple[int, ...]]
    n_bytes: int

    @property
    def n_numbers(self) -> int:
        return sum(map(math.prod, self.shapes.values()))


def fetched(name: str, revision: str | None = None, weights: tuple[str, ...] = ("model*.safetensors",)) -> Path:
    """The folder of a path, or of a name of the Hugging Face Hub, whose files are downloaded: no code, no pickles."""
    if Path(name).is_dir():
        return Path(name)
    if not HUB_NAME.fullmatch(name):
        raise FileNotFoundError(f"there is no folder {name!r}")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, revision=revision, allow_patterns=[*SMALL_FILES, *weights]))


def check_folder(folder: Path, weights: str | None = None) -> Weights:
    """Refuse a folder whose files lead elsewhere, whose configurations name code, or whose weights are not whole.

    `weights` names their file; by default those that transformers reads.
    """
    check_files(folder)
    files = [folder / weights] if weights else _weight_files(folder)
    headers = [read_header(path) for path in files]
    found = Weights({k: v for header in headers for k, v in header.shapes.items()}, sum(h.n_bytes for h in headers))
    for path in sorted(folder.glob("*.json")):
        if "config" in path.name or path.name in ("modules.json", "special_tokens_map.json"):
            check_config(path, read_config(path), len(found.shapes))
    return found


def check_files(folder: Path) -> None:
    """Refuse links out of a folder and what is no file; the cache of the Hub links to files beside its snapshots."""
    root = folder.resolve()
    above = root.parents[:MOST_PARTS]  # a language model may be a folder of a captioner, of a pipeline
    roots = [root, *(path.parent / "blobs" for path in above if path.name == "snapshots")]
    if (folder / "custom_generate").exists() or (folder / "adapter_config.json").exists():
        what = "custom_generate" if (folder / "custom_generate").exists() else "adapter_config.json"
        fix = "remove custom_generate, or merge the adapter (merge_and_unload of peft) and save the whole model"
        raise refused(folder, f"{what} leads to code or to another model", fix)
    for path in _entries(folder):
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise refused(path, "it is no file", "remove it")
        if path.is_symlink() and not any(path.resolve().is_relative_to(known) for known in roots):
            raise refused(path, "it is a link out of the folder", "copy the file itself into it (cp -L)")


def _entries(folder: Path) -> list[Path]:
    found = list(islice(folder.iterdir(), MAX_FILES + 1))
    templates = folder / "additional_chat_templates"
    found += islice(templates.iterdir(), MAX_FILES) if templates.is_dir() else []
    if len(found) > MAX_FILES:
        raise refused(folder, f"it holds more than {MAX_FILES} files", "pass the folder of one model")
    return found


def _weight_files(folder: Path) -> list[Path]:
    """As transformers looks for them."""
    if (folder / SAFE).is_file():
        return [folder / SAFE]
    if not (folder / INDEX).is_file():
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        held = f"its weights are pickles ({pickles[0]!r}), which could run code" if pickles else "it has no weights"
        raise refused(folder, f"{held}, and no safetensors", CONVERT if pickles else "pass a folder with safetensors")
    index = read_config(folder / INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise refused(folder / INDEX, "it maps no tensors to files", "save the model again")
    for name in sorted(set(names.values())):
        if Path(name).name != name or not (folder / name).is_file():
            raise refused(folder / INDEX, f"{name!r} is no file of the folder", "save the model again")
    return [folder / name for name in sorted(set(names.values()))]


def read_header(path: Path) -> Weights:
    """What a safetensors file states, where its size bears it out, of types that weights have."""
    again = "save the model again"
    try:
        header, start, size = container.read_header(path, "file of weights")
    except FormatError as error:
        raise refused(path, f"it is no safetensors file ({one_line(error, 120)})", again) from None
    shapes, used = {}, 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        n_bytes, shapes[name] = _entry(path, name, entry)
        used += n_bytes
    if used != size - start or not shapes:
        raise refused(path, f"its header claims {used} bytes of tensors, and {size - start} are there", again)
    return Weights(shapes, size)


def _entry(path: Path, name: str, entry: Any) -> tuple[int, tuple[int, ...]]:
    """Bytes and shape of a tensor."""
    described = entry if isinstance(entry, dict) else {}
    dtype: Any = described.get("dtype")
    shape: Any = described.get("shape")
    place: Any = described.get("data_offsets")
    if not _are_whole(shape) or not _are_whole(place) or len(place) != 2 or place[0] > place[1]:
        raise refused(path, f"tensor {name[:80]!r} is not described", "save the model again")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise refused(path, f"tensor {name[:80]!r} is of type {dtype!r}", "save the model in float16 or float32")
    if math.prod(shape) * ITEM_BYTES[dtype] != place[1] - place[0]:
        raise refused(path, f"tensor {name[:80]!r} has other bytes than its shape {shape} says", "save the model again")
    return place[1] - place[0], tuple(shape)


def _are_whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def check_size(build: Callable[[], Any], weights: Weights, what: Any) -> Any:
    """The model that `build` makes of a configuration, of shapes alone; refused where it is larger than the weights."""
    import torch

    fix = "the configuration belongs to other weights, or tensors are missing; save the model again"
    most = 4 * len(weights.shapes) + 1024
    try:
        with _at_most(most), torch.device("meta"):
            model = build()
    except Exception as error:
        raise refused(what, f"its configuration cannot be built ({one_line(error, 200)})", fix) from error
    state = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
    needed = sum(tensor.numel() for tensor in state.values())
    if needed > weights.n_numbers:
        reason = f"its configuration wants {needed} numbers, and its weights hold {weights.n_numbers}"
        raise refused(what, reason, fix)
    free = sum(b.numel() * b.element_size() for b in model.buffers() if id(b) not in state)
    if free > FREE_BYTES + weights.n_bytes:
        raise refused(what, f"its configuration wants tables of {free} bytes beside {weights.n_bytes} of weights", fix)
    return model


@contextmanager
def _at_most(most: int) -> Iterator[None]:
    """No more than so many parameters and modules are made by this thread; a count of layers stops early."""
    from torch.nn.modules import module

    own, n_made = threading.get_ident(), 0

    def count(*_: Any) -> None:
        nonlocal n_made
        n_made += threading.get_ident() == own
        if n_made > most:
            raise C3AlignError(f"it wants more than {most} parts")

    parameters = module.register_module_parameter_registration_hook(count)
    modules = module.register_module_module_registration_hook(count)
    try:
        yield
    finally:
        parameters.remove()
        modules.remove()


def check_built(told: dict[str, Any], what: Any) -> None:
    """Refuse a model of transformers that took random weights; `told` is its loading info."""
    for kind in ("missing_keys", "mismatched_keys", "error_msgs"):
        if told.get(kind):
            first = str(sorted(map(str, told[kind]))[0])[:120]
            raise refused(what, f"its weights lack {first!r}, or it has another shape there", "save the model again")


def check_finite(model: Any, what: Any) -> Any:
    """The model, unless one of its weights is NaN or infinite."""
    for name, tensor in model.named_parameters():
        if not tensor.isfinite().all():
            raise refused(what, f"its weight {name[:80]!r} is not finite", "save the model again from its source")
    return model
