"""The report's page: what its source promises, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from c3align import report
from c3align.report import _charts, _svg
from c3align.report._chart import DARK, LIGHT, N_COLOURS, Chart, Series
from tests import browser
from tests.test_report import space

VOID = {"meta", "link", "br", "i"}
HOSTILE = ("<script>alert(1)</script>", 'a" onload="x', "&amp;")


class Page(HTMLParser):
    """All elements of a page with their attributes, text and parents."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict] = []
        self._open: list[dict] = []
        self.feed(text)
        assert not self._open, f"left open: {[e['tag'] for e in self._open]}"

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", "parents": [e["tag"] for e in self._open], **dict(attrs)}
        self.elements.append(element)
        if tag not in ("meta", "link"):
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", "parents": [e["tag"] for e in self._open], **dict(attrs)})

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]


@pytest.fixture(scope="module")
def html(coco_report):
    return coco_report.to_html(provenance={"Command": "c3align report image.npy text.npy", "Date": ""})


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.fixture(scope="module")
def three():
    a, b = space(n=60)
    return report.report(a, b, a[::-1] + 0.3 * b, names=HOSTILE)


class TestSource:
    def test_it_stands_alone(self, html, page):
        assert not re.search(r"https?://|url\((?!#)|@import", html)
        assert not [e for e in page.elements if e["tag"] in ("img", "iframe", "object", "video")]
        assert [e.get("href") for e in page.all("link", "a")] == ["data:,", "#main"]
        policy = next(e["content"] for e in page.all("meta") if e.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none';")
        assert "script-src 'sha256-" in policy
        assert len(html) < 1_500_000

    def test_the_same_input_gives_the_same_bytes(self, html):
        once, again = (report.report(*space()).to_html(provenance={"Command": "c3align report"}) for _ in range(2))
        assert once == again
        assert "Date" not in html  # what is empty is left out

    def test_names_cannot_act(self, three):
        html = three.to_html(provenance={"Command": "<b>x</b>"})
        page = Page(html)
        assert "<script>alert" not in html
        assert not [e for e in page.elements if "onload" in e]
        assert not page.all("b")
        assert any(HOSTILE[0] in e["text"] for e in page.all("th"))
        assert len(page.all("script")) == 2

    def test_headings_are_in_order(self, page):
        levels = [int(e["tag"][1]) for e in page.elements if re.fullmatch("h[1-6]", e["tag"])]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))

    def test_landmarks_and_names(self, page):
        assert page.elements[0]["lang"] == "en"
        assert [len(page.all(tag)) for tag in ("header", "main", "footer")] == [1, 1, 1]
        ids = [e["id"] for e in page.elements if "id" in e]
        assert len(ids) == len(set(ids))
        labelled = [e for e in page.elements if "aria-labelledby" in e]
        assert len(labelled) > 20
        for element in labelled:
            assert set(element["aria-labelledby"].split()) <= set(ids)
        assert all(e.get("aria-labelledby") for e in page.all("section"))

    def test_pictures_say_what_is_to_be_seen(self, coco_report, page):
        drawn = [e for e in page.all("svg") if e.get("role") == "img"]
        assert len(drawn) == 11
        said = [e["text"] for e in page.all("desc")]
        for figure in (_charts.cones(coco_report.samples), _charts.recall(coco_report.samples, 0, 1)):
            assert figure.finding in said
            assert re.search(r"\d", figure.finding)
        assert all(len(text) > 60 for text in said)
        rest = [e for e in page.all("svg") if e.get("role") != "img"]
        assert all(e.get("aria-hidden") == "true" for e in rest)

    def test_tables_have_captions_and_scopes(self, page):
        assert len(page.all("caption")) == len(page.all("table")) == 2
        assert all(e.get("scope") in ("row", "col") for e in page.all("th"))
        regions = [e for e in page.all("div") if e.get("role") == "region"]
        assert all(e["tabindex"] == "0" and e["aria-label"] for e in regions)

    def test_figures_are_those_of_the_report(self, coco_report, page):
        held = json.loads(next(e["text"] for e in page.all("script") if e.get("id") == "figures"))
        assert held == json.loads(json.dumps(coco_report.to_dict()))
        cells = [e["text"] for e in page.all("td")]
        assert "0.851" in cells
        assert ".552 / .808 / .892" in cells
        assert "94 / 94\N{NO-BREAK SPACE}%" in cells
        assert coco_report.headline()[:30] in next(
            e["content"] for e in page.all("meta") if e.get("name") == "description"
        )

    def test_more_than_two(self, three):
        page = Page(three.to_html())
        assert page.all("caption")[0]["text"].startswith("Gap between each two modalities")
        assert len([e for e in page.all("svg") if e.get("role") == "img"]) == 2 + 3 * 8 + 1


