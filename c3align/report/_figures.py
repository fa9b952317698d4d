"""What a report says, as plain values."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from c3align.errors import C3AlignError
from c3align.report import _advice, _text
from c3align.report._advice import Advice
from c3align.report._samples import Samples

__all__ = ["ModalityReport", "PairReport", "Report", "State"]


@dataclass(frozen=True)
class State:
    """Two modalities at one moment: as they came, or aligned. Figures of pairs are None without pairs.

    Attributes
    ----------
    gap_norm : float
        Distance of the means, from all rows.
    mean_norms : (float, float)
        From all rows.
    modality_bias : (float, float)
        Of a row's 10 nearest others, of both, the share of its own modality: mean over a, and over b.
    covariance_distance : float
        The part of the distribution gap that centring leaves: Bures' squared distance of the covariances over the
        sum of both variances. 0 is alike, 1 nothing in common.
    separability : float or None
        Accuracy of a linear classifier that tells the modalities apart, 0.5 is chance; None with under 10 rows.
    hubness : (float, float)
        Skewness of how often b's rows are found by a's, and a's by b's.
    pair_cosine, unmatched_cosine : float or None
        Mean cosine of pairs; and of rows that are no pair.
    alignment : float or None
        Mean squared distance of pairs (Wang and Isola).
    recall_a_to_b, recall_b_to_a : dict of int to float, or None
    """

    gap_norm: float
    mean_norms: tuple[float, float]
    modality_bias: tuple[float, float]
    covariance_distance: float
    separability: float | None
    hubness: tuple[float, float]
    unmatched_cosine: float
    pair_cosine: float | None
    alignment: float | None
    recall_a_to_b: dict[int, float] | None
    recall_b_to_a: dict[int, float] | None


@dataclass(frozen=True)
class ModalityReport:
    """One modality.

    Attributes
    ----------
    name : str
    n_rows, n_measured : int
        Rows, and how many of them, evenly spread, all but the means was measured on.
    dtype : str
    raw_norm : float
        Mean norm of the rows as they came.
    mean_norm : float
        Norm of the mean of the unit rows: 0 is no cone, 1 one point.
    spread : float
        Root mean square distance of the unit rows from their mean.
    effective_dimension : int
        Directions that hold 99 % of the variance.
    participation : float
    uniformity : (float, float)
        Before and after (Wang and Isola); lower is more even.
    """

    name: str
    n_rows: int
    n_measured: int
    dtype: str
    raw_norm: float
    mean_norm: float
    spread: float
    effective_dimension: int
    participation: float
    uniformity: tuple[float, float]


@dataclass(frozen=True)
class PairReport:
    """Two modalities before and after alignment.

    Attributes
    ----------
    names : (str, str)
    n_rows : (int, int)
    n_measured : int
        Rows of each, at most, that all but the means and sigma was measured on.
    n_dims : int
    paired : bool
        Whether row i of a belongs to row i of b.
    before, after : State
    gap_error : float
        Expected error of the gap, from the finite number of rows.
    gap_length_spread, gap_direction : float or None
        Over groups of 100 pairs: standard deviation of the gap's length, mean cosine of neighbouring groups' gaps.
    orthogonality : (float, float)
        Mean and standard deviation of the cosine between the gap and differences within a modality.
    residual_sigma : float or None
        Alignment noise per coordinate, from all pairs.
    residual_cosine : float or None
        The same as a noise cosine on centred rows.
    residual_participation : float or None
        Dimensions that the residual fills; n_dims when it is isotropic.
    encoder_overlap : float or None
        See `geometry.encoder_overlap`: about 1 for two encoders, 3 or more for one; None under 200 rows.
    is_one_encoder : bool
        False where the rows look like those of two encoders, or of one that was never trained.
    """

    names: tuple[str, str]
    n_rows: tuple[int, int]
    n_measured: int
    n_dims: int
    paired: bool
    before: State
    after: State
    gap_error: float
    gap_length_spread: float | None
    gap_direction: float | None
    orthogonality: tuple[float, float]
    residual_sigma: float | None
    residual_cosine: float | None
    residual_participation: float | None
    encoder_overlap: float | None
    is_one_encoder: bool


@dataclass(frozen=True, eq=False)
class Report:
    """Two or more modalities, each and in pairs; see `report`.

    Attributes
    ----------
    modalities : tuple of ModalityReport
    pairs : tuple of PairReport
        Each two of the modalities, the first of them first.
    aligned_by : str
        What "after" means, in words.
    samples : Samples
        The rows it was measured on, for the pictures.
    """

    modalities: tuple[ModalityReport, ...]
    pairs: tuple[PairReport, ...]
    aligned_by: str
    samples: Samples = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(found.name for found in self.modalities)

    @property
    def n_dims(self) -> int:
        return self.samples.n_dims

    def pair(self, a: str, b: str) -> PairReport:
        """The figures of two modalities, in the order they were given in."""
        for found in self.pairs:
            if set(found.names) == {a, b}:
                return found
        raise C3AlignError(f"no pair of {a!r} and {b!r} here; pass two of {', '.join(map(repr, self.names))}")

    def headline(self) -> str:
        """The gap in plain words."""
        return _text.headline(self)

    def advice(self) -> list[Advice]:
        """What to do next, in plain words, each computed from the figures."""
        return _advice.advice(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        found = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "samples"}
        lists = {name: [asdict(part) for part in found[name]] for name in ("modalities", "pairs")}
        shared = {
            "headline": self.headline(),
            "advice": [item._asdict() for item in self.advice()],
            "aligned_by": self.aligned_by,
        }
        return {"n_dims": self.n_dims, "paired": self.samples.paired, **shared, **lists}

    def to_html(self, *, provenance: dict[str, str] | None = None) -> str:
        """A page that stands on its own: no request, no script needed.

        Parameters
        ----------
        provenance : dict of str to str, optional
            What else to say about where the figures come from: a command, a date, fingerprints.
        """
        from c3align.report import _page

        return _page.render(self, provenance or {})

    def __str__(self) -> str:
        return _text.tables(self)


def finite(value: float | None) -> float | None:
    """None for what could not be measured."""
    return None if value is None or math.isnan(value) else float(value)
