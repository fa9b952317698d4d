"""How a captioner learns: one step is a function of the weights, the optimizer's state and the step's number.

accelerate and a small loop, and not the Trainer of transformers: its checkpoints are pickles, and noise, neighbours
and order would have to pass through its data loader.
"""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from c3align._imports import need
from c3align.decoders import _saved
from c3align.decoders._caption_rows import Batch, Feed, seed_of
from c3align.errors import C3AlignError

__all__ = ["CaptionTraining", "Training"]

VALIDATION_EPOCH = 2**32 - 1  # its noise is the same every time, and no training epoch's
DROPOUT = 1  # purpose of a seed


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

    def lr_at(self, step: int, n_steps: int) -> float:
        """Learning rate of a step, the first being 0."""
        warmup = self.warmup if isinstance(self.warmup, int) else self.warmup * n_steps
        if step < warmup:
            return self.lr * (step + 1) / (math.floor(warmup) + 1)
        if self.schedule == "constant":
            return self.lr
        return self.lr * (n_steps - step) / max(1.0, n_steps - warmup)


_CHOICES = {"schedule": ("linear", "constant"), "optimizer": ("adamw", "adam"), "precision": ("float32", "bfloat16")}
SETTINGS = tuple(found.name for found in fields(Training))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(float(value)) and float(value) >= 0


