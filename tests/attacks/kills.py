"""Processes killed while they save: `make kills`, or `python -m tests.attacks.kills --kind pipeline --kills 50`.

A child saves one thing and another in turn, over and over, and is killed at a moment that chance chooses. What it was
saving must load, as the one or the other, and the next save must leave nothing of the killed one behind.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

from c3align import C3Aligner, cli, embed, encoders
from c3align.cli import _learning
from c3align.io import atomic, container, items
from tests.attacks import honest
from tests.attacks.loaders import LOADERS, warm

__all__ = ["KINDS", "kill"]

SHARDED = [items.Item(str(i), text, text) for i, text in enumerate(honest.TEXTS * 3)]


class Kind(NamedTuple):
    """How one kind is saved in version 0 or 1, and which of them a saved one is."""

    save: Callable[[int], None]
    version: Callable[[], int]


def of_two(folder: Path, name: str, attribute: str, value: Callable[[int], object]) -> Kind:
    """What an attribute tells apart."""
    path = KINDS_BUILT[name](folder)
    made = [LOADERS[name](path) for _ in range(2)]
    for i, one in enumerate(made):
        setattr(one, attribute, value(i))
    return Kind(lambda i: made[i].save_pretrained(path), lambda: value(1) == getattr(LOADERS[name](path), attribute))


def pipeline(folder: Path) -> Kind:
    path = honest.pipeline(folder)
    made = [LOADERS["pipeline"](path) for _ in range(2)]
    for i, one in enumerate(made):
        one.aligner.set_params(seed=i)
    return Kind(lambda i: made[i].save_pretrained(path), lambda: LOADERS["pipeline"](path).aligner.seed)


def checkpoint(folder: Path) -> Kind:
    path = honest.checkpoint(folder)
    config, tensors = container.read(path, "checkpoint")
    contents = [container.dump(tensors, {**config, "seed": i}) for i in range(2)]
    return Kind(lambda i: atomic.write(path, contents[i]), lambda: container.read(path, "checkpoint")[0]["seed"])


def shards(folder: Path) -> Kind:
    """A tree that is begun again when it is done: what was whole stays, and the end is always the same."""
    encoder, path = encoders.load("glyphs"), folder / "tree"

    def save(i: int) -> None:
        if i and path.exists():
            shutil.rmtree(folder / "done", ignore_errors=True)
            path.rename(folder / "done")
        embed.embed(encoder, SHARDED, path, modality="text", shard_items=2)

    def version() -> int:
        save(0)
        LOADERS["tree"](path)
        assert contents(path) == whole
        return 0

    save(0)
    whole = contents(path)
    return Kind(save, version)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fit(folder: Path) -> Kind:
    path, rows = folder / "aligner", honest.tree(folder)

    def save(i: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            assert cli.run(["fit", str(rows), "-o", str(path), "--seed", str(i)]) == 0

    save(0)
    return Kind(save, lambda: C3Aligner.from_pretrained(path).seed)


def of_tree(folder: Path, command: str, *options: str) -> Kind:
    """A command over shards that goes on with what was killed; the end is always the same."""
    given, path = folder / "given", folder / "made"
    given.mkdir()
    for i in range(8):
        np.save(given / f"x_{i}.npy", honest.rows(40 + i))
    honest.learned().save_pretrained(folder / "al")

    def save(i: int) -> None:
        if i:
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.redirect_stdout(io.StringIO()), mock.patch.object(_learning, "CHECKPOINT_SECONDS", 0.0):
            assert cli.run([command, str(given), "-o", str(path), *options]) == 0

    def version() -> int:
        save(0)
        assert contents(path) == whole
        return 0

    save(0)
    whole = contents(path)
    return Kind(save, version)


KINDS_BUILT = {name: builds[0] for name, builds in honest.KINDS.items()}
KINDS: dict[str, Callable[[Path], Kind]] = {
    "aligner": lambda folder: of_two(folder, "aligner", "seed", lambda i: i),
    "captioner": lambda folder: of_two(folder, "captioner", "losses_", lambda i: [float(i)]),
    "generator": lambda folder: of_two(folder, "generator", "losses_", lambda i: [float(i)]),
    "memory": lambda folder: of_two(folder, "memory", "encoder_fingerprint_", str),
    "pipeline": pipeline,
    "checkpoint": checkpoint,
    "embed": shards,
    "fit": fit,
    "fit-resumed": lambda folder: of_tree(folder, "fit"),
    "transform": lambda folder: of_tree(folder, "transform", "-a", str(folder / "al"), "--modality", "text"),
}


def saver(kind: Kind) -> int:
    """A child that saves until it is killed."""
    process = os.fork()
    if process:
        return process
    try:
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(silent, stream)
        for i in itertools.count():
            kind.save(i % 2)
    finally:
        os._exit(1)


def kill(name: str, n_kills: int, seed: int = 0) -> list[int]:
    """The versions that were found after each kill."""
    chance, found = random.Random(seed), []
    with tempfile.TemporaryDirectory() as place:
        kind = KINDS[name](Path(place))
        begin = time.monotonic()
        kind.save(0)
        once = time.monotonic() - begin
        for _ in range(n_kills):
            process = saver(kind)
            time.sleep(chance.uniform(0, 4 * once))
            os.kill(process, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL, "saving failed"
            found.append(int(kind.version()))
            kind.save(1)
            left = [path for path in Path(place).rglob("*") if atomic.SCRATCH in path.name]
            assert not left, f"{left} was left"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--kills", type=int, default=50)
    asked = parser.parse_args()
    warm()
    for name in asked.kind or KINDS:
        found = kill(name, asked.kills)
        print(f"{name}: {len(found)} kills, found as the one {found.count(0)} times, as the other {found.count(1)}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
