"""The rows that all but the means are measured on: every row or an even sample, before and after alignment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from c3align import geometry
from c3align._typing import Float64Array, Int64Array
from c3align.errors import C3AlignError

When = Literal["before", "after"]
WHENS: tuple[When, When] = ("before", "after")
KS = (1, 2, 5, 10, 20, 50, 100)  # depths of the recall curve
N_NEIGHBORS = 10
FALSE_POSITIVES = 0.01  # of scores between two modalities, which sets the threshold for all
_COMPARED = 1000  # rows whose cosines with one another make a histogram
_Found = TypeVar("_Found")


def even(n_rows: int, at_most: int) -> Any:
    """Numbers of evenly spaced rows."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, at_most)).astype(np.int64))


@dataclass(frozen=True, eq=False)
class Samples:
    """Unit rows of each modality, before and after alignment, and cached measures of them."""

    names: tuple[str, ...]
    n_rows: tuple[int, ...]  # all rows of each modality; the arrays below may hold an even sample of them
    paired: bool  # whether row i of one modality belongs to row i of each other
    before: list[Float64Array]  # (n_measured, n_dims) of each modality
    after: list[Float64Array]
    _known: dict[Any, Any] = field(default_factory=dict)

    @property
    def n_dims(self) -> int:
        return self.before[0].shape[1]

    @property
    def n_measured(self) -> tuple[int, ...]:
        return tuple(len(rows) for rows in self.before)

    @property
    def is_sampled(self) -> bool:
        return self.n_measured != self.n_rows

    def rows(self, when: When) -> list[Float64Array]:
        return self.before if when == "before" else self.after

    def index(self, name: str) -> int:
        if name not in self.names:
            raise C3AlignError(f"no modality {name!r} here; pass one of {', '.join(map(repr, self.names))}")
        return self.names.index(name)

    def need_pairs(self) -> None:
        if not self.paired:
            raise C3AlignError(
                "this is a picture of pairs; pass rows of which row i of each belongs to row i of the others"
            )

    def _once(self, key: Any, measure: Callable[[], _Found]) -> _Found:
        if key not in self._known:
            self._known[key] = measure()
        return self._known[key]

    def spectrum(self, i: int) -> Float64Array:
        """Eigenvalues of a modality's covariance, before."""
        return self._once(("spectrum", i), lambda: geometry.covariance_spectrum(self.before[i]))

    def effective_dimension(self, i: int) -> int:
        return self._once(("effective", i), lambda: geometry.effective_dimension(self.before[i]))

    def recall(self, when: When, i: int, j: int) -> dict[int, float]:
        """Recall at `KS` of i's rows searching j's."""
        a, b = self.rows(when)[i], self.rows(when)[j]
        ks, groups = [k for k in KS if k <= len(b)], self.groups(i, j)
        return self._once((when, "recall", i, j), lambda: geometry.recall_at_k(a, b, ks=ks, groups=groups))

    def groups(self, i: int, j: int) -> Int64Array:
        """Number of each pair; those that equal rows connect, such as five captions of one picture, have one."""
        return self._once(("groups", i, j), lambda: geometry.pair_groups(self.before[i], self.before[j]))

    def places(self, i: int) -> Int64Array:
        """Where a modality's rows are, each of several equal ones once."""
        return self._once(("places", i), lambda: geometry.distinct_rows(self.before[i]))

    def distinct(self, when: When, i: int) -> Float64Array:
        """A modality's rows, each of several equal ones once."""
        return self.rows(when)[i][self.places(i)]

    def gap(self, when: When, i: int, j: int) -> Float64Array:
        a, b = self.rows(when)[i], self.rows(when)[j]
        return self._once((when, "gap", i, j), lambda: geometry.gap_vector(a, b))

    def residuals(self, i: int, j: int) -> Float64Array:
        """eps of ``u_i - u_j = c + eps`` for each pair, (n_measured, n_dims)."""
        difference = self.before[i] - self.before[j]
        return difference - difference.mean(axis=0)

    def residual_spectrum(self, i: int, j: int) -> Float64Array:
        """Eigenvalues of the residuals' covariance."""
        return self._once(("residual", i, j), lambda: geometry.residual_spectrum(self.before[i], self.before[j]))

    def residual_participation(self, i: int, j: int) -> float:
        """How many dimensions the residuals fill."""
        a, b = self.before[i], self.before[j]
        return self._once(("fills", i, j), lambda: geometry.residual_participation(a, b))

    def spread(self, i: int) -> float:
        """Root mean square norm of a modality's centered unit rows."""
        return float(np.sqrt(self.before[i].var(axis=0).sum()))

    def cosines(self, when: When, i: int, j: int) -> dict[str, Float64Array]:
        """Cosines of matched and unmatched pairs, and within each modality; "matched" only where rows are paired."""
        return self._once((when, "cosines", i, j), lambda: self._cosines(when, i, j))

    def _cosines(self, when: When, i: int, j: int) -> dict[str, Float64Array]:
        found = {"matched": np.einsum("nd,nd->n", self.rows(when)[i], self.rows(when)[j])} if self.paired else {}
        (a, of_a), (b, of_b) = (self._compared(when, one, i, j) for one in (i, j))
        found["unmatched"] = (a @ b.T)[_apart(of_a[:, None], of_b)] if self.paired else (a @ b.T).ravel()
        for name, rows, groups in ((self.names[i], a, of_a), (self.names[j], b, of_b)):
            x, y = np.triu_indices(len(rows), 1)
            others = _apart(groups[x], groups[y])
            found[f"within {name}"] = (rows @ rows.T)[x[others], y[others]]
        return found

    def _compared(self, when: When, one: int, i: int, j: int) -> tuple[Float64Array, Int64Array]:
        """An even sample of a modality's rows, and the groups that they have as pairs of i and j."""
        places = self.places(one)
        places = places[even(len(places), _COMPARED)]
        return self.rows(when)[one][places], self.groups(i, j)[places] if self.paired else places

    def false_positives(self, when: When, i: int, j: int, scaled: bool = False) -> tuple[float, float]:
        """Shares of unrelated scores within i, and within j, above what 1 % of those between them exceed.

        `scaled` scores are less their mean and over their standard deviation, as a `Calibration` makes them.
        """
        cosines = self.cosines(when, i, j)
        parts = [cosines[name] for name in ("unmatched", f"within {self.names[i]}", f"within {self.names[j]}")]
        if scaled:
            parts = [(scores - scores.mean()) / (scores.std() or 1) for scores in parts]
        between, *within = parts
        limit = np.quantile(between, 1 - FALSE_POSITIVES)
        shares = [float((scores > limit).mean()) for scores in within]
        return shares[0], shares[1]


def _apart(a: Int64Array, b: Int64Array) -> Any:
    """Which groups differ; all of them where none do."""
    apart = a != b
    return apart if apart.any() else np.ones_like(apart)
