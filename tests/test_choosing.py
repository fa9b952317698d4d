"""What `choose` advises: the same as an independent count of the scores, on rows that were not learned from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import C3Aligner, _halves, _judging, mappings, sample
from c3align.choosing import choose
from c3align.errors import C3AlignError, EncoderMismatchWarning, PairOrderWarning
from tests.test_report import space


def unequal(n=300, d=24, seed=0):
    """Pairs whose modalities have other directions of large variance, which "barycenter" evens out."""
    rng = np.random.default_rng(seed)
    content, spread = rng.normal(size=(n, d)), np.exp(np.linspace(-1, 1, d))
    a, b = ((content + 0.3 * rng.normal(size=(n, d))) * scale for scale in (spread, spread[::-1]))
    a[:, 0] += 20
    b[:, 1] += 20
    return a, b


def alike(n=300, d=24, seed=0):
    """Pairs that nothing but their means tells apart."""
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(n, d))
    a, b = (content + 0.8 * rng.normal(size=(n, d)) for _ in range(2))
    a[:, 0] += 5
    b[:, 1] += 5
    return a, b


def named(choice, name):
    return next(found for found in choice.candidates if found.name == name)


class TestAdvice:
    def test_one_index_of_clip(self, coco):
        """The house's own measurements: half-way transport for one index, with pairs and without."""
        image, text = coco
        choice = choose(text, image, job="search", pairs=True, seeds=3)
        assert choice.line == 'C3Aligner(mapping="barycenter", second_moments=True)'
        assert choice.winner.mean[0] > named(choice, "center").mean[0] + 0.2
        assert named(choice, "raw").mean[0] < 0.01
        unpaired = choose(text, image, job="search", seeds=2)
        assert unpaired.winner.name in ("barycenter", "gaussian_ot")
        assert {"procrustes", "ridge", "cca"}.isdisjoint(found.name for found in unpaired.candidates)

    def test_one_direction_keeps_the_center(self, coco):
        image, text = coco
        choice = choose(text, image, job="retrieval", pairs=True)
        assert choice.line == "C3Aligner()"
        assert choice.reason == "no difference beyond the spread: keep center"

    def test_sounds_and_class_prompts(self, clap):
        sounds, prompts, labels = clap
        choice = choose(prompts, sounds, job="classification", labels=labels, names=("text", "audio"))
        assert choice.winner.name == "center"
        assert named(choice, "center").mean[0] == pytest.approx(0.93, abs=0.01)
        assert named(choice, "raw").mean[0] == pytest.approx(0.92, abs=0.01)

    def test_readers(self, coco):
        """Noise and map as trained captioners order them: center, then barycenter; a map from pairs is best."""
        image, text = coco
        choice = choose(text, image, job="captioning", pairs=True, seeds=2)
        order = [named(choice, name).mean[0] for name in ("raw", "center", "barycenter", "ridge")]
        assert order == sorted(order)
        assert {"ridge, no noise", "ridge, residual noise"} < {found.name for found in choice.candidates}
        assert named(choice, "quantile")

    @pytest.mark.parametrize(("gain", "winner"), [(0.01, "barycenter"), (0.5, "barycenter, no noise")])
    def test_noise_wins_only_beyond_the_spread(self, monkeypatch, gain, winner):
        """Over the same mapping with the usual noise, and not over center alone."""

        def judge(split):
            jitter = 0.1 * split.seed * (split.aligner.sigma == 0)
            return {"cosine": (split.aligner.mapping == "barycenter") + jitter + gain * (split.aligner.sigma == 0)}

        monkeypatch.setattr(_judging, "captioning", judge)
        assert choose(*alike(), job="captioning", pairs=True, seeds=3).winner.name == winner

    @pytest.mark.parametrize("job", ["search", "retrieval"])
    @pytest.mark.parametrize("seed", range(3))
    def test_center_wins_where_nothing_is_better(self, job, seed):
        choice = choose(*alike(seed=seed), job=job, pairs=True)
        assert choice.winner.name == "center"
        assert choice.reason.endswith("keep center")

    def test_few_splits_show_little(self):
        few, enough = (choose(*unequal(), job="search", pairs=True, seeds=seeds).notes for seeds in (4, 5))
        assert [note for note in few if note not in enough] == [
            "4 splits show little of what chance does; choose by 5 before you rely on it"
        ]

    @pytest.mark.filterwarnings("ignore::c3align.errors.EncoderMismatchWarning")  # these fill their space evenly
    def test_retrieval_is_not_told_without_pairs(self):
        choice = choose(*space(), job="retrieval", seeds=2)
        assert choice.winner.name == "center"
        assert "without pairs nothing here tells" in choice.reason

    def test_two_encoders(self, coco, convirt):
        with pytest.warns(EncoderMismatchWarning, match="overlap .*same, trained encoder") as caught:
            choice = choose(coco[1], convirt[0], job="search", seeds=2)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert choice.notes[-1] in str(choice)
        assert choice.winner.name == "center"
        assert choice.reason.startswith("nothing can be chosen by rows like these")

    def test_pairs_in_a_wrong_order(self, coco):
        with pytest.warns(PairOrderWarning, match="no more like row i of y") as caught:
            choice = choose(coco[1][:, :96], coco[0][::-1, :96], job="search", pairs=True, seeds=2)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert choice.notes[-1] in str(choice)

    def test_the_line_makes_the_aligner_that_is_scored_alone(self):
        """Fitted by itself on the same half, it has the figures in the table."""
        given, names = unequal(), ("sound", "video")
        choice = choose(*given, job="captioning", pairs=True, seeds=2, names=names)
        split = _halves.draw(given, names, pairs=True, groups=None, labels=None, max_rows=2000)[0].split(1)
        for found in choice.candidates:
            aligner = eval(found.line, {"C3Aligner": C3Aligner, "mappings": mappings})
            x, y = (rows[mask] for rows, mask in zip(given, split.learned))
            aligner.fit(x, y, modality="sound", y_modality="video")
            alone = _judging.captioning(split._replace(aligner=aligner))
            assert list(alone.values()) == pytest.approx(found.figures[1], abs=1e-6)
        assert named(choice, "ridge").settings["mapping"] == mappings.Ridge(target="sound")


