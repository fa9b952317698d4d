"""The pages of `make docs`."""

from __future__ import annotations

import pytest

pytest.importorskip("pdoc")
from tests import site

ROOT = site.ROOT


@pytest.fixture(scope="module")
def found():
    return site.modules()


def test_every_readme_has_a_page(found):
    readmes = {path for path in ROOT.rglob("README.md") if not {"build", "node_modules"} & set(path.parts)}
    mine = {path for path in readmes if not any(part.startswith((".", "wt-")) for part in path.relative_to(ROOT).parts)}
    assert mine == {path for name in found if (path := site.readme_of(name))}


def test_a_page(found):
    """Text of the README, links to pages rather than files, pictures within, and the functions behind."""
    page = site.drawn("c3align.ops", found)
    assert 'href="../benchmarks.html' in page
    assert '.md"' not in page
    assert 'id="deferred_checks"' in page
    front = site.drawn("c3align", found)
    assert 'src="data:image/' in front


def test_links_that_lead_to_no_page_are_text(found):
    path = ROOT / "README.md"
    assert site.linked("[a](SECURITY.md) [b](c3align/ops/README.md#promises) [c](https://d.e)", path, "c3align") == (
        "a [b](c3align/ops.html#promises) [c](https://d.e)"
    )
    assert site.linked("[a](../../benchmarks/README.md)", ROOT / "c3align/io/README.md", "c3align.io") == (
        "[a](../benchmarks.html)"
    )
