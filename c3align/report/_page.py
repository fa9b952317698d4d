"""The report as one page that stands on its own: no request, no script needed, light and dark, phone and desk."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from collections.abc import Callable, Iterable
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from c3align import ops
from c3align._version import __version__
from c3align.report import _charts, _svg, _text
from c3align.report._chart import DARK, LIGHT, Figure, Series, role
from c3align.report._samples import WHENS

if TYPE_CHECKING:
    from c3align.report._advice import Advice
    from c3align.report._figures import PairReport, Report

__all__ = ["render"]

KINDS = {"good": "Good", "care": "Take care", "do": "Do"}
TERMS = {
    "gap": "The distance between the means of two modalities, all rows brought to length 1. Contrastive encoders put "
    "each modality into a cone of its own.",
    "centring": "Each modality minus its own mean, then back to length 1: the collapse of C3 (Connect, "
    "Collapse, Corrupt, ICLR 2024).",
    "residual": "What remains of the difference of a pair once the gap is taken out: alignment noise, of standard "
    "deviation sigma per dimension.",
    "noise cosine": "Expected cosine between a centred row and the same row with noise: the strength of noise in a "
    "unit that does not depend on the number of dimensions.",
    "effective dimension": "How many principal directions hold 99 % of a modality's variance.",
    "participation": "How many directions the variance fills when weighed by size; all dimensions when it is even.",
    "uniformity": "How evenly rows cover the sphere (Wang and Isola, 2020); lower is more even.",
}


def render(found: Report, provenance: dict[str, str]) -> str:
    """The whole page."""
    style = _asset("page.css").replace("/* colours */", _colours())
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f'<meta name="description" content="{escape(found.headline())}">',
        f"<title>{escape(_title(found))} · c3align report</title>",
        '<link rel="icon" href="data:,">',
        f"<style>\n{style}</style>\n</head>\n<body>",
        '<a class="skip" href="#main">Skip to the figures</a>',
        _header(found),
        '<main id="main">',
        _overview(found),
        _advice_section(
            [item for item in found.advice() if item.pair is None or len(found.pairs) == 1], len(found.pairs)
        ),
        *(_pair_section(found, pair) for pair in found.pairs),
        _modalities(found),
        _terms(found),
        "</main>",
        _footer(found, provenance),
        f'<script type="application/json" id="figures">{_json(found)}</script>',
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _asset(name: str) -> str:
    return resources.files("c3align.report").joinpath(name).read_text("utf-8")


def _colours() -> str:
    def declared(palette: dict[str, str]) -> str:
        return " ".join(f"--{name}: {colour};" for name, colour in palette.items())

    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {declared(DARK)} }} }}"
    classes = " ".join(f".{name} {{ --c: var(--{name}); }}" for name in LIGHT if name not in ("page", "card", "grid"))
    return f":root {{ {declared(LIGHT)} }}\n{dark}\n{classes}"


def _json(found: Report) -> str:
    """The figures; no string in them can end the element they are in."""
    return json.dumps(found.to_dict(), sort_keys=True).replace("<", "\\u003c")


def _title(found: Report) -> str:
    pair = _text.lead(found)
    return f"{pair.names[0]} and {pair.names[1]}, {pair.before.gap_norm:.2f} apart"


def _coloured(found: Report, name: str) -> str:
    return f'<span class="name {role(found.names.index(name))}">{escape(name)}</span>'


def _header(found: Report) -> str:
    pair = _text.lead(found)
    a, b = (_coloured(found, name) for name in pair.names)
    before, after, query = pair.before, pair.after, escape(pair.names[1])
    widest = f"The widest of {len(found.pairs)} gaps: " if len(found.pairs) > 1 else ""
    return f"""<header class="top">
