"""The experiments of the paper run end to end, on tiny data in the real layouts and on glyphs."""

from __future__ import annotations

import csv
import importlib
import json
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from c3align import geometry
from c3align.decoders import small_lm
from tests import media, tiny_encoders

ROOT = Path(__file__).resolve().parents[1]
PAPER = ROOT / "benchmarks" / "paper"
sys.path.insert(0, str(PAPER))

import _configs  # noqa: E402
import _data  # noqa: E402
import _results  # noqa: E402
import _variants  # noqa: E402

CAPTIONS = ["a photo of the cat", "two small birds singing", "red dog on blue mat", "engine music in rain"]


def captions(i):
    return [f"{CAPTIONS[(i + k) % 4]} ." for k in range(5)]


@pytest.fixture(scope="session")
def coco_folder(tmp_path_factory):
    """Karpathy's layout with a dozen pictures of colours."""
    root = tmp_path_factory.mktemp("coco")
    images = []
    for i, split in enumerate(["train"] * 5 + ["restval"] * 2 + ["val"] * 2 + ["test"] * 3):
        folder = "train2014" if split == "train" else "val2014"
        (root / folder).mkdir(exist_ok=True)
        shade = Image.new("RGB", (40, 30), tuple(np.random.default_rng(i).integers(0, 255, 3).tolist()))
        shade.save(root / folder / f"{i:03d}.jpg")
        sentences = [{"raw": text} for text in captions(i)]
        images.append({"filepath": folder, "filename": f"{i:03d}.jpg", "split": split, "sentences": sentences})
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return root


@pytest.fixture(scope="session")
def clotho_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clotho")
    for part, n_items in (("development", 5), ("evaluation", 3)):
        (root / part).mkdir()
        with (root / f"clotho_captions_{part}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file_name", *(f"caption_{k}" for k in range(1, 6))])
            for i in range(n_items):
                media.write_sound(root / part / f"rain, {i}.wav", 16_000 + 1_000 * i)
                writer.writerow([f"rain, {i}.wav", *captions(i)])
    return root


