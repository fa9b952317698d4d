"""Both sides of pairs and their differences in one pass: the integers, P1, P3, refusals, and what a fit reads."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import C3Aligner, ops
from c3align.errors import C3AlignError, ZeroRowsWarning
from c3align.ops import arrays, backends, eager, fixed, reference
from c3align.statistics import PairStatistics
from tests import strategies
from tests.test_ops import as_dtype, raw

DTYPES = st.sampled_from(strategies.DTYPES)
FEW_DIMS = st.integers(1, 9)


def flat(found):
    """Numbers and bytes of nested tuples of arrays."""
    if isinstance(found, tuple):
        return [part for value in found for part in flat(value)]
    return [raw(found) if isinstance(found, np.ndarray) else found]


def wide_units(X):
    unit, _, status = reference.unit_rows(arrays.as_rows(X).widened())
    return unit.astype(np.float64), status == reference.OK


def in_integers(X, y):
    """Sums of differences and of their squares by Python's integers, and how many pairs are in them."""
    (a, is_a), (b, is_b) = wide_units(X), wide_units(y)
    differences = (a - b)[is_a & is_b]
    sums, squares = (
        [sum(round(Fraction(value) * 2**40) for value in column) for column in values.T.tolist()]
        for values in (differences, differences * differences)
    )
    return len(differences), sums, squares


@st.composite
def pairs(draw, max_rows=12, dims=FEW_DIMS):
    """Pairs of any two dtypes, some rows of zeros among them, in any layout."""
    rows = draw(strategies.blocks(max_rows=max_rows, dims=dims))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    partners = rows + draw(st.sampled_from([0, 1e-9, 0.1, 10])) * rng.standard_normal(rows.shape)
    if draw(st.booleans()):
        partners = -partners[::-1]
    partners[~partners.any(axis=1)] = 1
    sides = []
    for values in (rows.astype("f8"), partners.astype("f8")):
        side = as_dtype(values, draw(DTYPES))
        side[torch.from_numpy(rng.random(len(rows)) < draw(st.sampled_from([0, 0.3])))] = 0
        if side.dtype != torch.bfloat16 and draw(st.booleans()):
            side = draw(strategies.layouts(side.numpy().copy()))
        sides.append(side)
    return sides


@pytest.mark.parametrize("backend", backends.BACKENDS)
@given(pair=pairs())
def test_the_integers(pair, backend):
    if backend == "native":
        pytest.importorskip("c3align.ops.native")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("C3ALIGN_BACKEND", backend)
        found = ops.pair_moments(*pair, zero_rows="keep")
        for side, rows in zip(found, pair):
            assert flat(side) == flat(ops.moments(rows, zero_rows="keep"))
    n, sums, squares = in_integers(*pair)
    assert (found.differences.n_rows, found.differences.n_zero_rows) == (n, len(pair[0]) - n)
    assert fixed.to_ints(found.differences.sums) == sums
    assert fixed.to_ints(found.differences.squares) == squares


@given(pair=pairs(max_rows=40, dims=strategies.DIMS), threads=st.sampled_from([1, 2, 5]))
def test_native_has_the_bits_of_the_reference_for_pairs(pair, threads):
    native = pytest.importorskip("c3align.ops.native")
    x, y = (arrays.as_rows(rows) for rows in pair)
    expected = flat(backends.ReferenceBackend.pair_moments(x, y))
    for isa in native.isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "isa", isa)
            patch.setattr(native, "ELEMENTS_PER_THREAD", 1)
            patch.setattr(native, "_threads", threads)
            assert flat(native.pair_moments(x, y)) == expected, isa


