"""Which mean belongs to a batch: on real embeddings of five encoders, trained and not, and at the edges."""

from __future__ import annotations

import itertools
import math
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from c3align import C3Aligner, centering
from c3align._discriminant import Claim, Discriminant
from c3align._state import State
from c3align.covariance import CovarianceStatistics
from c3align.errors import C3AlignError, EncoderMismatchWarning, ModalityMeanWarning, PairOrderWarning
from c3align.geometry import (
    are_partners,
    doubt,
    encoder_overlap,
    exchanged,
    misplaced,
    one_encoder,
    order_evidence,
    repeated,
)
from c3align.geometry._overlap import PARTNERS, centered_pair_cosine
from c3align.ops import eager, glance
from c3align.statistics import ModalityStatistics, paired_statistics
from tests.test_ops import raw

TRAINED = ["coco", "convirt", "clap", "glyphs"]
SETS = [*TRAINED, "coco_random", "convirt_random"]


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def centered(rows):
    return unit(unit(rows) - unit(rows).mean(axis=0))


def fitted_on(kind=ModalityStatistics, **rows):
    state = State(next(iter(rows.values())).shape[1])
    for name, part in rows.items():
        state = state.with_modality(name, kind.from_rows(part))
    return state


def chosen(state, rows):
    """The modality that "auto" takes, "batch", or None where it refuses."""
    try:
        return centering.center(centering.AUTO, state, rows).modality
    except C3AlignError:
        return None


