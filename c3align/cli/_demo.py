"""`c3align demo` and `c3align doctor`: what there is to see, and what there is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from c3align.cli._app import AsJson, Plot, app, print_json


@app.command(
    epilog="Examples:  c3align demo   |   c3align demo --quick --plot demo.png   |   c3align demo --sheet sheet.png"
)
def demo(
    plot: Plot = None,
    quick: Annotated[bool, typer.Option("--quick", help="Show the gap only, and learn nothing.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Where the contact sheet goes, a PNG; else into the cache.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Learn anew, and keep nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """See a real gap open and closed; then name pictures having read names only, and draw having seen pictures only.

    Nothing is downloaded. The first run learns eight small decoders (five minutes on two processors) and keeps them in
    the user's cache folder (C3ALIGN_CACHE), the next ones take them from there.
    """
    from c3align import _demo

    result = _demo.run(sys.stderr if as_json else sys.stdout, plot, quick=quick, sheet=sheet, use_cache=not no_cache)
    if as_json:
        print_json(result)


@app.command(epilog="Example:  c3align doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Say which versions, backend, CPU features and extras are in use, and how to mend what is missing."""
    from c3align.cli import doctor as room

    found = room.examine()
    if as_json:
        print_json(found)
    else:
        print("\n".join(room.lines(found)))
