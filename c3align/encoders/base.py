"""What the encoders share: items are decoded and prepared in threads, ahead of the towers, in order."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align._arguments import check_choice, check_whole
from c3align.errors import C3AlignError, MissingExtraError, TruncationWarning
from c3align.io import media

__all__ = ["Batch", "Broken", "Prepared", "TowerEncoder", "batches", "check_many", "prepared_batches"]

DTYPES = ("float32", "float16")
BATCHES_AHEAD = 2  # what is prepared while the towers work
CHUNK_ITEMS = 32
SKIP = ", or pass --on-error skip (on_error='skip')"  # advice that callers without such an option leave out


class Prepared(NamedTuple):
    """An item decoded and prepared for the towers."""

    value: Any


class Broken(NamedTuple):
    """An item that could not be prepared, and why."""

    place: int
    name: str
    reason: str


class Batch(NamedTuple):
    """Embeddings of some items: `kept` holds their numbers, `broken` the items that could not be embedded."""

    rows: npt.NDArray[Any]
    kept: list[int]
    broken: list[Broken]
    n_items: int


def prepared_batches(
    items: Iterable[Any], prepare: Callable[[Any], Prepared], batch_size: int, workers: int | None = None
) -> Iterator[list[Prepared | Broken]]:
    """Batches of prepared items, in order; threads prepare the next ones while the caller uses a batch."""

    def attempt(index: int, item: Any) -> Prepared | Broken:
        if isinstance(item, Broken):  # as its caller knows
            return item._replace(place=index)
        try:
            return item if isinstance(item, Prepared) else prepare(item)
        except (MissingExtraError, MemoryError):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, C3AlignError) else str(error)
            return Broken(index, media.name_of(item) or "", reason)

    def attempt_all(chunk: list[tuple[int, Any]]) -> list[Prepared | Broken]:
        return [attempt(index, item) for index, item in chunk]

    n_workers = workers or max(1, min(8, (os.cpu_count() or 1) - 1))  # the towers' own processor is left to them
    # several items a task, or handing small ones over would cost more than decoding them
    chunk_size = max(1, min(CHUNK_ITEMS, batch_size // n_workers))
    numbered, ahead = iter(enumerate(items)), deque[list[Future[list[Prepared | Broken]]]]()
    with ThreadPoolExecutor(n_workers) as pool:
        try:
            while True:
                while len(ahead) <= BATCHES_AHEAD and (batch := list(islice(numbered, batch_size))):
                    chunks = [batch[i : i + chunk_size] for i in range(0, len(batch), chunk_size)]
                    ahead.append([pool.submit(attempt_all, chunk) for chunk in chunks])
                if not ahead:
                    return
                yield [item for future in ahead.popleft() for item in future.result()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class TowerEncoder:
    """An encoder made of torch towers. A backend defines how an item is prepared and how a batch is embedded.

    An encoder of pictures embeds videos too: as the mean of the unit embeddings of evenly spaced frames. How many is
    part of its fingerprint, where it is another number than usual.
    """

    modalities: tuple[str, ...]
    n_dims: int
    name = "this encoder"
    sample_rate = 48_000  # of sounds, where there are any
    n_frames = media.N_FRAMES  # of a video, evenly spaced
    frame_rate: float | None = None  # instead: frames a second, any number of them
    max_pixels: int | None = None  # of a picture, or of a video's frames together; see `c3align.io.media`
    max_samples: int | None = None  # of a sound

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        self._truncated = 0
        self._total: list[int] | None = None  # texts cut and seen, while a caller counts over several calls

    chooses_frames = True  # whether `n_frames` and `frame_rate` have an effect, where it embeds videos

    @property
    def fingerprint(self) -> str:
        """What its rows depend on, in a few words and digests."""
        if "video" not in self.modalities or not self.chooses_frames:
            return self._fingerprint
        if self.frame_rate:
            return f"{self._fingerprint}/{self.frame_rate:g} frames a second"
        usual = self.n_frames == self._usual_frames
        return self._fingerprint if usual else f"{self._fingerprint}/{self.n_frames} frames"

    @fingerprint.setter
    def fingerprint(self, found: str) -> None:
        self._fingerprint, self._usual_frames = found, self.n_frames

    @property
    def device(self) -> Any:
        """The device of the towers."""
        return next(self._model.parameters()).device

    def prepare(self, item: Any, modality: str) -> Prepared:
        """Decode one item and prepare it for the towers; thread-safe."""
        if modality == "text":
            if not isinstance(item, str):
                raise C3AlignError(f"a text must be a string, got {type(item).__name__}")
            return Prepared(item)
        if modality == "audio":
            return Prepared(self._prepare_sound(media.audio(item, self.sample_rate, self.max_samples)))
        if modality == "video":
            check_whole("n_frames", self.n_frames)
            return Prepared(self._prepare_video(media.frames(item, self.n_frames, self.frame_rate, self.max_pixels)))
        return Prepared(self._prepare_picture(media.image(item, self.max_pixels)))

    def encode(
        self,
        items: Sequence[Any],
        *,
        modality: str,
        batch_size: int = 32,
        device: Any = None,
        dtype: str = "float32",
        progress: bool = False,
    ) -> npt.NDArray[Any]:
        """Embed items; see `Encoder.encode`. The towers stay on the device; what cannot be read is refused by name."""
        check_request(self, items, modality, batch_size, dtype)
        if device is not None:
            self._model.to(device)
        self._truncated, parts = 0, []
        with tqdm(total=len(items), disable=not progress, unit=modality, desc=self.name) as bar:
            for batch in prepared_batches(items, lambda item: self.prepare(item, modality), batch_size):
                parts.append(self._rows(refuse_broken(batch, modality), modality).astype(dtype))
                bar.update(len(batch))
        self._warn_of_truncation(len(items))
        return np.concatenate(parts) if parts else np.empty((0, self.n_dims), dtype)

    def _rows(self, batch: list[Any], modality: str) -> npt.NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            if modality == "video" and not hasattr(self, "_embed_videos"):
                return self._rows_of_parts(batch, "image")
            if modality in ("image", "audio", "video") and isinstance(batch[0], list):
                return self._rows_of_parts(batch, modality)
            return np.asarray(self._embed(batch, modality).float().cpu().numpy(), np.float32)

    def _rows_of_parts(self, batch: list[list[Any]], modality: str) -> npt.NDArray[np.float32]:
        """Items of several parts, frames or windows: the mean of their unit embeddings, or the only one."""
        flat = [part for parts in batch for part in parts]
        embedded = np.asarray(self._embed(flat, modality).float().cpu().numpy(), np.float32)
        stops = np.cumsum([len(parts) for parts in batch])
        return np.stack([_mean_direction(rows) for rows in np.split(embedded, stops[:-1])])

    def _embed(self, batch: list[Any], modality: str) -> Any:
        """Rows (n, n_dims), a tensor, of prepared items."""
        raise NotImplementedError

    def _prepare_picture(self, picture: Any) -> Any:
        raise NotImplementedError

    def _prepare_sound(self, waveform: npt.NDArray[np.float32]) -> Any:
        raise NotImplementedError

    def _prepare_video(self, pictures: list[Any]) -> Any:
        return [self._prepare_picture(picture) for picture in pictures]

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Give one warning about cut texts for all calls within, at the end."""
        if self._total is not None:
            yield
            return
        self._total = [0, 0]
        try:
            yield
        finally:
            (self._truncated, n_items), self._total = self._total, None
            self._warn_of_truncation(n_items)

    def _warn_of_truncation(self, n_items: int) -> None:
        if self._total is not None:
            self._total = [self._total[0] + self._truncated, self._total[1] + n_items]
        elif self._truncated:
            warnings.warn(
                f"{self._truncated} of {n_items} texts are longer than {self.name} reads and were cut; shorten them "
                "if their ends matter",
                TruncationWarning,
                stacklevel=3,
            )


