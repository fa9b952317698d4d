"""`c3align demo`: the gap of a real encoder, in plain words, open and closed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import C3Aligner, _files, encoders, geometry, report
from c3align._typing import Float64Array
from c3align.datasets import glyphs as data

SHOWN = (0x25, 0xE2, 0x0416, 0x2602, 0x28BF)  # replaced by the nearest held-out characters
N_NAMES = 3

OPENING = """\
An encoder turns a picture and its caption into two points of one space, so that one finds the other.
Yet pictures gather on one side of that space and captions on the other: the modality gap. Whatever learns
on captions alone then fails on pictures. c3align learns the two means and takes them away.

The encoder in this package knows characters and their names. It has never seen the {n} characters below."""

CLOSING = """\
No picture was ever paired with a name for this: one mean of names and one of pictures did it.
With your own embeddings: C3Aligner().fit(text_embeddings).transform(image_embeddings)"""


def run(stream: TextIO, plot: Path | None) -> dict[str, Any]:
    """Run the demo, telling it on `stream`; returns its figures."""
    held_out = data.glyphs(split="held_out")
    print(OPENING.format(n=len(held_out)), end="\n\n", file=stream)
    raw, names, aligner = _embed(held_out)
    aligned = {name: aligner.transform(rows, modality=name) for name, rows in raw.items()}
    found = report.report(raw["image"], raw["text"], aligner=aligner)
    print(found, end="\n\n", file=stream)
    examples = _examples(held_out, aligned["image"], names)
    _show(examples, stream)
    print(CLOSING, file=stream)
    if plot:
        _files.save_picture(plot, lambda: report.plot_cones(found))
        print(f"{plot}: both modalities before and after, seen along two axes", file=stream)
    shown = [{name: value for name, value in example.items() if name != "picture"} for example in examples]
    return {"report": found.to_dict()["pairs"][0], "encoder": aligner.encoder_fingerprint_, "examples": shown}


def _embed(held_out: data.Glyphs) -> tuple[dict[str, Any], tuple[list[str], Any], C3Aligner]:
    """Raw held-out rows of both modalities; all names with their aligned rows; an aligner that never saw a pair."""
    encoder = encoders.load("glyphs")
    train = data.glyphs(split="train")
    jobs = [(train.names, "text"), (train.pictures, "image"), (held_out.names, "text"), (held_out.pictures, "image")]
    rows = []
    for items, modality in tqdm(
        jobs, desc="embedding", unit="set", delay=1, disable=None, leave=False, file=sys.stderr
    ):
        rows.append(encoder.encode(items, modality=modality))
    aligner = C3Aligner().fit(rows[0]).partial_fit(rows[1], modality="image").bind_encoder(encoder.fingerprint)
    names = train.names + held_out.names
    memory = aligner.transform(np.concatenate([rows[0], rows[2]]), modality="text")
    return {"image": rows[3], "text": rows[2]}, (names, memory), aligner


def _examples(
    held_out: data.Glyphs, aligned: npt.NDArray[np.float32], names: tuple[list[str], npt.NDArray[np.float32]]
) -> list[dict[str, Any]]:
    """Nearest of all names for some held-out characters spread over Unicode."""
    texts, memory = names
    chosen = sorted({int(np.abs(held_out.code_points - point).argmin()) for point in SHOWN})
    scores: Float64Array = geometry.unit_rows(aligned[chosen]) @ geometry.unit_rows(memory).T
    nearest = np.argsort(-scores, axis=1)[:, :N_NAMES]
    return [
        {
            "character": chr(held_out.code_points[i]),
            "name": held_out.names[i],
            "nearest_names": [texts[j] for j in row],
            "picture": held_out.pictures[i],
        }
        for i, row in zip(chosen, nearest)
    ]


def _show(examples: list[dict[str, Any]], stream: TextIO) -> None:
    """Pictures in half blocks beside their names, where the terminal can print them."""
    print(f"Some of those characters, and the {N_NAMES} nearest of all names after alignment:\n", file=stream)
    for example in examples:
        block = _half_blocks(example["picture"])
        texts = ["", f"is    {example['name']}"]
        texts += [f"{'reads' if i == 0 else '     '} {name}" for i, name in enumerate(example["nearest_names"])]
        try:
            "".join(block).encode(stream.encoding or "utf-8")
        except UnicodeEncodeError:
            block = []
        for i in range(max(len(block), len(texts))):
            left = block[i] if i < len(block) else " " * len(block[0] if block else "")
            print(f"  {left}   {texts[i] if i < len(texts) else ''}".rstrip(), file=stream)


def _half_blocks(picture: npt.NDArray[np.uint8]) -> list[str]:
    """A picture of 32 x 32 as 16 columns and 8 lines of half blocks."""
    small = picture.reshape(16, 2, 16, 2).astype(int).mean(axis=(1, 3)) > 80
    return ["".join(" ▀▄█"[int(up) + 2 * int(low)] for up, low in zip(*pair)) for pair in zip(small[::2], small[1::2])]
