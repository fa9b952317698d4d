"""Shapes of noise behind `C3Aligner(noise=...)`: one unit for all, and each what it says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import C3Aligner, noise
from c3align.covariance import CovarianceStatistics
from c3align.errors import C3AlignError, FormatError
from c3align.geometry import noise_fit
from c3align.noise import NAMED, Noise
from c3align.sample import RowSample
from tests.test_mapped import rows, unit
from tests.test_ops import raw

N_DIMS = 12
SHAPES = {**NAMED, "low_rank": Noise("residual", rank=3), "quarter": Noise("own", power=0.25)}
MAPPINGS = ["center", "barycenter"]


def fitted(shape, mapping="center", **settings):
    return C3Aligner(noise=shape, mapping=mapping, renormalize=False, **settings).fit(*rows(0, 400))


def drawn(aligner, n=20000, modality="text"):
    """Noise alone: that of many copies of one row."""
    one = np.repeat(rows(1, 1)[0], n, axis=0)
    return aligner.corrupt(one, modality=modality) - aligner.transform(one[:1], modality=modality)


@pytest.fixture(params=SHAPES)
def name(request):
    return request.param


class TestOneUnit:
    @pytest.mark.parametrize("mapping", MAPPINGS)
    def test_expected_squared_norm(self, name, mapping):
        """``d sigma**2``, whatever the shape."""
        found = drawn(fitted(SHAPES[name], mapping, sigma=0.3))
        assert (found**2).sum(axis=1).mean() == pytest.approx(N_DIMS * 0.3**2, rel=0.03)

    def test_a_cosine(self, name):
        aligner = C3Aligner(noise=SHAPES[name], noise_cosine=0.8).fit(*rows(0, 2000))
        clean, noisy = aligner.transform(rows(2, 2000)[0], modality="text"), aligner.corrupt(rows(2, 2000)[0])
        assert (clean * noisy).sum(axis=1).mean() == pytest.approx(0.8, abs=0.07)

    @pytest.mark.parametrize("cosine", [0.3, 0.5, 0.8, 0.99])
    @pytest.mark.parametrize("shape", ["isotropic", "random", "fixed_norm"])
    def test_a_cosine_in_many_dimensions(self, shape, cosine):
        """Noise of random strength too, whose mean cosine is not that of its mean square."""
        X = np.random.default_rng(0).standard_normal((4000, 512))
        aligner = C3Aligner(noise=shape, noise_cosine=cosine).fit(X)
        clean, noisy = (use(X, modality="text") for use in (aligner.transform, aligner.corrupt))
        assert (clean * noisy).sum(axis=1).mean() == pytest.approx(cosine, abs=0.01)

    @given(st.floats(0.01, 1), st.integers(1, 3000), st.floats(0.1, 10))
    def test_random_strength_there_and_back(self, cosine, n_dims, norm):
        sigma = noise.sigma_from_random_cosine(cosine, n_dims, norm=norm)
        assert noise.random_cosine_from_sigma(sigma, n_dims, norm=norm) == pytest.approx(cosine, abs=1e-6)

    def test_none(self, name):
        aligner, (text, _) = fitted(SHAPES[name], sigma=0), rows(0, 400)
        assert raw(aligner.corrupt(text)) == raw(aligner.transform(text, modality="text"))

    @given(st.floats(0.01, 1))
    def test_alpha_bar(self, alpha_bar):
        level = noise.sigma_from_cosine(noise.cosine_from_alpha_bar(alpha_bar), N_DIMS)
        assert level**2 * N_DIMS == pytest.approx((1 - alpha_bar) / alpha_bar, abs=1e-9)


def test_what_is_no_covariance():
    """Of columns with gaps, each compared over other rows, a matrix can be symmetric and none."""
    residual = noise.Noise("residual")
    for wrong, text in (
        ([[1, 2], [2, 1]], "no negative eigenvalue, got -1;"),
        ([[1, np.nan], [np.nan, 1]], "finite, got NaN"),
        ([[1, 0.5], [0, 1]], "symmetric, and is not"),
        (np.zeros((2, 2)), "some variance, got none"),
    ):
        with pytest.raises(C3AlignError, match=f"covariance must .*{text}"):
            residual.root(np.array(wrong, float), 0.1)
    with pytest.raises(C3AlignError, match="negative eigenvalue"):
        noise_fit(rows(0, 50)[0][:, :2], covariance=np.array([[1.0, 2], [2, 1]]))


def test_numbers_beyond_floats():
    for call in (
        lambda: noise.sigma_from_cosine(1e-170, 512),
        lambda: noise.sigma_from_cosine(0.5, 512, norm=10**400),
        lambda: C3Aligner(noise_cosine=np.array([0.9, 0.8])).fit(rows(0, 9)[0]),
        lambda: RowSample.empty(16, size=0),
        lambda: CovarianceStatistics.from_rows(rows(0, 9)[0]).shrunken_by(1.5),
    ):
        with pytest.raises(C3AlignError, match="must be"):
            call()


class TestShapes:
    @pytest.mark.parametrize("mapping", MAPPINGS)
    def test_half_power_of_the_rows_own(self, mapping):
        aligner = fitted("half_power", mapping, sigma=0.3)
        mapped = aligner.transform(rows(0, 400)[0], modality="text")
        values, vectors = np.linalg.eigh(np.cov(mapped.T, bias=True))
        goal = vectors * np.sqrt(values) @ vectors.T
        goal *= N_DIMS * 0.3**2 / np.trace(goal)
        assert np.abs(np.cov(drawn(aligner).T) - goal).max() < 0.02

    def test_each_modality_has_its_own(self):
        aligner = fitted("half_power", sigma=0.3)
        found = [np.cov(drawn(aligner, modality=modality).T) for modality in ("text", "image")]
        assert np.abs(found[0] - found[1]).max() > 0.01

    def test_low_rank_keeps_the_largest_and_spreads_the_rest(self):
        values = np.linalg.eigvalsh(np.cov(drawn(fitted(SHAPES["low_rank"], sigma=0.3)).T))
        whole = np.linalg.eigvalsh(np.cov(drawn(fitted("residual", sigma=0.3)).T))
        assert values[-3:] == pytest.approx(whole[-3:], rel=0.05)
        assert np.ptp(values[:-3]) < 0.2 * values[:-3].mean()

    def test_fixed_norm(self):
        norms = np.linalg.norm(drawn(fitted("fixed_norm", sigma=0.3)), axis=1)
        assert norms == pytest.approx(0.3 * np.sqrt(N_DIMS), rel=1e-5)

    def test_random_strength(self):
        norms = np.linalg.norm(drawn(fitted("random", sigma=0.3)), axis=1)
        assert norms.std() / norms.mean() > 0.5

    def test_levels_are_those_that_the_rows_got(self):
        """unCLIP tells its decoder the level: the noise over it has one size, whatever the row's number."""
        aligner, (text, _) = fitted("random", sigma=0.3), rows(1, 400)
        ids = np.random.default_rng(0).permutation(4000)[:400]
        clean = aligner.transform(text, modality="text")
        for numbers in ({"row_offset": 70}, {"row_ids": ids}):
            noisy = aligner.corrupt(text, modality="text", seed=5, **numbers)
            levels = noise.row_levels(400, seed=noise.stream_seed(5, "text"), **numbers)
            plain = aligner.set_params(noise="isotropic", sigma=0.3 * np.sqrt(3))
            whole = plain.corrupt(text, modality="text", seed=5, **numbers) - clean
            aligner.set_params(noise="random", sigma=0.3)
            assert noisy - clean == pytest.approx(levels[:, None] * whole, abs=1e-5)
        with pytest.raises(C3AlignError, match="pass one of them"):
            noise.row_levels(4, seed=1, row_offset=3, row_ids=[1, 2, 3, 4])
        for seed in (-1, "a", 1.5):
            with pytest.raises(C3AlignError, match="seed must be an integer"):
                noise.row_levels(4, seed=seed)
        with pytest.raises(C3AlignError, match="n_rows must be at least 0, got -1"):
            noise.row_levels(-1, seed=1)

    @pytest.mark.parametrize("mapping", MAPPINGS)
    def test_orthogonal_to_the_gap(self, mapping):
        aligner = fitted("orthogonal", mapping, sigma=0.3)
        text, image = (aligner.statistics_[modality].mean for modality in ("text", "image"))
        gap = aligner.state_.row_map("text", mapping).turned(text - image)
        assert np.abs(drawn(aligner) @ unit(gap[None])[0]).max() < 1e-6

    def test_of_rows_of_no_fitted_modality(self):
        for shape in ("half_power", "orthogonal"):
            aligner = fitted(shape, sigma=0.3)
            with pytest.raises(C3AlignError, match="fitted"):
                aligner.corrupt(rows(0, 400)[0], modality="batch")
            with pytest.raises(C3AlignError, match="pass its name as modality="):
                aligner.as_module()(torch.from_numpy(rows(0, 400)[0]), "batch")

    def test_one_modality_has_no_gap(self):
        with pytest.raises(C3AlignError, match="fit another one"):
            C3Aligner(noise="orthogonal").fit(rows(0, 400)[0]).corrupt(rows(0, 400)[0])


