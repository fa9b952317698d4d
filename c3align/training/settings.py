"""Settings of training."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

from c3align._arguments import check_choice, check_number, check_whole, shown
from c3align.errors import C3AlignError

__all__ = ["Training", "check_number", "check_whole"]

_CHOICES = {
    "schedule": ("linear", "constant", "cosine"),
    "optimizer": ("adamw", "adam"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class Training:
    """How long, how fast and by what optimizer a decoder is trained.

    Parameters
    ----------
    epochs : int
        Number of passes over the rows.
    batch_size : int
        Number of rows per step, over all processes and pieces, whose number does not change the training.
    lr : float
        Largest learning rate.
    schedule : "linear", "constant" or "cosine"
        After the warm-up: linear to zero at the last step, constant, or half a cosine to zero. "cosine" warms
        up from a tenth of `lr`, the others from ``lr / (n + 1)``, n being the steps of warm-up.
    warmup : int or float in [0, 1]
        Number of steps in which the learning rate rises, an integer, or their share of all steps, a float.
    optimizer : "adamw" or "adam"
        Optimizer of torch.
    weight_decay : float
        Weight decay of AdamW.
    max_grad_norm : float or None
        Largest norm of the gradient; None does not clip.
    accumulate : int
        Number of pieces that a batch is computed in, to save memory.
    precision : "float32" or "bfloat16"
        Precision of the arithmetic; weights keep theirs.
    checkpoint_every : int or None
        Steps between checkpoints; None writes one after every epoch.
    validation : float in [0, 1)
        Share of the rows that is held out; the weights with the smallest loss on it are kept. This needs no other
        modality.
    """

    epochs: int = 10
    batch_size: int = 40
    lr: float = 2e-5
    schedule: str = "linear"
    warmup: float = 0.05
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    max_grad_norm: float | None = None
    accumulate: int = 1
    precision: str = "float32"
    checkpoint_every: int | None = None
    validation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "checkpoint_every"):
            value = getattr(self, name)
            if not (name == "checkpoint_every" and value is None):
                object.__setattr__(self, name, check_whole(name, value))
        for name, known in _CHOICES.items():
            check_choice(name, getattr(self, name), known)
        for name in ("lr", "warmup", "weight_decay", "max_grad_norm", "validation"):
            value = getattr(self, name)
            if not (name == "max_grad_norm" and value is None):
                check_number(name, value)
        object.__setattr__(self, "warmup", _steps_or_share(self.warmup))
        if self.validation >= 1:
            raise C3AlignError(f"validation must be a share below 1, got {self.validation!r}")

    def changed(self, changes: dict[str, Any]) -> Training:
        """Copy these settings with some of them changed.

        Parameters
        ----------
        changes : dict
            New values by the names of the settings.

        Returns
        -------
        Training
            The copy.

        Raises
        ------
        C3AlignError
            An unknown setting, or one out of range.
        """
        known = [found.name for found in fields(self)]
        unknown = next((name for name in changes if name not in known), None)
        if unknown is not None:
            raise C3AlignError(f"unknown training setting {unknown!r}; pass some of {', '.join(known)}")
        return replace(self, **changes)

    def lr_at(self, step: int, n_steps: int) -> float:
        """Compute the learning rate of a step.

        Parameters
        ----------
        step, n_steps : int
            The step, from 0, and the number of all steps.

        Returns
        -------
        float
            At most `lr`.
        """
        if self.schedule == "cosine":
            return self._cosine_at(step, n_steps)
        warmup = self.warmup if isinstance(self.warmup, int) else self.warmup * n_steps
        if step < warmup:
            return self.lr * (step + 1) / (math.floor(warmup) + 1)
        if self.schedule == "constant":
            return self.lr
        return self.lr * (n_steps - step) / max(1.0, n_steps - warmup)

    def _cosine_at(self, step: int, n_steps: int) -> float:
        n_batches = n_steps // self.epochs
        epoch, batch = divmod(step, n_batches)
        done = (epoch + batch / n_batches) / self.epochs
        warmup = self.warmup / n_steps if isinstance(self.warmup, int) else self.warmup
        if done < warmup:
            return self.lr * (0.1 + 0.9 * done / warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def _steps_or_share(warmup: Any) -> int | float:
    """Steps as an int, or a share of all steps as a float, whatever kind of number they came as."""
    if isinstance(warmup, Integral):
        return int(warmup)
    if warmup > 1:
        raise C3AlignError(
            f"warmup must be an integer number of steps, or a share of at most 1, got {shown(warmup)}; pass "
            f"{math.ceil(warmup)} if these are steps"
        )
    return float(warmup)
