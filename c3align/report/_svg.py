"""Charts as SVG for the page: colors by CSS class, words as text, one coordinate system for all screens."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np

from c3align._typing import Float64Array
from c3align.report._chart import SHAPES, Chart, Series, log_ticks, ticks

WIDTH = 360  # the width of a phone, so that words are readable there
HEIGHT = 250
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 22, 36
RADIUS, LARGE = 2.2, 6.0
_MINUS = "\N{MINUS SIGN}"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
Place = Callable[[Float64Array], Float64Array]


def draw(chart: Chart, name: str, title: str, finding: str) -> str:
    """The whole `<svg>` element; `name` makes the ids of its title and description."""
    height = WIDTH - LEFT - RIGHT + TOP + BOTTOM - 60 if chart.equal else HEIGHT
    left, top, right, bottom = box = (LEFT, TOP, WIDTH - RIGHT, height - BOTTOM)
    x_range, y_range = chart.ranges()
    if chart.equal:
        x_range, y_range = _same_scale(x_range, y_range, box)
    place_x = _placed(x_range, chart.x_log, box[0], box[2])
    place_y = _placed(y_range, chart.y_log, box[3], box[1])
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{name}-t {name}-d">',
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(finding)}</desc>',
        f'<clipPath id="{name}-c"><path d="M{left - 5} {top - 5}H{right + 5}V{bottom + 5}H{left - 5}z"/></clipPath>',
        *_axes(chart, x_range, y_range, place_x, place_y, box),
        f'<g clip-path="url(#{name}-c)">',
        *(_DRAW[series.kind](series, place_x, place_y, box) for series in chart.series),
        "</g></svg>",
    ]
    return "".join(parts)


def _same_scale(
    x: tuple[float, float], y: tuple[float, float], box: tuple[int, int, int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges that hold both, with the same scale."""
    wide, high = box[2] - box[0], box[3] - box[1]
    unit = max((x[1] - x[0]) / wide, (y[1] - y[0]) / high)
    centres = (x[0] + x[1]) / 2, (y[0] + y[1]) / 2
    halves = unit * wide / 2, unit * high / 2
    return (centres[0] - halves[0], centres[0] + halves[0]), (centres[1] - halves[1], centres[1] + halves[1])


def _placed(limits: tuple[float, float], log: bool, first: float, last: float) -> Place:
    low, high = (math.log10(limit) for limit in limits) if log else limits

    def place(values: Float64Array) -> Float64Array:
        values = np.log10(np.maximum(values, 1e-300)) if log else np.asarray(values, float)
        return first + (values - low) / (high - low) * (last - first)

    return place


def _axes(
    chart: Chart,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    place_x: Place,
    place_y: Place,
    box: tuple[int, int, int, int],
) -> list[str]:
    """Grid, numbers and names of the axes."""
    left, top, right, bottom = box
    parts = [f'<path class="axis" d="M{left} {bottom}H{right}"/>']
    x_ticks = (log_ticks if chart.x_log else ticks)(*x_range)
    y_ticks = (log_ticks if chart.y_log else ticks)(*y_range, 5)
    for word, y in zip(_numbers(y_ticks), place_y(np.array(y_ticks))):
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        if not chart.bare:
            parts.append(f'<text class="num" x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{word}</text>')
    for word, x in zip(_numbers(x_ticks), place_x(np.array(x_ticks))):
        if chart.bare:
            parts.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>')
            continue
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
        anchor = "end" if x > right - 8 else "middle"
        at = min(x, right + 4) if anchor == "end" else x
        parts.append(f'<text class="num" x="{at:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{word}</text>')
    middle = (left + right) / 2
    parts.append(f'<text class="lab" x="{left if chart.bare else 0}" y="12">{escape(chart.y_label)}</text>')
    parts.append(
        f'<text class="lab" x="{middle:.0f}" y="{bottom + 31}" text-anchor="middle">{escape(chart.x_label)}</text>'
    )
    return parts


def _numbers(values: list[float]) -> list[str]:
    """Labels of ticks: all in powers of ten if one needs it."""
    sizes = [abs(value) for value in values if value]
    if sizes and not 1e-3 <= min(sizes) <= max(sizes) < 1e5:
        return [_power(value) if value else "0" for value in values]
    return [f"{value:,.6g}".replace("-", _MINUS) for value in values]


