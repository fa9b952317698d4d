"""What to do next, computed from the figures; where they do not say, neither does this."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from c3align import noise
from c3align.report._chart import fixed
from c3align.report._text import both, pair_share, percent

if TYPE_CHECKING:
    from c3align.report._figures import PairReport, Report, State

__all__ = ["Advice", "advice"]

ORTHOGONAL = 0.05  # mean cosine of the gap with differences within a modality, below which it says nothing of them
CONSTANT = 0.95  # mean cosine of the gaps of groups of pairs, from which on they are one
ROUND = 0.5  # share of the dimensions that noise fills, from which on it is called isotropic
CHANCES = 5  # how many times chance R@1 must be for rows to be taken for pairs
FAIR = 0.15  # how far above its fair share a modality may be among neighbours
UNTOLD = 0.65  # accuracy of a classifier below which modalities are hard to tell apart


class Advice(NamedTuple):
    """A finding with its consequence.

    pair : (str, str), or None when it concerns all
    kind : "good", "care" or "do"
    title, text : str
    code : str, a line to try, or ""
    """

    pair: tuple[str, str] | None
    kind: str
    title: str
    text: str
    code: str = ""


def advice(found: Report) -> list[Advice]:
    """For each pair of modalities, then for all."""
    return [item for pair in found.pairs for item in _of_pair(pair)] + list(_of_all(found))


def _of_pair(pair: PairReport) -> Iterator[Advice]:
    if not pair.is_one_encoder:
        yield _two_encoders(pair)
        return
    yield _gap(pair)
    if not pair.paired:
        yield from (_one_index(pair), _unknown_noise(pair))
    elif _at_chance(pair):
        yield from (_no_pairs(pair), _one_index(pair))
    else:
        yield from (_retrieval(pair), _one_index(pair), *_noise(pair))


def _gap(pair: PairReport) -> Advice:
    a, b = pair.names
    gap, left, error = pair.before.gap_norm, pair.after.gap_norm, pair.gap_error
    if gap < 3 * error:
        text = f"The means of {a} and {b} lie {gap:.2f} apart, and so few rows give about {error:.2f} by chance."
        return Advice(pair.names, "good", "There is no gap to speak of", f"{text} Nothing needs to be centred.")
    constant = pair.gap_direction is None or pair.gap_direction >= CONSTANT
    orthogonal = abs(pair.orthogonality[0]) < ORTHOGONAL
    leaning = f"cosine {fixed(pair.orthogonality[0])}"
    if constant and orthogonal:
        groups = "" if pair.gap_direction is None else f"the same in all groups of pairs ({_cosine(pair)}) and "
        text = (
            f"The gap is {groups}orthogonal to what rows say ({leaning}). So subtracting each mean takes it away and "
            f"leaves the rest: {left:.2f} remain of {gap:.2f}."
        )
        return Advice(pair.names, "do", "Centre each modality by its own mean", text, _fit_code(pair))
    why = [] if constant else [f"it differs between groups of pairs ({_cosine(pair)})"]
    why += [] if orthogonal else [f"it leans towards what rows say ({leaning})"]
    text = f"The gap is not one constant: {' and '.join(why)}. Centring leaves {left:.2f} of {gap:.2f}."
    return Advice(pair.names, "care", "Centre, and check the result on your task", text, _fit_code(pair))


def _two_encoders(pair: PairReport) -> Advice:
    a, b = pair.names
    text = (
        f"The columns of {a} and {b} do not vary together: an overlap of {pair.encoder_overlap:.1f}, where rows of two "
        "encoders have 1 and those of one have 3 or more. They come from two encoders, or from one that was never "
        "trained. No alignment of means helps; embed both with one encoder, then measure again."
    )
    return Advice(pair.names, "care", "These do not look like rows of one encoder", text)


def _cosine(pair: PairReport) -> str:
    return f"cosine {pair.gap_direction:.2f}"


def _fit_code(pair: PairReport) -> str:
    a, b = pair.names
    if set(pair.names) == {"image", "text"}:  # what fit takes them for
        partner = "text, image)" if pair.paired else 'text).partial_fit(image, modality="image")'
        return f"aligner = C3Aligner().fit({partner}"
    if pair.paired:
        return f"aligner = C3Aligner().fit({_name(a)}, {_name(b)}, modality={a!r}, y_modality={b!r})"
    return f"aligner = C3Aligner().fit({_name(a)}, modality={a!r}).partial_fit({_name(b)}, modality={b!r})"


def _name(modality: str) -> str:
    """A modality as a Python variable."""
    word = "".join(letter if letter.isalnum() else "_" for letter in modality)
    return word if word.isidentifier() else "rows"


def _retrieval(pair: PairReport) -> Advice:
    before, after = _first_recalls(pair.before), _first_recalls(pair.after)
    was, now = sum(before) / 2, sum(after) / 2
    error = math.sqrt(max(was * (1 - was), 1 / pair.n_measured) / pair.n_measured)
    text = (
        f"R@1 goes from {both(before)} to {both(after)} ({pair.names[0]} to {pair.names[1]}, and back, among "
        f"{pair.n_measured:,}); sampling alone moves it by about {error:.3f}."
    )
    if abs(now - was) <= 2 * error:
        why = " Who searches one other modality does not meet the gap: it is the same for all there is to find."
        return Advice(pair.names, "good", "Search from one to the other stays as it was", text + why)
    if now > was:
        return Advice(pair.names, "good", "Search from one to the other gets better", text)
    mend = " For such a search keep the rows as they came."
    return Advice(pair.names, "care", "Search from one to the other gets worse", text + mend)


def _at_chance(pair: PairReport) -> bool:
    """Whether partners are found no more often than a few times by chance, before and after."""
    shares = [sum(_first_recalls(state)) / 2 for state in (pair.before, pair.after)]
    return max(shares) <= min(CHANCES / pair.n_measured, 0.5)


def _no_pairs(pair: PairReport) -> Advice:
    a, b = pair.names
    text = (
        f"R@1 is {both(_first_recalls(pair.before))}, as good as chance. Either row i of {a} does not belong to row i "
        f"of {b}, or the encoder does not know what they share. Take no figure of pairs from here until that is clear."
    )
    return Advice(pair.names, "care", "Are these pairs?", text, "report(..., paired=False)  # or --unpaired")


def _first_recalls(state: State) -> tuple[float, float]:
    return (state.recall_a_to_b or {})[1], (state.recall_b_to_a or {})[1]


def _one_index(pair: PairReport) -> Advice:
    fair, before, after = pair_share(pair), pair.before.modality_bias, pair.after.modality_bias
    text = (
        f"In one index over {pair.names[0]} and {pair.names[1]}, {both(before, percent)} of a row's ten nearest are of "
        f"its own modality, after alignment {both(after, percent)}; {both(fair, percent)} would be fair."
    )
    if max(share - right for share, right in zip(after, fair)) <= FAIR:
        return Advice(pair.names, "good", "One index over both is fair", text)
    still = pair.after.separability
    if still is not None and still > UNTOLD:
        why = (
            f" A linear classifier still tells them apart ({percent(still)}): they differ in shape, not only in place."
        )
    else:
        why = " No line parts them, so it is not the gap: the nearest of one modality are more alike than a pair is."
    mend = " For one index, rank each modality on its own and merge by rank."
    return Advice(pair.names, "care", "One index over both still prefers its own kind", text + why + mend)


def _unknown_noise(pair: PairReport) -> Advice:
    cosine = noise.cosine_from_sigma(noise.paper_sigma(pair.n_dims), pair.n_dims, norm=_norm(pair))
    text = (
        f"Without pairs nobody knows how far a row of {pair.names[0]} lies from its {pair.names[1]}. The aligner "
        f"takes the setting of the C3 paper, here a noise cosine of {cosine:.2f}; a few hundred pairs would tell."
    )
    return Advice(pair.names, "care", "The noise to train with is unknown", text)


def _noise(pair: PairReport) -> Iterator[Advice]:
    if pair.residual_sigma is None or pair.residual_cosine is None or pair.after.pair_cosine is None:
        return
    matched = pair.after.pair_cosine
    text = (
        f"Pairs differ by sigma = {pair.residual_sigma:.4f} per dimension, a noise cosine of "
        f"{pair.residual_cosine:.2f}: what fit learns."
    )
    if 0 < matched < pair.residual_cosine:
        text += (
            f" True pairs have a cosine of {fixed(matched)} after alignment; noise as strong as that is worth a try."
        )
        yield Advice(
            pair.names,
            "do",
            "Train decoders with noise of the pairs' size",
            text,
            f"C3Aligner(noise_cosine={max(matched, 0.01):.2f})",
        )
    else:
        yield Advice(pair.names, "do", "Train decoders with noise of the pairs' size", text)
    filled = pair.residual_participation or 0.0
    if filled < ROUND * pair.n_dims:
        text = (
            f"It fills about {filled:.0f} of {pair.n_dims} dimensions, and isotropic noise spends most of its length "
            "where pairs do not differ. Noise with the residuals' covariance does not."
        )
        yield Advice(pair.names, "do", "The noise is not alike in all directions", text, 'C3Aligner(noise="residual")')


def _norm(pair: PairReport) -> float:
    """Root mean square norm of the centred rows of both."""
    return math.sqrt(max(1 - sum(norm**2 for norm in pair.before.mean_norms) / 2, 1e-12))


def _of_all(found: Report) -> Iterator[Advice]:
    norms = {part.name: part.raw_norm for part in found.modalities}
    if max(norms.values()) > 1.5 * min(norms.values()):
        told = ", ".join(f"{norm:.3g} for {name}" for name, norm in norms.items())
        text = f"Mean norms as the rows came: {told}. Everything here is of unit rows; normalise before you mix them."
        yield Advice(None, "care", "Rows of different length", text)
    few = [part for part in found.modalities if part.n_measured < 2 * found.n_dims]
    if few:
        counts = ", ".join(f"{part.n_measured} {part.name}" for part in few)
        text = (
            f"{counts} rows for {found.n_dims} dimensions: means are sound to about "
            f"{max(pair.gap_error for pair in found.pairs):.2f}, but spectra and covariances are rough."
        )
        yield Advice(None, "care", "Few rows", text)
    if found.samples.is_sampled and found.samples.paired:
        text = (
            f"Recall is among {max(found.samples.n_measured):,} evenly sampled rows. Among all "
            f"{max(found.samples.n_rows):,} it is lower, before as after."
        )
        yield Advice(None, "care", "Recall on a sample", text)
