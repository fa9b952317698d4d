"""`c3align report`: the gap, measured; a table, a page, a picture, or JSON."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from c3align.cli._app import (
    AsJson,
    On,
    app,
    fitting,
    no_stream,
    one_fingerprint,
    print_json,
    save_picture,
    tell,
    visible,
)
from c3align.errors import C3AlignError, FormatError
from c3align.io import atomic
from c3align.io.joins import joined
from c3align.io.rows import RowSource
from c3align.io.shards import open_sources, tree_of

Inputs = Annotated[
    list[str],
    typer.Argument(help="Embeddings (n, d) of one modality each: .npy, quoted patterns, or a folder of c3align embed."),
]


@app.command(
    epilog="Examples:  c3align report image.npy text.npy -o report.html   |   c3align report emb --names photo,caption"
)
def report(
    context: typer.Context,
    inputs: Inputs,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", callback=no_stream, help="Write a page that stands on its own.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Write all pictures of the widest gap into this PNG.")] = None,
    as_json: AsJson = False,
    names: Annotated[
        str | None, typer.Option(help="What they are, with commas between; else the folders or files say.")
    ] = None,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Row i does not belong to row i.")] = False,
    on: On = None,
    aligner: Annotated[
        Path | None,
        typer.Option("--aligner", "-a", help="After is what this aligner makes of them, not their own means."),
    ] = None,
    sample: Annotated[int, typer.Option(help="Rows of each, evenly spread, for all but means, gap and sigma.")] = 5000,
    date: Annotated[str | None, typer.Option(help="To be said on the page, which is the same bytes without.")] = None,
) -> None:
    """Measure the gap between two or more modalities, before and after each is centred by its own mean."""
    from c3align import report as room

    found = [source for given in inputs for source in open_sources([given])]
    called = _names(found, names)
    fingerprint = one_fingerprint(found, None)
    found, paired, how = _paired(found, on, unpaired)
    figures = room.report(
        *found,
        names=called,
        paired=paired,
        aligner=_fitted(aligner, called, fingerprint),
        max_rows=sample,
        progress=True,
    )
    provenance = {
        "Command": shlex.join(["c3align", *context.obj]),
        "Files": _files_told(found, called),
        "Pairs": how,
        "Encoder": fingerprint or "not written down beside these files",
        "Aligner": str(aligner or ""),
        "Date": date or "",
    }
    if how:
        tell("note", visible(how, sys.stderr))
    if output:
        atomic.write(output, figures.to_html(provenance=provenance).encode())
    if png:
        save_picture(png, lambda: room.plot_overview(figures))
    if as_json:
        print_json({**figures.to_dict(), "provenance": provenance})
    else:
        lines = [str(figures), *(f"{path}: written" for path in (output, png) if path)]
        print(fitting(visible("\n".join(lines))))


def _paired(found: list[RowSource], on: str | None, unpaired: bool) -> tuple[list[RowSource], bool, str]:
    """The rows, whether row i of each belongs to row i of the others, and in words why."""
    if unpaired and on is not None:
        raise C3AlignError(f"--unpaired and --on {on} contradict each other; pass one of them")
    others = len({source.n_rows for source in found}) > 1 and not any(map(tree_of, found))
    if unpaired or (others and on is None):
        return found, False, ""
    try:
        picked, how = joined(found, on)
        return picked, True, how
    except FormatError:
        raise
    except C3AlignError as error:
        if on is not None:
            raise
        return found, False, f"the rows are measured without pairs: {error}"


def _names(found: list[RowSource], names: str | None) -> list[str]:
    """As asked for, else as folders of `c3align embed` and files are called."""
    if names is not None:
        called = [name.strip() for name in names.split(",")]
        if len(called) != len(found):
            raise C3AlignError(
                f"--names {names!r} are {len(called)} names for {len(found)} modalities; pass one for each, with "
                "commas between"
            )
        return called
    called = [source.modality or _stem(source.paths) for source in found]
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        raise C3AlignError(f"more than one input is called {twice[0]}; pass --names with one for each, commas between")
    return called


def _stem(paths: tuple[str, ...]) -> str:
    first = Path(paths[0])
    return first.stem if len(paths) == 1 else first.resolve().parent.name.removesuffix("_emb")


def _fitted(folder: Path | None, called: list[str], fingerprint: str | None) -> Any:
    if folder is None:
        return None
    from c3align import C3Aligner

    fitted = C3Aligner.from_pretrained(folder, encoder=fingerprint)
    for name in called:
        if name not in fitted.statistics_:
            known = ", ".join(fitted.statistics_)
            raise C3AlignError(f"{folder} was fitted on {known}, not on {name}; pass --names with those, in order")
    return fitted


def _files_told(found: list[RowSource], called: list[str]) -> str:
    """A line for each modality: its files and their size."""
    lines = []
    for name, source in zip(called, found):
        paths = source.paths
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        lines.append(f"{name}: {', '.join(paths[:3])}{more}; {source.n_rows:,} x {source.n_dims}")
    return "\n".join(lines)
