"""What a captioner learns from: rows with fresh noise, the neighbours they find with it, and words, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from c3align._typing import Int64Array
from c3align.decoders._rows import TrainingRows
from c3align.decoders._tokens import Tokens

if TYPE_CHECKING:
    from c3align.decoders._memory import Memory

__all__ = ["Batch", "CaptionRows", "Retrieval", "seed_of"]

WINDOW = 32  # batches that are prepared together
IGNORED = -100


def seed_of(seed: int, *what: int) -> int:
    """A seed for one purpose out of many: a function of all the numbers, 64 bits."""
    return int(np.random.SeedSequence([seed, *what]).generate_state(1, np.uint64)[0])


class Batch(NamedTuple):
    """Rows of one step, or this process's and this piece's share of them.

    numbers : (n,) rows of the training set; rows : (n, n_dims) float32
    neighbours : (n, n_neighbours, n_dims) float32, or None
    tokens, targets : (n, longest) int64; -100 in `targets` is read and not predicted
    """

    numbers: Int64Array
    rows: npt.NDArray[np.float32]
    neighbours: npt.NDArray[np.float32] | None
    tokens: Int64Array
    targets: Int64Array


@dataclass(frozen=True)
class Retrieval:
    """How neighbours are found for rows and shown to a language model.

    Attributes
    ----------
    memory : Memory
    k : int
    as_captions : bool
        As words before the caption, else as rows in the prefix.
    tokens : Tokens of the memory's texts
    limit : int
        Tokens of a prompt; what is further is cut.
    """

    memory: Memory
    k: int
    as_captions: bool
    tokens: Tokens
    limit: int

    def of(
        self, rows: npt.NDArray[np.float32], own: Int64Array | None = None
    ) -> tuple[npt.NDArray[np.float32] | None, Tokens | None]:
        """Neighbouring rows (n, k, n_dims), zeros where there is none, or their words joined."""
        places = self.memory.nearest(rows, self.k, own)[1]
        if self.as_captions:
            return None, self.tokens.joined(places, self.limit)
        found = np.asarray(self.memory.rows[np.maximum(places, 0)])
        return np.where(places[:, :, None] < 0, np.float32(0), found), None


@dataclass(frozen=True)
class CaptionRows(TrainingRows):
    """Rows and their captions; order, noise and neighbours are functions of seed, epoch and row number."""

    def aligned(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """All rows without noise, block by block."""
        for start in self._starts():
            part = slice(start, self._stop(start))
            block = self.rows.take(part).widened().astype(np.float32, copy=False)
            if self.aligner is not None:
                block = np.asarray(self.aligner.transform(block, modality=self.modality), np.float32)
            yield part, block

    def windows(
        self, epoch: int, kept: npt.NDArray[np.bool_], batch_size: int
    ) -> Iterator[tuple[list[Int64Array], int, npt.NDArray[np.float32]]]:
        """Some batches of row numbers, the first row of the noisy block that they lie in, and the block."""
        rng = np.random.default_rng([self.seed, epoch])
        for start in rng.permutation(np.array(self._starts())).tolist():
            part = slice(start, self._stop(start))
            numbers = start + rng.permutation(np.flatnonzero(kept[part]))
            # not sorted by length: batches of equal lengths spare padding and learn far worse (word F1 .36, not .46)
            batches = [numbers[first : first + batch_size] for first in range(0, len(numbers), batch_size)]
            block = self._corrupted(part, epoch)
            for first in range(0, len(batches), WINDOW):
                yield batches[first : first + WINDOW], start, block


@dataclass(frozen=True)
class Feed:
    """Batches of an epoch, for one of several processes, in pieces whose gradients are added up.

    Attributes
    ----------
    source : CaptionRows
    tokens : Tokens of the captions
    kept : (n_rows,) bool, the rows that are used
    batch_size : int, rows of one step over all processes and pieces
    retrieval : Retrieval or None; groups : (n_rows,) int64, which texts of its memory are a row's own
    n_pieces, rank, n_processes : int
    """

    source: CaptionRows
    tokens: Tokens
    kept: npt.NDArray[np.bool_]
    batch_size: int
    retrieval: Retrieval | None = None
    groups: Int64Array | None = None
    n_pieces: int = 1
    rank: int = 0
    n_processes: int = 1

    def changed(self, **changes: Any) -> Feed:
        """With some attributes changed."""
        return replace(self, **changes)

    @property
    def n_batches(self) -> int:
        """Of an epoch."""
        blocks = [slice(start, self.source._stop(start)) for start in self.source._starts()]
        return sum(-(-int(self.kept[block].sum()) // self.batch_size) for block in blocks)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[int, list[Batch]]]:
        """Tokens of the whole batch, and the pieces of this process, for every step after the first `skip`."""
        for batches, first, block in self.source.windows(epoch, self.kept, self.batch_size):
            todo, skip = batches[skip:], max(0, skip - len(batches))
            if todo:
                made = self._made([self._share(batch) for batch in todo], first, block)
                yield from ((int(self.tokens.lengths[batch].sum()), pieces) for batch, pieces in zip(todo, made))

    def _share(self, batch: Int64Array) -> list[tuple[Int64Array, bool]]:
        """Row numbers of this process's pieces. One without rows reads the first one, and learns nothing from it."""
        own = batch[self.rank :: self.n_processes]
        if not len(own):
            return [(batch[:1], False)]
        return [(piece, True) for piece in np.array_split(own, self.n_pieces) if len(piece)]

    def _made(
        self, shares: list[list[tuple[Int64Array, bool]]], first: int, block: npt.NDArray[np.float32]
    ) -> Iterator[list[Batch]]:
        """The pieces with all that belongs to them; neighbours are searched for all of them together."""
        numbers = np.concatenate([piece for share in shares for piece, _ in share])
        near, prompts = None, None
        if self.retrieval is not None:
            own = None if self.groups is None else self.groups[numbers]
            near, prompts = self.retrieval.of(block[numbers - first], own)
        at = 0
        for share in shares:
            pieces = []
            for piece, learns in share:
                places = np.arange(at, at + len(piece))
                words, targets = with_prompts(self.tokens, piece, prompts, places)
                targets = targets if learns else np.full_like(targets, IGNORED)
                pieces.append(
                    Batch(piece, block[piece - first], None if near is None else near[places], words, targets)
                )
                at += len(piece)
            yield pieces


def with_prompts(
    tokens: Tokens, numbers: Int64Array, prompts: Tokens | None, places: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Tokens and targets (n, longest) of captions, each behind the prompt at its place."""
    lengths = tokens.lengths[numbers]
    before = np.zeros(len(numbers), np.int64) if prompts is None else prompts.lengths[places]
    columns = np.arange(int((before + lengths).max()))
    words = np.zeros((len(numbers), len(columns)), np.int64)
    if prompts is not None:
        words[columns < before[:, None]] = prompts.of_texts(places)
    is_caption = (columns >= before[:, None]) & (columns < (before + lengths)[:, None])
    words[is_caption] = tokens.of_texts(numbers)
    return words, np.where(is_caption, words, IGNORED)
