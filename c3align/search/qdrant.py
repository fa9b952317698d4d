"""`QdrantStore`: Qdrant, as a server or, in a folder, without one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.search import store
from c3align.search.store import MODALITY, Batch, Filter, Found, Rows

__all__ = ["QdrantStore"]

_ABOUT = 0  # the one point of the collection beside
_POINTS = 256  # in one request


class QdrantStore:
    """Rows in a collection of Qdrant, searched exactly (``SearchParams(exact=True)``).

    A batch goes in `_POINTS` rows at a time: after a kill a part of one that was not acknowledged may be there, which
    ``MixedIndex.add(skip_known=True)`` completes. Writers do not exclude each other.

    Parameters
    ----------
    client : qdrant_client.QdrantClient
        One of a server, ``QdrantClient("http://localhost:6333")``, or of a folder, ``QdrantClient(path="idx")``.
    name : str
        The name of the collection; another one, ``name + "_about"``, says what the rows are.
    exact : bool
        Whether every query looks at every row; without it a server uses its HNSW index, with a recall to measure.
    """

    def __init__(self, client: Any, name: str = "rows", *, exact: bool = True) -> None:
        self._models = need("qdrant_client.models", "qdrant-client", "qdrant")
        self.client, self.name, self._exact = client, name, exact
        options = client.init_options
        self._is_local = bool(options.get("path")) or options.get("location") == ":memory:"
        vectors = client.get_collection(name).config.params.vectors if client.collection_exists(name) else None
        if isinstance(vectors, Mapping):
            raise C3AlignError(f"the collection {name!r} has named vectors, which no store writes; pass another name")
        self._n_dims = None if vectors is None else int(vectors.size)

    def about(self) -> dict[str, Any] | None:
        """See `Store.about`."""
        beside = f"{self.name}_about"
        found = self.client.retrieve(beside, [_ABOUT]) if self.client.collection_exists(beside) else []
        return dict(found[0].payload) if found else None

    def set_about(self, about: Mapping[str, Any]) -> None:
        """See `Store.set_about`."""
        beside = f"{self.name}_about"
        self._create(beside, 1)
        self.client.upsert(beside, [self._models.PointStruct(id=_ABOUT, vector=[1.0], payload=dict(about))])

    def _create(self, name: str, n_dims: int) -> None:
        if not self.client.collection_exists(name):
            vectors = self._models.VectorParams(size=n_dims, distance=self._models.Distance.DOT)
            self.client.create_collection(name, vectors_config=vectors)

    def add(self, batch: Batch) -> None:
        """See `Store.add`."""
        store.check_width(batch.rows, self._n_dims)
        if self._n_dims is None:
            self._n_dims = int(batch.rows.shape[1])
            self._create(self.name, self._n_dims)
        store.refuse_known(self, batch.ids)
        tags = [store.tags_of({MODALITY: m, **d}) for m, d in zip(batch.modalities, batch.metadata)]
        columns = {"id": batch.ids, MODALITY: batch.modalities, "tags": tags, "metadata": batch.metadata}
        payloads = [dict(zip(columns, each)) for each in zip(*columns.values())]
        for start in range(0, len(batch.ids), _POINTS):
            part = slice(start, start + _POINTS)
            points = zip(map(_point, batch.ids[part]), batch.rows[part].tolist(), payloads[part])
            self.client.upsert(self.name, [self._models.PointStruct(id=i, vector=v, payload=p) for i, v, p in points])

    def query(self, row: Rows, k: int, *, filter: Filter | None = None) -> list[Found]:
        """See `Store.query`."""
        if self._n_dims is None:
            return []
        store.check_width(row, self._n_dims)
        tags = [self._models.MatchValue(value=store.tag(*each)) for each in store.check_filter(filter).items()]
        conditions = [self._models.FieldCondition(key="tags", match=match) for match in tags]
        asked: dict[str, Any] = {"query_filter": self._models.Filter(must=conditions)} if conditions else {}
        if not self._is_local:  # which is exact by itself
            asked["search_params"] = self._models.SearchParams(exact=self._exact)
        found = self.client.query_points(self.name, query=row.tolist(), limit=k, **asked).points
        return [Found(p.payload["id"], p.payload[MODALITY], float(p.score), p.payload["metadata"]) for p in found]

    def count(self) -> int:
        """See `Store.count`."""
        return 0 if self._n_dims is None else int(self.client.count(self.name, exact=True).count)

    def ids(self, among: Sequence[str] | None = None) -> set[str]:
        """See `Store.ids`."""
        if self._n_dims is None:
            return set()
        if among is None:
            return {name for batch in self._scan(with_vectors=False) for name in batch.ids}
        found = (self.client.retrieve(self.name, list(map(_point, part)), ["id"]) for part in store.blocks(among))
        return {record.payload["id"] for records in found for record in records}

    def scan(self) -> Iterator[Batch]:
        """See `Store.scan`."""
        return self._scan(with_vectors=True)

    def _scan(self, with_vectors: bool) -> Iterator[Batch]:
        place: Any = None
        while self._n_dims is not None:
            found, place = self.client.scroll(self.name, limit=_POINTS, offset=place, with_vectors=with_vectors)
            ids, modalities, metadata = ([r.payload[key] for r in found] for key in ("id", MODALITY, "metadata"))
            rows = np.array([record.vector for record in found] if with_vectors else [], np.float32)
            yield Batch(ids, modalities, rows, metadata)
            if place is None:
                return


def _point(name: str) -> str:
    """Qdrant's own id, which is a UUID or a number."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))
