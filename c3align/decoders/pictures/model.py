"""A small network from embeddings to pictures."""

from __future__ import annotations

import math

import torch
from torch import nn

GRID = 4  # edge of the coarsest map, about
MIN_CHANNELS = 8


class PictureNet(nn.Module):
    """Embeddings (n, n_dims) to logits of pixels (n, channels, height, width).

    One linear layer to a coarse map, then convolutions that double its edge by moving channels into pixels: cheaper
    than transposed convolutions, and without their checkerboard.

    Parameters
    ----------
    n_dims : int
    shape : (height, width, channels)
    width : int
        Channels after the first doubling; half as many after each of the next.
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
