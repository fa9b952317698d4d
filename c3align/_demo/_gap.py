"""The first part of the demo: the gap of a real encoder, in plain words, open and closed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import C3Aligner, encoders, geometry, report
from c3align import datasets as data
from c3align._typing import Float64Array
from c3align.cli._app import save_picture

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


@dataclass(frozen=True)
class Material:
    """Characters of both splits and their raw rows, by modality."""

    encoder: Any
    train: data.Glyphs
    held_out: data.Glyphs
    train_rows: dict[str, npt.NDArray[np.float32]]
    held_out_rows: dict[str, npt.NDArray[np.float32]]


def embed() -> Material:
    """Pictures and names of all characters through the embedded encoder."""
    encoder = encoders.load("glyphs")
    splits = {split: data.glyphs(split=split) for split in ("train", "held_out")}
    rows: dict[str, dict[str, Any]] = {split: {} for split in splits}
    jobs = [(split, modality) for split in splits for modality in ("text", "image")]
    for split, modality in tqdm(
        jobs, desc="embedding", unit="set", delay=1, disable=None, leave=False, file=sys.stderr
    ):
        items: Any = splits[split].names if modality == "text" else splits[split].pictures
        rows[split][modality] = encoder.encode(items, modality=modality)
    return Material(encoder, splits["train"], splits["held_out"], rows["train"], rows["held_out"])


def tell(material: Material, stream: TextIO, plot: Path | None) -> dict[str, Any]:
    """Show the gap open and closed on `stream`; returns its figures."""
    held_out, raw = material.held_out, material.held_out_rows
    print(OPENING.format(n=len(held_out)), end="\n\n", file=stream)
    aligner = C3Aligner().fit(material.train_rows["text"]).partial_fit(material.train_rows["image"], modality="image")
    aligned = {name: aligner.transform(rows, modality=name) for name, rows in raw.items()}
    found = report.report(raw["image"], raw["text"], aligner=aligner)
    print(found, end="\n\n", file=stream)
    names = material.train.names + held_out.names
    memory = np.concatenate([aligner.transform(material.train_rows["text"], modality="text"), aligned["text"]])
    examples = _examples(held_out, aligned["image"], (names, memory))
    _show(examples, stream)
    print(CLOSING, file=stream)
    if plot:
        save_picture(plot, lambda: report.plot_cones(found))
        print(f"{plot}: both modalities before and after, seen along two axes", file=stream)
    shown = [{name: value for name, value in example.items() if name != "picture"} for example in examples]
    return {"report": found.to_dict()["pairs"][0], "encoder": material.encoder.fingerprint, "examples": shown}


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