def test_module(name):
    aligner, X = C3Aligner(noise=SHAPES[name], sigma=0.3).fit(*rows(0, 400)), torch.from_numpy(rows(0, 400)[0])
    module = aligner.as_module()
    for modality, part in (("text", X), ("image", torch.from_numpy(rows(0, 400)[1]))):
        assert (
            module(part, modality, row_offset=5) - aligner.corrupt(part, modality=modality, row_offset=5)
        ).abs().max() < 1e-6


def test_file(name):
    aligner = C3Aligner(noise=SHAPES[name], sigma=0.3).fit(*rows(0, 400))
    loaded = C3Aligner.from_bytes(aligner.to_bytes())
    assert noise.load(loaded.noise) == SHAPES[name]
    assert raw(loaded.corrupt(rows(0, 400)[0])) == raw(aligner.corrupt(rows(0, 400)[0]))


@pytest.mark.parametrize(
    "found", [{"covariance": "own"}, {**vars(Noise()), "power": "2"}, {**vars(Noise()), "rank": 0.5}]
)
def test_no_file_has_another_noise(found):
    from c3align import _state_tensors, persistence
    from c3align.io import container

    aligner = C3Aligner().fit(rows(0, 400)[0])
    config = persistence._config(aligner.get_params(), aligner.state_)
    config["settings"]["noise"] = found
    with pytest.raises(FormatError, match="its settings do not fit"):
        persistence.parse(container.dump(_state_tensors.tensors(aligner.state_), config))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"covariance": "text"}, "covariance must be one of"),
        ({"power": 0}, "power must be a finite number above 0"),
        ({"rank": 0}, "rank must be None or an integer above 0"),
        ({"covariance": "own", "fixed_norm": True}, "omit fixed_norm"),
    ],
)
def test_refusals(settings, text):
    with pytest.raises(C3AlignError, match=text):
        Noise(**settings)


