"""The ops against float64 arithmetic written here, and the promises on bits: P2, P4, P5, P8, P10."""

from __future__ import annotations

import collections
import hashlib
import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import C3Aligner, ops
from c3align.errors import C3AlignError
from c3align.ops import arrays, backends, reference
from c3align.ops.rowmap import RowMap
from tests import strategies

# Largest error of an entry of a unit row, in units of the dtype's own rounding at 1 (float16, bfloat16: theirs)
UNIT_ERROR = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-23, "float64": 2**-51}


def plain_unit(rows):
    """Rows over their norm in wider arithmetic than theirs, scaled first so that nothing overflows."""
    wide = rows.astype(np.longdouble)
    wide = wide / np.abs(wide).max(axis=1, keepdims=True)
    return wide / np.sqrt((wide**2).sum(axis=1, keepdims=True))


def as_dtype(rows, dtype):
    """A tensor of the rows, scaled to a largest entry of 1, which every dtype can hold."""
    rows = rows / np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
    return torch.from_numpy(rows).to(getattr(torch, dtype))


def raw(array):
    """Bytes of an array or a tensor."""
    if isinstance(array, torch.Tensor):
        return array.cpu().contiguous().view(torch.uint8).numpy().tobytes()
    return np.ascontiguousarray(array).tobytes()


def affine_of(vectors, rows):
    """The vectors as the backends take them."""
    cast = {name: arrays.as_vector(v, rows.shape[1], rows.compute_dtype, name) for name, v in vectors.items()}
    return RowMap(**cast)


@given(rows=strategies.blocks())
def test_normalize_against_float64(rows):
    unit = ops.normalize(rows)
    assert unit.dtype == rows.dtype
    assert np.abs(unit - plain_unit(rows)).max() <= UNIT_ERROR[rows.dtype.name]
    if rows.dtype != np.float16:
        norms = np.linalg.norm(unit.astype(np.float64), axis=1)
        assert np.abs(norms - 1).max() <= 2 * UNIT_ERROR[rows.dtype.name]


@given(rows=strategies.blocks(dtype="float64"), data=st.data())
def test_align_against_float64(rows, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    mean, shift = 0.1 * rng.standard_normal((2, rows.shape[1])) / np.sqrt(rows.shape[1])
    scale = rng.uniform(0.5, 2, rows.shape[1])
    expected = (plain_unit(rows) - mean) * scale + shift
    found = ops.align(rows, mean, scale=scale, shift=shift, renormalize=False)
    assert np.abs(found - expected).max() < 1e-14
    expected = expected / np.sqrt((expected**2).sum(axis=1, keepdims=True))
    found = ops.align(rows, mean, scale=scale, shift=shift)
    assert np.abs(found - expected).max() < 1e-13


@given(rows=strategies.blocks(dtype="float32"), seed=strategies.SEEDS, offset=strategies.ROW_OFFSETS)
def test_corrupt_is_align_plus_normals(rows, seed, offset):
    mean = np.full(rows.shape[1], 0.01)
    z = ops.philox_normal(*rows.shape, seed=seed, row_offset=offset).astype(np.float64)
    expected = plain_unit(rows) - mean + 0.25 * z
    found = ops.corrupt(rows, mean, sigma=0.25, seed=seed, row_offset=offset, renormalize=False)
    assert np.abs(found - expected).max() < 1e-6
    unit = ops.corrupt(rows, mean, sigma=0.25, seed=seed, row_offset=offset)
    assert np.abs(unit - expected / np.sqrt((expected**2).sum(axis=1, keepdims=True))).max() < 1e-5


@given(rows=strategies.blocks(min_rows=0), data=st.data(), dtype=st.sampled_from(strategies.DTYPES))
def test_native_has_the_bits_of_the_reference(rows, data, dtype):
    """Every op, dtype, layout and instruction set: the compiled core may differ from the specification in no bit."""
    native = pytest.importorskip("c3align.ops.native")
    rows = data.draw(strategies.layouts(rows)) if dtype == rows.dtype.name else as_dtype(rows, dtype)
    seen = arrays.as_rows(rows)
    row_map = data.draw(strategies.row_maps(seen))
    expected = np.empty(seen.shape, seen.values.dtype)
    status = backends.ReferenceBackend.transform(seen, expected, row_map)
    moments = backends.ReferenceBackend.moments(seen)
    for isa in native.isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "isa", isa)
            found = np.empty_like(expected)
            verdicts = native.transform(seen, found, row_map)
            assert raw(np.zeros_like(status) if verdicts is None else verdicts) == raw(status)
            assert raw(found) == raw(expected), isa
            for ours, theirs in zip(native.moments(seen), moments):
                assert raw(ours) == raw(theirs), isa


