"""Rows at the mean, but for the error of the mean, have no direction: in every op, dtype and backend."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import C3Aligner, ops
from c3align.errors import C3AlignError
from c3align.ops import arrays, reference
from tests import strategies
from tests.test_ops import as_dtype, plain_unit, raw

N_DIMS = 12
MATRIX = np.diag(np.linspace(0.1, 0.3, N_DIMS))
NOISES = [
    {"sigma": 0.2},
    {"sigma": np.linspace(0, 0.3, N_DIMS), "direction": np.arange(N_DIMS), "random_strength": True},
    {"sigma": 0.2, "fixed_norm": True},
    {"sigma": MATRIX},
]


def backends():
    """Each backend in turn, in the environment."""
    for name in ("native", "reference"):
        if name == "native":
            pytest.importorskip("c3align.ops._C")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("C3ALIGN_BACKEND", name)
            yield name


def unit(row):
    """A row (1, n_dims), as the ops compute it."""
    return reference.unit_rows(arrays.as_rows(row).widened())[0][0].astype(np.float64)


def around(dtype, n_dims=N_DIMS):
    """A mean, rows (6, n_dims) at and around it, and which of them have a direction."""
    rng = np.random.default_rng(n_dims)
    mean, away = rng.standard_normal((2, n_dims))
    mean, away = mean / np.linalg.norm(mean), away / np.linalg.norm(away)
    limit = reference.at_mean_limit(n_dims, np.float64 if dtype == "float64" else np.float32)
    distances = limit * np.array([0, 0, 0.1, 4, 16, 1e4])
    rows = torch.from_numpy(3 * (mean + distances[:, None] * (away - (away @ mean) * mean))).to(getattr(torch, dtype))
    exact = plain_unit(rows.double().numpy())
    return exact[0].astype(np.float64), rows, np.linalg.norm((exact - exact[0]).astype(np.float64), axis=1) > limit


@given(rows=strategies.blocks(max_rows=1), dtype=st.sampled_from(strategies.DTYPES), n_rows=st.integers(1, 100))
def test_copies_of_one_row_are_at_their_mean(rows, dtype, n_rows):
    X = as_dtype(rows, dtype).expand(n_rows, -1)
    text = f"equals the mean, so no direction, in {n_rows} of {n_rows} rows"
    for _ in backends():
        for given_rows in (X, X.float().numpy() if dtype == "bfloat16" else X.numpy()):
            aligner = C3Aligner().fit(given_rows)
            for call in (aligner.transform, aligner.corrupt):
                with pytest.raises(C3AlignError, match=text):
                    call(given_rows)
            with pytest.raises(C3AlignError, match="equals the mean"):
                aligner.transform(given_rows[:1], modality="batch")
            with pytest.raises(C3AlignError, match="equals the mean"):
                aligner.translate(given_rows, source="text", target="text")
            kept = C3Aligner(zero_rows="keep").fit(given_rows[:1])
            assert not kept.transform(given_rows).any()
            assert not kept.corrupt(given_rows).any()


@pytest.mark.parametrize("scale", [None, [1e6, 1, 1, 1]])
def test_the_limit_is_where_it_says(any_backend, scale):
    """Distances that floats hold exactly: at most 2**-22, and 2**-40 for each square root of a dimension."""
    for dtype, limit, step in (("f4", 2.0**-22, 2.0**-24), ("f8", 2.0**-39, 2.0**-53)):
        rows = np.array([[1, 0, 0, 0]], dtype)
        at, near = ([1 - distance, 0, 0, 0] for distance in (limit, limit + step))
        for noise in ({}, {"sigma": 0.1, "seed": 1}):
            call = ops.corrupt if noise else ops.align
            assert not call(rows, at, scale=scale, zero_rows="keep", **noise).any()
            assert call(rows, near, scale=scale, **noise).any()
        assert ops.align(rows, near, scale=scale).tolist() == [[1, 0, 0, 0]]
        # the norm is that of the whole row: two distances of 0.8 of the limit are more than it
        assert ops.align(np.array([[3, 4, 0, 0]], dtype), [0.6 - 0.8 * limit, 0.8 - 0.8 * limit, 0, 0]).any()


@pytest.mark.parametrize("scale", [None, np.linspace(1, 2, N_DIMS)])
def test_where_the_rule_does_not_hold(any_backend, scale):
    mean, rows, _ = around("float32")
    shift = np.full(N_DIMS, 0.1)
    for settings in ({"renormalize": False}, {"shift": shift}, {"shift": shift, "renormalize": False}):
        ops.align(rows, mean, scale=scale, **settings)
        ops.corrupt(rows, mean, scale=scale, sigma=0.1, seed=1, **settings)
    ops.corrupt(rows, None, sigma=MATRIX, seed=1, scale=scale)
    ops.corrupt(rows, mean, sigma=MATRIX, seed=1, scale=scale, shift=shift)


@given(rows=strategies.blocks(max_rows=1), dtype=st.sampled_from(["float32", "float64"]), spread=st.booleans())
@pytest.mark.parametrize("distance", [2.0**-20, 2.0**-10, 0.5])
def test_rows_further_away_keep_their_direction(rows, dtype, spread, distance):
    X = as_dtype(rows, dtype)
    away = np.zeros(X.shape[1])
    away[:] = np.resize([1, -1], X.shape[1]) if spread else 0
    away[0] = 1
    away *= distance / np.linalg.norm(away)
    for _ in backends():
        found = ops.align(X, unit(X) - away)[0].double().numpy()
        assert found @ away / distance > 0.9
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", strategies.DTYPES)
@pytest.mark.parametrize("n_dims", [N_DIMS, 1030])
def test_align_and_corrupt_refuse_the_same_rows(any_backend, dtype, n_dims):
    mean, rows, has_direction = around(dtype, n_dims)
    assert 1 <= has_direction.sum() <= 3
    for noise in NOISES if n_dims == N_DIMS else NOISES[::2]:
        for scale in (None, np.linspace(1, 2, n_dims)):
            arguments = {"mean": mean, "scale": scale, "zero_rows": "keep"}
            aligned, noisy = ops.align(rows, **arguments), ops.corrupt(rows, seed=1, **noise, **arguments)
            for found in (aligned, noisy):
                assert found.any(dim=1).tolist() == has_direction.tolist()
    text = f"equals the mean, so no direction, in {(~has_direction).sum()} of 6 rows, first in row 0"
    for call in (ops.align, *(lambda *a, n=noise: ops.corrupt(*a, seed=1, **n) for noise in NOISES[::2])):
        with pytest.raises(C3AlignError, match=text):
            call(rows, mean)


@pytest.mark.parametrize("noise", [None, *NOISES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_at_the_mean_get_no_gradient(noise, dtype):
    mean, rows, has_direction = around(dtype)
    for scale in (None, torch.linspace(1, 2, N_DIMS)):
        found = []
        for chosen in (rows, rows[torch.from_numpy(has_direction)]):
            X, learned = chosen.clone().requires_grad_(), torch.from_numpy(mean).to(rows.dtype).requires_grad_()
            arguments = {"scale": scale, "zero_rows": "keep"}
            ids = {} if noise is None else {"row_ids": np.arange(6)[has_direction] if X.shape[0] < 6 else np.arange(6)}
            call = ops.align if noise is None else ops.corrupt
            kind = {} if noise is None else {"seed": 1, **noise}
            result = call(X, learned, **arguments, **kind, **ids)
            (result * torch.arange(1.0, N_DIMS + 1)).sum().backward()
            found.append((result.detach(), X.grad, learned.grad))
        (all_rows, gradient, of_mean), (some_rows, some_gradient, of_mean_alone) = found
        assert not all_rows[~has_direction].any()
        assert raw(all_rows[has_direction]) == raw(some_rows)
        assert not gradient[~has_direction].any()
        assert torch.allclose(gradient[has_direction], some_gradient)
        assert torch.allclose(of_mean, of_mean_alone)
        with pytest.raises(C3AlignError, match="equals the mean"):
            call(rows.clone().requires_grad_(), mean, scale=scale, **kind)
