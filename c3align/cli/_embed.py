"""`c3align embed`: a collection to embeddings on disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from c3align.cli._app import (
    AllowAbsolute,
    AllowUrls,
    AsJson,
    MaxPixels,
    MaxSamples,
    Output,
    Root,
    allow,
    app,
    print_json,
    save_aligner,
)
from c3align.errors import C3AlignError, counted
from c3align.io import atomic
from c3align.io.device import usable
from c3align.training.settings import check_number, check_whole


@app.command(
    epilog="Examples:  c3align embed photos/ --encoder open_clip:ViT-B-32/laion2b_s34b_b79k --modality image -o emb"
    "   |   c3align embed captions.csv --encoder transformers:openai/clip-vit-base-patch32 --modality text -o emb-text"
)
def embed(
    data: Annotated[
        str, typer.Argument(help="Folder, pattern, URL, media file, .npy of pictures, or .txt .csv .jsonl .parquet.")
    ],
    encoder: Annotated[str, typer.Option(help="Such as open_clip:MODEL/TAG, transformers:NAME, imagebind, glyphs.")],
    modality: Annotated[str, typer.Option(help="What the items are: image, text, audio, video, ...")],
    output: Output,
    column: Annotated[str | None, typer.Option(help="Of a table: captions, or paths.")] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Of a table: what `--on id` pairs by; its column id by default.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the files: float16 or float32.")] = "float16",
    batch_size: Annotated[int, typer.Option(help="Items at a time.")] = 64,
    shard_items: Annotated[int, typer.Option(help="Items of a file; a kill costs one file at most.")] = 10_000,
    on_error: Annotated[
        str, typer.Option(help="'raise', or 'skip' items that cannot be read and list them.")
    ] = "raise",
    gone: Annotated[
        str, typer.Option(help="Of items that an earlier run had: 'raise', or 'drop' the rows of those that are gone.")
    ] = "raise",
    device: Annotated[str | None, typer.Option(help="Such as cuda; the CPU by default.")] = None,
    frames: Annotated[int | None, typer.Option(help="Of a video, evenly spaced; 8 by default.")] = None,
    frame_rate: Annotated[float | None, typer.Option(help="Of a video, instead: frames a second.")] = None,
    root: Root = None,
    allow_absolute: AllowAbsolute = False,
    allow_urls: AllowUrls = False,
    max_pixels: MaxPixels = None,
    max_samples: MaxSamples = None,
    aligner: Annotated[Path | None, typer.Option("--fit", help="Fit an aligner on the way and save it here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Embed a collection: shards of .npy and metadata. Started again, it embeds what is absent, new or has changed."""
    from tqdm import tqdm

    import c3align
    from c3align import embed as room
    from c3align import encoders
    from c3align.io.items import gather

    if device is not None:
        usable(device)  # before anything is loaded
    if aligner is not None and atomic.local_path(aligner) == atomic.local_path(output):
        raise C3AlignError(f"{output} is where the rows are; pass another folder as --fit")
    may: dict[str, Any] = {"root": root, "allow_absolute": allow_absolute, "allow_urls": allow_urls}
    items = gather(data, modality, column, id_column=id_column, **may)
    loaded = encoders.load(encoder)
    _look_at(loaded, frames, frame_rate)
    allow(loaded, max_pixels, max_samples)
    learner = c3align.C3Aligner() if aligner else None  # as it alone needs scikit-learn
    settings: dict[str, Any] = {"modality": modality, "dtype": dtype, "on_error": on_error, "aligner": learner}
    settings["gone"] = gone
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
        save_aligner(learner, aligner)
    if counts.n_broken:
        broken = output / f"broken_{modality}.jsonl"
        print(
            f"{counts.n_broken} of {len(items)} items could not be read; they are listed in {broken}", file=sys.stderr
        )
    if as_json:
        print_json(vars(counts))
    else:
        told = [
            (counts.n_before, "of them before"),
            (counts.n_changed, "changed since and embedded again"),
            (counts.n_mended, "no longer broken"),
            (counts.n_repaired, "of damaged files and embedded again"),
            (counts.n_new, "new"),
            (counts.n_gone, "gone and dropped"),
            (counts.n_unseen, "behind URLs and not compared"),
        ]
        more = "".join(f", {n} {what}" for n, what in told if n)
        print(f"{output}: {counted(counts.n_rows, 'row')} of {modality}{more}, in {counts.seconds:.1f} s")


def _look_at(encoder: Any, frames: int | None, rate: float | None) -> None:
    """Which frames of a video an encoder takes; texts and pictures may be told too, so that all come from one."""
    if frames is None and rate is None:
        return
    if "video" not in encoder.modalities or not getattr(encoder, "chooses_frames", False):
        raise C3AlignError("this encoder takes no number of frames; omit --frames and --frame-rate")
    if frames is not None and rate is not None:
        raise C3AlignError("--frames and --frame-rate exclude each other; pass one of them")
    if frames is not None:
        encoder.n_frames = check_whole("--frames", frames)
    else:
        encoder.frame_rate = check_number("--frame-rate", rate, above=True)


@app.command("encoders", epilog="Examples:  c3align encoders   |   c3align encoders --json")
def known_encoders(as_json: AsJson = False) -> None:
    """List the encoders: how each is written, what it embeds, and whether it is installed."""
    from c3align import encoders

    found = encoders.list()
    if as_json:
        print_json({"encoders": [known._asdict() for known in found]})
        return
    for known in found:
        state = "built in" if known.package is None else f"{known.package} {known.version or 'is not installed'}"
        print(f"{known.spec}\n    {known.modalities} ({state})")
