"""Mappings from statistics of each modality alone; no row of one is known to belong to a row of another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from c3align._typing import Float64Array
from c3align.covariance import CovarianceStatistics, symmetric_root
from c3align.errors import C3AlignError
from c3align.mappings._affine import RowAffine
from c3align.mappings._learned import (
    NO_VARIANCE,
    Need,
    Shrinkage,
    Statistics,
    centered,
    check_count,
    check_share,
    check_steps,
    check_target,
    check_variance,
    cholesky,
    means,
    moments,
    second_moments,
    shrunken,
)

__all__ = ["Barycenter", "Center", "Coral", "DropUnequal", "GaussianOT", "Realign", "Standardize"]

_LONGER = 1.5  # below 2 each step still leads down
_ROUNDING = 1e-4
_SAME = 1e-12  # the square of a relative difference of variances that is rounding's own


@dataclass(frozen=True)
class Center:
    """Collapse (C3): ``u - strength * mean``.

    Parameters
    ----------
    strength : float in [0, 1]
        Part of the mean that is subtracted.
    """

    strength: float = 1.0
    needs: ClassVar[tuple[Need, ...]] = ()

    def __post_init__(self) -> None:
        check_share("strength", self.strength)

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowAffine]:
        """See `Mapping.solve`."""
        return {name: RowAffine(mean * self.strength) for name, mean in means(statistics).items()}


@dataclass(frozen=True)
class Standardize:
    """Each column to one standard deviation, the mean of the modalities' own; of a onto b this is TOMCap's.

    Columns without variance in a modality are centered alone.

    Parameters
    ----------
    strength : float in [0, 1]
        Part of the way: columns are multiplied by ``1 + strength * (factor - 1)``.
    """

    strength: float = 1.0
    needs: ClassVar[tuple[Need, ...]] = ()

    def __post_init__(self) -> None:
        check_share("strength", self.strength)

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowAffine]:
        """See `Mapping.solve`."""
        centers = means(statistics)
        spreads = {name: np.sqrt(moments(found).variance) for name, found in statistics.items()}
        common = np.mean(list(spreads.values()), axis=0)
        found = {}
        for name, spread in spreads.items():
            scale = np.divide(common, spread, out=np.ones_like(common), where=spread**2 > NO_VARIANCE)
            found[name] = RowAffine(centers[name], 1 + self.strength * (scale - 1))
        return found


@dataclass(frozen=True)
class Realign:
    """ReAlign: rows around their mean, scaled to the target's trace, around the target's mean, which they then have.

    ``unit(s (u - mean) + c)``, with ``s**2`` the ratio of the total variances and c such that the mean of the results
    is the target's: the published step on the centroid, repeated until it moves nothing. That mean is taken over
    `samples`, brought to the exact mean, or without them by a second-order expansion, which leaves 4 to 60 % of the
    error. The target's rows stay as they are, so that aligned rows lie around its mean and not around zero.

    Parameters
    ----------
    target : str
        Modality that the others are mapped to.
    tolerance : float
        Distance of the mean of the results from the target's at which the steps end.
    max_steps : int
        Steps after which `solve` gives up, with a `C3AlignError`.
    """

    target: str = "image"
    tolerance: float = 1e-9
    max_steps: int = 1000
    needs: ClassVar[tuple[Need, ...]] = ("second_moments",)

    def __post_init__(self) -> None:
        check_steps(self.tolerance, self.max_steps)

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowAffine]:
        """See `Mapping.solve`."""
        centers, samples = means(statistics), learned.get("samples") or {}
        goal = centers[check_target(self.target, statistics)]
        found = {self.target: RowAffine(np.zeros_like(goal))}
        total = moments(statistics[self.target]).total_variance
        for name, source in second_moments(statistics).items():
            check_variance(name, source)
            if name != self.target:
                scale = math.sqrt(total / source.statistics.total_variance)
                center = self._center(source, scale, goal, samples.get(name))
                found[name] = RowAffine(centers[name], np.full_like(goal, scale), center)
        return found

    def _center(self, source: CovarianceStatistics, scale: float, goal: Float64Array, sample: Any) -> Float64Array:
        center, before = goal, math.inf
        for _ in range(self.max_steps):
            missed = goal - _mean_direction(source, scale, center, sample)
            size = float(np.linalg.norm(missed))
            if _is_over(size, before, self.tolerance):
                return center
            before = size
            # along the goal a step moves the mean by 1 - ||goal||**2 of it, across by about all
            center = center + missed + goal * ((goal @ missed) / (1 - goal @ goal))
        raise C3AlignError(
            f"the centroid of {self.target!r} is not reached in {self.max_steps} steps (still "
            f"{size:.1e} away); raise max_steps or tolerance"
        )


@dataclass(frozen=True)
class Coral:
    """CORAL: other modalities whitened, ``S**-1/2``, and colored as the target, ``S_target**1/2``.

    Parameters
    ----------
    target : str
        Modality that the others are mapped to; its rows are centered alone.
    strength : float in [0, 1]
        Part of the way: ``I + strength * (A - I)`` of the map A.
    shrinkage : "ledoit_wolf", "oas" or None
        How covariances are drawn to multiples of the identity; None leaves them, and refuses singular ones.
    """

    target: str = "text"
    strength: float = 1.0
    shrinkage: Shrinkage = "ledoit_wolf"
    needs: ClassVar[tuple[Need, ...]] = ("second_moments",)

    def __post_init__(self) -> None:
        check_share("strength", self.strength)

    def _map(self, source: Float64Array, goal: Float64Array) -> Float64Array:
        return np.asarray(np.linalg.solve(symmetric_root(source), symmetric_root(goal)))

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowAffine]:
        """See `Mapping.solve`."""
        centers, covariances = means(statistics), shrunken(statistics, self.shrinkage)
        goal = covariances[check_target(self.target, statistics)]
        found = {name: self._map(covariance, goal) for name, covariance in covariances.items() if name != self.target}
        return centered(centers, found, self.strength)


@dataclass(frozen=True)
class GaussianOT(Coral):
    """Optimal transport of other modalities to the target, as between Gaussians (Knott and Smith): the least motion.

    ``A = S**-1/2 (S**1/2 S_target S**1/2)**1/2 S**-1/2``, and ``I + strength * (A - I)`` for a part of the way.

    Parameters
    ----------
    target, strength, shrinkage : optional
        As in `Coral`.
    """

    def _map(self, source: Float64Array, goal: Float64Array) -> Float64Array:
        return _transport(source, goal)


@dataclass(frozen=True)
class Barycenter:
    """Optimal transport of every modality to the Wasserstein barycenter of all: of two modalities, both half way.

    Of two ``(I + A) / 2`` and ``(I + A**-1) / 2``, A the transport of `GaussianOT`; of more by the fixed point of
    Alvarez-Esteban, del Barrio, Cuesta-Albertos and Matran (2016), until the norm of the mean transport less I is at
    most `tolerance`, or below 1e-4 and no longer shrinks, as rounding has it for covariances close to singular.

    Parameters
    ----------
    strength, shrinkage : optional
        As in `Coral`.
    tolerance : float
        The norm at which the steps end, for three modalities or more.
    max_steps : int
        Steps after which `solve` gives up, with a `C3AlignError`.
    """

    strength: float = 1.0
    shrinkage: Shrinkage = "ledoit_wolf"
    tolerance: float = 1e-7
    max_steps: int = 1000
    needs: ClassVar[tuple[Need, ...]] = ("second_moments",)

    def __post_init__(self) -> None:
        check_share("strength", self.strength)
        check_steps(self.tolerance, self.max_steps)

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowAffine]:
        """See `Mapping.solve`."""
        centers, covariances = means(statistics), shrunken(statistics, self.shrinkage)
        found = dict(zip(covariances, self._maps(list(covariances.values()))))
        return centered(centers, found, self.strength)

    def _maps(self, covariances: list[Float64Array]) -> list[Float64Array]:
        identity = np.eye(len(covariances[0]))
        if len(covariances) == 1:
            return [identity]
        if len(covariances) == 2:
            across = _transport(*covariances)
            return [(identity + across) / 2, (identity + np.linalg.inv(across)) / 2]
        center = self._fixed_point(covariances)
        return [_transport(covariance, center) for covariance in covariances]

    def _fixed_point(self, covariances: list[Float64Array]) -> Float64Array:
        center, identity = np.mean(covariances, axis=0), np.eye(len(covariances[0]))
        before = math.inf
        # ten seconds at 768 dimensions: a bar after two, where there is a terminal
        for _ in tqdm(iter(range(self.max_steps)), "barycenter", unit="step", delay=2, leave=False, disable=None):
            step = np.mean([_transport(center, covariance) for covariance in covariances], axis=0) - identity
            size = float(np.linalg.norm(step))
            if _is_over(size, before, self.tolerance):
                return center
            before = size
            # half as far again saves a third of the steps; close by, so that the result stays positive
            moved = identity + (_LONGER if size < 1 / 2 else 1) * step
            center = moved @ center @ moved
            center = (center + center.T) / 2
        raise C3AlignError(f"no barycenter is reached in {self.max_steps} steps; raise max_steps or tolerance")


@dataclass(frozen=True)
class DropUnequal:
    """Without the directions in which the modalities' variances differ most, as a ratio; there is no way back.

    Of two modalities those v of ``S_a v = r S_b v`` with the largest ``|log r|``; of more those with the largest
    squares of ``S_k`` less the mean covariance, where that is the identity. Equal variances are never dropped.

    Parameters
    ----------
    n_directions : int
        The most directions that are dropped, from 1 to n_dims - 1.
    shrinkage : "ledoit_wolf", "oas" or None
        How covariances are drawn to multiples of the identity; None leaves them, and refuses singular ones.
    """

    n_directions: int = 32
    shrinkage: Shrinkage = "ledoit_wolf"
    needs: ClassVar[tuple[Need, ...]] = ("second_moments",)

    def solve(self, statistics: Statistics, **learned: Any) -> dict[str, RowAffine]:
        """See `Mapping.solve`."""
        centers, covariances = means(statistics), shrunken(statistics, self.shrinkage)
        n_dims = len(next(iter(centers.values())))
        fewer = f", as mapping=mappings.DropUnequal(n_directions={n_dims // 2})" if n_dims > 1 else ""
        check_count("n_directions", self.n_directions, 1, n_dims - 1, fewer)
        root = cholesky(np.mean(list(covariances.values()), axis=0))
        unequal = np.zeros((n_dims, n_dims))
        for covariance in covariances.values():
            excess = np.linalg.solve(root, np.linalg.solve(root, covariance).T) - np.eye(n_dims)
            unequal += excess @ excess.T
        sizes, vectors = np.linalg.eigh(unequal)
        largest = vectors[:, n_dims - self.n_directions :][:, sizes[n_dims - self.n_directions :] > _SAME]
        basis = np.linalg.qr(np.linalg.solve(root.T, largest))[0]
        return centered(centers, dict.fromkeys(centers, np.eye(n_dims) - basis @ basis.T))


def _is_over(size: float, before: float, tolerance: float) -> bool:
    """Whether an iteration ends with a step of this size: small enough, or no smaller than before but for rounding."""
    return size <= tolerance or before <= size < _ROUNDING


def _transport(source: Float64Array, goal: Float64Array) -> Float64Array:
    """``S**-1/2 (S**1/2 S_goal S**1/2)**1/2 S**-1/2``, symmetric, by one decomposition.

    Any root R of S (``R R^T = S``) gives it as ``R^-T (R^T S_goal R)^1/2 R^-1``; here R is Cholesky's.
    """
    root = cholesky(source)
    sizes, vectors = np.linalg.eigh(root.T @ goal @ root)
    if sizes[0] <= 0:
        raise C3AlignError("a covariance is singular to rounding; fit more rows, or choose shrinkage='oas'")
    half = np.linalg.solve(root.T, vectors) * sizes**0.25
    return half @ half.T


def _mean_direction(source: CovarianceStatistics, scale: float, center: Float64Array, sample: Any) -> Float64Array:
    """Mean of ``unit(a)``, ``a = scale * (u - mean) + center``: over a sample, or expanded to the second order.

    As u has norm 1, ``||a||**2 = r**2 + 2 w . (u - mean)`` exactly, with ``w = scale * center - scale**2 * mean``.
    """
    if sample is not None:
        rows = scale * (sample - sample.mean(axis=0)) + center
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
    square = center @ center + scale**2 * source.statistics.total_variance
    slope = scale * center - scale**2 * source.statistics.mean
    along = source.covariance @ slope
    bend = (slope @ along) / square**2
    return (center * (1 + 1.5 * bend) - scale * along / square * (1 + 7.5 * bend)) / math.sqrt(square)
