"""From what users hand to an estimator to checked rows, and back: scikit-learn's rules, torch tensors included.

A tensor goes down the same path by its shape and dtype, so that refusals have the same type and text.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, validate_data

from c3align._kinds import (
    EMBEDDING_COLUMNS,
    Names,
    dtype_name_of,
    holds_rows,
    is_floating,
    is_integer,
    names_of,
    refuse_kinds,
    refuse_mixed,
    refuse_nested,
    refuse_other_rows,
)
from c3align._settings import check_used
from c3align._state import State, check_order
from c3align._typing import ZeroRows
from c3align.centering import BATCH, center, state_of
from c3align.errors import C3AlignError, InputTypeError, ModalityMeanWarning, ZeroRowsWarning
from c3align.mappings import Center, RowAffine, RowTransform, load, refuse_own_mean
from c3align.ops.arrays import (
    Rows,
    check_tensor,
    dtype_name,
    from_dlpack,
    is_foreign,
    is_on_device,
    is_tensor,
    narrow_bfloat16,
    native,
    tensor_values,
    to_like,
    widen_bfloat16,
)
from c3align.ops.glance import can_look
from c3align.statistics import ModalityStatistics

__all__ = ["Ingested", "ingest", "ingest_more", "ingest_partners", "mapped_rows"]

# first is what integers and numbers held as objects become, as everywhere in scikit-learn
_DTYPES = [np.float64, np.float32, np.float16]
_CHECKS: dict[str, Any] = {"dtype": _DTYPES, "ensure_all_finite": False}  # the ops say which rows are not
_PLAIN = {np.dtype(dtype): np.dtype(dtype).name for dtype in _DTYPES}
_FIX = "{} must be a 2-d array of floats, one embedding a row"


class C3Aligner(BaseEstimator):  # type: ignore[misc]
    """Stands for the aligner in scikit-learn's checks, whose messages name the class."""

    def __init__(self) -> None:
        pass


class Ingested(NamedTuple):
    """Checked rows, and what has to be known of where they came from.

    rows : rows in this process's memory, or a tensor on its device
    like : makes results (in the rows' dtype) what X was: library, dtype, device
    names : of the columns of a frame
    is_integer : whether these were integers, whose rows may be zero
    """

    rows: Any
    like: Callable[[Any], Any]
    names: Names = None
    is_integer: bool = False

    def policy(self, zero_rows: ZeroRows) -> ZeroRows:
        """What becomes of zero rows: integer rows are counts, which may rightly be all zero."""
        return "keep" if self.is_integer else zero_rows

    def warn_of_zero_rows(self, n_zero_rows: int, stacklevel: int) -> None:
        """Say that integer rows were kept as zeros, where some were."""
        if self.is_integer and n_zero_rows:
            warnings.warn(
                f"{n_zero_rows} of {self.rows.shape[0]} integer rows have no direction; they stay zeros, in no mean; "
                "pass floating rows to have such rows refused",
                ZeroRowsWarning,
                stacklevel=stacklevel + 1,
            )

    def row_map(self, name: str, state: State, mapping: Any, zero_rows: ZeroRows) -> RowTransform:
        """What rows of a modality go through; for "batch", whose rows' own mean is subtracted, that.

        Raises
        ------
        C3AlignError
            For "batch" with a mapping that does more than center.
        """
        if name != BATCH:
            if len(state.usable) == 1 and not isinstance(load(mapping), Center):
                warnings.warn(
                    f"only {name!r} rows are fitted, so that mapping={mapping!r} has nothing to bring together; fit "
                    "the other modalities too before you keep these rows, for they will lie elsewhere then",
                    ModalityMeanWarning,
                    stacklevel=4,
                )
            return state.row_map(name, mapping)
        refuse_own_mean(mapping)
        return RowAffine(ModalityStatistics.from_rows(self.rows, zero_rows=self.policy(zero_rows)).mean)

    def refuse_overflow(self, values: Any, why: str) -> None:
        """Refuse results that float16 cannot hold, and say why.

        Raises
        ------
        C3AlignError
        """
        if dtype_name(values) == "float16" and can_look(values) and not bool((abs(values) < np.inf).all()):
            raise C3AlignError(f"{why}, too large for float16; pass float32 rows")


