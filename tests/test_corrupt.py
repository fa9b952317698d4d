"""The kinds of noise: what each of them is, in float64, and that none breaks the promises of the plain one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3align import noise, ops
from c3align.errors import C3AlignError
from c3align.ops import reference
from tests import strategies
from tests.test_ops import plain_unit, raw

N_DIMS = 96
SIGMAS = np.linspace(0.0, 0.3, N_DIMS)
GAP = np.random.default_rng(5).standard_normal(N_DIMS)
KINDS = {
    "isotropic": {"sigma": 0.2},
    "per column": {"sigma": SIGMAS},
    "orthogonal": {"sigma": 0.2, "direction": GAP},
    "fixed norm": {"sigma": 0.2, "fixed_norm": True},
    "random strength": {"sigma": 0.2, "random_strength": True},
    "all of them": {"sigma": SIGMAS, "direction": GAP, "fixed_norm": True, "random_strength": True},
}


def unit_rows(n_rows=200, dtype="f4"):
    rows = np.random.default_rng(0).standard_normal((n_rows, N_DIMS))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)


def added(rows, **arguments):
    """The noise alone, float64."""
    noisy = ops.corrupt(rows, None, seed=3, renormalize=False, **arguments)
    return noisy.astype(np.float64) - ops.normalize(rows)


def normals(n_rows):
    return ops.philox_normal(n_rows, N_DIMS, seed=3).astype(np.float64)


def test_per_column(any_backend):
    rows = unit_rows()
    assert np.abs(added(rows, sigma=SIGMAS) - SIGMAS * normals(200)).max() < 1e-6
    assert raw(ops.corrupt(rows, None, sigma=np.full(N_DIMS, 0.2), seed=3)) != raw(rows)
    assert raw(ops.corrupt(rows, None, sigma=np.zeros(N_DIMS), seed=3)) == raw(ops.normalize(rows))


def test_orthogonal(any_backend):
    v = GAP / np.linalg.norm(GAP)
    z = normals(200)
    found = added(unit_rows(dtype="f8"), sigma=0.2, direction=7 * GAP)
    assert np.abs(found - 0.2 * (z - np.outer(z @ v, v))).max() < 1e-14
    assert np.abs(found @ v).max() < 1e-14


def test_fixed_norm(any_backend):
    z = normals(200)
    found = added(unit_rows(dtype="f8"), sigma=0.2, fixed_norm=True)
    assert np.abs(np.linalg.norm(found, axis=1) - 0.2 * np.sqrt(N_DIMS)).max() < 1e-13
    assert np.abs(found / found[:, :1] - z / z[:, :1]).max() < 1e-8
    total = np.sqrt((SIGMAS**2).sum())
    found = added(unit_rows(dtype="f8"), sigma=SIGMAS, fixed_norm=True)
    assert np.abs(np.linalg.norm(found, axis=1) - total).max() < 1e-13


def test_lafite_mix():
    """(1 - a) x + a eps / ||eps||, and the cosine that belongs to it."""
    rows, mix = unit_rows(4000, "f8"), 0.75
    z = normals(4000)
    expected = (1 - mix) * rows + mix * z / np.linalg.norm(z, axis=1, keepdims=True)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    sigma = noise.sigma_from_lafite_mix(mix, N_DIMS)
    found = ops.corrupt(rows, None, sigma=sigma, fixed_norm=True, seed=3)
    assert np.abs(found - expected).max() < 1e-13
    assert (found * rows).sum(axis=1).mean() == pytest.approx(noise.cosine_from_lafite_mix(mix), abs=0.005)
    with pytest.raises(C3AlignError, match=r"\[0, 1\)"):
        noise.sigma_from_lafite_mix(1.0, N_DIMS)


def test_random_strength(any_backend):
    z = normals(5000)
    found = added(unit_rows(5000, "f8"), sigma=0.2, random_strength=True)
    strength = (found / z).mean(axis=1) / 0.2
    assert np.abs(found - 0.2 * strength[:, None] * z).max() < 1e-13
    assert np.abs(strength - reference.row_uniform(5000, seed=3)).max() < 1e-9
    from scipy import stats

    assert stats.kstest(strength, "uniform").pvalue > 1e-3
    # another purpose than the normals', so that strength and direction are independent
    assert abs(np.corrcoef(strength, z[:, 0])[0, 1]) < 5 / np.sqrt(5000)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), seed=strategies.SEEDS, offset=strategies.ROW_OFFSETS)
def test_p4_every_kind_is_a_function_of_seed_row_and_column(kind, data, seed, offset):
    rows = unit_rows(30)
    a = data.draw(st.integers(0, 29))
    b = data.draw(st.integers(a + 1, 30))
    whole = ops.corrupt(rows, GAP / 20, seed=seed, row_offset=offset, **KINDS[kind])
    part = ops.corrupt(rows[a:b], GAP / 20, seed=seed, row_offset=offset + a, **KINDS[kind])
    assert raw(part) == raw(whole[a:b])


@given(rows=strategies.blocks(dtype="float32"), seed=strategies.SEEDS)
def test_the_expected_cosine(rows, seed):
    """sigma_from_cosine is exact for noise of fixed norm orthogonal to the row, and fixed norm never misses far."""
    sigma = noise.sigma_from_cosine(0.5, rows.shape[1])
    noisy = ops.corrupt(rows[:1], None, sigma=sigma, fixed_norm=True, direction=rows[0] * 1.0, seed=seed)
    if rows.shape[1] > 1:
        assert (noisy[0] @ plain_unit(rows[:1])[0]) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"sigma": [0.1, -0.1, 0, 0]}, "sigma holds negative"),
        ({"sigma": np.ones(3)}, "sigma has shape"),
        ({"sigma": [np.nan] * 4}, "sigma holds NaN"),
        ({"direction": np.zeros(4)}, "direction is zero"),
        ({"direction": np.ones(5)}, "direction has shape"),
    ],
)
def test_wrong_noise_is_refused(arguments, text):
    with pytest.raises(C3AlignError, match=text):
        ops.corrupt(np.eye(4), None, **{"sigma": 0.1, "seed": 0, **arguments})
