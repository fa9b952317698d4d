"""Rows of several sources that belong together: by their items, by a column of their trees, or by their places."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError, counted, printable
from c3align.io.columns import Column
from c3align.io.items import ID
from c3align.io.rows import Picked, RowSource
from c3align.io.shards import ITEM, Tree, tree_of

__all__ = ["joined"]

_SHOWN = 5  # items without partners that are named
Int64 = npt.NDArray[np.int64]


def joined(sources: Sequence[RowSource], on: str | None = None) -> tuple[list[RowSource], str]:
    """The sources with row i of each belonging to row i of the others, and in words how that was found out.

    Trees of `c3align embed` are joined by the numbers of their items, or by the column `on` of their metadata, and
    .parquet files by their own column `on`, of which one side may have a value several times, such as a picture's
    captions. Others are as they are: row i and row i.
    """
    trees = [tree_of(source) for source in sources]
    names = [_names(source, tree, on) for source, tree in zip(sources, trees)]
    lone = next((source for source, own in zip(sources, names) if own is None), None)
    if lone is not None and on is None:
        return _by_place(sources, names)
    if lone is not None:
        raise C3AlignError(
            f"{lone.where(0)} is neither of a tree that c3align embed wrote nor of a .parquet, and has no column "
            f"{on!r}; pass such rows on both sides, or omit --on to pair rows by their places"
        )
    if on is None:
        _check_numbers([tree for tree in trees if tree is not None])
    return _by_name(sources, [own for own in names if own is not None], on or ITEM)


def _names(source: RowSource, tree: Tree | None, on: str | None) -> npt.NDArray[Any] | None:
    """What each row is called, numbers or texts and None; None for all where nothing says so."""
    numbers = None if tree is None else tree.numbers()
    if tree is None or numbers is None:
        columns = [part for part in source.parts if isinstance(part, Column)]
        if on is None or len(columns) < len(source.parts):
            return None
        return np.array([name for column in columns for name in column.names(on)], object)
    if len(numbers) != source.n_rows:
        raise tree.not_as_written(f"{source.where(0)} is one of {source.n_rows} rows of {len(numbers)} items")
    return numbers if on in (None, ITEM) else _column(tree, on)


def _column(tree: Tree, column: str) -> npt.NDArray[Any]:
    values = list[str | None]()
    for shard in range(tree.n_shards):
        there, (items, found) = tree.columns(shard, ITEM, column)
        if found is None and column != ID:  # which a shard has only where an item has one
            raise _no_column(tree, there, column)
        values += [None if value is None else str(value) for value in found or [None] * len(items or ())]
    if not any(value is not None for value in values):
        if column in there:
            raise C3AlignError(
                f"the column {column!r} of the {tree.modality} items of {tree.folder} is empty; pass one with values"
            )
        raise _no_column(tree, there, column)
    return np.array(values, object)


def _no_column(tree: Tree, names: Sequence[str], column: str) -> C3AlignError:
    known = ", ".join(map(repr, names))
    return C3AlignError(
        f"the {tree.modality} items of {tree.folder} have no {column!r} but {known}; pass one that all sides have, or "
        "embed their table again with --id and the column that says what belongs together"
    )


def _check_numbers(trees: Sequence[Tree]) -> None:
    """Lists of other lengths, or with other ids at the same numbers, are not one list."""
    lists = [tree.n_items for tree in trees]
    if len(set(lists)) > 1:
        raise C3AlignError(
            f"the folders come from lists of {' and '.join(map(str, lists))} items, whose numbers do not correspond; "
            "embed two lists in which item i belongs to item i, or name a column that both have as --on"
        )
    _check_names(trees)
    known = dict[int, str]()
    for tree in trees:
        for shard in range(tree.n_shards):
            _, (numbers, ids) = tree.columns(shard, ITEM, ID)
            for number, own in zip(numbers or (), ids or ()):
                if own is not None and known.setdefault(number, own) != own:
                    raise C3AlignError(
                        f"item {number} has the id {printable(known[number])!r} on one side and {printable(own)!r} on "
                        f"another; pass --on {ID} to pair by ids, or --on {ITEM} where they are ids of different things"
                    )


def _check_names(trees: Sequence[Tree]) -> None:
    """Files of one name at other numbers are told of: a folder lacks one, perhaps, and all behind it moved up."""
    first, *others = [_paths(tree) for tree in trees]
    stems = [Path(path).stem for path in first.values()]
    times = Counter(stems)
    known = {stem: number for stem, number in zip(stems, first) if times[stem] == 1}
    for paths in others:
        for number, path in paths.items():
            place = known.get(Path(path).stem, number)
            if place != number and number in first:
                warnings.warn(
                    f"item {number} is {printable(first[number])} on one side and {printable(path)} on another, named "
                    f"like {printable(first[place])}; if a file is absent on one side, embed tables with an id and "
                    "pass --on id",
                    stacklevel=2,
                )
                return


def _paths(tree: Tree) -> dict[int, str]:
    """The files of the items, by number; none of texts."""
    found = dict[int, str]()
    for shard in range(tree.n_shards):
        _, (numbers, paths) = tree.columns(shard, ITEM, f"{tree.modality}_path")
        found.update(zip(numbers or (), paths or ()))
    return found


def _by_name(
    sources: Sequence[RowSource], names: Sequence[npt.NDArray[Any]], column: str
) -> tuple[list[RowSource], str]:
    """Rows of one name, in the order of the side that has names several times, else of the first."""
    are_numbers = all(own.dtype == np.int64 for own in names)
    numbered = names if are_numbers else _numbered(names)
    firsts = [np.unique(own, return_index=True) for own in numbered]
    firsts = [(own[own >= 0], places[own >= 0]) for own, places in firsts]
    several = [i for i, own in enumerate(numbered) if (own >= 0).sum() > len(firsts[i][0])]
    if len(several) > 1:
        a, b = (_called(sources[i]) for i in several[:2])
        side = several[0]
        again = int(np.setdiff1d(np.flatnonzero(numbered[side] >= 0), firsts[side][1])[0])
        raise C3AlignError(
            f"several rows of {a} and several of {b} have one {column!r} ({sources[side].where(again)} has "
            f"{printable(names[side][again])!r:.60} once more), so that nothing says which belong together; join by a "
            "column that one of them has once"
        )
    common = reduce(np.intersect1d, [own for own, _ in firsts])
    if not len(common):
        raise C3AlignError(f"the rows and their partners have no {column} in common; pass trees of one list of items")
    lead = several[0] if several else 0
    leading = np.flatnonzero(np.isin(numbered[lead], common))
    wanted = numbered[lead][leading]
    rows = [places[np.searchsorted(own, wanted)] for own, places in firsts]
    rows[lead] = leading
    text = f"{counted(len(wanted), 'pair')} by {'the numbers of their items' if are_numbers else f'their {column}'}"
    text += "".join(_alone(*side, common) for side in zip(sources, names, numbered))
    return [Picked.from_source(source, own) for source, own in zip(sources, rows)], text


def _numbered(names: Sequence[npt.NDArray[Any]]) -> list[Int64]:
    """A number for every name, the same on all sides; -1 for none."""
    known: dict[str, int] = {}
    return [
        np.array([-1 if name is None else known.setdefault(str(name), len(known)) for name in own], np.int64)
        for own in names
    ]


def _called(source: RowSource) -> str:
    return source.modality or source.paths[0]


def _alone(source: RowSource, names: npt.NDArray[Any], numbered: Int64, common: Int64) -> str:
    alone = names[~np.isin(numbered, common)].tolist()
    if not alone:
        return ""
    shown = ", ".join("(none)" if name is None else printable(str(name)) for name in alone[:_SHOWN])
    more = ", ..." if len(alone) > _SHOWN else ""
    return f"; left out, as without a partner, {len(alone)} of {_called(source)}: {shown}{more}"


def _by_place(sources: Sequence[RowSource], names: Sequence[Any]) -> tuple[list[RowSource], str]:
    """Row i belongs to row i, unless one side skipped items and another does not name its own."""
    for source, own in zip(sources, names):
        if own is not None and len(own) and own[-1] != len(own) - 1:
            raise C3AlignError(
                f"the {source.modality} rows lack items that could not be embedded, and their partners do not say "
                "which items they belong to; pass a folder of c3align embed on both sides"
            )
    first = sources[0]
    for other in sources[1:]:
        if other.shape != first.shape:
            raise C3AlignError(
                f"the rows are {first.shape} and their partners {other.shape}; pass files of equal shape"
            )
        _check_order(first, other)
    return list(sources), "pairs by their places: row i of the one with row i of the other"


def _check_order(first: RowSource, second: RowSource) -> None:
    """The numbers in the names of several files say whether the places correspond."""
    if len(first.paths) < 2 or len(second.paths) < 2:
        return
    numbers = [[re.findall(r"\d+", Path(path).stem)[-1:] for path in source.paths] for source in (first, second)]
    for i, (a, b) in enumerate(zip(*numbers)):
        if a and b and int(a[0]) != int(b[0]):
            warnings.warn(
                f"{first.paths[i]} is paired with {second.paths[i]}, and the numbers in their names differ; pass "
                "the files of both in one order",
                stacklevel=2,
            )
            return
