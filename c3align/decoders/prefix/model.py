"""A language model behind a mapper, as one network: rows and tokens in, the loss out. The mappers are ClipCap's."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from c3align._arguments import check_choice, check_whole, shown
from c3align.decoders.prefix.language_models import adapted
from c3align.decoders.prefix.task import IGNORED
from c3align.errors import C3AlignError

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


class Projector(nn.Module):
    """A row as `length` soft tokens before the words of a causal language model: a network for your own training loop.

    `PrefixCaptioner` is built upon it. The mapper's weights come from torch's global generator.

    Parameters
    ----------
    lm : causal language model of transformers
        Any that takes ``inputs_embeds``, or one of peft.
    n_dims : int
        Dimension d of the rows.
    mapper : "mlp", "transformer" or "linear"
        As in `PrefixCaptioner`.
    length : int
        Number of tokens that a row becomes.
    tune : "full", "frozen", "lora" or None
        Which part of the language model learns besides the mapper; None leaves it as it is given.
    lora : dict, optional
        Passed to `peft.LoraConfig`.
    """

    def __init__(
        self,
        lm: Any,
        n_dims: int,
        *,
        mapper: str = "mlp",
        length: int = 10,
        tune: str | None = "frozen",
        lora: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_choice("mapper", mapper, tuple(MAPPERS))
        if tune is not None:
            check_choice("tune", tune, ("full", "frozen", "lora"))
        check_whole("n_dims", n_dims, 1)
        check_whole("length", length, 1)
        if lora is not None and tune != "lora":
            raise C3AlignError(f"lora needs tune='lora', got tune={tune!r}; pass both, or omit lora")
        if not hasattr(lm, "get_input_embeddings"):
            raise C3AlignError(f"lm must be a language model of transformers, got {shown(lm)}; load one")
        self.lm = lm if tune is None else adapted(lm, tune, lora)
        self.mapper = MAPPERS[mapper](n_dims, lm.get_input_embeddings().weight.shape[1], length)

    def prefix(self, rows: torch.Tensor, neighbours: torch.Tensor | None = None) -> torch.Tensor:
        """Make soft tokens of rows.

        Parameters
        ----------
        rows : (n, n_dims) tensor, floating
            Aligned rows, noisy ones in training; of the mapper's dtype, or cast to it.
        neighbours : None
            Of `PrefixCaptioner` alone.

        Returns
        -------
        (n, length, width) tensor
            In the dtype of the language model's embeddings.
        """
        rows = rows.to(next(self.mapper.parameters()).dtype)
        return self.mapper(rows).to(self.lm.get_input_embeddings().weight.dtype)

    def forward(
        self,
        rows: torch.Tensor,
        input_ids: torch.Tensor,
        labels: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> Any:
        """Predict words behind rows, as a `transformers.Trainer` asks.

        Parameters
        ----------
        rows : (n, n_dims) tensor
            As in `prefix`.
        input_ids : (n, m) int64
            The words, with padding on the right.
        labels : (n, m) int64, optional
            The same, with -100 where nothing is to be learned.
        attention_mask : (n, m) integers, optional
            Of the words, as a tokenizer gives it: 0 is padding. The soft tokens are attended to.

        Returns
        -------
        dict
            "logits" (n, m, n_words) of each word, and with labels "loss", their mean cross-entropy in nats.
        """
        prefix = self.prefix(rows)
        embedded = torch.cat([prefix, self.lm.get_input_embeddings()(input_ids)], dim=1)
        mask = {} if attention_mask is None else {"attention_mask": _extended(attention_mask, input_ids, prefix)}
        logits = self.lm(inputs_embeds=embedded, use_cache=False, **mask).logits[:, prefix.shape[1] - 1 : -1]
        if labels is None:
            return {"logits": logits}
        loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        return {"loss": loss, "logits": logits}

    def state_dict(self, *args: Any, prefix: str = "", **options: Any) -> Any:
        """Return the weights by name, as torch does, with a copy of what several names share.

        `Trainer` writes its checkpoints as safetensors, which refuse tensors that share memory, as the embeddings and
        the head of GPT-2 do. Loaded again, both names fill the one parameter.

        Parameters
        ----------
        *args, prefix, **options : optional
            As in torch.

        Returns
        -------
        dict of tensor
            Every name, so that `load_state_dict` takes it with ``strict=True``.
        """
        found, seen = super().state_dict(*args, prefix=prefix, **options), set[int]()
        for name, parameter in self.named_parameters(remove_duplicate=False):
            if id(parameter) in seen and prefix + name in found:
                found[prefix + name] = found[prefix + name].clone()
            seen.add(id(parameter))
        return found

    @torch.no_grad()
    def generate(self, rows: torch.Tensor, **options: Any) -> torch.Tensor:
        """Say what a language model says behind rows.

        Parameters
        ----------
        rows : (n, n_dims) tensor
            Aligned rows.
        **options : optional
            Of transformers' `generate`.

        Returns
        -------
        (n, m) int64
            Tokens, without the soft ones.
        """
        prefix = self.prefix(rows)
        mask = torch.ones(prefix.shape[:2], dtype=torch.int64, device=prefix.device)
        return self.lm.generate(inputs_embeds=prefix, attention_mask=mask, **options)


def _extended(mask: torch.Tensor, input_ids: torch.Tensor, prefix: torch.Tensor) -> torch.Tensor:
    """A mask (n, length + m) of soft tokens and words."""
    if mask.shape != input_ids.shape:
        raise C3AlignError(
            f"attention_mask must be {tuple(input_ids.shape)}, like input_ids, got {tuple(mask.shape)}; pass that of "
            "the words alone"
        )
    if bool((mask[:, 1:] > mask[:, :-1]).any()):
        raise C3AlignError("input_ids must have their padding on the right; set tokenizer.padding_side = 'right'")
    return torch.cat([mask.new_ones(prefix.shape[:2]), mask], dim=1)


class PrefixModel(Projector):
    """Prefix tokens made of a row (and of the rows of `n_neighbours` neighbours, a token each), then words.

    The language model is one of transformers or of peft, ready to learn.
    """

    def __init__(self, lm: Any, mapper: str, n_dims: int, length: int, n_neighbours: int = 0) -> None:
        super().__init__(lm, n_dims, mapper=mapper, length=length, tune=None)
        width = lm.get_input_embeddings().weight.shape[1]
        self.neighbour_mapper = nn.Linear(n_dims, width) if n_neighbours else None
        self.places = nn.Parameter(torch.zeros(n_neighbours, width)) if n_neighbours else None

    def prefix(self, rows: torch.Tensor, neighbours: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings (n, length, width) of rows (n, n_dims) and their neighbours (n, n_neighbours, n_dims)."""
        prefix = self.mapper(rows)
        if self.neighbour_mapper is not None:
            prefix = torch.cat([self.neighbour_mapper(neighbours) + self.places, prefix], dim=1)
        return prefix.to(self.lm.get_input_embeddings().weight.dtype)

    def forward(  # type: ignore[override]
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
