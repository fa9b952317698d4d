"""`C3Aligner(mapping=...)`: every mapping through every door, against its formula in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from c3align import C3Aligner, mappings, ops
from c3align._strength import noise_of
from c3align.covariance import CovarianceStatistics, PairCovariance
from c3align.errors import C3AlignError, FormatError, ModalityMeanWarning
from c3align.mappings import Barycenter, Center, Realign
from c3align.noise import Noise, stream_seed
from c3align.persistence import parse
from tests.test_device import as_if_on_a_device as as_if_on_a_device
from tests.test_ops import raw

N_DIMS = 12
NAMES = [name for name in mappings.available() if name != "center"]
DROPS = {"cca", "drop_unequal"}  # directions, so that there is no way back
CURVED = {"quantile"}
KINDS = {"cca": mappings.CCA(n_components=4), "drop_unequal": mappings.DropUnequal(n_directions=3)}
KINDS["realign"] = Realign(target="text")
DTYPES = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 3e-6, "float64": 1e-12}


def kind(name):
    return KINDS.get(name, name)


def rows(seed=0, n=400):
    """Paired rows of two modalities, with cones of their own."""
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(n, N_DIMS)) * np.linspace(0.5, 1.5, N_DIMS) + 1
    mixed = text @ (np.diag(np.linspace(1.5, 0.5, N_DIMS)) + 0.1 * np.sin(np.arange(N_DIMS**2).reshape(N_DIMS, -1)))
    return text, mixed + 0.3 * rng.normal(size=text.shape) + 2 * np.eye(N_DIMS)[0]


def fitted(name, **settings):
    return C3Aligner(mapping=kind(name), **settings).fit(*rows())


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def expected(aligner, X, modality, renormalize=True):
    row_map = aligner.state_.row_map(modality, aligner.mapping)
    found = row_map.apply(unit(np.asarray(X, np.float64)))
    return unit(found) if renormalize else found


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


class TestTransform:
    @pytest.mark.parametrize("renormalize", [True, False])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_it_is_the_formula(self, name, dtype, renormalize):
        aligner = fitted(name, renormalize=renormalize)
        for modality, X in zip(("text", "image"), rows()):
            given = torch.from_numpy(X).to(getattr(torch, dtype))
            found = aligner.transform(given, modality=modality)
            assert found.dtype == given.dtype
            goal = expected(aligner, given.double().numpy(), modality, renormalize)
            assert np.abs(found.double().numpy() - goal).max() < DTYPES[dtype]
            if dtype != "bfloat16":
                assert raw(aligner.transform(given.numpy(), modality=modality)) == raw(found)

    def test_the_input_is_not_written(self, name):
        aligner, (text, _) = fitted(name), rows()
        before = text.copy()
        text.flags.writeable = False
        aligner.transform(text, modality="text")
        assert raw(text) == raw(before)

    def test_many_blocks_are_one(self, name, monkeypatch):
        aligner, (_, image) = fitted(name), rows()
        whole = aligner.transform(image, modality="image")
        monkeypatch.setattr(mappings.rows, "_BLOCK_ELEMENTS", 50 * N_DIMS)
        assert np.abs(aligner.transform(image, modality="image") - whole).max() < 1e-14
        image[333] = np.nan
        with pytest.raises(C3AlignError, match="1 of 400 rows, first in row 333"):
            aligner.transform(image, modality="image")

    def test_rows_without_a_direction(self, name):
        aligner, (text, _) = fitted(name), rows()
        text[7] = 0
        with pytest.raises(C3AlignError, match="first in row 7"):
            aligner.transform(text, modality="text")
        kept = aligner.set_params(zero_rows="keep").transform(text, modality="text")
        assert not kept[7].any()
        assert kept[[6, 8]].any(axis=1).all()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("name", ["barycenter", "coral", "gaussian_ot", "ridge"])
    def test_a_row_at_the_mean(self, name, dtype):
        aligner = fitted(name)
        mean = aligner.statistics_["image"].mean[None].astype(dtype)
        mean /= np.linalg.norm(mean)
        aligner.state_.row_map("image", name)  # the mean of unit rows lies inside of the sphere; this row is on it
        aligner.transform(mean, modality="image")
        alike = np.repeat(rows()[0][:1].astype(dtype), 9, axis=0)  # from which rounding leaves something
        with pytest.raises(C3AlignError, match=r"are all the same|no direction"):
            C3Aligner(mapping=name).fit(alike, alike).transform(alike, modality="image")

    def test_a_matrix_with_a_shift(self):
        """Of others' mappings: where nothing came nothing goes, though the shift is something."""
        rng = np.random.default_rng(0)
        row_map = mappings.RowAffine(*rng.normal(size=(1, N_DIMS)), rng.normal(size=(N_DIMS, N_DIMS)), np.ones(N_DIMS))
        X = rows()[0][:5]
        X[2] = 0
        found = mappings.rows.align(X, row_map, renormalize=False, zero_rows="keep")
        assert not found[2].any()
        assert np.abs(found[3] - row_map.apply(unit(X[3:4]))[0]).max() < 1e-12

    def test_auto_finds_the_modality(self, name):
        aligner, (_, image) = fitted(name), rows()
        assert raw(aligner.transform(image)) == raw(aligner.transform(image, modality="image"))

    def test_no_mean_of_the_rows_own(self, name):
        with pytest.raises(C3AlignError, match=r"takes rows of a fitted modality.*pass its name"):
            fitted(name).transform(rows()[0], modality="batch")

    def test_a_modality_without_a_map(self, name):
        one = C3Aligner(mapping=kind(name)).fit(rows()[0])
        if name in {"barycenter", "standardize", "quantile"}:
            own = C3Aligner().fit(rows()[0]).transform(rows()[0], modality="text")
            with pytest.warns(ModalityMeanWarning, match="only 'text' rows are fitted, so that mapping="):
                one.transform(rows()[0], modality="text")
            most = 0.03 if name == "quantile" else 1e-12  # of one modality there is nothing to bring together
            assert np.abs(one.transform(rows()[0], modality="text") - own).max() < most
        with pytest.raises(NotFittedError, match="no mean was learned"):
            one.transform(rows()[1], modality="image")


