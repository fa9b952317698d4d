"""Measures on real embeddings whose figures are published, and on spaces whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import geometry, report
from c3align.errors import C3AlignError
from c3align.geometry import _retrieval


def test_trained_clip(coco, quick_report):
    image, text = coco
    assert np.linalg.norm(geometry.gap_vector(image, text)) == pytest.approx(0.851, abs=5e-4)
    assert geometry.pair_cosine(image, text) == pytest.approx(0.310, abs=5e-4)
    assert geometry.recall_at_k(image, text)[1] == 0.552
    assert geometry.recall_at_k(text, image)[1] == 0.506
    found = report.report(image, text).pairs[0]
    assert (found.after.recall_a_to_b[1], found.after.recall_b_to_a[1]) == (0.542, 0.500)
    assert found.before.mean_norms == pytest.approx((0.730, 0.718), abs=5e-4)
    assert found.after.gap_norm < 0.05
    assert found.before.modality_bias > (0.99, 0.99)
    assert found.after.modality_bias == pytest.approx((0.941, 0.944), abs=5e-3)  # measured here


def test_random_clip(coco_random):
    """The authors' notebook printed these: 25 (0.3154 of 0.3186), 230 (0.3332 of 0.3365), gap 1.1361."""
    image, text = coco_random
    for rows, dims, part, total in ((image, 25, 0.3154, 0.3186), (text, 230, 0.3332, 0.3365)):
        assert geometry.effective_dimension(rows) == dims
        spectrum = geometry.covariance_spectrum(rows)
        assert spectrum.sum() == pytest.approx(total, abs=5e-5)
        assert spectrum[:dims].sum() == pytest.approx(part, abs=5e-5)
    assert np.linalg.norm(geometry.gap_vector(image, text)) == pytest.approx(1.1361, abs=5e-5)
    assert geometry.pair_cosine(image, text) == pytest.approx(0.029, abs=5e-4)


def test_convirt(convirt, quick_report):
    image, text = convirt
    assert np.linalg.norm(geometry.gap_vector(image, text)) == pytest.approx(0.823, abs=5e-4)
    assert geometry.pair_cosine(image, text) == pytest.approx(0.255, abs=5e-4)
    centered = [rows - rows.mean(axis=0) for rows in map(geometry.unit_rows, convirt)]
    each = np.arange(500)  # 443 of these reports differ; as published, each belongs to its own picture alone
    for (a, b), published in (((image, text), (0.006, 0.022)), (centered, (0.026, 0.028))):
        assert tuple(geometry.recall_at_k(*rows, groups=each)[1] for rows in ((a, b), (b, a))) == published
    found = report.report(image, text).pairs[0]
    assert (found.n_distinct, found.n_groups) == ((500, 443), 443)
    assert found.before.recall_b_to_a[1] > 0.022


def test_a_gap_that_was_built():
    """u_a - u_b = c + eps with known c, orthogonal to both spans, and known sigma."""
    rng = np.random.default_rng(0)
    n, d, sigma = 4000, 64, 0.02
    shared = np.zeros((n, d))
    shared[:, 2:] = rng.standard_normal((n, d - 2))
    shared *= 0.6 / np.linalg.norm(shared, axis=1, keepdims=True)
    a, b = shared.copy(), shared.copy()
    a[:, 0], b[:, 0] = 0.8, -0.8
    a[:, 2:] += sigma * rng.standard_normal((n, d - 2))
    assert np.linalg.norm(geometry.gap_vector(a, b)) == pytest.approx(1.6, abs=0.02)
    assert geometry.residual_sigma(a, b) == pytest.approx(sigma * np.sqrt((d - 2) / d), rel=0.03)
    mean, spread = geometry.gap_orthogonality(a, b)
    assert abs(mean) < 0.01
    assert spread < 0.02
    groups = geometry.grouped_gap(a, b)
    assert groups.length.std < 0.005
    assert groups.direction.mean > 0.999
    tilted = a + 0.5 * np.outer(shared[:, 2] / 0.1, np.eye(d)[0])
    assert geometry.gap_orthogonality(tilted, b)[1] > 0.1


@pytest.mark.parametrize(("n_dims", "rank"), [(16, 16), (32, 5), (64, 1)])
def test_dimensions_of_a_flat_cloud(n_dims, rank):
    rng = np.random.default_rng(0)
    rows = np.zeros((20000, n_dims))
    rows[:, :rank] = rng.standard_normal((20000, rank)) * 0.01
    rows[:, -1] += 1
    spread = rank if rank < n_dims else rank - 1
    assert geometry.effective_dimension(rows, 0.999) == spread
    assert geometry.participation(rows) == pytest.approx(spread, rel=0.05)


def test_energy_is_exceeded_strictly():
    rows = np.concatenate([np.eye(4), -np.eye(4)])
    assert geometry.effective_dimension(rows, 0.5) == 3
    assert geometry.effective_dimension(rows, 0.49) == 2
    assert geometry.effective_dimension(np.ones((5, 3))) == 0
    with pytest.raises(C3AlignError, match=r"\(0, 1\)"):
        geometry.effective_dimension(rows, 1.0)


@given(seed=st.integers(0, 999), n=st.integers(2, 30))
def test_recall_against_a_plain_count(seed, n):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n, 4))
    scores = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    expected = [sum(score > row[i] for score in row) for i, row in enumerate(scores)]
    found = geometry.recall_at_k(a, b, ks=(1, 3))
    assert found == {k: sum(rank < k for rank in expected) / n for k in (1, 3)}


def test_recall_of_a_collapsed_space_is_zero():
    assert geometry.recall_at_k(np.ones((10, 4)), np.ones((10, 4))) == {1: 0, 5: 0, 10: 1}


def test_recall_and_bias_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50, 6))
    whole = geometry.recall_at_k(a, b), geometry.modality_bias(a, b, k=3)
    monkeypatch.setattr(_retrieval, "_BLOCK_ELEMENTS", 300)
    assert (geometry.recall_at_k(a, b), geometry.modality_bias(a, b, k=3)) == whole


def test_bias_of_known_spaces():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1000, 8))
    assert geometry.modality_bias(a, b) == pytest.approx((0.5, 0.5), abs=0.03)
    assert geometry.modality_bias(a + 100 * np.eye(8)[0], b - 100 * np.eye(8)[0]) == (1, 1)
    assert geometry.modality_bias(a, a, k=1) == (0, 0)


def test_tensors_and_refusals():
    rows = np.random.default_rng(0).standard_normal((20, 6)).astype("f4")
    assert geometry.effective_dimension(torch.from_numpy(rows)) == geometry.effective_dimension(rows)
    with pytest.raises(C3AlignError, match="equal shapes"):
        geometry.pair_cosine(rows, rows[:5])
    with pytest.raises(C3AlignError, match="two rows"):
        geometry.covariance_spectrum(rows[:1])
