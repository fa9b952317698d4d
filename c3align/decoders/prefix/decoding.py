"""Decoding by `GenerationMixin`, so that a caption depends on its row, the seed and the row's number alone.

The rounding of a matrix product changes with its shape, and can turn an argmax. So the language model always sees
blocks of one size: row r stands at place ``r % block_size``, and places without a row repeat one that has.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import transformers

from c3align import ops
from c3align._arguments import check_choice, check_whole, shown
from c3align._typing import Int64Array
from c3align.decoders.prefix.checks import neutral, own_settings
from c3align.decoders.prefix.task import Retrieval
from c3align.errors import C3AlignError
from c3align.io.model_configs import one_line
from c3align.training.rows import seed_of

# what transformers does to the logits before it draws, in its order
WARPERS = {
    "temperature": "TemperatureLogitsWarper",
    "top_k": "TopKLogitsWarper",
    "top_p": "TopPLogitsWarper",
    "min_p": "MinPLogitsWarper",
    "typical_p": "TypicalLogitsWarper",
    "epsilon_cutoff": "EpsilonLogitsWarper",
    "eta_cutoff": "EtaLogitsWarper",
}
DEFAULT_TOP_K = 50  # of transformers
BLOCK_SIZES = {"cpu": 16, "cuda": 64}
DRAWS, BEAMS = 2, 3  # purposes of a seed


class DrawnNoise(transformers.LogitsProcessor):
    """Gumbel noise on the logits: their argmax then is a draw from their softmax (Gumbel-max).

    The noise is a function of seed, row, step and word: Philox normals z, as uniform numbers Phi(z).
    """

    def __init__(self, seed: int, first_row: int, n_each: int) -> None:
        self.seed, self.first_row, self.n_each = seed, first_row, n_each

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        step, n_words = input_ids.shape[1], scores.shape[1]
        n_rows = scores.shape[0] // self.n_each
        normals = np.empty((n_rows, self.n_each, n_words), np.float32)
        for i in range(self.n_each):
            seed = seed_of(self.seed, DRAWS, step, i)
            normals[:, i] = ops.philox_normal(n_rows, n_words, seed=seed, row_offset=self.first_row)
        uniform_logs = torch.special.log_ndtr(torch.from_numpy(normals.reshape(scores.shape)).double())
        return scores - (-uniform_logs).log().to(scores)


class SeededSteps(transformers.LogitsProcessor):
    """Seeds the global generator at every step, for searches that draw from it."""

    def __init__(self, seed: int, first_row: int) -> None:
        self.seed, self.first_row = seed, first_row

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        torch.manual_seed(seed_of(self.seed, BEAMS, self.first_row, input_ids.shape[1]))
        return scores


def decode_rows(
    model: Any,
    rows: Any,
    numbers: Int64Array,
    retrieval: Retrieval | None,
    *,
    prompt_tokens: int,
    block_size: int,
    seed: int,
    options: dict[str, Any],
) -> Iterator[tuple[int, Any]]:
    """Number and tokens, (n_each, length), of every row (n, n_dims) float32; their numbers (n,) rise.

    The model is in eval mode, `prompt_tokens` are places for the words of neighbours, and `options` are those of
    ``generate``.
    """
    blocks = numbers // block_size
    for block in np.unique(blocks).tolist():
        here = np.flatnonzero(blocks == block)
        places = numbers[here] % block_size
        filled = np.full(block_size, here[0])
        filled[places] = here
        tokens = _decode_block(model, rows[filled], retrieval, prompt_tokens, seed, block * block_size, options)
        for place, number in zip(places.tolist(), numbers[here].tolist()):
            yield number, tokens[place]


def _decode_block(
    model: Any, rows: Any, retrieval: Retrieval | None, prompt_tokens: int, seed: int, first_row: int, options: Any
) -> Any:
    """Tokens (block_size, n_each, longest)."""
    options = dict(options)
    n_each = options.get("num_return_sequences") or 1
    embedded, mask = _prompted(model, rows, retrieval, prompt_tokens)
    processors = transformers.LogitsProcessorList(options.pop("logits_processor", []))
    beams = options.get("num_beams") or 1
    if options.get("do_sample") and beams == 1:
        processors += [*_warpers(model.lm, options), DrawnNoise(seed, first_row, n_each)]
        options["do_sample"] = False
        if n_each > 1:  # a greedy search gives one sequence; here are so many rows
            del options["num_return_sequences"]
            embedded, mask = embedded.repeat_interleave(n_each, 0), mask.repeat_interleave(n_each, 0)
    elif options.get("do_sample"):
        processors.append(SeededSteps(seed, first_row))
    kept = [embedded.device] if embedded.device.type == "cuda" else []
    options |= {"inputs_embeds": embedded, "attention_mask": mask, "logits_processor": processors}
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=kept):
            found = model.lm.generate(**options)
    except (ValueError, TypeError, IndexError) as error:
        fix = "pass other options or fewer max_new_tokens, or lm_settings='drop' if they are the model's own"
        raise C3AlignError(f"the language model cannot decode so: {one_line(error, 200)}; {fix}") from error
    tokens = getattr(found, "sequences", found)
    return tokens.cpu().numpy().reshape(len(rows), n_each, -1)


def _prompted(model: Any, rows: Any, retrieval: Retrieval | None, prompt_tokens: int) -> tuple[Any, Any]:
    """Prefixes with the words of their neighbours behind, (n, length, width), and what is to be read, (n, length).

    There is always a place that is not read, on the left: transformers drops a mask that masks nothing, and a block
    with one and a block without would not be rounded alike.
    """
    device = next(model.parameters()).device
    near, prompts = (None, None) if retrieval is None else retrieval.of(rows)
    with torch.inference_mode():
        tensors = [None if values is None else torch.from_numpy(values).to(device) for values in (rows, near)]
        prefix = model.prefix(*tensors)
        width = 1 + prefix.shape[1] + (0 if prompts is None else prompt_tokens)
        embedded = prefix.new_zeros(len(rows), width, prefix.shape[2])
        mask = torch.zeros(len(rows), width, dtype=torch.long, device=device)
        for i in range(len(rows)):
            whole = prefix[i]
            if prompts is not None:
                words = torch.from_numpy(prompts.of_texts(np.array([i])).astype(np.int64)).to(device)
                whole = torch.cat([whole, model.lm.get_input_embeddings()(words)])
            embedded[i, width - len(whole) :], mask[i, width - len(whole) :] = whole, 1
        return embedded, mask


def _warpers(lm: Any, options: dict[str, Any]) -> list[Any]:
    """transformers' own, from the options of a draw, which are taken out."""
    found = []
    for name, kind in WARPERS.items():
        value = options.pop(name, getattr(lm.generation_config, name, None))
        value = DEFAULT_TOP_K if value is None and name == "top_k" else value
        is_neutral = value is None or value == {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "typical_p": 1.0}.get(
            name, 0
        )
        if not is_neutral:
            found.append(getattr(transformers, kind)(value))
    return found


