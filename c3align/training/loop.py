"""The one training loop: a step is a function of the weights, the optimizer's state and the step's number.

Why not the Trainer of transformers: it resumes from pickles of optimizer and generators (promise P6); after a stop it
replays its data loader batch by batch; noise, neighbors and order would have to pass through collators and samplers
that shard by process, so that the noise of a row depended on the split; its checkpoint is a folder that is written in
place. Why not all of accelerate: `save_state` pickles and is not atomic either, and its loaders split batches by their
own rule. Its strengths are used: processes, gradients summed over them, bfloat16 if launched so.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from tqdm import tqdm

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.io import atomic, container
from c3align.training import checkpoints
from c3align.training.rows import seed_of
from c3align.training.settings import Training

HELD_OUT_EPOCH = 2**32 - 1  # its noise is the same every time, and no training epoch's
DROPOUT = 1  # purpose of a seed
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"  # fits 80 columns
DISTRIBUTED = ("NO", "MULTI_GPU", "MULTI_CPU")
UNIMPORTANT = ("checkpoint_every", "accumulate")  # they decide when the checkpoint is written, and how sums are rounded


class Share(NamedTuple):
    """The part of every batch that a process computes, and in how many pieces."""

    rank: int = 0
    n_processes: int = 1
    n_pieces: int = 1


class Task(Protocol):
    """What is learned."""

    name: str  # the decoder's class, which a checkpoint names
    unit: str  # what is counted, such as "tokens"
    is_mean: bool  # whether the loss of a piece is a mean over what is counted, and not its sum

    def __len__(self) -> int:
        """Rows in all."""
        ...

    @property
    def n_batches(self) -> int:
        """Steps of an epoch."""
        ...

    def epoch(self, epoch: int, skip: int = 0, share: Share = ...) -> Iterator[tuple[int, list[Any]]]:
        """What the whole batch counts, and this process's pieces of it, for every step after the first `skip`."""
        ...

    def loss(self, network: Any, piece: Any, device: torch.device) -> torch.Tensor:
        """The loss of a piece."""
        ...

    def identity(self) -> dict[str, Any]:
        """What distinguishes these data from others, for checkpoints."""
        ...


class OneProcess:
    """The part of accelerate's interface that the loop uses, for a single process on one device."""

    process_index, num_processes, is_main_process = 0, 1, True

    def __init__(self, device: Any = "cpu") -> None:
        self.device = torch.device(device)

    def prepare(self, network: Any) -> Any:
        return network.to(self.device)

    def backward(self, loss: torch.Tensor, **options: Any) -> None:
        loss.backward(**options)  # type: ignore[no-untyped-call]

    def wait_for_everyone(self) -> None:
        return

    def unwrap_model(self, network: Any, **_: Any) -> Any:
        return network


def processes() -> Any:
    """accelerate's view of this process among its peers; refused where it was launched to split more than data."""
    found = need("accelerate", "accelerate", "captions").Accelerator()
    kind = found.distributed_type.name
    if kind not in DISTRIBUTED or found.mixed_precision not in ("no", "bf16"):
        raise C3AlignError(
            f"accelerate was launched as {kind} in {found.mixed_precision}, and decoders learn under NO, MULTI_GPU or "
            "MULTI_CPU (data in parallel) in 'no' or 'bf16'; launch it so"
        )
    return found


