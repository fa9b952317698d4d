"""`LanceStore`: LanceDB, embedded, in a folder on disk."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.io import atomic
from c3align.search import store
from c3align.search.store import MODALITY, Batch, Filter, Found, Rows

__all__ = ["LanceStore"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


@contextmanager
def _told(folder: Any) -> Iterator[None]:
    """What LanceDB says of a folder, as one error: it raises what Rust, Arrow and the system do."""
    try:
        yield
    except C3AlignError:
        raise
    except (RuntimeError, ValueError, OSError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise C3AlignError(
            f"{folder} cannot be used by LanceDB ({error!s:.300}); if files of it are damaged or absent, restore them "
            "from a copy, or index the items again into another folder"
        ) from error


def _in_folder(method: _Method) -> _Method:
    @functools.wraps(method)
    def call(self: LanceStore, *arguments: Any, **named: Any) -> Any:
        with _told(self._folder):
            return method(self, *arguments, **named)

    return call  # type: ignore[return-value]


class LanceStore:
    """Rows in a table of LanceDB; one batch is one commit, which is there whole or not at all.

    Every query looks at every row, so that what it finds is exact.

    Parameters
    ----------
    path : str or path
        Folder of the database; created where absent.
    name : str
        Name of the table; another one, ``name + "_about"``, says what the rows are.
    exact : bool
        Without it an index that you have built on `table` is used; measure its recall.
    """

    def __init__(self, path: str | os.PathLike[str], name: str = "rows", *, exact: bool = True) -> None:
        lance, self._arrow = need("lancedb", "lancedb", "search"), need("pyarrow", "pyarrow", "search")
        self._folder, self.name, self._exact = atomic.local_path(path), name, exact
        with _told(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            # which sees other writers
            self._database = lance.connect(str(self._folder), read_consistency_interval=timedelta(0))
            self._table = self._opened(name)

    def writing(self) -> AbstractContextManager[None]:
        """Keep other processes from writing.

        Returns
        -------
        context manager
            In which this process alone writes.
        """
        return atomic.locked(self._folder)

    @property
    def table(self) -> Any:
        """LanceDB's own; None before anybody's first row."""
        self._table = self._table or self._opened(self.name)
        return self._table

    def _opened(self, name: str) -> Any:
        whole = any((self._folder / f"{name}.lance" / "_versions").glob("*.manifest"))
        return self._database.open_table(name) if whole else None

    def _created(self, name: str, content: Any) -> Any:
        mode = "overwrite" if (self._folder / f"{name}.lance").exists() else "create"
        return self._database.create_table(name, content, mode=mode)

    @_in_folder
    def about(self) -> dict[str, Any] | None:
        """See `Store.about`."""
        table = self._opened(f"{self.name}_about")
        return None if table is None else store.about_of(table.to_arrow()["content"][0].as_py())

    @_in_folder
    def set_about(self, about: Mapping[str, Any]) -> None:
        """See `Store.set_about`."""
        self._created(f"{self.name}_about", [{"content": json.dumps(about)}])

    @_in_folder
    def add(self, batch: Batch) -> None:
        """See `Store.add`."""
        with self.writing():
            if self.table is None:
                self._table = self._created(self.name, self._arrow_of(batch))
                return
            store.check_width(batch.rows, self.table.schema.field("vector").type.list_size)
            store.refuse_known(self, batch.ids)
            self.table.add(self._arrow_of(batch))

    def _arrow_of(self, batch: Batch) -> Any:
        values = self._arrow.array(np.ascontiguousarray(batch.rows, np.float32).ravel())
        vectors = self._arrow.FixedSizeListArray.from_arrays(values, batch.rows.shape[1])
        tags = [store.tags_of({MODALITY: m, **d}) for m, d in zip(batch.modalities, batch.metadata)]
        columns = {"id": batch.ids, MODALITY: batch.modalities, "vector": vectors, "tags": tags}
        return self._arrow.table({**columns, "metadata": [json.dumps(each) for each in batch.metadata]})

    @_in_folder
    def query(self, row: Rows, k: int, *, filter: Filter | None = None) -> list[Found]:
        """See `Store.query`."""
        if self.table is None:
            return []
        store.check_width(row, self.table.schema.field("vector").type.list_size)
        asked = self.table.search(row).distance_type("dot").limit(k)
        asked = asked.bypass_vector_index() if self._exact else asked
        if tags := [_quoted(store.tag(*each)) for each in store.check_filter(filter).items()]:
            asked = asked.where(" AND ".join(f"array_has(tags, {tag})" for tag in tags), prefilter=True)
        found = asked.select(["id", MODALITY, "metadata", "_distance"]).to_arrow().to_pylist()
        return [Found(r["id"], r[MODALITY], 1 - r["_distance"], json.loads(r["metadata"])) for r in found]

    @_in_folder
    def count(self) -> int:
        """See `Store.count`."""
        return 0 if self.table is None else int(self.table.count_rows())

    @_in_folder
    def ids(self, among: Sequence[str] | None = None) -> set[str]:
        """See `Store.ids`."""
        if self.table is None:
            return set()
        parts = [f"id IN ({', '.join(map(_quoted, part))})" for part in store.blocks(among or [])]
        parts = ["true"] if among is None else parts
        n = self.count()
        lines = (self.table.search().where(part).select(["id"]).limit(n).to_arrow() for part in parts)
        return {name for found in lines for name in found["id"].to_pylist()}

    def scan(self) -> Iterator[Batch]:
        """See `Store.scan`."""
        with _told(self._folder):
            columns = ["id", MODALITY, "vector", "metadata"]
            n = self.count()
            for part in self.table.search().select(columns).limit(n).to_batches() if n else ():
                ids, modalities, metadata = (part.column(name).to_pylist() for name in ("id", MODALITY, "metadata"))
                rows = part.column("vector").flatten().to_numpy().reshape(len(ids), -1)
                yield Batch(ids, modalities, rows, [json.loads(each) for each in metadata])


def _quoted(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"
