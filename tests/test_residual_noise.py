"""Noise with the covariance of the residuals: its bits (P2, P4), its shape and strength, what is learned, refusals."""

from __future__ import annotations

import copy
import gc
import pickle  # of the user's own estimators, as scikit-learn's tools do
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, stats
from threadpoolctl import threadpool_limits

import c3align.noise
from c3align import C3Aligner, _strength, ops
from c3align.covariance import PairCovariance, symmetric_root
from c3align.errors import C3AlignError
from c3align.noise import Noise
from c3align.ops import _matrix_noise
from tests import strategies
from tests.test_ops import raw

DIMS = st.integers(1, 40)


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pair(n_rows=200, n_dims=24, seed=0, spread=0.3):
    """Two modalities with a gap, float64; their residuals lie mostly in a few directions."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n_rows, n_dims)) + 2 * np.eye(n_dims)[0]
    shape = rng.standard_normal((n_dims, n_dims)) * np.geomspace(1, 0.01, n_dims)[:, None]
    return shared, shared + spread * rng.standard_normal((n_rows, n_dims)) @ shape + 1.5 * np.eye(n_dims)[1]


def a_root(n_dims, seed=0, scale=0.05):
    return scale * np.random.default_rng(seed).standard_normal((n_dims, n_dims))


def noise_of(aligner, rows, **where):
    """The noise itself, of an aligner that does not renormalise."""
    return aligner.corrupt(rows, modality="text", **where) - aligner.transform(rows, modality="text")


def covariance_of(text, image):
    return np.cov((unit(text) - unit(image)).T, bias=True)


def assert_covariance(noise, expected):
    """Second moments of Gaussian noise of known mean 0 against theirs: Var = (C_ii C_jj + C_ij**2) / n an entry."""
    n_rows, variances = len(noise), np.diagonal(expected)
    error = np.sqrt((np.outer(variances, variances) + expected**2) / n_rows)
    bound = stats.norm.isf(1e-6 / expected.size)
    assert np.abs(noise.T @ noise / n_rows - expected).max() > 0
    assert (np.abs(noise.T @ noise / n_rows - expected) <= bound * error + 1e-12).all()
    assert (np.abs(noise.mean(axis=0)) <= bound * np.sqrt(variances / n_rows) + 1e-12).all()


class TestBits:
    """`ops.corrupt` with a matrix for sigma."""

    @given(dims=DIMS, n_rows=st.integers(1, 6), seed=strategies.SEEDS, power=st.sampled_from([-900, -30, 0, 30, 900]))
    def test_sums_are_exact(self, dims, n_rows, seed, power):
        """In fixed point the product is that of Python's integers: no order of addition can show."""
        root = np.ldexp(a_root(dims, seed % 100), power)
        found = _matrix_noise.normals(n_rows, root, seed=seed, row_offset=5)
        bits = 28 - int(np.frexp(np.abs(root).sum(axis=0).max())[1])
        left = [[round(Fraction(float(z)) * 2**20) for z in row] for row in raw_normals(n_rows, dims, seed)]
        right = [[round(Fraction(float(x)) * Fraction(2) ** bits) for x in row] for row in root]
        for i in range(n_rows):
            for j in range(dims):
                total = sum(left[i][k] * right[k][j] for k in range(dims))
                assert abs(total) < 2**52
                assert Fraction(float(found[i, j])) == Fraction(total) / Fraction(2) ** (20 + bits)

    @given(dims=DIMS, seed=strategies.SEEDS)
    def test_near_the_real_product(self, dims, seed):
        root, z = a_root(dims, seed % 100), raw_normals(30, dims, seed).astype(np.longdouble)
        largest = np.abs(root).sum(axis=0).max()
        bound = 2.0**-21 * largest + np.abs(z).sum(axis=1, keepdims=True) * 2.0**-28 * largest * 1.001
        assert (np.abs(_matrix_noise.normals(30, root, seed=seed, row_offset=5) - z @ root) <= bound).all()

    @given(
        data=st.data(),
        dims=st.sampled_from([1, 3, 17, 64, 130]),
        dtype=st.sampled_from(strategies.DTYPES),
        seed=strategies.SEEDS,
        offset=strategies.ROW_OFFSETS,
    )
    def test_a_slice_of_all_is_the_slice(self, data, dims, dtype, seed, offset):
        X = torch.from_numpy(np.random.default_rng(0).standard_normal((60, dims))).to(getattr(torch, dtype))
        start = data.draw(st.integers(0, 59))
        stop = data.draw(st.integers(start + 1, 60))
        settings = {"mean": np.full(dims, 0.01), "sigma": a_root(dims), "seed": seed}
        whole = ops.corrupt(X, row_offset=offset, **settings)
        part = ops.corrupt(X[start:stop], row_offset=offset + start, **settings)
        assert whole.dtype == X.dtype
        assert raw(part) == raw(whole[start:stop])
        recorded = ops.corrupt(X.clone().requires_grad_(), row_offset=offset, **settings)
        assert raw(recorded.detach()) == raw(whole)
        if dtype != "bfloat16":
            assert raw(ops.corrupt(X.numpy(), row_offset=offset, **settings)) == raw(whole)

    def test_threads_blocks_and_blas_leave_no_trace(self, monkeypatch):
        X, root = np.random.default_rng(0).standard_normal((300, 200)), a_root(200)
        whole = ops.corrupt(X, None, sigma=root, seed=1)
        with threadpool_limits(1):
            assert raw(ops.corrupt(X, None, sigma=root, seed=1)) == raw(whole)
        monkeypatch.setattr(_matrix_noise, "_BLOCK_ELEMENTS", 7 * 200)
        assert raw(ops.corrupt(X, None, sigma=root, seed=1)) == raw(whole)
        turned = _matrix_noise.normals(300, np.asfortranarray(root), seed=1, row_offset=0)
        assert raw(turned) == raw(_matrix_noise.normals(300, root, seed=1, row_offset=0))

    def test_both_backends(self, any_backend):
        X = np.random.default_rng(0).standard_normal((9, 33)).astype("f4")
        found = ops.corrupt(X, np.full(33, 0.02), sigma=a_root(33), seed=1, row_offset=4)
        z = raw_normals(9, 33, 1, offset=4).astype(np.float64)
        noisy = unit(X) - 0.02 + z @ a_root(33)
        assert np.abs(found - unit(noisy)).max() < 2e-6

    @given(rows=strategies.blocks(dims=DIMS), renormalize=st.booleans())
    def test_a_root_of_zeros_aligns(self, rows, renormalize):
        dims = rows.shape[1]
        arguments = {"renormalize": renormalize, "zero_rows": "keep"}
        found = ops.corrupt(rows, np.full(dims, 0.1), sigma=np.zeros((dims, dims)), seed=1, **arguments)
        assert np.array_equal(found, ops.align(rows, np.full(dims, 0.1), **arguments))

    def test_zero_rows_and_rows_at_the_mean_stay_zeros(self):
        X = np.random.default_rng(0).standard_normal((5, 4))
        X[1] = 0
        X[2] = [1, 0, 0, 0]
        for rows in (X, torch.from_numpy(X), torch.from_numpy(X).requires_grad_()):
            for renormalize in (True, False):
                arguments = {"sigma": a_root(4), "seed": 0, "zero_rows": "keep", "renormalize": renormalize}
                found = ops.corrupt(rows, np.array([1.0, 0, 0, 0]), **arguments)
                at_mean = not renormalize  # then it is no row that lost its direction
                assert [bool(row.any()) for row in found] == [True, False, at_mean, True, True]
            with pytest.raises(C3AlignError, match="first in row 1"):
                ops.corrupt(rows, None, sigma=a_root(4), seed=0)

    def test_out(self):
        X = np.random.default_rng(0).standard_normal((5, 4)).astype("f2")
        expected = ops.corrupt(X, None, sigma=a_root(4), seed=0)
        out = np.empty_like(X)
        assert ops.corrupt(X, None, sigma=a_root(4), seed=0, out=out) is out
        assert raw(out) == raw(expected)
        assert raw(ops.corrupt(X, None, sigma=a_root(4), seed=0, out=X)) == raw(expected)

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({"sigma": np.ones((3, 4))}, r"sigma has shape \(3, 4\) and the rows have 4 dimensions"),
            ({"sigma": np.full((4, 4), np.nan)}, "sigma holds NaN"),
            ({"sigma": np.eye(4), "direction": np.ones(4)}, "omit direction"),
            ({"sigma": np.eye(4), "fixed_norm": True}, "omit direction"),
            ({"sigma": np.eye(4), "random_strength": True}, "omit direction"),
            ({"sigma": np.eye(4), "seed": -1}, r"seed must be an integer in \[0, 2\*\*64\), got -1"),
            ({"sigma": np.eye(4), "row_offset": 2**64 - 1}, "no room for 2 rows"),
        ],
    )
    def test_refusals(self, settings, text):
        arguments = {"seed": 0, **settings}
        for rows in (np.ones((2, 4)), torch.ones(2, 4), torch.ones(2, 4, requires_grad=True)):
            with pytest.raises(C3AlignError, match=text):
                ops.corrupt(rows, None, **arguments)


