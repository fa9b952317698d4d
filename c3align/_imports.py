"""Importing what an extra brings, and saying what is wrong when it fails deep inside, or is known to be unsafe."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module, metadata
from typing import Any

from c3align.errors import MissingExtraError, one_line

__all__ = ["LEAST", "check_torchvision", "need", "refuse_unsafe", "unsafe"]

# what reads files of strangers: by module, the packages that must be new enough, and what older ones do
ABSENT = "(absent)"
TORCH = ("torch", "2.6", "unpickles code in spite of weights_only (CVE-2025-32434)")
_USES_TORCHVISION = ("transformers", "sentence_transformers", "diffusers")
LEAST = {
    "av": [("av", "17.1", "ends the process at an MPEG program stream, where formats are limited")],
    "PIL": [("pillow", "10.3", "writes beyond its memory (CVE-2023-50447, CVE-2024-28219)")],
    "imagebind": [TORCH],
    "open_clip": [("open_clip_torch", "3.0", "reads no local folders"), TORCH],
    "pyarrow": [("pyarrow", "16.0", "writes no float16; before 14.0.1 it runs code of files (CVE-2023-47248)")],
    "ray": [("ray", "2.60", "has no preprocessors of Arrow tables")],
    "sentence_transformers": [
        ("sentence-transformers", "6.0", "runs code of a model's folder (its issue 3801)"),
        ("transformers", "5.3", "runs code that config.json names (CVE-2026-4372)"),
    ],
    "starlette": [("starlette", "0.49.1", "is kept busy by one header (CVE-2025-62727)")],
    "transformers": [("transformers", "5.3", "runs code that config.json names (CVE-2026-4372)")],
    "uvicorn": [("h11", "0.16", "takes one request for two (CVE-2025-43859)")],
}


def need(module: str, package: str, extra: str = "encoders") -> Any:
    """Import a module that belongs to an extra.

    Raises
    ------
    MissingExtraError
        When it is absent, with the pip command; when its version has a known hole; and when torch and torchvision
        were built for different machines, which shows as an error about an operator of torchvision somewhere below.
    """
    refuse_unsafe(module)
    try:
        found = import_module(module)
        if module.partition(".")[0] in _USES_TORCHVISION:  # which imports it later, deep inside
            check_torchvision()
        return found
    except MissingExtraError:
        raise
    except (ImportError, RuntimeError, AttributeError) as error:
        if is_torchvision_mismatch(error):
            raise torchvision_mismatch(error) from error
        if not isinstance(error, ImportError):
            raise
        is_absent = isinstance(error, ModuleNotFoundError) and str(error.name).startswith(module.partition(".")[0])
        fix = f"is not installed; pip install 'c3align[{extra}]'"
        if not is_absent:
            fix = f"cannot be imported ({one_line(error)}); pip install -U 'c3align[{extra}]'"
        raise MissingExtraError(f"{package} {fix}") from error


def check_torchvision() -> None:
    """Refuse a torchvision that cannot be imported beside this torch; none at all is fine.

    Raises
    ------
    MissingExtraError
        With the pip command.
    """
    try:
        import_module("torchvision")
    except ModuleNotFoundError:
        return
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise torchvision_mismatch(error) from error


def unsafe(module: str) -> list[str]:
    """What is wrong with the installed versions of what a module needs, each with its fix; absent ones are fine."""
    found = [(_version(name), name, least, why) for name, least, why in LEAST.get(module.partition(".")[0], [])]
    return [
        f"{name} {version} {why}; pip install -U '{name}>={least}'"
        for version, name, least, why in found
        if version != ABSENT and _numbers(version) < _numbers(least)
    ]


@cache
def refuse_unsafe(module: str) -> None:
    """Refuse to import what has a known hole.

    Raises
    ------
    MissingExtraError
        With the pip command.
    """
    for problem in unsafe(module):
        raise MissingExtraError(problem)


def _numbers(version: str) -> tuple[int, ...]:
    """The first three numbers; 2.13.0+cpu and 2.13.0.dev1 count as 2.13.0."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def is_torchvision_mismatch(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, speaks of torchvision's operators."""
    while error is not None:
        if "torchvision" in str(error) and not isinstance(error, ModuleNotFoundError):
            return True
        error = error.__cause__ or error.__context__
    return False


def torchvision_mismatch(error: BaseException) -> MissingExtraError:
    versions = " and ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision"))
    return MissingExtraError(
        f"{versions} do not fit each other ({_innermost(error)}): one was built for CUDA and the other was not; "
        "install both from one index, for a CPU: "
        "pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu"
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ABSENT


def _innermost(error: BaseException) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return " ".join(str(error).split())[:120]
