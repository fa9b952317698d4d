"""The report: figures against independent float64, streaming, advice that follows them, pictures that show them."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import C3Aligner, geometry, noise, report
from c3align.choosing import choose
from c3align.errors import C3AlignError, MissingExtraError
from c3align.io import rows as row_files
from c3align.report import _chart, _charts, _measure

mpl, plt = pytest.importorskip("matplotlib"), pytest.importorskip("matplotlib.pyplot")

mpl.use("Agg")


def unit(rows):
    return rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)


def space(n=400, d=48, *, gap=0.8, sigma=0.02, lean=0.0, seed=0):
    """Two cones a constant gap apart, their content in other dimensions, and isotropic noise between partners."""
    rng = np.random.default_rng(seed)
    content = np.zeros((n, d))
    content[:, 2:] = rng.standard_normal((n, d - 2)) * 0.6 / np.sqrt(d - 2)
    a, b = content.copy(), content + sigma * rng.standard_normal((n, d))
    a[:, 0] += gap / 2 + lean * content[:, 2]
    b[:, 0] -= gap / 2 + lean * content[:, 2]
    a[:, 1] += 0.6
    b[:, 1] += 0.6
    return a.astype(np.float32), b.astype(np.float32)


@pytest.fixture
def few(coco, quick_report):
    """The first hundred pairs, in a tenth of the time."""
    return coco[0][:100], coco[1][:100]


def test_frames_are_rows():
    pandas = pytest.importorskip("pandas")
    text, noise = np.random.default_rng(0).normal(size=(2, 60, 6))
    image = text + 0.3 * noise + 1
    frames = [pandas.DataFrame(rows).add_prefix("x") for rows in (text, image)]
    assert str(report.report(*frames)) == str(report.report(text, image))
    with pytest.raises(C3AlignError, match="is a DataFrame, not an array"):
        report.report(frames[0].round().astype(int), frames[1])
    options = {"job": "retrieval", "pairs": True, "seeds": 2}
    assert str(choose(*frames, **options)) == str(choose(text, image, **options))


class TestFigures:
    def test_against_float64(self, coco, coco_report):
        """The first principles beside the report's: no function of the package."""
        a, b = map(unit, coco)
        gap = a.mean(axis=0) - b.mean(axis=0)
        pair = coco_report.pairs[0]
        assert pair.before.gap_norm == pytest.approx(np.linalg.norm(gap), abs=1e-7)
        assert pair.before.pair_cosine == pytest.approx((a * b).sum(axis=1).mean(), abs=1e-7)
        assert pair.before.alignment == pytest.approx(((a - b) ** 2).sum(axis=1).mean(), abs=1e-7)
        sigma = np.sqrt(((a - b - gap) ** 2).mean())
        assert pair.gap.sigma == pytest.approx(sigma, rel=1e-6)
        spread = np.sqrt((a.var(axis=0).sum() + b.var(axis=0).sum()) / 2)
        assert pair.gap.noise_cosine == pytest.approx(spread / np.hypot(spread, np.sqrt(512) * sigma), abs=1e-6)
        assert pair.before.unmatched_cosine == pytest.approx((a @ b.T)[~np.eye(500, dtype=bool)].mean(), abs=1e-7)
        aligned = [unit(rows - rows.mean(axis=0)) for rows in (a, b)]
        after = aligned[0].mean(axis=0) - aligned[1].mean(axis=0)
        assert pair.after.gap_norm == pytest.approx(np.linalg.norm(after), abs=1e-6)
        assert pair.after.pair_cosine == pytest.approx((aligned[0] * aligned[1]).sum(axis=1).mean(), abs=1e-6)
        assert [part.spread for part in coco_report.modalities] == pytest.approx(
            [np.sqrt(rows.var(axis=0).sum()) for rows in (a, b)], abs=1e-7
        )

    def test_false_positives_at_one_threshold(self, coco, coco_report):
        """From the scores themselves; after centering as published."""
        pair, aligned = coco_report.pairs[0], [unit(rows - rows.mean(axis=0)) for rows in map(unit, coco)]
        apart, upper = ~np.eye(500, dtype=bool), np.triu_indices(500, 1)
        between = (aligned[0] @ aligned[1].T)[apart]
        within = [(rows @ rows.T)[upper] for rows in aligned]
        shares = [(scores > np.quantile(between, 0.99)).mean() for scores in within]
        assert pair.after.false_positives == pytest.approx(shares, abs=1e-4)
        scaled = [(scores - scores.mean()) / scores.std() for scores in (between, *within)]
        shares = [(scores > np.quantile(scaled[0], 0.99)).mean() for scores in scaled[1:]]
        assert pair.after.false_positives_scaled == pytest.approx(shares, abs=1e-4)
        assert pair.after.false_positives[1] == pytest.approx(0.062, abs=0.003)
        assert max(pair.after.false_positives_scaled) < 0.016
        item = kinds(coco_report)["One index over both still prefers its own kind"]
        assert "lets 5.8 / 6.0 % through within them, and 1.5 / 1.3 % by `calibrate()`" in item.text
        assert "false positives at one threshold 99.7 / 97.8 % 5.8 / 6.0 %" in " ".join(str(coco_report).split())

    def test_several_captions_of_a_picture(self, coco, coco_report, quick_report):
        """Copies of a picture are not each other's wrong answers, nor its own captions unrelated to it."""
        image, text = (rows[:200] for rows in coco)
        rng = np.random.default_rng(0)
        near = [text + 0.01 * rng.standard_normal(text.shape).astype(np.float32) for _ in range(4)]
        order = rng.permutation(1000)
        found = report.report(np.concatenate([image] * 5)[order], np.concatenate([text, *near])[order])
        pair, alone = found.pairs[0], report.report(image, text).pairs[0]
        assert (pair.n_measured, pair.n_distinct, pair.n_groups) == (1000, (200, 1000), 200)
        assert pair.before.recall_b_to_a[1] == pytest.approx(alone.before.recall_b_to_a[1], abs=0.03)
        assert pair.before.recall_a_to_b[1] == pytest.approx(alone.before.recall_a_to_b[1], abs=0.06)
        assert pair.fair_shares == pytest.approx((1 / 6, 5 / 6))
        assert pair.before.unmatched_cosine == pytest.approx(alone.before.unmatched_cosine, abs=0.01)
        assert "1,000 pairs of 200 different image and 1,000 text rows, 200 groups" in str(found)
        assert "groups:" not in str(coco_report)
        assert (alone.n_distinct, alone.n_groups) == ((200, 200), 200)

    def test_likeness_of_noise(self, coco, coco_report):
        fits = coco_report.pairs[0].noise_fits
        assert list(fits) == ["isotropic", "half_power of image", "half_power of text"]
        assert fits["isotropic"] == pytest.approx((0.4946, 0.7112), abs=1e-3)
        assert fits["half_power of text"][0] > 0.6
        a, b = map(unit, coco)
        fit = geometry.noise_fit(a - b)
        assert fits["isotropic"] == pytest.approx(fit, abs=1e-6)
        assert "isotropic 0.49 (0.71), half_power of image 0.66 (0.83)" in str(coco_report)
        item = kinds(coco_report)["The noise is not alike in all directions"]
        assert "half_power of image rows is more alike to it than isotropic noise (0.66 against 0.49" in item.text
        same = report.report(coco[0], 1.0 * coco[0]).pairs[0]
        assert same.noise_fits is None

    def test_published_and_known(self, coco_report):
        pair = coco_report.pairs[0]
        assert pair.before.gap_norm == pytest.approx(0.851, abs=5e-4)
        assert (pair.before.recall_a_to_b[1], pair.after.recall_b_to_a[1]) == (0.552, 0.5)
        assert pair.before.separability == 1
        assert pair.after.separability < 0.65
        assert pair.gap_direction > 0.98

    def test_covariance_distance_has_a_scale(self):
        """0 for the same shape elsewhere, 1 for shapes that share no dimension."""
        rng = np.random.default_rng(0)
        left, right = (np.zeros((400, 40)) for _ in range(2))
        left[:, :10], right[:, 20:30] = (unit(rows) for rows in rng.standard_normal((2, 400, 10)))
        assert _measure._covariance_distance(left, left[::-1]) == pytest.approx(0, abs=1e-9)
        assert _measure._covariance_distance(left, right) == pytest.approx(1, abs=1e-9)
        assert _measure._covariance_distance(left * 0, right * 0) == 0

    def test_more_than_two(self, few):
        image, text = few
        gap = np.linalg.norm(unit(image).mean(axis=0) - unit(text).mean(axis=0))
        found = report.report(image, text, image[::-1], names=("image", "text", "echo"), paired=False)
        assert [pair.names for pair in found.pairs] == [("image", "text"), ("image", "echo"), ("text", "echo")]
        assert found.pair("echo", "image").before.gap_norm == pytest.approx(0, abs=1e-9)
        assert found.pair("text", "echo").before.gap_norm == pytest.approx(gap, abs=1e-7)
        assert found.headline().startswith(f"image and text sit {gap:.2f} apart, the widest of 3 gaps")
        with pytest.raises(C3AlignError, match="no pair of 'image' and 'audio'"):
            found.pair("image", "audio")

    def test_after_is_what_the_aligner_makes_of_them(self, coco, quick_report):
        image, text = coco
        aligner = C3Aligner().fit(text[:100], image[:100])
        found = report.report(image, text, aligner=aligner)
        z = [unit(aligner.transform(rows, modality=name)) for name, rows in (("image", image), ("text", text))]
        gap = np.linalg.norm(z[0].mean(axis=0) - z[1].mean(axis=0))
        assert found.pairs[0].after.gap_norm == pytest.approx(gap, abs=1e-6)
        assert gap > 0.09  # not their own means, which leave 0.03
        assert "as the given aligner transforms it" in str(found)
        assert "after alignment" in found.headline()

    def test_unpaired(self, few):
        found = report.report(few[0], few[1][:60], names=("photo", "caption"))
        pair = found.pairs[0]
        assert not pair.paired
        assert pair.before.recall_a_to_b is pair.gap.sigma is pair.before.pair_cosine is None
        assert "R@1" not in str(found)
        assert "100 photo, 60 caption rows, not paired" in str(found)
        assert "62 / 38 % would be fair" in found.to_html()

    def test_tensors_and_halves(self, few):
        tensors = [torch.from_numpy(rows) for rows in few]
        whole, halves = report.report(*tensors), report.report(*(rows.half() for rows in tensors))
        assert halves.modalities[0].dtype == "float16"
        assert halves.pairs[0].before.gap_norm == pytest.approx(whole.pairs[0].before.gap_norm, abs=1e-4)

    def test_plain_numbers(self, coco_report):
        found = json.loads(json.dumps(coco_report.to_dict()))
        assert found["pairs"][0]["before"]["gap_norm"] == pytest.approx(0.851, abs=5e-4)
        assert found["pairs"][0]["before"]["recall_a_to_b"]["1"] == 0.552
        assert found["modalities"][1]["name"] == "text"
        assert found["headline"] == coco_report.headline()

    def test_text(self, coco_report):
        text = str(coco_report)
        assert text.startswith(
            "image and text sit 0.85 apart, and 100 % of the nearest neighbors of a text row are text rows; after "
            "centering 0.03 and 94 %."
        )
        for part in (".552 / .808", ".542 / .806", "effective dimension 296 of 512", "sigma 0.0358"):
            assert part in text

    def test_refusals(self, coco):
        with pytest.raises(C3AlignError, match="use one encoder"):
            report.report(coco[0], coco[1][:, :100])
        with pytest.raises(C3AlignError, match="must have 2 rows or more, got 1"):
            report.report(coco[0][:1], coco[1][:1])
        with pytest.raises(C3AlignError, match="at least two modalities, got 1"):
            report.report(coco[0])
        with pytest.raises(C3AlignError, match="names must be 2 different strings, got text, text"):
            report.report(*coco, names=("text", "text"))
        with pytest.raises(C3AlignError, match="needs equal row counts, got 500 image, 300 text"):
            report.report(coco[0], coco[1][:300], paired=True)
        with pytest.raises(C3AlignError, match="max_rows must be 2 or more, got 1"):
            report.report(*coco, max_rows=1)
        holed = coco[1].copy()
        holed[4, 4] = np.nan
        with pytest.raises(C3AlignError, match="text holds NaN or infinity in 1 of 500 rows, first in row 4"):
            report.report(coco[0], holed)