@pytest.mark.parametrize(("n_rows", "n_dims"), [(100_000, 96), (3000, 1024), (1000, 1025), (500, 2049), (300, 4096)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_native_bits_on_many_rows(n_rows, n_dims, dtype):
    """Contraction of a multiply-add shows in one row of twenty thousand only; wide rows have several segments."""
    native = pytest.importorskip("c3align.ops.native")
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n_rows, n_dims)) * 10 ** rng.uniform(-3, 3, (n_rows, 1))
    rows = arrays.as_rows(values.astype(dtype))
    row_map = RowMap(mean=rng.standard_normal(n_dims).astype(dtype) / 20)
    expected, found = np.empty(rows.shape, dtype), np.empty(rows.shape, dtype)
    backends.ReferenceBackend.transform(rows, expected, row_map)
    moments = backends.ReferenceBackend.moments(rows)
    for isa in native.isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "isa", isa)
            native.transform(rows, found, row_map)
            assert raw(found) == raw(expected), isa
            for ours, theirs in zip(native.moments(rows), moments):
                assert raw(ours) == raw(theirs), isa


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_native_bits_of_halves_in_the_middle(dtype):
    """One result in some thousands lies in the middle of two halves; half a million of them show the rounding."""
    native = pytest.importorskip("c3align.ops.native")
    rows = arrays.as_rows(as_dtype(np.random.default_rng(0).standard_normal((2000, 257)), dtype))
    expected, found = np.empty(rows.shape, rows.values.dtype), np.empty(rows.shape, rows.values.dtype)
    backends.ReferenceBackend.transform(rows, expected, RowMap(renormalize=False))
    for isa in native.isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "isa", isa)
            native.transform(rows, found, RowMap(renormalize=False))
        assert raw(found) == raw(expected), isa


@pytest.mark.parametrize("n_dims", [130, 128])  # copied before use, and read where they are
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_native_bits_between_unusable_rows(n_dims, dtype):
    """Several rows are under way at once, and rows to skip may come anywhere, at first, at last and side by side."""
    native = pytest.importorskip("c3align.ops.native")
    rng = np.random.default_rng(0)
    values = rng.standard_normal((203, n_dims)).astype(dtype)
    unusable = rng.random(203) < 0.4
    unusable[[0, 1, -1]] = True
    values[unusable, 3] = rng.choice([np.nan, np.inf], unusable.sum())
    values[unusable & (rng.random(203) < 0.5)] = 0
    mean = rng.standard_normal(n_dims).astype(dtype) / 20
    at_mean = rng.random(203) < 0.1
    values[at_mean] = mean
    rows, row_map = arrays.as_rows(values), RowMap(mean=mean / np.linalg.norm(mean))
    expected = np.empty(rows.shape, dtype)
    status = backends.ReferenceBackend.transform(rows, expected, row_map)
    assert set(status) >= {0, 1}
    moments = backends.ReferenceBackend.moments(rows)
    for isa in native.isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "isa", isa)
            found = np.empty_like(expected)
            assert raw(native.transform(rows, found, row_map)) == raw(status), isa
            assert raw(found) == raw(expected), isa
            for ours, theirs in zip(native.moments(rows), moments):
                assert raw(ours) == raw(theirs), isa


def test_native_bits_of_binned_norms():
    """Norms at both ends, and such as round up to the next power of two; those of rows to skip are left out."""
    native = pytest.importorskip("c3align.ops.native")
    rng = np.random.default_rng(0)
    ends = [reference.MIN_NORM, reference.MAX_NORM, 2 - 2.0**-30, 1 - 2.0**-30, 1 + 2.0**-24, 1 + 2.0**-23]
    norms = np.concatenate([ends, 2.0 ** rng.uniform(-126, 126, 5000), rng.uniform(9, 11, 5000)])
    status = (rng.random(len(norms)) < 0.1).astype(np.uint8)
    status[: len(ends)] = 0
    norms[status != 0] = rng.choice([0, np.nan, np.inf, 1e-300, 1e300], int((status != 0).sum()))
    bins = native.binned(norms, status)
    assert raw(bins) == raw(backends.ReferenceBackend.binned(norms, status))
    values = [Fraction(float(np.float32(norm))) for norm in norms[status == 0]]
    assert sum(mantissas * Fraction(2) ** (e - 150) for e, mantissas in enumerate(bins.tolist())) == sum(values)


