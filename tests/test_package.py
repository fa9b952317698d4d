"""The package as it is built, installed and imported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

import c3align
from c3align.cli._app import SUMMARIES

ROOT = Path(__file__).resolve().parents[1]
INPUTS = ["pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE", "c3align", "csrc"]
HEAVY = ["torch", "transformers", "open_clip", "matplotlib"]
MAX_IMPORT_SECONDS = 0.5
NO_COMPILER = {"CC": "false", "CXX": "false"}

FIND_LOADED = "import sys; print([name for name in {heavy!r} if name in sys.modules])"
TIME_IMPORT = "import time; t = time.perf_counter(); import c3align; print(time.perf_counter() - t)"
USE_IT = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
import numpy as np
from c3align import C3Aligner, ops
rows = np.random.default_rng(0).normal(1, 1, (9, 5))
print(C3Aligner().fit(rows).transform(rows, modality="text").shape, ops.backend())
ops.normalize(rows)
from c3align.report import report
print(report(rows, rows[::-1] + 1).to_html().count("<svg viewBox"))
"""

# for a build that says what is in it, with a CUDA compiler that is another one
KINDS_OF_BUILD = """
#define SEEN extern "C" __attribute__((visibility("default"), used)) const char
#ifdef C3ALIGN_CUDA
SEEN built[] = "cuda kernels";
#else
SEEN built[] = "no kernels";
#endif
extern "C" int PyInit__C() { return 0; }
"""
WORKING_NVCC = """#!/bin/sh
case "$*" in
*list-gpu-code*) echo sm_90;;
--version) echo {release};;
*dryrun*) echo '"-L{home}"';;
*) for last; do :; done
    echo 'extern "C" __attribute__((visibility("default"), used)) const char code[] = "code: {code}";' |
        c++ -fPIC -x c++ -c - -o "$last";;
esac
"""


def python(code, folder=None, **environment):
    """Run code in a fresh interpreter outside the checkout; `folder` comes first on its path."""
    path = {"PYTHONPATH": str(folder)} if folder else {}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env={**os.environ, **path, **environment}, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


def build(what, sources, target, **environment):
    """Build with setuptools as installed, as `pip install --no-build-isolation` does; returns file and output."""
    code = f"import setuptools.build_meta as b; print(b.build_{what}({str(target)!r}))"
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], cwd=sources, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.split()[-1], done.stdout + done.stderr


@pytest.fixture
def sources(tmp_path):
    """What a clone has of the package, without what was built in place."""
    folder = tmp_path / "sources"
    for name in INPUTS:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("*.so", "*.pyd", "*.checkpoint", "__pycache__")
            )
        else:
            shutil.copy(source, target)
    return folder


def test_import_leaves_heavy_packages_alone():
    """One module after another in one process: the first line that is not empty tells which one did."""
    modules = ["c3align", "c3align.aligner", "c3align.persistence", "c3align.geometry", "c3align.report"]
    done = python("; ".join(f"import {module}; {FIND_LOADED.format(heavy=HEAVY)}" for module in modules))
    assert done.stdout.split() == ["[]"] * len(modules)


def test_import_warns_of_nothing():
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import c3align"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_face_alone_needs_no_scikit_learn():
    assert python(f"import c3align; {FIND_LOADED.format(heavy=['sklearn', 'scipy'])}").stdout.strip() == "[]"


def test_a_command_needs_no_scikit_learn_before_it_aligns(tmp_path):
    (tmp_path / "names.txt").write_text("latin small letter a\n")
    embed = f"embed {tmp_path}/names.txt --encoder glyphs --modality text -o {tmp_path}/emb"
    lines = ["--help", "--version", "doctor", *(f"{name} --help" for name in SUMMARIES), embed]
    run = f"from c3align import cli; print([cli.run(line.split()) for line in {lines!r}])"
    done = python(f"{run}; {FIND_LOADED.format(heavy=['sklearn', 'scipy'])}")
    assert done.stdout.splitlines()[-2:] == [str([0] * len(lines)), "[]"]


def test_import_is_quick():
    """The best of five: the promise is about the package, not about what else the machine does."""
    assert min(float(python(TIME_IMPORT).stdout) for _ in range(5)) < MAX_IMPORT_SECONDS


