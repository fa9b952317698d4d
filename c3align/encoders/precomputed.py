"""`precomputed:`, embeddings on disk: "precomputed:emb/" (a tree of shards) or "precomputed:rows.npy".

Items are row numbers, so that whatever needs an encoder works without one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._arguments import shown
from c3align._typing import Int64Array
from c3align.encoders.base import check_request
from c3align.errors import C3AlignError
from c3align.io import atomic
from c3align.io.rows import RowSource
from c3align.io.shards import open_sources
from c3align.training.rows import digest_of

__all__ = ["PrecomputedEncoder", "load"]


def load(rest: str) -> PrecomputedEncoder:
    """The encoder of a folder that `c3align embed` wrote, or of one file of rows."""
    if not Path(atomic.expanded(rest)).exists():
        raise C3AlignError(f"{rest!r} holds no embeddings; pass a .npy file, or a folder that `c3align embed` wrote")
    found = open_sources([rest])
    return PrecomputedEncoder({source.modality or "any": source for source in found}, found[0].fingerprint)


class PrecomputedEncoder:
    """Rows of shards on disk, by number.

    `shards` has paths of .npy files (n, n_dims), or a `RowSource`, by modality; the name "any" answers to every one.
    Without a fingerprint it is a hash of all rows, which reads them once.
    """

    name = "precomputed"

    def __init__(self, shards: dict[str, Any], fingerprint: str | None) -> None:
        self._sources = {name: RowSource.of(paths, name) for name, paths in shards.items()}
        widths = {source.n_dims for source in self._sources.values()}
        if len(widths) != 1:
            raise C3AlignError("the shards are not all rows (n, d) of one width; use those of one encoder")
        self.n_dims = widths.pop()
        self.modalities = tuple(self._sources) if "any" not in self._sources else ("image", "text", "audio", "video")
        self.fingerprint = fingerprint or f"precomputed:{self._digest()}/{self.n_dims}d"

    def _digest(self) -> str:
        digest = hashlib.blake2b(digest_size=6)
        for name, source in sorted(self._sources.items()):
            for part in source.parts:
                digest.update(f"{name} {digest_of(part)}".encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return min(source.n_rows for source in self._sources.values())

    def encode(
        self,
        items: Sequence[Any],
        *,
        modality: str,
        batch_size: int = 256,
        device: Any = None,
        dtype: str = "float32",
        progress: bool = False,
    ) -> npt.NDArray[Any]:
        """Get rows by their numbers, the items; batch size, device and progress change nothing."""
        check_request(self, items, modality, batch_size, dtype)
        source = self._sources.get("any") or self._sources[modality]
        numbers = _as_numbers(items)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < source.n_rows:
            raise C3AlignError(f"{modality} has rows 0 to {source.n_rows - 1}; pass numbers in that range")
        rows = source.take(numbers)
        if not np.isfinite(rows).all():
            bad = int(numbers[~np.isfinite(rows).all(axis=1)][0])
            raise C3AlignError(f"{source.where(bad)} holds NaN or infinity; remove it, or embed its item again")
        return rows.astype(dtype)


def _as_numbers(items: Any) -> Int64Array:
    """Row numbers (n,); what is no integer, or a mask, names no rows."""
    try:
        found = np.asarray(items)
    except ValueError:  # lists of different lengths
        found = np.empty(0, object)
    if not len(items):
        return np.empty(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise C3AlignError(
            f"the items of a precomputed encoder are row numbers, got {shown(items)}; pass integers, such as "
            "np.flatnonzero(mask) or range(len(encoder))"
        )
    return found.astype(np.int64)
