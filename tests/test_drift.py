"""Drift: false alarms as often as stated, and no shift of half a gap goes unnoticed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from c3align import C3Aligner
from c3align import drift as room
from c3align.drift import drift
from c3align.errors import C3AlignError

DIMS = 16


def rows(rng, n):
    """Heavy tails and unequal columns, around a mean."""
    return rng.standard_t(5, size=(n, DIMS)) * np.geomspace(1, 0.05, DIMS) + 0.5


@pytest.mark.slow
def test_false_alarms_are_one_in_a_hundred(monkeypatch):
    monkeypatch.setattr(room, "DEALS", 199)  # of which two are an alarm, as ten of 999
    rng = np.random.default_rng(0)
    found = [
        drift(C3Aligner(second_moments=True).fit(rows(rng, 150)), rows(rng, 60), modality="text", seed=i).is_drift
        for i in range(1000)
    ]
    assert 0.005 <= np.mean(found) <= 0.015


def test_rows_that_came_several_times_count_once(monkeypatch):
    """As pictures do that have several captions, among the fitted rows or the new ones."""
    monkeypatch.setattr(room, "DEALS", 199)
    rng = np.random.default_rng(0)
    found = []
    for i in range(20):
        fitted, new = rows(rng, 100), rows(rng, 60)
        fitted, new = (np.repeat(fitted, 5, axis=0), new) if i % 2 else (fitted, np.repeat(new, 5, axis=0))
        aligner = C3Aligner(second_moments=True).fit(fitted)
        found.append(drift(aligner, new, modality="text", seed=i))
    assert sum(each.is_drift for each in found) <= 1
    assert {(each.n_rows, each.n_fitted) for each in found} == {(60, 100)}


def test_half_a_gap_is_seen(coco):
    """Held-out pictures moved half of the way to the texts, a hundred times 32 of them; and none of them unmoved."""
    image, text = coco
    rng = np.random.default_rng(0)
    order = rng.permutation(len(image))
    aligner = C3Aligner(second_moments=True).fit(text[order[:300]], image[order[:300]])
    gap = aligner.statistics_["text"].mean - aligner.statistics_["image"].mean
    seen, alarms = [], []
    for seed in range(100):
        some = image[rng.choice(order[300:], 32, replace=False)]
        seen.append(drift(aligner, some + gap / 2, modality="image", seed=seed).is_drift)
        alarms.append(drift(aligner, some, modality="image", seed=seed).is_drift)
    assert np.mean(seen) >= 0.99
    assert np.mean(alarms) <= 0.05


def test_a_covariance_that_changed_is_seen():
    rng = np.random.default_rng(0)
    aligner = C3Aligner(second_moments=True).fit(rng.normal(size=(800, DIMS)))
    wider = rng.normal(size=(400, DIMS)) * np.where(np.arange(DIMS) < 4, 1.5, 1)
    found = drift(aligner, wider, modality="text")
    assert found.is_drift
    assert found.covariance > 5 > found.mean
    assert str(found).startswith("400 new 'text' rows differ from 800 fitted ones by more than chance (mean ")
    assert "no more than by chance" in str(drift(aligner, rng.normal(size=(400, DIMS)), modality="text"))


def test_it_depends_on_the_seed_alone():
    rng = np.random.default_rng(0)
    aligner, new = C3Aligner(second_moments=True).fit(rows(rng, 300)), rows(rng, 200)
    first = drift(aligner, new, modality="text")
    assert (
        drift(aligner, 3 * new, modality="text").p_value
        == first.p_value
        == drift(aligner, new, modality="text").p_value
    )
    torch = pytest.importorskip("torch")
    assert drift(aligner, torch.from_numpy(new).float(), modality="text").p_value == pytest.approx(
        first.p_value, abs=0.01
    )


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (np.ones((7, DIMS)), r"X must be 8 rows or more of 16 dimensions, got \(7, 16\)"),
        (np.ones((9, 5)), r"X must be 8 rows or more of 16 dimensions, got \(9, 5\)"),
        (np.full((9, DIMS), np.nan), "NaN"),
        ([[1.0]], "X must be 8 rows or more"),
    ],
)
def test_refusals(X, text):
    aligner = C3Aligner(second_moments=True).fit(rows(np.random.default_rng(0), 50))
    with pytest.raises(C3AlignError, match=text):
        drift(aligner, X, modality="text")


def test_rows_must_have_been_kept():
    aligner = C3Aligner().fit(rows(np.random.default_rng(0), 50))
    with pytest.raises(C3AlignError, match=r"no rows of 'text' were kept; fit C3Aligner\(second_moments=True\)"):
        drift(aligner, np.ones((9, DIMS)), modality="text")


def test_rows_of_any_kind():
    some = rows(np.random.default_rng(0), 90)
    aligner = C3Aligner(second_moments=True).fit(some)
    assert str(drift(aligner, some.tolist(), modality="text")) == str(drift(aligner, some, modality="text"))
    for X, fix in ((some[:, 1:], "rows of the encoder that fit saw"), (some[:3], "more")):
        with pytest.raises(C3AlignError, match=f"8 rows or more of .*; pass {fix}$"):
            drift(aligner, X, modality="text")


class TestCheck:
    """`c3align check`: a line for each check, JSON, and exit code 3."""

    @pytest.fixture
    def folder(self, coco, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        image, text = coco
        aligner = C3Aligner(second_moments=True).fit(text[:250], image[:250]).bind_encoder("clip@1")
        aligner.save_pretrained("al")
        np.save("new.npy", image[250:])
        gap = aligner.statistics_["text"].mean - aligner.statistics_["image"].mean
        np.save("moved.npy", image[250:] + gap)
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(512, 512)))[0]
        np.save("turned.npy", image[250:] @ turn)
        return tmp_path

    def test_rows_of_the_fitted_kind(self, folder, call):
        code, out, err = call("check", "new.npy", "-a", "al", "--modality", "image", "--fail-on", "drift,encoder,gap")
        assert (code, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()] == ["ok"] * 3
        code, out, _ = call("check", "new.npy", "-a", "al", "--modality", "image", "--json")
        found = json.loads(out)
        assert (code, found["passed"], found["failed"]) == (0, True, [])
        assert found["modalities"]["image"]["encoder"]["overlap"] > 3
        assert found["modalities"]["image"]["gap"]["share"] < 0.2

    def test_whitened_rows_tell_no_encoder(self, tmp_path, monkeypatch, call):
        """Their columns do not vary together, so that even the rows that were fitted overlap with nothing."""
        monkeypatch.chdir(tmp_path)
        rows = np.random.default_rng(0).standard_normal((1500, 32)) + 0.3
        np.save("white.npy", rows)
        C3Aligner(second_moments=True).fit(rows).save_pretrained("al")
        code, out, _ = call("check", "white.npy", "-a", "al", "--modality", "text")
        assert (code, "overlap" in out) == (0, False)

    @pytest.mark.parametrize(
        ("arguments", "failed"),
        [
            (("moved.npy",), ["drift", "gap"]),
            (("moved.npy", "--fail-on", "gap"), ["gap"]),
            (("moved.npy", "--fail-on", "encoder"), []),
            (("turned.npy",), ["drift", "encoder", "gap"]),
            (("new.npy", "--encoder", "clip@2"), ["encoder"]),
            (("new.npy", "--encoder", "clip@1"), []),
        ],
    )
    def test_the_verdict(self, folder, call, arguments, failed):
        code, out, _ = call("check", *arguments, "-a", "al", "--modality", "image", "--json")
        assert json.loads(out)["failed"] == failed
        assert code == (3 if failed else 0)
        assert call("check", *arguments, "-a", "al", "--modality", "image")[0] == code

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("new.npy",), "--modality must be a fitted one ('image', 'text'), got None"),
            (("new.npy", "--modality", "image", "--fail-on", "x"), "--fail-on must be some of drift, encoder, gap"),
            (
                ("new.npy", "--modality", "image", "--fail-on", ""),
                "--fail-on must be some of drift, encoder, gap, got ''",
            ),
            (("new.npy", "--modality", "image", "--fail-on", " ,"), "--fail-on must be some of drift, encoder, gap"),
            (("narrow.npy", "--modality", "image"), "the rows have 5 dimensions and the aligner 512"),
        ],
    )
    def test_wrong_input(self, folder, call, arguments, text):
        np.save("narrow.npy", np.ones((20, 5)))
        code, out, err = call("check", *arguments, "-a", "al")
        assert (code, out) == (2, "")
        assert text in err

    def test_no_rows_and_no_row_that_can_be_used(self, folder, call):
        np.save("empty.npy", np.empty((0, 512), np.float32))
        np.save("bad.npy", np.full((9, 512), np.nan, np.float32))
        for name, text in (("empty.npy", "holds no rows; pass some"), ("bad.npy", "no row of bad.npy could be used")):
            code, out, err = call("check", name, "-a", "al", "--modality", "image", "--on-error", "skip")
            assert (code, out) == (2, "")
            assert text in err

    def test_zero_rows_of_an_aligner_that_keeps_them(self, folder, call, coco):
        C3Aligner(second_moments=True, zero_rows="keep").fit(coco[1][:250], coco[0][:250]).save_pretrained("al")
        np.save("holed.npy", np.insert(coco[0][250:], [0, 7, 7], 0, axis=0))
        ((code, out, _), other) = (
            call("check", f"{n}.npy", "-a", "al", "--modality", "image") for n in ("holed", "new")
        )
        assert (code, out) == other[:2] == (0, out)
        np.save("holed.npy", np.zeros((9, 512), np.float32))
        code, _, err = call("check", "holed.npy", "-a", "al", "--modality", "image")
        assert (code, "no row of holed.npy could be used" in err) == (2, True)

    def test_a_tree_says_what_its_rows_are(self, folder, call, coco):
        """One name for both modalities judged one of them alone, and --encoder went before what the tree says."""
        for name, X in zip(("img", "text"), coco):
            Path(f"emb/{name}_emb").mkdir(parents=True)
            np.save(f"emb/{name}_emb/{name}_emb_000.npy", X[250:])
        assert call("check", "emb", "-a", "al")[0] == 0
        code, _, err = call("check", "emb", "-a", "al", "--modality", "image")
        assert (code, "holds several modalities; omit --modality" in err) == (2, True)
        Path("emb/embed_image.json").write_text(json.dumps({"fingerprint": "clip@2"}))
        for more, expected in (((), 3), (("--encoder", "clip@2"), 3), (("--encoder", "clip@1"), 2)):
            code, _, err = call("check", "emb/img_emb", "-a", "al", *more)
            assert (code, "come from different encoders (clip@1, clip@2)" in err) == (expected, expected == 2)

    def test_an_aligner_that_kept_no_rows(self, folder, call, coco):
        C3Aligner().fit(coco[1], coco[0]).save_pretrained("plain")
        assert call("check", "new.npy", "-a", "plain", "--modality", "image", "--fail-on", "gap")[0] == 0
        code, _, err = call("check", "new.npy", "-a", "plain", "--modality", "image")
        assert (code, err.startswith("error: no rows of 'image' were kept")) == (2, True)

    @pytest.mark.parametrize(
        ("kind", "missing", "fix"),
        [
            ("encoder", "the aligner names none", "fit it with --encoder"),
            ("encoder", "these rows name none", "pass --encoder"),
            ("gap", "the aligner knows one modality", "fit it with partners, as --pair"),
        ],
    )
    def test_what_was_not_measured_is_skipped(self, folder, call, coco, kind, missing, fix):
        """It was "ok", and exit code 0, whoever asked for it by name."""
        aligner = C3Aligner().fit(coco[1]) if kind == "gap" else C3Aligner().fit(coco[1], coco[0])
        if "rows" in missing:
            aligner.bind_encoder("clip@1")
        aligner.save_pretrained("plain")
        np.save("text.npy", coco[1])
        command = ("check", "text.npy", "-a", "plain", "--modality", "text")
        other = {"encoder": "gap", "gap": "encoder"}[kind]
        if kind == "encoder":
            code, out, _ = call(*command, "--fail-on", other)
            assert (code, f"skipped text: {kind}: not" in out, f"ok      text: {other}" in out) == (0, True, True)
            found = json.loads(call(*command, "--fail-on", other, "--json")[1])["modalities"]["text"]
            assert [found[name]["skipped"] for name in (kind, other, "drift")] == [True, False, True]
        code, out, err = call(*command, "--fail-on", kind)
        assert (code, out, missing in err, err.endswith(f"; {fix}\n")) == (2, "", True, True)
        assert f"--fail-on names {kind}, and that of text was not" in err

    def test_by_default_what_was_not_measured_is_skipped(self, folder, call, coco):
        C3Aligner(second_moments=True).fit(coco[1]).save_pretrained("kept")
        np.save("text.npy", coco[1])
        code, out, err = call("check", "text.npy", "-a", "kept")
        assert (code, err, "skipped text: gap: not measured" in out) == (0, "", True)


def test_it_reads_what_fit_and_transform_read(tmp_path, monkeypatch, call):
    """Steps of int8, a column of a .parquet, and rows that cannot be used, with their options."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    C3Aligner(second_moments=True).fit(rows(rng, 600)).save_pretrained("al")
    new = rows(rng, 300).astype(np.float32)
    broken = new.copy()
    broken[7], broken[8] = np.nan, 0
    np.save("new.npy", new)
    np.save("broken.npy", broken)
    np.save("fine.npy", np.delete(new, [7, 8], axis=0))
    scale = np.abs(new).max() / 127
    np.save("small.npy", np.round(new / scale).astype(np.int8))
    parquet.write_table(pa.table({"a": list(new), "b": list(-new)}), "new.parquet")

    def found(*arguments):
        code, out, err = call("check", *arguments, "-a", "al", "--json")
        assert (code, err) == (0, ""), err
        return json.loads(out)["modalities"]["text"]["drift"]

    assert found("new.parquet", "--column", "a") == found("new.npy")
    assert found("broken.npy", "--on-error", "skip") == found("fine.npy")
    assert found("small.npy", "--scale", scale)["p_value"] == pytest.approx(found("new.npy")["p_value"], abs=0.05)
    for arguments, text in (
        (("new.parquet",), "must hold one column of embeddings"),
        (("small.npy",), "pass what a step is worth as --scale (1 / 127, often)"),
        (("broken.npy",), "NaN or infinity in 1 of"),
        (("new.npy", "--on-error", "drop"), "--on-error must be 'raise' or 'skip'"),
    ):
        code, _, err = call("check", *arguments, "-a", "al")
        assert code == 2
        assert text in err