class TestWaysBack:
    @pytest.mark.parametrize("renormalize", [True, False])
    def test_inverse_transform(self, name, renormalize):
        aligner = fitted(name, renormalize=renormalize)
        for modality, X in zip(("text", "image"), rows()):
            Z = aligner.transform(X, modality=modality)
            if name in DROPS or (renormalize and name in CURVED):
                with pytest.raises(C3AlignError, match="no way back"):
                    aligner.inverse_transform(Z, modality=modality)
            else:
                assert np.abs(aligner.inverse_transform(Z, modality=modality) - unit(X)).max() < 1e-9

    def test_two_rows_that_became_one(self):
        """Where the map's center is outside of the sphere a ray meets it twice, or not at all."""
        rng = np.random.default_rng(1)
        text, image = rng.normal(1, 0.2, (5, 3)), rng.normal(2, 1, (5, 3))
        aligner = C3Aligner(mapping=Realign(target="text")).fit(text, image)
        with pytest.raises(C3AlignError, match="two rows may have become one"):
            aligner.inverse_transform(aligner.transform(image, modality="image"), modality="image")

    def test_translate_is_there_and_back(self, name):
        if name in DROPS | CURVED:
            pytest.skip("no way back")
        aligner, (text, _) = fitted(name), rows()
        found = aligner.translate(text, source="text", target="image")
        Z = aligner.transform(text, modality="text")
        goal = aligner.inverse_transform(Z, modality="image") * aligner.statistics_["image"].mean_norm
        assert np.abs(found - goal).max() < 1e-12
        half = aligner.translate(text.astype(np.float16), source="text", target="image")
        assert half.dtype == np.float16
        assert np.abs(half - goal).max() < 0.03


