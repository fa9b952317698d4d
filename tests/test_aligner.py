"""`C3Aligner` on real embeddings first, then its promises: P2, P5, P10, P11, the table of means, the closed forms."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle  # of the user's own estimators, as scikit-learn's tools do; the library itself never loads one
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import c3align
from c3align import C3Aligner, export, mappings, ops
from c3align.errors import C3AlignError, EncoderMismatchError, ModalityMeanWarning
from tests import strategies
from tests.test_ops import raw


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def centred(rows):
    return unit(unit(rows) - unit(rows).mean(axis=0))


def recall_at_1(queries, targets):
    return float(((queries @ targets.T).argmax(axis=1) == np.arange(len(queries))).mean())


@pytest.fixture
def pairs():
    """Two modalities with a gap (200, 24), float32, raw norms far from 1."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((200, 24)) @ rng.standard_normal((24, 24)) / 20
    text = shared + 2 * np.eye(24)[0] + 0.1 * rng.standard_normal((200, 24))
    image = shared - 2 * np.eye(24)[1] + 0.1 * rng.standard_normal((200, 24))
    return 3 * text.astype("f4"), 20 * image.astype("f4")


@pytest.fixture
def fitted(pairs):
    return C3Aligner().fit(*pairs)


class TestOnRealEmbeddings:
    def test_the_promised_line(self, coco):
        """fit(text).transform(image) centres by the image mean, warns once and names the mend; text does not warn."""
        image, text = coco
        aligner = C3Aligner().fit(text)
        with pytest.warns(ModalityMeanWarning, match=r"partial_fit\(X, modality='image'\)") as caught:
            aligned = aligner.transform(image)
        assert len(caught) == 1
        assert "0.85 from its mean" in str(caught[0].message)
        assert np.abs(aligned - centred(image)).max() < 1e-6
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            own = aligner.transform(text)
        assert np.abs(own - centred(text)).max() < 1e-6
        assert [recall_at_1(unit(image), unit(text)), recall_at_1(unit(text), unit(image))] == [0.552, 0.506]
        assert [recall_at_1(aligned, own), recall_at_1(own, aligned)] == [0.542, 0.5]

    def test_gap_and_residual(self, coco):
        image, text = coco
        report = C3Aligner().fit(text, image).gap()
        assert report.norm == pytest.approx(0.851, abs=5e-4)
        assert report.pair_cosine == pytest.approx(0.310, abs=5e-4)
        assert np.abs(report.vector - (unit(image).mean(axis=0) - unit(text).mean(axis=0))).max() < 1e-7
        assert "image and text lie 0.851" in str(report)
        assert "500 pairs" in str(report)

    @pytest.mark.parametrize("name", ["coco", "convirt", "clap", "glyphs"])
    @pytest.mark.parametrize("mapping", ["center", "barycenter"])
    def test_inverse_of_raw_rows(self, real_rows, name, mapping):
        """Said of raw rows from eight on; of aligned ones never."""
        (x, X), (y, Y) = real_rows[name].items()
        aligner = C3Aligner(mapping=mapping).fit(X, modality=x).partial_fit(Y, modality=y)
        for modality, rows in ((x, X), (y, Y)):
            aligned = aligner.transform(rows, modality=modality)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                aligner.inverse_transform(aligned, modality=modality)
                for i in range(0, len(aligned) - 8, 8):
                    aligner.inverse_transform(aligned[i : i + 8], modality=modality)
                aligner.inverse_transform(rows[:7], modality=modality)
            with pytest.warns(ModalityMeanWarning, match="look like raw rows of .* pass what transform gave") as told:
                aligner.inverse_transform(3 * rows, modality=modality)
            assert told[0].filename == __file__

    @pytest.mark.parametrize("mapping", [*mappings.available(), mappings.Center(strength=0.4)], ids=str)
    def test_no_mapping_makes_raw_rows_of_aligned_ones(self, coco, mapping):
        """Some leave aligned rows around a mean of their own."""
        for renormalize in (True, False):
            aligner = C3Aligner(mapping=mapping, renormalize=renormalize, sigma=0.1).fit(coco[1], coco[0])
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for name, rows in zip(("image", "text"), coco):
                    with contextlib.suppress(C3AlignError):  # of mappings that have no way back
                        aligner.inverse_transform(aligner.transform(rows, modality=name), modality=name)

    def test_gap_of_rows_that_are_all_alike(self):
        assert "residual sigma 0.0000" in str(C3Aligner().fit(np.ones((5, 4)), np.ones((5, 4))).gap())

    def test_merge_of_what_is_no_aligner(self, coco):
        with pytest.raises(C3AlignError, match="the other must be a C3Aligner, got 'folder'; load one by"):
            C3Aligner().fit(coco[1]).merge("folder")

    def test_rows_that_numpy_sees_otherwise(self, coco):
        """A view of negatives, which torch calls lazy, and a masked array without a mask."""
        rows = torch.tensor(coco[1][:50])
        lazy = torch.view_as_complex(torch.stack([rows, -rows], -1)).conj().imag
        assert lazy.is_neg()
        whole = C3Aligner().fit(coco[1][:50]).to_bytes()
        for X in (lazy, np.ma.array(coco[1][:50]), np.ma.array(coco[1][:50], mask=np.zeros((50, 512), bool))):
            assert C3Aligner().fit(X).to_bytes() == whole

    def test_merge_names_the_one_that_learned_nothing(self, coco):
        with pytest.raises(NotFittedError, match="the other C3Aligner has learned nothing yet"):
            C3Aligner().fit(coco[1]).merge(C3Aligner())

    def test_merge_into_one_that_learned_nothing(self, coco):
        parts = [C3Aligner().fit(coco[1][part], coco[0][part]) for part in (slice(0, 300), slice(300, None))]
        whole = functools.reduce(C3Aligner.merge, parts, C3Aligner())
        assert whole.to_bytes() == C3Aligner().fit(coco[1], coco[0]).to_bytes()
        with pytest.raises(C3AlignError, match="learned without their products across"):
            C3Aligner(mapping="coral").merge(parts[1])

    def test_gap_of_modalities_of_other_names(self, coco):
        aligner = C3Aligner().fit(coco[1], coco[0], modality="caption", y_modality="audio")
        assert str(aligner.gap()) == str(aligner.gap("audio", "caption"))
        with pytest.raises(NotFittedError, match="no mean was learned for modality 'text'"):
            aligner.gap("audio", "text")
        aligner.partial_fit(coco[1][:9], modality="third")
        with pytest.raises(C3AlignError, match=r"modalities are fitted .'audio', 'caption', 'third'.; name two"):
            aligner.gap()

    def test_noise_is_told_for_each_side_where_it_is_unequal(self, coco):
        image, text = coco
        near = image.mean(axis=0) + 0.05 * (image - image.mean(axis=0))
        aligner = C3Aligner().fit(text, near)
        told = re.search(r"cosine of ([.0-9]+) for image rows, and ([.0-9]+) for text", str(aligner.gap()))
        for cosine, (rows, name) in zip(told.groups(), ((near, "image"), (text, "text"))):
            products = (aligner.transform(rows, modality=name) * aligner.corrupt(rows, modality=name)).sum(axis=1)
            assert float(cosine) == pytest.approx(products.mean(), abs=0.02)

    def test_a_gap_is_of_those_that_are_asked_for(self, coco):
        image, text = coco
        aligner = C3Aligner().fit(text, image, modality="audio")
        for wrong in (("image", "text"), ("text",), ("auto", "image"), (None, "batch")):
            with pytest.raises((NotFittedError, C3AlignError), match="modality"):
                aligner.gap(*wrong)
        for names in (("image",), ("image", None), (None, "audio"), ("image", "audio")):
            assert (aligner.gap(*names).a, aligner.gap(*names).b) == ("image", "audio")
        assert (aligner.gap().a, aligner.gap("audio").b) == ("audio", "image")
        aligner.partial_fit(text, modality="text")
        assert [aligner.gap(name).b for name in ("audio", "image", "text")] == ["text", "text", "image"]

    def test_the_error_of_the_gap_of_pairs(self, coco):
        """Partners vary together: over halves drawn at random the gap varies by what it says, half as much as apart."""
        image, text = coco
        true, rng, errors = C3Aligner().fit(text, image).gap(), np.random.default_rng(0), []
        for _ in range(40):
            half = rng.permutation(500)[:100]
            found = C3Aligner().fit(text[half], image[half]).gap()
            errors.append(((found.vector - true.vector) ** 2).sum() / (1 - 100 / 500))
        assert np.sqrt(np.mean(errors)) == pytest.approx(found.standard_error, rel=0.1)
        alone = C3Aligner().fit(text[half]).partial_fit(image[half], modality="image").gap()
        assert alone.standard_error > 1.2 * found.standard_error

    def test_one_row_or_pair_is_not_certain(self, coco):
        image, text = coco
        one = C3Aligner().fit(text[:1], image[:1]).gap()
        assert (one.standard_error, one.sigma, one.noise_cosine) == (np.inf, None, None)
        assert re.search(r"\+- inf apart; .*; 1 pair: mean cosine 0\.\d{3}$", str(one))
        assert C3Aligner().fit(text[:2], image[:2]).gap().sigma > 0

    @pytest.mark.parametrize("mapping", ["center", "barycenter"])
    def test_pairs_without_a_residual_do_not_count(self, coco, mapping):
        """Of one pair, and of none that has a direction, beside pairs that tell."""
        image, text = (rows[:, :96] for rows in coco)
        aligner = C3Aligner(mapping=mapping, noise="residual", zero_rows="keep").fit(text, image)
        before = aligner.sigma_
        aligner.partial_fit(text[:1], image[:1], modality="one", y_modality="other")
        aligner.partial_fit(text[:3], 0 * image[:3], y_modality="audio")
        for name in ("one", "other", "audio"):
            aligner.partial_fit(image[:9], modality=name)
        assert aligner.sigma_ == pytest.approx(before, rel=0.05)  # the mapping sees other rows too
        assert np.isfinite(aligner.corrupt(text)).all()
        assert aligner.gap("text", "audio").n_pairs == 0
        single = C3Aligner().fit(text[:1], image[:1]).partial_fit(text[:1], image[1:2], modality="audio")
        assert single.sigma_ == C3Aligner().fit(text).sigma_  # the paper's

    def test_a_mean_that_was_not_kept(self, coco):
        """Rows that went by their own mean do not come back by a fitted one's."""
        image, text = coco
        aligner = C3Aligner(second_moments=True).fit(text)
        aligned = aligner.transform(image, modality="batch")
        calls = [lambda: aligner.inverse_transform(aligned, modality="batch")]
        for name in ("auto", "batch"):
            calls += [
                lambda name=name: aligner.drift(image, modality=name),
                lambda name=name: export.affine(aligner, name),
                lambda name=name: aligner.translate(image, source=name, target="text"),
            ]
        for call in calls:
            with pytest.raises(C3AlignError, match=r"modality must be a fitted one, got '(auto|batch)'"):
                call()

    def test_gap_before_training(self, coco_random):
        image, text = coco_random
        aligner = C3Aligner().fit(text).partial_fit(image, modality="image")
        assert aligner.gap().norm == pytest.approx(1.1361, abs=5e-5)
        assert aligner.gap().n_pairs == 0

    def test_every_single_row_finds_its_modality(self, coco):
        image, text = coco
        aligner = C3Aligner().fit(text, image)
        for modality, rows in {"image": image, "text": text}.items():
            whole = aligner.transform(rows, modality=modality)
            for i in range(0, 500, 7):
                assert raw(aligner.transform(rows[i : i + 1])) == raw(whole[i : i + 1])

    def test_single_rows_of_the_fitted_modality_are_quiet(self, coco):
        """One row lies as far from its mean as rows do; that is sampling, not a gap."""
        aligner = C3Aligner().fit(coco[1])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for row in coco[1]:
                aligner.transform(row[None])
        assert len(caught) <= 2

    def test_sigma(self, coco):
        image, text = coco
        assert C3Aligner().fit(text).sigma_ == pytest.approx(np.sqrt(0.016))
        residual = unit(image) - unit(text)
        expected = (residual - residual.mean(axis=0)).std()
        assert C3Aligner().fit(text, image).sigma_ == pytest.approx(expected, rel=1e-6)
        assert C3Aligner(sigma=0.3).fit(text, image).sigma_ == 0.3
        aligner = C3Aligner(noise_cosine=0.4).fit(text)
        clean, noisy = aligner.transform(text), aligner.corrupt(text)
        assert (clean * noisy).sum(axis=1).mean() == pytest.approx(0.4, abs=0.02)


