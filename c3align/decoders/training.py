"""How long, how fast and with what a captioner learns."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, fields, replace
from typing import Any

from c3align.errors import C3AlignError

__all__ = ["Training"]

_CHOICES = {"schedule": ("linear", "constant"), "optimizer": ("adamw", "adam"), "precision": ("float32", "bfloat16")}


@dataclass(frozen=True)
class Training:
    """How long, how fast and with what a captioner learns.

    Parameters
    ----------
    epochs : int
    batch_size : int
        Rows of one step, over all processes and pieces: the same training for any number of them.
    lr : float
        Largest learning rate.
    schedule : "linear" or "constant"
        Linear falls to zero at the last step.
    warmup : int or float
        Steps in which the learning rate rises, or their share of all steps.
    optimizer : "adamw" or "adam"
    weight_decay : float
        Of AdamW.
    max_grad_norm : float or None
        Gradients are clipped to it.
    accumulate : int
        Pieces that a batch is computed in, for less memory.
    precision : "float32" or "bfloat16"
        Of the arithmetic; weights stay as they are.
    checkpoint_every : int or None
        Steps between checkpoints; None writes one after every epoch.
    validation : float in [0, 1)
        Share of the rows that is held out; the weights with the smallest loss on it are kept, and no other modality
        is needed for that.
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
            if not (_is_count(value) or (name == "checkpoint_every" and value is None)):
                raise C3AlignError(f"{name}={value!r} cannot be; pass an integer of 1 or more")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise C3AlignError(
                    f"{name}={getattr(self, name)!r} is unknown; pass one of {', '.join(map(repr, known))}"
                )
        for name in ("lr", "warmup", "weight_decay", "max_grad_norm", "validation"):
            value = getattr(self, name)
            if not (_is_number(value) or (name == "max_grad_norm" and value is None)):
                raise C3AlignError(f"{name}={value!r} cannot be; pass a finite number of 0 or more")
        if self.validation >= 1:
            raise C3AlignError(f"validation={self.validation!r} leaves nothing to learn from; pass a share below 1")

    def changed(self, changes: dict[str, Any]) -> Training:
        """These settings with some of them changed.

        Raises
        ------
        C3AlignError
            A setting that is unknown, or cannot be.
        """
        known = [found.name for found in fields(self)]
        unknown = next((name for name in changes if name not in known), None)
        if unknown is not None:
            raise C3AlignError(f"training knows no {unknown!r}; pass some of {', '.join(known)}")
        return replace(self, **changes)

    def lr_at(self, step: int, n_steps: int) -> float:
        """Learning rate of a step, the first being 0."""
        warmup = self.warmup if isinstance(self.warmup, int) else self.warmup * n_steps
        if step < warmup:
            return self.lr * (step + 1) / (math.floor(warmup) + 1)
        if self.schedule == "constant":
            return self.lr
        return self.lr * (n_steps - step) / max(1.0, n_steps - warmup)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(float(value)) and float(value) >= 0
