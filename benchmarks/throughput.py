"""Speed of the ops beside NumPy, PyTorch and scikit-learn, with a plain copy of the rows as the floor.

Without an argument: one size, about a minute, one table. `--full` measures every size and prints what each contestant
took; so does any option that sets a size, with the values of `--full` for the sizes that are left out.

Times are medians over rounds; in each round every contestant runs once, so that what else the machine does meets all
of them. Outputs are allocated before and warm, for ours and wherever a rival can be told where to write. CPU time is
that of the whole process: what threads cost shows there.

Examples
--------
    python benchmarks/throughput.py
    python benchmarks/throughput.py --full --json speeds.json
    python benchmarks/throughput.py --rows 256 100000 --dims 512 768 1024 --threads 1 2 --json speeds.json
    python benchmarks/throughput.py --device cuda --rows 1000000 --dims 768 --dtype float32 bfloat16
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import _rivals
import numpy as np
import torch
from tqdm import tqdm

from c3align import ops
from c3align.errors import counted

OPS = ("align", "corrupt", "moments", "philox_normal")
FULL = {"rows": [256, 100_000], "dims": [512, 768, 1024], "dtype": ["float32"], "ops": list(OPS), "rounds": 9}
SHORT = {**FULL, "rows": [50_000], "dims": [768], "ops": ["align", "corrupt", "moments"], "rounds": 5}
QUICK = {"rows": [256, 2000], "dims": [256], "rounds": 3, "compile": False}
NOT_OTHERS = ("c3align", "c3align, in a graph", *_rivals.FLOORS)
ROOT = Path(__file__).resolve().parents[1]
MIN_ROUND_SECONDS = 0.02  # short calls are repeated within a round


def time_in_turn(
    contestants: dict[str, Callable[[], Any]],
    rounds: int,
    synchronize: Callable[[], None],
    tick: Callable[[str], Any] = lambda name: None,
) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds per call of each contestant, one entry a round; `tick` hears whose turn it is."""
    repeats = {}
    for name, call in contestants.items():
        tick(name)
        for _ in range(2):  # the first call may compile
            begin = time.perf_counter()
            call()
            synchronize()
            took = time.perf_counter() - begin
        repeats[name] = max(1, int(MIN_ROUND_SECONDS / max(took, 1e-7)))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            tick(name)
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


def measure(arguments: argparse.Namespace, save: Callable[[list[dict[str, Any]]], Any]) -> list[dict[str, Any]]:
    """All records; those so far are saved after each op, so that a run that is stopped leaves what it had."""
    settings = [
        {"rows": rows, "dims": dims, "dtype": dtype, "threads": threads}
        for rows in arguments.rows
        for dims in arguments.dims
        for dtype in arguments.dtype
        for threads in arguments.threads
    ]
    records: list[dict[str, Any]] = []
    for setting in settings:
        for found in measured(arguments, setting):
            if arguments.details:
                tqdm.write(details(found))
            records += found
            save(records)
    return records