def contrast(first: str, second: str) -> float:
    """WCAG 2.2: of the brighter to the darker."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


class TestColours:
    @pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
    def test_contrast(self, palette):
        """Names of modalities are words in their colour: 4.5 to 1, on the page and on its cards."""
        for role in (*(f"m{k}" for k in range(N_COLOURS)), "ink", "muted"):
            for ground in ("page", "card"):
                assert contrast(palette[role], palette[ground]) >= 4.5, (role, ground)
        assert contrast("#000000", "#ffffff") == pytest.approx(21)

    @pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
    def test_no_two_modalities_look_alike_to_the_colour_blind(self, palette):
        """Machado's matrices (2009) for protanopia and deuteranopia, in linear light; the first four modalities."""
        seen = {
            "protanopia": [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
            "deuteranopia": [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.01182, 0.04294, 0.968881],
            ],
        }
        for matrix in seen.values():
            colours = []
            for k in range(3):
                parts = np.array([int(palette[f"m{k}"][i : i + 2], 16) for i in (1, 3, 5)]) / 255
                linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
                mixed = np.clip(np.array(matrix) @ linear, 0, 1)
                colours.append(np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055))
            apart = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]
            assert min(apart) > 0.15

    def test_the_page_has_both(self, html):
        assert f"--m0: {LIGHT['m0']};" in html
        assert re.search(r"prefers-color-scheme: dark\) \{ :root \{[^}]*--m0: " + DARK["m0"], html)


class TestSvg:
    def test_marks_are_where_the_figures_are(self):
        """Positions read back from the drawing, through ticks that say their numbers."""
        x, y = np.array([0.0, 3.0, 10.0]), np.array([1.0, 100.0, 1000.0])
        chart = Chart(
            (Series("points", x, y, tips=("p", "q", "r")),), "x", "y", y_log=True, x_range=(0, 10), y_range=(1, 1e3)
        )
        drawn = Page(_svg.draw(chart, "n", "t", "f"))
        at = [tuple(map(float, re.findall(r"[\d.]+", e["transform"]))) for e in drawn.all("path") if "transform" in e]
        ticks = {e["text"]: (float(e["x"]), float(e["y"])) for e in drawn.all("text") if e.get("class") == "num"}
        for (left, top), across, up in zip(at, ("0", None, "10"), ("1", "100", "1,000")):
            assert abs(top + 3.5 - ticks[up][1]) < 0.2
            if across == "0":
                assert left == ticks["0"][0]
        left, right = at[0][0], at[2][0]
        assert at[1][0] == pytest.approx(left + 0.3 * (right - left), abs=0.1)
        low, high = at[0][1], at[2][1]
        assert at[1][1] == pytest.approx(low + 2 / 3 * (high - low), abs=0.1)  # 100 of 1 to 1,000, by powers

    def test_histograms_stand_on_the_axis(self):
        edges, heights = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 4.0, 2.0])
        series = Series("area", edges, heights, tips=("a", "b", "c"))
        chart = Chart((series,), "x", "y", x_range=(0, 3), y_range=(0, 4))
        drawn = Page(_svg.draw(chart, "n", "t", "f"))
        outline = next(e["d"] for e in drawn.all("path") if e.get("class", "").startswith("area"))
        tops = [float(v) for v in re.findall(r"V([\d.]+)H", outline)]
        floor = float(re.search(r"V([\d.]+)z", outline)[1])
        assert (floor - np.array(tops)) / (floor - tops[1]) * 4 == pytest.approx(heights, abs=0.02)

    def test_one_scale_for_both_axes(self):
        points = Series("points", np.array([0.0, 4.0]), np.array([0.0, 1.0]))
        drawn = Page(_svg.draw(Chart((points,), "x", "y", equal=True), "n", "t", "f"))
        at = [tuple(map(float, re.findall(r"[\d.]+", e["transform"]))) for e in drawn.all("path") if "transform" in e]
        assert (at[1][0] - at[0][0]) / (at[0][1] - at[1][1]) == pytest.approx(4, abs=0.01)


