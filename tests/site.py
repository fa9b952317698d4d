"""The documentation as pages for a browser: `make docs` writes build/docs/index.html.

Public modules by pdoc from their docstrings, with the README of their folder before it; the command line, and
what belongs to no module, have pages of their own. Links between READMEs lead to pages, pictures are in them, formulas
are set.
"""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pdoc
import typer

import c3align
from c3align import cli
from tests import formulas

ROOT = Path(__file__).resolve().parents[1]
# pages that are no modules: what the menu calls them, and whose text they are
COMMANDS = "command_line"
TITLES = {
    "c3align": "c3align",
    COMMANDS: "Command line",
    "gallery": "Gallery",
    "benchmarks": "Benchmarks and results",
    "csrc": "The compiled core",
    "security": "Security",
    "attacks": "Attacks",
    "contributing": "Contributing",
    "changelog": "Changelog",
}
FILES = {
    "c3align": "README.md",
    "gallery": "tests/examples/README.md",
    "benchmarks": "benchmarks/README.md",
    "csrc": "csrc/README.md",
    "security": "SECURITY.md",
    "attacks": "tests/attacks/README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
}
_TITLE = re.compile(r"\A# .*\n")
# what Python says of named tuples, and where a name is kept rather than where it is public
_NOISE = re.compile(r'<div class="docstring"><p>(?:Alias for field number|Create new instance of)[^<]*</p>\s*</div>')
_PRIVATE_HOME = re.compile(r"\bc3align(?:\.\w+)*\._\w+\.(?=[A-Z])")


def modules() -> dict[str, Any]:
    """What has a page, by its name."""
    found = {"c3align": c3align}
    for name in c3align._ROOMS:
        found[f"c3align.{name}"] = importlib.import_module(f"c3align.{name}")
    for module in found.values():
        for name in getattr(module, "__all__", ()):
            setattr(module, name, getattr(module, name))  # some are imported at first use
    pages = {name: page(name) for name in TITLES if name not in found}
    return {name: pdoc.doc.Module(module) for name, module in {**found, **pages}.items()}


def page(name: str) -> ModuleType:
    """A page in the shape of a module, which is what pdoc draws."""
    made = ModuleType(name, commands() if name == COMMANDS else "")
    made.__all__ = []
    return made


def text_of(name: str) -> Path | None:
    """The file whose text a page begins with."""
    path = ROOT / FILES.get(name, f"{name.replace('.', '/')}/README.md")
    return path if path.exists() else None


def commands() -> str:
    """Every command with its help, from the application itself."""
    group = cli._commands()
    above = group.make_context("c3align", [], resilient_parsing=True)
    texts = [group.help, str(cli.__doc__).partition("\n\n")[2]]
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        context = command.make_context(name, [], parent=above, resilient_parsing=True)
        texts.append(f"## c3align {name}\n\n{command.help}\n\n```sh\n{_usage(command, context)}\n```\n")
        texts.append("\n".join(["| option | |", "|---|---|", *_options(command, context)]))
    return "\n\n".join(texts)


def _usage(command: Any, context: Any) -> str:
    return str(command.get_usage(context)).removeprefix("Usage: ")


def _options(command: Any, context: typer.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        names, text = parameter.get_help_record(context)
        if "--help" not in names:
            yield f"| `{names}` | {text} |"


def linked(text: str, path: Path, name: str) -> str:
    """A README with links to pages in place of those to files, and pictures by their place in the checkout."""

    def target(found: re.Match[str]) -> str:
        mark, label, href, anchor = found.groups()
        there = (path.parent / href).resolve()
        if mark:
            return f"![{label}]({there})"
        page = page_of(there)
        return f"[{label}]({'../' * name.count('.')}{page}{anchor or ''})" if page else label

    return re.sub(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", target, text)


def page_of(path: Path) -> str | None:
    """The page about a file or folder of the checkout."""
    place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    name = place.removesuffix("/README.md").removesuffix(".py")
    for page, file in FILES.items():
        if file in (place, f"{place}/README.md"):
            return f"{page}.html"
    return f"{name}.html" if name.removeprefix("c3align/") in c3align._ROOMS else None


def drawn(name: str, found: dict[str, Any]) -> str:
    """The page of a name."""
    footer = f"c3align {c3align.__version__}"
    theme = Path(__file__).with_name("theme")
    pdoc.render.configure(docformat="numpy", show_source=False, footer_text=footer, template_directory=theme)
    pdoc.render.env.globals["titles"] = TITLES
    if path := text_of(name):
        text = linked(_TITLE.sub("", path.read_text()), path, name)
        found[name].docstring = pdoc.docstrings.embed_images(text, path)
    with warnings.catch_warnings():  # of types that only a type checker imports, which stand as they are written
        warnings.filterwarnings("ignore", "Error parsing type annotation")
        page = pdoc.render.html_module(found[name], found)
    return formulas.in_page(_PRIVATE_HOME.sub("", _NOISE.sub("", page)))


def main(output: Path) -> None:
    # nothing here resizes a picture, and one built for another machine than torch's would break transformers
    sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]
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
