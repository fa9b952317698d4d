"""`PgvectorStore`: a table of PostgreSQL with the extension pgvector."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from c3align._imports import need
from c3align.search import store
from c3align.search.store import MODALITY, Batch, Filter, Found, Rows

__all__ = ["PgvectorStore"]

_READ = 1000  # rows at a time


class PgvectorStore:
    """Rows in a table of PostgreSQL, a batch in one transaction.

    Every query looks at every row, so that what it finds is exact, unless you build an index on the column ``row``
    (``vector_ip_ops``), whose recall you measure.

    Parameters
    ----------
    address : str
        As psycopg takes it, ``"postgresql://user@host/database"``; the extension is created where it is absent.
    name : str
        The name of the table; another one, ``name + "_about"``, says what the rows are.
    """

    def __init__(self, address: str, name: str = "rows") -> None:
        psycopg = need("psycopg", "psycopg", "pgvector")
        self._unique = psycopg.errors.UniqueViolation
        self._connection = psycopg.connect(address, autocommit=True)
        self._table, self._beside = (psycopg.sql.Identifier(each) for each in (name, f"{name}_about"))
        self._sql, self._name, self._jsonb = psycopg.sql.SQL, name, need("psycopg.types.json", "psycopg").Jsonb
        self._do("CREATE EXTENSION IF NOT EXISTS vector")
        need("pgvector.psycopg", "pgvector", "pgvector").register_vector(self._connection)
        self._do("CREATE TABLE IF NOT EXISTS {beside} (place int PRIMARY KEY, content text NOT NULL)")
        self._n_dims = self._width()

    def _do(self, text: str, *values: Any, **more: Any) -> Any:
        return self._connection.execute(self._sql(text).format(table=self._table, beside=self._beside, **more), values)

    def _width(self) -> int | None:
        """The width of the stored rows; None if there is no table."""
        text = "SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = 'row'"
        found = self._do(text, self._name).fetchone()
        return None if found is None else int(found[0])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other processes from describing this table at the same time.

        Yields
        ------
        None
            While this process alone does.
        """
        self._do("SELECT pg_advisory_lock(hashtext(%s))", self._name)
        try:
            yield
        finally:
            self._do("SELECT pg_advisory_unlock(hashtext(%s))", self._name)

    def about(self) -> dict[str, Any] | None:
        """See `Store.about`."""
        found = self._do("SELECT content FROM {beside}").fetchone()
        return None if found is None else store.about_of(found[0])

    def set_about(self, about: Mapping[str, Any]) -> None:
        """See `Store.set_about`."""
        text = "INSERT INTO {beside} VALUES (0, %s) ON CONFLICT (place) DO UPDATE SET content = excluded.content"
        self._do(text, json.dumps(about))

    def add(self, batch: Batch) -> None:
        """See `Store.add`."""
        store.check_width(batch.rows, self._n_dims)
        n_dims = self._sql(str(int(batch.rows.shape[1])))
        columns = "id text PRIMARY KEY, modality text NOT NULL, row vector({n_dims}) NOT NULL, metadata jsonb NOT NULL"
        try:
            with self._connection.transaction():
                self._do("CREATE TABLE IF NOT EXISTS {table} (" + columns + ")", n_dims=n_dims)
                self._copy(batch)
        except self._unique as error:
            known = self.ids(batch.ids)
            raise store.duplicate(next((name for name in batch.ids if name in known), batch.ids[0])) from error
        self._n_dims = self._width()

    def _copy(self, batch: Batch) -> None:
        text = self._sql("COPY {table} (id, modality, row, metadata) FROM STDIN WITH (FORMAT BINARY)")
        with self._connection.cursor().copy(text.format(table=self._table)) as copy:
            copy.set_types(["text", "text", "vector", "jsonb"])
            for name, modality, row, metadata in zip(batch.ids, batch.modalities, batch.rows, batch.metadata):
                copy.write_row((name, modality, row, self._jsonb(metadata)))

    def query(self, row: Rows, k: int, *, filter: Filter | None = None) -> list[Found]:
        """See `Store.query`."""
        if self._n_dims is None:
            return []
        store.check_width(row, self._n_dims)
        wanted = store.check_filter(filter)
        modality = wanted.pop(MODALITY, None)
        text = "SELECT id, modality, row <#> %s AS far, metadata FROM {table} WHERE metadata @> %s"
        values = [row, self._jsonb(wanted), *([] if modality is None else [modality])]
        text += " ORDER BY far LIMIT %s" if modality is None else " AND modality = %s ORDER BY far LIMIT %s"
        return [Found(i, m, -float(far), metadata) for i, m, far, metadata in self._do(text, *values, k)]

    def count(self) -> int:
        """See `Store.count`."""
        return 0 if self._n_dims is None else int(self._do("SELECT count(*) FROM {table}").fetchone()[0])

    def ids(self, among: Sequence[str] | None = None) -> set[str]:
        """See `Store.ids`."""
        if self._n_dims is None:
            return set()
        if among is None:
            return {name for (name,) in self._do("SELECT id FROM {table}")}
        asked = (self._do("SELECT id FROM {table} WHERE id = ANY(%s)", part) for part in store.blocks(among))
        return {name for found in asked for (name,) in found}

    def scan(self) -> Iterator[Batch]:
        """See `Store.scan`."""
        last = ""
        while self._n_dims is not None:
            text = "SELECT id, modality, row::real[], metadata FROM {table} WHERE id > %s ORDER BY id LIMIT %s"
            found = self._do(text, last, _READ).fetchall()
            if not found:
                return
            ids, modalities, rows, metadata = map(list, zip(*found))
            yield Batch(ids, modalities, np.array(rows, np.float32), metadata)
            last = ids[-1]
