"""The rows that all but the means are measured on: every row or an even sample, before and after alignment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from c3align import geometry
from c3align._typing import Float64Array
from c3align.errors import C3AlignError

When = Literal["before", "after"]
WHENS: tuple[When, When] = ("before", "after")
KS = (1, 2, 5, 10, 20, 50, 100)  # depths of the recall curve
N_NEIGHBORS = 10
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
        ks = [k for k in KS if k <= len(b)]
        return self._once((when, "recall", i, j), lambda: geometry.recall_at_k(a, b, ks=ks))

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
        a, b = (rows[even(len(rows), _COMPARED)] for rows in (self.rows(when)[i], self.rows(when)[j]))
        found = {"matched": np.einsum("nd,nd->n", self.rows(when)[i], self.rows(when)[j])} if self.paired else {}
        between = a @ b.T
        found["unmatched"] = between[~np.eye(len(a), dtype=bool)] if self.paired else between.ravel()
        for name, rows in ((self.names[i], a), (self.names[j], b)):
            found[f"within {name}"] = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
        return found
