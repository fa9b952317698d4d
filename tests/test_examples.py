"""The gallery runs, says what its page says, and its pictures are there."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

from tests import tiny_encoders

plt = pytest.importorskip("matplotlib.pyplot")

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "tests" / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, glyphs_once):
    """Runs an example as the command line does, in this process, which has imported most of it; returns its output."""
    monkeypatch.chdir(tmp_path)

    def run(name):
        path = str(EXAMPLES / f"{name}.py")
        monkeypatch.setattr("sys.argv", [path])
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    yield run
    plt.close("all")


@pytest.mark.slow
def test_the_gap(run, tmp_path):
    out = run("plot_gap")
    assert re.match(r"image and text sit 0\.4\d apart, .*; after alignment 0\.0\d", out)
    assert Image.open(tmp_path / "gap.png").width > 900
    assert "as the given aligner transforms it" in (tmp_path / "gap.html").read_text()


@pytest.mark.slow
def test_the_noise(run, tmp_path, quick_report):
    """Noise of the pairs' size is weaker than the pairs are, whatever its shape: the advice of the report."""
    cosines = [float(found) for found in re.findall(r"cosine (0\.\d+)", run("plot_noise"))]
    assert len(cosines) == 3
    assert cosines[0] < min(cosines[1:])
    assert (tmp_path / "noise.png").stat().st_size > 10_000


@pytest.mark.slow
def test_three_modalities(run, tmp_path, quick_report):
    out = run("plot_report")
    assert "the widest of 3 gaps" in out
    found = json.loads((tmp_path / "report.json").read_text())
    gaps = [pair["before"]["gap_norm"] for pair in found["pairs"]]
    assert gaps[0] < 0.2 < 0.4 < min(gaps[1:])  # two fonts of one alphabet lie together, names apart
    assert (tmp_path / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_one_index_over_two_modalities(run, tmp_path):
    out = run("search_two_modalities")
    assert out in (EXAMPLES / "README.md").read_text()
    before, after = (list(map(int, re.findall(r"(\d+)%", line))) for line in out.splitlines())
    assert after[0] > 2 * before[0]
    assert after[1] > before[1]


@pytest.mark.parametrize("tool", ["dask", "daft", "spark"])
def test_other_tools_learn_the_same_bytes(run, tool):
    if tool != "spark":  # whose RDD has a stand-in
        pytest.importorskip(tool, reason=f"{tool} is not installed")
    assert run(f"fit_{tool}") == "True\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train_probe", "train_head", "train_projector"])
def test_a_head_that_learned_from_texts_alone(name, run, monkeypatch):
    """Of a hundred that the head which learned from pictures gets right, it loses no more than five."""
    pytest.importorskip("transformers")
    tiny_encoders.import_torchvision()
    monkeypatch.syspath_prepend(str(EXAMPLES))
    assert (EXAMPLES / f"{name}.py").read_text().count("\n") < 40
    text, image = (float(share) for share in re.findall(r"alone: (0\.\d+)", run(name)))
    assert image > 0.6
    assert text > 0.95 * image
    label = {"train_probe": "linear probe", "train_head": "layer of torch", "train_projector": "soft tokens"}[name]
    shown = re.search(rf"^\| {label}.* \| (\S+) \| (\S+) \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert [float(share) for share in shown.groups()] == pytest.approx([text, image], abs=0.02)  # machines differ


def test_pictures_of_the_pages():
    pages = [ROOT / "README.md", EXAMPLES / "README.md"]
    shown = [
        (words, page.parent / path)
        for page in pages
        for words, path in re.findall(r"!\[([^\]]+)\]\(([^)]+\.png)\)", page.read_text())
    ]
    assert {path.name for _, path in shown} == {"gap.png", "report.png", "noise.png", "overview.png"}
    for words, path in shown:
        assert len(words) > 20
        assert path.stat().st_size < 150_000
        assert Image.open(path).format == "PNG"
