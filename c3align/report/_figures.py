"""Measured figures as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from c3align.geometry import GapReport


@dataclass(frozen=True)
class PairMeasures:
    """Two modalities a and b in one state, raw or aligned. Measures of pairs are None without pairs.

    Parameters
    ----------
    gap_norm : float
        Distance of the means of all rows.
    mean_norms : (float, float)
        Norms of the means of all rows.
    modality_bias : (float, float)
        Share of a row's 10 nearest neighbors that are of its own modality: mean over a, and over b.
    false_positives, false_positives_scaled : (float, float)
        Share of unrelated scores within a, and within b, above the score that 1 % of those between a and b exceed; and
        when each kind of score is less its mean and over its standard deviation. 0.01 is fair.
    covariance_distance : float
        The part of the distribution gap that centering leaves: Bures' squared distance of the covariances over the
        sum of both variances. 0 is equal, 1 nothing in common.
    separability : float or None
        Accuracy of a linear classifier between the modalities, 0.5 is chance; None with fewer than 10 rows.
    hubness : (float, float)
        Skewness of how often b's rows are found by a's, and a's by b's.
    unmatched_cosine, pair_cosine : float, float or None
        Mean cosine of rows that are not pairs, and of pairs.
    alignment : float or None
        Mean squared distance of pairs (Wang and Isola).
    recall_a_to_b, recall_b_to_a : dict of int to float, or None
        Recall at 1, 5 and 10: the share of different rows that find one of their group.
    """

    gap_norm: float
    mean_norms: tuple[float, float]
    modality_bias: tuple[float, float]
    false_positives: tuple[float, float]
    false_positives_scaled: tuple[float, float]
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

    Parameters
    ----------
    name : str
        Name of the modality.
    n_rows, n_measured : int
        Number of rows, and of those measured, evenly spaced; means are over all rows.
    dtype : str
        Dtype of the rows.
    raw_norm : float
        Mean norm of the raw rows.
    mean_norm : float
        Norm of the mean of the unit rows: 0 is no cone, 1 a single point.
    spread : float
        Root mean square distance of the unit rows from their mean.
    effective_dimension : int
        Number of principal directions that hold 99 % of the variance.
    participation : float
        Participation ratio of the spectrum, from 1 to n_dims.
    uniformity : (float, float)
        Before and after (Wang and Isola); lower is more uniform.
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

    Parameters
    ----------
    names : (str, str)
        The modalities a and b.
    n_rows : (int, int)
        Number of rows of each.
    n_measured : int
        The largest number of rows of each that were measured; `gap` and means are over all rows.
    n_distinct : (int, int)
        How many of these are different; neighbors and recall are among them.
    n_groups : int or None
        Pairs that equal rows connect are one group, such as five captions of one picture; None without pairs.
    n_dims : int
        Dimension of the rows.
    paired : bool
        Whether row i of a belongs to row i of b.
    gap : GapReport
        The gap of the raw rows with its error, and sigma and noise cosine of the pairs.
    before, after : PairMeasures
        Measures of the raw rows, and of the aligned ones.
    gap_length_spread, gap_direction : float or None
        Over groups of 100 pairs: standard deviation of the gap's length, mean cosine of neighboring groups' gaps.
    orthogonality : (float, float)
        Mean and standard deviation of the cosine between the gap and differences within a modality.
    residual_participation : float or None
        Number of dimensions that the residual fills; n_dims if it is isotropic.
    noise_fits : dict of str to (float, float), or None
        For isotropic and for half-power noise of either modality, how alike it is to the residual and how alike it
        could be; see `geometry.noise_fit`. None without pairs.
    encoder_overlap : float or None
        See `geometry.encoder_overlap`: about 1 for two encoders, 3 or more for one; None below 200 rows.
    order_evidence : float or None
        See `geometry.order_evidence`: below 3 partners are no more alike than in a random order. None without pairs, or
        with fewer than 30.
    order_doubt : str or None
        What speaks against the order of the measured pairs: "repeated", "exchanged" or "misplaced"; see `geometry`.
    is_one_encoder : bool
        False if the rows look like those of two encoders, or of an untrained one.
    """

    names: tuple[str, str]
    n_rows: tuple[int, int]
    n_measured: int
    n_distinct: tuple[int, int]
    n_groups: int | None
    n_dims: int
    paired: bool
    gap: GapReport
    before: PairMeasures
    after: PairMeasures
    gap_length_spread: float | None
    gap_direction: float | None
    orthogonality: tuple[float, float]
    residual_participation: float | None
    noise_fits: dict[str, tuple[float, float]] | None
    encoder_overlap: float | None
    order_evidence: float | None
    order_doubt: str | None
    is_one_encoder: bool

    @property
    def constant_direction(self) -> float:
        """What `gap_direction` is of one constant gap: ``||c||**2 / (||c||**2 + tr(Cov(eps)) / 100)``."""
        square = max(self.gap.norm**2 - self.gap.standard_error**2, 0.0)
        independent = 100 * (self.n_groups or self.n_measured) / self.n_measured  # pairs of a group of 100
        noise = self.n_dims * (self.gap.sigma or 0.0) ** 2 / independent
        return square / (square + noise) if square else 0.0

    @property
    def fair_shares(self) -> tuple[float, float]:
        """Share of its own modality that a row of a, and of b, would find in a fair index over the measured rows."""
        a, b = self.n_distinct
        return a / (a + b), b / (a + b)