class TestStreaming:
    def test_blocks_and_shards_leave_no_trace(self, monkeypatch):
        image, text = space()
        whole = report.report(image, text)
        monkeypatch.setattr(row_files, "BLOCK_BYTES", 4 * 48 * 70)
        parts = report.report([image[:123], image[123:]], [text[:300], text[300:]])
        assert parts.to_dict() == whole.to_dict()

    def test_gap_and_sigma_are_of_all_rows(self, quick_report):
        """The rows that an even sample leaves out lie elsewhere."""
        a, b = space(n=1000)
        a[1::2, 0] += 0.5
        whole, sampled = report.report(a, b), report.report(a, b, max_rows=10)
        assert sampled.samples.n_measured == (10, 10)
        assert sampled.pairs[0].before.gap_norm == whole.pairs[0].before.gap_norm
        assert sampled.pairs[0].after.gap_norm == whole.pairs[0].after.gap_norm
        assert sampled.pairs[0].gap.sigma == whole.pairs[0].gap.sigma

    def test_sampling_is_stated(self, coco, coco_report, quick_report):
        found = report.report(*coco, max_rows=100)
        assert found.pairs[0].n_measured == 100
        told = "all but gap, means and sigma on an even sample of 100 of each"
        assert told in str(found)
        page = found.to_html()
        assert page.count(told) >= 2
        assert "Recall on a sample" in page
        assert re.search(r"own modality among the 10 nearest \(sample\)", page)
        assert "gap (sample)" not in page
        assert "(sample)" not in coco_report.to_html()

    def test_a_memmap_is_let_go_and_never_written(self, tmp_path, monkeypatch):
        monkeypatch.setattr(row_files, "BLOCK_BYTES", 4 * 48 * 70)
        told = []
        for name, rows in zip(("image", "text"), space()):
            np.save(tmp_path / f"{name}.npy", rows)
        before = [(tmp_path / f"{name}.npy").read_bytes() for name in ("image", "text")]
        kept = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("image", "text")]
        release = row_files.RowSource.release
        monkeypatch.setattr(row_files.RowSource, "release", lambda self: (told.append(self.name), release(self))[1])
        assert report.report(*kept).to_dict() == report.report(*space()).to_dict()
        assert told.count("image") > 2 * 400 // 70
        assert [(tmp_path / f"{name}.npy").read_bytes() for name in ("image", "text")] == before

    def test_what_was_written_into_a_private_map_stays(self, tmp_path):
        a, b = space()
        np.save(tmp_path / "a.npy", a)
        private = np.load(tmp_path / "a.npy", mmap_mode="c")
        private[:] = b
        report.report(private, b[::-1])
        assert np.array_equal(private, b)

    def test_errors_count_rows_in_the_whole(self, monkeypatch):
        monkeypatch.setattr(row_files, "BLOCK_BYTES", 4 * 48 * 100)
        a, b = space()
        b[250, 3] = np.inf
        with pytest.raises(C3AlignError, match=r"counted from row 200 of text: text holds NaN .* first in row 50"):
            report.report(a, b)

    @given(n=st.integers(1, 300), most=st.integers(2, 40))
    def test_samples_are_even(self, n, most):
        chosen = _measure.even(n, most)
        assert len(chosen) == min(n, most)
        if n > 1:
            assert (chosen[0], chosen[-1]) == (0, n - 1)
            assert np.ptp(np.diff(chosen)) <= 1


