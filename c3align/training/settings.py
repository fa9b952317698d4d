"""How long, how fast and with what a decoder learns; and the checks of settings that decoders share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from c3align.errors import C3AlignError

__all__ = ["Training", "check_choice", "check_number", "check_seed", "check_whole"]

_CHOICES = {
    "schedule": ("linear", "constant", "cosine"),
    "optimizer": ("adamw", "adam"),
    "precision": ("float32", "bfloat16"),
}


def check_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """An integer between two bounds, as an int."""
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        bounds = f"of {least} or more" if most is None else f"in [{least}, {most}]"
        raise C3AlignError(f"{name} must be an integer {bounds}, got {value!r}")
    return int(value)


def check_seed(seed: Any) -> int:
    """A seed as an int."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**64:
        raise C3AlignError(f"seed must be an integer in [0, 2**64), got {seed!r}")
    return int(seed)


def check_number(name: str, value: Any, *, above: bool = False) -> float:
    """A finite number of 0 or more, or `above` 0, as it is."""
    is_real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_real or value < 0 or (above and not value):
        raise C3AlignError(f"{name} must be a finite number {'above 0' if above else 'of 0 or more'}, got {value!r}")
    return value


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """Refuse a value that is none of the known ones."""
    if value not in known:
        raise C3AlignError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


@dataclass(frozen=True)
class Training:
    """How long, how fast and with what a decoder learns.

    Parameters
    ----------
    epochs : int
    batch_size : int
        Rows of one step, over all processes and pieces: the same training for any number of them.
    lr : float
        Largest learning rate.
    schedule : "linear", "constant" or "cosine"
        After the warm-up: a straight line to zero at the last step, no change, or half a cosine to zero. "cosine"
        starts from a tenth of `lr`, the others from zero.
    warmup : int or float
        Steps in which the learning rate rises, or their share of all steps.
    optimizer : "adamw" or "adam"
    weight_decay : float
        For AdamW.
    max_grad_norm : float or None
        Gradients are clipped to it.
    accumulate : int
        Pieces that a batch is computed in, for less memory.
    precision : "float32" or "bfloat16"
        Precision of the arithmetic; weights stay as they are.
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
            if not (name == "checkpoint_every" and value is None):
                object.__setattr__(self, name, check_whole(name, value))
        for name, known in _CHOICES.items():
            check_choice(name, getattr(self, name), known)
        for name in ("lr", "warmup", "weight_decay", "max_grad_norm", "validation"):
            value = getattr(self, name)
            if not (name == "max_grad_norm" and value is None):
                check_number(name, value)
        if self.validation >= 1:
            raise C3AlignError(f"validation must be a share below 1, got {self.validation!r}")

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
            raise C3AlignError(f"unknown training setting {unknown!r}; pass some of {', '.join(known)}")
        return replace(self, **changes)

    def lr_at(self, step: int, n_steps: int) -> float:
        """Learning rate of a step, the first being 0."""
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
