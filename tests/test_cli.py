"""The command line as a user types it: results, one-line errors with the mend, exit codes, whole files or none."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import c3align
from c3align import C3Aligner, cli, encoders, ops
from c3align.__main__ import main
from c3align.cli.demo import _material
from c3align.errors import C3AlignError
from c3align.io import rows as row_files
from tests.children import Child
from tests.test_ops import raw
from tests.test_report import space


@pytest.fixture
def folder(coco, tmp_path, monkeypatch):
    """A working folder with real embeddings: text.npy, image.npy, and both in two shards."""
    monkeypatch.chdir(tmp_path)
    image, text = coco
    np.save("text.npy", text)
    np.save("image.npy", image)
    for name, rows in (("text", text), ("image", image)):
        os.mkdir(name)
        np.save(f"{name}/0.npy", rows[:123])
        np.save(f"{name}/1.npy", rows[123:])
    return tmp_path


class TestFit:
    def test_one_file(self, folder, call, coco):
        code, out, err = call("fit", "text.npy", "-o", "aligner", "--seed", 5)
        assert (code, err) == (0, "")
        assert out == "aligner: 500 text rows of 512 dimensions, sigma 0.1265\n"
        found = C3Aligner.from_pretrained("aligner")
        assert found.statistics_ == C3Aligner().fit(coco[1]).statistics_
        assert found.seed == 5

    def test_shards_and_blocks_leave_no_trace(self, folder, call, coco, monkeypatch):
        monkeypatch.setattr(row_files, "BLOCK_BYTES", 70 * 512 * 4)
        assert call("fit", "text/*.npy", "--pair", "image/*.npy", "-o", "a")[0] == 0
        code, out, _ = call("fit", "text.npy", "--pair", "image/0.npy", "--pair", "image/1.npy", "-o", "b")
        assert code == 0
        assert "image and text lie 0.851" in out
        C3Aligner().fit(coco[1], coco[0]).save_pretrained("c")
        contents = {(folder / name / "aligner.safetensors").read_bytes() for name in "abc"}
        assert len(contents) == 1

    def test_noise_of_the_residuals(self, folder, call, coco, monkeypatch):
        monkeypatch.setattr(row_files, "BLOCK_BYTES", 70 * 512 * 4)
        arguments = ("fit", "text.npy", "--pair", "image.npy", "--noise", "residual", "--noise-cosine", "0.5")
        assert call(*arguments, "-o", "aligner")[0] == 0
        found = C3Aligner.from_pretrained("aligner")
        expected = C3Aligner(noise="residual", noise_cosine=0.5).fit(coco[1], coco[0])
        assert found.get_params() == expected.get_params()
        assert np.abs(found.corrupt(coco[1]) - expected.corrupt(coco[1])).max() < 1e-6

    def test_binding(self, folder, call):
        call("fit", "text.npy", "-o", "aligner", "--encoder", "clip@1")
        code, out, err = call("transform", "text.npy", "-a", "aligner", "-o", "z.npy", "--encoder", "clip@2")
        assert (code, out) == (2, "")
        assert err.startswith("error: these statistics come from the encoder clip@1")
        assert not os.path.exists("z.npy")

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("absent.npy",), "no file absent.npy; check the name"),
            (("absent/",), "no file or folder absent/; check the name"),
            (("absent/*.npy",), "no file fits absent/*.npy; check the pattern"),
            (("note.txt",), "note.txt is not a whole file of numbers (it is not a .npy file)"),
            (("objects.npy",), "objects.npy is not a whole file of numbers"),
            (("flat.npy",), "flat.npy does not hold rows (n, d) but (5,)"),
            (("cut.npy",), "cut.npy is not a whole file of numbers"),
            (("empty.npy",), "holds no rows"),
            (("holed.npy",), "X holds NaN or infinity in 1 of 500 rows, first in row 7; remove or fix those rows"),
            (("text/0.npy", "holed.npy"), "holed.npy, row 7: counted from row 0 of X: X holds NaN"),
            (("text.npy", "other.npy"), "other.npy is float64 with 512 columns"),
            (("text.npy", "--pair", "image/0.npy"), "pass files of equal shape"),
            (("text.npy", "--noise-cosine", "2"), "noise_cosine must be 'auto' or a number in (0, 1]"),
            (("text.npy", "--zero-rows", "drop"), "zero_rows must be one of 'raise', 'keep', got 'drop'"),
            (("text.npy", "--noise", "uniform"), "or a noise.Noise, got 'uniform'"),
            (
                ("text.npy", "--noise", "residual"),
                "'residual' is learned from pairs; pass their partners as --pair",
            ),
            (("text.npy", "--modality", "auto"), "'auto' is reserved by transform"),
            (("text.npy", "--sed", "1"), "--sed"),
            ((), "see c3align fit --help"),
            (("text.npy", "--pair-modality", "image"), "pass them as --pair, or use --modality"),
            (("pipe.npy",), "pipe.npy is no file, and rows are read more than once; write them to a file"),
        ],
    )
    def test_errors_are_one_line(self, folder, call, arguments, text, coco):
        (folder / "note.txt").write_text("hello")
        os.mkfifo("pipe.npy")
        np.save("objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
        np.save("flat.npy", np.ones(5))
        np.save("empty.npy", np.ones((0, 5)))
        np.save("other.npy", coco[1].astype(float))
        holed = coco[1].copy()
        holed[7, 3] = np.nan
        np.save("holed.npy", holed)
        (folder / "cut.npy").write_bytes((folder / "text.npy").read_bytes()[:5000])
        code, out, err = call("fit", *arguments, "-o", "aligner")
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert text in err
        assert not os.path.exists("aligner")

    def test_a_setting_is_not_the_fault_of_a_row(self, folder, call):
        code, _, err = call("fit", "text/*.npy", "--noise-cosine", "2", "-o", "aligner")
        assert (code, err[:40]) == (2, "error: noise_cosine must be 'auto' or a ")

    def test_advice_names_options_and_not_arguments_of_python(self, folder, call):
        call("fit", "text.npy", "-o", "aligner")
        code, _, err = call("check", "text.npy", "-a", "aligner")
        assert (code, "run c3align fit --second-moments" in err, "C3Aligner(" in err) == (2, True, False)

    @pytest.mark.parametrize(
        ("command", "said", "told"),
        [
            (("fit", "x.npy"), "pass zero_rows='keep' here.", "pass --zero-rows keep here."),
            (
                ("fit", "x.npy"),
                "pass modality= with one, or noise_cosine=0.5.",
                "pass --modality with one, or --noise-cosine 0.5.",
            ),
            (("fit", "x.npy"), "fit with second_moments=True", "fit with --second-moments"),
            (("fit", "x.npy"), "name it (modality='a b')", "name it (--modality 'a b')"),
            (("fit", "x.npy"), "pass sigma= or lora={1}", "pass sigma= or lora={1}"),
            (
                ("fit", "x.npy"),
                "no y/modality=a, modality=a/b or modality=*",
                "no y/modality=a, modality=a/b or modality=*",
            ),
            (("fit", "x.npy", "--pair", "seed=1"), "no seed=1, pass seed='1'", "no seed=1, pass --seed 1"),
            (("fit", "x.npy"), "call fit(X, modality='a')", "call fit(X, modality='a')"),
            (("report", "x.npy"), "pass zero_rows='keep'", "pass zero_rows='keep'"),
        ],
    )
    def test_advice_of_python_becomes_that_of_the_command(self, folder, call, monkeypatch, command, said, told):
        def refuse(*_, **__):
            raise C3AlignError(said)

        for module in ("_fit", "_report"):
            monkeypatch.setattr(f"c3align.cli.{module}.open_sources", refuse)
        assert call(*command, "-o", "out") == (2, "", f"error: {told}\n")

    def test_zeros_may_be_kept_by_an_option(self, folder, call):
        np.save("zeros.npy", np.zeros((3, 4)))
        assert "keep them as zeros with --zero-rows keep" in call("fit", "zeros.npy", "-o", "aligner")[2]

    def test_warnings_as_errors(self, folder, call, monkeypatch):
        """As PYTHONWARNINGS=error and -W error have them."""
        call("fit", "text.npy", "--pair", "image.npy", "-o", "aligner")
        warnings.simplefilter("error")
        code, _, err = call("transform", "image.npy", "-a", "aligner", "--modality", "text", "-o", "z.npy")
        assert (code, "this is a bug" in err) == (2, False)
        assert err.startswith("error: the rows given as --modality text lie")


class TestForgottenOptions:
    def test_two_modalities_as_one(self, folder, call):
        code, _, err = call("fit", "text.npy", "image.npy", "-o", "a")
        assert code == 0
        assert err.startswith("warning: the rows of image.npy lie 0.85 from the mean of those of text.npy")
        assert "learned as one modality; pass one of the files as --pair" in err
        assert call("fit", "text/*.npy", "-o", "b")[2] == ""


class TestMerge:
    def test_it_is_the_whole(self, folder, call):
        for part in "01":
            call("fit", f"text/{part}.npy", "--pair", f"image/{part}.npy", "-o", f"part-{part}")
        call("fit", "text/*.npy", "--pair", "image/*.npy", "-o", "alone")
        code, out, err = call("merge", "part-0", "part-1", "-o", "whole")
        assert (code, out, err) == (0, "whole: 500 image rows, 500 text rows of 2 aligners\n", "")
        name = "aligner.safetensors"
        assert (folder / "whole" / name).read_bytes() == (folder / "alone" / name).read_bytes()

    def test_the_same_rows_twice(self, folder, call):
        call("fit", "text/0.npy", "--pair", "image/0.npy", "-o", "a")
        call("fit", "text/1.npy", "--pair", "image/1.npy", "-o", "b")
        call("fit", "text/0.npy", "-o", "c")
        shutil.copytree("a", "copy")
        for names in (("a", "a"), ("a", "copy"), ("b", "a", "copy"), ("a", "c"), ("a", "b", "a")):
            code, out, err = call("merge", *names, "-o", "out")
            assert (code, out) == (2, "")
            assert "have learned the same" in err
            assert "would count twice; name each aligner once, or pass --allow-same" in err
        code, out, err = call("merge", "a", "copy", "-o", "out", "--allow-same")
        assert (code, out) == (0, "out: 246 image rows, 246 text rows of 2 aligners\n")
        assert err.count("which count twice from now on") == 2

    def test_refusals(self, folder, call):
        call("fit", "text.npy", "-o", "a", "--encoder", "clip@1")
        call("fit", "image.npy", "-o", "b", "--encoder", "clip@2")
        call("fit", "text.npy", "-o", "c", "--seed", 5)
        for arguments, text in (
            (("a",), "nothing to add to it; pass two or more"),
            (("a", "b"), "clip@2"),
            (("a", "c"), "different settings; fit them alike"),
            (("a", "absent"), "absent"),
        ):
            code, out, err = call("merge", *arguments, "-o", "out")
            assert (code, out) == (2, "")
            assert text in err
            assert not os.path.exists("out")


class TestTransform:
    def test_it_is_the_aligner(self, folder, call, coco, monkeypatch):
        call("fit", "text.npy", "--pair", "image.npy", "-o", "aligner")
        monkeypatch.setattr(row_files, "BLOCK_BYTES", 70 * 512 * 4)
        code, out, _ = call("transform", "image/*.npy", "--aligner", "aligner", "--modality", "image", "-o", "z.npy")
        assert (code, out) == (0, "z.npy: 500 rows, centered by the mean of 'image'\n")
        expected = C3Aligner().fit(coco[1], coco[0]).transform(coco[0], modality="image")
        assert raw(np.load("z.npy")) == raw(expected)
        assert "'text'" in call("transform", "text.npy", "--aligner", "aligner", "-o", "z.npy")[1]

    def test_rows_that_were_aligned_before(self, folder, call):
        """Nobody wants them learned or aligned again; what is made of raw rows is told of by no warning."""
        for command in ("fit text --pair image -o al", "transform image -a al --modality image -o z"):
            assert "warning" not in call(*command.split())[2]
        for command in ("fit z -o b", "fit text --pair z -o b", "transform z/0.npy -a al --modality image -o c.npy"):
            told = call(*command.split())[2]
            assert f"warning: {folder}/z holds what `c3align transform` made; pass the rows that" in told

    def test_a_far_file_is_centred_by_its_whole_mean(self, folder, call, coco, monkeypatch):
        """Decided once: blocks must not each take their own mean."""
        call("fit", "text.npy", "-o", "aligner")
        monkeypatch.setattr(row_files, "BLOCK_BYTES", 70 * 512 * 4)
        code, _, err = call("transform", "image.npy", "-a", "aligner", "-o", "z.npy")
        assert code == 0
        assert err.startswith("warning: only 'text' is fitted, and these rows lie 0.85 from its mean")
        assert err.count("\n") == 1
        mean = C3Aligner().fit(coco[0]).statistics_["text"].mean
        assert raw(np.load("z.npy")) == raw(ops.align(coco[0], mean))

    def test_a_folder_of_a_modality_that_is_not_fitted(self, folder, call, coco):
        """Its name says what the rows are; they are centered by their own mean, however near the other one is."""
        os.makedirs("emb/img_emb")
        rows = coco[1][:250]  # which 'auto' would take for texts
        np.save("emb/img_emb/img_emb_000.npy", rows)
        call("fit", "text.npy", "-o", "aligner")
        code, out, err = call("transform", "emb", "-a", "aligner", "-o", "z.npy")
        assert (code, out) == (0, "z.npy: 250 rows, centered by the mean of these rows themselves\n")
        assert "the folder holds 'image' rows and the aligner knows 'text': they are centered by their own mean" in err
        mean = C3Aligner().fit(rows).statistics_["text"].mean
        assert raw(np.load("z.npy")) == raw(ops.align(rows, mean))

    @pytest.mark.parametrize("noise", ["isotropic", "residual", "random"])
    def test_noise_beside_the_own_mean_is_that_of_the_pairs(self, folder, call, coco, monkeypatch, noise):
        """The command gives the bytes of `C3Aligner.corrupt(modality="batch")`, from one file and from shards."""
        assert call("fit", "text.npy", "--pair", "image.npy", "--noise", noise, "-o", "aligner")[0] == 0
        monkeypatch.setattr(row_files, "BLOCK_BYTES", 70 * 512 * 4)
        fitted = C3Aligner.from_pretrained("aligner")
        for seed, more in ((None, ()), (7, ("--seed", 7))):
            code, out, _ = call("corrupt", "image.npy", "-a", "aligner", "--modality", "batch", "-o", "z.npy", *more)
            assert (code, f"sigma {fitted.sigma_:.4f}" in out) == (0, True)
            assert raw(np.load("z.npy")) == raw(fitted.corrupt(coco[0], modality="batch", seed=seed))
        assert call("corrupt", "image", "-a", "aligner", "--modality", "batch", "-o", "z")[0] == 0
        shards = np.concatenate([np.load("z/0.npy"), np.load("z/1.npy")])
        assert raw(shards) == raw(fitted.corrupt(coco[0], modality="batch"))
        assert call("transform", "image.npy", "-a", "aligner", "--modality", "batch", "-o", "z.npy")[0] == 0
        assert raw(np.load("z.npy")) == raw(fitted.transform(coco[0], modality="batch"))

    def test_brackets_in_the_name_of_a_file(self, folder, call, coco):
        np.save("text[1].npy", coco[1])
        assert call("fit", "text[1].npy", "-o", "aligner")[0] == 0
        assert C3Aligner.from_pretrained("aligner").statistics_ == C3Aligner().fit(coco[1]).statistics_

    def test_half_precision_stays(self, folder, call, coco):
        call("fit", "text.npy", "-o", "aligner")
        np.save("half.npy", coco[1].astype(np.float16))
        assert call("transform", "half.npy", "-a", "aligner", "-o", "z.npy")[0] == 0
        assert np.load("z.npy").dtype == np.float16

    def test_errors_leave_what_was_there(self, folder, call, coco):
        call("fit", "text.npy", "-o", "aligner")
        holed = coco[1].copy()
        holed[300, 3] = np.inf
        np.save("holed.npy", holed)
        np.save("z.npy", np.ones(3))
        before = sorted(os.listdir())
        for arguments, text in [
            (("holed.npy",), "first in row 300"),
            (("text.npy", "--modality", "audio"), "partial_fit(X, modality='audio')"),
            (("z.npy",), "does not hold rows"),
        ]:
            code, out, err = call("transform", *arguments, "-a", "aligner", "-o", "z.npy")
            assert (code, out) == (2, "")
            assert text in err
        assert call("transform", "text.npy", "-a", "nowhere", "-o", "z.npy")[0] == 2
        assert call("transform", "holed.npy", "-a", "aligner", "-o", "no/such/z.npy")[0] == 2
        assert np.load("z.npy").tolist() == [1, 1, 1]
        assert sorted(os.listdir()) == before

    def test_the_folder_of_the_output_is_made(self, folder, call):
        call("fit", "text.npy", "-o", "aligner")
        assert call("transform", "text.npy", "-a", "aligner", "-o", "no/such/z.npy")[0] == 0
        assert os.listdir("no/such") == ["z.npy"]

    def test_another_width(self, folder, call):
        call("fit", "text.npy", "-o", "aligner")
        np.save("narrow.npy", np.ones((4, 3), "f4"))
        assert "3 dimensions and the aligner 512" in call("transform", "narrow.npy", "-a", "aligner", "-o", "z.npy")[2]

    def test_rows_are_never_written_over(self, folder, call, coco):
        """By their own name, by another one, or as one of several files."""
        call("fit", "text.npy", "-o", "aligner")
        os.symlink("text.npy", "link.npy")
        before = Path("text.npy").read_bytes()
        for given, output in (
            (["text.npy"], "text.npy"),
            (["text.npy"], "link.npy"),
            (["image/*.npy"], "image/0.npy"),
            ([f"file://{os.getcwd()}/text.npy"], "text.npy"),
        ):
            code, _, err = call("transform", *given, "-a", "aligner", "--modality", "text", "-o", output)
            assert code == 2
            assert f"{output} is where the rows are; pass another name as --output" in err
        assert Path("text.npy").read_bytes() == before

    def test_an_aligner_is_never_written_over(self, folder, call):
        call("fit", "text.npy", "-o", "aligner")
        before = Path("aligner/aligner.safetensors").read_bytes()
        for given, output in (
            ("text.npy", "aligner/aligner.safetensors"),
            ("text.npy", "aligner/z.npy"),
            ("image", "aligner"),
        ):
            code, _, err = call("transform", given, "-a", "aligner", "--modality", "text", "-o", output)
            assert code == 2
            assert f"{output} is where the aligner is; pass another name as --output" in err
        assert Path("aligner/aligner.safetensors").read_bytes() == before
        assert len(os.listdir("aligner")) == 2

    @pytest.mark.parametrize("name", ["z.npz", "z.pt", "z.NPY.gz"])
    def test_a_file_is_what_its_name_says(self, folder, call, name):
        call("fit", "text.npy", "-o", "aligner")
        code, _, err = call("transform", "text.npy", "-a", "aligner", "-o", name)
        assert code == 2
        assert f"{name} must end in .npy, .safetensors or .parquet; pass another name" in err
        assert not Path(name).exists()


def gap_norm(image, text):
    means = [(rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0) for rows in (image, text)]
    return np.linalg.norm(means[0] - means[1])


@pytest.fixture
def small(folder):
    """Rows of 48 dimensions in these files: a report of them takes a tenth of the time."""
    pair = dict(zip(("image", "text"), space()))
    for name, rows in pair.items():
        np.save(f"{name}.npy", rows)
        np.save(f"{name}/0.npy", rows[:123])
        np.save(f"{name}/1.npy", rows[123:])
    return pair


class TestReport:
    def test_table(self, folder, call, quick_report):
        code, out, err = call("report", "image.npy", "text.npy")
        assert (code, err) == (0, "note: pairs by their places: row i of the one with row i of the other\n")
        for text in ("image and text sit 0.85 apart", ".552 / ", ".506 / ", ".542 / ", ".500 / ", "sigma 0.0358"):
            assert text in out

    def test_json(self, small, call):
        _, out, _ = call("report", "image.npy", "text.npy", "--json", "--names", "photo, caption")
        found = json.loads(out)
        assert [part["name"] for part in found["modalities"]] == ["photo", "caption"]
        assert found["pairs"][0]["before"]["gap_norm"] == pytest.approx(gap_norm(**small), abs=1e-6)
        assert found["provenance"]["Command"] == "c3align report image.npy text.npy --json --names 'photo, caption'"
        assert "image.npy; 400 x 48" in found["provenance"]["Files"]

    def test_unpaired_and_picture(self, folder, small, call):
        code, out, _ = call("report", "image.npy", "text.npy", "--unpaired", "--png", "report.png")
        assert code == 0
        assert "R@1" not in out
        assert out.endswith("report.png: written\n")
        assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")

    def test_page(self, folder, small, call):
        """The same bytes each time, a date where one is asked for, and nothing half-written."""
        assert call("report", "image.npy", "text.npy", "-o", "report.html")[0] == 0
        first = (folder / "report.html").read_bytes()
        call("report", "image.npy", "text.npy", "-o", "report.html")
        assert (folder / "report.html").read_bytes() == first
        assert b"c3align report image.npy text.npy -o report.html" in first
        assert b"<dt>Date</dt>" not in first
        call("report", "image.npy", "text.npy", "-o", "report.html", "--date", "24 Nov")
        assert b"<dt>Date</dt><dd>24 Nov</dd>" in (folder / "report.html").read_bytes()
        assert call("report", "image.npy", "text.npy", "-o", "no/such/report.html")[0] == 2
        assert not [name for name in os.listdir() if name.startswith(".report")]

    def test_more_than_two_and_shards(self, small, call):
        np.save("echo.npy", small["text"])
        found = json.loads(call("report", "image/*.npy", "text.npy", "echo.npy", "--json")[1])
        assert [part["name"] for part in found["modalities"]] == ["image", "text", "echo"]
        gaps = {tuple(pair["names"]): pair["before"]["gap_norm"] for pair in found["pairs"]}
        assert gaps["text", "echo"] == pytest.approx(0, abs=1e-9)
        assert gaps["image", "echo"] == pytest.approx(gap_norm(**small), abs=1e-6)

    def test_a_folder_of_embed(self, folder, small, call):
        """Modalities and encoder are read from the tree; another encoder's rows are refused."""
        for tree, encoder in (("emb", "clip@1"), ("other", "clip@2")):
            for name, rows in (("img_emb", small["image"]), ("text_emb", small["text"])):
                os.makedirs(f"{tree}/{name}")
                np.save(f"{tree}/{name}/0.npy", rows)
            (folder / tree / "embed_image.json").write_text(json.dumps({"fingerprint": encoder}))
        code, out, _ = call("report", "emb", "-o", "report.html", "--json")
        assert code == 0
        assert [part["name"] for part in json.loads(out)["modalities"]] == ["image", "text"]
        assert "<dt>Encoder</dt><dd>clip@1</dd>" in (folder / "report.html").read_text()
        code, _, err = call("report", "emb", "other", "--names", "a,b,c,d")
        assert code == 2
        assert "these rows come from different encoders (clip@1, clip@2)" in err

    def test_an_aligner(self, small, call):
        call("fit", "text/0.npy", "--pair", "image/0.npy", "-o", "aligner")
        code, out, _ = call("report", "image.npy", "text.npy", "--aligner", "aligner", "--json")
        found = json.loads(out)
        aligner = C3Aligner.from_pretrained("aligner")
        after = {name: aligner.transform(rows, modality=name) for name, rows in small.items()}
        assert found["pairs"][0]["after"]["gap_norm"] == pytest.approx(gap_norm(**after), abs=1e-5)
        code, _, err = call("report", "image.npy", "text.npy", "--aligner", "aligner", "--names", "image,audio")
        assert code == 2
        assert "aligner was fitted on image, text, not on audio; pass --names" in err

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("image.npy",), "pass the rows of each"),
            (("image.npy", "absent.npy"), "no file absent.npy; check the name"),
            (("image.npy", "text.npy", "--names", "a"), "are 1 names for 2 modalities; pass one for each"),
            (("image.npy", "image/0.npy", "image/*.npy"), "more than one input is called image; pass --names"),
            (("image.npy", "text.npy", "--sample", "1"), "max_rows must be 2 or more, got 1"),
            (("image.npy", "text/0.npy", "--aligner", "nowhere"), "nowhere"),
        ],
    )
    def test_errors_are_one_line(self, folder, call, arguments, text):
        code, out, err = call("report", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert text in err


class TestDoctor:
    def test_lines(self, call, monkeypatch):
        monkeypatch.setenv("C3ALIGN_BACKEND", "reference")
        code, out, _ = call("doctor")
        assert code == 0
        assert f"c3align {c3align.__version__}, Python" in out
        assert "backend: reference: C3ALIGN_BACKEND=reference asks for it" in out
        assert "CUDA: " in out

    def test_a_torchvision_that_does_not_fit(self, tmp_path):
        """Told by doctor, and by all that needs transformers, where that would fail deep inside."""
        (tmp_path / "torchvision").mkdir()
        lie = "raise RuntimeError('operator torchvision::nms does not exist')\n"
        (tmp_path / "torchvision" / "__init__.py").write_text(lie)
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            "for name in [*sys.modules]:\n"
            "    if name.partition('.')[0] in ('torchvision', 'transformers', 'peft', 'c3align'):\n"
            "        del sys.modules[name]\n"
            "from c3align import cli, datasets, errors\n"
            "from c3align.decoders import small_lm\n"
            "from c3align.decoders.prefix.language_models import load_lm\n"
            "cli.run(['doctor'])\n"
            "for call in (lambda: small_lm(['a']), lambda: load_lm('x'), lambda: small_lm(['a'])):\n"
            "    try:\n        call()\n"
            "    except errors.MissingExtraError as error:\n        print('RAISED', error)\n"
            "whole = datasets.glyphs\n"
            "def few(**how):\n"
            "    found = whole(**how)\n"
            "    return datasets.Glyphs(found.pictures[:99], found.names[:99], found.code_points[:99])\n"
            "datasets.glyphs = few\n"
            "print('CODE', cli.run(['demo']))\n"
        )
        out, err = Child(code, C3ALIGN_CACHE=str(tmp_path)).communicate()
        told = "do not fit each other (operator torchvision::nms does not exist)"
        assert f"refused: torch {metadata.version('torch')} and torchvision" in out
        assert out.count(told) == 4
        assert out.count("RAISED torch ") == 3
        assert f"error: torch {metadata.version('torch')}" in err
        assert err.count(told) == 1
        assert "CODE 2" in out

    def test_json(self, call):
        found = json.loads(call("doctor", "--json")[1])
        assert found["backend"] == ops.backend()
        assert found["packages"]["numpy"] == np.__version__


