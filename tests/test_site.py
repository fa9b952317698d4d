"""The pages of `make docs`."""

from __future__ import annotations

import re

import pytest

import c3align
from c3align.cli._app import SUMMARIES
from tests import browser, formulas, tiny_encoders

pytest.importorskip("pdoc")
from tests import site

ROOT = site.ROOT


@pytest.fixture(scope="module")
def found():
    tiny_encoders.import_torchvision()
    return site.modules()


def test_every_readme_has_a_page(found):
    readmes = {path for path in ROOT.rglob("README.md") if not {"build", "node_modules"} & set(path.parts)}
    mine = {path for path in readmes if not any(part.startswith((".", "wt-")) for part in path.relative_to(ROOT).parts)}
    mine |= {ROOT / name for name in ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")}
    assert mine == {path for name in found if (path := site.text_of(name))}


def test_every_page_is_in_the_menu(found):
    assert {name for name in found if "." not in name} == set(site.TITLES)
    for name, up in (("c3align.ops", "../"), ("csrc", "")):
        menu = site.drawn(name, found).partition("</nav>")[0]
        assert all(f'href="{up}{page}.html">{title}<' in menu for page, title in site.TITLES.items())
        assert all(f'href="{up}c3align/{room}.html">{room}<' in menu for room in c3align._ROOMS)


def test_the_command_line(found):
    """Every command and option, from the application itself."""
    page = site.drawn("command_line", found)
    assert [name for name in SUMMARIES if f'id="c3align-{name}"' not in page] == []
    assert "<code>--noise-cosine &lt;float&gt;</code>" in page
    assert "Noise as a cosine; learned when absent." in page


def test_a_page(found):
    """Text of the README, links to pages rather than files, pictures within, and the functions behind."""
    page = site.drawn("c3align.ops", found)
    assert 'href="../benchmarks.html' in page
    assert '.md"' not in page
    assert 'id="deferred_checks"' in page
    assert "<mfrac>" in page
    assert "<code>u = x" not in page
    front = site.drawn("c3align", found)
    assert 'src="data:image/' in front


def test_no_name_is_private(found):
    for name in ("c3align.geometry", "c3align.report", "c3align.statistics"):
        page = site.drawn(name, found)
        anchors = re.findall(r'id="([^"]*)"', page)
        assert [anchor for anchor in anchors if re.search(r"(^|\.)_(?!_init__)", anchor)] == []
        assert not re.search(r"c3align[.\w]*\._[\w.]*[A-Z]", page)


def test_code_fits_a_window(found, tmp_path):
    path = browser.find()
    (tmp_path / "page.html").write_text(site.drawn("c3align.decoders", found))
    with browser.Browser(path) as window:
        for width in (1200, 390):
            window.open(tmp_path / "page.html", width=width)
            wide = "[...document.querySelectorAll('pre, html')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
            assert window.value(wide) == 0
            assert not [url for url in window.requests() if not url.startswith("file:")]


class TestFormulas:
    """As people type them, and as browsers set them."""

    @pytest.mark.parametrize(
        ("text", "body"),
        [
            ("u_x - v", "<msub><mi>u</mi><mi>x</mi></msub><mo>−</mo><mi>v</mi>"),
            ("2 sigma**2", f"<mn>2</mn>{formulas._THIN}<msup><mrow><mi>σ</mi></mrow><mrow><mn>2</mn></mrow></msup>"),
            ("a / (b + c)", "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi><mo>+</mo><mi>c</mi></mrow></mfrac>"),
            ("sqrt(1 / d)", "<msqrt><mfrac><mrow><mn>1</mn></mrow><mrow><mi>d</mi></mrow></mfrac></msqrt>"),
            ("1e-12 * n", "<msup><mn>10</mn><mrow><mo>−</mo><mn>12</mn></mrow></msup><mo>×</mo><mi>n</mi>"),
            ("S_k**-1/2", "<msubsup><mi>S</mi><mi>k</mi><mrow><mo>−</mo><mn>1/2</mn></mrow></msubsup>"),
            ("A' B", f"<msup><mrow><mi>A</mi></mrow><mrow><mo>⊤</mo></mrow></msup>{formulas._THIN}<mi>B</mi>"),
        ],
    )
    def test_what_is_set(self, text, body):
        assert f">{body}</math>" in formulas.mathml(text)

    @pytest.mark.parametrize(
        "text",
        ["fit", "n_rows", "t", "pip install", "sha256sum -c", "a.b", "x/y", "f(a=1)", "x[1, 2]", "**hub", "a - 'b'"],
    )
    def test_code_stays_code(self, text):
        assert formulas.mathml(text) is None

    @pytest.mark.parametrize("text", ["a=b", "(a", "||a", "a +", "-k", "4 * (i // 4)", "prepare(item, modality)", ""])
    def test_so_do_parts(self, text):
        assert formulas.mathml(text) is None

    def test_a_quotient_is_read_from_the_left(self):
        whole = formulas.mathml("a / b c")
        assert whole.replace(formulas._THIN, "").endswith("</mfrac><mi>c</mi></math></span>")

    def test_blocks_of_code_stay(self):
        page = "<pre><code>a / b</code></pre><p><code>a &lt; b</code></p>"
        assert formulas.in_page(page).startswith("<pre><code>a / b</code></pre><p><span")


def test_docstrings_stay_readable():
    assert "u = x * fl(1 / ||x||)" in c3align.ops.normalize.__doc__


def test_links_that_lead_to_no_page_are_text(found):
    path = ROOT / "README.md"
    text = "[a](LICENSE) [s](SECURITY.md) [b](c3align/ops/README.md#promises) [c](https://d.e)"
    assert site.linked(text, path, "c3align") == "a [s](security.html) [b](c3align/ops.html#promises) [c](https://d.e)"
    assert site.linked("[a](../../benchmarks/README.md)", ROOT / "c3align/io/README.md", "c3align.io") == (
        "[a](../benchmarks.html)"
    )
