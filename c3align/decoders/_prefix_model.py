"""A language model behind a mapper, as one network: rows and tokens in, the loss out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from c3align.decoders._mappers import build_mapper

__all__ = ["IGNORED", "PrefixModel"]

IGNORED = -100  # a token that is read and not predicted


class PrefixModel(nn.Module):
    """Prefix tokens made of a row (and of the rows of its neighbours), then words.

    Parameters
    ----------
    lm : a causal language model of transformers, or of peft
    kind, n_dims, length : of the mapper
    n_neighbours : int
        Rows of neighbours that the prefix holds too, a token each; 0 for none.
    """

    def __init__(self, lm: Any, kind: str, n_dims: int, length: int, n_neighbours: int = 0) -> None:
        super().__init__()
        width = lm.get_input_embeddings().embedding_dim
        self.lm = lm
        self.mapper = build_mapper(kind, n_dims, width, length)
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
