"""Captions as tokens, made once: flat arrays, from which batches are cut without Python per word."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._typing import Int64Array
from c3align.errors import TruncationWarning

_TEXTS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Tokens:
    """Token ids of many texts, one after the other, each ending with the end-of-text token."""

    flat: npt.NDArray[np.int32]  # (n_tokens,)
    starts: Int64Array  # (n_texts + 1,)
    n_cut: int = 0  # texts that were longer

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: Any, eos: int) -> Tokens:
        """Tokenize; no text keeps more than mean + 10 standard deviations of the lengths (paper's code)."""
        pieces: list[npt.NDArray[np.int32]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = list(texts[start : start + _TEXTS_AT_ONCE])
            found = tokenizer(part, add_special_tokens=False, return_attention_mask=False)["input_ids"]
            pieces += [np.asarray(ids, np.int32) for ids in found]
        lengths = np.array([len(piece) for piece in pieces], np.int64)
        max_tokens = max(1, int(lengths.mean() + 10 * lengths.std()))
        end = np.array([eos], np.int32)
        flat = [part for piece in pieces for part in (piece[:max_tokens], end)]
        starts = np.concatenate([[0], np.cumsum(np.minimum(lengths, max_tokens) + 1)])
        return cls(np.concatenate(flat), starts, int((lengths > max_tokens).sum()))

    def warn_of_cuts(self) -> None:
        """Say how many captions were cut, to the caller of `fit`."""
        if self.n_cut:
            warnings.warn(
                f"{self.n_cut} of {len(self)} captions are far longer than the others and were cut to "
                f"{self.lengths.max() - 1} tokens; shorten or remove them if their ends matter",
                TruncationWarning,
                stacklevel=4,
            )

    def warn_of_little_learned(self, loss: float, lr: float) -> None:
        """Say that a loss, in nats a token, is no smaller than what the words' frequencies alone give."""
        shares = np.unique(self.flat, return_counts=True)[1] / len(self.flat)
        guessed = -float(shares @ np.log(shares))
        if loss > guessed:
            warnings.warn(
                f"hardly anything was learned: the loss is {loss:.2f} nats a token in the last epoch, and the "
                f"frequencies of the captions' words alone give {guessed:.2f}; raise lr= (it was {lr:g}: 2e-5 suits a "
                "model that was trained before, 3e-3 one of small_lm) or epochs=",
                stacklevel=4,
            )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Int64Array:
        """Tokens of each text (n_texts,), the end included."""
        return np.diff(self.starts)

    def joined(self, numbers: Int64Array, limit: int) -> Tokens:
        """The texts of each row of `numbers` (n, k) in a row, cut to a limit; a negative number is no text."""
        lengths = np.where(numbers < 0, 0, self.lengths[numbers])
        room = np.maximum(limit - (np.cumsum(lengths, axis=1) - lengths), 0)
        kept = np.minimum(lengths, room)
        flat = self.flat[_ranges(self.starts[numbers].ravel(), kept.ravel())]
        return Tokens(flat, np.concatenate([[0], np.cumsum(kept.sum(axis=1))]))

    def limit(self, k: int) -> int:
        """Tokens that k of the texts together hardly exceed: four standard deviations beyond their mean."""
        mean, spread = k * float(self.lengths.mean()), float(self.lengths.std()) * k**0.5
        return int(min(np.ceil(mean + 4 * spread), k * self.lengths.max()))

    def of_texts(self, numbers: Int64Array) -> npt.NDArray[np.int32]:
        """The tokens of some texts, one after the other."""
        return self.flat[_ranges(self.starts[numbers], self.lengths[numbers])]


def _ranges(starts: Int64Array, lengths: Int64Array) -> Int64Array:
    """starts[0], starts[0] + 1, ... for each length, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
