"""Rows through a device: while a block is computed there, the next is read and copied to it, the last copied back.

The host's buffers, two each way, are pinned where the device is a GPU, and copies have streams of their own. On the CPU
the same steps go over plain buffers without streams. Results have the bytes of rows that never left the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle
from math import prod
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.io.ahead import read_ahead
from c3align.ops.arrays import dtype_name

__all__ = ["Device", "Empty", "usable"]

_Key = TypeVar("_Key")
Empty: TypeAlias = Callable[[tuple[int, int], Any], npt.NDArray[Any]]  # memory for a shape and dtype, as np.empty
_KINDS = ("cpu", "cuda")  # which have the reference's bits
_STAGES = ("reading", "copying there", "computing", "copying back", "writing")


def usable(name: str) -> Any:
    """The device that torch knows by this name.

    Raises
    ------
    C3AlignError
        When it cannot be used here.
    """
    torch = need("torch", "torch")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise C3AlignError(f"--device {name!r} cannot be used here ({reason}); omit it to use the CPU") from error


class Device:
    """What rows go through, and how many seconds each stage took: on a GPU by the times of its events."""

    def __init__(self, name: str) -> None:
        self.device = usable(name)
        if self.device.type not in _KINDS:
            raise C3AlignError(f"--device must be {' or '.join(_KINDS)}, got {name!r}; omit it to use the CPU")
        there, back, self._now = _stream(self.device), _stream(self.device), _Span(self.device)
        self._there, self._back = ([_Lane(self.device, stream) for _ in range(2)] for stream in (there, back))
        self.seconds = dict.fromkeys(_STAGES, 0.0)

    @classmethod
    def named(cls, name: str | None) -> Device | None:
        """The device of this name; None without one, for rows that stay on the host."""
        return None if name is None else cls(name)

    def loaded(
        self, blocks: Callable[[Empty], Iterable[tuple[_Key, tuple[Any, ...]]]]
    ) -> Iterator[tuple[_Key, tuple[Any, ...]]]:
        """Blocks on the device, in memory that the next but one takes.

        Parameters
        ----------
        blocks : callable
            Yields what tells a block, and its arrays (n_rows, n_dims): without a copy those in memory that it got by
            calling its argument. A second thread runs it.
        """
        for key, on_device, lane in read_ahead(self._sent(blocks)):
            lane.end.wait(self._now.stream)
            yield key, on_device
            self.seconds["copying there"] += lane.seconds()

    def through(
        self, blocks: Callable[[Empty], Iterable[tuple[int, Any]]], change: Callable[[int, Any], tuple[Any, Any]]
    ) -> Iterator[tuple[Any, npt.NDArray[Any]]]:
        """What becomes of blocks, in their order, in memory that the next but one takes.

        Parameters
        ----------
        blocks : callable
            As in `loaded`, of one array each.
        change : callable
            From what tells a block, and its rows on the device, to what is passed on, and the changed rows.
        """
        lanes, before = cycle(self._back), None
        for key, (rows,) in self.loaded(lambda empty: ((about, (found,)) for about, found in blocks(empty))):
            with self.computing():
                passed_on, changed = change(key, rows)
            lane = next(lanes)
            coming = passed_on, lane, lane.fetched(changed), changed  # which has to live until it is copied
            if before is not None:
                yield from self._arrived(*before)
            before = coming
        if before is not None:
            yield from self._arrived(*before)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Wait for what is computed inside, and add up its time."""
        with self._now.timed():
            yield
        self.seconds["computing"] += self._now.seconds()

    def limit(self) -> str:
        """How long each stage took, and which the others waited for: a line, or nothing where nothing was done."""
        took = {stage: seconds for stage, seconds in self.seconds.items() if seconds}
        if not took:
            return ""
        told = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in took.items())
        return f"\non {self.device}, side by side: {told}; the limit was {max(took, key=lambda stage: took[stage])}"

    def _sent(self, blocks: Any) -> Iterator[tuple[Any, tuple[Any, ...], _Lane]]:
        """Blocks on their way to the device."""
        lanes = cycle(self._there)
        lane = next(lanes)
        found = iter(blocks(lambda shape, dtype: lane.empty(shape, dtype)))
        while True:
            begin, lane.n_used = perf_counter(), 0
            block = next(found, None)
            here = [] if block is None else [lane.placed(i, rows) for i, rows in enumerate(block[1])]
            self.seconds["reading"] += perf_counter() - begin
            if block is None:
                return
            yield block[0], lane.sent(here), lane
            lane = next(lanes)

    def _arrived(self, passed_on: Any, lane: _Lane, here: Any, _: Any) -> Iterator[tuple[Any, npt.NDArray[Any]]]:
        self.seconds["copying back"] += lane.seconds()
        begin = perf_counter()
        yield passed_on, here.numpy()
        self.seconds["writing"] += perf_counter() - begin


