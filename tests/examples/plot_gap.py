"""The gap of a real encoder: the one in this package, on characters and names it has never seen.

Draws `gap.png` (the cones, before and after), writes the page `gap.html`, and prints the report.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

from c3align import C3Aligner, datasets, encoders
from c3align.report import plot_cones, report

mpl.use("Agg")


def main(folder: Path) -> None:
    encoder = encoders.load("glyphs")
    seen, unseen = datasets.glyphs(split="train"), datasets.glyphs(split="held_out")
    # the means are learned on characters that the report does not see, and without pairs
    aligner = C3Aligner().fit(encoder.encode(seen.names, modality="text"))
    aligner.partial_fit(encoder.encode(seen.pictures, modality="image"), modality="image")
    image = encoder.encode(unseen.pictures, modality="image")
    text = encoder.encode(unseen.names, modality="text")
    found = report(image, text, names=("image", "text"), aligner=aligner)
    axes = plot_cones(found)
    axes[0].figure.savefig(folder / "gap.png", dpi=110)
    (folder / "gap.html").write_text(found.to_html(), encoding="utf-8")
    print(found)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
