"""`PrefixCaptioner`: any causal language model of transformers behind a mapper; it learns from texts alone."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from c3align._imports import need
from c3align._typing import Array
from c3align.decoders import _caption_files as files
from c3align.decoders._caption_rows import CaptionRows, Feed, Retrieval, seed_of
from c3align.decoders._caption_training import CaptionTraining
from c3align.decoders._memory import Memory
from c3align.decoders._prefix_decoder import PrefixDecoder
from c3align.decoders._prefix_parts import adapted, check_seed, check_settings, end_of_text
from c3align.decoders._rows import checked_rows
from c3align.decoders._tokens import Tokens, check_captions
from c3align.decoders.training import Training
from c3align.errors import C3AlignError

if TYPE_CHECKING:
    from typing_extensions import Self

    from c3align.decoders.memory import MemoryCaptioner

__all__ = ["PrefixCaptioner"]

HELD_OUT = 5  # purpose of a seed


class PrefixCaptioner(PrefixDecoder):
    """A language model that reads embeddings: a mapper turns a row into the tokens before the caption (ClipCap, C3).

    Parameters
    ----------
    lm : causal language model of transformers
        Any that takes ``inputs_embeds``. It is trained in place.
    tokenizer : its tokenizer
    n_dims : int
        Dimension of the rows.
    mapper : "mlp", "transformer" or "linear"
        d -> k h / 2 -> k h with tanh between; 8 layers over k tokens of the row and k learned ones; or d -> k h.
    prefix_length : int
        k, the tokens a row becomes.
    tune : "full", "frozen" or "lora"
        What of the language model learns besides the mapper.
    lora : dict, optional
        Of `peft.LoraConfig`, such as ``{"r": 8, "target_modules": ["q_proj", "v_proj"]}``.
    n_neighbours : int
        Texts of a memory that the model sees besides the row: those nearest to it, its own never among them
        (image-like retrieval, IFCap: at training the query is the noisy row). The memory is the training texts, or
        another one given to `fit` or `use_memory`.
    neighbours_as : "captions" or "embeddings"
        Their words before the caption, or their rows in the prefix, a token each.
    index : str, optional
        Of faiss, for large memories; see `MemoryCaptioner`.
    training : Training, optional
        What `fit` does unless told otherwise.
    seed : int
        Of the mapper's weights.

    Notes
    -----
    ``generate`` and ``stream`` take what ``GenerationMixin.generate`` of transformers takes (``num_beams``,
    ``do_sample``, ``max_new_tokens``, ...), and

    * ``consensus=16``: so many captions are drawn, and that one is taken which has most words in common with all of
      them and with the row's neighbours, where it has some;
    * ``block_size=16``: the rows that the language model sees at once, always as many, so that rounding is the same
      for any batch; 64 by default on a GPU. Captions may change with it where two words are about equally likely.

    Attributes
    ----------
    losses_, validation_losses_ : list of float
        Nats per token of each epoch of the last fit, and on held-out rows.
    max_tokens_ : int
        Longest caption of the last fit, its end included: what `generate` goes up to.

    Raises
    ------
    C3AlignError
        Settings that cannot be, a model without token embeddings or end-of-text token.
    MissingExtraError
        transformers, accelerate or (for "lora") peft is absent.

    Examples
    --------
    >>> captioner = PrefixCaptioner.from_pretrained_lm("gpt2", n_dims=512)  # doctest: +SKIP
    >>> captioner.fit(text, captions, aligner=aligner, seed=0)  # doctest: +SKIP
    >>> captioner.generate(aligner.transform(image, modality="image"), num_beams=4)  # doctest: +SKIP
    """

    def __init__(
        self,
        lm: Any,
        tokenizer: Any,
        *,
        n_dims: int,
        mapper: str = "mlp",
        prefix_length: int = 10,
        tune: str = "full",
        lora: dict[str, Any] | None = None,
        n_neighbours: int = 0,
        neighbours_as: str = "captions",
        index: str | None = None,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        self.n_dims, self.mapper, self.prefix_length, self.tune, self.lora = n_dims, mapper, prefix_length, tune, lora
        self.n_neighbours, self.neighbours_as, self.index = n_neighbours, neighbours_as, index
        self.training = Training() if training is None else training
        self.tokenizer = tokenizer
        self.losses_: list[float] = []
        self.validation_losses_: list[float] = []
        self.max_tokens_ = self._prompt_tokens = 0
        self._retrieval: Retrieval | None = None
        check_settings(self)
        self._eos = end_of_text(lm, tokenizer)
        torch, module = need("torch", "torch", "captions"), need("c3align.decoders._prefix_model", "torch", "captions")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(check_seed(seed))  # that of the CPU, where the mapper is made
            ready = adapted(lm, tune, lora)
            shown = n_neighbours if neighbours_as == "embeddings" else 0
            self._model = module.PrefixModel(ready, mapper, n_dims, prefix_length, shown).eval()
        self._model.to(next(ready.parameters()).device)

    @classmethod
    def from_pretrained_lm(cls, name_or_folder: str | os.PathLike[str], *, n_dims: int, **settings: Any) -> Self:
        """With a language model from a folder or the Hub: safetensors only, no remote code.

        Parameters
        ----------
        name_or_folder : str or path
        n_dims, **settings : as for the class
        """
        lm, tokenizer = files.load_lm(name_or_folder)
        return cls(lm, tokenizer, n_dims=n_dims, **settings)

    @classmethod
    def paper(cls, lm: Any, tokenizer: Any, *, n_dims: int, **settings: Any) -> Self:
        """The paper's captioner (section 5.1): MLP, ten tokens, all of GPT-2 small tuned.

        AdamW at 2e-5 with 5,000 steps of warm-up and a linear fall, batches of 40, 10 epochs.
        """
        training = Training(epochs=10, batch_size=40, lr=2e-5, warmup=5000)
        return cls(lm, tokenizer, n_dims=n_dims, **{"training": training, **settings})

    @classmethod
    def imagebind_branch(cls, lm: Any, tokenizer: Any, *, n_dims: int, **settings: Any) -> Self:
        """That of the code's branch for sound and video: one linear layer, one token, all of GPT-2 small tuned.

        Adam at a constant 1e-3, batches of 64, 20 epochs. Its aligner is ``C3Aligner(renormalize=False, sigma=0.1)``.
        """
        training = Training(epochs=20, batch_size=64, lr=1e-3, schedule="constant", warmup=0, optimizer="adam")
        fixed = {"mapper": "linear", "prefix_length": 1, "training": training}
        return cls(lm, tokenizer, n_dims=n_dims, **{**fixed, **settings})

    @property
    def lm(self) -> Any:
        """The language model, with LoRA where that was asked for."""
        return self._model.lm

    @property
    def is_fitted(self) -> bool:
        """Whether it has learned from any captions."""
        return self.max_tokens_ > 0

    def fit(
        self,
        embeddings: Array,
        captions: Sequence[str],
        *,
        aligner: Any = None,
        modality: str = "text",
        memory: MemoryCaptioner | None = None,
        seed: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        **training: Any,
    ) -> Self:
        """Learn to say captions from their own noisy embeddings; goes on from the weights that are there.

        Parameters
        ----------
        embeddings : (n_rows, n_dims) array or tensor
            Raw embeddings of `modality`; a memmap is read in blocks. For training on texts alone: of the captions.
        captions : sequence of str
            Caption i belongs to row i.
        aligner : C3Aligner, optional
            Collapses the rows, and corrupts them with fresh noise every epoch, a function of seed, epoch and row
            number: the same for any batch size and number of processes. Without one they are taken as they are,
            without noise.
        modality : str
            What the rows are. Rows that the aligner finds far from its mean, or on another modality's side, are
            refused.
        memory : MemoryCaptioner, optional
            Where neighbours come from, instead of the training texts.
        seed : int >= 0
            Of noise, order and dropout. On one CPU and number of threads the same seed gives the same weights, to
            the bit; no global generator is touched.
        checkpoint : path, optional
            A .safetensors file, replaced after every epoch (`checkpoint_every`: after so many steps). A run that
            finds one of its own goes on from there, to the weights that it would have had.
        progress : bool
            Show a bar with loss and tokens per second.
        **training
            Fields of `Training`, instead of the captioner's own: ``epochs``, ``batch_size``, ``lr``, ``accumulate``,
            ``precision``, ``validation``, ...

        Returns
        -------
        self

        Raises
        ------
        C3AlignError
            Rows of another modality, that are not finite, or that the captions do not fit; settings that cannot be;
            captions too long for the model; a checkpoint of another run. Nothing is learned then.
        """
        settings = self.training.changed(training)
        seed = check_seed(seed)
        source = CaptionRows(checked_rows(embeddings, self.n_dims), aligner, modality, seed)
        texts = check_captions(captions, len(source))
        tokens = Tokens.of(texts, self.tokenizer, self._eos)
        source.check()
        if memory is not None:
            memory._check_ready()
        retrieval = self._retrieval_of(memory.memory_ if memory is not None else None, source, texts)
        feed = Feed(source, tokens, np.ones(len(source), bool), settings.batch_size, retrieval)
        if retrieval is not None:
            feed = feed.changed(groups=retrieval.memory.groups(texts))
        self._check_length(tokens, retrieval)
        run = self._run(feed, settings, seed, checkpoint, progress)
        run.run()
        self.losses_, self.validation_losses_ = run.losses, run.validation_losses
        self._retrieval, self.max_tokens_ = retrieval, int(tokens.lengths.max())
        self._prompt_tokens = 0 if retrieval is None else retrieval.limit
        self.encoder_fingerprint_ = getattr(aligner, "encoder_fingerprint_", None)
        return self

    def _run(self, feed: Feed, settings: Training, seed: int, checkpoint: Any, progress: bool) -> CaptionTraining:
        n_held_out = math.ceil(settings.validation * len(feed.kept))
        held_out = None
        if n_held_out:
            order = np.random.default_rng(seed_of(seed, HELD_OUT)).permutation(len(feed.kept))
            feed.kept[order[:n_held_out]] = False
            held_out = feed.changed(kept=~feed.kept)
        path = None if checkpoint is None else Path(checkpoint)
        return CaptionTraining(self._model, feed, held_out, settings, seed, path, progress)

    def _retrieval_of(self, memory: Memory | None, source: CaptionRows | None, texts: list[str]) -> Retrieval | None:
        if not self.n_neighbours:
            if memory is not None:
                raise C3AlignError("this captioner looks at no memory; make it with n_neighbours=5, for instance")
            return None
        if memory is None:
            assert source is not None
            memory = Memory.of(source, texts, None, self.index)
        if memory.n_dims != self.n_dims:
            raise C3AlignError(
                f"the memory has {memory.n_dims} dimensions and not {self.n_dims}; pass one of this encoder"
            )
        tokens = Tokens.of(memory.texts, self.tokenizer, self._eos)
        limit = self._prompt_tokens or tokens.limit(self.n_neighbours)  # what it has learned with stays
        return Retrieval(memory, self.n_neighbours, self.neighbours_as == "captions", tokens, limit)

    def use_memory(self, memory: MemoryCaptioner) -> Self:
        """Take neighbours from another memory, of another domain for instance; nothing is trained. Returns self."""
        memory._check_ready()
        self._check_ready()
        retrieval = self._retrieval_of(memory.memory_, None, [])
        self._retrieval = retrieval
        return self

    def _check_length(self, tokens: Tokens, retrieval: Retrieval | None) -> None:
        limit = getattr(self.lm.config.get_text_config(), "max_position_embeddings", None)
        extra = 0 if retrieval is None else retrieval.limit + 1 if retrieval.as_captions else retrieval.k
        needed = self.prefix_length + extra + int(tokens.lengths.max())
        if limit is not None and needed > limit:
            raise C3AlignError(
                f"prefix, neighbours and captions need {needed} places and the language model has {limit}; shorten the "
                "captions, lower prefix_length or n_neighbours, or take another model"
            )

    def _check_ready(self) -> None:
        if not self.is_fitted:
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this captioner has learned nothing yet; call fit(embeddings, captions)")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write one folder, whole or not at all: `captioner.safetensors`, `config.json`, `lm/`, and `memory/`."""
        from c3align.decoders import _prefix_files

        self._check_ready()
        _prefix_files.save(self, folder)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> PrefixCaptioner:
        """Read what `save_pretrained` wrote.

        Raises
        ------
        FileNotFoundError, FormatError
            A folder that is absent, damaged, or no such captioner; no code in it can run.
        """
        from c3align.decoders import _prefix_files

        return _prefix_files.load(cls, folder)
