"""One request to a kernel: as given (`Request`), and checked (`RowMap`, the twin of that in `csrc/core/row_map.h`)."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from c3align._typing import ZeroRows
from c3align.errors import C3AlignError
from c3align.ops.arrays import Rows, as_vector, is_tensor

__all__ = [
    "NO_NOISE",
    "Noise",
    "NoiseRequest",
    "Request",
    "RowMap",
    "check_goal",
    "check_row_numbers",
    "raise_for_negative",
    "stream",
]

_NUMBERS = 2**64
MOST_GOAL = 1 + 1e-6  # the norm of a mean of unit rows, and its rounding
_LEAST_NORM, _MOST_NORM = 2.0**-126, 2.0**126


class Noise(NamedTuple):
    """What is added to a mapped row: the row's normals z, shaped by these steps in this order, where given.

    Vectors are in the rows' compute dtype, NumPy arrays or tensors on the rows' device.

    columns : (d,) standard deviation per column, ``e = z * columns``; without it ``e = z``, scaled by `sigma`
    direction : (d,) unit vector v; ``e - (e . v) v``, so that the noise is orthogonal to it
    radius : if above 0, the norm of every row's noise, ``e * (radius / ||e||)``, instead of ``e * sigma``
    random_strength : whether the noise is multiplied by a uniform number in (0, 1) per row
    row_ids : (n_rows,) the number of each row in the stream, instead of `row_offset` and the numbers after it
    first_row : () int64 on a device, added to `row_offset` when the kernel runs
    """

    sigma: float = 0.0  # 1 where `columns` has it
    columns: Any = None
    direction: Any = None
    radius: float = 0.0
    random_strength: bool = False
    seed: int = 0
    row_offset: int = 0
    row_ids: Any = None
    first_row: Any = None

    def of(self, rows: slice) -> Noise:
        """The noise of some of the rows."""
        if self.row_ids is None:
            return self._replace(row_offset=self.row_offset + rows.start)
        return self._replace(row_ids=self.row_ids[rows])


NO_NOISE = Noise()


class RowMap(NamedTuple):
    """What becomes of a row x; vectors (d,) are in the compute dtype of the rows, None where not used.

    ``u = x / ||x||`` (x itself where `is_raw`), ``(u - mean) * scale + shift + noise``, brought to norm 1 if
    `renormalize`; then, with a `goal`, moved from the sphere to around it (see `c3align.ops.invert`); times `norm`.
    """

    mean: Any = None
    scale: Any = None
    shift: Any = None
    noise: Noise = NO_NOISE
    renormalize: bool = True
    is_raw: bool = False
    goal: Any = None
    norm: float = 1.0

    @property
    def compares(self) -> bool:
        """Whether rows at the mean have no direction; see `c3align.ops.reference`."""
        return self.renormalize and self.mean is not None and self.shift is None


class NoiseRequest(NamedTuple):
    """The arguments of `corrupt` as they were given."""

    sigma: Any
    direction: Any
    fixed_norm: bool
    random_strength: bool
    seed: Any
    row_offset: Any
    row_ids: Any = None

    @property
    def is_matrix(self) -> bool:
        """Whether sigma is the root of a covariance."""
        return getattr(self.sigma, "ndim", 0) == 2

    def prepare(self, n_rows: int, n_dims: int, dtype: type[np.floating[Any]]) -> Noise:
        """Check everything; vectors come out as NumPy arrays in `dtype`, rounded once."""
        place = self.place(n_rows)
        columns, sigma, total = self._strength(n_dims, dtype)
        direction = None if self.direction is None else _unit(self.direction, n_dims, dtype)
        radius = total if self.fixed_norm else 0.0
        return Noise(sigma, columns, direction, radius, bool(self.random_strength), **place)

    def place(self, n_rows: int) -> dict[str, Any]:
        """Seed, row offset and numbers of the rows (or None), as the backends take them."""
        self.check_one_place()
        place: dict[str, Any] = stream(self.seed, self.row_offset, n_rows)
        place["row_ids"] = None if self.row_ids is None else _row_numbers(self.row_ids, n_rows)
        return place

    def check_one_place(self) -> None:
        """Refuse both row numbers and a row offset."""
        offset = self.row_offset
        if self.row_ids is not None and not (isinstance(offset, int | np.integer) and offset == 0):
            raise C3AlignError("row_offset and row_ids both number the rows; pass one of them")

    def _strength(self, n_dims: int, dtype: type[np.floating[Any]]) -> tuple[Any, float, float]:
        """The vector of standard deviations or None, the number beside it, and the root of the sum of squares."""
        if isinstance(self.sigma, float) or not np.ndim(self.sigma):
            try:
                sigma = float(self.sigma)
            except (TypeError, ValueError):
                sigma = math.nan
            if not (math.isfinite(sigma) and sigma >= 0):
                raise C3AlignError(f"sigma must be a finite number >= 0, got {self.sigma!r}")
            return None, sigma, sigma * math.sqrt(n_dims)
        columns = as_vector(self.sigma, n_dims, np.float64, "sigma")
        if (columns < 0).any():
            raise C3AlignError("sigma holds negative values; pass standard deviations >= 0, one per column")
        total = float(np.sqrt(np.sum(columns**2)))
        return columns.astype(dtype), 1.0 if total else 0.0, total


class Request(NamedTuple):
    """A row map as given, in arrays of any library, and the policy for rows without a direction."""

    mean: Any = None
    scale: Any = None
    shift: Any = None
    noise: NoiseRequest | None = None
    renormalize: bool = True
    is_raw: bool = False
    goal: Any = None
    norm: float = 1.0
    zero_rows: ZeroRows = "raise"

    @property
    def has_matrix(self) -> bool:
        """Whether its noise has a full covariance, which `c3align.ops._matrix_noise` makes."""
        return self.noise is not None and self.noise.is_matrix

    def on_host(self, rows: Rows) -> RowMap:
        """Checked, for rows in memory."""
        (n_rows, n_dims), dtype = rows.values.shape, rows.compute_dtype
        mean = None if self.mean is None else as_vector(self.mean, n_dims, dtype, "mean")
        scale = None if self.scale is None else as_vector(self.scale, n_dims, dtype, "scale")
        shift = None if self.shift is None else as_vector(self.shift, n_dims, dtype, "shift")
        goal = None if self.goal is None else as_vector(self.goal, n_dims, dtype, "goal")
        if goal is not None:
            check_goal(math.sqrt(float(goal.astype(np.float64) @ goal)))
        noise = NO_NOISE if self.noise is None else self.noise.prepare(n_rows, n_dims, dtype)
        return RowMap(mean, scale, shift, noise, self.renormalize, self.is_raw, goal, self.checked_norm())

    def checked_norm(self) -> float:
        """The norm as a float, if a float32 row can have it."""
        is_number = isinstance(self.norm, numbers.Real) and not isinstance(self.norm, bool)
        if not (is_number and _LEAST_NORM <= self.norm <= _MOST_NORM):
            raise C3AlignError(f"norm must be a number in [2**-126, 2**126], got {self.norm!r}")
        return float(self.norm)


def check_goal(norm: float) -> None:
    """Refuse a goal outside the sphere, which cannot be a mean of unit rows."""
    if norm > MOST_GOAL:
        raise C3AlignError(
            f"the target mean must be a mean of unit rows, of norm 1 at most, got a norm of {norm:.3g}; pass "
            "statistics_[modality].mean"
        )


def stream(seed: Any, row_offset: Any, n_rows: int = 0) -> dict[str, Any]:
    """Both as integers, checked to fit in 64 bits together with the rows."""
    for name, number in (("seed", seed), ("row_offset", row_offset)):
        try:
            is_in_range = 0 <= operator.index(number) < _NUMBERS
        except TypeError:
            is_in_range = False
        if not is_in_range:
            raise C3AlignError(f"{name} must be an integer in [0, 2**64), got {number!r}")
    seed, row_offset = operator.index(seed), operator.index(row_offset)
    if row_offset + n_rows > _NUMBERS:
        raise C3AlignError(f"row_offset={row_offset} leaves no room for {n_rows} rows; pass a smaller one")
    return {"seed": seed, "row_offset": row_offset}


def _row_numbers(row_ids: Any, n_rows: int) -> npt.NDArray[np.uint64]:
    values = np.asarray(row_ids.detach().cpu().numpy() if is_tensor(row_ids) else row_ids)
    check_row_numbers(tuple(values.shape), str(values.dtype), n_rows)
    if values.dtype.kind == "i" and (values < 0).any():
        raise_for_negative()
    return np.ascontiguousarray(values, np.uint64)


def check_row_numbers(shape: tuple[int, ...], dtype: str, n_rows: int) -> None:
    """Refuse anything but one integer per row."""
    if not dtype.startswith(("int", "uint")):
        raise C3AlignError(f"row_ids must be int64 or uint64, got {dtype}; pass the number of each row")
    if shape != (n_rows,):
        raise C3AlignError(f"row_ids has shape {shape} and X has {n_rows} rows; pass one number per row")


def raise_for_negative() -> NoReturn:
    """Refuse negative row numbers."""
    raise C3AlignError("row_ids holds negative numbers; pass numbers in [0, 2**64)")


def _unit(direction: Any, n_dims: int, dtype: type[np.floating[Any]]) -> Any:
    vector = as_vector(direction, n_dims, np.float64, "direction")
    norm = math.sqrt(math.fsum(vector * vector))
    if not norm:
        raise C3AlignError("direction is zero; pass the gap, or another vector with a direction")
    return (vector / norm).astype(dtype)
