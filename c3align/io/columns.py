"""Rows in a column of lists of a .parquet: lists of one length, of float16, float32 or float64, without gaps.

The footer must agree with the file's size, and the headers of the pages with the footer, before anything is unpacked.
Rows are read batch by batch, in order; a jump begins anew at the row group that the row is in.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError, counted
from c3align.io import opening, tables
from c3align.io.limits import Allowance, item_errors
from c3align.io.pages import opened_table, pages, unpacked_size

__all__ = ["Column", "column_of", "floats_of"]

_BATCH_BYTES = 1 << 24
_FIX = "write the rows as .npy"
# embeddings pack to nine tenths; rows that are all alike to nothing
_NUMBERS, _UNPACKED = Allowance(1 << 22, 8, 1 << 50, _FIX), Allowance(1 << 25, 30, 1 << 50, _FIX)
_HEADER = 1 << 12  # bytes that a page's header may take: numbers have short statistics
_DTYPES = {"halffloat": "f2", "float": "f4", "double": "f8"}


class Column:
    """Rows (n_rows, n_dims) of a .parquet, read when they are asked for, as `npy.Stored` is."""

    def __init__(self, path: str, column: str | None = None) -> None:
        self.path = path
        with item_errors(path), opening.in_parts(path) as file:
            self.seen = opening.identity(file)
            size, table = opening.n_bytes(file), _table(file)
            self.column = column_of(table.schema_arrow, column, path)
            self.dtype = np.dtype(_DTYPES[str(table.schema_arrow.field(self.column).type.value_type)])
            self._ends = [0, *accumulate(table.metadata.row_group(g).num_rows for g in range(table.num_row_groups))]
            n_numbers, width = _numbers(table, self.column)
            self.shape = self._ends[-1], width
            _NUMBERS.check(self.shape[0] * self.shape[1], "numbers", size, None)
            if n_numbers != self.shape[0] * width:
                self._refuse(file, hasattr(table.schema_arrow.field(self.column).type, "list_size"))
        self._lock = threading.Lock()
        self._batches: Iterator[npt.NDArray[Any]] = iter(())
        self._place, self._rest = -1, np.empty((0, self.shape[1]), self.dtype)

    def of_width(self, n_dims: int) -> Column:
        """Where there are no rows, their width is that of others."""
        if not len(self):
            self.shape, self._rest = (0, n_dims), np.empty((0, n_dims), self.dtype)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "column": self.column}  # copies and other processes open it themselves

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __len__(self) -> int:
        return int(self.shape[0])

    @cached_property
    def step(self) -> int:
        """Rows that are unpacked at a time."""
        return max(1, _BATCH_BYTES // (self.shape[1] * self.dtype.itemsize))

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        start, stop, step = rows.indices(len(self))
        return self.read(start, stop) if step == 1 else self.take(np.arange(start, stop, step))

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start to stop; refused if the file is another one than it was when it was opened."""
        out = np.empty((max(0, stop - start), self.shape[1]), self.dtype)
        self.read_into(out, start)
        return out

    def read_into(self, out: npt.NDArray[Any], start: int) -> None:
        """Rows from `start` on, as many as there is room for."""
        with self._lock, item_errors(self.path):
            group = max(0, bisect_right(self._ends, start) - 1)
            if not self._ends[group] <= self._place <= start:
                self._batches, self._place = self._read(range(group, len(self._ends) - 1)), self._ends[group]
                self._rest = self._rest[:0]
            self._next(start - self._place)
            filled = 0
            while filled < len(out):
                filled += self._next(len(out) - filled, out[filled:])

    def take(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Rows by number, in any order; each row group that holds some is unpacked once."""
        out = np.empty((len(numbers), self.shape[1]), self.dtype)
        order = np.argsort(numbers, kind="stable")
        for i in order:
            self.read_into(out[i : i + 1], int(numbers[i]))
        return out

    def _next(self, n_rows: int, out: npt.NDArray[Any] | None = None) -> int:
        """Go on by rows, into `out` or past them; into it no more than there are at hand."""
        gone = 0
        while gone < n_rows:
            if not len(self._rest):
                self._rest = next(self._batches, self._rest)
                if not len(self._rest):
                    raise C3AlignError(f"{self.path} ends before its {len(self)} rows; copy it again")
            some = self._rest[: n_rows - gone]
            if out is not None:
                out[gone : gone + len(some)] = some
            self._rest, gone = self._rest[len(some) :], gone + len(some)
            self._place += len(some)
        return gone

    def _read(self, groups: range) -> Iterator[npt.NDArray[Any]]:
        with opening.in_parts(self.path) as file:
            for start, lists in self._lists(file, groups):
                yield floats_of(lists, self.shape[1], self.path, start)

    def _lists(self, file: Any, groups: range | None = None) -> Iterator[tuple[int, Any]]:
        for start, batch in self.batches(file, groups, (self.column,)):  # which also yields "name.other" for "name"
            yield start, batch.column(batch.schema.get_field_index(self.column))

    def _refuse(self, file: Any, is_fixed: bool) -> None:
        """Name the first row that is null, or not as long as those before; the footer says that there is one."""
        width = behind = 0
        if is_fixed:
            self.step = 1
        try:
            for start, lists in self._lists(file):
                width = width or next((len(row) for row in lists if row.is_valid), 0)
                floats_of(lists, width, self.path, start)
                behind = start + len(lists)
        except ValueError as error:
            if isinstance(error, C3AlignError) or not is_fixed:
                raise
            # PyArrow reads no null of a list of fixed size
            raise C3AlignError(f"{self.path}, row {behind} is null; remove or fix it") from error
        raise C3AlignError(f"{self.path} has other numbers of {self.column!r} than it states; {_FIX}")

    def names(self, column: str) -> list[str]:
        """What another column calls each row: texts, and whole numbers as they are written."""

        def choose(there: Sequence[str]) -> Sequence[str]:
            if column not in there:
                told = ", ".join(map(repr, there))
                raise C3AlignError(f"{self.path} has no column {column!r} among {told}; pass one that it has")
            return [column]

        found = list[str]()
        for row, (value,) in enumerate(tables.read(self.path, choose)):
            if type(value) not in (int, str):
                what = "nothing" if value is None else f"a {type(value).__name__}"
                raise C3AlignError(
                    f"{self.path}, row {row} has {what} in the column {column!r}; write a text or a whole number "
                    "there, or remove the row"
                )
            found.append(str(value))
        return found

    def table(self, file: Any) -> Any:
        """The table in the file, which is refused if it is another one than it was when it was opened."""
        if opening.identity(file) != self.seen:
            raise C3AlignError(f"{self.path} was changed while it was read; run this again when it is complete")
        return _table(file)

    def batches(
        self, file: Any, groups: range | None = None, wanted: tuple[str, ...] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Batches of the table with the number of their first row; of all columns, or of those that are `wanted`."""
        table, size = self.table(file), opening.n_bytes(file)
        for group in range(table.num_row_groups) if groups is None else groups:
            check_pages(file, table.metadata.row_group(group), size, wanted, table.schema_arrow.names)
            start = self._ends[group]
            for batch in table.iter_batches(self.step, row_groups=[group], columns=wanted and list(wanted)):
                yield start, batch
                start += batch.num_rows


def column_of(schema: Any, wanted: str | None, path: str) -> str:
    """The column that was asked for, or the one that holds lists of floats."""
    known = [field.name for field in schema if str(getattr(field.type, "value_type", "")) in _DTYPES]
    twice = next((name for name in known if schema.names.count(name) > 1), None)
    if twice is not None:
        raise C3AlignError(f"{path} has two columns of the name {twice!r}; rename one")
    if wanted is None and len(known) == 1:
        return str(known[0])
    if wanted in known:
        return str(wanted)
    told = f"has the columns of lists of floats {', '.join(map(repr, known))}" if known else "has no lists of floats"
    fix = f"{path}#{known[0]}" if known else "another file"
    what = f"; it {told}" if wanted is None else f" and not {wanted!r}; it {told}"
    raise C3AlignError(f"{path} must hold one column of embeddings{what}; pass {fix}")


def floats_of(column: Any, n_dims: int, path: str, first: int) -> npt.NDArray[Any]:
    """Lists of one length as rows, of which `first` is the number of the first."""
    values = column.flatten()
    lengths = set() if hasattr(column.type, "list_size") else set(np.diff(column.offsets.to_numpy()).tolist())
    if column.null_count or values.null_count or lengths - {n_dims} or len(values) != len(column) * n_dims:
        odd = next(
            ((row, what) for row, item in enumerate(column, first) if (what := _odd(item, n_dims))), (first, "is odd")
        )
        raise C3AlignError(f"{path}, row {odd[0]} {odd[1]}; remove or fix it")
    return values.to_numpy(zero_copy_only=True).reshape(len(column), n_dims)


def _odd(item: Any, n_dims: int) -> str:
    """What is wrong with a list, if anything is."""
    if not item.is_valid:
        return "is null"
    if len(item) != n_dims:
        return f"has {counted(len(item), 'number')}, and others have {n_dims}"
    return "holds a null" if item.values.null_count else ""


def _owner(path: str, names: Sequence[str]) -> str:
    """The column that a chunk belongs to, whose path begins with its name; names may hold dots too."""
    return max((name for name in names if path == name or path.startswith(f"{name}.")), key=len, default=path)


def check_pages(
    file: Any, group: Any, size: int, wanted: tuple[str, ...] | None = None, names: Sequence[str] = ()
) -> None:
    """Before any of a row group is unpacked; all of its columns, or those that are `wanted` of these `names`."""
    unpacked = 0
    for chunk in (group.column(i) for i in range(group.num_columns)):
        if wanted is not None and _owner(chunk.path_in_schema, names) not in wanted:
            continue
        # 0 where there is none: without rows a column has a dictionary alone
        start = min(filter(None, (chunk.data_page_offset, chunk.dictionary_page_offset)), default=0)
        is_text = chunk.physical_type == "BYTE_ARRAY"
        for page in pages(file, start, chunk.total_compressed_size, *(() if is_text else (_HEADER,))):
            unpacked += unpacked_size(page)
            _UNPACKED.check(unpacked, "bytes, unpacked,", size, None)


def _table(file: Any) -> Any:
    return opened_table(file, pre_buffer=False, buffer_size=1 << 20)


def _numbers(table: Any, column: str) -> tuple[int, int]:
    """How many numbers there are, and the length of a row, of what the footer says."""
    kind, metadata, n_numbers = table.schema_arrow.field(column).type, table.metadata, 0
    for group in (metadata.row_group(g) for g in range(metadata.num_row_groups)):
        chunks = (group.column(i) for i in range(group.num_columns))
        own = [chunk.num_values for chunk in chunks if _owner(chunk.path_in_schema, table.schema_arrow.names) == column]
        n_numbers += sum(own)
    n_rows = metadata.num_rows
    return n_numbers, int(getattr(kind, "list_size", None) or (n_numbers // n_rows if n_rows else 1))
