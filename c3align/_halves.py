"""Rows to choose by: drawn from what is given, grouped by what they are about, and split into halves."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from c3align import geometry
from c3align._arguments import as_groups
from c3align._typing import Int64Array
from c3align.aligner import C3Aligner
from c3align.errors import KEEP, C3AlignError, without_advice
from c3align.io.rows import RowSource
from c3align.sample import row_keys, together

__all__ = ["MAX_ROWS", "Rows", "Split", "draw", "half"]

MAX_ROWS, MIN_ROWS = 2000, 40


class Split(NamedTuple):
    """An aligner that has learned some rows, and others.

    Attributes
    ----------
    sides : (X, Y)
    learned, tested : (mask of X's rows, mask of Y's rows)
    about : (n_tested of Y,) int64
        The group of each tested row of Y, and of its partner; its class where there are labels.
    """

    aligner: C3Aligner
    names: tuple[str, str]
    sides: tuple[Any, Any]
    learned: tuple[Any, Any]
    tested: tuple[Any, Any]
    about: Int64Array
    seed: int

    def aligned(self) -> list[Any]:
        """Tested rows of both modalities, aligned."""
        whose = zip(self.sides, self.tested, self.names)
        return [self.aligner.transform(side[mask], modality=name) for side, mask, name in whose]


def half(groups: Int64Array, rng: np.random.Generator) -> Any:
    """A mask of about half of the rows; those of a group stay together."""
    found, which = np.unique(groups, return_inverse=True)
    return (rng.permutation(len(found)) < len(found) // 2)[which]


@dataclass(frozen=True)
class Rows:
    """Rows of both modalities, the groups of both, and what is known to belong together."""

    names: tuple[str, str]
    sides: tuple[Any, Any]
    groups: tuple[Int64Array, Int64Array]
    paired: bool
    labels: Int64Array | None
    is_doubted: bool = False  # whether they look like rows of two encoders, or like no pairs

    def split(self, seed: int) -> Split:
        """An aligner with all that any candidate needs, of one half of the rows; and the other half."""
        rng = np.random.default_rng(seed)
        y = half(self.groups[1], rng)
        x = y if self.paired else half(self.groups[0], rng)
        tested, about = (~x, ~y), self.groups[1]
        if self.labels is not None:  # class prompts are all known
            x, about = np.ones_like(x), self.labels
            tested = x, ~y
        aligner = C3Aligner(mapping="quantile", second_moments=True, noise="residual" if self.paired else "isotropic")
        (a, b), (first, second) = self.names, (side[mask] for side, mask in zip(self.sides, (x, y)))
        if self.paired:
            aligner.fit(first, second, modality=a, y_modality=b)
        else:
            aligner.fit(first, modality=a).partial_fit(second, modality=b)
        return Split(aligner, self.names, self.sides, (x, y), tested, about[tested[1]], seed)


def draw(
    given: tuple[Any, Any], names: tuple[str, str], *, pairs: bool, groups: Any, labels: Any, max_rows: int
) -> tuple[Rows, list[str]]:
    """At most `max_rows` rows of each modality, evenly spaced, and what there is to say about them.

    The parameters are those of `c3align.choosing.choose`; class prompts are all drawn.
    """
    _check(names, pairs, groups, labels, max_rows)
    x, y = (RowSource.of(rows, name) for rows, name in zip(given, "XY"))
    if x.n_dims != y.n_dims or (pairs and x.n_rows != y.n_rows):
        raise C3AlignError(f"X has shape {x.shape} and Y {y.shape}; pass rows of one encoder, pairs equally many")
    chosen = _even(x.n_rows, max_rows if labels is None else x.n_rows), _even(y.n_rows, max_rows)
    sides, keys = zip(*map(_taken, (x, y), chosen))
    if pairs:
        more = [] if groups is None else [as_groups("groups", groups, y.n_rows, "row of Y")[chosen[1]]]
        keys = (together(*keys, *more),) * 2
    elif labels is None:
        first = [np.unique(key, return_index=True)[1] for key in keys]  # no copies, which are no neighbors
        sides, keys = (tuple(part[index] for part, index in zip(parts, first)) for parts in (sides, keys))
    else:
        labels = _classes(labels, x.n_rows, y.n_rows)[chosen[1]]
    for name, key in list(zip(names, keys))[labels is not None :]:
        if (n := len(np.unique(key))) < MIN_ROWS:
            raise C3AlignError(f"{name!r} must have {MIN_ROWS} different rows or groups, got {n}; pass more rows")
    rows = Rows(names, sides, keys, pairs, labels)
    drawn = [
        f"{len(side):,} of {source.n_rows:,} {name} rows were used, evenly spaced{'' if pairs else ', no row twice'}"
        for name, source, side in zip(names, (x, y), sides)
        if len(side) < source.n_rows
    ]
    doubts = _doubts(rows)
    return replace(rows, is_doubted=bool(doubts)), drawn + doubts


def _check(names: tuple[str, str], pairs: bool, groups: Any, labels: Any, max_rows: int) -> None:
    if len(set(names)) != 2:
        raise C3AlignError(f"names must be those of two modalities, got {names}; pass names= with one for each")
    if pairs and labels is not None:
        raise C3AlignError("pairs must not be given with labels, got both; pass labels alone for classification")
    if groups is not None and not pairs:
        raise C3AlignError("groups must come with pairs, which they are about; pass pairs too, or omit groups")
    if isinstance(max_rows, bool) or not isinstance(max_rows, int | np.integer) or max_rows < MIN_ROWS:
        raise C3AlignError(f"max_rows must be an integer from {MIN_ROWS}, got {max_rows!r}; omit it for {MAX_ROWS}")


def _even(n_rows: int, most: int) -> Int64Array:
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).astype(np.int64))


def _taken(source: RowSource, chosen: Int64Array) -> tuple[Any, Int64Array]:
    """Some rows and their keys."""
    rows = source.take(chosen)
    try:
        with without_advice(KEEP):
            return rows, row_keys(rows)
    except C3AlignError as error:
        every = "every row" if len(chosen) == source.n_rows else f"{len(chosen)} even rows of {source.n_rows}"
        raise C3AlignError(f"{source.name} ({every}): {error}") from error


def _classes(labels: Any, n_classes: int, n_rows: int) -> Int64Array:
    found = as_groups("labels", labels, n_rows, "row of Y")
    if n_rows and not 0 <= found.min() <= found.max() < n_classes:
        raise C3AlignError(
            f"labels must be from 0 to {n_classes - 1}, as X has {n_classes} class prompts, got {found.min()} to "
            f"{found.max()}; pass the number of each class's row of X"
        )
    return found


def _doubts(rows: Rows) -> list[str]:
    """A warning, which is a note too, where the rows look like those of two encoders, or pairs are in no order."""
    found = geometry.doubt(*rows.sides, paired=rows.paired)
    if found is None:
        return []
    warnings.warn(found, stacklevel=5)
    return [str(found)]
