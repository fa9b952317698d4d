"""Mappings that learn from rows of which it is known which belong together."""

from __future__ import annotations

import math
from collections import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from c3align._arguments import check_number
from c3align._typing import Float64Array
from c3align.cross_covariance import CrossCovariance
from c3align.errors import C3AlignError
from c3align.mappings._affine import RowAffine
from c3align.mappings._learned import (
    Need,
    Shrinkage,
    Statistics,
    centered,
    check_count,
    check_target,
    cholesky,
    means,
    shrunken,
)

__all__ = ["CCA", "Procrustes", "Ridge"]


@dataclass(frozen=True)
class Procrustes:
    """Other modalities turned to their partners in the target: the rotation R of least ``||X R - Y||**2``.

    Plus ``alpha * ||R - I||**2``: what few pairs do not determine stays where it is. 0 is the classic problem, which
    takes more pairs than dimensions.

    Parameters
    ----------
    target : str
        Modality that the others are mapped to; its rows are centered alone.
    alpha : float >= 0
        Weight of the second term.
    """

    target: str = "text"
    alpha: float = 1.0
    needs: ClassVar[tuple[Need, ...]] = ("pairs",)

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha)

    def _map(self, found: CrossCovariance) -> Float64Array:
        left, sizes, right = np.linalg.svd(found.n_rows * found.covariance + self.alpha * np.eye(len(found.products)))
        if sizes[-1] <= sizes[0] * len(sizes) * np.finfo(np.float64).eps:
            raise C3AlignError(f"{found.n_rows} pairs do not determine a rotation; pass more, or alpha above 0")
        return left @ right

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowAffine]:
        """See `Mapping.solve`."""
        centers, target = means(statistics), check_target(self.target, statistics)
        pairs = {name: _pairs(learned.get("pairs"), name, target) for name in centers if name != target}
        return centered(centers, {name: self._map(found) for name, found in pairs.items()})


@dataclass(frozen=True)
class Ridge(Procrustes):
    """Other modalities by linear regression on their partners in the target: W of least ``||X W - Y||**2``.

    Plus ``alpha * ||W - I||**2``, drawn to leaving rows as they are and not to zero: I and scikit-learn's
    ``Ridge(alpha).fit(X, Y - X)``.

    Parameters
    ----------
    target, alpha : optional
        As in `Procrustes`.
    """

    def _map(self, found: CrossCovariance) -> Float64Array:
        square, identity = found.x.covariance, np.eye(len(found.products))
        penalized = square + self.alpha / found.n_rows * identity
        cholesky(penalized, f"the problem with {found.n_rows} pairs and alpha={self.alpha}")
        return identity + np.linalg.solve(penalized, found.covariance - square)


@dataclass(frozen=True)
class CCA:
    """Both of two modalities by their canonical variates (Hotelling): the `n_components` that correlate most.

    Variates of variance 1 are laid on axes close to the directions they come from, times one factor that keeps the mean
    square norm. All other directions are dropped, so that there is no way back.

    Parameters
    ----------
    n_components : int
        From 1 to n_dims.
    shrinkage : "ledoit_wolf", "oas" or None
        How covariances are drawn to multiples of the identity; None leaves them, and refuses singular ones.
    """

    n_components: int = 32
    shrinkage: Shrinkage = "ledoit_wolf"
    needs: ClassVar[tuple[Need, ...]] = ("pairs",)

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowAffine]:
        """See `Mapping.solve`."""
        centers = means(statistics)
        if len(centers) != 2:
            raise C3AlignError(f"cca maps two modalities, got {len(centers)}; choose 'ridge' for more")
        a, b = centers
        found = _pairs(learned.get("pairs"), a, b)
        n_dims = len(centers[a])
        check_count("n_components", self.n_components, 1, n_dims, f", as mapping=mappings.CCA(n_components={n_dims})")
        shrunk = shrunken({a: found.x, b: found.y}, self.shrinkage)
        roots = [cholesky(shrunk[name]) for name in (a, b)]
        across = np.linalg.solve(roots[1], np.linalg.solve(roots[0], found.covariance).T).T
        left, _, right = np.linalg.svd(across)
        variates = [
            np.linalg.solve(root.T, vectors[:, : self.n_components]) for root, vectors in zip(roots, (left, right.T))
        ]
        axes = _nearest_axes(variates[0] + variates[1])
        size = math.sqrt((np.trace(shrunk[a]) + np.trace(shrunk[b])) / 2 / self.n_components)
        return centered(centers, {name: size * found @ axes.T for name, found in zip((a, b), variates)})


def _nearest_axes(directions: Float64Array) -> Float64Array:
    """The orthonormal columns closest to these: the polar factor."""
    left, _, right = np.linalg.svd(directions, full_matrices=False)
    return left @ right


def _pairs(pairs: abc.Mapping[tuple[str, str], CrossCovariance] | None, a: str, b: str) -> CrossCovariance:
    """Pairs of a with b, whichever way round they were learned."""
    known = pairs or {}
    found = known[a, b] if (a, b) in known else known[b, a].transposed() if (b, a) in known else None
    if found is None or found.n_rows < 2:
        raise C3AlignError(f"this mapping needs two pairs or more of {a!r} and {b!r}; fit rows that belong together")
    return found
