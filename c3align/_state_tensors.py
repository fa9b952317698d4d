"""What an aligner has learned as named tensors, and back: the part of its file that is no configuration.

For modality i in alphabetical order ``modality.i.counts`` (2,) rows and zero rows, ``.sums`` and ``.squares``
(2, n_dims), ``.norms`` (256,), all int64; for pair i ``pair.i.counts``, ``.sums``, ``.squares``. Where the
configuration says so, also:

``.products``, the upper triangle of the products of columns row by row, float64;
``modality.i.sketch`` (n_dims, 1024) int64; ``modality.i.sample.keys``, ``.groups``, ``.counts`` (n,) int64, ``.rows``
(n, n_dims) float32, ``.links`` (m, 2) int64; ``pair.i.x.`` and ``pair.i.y.`` with what a modality has, of the rows of
these pairs, and ``pair.i.across`` (n_dims, n_dims) float64, the products across. Files that were
asked for in float32 hold covariances instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from c3align._state import State
from c3align.covariance import CovarianceStatistics, PairCovariance, Precision
from c3align.cross_covariance import CrossCovariance
from c3align.errors import FormatError
from c3align.io import container
from c3align.mappings import BINS, QuantileSketch
from c3align.ops import NORM_BINS
from c3align.sample import RowSample
from c3align.statistics import ModalityStatistics, PairStatistics

__all__ = ["COVARIANCES", "MOST_SAMPLED", "PRODUCTS", "described", "expected", "refusal", "state", "tensors"]

PRODUCTS = "upper triangle, float64"
COVARIANCES = "upper triangle of covariances, float32"
MOST_SAMPLED = 1 << 16  # rows of a modality
_MODALITY_PARTS, _PAIR_PARTS = ("counts", "sums", "squares", "norms"), ("counts", "sums", "squares")
_SAMPLE_PARTS = ("keys", "groups", "rows", "counts", "links")
_DTYPES: dict[str, Precision] = {PRODUCTS: "float64", COVARIANCES: "float32"}
Tensors = dict[str, Any]


def described(state: State, dtype: Precision = "float64") -> dict[str, Any]:
    """The configuration of these tensors; what came with format 5 only where there is some.

    `dtype` is that of what second moments are kept as: sums of products, or covariances in float32.
    """
    kept, is_new = (PRODUCTS, False) if dtype == "float64" else (COVARIANCES, bool(state.second_moments))
    more = {
        "across": bool(state.across) and (True if dtype == "float64" else COVARIANCES),
        "sketches": bool(state.sketches),
        "samples": [[name, s.size, len(s.keys), len(s.links)] for name, s in state.samples.items()],
    }
    return {
        "n_features_in": int(state.n_dims),
        "modalities": list(state.statistics),
        "pairs": [list(names) for names in state.pairs],
        "modality_products": kept if state.second_moments else None,
        "pair_products": kept if state.covariances else None,
        **(more if any(more.values()) or is_new or (dtype == "float32" and state.covariances) else {}),
    }


def tensors(state: State, dtype: Precision = "float64") -> Tensors:
    """All of it, by name."""
    found: Tensors = {}
    for i, (name, statistics) in enumerate(state.statistics.items()):
        found |= _of_statistics(f"modality.{i}", statistics, state.second_moments.get(name), dtype)
        if name in state.sketches:
            found[f"modality.{i}.sketch"] = state.sketches[name].counts
        if name in state.samples:
            sample = state.samples[name]
            found |= {f"modality.{i}.sample.{part}": getattr(sample, part) for part in _SAMPLE_PARTS}
    for i, (key, pairs) in enumerate(state.pairs.items()):
        found |= _of_statistics(f"pair.{i}", pairs, state.covariances.get(key), dtype)
        if key in state.across:
            across = state.across[key]
            for side in ("x", "y"):
                of_side = getattr(across, side)
                found |= _of_statistics(f"pair.{i}.{side}", of_side.statistics, of_side, dtype)
            found[f"pair.{i}.across"] = across.kept(dtype)
    return found


def _of_statistics(place: str, found: Any, products: Any, dtype: Precision) -> Tensors:
    parts: Tensors = {f"{place}.counts": np.array([found.n_rows, found.n_zero_rows], np.int64)}
    for part in _MODALITY_PARTS[1:] if isinstance(found, ModalityStatistics) else _PAIR_PARTS[1:]:
        parts[f"{place}.{part}"] = getattr(found, part)
    return parts if products is None else {**parts, f"{place}.products": products.packed(dtype)}


def expected(config: Mapping[str, Any]) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Dtype and shape of each tensor, by name."""
    return {name: (np.dtype(dtype), shape) for name, dtype, shape in _expected(config)}


