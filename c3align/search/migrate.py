"""An index of raw vectors becomes an aligned one: resumable, and verified by count and checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from c3align._typing import Float64Array
from c3align.errors import C3AlignError
from c3align.search.index import MixedIndex
from c3align.search.store import Batch

__all__ = ["Migration", "migrate"]

TOLERANCE = 1e-5  # of a checksum; one changed row of a million is a hundred times as much


class Migration(NamedTuple):
    """What `migrate` has done.

    Parameters
    ----------
    n_rows : int
        Rows of the raw index, all of which are in the new one.
    n_added : int
        Those that were not there before.
    checksum : str
        That of ids and modalities, the same on both sides.
    difference : float
        Between the rows' weighted sums on both sides, over the root of the rows' sum of squares.
    """

    n_rows: int
    n_added: int
    checksum: str
    difference: float


class _Sum(NamedTuple):
    """What does not depend on the order of rows: their number, names, and a sum in which each counts otherwise."""

    n_rows: int
    names: int
    total: Float64Array | float
    squares: float


def migrate(
    raw: Callable[[], Iterable[Batch]], index: MixedIndex, *, moved: Mapping[str, Callable[[Any], Any]] | None = None
) -> Migration:
    """Add the rows of a raw index to an aligned one, and compare both sides when all are there.

    Ids that the index has already are passed over, so that a migration that was cut off goes on where it was.

    Parameters
    ----------
    raw : callable
        Returns the raw rows from the start, as ``lambda: raw_rows(address, name, modality="image")``. It is read twice.
    index : MixedIndex
        An empty one, or one that an earlier call has begun to fill.
    moved : mapping of str to callable, optional
        What raw rows of a modality go through beforehand, as the `Bridge.apply` of an old encoder's.

    Returns
    -------
    Migration
        What was done; `C3AlignError` where both sides differ in the end.
    """
    n_added = 0
    for batch in raw():
        for modality, part in _by_modality(batch):
            rows = _moved(part.rows, modality, moved)
            n_added += index.add(rows, modality=modality, ids=part.ids, metadata=part.metadata, skip_known=True)
    expected, found = _summed(_aligned(raw, index, moved)), _summed(index.store.scan())
    difference = float(np.linalg.norm(expected.total - found.total)) / max(expected.squares, 1e-30) ** 0.5
    if expected[:2] != found[:2] or not difference <= TOLERANCE:
        raise C3AlignError(
            f"the index must hold the {expected.n_rows} rows of the raw one and no others, got {found.n_rows}, which "
            f"differ by {difference:.1e}; migrate into an empty index"
        )
    return Migration(expected.n_rows, n_added, f"{expected.names:016x}", difference)


def _by_modality(batch: Batch) -> Iterator[tuple[str, Batch]]:
    for modality in dict.fromkeys(batch.modalities):
        places = [i for i, name in enumerate(batch.modalities) if name == modality]
        ids, metadata = [batch.ids[i] for i in places], [batch.metadata[i] for i in places]
        yield modality, Batch(ids, [modality] * len(places), batch.rows[places], metadata)


def _moved(rows: Any, modality: str, moved: Mapping[str, Callable[[Any], Any]] | None) -> Any:
    return rows if not moved or modality not in moved else moved[modality](rows)


def _aligned(raw: Callable[[], Iterable[Batch]], index: MixedIndex, moved: Any) -> Iterator[Batch]:
    for batch in raw():
        for modality, part in _by_modality(batch):
            yield part._replace(rows=index.stored(_moved(part.rows, modality, moved), modality))


def _summed(batches: Iterable[Batch]) -> _Sum:
    n_rows, names, total, squares = 0, 0, np.zeros(1), 0.0
    for batch in batches:
        keys = [f"{modality} {name}".encode() for modality, name in zip(batch.modalities, batch.ids)]
        hashes = [int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") for key in keys]
        names = (names + sum(hashes)) % 2**64
        weights = np.array(hashes, np.float64) / 2**64
        rows = batch.rows.astype(np.float64)
        if len(keys):
            total, squares = total + weights @ rows, squares + float((rows**2).sum())
        n_rows += len(keys)
    return _Sum(n_rows, names, total, squares)
