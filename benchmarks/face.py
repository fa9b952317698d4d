"""What the scikit-learn face costs beside the kernel that it guards: one row, 256 rows, 4,096, 100,000.

All calls of one size take turns, so that whatever else the machine does meets all of them; the smallest of many short
runs counts. The rows are of the named modality, as in serving: the aligner has both means and looks whether the rows
fit the name. For comparison scikit-learn's StandardScaler, whose transform checks its input as well.

And what a fit of pairs costs beside a fit of both sides alone, on float16 and float32 rows in files, and by how much
memory of the process's own (files in it are not) grows meanwhile, read every millisecond.

Examples
--------
    python benchmarks/face.py
    python benchmarks/face.py --dims 768 --rounds 40
    python benchmarks/face.py --json benchmarks/results/face.json
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler
from throughput import provenance, time_in_turn
from tqdm import tqdm

from c3align import C3Aligner, noise, ops
from c3align.errors import counted

# of_align from 256 rows on; pairs beside both sides alone
LIMITS = {"us_of_one_row": 50.0, "us_of_one_noisy_row": 60.0, "of_align": 2.0, "pairs_of_alone": 1.5, "pairs_mb": 500.0}
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


def as_files(folder: str, n_rows: int, n_dims: int, dtype: str) -> list[Any]:
    """Pairs as files of this dtype, mapped."""
    found = []
    for name, side in zip(("text", "image"), rows(20_000, n_dims)):
        path = f"{folder}/{name}-{dtype}.npy"
        mapped = np.lib.format.open_memmap(path, "w+", dtype, (n_rows, n_dims))
        for start in range(0, n_rows, len(side)):
            mapped[start : start + len(side)] = side[: n_rows - start]
        mapped.flush()
        found.append(np.load(path, mmap_mode="r"))
    return found


def own_memory() -> int:
    """Kilobytes of this process that are no file's."""
    found = re.search(r"RssAnon:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def growth(call: Callable[[], Any]) -> float:
    """Megabytes that the process's own memory grows by during a call, at its most."""
    before, done = own_memory(), threading.Event()
    most = [before]

    def watch() -> None:
        while not done.wait(0.001):
            most[0] = max(most[0], own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return round((most[0] - before) / 1e3, 1)


def measure_pairs(n_rows: int, n_dims: int, rounds: int) -> list[dict[str, Any]]:
    """A record for each dtype: the least time of a fit of pairs, and of both sides alone, in turn."""
    found = []
    for dtype in tqdm(("float16", "float32"), desc="pairs", disable=None):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text, image = as_files(folder, n_rows, n_dims, dtype)
            fits = {
                "both sides alone": lambda: C3Aligner().fit(text).partial_fit(image, modality="image"),  # noqa: B023
                "pairs": lambda: C3Aligner().fit(text, image),  # noqa: B023
            }
            times = time_in_turn(fits, rounds, lambda: None)
            ms = {name: round(1e3 * min(wall for wall, _ in taken), 1) for name, taken in times.items()}
            ratio, mb = round(ms["pairs"] / ms["both sides alone"], 2), growth(fits["pairs"])
        found.append({"pairs": n_rows, "dims": n_dims, "dtype": dtype, "ms": ms, "of_alone": ratio, "own_mb": mb})
    return found


def misses(records: list[dict[str, Any]], of_pairs: list[dict[str, Any]]) -> list[str]:
    """What is slower than it may be."""
    one = records[0]["us_per_call"]
    found = {"us_of_one_row": one[TRANSFORM], "us_of_one_noisy_row": one[CORRUPT]}
    many = [record["of_its_op"][name] for record in records[1:] for name in (TRANSFORM, TRANSLATE, INVERSE)]
    found["of_align"] = max(many)
    found["pairs_of_alone"] = max(record["of_alone"] for record in of_pairs)
    found["pairs_mb"] = max(record["own_mb"] for record in of_pairs)
    return [f"{name}: {value} (limit {LIMITS[name]})" for name, value in found.items() if value > LIMITS[name]]


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=30, help="turns that each call takes")
    parser.add_argument("--pairs", type=int, default=200_000, help="pairs that are fitted")
    parser.add_argument("--json", type=Path, help="file for the records")
    arguments = parser.parse_args()
    of_pairs = measure_pairs(arguments.pairs, arguments.dims, max(3, arguments.rounds // 5))
    records = measure(arguments.dims, arguments.rounds)
    for record in records:
        print(f"{counted(record['rows'], 'row')} of {record['dims']}, us a call:")
        for name, us in record["us_per_call"].items():
            ratio = record["of_its_op"].get(name)
            print(f"  {name:22s}{us:10.1f}" + (f"   {ratio:.2f}x its op" if ratio else ""))
    for record in of_pairs:
        ms, ratio, mb = record["ms"], record["of_alone"], record["own_mb"]
        print(f"{record['pairs']} pairs of {record['dims']} {record['dtype']}, ms a fit, and MB that it needs:")
        print(f"  {'both sides alone':22s}{ms['both sides alone']:10.1f}")
        print(f"  {'pairs':22s}{ms['pairs']:10.1f}   {ratio:.2f}x both alone, {mb:.0f} MB")
    slow = misses(records, of_pairs)
    print("within the limits" if not slow else "missed: " + "; ".join(slow))
    if arguments.json:
        found = {**provenance("face.py"), "limits": LIMITS, "records": records, "pairs": of_pairs}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
