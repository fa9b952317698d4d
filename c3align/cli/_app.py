"""What the commands share: the application, common options, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from c3align import __version__

# what --help lists, in this order
SUMMARIES = {
    "demo": "See a real gap open and closed, and what that is good for.",
    "embed": "Embed a collection; started again, go on.",
    "fit": "Learn an aligner from embeddings on disk.",
    "transform": "Align embeddings on disk with a saved aligner.",
    "report": "Measure and draw the gap between modalities.",
    "train-captioner": "Train a captioner on texts alone.",
    "caption": "Caption pictures, sounds or videos.",
    "draw": "Draw texts, having learned from pictures alone.",
    "doctor": "Say what is in use here, and how to mend what is missing.",
}


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=[*SUMMARIES].index)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.short_help = SUMMARIES[cmd_name]
        return command


app = typer.Typer(
    cls=_InOrder,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Close the modality gap of contrastive embeddings: Connect, Collapse, Corrupt. Start with: c3align demo",
)

AlignerFolder = Annotated[Path, typer.Option("--aligner", "-a", help="Folder that `c3align fit` wrote.")]
Rows = Annotated[
    list[str], typer.Argument(help="Embeddings (n, d), .npy; files, quoted patterns, or a folder of `c3align embed`.")
]
Fingerprint = Annotated[str | None, typer.Option("--encoder", help="Fingerprint of the encoder: binds, or refuses.")]
Plot = Annotated[Path | None, typer.Option(help="Draw both modalities before and after into this PNG.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"c3align {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
