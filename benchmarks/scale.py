"""Rows a second from and to the disk: `c3align fit` and `transform` of a tree of shards, beside what bounds them.

The bounds: reading the same files from the page cache into one buffer, and copying them, with and without waiting for
the disk. The rivals: what people write by hand (a NumPy loop over shards in blocks of 10,000 rows; a script for each
of four passes), scikit-learn's StandardScaler by `partial_fit`, and for one shard Ray's StandardScaler and Daft's mean.
All take turns, each in a process of its own, and the smallest of several times counts. Peak memory is that of the
process; of Ray's, which are several, there is none.

A tree of many rows is a few shards under very many names (hard links), so that they are read from the page cache: it
stands for a disk that keeps up with the first of the bounds. What writes is measured up to `--most-written` rows, and
rivals up to `--most-rivals`; trees above a million rows, and the two tools of one shard, once.

With more threads, and with more workers of Ray, the same rows are learned again (`--workers`). And how long it takes to
start on a tree of very many small files.

Examples
--------
    python benchmarks/scale.py
    python benchmarks/scale.py --rows 100000 --rounds 1 --files 1000
    python benchmarks/scale.py --rows 100000 1000000 10000000 100000000 --json benchmarks/results/scale.json
    python benchmarks/scale.py --rows 1000000 --tasks read fit copy transform --device cuda
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

import _scale_rivals
import numpy as np

Task: TypeAlias = Callable[[Path, Path], None]

SHARD, N_DIMS = 100_000, 768
DISTINCT = 8  # shards that differ; the others are these under other names
REPEATED = 1_000_000  # rows up to which a tree is measured more than once
BUFFER = 1 << 22
MANY_ROWS = 5_000_000_000
SECONDS = 900  # a task that takes longer is given up


def write_tree(folder: Path, n_rows: int) -> None:
    """Shards of float16 rows; one shard's numbers, other ones in each by a rotation of its columns."""
    folder.mkdir()
    rows = np.random.default_rng(0).standard_normal((min(SHARD, n_rows), N_DIMS), dtype=np.float32) + 0.5
    for i, start in enumerate(range(0, n_rows, SHARD)):
        path, some = folder / f"x_{i:05d}.npy", rows[: n_rows - start]
        if i < DISTINCT or len(some) < SHARD:
            np.save(path, np.roll(some, i, axis=1).astype(np.float16))
        else:
            os.link(folder / f"x_{i % DISTINCT:05d}.npy", path)


def read(tree: Path, made: Path) -> None:
    """The bound of fit."""
    buffer = bytearray(BUFFER)
    for path in sorted(tree.iterdir()):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def copy(tree: Path, made: Path, sync: bool = False) -> None:
    """The bound of transform."""
    buffer = memoryview(bytearray(BUFFER))
    for path in sorted(tree.iterdir()):
        with path.open("rb", buffering=0) as file, (made / path.name).open("wb", buffering=0) as out:
            while n_bytes := file.readinto(buffer):
                out.write(buffer[:n_bytes])
            if sync:
                os.fsync(out.fileno())


def copy_to_disk(tree: Path, made: Path) -> None:
    """The bound of transform, which waits for the disk at the end of each shard."""
    copy(tree, made, sync=True)


def command(*arguments: object) -> None:
    from c3align import cli

    if cli.run([*map(str, arguments)]):
        raise SystemExit("it failed")


def fit(tree: Path, made: Path) -> None:
    command("fit", tree, "-o", made / "aligner", *on_device())


def transform(tree: Path, made: Path) -> None:
    aligner = tree.with_name("aligner")
    command("transform", tree, "-a", aligner, "--modality", "text", "-o", made / "out", *on_device())


def on_device() -> list[str]:
    return ["--device", os.environ["DEVICE"]] if os.environ.get("DEVICE") else []


