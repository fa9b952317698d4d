"""The CUDA kernels, run thread by thread on the CPU: their indices, trees and maps give the reference's bits.

What this cannot show is left to `tests/gpu` and a card: the device compiler, memory order, speed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c3align import ops
from c3align.ops import _backend, _rows, fixed, reference
from tests import strategies
from tests.test_ops import affine_of, as_dtype, raw

ROOT = Path(__file__).resolve().parents[1]
CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or COMPILER is None, reason="the emulator needs Linux and a C++ compiler"
)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    library = tmp_path_factory.mktemp("emulator") / "emulator.so"
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared", "-w"]
    subprocess.run([COMPILER, *flags, str(ROOT / "tests" / "cuda_emulator.cpp"), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    for name in ("transform", "moments", "normals"):
        getattr(loaded, f"emulated_{name}").restype = ctypes.c_char_p
    return loaded


def pointer(array):
    return ctypes.c_void_p(None if array is None else array.__array_interface__["data"][0])


def describe(rows):
    strides = [ctypes.c_int64(stride // rows.values.itemsize) for stride in rows.values.strides]
    return [CODES[rows.dtype], *map(ctypes.c_int64, rows.shape), *strides]


def transform(library, rows, affine, *, renormalize, noise=reference.NO_NOISE, first_row=None):
    out, status = np.empty(rows.shape, rows.values.dtype), np.empty(rows.shape[0], np.uint8)
    vectors = [pointer(vector) for vector in affine]
    shape = [ctypes.c_double(noise.sigma), pointer(noise.columns), pointer(noise.direction)]
    shape += [ctypes.c_double(noise.radius), int(noise.random_strength)]
    shape += [ctypes.c_uint64(noise.seed), ctypes.c_uint64(noise.row_offset), pointer(first_row)]
    where = [pointer(rows.values), pointer(out), *describe(rows), *vectors]
    assert library.emulated_transform(*where, int(renormalize), pointer(status), *shape) is None
    return out, status


def moments(library, rows):
    """Sums, sums of squares, binned norms, number of usable rows, status."""
    n_rows, n_dims = rows.shape
    totals, status = np.zeros(2 * n_dims + fixed.NORM_BINS + 1, np.int64), np.empty(n_rows, np.uint8)
    assert library.emulated_moments(pointer(rows.values), *describe(rows), pointer(totals), pointer(status)) is None
    return *np.split(totals, [n_dims, 2 * n_dims, 2 * n_dims + fixed.NORM_BINS]), status


def check(library, rows, affine, **settings_of_call):
    expected = np.empty(rows.shape, rows.values.dtype)
    status = _backend.ReferenceBackend.transform(rows, expected, affine, **settings_of_call)
    found, verdicts = transform(library, rows, affine, **settings_of_call)
    assert raw(verdicts) == raw(status)
    assert raw(found) == raw(expected)
    sums, squares, norms, status = _backend.ReferenceBackend.moments(rows)
    bins, n_kept = _backend.ReferenceBackend.binned(norms, status), np.array([np.sum(status == reference.OK)])
    for ours, theirs in zip(moments(library, rows), (sums, squares, bins, n_kept, status)):
        assert raw(ours) == raw(theirs)


@settings(max_examples=25)
@given(rows=strategies.blocks(max_rows=12), data=st.data(), dtype=st.sampled_from(strategies.DTYPES))
def test_bits_of_the_reference(emulated, rows, data, dtype):
    view = data.draw(strategies.layouts(rows)) if dtype == rows.dtype.name else as_dtype(rows, dtype)
    seen = _rows.as_rows(view)
    if not seen.values.flags.aligned:
        seen = _rows.as_rows(np.ascontiguousarray(seen.values))
    rng = np.random.default_rng(rows.shape[1])
    vectors = dict(zip(("mean", "scale", "shift"), rng.standard_normal((3, rows.shape[1]))))
    chosen = data.draw(st.sets(st.sampled_from(["mean", "scale", "shift"])))
    affine = affine_of({name: vectors[name] for name in chosen}, seen)
    noise = data.draw(strategies.noises(seen))
    check(emulated, seen, affine, renormalize=data.draw(st.booleans()), noise=noise)


@pytest.mark.parametrize("n_dims", [1, 3, 4, 127, 128, 132, 512, 768, 1023, 1024, 1025, 1028, 2048, 4100, 8191, 8192])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_widths(emulated, n_dims, dtype):
    rng = np.random.default_rng(n_dims)
    values = rng.standard_normal((9, n_dims)) * 10 ** rng.uniform(-3, 3, (9, 1))
    values[4], values[6, 0] = 0, np.inf  # rows that may add nothing
    rows = _rows.as_rows(torch.from_numpy(values).to(getattr(torch, dtype)))
    affine = reference.Affine(mean=(rng.standard_normal(n_dims) / 20).astype("f4"))
    plain = reference.Noise(sigma=0.1, seed=2**63 + 5, row_offset=2**32 - 4)
    for noise in (plain, plain._replace(direction=affine.mean, radius=2.0, columns=abs(affine.mean))):
        check(emulated, rows, affine, renormalize=True, noise=noise)


def test_a_row_offset_on_the_device_is_added(emulated):
    rows = _rows.as_rows(np.random.default_rng(0).standard_normal((3, 130)).astype("f4"))
    place = np.array([2**33 + 1])
    found, _ = transform(
        emulated, rows, reference.Affine(), renormalize=True, noise=reference.Noise(0.1, row_offset=4), first_row=place
    )
    assert raw(found) == raw(ops.corrupt(rows.values, None, sigma=0.1, seed=0, row_offset=2**33 + 5))


def test_wider_rows_are_refused(emulated):
    rows = _rows.as_rows(np.ones((1, 8193), "f4"))
    with pytest.raises(AssertionError, match="8192"):
        transform(emulated, rows, reference.Affine(), renormalize=True)


def test_normals(emulated):
    out = np.empty((7, 131), np.float32)
    numbers = [ctypes.c_int64(7), ctypes.c_int64(131), ctypes.c_uint64(3), ctypes.c_uint64(2**32 - 3)]
    assert emulated.emulated_normals(pointer(out), *numbers) is None
    assert raw(out) == raw(reference.philox_normal(7, 131, seed=3, row_offset=2**32 - 3))
