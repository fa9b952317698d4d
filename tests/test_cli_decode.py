"""`c3align train-captioner`, `caption` and `draw`, as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from c3align import C3Aligner, Pipeline, cli, encoders
from c3align import datasets as data
from c3align.decoders import EmbeddingGenerator, small_lm
from tests import tiny_encoders

N = 120


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Names, pictures as files, and a language model of them in a folder."""
    tiny_encoders.import_torchvision()
    folder = tmp_path_factory.mktemp("material")
    train = data.glyphs(split="train")
    names, pictures = train.names[:N], train.pictures[:N]
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    (folder / "pictures").mkdir()
    for i in range(20):
        Image.fromarray(pictures[i]).save(folder / "pictures" / f"{i:02d}.png")
    lm, tokenizer = small_lm(names, width=32, n_layers=1, n_heads=2)
    for part in (lm, tokenizer):
        part.save_pretrained(folder / "lm")
    return folder


TRAINING = ("--lm", "lm", "--epochs", 1, "--prefix-length", 2, "--lr", "1e-3", "--seed", 3)


@pytest.fixture(scope="module")
def pipeline(material):
    names = [str(material / "names.txt"), "--encoder", "glyphs", "--images", str(material / "pictures")]
    options = [str(material / "lm") if value == "lm" else str(value) for value in TRAINING]
    assert cli.run(["train-captioner", *names, *options, "-o", str(material / "P")]) == 0
    return material / "P"


