"""The deterministic part of the alignment, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align._typing import Float64Array
from c3align.ops import reference
from c3align.ops._backend import eager_backend
from c3align.ops._rows import is_tensor

__all__ = ["MAPPINGS", "invert_center"]

MAPPINGS = ("center",)


def invert_center(aligned: Any, mean: Float64Array, *, renormalized: bool) -> Any:
    """Unit rows u from ``z = unit(u - mean)``, in closed form: ``u = mean + t z`` with ``||u|| = 1``.

    ``t = -mean.z + sqrt((mean.z)**2 + 1 - ||mean||**2)`` is the only positive root while ``||mean|| < 1``. Rows that
    were not renormalised need ``z + mean`` alone, brought back to norm 1.

    Parameters
    ----------
    aligned : (n_rows, n_dims) float64 array, or tensor on its device; unit rows when `renormalized`
    mean : (n_dims,) float64
    renormalized : bool

    Returns
    -------
    (n_rows, n_dims) float64; each row depends on its own row alone, to the bit. Rows of zeros stay so.
    """
    if is_tensor(aligned):
        size = float(1 - reference.row_sum(mean[None] ** 2)[0])
        return eager_backend().invert_center(aligned, mean, size, renormalized=renormalized)
    if renormalized:
        along = reference.row_sum(aligned * mean)
        inside = np.maximum(0.0, along * along + (1 - reference.row_sum(mean[None] ** 2)))
        unit = mean + (np.sqrt(inside) - along)[:, None] * aligned
    else:
        unit = reference.unit_rows(aligned + mean)[0]
    unit[~aligned.any(axis=1)] = 0
    return unit
