"""Checks of `C3Aligner`'s parameters, shared by fitting and loading; checked in `fit`, as scikit-learn does."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from c3align import mappings, noise
from c3align._arguments import check_seed
from c3align.centering import AUTO, BATCH
from c3align.errors import C3AlignError

_CHOICES = {
    "zero_rows": ("raise", "keep"),
    "renormalize": (True, False),
    "second_moments": (True, False),
}
NAMES = ("mapping", "renormalize", "noise", "noise_cosine", "sigma", "second_moments", "seed", "zero_rows")
_used = operator.itemgetter(*NAMES)
_found_well: set[tuple[Any, ...]] = set()
MOST_REMEMBERED = 1000
MAX_NAME_LENGTH, MIN_COSINE, MAX_SIGMA = 200, 1e-6, 1e30


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise C3AlignError for the first parameter out of range; other names are ignored."""
    check_mapping(settings["mapping"])
    noise.load(settings["noise"])
    for name, known in _CHOICES.items():
        value = bool(settings[name]) if isinstance(settings[name], np.bool_) else settings[name]
        if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in known):
            raise C3AlignError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    cosine, sigma, seed = settings["noise_cosine"], settings["sigma"], settings["seed"]
    is_auto = isinstance(cosine, str) and cosine == "auto"
    if not is_auto and not (_is_real(cosine) and MIN_COSINE <= cosine <= 1):
        raise C3AlignError(f"noise_cosine must be 'auto' or a number in (0, 1], at least 1e-6, got {cosine!r}")
    if sigma is not None and not (_is_real(sigma) and 0 <= sigma < MAX_SIGMA):
        raise C3AlignError(f"sigma must be None or a number >= 0, below 1e30, got {sigma!r}")
    check_seed(seed)


def check_noise(settings: Mapping[str, Any]) -> None:
    """Refuse to learn for noise by the rows' own covariance after a mapping of which no covariance follows."""
    by_own = noise.load(settings["noise"]).covariance == "own"
    if by_own and isinstance(mappings.load(settings["mapping"]), mappings.Quantile):
        raise C3AlignError(
            f"noise={settings['noise']!r} needs a mapping that is affine, got mapping={settings['mapping']!r}; choose "
            "noise='isotropic', or another mapping such as 'barycenter'"
        )


def check_mapping(mapping: Any) -> None:
    """Accept the name of a mapping, and objects of their kind that do not change."""
    mappings.load(mapping)
    try:
        hash(mapping)
    except TypeError as error:
        raise C3AlignError(
            f"mapping must be hashable, as what it solved is kept, got {mapping!r}; make it a frozen dataclass"
        ) from error


def wanted(settings: Mapping[str, Any]) -> set[str]:
    """What `fit` learns beyond means, of `c3align._state.MORE`."""
    mapping, covariance = mappings.load(settings["mapping"]), noise.load(settings["noise"]).covariance
    second = covariance == "own" or not {"second_moments", "pairs"}.isdisjoint(mapping.needs)
    asked = {
        "second_moments": settings["second_moments"] or second,
        "covariances": covariance == "residual",
        "across": not mappings.is_plain(mapping),
        "sketches": "sketches" in mapping.needs,
    }
    return {what for what, is_asked in asked.items() if is_asked}


def check_used(settings: Mapping[str, Any]) -> None:
    """As `check_settings`, in a microsecond for settings that passed before."""
    values = _used(settings)
    used = (*values, *map(type, values))  # for True equals 1
    try:
        if used in _found_well:
            return
    except TypeError:  # something that cannot be hashed, which no valid setting is
        pass
    check_settings(settings)
    if len(_found_well) < MOST_REMEMBERED:
        _found_well.add(used)


def check_modality_name(name: Any) -> None:
    """Accept any short printable name that `transform` does not reserve."""
    if not isinstance(name, str) or not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise C3AlignError(f"modality must be a short printable string such as 'audio', got {name!r}")
    if name in (AUTO, BATCH):
        raise C3AlignError(f"modality {name!r} is reserved by transform; choose another name such as 'image'")


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