def raw_normals(n_rows, n_dims, seed, offset=5):
    return ops.philox_normal(n_rows, n_dims, seed=seed, row_offset=offset)


class TestShapeAndStrength:
    def test_covariance_is_that_of_the_residuals(self):
        text, image = pair()
        aligner = C3Aligner(noise="residual", renormalize=False).fit(text, image)
        noise = noise_of(aligner, np.tile(text, (100, 1)))
        assert_covariance(noise, covariance_of(text, image))

    def test_isotropic_noise_would_not_pass(self):
        text, image = pair()
        aligner = C3Aligner(renormalize=False).fit(text, image)
        with pytest.raises(AssertionError):
            assert_covariance(noise_of(aligner, np.tile(text, (100, 1))), covariance_of(text, image))

    @pytest.mark.parametrize("settings", [{"sigma": 0.2}, {"noise_cosine": 0.4}, {"sigma": 1e-3, "noise_cosine": 0.4}])
    def test_asked_strength_keeps_the_shape(self, settings):
        text, image = pair()
        aligner = C3Aligner(noise="residual", renormalize=False, **settings).fit(text, image)
        same = C3Aligner(renormalize=False, **settings).fit(text, image)
        assert aligner.sigma_ == same.sigma_
        expected = covariance_of(text, image)
        expected *= 24 * aligner.sigma_**2 / np.trace(expected)
        assert_covariance(noise_of(aligner, np.tile(text, (100, 1))), expected)

    def test_learned_strength_is_sigma(self):
        text, image = pair()
        aligner = C3Aligner(noise="residual").fit(text, image)
        (found,) = aligner.covariances_.values()
        assert np.trace(found.covariance) == pytest.approx(24 * aligner.sigma_**2, rel=1e-12)
        assert aligner.sigma_ == C3Aligner().fit(text, image).sigma_
        assert aligner.gap().norm == C3Aligner().fit(text, image).gap().norm

    def test_several_pairs_count_by_their_rows(self):
        text, image = pair()
        other, video = pair(700, seed=1, spread=0.6)
        aligner = C3Aligner(noise="residual", renormalize=False).fit(text, image)
        for _ in range(2):  # the second pair changes alone, and the root with it
            aligner.partial_fit(other, video, y_modality="video")
            n_video = aligner.pairs_["text", "video"].n_rows
            pooled = (200 * covariance_of(text, image) + n_video * covariance_of(other, video)) / (200 + n_video)
            assert_covariance(noise_of(aligner, np.tile(text, (100, 1))), pooled)

    def test_on_real_embeddings(self, coco):
        """Shape: as many participating dimensions as the residuals. Strength: the cosine that was asked for."""
        image, text = coco
        spectrum = linalg.eigvalsh(covariance_of(text, image))
        participation = spectrum.sum() ** 2 / (spectrum**2).sum()
        assert participation == pytest.approx(77.88, abs=0.01)
        aligner = C3Aligner(noise="residual", renormalize=False).fit(text, image)
        noise = noise_of(aligner, np.tile(text, (20, 1)))
        found = linalg.eigvalsh(noise.T @ noise / len(noise))
        # E sum l**2 of n drawn rows is sum l**2 (1 + 1/n) + (sum l)**2 / n
        corrected = 1 / ((found**2).sum() / found.sum() ** 2 - 1 / len(noise))
        assert corrected == pytest.approx(participation, rel=0.02)
        outside = linalg.null_space((unit(text) - unit(image)) - (unit(text) - unit(image)).mean(axis=0))
        assert np.abs(noise @ outside).max() < 1e-5  # no noise where no residual reaches
        for cosine in (0.3, 0.5, 0.8):
            aligner = C3Aligner(noise="residual", noise_cosine=cosine).fit(text, image)
            clean = aligner.transform(text, modality="text").astype(float)
            noisy = [aligner.corrupt(text, seed=seed).astype(float) for seed in range(5)]
            assert np.mean([(clean * rows).sum(axis=1).mean() for rows in noisy]) == pytest.approx(cosine, abs=0.01)

    @given(rows=strategies.blocks(min_rows=2, dims=DIMS, dtype="float64"))
    def test_root(self, rows):
        covariance = np.cov(unit(rows).T, bias=True).reshape(rows.shape[1], -1)
        root = symmetric_root(covariance)
        assert np.abs(root - root.T).max() < 1e-12
        assert np.abs(root @ root - covariance).max() < 1e-12

    def test_another_lapack_moves_it_little(self, coco, monkeypatch):
        """The tolerance that the docstring of `corrupt` states for other machines."""
        image, text = coco
        first = noise_of(C3Aligner(noise="residual", renormalize=False).fit(text, image), text.astype(float))
        monkeypatch.setattr(np.linalg, "eigh", lambda a: linalg.eigh(a, driver="evr"))
        second = noise_of(C3Aligner(noise="residual", renormalize=False).fit(text, image), text.astype(float))
        assert np.linalg.norm(first - second, axis=1).max() < 1e-6 * np.linalg.norm(first, axis=1).min()


