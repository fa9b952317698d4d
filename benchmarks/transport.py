"""`coral`, `gaussian_ot` and `barycenter` beside POT and SKADA: do the maps agree, and what does learning them take?

Agreement: all learn from the same rows, and the largest difference of the rows that they map is shown. Cost: each
learns from two files of unit rows in a process of its own, which counts its processor seconds, and the most memory that
it held beside the files (Linux tells that). Whoever has no room, or takes longer than `--limit`, is said to. Started
again with the same `--json`, it goes on.

The rivals are optional: `pip install POT skada`.

Examples
--------
    python benchmarks/transport.py
    python benchmarks/transport.py --rows 100000 --dims 512
    python benchmarks/transport.py --rows 1000000 --json benchmarks/results/transport.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import report
from throughput import provenance

from c3align import mappings, ops
from c3align.covariance import CovarianceStatistics

sys.path.append(str(Path(__file__).parent / "paper"))

from _results import Results

SIDES = ("image", "text")  # rows of the first are mapped onto the second
AGREED = (4_000, 128)  # rows and dimensions of the comparison of maps
Maps = dict[str, Any]  # centered unit rows of a side @ its matrix
Learner = Callable[[Any, Any], Maps]


def ours(name: str, **settings: Any) -> Learner:
    """One of our mappings, from rows."""

    def learn(source: Any, target: Any) -> Maps:
        known = {side: CovarianceStatistics.from_rows(rows) for side, rows in zip(SIDES, (source, target))}
        found = replace(mappings.load(name), **settings).solve(known)  # type: ignore[type-var]
        return {side: row_map.linear for side, row_map in found.items() if row_map.linear is not None}

    return learn


def pot_gaussian(source: Any, target: Any) -> Maps:
    from ot.gaussian import empirical_bures_wasserstein_mapping

    return {"image": empirical_bures_wasserstein_mapping(source, target, reg=0.0)[0]}


def pot_barycenter(source: Any, target: Any) -> Maps:
    """The barycenter, and the transport of both sides to it; POT has no function from rows."""
    from ot.gaussian import bures_wasserstein_barycenter, bures_wasserstein_mapping

    means = np.stack([rows.mean(axis=0, dtype=np.float64) for rows in (source, target)])
    covariances = np.stack([np.cov(rows, rowvar=False, bias=True) for rows in (source, target)])
    mean, center = bures_wasserstein_barycenter(means, covariances)
    found = [bures_wasserstein_mapping(m[None], mean[None], c, center)[0] for m, c in zip(means, covariances)]
    return dict(zip(SIDES, found))


def skada_coral(source: Any, target: Any) -> Maps:
    from skada import CORALAdapter

    domains = np.repeat([1, -2], [len(source), len(target)])
    adapter = CORALAdapter(reg=None).fit(np.concatenate([source, target]), sample_domain=domains)
    return {"image": adapter.cov_source_inv_sqrt_ @ adapter.cov_target_sqrt_}


def skada_gaussian(source: Any, target: Any) -> Maps:
    from skada import LinearOTMappingAdapter

    domains = np.repeat([1, -2], [len(source), len(target)])
    adapter = LinearOTMappingAdapter(reg=0.0).fit(np.concatenate([source, target]), sample_domain=domains)
    return {"image": adapter.ot_transport_.A_}


# without shrinkage: SKADA's comes by standardized columns, POT has none, and so the statistics are the same
LEARNERS: dict[str, dict[str, Learner]] = {
    "coral": {"c3align": ours("coral", shrinkage=None), "SKADA": skada_coral},
    "gaussian_ot": {"c3align": ours("gaussian_ot", shrinkage=None), "POT": pot_gaussian, "SKADA": skada_gaussian},
    "barycenter": {"c3align": ours("barycenter", shrinkage=None), "POT": pot_barycenter},
}


def write(folder: Path, n_rows: int, n_dims: int, dtype: str) -> None:
    """Unit rows of both sides, block by block."""
    for modality, side in enumerate(SIDES):
        out = np.lib.format.open_memmap(folder / f"{side}.npy", "w+", dtype, (n_rows, n_dims))
        start = 0
        for block in report.blocks(n_rows, n_dims, modality):
            out[start : start + len(block)] = ops.normalize(block.astype(dtype))
            start += len(block)


def difference(folder: Path, found: Maps, known: Maps) -> float:
    """The largest between the rows that two learners map: the first thousand of each side."""
    sides = [side for side in found if side in known]
    rows = {side: np.load(folder / f"{side}.npy", mmap_mode="r")[:1000].astype(np.float64) for side in sides}
    rows = {side: part - part.mean(axis=0) for side, part in rows.items()}
    return max(float(np.abs(rows[side] @ found[side] - rows[side] @ known[side]).max()) for side in sides)


class Watch(threading.Thread):
    """The most memory of this process that no file backs, in bytes; 0 where the kernel does not tell."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.first = self.most = self.now()

    @staticmethod
    def now() -> int:
        path = Path("/proc/self/status")
        lines = path.read_text().splitlines() if path.exists() else []
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    def run(self) -> None:
        while True:
            self.most = max(self.most, self.now())
            time.sleep(0.005)


