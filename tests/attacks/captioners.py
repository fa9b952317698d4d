"""Folders of captioners: the language model's configuration and weights, LoRA's settings, the mapper."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

from tests.attacks import attack, honest, kept
from tests.attacks.encoders import PAYLOAD, changed, header, pickled, tensors


@cache
def trained(tune: str) -> Path:
    """A captioner with a GPT-2 of 122 kB, built once."""
    from c3align.decoders import PrefixCaptioner
    from tests import tiny_lms

    folder = kept()
    lm, words = tiny_lms.build("gpt2", honest.TEXTS)
    made = PrefixCaptioner(lm, words, n_dims=8, prefix_length=2, tune=tune, lora={"r": 2} if tune == "lora" else None)
    made.fit(honest.rows(4), honest.TEXTS, aligner=None, **honest.QUICK).save_pretrained(folder / "captioner")
    return folder / "captioner"


def copied(folder: Path, tune: str = "full") -> Path:
    shutil.copytree(trained(tune), folder / "captioner")
    for place in (folder, folder / "captioner" / "lm"):
        (place / "evil.py").write_text(PAYLOAD)
    return folder / "captioner"


def lm(folder: Path, file: str = "config.json", **values) -> Path:
    """A captioner whose language model's configuration has other values."""
    given = copied(folder)
    changed(given / "lm" / file, **values)
    return given


def settings(folder: Path, tune: str = "full", **values) -> Path:
    """A captioner with other settings of its own, and without the copy that would tell."""

    def change(found):
        config = json.loads(found["__metadata__"]["config"])
        found["__metadata__"]["config"] = json.dumps({**config, **values})

    given = copied(folder, tune)
    header(given / "captioner.safetensors", change)
    (given / "config.json").unlink()
    return given


def lora(folder: Path, **values) -> Path:
    return settings(folder, "lora", lora={"r": 2, **values})


@attack("captioner", "'auto_map' names code")
def names_a_language_model_of_a_file_beside_it(folder: Path) -> Path:
    """`auto_map` of lm/config.json."""
    return lm(folder, auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"})


@attack("captioner", "'auto_map' names code")
def names_a_tokenizer_of_a_file_beside_it(folder: Path) -> Path:
    """`auto_map` of lm/tokenizer_config.json."""
    return lm(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})


@attack("captioner", "custom_generate leads to code")
def brings_its_own_generate(folder: Path) -> Path:
    """lm/custom_generate/generate.py, which transformers runs when it is trusted."""
    given = copied(folder)
    (given / "lm" / "custom_generate").mkdir()
    (given / "lm" / "custom_generate" / "generate.py").write_text(PAYLOAD)
    return given


@attack("captioner", "'custom_generate' names code")
def names_its_own_generate(folder: Path) -> Path:
    """`custom_generate` in lm/generation_config.json."""
    return lm(folder, "generation_config.json", custom_generate="stranger/generate")


@attack("captioner", "no attention of the library's own")
def attends_by_a_kernel_of_the_hub(folder: Path) -> Path:
    """`_attn_implementation_internal` of lm/config.json (CVE-2026-4372)."""
    return lm(folder, _attn_implementation_internal="stranger/kernel")


@attack("captioner", "adapter_config.json leads to")
def adapts_a_model_of_the_hub(folder: Path) -> Path:
    """lm/adapter_config.json names another base model, which transformers fetches."""
    given = copied(folder)
    (given / "lm" / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "a/b"}')
    return given


@attack("captioner", "'evil' is no type of causal language model")
def is_of_its_own_type(folder: Path) -> Path:
    """`model_type` that the library does not know."""
    return lm(folder, model_type="evil")


@attack("captioner", "is no type of causal language model")
def is_no_language_model(folder: Path) -> Path:
    """A type that loads other models: an encoder and a decoder by name."""
    return lm(folder, model_type="encoder-decoder")


@attack("captioner", "are pickles .* convert them")
def has_pickled_weights(folder: Path) -> Path:
    """lm/pytorch_model.bin, a pickle that runs code."""
    given = copied(folder)
    (given / "lm" / "model.safetensors").unlink()
    (given / "lm" / "pytorch_model.bin").write_bytes(pickled(folder))
    return given


@attack("captioner", "link out of the folder")
def links_its_tokenizer_to_a_secret(folder: Path) -> Path:
    """lm/tokenizer.json is a link to a file of the user."""
    given = copied(folder)
    (given / "lm" / "tokenizer.json").unlink()
    (given / "lm" / "tokenizer.json").symlink_to("/etc/hostname")
    return given


@attack("captioner", "wants more than .* parts")
def states_three_thousand_layers(folder: Path) -> Path:
    """`n_layer` of 3000: all but two of them would be random."""
    return lm(folder, n_layer=3000)


@attack("captioner", "its configuration wants .* numbers")
def states_one_layer_more(folder: Path) -> Path:
    """`n_layer` of 3 where there are weights of two."""
    return lm(folder, n_layer=3)


@attack("captioner", "no published model has so many")
def states_a_billion_layers(folder: Path) -> Path:
    """`n_layer` of a billion."""
    return lm(folder, n_layer=10**9)


