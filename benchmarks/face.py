"""What the scikit-learn face costs beside the kernel that it guards: one row, 256 rows, 4,096.

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

LIMITS = {"us_of_one_row": 50.0, "of_align_at_256_rows": 2.0}
SIZES = (1, 256, 4096)


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
    return {
        "ops.align": lambda: ops.align(X, mean),
        "transform(modality=)": lambda: aligner.transform(X, modality="image"),
        "transform()": lambda: aligner.transform(X),
        "ops.corrupt": lambda: ops.corrupt(X, mean, sigma=sigma, seed=seed),
        "corrupt(modality=)": lambda: aligner.corrupt(X, modality="image"),
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
        us = least(calls(n_rows, n_dims), rounds)
        ratios = {
            name: round(us[name] / us[op], 2)
            for op, name in (
                ("ops.align", "transform(modality=)"),
                ("ops.align", "transform()"),
                ("ops.corrupt", "corrupt(modality=)"),
            )
        }
        found.append({"rows": n_rows, "dims": n_dims, "us_per_call": us, "of_its_op": ratios})
    return found


def misses(records: list[dict[str, Any]]) -> list[str]:
    """What is slower than it may be."""
    by_rows = {record["rows"]: record for record in records}
    one = by_rows[1]["us_per_call"]["transform(modality=)"]
    ratio = by_rows[256]["of_its_op"]["transform(modality=)"]
    found = {"us_of_one_row": one, "of_align_at_256_rows": ratio}
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