@pytest.fixture(scope="module")
def shown(html, three, tmp_path_factory):
    """The browser, and the two pages as files."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "two.html").write_text(html, encoding="utf-8")
    (folder / "three.html").write_text(three.to_html(), encoding="utf-8")
    with browser.Browser(browser.find()) as opened:
        yield opened, folder


PICTURES = "[...document.querySelectorAll('svg[role=img]')]"
BOXES = f"{PICTURES}.map(e => e.getBoundingClientRect()).map(b => [b.left, b.right, b.height])"


class TestBrowser:
    @pytest.mark.parametrize("name", ["two", "three"])
    @pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
    @pytest.mark.parametrize("width", [1280, 390])
    def test_it_is_whole_and_quiet(self, shown, name, scripts, width):
        opened, folder = shown
        opened.open(folder / f"{name}.html", width=width, scripts=scripts)
        assert opened.complaints() == []
        assert opened.requests() == []
        boxes = opened.value(BOXES)
        assert len(boxes) == (11 if name == "two" else 27)
        for left, right, height in boxes:
            assert 0 <= left < right <= width
            assert height > 100
        assert opened.value("document.documentElement.scrollWidth") <= width
        assert opened.value("document.querySelectorAll('.pick').length > 0") == scripts

    @pytest.mark.parametrize("width", [1280, 390])
    def test_no_words_lie_on_others_or_are_cut(self, shown, width):
        """Of each picture: numbers and labels inside it, and no two over each other."""
        opened, folder = shown
        opened.open(folder / "two.html", width=width)
        words = opened.value(
            """(box => [...document.querySelectorAll('svg[role=img]')].map(
            svg => [box(svg), [...svg.querySelectorAll('text')].map(t => [...box(t), t.textContent])]
            ))(e => (b => [b.left, b.top, b.right, b.bottom])(e.getBoundingClientRect()))"""
        )
        for (left, top, right, bottom), texts in words:
            for a in texts:
                assert left - 1 <= a[0] <= a[2] <= right + 1, a
                assert top - 1 <= a[1] <= a[3] <= bottom + 1, a
            for i, a in enumerate(texts):
                for b in texts[:i]:
                    apart = a[2] <= b[0] or b[2] <= a[0] or a[3] - 2 <= b[1] or b[3] - 2 <= a[1]
                    assert apart, (a, b)
        font = f"{PICTURES}.map(s => 11 * s.getBoundingClientRect().width / 360)"
        assert min(opened.value(font)) >= 8.5

    def test_words_fit_their_boxes(self, shown):
        """Nothing scrolls sideways on a phone but a table that says so."""
        opened, folder = shown
        opened.open(folder / "two.html", width=390)
        wide = opened.value(
            "[...document.querySelectorAll('h1, h2, h3, p, li, figure, figcaption, dd')]"
            ".filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && !e.closest('.hidden') "
            "&& !e.matches('.hidden')).map(e => e.outerHTML.slice(0, 80))"
        )
        assert wide == []

    def test_dark(self, shown):
        opened, folder = shown
        ground = "getComputedStyle(document.body).backgroundColor"
        line = "getComputedStyle(document.querySelector('.line.m0')).stroke"
        found = []
        for dark in (False, True):
            opened.open(folder / "two.html", dark=dark)
            found.append([opened.value(expression) for expression in (ground, line)])
        for (page, stroke), palette in zip(found, (LIGHT, DARK)):
            assert (page, stroke) == (rgb(palette["page"]), rgb(palette["m0"]))

    def test_pointing_at_a_mark_tells_its_figure(self, shown):
        opened, folder = shown
        opened.open(folder / "two.html")
        mark = "document.querySelector('#pair-0-1-recall svg[role=img] .tipped path')"
        opened.value(f"{mark}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        opened.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # has scrolled
        box = opened.value(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({mark}.getBoundingClientRect())")
        opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
        tip = "(t => t.hidden ? '' : t.textContent)(document.getElementById('tip'))"
        assert opened.value(tip) in ("image to text, before: R@1 0.552", "image to text, after: R@1 0.542")
        opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
        assert opened.value(tip) == ""
        assert opened.value("document.querySelectorAll('svg path > title').length") == 0

    def test_tips_without_scripts_are_titles(self, shown):
        opened, folder = shown
        opened.open(folder / "two.html", scripts=False)
        assert opened.value("document.querySelectorAll('svg path > title').length") > 50

    def test_before_and_after_in_turn(self, shown):
        """The buttons say what is shown, and the moving picture ends where the still one is."""
        opened, folder = shown
        opened.open(folder / "two.html")
        panels = "[...document.querySelectorAll('#cones .panel')].map(p => !p.hidden)"
        pressed = "[...document.querySelectorAll('#cones .pick button')].map(b => b.getAttribute('aria-pressed'))"
        dots = "[...document.querySelectorAll('#cones .panel:last-child .dots > path')]"
        places = f"{dots}.map(p => p.transform.baseVal[0].matrix.e)"
        still = opened.value(places)
        assert opened.value(panels) == [True, True]
        press = "document.querySelectorAll('#cones .pick button')[{}].click()"
        opened.value(press.format(1))
        assert opened.value(panels) == [True, False]
        assert opened.value(pressed) == ["false", "true", "false"]
        moved = opened.value(f"{press.format(2)}, {places}")
        assert opened.value(panels) == [False, True]
        assert np.abs(np.array(moved) - still).max() > 20  # it begins where the other panel's marks are
        opened.value("new Promise(done => setTimeout(done, 1500))")
        assert opened.value(places) == pytest.approx(still, abs=0.01)
        opened.value(press.format(0))
        assert opened.value(panels) == [True, True]
        assert opened.complaints() == []


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))})"