def kinds(found):
    return {item.title: item for item in found.advice()}


class TestAdvice:
    def test_a_constant_gap_is_centred(self):
        items = kinds(report.report(*space()))
        item = items["Center each modality by its own mean"]
        assert item.kind == "do"
        assert item.code == "aligner = C3Aligner().fit(text, image)"
        assert "One index over both is fair" in items
        assert "The noise is not alike in all directions" not in items  # it was drawn isotropic

    def test_the_code_of_the_advice_runs(self):
        image, text = space()
        names = {"C3Aligner": C3Aligner, "image": image, "text": text, "video": text}
        for paired in (True, False):
            for called in (("image", "text"), ("video", "text")):
                for item in report.report(image, text, names=called, paired=paired).advice():
                    scope = dict(names)
                    exec(item.code, scope)
                    if item.title.startswith("Center"):
                        assert set(scope["aligner"].statistics_) == set(called)

    def test_the_same_rows_twice(self, coco, coco_report, quick_report):
        image, text = coco
        half = np.arange(len(text)) % 2 == 0
        for a, b, said in (
            (image, image, "hold the same rows in many pairs"),
            (np.where(half[:, None], image, text), np.where(half[:, None], text, image), "seem to have changed places"),
            (
                image[:-1],
                np.concatenate([text[:200], text[201:]]),
                "by chance: does a side lack some",
            ),
        ):
            assert said in report.report(a, b).headline()
        assert "?" not in coco_report.headline()

    def test_no_gap(self):
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((300, 20))
        items = kinds(report.report(rows, rows + 0.01 * rng.standard_normal((300, 20))))
        assert "There is no gap to speak of" in items

    def test_of_one_dimension(self):
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (2, 60, 1))
        assert "apart" in str(report.report(*signs))

    def test_one_constant_gap_in_noise(self):
        """Beside the residuals it is small, and differs between groups of 100 pairs as chance has it."""
        rng = np.random.default_rng(0)
        rows, noise = rng.standard_normal((2, 400, 64))
        rows[:, 0] = noise[:, 0] = 0
        gap = 0.1 * np.eye(64)[0]
        a, b = (found / np.linalg.norm(found, axis=1, keepdims=True) for found in (rows, rows + 0.8 * noise))
        pair = report.report(a + gap, b - gap).pairs[0]
        assert pair.gap_direction < 0.93
        assert abs(pair.gap_direction - pair.constant_direction) < 0.05
        assert "Center each modality by its own mean" in kinds(report.report(a + gap, b - gap))

    @pytest.mark.parametrize(
        ("change", "title", "words"),
        [
            ({"orthogonality": (0.3, 0.1)}, "Center, and check", "The gap leans towards what rows say (cosine 0.30)"),
            ({"gap.standard_error": 0.5}, "There is no gap to speak of", "about 0.50 by chance"),
            ({"after.recall_a_to_b": {1: 0.9}}, "Search from one to the other gets better", "to 0.900 / 0.500"),
            (
                {"after.recall_a_to_b": {1: 0.1}},
                "Search from one to the other gets worse",
                "keep the rows as they came",
            ),
            ({"after.modality_bias": (0.5, 0.6)}, "One index over both is fair", "after alignment 50 / 60 %"),
            (
                {"n_distinct": (900, 100), "after.modality_bias": (0.97, 0.17)},  # a third of their share
                "One index over both still prefers",
                "90 / 10 % would be fair",
            ),
            ({"after.separability": 0.9}, "One index over both still prefers", "separates them (90 %)"),
            ({"after.separability": 0.5}, "One index over both still prefers", "No line parts them"),
            ({"after.separability": None}, "One index over both still prefers", "Whether a line parts them was not"),
            ({"after.pair_cosine": 0.8}, "Train decoders", "what fit learns."),
            ({"residual_participation": 400.0}, "Train decoders", "a noise cosine of 0.65"),
        ],
    )
    def test_it_follows_the_figures(self, coco_report, change, title, words):
        """One figure of a real report changed at a time."""
        pair = coco_report.pairs[0]
        for name, value in change.items():
            part, _, field = name.rpartition(".")
            value = replace(getattr(pair, part), **{field: value}) if part else value
            pair = replace(pair, **{part or name: value})
        items = replace(coco_report, pairs=(pair,)).advice()
        found = [item for item in items if item.title.startswith(title)]
        assert len(found) == 1
        assert words in found[0].text
        if name == "residual_participation":
            assert "The noise is not alike in all directions" not in [item.title for item in items]
        if name == "after.pair_cosine":
            assert found[0].code == ""

    def test_rows_that_are_no_pairs_are_asked_about(self, few):
        image, text = few
        found = report.report(image, text[::-1])
        items = kinds(found)
        assert "as good as chance" in items["Are these pairs?"].text
        assert found.headline().startswith("Row i of image is no more like row i of text than")
        assert report.report(image, text).headline().startswith("image and text sit")
        assert not [title for title in items if title.startswith(("Search", "Train"))]
        assert "Are these pairs?" not in kinds(report.report(image[:6], text[:6]))

    def test_noise_in_few_directions(self):
        a, b = space(sigma=0)
        rng = np.random.default_rng(1)
        b[:, 3:6] += 0.1 * rng.standard_normal((400, 3))
        item = kinds(report.report(a, b))["The noise is not alike in all directions"]
        assert item.code == 'C3Aligner(noise="residual")'
        assert "about 3 of 48 dimensions" in item.text

    def test_without_pairs_noise_is_unknown(self, few):
        item = kinds(report.report(*few, paired=False))["The noise to train with is unknown"]
        centred = np.sqrt(np.mean([unit(rows).var(axis=0).sum() for rows in few]))
        cosine = noise.cosine_from_sigma(noise.PAPER_SIGMA, 512, norm=centred)
        assert f"a noise cosine of {cosine:.2f}" in item.text

    def test_lengths_few_rows_and_samples(self, coco, quick_report):
        items = kinds(report.report(20 * coco[0], coco[1], max_rows=100))
        assert "20 for image" in items["Rows of different length"].text
        assert "100 image, 100 text rows for 512 dimensions" in items["Few rows"].text
        assert "Among all 500 it is lower" in items["Recall on a sample"].text
        assert "Few rows" not in kinds(report.report(*space()))


