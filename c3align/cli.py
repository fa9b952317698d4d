"""The command line: `c3align demo`, `embed`, `fit`, `transform`, `report`, `doctor`.

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


@app.command(epilog="Examples:  c3align fit text.npy -o out   |   c3align fit emb-text --pair emb -o out")
def fit(
    rows: Rows,
    output: Output,
    pair: Annotated[list[str] | None, typer.Option(help="Rows paired with them, in the same order.")] = None,
    modality: Annotated[str | None, typer.Option(help="What the rows are: 'text' unless their folder says.")] = None,
    pair_modality: Annotated[str | None, typer.Option(help="What their partners are: 'image' unless ...")] = None,
    encoder: Fingerprint = None,
    noise_cosine: Annotated[float | None, typer.Option(help="Noise as a cosine; learned when absent.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    zero_rows: Annotated[str, typer.Option(help="'raise', or 'keep' rows without a direction as zeros.")] = "raise",
) -> None:
    """Learn the statistics of one modality, or of two from pairs, and save them as an aligner."""
    from c3align import C3Aligner

    settings: dict[str, Any] = {"noise_cosine": "auto" if noise_cosine is None else noise_cosine}
    aligner = C3Aligner(seed=seed, zero_rows=zero_rows, **settings)  # type: ignore[arg-type]
    found = _files.sources(rows)[::-1]  # of a tree of two modalities text comes first
    if pair:
        found = [found[0], *_files.sources(pair)]
    if len(found) > 2:
        raise C3AlignError("the folder holds more than two modalities; pass one of its folders, and another as --pair")
    fingerprint = _files.one_fingerprint(found, encoder)
    first, second = found[0].stack, found[1].stack if len(found) > 1 else None
    names = {"modality": modality or found[0].modality or "text"}
    names["y_modality"] = pair_modality or (second and found[1].modality) or "image"
    if second is not None and second.shape != first.shape:
        raise C3AlignError(f"the rows are {first.shape} and their partners {second.shape}; pass files of equal shape")
    for start, stop in _files.progress(first.spans(), first.n_rows, "fit"):
        partners = None if second is None else second.read(start, stop)
        with _files.located(first, start):
            aligner.partial_fit(first.read(start, stop), partners, **names)
    if fingerprint:
        aligner.bind_encoder(fingerprint)
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

    found = _files.sources(rows)
    if len(found) > 1:
        raise C3AlignError(f"{rows[0]} holds several modalities; pass one of its folders")
    fitted = C3Aligner.from_pretrained(aligner, encoder=_files.one_fingerprint(found, encoder))
    stack = found[0].stack
    if modality == "auto" and found[0].modality in fitted.statistics_:
        modality = str(found[0].modality)
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


@app.command(
    epilog="Examples:  c3align embed photos/ --encoder open_clip:ViT-B-32/laion2b_s34b_b79k --modality image -o emb"
    "   |   c3align embed captions.csv --encoder transformers:openai/clip-vit-base-patch32 --modality text -o emb-text"
)
def embed(
    data: Annotated[str, typer.Argument(help="Folder, pattern, URL, media file, or a .txt .csv .jsonl .parquet.")],
    encoder: Annotated[str, typer.Option(help="Such as open_clip:MODEL/TAG, transformers:NAME, imagebind, glyphs.")],
    modality: Annotated[str, typer.Option(help="What the items are: image, text, audio, video, ...")],
    output: Output,
    column: Annotated[str | None, typer.Option(help="Of a table: captions, or paths.")] = None,
    dtype: Annotated[str, typer.Option(help="Of the files: float16 or float32.")] = "float16",
    batch_size: Annotated[int, typer.Option(help="Items at a time.")] = 64,
    shard_items: Annotated[int, typer.Option(help="Items of a file; a kill costs one file at most.")] = 10_000,
    on_error: Annotated[
        str, typer.Option(help="'raise', or 'skip' items that cannot be read and list them.")
    ] = "raise",
    device: Annotated[str | None, typer.Option(help="Such as cuda; the CPU by default.")] = None,
    frames: Annotated[int | None, typer.Option(help="Of a video, evenly spaced; 8 by default.")] = None,
    frame_rate: Annotated[float | None, typer.Option(help="Of a video, instead: frames a second.")] = None,
    aligner: Annotated[Path | None, typer.Option("--fit", help="Fit an aligner on the way and save it here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Embed a collection: shards of .npy beside their metadata. Started again, it goes on where it stopped."""
    from tqdm import tqdm

    from c3align import C3Aligner, encoders
    from c3align import embed as room
    from c3align.encoders import _sources

    items = _sources.gather(data, modality, column)
    loaded = encoders.load(encoder)
    for name, value in (("n_frames", frames), ("frame_rate", frame_rate)):
        if value is not None:
            setattr(loaded, name, value)
    learner = C3Aligner() if aligner else None
    settings: dict[str, Any] = {"modality": modality, "dtype": dtype, "on_error": on_error, "aligner": learner}
    with tqdm(total=len(items), unit=" items", desc=modality, disable=None, smoothing=0.05, file=sys.stderr) as bar:
        counts = room.embed(
            loaded,
            items,
            output,
            **settings,
            batch_size=batch_size,
            shard_items=shard_items,
            device=device,
            on_progress=bar.update,
        )
    if learner is not None and aligner is not None:
        learner.save_pretrained(aligner)
    if counts.n_broken:
        broken = output / f"broken_{modality}.jsonl"
        print(
            f"{counts.n_broken} of {len(items)} items could not be read; they are listed in {broken}", file=sys.stderr
        )
    if as_json:
        _print_json(vars(counts))
    else:
        before = f", {counts.n_before} items of them before" if counts.n_before else ""
        print(f"{output}: {counts.n_rows} rows of {modality}{before}, in {counts.seconds:.1f} s")


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