class TestFromGroups:
    @given(st.integers(2, 6), st.floats(0.01, 0.1))
    def test_it_is_the_residual_of_two(self, size, spread):
        rng = np.random.default_rng(size)
        things = unit(rng.normal(size=(500, 32)))
        groups = np.repeat(np.arange(500), size)
        X = unit(things[groups] + spread * rng.normal(size=(len(groups), 32)))
        others = unit(things + spread * rng.normal(size=things.shape))
        found = noise.sigma_from_groups(X, groups)
        assert found == pytest.approx(np.sqrt(((X[::size] - others) ** 2).mean()), rel=0.1)

    def test_order_and_library(self):
        X, groups = rows(0, 60)[0], np.arange(60) // 3
        order = np.random.default_rng(0).permutation(60)
        found = noise.sigma_from_groups(X, groups)
        assert noise.sigma_from_groups(X[order], groups[order]) == pytest.approx(found, rel=1e-12)
        assert noise.sigma_from_groups(torch.from_numpy(X), groups) == found

    def test_refusals(self):
        X = rows(0, 60)[0]
        with pytest.raises(C3AlignError, match="no two rows are about one thing"):
            noise.sigma_from_groups(X, np.arange(60))
        with pytest.raises(C3AlignError, match="groups must be 60 integers"):
            noise.sigma_from_groups(X, np.arange(59))
        with pytest.raises(C3AlignError, match="X is a list, not an array"):
            noise.sigma_from_groups(X.tolist(), np.arange(60) // 2)
        half = torch.from_numpy(X).bfloat16()
        assert noise.sigma_from_groups(half, np.arange(60) // 2) == noise.sigma_from_groups(
            half.float(), np.arange(60) // 2
        )


def test_noise_of_the_wider_side_drowns_the_narrower():
    rng = np.random.default_rng(0)
    text, more = rng.standard_normal((2, 1000, 64))
    narrow, wide = C3Aligner().fit(text, 0.05 * (text + more) + 1), C3Aligner().fit(text, text + more + 1)
    with pytest.warns(UserWarning, match=r"leaves 'image' rows, .* a cosine of 0\.0\d with .*; corrupt the partners"):
        narrow.corrupt(0.05 * (text + more) + 1, modality="image")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        narrow.corrupt(text, modality="text")
        wide.corrupt(text + more + 1, modality="image")
        C3Aligner().fit(0.05 * text + 1).corrupt(0.05 * text + 1)  # the paper's noise, of no pairs


@pytest.mark.parametrize("mapping", ["center", "quantile"])
def test_rows_that_do_not_vary(mapping):
    """Rows at their mean have no direction, and pairs that do not differ no noise."""
    aligner = C3Aligner(mapping=mapping, zero_rows="keep").fit(np.ones((60, 3)), np.ones((60, 3)))
    assert not aligner.corrupt(np.ones((60, 3)), modality="text").any()


def test_cones_of_other_widths_are_told():
    """A cosine is that of all modalities together; where that misleads, one warning says by how much."""
    rng = np.random.default_rng(0)
    text, image = rng.normal(0.5, 1, (500, 64)), rng.normal(3, 1, (5000, 64))
    aligner = C3Aligner(noise_cosine=0.9).fit(text).partial_fit(image, modality="image")
    with pytest.warns(UserWarning, match=r"'text' rows, .* get one of 0.98; for 0.9 pass sigma=") as caught:
        found = aligner.corrupt(text)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aligner.corrupt(text)
    clean = aligner.transform(text, modality="text")
    assert (found * clean).sum(axis=1).mean() == pytest.approx(0.98, abs=0.01)
    asked = float(str(caught[0].message).rpartition("sigma=")[2])
    exact = aligner.set_params(sigma=asked).corrupt(text)
    assert (exact * clean).sum(axis=1).mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(
    "convert",
    [
        lambda: noise.sigma_from_capdec_variance(-1),
        lambda: noise.sigma_from_close_weight(-1),
        lambda: noise.cosine_from_sigma(-1, 5),
        lambda: noise.random_cosine_from_sigma(-1, 5),
        lambda: noise.sigma_from_random_cosine(0, 5),
        lambda: noise.cosine_from_lafite_mix(2),
        lambda: noise.cosine_from_alpha_bar(0),
        lambda: C3Aligner(zero_rows="keep", noise_cosine=0.5).fit(np.zeros((3, 4))).sigma_,
    ],
)
def test_numbers_that_no_noise_has(convert):
    with pytest.raises(C3AlignError):
        convert()
