"""Importing what an extra brings, and saying what is wrong when it fails deep inside."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

from c3align.errors import MissingExtraError

__all__ = ["need"]


def need(module: str, package: str, extra: str = "encoders") -> Any:
    """Import a module that belongs to an extra.

    Raises
    ------
    MissingExtraError
        When it is absent, with the pip command; and when torch and torchvision were built for different machines,
        which shows as an error about an operator of torchvision somewhere below.
    """
    try:
        return import_module(module)
    except (ImportError, RuntimeError, AttributeError) as error:
        if is_torchvision_mismatch(error):
            raise torchvision_mismatch(error) from error
        if isinstance(error, ImportError):
            raise MissingExtraError(f"{package} is not installed; pip install 'c3align[{extra}]'") from error
        raise


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
        return "(absent)"


def _innermost(error: BaseException) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return " ".join(str(error).split())[:120]
