"""What a stranger's file may try, a function for each attempt, and the sandbox that they are loaded in.

An attack builds the hostile files and returns what the loader is given. It is loaded in a child process that may
open no socket, start no process and open no file but the interpreter's and the attack's own.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

__all__ = ["ATTACKS", "Attack", "attack", "find", "kept"]

BUILDERS = ("aligners", "captioners", "checkpoints", "encoders", "folders", "media", "pictures", "pipelines")
BUILDERS += ("means", "rows", "shards", "tables")


Builder = Callable[[Path], Path]


class Attack(NamedTuple):
    """One attempt.

    Attributes
    ----------
    loader : str
        Of `tests.attacks.loaders.LOADERS`.
    refusal : str
        What the one-line error must match; "" where the file may be loaded, as long as nothing else happens.
    build : callable
        Makes the files in a folder and returns what the loader is given. Named after the attack; its docstring says
        what is tried.
    signs : bool
        Whether the stranger gives what was changed the digests of what it now holds.
    """

    loader: str
    refusal: str
    build: Builder
    signs: bool = True

    @property
    def name(self) -> str:
        return f"{self.loader}-{self.build.__name__}"


ATTACKS: dict[str, Attack] = {}
_KEPT: list[TemporaryDirectory[str]] = []


def kept() -> Path:
    """A new folder for what is built once; it is removed when this process ends."""
    _KEPT.append(TemporaryDirectory(prefix="c3align-honest-"))
    return Path(_KEPT[-1].name)


def attack(loader: str, refusal: str = "", signs: bool = True) -> Callable[[Builder], Builder]:
    """List a function as an attack on a loader."""

    def listed(build: Builder) -> Builder:
        found = Attack(loader, refusal, build, signs)
        assert found.name not in ATTACKS, f"two attacks are called {found.name}"
        assert build.__doc__, f"{found.name} does not say what it tries"
        ATTACKS[found.name] = found
        return build

    return listed


def find() -> dict[str, Attack]:
    """All attacks, by name."""
    here = {module.name for module in pkgutil.iter_modules(__path__)}
    for name in here.intersection(BUILDERS):
        importlib.import_module(f"{__name__}.{name}")
    return dict(sorted(ATTACKS.items()))