def rows_of_largest_rests():
    """Entries whose rests beside a multiple of 2^-18 are of one sign and as large as they get: sums grow fastest."""
    along = 2.0**-19 * (1 - 2.0**-20)
    return np.tile(np.array([1, along, -along], "f4"), (20_000, 1))


def rows_in_the_middle():
    """Rows of norm 1 with entries half-way between two multiples of 2^-40."""
    odd = 2 * np.random.default_rng(0).integers(-4000, 4000, (500, 130)) + 1
    return np.column_stack([np.ones(500), odd * 2.0**-41]).astype("f4")


@pytest.mark.parametrize("make", [rows_of_largest_rests, rows_in_the_middle])
def test_native_bits_of_moments_at_their_worst(make):
    native = pytest.importorskip("c3align.ops.native")
    rows = arrays.as_rows(make())
    expected = backends.ReferenceBackend.moments(rows)
    for isa in native.isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "isa", isa)
            for ours, theirs in zip(native.moments(rows), expected):
                assert raw(ours) == raw(theirs), isa


def test_huge_vectors_raise_no_warning():
    rows = np.random.default_rng(0).standard_normal((3, 8)).astype("f4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mean in (np.full(8, 1e30, "f4"), torch.full((8,), 1e30)):
            assert np.allclose(ops.align(rows, mean), -np.sqrt(1 / 8))


def test_threads_and_streams_leave_no_trace(monkeypatch):
    native = pytest.importorskip("c3align.ops.native")
    rows = np.random.default_rng(0).standard_normal((5000, 131)).astype("f4")
    mean = np.full(131, 0.02)
    results = set()
    for threads, stream_bytes in [(1, 1 << 40), (1, 0), (2, 1 << 40), (5, 0), (64, 0)]:
        monkeypatch.setattr(native, "ELEMENTS_PER_THREAD", 1)
        monkeypatch.setattr(native, "STREAM_BYTES", stream_bytes)
        monkeypatch.setattr(native, "_threads", threads)
        parts = [ops.align(rows, mean), ops.corrupt(rows.astype("f2"), mean, sigma=0.1, seed=1)]
        parts += [ops.normalize(rows[:, ::-1]), ops.philox_normal(5000, 131, seed=2), *ops.moments(rows)[2:]]
        results.add(b"".join(raw(part) for part in parts))
    assert len(results) == 1


def test_calls_from_many_threads_at_once(monkeypatch):
    native = pytest.importorskip("c3align.ops.native")
    monkeypatch.setattr(native, "_threads", 2)
    rows = np.random.default_rng(0).standard_normal((4000, 128)).astype("f4")
    expected = raw(ops.align(rows, None))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: raw(ops.align(rows, None)), range(64))) == {expected}


