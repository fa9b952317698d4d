"""`c3align demo`: a real gap closed, one index searched, pictures captioned by a decoder that has only read text."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from c3align import encoders
from c3align.cli.demo import _cache, _material, _show

__all__ = ["run"]

N_SUREST, N_EVEN, N_IN_TERMINAL = 24, 8, 6


def run(
    stream: TextIO,
    plot: Path | None = None,
    *,
    quick: bool = False,
    full: bool = False,
    sheet: Path | None = None,
    use_cache: bool = True,
) -> dict[str, Any]:
    """Run the demo, telling it on `stream`; returns its figures. `c3align demo --help` says what the options do."""
    encoder = encoders.load("glyphs")
    with _one_thread(), _folder(encoder, use_cache and not quick) as folder:
        material = _material.embed(encoder, folder)
        found = _tell_gap(material, stream, plot)
        found["search"] = _material.search(material)
        print(_show.search(found["search"], len(material.held_out)), file=stream)
        if not quick:
            sheet = sheet or (folder if use_cache else Path()) / "c3align-demo.png"
            found["tasks"] = _tell_tasks(material, folder, stream, sheet, full)
            if use_cache:
                print(_show.KEPT.format(folder=folder), file=stream)
        print(_show.CLOSING, file=stream)
    return found


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Nets this small gain next to nothing from a second thread, and lose tenfold where another program wants it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _folder(encoder: Any, use_cache: bool) -> Iterator[Path]:
    if not use_cache:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    from c3align.cli.demo import _tasks

    folder = _cache.folder_for(encoder.fingerprint, _tasks.SETTINGS)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def _tell_gap(material: _material.Material, stream: TextIO, plot: Path | None) -> dict[str, Any]:
    print(_show.OPENING.format(n=len(material.held_out)), file=stream)
    figures = _material.gap(material)
    print(_show.gap(figures), file=stream)
    if plot:
        from c3align import report
        from c3align.cli._app import save_picture

        rows = material.held_out_rows
        found = report.report(rows["image"], rows["text"], names=("image", "text"), aligner=material.aligner())
        save_picture(plot, lambda: report.plot_cones(found))
        print(f"{plot}: both modalities before and after, seen along two axes\n", file=stream)
    return {"gap": figures, "encoder": material.encoder.fingerprint}


def _tell_tasks(material: _material.Material, folder: Path, stream: TextIO, sheet: Path, full: bool) -> dict[str, Any]:
    from c3align.cli.demo import _tasks

    variants = tuple(_tasks.VARIANTS) if full else ("C1", "C3")
    counts = {"n": len(material.held_out), "n_train": f"{len(material.train):,}"}
    print(_show.NAMING.format(**counts), file=stream)
    named = _tasks.name(material, folder, variants)
    print(_show.table(named, _show.CAPTION_COLUMNS), file=stream)
    best = _tasks.surest(material, named["C3"].made, N_SUREST)
    _show.examples(_examples(material, named, best[:N_IN_TERMINAL]), stream)
    scores = {"naming": {variant: learned.scores for variant, learned in named.items()}}
    drawn = {}
    if full:
        print(_show.DRAWING.format(**counts), file=stream)
        drawn = _tasks.draw(material, folder, variants)
        print(_show.table(drawn, _show.PICTURE_COLUMNS), file=stream)
        scores["drawing"] = {variant: learned.scores for variant, learned in drawn.items()}
    _save_sheet(material, named, drawn, best, sheet)
    print(_show.SHEET.format(sheet=sheet, n_surest=len(best), n_even=N_EVEN, **counts), file=stream)
    return {**scores, "sheet": str(sheet)}


def _examples(material: _material.Material, named: dict[str, Any], rows: Sequence[int]) -> list[Any]:
    from c3align.cli.demo._sheet import Example

    names, pictures = material.held_out.names, material.held_out.pictures
    return [Example(pictures[i], names[i], {variant: named[variant].made[i] for variant in ("C1", "C3")}) for i in rows]


def _save_sheet(
    material: _material.Material, named: dict[str, Any], drawn: dict[str, Any], best: list[int], path: Path
) -> None:
    from c3align.cli.demo import _sheet

    n = len(material.held_out)
    even = np.linspace(0, n - 1, N_EVEN).round().astype(int).tolist()
    sections = {
        _show.SUREST.format(n=len(best)): _examples(material, named, best),
        _show.EVEN.format(n=N_EVEN, n_all=n): _examples(material, named, even),
    }
    strips = {f"drawn by {variant}": learned.made[best] for variant, learned in drawn.items()}
    if strips:
        strips = {"the character": material.held_out.pictures[best], **strips}
    _sheet.save(path, _show.title(named, len(material.train), n), sections, strips)