class TestWhichMean:
    def test_a_name(self, fitted, pairs):
        _, image = pairs
        assert raw(fitted.transform(image, modality="image")) == raw(ops.align(image, fitted.statistics_["image"].mean))

    def test_a_wrong_name_warns(self, fitted, pairs):
        with pytest.warns(ModalityMeanWarning, match="given as modality='text'"):
            fitted.transform(pairs[1], modality="text")

    def test_an_unknown_name(self, fitted, pairs):
        with pytest.raises(NotFittedError, match=r"'audio' \(learned: 'image', 'text'\).*partial_fit\(X, modality='au"):
            fitted.transform(pairs[0], modality="audio")

    def test_nearest_of_two(self, fitted, pairs):
        for rows, name in zip(pairs, ("text", "image")):
            assert raw(fitted.transform(rows)) == raw(fitted.transform(rows, modality=name))

    def test_the_warning_points_at_the_caller(self, fitted, pairs):
        for method in (fitted.transform, fitted.corrupt):
            with pytest.warns(ModalityMeanWarning) as caught:
                method(pairs[1], modality="text")
            assert caught[0].filename == __file__

    def test_none_near(self, fitted, pairs):
        text, image = pairs
        with pytest.raises(C3AlignError, match="pass modality="):
            fitted.transform(np.concatenate([unit(text), unit(image)]))
        with pytest.raises(C3AlignError, match="pass modality="):
            fitted.transform(-text)

    def test_one_fitted_and_few_rows_far(self, pairs):
        text, image = pairs
        aligner = C3Aligner().fit(text)
        for n in range(1, 8):
            with pytest.raises(C3AlignError, match=rf"too few \({n}\).*if they are 'text', pass modality='text'"):
                aligner.transform(image[:n])
        with pytest.warns(ModalityMeanWarning, match="their own mean"):
            aligned = aligner.transform(image[:8])
        assert np.abs(aligned - centred(image[:8])).max() < 1e-6

    def test_batch(self, fitted, pairs):
        assert np.abs(fitted.transform(pairs[1], modality="batch") - centred(pairs[1])).max() < 1e-6

    @pytest.mark.parametrize("name", ["auto", "batch", "", 3, "a\nb", "x" * 300])
    def test_names_that_cannot_be(self, pairs, name):
        with pytest.raises(C3AlignError, match="modality"):
            C3Aligner().fit(pairs[0], modality=name)


