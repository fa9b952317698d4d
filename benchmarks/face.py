"""What the scikit-learn face costs beside the kernel that it guards: one row, 256 rows, 4,096, 100,000.

All calls of one size take turns, so that whatever else the machine does meets all of them; the smallest of many short
runs counts. The rows are of the named modality, as in serving: the aligner has both means and looks whether the rows
fit the name. For comparison scikit-learn's StandardScaler, whose transform checks its input as well.

Examples
--------
    python benchmarks/face.py
    python benchmarks/face.py --dims 768 --rounds 40
    python benchmarks/face.py --json benchmarks/results/face.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler
from throughput import provenance, time_in_turn
from tqdm import tqdm

from c3align import C3Aligner, noise, ops

LIMITS = {"us_of_one_row": 50.0, "us_of_one_noisy_row": 60.0, "of_align": 2.0}  # the last from 256 rows on
SIZES = (1, 256, 4096, 100_000)
TRANSFORM, CORRUPT, TRANSLATE, INVERSE = "transform(modality=)", "corrupt(modality=)", "translate", "inverse_transform"


def rows(n_rows: int, n_dims: int) -> tuple[Any, Any]:
    """Pairs of two modalities, float32: a shared content, a gap as wide as the spread, a residual."""
    rng = np.random.default_rng(0)
    shared, gap = rng.standard_normal((n_rows, n_dims)), np.sqrt(n_dims) * np.eye(2, n_dims)
    found = [shared + gap[i] + 0.5 * rng.standard_normal((n_rows, n_dims)) for i in range(2)]
    return found[0].astype(np.float32), found[1].astype(np.float32)


def calls(n_rows: int, n_dims: int) -> dict[str, Callable[[], Any]]:
    """The op, and what users call."""
    text, image = rows(max(n_rows, 2000), n_dims)
    aligner, scaler = C3Aligner().fit(text, image), StandardScaler().fit(image)
    mean, sigma, X = aligner.statistics_["image"].mean, aligner.sigma_, image[:n_rows]
    seed = noise.stream_seed(0, "image")
    aligned = aligner.transform(X, modality="image")
    return {
        "ops.align": lambda: ops.align(X, mean),
        TRANSFORM: lambda: aligner.transform(X, modality="image"),
        "transform()": lambda: aligner.transform(X),
        "ops.corrupt": lambda: ops.corrupt(X, mean, sigma=sigma, seed=seed),
        CORRUPT: lambda: aligner.corrupt(X, modality="image"),
        TRANSLATE: lambda: aligner.translate(X, source="image", target="text"),
        INVERSE: lambda: aligner.inverse_transform(aligned, modality="image"),
        "StandardScaler": lambda: scaler.transform(X),
    }


def least(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Microseconds a call, the least of all rounds."""
    times = time_in_turn(contestants, rounds, lambda: None)
    return {name: round(1e6 * min(wall for wall, _ in found), 1) for name, found in times.items()}


def measure(n_dims: int, rounds: int) -> list[dict[str, Any]]:
    """One record for each number of rows."""
    found = []
    for n_rows in tqdm(SIZES, desc="sizes", disable=None):
        us = least(calls(n_rows, n_dims), rounds if n_rows < 100_000 else max(3, rounds // 5))
        ratios = {
            name: round(us[name] / us[op], 2)
            for op, name in (
                ("ops.align", TRANSFORM),
                ("ops.align", "transform()"),
                ("ops.corrupt", CORRUPT),
                ("ops.align", TRANSLATE),
                ("ops.align", INVERSE),
            )
        }
        found.append({"rows": n_rows, "dims": n_dims, "us_per_call": us, "of_its_op": ratios})
    return found


def misses(records: list[dict[str, Any]]) -> list[str]:
    """What is slower than it may be."""
    one = records[0]["us_per_call"]
    found = {"us_of_one_row": one[TRANSFORM], "us_of_one_noisy_row": one[CORRUPT]}
    many = [record["of_its_op"][name] for record in records[1:] for name in (TRANSFORM, TRANSLATE, INVERSE)]
    found["of_align"] = max(many)
    return [f"{name}: {value} (limit {LIMITS[name]})" for name, value in found.items() if value > LIMITS[name]]


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=30, help="turns that each call takes")
    parser.add_argument("--json", type=Path, help="file for the records")
    arguments = parser.parse_args()
    records = measure(arguments.dims, arguments.rounds)
    for record in records:
        print(f"{record['rows']} row(s) of {record['dims']}, us a call:")
        for name, us in record["us_per_call"].items():
            ratio = record["of_its_op"].get(name)
            print(f"  {name:22s}{us:10.1f}" + (f"   {ratio:.2f}x its op" if ratio else ""))
    slow = misses(records)
    print("within the limits" if not slow else "missed: " + "; ".join(slow))
    if arguments.json:
        found = {**provenance("face.py"), "limits": LIMITS, "records": records}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
