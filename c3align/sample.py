"""A small fair sample of a modality's unit rows, the same for any split of them: for what moments do not tell.

A row's key is a hash of what the row holds, and the rows of the smallest keys are kept. So nobody has to number the
rows, and the sample of a merge is the sample of the whole, to the bit. Equal rows have one key and are kept once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import ops
from c3align._arguments import as_groups, check_by_modality, check_same_class, check_whole, checked, shown
from c3align._typing import Array, Int64Array, ZeroRows
from c3align.errors import KEEP, C3AlignError, without_advice
from c3align.ops import reference
from c3align.ops.arrays import as_rows, from_dlpack, is_foreign, is_on_device, is_tensor
from c3align.ops.backends import load

__all__ = ["RowSample", "related", "row_keys", "samples_of", "together"]

SIZE = 1024  # scores of 1,024 rows with as many others give a standard deviation to a per cent or two
MOST_LINKS = 32  # of a row: the other side of a link knows it too, where a row has more
_BLOCK_WORDS = 1 << 17  # a block of rows that stays in the caches
_DEVICE_WORDS = 1 << 22
_KEY = (0x63336373, 0x616D706C)  # of Philox, fixed, so that all samples are chosen alike


@dataclass(frozen=True, eq=False)
class RowSample:
    """Up to `size` of a modality's unit rows, chosen by their content. It holds rows: share it as you would share them.

    Parameters
    ----------
    size : int
        The most rows that are kept.
    keys : (n,) int64
        Keys of the rows, rising: the smallest of all that were seen.
    groups : (n,) int64
        What each row is about: rows of one group are related. A row of no named group has its key here.
    rows : (n, n_dims) float32
        Unit rows.
    counts : (n,) int64
        How often each of them came.
    links : (m, 2) int64
        A row's key and that of a partner of it in another modality, rising: the 32 smallest of each row.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(5000, 8))
    >>> whole = RowSample.from_rows(rows)
    >>> parts = RowSample.from_rows(rows[:99]) + RowSample.from_rows(rows[99:])
    >>> whole.rows.shape, bool((whole.rows == parts.rows).all())
    ((1024, 8), True)
    """

    size: int
    keys: Int64Array = field(repr=False)
    groups: Int64Array = field(repr=False)
    rows: npt.NDArray[np.float32] = field(repr=False)
    counts: Int64Array = field(repr=False)
    links: Int64Array = field(repr=False)

    def __post_init__(self) -> None:
        for array in (self.keys, self.groups, self.rows, self.counts, self.links):
            array.flags.writeable = False

    @property
    def n_dims(self) -> int:
        """Dimension of the rows."""
        return self.rows.shape[1]

    @classmethod
    @checked
    def empty(cls, n_dims: int, *, size: int = SIZE) -> RowSample:
        """Make a sample of no rows, the identity of `merge` for samples of this size.

        Parameters
        ----------
        n_dims : int
            Dimension of the rows.
        size : int
            The most rows that are kept.
        """
        check_whole("n_dims", n_dims)
        check_whole("size", size)
        none = np.zeros(0, np.int64)
        return cls(size, none, none, np.zeros((0, n_dims), np.float32), none, none.reshape(0, 2))

    @classmethod
    @checked
    def from_rows(
        cls,
        X: Array,
        *,
        groups: npt.ArrayLike | None = None,
        partners: npt.ArrayLike | None = None,
        size: int = SIZE,
        zero_rows: ZeroRows = "raise",
    ) -> RowSample:
        """Sample the unit rows of X.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor, floating
            Rows of any norm.
        groups : (n_rows,) integers, optional
            What each row is about, in numbers that other modalities share: those of its picture for five captions and
            their picture. By default every row is of its own.
        partners : (n_rows,) int64, optional
            For pairs (X, Y) the keys of Y's rows, `row_keys`, and for a sample of Y those of X's.
        size : int
            The most rows that are kept.
        zero_rows : "raise" or "keep"
            Rows without a direction are refused, or left out.

        Raises
        ------
        C3AlignError
            As `ops.normalize`; groups that are not one integer a row; a size that is no integer above zero.
        """
        check_whole("size", size)
        X = from_dlpack(X) if is_foreign(X) else X
        keys, usable = _keys_of(X, zero_rows)
        given = keys if groups is None else as_groups("groups", groups, len(keys))
        where = np.flatnonzero(usable)
        chosen = where[_smallest(keys[where], given[where], size)]
        kept, rows = keys[chosen], _on_host(_unit_rows(X, chosen, zero_rows))
        others = keys if partners is None else as_groups("partners", partners, len(keys))
        links = _linked(kept, np.stack([keys, others], axis=1)[where])
        return cls(
            int(size), kept, given[chosen], rows, _counted(kept, keys[where], np.ones(len(where), np.int64)), links
        )

    def merge(self, other: RowSample) -> RowSample:
        """Combine the samples of two sets of rows.

        Parameters
        ----------
        other : RowSample
            A sample of the same width.

        Returns
        -------
        RowSample
            The sample of all rows together, to the bit, of the smaller `size`; ``+`` does the same.
        """
        check_same_class(self, other)
        if self.n_dims != other.n_dims:
            raise C3AlignError(
                f"samples of {self.n_dims} and of {other.n_dims} dimensions cannot be combined; use rows of one encoder"
            )
        size = min(self.size, other.size)
        keys, groups = (np.concatenate(both) for both in ((self.keys, other.keys), (self.groups, other.groups)))
        chosen = _smallest(keys, groups, size)
        kept, rows = keys[chosen], np.concatenate([self.rows, other.rows])[chosen]
        counts = _counted(kept, keys, np.concatenate([self.counts, other.counts]))
        links = _linked(kept, np.concatenate([self.links, other.links]))
        return RowSample(size, kept, groups[chosen], rows, counts, links)

    __add__ = merge

    def problem(self) -> str | None:
        """Find a contradiction in these numbers, as loading does.

        Returns
        -------
        str or None
            What is wrong.
        """
        n = len(self.keys)
        if not (n <= self.size and self.groups.shape == (n,) and self.rows.ndim == 2 and len(self.rows) == n):
            return "a sample has more rows than its size, or arrays of different lengths"
        if not np.isfinite(self.rows).all() or (np.abs(np.linalg.norm(self.rows, axis=1) - 1) > 1e-5).any():
            return "the rows of a sample are not of norm 1"
        if (self.keys[1:] <= self.keys[:-1]).any() or not np.array_equal(_hashed(self.rows), self.keys):
            return "the keys of a sample are not those of its rows"
        if self.counts.shape != (n,) or (self.counts < 1).any():
            return "the counts of a sample are not one above zero for each row"
        if self.links.shape[1:] != (2,) or not np.array_equal(_linked(self.keys, self.links), self.links):
            return "the links of a sample are not those of its rows"
        return None

    @checked
    def drawn(self, most: int = 4 * SIZE) -> npt.NDArray[np.float32]:
        """Give each row as often as it came, by and large.

        Parameters
        ----------
        most : int
            About how many rows are given; where more came, in proportion.

        Returns
        -------
        (n, n_dims) float32
            Unit rows.
        """
        total = int(self.counts.sum())
        places = (np.arange(min(total, max(most, len(self.keys)))) + 0.5) * (total / max(1, min(total, most)))
        return self.rows[np.searchsorted(np.cumsum(self.counts), places, side="right").clip(0, len(self.keys) - 1)]


@checked
def related(samples: Mapping[str, RowSample]) -> dict[str, Int64Array]:
    """Number what the rows of several modalities are about: rows that pairs or groups connect have one number.

    Parameters
    ----------
    samples : mapping of str to RowSample
        Samples of rows that were learned together.

    Returns
    -------
    dict of str to (n,) int64
        For each modality a number for each of its rows, such as `RowSample.from_rows` takes as `groups`.
    """
    if not all(isinstance(found, RowSample) for found in samples.values()) or not samples:
        raise C3AlignError(f"samples must be a RowSample for each modality, got {shown(samples)}; pass some")
    edges = [np.stack([found.keys, found.groups], axis=1) for found in samples.values()]
    edges += [found.links for found in samples.values()]
    numbers, labels = _connected(np.concatenate(edges))
    return {name: labels[np.searchsorted(numbers, found.keys)] for name, found in samples.items()}


def together(*keys: Int64Array) -> Int64Array:
    """Number rows so that those which share a key with one another, directly or through others, have one number.

    Parameters
    ----------
    *keys : (n,) int64
        Of the rows, of their partners, of what they are about; row i of each belongs to row i of the others. A key of
        one kind is not that of another, even if it is the same number.

    Returns
    -------
    (n,) int64
        From 0, in the order in which they appear.
    """
    apart = [key ^ salt for key, salt in zip(keys, _factors(len(keys)))]
    found, labels = _connected(np.concatenate([np.stack([apart[0], key], axis=1) for key in apart]))
    _, first, which = np.unique(labels[np.searchsorted(found, apart[0])], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[which].astype(np.int64)


@checked
def samples_of(rows: Mapping[str, Array], groups: Mapping[str, Any], size: int = SIZE) -> dict[str, RowSample]:
    """Sample the rows of each modality.

    Parameters
    ----------
    rows : mapping of str to (n_rows, n_dims) array or tensor
        Rows of one width, of any norm.
    groups : mapping of str to (n_rows,) integers
        What each row is about, for some or none of the modalities, as in `RowSample.from_rows`.
    size : int
        The most rows of a modality that are kept.

    Returns
    -------
    dict of str to RowSample
        In alphabetical order.

    Raises
    ------
    C3AlignError
        No modality; groups of others; rows of different widths; and as `RowSample.from_rows`.
    """
    check_by_modality("rows", rows)
    if not set(groups) <= set(rows):
        raise C3AlignError(
            f"rows are of {[*rows]} and groups of {[*groups]}; pass rows, and groups of some of their modalities"
        )
    found = {}
    for name in sorted(rows):
        X = rows[name] if is_on_device(rows[name]) or is_foreign(rows[name]) else as_rows(rows[name], name)
        with without_advice(KEEP):
            found[name] = RowSample.from_rows(X, groups=groups.get(name), size=size)
    widths = {name: sample.n_dims for name, sample in found.items()}
    if len(set(widths.values())) > 1:
        raise C3AlignError(f"the modalities' rows differ in width ({widths}); pass rows of one encoder")
    return found


@checked
def row_keys(X: Array, *, zero_rows: ZeroRows = "raise") -> Int64Array:
    """Hash each row's direction to a key of 64 bits.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor, floating
        Rows of any norm; float16 and bfloat16 ones have the keys of their float32 values.
    zero_rows : "raise" or "keep"
        Whether rows without a direction are refused or have one key, as equal rows do.

    Returns
    -------
    (n_rows,) int64
        Equal for rows that are equal as float32 unit rows.
    """
    return _keys_of(from_dlpack(X) if is_foreign(X) else X, zero_rows)[0]


def _connected(links: Int64Array) -> tuple[Int64Array, Int64Array]:
    """All keys in links (m, 2), rising, and a number of each: equal for keys that are connected."""
    from scipy import sparse

    keys, which = np.unique(links, return_inverse=True)
    ends = which.reshape(-1, 2).T
    graph = sparse.coo_array((np.ones(ends.shape[1], bool), tuple(ends)), shape=(len(keys), len(keys)))
    return keys, sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)


def _keys_of(X: Any, zero_rows: ZeroRows) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
    """Keys (n_rows,), and which of the rows have a direction."""
    X = X if is_on_device(X) else as_rows(X)
    n_rows = X.shape[0]
    keys, usable = np.empty(n_rows, np.int64), np.empty(n_rows, bool)
    step = max(1, 2 * (_DEVICE_WORDS if is_on_device(X) else _BLOCK_WORDS) // X.shape[1])
    for start in range(0, n_rows, step):
        block = slice(start, start + step)
        unit = _unit_rows(X, block, zero_rows)
        keys[block], usable[block] = _hashed(unit), _on_host(unit.any(1))
    return keys, usable


def _unit_rows(X: Any, index: Any, zero_rows: ZeroRows) -> Any:
    """Some unit rows in float32, on the rows' device."""
    if is_on_device(X):
        return ops.normalize(load("eager").computed(X[index].detach()), zero_rows=zero_rows).float()
    rows = as_rows(X)
    try:
        return ops.normalize(rows.take(index).widened(), zero_rows=zero_rows).astype(np.float32, copy=False)
    except C3AlignError:
        ops.moments(rows, zero_rows=zero_rows)  # refuses with the row's number in the whole
        raise