class TestCorrupt:
    @given(start=st.integers(0, 29), seed=strategies.SEEDS, offset=st.integers(0, 2**40), data=st.data())
    def test_p4_a_slice_of_all_is_the_slice(self, start, seed, offset, data):
        dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
        text, image = (rows.astype(dtype) for rows in pair(30, 9))
        aligner = C3Aligner(noise="residual").fit(text, image)
        whole = aligner.corrupt(text, seed=seed, row_offset=offset)
        stop = data.draw(st.integers(start + 1, 30))
        part = aligner.corrupt(text[start:stop], seed=seed, row_offset=offset + start)
        assert raw(part) == raw(whole[start:stop])
        assert raw(aligner.corrupt(torch.from_numpy(text), seed=seed, row_offset=offset)) == raw(whole)

    @pytest.mark.parametrize("settings", [{"sigma": 0}, {"noise_cosine": 1.0}])
    def test_no_noise_is_transform_to_the_bit(self, settings):
        text, image = pair()
        for fit in ((text, image), (text,)):
            aligner = C3Aligner(noise="residual", **settings).fit(*fit)
            assert raw(aligner.corrupt(text)) == raw(aligner.transform(text, modality="text"))

    def test_without_pairs(self):
        text, image = pair()
        aligner = C3Aligner(noise="residual").fit(text)
        assert aligner.transform(text).shape == text.shape
        for use in (lambda: aligner.corrupt(text), aligner.as_module):
            with pytest.raises(C3AlignError, match=r"none were learned with it; call fit\(X, y\)"):
                use()
        aligner.partial_fit(text, image)
        assert aligner.corrupt(text).shape == text.shape

    def test_pairs_without_residuals(self):
        text, _ = pair()
        aligner = C3Aligner(noise="residual", sigma=0.1).fit(text, text)
        with pytest.raises(C3AlignError, match="no residuals to take a covariance from"):
            aligner.corrupt(text)

    def test_a_setting_changed_after_fit(self):
        text, image = pair()
        aligner = C3Aligner().fit(text, image).set_params(noise="residual")
        with pytest.raises(C3AlignError, match="none were learned with it"):
            aligner.corrupt(text)
        before = dict(vars(aligner))
        for more in ((text, image), (text,)):
            with pytest.raises(C3AlignError, match="learned without their covariance; fit on all of them"):
                aligner.partial_fit(*more)
        assert vars(aligner) == before
        aligner.fit(text, image).set_params(noise="isotropic").partial_fit(text, image)
        assert aligner.covariances_ == {}
        assert C3Aligner().fit(text, image).covariances_ == {}


