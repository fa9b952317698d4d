"""The report's pictures on matplotlib's axes, in the look of the page: axes in or none, axes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.report import _charts, _text
from c3align.report._chart import LIGHT, SHAPES, Chart, Figure, Series
from c3align.report._figures import Report
from c3align.report._measure import samples_of
from c3align.report._samples import Samples

__all__ = [
    "plot_cones",
    "plot_gap_share",
    "plot_noise_cosine",
    "plot_overview",
    "plot_recall",
    "plot_residual_spectrum",
    "plot_residuals",
    "plot_similarities",
    "plot_spectra",
    "plot_variances",
]

_MARKERS = dict(zip(SHAPES, "os^Dv"))
_INCHES = (5.2, 3.9)
_Function = TypeVar("_Function", bound=Callable[..., Any])

_DOCUMENTATION = """{what}

    Parameters
    ----------
    *data : a `Report`, or arrays as `report` takes them
    {pair}ax : {axes}, optional
        Made when absent.
    **settings
        Of arrays: `names`, `paired`, `aligner` and `max_rows`, as in `report`.

    Returns
    -------
    {returns}

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    {raises}"""


def _documented(*, two: bool = False, pair: bool = False, paired: bool = False) -> Callable[[_Function], _Function]:
    """Adds the parameters that all pictures share to the line that says what this one shows."""

    def add(function: _Function) -> _Function:
        told = (
            "pair : (str, str), optional\n        Which two modalities; the first two by default.\n    " if pair else ""
        )
        function.__doc__ = _DOCUMENTATION.format(
            what=function.__doc__,
            pair=told,
            axes="two matplotlib axes, for before and after" if two else "matplotlib axes",
            returns="(2,) array of the axes" if two else "The axes.",
            raises="C3AlignError\n        Without pairs.\n    " if paired else "",
        )
        return function

    return add


@_documented(two=True)
def plot_cones(*data: Any, ax: Any = None, **settings: Any) -> Any:
    """Draw the rows of all modalities in the plane where they spread most, before and after."""
    return _on_axes(_charts.cones(_samples(data, settings)), ax)


@_documented()
def plot_spectra(*data: Any, ax: Any = None, **settings: Any) -> Any:
    """Draw the variance along each principal direction of each modality, its effective dimension marked."""
    return _on_axes(_charts.spectra(_samples(data, settings)), ax)


@_documented(two=True, pair=True)
def plot_similarities(*data: Any, pair: tuple[str, str] | None = None, ax: Any = None, **settings: Any) -> Any:
    """Draw histograms of cosines, of matched and other pairs and within each modality, before and after."""
    return _of_pair(_charts.similarities, data, pair, ax, settings)


@_documented(pair=True, paired=True)
def plot_recall(*data: Any, pair: tuple[str, str] | None = None, ax: Any = None, **settings: Any) -> Any:
    """Draw recall at 1 to 100 in both directions, before (dashed) and after."""
    return _of_pair(_charts.recall, data, pair, ax, settings)


@_documented(pair=True, paired=True)
def plot_residuals(*data: Any, pair: tuple[str, str] | None = None, ax: Any = None, **settings: Any) -> Any:
    """Draw the histogram of the residual's coordinates against the Gaussian of the same sigma."""
    return _of_pair(_charts.residuals, data, pair, ax, settings)


@_documented(pair=True, paired=True)
def plot_residual_spectrum(*data: Any, pair: tuple[str, str] | None = None, ax: Any = None, **settings: Any) -> Any:
    """Draw the residual's variance along its principal directions against isotropic noise of the same sigma."""
    return _of_pair(_charts.residual_spectrum, data, pair, ax, settings)


@_documented(pair=True)
def plot_noise_cosine(*data: Any, pair: tuple[str, str] | None = None, ax: Any = None, **settings: Any) -> Any:
    """Draw the strength of noise as a cosine, with the pairs' residual and published settings on the curve."""
    return _of_pair(_charts.noise_cosine, data, pair, ax, settings)


@_documented(pair=True)
def plot_variances(*data: Any, pair: tuple[str, str] | None = None, ax: Any = None, **settings: Any) -> Any:
    """Draw the variance of each dimension in one modality against the other."""
    return _of_pair(_charts.variances, data, pair, ax, settings)


@_documented(pair=True)
def plot_gap_share(*data: Any, pair: tuple[str, str] | None = None, ax: Any = None, **settings: Any) -> Any:
    """Draw how much of the squared gap its k largest dimensions hold."""
    return _of_pair(_charts.gap_share, data, pair, ax, settings)


