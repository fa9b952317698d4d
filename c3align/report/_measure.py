"""What lies between two modalities, before and after alignment, in one report and one picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from c3align import geometry, noise, ops
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError, MissingExtraError
from c3align.ops._rows import as_rows
from c3align.statistics import ModalityStatistics

__all__ = ["PairReport", "State", "plot_cones", "report"]

MAX_ROWS = 5000  # retrieval takes n**2 products; larger sets are sampled evenly, and the report says so
COLOURS = ("#0072B2", "#D55E00")  # told apart by colour-blind readers
TEXTS = {
    "gap_norm": "gap norm",
    "mean_norms": "norms of the means",
    "modality_bias": "own modality among the 10 nearest",
    "pair_cosine": "mean cosine of pairs",
    "recall": "R@1 / R@5 / R@10",
}


@dataclass(frozen=True)
class State:
    """The two modalities at one moment: as they came, or aligned. Pair figures are None without pairs."""

    gap_norm: float
    mean_norms: tuple[float, float]
    modality_bias: tuple[float, float]
    pair_cosine: float | None
    recall_a_to_b: dict[int, float] | None
    recall_b_to_a: dict[int, float] | None


@dataclass(frozen=True)
class PairReport:
    """Two modalities before and after collapse; see `report`.

    Attributes
    ----------
    names : (str, str)
    n_rows : (int, int)
    n_measured : int
        Rows of each that retrieval, bias and spectra were measured on: all, or an even sample.
    n_dims : int
    paired : bool
        Whether row i of a belongs to row i of b.
    before, after : State
    gap_length_spread, gap_direction : float or None
        Over groups of 100 pairs: standard deviation of the gap's length, mean cosine of neighbouring groups' gaps.
    orthogonality : (float, float)
        Mean and standard deviation of the cosine between the gap and differences within a modality.
    residual_sigma, residual_cosine : float or None
        Alignment noise per coordinate, and the same as a noise cosine on centred rows.
    effective_dimension : (int, int)
    participation : (float, float)
    """

    names: tuple[str, str]
    n_rows: tuple[int, int]
    n_measured: int
    n_dims: int
    paired: bool
    before: State
    after: State
    gap_length_spread: float | None
    gap_direction: float | None
    orthogonality: tuple[float, float]
    residual_sigma: float | None
    residual_cosine: float | None
    effective_dimension: tuple[int, int]
    participation: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([self.headline(), "", *_table(self), "", *_notes(self)])

    def headline(self) -> str:
        """The gap in plain words."""
        a, b = self.names
        before, after = (100 * np.mean(state.modality_bias) for state in (self.before, self.after))
        return (
            f"{a} and {b} sit {self.before.gap_norm:.2f} apart, and {before:.0f} % of a row's nearest neighbours are "
            f"of its own modality; after centring {self.after.gap_norm:.2f} and {after:.0f} %."
        )


def report(
    a: Array,
    b: Array,
    *,
    names: tuple[str, str] = ("image", "text"),
    paired: bool | None = None,
    means: tuple[Float64Array, Float64Array] | None = None,
    max_rows: int = MAX_ROWS,
) -> PairReport:
    """Measure two modalities as they are, and again after each is centred by its mean and renormalised.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims) arrays or tensors, of any norm
    names : (str, str)
    paired : bool, optional
        Whether row i of a belongs to row i of b; by default when there are equally many.
    means : two of (n_dims,), optional
        What to centre by: means of unit rows, such as an aligner learned from other rows; by default their own.
    max_rows : int
        Larger sets are sampled evenly for all but the means.

    Returns
    -------
    PairReport

    Raises
    ------
    C3AlignError
        Different widths, fewer than two rows, or rows that `ops.normalize` refuses.
    """
    rows = as_rows(a, names[0]), as_rows(b, names[1])
    shapes = [found.shape for found in rows]
    if shapes[0][1] != shapes[1][1]:
        raise C3AlignError(f"{names[0]} has {shapes[0][1]} dimensions and {names[1]} {shapes[1][1]}; use one encoder")
    if min(shapes[0][0], shapes[1][0]) < 2:
        raise C3AlignError("a report needs two rows of each; pass more")
    paired = shapes[0][0] == shapes[1][0] if paired is None else paired
    own = [ModalityStatistics.from_rows(found).mean for found in rows]
    sampled = [found.take(_even(found.shape[0], max_rows)) for found in rows]
    raw = [geometry.unit_rows(found) for found in sampled]
    aligned = [ops.align(found, mean) for found, mean in zip(raw, own if means is None else means)]
    found = _measured(names, (shapes[0][0], shapes[1][0]), paired, raw, aligned)
    # the means are known from all rows, also where the rest is measured on a sample
    norms = (float(np.linalg.norm(own[0])), float(np.linalg.norm(own[1])))
    before = replace(found.before, gap_norm=float(np.linalg.norm(own[0] - own[1])), mean_norms=norms)
    return replace(found, before=before)


def _even(n_rows: int, at_most: int) -> Any:
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, at_most)).astype(np.int64))


def _measured(
    names: tuple[str, str], n_rows: tuple[int, int], paired: bool, raw: list[Float64Array], aligned: list[Float64Array]
) -> PairReport:
    a, b = raw
    sigma = geometry.residual_sigma(a, b) if paired else None
    spread, direction = geometry.gap_consistency(a, b) if paired else (None, None)
    r = float(np.sqrt(np.mean([unit.var(axis=0).sum() for unit in raw])))
    return PairReport(
        names=names,
        n_rows=n_rows,
        n_measured=max(len(a), len(b)),
        n_dims=a.shape[1],
        paired=paired,
        before=_state(a, b, paired),
        after=_state(aligned[0], aligned[1], paired),
        gap_length_spread=_or_none(spread),
        gap_direction=_or_none(direction),
        orthogonality=geometry.gap_orthogonality(a, b),
        residual_sigma=sigma,
        residual_cosine=noise.cosine_from_sigma(sigma, a.shape[1], norm=r) if sigma is not None and r else None,
        effective_dimension=(geometry.effective_dimension(a), geometry.effective_dimension(b)),
        participation=(geometry.participation(a), geometry.participation(b)),
    )


def _or_none(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value


def _state(a: Float64Array, b: Float64Array, paired: bool) -> State:
    means = [geometry.unit_rows(rows).mean(axis=0) for rows in (a, b)]
    return State(
        gap_norm=float(np.linalg.norm(means[0] - means[1])),
        mean_norms=(float(np.linalg.norm(means[0])), float(np.linalg.norm(means[1]))),
        modality_bias=geometry.modality_bias(a, b),
        pair_cosine=geometry.pair_cosine(a, b) if paired else None,
        recall_a_to_b=geometry.recall_at_k(a, b) if paired else None,
        recall_b_to_a=geometry.recall_at_k(b, a) if paired else None,
    )


def _table(found: PairReport) -> list[str]:
    """Before and after, side by side."""
    a, b = found.names
    lines = [f"{'':36}{'before':>20}{'after':>20}"]

    def line(text: str, *values: str) -> None:
        lines.append(f"{text:36}{values[0]:>20}{values[1]:>20}")

    states = (found.before, found.after)
    line(TEXTS["gap_norm"], *(f"{s.gap_norm:.3f}" for s in states))
    line(TEXTS["mean_norms"], *(_both(s.mean_norms, ".3f") for s in states))
    line(TEXTS["modality_bias"], *(_both(tuple(100 * x for x in s.modality_bias), ".0f", " %") for s in states))
    if found.paired:
        line(TEXTS["pair_cosine"], *(f"{s.pair_cosine:.3f}" for s in states))
        line(f"{a} -> {b} {TEXTS['recall']}", *(_recall(s.recall_a_to_b) for s in states))
        line(f"{b} -> {a} {TEXTS['recall']}", *(_recall(s.recall_b_to_a) for s in states))
    return lines


def _both(pair: tuple[float, ...], style: str, unit: str = "") -> str:
    return f"{pair[0]:{style}} / {pair[1]:{style}}{unit}"


def _recall(recall: dict[int, float] | None) -> str:
    return " / ".join(f"{share:.3f}"[1 if share < 1 else 0 :] for share in (recall or {}).values())


def _notes(found: PairReport) -> list[str]:
    """What does not change, and what the figures were measured on."""
    a, b = found.names
    mean, spread = found.orthogonality
    lines = [f"gap against differences within a modality: cosine {mean:.3f} +- {spread:.3f} (0 is orthogonal)"]
    if found.gap_direction is not None:
        lines.append(
            f"gap over groups of 100 pairs: length +- {found.gap_length_spread:.3f}, cosine {found.gap_direction:.3f}"
        )
    if found.residual_sigma is not None and found.residual_cosine is not None:
        lines.append(f"residual: sigma {found.residual_sigma:.4f}, a noise cosine of {found.residual_cosine:.2f}")
    dims = _both(found.effective_dimension, "d")
    lines.append(f"effective dimension: {dims} of {found.n_dims}; participation {_both(found.participation, '.0f')}")
    counts = f"{found.n_rows[0]} {a} and {found.n_rows[1]} {b} rows"
    sample = f", {found.n_measured} of them sampled evenly" if found.n_measured < max(found.n_rows) else ""
    lines.append(f"measured on {counts}{sample}, {'pairs' if found.paired else 'not paired'}")
    return lines


def plot_cones(
    a: Array,
    b: Array,
    *,
    after: tuple[Array, Array] | None = None,
    names: tuple[str, str] = ("image", "text"),
    axes: Any = None,
) -> Any:
    """Draw both modalities before and after alignment, seen along the gap and across it.

    Parameters
    ----------
    a, b : (n_a, n_dims), (n_b, n_dims)
    after : two arrays like a and b, optional
        The aligned rows; by default each is centred by its own mean.
    names : (str, str)
    axes : two matplotlib axes, optional
        Made when absent.

    Returns
    -------
    The axes.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("pictures need matplotlib; pip install 'c3align[plots]'") from error
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained", sharex=True, sharey=True)
    raw = [geometry.unit_rows(rows) for rows in (a, b)]
    aligned = [ops.align(rows, rows.mean(axis=0)) for rows in raw] if after is None else list(after)
    gap = raw[0].mean(axis=0) - raw[1].mean(axis=0)
    along = gap / (np.linalg.norm(gap) or 1)
    for ax, title, groups in ((axes[0], "before", raw), (axes[1], "after", aligned)):
        _draw_cones(ax, groups, names, along)
        left = np.linalg.norm(groups[0].mean(axis=0) - groups[1].mean(axis=0))
        ax.set_title(f"{title}: gap {left:.2f}")
    axes[0].legend(frameon=False, markerscale=2)
    return axes


def _draw_cones(ax: Any, groups: list[Float64Array], names: tuple[str, str], along: Float64Array) -> None:
    """Rows seen along the gap's direction and along their widest direction across it."""
    middle = (groups[0].mean(axis=0) + groups[1].mean(axis=0)) / 2
    rest = np.concatenate(groups) - middle
    across = np.linalg.svd(rest - np.outer(rest @ along, along), full_matrices=False)[2][0]
    flat = [(rows - middle) @ np.stack([along, across], axis=1) for rows in groups]
    for points, name, colour in zip(flat, names, COLOURS):
        ax.scatter(*points.T, s=5, alpha=0.5, linewidths=0, color=colour, label=name)
        ax.scatter(*points.mean(axis=0), s=70, marker="X", color=colour, edgecolor="white", zorder=3)
    ax.set_aspect("equal")
    ax.set_xlabel("along the gap")
    ax.set_ylabel("across it, widest direction")