def test_threads_that_fall_asleep_are_woken(monkeypatch):
    """Pauses before a call about as long as a thread stays awake: every order of falling asleep and being wanted."""
    native = pytest.importorskip("c3align.ops.native")
    monkeypatch.setattr(native, "ELEMENTS_PER_THREAD", 1)
    monkeypatch.setattr(native, "_threads", 3)
    rows = np.random.default_rng(0).standard_normal((600, 64)).astype("f4")
    expected = raw(ops.align(rows, None))
    for pause in np.random.default_rng(1).uniform(0, 3e-4, 1000):
        time.sleep(pause)
        assert raw(ops.align(rows, None)) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes_too():
    """A data loader's workers are forks: the pool's threads do not exist in them."""
    pytest.importorskip("c3align.ops.native")
    code = (
        "import os, sys, numpy as np\n"
        "from c3align import ops\n"
        "ops.set_num_threads(2)\n"
        "rows = np.ones((4000, 256), 'f4')\n"
        "parent = ops.normalize(rows)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if (ops.normalize(rows) == parent).all() else 3)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_number_of_threads(monkeypatch):
    native = pytest.importorskip("c3align.ops.native")
    monkeypatch.setattr(native, "_threads", 0)
    monkeypatch.setenv("C3ALIGN_NUM_THREADS", "3")
    assert ops.get_num_threads() == 3
    ops.set_num_threads(1)
    assert ops.get_num_threads() == 1
    with pytest.raises(C3AlignError, match="n must be an integer of 1 or more, got 0"):
        ops.set_num_threads(0)


@given(rows=strategies.blocks(min_rows=2), data=st.data(), dtype=st.sampled_from(strategies.DTYPES))
def test_p2_a_row_depends_on_itself_alone(rows, data, dtype):
    tensor = as_dtype(rows, dtype)
    mean = np.random.default_rng(1).standard_normal(rows.shape[1]) / 10
    whole = ops.align(tensor, mean, zero_rows="keep")
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    assert raw(ops.align(tensor[chosen], mean, zero_rows="keep")) == raw(whole[chosen])
    view = data.draw(strategies.layouts(rows))
    assert raw(ops.normalize(view)) == raw(ops.normalize(rows))


@given(rows=strategies.blocks(dtype="float32"), power=st.integers(-20, 20))
def test_scaling_a_row_by_a_power_of_two_changes_no_bit(rows, power):
    assert raw(ops.normalize(rows * np.float32(2.0**power))) == raw(ops.normalize(rows))


@given(rows=strategies.blocks(), dtype=st.sampled_from(["float16", "bfloat16"]))
def test_half_precision_is_the_float32_path_rounded_once(rows, dtype):
    narrow = as_dtype(rows, dtype)
    mean = np.full(rows.shape[1], 0.03)
    expected = ops.align(narrow.float(), mean).to(narrow.dtype)
    assert raw(ops.align(narrow, mean)) == raw(expected)


@given(seed=strategies.SEEDS, offset=strategies.ROW_OFFSETS, data=st.data())
def test_p4_noise_is_a_function_of_seed_row_and_column(seed, offset, data):
    n_rows, n_dims = data.draw(st.integers(1, 30)), data.draw(strategies.DIMS)
    whole = ops.philox_normal(n_rows, n_dims, seed=seed, row_offset=offset)
    a = data.draw(st.integers(0, n_rows))
    b = data.draw(st.integers(a, n_rows))
    assert raw(ops.philox_normal(b - a, n_dims, seed=seed, row_offset=offset + a)) == raw(whole[a:b])
    wider = ops.philox_normal(n_rows, n_dims + 3, seed=seed, row_offset=offset)
    assert raw(wider[:, :n_dims]) == raw(whole)
    assert raw(whole) == raw(reference.philox_normal(n_rows, n_dims, seed=seed, row_offset=offset))


def test_p4_global_random_state_is_untouched():
    np.random.seed(3)  # noqa: NPY002  the state under test
    torch.manual_seed(3)
    before = (np.random.get_state()[1].copy(), torch.get_rng_state())  # noqa: NPY002
    ops.corrupt(np.ones((4, 8)), None, sigma=0.1, seed=1)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


# Random123's published vectors of all zeros, all ones, and pi (10 rounds): these run without the data folder too
PUBLISHED = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED)
def test_philox_known_answers_of_the_paper(counter, key, expected):
    words = reference.philox4x32([np.array([word]) for word in counter], key)
    assert tuple(int(word[0]) for word in words) == expected
    if core := pytest.importorskip("c3align.ops._C"):
        assert core.philox4x32(counter, key, 10) == expected


def test_philox_known_answers(philox_answers):
    assert len(philox_answers) == 110
    for rounds, counter, key, expected in philox_answers:
        words = reference.philox4x32([np.array([word]) for word in counter], tuple(key), rounds)
        assert [int(word[0]) for word in words] == expected


def test_philox_known_answers_compiled(philox_answers):
    core = pytest.importorskip("c3align.ops._C")
    for rounds, counter, key, expected in philox_answers:
        assert list(core.philox4x32(tuple(counter), tuple(key), rounds)) == expected


