"""`MixedIndex`: several modalities in one store, where the best answer wins and not its modality."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from c3align import centering
from c3align._arguments import shown
from c3align._typing import Encoder
from c3align.calibration import Calibration
from c3align.errors import C3AlignError, CalibrationWarning, EncoderMismatchError
from c3align.search.card import calibration_of, card, check_card, is_same_scale, with_pairs_of
from c3align.search.items import in_memory, is_rows, one, taken
from c3align.search.store import (
    MODALITY,
    Batch,
    Found,
    Rows,
    Store,
    alone,
    check_filter,
    checked_ids,
    checked_metadata,
    refuse_known,
)
from c3align.training.settings import check_whole

__all__ = ["MixedIndex", "Result"]

_MANY = 1000  # results, above which a store is asked for no more than it holds


class Result(NamedTuple):
    """A document that a query has found.

    Parameters
    ----------
    id, modality : str
        Its id, and what it is a row of.
    cosine : float
        That of the aligned rows of document and query.
    z : float
        Standard deviations above what unrelated rows of these modalities score: what results are ordered by.
    probability : float or None
        That it is related to the query, with one related document in the index expected; None where the calibration
        knows no pairs of these modalities.
    metadata : dict
        What was stored with it.
    """

    id: str
    modality: str
    cosine: float
    z: float
    probability: float | None
    metadata: dict[str, Any]


class MixedIndex:
    """One index over several modalities: rows aligned, scored alike, and never silently of another encoder.

    Rows are aligned and multiplied by ``calibration.row_scale(query=query)`` once, when they are written, so that the
    store's plain inner products rank documents of all modalities by z-score. The store keeps beside them the encoder's
    fingerprint, a digest of what the aligner has learned, the mapping, the modality of the queries and the
    calibration; an index that was made with others is refused when it is opened.

    Parameters
    ----------
    encoder : Encoder or None
        Embeds items; without one rows are added and queries are rows.
    aligner : C3Aligner
        Fitted on rows of every modality, with rows kept: ``second_moments=True``, or a mapping such as "barycenter".
        What it learns later does not reach the index.
    store : Store
        An empty one, or one that a `MixedIndex` has filled.
    query : str, optional
        The modality of most queries, by default that of the store, or "text". Queries of others are one search for
        every modality of documents.
    roles : mapping of str to str, optional
        What the encoder calls a modality that the aligner has another name for: ``{"query": "text"}`` where queries
        have a mean of their own.
    calibration : Calibration, optional
        In place of ``aligner.calibrate()``, with pairs (`Calibration.with_pairs`) or fused documents
        (`calibrate_fused`); kept in the store.

    Examples
    --------
    >>> index = MixedIndex(encoder, aligner, LanceStore("idx"))  # doctest: +SKIP
    >>> index.add(paths, modality="image", ids=names)  # doctest: +SKIP
    >>> index.query("a red bag", k=5)  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: Encoder | None,
        aligner: Any,
        store: Store,
        *,
        query: str | None = None,
        roles: Mapping[str, str] | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.encoder, self.store, self._roles = encoder, store, dict(roles or {})
        self.aligner = copy(aligner)  # as it is now: rows of what it learns later would not fit those that are stored
        with alone(store):  # of two that are made at once the second finds what the first has written
            self._meet(store.about(), query, calibration)
        with warnings.catch_warnings(record=True) as told:  # that one scale does not do: then there are several lists
            warnings.simplefilter("always", CalibrationWarning)
            self._scale = self.calibration.row_scale(query=self.query_modality)
        self._is_one_list = not told
        self._limits: dict[tuple[float, str], float] = {}
        self._count = store.count()

    def _meet(self, found: dict[str, Any] | None, query: str | None, calibration: Calibration | None) -> None:
        """Take over what the store says about itself, or say it, where it is new."""
        self.query_modality = query or (found or {}).get("query") or "text"
        centering.state_of(self.aligner, self.query_modality)
        if found is not None:
            self.calibration = calibration_of(found)
            check_card(found, self._card())
            self._take(calibration)
            return
        if self.store.count():
            raise C3AlignError("the store holds rows of unknown origin; pass an empty one, or see `c3align migrate`")
        self.calibration = self.aligner.calibrate() if calibration is None else calibration
        self.store.set_about(self._card())

    def _card(self) -> dict[str, Any]:
        bound = self.aligner.encoder_fingerprint_
        own = bound if self.encoder is None else self.encoder.fingerprint
        if bound not in (None, own):
            raise EncoderMismatchError(
                f"the aligner learned from the encoder {bound} and not from {own}; use that encoder, or fit an aligner "
                "on rows of this one"
            )
        return card(own, self.aligner, self.query_modality, self.calibration)

    def _take(self, calibration: Calibration | None) -> None:
        """Another calibration of an index that is there: it must scale rows as those that are stored."""
        if calibration is None:
            return
        if not is_same_scale(self.calibration, calibration, self.query_modality):
            raise C3AlignError(
                "calibration must be the one that the index was made with, or that with pairs; index the items again"
            )
        self.calibration = with_pairs_of(self.calibration, calibration)
        self.store.set_about(self._card())

    def add(
        self,
        items: Any,
        *,
        modality: str,
        ids: Sequence[str],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        skip_known: bool = False,
        batch_size: int = 32,
    ) -> int:
        """Add documents: all of them, or none and an error.

        Parameters
        ----------
        items : sequence, (n_rows, n_dims) floating array or tensor, or mapping of str to these
            What the encoder takes, or its raw rows. A mapping holds several modalities of each document, which become
            one row (`Calibration.fuse`).
        modality : str
            What the items are; for a mapping, the name that the calibration knows fused documents by, as "image+text".
        ids : sequence of str
            One of each, unlike all others in the index.
        metadata : sequence of mapping, optional
            What is stored with each, as JSON. Strings, whole numbers and bools can be filtered by.
        skip_known : bool
            Whether documents whose ids are there already are left out, so that an addition that was cut off is
            completed by repeating it; by default they are refused.
        batch_size : int
            How many items the encoder takes at once.

        Returns
        -------
        int
            How many were added.

        Raises
        ------
        C3AlignError
            Known ids, other widths, rows that are not finite, metadata that is no JSON; the index is unchanged then.
        """
        if not isinstance(modality, str) or modality not in self._scale:
            names = ", ".join(map(repr, self._scale))
            raise C3AlignError(f"modality must be one that was calibrated ({names}), got {modality!r}; see the aligner")
        parts = dict(items) if isinstance(items, Mapping) else {modality: items}
        if isinstance(items, Mapping) and (len(parts) > 1) == (modality in parts):
            raise C3AlignError(
                f"modality must be a name of its own for documents of {' and '.join(parts)}, as 'image+text', "
                f"got {modality!r}; see calibrate_fused()"
            )
        given, about = checked_ids(ids), checked_metadata(metadata, len(ids))
        for part in parts.values():
            n_items = len(part) if hasattr(part, "__len__") else shown(part)
            if n_items != len(given):
                raise C3AlignError(f"items must be as many as ids, got {n_items} and {len(given)}; pass one id each")
        known = self.store.ids(given) if skip_known else set()
        if not skip_known:
            refuse_known(self.store, given)
        new = np.array([i for i, name in enumerate(given) if name not in known], np.int64)
        if not len(new):
            return 0
        aligned = {name: self._aligned(taken(part, new), name, batch_size) for name, part in parts.items()}
        fused = self.calibration.fuse(aligned, query=self.query_modality) if len(parts) > 1 else aligned[modality]
        rows = self._scaled(fused, modality)
        self.store.add(Batch([given[i] for i in new], [modality] * len(new), rows, [about[i] for i in new]))
        self._count += len(new)
        return len(new)

    def stored(self, X: Any, modality: str) -> Rows:
        """Align and scale rows as `add` does, without adding them.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor
            Raw rows.
        modality : str
            What they are.

        Returns
        -------
        (n_rows, n_dims) float32
            What a store holds of them.
        """
        return self._scaled(self._aligned(X, modality, 1), modality)

    def _scaled(self, rows: Any, modality: str) -> Rows:
        return np.ascontiguousarray(rows * np.float32(self._scale[modality]), np.float32)

    def query(
        self,
        x: Any,
        *,
        modality: str | None = None,
        k: int = 10,
        filter: Mapping[str, str | int | bool] | None = None,
        max_false_positive_rate: float | None = None,
    ) -> list[Result]:
        """Find the documents that are most surprisingly alike to one query, of all modalities together.

        Parameters
        ----------
        x : item, or (n_dims,) or (1, n_dims) array or tensor
            What the encoder takes, or its raw row.
        modality : str, optional
            What x is; by default the modality of the index' queries.
        k : int
            How many.
        filter : mapping of str to str, int or bool, optional
            Metadata that results have, all of them; "modality" is what they are rows of.
        max_false_positive_rate : float, optional
            Leaves out what lies below the z-score that this share of unrelated documents reaches; see
            `Calibration.threshold`.

        Returns
        -------
        list of Result
            Largest z-score first.
        """
        own, wanted = self.query_modality if modality is None else modality, check_filter(filter)
        if (only := wanted.get(MODALITY)) is not None and only not in self._scale:
            names = ", ".join(map(repr, self._scale))
            raise C3AlignError(
                f"modality must be one of the index ({names}), got {only!r}; choose one of them, or omit it"
            )
        row = self._aligned(one(x), own, 1)[0]
        k = int(check_whole("k", k))
        k = min(k, max(1, len(self))) if k > _MANY else k
        merged = self._scored(self._found(row, own, k, wanted), own)
        merged = sorted(merged, key=lambda result: -result.z)[:k]
        if max_false_positive_rate is None:
            return merged
        limit = self._limit(max_false_positive_rate, own)
        return [result for result in merged if result.z > limit]

    def _found(self, row: Rows, own: str, k: int, wanted: dict[str, Any]) -> list[Found]:
        """One search where stored scores rank by z-score, else one for each modality of documents."""
        if MODALITY in wanted or (own == self.query_modality and self._is_one_list):
            return self.store.query(row, k, filter=wanted)
        return [hit for name in self._scale for hit in self.store.query(row, k, filter={**wanted, MODALITY: name})]

    def _scored(self, found: list[Found], own: str) -> list[Result]:
        results = []
        for document in dict.fromkeys(hit.modality for hit in found):
            hits = [hit for hit in found if hit.modality == document]
            cosines = np.clip([hit.score / self._scale[document] for hit in hits], -1.0, 1.0)
            z = self.calibration.z_scores(cosines, query=own, document=document)
            chances = self._probability(z, own, document)
            parts = zip(hits, cosines.tolist(), z.tolist(), chances)
            results += [Result(hit.id, document, cosine, score, p, hit.metadata) for hit, cosine, score, p in parts]
        return results

    def _probability(self, z: Any, own: str, document: str) -> list[Any]:
        places = [self.calibration.modalities.index(name) for name in (own, document)]
        if not self.calibration.n_pairs[tuple(places)]:
            return [None] * len(z)
        prior = 1 / max(2, self._count)
        return list(self.calibration.probability(z, query=own, document=document, prior=prior).tolist())

    def _limit(self, rate: float, own: str) -> float:
        if (rate, own) not in self._limits:
            self._limits[rate, own] = self.calibration.threshold(false_positive_rate=rate, query=own)
        return self._limits[rate, own]

    def _aligned(self, items: Any, modality: str, batch_size: int) -> Rows:
        rows = self._embedded(items, modality, batch_size)
        if rows.shape[1] != self.aligner.n_features_in_:
            wanted = self.aligner.n_features_in_
            raise C3AlignError(f"rows must have {wanted} dimensions, got {rows.shape[1]}; use rows of its encoder")
        return np.asarray(self.aligner.transform(rows, modality=modality), np.float32)

    def _embedded(self, items: Any, modality: str, batch_size: int) -> Any:
        rows = items
        if not is_rows(items):
            if self.encoder is None:
                raise C3AlignError(
                    "where there is no encoder items must be floating rows (n_rows, n_dims), and a query one of them, "
                    f"got {shown(items[0] if isinstance(items, list) and len(items) == 1 else items)}; pass those, or "
                    "MixedIndex an encoder"
                )
            role = self._roles.get(modality, modality)
            rows = self.encoder.encode(items, modality=role, batch_size=batch_size)
        return in_memory(rows)

    def __len__(self) -> int:
        return self.store.count()