class _Moment:
    """What a CUDA event is, where nothing goes on behind the host's back."""

    at = 0.0

    def record(self, stream: Any) -> None:
        self.at = perf_counter()

    def wait(self, stream: Any) -> None:
        """It is over."""

    def synchronize(self) -> None:
        """It is over."""

    def elapsed_time(self, end: _Moment) -> float:
        return 1e3 * (end.at - self.at)


def _of(device: Any) -> Any:
    """Torch's module for the kind of a device; that of the CPU has streams in name alone."""
    import torch

    return torch.cuda if device.type == "cuda" else torch.cpu


def _stream(device: Any) -> Any:
    return _of(device).Stream(device) if device.type == "cuda" else _of(device).Stream()


def _event(device: Any) -> Any:
    return _of(device).Event(enable_timing=True) if device.type == "cuda" else _Moment()


class _Span:
    """From when to when a stream does something: one of its own, or that of the thread."""

    def __init__(self, device: Any, stream: Any = None) -> None:
        self.device, self._stream = device, stream
        self.begin, self.end = _event(device), _event(device)

    @property
    def stream(self) -> Any:
        return self._stream or _of(self.device).current_stream(self.device)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What is asked for inside, the stream does."""
        with _of(self.device).stream(self.stream):
            self.begin.record(self.stream)
            yield
            self.end.record(self.stream)

    def seconds(self) -> float:
        """How long it took, once it is over."""
        self.end.synchronize()
        return float(self.begin.elapsed_time(self.end)) / 1e3


class _Lane(_Span):
    """Memory for the arrays of a block, on the host and on the device, and the stream that copies between them."""

    def __init__(self, device: Any, stream: Any) -> None:
        super().__init__(device, stream)
        self.n_used = 0
        self._host, self._on_device = dict[int, Any](), dict[int, Any]()

    def empty(self, shape: tuple[int, int], dtype: Any) -> npt.NDArray[Any]:
        """The host's memory for the next array of a block."""
        self.n_used += 1
        found: npt.NDArray[Any] = self._room(self._host, self.n_used - 1, shape, np.dtype(dtype).name).numpy()
        return found

    def placed(self, i: int, rows: npt.NDArray[Any]) -> Any:
        """An array of a block as a tensor in the memory for it, where it may be already."""
        room = self._room(self._host, i, rows.shape, rows.dtype.name)
        if room.data_ptr() != rows.ctypes.data:
            room.numpy()[...] = rows
        return room

    def sent(self, here: list[Any]) -> tuple[Any, ...]:
        """Tensors of the host on their way to the device."""
        with self.timed():
            rooms = [self._room(self._on_device, i, rows.shape, dtype_name(rows)) for i, rows in enumerate(here)]
            return tuple(room.copy_(rows, non_blocking=True) for room, rows in zip(rooms, here))

    def fetched(self, rows: Any) -> Any:
        """What was computed, on its way to the host."""
        here = self._room(self._host, 0, tuple(rows.shape), dtype_name(rows))
        with self.timed():
            return here.copy_(rows, non_blocking=True)

    def _room(self, rooms: dict[int, Any], i: int, shape: tuple[int, ...], dtype: str) -> Any:
        """The memory for array `i`, as large as the largest so far was; the host's is pinned for a GPU's copies."""
        import torch

        wanted, size = getattr(torch, dtype), prod(shape)
        if i not in rooms or rooms[i].dtype != wanted or len(rooms[i]) < size:
            is_host = rooms is self._host
            how = {"pin_memory": self.device.type == "cuda"} if is_host else {"device": self.device}
            rooms[i] = torch.empty(size, dtype=wanted, **how)
        return rooms[i][:size].view(shape)