class TestLearning:
    @given(data=st.data())
    def test_split_and_merge(self, data):
        text, image = pair(40, 6)
        whole = C3Aligner(noise="residual").fit(text, image)
        parts = [part for part in data.draw(strategies.partitions(40)) if len(part)]
        pieces = [C3Aligner(noise="residual").partial_fit(text[part], image[part]) for part in parts]
        while len(pieces) > 1:
            i = data.draw(st.integers(0, len(pieces) - 2))
            pieces[i : i + 2] = [pieces[i].merge(pieces[i + 1])]
        assert pieces[0].pairs_ == whole.pairs_
        found, expected = (a.covariances_["image", "text"] for a in (pieces[0], whole))
        assert found.statistics == whole.pairs_["image", "text"]
        assert np.abs(found.products - expected.products).max() < 4e-12 * 40
        assert np.abs(pieces[0].corrupt(text) - whole.corrupt(text)).max() < 1e-5

    def test_order_of_modalities(self):
        text, image = pair()
        a = C3Aligner(noise="residual").fit(text, image)
        b = C3Aligner(noise="residual").fit(image, text, modality="image", y_modality="text")
        assert a.pairs_ == b.pairs_
        assert raw(a.covariances_["image", "text"].products) == raw(b.covariances_["image", "text"].products)

    def test_merge_needs_both_covariances(self):
        text, image = pair()
        aligner = C3Aligner(noise="residual").fit(text, image)
        before = dict(vars(aligner))
        with pytest.raises(C3AlignError, match="pairs of image and text were learned without their covariance"):
            aligner.merge(C3Aligner().fit(text, image))
        assert vars(aligner) == before
        plain = C3Aligner().fit(text, image).merge(aligner)
        assert plain.covariances_ == {}
        assert plain.pairs_["image", "text"].n_rows == 400
        assert aligner.merge(C3Aligner(noise="residual").fit(text)).covariances_.keys() == {("image", "text")}

    def test_nothing_is_learned_on_an_error(self):
        text, image = pair()
        aligner = C3Aligner(noise="residual").fit(text, image)
        before = dict(vars(aligner))
        holed = image.copy()
        holed[3] = np.nan
        with pytest.raises(C3AlignError, match="first in row 3"):
            aligner.partial_fit(text, holed)
        assert vars(aligner) == before

    def test_the_root_is_worked_out_once_and_not_kept_in_the_state(self, monkeypatch):
        text, image = pair()
        calls = []
        root = Noise.root
        monkeypatch.setattr(Noise, "root", lambda *given: calls.append(given) or root(*given))
        aligner = C3Aligner(noise="residual").fit(text, image)
        state, size = dict(vars(aligner)), len(pickle.dumps(aligner))
        for seed in range(3):
            aligner.corrupt(text, seed=seed)
            aligner.as_module()
        assert len(calls) == 1
        assert vars(aligner) == state
        assert len(pickle.dumps(aligner)) < size + text[:24].nbytes / 2  # means may have joined, no matrix
        clean = aligner.corrupt(text)
        for twin in (copy.deepcopy(aligner), pickle.loads(pickle.dumps(aligner))):
            assert raw(twin.corrupt(text)) == raw(clean)
        known = weakref.ref(aligner.covariances_["image", "text"])
        more = copy.deepcopy(aligner).partial_fit(2 * text, image[::-1])
        assert raw(more.corrupt(text)) != raw(clean)
        del aligner, state, twin
        gc.collect()
        assert known() is None


