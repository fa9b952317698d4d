"""What fit learns: exact sums over unit rows, of one modality and of pairs.

The state is integers (`c3align.ops.fixed`), so that the same rows give the same bytes for any batch split, order,
merge tree or backend, and rows that were added can be taken away again (promise P1). Floats appear only when a
mean or a variance is read, each rounded once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from c3align import ops
from c3align._typing import Array, Float64Array, Int64Array, ZeroRows
from c3align.errors import C3AlignError, FormatError
from c3align.ops import fixed
from c3align.ops.arrays import as_rows, is_on_device, is_tensor
from c3align.ops.backends import load

__all__ = ["ModalityStatistics", "PairStatistics", "pair_differences", "unit_pairs"]

MAX_ROWS = 1 << 39  # a norm bin holds the 24-bit mantissas of this many rows
_ONE = 1 << fixed.FRACTION_BITS
_PAIR_BLOCK_ELEMENTS = 1 << 21
_Sums = TypeVar("_Sums", bound="_ExactSums")


@dataclass(frozen=True, eq=False)
class _ExactSums:
    """Counts, and 128-bit sums (2, n_dims) of a quantity and of its square, in units of 2**-40."""

    n_rows: int
    n_zero_rows: int
    sums: Int64Array
    squares: Int64Array

    def __post_init__(self) -> None:
        for array in self._arrays():
            array.flags.writeable = False

    def _arrays(self) -> list[Int64Array]:
        return [getattr(self, field.name) for field in fields(self) if field.name not in ("n_rows", "n_zero_rows")]

    @property
    def n_dims(self) -> int:
        return self.sums.shape[1]

    @cached_property
    def mean(self) -> Float64Array:
        """Mean (n_dims,), float64, exactly rounded quotient of the sums."""
        self._need_rows()
        return _frozen(fixed.divide(fixed.to_ints(self.sums), self.n_rows * _ONE))

    @cached_property
    def variance(self) -> Float64Array:
        """Variance (n_dims,) of each column, ``E[v**2] - E[v]**2`` with one rounding; divisor n_rows."""
        return _frozen(fixed.divide(self._scaled_variances(), (self.n_rows * _ONE) ** 2))

    @cached_property
    def total_variance(self) -> float:
        """Sum of the variances; ``1 - ||mean||**2`` for unit rows."""
        return sum(self._scaled_variances()) / (self.n_rows * _ONE) ** 2

    def _scaled_variances(self) -> list[int]:
        self._need_rows()
        pairs = zip(fixed.to_ints(self.squares), fixed.to_ints(self.sums))
        return [max(0, square * self.n_rows * _ONE - total * total) for square, total in pairs]

    def _need_rows(self) -> None:
        if not self.n_rows:
            raise C3AlignError("these statistics hold no rows; fit them on some first")

    @classmethod
    def empty(cls: type[_Sums], n_dims: int) -> _Sums:
        """Statistics of no rows: the identity of `merge`."""
        bins = [np.zeros(ops.NORM_BINS, np.int64)] * (len(fields(cls)) - 4)
        return cls(0, 0, *np.zeros((2, 2, n_dims), np.int64), *bins)

    def merge(self: _Sums, other: _Sums) -> _Sums:
        """Statistics of both sets of rows together."""
        return self._combined(other, 1)

    def subtract(self: _Sums, other: _Sums) -> _Sums:
        """Statistics without the rows of `other`, which must be among these: the right to be forgotten, exactly.

        Raises
        ------
        C3AlignError
            When the difference could not come from any rows.
        """
        return self._combined(other, -1)

    __add__ = merge
    __sub__ = subtract

    def _combined(self: _Sums, other: _Sums, sign: int) -> _Sums:
        if type(self) is not type(other):
            raise TypeError(f"cannot combine {type(self).__name__} with {type(other).__name__}")
        if self.n_dims != other.n_dims:
            raise C3AlignError(
                f"statistics of {self.n_dims} and of {other.n_dims} dimensions cannot be combined; "
                "use rows of one encoder"
            )
        counts = (self.n_rows + sign * other.n_rows, self.n_zero_rows + sign * other.n_zero_rows)
        arrays = [_signed_sum(a, b, sign) for a, b in zip(self._arrays(), other._arrays())]
        result = type(self)(*counts, *arrays)
        problem = result.problem()
        if problem:
            raise C3AlignError(
                f"the result could not come from any rows ({problem}); subtract only rows that were added, "
                "and keep below 2**39 rows"
            )
        return result

    def problem(self) -> str | None:
        """Why these numbers contradict one another, or None: what loading and `subtract` check."""
        if not (0 <= self.n_rows < MAX_ROWS and 0 <= self.n_zero_rows < MAX_ROWS):
            return "a count is negative or beyond 2**39"
        if not self.n_rows:
            return "no rows, yet sums" if any(array.any() for array in self._arrays()) else None
        n, squares = self.n_rows, fixed.to_ints(self.squares)
        for total, square in zip(fixed.to_ints(self.sums), squares):
            # Cauchy-Schwarz on what the rounding to 2**-40 leaves certain
            least = max(0, 2 * abs(total) - n)
            if square < 0 or least * least > 2 * n * _ONE * (2 * square + n):
                return "the count contradicts the sums"
        return None

    def to_bytes(self) -> bytes:
        """The whole state in a fixed little-endian layout: equal bytes, equal statistics."""
        head = struct.pack("<3q", self.n_rows, self.n_zero_rows, self.n_dims)
        return head + b"".join(array.astype("<i8").tobytes() for array in self._arrays())

    @classmethod
    def from_bytes(cls: type[_Sums], content: bytes) -> _Sums:
        """The statistics of which `to_bytes` made these.

        Raises
        ------
        FormatError
            Bytes of another length, or numbers that contradict one another.
        """
        if not isinstance(content, bytes | bytearray):
            raise FormatError(f"content must be bytes, got {type(content).__name__}; pass what to_bytes() returned")
        n_rows, n_zero_rows, n_dims = struct.unpack("<3q", content[:24]) if len(content) > 24 else (0, 0, 0)
        found = cls.empty(n_dims) if 0 < 32 * n_dims <= len(content) else None
        sizes = [] if found is None else [array.size for array in found._arrays()]
        if found is None or len(content) != 24 + 8 * sum(sizes):
            raise FormatError(f"these are not the bytes of {cls.__name__}; pass what its to_bytes() returned")
        numbers = np.split(np.frombuffer(content, "<i8", offset=24).astype(np.int64), np.cumsum(sizes)[:-1])
        arrays = [part.reshape(array.shape) for part, array in zip(numbers, found._arrays())]
        found = cls(n_rows, n_zero_rows, *arrays)
        if problem := found.problem():
            raise FormatError(f"the statistics are damaged ({problem}); write them again with to_bytes()")
        return found

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())


def _frozen(values: Float64Array) -> Float64Array:
    values.flags.writeable = False
    return values


def _signed_sum(a: Int64Array, b: Int64Array, sign: int) -> Int64Array:
    if a.ndim == 1:
        return a + sign * b
    return fixed.add(a, b if sign > 0 else fixed.negate(b))


@dataclass(frozen=True, eq=False)
class ModalityStatistics(_ExactSums):
    """Exact statistics of one modality's unit rows and raw norms.

    Attributes
    ----------
    n_rows : int
        Rows counted.
    n_zero_rows : int
        Rows without a direction, seen with ``zero_rows="keep"``; they are in no sum.
    sums, squares : (2, n_dims) int64
        128-bit sums of ``rint(u * 2**40)`` and ``rint(u**2 * 2**40)``.
    norms : (256,) int64
        Sums of the 24-bit mantissas of the raw norms, one bin for each binary exponent.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(100, 8))
    >>> whole = ModalityStatistics.from_rows(rows)
    >>> whole == ModalityStatistics.from_rows(rows[:30]) + ModalityStatistics.from_rows(rows[30:])
    True
    """

    norms: Int64Array

    @classmethod
    def from_rows(cls, X: Array, *, zero_rows: ZeroRows = "raise") -> ModalityStatistics:
        """Statistics of the rows X (n_rows, n_dims), floating, NumPy or torch, of any norm; see `ops.moments`."""
        return cls(*ops.moments(X, zero_rows=zero_rows))

    @cached_property
    def mean_norm(self) -> float:
        """Mean Euclidean norm of the rows as given (each rounded to float32): what `translate` restores."""
        self._need_rows()
        total = sum(int(mantissas) << exponent for exponent, mantissas in enumerate(self.norms))
        return total / (self.n_rows << 150)  # bin b holds multiples of 2**(b - 126 - 24)

    @property
    def standard_error(self) -> float:
        """Expected distance between this mean and the modality's true mean: ``sqrt(total_variance / n_rows)``."""
        return float(np.sqrt(self.total_variance / self.n_rows))

    def problem(self) -> str | None:
        """See `_ExactSums.problem`; unit rows and their norms allow more to be checked."""
        found = super().problem()
        if found or not self.n_rows:
            return found
        n, energy, bins = self.n_rows, sum(fixed.to_ints(self.squares)), [int(mantissas) for mantissas in self.norms]
        if abs(energy - n * _ONE) > n * (_ONE // 2**20 + self.n_dims):
            return "the count contradicts the sums of squares of unit rows"
        # a mantissa has its highest of 24 bits, so that each bin tells how few rows and how many it may be of
        fewest, most = sum(-(-found // ((1 << 24) - 1)) for found in bins), sum(found >> 23 for found in bins)
        if any(found < 1 << 23 for found in bins if found) or not fewest <= n <= most:
            return "the count contradicts the norms"
        return None


@dataclass(frozen=True, eq=False)
class PairStatistics(_ExactSums):
    """Exact statistics of the differences ``u_x - u_y`` of paired unit rows: ``u_x - u_y = gap + eps``.

    Attributes
    ----------
    n_rows : int
        Pairs counted.
    n_zero_rows : int
        Pairs left out because one of the two rows has no direction (``zero_rows="keep"``).
    sums, squares : (2, n_dims) int64
        128-bit sums of ``rint(D * 2**40)`` and ``rint(D**2 * 2**40)``, D the float64 differences.
    """

    def problem(self) -> str | None:
        """See `_ExactSums.problem`; unit rows lie 2 apart at most."""
        found = super().problem()
        if found is None and sum(fixed.to_ints(self.squares)) > self.n_rows * (4 * _ONE + _ONE // 2**20 + self.n_dims):
            return "the squares are not those of unit rows"
        return found

    @classmethod
    def from_rows(cls, X: Array, Y: Array, *, zero_rows: ZeroRows = "raise") -> PairStatistics:
        """Statistics of the pairs (X[i], Y[i]), both (n_rows, n_dims) floating.

        Raises
        ------
        C3AlignError
            Shapes that differ, and rows that `ops.normalize` refuses.
        """
        total = cls.empty(_view(X, "X").shape[1])
        for differences, n_without in pair_differences(X, Y, zero_rows=zero_rows):
            total = total + cls.of_differences(differences, n_without)
        return total

    @classmethod
    def of_differences(cls, differences: Any, n_without: int = 0) -> PairStatistics:
        """Statistics of a block that `pair_differences` gave."""
        sums, squares = (fixed.widen(_fixed_sums(values)) for values in (differences, differences**2))
        return cls(len(differences), n_without, sums, squares)

    def negated(self) -> PairStatistics:
        """The same pairs the other way round: differences ``u_y - u_x``."""
        return PairStatistics(self.n_rows, self.n_zero_rows, fixed.negate(self.sums), self.squares)

    @property
    def gap(self) -> Float64Array:
        """Constant part c (n_dims,) of the difference (C3, eq. 1)."""
        return self.mean

    @property
    def sigma(self) -> float:
        """Standard deviation of the residual eps per coordinate: ``sqrt(E||eps||**2 / n_dims)``."""
        return float(np.sqrt(self.total_variance / self.n_dims))

    @property
    def mean_cosine(self) -> float:
        """Mean cosine of a pair: ``1 - E||u_x - u_y||**2 / 2``."""
        self._need_rows()
        return 1 - sum(fixed.to_ints(self.squares)) / (2 * self.n_rows * _ONE)


def _fixed_sums(values: Any) -> Int64Array:
    if is_tensor(values):
        return load("eager").fixed_sums(values)
    return np.rint(values * float(_ONE)).astype(np.int64).sum(axis=0)


def pair_differences(X: Array, Y: Array, *, zero_rows: ZeroRows = "raise") -> Iterator[tuple[Any, int]]:
    """Differences ``u_x - u_y`` (n, n_dims) float64 of paired unit rows, block by block, on the rows' device.

    With each block comes the number of its pairs that are left out; see `unit_pairs`.
    """
    return ((a - b, n_without) for a, b, n_without in unit_pairs(X, Y, zero_rows=zero_rows))


def unit_pairs(X: Array, Y: Array, *, zero_rows: ZeroRows = "raise") -> Iterator[tuple[Any, Any, int]]:
    """Paired unit rows, both (n, n_dims) float64, block by block, on the rows' device.

    With each block comes the number of its pairs that are left out because a row has no direction. Refusals are those
    of `PairStatistics.from_rows`, before the first block.
    """
    x, y = _view(X, "X"), _view(Y, "y")
    if x.shape != y.shape:
        shapes = f"X has shape {tuple(x.shape)} and y {tuple(y.shape)}"
        raise C3AlignError(f"{shapes}; pass row i of y as the partner of row i of X")
    if is_tensor(x) != is_tensor(y) or (is_tensor(x) and x.device != y.device):
        raise C3AlignError("X and y are on different devices; pass both on one")
    for rows in (x, y):
        ops.moments(rows, zero_rows=zero_rows)  # refuses with the row's number in the whole
    step = max(1, _PAIR_BLOCK_ELEMENTS // max(x.shape[1], 4))  # squares up to 4 have to fit in an int64
    for start in range(0, x.shape[0], step):
        a, b = (_unit_rows(rows, slice(start, start + step), zero_rows) for rows in (x, y))
        whole = a.any(axis=1) & b.any(axis=1)
        yield a[whole], b[whole], int((~whole).sum())


def _view(X: Any, name: str) -> Any:
    """Rows in this process's memory, or a tensor on its device."""
    return X if is_on_device(X) else as_rows(X, name)


def _unit_rows(rows: Any, block: slice, zero_rows: ZeroRows) -> Any:
    """Unit rows in float64, normalized in the compute dtype but not rounded back to float16 or bfloat16."""
    if is_tensor(rows):
        eager = load("eager")
        return eager.widest(ops.normalize(eager.computed(rows[block].detach()), zero_rows=zero_rows))
    wide = rows.take(block).widened()
    return ops.normalize(wide, zero_rows=zero_rows).astype(np.float64)