class TestTrain:
    def test_it_is_the_pipeline(self, material, pipeline):
        """The command does what the classes do, to the bit."""
        from c3align.decoders import PrefixCaptioner

        names = (material / "names.txt").read_text().splitlines()
        pictures = sorted(str(path) for path in (material / "pictures").iterdir())
        decoder = PrefixCaptioner.from_pretrained_lm(material / "lm", n_dims=256, prefix_length=2, seed=3)
        same = Pipeline("glyphs", C3Aligner(seed=3), decoder).collect(pictures)
        same.fit_text(names, epochs=1, batch_size=40, lr=1e-3, seed=3, progress=False)
        assert Pipeline.from_pretrained(pipeline).caption(pictures) == same.caption(pictures)

    def test_what_is_known_is_told(self, material, call, monkeypatch, tmp_path):
        monkeypatch.chdir(material)
        code, out, err = call("train-captioner", "names.txt", "--encoder", "glyphs", *TRAINING, "-o", tmp_path / "Q")
        assert (code, out) == (0, f"{tmp_path / 'Q'}: learned from {N} texts; knows the means of text\n")
        assert "note: no other modality's mean is known; pass --images or --aligner" in err
        code, _, err = call("caption", "pictures", "-p", tmp_path / "Q")
        assert code == 2
        assert "call collect(items, modality='image')" in err

    def test_a_folder_of_something_else_is_refused_before_anything_is_learned(
        self, material, call, monkeypatch, tmp_path
    ):
        monkeypatch.chdir(material)
        (tmp_path / "thesis.tex").write_text("x")
        monkeypatch.setattr(encoders, "load", None)  # it would be called first
        options = ("--encoder", "glyphs", *TRAINING, "-o", tmp_path)
        code, out, err = call("train-captioner", "names.txt", *options)
        assert (code, out) == (2, "")
        assert "exists and is not a saved pipeline alone; choose another folder" in err
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_texts_on_the_side_of_images_are_left_out_on_request(self, material, call, monkeypatch, tmp_path):
        """Three names whose embeddings are replaced by those of pictures."""
        monkeypatch.chdir(material)
        glyphs = encoders.load("glyphs")
        names, kind = Path("names.txt").read_text().splitlines(), type(glyphs)
        pictures = data.glyphs(split="train").pictures[:N]
        rows = {name: glyphs.encode([name], modality="text")[0] for name in names}
        aligner = C3Aligner().fit(np.stack([*rows.values()]), glyphs.encode(pictures, modality="image"))
        aligner.bind_encoder(glyphs.fingerprint).save_pretrained(tmp_path / "A")
        rows |= dict(zip(names[5:8], glyphs.encode(pictures[:3], modality="image")))
        monkeypatch.setattr(kind, "encode", lambda self, items, **options: np.stack([rows[item] for item in items]))
        options = ("--encoder", "glyphs", *TRAINING, "--aligner", tmp_path / "A", "-o", tmp_path / "Q")
        code, _, err = call("train-captioner", "names.txt", *options)
        assert (code, "3 of 120 embeddings" in err, "--on-error skip" in err) == (2, True, True)
        code, out, err = call("train-captioner", "names.txt", *options, "--on-error", "skip")
        assert (code, "learned from 117 texts" in out) == (0, True)
        assert "3 of 120 embeddings given as 'text' are left out, first row 5" in err

    def test_an_aligner_with_means(self, material, call, monkeypatch, tmp_path):
        monkeypatch.chdir(material)
        encoder = encoders.load("glyphs")
        names = Path("names.txt").read_text().splitlines()
        pictures = data.glyphs(split="train").pictures[:N]
        aligner = C3Aligner(noise_cosine=0.9).fit(encoder.encode(names, modality="text"))
        aligner.partial_fit(encoder.encode(pictures, modality="image"), modality="image").save_pretrained(
            tmp_path / "A"
        )
        options = ("--aligner", tmp_path / "A", "--noise-cosine", 0.5, "-o", tmp_path / "Q")
        code, out, err = call("train-captioner", "names.txt", "--encoder", "glyphs", *TRAINING, *options)
        assert (code, err.count("\n"), err[:41]) == (0, 1, "warning: hardly anything was learned: the")
        assert out.endswith("knows the means of image, text\n")
        assert Pipeline.from_pretrained(tmp_path / "Q").aligner.noise_cosine == 0.5

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("absent.txt", "--encoder", "glyphs"), "no file absent.txt"),
            (("names.txt", "--encoder", "clap"), "encoder 'clap' is unknown; pass one of"),
            (("names.txt", "--encoder", "precomputed:."), "precomputed:. holds rows and can embed no text; load them"),
            (("names.txt", "--encoder", "glyphs", "--mapper", "cnn"), "mapper must be one of 'mlp'"),
            (("names.txt", "--encoder", "glyphs", "--images", "absent"), "no file or folder absent"),
            (("names.txt", "--encoder", "glyphs", "--noise-cosine", "2"), "'auto' or a number in (0, 1]"),
        ],
    )
    def test_errors_are_one_line(self, material, call, monkeypatch, arguments, text):
        monkeypatch.chdir(material)
        code, out, err = call("train-captioner", *arguments, "--lm", "lm", "--epochs", 1, "-o", "nothing")
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert text in err
        assert not Path("nothing").exists()


