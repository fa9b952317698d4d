"""Noise by the number of a row: the same for shuffled batches, however they are split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c3align import ops
from c3align.errors import C3AlignError
from tests import strategies
from tests.test_at_mean import backends
from tests.test_corrupt import KINDS, N_DIMS
from tests.test_ops import as_dtype, raw

ROOT = np.random.default_rng(0).standard_normal((N_DIMS, N_DIMS)) / 20
ALL_KINDS = {**KINDS, "matrix": {"sigma": ROOT}}


def rows(n_rows, dtype="float32"):
    return as_dtype(np.random.default_rng(n_rows).standard_normal((n_rows, N_DIMS)), dtype)


@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=30)  # of each kind
@given(data=st.data(), dtype=st.sampled_from(strategies.DTYPES), seed=strategies.SEEDS, n_rows=st.integers(1, 40))
def test_shuffled_batches_have_the_noise_of_the_whole(kind, data, dtype, seed, n_rows):
    X, call = rows(n_rows, dtype), {"seed": seed, **ALL_KINDS[kind]}
    parts = data.draw(strategies.partitions(n_rows))
    integers = data.draw(st.sampled_from([np.int64, np.uint64, np.int32]))
    for _ in backends():
        whole = ops.corrupt(X, None, **call)
        for part in filter(len, parts):
            ids = part.astype(integers)
            for row_ids in (ids, torch.from_numpy(ids)):
                assert raw(ops.corrupt(X[part], None, row_ids=row_ids, **call)) == raw(whole[part])
        assert raw(ops.corrupt(X, None, row_ids=np.arange(n_rows), **call)) == raw(whole)
        assert len(ops.corrupt(X[:0], None, row_ids=np.arange(0), **call)) == 0


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_numbers_of_64_bits(any_backend, kind):
    call = {"seed": 3, **ALL_KINDS[kind]}
    first = 2**64 - 10
    ids = np.arange(first, first + 10, dtype=np.uint64)[::-1]
    expected = ops.corrupt(rows(10), None, row_offset=first, **call)
    assert raw(ops.corrupt(rows(10).flip(0), None, row_ids=ids, **call)) == raw(expected.flip(0))


def test_many_threads_and_blocks(any_backend, monkeypatch):
    monkeypatch.setattr("c3align.ops.backends._BLOCK_ELEMENTS", 1 << 10)
    monkeypatch.setattr("c3align.ops._matrix_noise._BLOCK_ELEMENTS", 1 << 10)
    if any_backend == "native":
        monkeypatch.setattr("c3align.ops.native.ELEMENTS_PER_THREAD", 1)
        monkeypatch.setattr("c3align.ops.native._threads", 3)
    order = np.random.default_rng(0).permutation(500)
    for kind in ALL_KINDS.values():
        whole = ops.corrupt(rows(500), None, seed=1, **kind)
        assert raw(ops.corrupt(rows(500)[order], None, seed=1, row_ids=order, **kind)) == raw(whole[order])


@pytest.mark.parametrize("kind", ["isotropic", "matrix"])
def test_gradients_and_compiled_graphs(kind):
    torch._dynamo.reset()
    call = {"seed": 3, **ALL_KINDS[kind]}

    def function(X, ids):
        return ops.corrupt(X, None, row_ids=ids, **call)

    X, ids = rows(6, "float64"), torch.tensor([4, 2**40, 0, 0, 17, 3])
    expected = function(X, ids)
    assert raw(expected[2]) == raw(ops.corrupt(X[2:3], None, **call)[0])
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert raw(compiled(X, ids)) == raw(expected)
    assert raw(function(X.clone().requires_grad_(), ids).detach()) == raw(expected)
    for others in (ids.numpy().astype(np.uint64), ids.flip(0).numpy()[::-1]):
        assert raw(function(X.clone().requires_grad_(), others).detach()) == raw(expected)
    few = X[:2].clone().requires_grad_()  # each of its 192 numbers is moved, with 4 and 2**40 as the rows' own
    assert torch.autograd.gradcheck(lambda X: function(X, ids[:2]), (few,))


def test_foreign_arrays():
    xp = pytest.importorskip("array_api_strict")
    X, order = rows(9).numpy(), np.random.default_rng(0).permutation(9)
    for kind in ("isotropic", "matrix"):
        call = {"seed": 3, **ALL_KINDS[kind]}
        found = ops.corrupt(xp.asarray(X), None, row_ids=xp.asarray(order), **call)
        assert raw(np.from_dlpack(found)) == raw(ops.corrupt(X, None, row_ids=order, **call))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"row_ids": np.arange(3)}, r"row_ids has shape \(3,\) and X has 4 rows; pass one number per row"),
        ({"row_ids": np.arange(4)[:, None]}, r"row_ids has shape \(4, 1\)"),
        ({"row_ids": np.arange(4.0)}, "row_ids must be int64 or uint64, got float64"),
        ({"row_ids": np.ones(4, bool)}, "row_ids must be int64 or uint64, got bool"),
        ({"row_ids": np.array([0, 1, -1, 2])}, r"row_ids holds negative numbers; pass numbers in \[0, 2\*\*64\)"),
        ({"row_ids": np.arange(4), "row_offset": 5}, "row_offset and row_ids both number the rows; pass one"),
    ],
)
def test_refusals_alike(any_backend, arguments, text):
    X = rows(4)
    as_tensors = {**arguments, "row_ids": torch.from_numpy(arguments["row_ids"])}
    for kind in ("isotropic", "matrix"):
        for given_rows in (X.numpy(), X, X.clone().requires_grad_()):
            for given_arguments in (arguments, as_tensors):
                with pytest.raises(C3AlignError, match=text):
                    ops.corrupt(given_rows, None, seed=0, **ALL_KINDS[kind], **given_arguments)
