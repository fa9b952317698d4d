"""`MemoryCaptioner`: captions out of a memory of texts, without training."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from c3align._typing import Array, Int64Array
from c3align.decoders import _caption_files as files
from c3align.decoders._caption_rows import CaptionRows
from c3align.decoders._consensus import consensus
from c3align.decoders._memory import PROJECTED_ROWS, Memory, check_factory
from c3align.decoders._rows import checked_rows
from c3align.decoders._stream import Captioner
from c3align.decoders._tokens import check_captions
from c3align.errors import C3AlignError
from c3align.io import atomic, container

if TYPE_CHECKING:
    from typing_extensions import Self

    from c3align.decoders.prefix import PrefixCaptioner

__all__ = ["MemoryCaptioner"]

MODES = ("nearest", "project")
TEMPERATURES = {"nearest": 0.1, "project": 0.01}
MAX_K = 1 << 20


class MemoryCaptioner(Captioner):
    """Caption a row by the texts nearest to it: by one of them, or by their weighted mean through a decoder.

    The memory is the aligned embeddings of texts; nothing is trained. With another memory (`fit` again) the domain
    changes.

    Parameters
    ----------
    k : int or None
        In mode "nearest" the texts that are looked at: of more than one that is taken which has most words in common
        with the others, weighted by their nearness (consensus of neighbours; Devlin et al., 2015). None is 1. In mode
        "project" the texts that are weighed; None is 256.
    temperature : float > 0 or None
        Weights are the softmax of the cosines over it. None is 0.01, DeCap's, in mode "project", and 0.1 among
        neighbours.
    mode : "nearest" or "project"
        "project" replaces a row by the weighted mean of the memory's rows, normalised (DeCap), and has `decoder`
        caption that: a row among texts, whatever the modality it came from.
    decoder : PrefixCaptioner, optional
        For "project". One that has not learned yet learns in `fit`.
    index : str, optional
        Of faiss, for memories of millions, such as "IVF4096,Flat"; None searches exactly.

    Attributes
    ----------
    memory_ : Memory
        Rows (n, n_dims) and texts.

    Examples
    --------
    >>> captioner = MemoryCaptioner().fit(text, captions, aligner=aligner)  # doctest: +SKIP
    >>> captioner.generate(aligner.transform(image, modality="image"))  # doctest: +SKIP
    """

    memory_: Memory

    def __init__(
        self,
        *,
        k: int | None = None,
        temperature: float | None = None,
        mode: str = "nearest",
        decoder: PrefixCaptioner | None = None,
        index: str | None = None,
    ) -> None:
        if mode not in MODES:
            raise C3AlignError(f"mode={mode!r} is unknown; pass one of {', '.join(map(repr, MODES))}")
        if k is not None and (isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K):
            raise C3AlignError(f"k={k!r} cannot be; pass None or an integer of 1 or more")
        is_number = isinstance(temperature, float | int) and not isinstance(temperature, bool)
        if temperature is not None and not (is_number and math.isfinite(temperature) and temperature > 0):
            raise C3AlignError(f"temperature={temperature!r} cannot be; pass None or a number above 0")
        if (mode == "project") != (decoder is not None):
            raise C3AlignError("mode 'project' needs a decoder=, and mode 'nearest' has no use for one")
        check_factory(index)
        self.k, self.temperature, self.mode, self.decoder, self.index = k, temperature, mode, decoder, index

    def fit(
        self,
        embeddings: Array,
        captions: Sequence[str],
        *,
        aligner: Any = None,
        modality: str = "text",
        folder: str | os.PathLike[str] | None = None,
        progress: bool = True,
        **training: Any,
    ) -> Self:
        """Remember texts; forgets those of before.

        Parameters
        ----------
        embeddings : (n_rows, n_dims) array or tensor
            Raw embeddings of `modality`; a memmap is read in blocks.
        captions : sequence of str
            Caption i belongs to row i.
        aligner : C3Aligner, optional
            Aligns the rows, without noise. Without one they are taken as they are.
        modality : str
            What the rows are; rows of another modality are refused.
        folder : path, optional
            Where the rows are put and memory-mapped from, for memories larger than RAM.
        progress : bool
            Show the decoder's bar.
        **training
            For the decoder's `fit`, where there is one that has not learned yet.

        Returns
        -------
        self

        Raises
        ------
        C3AlignError
            Rows of another modality, or that are not finite, or that the captions do not fit.
        """
        source = CaptionRows(checked_rows(embeddings), aligner, modality, 0)
        texts = check_captions(captions, len(source))
        source.check()
        if self.decoder is None and training:
            raise C3AlignError(
                f"without a decoder nothing is trained, and {next(iter(training))!r} means nothing; leave it away"
            )
        if self.decoder is not None and (training or not self.decoder.is_fitted):
            self.decoder.fit(embeddings, texts, aligner=aligner, modality=modality, progress=progress, **training)
        self.memory_ = Memory.of(source, texts, folder, self.index)
        self.n_dims = self.memory_.n_dims
        self.encoder_fingerprint_ = getattr(aligner, "encoder_fingerprint_", None)
        return self

    def project(self, embeddings: Array) -> npt.NDArray[np.float32]:
        """Rows as weighted means of the memory's rows, of norm 1 (DeCap, eq. 6; there without the norm).

        Parameters
        ----------
        embeddings : (n_rows, n_dims) array or tensor
            Aligned rows.

        Returns
        -------
        (n_rows, n_dims) float32; each depends on its own row and the memory alone, to the bit.
        """
        self._check_ready()
        rows = checked_rows(embeddings, self.n_dims).widened().astype(np.float32, copy=False)
        return self.memory_.project(rows, self._temperature, self.k or PROJECTED_ROWS)

    @property
    def _temperature(self) -> float:
        return TEMPERATURES[self.mode] if self.temperature is None else float(self.temperature)

    def _captions(
        self, rows: npt.NDArray[np.float32], numbers: Int64Array, seed: int, options: dict[str, Any]
    ) -> Iterator[tuple[int, Any]]:
        if self.decoder is not None:
            yield from self.decoder._captions(self.project(rows), numbers, seed, options)
            return
        if options:
            raise C3AlignError(f"mode 'nearest' decodes nothing and knows no {next(iter(options))!r}; leave it away")
        scores, places = self.memory_.nearest(rows, min(self.k or 1, len(self.memory_.texts)))
        for number, row_scores, row_places in zip(numbers.tolist(), scores, places):
            texts = [self.memory_.texts[place] for place in row_places if place >= 0]
            nearness = (row_scores[: len(texts)] - row_scores[0]).astype(np.float64)
            yield number, texts[consensus(texts, np.exp(nearness / self._temperature))]

    def _check_ready(self) -> None:
        if not hasattr(self, "memory_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this captioner remembers nothing yet; call fit(embeddings, captions)")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write one folder, whole or not at all: `captioner.safetensors`, `config.json`, `memory/`, `decoder/`."""
        self._check_ready()
        config = {
            "format": "c3align.MemoryCaptioner",
            "format_version": 1,
            "k": self.k,
            "temperature": self.temperature,
            "mode": self.mode,
            "index": self.index,
            "n_dims": self.n_dims,
            "encoder_fingerprint": self.encoder_fingerprint_,
        }
        with files.replaced_folder(folder) as scratch:
            (scratch / files.MEMORY_FOLDER).mkdir()
            self.memory_.save(scratch / files.MEMORY_FOLDER)
            if self.decoder is not None:
                self.decoder.save_pretrained(scratch / "decoder")
            container.write_folder(scratch, files.FILE, container.dump({}, config), config)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> MemoryCaptioner:
        """Read what `save_pretrained` wrote; the memory stays on disk, memory-mapped.

        Raises
        ------
        FileNotFoundError, FormatError
            A folder that is absent, damaged, or no such captioner; no code in it can run.
        """
        path = atomic.found(folder)
        keys = {"k", "temperature", "mode", "index", "n_dims", "encoder_fingerprint"}
        config, _ = files.read(path, "MemoryCaptioner", keys)
        decoder = None
        if config["mode"] == "project":
            from c3align.decoders.prefix import PrefixCaptioner

            decoder = PrefixCaptioner.from_pretrained(path / "decoder")
        settings = {name: config[name] for name in ("k", "temperature", "mode", "index")}
        try:
            captioner = cls(decoder=decoder, **settings)
        except C3AlignError as error:
            raise container.refusal("decoder", f"its settings do not fit ({error})") from error
        captioner.memory_ = Memory.load(path / files.MEMORY_FOLDER, config["n_dims"], config["index"])
        captioner.n_dims = captioner.memory_.n_dims
        captioner.encoder_fingerprint_ = config["encoder_fingerprint"]
        return captioner
