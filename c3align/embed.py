"""Embeddings of a whole collection on disk, in the tree that clip-retrieval reads, written so that a kill costs little.

A run is cut into shards of items. A shard is whole when its metadata stands, which is written last, and every file
appears under its name when it is complete: started again, a run goes on behind the last whole shard, without a row
lost or twice. What was asked for is written down first, so that another question does not mix with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.encoders._base import counting
from c3align.encoders._sources import Item
from c3align.encoders._stream import Batch, batches
from c3align.errors import C3AlignError

__all__ = ["Run", "embed"]

SHARD_ITEMS = 10_000
SCRATCH = ".c3align-"  # in the names of files that are not whole yet
FOLDERS = {"image": "img"}  # clip-retrieval's name; other modalities are called what they are


@dataclass(frozen=True)
class Run:
    """What was asked for: equal runs may go on with each other's shards."""

    fingerprint: str
    modality: str
    dtype: str
    n_items: int
    items_digest: str
    shard_items: int
    on_error: str  # may change, as long as nothing was skipped
    frames: str | None = None  # how a video is looked at

    @property
    def n_shards(self) -> int:
        return -(-self.n_items // self.shard_items)


@dataclass
class Counts:
    """What became of the items so far."""

    n_rows: int = 0
    n_broken: int = 0
    n_before: int = 0  # items of shards that an earlier run finished
    seconds: float = 0.0


def embed(
    encoder: Any,
    items: Sequence[Item],
    output: str | os.PathLike[str],
    *,
    modality: str,
    dtype: str = "float16",
    batch_size: int = 32,
    shard_items: int = SHARD_ITEMS,
    on_error: str = "raise",
    device: Any = None,
    aligner: Any = None,
    on_progress: Callable[[int], None] = lambda n_items: None,
) -> Counts:
    """Embed items into `output`.

    Parameters
    ----------
    encoder : Encoder
    items : sequence of Item
        As `c3align.encoders._sources.gather` finds them.
    output : path
        ``img_emb/img_emb_000.npy`` and so on (``text_emb``, ``audio_emb``, ``video_emb``),
        ``metadata/metadata_000.parquet``, ``embed_image.json`` with the encoder's fingerprint, and
        ``broken_image.jsonl`` where items were skipped.
    dtype : "float16" or "float32"
    shard_items : int
        Items of a shard; a kill costs one shard at most.
    on_error : "raise" or "skip"
        Items that cannot be read are refused, or left out and listed.
    aligner : C3Aligner, optional
        Learns from the rows as they are written, of earlier runs too, so that no second pass is needed.
    on_progress : callable
        Is told of every batch's items.

    Returns
    -------
    Counts

    Raises
    ------
    C3AlignError
        A folder that holds another run, and what `encode` refuses.
    """
    digest = hashlib.sha256("\n".join(item.name for item in items).encode()).hexdigest()[:16]
    frames = _frames(encoder) if modality == "video" else None
    run = Run(encoder.fingerprint, modality, dtype, len(items), digest, shard_items, on_error, frames)
    tree = Tree(Path(output), modality)
    tree.begin(run)
    counts, begin = Counts(), time.monotonic()
    options = {"modality": modality, "dtype": dtype, "batch_size": batch_size, "device": device}
    with counting(encoder):
        _write_shards(tree, run, encoder, items, options, counts, aligner, on_progress)
    counts.n_broken = tree.finish(run)
    if aligner is not None:
        aligner.bind_encoder(encoder.fingerprint)
    counts.seconds = time.monotonic() - begin
    return counts


def _frames(encoder: Any) -> str | None:
    rate = getattr(encoder, "frame_rate", None)
    return f"{rate} a second" if rate else f"{getattr(encoder, 'n_frames', None)} of a video"


def _write_shards(
    tree: Tree,
    run: Run,
    encoder: Any,
    items: Sequence[Item],
    options: dict[str, Any],
    counts: Counts,
    aligner: Any,
    on_progress: Callable[[int], None],
) -> None:
    for shard in range(run.n_shards):
        first = shard * run.shard_items
        part = items[first : first + run.shard_items]
        if tree.is_whole(shard):
            counts.n_before += len(part)
            on_progress(len(part))
        else:
            sources = (item.source for item in part)
            stream = batches(encoder, sources, on_error=run.on_error, first_item=first, **options)
            tree.write(shard, first, part, _told(stream, on_progress), encoder.n_dims, run.dtype)
        rows = tree.rows(shard)
        counts.n_rows += len(rows)
        if aligner is not None and len(rows):
            aligner.partial_fit(rows, modality=run.modality)


def _told(stream: Iterator[Batch], on_progress: Callable[[int], None]) -> Iterator[Batch]:
    for batch in stream:
        yield batch
        on_progress(batch.n_items)


class Tree:
    """The files of one modality under a folder."""

    def __init__(self, folder: Path, modality: str) -> None:
        self.folder, self.modality = folder, modality
        self._short = FOLDERS.get(modality, modality)
        self.run_path = folder / f"embed_{modality}.json"

    def shard_path(self, shard: int) -> Path:
        return self.folder / f"{self._short}_emb" / f"{self._short}_emb_{shard:03d}.npy"

    def metadata_path(self, shard: int) -> Path:
        return self.folder / "metadata" / f"metadata_{shard:03d}.parquet"

    def broken_path(self, shard: int) -> Path:
        return self.folder / f"broken_{self.modality}" / f"broken_{shard:03d}.jsonl"

    def begin(self, run: Run) -> None:
        """Write down what is asked for, or see that it is what was asked for before."""
        if self.run_path.exists():
            before = json.loads(self.run_path.read_text())
            changed = [name for name, value in asdict(run).items() if before.get(name) != value]
            if changed == ["on_error"] and not any(self.folder.glob(f"broken_{self.modality}*")):
                self._write_down(run)  # nothing was skipped so far
            elif changed:
                what = ", ".join(f"{name} was {before.get(name)!r}, now {asdict(run)[name]!r}" for name in changed)
                raise C3AlignError(f"{self.folder} holds another run ({what}); go on as before, or pass another folder")
            for left in self.folder.rglob(f".*{SCRATCH}*"):  # of a run that was killed
                left.unlink()
            return
        others = sorted(self.folder.glob("embed_*.json"))
        if others:
            raise C3AlignError(f"{self.folder} holds {others[0].stem[6:]} embeddings; pass another folder")
        for made in (self.shard_path(0), self.metadata_path(0)):
            made.parent.mkdir(parents=True, exist_ok=True)
        self._write_down(run)

    def _write_down(self, run: Run) -> None:
        with replaced(self.run_path) as scratch:
            scratch.write_text(json.dumps(asdict(run), indent=1) + "\n")

    def is_whole(self, shard: int) -> bool:
        return self.metadata_path(shard).exists()

    def rows(self, shard: int) -> npt.NDArray[Any]:
        path = self.shard_path(shard)
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def write(
        self, shard: int, first: int, items: Sequence[Item], stream: Iterator[Batch], n_dims: int, dtype: str
    ) -> None:
        """Embed a shard and write it: rows, then what was broken, then the metadata that makes it whole."""
        parts, kept, broken = [np.empty((0, n_dims), dtype)], [], []
        for batch in stream:
            parts.append(batch.rows)
            kept += batch.kept
            broken += batch.broken
        rows = np.concatenate(parts)
        if np.isinf(rows).any():
            raise C3AlignError(f"the embeddings of shard {shard} do not fit in {dtype}; pass --dtype float32")
        with replaced(self.shard_path(shard)) as scratch, scratch.open("wb") as file:
            np.save(file, rows, allow_pickle=False)
        if broken:
            self.broken_path(shard).parent.mkdir(exist_ok=True)
            lines = [{"item": first + b.place, "name": items[b.place].name, "reason": b.reason} for b in broken]
            with replaced(self.broken_path(shard)) as scratch:
                scratch.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self._write_metadata(shard, first, items, kept)

    def _write_metadata(self, shard: int, first: int, items: Sequence[Item], kept: list[int]) -> None:
        pyarrow, parquet = need("pyarrow", "pyarrow"), need("pyarrow.parquet", "pyarrow")
        columns: dict[str, Any] = {"item": pyarrow.array([first + i for i in kept], pyarrow.int64())}
        if self.modality != "text":
            columns[f"{self.modality}_path"] = pyarrow.array([items[i].name for i in kept], pyarrow.string())
        columns["caption"] = pyarrow.array([items[i].caption for i in kept], pyarrow.string())
        with replaced(self.metadata_path(shard)) as scratch:
            parquet.write_table(pyarrow.table(columns), str(scratch))

    def finish(self, run: Run) -> int:
        """Put what was broken into one list; returns how many items that are."""
        paths = [self.broken_path(shard) for shard in range(run.n_shards)]
        lines = [line for path in paths if path.exists() for line in path.read_text().splitlines(keepends=True)]
        if lines:
            with replaced(self.folder / f"broken_{self.modality}.jsonl") as scratch:
                scratch.write_text("".join(lines))
        return len(lines)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A scratch file beside `path`, flushed and renamed over it at the end, removed on an error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{SCRATCH}")
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.chmod(0o644)
        os.replace(scratch, path)
        _flush_folder(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """So that the new name itself outlives a power cut, where the system lets folders be flushed."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
