"""Measuring: means over every row in blocks, the rest on all rows or an even sample."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from c3align import centering, geometry, noise, ops
from c3align._arguments import checked, shown
from c3align._typing import Array, Float64Array
from c3align.errors import KEEP, C3AlignError, without_advice
from c3align.io.rows import RowSource
from c3align.ops.arrays import as_rows
from c3align.report._figures import ModalityReport, PairMeasures, PairReport
from c3align.report._report import Report
from c3align.report._samples import N_NEIGHBORS, Samples, When, even
from c3align.statistics import ModalityStatistics, PairStatistics

if TYPE_CHECKING:
    from c3align.aligner import C3Aligner

MAX_ROWS = 5000  # retrieval takes n**2 products; larger sets are sampled evenly, and the report says so
OWN_MEANS = "each modality centered by its own mean and renormalized"
BY_ALIGNER = "each modality as the given aligner transforms it"
_SEPARATED = 1000  # rows of each that a classifier is tried on, five times
_FOLDS = 5
_Align = Callable[[int, Any], Any]


@checked
def report(
    *arrays: Array,
    names: tuple[str, ...] | list[str] | None = None,
    paired: bool | None = None,
    aligner: C3Aligner | None = None,
    max_rows: int = MAX_ROWS,
    progress: bool = False,
) -> Report:
    """Measure two or more modalities as they are, and again after each is centered by its mean and renormalized.

    Means, gap and residual sigma come from all rows, read in blocks, so that memmaps may be larger than memory. The
    rest is measured on all rows, or on an evenly spaced sample of `max_rows` of each.

    Parameters
    ----------
    *arrays : (n_rows, n_dims) arrays or tensors
        One modality each, of any norm; a list of arrays is read as consecutive shards.
    names : sequence of str, optional
        By default "image" and "text", or "a", "b", "c", ... for more than two.
    paired : bool, optional
        Whether row i of each belongs to row i of the others; by default, whether there are equally many.
    aligner : C3Aligner, optional
        Fitted on modalities of these names; "after" is the result of its `transform`. By default each modality is
        centered by its own mean.
    max_rows : int
        Larger sets are sampled evenly for all but means, gap and sigma.
    progress : bool
        Whether to show a bar on stderr if it takes over a second and stderr is a terminal.

    Returns
    -------
    Report
        Figures for each modality and for each two.

    Raises
    ------
    C3AlignError
        Fewer than two modalities, different widths, fewer than two rows, or rows that `ops.normalize` refuses.

    Examples
    --------
    >>> import numpy as np
    >>> from c3align.report import report
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(200, 32))
    >>> found = report(shared + 3 * np.eye(32)[0], shared - 3 * np.eye(32)[0])
    >>> round(found.pairs[0].before.gap_norm, 1)
    0.9
    """
    sources = _sources(arrays, names)
    paired = _paired(sources, paired)
    which = list(combinations(range(len(sources)), 2))
    n_rows = sum(source.n_rows for source in sources)
    with _bar("read", n_rows * (2 + (len(sources) - 1) * paired), "row", progress) as bar:
        before = [_total(source, bar) for source in sources]
        align = _alignment(sources, before, aligner)
        of_pairs = _pair_statistics(sources, bar) if paired else {}
        after = [_total(source, bar, partial(align, i)) for i, source in enumerate(sources)]
        samples = _sampled(sources, paired, align, max_rows)
    modalities = tuple(_modality(i, source, before[i], samples) for i, source in enumerate(sources))
    with _bar("measure", len(which), "pair", progress) as bar:
        pairs = []
        for pair in which:
            pairs.append(_pair(pair, samples, (before, after), of_pairs.get(pair), aligner is None))
            bar.update(1)
    return Report(modalities, tuple(pairs), OWN_MEANS if aligner is None else BY_ALIGNER, samples)


@checked
def samples_of(
    arrays: tuple[Array, ...],
    names: tuple[str, ...] | list[str] | None = None,
    paired: bool | None = None,
    aligner: C3Aligner | None = None,
    max_rows: int = MAX_ROWS,
) -> Samples:
    """The rows that pictures are drawn from, without a report's other figures."""
    sources = _sources(arrays, names)
    with _bar("read", 0, "row", progress=False) as bar:
        align = _alignment(sources, [_total(source, bar) for source in sources], aligner)
    return _sampled(sources, _paired(sources, paired), align, max_rows)


