"""Learning of rows in files, block by block, with a checkpoint between shards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from c3align import persistence
from c3align.cli._app import rows_bar
from c3align.errors import C3AlignError, counted
from c3align.io import atomic
from c3align.io import rows as row_files
from c3align.io.device import Device
from c3align.io.mirror import Rules, bad_rows
from c3align.io.progress import Checkpoint
from c3align.io.rows import Picked, RowSource
from c3align.ops.arrays import as_rows, first_bad

__all__ = ["Learning", "list_dropped", "touched"]

BLOCKS = 2  # at a time, for a block costs some milliseconds of merging
CHECKPOINT_SECONDS = 5.0  # at least, between two


class _Piece(NamedTuple):
    """What tells some rows of the side that is gone through, or pairs of them."""

    start: int
    n_rows: int
    behind: int  # parts
    numbers: Any  # of the rows that are learned
    partners: Any  # numbers of theirs
    dropped: list[dict[str, Any]]


class Learning:
    """Every row of a source; or every pair, whose rows have the same number in both of two sources.

    The shards of one side are gone through in order, and the partners of its rows are read from the other.
    `dropped` names the rows that were skipped.
    """

    def __init__(
        self,
        aligner: Any,
        first: RowSource,
        second: RowSource | None = None,
        checkpoint: Checkpoint | None = None,
        rules: Rules = Rules(),  # noqa: B008 (a frozen value)
        device: Device | None = None,
    ) -> None:
        if not first.n_rows:
            raise C3AlignError(f"{first.where(0)} holds no rows; pass some")
        # the side that has its rows in order is gone through
        self._is_swapped = second is not None and not _is_rising(first)
        first, second = (second, first) if self._is_swapped and second is not None else (first, second)
        self._numbers = first.numbers if isinstance(first, Picked) else None  # of the rows that have partners
        self.first: RowSource = first.base if isinstance(first, Picked) else first
        self.aligner, self.second, self.device = aligner, second, device
        self.checkpoint, self.rules, self.dropped = checkpoint, rules, list[dict[str, Any]]()
        self._whole: tuple[int, Any, int] | None = None  # parts behind, what was learned of them, rows dropped

    def run(self, **names: str) -> None:
        """Learn what is left to learn; what was learned of whole shards is kept, whatever happens."""
        begun = self._resumed()
        if self._is_swapped:
            names = {"modality": names["y_modality"], "y_modality": names["modality"]}
        row_bytes = np.dtype(self.first.parts[0].dtype).itemsize * self.first.n_dims
        step = max(1, BLOCKS * row_files.BLOCK_BYTES // row_bytes)
        saved = time.monotonic()
        with rows_bar(self.first, "fit") as done:
            done(self.first.ends[begun])
            try:
                for piece, sides in self._read(step, begun):
                    self._learn(piece, sides, names)
                    done(piece.n_rows)
                    if piece.start + piece.n_rows == self.first.ends[piece.behind]:
                        self._whole = piece.behind, getattr(self.aligner, "state_", None), len(self.dropped)
                        if time.monotonic() - saved > CHECKPOINT_SECONDS:
                            self._save()
                            saved = time.monotonic()
            except BaseException:
                self._save()
                raise
        if not hasattr(self.aligner, "state_"):
            raise C3AlignError("no row could be used; look at the first of them")

    def _resumed(self) -> int:
        """The parts that an earlier run has learned."""
        sources = [source for source in (self.first, self.second) if source is not None]
        if self.checkpoint is None or not self.checkpoint.load(sources, self.rules.redo):
            return 0
        learned = type(self.aligner).from_bytes(self.checkpoint.learned)
        self.aligner.state_, self.dropped = learned.state_, list(self.checkpoint.notes)
        begun = self.checkpoint.n_shards
        if self.second is not None and not isinstance(self.second, Picked):
            place = self._pairs_before(self.first.ends[begun])
            part = int(np.searchsorted(self.second.ends, place, "right")) - 1
            for _ in self.second.blocks_of(self.second.ends[part], place):
                self.second.release()  # it was read so that a file is compared with its digest whole
        return begun

    def _pairs_before(self, row: int) -> int:
        return row if self._numbers is None else int(np.searchsorted(self._numbers, row))

    def _read(self, step: int, begun: int) -> Iterator[tuple[_Piece, tuple[Any, ...]]]:
        """Pieces with their rows, and with their partners if there are any: here, or on the device."""
        pieces = partial(self._pieces, step, begun)
        return pieces() if self.device is None else self.device.loaded(pieces)

    def _pieces(self, step: int, begun: int, empty: Any = None) -> Iterator[tuple[_Piece, tuple[Any, ...]]]:
        for start, rows, behind in self.first.pieces(step, begun, empty):
            n_rows, numbers = len(rows), np.arange(start, start + len(rows))
            sides: tuple[Any, ...] = (rows,)
            partners = numbers
            if self.second is not None:
                low, high = self._pairs_before(start), self._pairs_before(start + n_rows)
                numbers = numbers if self._numbers is None else self._numbers[low:high]
                sides = self._pairs(rows, numbers - start, low, empty) if low < high else ()
                partners = np.arange(low, high)
            dropped = list[dict[str, Any]]()
            if self.rules.skip and sides:
                sides, numbers, partners, dropped = self._without_bad(sides, numbers, partners)
            yield _Piece(start, n_rows, behind, numbers, partners, dropped), sides

    def _pairs(self, rows: Any, places: Any, low: int, empty: Any) -> tuple[Any, Any]:
        """Those of the rows at these rising places, and their partners, of which the first is number `low`."""
        assert self.second is not None
        room = empty and empty((len(places), self.second.n_dims), self.second.parts[0].dtype)
        chosen = rows if len(places) == len(rows) else rows[places]
        return chosen, self.second.read(low, low + len(places), room)

    def _learn(self, piece: _Piece, sides: tuple[Any, ...], names: dict[str, str]) -> None:
        self.dropped += piece.dropped
        if not (sides and len(sides[0])):
            return
        computing = nullcontext() if self.device is None else self.device.computing()
        with self._located(piece, sides), computing:
            self.aligner.partial_fit(*sides, **names)

    @contextmanager
    def _located(self, piece: _Piece, sides: tuple[Any, ...]) -> Iterator[None]:
        """Errors name the file and the row, of the side that has a row to be refused."""
        try:
            yield
        except ValueError:
            is_second = len(sides) > 1 and first_bad(as_rows(sides[0])) < 0 <= first_bad(as_rows(sides[1]))
            if is_second and self.second is not None:
                with replace(self.second, name="y").located(int(piece.partners[0]), sides[1], piece.partners):
                    raise
            with self.first.located(piece.start, sides[0], piece.numbers):
                raise

    def _without_bad(self, sides: tuple[Any, ...], numbers: Any, partners: Any) -> tuple[Any, Any, Any, list[Any]]:
        """Rows of each side, their numbers, those of their partners, and file and row of each that is left out."""
        each = [bad_rows(side, self.rules.zeros_too) for side in sides]
        bad, dropped = np.any(each, axis=0), list[dict[str, Any]]()
        for i in np.flatnonzero(bad):
            source, row = (self.first, numbers[i]) if each[0][i] else (self.second or self.first, partners[i])
            file, row = source.where(int(row)).rsplit(", row ", 1)
            dropped.append({"file": file, "row": int(row)})
        return tuple(side[~bad] for side in sides) if dropped else sides, numbers[~bad], partners[~bad], dropped

    def _save(self) -> None:
        """Write down what was learned of whole shards, if there is more of them than an earlier checkpoint has."""
        if self.checkpoint is None or self._whole is None or self._whole[1] is None:
            return
        behind, state, n_dropped = self._whole
        seen = [self.first.parts[:behind]]
        if self.second is not None:
            place = self._pairs_before(self.first.ends[behind])
            n_seen = None if isinstance(self.second, Picked) else int(np.searchsorted(self.second.ends, place))
            seen.append(self.second.parts[:n_seen])
        content = persistence.dump(self.aligner.get_params(deep=False), state)
        self.checkpoint.save(content, seen, self.dropped[:n_dropped])
        self._whole = None


def _is_rising(source: RowSource) -> bool:
    return not isinstance(source, Picked) or bool((np.diff(source.numbers) > 0).all())


def list_dropped(path: Path, dropped: list[dict[str, Any]]) -> str:
    """Write down which rows were skipped, and say so."""
    if not dropped:
        atomic.remove(path)
        return ""
    atomic.write(path, "".join(f"{json.dumps(line)}\n" for line in dropped).encode())
    return f"\n{counted(len(dropped), 'row')} could not be used; see {path}"


def touched(n: int) -> str:
    """What there is to say of files that an earlier run has seen, and whose time alone is another one."""
    text = (
        "; 1 file has a new time and its old content"
        if n == 1
        else f"; {n} files have a new time and their old content"
    )
    return text if n else ""
