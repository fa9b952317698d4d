"""Kernels built by another compiler, or for another kind of processor, have the bits that they have here.

NEON runs in an emulator: its bits are seen, its speed is not. `make elsewhere` installs what these tests need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HERE = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
CLANG = shutil.which("clang++")
ARM = shutil.which("aarch64-linux-gnu-g++")
EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
X86 = {"avx2": ["-mavx2", "-mfma"], "avx512": AVX512, "avx512_zen4": [*AVX512, "-DC3ALIGN_NARROW_SUMS"]}

pytestmark = pytest.mark.skipif(HERE is None, reason="needs a C++ compiler")


def lines_of(compiler, folder, *flags, isa="portable", emulator=()):
    """What the program prints, a hash for each dtype and width."""
    program = folder / "kernel_bits"
    names = [f"-DC3ALIGN_ISA={isa}", f"-DC3ALIGN_KERNELS={isa}_kernels"]
    sources = [str(ROOT / "csrc" / "cpu" / "transform.cpp"), str(ROOT / "tests" / "kernel_bits.cpp")]
    subprocess.run([compiler, *FLAGS, *flags, *names, *sources, "-o", str(program)], check=True)
    done = subprocess.run([*emulator, str(program)], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    lines = lines_of(HERE, tmp_path_factory.mktemp("here"))
    assert len(lines) == len(set(lines)) == 40
    return lines


@pytest.mark.skipif(CLANG is None, reason="needs clang++; make elsewhere")
@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512", "avx512_zen4"])
def test_clang_agrees(isa, expected, tmp_path):
    native = pytest.importorskip("c3align.ops.native")
    if isa not in native.isas():
        pytest.skip(f"this machine has no {isa}")
    assert lines_of(CLANG, tmp_path, *X86.get(isa, []), isa=isa) == expected


@pytest.mark.skipif(ARM is None or EMULATOR is None, reason="needs a compiler for ARM and qemu; make elsewhere")
def test_neon_agrees(expected, tmp_path):
    assert lines_of(ARM, tmp_path, "-static", emulator=[EMULATOR]) == expected
