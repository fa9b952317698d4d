"""`c3align demo` and `c3align doctor`: what there is to see, and what there is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from c3align.cli._app import AsJson, Plot, app, print_json


@app.command(
    epilog="Examples:  c3align demo   |   c3align demo --quick --plot demo.png   |   c3align demo --full --sheet it.png"
)
def demo(
    plot: Plot = None,
    quick: Annotated[bool, typer.Option("--quick", help="Stop before anything is trained.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="All four variants of the paper, and drawings (minutes instead of one).")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Where the last sheet goes, a PNG; into the cache by default.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Train again; keep only the sheet, ./c3align-demo.png.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """See a real gap closed, one index searched, and pictures captioned by a decoder that has only read text.

    Nothing is downloaded. The first run trains two small decoders, in less than a minute on two processors, and keeps
    them in the user's cache folder (C3ALIGN_CACHE); the next ones take seconds.
    """
    from c3align.cli import demo as room

    stream = sys.stderr if as_json else sys.stdout
    result = room.run(stream, plot, quick=quick, full=full, sheet=sheet, use_cache=not no_cache)
    if as_json:
        print_json(result)


@app.command(epilog="Example:  c3align doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Say which versions, backend, CPU features and extras are in use, and how to fix what is missing."""
    from c3align.cli import doctor as room

    found = room.examine()
    if as_json:
        print_json(found)
    else:
        print("\n".join(room.lines(found)))