def _sources(arrays: tuple[Array, ...], names: Any) -> list[RowSource]:
    if len(arrays) < 2:
        raise C3AlignError(f"a report compares at least two modalities, got {len(arrays)}; pass the rows of each")
    if names is None:
        names = ["image", "text"] if len(arrays) == 2 else list(ascii_lowercase[: len(arrays)])
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise C3AlignError(f"names must be a list of strings, got {shown(names)}; pass one for each modality")
    if len(names) != len(arrays) or len(set(names)) < len(names):
        raise C3AlignError(
            f"names must be {len(arrays)} different strings, got {', '.join(names)}; pass one for each modality"
        )
    sources = [RowSource.of(rows, name) for rows, name in zip(arrays, names)]
    for source in sources:
        if source.n_dims != sources[0].n_dims:
            first = sources[0]
            raise C3AlignError(
                f"{first.name} has {first.n_dims} dimensions and {source.name} {source.n_dims}; use one encoder"
            )
        if source.n_rows < 2:
            raise C3AlignError(f"{source.name} must have 2 rows or more, got {source.n_rows}; pass more")
    return sources


def _paired(sources: list[RowSource], paired: bool | None) -> bool:
    equal = len({source.n_rows for source in sources}) == 1
    if paired and not equal:
        counts = ", ".join(f"{source.n_rows} {source.name}" for source in sources)
        raise C3AlignError(f"paired=True needs equal row counts, got {counts}; pass equal counts, or paired=False")
    return equal if paired is None else paired


def _bar(what: str, total: int, unit: str, progress: bool) -> Any:
    """A bar on stderr, if it takes over a second and stderr is a terminal."""
    look = {"unit": unit, "unit_scale": True, "delay": 1, "leave": False, "file": sys.stderr}
    return tqdm(total=total, desc=what, disable=None if progress else True, **look)


def _total(source: RowSource, bar: Any, align: Callable[[Any], Any] | None = None) -> ModalityStatistics:
    """Exact statistics of every row of a modality, or of every aligned row."""
    total = ModalityStatistics.empty(source.n_dims)
    for start, block in source.blocks():
        with source.located(start, block), without_advice(KEEP):
            rows = as_rows(block, source.name) if align is None else align(block)
            total = total + ModalityStatistics.from_rows(rows)
        bar.update(len(block))
    return total


def _pair_statistics(sources: list[RowSource], bar: Any) -> dict[tuple[int, int], PairStatistics]:
    """Exact statistics of every two modalities, from all pairs."""
    found = {}
    for i, j in combinations(range(len(sources)), 2):
        found[i, j] = PairStatistics.empty(sources[i].n_dims)
        for (_, a), (_, b) in zip(sources[i].blocks(), sources[j].blocks()):
            found[i, j] = found[i, j] + PairStatistics.from_rows(a, b)
            bar.update(2 * len(a))
    return found


def _alignment(sources: list[RowSource], before: list[ModalityStatistics], aligner: C3Aligner | None) -> _Align:
    """The function that aligns rows of the i-th modality."""
    if aligner is not None:
        for source in sources:
            centering.state_of(aligner, source.name)
        return lambda i, rows: aligner.transform(rows, modality=sources[i].name)
    return lambda i, rows: ops.align(as_rows(rows).widened(), before[i].mean)


def _sampled(sources: list[RowSource], paired: bool, align: _Align, max_rows: int) -> Samples:
    if max_rows < 2:
        raise C3AlignError(f"max_rows must be 2 or more, got {max_rows}")
    taken = [source.take(even(source.n_rows, max_rows)) for source in sources]
    return Samples(
        names=tuple(source.name for source in sources),
        n_rows=tuple(source.n_rows for source in sources),
        paired=paired,
        before=[geometry.unit_rows(rows) for rows in taken],
        after=[geometry.unit_rows(align(i, rows)) for i, rows in enumerate(taken)],
    )


def _modality(i: int, source: RowSource, statistics: ModalityStatistics, samples: Samples) -> ModalityReport:
    return ModalityReport(
        name=source.name,
        n_rows=source.n_rows,
        n_measured=samples.n_measured[i],
        dtype=source.dtype,
        raw_norm=statistics.mean_norm,
        mean_norm=float(np.linalg.norm(statistics.mean)),
        spread=float(np.sqrt(statistics.total_variance)),
        effective_dimension=samples.effective_dimension(i),
        participation=geometry.participation(samples.before[i]),
        uniformity=(geometry.uniformity(samples.before[i]), geometry.uniformity(samples.after[i])),
    )


