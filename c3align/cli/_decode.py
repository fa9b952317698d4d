"""`c3align train-captioner`, `caption` and `draw`: from texts alone to captions of pictures, and the other way."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
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
    no_stream,
    print_json,
    say,
    tell,
    visible,
)
from c3align.errors import C3AlignError, counted, one_line
from c3align.io import atomic, items

PipelineFolder = Annotated[Path, typer.Option("--pipeline", "-p", help="Folder of a saved pipeline.")]
OnError = Annotated[str, typer.Option(help="'raise', or 'skip' items that cannot be used and say why.")]
Lines = Annotated[
    Path | None, typer.Option("--output", "-o", callback=no_stream, help="Write JSON lines here, whole or not at all.")
]


@app.command(
    "train-captioner",
    epilog="Examples:  c3align train-captioner captions.txt --encoder open_clip:ViT-B-32/laion2b_s34b_b79k --lm gpt2 "
    "--images photos/ -o P   |   c3align train-captioner names.csv --encoder glyphs --lm my-lm/ --aligner A -o P",
)
def train_captioner(
    captions: Annotated[str, typer.Argument(help="Texts: .txt with one a line, .csv, .tsv, .jsonl, .parquet.")],
    encoder: Annotated[str, typer.Option(help="Such as open_clip:MODEL/TAG, transformers:NAME, imagebind, glyphs.")],
    output: Output,
    lm: Annotated[str, typer.Option(help="A causal language model: a folder, or a name on the hub.")] = "gpt2",
    images: Annotated[str | None, typer.Option(help="Some hundred pictures, for their mean; no caption.")] = None,
    modality: Annotated[str, typer.Option(help="What --images holds: image, audio, video.")] = "image",
    aligner: Annotated[Path | None, typer.Option("--aligner", "-a", help="Instead: one with both means.")] = None,
    column: Annotated[str | None, typer.Option(help="Of a table of captions.")] = None,
    mapper: Annotated[str, typer.Option(help="From embedding to prefix: mlp, transformer or linear.")] = "mlp",
    prefix_length: Annotated[int, typer.Option(help="Tokens of the prefix.")] = 10,
    tune: Annotated[str, typer.Option(help="The language model: full, frozen or lora.")] = "full",
    epochs: Annotated[int, typer.Option(help="Passes over the texts, each with noise of its own.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Texts of a step.")] = 40,
    lr: Annotated[float, typer.Option(help="Largest learning rate.")] = 2e-5,
    root: Root = None,
    allow_absolute: AllowAbsolute = False,
    allow_urls: AllowUrls = False,
    max_pixels: MaxPixels = None,
    noise_cosine: Annotated[
        float | None, typer.Option(help="Noise as a cosine; the aligner's, or the paper's, when absent.")
    ] = None,
    on_error: Annotated[str, typer.Option(help="'raise', or 'skip' pictures and texts that cannot be used.")] = "raise",
    checkpoint: Annotated[Path | None, typer.Option(help="A .safetensors file to go on from after a kill.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and noise.")] = 0,
) -> None:
    """Train a captioner on texts alone (C3), and save it with its encoder's name and aligner as one folder."""
    from c3align import C3Aligner, Pipeline, _pipeline_files, encoders
    from c3align.decoders import PrefixCaptioner

    _quiet()
    _pipeline_files.check_place(output)
    if (atomic.local_path(output) / _pipeline_files.PIPELINE_FILE).exists():
        tell("note", f"{output} holds another pipeline, which will be replaced")
    if encoder.startswith("precomputed:"):
        raise C3AlignError(
            f"{encoder} holds rows and can embed no text; load them with numpy.load, and call "
            "PrefixCaptioner.fit(rows, captions, aligner=...) in Python, as c3align/decoders/README.md shows"
        )
    texts = _texts(captions, column, on_error)
    learner = C3Aligner(seed=seed) if aligner is None else C3Aligner.from_pretrained(aligner)
    if noise_cosine is not None:
        learner.set_params(noise_cosine=noise_cosine, sigma=None)
    settings: dict[str, Any] = {"mapper": mapper, "prefix_length": prefix_length, "tune": tune, "seed": seed}
    decoder = PrefixCaptioner.from_pretrained_lm(lm, n_dims=encoders.load(encoder).n_dims, **settings)
    pipeline = Pipeline(encoder, learner, decoder)
    if images is not None:
        allow(pipeline.encoder, max_pixels)
        may: dict[str, Any] = {"root": root, "allow_absolute": allow_absolute, "allow_urls": allow_urls}
        found = (item.read() for item in items.gather(images, modality, **may))
        pipeline.collect(found, modality=modality, on_error=on_error)
    training: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "checkpoint": checkpoint}
    training["on_error"] = on_error
    pipeline.fit_text(texts, seed=seed, progress=sys.stderr.isatty(), **training)
    pipeline.save_pretrained(output)
    known = ", ".join(pipeline.aligner.statistics_)
    print(f"{output}: learned from {counted(len(texts) - len(decoder.skipped), 'text')}; knows the means of {known}")
    if len(pipeline.aligner.statistics_) == 1:
        tell("note", "no other modality's mean is known; pass --images or --aligner to caption any")


