"""Arrays of other libraries by DLPack: array-api-strict for the standard, JAX where it is installed."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from c3align import C3Aligner, ops
from c3align.errors import C3AlignError
from tests.test_ops import raw


def libraries():
    found = ["array_api_strict"]
    try:
        import jax.numpy  # noqa: F401
    except ImportError:
        return found
    return [*found, "jax.numpy"]


@pytest.fixture(params=libraries())
def xp(request):
    return pytest.importorskip(request.param)


def rows(n_rows=100):
    return np.random.default_rng(0).standard_normal((n_rows, 12)).astype("f4") + 1


def test_ops(xp):
    host, mean = rows(), np.linspace(-0.1, 0.1, 12, dtype="f4")
    X = xp.asarray(host)
    aligned = ops.align(X, xp.asarray(mean))
    assert type(aligned) is type(X)
    assert raw(np.from_dlpack(aligned)) == raw(ops.align(host, mean))
    noisy = ops.corrupt(X, mean, sigma=xp.asarray(np.full(12, 0.1)), direction=xp.asarray(mean), seed=1)
    assert raw(np.from_dlpack(noisy)) == raw(ops.corrupt(host, mean, sigma=np.full(12, 0.1), direction=mean, seed=1))
    assert raw(ops.moments(X).sums) == raw(ops.moments(host).sums)
    assert raw(np.from_dlpack(X)) == raw(host)


def test_aligner(xp):
    host = rows()
    X = xp.asarray(host)
    aligned = C3Aligner().fit(X).transform(X)
    assert type(aligned) is type(X)
    assert raw(np.from_dlpack(aligned)) == raw(C3Aligner().fit(host).transform(host))


def test_refusals(xp):
    X = xp.asarray(rows())
    with pytest.raises(C3AlignError, match="out= takes NumPy arrays and torch tensors"):
        ops.normalize(X, out=X)
    with pytest.raises(C3AlignError, match="must be 2-d"):
        ops.normalize(X[0, :])


def test_bfloat16_of_jax():
    jnp = pytest.importorskip("jax.numpy")
    X = jnp.asarray(rows(), jnp.bfloat16)
    unit = ops.normalize(X)
    assert unit.dtype == jnp.bfloat16
    assert raw(torch.from_dlpack(unit)) == raw(ops.normalize(torch.from_numpy(rows()).bfloat16()))


def test_a_library_without_the_array_apis_namespace(monkeypatch):
    """CuPy's arrays name none; the package of their type has `from_dlpack`."""
    library = ModuleType("plain_arrays")

    class Plain:
        def __init__(self, values):
            self.values, self.dtype, self.shape = values, values.dtype, values.shape

        def __dlpack__(self, **how):
            return self.values.__dlpack__(**how)

        def __dlpack_device__(self):
            return self.values.__dlpack_device__()

    Plain.__module__ = "plain_arrays.core"
    library.from_dlpack = lambda X: Plain(np.from_dlpack(X))
    monkeypatch.setitem(sys.modules, "plain_arrays", library)
    unit = ops.normalize(Plain(rows()))
    assert isinstance(unit, Plain)
    assert raw(unit.values) == raw(ops.normalize(rows()))
