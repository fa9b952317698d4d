"""The report's pictures on matplotlib axes, in the style of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from c3align._arguments import checked, shown
from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.report import _charts, _text
from c3align.report._chart import LIGHT, SHAPES, Chart, Figure, Series
from c3align.report._measure import samples_of
from c3align.report._report import Report
from c3align.report._samples import Samples

_MARKERS = dict(zip(SHAPES, "os^Dv"))
_INCHES = (5.2, 3.9)

_DOCUMENTATION = """Draw {what}.

    Parameters
    ----------
    *data : Report or arrays
        A report, or arrays as in `report`.
    pair : (str, str), optional
        Two modalities, by default the first two; pictures of all modalities ignore it.
    ax : matplotlib axes, optional
        Two axes for pictures of before and after, else one; new ones by default.
    **settings : optional
        For arrays: `names`, `paired`, `aligner` and `max_rows`, as in `report`.

    Returns
    -------
    matplotlib axes
        One, or an array of two.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    C3AlignError
        If a picture of pairs is requested for rows that are not paired.
    """


def _plot(chart: Callable[..., Figure], what: str, *, of_all: bool = False) -> Callable[..., Any]:
    """The public function that draws a chart of two modalities, or of all."""

    def plot(*data: Any, pair: tuple[str, str] | None = None, ax: Any = None, **settings: Any) -> Any:
        samples = _samples(data, settings)
        which = () if of_all else (0, 1) if pair is None else _which(samples, pair)
        return _on_axes(chart(samples, *which), ax)

    plot.__name__ = plot.__qualname__ = f"plot_{chart.__name__}"
    plot.__doc__ = _DOCUMENTATION.format(what=what)
    return plot


plot_cones = _plot(_charts.cones, "the rows in the plane of their largest spread, before and after", of_all=True)
plot_spectra = _plot(_charts.spectra, "each modality's variance along its principal directions", of_all=True)
plot_similarities = _plot(
    _charts.similarities, "cosines of pairs, of others and within each modality, before and after"
)
plot_recall = _plot(_charts.recall, "recall at 1 to 100 in both directions, before (dashed) and after")
plot_residuals = _plot(_charts.residuals, "the residual's coordinates against the Gaussian of the same sigma")
plot_residual_spectrum = _plot(_charts.residual_spectrum, "the residual's spectrum against isotropic noise")
plot_noise_cosine = _plot(
    _charts.noise_cosine, "noise as a cosine, with the pairs' and published settings on the curve"
)
plot_variances = _plot(_charts.variances, "the variance of each dimension in one modality against the other")
plot_gap_share = _plot(_charts.gap_share, "how much of the squared gap its k largest dimensions hold")


@checked
def plot_overview(found: Report, *, pair: tuple[str, str] | None = None) -> Any:
    """Draw all pictures of two modalities in one figure, under the report's headline.

    Parameters
    ----------
    found : Report
        What `report` returned.
    pair : (str, str), optional
        Two modalities, by default those that are furthest apart.

    Returns
    -------
    matplotlib figure
        With three axes per line.
    """
    samples = found.samples
    i, j = _which(samples, _text.widest(found.pairs).names if pair is None else pair)
    figures = [_charts.cones(samples), _charts.spectra(samples)]
    figures += [draw(samples, i, j) for draw in _charts.of_pair(samples)]
    charts = [(figure, chart) for figure in figures for chart in figure.charts]
    plt = need("matplotlib.pyplot", "matplotlib", "plots")
    n_lines = -(-len(charts) // 3)
    whole, axes = plt.subplots(n_lines, 3, figsize=(3 * _INCHES[0], n_lines * _INCHES[1]), layout="constrained")
    whole.suptitle(found.headline(), fontsize=14, fontweight="bold", wrap=True, color=LIGHT["ink"])
    for (figure, chart), ax in zip(charts, axes.flat):
        _draw(chart, ax, f"{figure.title}: {chart.title}" if chart.title else figure.title)
    for ax in axes.flat[len(charts) :]:
        ax.set_axis_off()
    return whole


def _which(samples: Samples, pair: Any) -> tuple[int, int]:
    """Numbers of two modalities."""
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
        raise C3AlignError(f"pair must be two modalities, got {shown(pair)}; pass such as {samples.names[:2]}")
    return samples.index(pair[0]), samples.index(pair[1])


def _samples(data: tuple[Any, ...], settings: dict[str, Any]) -> Samples:
    if len(data) == 1 and isinstance(data[0], Report):
        if settings:
            raise C3AlignError(f"a Report is already measured; omit {', '.join(settings)}, or pass arrays")
        return data[0].samples
    unknown = set(settings) - {"names", "paired", "aligner", "max_rows"}
    if unknown:
        raise C3AlignError(
            f"{sorted(unknown)[0]!r} is no setting of a plot; pass pair, ax, names, paired, aligner or max_rows"
        )
    return samples_of(data, **settings)


def _on_axes(figure: Figure, ax: Any) -> Any:
    """Draw the figure's charts, on new axes unless some are given."""
    plt = need("matplotlib.pyplot", "matplotlib", "plots")
    n = len(figure.charts)
    if ax is None:
        _, ax = plt.subplots(1, n, figsize=(n * _INCHES[0], _INCHES[1]), layout="constrained")
    given = np.ravel(ax)
    if len(given) != n:
        raise C3AlignError(f"{figure.name} needs {n} axes, got {len(given)}; pass {n}, or omit ax=")
    if not all(hasattr(one, "scatter") for one in given):
        raise C3AlignError(f"ax must be axes of matplotlib, got {shown(ax)}; omit it for new ones")
    for chart, one in zip(figure.charts, given):
        _draw(chart, one, chart.title or figure.title)
    return given if n > 1 else given[0]