def exact_fma(a, b, c):
    """``a * b + c`` in integers, rounded once to 24 bits."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    with mpmath.workprec(24):
        return float(mpmath.ldexp(mpmath.mpf(exact.numerator), 1 - exact.denominator.bit_length()))


# a float64 sum of these lies on a midpoint of float32 values, and the lost part decides
near_midpoints = st.tuples(st.integers(0, 2**23 - 1), st.integers(1, 255), st.sampled_from([-1, 1]))
singles = st.floats(-(2.0**20), 2.0**20, width=32).filter(lambda x: x == 0 or abs(x) > 2**-20)


@given(case=near_midpoints, numbers=st.tuples(singles, singles, singles))
def test_fma32_rounds_once(case, numbers):
    mantissa, part, sign = case
    tiny = part * 2.0**-23
    cases = [numbers, (1 + tiny, sign * (1 - tiny) * 2.0**-24, 1 + mantissa * 2.0**-23)]
    for a, b, c in (np.array(values, "f4") for values in cases):
        assert float(reference.fma32(a[None], b[None], c[None])[0]) == exact_fma(a, b, c)


def test_normals_against_exact_arithmetic():
    """Box-Muller of known words, each normal against 60 digits, the tails of both ends among them."""
    ends = [0, 1, 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1, 2**30, 3 * 2**30]
    rng = np.random.default_rng(0)
    words = np.concatenate([ends, rng.integers(0, 2**32, 400)]).astype(np.uint32)
    angles = np.concatenate([rng.integers(0, 2**32, 10), rng.integers(0, 2**32, 400)]).astype(np.uint32)
    found = np.stack(reference._box_muller(words, angles))
    with mpmath.workdps(60):
        for i, (word, angle) in enumerate(zip(words.tolist(), angles.tolist())):
            radius = mpmath.sqrt(-2 * mpmath.log((word + mpmath.mpf(0.5)) / 2**32))
            turn = 2 * mpmath.pi * (angle + mpmath.mpf(0.5)) / 2**32
            exact = float(radius * mpmath.cos(turn)), float(radius * mpmath.sin(turn))
            assert np.abs(found[:, i] - exact).max() <= 4e-7 * float(radius)


def test_normals_are_normal():
    z = ops.philox_normal(4000, 512, seed=11).astype(np.float64).ravel()
    n = z.size
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    from scipy import stats

    assert stats.kstest(z[:200_000], "norm").pvalue > 1e-4
    neighbours = [np.corrcoef(z[:-lag], z[lag:])[0, 1] for lag in (1, 2, 3, 4, 512)]
    assert np.abs(neighbours).max() < 5 / np.sqrt(n)


@given(rows=strategies.blocks(), dtype=st.sampled_from(strategies.DTYPES))
def test_sigma_zero_is_align(rows, dtype):
    tensor = as_dtype(rows, dtype)
    mean = np.full(rows.shape[1], 0.02)
    noisy = ops.corrupt(tensor, mean, sigma=0.0, seed=5, zero_rows="keep")
    assert raw(noisy) == raw(ops.align(tensor, mean, zero_rows="keep"))


@given(rows=strategies.blocks(), data=st.data())
def test_p10_input_is_never_written(rows, data):
    view = data.draw(strategies.layouts(rows))
    before = view.copy()
    mean = np.full(rows.shape[1], 0.02)
    for result in (ops.normalize(view), ops.align(view, mean, zero_rows="keep"), ops.moments(view)):
        assert raw(view) == raw(before)
        assert not np.may_share_memory(view, result[2] if isinstance(result, ops.Moments) else result)


def test_unaligned_rows_are_copied_for_the_kernels():
    """NumPy calls an unaligned array contiguous; the kernels may not read it where it is."""
    native = pytest.importorskip("c3align.ops.native")
    unaligned = np.zeros(4 * 6 * 3 + 1, np.uint8)[1:].view("f4").reshape(6, 3)
    assert not unaligned.flags.aligned
    assert native._addressable(unaligned).flags.aligned
    whole = np.zeros((6, 3), "f4")
    assert native._addressable(whole) is whole


def test_out_and_in_place(any_backend):
    rng = np.random.default_rng(0)
    rows, mean = rng.standard_normal((20, 33)).astype("f4"), rng.standard_normal(33) / 10
    expected = ops.align(rows, mean)
    out = np.zeros((20, 66), "f4")[:, ::2]
    assert ops.align(rows, mean, out=out) is out
    assert raw(out) == raw(expected)
    copy = torch.from_numpy(rows.copy())
    assert ops.align(copy, mean, out=copy) is copy
    assert raw(copy) == raw(expected)
    bad = rows.copy()
    bad[3, 4] = np.nan
    before = bad.copy()
    with pytest.raises(C3AlignError, match="1 of 20 rows, first in row 3"):
        ops.align(bad, mean, out=bad)
    assert raw(bad) == raw(before)
    with pytest.raises(C3AlignError, match="overlaps"):
        ops.align(rows[:-1], mean, out=rows[1:])
    with pytest.raises(C3AlignError, match="read-only"):
        ops.align(rows, mean, out=np.broadcast_to(np.float32(0), rows.shape))
    with pytest.raises(C3AlignError, match="out is float64"):
        ops.align(rows, mean, out=np.zeros(rows.shape))


REASONS = {"zero": "norm of zero or below", "subnormal": "norm of zero or below", "huge": r"norm above 2\*\*126"}


def bad_rows():
    """What must be refused, as float32 rows (10, 6): rows 4 and 7 of each."""
    good = np.random.default_rng(0).standard_normal((10, 6)).astype("f4")
    cases = {}
    for name, value in {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}.items():
        cases[name] = good.copy()
        cases[name][[4, 7], 2] = value
    cases["zero"] = good.copy()
    cases["zero"][[4, 7]] = 0
    cases["subnormal"] = good.copy()
    cases["subnormal"][[4, 7]] = 1e-41
    cases["huge"] = good.copy()
    cases["huge"][[4, 7]] = 3e38
    return cases


@pytest.mark.parametrize("name", bad_rows())
def test_p5_bad_rows_are_refused_alike(name, any_backend):
    rows = bad_rows()[name]
    for op in (ops.normalize, ops.moments, lambda X: ops.corrupt(X, None, sigma=0.1, seed=0)):
        texts = []
        for given_rows in (rows, torch.from_numpy(rows)):
            reason = REASONS.get(name, "NaN or infinity")
            with pytest.raises(C3AlignError, match=f"{reason}.* in 2 of 10 rows, first in row 4") as caught:
                op(given_rows)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]


def test_zero_rows_kept_stay_zero(any_backend):
    rows = bad_rows()["zero"]
    kept = ops.align(rows, np.full(6, 0.1), zero_rows="keep")
    assert not kept[[4, 7]].any()
    assert np.abs(np.linalg.norm(kept[[0, 1, 9]], axis=1) - 1).max() < 1e-6
    found = ops.moments(rows, zero_rows="keep")
    assert (found.n_rows, found.n_zero_rows) == (8, 2)
    assert raw(found.sums) == raw(ops.moments(np.delete(rows, [4, 7], axis=0)).sums)


def test_a_row_at_the_mean_is_refused(any_backend):
    rows = np.array([[0, 2.0, 0], [1, 0, 0]], "f4")
    with pytest.raises(C3AlignError, match="equals the mean, so no direction, in 1 of 2 rows, first in row 0"):
        ops.align(rows, [0, 1, 0])
    assert not ops.align(rows, [0, 1, 0], zero_rows="keep")[0].any()
    assert ops.align(rows, [0, 1, 0], renormalize=False).tolist() == [[0, 0, 0], [1, -1, 0]]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (np.ones(4), r"must be 2-d, \(n_rows, n_dims\), got shape \(4,\)"),
        (np.ones((2, 2, 2)), "must be 2-d"),
        (np.ones((3, 0)), "at least one column"),
        (np.ones((3, 2), int), "dtype int64; convert it"),
        (np.ones((3, 2), bool), "dtype bool"),
        (np.ones((3, 2), complex), "dtype complex128"),
    ],
)
def test_wrong_arrays_are_refused_alike(rows, text):
    for given_rows in (rows, torch.from_numpy(rows)):
        with pytest.raises(C3AlignError, match=text):
            ops.normalize(given_rows)


def test_other_objects_are_refused():
    from scipy import sparse

    for X, text in [
        ([[1.0, 2.0]], "is a list, not an array"),
        (np.array([["a"]], object), "dtype object"),
        (sparse.eye(3).tocsr(), "is sparse"),
        (torch.eye(3).to_sparse(), "is sparse"),
        (np.ma.masked_array(np.eye(3), np.eye(3) > 0), "is masked"),
    ]:
        with pytest.raises(C3AlignError, match=text):
            ops.normalize(X)
    with pytest.raises(C3AlignError, match=r"requires a gradient.*detach"):
        ops.moments(torch.eye(3, requires_grad=True))
    with torch.no_grad():
        assert not ops.normalize(torch.eye(3, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"mean": np.ones(3)}, "mean has shape"),
        ({"mean": [1, np.nan, 1, 1]}, "mean holds NaN"),
        ({"sigma": -1.0}, "sigma must be a finite number >= 0"),
        ({"sigma": np.nan}, "sigma must be a finite number >= 0"),
        ({"seed": -1}, r"seed must be an integer in \[0, 2\*\*64\), got -1"),
        ({"seed": 2**64}, "seed must be an integer"),
        ({"row_offset": 2**64 - 1}, "leaves no room"),
        ({"zero_rows": "drop"}, "zero_rows must be 'raise' or 'keep', got 'drop'"),
    ],
)
def test_wrong_settings_are_refused(arguments, text):
    with pytest.raises(C3AlignError, match=text):
        ops.corrupt(np.eye(4), **{"mean": None, "sigma": 0.1, "seed": 0, **arguments})


def test_backend_by_environment(monkeypatch):
    monkeypatch.setenv("C3ALIGN_BACKEND", "reference")
    assert ops.backend() == "reference"
    monkeypatch.setenv("C3ALIGN_BACKEND", "fast")
    with pytest.raises(C3AlignError, match="native, reference"):
        ops.normalize(np.eye(3))


def test_without_the_compiled_core_the_reference_runs_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(backends, "_native", lambda: ImportError("no _C"))
    monkeypatch.delenv("C3ALIGN_BACKEND", raising=False)
    backends._choose.cache_clear()
    try:
        for _ in range(3):
            assert ops.normalize(np.eye(3)).tolist() == np.eye(3).tolist()
        assert [r.message for r in caplog.records if "C++17 compiler" in r.message] == [caplog.records[0].message]
        monkeypatch.setenv("C3ALIGN_BACKEND", "native")
        with pytest.raises(C3AlignError, match="C\\+\\+17 compiler"):
            ops.backend()
    finally:
        backends._choose.cache_clear()


def test_ml_dtypes_bfloat16_arrays():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rows = np.random.default_rng(0).standard_normal((5, 9)).astype(ml_dtypes.bfloat16)
    unit = ops.normalize(rows)
    assert unit.dtype == rows.dtype
    assert raw(unit) == raw(ops.normalize(torch.from_numpy(rows.view(np.uint16)).view(torch.bfloat16)))


def test_translate_without_a_norm_of_one_on_the_way(any_backend):
    """``norm * unit(unit(x) - mean + goal)``, in float64."""
    rows, mean, goal = np.random.default_rng(0).standard_normal((3, 40, 9)) / [[[1]], [[9]], [[9]]]
    mean, goal = mean[0], goal[0]
    moved = rows / np.linalg.norm(rows, axis=1, keepdims=True) - mean + goal
    expected = 10.3 * moved / np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(ops.translate(rows, mean, goal, norm=10.3, renormalize=False), expected, rtol=1e-12)


def test_read_only_memmap(tmp_path):
    rows = np.random.default_rng(0).standard_normal((50, 17)).astype("f2")
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert raw(ops.normalize(mapped)) == raw(ops.normalize(rows))


def golden_results():
    """Digests of each op on rows made by integer arithmetic, so that no library's generator is in them."""
    n = np.arange(64 * 1100, dtype=np.uint64)
    rows = (((n * np.uint64(2654435761)) % np.uint64(2001)).astype("f4") - 1000).reshape(64, 1100) / np.float32(777)
    mean = np.linspace(-0.02, 0.03, 1100)
    found = {"normals": ops.philox_normal(9, 1100, seed=2**40 + 5, row_offset=2**32 - 4)}
    for dtype in strategies.DTYPES:
        tensor = as_dtype(rows, dtype)
        found[f"align {dtype}"] = ops.align(tensor, mean)
        found[f"corrupt {dtype}"] = ops.corrupt(tensor, mean, sigma=0.1, seed=3, row_offset=10)
        found[f"translate {dtype}"] = ops.translate(tensor, mean, mean[::-1], norm=10.3)
        found[f"invert {dtype}"] = ops.invert(ops.align(tensor, mean), mean)
        found[f"invert plain {dtype}"] = ops.invert(tensor, mean, renormalized=False)
        found[f"sums {dtype}"] = np.concatenate([part.ravel() for part in ops.moments(tensor)[2:]])
    return {name: hashlib.sha256(raw(value)).hexdigest()[:16] for name, value in found.items()}


