"""The documentation as pages for a browser: `make docs` writes build/docs/index.html.

Public modules by pdoc from their docstrings, with the README of their folder before it; the READMEs that belong to no
module have pages of their own. Links between READMEs lead to pages, pictures are in them.
"""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pdoc

import c3align
from tests import tiny_encoders

ROOT = Path(__file__).resolve().parents[1]
# pages that are no modules, by their README's folder
PAGES = {"benchmarks": "benchmarks", "csrc": "csrc", "tests/examples": "gallery", "tests/attacks": "attacks"}
_TITLE = re.compile(r"\A# .*\n")


def modules() -> dict[str, Any]:
    """What has a page, by its name."""
    tiny_encoders.import_torchvision()
    found = {"c3align": c3align}
    for name in c3align._ROOMS:
        found[f"c3align.{name}"] = importlib.import_module(f"c3align.{name}")
    for module in found.values():
        for name in getattr(module, "__all__", ()):
            setattr(module, name, getattr(module, name))  # some are imported at first use
    pages = {name: module_of(ROOT / folder, name) for folder, name in PAGES.items()}
    return {name: pdoc.doc.Module(module) for name, module in {**found, **pages}.items()}


def module_of(folder: Path, name: str) -> ModuleType:
    """A page in the shape of a module, which is what pdoc draws."""
    page = ModuleType(name, "")
    page.__file__ = str(folder / "README.md")
    page.__all__ = []
    return page


def readme_of(name: str) -> Path | None:
    """The README whose text a page begins with."""
    folders = {page: folder for folder, page in PAGES.items()} | {"c3align": "."}
    path = ROOT / folders.get(name, name.replace(".", "/")) / "README.md"
    return path if path.exists() else None


def linked(text: str, path: Path, name: str) -> str:
    """A README with links to pages in place of those to files, and pictures by their place in the checkout."""

    def target(found: re.Match[str]) -> str:
        mark, label, href, anchor = found.groups()
        there = (path.parent / href).resolve()
        if mark:
            return f"![{label}]({there})"
        home = there.parent if there.name == "README.md" else there
        page = page_of(home)
        return f"[{label}]({'../' * name.count('.')}{page}{anchor or ''})" if page else label

    return re.sub(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", target, text)


def page_of(path: Path) -> str | None:
    """The page about a folder or a module of the checkout."""
    place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    if place in ("", "."):
        return "c3align.html" if path == ROOT else None
    if place in PAGES:
        return f"{PAGES[place]}.html"
    name = place.removesuffix(".py")
    return f"{name}.html" if name.removeprefix("c3align/") in c3align._ROOMS else None


def drawn(name: str, found: dict[str, Any]) -> str:
    """The page of a name."""
    pdoc.render.configure(docformat="numpy", show_source=False, footer_text=f"c3align {c3align.__version__}")
    if readme := readme_of(name):
        text = linked(_TITLE.sub("", readme.read_text()), readme, name)
        found[name].docstring = pdoc.docstrings.embed_images(text, readme)
    with warnings.catch_warnings():  # of types that only a type checker imports, which stand as they are written
        warnings.filterwarnings("ignore", "Error parsing type annotation")
        page = pdoc.render.html_module(found[name], found)
    return page.replace("</head>", "<style>main img { max-width: 100% }</style></head>")


def main(output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    found = modules()
    for name in found:
        page = output / f"{name.replace('.', '/')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(drawn(name, found))
    (output / "index.html").write_text('<meta http-equiv="refresh" content="0; url=c3align.html">')
    (output / "search.js").write_text(pdoc.render.search_index(found))
    print(f"{len(found)} pages; open {output / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "docs"))
