"""Tables of captions or of paths: .txt, .csv, .tsv, .jsonl, .parquet; some columns of them, read row by row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from c3align._imports import need
from c3align.errors import C3AlignError, counted
from c3align.io.limits import Allowance, item_errors
from c3align.io.opening import opened, size_of
from c3align.io.pages import opened_table, pages, unpacked_size

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
_BATCH = 1 << 14  # rows of a .parquet that are in memory
_FIX = "write the table as .jsonl"
_SEPARATORS = (";", "\t", ",", "|")
# what .parquet packs: equal rows into nothing, texts to a tenth
_ROWS, _UNPACKED = Allowance(1 << 20, 1, 1 << 40, _FIX), Allowance(1 << 25, 30, 1 << 50, _FIX)
Choose = Callable[[Sequence[str]], Sequence[str]]
Row = tuple[Any, ...]


def read(name: str, choose: Choose) -> Iterator[Row]:
    """The rows of a table, at a path or URL: a value for each column that is asked for, None where there is none.

    `choose` says which columns, from the names of all; the first of them must be there. It is not called for a .txt,
    whose lines are rows of one value. A table that is not whole, or states more than a file of its size can mean, is
    refused.
    """
    suffix = PurePath(name).suffix.lower()
    with item_errors(name), opened(name) as file:
        if suffix == ".parquet":
            yield from _of_parquet(file, choose)
            return
        try:
            with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:  # spreadsheets write a mark
                yield from _of_text(text, suffix, choose, name)
        except UnicodeDecodeError as error:
            raise C3AlignError(f"{name} is not UTF-8 ({error}); save it as UTF-8") from error
        except csv.Error as error:
            raise C3AlignError(
                f"{name} is not as its separators say ({error}); close every quote, or {_FIX}"
            ) from error


def _of_text(text: Any, suffix: str, choose: Choose, name: str) -> Iterable[Row]:
    if suffix == ".txt":
        return ((line.rstrip("\r\n"),) for line in _without_end(text, str.strip))
    if suffix == ".jsonl":
        return _chosen((_object(line) for line in text if line.strip()), choose)
    separator = "\t" if suffix == ".tsv" else ","
    return _chosen(_records(csv.reader(text, delimiter=separator, strict=True), separator, name), choose)


def _without_end(lines: Iterable[Any], has_content: Callable[[Any], Any]) -> Iterator[Any]:
    """All lines but the blank ones that no other follows: those between keep the numbers of the lines behind them."""
    blank = []
    for line in lines:
        blank.append(line)
        if has_content(line):
            yield from blank
            blank = []


def _records(lines: Any, separator: str, table: str) -> Iterator[dict[str, Any]]:
    """Lines by the names in the first; longer or shorter ones are refused, and empty ones are blank where all may be.

    Where there are several columns an empty line is no row.
    """
    given = _without_end(lines, bool)
    names: list[str] = next((line for line in given if line), [])
    rows = (line or [""] for line in given if line or len(names) == 1)
    other = next((mark for mark in _SEPARATORS if mark != separator and len(names) == 1 and mark in names[0]), None)
    if other is not None:
        raise C3AlignError(f"{table} seems to be separated by {other!r}, not {separator!r}; save it so, or {_FIX}")
    if len(set(names)) < len(names):
        raise C3AlignError(f"two columns of {table} have one name ({', '.join(names)}); rename one")
    for i, row in enumerate(rows):
        if len(row) != len(names):
            fix = "put quotes around one with the separator in it" if len(row) > len(names) else "write empty ones too"
            raise C3AlignError(
                f"row {i} of {table}, at line {lines.line_num}, has {counted(len(row), 'value')} and the header "
                f"{len(names)}; {fix}, or {_FIX}"
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


def _chosen(rows: Iterable[dict[str, Any]], choose: Choose) -> Iterator[Row]:
    columns: Sequence[str] = ()
    for row in rows:
        columns = columns or choose([*row])
        yield tuple(map(row.get, columns))


def _of_parquet(file: Any, choose: Choose) -> Iterator[Row]:
    n_bytes = size_of(file)
    parquet = need("pyarrow.parquet", "pyarrow")
    fields = list(parquet.read_schema(file))
    flat = {field.name for field in fields if not field.type.num_fields}
    if len({field.name for field in fields}) < len(fields):
        raise C3AlignError("two columns have one name; rename one")
    table = opened_table(file, read_dictionary=list(flat))  # equal values are in memory once
    columns = choose(table.schema_arrow.names)
    if columns[0] not in flat:
        raise C3AlignError(f"column {columns[0]!r} holds no texts; pass another one as --column")
    wanted = [name for name in dict.fromkeys(columns) if name in flat]
    if not table.metadata.num_rows:  # and no pages that could be looked at
        return
    _check_claims(file, table.metadata, wanted, n_bytes)
    n_rows = 0
    for batch in table.iter_batches(_BATCH, columns=wanted):
        values = {name: _values(batch.column(name)) for name in wanted}
        n_rows += batch.num_rows
        yield from zip(*(values.get(name) or [None] * batch.num_rows for name in columns))
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
