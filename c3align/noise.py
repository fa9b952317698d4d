"""How strong the noise is, in one unit: the expected cosine between a clean row and the noisy one.

Papers state the same strength as a variance, a weight or a mix, whose meaning changes with the dimension. For a clean
row of norm r in d dimensions and Gaussian noise of `sigma` per coordinate, ``E cos = r / sqrt(r**2 + d sigma**2)``.

The noise's shape is independent of its strength. `C3Aligner` offers two: "isotropic" (C3, CapDec), with covariance
``sigma**2 I``; and "residual" (CLOSE's covariance noise), with the covariance C of ``eps = u_x - u_y - c`` over paired
unit rows: ``z @ C**(1/2)``, scaled to the trace ``d sigma**2`` where another strength is asked for. As the noise's
expected squared norm is that trace, sigma and cosine mean the same for both.
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
    """Convert a noise cosine to sigma: ``norm * sqrt((1 / cosine**2 - 1) / d)``.

    Parameters
    ----------
    cosine : float in (0, 1]
        Expected cosine between a clean row and the noisy one; 1 is no noise.
    n_dims : int
        Dimension of the rows.
    norm : float > 0
        Norm of the clean rows: 1 for unit rows, ``sqrt(1 - ||mean||**2)`` after centering.

    Returns
    -------
    float
        Standard deviation per coordinate.
    """
    if not 0 < cosine <= 1:
        raise C3AlignError(f"a noise cosine must be in (0, 1], got {cosine}; 1 is no noise")
    return norm * math.sqrt((1 / cosine**2 - 1) / n_dims)


def cosine_from_sigma(sigma: float, n_dims: int, *, norm: float = 1.0) -> float:
    """Convert sigma to a noise cosine, the inverse of `sigma_from_cosine`.

    Parameters
    ----------
    sigma : float >= 0
        Standard deviation per coordinate.
    n_dims : int
        Dimension of the rows.
    norm : float > 0
        As in `sigma_from_cosine`.

    Returns
    -------
    float in (0, 1]
        Expected cosine between a clean row and the noisy one.
    """
    return norm / math.sqrt(norm**2 + n_dims * sigma**2)


def sigma_from_capdec_variance(variance: float) -> float:
    """Convert CapDec's strength to sigma: ``sqrt(variance)``.

    Parameters
    ----------
    variance : float >= 0
        Variance per coordinate, as CapDec states it.

    Returns
    -------
    float
        Standard deviation per coordinate.
    """
    return math.sqrt(variance)


def sigma_from_close_weight(weight: float) -> float:
    """Convert CLOSE's strength to sigma: they are equal.

    Parameters
    ----------
    weight : float >= 0
        What CLOSE multiplies a standard normal by.

    Returns
    -------
    float
        Standard deviation per coordinate.
    """
    return float(weight)


def cosine_from_lafite_mix(mix: float) -> float:
    """Convert LAFITE's strength to a noise cosine: ``(1 - a) / sqrt((1 - a)**2 + a**2)``.

    Parameters
    ----------
    mix : float in [0, 1]
        The weight a in ``(1 - a) x + a eps / ||eps||``, x a unit row.

    Returns
    -------
    float in [0, 1]
        Expected cosine between a clean row and the noisy one.
    """
    return (1 - mix) / math.hypot(1 - mix, mix)


def sigma_from_lafite_mix(mix: float, n_dims: int, *, norm: float = 1.0) -> float:
    """Convert LAFITE's strength to sigma of noise with a fixed norm: ``norm * a / (1 - a) / sqrt(d)``.

    ``(1 - a) x + a eps / ||eps||`` and ``x + a / (1 - a) eps / ||eps||`` have the same direction; pass this sigma with
    ``fixed_norm=True`` to `c3align.ops.corrupt`.

    Parameters
    ----------
    mix : float in [0, 1)
        As in `cosine_from_lafite_mix`.
    n_dims : int
        Dimension of the rows.
    norm : float > 0
        As in `sigma_from_cosine`.

    Returns
    -------
    float
        Standard deviation per coordinate.
    """
    if not 0 <= mix < 1:
        raise C3AlignError(f"mix must be in [0, 1), got {mix}")
    return norm * mix / (1 - mix) / math.sqrt(n_dims)


def paper_sigma(n_dims: int) -> float:
    """The paper's noise at another dimension, with the same norm ``sigma * sqrt(d)``."""
    return PAPER_SIGMA * math.sqrt(PAPER_DIMS / n_dims)


def stream_seed(seed: int, modality: str) -> int:
    """Derive the key of a modality's noise stream: two modalities get independent noise under one seed.

    Parameters
    ----------
    seed : int in [0, 2**64)
        The aligner's seed.
    modality : str
        Name of the modality.

    Returns
    -------
    int in [0, 2**64)
        The seed XOR the 64-bit BLAKE2b digest of the name.
    """
    seed = stream(seed, 0)["seed"]
    return int.from_bytes(hashlib.blake2b(modality.encode(), digest_size=8).digest(), "little") ^ seed


def residual_root(covariances: Iterable[PairCovariance]) -> Float64Array:
    """Compute the symmetric square root of the residuals' covariance, pooled over all pairs with their gaps removed.

    Parameters
    ----------
    covariances : iterable of PairCovariance
        At least one; the result is cached for these objects, which never change, while they exist.

    Returns
    -------
    (n_dims, n_dims) float64
        Read-only.
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
