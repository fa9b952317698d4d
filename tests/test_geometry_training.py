"""Lemmas 1 and 2 of C3: the contrastive gradient against autograd and finite differences, the region against mpmath."""

from __future__ import annotations

import _lemmas
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from c3align import geometry
from c3align.errors import C3AlignError
from tests import strategies

DIRECTIONS = ("both", "a_to_b", "b_to_a")


def torch_loss(a, b, tau, direction, normalize):
    """The notebook's: cross-entropies over the similarities and their transpose."""
    x, y = (F.normalize(a), F.normalize(b)) if normalize else (a, b)
    logits, labels = x @ y.T / tau, torch.arange(len(a))
    losses = F.cross_entropy(logits, labels), F.cross_entropy(logits.T, labels)
    return {"both": (losses[0] + losses[1]) / 2, "a_to_b": losses[0], "b_to_a": losses[1]}[direction]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("direction", DIRECTIONS)
class TestGradient:
    def test_lemma_1_against_autograd(self, coco, direction, normalize):
        tensors = [torch.from_numpy(rows[:60] * 1.7).double().requires_grad_() for rows in coco]
        loss = torch_loss(*tensors, 0.07, direction, normalize)
        loss.backward()
        arrays = [tensor.detach().numpy() for tensor in tensors]
        settings = {"direction": direction, "normalize": normalize}
        assert _lemmas.contrastive_loss(*arrays, 0.07, **settings) == pytest.approx(loss.item(), rel=1e-13)
        for found, tensor in zip(_lemmas.contrastive_gradient(*arrays, 0.07, **settings), tensors):
            assert np.abs(found - tensor.grad.numpy()).max() < 1e-12 * tensor.grad.abs().max()

    def test_lemma_1_by_finite_differences(self, direction, normalize):
        rng = np.random.default_rng(0)
        a, b, along_a, along_b = rng.standard_normal((4, 20, 12))
        settings = {"tau": 0.5, "direction": direction, "normalize": normalize}
        gradients = _lemmas.contrastive_gradient(a, b, **settings)
        predicted = (gradients[0] * along_a).sum() + (gradients[1] * along_b).sum()
        steps = [
            _lemmas.contrastive_loss(a + h * along_a, b + h * along_b, **settings) for h in (-2e-4, -1e-4, 1e-4, 2e-4)
        ]
        found = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / 12e-4  # fourth order
        assert found == pytest.approx(predicted, rel=1e-8)


@given(rows=strategies.constant_dims(), tau=st.sampled_from([0.01, 0.07, 1.0, 10.0]))
def test_lemma_1_nothing_pulls_in_constant_dimensions(rows, tau):
    a, b, constant = rows
    on_a, _ = _lemmas.contrastive_gradient(a, b, tau, direction="a_to_b", normalize=False)
    assert np.array_equal(on_a[:, constant], np.zeros_like(on_a[:, constant]))  # to the bit
    _, on_b = _lemmas.contrastive_gradient(b, a, tau, direction="b_to_a", normalize=False)
    assert np.array_equal(on_b[:, constant], np.zeros_like(on_b[:, constant]))
    found = _lemmas.gradient_invariants(a, b, tau)
    assert found.n_constant >= constant.sum()
    assert found.one_directional == 0.0
    assert found.summed < 1e-14 * (1 + np.abs(b).max()) / tau


def test_lemma_1_a_single_row_is_pulled_by_the_symmetric_loss_but_not_the_mean():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50, 16))
    b[:, :6] = rng.standard_normal(6)
    a, b = a / 4, b / 4
    found = _lemmas.gradient_invariants(a, b, 0.1)
    assert found.n_constant == 6
    assert found.one_directional == 0.0
    assert found.summed < 1e-15
    assert found.single > 1e-3
    # what it is: the constant times (sum_j Q_ij - 1) / (2 n tau)
    q = torch.softmax(torch.from_numpy(a @ b.T / 0.1), dim=0).numpy()
    expected = np.outer(q.sum(axis=1) - 1, b[0, :6]) / (2 * 50 * 0.1)
    gradient, _ = _lemmas.contrastive_gradient(a, b, 0.1, normalize=False)
    assert np.abs(gradient[:, :6] - expected).max() < 1e-15
    assert _lemmas.gradient_invariants(a, a, 0.1).n_constant == 0