def measured(arguments: argparse.Namespace, setting: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The records of one size, op by op, behind a bar that says who is at work."""
    for set_threads in (ops.set_num_threads, torch.set_num_threads, _rivals.set_numba_threads):
        set_threads(setting["threads"])
    case = _rivals.Case(device=arguments.device, compile=arguments.compile, **setting)
    contestants = {op: case.contestants(op) for op in arguments.ops}
    turns = sum(len(found) for found in contestants.values()) * (1 + arguments.rounds)
    synchronize = torch.cuda.synchronize if arguments.device == "cuda" else (lambda: None)
    with tqdm(total=turns, unit="turn", leave=False, file=sys.stderr) as bar:

        def tick(op: str, name: str) -> None:
            bar.set_description(f"{setting['rows']:,} x {setting['dims']}, {op}: {name}", refresh=False)
            bar.update()

        for op, found in contestants.items():
            times = time_in_turn(found, arguments.rounds, synchronize, partial(tick, op))
            yield summarize(op, times, (setting["rows"], setting["dims"]), case.n_bytes(op), setting)


def details(records: list[dict[str, Any]]) -> str:
    """What each contestant of one op and size took, the fastest first."""
    first = records[0]
    threads = counted(first["threads"], "thread")
    lines = [f"\n{first['op']}: {first['rows']} x {first['dims']} {first['dtype']}, {threads}"]
    lines += [f"{'':22}{'us':>10}{'ns/el':>8}{'+-':>6}{'GB/s':>8}{'x floor':>9}{'wall':>8}{'CPU':>8}  (to ours)"]
    lines += [
        f"{r['contestant']:22}{r['us_per_call']:>10.1f}{r['ns_per_element']:>8.3f}{r['spread']:>6.0%}"
        f"{r['gb_per_s']:>8.1f}{r['of_floor']:>9.2f}{r['wall_to_ours']:>8.2f}{r['cpu_to_ours']:>8.2f}"
        for r in sorted(records, key=lambda record: record["us_per_call"])
    ]
    return "\n".join(lines)


def summary(records: list[dict[str, Any]]) -> str:
    """One table for each size, a line for each op, and a sentence on the first one."""
    sizes = dict.fromkeys((r["rows"], r["dims"], r["dtype"], r["threads"]) for r in records)
    parts = []
    for size in sizes:
        chosen = [r for r in records if (r["rows"], r["dims"], r["dtype"], r["threads"]) == size]
        parts.append(table(size, chosen))
    return "\n\n".join([*parts, sentence(records)])


def table(size: tuple[int, int, str, int], records: list[dict[str, Any]]) -> str:
    """Ours in milliseconds and rows a second, then how many times as long a copy and the others take."""
    rows, dims, dtype, threads = size
    others = list(dict.fromkeys(r["contestant"] for r in records if r["contestant"] not in NOT_OTHERS))
    lines = [
        f"{rows:,} rows of {dims} {dtype}, {counted(threads, 'thread')}: what c3align takes, and how many times that "
        "others do",
        f"{'':14}{'c3align':>12}{'rows/s':>10}{'copy*':>8}" + "".join(f"{name:>16}" for name in others),
    ]
    for op in dict.fromkeys(r["op"] for r in records):
        found = {r["contestant"]: r for r in records if r["op"] == op}
        ms = found["c3align"]["us_per_call"] / 1e3
        ratios = [f"{found[name]['wall_to_ours']:.1f}x" if name in found else "-" for name in others]
        cells = f"{ms:>9.2f} ms{rows / ms / 1e3:>8.2f} M{1 / found['c3align']['of_floor']:>7.2f}x"
        lines.append(f"{op:14}{cells}" + "".join(f"{ratio:>16}" for ratio in ratios))
    return "\n".join([*lines, "* a plain copy of the rows; for moments, reading them once"])


def sentence(records: list[dict[str, Any]]) -> str:
    """How the first op stands to a copy, to the best of the others and to the slowest, at its largest size."""
    rows = max(r["rows"] for r in records)
    first = next(r for r in records if r["rows"] == rows)
    keys = ("op", "rows", "dims", "dtype", "threads")
    same = [r for r in records if all(r[key] == first[key] for key in keys)]
    ours = next(r for r in same if r["contestant"] == "c3align")
    others = sorted((r for r in same if r["contestant"] not in NOT_OTHERS), key=lambda r: r["wall_to_ours"])
    speed = f"{1e6 * rows / ours['us_per_call']:,.0f} rows of {ours['dims']} a second"
    text = f"c3align runs `{ours['op']}` on {speed}, in {ours['of_floor']:.2f} times the time of a plain copy"
    ranked = [f"{r['contestant']} takes {r['wall_to_ours']:.1f} times as long" for r in others[:1] + others[1:][-1:]]
    return f"{text}; {', '.join(ranked)}." if ranked else f"{text}."


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


def without_folders(argument: str) -> str:
    """An argument without folders that only this machine has."""
    path = Path(argument)
    if not path.is_absolute():
        return argument
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def provenance(script: str = "throughput.py") -> dict[str, Any]:
    """Where and with what the figures were made."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    packages = ("numpy", "torch", "scikit-learn", "numba", "triton")
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {
        "command": " ".join([f"python benchmarks/{script}", *map(without_folders, sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": os.environ.get("COMMIT") or git.stdout.strip() or None,  # told where the history is not there
        "cpu": cpu_name(),
        "processors": ops.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "backend": ops.backend_reason(),
        "python": platform.python_version(),
        "versions": {name: installed.get(name) for name in packages},
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every size, and what each contestant took")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--dims", type=int, nargs="+")
    parser.add_argument("--dtype", nargs="+", choices=["float16", "bfloat16", "float32", "float64"])
    parser.add_argument("--ops", nargs="+", choices=OPS)
    parser.add_argument("--threads", type=int, nargs="+", help="default: all processors")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, help="where to write all records")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: does it run, not how fast")
    return completed(parser.parse_args())


def completed(arguments: argparse.Namespace) -> argparse.Namespace:
    """What was not given takes the values of the short run, or of the full one where that or any size is asked for."""
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    arguments.details = arguments.full or arguments.quick or bool({*FULL, "threads"} & set(given))
    defaults = {**(FULL if arguments.details else SHORT), "threads": [ops.get_num_threads()]}
    for name, value in {**defaults, **given, **(QUICK if arguments.quick else {})}.items():
        setattr(arguments, name, value)
    return arguments


def main() -> None:
    arguments = parse()
    origin = provenance()

    def save(records: list[dict[str, Any]]) -> None:
        if arguments.json:
            arguments.json.write_text(json.dumps({**origin, "records": records}, indent=1) + "\n")

    print(f"{origin['gpu'] if arguments.device == 'cuda' else origin['cpu']}; {origin['backend']}")
    print("\n" + summary(measure(arguments, save)))


if __name__ == "__main__":
    main()
