"""From an embedding to the first token embeddings of a language model: the mappers of ClipCap, which C3 uses."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["MAPPERS", "build_mapper"]

TRANSFORMER_LAYERS, TRANSFORMER_HEADS = 8, 8  # the paper's code


class _Reshaped(nn.Module):
    """A network whose output (n, length * width) is read as a prefix (n, length, width)."""

    def __init__(self, net: nn.Module, length: int) -> None:
        super().__init__()
        self.net, self.length = net, length

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.net(rows).unflatten(-1, (self.length, -1))


class _TransformerMapper(nn.Module):
    """Tokens made of the row, and as many learned ones behind them, through a transformer; the latter come out."""

    def __init__(self, n_dims: int, width: int, length: int) -> None:
        super().__init__()
        n_heads = max(n for n in range(1, TRANSFORMER_HEADS + 1) if width % n == 0)
        layer = nn.TransformerEncoderLayer(
            width, n_heads, 2 * width, dropout=0.0, activation="relu", batch_first=True, norm_first=True
        )
        self.tokens = _linear(n_dims, width, length)
        self.learned = nn.Parameter(torch.randn(length, width) * 0.02)
        self.layers = nn.TransformerEncoder(layer, TRANSFORMER_LAYERS, enable_nested_tensor=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        learned = self.learned.expand(len(rows), -1, -1)
        return self.layers(torch.cat([self.tokens(rows), learned], dim=1))[:, -len(self.learned) :]


def _mlp(n_dims: int, width: int, length: int) -> nn.Module:
    hidden = max(1, length * width // 2)
    return _Reshaped(nn.Sequential(nn.Linear(n_dims, hidden), nn.Tanh(), nn.Linear(hidden, length * width)), length)


def _linear(n_dims: int, width: int, length: int) -> nn.Module:
    return _Reshaped(nn.Linear(n_dims, length * width), length)


MAPPERS: dict[str, Any] = {"mlp": _mlp, "transformer": _TransformerMapper, "linear": _linear}


def build_mapper(kind: str, n_dims: int, width: int, length: int) -> nn.Module:
    """A mapper from rows (n, n_dims) to prefixes (n, length, width), with weights of the global generator."""
    return MAPPERS[kind](n_dims, width, length)