def _draw(chart: Chart, ax: Any, title: str) -> None:
    for series in chart.series:
        _draw_series(series, ax)
    x_range, y_range = chart.ranges()
    muted = LIGHT["muted"]
    ax.set(xscale="log" if chart.x_log else "linear", yscale="log" if chart.y_log else "linear")
    if chart.equal:
        ax.set_aspect("equal", adjustable="box")
        half = max(x_range[1] - x_range[0], y_range[1] - y_range[0]) / 2
        x_range, y_range = (((low + high) / 2 - half, (low + high) / 2 + half) for low, high in (x_range, y_range))
    ax.set(xlim=x_range, ylim=y_range)
    ax.set_xlabel(chart.x_label, color=muted)
    ax.set_ylabel(chart.y_label, color=muted)
    ax.set_title(title, loc="left", fontweight="bold", color=LIGHT["ink"])
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(muted)
    ax.tick_params(colors=muted, labelbottom=not chart.bare, labelleft=not chart.bare, length=0)
    ax.grid(color=LIGHT["grid"], zorder=0)
    ax.set_axisbelow(True)
    if any(series.label for series in chart.series):
        ax.legend(frameon=False, fontsize="small", labelcolor=LIGHT["ink"])


def _draw_series(series: Series, ax: Any) -> None:
    look = {"color": LIGHT[series.colour], "label": series.label or "_nolegend_"}
    marker, style = _MARKERS[SHAPES[series.shape % len(SHAPES)]], "--" if series.dashed else "-"
    if series.kind == "line":
        ax.plot(series.x, series.y, style, marker=marker if series.tips else None, markersize=4, **look)
    elif series.kind == "points":
        ax.scatter(series.x, series.y, s=9, alpha=0.6, linewidths=0, marker=marker, **look)
    elif series.kind == "marks":
        ax.scatter(series.x, series.y, s=90, zorder=3, marker=marker, edgecolor="white", **look)
    elif series.kind == "area":
        ax.stairs(series.y, series.x, fill=True, color=look["color"], alpha=0.06 if series.dashed else 0.16)
        ax.stairs(series.y, series.x, linestyle=style, linewidth=1.3, **look)
    else:
        ax.axvline(float(series.x[0]), linestyle="--", linewidth=1, **look)