class TestNoise:
    def test_none_is_transform(self, name):
        aligner, (text, _) = fitted(name, sigma=0), rows()
        assert raw(aligner.corrupt(text)) == raw(aligner.transform(text, modality="text"))

    def test_it_is_added_to_mapped_rows(self, name):
        aligner, (text, _) = fitted(name, sigma=0.2), rows()
        z = ops.philox_normal(len(text), N_DIMS, seed=stream_seed(3, "text"), row_offset=5).astype(np.float64)
        goal = unit(expected(aligner, text, "text", False) + 0.2 * z)
        assert np.abs(aligner.corrupt(text, seed=3, row_offset=5) - goal).max() < 1e-6

    @pytest.mark.parametrize("name", [name for name in NAMES if name not in CURVED])
    def test_residuals_follow_the_mapping(self, name):
        """Strength and shape are those of pairs that went through the maps."""
        aligner, (text, image) = fitted(name, noise="residual"), rows()
        u, v = (expected(aligner, X, m, False) for X, m in ((text, "text"), (image, "image")))
        covariance = np.cov((u - v).T, bias=True)
        assert aligner.sigma_ == pytest.approx(np.sqrt(np.trace(covariance) / N_DIMS), rel=1e-6)
        root = noise_of(aligner.state_, vars(aligner), "text")["sigma"]
        assert np.abs(root.T @ root - covariance).max() < 1e-9
        assert np.isfinite(aligner.corrupt(text)).all()

    def test_a_cosine_is_of_mapped_rows(self, name):
        aligner, (text, image) = fitted(name, noise_cosine=0.8), rows()
        parts = [expected(aligner, X, m, False) for X, m in ((text, "text"), (image, "image"))]
        norm = np.sqrt(np.mean([(part**2).sum(axis=1).mean() for part in parts]))
        most = 0.02 if name in CURVED else 1e-6
        assert aligner.sigma_ == pytest.approx(norm * np.sqrt((1 / 0.8**2 - 1) / N_DIMS), rel=most)

    def test_of_a_curved_mapping_residuals_are_as_large_as_rows(self):
        u, v = (expected(fitted("quantile"), X, m, False) for X, m in zip(rows(), ("text", "image")))
        assert fitted("quantile").sigma_ == pytest.approx(np.sqrt((u - v).var(axis=0).mean()), rel=0.4)
        with pytest.raises(C3AlignError, match="no covariance follows from statistics; choose noise='isotropic'"):
            fitted("quantile", noise="residual").corrupt(rows()[0])

    def test_pairs_learned_for_another_mapping(self):
        aligner = C3Aligner(second_moments=True).fit(*rows()).set_params(mapping="barycenter")
        aligner.transform(rows()[0], modality="text")
        with pytest.raises(C3AlignError, match="fit them again with the same mapping="):
            aligner.sigma_  # noqa: B018


class TestLearning:
    def test_parts_are_the_whole(self, name):
        (text, image), whole = rows(), fitted(name)
        parts = C3Aligner(mapping=kind(name))
        for start in range(0, 400, 100):
            part = slice(start, start + 100)
            parts.partial_fit(text[part], image[part])
        others = [C3Aligner(mapping=kind(name)).fit(text[k::3], image[k::3]) for k in range(3)]
        others[0].merge(others[1]).merge(others[2])
        for X, modality in ((text, "text"), (image, "image")):
            goal = whole.transform(X, modality=modality)
            for other in (parts, others[0]):
                assert np.abs(other.transform(X, modality=modality) - goal).max() < 1e-10

    def test_order_of_the_modalities(self, name):
        (text, image), straight = rows(), fitted(name)
        other = C3Aligner(mapping=kind(name)).fit(image, text, modality="image", y_modality="text")
        for X, modality in ((text, "text"), (image, "image")):
            goal = straight.transform(X, modality=modality)
            assert np.abs(other.transform(X, modality=modality) - goal).max() < 1e-10

    def test_what_was_not_learned(self):
        aligner = C3Aligner().fit(*rows()).set_params(mapping="barycenter")
        with pytest.raises(C3AlignError, match="needs second moments of 'image', 'text'"):
            aligner.transform(rows()[0], modality="text")
        with pytest.raises(C3AlignError, match="fit on all of them with"):
            aligner.partial_fit(rows()[0])

    def test_three_modalities(self):
        aligner = C3Aligner(mapping="barycenter").fit(*rows())
        aligner.partial_fit(rows(3)[0] * [*[2] * 6, *[1] * 6], modality="audio")
        means = [aligner.transform(rows()[0], modality=modality) for modality in ("text", "image", "audio")]
        assert len({raw(mean) for mean in means}) == 3

    def test_of_scikit_learn(self, name):
        aligner = fitted(name)
        twin = clone(aligner)
        assert twin.get_params()["mapping"] == aligner.mapping
        assert not hasattr(twin, "state_")

    def test_parameters_that_change_are_refused(self):
        class Loose:
            needs = ()
            __hash__ = None

            def solve(self, statistics, **learned):
                return {}

        with pytest.raises(C3AlignError, match="hashable"):
            C3Aligner(mapping=Loose()).fit(rows()[0])

    @given(st.integers(0, 2**32 - 1))
    def test_alike_modalities_are_only_centered(self, seed):
        X = np.random.default_rng(seed).normal(size=(60, 5)) + 1
        for name in ("barycenter", "coral", "gaussian_ot", "standardize"):
            found = C3Aligner(mapping=kind(name)).fit(X, X[::-1]).transform(X, modality="text")
            assert np.abs(found - C3Aligner().fit(X).transform(X, modality="text")).max() < 1e-6


