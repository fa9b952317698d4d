"""`c3align train-captioner`, `caption` and `draw`: from texts alone to captions of pictures, and the other way."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from c3align import _files
from c3align.cli._app import AsJson, Output, app, print_json

PipelineFolder = Annotated[
    Path, typer.Option("--pipeline", "-p", help="Folder that `train-captioner` or save_pretrained wrote.")
]
OnError = Annotated[str, typer.Option(help="'raise', or 'skip' items that cannot be read and say why.")]


@app.command(
    epilog="Examples:  c3align caption cat.jpg dog.jpg --pipeline P   |   c3align caption photos/ -p P -o captions.jsonl"
    " --on-error skip   |   c3align caption rain.wav -p P --modality audio"
)
def caption(
    data: Annotated[list[str], typer.Argument(help="Files, folders, quoted patterns, URLs, or tables of paths.")],
    pipeline: PipelineFolder,
    modality: Annotated[str, typer.Option(help="What they are: image, audio, video.")] = "image",
    batch_size: Annotated[int, typer.Option(help="Items at a time.")] = 64,
    beams: Annotated[int, typer.Option(help="Of the search; 1 takes the likeliest word each time.")] = 1,
    on_error: OnError = "raise",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write JSON lines here, whole or not at all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Caption pictures, sounds or videos: a line each, path and caption."""
    from c3align import Pipeline
    from c3align.encoders import _sources

    items = [item for pattern in data for item in _sources.gather(pattern, modality)]
    loaded = Pipeline.from_pretrained(pipeline)
    options: dict[str, Any] = {"num_beams": beams} if beams > 1 else {}
    results = loaded.stream(
        (item.source for item in items), modality=modality, batch_size=batch_size, on_error=on_error, **options
    )
    lines = _described(results, [item.name for item in items])
    if output is not None:
        n_captions = _write_lines(output, lines)
        print(f"{output}: {n_captions} captions of {len(items)} {modality} items")
    elif as_json:
        print_json({"pipeline": str(pipeline), "captions": list(lines)})
    else:
        for line in lines:
            if "caption" in line:
                print(f"{line['path']}\t{line['caption']}", flush=True)


def _described(results: Iterator[Any], names: list[str]) -> Iterator[dict[str, str]]:
    """One table a result, with a bar; what was skipped is told on stderr, here and in the end."""
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
            bar.write(f"skipped item {result.place}, {name}: {result.reason}", file=sys.stderr)
            yield {"path": name, "error": result.reason}
    if n_skipped:
        print(f"{n_skipped} of {len(names)} items could not be used; mend or drop them", file=sys.stderr)


def _write_lines(path: Path, lines: Iterator[dict[str, str]]) -> int:
    n_captions = 0
    with _files.replaced(path) as scratch, open(scratch, "w", encoding="utf-8") as file:
        for line in lines:
            n_captions += "caption" in line
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return n_captions


@app.command(
    "train-captioner",
    epilog="Examples:  c3align train-captioner captions.txt --encoder open_clip:ViT-B-32/laion2b_s34b_b79k --lm gpt2"
    " --images photos/ -o P   |   c3align train-captioner names.csv --encoder glyphs --lm my-lm/ --images glyphs.npy"
    " --epochs 30 -o P",
)
def train_captioner(
    captions: Annotated[str, typer.Argument(help="Texts: .txt with one a line, .csv, .tsv, .jsonl, .parquet.")],
    encoder: Annotated[str, typer.Option(help="Such as open_clip:MODEL/TAG, transformers:NAME, imagebind, glyphs.")],
    output: Output,
    lm: Annotated[
        str, typer.Option(help="A causal language model: a folder, or a name on the Hugging Face Hub.")
    ] = "gpt2",
    images: Annotated[
        str | None, typer.Option(help="Some hundred pictures (or sounds, videos) for their mean.")
    ] = None,
    modality: Annotated[str, typer.Option(help="What --images holds: image, audio, video.")] = "image",
    aligner: Annotated[
        Path | None, typer.Option("--aligner", "-a", help="One that `c3align fit` wrote, with means.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Of a table of captions.")] = None,
    tune: Annotated[str, typer.Option(help="The language model: full, frozen or lora.")] = "full",
    mapper: Annotated[str, typer.Option(help="From embedding to prefix: mlp, transformer or linear.")] = "mlp",
    prefix_length: Annotated[int, typer.Option(help="Tokens of the prefix.")] = 10,
    epochs: Annotated[int, typer.Option(help="Passes over the texts, each with noise of its own.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Texts at a time.")] = 40,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-5,
    noise_cosine: Annotated[
        float | None,
        typer.Option(help="Noise, as the cosine of clean and noisy rows; learned or the paper's when absent."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and noise.")] = 0,
) -> None:
    """Train a captioner on texts alone (C3), and save it with its aligner as a pipeline."""
    from c3align import C3Aligner, Pipeline
    from c3align.decoders import PrefixCaptioner
    from c3align.encoders import _sources

    texts = [item.source for item in _sources.gather(captions, "text", column)]
    learner = C3Aligner(seed=seed) if aligner is None else C3Aligner.from_pretrained(aligner)
    if noise_cosine is not None:
        learner.set_params(noise_cosine=noise_cosine, sigma=None)
    from c3align import encoders

    loaded = encoders.load(encoder)
    decoder = PrefixCaptioner.from_pretrained_lm(
        lm, n_dims=loaded.n_dims, mapper=mapper, prefix_length=prefix_length, tune=tune
    )
    pipeline = Pipeline(encoder, learner, decoder)
    if images is not None:
        pipeline.collect((item.source for item in _sources.gather(images, modality)), modality=modality)
    progress = sys.stderr.isatty()
    pipeline.fit_text(texts, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, progress=progress)
    pipeline.save_pretrained(output)
