"""Zero-shot classification before and after each modality is centered: CLAP, 800 clips of ESC-50, 50 class prompts.

A clip gets the class whose prompt is nearest. No label and no pair is used to center. The means come either from the
very clips that are classified, or from one half of them while the other half is classified.

Examples
--------
    python benchmarks/zero_shot.py
    python benchmarks/zero_shot.py --splits 1000
    python benchmarks/zero_shot.py --json benchmarks/results/zero-shot.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _sets import DATA
from throughput import provenance
from tqdm import trange

from c3align import C3Aligner, ops

Rows = npt.NDArray[np.float32]
CLAP = DATA / "clap-esc50"


def right(sounds: Rows, prompts: Rows, labels: npt.NDArray[np.int16]) -> float:
    """Share of the clips whose nearest prompt is that of their class."""
    return float(((sounds @ prompts.T).argmax(axis=1) == labels).mean())


def before_and_after(fitted: Rows, sounds: Rows, prompts: Rows, labels: npt.NDArray[np.int16]) -> tuple[float, float]:
    """Accuracy on `sounds`, raw and centered by the mean of the clips `fitted`."""
    aligner = C3Aligner().fit(prompts).partial_fit(fitted, modality="audio")
    raw = right(ops.normalize(sounds), ops.normalize(prompts), labels)
    aligned = (aligner.transform(sounds, modality="audio"), aligner.transform(prompts, modality="text"))
    return raw, right(*aligned, labels)


def in_halves(sounds: Rows, prompts: Rows, labels: npt.NDArray[np.int16], splits: int) -> dict[str, Any]:
    """The same where the mean comes from the other half of the clips; means over random halves."""
    rng, found = np.random.default_rng(0), []
    for _ in trange(splits, desc="halves", disable=None):
        order = rng.permutation(len(sounds))
        fitted, tested = np.array_split(order, 2)
        found.append(before_and_after(sounds[fitted], sounds[tested], prompts, labels[tested]))
    raw, aligned = np.mean(found, axis=0).tolist()
    better, worse = (int(sum(sign * (after - before) > 0 for before, after in found)) for sign in (1, -1))
    return {"before": raw, "after": aligned, "splits": splits, "better": better, "worse": worse}


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=200, help="random halves")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    if not CLAP.exists():
        sys.exit(f"the CLAP rows are not in {CLAP}; set C3ALIGN_DATA to the folder that holds clap-esc50/")
    sounds, prompts, labels = (np.load(CLAP / f"{name}.npy") for name in ("audio", "class_text", "labels"))
    raw, aligned = before_and_after(sounds, sounds, prompts, labels)
    halves = in_halves(sounds, prompts, labels, arguments.splits)
    print(f"mean of the same clips:     {raw:.3f} before, {aligned:.3f} after")
    print(f"mean of other clips:        {halves['before']:.3f} before, {halves['after']:.3f} after")
    print(f"better in {halves['better']}, worse in {halves['worse']} of {arguments.splits} random halves")
    if arguments.json:
        figures = {"clips": len(sounds), "prompts": len(prompts), "before": raw, "after": aligned, "halves": halves}
        arguments.json.write_text(json.dumps({**provenance("zero_shot.py"), "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