class TestPromises:
    @given(rows=strategies.blocks(min_rows=3, dims=st.integers(2, 20)), data=st.data())
    def test_p1_partial_fits_and_merges(self, rows, data):
        aligner = C3Aligner(zero_rows="keep")
        whole = copy.deepcopy(aligner).fit(rows, rows[::-1])
        parts = [part for part in data.draw(strategies.partitions(len(rows))) if len(part)]
        pieces = [copy.deepcopy(aligner).partial_fit(rows[part], rows[::-1][part]) for part in parts]
        while len(pieces) > 1:
            i = data.draw(st.integers(0, len(pieces) - 2))
            pieces[i : i + 2] = [pieces[i].merge(pieces[i + 1])]
        assert pieces[0].statistics_ == whole.statistics_
        assert pieces[0].pairs_ == whole.pairs_
        assert pieces[0].sigma_ == whole.sigma_

    @pytest.mark.filterwarnings("ignore:no modality was named")
    def test_p1_order_of_modalities(self, pairs):
        text, image = pairs
        a = C3Aligner().fit(text).partial_fit(image, modality="image")
        b = C3Aligner().fit(image, modality="image").partial_fit(text)
        assert list(a.statistics_) == list(b.statistics_) == ["image", "text"]
        assert a.statistics_ == b.statistics_
        c = C3Aligner().fit(image, text, modality="image", y_modality="text")
        assert c.pairs_ == C3Aligner().fit(text, image).pairs_

    @given(data=st.data(), dtype=st.sampled_from(["float16", "float32", "float64"]))
    def test_p2_row_by_row(self, data, dtype):
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        rows = (rng.standard_normal((30, 17)) + 1).astype(dtype)
        aligner = C3Aligner().fit(rows)
        for method in (
            lambda X: aligner.transform(X, modality="text"),
            lambda X: aligner.inverse_transform(X, modality="text"),
            lambda X: aligner.translate(X, source="text", target="text"),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ModalityMeanWarning)
                whole = method(rows)
                chosen = data.draw(st.lists(st.integers(0, 29), min_size=1, max_size=5))
                assert raw(method(rows[chosen])) == raw(whole[chosen])

    @given(start=st.integers(0, 29), seed=strategies.SEEDS, offset=st.integers(0, 2**40))
    def test_corrupt_of_a_slice_is_the_slice(self, start, seed, offset):
        rows = np.random.default_rng(0).standard_normal((30, 9)) + 1
        aligner = C3Aligner().fit(rows)
        whole = aligner.corrupt(rows, seed=seed, row_offset=offset)
        part = aligner.corrupt(rows[start:], seed=seed, row_offset=offset + start)
        assert raw(part) == raw(whole[start:])

    def test_sigma_zero_is_transform(self, pairs):
        aligner = C3Aligner(sigma=0).fit(pairs[0])
        assert raw(aligner.corrupt(pairs[0])) == raw(aligner.transform(pairs[0]))

    @pytest.mark.parametrize("dtype", strategies.DTYPES)
    def test_numpy_and_torch_agree(self, fitted, pairs, dtype):
        text = torch.from_numpy(pairs[0]).to(getattr(torch, dtype))
        aligned = fitted.transform(text)
        assert aligned.dtype == text.dtype
        if dtype != "bfloat16":
            assert raw(aligned) == raw(fitted.transform(text.numpy()))
            assert raw(fitted.corrupt(text)) == raw(fitted.corrupt(text.numpy()))
        again = C3Aligner().fit(text)
        assert (
            again.statistics_["text"]
            == C3Aligner().fit(text.float() if dtype != "float64" else text).statistics_["text"]
        )
        assert fitted.translate(text, source="text", target="image").dtype == text.dtype
        assert fitted.inverse_transform(aligned, modality="text").dtype == text.dtype

    def test_p10_read_only_memmaps(self, pairs, tmp_path):
        for i, rows in enumerate(pairs):
            np.save(tmp_path / f"{i}.npy", rows)
        text, image = (np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in (0, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            aligner = C3Aligner().fit(text, image)
            assert raw(aligner.transform(text)) == raw(aligner.transform(pairs[0]))

    def test_p11_fingerprints(self, fitted, pairs):
        fitted.bind_encoder("open_clip:ViT-B-32/x")
        fitted.bind_encoder("open_clip:ViT-B-32/x")
        with pytest.raises(EncoderMismatchError, match="come from the encoder open_clip"):
            fitted.bind_encoder("glyphs")
        other = C3Aligner().fit(*pairs).bind_encoder("glyphs")
        with pytest.raises(EncoderMismatchError, match="different encoders"):
            fitted.merge(other)
        unbound = C3Aligner().fit(*pairs).merge(fitted)
        assert unbound.encoder_fingerprint_ == "open_clip:ViT-B-32/x"
        assert fitted.fit(*pairs).encoder_fingerprint_ is None
        with pytest.raises(C3AlignError, match="fingerprint must be"):
            fitted.bind_encoder("")


def bad_inputs():
    good = np.random.default_rng(0).standard_normal((10, 6))
    nan, inf, zero = good.copy(), good.copy(), good.copy()
    nan[3, 2], inf[4, 1], zero[5] = np.nan, -np.inf, 0
    return {
        "NaN": (nan, "NaN or infinity in 1 of 10 rows, first in row 3"),
        "infinity": (inf, "NaN or infinity in 1 of 10 rows, first in row 4"),
        "zero row": (zero, "norm of zero or below .* in 1 of 10 rows, first in row 5"),
        "one dimension": (good[0], "Reshape your data"),
        "three dimensions": (good[None], "dim 3"),
        "no rows": (good[:0], "0 sample"),
        "no columns": (good[:, :0], "0 feature"),
        "complex": (good + 0j, "Complex data not supported"),
    }


class TestP5BadInput:
    @pytest.mark.parametrize("name", bad_inputs())
    @pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "corrupt"])
    def test_refused_alike_and_nothing_changes(self, name, method):
        bad, text = bad_inputs()[name]
        good = np.random.default_rng(1).standard_normal((20, 6))
        messages = []
        for rows in (bad, torch.from_numpy(bad)):
            aligner = C3Aligner().fit(good).bind_encoder("e")
            before = copy.deepcopy(vars(aligner))
            with pytest.raises(ValueError, match=text) as caught:
                getattr(aligner, method)(rows)
            messages.append((type(caught.value), str(caught.value)))
            assert vars(aligner) == before
        assert messages[0] == messages[1]

    @pytest.mark.parametrize("name", ["NaN", "zero row", "one dimension"])
    def test_an_unfitted_aligner_stays_unfitted(self, name):
        aligner = C3Aligner()
        before = dict(vars(aligner))
        if name != "one dimension":
            with pytest.raises(ValueError, match="y "):
                aligner.fit(np.ones((10, 6)), bad_inputs()[name][0])
        with pytest.raises(ValueError):  # noqa: PT011  the text is checked above
            aligner.fit(bad_inputs()[name][0])
        assert vars(aligner) == before

    def test_wrong_width(self, fitted):
        for rows in (np.ones((4, 7)), torch.ones(4, 7)):
            with pytest.raises(ValueError, match="X has 7 features, but C3Aligner is expecting 24 features"):
                fitted.transform(rows)

    def test_other_kinds(self, fitted):
        from scipy import sparse

        with pytest.raises(TypeError, match=r"Sparse data was passed.*toarray"):
            fitted.transform(sparse.eye(24).tocsr())
        with pytest.raises(ValueError, match=r"is sparse.*to_dense"):
            fitted.transform(torch.eye(24).to_sparse())
        with pytest.raises(ValueError, match="is masked"):
            fitted.transform(np.ma.masked_array(np.eye(24), np.eye(24) > 0))
        with pytest.raises(ValueError, match="texts or records and not embeddings"):
            fitted.transform(np.array([["a"] * 24], dtype=object))
        with pytest.raises(ValueError, match=r"requires a gradient.*detach"):
            fitted.transform(torch.eye(24, requires_grad=True))

    def test_integers_become_float64_as_everywhere_in_scikit_learn(self, fitted, pairs):
        counts = np.rint(pairs[0]).astype(int)
        for rows in (counts, torch.from_numpy(counts)):
            assert raw(fitted.transform(rows)) == raw(fitted.transform(counts.astype(float)))

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({"mapping": "warp"}, "mapping must be one of .*'warp'"),
            ({"noise": "uniform"}, "noise must be one of 'isotropic', .*got 'uniform'"),
            ({"renormalize": "yes"}, "renormalize must be one of True, False, got 'yes'"),
            ({"zero_rows": "drop"}, "zero_rows must be one of .*, got 'drop'"),
            ({"noise_cosine": 0.0}, r"noise_cosine must be .*, got 0.0"),
            ({"noise_cosine": "low"}, "got 'low'"),
            ({"sigma": -1}, "sigma must be .*, got -1"),
            ({"sigma": float("nan")}, "sigma must be .*, got nan"),
            ({"seed": -1}, "seed must be .*, got -1"),
            ({"seed": 1.5}, "seed must be .*, got 1.5"),
        ],
    )
    def test_settings(self, pairs, settings, text):
        with pytest.raises(C3AlignError, match=text):
            C3Aligner(**settings).fit(pairs[0])

    def test_pairs_that_do_not_fit(self, pairs):
        text, image = pairs
        with pytest.raises(ValueError, match="y must have one row for each of X's, got 199 for 200"):
            C3Aligner().fit(text, image[:-1])
        with pytest.raises(C3AlignError, match="y has 23 columns and X 24"):
            C3Aligner().fit(text, image[:, :-1], y_modality="image")
        with pytest.raises(C3AlignError, match="y has 96 columns and X 24"):
            C3Aligner().fit(text, np.tile(image, 4))
        with pytest.raises(C3AlignError, match="both 'text'"):
            C3Aligner().fit(text, image, y_modality="text")

    def test_zero_rows_kept(self, pairs):
        text, _ = pairs
        holed = text.copy()
        holed[[3, 7]] = 0
        aligner = C3Aligner(zero_rows="keep").fit(holed)
        assert (aligner.statistics_["text"].n_rows, aligner.statistics_["text"].n_zero_rows) == (198, 2)
        without = C3Aligner().fit(np.delete(text, [3, 7], axis=0))
        assert raw(aligner.statistics_["text"].mean) == raw(without.statistics_["text"].mean)
        for result in (aligner.transform(holed), aligner.translate(holed, source="text", target="text")):
            assert not result[[3, 7]].any()
        assert not aligner.inverse_transform(aligner.transform(holed), modality="text")[[3, 7]].any()


