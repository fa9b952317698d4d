"""The paper's ablation as aligners: C1 does neither, C2_1 collapses, C2_2 corrupts, C3 does both; and an appendix's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import C3Aligner, ops
from c3align.errors import C3AlignError
from c3align.statistics import ModalityStatistics

__all__ = ["VARIANTS", "WITHOUT_GAP", "WithoutGap", "fit_aligner", "fit_without_gap"]

VARIANTS = {"C1": (False, False), "C2_1": (True, False), "C2_2": (False, True), "C3": (True, True)}
WITHOUT_GAP = "C2_2, noise without the gap's direction"


def fit_aligner(
    variant: str,
    text: npt.NDArray[Any],
    other: npt.NDArray[Any],
    *,
    modality: str = "image",
    paired: bool = False,
    renormalize: bool = True,
    aligner: C3Aligner | None = None,
    **noise: Any,
) -> C3Aligner:
    """An aligner of the variant, from rows of texts and of the other modality.

    Parameters
    ----------
    variant : a key of `VARIANTS`
    text, other : (n, d) arrays; row i of both is a pair when `paired`
    renormalize : bool
        Of `C3Aligner`.
    aligner : C3Aligner, optional
        One to be fitted, instead of a new one.
    **noise : of `C3Aligner`: ``sigma``, ``noise_cosine``, ``noise``; without a meaning where nothing is corrupted

    Without collapse the means must be zero. So every row is given with its opposite: sums are integers, and theirs
    are zero to the bit.
    """
    collapse, corrupt = VARIANTS[variant]
    aligner = C3Aligner() if aligner is None else aligner
    aligner.set_params(renormalize=renormalize, **(noise if corrupt else {"sigma": 0.0}))
    if not collapse:
        text, other = np.concatenate([text, -text]), np.concatenate([other, -other])
    if paired:
        return aligner.fit(text, other, y_modality=modality)
    return aligner.fit(text).partial_fit(other, modality=modality)


def fit_without_gap(text: npt.NDArray[Any], other: npt.NDArray[Any], **options: Any) -> C3Aligner:
    """C2_2 whose noise has nothing along the gap (paper, appendix H): what then is left of its use?"""
    aligner = WithoutGap()
    aligner.direction = ModalityStatistics.from_rows(other).mean - ModalityStatistics.from_rows(text).mean
    return fit_aligner("C2_2", text, other, aligner=aligner, **options)


class WithoutGap(C3Aligner):
    """An aligner with noise orthogonal to `direction`."""

    direction: npt.NDArray[np.float64]

    def corrupt(self, X: Any, *, modality: str = "text", seed: int | None = None, row_offset: int = 0) -> Any:
        """As in `C3Aligner`, for NumPy arrays."""
        if modality not in self.statistics_:
            raise C3AlignError(f"no mean was learned for modality {modality!r}; fit it first")
        return ops.corrupt(
            X,
            self.statistics_[modality].mean,
            sigma=self.sigma_,
            seed=self.seed if seed is None else seed,
            row_offset=row_offset,
            direction=self.direction,
            renormalize=self.renormalize,
        )