def ingest(
    X: Any, *, n_dims: int | None = None, known: Mapping[str, tuple[str, ...]] | None = None, name: str = "X"
) -> Ingested:
    """Checked rows of X.

    Parameters
    ----------
    X : array, tensor, data frame, list of rows
    n_dims : int, optional
        The width that is expected.
    known : mapping of str to tuple of str, optional
        Column names of fitted modalities, of which a frame must have one, in this order.
    name : str
        What messages call X.

    Raises
    ------
    ValueError, TypeError
        scikit-learn's own: not 2-d, no rows, another width than fitted, sparse, not numbers, other column names.
    C3AlignError
        8-bit integers, which are packed bits or quantized; masked arrays.
    """
    if type(X) is np.ndarray and X.ndim == 2 and X.shape[1] == n_dims and len(X) and not known and X.dtype in _PLAIN:
        return Ingested(Rows(X, _PLAIN[X.dtype], None, name), _as_it_is)
    host, like = (_stand_in(X, name), _as_it_is) if is_on_device(X) else _to_host(native(_stacked(X, name)), name)
    refuse_mixed(host, name)
    refuse_kinds(host, name)
    refuse_nested(host, name)
    probe, names = C3Aligner(), names_of(X)
    if n_dims is not None:
        probe.n_features_in_ = n_dims
        if known:
            fitting = [columns for columns in known.values() if columns == names]
            probe.feature_names_in_ = np.array(fitting[0] if fitting else next(iter(known.values())), dtype=object)
    values = _as_scikit_learn(name, validate_data, probe, host, reset=n_dims is None, **_CHECKS)
    found = getattr(probe, "feature_names_in_", None) if n_dims is None else None
    names = None if found is None else tuple(found)
    if is_on_device(X):
        return Ingested(X if X.is_floating_point() else X.double(), like, names, is_integer(host))
    return Ingested(Rows(values, values.dtype.name, None, name), like, names, is_integer(host))


def mapped_rows(aligner: Any, X: Any, modality: str, *, caller: int) -> tuple[State, Ingested, str, RowTransform, Any]:
    """The rows, whose they are (or "batch"), their map and how it ends; warnings point `caller` levels up."""
    settings, state = vars(aligner), state_of(aligner, modality)
    check_used(settings)
    given = ingest(X, n_dims=state.n_dims, known=state.feature_names)
    found = center(modality, state, given.rows)
    if found.warning:
        warnings.warn(found.warning, ModalityMeanWarning, stacklevel=caller)
    zero_rows = settings["zero_rows"]
    row_map = given.row_map(found.modality, state, settings["mapping"], zero_rows)
    how = {"renormalize": settings["renormalize"], "zero_rows": given.policy(zero_rows)}
    return state, given, found.modality, row_map, how


def ingest_more(X: Any, n_dims: int, known: Mapping[str, tuple[str, ...]], modality: str) -> Ingested:
    """Checked rows of a modality to learn from, beside what is known; a new one may have column names of its own."""
    others = dict(known)
    own = {modality: others.pop(modality)} if modality in others else {}
    names = names_of(X)
    given = ingest(X, n_dims=n_dims, known=own or ({modality: names} if names else {}))
    check_order(names, others, "X")
    return given._replace(names=names)


def ingest_partners(rows: Any, names: Names, y: Any, *, is_named: bool) -> tuple[Any, Names] | None:
    """Rows paired with `rows` and their column names; None when y is a target.

    y holds pairs when it is 2-d, floating and as wide as X, or when the caller names its modality. Any other y is a
    target, which scikit-learn's tools pass along: labels 1-d or 2-d, of any dtype.

    Raises
    ------
    C3AlignError
        A y that is a string, a number, empty, of another length than X or of more than two dimensions; 64 columns or
        more that are not X's (another encoder's rows) or not floating, unless all are 0 or 1; pairs that do not fit X;
        a frame with X's columns in another order.
    """
    if y is None:
        return None
    _refuse_shape(y, rows.shape[0])
    refuse_nested(y, "y")
    if not (is_named or _looks_paired(rows, y)):
        return None
    host = _stand_in(y, "y") if is_on_device(y) else _to_host(native(_stacked(y, "y")), "y")[0]
    refuse_kinds(host, "y")
    values = _as_scikit_learn("y", check_array, host, input_name="y", **_CHECKS)
    if values.shape[1] != rows.shape[1]:
        raise C3AlignError(
            f"y has {values.shape[1]} columns and X {rows.shape[1]}; a 2-d y holds the rows paired with X's, from the "
            "same space (pass labels 1-d or as integers, or no y at all)"
        )
    partner_names = names_of(y)
    check_order(partner_names, {"X": names} if names else {}, "y")
    return y if is_on_device(y) else Rows(values, values.dtype.name, None, "y"), partner_names