class TestFile:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_of_narrow_rows(self, name, dtype):
        """What was learned of pairs in narrow dtypes does not contradict itself."""
        text, image = (X.astype(dtype) for X in rows())
        text[3], image[5] = 0, 0
        aligner = C3Aligner(mapping=kind(name), sigma=0.1, zero_rows="keep").fit(text, image)
        assert C3Aligner.from_bytes(aligner.to_bytes()).to_bytes() == aligner.to_bytes()
        (across,) = aligner.state_.across.values()
        assert across.n_rows == 398

    def test_loads_as_it_was(self, name, tmp_path):
        aligner, (text, image) = fitted(name, sigma=0.1), rows()
        aligner.save_pretrained(tmp_path)
        loaded = C3Aligner.from_pretrained(tmp_path)
        assert loaded.to_bytes() == aligner.to_bytes()
        assert loaded.mapping == aligner.mapping
        for X, modality in ((text, "text"), (image, "image")):
            found = loaded.transform(X, modality=modality)
            assert raw(found) == raw(aligner.transform(X, modality=modality))
        more, twin = aligner.partial_fit(text), loaded.partial_fit(text)
        assert more.to_bytes() == twin.to_bytes()

    def test_with_parameters(self):
        aligner = C3Aligner(mapping=Barycenter(strength=0.5, shrinkage="oas")).fit(*rows())
        assert C3Aligner.from_bytes(aligner.to_bytes()).mapping == Barycenter(strength=0.5, shrinkage="oas")

    def test_centering_stays_format_4(self):
        aligner = C3Aligner().fit(*rows())
        assert b'format_version\\": 4' in aligner.to_bytes()
        assert b'format_version\\": 5' in fitted("barycenter").to_bytes()

    def test_a_mapping_of_others_is_not_saved(self):
        from dataclasses import dataclass

        @dataclass(frozen=True)
        class Own(Center):
            pass

        aligner = C3Aligner(mapping=Own()).fit(rows()[0])
        aligner.transform(rows()[0], modality="text")
        with pytest.raises(C3AlignError, match=r"only c3align's own mappings can be saved.*set_params"):
            aligner.to_bytes()

    @pytest.mark.parametrize(
        "mapping",
        [
            "os:system",
            {"name": "os:system"},
            {"name": "barycenter"},
            {"name": "center", "strength": 2.0},
            {"name": "center", "strength": "1"},
            {"name": "center", "strength": True},
            {"name": "center", "strength": 1.0, "more": 1},
            {"name": "drop_unequal", "n_directions": 10**9, "shrinkage": None},
            ["center"],
            None,
        ],
    )
    def test_no_file_names_another_mapping(self, mapping):
        from c3align import _state_tensors, persistence
        from c3align.io import container

        aligner = fitted("barycenter")
        config = persistence._config(aligner.get_params(), aligner.state_)
        config["settings"]["mapping"] = mapping
        content = container.dump(_state_tensors.tensors(aligner.state_), config)
        with pytest.raises(FormatError, match="its settings do not fit"):
            parse(content)


