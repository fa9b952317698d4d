"""The paper's theory of the gap: the contrastive gradient (Lemma 1), its stable region (Lemma 2), the gap at the start.

``s_ij`` is the product of a's row i and b's row j, ``tau`` the temperature (CLIP starts at 0.07). The direction
"a_to_b" has a's rows as anchors and all of b as candidates, "b_to_a" the reverse, "both" is the mean of the two.
All of it holds n_rows**2 products at once, except `stable_region`, which goes in blocks.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, softmax

from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError
from c3align.geometry import unit_rows

__all__ = [
    "GradientInvariants",
    "StableRegion",
    "contrastive_gradient",
    "contrastive_loss",
    "gradient_invariants",
    "predicted_initial_gap",
    "r_min",
    "stable_region",
]

Direction: TypeAlias = Literal["both", "a_to_b", "b_to_a"]
_SHARES = {"both": (0.5, 0.5), "a_to_b": (1.0, 0.0), "b_to_a": (0.0, 1.0)}
TAU = 0.07
BLOCK_ELEMENTS = 1 << 21


class GradientInvariants(NamedTuple):
    """What the gradient on a's rows is in those dimensions in which all rows of b are equal (C3, Lemma 1).

    n_constant : how many such dimensions there are
    one_directional : largest component of the gradient of "a_to_b" there: exactly 0
    summed : largest component of the sum over a's rows of the gradient of "both": 0, so that a's mean stays
    single : largest component of a single row's gradient of "both", which need not be 0
    """

    n_constant: int
    one_directional: float
    summed: float
    single: float


class StableRegion(NamedTuple):
    """Each anchor's margin against what a loss of delta needs (C3, Lemma 2); arrays (n_rows,).

    margin : ``r = s_+ - max s_-``
    required : ``r_min(tau, delta, competition)``
    competition : ``o(tau) = sum_- exp((s_- - max s_-) / tau)``, from 1 to n_rows - 1
    loss : the anchor's own ``log(1 + sum_- exp((s_- - s_+) / tau))``
    inside : whether margin >= required, that is, loss <= delta
    """

    margin: Float64Array
    required: Float64Array
    competition: Float64Array
    loss: Float64Array
    inside: npt.NDArray[np.bool_]


def contrastive_loss(
    a: Array, b: Array, tau: float = TAU, *, direction: Direction = "both", normalize: bool = True
) -> float:
    """CLIP's loss: mean cross-entropy of each row against its own partner among all (C3, section 3).

    Parameters
    ----------
    a, b : (n_rows, n_dims), pairs
    tau : float > 0
    direction : "both", "a_to_b" or "b_to_a"
    normalize : bool
        False takes the rows as they are.
    """
    logits = _logits(*_embeddings(a, b, normalize), tau)
    own = np.diagonal(logits)
    return float(
        sum(share * (logsumexp(logits, axis=1 - i) - own).mean() for i, share in enumerate(_shares(direction)) if share)
    )


def contrastive_gradient(
    a: Array, b: Array, tau: float = TAU, *, direction: Direction = "both", normalize: bool = True
) -> tuple[Float64Array, Float64Array]:
    """Gradient of `contrastive_loss` with respect to a and to b, in closed form (C3, Lemma 1).

    With P the softmax of ``s / tau`` over b and Q that over a, ``dL/da_i = sum_j (P_ij + Q_ij - 2 [i = j]) b_j /
    (2 n tau)``. In one direction rows of P sum to 1, so that only differences of b's rows pull: the gradient of
    "a_to_b" on a is exactly 0.0 wherever all of b are equal, and that of "b_to_a" on b wherever all of a are.

    Parameters
    ----------
    a, b, tau, direction : as in `contrastive_loss`
    normalize : bool
        True goes on through the rows' normalisation, ``(g - (g . u) u) / ||x||``. False takes the rows as they are:
        the embeddings of which the lemma speaks.

    Returns
    -------
    Two (n_rows, n_dims) float64 arrays.
    """
    x, y = _embeddings(a, b, normalize)
    logits = _logits(x, y, tau)
    towards_b, towards_a = _shares(direction)
    on_a, on_b = np.zeros_like(x), np.zeros_like(y)
    if towards_b:
        pull = _less_identity(softmax(logits, axis=1))  # each row sums to 0: b may be moved to b[0], exactly
        on_a += towards_b * (pull @ (y - y[:1]))
        on_b += towards_b * (pull.T @ x)
    if towards_a:
        pull = _less_identity(softmax(logits, axis=0))
        on_a += towards_a * (pull @ y)
        on_b += towards_a * (pull.T @ (x - x[:1]))
    gradients = on_a / (len(x) * tau), on_b / (len(x) * tau)
    if not normalize:
        return gradients
    return _through_norm(gradients[0], a, x), _through_norm(gradients[1], b, y)


def gradient_invariants(a: Array, b: Array, tau: float = TAU) -> GradientInvariants:
    """Check Lemma 1 on embeddings: what moves a in the dimensions in which b is constant.

    Parameters
    ----------
    a, b : (n_rows, n_dims), pairs
        Taken as they are: normalising rows of unequal norm would end their being constant.
    tau : float > 0
    """
    constant = np.ptp(_plain_rows(b, "b"), axis=0) == 0
    one = contrastive_gradient(a, b, tau, direction="a_to_b", normalize=False)[0][:, constant]
    both = contrastive_gradient(a, b, tau, normalize=False)[0][:, constant]
    largest = [float(np.abs(values).max(initial=0)) for values in (one, both.sum(axis=0), both)]
    return GradientInvariants(int(constant.sum()), *largest)


@overload
def r_min(tau: float, delta: float, competition: float = 1.0) -> float: ...
@overload
def r_min(tau: float, delta: float, competition: Float64Array) -> Float64Array: ...
def r_min(tau: float, delta: float, competition: float | Float64Array = 1.0) -> float | Float64Array:
    """Margin from which on an anchor's loss is at most delta: ``tau log(o(tau) / (exp(delta) - 1))`` (C3, Lemma 2).

    Parameters
    ----------
    tau, delta : float > 0
    competition : float or array
        o(tau) of each anchor, see `StableRegion`; n_rows - 1 is the most it can be, 1 the least.
    """
    if not (tau > 0 and delta > 0):
        raise C3AlignError(f"tau={tau} and delta={delta} must be above 0")
    needed = tau * (np.log(competition) - np.log(np.expm1(delta)))
    return needed if isinstance(competition, np.ndarray) else float(needed)


def stable_region(a: Array, b: Array, tau: float, delta: float) -> StableRegion:
    """Which pairs lie where the loss no longer pulls: a's rows as anchors, b's as candidates (C3, Lemma 2).

    A low temperature needs a small margin, so its pairs stop far from one another: that is the residual.

    Parameters
    ----------
    a, b : (n_rows, n_dims), pairs; exchange them for the other direction
    tau, delta : float > 0
    """
    x, y = _embeddings(a, b, True)
    if len(x) < 2:
        raise C3AlignError("a margin needs a second pair to compare with; pass two or more")
    step = max(1, BLOCK_ELEMENTS // len(y))
    parts = [_anchors(x, y, start, start + step, tau) for start in range(0, len(x), step)]
    margin, competition, loss = (np.concatenate(part) for part in zip(*parts))
    required = r_min(tau, delta, competition)
    return StableRegion(margin, required, competition, loss, margin >= required)


def _anchors(x: Float64Array, y: Float64Array, start: int, stop: int, tau: float) -> tuple[Float64Array, ...]:
    """Margin, competition and loss of some anchors."""
    scores = x[start:stop] @ y.T
    rows = np.arange(len(scores))
    own = scores[rows, start + rows]
    scores[rows, start + rows] = -np.inf
    best = scores.max(axis=1)
    competition = np.exp((scores - best[:, None]) / tau).sum(axis=1)
    loss = np.logaddexp(0, logsumexp((scores - own[:, None]) / tau, axis=1))
    return own - best, competition, loss


def _embeddings(a: Array, b: Array, normalize: bool) -> tuple[Float64Array, Float64Array]:
    if a.shape != b.shape:
        raise C3AlignError(f"pairs need equal shapes, got {a.shape} and {b.shape}; pass row i of b as partner of a's")
    return (unit_rows(a), unit_rows(b)) if normalize else (_plain_rows(a, "a"), _plain_rows(b, "b"))


def _plain_rows(X: Array, name: str = "X") -> Float64Array:
    """Rows as they are, in float64."""
    rows = np.asarray(X, np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        where = f"{len(bad)} of {len(rows)} rows, first in row {bad[0]}"
        raise C3AlignError(f"{name} holds NaN or infinity in {where}; remove or fix those rows")
    return rows


def _logits(x: Float64Array, y: Float64Array, tau: float) -> Float64Array:
    if not tau > 0:
        raise C3AlignError(f"tau must be above 0, got {tau}")
    return x @ y.T / tau


def _shares(direction: Direction) -> tuple[float, float]:
    if direction not in _SHARES:
        raise C3AlignError(f"direction={direction!r} is unknown; pass one of {', '.join(_SHARES)}")
    return _SHARES[direction]


def _less_identity(shares: Float64Array) -> Float64Array:
    np.fill_diagonal(shares, np.diagonal(shares) - 1)
    return shares


def _through_norm(gradient: Float64Array, X: Array, unit: Float64Array) -> Float64Array:
    """Chain rule through ``u = x / ||x||``."""
    norms = np.linalg.norm(_plain_rows(X), axis=1, keepdims=True)
    return (gradient - (gradient * unit).sum(axis=1, keepdims=True) * unit) / norms


def predicted_initial_gap(n_dims: int, n_ineffective: int, n_effective: tuple[int, int] = (0, 0)) -> float:
    """Length of the gap that two encoders have by their random constants alone (C3, section 3).

    ``sqrt(2 d_ie / d)`` in the `n_ineffective` dimensions that neither uses; with those that only a, or only b, uses
    ``sqrt((d_e1 + d_e2 + 2 d_ie) / d)``. Every coordinate is taken for a standard normal, constant over the rows where
    its modality does not use it; dimensions that both use add nothing.

    Parameters
    ----------
    n_dims, n_ineffective : int
    n_effective : (int, int)
        Dimensions that a alone uses, and that b alone uses.
    """
    counts = (n_ineffective, *n_effective)
    if n_dims < 1 or min(counts) < 0 or sum(counts) > n_dims:
        raise C3AlignError(f"{counts} dimensions are not part of {n_dims}; pass counts that fit into n_dims")
    return math.sqrt((sum(n_effective) + 2 * n_ineffective) / n_dims)
