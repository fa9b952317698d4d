"""A contact sheet: held-out characters, the names they were given, and the pictures drawn from their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.io import atomic

__all__ = ["save"]

SCALE, GAP, TEXT_WIDTH, FONT_SIZE = 3, 12, 640, 18
INK, PALE = (20, 20, 20), (120, 120, 120)


def save(
    path: Path,
    pictures: npt.NDArray[np.uint8],
    names: Sequence[str],
    drawn: Mapping[str, npt.NDArray[np.uint8]],
    given: Mapping[str, Sequence[str]],
) -> None:
    """Write the sheet as PNG.

    Parameters
    ----------
    path : Path
    pictures : (n, 32, 32) uint8, ink 255
    names : their n names
    drawn, given : by variant, n pictures drawn from the names, and n names given to the pictures
    """
    from PIL import Image, ImageDraw

    edge = pictures.shape[1] * SCALE + GAP
    line = FONT_SIZE + 8
    row = max(edge, line * (1 + len(given))) + GAP
    sheet = Image.new("RGB", (edge * (1 + len(drawn)) + TEXT_WIDTH + 2 * GAP, line + row * len(names) + GAP), "white")
    canvas, font = ImageDraw.Draw(sheet), _font()
    for column, title in enumerate(["seen", *(f"{variant} draws" for variant in drawn)]):
        canvas.text((GAP + column * edge, GAP // 2), title, fill=PALE, font=font)
    for i, name in enumerate(names):
        top = line + GAP + i * row
        for column, picture in enumerate([pictures[i], *(stack[i] for stack in drawn.values())]):
            sheet.paste(_enlarged(picture), (GAP + column * edge, top))
        left = 2 * GAP + edge * (1 + len(drawn))
        canvas.text((left, top), f"is  {name}", fill=INK, font=font)
        for k, (variant, texts) in enumerate(given.items()):
            canvas.text((left, top + line * (k + 1)), f"{variant} reads  {texts[i]}", fill=PALE, font=font)
    with atomic.replaced_file(path) as scratch, scratch.open("wb") as file:
        sheet.save(file, "PNG")


def _enlarged(picture: npt.NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(255 - picture).resize(
        [SCALE * edge for edge in picture.shape[::-1]], Image.Resampling.NEAREST
    )


def _font() -> Any:
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), FONT_SIZE)
