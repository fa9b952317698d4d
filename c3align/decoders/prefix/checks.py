"""What is refused before a language model learns: by what it computes and whether it comes back, not by its name."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c3align._imports import need
from c3align.decoders.prefix.tokens import Tokens
from c3align.errors import C3AlignError
from c3align.io.model_configs import one_line

LENGTH, PADDING = 8, (1, 3)  # of the two rows that a language model is tried on
ROUNDING, ROUNDING_HALF = 1e-3, 0.1  # parts of the largest logit by which two ways of computing it may differ
KEPT = {"float32", "float16", "bfloat16"}  # that a folder may hold
PLAIN = ("PreTrainedTokenizerFast", "TokenizersBackend")  # names of one class
DECODED = 1000  # captions that are also turned back into text
LORA = {"alpha_pattern", "bias", "exclude_modules", "fan_in_fan_out", "init_lora_weights", "layers_pattern"}
LORA |= {"lora_bias", "layers_to_transform", "lora_alpha", "lora_dropout", "modules_to_save", "r", "rank_pattern"}
LORA |= {"target_modules", "use_dora", "use_rslora"}
LORA_STARTS = (True, False, "gaussian", "orthogonal")  # others change the language model, or need data
MODULE_NAMES = re.compile(r"(?:[\w.|^$\\()-]|\.\*){0,300}")  # of which no pattern takes long, with few ".*"
LORA_BYTES = 1 << 26  # beside as many as the language model has
# what c3align sets itself, or what changes no word
UNHEARD = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version"}
UNHEARD |= {"do_sample", "num_beams", "num_return_sequences", "max_length", "max_new_tokens", "use_cache"}
UNHEARD |= {"output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate"}
UNHEARD |= {"cache_implementation", "cache_config", "_from_model_config"}


def own_settings(lm: Any) -> dict[str, Any]:
    """What a language model's own generation settings change about its captions."""
    return {name: value for name, value in lm.generation_config.to_diff_dict().items() if name not in UNHEARD}


def neutral(lm: Any) -> dict[str, Any]:
    """Options that undo a language model's own generation settings."""
    return {name: 0 if name == "min_length" else None for name in own_settings(lm)}


def check_lm(lm: Any, tune: str) -> None:
    """Refuse a language model that would learn or say something wrong, or would not come back from a folder."""
    fix = "pass a causal language model of transformers, such as gpt2, llama or qwen2"
    if getattr(lm, "peft_config", None):
        raise C3AlignError("lm must be a language model without adapters, got one of peft; pass lm.merge_and_unload()")
    _refuse_quantized(lm)
    check_weights(lm, tune)
    for reason in (_not_the_same_again(lm), _tried(lm)):
        if reason is not None:
            raise C3AlignError(f"lm cannot be used: a {type(lm).__name__} {reason}; {fix}")


def _refuse_quantized(lm: Any) -> None:
    """By its weights, which say other numbers than they hold; and by what its configuration would do at loading."""
    torch = need("torch", "torch", "captions")
    told = getattr(lm.config, "quantization_config", None) or getattr(lm, "is_quantized", False)
    for name, weight in lm.named_parameters():
        if told or not weight.is_floating_point() or type(weight.data) is not torch.Tensor:
            raise C3AlignError(
                f"the weights must be numbers as they are, got a quantized {type(lm).__name__} (first {name!r}); load "
                "it without quantization, in half precision for tune='lora' or 'frozen'"
            )


def check_weights(lm: Any, tune: str) -> None:
    """Refuse weights that are too coarse to learn, or that a folder cannot hold."""
    found = {str(weight.dtype).removeprefix("torch.") for weight in lm.parameters() if weight.is_floating_point()}
    strange = sorted(found - ({"float32"} if tune == "full" else KEPT))
    if strange:
        raise C3AlignError(
            f"the weights must be float32, or in half precision where they do not learn, got {strange[0]}; pass "
            "lm.float(), with Training(precision='bfloat16') to compute in half precision"
        )


def _not_the_same_again(lm: Any) -> str | None:
    """Why the model that a folder's configuration describes would be another one."""
    torch, hf = need("torch", "torch", "captions"), need("transformers", "transformers", "captions")
    try:
        with torch.device("meta"):
            again = hf.AutoModelForCausalLM.from_config(lm.config)
        lm.generation_config.validate(strict=True)  # else it could not be saved
    except Exception as error:
        return f"is none that transformers would load again ({one_line(error, 120)})"
    if type(again) is not type(lm):
        return f"would be loaded as a {type(again).__name__}"
    own, other = ({name: getattr(value, "shape", None) for name, value in m.state_dict().items()} for m in (lm, again))
    changed = sorted(name for name in own.keys() | other.keys() if own.get(name) != other.get(name))
    return f"has other tensors than its configuration says, first {changed[0]!r}" if changed else None


def _tried(lm: Any) -> str | None:
    """Why two rows of different lengths are read in another way in generation than in training."""
    torch, was_training = need("torch", "torch", "captions"), lm.training
    try:
        with torch.no_grad():  # tables that a model makes on the way must serve in training too
            return _difference(torch, lm.eval())
    except Exception as error:
        return f"cannot caption rows ({one_line(error, 200)})"
    finally:
        lm.train(was_training)


