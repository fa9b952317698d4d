"""A memory of texts: their aligned embeddings, in RAM or in a file; rows are looked up and projected in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import neighbours, ops
from c3align._typing import Int64Array
from c3align.errors import C3AlignError
from c3align.io import atomic, container, npy
from c3align.io.rows import RowSource, write_npy
from c3align.training.rows import TrainingRows

CAPTIONER_FILE, MEMORY_FOLDER = "captioner.safetensors", "memory"
ROWS_FILE, TEXTS_FILE = "memory.npy", "captions.jsonl"
_OWN = {CAPTIONER_FILE, container.CONFIG_FILE, "lm", MEMORY_FOLDER, "decoder", ".DS_Store"}  # "decoder" of older ones
PROJECTED_ROWS = 256  # of the memory that a projection weighs; the others weigh nothing at usual temperatures
TEMPERATURE = 0.01  # of a projection's weights: DeCap's
_BLOCK_ELEMENTS = 1 << 23
_LOOKED_AT = 64  # rows for each that is wanted, while those of one thing are passed over


@dataclass
class Memory:
    """Aligned rows, normalized so that dot products are cosines, and their texts."""

    rows: RowSource  # (n, n_dims) float32
    texts: list[str]  # none where rows alone are asked for
    index: str | None = None  # what faiss searches it with; None searches exactly
    things: Int64Array | None = None  # (n,): what each is about; equal texts are about one thing by default
    _search: neighbours.Search | None = field(default=None, repr=False)
    _groups: dict[str, int] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, source: TrainingRows, texts: list[str], folder: str | os.PathLike[str] | None, index: str | None
    ) -> Memory:
        """Align all rows, block by block, into RAM or into `folder`, and read them from there."""
        shape = source.rows.shape
        if folder is None:
            rows = np.empty(shape, np.float32)
            for part, block in _unit_blocks(source):
                rows[part] = block
            return cls(RowSource.of(rows), texts, index)
        path = atomic.local_path(folder)
        path.mkdir(parents=True, exist_ok=True)
        write_npy(path / ROWS_FILE, shape, np.float32, (block for _, block in _unit_blocks(source)))
        _write_texts(path, texts)
        return cls.load(path, shape[1], index)

    @property
    def n_dims(self) -> int:
        return self.rows.n_dims

    def groups(self, texts: Sequence[str]) -> Int64Array:
        """Numbers (n,) of texts, equal for equal ones; -1 for those that the memory does not hold."""
        if self._groups is None:
            self._groups = {}
            for text in self.texts:
                self._groups.setdefault(text, len(self._groups))
        return np.array([self._groups.get(text, -1) for text in texts], np.int64)

    def nearest(
        self, rows: Any, k: int, own: Int64Array | None = None, progress: bool = False
    ) -> tuple[npt.NDArray[np.float32], Int64Array]:
        """The k texts of the largest cosines; those of the group `own` (n,) of a row are not given to it.

        Columns that no text was left for hold -inf and -1, as do those beyond the memory's size.
        """
        if self._search is None:
            index = None if self.index is None else neighbours.faiss_index(self.rows, self.index)
            groups = self.groups(self.texts) if self.texts else None
            self._search = neighbours.Search(self.rows, groups=groups, index=index)
        kept = min(k, self.rows.n_rows)
        unit = ops.normalize(rows, zero_rows="keep")
        scores, places = self._search.nearest(unit, kept, groups=own, progress=progress)
        if own is None and (places[:, :1] < 0).any():
            raise C3AlignError(f"the index {self.index!r} finds no text at all for a row; take another, or index=None")
        empty = ((0, 0), (0, k - kept))
        return np.pad(scores, empty, constant_values=-np.inf), np.pad(places, empty, constant_values=-1)

    def of_different_things(self, rows: Any, k: int) -> tuple[npt.NDArray[np.float32], Int64Array]:
        """As `nearest`, but of several rows about one thing the nearest alone; each result depends on its own row."""
        things = self.groups(self.texts) if self.things is None else self.things
        scores, places = np.full((len(rows), k), -np.inf, np.float32), np.full((len(rows), k), -1, np.int64)
        left, n_asked = np.arange(len(rows)), k
        while len(left):
            found, where = self.nearest(rows[left], n_asked)
            short = []
            for i, own, near in zip(left, where, found):
                first = np.sort(np.unique(things[own[own >= 0]], return_index=True)[1])[:k]
                scores[i, : len(first)], places[i, : len(first)] = near[first], own[first]
                if len(first) < k and own[-1] >= 0:
                    short.append(i)
            n_asked *= 2
            left = np.array(short if n_asked <= _LOOKED_AT * k else [], np.int64)
        return scores, places

    def at(self, places: Int64Array) -> npt.NDArray[np.float32]:
        """Rows (*places.shape, n_dims); zeros where a place is -1."""
        near: npt.NDArray[np.float32] = self.rows.take(np.maximum(places, 0).ravel())
        near[places.ravel() < 0] = 0
        return near.reshape(*places.shape, self.n_dims)

    def project(
        self, rows: npt.NDArray[Any], temperature: float = TEMPERATURE, k: int = PROJECTED_ROWS
    ) -> npt.NDArray[np.float32]:
        """Rows as weighted means of the memory's, normalized: ``softmax(m . x / temperature)`` over the k nearest."""
        k = max(1, min(k, self.rows.n_rows))  # an empty memory is refused by the search
        out = np.empty((len(rows), self.n_dims), np.float32)
        step = max(1, _BLOCK_ELEMENTS // (k * self.n_dims))
        for start in range(0, len(rows), step):
            scores, places = self.nearest(rows[start : start + step], k)
            # scores fall, so the first is the largest; what an index did not find weighs nothing
            weights = np.exp((scores - scores[:, :1]).astype(np.float64) / temperature)
            weights /= weights.sum(axis=1, keepdims=True)
            means = (weights[:, :, None] * self.at(places)).sum(axis=1)
            out[start : start + step] = ops.normalize(means, zero_rows="keep")
        return out

    def save(self, folder: Path) -> None:
        """Write it into an empty folder."""
        folder.mkdir(exist_ok=True)
        write_npy(folder / ROWS_FILE, self.rows.shape, np.float32, (block for _, block in self.rows.blocks()))
        _write_texts(folder, self.texts)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], n_dims: int, index: str | None) -> Memory:
        """Open the rows and read the texts that `save` wrote."""
        paths = Path(folder) / ROWS_FILE, Path(folder) / TEXTS_FILE
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(f"{path} is absent; pass a folder that save_pretrained wrote")
        try:
            rows = npy.stored(paths[0]).held()
            texts = [json.loads(line) for line in paths[1].read_text("utf-8").splitlines()]
        except (ValueError, EOFError, OSError, RecursionError) as error:
            raise container.refusal("decoder", f"its memory cannot be read ({error})") from error
        if rows.dtype != np.float32 or rows.shape != (len(texts), n_dims) or not texts:
            found = f"its memory is {rows.dtype} {rows.shape} for {len(texts)} texts of {n_dims} dimensions"
            raise container.refusal("decoder", found)
        if not all(isinstance(text, str) for text in texts):
            raise container.refusal("decoder", "its captions are not texts")
        return cls(RowSource("the memory", (rows,), (str(paths[0]),)), texts, index)


def _unit_blocks(source: TrainingRows) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """All rows, aligned and of norm 1, block by block; most aligners leave them so, to the bit."""
    are_unit = getattr(source.aligner, "renormalize", False)
    for part, block in source.aligned():
        yield part, block if are_unit else ops.normalize(block, zero_rows="keep")


def _write_texts(folder: Path, texts: list[str]) -> None:
    atomic.write(folder / TEXTS_FILE, "".join(json.dumps(text) + "\n" for text in texts).encode())


def check_index(index: str | None) -> None:
    """Refuse what can be no index of faiss."""
    if index is not None and not (isinstance(index, str) and index):
        raise C3AlignError(f"index must be None or what faiss.index_factory takes, got {index!r}")


def is_captioner(folder: Path) -> bool:
    """Whether a folder holds a captioner, or a memory which `fit` was told to put there, and nothing else."""
    names = {path.name for path in folder.iterdir()}
    return (CAPTIONER_FILE in names and names <= _OWN) or names == {ROWS_FILE, TEXTS_FILE}