def _power(value: float) -> str:
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    factor = value / 10.0**exponent
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    return power if abs(factor - 1) < 1e-6 else f"{factor:g}·{power}".replace("-", _MINUS)


def _line(series: Series, place_x: Place, place_y: Place, box: tuple[int, int, int, int]) -> str:
    x, y = place_x(series.x), place_y(series.y)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
    dashed = " dash" if series.dashed else ""
    parts = [f'<polyline class="line {series.colour}{dashed}" points="{points}"/>']
    if series.tips:
        parts.append(_shapes(series, x, y, 3.2))
    return "".join(parts)


def _points(series: Series, place_x: Place, place_y: Place, box: tuple[int, int, int, int]) -> str:
    look: Any = (LARGE, "marks") if series.kind == "marks" else (RADIUS, "dots")
    return _shapes(series, place_x(series.x), place_y(series.y), *look)


def _shapes(series: Series, x: Float64Array, y: Float64Array, radius: float, kind: str = "tipped") -> str:
    tips = series.tips or ("",) * len(x)
    return (
        f'<g class="{kind} {series.colour}">'
        + "".join(_shape(series.shape, a, b, radius, tip) for a, b, tip in zip(x, y, tips))
        + "</g>"
    )


def _shape(shape: int, x: float, y: float, radius: float, tip: str) -> str:
    tail = f"><title>{escape(tip)}</title></path>" if tip else "/>"
    return f'<path transform="translate({x:.1f} {y:.1f})" d="{_outline(shape, radius)}"{tail}'


def _outline(shape: int, r: float) -> str:
    """A shape of about the same area around the origin."""
    kind = SHAPES[shape % len(SHAPES)]
    if kind == "circle":
        return f"M{-r:g} 0a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0"
    if kind == "square":
        s = 0.88 * r
        return f"M{-s:.3g} {-s:.3g}h{2 * s:.3g}v{2 * s:.3g}h{-2 * s:.3g}z"
    if kind == "diamond":
        s = 1.25 * r
        return f"M0 {-s:.3g}L{s:.3g} 0 0 {s:.3g} {-s:.3g} 0z"
    s = 1.3 * r if kind == "triangle" else -1.3 * r
    return f"M0 {-s:.3g}L{s:.3g} {0.7 * s:.3g}H{-s:.3g}z"


def _area(series: Series, place_x: Place, place_y: Place, box: tuple[int, int, int, int]) -> str:
    """A histogram: its outline, and a bar over each bin that says its height."""
    x, y = place_x(series.x), place_y(series.y)
    floor = box[3]
    steps = "".join(f"V{b:.1f}H{a:.1f}" for a, b in zip(x[1:], y))
    dashed = " dash" if series.dashed else ""
    parts = [f'<path class="area {series.colour}{dashed}" d="M{x[0]:.1f} {floor}{steps}V{floor}z"/>']
    if series.tips:
        bars = [
            f'<path d="M{a:.1f} {box[1]}H{b:.1f}V{floor}H{a:.1f}z"><title>{escape(tip)}</title></path>'
            for a, b, tip in zip(x, x[1:], series.tips)
            if tip
        ]
        parts.append(f'<g class="bars">{"".join(bars)}</g>')
    return "".join(parts)


def _rule(series: Series, place_x: Place, place_y: Place, box: tuple[int, int, int, int]) -> str:
    x = float(place_x(series.x)[0])
    return f'<path class="line rule {series.colour} dash" d="M{x:.1f} {box[1]}V{box[3]}"/>'


_DRAW = {"line": _line, "points": _points, "marks": _points, "area": _area, "rule": _rule}


def swatch(series: Series) -> str:
    """A small picture of a series for a legend."""
    dashed = " dash" if series.dashed else ""
    if series.kind == "area":
        inner = f'<path class="area {series.colour}{dashed}" d="M1 11V3H21V11z"/>'
    elif series.kind in ("points", "marks"):
        inner = f'<g class="dots {series.colour}">{_shape(series.shape, 11, 6, 4, "")}</g>'
    else:
        inner = f'<path class="line {series.colour}{dashed}" d="M1 6H21"/>'
        if series.tips:
            inner += f'<g class="tipped {series.colour}">{_shape(series.shape, 11, 6, 3.2, "")}</g>'
    return f'<svg class="swatch" viewBox="0 0 22 12" aria-hidden="true">{inner}</svg>'
