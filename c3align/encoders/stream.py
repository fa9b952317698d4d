"""Any encoder, batch by batch: files are decoded ahead, broken items are refused, or skipped and listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from c3align.encoders.base import Broken, Prepared, counting, prepared_batches, refuse_broken
from c3align.errors import C3AlignError
from c3align.training.settings import check_choice

__all__ = ["Batch", "batches"]

FIX = "remove or fix it, or pass --on-error skip (on_error='skip')"


class Batch(NamedTuple):
    """Embeddings of some items: `kept` holds their numbers, `broken` the items that could not be embedded."""

    rows: npt.NDArray[Any]
    kept: list[int]
    broken: list[Broken]
    n_items: int


def batches(
    encoder: Any,
    items: Iterable[Any],
    *,
    modality: str,
    batch_size: int = 32,
    device: Any = None,
    dtype: str = "float32",
    on_error: str = "raise",
    workers: int | None = None,
    first_item: int = 0,
) -> Iterator[Batch]:
    """Embed any number of items; see `Encoder.encode`.

    Items that cannot be read are refused, or skipped with ``on_error="skip"``; errors count from `first_item`. There
    are one decoding thread less than processors, at most 8, or `workers`.
    """
    check_choice("on_error", on_error, ("raise", "skip"))
    if modality not in encoder.modalities:
        raise C3AlignError(f"this encoder does not know {modality!r}; pass one of {', '.join(encoder.modalities)}")
    own = getattr(encoder, "prepare", None)
    prepare = (lambda item: own(item, modality)) if own else Prepared
    options = {"modality": modality, "batch_size": batch_size, "device": device, "dtype": dtype}
    first = 0
    with counting(encoder):
        for batch in prepared_batches(items, prepare, batch_size, workers):
            if on_error == "raise":
                refuse_broken(batch, modality, first_item, FIX)
            kept = [first + i for i, item in enumerate(batch) if isinstance(item, Prepared)]
            # an encoder accepts what it prepared itself; others get their items
            good = [item if own else item.value for item in batch if isinstance(item, Prepared)]
            rows = encoder.encode(good, **options) if good else np.empty((0, encoder.n_dims), dtype)
            yield Batch(rows, kept, [item for item in batch if isinstance(item, Broken)], len(batch))
            first += len(batch)
