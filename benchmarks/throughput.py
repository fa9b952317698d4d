"""Speed of the ops beside their rivals, all in one process and taken in turn, with a plain copy as the floor.

Times are medians over rounds; in each round every contestant runs once, so that what else the machine does meets all
of them. Outputs are allocated before and warm, for ours and wherever a rival can be told where to write. CPU time is
that of the whole process: what threads cost shows there.

Examples
--------
    python benchmarks/throughput.py --quick
    python benchmarks/throughput.py --rows 256 100000 --dims 512 768 1024 --threads 1 2 --json speeds.json
    python benchmarks/throughput.py --device cuda --rows 1000000 --dims 768 --dtype float32 bfloat16
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import _rivals
import numpy as np
import torch
from tqdm import tqdm

from c3align import ops

OPS = ("align", "corrupt", "moments", "philox_normal")
ROOT = Path(__file__).resolve().parents[1]
MIN_ROUND_SECONDS = 0.02  # short calls are repeated within a round


def time_in_turn(contestants: dict[str, Callable[[], Any]], rounds: int, synchronize: Callable[[], None]) -> dict:
    """Wall and CPU seconds per call of each contestant, one entry a round."""
    repeats = {}
    for name, call in contestants.items():
        for _ in range(2):  # the first call may compile
            begin = time.perf_counter()
            call()
            synchronize()
            took = time.perf_counter() - begin
        repeats[name] = max(1, int(MIN_ROUND_SECONDS / max(took, 1e-7)))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            begin, cpu = time.perf_counter(), time.process_time()
            for _ in range(repeats[name]):
                call()
            synchronize()
            wall = (time.perf_counter() - begin) / repeats[name]
            times[name].append((wall, (time.process_time() - cpu) / repeats[name]))
    return times


def summarize(op: str, times: dict, shape: tuple[int, int], n_bytes: int, setting: dict[str, Any]) -> list[dict]:
    """One record for each contestant: medians, spread, and how it stands to ours and to the floor."""
    medians = {name: np.median(values, axis=0) for name, values in times.items()}
    floor = min(medians[name][0] for name in medians if name in _rivals.FLOORS)
    records = []
    for name, values in times.items():
        wall, cpu = (float(value) for value in medians[name])
        low, high = np.percentile([value[0] for value in values], [25, 75])
        records.append(
            {
                **setting,
                "op": op,
                "contestant": name,
                "us_per_call": wall * 1e6,
                "ns_per_element": wall * 1e9 / (shape[0] * shape[1]),
                "spread": float((high - low) / wall),
                "gb_per_s": n_bytes / wall / 1e9,
                "of_floor": wall / floor,
                "wall_to_ours": wall / medians["c3align"][0],
                "cpu_to_ours": cpu / max(medians["c3align"][1], 1e-9),
            }
        )
    return records


def measure(arguments: argparse.Namespace, save: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Print each op's table and save the records so far, so that a run that is stopped leaves what it had."""
    settings = [
        {"rows": rows, "dims": dims, "dtype": dtype, "threads": threads}
        for rows in arguments.rows
        for dims in arguments.dims
        for dtype in arguments.dtype
        for threads in arguments.threads
    ]
    records = []
    synchronize = torch.cuda.synchronize if arguments.device == "cuda" else (lambda: None)
    for setting in tqdm(settings, disable=None, unit="setting"):
        ops.set_num_threads(setting["threads"])
        torch.set_num_threads(setting["threads"])
        _rivals.set_numba_threads(setting["threads"])
        case = _rivals.Case(device=arguments.device, compile=arguments.compile, **setting)
        for op in arguments.ops:
            times = time_in_turn(case.contestants(op), arguments.rounds, synchronize)
            found = summarize(op, times, (setting["rows"], setting["dims"]), case.n_bytes(op), setting)
            print_table(found)
            records += found
            save(records)


def print_table(records: list[dict[str, Any]]) -> None:
    first = records[0]
    print(f"\n{first['op']}: {first['rows']} x {first['dims']} {first['dtype']}, {first['threads']} thread(s)")
    print(f"{'':22}{'us':>10}{'ns/el':>8}{'+-':>6}{'GB/s':>8}{'x floor':>9}{'wall':>8}{'CPU':>8}  (to ours)")
    for r in sorted(records, key=lambda record: record["us_per_call"]):
        print(
            f"{r['contestant']:22}{r['us_per_call']:>10.1f}{r['ns_per_element']:>8.3f}{r['spread']:>6.0%}"
            f"{r['gb_per_s']:>8.1f}{r['of_floor']:>9.2f}{r['wall_to_ours']:>8.2f}{r['cpu_to_ours']:>8.2f}"
        )


def cpu_name() -> str:
    """The processor as Linux names it, with family and model: clouds hide the rest of the name."""
    if not Path("/proc/cpuinfo").exists():
        return platform.processor()
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    numbers = ", ".join(
        f"{what} {facts[key]}" for what, key in (("family", "cpu family"), ("model", "model")) if key in facts
    )
    return facts.get("model name", platform.processor()) + (f" ({numbers})" if numbers else "")


def provenance(script: str = "throughput.py") -> dict[str, Any]:
    """Where and with what the figures were made."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    packages = ("numpy", "torch", "scikit-learn", "numba", "triton")
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {
        "command": f"python benchmarks/{script} " + " ".join(sys.argv[1:]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": git.stdout.strip() or None,
        "cpu": cpu_name(),
        "processors": ops.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "backend": ops.backend_reason(),
        "python": platform.python_version(),
        "versions": {name: installed.get(name) for name in packages},
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rows", type=int, nargs="+", default=[256, 100_000])
    parser.add_argument("--dims", type=int, nargs="+", default=[512, 768, 1024])
    parser.add_argument(
        "--dtype", nargs="+", default=["float32"], choices=["float16", "bfloat16", "float32", "float64"]
    )
    parser.add_argument("--ops", nargs="+", default=list(OPS), choices=OPS)
    parser.add_argument("--threads", type=int, nargs="+", default=[ops.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, help="where to write all records")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: does it run, not how fast")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.dims, arguments.rounds, arguments.compile = [256, 2000], [256], 3, False
    return arguments


def main() -> None:
    arguments = parse()
    origin = provenance()

    def save(records: list[dict[str, Any]]) -> None:
        if arguments.json:
            arguments.json.write_text(json.dumps({**origin, "records": records}, indent=1) + "\n")

    measure(arguments, save)


if __name__ == "__main__":
    main()
