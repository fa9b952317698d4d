"""Calibrated scores: what is predicted against what is seen on real rows kept apart, and on rows of all kinds."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c3align import C3Aligner, _held_out, _unrelated, mappings
from c3align import calibration as module
from c3align._unrelated import is_unequal
from c3align.calibration import Calibration
from c3align.errors import C3AlignError, CalibrationWarning
from c3align.merging import list_z_scores, merge_by_rank
from c3align.ops import arrays
from c3align.sample import RowSample, row_keys
from tests.test_ops import bad_rows

PAIRS = [("text", "image"), ("image", "text"), ("text", "text"), ("image", "image")]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def halves(pair, seed):
    """Aligned rows by modality of the half that was fitted and of the other, and the items' numbers."""
    rows = dict(zip(("image", "text"), pair))
    order = np.random.default_rng(seed).permutation(len(pair[0]))
    fitted, tested = np.split(order, 2)
    means = {name: unit(X[fitted]).mean(axis=0) for name, X in rows.items()}
    aligned = [{name: unit(unit(X[part]) - means[name]) for name, X in rows.items()} for part in (fitted, tested)]
    return *aligned, fitted, means


def calibrated(pair, seed=0, **how):
    fit, test, items, _ = halves(pair, seed)
    return Calibration.from_rows(fit, groups=dict.fromkeys(fit, items), **how), fit, test


def apart(scores):
    """Scores of row i with rows other than i: of rows that are not related."""
    return scores[~np.eye(len(scores), dtype=bool)]


def ndcg(scores, relevant):
    own = scores[np.arange(len(scores)), relevant]
    places = (scores > own[:, None]).sum(axis=1)
    return np.where(places < 10, 1 / np.log2(places + 2), 0).mean()


def mixed_index(pair, query, other, seed):
    """Gain of NDCG@10 over centered rows, and false positives of the own modality at 1 % of the other.

    The query's own item, where it is of the query's modality, has cosine .8 with it.
    """
    fit, test, items, means = halves(pair, seed)
    found = Calibration.from_rows(fit, groups=dict.fromkeys(fit, items))
    q, rng = test[query], np.random.default_rng(seed)
    raw = unit(pair[query == "text"])[rng.permutation(len(pair[0]))[len(items) :]]
    noise = rng.standard_normal(raw.shape) * 0.75 / np.sqrt(raw.shape[1])
    near, is_same = unit(unit(raw + noise) - means[query]), rng.random(len(q)) < 0.5

    def index(score):
        same, across = score(q, q, query), score(q, test[other], other)
        np.fill_diagonal(same, np.diagonal(score(q, near, query)))
        return same, across, ndcg(np.where(is_same, same, across), np.arange(len(q)))

    *_, plain = index(lambda a, b, document: a @ b.T)
    same, across, scaled = index(lambda a, b, document: found.score(a, b, query=query, document=document))
    return scaled - plain, (apart(same) > np.quantile(apart(across), 0.99)).mean() / 0.01