def plot_overview(found: Report, *, pair: tuple[str, str] | None = None) -> Any:
    """Draw all pictures of two modalities into one figure, under the report's headline.

    Parameters
    ----------
    found : Report
    pair : (str, str), optional
        Which two modalities; those that are furthest apart by default.

    Returns
    -------
    The matplotlib figure.
    """
    samples = found.samples
    i, j = map(samples.index, pair or _text.lead(found).names)
    figures = [_charts.cones(samples), _charts.spectra(samples)]
    figures += [draw(samples, i, j) for draw in _charts.of_pair(samples)]
    charts = [(figure, chart) for figure in figures for chart in figure.charts]
    plt = need("matplotlib.pyplot", "matplotlib", "plots")
    n_lines = -(-len(charts) // 3)
    whole, axes = plt.subplots(n_lines, 3, figsize=(3 * _INCHES[0], n_lines * _INCHES[1]), layout="constrained")
    whole.suptitle(found.headline(), fontsize=14, fontweight="bold", wrap=True, color=LIGHT["ink"])
    for (figure, chart), ax in zip(charts, axes.flat):
        _draw(chart, ax)
        title = f"{figure.title}: {chart.title}" if chart.title else figure.title
        ax.set_title(title, loc="left", fontsize=12, fontweight="bold", color=LIGHT["ink"])
    for ax in axes.flat[len(charts) :]:
        ax.set_axis_off()
    return whole


def _samples(data: tuple[Any, ...], settings: dict[str, Any]) -> Samples:
    if len(data) == 1 and isinstance(data[0], Report):
        if settings:
            raise C3AlignError(f"a Report was measured already; leave {', '.join(settings)} away, or pass arrays")
        return data[0].samples
    return samples_of(data, **settings)


def _of_pair(
    chart: Callable[[Samples, int, int], Figure],
    data: tuple[Any, ...],
    pair: tuple[str, str] | None,
    ax: Any,
    settings: dict[str, Any],
) -> Any:
    samples = _samples(data, settings)
    i, j = (0, 1) if pair is None else map(samples.index, pair)
    return _on_axes(chart(samples, i, j), ax)


def _on_axes(figure: Figure, ax: Any) -> Any:
    """Draw the figure's charts, on new axes unless some are given."""
    plt = need("matplotlib.pyplot", "matplotlib", "plots")
    n = len(figure.charts)
    if ax is None:
        _, ax = plt.subplots(1, n, figsize=(n * _INCHES[0], _INCHES[1]), layout="constrained")
    given = np.ravel(ax)
    if len(given) != n:
        raise C3AlignError(f"{figure.name} is drawn on {n} axes and {len(given)} were passed; pass {n}, or none")
    for chart, one in zip(figure.charts, given):
        _draw(chart, one)
        one.set_title(chart.title or figure.title, loc="left", fontweight="bold", color=LIGHT["ink"])
    return given if n > 1 else given[0]


def _draw(chart: Chart, ax: Any) -> None:
    for series in chart.series:
        _DRAW[series.kind](series, ax)
    x_range, y_range = chart.ranges()
    ax.set_xscale("log" if chart.x_log else "linear")
    ax.set_yscale("log" if chart.y_log else "linear")
    if chart.equal:
        ax.set_aspect("equal", adjustable="box")
        half = max(x_range[1] - x_range[0], y_range[1] - y_range[0]) / 2
        x_range, y_range = (((low + high) / 2 - half, (low + high) / 2 + half) for low, high in (x_range, y_range))
    ax.set_xlim(*x_range)
    ax.set_ylim(*y_range)
    ax.set_xlabel(chart.x_label, color=LIGHT["muted"])
    ax.set_ylabel(chart.y_label, color=LIGHT["muted"])
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(LIGHT["muted"])
    ax.tick_params(colors=LIGHT["muted"], labelbottom=not chart.bare, labelleft=not chart.bare, length=0)
    ax.grid(color=LIGHT["grid"], zorder=0)
    ax.set_axisbelow(True)
    if any(series.label for series in chart.series):
        ax.legend(frameon=False, fontsize="small", labelcolor=LIGHT["ink"])


def _line(series: Series, ax: Any) -> None:
    marker = _marker(series) if series.tips else None
    style = "--" if series.dashed else "-"
    ax.plot(series.x, series.y, style, marker=marker, markersize=4, color=LIGHT[series.colour], label=_label(series))


def _points(series: Series, ax: Any) -> None:
    colour = LIGHT[series.colour]
    ax.scatter(
        series.x, series.y, s=9, alpha=0.6, linewidths=0, marker=_marker(series), color=colour, label=_label(series)
    )


def _marks(series: Series, ax: Any) -> None:
    look = {"s": 90, "zorder": 3, "marker": _marker(series), "color": LIGHT[series.colour], "edgecolor": "white"}
    ax.scatter(series.x, series.y, label=_label(series), **look)


def _area(series: Series, ax: Any) -> None:
    colour, style = LIGHT[series.colour], "--" if series.dashed else "-"
    ax.stairs(series.y, series.x, fill=True, color=colour, alpha=0.06 if series.dashed else 0.16)
    ax.stairs(series.y, series.x, color=colour, linestyle=style, linewidth=1.3, label=_label(series))


def _rule(series: Series, ax: Any) -> None:
    ax.axvline(float(series.x[0]), linestyle="--", linewidth=1, color=LIGHT[series.colour], label=_label(series))


def _marker(series: Series) -> str:
    return _MARKERS[SHAPES[series.shape % len(SHAPES)]]


def _label(series: Series) -> str:
    return series.label or "_nolegend_"


_DRAW = {"line": _line, "points": _points, "marks": _marks, "area": _area, "rule": _rule}