class TestPlots:
    """What is drawn are the figures of the report."""

    @pytest.fixture(autouse=True)
    def closed(self):
        yield
        plt.close("all")

    def test_cones(self, coco, coco_report):
        axes = report.plot_cones(coco_report)
        assert [ax.get_title(loc="left") for ax in axes] == ["before: gap 0.85", "after: gap 0.03"]
        (image, text), means = _offsets(axes[0])
        # the gap lies flat: it parts the cones before, and nothing after
        assert image[:, 0].max() < text[:, 0].min()
        assert means[1] - means[0] == pytest.approx((0.8514, 0), abs=1e-4)
        means = _offsets(axes[1])[1]
        assert np.linalg.norm(means[0] - means[1]) < 0.03
        a, b = map(unit, coco)
        along = b.mean(axis=0) - a.mean(axis=0)
        every = (a - (a.mean(axis=0) + b.mean(axis=0)) / 2) @ along / np.linalg.norm(along)
        chosen = np.unique(np.linspace(0, 499, 300).astype(int))
        assert image[:, 0] == pytest.approx(every[chosen], abs=1e-6)

    def test_spectra(self, coco, coco_report):
        ax = report.plot_spectra(coco_report)
        values = np.linalg.eigvalsh(np.cov(unit(coco[1]).T))[::-1]
        drawn = ax.lines[1].get_xydata()
        assert drawn[:, 1] == pytest.approx(values[: len(drawn)], rel=1e-6, abs=1e-12)
        assert ax.collections[1].get_offsets()[0, 0] == geometry.effective_dimension(coco[1])
        assert ax.get_yscale() == "log"

    def test_similarities(self, coco, coco_report):
        axes = report.plot_similarities(coco_report)
        labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
        assert labels == ["matched", "unmatched", "within image", "within text"]
        outlines = [patch for patch in axes[0].patches if not patch.get_fill()]
        heights, edges, _ = outlines[0].get_data()
        assert heights.sum() == pytest.approx(1)
        middle = (edges[1:] + edges[:-1]) / 2
        assert heights @ middle == pytest.approx(
            (unit(coco[0]) * unit(coco[1])).sum(axis=1).mean(), abs=np.ptp(edges) / 48
        )
        assert axes[0].get_ylim() == axes[1].get_ylim()

    def test_recall(self, coco_report):
        ax = report.plot_recall(coco_report, pair=("image", "text"))
        pair = coco_report.pairs[0]
        drawn = [dict(zip(line.get_xdata(), line.get_ydata())) for line in ax.lines]
        states = (pair.before, pair.after)
        assert drawn == [s.recall_a_to_b for s in states] + [s.recall_b_to_a for s in states]

    def test_residuals(self, coco, coco_report):
        ax = report.plot_residuals(coco_report)
        heights, edges, _ = next(patch for patch in ax.patches if not patch.get_fill()).get_data()
        difference = unit(coco[0]) - unit(coco[1])
        eps = difference - difference.mean(axis=0)
        within = (np.abs(eps) < 5 * np.sqrt((eps**2).mean())).mean()
        assert (heights * np.diff(edges)).sum() == pytest.approx(within, abs=1e-9)
        x, y = ax.lines[0].get_data()
        assert y == pytest.approx(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))

    def test_residual_spectrum(self, coco, coco_report):
        ax = report.plot_residual_spectrum(coco_report)
        eps = unit(coco[0]) - unit(coco[1])
        values = np.linalg.eigvalsh(np.cov(eps.T))[::-1]
        drawn = ax.lines[0].get_ydata()
        assert drawn == pytest.approx(values[: len(drawn)], rel=1e-6, abs=1e-12)
        assert ax.lines[1].get_ydata() == pytest.approx(values.mean())

    def test_noise_cosine(self, coco_report):
        ax = report.plot_noise_cosine(coco_report)
        pair = coco_report.pairs[0]
        marks = [tuple(points.get_offsets()[0]) for points in ax.collections]
        assert marks[0] == pytest.approx((pair.gap.sigma, pair.gap.noise_cosine), rel=1e-5)
        assert marks[1][0] == noise.paper_sigma(512)
        assert marks[2][1] == pytest.approx(noise.cosine_from_lafite_mix(0.75))
        assert ax.lines[-1].get_ydata() == pytest.approx(pair.after.pair_cosine)
        x, y = ax.lines[0].get_data()
        for sigma, cosine in marks:
            assert np.interp(sigma, x, y) == pytest.approx(cosine, abs=1e-3)

    def test_variances(self, coco, coco_report):
        drawn = report.plot_variances(coco_report).collections[0].get_offsets()
        x, y = (unit(rows).var(axis=0) for rows in coco)
        assert np.array(drawn) == pytest.approx(np.stack([x, y], axis=1), rel=1e-9)

    def test_what_the_pictures_say(self):
        """No cones where there are none, and a share of those dimensions that vary."""
        a, b = space(gap=0.0)
        a[:, -5:] = b[:, -5:] = 0
        found = report.report(a, b).samples
        assert "cone" not in _charts.cones(found).finding
        assert "% of the 42 that vary in both do so more than twice" in _charts.variances(found, 0, 1).finding

    def test_gap_share(self, coco, coco_report):
        ax = report.plot_gap_share(coco_report)
        gap = unit(coco[0]).mean(axis=0) - unit(coco[1]).mean(axis=0)
        share = np.cumsum(np.sort(gap**2)[::-1]) / (gap**2).sum()
        assert ax.lines[0].get_ydata() == pytest.approx(share)

    def test_arrays_axes_and_refusals(self, coco, coco_report):
        _, ax = plt.subplots()
        assert report.plot_recall(*coco, names=("photo", "caption"), ax=ax) is ax
        assert "photo to caption, before" in [text.get_text() for text in ax.get_legend().get_texts()]
        with pytest.raises(C3AlignError, match="needs 2 axes, got 1; pass 2, or omit ax="):
            report.plot_cones(coco_report, ax=ax)
        with pytest.raises(C3AlignError, match="omit paired"):
            report.plot_recall(coco_report, paired=False)
        with pytest.raises(C3AlignError, match="a picture of pairs"):
            report.plot_residuals(*coco, paired=False)
        with pytest.raises(C3AlignError, match="no modality 'audio'"):
            report.plot_recall(coco_report, pair=("audio", "text"))

    def test_overview(self, coco_report):
        figure = report.plot_overview(coco_report)
        titles = [ax.get_title(loc="left") for ax in figure.axes if ax.axison]
        assert len(titles) == len(set(titles)) == 11
        assert len([ax for ax in report.plot_overview(report.report(*space(), paired=False)).axes if ax.axison]) == 8

    def test_without_matplotlib(self, coco_report, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[plots\]'"):
            report.plot_spectra(coco_report)
        assert coco_report.to_html()  # the page needs none

    def test_every_picture_is_documented(self):
        for name in report.__all__:
            if name.startswith("plot_"):
                text = getattr(report, name).__doc__
                assert re.search(r"Parameters\n.*Returns\n", text, re.S), name


def _offsets(ax):
    """Clouds and means drawn by `plot_cones`."""
    parts = [np.array(points.get_offsets()) for points in ax.collections]
    return [part for part in parts if len(part) > 1], [part[0] for part in parts if len(part) == 1]


class TestTicks:
    @given(low=st.floats(-1e6, 1e6), size=st.floats(1e-6, 1e6))
    def test_round_and_inside(self, low, size):
        high = low + size
        if not low < high or size < 1e-9 * abs(low):
            return
        found = _chart.ticks(low, high)
        assert 2 <= len(found) <= 7
        step = found[1] - found[0]
        assert all(low - 1e-6 * step <= tick <= high + 1e-6 * step for tick in found)
        assert step / 10 ** np.floor(np.log10(step) + 1e-9) == pytest.approx(
            round(step / 10 ** np.floor(np.log10(step) + 1e-9)), rel=1e-3
        )

    @given(low=st.floats(1e-12, 1e3), decades=st.floats(0.35, 14))
    def test_of_powers(self, low, decades):
        found = _chart.log_ticks(low, low * 10**decades)
        assert 1 <= len(found) <= 8
        assert all(low * (1 - 1e-6) <= tick <= low * 10**decades * (1 + 1e-6) for tick in found)

    def test_a_range_between_two_powers_has_ticks(self):
        assert _chart.log_ticks(201, 476) == [250, 300, 350, 400, 450]

    def test_no_minus_zero(self):
        assert (_chart.fixed(-0.001), _chart.fixed(-0.006), _chart.fixed(1.005, 1)) == ("0.00", "-0.01", "1.0")
