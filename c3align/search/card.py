"""What an index says about itself in its store: encoder, aligner, mapping, modality of the queries, calibration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from c3align import _state_tensors, centering, mappings
from c3align._held_out import aligned_rows
from c3align._typing import Array
from c3align._unrelated import KNOTS, LEAST_DEVIATION
from c3align.calibration import LEVELS, Calibration
from c3align.errors import C3AlignError, EncoderMismatchError, FormatError

__all__ = ["calibrate_fused", "calibration_of", "card", "check_card", "state_digest"]

_FORMAT = "c3align.search"
_INTEGERS = ("n_scores", "n_pairs")
_PLAIN = ("modalities", "uses_quantiles", "is_held_out")
_WHAT = {
    "encoder": "vectors of the encoder {0}, and these come from {1}; use that encoder, or index the items again",
    "aligner": "rows of the aligner {0}, and this one is {1}; load the one that it was made with, or index them again",
    "mapping": "rows of the mapping {0}, and this aligner's is {1}; load the aligner that it was made with",
    "query": "rows scaled for queries of {0}, and not of {1}; pass that as query=, or omit it",
}


def state_digest(aligner: Any) -> str:
    """Hash what an aligner has learned, and nothing of how strong its noise is.

    Parameters
    ----------
    aligner : C3Aligner
        A fitted one.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, values in sorted(_state_tensors.tensors(centering.state_of(aligner), "float64").items()):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:32]


def card(encoder: str | None, aligner: Any, query: str, calibration: Calibration) -> dict[str, Any]:
    """Write down what decides about the rows of an index.

    Parameters
    ----------
    encoder : str or None
        Its fingerprint.
    aligner : C3Aligner
        What aligns the rows.
    query : str
        The modality of queries that rows are scaled for.
    calibration : Calibration
        What scales them.

    Returns
    -------
    dict
        Plain values, for a store's metadata.
    """
    mapping = {**mappings.described(mappings.load(aligner.mapping)), "renormalize": bool(aligner.renormalize)}
    told = {each.name: getattr(calibration, each.name) for each in fields(calibration) if each.name != "raw"}
    numbers = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in told.items()}
    known = {"encoder": encoder, "aligner": state_digest(aligner), "mapping": mapping, "query": query}
    return {"format": _FORMAT, "version": 1, **known, "calibration": {**numbers, "modalities": [*told["modalities"]]}}


def check_card(found: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Refuse an index that was made otherwise.

    Parameters
    ----------
    found, mine : mapping
        What the store holds, and what `card` gives for the encoder and the aligner in use.

    Raises
    ------
    EncoderMismatchError
        With what differs.
    """
    for name, text in _WHAT.items():
        if found.get(name) != mine[name]:
            raise EncoderMismatchError("the index holds " + text.format(repr(found.get(name)), repr(mine[name])))


def calibration_of(found: Mapping[str, Any]) -> Calibration:
    """Read the calibration out of a card.

    Parameters
    ----------
    found : mapping
        What `card` gave.

    Returns
    -------
    Calibration
        The same; `FormatError` where it is damaged, or none of this version.
    """
    if found.get("format") != _FORMAT or found.get("version") != 1:
        raise FormatError("the store holds rows that no MixedIndex of this version has written; use an empty one")
    try:
        given = dict(found["calibration"])
        calibration = Calibration(**{name: _read(name, value) for name, value in given.items()})
        if problem := _problem(calibration):
            raise ValueError(problem)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"the calibration of the index is damaged ({error}); index the items again") from error
    return calibration


def _problem(found: Calibration) -> str | None:
    """What contradicts itself in these numbers."""
    m = len(found.modalities)
    shapes = {"rates": (m, m, len(LEVELS)), "quantiles": (m, m, len(KNOTS)), "related": (m, m, len(KNOTS))}
    arrays = {each.name: getattr(found, each.name) for each in fields(found) if each.name not in (*_PLAIN, "raw")}
    are_names = all(isinstance(name, str) for name in found.modalities)
    if not (m and are_names) or [*found.modalities] != sorted({*found.modalities}):
        return "its modalities are not names in alphabetical order"
    for name, values in arrays.items():
        if values.shape != shapes.get(name, (m, m)) or not np.isfinite(values).all():
            return f"its {name} do not fit, or are not finite"
        if name != "rates" and (values != np.swapaxes(values, 0, 1)).any():
            return f"its {name} are not the same both ways"
    if (found.deviations < LEAST_DEVIATION).any() or (found.n_scores < 1).any() or (found.n_pairs < 0).any():
        return "a deviation or a count is too small"
    curves = np.stack([found.quantiles, found.related])
    is_wrong = (np.diff(curves) < 0).any() or np.abs(curves).max() > 1 + 1e-5
    return "its quantiles are not those of cosines" if is_wrong else None


def _read(name: str, value: Any) -> Any:
    if name == "modalities":
        return tuple(value)
    if name in _PLAIN:
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}")
        return value
    return np.array(value, np.int64 if name in _INTEGERS else np.float64)


def is_same_scale(a: Calibration, b: Calibration, query: str) -> bool:
    """Whether both scale rows alike, so that one may take the other's place."""
    if a.modalities != b.modalities or query not in a.modalities:
        return False
    i = a.modalities.index(query)
    return bool(np.allclose(a.deviations[i], b.deviations[i], rtol=1e-6, atol=0))


def calibrate_fused(aligner: Any, fused: Mapping[str, Mapping[str, Array]], *, query: str = "text") -> Calibration:
    """Calibrate for documents of several modalities too, each of which is one row.

    Parameters
    ----------
    aligner : C3Aligner
        Fitted, with rows kept (``second_moments=True``, or a mapping that needs them).
    fused : mapping of str to mapping of str to (n_rows, n_dims) array
        By the name of the new modality, such as "image+text", raw rows of some documents' modalities: row i of each
        is of document i. A few hundred documents suffice.
    query : str
        The modality of the queries, whose deviations make the rows comparable.

    Returns
    -------
    Calibration
        A calibration of the aligner's modalities and the new ones, for `MixedIndex`.
    """
    seen = aligned_rows(centering.state_of(aligner), aligner.mapping, aligner.renormalize, may_fold=False)
    rows, groups = dict(seen["rows"]), seen["groups"]
    for name in fused.keys() & rows.keys():
        raise C3AlignError(f"fused documents must have a name of their own, got {name!r}; name them as in 'image+text'")
    alone = Calibration.from_rows(rows, groups=groups)
    first = 1 + max(int(np.max(numbers)) for numbers in groups.values())
    for name, parts in fused.items():
        aligned = {modality: aligner.transform(np.asarray(X), modality=modality) for modality, X in parts.items()}
        rows[name] = alone.fuse(aligned, query=query)
        groups = {**groups, name: first + np.arange(len(rows[name]))}
        first += len(rows[name])
    return Calibration.from_rows(rows, groups=groups)


def with_pairs_of(old: Calibration, new: Calibration) -> Calibration:
    """What is used from now on: the scale of the index with the pairs that were learned since."""
    return replace(old, n_pairs=new.n_pairs, related=new.related) if new.n_pairs.any() else old
