"""How the picture network learns, and how a run goes on where it was stopped."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F
from tqdm import tqdm

from c3align.decoders._picture_net import PictureNet
from c3align.decoders._rows import TrainingRows
from c3align.errors import C3AlignError
from c3align.io import atomic, container

__all__ = ["Critic", "PictureTraining", "Schedule"]

WEIGHT_DECAY = 0.01
CRITIC_SHARE = 4  # one of so many drawn pictures is shown to the critic, which costs more than to draw it
WARM_UP = 0.1  # share of the steps
SAMPLED_ROWS = 256  # looked at to tell one run's data from another's


@dataclass(frozen=True)
class Schedule:
    """How long, and how fast: the learning rate rises for a tenth of the steps, then falls to zero by a cosine."""

    epochs: int
    batch_size: int
    lr: float

    def lr_at(self, progress: float) -> float:
        """Learning rate when this share of the steps is done."""
        if progress < WARM_UP:
            return self.lr * (0.1 + 0.9 * progress / WARM_UP)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


@dataclass(frozen=True)
class Critic:
    """What judges drawn pictures besides their pixels: a differentiable encoder, and how much it counts.

    It adds ``weight * (1 - cos(encode(drawn), clean embedding))`` to the loss, as the contrastive terms of LAFITE and
    of C3's text-to-image experiment do.
    """

    encode: Callable[[torch.Tensor], torch.Tensor]
    weight: float

    def loss(self, logits: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """Of a share of the batch: logits (n, channels, height, width), clean raw rows (n, n_dims)."""
        n_seen = -(-len(logits) // CRITIC_SHARE)
        seen = self.encode(logits[:n_seen].sigmoid())
        if seen.shape != clean[:n_seen].shape or not seen.requires_grad:
            raise C3AlignError(
                f"the critic gave {tuple(seen.shape)} for embeddings {tuple(clean[:n_seen].shape)}, or nothing that "
                "gradients go through; pass the image tower that made the embeddings, as a function of pictures "
                "(n, channels, height, width) in [0, 1]"
            )
        return self.weight * (1 - F.cosine_similarity(seen, clean[:n_seen])).mean()


@dataclass
class PictureTraining:
    """A network, its optimizer and the epochs behind them.

    Attributes
    ----------
    net : PictureNet
    rows : TrainingRows
    pictures : (n, height, width, channels) uint8
    schedule : Schedule
    critic : Critic or None
    checkpoint : path or None
        Written after every epoch; one of the same run is gone on with.
    losses : list of float
        Mean loss of each finished epoch.
    """

    net: PictureNet
    rows: TrainingRows
    pictures: npt.NDArray[np.uint8]
    schedule: Schedule
    critic: Critic | None
    checkpoint: Path | None
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = next(self.net.parameters()).device
        self.optimizer = torch.optim.AdamW(self.net.parameters(), self.schedule.lr, weight_decay=WEIGHT_DECAY)
        self.n_batches = self.rows.n_batches(self.schedule.batch_size)
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume(self.checkpoint)

    def run(self, progress: bool) -> None:
        """All epochs that are left."""
        epochs = self.schedule.epochs
        with tqdm(total=epochs * len(self.rows), unit=" pictures", desc="fit", disable=not progress) as bar:
            bar.update(len(self.losses) * len(self.rows))
            for epoch in range(len(self.losses), epochs):
                self.losses.append(self._epoch(epoch, bar))
                bar.set_postfix(loss=f"{self.losses[-1]:.4f}")
                if self.checkpoint is not None:
                    identity = {**self._identity(), "losses": self.losses}
                    atomic.write(self.checkpoint, container.dump(self._tensors(), identity))

    def _epoch(self, epoch: int, bar: Any) -> float:
        total = 0.0
        for i, (numbers, rows) in enumerate(self.rows.batches(epoch, self.schedule.batch_size)):
            done = (epoch + i / self.n_batches) / self.schedule.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.lr_at(done)
            total += self._step(numbers, rows) * len(rows)
            bar.update(len(rows))
        return total / len(self.rows)

    def _step(self, numbers: npt.NDArray[np.int64], rows: npt.NDArray[np.float32]) -> float:
        target = torch.from_numpy(self.pictures[numbers]).to(self.device).movedim(-1, 1).float() / 255
        logits = self.net(torch.from_numpy(rows).to(self.device))
        loss = F.binary_cross_entropy_with_logits(logits, target)
        if self.critic is not None:
            clean = self.rows.rows.take(numbers).widened().astype(np.float32, copy=False)
            loss = loss + self.critic.loss(logits, torch.from_numpy(clean).to(self.device))
        parameters = list(self.net.parameters())
        # of these alone: a critic's own parameters get no gradient
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
            parameter.grad = gradient
        self.optimizer.step()
        return float(loss.detach())

    def _tensors(self) -> dict[str, torch.Tensor]:
        moments = self.optimizer.state_dict()["state"]
        adam = {f"adam.{i}.{name}": value for i, state in moments.items() for name, value in state.items()}
        return {**{f"net.{name}": value for name, value in self.net.state_dict().items()}, **adam}

    def _identity(self) -> dict[str, Any]:
        """What tells this run from another: data, aligner, network, schedule and seed."""
        step = max(1, len(self.rows) // SAMPLED_ROWS)
        digest = hashlib.sha256(self.pictures[::step].tobytes())
        digest.update(self.rows.sample(step).tobytes())
        return {
            "format": "c3align.EmbeddingGenerator training",
            "data": digest.hexdigest(),
            "n_rows": len(self.rows),
            "net": [list(parameter.shape) for parameter in self.net.parameters()],
            "seed": self.rows.seed,
            "critic_weight": 0.0 if self.critic is None else self.critic.weight,
            **vars(self.schedule),
        }

    def _resume(self, path: Path) -> None:
        config, tensors = container.read(path, "decoder")
        losses = config.pop("losses", None)
        if config != self._identity():
            raise C3AlignError(
                f"{path} is the checkpoint of another run (other data, aligner, settings or seed); delete it to begin "
                "anew, or pass what it was written with"
            )
        self.net.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("net.")})
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, i, moment = name.split(".")
                state.setdefault(int(i), {})[moment] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.losses = losses
