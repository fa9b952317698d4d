"""The torch face: custom ops by torch's own checks, gradients by finite differences, compiled graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

import c3align.ops.torch  # noqa: F401  registers the ops
from c3align import ops
from c3align.errors import C3AlignError
from tests import strategies
from tests.test_ops import raw

N_DIMS = 9
VECTORS = ("mean", "scale", "shift")
GAP = np.linspace(-1, 1, N_DIMS)


def doubles(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal(shape))


def vectors(seed=1):
    rows = doubles(3, N_DIMS, seed=seed)
    return {"mean": rows[0] / 10, "scale": rows[1].abs() + 0.5, "shift": rows[2] / 5}


NOISES = {
    "none": None,
    "isotropic": {"sigma": 0.2, "seed": 5, "row_offset": 2**40},
    "shaped": {"sigma": np.linspace(0.1, 0.3, N_DIMS), "direction": GAP, "fixed_norm": True, "seed": 2**64 - 1},
    "random": {"sigma": 0.2, "random_strength": True, "seed": 2**63, "row_offset": 2**64 - 50},
}


def call(X, mean=None, noise=None, **settings):
    return ops.align(X, mean, **settings) if noise is None else ops.corrupt(X, mean, **noise, **settings)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("renormalize", [True, False])
def test_gradients_by_finite_differences(noise, renormalize):
    X, learned = doubles(4, N_DIMS).requires_grad_(), [v.requires_grad_() for v in vectors().values()]

    def function(X, *learned):
        return call(X, **dict(zip(VECTORS, learned)), noise=NOISES[noise], renormalize=renormalize)

    assert torch.autograd.gradcheck(function, (X, *learned))
    assert torch.autograd.gradgradcheck(function, (X, *learned))


def chain(X, mean):
    """What the op is, in torch's own operations."""
    unit = torch.nn.functional.normalize(X, dim=1)
    return torch.nn.functional.normalize(unit - mean, dim=1)


@given(rows=strategies.blocks(dtype="float32"), dtype=st.sampled_from(["float16", "bfloat16", "float32"]))
def test_gradient_of_every_dtype(rows, dtype):
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)
    mean = torch.full((rows.shape[1],), 0.05)
    X = torch.from_numpy(rows).to(getattr(torch, dtype)).requires_grad_()
    wide = X.detach().double().requires_grad_()
    weights = doubles(*rows.shape, seed=2)
    result = ops.align(X, mean)
    assert result.dtype == X.dtype
    (result * weights.to(X.dtype)).sum().backward()
    (chain(wide, mean.double()) * weights.to(X.dtype).double()).sum().backward()
    assert X.grad.dtype == X.dtype
    # rows near the mean have steep gradients; the error is that of the dtype on the largest of them
    bound = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-5}[dtype]
    scale = wide.grad.abs().amax(dim=1, keepdim=True) + 1
    assert ((X.grad.double() - wide.grad).abs() / scale).max() < bound


def test_rows_without_a_direction_have_no_gradient():
    X = doubles(4, N_DIMS).requires_grad_()
    with torch.no_grad():
        X[1] = 0
        X[2] = torch.eye(N_DIMS, dtype=torch.float64)[0]
    ops.align(X, torch.eye(N_DIMS)[0], zero_rows="keep").sum().backward()
    assert not X.grad[1:3].any()
    assert X.grad[[0, 3]].any(dim=1).all()
    with pytest.raises(C3AlignError, match="norm of zero or below 2\\*\\*-126, so no direction, in 1 of 4 rows"):
        ops.align(X, None)


def test_gradients_of_the_mean_alone():
    """Rows that need none, as the embeddings of a frozen encoder, and a learned mean."""
    mean = torch.zeros(N_DIMS, requires_grad=True)
    ops.align(doubles(5, N_DIMS).float(), mean).square()[:, 0].sum().backward()
    assert mean.grad.abs().sum() > 0