@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f4", "f8"), ("f8", "f4"), ("f8", "f8")])
@pytest.mark.parametrize("n_dims", [130, 128])  # copied before use, and read where they are
def test_native_bits_of_pairs_between_unusable_rows(dtypes, n_dims):
    native = pytest.importorskip("c3align.ops.native")
    rng = np.random.default_rng(0)
    sides = []
    for dtype in dtypes:
        values = rng.standard_normal((1203, n_dims)).astype(dtype)
        unusable = rng.random(1203) < 0.1
        unusable[[0, 1, -1]] = True
        values[unusable, 3] = rng.choice([np.nan, np.inf], unusable.sum())
        values[unusable & (rng.random(1203) < 0.5)] = 0
        sides.append(arrays.as_rows(values))
    expected = flat(backends.ReferenceBackend.pair_moments(*sides))
    for isa in native.isas():
        for threads in (1, 2):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(native, "isa", isa)
                patch.setattr(native, "_threads", threads)
                assert flat(native.pair_moments(*sides)) == expected, isa


def test_squares_of_differences_stay_in_their_integers():
    """Opposite rows have differences of 2: of their squares an int64 holds fewer than of unit rows."""
    pytest.importorskip("c3align.ops.native")
    n = (1 << 21) + 3
    x = np.broadcast_to(np.ones((1, 1), "f2"), (n, 1))
    found = ops.pair_moments(x, -x)
    assert fixed.to_ints(found.differences.sums) == [2 * n << 40]
    assert fixed.to_ints(found.differences.squares) == [4 * n << 40]
    assert fixed.to_ints(found.y.sums) == [-n << 40]


@given(pair=pairs(), data=st.data())
def test_p1_no_split_of_pairs_leaves_a_trace(pair, data):
    X, y = (arrays.as_rows(rows) for rows in pair)
    whole = PairStatistics.from_rows(X, y, zero_rows="keep")
    parts = data.draw(strategies.partitions(len(pair[0])))
    pieces = [PairStatistics.from_rows(X.take(part), y.take(part), zero_rows="keep") for part in parts]
    assert data.draw(strategies.merged(pieces)) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("c3align.ops._moments.PAIRS_PER_BLOCK", 3)
        assert PairStatistics.from_rows(X, y, zero_rows="keep") == whole


class TestRefusals:
    @pytest.fixture
    def sides(self, monkeypatch):
        monkeypatch.setattr("c3align.ops._moments.PAIRS_PER_BLOCK", 4)
        return np.random.default_rng(0).standard_normal((2, 12, 5))

    @pytest.mark.parametrize("fault", [np.nan, 0.0, 1e200])
    @pytest.mark.parametrize("rows", [[0], [6], [3, 11]])
    def test_words_are_those_of_one_side(self, sides, fault, rows):
        X, y = sides
        X[rows] = fault
        y[0] = np.nan  # in an earlier block, yet X is refused first
        with pytest.raises(C3AlignError) as alone:
            ops.moments(X)
        with pytest.raises(C3AlignError) as paired:
            ops.pair_moments(X, y)
        assert str(paired.value) == str(alone.value)
        assert f"{len(rows)} of 12 rows, first in row {rows[0]}" in str(alone.value)
        assert paired.value.__context__ is None
        with pytest.raises(C3AlignError, match=r"^y holds NaN or infinity in 1 of 12 rows, first in row 0"):
            ops.pair_moments(np.ones((12, 5)), y)

    def test_each_side_has_its_policy(self, sides):
        X, y = sides
        X[5] = y[7] = 0
        found = ops.pair_moments(X, y, zero_rows="keep")
        assert [part.n_zero_rows for part in found] == [1, 1, 2]
        with pytest.raises(C3AlignError, match=r"^y has a norm of zero"):
            ops.pair_moments(X, y, zero_rows="keep", y_zero_rows="raise")
        with pytest.raises(C3AlignError, match=r"^X has a norm of zero"):
            ops.pair_moments(X, y, y_zero_rows="keep")
        for wrong in ({"zero_rows": "drop"}, {"y_zero_rows": "drop"}):
            with pytest.raises(C3AlignError, match="zero_rows must be 'raise' or 'keep', got 'drop'"):
                ops.pair_moments(X, y, **wrong)

    def test_no_pairs(self, sides):
        with pytest.raises(
            C3AlignError, match=r"X has shape \(12, 5\) and y \(11, 5\); pass row i of y as the partner"
        ):
            ops.pair_moments(sides[0], sides[1][1:])
        with pytest.raises(C3AlignError, match="different devices"):
            ops.pair_moments(sides[0], torch.empty(12, 5, device="meta"))
        found = ops.pair_moments(sides[0][:0], sides[1][:0])
        assert flat(found.differences)[:2] == [0, 0]


