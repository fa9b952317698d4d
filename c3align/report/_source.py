"""Rows of one modality, however many: read in blocks, never held at once."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from c3align.errors import C3AlignError
from c3align.ops.arrays import as_rows

__all__ = ["Source"]

_BLOCK_BYTES = 1 << 25
_TAKEN = 256


@dataclass(frozen=True)
class Source:
    """Rows of one or more arrays or tensors one after the other, (n_rows, n_dims) in all."""

    name: str
    parts: tuple[Any, ...]

    @classmethod
    def of(cls, rows: Any, name: str) -> Source:
        """From one array, or from a list of them (shards)."""
        parts = tuple(rows) if isinstance(rows, list | tuple) else (rows,)
        widths = {as_rows(part, name).shape[1] for part in parts}
        if len(widths) != 1:
            raise C3AlignError(f"the parts of {name} are not all of one width ({sorted(widths)}); use one encoder")
        return cls(name, parts)

    @property
    def n_rows(self) -> int:
        return sum(int(part.shape[0]) for part in self.parts)

    @property
    def n_dims(self) -> int:
        return int(self.parts[0].shape[1])

    @property
    def dtype(self) -> str:
        return as_rows(self.parts[0], self.name).dtype

    def read(self, start: int, stop: int) -> Any:
        """Rows start to stop: a view where one part holds them all."""
        found, first = [], 0
        for part in self.parts:
            low, high = max(start - first, 0), min(stop - first, int(part.shape[0]))
            if low < high:
                found.append(part[low:high])
            first += int(part.shape[0])
        return found[0] if len(found) == 1 else np.concatenate([as_rows(part).widened() for part in found])

    def blocks(self) -> Iterator[tuple[int, Any]]:
        """Number of the first row, and rows, block by block, in bounded memory."""
        step = max(1, _BLOCK_BYTES // (4 * self.n_dims))
        for start in range(0, self.n_rows, step):
            yield start, self.read(start, start + step)
            self.release()

    def take(self, index: Any) -> Any:
        """Some rows (in ascending order), widened to their compute dtype."""
        found, first = [], 0
        for part in self.parts:
            here = index[(first <= index) & (index < first + part.shape[0])] - first
            # far rows of a mapped file bring many of their neighbours into memory
            for start in range(0, len(here), _TAKEN):
                found.append(as_rows(part, self.name).take(here[start : start + _TAKEN]).widened())
                self.release()
            first += int(part.shape[0])
        return np.concatenate(found)

    def release(self) -> None:
        """Give back the memory of what was read of memory-mapped files; the files stay as they are."""
        for part in self.parts:
            mapped = getattr(part, "_mmap", None)
            # only of read-only maps: a private one (mode "c") would forget what was written into it
            if getattr(part, "mode", None) == "r" and mapped is not None and hasattr(mapped, "madvise"):
                mapped.madvise(mmap.MADV_DONTNEED)