class TestCaption:
    def test_lines(self, material, pipeline, call):
        files = sorted((material / "pictures").iterdir())[:3]
        code, out, err = call("caption", *files, "--pipeline", pipeline)
        assert (code, err) == (0, "")
        expected = Pipeline.from_pretrained(pipeline).caption([str(path) for path in files])
        assert out == "".join(f"{path}\t{caption}\n" for path, caption in zip(files, expected))
        assert call("caption", material / "pictures", "-p", pipeline)[1].startswith(out)

    def test_json_and_beams(self, material, pipeline, call):
        files = sorted((material / "pictures").iterdir())[:3]
        found = json.loads(call("caption", *files, "-p", pipeline, "--json", "--beams", 3)[1])
        expected = Pipeline.from_pretrained(pipeline).caption([str(path) for path in files], num_beams=3)
        assert found["captions"] == [{"path": str(p), "caption": c} for p, c in zip(files, expected)]

    def test_the_language_models_own_settings(self, material, pipeline, call):
        code, out, err = call("caption", material / "pictures", "-p", pipeline, "--lm-settings", "drop")
        assert (code, out, err) == call("caption", material / "pictures", "-p", pipeline)  # it has none
        code, _, err = call("caption", material / "pictures", "-p", pipeline, "--lm-settings", "none")
        assert (code, "lm_settings must be one of 'keep', 'drop', got 'none'" in err) == (2, True)

    def test_broken_files(self, material, pipeline, call, tmp_path):
        """Refused by name, or skipped, told, listed, and the rest unharmed; the file is whole or not there."""
        good = sorted((material / "pictures").iterdir())[:2]
        (tmp_path / "broken.png").write_bytes(b"nothing")
        arguments = ("caption", good[0], tmp_path / "broken.png", good[1], "-p", pipeline, "-o", tmp_path / "c.jsonl")
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert f"image 1 ({tmp_path / 'broken.png'}) cannot be used" in err
        assert [path.name for path in tmp_path.iterdir()] == ["broken.png"]
        code, out, err = call(*arguments, "--on-error", "skip")
        assert (code, out) == (0, f"{tmp_path / 'c.jsonl'}: 2 captions of 3 items\n")
        assert f"skipped {tmp_path / 'broken.png'}" in err
        assert "1 of 3 items could not be used" in err
        lines = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
        expected = Pipeline.from_pretrained(pipeline).caption([str(path) for path in good])
        assert [line.get("caption") for line in lines] == [expected[0], None, expected[1]]
        assert "cannot identify image" in lines[1]["error"]

    def test_a_name_that_is_not_utf_8(self, material, pipeline, call, tmp_path):
        """JSON has a spelling for it, from which the name comes back."""
        name = tmp_path / os.fsdecode(b"a\xff.png")
        name.write_bytes((material / "pictures" / "00.png").read_bytes())
        assert call("caption", tmp_path, "-p", pipeline, "-o", tmp_path / "c.jsonl")[0] == 0
        line = (tmp_path / "c.jsonl").read_text(encoding="utf-8")
        assert os.fsencode(json.loads(line)["path"]) == os.fsencode(name)

    def test_no_pipeline(self, material, call):
        code, _, err = call("caption", material / "pictures", "-p", material)
        assert code == 2
        assert "is no pipeline (no pipeline.json in it)" in err


class TestDraw:
    @pytest.fixture(scope="class")
    @classmethod
    def generator(cls, tmp_path_factory):
        train = data.glyphs(split="train")
        folder = tmp_path_factory.mktemp("generator") / "G"
        made = Pipeline("glyphs", decoder=EmbeddingGenerator(width=8))
        made.fit_images(train.pictures[:N], epochs=1, progress=False).collect(train.names[:N], modality="text")
        made.save_pretrained(folder)
        return folder

    def test_pictures(self, generator, call, tmp_path):
        texts = ["latin small letter a", "black chess knight"]
        code, out, err = call("draw", texts[0], "-p", generator, "-o", tmp_path / "a.png")
        assert (code, out, err) == (0, f"{tmp_path / 'a.png'}\t{texts[0]}\n", "")
        expected = Pipeline.from_pretrained(generator).draw(texts)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected[0])
        assert call("draw", *texts, "-p", generator, "-o", tmp_path / "two.png")[0] == 0
        assert np.array_equal(np.asarray(Image.open(tmp_path / "two-2.png")), expected[1])

    def test_errors(self, generator, pipeline, call, tmp_path):
        assert "one that ends with .png" in call("draw", "a", "-p", generator, "-o", tmp_path / "a.jpg")[2]
        code, _, err = call("draw", "a", "-p", pipeline, "-o", tmp_path / "a.png")
        assert code == 2
        assert "PrefixCaptioner, makes no pictures; call caption(items)" in err
        assert not list(tmp_path.iterdir())


def test_help_has_examples(call):
    for command in ("train-captioner", "caption", "draw"):
        code, out, _ = call(command, "--help")
        assert code == 0
        assert "Example" in out
