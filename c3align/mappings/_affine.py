"""What a mapping makes of a modality's unit rows: an affine map, one frozen value that has a way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError
from c3align.ops.arrays import dtype_name, is_on_device, is_tensor
from c3align.ops.backends import load

__all__ = ["RowAffine", "RowTransform", "check_rows"]

_MOST_CONDITION = 1e12  # a way back that would lose all of float32 and most of float64


@runtime_checkable
class RowTransform(Protocol):
    """What becomes of unit rows of one modality, before they are brought back to norm 1."""

    def apply(self, rows: Array) -> Array:
        """Map rows, without bringing the results to norm 1.

        Parameters
        ----------
        rows : (n_rows, n_dims) array or tensor, float32 or float64
            Unit rows (of `inverse`: mapped ones). Never written.

        Returns
        -------
        (n_rows, n_dims) array or tensor
            Rows of the same library, dtype and device.

        Raises
        ------
        C3AlignError
            Rows of another width or dtype.
        """
        ...

    def inverse(self) -> RowTransform:
        """Find the way back.

        Returns
        -------
        RowTransform
            The map from mapped rows to unit rows.

        Raises
        ------
        C3AlignError
            Where there is none.
        """
        ...


@dataclass(frozen=True, eq=False)
class RowAffine:
    """An affine map of row vectors: ``(u - mean) * linear + shift``, or ``@ linear`` where that is a matrix.

    Computed in the rows' dtype. A matrix is one product of matrices, whose rounding is BLAS's own: about ``2**-22`` of
    the matrix' largest singular value in float32.

    Parameters
    ----------
    mean : (n_dims,) float64
        What is subtracted from each row u.
    linear : (n_dims,) or (n_dims, n_dims) float64, or None
        A factor per column, a matrix that is multiplied from the right, or nothing.
    shift : (n_dims,) float64, or None
        What is added last, or nothing.

    Examples
    --------
    >>> import numpy as np
    >>> there = RowAffine(np.array([1.0, 0.0]), np.array([2.0, 4.0]))
    >>> there.apply(np.array([[1.5, 0.25]]))
    array([[1., 1.]])
    >>> there.inverse().apply(np.array([[1.0, 1.0]]))
    array([[1.5 , 0.25]])
    """

    mean: Float64Array
    linear: Float64Array | None = None
    shift: Float64Array | None = None

    def __post_init__(self) -> None:
        n_dims = len(self.mean)
        for name, shapes in (("mean", 1), ("linear", 2), ("shift", 1)):
            values = getattr(self, name)
            if values is None:
                continue
            values = np.array(values, np.float64)  # a copy of its own, which nobody changes
            if values.ndim > shapes or set(values.shape) != {n_dims} or not np.isfinite(values).all():
                raise C3AlignError(
                    f"{name} must be finite, one value a column (linear: or a matrix) for {n_dims} dimensions, got "
                    f"shape {values.shape}; solve the mapping from statistics of rows"
                )
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    def __getstate__(self) -> dict[str, Any]:
        """What was solved; what was only rounded or uploaded from it is not copied along."""
        return {name: vars(self)[name] for name in self.__dataclass_fields__}

    @property
    def n_dims(self) -> int:
        """Dimension of the rows."""
        return len(self.mean)

    @property
    def has_matrix(self) -> bool:
        """Whether columns are mixed; other maps the kernels apply in their one pass."""
        return self.linear is not None and self.linear.ndim == 2

    @cached_property
    def gain(self) -> float:
        """Root mean square factor by which lengths change."""
        if self.linear is None:
            return 1.0
        return float(np.linalg.norm(self.linear)) / (math.sqrt(self.n_dims) if self.has_matrix else 1)

    @property
    def offset(self) -> Float64Array:
        """What is left at ``u = 0``: with it the map is ``u * linear + offset``, or ``u @ linear + offset``."""
        moved = -_times(self.mean, self.linear)
        return moved if self.shift is None else moved + self.shift

    def apply(self, rows: Array) -> Array:
        """See `RowTransform.apply`."""
        check_rows(rows, self.n_dims)
        mean, linear, shift, offset = self.rounded(rows)
        if linear is not None and linear.ndim == 2:
            found = rows @ linear
            found += offset
            return found
        found = rows - mean if linear is None else (rows - mean) * linear
        return found if shift is None else found + shift

    def inverse(self) -> RowAffine:
        """Find the way back.

        Returns
        -------
        RowAffine
            The map from mapped rows to unit rows.

        Raises
        ------
        C3AlignError
            Where directions were dropped, so that there is none.
        """
        known: dict[str, RowAffine] = vars(self)
        if "_inverse" not in known:
            shift = np.zeros(self.n_dims) if self.shift is None else self.shift
            known["_inverse"] = RowAffine(shift, _inverted(self.linear), self.mean)
        return known["_inverse"]

    def on_covariance(self, covariance: Float64Array, other: RowAffine) -> Float64Array:
        """``A' C B`` (n_dims, n_dims): the covariance C of u and v across, after this map of u and the other of v."""
        found = covariance
        if self.linear is not None:
            found = self.linear[:, None] * found if self.linear.ndim == 1 else self.linear.T @ found
        return _times(found, other.linear)

    def turned(self, difference: Float64Array) -> Float64Array:
        """What becomes of the difference (n_dims,) of two rows."""
        return _times(difference, self.linear)

    def then(self, other: RowAffine) -> RowAffine:
        """Join two maps into one.

        Parameters
        ----------
        other : RowAffine
            The map that comes after this one.

        Returns
        -------
        RowAffine
            Both in one.
        """
        if other.linear is None or self.linear is None or self.linear.ndim == other.linear.ndim == 1:
            linear = other.linear if self.linear is None else _times(self.linear, other.linear)
        else:
            linear = _matrix(self.linear) @ _matrix(other.linear)
        shift = np.zeros(self.n_dims) if self.shift is None else self.shift
        return RowAffine(self.mean, linear, other.apply(shift[None])[0])

    def vectors_for(self, rows: Any) -> dict[str, Any]:
        """Mean, scale and shift of a map without a matrix, as `c3align.ops.align` takes them.

        In the rows' compute dtype, on their device: rounded and uploaded once.
        """
        vectors: dict[str, Any] = {"mean": self.mean, "scale": self.linear, "shift": self.shift}
        dtype = dtype_name(rows)
        if dtype == "float64" and not is_on_device(rows):
            return vectors
        known: dict[Any, Any] = vars(self).setdefault("_vectors", {})
        if (key := (rows.device, dtype) if is_on_device(rows) else None) not in known:
            known[key] = {name: _rounded(vector, rows, name) for name, vector in vectors.items()}
        return dict(known[key])

    def offset_for(self, rows: Any) -> Any:
        """`offset` in float64, or on the rows' device."""
        return load("eager").vector_on(self.offset, rows, "mean") if is_on_device(rows) else self.offset

    def rounded(self, rows: Array) -> tuple[Any, ...]:
        """Mean, linear, shift and offset in the rows' library and dtype, on their device; rounded and uploaded once."""
        known: dict[Any, Any] = vars(self).setdefault("_known", {})
        key = (getattr(rows, "device", None) if is_tensor(rows) else None, dtype_name(rows))
        if key not in known:
            exact = (self.mean, self.linear, self.shift, self.offset)
            parts: tuple[Any, ...] = tuple(None if part is None else part.astype(key[1]) for part in exact)
            if is_tensor(rows):
                parts = tuple(None if part is None else rows.detach().new_tensor(part) for part in parts)
            known[key] = parts
        return known[key]


