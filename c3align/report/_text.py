"""A report in words: the headline, tables for the terminal, and their lines, which the page shows too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from c3align.geometry import BY_CHANCE
from c3align.report._chart import fixed
from c3align.report._figures import ModalityReport, PairMeasures, PairReport
from c3align.report._samples import Samples

Pairs = tuple[PairReport, ...]


class Line(NamedTuple):
    """A line of a table: quantity, meaning, before, after, and whether all rows were used."""

    text: str
    meaning: str
    before: str
    after: str
    from_all: bool = False


def widest(pairs: Pairs) -> PairReport:
    """The pair that is furthest apart."""
    return max(pairs, key=lambda pair: pair.gap.norm)


def after_word(aligned_by: str) -> str:
    return "centering" if "own mean" in aligned_by else "alignment"


def headline(pairs: Pairs, aligned_by: str) -> str:
    """The widest gap in one sentence."""
    pair = widest(pairs)
    (a, b), before, after = pair.names, pair.before, pair.after
    own = f"{percent(before.modality_bias[1])} of the nearest neighbors of a {b} row are {b} rows"
    among = f", the widest of {len(pairs)} gaps" if len(pairs) > 1 else ""
    text = (
        f"{a} and {b} sit {before.gap_norm:.2f} apart{among}, and {own}; after {after_word(aligned_by)} "
        f"{after.gap_norm:.2f} and {percent(after.modality_bias[1])}."
    )
    return "".join(map(_doubts, pairs)) + text


_ORDER = {
    "repeated": "{0} and {1} hold the same rows in many pairs: are these two modalities? ",
    "exchanged": "In some pairs {0} and {1} seem to have changed places: are all rows of one modality on one side? ",
    "misplaced": "Some rows of {0} and {1}, in a row, are no more alike than by chance: does a side lack some? ",
}


def _doubts(pair: PairReport) -> str:
    a, b = pair.names
    if pair.is_one_encoder:
        if pair.order_doubt in _ORDER:
            return _ORDER[pair.order_doubt].format(a, b)
        is_by_chance = pair.order_evidence is not None and pair.order_evidence < BY_CHANCE
        return (
            f"Row i of {a} is no more like row i of {b} than like any other: are these pairs? " if is_by_chance else ""
        )
    return (
        f"{pair.names[0]} and {pair.names[1]} do not look like rows of one encoder: overlap {pair.encoder_overlap:.1f},"
        " one encoder gives 3 or more. "
    )


def lines(pair: PairReport) -> Iterator[Line]:
    """The figures of two modalities before and after, most important first."""
    a, b = pair.names

    def line(text: str, meaning: str, said: Callable[[PairMeasures], str], from_all: bool = False) -> Line:
        return Line(text, meaning, said(pair.before), said(pair.after), from_all)

    yield line("gap", "distance of the two means; unit rows are at most 2 apart", lambda s: _short(s.gap_norm), True)
    yield line(
        "norms of the means", f"of {a} and {b}: 0 is no cone, 1 a single point", lambda s: both(s.mean_norms), True
    )
    yield line(
        "own modality among the 10 nearest",
        f"for rows of {a} and of {b} in one index over both; {both(pair.fair_shares, percent)} would be fair",
        lambda s: both(s.modality_bias, percent),
    )
    yield line(
        "false positives at one threshold",
        f"unrelated {a} scored by {a}, and {b} by {b}, above what 1 % between {a} and {b} exceed; 1 % would be fair",
        lambda s: both(s.false_positives, fine),
    )
    if pair.before.separability is not None and pair.after.separability is not None:
        meaning = "accuracy of a linear classifier between the two on rows it has not seen; 50 % is chance"
        yield line("separability", meaning, lambda s: percent(s.separability or 0))
    yield line(
        "covariances differ",
        "Bures distance as a share of both variances: 0 is alike, 1 nothing in common; too large from few rows",
        lambda s: _short(s.covariance_distance),
    )
    if pair.paired:
        n_a, n_b = pair.n_distinct
        for x, y, n, which in ((a, b, n_b, "recall_a_to_b"), (b, a, n_a, "recall_b_to_a")):
            meaning = f"share of {x} rows whose partner is the nearest, among the 5, 10 nearest of {n:,} {y}"
            yield line(f"{x} -> {y} R@1 / R@5 / R@10", meaning, lambda s, which=which: _recall(s, which))  # type: ignore[misc]
        yield line("mean cosine of pairs", f"of a row of {a} and its own {b}", lambda s: _short(s.pair_cosine))
        yield line("mean cosine of others", "of rows that are no pair", lambda s: _short(s.unmatched_cosine))
        yield line("alignment", "mean squared distance of pairs; smaller is closer", lambda s: _short(s.alignment))
    else:
        yield line("mean cosine", f"of a row of {a} and one of {b}", lambda s: _short(s.unmatched_cosine))
    yield line(
        "hubness",
        f"skewness of how often rows of {b} are found by {a}, and of {a} by {b}; 0 is even",
        lambda s: both(s.hubness, "{:.1f}".format),
    )


def modality_lines(found: ModalityReport, n_dims: int) -> list[tuple[str, str]]:
    """The figures of one modality."""
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
    if pair.n_groups is not None and pair.n_groups < pair.n_measured:
        (a, b), (n_a, n_b) = pair.names, pair.n_distinct
        found.append(
            f"{pair.n_measured:,} pairs of {n_a:,} different {a} and {n_b:,} {b} rows, {pair.n_groups:,} groups: a row "
            "is right with any partner of its group"
        )
    if pair.gap_direction is not None:
        found.append(
            f"gap over groups of 100 pairs: length {pair.gap.norm:.2f} +- {pair.gap_length_spread:.2f}, "
            f"direction {pair.gap_direction:.2f} (one constant: {pair.constant_direction:.2f})"
        )
    found.append(
        f"cosine of the gap with differences within a modality: {fixed(pair.orthogonality[0])} +- "
        f"{pair.orthogonality[1]:.2f} (0 is orthogonal)"
    )
    if pair.gap.sigma is not None and pair.gap.noise_cosine is not None:
        found.append(
            f"alignment noise: sigma {pair.gap.sigma:.4f} per dimension, a noise cosine of "
            f"{pair.gap.noise_cosine:.2f}, in {pair.residual_participation:.0f} of {pair.n_dims} dimensions"
        )
    if pair.noise_fits is not None:
        said = ", ".join(f"{name} {like:.2f} ({most:.2f})" for name, (like, most) in pair.noise_fits.items())
        found.append(f"noise like what pairs differ by (the most that so many rows show): {said}")
    return found


def sampling(modalities: Iterable[ModalityReport], samples: Samples) -> str:
    """What was measured on what."""
    counts = ", ".join(f"{part.n_rows:,} {part.name}" for part in modalities)
    sample = (
        f" (all but gap, means and sigma on an even sample of {max(samples.n_measured):,} of each)"
        if samples.is_sampled
        else ""
    )
    return f"measured on {counts} rows{sample}, {'pairs' if samples.paired else 'not paired'}"


def tables(modalities: Iterable[ModalityReport], pairs: Pairs) -> Iterator[str]:
    """The lines of all tables, in plain text."""
    for pair in pairs:
        yield from (f"{text:34}  {before:>21}  {after:>21}" for text, before, after in rows(pair, len(pairs) > 1))
        yield from ("", *notes(pair), "")
    for part in modalities:
        rest = modality_lines(part, pairs[0].n_dims)[3:]
        yield f"{part.name}: " + ", ".join(f"{what} {value}" for what, value in rest)


def rows(pair: PairReport, named: bool) -> Iterator[tuple[str, str, str]]:
    """The rows of a pair's table, its head first."""
    yield f"{pair.names[0]} and {pair.names[1]}" if named else "", "before", "after"
    yield from ((line.text, line.before, line.after) for line in lines(pair))


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def fine(share: float) -> str:
    """A small share in percent, to a tenth."""
    return f"{100 * share:.1f} %"


def _short(value: float | None) -> str:
    return "" if value is None else fixed(value, 3)


def both(pair: tuple[float, ...], said: Callable[[float], str] = _short, between: str = " / ") -> str:
    """Two figures side by side, with one percent sign."""
    return f"{said(pair[0]).removesuffix(' %')}{between}{said(pair[1])}"


def _recall(measures: PairMeasures, which: str) -> str:
    recall = getattr(measures, which) or {}
    return " / ".join(f"{recall[k]:.3f}"[1 if recall[k] < 1 else 0 :] for k in (1, 5, 10) if k in recall)
