"""`benchmarks/paper/score.py` as a user types it."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import score

from c3align import datasets as data
from c3align.io import media as _media
from tests import media, tiny_encoders

needs_scores = pytest.mark.skipif(
    not (find_spec("torchmetrics") and find_spec("pycocoevalcap")), reason="the extra scores is not installed"
)


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run the script in an empty folder; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = score.main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def files(call, tmp_path):
    (tmp_path / "mine.txt").write_text("a cat sat on the mat\ntwo dogs\n")
    (tmp_path / "refs.txt").write_text("the cat sat on a mat\ntwo dogs run\n")
    (tmp_path / "results.json").write_text('[{"image_id": 9, "caption": "two dogs"}]')
    annotations = [
        {"image_id": i, "id": i, "caption": text} for i, text in ((7, "a cat"), (9, "two cats"), (9, "dogs"))
    ]
    (tmp_path / "coco.json").write_text(json.dumps({"annotations": annotations}))
    return call


def test_plain_lines(files):
    code, out, err = files("mine.txt", "refs.txt", "--metrics", "word_f1", "exact", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"n_items": 2, "word_f1": pytest.approx((1 + 4 / 5) / 2), "exact": 0.0}


def test_more_files_are_more_references(files):
    code, out, _ = files("mine.txt", "refs.txt", "mine.txt", "--metrics", "exact")
    assert (code, out) == (0, "n_items          2\nexact            1.0000\n")


def test_coco_by_image(files):
    code, out, err = files("results.json", "coco.json", "--metrics", "word_f1", "--json")
    assert code == 0
    assert json.loads(out) == {"n_items": 1, "word_f1": pytest.approx(2 / 3)}
    assert err == "note: 1 items of the references have no candidate and were left out\n"


def test_what_caption_skipped_is_left_out(files, tmp_path):
    """The lines that `c3align caption --on-error skip` writes."""
    lines = [{"path": "a", "caption": "two dogs"}, {"path": "b", "error": "b: cannot be read"}]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "refs.jsonl").write_text("\n".join(json.dumps({"path": i, "caption": "two dogs"}) for i in "ab"))
    code, out, err = files("mine.jsonl", "refs.jsonl", "--metrics", "exact")
    assert (code, out) == (0, "n_items          1\nexact            1.0000\n")
    assert err == "note: 1 items of the references have no candidate and were left out\n"


def test_it_says_at_once_that_all_metrics_take_long(files, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(score.scores, "caption_scores", lambda *_, **__: seen.append(capsys.readouterr().err) or {})
    assert files("mine.txt", "refs.txt")[0] == files("mine.txt", "refs.txt", "--metrics", "exact")[0] == 0
    assert seen == ["note: all metrics for 2 items; SPICE and METEOR take minutes, --metrics chooses some\n", ""]


@needs_scores
def test_without_java_it_says_what_is_missing(files, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = files("mine.txt", "refs.txt")
    assert code == 0
    assert "tokenizer        plain\n" in out
    assert "bleu_4" in out
    assert "note: no meteor: METEOR, SPICE and the PTB tokenizer run on Java" in err
    assert "note: scored on plain words, not on PTB tokens" in err


@needs_scores
@pytest.mark.skipif(not shutil.which("java"), reason="no java on the PATH")
def test_with_java_it_does_not(files):
    code, out, err = files("mine.txt", "refs.txt", "--metrics", "bleu", "rouge_l", "cider")
    assert (code, err) == (0, "")
    assert "tokenizer        ptb\nbleu_1           " in out


@needs_scores
def test_pictures(call, tmp_path):
    from PIL import Image

    tiny_encoders.import_torchvision()
    glyphs = data.glyphs(split="held_out").pictures[:12]
    for folder, pictures in (("drawn", glyphs // 2), ("real", glyphs)):
        (tmp_path / folder).mkdir()
        np.save(f"{folder}.npy", pictures)
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / folder / f"{i:02}.png")
    asked = ["--encoder", "glyphs", "--metrics", "fid", "retrieval", "pixel_error", "--json"]
    code, out, err = call("--pictures", "drawn", "--real", "real", *asked)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["n_pictures"], found["n_real"], found["features"]) == (12, 12, "glyphs")
    assert found["pixel_error"] == pytest.approx(((glyphs // 2 / 255 - glyphs / 255) ** 2).mean())
    assert found["recall@1"] > 0.5
    arrays = json.loads(call("--pictures", "drawn.npy", "--real", "real.npy", *asked)[1])
    assert arrays == pytest.approx(found)
    (tmp_path / "drawn" / "00.png").rename(tmp_path / "drawn" / "x.png")
    code, _, err = call("--pictures", "drawn", "--real", "real", *asked)
    assert (code, "need pairs of equal names; ['00'] is in one of the folders alone" in err) == (2, True)


def test_pictures_are_read_as_they_are_embedded(call, tmp_path):
    """Turned photographs, 16 bits and transparency: of equal pictures nothing differs."""
    made = media.write_pictures(tmp_path)
    for folder in ("drawn", "real"):
        (tmp_path / folder).mkdir()
    for kind, other in (("jpeg rotated", "upright"), ("png 16", "png grey"), ("png alpha", "white")):
        if other not in made:
            made[other] = tmp_path / f"{other}.png"
            _media.image(made[kind]).save(made[other])
        shutil.copy(made[kind], tmp_path / "drawn" / f"{other}{made[kind].suffix}")
        shutil.copy(made[other], tmp_path / "real" / f"{other}.png")
    code, out, err = call("--pictures", "drawn", "--real", "real", "--metrics", "pixel_error", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["pixel_error"] < 1e-6


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "nothing to score; pass candidates and references"),
        (("mine.txt",), "nothing to score"),
        (("absent.txt", "refs.txt"), "no file absent.txt; check the name"),
        (("results.json", "refs.txt", "--metrics", "exact"), "results.json holds 1 items and refs.txt 2"),
        (("mine.txt", "refs.txt", "--metrics", "blue"), "metric 'blue' is unknown; pass some of bleu"),
        (("mine.txt", "refs.txt", "--metrics", "bleu", "--tokenizer", "moses"), "tokenizer='moses' is unknown"),
        (("--pictures", "a"), "pass --pictures and --real"),
        (("mine.txt", "--pictures", "a", "--real", "b"), "pass --pictures and --real, and no captions"),
        (("--pictures", "absent", "--real", "absent"), "no file or folder absent"),
    ],
)
def test_errors_are_one_line(files, arguments, text):
    code, out, err = files(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert text in err
