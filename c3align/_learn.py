"""From what `fit` is given to what it teaches: a state of these rows alone, or an exception."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import numpy as np

from c3align import centering
from c3align._ingest import Ingested, ingest, ingest_more, ingest_partners
from c3align._kinds import Names
from c3align._settings import check_modality_name, check_noise, check_settings, wanted
from c3align._state import State, pair_key
from c3align._typing import Array, Int64Array
from c3align.covariance import CovarianceStatistics, PairCovariance
from c3align.cross_covariance import CrossCovariance
from c3align.errors import C3AlignError, ModalityMeanWarning, PairOrderWarning
from c3align.geometry import are_partners, doubt, later_doubt, order_doubt, total_doubt
from c3align.mappings import QuantileSketch
from c3align.sample import RowSample, row_keys
from c3align.statistics import ModalityStatistics, paired_statistics

__all__ = ["learn", "merged"]

FEW_COLUMNS, NEARLY_ALL = 16, 0.9  # the largest column of encoders that we know has 0.4 of the squared norm
MANY_PAIRS = 4096  # beside which a look at 512 of them costs little, where there have been others before


def learn(
    settings: Mapping[str, Any],
    X: Array,
    y: Array | None,
    modality: str | None,
    y_modality: str | None,
    before: State | None = None,
) -> State:
    """The state that these rows alone teach; the parameters are those of `C3Aligner.fit`.

    Parameters
    ----------
    settings : mapping
        The aligner's.
    before : State, optional
        What is known: of rows of this width and these columns.
    """
    check_settings(settings)
    check_noise(settings)
    is_named = modality is not None
    if not is_named and before is not None and before.statistics and "text" not in before.statistics:
        names = ", ".join(map(repr, before.statistics))
        warnings.warn(
            f"no modality was named and {names} was learned before: these rows are taken for 'text'; pass modality=",
            ModalityMeanWarning,
            stacklevel=3,
        )
    modality = "text" if modality is None else modality
    other = "image" if y_modality is None else y_modality
    for name in (modality, other):
        check_modality_name(name)
    given = ingest(X) if before is None else ingest_more(X, before.n_dims, before.feature_names, modality)
    centering.warn_of_strangers(modality, before, given.rows, is_named=is_named)
    partners = ingest_partners(given.rows, given.names, y, is_named=y_modality is not None)
    state = State(given.rows.shape[1])
    if partners is None:
        found = ModalityStatistics.from_rows(given.rows, zero_rows=given.policy(settings["zero_rows"]))
        given.warn_of_zero_rows(found.n_zero_rows, stacklevel=3)
        return _with_rows(state, modality, given.rows, found, wanted(settings), given.names)
    _warn_of_index(X, y)
    if modality == other:
        raise C3AlignError(f"X and y are both {modality!r}; pass another y_modality=")
    state = _with_pairs(state, given, partners, (modality, other), settings)
    _warn_of_pairs(given.rows, partners[0], (modality, other), state, before)
    return state


def _with_rows(
    state: State, name: str, rows: Any, found: ModalityStatistics, wants: set[str], names: Names, **known: Any
) -> State:
    """The state with all that is wanted of a modality's rows; `known` as `_with_pairs` has it."""
    _warn_of_one_column(name, found)
    statistics: Any = found
    more: dict[str, Any] = {}
    if "second_moments" in wants:
        products = known.get("products")
        statistics = CovarianceStatistics.of(found, rows) if products is None else CovarianceStatistics(found, products)
        more["sample"] = RowSample.from_rows(rows, partners=known.get("partners"), zero_rows="keep")
    if "sketches" in wants:
        more["sketch"] = QuantileSketch.from_rows(rows, zero_rows="keep")
    return state.with_modality(name, statistics, names, **more)


def _with_pairs(
    state: State, given: Ingested, partners: tuple[Any, Names], both: tuple[str, str], settings: Mapping[str, Any]
) -> State:
    """The state with all that is wanted of the rows, of their partners and of the pairs."""
    wants, kept, (rows, names) = wanted(settings), settings["zero_rows"], partners
    of_x, of_y, of_pairs = paired_statistics(given.rows, rows, zero_rows=given.policy(kept), y_zero_rows=kept)
    given.warn_of_zero_rows(of_x.n_zero_rows, stacklevel=4)
    across = CrossCovariance.from_rows(given.rows, rows, zero_rows="keep") if "across" in wants else None
    partners_of = _keys_across(given.rows, rows) if "second_moments" in wants else (None, None)
    sides = ((both[0], given.rows, of_x, given.names), (both[1], rows, of_y, names))
    for (name, side, found, columns), known, keys in zip(
        sides, (across and across.x, across and across.y), partners_of
    ):
        products = known.products if known and known.n_rows == found.n_rows else None
        state = _with_rows(state, name, side, found, wants, columns, products=products, partners=keys)
    pairs = PairCovariance.of(of_pairs, given.rows, rows) if "covariances" in wants else of_pairs
    return state.with_pairs(*both, pairs, across)


