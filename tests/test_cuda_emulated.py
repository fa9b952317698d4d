"""The CUDA kernels, run thread by thread on the CPU: their indices, trees and maps give the reference's bits.

What this cannot show is left to `tests/gpu` and a card: the device compiler, memory order, speed.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c3align import ops
from c3align.errors import C3AlignError
from c3align.ops import _compute, _dispatch, arrays, backends, fixed, reference
from c3align.ops.rowmap import NO_NOISE, Noise, RowMap
from tests import strategies
from tests.test_at_mean import around
from tests.test_corrupt import KINDS, N_DIMS
from tests.test_device import Waits
from tests.test_ops import affine_of, as_dtype, raw

pybind11 = pytest.importorskip("pybind11")
ROOT = Path(__file__).resolve().parents[1]
CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or COMPILER is None, reason="the emulator needs Linux and a C++ compiler"
)


@pytest.fixture(scope="module")
def emulated():
    """The extension, with kernels that take memory of this process for memory of a card."""
    sources = [
        "csrc/bindings.cpp",
        "csrc/cpu/dispatch.cpp",
        "csrc/cpu/come_back.cpp",
        "csrc/cpu/pool.cpp",
        "csrc/cpu/transform.cpp",
        "tests/cuda_emulator.cpp",
    ]
    headers = [f"-I{folder}" for folder in (pybind11.get_include(), sysconfig.get_path("include"))]
    flags = ["-std=c++17", "-O0", "-ffp-contract=off", "-fPIC", "-shared", "-w", "-pthread"]
    if kind := os.environ.get("C3ALIGN_SANITIZE"):  # see `make sanitize`
        flags += [f"-fsanitize={kind}", "-g1"]
    if "Free Software Foundation" in version_of(COMPILER):  # g++ by any name; a sixth of its time is its garbage
        flags += ["--param=ggc-min-heapsize=1000000"]
    macros = ["-DC3ALIGN_CUDA=1", "-DC3ALIGN_ISA=portable"]
    path = compiled([COMPILER, *flags, *macros, *headers, *sources])
    spec = importlib.util.spec_from_file_location("_C", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(command):
    """A library, kept in build/ for as long as the sources, the command and the tools are the same."""
    sources = [*sorted(ROOT.glob("csrc/*/*")), ROOT / "csrc/bindings.cpp", ROOT / "tests/cuda_emulator.cpp"]
    tools = version_of(command[0]), pybind11.__version__, sys.version
    known = [command, tools, [path.read_bytes() for path in sources]]
    path = ROOT / "build" / "emulator" / f"{hashlib.sha256(repr(known).encode()).hexdigest()[:20]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, "-o", str(part)], cwd=ROOT, check=True)
        part.replace(path)
    return path


def version_of(compiler):
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


def address(array):
    return 0 if array is None else array.__array_interface__["data"][0]


def describe(values, dtype):
    strides = [stride // values.itemsize for stride in values.strides]
    return address(values), CODES[dtype], *values.shape, *strides


def transform(library, rows, row_map):
    n_rows, n_dims = rows.shape
    out, status = np.full((n_rows + 1, n_dims), 7, rows.values.dtype), np.full(n_rows + 1, 7, np.uint8)
    flag = np.zeros(1, np.uint32)
    noise = with_addresses(row_map.noise, "columns", "direction", "row_ids", "first_row")
    there = with_addresses(row_map._replace(noise=noise), "mean", "scale", "shift")
    given = describe(rows.values, rows.dtype), describe(out[:-1], rows.dtype), there, address(status)
    library.cuda_transform(*given, address(flag), 0)
    assert flag[0] == kinds_of(rows, status[:-1])
    out[:-1] = 0
    library.cuda_transform(*given, 0, 0)  # and nobody who asks
    assert status[-1] == 7
    assert np.all(out[-1] == 7)  # nothing is written beyond the last row
    return out[:-1], status[:-1]


def kinds_of(rows, status):
    """The bits of what is wrong with any row: too short, unusable otherwise, at the mean."""
    bad = np.abs(rows.take(np.flatnonzero(status == reference.BAD_NORM)).widened())
    short = (bad <= 1).all(axis=1)
    return int(short.any()) + 2 * int((~short).any()) + 4 * int((status == reference.AT_MEAN).any())


def with_addresses(value, *names):
    return value._replace(**{name: address(getattr(value, name)) for name in names})


def moments(library, rows):
    """Sums, sums of squares, binned norms, number of usable rows, status."""
    n_rows, n_dims = rows.shape
    totals, status = np.zeros(2 * n_dims + fixed.NORM_BINS + 1, np.int64), np.empty(n_rows, np.uint8)
    library.cuda_moments(describe(rows.values, rows.dtype), address(totals), address(status), 0)
    return *np.split(totals, [n_dims, 2 * n_dims, 2 * n_dims + fixed.NORM_BINS]), status


def check(library, rows, row_map):
    expected = np.empty(rows.shape, rows.values.dtype)
    status = backends.ReferenceBackend.transform(rows, expected, row_map)
    found, verdicts = transform(library, rows, row_map)
    assert raw(verdicts) == raw(status)
    assert raw(found) == raw(expected)
    sums, squares, norms, status = backends.ReferenceBackend.moments(rows)
    bins, n_kept = backends.ReferenceBackend.binned(norms, status), np.array([np.sum(status == reference.OK)])
    for ours, theirs in zip(moments(library, rows), (sums, squares, bins, n_kept, status)):
        assert raw(ours) == raw(theirs)


@settings(max_examples=25)
@given(rows=strategies.blocks(max_rows=12), data=st.data(), dtype=st.sampled_from(strategies.DTYPES))
def test_bits_of_the_reference(emulated, rows, data, dtype):
    view = data.draw(strategies.layouts(rows)) if dtype == rows.dtype.name else as_dtype(rows, dtype)
    seen = arrays.as_rows(view)
    if not seen.values.flags.aligned:
        seen = arrays.as_rows(np.ascontiguousarray(seen.values))
    check(emulated, seen, data.draw(strategies.row_maps(seen))._replace(is_raw=False, goal=None, norm=1.0))


@pytest.mark.parametrize(
    "n_dims", [1, 3, 4, 127, 128, 132, 384, 512, 600, 640, 768, 896, 1023, 1024, 1025, 1028, 2048, 4100, 8191, 8192]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_widths(emulated, n_dims, dtype):
    rng = np.random.default_rng(n_dims)
    values = rng.standard_normal((9, n_dims)) * 10 ** rng.uniform(-3, 3, (9, 1))
    values[4], values[6, 0] = 0, np.inf  # rows that may add nothing
    rows = arrays.as_rows(torch.from_numpy(values).to(getattr(torch, dtype)))
    mean, scale, shift = (rng.standard_normal((3, n_dims)) / 20).astype("f8" if dtype == "float64" else "f4")
    plain = Noise(sigma=0.1, seed=2**63 + 5, row_offset=2**32 - 4)
    for noise in (plain, plain._replace(direction=mean, radius=2.0, columns=abs(mean))):
        check(emulated, rows, RowMap(mean, noise=noise))
    for row_map in (RowMap(mean, scale, shift), RowMap(scale=scale), RowMap(shift=shift)):
        check(emulated, rows, row_map._replace(renormalize=False))


def test_a_row_offset_on_the_device_is_added(emulated):
    rows = arrays.as_rows(np.random.default_rng(0).standard_normal((3, 130)).astype("f4"))
    place = np.array([2**33 + 1])
    found, _ = transform(emulated, rows, RowMap(noise=Noise(0.1, row_offset=4, first_row=place)))
    assert raw(found) == raw(ops.corrupt(rows.values, None, sigma=0.1, seed=0, row_offset=2**33 + 5))


@pytest.mark.parametrize("n_dims", [12, 130, 1024, 1030, 4100])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_rows_at_the_mean(emulated, n_dims, dtype):
    """With noise and scale, which come before the last norm is taken; and far from the mean in one column alone."""
    mean, tensor, _ = around(dtype, n_dims)
    rows = arrays.as_rows(tensor)
    ids = np.arange(6, dtype=np.uint64)[::-1] * np.uint64(2**61)
    plain = Noise(sigma=0.1, seed=3, row_ids=ids.copy())
    shaped = plain._replace(radius=2.0, random_strength=True)
    late = mean.copy()
    late[-1] += 1
    for scale in (None, np.full(n_dims, 1e5)):
        for noise in (NO_NOISE, plain, shaped):
            for where in (mean, late):
                row_map = affine_of({"mean": where} if scale is None else {"mean": where, "scale": scale}, rows)
                check(emulated, rows, row_map._replace(noise=noise))


def test_wider_rows_are_refused(emulated):
    rows = arrays.as_rows(np.ones((1, 8193), "f4"))
    with pytest.raises(RuntimeError, match="8192"):
        transform(emulated, rows, RowMap())


@pytest.mark.parametrize("n_dims", [1, 3, 4, 20, 131, 132, 516])
def test_normals(emulated, n_dims):
    for skipped in (0, 1):  # of the alignment of four floats
        out = np.empty(37 * n_dims + 4, np.float32)
        start = -address(out) // 4 % 4 + skipped
        out = out[start : start + 37 * n_dims].reshape(37, n_dims)
        emulated.cuda_normals(address(out), 37, n_dims, 3, 2**32 - 3, 0)
        assert raw(out) == raw(reference.philox_normal(37, n_dims, seed=3, row_offset=2**32 - 3))


FAULTS = {
    "bit of align": "^normalize of 5 columns in torch.float32",
    "bit of noise": "^isotropic noise of 5 columns",
    "bit of moments": "^moments of 5 columns in torch.float32",
    "status": "^normalize of 5 columns",
    "flag": "^normalize of 5 columns",
    "bit of normals": "^normals",
    "bit of wide rows": "of 1025 columns in torch.float32",
    "bit of bfloat16": "of 5 columns in torch.bfloat16",
    "no image": "no kernel image is available",
}


class Faulty:
    """The kernels, with a fault planted."""

    def __init__(self, emulated, fault):
        self.emulated, self.fault = emulated, fault

    def __getattr__(self, name):
        return getattr(self.emulated, name)

    def cuda_transform(self, X, out, row_map, status, flag, queue):
        if self.fault == "no image":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
        self.emulated.cuda_transform(X, out, row_map, status, flag, queue)
        is_hit = {
            "bit of align": True,
            "bit of noise": bool(row_map.noise.sigma),
            "bit of wide rows": X[3] > 1000,
            "bit of bfloat16": X[1] == CODES["bfloat16"],
        }
        if is_hit.get(self.fault):
            flip(out[0])
        if self.fault == "status":
            flip(status + 3)
        if self.fault == "flag":
            flip(flag)

    def cuda_moments(self, X, totals, status, queue):
        self.emulated.cuda_moments(X, totals, status, queue)
        if self.fault == "bit of moments":
            flip(totals)

    def cuda_normals(self, out, *rest):
        self.emulated.cuda_normals(out, *rest)
        if self.fault == "bit of normals":
            flip(out)


def flip(place):
    """The lowest bit of the byte at an address."""
    byte = ctypes.c_ubyte.from_address(place)
    byte.value ^= 1


class TestFace:
    """`c3align.ops.cuda` itself, of CPU tensors that it takes for tensors on a card."""

    @pytest.fixture
    def on_a_card(self, emulated, monkeypatch):
        """Calls a function as it would be called with tensors on a card."""
        from c3align.ops import cuda

        monkeypatch.setattr(cuda, "_C", emulated)
        monkeypatch.setattr(cuda, "MAX_DIMS", emulated.max_cuda_dims)
        monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)

        def call(function, *arguments, **settings):
            with monkeypatch.context() as here:
                for module in (ops, _compute, _dispatch):
                    here.setattr(
                        module, "device_backend", lambda X, request=None: cuda if arrays.is_tensor(X) else None
                    )
                return function(*arguments, **settings)

        return call

    @staticmethod
    def rows(dtype=torch.float32, n_rows=60):
        values = np.random.default_rng(n_rows).standard_normal((n_rows, N_DIMS)) * 3
        return torch.from_numpy(values).to(dtype)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_bits(self, on_a_card, dtype):
        X = self.rows(dtype)
        mean, scale, shift = (torch.linspace(-0.02, 0.03, N_DIMS) + k for k in (0, 1, 0.1))
        for settings_of_call in ({}, {"scale": scale}, {"shift": shift.numpy(), "renormalize": False}):
            same(on_a_card(ops.align, X, mean, **settings_of_call), ops.align(X, mean, **settings_of_call))
        for view in (X[::3], X[:, 5:], X[:, ::2], X[:1].expand(7, -1)):
            same(on_a_card(ops.normalize, view), ops.normalize(view))
        same_moments(on_a_card(ops.moments, X), ops.moments(X))

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_of_noise(self, on_a_card, kind):
        X, call = self.rows(), {"seed": 5, "row_offset": 2**40, **KINDS[kind]}
        same(on_a_card(ops.corrupt, X, None, **call), ops.corrupt(X, None, **call))

    def test_a_row_offset_on_the_card(self, on_a_card, monkeypatch):
        monkeypatch.setattr("c3align.ops._device.is_device_scalar", arrays.is_tensor)
        X, place = self.rows(), torch.tensor(2**33 + 1)
        found = on_a_card(ops.corrupt, X, None, sigma=0.1, seed=1, row_offset=place)
        same(found, ops.corrupt(X, None, sigma=0.1, seed=1, row_offset=2**33 + 1))
        with pytest.raises(C3AlignError, match="int64"):
            on_a_card(ops.corrupt, X, None, sigma=0.1, seed=1, row_offset=place.int())

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("on_device", [True, False])
    def test_row_ids(self, on_a_card, monkeypatch, kind, on_device):
        monkeypatch.setattr("c3align.ops._device.is_device_scalar", lambda x: on_device and arrays.is_tensor(x))
        X, call, order = self.rows(), {"seed": 5, **KINDS[kind]}, torch.randperm(60)
        expected = ops.corrupt(X, None, **call)[order]
        for ids in (order, order.to(torch.uint64), order.int(), order.repeat_interleave(2)[::2], order.numpy()):
            same(on_a_card(ops.corrupt, X[order], None, row_ids=ids, **call), expected)

    @pytest.mark.parametrize("on_device", [True, False])
    def test_wrong_row_ids(self, on_a_card, monkeypatch, on_device):
        monkeypatch.setattr("c3align.ops._device.is_device_scalar", lambda x: on_device and arrays.is_tensor(x))
        X, ids = self.rows(), torch.arange(60)
        before = X.clone()
        for wrong, text in (
            ({"row_ids": ids - 1}, "row_ids holds negative numbers"),
            ({"row_ids": ids[1:]}, "row_ids has shape"),
            ({"row_ids": ids.float()}, "row_ids must be int64 or uint64, got float32"),
            ({"row_ids": ids, "row_offset": torch.tensor(1)}, "row_offset and row_ids both"),
        ):
            for out in ({}, {"out": X}):
                with pytest.raises(C3AlignError, match=text):
                    on_a_card(ops.corrupt, X, None, sigma=0.1, seed=1, **wrong, **out)
        assert raw(X) == raw(before)

    @pytest.mark.parametrize("is_captured", [False, True])
    def test_vectors_that_are_rows_of_out(self, on_a_card, monkeypatch, is_captured):
        monkeypatch.setattr("c3align.ops._device.may_ask", lambda X: not is_captured)
        monkeypatch.setattr("c3align.ops._device.vector_on", lambda vector, X, name: vector)  # as if it were there
        for name in ("mean", "scale", "shift"):
            X, other = self.rows(), self.rows() * 2
            expected = ops.align(X, **{"mean": None, name: X[3] + 0})
            same(on_a_card(ops.align, X, out=X, **{"mean": None, name: X[3]}), expected)
            expected = ops.align(X, **{"mean": None, name: other[3] + 0})
            same(on_a_card(ops.align, X, out=other, **{"mean": None, name: other[3]}), expected)

    def test_vectors_of_a_device_that_hold_nan(self, on_a_card, monkeypatch):
        """Which no row's length shows where none is asked for."""
        monkeypatch.setattr("c3align.ops._device.vector_on", lambda vector, X, name: vector)
        for call in ({"renormalize": False}, {}):
            with pytest.raises(C3AlignError, match="mean holds NaN"):
                on_a_card(ops.align, self.rows(), torch.full((N_DIMS,), np.nan), **call)

    @pytest.mark.parametrize("kind", [None, *KINDS])
    def test_a_batch_refused_for_a_row_at_the_mean_stays_as_it_was(self, on_a_card, kind):
        X = ops.normalize(self.rows())
        for given_rows, out in ((X, X), (X.clone(), X)):
            before, call = X.clone(), {} if kind is None else {"seed": 5, **KINDS[kind]}
            with pytest.raises(C3AlignError, match="equals the mean, so no direction, in 1 of 60 rows, first in row 7"):
                on_a_card(ops.corrupt if call else ops.align, given_rows, X[7], out=out, **call)
            assert raw(X) == raw(before)
        other = torch.full_like(X, 5)
        with pytest.raises(C3AlignError, match="first in row 7"):
            on_a_card(ops.align, X, X[7], out=other)
        same(other, torch.full_like(X, 5))
        with pytest.raises(C3AlignError, match="first in row 7"):
            on_a_card(ops.align, X, X[7], out=other, overwrite_out=True)
        same(other, ops.align(X, X[7], zero_rows="keep"))

    def test_out_and_in_place(self, on_a_card):
        X, out = self.rows(), torch.empty(60, N_DIMS)
        expected = ops.normalize(X)
        assert on_a_card(ops.normalize, X, out=out) is out
        same(out, expected)
        on_a_card(ops.normalize, X, out=X)
        same(X, expected)
        with pytest.raises(C3AlignError, match="pass an out of X's type"):
            on_a_card(ops.normalize, X, out=out[:5])
        with pytest.raises(C3AlignError, match="repeats its elements"):
            on_a_card(ops.normalize, X, out=out[:1].expand(60, -1))
        for overlapping in (X[1:], X.as_strided((59, N_DIMS), (N_DIMS, 1), 3)):
            with pytest.raises(C3AlignError, match="out overlaps X"):
                on_a_card(ops.normalize, X[:-1], out=overlapping)

    @pytest.mark.parametrize("value", [0.0, float("nan")])
    def test_what_is_refused_in_place_stays_as_it_was(self, on_a_card, value):
        X = self.rows()
        X[4] = value
        before, texts = X.clone(), []
        for call in (lambda *a, **k: on_a_card(ops.normalize, *a, **k), ops.normalize):
            with pytest.raises(C3AlignError, match="row 4") as caught:
                call(X, out=X)
            texts.append(str(caught.value))
            assert raw(X.numpy()) == raw(before.numpy())
        assert texts[0] == texts[1]
        with pytest.raises(C3AlignError, match="mean holds NaN"):
            on_a_card(ops.align, X, torch.full((N_DIMS,), np.nan), out=X, zero_rows="keep")
        assert raw(X.numpy()) == raw(before.numpy())

    def test_one_flag_tells_of_all_rows(self, on_a_card, monkeypatch):
        """The host reads one number a call; rows that are kept as zeros it need not look at."""
        X = self.rows()
        with Waits() as waits:
            on_a_card(ops.align, X, None)
        assert waits.n == 1
        X[4] = 0
        monkeypatch.setattr("c3align.ops._device._found", None)
        same(on_a_card(ops.align, X, None, zero_rows="keep"), ops.align(X, None, zero_rows="keep"))

    def test_deferred_checks(self, on_a_card):
        X = self.rows()
        X[4] = 0
        with ops.deferred_checks():
            kept = on_a_card(ops.align, X, None, zero_rows="keep")
        same(kept, ops.align(X, None, zero_rows="keep"))
        with pytest.raises(C3AlignError, match="norm of zero"), ops.deferred_checks():  # noqa: PT012
            with Waits() as waits:
                found = on_a_card(ops.align, X, None)
            assert waits.n == 0
            same(found, kept)
        X[5, 1] = torch.inf
        with pytest.raises(C3AlignError, match="NaN, infinity"), ops.deferred_checks():
            on_a_card(ops.align, X, None, zero_rows="keep")

    def test_rows_of_later_blocks_are_named(self, on_a_card, monkeypatch):
        X = self.rows()
        X[37] = 0
        monkeypatch.setattr("c3align.ops._device.ROWS_PER_BLOCK", 16)
        with pytest.raises(C3AlignError, match="1 of 60 rows, first in row 37"):
            on_a_card(ops.moments, X)
        same_moments(on_a_card(ops.moments, X, zero_rows="keep"), ops.moments(X, zero_rows="keep"))

    def test_normals(self, on_a_card):
        from c3align.ops import cuda

        found = on_a_card(cuda.philox_normal, 9, 130, seed=3, row_offset=7, device="cpu")
        assert raw(found.numpy()) == raw(ops.philox_normal(9, 130, seed=3, row_offset=7))

    def test_known_answers(self, on_a_card):
        from c3align.ops import known_answers

        assert on_a_card(known_answers._examined, torch.device("cpu")) == ""

    @pytest.mark.parametrize("fault", [*FAULTS])
    def test_known_answers_find(self, on_a_card, emulated, monkeypatch, fault):
        """One wrong bit in one op, whatever the dtype; a launch that fails; a verdict left out."""
        from c3align.ops import cuda, known_answers

        monkeypatch.setattr(cuda, "_C", Faulty(emulated, fault))
        assert re.search(FAULTS[fault], on_a_card(known_answers._examined, torch.device("cpu")))

    def test_a_verdict_is_told_once_and_kept(self, on_a_card, emulated, monkeypatch):
        from c3align.ops import cuda, known_answers

        faulty, seen = Faulty(emulated, "no image"), {}
        monkeypatch.setattr(cuda, "_C", faulty)
        monkeypatch.setattr(known_answers, "_verdicts", seen)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        device = SimpleNamespace(index=3, type="cuda")
        assert not known_answers.are_right(device)  # in a recording nothing can be asked
        assert not seen
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
        monkeypatch.setattr(known_answers, "_rows", lambda width: self.rows())
        monkeypatch.setattr(torch.Tensor, "to", lambda X, *_, **__: X)
        with pytest.warns(UserWarning, match="kernels are not used on .*: no kernel image.*torch computes there"):
            assert not known_answers.are_right(device)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not known_answers.are_right(device)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        assert not known_answers.are_right(device)
        seen[3] = ""
        assert known_answers.are_right(device)

    @pytest.mark.parametrize("wanted", ["native", "reference", None])
    @pytest.mark.parametrize("right", [True, False])
    def test_who_computes_tensors_on_a_card(self, on_a_card, monkeypatch, wanted, right):
        from c3align.ops import cuda, eager, known_answers, native

        tensor = torch.ones(3, 5)
        card = SimpleNamespace(is_cuda=True, is_cpu=False, device=torch.device("cuda", 0), shape=tensor.shape)
        for module in (_compute, backends):
            monkeypatch.setattr(module, "is_tensor", lambda X: True)
        monkeypatch.setattr(native, "has_cuda", True)
        monkeypatch.setattr(known_answers, "_verdicts", {0: "" if right else "a bit"})
        monkeypatch.delenv("C3ALIGN_BACKEND", raising=False)
        if wanted:
            monkeypatch.setenv("C3ALIGN_BACKEND", wanted)
        expected = cuda if wanted == "native" or (wanted is None and right) else eager
        assert _compute.device_backend(card) is expected
        wide = SimpleNamespace(**{**vars(card), "shape": (3, 8193)})
        assert _compute.device_backend(wide) is eager
        monkeypatch.setattr(native, "has_cuda", False)
        assert _compute.device_backend(card) is eager

    def test_refusals(self, on_a_card):
        X = self.rows()
        with pytest.raises(C3AlignError, match="8193 dimensions"):
            on_a_card(ops.normalize, torch.ones(1, 8193))
        with pytest.raises(C3AlignError, match="mean has shape"):
            on_a_card(ops.align, X, torch.ones(3))
        finite, one_is_not = torch.ones(N_DIMS), torch.ones(N_DIMS)
        one_is_not[17] = np.inf
        for name in ("mean", "scale", "shift"):
            vectors = {"mean": finite, name: one_is_not}
            for rows, how in ((X, {}), (X, {"renormalize": False}), (X * 0, {"zero_rows": "keep"}), (X[:0], {})):
                with pytest.raises(C3AlignError, match=f"{name} holds NaN or infinity"):
                    on_a_card(ops.align, rows, **vectors, **how)
        X[[4, 7], 3] = float("nan")
        with pytest.raises(C3AlignError, match="2 of 60 rows, first in row 4"):
            on_a_card(ops.normalize, X)


def same_moments(found, expected):
    for ours, theirs in zip(found, expected):
        assert raw(np.asarray(ours)) == raw(np.asarray(theirs))


def same(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert torch.equal(found.contiguous().view(torch.uint8), expected.contiguous().view(torch.uint8))
