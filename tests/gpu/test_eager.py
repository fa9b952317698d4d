"""Torch's own operations on a card, as every tensor there gets them unless the CUDA kernels are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from c3align import C3Aligner, ops
from c3align.errors import C3AlignError
from c3align.statistics import ModalityStatistics
from tests.test_corrupt import KINDS, N_DIMS

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
on_mps = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS device")


@pytest.fixture(autouse=True)
def _no_kernels(monkeypatch):
    monkeypatch.delenv("C3ALIGN_BACKEND", raising=False)


def rows_of(n_rows, n_dims, dtype=torch.float32):
    rng = np.random.default_rng(n_dims)
    values = rng.standard_normal((n_rows, n_dims)) * 10 ** rng.uniform(-2, 2, (n_rows, 1))
    return torch.from_numpy(values).to(dtype)


def same_bits(device, host):
    assert device.is_cuda
    assert torch.equal(device.cpu().contiguous().view(torch.uint8), host.contiguous().view(torch.uint8))


def check_a_replayed_graph():
    """New noise at each replay, in rows that are new too; the generator's seed repeats it."""
    X = rows_of(64, 512).cuda()
    module = C3Aligner().fit(X.cpu().numpy()).as_module().cuda()
    warm = torch.cuda.Stream()
    with torch.cuda.stream(warm):
        module(X)
    warm.synchronize()
    graph, runs = torch.cuda.CUDAGraph(), []
    with torch.cuda.graph(graph):
        found = module(X)
    for _ in range(2):
        torch.cuda.manual_seed(5)
        for _ in range(3):
            graph.replay()
            runs.append(found.clone())
    assert len({run.cpu().numpy().tobytes() for run in runs[:3]}) == 3
    assert all(torch.equal(first, again) for first, again in zip(runs[:3], runs[3:]))
    cosines = (runs[0] * module.eval()(X)).sum(dim=1)
    assert 0.2 < cosines.mean() < 0.9


@on_cuda
@pytest.mark.parametrize("n_dims", [1, 127, 512, 768, 1025, 4100, 9000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_of_the_cpu(n_dims, dtype):
    X = rows_of(700, n_dims, dtype)
    mean, scale, shift = (torch.linspace(-0.02, 0.03, n_dims) + k for k in (0, 1, 0.1))
    for call in (
        lambda X: ops.normalize(X),
        lambda X: ops.align(X, mean.to(X.device), zero_rows="keep"),
        lambda X: ops.align(X, mean, scale=scale, shift=shift, renormalize=False),
        lambda X: ops.corrupt(X, mean, sigma=0.1, seed=2**63 + 1, row_offset=2**32 - 300),
    ):
        same_bits(call(X.cuda()), call(X))
    assert ModalityStatistics.from_rows(X.cuda()) == ModalityStatistics.from_rows(X)


@on_cuda
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_of_noise(kind, dtype):
    X = rows_of(20_000, N_DIMS, dtype)
    call = {"seed": 5, "row_offset": 2**40, **KINDS[kind]}
    same_bits(ops.corrupt(X.cuda(), None, **call), ops.corrupt(X, None, **call))
    shaped = {"sigma": np.random.default_rng(0).standard_normal((N_DIMS, N_DIMS)), "seed": 5, "row_offset": 2**40}
    same_bits(ops.corrupt(X.cuda(), None, **shaped), ops.corrupt(X, None, **shaped))


@on_cuda
def test_refusals_are_the_same():
    X = rows_of(100, 64)
    X[[4, 7], 3] = float("nan")
    texts = []
    for rows in (X, X.cuda()):
        with pytest.raises(C3AlignError, match="2 of 100 rows, first in row 4") as caught:
            ops.normalize(rows)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    with pytest.raises(C3AlignError, match="mean holds NaN"):
        ops.align(X[8:].cuda(), torch.full((64,), torch.nan, device="cuda"))


@on_cuda
def test_a_replayed_graph_goes_on_with_new_noise():
    check_a_replayed_graph()


@on_mps
@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_devices_without_float64_come_close(dtype):
    X, mean = rows_of(300, N_DIMS, dtype), np.linspace(-1, 1, N_DIMS) / 30
    bound = {torch.float16: 2**-11, torch.bfloat16: 2**-8, torch.float32: 2**-21}[dtype]
    found = ops.align(X.to("mps"), mean).cpu()
    assert (found.double() - ops.align(X, mean).double()).abs().max() <= bound
    for kind in KINDS.values():
        found = ops.corrupt(X.to("mps"), mean, seed=5, row_offset=2**40, **kind).cpu()
        expected = ops.corrupt(X, mean, seed=5, row_offset=2**40, **kind)
        assert (found.double() - expected.double()).abs().max() <= bound + 2**-18
    module = C3Aligner().fit(X.float().numpy()).as_module().to("mps")
    assert not torch.equal(module(X.to("mps")), module(X.to("mps")))
