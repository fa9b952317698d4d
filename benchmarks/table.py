"""Draw the README's tables of speeds, errors, captions, drawings and costs; no figure in them is typed.

Examples
--------
    python benchmarks/table.py            # write them into README.md
    python benchmarks/table.py --check    # exit 1 when README.md says something else
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
RIVALS = ("numba", "numpy, blocked", "torch.compile", "torch eager", "scikit-learn")


def device(found: dict[str, Any]) -> str:
    return found["gpu"] or f"{found['cpu']}, {found['processors']} processors"


def section(found: dict[str, Any]) -> list[str]:
    """One device: its largest size in rows, with all threads, one line for each op and width."""
    records = found["records"]
    rows, threads = (max(record[name] for record in records) for name in ("rows", "threads"))
    chosen = [r for r in records if (r["rows"], r["threads"]) == (rows, threads)]
    lines = [
        f"{device(found)}; {rows:,} rows, {threads} thread(s), commit {found['commit']}, `{found['command']}`",
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


def throughput() -> list[str]:
    paths = sorted(RESULTS.glob("throughput-*.json"))
    return [line for path in paths for line in [*section(json.loads(path.read_text())), ""]]


FEW_ROWS = ("copy", "c3align", "numba", "torch eager", "numpy, blocked")


def few_rows() -> list[str]:
    """What a call on few rows takes: microseconds, on one thread and on all."""
    paths = sorted(RESULTS.glob("throughput-cpu*.json"))
    return [line for path in paths for line in few_rows_on(json.loads(path.read_text()))]


def few_rows_on(origin: dict[str, Any]) -> list[str]:
    found = origin["records"]
    rows = min(r["rows"] for r in found)
    lines = [f"{device(origin)}, commit {origin['commit']}:", ""]
    lines += ["| us per call | " + " | ".join(FEW_ROWS) + " |", "|---|" + "---|" * len(FEW_ROWS)]
    few = [r for r in found if r["rows"] == rows and r["dims"] == min(r["dims"] for r in found)]
    for op, dims, threads in dict.fromkeys((r["op"], r["dims"], r["threads"]) for r in few):
        times = {r["contestant"]: r["us_per_call"] for r in few if (r["op"], r["threads"]) == (op, threads)}
        cells = [f"{times[name]:.0f}" if name in times else "" for name in FEW_ROWS]
        lines.append(f"| {op}, {rows} rows of {dims}, {threads} thread(s) | " + " | ".join(cells) + " |")
    return [*lines, ""]


def accuracy() -> list[str]:
    """One line for each op, the dtypes side by side: largest error, and the limit it is held to."""
    found = json.loads((RESULTS / "accuracy.json").read_text())
    records = {(r["op"], r["dtype"]): r for r in found["records"]}
    dtypes = list(dict.fromkeys(dtype for _, dtype in records))
    lines = [f"| `{found['command']}` | " + " | ".join(dtypes) + " |", "|---|" + "---|" * len(dtypes)]
    for op in dict.fromkeys(op for op, _ in records):
        cells = [records.get((op, dtype)) for dtype in dtypes]
        figures = [f"{r['max']:.3g} (limit {r['limit']:.4g})" if r else "" for r in cells]
        lines.append(f"| {op} | " + " | ".join(figures) + " |")
    return [*lines, ""]


MIN_SEEDS = 3  # of a row of the table of drawings
DRAWN = {
    "recall@1": "R@1",
    "pixel_recall@1": "by pixels",
    "fid": "FID",
    "pixel_error": "pixel error",
    "memory_recall@1": "with memory: R@1",
    "memory_pixel_recall@1": "by pixels",
    "memory_fid": "FID",
}


def drawing() -> list[str]:
    """Characters never seen, drawn from their names: what was run with several seeds, and the training-free row."""
    found = json.loads((RESULTS / "drawing.json").read_text())
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in found["records"]:
        group = tuple(record[name] for name in ("critic_weight", "variant", "noise", "noise_cosine"))
        groups.setdefault(group, []).append(record)
    lines = [
        "| learned from pictures, drawn from names | " + " | ".join(DRAWN.values()) + " |",
        "|---|" + "---|" * len(DRAWN),
    ]
    for (weight, variant, noise, cosine), records in sorted(groups.items(), key=str):
        if len(records) >= MIN_SEEDS:
            kind = "" if cosine == 1 else f", {noise} noise, cosine {cosine}"
            name = f"{variant}{kind}, {'with' if weight else 'no'} critic, {len(records)} seeds"
            lines.append(f"| {name} | " + " | ".join(spread(records, column) for column in DRAWN) + " |")
    nearest = found["nearest_picture"]
    cells = [f"{nearest[column]:.3f}" if column in nearest else "" for column in DRAWN]
    return [*lines, "| no drawing: the nearest training picture | " + " | ".join(cells) + " |", ""]


def report_cost() -> list[str]:
    """What a report over two long files took."""
    found = json.loads((RESULTS / "report.json").read_text())
    figures = found["figures"]
    size = f"two files of {figures['rows']:,} x {figures['dims']} {figures['dtype']}, {figures['input_gb']:.1f} GB"
    cost = "{wall_s:.0f} s, {cpu_s:.0f} s of processor time, {peak_gb:.2f} GB of memory".format(**figures)
    return [f"> {size}: {cost} ({found['cpu']}, {found['processors']} processors, commit {found['commit']})", ""]


CAPTIONED = ("word_f1", "exact", "bigram_precision")


CHOSEN = {"residual": ("noise",), "nearest": ("k", "temperature"), "vote": ("weight",)}  # on training characters


def naming() -> list[str]:
    """Pictures of characters never seen, named after learning from names: a line for each row that was run."""
    records = json.loads((RESULTS / "paper-glyphs.json").read_text())["records"]
    best = {row: chosen(records, row) for row in CHOSEN}
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if not record["validate"] and is_shown(record, best):
            groups.setdefault(caption_row(record), []).append(record)
    lines = ["| learned from names, reads pictures | seeds | word F1 | exact | bigrams |", "|---|---|---|---|---|"]
    for label, found in groups.items():
        cells = [spread(found, name) for name in CAPTIONED]
        lines.append(f"| {label} | {len(found) if 'seed' in found[0] else ''} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def chosen(records: list[dict[str, Any]], row: str) -> list[Any]:
    """The settings of a row that named training characters best which were left out of the training."""
    groups: dict[str, list[float]] = {}
    for record in records:
        if record["validate"] and record["row"] == row and not record.get("decoding") and "reads" not in record:
            groups.setdefault(json.dumps(settings_of(record)), []).append(record["word_f1"])
    return list(json.loads(max(groups, key=lambda key: statistics.fmean(groups[key]))))


def settings_of(record: dict[str, Any]) -> list[Any]:
    return [record[name] for name in CHOSEN[record["row"]]]


def strengths() -> list[str]:
    """Word F1 by the strength of the noise: the ablation's and those around it, greedily."""
    records = json.loads((RESULTS / "paper-glyphs.json").read_text())["records"]
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for r in records:
        is_plain = not r["validate"] and r.get("decoding") == {} and "reads" not in r
        if is_plain and r["row"] in ("sweep", "ablation") and r["noise"]:
            groups.setdefault((r["variant"], r["noise"]["noise_cosine"]), []).append(r)
    cosines = sorted({cosine for _, cosine in groups})
    lines = ["| noise cosine | " + " | ".join(map(str, cosines)) + " |", "|---|" + "---|" * len(cosines)]
    for variant in ("C2_2", "C3"):
        cells = [spread(groups[variant, cosine], "word_f1") for cosine in cosines]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def low_data() -> list[str]:
    """Word F1 when a share of the pairs follows the texts, or comes alone."""
    records = json.loads((RESULTS / "paper-glyphs-low-data.json").read_text())["records"]
    shares = sorted({r["share"] for r in records})
    lines = ["| share of the pairs | " + " | ".join(f"{100 * s:g} %" for s in shares) + " |"]
    lines.append("|---|" + "---|" * len(shares))
    for variant in dict.fromkeys(r["variant"] for r in records):
        found = [[r for r in records if (r["variant"], r["share"]) == (variant, share)] for share in shares]
        lines.append(f"| {variant} | " + " | ".join(spread(f, "word_f1") if f else "" for f in found) + " |")
    return [*lines, ""]


