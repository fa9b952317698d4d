"""The report as one self-contained page: no requests, no script needed, light and dark, any screen."""

from __future__ import annotations

import base64
import hashlib
import platform
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import jinja2
import numpy as np

from c3align import ops
from c3align._version import __version__
from c3align.report import _charts, _svg, _text
from c3align.report._chart import DARK, LIGHT, role
from c3align.report._figures import PairReport

KINDS = {"good": "Good", "care": "Take care", "do": "Do"}
Card = tuple[str, str, tuple[float, float], float, Callable[[float], str]]


def render(found: Any, provenance: dict[str, str]) -> str:
    """The whole page of a `Report`."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["words"] = lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%")  # stays with its number
    script = _asset("page.js")
    own = {
        "c3align": f"{__version__}, {ops.backend()} backend",
        "NumPy": f"{np.__version__}, Python {platform.python_version()}",
        "dtype": ", ".join(f"{part.name} {part.dtype}" for part in found.modalities),
    }
    return environment.from_string(_asset("page.html")).render(
        found=found,
        names=found.names,
        pairs=found.pairs,
        samples=found.samples,
        advice=found.advice(),
        lead=_text.widest(found.pairs),
        after=_text.after_word(found.aligned_by),
        sampling=_text.sampling(found.modalities, found.samples),
        modality_lines=zip(*(_text.modality_lines(part, found.n_dims) for part in found.modalities)),
        provenance={**provenance, **own},
        style=_asset("page.css").replace("/* colours */", _colours()),
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        cards=_cards,
        charts=_charts,
        draw=_svg.draw,
        swatch=_svg.swatch,
        lines=_text.lines,
        notes=_text.notes,
        number="{:.2f}".format,
        percent=_text.percent,
        role=role,
        kinds=KINDS,
    )


def _asset(name: str) -> str:
    return resources.files("c3align.report").joinpath(name).read_text("utf-8")


def _colours() -> str:
    def declared(palette: dict[str, str]) -> str:
        return " ".join(f"--{name}: {colour};" for name, colour in palette.items())

    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {declared(DARK)} }} }}"
    classes = " ".join(f".{name} {{ --c: var(--{name}); }}" for name in LIGHT if name not in ("page", "card", "grid"))
    return f":root {{ {declared(LIGHT)} }}\n{dark}\n{classes}"


def _cards(pair: PairReport) -> Iterator[Card]:
    """The main figures: name, meaning, before and after, the largest possible value, and the format."""
    s, t = pair.before, pair.after
    yield "Gap", "distance of the means", (s.gap_norm, t.gap_norm), 2.0, "{:.2f}".format
    biases = sum(s.modality_bias) / 2, sum(t.modality_bias) / 2
    yield "Own kind", "of the 10 nearest neighbors", biases, 1.0, _text.percent
    if s.recall_a_to_b and s.recall_b_to_a and t.recall_a_to_b and t.recall_b_to_a:
        recalls = (s.recall_a_to_b[1] + s.recall_b_to_a[1]) / 2, (t.recall_a_to_b[1] + t.recall_b_to_a[1]) / 2
        yield "R@1", "mean of both directions", recalls, 1.0, "{:.3f}".format
    elif s.separability is not None and t.separability is not None:
        yield "Separability", "by a linear classifier", (s.separability, t.separability), 1.0, _text.percent
    shapes = s.covariance_distance, t.covariance_distance
    yield "Shapes differ", "0 alike, 1 nothing in common", shapes, 1.0, "{:.2f}".format