@pytest.fixture(scope="session")
def msrvtt_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("msrvtt")
    splits = {"train_val": ["train", "train", "train", "validate"], "test": ["test", "test"]}
    number = 0
    for part, names in splits.items():
        (root / part).mkdir()
        videos, sentences = [], []
        for name in names:
            videos.append({"video_id": f"video{number}", "split": name})
            sentences += [{"video_id": f"video{number}", "caption": text} for text in captions(number)]
            media.write_video(root / part / f"video{number}.mp4", n_frames=6 + number)
            number += 1
        (root / f"{part}_videodatainfo.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    return root


class TestReaders:
    def test_coco(self, coco_folder):
        found = _data.coco(coco_folder)
        assert (len(found.train), len(found.test)) == (7, 3)  # restval is trained on, val is not
        assert all(Path(item).is_file() for item in [*found.train.items, *found.test.items])
        assert found.test.items[0].endswith("val2014/009.jpg")
        assert found.test.captions[0] == captions(9)
        assert len(found.train.texts()) == 35

    def test_clotho(self, clotho_folder):
        found = _data.clotho(clotho_folder)
        assert (found.modality, len(found.train), len(found.test)) == ("audio", 5, 3)
        assert found.train.captions[1] == captions(1)
        assert Path(found.train.items[1]).name == "rain, 1.wav"

    def test_msrvtt(self, msrvtt_folder):
        found = _data.msrvtt(msrvtt_folder)
        assert (found.modality, len(found.train), len(found.test)) == ("video", 4, 2)  # validate is trained on
        assert found.test.captions == [captions(4), captions(5)]
        assert [Path(item).name for item in found.test.items] == ["video4.mp4", "video5.mp4"]
        (msrvtt_folder / "test" / "video5.mp4").rename(msrvtt_folder / "away")
        try:
            with pytest.raises(ValueError, match=r"video5.mp4 is not under .*; put the videos there"):
                _data.msrvtt(msrvtt_folder)
        finally:
            (msrvtt_folder / "away").rename(msrvtt_folder / "test" / "video5.mp4")

    def test_absent(self, tmp_path):
        for read in (_data.coco, _data.clotho, _data.msrvtt):
            with pytest.raises(ValueError, match="pass the folder"):
                read(tmp_path)
        with pytest.raises(ValueError, match="pass --data FOLDER, or --encoder glyphs"):
            _data.read("coco", None, "open_clip:ViT-B-32/openai")

    def test_nothing_is_tuned_on_what_is_held_out(self):
        """Validation characters come from the training split, and other names from neither."""
        held_out = set(_data.glyphs().test.texts())
        validation = _data.glyphs(validate=True)
        shown = set(validation.train.texts()) | set(validation.test.texts())
        assert not held_out & shown
        assert not set(validation.train.texts()) & set(validation.test.texts())
        assert shown == set(_data.glyphs().train.texts())
        assert 0.08 < len(validation.test) / len(shown) < 0.12
        free = _data.other_names()
        assert not (held_out | shown) & set(free)
        assert len(free) > 20_000
        points = [p for p in range(0x1F300, 0x1F600) if _data.characters.is_held_out(p)]
        names = {unicodedata.name(chr(p), "").lower().replace("-", " ") for p in points}
        assert len(names) > 50
        assert not names & set(free)


class TestVariants:
    def test_without_collapse_rows_stay_where_they_are(self, coco):
        image, text = coco
        for variant, (collapse, corrupt) in _variants.VARIANTS.items():
            aligner = _variants.fit_aligner(variant, text, image, noise_cosine=0.5)
            rows = aligner.transform(image, modality="image")
            if not collapse:
                assert not aligner.statistics_["image"].mean.any()
                assert np.abs(rows - geometry.unit_rows(image)).max() < 1e-6
            assert (aligner.sigma_ > 0) is corrupt
            noisy = aligner.corrupt(text, modality="text")
            clean = aligner.transform(text, modality="text")
            assert np.mean((noisy * clean).sum(axis=1)) == pytest.approx(0.5 if corrupt else 1, abs=0.02)

    def test_noise_without_the_gap(self, coco):
        image, text = coco
        aligner = _variants.fit_without_gap(text, image, noise_cosine=0.3)
        gap = aligner.direction / np.linalg.norm(aligner.direction)
        plain = _variants.fit_aligner("C2_2", text, image, noise_cosine=0.3)
        spread = [np.std(a.corrupt(text, modality="text") @ gap) for a in (aligner, plain)]
        assert spread[0] < 0.4 * spread[1]


class TestResults:
    def test_a_run_that_is_there_is_not_run_again(self, tmp_path):
        path, calls = tmp_path / "r.json", []

        def measure():
            calls.append(1)
            return {"score": 0.1 + 0.2}

        for _ in range(2):
            results = _results.Results(path, {"epochs": 3})
            for seed in (0, 1):
                results.run({"seed": seed}, measure)
        assert len(calls) == 2
        found = json.loads(path.read_text())
        assert [record["score"] for record in found["records"]] == [0.1 + 0.2] * 2
        assert {"commands", "commit", "versions", "settings"} <= set(found)
        with pytest.raises(SystemExit, match="results of other settings"):
            _results.Results(path, {"epochs": 4})

    def test_spread(self):
        assert _results.spread([1.0, 2.0, 3.0], digits=1) == "2.0 ± 1.0"
        assert _results.spread([0.5]) == "0.500"


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Specs of a tiny CLIP and a tiny CLAP, and the folder of a tiny language model."""
    folder = tmp_path_factory.mktemp("models")
    specs = {kind: tiny_encoders.write_transformers(kind, folder / kind) for kind in ("clip", "clap")}
    lm, tokenizer = small_lm(CAPTIONS, width=16, n_layers=1, n_heads=2, max_tokens=96)
    for part in (lm, tokenizer):
        part.save_pretrained(folder / "lm")
    return {**specs, "lm": str(folder / "lm")}


@pytest.fixture
def entry(monkeypatch, capsys):
    """Run an entry as its command line does; returns what it prints."""

    def run(name, *arguments):
        tiny_encoders.import_torchvision()
        monkeypatch.setattr(sys, "argv", [str(PAPER / f"{name}.py"), *map(str, arguments)])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    return run


QUICK = ("--epochs", 1, "--batch-size", 16)
PLAIN = ("--metrics", "bleu", "rouge_l")  # METEOR and SPICE want Java
GLYPHS = ("--encoder", "glyphs", "--limit", 40, "--epochs", 1, "--seeds", 0)


class TestEntriesOnTheRealLayouts:
    def test_table_2(self, entry, coco_folder, models, tmp_path):
        where = ("--data", coco_folder, "--encoder", models["clip"], "--lm", models["lm"], "--cache", tmp_path)
        metrics = ("--metrics", "bleu", "rouge_l", "cider")
        first = entry("table2_coco_captioning", *where, *QUICK, *metrics, "--json", tmp_path / "r.json")
        lines = {line.split()[0]: line for line in first.splitlines()[2:]}
        assert list(lines) == ["C1", "C2_1", "C2_2", "C3"]
        assert "| 93.3" in lines["C3"]  # the paper's beside ours
        records = json.loads((tmp_path / "r.json").read_text())["records"]
        assert {record["sigma"] > 0 for record in records if record["variant"] in ("C1", "C2_1")} == {False}
        assert all(0 <= record["rouge_l"] <= 1 for record in records)
        assert len(list(tmp_path.glob("*.npy"))) == 4
        before = (tmp_path / "r.json").read_bytes()
        assert entry("table2_coco_captioning", *where, *QUICK, *metrics, "--json", tmp_path / "r.json") == first
        assert (tmp_path / "r.json").read_bytes() == before

    def test_table_3(self, entry, coco_folder, models):
        where = ("--data", coco_folder, "--encoder", models["clip"], "--limit", 5)
        out = entry("table3_text_to_image", *where, *QUICK, "--variants", "C1", "C3")
        assert [line.split()[-1] for line in out.splitlines()[2:]] == ["29.8", "19.6"]

    def test_table_4(self, entry, coco_folder, clotho_folder, msrvtt_folder, models):
        """Pictures and videos through CLIP, sounds through CLAP: no ImageBind is here."""
        options = (*QUICK, *PLAIN, "--lm", models["lm"], "--variants", "C3")
        folders = ("--coco", coco_folder, "--msrvtt", msrvtt_folder)
        out = entry("table4_other_modalities", *folders, "--encoder", models["clip"], *options)
        assert [line for line in out.splitlines() if line in ("coco", "clotho", "msrvtt")] == ["coco", "msrvtt"]
        assert "| 74.0" in out
        assert "| 31.4" in out
        out = entry("table4_other_modalities", "--clotho", clotho_folder, "--encoder", models["clap"], *options)
        assert "| 29.5" in out
        with pytest.raises(ValueError, match="no data set was named"):
            entry("table4_other_modalities", "--encoder", models["clip"])

    def test_figure_6(self, entry, coco_folder, models, tmp_path):
        where = ("--data", coco_folder, "--encoder", models["clip"], "--lm", models["lm"], "--seeds", 0)
        options = ("--shares", 0.25, 1, "--variants", "pairs only", "C3", "--json", tmp_path / "r.json")
        out = entry("figure6_low_data", *where, *QUICK, *PLAIN, *options)
        assert [line for line in out.splitlines() if "% of the pairs" in line] == [
            "0 % of the pairs",
            "25 % of the pairs",
            "100 % of the pairs",
        ]
        assert "| 31.5" in out
        records = json.loads((tmp_path / "r.json").read_text())["records"]
        assert [(r["variant"], r["share"], r["n_trained_on"]) for r in records] == [
            ("pairs only", 0.25, 2),
            ("pairs only", 1.0, 7),
            ("C3", 0.0, 0),
            ("C3", 0.25, 2),
            ("C3", 1.0, 7),
        ]

    def test_tables_6_and_7(self, entry, coco_folder, models):
        where = ("--data", coco_folder, "--encoder", models["clip"], "--lm", models["lm"], *QUICK, *PLAIN)
        out = entry("table6_shift", *where)
        assert [line.split()[0] for line in out.splitlines()[3:]] == ["0.0", "0.1", "0.2", "0.4", "0.6", "0.8", "1.0"]
        out = entry("table7_noise_directions", *where)
        assert "noise without the gap's direction" in out
        assert "| 19.52" in out


class TestEntriesOnGlyphs:
    @pytest.fixture(autouse=True)
    def narrow(self, monkeypatch):
        """A language model of a sixth of the width, for it need not learn well here."""
        monkeypatch.setitem(_configs.GLYPH_CAPTIONS.small_lm, "width", 32)

    @pytest.mark.parametrize(
        "name", ["table2_coco_captioning", "table4_other_modalities", "table6_shift", "table7_noise_directions"]
    )
    def test_captioning(self, entry, name):
        out = entry(name, *GLYPHS)
        assert "word_f1" in out

    def test_the_others(self, entry):
        assert "recall@1" in entry("table3_text_to_image", *GLYPHS)
        out = entry("figure6_low_data", *GLYPHS, "--shares", 0.25, "--variants", "pairs only", "C3")
        assert "25 % of the pairs" in out

    def test_glyphs(self, entry, tmp_path, monkeypatch):
        """All jobs of the long experiment, on forty characters."""
        module = importlib.import_module("glyphs")
        small = _data.glyphs(validate=True).first(40)
        monkeypatch.setattr(module._data, "glyphs", lambda validate: small)
        monkeypatch.setattr(module._data, "other_names", lambda: ["black chess knight", "white star"] * 50)
        monkeypatch.setattr(module, "CONFIG", replace(module.CONFIG, epochs=1))
        for name, value in (("COSINES", 0.5), ("RESIDUAL_COSINES", 0.5), ("TEMPERATURES", 0.03), ("WEIGHTS", 0.5)):
            monkeypatch.setattr(module, name, (value,))
        monkeypatch.setattr(module, "N_DRAWS", 4)
        options = ("--seeds", 0, "--json", tmp_path / "r.json", "--cache", tmp_path)
        out = entry("glyphs", "ablation", "sweep", "residual", "more-text", "memory", *options)
        for text in (
            "row ablation, variant C1",
            "row residual",
            "row more text",
            "row vote, weight 0.5",
            "row nearest",
        ):
            assert text in out
        records = json.loads((tmp_path / "r.json").read_text())["records"]
        figures = ("n_items", "cpu_seconds", *module.METRICS)
        settings = {json.dumps([(k, v) for k, v in record.items() if k not in figures]) for record in records}
        assert len(settings) == len(records)  # each once
        done = (tmp_path / "r.json").read_bytes()
        entry("glyphs", "ablation", "sweep", "residual", "more-text", "memory", *options)
        assert json.loads(done)["records"] == json.loads((tmp_path / "r.json").read_text())["records"]

    def test_help_has_examples(self, entry, capsys):
        names = [path.stem for path in sorted(PAPER.glob("[a-z]*.py")) if path.stem != "theory"]
        assert len(names) >= 7
        for name in names:
            with pytest.raises(SystemExit, match="0"):
                entry(name, "--help")
            assert "Examples" in capsys.readouterr().out
