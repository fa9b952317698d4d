"""`MemoryCaptioner`: captions from a memory of texts, without training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from c3align._arguments import as_groups, check_number, check_whole
from c3align._imports import need
from c3align._typing import Array, Int64Array
from c3align.decoders import retrieval
from c3align.decoders.captions import Skipped, check_aligned, check_captions, consensus, listed, stream, usable
from c3align.decoders.place import Place
from c3align.decoders.retrieval import CAPTIONER_FILE, MEMORY_FOLDER, Memory
from c3align.errors import C3AlignError
from c3align.io import atomic, container, digests, hub
from c3align.training.rows import TrainingRows, checked_rows

__all__ = ["MemoryCaptioner"]

TEMPERATURE = 0.1  # of the neighbors' weights
MAX_K = 1 << 20
OPTIONS = ("row_offset", "batch_size", "fingerprint", "on_error")


class MemoryCaptioner:
    """Caption a row with the text nearest to it, without training.

    The memory holds the aligned embeddings of texts; `fit` it again to change the domain.

    Parameters
    ----------
    k : int
        Number of nearest texts, of those about one thing (`fit`, ``groups``) the nearest alone. With more than one, the
        caption is the text that shares most words with the others, weighted by their nearness (consensus of neighbors;
        Devlin et al., 2015).
    temperature : float > 0
        The weights are the softmax of the cosines divided by it.
    index : str, optional
        A faiss index for memories of millions, such as "IVF4096,Flat"; None searches exactly.

    Attributes
    ----------
    memory_ : Memory
        Rows (n, n_dims), of norm 1, and texts.
    n_dims : int or None
        Dimension of the rows; None before `fit`.
    modality_ : str
        The modality that it learned from.
    encoder_fingerprint_ : str or None
        The encoder of the rows that it learned from, if its aligner knew.
    skipped : list of Skipped
        Rows without a caption in the last call with ``on_error="skip"``.

    Examples
    --------
    >>> captioner = MemoryCaptioner().fit(text, captions, aligner=aligner)  # doctest: +SKIP
    >>> captioner.generate(aligner.transform(image, modality="image"))  # doctest: +SKIP
    """

    takes: ClassVar[Literal["aligned"]] = "aligned"
    memory_: Memory
    modality_: str = "text"
    encoder_fingerprint_: str | None = None
    skipped: list[Skipped]

    def __init__(self, *, k: int = 1, temperature: float = TEMPERATURE, index: str | None = None) -> None:
        self.k = check_whole("k", k, 1, MAX_K)
        self.temperature = check_number("temperature", temperature, above=True)
        retrieval.check_index(index)
        self.index = index
        self.n_dims: int | None = None
        self.skipped = []
        self._place: Place | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether it remembers any texts."""
        return self.n_dims is not None

    def fit(
        self,
        rows: Array,
        captions: Sequence[str],
        *,
        aligner: Any = None,
        modality: str = "text",
        groups: npt.ArrayLike | None = None,
        folder: str | os.PathLike[str] | None = None,
        progress: bool = False,
        on_error: str = "raise",
    ) -> MemoryCaptioner:
        """Remember texts; forget earlier ones.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor
            Raw embeddings of `modality`; a memmap is read in blocks.
        captions : sequence of str
            Caption i belongs to row i.
        aligner : C3Aligner, optional
            Aligns the rows, without noise. Without one they are only normalized, so that the nearest are those of the
            largest cosine.
        modality : str
            Modality of the rows; rows of another one are refused.
        groups : (n_rows,) int, optional
            What each caption is about, such as the number of its picture: neighbors are then of different pictures. By
            default equal captions are about one thing.
        folder : str or path, optional
            Where the rows are written and read from block by block, for memories larger than RAM.
        progress : bool
            Ignored: nothing is trained.
        on_error : "raise" or "skip"
            Whether single rows on the side of another modality are refused, or left out and listed in `skipped`.

        Returns
        -------
        MemoryCaptioner
            Itself.

        Raises
        ------
        C3AlignError
            Rows of another modality or not finite, another number of captions, or groups that are not one integer each.
        """
        source = TrainingRows(checked_rows(rows), aligner, modality, 0)
        texts = check_captions(captions, len(source))
        things = [None] * len(texts) if groups is None else as_groups("groups", groups, len(texts), "text").tolist()
        source, kept, self.skipped = usable(source, list(zip(texts, things)), on_error)
        self.memory_ = Memory.of(source, [text for text, _ in kept], folder, self.index)
        if groups is not None:
            self.memory_.things = np.array([thing for _, thing in kept], np.int64)
        self._place = Place.of(source, any_norm=True)
        self.n_dims, self.modality_ = self.memory_.n_dims, modality
        self.encoder_fingerprint_ = getattr(aligner, "encoder_fingerprint_", None)
        return self

    def project(
        self, rows: Array, *, temperature: float = retrieval.TEMPERATURE, k: int = retrieval.PROJECTED_ROWS
    ) -> npt.NDArray[np.float32]:
        """Project aligned rows to weighted means of the memory's rows, of norm 1 (DeCap, eq. 6; there not normalized).

        Projected rows lie among texts, whatever their modality was: pass them to another decoder.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor
            Aligned rows.
        temperature : float > 0
            The weights are the softmax of the cosines divided by it; DeCap's value by default.
        k : int
            Number of nearest texts that are averaged; the others have hardly any weight.

        Returns
        -------
        (n_rows, n_dims) float32
            Each row depends only on its own row and the memory, to the bit.

        Raises
        ------
        C3AlignError
            Rows that `generate` refuses: bad ones, and those that are not aligned.
        """
        self._check_ready()
        checked = checked_rows(rows, self.n_dims).widened().astype(np.float32, copy=False)
        check_aligned(self, checked)
        return self.memory_.project(checked, check_number("temperature", temperature, above=True), check_whole("k", k))

    def generate(
        self, rows: Array | Iterable[Array], *, seed: int = 0, progress: bool = False, **options: Any
    ) -> list[str | None]:
        """Caption rows.

        Parameters
        ----------
        rows, seed, progress, **options : optional
            As in `PrefixCaptioner.generate`. Nothing is drawn at random, so `seed` has no effect.

        Returns
        -------
        list of str or None
            None for skipped rows.
        """
        return listed(self.stream(rows, seed=seed, **options), rows, progress)

    def stream(self, rows: Iterable[Array], *, seed: int = 0, **options: Any) -> Iterator[str | None]:
        """Caption any number of rows in order.

        Parameters
        ----------
        rows, seed, **options : optional
            As in `PrefixCaptioner.stream`; no option for decoding.

        Returns
        -------
        iterator of str or None
            As `generate` returns them.
        """
        self._check_ready()
        wrong = next((name for name in options if name not in OPTIONS), None)
        if wrong is not None:
            raise C3AlignError(f"MemoryCaptioner does not use {wrong!r}; remove it")
        return stream(self, rows, self._captions, **options)

    def _captions(self, rows: npt.NDArray[np.float32], numbers: Int64Array) -> Iterator[tuple[int, str]]:
        """Number and caption of each row."""
        scores, places = self.memory_.of_different_things(rows, min(self.k, len(self.memory_.texts)))
        for number, row_scores, row_places in zip(numbers.tolist(), scores, places):
            texts = [self.memory_.texts[place] for place in row_places if place >= 0]
            nearness = (row_scores[: len(texts)] - row_scores[0]).astype(np.float64)
            yield number, texts[consensus(texts, np.exp(nearness / self.temperature))]

    def _check_ready(self) -> None:
        if not self.is_fitted:
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this captioner remembers nothing yet; call fit(rows, captions)")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `captioner.safetensors`, `config.json` and `memory/`, all of it or nothing.

        Parameters
        ----------
        folder : str or path
            Created, or replaced if it holds a captioner.
        """
        self._check_ready()
        config = {
            "format": "c3align.MemoryCaptioner",
            "format_version": container.SIGNED_SINCE,
            "k": self.k,
            "temperature": self.temperature,
            "index": self.index,
            "n_dims": self.n_dims,
            "encoder_fingerprint": self.encoder_fingerprint_,
            "modality": self.modality_,
        }
        tensors = {} if self._place is None else self._place.tensors()
        if self.memory_.things is not None:
            tensors["things"] = need("torch", "torch").from_numpy(self.memory_.things)
        with atomic.replaced_folder(folder, "captioner", retrieval.is_captioner) as scratch:
            self.memory_.save(scratch / MEMORY_FOLDER)
            config["files"] = digests.of_folders(scratch, (MEMORY_FOLDER,))
            container.write_folder(scratch, CAPTIONER_FILE, container.dump(tensors, config), config)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> MemoryCaptioner:
        """Load what `save_pretrained` wrote; the memory is read once for its digest and stays on disk.

        Parameters
        ----------
        folder : str or path
            A folder if it exists, else "owner/name" on the Hugging Face Hub. `FileNotFoundError` if absent,
            `FormatError` if damaged or no such captioner; no code in it can run.
        **options : optional
            As ``**hub`` of `C3Aligner.from_pretrained`.
        """
        path = hub.folder(folder, hub.DECODER, **options)
        keys = {"k", "temperature", "mode", "index", "n_dims", "encoder_fingerprint", "modality"}
        form, older = "c3align.MemoryCaptioner", {"modality": "text", "mode": "nearest"}
        config, tensors = container.read_decoder(path, CAPTIONER_FILE, form, keys, (MEMORY_FOLDER,), **older)
        if config["mode"] != "nearest":
            raise C3AlignError(
                f"{folder} was saved with mode={config['mode']!r}, which was removed; load {path / 'decoder'} by "
                "PrefixCaptioner.from_pretrained, and pass it what MemoryCaptioner.project returns"
            )
        given = {name: config[name] for name in ("k", "temperature", "index") if config[name] is not None}
        try:
            captioner = cls(**given)
        except C3AlignError as error:
            raise container.refusal("decoder", f"its settings do not fit ({error})") from error
        captioner.memory_ = Memory.load(path / MEMORY_FOLDER, config["n_dims"], config["index"])
        captioner.n_dims, captioner.modality_ = captioner.memory_.n_dims, config["modality"]
        captioner.memory_.things = _things(tensors, len(captioner.memory_.texts))
        captioner._place = Place.taken_from(tensors, captioner.memory_.n_dims)
        container.check_tensors(tensors, {}, "decoder")
        captioner.encoder_fingerprint_ = config["encoder_fingerprint"]
        return captioner


def _things(tensors: dict[str, Any], n_texts: int) -> npt.NDArray[np.int64] | None:
    """The groups of a file, where it has them."""
    if "things" not in tensors:
        return None
    found = tensors.pop("things").numpy()
    if found.dtype != np.int64 or found.shape != (n_texts,):
        raise container.refusal("decoder", f"its groups are {found.dtype} {found.shape} for {n_texts} texts")
    return np.asarray(found)
