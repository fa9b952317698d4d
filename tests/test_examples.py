"""The gallery runs, says what its page says, and its pictures are there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "tests" / "examples"


def run(name, folder):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_gap(tmp_path):
    out = run("plot_gap", tmp_path)
    assert re.match(r"image and text sit 0\.4\d apart, .*; after alignment 0\.0\d", out)
    assert Image.open(tmp_path / "gap.png").width > 900
    assert "as the given aligner transforms it" in (tmp_path / "gap.html").read_text()


@pytest.mark.slow
def test_the_noise(tmp_path):
    """Noise of the pairs' size is weaker than the pairs are, whatever its shape: the advice of the report."""
    cosines = [float(found) for found in re.findall(r"cosine (0\.\d+)", run("plot_noise", tmp_path))]
    assert len(cosines) == 3
    assert cosines[0] < min(cosines[1:])
    assert (tmp_path / "noise.png").stat().st_size > 10_000


@pytest.mark.slow
def test_three_modalities(tmp_path):
    out = run("plot_report", tmp_path)
    assert "the widest of 3 gaps" in out
    found = json.loads((tmp_path / "report.json").read_text())
    gaps = [pair["before"]["gap_norm"] for pair in found["pairs"]]
    assert gaps[0] < 0.2 < 0.4 < min(gaps[1:])  # two fonts of one alphabet lie together, names apart
    assert (tmp_path / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_one_index_over_two_modalities(tmp_path):
    out = run("search_two_modalities", tmp_path)
    assert out in (EXAMPLES / "README.md").read_text()
    before, after = (list(map(int, re.findall(r"(\d+)%", line))) for line in out.splitlines())
    assert after[0] > 2 * before[0]
    assert after[1] > before[1]


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
