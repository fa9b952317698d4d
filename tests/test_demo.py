"""The whole demo, on a few characters: what it says, what it learns from, what it keeps, and the sheet."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from c3align import Pipeline, _demo, cli
from c3align import datasets as data
from c3align._demo import _cache, _gap, _sheet, _tasks, _variants
from tests import tiny_encoders


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A hundred characters to learn from, thirty to be asked for, small decoders, and a cache of its own."""
    tiny_encoders.import_torchvision()
    real = data.glyphs

    def few(font="DejaVuSans", split="all"):
        whole, n = real(font, split), {"train": 100, "held_out": 30}[split]
        return data.Glyphs(whole.pictures[:n], whole.names[:n], whole.code_points[:n])

    monkeypatch.setattr(data, "glyphs", few)
    settings = {"captioner": {"epochs": 1, "batch_size": 32}, "generator": {"epochs": 1}}
    monkeypatch.setattr(
        _tasks, "SETTINGS", {**_tasks.SETTINGS, "lm": {"width": 16, "n_layers": 1, "n_heads": 2}, **settings}
    )
    monkeypatch.setenv("C3ALIGN_CACHE", str(tmp_path / "cache"))
    return tmp_path


class TestRun:
    def test_it_tells_learns_and_keeps(self, quick, monkeypatch):
        stream = io.StringIO()
        found = _demo.run(stream)
        told = stream.getvalue()
        for text in (
            "modality gap",
            "Naming.",
            "Drawing.",
            "100 names",
            "30 characters",
            "C2_1 collapse",
            "found first",
        ):
            assert text in told
        tasks = found["tasks"]
        assert list(tasks["naming"]) == list(tasks["drawing"]) == list(_variants.VARIANTS)
        assert f"{100 * tasks['naming']['C3']['word_f1']:.1f}%" in told
        (folder,) = (quick / "cache").iterdir()
        assert str(folder) in told
        kept = {path.name for path in folder.iterdir()}
        assert kept == {f"{what}-{v}" for what in ("names", "pictures") for v in _variants.VARIANTS} | {
            "c3align-demo.png"
        }
        for fit in ("fit_text", "fit_images"):  # a second run learns nothing
            monkeypatch.delattr(Pipeline, fit)
        assert _demo.run(io.StringIO()) == found

    def test_one_modality_alone(self, quick, monkeypatch):
        """Names without pictures, and pictures without names; the other one gives a mean and nothing else."""
        seen = []
        for kind, given in (("fit_text", "names"), ("fit_images", "pictures")):
            fit = getattr(Pipeline, kind)
            monkeypatch.setattr(
                Pipeline,
                kind,
                lambda self, items, fit=fit, what=given, **o: (seen.append((what, items)), fit(self, items, **o))[1],
            )
        _demo.run(io.StringIO(), use_cache=False, sheet=quick / "sheet.png")
        train = data.glyphs(split="train")
        assert [what for what, _ in seen] == ["names"] * 4 + ["pictures"] * 4
        assert all(items == train.names for what, items in seen if what == "names")
        assert all(np.array_equal(items, train.pictures) for what, items in seen if what == "pictures")
        assert not (quick / "cache").exists()
        assert Image.open(quick / "sheet.png").size[0] > 500

    def test_what_was_kept_half_is_learned_anew(self, quick):
        found = _demo.run(io.StringIO())
        (folder,) = (quick / "cache").iterdir()
        (folder / "names-C3" / "pipeline.json").write_text("{")
        assert _demo.run(io.StringIO()) == found

    def test_other_settings_another_folder(self, quick):
        one, same, other = (_cache.folder_for("encoder@1", {"epochs": n}) for n in (1, 1, 2))
        assert one == same != other
        assert _cache.folder_for("encoder@2", {"epochs": 1}) != one

    def test_command(self, quick, capsys):
        assert cli.run(["demo", "--json", "--sheet", str(quick / "s.png")]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["tasks"]["sheet"] == str(quick / "s.png")
        assert "Naming." in err


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("C3ALIGN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert _cache.root() == tmp_path / "c3align"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert _cache.root() == tmp_path / "local" / "c3align"
    monkeypatch.setenv("C3ALIGN_CACHE", str(tmp_path / "mine"))
    assert _cache.root() == tmp_path / "mine"


def test_sheet_shows_what_it_is_given(tmp_path):
    """The character itself at the left, ink black on white, then what was drawn."""
    found = data.glyphs(split="held_out")
    drawn = {"C1": np.zeros_like(found.pictures[:2]), "C3": found.pictures[:2]}
    _sheet.save(tmp_path / "s.png", found.pictures[:2], found.names[:2], drawn, {"C3": ["a", "b"]})
    sheet = np.asarray(Image.open(tmp_path / "s.png").convert("L"))
    edge, left = 32 * _sheet.SCALE, _sheet.GAP
    top = 8 + _sheet.FONT_SIZE + _sheet.GAP
    step = edge + _sheet.GAP
    big = np.kron(255 - found.pictures[0], np.ones((_sheet.SCALE, _sheet.SCALE), np.uint8))
    assert np.array_equal(sheet[top : top + edge, left : left + edge], big)
    assert (sheet[top : top + edge, left + step : left + step + edge] == 255).all()
    assert np.array_equal(sheet[top : top + edge, left + 2 * step : left + 2 * step + edge], big)


def test_without_collapse_nothing_is_moved():
    material_rows = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32) + 1
    aligner = _variants.fit_aligner("C1", material_rows, -material_rows)
    rows = aligner.transform(material_rows, modality="text")
    assert np.abs(rows - material_rows / np.linalg.norm(material_rows, axis=1, keepdims=True)).max() < 1e-6


def test_examples_are_of_held_out_characters():
    material = _gap.embed()
    assert not set(material.train.code_points) & set(material.held_out.code_points)
    assert material.train_rows["text"].shape == (len(material.train), 256)
