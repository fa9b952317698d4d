"""Kinds of things that users hand over: floating or not, frames, rows in a sequence, and what holds no embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from c3align.errors import C3AlignError
from c3align.ops.arrays import is_on_device, is_tensor

__all__ = ["EMBEDDING_COLUMNS", "Names", "dtype_name_of", "holds_rows", "is_floating", "is_integer", "names_of"]
__all__ += ["refuse_kinds", "refuse_mixed", "refuse_nested", "refuse_other_rows"]

Names = tuple[str, ...] | None
_TIMES = ("datetime", "timedelta", "duration", "date", "time", "period")
_EIGHT_BITS = ("int8", "uint8", "bool", "boolean")
_TEXTS = ("str", "category", "categorical", "enum", "utf8")
EMBEDDING_COLUMNS = 64  # a y of so many columns is rows and no target, but for labels that are 0 or 1


def refuse_other_rows(y: Any) -> None:
    """So many columns may be labels, one a class, 0 or 1; else they are rows, of another dtype or beside ids."""
    width = int(y.shape[1])
    if width < EMBEDDING_COLUMNS or not hasattr(y, "__array__") or _is_sparse(y):
        return
    if sum(_is_float(dtype) for dtype in getattr(y, "dtypes", ())) < EMBEDDING_COLUMNS:
        try:
            values = y if is_on_device(y) else np.asarray(y, np.float64)
        except (TypeError, ValueError, RuntimeError):  # texts, and what torch does not give away
            return
        if not bool(((values != 0) & (values != 1)).any()):
            return
    raise C3AlignError(
        f"y has {width} columns that are not all floating; pass rows paired with X's as floats, without other columns, "
        "or no y at all"
    )


def _is_sparse(y: Any) -> bool:
    return is_tensor(y) and "strided" not in str(y.layout)


def is_floating(X: Any) -> bool:
    found = getattr(X, "dtypes", None)  # of a frame
    dtypes = [getattr(X, "dtype", None)] if found is None else list(found)
    return all(map(_is_float, dtypes))


def _is_float(dtype: Any) -> bool:
    return getattr(dtype, "kind", "") == "f" or "float" in str(dtype).lower()


def holds_rows(X: Any) -> bool:
    """Whether a 1-d container holds rows, as a Series of arrays does."""
    shape = getattr(X, "shape", None)  # of frames it has two numbers, whatever they yield when iterated
    if is_tensor(X) or shape is None or len(shape) != 1 or not shape[0]:
        return False
    first = next(iter(X))
    return not isinstance(first, str | bytes) and len(np.shape(first)) == 1


def names_of(X: Any) -> Names:
    """Column names of a frame, as far as all are strings."""
    columns = getattr(X, "columns", None)
    if columns is None or callable(columns):
        return None
    names = tuple(columns)
    return names if names and all(isinstance(name, str) for name in names) else None


def refuse_kinds(X: Any, name: str) -> None:
    """Refuse what scikit-learn would make floats of, though it is no embeddings: times, texts, packed bits."""
    for dtype in _dtypes_of(X):
        kind, said = getattr(dtype, "kind", ""), str(dtype).lower()
        if said.startswith(_TIMES):
            raise C3AlignError(f"{name} holds {dtype}, times and not embeddings; pass floating rows")
        if kind in ("S", "U", "V") or said.startswith(_TEXTS):
            raise C3AlignError(f"{name} holds {dtype}, texts or records and not embeddings; pass floating rows")
        if said in _EIGHT_BITS:
            raise C3AlignError(
                f"{name} holds {dtype}, packed bits or quantized values and not embeddings; unpack bits with "
                f"numpy.unpackbits({name}, axis=1), or undo the quantization, and pass floating rows"
            )


def refuse_mixed(X: Any, name: str) -> None:
    """Refuse a frame in which columns of integers, such as ids and labels, stand beside floating ones."""
    dtypes = getattr(X, "dtypes", None)
    if not isinstance(dtypes, Iterable) or not any(map(_is_float, dtypes)):
        return
    others = [str(column) for column, dtype in zip(X.columns, dtypes) if "int" in str(dtype).lower()]
    if others:
        raise C3AlignError(
            f"{name} has columns of integers beside floating ones, {', '.join(others[:3])}; drop them, or make floats "
            "of them if they are dimensions"
        )


def refuse_nested(X: Any, name: str) -> None:
    """Refuse rows that lie in the cells of a frame, or of an Arrow column."""
    if isinstance(X, list | tuple | np.ndarray) or is_tensor(X) or holds_rows(X) or not hasattr(X, "__array__"):
        return
    try:
        cells = np.asarray(X[:1])
    except (TypeError, ValueError, RuntimeError, LookupError):
        return
    found = [cell for cell in cells.flat if not isinstance(cell, str | bytes) and np.ndim(cell) == 1]
    if cells.dtype == object and found:
        raise C3AlignError(
            f"{name} holds an array of {len(found[0])} numbers in a cell; pass numpy.stack(column) of that column"
        )


def _dtypes_of(X: Any) -> list[Any]:
    """The dtypes of an array, of a frame's columns, or of what a list holds; of objects that of the first."""
    found = getattr(X, "dtypes", getattr(X, "dtype", None))
    dtypes = list(found) if isinstance(found, Iterable) else [found]
    if found is None or any(str(dtype) == "object" for dtype in dtypes):
        try:
            values = np.asarray(X)
            first = values.flat[0] if values.dtype == object and values.size else values
            return [np.asarray(first).dtype]
        except (TypeError, ValueError):  # said where it is made an array
            return []
    return dtypes


def is_integer(X: Any) -> bool:
    return getattr(getattr(X, "dtype", None), "kind", "") in "iu" and hasattr(X, "dtype")


def dtype_name_of(X: Any) -> str | None:
    """Name of an array's dtype, None for what has none (lists, data frames)."""
    return getattr(getattr(X, "dtype", None), "name", None)
