"""Draws the README's pictures anew, by the examples beside this file: `make gallery`.

The screenshots of the report's page and of `c3align serve` need a browser (see `tests/browser.py`).
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"
sys.path.insert(0, str(HERE.parents[1]))

from c3align import datasets  # noqa: E402
from tests import browser  # noqa: E402

ASKED = """new Promise((done) => {
  const when = (is, then) => (is() ? then() : setTimeout(when, 20, is, then));
  when(() => about, () => { byId("text").value = "arrow"; byId("ask").requestSubmit(); });
  when(() => found && [...document.images].every((image) => image.complete), () => setTimeout(done, 500));
})"""


def small(picture: Image.Image, name: str, n_colours: int = 256) -> None:
    """A PNG of a palette, which is enough for drawings and a third of the bytes."""
    path = IMAGES / name
    found = picture.convert("RGB").quantize(n_colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    found.save(path, optimize=True)
    print(f"{path.relative_to(HERE.parents[1])}: {path.stat().st_size / 1e3:.0f} kB")


def screenshot(page: Path | str, folder: Path, act: str = "0") -> Image.Image:
    """The top of the page, on a desk in light and on a phone in the dark, after `act`."""
    with browser.Browser(browser.find()) as opened:
        for name, width in (("desk", 1180), ("phone", 390)):
            opened.open(page, width=width, dark=name == "phone")
            opened.value(act)
            opened.picture(folder / f"{name}.png", height=1150)
    desk, phone = (Image.open(folder / f"{name}.png") for name in ("desk", "phone"))
    whole = Image.new("RGB", (desk.width + phone.width + 40, desk.height), "white")
    whole.paste(desk, (0, 0))
    whole.paste(phone, (desk.width + 40, 0))
    return whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.LANCZOS)


def served(folder: Path) -> Image.Image:
    """`c3align serve` with pictures and names of characters, asked for an arrow."""
    glyphs, command = datasets.glyphs(split="held_out"), [sys.executable, "-m", "c3align"]
    (folder / "pictures").mkdir()
    for i, picture in enumerate(glyphs.pictures):
        Image.fromarray(picture).save(folder / "pictures" / f"{i:03}.png")
    (folder / "names.csv").write_text("\n".join(["name", *glyphs.names]))
    made = [*command, "index", "pictures", "names.csv", "--encoder", "glyphs", "-o", "idx"]
    subprocess.run(made, cwd=folder, check=True)
    serving = [*command, "serve", "idx", "--port", "0"]
    with subprocess.Popen(serving, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            return screenshot(re.findall(r"http\S+", process.stdout.readline())[0], folder, ASKED)
        finally:
            process.terminate()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for script in ("plot_gap", "plot_noise", "plot_report"):
            runpy.run_path(str(HERE / f"{script}.py"))["main"](folder)
        for picture in ("gap", "noise", "overview"):
            small(Image.open(folder / f"{picture}.png"), f"{picture}.png")
        small(screenshot(folder / "gap.html", folder), "report.png")
        small(served(folder), "serve.png", n_colours=64)


if __name__ == "__main__":
    main()
