"""The tables that `recipes.py` prints, and those that the README shows of committed results."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
SHOWN = ("glyphs", "CLIP, COCO", "ConVIRT", "CLAP, ESC-50")  # on the README; the others only in the file
NEED_PAIRS = ("procrustes", "ridge", "cca", "residual")
READER, PROJECTED, NEAREST = "reader", "reader, projected", "nearest texts"
Record = dict[str, Any]
Cell = Callable[[Record], float]


def drawn(records: list[Record]) -> list[str]:
    """What was measured, set by set."""
    lines: list[str] = []
    for name in dict.fromkeys(record["set"] for record in records):
        found = [record for record in records if record["set"] == name]
        for job, table in (("rows", of_rows), ("reading", of_reading), ("captions", of_captions)):
            measured = [record for record in found if is_of(record, job)]
            lines += [f"{name}, {n_seeds(measured)}:", "", *table(measured), ""] if measured else []
    return lines


def is_of(record: Record, job: str) -> bool:
    """Whether this job found something: some mappings have no solution, and few texts no words to be read."""
    return record["job"] == job and "failed" not in record and (job != "reading" or "read" in record)


def n_seeds(records: Iterable[Record]) -> str:
    n = len({record["seed"] for record in records})
    return f"{n} seeds" if n > 1 else "1 seed"


def at(*path: str) -> Cell:
    """The figure of a record at the end of a path of keys."""

    def cell(record: Record) -> Any:
        for key in path:
            record = record[key]
        return record

    return cell


def of_rows(records: list[Record]) -> list[str]:
    """A line for each recipe; columns without a figure are left out."""
    other = next(
        name.split()[0] for r in records for name in r.get("false positives", ()) if not name.startswith("text")
    )
    ways = (f"text -> {other}", f"{other} -> text")
    cells: dict[str, Cell] = {
        "gap": at("gap"),
        "Fréchet": at("distribution gap"),
        **{f"R@1 {way}": at("recall", way, "1") for way in ways},
        "NDCG@10": at("mixed", "ndcg"),
        "share": at("mixed", "share"),
        "needle": at("mixed", "needle"),
        "calibrated: NDCG@10": at("mixed, calibrated", "ndcg"),
        "calibrated: share": at("mixed, calibrated", "share"),
        "calibrated: needle": at("mixed, calibrated", "needle"),
        **{
            f"{prefix}% above, {name}": lambda r, w=f"{name} -> {name}", k=key: 100 * r[k][w]
            for prefix, key in (("", "false positives"), ("calibrated: ", "false positives, calibrated"))
            for name in ("text", other)
        },
        "ARI": at("ari"),
        "zero-shot": at("zero shot"),
    }
    return laid_out("recipe", grouped(records, lambda record: marked(record["recipe"])), cells)


def marked(name: str) -> str:
    return f"{name} *" if name in NEED_PAIRS else name


def grouped(records: Iterable[Record], key: Callable[[Record], str]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    return found


def laid_out(corner: str, groups: dict[str, list[Record]], cells: dict[str, Cell]) -> list[str]:
    """Mean and standard deviation over seeds; columns without a figure are left out."""
    table = {}
    for name, records in groups.items():
        table[name] = {title: spread(records, cell, 1 if "%" in title else 3) for title, cell in cells.items()}
    titles = [title for title in cells if any(row[title] for row in table.values())]
    lines = [f"| {corner} | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    return lines + [" | ".join([f"| {name}", *(row[title] for title in titles)]) + " |" for name, row in table.items()]


def spread(records: list[Record], cell: Cell, digits: int = 3) -> str:
    """Nothing where a record lacks the figure."""
    values = []
    for record in records:
        try:
            values.append(cell(record))
        except KeyError:
            return ""
    text = f"{statistics.fmean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def of_reading(records: list[Record]) -> list[str]:
    """A line for each mapping; the cosine of the noise is the one that read the items that were left out best."""
    runs = [{**run, "recipe": r["recipe"], "seed": r["seed"]} for r in records for run in r["read"]]
    noises = dict.fromkeys(run["noise"] for run in runs)
    titles = [(noise, READER) for noise in noises] + [("none", PROJECTED), ("none", NEAREST)]
    names = {title: marked(title[0]) if title[1] == READER else title[1] for title in titles}
    lines = ["| mapping | " + " | ".join(names.values()) + " |", "|---|" + "---|" * len(names)]
    for recipe, found in grouped(runs, lambda run: run["recipe"]).items():
        cells = []
        for noise, decoder in titles:
            best = chosen([run for run in found if (run["noise"], run["decoder"]) == (noise, decoder)])
            cosine = f" ({best[0]['cosine']})" if best[0]["cosine"] < 1 else ""
            cells.append(spread(best, at("test")) + cosine)
        lines.append(f"| {marked(recipe)} | " + " | ".join(cells) + " |")
    return lines


def chosen(runs: list[Record]) -> list[Record]:
    """Those of the cosine with the best mean on what was left out."""
    groups = grouped(runs, lambda run: str(run["cosine"]))
    return max(groups.values(), key=lambda group: statistics.fmean(run["left out"] for run in group))


def of_captions(records: list[Record]) -> list[str]:
    """A line for each mapping and noise."""
    groups = grouped(records, lambda r: f"{r['recipe']}, {marked(r['noise'])}, noise cosine {r['cosine']}")
    groups = {f"{name}, {n_seeds(found)}": found for name, found in groups.items()}
    cells = {"word F1": at("word_f1"), "exact": at("exact"), "bigrams": at("bigram_precision")}
    return laid_out("captioner", groups, cells)


def committed(job: str, file: str = "recipes.json") -> list[str]:
    """The sets of a file of results that the README shows."""
    found = json.loads((RESULTS / file).read_text())
    return drawn(
        [record for name in SHOWN for record in found["records"] if (record["set"], record["job"]) == (name, job)]
    )


def recipes_rows() -> list[str]:
    """Gap, retrieval, thresholds and classes of every recipe."""
    return committed("rows")


def recipes_reading() -> list[str]:
    """Words that a network read off pictures, by mapping and noise."""
    return committed("reading")


def recipes_captions() -> list[str]:
    """Names that a captioner gave to characters never seen."""
    return committed("captions", "recipes-captions.json")


def transport() -> list[str]:
    """What learning a mapping took, ours and the rivals'."""
    found = json.loads((RESULTS / "transport.json").read_text())
    settings = found["settings"]
    lines = [
        f"{settings['cpu']}, {settings['omp_num_threads']} thread, commit {found['commit']}, "
        + ", ".join(f"{name} {version}" for name, version in settings["rivals"].items()),
        "",
        "| mapping | rows of each side | | processor seconds | memory, GB | difference from ours | on float64 rows |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in found["records"]:
        if "failed" in r:
            cells = [r["failed"], "", "", ""]
        else:
            differences = [f"{r[key]:.0e}" if key in r else "" for key in ("difference", "difference_small")]
            cells = [f"{r['cpu_s']:.1f}", f"{r['peak_gb']:.2f}", *differences]
        lines.append(f"| {r['mapping']} | {r['rows']:,} x {r['dims']} | {r['learner']} | " + " | ".join(cells) + " |")
    return [*lines, ""]