def test_rows_that_repeat_are_told():
    """As prompts and tags do: what is drawn often among the fitted ones is one row of many, and of few new ones too."""
    rng = np.random.default_rng(0)
    known = rng.normal(size=(300, 16)) + 1
    share = 1 / np.arange(1, 301)
    few = known[rng.choice(300, 100, p=share / share.sum())]
    aligner = C3Aligner(second_moments=True).fit(known)
    with pytest.warns(UserWarning, match=r"of 100 rows of 'text' \d\d are different, and drift looks at these alone"):
        drift(aligner, few, modality="text")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drift(aligner, known[:100], modality="text")


def test_an_aligner_tells():
    rng = np.random.default_rng(0)
    aligner = C3Aligner(second_moments=True).fit(rng.normal(size=(300, 16)) + 1)
    new = rng.normal(size=(200, 16)) + 1.2
    assert aligner.drift(new, modality="text", seed=3) == drift(aligner, new, modality="text", seed=3)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(new)
    assert aligner.drift(frame, modality="text", seed=3) == aligner.drift(new, modality="text", seed=3)
    named = pandas.DataFrame(new, columns=[f"c{i}" for i in range(16)])
    aligner = C3Aligner(second_moments=True).fit(named)
    assert not aligner.drift(named, modality="text").is_drift
    with pytest.raises(C3AlignError, match="columns of text in another order"):
        aligner.drift(named.iloc[:, ::-1], modality="text")