class TestModule:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_it_is_the_aligner(self, name, dtype):
        aligner = fitted(name, sigma=0.1)
        module, X = aligner.as_module(), torch.from_numpy(rows()[0]).to(dtype)
        noisy = module(X, row_offset=7)
        assert noisy.dtype == dtype
        assert (noisy - aligner.corrupt(X, row_offset=7)).abs().max() < DTYPES[str(dtype)[6:]]
        aligned = module.eval()(X)
        assert (aligned - aligner.transform(X, modality="text")).abs().max() < DTYPES[str(dtype)[6:]]

    @pytest.mark.parametrize("name", ["barycenter", "standardize", "realign"])
    @pytest.mark.parametrize("train", [True, False])
    def test_gradients_by_finite_differences(self, name, train):
        module = fitted(name, sigma=0.1).as_module().train(train)
        X = torch.from_numpy(rows()[0][:3]).requires_grad_()
        module(X, "text")
        place = {"row_offset": 3} if train else {}
        assert torch.autograd.gradcheck(lambda X: module(X, "text", **place), (X,))

    @pytest.mark.parametrize("name", ["barycenter", "standardize"])
    def test_compiled_whole(self, name):
        torch._dynamo.reset()
        module, X = fitted(name, sigma=0.1).as_module(), torch.from_numpy(rows()[0][:8])
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        assert (compiled(X, row_offset=3) - module(X, row_offset=3)).abs().max() < 1e-12
        assert (compiled.eval()(X) - module.eval()(X)).abs().max() < 1e-12

    def test_no_mean_of_the_rows_own(self):
        with pytest.raises(C3AlignError, match="takes rows of a fitted modality"):
            fitted("barycenter").as_module()(torch.from_numpy(rows()[0]), "batch")


