"""Draw the README's table of speeds from `benchmarks/results/throughput-*.json`; no figure in it is typed.

Examples
--------
    python benchmarks/table.py            # write it into README.md
    python benchmarks/table.py --check    # exit 1 when README.md says something else
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- throughput -->", "<!-- /throughput -->"
RIVALS = ("numba", "numpy, blocked", "torch.compile", "torch eager", "scikit-learn")


def section(found: dict[str, Any]) -> list[str]:
    """One device: its largest size in rows, with all threads, one line for each op and width."""
    records = found["records"]
    rows, threads = (max(record[name] for record in records) for name in ("rows", "threads"))
    chosen = [r for r in records if (r["rows"], r["threads"]) == (rows, threads)]
    device = found["gpu"] or f"{found['cpu']}, {found['processors']} processors"
    lines = [
        f"{device}; {rows:,} rows, {threads} thread(s), commit {found['commit']}, `{found['command']}`",
        "",
        "| op | dims | ns per element | GB/s | times the floor | " + " | ".join(RIVALS) + " |",
        "|---|---|---|---|---|" + "---|" * len(RIVALS),
    ]
    cases = dict.fromkeys((r["op"], r["dims"], r["dtype"]) for r in chosen)
    return [*lines, *(line(case, chosen) for case in cases)]


def line(case: tuple[str, int, str], chosen: list[dict[str, Any]]) -> str:
    by_name = {r["contestant"]: r for r in chosen if (r["op"], r["dims"], r["dtype"]) == case}
    ours = by_name["c3align"]
    ratios = [f"{by_name[name]['wall_to_ours']:.1f}x" if name in by_name else "" for name in RIVALS]
    figures = [f"{ours['ns_per_element']:.2f}", f"{ours['gb_per_s']:.0f}", f"{ours['of_floor']:.2f}", *ratios]
    return f"| {case[0]} | {case[1]} {case[2]} | " + " | ".join(figures) + " |"


def drawn(readme: str, results: list[Path]) -> str:
    """The README with its table anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    parts = [line for path in results for line in [*section(json.loads(path.read_text())), ""]]
    return "\n".join([before + BEGIN, *parts, END]) + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    arguments = parser.parse_args()
    readme = arguments.readme.read_text()
    if BEGIN not in readme or END not in readme:
        sys.exit(f"{arguments.readme} has no {BEGIN} and {END}; put them where the table belongs")
    new = drawn(readme, sorted((ROOT / "benchmarks" / "results").glob("throughput-*.json")))
    if arguments.check:
        sys.exit(None if new == readme else f"{arguments.readme} is out of date; run python benchmarks/table.py")
    arguments.readme.write_text(new)


if __name__ == "__main__":
    main()
