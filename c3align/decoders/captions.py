"""What captioners share: rows of any number come in, captions go out in order, and bad rows are named."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import chain, islice, repeat, zip_longest
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align._arguments import check_choice, check_whole, shown
from c3align._typing import Int64Array
from c3align.errors import C3AlignError, EncoderMismatchError
from c3align.ops.arrays import as_rows, first_non_finite, is_tensor, of_frame
from c3align.training.rows import TrainingRows

_HALF = re.compile("[\ud800-\udfff]")  # of a character of UTF-16, which no tokenizer takes
BATCH_ROWS = 64  # that are captioned together, unless another number is asked for
Say = Callable[[npt.NDArray[np.float32], Int64Array], Iterator[tuple[int, Any]]]


class Skipped(NamedTuple):
    """A row that could not be used, and why."""

    row: int
    reason: str


def stream(
    captioner: Any,
    rows: Any,
    say: Say,
    *,
    row_offset: int = 0,
    batch_size: int = BATCH_ROWS,
    fingerprint: str | Iterable[str] | None = None,
    on_error: str = "raise",
) -> Iterator[Any]:
    """Captions of rows, or of an iterable of rows and blocks; see `PrefixCaptioner.stream`.

    `say` takes rows (n, n_dims) float32 and their numbers (n,), and yields the number and caption of each.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    check_whole("batch_size", batch_size)
    row_offset = check_whole("row_offset", row_offset, 0)
    if on_error == "raise":
        _check_width(rows, captioner.n_dims)
    marked = _marked(_single_rows(rows), fingerprint)
    captioner.skipped = []
    return _stream(captioner, marked, say, batch_size, row_offset, on_error == "skip")


def listed(captions: Iterator[Any], rows: Any, progress: bool) -> list[Any]:
    """All captions of a stream, with a bar on request."""
    total = len(rows) if isinstance(rows, Sized) else None
    return list(tqdm(captions, total=total, disable=not progress, unit="caption", desc="caption"))


def _stream(captioner: Any, marked: Iterator[Any], say: Say, batch_size: int, first: int, skips: bool) -> Iterator[Any]:
    while batch := list(islice(marked, batch_size)):
        rows, numbers, bad = _sorted_out(captioner, batch, first, skips)
        if captioner._place is not None:
            captioner._place.check(rows, captioner.modality_)
        captions = dict(say(rows, numbers)) if len(numbers) else {}
        captioner.skipped += bad
        yield from (captions.get(first + i) for i in range(len(batch)))
        first += len(batch)
    if captioner.skipped:
        warnings.warn(
            f"{len(captioner.skipped)} embeddings could not be used and have no caption, first number "
            f"{captioner.skipped[0].row} ({captioner.skipped[0].reason}); remove or fix them",
            stacklevel=3,
        )


def _sorted_out(
    captioner: Any, batch: list[Any], first: int, skips: bool
) -> tuple[npt.NDArray[np.float32], Int64Array, list[Skipped]]:
    """Good rows (n, n_dims), their numbers (n,), and the bad ones."""
    good, numbers, bad = [], [], []
    for number, (row, mark) in enumerate(batch, first):
        values, reason = _checked(row, captioner.n_dims)
        if mark is not None and captioner.encoder_fingerprint_ not in (None, mark):
            reason = f"it comes from the encoder {mark} and not from {captioner.encoder_fingerprint_}"
            if not skips:
                raise EncoderMismatchError(f"embedding {number} cannot be used: {reason}; use that encoder")
        if reason is None and values is not None:
            good.append(values)
            numbers.append(number)
        elif not skips:
            raise C3AlignError(
                f"embedding {number} cannot be used: {reason}; remove or fix it, or pass on_error='skip'"
            )
        else:
            bad.append(Skipped(number, str(reason)))
    rows = np.stack(good) if good else np.empty((0, captioner.n_dims), np.float32)
    return rows, np.array(numbers, np.int64), bad


def _marked(rows: Iterator[Any], fingerprint: Any) -> Iterator[tuple[Any, Any]]:
    """Rows, each with the encoder that it comes from."""
    if fingerprint is None or isinstance(fingerprint, str):
        return zip(rows, repeat(fingerprint))
    if not isinstance(fingerprint, Iterable):
        raise C3AlignError(f"fingerprint must be one or a list, got {shown(fingerprint)}; pass one or one per row")
    return _paired(rows, fingerprint)