def learn_here(mapping: str, learner: str, folder: Path, room: int) -> None:
    """In a process of its own: learn, save the maps, print what it took."""
    rows = [np.load(folder / f"{side}.npy", mmap_mode="r") for side in SIDES]
    tiny = [np.array(part[: 2 * part.shape[1]], np.float64) for part in rows]
    LEARNERS[mapping][learner](*tiny)  # imports, and what a library does once
    resource.setrlimit(resource.RLIMIT_DATA, (room, room))
    watch = Watch()
    watch.start()
    begin, cpu = time.perf_counter(), time.process_time()
    found = LEARNERS[mapping][learner](*rows)
    taken = {"wall_s": round(time.perf_counter() - begin, 2), "cpu_s": round(time.process_time() - cpu, 2)}
    np.savez(folder / f"{mapping}-{learner}.npz", **found)
    print(json.dumps({**taken, "peak_gb": round((max(watch.most, watch.now()) - watch.first) / 1e9, 3)}))


def cost(mapping: str, learner: str, folder: Path, room: float, limit: int) -> dict[str, Any]:
    """What a learner took, or why there is nothing to say."""
    command = [sys.executable, __file__, "--one", mapping, learner, str(folder), str(int(room * 1e9))]
    processor = partial(resource.setrlimit, resource.RLIMIT_CPU, (limit, limit + 5))
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=processor)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"failed": f"more than {limit} processor seconds"}
    if done.returncode:
        is_full = "MemoryError" in done.stderr
        return {"failed": f"more than {room:g} GB" if is_full else done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def agreement(mapping: str) -> dict[str, Any]:
    """Largest difference of mapped rows to ours, for each rival that is installed."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), *AGREED, "float64")
        rows = [np.load(Path(name) / f"{side}.npy") for side in SIDES]
        found, known = {}, LEARNERS[mapping]["c3align"](*rows)
        for rival, learn in LEARNERS[mapping].items():
            try:
                found[rival] = difference(Path(name), learn(*rows), known)
            except ImportError:
                print(f"{rival} is not installed; pip install POT skada")
        del found["c3align"]
        return found


def measure(options: argparse.Namespace, results: Results) -> None:
    """Every learner on every size; what is in the file is not measured again."""
    agreed = {mapping: agreement(mapping) for mapping in LEARNERS}
    for n_rows in options.rows:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), n_rows, options.dims, "float32")
            for mapping, learner in ((m, c) for m in LEARNERS for c in ("c3align", *agreed[m])):
                key = {"mapping": mapping, "learner": learner, "rows": n_rows, "dims": options.dims}
                same = {"difference_small": agreed[mapping][learner]} if learner in agreed[mapping] else {}
                print(json.dumps(results.run(key, partial(beside, same, key, Path(name), options))), flush=True)


def beside(same: dict[str, Any], key: dict[str, Any], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What a learner took, and how far its maps are from ours."""
    mapping, learner = key["mapping"], key["learner"]
    found = cost(mapping, learner, folder, options.room, options.limit)
    ours = folder / f"{mapping}-c3align.npz"
    if learner != "c3align" and not ours.exists() and "failed" not in found:  # it is in the file
        cost(mapping, "c3align", folder, options.room, options.limit)
    if learner != "c3align" and "failed" not in found:
        found["difference"] = difference(folder, np.load(folder / f"{mapping}-{learner}.npz"), np.load(ours))
    return {**found, **same}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000], help="of each side")
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--room", type=float, default=14, help="the most memory that a learner may take, in GB")
    parser.add_argument("--limit", type=int, default=600, help="the most processor seconds that a learner may take")
    parser.add_argument("--json", type=Path, help="file for the records")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)  # mapping, learner, folder, bytes
    return parser.parse_args()


def main() -> None:
    """Measure, print, and save after each learner where asked."""
    options = parse()
    if options.one:
        learn_here(*options.one[:2], Path(options.one[2]), int(options.one[3]))
        return
    threads = os.environ.get("OMP_NUM_THREADS")
    machine = {name: provenance()[name] for name in ("cpu", "processors", "backend")}
    settings = {"rivals": versions(), "omp_num_threads": threads, "room_gb": options.room, "limit_s": options.limit}
    measure(options, Results(options.json, {**machine, **settings, "agreed_on": AGREED}))


def versions() -> dict[str, str]:
    """Versions of the rivals that are installed."""
    found = {}
    for name, package in (("POT", "ot"), ("SKADA", "skada")):
        try:
            found[name] = __import__(package).__version__
        except ImportError:
            continue
    return found


if __name__ == "__main__":
    main()
