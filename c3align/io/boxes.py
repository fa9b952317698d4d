"""The lists of an MP4, compared with the file's size before libav notes every sample that they state.

A list may state a thousand million samples in twenty bytes: equal sizes (`stsz`), runs of fragments (`trun`), or edits
(`elst`) that play all samples again and again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from c3align.errors import C3AlignError

__all__ = ["check_lists"]

_FREE = 1 << 22  # samples that every file may state
_TOLD_BY = {b"moov", b"moof", b"free", b"hoov"}  # where libav looks for lists
_PIECE = 1 << 22


def check_lists(file: Any, n_bytes: int) -> None:
    """Refuse an MP4 that states more samples than it has bytes; the file is wound back."""
    boxes = list(_boxes(file, n_bytes))
    n_samples, n_edits = 0, 1
    if _TOLD_BY.intersection(kind for kind, _, _ in boxes):
        for kind, first, second in (found for box in boxes if box[0] != b"mdat" for found in _lists(file, *box[1:])):
            if kind == b"cmov":
                raise C3AlignError("an MP4 with a packed header; convert it with a newer program")
            n_samples += {b"stsz": second, b"trun": first}.get(kind, 0)
            n_edits = max(n_edits, first if kind == b"elst" else 1)
    file.seek(0)
    if n_samples * n_edits > _FREE + n_bytes:
        raise C3AlignError(
            f"an MP4 of {n_bytes:,} bytes that states {n_samples:,} samples and {n_edits:,} edits; convert it again"
        )


def _boxes(file: Any, n_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and stop of the outermost boxes, as far as they have sizes."""
    start = 0
    while start + 8 <= n_bytes:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        size = int.from_bytes(file.read(8), "big") if size == 1 else size or n_bytes - start
        yield kind, start, min(start + size, n_bytes)
        if size < 8:
            return
        start += size


def _lists(file: Any, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """The lists anywhere in a box: kind and the two numbers behind their flags."""
    for place in range(start, stop, _PIECE):
        file.seek(place)
        piece = file.read(min(_PIECE + 16, stop - place))
        for kind in (b"stsz", b"trun", b"elst", b"cmov"):
            at = piece.find(kind, 0, _PIECE + 3)
            while at >= 0:
                first, second = struct.unpack(">II", piece[at + 8 : at + 16].ljust(8, b"\0"))
                yield kind, first, second
                at = piece.find(kind, at + 4, _PIECE + 3)
