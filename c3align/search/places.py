"""Where an index is, by its address: a folder, a file of faiss, a server of Qdrant, a table of PostgreSQL."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from c3align._imports import need
from c3align.errors import C3AlignError, one_line
from c3align.io import atomic
from c3align.search.faiss import FaissStore
from c3align.search.lance import LanceStore
from c3align.search.pgvector import PgvectorStore
from c3align.search.qdrant import QdrantStore
from c3align.search.store import MODALITY, Batch, Store

__all__ = ["drop_table", "open_store", "raw_rows"]

_BLOCK = 1000
_CLIENTS = {"psycopg": "PostgreSQL", "qdrant_client": "Qdrant", "httpx": "Qdrant", "grpc": "Qdrant"}
_SERVERS = {"http": "qdrant", "https": "qdrant", "postgresql": "pgvector", "postgres": "pgvector"}


def open_store(address: str | os.PathLike[str], name: str = "rows") -> Store:
    """Open the store at an address.

    Parameters
    ----------
    address : str or path
        A folder (LanceDB), a file "*.faiss", "http://host:6333" (Qdrant) or "postgresql://user@host/database".
    name : str
        The name of the table or collection.

    Returns
    -------
    Store
        A new one where nothing is there.
    """
    kind = _kind(address)
    with reached():
        if kind == "qdrant":
            return QdrantStore(need("qdrant_client", "qdrant-client", "qdrant").QdrantClient(str(address)), name)
        if kind == "pgvector":
            return PgvectorStore(str(address), name)
    return FaissStore(address) if str(address).endswith(".faiss") else LanceStore(address, name)


@contextmanager
def reached() -> Iterator[None]:
    """What a server says is an error of the input: an address, a name, a right that is missing.

    Yields
    ------
    None
        While it is asked.
    """
    try:
        yield
    except Exception as error:  # whose kinds are those of a package that may be absent
        server = _CLIENTS.get(type(error).__module__.partition(".")[0])
        if server is None:
            raise
        raise C3AlignError(f"{server} refused ({one_line(error)}); check the address and the names") from error


def _kind(address: str | os.PathLike[str]) -> str:
    return _SERVERS.get(str(address).partition("://")[0], "folder") if "://" in str(address) else "folder"


def raw_rows(
    address: str | os.PathLike[str],
    name: str,
    *,
    id_column: str = "id",
    vector_column: str = "vector",
    modality: str | None = None,
    modality_column: str | None = None,
) -> Iterator[Batch]:
    """Read an index that others have filled: a table of LanceDB or PostgreSQL, or a collection of Qdrant.

    Parameters
    ----------
    address, name : str
        As in `open_store`.
    id_column, vector_column : str
        What ids and vectors are called. In Qdrant ids are the points' own, and only named vectors have a name.
    modality : str, optional
        What all rows are.
    modality_column : str, optional
        Instead: the column, or entry of the payload, that says it.

    Yields
    ------
    Batch
        Raw rows; all other columns that are plain values are their metadata.
    """
    if (modality is None) == (modality_column is None):
        raise C3AlignError("one of modality and modality_column must be given, got both or none; say what the rows are")
    records = {"qdrant": _of_qdrant, "pgvector": _of_postgres, "folder": _of_lance}[_kind(address)]
    for block in _asked(records(str(address), name, id_column, vector_column)):
        for record in block:
            _check_record(record, id_column, vector_column, modality_column)
        ids, vectors, others = map(list, zip(*block))
        kinds = [str(modality if modality_column is None else other.get(modality_column)) for other in others]
        metadata = [{k: v for k, v in other.items() if k not in (modality_column, MODALITY)} for other in others]
        yield Batch(list(map(str, ids)), kinds, np.array(vectors, np.float32), [_plain(each) for each in metadata])


def _asked(records: Iterator[list[Any]]) -> Iterator[list[Any]]:
    while True:
        with reached():
            block = next(records, None)
        if block is None:
            return
        yield block


def _check_record(record: Any, id_column: str, vector_column: str, modality_column: str | None) -> None:
    """Refuse a row that an index cannot hold as it is, by its id."""
    name, vector, others = record
    if isinstance(name, bool) or not isinstance(name, str | int | UUID):
        raise C3AlignError(
            f"ids must be strings, whole numbers or UUIDs, got {name!r} in {id_column!r}; give each row one"
        )
    if vector is None:
        raise C3AlignError(f"row {name!r} has no vector in {vector_column!r}; remove it from the table, or embed it")
    if modality_column is not None and not isinstance(others.get(modality_column), str):
        raise C3AlignError(f"row {name!r} has no modality in {modality_column!r}; write down what each row is")
    for column, value in others.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise C3AlignError(
                f"row {name!r} has {value} in {column!r}, which JSON cannot hold; write null, or remove the column"
            )


def drop_table(address: str | os.PathLike[str], name: str) -> None:
    """Delete a table or a collection.

    Parameters
    ----------
    address, name : str
        As in `open_store`.
    """
    kind = _kind(address)
    if kind == "qdrant":
        with reached():
            need("qdrant_client", "qdrant-client", "qdrant").QdrantClient(str(address)).delete_collection(name)
    elif kind == "pgvector":
        psycopg = need("psycopg", "psycopg", "pgvector")
        with reached(), psycopg.connect(str(address)) as connection:
            connection.execute(psycopg.sql.SQL("DROP TABLE {}").format(psycopg.sql.Identifier(name)))
    else:
        need("lancedb", "lancedb", "search").connect(str(atomic.local_path(address))).drop_table(name)


def _plain(metadata: dict[str, Any]) -> dict[str, Any]:
    """What JSON can hold, of what a table holds."""
    return dict(json.loads(json.dumps(metadata, default=str)))


def _of_lance(address: str, name: str, id_column: str, vector_column: str) -> Iterator[list[Any]]:
    folder = Path(atomic.expanded(address))
    if not (folder / f"{name}.lance").is_dir():
        raise C3AlignError(f"{folder} holds no table {name!r}; pass the folder of a LanceDB, and --table")
    table = need("lancedb", "lancedb", "search").connect(str(folder)).open_table(name)
    _check_columns(table.schema.names, id_column, vector_column)
    for part in table.search().limit(table.count_rows()).to_batches(_BLOCK):
        records = part.to_pylist()
        if records:
            yield [(record.pop(id_column), record.pop(vector_column), record) for record in records]


def _of_qdrant(address: str, name: str, id_column: str, vector_column: str) -> Iterator[list[Any]]:
    if id_column != "id":
        raise C3AlignError(f"ids of Qdrant are the points' own, and not in {id_column!r}; omit --id (id_column)")
    client, place = need("qdrant_client", "qdrant-client", "qdrant").QdrantClient(address), None
    while True:
        found, place = client.scroll(name, limit=_BLOCK, offset=place, with_vectors=True)
        if found:
            yield [(r.id, _named(r.vector, vector_column), dict(r.payload or {})) for r in found]
        if place is None:
            return


def _named(vector: Any, name: str) -> Any:
    """The vector of this name among a point's; the one that there is has none."""
    if isinstance(vector, dict):
        if vector and name not in vector:
            known = ", ".join(map(repr, vector))
            raise C3AlignError(f"the points have the vectors {known}; pass one as --vector (vector_column)")
        vector = vector.get(name)
    elif name != "vector":
        raise C3AlignError(f"the points have one vector, and none named {name!r}; omit --vector (vector_column)")
    if vector is not None and not (isinstance(vector, list) and all(isinstance(x, int | float) for x in vector)):
        raise C3AlignError(f"the vectors {name!r} are not one list of numbers a point; pass others as --vector")
    return vector


def _of_postgres(address: str, name: str, id_column: str, vector_column: str) -> Iterator[list[Any]]:
    psycopg = need("psycopg", "psycopg", "pgvector")
    rows, sql = need("psycopg.rows", "psycopg", "pgvector"), psycopg.sql
    names = {"table": sql.Identifier(name), "vector": sql.Identifier(vector_column)}
    with psycopg.connect(address) as connection:
        known = connection.execute(sql.SQL("SELECT * FROM {table} LIMIT 0").format(**names)).description
        _check_columns([column.name for column in known], id_column, vector_column)
        cursor = connection.cursor("raw", row_factory=rows.dict_row)
        cursor.execute(sql.SQL("SELECT t.*, t.{vector}::real[] AS {vector} FROM {table} t").format(**names))
        while found := cursor.fetchmany(_BLOCK):
            yield [(record.pop(id_column), record.pop(vector_column), record) for record in found]


def _check_columns(names: Any, *wanted: str) -> None:
    for name in wanted:
        if name not in names:
            raise C3AlignError(f"the table must have the column {name!r}, got {', '.join(names)}; name yours")
