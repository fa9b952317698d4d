"""A small network from embeddings to pictures, and what it learns from: noisy rows, their pictures, and a critic."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from c3align._typing import Int64Array
from c3align.errors import C3AlignError
from c3align.training.loop import Share
from c3align.training.rows import TrainingRows, digest_of

GRID = 4  # edge of the coarsest map, about
MIN_CHANNELS = 8
CRITIC_SHARE = 4  # one of so many drawn pictures is shown to the critic, which costs more than to draw it

Piece = tuple[Int64Array, npt.NDArray[np.float32]]


class PictureNet(nn.Module):
    """Embeddings (n, n_dims) to logits of pixels (n, channels, height, width).

    One linear layer to a coarse map, then convolutions that double its edge by moving channels into pixels: cheaper
    than transposed convolutions, and without their checkerboard. There are `width` channels after the first doubling,
    half as many after each of the next.
    """

    def __init__(self, n_dims: int, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.height, self.width, channels = shape
        doublings = max(1, round(math.log2(max(self.height, self.width) / GRID)))
        widths = [max(MIN_CHANNELS, 2 * width >> i) for i in range(doublings)]
        self.coarse = (widths[0], math.ceil(self.height / 2**doublings), math.ceil(self.width / 2**doublings))
        self.scale = math.sqrt(n_dims)  # coordinates of unit rows become about 1
        self.first = nn.Sequential(nn.Linear(n_dims, math.prod(self.coarse)), nn.GELU())
        layers: list[nn.Module] = []
        for n_in, n_out in zip(widths, [*widths[1:], channels]):
            layers += [nn.Conv2d(n_in, 4 * n_out, 3, padding=1), nn.PixelShuffle(2), nn.GELU()]
        self.doublings = nn.Sequential(*layers[:-1])

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        coarse = self.first(rows * self.scale).unflatten(1, self.coarse)
        logits: torch.Tensor = self.doublings(coarse)[:, :, : self.height, : self.width]
        return logits


@dataclass(frozen=True)
class Critic:
    """What judges drawn pictures besides their pixels: a differentiable encoder, and how much it counts.

    It adds ``weight * (1 - cos(encode(drawn), clean embedding))`` to the loss, as the contrastive terms of LAFITE and
    of C3's text-to-image experiment do.
    """

    encode: Callable[[torch.Tensor], torch.Tensor]
    weight: float

    @classmethod
    def of(cls, encode: Any, weight: float) -> Critic | None:
        """A critic, where there is an encoder."""
        return None if encode is None else cls(encode, float(weight))

    def identity(self) -> list[str]:
        """What tells this encoder from others: its name, and the weights or fingerprints of what it consists of."""
        name = getattr(self.encode, "__qualname__", type(self.encode).__qualname__)
        return [name, *(_mark(part) for part in _parts(self.encode) if _mark(part))]

    def loss(self, logits: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """For a share of the batch: logits (n, channels, height, width), clean raw rows (n, n_dims)."""
        n_seen = -(-len(logits) // CRITIC_SHARE)
        seen = self.encode(logits[:n_seen].sigmoid())
        if seen.shape != clean[:n_seen].shape or not seen.requires_grad:
            raise C3AlignError(
                f"the critic gave {tuple(seen.shape)} for embeddings {tuple(clean[:n_seen].shape)}, or nothing that "
                "gradients go through; pass the image tower that made the embeddings, as a function of pictures "
                "(n, channels, height, width) in [0, 1]"
            )
        return self.weight * (1 - F.cosine_similarity(seen, clean[:n_seen])).mean()


def _parts(function: Any) -> list[Any]:
    """What a function, a method or a partial one computes with, where it can be seen; itself if it is an object."""
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return [function, getattr(function, "__self__", None), getattr(function, "func", None), *cells]


def _mark(part: Any) -> str:
    """The digest of a module's weights, or an encoder's fingerprint; empty where there is neither."""
    if not isinstance(part, nn.Module):
        return str(getattr(part, "fingerprint", ""))
    digest = hashlib.sha256()
    for name, value in sorted(part.state_dict().items()):
        digest.update(f"{name} {digest_of(value.detach().float().cpu().reshape(-1).numpy())}".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class PictureTask:
    """Batches of rows and pictures."""

    source: TrainingRows
    pictures: npt.NDArray[np.uint8]  # (n, height, width, channels)
    batch_size: int
    critic: Critic | None

    name: ClassVar[str] = "EmbeddingGenerator"
    unit: ClassVar[str] = "pictures"
    is_mean: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.source)

    @property
    def n_batches(self) -> int:
        """Steps of an epoch."""
        return self.source.n_batches(self.batch_size)

    def epoch(self, epoch: int, skip: int = 0, share: Share | None = None) -> Iterator[tuple[int, list[Piece]]]:
        """Pictures of a batch, and its numbers and rows, for every step after the first `skip`."""
        return islice(self._batches(epoch), skip, None)

    def _batches(self, epoch: int) -> Iterator[tuple[int, list[Piece]]]:
        for batches, first, block in self.source.blocks(epoch, self.batch_size):
            yield from ((len(batch), [(batch, block[batch - first])]) for batch in batches)

    def loss(self, network: Any, piece: Piece, device: torch.device) -> torch.Tensor:
        """Mean cross-entropy of the pixels, in nats, and what the critic adds."""
        numbers, rows = piece
        target = torch.from_numpy(self.pictures[numbers]).to(device).movedim(-1, 1).float() / 255
        logits = network(torch.from_numpy(rows).to(device))
        loss = F.binary_cross_entropy_with_logits(logits, target)
        if self.critic is None:
            return loss
        clean = self.source.rows.take(numbers).widened().astype(np.float32, copy=False)
        return loss + self.critic.loss(logits, torch.from_numpy(clean).to(device))

    def identity(self) -> dict[str, Any]:
        """What tells these rows, pictures and critic from others; all of them are read."""
        weight = 0.0 if self.critic is None else self.critic.weight
        found = {"rows and pictures": [self.source.digest(), digest_of(self.pictures)], "critic_weight": weight}
        return found if self.critic is None else {**found, "critic": self.critic.identity()}