class TestCalibrate:
    def test_scores_of_aligned_rows(self):
        for name in ("center", "barycenter"):
            aligner = C3Aligner(mapping=name, second_moments=True).fit(*rows(1, 2000))
            found = aligner.calibrate()
            assert found.modalities == ("image", "text")
            text, image = (aligner.transform(X, modality=m) for X, m in zip(rows(2, 300), ("text", "image")))
            z = found.score(text, image, query="text", document="image")
            off = ~np.eye(len(z), dtype=bool)
            assert abs(z[off].mean()) < 0.05
            assert abs(z[off].std() - 1) < 0.05
            assert np.diag(z).mean() > 2
            again = found.z_scores(text @ image.T, query="text", document="image")
            assert np.abs(again - z).max() < 1e-4
            with pytest.raises(C3AlignError, match="scores must be cosines"):
                found.z_scores(2 * text @ image.T, query="text", document="image")

    def test_loaded_it_is_the_same(self):
        aligner = C3Aligner(second_moments=True).fit(*rows(1, 2000))
        twin = C3Aligner.from_bytes(aligner.to_bytes())
        assert str(twin.calibrate()) == str(aligner.calibrate())

    def test_pairs_are_related(self):
        """Partners, also several captions of one picture, are no unrelated rows."""
        text, image = rows(1, 40)
        aligner = C3Aligner(second_moments=True).fit(np.repeat(text, 1, axis=0), image)
        found = aligner.calibrate()
        i, j = found.modalities.index("text"), found.modalities.index("image")
        assert found.n_scores[i, j] == 40 * 39
        captions, pictures = rows(3, 200)[0], np.repeat(rows(1, 40)[1], 5, axis=0)
        captions = pictures + 0.5 * captions
        several = C3Aligner(second_moments=True).fit(captions, pictures).calibrate()
        assert several.n_scores[i, j] == 200 * 39

    def test_the_same_for_any_split(self):
        """Five captions of a picture, one at a time, or as two modalities of one hub."""
        rng = np.random.default_rng(0)
        things = rng.normal(size=(60, 16))
        text = np.repeat(things, 5, axis=0) + 0.3 * rng.normal(size=(300, 16)) - 1
        image = things + 0.3 * rng.normal(size=(60, 16)) + 1
        whole = C3Aligner(second_moments=True).fit(text, np.repeat(image, 5, axis=0))
        parts, shuffled, back = (C3Aligner(second_moments=True) for _ in range(3))
        for j in range(5):
            parts.partial_fit(text[j::5], image)
            back.partial_fit(image, text[j::5], modality="image", y_modality="text")
        order = rng.permutation(300)
        for part in np.array_split(order, 7):
            shuffled.partial_fit(text[part], image[part // 5])
        for other in (parts, shuffled, back):
            for name, sample in whole.state_.samples.items():
                found = other.state_.samples[name]
                assert all(np.array_equal(getattr(found, part), getattr(sample, part)) for part in vars(sample))
            assert str(other.calibrate()) == str(whole.calibrate())
        i, j = (whole.calibrate().modalities.index(name) for name in ("text", "image"))
        assert whole.calibrate().n_scores[i, j] == 300 * 59
        assert whole.calibrate().n_scores[i, i] == 300 * 295 // 2

    def test_one_thing_in_three_modalities(self):
        text, image = rows(1, 40)
        audio = image + 0.1 * rows(2, 40)[0]
        hub = C3Aligner(second_moments=True).fit(image, text, modality="image", y_modality="text")
        hub.partial_fit(image, audio, modality="image", y_modality="audio")
        assert set(np.unique(hub.calibrate().n_scores)) == {40 * 39, 40 * 39 // 2}

    def test_frames(self):
        aligner = C3Aligner(second_moments=True).set_output(transform="pandas").fit(*rows(1, 300))
        assert str(aligner.calibrate()) == str(C3Aligner(second_moments=True).fit(*rows(1, 300)).calibrate())

    def test_without_a_sample(self):
        with pytest.raises(C3AlignError, match="second_moments=True"):
            C3Aligner().fit(*rows()).calibrate()


def test_statistics_are_what_they_were(name):
    """A mapping changes what rows become, not what is learned of them."""
    aligner, plain = fitted(name), C3Aligner().fit(*rows())
    for modality in ("text", "image"):
        assert raw(aligner.statistics_[modality].sums) == raw(plain.statistics_[modality].sums)
    (pairs,) = aligner.pairs_.values()
    assert raw(pairs.sums) == raw(next(iter(plain.pairs_.values())).sums)
    for modality, X in zip(("text", "image"), rows()):
        if found := aligner.second_moments_.get(modality):
            assert np.abs(found.covariance - CovarianceStatistics.from_rows(X).covariance).max() < 1e-12
    shaped = fitted(name, noise="residual", noise_cosine=0.9).covariances_["image", "text"]
    assert np.abs(shaped.covariance - PairCovariance.from_rows(*rows()).covariance).max() < 1e-12


class TestTensorsElsewhere:
    """The path of devices, on CPU tensors."""

    def test_it_is_the_hosts(self, name, as_if_on_a_device):
        text, image = (torch.from_numpy(X) for X in rows())
        aligner = C3Aligner(mapping=kind(name), sigma=0.1).fit(text, image)
        host = fitted(name, sigma=0.1)
        for X, modality in ((text, "text"), (image, "image")):
            found = aligner.transform(X, modality=modality)
            assert (found - torch.from_numpy(host.transform(X.numpy(), modality=modality))).abs().max() < 1e-10
            found = aligner.corrupt(X, modality=modality)
            assert (found - torch.from_numpy(host.corrupt(X.numpy(), modality=modality))).abs().max() < 1e-10
        if name not in DROPS | CURVED:
            found = aligner.translate(text, source="text", target="image")
            goal = host.translate(text.numpy(), source="text", target="image")
            assert (found - torch.from_numpy(goal)).abs().max() < 1e-10


def test_a_sketch_of_other_rows():
    aligner = fitted("quantile")
    state = aligner.state_
    sketches = {name: sketch + sketch for name, sketch in state.sketches.items()}
    aligner.state_ = replace(state, sketches=sketches)
    with pytest.raises(C3AlignError, match="quantiles are of another number of rows"):
        aligner.to_bytes()


class TestWhatOutsidersFound:
    def test_numbers_of_other_rows(self, monkeypatch):
        """Blocks are cut out of row_ids only once these are known to be as many as the rows."""
        monkeypatch.setattr(mappings.rows, "_BLOCK_ELEMENTS", 500 * N_DIMS)
        aligner, X = C3Aligner(mapping="barycenter").fit(*rows()), np.repeat(rows()[0], 5, axis=0)
        for ids in (np.arange(4000), np.arange(3)):
            with pytest.raises(C3AlignError, match=f"row_ids has shape .{len(ids)},. and X has 2000 rows"):
                aligner.corrupt(X, row_ids=ids)
        with pytest.raises(C3AlignError, match="leaves no room for 2000 rows"):
            aligner.corrupt(X, row_offset=2**64 - 5)

    def test_rows_that_repeat(self):
        """The sample by which the centroid is reached has them as often as they came."""
        rng = np.random.default_rng(0)
        things = rng.normal(size=(400, 32))
        text, image = things + rng.normal(size=32), things + rng.normal(size=32)
        text = np.concatenate([text, np.repeat(text[:1], 400, axis=0)])
        aligner = C3Aligner(mapping="realign").fit(text).partial_fit(image, modality="image")
        missed = aligner.transform(text, modality="text").mean(axis=0) - unit(image).mean(axis=0)
        assert np.linalg.norm(missed) < 1e-6

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_row_at_the_mean_of_quantiles(self, dtype):
        one = rows()[0][:1].astype(dtype)
        aligner = C3Aligner(mapping="quantile", sigma=0.1).fit(np.repeat(one, 5, axis=0))
        aligner.partial_fit(rows()[1], modality="image")
        with pytest.raises(C3AlignError, match="no direction"):
            aligner.transform(one, modality="text")
        assert not aligner.set_params(zero_rows="keep").transform(one, modality="text").any()

    def test_an_iteration_ends(self):
        """Where nothing but rounding is left to gain, and after ten thousand steps."""
        text, image = rows()
        aligner = C3Aligner(mapping=Realign(tolerance=0.0, max_steps=10_000)).fit(text, image)
        aligner.transform(text, modality="text")
        for wrong in ({"max_steps": 10**5}, {"max_steps": 0}, {"tolerance": -1}, {"tolerance": "a"}):
            for made in (Realign, Barycenter):
                with pytest.raises(C3AlignError, match=f"{next(iter(wrong))} must be"):
                    made(**wrong)

    def test_one_row_beside_many(self):
        for seed in range(10):
            rng = np.random.default_rng(seed)
            image = rng.normal(size=(300, 64)) + 1
            aligner = C3Aligner(second_moments=True).fit(rng.normal(size=(1, 64)))
            aligner.partial_fit(image, modality="image").transform(image, modality="image")

    @pytest.mark.parametrize(
        "settings",
        [
            {"mapping": Center(np.float32(0.5))},
            {"mapping": mappings.CCA(np.int64(5))},
            {"noise": Noise("own", power=np.float32(2))},
            {"noise": Noise("own", power=2)},
            {"noise": Noise("own", power=1e3)},
        ],
    )
    def test_numbers_of_any_type_are_saved(self, settings):
        aligner = C3Aligner(**settings).fit(*rows())
        twin = C3Aligner.from_bytes(aligner.to_bytes())
        assert raw(twin.corrupt(rows()[0])) == raw(aligner.corrupt(rows()[0]))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Center("x"),
            lambda: C3Aligner(mapping=mappings.CCA(2.5)).fit(*rows()).transform(rows()[0], modality="text"),
            lambda: mappings.Ridge(alpha="1"),
            lambda: Noise("own", power="1"),
            lambda: Noise(fixed_norm="no"),
        ],
    )
    def test_parameters_of_other_types(self, make):
        with pytest.raises(C3AlignError):
            make()

    def test_a_mapping_that_forgets_a_modality(self):
        class Forgets(Center):
            def solve(self, statistics, **learned):
                return {"text": super().solve(statistics)["text"]}

        aligner = C3Aligner(mapping=Forgets()).fit(*rows())
        with pytest.raises(C3AlignError, match="no map for 'image'"):
            aligner.transform(rows()[1], modality="image")