<p class="brand">c3align <span>report</span></p>
<h1>{a} and {b} sit {before.gap_norm:.2f} apart</h1>
<p class="lede">{widest}{_text.percent(before.modality_bias[1])} of a {query} row's nearest neighbours are {query} \
rows. After {_text.after_word(found)}, the gap is {after.gap_norm:.2f} and the share \
{_text.percent(after.modality_bias[1])}.</p>
<p class="sub">{escape(_text.sampling(found)).capitalize()}, {found.n_dims} dimensions.</p>
</header>"""


def _overview(found: Report) -> str:
    cards = "".join(_cards(_text.lead(found))) if len(found.pairs) == 1 else ""
    cards = f'<ul class="cards">{cards}</ul>' if cards else _matrix(found)
    figure = _figure(_charts.cones(found.samples), "cones", 3)
    return f'<section aria-labelledby="overview"><h2 id="overview">At a glance</h2>{cards}{figure}</section>'


def _cards(pair: PairReport) -> Iterable[str]:
    """The figures to remember, each with a bar for before and one for after."""
    s, t = pair.before, pair.after
    yield _card("Gap", "distance of the means", (s.gap_norm, t.gap_norm), 2.0, "{:.2f}".format)
    biases = tuple(sum(state.modality_bias) / 2 for state in (s, t))
    yield _card("Own kind", "of the 10 nearest neighbours", biases, 1.0, _text.percent)
    if s.recall_a_to_b and s.recall_b_to_a and t.recall_a_to_b and t.recall_b_to_a:
        recalls = ((s.recall_a_to_b[1] + s.recall_b_to_a[1]) / 2, (t.recall_a_to_b[1] + t.recall_b_to_a[1]) / 2)
        yield _card("R@1", "mean of both directions", recalls, 1.0, "{:.3f}".format)
    elif s.separability is not None and t.separability is not None:
        yield _card("Told apart", "by a linear classifier", (s.separability, t.separability), 1.0, _text.percent)
    yield _card(
        "Shapes differ",
        "0 alike, 1 nothing in common",
        (s.covariance_distance, t.covariance_distance),
        1.0,
        "{:.2f}".format,
    )


def _card(name: str, what: str, values: tuple[float, ...], most: float, told: Callable[[float], str]) -> str:
    bars = "".join(
        f'<i class="{when}" style="width:{100 * min(value / most, 1):.1f}%"></i>'
        for when, value in zip(("was", "now"), values)
    )
    was, now = (
        f'<span class="{style}"><span class="hidden">{when} </span>{told(value)}</span>'
        for style, when, value in zip(("was", "now"), WHENS, values)
    )
    return (
        f'<li><p class="key">{name}</p><p class="value">{was} <span aria-hidden="true">→</span> {now}</p>'
        f'<p class="bar" aria-hidden="true">{bars}</p><p class="what">{what}</p></li>'
    )


def _matrix(found: Report) -> str:
    """Gaps of all pairs, before and after."""
    names = found.names
    head = "".join(f'<th scope="col">{_coloured(found, name)}</th>' for name in names)
    rows = []
    for a in names:
        cells = "".join(f"<td>{_gap_cell(found, a, b)}</td>" for b in names)
        rows.append(f'<tr><th scope="row">{_coloured(found, a)}</th>{cells}</tr>')
    caption = f"Gap between each two modalities, before and after {_text.after_word(found)}"
    return _table(caption, f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody>", "matrix")


def _gap_cell(found: Report, a: str, b: str) -> str:
    if a == b:
        return '<span class="muted" aria-label="the same">·</span>'
    pair = found.pair(a, b)
    return f'{pair.before.gap_norm:.2f} <span aria-hidden="true">→</span> {pair.after.gap_norm:.2f}'


def _words(text: str) -> str:
    """Text for the page; a per cent sign stays with its number."""
    return escape(text).replace(" %", "\N{NO-BREAK SPACE}%")


def _table(caption: str, inner: str, kind: str = "") -> str:
    label = escape(caption)
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table class="{kind}">'
        f"<caption><span>{label}</span></caption>{inner}</table></div>"
    )


def _advice_section(items: list[Advice], n_pairs: int) -> str:
    if not items:
        return ""
    title = "What this means" if n_pairs == 1 else "For all of them"
    return f'<section aria-labelledby="advice"><h2 id="advice">{title}</h2>{_advice_list(items)}</section>'


def _advice_list(items: list[Advice]) -> str:
    return f'<ul class="advice">{"".join(map(_advice, items))}</ul>'


def _advice(item: Advice) -> str:
    code = f'<p class="code"><code>{escape(item.code)}</code></p>' if item.code else ""
    return (
        f'<li class="{item.kind}"><p class="tag">{KINDS[item.kind]}</p><h3>{escape(item.title)}</h3>'
        f"<p>{_words(item.text)}</p>{code}</li>"
    )


def _pair_section(found: Report, pair: PairReport) -> str:
    i, j = (found.names.index(name) for name in pair.names)
    name = f"pair-{i}-{j}"
    title = f"{_coloured(found, pair.names[0])} and {_coloured(found, pair.names[1])}"
    advice = "" if len(found.pairs) == 1 else _advice_list([a for a in found.advice() if a.pair == pair.names])
    pictures = [draw(found.samples, i, j) for draw in _charts.of_pair(found.samples)]
    figures = "".join(_figure(picture, f"{name}-{picture.name}", 3) for picture in pictures)
    notes = "".join(f"<li>{escape(note)}</li>" for note in _text.notes(pair))
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{advice}{_pair_table(found, pair)}'
        f'<ul class="notes">{notes}</ul><div class="grid">{figures}</div></section>'
    )


def _pair_table(found: Report, pair: PairReport) -> str:
    rows = []
    for line in _text.lines(pair):
        sampled = "" if line.from_all or not found.samples.is_sampled else " (sample)"
        rows.append(
            f'<tr><th scope="row">{escape(line.text)}{sampled}<small>{_words(line.meaning)}</small></th>'
            f"<td>{_words(line.before)}</td><td>{_words(line.after)}</td></tr>"
        )
    caption = f"{pair.names[0]} and {pair.names[1]}, before and after {_text.after_word(found)}"
    head = '<thead><tr><th scope="col">Figure</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>'
    return _table(caption, f"{head}<tbody>{''.join(rows)}</tbody>", "states")


def _modalities(found: Report) -> str:
    columns = "".join(f'<th scope="col">{_coloured(found, name)}</th>' for name in found.names)
    told = [_text.modality_lines(part, found.n_dims) for part in found.modalities]
    rows = "".join(
        f'<tr><th scope="row">{line[0][0]}</th>{"".join(f"<td>{value}</td>" for _, value in line)}</tr>'
        for line in zip(*told)
    )
    table = _table("Each modality on its own", f"<thead><tr><td></td>{columns}</tr></thead><tbody>{rows}</tbody>")
    figure = _figure(_charts.spectra(found.samples), "spectra", 3)
    both = f'<div class="beside">{table}{figure}</div>'
    return f'<section aria-labelledby="each"><h2 id="each">Each modality</h2>{both}</section>'


def _terms(found: Report) -> str:
    terms = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in TERMS.items())
    return (
        '<section aria-labelledby="terms"><h2 id="terms">How it was measured</h2>'
        f"<p>{escape(_text.sampling(found)).capitalize()}. Every row was brought to length 1 first. “After” is "
        f'{escape(found.aligned_by)}.</p><dl class="terms">{terms}</dl></section>'
    )


def _footer(found: Report, provenance: dict[str, str]) -> str:
    own = {
        "c3align": f"{__version__}, {ops.backend()} backend",
        "NumPy": f"{np.__version__}, Python {platform.python_version()}",
        "dtype": ", ".join(f"{part.name} {part.dtype}" for part in found.modalities),
    }
    entries = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in {**provenance, **own}.items()
        if value
    )
    return (
        f'<footer aria-labelledby="from"><h2 id="from">Where this comes from</h2><dl class="from">{entries}</dl>'
        "<p>All figures stand as JSON in this page's source, in the element <code>#figures</code>.</p></footer>"
    )


def _figure(figure: Figure, name: str, level: int) -> str:
    """Title, legend, one chart or two, and what is to be seen."""
    several = len(figure.charts) > 1
    panels = "".join(
        f'<div class="panel">{f"<p class=when>{chart.title}</p>" if several else ""}'
        + _svg.draw(
            chart,
            name=f"{name}-{k}",
            title=f"{figure.title}, {chart.title}" if several else figure.title,
            finding=figure.finding,
        )
        + "</div>"
        for k, chart in enumerate(figure.charts)
    )
    kind = "wide" if several else ""
    return (
        f'<figure id="{name}" class="{kind}" aria-labelledby="{name}-h"><h{level} id="{name}-h">{escape(figure.title)}'
        f'</h{level}>{_legend(figure)}<div class="panels">{panels}</div>'
        f"<figcaption>{_words(figure.finding)}</figcaption></figure>"
    )


def _legend(figure: Figure) -> str:
    labelled: dict[str, Series] = {}
    for series in figure.charts[0].series:
        if series.label:
            labelled.setdefault(series.label, series)
    entries = "".join(f"<li>{_svg.swatch(series)}{escape(label)}</li>" for label, series in labelled.items())
    return f'<ul class="legend">{entries}</ul>' if entries else ""
