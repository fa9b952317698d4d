"""What the commands share: the application, common options, JSON."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import typer
from tqdm import tqdm

from c3align import __version__
from c3align._imports import need
from c3align.errors import C3AlignError, EncoderMismatchError, counted, printable
from c3align.io import atomic
from c3align.io.mirror import Rules, made_by
from c3align.io.npy import stored
from c3align.io.opening import here
from c3align.io.patterns import base_of
from c3align.io.rows import RowSource

# what --help lists, in this order
SUMMARIES = {
    "demo": "See a real gap open and closed, and what that is good for.",
    "encoders": "List what embeds, and what of it is installed.",
    "embed": "Embed a collection; rerun to resume.",
    "fit": "Learn an aligner from embeddings on disk.",
    "transform": "Align embeddings on disk with a saved aligner.",
    "corrupt": "Align embeddings and add noise, to train on.",
    "translate": "Move embeddings to where another modality's are.",
    "merge": "Add up what several aligners learned.",
    "subtract": "Forget rows that an aligner learned.",
    "choose": "Measure which mapping suits a job, on your rows.",
    "index": "Index pictures and texts together.",
    "search": "Search an index by a text or a picture.",
    "serve": "Search an index in a browser.",
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
    typer.Argument(
        help="Embeddings (n, d): .npy, .safetensors, .parquet, quoted patterns, folders, URLs.",
        callback=lambda names: [here(name) for name in names],
    ),
]
Column = Annotated[str | None, typer.Option(help="Of a .parquet, which FILE#COLUMN names too; the only one of floats.")]
Scale = Annotated[float | None, typer.Option(help="What a step of int8 rows is worth.")]
OnError = Annotated[str, typer.Option(help="'raise', or 'skip' rows that cannot be used and list them.")]
Changed = Annotated[str, typer.Option(help="Of shards changed since an earlier run: 'raise', or 'redo' them.")]
Fingerprint = Annotated[str | None, typer.Option("--encoder", help="Fingerprint of the encoder: binds, or refuses.")]
On = Annotated[
    str | None,
    typer.Option(help="Pair rows of equal values in this column of both trees or .parquet files: id, caption, ..."),
]
Plot = Annotated[Path | None, typer.Option(help="Draw both modalities before and after into this PNG.")]
Root = Annotated[
    str | None, typer.Option(help="Folder that paths in a table may not leave; the table's own by default.")
]
AllowAbsolute = Annotated[bool, typer.Option("--allow-absolute", help="A table may name any file of this machine.")]
AllowUrls = Annotated[bool, typer.Option("--allow-urls", help="A table may name URLs.")]
MaxPixels = Annotated[
    int | None, typer.Option(help="Of a picture (34 to 134 million by default), or of all frames taken from a video.")
]
MaxSamples = Annotated[int | None, typer.Option(help="Of a sound; 17 million and 32 a byte of the file by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object; errors stay a line on stderr.")]
OnDevice = Annotated[
    str | None, typer.Option("--device", help="Such as cuda: rows are computed there, to the same bytes.")
]


def no_stream(output: Path | None) -> Path | None:
    """What -o names, which "-" does not, as it does elsewhere."""
    if output == Path("-"):
        raise typer.BadParameter("files are written, and no stream; name one", param_hint="'--output' / '-o'")
    return output


Output = Annotated[Path, typer.Option("--output", "-o", callback=no_stream, help="Where to write.")]


_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


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
    if atomic.is_special(output):
        print(visible(text, sys.stderr), file=sys.stderr)
    else:
        print(fitting(visible(text)))


def tell(label: str, text: str) -> None:
    """A line on stderr that begins with `error:`, `warning:` or `note:`, in colour where a terminal shows any."""
    if not sys.stderr.isatty():
        print(f"{label}: {text}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble((f"{label}:", _COLOURS[label]), f" {text}")
    Console(file=sys.stderr, highlight=False, emoji=False).print(line, soft_wrap=True)


def visible(text: str, stream: TextIO | None = None) -> str:
    """A text for `stream`: without what would steer a terminal if it is one, else to the letter; lines stay lines."""
    to = stream or sys.stdout
    return "\n".join(map(printable, text.split("\n"))) if to.isatty() else text


def fitting(text: str) -> str:
    """A text for stdout: on a terminal, wide lines are wrapped at words, tables within their cells; heads are bold."""
    if not sys.stdout.isatty():
        return text
    from rich.console import Console
    from rich.text import Text

    width = shutil.get_terminal_size().columns
    console = Console(width=width, file=io.StringIO(), force_terminal=True, markup=False, highlight=False, emoji=False)
    for is_table, group in groupby(text.split("\n"), lambda line: len(_cells(line)) > 1):
        lines = list(group)
        if is_table and max(map(len, lines)) > width:
            console.print(_narrow(lines))
            continue
        for i, line in enumerate(lines):
            shown = Text(line, "bold" if is_table and i == 0 and _is_head(lines) else "")
            shown.highlight_words(["FAILED"], _COLOURS["error"])
            console.print(shown)
    return console.file.getvalue().removesuffix("\n")  # type: ignore[attr-defined]


def _is_head(lines: list[str]) -> bool:
    """Whether the first line of a table names its columns."""
    return len(lines) > 1 and not any(map(str.isdigit, lines[0]))


def _narrow(lines: list[str]) -> Any:
    """A table whose cells are wrapped."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    rows = [_cells(line) for line in lines]
    for i in range(max(map(len, rows))):
        table.add_column(justify="right" if i else "left")
    for i, row in enumerate(rows):
        table.add_row(*row, style="bold" if i == 0 and _is_head(lines) else None)
    return table