def _difference(torch: Any, lm: Any) -> str | None:
    embed = lm.get_input_embeddings()
    tokens = torch.arange(2 * LENGTH, device=embed.weight.device).reshape(2, LENGTH) % len(embed.weight)
    rows = embed(tokens)
    logits = lm(inputs_embeds=rows, use_cache=False).logits
    if logits.shape[:2] != rows.shape[:2]:
        return "gives no word for every place"
    if _far(logits[:, :-1], lm(inputs_embeds=rows[:, :-1], use_cache=False).logits):
        return "sees words that it is to predict"
    mask = torch.ones_like(tokens)
    for i, n in enumerate(PADDING):
        mask[i, :n] = 0
    options = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "max_new_tokens": 2, "min_new_tokens": 2}
    options |= {"output_logits": True, "return_dict_in_generate": True, "pad_token_id": 0}
    said = lm.generate(inputs_embeds=rows, attention_mask=mask, **{**neutral(lm), **options})
    first = embed(said.sequences[:, :1])
    for i, n in enumerate(PADDING):
        alone = torch.cat([rows[i, n:], first[i]])[None]
        logits = lm(inputs_embeds=alone, use_cache=False).logits[0, -2:]
        if _far(torch.stack([step[i] for step in said.logits]), logits):
            return "says other words behind padding than without it, since it ignores masks or counts padding"
    return None


def _far(a: Any, b: Any) -> bool:
    is_half = min(a.element_size(), b.element_size()) < 4  # `generate` gives a model's halves in float32
    within = ROUNDING_HALF if is_half else ROUNDING
    return not bool((a - b).abs().max() <= within * b.abs().max())


def plain(lora: Any) -> Any:
    """LoRA's settings as a JSON file has them."""
    if not isinstance(lora, dict):
        return lora
    lists = {name: list(value) for name, value in lora.items() if isinstance(value, tuple)}
    return {**lora, **lists, **{k: sorted(v) for k, v in lora.items() if isinstance(v, set | frozenset)}}


def lora_problem(lora: Any, lm: Any) -> str | None:
    """Why settings of LoRA are not taken: they would not come back, import, search for long, or fill the memory."""
    if not isinstance(lora, dict):
        return f"its LoRA settings are a {type(lora).__name__} and not a dict"
    strange = {name: value for name, value in lora.items() if name not in LORA}
    if lora.get("init_lora_weights", True) not in LORA_STARTS:
        strange["init_lora_weights"] = lora["init_lora_weights"]
    if strange:
        return f"its LoRA settings {str(strange)[:200]!r} are not known"
    for value in lora.values():
        names = list(value) if isinstance(value, list | dict) else [value]
        texts = [name for name in names if isinstance(name, str)]
        if not all(MODULE_NAMES.fullmatch(text) and text.count(".*") <= 2 for text in texts):
            return "its LoRA settings hold a pattern that c3align does not search for"
    patterns = lora.get("rank_pattern") or {}
    ranks = [lora.get("r", 8), *(patterns.values() if isinstance(patterns, dict) else [None])]
    if not all(type(rank) is int and rank > 0 for rank in ranks):
        return "a rank of its LoRA is no number"
    sides = sum(sum(weight.shape) for weight in lm.parameters() if weight.ndim == 2)
    if 4 * max(ranks) * sides > LORA_BYTES + sum(weight.nbytes for weight in lm.parameters()):
        return f"LoRA of rank {max(ranks)} is larger than the language model"
    return None


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder. One of a class without rules of its own is what its file says, whatever the model."""
    hf = need("transformers", "transformers", "captions")
    auto = need("transformers.models.auto.tokenization_auto", "transformers", "captions")
    is_plain = auto.get_tokenizer_config(folder).get("tokenizer_class") in PLAIN
    kind = hf.PreTrainedTokenizerFast if is_plain else hf.AutoTokenizer
    return kind.from_pretrained(folder, trust_remote_code=False)


def check_tokens(lm: Any, tokenizer: Any, texts: Sequence[str], tokens: Tokens, eos: int) -> None:
    """Refuse captions that the tokenizer does not know, and a tokenizer that a folder would not give back."""
    flat, n_words = tokens.flat, lm.get_input_embeddings().weight.shape[0]
    unknown = 0 if tokenizer.unk_token_id in (None, eos) else int((flat == tokenizer.unk_token_id).sum())
    ends = np.flatnonzero(flat == eos)
    problem: str | None
    if flat.max() >= n_words:
        problem = f"the captions hold token {flat.max()}, and the language model has {n_words}; pass its own tokenizer"
    elif len(ends) > len(texts):
        first = int(np.flatnonzero(ends + 1 != np.resize(tokens.starts[1:], len(ends)))[0])
        problem = f"caption {first} holds the end-of-text token {tokenizer.decode(eos)!r}; remove it there"
    elif 2 * unknown > len(flat) - len(texts):
        problem = f"{unknown} of {len(flat) - len(texts)} tokens of the captions are unknown; pass a tokenizer of them"
    else:
        problem = _changed(lm, tokenizer, texts, tokens, eos)
    if problem is not None:
        raise C3AlignError(f"tokenizer and captions must fit the language model: {problem}")


def _changed(lm: Any, tokenizer: Any, texts: Sequence[str], tokens: Tokens, eos: int) -> str | None:
    """Why a tokenizer comes back from a folder as another one: other tokens of a text, or another text for them."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            for part in (lm.config, tokenizer):
                part.save_pretrained(folder)
            again = load_tokenizer(Path(folder))
        found = Tokens.of(texts, again, eos)
        few = [tokens.of_texts(np.array([i])) for i in range(min(DECODED, len(tokens)))]
        kept = np.array_equal(found.flat, tokens.flat) and np.array_equal(found.starts, tokens.starts)
        kept = kept and tokenizer.batch_decode(few) == again.batch_decode(few)
        reason = "gives other tokens, or other texts for them"
    except Exception as error:
        kept, reason = False, one_line(error, 200)
    kind = type(tokenizer).__name__
    return None if kept else f"a {kind} that comes back from a folder {reason}; pass one that save_pretrained keeps"