class TestModule:
    @pytest.fixture
    def aligner(self):
        return C3Aligner(noise="residual").fit(*pair())

    def test_it_is_corrupt_and_then_transform(self, aligner):
        module, rows = aligner.as_module(), torch.from_numpy(pair()[0][:8])
        how = {
            **_strength.noise_of(aligner.state_, vars(aligner), "text"),
            "seed": c3align.noise.stream_seed(aligner.seed, "text"),
            "row_offset": 8,
        }
        for X in (rows, rows.half()):
            expected = ops.corrupt(X, aligner.statistics_["text"].mean, **how)
            assert raw(module(X, row_offset=8)) == raw(expected)
        assert raw(module.eval()(rows)) == raw(aligner.transform(rows, modality="text"))

    def test_compiled_whole(self, aligner):
        torch._dynamo.reset()
        rows = torch.from_numpy(pair()[0][:8])
        module = aligner.as_module()
        compiled = torch.compile(aligner.as_module(), fullgraph=True, backend="aot_eager")
        for seed in range(3):
            torch.manual_seed(seed)
            found = compiled(rows)
            torch.manual_seed(seed)
            assert raw(found) == raw(module(rows))

    @pytest.mark.parametrize("zero_rows", ["raise", "keep"])
    def test_gradients(self, zero_rows):
        aligner = C3Aligner(noise="residual", zero_rows=zero_rows).fit(*pair(n_dims=9))
        rows = torch.from_numpy(pair(n_dims=9)[0][:3]).requires_grad_()

        module = aligner.as_module()

        def fresh(X):
            return module(X, row_offset=7)

        assert torch.autograd.gradcheck(fresh, rows, atol=1e-6)


