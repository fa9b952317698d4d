"""`PrefixCaptioner`: any causal language model of transformers behind a mapper, trained on texts alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from c3align._arguments import check_choice, check_seed, check_whole
from c3align._imports import need
from c3align._typing import Array, Int64Array
from c3align.decoders.captions import Skipped, check_captions, consensus, listed, stream, usable
from c3align.decoders.place import Place
from c3align.decoders.prefix import files
from c3align.decoders.prefix.checks import check_tokens, check_weights, plain
from c3align.decoders.prefix.language_models import adapted, end_of_text, load_lm
from c3align.decoders.prefix.task import CaptionTask, Retrieval
from c3align.decoders.prefix.tokens import Tokens
from c3align.decoders.retrieval import Memory, check_index
from c3align.errors import C3AlignError
from c3align.training.rows import TrainingRows, checked_rows
from c3align.training.settings import Training

if TYPE_CHECKING:
    from c3align.decoders.memory import MemoryCaptioner

CHOICES = {
    "mapper": ("mlp", "transformer", "linear"),
    "tune": ("full", "frozen", "lora"),
    "neighbours_as": ("captions", "embeddings"),
}
COUNTS = {"n_dims": (1, 1 << 16), "prefix_length": (1, 1 << 10), "n_neighbours": (0, 1 << 10)}
TEMPERATURE = 0.1  # of the neighbors' weights, as MemoryCaptioner's


class PrefixCaptioner:
    """A language model that reads embeddings: a mapper turns a row into the tokens before the caption (ClipCap, C3).

    Parameters
    ----------
    lm : causal language model of transformers
        Any model that takes ``inputs_embeds``. It is trained in place.
    tokenizer : tokenizer of transformers
        The model's own.
    n_dims : int
        Dimension d of the rows.
    mapper : "mlp", "transformer" or "linear"
        With h the model's width: d -> k h / 2 -> k h with tanh between; 8 layers over k tokens of the row and k
        learned ones; or d -> k h.
    prefix_length : int
        Number k of tokens that a row becomes.
    tune : "full", "frozen" or "lora"
        Which part of the language model is trained besides the mapper.
    lora : dict, optional
        Passed to `peft.LoraConfig`, such as ``{"r": 8, "target_modules": ["q_proj", "v_proj"]}``.
    n_neighbours : int
        Number of texts from a memory that the model sees besides the row: those nearest to it, never its own
        (image-like retrieval, IFCap: in training the query is the noisy row). The memory is the training texts, or
        another one given to `fit` or `use_memory`.
    neighbours_as : "captions" or "embeddings"
        As words before the caption, or as rows in the prefix, one token each.
    index : str, optional
        A faiss index for large memories; see `MemoryCaptioner`.
    training : Training, optional
        Settings of `fit`, which its arguments override.
    seed : int
        Seed of the mapper's weights.

    Attributes
    ----------
    losses_, validation_losses_ : list of float
        Nats per token in each epoch of the last fit, and on held-out rows.
    max_tokens_ : int
        Length of the last fit's longest caption with its end, which limits `generate`.
    modality_ : str
        The modality that it learned from.
    encoder_fingerprint_ : str or None
        The encoder of the rows that it learned from, if its aligner knew.
    skipped : list of Skipped
        Rows not used in the last call with ``on_error="skip"``.

    Raises
    ------
    C3AlignError
        Settings out of range, a model without token embeddings or end-of-text token.
    MissingExtraError
        If transformers, accelerate or (for "lora") peft is not installed.

    Notes
    -----
    ``generate`` and ``stream`` accept what ``GenerationMixin.generate`` of transformers accepts (``num_beams``,
    ``do_sample``, ``max_new_tokens``, ...), and

    * ``consensus=16``: draw this many captions, and take the one that shares most words with all of them and with the
      row's neighbors, if any;
    * ``lm_settings="keep"`` or ``"drop"``: what the language model's own generation settings (``min_length``,
      ``bad_words_ids``, ``repetition_penalty``) ask for; by default they are kept, with a warning;
    * ``block_size=16``: how many rows the language model always sees at once, so that rounding is the same for any
      batch; 64 by default on a GPU. Captions may change with it where two words are about equally likely.

    Examples
    --------
    >>> captioner = PrefixCaptioner.from_pretrained_lm("gpt2", n_dims=512)  # doctest: +SKIP
    >>> captioner.fit(text, captions, aligner=aligner, seed=0)  # doctest: +SKIP
    >>> captioner.generate(aligner.transform(image, modality="image"), num_beams=4)  # doctest: +SKIP
    """

    takes: ClassVar[Literal["aligned"]] = "aligned"
    modality_: str = "text"
    encoder_fingerprint_: str | None = None
    skipped: list[Skipped]

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
        self.n_dims, self.mapper, self.prefix_length, self.tune = n_dims, mapper, prefix_length, tune
        self.lora = plain(lora)
        self.n_neighbours, self.neighbours_as, self.index = n_neighbours, neighbours_as, index
        self.training = Training() if training is None else training
        self.tokenizer = tokenizer
        self.losses_, self.validation_losses_, self.skipped = list[float](), list[float](), list[Skipped]()
        self.max_tokens_ = self._prompt_tokens = 0
        self._retrieval: Retrieval | None = None
        self._place: Place | None = None
        self._check_settings()
        self._told: set[str] = set()  # what was warned of
        self._eos = end_of_text(lm, tokenizer)
        torch, module = need("torch", "torch", "captions"), need("c3align.decoders.prefix.model", "torch", "captions")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(check_seed(seed))  # that of the CPU, where the mapper is made
            ready = adapted(lm, tune, self.lora)
            shown = n_neighbours if neighbours_as == "embeddings" else 0
            self._model = module.PrefixModel(ready, mapper, n_dims, prefix_length, shown).eval()
        self._model.to(next(ready.parameters()).device)

    def _check_settings(self) -> None:
        for name, known in CHOICES.items():
            check_choice(name, getattr(self, name), known)
        for name, (least, most) in COUNTS.items():
            setattr(self, name, check_whole(name, getattr(self, name), least, most))
        if self.lora is not None and self.tune != "lora":
            raise C3AlignError(f"lora= needs tune='lora', got tune={self.tune!r}; omit lora=, or change tune")
        if not isinstance(self.training, Training):
            raise C3AlignError(f"training must be a c3align.training.Training, got {self.training!r}")
        check_index(self.index)

    @classmethod
    def from_pretrained_lm(
        cls, name_or_folder: str | os.PathLike[str], *, n_dims: int, **settings: Any
    ) -> PrefixCaptioner:
        """Make a captioner with a language model from a folder or the Hub: safetensors only, no remote code.

        Parameters
        ----------
        name_or_folder : str or path
            A name on the Hub, or a folder.
        n_dims, **settings : optional
            As in the class.
        """
        lm, tokenizer = load_lm(name_or_folder)
        return cls(lm, tokenizer, n_dims=n_dims, **settings)

    @property
    def lm(self) -> Any:
        """The language model, with LoRA if ``tune="lora"``."""
        return self._model.lm

    @property
    def is_fitted(self) -> bool:
        """Whether it has learned from any captions."""
        return self.max_tokens_ > 0

    def fit(
        self,
        rows: Array,
        captions: Sequence[str],
        *,
        aligner: Any = None,
        modality: str = "text",
        memory: MemoryCaptioner | None = None,
        seed: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = True,
        on_error: str = "raise",
        **training: Any,
    ) -> PrefixCaptioner:
        """Learn captions from their own noisy embeddings, continuing from the current weights.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor
            Raw embeddings of `modality`; a memmap is read in blocks. To train on texts alone, those of the captions.
        captions : sequence of str
            Caption i belongs to row i. One of more tokens than the mean of all and ten standard deviations is cut to
            that, with a `TruncationWarning`.
        aligner : C3Aligner, optional
            Collapses the rows, and corrupts them with fresh noise every epoch, a function of seed, epoch and row
            number: the same for any batch size and number of processes. Without one they are used as they are,
            without noise.
        modality : str
            Modality of the rows. Rows that the aligner finds far from its mean, or on another modality's side, are
            refused.
        memory : MemoryCaptioner, optional
            Source of neighbors, instead of the training texts.
        seed : int >= 0
            Seed of noise, order and dropout. On one CPU and number of threads the same seed gives the same weights,
            to the bit; no global generator is changed.
        checkpoint : str or path, optional
            A .safetensors file, replaced after every epoch (or every `checkpoint_every` steps). If it belongs to this
            run, training resumes from it, to the same weights as without a break.
        progress : bool
            Whether to show a bar with loss and tokens per second.
        on_error : "raise" or "skip"
            Whether single rows on the side of another modality are refused, or left out and listed in `skipped`.
        **training : optional
            Fields of `Training` that replace the captioner's own: ``epochs``, ``batch_size``, ``lr``, ``accumulate``,
            ``precision``, ``validation``, ...

        Returns
        -------
        PrefixCaptioner
            Itself.

        Raises
        ------
        C3AlignError
            Rows of another modality or not finite, another number of captions, settings out of range, captions too
            long for the model, or a checkpoint of another run. Nothing is learned then.
        """
        settings, seed = self.training.changed(training), check_seed(seed)
        source = TrainingRows(checked_rows(rows, self.n_dims), aligner, modality, seed)
        source, texts, skipped = usable(source, check_captions(captions, len(source)), on_error)
        tokens = Tokens.of(texts, self.tokenizer, self._eos)
        check_weights(self.lm, self.tune)
        check_tokens(self.lm, self.tokenizer, texts, tokens, self._eos)
        retrieval, groups = self._neighbours(memory, source, texts)
        kept = np.ones(len(source), bool)
        task = CaptionTask(source, tokens, kept, settings.batch_size, retrieval, groups, self.lora)
        task.check_length(self.lm, self.prefix_length)
        run = self._run(task, settings, seed, checkpoint, progress)
        self.skipped, self.losses_, self.validation_losses_ = skipped, run.losses, run.validation_losses
        self._retrieval, self.max_tokens_ = retrieval, int(tokens.lengths.max())
        self._prompt_tokens = 0 if retrieval is None else retrieval.limit
        self._place, self.modality_ = Place.of(source), modality
        self.encoder_fingerprint_ = getattr(aligner, "encoder_fingerprint_", None)
        return self

    def _run(self, task: CaptionTask, settings: Training, seed: int, checkpoint: Any, progress: bool) -> Any:
        loop = need("c3align.training.loop", "torch", "captions")
        held_out = task.held_out(settings.validation, seed)
        task.tokens.warn_of_cuts()
        self.max_tokens_ = 0  # not fitted if the run stops midway
        path = None if checkpoint is None else Path(checkpoint)
        options = {"settings": settings, "seed": seed, "processes": loop.processes(), "fused": True}
        run = loop.Loop(self._model, task, held_out, checkpoint=path, progress=progress, **options)
        run.run()
        task.tokens.warn_of_little_learned(run.losses[-1], settings.lr)
        return run

    def _neighbours(
        self, memory: MemoryCaptioner | None, source: TrainingRows, texts: list[str]
    ) -> tuple[Retrieval | None, Int64Array | None]:
        """How neighbors are found in training, and which texts of the memory are a row's own."""
        if memory is not None:
            memory._check_ready()
        if not self.n_neighbours and memory is None:
            return None, None
        retrieval = self._retrieval_of(Memory.of(source, texts, None, self.index) if memory is None else memory.memory_)
        return retrieval, retrieval.memory.groups(texts)

    def _retrieval_of(self, memory: Memory) -> Retrieval:
        if not self.n_neighbours:
            raise C3AlignError("this captioner uses no memory; create it with n_neighbours=5, for instance")
        if memory.n_dims != self.n_dims:
            raise C3AlignError(
                f"the memory must have {self.n_dims} dimensions, got {memory.n_dims}; pass one of this encoder"
            )
        tokens = Tokens.of(memory.texts, self.tokenizer, self._eos)
        limit = self._prompt_tokens or tokens.limit(self.n_neighbours)  # the limit that it was trained with stays
        return Retrieval(memory, self.n_neighbours, self.neighbours_as == "captions", tokens, limit)

    def use_memory(self, memory: MemoryCaptioner) -> PrefixCaptioner:
        """Take neighbors from another memory, such as one of another domain.

        Parameters
        ----------
        memory : MemoryCaptioner
            Fitted on rows of the same width.

        Returns
        -------
        PrefixCaptioner
            Itself.
        """
        memory._check_ready()
        self._check_ready()
        self._retrieval = self._retrieval_of(memory.memory_)
        return self

    def generate(self, rows: Array | Iterable[Array], *, progress: bool = False, **options: Any) -> list[Any]:
        """Caption rows.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor, or an iterable of rows
            Aligned rows: what `C3Aligner.transform` returns, of any modality.
        progress : bool
            Whether to show a bar.
        **options : optional
            As in `stream`, and how to decode; see the notes of the class.

        Returns
        -------
        list of str or None
            None for skipped rows; lists of str if several captions per row were requested.

        Raises
        ------
        NotFittedError
            If the captioner has learned nothing yet.
        C3AlignError
            For a bad row, or rows that are not aligned; `EncoderMismatchError` for a row of another encoder.
        """
        return listed(self.stream(rows, **options), rows, progress)

    def stream(
        self,
        rows: Iterable[Array],
        *,
        seed: int = 0,
        row_offset: int = 0,
        batch_size: int = 64,
        fingerprint: str | Iterable[str] | None = None,
        on_error: str = "raise",
        **options: Any,
    ) -> Iterator[Any]:
        """Caption any number of rows in order, with one batch of rows in memory at a time.

        Parameters
        ----------
        rows : iterable of rows (n_dims,) or of blocks (n, n_dims), or one array
            Read as captions are requested.
        seed : int >= 0
            Sampling is a function of seed, row number and step.
        row_offset : int
            Number of the first row.
        batch_size : int
            Number of rows at a time; captions do not depend on it.
        fingerprint : str, or one per row, optional
            The encoder of the rows; rows of another than the captioner learned from are bad.
        on_error : "raise" or "skip"
            Whether bad rows (NaN, infinity, another width, another encoder) are refused with their number, or give
            None, are listed in `skipped` and counted in a warning; the captions of other rows do not change.
        **options : optional
            How to decode; see the notes of the class.

        Returns
        -------
        iterator of str or None
            As `generate` returns them.
        """
        self._check_ready()

        def say(block: npt.NDArray[np.float32], numbers: Int64Array) -> Iterator[tuple[int, Any]]:
            return self._captions(block, numbers, seed, dict(options))

        own: Any = {"row_offset": row_offset, "batch_size": batch_size, "on_error": on_error}
        return stream(self, rows, say, fingerprint=fingerprint, **own)

    def _captions(
        self, rows: npt.NDArray[np.float32], numbers: Int64Array, seed: int, options: dict[str, Any]
    ) -> Iterator[tuple[int, Any]]:
        """Number and caption of each row."""
        decoding = need("c3align.decoders.prefix.decoding", "transformers", "captions")
        options = decoding.spelled_out(options)
        n_draws = options.pop("consensus", None)
        options = options if n_draws is None else decoding.drawing(n_draws, options)
        several = (options.get("num_return_sequences") or 1) > 1
        sizes = {
            "block_size": decoding.block_size(options.pop("block_size", None), self.lm.device.type),
            "prompt_tokens": self._prompt_tokens,
        }
        settled = decoding.settled(self.lm, self.tokenizer, self._eos, self.max_tokens_, options, self._told)
        how = {"seed": check_seed(seed), "options": settled}
        found = decoding.decode_rows(self._model, rows, numbers, self._retrieval, **sizes, **how)
        for i, (number, tokens) in enumerate(found):
            texts = [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
            if n_draws is not None:
                yield number, self._agreed(texts, rows[i : i + 1])
            else:
                yield number, texts if several else texts[0]

    def _agreed(self, draws: list[str], row: npt.NDArray[np.float32]) -> str:
        """The consensus of draws and of the row's neighbors, which have equal weight in total."""
        texts, weights = draws, np.full(len(draws), 1 / len(draws))
        if self._retrieval is not None:
            scores, places = self._retrieval.memory.nearest(row, self.n_neighbours)
            nearness = np.exp((scores[0] - scores[0, 0]).astype(np.float64) / TEMPERATURE)
            texts = texts + [self._retrieval.memory.texts[place] for place in places[0] if place >= 0]
            weights = np.concatenate([weights, nearness[places[0] >= 0] / nearness.sum()])
        return texts[consensus(texts, weights)]

    def _check_ready(self) -> None:
        if not self.is_fitted:
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this captioner has learned nothing yet; call fit(rows, captions)")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `captioner.safetensors`, `config.json`, `lm/` and, with neighbors, `memory/`, all of it or nothing.

        Parameters
        ----------
        folder : str or path
            Created, or replaced if it holds a captioner.
        """
        self._check_ready()
        files.save(self, folder)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> PrefixCaptioner:
        """Load what `save_pretrained` wrote.

        Parameters
        ----------
        folder, **options : str or path, optional
            As in `MemoryCaptioner.from_pretrained`; no code in it can run.
        """
        return files.load(cls, folder, **options)
