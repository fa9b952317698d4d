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


# what a type of model calls its sizes, or needs besides
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
HEADS, WINDOW = {"head_dim": 8}, {"head_dim": 8, "sliding_window": 8}
EXPERTS = {"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 32}
STATES = {"state_size": 4, "num_heads": 8, "n_groups": 1, "chunk_size": 4, **HEADS}
KINDS = {
    "gpt2": GPT,
    "llama": {},
    "qwen2": {},
    # token embeddings narrower than the layers, as in the 350M model
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 16},
}
MORE = {
    **{kind: {} for kind in ("biogpt", "cohere", "falcon", "gpt_neox", "mistral", "nemotron", "olmo", "olmo2")},
    **{kind: {} for kind in ("granite", "persimmon", "phi", "phi3", "smollm3", "stablelm", "starcoder2")},
    **dict.fromkeys(("gemma", "helium", "qwen3"), HEADS),
    **dict.fromkeys(("gemma2", "gemma3_text"), WINDOW),
    **{kind: {**GPT, "rotary_dim": 4} for kind in ("codegen", "gptj")},
    "bloom": {"n_head": 4, "n_layer": 2},
    "falcon_mamba": {"state_size": 4},
    "gpt_bigcode": GPT,
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 4},
    "mamba": {"state_size": 4},
    "mamba2": STATES,
    "mixtral": EXPERTS,
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 128},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 32},
    "xglm": {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64},
}
DECODER = {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 64}
REFUSED = {
    **{kind: {} for kind in ("bert", "electra", "roberta")},
    "bart": DECODER,
    "ctrl": {**GPT, "dff": 64},
    "openai-gpt": GPT,
    "recurrent_gemma": {"lru_width": 32, "attention_window_size": 8, "num_hidden_layers": 3},
    "rwkv": {"attention_hidden_size": 32, "context_length": 128},
}


def build(kind, texts, seed=0, **changes):
    """A model and its tokenizer, for the words of `texts`."""
    tiny_encoders.import_torchvision()
    import transformers as hf

    words = tokenizer(texts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {**SMALL, **WIDE, **IDS, **{**KINDS, **MORE, **REFUSED}[kind], **changes}
        config = type(hf.AutoConfig.for_model(kind))(vocab_size=len(words), **sizes)
        return hf.AutoModelForCausalLM.from_config(config), words