class TestOneFitted:
    @pytest.mark.parametrize("name", SETS)
    @pytest.mark.parametrize("way", [0, 1])
    def test_the_first_line_of_the_readme(self, real_rows, name, way):
        """The other modality is centered by its own mean, with one warning; its residual gap is its sampling error."""
        (fitted, rows), (other, batch) = list(real_rows[name].items())[:: 1 - 2 * way]
        aligner = C3Aligner().fit(rows, modality=fitted)
        with pytest.warns(ModalityMeanWarning) as caught:
            aligned = aligner.transform(batch)
        assert len(caught) == 1
        message = str(caught[0].message)
        for part in (
            f"only '{fitted}' is fitted",
            "another modality, or other material",
            "expected error of",
            "spread",
        ):
            assert part in message
        assert f"pass modality='{fitted}'" in message
        assert "call partial_fit(X, modality=" in message
        assert caught[0].filename == __file__
        assert np.abs(aligned - centered(batch)).max() < 1e-6
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            own = aligner.transform(rows)
        before = np.linalg.norm(unit(rows).mean(axis=0) - unit(batch).mean(axis=0))
        after = np.linalg.norm(own.mean(axis=0) - aligned.mean(axis=0))
        # what renormalising leaves of means that were subtracted, far below the gap
        assert after < before / 8
        assert other not in aligner.statistics_

    def test_false_alarms(self, real_rows):
        """Another half of the same rows is never taken for something else: at most 1 in 1,000."""
        parts = [(name, rows) for found in real_rows.values() for name, rows in found.items()]
        rng = np.random.default_rng(0)
        wrong = 0
        for i in range(3000):
            name, rows = parts[i % len(parts)]
            order = rng.permutation(len(rows))
            half = len(rows) // 2
            size = int(np.exp(rng.uniform(0, np.log(4097))))
            wrong += chosen(fitted_on(**{name: rows[order[:half]]}), rows[order[half : half + size]]) != name
        assert wrong <= 3

    @pytest.mark.parametrize("name", SETS)
    def test_batches_of_the_other_modality_are_found(self, real_rows, name):
        """All of 32 rows, most of 16."""
        rng = np.random.default_rng(1)
        for (fitted, rows), (_, batch) in itertools.permutations(real_rows[name].items()):
            state = fitted_on(**{fitted: rows[: len(rows) // 2]})
            for size, least in ((32, 40), (16, 36)):
                found = [chosen(state, batch[rng.permutation(len(batch))[:size]]) for _ in range(40)]
                assert found.count(centering.BATCH) >= least

    def test_few_rows_of_pictures_are_refused_and_those_of_texts_are_not(self, coco):
        image, text = coco
        aligner = C3Aligner().fit(text)
        whole = aligner.transform(text)
        for n in (1, 2, 5, 7):
            for start in range(0, 490, 35):
                with pytest.raises(C3AlignError, match=rf"too few \({n}\) for a mean of their own"):
                    aligner.transform(image[start : start + n])
                # no jump: a row has one result, whatever batch it comes in
                assert raw(aligner.transform(text[start : start + n])) == raw(whole[start : start + n])

    def test_the_size_of_the_gap_does_not_matter(self):
        """A gap of a fifth of the spread is as significant as one of five times, given the rows."""
        rng = np.random.default_rng(0)
        for size in (0.5, 5.0):
            text = rng.standard_normal((2000, 64)) + 3
            other = rng.standard_normal((500, 64)) + 3 + size * np.eye(64)[0] * 8 / 2
            assert chosen(fitted_on(text=text), other) == centering.BATCH

    def test_a_shift_that_is_negligible_is_no_shift(self):
        """With enough rows any drift is significant; below a few per cent of the variance it does not matter."""
        rng = np.random.default_rng(0)
        text, drifted = (rng.standard_normal((n, 16)) + 2 for n in (20000, 4000))
        for size, expected in ((0.5, "text"), (1.0, centering.BATCH)):  # 1.7 and 5.3 % of the variance
            assert chosen(fitted_on(text=text), drifted + size * np.eye(16)[0]) == expected

    def test_rows_of_few_directions(self):
        """The sampling error is as wide as the rows are flat: a line of rows needs more to alarm."""
        rng = np.random.default_rng(0)
        wrong = 0
        for _ in range(300):
            rows = rng.standard_normal((80, 1)) * np.eye(16)[0] + 1 + 0.05 * rng.standard_normal((80, 16))
            wrong += chosen(fitted_on(text=rows[:40]), rows[40:60]) != "text"
        assert wrong <= 1

    @given(n=st.integers(1, 20), d=st.integers(1, 5), seed=st.integers(0, 99))
    def test_degenerate_rows_decide_without_trouble(self, n, d, seed):
        rng = np.random.default_rng(seed)
        rows = np.round(rng.standard_normal((n, d))) + 2.5
        same = np.tile(rows[:1], (n, 1))
        for state in (fitted_on(text=rows), fitted_on(text=same), fitted_on(CovarianceStatistics, text=rows)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert chosen(state, rows) in ("text", "batch", None)
        assert chosen(fitted_on(text=same), same) == "text"
        assert chosen(fitted_on(text=rows), rows) == "text"

    def test_no_usable_row_says_nothing(self):
        state = fitted_on(text=np.eye(4) + 1)
        assert chosen(state, np.zeros((3, 4))) == "text"

    def test_tensors_decide_as_arrays(self, coco):
        image, text = coco
        aligner = C3Aligner().fit(torch.from_numpy(text))
        with pytest.warns(ModalityMeanWarning):
            assert np.abs(aligner.transform(torch.from_numpy(image)).numpy() - centered(image)).max() < 1e-6


class TestSeveralFitted:
    @pytest.mark.parametrize("name", SETS)
    @pytest.mark.parametrize("kind", [ModalityStatistics, CovarianceStatistics])
    def test_single_rows(self, real_rows, name, kind):
        """At most 1 in 1,000 gets the wrong mean in silence; second moments refuse at most 1 %, variances 30 %."""
        rng = np.random.default_rng(0)
        halves, states = {}, {}
        for modality, rows in real_rows[name].items():
            order = rng.permutation(len(rows))
            states[modality], halves[modality] = rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]
        state = fitted_on(kind, **states)
        found = {m: [chosen(state, row[None]) for row in half] for m, half in halves.items()}
        n_rows = sum(len(part) for part in found.values())
        refused = sum(part.count(None) for part in found.values())
        right = sum(part.count(modality) for modality, part in found.items())
        assert n_rows - right - refused <= n_rows / 1000
        assert refused <= (0.01 if kind is CovarianceStatistics else 0.3) * n_rows

    def test_rows_far_out_on_either_side_are_no_mixture(self):
        """Over a small gap some rows reach to the other side, and as many away from it; a fifth more are told."""
        for seed, gap in itertools.product(range(10), (0.1, 0.16, 0.25)):
            rng, spread = np.random.default_rng(seed), np.arange(1, 65) ** -0.5
            text, image = (spread * (rng.standard_normal((500, 64)) + side) for side in (gap, -gap))
            aligner = C3Aligner().fit(text[:300]).partial_fit(image[:300], modality="image")
            aligner.transform(image[300:])
            if gap == 0.25:
                with pytest.raises(C3AlignError, match=r"mixture: \d+ of 200 lie on the side of 'text'"):
                    aligner.transform(np.concatenate([image[300:460], text[300:340]]))

    def test_a_mixture_is_refused(self, real_rows):
        """One picture of twenty rows in a table of texts; a single stray is no mixture."""
        for found in real_rows.values():
            for (name, rows), (other, strangers) in itertools.permutations(found.items()):
                aligner = C3Aligner().fit(rows, modality=name).partial_fit(strangers, modality=other)
                mixed = np.concatenate([rows[:40], strangers[:10]])
                with pytest.raises(C3AlignError, match=rf"mixture: \d+ of 50 lie on the side of '{other}'; split them"):
                    aligner.transform(mixed)
                assert chosen(aligner.state_, rows[:40]) == name

    def test_rows_of_another_encoder_are_told_of(self, coco, convirt):
        """Both ways of asking say the same, and neither is silent."""
        aligner = C3Aligner().fit(*convirt[::-1])
        for rows in coco:
            with pytest.warns(ModalityMeanWarning, match="taken as '"):
                aligner.transform(rows)

    def test_batches_mixed_or_far_are_refused(self, coco, clap):
        image, text = coco
        state = fitted_on(image=image, text=text)
        assert chosen(state, np.concatenate([image[:100], text[:100]])) is None
        assert chosen(state, -text) is None
        assert chosen(state, clap[0]) is None
        with pytest.raises(C3AlignError, match=r"\('image', 'text'\); pass modality=.*second_moments=True"):
            centering.center(centering.AUTO, state, -text)

    def test_three_modalities(self):
        rng = np.random.default_rng(0)
        rows = {name: rng.standard_normal((300, 24)) + 4 * np.eye(24)[i] for i, name in enumerate("abc")}
        for kind in (ModalityStatistics, CovarianceStatistics):
            state = fitted_on(kind, **rows)
            for name, part in rows.items():
                assert chosen(state, part[:20]) == name

    def test_equal_modalities_are_never_told_apart(self, coco):
        state = fitted_on(a=coco[1], b=coco[1])
        assert chosen(state, coco[1]) is None

    def test_a_modality_without_a_usable_row_does_not_compete(self):
        rows = np.random.default_rng(0).standard_normal((50, 6)) + 2
        aligner = C3Aligner(zero_rows="keep").fit(rows).partial_fit(np.zeros((3, 6)), modality="image")
        assert raw(aligner.transform(rows)) == raw(aligner.transform(rows, modality="text"))

    def test_the_discriminant_is_fishers(self, coco):
        """Against scikit-learn's shrinkage and a solve of our own."""
        image, text = (unit(rows) for rows in coco)
        line = Discriminant.between(fitted_on(CovarianceStatistics, image=image, text=text), "image", "text")
        gap = image.mean(axis=0) - text.mean(axis=0)
        pooled = (ledoit_wolf(image)[0] + ledoit_wolf(text)[0]) / 2
        expected = np.linalg.solve(pooled, gap)
        assert np.abs(line.direction - expected / (expected @ gap)).max() < 1e-6 * np.abs(line.direction).max()
        positions = image @ line.direction - line.middle
        assert positions.mean() == pytest.approx(0.5, abs=1e-9)
        assert positions.std() == pytest.approx(line.spreads[0], rel=0.6)

    def test_shrinkage_is_scikit_learns(self, real_rows):
        for found in real_rows.values():
            for rows in found.values():
                expected, weight = ledoit_wolf(unit(rows))
                learned = CovarianceStatistics.from_rows(unit(rows))
                assert learned.shrinkage == pytest.approx(weight, rel=1e-6)
                assert np.abs(learned.shrunken - expected).max() < 1e-9


class TestNamed:
    def test_means_that_differ_by_chance_alone_claim_nobody(self):
        """Two modalities without a gap: their own rows are no strangers."""
        for seed in range(20):
            x = np.random.default_rng(seed).standard_normal((20, 64))
            y = x + 0.2 * np.random.default_rng(seed + 99).standard_normal((20, 64))
            aligner = C3Aligner().fit(x, y)
            with warnings.catch_warnings():
                warnings.simplefilter("error", ModalityMeanWarning)
                for n in (1, 8, 17, 20):
                    aligner.transform(x[:n], modality="text")

    @pytest.mark.parametrize("name", SETS)
    def test_a_wrong_name_warns(self, real_rows, name):
        for (fitted, rows), (_, batch) in itertools.permutations(real_rows[name].items()):
            aligner = C3Aligner().fit(rows, modality=fitted)
            with pytest.warns(ModalityMeanWarning, match=f"given as modality='{fitted}'") as caught:
                aligned = aligner.transform(batch, modality=fitted)
            assert len(caught) == 1
            # row by row all the same
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert raw(aligner.transform(batch[5:6], modality=fitted)) == raw(aligned[5:6])

    def test_right_names_are_quiet(self, real_rows):
        for found in real_rows.values():
            state = fitted_on(**found)
            for modality, rows in found.items():
                for part in (rows, rows[:16], rows[::7]):
                    assert centering.center(modality, state, part).warning is None

    @pytest.mark.parametrize("name", SETS)
    @pytest.mark.parametrize("n_rows", [1, 3, 8, 40])
    @pytest.mark.parametrize("backend", ["native", "reference"])
    def test_the_quick_look_overlooks_nothing(self, real_rows, name, n_rows, backend, monkeypatch):
        """What it passes the whole decision passes too; and it passes most rows of the right name."""
        monkeypatch.setenv("C3ALIGN_BACKEND", backend)
        rng, quick = np.random.default_rng(n_rows), []
        (a, first), (b, second) = real_rows[name].items()
        state = fitted_on(**{a: first, b: second})
        for _, rows, label in itertools.product(range(20), (first, second), (a, b)):
            batch = rows[rng.choice(len(rows), n_rows)]
            doubt = centering.doubt_about(label, state, centering.Glance.of(batch, 16), mixtures=False)
            plain = Claim.of(state, label).is_plain(batch, 16, centering.LARGE, centering.LARGE_CLAIMED)
            assert not plain or doubt is None
            if (label == a) == (rows is first):
                quick.append(plain)
        assert np.mean(quick) > 0.5

    @pytest.mark.parametrize("n_rows", [4, 16])
    def test_the_quick_look_measures_the_same_shift(self, real_rows, n_rows):
        text, image = real_rows["coco"].values()
        state, batch = fitted_on(text=text), image[:n_rows]
        found = centering.shift(state, "text", centering.Glance.of(batch, 16))
        claim = Claim.of(state, "text")
        assert found > centering.LARGE
        assert claim.is_plain(batch, 16, 1.001 * found, 0.0)
        assert not claim.is_plain(batch, 16, 0.999 * found, 9.0)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
    def test_backends_look_alike(self, dtype, monkeypatch):
        rng = np.random.default_rng(0)
        rows, directions = (rng.normal(size=(40, 48)) + 1).astype(dtype), rng.normal(size=(2, 48))
        rows[5], rows[18] = 0, np.nan  # the second is among those that are looked at
        found = []
        for backend in ("native", "reference"):
            monkeypatch.setenv("C3ALIGN_BACKEND", backend)
            for given_rows in (rows, np.asfortranarray(rows), rows[::-1][::-1]):
                found.append(np.hstack(glance.against(given_rows, 16, directions[0], directions)))
        there = torch.from_numpy(rows[::3].copy())  # every third: 40 rows, 16 at the most
        on_device = np.hstack(eager.glance(there, directions[0], directions))
        np.testing.assert_allclose(on_device, found[0], rtol=1e-6)
        assert found[0][0] == 13
        np.testing.assert_allclose(found, np.tile(found[0], (len(found), 1)), rtol=1e-12, atol=1e-15)

    def test_a_mean_of_zeros_is_meant(self, coco):
        """Rows with their opposites: an aligner that does not collapse."""
        for rows in coco:
            state = fitted_on(text=np.concatenate([rows, -rows]))
            assert centering.center("text", state, rows).warning is None

    def test_one_topic_of_the_right_name(self, clap):
        """Clips of one class lie far from the mean of all, on the right side: no advice may lead away from the name."""
        audio, prompts, labels = clap
        state = fitted_on(audio=audio, text=prompts)
        topics = [audio[labels == label] for label in range(50)]
        told = [centering.center("audio", state, topic).warning for topic in topics]
        assert all("on any topic; if they are, ignore this" in warning for warning in told if warning)
        assert not any("batch" in warning for warning in told if warning)
        assert [chosen(state, topic) for topic in topics].count("audio") >= 45

    def test_single_rows_on_another_side_warn(self, coco):
        image, text = coco
        state = fitted_on(image=image, text=text)
        told = [centering.center("text", state, row[None]).warning for row in image]
        assert all("on the side of 'image'" in warning for warning in told)


class TestLearning:
    @pytest.mark.parametrize("name", ["coco", "glyphs"])
    def test_rowsaligned_before_are_told_of(self, real_rows, name):
        """Learned or aligned as raw ones, under their own name, where means are large; no raw rows lie around zero."""
        aligner, before = C3Aligner(), "around zero, as rows do that were aligned before"
        for modality, rows in real_rows[name].items():
            aligner.partial_fit(rows, modality=modality)
        for modality, rows in real_rows[name].items():
            aligned, alone = aligner.transform(rows, modality=modality), C3Aligner().fit(rows, modality=modality)
            for again in (alone.transform, alone.partial_fit):
                with pytest.warns(ModalityMeanWarning, match=before):
                    again(aligned, modality=modality)
        for rows in (rows for found in real_rows.values() for rows in found.values()):
            assert not centering.aligned_before(aligner.state_, "text", glance.Glance.of(rows))
        x = np.random.default_rng(0).standard_normal((64, 64))  # nor say anything where raw ones do
        assert not centering.aligned_before(C3Aligner().fit(x).state_, "text", glance.Glance.of(x))

    def test_a_forgotten_name_is_told_of(self, coco):
        image, text = coco
        with pytest.warns(
            ModalityMeanWarning, match="were learned as 'text' rows; if they are another modality"
        ) as told:
            C3Aligner().fit(text).partial_fit(image)
        assert told[0].filename == __file__
        aligner = C3Aligner().fit(text, image)
        with pytest.warns(ModalityMeanWarning, match="on the side of 'image' were learned as 'text'"):
            aligner.partial_fit(image[:3])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            C3Aligner().fit(text[:100], image[:100]).partial_fit(text[100:]).partial_fit(image[100:], modality="image")

    def test_rows_turned_by_a_pca(self, coco):
        """Their columns are not correlated, which tells no encoder from another; cosines are those of before."""
        image, text = coco
        turn = np.linalg.svd(image - image.mean(axis=0), full_matrices=False)[2].T
        assert one_encoder(image, text, paired=False)[1]
        assert one_encoder(image @ turn, text @ turn, paired=False) == (None, True)
        noise = np.random.default_rng(0).standard_normal((2, 1000, 64))
        assert one_encoder(*noise, paired=False) == (None, True)
        assert not one_encoder(image, text[:, ::-1], paired=False)[1]


class TestOneEncoder:
    @pytest.mark.parametrize("name", TRAINED)
    def test_one_encoder(self, real_rows, name):
        first, second = real_rows[name].values()
        rng = np.random.default_rng(0)
        for _ in range(5):
            parts = [rows[rng.permutation(len(rows))[:200]] for rows in (first, second)]
            assert encoder_overlap(*parts) >= 2.5

    def test_two_encoders(self, real_rows):
        parts = [(name, rows[:200]) for name, found in real_rows.items() for rows in found.values()]
        for (name, rows), (other, others) in itertools.combinations(parts, 2):
            if name != other and rows.shape[1] == others.shape[1]:
                assert encoder_overlap(rows, others) <= 1.3

    @pytest.mark.parametrize("name", ["coco_random", "convirt_random"])
    def test_an_untrained_encoder_has_no_shared_directions(self, real_rows, name):
        """There is nothing to find: its towers are two encoders in all but name."""
        assert encoder_overlap(*real_rows[name].values()) == pytest.approx(1, abs=0.2)

    def test_few_rows_are_unbiased(self):
        """Rows of two unrelated spaces: about 1 on average from 10 rows on, and no more with 1,000."""
        rng = np.random.default_rng(0)
        roots = [rng.standard_normal((40, 128)) for _ in range(2)]
        for n in (10, 1000):
            found = [encoder_overlap(*(rng.standard_normal((n, 40)) @ root + 3 for root in roots)) for _ in range(30)]
            assert np.mean(found) == pytest.approx(1, abs=0.15)

    def test_fit_says_so(self, real_rows):
        image, text = real_rows["coco"].values()
        with pytest.warns(EncoderMismatchWarning, match=r"one encoder: overlap [01][.]\d, one encoder gives 3 or more"):
            C3Aligner().fit(text, real_rows["convirt"]["image"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            C3Aligner().fit(text, image)
            # rows that fill their space evenly, but are alike
            shared = np.random.default_rng(0).standard_normal((400, 32))
            made_up = [
                row + 0.5 * np.random.default_rng(i).standard_normal((400, 32)) for i, row in enumerate([shared] * 2)
            ]
            C3Aligner().fit(*made_up)

    @pytest.mark.parametrize("name", ["coco", "convirt", "glyphs"])
    def test_pairs_in_a_wrong_order(self, real_rows, name):
        """Of 30 pairs, of 200 and of all: said of every wrong order, and never of the right one."""
        first, second = real_rows[name].values()
        rng = np.random.default_rng(0)
        for n in (30, 200, len(first)):
            a, b = (rows[:n] for rows in (first, second))
            assert doubt(a, b, paired=True) is None
            assert isinstance(doubt(a, b[rng.permutation(n)], paired=True), PairOrderWarning)
            assert doubt(a, b[rng.permutation(n)], paired=False) is None

    def test_fit_says_that_the_order_is_wrong(self, coco):
        image, text = coco
        with pytest.warns(
            PairOrderWarning, match=r"no more like row i of y than.*partial_fit one after the other"
        ) as told:
            C3Aligner().fit(text, image[::-1])
        assert told[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            C3Aligner().fit(text, image)
            C3Aligner().fit(text[:29], image[:29][::-1])  # too few to tell

    @pytest.mark.parametrize("name", ["coco", "convirt"])
    def test_a_row_that_one_side_lacks(self, real_rows, name):
        """All pairs behind it have moved up by one: most are right still, and nothing else tells of the others."""
        a, b = real_rows[name].values()
        assert misplaced(a, b) is None
        lost = np.delete(b, 150, axis=0)
        found = misplaced(a[:-1], lost)
        assert isinstance(found, PairOrderWarning)
        assert re.match("from row (71|142|213) to row 498 row i of X", str(found))  # it is 150 from which they have
        assert misplaced(a[:190], lost[:190]) is None  # too few to have three parts
        with pytest.warns(PairOrderWarning, match="from row (71|142|213) to row 498") as told:
            C3Aligner().fit(a[:-1], lost)
        assert told[0].filename == __file__
        late = np.delete(b, 420, axis=0)
        assert re.match("from row 427 to row 498", str(misplaced(a[:-1], late)))

    def test_rows_without_a_direction_do_not_move_the_others(self, coco):
        a, b = (np.tile(rows, (2, 1)) for rows in coco)
        moved = np.concatenate([b[:500], b[501:], b[:1]])
        a[:250] = 0
        assert misplaced(a, b) is None
        assert str(misplaced(a, moved)).startswith("from row 500 to row 999 ")
        assert misplaced(0 * a, b) is None

    @pytest.mark.parametrize("change", ["moved", "shuffled"])
    def test_later_pairs(self, coco, change):
        order = np.random.default_rng(1).integers(0, 500, 5000)
        a, b = (rows[order] for rows in coco)
        aligner = C3Aligner()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            aligner.partial_fit(a, b)
        moved = np.concatenate([b[:2000], b[2001:], b[:1]])
        later = moved if change == "moved" else b[np.random.default_rng(0).permutation(5000)]
        said = "from row (1,875|2,500) to row 4,999" if change == "moved" else "than like any other, so"
        with pytest.warns(PairOrderWarning, match=said):
            aligner.partial_fit(a, later)

    @pytest.mark.parametrize("kind", ["weak", "weaker", "decaying", "shared", "films", "classes"])
    def test_right_pairs_are_no_false_alarm(self, kind):
        """Encoders of little likeness, neighbors of one partner or of none other than theirs, sorted classes."""
        for seed in range(20):
            assert misplaced(*_right_pairs(kind, np.random.default_rng(seed))) is None

    def test_kinds_one_behind_another_are_no_doubt(self, clap):
        """Sounds in the order of their classes: in each part some rows are alike, and partners are still more so."""
        audio, prompts, labels = clap
        for order in (np.argsort(labels, kind="stable"), np.arange(len(labels))):
            assert misplaced(audio[order], prompts[labels[order]]) is None

    @pytest.mark.parametrize("width", [16, 128])
    def test_order_of_an_index(self, width):
        pandas = pytest.importorskip("pandas")
        rng = np.random.default_rng(0)
        x = pandas.DataFrame(rng.standard_normal((300, width)), index=[f"item-{i}" for i in range(300)])
        y = x + 0.1 * rng.standard_normal((300, width)) + 1
        order = rng.permutation(300)
        right = [(x, y), (x, y.reset_index(drop=True)), (x.reset_index(drop=True).iloc[order], y.iloc[order])]
        right += [
            (x.set_index(pandas.Index([[i] for i in range(300)])), y.iloc[:, ::1].set_index(pandas.Index([[1]] * 300)))
        ]
        right += [
            (x.set_index(pandas.Index(range(300), dtype=of)), y.set_index(pandas.Index([*range(300)])))
            for of in ("Int64", int)
        ]
        levels = pandas.MultiIndex.from_arrays([range(300), range(300)])
        right += [(x.set_index(levels), y), (x.set_index(levels), y.set_index(levels[::-1]))]
        for a, b in right:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                C3Aligner().fit(a, b)
        lacking = pandas.concat([y.drop(index="item-200"), y.iloc[:1].rename(index={"item-0": "more"})])
        for wrong in (y.iloc[order], lacking):
            with pytest.warns(PairOrderWarning, match=r"same labels at different places.*y.loc\[X.index\]"):
                C3Aligner().fit(x, wrong)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert C3Aligner().fit(x, y.iloc[order].loc[x.index]).sigma_ == C3Aligner().fit(x, y).sigma_

    def test_rows_of_other_dtypes_are_no_labels(self, coco):
        """Quantized, held as objects, in frames of one column that is not floating."""
        pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
        text, image = (rows[:, :64] for rows in coco)
        steps = (image * 100).astype(np.int64)
        frame = pandas.DataFrame(image.astype(float)).assign(**{"63": 1}).iloc[:, 1:]
        for y in (steps.astype(np.int8), steps, image.astype(object), pandas.DataFrame(steps, dtype="Int64"), frame):
            with pytest.raises(C3AlignError, match="y has 64 columns that are not all floating"):
                C3Aligner().fit(text, y)
        with pytest.raises(C3AlignError, match="64 columns that are not all floating"):
            C3Aligner().fit(torch.tensor(text), torch.tensor(steps))
        wide = pandas.DataFrame(image.astype(float))
        for name, column in ((64, np.arange(500)), ("id", [f"item-{i}" for i in range(500)])):  # beside the rows
            with pytest.raises(C3AlignError, match=r"y has 65 columns .* without other columns"):
                C3Aligner().fit(text, wide.assign(**{str(name): column}))
        labels = np.eye(64, dtype=int)[np.arange(500) % 64]  # one class a column
        alone = C3Aligner().fit(text).statistics_
        others = [labels, labels.astype(bool), labels[:, :63] * 5, torch.tensor(labels), labels.astype(str)]
        others += [sparse.csr_array(labels), torch.tensor(labels).to_sparse(), np.full((500, 64), "a", object)]
        for y in others:
            assert C3Aligner().fit(text, y).statistics_ == alone

    def test_rows_in_cells(self, coco):
        """A column of arrays in a frame or in Arrow is told how to be stacked, and is no labels."""
        pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
        text, image = (rows[:50] for rows in coco)
        flat = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(image.ravel()), image.shape[1])
        frame = pandas.DataFrame({"embedding": list(image)})
        for y in (frame, frame.assign(id=range(50)), flat, pyarrow.chunked_array([flat]), pyarrow.table({"e": flat})):
            for call in (lambda y=y: C3Aligner().fit(text, y), lambda y=y: C3Aligner().fit(y)):
                with pytest.raises(C3AlignError, match=r"holds an array of 512 numbers in a cell; pass numpy.stack"):
                    call()
        for y in (pandas.Series(list(image)), list(image), np.array([*image, None], object)[:-1]):
            assert C3Aligner().fit(text, y).pairs_["image", "text"].n_rows == 50
        labels = pandas.DataFrame({"name": ["a", "b"] * 25, "number": range(50)})
        assert C3Aligner().fit(text, labels).statistics_ == C3Aligner().fit(text).statistics_

    def test_a_column_that_is_nearly_all_of_the_rows(self, real_rows):
        for found in real_rows.values():
            for name, rows in found.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    C3Aligner().fit(rows, modality=name)
        rows = real_rows["coco"]["text"]
        given = np.insert(rows, 7, 3 * np.arange(1, 501) / 500, axis=1)
        with pytest.warns(ModalityMeanWarning, match=r"column 7 holds \d+% of the squared norm of 'text' rows"):
            C3Aligner().fit(10 * given * [[9 if i == 7 else 1 for i in range(513)]])

    def test_ids_beside_columns_of_rows(self, coco):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(coco[1], columns=[f"e{i}" for i in range(512)])
        for ids in (range(500), pandas.array([*range(500)], dtype="Int64"), np.arange(500, dtype=np.uint8)):
            given = frame.assign(id=ids)
            with pytest.raises(C3AlignError, match="X has columns of integers beside floating ones, id; drop them"):
                C3Aligner().fit(given)
        assert C3Aligner().fit((100 * frame).round().astype(int)).n_features_in_ == 512  # counts

    def test_a_modality_that_was_not_named(self, real_rows):
        """Told sooner than where a name was given, as the rows of every encoder with a gap are."""
        for kind in ("coco", "clap", "glyphs", "convirt"):
            first, second = real_rows[kind].values()
            with pytest.warns(ModalityMeanWarning, match=r"were learned as 'text' rows; if they are another modality"):
                C3Aligner().fit(second).partial_fit(first)
        rows = np.random.default_rng(0).permutation(real_rows["glyphs"]["image"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            C3Aligner().fit(rows[:300]).partial_fit(rows[300:])

    def test_y_of_another_shape_is_no_labels(self, coco):
        text, image = coco
        for y in (image[:, None], (text, image), torch.tensor(image)[:, None]):
            with pytest.raises(C3AlignError, match="paired with X's, 2-d, or labels, got shape"):
                C3Aligner().fit(text, y)
        for y in (np.arange(499), [0] * 501, torch.arange(3), np.eye(499)[:, :3]):
            with pytest.raises(C3AlignError, match="one row for each of X's, got"):
                C3Aligner().fit(text, y)

    def test_the_same_rows_twice(self, coco):
        """They would leave no noise; rounded, of another norm, or a few of many."""
        text, image = coco
        most, few = image.copy(), image.copy()
        most[:200], few[:5] = text[:200], text[:5]
        for y in (text, text.astype(np.float16), 3 * text, torch.tensor(text).bfloat16(), most):
            with pytest.warns(PairOrderWarning, match=r"X and y hold the same row in \d+ of 500.*or X alone"):
                C3Aligner().fit(text, y)
        assert str(doubt(text, text, paired=True)).startswith("X and y hold the same row")
        for y in (image, few, 0 * text):
            assert repeated(text, y) is None

    @pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
    def test_pairs_whose_sides_changed_places(self, real_rows, share):
        """Some of a wide and of a narrow gap; told wherever the gap is large against what pairs differ by beside it."""
        for kind, found in real_rows.items():
            a, b = (np.array(rows[: min(map(len, found.values()))]) for rows in found.values())
            assert exchanged(a, b) is None
            moved = np.random.default_rng(0).permutation(len(a))[: math.ceil(share * len(a))]
            a[moved], b[moved] = b[moved], a[moved]
            if kind == "coco":
                with pytest.warns(PairOrderWarning, match=r"in \d+ of 500 pairs .* changed places"):
                    C3Aligner().fit(a, b)
            assert exchanged(a[:20], b[:20]) is None
            a, b = (rows[: len(a)] - rows[: len(a)].mean(axis=0) for rows in found.values())
            assert exchanged(a, b) is None  # without a gap they differ by this much and that, to either side

    def test_two_kinds_of_pairs(self):
        """Pictures of two cameras differ from their texts in two directions, and no side has changed its place."""
        for seed in range(20):
            rng = np.random.default_rng(seed)
            text, camera = rng.standard_normal((300, 64)), rng.standard_normal((2, 64))
            image = text + 0.7 * rng.standard_normal((300, 64)) + 3 * camera[rng.integers(2, size=300)]
            assert exchanged(text, image) is None

    @given(st.integers(0, 1 << 30), st.integers(3, 40), st.integers(2, 30))
    def test_evidence_is_that_of_all_orders(self, seed, n, n_dims):
        """Against the mean and standard deviation over many random orders, drawn."""
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((2, n, n_dims))
        a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b + 0.3 * a))
        products = (a - a.mean(axis=0)) @ (b - b.mean(axis=0)).T
        drawn = np.array([products[np.arange(n), rng.permutation(n)].sum() for _ in range(3000)])
        found = order_evidence(a, 3 * b)
        assert found == pytest.approx(order_evidence(2 * a.astype(np.float32), b), abs=1e-3)
        assert abs(drawn.mean()) < 0.1 * drawn.std()
        assert found * drawn.std() == pytest.approx(np.trace(products), rel=0.1)

    def test_rows_that_are_all_alike_tell_nothing(self):
        assert order_evidence(np.ones((40, 8)), np.ones((40, 8))) == np.inf
        assert doubt(np.ones((40, 8)), np.eye(8)[[0] * 40], paired=True) is None

    def test_pairs_are_judged_by_their_sums(self, real_rows):
        images = [found["image"] for found in real_rows.values() if "image" in found]
        pairs = [*itertools.product(images, images), *(tuple(found.values()) for found in real_rows.values())]
        # rows that fill their space evenly: partners that are hardly alike, and that are
        first, second = np.random.default_rng(0).standard_normal((2, 2000, 32))
        pairs += [(first, second + 0.075 * first), (first, second + first)]
        # rows of other directions than their partners', with which they share a part
        turns = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 32, 32)))[0]
        scales = np.geomspace(1, 0.05, 32)
        turned = (first * scales) @ turns[0], (second * scales) @ turns[1] + 0.1 * first @ turns[0]
        assert not one_encoder(*turned, paired=False)[1]
        assert one_encoder(*turned, paired=True)[1]
        pairs.append(turned)
        for a, b in ((a, b) for a, b in pairs if a.shape[1] == b.shape[1]):
            a, b = a[: len(b)], b[: len(a)]
            is_alike = centered_pair_cosine(a, b) >= PARTNERS
            assert are_partners(*paired_statistics(a, b)) == is_alike
            assert one_encoder(a, b, paired=True)[1] == (is_alike or one_encoder(a, b, paired=False)[1])
        alike = np.ones((300, 8))
        assert not are_partners(*paired_statistics(alike, alike))

    def test_the_report_says_so_for_two_encoders(self, real_rows, coco_report):
        from c3align.report import report

        image, text = real_rows["coco"].values()
        found = report(image, real_rows["convirt"]["text"], names=["a", "b"])
        assert not found.pairs[0].is_one_encoder
        titles = [advice.title for advice in found.advice() if advice.pair]
        assert titles == ["These do not look like rows of one encoder"]
        assert "an overlap of 1.0, where rows of two encoders have 1" in found.advice()[0].text
        assert str(found).startswith("a and b do not look like rows of one encoder: overlap 1.0, one encoder gives 3")
        assert coco_report.pairs[0].is_one_encoder
        assert coco_report.pairs[0].encoder_overlap == pytest.approx(encoder_overlap(image, text))
        assert "one encoder" not in str(coco_report)

    def test_refusals(self):
        rows = np.random.default_rng(0).standard_normal((30, 8))
        with pytest.raises(C3AlignError, match="8 columns and b 7"):
            encoder_overlap(rows, rows[:, :7])
        with pytest.raises(C3AlignError, match="2 rows with a direction"):
            encoder_overlap(rows, rows[:2])
        with pytest.raises(C3AlignError, match="all alike"):
            encoder_overlap(rows, np.ones((30, 8)))


def test_another_modality_near_by_is_named():
    """Rows of an encoder with a gap so small that a shift alone is no reason for doubt."""
    rng = np.random.default_rng(3)
    rows, gap = rng.standard_normal((2, 3000, 64)), 0.2 * np.eye(64)[0] * 8
    rows = rows * np.linspace(0.2, 1, 64) + np.array([gap / 2, -gap / 2])[:, None] + 1.5
    state = C3Aligner().fit(rows[0], modality="image").partial_fit(rows[1], modality="text").state_
    look = centering.Glance.of(rows[1].astype(np.float32), 2000)
    assert centering.shift(state, "image", look) < 0.15
    assert "on the side of 'text'" in centering.doubt_about("image", state, look, 0.15, mixtures=False)


def _right_pairs(kind, rng, n=2000, dims=128):
    """Pairs of two modalities, in their right order."""
    if kind == "classes":
        classes = rng.standard_normal((10, dims))
        labels = np.sort(rng.integers(0, 10, n))
        return classes[labels] + rng.standard_normal((n, dims)), (classes + 4 * rng.standard_normal((10, dims)))[labels]
    rank, likeness, decay = {"weak": (16, 0.1, 0), "weaker": (64, 0.05, 0), "decaying": (128, 0.3, 1)}.get(
        kind, (64, 0.3, 0)
    )
    axes = np.arange(1, rank + 1)[:, None] ** -float(decay) * rng.standard_normal((rank, dims))
    shared, *own = (rng.standard_normal((n, rank)) @ axes for _ in range(3))
    if kind == "shared":  # 16 captions of a picture
        shared, own[1] = (np.repeat(side[: n // 16 + 1], 16, axis=0)[:n] for side in (shared, own[1]))
    if kind == "films":  # 250 frames that are much alike, on both sides
        scenes, *others = (np.repeat(side[: n // 250 + 1], 250, axis=0)[:n] for side in (shared, *own))
        shared, own = scenes + 0.2 * shared, [part + 0.2 * side for part, side in zip(others, own)]
    return [shared + (1 / likeness - 1) ** 0.5 * side + 2 * rng.standard_normal(dims) for side in own]
