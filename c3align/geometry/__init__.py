"""Measures of an embedding space: the gap between modalities, the noise around it, spectrum, retrieval.

Every measure takes rows (n_rows, n_dims) of any norm, NumPy or torch, normalizes them and computes in float64. Those of
the gap, the residual, the spectrum and the distributions read blocks, so that a memmap larger than memory is never
copied whole. A *source* may also be `ModalityStatistics` (where means suffice), `CovarianceStatistics`, or an iterable
of blocks of rows, read once. Measures that compare rows with rows (neighbors, uniformity, linear separability) hold all
rows in float64; give them a sample of a large set.
*Pairs* are rows with the same number. Definitions follow C3 (ICLR 2024), section 3, and its released notebooks.

- the gap (C3, Proposition 1 and Table 1): `gap_vector`, `grouped_gap`, `gap_orthogonality`, `pair_cosine`,
  `measure_gap`
- the residual: `residual_sigma`, `residual_spectrum`, `residual_participation`, `noise_fit`
- the spectrum, dimensional collapse: `covariance_spectrum`, `effective_dimension`, `dimensional_collapse`,
  `participation`, `participation_ratio`, `principal_angles`
- the sphere (Wang and Isola): `alignment`, `uniformity`
- two distributions: `distribution_gap`, `linear_separability`
- one encoder, or two: `encoder_overlap`, `one_encoder`, `are_partners`, `doubt`
- the order of pairs: `order_evidence`, `order_doubt`, `repeated`, `exchanged`, `misplaced`,
  `later_doubt`, `total_doubt`
- neighbors: `recall_at_k`, `modality_bias`, `k_occurrence`, `hubness`, `distinct_rows`, `pair_groups`
"""

from __future__ import annotations

from c3align.geometry._distributions import (
    DistributionGap,
    Separability,
    alignment,
    distribution_gap,
    linear_separability,
    uniformity,
)
from c3align.geometry._gap import (
    GroupedGap,
    MeanStd,
    gap_orthogonality,
    gap_vector,
    grouped_gap,
    pair_cosine,
    residual_participation,
    residual_sigma,
    residual_spectrum,
)
from c3align.geometry._gap_report import GapReport, measure_gap
from c3align.geometry._later import later_doubt, total_doubt
from c3align.geometry._noise_fit import NoiseFit, noise_fit
from c3align.geometry._order import (
    BY_CHANCE,
    FEW_PAIRS,
    doubt,
    exchanged,
    misplaced,
    order_doubt,
    order_evidence,
    repeated,
)
from c3align.geometry._overlap import are_partners, encoder_overlap, one_encoder
from c3align.geometry._retrieval import (
    Hubness,
    distinct_rows,
    hubness,
    k_occurrence,
    modality_bias,
    pair_groups,
    recall_at_k,
)
from c3align.geometry._rows import unit_rows
from c3align.geometry._spectrum import (
    DimensionalCollapse,
    covariance_spectrum,
    dimensional_collapse,
    effective_dimension,
    participation,
    participation_ratio,
    principal_angles,
)

__all__ = [
    "BY_CHANCE",
    "FEW_PAIRS",
    "DimensionalCollapse",
    "DistributionGap",
    "GapReport",
    "GroupedGap",
    "Hubness",
    "MeanStd",
    "NoiseFit",
    "Separability",
    "alignment",
    "are_partners",
    "covariance_spectrum",
    "dimensional_collapse",
    "distinct_rows",
    "distribution_gap",
    "doubt",
    "effective_dimension",
    "encoder_overlap",
    "exchanged",
    "gap_orthogonality",
    "gap_vector",
    "grouped_gap",
    "hubness",
    "k_occurrence",
    "later_doubt",
    "linear_separability",
    "measure_gap",
    "misplaced",
    "modality_bias",
    "noise_fit",
    "one_encoder",
    "order_doubt",
    "order_evidence",
    "pair_cosine",
    "pair_groups",
    "participation",
    "participation_ratio",
    "principal_angles",
    "recall_at_k",
    "repeated",
    "residual_participation",
    "residual_sigma",
    "residual_spectrum",
    "total_doubt",
    "uniformity",
    "unit_rows",
]
