"""Shards of embeddings on disk, in the tree that clip-retrieval reads.

A shard is whole when its metadata stands, which is written last, and every file appears under its name when it is
complete: a run that was killed goes on behind the last whole shard, without a row lost or twice. What was asked for
is written down first, so that another question does not mix with it.

The digests of all files stand in one list, `embed_image.sha256`, which ``sha256sum -c`` reads too; its first line is
the digest of the others. When a tree is opened, the list, the names of the shards and what was asked for are checked;
the rows of a shard when they are read from its first to its last, as `fit`, `transform` and `report` do; rows by
number are not.

The metadata keep the SHA-256 of every item's bytes beside its row, by which the next run sees what has changed.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.errors import C3AlignError, FormatError, printable
from c3align.io import atomic, container, digests, tables
from c3align.io.items import CAPTION, ID, Item
from c3align.io.opening import is_url
from c3align.io.patterns import FILES, NoFileError
from c3align.io.rows import RowSource, write_npy

__all__ = ["Tree", "fingerprint_of", "modality_of", "open_sources", "tree_of"]

FORMAT_VERSION = 3  # 1 had no digests, 2 none of the items
ITEM, DIGEST = "item", "sha256"  # columns of the metadata
Known = tuple[str | None, str | None, str | None]  # of an item: digest, caption, id
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")
FOLDERS = {"image": "img"}  # clip-retrieval's name; other modalities are called what they are


def open_sources(patterns: Sequence[str], *, column: str | None = None, scale: float | None = None) -> list[RowSource]:
    """The rows of files and patterns; or those of each modality, in alphabetical order, of a tree of shards.

    A folder without a tree stands for the files of rows in it, and for those below it where it holds none itself.
    """
    how: dict[str, Any] = {"column": column, "scale": scale}
    tree = Path(atomic.expanded(patterns[0])) if not is_url(patterns[0]) else None
    if len(patterns) != 1 or tree is None or not tree.is_dir():
        return [RowSource.open(patterns, **how)]
    folders = [tree] if tree.name.endswith("_emb") else sorted(tree.glob("*_emb"))
    if not folders:
        return [_plain_folder(tree, how)]
    root = tree.parent if tree in folders else tree
    modalities = {modality_of(folder.name): str(folder) for folder in folders}
    fingerprint = fingerprint_of(root)
    for modality in modalities:
        _check_finished(Tree(root, modality))
    return [
        RowSource.open([folder], name, modality=name, fingerprint=fingerprint, watch=Tree(root, name).watch(), **how)
        for name, folder in sorted(modalities.items())
    ]


def tree_of(source: RowSource) -> Tree | None:
    """The tree that rows come from, where there is one."""
    return None if source.modality is None else Tree(Path(source.paths[0]).parent.parent, source.modality)


def _plain_folder(folder: Path, how: dict[str, Any]) -> RowSource:
    for pattern in (str(folder), f"{glob.escape(str(folder))}/**"):
        with suppress(NoFileError):
            return RowSource.open([pattern], **how)
    raise C3AlignError(
        f"{folder} holds no embeddings (no folder *_emb, nor a {', '.join(FILES)}, in it); pass one that `c3align "
        "embed` wrote, or files of rows"
    )


def modality_of(folder: str) -> str:
    """The modality of a folder of shards: clip-retrieval says "img"."""
    name = folder.removesuffix("_emb")
    return "image" if name == "img" else name


def fingerprint_of(tree: Path) -> str | None:
    """The encoder that a tree's embeddings come from, where `c3align embed` wrote it down."""
    for path in sorted(tree.glob("embed_*.json")):
        found = container.read_json(path, "tree of shards")
        name = found.get("fingerprint") if isinstance(found, dict) else None
        if not isinstance(name, str) or printable(name) != name:
            raise container.refusal("tree of shards", f"{path} names no encoder")
        return name
    return None


