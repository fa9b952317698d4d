"""`c3align report`: the gap, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from c3align import _files
from c3align.cli._app import AsJson, Plot, app, print_json


@app.command(epilog="Examples:  c3align report image.npy text.npy   |   c3align report a.npy b.npy --names audio text")
def report(
    a: Annotated[Path, typer.Argument(help="Embeddings (n, d) of one modality, .npy.")],
    b: Annotated[Path, typer.Argument(help="Embeddings of the other; row i belongs to row i of the first.")],
    names: Annotated[tuple[str, str] | None, typer.Option(help="What they are; by default the files' names.")] = None,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Row i does not belong to row i.")] = False,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Measure the gap between two modalities, before and after each is centred by its own mean."""
    from c3align import report as room

    names = names or (a.stem, b.stem)
    pair = [_files.open_rows(path) for path in (a, b)]
    found = room.report(*pair, names=names, paired=False if unpaired else None)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    if plot:
        _files.save_cones(plot, *pair, names=names)
