"""Embeddings of a whole collection on disk, in shards (`c3align.io.shards`), written so that a kill costs little."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from c3align._imports import need
from c3align.encoders.base import DTYPES, Batch, batches, counting
from c3align.io.items import Item
from c3align.io.shards import Tree
from c3align.training.settings import check_choice, check_whole

__all__ = ["Run", "embed"]

SHARD_ITEMS = 10_000


@dataclass(frozen=True)
class Run:
    """The settings of a run; runs with equal settings resume each other's shards."""

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
    """How many items were embedded, skipped or broken so far."""

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
        As `c3align.io.items.gather` finds them.
    output : path
        ``img_emb/img_emb_000.npy`` and so on (``text_emb``, ``audio_emb``, ``video_emb``),
        ``metadata/metadata_000.parquet``, ``embed_image.json`` with the encoder's fingerprint, and
        ``broken_image.jsonl`` where items were skipped.
    dtype : "float16" or "float32"
    shard_items : int
        Number of items per shard; an interruption costs at most one shard.
    on_error : "raise" or "skip"
        Whether items that cannot be read are refused, or skipped and listed.
    aligner : C3Aligner, optional
        Learns from the rows as they are written, of earlier runs too, so that no second pass is needed.
    on_progress : callable
        Called with the number of items of every batch.

    Returns
    -------
    Counts

    Raises
    ------
    C3AlignError
        A folder that holds another run, and what `encode` refuses.
    """
    check_choice("dtype", dtype, DTYPES)
    check_whole("batch_size", batch_size)
    check_whole("shard_items", shard_items)
    need("pyarrow.parquet", "pyarrow")  # before the first shard is written without metadata
    digest = hashlib.sha256("\n".join(item.name for item in items).encode()).hexdigest()[:16]
    rate, frames = getattr(encoder, "frame_rate", None), None
    if modality == "video":
        frames = f"{rate} a second" if rate else f"{getattr(encoder, 'n_frames', None)} of a video"
    run = Run(encoder.fingerprint, modality, dtype, len(items), digest, shard_items, on_error, frames)
    tree = Tree(output, modality)
    tree.begin(asdict(run))
    counts, begin = Counts(), time.monotonic()
    options = {"modality": modality, "dtype": dtype, "batch_size": batch_size, "device": device}
    with counting(encoder):
        _write_shards(tree, run, encoder, items, options, counts, aligner, on_progress)
    counts.n_broken = tree.finish(run.n_shards)
    if aligner is not None:
        aligner.bind_encoder(encoder.fingerprint)
    counts.seconds = time.monotonic() - begin
    return counts


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
            sources = (item.read() for item in part)
            stream = batches(encoder, sources, on_error=run.on_error, first_item=first, **options)
            empty = np.empty((0, encoder.n_dims), run.dtype)
            tree.write(shard, first, part, _told(stream, on_progress), empty)
        rows = tree.rows(shard)
        counts.n_rows += len(rows)
        if aligner is not None and len(rows):
            aligner.partial_fit(rows, modality=run.modality)


def _told(stream: Iterator[Batch], on_progress: Callable[[int], None]) -> Iterator[Batch]:
    for batch in stream:
        yield batch
        on_progress(batch.n_items)