@dataclass
class CaptionTraining:
    """A network, its optimizer, and how far they are.

    Attributes
    ----------
    model : PrefixModel
    feed, validation : Feed of the rows to learn from, and of those held out or None
    settings : Training
    seed : int
    checkpoint : path of a .safetensors file, or None
    progress : bool
    losses, validation_losses : list of float
        Nats per token, of each finished epoch.
    """

    model: Any
    feed: Feed
    validation: Feed | None
    settings: Training
    seed: int
    checkpoint: Path | None
    progress: bool
    step: int = 0
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    tokens_per_second: float = 0.0

    def __post_init__(self) -> None:
        self._torch = need("torch", "torch", "captions")
        self._accelerator = accelerator(self.settings.precision)
        self._best: dict[str, Any] = {}
        self._sums = [0.0, 0.0]  # loss and tokens of the epoch so far
        self._identity = self._describe() if self.checkpoint is not None else {}
        self._network = self._accelerator.prepare(self.model)
        kind = {"adamw": self._torch.optim.AdamW, "adam": self._torch.optim.Adam}[self.settings.optimizer]
        decay = {"weight_decay": self.settings.weight_decay} if self.settings.optimizer == "adamw" else {}
        self._optimizer = kind(self._trained().values(), lr=self.settings.lr, **decay)
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume(self.checkpoint)

    @property
    def n_steps(self) -> int:
        return self.settings.epochs * self.feed.n_batches

    def run(self) -> None:
        """All steps that are left; global generators are as before afterwards."""
        cuda = [self._torch.cuda.current_device()] if self._accelerator.device.type == "cuda" else []
        self.model.train()
        with self._torch.random.fork_rng(devices=cuda), self._bar() as bar:
            for epoch in range(self.step // self.feed.n_batches, self.settings.epochs):
                self._epoch(epoch, bar)
        if self._best:
            self._load(self._trained(), self._best)
        self.model.eval()

    def _bar(self) -> Any:
        shown = self.progress and self._accelerator.is_main_process
        return tqdm(total=self.n_steps, initial=self.step, desc="fit", unit="step", disable=not shown)

    def _epoch(self, epoch: int, bar: Any) -> None:
        every, n_batches = self.settings.checkpoint_every, self.feed.n_batches
        for n_tokens, pieces in self.feed.epoch(epoch, skip=self.step - epoch * n_batches):
            self._sums[0] += self._step(pieces, n_tokens)
            self._sums[1] += n_tokens
            self.step += 1
            self._tell(bar, n_tokens)
            is_last = self.step == (epoch + 1) * n_batches
            if is_last:
                self._finish_epoch()
            if self.checkpoint is not None and (is_last or (every is not None and self.step % every == 0)):
                self._write(self.checkpoint)

    def _step(self, pieces: list[Batch], n_tokens: int) -> float:
        """One step; returns the sum of the losses of this process's tokens."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.lr_at(self.step, self.n_steps)
        total = 0.0
        for i, piece in enumerate(pieces):
            self._torch.manual_seed(seed_of(self.seed, DROPOUT, self.step, self._accelerator.process_index, i))
            is_last = i == len(pieces) - 1
            with self._accelerator.autocast(), _synced(self._accelerator, self._network, is_last):
                loss = self._network(*self._tensors(piece))
                # gradients of the processes are averaged, and those of a batch's tokens ought to be
                self._accelerator.backward(loss * (self._accelerator.num_processes / n_tokens))
            total += float(loss.detach())
        if self.settings.max_grad_norm is not None:
            self._accelerator.clip_grad_norm_(self._trained().values(), self.settings.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total

    def _tensors(self, batch: Batch) -> Iterator[Any]:
        for values in (batch.rows, batch.neighbours, batch.tokens, batch.targets):
            yield None if values is None else self._torch.from_numpy(values).to(self._accelerator.device)

    def _tell(self, bar: Any, n_tokens: int) -> None:
        if bar.disable:
            return
        bar.update()
        elapsed = bar.format_dict["elapsed"]
        self._seen = getattr(self, "_seen", 0) + n_tokens
        self.tokens_per_second = self._seen / elapsed if elapsed else 0.0
        bar.set_postfix(
            loss=f"{self._sums[0] / self._sums[1] * self._accelerator.num_processes:.3f}",
            tokens=f"{self.tokens_per_second:.0f}/s",
            refresh=False,
        )

    def _finish_epoch(self) -> None:
        self.losses.append(self._over_processes(self._sums[0]) / self._sums[1])
        self._sums = [0.0, 0.0]
        if self.validation is None:
            return
        self.validation_losses.append(self._validate(self.validation))
        if self.validation_losses[-1] == min(self.validation_losses):
            self._best = {name: value.detach().clone() for name, value in self._trained().items()}

    def _validate(self, feed: Feed) -> float:
        total, n_tokens = 0.0, 0
        self.model.eval()
        with self._torch.inference_mode(), self._accelerator.autocast():
            for seen, pieces in feed.epoch(VALIDATION_EPOCH):
                total += sum(float(self.model(*self._tensors(piece))) for piece in pieces)
                n_tokens += seen
        self.model.train()
        return self._over_processes(total) / n_tokens

    def _over_processes(self, value: float) -> float:
        if self._accelerator.num_processes == 1:
            return value
        tensor = self._torch.tensor(value, dtype=self._torch.float64, device=self._accelerator.device)
        return float(self._accelerator.reduce(tensor, "sum"))

    def _trained(self) -> dict[str, Any]:
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def _load(self, into: dict[str, Any], values: dict[str, Any]) -> None:
        with self._torch.no_grad():
            for name, parameter in into.items():
                parameter.copy_(values[name])

    # checkpoints

    def _describe(self) -> dict[str, Any]:
        """What tells this run from another: weights, data, noise, settings and seed."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(self._torch.uint8).numpy().data)
        source = self.feed.source
        digest.update(source.sample(max(1, len(source) // 256)).tobytes())
        digest.update(self.feed.tokens.flat.tobytes())
        settings = {name: getattr(self.settings, name) for name in SETTINGS if name != "checkpoint_every"}
        retrieval = self.feed.retrieval
        return {
            "format": "c3align.PrefixCaptioner training",
            "data_and_weights": digest.hexdigest(),
            "n_rows": len(source),
            "seed": self.seed,
            "neighbours": None if retrieval is None else [retrieval.k, retrieval.as_captions],
            **settings,
        }

    def _write(self, path: Path) -> None:
        sums = [self._over_processes(self._sums[0]) / self._accelerator.num_processes, self._sums[1]]
        if self._accelerator.is_main_process:
            names = list(self._trained())
            tensors = {f"weight.{name}": value for name, value in self._trained().items()}
            for i, moments in self._optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{key}.{names[i]}": value for key, value in moments.items()}
            tensors |= {f"best.{name}": value for name, value in self._best.items()}
            progress = {
                "step": self.step,
                "sums": sums,
                "losses": self.losses,
                "validation_losses": self.validation_losses,
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            _saved.write_file(path, tensors, {**self._identity, "progress": progress})
        self._accelerator.wait_for_everyone()

    def _resume(self, path: Path) -> None:
        config, tensors = _saved.read_file(path)
        progress = config.pop("progress", None)
        if config != self._identity or not isinstance(progress, dict):
            changed = sorted(name for name in self._identity if config.get(name) != self._identity[name])
            raise C3AlignError(
                f"{path} is the checkpoint of another run ({', '.join(changed) or 'its progress'} differ); delete it to "
                "begin anew, or pass what it was written with"
            )
        parts: dict[str, dict[str, Any]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            parts.setdefault(kind, {})[rest] = value
        self._load(self._trained(), parts["weight"])
        moments: dict[int, dict[str, Any]] = {i: {} for i in range(len(self._trained()))}
        for i, name in enumerate(self._trained()):
            for key, value in parts.get("optimizer", {}).items():
                moment, _, owner = key.partition(".")
                if owner == name:
                    moments[i][moment] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        device = self._accelerator.device
        self._best = {name: value.to(device) for name, value in parts.get("best", {}).items()}
        self.step, self._sums = progress["step"], list(progress["sums"])
        self.losses, self.validation_losses = progress["losses"], progress["validation_losses"]


def accelerator(precision: str) -> Any:
    """accelerate's view of this process among its peers."""
    accelerate = need("accelerate", "accelerate", "captions")
    # another fit of this process may have asked for another precision; accelerate keeps the first for good
    accelerate.state.AcceleratorState._reset_state()
    return accelerate.Accelerator(mixed_precision="bf16" if precision == "bfloat16" else "no")


def _synced(accelerator: Any, network: Any, is_last: bool) -> Any:
    from contextlib import nullcontext

    return nullcontext() if is_last else accelerator.no_sync(network)