def is_shown(record: dict[str, Any], best: dict[str, list[Any]]) -> bool:
    """Greedy captions of pictures, C3's by beams and consensus too; where there was a choice, what was chosen."""
    if record["row"] in best and settings_of(record) != best[record["row"]]:
        return record["row"] == "nearest" and record["k"] == 1
    plain = not record.get("decoding") or record["variant"] == "C3"
    return record["row"] not in ("sweep", "projection") and "reads" not in record and plain


def caption_row(record: dict[str, Any]) -> str:
    """What was run, in words."""
    if record["row"] == "nearest":
        several = f", consensus of {record['k']} at temperature {record['temperature']}"
        return "no training: the nearest training name" + (several if record["k"] > 1 else "")
    noise = record["noise"]
    parts = [record["variant"], *([f"noise cosine {noise['noise_cosine']}"] if noise else [])]
    parts += ["of the residuals' covariance"] if "noise" in noise else []
    parts += {
        "projection": [f"rows projected on names at {record.get('temperature')} (DeCap)"],
        "vote": [f"vote of draws and nearest names, these weigh {record.get('weight')}"],
        "neighbours": ["reads the 5 nearest names' rows too"],
        "more text": ["24,000 other names learned too"],
    }.get(record["row"], [])
    decoding = record.get("decoding", {})
    parts += [f"{name.replace('num_', '')} {value}" for name, value in decoding.items()]
    return ", ".join(parts)


