"""Text-only training in transformers' own `Trainer`: fresh noise each epoch, and the same again in a resumed run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, default_data_collator

from c3align import centering
from c3align._arguments import check_seed, check_whole
from c3align.errors import C3AlignError
from c3align.training.rows import seed_of

__all__ = ["CorruptedCollator", "NoiseOfEpoch"]

_KEEP = "remove_unused_columns=False"


class CorruptedCollator:
    """Collate examples whose rows are aligned and made noisy: what a head learns from, in place of another modality.

    The noise is a function of seed, epoch and each example's own number: the same for any batch size, order, number of
    workers and processes, and after a resumption. Examples without a number (evaluation) are aligned, without noise.

    Parameters
    ----------
    aligner : C3Aligner
        A fitted aligner.
    modality : str
        Modality of the rows.
    rows, number : str
        What an example calls its raw row (n_dims,), and its number in the training set. The batch has "rows", too.
    seed : int >= 0
        Seed of the noise.
    rest : callable, optional
        Collates the other entries of the examples; by default `transformers.default_data_collator`.
    """

    def __init__(
        self,
        aligner: Any,
        *,
        modality: str = "text",
        rows: str = "rows",
        number: str = "number",
        seed: int = 0,
        rest: Callable[[list[dict[str, Any]]], Mapping[str, Any]] | None = None,
    ) -> None:
        centering.state_of(aligner, modality)
        self.aligner, self.modality, self.rows, self.number = aligner, modality, rows, number
        self.seed, self.rest = check_seed(seed), default_data_collator if rest is None else rest
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._n_noisy = torch.zeros((), dtype=torch.int64)  # batches
        for seen in (self._epoch, self._n_noisy):
            seen.share_memory_()  # type: ignore[no-untyped-call]  # workers that live on see it too

    def set_epoch(self, epoch: int) -> None:
        """Draw the noise of another epoch from now on.

        Parameters
        ----------
        epoch : int >= 0
            Its number.
        """
        self._epoch.fill_(check_whole("epoch", epoch, 0))

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make a batch of examples.

        Parameters
        ----------
        examples : sequence of mappings
            Each with a row and, where it is to be noisy, a number.

        Returns
        -------
        dict
            "rows" (n, n_dims) float32, and what `rest` makes of the other entries.
        """
        if not examples:
            raise C3AlignError("a batch needs an example; leave out batches without one")
        if any(self.rows not in example for example in examples):
            raise C3AlignError(f"every example must have {self.rows!r}; name its key, and give the Trainer {_KEEP}")
        numbers = [example[self.number] for example in examples if self.number in example]
        if len(numbers) not in (0, len(examples)):
            raise C3AlignError(f"all examples of a batch or none must have {self.number!r}; number all to be noisy")
        rows = np.stack([np.asarray(example[self.rows], np.float32) for example in examples])
        if numbers:
            seed = seed_of(self.seed, int(self._epoch))
            found = self.aligner.corrupt(rows, modality=self.modality, seed=seed, row_ids=np.array(numbers))
            self._n_noisy += 1
        else:
            if not self._n_noisy:
                said = f"no example had {self.number!r} yet, so none is noisy"
                warnings.warn(
                    f"{said}; give those to learn from one, and the Trainer {_KEEP}", UserWarning, stacklevel=2
                )
            found = self.aligner.transform(rows, modality=self.modality)
        others = [{k: v for k, v in example.items() if k not in (self.rows, self.number)} for example in examples]
        return {**(self.rest(others) if any(others) else {}), self.rows: torch.from_numpy(np.ascontiguousarray(found))}


class NoiseOfEpoch(TrainerCallback):
    """Tell a `CorruptedCollator` the epoch, which the `Trainer` knows, after a resumption too.

    The trainer needs ``remove_unused_columns=False``, as its model does not take an example's number.

    Parameters
    ----------
    collator : CorruptedCollator
        The one that is given to the `Trainer` as its `data_collator`.
    """

    def __init__(self, collator: CorruptedCollator) -> None:
        self.collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """See `transformers.TrainerCallback.on_epoch_begin`.

        Parameters
        ----------
        args, state, control, **_ : optional
            The trainer's.
        """
        self.collator.set_epoch(int(state.epoch + 1e-6))