class TestFairness:
    def test_nothing_tested_was_learned(self, monkeypatch):
        """Copies and groups stay on one side."""
        x, y = space(200)
        x, y, groups = np.repeat(x, 3, axis=0), np.repeat(y, 3, axis=0), np.arange(600) // 6
        y += 0.01 * np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
        rows, _ = _halves.draw((x, y), ("text", "image"), pairs=True, groups=groups, labels=None, max_rows=2000)
        for seed in range(3):
            split = rows.split(seed)
            assert not (split.learned[0] & split.tested[0]).any()
            assert np.array_equal(split.learned[0], split.learned[1])
            assert set(groups[split.learned[0]]).isdisjoint(groups[split.tested[0]])
            assert split.aligner.statistics_["text"].n_rows == split.learned[0].sum()
        alone, _ = _halves.draw((x, y), ("text", "image"), pairs=True, groups=None, labels=None, max_rows=2000)
        assert len(np.unique(alone.groups[0])) == 200

    @given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
    def test_related_rows(self, keys):
        """Against merging sets until nothing changes."""
        found = sample.together(*(np.array(side, np.int64) for side in zip(*keys)))
        sets = [{i} for i in range(len(keys))]
        for i, first in enumerate(keys):
            for j, second in enumerate(keys):
                if first[0] == second[0] or first[1] == second[1]:
                    both = sets[i] | sets[j]
                    for k in both:
                        sets[k] = both
        together = [[a == b for a in found] for b in found]
        assert together == [[j in own for j in range(len(keys))] for own in sets]

    def test_pairs_are_drawn_as_pairs(self):
        x, y = space(500)
        rows, notes = _halves.draw((x, y), ("a", "b"), pairs=True, groups=None, labels=None, max_rows=100)
        assert [len(side) for side in rows.sides] == [100, 100]
        numbers = [int(np.flatnonzero((x == row).all(axis=1))[0]) for row in rows.sides[0]]
        assert np.array_equal(rows.sides[1], y[numbers])
        assert notes == ["100 of 500 a rows were used, evenly spaced", "100 of 500 b rows were used, evenly spaced"]

    def test_classes_are_scored_on_other_rows(self):
        """All prompts are known; half of the rows are not."""
        x, y = space(100)
        labels = np.arange(100) % 20
        rows, _ = _halves.draw((x[:20], y), ("text", "image"), pairs=False, groups=None, labels=labels, max_rows=2000)
        split = rows.split(0)
        assert [part.sum() for part in (*split.learned, *split.tested)] == [20, 50, 20, 50]
        assert not (split.learned[1] & split.tested[1]).any()
        assert np.array_equal(split.about, labels[split.tested[1]])

    def test_any_rows(self, tmp_path):
        """Tensors, files and half precision give the figures of arrays."""
        x, y = (rows.astype(np.float16) for rows in unequal())
        for name, rows in (("x", x), ("y", y)):
            np.save(tmp_path / f"{name}.npy", rows)
        given = [(x, y), (torch.from_numpy(x), torch.from_numpy(y)), (tmp_path / "x.npy", tmp_path / "y.npy")]
        first, *others = (choose(*rows, job="retrieval", pairs=True, seeds=2).to_dict() for rows in given)
        assert others == [first, first]

    def test_same_call_same_figures(self):
        first, second = (choose(*unequal(), job="search", pairs=True, seeds=2).to_dict() for _ in range(2))
        assert first == second