def spread(records: list[dict[str, Any]], name: str) -> str:
    """Mean and standard deviation over seeds."""
    values = [record[name] for record in records]
    text = f"{statistics.fmean(values):.3f}"
    return f"{text} ± {statistics.stdev(values):.3f}" if len(values) > 1 else text


def which_mean() -> list[str]:
    """One line for each set of real embeddings."""
    found = json.loads((RESULTS / "which-mean.json").read_text())["sets"]
    lines = [
        "| rows | gap, and after the first line | R@1 of partners, and after | false alarms | single rows refused: "
        "variances, second moments | wrong in silence | overlap, most with other encoders |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in found.items():
        gap, alarms = max(r["first line"].values(), key=lambda way: way["after"]), r["false alarms"]
        singles, overlap = r["single rows"], r["overlap"]
        kinds = [singles[kind] for kind in ("variances", "second moments")]
        cells = [
            f"{name}: " + ", ".join(f"{n} {modality}" for modality, n in r["rows"].items()),
            f"{gap['gap']:.3f}, {gap['after']:.3f}",
            "; ".join(f"{way}: {before:.3f}, {after:.3f}" for way, (before, after) in r["R@1"].items()),
            f"{alarms['wrong']} of {alarms['splits']}",
            ", ".join(f"{100 * kind['refused']:.1f} %" for kind in kinds),
            ", ".join(f"{100 * kind['wrong']:.2f} %" for kind in kinds),
            f"{overlap['pair']:.2f}" + (f", {overlap['most of a mix']:.2f}" if overlap["most of a mix"] else ""),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def drawn(readme: str) -> str:
    """The README with its tables anew, each between two comments of its name."""
    for table in (which_mean, throughput, few_rows, accuracy, naming, strengths, low_data, drawing, report_cost):
        begin, end = f"<!-- {table.__name__} -->", f"<!-- /{table.__name__} -->"
        if begin not in readme or end not in readme:
            sys.exit(f"the README has no {begin} and {end}; put them where the table belongs")
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        readme = "\n".join([before + begin, *table(), end]) + after
    return readme


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    arguments = parser.parse_args()
    readme = arguments.readme.read_text()
    new = drawn(readme)
    if arguments.check:
        sys.exit(None if new == readme else f"{arguments.readme} is out of date; run python benchmarks/table.py")
    arguments.readme.write_text(new)


if __name__ == "__main__":
    main()
