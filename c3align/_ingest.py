"""From what users hand to an estimator to checked rows, and back: scikit-learn's rules, torch tensors included.

A tensor is viewed as a NumPy array and goes down the same path, so the refusals have the same type and text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from c3align.errors import C3AlignError
from c3align.ops._foreign import hand_back, is_foreign, take_over
from c3align.ops._rows import Rows, dtype_name, is_tensor, narrow_bfloat16, tensor_values, widen_bfloat16

# first is what integers and numbers held as objects become, as everywhere in scikit-learn
_DTYPES = [np.float64, np.float32, np.float16]
_CHECKS: dict[str, Any] = {"dtype": _DTYPES, "ensure_all_finite": False}  # the ops say which rows are not


def ingest(estimator: Any, X: Any, *, reset: bool) -> tuple[Rows, Callable[[Any], Any]]:
    """Checked rows of X, and a function that dresses results (in the rows' dtype) as X was: library, dtype, device.

    Raises
    ------
    ValueError, TypeError
        scikit-learn's own: not 2-d, no rows, another width than fitted, sparse, not numbers.
    """
    host, restore = _to_host(X, "X")
    values = validate_data(estimator, host, reset=reset, **_CHECKS)
    return Rows(values, values.dtype.name), restore


def ingest_partners(rows: Rows, y: Any) -> Rows | None:
    """Rows paired with `rows`, or None when y is absent or holds labels (1-d, as scikit-learn's tools pass)."""
    if y is None or (y.ndim if hasattr(y, "ndim") else np.asarray(y).ndim) < 2:
        return None
    host, _ = _to_host(y, "y")
    values = check_array(host, input_name="y", **_CHECKS)
    check_consistent_length(rows.values, values)
    if values.shape[1] != rows.shape[1]:
        raise C3AlignError(
            f"y has {values.shape[1]} columns and X {rows.shape[1]}; a 2-d y holds the rows paired with X's, from the "
            "same space (pass labels 1-d, or no y at all)"
        )
    return Rows(values, values.dtype.name, None, "y")


def _to_host(X: Any, name: str) -> tuple[Any, Callable[[Any], Any]]:
    if isinstance(X, np.ma.MaskedArray):
        raise C3AlignError(f"{name} is masked; drop the masked rows and pass {name}.data")
    if is_foreign(X):
        host, restored = _to_host(take_over(X, name), name)
        return host, lambda values: hand_back(restored(values), X)
    if not is_tensor(X):
        if dtype_name_of(X) != "bfloat16":
            return X, lambda values: values
        return widen_bfloat16(X.view(np.uint16)), lambda values: narrow_bfloat16(values).view(X.dtype)
    values = tensor_values(X, name)
    if dtype_name(X) == "bfloat16":
        wide = Rows(widen_bfloat16(values), "bfloat16", X)
        return wide.values, lambda result: wide.restore(narrow_bfloat16(result))
    return values, Rows(values, dtype_name(X), X).restore


def dtype_name_of(X: Any) -> str | None:
    """Name of an array's dtype, None for what has none (lists, data frames)."""
    return getattr(getattr(X, "dtype", None), "name", None)
