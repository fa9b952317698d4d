"""What every store does, in few words, and what all of them are asked to refuse or to filter by.

A store keeps rows that were aligned and scaled already, and ranks them by inner product; it knows nothing of encoders.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from c3align._arguments import shown
from c3align.errors import C3AlignError, FormatError

__all__ = ["MODALITY", "Batch", "Found", "Rows", "Store", "about_of", "alone", "check_filter", "check_width"]
__all__ += ["checked_ids", "checked_metadata", "refuse_known"]

MODALITY = "modality"  # the one name of a filter that is no metadata
_LONGEST_ID = 2000  # bytes; PostgreSQL's keys have not much more
_DEEPEST = 64  # lists and objects in each other
LOOKED_UP = 1000  # ids in one question to a store
Rows: TypeAlias = npt.NDArray[np.float32]
Filter: TypeAlias = Mapping[str, "str | int | bool"]


class Found(NamedTuple):
    """A row that a store has found.

    Parameters
    ----------
    id, modality : str
        Its id, and what it is a row of.
    score : float
        Inner product of the stored row and the query.
    metadata : dict
        What was stored with it.
    """

    id: str
    modality: str
    score: float
    metadata: dict[str, Any]


class Batch(NamedTuple):
    """Rows as a store holds them.

    Parameters
    ----------
    ids, modalities : list of str
        One of each for every row.
    rows : (n_rows, n_dims) float32
        Aligned and scaled, if a `MixedIndex` has written them.
    metadata : list of dict
        What was stored with each.
    """

    ids: list[str]
    modalities: list[str]
    rows: Rows
    metadata: list[dict[str, Any]]


@runtime_checkable
class Store(Protocol):
    """The interface of every store: rows by id, ranked by inner product.

    When `add` returns, the rows survive the end of the process, however it ends (in `FaissStore`, when `save` does).
    """

    def about(self) -> dict[str, Any] | None:
        """Read what was last written by `set_about`; None in a new store."""
        ...

    def set_about(self, about: Mapping[str, Any]) -> None:
        """Write down what the rows are, in place of what was written before.

        Parameters
        ----------
        about : mapping
            Plain values.
        """
        ...

    def add(self, batch: Batch) -> None:
        """Add rows, all of them, or none and a `C3AlignError` for known ids and another width.

        Parameters
        ----------
        batch : Batch
            Its ids differ from each other.
        """
        ...

    def query(self, row: Rows, k: int, *, filter: Filter | None = None) -> list[Found]:
        """Find the k rows of largest inner product with one row.

        Parameters
        ----------
        row : (n_dims,) float32
            The query.
        k : int
            How many.
        filter : mapping of str to str, int or bool, optional
            What found rows have in their metadata, or as their "modality".
        """
        ...

    def count(self) -> int:
        """Count the rows."""
        ...

    def ids(self, among: Sequence[str] | None = None) -> set[str]:
        """Get all ids, or those that are there of some.

        Parameters
        ----------
        among : sequence of str, optional
            Ids to look up.
        """
        ...

    def scan(self) -> Iterator[Batch]:
        """Read all rows, in any order, a block at a time."""
        ...


def refuse_known(store: Store, ids: Sequence[str]) -> None:
    """Refuse ids that a store has."""
    known = store.ids(ids)
    if known:
        raise duplicate(next(name for name in ids if name in known))


def duplicate(name: str) -> C3AlignError:
    return C3AlignError(f"ids must be new, got {name!r}, which the index has; choose another, or pass skip_known=True")


def check_width(rows: Rows, n_dims: int | None) -> None:
    """Refuse rows of another width than the stored ones."""
    if n_dims not in (None, rows.shape[-1]):
        raise C3AlignError(
            f"rows must have {n_dims} dimensions as in the index, got {rows.shape[-1]}; use rows of its encoder"
        )


def check_filter(filter: Filter | None) -> dict[str, Any]:
    """A filter as it is; values that not all stores can compare are refused."""
    what = "filter must map names to strings, whole numbers or bools"
    fix = "compare other values yourself, in the results"
    if not isinstance(filter, Mapping | None):
        raise C3AlignError(f"{what}, got {shown(filter)}; pass a dict, as {{'color': 'red'}}")
    for name, value in (filter or {}).items():
        is_plain = is_text(value) if isinstance(value, str) else isinstance(value, int) and is_whole(value)
        if not (isinstance(name, str) and is_text(name) and is_plain):
            raise C3AlignError(f"{what}, got {shown(name)}: {shown(value)}; {fix}")
        if name == MODALITY and not isinstance(value, str):
            raise C3AlignError(f"filter must name a modality by a string, got {shown(value)}; {fix}")
    return dict(filter or {})


def checked_ids(ids: Sequence[str]) -> list[str]:
    """Ids as a list, each once, that every store can hold."""
    is_list = isinstance(ids, Sequence | np.ndarray) or hasattr(ids, "to_numpy")
    given: list[Any] = list(ids) if is_list and not isinstance(ids, str) else [None]
    if not all(isinstance(name, str) and name.strip() and is_text(name) for name in given):
        raise C3AlignError(
            f"ids must be a list of strings that are not empty, without NUL or half a character, got {shown(ids)}; "
            "pass one a document"
        )
    seen: set[str] = set()
    for name in given:
        if name in seen:
            raise C3AlignError(f"ids must be unlike each other, got {name!r} twice; choose one a document")
        if len(name.encode()) > _LONGEST_ID:
            raise C3AlignError(f"ids must be of {_LONGEST_ID} bytes at most, got {len(name.encode())}; choose shorter")
        seen.add(name)
    return list(map(str, given))


def checked_metadata(metadata: Sequence[Mapping[str, Any]] | None, n: int) -> list[dict[str, Any]]:
    """Metadata as JSON gives them back, that every store can hold."""
    if metadata is None:
        return [{} for _ in range(n)]
    try:
        if isinstance(metadata, str | Mapping) or not all(isinstance(each, Mapping) for each in metadata):
            raise TypeError(f"got {shown(metadata)}")
        if wrong := [name for each in metadata for name in each if not isinstance(name, str)]:
            raise TypeError(f"a name that is no text, {shown(wrong[0])}")
        found = json.loads(json.dumps([dict(each) for each in metadata], allow_nan=False))
        _check_values(found, 0)
    except (TypeError, ValueError, RecursionError) as error:
        text = f"metadata must be JSON objects that every store can hold, got others ({error}); pass a dict a document"
        raise C3AlignError(text) from error
    if len(found) != n or any(MODALITY in each for each in found):
        raise C3AlignError(f"metadata must be {n} objects without the name 'modality', got {len(found)}; pass one each")
    return list(found)


def _check_values(found: Any, depth: int) -> None:
    """What some store would refuse, or give back as something else."""
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    for value in [*found, *found.values()] if isinstance(found, dict) else found:
        if isinstance(value, list | dict):
            _check_values(value, depth + 1)
        elif isinstance(value, str) and not is_text(value):
            raise ValueError("a text with NUL or half a character")
        elif isinstance(value, int) and not is_whole(value):
            raise ValueError("a whole number of more than 64 bits")


def is_text(value: str) -> bool:
    """Whether every store can hold a string: without NUL, and without half a character."""
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)


def is_whole(value: int) -> bool:
    """Whether every store can hold a whole number, which 64 bits do."""
    return -(2**63) <= value < 2**63


def alone(store: Store) -> AbstractContextManager[Any]:
    """Let one process at a time say what the rows of a new store are; by its `writing`, where it has that."""
    found: AbstractContextManager[Any] = getattr(store, "writing", nullcontext)()
    return found


def tags_of(metadata: Mapping[str, Any]) -> list[str]:
    """Each pair of name and value as one string, for stores that compare strings."""
    return [tag(name, value) for name, value in metadata.items() if isinstance(value, str | int | bool)]


def tag(name: str, value: Any) -> str:
    return json.dumps([name, value])


def passes(metadata: Mapping[str, Any], modality: str, filter: Mapping[str, Any]) -> bool:
    """Whether a row passes a filter."""
    own = {**metadata, MODALITY: modality}
    return all(name in own and tag(name, own[name]) == tag(name, value) for name, value in filter.items())


def about_of(text: str) -> dict[str, Any]:
    """What was written down, as it was written."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"what the index says about itself is damaged ({error}); index the items again") from error
    if not isinstance(found, dict):
        raise FormatError("what the index says about itself is damaged (no object); index the items again")
    return found


def blocks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Ids, as many at a time as one question takes."""
    wanted = list(ids)
    return (wanted[i : i + LOOKED_UP] for i in range(0, len(wanted), LOOKED_UP))
