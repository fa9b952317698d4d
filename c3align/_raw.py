"""Rows that were calibrated aligned and are given raw: told by where they lie along their modality's raw mean."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from c3align._arguments import as_floats, check_by_modality
from c3align._typing import Float64Array
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.ops.arrays import as_rows, is_on_device
from c3align.ops.glance import can_look, positions

__all__ = ["RawPlace", "places_of", "warn_of_raw"]

LOOKED_AT = 64  # rows of a batch
ENOUGH = 8  # rows whose mean is judged; fewer may all be extreme
HALF_WAY, FEW_WAY, WIDENED = 1 / 2, 3 / 4, 1.25  # of the way from aligned rows, around 0, to raw ones, around 1
TOLD = 3 / 4  # aligned rows of the calibration that reach further leave nothing to tell raw ones by


class RawPlace(NamedTuple):
    """The raw mean over its squared norm, along which raw rows lie around 1, and the furthest aligned row."""

    direction: Float64Array
    most: float


def places_of(rows: Mapping[str, Any], means: Mapping[str, Any]) -> dict[str, RawPlace]:
    """Find where raw rows lie, for each modality whose raw rows differ from its aligned ones (`rows`, of norm 1).

    Raises
    ------
    C3AlignError
        Means of other modalities or widths.
    """
    found = {}
    check_by_modality("raw_means", means)
    for name, given in means.items():
        mean = as_floats("raw_means", given)
        if name not in rows or mean.shape != rows[name].shape[1:]:
            raise C3AlignError(f"raw_means must be one mean a modality of the rows, got one of {name!r}; pass theirs")
        direction = mean / max(float(mean @ mean), 1e-30)
        most = float(np.abs(rows[name] @ direction).max(initial=0))
        if most < TOLD and mean.any():
            found[name] = RawPlace(direction, most)
    return found


def warn_of_raw(rows: Any, name: str, places: Mapping[str, RawPlace], stacklevel: int = 3) -> None:
    """Warn of rows of a modality that lie around its raw mean, a single one too; `rows` are units, maybe a tensor."""
    if name not in places or not rows.shape[0] or not can_look(rows):
        return
    sample = slice(None, None, -(-rows.shape[0] // LOOKED_AT))
    direction, most = places[name]
    along = positions(rows[sample] if is_on_device(rows) else as_rows(rows).take(sample), direction)
    limit = max(HALF_WAY, most) if len(along) >= ENOUGH else max(FEW_WAY, WIDENED * most)
    if len(along) and float(along.mean()) > limit:
        text = f"these look like raw rows of {name!r}, as they lie around its raw mean; pass what transform gave"
        warnings.warn(text, ModalityMeanWarning, stacklevel=stacklevel)
