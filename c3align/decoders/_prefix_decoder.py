"""The half of `PrefixCaptioner` that says captions: what is asked of transformers, and which draw is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align._typing import Int64Array
from c3align.decoders._caption_rows import Retrieval
from c3align.decoders._consensus import consensus
from c3align.decoders._prefix_parts import check_seed
from c3align.decoders._stream import Captioner
from c3align.errors import C3AlignError

__all__ = ["PrefixDecoder"]

TEMPERATURE = 0.1  # of the neighbours' weights, as MemoryCaptioner's
BLOCK_SIZES = {"cpu": 16, "cuda": 64}


class PrefixDecoder(Captioner):
    """Decodes rows by a model that is there."""

    lm: Any
    tokenizer: Any
    n_neighbours: int
    max_tokens_: int
    _model: Any
    _eos: int
    _prompt_tokens: int
    _retrieval: Retrieval | None

    def _captions(
        self, rows: npt.NDArray[np.float32], numbers: Int64Array, seed: int, options: dict[str, Any]
    ) -> Iterator[tuple[int, Any]]:
        decoding = need("c3align.decoders._caption_decoding", "transformers", "captions")
        options = dict(options)
        n_draws = options.pop("consensus", None)
        if n_draws is not None:
            options = _drawing(n_draws, options)
        several = (options.get("num_return_sequences") or 1) > 1
        block_size = options.pop("block_size", None) or BLOCK_SIZES.get(self.lm.device.type, 64)
        found = decoding.decode_rows(
            self._model,
            rows,
            numbers,
            self._retrieval,
            prompt_tokens=self._prompt_tokens,
            block_size=block_size,
            seed=check_seed(seed),
            options=self._options(options),
        )
        for i, (number, tokens) in enumerate(found):
            texts = [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
            if n_draws is not None:
                yield number, self._agreed(texts, rows[i : i + 1])
            else:
                yield number, texts if several else texts[0]

    def _agreed(self, draws: list[str], row: npt.NDArray[np.float32]) -> str:
        """The consensus of draws, and of the row's neighbours, which weigh as much together."""
        texts, weights = draws, np.full(len(draws), 1 / len(draws))
        if self._retrieval is not None:
            scores, places = self._retrieval.memory.nearest(row, self.n_neighbours)
            nearness = np.exp((scores[0] - scores[0, 0]).astype(np.float64) / TEMPERATURE)
            texts = texts + [self._retrieval.memory.texts[place] for place in places[0] if place >= 0]
            weights = np.concatenate([weights, nearness[places[0] >= 0] / nearness.sum()])
        return texts[consensus(texts, weights)]

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        pad = self.tokenizer.pad_token_id
        options = {"do_sample": False, "num_beams": 1, "pad_token_id": self._eos if pad is None else pad}
        options["eos_token_id"] = self._eos
        if not {"max_new_tokens", "max_length", "generation_config"} & set(given):
            options["max_new_tokens"] = self.max_tokens_
        return {**options, **given}


def _drawing(n_draws: Any, options: dict[str, Any]) -> dict[str, Any]:
    if isinstance(n_draws, bool) or not isinstance(n_draws, int) or n_draws < 1:
        raise C3AlignError(f"consensus={n_draws!r} cannot be; pass how many captions are drawn, such as 16")
    wrong = next((name for name in ("num_beams", "do_sample", "num_return_sequences") if name in options), None)
    if wrong is not None:
        raise C3AlignError(f"consensus= draws captions, which {wrong}= would change; pass one of them")
    return {"top_k": 0, **options, "do_sample": True, "num_return_sequences": n_draws}