class TestWayBack:
    def test_what_is_no_mean_of_unit_rows_has_no_way_back(self):
        X = np.ones((3, 4), np.float32)
        for goal in (np.array([1.5, 0, 0, 0]), torch.tensor([1.5, 0, 0, 0])):
            for call in (lambda goal=goal: ops.invert(X, goal), lambda goal=goal: ops.translate(X, np.zeros(4), goal)):
                with pytest.raises(C3AlignError, match=r"of norm 1 at most, got a norm of 1\.5"):
                    call()

    @pytest.mark.parametrize("norm", [np.nan, np.inf, -1, 0, 1e39, "1", True, 2**10000])
    def test_norms_that_no_row_has(self, norm):
        with pytest.raises(C3AlignError, match="norm must be a number in"):
            ops.translate(np.ones((3, 4)), np.zeros(4), np.zeros(4), norm=norm)

    @given(rows=strategies.blocks(min_rows=4, dims=st.integers(3, 64), dtype="float64"), renormalize=st.booleans())
    def test_inverse_transform(self, rows, renormalize):
        rows = rows + np.abs(rows).max(axis=1, keepdims=True) * np.random.default_rng(0).uniform(0, 1, rows.shape)
        aligner = C3Aligner(renormalize=renormalize).fit(rows)
        mean = aligner.statistics_["text"].mean
        distance = np.linalg.norm(unit(rows) - mean, axis=1)
        if distance.min() < 1e-3:  # a row at the mean keeps no direction to come back from
            return
        back = aligner.inverse_transform(aligner.transform(rows, modality="text"), modality="text")
        assert np.abs(back - unit(rows)).max() < 1e-12 / distance.min()

    def test_translate(self, fitted, pairs):
        text, image = pairs
        moved = fitted.translate(text, source="text", target="image")
        norms = np.linalg.norm(moved, axis=1)
        assert norms == pytest.approx(np.linalg.norm(image.astype(float), axis=1).mean(), rel=1e-5)
        aligned = fitted.transform(moved, modality="image")
        assert np.abs(aligned - fitted.transform(text, modality="text")).max() < 1e-5
        own = fitted.translate(text, source="text", target="text")
        assert np.abs(unit(own) - unit(text)).max() < 1e-6

    def test_translated_texts_lie_with_their_images(self, coco):
        image, text = coco
        moved = C3Aligner().fit(text, image).translate(text, source="text", target="image")
        before, after = ((unit(rows) * unit(image)).sum(axis=1).mean() for rows in (text, moved))
        assert before < 0.32
        assert after > 0.65

    def test_module(self, fitted, pairs):
        rows = torch.from_numpy(pairs[0][:8])
        module = fitted.as_module()
        assert raw(module(rows)) != raw(module(rows))
        assert raw(module.eval()(rows)) == raw(fitted.transform(rows))


