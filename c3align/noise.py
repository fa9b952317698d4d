"""How strong the noise is, in one unit: the expected cosine between a clean row and the noisy one.

Papers state the same strength as a variance, a weight or a mix, whose meaning changes with the dimension. For a clean
row of norm r in d dimensions and Gaussian noise of `sigma` per coordinate, ``E cos = r / sqrt(r**2 + d sigma**2)``. An
aligner takes r as the root of the mean square over its rows: where some lie far further from the mean than most, most
keep less of themselves, and the mean cosine is lower.

The noise's shape is independent of its strength: whatever it is, its expected squared norm is ``d sigma**2``, so that
sigma and cosine mean the same for all; but the sigma of "random" is the largest of a row. `C3Aligner(noise=...)` takes
a `Noise`, or one of these names:

| `noise` | |
|---|---|
| "isotropic" | ``sigma z`` (C3, CapDec) |
| "residual" | with the covariance C of ``eps = u_x - u_y - c`` over paired unit rows (CLOSE): ``z @ C**1/2`` |
| "half_power" | with the square root of the rows' own covariance S, ``z @ S**1/4``: needs neither pairs nor pictures |
| "fixed_norm" | of one norm for all rows (LAFITE; CapDec's ball, whose radii lie within ``1 / d`` of one another) |
| "random" | times a uniform number in (0, 1) per row (LinCIR) |
| "orthogonal" | without a part along the gap (C3's ImageBind branch) |
"""

from __future__ import annotations

import hashlib
import math
import operator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from c3align import ops
from c3align._arguments import as_groups, check_choice, check_number, checked
from c3align._matrices import spectrum
from c3align._typing import Array, Float64Array
from c3align._units import (
    PAPER_SIGMA,
    cosine_from_alpha_bar,
    cosine_from_lafite_mix,
    cosine_from_sigma,
    paper_sigma,
    random_cosine_from_sigma,
    sigma_from_capdec_variance,
    sigma_from_close_weight,
    sigma_from_cosine,
    sigma_from_lafite_mix,
    sigma_from_random_cosine,
)
from c3align.errors import KEEP, C3AlignError, without_advice
from c3align.ops import reference
from c3align.ops.arrays import as_rows
from c3align.ops.rowmap import NoiseRequest, stream

__all__ = ["NAMED", "PAPER_SIGMA", "Noise", "NoiseName", "cosine_from_alpha_bar", "cosine_from_lafite_mix"]
__all__ += ["cosine_from_sigma", "load", "paper_sigma", "random_cosine_from_sigma", "row_levels"]
__all__ += ["sigma_from_capdec_variance", "sigma_from_random_cosine"]
__all__ += ["sigma_from_close_weight", "sigma_from_cosine", "sigma_from_groups", "sigma_from_lafite_mix", "stream_seed"]

_ROUNDING = 1e-9
NoiseName: TypeAlias = Literal["isotropic", "residual", "half_power", "fixed_norm", "random", "orthogonal"]
_COVARIANCES = ("isotropic", "own", "residual")


@dataclass(frozen=True)
class Noise:
    """The shape of the noise that `C3Aligner.corrupt` adds.

    Parameters
    ----------
    covariance : "isotropic", "own" or "residual"
        The same in all directions; that of the rows' own modality, after the mapping; that of the residuals of pairs.
    power : float > 0
        To which the covariance is raised: 1/2 makes "own" noise less like the rows, and suits it better.
    rank : int or None
        How many of its largest directions are kept; the rest of the variance is spread evenly over the others.
    fixed_norm, random_strength : bool
        Whether every row's noise has one norm; whether it is multiplied by a uniform number in (0, 1) of the row's own.
        Isotropic noise alone.
    orthogonal : bool
        Whether it has no part along the gap between the row's modality and the mean of the others. Isotropic alone.

    Examples
    --------
    >>> Noise("own", power=0.5) == NAMED["half_power"]
    True
    """

    covariance: Literal["isotropic", "own", "residual"] = "isotropic"
    power: float = 1.0
    rank: int | None = None
    fixed_norm: bool = False
    random_strength: bool = False
    orthogonal: bool = False

    def __post_init__(self) -> None:
        check_choice("covariance", self.covariance, _COVARIANCES)
        check_number("power", self.power, above=True)
        object.__setattr__(self, "power", float(self.power))
        if self.rank is not None and not (type(self.rank) is int and self.rank > 0):
            raise C3AlignError(f"rank must be None or an integer above 0, got {self.rank!r}; omit it for all")
        for name in ("fixed_norm", "random_strength", "orthogonal"):
            if type(getattr(self, name)) is not bool:
                raise C3AlignError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.has_covariance and (self.fixed_norm or self.random_strength or self.orthogonal):
            raise C3AlignError(
                "a covariance is the whole shape of the noise; omit fixed_norm, random_strength and orthogonal"
            )

    @property
    def has_covariance(self) -> bool:
        """Whether the noise is not alike in all directions."""
        return self.covariance != "isotropic"

    def root(self, covariance: Float64Array, sigma: float) -> Float64Array:
        """Compute what normals are multiplied by: a root of the shaped covariance, of trace ``d sigma**2``.

        Parameters
        ----------
        covariance : (n_dims, n_dims) float64
            Symmetric, with some variance.
        sigma : float >= 0
            Standard deviation per coordinate.

        Returns
        -------
        (n_dims, n_dims) float64
            Symmetric; eigenvalues below rounding count as zero.
        """
        values, vectors = spectrum(covariance)
        sigma = check_number("sigma", sigma)
        if self.rank is not None and self.rank < len(values):
            values[: -self.rank] = values[: -self.rank].mean()
        values = (values / values[-1]) ** self.power
        found: Float64Array = (vectors * np.sqrt(values)) @ vectors.T
        ratio = sigma * math.sqrt(len(values) / values.sum())
        return found if abs(ratio - 1) < _ROUNDING else found * ratio


