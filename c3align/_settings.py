"""Checks of `C3Aligner`'s parameters, shared by fitting and loading. scikit-learn wants them late: at fit."""

from __future__ import annotations

import math
import numbers
from typing import Any

from c3align.errors import C3AlignError
from c3align.mappings import AUTO, BATCH, MAPPINGS

_NOISES = ("isotropic", "residual")
_CHOICES = {"mapping": MAPPINGS, "noise": _NOISES, "zero_rows": ("raise", "keep"), "renormalize": (True, False)}
MAX_NAME_LENGTH = 200


def check_settings(aligner: Any) -> None:
    """Raise C3AlignError for the first parameter out of its range."""
    for name, known in _CHOICES.items():
        value = getattr(aligner, name)
        if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in known):
            raise C3AlignError(f"{name}={value!r} is unknown; pass one of {', '.join(map(repr, known))}")
    cosine, sigma, seed = aligner.noise_cosine, aligner.sigma, aligner.seed
    if cosine != "auto" and not (_is_real(cosine) and 0 < cosine <= 1):
        raise C3AlignError(f"noise_cosine={cosine!r} cannot be; pass 'auto' or a number in (0, 1]")
    if sigma is not None and not (_is_real(sigma) and math.isfinite(sigma) and sigma >= 0):
        raise C3AlignError(f"sigma={sigma!r} is no standard deviation; pass None or a finite number >= 0")
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= int(seed) < 2**64:
        raise C3AlignError(f"seed={seed!r} does not fit; pass an integer in [0, 2**64)")


def check_modality_name(name: Any) -> None:
    """Any name will do that is not taken by `transform`'s choices and prints in one line."""
    if not isinstance(name, str) or not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise C3AlignError(f"modality {name!r} is no name; pass a short printable string such as 'audio'")
    if name in (AUTO, BATCH):
        raise C3AlignError(f"modality {name!r} means a choice of transform; pass another name such as 'image'")


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