def test_p9_golden_bytes(golden, any_backend):
    """A change here is a change of numerics: raise `persistence.NUMERICS`, and say so in the changelog."""
    assert golden_results() == golden["ops"]


def many_rows():
    """100,000 rows of an odd width and of norms from 2**-60 to 2**60, by integer arithmetic."""
    n = np.arange(100_000 * 67, dtype=np.uint64)
    rows = (((n * np.uint64(2654435761)) % np.uint64(20011)).astype("f4") - 10005).reshape(-1, 67)
    return np.ldexp(rows, (np.arange(100_000)[:, None] * 7919) % 121 - 70).astype("f4")


def digest_of_many_rows(X):
    mean = np.linspace(-0.1, 0.12, 67)
    noisy = ops.corrupt(X, mean, sigma=0.05, seed=2**35 + 1, row_offset=2**32 - 1000)
    parts = [ops.normalize(X), ops.align(X, mean), noisy, *ops.moments(X)[2:]]
    digest = hashlib.sha256(b"".join(raw(part) for part in parts))
    return digest.hexdigest()[:16]


def test_p3_golden_bytes_of_many_rows(golden, monkeypatch):
    """A contracted multiply-add shows in one row of twenty thousand: the same bytes from every instruction set."""
    native = pytest.importorskip("c3align.ops.native")
    for isa in native.isas():
        monkeypatch.setattr(native, "isa", isa)
        assert digest_of_many_rows(many_rows()) == golden["many rows"], isa


