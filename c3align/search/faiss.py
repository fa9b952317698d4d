"""`FaissStore`: faiss, in this process, and in one file when it is saved."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c3align._imports import need
from c3align.errors import C3AlignError, FormatError
from c3align.io import atomic, container, opening
from c3align.search.store import Batch, Filter, Found, Rows, check_filter, check_width, passes, refuse_known

__all__ = ["FaissStore"]

_KIND = "index of rows"
_FORMAT = "c3align.search.FaissStore"


class FaissStore:
    """Rows in RAM, searched exactly by faiss' ``IndexFlatIP``.

    Parameters
    ----------
    path : str or path, optional
        One file, which is read if it exists. What `add` adds is in it after `save`.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._faiss = need("faiss", "faiss", "search")
        self._path = None if path is None else atomic.local_path(path)
        self._about: dict[str, Any] | None = None
        self._names: list[str] = []
        self._ids: set[str] = set()
        self._modalities: list[str] = []
        self._metadata: list[dict[str, Any]] = []
        self.index: Any = None  # faiss' own
        self._seen: tuple[Any, ...] | None = None  # the file that the rows are those of
        if self._path is not None and self._path.exists():
            with container.about(self._path):
                self._seen = _identity(self._path)
                self._read(*container.parse(self._path.read_bytes(), _KIND))

    def _read(self, config: dict[str, Any], tensors: dict[str, Any]) -> None:
        is_ours = config.get("format") == _FORMAT and config.get("format_version") == container.SIGNED_SINCE
        if not is_ours or set(tensors) != {"rows", "items"} or tensors["rows"].ndim != 2:
            raise FormatError(f"{self._path} is no {_FORMAT} of this version; save it again")
        items = container.parse_json(tensors["items"].tobytes(), _KIND, "its items")
        if len(items) != len(tensors["rows"]):
            raise FormatError(f"{self._path} has {len(tensors['rows'])} rows of {len(items)} items; save it again")
        self._about = config["about"]
        if items:
            ids, modalities, metadata = map(list, zip(*items))
            self.add(Batch(ids, modalities, tensors["rows"], metadata))

    def save(self) -> None:
        """Write the file, whole or not at all; refused if another has written it since it was read or saved here."""
        if self._path is None:
            raise C3AlignError("path must name a file to save to, got None; make the store as FaissStore(path)")
        n_dims = 1 if self.index is None else self.index.d
        rows = np.concatenate([np.empty((0, n_dims), np.float32), *(batch.rows for batch in self.scan())])
        items = json.dumps(list(zip(self._names, self._modalities, self._metadata))).encode()
        config = {"format": _FORMAT, "format_version": container.SIGNED_SINCE, "about": self._about}
        content = container.dump({"rows": rows, "items": np.frombuffer(items, np.uint8)}, config)
        if _identity(self._path) not in (None, self._seen):
            raise C3AlignError(
                f"{self._path} was written by another store since it was read here; make this one anew, add its rows "
                "and save that, or use QdrantStore or PgvectorStore, which several may write to"
            )
        atomic.write(self._path, content)
        self._seen = _identity(self._path)

    def about(self) -> dict[str, Any] | None:
        """See `Store.about`."""
        return self._about

    def set_about(self, about: Mapping[str, Any]) -> None:
        """See `Store.set_about`."""
        self._about = dict(about)

    def add(self, batch: Batch) -> None:
        """See `Store.add`."""
        check_width(batch.rows, None if self.index is None else self.index.d)
        refuse_known(self, batch.ids)
        if self.index is None:
            self.index = self._faiss.IndexFlatIP(batch.rows.shape[1])
        self.index.add(np.ascontiguousarray(batch.rows, np.float32))
        self._names += batch.ids
        self._ids.update(batch.ids)
        self._modalities += batch.modalities
        self._metadata += batch.metadata

    def query(self, row: Rows, k: int, *, filter: Filter | None = None) -> list[Found]:
        """See `Store.query`."""
        if self.index is None:
            return []
        check_width(row, self.index.d)
        asked: dict[str, Any] = {}
        if wanted := check_filter(filter):
            pairs = zip(self._metadata, self._modalities)
            places = np.flatnonzero([passes(metadata, modality, wanted) for metadata, modality in pairs])
            asked["params"] = self._faiss.SearchParameters(sel=self._faiss.IDSelectorBatch(places))
        scores, found = self.index.search(row[None], min(k, len(self._ids)), **asked)
        return [
            Found(self._names[place], self._modalities[place], float(score), self._metadata[place])
            for score, place in zip(scores[0], found[0])
            if place >= 0
        ]

    def count(self) -> int:
        """See `Store.count`."""
        return len(self._ids)

    def ids(self, among: Sequence[str] | None = None) -> set[str]:
        """See `Store.ids`."""
        return set(self._ids) if among is None else self._ids & set(among)

    def scan(self) -> Iterator[Batch]:
        """See `Store.scan`."""
        if self.index is not None:
            rows = self.index.reconstruct_n(0, self.index.ntotal)
            yield Batch(list(self._names), list(self._modalities), rows, list(self._metadata))


def _identity(path: Path) -> tuple[Any, ...] | None:
    """What tells the file from what it was before; None where it is absent."""
    if not path.exists():
        return None
    with open(path, "rb") as file:
        return opening.identity(file)
