"""What statistics say about the gap between two modalities, in numbers and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from c3align import noise
from c3align._arguments import checked
from c3align._typing import Float64Array
from c3align.errors import counted
from c3align.statistics import ModalityStatistics, PairStatistics

UNEQUAL = 0.05  # cosines that are told apart


@dataclass(frozen=True, eq=False)
class GapReport:
    """The gap ``c = mean_a - mean_b`` of two fitted modalities (C3, eq. 1).

    Parameters
    ----------
    a, b : str
        The modalities.
    vector : (n_dims,) float64
        The gap c.
    norm : float
        ``||c||``; unit rows are at most 2 apart.
    standard_error : float
        Expected error of the gap, due to the finite number of rows; partners vary together, which makes it smaller. Of
        rows that repeat, as a picture does with k captions, it is up to sqrt(k) times as large.
    within : (float, float)
        Root mean square distance of the rows of a, and of b, from their own mean.
    n_pairs : int
        Number of pairs learned, or 0.
    sigma : float or None
        Standard deviation of the residual per coordinate, from two pairs or more.
    noise_cosine : float or None
        The same as a noise cosine, on centered rows.
    pair_cosine : float or None
        Mean cosine of paired rows before alignment.
    """

    a: str
    b: str
    vector: Float64Array
    norm: float
    standard_error: float
    within: tuple[float, float]
    n_pairs: int
    sigma: float | None
    noise_cosine: float | None
    pair_cosine: float | None

    def __str__(self) -> str:
        text = (
            f"{self.a} and {self.b} lie {self.norm:.3f} +- {self.standard_error:.3f} apart; rows lie "
            f"{self.within[0]:.3f} and {self.within[1]:.3f} from their own mean"
        )
        if not self.n_pairs:
            return text
        residual = "" if self.sigma is None else f", residual sigma {self.sigma:.4f}{self._cosines()}"
        return f"{text}; {counted(self.n_pairs, 'pair')}: mean cosine {self.pair_cosine:.3f}{residual}"

    def _cosines(self) -> str:
        """That of both sides together; of each, where one lies much closer to its mean, so that noise tells more."""
        if self.noise_cosine is None or self.sigma is None:
            return ""
        own = [
            noise.cosine_from_sigma(self.sigma, len(self.vector), norm=norm) if norm else 0.0 for norm in self.within
        ]
        if max(own) - min(own) <= UNEQUAL:
            return f" (a noise cosine of {self.noise_cosine:.2f})"
        return f" (a noise cosine of {own[0]:.2f} for {self.a} rows, and {own[1]:.2f} for {self.b})"


def _standard_error(a: ModalityStatistics, b: ModalityStatistics, pairs: PairStatistics | None) -> float:
    """Error of the difference of the means: of all rows as pairs that of their differences, else of both means."""
    if pairs is not None and 1 < pairs.n_rows == a.n_rows == b.n_rows:
        return float(np.sqrt(pairs.total_variance / pairs.n_rows))
    return float(np.hypot(a.standard_error, b.standard_error))


@checked
def measure_gap(
    a: str, b: str, of_a: ModalityStatistics, of_b: ModalityStatistics, pairs: PairStatistics | None
) -> GapReport:
    """Build the report from statistics.

    Parameters
    ----------
    a, b : str
        The modalities.
    of_a, of_b : ModalityStatistics
        Their statistics.
    pairs : PairStatistics or None
        Statistics of their pairs, in either order.

    Returns
    -------
    GapReport
        Without `sigma`, `noise_cosine` and `pair_cosine` if there are no pairs, without the first two if there is one.
    """
    vector = of_a.mean - of_b.mean
    within = (float(np.sqrt(of_a.total_variance)), float(np.sqrt(of_b.total_variance)))
    sigma = cosine = pair_cosine = None
    n_pairs = 0 if pairs is None else pairs.n_rows
    if pairs is not None and n_pairs:
        pair_cosine = pairs.mean_cosine
    if pairs is not None and n_pairs > 1:
        sigma = pairs.sigma
        r = float(np.sqrt((of_a.total_variance + of_b.total_variance) / 2))
        cosine = noise.cosine_from_sigma(sigma, of_a.n_dims, norm=r) if r else None
    return GapReport(
        a=a,
        b=b,
        vector=vector,
        norm=float(np.linalg.norm(vector)),
        standard_error=_standard_error(of_a, of_b, pairs),
        within=within,
        n_pairs=n_pairs,
        sigma=sigma,
        noise_cosine=cosine,
        pair_cosine=pair_cosine,
    )