OURS: dict[str, Task] = {"fit": fit, "transform": transform}
BOUNDS: dict[str, Task] = {"read": read, "copy": copy, "copy_to_disk": copy_to_disk}
RIVALS: dict[str, Task] = {
    name: getattr(_scale_rivals, name) for name in ("numpy_fit", "sklearn_fit", "numpy_transform", "four_passes")
}
OF_ONE_SHARD: dict[str, Task] = {name: getattr(_scale_rivals, name) for name in ("ray_scaler", "daft_mean")}
WITH_WORKERS = {"fit": "threads", "transform": "threads", "ray_fit": "workers of Ray"}
TASKS = {**OURS, **BOUNDS, **RIVALS, **OF_ONE_SHARD, "ray_fit": _scale_rivals.ray_fit}
WRITING = {"copy", "copy_to_disk", "transform", "numpy_transform", "four_passes"}


def child(name: str, tree: Path) -> dict[str, Any]:
    """Seconds of a task that is done once, imports apart, the process's peak memory, and what it says of limits."""
    if name in OURS:
        import c3align.cli._fit  # noqa: F401
        from c3align import C3Aligner  # noqa: F401
    if os.environ.get("DEVICE"):
        import torch

        torch.ones(1, device=os.environ["DEVICE"])  # starts it
    made = Path(tempfile.mkdtemp(dir=tree.parent))
    if name in _scale_rivals.PREPARED:
        _scale_rivals.PREPARED[name](tree)
    with redirect_stdout(StringIO()) as said:
        begin = time.perf_counter(), os.times()
        TASKS[name](tree, made)
        seconds, after = time.perf_counter() - begin[0], os.times()
    limit = re.findall(r"^on (\S+, side by side: .*)$", said.getvalue(), re.MULTILINE)
    peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024
    cpu = after.user + after.system - begin[1].user - begin[1].system
    shutil.rmtree(made)
    return {"seconds": seconds, "cpu_seconds": cpu, "megabytes": peak, "limit": limit[-1:]}


