"""Shards of embeddings on disk, in the tree that clip-retrieval reads.

A shard is whole when its metadata stands, which is written last, and every file appears under its name when it is
complete: a run that was killed goes on behind the last whole shard, without a row lost or twice. What was asked for
is written down first, so that another question does not mix with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.errors import C3AlignError, printable
from c3align.io import atomic, container
from c3align.io.items import Item
from c3align.io.rows import RowSource, write_npy

__all__ = ["Tree", "fingerprint_of", "modality_of", "open_sources"]

FOLDERS = {"image": "img"}  # clip-retrieval's name; other modalities are called what they are


def open_sources(patterns: Sequence[str]) -> list[RowSource]:
    """The rows of files and patterns; or those of each modality, in alphabetical order, of a tree of shards."""
    tree = Path(atomic.expanded(patterns[0]))
    if len(patterns) != 1 or not tree.is_dir():
        return [RowSource.open(patterns)]
    folders = [tree] if tree.name.endswith("_emb") else sorted(tree.glob("*_emb"))
    if not folders:
        raise C3AlignError(f"{tree} holds no embeddings (no folder *_emb in it); pass one that `c3align embed` wrote")
    root = tree.parent if tree in folders else tree
    modalities = {modality_of(folder.name): str(folder) for folder in folders}
    fingerprint = fingerprint_of(root)
    for modality in modalities:
        _check_finished(Tree(root, modality))
    return [
        RowSource.open([folder], name, modality=name, fingerprint=fingerprint)
        for name, folder in sorted(modalities.items())
    ]


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
    n_whole = sum(tree.is_whole(shard) for shard in range(n_shards))
    if n_whole < n_shards:
        raise C3AlignError(
            f"{tree.folder} is not finished: {n_whole} of {n_shards} shards of {tree.modality} are whole; run the same "
            "c3align embed again to resume it"
        )


class Tree:
    """The files of one modality under a folder."""

    def __init__(self, folder: str | os.PathLike[str], modality: str) -> None:
        self.folder, self.modality = atomic.local_path(folder), modality
        self._short = FOLDERS.get(modality, modality)
        self.run_path = self.folder / f"embed_{modality}.json"

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
            if changed == ["on_error"] and not any(self.folder.glob(f"broken_{self.modality}*")):
                self._write_down(run)  # nothing was skipped so far
            elif changed:
                what = ", ".join(f"{name} was {before.get(name)!r}, now {run[name]!r}" for name in changed)
                raise C3AlignError(f"{self.folder} holds another run ({what}); go on as before, or pass another folder")
            for left in self.folder.rglob(f".*{atomic.SCRATCH}*"):  # of a run that was killed
                left.unlink()
            return
        others = sorted(self.folder.glob("embed_*.json"))
        if others:
            raise C3AlignError(f"{self.folder} holds {others[0].stem[6:]} embeddings; pass another folder")
        for made in (self.shard_path(0), self.metadata_path(0)):
            made.parent.mkdir(parents=True, exist_ok=True)
        self._write_down(run)

    def _write_down(self, run: Mapping[str, Any]) -> None:
        atomic.write(self.run_path, (json.dumps(run, indent=1) + "\n").encode())

    def is_whole(self, shard: int) -> bool:
        return self.metadata_path(shard).exists()

    def rows(self, shard: int) -> npt.NDArray[Any]:
        return RowSource.open([str(self.shard_path(shard))]).parts[0][:]

    def write(self, shard: int, first: int, items: Sequence[Item], batches: Iterable[Any], empty: Any) -> None:
        """Embed a shard and write it: rows, then what was broken, then the metadata that makes it whole.

        Parameters
        ----------
        shard, first : int
            Its number, and that of its first item.
        items : sequence of Item
        batches : iterable of `rows` with the numbers `kept`, and what is `broken`
        empty : (0, n_dims) array of the dtype to be written
        """
        parts, kept, broken = [empty], [], []
        for batch in batches:
            parts.append(batch.rows)
            kept += batch.kept
            broken += batch.broken
        rows = np.concatenate(parts)
        if np.isinf(rows).any():
            raise C3AlignError(f"the embeddings of shard {shard} do not fit in {empty.dtype}; pass --dtype float32")
        write_npy(self.shard_path(shard), rows.shape, rows.dtype, [rows])
        if broken:
            self.broken_path(shard).parent.mkdir(exist_ok=True)
            lines = [{"item": first + b.place, "name": items[b.place].name, "reason": b.reason} for b in broken]
            atomic.write(self.broken_path(shard), "".join(json.dumps(line) + "\n" for line in lines).encode())
        self._write_metadata(shard, first, items, kept)

    def _write_metadata(self, shard: int, first: int, items: Sequence[Item], kept: list[int]) -> None:
        pyarrow, parquet = need("pyarrow", "pyarrow"), need("pyarrow.parquet", "pyarrow")
        columns: dict[str, Any] = {"item": pyarrow.array([first + i for i in kept], pyarrow.int64())}
        if self.modality != "text":
            columns[f"{self.modality}_path"] = pyarrow.array([items[i].name for i in kept], pyarrow.string())
        columns["caption"] = pyarrow.array([items[i].caption for i in kept], pyarrow.string())
        with atomic.replaced_file(self.metadata_path(shard)) as scratch:
            parquet.write_table(pyarrow.table(columns), str(scratch))

    def finish(self, n_shards: int) -> int:
        """Put what was broken into one list; returns how many items that are."""
        paths = [self.broken_path(shard) for shard in range(n_shards)]
        lines = [line for path in paths if path.exists() for line in path.read_bytes().splitlines(keepends=True)]
        if lines:
            atomic.write(self.folder / f"broken_{self.modality}.jsonl", b"".join(lines))
        return len(lines)
