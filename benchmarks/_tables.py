"""The tables of the README files, each drawn from a file in `results/`; `table.py` puts them in their places."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from c3align.errors import counted

RESULTS = Path(__file__).resolve().parent / "results"
RIVALS = ("numba", "numpy, blocked", "torch.compile", "torch eager", "scikit-learn")
ON_A_CARD = ("c3align, in a graph", "torch.compile", "triton", "torch eager", "cupy")


def device(found: dict[str, Any]) -> str:
    return found["gpu"] or f"{found['cpu']}, {found['processors']} processors"


def section(found: dict[str, Any]) -> list[str]:
    """One device: its largest size in rows, with all threads, one line for each op and width."""
    records = found["records"]
    rows, threads = (max(record[name] for record in records) for name in ("rows", "threads"))
    chosen = [r for r in records if (r["rows"], r["threads"]) == (rows, threads)]
    rivals = ON_A_CARD if found["gpu"] else RIVALS
    lines = [
        f"{device(found)}; {rows:,} rows, {counted(threads, 'thread')}, commit {found['commit']}, `{found['command']}`",
        "",
        "| op | dims | ns per element | GB/s | times the floor | " + " | ".join(rivals) + " |",
        "|---|---|---|---|---|" + "---|" * len(rivals),
    ]
    cases = dict.fromkeys((r["op"], r["dims"], r["dtype"]) for r in chosen)
    return [*lines, *(line(case, chosen, rivals) for case in cases)]


def line(case: tuple[str, int, str], chosen: list[dict[str, Any]], rivals: tuple[str, ...]) -> str:
    by_name = {r["contestant"]: r for r in chosen if (r["op"], r["dims"], r["dtype"]) == case}
    ours = by_name["c3align"]
    ratios = [f"{by_name[name]['wall_to_ours']:.1f}x" if name in by_name else "" for name in rivals]
    ns = ours["ns_per_element"]
    figures = [f"{ns:.2f}" if ns > 0.1 else f"{ns:.4f}", f"{ours['gb_per_s']:.0f}", f"{ours['of_floor']:.2f}", *ratios]
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
        lines.append(f"| {op}, {rows} rows of {dims}, {counted(threads, 'thread')} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def gpu_check() -> list[str]:
    """What `gpu_check.sh` did on a card."""
    found = json.loads((RESULTS / "gpu_check.json").read_text())
    done = ", ".join(f"{s['step']} ({'passed' if s['exit'] == 0 else 'failed'})" for s in found["steps"])
    return [f"> {found['device']}, commit {found['commit']}, `{found['command']}`: {done}.", ""]


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
    found = json.loads((RESULTS / "drawing.json").read_text())["records"]
    (nearest,) = (record for record in found if record.get("what") == "nearest picture")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in [record for record in found if record is not nearest]:
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


def zero_shot() -> list[str]:
    """Accuracy of CLAP on ESC-50 before and after each modality is centered."""
    found = json.loads((RESULTS / "zero-shot.json").read_text())["figures"]
    halves = found["halves"]
    return [
        f"| accuracy of CLAP: {found['clips']} clips of ESC-50, {found['prompts']} prompts | before | after |",
        "|---|---|---|",
        f"| means of the clips that are classified | {found['before']:.3f} | {found['after']:.3f} |",
        f"| means of other clips: {halves['splits']} random halves, better in {halves['better']}, worse in "
        f"{halves['worse']} | {halves['before']:.3f} | {halves['after']:.3f} |",
    ]


def face() -> list[str]:
    """What a call of the scikit-learn face takes beside the op that it guards."""
    found = json.loads((RESULTS / "face.json").read_text())
    names = list(found["records"][0]["us_per_call"])
    lines = [f"{device(found)}, commit {found['commit']}:", "", "| us per call | " + " | ".join(names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for record in found["records"]:
        cells = " | ".join(f"{record['us_per_call'][name]:.0f}" for name in names)
        lines.append(f"| {record['rows']:,} row{'s' * (record['rows'] != 1)} of {record['dims']} | {cells} |")
    lines.append("")
    for record in found.get("pairs", ()):
        fit = f"a fit of {record['pairs']:,} pairs of {record['dims']} {record['dtype']}"
        lines += [f"> {fit}: {record['of_alone']:.2f} of the time of both sides alone, {record['own_mb']:.0f} MB", ""]
    return lines


def embed_share() -> list[str]:
    """How much of the time of embedding files is spent in the towers."""
    found = json.loads((RESULTS / "embed-cpu.json").read_text())
    share = found["figures"]["embed, share of time in towers"]
    return [
        f"> {found['items']:,} picture files through `glyphs`: {100 * share:.0f} % of the time is spent in the towers "
        f"({found['cpu']}, {found['processors']} processors, commit {found['commit']})",
        "",
    ]


PAPER_CAPTIONS = ("cider", "bleu_4", "rouge_l", "word_f1")


def coco_pairs() -> list[str]:
    """Captions of real pictures, from embeddings of CLIP: mean and standard deviation over seeds."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in json.loads((RESULTS / "paper-coco-pairs.json").read_text())["records"]:
        noise = "".join(f", {name.replace('_', ' ')} {value}" for name, value in (record.get("noise") or {}).items())
        groups.setdefault(f"{record['row']}{noise}", []).append(record)
    lines = ["| learned from captions, reads pictures | seeds | CIDEr | BLEU-4 | ROUGE-L | word F1 |"]
    lines.append("|---|---|---|---|---|---|")
    for label, found in groups.items():
        cells = [spread(found, name) for name in PAPER_CAPTIONS]
        lines.append(f"| {label} | {len(found)} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def theory() -> list[str]:
    """The figures of the paper's theory that it prints, beside ours."""
    parts = {name: part["found"] for name, part in _theory().items()}
    three, mlp = parts["figure3"], parts["mlp"]
    records = {record["step"]: record for record in parts["figure4"]["records"]}
    left = [records[step]["gap_ineffective"] / records[0]["gap_ineffective"] for step in (20_000, 80_000)]
    losses = ", ".join(f"{records[step]['loss']:.2f}" for step in (0, 20_000, 80_000))
    dims = ", ".join(three[name].split()[0] for name in ("image", "text"))
    layers = [mlp["mean"][i] for i in (1, 3, 5, 7, 9)]
    return [
        "| | paper | here |",
        "|---|---|---|",
        f"| effective dimension of an untrained CLIP, image and text (Figure 3) | 25, 230 | {dims} |",
        f"| its gap | 1.1361 | {three['gap']:.4f} |",
        f"| gap of random constants; `sqrt(2 d_ie / d)` predicts {three['predicted']:.4f} | 1.0005 | "
        f"{statistics.fmean(three['gaps']):.4f} |",
        f"| free embeddings: loss after 0, 20,000, 80,000 steps (Figure 4) | 6.27, 5.40, 2.92 | {losses} |",
        "| share of the gap in the ineffective dimensions that is left after 20,000 and 80,000 steps | 0.997, 0.950 | "
        f"{left[0]:.3f}, {left[1]:.3f} |",
        "| random MLP: dimensions that hold 99 % after 5, 15, 25, 35, 45 layers | 306, 205, 153, 113, 91 | "
        f"{', '.join(f'{value:.0f}' for value in layers)} (mean of {len(mlp['runs'])} draws) |",
        "",
    ]


def temperatures() -> list[str]:
    """When pairs enter the stable region of Lemma 2, and what is left of residual and gap at the end."""
    lines = ["| temperature | in the stable region after | residual | gap |", "|---|---|---|---|"]
    for record in _theory()["figure5"]["found"]:
        entered = f"{record['entered']['step']:,} steps" if record["entered"] else "never"
        lines.append(f"| {record['tau']} | {entered} | {record['end']['residual']:.2f} | {record['end']['gap']:.2f} |")
    return [*lines, ""]


def initial_gaps() -> list[str]:
    """The gap of encoders that were never trained, and two predictions of it."""
    lines = ["| untrained encoder | gap | `sqrt(2 d_ie / d)` | `hypot` of the means' norms |", "|---|---|---|---|"]
    for r in _theory()["encoders"]["found"]:
        figures = (r["gap"], r["predicted"], r["orthogonal_means"])
        lines.append(f"| {r['name']}, seed {r['seed']} | " + " | ".join(f"{value:.3f}" for value in figures) + " |")
    return [*lines, ""]


def _theory() -> dict[str, Any]:
    return json.loads((RESULTS / "theory.json").read_text())["parts"]