def _warn_of_one_column(name: str, found: ModalityStatistics) -> None:
    """Say so where one column is nearly all of the rows, as ids, labels and times are beside embeddings."""
    if not found.n_rows or found.n_dims < FEW_COLUMNS:
        return
    shares = found.variance + found.mean**2  # of the squared norm 1
    if shares.max() > NEARLY_ALL:
        warnings.warn(
            f"column {int(shares.argmax())} holds {shares.max():.0%} of the squared norm of {name!r} rows; drop it if "
            "it is an id, a label or a time, else know that cosines tell little beside it",
            ModalityMeanWarning,
            stacklevel=5,
        )


def _keys_across(X: Any, Y: Any) -> tuple[Int64Array, Int64Array]:
    """For each row of X the key of its partner in Y, and the other way round; its own where that has no direction."""
    x, y, nothing = (row_keys(rows, zero_rows="keep") for rows in (X, Y, np.zeros((1, X.shape[1]), np.float32)))
    whole = (x != nothing) & (y != nothing)
    return np.where(whole, y, x), np.where(whole, x, y)


def _warn_of_index(X: Any, y: Any) -> None:
    """Say so when the indices of two frames have labels at different places: partners go by their places."""
    a, b = (cast("Any", getattr(side, "index", None)) for side in (X, y))
    if not (_is_index(a) and _is_index(b)) or len(a) != len(b) or a.dtype != b.dtype:
        return
    with suppress(TypeError):  # of labels without a hash
        if a.is_unique and b.is_unique and bool((a.isin(b) & (a != b)).any()):
            warnings.warn(
                "the indices of X and y have the same labels at different places, and row i of X was paired with row i "
                "of y; pass y.loc[X.index] if labels say which belong together, else y.set_index(X.index)",
                PairOrderWarning,
                stacklevel=4,
            )


def _is_index(index: Any) -> bool:
    """Whether it names rows, as one of a single level does that is not the numbers of the places."""
    is_counted = hasattr(index, "start") and hasattr(index, "step")
    return hasattr(index, "isin") and getattr(index, "nlevels", 2) == 1 and not is_counted


def _warn_of_pairs(rows: Any, partners: Any, names: tuple[str, str], learned: State, before: State | None) -> None:
    """Say so when pairs do not look like rows of one encoder, or partners no more alike than rows in any order.

    `learned` is what these pairs alone taught.
    """
    now, known = _sides(learned, names), None if before is None else _sides(before, names)
    found: Warning | None = None
    if known is None or now[2].n_rows >= MANY_PAIRS:
        is_alike = now[2].n_rows and are_partners(*now)
        found = order_doubt(rows, partners) if is_alike else doubt(rows, partners, paired=True)
    if found is None and known is not None:
        found = later_doubt(rows, partners, known, now)
    if found is not None:
        warnings.warn(found, stacklevel=4)


def _sides(state: State, names: tuple[str, str]) -> Any:
    """What a state knows of two modalities and of their pairs; None where it knows no pairs."""
    pairs = state.pairs.get(pair_key(*names))
    return None if pairs is None else (*(state.statistics[name] for name in names), pairs)


def merged(settings: Mapping[str, Any], mine: State | None, theirs: State) -> State:
    """What both have learned, with a warning where that is of the same rows, which count twice then, or of no pairs."""
    theirs = theirs.reduced(wanted(settings))
    if mine is None:
        return theirs
    found = mine.reduced(wanted(settings)).merged(theirs)
    for name in mine.same_rows(theirs):
        warnings.warn(
            f"both aligners have learned the same {mine.statistics[name].n_rows} {name!r} rows, which count twice from "
            "now on; merge aligners of different rows",
            stacklevel=3,
        )
    for names in mine.pairs.keys() & theirs.pairs.keys():
        doubtful = total_doubt(*_sides(found, names))
        if doubtful is not None:
            warnings.warn(doubtful, stacklevel=3)
    return found