NAMED = {
    "isotropic": Noise(),
    "residual": Noise("residual"),
    "half_power": Noise("own", power=0.5),
    "fixed_norm": Noise(fixed_norm=True),
    "random": Noise(random_strength=True),
    "orthogonal": Noise(orthogonal=True),
}


def load(noise: Any) -> Noise:
    """Find the noise of a name.

    Parameters
    ----------
    noise : str or Noise
        One of `NAMED`, or a noise, which comes back as it is. `C3AlignError` for anything else.

    Returns
    -------
    Noise
        Its shape.
    """
    if isinstance(noise, Noise):
        return noise
    if not isinstance(noise, str) or noise not in NAMED:
        raise C3AlignError(f"noise must be one of {', '.join(map(repr, NAMED))}, or a noise.Noise, got {noise!r}")
    return NAMED[noise]


def sigma_from_groups(X: Array, groups: npt.ArrayLike) -> float:
    """Estimate sigma from several rows about each thing, such as five captions of one picture: no picture is needed.

    Two rows about one thing differ as a row and its partner in another modality are taken to: their residual has the
    variance ``2 V``, with V that of unit rows around the mean of their group.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor, floating
        Rows of one modality, of any norm.
    groups : (n_rows,) integers
        What each row is about; at least one group has two rows.

    Returns
    -------
    float
        Standard deviation per coordinate, ``sqrt(2 V / d)``.
    """
    unit = as_rows(X).widened()
    with without_advice(KEEP):
        rows = ops.normalize(unit).astype(np.float64)
    numbers = as_groups("groups", groups, len(rows))
    _, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    n_free = len(rows) - len(counts)
    if not n_free:
        raise C3AlignError("no two rows are about one thing; pass the same number for rows that are")
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, which, rows)
    away = rows - (means / counts[:, None])[which]
    return math.sqrt(2 * float((away**2).sum()) / n_free / rows.shape[1])


@checked
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


@checked
def row_levels(n_rows: int, *, seed: int, row_offset: int = 0, row_ids: npt.ArrayLike | None = None) -> Float64Array:
    """Find the level of each row's noise under ``noise="random"``, which unCLIP's decoder is told.

    It is what the row's noise was multiplied by: with sigma of the aligner, the row's own is ``level * sqrt(3) sigma``.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    seed : int in [0, 2**64)
        The stream of the noise: ``stream_seed(seed, modality)`` for rows of `C3Aligner.corrupt`.
    row_offset, row_ids : optional
        As the noise was drawn with.

    Returns
    -------
    (n_rows,) float64
        Uniform in (0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from c3align import C3Aligner
    >>> rows = np.random.default_rng(0).normal(size=(500, 8))
    >>> aligner = C3Aligner(noise="random", sigma=0.1).fit(rows)
    >>> noisy = aligner.corrupt(rows, modality="text", seed=7)
    >>> levels = row_levels(500, seed=stream_seed(7, "text"))
    >>> nearness = (noisy * aligner.transform(rows, modality="text")).sum(axis=1)
    >>> bool(nearness[levels < 0.3].mean() > nearness[levels > 0.7].mean())
    True
    """
    n_rows = operator.index(n_rows)
    if n_rows < 0:
        raise C3AlignError(f"n_rows must be at least 0, got {n_rows}; pass the number of rows")
    request = NoiseRequest(0.0, None, False, True, seed, row_offset, row_ids)
    return np.asarray(reference.row_uniform(n_rows, **request.place(n_rows)), np.float64)
