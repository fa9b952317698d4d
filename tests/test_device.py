"""Tensors stay on their device: torch's own operations give the reference's bits, and no batch goes to the host.

No device is needed. The operations are the same on CPU tensors, where they are compared with the reference; fake
tensors of a GPU show what would cross to the host; and the meta device has nothing that could.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from c3align import C3Aligner, centering, ops
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.ops import (
    _compute,
    _device,
    _dispatch,
    _eager_math,
    _matrix_noise,
    arrays,
    backends,
    eager,
    glance,
    reference,
)
from c3align.ops.rowmap import NO_NOISE, Noise, NoiseRequest, Request, RowMap
from tests import strategies
from tests.test_corrupt import KINDS, N_DIMS
from tests.test_ops import as_dtype, raw

GAP = np.linspace(-1, 1, N_DIMS)
TORCH_DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def takes_tensors(X, request=None):
    return eager if arrays.is_tensor(X) else None


def on_torch(row_map):
    """The row map of NumPy's arrays as one of tensors."""
    noise = row_map.noise._asdict()
    return RowMap(**{**tensors_of(row_map._asdict()), "noise": Noise(**tensors_of(noise))})


def tensors_of(fields):
    return {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in fields.items()}


def run(X, row_map):
    out = torch.empty_like(X)
    return out, eager.run(X, out, row_map)


def transform(X, request):
    return _device.transform(eager, X, request, None, False)


def moments(X, zero_rows):
    return _device.moments(eager, X, zero_rows)


@pytest.fixture
def on_a_device(monkeypatch):
    """Calls a function as it would be called with tensors on a device that is no CPU."""

    def call(function, *arguments, **how):
        with monkeypatch.context() as here:
            for module in (ops, _compute, _dispatch):
                here.setattr(module, "device_backend", takes_tensors)
            return function(*arguments, **how)

    return call


def rows_of(n_rows=60, n_dims=N_DIMS, dtype=torch.float32):
    rng = np.random.default_rng(n_rows)
    return torch.from_numpy(rng.standard_normal((n_rows, n_dims)) * 10 ** rng.uniform(-2, 2, (n_rows, 1))).to(dtype)


def same_moments(found, expected):
    for ours, theirs in zip(found, expected):
        assert raw(np.asarray(ours)) == raw(np.asarray(theirs))


