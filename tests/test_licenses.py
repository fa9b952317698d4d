"""All files are under the license of the project, and what it needs may be used beside it.

A file of another's, or of a kind that is not listed here, fails: whoever adds one says where it comes from.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import c3align

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WRITTEN = {"py", "md", "json", "h", "cpp", "cu", "sh", "toml", "txt", "yml", "yaml", "in", "cff", "typed", ""}
WRITTEN |= {"html", "css", "js", "jinja2", "gitignore"}
# what was not typed, and which file of ours makes it
MADE = {
    "c3align/encoders/glyphs.safetensors": "benchmarks/train_glyphs.py",
    "tests/examples/images/*.png": "tests/examples/gallery.py",
    "benchmarks/results/recipes.png": "benchmarks/recipes.py",
    "benchmarks/results/theory.png": "benchmarks/paper/theory.py",
}
PERMISSIVE = re.compile(r"MIT|BSD|Apache|PSF|Python Software Foundation|HPND|ISC|Zlib|0BSD|CC0", re.IGNORECASE)
# direct needs whose metadata name no permissive license alone; pyproject.toml says which extra brings them
OTHERS = {"psycopg": "LGPL", "pillow-heif": "LGPL", "pycocoevalcap": "no license", "tqdm": "MPL"}


def files():
    try:
        done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no checkout of git")
    return [path for name in done.stdout.splitlines() if (path := ROOT / name).exists()]


def test_every_file_is_ours():
    made = {path for pattern in MADE for path in ROOT.glob(pattern)}
    others = [path for path in files() if path.suffix.lstrip(".") not in WRITTEN and path not in made]
    assert [str(path.relative_to(ROOT)) for path in others] == []
    assert all((ROOT / maker).exists() for maker in MADE.values())


def test_no_file_names_another_owner():
    owned = re.compile(rb"copyright|spdx-license|all rights reserved", re.IGNORECASE)
    found = {path for path in files() if path.suffix.lstrip(".") in WRITTEN and owned.search(path.read_bytes())}
    assert found <= {ROOT / "LICENSE", Path(__file__)}


def test_one_license_everywhere():
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n\nCopyright (c)")
    assert (PROJECT["license"], PROJECT["license-files"]) == ("MIT", ["LICENSE"])
    assert "\nlicense: MIT\n" in (ROOT / "CITATION.cff").read_text()
    assert "License: [MIT](LICENSE)" in (ROOT / "README.md").read_text()


def needs():
    """What the package and its extras ask for themselves; tests may ask for anything."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in extras())]
    return sorted({re.match(r"[\w.-]+", line)[0] for lines in lists for line in lines} - {"c3align"})


def extras():
    return [name for name in PROJECT["optional-dependencies"] if name not in ("test", "all")]


def license_of(name):
    found = metadata.metadata(name)
    classes = [line for line in found.get_all("Classifier", []) if line.startswith("License")]
    return " ".join([found.get("License-Expression") or "", found.get("License") or "", *classes])


@pytest.mark.parametrize("name", needs())
def test_what_is_needed_is_permissive_or_named(name):
    if name in OTHERS:
        line = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if f'"{name}' in line)
        assert OTHERS[name] in line
        return
    try:
        assert PERMISSIVE.search(license_of(name)), license_of(name)
    except metadata.PackageNotFoundError:
        pytest.skip("not installed")


def test_citation_and_changelog_name_the_version():
    version = re.escape(c3align.__version__)
    date = re.search(rf"^## {version} \((\d{{4}}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert f"\nversion: {c3align.__version__}\ndate-released: {date[1]}\n" in (ROOT / "CITATION.cff").read_text()


def test_what_is_installed_fits_together():
    """As `pip check` has it, in a tenth of the time."""
    installed = {canonicalize_name(each.metadata["Name"]): each for each in reversed([*metadata.distributions()])}
    odd = []
    for name, each in installed.items():
        for needed in map(Requirement, each.requires or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                found = installed.get(canonicalize_name(needed.name))
                if found is None or not needed.specifier.contains(found.version, prereleases=True):
                    odd.append(f"{name} needs {needed}, found {found and found.version}")
    known = "numpydoc"  # installed without Sphinx, which its validation does not need
    assert len(installed) > 10
    assert [line for line in odd if not line.startswith(known)] == []