@attack("captioner", "its configuration wants .* numbers")
def states_a_vocabulary_of_gigabytes(folder: Path) -> Path:
    """`vocab_size` that asks for 2.4 GB in a folder of 122 kB."""
    return lm(folder, vocab_size=18_750_000)


@attack("captioner", "its configuration wants .* numbers|cannot be built")
def states_positions_without_end(folder: Path) -> Path:
    """`n_positions` of 10**12."""
    return lm(folder, n_positions=10**12)


@attack("captioner", "cannot be loaded|cannot be built|its weights lack")
def has_another_width(folder: Path) -> Path:
    """`n_embd` of half the width: every tensor has another shape."""
    return lm(folder, n_embd=16)


@attack("captioner", "no published model has so many")
def marks_a_billion_tokens(folder: Path) -> Path:
    """A tokenizer of T5 that would make a billion tokens."""
    return lm(folder, "tokenizer_config.json", tokenizer_class="T5Tokenizer", extra_ids=10**9)


@attack("captioner")
def pads_to_a_billion_tokens(folder: Path) -> Path:
    """The tokenizer's own file pads every text to a billion tokens; transformers pads by itself."""
    given = copied(folder)
    padding = {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}
    changed(given / "lm" / "tokenizer.json", padding=padding)
    return given


@attack("captioner")
def has_a_chat_template_that_runs_forever(folder: Path) -> Path:
    """A Jinja template with code and a loop without end, which nothing renders."""
    given = copied(folder)
    loop = "{% for i in range(10**9) %}{{ cycler.__init__.__globals__.os.system('touch ran') }}{% endfor %}"
    (given / "lm" / "chat_template.jinja").write_text(loop)
    return given


@attack("captioner", "its configuration wants .* numbers|its weights lack")
def lacks_a_tensor(folder: Path) -> Path:
    """A tensor of the language model is missing."""
    given = copied(folder)
    tensors(given / "lm" / "model.safetensors", lambda found: found.pop("transformer.h.0.ln_1.weight"))
    return given


@attack("captioner", "its weights lack 'transformer.h.0.ln_1.weight'")
def renames_a_tensor(folder: Path) -> Path:
    """A tensor under another name: as many numbers, and one layer at random."""

    def rename(found):
        found["transformer.h.0.nothing"] = found.pop("transformer.h.0.ln_1.weight")

    given = copied(folder)
    tensors(given / "lm" / "model.safetensors", rename)
    return given


@attack("captioner", "is not finite")
def has_a_weight_that_is_no_number(folder: Path) -> Path:
    """One NaN in the language model."""

    def spoil(found):
        found["transformer.wte.weight"][0, 0] = float("nan")

    given = copied(folder)
    tensors(given / "lm" / "model.safetensors", spoil)
    return given


@attack("captioner", "is of type 'F64'")
def has_weights_of_double_size(folder: Path) -> Path:
    """float64 weights of the language model."""
    given = copied(folder)
    tensors(given / "lm" / "model.safetensors", lambda found: found.update({k: v.double() for k, v in found.items()}))
    return given


@attack("captioner", "tensor 'mapper.net.0.weight' is")
def has_a_mapper_of_gigabytes(folder: Path) -> Path:
    """`n_dims` and `prefix_length` at their largest: gigabytes of a mapper before its tensors are compared."""
    return settings(folder, n_dims=1 << 16, prefix_length=1 << 10)


@attack("captioner", "tensor .* is missing|unknown tensor")
def has_a_transformer_for_a_mapper(folder: Path) -> Path:
    """Another kind of mapper than the tensors are of."""
    return settings(folder, mapper="transformer", prefix_length=1 << 10)


@attack("captioner", "LoRA settings .* are not known")
def imports_by_lora(folder: Path) -> Path:
    """`megatron_core` of LoRA's settings names a module to import."""
    return lora(folder, megatron_config={"a": 1}, megatron_core="evil")


@attack("captioner", "LoRA settings .* are not known")
def starts_lora_by_a_decomposition(folder: Path) -> Path:
    """`init_lora_weights` that changes the language model's own weights."""
    return lora(folder, init_lora_weights="pissa_niter_100000")


@attack("captioner", "pattern that c3align does not search for")
def searches_for_ages(folder: Path) -> Path:
    """`target_modules` is an expression that backtracks for ages."""
    return lora(folder, target_modules="(([a-z._0-9]+)+)+X")


@attack("captioner", "LoRA of rank 100000000 is larger")
def has_lora_of_gigabytes(folder: Path) -> Path:
    """`r` of a hundred million."""
    return lora(folder, r=10**8)


@attack("captioner", "LoRA of rank 100000000 is larger")
def has_lora_of_gigabytes_in_one_layer(folder: Path) -> Path:
    """`rank_pattern` of a hundred million for one layer."""
    return lora(folder, rank_pattern={"c_attn": 10**8})


@attack("captioner", "modality must be a short printable string")
def paints_the_terminal(folder: Path) -> Path:
    """The modality is an escape sequence."""
    return settings(folder, modality="\x1b[2J")
