"""`c3align demo`: a real gap open and closed, then used: names without a picture seen, pictures without a name read."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from c3align._demo import _cache, _gap

__all__ = ["run"]

NAMING = """\
Naming. A small language model now learns {n_train} names from the embeddings of the names alone, without a picture,
and is then shown pictures: of the {n} characters that nothing here has ever seen. (C3, Zhang et al., ICLR 2024)"""
DRAWING = """\
Drawing. A small network learns {n_train} pictures from the embeddings of the pictures alone, without a text, and is
then given the names of those {n} characters. Its drawings are shown to the encoder, which looks for the character."""
MEANING = {
    "C1": "embeddings as they are",
    "C2_1": "collapse: means taken away",
    "C2_2": "corrupt: noise while learning",
    "C3": "both",
}
CAPTION_COLUMNS = {"word_f1": "words (F1)", "exact": "whole name", "bigram_precision": "pairs of words"}
PICTURE_COLUMNS = {"recall@1": "found first", "recall@5": "among first five"}
N_ON_SHEET = 12


def run(
    stream: TextIO,
    plot: Path | None = None,
    *,
    quick: bool = False,
    sheet: Path | None = None,
    use_cache: bool = True,
) -> dict[str, Any]:
    """Run the demo, telling it on `stream`; returns its figures.

    Parameters
    ----------
    stream : text file
    plot : path, optional
        Draw both modalities before and after into this PNG.
    quick : bool
        Show the gap only, train nothing.
    sheet : path, optional
        Where the contact sheet goes; by default into the cache, or without one into the working folder.
    use_cache : bool
        Keep what was learned in the user's cache folder, and take it from there.
    """
    material = _gap.embed()
    found = _gap.tell(material, stream, plot)
    if quick:
        return found
    with _folder(material, use_cache) as folder:
        sheet = sheet or (folder if use_cache else Path()) / "c3align-demo.png"
        found["tasks"] = _tell_tasks(material, folder, stream, sheet)
        if use_cache:
            print(f"All that was learned is kept in {folder}; --no-cache learns it anew.", file=stream)
            print(f"Each is a pipeline: c3align caption picture.png --pipeline {folder / 'names-C3'}", file=stream)
    return found


@contextlib.contextmanager
def _folder(material: _gap.Material, use_cache: bool) -> Iterator[Path]:
    from c3align._demo import _tasks

    if not use_cache:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    folder = _cache.folder_for(material.encoder.fingerprint, _tasks.SETTINGS)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def _tell_tasks(material: _gap.Material, folder: Path, stream: TextIO, sheet: Path) -> dict[str, Any]:
    from c3align._demo import _sheet, _tasks

    counts = {"n": len(material.held_out), "n_train": len(material.train)}
    print("\n" + NAMING.format(**counts), end="\n\n", file=stream)
    named = _tasks.name(material, folder)
    print(_table(named, CAPTION_COLUMNS), file=stream)
    print("\n" + DRAWING.format(**counts), end="\n\n", file=stream)
    drawn = _tasks.draw(material, folder)
    print(_table(drawn, PICTURE_COLUMNS), file=stream)
    rows = np.linspace(0, len(material.held_out) - 1, N_ON_SHEET).round().astype(int).tolist()
    _sheet.save(
        sheet,
        material.held_out.pictures[rows],
        [material.held_out.names[i] for i in rows],
        {variant: learned.made[rows] for variant, learned in drawn.items()},
        {variant: [learned.made[i] for i in rows] for variant, learned in named.items() if variant in ("C1", "C3")},
    )
    told = f"{N_ON_SHEET} of those characters, the names given to them and what was drawn from theirs"
    print(f"\n{sheet}: {told}", file=stream)
    scores = [{variant: learned.scores for variant, learned in task.items()} for task in (named, drawn)]
    return {"naming": scores[0], "drawing": scores[1], "sheet": str(sheet)}


def _table(learned: dict[str, Any], columns: dict[str, str]) -> str:
    lines = [f"  {'':37}" + "".join(f"{title:>18}" for title in columns.values())]
    for variant, of in learned.items():
        figures = "".join(f"{100 * of.scores[metric]:>17.1f}%" for metric in columns)
        lines.append(f"  {variant:5}{MEANING[variant]:32}{figures}")
    return "\n".join(lines)