@dataclass
class Loop:
    """A network, its optimizer, and their progress.

    The checkpoint, a .safetensors file, is written after every epoch or `checkpoint_every` steps. If it belongs to this
    run, training resumes from it; one of another run is refused.
    """

    network: Any
    task: Task
    held_out: Task | None  # the rows that are held out
    settings: Training
    seed: int
    processes: Any  # accelerate's, or OneProcess
    fused: bool | None  # the optimizer's arithmetic, which decides its rounding
    checkpoint: Path | None
    progress: bool
    losses: list[float] = field(default_factory=list)  # the mean of each finished epoch
    validation_losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.share = Share(self.processes.process_index, self.processes.num_processes, self.settings.accumulate)
        self.device = self.processes.device
        self.step, self.sums = 0, [0.0, 0.0]  # steps done; loss of the epoch so far, and what it was counted over
        self.n_seen = 0  # in this process's life, for the bar
        self.best: dict[str, Any] = {}
        self.identity = self._describe() if self.checkpoint is not None else {}
        self._prepared = self.processes.prepare(self.network)
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.settings.optimizer]
        decay = {"weight_decay": self.settings.weight_decay} if self.settings.optimizer == "adamw" else {}
        self.optimizer = kind(self.trained().values(), lr=self.settings.lr, fused=self.fused, **decay)
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume(self.checkpoint)

    @property
    def n_steps(self) -> int:
        return self.settings.epochs * self.task.n_batches

    def trained(self) -> dict[str, torch.Tensor]:
        """The parameters that learn, by name."""
        return {name: value for name, value in self.network.named_parameters() if value.requires_grad}

    def run(self) -> None:
        """Run the remaining steps; global generators are restored afterwards."""
        cuda = [self.device] if self.device.type == "cuda" else []
        is_quiet = not (self.progress and self.processes.is_main_process)
        options = {"total": self.n_steps, "initial": self.step, "desc": "fit", "disable": is_quiet}
        self.network.train()
        with torch.random.fork_rng(devices=cuda), tqdm(bar_format=BAR, **options) as bar:
            for epoch in range(self.step // self.task.n_batches, self.settings.epochs):
                self._epoch(epoch, bar)
        if self.best:
            self._put(self.best)
        self.processes.unwrap_model(self._prepared, keep_fp32_wrapper=False)
        self.network.eval()

    def _epoch(self, epoch: int, bar: Any) -> None:
        every, n_batches = self.settings.checkpoint_every, self.task.n_batches
        for count, pieces in self.task.epoch(epoch, skip=self.step - epoch * n_batches, share=self.share):
            self.sums[0] += self._step(pieces, count)
            self.sums[1] += count
            self.step += 1
            self.n_seen += count
            self._show(bar)
            is_last = self.step == (epoch + 1) * n_batches
            is_due = is_last or (every is not None and self.step % every == 0)
            if is_due:
                self._check_weights()
            if is_last:
                self._finish_epoch()
            if self.checkpoint is not None and is_due:
                self._write(self.checkpoint)
                self.processes.wait_for_everyone()

    def _step(self, pieces: list[Any], count: int) -> float:
        """One step; returns the sum of the losses of what this process saw."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr_at(self.step, self.n_steps)
        # gradients of the processes are averaged, and those of what a batch counts ought to be
        scale = 1.0 if self.task.is_mean else self.share.n_processes / count
        # a loss may depend on other networks, which are not to get gradients
        options = {"inputs": list(self.trained().values())} if self.share.n_processes == 1 else {}
        total = 0.0
        for i, piece in enumerate(pieces):
            torch.manual_seed(seed_of(self.seed, DROPOUT, self.step, self.share.rank, i))
            is_alone = self.share.n_processes == 1 or i == len(pieces) - 1
            with nullcontext() if is_alone else self.processes.no_sync(self._prepared):
                loss = self._loss(self.task, self._prepared, piece)
                self.processes.backward(loss * scale, **options)
            total += float(loss.detach()) * (count if self.task.is_mean else 1)
        self._check_finite(total)
        if self.settings.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.trained().values(), self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total

    def _check_finite(self, loss: float) -> None:
        """Refuse to go on with weights that are lost; the checkpoint before them stays."""
        if not math.isfinite(loss):
            self._lost(f"the loss became {loss}")

    def _check_weights(self) -> None:
        """A step of finite loss can still lose the weights."""
        for name, value in self.trained().items():
            if not bool(value.isfinite().all()):
                self._lost(f"weight {name!r} became NaN or infinite")

    def _lost(self, what: str) -> None:
        advice = f"lower lr (it was {self.settings.lr:g}) or set max_grad_norm"
        raise C3AlignError(f"{what} at step {self.step} of {self.n_steps}; {advice}")

    def _loss(self, task: Task, network: Any, piece: Any) -> torch.Tensor:
        is_half = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if is_half else nullcontext():
            return task.loss(network, piece, self.device)

    def _show(self, bar: Any) -> None:
        """The loss of the epoch so far, and what was counted per second since this process began."""
        if bar.disable:
            return
        bar.set_description(f"epoch {len(self.losses) + 1} of {self.settings.epochs}", refresh=False)
        loss = self.sums[0] * self.share.n_processes / self.sums[1]
        rate = self.n_seen / max(bar.format_dict["elapsed"], 1e-9)
        bar.set_postfix({"loss": f"{loss:.3f}", self.task.unit: f"{rate:.0f}/s"}, refresh=False)
        bar.update()

    def _finish_epoch(self) -> None:
        self.losses.append(self._over_processes(self.sums[0]) / self.sums[1])
        self.sums = [0.0, 0.0]
        if self.held_out is not None:
            self.validation_losses.append(self._validate(self.held_out))
            if self.validation_losses[-1] == min(self.validation_losses):
                self.best = {name: value.detach().clone() for name, value in self.trained().items()}

    def _validate(self, task: Task) -> float:
        total, counted = 0.0, 0
        self.network.eval()
        with torch.inference_mode():
            for count, pieces in task.epoch(HELD_OUT_EPOCH, share=self.share):
                total += sum(float(self._loss(task, self.network, piece)) for piece in pieces)
                counted += count
        self.network.train()
        self._check_finite(total)
        return self._over_processes(total) / counted

    def _over_processes(self, value: float) -> float:
        """The sum over all processes."""
        if self.share.n_processes == 1:
            return value
        kind = torch.float32 if self.device.type == "mps" else torch.float64
        return float(self.processes.reduce(torch.tensor(value, dtype=kind, device=self.device), "sum"))

    def _put(self, values: dict[str, Any]) -> None:
        """Put values, by name, into the parameters that learn."""
        with torch.no_grad():
            for name, parameter in self.trained().items():
                parameter.copy_(values[name])

    def _describe(self) -> dict[str, Any]:
        """What distinguishes this run from others: weights, data, noise, settings and seed."""
        weights = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            weights.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().flatten()
            weights.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
        return {
            "format": f"c3align.{self.task.name} training",
            "format_version": container.SIGNED_SINCE,
            "weights": weights.hexdigest(),
            "number of rows": len(self.task),
            "seed": self.seed,
            **self.task.identity(),
            **{name: value for name, value in asdict(self.settings).items() if name not in UNIMPORTANT},
        }

    def _write(self, path: Path) -> None:
        """Replace the checkpoint; every process must call this."""
        sums = [self._over_processes(self.sums[0]), self.sums[1]]
        if not self.processes.is_main_process:
            return
        names = list(self.trained())
        tensors = {f"weight.{name}": value for name, value in self.trained().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{key}.{names[i]}": value for key, value in moments.items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        lists = {"losses": self.losses, "validation_losses": self.validation_losses}
        config = {**self.identity, "progress": {"step": self.step, "sums": sums, **lists}}
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, container.dump(tensors, config))

    def _resume(self, path: Path) -> None:
        """Continue from the checkpoint's state."""
        config, tensors = container.read(path, "checkpoint")
        progress = config.pop("progress", None)
        checkpoints.check_run(path, config, self.identity)
        checkpoints.check(progress, tensors, self.trained(), self.n_steps, self.task.n_batches)
        parts: dict[str, dict[str, Any]] = {"weight": {}, "optimizer": {}, "best": {}}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = value
        self._put(parts["weight"])
        places = {name: i for i, name in enumerate(self.trained())}
        moments: dict[int, dict[str, Any]] = {}
        for key, value in parts["optimizer"].items():
            moment, _, owner = key.partition(".")
            moments.setdefault(places[owner], {})[moment] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.best = {name: value.to(self.device) for name, value in parts["best"].items()}
        self.step = progress["step"]
        self.sums = [progress["sums"][0] if self.processes.is_main_process else 0.0, progress["sums"][1]]
        self.losses, self.validation_losses = progress["losses"], progress["validation_losses"]
