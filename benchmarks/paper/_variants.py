"""The paper's ablation as aligners: C1 does neither, C2_1 collapses, C2_2 corrupts, C3 does both."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import C3Aligner, ops
from c3align.errors import C3AlignError

VARIANTS = {"C1": (False, False), "C2_1": (True, False), "C2_2": (False, True), "C3": (True, True)}
WITHOUT_GAP = "C2_2, noise without the gap's direction"  # the paper's appendix H


def fit_aligner(
    variant: str,
    text: npt.NDArray[Any],
    other: npt.NDArray[Any],
    *,
    modality: str = "image",
    paired: bool = False,
    **noise: Any,
) -> C3Aligner:
    """An aligner of the variant, from rows of texts and of the other modality.

    Parameters
    ----------
    variant : a key of `VARIANTS`, or `WITHOUT_GAP`
    text, other : (n, d) arrays, row i of both a pair when `paired`
    **noise : of `C3Aligner`: ``sigma``, ``noise_cosine``, ``noise``; unused where the variant does not corrupt

    Without collapse the means must be zero. So every row is given with its opposite: the sums are integers, and
    their mean is zero to the bit.
    """
    collapse, corrupt = VARIANTS["C2_2" if variant == WITHOUT_GAP else variant]
    settings = noise if corrupt else {"sigma": 0.0}
    aligner: C3Aligner = WithoutGap(**settings) if variant == WITHOUT_GAP else C3Aligner(**settings)
    if isinstance(aligner, WithoutGap):
        aligner.direction = ops.moments(other).mean - ops.moments(text).mean
    if not collapse:
        text, other = np.concatenate([text, -text]), np.concatenate([other, -other])
    if paired:
        return aligner.fit(text, other, y_modality=modality)
    return aligner.fit(text).partial_fit(other, modality=modality)


class WithoutGap(C3Aligner):
    """Noise that has nothing along the gap; paper, appendix H: what then is left of its use?"""

    direction: npt.NDArray[np.float64]

    def corrupt(self, X: Any, *, modality: str = "text", seed: int | None = None, row_offset: int = 0) -> Any:
        """As in `C3Aligner`, NumPy arrays only; the noise is made orthogonal to the gap."""
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
