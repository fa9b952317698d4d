"""A tree of shards made of another one, shard by shard: the same names, layout and order, other rows.

Each shard appears whole, then its line in the list of what is done, so that a run that was killed is gone on with and
loses at most one shard. Rows that are dropped are named there too, and left out of the tables beside them.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.errors import C3AlignError, counted, printable
from c3align.io import atomic, columns, container, digests, writing
from c3align.io.ahead import beside
from c3align.io.device import Device
from c3align.io.pages import opened_table
from c3align.io.patterns import FILES, METADATA, base_of
from c3align.io.progress import Journal, fingerprint, known_by
from c3align.io.rows import RowSource
from c3align.io.shards import CHANGING, Tree, modality_of, tree_of

__all__ = ["Changing", "Mirror", "Rules", "bad_rows", "made_by"]

Change = Callable[[npt.NDArray[Any], int, Any], npt.NDArray[Any]]  # rows, the number of the first, or those of all


def made_by(given: Sequence[str]) -> str | None:
    """The command that wrote the folder of these rows, if one did that changes rows."""
    folder = Path(base_of(given))
    return next((name for name in CHANGING if any(folder.glob(f"{name}_*.jsonl"))), None)


def bad_rows(rows: npt.NDArray[Any], zeros_too: bool) -> npt.NDArray[np.bool_]:
    """Rows that hold NaN or infinity, or zeros alone."""
    finite = np.isfinite(rows).all(axis=1)
    return ~finite | (zeros_too & ~rows.any(axis=1))


@dataclass(frozen=True)
class Rules:
    """What becomes of rows that cannot be used, and of shards that have changed."""

    skip: bool = False
    zeros_too: bool = True
    redo: bool = False


@dataclass(frozen=True)
class Changing:
    """Some rows of a source, what they become, and which of them are left out."""

    source: RowSource
    first: int
    stop: int
    change: Change
    dropped: npt.NDArray[np.int64]  # numbers of rows of the source, rising
    done: Callable[[int], None] = lambda n_rows: None
    device: Device | None = None  # where they are changed, if not here

    @classmethod
    def of(
        cls, source: RowSource, first: int, stop: int, change: Change, rules: Rules, done: Any, device: Device | None
    ) -> Changing:
        """Look for rows that cannot be used, where those are to be skipped."""
        found = [np.array([], np.int64)]
        for start, rows in source.blocks_of(first, stop) if rules.skip else []:
            found.append(start + np.flatnonzero(bad_rows(rows, rules.zeros_too)))
        return cls(source, first, stop, change, np.concatenate(found), done, device)

    @property
    def n_rows(self) -> int:
        return self.stop - self.first - len(self.dropped)

    def places(self) -> list[dict[str, Any]]:
        """File and row of each row that is left out."""
        found = (self.source.where(int(row)).rsplit(", row ", 1) for row in self.dropped)
        return [{"file": file, "row": int(row)} for file, row in found]

    def block(self, start: int, rows: npt.NDArray[Any]) -> tuple[Any, npt.NDArray[Any]]:
        """Which rows of a block stay, None for all, and what becomes of them; `start` counts from the first."""
        numbers, stays, n_rows = None, None, len(rows)
        place = self.first + start
        low, high = np.searchsorted(self.dropped, [place, place + n_rows])
        if low < high:
            stays = np.ones(n_rows, bool)
            stays[self.dropped[low:high] - place] = False
            rows, numbers = rows[stays], place + np.flatnonzero(stays)
        with self.source.located(place, rows, numbers):
            changed = self.change(rows, place, numbers) if len(rows) else rows
        self.done(n_rows)
        return stays, changed

    def through(self, blocks: Callable[..., Iterator[tuple[int, Any]]]) -> Iterator[tuple[Any, npt.NDArray[Any]]]:
        """As `block`, for each block in order; the memory of changed rows is reused by the next but one."""
        if self.device is not None:
            return self.device.through(blocks, self.block)
        return (self.block(start, rows) for start, rows in blocks())

    def _blocks(self, empty: Any = None) -> Iterator[tuple[int, Any]]:
        found = self.source.blocks_of(self.first, self.stop, empty)
        return ((start - self.first, rows) for start, rows in found)

    def write(self, target: Path, part: Any, digest: Any = None, **how: Any) -> None:
        """Write them as a file of the kind that its name says, as `part` is written, whose rows they are."""
        shape, how, dtype = (self.n_rows, self.source.n_dims), {"digest": digest, **how}, self.source.parts[0].dtype
        blocks = (rows for _, rows in self.through(self._blocks))
        kind = Path(target).suffix if not atomic.is_special(target) else ""
        if kind in (".parquet", ".safetensors") and (part is None or not part.path.endswith(kind)):
            raise C3AlignError(f"{target} must be a .npy, as not all rows come from one {kind}; pass another name")
        if kind == ".parquet":
            writing.write_parquet(target, part, self.through, **how)
        elif kind == ".safetensors":
            writing.write_safetensors(target, part.path, shape, dtype, blocks, **how)
        else:
            writing.write_npy(target, shape, dtype, blocks, **how)


@dataclass(frozen=True)
class Mirror:
    """The shards of `source`, changed, under another folder."""

    source: RowSource
    folder: Path
    names: tuple[str, ...]  # of the shards, from the folder
    journal: Journal
    change: Change
    rules: Rules
    device: Device | None

    @classmethod
    def of(
        cls,
        source: RowSource,
        given: Sequence[str],
        folder: Path,
        asked: Mapping[str, Any],
        change: Change,
        rules: Rules,
        device: Device | None = None,
    ) -> Mirror:
        """A mirror that goes on where an earlier one was, which had `asked` for the same."""
        root = base_of(given)
        names = tuple(os.path.relpath(path, root) for path in source.paths)
        if len(set(names)) < len(names) or any(name.startswith("..") for name in names):
            raise C3AlignError(f"the files of {' '.join(given)} must have names of their own; pass each once")
        if os.path.realpath(root) == os.path.realpath(folder):
            raise C3AlignError(f"{folder} is where the rows are; pass another folder as --output")
        read = {os.path.realpath(path) for path in source.paths}
        if any(os.path.realpath(folder / name) in read for name in names):
            raise C3AlignError(f"{folder} has links to files that are to be read; pass another folder as --output")
        _check_beside(source, folder, rules)
        for made in {(folder / name).parent for name in names}:
            made.mkdir(parents=True, exist_ok=True)
            atomic.clear(made)
        for other in sorted(folder.glob(f"*_{source.modality or 'rows'}.jsonl")):
            if other.name.partition("_")[0] in {*CHANGING} - {asked["command"]} and set(Journal(other).done) & set(
                names
            ):
                raise C3AlignError(f"{folder} holds what {other.name} tells of; pass another folder as --output")
        listed = folder / f"{asked['command']}_{source.modality or 'rows'}.jsonl"
        known = next((name for name in names if (folder / name).exists()), None)
        if known is not None and not listed.exists():
            raise C3AlignError(f"{folder} holds {printable(known)} of another time; pass another folder, or remove it")
        journal = Journal(listed, asked)
        return cls(source, folder, names, journal, change, rules, device)

    def write(self, done: Callable[[int], None]) -> int:
        """Do what is left to do; `done` is told of rows, and of those that were done before; returns how many files."""
        self.journal.forget(set(self.names), self.folder, self.rules.redo)
        n_written = 0
        for number, (name, part) in enumerate(zip(self.names, self.source.parts)):
            # the noise of `corrupt` is that of a row's number
            place = {"first_row": self.source.ends[number]} if self.journal.question["command"] == "corrupt" else {}
            target, found = self.folder / name, {**fingerprint(part), **place}
            is_done = self.journal.has(name, found, self.source.paths[number], target, self.rules.redo)
            if is_done and (self.rules.skip or not self.journal.done[name]["dropped"]):
                done(len(part))
                continue
            first, stop = self.source.ends[number : number + 2]
            changing = Changing.of(self.source, first, stop, self.change, self.rules, done, self.device)
            digest = digests.new()
            seen = None if self.source.watch is None else self.source.watch.expected.get(target.name)
            with beside(known_by, part, seen) as shard:
                changing.write(target, part, digest, alone=True)
            known = {"size": target.stat().st_size, "sha256": digest.hexdigest()}
            known["dropped"] = (changing.dropped - first).tolist()
            self.journal.note(name, input={**shard.result(), **place}, **known)
            n_written += 1
        return n_written

    def others(self) -> list[str]:
        """Rows beside those of this run that no list of shards names; who reads the folder reads them too."""
        known = set(self.names)
        for path in self.folder.glob(f"{self.journal.question['command']}_*.jsonl"):
            with suppress(C3AlignError, OSError):  # of a list that nobody here wrote
                known |= Journal(path).done.keys()
        beside = {(self.folder / name).parent for name in self.names}
        found = [path for folder in beside for path in folder.glob("[!.]*") if path.suffix in FILES]
        return sorted({os.path.relpath(path, self.folder) for path in found} - known)

    def finish(self, fingerprint_of_rows: str | None) -> int:
        """Write what belongs to the shards, and name the rows that were dropped; returns how many those are."""
        lines = [
            json.dumps({"file": name, "row": row}) for name in self.names for row in self.journal.done[name]["dropped"]
        ]
        self.journal.write(self.names)
        listed = self.folder / f"dropped_{self.source.modality or 'rows'}.jsonl"
        if lines:
            atomic.write(listed, "".join(f"{line}\n" for line in lines).encode())
        else:
            atomic.remove(listed)
        if self.source.modality is not None:
            self._finish_tree(fingerprint_of_rows)
        return len(lines)

    def _finish_tree(self, encoder: str | None) -> None:
        before = Tree(Path(self.source.paths[0]).parent.parent, str(self.source.modality))
        after, tables = Tree(self.folder, before.modality), before.metadata_path(0).parent
        for path in sorted(tables.iterdir()) if tables.is_dir() else []:
            shard, target = self._shard_of(path.stem), self.folder / METADATA / path.name
            target.parent.mkdir(exist_ok=True)
            if shard:
                self._check_lines(path, shard)
            _copy_table(path, target, self.journal.done[shard]["dropped"] if shard else [])
        if not before.run_path.exists():
            return
        run = container.read_json(before.run_path, "tree of shards")
        after.write_down({**run, "fingerprint": encoder})
        known = {name: self.journal.done[name]["sha256"] for name in self.names}
        atomic.write(after.digests_path, "".join(f"{digest}  {name}\n" for name, digest in known.items()).encode())
        after.finish(-(-run["n_items"] // run["shard_items"]))

    def _check_lines(self, table: Path, shard: str) -> None:
        """Tell of a table that cannot be about the shard of its number, row by row."""
        if table.suffix != ".parquet":
            return
        with table.open("rb") as file:
            n_lines = opened_table(file).metadata.num_rows
        n_rows = len(self.source.parts[self.names.index(shard)])
        if n_lines != n_rows:
            warnings.warn(
                f"{table} has {counted(n_lines, 'line')} and {shard} {counted(n_rows, 'row')}, so that they cannot be "
                "about each other; write the table again, or leave it out",
                UserWarning,
                stacklevel=2,
            )

    def _shard_of(self, stem: str) -> str | None:
        """The shard that a table of metadata is about: the numbers at their ends are the same."""
        number = stem.rpartition("_")[2]
        found = [name for name in self.names if Path(name).stem.rpartition("_")[2] == number]
        return found[0] if len(found) == 1 else None


def _check_beside(source: RowSource, folder: Path, rules: Rules) -> None:
    """Rows of another modality may be in the folder where one table of metadata is that of both, row by row."""
    tree = tree_of(source)
    if tree is None:
        return
    others = {modality_of(path.name) for path in folder.glob("*_emb")} - {tree.modality}
    recorded = {path.stem.removeprefix("embed_") for path in folder.glob("embed_*.json")} - {tree.modality}
    if recorded or (others and tree.run_path.exists()):
        name = printable(min(recorded or others))
        raise C3AlignError(f"{folder} holds {name} rows with tables of their own; pass another folder as --output")
    if others and (rules.skip or any((folder / f"dropped_{name}.jsonl").exists() for name in others)):
        raise C3AlignError(
            f"{folder} holds {printable(min(others))} rows, which are partners of these only as long as none is dropped"
            "; pass another folder as --output"
        )


def _copy_table(path: Path, target: Path, dropped: Sequence[int]) -> None:
    """A table beside the rows, without the lines of those that were dropped."""
    if dropped and path.suffix == ".parquet":
        parquet = need("pyarrow.parquet", "pyarrow")
        with path.open("rb") as file:
            found = opened_table(file)
            for group in range(found.num_row_groups):
                columns.check_pages(file, found.metadata.row_group(group), path.stat().st_size)
            table = found.read()
        table = table.take(np.delete(np.arange(table.num_rows), dropped))
        with atomic.replaced_file(target) as scratch:
            parquet.write_table(table, str(scratch))
    elif not target.exists() or target.read_bytes() != path.read_bytes():
        atomic.write(target, path.read_bytes())
