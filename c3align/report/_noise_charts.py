"""Pictures of the residual of pairs and of the noise that imitates it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from c3align import noise
from c3align.report._chart import Chart, Figure, Series, listed, role
from c3align.report._samples import Samples

__all__ = ["noise_cosine", "residual_spectrum", "residuals"]

LAFITE_MIX = 0.75


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
        ("LAFITE's mix 0.75", noise.sigma_from_lafite_mix(LAFITE_MIX, d, norm=r), 3),
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