def _paired(rows: Iterator[Any], marks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Rows and as many fingerprints, told at the end of either."""
    absent = object()
    for number, (row, mark) in enumerate(zip_longest(rows, marks, fillvalue=absent)):
        if row is absent or mark is absent:
            few, many = ("rows", "fingerprints") if row is absent else ("fingerprints", "rows")
            raise C3AlignError(f"there are {number} {few} and more {many}; pass one fingerprint, or one per row")
        yield row, mark


def _check_width(rows: Any, n_dims: int) -> None:
    """Say of a whole array what its every row would say."""
    if (isinstance(rows, np.ndarray) or is_tensor(rows)) and rows.ndim == 2 and rows.shape[1] != n_dims:
        raise C3AlignError(
            f"the rows have {rows.shape[1]} columns and this decoder takes {n_dims}; pass rows of the encoder that it "
            "learned from"
        )


def _single_rows(rows: Any) -> Iterator[Any]:
    """The rows (d,) of an array or a frame, or of an iterable of rows and blocks."""
    rows = of_frame(rows)
    if isinstance(rows, np.ndarray) or is_tensor(rows):
        if rows.ndim < 2 and math.prod(rows.shape) and getattr(rows.dtype, "kind", "f") != "O":
            raise C3AlignError(f"rows must be (n_rows, n_dims), got {shown(rows)}; pass rows.reshape(1, -1) for one")
        return iter(rows)
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping) or hasattr(rows, "toarray"):
        raise C3AlignError(
            f"rows must be an array, a tensor or an iterable of rows, got {type(rows).__name__}; pass what "
            "aligner.transform(embeddings, modality=...) gives"
        )
    return chain.from_iterable(part if getattr(part, "ndim", 1) == 2 else (part,) for part in rows)


def _checked(row: Any, n_dims: int) -> tuple[npt.NDArray[np.float32] | None, str | None]:
    """A row in float32, or why it cannot be used."""
    try:
        row = row if hasattr(row, "dtype") else np.asarray(row, np.float64)
    except (TypeError, ValueError):
        return None, f"it is no row of numbers but a {type(row).__name__}"
    if row.ndim != 1 or row.shape[0] != n_dims:
        return None, f"it has shape {tuple(row.shape)} and not ({n_dims},)"
    try:
        rows = as_rows(row.reshape(1, -1), "embeddings")
    except C3AlignError:
        return None, f"it is {row.dtype} and not of floats"
    if first_non_finite(rows)[0]:
        return None, "it holds NaN or infinity"
    values = rows.widened()[0].astype(np.float32, copy=False)
    return (values, None) if values.any() else (None, "it is zero, and has no direction")


def usable(source: TrainingRows, items: Any, on_error: str) -> tuple[TrainingRows, Any, list[Skipped]]:
    """Rows of one modality and their items; with "skip" without those on another one's side, which are listed."""
    check_choice("on_error", on_error, ("raise", "skip"))
    found = sorted(source.check(on_error == "skip").items())
    skipped = [Skipped(row, f"it lies on the side of {name!r}") for row, name in found]
    if not skipped:
        return source, items, skipped
    warnings.warn(
        f"{len(skipped)} of {len(source)} embeddings given as {source.modality!r} are left out, first row "
        f"{skipped[0].row} ({skipped[0].reason}); all are listed in skipped",
        stacklevel=3,
    )
    kept = np.delete(np.arange(len(source)), [row for row, _ in found])
    fewer = replace(source, rows=source.rows.take(kept))
    return fewer, items[kept] if isinstance(items, np.ndarray) else [items[i] for i in kept], skipped


def check_aligned(captioner: Any, rows: npt.NDArray[np.float32]) -> None:
    """Refuse finite rows (n, n_dims) that `stream` refuses, by batches of its usual size."""
    zero = np.flatnonzero(~rows.any(axis=1))
    if len(zero):
        raise C3AlignError(f"embedding {zero[0]} cannot be used: it is zero, and has no direction; remove or fix it")
    for start in range(0, len(rows) if captioner._place is not None else 0, BATCH_ROWS):
        captioner._place.check(rows[start : start + BATCH_ROWS], captioner.modality_)


def check_captions(captions: Any, n_rows: int) -> list[str]:
    """The captions as a list, one for each row."""
    if isinstance(captions, str | bytes):
        raise C3AlignError("captions must be a list of texts, got one text; pass one for each row")
    texts = list(captions)
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise C3AlignError(
            f"caption {wrong} must be a text, got a {type(texts[wrong]).__name__}; a captioner learns "
            "from texts alone: pass one for each row (Pipeline.fit_text)"
        )
    half = next((i for i, text in enumerate(texts) if not text.isascii() and _HALF.search(text)), None)
    if half is not None:
        raise C3AlignError(f"caption {half} holds half of a character, {texts[half]!r:.200}; write it as whole text")
    if len(texts) != n_rows or not n_rows:
        raise C3AlignError(f"there are {n_rows} embeddings and {len(texts)} captions; pass a caption for every row")
    return texts


def consensus(texts: Sequence[str], weights: npt.ArrayLike) -> int:
    """Number of the text with the largest weighted mean word F1 to all, itself among them; the first of equals.

    With draws from a model this is minimum Bayes risk decoding (Eikema and Aziz, 2020); with neighbours the consensus
    caption of Devlin et al. (2015). The weights are at least 0.
    """
    bags = [Counter(text.split()) for text in texts]
    common = np.array([[word_f1(a, b) for b in bags] for a in bags])
    return int((common @ np.asarray(weights, np.float64)).argmax())


def word_f1(a: Counter[str], b: Counter[str]) -> float:
    """F1 of two bags of words."""
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0
