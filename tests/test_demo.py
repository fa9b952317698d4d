"""The demo, on a few characters: what it says, what its decoders learn from, what it keeps, and the sheet."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from c3align import Pipeline, cli, encoders
from c3align import datasets as data
from c3align.cli import demo
from c3align.cli.demo import _cache, _material, _sheet, _tasks
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
        found = demo.run(stream)
        told = stream.getvalue()
        for text in ("1. The gap", "2. One index", "100 names", "30 characters", "C1: embeddings as they are", "is   "):
            assert text in told
        assert "C2_1" not in told
        naming = found["tasks"]["naming"]
        assert list(naming) == ["C1", "C3"]
        assert f"{100 * naming['C3']['word_f1']:.1f}%" in told
        (folder,) = (quick / "cache").iterdir()
        assert str(folder) in told
        assert {path.name for path in folder.iterdir()} == {
            "names-C1",
            "names-C3",
            "rows.safetensors",
            "c3align-demo.png",
        }
        monkeypatch.delattr(Pipeline, "fit_text")  # a second run learns nothing
        monkeypatch.setattr(_material, "_embedded", None)  # and embeds nothing
        assert demo.run(io.StringIO()) == found

    def test_full_is_the_whole_ablation(self, quick):
        """The decoders of the short run are taken over."""
        short, stream = demo.run(io.StringIO()), io.StringIO()
        found = demo.run(stream, full=True)
        assert list(found["tasks"]["naming"]) == list(found["tasks"]["drawing"]) == list(_tasks.VARIANTS)
        assert all(found["tasks"]["naming"][variant] == short["tasks"]["naming"][variant] for variant in ("C1", "C3"))
        assert "C2_1: means removed" in stream.getvalue()
        assert "found first" in stream.getvalue()
        (folder,) = (quick / "cache").iterdir()
        kept = {path.name for path in folder.iterdir() if path.is_dir()}
        assert kept == {f"{what}-{variant}" for what in ("names", "pictures") for variant in _tasks.VARIANTS}

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
        demo.run(io.StringIO(), full=True, use_cache=False, sheet=quick / "sheet.png")
        train = data.glyphs(split="train")
        assert [what for what, _ in seen] == ["names"] * 4 + ["pictures"] * 4
        assert all(items == train.names for what, items in seen if what == "names")
        assert all(np.array_equal(items, train.pictures) for what, items in seen if what == "pictures")
        assert not (quick / "cache").exists()
        assert Image.open(quick / "sheet.png").size[0] > 500

    def test_what_was_kept_half_is_learned_anew(self, quick):
        found = demo.run(io.StringIO())
        (folder,) = (quick / "cache").iterdir()
        (folder / "names-C3" / "pipeline.json").write_text("{")
        (folder / "rows.safetensors").write_bytes(b"PK")
        assert demo.run(io.StringIO()) == found

    def test_other_settings_another_folder(self, quick):
        one, same, other = (_cache.folder_for("encoder@1", {"epochs": n}) for n in (1, 1, 2))
        assert one == same != other
        assert _cache.folder_for("encoder@2", {"epochs": 1}) != one

    def test_command(self, quick, capsys):
        assert cli.run(["demo", "--json", "--sheet", str(quick / "s.png")]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["tasks"]["sheet"] == str(quick / "s.png")
        assert "3. Pictures named" in err


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
    """Ink black on white, right words in color, and below what was drawn."""
    found = data.glyphs(split="held_out")
    name = found.names[0]
    examples = [_sheet.Example(found.pictures[0], name, {"C1": given}) for given in ("none of it", name)]
    shown = {}
    for given, example in zip(("wrong", "right"), examples):
        _sheet.save(tmp_path / "s.png", "A title", {"heading": [example]}, {"drawn": found.pictures[1:3]})
        shown[given] = np.asarray(Image.open(tmp_path / "s.png")).astype(int)
    sheet = shown["right"]
    for picture in found.pictures[:3]:
        assert _is_in(np.kron(255 - picture, np.ones((_sheet.SCALE, _sheet.SCALE), np.uint8)), sheet[:, :, 0])
    is_right = {given: (page == _sheet.RIGHT).all(axis=2).sum() for given, page in shown.items()}
    assert is_right["wrong"] == 0 < 20 < is_right["right"]
    assert (sheet[-_sheet.GAP :] == 255).all()


def _is_in(part, whole):
    """Whether an array lies somewhere in another."""
    windows = np.lib.stride_tricks.sliding_window_view(whole, part.shape)
    y = (part != part.max()).sum(axis=1).argmax()  # the row with the most ink: looked for first, it leaves few places
    places = np.argwhere((windows[:, :, y] == part[y]).all(axis=-1))
    return any((windows[i, j] == part).all() for i, j in places)


def test_words_are_right_as_often_as_the_name_has_them():
    colored = _sheet._colored("dots dots a b", "a dots c")
    assert [word for word, color in colored if color == _sheet.RIGHT] == ["dots", "a"]
    assert [color for word, color in colored if word == "dots"] == [_sheet.RIGHT, _sheet.PALE]


def test_examples_are_chosen_without_their_names(quick):
    """By how well the caption fits the picture: other names, the same choice."""
    material = _material.embed(encoders.load("glyphs"))
    names = list(material.held_out.names)
    captions = names[:10] + names[:20]  # the first ten name their picture, the rest another one
    chosen = _tasks.surest(material, captions, 5)
    assert set(chosen) <= set(range(10))
    material.held_out.names[:] = names[::-1]
    assert _tasks.surest(material, captions, 5) == chosen


def test_without_collapse_nothing_is_moved():
    material_rows = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32) + 1
    aligner = _tasks.fit_aligner("C1", {"text": material_rows, "image": -material_rows}, 0.6)
    rows = aligner.transform(material_rows, modality="text")
    assert np.abs(rows - material_rows / np.linalg.norm(material_rows, axis=1, keepdims=True)).max() < 1e-6


def test_examples_are_of_held_out_characters(quick):
    material = _material.embed(encoders.load("glyphs"))
    assert not set(material.train.code_points) & set(material.held_out.code_points)
    assert material.train_rows["text"].shape == (len(material.train), 256)
