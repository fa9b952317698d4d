"""`c3align demo` and `c3align doctor`: what there is to see, and what there is."""

from __future__ import annotations

import sys

from c3align.cli._app import AsJson, Plot, app, print_json


@app.command(epilog="Examples:  c3align demo   |   c3align demo --plot demo.png")
def demo(
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """See the gap of a real encoder, embedded in the package, open and closed. Nothing is downloaded."""
    from c3align import _demo

    result = _demo.run(sys.stderr if as_json else sys.stdout, plot)
    if as_json:
        print_json(result)


@app.command(epilog="Example:  c3align doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Say which versions, backend, CPU features and extras are in use, and how to mend what is missing."""
    from c3align import _doctor

    found = _doctor.examine()
    if as_json:
        print_json(found)
    else:
        print("\n".join(_doctor.lines(found)))
