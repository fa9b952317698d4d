"""How strong an aligner's noise is, and of what shape: as asked, by the pairs, or the paper's; after the mapping.

Pairs of unit rows (u, v) that are mapped by ``u A`` and ``v B`` have residuals of covariance
``A' S_u A + B' S_v B - A' C B - B' C' A``, with C the covariance across.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from c3align import noise
from c3align._state import State
from c3align._typing import Float64Array
from c3align.cross_covariance import CrossCovariance
from c3align.errors import C3AlignError
from c3align.mappings import CENTER, RowAffine, RowTransform, is_plain

__all__ = ["noise_of", "sigma"]

TOLERATED = 0.05  # of a cosine
DROWNED = 0.25  # cosine with what they were, of rows of which noise leaves hardly anything
MIN_PAIRS_FOR_NOISE = 2  # one pair has no residual: its difference is the gap


def sigma(state: State, settings: Mapping[str, Any]) -> float:
    """Standard deviation of the noise per coordinate: as asked, by the cosine, from the pairs, or the paper's."""
    asked, cosine = settings["sigma"], settings["noise_cosine"]
    if asked is not None:
        return float(asked)
    if cosine != "auto":
        convert = noise.sigma_from_random_cosine if _is_random(settings) else noise.sigma_from_cosine
        return convert(float(cosine), state.n_dims, norm=_rms_norm(state, settings["mapping"]))
    found = _pairs_sigma(state, settings["mapping"])
    return noise.paper_sigma(state.n_dims) if found is None else found


