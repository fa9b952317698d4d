"""Score captions (BLEU, ROUGE-L, CIDEr, METEOR, SPICE, bags of words) or pictures (FID, KID, retrieval).

Needs pycocoevalcap for captions and torchmetrics for pictures: `pip install 'c3align[scores]'`.

Examples
--------
    python benchmarks/paper/score.py results.json captions_val2017.json
    python benchmarks/paper/score.py mine.txt refs.txt --metrics bleu cider word_f1
    python benchmarks/paper/score.py --pictures drawn/ --real photos/ --encoder glyphs --metrics fid retrieval
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scores

from c3align import encoders
from c3align.errors import C3AlignError
from c3align.io.items import gather


def captions(candidates: str, references: Sequence[str], metrics: Sequence[str] | None, tokenizer: str) -> Any:
    """Scores of a file of captions against files of references."""
    given = scores.read_captions(candidates)
    samples, refs, unused = scores.join(given, [scores.read_captions(path) for path in references])
    several = sum(len(each) > 1 for each in samples)
    if several:
        note(f"{several} items have several candidates; the first counts, and all for word_map")
    if unused:
        note(f"{unused} items of the references have no candidate and were left out")
    if metrics is None:
        note(f"all metrics for {len(samples)} items; SPICE and METEOR take minutes, --metrics chooses some")
    return scores.caption_scores(samples, refs, metrics, tokenizer=tokenizer, progress=sys.stderr.isatty())


def pictures(generated: str, real: str, encoder: str | None, metrics: Sequence[str] | None) -> dict[str, Any]:
    """Scores of a folder of pictures (or .npy) against another."""
    chosen = metrics or ["fid", "kid"]
    names, sources = zip(*(opened(Path(data)) for data in (generated, real)))
    if set(chosen) & {"retrieval", "pixel_error"} and names[0] != names[1]:
        odd = sorted(set(names[0]) ^ set(names[1]))[:1]
        raise C3AlignError(f"retrieval and pixel_error need pairs of equal names; {odd} is in one of the folders alone")
    features = None if encoder is None else encoders.load(encoder)
    figures = scores.picture_scores(*sources, features, chosen, progress=sys.stderr.isatty())
    sizes = {"n_pictures": len(sources[0]), "n_real": len(sources[1])}
    return {**sizes, "features": encoder or "inception", **figures}


def opened(path: Path) -> tuple[list[str], list[Any]]:
    """Names and pictures of a folder, searched to its leaves, or of an array."""
    if not path.exists():
        raise C3AlignError(f"no file or folder {path}; check the name")
    if path.suffix == ".npy":
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
        return [str(i) for i in range(len(stack))], list(stack)
    found = [item.read() for item in gather(str(path), "image")]
    return [Path(file).stem for file in found], found


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def show(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if name == "absent":
            for metric, reason in value.items():
                note(f"no {metric}: {reason}")
        else:
            print(f"{name:16} {value:.4f}" if isinstance(value, float) else f"{name:16} {value}")
    if found.get("tokenizer") == "plain":
        note("scored on plain words, not on PTB tokens as published figures are; install Java for these")


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Whatever was asked for."""
    if options.pictures is not None or options.real is not None:
        if options.candidates is not None or options.pictures is None or options.real is None:
            raise C3AlignError("pictures are scored against pictures; pass --pictures and --real, and no captions")
        return pictures(options.pictures, options.real, options.encoder, options.metrics)
    if options.candidates is None or not options.references:
        raise C3AlignError("nothing to score; pass candidates and references, or --pictures and --real")
    return captions(options.candidates, options.references, options.metrics, options.tokenizer)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candidates", nargs="?", help="captions: .txt, .jsonl, .csv, .tsv, .json (COCO)")
    parser.add_argument("references", nargs="*", help="references; more files add more of them")
    parser.add_argument("--metrics", nargs="+", help="a wrong name lists them all")
    parser.add_argument("--tokenizer", default="auto", help="ptb (needs Java), plain, or auto")
    parser.add_argument("--pictures", help="generated pictures instead: a folder or .npy")
    parser.add_argument("--real", help="real pictures")
    parser.add_argument("--encoder", help="compare pictures in its space; Inception's by default")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(arguments)
    try:
        found = measured(options)
    except C3AlignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
