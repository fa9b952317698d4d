"""Rows a second from and to the disk: `c3align fit` and `transform` of a tree of shards, beside what bounds them.

The bounds: reading the same files from the page cache into one buffer, and copying them, with and without waiting for
the disk. The rivals: what people write by hand. A NumPy loop over the shards, in blocks of 10,000 rows (normalize and
add up; normalize, subtract, normalize and save), and scikit-learn's StandardScaler by `partial_fit`. All take turns,
each in a process of its own, and the smallest of several times counts. Peak memory is that of the process.

And how long it takes to start on a tree of very many small files.

Examples
--------
    python benchmarks/scale.py
    python benchmarks/scale.py --rows 100000 --rounds 1 --files 1000
    python benchmarks/scale.py --json benchmarks/results/scale.json
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
from pathlib import Path
from typing import Any

import numpy as np

SHARD, BLOCK, N_DIMS = 100_000, 10_000, 768
BUFFER = 1 << 22
MANY_ROWS = 5_000_000_000


def write_tree(folder: Path, n_rows: int) -> None:
    """Shards of float16 rows; one shard's numbers, other ones in each by a rotation of its columns."""
    folder.mkdir()
    rows = np.random.default_rng(0).standard_normal((min(SHARD, n_rows), N_DIMS), dtype=np.float32) + 0.5
    for i, start in enumerate(range(0, n_rows, SHARD)):
        some = np.roll(rows[: n_rows - start], i, axis=1).astype(np.float16)
        np.save(folder / f"x_{i:05d}.npy", some)


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
    command("fit", tree, "-o", made / "aligner")


def transform(tree: Path, made: Path) -> None:
    command("transform", tree, "-a", tree.with_name("aligner"), "--modality", "text", "-o", made / "out")


def numpy_fit(tree: Path, made: Path) -> None:
    total, n_rows = np.zeros(N_DIMS), 0
    for path in sorted(tree.iterdir()):
        rows = np.load(path, mmap_mode="r")
        for start in range(0, len(rows), BLOCK):
            wide = rows[start : start + BLOCK].astype(np.float32)
            total += (wide / np.linalg.norm(wide, axis=1, keepdims=True)).sum(axis=0, dtype=np.float64)
            n_rows += len(wide)
    np.save(made / "mean.npy", total / n_rows)


def numpy_transform(tree: Path, made: Path) -> None:
    mean = np.full(N_DIMS, 0.01, np.float32)
    for path in sorted(tree.iterdir()):
        rows = np.load(path, mmap_mode="r")
        out = np.lib.format.open_memmap(made / path.name, "w+", rows.dtype, rows.shape)
        for start in range(0, len(rows), BLOCK):
            wide = rows[start : start + BLOCK].astype(np.float32)
            wide = wide / np.linalg.norm(wide, axis=1, keepdims=True) - mean
            out[start : start + BLOCK] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        out.flush()


def sklearn_fit(tree: Path, made: Path) -> None:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for path in sorted(tree.iterdir()):
        rows = np.load(path, mmap_mode="r")
        for start in range(0, len(rows), BLOCK):
            scaler.partial_fit(rows[start : start + BLOCK].astype(np.float32))


TASKS = {
    name: globals()[name]
    for name in ("read", "fit", "numpy_fit", "sklearn_fit", "copy", "copy_to_disk", "transform", "numpy_transform")
}


def child(name: str, tree: Path) -> None:
    """Do one task once, imports apart, and print its seconds and the process's peak memory."""
    if name in ("fit", "transform"):
        import c3align.cli._fit  # noqa: F401
        from c3align import C3Aligner  # noqa: F401
    made = Path(tempfile.mkdtemp(dir=tree.parent))
    sys.stdout.flush()
    keep, silent = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    begin = time.perf_counter(), os.times()
    TASKS[name](tree, made)
    seconds, after = time.perf_counter() - begin[0], os.times()
    sys.stdout.flush()
    os.dup2(keep, 1)
    peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024
    cpu = after.user + after.system - begin[1].user - begin[1].system
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "megabytes": peak}))
    shutil.rmtree(made)


def measure(tree: Path, n_rows: int, rounds: int, names: list[str]) -> dict[str, Any]:
    """The smallest time of each task, all in turn."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            line = [sys.executable, __file__, "--task", name, "--tree", str(tree)]
            done = subprocess.run(line, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout))
    size, figures = n_rows * N_DIMS * 2, {}
    for name, times in found.items():
        seconds = min(line["seconds"] for line in times)
        figures[name] = {
            "seconds": seconds,
            "cpu_seconds": min(line["cpu_seconds"] for line in times),
            "rows_per_second": n_rows / seconds,
            "gb_per_second": size / 1e9 / seconds,
            "peak_mb": max(line["megabytes"] for line in times),
        }
    return figures


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


def plan(figures: dict[str, Any], n_rows: int) -> dict[str, float]:
    """What so many rows take at these rates on one machine; what machines learn apart is merged exactly."""
    hours = {name: n_rows / figures[name]["rows_per_second"] / 3600 for name in ("fit", "transform")}
    return {"rows": n_rows, "terabytes": n_rows * N_DIMS * 2 / 1e12, **{f"{k}_hours": v for k, v in hours.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=10_000, help="of the tree of small files")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--folder", type=Path, help="where the shards are written; a temporary one by default")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--tree", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.task:
        child(asked.task, asked.tree)
        return
    from throughput import provenance  # imports torch, which the tasks do without

    found: dict[str, Any] = {"provenance": provenance("scale.py"), "load": os.getloadavg()[0], "sizes": {}}
    for n_rows in asked.rows:
        with tempfile.TemporaryDirectory(dir=asked.folder) as place:
            tree = Path(place) / "tree"
            write_tree(tree, n_rows)
            (Path(place) / "fitted").mkdir()
            fit(tree, Path(place))
            found["sizes"][n_rows] = figures = measure(tree, n_rows, asked.rounds, asked.tasks)
        for name, line in figures.items():
            told = f"{line['rows_per_second']:12,.0f} rows/s {line['gb_per_second']:6.2f} GB/s"
            print(f"{n_rows:>10,} {name:<16} {told} {line['peak_mb']:6.0f} MB {line['cpu_seconds']:7.2f} CPU s")
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        found["start"] = start_on(Path(place) / "tree", asked.files)
    print(f"a tree of {asked.files:,} files starts in {found['start']['seconds']:.2f} s")
    if {"fit", "transform"} <= {*asked.tasks}:
        found["plan"] = plan(figures, MANY_ROWS)
        print("5 billion rows:", {name: round(value, 1) for name, value in found["plan"].items()})
    found["load_after"] = os.getloadavg()[0]
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