def spelled_out(options: dict[str, Any]) -> dict[str, Any]:
    """Options with those of a ``generation_config`` among them, over which c3align's own would win."""
    config = options.get("generation_config")
    if not isinstance(config, transformers.GenerationConfig | None):
        raise C3AlignError(
            f"generation_config must be one of transformers, got {shown(config)}; pass GenerationConfig(...), or its "
            "entries as options"
        )
    listed = {} if config is None else config.to_diff_dict()
    return {k: v for k, v in {**listed, **options}.items() if k not in ("generation_config", "transformers_version")}


def settled(
    lm: Any, tokenizer: Any, eos: int, max_tokens: int, given: dict[str, Any], told: set[str]
) -> dict[str, Any]:
    """All options of ``generate``: those given, c3align's own, and what the model's own settings add or not.

    What they add is told once, and put in `told`.
    """
    own, kept = own_settings(lm), given.pop("lm_settings", None)
    if kept is not None:
        check_choice("lm_settings", kept, ("keep", "drop"))
    heard = [name for name in own if name not in given and (given.get("do_sample") or name not in WARPERS)]
    if kept is None and heard and not told:
        told.update(heard)
        warnings.warn(
            f"the language model's own settings change captions: {', '.join(f'{k}={own[k]!r}' for k in heard)}"[:500]
            + "; pass lm_settings='keep' to use them without this warning, or lm_settings='drop'",
            stacklevel=2,
        )
    for name in ("num_beams", "num_return_sequences"):
        if given.get(name) is not None:
            check_whole(name, given[name])
    pad = eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    options = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "pad_token_id": pad, "eos_token_id": eos}
    if not {"max_new_tokens", "max_length"} & set(given):
        options["max_new_tokens"] = max_tokens
    return {**(neutral(lm) if kept == "drop" else {}), **options, **given}


def block_size(given: Any, device: str) -> int:
    """How many rows the language model sees at once: those asked for, or usual ones of a kind of device."""
    return BLOCK_SIZES.get(device, 64) if given is None else check_whole("block_size", given)


def drawing(n_draws: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The options by which `n_draws` captions of a row are drawn, for their consensus."""
    check_whole("consensus", n_draws)
    wrong = next((name for name in ("num_beams", "do_sample", "num_return_sequences") if name in options), None)
    if wrong is not None:
        raise C3AlignError(f"consensus= draws captions, which {wrong}= would change; omit one of them")
    return {"top_k": 0, **options, "do_sample": True, "num_return_sequences": n_draws}
