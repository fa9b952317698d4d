"""Draw characters never seen from their names, by a network that learned from pictures alone.

The paper's ablation on the embedded encoder: `EmbeddingGenerator` learns the training characters of DejaVuSans from
their own embeddings, with and without collapse, corruption (over noise cosines) and a critic, and draws the names of
the held-out ones, as they are and half way to a memory of the training pictures. Judged by the encoder (the critic's
own kind), by pixels (which the critic does not know), and against a training-free row: the training picture that lies
nearest to the name.

Examples
--------
    python benchmarks/drawing.py --json benchmarks/results/drawing.json      # an hour on 2 slow cores, resumable
    python benchmarks/drawing.py --variants C3 --noise residual --noise-cosines auto --seeds 0 1
    python benchmarks/drawing.py --limit 300 --epochs 1                      # does it run?
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from c3align import C3Aligner, encoders, geometry
from c3align import datasets as data
from c3align.decoders import EmbeddingGenerator

sys.path.insert(0, str(Path(__file__).parent / "paper"))

import scores
from _results import Results, spread
from _variants import VARIANTS, fit_aligner

NEAREST = {"what": "nearest picture"}  # the record without a drawing
SHOWN = (
    "recall@1",
    "recall@5",
    "pixel_recall@1",
    "fid",
    "pixel_error",
    "memory_recall@1",
    "memory_fid",
    "image_recall@1",
)


class Material:
    """Pictures and raw rows of the training and of the held-out characters."""

    def __init__(self, limit: int | None) -> None:
        self.encoder = encoders.load("glyphs")
        self.pictures, self.rows = {}, {}
        for split in ("train", "held_out"):
            found = data.glyphs(split=split)
            self.pictures[split] = found.pictures[:limit]
            for modality, items in (("image", found.pictures), ("text", found.names)):
                self.rows[split, modality] = self.encoder.encode(items[:limit], modality=modality)

    def aligner(self, variant: str, noise: dict[str, Any]) -> C3Aligner:
        text, image = (self.rows["train", modality] for modality in ("text", "image"))
        return fit_aligner(variant, text, image, paired=True, **noise)

    def judged(self, drawn: np.ndarray, prefix: str = "") -> dict[str, float]:
        """Scores of drawings of all held-out characters."""
        real = self.pictures["held_out"]
        found = scores.picture_scores(drawn, real, self.encoder, ["fid", "retrieval", "pixel_error"])
        mean = self.pictures["train"].mean(axis=0)
        flat = [(pictures - mean).reshape(len(pictures), -1) + 1e-9 for pictures in (drawn, real)]
        found["pixel_recall@1"] = geometry.recall_at_k(*flat, ks=(1,))[1]
        return {prefix + name: value for name, value in found.items()}


def measure(material: Material, key: dict[str, Any], epochs: int) -> dict[str, Any]:
    aligner = material.aligner(key["variant"], {name: key[name] for name in ("noise", "noise_cosine")})
    critic = material.encoder.picture_tower if key["critic_weight"] else None
    begin, generator = time.process_time(), EmbeddingGenerator()
    generator.fit(
        material.rows["train", "image"],
        material.pictures["train"],
        aligner=aligner,
        epochs=epochs,
        critic=critic,
        critic_weight=key["critic_weight"],
        seed=key["seed"],
        progress=sys.stderr.isatty(),
    )
    seconds = time.process_time() - begin
    rows = {m: aligner.transform(material.rows["held_out", m], modality=m) for m in ("text", "image")}
    memory = aligner.transform(material.rows["train", "image"], modality="image")
    judged = {
        **material.judged(generator.generate(rows["text"])),
        **material.judged(generator.generate(rows["text"], memory=memory), "memory_"),
        **material.judged(generator.generate(rows["image"]), "image_"),
    }
    return {**judged, "cpu_seconds": round(seconds, 1), "loss": generator.losses_[-1]}


def nearest_picture(material: Material) -> dict[str, Any]:
    """The training picture whose aligned embedding lies nearest to the aligned name's."""
    aligner = material.aligner("C3", {})
    memory = aligner.transform(material.rows["train", "image"], modality="image")
    names = aligner.transform(material.rows["held_out", "text"], modality="text")
    return material.judged(material.pictures["train"][(names @ memory.T).argmax(axis=1)])


def keys(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One for each run; noise is a choice only where there is any."""
    found = []
    for seed in arguments.seeds:
        for weight in arguments.critic_weights:
            for variant in arguments.variants:
                for cosine in arguments.noise_cosines if VARIANTS[variant][1] else [1.0]:
                    noise = arguments.noise if VARIANTS[variant][1] else "isotropic"
                    found.append(
                        {
                            "variant": variant,
                            "noise": noise,
                            "noise_cosine": cosine,
                            "critic_weight": weight,
                            "seed": seed,
                        }
                    )
    return found


def show(records: list[dict[str, Any]]) -> None:
    """Mean and standard deviation over the seeds."""
    print("variant  noise      cosine critic  seeds  " + "  ".join(f"{name:>15}" for name in SHOWN))
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in records:
        group = tuple(record[name] for name in ("variant", "noise", "noise_cosine", "critic_weight"))
        groups.setdefault(group, []).append(record)
    for group, found in sorted(groups.items(), key=lambda item: tuple(map(str, item[0]))):
        cells = []
        for name in SHOWN:
            values = [record[name] for record in found if name in record]
            cells.append(f"{spread(values) if values else '':>15}")
        print("{:8} {:10} {!s:6} {:6} ".format(*group), f"{len(found):5}  " + "  ".join(cells))


def cosine(text: str) -> float | str:
    """A noise cosine, or "auto": from the residuals of the training pairs."""
    return text if text == "auto" else float(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--noise", default="isotropic", help="of C3Aligner")
    parser.add_argument("--noise-cosines", nargs="+", type=cosine, default=[0.85, 0.7, 0.5, 0.33])
    parser.add_argument("--critic-weights", nargs="+", type=float, default=[0.0, 0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--limit", type=int, help="characters of each split")
    parser.add_argument("--json", type=Path, help="results; runs that are in it are not run again")
    arguments = parser.parse_args()
    results = Results(arguments.json, {"epochs": arguments.epochs, "limit": arguments.limit})
    material = Material(arguments.limit)
    for key in keys(arguments):
        results.run(key, partial(measure, material, key, arguments.epochs))
    nearest = results.run(NEAREST, partial(nearest_picture, material))
    show([record for record in results.records if "variant" in record])
    print("nearest training picture: " + ", ".join(f"{k} {v:.3f}" for k, v in nearest.items() if k not in NEAREST))


if __name__ == "__main__":
    main()
