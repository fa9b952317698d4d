"""Language models: made ready to learn, read and written without code that runs, and a small one from scratch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from c3align._arguments import check_seed, check_whole, checked, shown
from c3align._imports import need
from c3align.decoders.prefix.checks import LORA, check_lm, load_tokenizer, lora_problem
from c3align.errors import C3AlignError
from c3align.io import model_configs, model_folders

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"


def end_of_text(lm: Any, tokenizer: Any) -> int:
    """The token that ends a caption."""
    if getattr(lm, "get_input_embeddings", None) is None or getattr(lm, "get_output_embeddings", None) is None:
        raise C3AlignError(f"lm must be a causal language model of transformers, got a {type(lm).__name__}")
    found = tokenizer.eos_token_id
    if found is None:
        found = lm.config.get_text_config().eos_token_id
    found = found[0] if isinstance(found, list | tuple) and found else found
    if found is None:
        raise C3AlignError("neither tokenizer nor model has an end-of-text token; set tokenizer.eos_token")
    return int(found)


def adapted(lm: Any, tune: str, lora: dict[str, Any] | None) -> Any:
    """The language model with those weights trainable that `tune` selects."""
    check_lm(lm, tune)
    for parameter in lm.parameters():
        parameter.requires_grad_(tune == "full")
    if tune != "lora":
        return lm
    peft = need("peft", "peft", "captions")
    problem = lora_problem(lora or {}, lm)
    if problem is not None:
        raise C3AlignError(
            f"LoRA that a folder can keep is needed, and {problem}; pass some of {', '.join(sorted(LORA))}"
        )
    try:
        config = peft.LoraConfig(task_type="CAUSAL_LM", **(lora or {}))
        return peft.get_peft_model(lm, config)
    except (TypeError, ValueError) as error:
        raise C3AlignError(
            f"LoRA cannot be put into a {type(lm).__name__} ({error}); pass lora={{'target_modules': [...]}} with "
            "names of its layers, and settings that peft.LoraConfig knows"
        ) from error


def is_adapter(name: str) -> bool:
    """Whether a tensor is one that LoRA added to a language model."""
    return ".lora_" in name or ".modules_to_save." in name


def save_lm(lm: Any, tokenizer: Any, folder: Path) -> None:
    """By their own `save_pretrained`; of a model with LoRA the weights that it was made of."""
    base = lm.get_base_model() if hasattr(lm, "get_base_model") else lm
    state = {name: value for name, value in base.state_dict().items() if not is_adapter(name)}
    weights = {re.sub(r"\.(base_layer|original_module)\.", ".", name): value for name, value in state.items()}
    try:
        with _without_bars():
            base.save_pretrained(folder, state_dict=weights, safe_serialization=True)
        tokenizer.save_pretrained(folder)
    except Exception as error:
        if type(error) not in (SafetensorError, Exception):  # what compiled code raises in place of an OSError
            raise
        raise OSError(f"{str(folder)!r} cannot be written: {error}") from error


@contextmanager
def _without_bars() -> Iterator[None]:
    """transformers shows a bar for every file; it goes back to doing so afterwards."""
    logging = need("transformers.utils.logging", "transformers", "captions")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_lm(folder: str | os.PathLike[str], dtype: str = "float32") -> tuple[Any, Any]:
    """Language model and tokenizer of a folder, or by a name of the Hub: safetensors only, no remote code.

    All files are looked through before transformers sees them; every weight must be there, and finite. "auto" as
    `dtype` keeps that of the weights; small steps would be lost in half precision.
    """
    hf = need("transformers", "transformers", "captions")
    fix = (
        "pass a folder with safetensors of a causal language model of transformers, or the name of one on the Hub; or "
        "small_lm(captions), which needs no download and starts from random weights"
    )
    with model_configs.loading(f"the language model {str(folder)!r} cannot be loaded", fix), _without_bars():
        found = model_folders.fetched(os.fspath(folder))
        return _whole_lm(hf, found, dtype), load_tokenizer(found)


def _whole_lm(hf: Any, folder: Path, dtype: str) -> Any:
    known = need("transformers.models.auto.modeling_auto", "transformers", "captions")
    described = model_configs.read_config(folder / "config.json")
    kind = described.get("model_type") if isinstance(described, dict) else None
    if not isinstance(kind, str) or kind not in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        reason = f"{kind!r} is no type of causal language model that transformers has"
        raise model_configs.refused(folder, reason, "use one such as gpt2, opt, llama or qwen2")
    weights = model_folders.check_folder(folder)
    config = hf.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model_folders.check_size(lambda: hf.AutoModelForCausalLM.from_config(config), weights, folder)
    options = {"trust_remote_code": False, "use_safetensors": True, "output_loading_info": True, "dtype": dtype}
    lm, told = hf.AutoModelForCausalLM.from_pretrained(folder, **options)
    model_folders.check_built(told, folder)
    return model_folders.check_finite(lm, folder)


def word_tokenizer(texts: Iterable[str]) -> Any:
    """A Hugging Face tokenizer whose tokens are the words of the texts; any other word becomes ``<unk>``."""
    known = list(texts)
    if not all(isinstance(text, str) for text in known):
        raise C3AlignError(f"texts must be a list of strings, got {shown(texts)}; pass the captions to learn")
    words = sorted({word for text in known for word in text.split()} - {PAD, EOS, UNKNOWN})
    if not words:
        raise C3AlignError("these texts contain no words; pass texts with words")
    tokenizers, hf = need("tokenizers", "transformers", "captions"), need("transformers", "transformers", "captions")
    vocabulary = {word: i for i, word in enumerate([PAD, EOS, UNKNOWN, *words])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": PAD, "eos_token": EOS, "unk_token": UNKNOWN}
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)


@checked
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
    """Make a GPT-2 with random weights and a word tokenizer, for `PrefixCaptioner`.

    Parameters
    ----------
    texts : iterable of str
        The texts to be trained on, whose words become the vocabulary.
    width, n_layers, n_heads : int
        Size of the model; `n_heads` divides `width`.
    dropout : float
        Probability of all three kinds of dropout in GPT-2.
    max_tokens : int
        Largest number of tokens, prefix included.
    seed : int
        Seed of the weights.

    Returns
    -------
    lm : GPT2LMHeadModel
        The model, on the CPU.
    tokenizer : PreTrainedTokenizerFast
        Splits at white space.
    """
    torch, hf = need("torch", "torch", "captions"), need("transformers", "transformers", "captions")
    for name, value in (("width", width), ("n_layers", n_layers), ("n_heads", n_heads), ("max_tokens", max_tokens)):
        check_whole(name, value)
    check_seed(seed)
    if not 0 <= dropout < 1:
        raise C3AlignError(f"dropout must be in [0, 1), got {dropout}; pass 0 for none")
    if width % n_heads:
        raise C3AlignError(f"n_heads must divide width, got {n_heads} and {width}; pass a divisor")
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