@given(rows=strategies.paired_rows(min_rows=2), tau=st.floats(0.01, 2), delta=st.floats(1e-6, 5))
def test_lemma_2_both_ways(rows, tau, delta):
    """loss <= delta if, and only if, the margin is at least r_min; but for the last digits of equality."""
    found = _lemmas.stable_region(*rows, tau, delta)
    decided = np.abs(found.margin - found.required) > 1e-12
    assert np.array_equal((found.loss <= delta)[decided], (found.margin >= found.required)[decided])
    assert np.array_equal(found.inside, found.margin >= found.required)
    assert (found.competition >= 1).all()
    assert (found.competition <= len(rows[0]) - 1 + 1e-9).all()
    logits = geometry.unit_rows(rows[0]) @ geometry.unit_rows(rows[1]).T / tau
    losses = F.cross_entropy(torch.from_numpy(logits), torch.arange(len(logits)), reduction="none").numpy()
    assert found.loss == pytest.approx(losses, rel=1e-9, abs=1e-12)


@given(tau=st.floats(1e-3, 2), margin=st.floats(-1.9, 1.9), others=st.lists(st.floats(-1, 0), max_size=5))
def test_lemma_2_equality_in_many_digits(tau, margin, others):
    """At r = r_min(tau, delta, o) the loss is delta: here delta is the loss, in 50 digits."""
    with mpmath.workdps(50):
        exponents = [mpmath.mpf(0), *map(mpmath.mpf, others)]
        competition = mpmath.fsum(mpmath.exp(value / tau) for value in exponents)
        delta = mpmath.log1p(mpmath.exp(-mpmath.mpf(margin) / tau) * competition)
    if 1e-300 < delta < 700:
        assert _lemmas.r_min(tau, float(delta), float(competition)) == pytest.approx(margin, abs=1e-12 * (1 + tau))


def test_lemma_2_on_clip(coco):
    image, text = coco
    found = _lemmas.stable_region(image, text, 0.01, 0.1)
    assert found.loss.mean() == pytest.approx(_lemmas.contrastive_loss(image, text, 0.01, direction="a_to_b"))
    assert (found.margin > 0).mean() == geometry.recall_at_k(image, text)[1]
    # a higher temperature asks for more than even the best pair has
    assert not _lemmas.stable_region(image, text, 1.0, 0.1).inside.any()
    assert found.inside.mean() == pytest.approx(0.226)  # measured here


def test_stable_region_in_blocks(coco, monkeypatch):
    whole = _lemmas.stable_region(*coco, 0.07, 0.5)
    monkeypatch.setattr(_lemmas, "BLOCK_ELEMENTS", 40 * 500)
    for one, other in zip(whole, _lemmas.stable_region(*coco, 0.07, 0.5)):
        assert one == pytest.approx(other, abs=1e-12)


def test_loss_of_known_spaces(coco_random):
    """Chance is log n; perfect pairs at a low temperature cost nothing."""
    image, text = coco_random
    assert _lemmas.contrastive_loss(np.ones((40, 3)), np.ones((40, 3))) == pytest.approx(np.log(40))
    assert _lemmas.contrastive_loss(np.eye(5), np.eye(5), 0.01) < 1e-40
    assert _lemmas.contrastive_loss(image, text) == pytest.approx(np.log(500), abs=0.1)
    rotated = _lemmas.contrastive_loss(text, image, direction="b_to_a")
    assert rotated == pytest.approx(_lemmas.contrastive_loss(image, text, direction="a_to_b"), rel=1e-14)


def test_refusals_of_training():
    rows = np.random.default_rng(0).standard_normal((5, 3))
    with pytest.raises(C3AlignError, match="tau must be above 0, got 0"):
        _lemmas.contrastive_loss(rows, rows, 0)
    with pytest.raises(C3AlignError, match="'sideways' is unknown; pass one of both"):
        _lemmas.contrastive_gradient(rows, rows, direction="sideways")
    with pytest.raises(C3AlignError, match="equal shapes"):
        _lemmas.contrastive_loss(rows, rows[:3])
    with pytest.raises(C3AlignError, match="delta=0"):
        _lemmas.r_min(0.1, 0)
    with pytest.raises(C3AlignError, match="a second pair"):
        _lemmas.stable_region(rows[:1], rows[:1], 0.1, 0.1)
    holed = rows.copy()
    holed[3, 1] = np.nan
    with pytest.raises(C3AlignError, match="b holds NaN or infinity in 1 of 5 rows, first in row 3"):
        _lemmas.contrastive_gradient(rows, holed, normalize=False)