class Still:
    """An aligner that leaves rows as they are."""

    def transform(self, X, modality):
        return X / np.linalg.norm(X, axis=1, keepdims=True)


def still(x, y, about):
    every = np.ones(len(x), bool)
    return _judging.Split(Still(), ("text", "image"), (x, y), (every, every), (every, every), np.array(about), 0)


class TestJudges:
    @given(st.integers(0, 2**32 - 1), st.integers(2, 30))
    def test_gain_by_hand(self, seed, n):
        rng = np.random.default_rng(seed)
        scores, groups = rng.normal(size=(n, n)), rng.integers(0, 5, n)
        relevant = groups[:, None] == groups
        expected = []
        for own, right in zip(scores, relevant):
            gains = right[np.argsort(-own)][:10] / np.log2(np.arange(2, 2 + min(10, n)))
            ideal = (1 / np.log2(np.arange(2, 2 + min(10, right.sum())))).sum()
            expected.append(gains.sum() / ideal)
        assert np.allclose(_judging._gain(scores, relevant), expected)

    def test_a_collapsed_space_finds_nothing(self):
        same = np.ones((50, 8))
        assert _judging.retrieval(still(same, same, range(50)))["R@1"] == 0
        assert _judging.search(still(same, same, range(50)))["NDCG@10"] == 0

    def test_perfect_partners(self):
        rows = np.random.default_rng(0).normal(size=(50, 8))
        assert set(_judging.retrieval(still(rows, rows, range(50))).values()) == {1}
        assert set(_judging.search(still(rows, rows, range(50))).values()) == {1}

    def test_rows_of_one_group_are_right(self):
        rng = np.random.default_rng(0)
        x = np.repeat(rng.normal(size=(20, 8)), 5, axis=0)
        y = x + 0.1 * rng.normal(size=x.shape)
        assert _judging.retrieval(still(x, y, range(100)))["text -> image"] < 0.5
        assert _judging.retrieval(still(x, y, np.arange(100) // 5))["R@1"] > 0.95

    def test_likeness_of_one_distribution(self):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(2, 400, 16))
        found = _judging.likeness(still(x, y, range(400)))
        assert found["false positives"] < 1.2
        assert found["other in top 10"] == pytest.approx(0.5, abs=0.02)
        narrow = _judging.likeness(still(x, y * (np.arange(16) < 4), range(400)))
        assert narrow["false positives"] > 2
        assert narrow["other in top 10"] < 0.3


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({"job": "sort"}, "job must be one of 'search', .*got 'sort'"),
            ({"job": "classification"}, "needs the class of each row of Y"),
            (
                {"job": "search", "labels": np.zeros(100, int)},
                "pass that job, or no labels",
            ),
            (
                {"job": "classification", "labels": np.zeros(100, int), "pairs": True},
                "pairs must not be given with labels",
            ),
            ({"job": "classification", "labels": np.full(100, 100)}, "labels must be from 0 to 99.*got 100 to 100"),
            ({"job": "classification", "labels": np.zeros(100)}, "labels must be 100 integers, got float64"),
            ({"job": "search", "groups": np.zeros(100, int)}, "groups must come with pairs"),
            ({"job": "search", "pairs": True, "groups": np.zeros(100, int)}, "40 different rows or groups, got 1"),
            ({"job": "search", "pairs": True, "groups": np.zeros(9, int)}, r"groups must be 100 integers, .*\(9,\)"),
            ({"job": "search", "seeds": 1}, "seeds must be an integer of 2 or more, got 1"),
            ({"job": "search", "max_rows": 9}, "max_rows must be an integer from 40, got 9"),
            ({"job": "search", "names": ("text", "text")}, "names must be those of two modalities"),
        ],
    )
    def test_arguments(self, given, text):
        with pytest.raises(C3AlignError, match=text):
            choose(*space(100), **given)

    def test_rows(self):
        x, y = space(100)
        with pytest.raises(C3AlignError, match=r"X has shape \(99, 48\) and Y \(100, 48\)"):
            choose(x[1:], y, job="search", pairs=True)
        with pytest.raises(C3AlignError, match="'image' must have 40 different rows or groups, got 30"):
            choose(x, y[np.arange(100) % 30], job="search")
        holed = y.copy()
        holed[7] = np.nan
        with pytest.raises(C3AlignError, match=r"Y \(every row\): .*first in row 7"):
            choose(x, holed, job="search")

    def test_nothing_is_written(self):
        x, y = unequal()
        before = x.copy(), y.copy()
        for rows in (x, y):
            rows.flags.writeable = False
        choose(x, y, job="captioning", pairs=True, seeds=2)
        assert np.array_equal(x, before[0])
        assert np.array_equal(y, before[1])


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name, rows in zip(("text", "image"), unequal()):
            np.save(f"{name}.npy", rows)
        return tmp_path

    def test_pairs(self, folder, call):
        np.save("groups.npy", np.arange(300) // 2)
        arguments = ("text.npy", "image.npy", "--job", "search", "--pairs", "--seeds", "3", "--groups", "groups.npy")
        code, out, err = call("choose", *arguments, "--json", "choice.json")
        assert (code, err) == (0, "")
        choice = choose(*unequal(), job="search", pairs=True, seeds=3, groups=np.arange(300) // 2)
        assert out == f"{choice}\npairs by their places: row i of the one with row i of the other\n"
        assert f"use: {choice.line}" in out
        assert json.loads((folder / "choice.json").read_text()) == choice.to_dict()

    def test_classes_and_names(self, folder, call):
        rng = np.random.default_rng(0)
        prompts, labels = np.load("text.npy")[:10], rng.integers(0, 10, 200)
        np.save("prompts.npy", prompts)
        np.save("clips.npy", prompts[labels] + 0.1 * rng.normal(size=(200, 24)))
        np.save("labels.npy", labels)
        arguments = ("prompts.npy", "clips.npy", "--job", "classification", "--labels", "labels.npy")
        code, out, _ = call("choose", *arguments, "--names", "text,audio", "--seeds", "2")
        assert code == 0
        assert out.startswith("classification, judged by accuracy")
        assert "C3Aligner(" in out

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("--job", "sort"), "job must be one of"),
            (("--job", "search", "--names", "a"), "--names must be two with a comma between, got 'a'"),
            (("--job", "search", "--pairs", "--groups", "absent.npy"), "absent.npy"),
            (("--job", "search", "--pairs", "--groups", "note.npy"), "note.npy is not a file of numbers"),
            ((), "--job"),
        ],
    )
    def test_errors_are_one_line(self, folder, call, arguments, text):
        (folder / "note.npy").write_text("hello")
        code, out, err = call("choose", "text.npy", "image.npy", *arguments)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert text in err

    def test_help_has_examples(self, call):
        out = call("choose", "--help")[1]
        assert "c3align choose text.npy image.npy --job search --pairs" in out
