"""The strength of noise in the units of several papers, as a sigma per coordinate or as a noise cosine."""

from __future__ import annotations

import math

from c3align._arguments import check_number, check_whole, checked
from c3align.errors import C3AlignError

__all__ = ["PAPER_SIGMA", "cosine_from_alpha_bar", "cosine_from_lafite_mix", "cosine_from_sigma", "paper_sigma"]
__all__ += ["random_cosine_from_sigma", "sigma_from_random_cosine"]
__all__ += ["sigma_from_capdec_variance", "sigma_from_close_weight", "sigma_from_cosine", "sigma_from_lafite_mix"]

PAPER_SIGMA = math.sqrt(0.016)  # at 512 dimensions; C3's released code, after CapDec
PAPER_DIMS = 512
LEAST_COSINE = 1e-100  # whose square is still a number


@checked
def sigma_from_cosine(cosine: float, n_dims: int, *, norm: float = 1.0) -> float:
    """Convert a noise cosine to sigma: ``norm * sqrt((1 / cosine**2 - 1) / d)``.

    Parameters
    ----------
    cosine : float in (0, 1]
        Expected cosine between a clean row and the noisy one; 1 is no noise.
    n_dims : int
        Dimension of the rows.
    norm : float >= 0
        Norm of the clean rows: 1 for unit rows, ``sqrt(1 - ||mean||**2)`` after centering.

    Returns
    -------
    float
        Standard deviation per coordinate.
    """
    if not LEAST_COSINE <= cosine <= 1:
        raise C3AlignError(f"a noise cosine must be in (0, 1], at least 1e-100, got {cosine}; 1 is no noise")
    _check(n_dims, norm)
    return norm * math.sqrt((1 / cosine**2 - 1) / n_dims)


@checked
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
    _check(n_dims, norm, above=True)
    return norm / math.sqrt(norm**2 + n_dims * check_number("sigma", sigma) ** 2)


@checked
def random_cosine_from_sigma(sigma: float, n_dims: int, *, norm: float = 1.0) -> float:
    """Convert sigma to a noise cosine for noise of uniform random strength: ``asinh(s) / s``, the mean over strengths.

    Parameters
    ----------
    sigma : float >= 0
        Standard deviation per coordinate over all rows; at full strength it is ``sqrt(3) sigma``.
    n_dims, norm : int, float > 0
        As in `sigma_from_cosine`; ``s = sqrt(3 d) sigma / norm``.

    Returns
    -------
    float in (0, 1]
        Expected cosine between a clean row and the noisy one.
    """
    _check(n_dims, norm, above=True)
    full = math.sqrt(3 * n_dims) * check_number("sigma", sigma) / norm
    return math.asinh(full) / full if full > 1e-6 else 1.0


@checked
def sigma_from_random_cosine(cosine: float, n_dims: int, *, norm: float = 1.0) -> float:
    """Convert a noise cosine to sigma for noise of uniform random strength, the inverse of `random_cosine_from_sigma`.

    Parameters
    ----------
    cosine : float in (0, 1]
        Expected cosine between a clean row and the noisy one, over all strengths.
    n_dims, norm : int, float > 0
        As in `sigma_from_cosine`.

    Returns
    -------
    float
        Standard deviation per coordinate over all rows.
    """
    _check(n_dims, norm, above=True)
    low, high = 0.0, sigma_from_cosine(cosine, n_dims, norm=norm)
    while random_cosine_from_sigma(high, n_dims, norm=norm) > cosine:
        high *= 2
    for _ in range(60):  # of halving: what is left is rounding
        middle = (low + high) / 2
        low, high = (middle, high) if random_cosine_from_sigma(middle, n_dims, norm=norm) > cosine else (low, middle)
    return high


@checked
def cosine_from_alpha_bar(alpha_bar: float) -> float:
    """Convert the level of unCLIP's noise to a noise cosine: ``sqrt(alpha_bar)``.

    ``sqrt(a) x + sqrt(1 - a) eps`` and ``x + sqrt(1 / a - 1) eps`` have the same direction.

    Parameters
    ----------
    alpha_bar : float in (0, 1]
        The schedule's product of ``1 - beta`` up to the level.

    Returns
    -------
    float in (0, 1]
        Expected cosine between a clean row and the noisy one.
    """
    if not 0 < alpha_bar <= 1:
        raise C3AlignError(f"alpha_bar must be in (0, 1], got {alpha_bar}; 1 is no noise")
    return math.sqrt(alpha_bar)


@checked
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
    return math.sqrt(check_number("variance", variance))


@checked
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
    return float(check_number("weight", weight))


@checked
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
    if not 0 <= mix <= 1:
        raise C3AlignError(f"mix must be in [0, 1], got {mix}; 0 is no noise")
    return (1 - mix) / math.hypot(1 - mix, mix)


@checked
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
        raise C3AlignError(f"mix must be in [0, 1), got {mix}; 0 is no noise")
    _check(n_dims, norm)
    return norm * mix / (1 - mix) / math.sqrt(n_dims)


@checked
def paper_sigma(n_dims: int) -> float:
    """Give the paper's sigma at another dimension, with the same norm ``sigma * sqrt(d)``.

    Parameters
    ----------
    n_dims : int
        Dimension of the rows.

    Returns
    -------
    float
        ``sqrt(0.016)`` at 512.
    """
    return PAPER_SIGMA * math.sqrt(PAPER_DIMS / check_whole("n_dims", n_dims))


def _check(n_dims: int, norm: float, *, above: bool = False) -> None:
    check_whole("n_dims", n_dims)
    check_number("norm", norm, above=above)
