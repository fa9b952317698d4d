"""Exact statistics: promise P1 (the same bytes for any split, order and merge tree), and what is read from them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import C3Aligner, noise, ops
from c3align.errors import C3AlignError, FormatError
from c3align.ops import fixed
from c3align.statistics import ModalityStatistics, PairStatistics, paired_statistics
from tests import strategies

SMALL = st.integers(1, 12)


def unit64(rows):
    return ops.normalize(rows).astype(np.float64)


@given(rows=strategies.blocks(min_rows=2, dims=SMALL), data=st.data())
def test_p1_any_split_order_and_merge_tree(rows, data):
    whole = ModalityStatistics.from_rows(rows)
    pieces = [ModalityStatistics.from_rows(rows[part]) for part in data.draw(strategies.partitions(len(rows)))]
    assert data.draw(strategies.merged(pieces)).to_bytes() == whole.to_bytes()


@given(rows=strategies.blocks(min_rows=2, dims=SMALL), data=st.data())
def test_p1_pairs_too(rows, data):
    partners = np.roll(rows, 1, axis=0)
    whole = PairStatistics.from_rows(rows, partners)
    parts = data.draw(strategies.partitions(len(rows)))
    pieces = [PairStatistics.from_rows(rows[part], partners[part]) for part in parts]
    assert data.draw(strategies.merged(pieces)) == whole
    assert PairStatistics.from_rows(partners, rows) == whole.negated()


def test_float_sums_break_the_promise():
    """The test above can fail: plain float64 sums depend on the split."""
    rows = unit64(np.random.default_rng(0).standard_normal((1000, 16)))
    assert (rows.sum(axis=0) != rows[:300].sum(axis=0) + rows[300:].sum(axis=0)).any()


@given(rows=strategies.blocks(min_rows=2, dims=SMALL), cut=st.integers(0, 40))
def test_subtract_undoes_merge(rows, cut):
    a, b = ModalityStatistics.from_rows(rows[:cut]), ModalityStatistics.from_rows(rows[cut:])
    assert (a + b) - b == a
    assert (a + b) - a == b
    empty = ModalityStatistics.empty(rows.shape[1])
    assert a + empty == a == empty + a
    assert a - a == empty


@given(rows=strategies.blocks(min_rows=2, dtype="float32"))
def test_mean_and_variance_against_float64(rows):
    unit, found = unit64(rows), ModalityStatistics.from_rows(rows)
    assert np.abs(found.mean - unit.mean(axis=0)).max() < 2**-41 + 1e-15
    assert np.abs(found.variance - unit.var(axis=0)).max() < 1e-11
    assert found.total_variance == pytest.approx(unit.var(axis=0).sum(), abs=1e-9)
    assert found.total_variance == pytest.approx(1 - found.mean @ found.mean, abs=1e-6)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1).astype("f4").astype(np.float64)
    assert found.mean_norm == pytest.approx(norms.mean(), rel=1e-14)


def test_the_mean_is_correctly_rounded():
    rows = np.random.default_rng(0).standard_normal((37, 5)).astype("f4")
    found = ModalityStatistics.from_rows(rows)
    exact = [Fraction(total, 37 * 2**40) for total in fixed.to_ints(found.sums)]
    assert found.mean.tolist() == [float(value) for value in exact]


@given(data=st.data(), rows=strategies.blocks(min_rows=2, dims=SMALL, dtype="float32"))
def test_layout_library_and_backend_leave_no_trace(data, rows):
    expected = ModalityStatistics.from_rows(rows).to_bytes()
    assert ModalityStatistics.from_rows(data.draw(strategies.layouts(rows))).to_bytes() == expected
    assert ModalityStatistics.from_rows(torch.from_numpy(rows.copy())).to_bytes() == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("C3ALIGN_BACKEND", "reference")
        assert ModalityStatistics.from_rows(rows).to_bytes() == expected


integers = st.integers(-(2**100), 2**100)


@given(st.lists(st.tuples(integers, integers), min_size=1, max_size=5))
def test_128_bit_arithmetic(pairs):
    def wide(values):
        words = [value % 2**128 for value in values]
        array = np.array([[word >> 64 for word in words], [word % 2**64 for word in words]], np.uint64)
        return array.view(np.int64)

    a, b = (wide(values) for values in zip(*pairs))
    assert fixed.to_ints(fixed.add(a, b)) == [x + y for x, y in pairs]
    assert fixed.to_ints(fixed.negate(a)) == [-x for x, _ in pairs]
    assert fixed.to_floats(a) == pytest.approx([float(x) for x, _ in pairs], rel=2**-51)
    assert fixed.total(a) == sum(x for x, _ in pairs)
    small = np.array([x % 2**63 * (-1) ** (x % 2) for x, _ in pairs], np.int64)
    assert fixed.to_ints(fixed.widen(small)) == small.tolist()


def test_128_bits_at_their_edges():
    """Carries between the words, and out of the low one, at every sign."""
    edges = [sign * (2**bits + more) for bits in (0, 62, 63, 64, 65, 125) for more in (-1, 0, 1) for sign in (1, -1)]
    a, b = np.meshgrid(np.arange(len(edges)), np.arange(len(edges)))
    words = np.array(
        [[value >> 64 for value in edges], [(value % 2**64) - (value % 2**64 >> 63 << 64) for value in edges]]
    )
    wide = words.astype(np.int64)
    assert fixed.to_ints(wide) == edges
    assert fixed.to_ints(fixed.add(wide[:, a.ravel()], wide[:, b.ravel()])) == [x + y for y in edges for x in edges]
    assert fixed.to_ints(fixed.negate(wide)) == [-x for x in edges]
    assert fixed.total(wide) == sum(edges)


def test_a_billion_rows():
    """A million shards of a thousand rows, merged by doubling, are exactly a million times one; and come off again."""
    shard, other = (ModalityStatistics.from_rows(rows) for rows in np.random.default_rng(0).normal(1, 1, (2, 1000, 8)))
    found, double = ModalityStatistics.empty(8), shard
    for bit in reversed(f"{10**6:b}"):
        found, double = found + double if bit == "1" else found, double + double
    assert found.n_rows == 10**9
    for name in ("sums", "squares"):
        assert fixed.to_ints(getattr(found, name)) == [10**6 * one for one in fixed.to_ints(getattr(shard, name))]
    assert max(map(abs, fixed.to_ints(found.sums))) > 2**63  # beyond one word
    assert (found.norms == 10**6 * shard.norms).all()
    assert (found.mean == shard.mean).all()
    assert found.total_variance == shard.total_variance
    assert ModalityStatistics.from_bytes((found + other).to_bytes()) - found == other


def test_blocks_of_rows_are_flushed(monkeypatch):
    rows = np.random.default_rng(0).standard_normal((1000, 3)).astype("f4")
    whole = ModalityStatistics.from_rows(rows)
    monkeypatch.setattr("c3align.ops._moments.ROWS_PER_BLOCK", 64)
    assert ModalityStatistics.from_rows(rows) == whole
    rows[700, 1] = np.inf
    with pytest.raises(C3AlignError, match="1 of 1000 rows, first in row 700"):
        ModalityStatistics.from_rows(rows)


def test_beyond_an_int64():
    """Doubling the sums of two rows 37 times; an int64 would overflow after 21."""
    found = ModalityStatistics.from_rows(np.array([[1.0, 0.0], [0.0, 1.0]]))
    for _ in range(37):
        found = found + found
    assert found.n_rows == 2**38
    assert found.mean.tolist() == [0.5, 0.5]
    assert found.mean_norm == 1.0
    with pytest.raises(C3AlignError, match=r"2\*\*39"):
        found + found


def test_subtracting_what_was_never_added():
    rng = np.random.default_rng(0)
    a = ModalityStatistics.from_rows(rng.standard_normal((10, 4)))
    b = ModalityStatistics.from_rows(rng.standard_normal((20, 4)))
    with pytest.raises(C3AlignError, match="could not come from any rows"):
        a - b
    with pytest.raises(C3AlignError, match="contradicts"):
        b - a
    with pytest.raises(C3AlignError, match="4 and of 5 dimensions"):
        a + ModalityStatistics.empty(5)
    with pytest.raises(TypeError):
        a + PairStatistics.empty(4)
    with pytest.raises(C3AlignError, match="no rows"):
        ModalityStatistics.empty(4).mean  # noqa: B018


def test_arrays_are_read_only():
    found = ModalityStatistics.from_rows(np.eye(3))
    with pytest.raises(ValueError, match="read-only"):
        found.sums[0] = 1


def test_pairs_on_real_embeddings(coco):
    image, text = coco
    found = PairStatistics.from_rows(image, text)
    assert np.linalg.norm(found.gap) == pytest.approx(0.851, abs=5e-4)
    assert found.mean_cosine == pytest.approx(0.310, abs=5e-4)
    difference = unit64(image) - unit64(text)
    residual = difference - difference.mean(axis=0)
    assert found.sigma == pytest.approx(np.sqrt((residual**2).mean()), rel=1e-9)
    means = [ModalityStatistics.from_rows(rows).mean for rows in (image, text)]
    assert np.abs(found.gap - (means[0] - means[1])).max() < 1e-12
    norms = [np.linalg.norm(mean) for mean in means]
    assert norms == pytest.approx([0.730, 0.718], abs=5e-4)


def test_pairs_with_zero_rows():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 10, 4))
    x[2], y[5] = 0, 0
    kept = np.delete(np.arange(10), [2, 5])
    found = PairStatistics.from_rows(x, y, zero_rows="keep")
    assert (found.n_rows, found.n_zero_rows) == (8, 2)
    assert (found.sums == PairStatistics.from_rows(x[kept], y[kept]).sums).all()
    with pytest.raises(C3AlignError, match=r"^y has a norm of zero.* first in row 5"):
        PairStatistics.from_rows(np.where(x == 0, 1, x), y)
    with pytest.raises(C3AlignError, match=r"shape \(10, 4\) and y \(9, 4\)"):
        PairStatistics.from_rows(x, y[:9])


@given(cosine=st.floats(0.05, 1), n_dims=st.integers(1, 4096), norm=st.floats(0.1, 1))
def test_noise_unit_round_trip(cosine, n_dims, norm):
    sigma = noise.sigma_from_cosine(cosine, n_dims, norm=norm)
    assert noise.cosine_from_sigma(sigma, n_dims, norm=norm) == pytest.approx(cosine, rel=1e-9)


@pytest.mark.parametrize("kind", [ModalityStatistics, PairStatistics])
def test_bytes_come_back(kind):
    rows = np.random.default_rng(0).standard_normal((2, 9, 5))
    found = kind.from_rows(*rows[: 1 if kind is ModalityStatistics else 2])
    content = found.to_bytes()
    assert kind.from_bytes(content) == found
    damaged = content[:24] + b"\x7f" * 8 + content[32:]
    for other in (b"", content[:-1], content + b"0", content[:40], damaged):
        with pytest.raises(FormatError, match="to_bytes"):
            kind.from_bytes(other)


def test_numbers_that_contradict_one_another():
    rows = np.random.default_rng(0).standard_normal((2, 9, 5))
    whole, pairs = ModalityStatistics.from_rows(rows[0]), PairStatistics.from_rows(*rows)
    more = [np.array([[0] * 5, [1 << 44] + [0] * 4]), whole.norms.copy()]
    more[1][127] += 1 << 29
    for wrong, text in (
        (replace(whole, squares=whole.squares + more[0]), "sums of squares of unit rows"),
        (replace(whole, norms=more[1]), "contradicts the norms"),
        (replace(pairs, squares=pairs.squares + 4 * more[0]), "unit rows"),
    ):
        assert text in wrong.problem()
        with pytest.raises(FormatError, match=text):
            type(wrong).from_bytes(wrong.to_bytes())
    with pytest.raises(FormatError, match="must be bytes, got NoneType"):
        ModalityStatistics.from_bytes(None)


def test_published_noise_settings():
    """The angles that the papers' numbers stand for."""
    assert noise.cosine_from_sigma(noise.sigma_from_capdec_variance(0.016), 640) == pytest.approx(0.30, abs=0.01)
    for weight, cosine in [(0.12, 0.29), (0.08, 0.41), (0.04, 0.67)]:
        sigma = noise.sigma_from_close_weight(weight)
        assert noise.cosine_from_sigma(sigma, 768) == pytest.approx(cosine, abs=0.01)
    assert noise.cosine_from_lafite_mix(0.75) == pytest.approx(0.32, abs=0.005)
    assert noise.paper_sigma(512) == pytest.approx(np.sqrt(0.016))
    assert noise.paper_sigma(2048) * np.sqrt(2048) == pytest.approx(noise.PAPER_SIGMA * np.sqrt(512))
    with pytest.raises(C3AlignError, match=r"in \(0, 1\]"):
        noise.sigma_from_cosine(0, 512)


