"""A report in words: the headline, tables for the terminal, and their lines, which the page shows too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from c3align.report._chart import fixed

if TYPE_CHECKING:
    from c3align.report._figures import ModalityReport, PairReport, Report, State

__all__ = ["Line", "after_word", "headline", "lead", "lines", "modality_lines", "notes", "sampling", "tables"]


class Line(NamedTuple):
    """A line of a table of two modalities: what it is, what it means, before, after, and if all rows were used."""

    text: str
    meaning: str
    before: str
    after: str
    from_all: bool = False


def lead(found: Report) -> PairReport:
    """The pair that is furthest apart."""
    return max(found.pairs, key=lambda pair: pair.before.gap_norm)


def after_word(found: Report) -> str:
    return "centring" if "own mean" in found.aligned_by else "alignment"


def headline(found: Report) -> str:
    """The widest gap in one sentence."""
    pair = lead(found)
    (a, b), before, after = pair.names, pair.before, pair.after
    own = f"{percent(before.modality_bias[1])} of the nearest neighbours of a {b} row are {b} rows"
    widest = f", the widest of {len(found.pairs)} gaps" if len(found.pairs) > 1 else ""
    text = (
        f"{a} and {b} sit {before.gap_norm:.2f} apart{widest}, and {own}; after {after_word(found)} "
        f"{after.gap_norm:.2f} and {percent(after.modality_bias[1])}."
    )
    return "".join(_stranger(other) for other in found.pairs) + text


def _stranger(pair: PairReport) -> str:
    if pair.is_one_encoder:
        return ""
    a, b = pair.names
    return (
        f"{a} and {b} do not look like rows of one encoder: overlap {pair.encoder_overlap:.1f}, one encoder gives 3 or "
        "more. "
    )


def lines(pair: PairReport) -> Iterator[Line]:
    """What is known of two modalities before and after, most important first."""
    a, b = pair.names
    s, t = pair.before, pair.after
    yield Line(
        "gap", "distance of the two means; unit rows are at most 2 apart", _short(s.gap_norm), _short(t.gap_norm), True
    )
    yield Line(
        "norms of the means",
        f"of {a} and {b}: 0 is no cone, 1 a single point",
        both(s.mean_norms),
        both(t.mean_norms),
        True,
    )
    fair = pair_share(pair)
    yield Line(
        "own modality among the 10 nearest",
        f"for rows of {a} and of {b} in one index over both; {both(fair, percent)} would be fair",
        both(s.modality_bias, percent),
        both(t.modality_bias, percent),
    )
    if s.separability is not None and t.separability is not None:
        meaning = "accuracy of a linear classifier on rows it has not seen; 50 % is chance"
        yield Line("told apart", meaning, percent(s.separability), percent(t.separability))
    yield Line(
        "covariances differ",
        "Bures distance as a share of both variances: 0 is alike, 1 nothing in common; too large from few rows",
        _short(s.covariance_distance),
        _short(t.covariance_distance),
    )
    yield from _pair_lines(pair)
    yield Line(
        "hubness",
        f"skewness of how often rows of {b} are found by {a}, and of {a} by {b}; 0 is even",
        both(s.hubness, "{:.1f}".format),
        both(t.hubness, "{:.1f}".format),
    )


def _pair_lines(pair: PairReport) -> Iterator[Line]:
    a, b = pair.names
    s, t = pair.before, pair.after
    others = _short(s.unmatched_cosine), _short(t.unmatched_cosine)
    if s.pair_cosine is None or t.pair_cosine is None or s.alignment is None or t.alignment is None:
        yield Line("mean cosine", f"of a row of {a} and one of {b}", *others)
        return
    for x, y, recall in ((a, b, "recall_a_to_b"), (b, a, "recall_b_to_a")):
        meaning = f"share of {x} rows whose partner is the nearest, among the 5, 10 nearest of {pair.n_measured:,} {y}"
        yield Line(f"{x} -> {y} R@1 / R@5 / R@10", meaning, _recall(s, recall), _recall(t, recall))
    yield Line("mean cosine of pairs", f"of a row of {a} and its own {b}", _short(s.pair_cosine), _short(t.pair_cosine))
    yield Line("mean cosine of others", "of rows that are no pair", *others)
    distances = _short(s.alignment), _short(t.alignment)
    yield Line("alignment", "mean squared distance of pairs; smaller is closer", *distances)


def pair_share(pair: PairReport) -> tuple[float, float]:
    """The share of its own modality that a row of each would find in a fair index over what was measured."""
    a, b = (min(rows, pair.n_measured) for rows in pair.n_rows)
    return a / (a + b), b / (a + b)


def modality_lines(found: ModalityReport, n_dims: int) -> list[tuple[str, str]]:
    """What is known of one modality."""
    return [
        ("rows", f"{found.n_rows:,}"),
        ("mean norm as they came", f"{found.raw_norm:.4g}"),
        ("norm of the mean", _short(found.mean_norm)),
        ("spread around it", _short(found.spread)),
        ("effective dimension", f"{found.effective_dimension} of {n_dims}"),
        ("participation", f"{found.participation:.0f}"),
        ("uniformity", both(found.uniformity, "{:.2f}".format, " to ")),
    ]


def notes(pair: PairReport) -> list[str]:
    """What alignment does not change."""
    found = []
    if pair.gap_direction is not None:
        found.append(
            f"gap over groups of 100 pairs: length {pair.before.gap_norm:.2f} +- {pair.gap_length_spread:.2f}, "
            f"direction {pair.gap_direction:.2f} (1 is one constant)"
        )
    found.append(
        f"cosine of the gap with differences within a modality: {fixed(pair.orthogonality[0])} +- "
        f"{pair.orthogonality[1]:.2f} (0 is orthogonal)"
    )
    if pair.residual_sigma is not None and pair.residual_cosine is not None:
        found.append(
            f"alignment noise: sigma {pair.residual_sigma:.4f} per dimension, a noise cosine of "
            f"{pair.residual_cosine:.2f}, in {pair.residual_participation:.0f} of {pair.n_dims} dimensions"
        )
    return found


def sampling(found: Report) -> str:
    """What was measured on what."""
    counts = ", ".join(f"{part.n_rows:,} {part.name}" for part in found.modalities)
    most = max(part.n_measured for part in found.modalities)
    sample = (
        f" (all but gap, means and sigma on an even sample of {most:,} of each)" if found.samples.is_sampled else ""
    )
    return f"measured on {counts} rows{sample}, {'pairs' if found.samples.paired else 'not paired'}"


def tables(found: Report) -> str:
    """The whole report for a terminal."""
    text = [found.headline(), ""]
    for pair in found.pairs:
        title = f"{pair.names[0]} and {pair.names[1]}" if len(found.pairs) > 1 else ""
        text.append(f"{title:40}{'before':>20}{'after':>20}")
        text += [f"{line.text:40}{line.before:>20}{line.after:>20}" for line in lines(pair)]
        text += ["", *notes(pair), ""]
    for part in found.modalities:
        name, rest = part.name, modality_lines(part, found.n_dims)[3:]
        text.append(f"{name}: " + ", ".join(f"{what} {value}" for what, value in rest))
    return "\n".join([*text, f"{sampling(found)}; after: {found.aligned_by}"])


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _short(value: float) -> str:
    return fixed(value, 3)


def both(pair: tuple[float, ...], told: Callable[[float], str] = _short, between: str = " / ") -> str:
    """Two figures side by side, with one per cent sign."""
    return f"{told(pair[0]).removesuffix(' %')}{between}{told(pair[1])}"


def _recall(state: State, which: str) -> str:
    recall = getattr(state, which) or {}
    return " / ".join(f"{recall[k]:.3f}"[1 if recall[k] < 1 else 0 :] for k in (1, 5, 10) if k in recall)