def _as_scikit_learn(name: str, check: Callable[..., Any], *arguments: Any, **how: Any) -> Any:
    """What a check of scikit-learn's returns; its refusals in its words, which its own tests ask for, and with a fix.

    Raises
    ------
    C3AlignError
    """
    try:
        return check(*arguments, **how)
    except (TypeError, ValueError) as error:
        text = re.sub(r"array=.*?\.\n(?=Reshape)", "", str(error), flags=re.DOTALL).partition("\n[")[0]
        if isinstance(error, C3AlignError) or text.startswith("The feature names should match"):  # on lines of its own
            raise
        fix = "pass rows of the encoder that fit saw" if "is expecting" in text else _FIX.format(name)
        kind = InputTypeError if isinstance(error, TypeError) else C3AlignError
        raise kind(f"{text.rstrip('.')}; {fix}") from error


def _refuse_shape(y: Any, n_rows: int) -> None:
    shape = y.shape if hasattr(y, "shape") else _as_scikit_learn("y", np.asarray, y).shape
    if isinstance(y, str | bytes) or len(shape) == 0:
        raise C3AlignError(
            f"y must be rows paired with X's or labels, got {y!r}; name the modality of X with modality={y!r}"
            if isinstance(y, str)
            else f"y must be rows paired with X's or labels, got {type(y).__name__}; omit it"
        )
    if len(shape) > 2:
        raise C3AlignError(
            f"y must be rows paired with X's, 2-d, or labels, got shape {tuple(shape)}; pass one embedding a row"
        )
    if shape[0] == 0:
        raise C3AlignError("y has no rows; pass one row for each of X's, or no y at all")
    if shape[0] != n_rows:
        raise C3AlignError(
            f"y must have one row for each of X's, got {shape[0]} for {n_rows}; pass row i of y as the "
            "partner of row i of X, or fit them one after the other, without pairs"
        )


def _looks_paired(rows: Any, y: Any) -> bool:
    host = y if hasattr(y, "ndim") else np.asarray(y)
    if host.ndim != 2:
        return holds_rows(y)
    width = int(host.shape[1])
    if is_floating(host):
        return width == rows.shape[1] or width >= EMBEDDING_COLUMNS
    refuse_other_rows(host)
    return False


def _stacked(X: Any, name: str) -> Any:
    """The rows of a 1-d container of rows (a Series of arrays, an array of objects) as one array."""
    if isinstance(X, list | tuple) or not holds_rows(X):
        return X
    parts = [np.asarray(row) for row in X]
    if len({part.shape for part in parts}) > 1:
        raise C3AlignError(f"{name} is a sequence of rows of different lengths; pass rows of one encoder")
    return np.stack(parts)


def _stand_in(X: Any, name: str) -> Any:
    """An array of a tensor's shape and dtype without its values, for checks that look at no value."""
    check_tensor(X, name)
    dtype = dtype_name(X)
    return np.broadcast_to(np.zeros((), "float32" if dtype == "bfloat16" else dtype), tuple(X.shape))


def _as_it_is(values: Any) -> Any:
    return values


def _to_host(X: Any, name: str) -> tuple[Any, Callable[[Any], Any]]:
    if isinstance(X, np.ma.MaskedArray):
        if not np.ma.is_masked(X):
            return _to_host(X.data, name)
        raise C3AlignError(f"{name} is masked; remove the masked rows and pass {name}.data")
    if is_foreign(X):
        host, restored = _to_host(from_dlpack(X, name), name)
        return host, lambda values: to_like(restored(values), X)
    if not is_tensor(X):
        if dtype_name_of(X) != "bfloat16":
            return X, _as_it_is
        return widen_bfloat16(X.view(np.uint16)), lambda values: narrow_bfloat16(values).view(X.dtype)
    values = tensor_values(X, name)
    if dtype_name(X) == "bfloat16":
        wide = Rows(widen_bfloat16(values), "bfloat16", X)
        return wide.values, lambda result: wide.restore(narrow_bfloat16(result))
    return values, Rows(values, dtype_name(X), X).restore