def test_source_archive_holds_what_a_build_needs(sources, tmp_path):
    archive, _ = build("sdist", sources, tmp_path, C3ALIGN_NATIVE="off", C3ALIGN_CUDA="off")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
        folder = os.path.commonpath(tar.getnames())
        page = tar.extractfile(f"{folder}/PKG-INFO").read().decode()
        assert tar.extractfile(f"{folder}/README.md").read() == (ROOT / "README.md").read_bytes()
    assert "Description-Content-Type: text/markdown" in page
    assert "C3Aligner().fit(" in page
    assert set(re.findall(r"\]\((?!https://)", page)) == set(), "links to files lead nowhere on an index's page"
    compiled = {str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*") if p.suffix in (".cpp", ".h", ".cu")}
    assert compiled
    assert compiled | {"setup.py", "pyproject.toml", "LICENSE", "c3align/py.typed"} <= names
    assert "c3align/encoders/glyphs.safetensors" in names


class TestWithoutCompiler:
    """Where a compiler is asked for, a program answers that always fails."""

    @pytest.mark.parametrize("settings", [{}, {"C3ALIGN_NATIVE": "on"}])
    def test_an_error_that_ends_with_the_mend(self, sources, tmp_path, monkeypatch, settings):
        """No wheel without the core: pip would keep it, and take it again when there is a compiler."""
        monkeypatch.delenv("C3ALIGN_NATIVE", raising=False)
        with pytest.raises(AssertionError) as caught:
            build("wheel", sources, tmp_path, **settings, **NO_COMPILER)
        last = str(caught.value).split("\nassert ")[0].strip().splitlines()[-1].strip()
        assert last == "install a C++17 compiler, or set C3ALIGN_NATIVE=off for the slower pure-Python package"
        assert not list(tmp_path.glob("*.whl"))

    def test_off_is_a_slower_package_that_works_and_says_so(self, sources, tmp_path):
        wheel, _ = build("wheel", sources, tmp_path, C3ALIGN_NATIVE="off", C3ALIGN_CUDA="off", **NO_COMPILER)
        assert wheel.name.startswith(f"c3align-{c3align.__version__}-")
        with zipfile.ZipFile(wheel) as files:
            names = files.namelist()
            files.extractall(tmp_path / "site")
        carried = {"py.typed", "encoders/glyphs.safetensors", "search/page.html"}
        carried |= {f"report/page.{ending}" for ending in ("css", "html", "js")}
        assert {f"c3align/{name}" for name in carried} <= set(names)
        assert not [name for name in names if name.endswith((".so", ".pyd")) or name.startswith("tests/")]
        done = python(USE_IT, tmp_path / "site", C3ALIGN_BACKEND="")
        assert done.stdout.split("\n")[:2] == ["(9, 5) reference", "11"]
        assert done.stderr.count("WARNING using the slower reference path") == 1
        assert "--no-cache-dir --no-binary c3align c3align`" in done.stderr


def emptied(sources, bindings):
    """Sources of a line each, so that a build is quick."""
    for name in ("cpu/transform.cpp", "cpu/dispatch.cpp", "cpu/pool.cpp"):
        (sources / "csrc" / name).write_text("")
    (sources / "csrc" / "bindings.cpp").write_text(bindings)
    setup = sources / "setup.py"
    setup.write_text(setup.read_text().replace("X86 = ", "X86 = False and "))
    return sources


@pytest.mark.skipif(sys.platform == "win32", reason="the fake compiler is a shell script")
@pytest.mark.skipif(shutil.which("c++") is None and not os.environ.get("CXX"), reason="needs a C++ compiler")
class TestFailingNvcc:
    """A CUDA compiler that fails at once, knows no card of ours, or fails at its work."""

    ANSWERS = (
        "exit 1",
        "echo sm_120",
        'case "$*" in *list-gpu-code* | --version) echo sm_90;; *) echo "no gcc: $*"; exit 1;; esac',
    )
    # in place of csrc/, whose compilation would tell nothing more about setup.py
    BINDINGS = """\
#ifdef C3ALIGN_CUDA
#error the core without CUDA kernels was built as if with them
#endif
extern "C" int PyInit__C() { return 0; }
"""

    @pytest.fixture(params=ANSWERS)
    def fake(self, request, sources, tmp_path, monkeypatch):
        """A folder of sources of a line each, so that a build is quick, and the fake on the path."""
        home = tmp_path / "toolkit"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "nvcc").write_text(f"#!/bin/sh\n{request.param}\n")
        (home / "bin" / "nvcc").chmod(0o755)
        monkeypatch.setenv("CUDA_HOME", str(home))
        monkeypatch.setenv("C3ALIGN_NATIVE", "on")
        return emptied(sources, self.BINDINGS)

    def test_auto_leaves_the_core_standing(self, fake, tmp_path):
        wheel, output = build("wheel", fake, tmp_path, C3ALIGN_CUDA="auto")
        assert output.count("built without CUDA kernels; the compiled core stands without them: ") == 1
        with zipfile.ZipFile(wheel) as files:
            assert [name for name in files.namelist() if name.startswith("c3align/ops/_C.")]

    def test_on_is_an_error(self, fake, tmp_path):
        with pytest.raises(AssertionError, match="C3ALIGN_CUDA=on, but the CUDA kernels were not built: "):
            build("wheel", fake, tmp_path, C3ALIGN_CUDA="on")
        assert not list(tmp_path.glob("*.whl"))

    @pytest.mark.parametrize("fake", ANSWERS[2:], indirect=True)
    @pytest.mark.parametrize(("asked", "compiled"), [("", ["90"]), ("75,120", ["75", "120"])])
    def test_architectures_that_are_asked_for(self, fake, tmp_path, asked, compiled):
        """By default those that nvcc knows; asked for, all of them, and nvcc says which it doesn't know."""
        with pytest.raises(AssertionError, match="no gcc: ") as caught:
            build("wheel", fake, tmp_path, C3ALIGN_CUDA="on", C3ALIGN_CUDA_ARCHITECTURES=asked)
        found = re.findall(r"arch=compute_(\d+),code=(\w+)", str(caught.value))
        assert found == [*((a, f"sm_{a}") for a in compiled), (compiled[-1], f"compute_{compiled[-1]}")]


