"""A bridge from an old encoder to a new one: stored rows move to the new space where items cannot be embedded again."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import ops
from c3align._arguments import check_seed
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError, FormatError, PairOrderWarning
from c3align.geometry import misplaced
from c3align.io import atomic, container
from c3align.ops.arrays import as_rows
from c3align.sample import row_keys

__all__ = ["Bridge", "bridge"]

K = 10  # neighbors that recall counts
LEAST_ROWS = 50
ENOUGH_HELD_OUT, MOST_HELD_OUT = 100, 1000
KINDS = ("procrustes", "ridge")
LEAST_OF_CHANCE = 1.3  # which recalls reach by chance alone, as the best of several
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # weights, as shares of the old rows' mean variance
_FORMAT, _KIND = "c3align.Bridge", "bridge"


@dataclass(frozen=True, eq=False)
class Bridge:
    """An affine map from an old encoder's unit rows to a new one's, of one modality.

    Parameters
    ----------
    kind : str
        "procrustes", a rotation, or "ridge", a regression.
    old_mean, new_mean : (n_old,) and (n_new,) float64
        Of unit rows.
    linear : (n_old, n_new) float64
        What old rows less their mean are multiplied by.
    recall : float
        On items that it did not learn from: the share of the ten nearest by the new encoder that the bridge finds.
    n_rows : int
        How many items it learned from.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> old = rng.normal(size=(400, 16))
    >>> new = old @ np.linalg.qr(rng.normal(size=(16, 16)))[0]
    >>> found = bridge(old, new)
    >>> found.kind, round(found.recall, 2), found.apply(old[:3]).shape
    ('procrustes', 1.0, (3, 16))
    """

    kind: str
    old_mean: Float64Array
    new_mean: Float64Array
    linear: Float64Array
    recall: float
    n_rows: int

    def apply(self, X: Array) -> npt.NDArray[np.float32]:
        """Move rows.

        Parameters
        ----------
        X : (n_rows, n_old) array
            Raw rows of the old encoder, of any norm.

        Returns
        -------
        (n_rows, n_new) float32
            Unit rows where the new encoder would put them, by and large.
        """
        unit = _unit(X, "X")
        if unit.shape[1] != len(self.old_mean):
            raise C3AlignError(
                f"X must have the old encoder's {len(self.old_mean)} dimensions, got {unit.shape[1]}; pass its rows"
            )
        moved: npt.NDArray[np.float64] = ops.normalize((unit - self.old_mean) @ self.linear + self.new_mean)
        return moved.astype(np.float32)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file.

        Parameters
        ----------
        path : str or path
            Replaced whole.
        """
        config = {"format": _FORMAT, "format_version": container.SIGNED_SINCE}
        config |= {"kind": self.kind, "recall": self.recall, "n_rows": self.n_rows}
        tensors = {"old_mean": self.old_mean, "new_mean": self.new_mean, "linear": self.linear}
        atomic.write(path, container.dump(tensors, config))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Bridge:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path
            `FormatError` if damaged or no bridge; no code in it can run.
        """
        place = Path(atomic.expanded(path))
        if place.is_dir():
            raise FormatError(f"{path} is a folder and must be a file; pass one that Bridge.save wrote")
        with container.about(place):
            config, found = container.parse(place.read_bytes(), _KIND)
        if config.get("format") != _FORMAT or config.get("format_version") != container.SIGNED_SINCE:
            raise FormatError(f"{path} is no bridge of this version; save it again")
        if "linear" not in found or found["linear"].ndim != 2:
            raise FormatError(f"{path} has no matrix; save the bridge again")
        shape, dtype = found["linear"].shape, np.dtype(np.float64)
        expected = {"linear": (dtype, shape), "old_mean": (dtype, shape[:1]), "new_mean": (dtype, shape[1:])}
        with container.about(place):
            container.check_tensors(found, expected, _KIND)
        kind, n_rows = config.get("kind"), config.get("n_rows")
        if kind not in KINDS or type(n_rows) is not int or n_rows < LEAST_ROWS or not _is_share(config.get("recall")):
            raise FormatError(f"{path} does not say how the bridge was learned; save the bridge again")
        return cls(kind, recall=float(config["recall"]), n_rows=n_rows, **found)

    def __str__(self) -> str:
        found = f"finds {self.recall:.1%} of the {K} nearest of new ones, where chance finds {self.chance:.0%}"
        return f"{self.kind} bridge from {self.n_rows} items: {found}"

    @property
    def chance(self) -> float:
        """The recall that a map without any sense would have among so many items."""
        return K / (_n_held_out(self.n_rows) - 1)


def bridge(old: Array, new: Array, *, seed: int = 0) -> Bridge:
    """Learn a bridge from items that both encoders have embedded, by a rotation or a regression.

    A fifth of the items is held out, 100 to 1,000 of them, or half where they are fewer than 200. It decides between
    the two, and how strong the ridge is; then all of them teach the map. Learn one bridge for each modality.

    Parameters
    ----------
    old, new : (n_rows, n_old) and (n_rows, n_new) array
        Raw rows of both encoders, 50 or more of different items; row i of both is of item i. Items with equal rows
        count once, so that none is learned and held out.
    seed : int
        Of the choice of items that are held out.

    Returns
    -------
    Bridge
        With its recall; print it. A `PairOrderWarning` says where items have moved up, as behind one that a side lacks.

    Raises
    ------
    C3AlignError
        Different numbers of rows, too few, or rows that `ops.normalize` refuses.
    """
    check_seed(seed)
    a, b = _unit(old, "old"), _unit(new, "new")
    if len(a) != len(b):
        raise C3AlignError(f"old and new must be rows of the same items, got {len(a)} and {len(b)}; pass one of each")
    for side in (0, 1):
        once = np.sort(np.unique(row_keys((a, b)[side]), return_index=True)[1])
        a, b = a[once], b[once]
    if len(a) < LEAST_ROWS:
        raise C3AlignError(
            f"old and new must be of {LEAST_ROWS} different items or more, got {len(a)}; embed more by both encoders"
        )
    order = np.random.default_rng(seed).permutation(len(a))
    n_held = _n_held_out(len(a))
    held, known = order[:n_held], order[n_held:]
    wanted = _nearest(b[held], b[held])
    kinds: list[tuple[str, float]] = [("procrustes", 0.0), *(("ridge", weight) for weight in RIDGES)]
    recalls = [_recall(_learned(a[known], b[known], *each), a[held], b[held], wanted) for each in kinds]
    best = int(np.argmax(recalls))
    if recalls[best] < LEAST_OF_CHANCE * K / (n_held - 1):
        warnings.warn(
            f"no bridge was found: it finds {recalls[best]:.1%} of the {K} nearest, and chance {K / (n_held - 1):.1%}; "
            "check that old and new are the same items in the same order",
            UserWarning,
            stacklevel=2,
        )
    else:
        _warn_of_order(a, b, order, kinds[best])
    old_mean, new_mean, linear = _learned(a, b, *kinds[best])
    return Bridge(kinds[best][0], old_mean, new_mean, linear, recalls[best], len(a))


def _warn_of_order(a: Float64Array, b: Float64Array, order: Any, kind: tuple[str, float]) -> None:
    """Say where items have moved up, as behind one that a side lacks: by maps learned from the other half of them."""
    moved = np.empty_like(b)
    for known, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        old_mean, new_mean, linear = _learned(a[known], b[known], *kind)
        moved[others] = ops.normalize((a[others] - old_mean) @ linear + new_mean)
    found = misplaced(moved, b)
    if found is not None:
        warnings.warn(PairOrderWarning(f"with old as X and new as y: {found}"), stacklevel=3)


def _n_held_out(n_rows: int) -> int:
    """Enough that ten of them are few."""
    return min(max(n_rows // 5, ENOUGH_HELD_OUT), n_rows // 2, MOST_HELD_OUT)


def _is_share(value: Any) -> bool:
    return isinstance(value, float | int) and 0 <= value <= 1


def _unit(X: Any, name: str) -> Float64Array:
    rows = as_rows(X.detach() if hasattr(X, "detach") else np.asarray(X), name).widened()
    return np.asarray(ops.normalize(np.asarray(rows)), np.float64)


def _learned(a: Float64Array, b: Float64Array, kind: str, weight: float) -> tuple[Float64Array, ...]:
    """Both means, and the matrix between rows less their mean."""
    old_mean, new_mean = a.mean(axis=0), b.mean(axis=0)
    x, y = a - old_mean, b - new_mean
    if kind == "procrustes":
        left, _, right = np.linalg.svd(x.T @ y, full_matrices=False)
        return old_mean, new_mean, left @ right
    covariance = x.T @ x
    ridge = weight * np.trace(covariance) / len(covariance)
    return old_mean, new_mean, np.linalg.solve(covariance + ridge * np.eye(len(covariance)), x.T @ y)


def _nearest(queries: Float64Array, rows: Float64Array) -> Any:
    """The ten nearest (n, 10) of each but itself."""
    scores = queries @ rows.T
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, min(K, len(rows) - 1) - 1, axis=1)[:, :K]


def _recall(parts: tuple[Float64Array, ...], a: Float64Array, b: Float64Array, wanted: Any) -> float:
    """The share of the ten nearest among new rows that are found among moved ones, by queries of the new encoder."""
    old_mean, new_mean, linear = parts
    found = _nearest(b, ops.normalize((a - old_mean) @ linear + new_mean))
    return float(np.mean([np.isin(mine, theirs).mean() for mine, theirs in zip(wanted, found)]))
