"""How strong the noise is, in one unit: the expected cosine between a clean row and the noisy one.

Papers write the same angle as a variance, a weight or a mix, whose meaning changes with the dimension. For a clean
row of norm r in d dimensions and Gaussian noise of `sigma` per coordinate, ``E cos = r / sqrt(r**2 + d sigma**2)``.

The shape of the noise is apart from its strength. `C3Aligner` knows two: "isotropic" (C3, CapDec), covariance
``sigma**2 I``; and "residual" (CLOSE's covariance noise), the covariance C of ``eps = u_x - u_y - c`` over paired unit
rows, drawn as ``z @ C**(1/2)`` and scaled, where another strength is asked for, to the trace ``d sigma**2``. As the
noise's expected square norm is that trace, sigma and cosine mean the same for both.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from weakref import WeakKeyDictionary

import numpy as np

from c3align._typing import Float64Array
from c3align.covariance import PairCovariance, symmetric_root
from c3align.errors import C3AlignError
from c3align.ops.rowmap import stream

__all__ = [
    "PAPER_SIGMA",
    "cosine_from_lafite_mix",
    "cosine_from_sigma",
    "residual_root",
    "sigma_from_capdec_variance",
    "sigma_from_close_weight",
    "sigma_from_cosine",
    "sigma_from_lafite_mix",
    "stream_seed",
]

PAPER_SIGMA = math.sqrt(0.016)  # at 512 dimensions; C3's released code, after CapDec
PAPER_DIMS = 512


def sigma_from_cosine(cosine: float, n_dims: int, *, norm: float = 1.0) -> float:
    """Standard deviation per coordinate that gives this expected cosine: ``norm * sqrt((1 / cosine**2 - 1) / d)``.

    Parameters
    ----------
    cosine : float in (0, 1]
    n_dims : int
    norm : float > 0
        Norm of the clean rows the noise is added to: 1 for unit rows, ``sqrt(1 - ||mean||**2)`` after centring.
    """
    if not 0 < cosine <= 1:
        raise C3AlignError(f"a noise cosine must be in (0, 1], got {cosine}; 1 is no noise")
    return norm * math.sqrt((1 / cosine**2 - 1) / n_dims)


def cosine_from_sigma(sigma: float, n_dims: int, *, norm: float = 1.0) -> float:
    """Expected cosine between clean and noisy row, the inverse of `sigma_from_cosine`."""
    return norm / math.sqrt(norm**2 + n_dims * sigma**2)


def sigma_from_capdec_variance(variance: float) -> float:
    """CapDec states the variance per coordinate: ``sqrt(variance)``."""
    return math.sqrt(variance)


def sigma_from_close_weight(weight: float) -> float:
    """CLOSE multiplies a standard normal by its weight: the weight is sigma."""
    return float(weight)


def cosine_from_lafite_mix(mix: float) -> float:
    """LAFITE's ``(1 - a) x + a eps / ||eps||`` for unit x: ``(1 - a) / sqrt((1 - a)**2 + a**2)``."""
    return (1 - mix) / math.hypot(1 - mix, mix)


def sigma_from_lafite_mix(mix: float, n_dims: int, *, norm: float = 1.0) -> float:
    """Sigma of the noise of fixed norm that is LAFITE's mix up to scale: ``norm * a / (1 - a) / sqrt(d)``.

    ``(1 - a) x + a eps / ||eps||`` and ``x + a / (1 - a) eps / ||eps||`` point the same way; pass this sigma and
    ``fixed_norm=True`` to `c3align.ops.corrupt`.
    """
    if not 0 <= mix < 1:
        raise C3AlignError(f"a LAFITE mix of {mix} leaves nothing of the row; pass one in [0, 1)")
    return norm * mix / (1 - mix) / math.sqrt(n_dims)


def paper_sigma(n_dims: int) -> float:
    """The paper's noise at another dimension: its norm ``sigma * sqrt(d)`` is what is kept."""
    return PAPER_SIGMA * math.sqrt(PAPER_DIMS / n_dims)


def stream_seed(seed: int, modality: str) -> int:
    """Key of a modality's stream of noise: rows of two modalities under one seed get independent noise.

    Parameters
    ----------
    seed : int in [0, 2**64)
    modality : str

    Returns
    -------
    int in [0, 2**64) : `seed` with the bits changed where the 64-bit BLAKE2b digest of the name has ones.
    """
    seed = stream(seed, 0)["seed"]
    return int.from_bytes(hashlib.blake2b(modality.encode(), digest_size=8).digest(), "little") ^ seed


def residual_root(covariances: Iterable[PairCovariance]) -> Float64Array:
    """Symmetric square root (n_dims, n_dims) of the residuals' covariance, of all pairs together and gaps taken out.

    Worked out once for the same objects, which never change, and forgotten with them.
    """
    first, *others = covariances
    known = _roots.get(first)
    if known is None or known[0] != others:
        weights = [found.n_rows for found in (first, *others)]
        pooled = np.average([found.covariance for found in (first, *others)], axis=0, weights=weights)
        known = _roots[first] = (others, symmetric_root(pooled))
        known[1].flags.writeable = False
    return known[1]


_roots: WeakKeyDictionary[PairCovariance, tuple[list[PairCovariance], Float64Array]] = WeakKeyDictionary()