def heavy(n, d, seed=0):
    """Two modalities in one space, of unlike spectra: (text, image)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) / np.arange(1, d + 1) ** 0.5, rng.standard_normal((n, d))


@pytest.fixture
def small():
    text, image = heavy(300, 16)
    return Calibration.from_rows({"text": text, "image": image}), text, image


class TestRealRows:
    def test_deviations_are_those_that_rows_kept_apart_show(self, coco):
        off = []
        for seed in range(6):
            found, _, test = calibrated(coco, seed)
            seen = np.array([[apart(test[q] @ test[d].T).std() for d in ("image", "text")] for q in ("image", "text")])
            off.append(found.deviations / seen - 1)
            assert (np.abs(found.means) < 0.02 * seen).all()
        assert np.abs(np.mean(off, axis=0)).max() < 0.02
        assert np.abs(off).max() < 0.08  # 250 rows

    def test_the_figures_of_coco(self, coco):
        """Text with image .092 where .092 is seen; text with text .154, which covariances of 250 rows put at .17."""
        found, fit, _ = calibrated(coco)
        assert found.deviations[1, 0] == pytest.approx(0.092, abs=0.002)
        assert found.deviations[1, 1] == pytest.approx(0.154, abs=0.003)
        assert np.sqrt((np.cov(fit["text"].T, bias=True) ** 2).sum()) > 0.165

    def test_the_formula(self, coco):
        """For rows of two modalities, none related, the variance is that of the moments to rounding."""
        rows = {"text": unit(coco[1][:250] - coco[1].mean(0)), "image": unit(coco[0][250:])}
        with warnings.catch_warnings(action="ignore"):
            found = Calibration.from_rows(rows)
        (mq, md), (sq, sd) = zip(*[(X.mean(axis=0), np.cov(X.T.astype(float), bias=True)) for X in rows.values()])
        assert found.means[0, 1] == pytest.approx(mq @ md, abs=1e-6)
        assert found.deviations[0, 1] ** 2 == pytest.approx((sq * sd).sum() + mq @ sd @ mq + md @ sq @ md, rel=1e-5)

    @pytest.mark.parametrize("query", ["text", "image"])
    def test_mixed_index(self, coco, query):
        """Every item is in the index as its picture, or as a row of the query's own modality, by the toss of a coin."""
        other = "image" if query == "text" else "text"
        gains, ratios = zip(*[mixed_index(coco, query, other, seed) for seed in range(8)])
        assert np.mean(gains) >= 0.05
        assert np.mean(ratios) <= 1.6

    @pytest.mark.parametrize("rate", [0.01, 0.001])
    def test_thresholds_hold_on_rows_kept_apart(self, coco, rate):
        found = {pair: [] for pair in PAIRS}
        for seed in range(4):
            fitted, _, test = calibrated(coco, seed)
            for q, d in PAIRS:
                z = apart(fitted.score(test[q], test[d], query=q, document=d))
                found[q, d].append((z > fitted.threshold(false_positive_rate=rate, query=q, document=d)).mean())
        assert all(0.7 * rate < np.mean(rates) < 1.5 * rate for rates in found.values())

    def test_convirt_is_noticed_and_corrected(self, convirt):
        with pytest.warns(CalibrationWarning, match=r"'image' queries .* 0\.00% of 'image'.*merge_by_rank") as seen:
            found, _, test = calibrated(convirt)
        assert len(seen) == 1
        assert seen[0].filename == __file__
        assert found.uses_quantiles
        assert found.rates[0, 0, 0] < 0.002
        worst, plain = [], replace(found, uses_quantiles=False)
        for how in (found, plain):
            for query in ("text", "image"):
                limit = how.threshold(false_positive_rate=0.01, query=query)
                shares = [
                    (apart(how.score(test[query], test[d], query=query, document=d)) > limit).mean() for d in test
                ]
                worst.append(max(shares) / min(shares) if min(shares) else np.inf)
        assert max(worst[:2]) < 2.5 < 9 < min(worst[2:])
        with pytest.warns(CalibrationWarning, match="row_scale"):
            found.row_scale(query="text")

    def test_honest_encoders_raise_no_alarm(self, coco, clap):
        audio, text, labels = clap
        rows = {"audio": unit(audio - audio.mean(axis=0)), "text": unit(text - text.mean(axis=0))}
        with warnings.catch_warnings(action="error"):
            for seed in range(4):
                calibrated(coco, seed)
            found = Calibration.from_rows(rows, groups={"audio": labels, "text": np.arange(50)})
        assert (np.abs(found.rates[..., 0] - 0.01) < 0.003).all()
        assert "audio        text" in str(found)
        assert "z-scores by mean and deviation" in str(found)

    def test_few_class_prompts(self, clap):
        """One score in five is of a row's own class, and the mean is of the other four."""
        audio, text, labels = clap
        audio, labels = audio[labels < 5], labels[labels < 5]
        rows = {"audio": unit(audio - audio.mean(axis=0)), "text": unit(text[:5] - text[:5].mean(axis=0))}
        found = Calibration.from_rows(rows, groups={"audio": labels, "text": np.arange(5)})
        z = found.score(rows["audio"], rows["text"], query="audio", document="text")
        assert abs(z[labels[:, None] != np.arange(5)].mean()) < 0.01

    def test_probabilities_are_as_often_right_as_they_say(self, coco):
        fit, test, items, _ = halves(coco, 0)
        found = Calibration.from_rows(fit, groups=dict.fromkeys(fit, items))
        found = found.with_pairs(fit["text"], fit["image"], query="text", document="image")
        z = found.score(test["text"], test["image"], query="text", document="image")
        n = len(z)
        p = found.probability(z, query="text", document="image", prior=1 / n)
        assert p.dtype == np.float32
        assert p.sum() == pytest.approx(n, rel=0.25)  # one in n is right
        right = np.eye(n, dtype=bool)
        for low, high in [(0.02, 0.2), (0.2, 0.6), (0.6, 1)]:
            there = (p >= low) & (p < high)
            assert right[there].mean() == pytest.approx(p[there].mean(), abs=0.12)
        back = found.probability(z.T, query="image", document="text", prior=1 / n)
        assert np.array_equal(back, p.T)
        assert torch.allclose(
            found.probability(torch.from_numpy(z), query="text", document="image", prior=1 / n), torch.from_numpy(p)
        )


