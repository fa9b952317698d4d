"""`c3align score`: captions against references, pictures against pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from c3align.cli._app import AsJson, app, print_json
from c3align.errors import C3AlignError


@app.command(
    epilog="Examples:  c3align score results.json captions_val2017.json   |   c3align score mine.txt refs.txt "
    "--metrics bleu,cider,word_f1   |   c3align score --pictures drawn/ --real photos/ --encoder glyphs "
    "--metrics fid,retrieval"
)
def score(
    candidates: Annotated[str | None, typer.Argument(help="Captions: .txt, .jsonl, .csv, .tsv, .json (COCO).")] = None,
    references: Annotated[list[str] | None, typer.Argument(help="References; more files add more of them.")] = None,
    metrics: Annotated[str | None, typer.Option(help="With commas between; a wrong name lists them all.")] = None,
    tokenizer: Annotated[str, typer.Option(help="'ptb' (needs Java), 'plain', or 'auto'.")] = "auto",
    pictures: Annotated[str | None, typer.Option(help="Generated pictures instead: a folder, pattern or .npy.")] = None,
    real: Annotated[str | None, typer.Option(help="Real pictures.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Compare pictures in its space; Inception's by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score captions (BLEU, ROUGE-L, CIDEr, METEOR, SPICE, bags of words) or pictures (FID, KID, retrieval)."""
    chosen = [name.strip() for name in metrics.split(",")] if metrics is not None else None
    if pictures is not None or real is not None:
        if candidates is not None or pictures is None or real is None:
            raise C3AlignError("pictures are scored against pictures; pass --pictures and --real, and no captions")
        found = _of_pictures(pictures, real, encoder, chosen)
    elif candidates is None or not references:
        raise C3AlignError("nothing to score; pass candidates and references, or --pictures and --real")
    else:
        found = _of_captions(candidates, references, chosen, tokenizer)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _of_captions(candidates: str, references: list[str], metrics: Any, tokenizer: str) -> dict[str, Any]:
    from c3align import scores

    given = scores.read_captions(candidates)
    samples, refs, unused = scores.join(given, [scores.read_captions(path) for path in references])
    several = sum(len(captions) > 1 for captions in samples)
    if several:
        _note(f"{several} items have several candidates; the first counts, and all for word_map")
    if unused:
        _note(f"{unused} items of the references have no candidate and were left out")
    return scores.caption_scores(samples, refs, metrics, tokenizer=tokenizer, progress=sys.stderr.isatty())


def _of_pictures(pictures: str, real: str, encoder: str | None, metrics: Any) -> dict[str, Any]:
    from c3align import encoders, scores
    from c3align.io.items import gather

    items = [gather(data, "image") for data in (pictures, real)]
    names = [[Path(item.name).stem for item in found] for found in items]
    chosen = metrics or ["fid", "kid"]
    if set(chosen) & {"retrieval", "pixel_error"} and not pictures.endswith(".npy") and names[0] != names[1]:
        odd = sorted(set(names[0]) ^ set(names[1]))[:1]
        raise C3AlignError(f"retrieval and pixel_error need pairs of equal names; {odd} is in one of the folders alone")
    generated, originals = ([item.source for item in found] for found in items)
    features = None if encoder is None else encoders.load(encoder)
    figures = scores.picture_scores(generated, originals, features, chosen, progress=sys.stderr.isatty())
    return {"n_pictures": len(generated), "n_real": len(originals), "features": encoder or "inception", **figures}


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _show(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if name == "absent":
            for metric, reason in value.items():
                _note(f"no {metric}: {reason}")
        else:
            print(f"{name:16} {value:.4f}" if isinstance(value, float) else f"{name:16} {value}")
    if found.get("tokenizer") == "plain":
        _note("scored on plain words, not on PTB tokens as published figures are; install Java for these")
