"""Draws the README's pictures anew, by the examples beside this file: `make gallery`.

The screenshot of the report's page needs a browser (see `tests/browser.py`).
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"
sys.path.insert(0, str(HERE.parents[1]))

from tests import browser  # noqa: E402


def small(picture: Image.Image, name: str) -> None:
    """A PNG of a palette, which is enough for drawings and a third of the bytes."""
    path = IMAGES / name
    picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(HERE.parents[1])}: {path.stat().st_size / 1e3:.0f} kB")


def screenshot(page: Path, folder: Path) -> Image.Image:
    """The top of the page, on a desk in light and on a phone in the dark."""
    with browser.Browser(browser.find()) as opened:
        opened.open(page, width=1180)
        opened.picture(folder / "desk.png", height=1150)
        opened.open(page, width=390, dark=True)
        opened.picture(folder / "phone.png", height=1150)
    desk, phone = (Image.open(folder / f"{name}.png") for name in ("desk", "phone"))
    whole = Image.new("RGB", (desk.width + phone.width + 40, desk.height), "white")
    whole.paste(desk, (0, 0))
    whole.paste(phone, (desk.width + 40, 0))
    return whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.LANCZOS)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for script in ("plot_gap", "plot_noise", "plot_report"):
            runpy.run_path(str(HERE / f"{script}.py"))["main"](folder)
        for picture in ("gap", "noise", "overview"):
            small(Image.open(folder / f"{picture}.png"), f"{picture}.png")
        small(screenshot(folder / "gap.html", folder), "report.png")


if __name__ == "__main__":
    main()
