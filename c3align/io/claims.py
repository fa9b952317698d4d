"""What sounds and videos state of themselves, compared with what is there.

The lists of an MP4 are compared with the file's size before libav notes every sample that they state: a thousand
million samples take twenty bytes, as equal sizes (`stsz`), runs of fragments (`trun`), or edits (`elst`) that play all
samples again and again. A file that is shorter than it states was cut, and so was one of a format without a stated
length that does not end as they do: Ogg, GIF, and MPEG-TS within a packet. An MP3 without a Xing header, AAC and AMR as
they are, ASF, MPEG-PS, and a transport stream cut between two packets do not tell.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

from c3align.errors import C3AlignError

__all__ = ["check_lists", "whole_packets"]

_IN_THE_MIDDLE = "the file ends in the middle; copy it again, or let a program write it anew"
_FREE = 1 << 22  # samples that every file may state
_TOLD_BY = {b"moov", b"moof", b"free", b"hoov"}  # where libav looks for lists
_PIECE = 1 << 22
_HEADER, _UNKNOWN = 64, 0x7FFF0000  # bytes; what is written into a pipe states the most there can be
_MISSING = 0.3  # seconds that a file may be shorter than it states
# libav's formats that have their length written down, not estimated
_TELLS = ("matroska", "mov", "flac", "flv", "aiff", "au")
_PAGE = 27 + 255 + 255 * 255  # bytes of the longest page of an Ogg
_COUNTED = ("w64", "caf")  # whose last packet libav calls corrupt where bytes of it are missing
# of a transport stream: bytes of a packet, and its last bytes that begin with "G"
_PACKETS = ((188, 188), (192, 188), (204, 204))


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


def whole_packets(container: Any, file: Any) -> Iterator[Any]:
    """All packets that libav finds in a file, which is refused where they end before it says."""
    place, n_bytes = file.tell(), file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(max(0, n_bytes - _PAGE))
    tail = file.read()
    file.seek(place)
    _check_size(head, n_bytes)
    if not _has_end(container.format.name, tail, n_bytes):
        raise C3AlignError(_IN_THE_MIDDLE)
    tells = container.format.name.startswith(_TELLS)
    tells = tells or (container.format.name == "mp3" and (b"Xing" in head or b"Info" in head))
    is_short, counted = False, container.format.name in _COUNTED
    end, stated = 0.0, container.duration / 1e6 if tells and container.duration else 0.0
    for packet in container.demux():
        if packet.pts is not None and packet.size:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            is_short = counted and packet.is_corrupt
        yield packet
    if is_short:
        raise C3AlignError(_IN_THE_MIDDLE)
    start = min(0.0, (container.start_time or 0) / 1e6)
    if end - start < stated - _MISSING:
        raise C3AlignError(f"the file ends after {end:.1f} of {stated:.1f} seconds; copy it again")


def _check_size(head: bytes, n_bytes: int) -> None:
    """Refuse a WAV, AVI or AIFF that states more bytes than there are, by more than writers disagree on."""
    order: Any = {b"RIFF": "little", b"FORM": "big"}.get(head[:4])
    stated = int.from_bytes(head[4:8], order) + 8 if order else 0
    if n_bytes + _HEADER < stated < _UNKNOWN:
        raise C3AlignError(f"the file holds {n_bytes:,} of the {stated:,} bytes that it states; copy it again")


def _has_end(name: str, tail: bytes, n_bytes: int) -> bool:
    """Whether a file of a format that states no length ends as its format does."""
    if name == "ogg":  # with a whole page that calls itself the last
        page = tail[max(0, tail.rfind(b"OggS")) :]
        return len(page) > 27 and page[5] & 4 > 0 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    if name == "mpegts":
        return any(n_bytes % size == 0 and tail[-last:][:1] == b"G" for size, last in _PACKETS)
    return name != "gif" or tail.rstrip(b"\0").endswith(b";")