def alone(name: str, tree: Path, environment: dict[str, str]) -> dict[str, Any] | None:
    """What a task takes in a process of its own; nothing where that is too long."""
    line = [sys.executable, __file__, "--task", name, "--tree", str(tree)]
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": SECONDS}
    try:
        done = subprocess.run(line, check=False, env={**os.environ, **environment}, **how)
    except subprocess.TimeoutExpired:
        print(f"{name} took more than {SECONDS} s")
        return None
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(tree: Path, n_rows: int, rounds: int, names: list[str], **environment: str) -> dict[str, Any]:
    """The smallest time of each task, all in turn."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name] += filter(None, [alone(name, tree, environment)])
    return {name: figures(name, times, n_rows) for name, times in found.items() if times}


def figures(name: str, times: list[dict[str, Any]], n_rows: int) -> dict[str, Any]:
    best = min(times, key=lambda line: float(line["seconds"]))
    is_whole = not name.startswith("ray")  # its work is done in other processes
    result = {
        "seconds": best["seconds"],
        "cpu_seconds": min(line["cpu_seconds"] for line in times) if is_whole else None,
        "rows_per_second": n_rows / best["seconds"],
        "gb_per_second": n_rows * N_DIMS * 2 / 1e9 / best["seconds"],
        "peak_mb": max(line["megabytes"] for line in times) if is_whole else None,
    }
    return {**result, "limit": best["limit"][0]} if best["limit"] else result


def start_on(folder: Path, n_files: int) -> dict[str, float]:
    """Seconds until the first block of a tree of small files is read."""
    folder.mkdir()
    rows = np.ones((2, N_DIMS), np.float16)
    for i in range(n_files):
        if i % 1000 == 0:
            (folder / f"{i // 1000:03d}").mkdir()
        np.save(folder / f"{i // 1000:03d}" / f"x_{i}.npy", rows)
    code = (
        "import sys, time; from c3align.io.rows import RowSource\n"
        "begin = time.perf_counter(); source = RowSource.open([sys.argv[1] + '/**'])\n"
        "next(source.blocks()); print(time.perf_counter() - begin, source.n_rows)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    seconds, n_rows = done.stdout.split()
    assert int(n_rows) == 2 * n_files
    return {"files": n_files, "seconds": float(seconds)}


def plan(sizes: dict[int, Any], n_rows: int) -> dict[str, float]:
    """What so many rows take at the rates of the largest trees on one machine; what machines learn apart is merged."""
    found: dict[str, float] = {"rows": n_rows, "terabytes": n_rows * N_DIMS * 2 / 1e12}
    for name in OURS:
        line = [lines[name] for lines in sizes.values() if name in lines][-1]
        found[f"{name}_hours"] = n_rows / line["rows_per_second"] / 3600
    return found


def chosen(asked: argparse.Namespace, n_rows: int) -> list[str]:
    """The tasks that are measured with so many rows."""
    sized = [name for name in asked.tasks if name not in WRITING or n_rows <= asked.most_written]
    sized = [name for name in sized if name not in RIVALS or n_rows <= asked.most_rivals]
    return [name for name in sized if name != "ray_fit" and name not in OF_ONE_SHARD]


def of_size(asked: argparse.Namespace, n_rows: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Figures of a tree, and of the one that is also measured with several workers."""
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        tree, more = Path(place) / "tree", []
        write_tree(tree, n_rows)
        if "transform" in asked.tasks and n_rows <= asked.most_written:
            with redirect_stdout(StringIO()):
                fit(tree, Path(place))
        rounds = asked.rounds if n_rows <= REPEATED else 1
        found = measure(tree, n_rows, rounds, chosen(asked, n_rows), DEVICE=asked.device or "")
        found |= measure(tree, n_rows, 1, [name for name in OF_ONE_SHARD if name in asked.tasks and n_rows <= SHARD])
        for workers in asked.workers if n_rows == max((n for n in asked.rows if n <= REPEATED), default=0) else ():
            names = [name for name in WITH_WORKERS if name in asked.tasks]
            here = {"WORKERS": str(workers), "C3ALIGN_NUM_THREADS": str(workers)}
            for name, line in measure(tree, n_rows, rounds, names, **here).items():
                more.append({"task": name, "rows": n_rows, "workers": workers, **line})
    return found, more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=10_000, help="of the tree of small files")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="threads, and workers of Ray, such as 1 2")
    parser.add_argument("--most-written", type=int, default=10_000_000)
    parser.add_argument("--most-rivals", type=int, default=REPEATED)
    parser.add_argument("--device", help="for `c3align fit` and `transform`: cuda, or cpu")
    parser.add_argument("--folder", type=Path, help="where the shards are written; a temporary one by default")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--tree", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.task:
        print(json.dumps(child(asked.task, asked.tree)))
        return
    from throughput import provenance  # imports torch, which the tasks do without

    found: dict[str, Any] = {"provenance": provenance("scale.py"), "load": os.getloadavg()[0], "sizes": {}}
    found |= {"workers": []}
    for n_rows in sorted(asked.rows):
        found["sizes"][n_rows], more = of_size(asked, n_rows)
        found["workers"] += more
        for name, line in [*found["sizes"][n_rows].items(), *((f"{m['task']}, {m['workers']}", m) for m in more)]:
            told = f"{line['rows_per_second']:12,.0f} rows/s {line['gb_per_second']:6.2f} GB/s"
            cost = [line[cost] or float("nan") for cost in ("peak_mb", "cpu_seconds")]
            print(f"{n_rows:>11,} {name:<16} {told} {cost[0]:6.0f} MB {cost[1]:7.2f} CPU s")
            if "limit" in line:
                print(f"{'':>28}{line['limit']}")
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        found["start"] = start_on(Path(place) / "tree", asked.files)
    print(f"a tree of {asked.files:,} files starts in {found['start']['seconds']:.2f} s")
    if {*OURS} <= {name for lines in found["sizes"].values() for name in lines}:
        found["plan"] = plan(found["sizes"], MANY_ROWS)
        print("5 billion rows:", {name: round(value, 1) for name, value in found["plan"].items()})
    found["load_after"] = os.getloadavg()[0]
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