@pytest.mark.parametrize("cosine", [0.25, 0.5, 0.9])
def test_noise_has_the_cosine_it_says(cosine):
    rows = ops.philox_normal(4000, 512, seed=1)
    sigma = noise.sigma_from_cosine(cosine, 512)
    clean = ops.normalize(rows).astype(np.float64)
    noisy = ops.corrupt(rows, None, sigma=sigma, seed=2).astype(np.float64)
    assert (clean * noisy).sum(axis=1).mean() == pytest.approx(cosine, abs=0.005)


def test_printed_they_are_counts_and_no_sums():
    x, y = np.random.default_rng(0).standard_normal((2, 40, 8))
    x[3] = 0
    of_x, of_y, of_pairs = paired_statistics(x, y, zero_rows="keep")
    assert repr(of_x) == "ModalityStatistics(n_rows=39, n_dims=8, n_zero_rows=1)"
    assert repr(of_y) == "ModalityStatistics(n_rows=40, n_dims=8)"
    assert repr(of_pairs).startswith("PairStatistics(n_rows=39, n_dims=8")


@pytest.mark.parametrize("mapping", ["barycenter", "quantile"])
def test_what_was_learned_prints_in_a_few_lines(mapping):
    """A count, and not the numbers of matrices, samples and sketches."""
    X, Y = np.random.default_rng(0).standard_normal((2, 50, 8)) + 1
    state = C3Aligner(mapping=mapping, noise="residual").fit(X, Y).state_
    assert all(n in repr(state) for n in ("n_rows=50", "PairCovariance"))
    assert "array(" not in repr(state)
    assert len(repr(state)) < 2000
