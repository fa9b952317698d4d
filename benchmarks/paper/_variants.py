"""The paper's variants, those of the demo and one of an appendix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import C3Aligner, ops
from c3align.cli.demo._variants import VARIANTS, fit_aligner
from c3align.errors import C3AlignError
from c3align.statistics import ModalityStatistics

__all__ = ["VARIANTS", "WITHOUT_GAP", "WithoutGap", "fit_aligner", "fit_without_gap"]

WITHOUT_GAP = "C2_2, noise without the gap's direction"


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
