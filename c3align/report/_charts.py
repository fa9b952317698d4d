"""The report's pictures as data: each takes `Samples` and says in words what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from c3align import noise
from c3align._typing import Float64Array
from c3align.report._chart import Chart, Figure, Series, fixed, listed, role
from c3align.report._samples import KS, WHENS, Samples, When, even

_SHOWN = 300  # points of a modality in a scatter
_BINS = 48
_LAFITE_MIX = 0.75


def cones(samples: Samples) -> Figure:
    """All modalities in one plane, before and after: two with the gap horizontal, more in the widest directions."""
    n = len(samples.names)
    gaps = {w: [float(np.linalg.norm(samples.gap(w, i, j))) for i in range(n) for j in range(i)] for w in WHENS}
    centre, plane, labels = _plane(samples)
    middles: dict[When, Float64Array] = {"before": centre, "after": np.zeros_like(centre)}
    flat = {when: [(rows - middles[when]) @ plane for rows in samples.rows(when)] for when in WHENS}
    shown = {when: [rows[even(len(rows), _SHOWN)] for rows in flat[when]] for when in WHENS}
    every = np.concatenate([rows for when in WHENS for rows in shown[when]])
    ranges = [_limits(values) for values in every.T]
    charts = [
        Chart(
            _clouds(samples.names, shown[when], [rows.mean(axis=0) for rows in flat[when]]),
            labels[0],
            labels[1],
            f"{when}: gap {gaps[when][0]:.2f}" if n == 2 else when,
            x_range=ranges[0],
            y_range=ranges[1],
            equal=True,
            bare=True,
        )
        for when in WHENS
    ]
    finding = (
        f"Seen {labels[0]} and {labels[1]}, the means of {listed(samples.names)} lie {_between(gaps['before'])} apart; "
        f"after alignment {_between(gaps['after'])}."
    )
    return Figure("cones", "The cones, before and after", finding, tuple(charts))


def _clouds(names: tuple[str, ...], rows: list[Float64Array], means: list[Float64Array]) -> tuple[Series, ...]:
    """Points of each modality, and over all of them their means."""
    points = [Series("points", part[:, 0], part[:, 1], names[i], role(i), i) for i, part in enumerate(rows)]
    tips = [(f"mean of {name}",) for name in names]
    marks = [
        Series("marks", mean[:1], mean[1:], "", role(i), i, tips=tip) for i, (mean, tip) in enumerate(zip(means, tips))
    ]
    return (*points, *marks)


def _plane(samples: Samples) -> tuple[Float64Array, Float64Array, list[str]]:
    """Middle of the means, two axes (n_dims, 2), and their names."""
    means = [rows.mean(axis=0) for rows in samples.before]
    centre = np.mean(means, axis=0)
    second = sum((rows - centre).T @ (rows - centre) / len(rows) for rows in samples.before)
    total, gap = np.trace(second), means[1] - means[0]
    if len(means) > 2 or not gap.any():
        values, vectors = np.linalg.eigh(second)
        plane, names = vectors[:, :-3:-1], ["along the widest direction", "along the second"]
        shares = values[:-3:-1] / total
    else:
        along = gap / np.linalg.norm(gap)
        across = np.eye(len(along)) - np.outer(along, along)
        values, vectors = np.linalg.eigh(across @ second @ across)
        plane, names = np.stack([along, vectors[:, -1]], axis=1), ["along the gap", "across it"]
        shares = np.array([along @ second @ along, values[-1]]) / total
    largest = plane[np.abs(plane).argmax(axis=0), [0, 1]]
    flips = np.where(largest < 0, -1.0, 1.0)  # a sign that does not depend on the machine
    flips[0] = 1.0 if len(means) == 2 else flips[0]
    return centre, plane * flips, [f"{name} ({share:.0%} of the variance)" for name, share in zip(names, shares)]


def _limits(values: Float64Array) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def spectra(samples: Samples) -> Figure:
    """Covariance eigenvalues of each modality, with the effective dimension marked."""
    series, words = [], []
    for i, name in enumerate(samples.names):
        values, k = samples.spectrum(i), samples.effective_dimension(i)
        number = np.arange(1, len(values) + 1, dtype=float)
        keep = values > values[0] * 1e-9
        series.append(Series("line", number[keep], values[keep], name, role(i), i))
        if k:
            tip = f"{name}: {k} of {samples.n_dims} directions hold 99 % of the variance"
            at = number[k - 1 : k], values[k - 1 : k]
            series.append(Series("marks", *at, "", role(i), i, tips=(tip,)))
        words.append(f"{k} for {name}")
    finding = (
        f"Variance along each principal direction, widest first. The large marks show how many of {samples.n_dims} "
        f"directions hold 99 % of it (the effective dimension): {listed(words)}."
    )
    chart = Chart(tuple(series), "direction", "variance", x_range=(1.0, float(samples.n_dims)), y_log=True)
    return Figure("spectra", "How many directions are used", finding, (chart,))


def similarities(samples: Samples, i: int, j: int) -> Figure:
    """Histograms of cosines: matched, unmatched and within a modality, before and after."""
    found = {when: samples.cosines(when, i, j) for when in WHENS}
    joined = np.concatenate([values for part in found.values() for values in part.values()])
    edges = np.linspace(float(joined.min()), float(joined.max()) + 1e-9, _BINS + 1)
    looks = {"matched": ("ink", False), "unmatched": ("muted", True)}
    looks |= {f"within {samples.names[k]}": (role(k), False) for k in (i, j)}
    charts = []
    for when in WHENS:
        series = [_histogram(v, edges, what, *looks[what]) for what, v in found[when].items()]
        charts.append(Chart(tuple(series), "cosine", "share of pairs per bin", when, x_range=(edges[0], edges[-1])))
    top = max(float(series.y.max()) for chart in charts for series in chart.series)
    charts = [replace(chart, y_range=(0, 1.06 * top)) for chart in charts]
    means = {w: {what: float(v.mean()) for what, v in found[w].items()} for w in WHENS}
    return Figure("similarities", "Who is similar to whom", _said(samples, i, j, means), tuple(charts))


def _said(samples: Samples, i: int, j: int, means: dict[When, dict[str, float]]) -> str:
    a, b = samples.names[i], samples.names[j]
    before, after = means["before"], means["after"]
    if not samples.paired:
        return (
            f"Mean cosine of a row of {a} with one of {b}: {fixed(before['unmatched'])} before, "
            f"{fixed(after['unmatched'])} after; of two rows of {a} {fixed(before[f'within {a}'])} and "
            f"{fixed(after[f'within {a}'])}, of two of {b} {fixed(before[f'within {b}'])} and "
            f"{fixed(after[f'within {b}'])}."
        )
    within = min(before[f"within {a}"], before[f"within {b}"])
    strange = "two rows of one modality that have nothing to do with each other are more alike than a true pair"
    plain = "true pairs are more alike than unrelated rows of one modality"
    return (
        f"Before, a true pair has a cosine of {fixed(before['matched'])} on average and two unrelated rows of one "
        f"modality {fixed(within)} or more: {strange if within > before['matched'] else plain}. After, "
        f"{fixed(after['matched'])} for true pairs and {fixed(after['unmatched'])} for others."
    )


def _histogram(values: Float64Array, edges: Float64Array, label: str, colour: str, dashed: bool = False) -> Series:
    counts = np.histogram(values, edges)[0] / len(values)
    tips = tuple(
        f"{label}: {share:.1%} between {low:.2f} and {high:.2f}" if share else ""
        for share, (low, high) in zip(counts, pairwise(edges))
    )
    return Series("area", edges, counts, label, colour, dashed=dashed, tips=tips)


def recall(samples: Samples, i: int, j: int) -> Figure:
    """Recall at 1 to 100 in both directions, before (dashed) and after."""
    samples.need_pairs()
    series = []
    for a, b in ((i, j), (j, i)):
        for when in WHENS:
            found = samples.recall(when, a, b)
            way = f"{samples.names[a]} to {samples.names[b]}"
            tips = tuple(f"{way}, {when}: R@{k} {share:.3f}" for k, share in found.items())
            x, y = np.array(list(found), float), np.array(list(found.values()))
            series.append(Series("line", x, y, f"{way}, {when}", role(a), a, when == "before", tips))
    first = [samples.recall(when, a, b)[1] for a, b in ((i, j), (j, i)) for when in WHENS]
    finding = (
        f"Share of queries whose own partner is among the k nearest of {samples.n_measured[j]:,}. At k = 1, "
        f"{samples.names[i]} to {samples.names[j]} goes from {first[0]:.3f} to {first[1]:.3f}, and "
        f"{samples.names[j]} to {samples.names[i]} from {first[2]:.3f} to {first[3]:.3f}."
    )
    last = float(max(k for k in KS if k <= max(samples.n_measured[j], 2)))
    chart = Chart(tuple(series), "k", "recall at k", x_log=True, x_range=(1.0, last), y_range=(0.0, 1.0))
    return Figure("recall", "Does a query find its partner", finding, (chart,))


def residuals(samples: Samples, i: int, j: int) -> Figure:
    """Coordinates of the residuals, in units of sigma, against the Gaussian of the same variance."""
    samples.need_pairs()
    eps = samples.residuals(i, j)
    sigma = float(np.sqrt((eps**2).mean())) or 1.0
    scaled = eps.ravel() / sigma
    edges = np.linspace(-5, 5, 2 * 30 + 1)
    heights = np.histogram(scaled, edges)[0] / (len(scaled) * (edges[1] - edges[0]))
    tips = tuple(f"{h:.3f} between {a:.2f} and {b:.2f} sigma" for h, (a, b) in zip(heights, pairwise(edges)))
    x = np.linspace(-5, 5, 121)
    series = (
        Series("area", edges, heights, "residuals", role(0), tips=tips),
        Series(
            "line", x, np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), "Gaussian of the same sigma", "ink", dashed=True
        ),
    )
    beyond = float((np.abs(scaled) > 3).mean())
    finding = (
        f"What is left of the pairs' differences once the gap is taken out, sigma = {sigma:.4f} per dimension. "
        f"{beyond:.2%} lie beyond 3 sigma, where a Gaussian has 0.27 %."
    )
    chart = Chart(series, "residual, in units of sigma", "density", x_range=(-5.0, 5.0))
    return Figure("residuals", "Is the noise Gaussian", finding, (chart,))


def residual_spectrum(samples: Samples, i: int, j: int) -> Figure:
    """Variance of the residual along its principal directions, and of isotropic noise of the same sigma."""
    samples.need_pairs()
    values = samples.residual_spectrum(i, j)
    number = np.arange(1, len(values) + 1, dtype=float)
    keep = values > values[0] * 1e-9
    flat = np.full(2, values.mean())
    fills = samples.residual_participation(i, j)
    series = (
        Series("line", number[keep], values[keep], "residuals", role(0)),
        Series("line", np.array([1.0, len(values)]), flat, "isotropic noise of the same sigma", "ink", dashed=True),
    )
    finding = (
        f"Variance of the residuals along each principal direction. They fill about {fills:.0f} of {len(values)} "
        "dimensions; isotropic noise would fill them all alike."
    )
    chart = Chart(series, "direction", "variance", x_range=(1.0, float(len(values))), y_log=True)
    return Figure("residual_spectrum", "Is the noise alike in all directions", finding, (chart,))


def noise_cosine(samples: Samples, i: int, j: int) -> Figure:
    """Strength of noise as a cosine: the curve of this space, and where pairs and published settings lie on it."""
    d = samples.n_dims
    r = math.sqrt((samples.spread(i) ** 2 + samples.spread(j) ** 2) / 2) or 1.0
    points = [
        ("setting of the C3 paper", noise.paper_sigma(d), 1),
        (f"LAFITE's mix {_LAFITE_MIX}", noise.sigma_from_lafite_mix(_LAFITE_MIX, d, norm=r), 3),
    ]
    if samples.paired:
        points.insert(0, ("noise of the residuals' size", float(np.sqrt((samples.residuals(i, j) ** 2).mean())), 0))
    end = 1.35 * max(sigma for _, sigma, _ in points)
    x = np.linspace(0, end, 200)
    curve = np.array([noise.cosine_from_sigma(sigma, d, norm=r) for sigma in x])
    series = [Series("line", x, curve, "", "muted")]
    words = []
    for k, (what, sigma, shape) in enumerate(points):
        cosine = noise.cosine_from_sigma(sigma, d, norm=r)
        at, tips = (np.array([sigma]), np.array([cosine])), (f"{what}: sigma {sigma:.4f}, cosine {cosine:.2f}",)
        series.append(Series("marks", *at, what, role(k + 2), shape, tips=tips))
        words.append(f"{cosine:.2f} for {what} (sigma {sigma:.4f})")
    finding = f"Cosine between a centered row and the same row with noise, of {d} dimensions: {listed(words)}."
    if samples.paired:
        matched = float(samples.cosines("after", i, j)["matched"].mean())
        ends = np.array([0.0, end])
        series.append(Series("line", ends, np.full(2, matched), "true pairs after alignment", "ink", dashed=True))
        finding += f" True pairs themselves have {matched:.2f} after alignment."
    chart = Chart(tuple(series), "sigma, noise per dimension", "cosine", x_range=(0.0, end), y_range=(0.0, 1.0))
    return Figure("noise_cosine", "How strong the noise is", finding, (chart,))


def variances(samples: Samples, i: int, j: int) -> Figure:
    """Variance of each dimension in one modality against the other."""
    x, y = (samples.before[k].var(axis=0) for k in (i, j))
    keep = (x > 0) & (y > 0)
    number, x, y = np.flatnonzero(keep), x[keep], y[keep]
    a, b = samples.names[i], samples.names[j]
    chosen = even(len(x), 2 * _SHOWN)
    outer = np.argsort(-np.abs(np.log(x / y)))[:8]  # those that an even choice may miss and that one looks for
    chosen = np.unique(np.concatenate([chosen, outer]))
    tips = tuple(f"dimension {number[k]}: {x[k]:.2e} in {a}, {y[k]:.2e} in {b}" for k in chosen)
    limits = min(x.min(), y.min()) * 0.8, max(x.max(), y.max()) * 1.25
    ends = np.array(limits)
    series = (
        Series("line", ends, ends, "equal in both", "muted", dashed=True),
        Series("points", x[chosen], y[chosen], "a dimension", "ink", tips=tips),
    )
    ratio = np.abs(np.log(x / y)) > math.log(2)
    finding = (
        f"Each dot is one dimension. {ratio.mean():.0%} of the {len(x)} that vary in both do so more than twice as "
        f"much in one modality as in the other; total variance {samples.spread(i) ** 2:.2f} in {a}, "
        f"{samples.spread(j) ** 2:.2f} in {b}."
    )
    labels = f"variance in {a}", f"variance in {b}"
    chart = Chart(series, *labels, x_log=True, y_log=True, x_range=limits, y_range=limits)
    return Figure("variances", "Do dimensions vary alike", finding, (chart,))


def gap_share(samples: Samples, i: int, j: int) -> Figure:
    """How much of the squared gap the k largest of its dimensions hold."""
    parts = np.sort(samples.gap("before", i, j) ** 2)[::-1]
    share = np.cumsum(parts) / (parts.sum() or 1)
    number = np.arange(1, len(share) + 1, dtype=float)
    half = int((share < 0.5).sum()) + 1
    ks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= len(share)]
    tips = tuple(f"the {k} largest dimensions hold {share[k - 1]:.0%} of the squared gap" for k in ks)
    series = (
        Series("line", number, share),
        Series("points", np.array(ks, float), share[np.array(ks) - 1], tips=tips),
        Series("rule", np.array([float(half)]), np.zeros(1), "", "muted"),
    )
    finding = f"Half of the squared gap lies in {half} of {len(share)} dimensions, {share[0]:.0%} in the largest one."
    labels = "dimensions, largest part of the gap first", "share of the squared gap"
    chart = Chart(series, *labels, x_log=True, x_range=(1.0, float(len(share))), y_range=(0.0, 1.0))
    return Figure("gap_share", "Where the gap lies", finding, (chart,))


def of_pair(samples: Samples) -> list[Callable[[Samples, int, int], Figure]]:
    """All pictures of two modalities that these samples allow."""
    paired = [recall, residuals, residual_spectrum] if samples.paired else []
    return [similarities, *paired, noise_cosine, variances, gap_share]


def _between(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.2f}" if len(values) == 1 else f"{low:.2f} to {high:.2f}"
