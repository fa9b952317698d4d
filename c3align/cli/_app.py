"""What the commands share: the application, common options, JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import typer
from tqdm import tqdm

from c3align import __version__
from c3align._imports import need
from c3align.errors import EncoderMismatchError, printable
from c3align.io import atomic
from c3align.io.rows import RowSource

# what --help lists, in this order
SUMMARIES = {
    "demo": "See a real gap open and closed, and what that is good for.",
    "encoders": "List what embeds, and what of it is installed.",
    "embed": "Embed a collection; rerun to resume.",
    "fit": "Learn an aligner from embeddings on disk.",
    "transform": "Align embeddings on disk with a saved aligner.",
    "merge": "Add up what several aligners learned.",
    "choose": "Measure which mapping suits a job, on your rows.",
    "index": "Index pictures and texts together.",
    "search": "Search an index by a text or a picture.",
    "check": "Tell whether embeddings still fit an aligner: for CI.",
    "migrate": "Turn an index of raw vectors into an aligned one.",
    "report": "Measure and draw the gap between modalities.",
    "train-captioner": "Train a captioner on texts alone.",
    "caption": "Caption pictures, sounds or videos.",
    "draw": "Draw texts, having learned from pictures alone.",
    "doctor": "Say what is in use here, and how to fix what is missing.",
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
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help="Close the modality gap of contrastive embeddings: Connect, Collapse, Corrupt. Start with: c3align demo",
)

AlignerFolder = Annotated[Path, typer.Option("--aligner", "-a", help="Folder that `c3align fit` wrote.")]
Rows = Annotated[
    list[str],
    typer.Argument(help="Embeddings (n, d): .npy, .safetensors, quoted patterns, or a `c3align embed` folder."),
]
Fingerprint = Annotated[str | None, typer.Option("--encoder", help="Fingerprint of the encoder: binds, or refuses.")]
Plot = Annotated[Path | None, typer.Option(help="Draw both modalities before and after into this PNG.")]
Root = Annotated[
    str | None, typer.Option(help="Folder that paths in a table may not leave; the table's own by default.")
]
AllowAbsolute = Annotated[bool, typer.Option("--allow-absolute", help="A table may name any file of this machine.")]
AllowUrls = Annotated[bool, typer.Option("--allow-urls", help="A table may name URLs.")]
MaxPixels = Annotated[int | None, typer.Option(help="Of a picture, or a video's frames; 34 to 134 million by default.")]
MaxSamples = Annotated[int | None, typer.Option(help="Of a sound; 17 million and 32 a byte of the file by default.")]
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


def say(output: str | os.PathLike[str], text: str) -> None:
    """A sentence about what was written; not into it, where that is a stream."""
    stream = sys.stderr if atomic.is_special(output) else sys.stdout
    print(visible(text, stream), file=stream)


def visible(text: str, stream: TextIO | None = None) -> str:
    """A text for `stream`: without what would steer a terminal if it is one, else to the letter; lines stay lines."""
    to = stream or sys.stdout
    return "\n".join(map(printable, text.split("\n"))) if to.isatty() else text


def allow(encoder: Any, max_pixels: int | None, max_samples: int | None = None) -> None:
    """Let an encoder take larger items, and Pillow too, which has a bound of its own."""
    if max_pixels is not None:
        need("PIL.Image", "pillow").MAX_IMAGE_PIXELS = max_pixels
        encoder.max_pixels = max_pixels
    if max_samples is not None:
        encoder.max_samples = max_samples


def progress(source: RowSource, what: str) -> Iterator[tuple[int, Any]]:
    """The blocks, with a bar of rows when they take over a second and a person watches."""
    with tqdm(
        total=source.n_rows, desc=what, unit="row", unit_scale=True, delay=1, disable=None, file=sys.stderr
    ) as bar:
        for start, rows in source.blocks():
            yield start, rows
            bar.update(len(rows))


def one_fingerprint(found: list[RowSource], given: str | None) -> str | None:
    """The encoder that all the rows come from, where it is known."""
    known = sorted({source.fingerprint for source in found if source.fingerprint} | ({given} if given else set()))
    if len(known) > 1:
        raise EncoderMismatchError(f"these rows come from different encoders ({', '.join(known)}); use those of one")
    return known[0] if known else None


def save_picture(path: str | os.PathLike[str], draw: Callable[[], Any]) -> None:
    """Write what `draw` returns, matplotlib's figure or axes, into a PNG."""
    need("matplotlib", "matplotlib", "plots").use("Agg")
    drawn = draw()
    figure = drawn if hasattr(drawn, "savefig") else np.ravel(drawn)[0].figure
    with atomic.replaced_file(path) as scratch, scratch.open("wb") as file:
        figure.savefig(file, dpi=120, format="png")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
