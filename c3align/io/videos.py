"""Frames of a video: which are wanted, from the times of all, and what a player makes of one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import numpy as np

from c3align._imports import need
from c3align.errors import C3AlignError

_TILTED = 1.0  # degrees off a quarter that are none


def shown_at(stream: Any, packets: Iterable[Any]) -> list[int]:
    """When the frames of a stream are shown, in its unit of time, and when the last one ends; evenly if unknown."""
    mine = (packet for packet in packets if packet.stream is stream and packet.size and not packet.is_discard)
    spans = [(packet.pts, packet.duration) for packet in mine]  # and not the packets, which hold the whole file
    if not spans or None in (pts for pts, _ in spans):
        step = round(1 / (stream.time_base * (stream.average_rate or stream.guessed_rate or 25)))
        return [i * step for i in range(len(spans) + 1)]
    spans.sort(key=lambda span: span[0])
    times = [pts for pts, _ in spans]
    return [*times, times[-1] + (spans[-1][1] or round((times[-1] - times[0]) / max(1, len(times) - 1)) or 1)]


def at_times(shown: list[int], n: int) -> list[int]:
    """The frames that are shown in the middles of `n` equal stretches of time."""
    span = shown[-1] - shown[0]
    times = [shown[0] + (2 * i + 1) * span / (2 * n) for i in range(n)]
    return [bisect_right(shown, time, hi=len(shown) - 1) - 1 for time in times]


def as_shown(frame: Any, stream: Any) -> Any:
    """A frame as players show it: its pixels made square, mirrored, then turned by quarters, as the file says."""
    picture = squared(frame.to_image().convert("RGB"), stream.sample_aspect_ratio)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    across, down = np.frombuffer(bytes(matrix), np.int32)[[0, 1, 3, 4]].reshape(2, 2).astype(np.float64)
    if np.linalg.det([across, down]) < 0:
        picture, across = picture.transpose(need("PIL.Image", "pillow").Transpose.FLIP_LEFT_RIGHT), -across
    angle = float(np.degrees(np.arctan2(across[1], across[0])))  # to the right
    turned = round(angle / 90) * 90
    if abs(angle - turned) > _TILTED or abs(across @ down) > _TILTED / 100 * (across @ across + down @ down):
        raise C3AlignError(
            f"a video that is to be shown tilted by {angle - turned:.0f} degrees, or slanted; convert it"
        )
    return picture.rotate(-turned, expand=True) if turned else picture


def squared(picture: Any, ratio: Any) -> Any:
    """A picture of pixels that are `ratio` times as wide as high, in square ones; it never grows."""
    if not ratio or ratio == 1:
        return picture
    width, height = picture.size
    size = (round(width * ratio), height) if ratio < 1 else (width, round(height / ratio))
    return picture.resize((max(1, size[0]), max(1, size[1])))