def test_rows_of_no_name_are_told_of_where_others_were_learned():
    """They were learned as texts without a word, beside the sounds that they are."""
    audio = np.random.default_rng(0).normal(1, 1, (60, 8))
    for arguments in ((audio[40:],), (audio[40:], audio[:20])):
        aligner = C3Aligner().fit(audio[:40], modality="audio")
        with pytest.warns(ModalityMeanWarning, match="'audio' was learned before: .* taken for 'text'") as told:
            aligner.partial_fit(*arguments)
        assert told[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        C3Aligner().fit(audio[:40], modality="audio").partial_fit(audio[40:], modality="text")
        C3Aligner().partial_fit(audio[:40]).partial_fit(audio[40:])
    with pytest.raises(NotFittedError, match="pass a learned one, or call partial_fit"):
        C3Aligner().fit(audio, modality="audio").corrupt(audio)


class TestInScikitLearn:
    def test_pipeline_and_search(self, pairs):
        text, _ = pairs
        X, y = np.concatenate([text, text]), np.arange(400) % 2
        pipeline = make_pipeline(C3Aligner(), KNeighborsClassifier(3))
        search = GridSearchCV(pipeline, {"c3aligner__renormalize": [True, False]}, cv=2).fit(X, y)
        assert search.best_estimator_.predict(X).shape == (400,)

    def test_frames(self, pairs):
        frame = pd.DataFrame(pairs[0], columns=[f"e{i}" for i in range(24)])
        aligner = C3Aligner().set_output(transform="pandas").fit(frame)
        aligned = aligner.transform(frame)
        assert list(aligned.columns) == list(frame.columns)
        assert raw(aligned.to_numpy()) == raw(C3Aligner().fit(pairs[0]).transform(pairs[0]))
        with pytest.raises(ValueError, match="feature names should match"):
            aligner.transform(frame[frame.columns[::-1]])

    def test_pickling_of_an_estimator(self, fitted, pairs):
        again = pickle.loads(pickle.dumps(fitted))
        assert raw(again.transform(pairs[0])) == raw(fitted.transform(pairs[0]))

    def test_not_fitted(self, pairs):
        for call in (
            lambda a: a.transform(pairs[0]),
            lambda a: a.gap(),
            lambda a: a.as_module(),
            lambda a: a.merge(a),
            lambda a: a.sigma_,
        ):
            with pytest.raises(NotFittedError, match="call fit"):
                call(C3Aligner())

    def test_public_names(self):
        for name in dir(c3align):
            if name not in ("report", "geometry", "datasets", "encoders"):
                assert getattr(c3align, name) is not None
        with pytest.raises(AttributeError, match="no attribute 'Aligner'"):
            c3align.Aligner  # noqa: B018
