"""Hypothesis profiles, and the real data that lies beside the checkout."""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import os
import pickle
import runpy
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAPER = ROOT / "benchmarks" / "paper"
DATA = Path(os.environ.get("C3ALIGN_DATA", ROOT.parent / "shared" / "data"))

sys.path.insert(0, str(PAPER))  # its modules are tested too

hypothesis.settings.register_profile("dev", max_examples=30, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", max_examples=5000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("C3ALIGN_HYPOTHESIS_PROFILE", "dev"))

gc.disable()  # until all is imported: what stays would be looked at again and again, for seconds


def pytest_configure():
    """A shell's background jobs ignore Control-C, and so would the commands that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session):
    gc.freeze()
    gc.enable()
    if (children := sys.modules.get("tests.children")) and not session.config.option.collectonly:
        children.prepare()  # before the first test imports or changes anything


@pytest.fixture(autouse=True)
def _pillows_own_limit(monkeypatch):
    """`--max-pixels` raises or lowers it for the whole process, as is right for a command."""
    if find_spec("PIL"):
        from PIL import Image

        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def _load(name: str):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set C3ALIGN_DATA to the folder of reference data")
    return path


def _pair(name: str) -> tuple[np.ndarray, np.ndarray]:
    image, text = np.load(_load(name))
    return image, text


@pytest.fixture
def call(capsys):
    """Run a command line; returns exit code, stdout, stderr."""
    from c3align import cli  # needs typer, which the environment of the old scikit-learn may lack

    def run(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Run a script as a command line does, in this process, which has imported most of it: to see, not to measure."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def run(script, *arguments):
        path, ended = str(ROOT / script), None
        monkeypatch.setattr("sys.argv", [path, *map(str, arguments)])
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as error:
            ended = error.code
        out, err = capsys.readouterr()
        if isinstance(ended, str):
            ended, err = 1, f"{err}{ended}\n"
        return subprocess.CompletedProcess([script, *arguments], ended or 0, out, err)

    return run


@pytest.fixture(scope="session")
def coco() -> tuple[np.ndarray, np.ndarray]:
    """CLIP ViT-B/16 embeddings of 500 COCO pairs: image (500, 512), text (500, 512), unit rows."""
    return _pair("coco-clip-vitb16/features_clip.npy")


@pytest.fixture(scope="session")
def coco_report(coco):
    """What `report` finds in them, in two seconds."""
    from c3align import report

    return report.report(*coco)


@pytest.fixture
def quick_report(monkeypatch):
    """A report without the figures that take most of its time on 512 dimensions: for tests of the others."""
    for name, found in (("_separability", None), ("_covariance_distance", 0.0), ("_noise_fits", None)):
        monkeypatch.setattr(f"c3align.report._measure.{name}", lambda *_, found=found: found)


@pytest.fixture(scope="session")
def coco_random() -> tuple[np.ndarray, np.ndarray]:
    """The same pairs through a CLIP that was never trained."""
    return _pair("coco-clip-vitb16/features_clip_random.npy")


@pytest.fixture(scope="session")
def convirt() -> tuple[np.ndarray, np.ndarray]:
    """Chest X-rays and their reports through ConVIRT."""
    return _pair("convirt/features_convirt.npy")


@pytest.fixture(scope="session")
def clap() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LAION-CLAP: 800 clips of ESC-50 (800, 512), the prompts of their 50 classes (50, 512), labels (800,)."""
    return tuple(np.load(_load(f"clap-esc50/{name}.npy")) for name in ("audio", "class_text", "labels"))


@pytest.fixture(scope="session")
def glyph_rows() -> tuple[np.ndarray, np.ndarray]:
    """The embedded encoder on 2,000 characters and their names: image (2000, 256), text (2000, 256)."""
    from c3align import encoders
    from c3align.datasets import glyphs

    encoder, chosen = encoders.load("glyphs"), glyphs(split="all")
    pictures, names = list(chosen.pictures[::3][:2000]), chosen.names[::3][:2000]
    return encoder.encode(pictures, modality="image"), encoder.encode(names, modality="text")


@pytest.fixture(scope="session")
def remembered_glyphs(tmp_path_factory):
    """`GlyphEncoder.encode` that computes each list of pictures or names once, for all processes of this run."""
    from c3align.encoders.glyphs import GlyphEncoder

    encode, folder = GlyphEncoder.encode, tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "glyphs"
    folder.mkdir(exist_ok=True)

    @functools.wraps(encode)
    def remembered(self, items, *, modality, **options):
        if modality == "image" and not all(isinstance(item, np.ndarray) for item in items):  # files, which may change
            return encode(self, items, modality=modality, **options)
        key = hashlib.sha256(pickle.dumps((modality, options, items))).hexdigest()
        path = folder / f"{key}.npy"
        if not path.exists():
            with open(part := path.with_suffix(f".{os.getpid()}"), "wb") as file:
                np.save(file, encode(self, items, modality=modality, **options))
            part.replace(path)
        return np.load(path)

    return remembered


@pytest.fixture
def glyphs_once(monkeypatch, remembered_glyphs):
    """Characters are embedded once a run, for tests of what is done with the rows."""
    monkeypatch.setattr("c3align.encoders.glyphs.GlyphEncoder.encode", remembered_glyphs)


@pytest.fixture(scope="session")
def real_rows(request) -> dict[str, dict[str, np.ndarray]]:
    """Every set of real embeddings, by name and modality."""
    pairs = {
        "coco": "coco-clip-vitb16/features_clip.npy",
        "coco_random": "coco-clip-vitb16/features_clip_random.npy",
        "convirt": "convirt/features_convirt.npy",
        "convirt_random": "convirt/features_convirt_random.npy",
    }
    found = {name: dict(zip(("image", "text"), _pair(path))) for name, path in pairs.items()}
    audio, prompts, _ = request.getfixturevalue("clap")
    found["clap"] = {"audio": audio, "text": prompts}
    found["glyphs"] = dict(zip(("image", "text"), request.getfixturevalue("glyph_rows")))
    return found


@pytest.fixture(scope="session")
def philox_answers() -> list[tuple[int, list[int], list[int], list[int]]]:
    """Published known answers: (rounds, counter words, key words, expected words)."""
    lines = [line.split() for line in _load("philox/philox4x32_kat.txt").read_text().splitlines()]
    rows = [line for line in lines if line and line[0] == "philox4x32"]
    words = [(int(row[1]), [int(word, 16) for word in row[2:]]) for row in rows]
    return [(rounds, values[:4], values[4:6], values[6:]) for rounds, values in words]


@pytest.fixture(params=["reference", "native"])
def any_backend(request, monkeypatch) -> str:
    """Run the test on the specification and on the compiled core."""
    if request.param == "native":
        pytest.importorskip("c3align.ops._C", reason="the compiled core was not built")
    monkeypatch.setenv("C3ALIGN_BACKEND", request.param)
    return request.param


@pytest.fixture(scope="session")
def golden() -> dict[str, str]:
    """Digests of results that may change only together with `persistence.NUMERICS`."""
    return json.loads((ROOT / "tests" / "golden.json").read_text())