def counting(encoder: Any) -> Any:
    """`TowerEncoder.counting` of encoders that have it."""
    return encoder.counting() if hasattr(encoder, "counting") else nullcontext()


def batches(
    encoder: Any,
    items: Iterable[Any],
    *,
    modality: str,
    batch_size: int = 32,
    device: Any = None,
    dtype: str = "float32",
    on_error: str = "raise",
    numbers: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Embed any number of items; see `Encoder.encode`.

    Items that cannot be read are refused, or skipped with ``on_error="skip"``; errors name the items by `numbers`,
    by default their places. Threads decode them, one less than there are processors, at most 8.
    """
    check_whole("batch_size", batch_size)
    check_choice("on_error", on_error, ("raise", "skip"))
    if modality not in encoder.modalities:
        raise C3AlignError(f"this encoder does not know {modality!r}; pass one of {', '.join(encoder.modalities)}")
    own = getattr(encoder, "prepare", None)
    prepare = (lambda item: own(item, modality)) if own else Prepared
    options = {"modality": modality, "batch_size": batch_size, "device": device, "dtype": dtype}
    first = 0
    with counting(encoder):
        for batch in prepared_batches(items, prepare, batch_size):
            if on_error == "raise":
                refuse_broken(batch, modality, numbers, f"remove or fix it{SKIP}")
            kept = [first + i for i, item in enumerate(batch) if isinstance(item, Prepared)]
            # an encoder accepts what it prepared itself; others get their items
            good = [item if own else item.value for item in batch if isinstance(item, Prepared)]
            rows = encoder.encode(good, **options) if good else np.empty((0, encoder.n_dims), dtype)
            yield Batch(rows, kept, [item for item in batch if isinstance(item, Broken)], len(batch))
            first += len(batch)


def _mean_direction(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if len(rows) == 1:
        return rows[0]
    wide = rows.astype(np.float64)
    return np.asarray((wide / np.linalg.norm(wide, axis=1, keepdims=True)).mean(axis=0), np.float32)


def windows(waveform: npt.NDArray[np.float32], length: int | None) -> list[npt.NDArray[np.float32]]:
    """Parts of a sound, of the length that towers take; a last one shorter than half is left out."""
    if length is None:
        return [waveform]
    found = [waveform[i : i + length] for i in range(0, len(waveform), length)]
    return found if len(found) == 1 or len(found[-1]) >= length // 2 else found[:-1]


def check_many(items: Any) -> None:
    """Refuse one item in the place of many: the letters of its name would be taken for them."""
    if isinstance(items, str | bytes | os.PathLike) or not hasattr(items, "__iter__"):
        raise C3AlignError("items must be a list, got a single item; pass [item], or a folder's files as a list")


def check_request(encoder: Any, items: Any, modality: str, batch_size: int, dtype: str) -> None:
    """Refuse what no encoder can do."""
    if modality not in encoder.modalities:
        known = ", ".join(repr(name) for name in encoder.modalities)
        raise C3AlignError(f"{encoder.name} does not know modality {modality!r}; pass one of {known}")
    check_many(items)
    if not hasattr(items, "__len__"):
        raise C3AlignError(f"items must be a list, got a {type(items).__name__}; pass list(items)")
    check_whole("batch_size", batch_size)
    check_choice("dtype", dtype, DTYPES)


def refuse_broken(
    batch: list[Prepared | Broken], modality: str, numbers: Sequence[int] | None = None, fix: str = "remove or fix it"
) -> list[Any]:
    """Raise for the first broken item of a batch; `numbers` are those of all items, by default their places."""
    for item in batch:
        if isinstance(item, Broken):
            number = item.place if numbers is None else numbers[item.place]
            where = f"{modality} {number}" + (f" ({item.name})" if item.name else "")
            raise C3AlignError(f"{where} cannot be used: {item.reason}; {fix}")
    return [item.value for item in batch if isinstance(item, Prepared)]


def is_local(name: str) -> bool:
    """Whether a name is that of a folder, which says nothing about an encoder."""
    return Path(name).is_dir()


def count_truncated(n_tokens: Iterable[int], limit: int) -> int:
    return sum(n > limit for n in n_tokens)