def noise_of(state: State, settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What `ops.corrupt` takes for a modality's rows: sigma, a number or a root of a covariance, and how it is shaped.

    Raises
    ------
    C3AlignError
        When what the noise's shape follows from was not learned.
    """
    key = settings["noise"], settings["sigma"], settings["noise_cosine"], name
    return dict(_once(state, key, settings["mapping"], lambda: _noise_of(state, settings, name)))


def _noise_of(state: State, settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    shape, found = noise.load(settings["noise"]), sigma(state, settings)
    if settings["sigma"] is None and name in state.usable:
        (_warn_of_other_cones if settings["noise_cosine"] != "auto" else _warn_of_drowned)(state, settings, name, found)
    if shape.has_covariance and found:
        key = shape, name if shape.covariance == "own" else "", found
        return {"sigma": _once(state, key, settings["mapping"], lambda: _root(state, settings, name))}
    how: dict[str, Any] = {"sigma": found, "fixed_norm": shape.fixed_norm, "random_strength": shape.random_strength}
    if shape.random_strength:
        how["sigma"] = found * math.sqrt(3)  # the mean square of uniform numbers is a third
    if shape.orthogonal and found:
        how |= {"direction": _gap(state, settings["mapping"], name)}
        how["sigma"] *= math.sqrt(state.n_dims / max(1, state.n_dims - 1))
    return how


def _warn_of_other_cones(state: State, settings: Mapping[str, Any], name: str, found: float) -> None:
    """Say so where the cosine of all modalities together is far from that of this one's rows."""
    asked = float(settings["noise_cosine"])
    norm = math.sqrt(_mean_square(state, name, state.row_map(name, settings["mapping"])))
    gives, takes = noise.cosine_from_sigma, noise.sigma_from_cosine
    if _is_random(settings):
        gives, takes = noise.random_cosine_from_sigma, noise.sigma_from_random_cosine
    own = gives(found, state.n_dims, norm=norm) if norm else asked
    if abs(own - asked) > TOLERATED:
        warnings.warn(
            f"noise_cosine={asked:g} is that of the rows of all modalities together, and {name!r} rows, which lie "
            f"closer to or further from their mean than others, get one of {own:.2f}; for {asked:g} pass "
            f"sigma={takes(asked, state.n_dims, norm=norm):.4g}",
            stacklevel=5,
        )


def _warn_of_drowned(state: State, settings: Mapping[str, Any], name: str, found: float) -> None:
    """Say so where the residuals of pairs, as large as the wider side, are far larger than this side's rows."""
    norm = math.sqrt(state.statistics[name].total_variance)
    if not (norm and is_plain(settings["mapping"]) and _pairs_sigma(state, CENTER)):
        return
    if (own := noise.cosine_from_sigma(found, state.n_dims, norm=norm)) < DROWNED:
        warnings.warn(
            f"noise as strong as what pairs differ by leaves {name!r} rows, which lie far closer to their mean than "
            f"their partners, a cosine of {own:.2f} with what they were; corrupt the partners, or pass sigma=",
            stacklevel=5,
        )


def _root(state: State, settings: Mapping[str, Any], name: str) -> Float64Array:
    """A root (n_dims, n_dims) of the covariance that the noise has."""
    shape, mapping = noise.load(settings["noise"]), settings["mapping"]
    covariance = _own(state, mapping, name) if shape.covariance == "own" else _of_pairs(state, mapping)
    if not np.trace(covariance) > 0:
        raise C3AlignError("there are no residuals to take a covariance from; choose noise='isotropic'")
    root = shape.root(covariance, sigma(state, settings))
    root.flags.writeable = False
    return root


def _own(state: State, mapping: Any, name: str) -> Float64Array:
    """Covariance of a modality's mapped rows."""
    row_map = state.row_map(name, mapping) if name in state.statistics else None
    if name not in state.second_moments or not isinstance(row_map, RowAffine):
        raise C3AlignError(
            "this noise follows from the covariance of a fitted modality's rows, by a mapping that is affine, and "
            f"{name!r} has none; fit it with this noise=, pass its modality=, or choose noise='isotropic'"
        )
    return row_map.on_covariance(state.second_moments[name].covariance, row_map)


def _of_pairs(state: State, mapping: Any) -> Float64Array:
    """Covariance of the residuals of all pairs, with their gaps removed."""
    if not state.covariances or _pairs_sigma(state, mapping) is None:
        raise C3AlignError(
            "noise='residual' takes its covariance from two pairs or more, and none were learned with it; "
            "call fit(X, y) with row i of y as the partner of row i of X, or choose noise='isotropic'"
        )
    if not is_plain(mapping):
        return _mapped_residuals(state, mapping)
    found = [part for part in state.covariances.values() if part.n_rows >= MIN_PAIRS_FOR_NOISE]
    weights = [part.n_rows for part in found]
    return np.asarray(np.average([part.covariance for part in found], axis=0, weights=weights))


def _gap(state: State, mapping: Any, name: str) -> Float64Array:
    """The mean of a modality's rows less that of the others', as the mapping turns it."""
    others = [found.mean for other, found in state.usable.items() if other != name]
    if name not in state.usable or not others:
        raise C3AlignError(
            "noise='orthogonal' needs the gap between two fitted modalities; fit another one, or choose "
            "noise='isotropic'"
        )
    row_map = state.row_map(name, mapping)
    if not isinstance(row_map, RowAffine):
        raise C3AlignError("noise='orthogonal' needs a mapping that is affine; choose noise='isotropic'")
    gap = state.statistics[name].mean - np.mean(others, axis=0)
    return row_map.turned(gap)


def _pairs_sigma(state: State, mapping: Any) -> float | None:
    """That of the residuals of all pairs; None where fewer than two were seen of any two modalities."""
    found = [pairs for pairs in state.pairs.values() if pairs.n_rows >= MIN_PAIRS_FOR_NOISE]
    if not found:
        return None
    plain = float(np.sqrt(np.average([p.sigma**2 for p in found], weights=[p.n_rows for p in found])))
    if is_plain(mapping):
        return plain
    if not all(isinstance(state.row_map(name, mapping), RowAffine) for name in state.usable):
        size = _rms_norm(state, CENTER)
        return plain * _rms_norm(state, mapping) / size if size else plain  # as the rows themselves, by and large
    total = _once(state, "total", mapping, lambda: float(np.trace(_mapped_residuals(state, mapping))))
    return math.sqrt(max(total, 0.0) / state.n_dims)


def _mapped_residuals(state: State, mapping: Any) -> Float64Array:
    """Covariance of the residuals of all pairs after the mapping, each pair of modalities around its own mean."""
    if not state.across:
        raise C3AlignError(
            "the pairs were learned without products across, from which this mapping's noise follows; "
            "fit them again with the same mapping=, or pass sigma= or noise_cosine="
        )
    known = {both: found for both, found in state.across.items() if found.n_rows >= MIN_PAIRS_FOR_NOISE}
    parts = [_residuals(found, *(state.row_map(name, mapping) for name in both)) for both, found in known.items()]
    return np.asarray(np.average(parts, axis=0, weights=[found.n_rows for found in known.values()]))


def _residuals(found: CrossCovariance, a: RowTransform, b: RowTransform) -> Float64Array:
    if not (isinstance(a, RowAffine) and isinstance(b, RowAffine)):
        raise C3AlignError(
            "of this mapping, which is not affine, no covariance follows from statistics; choose noise='isotropic'"
        )
    across = a.on_covariance(found.covariance, b)
    return a.on_covariance(found.x.covariance, a) + b.on_covariance(found.y.covariance, b) - across - across.T


def _rms_norm(state: State, mapping: Any) -> float:
    """Root mean square norm of the mapped rows of all modalities: centered, ``sqrt(1 - ||mean||**2)``."""
    found = state.usable
    if not found:
        raise C3AlignError("no rows with a direction were learned, of which noise could be a part; fit some")
    squares = [_mean_square(state, name, state.row_map(name, mapping)) for name in found]
    return float(np.sqrt(np.average(squares, weights=[statistics.n_rows for statistics in found.values()])))


def _mean_square(state: State, name: str, row_map: RowTransform) -> float:
    """Mean squared norm of a modality's mapped rows, before they are brought to norm 1."""
    statistics = state.statistics[name]
    if not isinstance(row_map, RowAffine):
        goal: Any = getattr(row_map, "goal", None)
        if goal is None:
            raise C3AlignError("the size of this mapping's rows is not known from statistics; pass sigma=")
        return float((goal**2).mean(axis=0).sum())
    center = row_map.apply(statistics.mean[None])[0]
    if row_map.linear is None:
        return statistics.total_variance + float(center @ center)
    if not row_map.has_matrix:
        return float(row_map.linear**2 @ statistics.variance + center @ center)
    if name not in state.second_moments:
        raise C3AlignError("the size of this mapping's rows needs second_moments=True; fit with it, or pass sigma=")
    products = state.second_moments[name].covariance @ row_map.linear
    return float(np.sum(row_map.linear * products) + center @ center)


def _is_random(settings: Mapping[str, Any]) -> bool:
    return noise.load(settings["noise"]).random_strength


def _once(state: State, what: Any, mapping: Any, make: Any) -> Any:
    """Worked out once for each state and mapping."""
    known: dict[Any, Any] = vars(state).setdefault("_strengths", {})
    if (what, mapping) not in known:
        known[what, mapping] = make()
    return known[what, mapping]