def _cells(line: str) -> list[str]:
    """What stands in a line of a table, with two spaces or more between; a deep indent is an empty cell."""
    return re.split(r"(?<=\S) {2,}|(?<=^) {8,}", line)


def allow(encoder: Any, max_pixels: int | None, max_samples: int | None = None) -> None:
    """Let an encoder take larger items, and Pillow too, which has a bound of its own."""
    if max_pixels is not None:
        need("PIL.Image", "pillow").MAX_IMAGE_PIXELS = max_pixels
        encoder.max_pixels = max_pixels
    if max_samples is not None:
        encoder.max_samples = max_samples


@contextmanager
def rows_bar(source: RowSource, what: str) -> Iterator[Callable[[int], None]]:
    """A bar of rows, with rows and GB a second and the time that is left, if it takes over a second and one watches.

    What is yielded is called with the number of rows that were done.
    """
    row_bytes, begin = source.n_dims * np.dtype(source.dtype).itemsize if source.paths else 0, time.monotonic()
    look: dict[str, Any] = {"unit": "row", "unit_scale": True, "delay": 1, "disable": None, "file": sys.stderr}
    with tqdm(total=source.n_rows, desc=what, **look) as bar:

        def done(n_rows: int) -> None:
            bar.set_postfix_str(f"{bar.n * row_bytes / 1e9 / (time.monotonic() - begin):.2f} GB/s", refresh=False)
            bar.update(n_rows)

        yield done


def one_fingerprint(found: list[RowSource], given: str | None) -> str | None:
    """The encoder that all the rows come from, where it is known."""
    known = sorted({source.fingerprint for source in found if source.fingerprint} | ({given} if given else set()))
    if len(known) > 1:
        raise EncoderMismatchError(f"these rows come from different encoders ({', '.join(known)}); use those of one")
    return known[0] if known else None


def tell_of_changed(given: list[str]) -> None:
    """Rows that were aligned before are no longer as their encoder gave them."""
    command = made_by(given)
    if command is not None:
        tell("warning", f"{base_of(given)} holds what `c3align {command}` made; pass the rows that it was made from")


def rules(on_error: str, changed: str, zero_rows: str) -> Rules:
    """What becomes of rows that cannot be used, and of shards that have changed."""
    for name, value, known in (("--on-error", on_error, "skip"), ("--changed", changed, "redo")):
        if value not in ("raise", known):
            raise C3AlignError(f"{name} must be 'raise' or {known!r}, got {value!r}; omit it to raise")
    return Rules(on_error == "skip", zero_rows == "raise", changed == "redo")


def learned(aligner: Any) -> str:
    """How many rows of which modalities."""
    return ", ".join(counted(found.n_rows, f"{name} row") for name, found in aligner.statistics_.items())


def save_aligner(aligner: Any, output: Path) -> None:
    """Save it, and name another one that it takes the place of."""
    before, folder = None, atomic.local_path(output)
    if folder.is_dir():
        with suppress(ValueError, OSError):  # what is no aligner is refused below
            before = type(aligner).from_pretrained(folder)
    aligner.save_pretrained(output)
    if before is not None and before.to_bytes() != aligner.to_bytes():
        tell("note", f"{output} held another aligner, of {learned(before)}, and was replaced")


def check_kept(aligner: Path, encoder: str | None) -> None:
    """Before anything is done with it: an index takes an aligner that scores can be calibrated by."""
    from c3align import C3Aligner

    state = C3Aligner.from_pretrained(aligner, encoder=encoder).state_
    if not state.usable.keys() <= state.samples.keys():
        raise C3AlignError(
            f"{aligner} has kept no rows, which scores are calibrated by; fit it again with --second-moments, or with "
            "--mapping barycenter"
        )


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


def numbers(path: Path | None) -> Any:
    """One number a row, of a .npy file."""
    if path is None:
        return None
    try:
        found = stored(path)
        if len(found.shape) != 1:
            raise ValueError(f"its shape is {found.shape}, not one number a row")
        return found.read(0, len(found))
    except ValueError as error:
        raise C3AlignError(f"{path} is not a file of numbers ({error}); save them with numpy.save") from error
