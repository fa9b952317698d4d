"""Rows of one modality brought nearer to what a decoder learned from, by a memory of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c3align import ops
from c3align.errors import C3AlignError

__all__ = ["halfway"]

_BLOCK_ELEMENTS = 1 << 23


def halfway(
    rows: npt.NDArray[np.float32], memory: npt.NDArray[np.float32], temperature: float
) -> npt.NDArray[np.float32]:
    """Rows half way to their projection onto a memory, ``softmax(memory x / temperature) memory`` (DeCap, eq. 6).

    The projection alone loses what no row of the memory has; the row alone lies where none of them does.

    Parameters
    ----------
    rows : (n, n_dims), aligned rows
    memory : (m, n_dims), aligned rows
    temperature : float > 0

    Returns
    -------
    (n, n_dims) float32, of norm 1
    """
    if not temperature > 0:
        raise C3AlignError(f"temperature={temperature!r} cannot be; pass a positive number")
    if not len(memory):
        raise C3AlignError("the memory holds no rows; pass some, or no memory")
    found = np.empty(rows.shape, np.float32)
    step = max(1, _BLOCK_ELEMENTS // len(memory))
    for start in range(0, len(rows), step):
        unit = ops.normalize(rows[start : start + step], zero_rows="keep")
        scores = (unit @ memory.T).astype(np.float64) / temperature
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        means = ops.normalize(weights @ memory, zero_rows="keep")
        found[start : start + step] = ops.normalize(unit + means, zero_rows="keep")
    return found