@given(rows=strategies.blocks(), data=st.data(), dtype=st.sampled_from(strategies.DTYPES))
def test_bits_of_the_reference(rows, data, dtype):
    X = as_dtype(rows, dtype)
    seen = arrays.as_rows(X)
    row_map = data.draw(strategies.row_maps(seen))
    expected = np.empty(seen.shape, seen.values.dtype)
    status = backends.ReferenceBackend.transform(seen, expected, row_map)
    found, verdicts = run(X, on_torch(row_map))
    assert raw(verdicts) == raw(status)
    assert raw(found) == raw(seen.restore(expected))
    same_moments(moments(X, "keep"), ops.moments(X, zero_rows="keep"))


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
@pytest.mark.parametrize("n_dims", [1, 127, 512, 1023, 1025, 4100])
def test_bits_on_many_rows(n_dims, dtype, monkeypatch):
    """Squares and roots that are not rounded correctly show in one row of thousands only; blocks leave no trace."""
    monkeypatch.setattr(eager, "_BLOCK_ELEMENTS", 1 << 16)
    X = rows_of(min(max(300, 200_000 // n_dims), 70_000), n_dims, dtype)
    X[5], X[7, 0] = 0, torch.inf
    mean = np.linspace(-0.02, 0.03, n_dims)
    for noise in (None, NoiseRequest(0.1, None, True, True, 2**63 + 1, 2**32 - 300)):
        rest = {} if noise is None else noise._asdict()
        good = X[8:]
        expected = ops.align(good, mean) if noise is None else ops.corrupt(good, mean, **rest)
        found = transform(good, Request(mean, noise=noise))
        assert raw(found) == raw(expected)
    X[7, 0] = 1
    same_moments(moments(X, "keep"), ops.moments(X, zero_rows="keep"))


def test_normals_at_every_end():
    """Words around all that the polynomials branch on."""
    edges = [np.arange(-3000, 3000) + k * 2**29 for k in range(9)]
    words = np.concatenate([*edges, np.random.default_rng(0).integers(0, 2**32, 1 << 18)]) % 2**32
    narrow, wide = words.astype(np.uint32), torch.from_numpy(words)
    assert raw(_eager_math._log_uniform(wide)) == raw(reference._log_uniform(narrow.view(np.int32)))
    for ours, theirs in zip(_eager_math._box_muller(wide, wide.flip(0)), reference._box_muller(narrow, narrow[::-1])):
        assert raw(ours) == raw(theirs)


def test_a_multiply_add_rounds_once():
    rng = np.random.default_rng(0)
    a, b = (1 + 2.0**-12 * rng.integers(0, 4096, (2, 100_000))).astype(np.float32)
    c = (2.0 ** -rng.integers(20, 140, 100_000) * rng.choice([-1, 1], 100_000)).astype(np.float32)
    expected = reference.fma32(a, b, c)
    assert (expected != (a.astype(np.float64) * b + c).astype(np.float32)).any()
    assert raw(_eager_math.fma32(*map(torch.from_numpy, (a, b, c)))) == raw(expected)


@pytest.mark.parametrize("exponents", [(-250, 250), (0, 2)])
def test_roots_are_rounded_correctly(exponents):
    squares = 2.0 ** np.random.default_rng(0).uniform(*exponents, 1 << 19)
    assert raw(_eager_math._root(torch.from_numpy(squares))) == raw(np.sqrt(squares))


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_rows_at_the_mean_have_no_direction(dtype):
    """Within what the mean itself is known to: 2**-22, for float64 rows sqrt(n_dims) * 2**-40."""
    rows, limit = torch.eye(N_DIMS, dtype=dtype)[:3], N_DIMS**0.5 * 2.0**-40 if dtype == torch.float64 else 2.0**-22
    for distance, kinds in ((0.99 * limit, [2, 0, 0]), (1.01 * limit, [0, 0, 0])):
        mean = rows[0].to(torch.float64, copy=True)
        mean[3] = distance
        plain = RowMap(mean.to(_device.compute_dtype(rows)))
        ones = torch.ones(N_DIMS, dtype=_device.compute_dtype(rows))
        for how in (plain, plain._replace(scale=1000 * ones)):
            for added in (NO_NOISE, Noise(0.1, seed=1)):
                found, status = run(rows, how._replace(noise=added))
                assert status.tolist() == kinds
                assert found.any(dim=1).tolist() == [kind == 0 for kind in kinds]
        assert not run(rows, plain._replace(renormalize=False))[1].any()
        assert not run(rows, plain._replace(shift=ones))[1].any()


class TestFace:
    """`c3align.ops` with tensors on a device."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_of_noise(self, on_a_device, kind):
        X, call = rows_of(), {"seed": 5, "row_offset": 2**64 - 100, **KINDS[kind]}
        assert raw(on_a_device(ops.corrupt, X, None, **call)) == raw(ops.corrupt(X, None, **call))

    def test_a_row_offset_on_the_device(self, on_a_device, monkeypatch):
        monkeypatch.setattr(_device, "is_device_scalar", arrays.is_tensor)
        X, place = rows_of(), torch.tensor(2**33 + 1)
        found = on_a_device(ops.corrupt, X, None, sigma=0.1, seed=1, row_offset=place)
        assert raw(found) == raw(ops.corrupt(X, None, sigma=0.1, seed=1, row_offset=2**33 + 1))
        with pytest.raises(C3AlignError, match="not an int64 on X's device"):
            on_a_device(ops.corrupt, X, None, sigma=0.1, seed=1, row_offset=place.int())

    @pytest.mark.parametrize("where", ["host", "device"])
    def test_numbers_of_rows(self, on_a_device, where, monkeypatch):
        monkeypatch.setattr(_device, "is_device_scalar", arrays.is_tensor if where == "device" else lambda value: False)
        X, call = rows_of(), {"sigma": 0.1, "seed": 1, "random_strength": True}
        order = torch.randperm(60, generator=torch.Generator().manual_seed(0)) + 2**40
        for ids in (order, order.to(torch.uint64), order.to(torch.int32) % 100):
            expected = ops.corrupt(X, None, row_ids=ids, **call)
            assert raw(on_a_device(ops.corrupt, X, None, row_ids=ids, **call)) == raw(expected)
        for wrong in ({"row_ids": order - 2**41}, {"row_ids": order[:3]}, {"row_ids": order, "row_offset": 3}):
            texts = []
            for how in (on_a_device, lambda function, *a, **k: function(*a, **k)):
                with pytest.raises(C3AlignError, match="row_ids") as caught:
                    how(ops.corrupt, X, None, **call, **wrong)
                texts.append(str(caught.value))
            assert texts[0] == texts[1]

    @pytest.mark.parametrize("dtype", TORCH_DTYPES)
    def test_views_moments_and_products(self, on_a_device, dtype):
        X = rows_of(dtype=dtype)
        for view in (X[::3], X[:, 5:], X[:, ::2], X.T, X[:1].expand(7, -1)):
            assert raw(on_a_device(ops.normalize, view)) == raw(ops.normalize(view))
            same_moments(on_a_device(ops.moments, view), ops.moments(view))
        assert on_a_device(ops.normalize, X[:0]).shape == (0, N_DIMS)
        same_moments(on_a_device(ops.moments, X[:0]), ops.moments(X[:0]))
        assert np.abs(on_a_device(ops.column_products, X) - ops.column_products(X)).max() < 1e-12 * len(X)

    @pytest.mark.parametrize("n_rows", [7, 60, 3000])
    def test_a_glance(self, n_rows, monkeypatch):
        """What decides on a mean is seen on the device, to the bit of what the host sees; Gram matrices nearly."""
        X, scale = rows_of(n_rows), np.linspace(1, 2, N_DIMS)
        X[3] = 0
        expected = centering.Glance.of(X, 1000)
        host = glance.gram(expected.rows, scale, 20)
        monkeypatch.setattr(glance, "is_on_device", arrays.is_tensor)
        found = centering.Glance.of(X, 1000)
        assert found.n_rows == expected.n_rows
        assert raw(found.mean) == raw(expected.mean)
        assert raw(found.variance) == raw(expected.variance)
        assert isinstance(found.rows, torch.Tensor)
        assert np.abs(glance.gram(found.rows, scale, 20) - host).max() < 1e-12

    def test_gradients_go_on(self, on_a_device):
        found = []
        for how in (on_a_device, lambda function, *a, **k: function(*a, **k)):
            X = rows_of().requires_grad_()
            how(ops.corrupt, X, None, sigma=0.1, seed=3).square()[:, 0].sum().backward()
            found.append(raw(X.grad))
        assert found[0] == found[1]

    def test_out_and_in_place(self, on_a_device):
        X, out = rows_of(), torch.empty(60, N_DIMS)
        expected = ops.normalize(X)
        assert on_a_device(ops.normalize, X, out=out) is out
        assert raw(out) == raw(expected)
        assert on_a_device(ops.normalize, X, out=X) is X
        assert raw(X) == raw(expected)
        overlapping = X.as_strided((59, N_DIMS), (N_DIMS, 1), 3)
        with pytest.raises(C3AlignError, match="out is on meta and X on cpu; pass an out on X's device"):
            on_a_device(ops.normalize, X, out=out.to("meta"))
        for Y, wrong in ((X, out[:5]), (X, out.double()), (X, out[:1].expand(60, -1)), (X[:-1], overlapping)):
            texts = []
            for how in (on_a_device, lambda function, *a, **k: function(*a, **k)):
                with pytest.raises(C3AlignError, match="out ") as caught:
                    how(ops.normalize, Y, out=wrong)
                texts.append(str(caught.value))
            assert texts[0] == texts[1]

    @pytest.mark.parametrize("policy", ["raise", "keep"])
    @pytest.mark.parametrize(
        "values",
        [{4: torch.nan, 7: torch.inf}, {9: 1e38}, {2: 0.0, 3: 0.0}, {4: 0.0, 9: 1e38}, {4: 0.0, 5: torch.nan}, {}],
    )
    def test_refusals_are_the_same(self, on_a_device, values, policy):
        X, mean = rows_of(), torch.eye(N_DIMS)[0]
        X[20] = 4 * mean
        for row, value in values.items():
            X[row] = value
        before = X.clone()
        for function in (ops.normalize, lambda X, **how: ops.align(X, mean, **how), ops.moments):
            texts = []
            for how in (on_a_device, lambda function, *a, **k: function(*a, **k)):
                try:
                    how(function, X, zero_rows=policy)
                    texts.append("")
                except C3AlignError as error:
                    texts.append(str(error))
            assert texts[0] == texts[1]
            assert raw(X) == raw(before)
        if values and policy == "raise":
            with pytest.raises(C3AlignError, match=" of 60 rows, first in row "):
                on_a_device(ops.normalize, X, out=X)
            assert raw(X) == raw(before)

    def test_rows_of_later_blocks_are_named(self, on_a_device, monkeypatch):
        X = rows_of()
        X[37] = 0
        monkeypatch.setattr(_device, "ROWS_PER_BLOCK", 16)
        monkeypatch.setattr(eager, "_BLOCK_ELEMENTS", 3 * N_DIMS)
        for function in (ops.moments, ops.normalize):
            with pytest.raises(C3AlignError, match="1 of 60 rows, first in row 37"):
                on_a_device(function, X)
        same_moments(on_a_device(ops.moments, X, zero_rows="keep"), ops.moments(X, zero_rows="keep"))

    @pytest.mark.parametrize("name", ["mean", "scale", "shift"])
    def test_vectors_are_checked(self, on_a_device, name, monkeypatch):
        vectors = {"mean": None, name: torch.ones(N_DIMS)}
        vectors[name][17] = torch.nan
        monkeypatch.setattr(torch.Tensor, "is_cpu", False)  # else the host looks at them
        with pytest.raises(C3AlignError, match=f"{name} holds NaN or infinity; pass finite values"):
            on_a_device(ops.align, rows_of(), renormalize=False, **vectors)
        with pytest.raises(C3AlignError, match=rf"{name} has shape \(3,\) and the rows have {N_DIMS} dimensions"):
            on_a_device(ops.align, rows_of(), **{**vectors, name: torch.ones(3)})


@pytest.mark.parametrize("size", [0.0, 1e-300, 0.02, 1.0, 1e280])
def test_noise_of_a_matrix(size, monkeypatch):
    monkeypatch.setattr(eager, "_BLOCK_ELEMENTS", 1 << 12)
    root = torch.from_numpy(np.random.default_rng(0).standard_normal((N_DIMS, N_DIMS)) * size)
    found = eager.matrix_noise(root, torch.arange(200) + 2**40, 2**63 + 1)
    assert raw(found) == raw(_matrix_noise.normals(200, root, seed=2**63 + 1, row_offset=2**40))
    root[3, 4] = torch.nan
    with pytest.raises(C3AlignError, match="sigma holds NaN or infinity"):
        eager.matrix_noise(root, torch.arange(2), 1)


class Crossings(TorchDispatchMode):
    """Counts the elements that leave a device for the host, of whatever kind of tensor."""

    def __init__(self):
        super().__init__()
        self.elements = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        sources = [a.numel() for a in args if isinstance(a, torch.Tensor) and a.device.type != "cpu"]
        to_host = str(kwargs.get("device")) == "cpu" or func.name() == "aten::_local_scalar_dense"
        self.elements += sources if to_host else []
        return func(*args, **kwargs)


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_no_batch_goes_to_the_host(dtype):
    """Tensors without values cannot be read in silence: what the ops do to them is what they would do elsewhere."""
    X = torch.empty(50, N_DIMS, dtype=dtype, device="meta")
    with Crossings() as seen:
        plain = RowMap(*(eager.vector_on(np.zeros(N_DIMS), X, "mean") for _ in range(3)))
        noise = Noise(1.0, plain.scale, plain.shift, 2.0, True, 1, first_row=torch.tensor(3, device="meta"))
        for row_map in (plain, plain._replace(noise=noise), plain._replace(goal=plain.mean, norm=2.0)):
            result, status = run(X, row_map)
            assert (result.device.type, result.dtype, result.shape) == ("meta", dtype, X.shape)
            assert (status.device.type, status.shape) == ("meta", (50,))
        totals, _ = eager.summed(X)
        assert (totals.device.type, totals.shape) == ("meta", (2 * N_DIMS + ops.NORM_BINS + 1,))
    assert seen.elements == []
    with Crossings() as seen, pytest.raises(NotImplementedError):
        X.cpu()  # it would be seen
    assert seen.elements == [X.numel()]


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, (tuple, list)) else [result]
        for tensor in made:
            if isinstance(tensor, torch.Tensor) and not func.is_view and "empty" not in func.name():
                self.elements = max(self.elements, tensor.numel())
        return result


def test_in_bounded_memory(monkeypatch):
    """Whatever a batch's size, one block of it at a time is computed, in arrays of its own size."""
    monkeypatch.setattr(eager, "_BLOCK_ELEMENTS", 1 << 14)
    X = rows_of(4000, N_DIMS, torch.bfloat16)
    noise = NoiseRequest(0.1, GAP, True, True, 1, 0)
    with Largest() as seen:
        transform(X, Request(GAP / 9, noise=noise))
        moments(X, "raise")
    assert seen.elements <= (1 << 14) * 128 // N_DIMS  # rows are padded to 128 columns for their sums
    assert X.numel() > 20 * (1 << 14)


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_meta(dtype):
    """Nothing can be asked of it, so nothing is; a copy of it to the host is an error of torch's own."""
    X = torch.empty(7, N_DIMS, dtype=dtype, device="meta")
    mean = np.zeros(N_DIMS)
    for found in (
        ops.normalize(X),
        ops.align(X, mean),
        ops.align(X, torch.zeros(N_DIMS, device="meta"), out=torch.empty_like(X)),
        ops.corrupt(X, mean, sigma=np.ones(N_DIMS), direction=GAP, seed=1, row_offset=torch.tensor(3, device="meta")),
        ops.corrupt(X.clone().requires_grad_(), None, sigma=0.1, seed=1),
        ops.corrupt(X, None, sigma=torch.ones(N_DIMS, device="meta"), seed=1),
        ops.corrupt(X, None, sigma=np.eye(N_DIMS), seed=1),
    ):
        assert (found.device.type, found.dtype, found.shape) == ("meta", dtype, X.shape)
    with pytest.raises(C3AlignError, match="meta device, which holds no values to sum; pass a tensor on another"):
        ops.moments(X)
    with pytest.raises(C3AlignError, match="must be 2-d"):
        ops.normalize(X[0])
    with pytest.raises(C3AlignError, match="one value per column"):
        ops.align(X, np.zeros(3))


@pytest.fixture
def without_float64(monkeypatch):
    """As on Apple's MPS."""
    monkeypatch.setattr(_eager_math, "wide_dtype", lambda device: torch.float32)


@pytest.mark.parametrize("dtype", TORCH_DTYPES[:3])
def test_devices_without_float64_come_close(without_float64, dtype, monkeypatch):
    X, rng = rows_of(2000, dtype=dtype), np.random.default_rng(0)
    if dtype == torch.float32:
        X[:500] *= 2.0 ** torch.from_numpy(rng.integers(-110, 110, (500, 1)))
    mean = GAP / 30
    exact = {torch.float16: 2**-11, torch.bfloat16: 2**-8, torch.float32: 2**-21}[dtype]
    plain = transform(X, Request(mean))
    assert (plain.double() - ops.align(X, mean).double()).abs().max() <= exact
    for kind in KINDS.values():
        noise = NoiseRequest(
            kind["sigma"], kind.get("direction"), "fixed_norm" in kind, "random_strength" in kind, 1, 2**40
        )
        noisy = transform(X, Request(mean, noise=noise))
        expected = ops.corrupt(X, mean, **noise._asdict())
        assert (noisy.double() - expected.double()).abs().max() <= exact + 2**-18
    found, expected = moments(X, "keep"), ops.moments(X, zero_rows="keep")
    for ours, theirs in zip(found[2:4], expected[2:4]):
        assert np.abs(ours[1] - theirs[1]).max() * 2.0**-40 / len(X) < 2**-22
    assert found[:2] == expected[:2]
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    assert eager.in_float64(X).dtype == torch.float64


def test_which_devices_have_float64():
    assert _eager_math.wide_dtype(torch.device("cpu")) == torch.float64


class Waits(TorchDispatchMode):
    """Counts how often the host asks for a value."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += func.name() == "aten::_local_scalar_dense"
        return func(*args, **(kwargs or {}))


class TestDeferredChecks:
    """Inside `ops.deferred_checks` no call waits; what was wrong is told at its end."""

    @pytest.fixture(autouse=True)
    def on_a_device(self, as_if_on_a_device, monkeypatch):
        monkeypatch.setattr(_device, "is_device_scalar", arrays.is_tensor)

    @staticmethod
    def rows():
        return torch.from_numpy(np.random.default_rng(0).standard_normal((40, N_DIMS))).float()

    @staticmethod
    def calls(X, mean):
        """Every op that checks rows."""
        noise = {"sigma": 0.1, "seed": 1}
        yield lambda **k: ops.normalize(X, **k)
        yield lambda **k: ops.align(X, mean, **k)
        yield lambda **k: ops.align(X, mean, renormalize=False, **k)
        yield lambda **k: ops.corrupt(X, mean, row_ids=torch.arange(40), **noise, **k)
        yield lambda **k: ops.invert(ops.normalize(X, **k), mean, **k)
        yield lambda **k: ops.translate(X, mean, mean / 2, norm=2.0, **k)

    def test_the_same_rows_and_no_wait(self):
        X, mean = self.rows(), torch.linspace(-0.02, 0.03, N_DIMS)
        for call in self.calls(X, mean):
            expected = call()
            with Waits() as waits:
                with ops.deferred_checks():
                    found = call()
                    assert waits.n == 0
                assert waits.n == 1  # at the end
                call()
                assert waits.n >= 2
            assert raw(found) == raw(expected)

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.0, "norm of zero"), (1e-42, "norm of zero"), (np.nan, "NaN, infinity"), (np.inf, "NaN"), (3e38, "above 2")],
    )
    def test_unusable_rows_are_told_at_the_end(self, value, text):
        X = self.rows()
        X[7], X[8, 3] = (value, X[8, 3]) if abs(value) < 1 else (X[7], value)
        which = 7 if abs(value) < 1 else 8
        for call in self.calls(X, torch.linspace(-0.02, 0.03, N_DIMS)):
            with pytest.raises(C3AlignError, match=f"{text}.*and zeros came out"), ops.deferred_checks():  # noqa: PT012
                found = call()
                assert not found[which].any()
            refusal = contextlib.nullcontext() if abs(value) < 1 else pytest.raises(C3AlignError, match=text)
            with refusal, ops.deferred_checks():
                found = call(zero_rows="keep")
        assert found[:6].any()

    def test_what_is_beside_the_rows(self, monkeypatch):
        monkeypatch.setattr(torch.Tensor, "is_cpu", False)  # else the host looks at them
        X, mean = ops.normalize(self.rows()), torch.linspace(-0.02, 0.03, N_DIMS)
        wrong = {
            "rows that equal the mean": lambda: ops.align(X, X[7]),
            "negative row_ids": lambda: ops.corrupt(X, None, sigma=0.1, seed=1, row_ids=torch.arange(40) - 1),
            "a mean, scale or shift that holds NaN": lambda: ops.align(X, mean * np.nan, renormalize=False),
            "a target mean longer than 1": lambda: ops.translate(X, mean, 50 * mean, norm=1.0),
        }
        for text, call in wrong.items():
            with pytest.raises(C3AlignError, match=text), ops.deferred_checks():
                call()

    def test_a_task_of_a_block_that_is_over(self):
        """And calls of another thread: both are checked at once."""
        X = self.rows() * 0

        async def job():
            return ops.normalize(X)

        async def main():
            with ops.deferred_checks():
                task = asyncio.create_task(job())
            await task

        with pytest.raises(C3AlignError, match="so no direction, in 40 of 40"):
            asyncio.run(main())
        with ops.deferred_checks():
            here = contextvars.copy_context()
            with ThreadPoolExecutor(1) as pool, pytest.raises(C3AlignError, match="so no direction, in 40 of 40"):
                pool.submit(here.run, ops.normalize, X).result()

    def test_in_place(self):
        X = self.rows()
        expected, X[7] = ops.normalize(X), 0
        with pytest.raises(C3AlignError, match="norm of zero"), ops.deferred_checks():
            ops.normalize(X, out=X)
        expected[7] = 0
        assert raw(X) == raw(expected)

    def test_the_outer_block_tells_and_an_error_inside_comes_first(self):
        X = self.rows() * 0
        with pytest.raises(C3AlignError, match="deferred_checks"), ops.deferred_checks():  # noqa: PT012
            with ops.deferred_checks():
                ops.normalize(X)
            ops.normalize(X)
        with pytest.raises(ZeroDivisionError), ops.deferred_checks():  # noqa: PT012
            ops.normalize(X)
            raise ZeroDivisionError
        with pytest.raises(C3AlignError, match="norm of zero or below 2\\*\\*-126, so no direction, in 40 of 40"):
            ops.normalize(X)


@pytest.fixture
def as_if_on_a_device(monkeypatch):
    """CPU tensors are taken for tensors on another device, everywhere: same values, other paths."""
    from c3align import _ingest
    from c3align.geometry import _overlap
    from c3align.mappings import _affine
    from c3align.ops import products

    for module in (_ingest, _affine, products, _overlap, glance):
        monkeypatch.setattr(module, "is_on_device", arrays.is_tensor)
    for module in (ops, _compute, _dispatch):
        monkeypatch.setattr(module, "device_backend", takes_tensors)


def two_modalities(dtype=torch.float32):
    rng = np.random.default_rng(0)
    shared, gap = rng.standard_normal((300, N_DIMS)), 20 * np.eye(2, N_DIMS)
    return [torch.from_numpy(shared + gap[i] + 0.3 * rng.standard_normal((300, N_DIMS))).to(dtype) for i in range(2)]


class TestAligner:
    """`C3Aligner` from the first line to the last, to the bits that it has on the host."""

    @pytest.mark.parametrize("dtype", TORCH_DTYPES)
    @pytest.mark.parametrize("settings", [{}, {"renormalize": False}, {"second_moments": True}, {"noise": "residual"}])
    def test_it_has_the_bits_of_the_host(self, request, dtype, settings):
        text, image = two_modalities(dtype)
        calls = {
            "transform": lambda a: a.transform(image, modality="image"),
            "auto": lambda a: a.transform(text),
            "batch": lambda a: a.transform(image, modality="batch"),
            "corrupt": lambda a: a.corrupt(text, seed=3, row_offset=5),
            "row_ids": lambda a: a.corrupt(text, row_ids=torch.arange(299, -1, -1)),
            "translate": lambda a: a.translate(text, source="text", target="image"),
            "back": lambda a: a.inverse_transform(a.transform(text, modality="text"), modality="text"),
        }
        host = C3Aligner(**settings).fit(text, image)
        expected = {name: call(host) for name, call in calls.items()}
        request.getfixturevalue("as_if_on_a_device")
        here = C3Aligner(**settings).fit(text, image)
        assert here.statistics_ == host.statistics_
        assert here.pairs_ == host.pairs_
        if settings.get("noise") == "residual":  # BLAS has a hand in the noise's shape
            here = host
        for name, call in calls.items():
            found = call(here)
            assert (type(found), found.dtype) == (torch.Tensor, dtype)
            if name in ("translate", "back") and dtype == torch.float16:  # torch rounds float64 by way of float32
                assert (found.view(torch.int16) - expected[name].view(torch.int16)).abs().max() <= 1
            else:
                assert raw(found) == raw(expected[name]), name

    def test_one_fitted_and_a_shift(self, as_if_on_a_device):
        text, image = two_modalities()
        aligner = C3Aligner().fit(text)
        with pytest.warns(ModalityMeanWarning, match="their own mean"):
            found = aligner.transform(image)
        assert raw(found) == raw(ops.align(image, C3Aligner().fit(image).statistics_["text"].mean))
        with pytest.raises(C3AlignError, match=r"too few \(3\)"):
            aligner.transform(image[:3])

    def test_vectors_go_up_once(self, as_if_on_a_device, monkeypatch):
        text, image = two_modalities()
        aligner, uploaded, vector_on = C3Aligner().fit(text, image), [], eager.vector_on
        monkeypatch.setattr(eager, "vector_on", lambda v, X, name: uploaded.append(type(v)) or vector_on(v, X, name))
        for _ in range(3):
            aligner.transform(text, modality="text")
        assert uploaded.count(np.ndarray) == 1

    @pytest.mark.parametrize("dtype", TORCH_DTYPES)
    def test_meta(self, dtype):
        """Nothing of a batch can have been read, for there is nothing to read."""
        aligner = C3Aligner().fit(*two_modalities())
        X = torch.empty(7, N_DIMS, dtype=dtype, device="meta")
        for found in (
            aligner.transform(X, modality="image"),
            aligner.corrupt(X, modality="text"),
            aligner.translate(X, source="text", target="image"),
            aligner.inverse_transform(X, modality="image"),
            aligner.as_module()(X),
            aligner.as_module().eval()(X, "image"),
        ):
            assert (found.device.type, found.dtype, found.shape) == ("meta", dtype, X.shape)
        with pytest.raises(C3AlignError, match="a meta tensor has no values; name a fitted modality"):
            aligner.transform(X)
        with pytest.raises(ValueError, match="X has 5 features, but C3Aligner is expecting"):
            aligner.transform(X[:, :5], modality="text")
        with pytest.raises(C3AlignError, match="holds no values to sum"):
            aligner.partial_fit(X)

    def test_refusals_are_those_of_the_host(self, request):
        text, _ = two_modalities()
        bad = {
            "nan": text.clone(),
            "zero": text.clone(),
            "narrow": text[:, :5],
            "bits": text.to(torch.int8),
        }
        bad["nan"][7, 2], bad["zero"][9] = torch.nan, 0

        def messages(aligner):
            found = []
            for X in bad.values():
                for call in (aligner.transform, aligner.partial_fit):
                    with pytest.raises(ValueError) as caught:  # noqa: PT011  compared below
                        call(X)
                    found.append((type(caught.value), str(caught.value)))
            return found

        expected = messages(C3Aligner().fit(text))
        request.getfixturevalue("as_if_on_a_device")
        assert messages(C3Aligner().fit(text)) == expected
