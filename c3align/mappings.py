"""The deterministic part of the alignment: which mean belongs to a batch, and the way there and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from c3align._typing import Float64Array
from c3align.errors import C3AlignError
from c3align.ops import reference
from c3align.statistics import ModalityStatistics

__all__ = ["BATCH", "MAPPINGS", "Choice", "choose_mean", "invert_center"]

MAPPINGS = ("center",)
AUTO, BATCH = "auto", "batch"  # names no modality may have
MIN_ROWS_FOR_BATCH_MEAN = 64


@dataclass(frozen=True)
class Choice:
    """Which mean to subtract: a fitted modality's name or "batch", and what the user must hear about it."""

    modality: str
    warning: str | None = None


def choose_mean(modality: str, fitted: Mapping[str, ModalityStatistics], batch: ModalityStatistics) -> Choice:
    """Decide whose mean a batch is centred by.

    ===================== ============================= =====================================================
    `modality`            fitted, and where the batch   the mean
    ===================== ============================= =====================================================
    a name                                              that modality's (a warning when the batch is far)
    "batch"                                             the batch's own
    "auto"                two or more, one clearly      the nearest one's
                          nearest
    "auto"                two or more, none clearly     error: name the modality
    "auto"                one, near                     that one's
    "auto"                one, far, 64 rows or more     the batch's own, with a warning
    "auto"                one, far, fewer rows          that one's, with a warning
    ===================== ============================= =====================================================

    Far means a gap and not a topic: the squared distance of the means, less its sampling error, exceeds the
    fitted modality's total variance.

    Parameters
    ----------
    modality : str
    fitted : mapping of name to statistics, not empty; it holds `modality` when that is a name
    batch : statistics of the batch, or of an even sample of it

    Raises
    ------
    C3AlignError
        When no fitted mean is clearly nearest.
    """
    if modality == BATCH:
        return Choice(BATCH)
    if not batch.n_rows and (modality != AUTO or len(fitted) == 1):
        return Choice(next(iter(fitted)) if modality == AUTO else modality)
    if modality != AUTO:
        return Choice(modality, _far_from_named(modality, fitted[modality], batch))
    if len(fitted) > 1:
        return Choice(_clearly_nearest(fitted, batch))
    ((name, statistics),) = fitted.items()
    return _choose_with_one(name, statistics, batch)


def _squared_distance(statistics: ModalityStatistics, batch: ModalityStatistics) -> float:
    """Squared distance of the means, less what sampling alone would give."""
    difference = batch.mean - statistics.mean
    sampling = statistics.total_variance * (1 / batch.n_rows + 1 / statistics.n_rows)
    return float(difference @ difference) - sampling


def _is_far(statistics: ModalityStatistics, batch: ModalityStatistics, spread: float = 1.0) -> bool:
    # the floor keeps rounding from counting as distance when all fitted rows are one
    return _squared_distance(statistics, batch) > max(spread * statistics.total_variance, 1e-9)


def _far_from_named(name: str, statistics: ModalityStatistics, batch: ModalityStatistics) -> str | None:
    if not _is_far(statistics, batch):
        return None
    return (
        f"the rows given as modality={name!r} lie {_distance(statistics, batch):.2f} from its mean, a gap rather "
        f"than a topic, and were centred by it all the same; check that they are {name!r} rows of the encoder that "
        "fit saw, or pass modality='batch'"
    )


def _choose_with_one(name: str, statistics: ModalityStatistics, batch: ModalityStatistics) -> Choice:
    if not _is_far(statistics, batch):
        return Choice(name)
    where = f"only {name!r} is fitted and these rows lie {_distance(statistics, batch):.2f} from its mean"
    mend = "call partial_fit(X, modality='image') (or what they are) on representative rows"
    if batch.n_rows < MIN_ROWS_FOR_BATCH_MEAN:
        few = f"too few ({batch.n_rows}) to learn their own mean from"
        return Choice(name, f"{where}, a gap rather than a topic; they are {few} and were centred by it; {mend}")
    return Choice(
        BATCH,
        f"{where}, a gap rather than a topic, so they were centred by their own mean, with an expected error of "
        f"{batch.standard_error:.3f}; to keep that mean, {mend}",
    )


def _distance(statistics: ModalityStatistics, batch: ModalityStatistics) -> float:
    return math.dist(batch.mean, statistics.mean)


def _clearly_nearest(fitted: Mapping[str, ModalityStatistics], batch: ModalityStatistics) -> str:
    """Clear when the batch lies in the near third of the way to every other fitted mean, and not far from its own.

    Measured on CLIP's COCO pairs: every row alone is told apart; one in a thousand would not be at a quarter, and
    one lies beyond the total variance of its own modality, hence twice that.
    """
    if batch.n_rows:
        distances = {name: _squared_distance(statistics, batch) for name, statistics in fitted.items()}
        best, *others = sorted(distances, key=distances.__getitem__)
        apart = {name: math.dist(fitted[best].mean, fitted[name].mean) ** 2 for name in others}
        clear = all(distances[name] - distances[best] > apart[name] / 3 > 0 for name in others)
        if clear and not _is_far(fitted[best], batch, spread=2.0):
            return best
    names = ", ".join(repr(name) for name in fitted)
    raise C3AlignError(f"no fitted mean ({names}) is clearly nearest to these rows; pass modality= with one of them")


def invert_center(aligned: Float64Array, mean: Float64Array, *, renormalized: bool) -> Float64Array:
    """Unit rows u from ``z = unit(u - mean)``, in closed form: ``u = mean + t z`` with ``||u|| = 1``.

    ``t = -mean.z + sqrt((mean.z)**2 + 1 - ||mean||**2)`` is the only positive root while ``||mean|| < 1``. Rows that
    were not renormalised need ``z + mean`` alone, brought back to norm 1.

    Parameters
    ----------
    aligned : (n_rows, n_dims) float64; unit rows when `renormalized`
    mean : (n_dims,) float64
    renormalized : bool

    Returns
    -------
    (n_rows, n_dims) float64; each row depends on its own row alone, to the bit.
    """
    if renormalized:
        along = reference.row_sum(aligned * mean)
        inside = np.maximum(0.0, along * along + (1 - reference.row_sum(mean[None] ** 2)))
        return mean + (np.sqrt(inside) - along)[:, None] * aligned
    return reference.unit_rows(aligned + mean)[0]
