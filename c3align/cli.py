"""The command line: `c3align demo`, `fit`, `transform`, `report`, `doctor`.

Results go to stdout, all else to stderr. Errors are one line that ends with the mend. Exit codes: 0 done, 1 an error
of ours, 2 wrong input or usage, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from c3align import __version__, _files
from c3align.errors import C3AlignError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Close the modality gap of contrastive embeddings: Connect, Collapse, Corrupt. Start with: c3align demo",
)

AlignerFolder = Annotated[Path, typer.Option("--aligner", "-a", help="Folder that `c3align fit` wrote.")]
Rows = Annotated[list[str], typer.Argument(help="Embeddings (n, d), .npy; several files or quoted patterns.")]
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


@app.command(epilog="Examples:  c3align demo   |   c3align demo --plot demo.png")
def demo(
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """See the gap of a real encoder, embedded in the package, open and closed. Nothing is downloaded."""
    from c3align import _demo

    result = _demo.run(sys.stderr if as_json else sys.stdout, plot)
    if as_json:
        _print_json(result)


@app.command(epilog="Examples:  c3align fit text.npy -o out   |   c3align fit 'text/*.npy' --pair 'image/*.npy' -o out")
def fit(
    rows: Rows,
    output: Output,
    pair: Annotated[list[str] | None, typer.Option(help="Rows paired with them, in the same order.")] = None,
    modality: Annotated[str, typer.Option(help="What the rows are.")] = "text",
    pair_modality: Annotated[str, typer.Option(help="What their partners are.")] = "image",
    encoder: Fingerprint = None,
    noise_cosine: Annotated[float | None, typer.Option(help="Noise as a cosine; learned when absent.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    zero_rows: Annotated[str, typer.Option(help="'raise', or 'keep' rows without a direction as zeros.")] = "raise",
) -> None:
    """Learn the statistics of one modality, or of two from pairs, and save them as an aligner."""
    from c3align import C3Aligner

    settings: dict[str, Any] = {"noise_cosine": "auto" if noise_cosine is None else noise_cosine}
    aligner = C3Aligner(seed=seed, zero_rows=zero_rows, **settings)  # type: ignore[arg-type]
    first = _files.Stack.open(rows)
    second = _files.Stack.open(pair) if pair else None
    if second is not None and second.shape != first.shape:
        raise C3AlignError(f"the rows are {first.shape} and their partners {second.shape}; pass files of equal shape")
    for start, stop in _files.progress(first.spans(), first.n_rows, "fit"):
        partners = None if second is None else second.read(start, stop)
        with _files.located(first, start):
            aligner.partial_fit(first.read(start, stop), partners, modality=modality, y_modality=pair_modality)
    if encoder:
        aligner.bind_encoder(encoder)
    aligner.save_pretrained(output)
    print(f"{output}: {_summary(aligner)}")


def _summary(aligner: Any) -> str:
    learned = ", ".join(f"{found.n_rows} {name} rows" for name, found in aligner.statistics_.items())
    text = f"{learned} of {aligner.n_features_in_} dimensions, sigma {aligner.sigma_:.4f}"
    return f"{text}\n{aligner.gap(*next(iter(aligner.pairs_)))}" if aligner.pairs_ else text


@app.command(epilog="Example:  c3align transform image.npy --aligner aligner --modality image -o aligned.npy")
def transform(
    rows: Rows,
    aligner: AlignerFolder,
    output: Output,
    modality: Annotated[str, typer.Option(help="What they are; 'auto' finds out, 'batch' takes their mean.")] = "auto",
    encoder: Annotated[
        str | None, typer.Option(help="Fingerprint of the rows' encoder; another one is refused.")
    ] = None,
) -> None:
    """Align rows with a saved aligner; writes one .npy of the same dtype, whole or not at all."""
    from c3align import C3Aligner

    fitted = C3Aligner.from_pretrained(aligner, encoder=encoder)
    stack = _files.Stack.open(rows)
    if stack.n_dims != fitted.n_features_in_:
        raise C3AlignError(
            f"the rows have {stack.n_dims} dimensions and the aligner {fitted.n_features_in_}; use rows of its encoder"
        )
    name, mean = _files.choose_mean(fitted, stack, modality)
    _files.align(fitted, stack, mean, output)
    print(f"{output}: {stack.n_rows} rows, centred by the mean of {name}")


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
        _print_json(found.to_dict())
    else:
        print(found)
    if plot:
        _files.save_cones(plot, *pair, names=names)


@app.command(epilog="Example:  c3align doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Say which versions, backend, CPU features and extras are in use, and how to mend what is missing."""
    from c3align import _doctor

    found = _doctor.examine()
    if as_json:
        _print_json(found)
    else:
        print("\n".join(_doctor.lines(found)))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {_one_line(message)}", file=sys.stderr)
        try:
            code = app(arguments, prog_name="c3align", standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except BrokenPipeError:  # `c3align report ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (KeyboardInterrupt, typer.Abort):
            print("interrupted; nothing half-written was kept", file=sys.stderr)
            return 130
        except Exception as error:
            return _explain(error)


def _explain(error: Exception) -> int:
    if os.environ.get("C3ALIGN_DEBUG"):
        traceback.print_exc()
    if hasattr(error, "format_message"):  # of typer: a wrong option or argument
        print(f"error: {_one_line(error.format_message())}; see c3align --help", file=sys.stderr)
        return 2
    if isinstance(error, (ValueError, TypeError, OSError)):
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    kind = type(error).__name__
    print(f"error: {kind}: {_one_line(error)}; this is our fault: report it with C3ALIGN_DEBUG=1", file=sys.stderr)
    return 1


def _one_line(message: Any) -> str:
    return " ".join(str(message).split())


def main() -> None:
    """Entry point of `c3align`."""
    sys.exit(run())
