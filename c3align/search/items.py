"""What an index is given: rows, or items for its encoder; one or many."""

from __future__ import annotations

from typing import Any

from c3align._typing import Int64Array
from c3align.ops.arrays import is_tensor


def is_rows(items: Any) -> bool:
    """Whether they are rows (n_rows, n_dims) of floating numbers."""
    return getattr(items, "ndim", 0) == 2 and "float" in str(getattr(items, "dtype", ""))


def one(x: Any) -> Any:
    """One query as many."""
    if getattr(x, "ndim", 0) == 1 and "float" in str(x.dtype):
        return x[None]
    return x if is_rows(x) and len(x) == 1 else [x]


def taken(items: Any, places: Int64Array) -> Any:
    """Those at some places, rising."""
    if len(places) == len(items):
        return items
    return items[places] if hasattr(items, "ndim") else [items[i] for i in places]


def in_memory(rows: Any) -> Any:
    """Rows as NumPy has them, which lacks bfloat16."""
    if not is_tensor(rows):
        return rows
    return (rows.float() if "bfloat16" in str(rows.dtype) else rows).detach().cpu().numpy()
