"""A small language model over the words of given texts, for where no trained one is: from scratch, as in DeCap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from c3align._imports import need
from c3align.errors import C3AlignError

__all__ = ["small_lm", "word_tokenizer"]

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"


def word_tokenizer(texts: Iterable[str]) -> Any:
    """A Hugging Face tokenizer whose tokens are the words of the texts, split at white space.

    Parameters
    ----------
    texts : iterable of str
        A word that is not in them becomes ``<unk>``.

    Returns
    -------
    PreTrainedTokenizerFast; it saves and loads as any other.
    """
    words = sorted({word for text in texts for word in text.split()} - {PAD, EOS, UNKNOWN})
    if not words:
        raise C3AlignError("there is no word in these texts; pass some")
    tokenizers, hf = need("tokenizers", "transformers", "captions"), need("transformers", "transformers", "captions")
    vocabulary = {word: i for i, word in enumerate([PAD, EOS, UNKNOWN, *words])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": PAD, "eos_token": EOS, "unk_token": UNKNOWN}
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)


def small_lm(
    texts: Iterable[str],
    *,
    width: int = 192,
    n_layers: int = 2,
    n_heads: int = 4,
    dropout: float = 0.1,
    max_tokens: int = 64,
    seed: int = 0,
) -> tuple[Any, Any]:
    """A GPT-2 with random weights and its tokenizer of words, for `PrefixCaptioner`.

    Parameters
    ----------
    texts : iterable of str
        What it will be trained on: they give it its words.
    width, n_layers, n_heads : int
    dropout : float
        Of all three kinds that GPT-2 has.
    max_tokens : int
        Prefix and words together.
    seed : int
        Of the weights.

    Returns
    -------
    (GPT2LMHeadModel, PreTrainedTokenizerFast)
    """
    torch, hf = need("torch", "torch", "captions"), need("transformers", "transformers", "captions")
    tokenizer = word_tokenizer(texts)
    config = hf.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=max_tokens,
        n_embd=width,
        n_layer=n_layers,
        n_head=n_heads,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return hf.GPT2LMHeadModel(config), tokenizer
