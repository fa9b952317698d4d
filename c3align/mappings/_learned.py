"""What mappings take, looked at before it is used, and the few steps that many of them share."""

from __future__ import annotations

import math
import numbers
from collections import abc
from typing import Any, Literal, TypeAlias

import numpy as np

from c3align._typing import Float64Array
from c3align.covariance import CovarianceStatistics
from c3align.errors import C3AlignError
from c3align.mappings._affine import RowAffine
from c3align.statistics import ModalityStatistics

Statistics: TypeAlias = abc.Mapping[str, ModalityStatistics | CovarianceStatistics]
Need: TypeAlias = Literal["second_moments", "pairs", "sketches"]
Shrinkage: TypeAlias = Literal["ledoit_wolf", "oas"] | None

MOST_STEPS = 10_000
_SINGULAR = 2.0**-34  # of unit rows in some direction: what the rounding of few rows' sums may make up
NO_VARIANCE = 2.0**-38  # of a column: what the rounding of the exact sums leaves of equal rows


def moments(found: ModalityStatistics | CovarianceStatistics) -> ModalityStatistics:
    """The exact statistics, whatever else is known."""
    return found.statistics if isinstance(found, CovarianceStatistics) else found


def means(statistics: Statistics) -> dict[str, Float64Array]:
    """Mean of each modality.

    Raises
    ------
    C3AlignError
        No modality, one without rows, or modalities of different widths.
    """
    found = {name: moments(known).mean for name, known in statistics.items()}
    if len({len(mean) for mean in found.values()}) != 1:
        sizes = ", ".join(f"{name!r} {len(mean)}" for name, mean in found.items()) or "none"
        raise C3AlignError(f"modalities must be one or more, of one width, got {sizes}; fit rows of one encoder")
    return found


def of_all(statistics: Statistics, known: abc.Mapping[Any, Any] | None, what: str) -> abc.Mapping[Any, Any]:
    """What was learned of each modality beside its statistics."""
    absent = [name for name in statistics if name not in (known or {})]
    if absent:
        raise C3AlignError(f"this mapping needs {what} of {', '.join(map(repr, absent))}; learn them from its rows")
    return known or {}


def second_moments(statistics: Statistics) -> dict[str, CovarianceStatistics]:
    """The same, where all are known with their covariances."""
    found = {name: known for name, known in statistics.items() if isinstance(known, CovarianceStatistics)}
    of_all(statistics, found, "second moments")
    return found


def shrunken(statistics: Statistics, shrinkage: Shrinkage) -> dict[str, Float64Array]:
    """A covariance of full rank for each modality.

    Raises
    ------
    C3AlignError
        A modality whose rows are all the same, or too few for this shrinkage.
    """
    if shrinkage not in ("ledoit_wolf", "oas", None):
        raise C3AlignError(f"shrinkage must be 'ledoit_wolf', 'oas' or None, got {shrinkage!r}; choose one of them")
    found = {}
    for name, known in second_moments(statistics).items():
        check_variance(name, known)
        weight = 0.0 if shrinkage is None else known.oas_shrinkage if shrinkage == "oas" else known.shrinkage
        found[name] = known.shrunken_by(weight)
        cholesky(found[name], f"the covariance of {name!r} ({known.n_rows} rows)")
    return found


def check_variance(name: str, found: CovarianceStatistics) -> None:
    """Refuse a modality whose rows are all the same."""
    if found.statistics.total_variance <= NO_VARIANCE * found.statistics.n_dims:
        raise C3AlignError(
            f"the rows of {name!r} ({found.n_rows}) are all the same, so that they have no covariance; "
            "fit more rows, or choose the mapping 'center'"
        )


def cholesky(covariance: Float64Array, what: str = "a covariance") -> Float64Array:
    """Lower factor of a covariance of unit rows; refuses one that is singular to rounding."""
    try:
        root = np.asarray(np.linalg.cholesky(covariance), np.float64)
    except np.linalg.LinAlgError:
        root = np.zeros_like(covariance)
    if not np.diagonal(root).min() ** 2 > _SINGULAR:
        raise C3AlignError(f"{what} is singular; fit more rows, or choose shrinkage='oas'")
    return root


def centered(
    centers: abc.Mapping[str, Float64Array], maps: abc.Mapping[str, Float64Array], strength: float = 1.0
) -> dict[str, RowAffine]:
    """Each modality around zero, then its map where there is one, ``I + strength * (map - I)``."""
    found = {}
    for name, mean in centers.items():
        whole = maps.get(name)
        found[name] = RowAffine(mean, None if whole is None else whole * strength + (1 - strength) * np.eye(len(mean)))
    return found


def check_target(target: str, statistics: Statistics) -> str:
    """Refuse a target that was not learned."""
    if target not in statistics:
        names = ", ".join(map(repr, statistics))
        raise C3AlignError(f"target must be one of {names}, got {target!r}; pass a mapping with its target=")
    return target


def check_share(name: str, value: float) -> None:
    """Refuse what is no number in [0, 1]."""
    if not (_is_number(value) and 0 <= value <= 1):
        raise C3AlignError(f"{name} must be in [0, 1], got {value}; 0 changes nothing, 1 is the whole mapping")


def check_count(name: str, value: int, least: int, most: int, more: str = "") -> None:
    """Refuse what is no whole number in a range; `more` follows the advice."""
    if not (isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= value <= most):
        fix = f"pass {name}={most} or fewer" if most >= least else "choose the mapping 'center'"
        raise C3AlignError(f"{name} must be from {least} to {most}, got {value}; {fix}{more}")


def check_steps(tolerance: float, max_steps: int) -> None:
    """Refuse what an iteration cannot end by."""
    if not (_is_number(tolerance) and 0 <= tolerance < math.inf):
        raise C3AlignError(f"tolerance must be a finite number from 0, got {tolerance!r}; omit it")
    check_count("max_steps", max_steps, 1, MOST_STEPS)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
