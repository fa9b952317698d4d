"""The noise of pairs, and which noise stands for it: sigma, its shape, and what a corrupted row looks like.

Draws `noise.png` and prints, for isotropic noise and for noise with the residuals' covariance, the cosine between clean
and corrupted rows beside that of true pairs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from c3align import C3Aligner, datasets, encoders, geometry
from c3align.report import plot_noise_cosine, plot_residual_spectrum, plot_residuals, report

mpl.use("Agg")


def main(folder: Path) -> None:
    encoder = encoders.load("glyphs")
    data = datasets.glyphs(split="train")
    image, text = encoder.encode(data.pictures, modality="image"), encoder.encode(data.names, modality="text")
    found = report(image, text, names=("image", "text"), max_rows=2000)

    _, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
    for draw, ax in zip((plot_residuals, plot_residual_spectrum, plot_noise_cosine), axes):
        draw(found, ax=ax)
    axes[0].figure.savefig(folder / "noise.png", dpi=80)

    pairs = found.pairs[0].after.pair_cosine
    print(f"true pairs after centring: cosine {pairs:.2f}")
    for noise in ("isotropic", "residual"):
        aligner = C3Aligner(noise=noise).fit(text, image)
        clean, corrupted = aligner.transform(text, modality="text"), aligner.corrupt(text, modality="text")
        print(f"{noise:9} noise of the pairs' size: cosine {geometry.pair_cosine(clean, corrupted):.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
