"""`c3align choose`: which mapping to use, measured on one's own rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from c3align.cli._app import On, app, numbers, one_fingerprint, say
from c3align.errors import C3AlignError
from c3align.io import atomic
from c3align.io.joins import joined
from c3align.io.rows import RowSource
from c3align.io.shards import open_sources


@app.command(
    epilog="Examples:  c3align choose text.npy image.npy --job search --pairs   |   "
    "c3align choose prompts.npy image.npy --job classification --labels labels.npy"
)
def choose(
    a: Annotated[str, typer.Argument(help="Rows (n, d) to train on, class prompts, or any: .npy, pattern, folder.")],
    b: Annotated[str, typer.Argument(help="Rows of the other modality.")],
    job: Annotated[str, typer.Option(help="'search' (one index), 'retrieval', 'captioning' or 'classification'.")],
    pairs: Annotated[bool, typer.Option("--pairs", help="Row i of B belongs to row i of A: measure the job.")] = False,
    on: On = None,
    groups: Annotated[Path | None, typer.Option(help=".npy: a number a pair, equal where about one thing.")] = None,
    labels: Annotated[Path | None, typer.Option(help=".npy: for each row of B, which row of A is its class.")] = None,
    names: Annotated[str | None, typer.Option(help="Modalities, as text,audio; else folders say.")] = None,
    seeds: Annotated[int, typer.Option(help="Splits into rows that are learned and rows that are scored.")] = 5,
    output: Annotated[Path | None, typer.Option("--json", help="Write all figures into this file.")] = None,
) -> None:
    """Try every mapping on rows that it has not learned, and print which one to use; "center" wins ties.

    At most 2,000 rows of each are drawn. Without pairs or labels only how alike the modalities become is measured.
    """
    from c3align import choosing

    found = [_one(given) for given in (a, b)]
    one_fingerprint(found, None)
    how = ""
    if pairs:
        found, how = joined(found, on)
    elif on is not None:
        raise C3AlignError(f"--on {on} is about pairs; pass --pairs too")
    choice = choosing.choose(
        *found,
        job=job,
        pairs=pairs,
        groups=numbers(groups),
        labels=numbers(labels),
        names=_names(found, names),
        seeds=seeds,
        progress=True,
    )
    if output:
        atomic.write(output, (json.dumps(choice.to_dict(), indent=1) + "\n").encode())
    say(output or "", f"{choice}\n{how}" if how else str(choice))


def _one(given: str) -> RowSource:
    sources = open_sources([given])
    if len(sources) > 1:
        raise C3AlignError(f"{given} holds several modalities; pass one of its folders")
    return sources[0]


def _names(found: list[RowSource], given: str | None) -> tuple[str, str]:
    """As asked for, else as folders of `c3align embed` say."""
    if given is None:
        return found[0].modality or "text", found[1].modality or "image"
    a, comma, b = (part.strip() for part in given.partition(","))
    if not comma or "," in b:
        raise C3AlignError(f"--names must be two with a comma between, got {given!r}; pass them as in text,image")
    return a, b