@pytest.fixture(scope="module")
def material(remembered_glyphs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("c3align.encoders.glyphs.GlyphEncoder.encode", remembered_glyphs)
        return _material.embed(encoders.load("glyphs"))


class TestDemo:
    @pytest.fixture(autouse=True)
    def embedded_once(self, material, monkeypatch):
        """It takes seconds; on fewer characters `test_demo` does it each time."""
        monkeypatch.setattr(_material, "embed", lambda encoder, folder: material)

    def test_it_tells_its_story(self, call, tmp_path):
        code, out, err = call("demo", "--quick", "--plot", tmp_path / "demo.png")
        assert (code, err) == (0, "")
        assert "measured on 566 characters" in out
        assert "distance between the two means          0.46      0.05" in out
        assert "3." not in out
        assert (tmp_path / "demo.png").stat().st_size > 10_000

    def test_json(self, call):
        code, out, err = call("demo", "--quick", "--json")
        found = json.loads(out)
        assert code == 0
        assert found["gap"]["before"]["gap_norm"] > 0.4
        assert found["gap"]["after"]["gap_norm"] < 0.15
        assert found["search"]["after"]["pictures"] > 2 * found["search"]["before"]["pictures"]
        assert found["search"]["after"]["own"] > found["search"]["before"]["own"]
        assert "1. The gap" in err


class TestShell:
    def test_help_and_version(self, call):
        code, out, _ = call("--version")
        assert (code, out) == (0, f"c3align {c3align.__version__}\n")
        commands = call("--help")[1].split("Commands:\n")[1]
        assert "..." not in commands
        names = [line.split()[0] for line in commands.splitlines()]
        assert names[:5] == ["demo", "encoders", "embed", "fit", "transform"]
        for command in names:
            code, out, _ = call(command, "--help")
            assert code == 0
            assert "Example" in out

    def test_unknown_command(self, call):
        code, out, err = call("align")
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1

    @pytest.mark.parametrize("rest", [("fit", "rows.npy"), ("report", "rows.npy"), ("caption", "a.png", "-p", "p")])
    def test_files_are_no_stream(self, call, rest):
        code, out, err = call(*rest, "-o", "-")
        assert (code, out) == (2, "")
        assert "files are written, and no stream; name one" in err

    def test_interrupt(self, call, monkeypatch):
        def interrupt():
            raise KeyboardInterrupt

        monkeypatch.setattr("c3align.cli.doctor.examine", interrupt)
        assert call("doctor")[0] == 130

    def test_our_own_fault(self, call, monkeypatch):
        monkeypatch.setattr("c3align.cli.doctor.examine", lambda: 1 / 0)
        code, _, err = call("doctor")
        assert code == 1
        assert "ZeroDivisionError" in err
        assert "Traceback" not in err
        monkeypatch.setenv("C3ALIGN_DEBUG", "1")
        assert "Traceback" in call("doctor")[2]

    @pytest.mark.parametrize("arguments", [("report", "image.npy", "text.npy", "--unpaired"), ("encoders",), ()])
    def test_as_a_module_into_a_closed_pipe(self, small, arguments):
        command = [sys.executable, "-m", "c3align", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141

    @pytest.mark.parametrize("closed", ["stdout", "stderr"])
    def test_closed_streams_change_no_exit_code(self, small, monkeypatch, closed):
        """`>&-` and `2>&-`, where Python has no stream at all."""
        C3Aligner().fit(np.load("text.npy"), np.load("image.npy")).save_pretrained("al")
        command = ("check", "image.npy", "-a", "al", "--fail-on", "gap", "--modality")
        codes = []
        for arguments in ((*command, "image"), (*command, "text"), ("check", "none.npy", "-a", "al")):
            monkeypatch.setattr(sys, "argv", ["c3align", *arguments])
            with monkeypatch.context() as patch:
                patch.setattr(sys, closed, None)
                with pytest.raises(SystemExit) as ended:
                    main()
            codes.append(ended.value.code)
        assert codes == [0, 3, 2]

    @pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
    @pytest.mark.parametrize("seconds", [0.25, 1.5])
    def test_control_c(self, seconds, tmp_path):
        """While it is loading, and at work: a word, no traceback; a shell shows 130 where the signal itself ends it."""
        (tmp_path / "t.txt").write_text("letter\n" * 300_000)
        asked = [
            "embed",
            str(tmp_path / "t.txt"),
            "--encoder",
            "glyphs",
            "--modality",
            "text",
            "-o",
            str(tmp_path / "o"),
        ]
        command = [sys.executable, "-m", "c3align", *asked]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode in (130, -signal.SIGINT)
        assert out == ""
        assert err.splitlines()[-1].startswith("interrupted")
        assert "Traceback" not in err

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
    def test_a_terminal_that_is_not_utf_8(self, small, encoding, monkeypatch):
        """By streams as Python opens them there, in this process, which has imported all that a report needs."""
        os.rename("image.npy", "\u4e2d\u00e9.npy")
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
        for name, stream in streams.items():
            monkeypatch.setattr(sys, name, stream)
        codes = [cli.run(["report", "\u4e2d\u00e9.npy", file]) for file in ("text.npy", "\u4e2d.npy")]
        out, err = (stream.flush() or stream.buffer.getvalue() for stream in streams.values())
        assert codes == [0, 2], err
        assert b"\\u4e2d" in out
        assert b"error: no file \\u4e2d" in err

    def test_completion(self):
        env = {**os.environ, "_C3ALIGN_COMPLETE": "complete_bash", "COMP_WORDS": "c3align tra", "COMP_CWORD": "1"}
        found = subprocess.run([sys.executable, "-m", "c3align"], capture_output=True, env=env, text=True)
        assert found.stdout.split() == ["transform", "translate", "train-captioner"]

    @pytest.mark.parametrize("colours", [{"TERM": "xterm"}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
    def test_colours_where_a_terminal_shows_them(self, small, call, monkeypatch, colours):
        """Errors red, heads of tables bold; none in a pipe, and none where a user wants none."""
        monkeypatch.setenv("COLUMNS", "80")
        for name, value in colours.items():
            monkeypatch.setenv(name, value)
        assert "\x1b" not in "".join(map(str, call("report", "image.npy", "none.npy")))
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        _, _, error = call("report", "image.npy", "none.npy")
        _, table, _ = call("report", "image.npy", "text.npy")
        assert ("\x1b[1;31merror:\x1b[0m no file" in error) == (colours == {"TERM": "xterm"})
        assert re.sub(r"\x1b\[[\d;]*m", "", error).startswith("error: no file")
        assert ("\x1b[1m" in table) == (colours["TERM"] == "xterm")

    @pytest.mark.parametrize("width", [60, 80, 200])
    def test_a_terminal_of_any_width(self, small, call, monkeypatch, width):
        """Lines are wrapped at words and tables in their cells: no figure is torn, and none lost."""
        plain = call("report", "image.npy", "text.npy")[1]
        monkeypatch.setenv("COLUMNS", str(width))
        assert call("report", "image.npy", "text.npy")[1] == plain  # into a file it is what it was
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        for arguments in (("report", "image.npy", "text.npy"), ("choose", "text.npy", "image.npy", "--job", "search")):
            found = re.sub(r"\x1b\[[\d;]*m", "", call(*arguments)[1])
            assert max(map(len, found.splitlines())) <= width
            if arguments[0] == "report":
                assert sorted(found.split()) == sorted(plain.split())
                assert re.search(r"^gap +\d\.\d{3} +\d\.\d{3}$", found, re.MULTILINE)