def _expected(config: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    n_dims, names = config["n_features_in"], config["modalities"]
    sampled = {name: numbers for name, _, *numbers in config.get("samples", ())}
    for i, name in enumerate(names):
        yield from _statistics_expected(f"modality.{i}", _MODALITY_PARTS, n_dims, config["modality_products"])
        if config.get("sketches"):
            yield f"modality.{i}.sketch", "int64", (n_dims, BINS)
        if name in sampled:
            n, n_links = sampled[name]
            for part in ("keys", "groups", "counts"):
                yield f"modality.{i}.sample.{part}", "int64", (n,)
            yield f"modality.{i}.sample.rows", "float32", (n, n_dims)
            yield f"modality.{i}.sample.links", "int64", (n_links, 2)
    for i in range(len(config["pairs"])):
        yield from _statistics_expected(f"pair.{i}", _PAIR_PARTS, n_dims, config["pair_products"])
        if across := config.get("across"):
            kept = PRODUCTS if across is True else across
            for side in ("x", "y"):
                yield from _statistics_expected(f"pair.{i}.{side}", _MODALITY_PARTS, n_dims, kept)
            yield f"pair.{i}.across", _DTYPES[kept], (n_dims, n_dims)


def _statistics_expected(
    place: str, parts: tuple[str, ...], n_dims: int, products: Any
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    shapes = {"counts": (2,), "sums": (2, n_dims), "squares": (2, n_dims), "norms": (NORM_BINS,)}
    for part in parts:
        yield f"{place}.{part}", "int64", shapes[part]
    if products:
        yield f"{place}.products", _DTYPES[products], (n_dims * (n_dims + 1) // 2,)


def state(config: Mapping[str, Any], given: Tensors) -> State:
    """The state that these tensors hold, each checked for contradictions; names and shapes are known to fit.

    Raises
    ------
    FormatError
        Numbers that no rows could give.
    """
    names, pairs = config["modalities"], [(a, b) for a, b in config["pairs"]]
    places, pair_places = (
        {name: f"modality.{i}" for i, name in enumerate(names)},
        {key: f"pair.{i}" for i, key in enumerate(pairs)},
    )
    statistics = {name: _plain(ModalityStatistics, given, place) for name, place in places.items()}
    differences = {key: _plain(PairStatistics, given, place) for key, place in pair_places.items()}
    for (a, b), found in differences.items():
        if found.n_rows > min(statistics[a].n_rows, statistics[b].n_rows):
            raise refusal(f"it has more pairs of {a!r} and {b!r} than rows")
    sizes = {name: size for name, size, *_ in config.get("samples", ())}
    return State(
        config["n_features_in"],
        statistics,
        differences,
        _all_whole(CovarianceStatistics, statistics, given, places) if config["modality_products"] else {},
        _all_whole(PairCovariance, differences, given, pair_places) if config["pair_products"] else {},
        {key: _across(given, place) for key, place in pair_places.items() if config.get("across")},
        {n: _sketch(given, places[n], found) for n, found in statistics.items() if config.get("sketches")},
        {name: _sample(given, places[name], size) for name, size in sizes.items()},
        config["encoder_fingerprint"],
        {name: tuple(columns) for name, columns in config["feature_names"]},
    )


def _all_whole(kind: Any, found: Mapping[Any, Any], given: Tensors, places: Mapping[Any, str]) -> dict[Any, Any]:
    return {key: _whole(kind, statistics, given, places[key]) for key, statistics in found.items()}


def _plain(kind: Any, given: Tensors, place: str) -> Any:
    parts = _MODALITY_PARTS if kind is ModalityStatistics else _PAIR_PARTS
    counts, *sums = (given[f"{place}.{part}"].copy() for part in parts)
    return _checked(kind(int(counts[0]), int(counts[1]), *sums), place)


def _whole(kind: Any, statistics: Any, given: Tensors, place: str) -> Any:
    return _checked(kind.from_packed(statistics, given[f"{place}.products"]), place)


def _across(given: Tensors, place: str) -> CrossCovariance:
    x, y = (
        _whole(CovarianceStatistics, _plain(ModalityStatistics, given, at), given, at)
        for at in (f"{place}.x", f"{place}.y")
    )
    found: CrossCovariance = _checked(CrossCovariance.from_kept(x, y, given[f"{place}.across"]), place)
    return found


def _sketch(given: Tensors, place: str, statistics: ModalityStatistics) -> QuantileSketch:
    found: QuantileSketch = _checked(QuantileSketch(given[f"{place}.sketch"].copy()), place)
    if found.n_rows != statistics.n_rows:
        raise refusal(f"in {place!r} the quantiles are of another number of rows")
    return found


def _sample(given: Tensors, place: str, size: int) -> RowSample:
    parts = (given[f"{place}.sample.{part}"].copy() for part in _SAMPLE_PARTS)
    found: RowSample = _checked(RowSample(size, *parts), place)
    return found


def _checked(found: Any, place: str) -> Any:
    problem = found.problem()
    if problem:
        raise refusal(f"in {place!r} {problem}")
    return found


def refusal(reason: str) -> FormatError:
    """An aligner's file that is refused."""
    return container.refusal("aligner", reason)
