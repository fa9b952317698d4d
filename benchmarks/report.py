"""Time and peak memory of `c3align report` over two memory-mapped float16 arrays, by default of a million rows of 768.

The rows have the structure that the paper describes: two cones a constant gap apart, a shared content in a part of the
dimensions whose spectrum falls, and a residual between partners. They are written in blocks into a temporary folder.
Then the command runs in a process of its own, page and picture included, whose peak memory the kernel reports. Its
processor seconds are told apart from the wall's, which others on the same machine make longer.

Examples
--------
    python benchmarks/report.py
    python benchmarks/report.py --rows 20000
    python benchmarks/report.py --json benchmarks/results/report.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from throughput import provenance
from tqdm import tqdm

LIMITS = {"wall_s": 90, "peak_gb": 2.0}
BLOCK = 1 << 14
GAP, SPREAD, SIGMA = 0.8, 0.6, 0.02


def blocks(n_rows: int, n_dims: int, modality: int) -> Any:
    """Rows of one modality: its cone's axis, the content that both share, and noise of its own."""
    rng = np.random.default_rng(7)
    axis = rng.standard_normal((2, n_dims)).astype(np.float32)[modality]
    axis *= GAP / np.sqrt(2) / np.linalg.norm(axis)
    scale = np.arange(1, n_dims + 1, dtype=np.float32) ** -0.5
    scale *= SPREAD / np.linalg.norm(scale)
    for start in range(0, n_rows, BLOCK):
        n = min(BLOCK, n_rows - start)
        content = np.random.default_rng([start, 0]).standard_normal((n, n_dims), np.float32) * scale
        noise = np.random.default_rng([start, 1 + modality]).standard_normal((n, n_dims), np.float32)
        yield (axis + content + SIGMA * noise).astype(np.float16)


def write(path: Path, n_rows: int, n_dims: int, modality: int) -> None:
    """By plain writes, block by block: mapped pages would count as memory of this process and of its children."""
    header = {"descr": "<f2", "fortran_order": False, "shape": (n_rows, n_dims)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in tqdm(blocks(n_rows, n_dims, modality), total=-(-n_rows // BLOCK), desc=path.stem, disable=None):
            file.write(block.tobytes())


def measure(n_rows: int, n_dims: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for modality, called in enumerate(("image", "text")):
            write(folder / f"{called}.npy", n_rows, n_dims, modality)
        command = [sys.executable, "-m", "c3align", "report", "image.npy", "text.npy", "-o", "report.html"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        wall = time.perf_counter() - begin
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "rows": n_rows,
            "dims": n_dims,
            "dtype": "float16",
            "wall_s": round(wall, 1),
            "cpu_s": round(used.ru_utime + used.ru_stime, 1),
            "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2),
            "page_kb": round((folder / "report.html").stat().st_size / 1e3),
            "input_gb": round(2 * n_rows * n_dims * 2 / 1e9, 2),
            "load_5_min": round(os.getloadavg()[1], 1),  # 2 processors are busy at 2
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
            "said": done.stdout.splitlines()[0],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    figures = measure(arguments.rows, arguments.dims)
    found = {**provenance("report.py"), "limits": LIMITS, "figures": figures}
    print(json.dumps(found, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