def _hashed(unit: Any) -> Int64Array:
    """Keys (n,) of float32 rows: a sum of their bits, 64 at a time, times odd numbers, stirred by Philox."""
    xp: Any = np
    if is_tensor(unit):
        import torch as xp
    if unit.shape[1] % 2:
        unit = xp.concatenate([unit, unit[:, :1] * 0], 1)
    unit = unit + unit.dtype.type(0) if xp is np else unit + 0  # -0.0 is 0.0
    words, factors = unit.view(xp.int64), _factors(unit.shape[1] // 2)
    factors = factors if xp is np else xp.from_numpy(factors).to(unit.device)
    # signs and upper halves are brought down too, for of a product only the lowest 64 bits count
    sums = _on_host(((words ^ (words >> 31)) * factors).sum(1)).view(np.uint64)
    counter = [sums & np.uint64(0xFFFFFFFF), sums >> np.uint64(32), 0, 0]
    high, low, *_ = reference.philox4x32(counter, _KEY)
    return (high.astype(np.uint64) << np.uint64(32) | low).view(np.int64)


@cache
def _factors(n: int) -> Int64Array:
    """Odd numbers (n,) of 64 bits."""
    high, low, *_ = reference.philox4x32([np.arange(n, dtype=np.uint64), 0, 0, 1], _KEY)
    return (high.astype(np.uint64) << np.uint64(32) | low | np.uint64(1)).view(np.int64)


def _smallest(keys: Int64Array, groups: Int64Array, size: int) -> Int64Array:
    """Positions of the smallest keys, rising, each once and with its smallest group."""
    order = np.lexsort((groups, keys))
    ordered = keys[order]
    return order[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(order)]][:size]


def _counted(kept: Int64Array, keys: Int64Array, counts: Int64Array) -> Int64Array:
    """How often each of the kept keys, which rise, came."""
    where = _places(kept, keys)
    found = np.zeros(len(kept), np.int64)
    np.add.at(found, where[where >= 0], counts[where >= 0])
    return found


def _linked(kept: Int64Array, pairs: Int64Array) -> Int64Array:
    """Links (m, 2) of the kept keys, rising: at most `MOST_LINKS` of each, and none to themselves."""
    pairs = np.unique(pairs[(_places(kept, pairs[:, 0]) >= 0) & (pairs[:, 0] != pairs[:, 1])], axis=0)
    first = np.searchsorted(pairs[:, 0], pairs[:, 0])
    return pairs[np.arange(len(pairs)) - first < MOST_LINKS]


def _places(kept: Int64Array, keys: Int64Array) -> Int64Array:
    """Where keys stand among the kept ones, which rise; -1 for the others."""
    if not len(kept):
        return np.full(len(keys), -1)
    where = np.searchsorted(kept, keys).clip(0, len(kept) - 1)
    return np.where(kept[where] == keys, where, -1)


def _on_host(values: Any) -> Any:
    return values.detach().cpu().numpy() if is_tensor(values) else values
