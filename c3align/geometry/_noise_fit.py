"""Whether a noise model has the shape of what pairs differ by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from c3align import ops
from c3align._arguments import checked
from c3align._matrices import check_covariance, symmetric_root
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError
from c3align.ops.arrays import as_rows

_ROUNDING = 1e-12  # of what the residuals' own size leaves of their covariance
TOLERATED = 0.02  # between the likeness and the most that it could be


class NoiseFit(NamedTuple):
    """How alike the covariances of residuals and of a noise model are.

    Parameters
    ----------
    likeness : float
        ``tr((S^1/2 M S^1/2)^1/2)^2 / (tr S tr M)``, the fidelity of the residuals' covariance S and the model's M: 1
        if one is a multiple of the other, 0 if they share no direction. Strength does not matter.
    attainable : float
        The likeness of M and the covariance of as many rows of this very noise: few rows cannot show more.
    """

    likeness: float
    attainable: float

    @property
    def fits(self) -> bool:
        """Whether the residuals are as alike to the model as its own noise is, to 0.02."""
        return self.likeness >= self.attainable - TOLERATED


@checked
def noise_fit(residuals: Array, covariance: Array | None = None, *, seed: int = 0) -> NoiseFit:
    """Test whether residuals of pairs, the `eps` of ``u - v = c + eps``, have the shape of a noise model.

    Parameters
    ----------
    residuals : (n_rows, n_dims) array or tensor
        Differences of partners; their mean, the gap, is taken out.
    covariance : (n_dims, n_dims) array, optional
        Of the noise, to any scale: the product of the root that `noise.Noise.root` gives with itself. By default the
        noise is alike in all directions, as C3 has it.
    seed : int
        Of the noise that `attainable` is measured on.

    Returns
    -------
    NoiseFit
        Likeness, what could be attained, and whether the model fits.

    Raises
    ------
    C3AlignError
        A covariance of another shape, or without variance; residuals that are fewer than two or all alike.
    """
    rows = as_rows(residuals, "residuals").widened().astype(np.float64)
    n_rows, n_dims = rows.shape
    model = np.eye(n_dims) if covariance is None else check_covariance(covariance, n_dims)
    if not np.isfinite(rows).all():
        raise C3AlignError("residuals hold NaN or infinity; remove or fix those rows")
    if n_rows < 2 or not np.trace(_covariance(rows)) > _ROUNDING * float((rows**2).mean()):
        raise C3AlignError("residuals must be two rows or more that are not all alike; pass those of more pairs")
    root = symmetric_root(model)
    drawn = ops.philox_normal(n_rows, n_dims, seed=seed).astype(np.float64) @ root
    return NoiseFit(_likeness(rows, root), _likeness(drawn, root))


def _covariance(rows: Float64Array) -> Float64Array:
    centered = rows - rows.mean(axis=0)
    found: Float64Array = centered.T @ centered / len(rows)
    return found


def _likeness(rows: Float64Array, root: Float64Array) -> float:
    covariance = _covariance(rows)
    values = np.linalg.eigvalsh(root @ covariance @ root)
    return float(np.sqrt(np.maximum(values, 0)).sum() ** 2 / (np.trace(covariance) * (root**2).sum()))
