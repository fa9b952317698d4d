"""`c3align merge` and `c3align subtract`: what several aligners learned, as one, or without that of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from c3align._state import State
from c3align.cli._app import Output, app, learned, save_aligner, say, tell
from c3align.errors import C3AlignError
from c3align.io import atomic


@app.command(epilog="Example:  c3align merge part-0 part-1 part-2 -o whole")
def merge(
    aligners: Annotated[list[Path], typer.Argument(help="Folders that `c3align fit` wrote, of different rows.")],
    output: Output,
    allow_same: Annotated[bool, typer.Option("--allow-same", help="Of the same rows too, which count twice.")] = False,
) -> None:
    """Add up what aligners learned from different rows: exactly what one would have learned from all of them."""
    from c3align import C3Aligner

    if len(aligners) < 2:
        raise C3AlignError("there is one aligner, and nothing to add to it; pass two or more")
    whole = C3Aligner.from_pretrained(aligners[0])
    seen = {aligners[0]: whole.state_}
    for folder in aligners[1:]:
        part = C3Aligner.from_pretrained(folder)
        if part.get_params() != whole.get_params():
            raise C3AlignError(f"{folder} and {aligners[0]} have different settings; fit them alike")
        for before, state in () if allow_same else seen.items():
            if same := state.same_rows(part.state_):
                raise C3AlignError(
                    f"{before} and {folder} have learned the same {same[0]!r} rows, which would count twice; name each "
                    "aligner once, or pass --allow-same"
                )
        seen[folder] = part.state_
        whole.merge(part)
    _tell_of_place(output, aligners, "rows count twice")
    save_aligner(whole, output)
    say(output, f"{output}: {learned(whole)} of {len(aligners)} aligners")


@app.command(epilog="Example:  c3align subtract whole part -o rest")
def subtract(
    aligner: Annotated[Path, typer.Argument(help="A folder that `c3align fit` wrote.")],
    parts: Annotated[list[Path], typer.Argument(help="Others, fitted on some of its rows, with the same settings.")],
    output: Output,
) -> None:
    """Forget rows that an aligner learned: exactly what it would have learned without them."""
    from c3align import C3Aligner

    rest, seen = C3Aligner.from_pretrained(aligner), dict[Path, State]()
    for folder in parts:
        part = C3Aligner.from_pretrained(folder)
        if part.get_params() != rest.get_params():
            raise C3AlignError(f"{folder} and {aligner} have different settings; fit them alike")
        for before, state in seen.items():
            if same := state.same_rows(part.state_):
                raise C3AlignError(
                    f"{before} and {folder} have learned the same {same[0]!r} rows, which can be forgotten once; name "
                    "each aligner once"
                )
        seen[folder] = part.state_
        rest.state_ = rest.state_.without(part.state_)
    _tell_of_place(output, [aligner], "rows are forgotten twice")
    save_aligner(rest, output)
    say(output, f"{output}: {learned(rest)}")


def _tell_of_place(output: Path, given: list[Path], what: str) -> None:
    """Where the result takes the place of what it is made of, no second run gives the same."""
    if atomic.local_path(output) in map(atomic.local_path, given):
        tell("note", f"{output} is replaced, and is another one now: if this is run again, {what}")