def _texts(captions: str, column: str | None, on_error: str) -> list[str]:
    found = items.gather(captions, "text", column)
    blank = [item.name for item in found if item.is_blank]
    if blank:
        told = f"{len(blank)} of {len(found)} captions are blank, first {blank[0]}"
        if on_error != "skip":
            raise C3AlignError(f"{told}; remove or fix them, or pass --on-error skip")
        print(f"{told}; they were left out", file=sys.stderr)
    return [item.read() for item in found if not item.is_blank]


@app.command(
    epilog="Examples:  c3align caption cat.jpg dog.jpg -p P   |   c3align caption photos/ -p P -o captions.jsonl "
    "--on-error skip   |   c3align caption rain.wav -p P --modality audio"
)
def caption(
    data: Annotated[list[str], typer.Argument(help="Files, folders, quoted patterns, URLs, or tables of paths.")],
    pipeline: PipelineFolder,
    modality: Annotated[str, typer.Option(help="What they are: image, audio, video.")] = "image",
    batch_size: Annotated[int, typer.Option(help="Items at a time.")] = 64,
    beams: Annotated[int, typer.Option(help="Of the search; 1 takes the likeliest word each time.")] = 1,
    lm_settings: Annotated[str | None, typer.Option(help="The language model's own settings: keep or drop.")] = None,
    on_error: OnError = "raise",
    root: Root = None,
    allow_absolute: AllowAbsolute = False,
    allow_urls: AllowUrls = False,
    max_pixels: MaxPixels = None,
    max_samples: MaxSamples = None,
    output: Lines = None,
    as_json: AsJson = False,
) -> None:
    """Caption pictures, sounds or videos: a line each, path and caption."""
    from c3align import Pipeline

    _quiet()
    may: dict[str, Any] = {"root": root, "allow_absolute": allow_absolute, "allow_urls": allow_urls}
    found = [item for pattern in data for item in items.gather(pattern, modality, **may)]
    loaded = Pipeline.from_pretrained(pipeline)
    allow(loaded.encoder, max_pixels, max_samples)
    options: dict[str, Any] = {"num_beams": beams} if beams > 1 else {}
    options |= {} if lm_settings is None else {"lm_settings": lm_settings}
    sources = (item.read() for item in found)
    results = loaded.stream(sources, modality=modality, batch_size=batch_size, on_error=on_error, **options)
    # a path as it is, which JSON can spell, where a name is for people
    lines = _described(results, [item.source if isinstance(item.source, str) else item.name for item in found])
    if output is not None:
        say(output, f"{output}: {counted(_write(output, lines), 'caption')} of {counted(len(found), 'item')}")
    elif as_json:
        print_json({"pipeline": str(pipeline), "captions": list(lines)})
    else:
        for line in lines:
            if "caption" in line:
                print(f"{visible(line['path'])}\t{visible(line['caption'])}", flush=True)


def _quiet() -> None:
    """No bar of transformers' own where no person watches; it would stand among what a program reads."""
    if sys.stderr.isatty():
        return
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if "transformers" in sys.modules:
        sys.modules["transformers"].utils.logging.disable_progress_bar()


def _described(results: Iterator[Any], names: list[str]) -> Iterator[dict[str, str]]:
    """One table for each result, with a bar; what is skipped is told on stderr."""
    from tqdm import tqdm

    n_skipped = 0
    with tqdm(total=len(names), unit=" items", desc="captions", delay=1, disable=None, file=sys.stderr) as bar:
        for result in results:
            bar.update()
            name = names[result.place]
            if result.reason is None:
                yield {"path": name, "caption": result.value}
                continue
            n_skipped += 1
            yield {"path": name, "error": result.reason}
            bar.write(one_line(f"skipped {name}: {result.reason}"), file=sys.stderr)
    if n_skipped:
        print(f"{n_skipped} of {len(names)} items could not be used; fix or remove them", file=sys.stderr)


def _write(path: Path, lines: Iterator[dict[str, str]]) -> int:
    n_captions = 0
    with atomic.replaced_file(path) as scratch, scratch.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for line in lines:
            n_captions += "caption" in line
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return n_captions


@app.command(epilog="Examples:  c3align draw 'greek small letter alpha with tonos' -p P -o alpha.png")
def draw(
    texts: Annotated[list[str], typer.Argument(help="What to draw, each in quotes.")],
    pipeline: PipelineFolder,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", callback=no_stream, help="A PNG; of several texts: name-1.png, name-2.png."),
    ],
    batch_size: Annotated[int, typer.Option(help="Texts at a time.")] = 64,
) -> None:
    """Draw texts with a pipeline whose generator has learned from pictures alone."""
    from c3align import Pipeline
    from c3align._imports import need

    _quiet()
    image = need("PIL.Image", "pillow", "encoders")
    if output.suffix.lower() != ".png":
        raise C3AlignError(f"{output} is no name of a PNG; pass one that ends with .png")
    pictures = Pipeline.from_pretrained(pipeline).draw(texts, batch_size=batch_size)
    numbered = [output.with_stem(f"{output.stem}-{i}") for i in range(1, len(texts) + 1)]
    for path, text, picture in zip(numbered if len(texts) > 1 else [output], texts, pictures):
        drawn = picture if hasattr(picture, "save") else image.fromarray(picture)
        with atomic.replaced_file(path) as scratch, scratch.open("wb") as file:
            drawn.save(file, "PNG")
        say(path, f"{path}\t{text}")
