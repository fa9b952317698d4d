"""What captioners share: rows of any number come in, captions go out in order, and bad rows are named."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align._typing import Array, Int64Array
from c3align.errors import C3AlignError, EncoderMismatchError
from c3align.ops.arrays import as_rows, first_non_finite, is_tensor

__all__ = ["Captioner", "Skipped"]


class Skipped(NamedTuple):
    """A row that could not be used, and why."""

    row: int
    reason: str


class Captioner:
    """Captions rows; how, a child says in `_captions`.

    Attributes
    ----------
    n_dims : int
    encoder_fingerprint_ : str or None
        The encoder of the rows that it learned from, where its aligner knew.
    skipped : list of Skipped
        Rows without a caption, of the last call with ``on_error="skip"``.
    """

    n_dims: int
    encoder_fingerprint_: str | None = None
    skipped: list[Skipped]

    def generate(
        self,
        embeddings: Array | Iterable[Array],
        *,
        batch_size: int = 64,
        seed: int = 0,
        row_offset: int = 0,
        fingerprint: str | Sequence[str] | None = None,
        on_error: str = "raise",
        progress: bool = False,
        **options: Any,
    ) -> list[Any]:
        """Caption rows.

        Parameters
        ----------
        embeddings : (n_rows, n_dims) array or tensor, or an iterable of rows
            Aligned rows: what `C3Aligner.transform` returns, of any modality.
        batch_size : int
            Rows at a time; captions do not depend on it.
        seed : int >= 0
            Of what is drawn: a function of seed, row number and step.
        row_offset : int
            Number of the first row.
        fingerprint : str, or one for each row, optional
            The encoder that the rows come from; rows of another one than the captioner learned from are bad.
        on_error : "raise" or "skip"
            Bad rows (NaN, infinity, another width, another encoder) are refused with their number; or get None, are
            listed in `skipped` and told in a warning, and the others have the captions that they have without them.
        progress : bool
            Show a bar.
        **options
            How to decode; see the captioner.

        Returns
        -------
        list of str, or None for skipped rows; of lists of str, where several captions a row were asked for.

        Raises
        ------
        C3AlignError
            A bad row, or a captioner that has learned nothing yet.
        EncoderMismatchError
            A row of another encoder.
        """
        n_rows = len(embeddings) if isinstance(embeddings, Sized) else None
        found = self.stream(
            embeddings,
            batch_size=batch_size,
            seed=seed,
            row_offset=row_offset,
            fingerprint=fingerprint,
            on_error=on_error,
            **options,
        )
        return list(tqdm(found, total=n_rows, disable=not progress, unit="caption", desc="caption"))

    def stream(
        self,
        embeddings: Iterable[Array],
        *,
        batch_size: int = 64,
        seed: int = 0,
        row_offset: int = 0,
        fingerprint: str | Iterable[str] | None = None,
        on_error: str = "raise",
        **options: Any,
    ) -> Iterator[Any]:
        """Captions one after the other, as `generate` gives them; a batch of rows is in memory at a time.

        Parameters
        ----------
        embeddings : iterable of rows (n_dims,) or of blocks (n, n_dims), or one array
            Read as captions are asked for.
        batch_size, seed, row_offset, fingerprint, on_error, **options : as for `generate`
        """
        if on_error not in ("raise", "skip"):
            raise C3AlignError(f"on_error={on_error!r} is unknown; pass 'raise' or 'skip'")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise C3AlignError(f"batch_size={batch_size!r} cannot be; pass an integer of 1 or more")
        self._check_ready()
        self.skipped = []
        marks = repeat(fingerprint) if fingerprint is None or isinstance(fingerprint, str) else fingerprint
        return self._stream(embeddings, marks, batch_size, seed, row_offset, on_error, options)

    def _stream(
        self, embeddings: Any, marks: Iterable[Any], batch_size: int, seed: int, first: int, on_error: str, options: Any
    ) -> Iterator[Any]:
        numbered = zip(_single_rows(embeddings), marks)
        while batch := list(islice(numbered, batch_size)):
            rows, numbers, bad = self._sorted_out(batch, first, on_error)
            captions = dict(self._captions(rows, numbers, seed, options)) if len(numbers) else {}
            self.skipped += bad
            yield from (captions.get(first + i) for i in range(len(batch)))
            first += len(batch)
        _warn_of(self.skipped)

    def _sorted_out(
        self, batch: list[Any], first: int, on_error: str
    ) -> tuple[npt.NDArray[np.float32], Int64Array, list[Skipped]]:
        """Good rows (n, n_dims), their numbers (n,), and the bad ones."""
        good, numbers, bad = [], [], []
        for number, (row, mark) in enumerate(batch, first):
            values, reason = _checked(row, self.n_dims)
            if mark is not None and self.encoder_fingerprint_ not in (None, mark):
                reason = f"it comes from the encoder {mark} and not from {self.encoder_fingerprint_}"
                if on_error == "raise":
                    raise EncoderMismatchError(f"embedding {number} cannot be used: {reason}; use that encoder")
            if reason is None and values is not None:
                good.append(values)
                numbers.append(number)
            elif on_error == "raise":
                raise C3AlignError(
                    f"embedding {number} cannot be used: {reason}; mend or drop it, or pass on_error='skip'"
                )
            else:
                bad.append(Skipped(number, str(reason)))
        rows = np.stack(good) if good else np.empty((0, self.n_dims), np.float32)
        return rows, np.array(numbers, np.int64), bad

    def _captions(
        self, rows: npt.NDArray[np.float32], numbers: Int64Array, seed: int, options: dict[str, Any]
    ) -> Iterator[tuple[int, Any]]:
        """Number and caption of every row."""
        raise NotImplementedError

    def _check_ready(self) -> None:
        raise NotImplementedError


def _single_rows(embeddings: Any) -> Iterator[Any]:
    """The rows (d,) of an array, or of an iterable of rows and blocks."""
    if isinstance(embeddings, np.ndarray) or is_tensor(embeddings):
        return iter(embeddings)
    return chain.from_iterable(part if getattr(part, "ndim", 1) == 2 else (part,) for part in embeddings)


def _checked(row: Any, n_dims: int) -> tuple[npt.NDArray[np.float32] | None, str | None]:
    """A row in float32, or why it cannot be used."""
    row = row if hasattr(row, "dtype") else np.asarray(row, np.float64)
    if row.ndim != 1 or row.shape[0] != n_dims:
        return None, f"it has shape {tuple(row.shape)} and not ({n_dims},)"
    rows = as_rows(row.reshape(1, -1), "embeddings")
    if first_non_finite(rows)[0]:
        return None, "it holds NaN or infinity"
    return rows.widened()[0].astype(np.float32, copy=False), None


def _warn_of(skipped: list[Skipped]) -> None:
    if skipped:
        warnings.warn(
            f"{len(skipped)} embeddings could not be used and have no caption, first number {skipped[0].row} "
            f"({skipped[0].reason}); mend or drop them",
            stacklevel=4,
        )