def test_copies_of_few_rows_are_no_eight():
    aligner = C3Aligner(second_moments=True).fit(np.random.default_rng(0).normal(size=(200, 16)) + 1)
    with pytest.raises(C3AlignError, match="8 different rows or more, got 1"):
        drift(aligner, np.ones((100, 16)), modality="text")


class TestGroups:
    """Five captions for each of 200 pictures, other pictures in the new half, both honest."""

    def captions(self, seed):
        rng = np.random.default_rng(seed)
        scales = np.geomspace(1, 0.05, DIMS)
        image = rng.normal(size=(200, DIMS)) * scales + 0.5
        return image[:, None] + 0.4 * rng.normal(size=(200, 5, DIMS)) * scales, image

    def fitted(self, captions, image):
        text, image = captions.reshape(-1, DIMS), np.repeat(image, 5, axis=0)
        return C3Aligner(second_moments=True).fit(text, image)

    def test_one_row_of_each_is_dealt(self, monkeypatch):
        monkeypatch.setattr(room, "DEALS", 199)
        alarms, blind, seen = [], [], []
        for seed in range(30):
            captions, image = self.captions(seed)
            aligner = self.fitted(captions[:100], image[:100])
            new, groups = captions[100:].reshape(-1, DIMS), np.repeat(np.arange(100), 5)
            with warnings.catch_warnings(action="error"):
                found = drift(aligner, new, modality="text", groups=groups)
                seen.append(drift(aligner, new + 0.5, modality="text", groups=groups).is_drift)
            assert (found.n_rows, found.n_fitted) == (100, 100)
            alarms.append(found.is_drift)
            with warnings.catch_warnings(action="ignore"):
                blind.append(drift(aligner, new, modality="text").is_drift)
        assert sum(alarms) <= 2
        assert sum(blind) > 20
        assert all(seen)

    def test_groups_that_were_not_named_are_told_of(self):
        captions, image = self.captions(0)
        text = captions.reshape(-1, DIMS)
        with pytest.warns(
            UserWarning, match="the 500 fitted rows are about 100 items.*pass the number .* groups= .--groups.$"
        ):
            drift(self.fitted(captions[:100], image[:100]), text[500:], modality="text")
        alone = C3Aligner(second_moments=True).fit(captions[:100, 0])
        with pytest.warns(UserWarning, match="more alike than others where they are neighbors") as told:
            drift(alone, text[500:], modality="text")
        assert told[0].filename == __file__
        with pytest.warns(UserWarning, match="more alike"):
            alone.drift(text[500:], modality="text")
        assert alone.drift(text[500:], modality="text", groups=np.arange(500) // 5).n_rows == 100

    def test_independent_rows_in_any_order_raise_no_warning(self, coco, convirt, monkeypatch):
        monkeypatch.setattr(room, "DEALS", 9)
        sides = [*coco, *convirt]
        with warnings.catch_warnings(action="error"):
            for side in sides:
                drift(C3Aligner(second_moments=True).fit(side[:250]), side[250:], modality="text")
            for seed in range(100):
                rng = np.random.default_rng(seed)
                captions, _ = self.captions(seed)
                mixed = rng.permutation(captions.reshape(-1, DIMS))
                aligner = C3Aligner(second_moments=True).fit(rows(rng, 50))
                for some in (mixed[:200], rows(rng, 8), rows(rng, 300)):
                    drift(aligner, some, modality="text")

    def test_refusals_of_groups(self):
        captions, image = self.captions(0)
        aligner, text = self.fitted(captions, image), captions.reshape(-1, DIMS)
        with pytest.raises(C3AlignError, match="groups"):
            drift(aligner, text, modality="text", groups=np.arange(3))
        with pytest.raises(C3AlignError, match="8 groups or more, got 7"):
            drift(aligner, text, modality="text", groups=np.arange(1000) % 7)

    def test_the_command_takes_them_from_a_file(self, call, tmp_path, monkeypatch):
        """A row that is skipped takes its number with it."""
        monkeypatch.setattr(room, "DEALS", 199)
        monkeypatch.chdir(tmp_path)
        captions, image = self.captions(0)
        self.fitted(captions[:100], image[:100]).save_pretrained("aligner")
        new, groups = captions[100:].reshape(-1, DIMS).copy(), np.repeat(np.arange(100), 5)
        new[0] = np.nan
        np.save("new.npy", new)
        np.save("groups.npy", groups)
        command = ["check", "new.npy", "-a", "aligner", "--modality", "text", "--fail-on", "drift", "--json"]
        command += ["--on-error", "skip"]
        _, out, told = call(*command)
        assert "about 100 items" in told
        blind = json.loads(out)["modalities"]["text"]["drift"]
        found = json.loads(call(*command, "--groups", "groups.npy")[1])["modalities"]["text"]["drift"]
        expected = drift(C3Aligner.from_pretrained("aligner"), new[1:], modality="text", groups=groups[1:])
        assert (blind["n_rows"], found["n_rows"]) == (499, 100)
        assert found["mean"] == expected.mean
        code, _, errors = call(*command, "--groups", "new.npy")
        assert code == 2
        assert "groups" in errors or "one number a row" in errors
        np.save("groups.npy", groups[:-1])
        code, _, errors = call(*command, "--groups", "groups.npy")
        assert code == 2
        assert "--groups must be one integer for each of 500 rows, got 499" in errors