def _rounded(vector: Float64Array | None, rows: Any, name: str) -> Any:
    if is_on_device(rows):
        return load("eager").vector_on(vector, rows, name)
    return None if vector is None else vector.astype(np.float32)


def check_rows(rows: Any, n_dims: int) -> None:
    """Refuse what is not float32 or float64 rows of this width."""
    if not hasattr(rows, "dtype"):
        raise C3AlignError(f"rows must be an array or a tensor, got a {type(rows).__name__}; pass (n_rows, {n_dims})")
    if dtype_name(rows) not in ("float32", "float64"):
        raise C3AlignError(f"rows must be float32 or float64, got {dtype_name(rows)}; convert them to float32")
    if rows.ndim != 2 or rows.shape[1] != n_dims:
        raise C3AlignError(
            f"rows must be (n_rows, {n_dims}), got shape {tuple(rows.shape)}; use rows of the encoder that was fitted"
        )


def _times(row: Float64Array, linear: Float64Array | None) -> Float64Array:
    """A row times no factor, factors or a matrix."""
    return row if linear is None else row * linear if linear.ndim == 1 else row @ linear


def _matrix(linear: Float64Array) -> Float64Array:
    return np.diag(linear) if linear.ndim == 1 else linear


def _inverted(linear: Float64Array | None) -> Float64Array | None:
    if linear is None:
        return None
    sizes = np.abs(linear) if linear.ndim == 1 else np.linalg.svd(linear, compute_uv=False)
    if not sizes.min() * _MOST_CONDITION > sizes.max():
        raise C3AlignError(
            "this mapping drops directions, so that there is no way back; choose one that keeps them, such as 'center'"
        )
    return np.asarray(1 / linear if linear.ndim == 1 else np.linalg.inv(linear), np.float64)
