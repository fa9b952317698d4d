"""What a captioner learns from: noisy rows, the neighbours they find with their noise, and words, batch by batch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from c3align._typing import Int64Array
from c3align.decoders.prefix.tokens import Tokens
from c3align.decoders.retrieval import Memory
from c3align.errors import C3AlignError, counted
from c3align.training.rows import TrainingRows, digest_of, seed_of

WINDOW = 32  # batches that are prepared together
HELD_OUT = 5  # purpose of a seed
IGNORED = -100  # a token that is read and not predicted
WHOLE = (0, 1, 1)  # rank, processes, pieces


class Batch(NamedTuple):
    """Rows of one step, or this process's and this piece's share of them."""

    numbers: Int64Array  # (n,) rows of the training set
    rows: npt.NDArray[np.float32]  # (n, n_dims)
    neighbours: npt.NDArray[np.float32] | None  # (n, n_neighbours, n_dims)
    tokens: Int64Array  # (n, longest)
    targets: Int64Array  # (n, longest); `IGNORED` is read and not predicted


@dataclass(frozen=True)
class Retrieval:
    """How neighbours are found for rows and shown to a language model."""

    memory: Memory
    k: int
    as_captions: bool  # as words before the caption, else as rows in the prefix
    tokens: Tokens  # of the memory's texts
    limit: int  # tokens of a prompt; what is further is cut

    def of(
        self, rows: npt.NDArray[np.float32], own: Int64Array | None = None
    ) -> tuple[npt.NDArray[np.float32] | None, Tokens | None]:
        """Neighbouring rows (n, k, n_dims), zeros where there is none, or their words joined."""
        places = self.memory.nearest(rows, self.k, own)[1]
        if self.as_captions:
            return None, self.tokens.joined(places, self.limit)
        return self.memory.at(places), None


@dataclass(frozen=True)
class CaptionTask:
    """Batches of rows and captions, for one of several processes, in pieces whose gradients are added up."""

    source: TrainingRows
    tokens: Tokens  # of the captions
    kept: npt.NDArray[np.bool_]  # (n_rows,): the rows that are used
    batch_size: int  # rows of one step over all processes and pieces
    retrieval: Retrieval | None = None
    groups: Int64Array | None = None  # (n_rows,): which texts of the memory are a row's own
    lora: dict[str, Any] | None = None  # how the network uses its LoRA, which its weights do not say

    name: ClassVar[str] = "PrefixCaptioner"
    unit: ClassVar[str] = "tokens"
    is_mean: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.source)

    def check_length(self, lm: Any, prefix_length: int) -> None:
        """Refuse captions that are too long for a language model, behind their prefix and neighbours."""
        limit = getattr(lm.config.get_text_config(), "max_position_embeddings", None)
        near = self.retrieval
        extra = 0 if near is None else near.limit + 1 if near.as_captions else near.k
        needed = prefix_length + extra + int(self.tokens.lengths.max())
        if limit is not None and needed > limit:
            raise C3AlignError(
                f"prefix, neighbours and captions need {needed} places and the language model has {limit}; shorten the "
                "captions, lower prefix_length or n_neighbours, or take another model"
            )

    def held_out(self, share: float, seed: int) -> CaptionTask | None:
        """The task of a share of the rows, which this one then leaves out; None for no share."""
        n_rows = math.ceil(share * len(self))
        if n_rows == len(self):
            raise C3AlignError(f"validation={share} holds out all of {counted(n_rows, 'row')}; pass more, or 0")
        self.kept[np.random.default_rng(seed_of(seed, HELD_OUT)).permutation(len(self))[:n_rows]] = False
        return replace(self, kept=~self.kept) if n_rows else None

    @property
    def n_batches(self) -> int:
        """Steps of an epoch."""
        return self.source.n_batches(self.batch_size, self.kept)

    def identity(self) -> dict[str, Any]:
        """What tells these rows, captions and neighbours from others; all of them are read."""
        data = [self.source.digest(), digest_of(self.tokens.flat), digest_of(self.tokens.starts)]
        memory = None
        if self.retrieval is not None:
            found = self.retrieval.memory
            texts = hashlib.sha256(json.dumps(found.texts).encode()).hexdigest()
            shown = [self.retrieval.k, self.retrieval.as_captions, self.retrieval.limit]
            searched = [] if found.index is None else [found.index]
            memory = [*shown, *searched, texts, *map(digest_of, found.rows.parts)]
        lora = {} if self.lora is None else {"lora": self.lora}
        return {"rows and captions": data, "memory": memory, **lora}

    def loss(self, network: Any, piece: Batch, device: Any) -> Any:
        """Sum of the cross-entropies of a piece, in nats."""
        import torch

        values = (piece.rows, piece.neighbours, piece.tokens, piece.targets)
        return network(*(None if value is None else torch.from_numpy(value).to(device) for value in values))

    def epoch(
        self, epoch: int, skip: int = 0, share: tuple[int, int, int] = WHOLE
    ) -> Iterator[tuple[int, list[Batch]]]:
        """Tokens of the whole batch, and this process's pieces, for every step after the first `skip`."""
        for batches, first, block in self.source.blocks(epoch, self.batch_size, self.kept):
            for start in range(0, len(batches), WINDOW):
                window = batches[start : start + WINDOW]
                todo, skip = window[skip:], max(0, skip - len(window))
                if todo:
                    made = self._made([_shared(batch, *share) for batch in todo], first, block)
                    yield from ((int(self.tokens.lengths[batch].sum()), pieces) for batch, pieces in zip(todo, made))

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
                words, targets = _with_prompts(self.tokens, piece, prompts, places)
                targets = targets if learns else np.full_like(targets, IGNORED)
                shown = None if near is None else near[places]
                pieces.append(Batch(piece, block[piece - first], shown, words, targets))
                at += len(piece)
            yield pieces


def _shared(batch: Int64Array, rank: int, n_processes: int, n_pieces: int) -> list[tuple[Int64Array, bool]]:
    """Row numbers of a process's pieces. One without rows reads the first one, and learns nothing from it."""
    own = batch[rank::n_processes]
    if not len(own):
        return [(batch[:1], False)]
    return [(piece, True) for piece in np.array_split(own, n_pieces) if len(piece)]


def _with_prompts(
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