def _pair(
    which: tuple[int, int],
    samples: Samples,
    statistics: tuple[list[ModalityStatistics], list[ModalityStatistics]],
    of_pairs: PairStatistics | None,
    own_means: bool,
) -> PairReport:
    i, j = which
    a, b = samples.before[i], samples.before[j]
    names = samples.names[i], samples.names[j]
    orthogonality = geometry.gap_orthogonality(a, b)
    found = geometry.grouped_gap(a, b) if samples.paired else None
    groups = found if found is not None and found.n_groups > 1 else None
    overlap, is_one = geometry.one_encoder(a, b, paired=samples.paired)
    return PairReport(
        names=names,
        n_rows=(samples.n_rows[i], samples.n_rows[j]),
        n_measured=max(len(a), len(b)),
        n_distinct=(len(samples.places(i)), len(samples.places(j))),
        n_groups=len(np.unique(samples.groups(i, j))) if samples.paired else None,
        n_dims=samples.n_dims,
        paired=samples.paired,
        gap=geometry.measure_gap(*names, statistics[0][i], statistics[0][j], of_pairs),
        before=_measures("before", which, samples, statistics[0], own_means),
        after=_measures("after", which, samples, statistics[1], own_means),
        gap_length_spread=None if groups is None else _finite(groups.length.std),
        gap_direction=None if groups is None else _finite(groups.direction.mean),
        orthogonality=(orthogonality.mean, orthogonality.std),
        residual_participation=samples.residual_participation(i, j) if samples.paired else None,
        noise_fits=_noise_fits(which, samples) if samples.paired else None,
        encoder_overlap=overlap,
        order_evidence=geometry.order_evidence(a, b) if samples.paired and len(a) >= geometry.FEW_PAIRS else None,
        order_doubt=_order_doubt(a, b) if samples.paired else None,
        is_one_encoder=is_one,
    )


def _order_doubt(a: Any, b: Any) -> str | None:
    tests = (geometry.repeated, geometry.exchanged, geometry.misplaced)
    return next((test.__name__ for test in tests if test(a, b) is not None), None)


def _noise_fits(which: tuple[int, int], samples: Samples) -> dict[str, tuple[float, float]] | None:
    """Likeness and what could be attained of noise models to the residuals; None where there are none."""
    residuals = samples.residuals(*which)
    if not residuals.any():
        return None
    found = {"isotropic": geometry.noise_fit(residuals)}
    for i in which:
        covariance = np.atleast_2d(np.cov(samples.before[i], rowvar=False))
        if np.trace(covariance) > 0:
            root = noise.NAMED["half_power"].root(covariance, 1.0)
            found[f"half_power of {samples.names[i]}"] = geometry.noise_fit(residuals, root @ root)
    return {name: (fit.likeness, fit.attainable) for name, fit in found.items()}


def _finite(value: float) -> float | None:
    """None for what could not be measured."""
    return None if math.isnan(value) else value


def _measures(
    when: When, which: tuple[int, int], samples: Samples, statistics: list[ModalityStatistics], own_means: bool
) -> PairMeasures:
    i, j = which
    a, b, paired = samples.rows(when)[i], samples.rows(when)[j], samples.paired
    alone = samples.distinct(when, i), samples.distinct(when, j)
    means = statistics[i].mean, statistics[j].mean
    return PairMeasures(
        gap_norm=float(np.linalg.norm(means[0] - means[1])),
        mean_norms=(float(np.linalg.norm(means[0])), float(np.linalg.norm(means[1]))),
        modality_bias=geometry.modality_bias(*alone, N_NEIGHBORS),
        false_positives=samples.false_positives(when, i, j),
        false_positives_scaled=samples.false_positives(when, i, j, scaled=True),
        covariance_distance=_covariance_distance(a, b),
        separability=_separability(when, which, samples, own_means),
        hubness=(geometry.hubness(*alone).skewness, geometry.hubness(*alone[::-1]).skewness),
        unmatched_cosine=float(samples.cosines(when, i, j)["unmatched"].mean()),
        pair_cosine=geometry.pair_cosine(a, b) if paired else None,
        alignment=geometry.alignment(a, b) if paired else None,
        recall_a_to_b=samples.recall(when, i, j) if paired else None,
        recall_b_to_a=samples.recall(when, j, i) if paired else None,
    )


def _separability(when: When, which: tuple[int, int], samples: Samples, own_means: bool) -> float | None:
    """On rows that were centered by their own mean, the folds must be centered again; see `linear_separability`."""
    centered = when == "after" and own_means
    rows = samples.before if centered else samples.rows(when)
    a, b = (rows[k][even(len(rows[k]), _SEPARATED)] for k in which)
    if min(len(a), len(b)) < 2 * _FOLDS:
        return None
    return geometry.linear_separability(a, b, n_folds=_FOLDS, centered=centered).accuracy


def _covariance_distance(a: Float64Array, b: Float64Array) -> float:
    """Bures' squared distance over the sum of both variances: 0 is equal, 1 nothing in common."""
    both = float(a.var(axis=0, ddof=1).sum() + b.var(axis=0, ddof=1).sum())
    return geometry.distribution_gap(a, b).covariance / both if both else 0.0
