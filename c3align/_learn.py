"""From what `fit` is given to what it teaches: a state of these rows alone, or an exception."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from c3align import centering
from c3align._ingest import Ingested, ingest, ingest_more, ingest_partners
from c3align._settings import check_modality_name, check_settings
from c3align._state import State, pair_key
from c3align._typing import Array
from c3align.covariance import CovarianceStatistics, PairCovariance
from c3align.errors import C3AlignError, EncoderMismatchWarning
from c3align.geometry import are_partners, one_encoder
from c3align.statistics import ModalityStatistics, paired_statistics

__all__ = ["learn"]


def learn(
    settings: Mapping[str, Any],
    X: Array,
    y: Array | None,
    modality: str,
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
    other = "image" if y_modality is None else y_modality
    for name in (modality, other):
        check_modality_name(name)
    given = ingest(X) if before is None else ingest_more(X, before.n_dims, before.feature_names, modality)
    centering.warn_of_strangers(modality, before, given.rows)
    partners = ingest_partners(given.rows, given.names, y, is_named=y_modality is not None)
    state = State(given.rows.shape[1])
    if partners is None:
        return state.with_modality(modality, _of_rows(given, settings), given.names)
    if modality == other:
        raise C3AlignError(f"X and y are both {modality!r}; pass another y_modality=")
    rows, names = partners
    of_x, of_y, of_pairs = _of_pairs(given, rows, settings)
    state = state.with_modality(modality, of_x, given.names).with_modality(other, of_y, names)
    state = state.with_pairs(modality, other, of_pairs)
    if before is None or pair_key(modality, other) not in before.pairs:
        _warn_of_two_encoders(given.rows, rows, state)
    return state


def _of_rows(given: Ingested, settings: Mapping[str, Any]) -> ModalityStatistics | CovarianceStatistics:
    kind = CovarianceStatistics if settings["second_moments"] else ModalityStatistics
    found = kind.from_rows(given.rows, zero_rows=given.policy(settings["zero_rows"]))
    plain = found.statistics if isinstance(found, CovarianceStatistics) else found
    given.warn_of_zero_rows(plain.n_zero_rows, stacklevel=4)
    return found


def _of_pairs(given: Ingested, partners: Any, settings: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Statistics of the rows, of their partners and of the pairs, as the settings ask for them."""
    kept = settings["zero_rows"]
    found = paired_statistics(given.rows, partners, zero_rows=given.policy(kept), y_zero_rows=kept)
    of_rows, of_partners, of_pairs = found
    given.warn_of_zero_rows(of_rows.n_zero_rows, stacklevel=4)
    pairs = PairCovariance.of(of_pairs, given.rows, partners) if settings["noise"] == "residual" else of_pairs
    if not settings["second_moments"]:
        return of_rows, of_partners, pairs
    return CovarianceStatistics.of(of_rows, given.rows), CovarianceStatistics.of(of_partners, partners), pairs


def _warn_of_two_encoders(rows: Any, partners: Any, learned: State) -> None:
    """Say so when pairs do not look like rows of one encoder: no shared directions, and partners no more alike.

    `learned` is what these pairs alone taught.
    """
    (((a, b), pairs),) = learned.pairs.items()
    if pairs.n_rows and are_partners(learned.statistics[a], learned.statistics[b], pairs):
        return
    overlap, is_one = one_encoder(rows, partners, paired=True)
    if not is_one:
        warnings.warn(
            f"these do not look like rows of one encoder: overlap {overlap:.1f}, one encoder gives 3 or more; check "
            "that X and y come from the same, trained encoder",
            EncoderMismatchWarning,
            stacklevel=4,
        )
