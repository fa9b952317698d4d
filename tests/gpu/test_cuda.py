"""The CUDA kernels on a card: bits equal to the CPU's, streams, graphs, refusals. Skipped where no card is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from c3align import ops
from c3align.errors import C3AlignError
from c3align.statistics import ModalityStatistics
from tests.gpu.test_eager import check_a_replayed_graph, rows_of, same_bits
from tests.test_at_mean import around
from tests.test_corrupt import KINDS, N_DIMS
from tests.test_ops import digest_of_many_rows, many_rows

native = pytest.importorskip("c3align.ops.native")
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(not native.has_cuda, reason="built without CUDA"),
]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
WIDTHS = [1, 3, 127, 128, 132, 512, 768, 1024, 1025, 2048, 4100, 8192]


@pytest.fixture(autouse=True)
def _native(monkeypatch):
    monkeypatch.setenv("C3ALIGN_BACKEND", "native")


@pytest.mark.parametrize("n_dims", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_of_the_cpu(n_dims, dtype):
    X = rows_of(700, n_dims, dtype)
    mean, scale, shift = (torch.linspace(-0.02, 0.03, n_dims) + k for k in (0, 1, 0.1))
    for call in (
        lambda X: ops.normalize(X),
        lambda X: ops.align(X, mean, zero_rows="keep"),
        lambda X: ops.align(X, mean, scale=scale, shift=shift, renormalize=False),
        lambda X: ops.corrupt(X, mean, sigma=0.1, seed=2**63 + 1, row_offset=2**32 - 300),
    ):
        same_bits(call(X.cuda()), call(X))
    assert ModalityStatistics.from_rows(X.cuda()) == ModalityStatistics.from_rows(X)


def test_the_default_after_known_answers(monkeypatch):
    from c3align.ops import _compute, cuda, known_answers

    monkeypatch.delenv("C3ALIGN_BACKEND")
    assert known_answers.verdict(torch.device("cuda", 0)) == ""
    assert _compute.device_backend(torch.ones(3, 8, device="cuda")) is cuda
    X = rows_of(700, 768, torch.float32)
    same_bits(ops.align(X.cuda(), None), ops.align(X, None))


def test_p3_golden_bytes_of_many_rows(golden):
    assert digest_of_many_rows(torch.from_numpy(many_rows()).cuda()) == golden["many rows"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_of_noise(kind, dtype):
    X = rows_of(500, N_DIMS, dtype)
    call = {"seed": 5, "row_offset": 2**40, **KINDS[kind]}
    same_bits(ops.corrupt(X.cuda(), None, **call), ops.corrupt(X, None, **call))
    shaped = {"sigma": np.random.default_rng(0).standard_normal((N_DIMS, N_DIMS)), "seed": 5, "row_offset": 2**40}
    same_bits(ops.corrupt(X.cuda(), None, **shaped), ops.corrupt(X, None, **shaped))
    wide = {"sigma": 0.1, "fixed_norm": True, "direction": np.linspace(-1, 2, 3000), "seed": 1}
    X = rows_of(300, 3000, dtype)
    same_bits(ops.corrupt(X.cuda(), None, **wide), ops.corrupt(X, None, **wide))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_row_ids(kind, dtype):
    X, order = rows_of(500, N_DIMS, dtype), torch.randperm(500)
    call = {"seed": 5, **KINDS[kind]}
    expected = ops.corrupt(X, None, **call)[order]
    for ids in (order.cuda(), order.to(torch.uint64).cuda(), order.int().cuda(), order, order.numpy()):
        same_bits(ops.corrupt(X[order].cuda(), None, row_ids=ids, **call), expected)
    with pytest.raises(C3AlignError, match="row_ids holds negative numbers"):
        ops.corrupt(X.cuda(), None, row_ids=order.cuda() - 1, **call)


@pytest.mark.parametrize("n_dims", WIDTHS[1:])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_at_the_mean(n_dims, dtype):
    mean, X, _ = around(str(dtype).removeprefix("torch."), n_dims)
    for scale in (None, np.full(n_dims, 100.0)):
        for noise in ({}, {"sigma": 0.1, "seed": 1}, {"sigma": 0.1, "seed": 1, "fixed_norm": True}):
            call = ops.corrupt if noise else ops.align
            arguments = {"scale": scale, "zero_rows": "keep", **noise}
            same_bits(call(X.cuda(), mean, **arguments), call(X, mean, **arguments))
    on_device = X.cuda()
    with pytest.raises(C3AlignError, match="equals the mean"):
        ops.align(on_device, mean, out=on_device)
    same_bits(on_device, X)


def test_vectors_that_four_columns_at_once_cannot_read():
    X = rows_of(300, 512)
    mean, scale = torch.linspace(-0.02, 0.03, 514), torch.linspace(0.5, 2, 513)
    found = ops.align(X.cuda(), mean.cuda()[1:-1], scale=scale.cuda()[1:])
    same_bits(found, ops.align(X, mean[1:-1], scale=scale[1:]))


@pytest.mark.parametrize("view", [lambda X: X[::3], lambda X: X[:, 1:], lambda X: X[:, ::2], lambda X: X.T])
def test_any_stride(view):
    X = rows_of(300, 300)
    same_bits(ops.normalize(view(X.cuda())), ops.normalize(view(X)))


def test_normals():
    from c3align.ops import cuda

    found = cuda.philox_normal(1000, 515, seed=9, row_offset=2**32 - 10)
    same_bits(found, torch.from_numpy(ops.philox_normal(1000, 515, seed=9, row_offset=2**32 - 10)))


def test_refusals_are_the_same():
    X = rows_of(100, 64)
    X[[4, 7], 3] = float("nan")
    texts = []
    for rows in (X, X.cuda()):
        with pytest.raises(C3AlignError, match="2 of 100 rows, first in row 4") as caught:
            ops.normalize(rows)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_streams_and_graphs():
    X = rows_of(4096, 512).cuda()
    expected = ops.align(X, None)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        found = ops.align(X, None)
    stream.synchronize()
    assert torch.equal(found, expected)
    out = torch.empty_like(X)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ops.align(X, None, out=out)
    out.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, expected)


def test_a_replayed_graph_goes_on_with_new_noise():
    check_a_replayed_graph()


def test_gradients_and_compiled_graphs():
    X = rows_of(200, 768).cuda().requires_grad_()
    weights = torch.linspace(-1, 1, 768, device="cuda")

    def loss(X):
        return (ops.corrupt(X, None, sigma=0.1, seed=1) * weights).sum()

    (expected,) = torch.autograd.grad((ops.corrupt(X.double().cpu(), None, sigma=0.1, seed=1) * weights.cpu()).sum(), X)
    for function in (loss, torch.compile(loss, fullgraph=True), torch.compile(loss, mode="reduce-overhead")):
        for _ in range(3):
            (found,) = torch.autograd.grad(function(X), X)
            assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_cupy():
    cupy = pytest.importorskip("cupy")
    X = rows_of(300, 512)
    with cupy.cuda.Stream(non_blocking=True):
        found = ops.align(cupy.asarray(X.numpy()), None)
        assert isinstance(found, cupy.ndarray)
        assert torch.equal(torch.from_numpy(cupy.asnumpy(found)), ops.align(X, None))


def test_runs_repeat():
    X = rows_of(50_000, 768).cuda()
    first = ops.corrupt(X, None, sigma=0.1, seed=1)
    assert all(torch.equal(ops.corrupt(X, None, sigma=0.1, seed=1), first) for _ in range(20))
    statistics = ModalityStatistics.from_rows(X)
    assert all(ModalityStatistics.from_rows(X) == statistics for _ in range(20))