@pytest.mark.slow
def test_p3_golden_bytes_of_many_rows_by_the_reference(golden, monkeypatch):
    monkeypatch.setenv("C3ALIGN_BACKEND", "reference")
    assert digest_of_many_rows(many_rows()) == golden["many rows"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2**33 + 7, 2**64 - 1])
def test_p4_a_hundred_million_normals(seed):
    """Moments, tails to six sigma, neighbours in both directions, and the distribution, on 2.6e7 of each seed."""
    from scipy import special, stats

    n_rows, n_dims, n_block = 51_200, 512, 1 << 17
    flat = ops.philox_normal(n_rows, n_dims, seed=seed, row_offset=seed % 1000).ravel()
    n, lags, levels = flat.size, (1, 2, 3, 4, n_dims, n_dims + 1), (3, 4, 4.5, 5, 5.5, 6)
    sums, tails, counts = collections.Counter(), collections.Counter(), np.zeros(4096, np.int64)
    for start in range(0, n, n_block):  # each block stays in the processor's cache
        z = flat[start : start + n_block + max(lags)].astype(np.float64)  # with what the last lags reach
        squares, here = z * z, slice(0, min(n_block, n - start))
        own, own_squares = z[here], squares[here]
        sums.update({1: own.sum(), 2: own_squares.sum(), 3: own_squares @ own})
        sums.update({4: own_squares @ own_squares, 6: (own_squares * own_squares) @ own_squares})
        for lag in lags:
            later, later_squares = z[lag:][here], squares[lag:][here]
            sums["lag", lag] += own[: len(later)] @ later
            sums["square lag", lag] += (own_squares[: len(later)] - 1) @ (later_squares - 1)
        far = own[own_squares >= 9]
        tails.update({sign * level: np.count_nonzero(sign * far > level) for level in levels for sign in (1, -1)})
        assert np.abs(own).max() < 6.77  # what 32-bit words can reach
        counts += np.bincount((special.ndtr(own) * 4096).astype(np.int64), minlength=4096)
    moments = {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96), 6: (15, 10170)}  # mean and variance of a power
    deviations = {power: (sums[power] / n - mean) * np.sqrt(n / var) for power, (mean, var) in moments.items()}
    for lag in lags:
        deviations["lag", lag] = sums["lag", lag] / np.sqrt(n - lag)
        deviations["square lag", lag] = sums["square lag", lag] / np.sqrt(n - lag) / 2
    assert max(abs(value) for value in deviations.values()) < 5, deviations
    for level, tail in tails.items():
        mean = n * special.ndtr(-abs(level))
        assert stats.poisson.sf(tail - 1, mean) > 1e-5
        assert stats.poisson.cdf(tail, mean) > 1e-5
    assert stats.chisquare(counts).pvalue > 1e-5
    assert stats.kstest(flat[:: n // 2_000_000].astype(np.float64), "norm").pvalue > 1e-5


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "complex64"])
def test_dtypes_without_arithmetic(dtype):
    X = torch.ones(3, 4).to(getattr(torch, dtype))
    for op in (ops.normalize, ops.moments, C3Aligner().fit):
        with pytest.raises(ValueError, match=f"dtype {dtype}|Complex data"):
            op(X)
