"""`precomputed:`, embeddings that are on disk already: "precomputed:emb/" (a tree of shards) or "precomputed:rows.npy".

Items are row numbers, so that whatever takes an encoder works without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.encoders._base import check_request
from c3align.errors import C3AlignError

__all__ = ["PrecomputedEncoder", "load"]


def load(rest: str) -> PrecomputedEncoder:
    """The encoder of a folder that `c3align embed` wrote, or of one .npy file."""
    path = Path(rest)
    if path.is_file():
        return PrecomputedEncoder({"any": [path]}, None)
    folders = sorted(path.glob("*_emb"))
    if not folders:
        raise C3AlignError(f"{rest!r} holds no embeddings; pass a .npy file, or a folder that `c3align embed` wrote")
    shards = {modality_of(folder.name): sorted(folder.glob("*.npy")) for folder in folders}
    return PrecomputedEncoder(shards, fingerprint_of(path))


def modality_of(folder: str) -> str:
    """The modality of a folder of shards: clip-retrieval says "img"."""
    name = folder.removesuffix("_emb")
    return "image" if name == "img" else name


def fingerprint_of(tree: Path) -> str | None:
    """The encoder that a tree's embeddings come from, where `c3align embed` wrote it down."""
    for path in sorted(tree.glob("embed_*.json")):
        return str(json.loads(path.read_text())["fingerprint"])
    return None


class PrecomputedEncoder:
    """Rows of memory-mapped shards, by number.

    Parameters
    ----------
    shards : dict of modality to paths of .npy files (n, n_dims)
        The name "any" answers to every modality.
    fingerprint : str or None
        Of the encoder that made them; without one, a hash of the shapes and of some rows.
    """

    name = "precomputed"

    def __init__(self, shards: dict[str, list[Path]], fingerprint: str | None) -> None:
        self._parts = {
            name: [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths] for name, paths in shards.items()
        }
        widths = {part.shape[1] if part.ndim == 2 else None for parts in self._parts.values() for part in parts}
        width = widths.pop() if len(widths) == 1 else None
        if width is None:
            raise C3AlignError("the shards are not all rows (n, d) of one width; use those of one encoder")
        self.n_dims = int(width)
        self.modalities = tuple(self._parts) if "any" not in self._parts else ("image", "text", "audio", "video")
        self.fingerprint = fingerprint or f"precomputed:{self._digest()}/{self.n_dims}d"

    def _digest(self) -> str:
        digest = hashlib.blake2b(digest_size=6)
        for name, parts in sorted(self._parts.items()):
            for part in parts:
                digest.update(f"{name} {part.shape} {part.dtype}".encode())
                digest.update(np.ascontiguousarray(part[:: max(1, len(part) // 64)]).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return min(sum(map(len, parts)) for parts in self._parts.values())

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
        """Rows by number.

        Parameters
        ----------
        items : sequence of int
        modality, dtype : as for every encoder; the others change nothing here

        Raises
        ------
        C3AlignError
            Another modality, or a number beyond the rows.
        """
        check_request(self, items, modality, batch_size, dtype)
        parts = self._parts.get("any") or self._parts[modality]
        numbers, starts = np.asarray(items, np.int64).reshape(-1), np.cumsum([0, *map(len, parts)])
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < starts[-1]:
            raise C3AlignError(f"{modality} has rows 0 to {starts[-1] - 1}; pass numbers among them")
        out = np.empty((len(numbers), self.n_dims), dtype)
        for k, part in enumerate(parts):
            here = (starts[k] <= numbers) & (numbers < starts[k + 1])
            out[here] = part[numbers[here] - starts[k]]
        return out
