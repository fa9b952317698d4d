"""The theory's figures in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"  # told apart by colour-blind readers


def save(path: Path, found: dict[str, Any], paper: dict[str, Any]) -> None:
    """Draw what was found, a panel each, with what the paper found; parts that were not run stay empty."""
    figure, axes = plt.subplots(2, 3, figsize=(15, 8.5), layout="constrained")
    panels = {
        "figure3": (axes[0, 0], _collapse),
        "figure4": (axes[0, 1], lambda ax, part: _training(ax, part, paper.get("figure4", {}))),
        "figure5": (axes[1, 0], _margins),
        "encoders": (axes[1, 2], _initial_gaps),
    }
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    for name, (ax, draw) in panels.items():
        if name in found:
            draw(ax, found[name])
    if "figure5" in found:
        _residuals(axes[1, 1], found["figure5"])
    if "mlp" in found:
        _mlp(axes[0, 2], found["mlp"], paper.get("mlp", ()))
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)


def _collapse(ax: Any, part: dict[str, Any]) -> None:
    ax.set_title("A CLIP never trained: dimensions collapse")
    for name, colour in (("image", BLUE), ("text", ORANGE)):
        if f"{name}_spectrum" in part:
            values = np.log(np.maximum(part[f"{name}_spectrum"], 1e-9))
            k = int(part[name].split()[0])
            ax.plot(range(1, len(values) + 1), values, color=colour, label=f"{name}: 99 % in {k} of {len(values)}")
            ax.plot(k, values[k - 1], "o", color=colour)
    ax.set(xlabel="dimension", ylabel="log variance")
    ax.legend(frameon=False)


def _training(ax: Any, part: dict[str, Any], paper: dict[int, tuple[float, ...]]) -> None:
    ax.set_title("Free embeddings: the loss falls, the gap stays")
    steps = [record["step"] for record in part["records"]]
    scale = part["records"][0]["loss"]
    lines = {
        f"loss / {scale:.2f}": (
            [r["loss"] / scale for r in part["records"]],
            GREY,
            [v[0] / scale for v in paper.values()],
        ),
        "gap": ([r["gap"] for r in part["records"]], BLUE, [v[1] for v in paper.values()]),
        "gap in ineffective dimensions": (
            [r["gap_ineffective"] for r in part["records"]],
            ORANGE,
            [v[2] for v in paper.values()],
        ),
    }
    for name, (values, colour, theirs) in lines.items():
        ax.plot(steps, values, color=colour, label=name)
        shown = [(step, value) for step, value in zip(paper, theirs) if step <= steps[-1]]
        ax.plot([step for step, _ in shown], [value for _, value in shown], "x", color=colour)
    if paper:
        ax.plot([], [], "x", color="black", label="the paper's")
    ax.set(xlabel="steps of gradient descent", ylim=(0, 1.35))
    ax.legend(frameon=False, loc="lower left")


def _margins(ax: Any, part: list[dict[str, Any]]) -> None:
    ax.set_title("Stable region: the margin that a small loss needs")
    taus = [record["tau"] for record in part]
    ax.plot(taus, [record["end"]["required"] for record in part], color=GREY, label="needed, r_min(tau, 0.01)")
    ax.plot(taus, [record["end"]["margin"] for record in part], "o-", color=BLUE, label="margin at the end")
    entered = [(record["tau"], record["entered"]["margin"]) for record in part if record["entered"]]
    if entered:
        ax.plot(*zip(*entered), "x", color=ORANGE, label="margin on entering")
    ax.set(xscale="log", yscale="log", xlabel="temperature", ylabel="margin")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend(frameon=False)


def _residuals(ax: Any, part: list[dict[str, Any]]) -> None:
    ax.set_title("What is left after training, by temperature")
    taus = [record["tau"] for record in part]
    for name, colour in (("gap", BLUE), ("residual", ORANGE)):
        ax.plot(taus, [record["end"][name] for record in part], "o-", color=colour, label=name)
    ax.set(xscale="log", xlabel="temperature", ylabel="length")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(frameon=False)


def _initial_gaps(ax: Any, part: list[dict[str, Any]]) -> None:
    ax.set_title("Encoders never trained: gap against prediction")
    for name, mark, colour in (
        ("predicted", "o", BLUE),
        ("predicted_with_sides", "s", ORANGE),
        ("orthogonal_means", "^", GREEN),
    ):
        label = {"predicted": "sqrt(2 d_ie / d)", "predicted_with_sides": "with dimensions of one side"}
        points = [(record[name], record["gap"]) for record in part]
        ax.plot(*zip(*points), mark, color=colour, alpha=0.7, label=label.get(name, "orthogonal means"))
    ax.plot([0.8, 1.5], [0.8, 1.5], color=GREY, linewidth=1)
    ax.set(xlabel="predicted", ylabel="gap")
    ax.legend(frameon=False)


def _mlp(ax: Any, part: dict[str, Any], paper: tuple[int, ...]) -> None:
    ax.set_title("A random MLP: deeper is narrower")
    layers = 5 * np.arange(len(part["mean"]))
    ax.errorbar(layers, part["mean"], part["std"], color=BLUE, capsize=3, label=f"ours, {len(part['runs'])} draws")
    if paper:
        ax.plot(layers, paper, "x", color=ORANGE, label="the paper's draw")
    ax.set(xlabel="layer", ylabel="dimensions of 99 %")
    ax.legend(frameon=False)
