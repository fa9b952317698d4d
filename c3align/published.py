"""Means that others have published, as aligners: CapDec's, SpLiCE's and TextME's files, none of which is unpickled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from c3align._arguments import checked, shown
from c3align._settings import check_modality_name
from c3align._state import State
from c3align.aligner import C3Aligner
from c3align.errors import C3AlignError, FormatError
from c3align.io import vectors
from c3align.statistics import ModalityStatistics

__all__ = ["import_means"]

Place: TypeAlias = "str | os.PathLike[str]"
_CENTER = "center_"  # what CapDec's dictionary calls them


@checked
def import_means(
    files: Place | Mapping[str, Place], *, n_rows: int, encoder: str | None = None, **settings: Any
) -> C3Aligner:
    """Make an aligner of means that were published without their rows.

    It centers as their authors did. `partial_fit` and `merge` weigh the means by `n_rows`. Not known of the rows, and
    assumed: raw norms are 1 (`translate`), and the variance is the same in all columns (``modality="auto"``).

    Parameters
    ----------
    files : mapping of str to path, or path
        Files (or URLs) by modality, each with a vector: .npy, a file of torch such as SpLiCE's
        ``clip_ViT-B-32_image.pt``, a pickle such as TextME's ``text_embed_mean.pkl``. Or one with a dictionary of
        ``center_text``, ``center_image``, such as CapDec's. Pickles are read as data: no step of theirs is run.
    n_rows : int
        Number of rows of each modality that the means are of, for their error and weight; the files do not tell.
    encoder : str, optional
        Fingerprint of the encoder whose rows they were.
    **settings : optional
        Of `C3Aligner`; the mapping is "center", as others need more than means.

    Returns
    -------
    C3Aligner
        It can be saved and pushed as any other.

    Raises
    ------
    C3AlignError
        For vectors that are no means of unit rows; `FormatError` for files without vectors.
    """
    if settings.get("mapping", "center") != "center":
        raise C3AlignError(f"mapping must be 'center' for means alone, got {settings['mapping']!r}; fit on rows")
    found = _by_modality(vectors.read(files), files) if isinstance(files, str | os.PathLike) else _read(files)
    state = State(len(next(iter(found.values()))))
    for name, mean in found.items():
        check_modality_name(name)
        state = state.with_modality(name, ModalityStatistics.from_mean(mean, n_rows))
    aligner = C3Aligner(**settings)
    aligner.state_ = state
    return aligner if encoder is None else aligner.bind_encoder(encoder)


def _read(files: Mapping[str, Place]) -> dict[str, Any]:
    if not isinstance(files, Mapping):
        raise C3AlignError(f"files must be a path, or paths by modality, got {shown(files)}; pass {{'image': path}}")
    if not files:
        raise C3AlignError("files must name a modality at least, got none; pass {'image': path}")
    return {name: _vector(vectors.read(path), path) for name, path in files.items()}


def _by_modality(found: Any, path: Any) -> dict[str, Any]:
    known = found if isinstance(found, dict) else {}
    means = {name[len(_CENTER) :]: value for name, value in known.items() if name.startswith(_CENTER)}
    if not means:
        raise FormatError(f"{path} does not say whose means it holds; pass {{'image': path}}, or whose it is")
    return {name: _vector(value, path) for name, value in means.items()}


def _vector(found: Any, path: Any) -> Any:
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.shape[-1:] != (found.size,):
        what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else f"a {type(found).__name__}"
        raise FormatError(f"{path} must hold one vector of floats, got {what}; pass the file of a mean")
    with np.errstate(invalid="ignore"):  # of NaN that are refused later
        vector = found.astype(np.float64).ravel()
    if vector.size and (vector == 0).all():
        raise FormatError(f"{path} holds zeros alone, which are no mean of embeddings; pass the file of a mean")
    return vector
