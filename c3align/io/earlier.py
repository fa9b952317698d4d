"""Rows of an earlier run of `c3align embed` over another list of items: what is the same in it is not embedded again.

The files of that run are set aside in a hidden folder of the tree, one rename after another and what was asked for
last, so that a run that is cut off goes on with them; they are removed when the tree of the new list is whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError, counted, printable
from c3align.io import container
from c3align.io.items import Item
from c3align.io.shards import DIGEST, ITEM, Tree

__all__ = ["Earlier", "remove", "set_aside"]

_ASIDE = ".before-"
_OF_THE_LIST = {"n_items", "items_digest"}


def set_aside(tree: Tree, run: Mapping[str, Any], items: Sequence[Item], may_drop: bool) -> int:
    """Set a tree of other items aside, where all else that was asked for is the same; returns how many are gone.

    Raises
    ------
    C3AlignError
        Items of it are gone, and their rows are not to be dropped.
    """
    before = container.read_json(tree.run_path, "tree of shards") if tree.run_path.exists() else {}
    changed = {name for name, value in run.items() if before.get(name) != value}
    if not before or "items_digest" not in changed or changed - _OF_THE_LIST:
        return 0
    gone = _gone(tree, items)
    if gone and not may_drop:
        raise C3AlignError(
            f"{tree.folder} has rows of {counted(len(gone), 'item')} no longer there, such as {printable(gone[0])}; "
            "put back what is gone, or pass --gone drop to drop its rows"
        )
    aside = next(place for place in _places(tree) if not (place / tree.run_path.name).exists())
    aside.mkdir(exist_ok=True)
    files = [tree.shard_path(0).parent, tree.metadata_path(0).parent, tree.broken_path(0).parent, tree.digests_path]
    for path in (*files, tree.folder / f"broken_{tree.modality}.jsonl", tree.run_path):
        if path.exists():
            os.rename(path, aside / path.name)
    return len(gone)


def remove(tree: Tree) -> None:
    """Remove what was set aside."""
    for path in tree.folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(path)


def _places(tree: Tree) -> list[Path]:
    """The folders of what was set aside, and one more."""
    n = sum(1 for _ in tree.folder.glob(f"{_ASIDE}*"))
    return [tree.folder / f"{_ASIDE}{i}" for i in range(n + 1)]


def _gone(tree: Tree, items: Sequence[Item]) -> list[str]:
    """Names of items with rows that are not among these; of texts, which are told by their digests, their lines."""
    is_text, gone = tree.modality == "text", list[str]()
    there = {item.digest("text") if is_text else item.name for item in items}
    is_aside = not tree.shard_path(0).parent.exists()  # by a run that was cut off at that
    for shard in range(0 if is_aside else tree.n_shards):
        with suppress(C3AlignError):  # of what is damaged nothing is known, and its rows are gone
            column = DIGEST if is_text else f"{tree.modality}_path"
            numbers, known = tree.columns(shard, ITEM, column)[1] if tree.is_whole(shard) else (None, None)
            absent = [(i, name) for i, name in zip(numbers or (), known or ()) if name not in there]
            gone += [f"line {i}" if is_text else str(name) for i, name in absent]
    return gone


class Earlier:
    """The rows of what was set aside, by the digest of the item."""

    def __init__(self, tree: Tree) -> None:
        found = [Tree(place, tree.modality) for place in _places(tree)]
        self.trees = [tree for tree in found if tree.run_path.exists()]
        self._last: tuple[tuple[int, int], Any] = (-1, -1), None

    @cached_property
    def places(self) -> dict[str, tuple[int, int, int]]:
        """Tree, shard and row of every item that has one."""
        found = {}
        for number, tree in enumerate(self.trees):
            for shard in range(tree.n_shards):
                with suppress(C3AlignError):  # what is damaged is embedded again
                    contents = tree.contents(shard).values() if tree.is_whole(shard) else ()
                    found.update({known[0]: (number, shard, row) for row, known in enumerate(contents) if known[0]})
        return found

    def rows(self, contents: Sequence[str]) -> npt.NDArray[Any]:
        """The rows of items with these digests; a shard at a time is in memory."""
        rows = []
        for content in contents:
            number, shard, row = self.places[content]
            if self._last[0] != (number, shard):
                self._last = (number, shard), self.trees[number].rows(shard)
            rows.append(self._last[1][row])
        return np.array(rows)
