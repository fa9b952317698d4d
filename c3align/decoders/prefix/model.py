"""A language model behind a mapper, as one network: rows and tokens in, the loss out. The mappers are ClipCap's."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from c3align.decoders.prefix.task import IGNORED

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


class PrefixModel(nn.Module):
    """Prefix tokens made of a row (and of the rows of `n_neighbours` neighbours, a token each), then words.

    The language model is one of transformers or of peft; the mapper's weights come from the global generator.
    """

    def __init__(self, lm: Any, mapper: str, n_dims: int, length: int, n_neighbours: int = 0) -> None:
        super().__init__()
        width = lm.get_input_embeddings().weight.shape[1]
        self.lm = lm
        self.mapper = MAPPERS[mapper](n_dims, width, length)
        self.neighbour_mapper = nn.Linear(n_dims, width) if n_neighbours else None
        self.places = nn.Parameter(torch.zeros(n_neighbours, width)) if n_neighbours else None

    def prefix(self, rows: torch.Tensor, neighbours: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings (n, length, width) of rows (n, n_dims) and their neighbours (n, n_neighbours, n_dims)."""
        prefix = self.mapper(rows)
        if self.neighbour_mapper is not None:
            prefix = torch.cat([self.neighbour_mapper(neighbours) + self.places, prefix], dim=1)
        return prefix.to(self.lm.get_input_embeddings().weight.dtype)

    def forward(
        self, rows: torch.Tensor, neighbours: torch.Tensor | None, tokens: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Sum of the cross-entropies, in nats, of the tokens (n, m) that `targets` (n, m) do not ignore.

        Padding is on the right, where a causal model never looks.
        """
        prefix = self.prefix(rows, neighbours)
        embedded = torch.cat([prefix, self.lm.get_input_embeddings()(tokens)], dim=1)
        wanted = targets != IGNORED
        before = F.pad(wanted, (prefix.shape[1] - 1, 1))  # a token is predicted at the place before it
        logits = self._logits(embedded, before)
        return F.cross_entropy(logits.float(), targets[wanted], reduction="sum")

    def _logits(self, embedded: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Logits (n_wanted, n_words) at the wanted places alone: the vocabulary is often most of the arithmetic."""
        head = self.lm.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda module, inputs: (inputs[0][wanted],))
        try:
            return self.lm(inputs_embeds=embedded, use_cache=False).logits
        finally:
            hook.remove()
