"""Three modalities in one report: a page, a picture, and the figures as plain numbers.

Writes `report.html`, `overview.png` and `report.json`. Two of the three are fonts of the same characters, so that two
gaps are wide and one is not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from c3align import datasets, encoders
from c3align.report import plot_overview, report

mpl.use("Agg")


def main(folder: Path) -> None:
    encoder = encoders.load("glyphs")
    fonts = [datasets.glyphs(font, split="held_out") for font in list(datasets.FONTS)[:2]]
    _, *chosen = np.intersect1d(*(font.code_points for font in fonts), return_indices=True)
    first, second = (font.pictures[rows] for font, rows in zip(fonts, chosen))
    names = [fonts[0].names[row] for row in chosen[0]]
    found = report(
        encoder.encode(first, modality="image"),
        encoder.encode(second, modality="image"),
        encoder.encode(names, modality="text"),
        names=("font 1", "font 2", "name"),
    )
    (folder / "report.html").write_text(found.to_html(), encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(found.to_dict(), indent=1))
    plot_overview(found).savefig(folder / "overview.png", dpi=60)
    print(found.headline())
    for item in found.advice():
        print(f"- {item.title}. {item.text}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
