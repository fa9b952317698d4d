"""Embeddings of a whole collection on disk, in shards (`c3align.io.shards`), written so that a kill costs little."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._arguments import check_choice, check_whole
from c3align._imports import need
from c3align.encoders.base import DTYPES, Batch, Broken, batches, counting
from c3align.encoders.binding import learning_from
from c3align.errors import C3AlignError
from c3align.io import atomic, earlier
from c3align.io.items import Item
from c3align.io.shards import Tree

__all__ = ["Counts", "embed"]

SHARD_ITEMS = 10_000
_TOGETHER = 64  # items whose digests are one task of a thread: small files cost less than handing them over


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

    @property
    def n_shards(self) -> int:
        return -(-self.n_items // self.shard_items)


@dataclass
class Counts:
    """How many items were embedded, skipped or broken so far.

    Parameters
    ----------
    n_rows, n_broken : int
        Items that were embedded, and that could not be.
    n_before : int
        Items that an earlier run embedded or found broken, unchanged since.
    n_changed : int
        Items embedded again, since their content, caption or id has changed.
    n_mended : int
        Items that were broken before.
    n_repaired : int
        Items embedded again, since the files of their shard were damaged.
    n_new, n_gone : int
        Where an earlier run had another list: items that it lacked, and items of it that are gone, with their rows.
    n_unseen : int
        How many of `n_before` lie behind URLs, which are not fetched to see whether they have changed.
    seconds : float
        Time that the run took.
    """

    n_rows: int = 0
    n_broken: int = 0
    n_before: int = 0
    n_changed: int = 0
    n_mended: int = 0
    n_repaired: int = 0
    n_new: int = 0
    n_gone: int = 0
    n_unseen: int = 0
    seconds: float = 0.0

    def _add(self, before: _Before, kept: Sequence[int], n_items: int) -> None:
        """What was found of a shard that was there; `kept` are the places embedded again."""
        if before.is_of_another_list:
            self.n_new += len(before.redo)
            self.n_before += n_items - len(before.redo)
            return
        n_mended = len(before.broken.intersection(kept))
        self.n_changed += len(before.changed)
        self.n_mended += n_mended
        self.n_unseen += before.n_unseen
        self.n_before += n_items - len(before.changed) - n_mended


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
    gone: str = "raise",
    device: Any = None,
    aligner: Any = None,
    on_progress: Callable[[int], None] = lambda n_items: None,
) -> Counts:
    """Embed items into `output`, or what has changed, is new, damaged, or no longer broken, since an earlier run did.

    Parameters
    ----------
    encoder : Encoder
        As `c3align.encoders.load` gives it.
    items : sequence of Item
        As `c3align.io.items.gather` finds them.
    output : path
        ``img_emb/img_emb_000.npy`` and so on (``text_emb``, ``audio_emb``, ``video_emb``),
        ``metadata/metadata_000.parquet``, ``embed_image.json`` with the fingerprint, ``broken_image.jsonl`` of skipped.
    modality : str
        What the items are: one of the encoder's modalities.
    dtype : "float16" or "float32"
        That of the rows on disk.
    batch_size, shard_items : int
        Numbers of items that the encoder gets at once, and per shard: an interruption costs at most one shard.
    on_error : "raise" or "skip"
        Whether items that cannot be read are refused, or skipped and listed.
    gone : "raise" or "drop"
        Whether items of an earlier run that are no longer there are refused, or their rows dropped.
    device : str or torch.device, optional
        Where the encoder computes.
    aligner : C3Aligner, optional
        Learns from the rows as they are written, of earlier runs too, so that no second pass is needed.
    on_progress : callable
        Called with the number of items of every batch.

    Returns
    -------
    Counts
        What became of the items.

    Raises
    ------
    C3AlignError
        A folder that holds another run, and what `encode` refuses.
    """
    check_choice("dtype", dtype, DTYPES)
    check_choice("gone", gone, ("raise", "drop"))
    check_whole("batch_size", batch_size)
    check_whole("shard_items", shard_items)
    need("pyarrow.parquet", "pyarrow")  # before the first shard is written without metadata
    digest = hashlib.sha256("\n".join(item.name for item in items).encode()).hexdigest()[:16]
    run = Run(encoder.fingerprint, modality, dtype, len(items), digest, shard_items, on_error)
    tree = Tree(output, modality)
    if tree.folder.is_file():
        raise C3AlignError(f"{output} is a file; pass the name of a folder")
    counts, begin = Counts(), time.monotonic()
    options = {"modality": modality, "dtype": dtype, "batch_size": batch_size, "device": device}
    learns = nullcontext() if aligner is None else learning_from(encoder, aligner)
    with learns, atomic.made(tree.folder), atomic.alone(tree.folder), counting(encoder):
        counts.n_gone = earlier.set_aside(tree, asdict(run), items, gone == "drop")
        tree.begin(asdict(run))
        _write_shards(tree, run, encoder, items, options, counts, aligner, on_progress)
        tree.write_down(asdict(run))
        counts.n_broken = tree.finish(run.n_shards)
        earlier.remove(tree)
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
    was_finished, known = tree.is_finished, earlier.Earlier(tree)
    for shard in range(run.n_shards):
        first = shard * run.shard_items
        part = items[first : first + run.shard_items]
        contents, before = _contents(part, run.modality), None
        if tree.is_whole(shard):
            try:
                before = _Before(tree, shard, first, part, contents, was_finished, run.on_error == "raise")
            except C3AlignError:  # what is damaged is as good as absent
                counts.n_repaired += len(part)
        elif known.trees:
            before = _OfAnotherList(known, contents)
        redo = list(range(len(part))) if before is None else before.redo
        on_progress(len(part) - len(redo))
        stream = batches(
            encoder,
            (_said(part[i], run.modality) for i in redo),
            on_error=run.on_error,
            numbers=[first + i for i in redo],
            **options,
        )
        found = list(_told(stream, on_progress))
        kept = [redo[i] for batch in found for i in batch.kept]
        broken = {redo[b.place]: b.reason for batch in found for b in batch.broken}
        rows = np.concatenate([np.empty((0, encoder.n_dims), run.dtype), *(batch.rows for batch in found)])
        if before is not None:
            counts._add(before, kept, len(part))
            kept, rows = before.with_rows(kept, rows)
        if before is None or before.is_of_another_list or before.changed or before.broken.intersection(kept):
            tree.write(shard, first, part, contents, kept, rows, broken)
        rows = tree.rows(shard)
        counts.n_rows += len(rows)
        if aligner is not None and len(rows):
            aligner.partial_fit(rows, modality=run.modality)


def _said(item: Item, modality: str) -> Any:
    """What the encoder takes; a text that says nothing is no item, but keeps its number."""
    if modality == "text" and item.is_blank:
        return Broken(0, item.name, "its text is blank")
    return item.read()


def _contents(part: Sequence[Item], modality: str) -> list[str | None]:
    """Digests of items, taken before they are read: one that changes in between is embedded again next time."""
    chunks = [part[i : i + _TOGETHER] for i in range(0, len(part), _TOGETHER)]
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda chunk: [item.digest(modality) for item in chunk], chunks)
        return [digest for digests in found for digest in digests]


class _Before:
    """A shard of an earlier run, and the places of its items that must be looked at again."""

    is_of_another_list = False

    def __init__(
        self,
        tree: Tree,
        shard: int,
        first: int,
        part: Sequence[Item],
        contents: list[str | None],
        was_finished: bool,
        is_strict: bool,
    ) -> None:
        known = {number - first: content for number, content in tree.contents(shard).items()}
        now = {i: (contents[i], part[i].caption, part[i].id) for i in known}
        same = {i for i in known if known[i] == now[i]}
        self.changed = {i for i in known if i not in same or contents[i] is None}
        self.broken = set(range(len(part))).difference(known)
        self.n_unseen = sum(contents[i] == "" for i in known)
        # a run that was cut off does not wait for dead links again
        again = self.changed or is_strict or was_finished or any(contents[i] != "" for i in self.broken)
        self.redo = sorted(self.changed | self.broken) if again else []
        self._places, self._rows = sorted(known), tree.rows(shard)

    def with_rows(self, places: list[int], rows: npt.NDArray[Any]) -> tuple[list[int], npt.NDArray[Any]]:
        """These rows and those that are as they were, in the order of the items."""
        stay = [k for k, i in enumerate(self._places) if i not in self.changed]
        known = self._rows[stay].reshape(-1, rows.shape[1]).astype(rows.dtype, copy=False)  # of none it is unknown
        together = np.array([*places, *(self._places[k] for k in stay)], np.int64)
        order = np.argsort(together)
        return together[order].tolist(), np.concatenate([rows, known])[order]


class _OfAnotherList(_Before):
    """Items of which an earlier run over another list has embedded some, wherever they stood in that."""

    is_of_another_list = True

    def __init__(self, known: earlier.Earlier, contents: list[str | None]) -> None:
        self.changed, self.broken, self.n_unseen = set(), set(), 0
        self._places = [i for i, content in enumerate(contents) if content and content in known.places]
        self.redo = sorted(set(range(len(contents))).difference(self._places))
        self._rows = known.rows([str(contents[i]) for i in self._places])


def _told(stream: Iterator[Batch], on_progress: Callable[[int], None]) -> Iterator[Batch]:
    for batch in stream:
        yield batch
        on_progress(batch.n_items)