@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
class TestAnyRows:
    def test_chance_raises_no_alarm(self):
        """Sixty rows of a modality, of which by chance 3 or 30 in 1,770 scores are above what 1 % should be."""
        with warnings.catch_warnings(action="error"):
            for seed in range(40):
                a, b = np.random.default_rng(seed).standard_normal((2, 60, 64))
                Calibration.from_rows({"a": a, "b": b})

    @settings(max_examples=20)
    @given(seed=st.integers(0, 2**32 - 1), d=st.sampled_from([8, 32, 64]))
    def test_unrelated_gaussian_rows_have_deviation_1(self, seed, d):
        rng = np.random.default_rng(seed)
        scales = rng.uniform(0.2, 1, (2, d))
        fit, new = (rng.standard_normal((2, 400, d)) * scales[:, None] for _ in range(2))
        found = Calibration.from_rows({"a": fit[0], "b": fit[1]})
        for i, j in ((0, 0), (0, 1), (1, 1)):
            z = found.score(new[i], new[j], query="ab"[i], document="ab"[j])
            z = apart(z) if i == j else z
            assert abs(z.std() - 1) < 0.08
            assert abs(z.mean()) < 0.08

    @given(seed=st.integers(0, 2**32 - 1))
    def test_a_common_rotation_changes_nothing(self, seed):
        rng = np.random.default_rng(seed)
        text, image = heavy(80, 12, seed)
        turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]
        found, turned = (Calibration.from_rows({"text": text @ by, "image": image @ by}) for by in (np.eye(12), turn))
        for q, d in PAIRS:
            rows = {"text": text, "image": image}
            plain = found.score(rows[q][:9], rows[d], query=q, document=d)
            assert np.allclose(turned.score(rows[q][:9] @ turn, rows[d] @ turn, query=q, document=d), plain, atol=1e-4)
        assert np.allclose(found.quantiles, turned.quantiles, atol=1e-6)

    @given(seed=st.integers(0, 2**32 - 1), quantiles=st.booleans())
    def test_order_and_symmetry(self, seed, quantiles):
        """A z-score rises with the score, is the same both ways, and a threshold lets through what it says."""
        text, image = heavy(120, 6, seed)
        found = replace(Calibration.from_rows({"text": text, "image": image}), uses_quantiles=quantiles)

        for q, d, Q, D in (("text", "image", text, image), ("text", "text", text, text)):
            z, cosines = found.score(Q, D, query=q, document=d), unit(Q) @ unit(D).T
            order = np.argsort(cosines, axis=None)
            assert (np.diff(z.ravel()[order]) > -1e-5).all()
            assert np.allclose(found.score(D, Q, query=d, document=q), z.T, atol=1e-5)
            limit = found.threshold(false_positive_rate=0.05, query=q, document=d)
            assert (apart(z) > limit).mean() == pytest.approx(0.05, abs=0.008)
        if quantiles:
            assert limit == pytest.approx(1.645, abs=0.02)

    def test_seven_shards_are_the_whole(self):
        text, image = heavy(3000, 24)
        whole = [RowSample.from_rows(X) for X in (text, image)]
        merged = []
        for X in (text, image):
            first, *others = [RowSample.from_rows(part) for part in np.array_split(X, 7)]
            for other in others:
                first = other + first
            merged.append(first)
        found, expected = (Calibration.from_rows({"text": a.rows, "image": b.rows}) for a, b in (merged, whole))
        shuffled = np.random.default_rng(0).permutation(3000)
        again = Calibration.from_rows({"text": text[shuffled], "image": image[shuffled]})
        for name in ("means", "deviations", "quantiles", "rates", "n_scores"):
            assert np.array_equal(getattr(found, name), getattr(expected, name))
            assert np.abs(getattr(again, name) - getattr(expected, name)).max() < 1e-7
        assert found.n_scores[0].tolist() == [1024 * 1023 // 2, 1024**2]

    def test_a_sample_is_good_enough(self):
        text, image = heavy(3000, 64)
        found = Calibration.from_rows({"text": text, "image": image})
        for i, j, a, b in ((1, 1, text, text), (1, 0, text, image)):
            whole = unit(a) @ unit(b).T
            assert found.deviations[i, j] == pytest.approx((apart(whole) if a is b else whole).std(), rel=0.02)

    def test_groups_leave_related_rows_out(self):
        rng = np.random.default_rng(0)
        text = np.repeat(rng.standard_normal((40, 32)), 5, axis=0) + 0.1 * rng.standard_normal((200, 32))
        image = text[::5] + 0.1 * rng.standard_normal((40, 32))
        groups = {"text": np.arange(200) // 5, "image": np.arange(40)}
        found = Calibration.from_rows({"text": text, "image": image}, groups=groups)
        assert found.n_scores.tolist() == [[40 * 39 // 2, 40 * 195], [40 * 195, 200 * 195 // 2]]
        assert found.quantiles.max() < 0.9
        with warnings.catch_warnings(action="ignore"):
            assert Calibration.from_rows({"text": text, "image": image}).quantiles.max() > 0.95

    @pytest.mark.parametrize("uses_quantiles", [False, True])
    def test_libraries_blocks_and_devices(self, small, uses_quantiles, monkeypatch):
        found, text, image = small
        found, how = replace(found, uses_quantiles=uses_quantiles), {"query": "text", "document": "image"}
        plain = found.score(text, image, **how)
        assert plain.dtype == np.float32
        assert found.score(7 * text[:5], image.astype(np.float16), **how) == pytest.approx(plain[:5], abs=0.02)
        tensors = torch.from_numpy(text), torch.from_numpy(image)
        tensor = found.score(*tensors, **how)
        assert tensor.dtype == torch.float32
        assert np.array_equal(tensor.numpy(), plain)
        assert isinstance(found.score(text, tensors[1], **how), np.ndarray)
        assert found.score(tensors[0].bfloat16(), tensors[1], **how).dtype == torch.float32
        monkeypatch.setattr(module, "_BLOCK_SCORES", 1000)
        assert np.allclose(found.score(text, image, **how), plain, atol=1e-6)
        monkeypatch.setattr(_unrelated, "is_on_device", arrays.is_tensor)
        device = found.score(*tensors, **how)
        assert isinstance(device, torch.Tensor)
        assert np.allclose(device.numpy(), plain, atol=1e-4)
        fused = found.fuse({"image": tensors[1], "text": tensors[0]}, query="text")
        assert np.allclose(fused.numpy(), found.fuse({"image": image, "text": text}, query="text"), atol=1e-6)
        with pytest.raises(C3AlignError, match="different devices"):
            found.score(tensors[0], image, **how)
        assert found.score(text[:0], image, **how).shape == (0, 300)
        assert found.score(text, image[:0], **how).shape == (300, 0)

    def test_row_scale_is_the_z_score_of_a_plain_index(self, small):
        found, text, image = small
        for query, Q in (("text", unit(text)), ("image", unit(image))):
            scales = found.row_scale(query=query)
            for document, D in (("text", unit(text)), ("image", unit(image))):
                i, j = (found.modalities.index(name) for name in (query, document))
                z = found.score(Q, D, query=query, document=document)
                offset = found.means[i, j] / found.deviations[i, j]
                assert np.allclose(Q @ (scales[document] * D).T, z + offset, atol=1e-4)

    def test_fused_rows(self, small):
        """A fused row scores what the weighted sum of z-scores is, up to a factor of its own."""
        found, text, image = small
        for weights in (None, {"text": 1, "image": 1}, {"image": 3, "text": 0.5}):
            fused = found.fuse({"image": image, "text": text}, query="text", weights=weights)
            w = weights or {"text": 1, "image": 1}
            scales = found.row_scale(query="text")
            total = w["image"] * scales["image"] * unit(image) + w["text"] * scales["text"] * unit(text)
            assert np.allclose(fused, unit(total), atol=1e-5)
        alone = found.fuse({"image": image, "text": text}, query="text", weights={"image": 1, "text": 0})
        assert np.allclose(alone, unit(image), atol=1e-6)
        named = Calibration.from_rows({"text": text[:150], "image+text": fused[150:]})
        assert named.score(text[:3], fused, query="text", document="image+text").shape == (3, 300)

    def test_common_thresholds(self, small):
        found, text, image = small
        limit = found.threshold(false_positive_rate=0.02, query="text")
        shares = [
            (apart(found.score(text, D, query="text", document=d)) > limit).mean()
            for d, D in (("text", text), ("image", image))
        ]
        assert np.mean(shares) == pytest.approx(0.02, rel=0.1)


class TestDegenerateRows:
    @pytest.mark.parametrize(
        "rows",
        [
            {"a": np.ones((1, 4))},
            {"a": np.eye(4)},
            {"a": np.ones((9, 4)), "b": np.eye(4)},
            {"a": np.zeros((0, 4))},
            {"a": np.eye(4) + 0.5, "b": np.zeros((0, 4))},
            {"a": np.ones((5, 1))},
        ],
        ids=["one row", "orthogonal", "constant", "no rows", "a modality without rows", "one column of one sign"],
    )
    def test_scores_that_do_not_vary_are_refused(self, rows):
        with pytest.raises(C3AlignError, match=r"do not vary .*pass more and different rows"):
            Calibration.from_rows(rows)

    @pytest.mark.parametrize("shape", [(3, 50), (12, 4), (40, 1), (20, 2)])
    @pytest.mark.parametrize("uses_quantiles", [False, True])
    def test_few_rows_and_few_columns_give_numbers(self, shape, uses_quantiles):
        rng = np.random.default_rng(0)
        rows = {"a": rng.standard_normal(shape), "b": rng.standard_normal((30, shape[1]))}
        if shape[1] == 1:  # a line has two directions, of which a sample keeps one each
            with pytest.raises(C3AlignError, match="do not vary"):
                Calibration.from_rows(rows)
            return
        found = replace(Calibration.from_rows(rows), uses_quantiles=uses_quantiles)

        z = found.score(rows["a"], rows["b"], query="a", document="b")
        assert np.isfinite(z).all()
        order = np.argsort(unit(rows["a"]) @ unit(rows["b"]).T, axis=None)
        assert (np.diff(z.ravel()[order]) > -1e-4).all()

    def test_repeated_scores_in_the_quantiles(self):
        """Rows of few directions: scores of few values, and nothing divided by zero."""
        signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 8)).reshape(8, -1).T
        found = replace(Calibration.from_rows({"a": signs}), uses_quantiles=True)
        with warnings.catch_warnings(action="error"):
            z = found.score(signs, signs, query="a", document="a")
        assert np.isfinite(z).all()
        assert np.all(np.diff([z[0][signs @ signs[0] == s][0] for s in range(-6, 8, 2)]) > 0)

    def test_unequal_shares(self):
        """Far apart, and by more than chance."""
        for shares, verdict in [
            ([0.005, 0.01, 0.012], False),
            ([0.005, 0.01, 0.02], True),
            ([0.01, 0.0], True),
            ([0.01], False),
            ([], False),
        ]:
            assert is_unequal([(share, 1e-8) for share in shares]) is verdict
            assert not is_unequal([(share, 1e-4) for share in shares])

    def test_refusals(self, small):
        found, text, image = small
        how = {"query": "text", "document": "image"}
        for name, X in bad_rows().items():
            if name in ("nan", "zero"):
                with pytest.raises(C3AlignError, match=r"^Q (holds NaN|has a norm)"):
                    found.score(X, np.ones((2, X.shape[1])), **how)
                with pytest.raises(C3AlignError, match=r"^text (holds NaN|has a norm)"):
                    Calibration.from_rows({"text": X})
        with pytest.raises(C3AlignError, match="pass rows of one encoder"):
            found.score(text, image[:, :5], **how)
        with pytest.raises(C3AlignError, match="differ in width"):
            Calibration.from_rows({"text": text, "image": image[:, :5]})
        with pytest.raises(C3AlignError, match="document must be one of 'image', 'text', got 'audio'"):
            found.score(text, image, query="text", document="audio")
        with pytest.raises(C3AlignError, match="query must be one of"):
            found.row_scale(query="audio")
        for rows, groups in (({}, None), ({"text": text}, {"image": np.arange(300)})):
            with pytest.raises(C3AlignError, match=r"pass (rows|each)"):
                Calibration.from_rows(rows, groups=groups)
        for rate in (0, 1e-7, 1, np.nan, None, "0.1", True):
            with pytest.raises(C3AlignError, match="false_positive_rate must be in"):
                found.threshold(false_positive_rate=rate, **how)
        few = Calibration.from_rows({"text": text[:40]})
        assert few.threshold(false_positive_rate=0.02, query="text", document="text") > 1
        with pytest.raises(C3AlignError, match=r"in \[0.013, 1\) by the unrelated scores.*calibrate with more rows"):
            few.threshold(false_positive_rate=0.01, query="text")
        for weights in (
            {"text": 1},
            {"text": 0, "image": 0},
            {"text": -1, "image": 2},
            {"text": np.nan, "image": 1},
            {"text": "1", "image": 1},
        ):
            with pytest.raises(C3AlignError, match="weights must be"):
                found.fuse({"text": text, "image": image}, query="text", weights=weights)
        with pytest.raises(C3AlignError, match="rows must be by modality"):
            found.fuse({}, query="text")
        with pytest.raises(C3AlignError, match="row i of each"):
            found.fuse({"text": text, "image": image[1:]}, query="text")

    def test_refusals_of_pairs_and_probabilities(self, small):
        found, text, image = small
        how = {"query": "text", "document": "image"}
        with pytest.raises(C3AlignError, match="no pairs of 'text' and 'image' were learned"):
            found.probability(np.zeros(3), prior=0.1, **how)
        with pytest.raises(C3AlignError, match="10 pairs or more"):
            found.with_pairs(text[:9], image[:9], **how)
        with pytest.raises(C3AlignError, match="10 pairs or more"):
            found.with_pairs(text, image[1:], **how)
        with pytest.raises(C3AlignError, match="no higher than unrelated"):
            found.with_pairs(text, -text, **how)
        paired = found.with_pairs(text, text + 0.1 * image, **how)

        for prior in (0, 1, np.nan, None, "0.1"):
            with pytest.raises(C3AlignError, match="prior must be"):
                paired.probability(np.zeros(3), prior=prior, **how)
        with pytest.raises(C3AlignError, match="NaN"):
            paired.probability(np.array([np.nan]), prior=0.1, **how)
        p = paired.probability(np.array([-np.inf, 0, 3, np.inf]), prior=0.1, **how)
        assert p[0] == 0
        assert p[3] == 1
        assert p[1] < p[2]

    def test_it_cannot_be_changed(self, small):
        with pytest.raises(ValueError, match="read-only"):
            small[0].means[0] = 0


class TestLists:
    def test_merge_by_rank(self):
        best, scores = merge_by_rank([["a", "b", "c"], np.array(["c", "a"]), []])
        assert best == ["a", "c", "b"]
        assert scores == pytest.approx([1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62])
        assert merge_by_rank([[3, 1], [1, 3]], constant=0)[0] == [3, 1]
        assert merge_by_rank([["a", "b"], ["b", "c"]], constant=0)[1] == pytest.approx([1.5, 1, 0.5])
        assert merge_by_rank([])[0] == []
        with pytest.raises(C3AlignError, match="list 1 names a document twice"):
            merge_by_rank([["a"], ["b", "b"]])
        for constant in (-1, np.nan, np.inf):
            with pytest.raises(C3AlignError, match="constant must be"):
                merge_by_rank([["a"]], constant=constant)

    def test_list_z_scores(self):
        for largest in (1e308, 1e-320):
            assert list_z_scores([largest, -largest]).tolist() == [1, -1]
        found = list_z_scores([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [0.1, 0.1, 0.1]])
        assert found == pytest.approx(np.array([[-1, 0, 1], [-1, 0, 1], [0, 0, 0]]) * np.sqrt(1.5))
        for scores in (1.0, [], [np.nan], [1, -np.inf]):
            with pytest.raises(C3AlignError, match="scores must be finite"):
                list_z_scores(scores)


class TestWhatOutsidersFound:
    def rows(self, n, seed):
        rng = np.random.default_rng(seed)
        z = np.random.default_rng(99).normal(size=(12, 64))[rng.integers(0, 12, n)] + 0.6 * rng.normal(size=(n, 64))
        return [z + 0.5 * rng.normal(size=(n, 64)) for _ in range(2)]

    def test_probabilities_at_the_prior_of_an_index(self):
        """Of rows in clusters, whose unrelated scores have a heavy tail."""
        fit, how = self.rows(3000, 1), {"query": "text", "document": "image"}
        means = [rows.mean(axis=0) for rows in fit]
        fit, fresh = ([rows - mean for rows, mean in zip(both, means)] for both in (fit, self.rows(2000, 2)))
        pairs = dict.fromkeys(("text", "image"), np.arange(3000))
        found = Calibration.from_rows(dict(zip(pairs, fit)), groups=pairs).with_pairs(*fit, **how)
        p = found.probability(found.score(*fresh, **how), **how, prior=1 / 2000)
        related = np.eye(2000, dtype=bool)
        for low, high in ((0.1, 0.3), (0.3, 0.7), (0.7, 1.1)):
            chosen = (p >= low) & (p < high)
            assert p[chosen].mean() == pytest.approx(related[chosen].mean(), abs=0.2)
        assert p.sum() == pytest.approx(2000, rel=0.15)

    def test_scales_where_means_differ(self):
        rng = np.random.default_rng(0)
        text, image = rng.normal(2, 1, (400, 32)), rng.normal(0, 1, (400, 32))
        found = Calibration.from_rows({"text": text, "image": image})
        with pytest.warns(CalibrationWarning, match="standard deviations between modalities"):
            found.row_scale(query="text")

    def test_few_rows(self):
        rows = np.random.default_rng(0).normal(size=(2, 60, 64))
        found = Calibration.from_rows(dict(zip(("text", "image"), rows)))
        with pytest.warns(CalibrationWarning, match="calibrated by about 59 rows"):
            found.threshold(false_positive_rate=0.1, query="text", document="text")

    def test_integers_are_scores_too(self):
        wide = np.random.default_rng(0).normal(size=(1000, 64))
        found = Calibration.from_rows({"image": wide, "text": wide})
        how = {"query": "text", "document": "image"}
        assert found.z_scores([-1, 0, 1], **how).tolist() == found.z_scores([-1.0, 0.0, 1.0], **how).tolist()


def cones(n, n_dims=100, seed=0):
    """Rows of two modalities, unrelated, of which some directions vary most."""
    found = np.random.default_rng(seed).standard_normal((2, n, n_dims)) * np.linspace(0.5, 2, n_dims)
    return found[0] + 1, found[1] - 1


def taught(text, image, mapping="barycenter"):
    return C3Aligner(mapping=mapping, second_moments=True).fit(text).partial_fit(image, modality="image")


@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
class TestFewRows:
    """A map follows from the rows that taught it, so that few of them are calibrated by maps that did not see them."""

    @pytest.mark.parametrize("mapping", ["barycenter", "coral"])
    def test_a_threshold_holds_for_new_rows(self, mapping):
        aligner = taught(*cones(200), mapping)
        found, news = aligner.calibrate(), dict(zip(("text", "image"), cones(1000, seed=1)))
        news = {name: aligner.transform(X, modality=name) for name, X in news.items()}
        through = []
        for query, document in (("text", "image"), ("text", "text"), ("image", "image")):
            how = {"query": query, "document": document}
            z = found.score(news[query], news[document], **how)[~np.eye(1000, dtype=bool)]
            through.append((z > found.threshold(false_positive_rate=0.01, **how)).mean())
        assert min(through) > 0.007
        assert max(through) < 0.015

    def test_rows_of_a_fold_alone_are_scored(self):
        found = taught(*cones(200)).calibrate()
        assert found.is_held_out
        assert abs(found.n_scores[0, 1] - 200 * 40) < 800
        assert not taught(*cones(1100)).calibrate().is_held_out
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.threshold(false_positive_rate=0.01, query="text", document="image")

    @pytest.mark.parametrize("mapping", ["barycenter", "realign", "drop_unequal", "procrustes", "ridge"])
    def test_the_others_teach_the_map(self, mapping):
        text, image = cones(300, 40)
        image = image + 0.5 * text
        aligner = C3Aligner(mapping=mapping, second_moments=True).fit(5 * text, image)
        folds = _held_out.aligned_rows(aligner.state_, mapping, True)["folds"]
        found = _held_out._without(aligner.state_, {name: fold == 2 for name, fold in folds.items()})
        sample = aligner.state_.samples["text"]
        gone = np.isin(row_keys(5 * text), sample.keys[folds["text"] == 2])
        assert 30 < gone.sum() < 90
        others = C3Aligner(mapping=mapping, second_moments=True).fit(text[~gone], image[~gone])
        for name, X in (("text", text), ("image", image)):
            wanted = others.state_.row_map(name, mapping).apply(X / np.linalg.norm(X, axis=1, keepdims=True))
            given = found.row_map(name, mapping).apply(X / np.linalg.norm(X, axis=1, keepdims=True))
            assert np.abs(given - wanted).max() < 1e-6

    def test_partners_are_in_one_fold(self):
        text, image = cones(300, 40)
        state = C3Aligner(mapping="barycenter").fit(text, image + text).state_
        found = _held_out.aligned_rows(state, "barycenter", True)
        about, folds = found["groups"], found["folds"]
        both = {name: dict(zip(about[name].tolist(), folds[name].tolist())) for name in folds}
        assert both["text"] == both["image"]
        assert sorted(np.bincount(folds["text"]))[0] > 40

    @pytest.mark.parametrize(
        ("n", "shrinkage", "is_told"),
        [(100, "ledoit_wolf", True), (150, "ledoit_wolf", False), (150, None, True), (190, None, False)],
    )
    def test_where_the_rest_tells_no_map(self, n, shrinkage, is_told):
        aligner = taught(*cones(n, 140), mappings.Barycenter(shrinkage=shrinkage))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert aligner.calibrate().is_held_out != is_told
        assert [w.filename for w in told if "too few for" in str(w.message)] == [__file__] * is_told

    def test_few_rows_that_were_learned_apart_are_told_of(self):
        text, image = cones(200)
        with pytest.warns(CalibrationWarning, match="of 'image' and 'text' were learned apart") as told:
            taught(text, image).calibrate()
        assert told[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            C3Aligner(mapping="barycenter").fit(text, image + text).calibrate()
            taught(*cones(1100)).calibrate()

    def test_rows_that_came_very_often(self):
        text, image = cones(200)
        aligner = C3Aligner(mapping="barycenter").fit(np.repeat(text, 50, axis=0)).partial_fit(image, modality="image")
        assert not aligner.calibrate().is_held_out
