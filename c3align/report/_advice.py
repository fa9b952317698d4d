"""What to do next, computed from the figures; silent where they do not say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from c3align import noise
from c3align.report._chart import fixed
from c3align.report._figures import ModalityReport, PairMeasures, PairReport
from c3align.report._samples import Samples
from c3align.report._text import both, fine, percent

ORTHOGONAL = 0.05  # mean cosine of the gap with differences within a modality, below which it says nothing of them
ROUND = 0.5  # share of the dimensions that noise fills, from which on it is called isotropic
CHANCES = 5  # how many times chance R@1 must be for rows to be taken for pairs
FAIR = 0.3  # how much of the other modality's fair share among neighbors may be absent
_FAIR_CODE = 'C3Aligner(mapping="barycenter")'
SEPARABLE = 0.65  # accuracy of a classifier below which modalities are hard to separate


class Advice(NamedTuple):
    """A finding and what follows from it.

    Parameters
    ----------
    pair : (str, str) or None
        The modalities it concerns; None for all.
    kind : "good", "care" or "do"
        Nothing to do, a caveat, or a step to take.
    title, text : str
        The finding in a few words, and in sentences.
    code : str
        A line to try, or "".
    """

    pair: tuple[str, str] | None
    kind: str
    title: str
    text: str
    code: str = ""


def advice(modalities: tuple[ModalityReport, ...], pairs: tuple[PairReport, ...], samples: Samples) -> list[Advice]:
    """Advice for each pair of modalities, then for all."""
    few_rows_error = max(pair.gap.standard_error for pair in pairs)
    return [
        *(item for pair in pairs for item in _of_pair(pair)),
        *_lengths(modalities),
        *_few_rows(modalities, samples.n_dims, few_rows_error),
        *_sampled(samples),
    ]


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
    gap, left, error = pair.gap.norm, pair.after.gap_norm, pair.gap.standard_error
    if gap < 3 * error:
        text = f"The means of {a} and {b} lie {gap:.2f} apart, and so few rows give about {error:.2f} by chance."
        return Advice(pair.names, "good", "There is no gap to speak of", f"{text} Nothing needs to be centered.")
    orthogonal = abs(pair.orthogonality[0]) < ORTHOGONAL
    leaning = f"cosine {fixed(pair.orthogonality[0])}"
    if orthogonal:
        text = (
            f"The gap is orthogonal to what rows say ({leaning}). So subtracting each mean removes it and leaves the "
            f"rest: {left:.2f} remain of {gap:.2f}."
        )
        return Advice(pair.names, "do", "Center each modality by its own mean", text, _fit_code(pair))
    text = f"The gap leans towards what rows say ({leaning}). Centering leaves {left:.2f} of {gap:.2f}."
    return Advice(pair.names, "care", "Center, and check the result on your task", text, _fit_code(pair))


def _two_encoders(pair: PairReport) -> Advice:
    a, b = pair.names
    text = (
        f"The columns of {a} and {b} do not vary together: an overlap of {pair.encoder_overlap:.1f}, where rows of two "
        "encoders have 1 and those of one have 3 or more. They come from two encoders, or from one that was never "
        "trained. No alignment of means helps; embed both with one encoder, then measure again."
    )
    return Advice(pair.names, "care", "These do not look like rows of one encoder", text)


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
    was, now, n = sum(before) / 2, sum(after) / 2, min(pair.n_distinct)
    error = math.sqrt(max(was * (1 - was), 1 / n) / n)
    text = (
        f"R@1 goes from {both(before)} to {both(after)} ({pair.names[0]} to {pair.names[1]}, and back, among "
        f"{pair.n_measured:,} pairs); sampling alone moves it by about {error:.3f}."
    )
    if abs(now - was) <= 2 * error:
        why = " A search in one other modality does not meet the gap: it is the same for all there is to find."
        return Advice(pair.names, "good", "Search from one to the other stays as it was", text + why)
    if now > was:
        return Advice(pair.names, "good", "Search from one to the other gets better", text)
    fix = " For such a search keep the rows as they came."
    return Advice(pair.names, "care", "Search from one to the other gets worse", text + fix)


def _at_chance(pair: PairReport) -> bool:
    """Whether partners are found no more often than a few times by chance, before and after."""
    shares = [sum(_first_recalls(measures)) / 2 for measures in (pair.before, pair.after)]
    return max(shares) <= min(CHANCES / min(pair.n_distinct), 0.5)


def _no_pairs(pair: PairReport) -> Advice:
    a, b = pair.names
    text = (
        f"R@1 is {both(_first_recalls(pair.before))}, as good as chance. Either row i of {a} does not belong to row i "
        f"of {b}, or the encoder does not know what they share. Trust no figure of pairs until that is clear."
    )
    return Advice(pair.names, "care", "Are these pairs?", text, "report(..., paired=False)  # or --unpaired")


def _first_recalls(measures: PairMeasures) -> tuple[float, float]:
    return (measures.recall_a_to_b or {})[1], (measures.recall_b_to_a or {})[1]


def _one_index(pair: PairReport) -> Advice:
    fair, before, after = pair.fair_shares, pair.before.modality_bias, pair.after.modality_bias
    text = (
        f"In one index over {pair.names[0]} and {pair.names[1]}, {both(before, percent)} of a row's ten nearest are of "
        f"its own modality, after alignment {both(after, percent)}; {both(fair, percent)} would be fair."
    )
    if all(1 - share >= (1 - FAIR) * (1 - right) for share, right in zip(after, fair)):
        return Advice(pair.names, "good", "One index over both is fair", text)
    still = pair.after.separability
    if still is None:
        why = " Whether a line parts them was not measured: if none does, the nearest are more alike than a pair is."
    elif still > SEPARABLE:
        why = f" A linear classifier still separates them ({percent(still)}): they differ in shape, not only in place."
    else:
        why = " No line parts them, so it is not the gap: the nearest of one modality are more alike than a pair is."
    passing, scaled = pair.after.false_positives, pair.after.false_positives_scaled
    fix = (
        f" A threshold that 1 % of unrelated scores between them exceed lets {both(passing, fine)} through within them,"
        f" and {both(scaled, fine)} by `calibrate()`. For one index bring their covariances together, which needs no "
        "pairs, and score by that; or rank each modality on its own and merge by rank."
    )
    return Advice(pair.names, "care", "One index over both still prefers its own kind", text + why + fix, _FAIR_CODE)


def _unknown_noise(pair: PairReport) -> Advice:
    norm = math.sqrt(max(1 - sum(norm**2 for norm in pair.before.mean_norms) / 2, 1e-12))  # of the centered rows
    cosine = noise.cosine_from_sigma(noise.paper_sigma(pair.n_dims), pair.n_dims, norm=norm)
    text = (
        f"Without pairs nobody knows how far a row of {pair.names[0]} lies from its {pair.names[1]}. The aligner "
        f"takes the setting of the C3 paper, here a noise cosine of {cosine:.2f}; a few hundred pairs would tell."
    )
    return Advice(pair.names, "care", "The noise to train with is unknown", text)


def _noise(pair: PairReport) -> Iterator[Advice]:
    sigma, cosine, matched = pair.gap.sigma, pair.gap.noise_cosine, pair.after.pair_cosine
    if sigma is None or cosine is None or matched is None:
        return
    text = f"Pairs differ by sigma = {sigma:.4f} per dimension, a noise cosine of {cosine:.2f}: what fit learns."
    code = ""
    if 0 < matched < cosine:
        text += (
            f" True pairs have a cosine of {fixed(matched)} after alignment; noise as strong as that is worth a try."
        )
        code = f"C3Aligner(noise_cosine={max(matched, 0.01):.2f})"
    yield Advice(pair.names, "do", "Train decoders with noise of the pairs' size", text, code)
    filled = pair.residual_participation or 0.0
    if filled < ROUND * pair.n_dims:
        text = (
            f"It fills about {filled:.0f} of {pair.n_dims} dimensions, and isotropic noise spends most of its length "
            f"where pairs do not differ. Noise with the residuals' covariance does not.{_likeness(pair)}"
        )
        yield Advice(pair.names, "do", "The noise is not alike in all directions", text, 'C3Aligner(noise="residual")')


def _likeness(pair: PairReport) -> str:
    fits = pair.noise_fits or {}
    best = max((name for name in fits if name != "isotropic"), key=lambda name: fits[name][0], default=None)
    if best is None or fits[best][0] <= fits["isotropic"][0]:
        return ""
    return (
        f" Without pairs {best} rows is more alike to it than isotropic noise ({fits[best][0]:.2f} against "
        f'{fits["isotropic"][0]:.2f}; 1 is alike): noise="half_power".'
    )


def _lengths(modalities: tuple[ModalityReport, ...]) -> Iterator[Advice]:
    norms = {part.name: part.raw_norm for part in modalities}
    if max(norms.values()) > 1.5 * min(norms.values()):
        said = ", ".join(f"{norm:.3g} for {name}" for name, norm in norms.items())
        text = f"Mean norms as the rows came: {said}. All figures here are of unit rows; normalize before you mix them."
        yield Advice(None, "care", "Rows of different length", text)


def _few_rows(modalities: tuple[ModalityReport, ...], n_dims: int, error: float) -> Iterator[Advice]:
    few = ", ".join(f"{part.n_measured} {part.name}" for part in modalities if part.n_measured < 2 * n_dims)
    if few:
        text = (
            f"{few} rows for {n_dims} dimensions: means are sound to about {error:.2f}, but spectra and covariances "
            "are rough."
        )
        yield Advice(None, "care", "Few rows", text)


def _sampled(samples: Samples) -> Iterator[Advice]:
    if samples.is_sampled and samples.paired:
        text = (
            f"Recall is among {max(samples.n_measured):,} evenly sampled rows. Among all {max(samples.n_rows):,} it is "
            "lower, before as after."
        )
        yield Advice(None, "care", "Recall on a sample", text)