@pytest.mark.parametrize("op", ["align", "corrupt"])
def test_op_by_torchs_own_checks(op):
    X = doubles(6, N_DIMS).requires_grad_()
    columns, none = list(vectors().values()), [None] * 3
    if op == "align":
        for chosen in (columns, none):
            opcheck(torch.ops.c3align.align, (X, *chosen, True, False))
        return
    shape = (0.2, torch.full((N_DIMS,), 0.2), torch.from_numpy(GAP), True, True, -5, -100, None, None)
    plain = (0.2, None, None, False, False, 3, 0)
    first, rows = (*plain, torch.tensor(2**40), None), (*plain, None, torch.arange(6) + 2**40)
    for chosen, noise in ((columns, shape), (columns, first), (columns, rows), (none, rows)):
        opcheck(torch.ops.c3align.corrupt, (X, *chosen, True, False, *noise))


def test_matrix_noise_by_torchs_own_checks():
    root = doubles(N_DIMS, N_DIMS)
    for place in ((-5, -100, None, None), (3, 0, torch.tensor(2**40), None), (3, 0, None, torch.arange(6))):
        opcheck(torch.ops.c3align.matrix_noise, (root, 6, *place))


class Seen(TorchDispatchMode):
    """Names of the ops that pass torch's dispatcher."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_plain_tensors_take_the_direct_path():
    X = doubles(3, N_DIMS)
    with Seen() as seen:
        ops.align(X, None)
        ops.corrupt(X, None, sigma=0.1, seed=1)
    assert not [name for name in seen.names if name.startswith("c3align")]
    with Seen() as seen:
        ops.align(X.requires_grad_(), None)
    assert "c3align::align" in seen.names


def test_compiled_graphs_have_no_break_and_the_same_bits():
    torch._dynamo.reset()
    mean = vectors()["mean"]

    def function(X, row_offset):
        noisy = ops.corrupt(X * 2, mean, sigma=np.linspace(0.1, 0.2, N_DIMS), seed=2**63 + 1, row_offset=row_offset)
        return ops.normalize(noisy + ops.align(X, None)) * 3

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    for n_rows, row_offset in [(4, 7), (6, 9), (9, 2**40), (11, 2**41)]:
        X = doubles(n_rows, N_DIMS)
        assert raw(compiled(X, row_offset)) == raw(function(X, row_offset))
    assert counter.frame_count <= 3  # as given, then with any number of rows and any offset
    with pytest.raises(C3AlignError, match="NaN or infinity in 1 of 4 rows, first in row 2"):
        compiled(doubles(4, N_DIMS).index_fill_(0, torch.tensor(2), torch.nan), 0)


def test_compiled_gradients():
    torch._dynamo.reset()
    X, mean = doubles(5, N_DIMS).requires_grad_(), vectors()["mean"].requires_grad_()

    def loss(X, mean):
        return (ops.corrupt(X, mean, sigma=0.1, seed=1) * torch.arange(1.0, N_DIMS + 1)).sum()

    expected = torch.autograd.grad(loss(X, mean), (X, mean))
    found = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(X, mean), (X, mean))
    for ours, theirs in zip(found, expected):
        assert torch.allclose(ours, theirs, rtol=1e-12)


def test_fake_tensors():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        found = ops.align(torch.empty(7, N_DIMS, dtype=torch.bfloat16), None)
    assert (found.shape, found.dtype) == ((7, N_DIMS), torch.bfloat16)


def test_out_carries_no_gradient():
    X = doubles(3, N_DIMS).requires_grad_()
    with pytest.raises(C3AlignError, match="omit it"):
        ops.align(X, None, out=torch.empty(3, N_DIMS, dtype=torch.float64))


@pytest.mark.parametrize(("name", "value"), [("seed", 2**64), ("seed", -1), ("row_offset", 2**64), ("sigma", -1.0)])
def test_refusals_are_those_of_the_direct_path(name, value):
    arguments = {"sigma": 0.1, "seed": 0, name: value}
    texts = []
    for X in (doubles(3, N_DIMS), doubles(3, N_DIMS).requires_grad_()):
        with pytest.raises(C3AlignError) as caught:
            ops.corrupt(X, None, **arguments)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
