"""The language models of transformers with random weights and some thousand parameters, and tokenizers of words."""

from __future__ import annotations

import torch

from tests import tiny_encoders

SPECIAL = ["<pad>", "</s>", "<unk>"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}
WIDE = {"intermediate_size": 64, "num_key_value_heads": 2}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}


def tokenizer(texts):
    """Words at white space, in alphabetical order."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for text in texts for word in text.split()})
    core = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate([*SPECIAL, *words])}, unk_token="<unk>")
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    names = dict(zip(("pad_token", "eos_token", "unk_token"), SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)


def _gpt2(hf, n_words, **changes):
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    return hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=n_words, **{**sizes, **IDS, **changes}))


def _llama(hf, n_words, **changes):
    return hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=n_words, **{**SMALL, **WIDE, **IDS, **changes}))


def _qwen(hf, n_words, **changes):
    return hf.Qwen2ForCausalLM(hf.Qwen2Config(vocab_size=n_words, **{**SMALL, **WIDE, **IDS, **changes}))


def _opt(hf, n_words, **changes):
    # token embeddings narrower than the layers, as in the 350M model
    sizes = {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 16}
    return hf.OPTForCausalLM(hf.OPTConfig(vocab_size=n_words, **{**sizes, **IDS, **changes}))


KINDS = {"gpt2": _gpt2, "llama": _llama, "qwen2": _qwen, "opt": _opt}


def build(kind, texts, seed=0, **changes):
    """A model and its tokenizer, for the words of `texts`."""
    tiny_encoders.import_torchvision()
    import transformers as hf

    words = tokenizer(texts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KINDS[kind](hf, len(words), **changes), words
