"""What the command line does with files: shards read in blocks, results written whole or not at all."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import centering, ops
from c3align._imports import need
from c3align._typing import Float64Array
from c3align.encoders.precomputed import fingerprint_of, modality_of
from c3align.errors import C3AlignError, EncoderMismatchError, ModalityMeanWarning
from c3align.statistics import ModalityStatistics

BLOCK_BYTES = 1 << 26
SAMPLE_ROWS = 4096


def open_rows(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """A .npy file of rows, memory-mapped, never unpickled."""
    if not os.path.isfile(path):
        raise C3AlignError(f"no file {path}; check the name")
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise C3AlignError(f"{path} is no whole .npy file of numbers ({error}); save rows with numpy.save") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] == 0:
        shape = getattr(rows, "shape", None)
        raise C3AlignError(f"{path} does not hold rows (n, d) but {shape}; save a 2-d array with numpy.save")
    return rows


def _is_pattern(path: str) -> bool:
    """Whether a name stands for others; one of an existing file stands for itself, brackets and all."""
    return glob.has_magic(path) and not os.path.exists(path)


@dataclass(frozen=True)
class Stack:
    """Rows of several files one after the other."""

    paths: list[str]
    parts: list[npt.NDArray[Any]]

    @classmethod
    def open(cls, patterns: list[str]) -> Stack:
        """Files and patterns, in the order given, each pattern's in alphabetical order."""
        paths = [path for p in patterns for path in (sorted(glob.glob(p)) if _is_pattern(p) else [p])]
        if not paths:
            raise C3AlignError(f"no file fits {' '.join(patterns)}; check the pattern")
        parts = [open_rows(path) for path in paths]
        for path, part in zip(paths, parts):
            if part.shape[1] != parts[0].shape[1] or part.dtype != parts[0].dtype:
                raise C3AlignError(
                    f"{path} is {part.dtype} with {part.shape[1]} columns and {paths[0]} {parts[0].dtype} with "
                    f"{parts[0].shape[1]}; pass files of one encoder and dtype"
                )
        return cls(paths, parts)

    @property
    def n_rows(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def n_dims(self) -> int:
        return int(self.parts[0].shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        return self.n_rows, self.n_dims

    def spans(self) -> Iterator[tuple[int, int]]:
        """Row numbers of blocks of bounded memory."""
        if not self.n_rows:
            raise C3AlignError(f"{self.paths[0]} holds no rows; pass some")
        step = max(1, BLOCK_BYTES // (self.n_dims * self.parts[0].itemsize))
        for start in range(0, self.n_rows, step):
            yield start, min(start + step, self.n_rows)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start to stop: a view when one file holds them all."""
        found, first = [], 0
        for part in self.parts:
            low, high = max(start - first, 0), min(stop - first, len(part))
            if low < high:
                found.append(part[low:high])
            first += len(part)
        return found[0] if len(found) == 1 else np.concatenate(found)

    def sample(self, n_rows: int) -> npt.NDArray[Any]:
        """Evenly spaced rows."""
        chosen = np.unique(np.linspace(0, self.n_rows - 1, min(n_rows, self.n_rows)).astype(np.int64))
        return np.concatenate([self.read(int(row), int(row) + 1) for row in chosen])


@dataclass(frozen=True)
class Source:
    """Rows, and what a tree of shards says about them."""

    stack: Stack
    modality: str | None = None
    fingerprint: str | None = None


def sources(patterns: list[str]) -> list[Source]:
    """One source; or one for each modality, in alphabetical order, of a single folder that `c3align embed` wrote."""
    if len(patterns) != 1 or not os.path.isdir(patterns[0]):
        return [Source(Stack.open(patterns))]
    tree = Path(patterns[0])
    folders = [tree] if tree.name.endswith("_emb") else sorted(tree.glob("*_emb"))
    shards = {modality_of(folder.name): str(folder / "*.npy") for folder in folders}
    if not shards:
        raise C3AlignError(f"{tree} holds no embeddings (no folder *_emb in it); pass one that `c3align embed` wrote")
    fingerprint = fingerprint_of(tree if tree not in folders else tree.parent)
    return [Source(Stack.open([pattern]), name, fingerprint) for name, pattern in sorted(shards.items())]


def one_fingerprint(found: list[Source], given: str | None) -> str | None:
    """The encoder that all the rows come from, where it is known."""
    known = sorted({source.fingerprint for source in found if source.fingerprint} | ({given} if given else set()))
    if len(known) > 1:
        raise EncoderMismatchError(f"these rows come from different encoders ({', '.join(known)}); use those of one")
    return known[0] if known else None


def progress(spans: Iterable[tuple[int, int]], n_rows: int, what: str) -> Iterator[tuple[int, int]]:
    """The spans, with a bar of rows when they take over a second and a person watches."""
    with tqdm(total=n_rows, desc=what, unit="row", unit_scale=True, delay=1, disable=None, file=sys.stderr) as bar:
        for start, stop in spans:
            yield start, stop
            bar.update(stop - start)


@contextmanager
def located(stack: Stack, start: int) -> Iterator[None]:
    """Errors about a block say where the block begins."""
    try:
        yield
    except ValueError as error:
        if not start and len(stack.paths) == 1:
            raise
        raise C3AlignError(f"counted from row {start} of {' '.join(stack.paths[:3])}: {error}") from error


def choose_mean(aligner: Any, stack: Stack, modality: str) -> tuple[str, Float64Array]:
    """Whose mean all the rows are centered by, decided once for the whole of them."""
    state = centering.state_of(aligner, modality)
    choice = centering.center(modality, state, stack.sample(SAMPLE_ROWS), stack.n_rows)
    if choice.warning:
        warnings.warn(choice.warning, ModalityMeanWarning, stacklevel=2)
    if choice.modality != centering.BATCH:
        return repr(choice.modality), state.statistics[choice.modality].mean
    whole = ModalityStatistics.empty(stack.n_dims)
    for start, stop in progress(stack.spans(), stack.n_rows, "mean"):
        with located(stack, start):
            whole = whole + ModalityStatistics.from_rows(stack.read(start, stop), zero_rows=aligner.zero_rows)
    return "these rows themselves", whole.mean


def align(aligner: Any, stack: Stack, mean: Float64Array, output: Path) -> None:
    """Write the aligned rows to `output`, which appears when it is whole."""
    with replaced(output) as scratch:
        out = np.lib.format.open_memmap(scratch, "w+", stack.parts[0].dtype, stack.shape)
        for start, stop in progress(stack.spans(), stack.n_rows, "transform"):
            with located(stack, start):
                block = ops.align(
                    stack.read(start, stop), mean, renormalize=aligner.renormalize, zero_rows=aligner.zero_rows
                )
            out[start:stop] = block
        out.flush()
        del out


@contextmanager
def replaced(path: Path) -> Iterator[str]:
    """A scratch file beside `path`, renamed over it at the end, removed on an error."""
    if path.is_dir() or not path.parent.is_dir():
        raise C3AlignError(f"cannot write {path}; pass the name of a file in a folder that exists")
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    try:
        yield scratch
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def save_picture(path: Path, draw: Callable[[], Any]) -> None:
    """Write what `draw` returns, matplotlib's figure or axes, into a PNG."""
    need("matplotlib", "matplotlib", "plots").use("Agg")
    drawn = draw()
    figure = drawn if hasattr(drawn, "savefig") else np.ravel(drawn)[0].figure
    with replaced(path) as scratch:
        figure.savefig(scratch, dpi=120, format="png")


def save_text(path: Path, text: str) -> None:
    """Write a text file that appears when it is whole."""
    with replaced(path) as scratch:
        Path(scratch).write_text(text, encoding="utf-8")
