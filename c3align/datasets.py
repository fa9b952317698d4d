"""Real data that need no download: the characters of matplotlib's DejaVu fonts as pictures, their names as captions.

"greek small letter alpha with tonos", "rightwards arrow with hook", "black chess knight": compositional captions
of real pictures, wherever matplotlib is installed. A fixed tenth of the code points is held out.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._arguments import check_choice, checked
from c3align._imports import need

__all__ = ["FONTS", "SIZE", "UNICODE_DIGEST", "Glyphs", "glyphs", "is_held_out"]

SIZE = 32  # width and height in pixels
FONT_SIZE = 24  # pixels per em
SPLITS = ("train", "held_out", "all")

# sha256 of the files (DejaVu 2.37), first 12 hex digits; the "Display" files hold other symbols and are left out
FONTS = {
    "DejaVuSans": "3fdf69cabf06",
    "DejaVuSans-Bold": "b184b89e3c10",
    "DejaVuSans-BoldOblique": "6edf02831601",
    "DejaVuSans-Oblique": "ccdf74b350f1",
    "DejaVuSansMono": "602ec86b8948",
    "DejaVuSansMono-Bold": "baada9a5172f",
    "DejaVuSansMono-BoldOblique": "a69081c15c76",
    "DejaVuSansMono-Oblique": "28052813f7a7",
    "DejaVuSerif": "107244956e99",
    "DejaVuSerif-Bold": "c3753f2ed6bc",
    "DejaVuSerif-BoldItalic": "d93efec7a9d2",
    "DejaVuSerif-Italic": "3e7994fbc54f",
}
# sha256 of "code point, name" lines of DejaVuSans, first 12 digits: the same for Unicode 13.0 to 15.1
UNICODE_DIGEST = "8a76c4e801bd"


@dataclass(frozen=True, eq=False)
class Glyphs:
    """Pictures of characters and their names, row by row.

    Parameters
    ----------
    pictures : (n, 32, 32) uint8
        From 0, paper, to 255, ink.
    names : list of n str
        In lower case, with spaces for hyphens.
    code_points : (n,) int64
        In rising order.
    """

    pictures: npt.NDArray[np.uint8]
    names: list[str]
    code_points: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


@checked
def glyphs(font: str = "DejaVuSans", split: str = "all") -> Glyphs:
    """Render a font's named characters.

    Parameters
    ----------
    font : str
        A key of `FONTS`.
    split : "train", "held_out" or "all"
        Which code points: a held-out character is held out in every font.

    Returns
    -------
    Glyphs
        All characters of the font that have a name and are not blank. Arrays are read-only, the list is the caller's.

    Raises
    ------
    C3AlignError
        An unknown font or split.
    MissingExtraError
        If matplotlib, which contains the fonts, is not installed.

    Warns
    -----
    UserWarning
        If the font file or Python's Unicode table is not the one that the published figures were measured with.
    """
    check_choice("font", font, [*FONTS])
    check_choice("split", split, SPLITS)
    whole = _render(font)
    if split == "all":
        return replace(whole, names=[*whole.names])
    chosen = np.array([is_held_out(point) == (split == "held_out") for point in whole.code_points.tolist()])
    names = [name for name, keep in zip(whole.names, chosen) if keep]
    return Glyphs(_read_only(whole.pictures[chosen]), names, _read_only(whole.code_points[chosen]))


@checked
def is_held_out(code_point: int) -> bool:
    """Tell whether a character belongs to the tenth that nothing may be trained on.

    Parameters
    ----------
    code_point : int
        Unicode code point.

    Returns
    -------
    bool
        Decided by a hash, the same on every machine.
    """
    digest = hashlib.sha256(f"c3align glyphs {code_point:06x}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 10 == 0


@functools.cache
def _render(font: str) -> Glyphs:
    path = _font_path(font)
    points = _named_code_points(path)
    if font == "DejaVuSans":
        _check_unicode(points)
    pictures = [_picture(path, point) for point in points]
    inked = [i for i, picture in enumerate(pictures) if picture.any()]
    names = [_name(points[i]) for i in inked]
    stack = np.stack([pictures[i] for i in inked])
    return Glyphs(_read_only(stack), names, _read_only(np.array([points[i] for i in inked], np.int64)))


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself, as the cache hands out the same one every time."""
    values.flags.writeable = False
    return values


def _font_path(font: str) -> Path:
    matplotlib = need("matplotlib", "matplotlib", "plots")
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    if digest != FONTS[font]:
        warnings.warn(
            f"{path.name} of matplotlib {matplotlib.__version__} is not the file that the glyphs were measured with "
            f"(sha256 {digest}, not {FONTS[font]}), so figures may differ; matplotlib 3.11 has that file",
            stacklevel=5,
        )
    return path


def _named_code_points(path: Path) -> list[int]:
    """Characters of the font with a name, except control, separator and combining ones."""
    from matplotlib.ft2font import FT2Font

    points = sorted(FT2Font(str(path)).get_charmap())
    return [p for p in points if _name(p) and unicodedata.category(chr(p))[0] not in "CMZ"]


def _name(code_point: int) -> str:
    return unicodedata.name(chr(code_point), "").lower().replace("-", " ")


def _check_unicode(points: list[int]) -> None:
    lines = "".join(f"{point:06x} {_name(point)}\n" for point in points)
    digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
    if digest != UNICODE_DIGEST:
        warnings.warn(
            f"the character names of Unicode {unicodedata.unidata_version} are not those of 13.0 to 15.1 that the "
            "glyphs were measured with, so figures may differ; Python 3.11 to 3.13 have those names",
            stacklevel=5,
        )


@functools.cache
def _open(path: Path) -> Any:
    from PIL import ImageFont  # matplotlib depends on Pillow

    return ImageFont.truetype(str(path), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def _picture(path: Path, code_point: int) -> npt.NDArray[np.uint8]:
    """The character centered by its box, which extends to the baseline, and cropped to the picture."""
    from PIL import Image, ImageDraw

    font, text = _open(path), chr(code_point)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (SIZE, SIZE), 0)
    origin = ((SIZE - right - left) // 2, (SIZE - bottom - top) // 2)
    ImageDraw.Draw(image).text(origin, text, fill=255, font=font)
    return np.asarray(image)
