"""How a captioner learns: one step is a function of the weights, the optimizer's state and the step's number.

accelerate and a small loop, and not the Trainer of transformers: its checkpoints are pickles, and noise, neighbours
and order would have to pass through its data loader.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from c3align._imports import need
from c3align.decoders import _caption_checkpoint as checkpoints
from c3align.decoders._caption_rows import Batch, Feed, seed_of
from c3align.decoders.training import Training
from c3align.errors import C3AlignError

__all__ = ["CaptionTraining"]

VALIDATION_EPOCH = 2**32 - 1  # its noise is the same every time, and no training epoch's
DROPOUT = 1  # purpose of a seed
DISTRIBUTED = ("NO", "MULTI_GPU", "MULTI_CPU")


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
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._torch = need("torch", "torch", "captions")
        self._accelerator = _accelerator()
        self.feed = self._of_this_process(self.feed)
        self.validation = None if self.validation is None else self._of_this_process(self.validation)
        self.step, self.sums = 0, [0.0, 0.0]  # steps done; loss and tokens of the epoch so far
        self.n_tokens = 0  # of this process's life, for the bar
        self.best: dict[str, Any] = {}
        self.identity = checkpoints.describe(self) if self.checkpoint is not None else {}
        self._network = self._accelerator.prepare(self.model)
        kind = {"adamw": self._torch.optim.AdamW, "adam": self._torch.optim.Adam}[self.settings.optimizer]
        decay = {"weight_decay": self.settings.weight_decay} if self.settings.optimizer == "adamw" else {}
        self.optimizer = kind(self.trained().values(), lr=self.settings.lr, fused=True, **decay)
        if self.checkpoint is not None and self.checkpoint.exists():
            checkpoints.resume(self, self.checkpoint)

    def _of_this_process(self, feed: Feed) -> Feed:
        here = {"rank": self._accelerator.process_index, "n_processes": self._accelerator.num_processes}
        return feed.changed(n_pieces=self.settings.accumulate, **here)

    @property
    def n_steps(self) -> int:
        return self.settings.epochs * self.feed.n_batches

    @property
    def device(self) -> Any:
        return self._accelerator.device

    @property
    def is_main_process(self) -> bool:
        return bool(self._accelerator.is_main_process)

    def trained(self) -> dict[str, Any]:
        """The parameters that learn, by name."""
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def load(self, values: dict[str, Any]) -> None:
        """Put values, by name, into the parameters that learn."""
        with self._torch.no_grad():
            for name, parameter in self.trained().items():
                parameter.copy_(values[name])

    def run(self) -> None:
        """All steps that are left; global generators are as before afterwards."""
        cuda = [self.device] if self.device.type == "cuda" else []
        shown = self.progress and self.is_main_process
        options = {"total": self.n_steps, "initial": self.step, "desc": "fit", "unit": "step", "disable": not shown}
        self.model.train()
        with self._torch.random.fork_rng(devices=cuda), tqdm(**options) as bar:
            for epoch in range(self.step // self.feed.n_batches, self.settings.epochs):
                self._epoch(epoch, bar)
        if self.best:
            self.load(self.best)
        self._accelerator.unwrap_model(self._network, keep_fp32_wrapper=False)
        self.model.eval()

    def _epoch(self, epoch: int, bar: Any) -> None:
        every, n_batches = self.settings.checkpoint_every, self.feed.n_batches
        for n_tokens, pieces in self.feed.epoch(epoch, skip=self.step - epoch * n_batches):
            self.sums[0] += self._step(pieces, n_tokens)
            self.sums[1] += n_tokens
            self.step += 1
            self.n_tokens += n_tokens
            self._tell(bar)
            is_last = self.step == (epoch + 1) * n_batches
            if is_last:
                self._finish_epoch()
            if self.checkpoint is not None and (is_last or (every is not None and self.step % every == 0)):
                checkpoints.write(self, self.checkpoint)
                self._accelerator.wait_for_everyone()

    def _step(self, pieces: list[Batch], n_tokens: int) -> float:
        """One step; returns the sum of the losses of this process's tokens."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr_at(self.step, self.n_steps)
        total = 0.0
        for i, piece in enumerate(pieces):
            self._torch.manual_seed(seed_of(self.seed, DROPOUT, self.step, self._accelerator.process_index, i))
            is_last = i == len(pieces) - 1
            with nullcontext() if is_last else self._accelerator.no_sync(self._network):
                loss = self._loss(self._network, piece)
                # gradients of the processes are averaged, and those of a batch's tokens ought to be
                self._accelerator.backward(loss * (self._accelerator.num_processes / n_tokens))
            total += float(loss.detach())
        if self.settings.max_grad_norm is not None:
            self._torch.nn.utils.clip_grad_norm_(self.trained().values(), self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total

    def _loss(self, network: Any, piece: Batch) -> Any:
        values = (piece.rows, piece.neighbours, piece.tokens, piece.targets)
        tensors = [None if value is None else self._torch.from_numpy(value).to(self.device) for value in values]
        is_half = self.settings.precision == "bfloat16"
        with self._torch.autocast(self.device.type, self._torch.bfloat16, enabled=True) if is_half else nullcontext():
            return network(*tensors)

    def _tell(self, bar: Any) -> None:
        """Loss of the epoch so far; tokens per second since this process began."""
        if bar.disable:
            return
        bar.set_description(f"fit, epoch {len(self.losses) + 1} of {self.settings.epochs}", refresh=False)
        loss = self.sums[0] * self._accelerator.num_processes / self.sums[1]
        rate = self.n_tokens / max(bar.format_dict["elapsed"], 1e-9)
        bar.set_postfix(loss=f"{loss:.3f}", tokens=f"{rate:.0f}/s", refresh=False)
        bar.update()

    def _finish_epoch(self) -> None:
        self.losses.append(self.over_processes(self.sums[0]) / self.sums[1])
        self.sums = [0.0, 0.0]
        if self.validation is not None:
            self.validation_losses.append(self._validate(self.validation))
            if self.validation_losses[-1] == min(self.validation_losses):
                self.best = {name: value.detach().clone() for name, value in self.trained().items()}

    def _validate(self, feed: Feed) -> float:
        total, n_tokens = 0.0, 0
        self.model.eval()
        with self._torch.inference_mode():
            for seen, pieces in feed.epoch(VALIDATION_EPOCH):
                total += sum(float(self._loss(self.model, piece)) for piece in pieces)
                n_tokens += seen
        self.model.train()
        return self.over_processes(total) / n_tokens

    def over_processes(self, value: float) -> float:
        """The sum over all processes."""
        if self._accelerator.num_processes == 1:
            return value
        kind = self._torch.float32 if self.device.type == "mps" else self._torch.float64
        return float(self._accelerator.reduce(self._torch.tensor(value, dtype=kind, device=self.device), "sum"))


def _accelerator() -> Any:
    """accelerate's view of this process among its peers."""
    found = need("accelerate", "accelerate", "captions").Accelerator()
    kind = found.distributed_type.name
    if kind not in DISTRIBUTED or found.mixed_precision not in ("no", "bf16"):
        raise C3AlignError(
            f"accelerate was launched as {kind} in {found.mixed_precision}; captioners learn under NO, MULTI_GPU or "
            "MULTI_CPU (data in parallel), in 'no' or 'bf16'"
        )
    return found