class TestPairCovariance:
    @given(rows=strategies.blocks(min_rows=2, dims=DIMS), seed=st.integers(0, 99))
    def test_against_wide_arithmetic(self, rows, seed):
        others = rows[np.random.default_rng(seed).permutation(len(rows))]
        dtype = np.float64 if rows.dtype == np.float64 else np.float32  # half precision is not rounded back
        x, y = (ops.normalize(part.astype(dtype)).astype(np.longdouble) for part in (rows, others))
        found = PairCovariance.from_rows(rows, others)
        assert np.abs(found.products - (x - y).T @ (x - y)).max() <= 4e-12 * len(rows)
        assert raw(found.products) == raw(found.products.T)
        assert np.array_equal(np.diagonal(found.covariance), found.statistics.variance)
        assert found.problem() is None
        again = PairCovariance.from_packed(found.statistics, found.packed())
        assert raw(again.products) == raw(found.products)

    def test_blocks_subtraction_and_kept_zero_rows(self, monkeypatch):
        text, image = pair()
        text[5] = 0
        whole = PairCovariance.from_rows(text, image, zero_rows="keep")
        assert (whole.n_rows, whole.statistics.n_zero_rows) == (199, 1)
        monkeypatch.setattr("c3align.ops.products._BLOCK_ELEMENTS", 24 * 7)
        blocked = PairCovariance.from_rows(text, image, zero_rows="keep")
        assert blocked.statistics == whole.statistics
        assert np.abs(blocked.products - whole.products).max() < 4e-12 * 200
        left = whole - PairCovariance.from_rows(text[:50], image[:50], zero_rows="keep")
        rest = PairCovariance.from_rows(text[50:], image[50:])
        assert left.statistics == rest.statistics
        assert np.abs(left.products - rest.products).max() < 4e-12 * 200
        assert (whole + PairCovariance.empty(24)).statistics == whole.statistics
        with pytest.raises(C3AlignError, match="first in row 5"):
            PairCovariance.from_rows(text, image)
        with pytest.raises(TypeError, match="cannot combine PairCovariance with"):
            whole + whole.statistics

    def test_a_variance_below_the_fixed_point_is_no_problem(self):
        """Column 1 follows column 0 so faintly that its own variance rounds to zero, and their covariance does not."""
        angle = np.random.default_rng(0).uniform(0.5, 1.5, 50)
        text = np.stack([np.cos(angle), 3e-7 * np.cos(angle), np.sin(angle)], axis=1)
        found = PairCovariance.from_rows(text, np.tile([0.0, 0.0, 1.0], (50, 1)))
        assert found.statistics.variance[1] == 0
        assert abs(found.covariance[0, 1]) > 1e-8
        assert found.problem() is None

    def test_problems_are_seen(self):
        found = PairCovariance.from_rows(*pair(50, 4))
        for changes, text in [
            ([((0, 1), 0.1)], "not symmetric"),
            ([((2, 2), 0.1)], "contradict the sums of squares"),
            ([((0, 1), 90.0), ((1, 0), 90.0)], "contradict the variances"),
            ([((0, 1), np.nan), ((1, 0), np.nan)], "not finite"),
        ]:
            products = found.products.copy()
            for place, change in changes:
                products[place] += change
            assert text in PairCovariance(found.statistics, products).problem()
        assert "yet products" in PairCovariance(found.statistics.empty(4), found.products.copy()).problem()
        assert PairCovariance.empty(4).problem() is None
