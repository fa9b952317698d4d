"""What `c3align doctor` finds: versions, backend, CPU features, CUDA, extras."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata, util
from typing import Any

from c3align import __version__, ops
from c3align._imports import LEAST, check_torchvision, unsafe
from c3align.errors import MissingExtraError
from c3align.ops import interpreter

_PACKAGES = ("numpy", "scikit-learn", "safetensors", "typer", "torch")
# what each extra stands or falls with
_EXTRAS = {
    "encoders": "open_clip_torch",
    "heic": "pillow_heif",
    "captions": "transformers",
    "scores": "pycocoevalcap",
    "diffusion": "diffusers",
    "search": "lancedb",
    "serve": "uvicorn",
    "qdrant": "qdrant-client",
    "pgvector": "psycopg",
    "onnx": "onnx",
    "plots": "matplotlib",
    "ray": "ray",
}


def examine() -> dict[str, Any]:
    """All findings as plain values."""
    native = _native()
    return {
        "c3align": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "backend": ops.backend(),
        "backend_reason": ops.backend_reason(),
        "instruction_sets": native.isas() if native else [],
        "threads": {"number": ops.get_num_threads(), "reason": ops.num_threads_reason()},
        "interpreter": interpreter.describe(),
        "cuda": _cuda(),
        "extras": {name: _version(package) for name, package in _EXTRAS.items()},
        "unsafe": sorted({problem for module in LEAST for problem in unsafe(module)} | _torchvision()),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The findings for people, with the fix for what is missing."""
    packages = ", ".join(f"{name} {version or '(absent)'}" for name, version in found["packages"].items())
    missing = [name for name, version in found["extras"].items() if not version]
    extras = ", ".join(name for name, version in found["extras"].items() if version) or "none"
    text = [
        f"c3align {found['c3align']}, Python {found['python']} on {found['platform']}",
        f"packages: {packages}",
        f"backend: {found['backend']}: {found['backend_reason']}",
        f"instruction sets: {', '.join(found['instruction_sets']) or 'none compiled'}",
        f"threads: {found['threads']['number']}: {found['threads']['reason']}",
        f"interpreter: {found['interpreter']}",
        f"CUDA: {found['cuda']['summary']}",
        f"extras: {extras}",
    ]
    text += [f"  refused: {problem}" for problem in found["unsafe"]]
    return [*text, *(f"  without {name}: pip install 'c3align[{name}]'" for name in missing)]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torchvision() -> set[str]:
    """What is wrong with torchvision, which transformers imports where it is installed."""
    try:
        check_torchvision()
    except MissingExtraError as error:
        return {str(error)}
    return set()


def _native() -> Any:
    """The compiled core, or None."""
    try:
        from c3align.ops import native
    except ImportError:
        return None
    return native


def _cuda() -> dict[str, Any]:
    """Compiler, device, and whether the kernels are in this build."""
    compiler = _nvcc()
    device = None
    if util.find_spec("torch"):
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    here = f"device {device}" if device else "no device"
    native = _native()
    kernels = bool(native and native.has_cuda)
    built = "kernels built" if kernels else "kernels not built (install the CUDA toolkit and build again)"
    use = "torch computes tensors on a GPU"
    if kernels and device:
        from c3align.ops import known_answers

        reason = known_answers.verdict(torch.device("cuda", torch.cuda.current_device()))
        use = f"not used: {reason}" if reason else "used: every known answer is right"
    summary = f"{here}, {compiler or 'no nvcc'}, {built}; {use}"
    return {"device": device, "nvcc": compiler, "kernels": kernels, "summary": summary}


def _nvcc() -> str | None:
    path = shutil.which("nvcc")
    if path is None:
        return None
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvcc that does not run ({type(error).__name__})"
    return "nvcc " + text.partition("release ")[2].partition(",")[0] if "release " in text else "nvcc"
