"""`out=`: memory that is X's, a vector's, or its own; and what a refused batch leaves there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from c3align import ops
from c3align.errors import C3AlignError
from c3align.ops import _compute
from tests import strategies
from tests.test_corrupt import KINDS, N_DIMS
from tests.test_ops import as_dtype, raw

ROOT = np.random.default_rng(0).standard_normal((N_DIMS, N_DIMS)) / 20
ALL_KINDS = {"none": None, **KINDS, "matrix": {"sigma": ROOT}}
LIKE_SCRATCH = pytest.mark.parametrize("scratch_bytes", [0, 1 << 30])


def through_scratch_below(n_bytes, monkeypatch):
    for limit in ("_SCRATCH_BYTES", "_SMALL_BYTES"):
        monkeypatch.setattr(_compute, limit, n_bytes)


def rows(dtype="float32", n_rows=20):
    return as_dtype(np.random.default_rng(1).standard_normal((n_rows, N_DIMS)), dtype)


def call(X, mean, kind="none", **arguments):
    noise = ALL_KINDS[kind]
    return ops.align(X, mean, **arguments) if noise is None else ops.corrupt(X, mean, seed=1, **noise, **arguments)


def as_array(X):
    return X if X.dtype == torch.bfloat16 else X.numpy()


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("dtype", strategies.DTYPES)
@LIKE_SCRATCH
def test_in_place(any_backend, monkeypatch, kind, dtype, scratch_bytes):
    through_scratch_below(scratch_bytes, monkeypatch)
    X, mean = rows(dtype), np.linspace(-0.02, 0.03, N_DIMS)
    expected = call(X, mean, kind)
    for view in (X.clone(), as_array(X.clone()), torch.cat([X, X], dim=1)[:, ::2].clone()[:, :N_DIMS]):
        wanted = expected if raw(view) == raw(X) else call(view, mean, kind)
        assert call(view, mean, kind, out=view) is view
        assert raw(view) == raw(wanted)


def refusals(dtype):
    """Names, rows and vectors of batches that are refused for row 7 (and others), in place."""
    X = rows(dtype)
    unit = ops.normalize(X)
    mean = unit[7].double().numpy()
    if dtype in ("float16", "bfloat16"):  # the unit row is that of the stored one
        mean = ops.normalize(X[7:8].float())[0].double().numpy()
    bad = {name: X.clone() for name in ("nan", "zero")}
    bad["nan"][7, 3], bad["zero"][7] = np.nan, 0
    yield "at the mean", X, {"mean": mean}
    yield "at the mean, scaled", X, {"mean": mean, "scale": np.full(N_DIMS, 3.0)}
    yield "nan", bad["nan"], {"mean": mean / 2}
    yield "zero", bad["zero"], {"mean": mean / 2}


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("dtype", strategies.DTYPES)
@LIKE_SCRATCH
def test_a_batch_refused_in_place_stays_as_it_was(any_backend, monkeypatch, kind, dtype, scratch_bytes):
    through_scratch_below(scratch_bytes, monkeypatch)
    for _, X, arguments in refusals(dtype):
        for view, overwrite_out in ((X.clone(), False), (as_array(X.clone()), False), (X.clone(), True)):
            with pytest.raises(C3AlignError, match="1 of 20 rows, first in row 7"):
                call(view, kind=kind, out=view, overwrite_out=overwrite_out, **arguments)
            assert raw(view) == raw(X)


def test_a_batch_whose_mapped_rows_vanish_stays_as_it_was(any_backend):
    X = rows()
    before = X.clone()
    with pytest.raises(C3AlignError, match="equals the mean, so no direction, in 20 of 20 rows"):
        ops.align(X, None, scale=np.zeros(N_DIMS), out=X)
    assert raw(X) == raw(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["mean", "scale", "shift"])
@LIKE_SCRATCH
def test_vectors_that_are_rows_of_out(any_backend, monkeypatch, dtype, name, scratch_bytes):
    through_scratch_below(scratch_bytes, monkeypatch)
    monkeypatch.setattr("c3align.ops.backends._BLOCK_ELEMENTS", 1 << 12)
    for kind in ("none", "isotropic", "matrix"):
        for make in (lambda d: rows(d, 400), lambda d: rows(d, 400).numpy()):  # two ranges, both read vectors
            X, Y, other = make(dtype), make(dtype), make(dtype) * 2
            expected = call(X, kind=kind, **{"mean": None, name: X[3] + 0})
            assert raw(call(Y, kind=kind, out=Y, **{"mean": None, name: Y[3]})) == raw(expected)
            expected = call(X, kind=kind, **{"mean": None, name: other[3] + 0})
            assert raw(call(X, kind=kind, out=other, **{"mean": None, name: other[3]})) == raw(expected)


@LIKE_SCRATCH
def test_what_shapes_the_noise_may_be_out(any_backend, monkeypatch, scratch_bytes):
    through_scratch_below(scratch_bytes, monkeypatch)
    X = rows("float64", N_DIMS)
    for name, start in (("sigma", 3), ("direction", 5)):
        out = np.abs(rows("float64", N_DIMS).numpy())
        arguments = {"sigma": 0.1, "seed": 1}
        expected = ops.corrupt(X.numpy(), None, **{**arguments, name: out[start].copy()})
        assert raw(ops.corrupt(X.numpy(), None, out=out, **{**arguments, name: out[start]})) == raw(expected)
    out = rows("float64", N_DIMS).numpy()
    expected = ops.corrupt(X.numpy(), None, sigma=out.copy(), seed=1)
    assert raw(ops.corrupt(X.numpy(), None, sigma=out, seed=1, out=out)) == raw(expected)
    for sigma, integers in ((0.1, np.int64), (0.1, np.uint64), (ROOT, np.uint64)):
        out = rows("float64", N_DIMS).numpy()
        ids = out.reshape(-1)[:N_DIMS].view(integers)
        ids[:] = np.arange(N_DIMS)[::-1]
        expected = ops.corrupt(X.numpy(), None, sigma=sigma, seed=1, row_ids=ids.copy())
        assert raw(ops.corrupt(X.numpy(), None, sigma=sigma, seed=1, row_ids=ids, out=out)) == raw(expected)


@pytest.mark.parametrize("kind", ["none", "isotropic", "matrix"])
@LIKE_SCRATCH
def test_a_refused_batch_leaves_the_vectors_in_out(any_backend, monkeypatch, kind, scratch_bytes):
    through_scratch_below(scratch_bytes, monkeypatch)
    X = ops.normalize(rows()).numpy()
    for given_rows in (X, rows().numpy()):  # in place, and out= apart from X
        X[2] = X[7]
        before = X.copy()
        with pytest.raises(C3AlignError, match="equals the mean, so no direction, in"):
            call(given_rows, X[7], kind, out=X)
        assert raw(X) == raw(before)


@pytest.mark.parametrize("dtype", strategies.DTYPES)
@pytest.mark.parametrize("kind", ALL_KINDS)
@LIKE_SCRATCH
def test_a_refused_batch_leaves_other_memory_as_it_was(any_backend, monkeypatch, dtype, kind, scratch_bytes):
    through_scratch_below(scratch_bytes, monkeypatch)
    for _, X, arguments in refusals(dtype):
        out = torch.full_like(X, 5)
        with pytest.raises(C3AlignError, match="first in row 7"):
            call(X, kind=kind, out=out, **arguments)
        assert (out == 5).all()
        assert raw(call(X[:7], kind=kind, out=out[:7], **arguments)) == raw(call(X[:7], kind=kind, **arguments))


@pytest.mark.parametrize("dtype", strategies.DTYPES)
def test_other_memory_that_may_be_overwritten_holds_what_keep_would_give(any_backend, dtype):
    for name, X, arguments in refusals(dtype):
        out = torch.full_like(X, 5)
        with pytest.raises(C3AlignError, match="first in row 7"):
            ops.align(X, out=out, overwrite_out=True, **arguments)
        well = [i for i in range(20) if i != 7]
        assert raw(out[well]) == raw(ops.align(X[well], **arguments)), name
        assert not out[7].any()


def test_wrong_arguments_leave_out_alone(any_backend):
    X, out = rows(), torch.full((20, N_DIMS), 5.0)
    for arguments in ({"mean": np.full(N_DIMS, np.nan)}, {"mean": np.ones(3)}, {"mean": None, "zero_rows": "drop"}):
        with pytest.raises(C3AlignError):
            ops.align(X, out=out, **arguments)
    with pytest.raises(C3AlignError):
        ops.corrupt(X, None, sigma=0.1, seed=0, row_ids=-np.arange(20), out=out)
    assert (out == 5).all()


def test_rows_of_out_that_overlap_each_other(any_backend):
    X, memory = np.random.default_rng(0).standard_normal((3, 4)).astype("f4"), np.zeros(40, "f4")
    for strides in ((8, 4), (4, 4), (12, 4), (4, 8)):
        with pytest.raises(C3AlignError, match="repeats its elements"):
            ops.normalize(X, out=np.lib.stride_tricks.as_strided(memory, (3, 4), strides))
    with pytest.raises(C3AlignError, match="repeats its elements"):
        ops.normalize(torch.from_numpy(X), out=torch.zeros(30).as_strided((3, 4), (3, 1)))
    for strides in ((16, 4), (20, 4), (4, 12)):
        out = np.lib.stride_tricks.as_strided(memory, (3, 4), strides)
        assert raw(ops.normalize(X, out=out)) == raw(ops.normalize(X))
