"""Tables of `scale.py`: what it costs to learn and to align trees of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
OURS = ("fit", "transform")
COMPARED = 1_000_000  # rows up to which all take turns several times
TOLD = {
    "read": "read the files from the page cache (the bound of `fit`)",
    "fit": "`c3align fit`",
    "numpy_fit": "NumPy loop",
    "sklearn_fit": "StandardScaler.partial_fit",
    "ray_scaler": "Ray's StandardScaler, which does not normalize",
    "daft_mean": "Daft's mean of each column, which does not normalize",
    "copy": "copy the files (the bound of `transform`)",
    "copy_to_disk": "copy the files, each forced to disk, as `transform` does",
    "transform": "`c3align transform`",
    "numpy_transform": "NumPy loop",
    "four_passes": "both, by four scripts with files between them",
}


def _found() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "scale.json").read_text())
    return found


def _sizes(found: dict[str, Any]) -> dict[int, Any]:
    return {int(n_rows): lines for n_rows, lines in found["sizes"].items()}


def scale_origin() -> list[str]:
    """What was run, and on what."""
    origin = _found()["provenance"]
    machine = origin["gpu"] or f"{origin['cpu']}, {origin['processors']} processors"
    return [f"> {machine}, commit {origin['commit']}, `{origin['command']}`", ""]


def scale() -> list[str]:
    """Fit and transform of a tree of shards beside what bounds them, and beside others."""
    compared = {n_rows: lines for n_rows, lines in _sizes(_found()).items() if n_rows <= COMPARED}
    most = max(compared)
    lines = [f"| {most:,} rows | rows a second | processor seconds | peak MB |", "|---|---|---|---|"]
    for name, text in TOLD.items():
        n_rows = max((n_rows for n_rows, found in compared.items() if name in found), default=0)
        if n_rows:
            line, less = compared[n_rows][name], "" if n_rows == most else f"; {n_rows:,} rows"
            cost = "|" if line["peak_mb"] is None else f"{line['cpu_seconds']:.2f} | {line['peak_mb']:.0f}"
            lines.append(f"| {text}{less} | {line['rows_per_second']:,.0f} | {cost} |")
    return lines


def scale_sizes() -> list[str]:
    """What more rows cost."""
    lines = ["| rows | `fit`: seconds | rows a second | peak MB | `transform`: seconds | rows a second | peak MB |"]
    lines.append("|---|---|---|---|---|---|---|")
    for n_rows, found in _sizes(_found()).items():
        cells = [_cells(found[name]) if name in found else "| |" for name in OURS]
        lines.append(f"| {n_rows:,} | {' | '.join(cells)} |")
    return lines


def _cells(line: dict[str, Any]) -> str:
    return f"{line['seconds']:.2f} | {line['rows_per_second']:,.0f} | {line['peak_mb']:.0f}"


def scale_bounds() -> list[str]:
    """Fit and transform as shares of what bounds them, and how long many files take to start."""
    found = _found()
    bounds = (("fit", "read"), ("transform", "copy"), ("transform", "copy_to_disk"))
    lines = ["| rows | `fit` of reading | `transform` of a copy | of a copy forced to disk |", "|---|---|---|---|"]
    for n_rows, sizes in _sizes(found).items():
        shares = [
            f"{sizes[name]['rows_per_second'] / sizes[bound]['rows_per_second']:.0%}".replace("%", " %")
            if name in sizes
            else ""
            for name, bound in bounds
        ]
        lines.append(f"| {n_rows:,} | {' | '.join(shares)} |")
    start = found["start"]
    return [*lines, "", f"A tree of {start['files']:,} files takes {start['seconds']:.1f} s to start.", ""]


def scale_workers() -> list[str]:
    """The same rows with more threads, and with more workers of Ray; nothing where they were not measured."""
    records = _found().get("workers", [])
    if not records:
        return []
    told = {"fit": "`c3align fit`, threads", "transform": "`c3align transform`, threads", "ray_fit": "Ray, workers"}
    counts = sorted({record["workers"] for record in records})
    heads = "".join(f" {n} |" for n in counts)
    lines = [f"| {records[0]['rows']:,} rows, rows a second with |{heads}", "|---|" + "---|" * len(counts)]
    rates = {(record["task"], record["workers"]): record["rows_per_second"] for record in records}
    for name, text in told.items():
        cells = [f"{rates[name, n]:,.0f}" if (name, n) in rates else "" for n in counts]
        lines += [f"| {text} | {' | '.join(cells)} |"] if any(cells) else []
    return lines


def scale_plan() -> list[str]:
    """Five billion rows, at the rates of the largest trees."""
    found = _found()
    plan, sizes = found["plan"], _sizes(found)
    most = {name: max(n_rows for n_rows, lines in sizes.items() if name in lines) for name in OURS}
    cpu_hours = [plan["rows"] / n_rows * sizes[n_rows][name]["cpu_seconds"] / 3600 for name, n_rows in most.items()]
    hours = [plan[f"{name}_hours"] for name in OURS]
    return [
        f"> **{plan['rows'] / 1e9:.0f} billion rows** are {plan['terabytes']:.2f} TB to read, and as much to write. At "
        f"the rates above one such machine fits them in {hours[0]:.1f} hours and transforms them in {hours[1]:.0f}; "
        f"their processor time is {cpu_hours[0]:.1f} and {cpu_hours[1]:.1f} hours of one processor. 16 machines take "
        f"{60 * hours[0] / 16:.0f} minutes and {hours[1] / 16:.1f} hours.",
        "",
    ]
