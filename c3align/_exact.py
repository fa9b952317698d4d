"""Counts and exact sums of rows: what the statistics of a modality and of pairs have in common."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from c3align import ops
from c3align._arguments import check_same_class, check_whole, checked
from c3align._typing import Float64Array, Int64Array
from c3align.errors import C3AlignError, FormatError
from c3align.io import digests
from c3align.ops import fixed

__all__ = ["ONE", "ExactSums"]

MAX_ROWS = 1 << 39  # a norm bin holds the 24-bit mantissas of this many rows
ONE = 1 << fixed.FRACTION_BITS
MAGIC = b"c3stats\x02"  # and the version; bytes of before began with a count below 2**39
_Sums = TypeVar("_Sums", bound="ExactSums")


@dataclass(frozen=True, eq=False, repr=False)
class ExactSums:
    """Counts, and 128-bit sums (2, n_dims) of a quantity and of its square, in units of 2**-40."""

    n_rows: int
    n_zero_rows: int
    sums: Int64Array
    squares: Int64Array

    def __post_init__(self) -> None:
        for array in self._arrays():
            array.flags.writeable = False

    def __repr__(self) -> str:
        zero_rows = f", n_zero_rows={self.n_zero_rows}" if self.n_zero_rows else ""
        return f"{type(self).__name__}(n_rows={self.n_rows}, n_dims={self.n_dims}{zero_rows})"

    def _arrays(self) -> list[Int64Array]:
        return [getattr(self, field.name) for field in fields(self) if field.name not in ("n_rows", "n_zero_rows")]

    @property
    def n_dims(self) -> int:
        """Dimension of the rows."""
        return self.sums.shape[1]

    @cached_property
    def mean(self) -> Float64Array:
        """Mean (n_dims,) float64, the correctly rounded quotient of the sums."""
        self._need_rows()
        return _frozen(fixed.divide(fixed.to_ints(self.sums), self.n_rows * ONE))

    @cached_property
    def variance(self) -> Float64Array:
        """Variance (n_dims,) of each column, ``E[v**2] - E[v]**2``, rounded once; divisor n_rows."""
        return _frozen(fixed.divide(self._scaled_variances(), (self.n_rows * ONE) ** 2))

    @cached_property
    def total_variance(self) -> float:
        """Sum of the variances; ``1 - ||mean||**2`` for unit rows."""
        return sum(self._scaled_variances()) / (self.n_rows * ONE) ** 2

    def _scaled_variances(self) -> list[int]:
        self._need_rows()
        pairs = zip(fixed.to_ints(self.squares), fixed.to_ints(self.sums))
        return [max(0, square * self.n_rows * ONE - total * total) for square, total in pairs]

    def _need_rows(self) -> None:
        if not self.n_rows:
            raise C3AlignError("these statistics hold no rows; learn at least one first")

    @classmethod
    @checked
    def empty(cls: type[_Sums], n_dims: int) -> _Sums:
        """Make the statistics of no rows, the identity of `merge`.

        Parameters
        ----------
        n_dims : int
            Dimension of the rows.
        """
        check_whole("n_dims", n_dims)
        bins = [np.zeros(ops.NORM_BINS, np.int64)] * (len(fields(cls)) - 4)
        return cls(0, 0, *np.zeros((2, 2, n_dims), np.int64), *bins)

    def merge(self: _Sums, other: _Sums) -> _Sums:
        """Combine the statistics of two sets of rows, as ``+`` does.

        Parameters
        ----------
        other : ModalityStatistics or PairStatistics
            Of the same class and width.

        Returns
        -------
        ModalityStatistics or PairStatistics
            Those of all rows together.
        """
        return self._combined(other, 1)

    def subtract(self: _Sums, other: _Sums) -> _Sums:
        """Remove rows that were learned before, as ``-`` does: the right to be forgotten, exactly.

        Parameters
        ----------
        other : ModalityStatistics or PairStatistics
            Of some of these rows; `C3AlignError` if the difference could not come from any rows.

        Returns
        -------
        ModalityStatistics or PairStatistics
            Those of the other rows.
        """
        return self._combined(other, -1)

    __add__ = merge
    __sub__ = subtract

    def _combined(self: _Sums, other: _Sums, sign: int) -> _Sums:
        check_same_class(self, other)
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
        """Find a contradiction in these numbers, as loading and `subtract` do.

        Returns
        -------
        str or None
            What is wrong.
        """
        if not (0 <= self.n_rows < MAX_ROWS and 0 <= self.n_zero_rows < MAX_ROWS):
            return "a count is negative or beyond 2**39"
        if not self.n_rows:
            return "no rows, yet sums" if any(array.any() for array in self._arrays()) else None
        # Cauchy-Schwarz on what the rounding to 2**-40 leaves certain; in whole numbers where floats leave it open
        doubted = ~_is_plain(self.n_rows, fixed.to_floats(self.sums), fixed.to_floats(self.squares))
        for total, square in zip(fixed.to_ints(self.sums[:, doubted]), fixed.to_ints(self.squares[:, doubted])):
            least = max(0, 2 * abs(total) - self.n_rows)
            if square < 0 or least * least > 2 * self.n_rows * ONE * (2 * square + self.n_rows):
                return "the count contradicts the sums"
        return None

    def to_bytes(self) -> bytes:
        """Serialize the sums in a fixed little-endian layout, followed by their SHA-256.

        Returns
        -------
        bytes
            Equal bytes mean equal statistics.
        """
        return digests.signed(MAGIC + self._content())

    def _content(self) -> bytes:
        head = struct.pack("<3q", self.n_rows, self.n_zero_rows, self.n_dims)
        return head + b"".join(array.astype("<i8").tobytes() for array in self._arrays())

    @classmethod
    def from_bytes(cls: type[_Sums], content: bytes) -> _Sums:
        """Load the statistics that `to_bytes` serialized.

        Parameters
        ----------
        content : bytes
            What `to_bytes` returned; `FormatError` for another length, a changed bit, or contradictory numbers.
        """
        if not isinstance(content, bytes | bytearray):
            raise FormatError(f"content must be bytes, got {type(content).__name__}; pass what to_bytes() returned")
        is_old, whole = not content.startswith(MAGIC), bytes(content)
        if not is_old and not digests.is_signed(whole):
            raise FormatError("the statistics are damaged: their digest is another; write them again with to_bytes()")
        content = whole if is_old else whole[len(MAGIC) : -digests.DIGEST_BYTES]
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
        if is_old:
            digests.warn_of_no_digest(cls.__name__)
        return found

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())


def _frozen(values: Float64Array) -> Float64Array:
    values.flags.writeable = False
    return values


def _is_plain(n: int, sums: Float64Array, squares: Float64Array) -> npt.NDArray[np.bool_]:
    """Where sums of n numbers, and of their squares, keep Cauchy-Schwarz by more than floats round."""
    return (1 + 2.0**-40) * sums * sums < n * float(ONE) * squares


def _signed_sum(a: Int64Array, b: Int64Array, sign: int) -> Int64Array:
    if a.ndim == 1:
        return a + sign * b
    return fixed.add(a, b if sign > 0 else fixed.negate(b))
