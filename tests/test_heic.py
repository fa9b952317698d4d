"""Pictures of phones: read where pillow-heif is installed, and named with the fix where it is not."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from c3align import cli, datasets
from c3align.errors import C3AlignError
from c3align.io import media
from tests.media import SIZE, colours

Image = pytest.importorskip("PIL.Image", reason="Pillow is absent")
HEAD = struct.pack(">I4s4sI4s", 20, b"ftyp", b"heic", 0, b"mif1") + bytes(100)


def test_without_the_extra_it_is_that_items_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(HEAD)
    fix = r"a HEIC picture: pillow-heif is not installed; pip install 'c3align\[heic\]', or convert it"
    with pytest.raises(C3AlignError, match=fix):
        media.image(tmp_path / "a.heic")
    pytest.importorskip("pyarrow", reason="pyarrow is absent")
    Image.fromarray(datasets.glyphs().pictures[0]).save(tmp_path / "b.png")
    asked = ["embed", str(tmp_path), "--encoder", "glyphs", "--modality", "image", "-o", str(tmp_path / "o")]
    assert cli.run([*asked, "--on-error", "skip"]) == 0
    assert "1 of 2 items could not be read" in capsys.readouterr().err
    assert "c3align[heic]" in (tmp_path / "o" / "broken_image.jsonl").read_text()


def test_another_file_is_what_it_was(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"no picture" * 10)
    with pytest.raises(OSError, match="cannot identify image file"):
        media.image(tmp_path / "a.heic")


class TestRead:
    """With pillow-heif; x265 blurs, so that colours come within a few levels."""

    @pytest.fixture
    def made(self, tmp_path):
        heif = pytest.importorskip("pillow_heif", reason="pillow-heif is absent; pip install 'c3align[heic]'")

        def write(name, *pictures, **options):
            file = heif.HeifFile()
            for picture in pictures:
                file.add_from_pillow(Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture)
            file.save(tmp_path / name, quality=95, **options)
            return tmp_path / name

        return write

    @staticmethod
    def off(found, expected):
        return np.abs(np.asarray(found, np.int64) - expected).mean()

    def test_a_photograph(self, made):
        found = media.image(made("a.heic", colours()))
        assert (found.mode, found.size) == ("RGB", SIZE)
        assert self.off(found, colours()) < 3
        media.check(made("b.jpg", colours()), "image")  # whatever it is called

    def test_upright_as_the_camera_was_held(self, made):
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = Image.fromarray(colours()).rotate(90, expand=True)
        assert self.off(media.image(made("a.heic", turned, exif=exif.tobytes())), colours()) < 3

    def test_the_main_picture_and_not_the_first(self, made):
        path = made("a.heic", np.full((40, 60, 3), 200, np.uint8), colours(), primary_index=1)
        assert self.off(media.image(path), colours()) < 3

    def test_transparent_parts_are_white(self, made):
        layer = Image.fromarray(colours()).convert("RGBA")
        layer.putalpha(0)
        assert self.off(media.image(made("a.heic", layer)), 255) < 3

    def test_pillow_stays_as_it_was(self, made):
        media.image(made("a.heic", colours()))
        assert Image.OPEN.get("HEIF") is None

    @pytest.mark.parametrize("cut", [30, 400, -20])
    def test_cut_files_are_refused(self, cut, made):
        path = made("a.heic", colours())
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises((C3AlignError, OSError)):
            media.image(path)

    def test_many_pixels_in_few_bytes(self, made):
        """Before they are decoded; so is a file that states fewer than there are."""
        path = made("a.heic", Image.new("RGB", (6000, 6000)))
        with pytest.raises(C3AlignError, match=r"36,000,000 pixels in a file of .* allowed"):
            media.image(path)
        content = path.read_bytes()
        at = content.index(b"ispe") + 8
        path.write_bytes(content[:at] + struct.pack(">II", 16, 16) + content[at + 8 :])
        with pytest.raises(C3AlignError, match="Image size 6000x6000 exceeds the maximum"):
            media.image(path)