@given(pair=pairs())
def test_tensors_on_a_device_have_the_same_sums(pair):
    tensors = [rows if isinstance(rows, torch.Tensor) else torch.from_numpy(rows.copy()) for rows in pair]
    expected = flat(ops.pair_moments(*pair, zero_rows="keep"))
    for block in (1 << 20, 5):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(eager, "PAIRS_PER_BLOCK", block)
            assert flat(eager.pair_moments(eager, *tensors, "keep", "keep")) == expected


class TestFit:
    @pytest.fixture
    def pair(self):
        rng = np.random.default_rng(0)
        text = rng.standard_normal((600, 24)) + 2 * np.eye(24)[0]
        return text, (text + 0.3 * rng.standard_normal((600, 24))).astype("f4")

    @pytest.mark.parametrize("settings", [{}, {"second_moments": True}, {"noise": "residual"}])
    def test_pairs_teach_what_both_sides_teach_alone(self, pair, settings):
        text, image = pair
        text[7] = image[9] = 0
        both = C3Aligner(zero_rows="keep", **settings).fit(text, image)
        alone = C3Aligner(zero_rows="keep", **settings).fit(text).partial_fit(image, modality="image")
        assert both.statistics_ == alone.statistics_
        for name, found in both.second_moments_.items():
            assert raw(found.products) == raw(alone.second_moments_[name].products)
        found = both.pairs_["image", "text"]
        assert (found.n_rows, found.n_zero_rows) == (598, 2)
        assert found == PairStatistics.from_rows(image, text, zero_rows="keep")

    def test_both_sides_are_read_once(self, pair, any_backend, monkeypatch):
        backend, read = backends.pick(), []
        for name in ("moments", "pair_moments"):
            function = getattr(backend, name)

            def counted(*rows, name=name, function=function):
                read.append((name, rows[0].shape[0]))
                return function(*rows)

            monkeypatch.setattr(backend, name, counted)
        C3Aligner().fit(*pair)
        assert read == [("pair_moments", 600)]

    def test_in_bounded_memory(self, tmp_path):
        pytest.importorskip("c3align.ops.native")
        np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((60_000, 64), dtype="f4"))
        sides = [np.load(tmp_path / "a.npy", mmap_mode="r") for _ in range(2)]
        C3Aligner().fit(sides[0][:300], sides[1][:300])
        tracemalloc.start()
        C3Aligner().fit(*sides)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20, "a fit of 2 x 15 MB"

    def test_zero_rows_of_integers_are_kept_and_their_partners_not(self, pair):
        counts, image = np.rint(pair[0]).astype(int), pair[1]
        counts[3] = 0
        aligner = C3Aligner()
        for call in (aligner.fit, aligner.partial_fit, lambda *rows: aligner.transform(rows[0], modality="text")):
            with pytest.warns(ZeroRowsWarning, match="1 of 600 integer rows") as caught:
                call(counts, image)
            assert caught[0].filename == __file__
        assert aligner.pairs_["image", "text"].n_zero_rows == 2
        image[5] = 0
        with pytest.raises(C3AlignError, match=r"^y has a norm of zero.* first in row 5"):
            C3Aligner().fit(counts, image)

    def test_a_refusal_changes_nothing(self, pair):
        text, image = pair
        aligner = C3Aligner().fit(text, image)
        before, broken = aligner.to_bytes(), image.copy()
        broken[500, 3] = np.inf
        with pytest.raises(C3AlignError, match=r"^y holds NaN or infinity in 1 of 600 rows, first in row 500"):
            aligner.partial_fit(text[::-1], broken)
        assert aligner.to_bytes() == before
