"""The picture of `recipes.py`: search, thresholds and reading at a glance."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
from _recipe_tables import READER, SHOWN, Cell, Record, at, chosen, grouped, marked

mpl.use("Agg")

import matplotlib.pyplot as plt

COLORS = ("#1b6ca8", "#d1495b", "#5a9367", "#8d6a9f", "#b07d2b", "#4a4a4a")


def draw(records: list[Record], path: Path) -> None:
    """Four panels, a line for each recipe: its own item found in an index of both, R@1, thresholds, words read."""
    rows = [record for record in records if record["job"] == "rows" and "failed" not in record]
    sets = [name for name in SHOWN if any(r["set"] == name for r in rows)] or list(
        dict.fromkeys(r["set"] for r in rows)
    )
    recipes = list(dict.fromkeys(record["recipe"] for record in rows))[::-1]
    figure, axes = plt.subplots(1, 4, figsize=(17, 6.5), sharey=True, layout="constrained")
    titles = (
        "finds its own item among both",
        "R@1, both ways",
        "false positives at 1 %",
        "words read, learned from texts",
    )
    for axis, title in zip(axes, titles):
        axis.set_title(title)
        axis.grid(axis="x", alpha=0.3)
        axis.set_yticks(range(len(recipes)), [marked(name) for name in recipes])
    for color, name in zip(COLORS, sets):
        found = grouped([r for r in rows if r["set"] == name], lambda r: r["recipe"])
        dots(axes[0], recipes, found, at("mixed", "needle"), color, name)
        dots(axes[0], recipes, found, at("mixed, calibrated", "needle"), color, "", "D")
        dots(axes[1], recipes, found, _recall, color, name)
        dots(axes[2], recipes, found, lambda r: 100 * max(r["false positives"].values()), color, name)
        dots(axes[2], recipes, found, lambda r: 100 * max(r["false positives, calibrated"].values()), color, "", "D")
    _read(axes[3], recipes, [record for record in records if "read" in record])
    axes[0].set_xlabel("NDCG@10 of a text's own item, there as the other modality")
    axes[1].set_xlabel("share of queries")
    axes[2].set_xlabel("% of unrelated rows of one modality, the worse (1 is fair)")
    axes[2].set_xscale("log")
    axes[2].set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axes[2].minorticks_off()
    axes[3].set_xlabel("mean average precision on items never seen")
    axes[1].legend(fontsize=8, loc=(0.1, 0.02))
    axes[3].legend(fontsize=8, loc="lower left")
    figure.suptitle("Mean and standard deviation over seeds; diamonds: with calibrated scores; *: needs pairs")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def dots(
    axis: Any, recipes: list[str], found: dict[str, list[Record]], cell: Cell, color: str, label: str, mark: str = "o"
) -> None:
    """One point for each recipe that has the figure, with its deviation; diamonds are hollow."""
    points = []
    for place, recipe in enumerate(recipes):
        try:
            values = [cell(record) for record in found.get(recipe, [])]
        except KeyError:
            continue
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            points.append((statistics.fmean(values), place, spread))
    if points:
        x, y, error = zip(*points)
        face = color if mark == "o" else "none"
        axis.errorbar(x, y, xerr=error, fmt=mark, c=color, mfc=face, label=label or None, ms=5, capsize=2, alpha=0.85)


def _recall(record: Record) -> float:
    return statistics.fmean(way["1"] for way in record["recall"].values())


def _read(axis: Any, recipes: list[str], records: list[Record]) -> None:
    """By noise, of the first set that has texts."""
    if not records:
        axis.set_visible(False)
        return
    name = records[0]["set"]
    runs = [{**run, "recipe": r["recipe"]} for r in records if r["set"] == name for run in r["read"]]
    readers = [run for run in runs if run["decoder"] == READER]
    for color, noise in zip(COLORS, dict.fromkeys(run["noise"] for run in readers)):
        of_noise = grouped([run for run in readers if run["noise"] == noise], lambda run: run["recipe"])
        best = {recipe: chosen(group) for recipe, group in of_noise.items()}
        dots(axis, recipes, best, at("test"), color, f"{marked(noise)} noise" if noise != "none" else "no noise")
    axis.set_title(f"words read, learned from texts ({name})")
