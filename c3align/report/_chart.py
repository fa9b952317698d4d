"""Pictures as plain data. `_svg` draws them on the page, `_plots` on matplotlib axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from c3align._typing import Float64Array

Kind = Literal["area", "line", "marks", "points", "rule"]
INK = "ink"

# by role: modality 0, 1, ... and the rest; on the page they are CSS variables. Distinct for color-blind readers, at
# least 4.5 to 1 on the page and 3 to 1 on each other's neighbors; the tests compute it
ROLES = ("m0", "m1", "m2", "m3", "m4", "m5", "ink", "muted", "grid", "page", "card")


def _palette(colors: str) -> dict[str, str]:
    return {role: f"#{color}" for role, color in zip(ROLES, colors.split())}


LIGHT = _palette("0B62A4 B54708 0F7A5A 8E3A9D 7A6200 B4235A 1B1F24 5A6572 E3E7EB FBFBFA FFFFFF")
DARK = _palette("6CB6F5 F5A25D 5CCFA6 D59BE3 D9BF4B F58FB0 E8EBEE A2ADB9 2C343D 0F1317 171C22")
N_COLOURS = 6
SHAPES = ("circle", "square", "triangle", "diamond", "wedge")  # beside each color, for color-blind readers


def role(modality: int) -> str:
    """The color of the i-th modality."""
    return f"m{modality % N_COLOURS}"


def fixed(value: float, digits: int = 2) -> str:
    """A number with this many decimals; what rounds to zero has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def listed(words: list[str] | tuple[str, ...]) -> str:
    """Words joined by commas and "and"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


@dataclass(frozen=True, eq=False)
class Series:
    """One thing in a chart: a line; many small points or few large marks; a histogram; an upright line."""

    kind: Kind
    x: Float64Array  # (n,); of an area the edges, one more; of a rule its place
    y: Float64Array
    label: str = ""  # in the legend, when not empty
    colour: str = INK  # a role: "m0", "m1", ... for modalities, "ink", "muted"
    shape: int = 0  # of points and marks, see `SHAPES`
    dashed: bool = False
    tips: tuple[str, ...] = ()  # what each of the points (or, of an area, each bar) says when pointed at


@dataclass(frozen=True, eq=False)
class Chart:
    """One pair of axes. Missing ranges are computed; `equal` gives both axes one scale."""

    series: tuple[Series, ...]
    x_label: str
    y_label: str
    title: str = ""
    x_log: bool = False
    y_log: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    equal: bool = False
    bare: bool = False  # no numbers on the axes: only distances matter

    def ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges of x and y: as given, or those of the series with a margin."""
        shown = [series for series in self.series if series.kind != "rule"]
        is_line = all(series.kind in ("line", "area") for series in shown)
        x = self.x_range or _range([series.x for series in shown], self.x_log, 0.0 if is_line else 0.04)
        y = self.y_range or _range([series.y for series in shown], self.y_log, 0.05)
        if self.y_range is None and any(series.kind == "area" for series in shown):
            y = (0.0, y[1])
        return x, y


@dataclass(frozen=True, eq=False)
class Figure:
    """One picture of the report: a chart, or two of which the second shows the state after alignment."""

    name: str  # short, for ids and file names
    title: str
    finding: str  # what it shows, in words with figures: caption and alternative text
    charts: tuple[Chart, ...]


def _range(values: list[Float64Array], log: bool, room: float) -> tuple[float, float]:
    joined = np.concatenate([np.ravel(part) for part in values])
    joined = joined[np.isfinite(joined) & (joined > 0)] if log else joined[np.isfinite(joined)]
    if not joined.size:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(joined.min()), float(joined.max())
    if log:
        low, high = math.log10(low), math.log10(high)
    margin = room * (high - low) or (0.5 if high == low else 0.0)
    low, high = low - margin, high + margin
    return (10**low, 10**high) if log else (low, high)


def ticks(low: float, high: float, at_most: int = 6) -> list[float]:
    """Round numbers in [low, high], 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / at_most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step if abs(k * step) > 1e-12 * step else 0.0 for k in range(first, last + 1)]


def log_ticks(low: float, high: float, at_most: int = 6) -> list[float]:
    """Powers of ten in [low, high], every n-th when there are many; 1, 2 and 5 times them when there are few.

    A range between two of those has the round numbers of `ticks`.
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = list(range(first, last + 1))
    if len(decades) < 3:
        fine = [f * 10.0**k for k in range(first - 1, last + 1) for f in (1, 2, 5)]
        return [tick for tick in fine if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)] or ticks(low, high, at_most)
    every = -(-len(decades) // at_most)
    return [10.0**k for k in decades if (k - first) % every == 0]
