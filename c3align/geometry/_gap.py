"""The gap between two modalities and the residual of pairs around it: ``u_a - u_b = c + eps`` (C3, Proposition 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from c3align._arguments import check_seed, checked
from c3align._typing import Array, Float64Array, Int64Array
from c3align.errors import C3AlignError
from c3align.geometry._rows import Source, as_pairs, check_widths, mean_of, moments_of_blocks, pair_blocks, unit_blocks
from c3align.geometry._spectrum import participation_ratio, spectrum_of
from c3align.ops.arrays import as_rows


class MeanStd(NamedTuple):
    """Mean and standard deviation of a quantity; NaN when there was nothing to measure.

    Parameters
    ----------
    mean, std : float
        The standard deviation has the divisor n.
    """

    mean: float
    std: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} +- {self.std:.2f}"


@dataclass(frozen=True, eq=False)
class GroupedGap:
    """Whether the gap is one constant, orthogonal to both modalities: a column of C3's Table 1.

    Parameters
    ----------
    n_pairs, n_groups, group : int
        Number of pairs, of groups, and of pairs per group; the remaining pairs are dropped.
    length : MeanStd
        Length of the groups' gaps ``c_k``; noise is included: ``E||c_k||**2 = ||c||**2 + tr(Cov(eps)) / group``.
    direction : MeanStd
        Cosine of one group's gap with the next one's.
    orthogonality : (MeanStd, MeanStd)
        Cosine between the gap and differences of rows within a, and within b; see `gap_orthogonality`.
    residual : MeanStd
        Mean and deviation of `residual_mean` over its dimensions: zero up to rounding; the paper prints it.
    residual_mean : (n_dims,) float64
        Mean of ``eps_i = (u_a - u_b)_i - c`` in each dimension.
    residual_direction : MeanStd
        Cosine of one residual with the next one's. Isotropic noise has a standard deviation of ``1 / sqrt(n_dims)``.
    """

    n_pairs: int
    n_groups: int
    group: int
    length: MeanStd
    direction: MeanStd
    orthogonality: tuple[MeanStd, MeanStd]
    residual: MeanStd
    residual_mean: Float64Array
    residual_direction: MeanStd

    def __str__(self) -> str:
        a, b = self.orthogonality
        return (
            f"gap of {self.n_groups} groups of {self.group}: length {self.length}, direction {self.direction}, "
            f"orthogonality {a} and {b}; residual: mean {self.residual}, direction {self.residual_direction}"
        )


@checked
def gap_vector(a: Source, b: Source) -> Float64Array:
    """Compute the gap c, the mean of a's unit rows minus that of b's (C3, Proposition 1).

    Parameters
    ----------
    a, b : sources of (n_a, n_dims), (n_b, n_dims)
        Rows, an iterable of blocks, or statistics.

    Returns
    -------
    (n_dims,) float64
        NumPy array, on the host for tensors too.
    """
    means = mean_of(a), mean_of(b)
    check_widths(len(means[0]), len(means[1]))
    return means[0] - means[1]


@checked
def grouped_gap(a: Array, b: Array, *, group: int = 100, seed: int = 0) -> GroupedGap:
    """Measure all of C3's Table 1: gap length, direction and orthogonality, residual mean and direction.

    Pairs are shuffled and cut into groups, each with its own gap. Unlike the authors' notebook, orthogonality is
    measured on both modalities, on shuffled rows without repeats.

    Parameters
    ----------
    a, b : (n_rows, n_dims) arrays or tensors
        Pairs of any norm.
    group : int
        Pairs per group.
    seed : int
        Determines the shuffles.

    Returns
    -------
    GroupedGap
        `direction` is NaN with fewer than two groups, `length` with none.
    """
    check_seed(seed)
    n_pairs = as_pairs(a, b)[0].shape[0]
    gap = gap_vector(a, b)
    gaps = _group_gaps(a, b, group, seed)
    mean, cosines = _residuals(a, b, gap, seed)
    return GroupedGap(
        n_pairs=n_pairs,
        n_groups=len(gaps),
        group=group,
        length=_mean_std([np.linalg.norm(gaps, axis=1)]),
        direction=_mean_std([_cosines(gaps[1:], gaps[:-1])]),
        orthogonality=(_mean_std(_step_cosines(a, gap, seed)), _mean_std(_step_cosines(b, gap, seed))),
        residual=_mean_std([mean]),
        residual_mean=mean,
        residual_direction=cosines,
    )


@checked
def gap_orthogonality(a: Array, b: Array, *, seed: int = 0) -> MeanStd:
    """Measure the cosine between the gap and differences of rows within a modality (C3, Table 1).

    Rows are shuffled and repeated ones dropped first, or lists with five captions per image would seem orthogonal to
    anything.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
        Rows of any norm.
    seed : int
        Determines the shuffle.

    Returns
    -------
    MeanStd
        Over both modalities; a mean near 0 says that the gap is orthogonal to the modalities' own content.
    """
    check_seed(seed)
    gap = gap_vector(a, b)
    return _mean_std([*_step_cosines(a, gap, seed), *_step_cosines(b, gap, seed)])


def pair_cosine(a: Array, b: Array) -> float:
    """Average the cosine of pairs.

    Parameters
    ----------
    a, b : (n_rows, n_dims) arrays or tensors
        Pairs of any norm.

    Returns
    -------
    float
        In [-1, 1].
    """
    cosines = [np.einsum("ij,ij->i", x, y) for x, y in pair_blocks(a, b)]
    return float(np.concatenate(cosines).mean())


def residual_sigma(a: Array, b: Array) -> float:
    """Measure the standard deviation per coordinate of eps in ``u_a - u_b = c + eps`` over pairs.

    Parameters
    ----------
    a, b : (n_rows, n_dims) arrays or tensors
        Pairs of any norm.

    Returns
    -------
    float
        ``sqrt(E||eps||**2 / n_dims)``.
    """
    gap = gap_vector(a, b)
    energies = np.concatenate([(((x - y) - gap) ** 2).sum(axis=1) for x, y in pair_blocks(a, b)])
    return float(np.sqrt(energies.mean() / len(gap)))


def residual_spectrum(a: Array, b: Array) -> Float64Array:
    """Compute the eigenvalues of the residual's covariance over pairs.

    Parameters
    ----------
    a, b : (n_rows, n_dims) arrays or tensors
        Pairs of any norm.

    Returns
    -------
    (n_dims,) float64
        Largest first (divisor n_rows - 1); all equal for isotropic noise.
    """
    return spectrum_of(moments_of_blocks(x - y for x, y in pair_blocks(a, b)))


def residual_participation(a: Array, b: Array) -> float:
    """Estimate how many dimensions the residual fills; the paper assumes all, and CLIP's fills 78 of 512.

    Parameters
    ----------
    a, b : (n_rows, n_dims) arrays or tensors
        Pairs of any norm.

    Returns
    -------
    float
        `participation_ratio` of `residual_spectrum`: n_dims if it is isotropic. ``1 / std**2`` of `grouped_gap`'s
        `residual_direction` is another estimate.
    """
    return participation_ratio(residual_spectrum(a, b))


def _group_gaps(a: Array, b: Array, group: int, seed: int) -> Float64Array:
    """Gap (n_groups, n_dims) of each group of pairs."""
    if group < 1:
        raise C3AlignError(f"group must be 1 or more, got {group}")
    n_rows, n_dims = as_pairs(a, b)[0].shape
    order = np.random.default_rng(seed).permutation(n_rows)[: n_rows // group * group]
    means = [(x - y).reshape(-1, group, n_dims).mean(axis=1) for x, y in pair_blocks(a, b, order, multiple=group)]
    return np.concatenate([np.empty((0, n_dims)), *means])


def _residuals(a: Array, b: Array, gap: Float64Array, seed: int) -> tuple[Float64Array, MeanStd]:
    """Mean (n_dims,) of the shuffled residuals, and their cosines with the next one."""
    n_rows = as_pairs(a, b)[0].shape[0]
    order = np.random.default_rng([seed, 1]).permutation(n_rows)  # not the groups' order
    total = np.zeros_like(gap)

    def summed() -> Iterator[Float64Array]:
        for x, y in pair_blocks(a, b, order):
            residual = (x - y) - gap
            np.add(total, residual.sum(axis=0), out=total)
            yield residual

    cosines = _mean_std(_cosines(after, before) for before, after in _consecutive(summed()))
    return total / n_rows, cosines


def _step_cosines(X: Array, gap: Float64Array, seed: int) -> Iterator[Float64Array]:
    """Cosines between the gap and steps from one of the shuffled distinct rows to the next."""
    rows = as_rows(X)
    distinct = _distinct(rows)
    order = distinct[np.random.default_rng(seed).permutation(len(distinct))]
    for before, after in _consecutive(unit_blocks(rows, order)):
        yield _cosines(after - before, np.broadcast_to(gap, after.shape))


def _distinct(rows: Any) -> Int64Array:
    """Row numbers of the first of each set of equal unit rows, by digests so that no sorted copy is needed."""
    narrow = (unit.astype(np.float32) for unit in unit_blocks(rows))  # a factor changes the last bits of float64
    digests = (blake2b(row, digest_size=16).digest() for block in narrow for row in block)
    first: dict[bytes, int] = {}
    for number, digest in enumerate(digests):
        first.setdefault(digest, number)
    return np.fromiter(first.values(), np.int64, len(first))


def _consecutive(blocks: Iterable[Float64Array]) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Each row and the next, across blocks."""
    last = None
    for block in blocks:
        joined = block if last is None else np.concatenate([last, block])
        if len(joined) > 1:
            yield joined[:-1], joined[1:]
        last = joined[-1:]


def _cosines(x: Float64Array, y: Float64Array) -> Float64Array:
    """Cosines of rows, without pairs in which one has no direction."""
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    defined = norms > 0
    return np.einsum("ij,ij->i", x, y)[defined] / norms[defined]


def _mean_std(parts: Iterable[Float64Array]) -> MeanStd:
    values = np.concatenate([np.empty(0), *parts])
    return MeanStd(float(values.mean()), float(values.std())) if len(values) else MeanStd(float("nan"), float("nan"))
