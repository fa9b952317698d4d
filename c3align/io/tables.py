"""Tables of captions or of paths: .txt, .csv, .tsv, .jsonl, .parquet; two columns of them, read row by row."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import PurePath
from typing import Any

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.io.limits import Allowance, item_errors
from c3align.io.opening import opened, size_of
from c3align.io.pages import pages, unpacked_size

__all__ = ["CAPTION", "SUFFIXES", "read"]

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
CAPTION = "caption"
_BATCH = 1 << 14  # rows of a .parquet that are in memory
_FIX = "write the table as .jsonl"
# what .parquet packs: equal rows into nothing, texts to a tenth
_ROWS, _UNPACKED = Allowance(1 << 20, 1, 1 << 40, _FIX), Allowance(1 << 25, 30, 1 << 50, _FIX)
Pair = tuple[Any, Any]


def read(name: str, choose: Callable[[Sequence[str]], str]) -> Iterator[Pair]:
    """The values of one column of a table, at a path or URL, each with the row's caption or None.

    `choose` picks the column from the names of all; it is not called for a .txt, whose lines are the values. A table
    that is not whole, or states more than a file of its size can mean, is refused.
    """
    suffix = PurePath(name).suffix.lower()
    with item_errors(name), opened(name) as file:
        yield from _of_parquet(file, choose) if suffix == ".parquet" else _of_text(file, suffix, choose)


def _of_text(file: Any, suffix: str, choose: Callable[[Sequence[str]], str]) -> Iterable[Pair]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")  # programs for spreadsheets write a mark
    if suffix == ".txt":
        return ((line, None) for line in _lines(text))
    if suffix == ".jsonl":
        return _chosen((_object(line) for line in text if line.strip()), choose)
    return _chosen(_records(csv.reader(text, delimiter="\t" if suffix == ".tsv" else ",", strict=True)), choose)


def _lines(text: Iterable[str]) -> Iterator[str]:
    """Lines without their ends; empty ones are left out, which moves those behind them."""
    first_empty = None
    for i, line in enumerate(text, 1):
        if not line.strip():
            first_empty = first_empty or i
            continue
        if first_empty:
            warnings.warn(
                f"line {first_empty} is empty and was left out: later lines count from there; if each belongs to "
                f"another item, such as a picture, remove both or {_FIX}",
                stacklevel=2,
            )
            first_empty = None
        yield line.rstrip("\r\n")


def _records(lines: Iterable[list[str]]) -> Iterator[dict[str, Any]]:
    """Lines by the names in the first; empty ones are left out, and longer or shorter ones refused."""
    rows = (line for line in lines if line)
    names = next(rows, [])
    if len(set(names)) < len(names):
        raise C3AlignError(f"two columns have one name ({', '.join(names)}); rename one")
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise C3AlignError(
                f"row {i} has {len(row)} values and the header {len(names)}; put quotes around a value with the "
                f"separator in it, or {_FIX}"
            )
        yield dict(zip(names, row))


def _object(line: str) -> dict[str, Any]:
    found = json.loads(line, object_pairs_hook=_each_once)
    if not isinstance(found, dict):
        raise ValueError(f"a line holds a {type(found).__name__} and not an object")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"an object has a key twice: {', '.join(key for key, _ in pairs)}")
    return found


def _chosen(rows: Iterable[dict[str, Any]], choose: Callable[[Sequence[str]], str]) -> Iterator[Pair]:
    column = None
    for row in rows:
        column = column or choose([*row])
        yield row.get(column), row.get(CAPTION)


def _of_parquet(file: Any, choose: Callable[[Sequence[str]], str]) -> Iterator[Pair]:
    n_bytes = size_of(file)
    parquet = need("pyarrow.parquet", "pyarrow")
    flat = {field.name for field in parquet.read_schema(file) if not field.type.num_fields}
    table = parquet.ParquetFile(file, read_dictionary=list(flat))  # equal values are in memory once
    column = choose(table.schema_arrow.names)
    wanted = [name for name in dict.fromkeys((column, CAPTION)) if name in flat]
    if column not in wanted:
        raise C3AlignError(f"column {column!r} holds no texts; pass another one as --column")
    if not table.metadata.num_rows:  # and no pages that could be looked at
        return
    _check_claims(file, table.metadata, wanted, n_bytes)
    n_rows = 0
    for batch in table.iter_batches(_BATCH, columns=wanted):
        values = [_values(batch.column(name)) for name in wanted]
        n_rows += batch.num_rows
        yield from zip(values[0], values[1] if len(values) > 1 else values[0] if column == CAPTION else repeat(None))
    if n_rows != table.metadata.num_rows:
        raise C3AlignError(f"it holds {n_rows} rows and states {table.metadata.num_rows}; write it again")


def _check_claims(file: Any, metadata: Any, wanted: Sequence[str], n_bytes: int) -> None:
    """Before any of it is unpacked."""
    _ROWS.check(metadata.num_rows, "rows", n_bytes, None)
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    chunks = (group.column(i) for group in groups for i in range(group.num_columns))
    unpacked = 0
    for chunk in (chunk for chunk in chunks if chunk.path_in_schema in wanted):
        start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
        for page in pages(file, start, chunk.total_compressed_size):
            unpacked += unpacked_size(page)
            _UNPACKED.check(unpacked, "bytes, unpacked,", n_bytes, None)


def _values(column: Any) -> list[Any]:
    if not hasattr(column, "dictionary"):
        return list(column.to_pylist())
    texts = column.dictionary.to_pylist()
    return [None if i is None else texts[i] for i in column.indices.to_pylist()]