@pytest.mark.skipif(sys.platform == "win32", reason="the fake compiler is a shell script")
@pytest.mark.skipif(not (shutil.which("c++") and shutil.which("ar")), reason="needs a C++ compiler")
def test_a_build_follows_what_is_asked_for(sources, tmp_path, monkeypatch):
    """In place and again: with and without CUDA kernels, of another toolkit, and of device code that has changed."""
    home = tmp_path / "toolkit"
    (home / "bin").mkdir(parents=True)
    subprocess.run(["ar", "rcs", str(home / "libcudart_static.a")], check=True)
    monkeypatch.setenv("CUDA_HOME", str(home))
    monkeypatch.setenv("C3ALIGN_NATIVE", "on")
    emptied(sources, KINDS_OF_BUILD)

    def built(cuda, release="12", code="first"):
        (home / "bin" / "nvcc").write_text(WORKING_NVCC.format(home=home, release=release, code=code))
        (home / "bin" / "nvcc").chmod(0o755)
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        subprocess.run(command, cwd=sources, env={**os.environ, "C3ALIGN_CUDA": cuda}, check=True, capture_output=True)
        (made,) = (sources / "c3align" / "ops").glob("_C.*.so")
        return re.findall(rb"[a-z]+ kernels|code: \w+", made.read_bytes())

    assert built("off") == [b"no kernels"]
    assert sorted(built("on")) == [b"code: first", b"cuda kernels"]
    assert built("off") == [b"no kernels"]
    assert sorted(built("on", code="second")) == [b"code: first", b"cuda kernels"]  # nothing has changed: kept
    assert sorted(built("on", release="13", code="third")) == [b"code: third", b"cuda kernels"]
    later = time.time() + 60
    os.utime(sources / "csrc" / "cuda" / "transform.cu", (later, later))
    assert sorted(built("on", release="13", code="fourth")) == [b"code: fourth", b"cuda kernels"]


@pytest.mark.parametrize(("variable", "mend"), [("C3ALIGN_NATIVE", "on or off"), ("C3ALIGN_CUDA", "auto, on or off")])
def test_a_setting_that_is_none(sources, tmp_path, variable, mend):
    with pytest.raises(AssertionError, match=f"{variable}=maybe is unknown; set it to {mend}"):
        build("sdist", sources, tmp_path, **{variable: "maybe"})


def test_cuda_without_the_core(sources, tmp_path):
    with pytest.raises(AssertionError, match="C3ALIGN_NATIVE=off builds no core to hold CUDA kernels; unset"):
        build("sdist", sources, tmp_path, C3ALIGN_NATIVE="off", C3ALIGN_CUDA="on")


def test_one_ruff():
    pinned = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ruff=="))
    assert f"rev: v{pinned.removeprefix('ruff==')}\n" in (ROOT / ".pre-commit-config.yaml").read_text()
