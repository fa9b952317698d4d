"""The last sheet: pictures and the names that decoders gave them, right words in color, and drawings if any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.io import atomic

SCALE, GAP, FONT_SIZE, WIDTH, N_COLUMNS = 3, 14, 17, 1560, 2
EDGE, LINE = 32 * SCALE, FONT_SIZE + 9
INK, PALE, RIGHT = (20, 20, 20), (120, 120, 120), (0, 125, 60)


@dataclass(frozen=True)
class Example:
    """A picture (32, 32) uint8, its name, and the names that were given to it, by variant."""

    picture: npt.NDArray[np.uint8]
    name: str
    given: Mapping[str, str]


def save(
    path: Path,
    title: str,
    sections: Mapping[str, Sequence[Example]],
    drawn: Mapping[str, npt.NDArray[np.uint8]] | None = None,
) -> None:
    """Write the sheet as PNG: the title, its first line large, examples by heading, and rows of drawings by label."""
    from PIL import Image

    drawn = drawn or {}
    rows = sum(-(-len(examples) // N_COLUMNS) for examples in sections.values()) + len(drawn)
    headings = len(title.splitlines()) + len(sections)
    height = (LINE + GAP) * headings + (EDGE + GAP) * rows + 2 * GAP
    page = _Page(Image.new("RGB", (WIDTH, height), "white"))
    for k, line in enumerate(title.splitlines()):
        page.heading(line, large=k == 0)
    for heading, examples in sections.items():
        page.heading(heading)
        page.examples(examples)
    for label, pictures in drawn.items():
        page.strip(label, pictures)
    with atomic.replaced_file(path) as scratch, scratch.open("wb") as file:
        page.sheet.save(file, "PNG")


class _Page:
    """A sheet that is filled from the top."""

    def __init__(self, sheet: Any) -> None:
        from PIL import ImageDraw

        self.sheet, self.top = sheet, GAP
        self.canvas = ImageDraw.Draw(sheet)
        self.plain, self.bold, self.large = _font("", FONT_SIZE), _font("-Bold", FONT_SIZE), _font("-Bold", 26)

    def heading(self, text: str, large: bool = False) -> None:
        self.top += 0 if large else GAP // 2
        self.canvas.text((GAP, self.top), text, fill=INK, font=self.large if large else self.plain)
        self.top += LINE + (GAP if large else GAP // 2)

    def examples(self, examples: Sequence[Example]) -> None:
        n_rows = -(-len(examples) // N_COLUMNS)
        for i, example in enumerate(examples):  # down the first column, then the next
            column, row = divmod(i, n_rows)
            self._example(example, GAP + column * (WIDTH // N_COLUMNS), self.top + row * (EDGE + GAP))
        self.top += n_rows * (EDGE + GAP)

    def _example(self, example: Example, left: int, top: int) -> None:
        self.sheet.paste(_enlarged(example.picture), (left, top))
        left += EDGE + GAP
        self._words(left, top, [(example.name, INK)], self.bold)
        for k, (variant, text) in enumerate(example.given.items()):
            mark = "  \N{CHECK MARK}" if text == example.name else ""
            words = [(f"{variant} ", PALE), *_colored(text, example.name), (mark, RIGHT)]
            self._words(left, top + LINE * (k + 1), words, self.plain)

    def _words(self, left: int, top: int, words: Iterable[tuple[str, Any]], font: Any) -> None:
        """Words one after the other, cut at the end of their column."""
        end = left + WIDTH // N_COLUMNS - EDGE - 3 * GAP
        for word, color in words:
            if left + font.getlength(word) > end:
                self.canvas.text((left, top), "\N{HORIZONTAL ELLIPSIS}", fill=PALE, font=font)
                return
            self.canvas.text((left, top), word, fill=color, font=font)
            left += font.getlength(f"{word} ")

    def strip(self, label: str, pictures: npt.NDArray[np.uint8]) -> None:
        self.canvas.text((GAP, self.top + EDGE // 2 - FONT_SIZE), label, fill=INK, font=self.plain)
        start = 200
        for i, picture in enumerate(pictures[: (WIDTH - start) // (EDGE + GAP)]):
            self.sheet.paste(_enlarged(picture), (start + i * (EDGE + GAP), self.top))
        self.top += EDGE + GAP


def _colored(text: str, name: str) -> list[tuple[str, Any]]:
    """The words of a text, those in color that are the name's too, each as often as it is there."""
    left, found = Counter(name.split()), []
    for word in text.split():
        found.append((word, RIGHT if left[word] > 0 else PALE))
        left[word] -= 1
    return found


def _enlarged(picture: npt.NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(255 - picture).resize(
        [SCALE * edge for edge in picture.shape[::-1]], Image.Resampling.NEAREST
    )


def _font(style: str, size: int) -> Any:
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return ImageFont.truetype(str(folder / f"DejaVuSans{style}.ttf"), size)
