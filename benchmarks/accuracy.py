"""Largest and mean error of every op and dtype against wider arithmetic, beside the limit that the tests hold it to.

The rows are normals with a shared offset and outlier columns, as embeddings have them, of norms over eight decades
(four for float16), 7 to 4096 wide, rounded to the dtype first: what is measured is the op, not the rounding of its
input. The reference is NumPy's long double (64 bits of mantissa here), and mpmath for the normals. Errors are in units
of the dtype's own rounding step at 1 (float32: 2**-23), against rows of norm 1; those of a row that is not
renormalised too. Since the bits of the ops are the same everywhere, so are these figures.

Examples
--------
    python benchmarks/accuracy.py                 # print the table
    python benchmarks/accuracy.py --check         # exit 1 when a limit is exceeded
    python benchmarks/accuracy.py --json benchmarks/results/accuracy.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import torch

from c3align import ops
from c3align.statistics import ModalityStatistics

WIDTHS = (7, 512, 768, 1025, 4096)
N_ROWS = 400
SIGMA = 0.05
STEP = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
# in units of STEP; half precision is the float32 result rounded once, half a step of the largest entry
LIMITS = {
    # a mean of float64 rows has the resolution of the fixed-point sums, 2**-41
    ("normalize", "float16"): 0.51,
    ("normalize", "bfloat16"): 0.51,
    ("normalize", "float32"): 1.0,
    ("normalize", "float64"): 2.0,
    ("align", "float16"): 0.51,
    ("align", "bfloat16"): 0.51,
    ("align", "float32"): 2.0,
    ("align", "float64"): 2.0,
    ("align, not renormalised", "float16"): 0.51,
    ("align, not renormalised", "bfloat16"): 0.51,
    ("align, not renormalised", "float32"): 1.0,
    ("align, not renormalised", "float64"): 2.0,
    ("corrupt", "float16"): 0.51,
    ("corrupt", "bfloat16"): 0.51,
    ("corrupt", "float32"): 2.0,
    ("corrupt", "float64"): 2.0,
    ("norm of a result", "float32"): 2.0,
    ("norm of a result", "float64"): 2.0,
    ("philox_normal, over its radius", "float32"): 2.0,
    ("mean of unit rows", "float32"): 1e-5,
    ("mean of unit rows", "float64"): 2.0**11 + 2,
    ("variance of unit rows", "float32"): 0.05,
}


def rows_of(n_dims: int, dtype: str) -> torch.Tensor:
    """The published rows: normals of `philox_normal` itself and basic arithmetic, the same bits on every machine."""
    z = ops.philox_normal(N_ROWS + 2, n_dims, seed=n_dims).astype(np.float64)
    rows = z[:N_ROWS] + z[N_ROWS]
    rows[:, :: max(1, n_dims // 3)] *= 20
    part = np.arange(N_ROWS) / N_ROWS
    exponents = np.rint((part - 0.5) * (13 if dtype == "float16" else 27)).astype(int)
    rows = rows / np.abs(rows).max(axis=1, keepdims=True) * np.ldexp(1 + part, exponents)[:, None]
    return torch.from_numpy(rows).to(getattr(torch, dtype))


def wide(values: Any) -> np.ndarray:
    """As long doubles, exactly."""
    if isinstance(values, torch.Tensor):
        values = values.double().numpy()
    return np.asarray(values).astype(np.longdouble)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True))


def errors(dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name and absolute errors of each op on rows of a dtype."""
    for n_dims in WIDTHS:
        X = rows_of(n_dims, dtype)
        mean = np.linspace(-1, 1, n_dims)
        mean = 0.7 * mean / math.sqrt(math.fsum(mean * mean))  # a BLAS would differ from machine to machine
        mean = mean.astype(np.float64 if dtype == "float64" else np.float32)
        exact = unit(wide(X))
        centred = exact - wide(mean)
        noise = wide(ops.philox_normal(N_ROWS, n_dims, seed=1)) * wide(mean.dtype.type(SIGMA))
        yield "normalize", wide(ops.normalize(X)) - exact
        yield "align, not renormalised", wide(ops.align(X, mean, renormalize=False)) - centred
        aligned = wide(ops.align(X, mean))
        yield "align", aligned - unit(centred)
        yield "corrupt", wide(ops.corrupt(X, mean, sigma=SIGMA, seed=1)) - unit(centred + noise)
        if dtype in ("float32", "float64"):
            yield "norm of a result", np.sqrt((aligned * aligned).sum(axis=1)) - 1
            statistics = ModalityStatistics.from_rows(X)
            yield "mean of unit rows", wide(statistics.mean) - wide(ops.normalize(X)).mean(axis=0)
        if dtype == "float32":
            spread = wide(ops.normalize(X))
            variance = ((spread - spread.mean(axis=0)) ** 2).mean(axis=0)
            yield "variance of unit rows", wide(statistics.variance) / variance - 1


def normal_errors() -> np.ndarray:
    """Errors of normals over their radius, against 40 digits."""
    from c3align.ops import reference

    counter = [np.arange(3000, dtype=np.uint64), *np.zeros((3, 3000), np.uint64)]
    words = reference.philox4x32(counter, (5, 7))[:2]
    words[0][:8] = [0, 1, 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]
    found = np.stack(reference._box_muller(*words)).astype(np.float64)
    off = np.empty(found.shape)
    with mpmath.workdps(40):
        for i, (word, angle) in enumerate(zip(words[0].tolist(), words[1].tolist())):
            radius = mpmath.sqrt(-2 * mpmath.log((word + mpmath.mpf(0.5)) / 2**32))
            turn = 2 * mpmath.pi * (angle + mpmath.mpf(0.5)) / 2**32
            for k, exact in enumerate((mpmath.cos(turn), mpmath.sin(turn))):
                off[k, i] = float(mpmath.mpf(found[k, i]) / radius - exact)
    return off


def measure() -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for dtype in STEP:
        for name, difference in errors(dtype):
            found.setdefault((name, dtype), []).append(np.abs(difference).astype(np.float64).ravel() / STEP[dtype])
    found["philox_normal, over its radius", "float32"] = [np.abs(normal_errors()).ravel() / STEP["float32"]]
    return [record(name, dtype, np.concatenate(parts)) for (name, dtype), parts in found.items()]


def record(name: str, dtype: str, off: np.ndarray) -> dict[str, Any]:
    figures = {"max": float(f"{off.max():.3g}"), "mean": float(f"{off.mean():.3g}")}
    return {"op": name, "dtype": dtype, **figures, "limit": LIMITS[name, dtype]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 when a limit is exceeded")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    records = measure()
    print(f"{'op':34}{'dtype':10}{'max':>10}{'mean':>10}{'limit':>10}   (steps of the dtype at 1)")
    for r in records:
        print(f"{r['op']:34}{r['dtype']:10}{r['max']:>10.3g}{r['mean']:>10.2g}{r['limit']:>10.4g}")
    if arguments.json:
        origin = {"command": "python benchmarks/accuracy.py " + " ".join(sys.argv[1:])}
        arguments.json.write_text(json.dumps({**origin, "records": records}, indent=1) + "\n")
    worse = [f"{r['op']} {r['dtype']}" for r in records if not r["max"] <= r["limit"]]
    if arguments.check and worse:
        sys.exit(f"beyond the limit: {', '.join(worse)}")


if __name__ == "__main__":
    main()
