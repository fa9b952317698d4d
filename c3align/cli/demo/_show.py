"""What the demo says, and how it prints figures and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from c3align.cli._app import visible

OPENING = """\
An encoder such as CLIP turns a picture and its caption into two nearby points of one space. Yet all pictures gather on
one side of that space and all texts on the other, with a gap between them. c3align learns the mean of each side and
takes the gap away. Here it does so for the small encoder in this package, which knows characters by their Unicode
names. Every figure below is measured on {n} characters that neither the encoder nor anything else here has seen.

1. The gap
"""
SEARCH = """\
2. One index over pictures and names: each name searches all {n} pictures and the other names at once
"""
NAMING = """\
3. Pictures named by a decoder that has only read text

A small language model is trained on this machine, on the embeddings of {n_train} names. It sees no picture. Then it
has to name the pictures of the {n} characters. C1 takes embeddings as they are; C3 (Zhang et al., ICLR 2024)
subtracts the mean of each side and adds noise during training.
"""
DRAWING = """\
4. Names drawn by a network that has only seen pictures

A small network is trained on the embeddings of {n_train} pictures. It reads no text. Then it has to draw the {n}
characters from their names. The encoder looks at each drawing and searches for the character among all of them.
"""
SHEET = "{sheet}: {n_surest} pictures with their names from C1 and C3, and {n_even} spread evenly over all {n}"
KEPT = """\
What was trained is kept in {folder}; --no-cache trains it again.
Each decoder is a pipeline: c3align caption picture.png --pipeline {folder}/names-C3"""
CLOSING = """
With embeddings of your own: C3Aligner().fit(text, image).transform(image, modality="image")"""
TITLE = """\
Pictures named by a decoder that has only read text
Trained on the embeddings of {n_train} names, then shown pictures of {n} other characters. Right words are green.
"""
LINE = "{variant} ({meaning}): {words:.0f} % of the words right, {whole:.1f} % of the whole names.  "
SUREST = "The {n} pictures whose name from C3 fits best, as judged by the encoder, which is not told the true name:"
EVEN = "{n} spread evenly over all {n_all}:"

MEANING = {
    "C1": "embeddings as they are",
    "C2_1": "means removed",
    "C2_2": "noise while training",
    "C3": "means removed, noise while training",
}
CAPTION_COLUMNS = {"word_f1": "words (F1)", "exact": "whole name", "bigram_precision": "pairs of words"}
PICTURE_COLUMNS = {"recall@1": "found first", "recall@5": "among first five"}


def gap(figures: Mapping[str, Any]) -> str:
    """The figures of the report that say most, before and after."""
    titles = {"gap_norm": "distance between the two means", "separability": "a straight line tells them apart"}
    forms = {"gap_norm": "{:.2f}", "separability": "{:.0%}"}
    rows = [(titles[k], *(forms[k].format(figures[when][k]) for when in ("before", "after"))) for k in titles]
    return _two_columns(rows)


def search(found: Mapping[str, Mapping[str, float]], n: int) -> str:
    """What a name finds, before and after."""
    titles = {"pictures": "pictures among its ten nearest", "own": "its own picture is among them"}
    rows = [(title, *(f"{found[when][name]:.0%}" for when in ("before", "after"))) for name, title in titles.items()]
    return SEARCH.format(n=n) + "\n" + _two_columns(rows)


def _two_columns(rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"  {'':34}{'before':>10}{'after':>10}", *(f"  {title:34}{a:>10}{b:>10}" for title, a, b in rows)]
    return "\n".join(lines) + "\n"


def title(named: Mapping[str, Any], n_train: int, n: int) -> str:
    """What stands above the sheet: what was done, and the figures of C1 and C3."""
    figures = [
        LINE.format(
            variant=variant,
            meaning=MEANING[variant],
            words=100 * named[variant].scores["word_f1"],
            whole=100 * named[variant].scores["exact"],
        )
        for variant in ("C1", "C3")
    ]
    return TITLE.format(n_train=f"{n_train:,}", n=n) + "".join(figures)


def table(learned: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """A line for each variant, a column for each score."""
    lines = [f"  {'':42}" + "".join(f"{title:>18}" for title in columns.values())]
    for variant, found in learned.items():
        figures = "".join(f"{100 * found.scores[metric]:>17.1f}%" for metric in columns)
        lines.append(f"  {f'{variant}: {MEANING[variant]}':42}{figures}")
    return "\n".join(lines) + "\n"


def examples(shown: Sequence[Any], stream: TextIO) -> None:
    """Pictures in half blocks beside their names, where the terminal can print them."""
    print(f"The {len(shown)} pictures whose name from C3 fits best, as judged by the encoder:\n", file=stream)
    for example in shown:
        block = _half_blocks(example.picture)
        texts = ["", "", f"is   {example.name}", *(f"{variant:4} {text}" for variant, text in example.given.items())]
        try:
            "".join(block).encode(stream.encoding or "utf-8")
        except UnicodeEncodeError:
            block = []
        for i in range(max(len(block), len(texts))):
            left = block[i] if i < len(block) else " " * len(block[0] if block else "")
            text = visible(texts[i], stream) if i < len(texts) else ""
            print(f"  {left}   {text}".rstrip(), file=stream)


def _half_blocks(picture: npt.NDArray[np.uint8]) -> list[str]:
    """A picture of 32 x 32 as 16 columns and 8 lines of half blocks."""
    small = picture.reshape(16, 2, 16, 2).astype(int).mean(axis=(1, 3)) > 80
    return ["".join(" ▀▄█"[int(up) + 2 * int(low)] for up, low in zip(*pair)) for pair in zip(small[::2], small[1::2])]