def _check_finished(tree: Tree) -> None:
    """A run that was interrupted is missing rows."""
    run = container.read_json(tree.run_path, "tree of shards") if tree.run_path.exists() else {}
    n_items, per_shard = run.get("n_items"), run.get("shard_items")
    if not (isinstance(n_items, int) and isinstance(per_shard, int) and per_shard > 0):
        return
    n_shards = -(-n_items // per_shard)
    n_files = sum(1 for _ in tree.metadata_path(0).parent.glob("*.parquet"))
    n_whole = n_files if n_files < n_shards else sum(tree.is_whole(shard) for shard in range(n_shards))
    if n_whole < n_shards:
        raise C3AlignError(
            f"{tree.folder} is not finished: {n_whole} of {n_shards} shards of {tree.modality} are whole; run the same "
            f"c3align {tree.made_by} again to resume it"
        )


def _signed(lines: list[str]) -> bytes:
    body = "".join(lines).encode()
    return f"# {hashlib.sha256(body).hexdigest()}\n".encode() + body


CHANGING = ("transform", "corrupt", "translate")  # the commands that write rows made of others


class Tree:
    """The files of one modality under a folder."""

    def __init__(self, folder: str | os.PathLike[str], modality: str) -> None:
        self.folder, self.modality = atomic.local_path(folder), modality
        self._short = FOLDERS.get(modality, modality)
        self.run_path = self.folder / f"embed_{modality}.json"
        self.digests_path = self.folder / f"embed_{modality}.sha256"

    @property
    def made_by(self) -> str:
        """The command that wrote the tree, and writes it whole again."""
        lists = {name: self.folder / f"{name}_{self.modality}.jsonl" for name in CHANGING}
        return next((name for name, path in lists.items() if path.exists()), "embed")

    def not_as_written(self, reason: str) -> FormatError:
        """The error for a tree that is not what its files say."""
        fix = f"run the same c3align {self.made_by} again"
        return FormatError(f"not a whole c3align tree of shards: {reason}; {fix}")

    def shard_path(self, shard: int) -> Path:
        return self.folder / f"{self._short}_emb" / f"{self._short}_emb_{shard:03d}.npy"

    def metadata_path(self, shard: int) -> Path:
        return self.folder / "metadata" / f"metadata_{shard:03d}.parquet"

    def broken_path(self, shard: int) -> Path:
        return self.folder / f"broken_{self.modality}" / f"broken_{shard:03d}.jsonl"

    def begin(self, run: Mapping[str, Any]) -> None:
        """Write down what is asked for, or see that it is what was asked for before."""
        if self.run_path.exists():
            before = container.read_json(self.run_path, "tree of shards")
            changed = [name for name, value in run.items() if before.get(name) != value]
            if changed and changed != ["on_error"]:  # a strict run looks again at what a lenient one has skipped
                what = ", ".join(f"{name} was {before.get(name)!r}, now {run[name]!r}" for name in changed)
                raise C3AlignError(f"{self.folder} holds another run ({what}); go on as before, or pass another folder")
            if before.get("format_version") != FORMAT_VERSION:
                self.write_down(run)
            return
        others = sorted(self.folder.glob("embed_*.json"))
        if others:
            raise C3AlignError(f"{self.folder} holds {others[0].stem[6:]} embeddings; pass another folder")
        with atomic.made(self.shard_path(0).parent), atomic.made(self.metadata_path(0).parent):
            self.write_down(run)

    def write_down(self, run: Mapping[str, Any]) -> None:
        """What is asked for."""
        run = {**run, "format_version": FORMAT_VERSION}
        atomic.write(self.run_path, (json.dumps(run, indent=1) + "\n").encode())

    def is_whole(self, shard: int) -> bool:
        return self.metadata_path(shard).exists()

    def rows(self, shard: int) -> npt.NDArray[Any]:
        """A shard's rows, compared with their digest where it is known."""
        path = self.shard_path(shard)
        known = self._noted().get(self._name(path))
        source = RowSource.open([str(path)], watch=None if known is None else digests.Watch({path.name: known}))
        return np.asarray(source.read(0, source.n_rows)) if source.n_rows else np.asarray(source.parts[0][:])

    @property
    def is_finished(self) -> bool:
        """Whether a run came to its end; one that changes it begins by taking that back."""
        return self.digests_path.exists() and self.digests_path.read_bytes()[:1] == b"#"

    def contents(self, shard: int) -> dict[int, Known]:
        """What is known of every item that has a row, by its number; no digests in older trees."""
        numbers, (_, known) = self._items(shard), self.columns(shard, DIGEST, CAPTION, ID)
        if numbers is None or len(numbers) != len(self.rows(shard)):
            raise self.not_as_written(f"{self.metadata_path(shard)} is not that of its rows; delete it")
        columns = (column or [None] * len(numbers) for column in known)
        return dict(zip(numbers.tolist(), zip(*columns)))

    def numbers(self) -> npt.NDArray[np.int64] | None:
        """The item of every row of a tree that `c3align embed` wrote, else None."""
        if not self.run_path.exists():
            return None
        parts = [self._items(shard) for shard in range(self.n_shards) if self.is_whole(shard)]
        known = [part for part in parts if part is not None]
        found = np.concatenate(known) if 0 < self.n_shards == len(known) else None
        if found is not None and (np.diff(found) <= 0).any():
            raise self.not_as_written(f"the shards of {self.shard_path(0).parent} do not follow one another")
        return found

    @property
    def n_shards(self) -> int:
        return sum(1 for path in self.shard_path(0).parent.iterdir() if path.suffix in FILES)

    @property
    def n_items(self) -> Any:
        """How many items were to be embedded."""
        return container.read_json(self.run_path, "tree of shards").get("n_items")

    def _items(self, shard: int) -> npt.NDArray[np.int64] | None:
        _, (column,) = self.columns(shard, ITEM)
        if column is None:
            return None
        if not all(type(number) is int for number in column):
            raise self.not_as_written(f"{self.metadata_path(shard)} names items by something else than numbers")
        found = np.array(column, np.int64)
        if (np.diff(found) <= 0).any():
            raise self.not_as_written(f"the items of {self.metadata_path(shard)} are not in their order")
        return found

    def columns(self, shard: int, *names: str) -> tuple[list[str], list[list[Any] | None]]:
        """All names in a shard's metadata, and the values of some columns; None for those that it has not."""
        path, found = self.metadata_path(shard), list[str]()
        known = self._noted().get(self._name(path))
        if known is not None and digests.of_file(path) != known:
            raise self.not_as_written(f"{path} is damaged, or another file")

        def choose(there: Sequence[str]) -> Sequence[str]:
            found.extend(there)
            return there[0], *names

        columns = [*zip(*tables.read(str(path), choose))][1:] or [()] * len(names)
        return found, [list(column) if name in found else None for name, column in zip(names, columns)]

    def write(
        self,
        shard: int,
        first: int,
        items: Sequence[Item],
        contents: Sequence[str | None],
        places: Sequence[int],
        rows: npt.NDArray[Any],
        broken: Mapping[int, str],
    ) -> None:
        """Write a shard: rows, then what was broken, then the metadata that makes it whole.

        `first` is the number of its first item; `places` count from there, of the items that have `rows`, and in
        `broken`, which has the reasons.
        """
        is_nan = np.isnan(rows).any(axis=1)
        if is_nan.any():
            name = items[places[int(is_nan.argmax())]].name
            raise C3AlignError(
                f"the embeddings of {name} and {is_nan.sum() - 1} more items are NaN; remove those items"
            )
        if np.isinf(rows).any():
            raise C3AlignError(f"the embeddings of shard {shard} do not fit in {rows.dtype}; pass --dtype float32")
        self._take_back(shard)
        write_npy(self.shard_path(shard), rows.shape, rows.dtype, [rows])
        if broken:
            self.broken_path(shard).parent.mkdir(exist_ok=True)
            lines = [{"item": first + i, "name": items[i].name, "reason": broken[i]} for i in sorted(broken)]
            atomic.write(self.broken_path(shard), "".join(json.dumps(line) + "\n" for line in lines).encode())
        self._write_metadata(shard, first, items, contents, places)
        with atomic.named(self.digests_path), self.digests_path.open("a", encoding="utf-8") as file:
            file.writelines(f"{digests.of_file(self.folder / name)}  {name}\n" for name in self._names(shard))

    def _take_back(self, shard: int) -> None:
        """Before a shard is written again it is none, and the list of digests not that of a finished run."""
        names = self._names(shard)
        if names and self.digests_path.exists():
            kept = [f"{digest}  {name}\n" for name, digest in self._noted().items() if name not in names]
            atomic.write(self.digests_path, "".join(kept).encode())
        atomic.remove(self.metadata_path(shard))
        atomic.remove(self.broken_path(shard))

    def _write_metadata(
        self, shard: int, first: int, items: Sequence[Item], contents: Sequence[str | None], places: Sequence[int]
    ) -> None:
        pyarrow, parquet = need("pyarrow", "pyarrow"), need("pyarrow.parquet", "pyarrow")
        columns: dict[str, Any] = {ITEM: pyarrow.array([first + i for i in places], pyarrow.int64())}
        if self.modality != "text":
            columns[f"{self.modality}_path"] = pyarrow.array([items[i].name for i in places], pyarrow.string())
        columns[CAPTION] = pyarrow.array([items[i].caption for i in places], pyarrow.string())
        if any(item.id is not None for item in items):
            columns[ID] = pyarrow.array([items[i].id for i in places], pyarrow.string())
        columns[DIGEST] = pyarrow.array([contents[i] for i in places], pyarrow.string())
        with atomic.replaced_file(self.metadata_path(shard)) as scratch:
            parquet.write_table(pyarrow.table(columns), str(scratch))

    def finish(self, n_shards: int) -> int:
        """Put what was broken into one list, and the digests of all files; returns how many broken items that are."""
        paths = [self.broken_path(shard) for shard in range(n_shards)]
        lines = [line for path in paths if path.exists() for line in path.read_bytes().splitlines(keepends=True)]
        if lines:
            atomic.write(self.folder / f"broken_{self.modality}.jsonl", b"".join(lines))
        else:
            atomic.remove(self.folder / f"broken_{self.modality}.jsonl")
        noted, listed = self._noted(), []
        for name in [name for shard in range(n_shards) for name in self._names(shard)]:
            listed.append(f"{noted.get(name) or digests.of_file(self.folder / name)}  {name}\n")
        whole = [self.run_path, *self.folder.glob(f"broken_{self.modality}.jsonl")]
        listed += [f"{digests.of_file(path)}  {self._name(path)}\n" for path in whole]
        atomic.write(self.digests_path, _signed(listed))
        return len(lines)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _names(self, shard: int) -> list[str]:
        paths = self.shard_path(shard), self.broken_path(shard), self.metadata_path(shard)
        return [self._name(path) for path in paths if path.exists()]

    def _noted(self) -> dict[str, str]:
        """The digests of a list that may end in the middle of a line."""
        text = self.digests_path.read_text("utf-8", "replace") if self.digests_path.exists() else ""
        return {name: digest for digest, name in _LINE.findall(text)}

    def watch(self) -> digests.Watch | None:
        """What compares the rows with their digests; None for a tree without, with a warning where there ought to be.

        A list that is not whole, more or fewer shards than it names, and another question than was asked are refused.
        """
        if not self.run_path.exists():
            return None
        run = container.read_json(self.run_path, "tree of shards")
        if not self.digests_path.exists() and "format_version" not in run:
            digests.warn_of_no_digest("tree of shards", f"run the same c3align {self.made_by} again")
            return None
        noted = self._noted()
        rows = self.shard_path(0).parent
        shards = {self._name(path) for path in rows.iterdir() if path.suffix in FILES}
        text = _signed([f"{digest}  {name}\n" for name, digest in noted.items()])
        is_whole = self.digests_path.exists() and self.digests_path.read_bytes() == text
        if not is_whole or shards != {name for name in noted if name.startswith(f"{rows.name}/")}:
            raise self.not_as_written(f"its files are not those of {self.digests_path.name}")
        if noted.get(self.run_path.name) != digests.of_file(self.run_path):
            raise self.not_as_written(f"{self.run_path.name} is not the one in {self.digests_path.name}")
        return digests.Watch({Path(name).name: digest for name, digest in noted.items()})
