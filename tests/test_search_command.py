"""`c3align index` and `c3align search`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from c3align import C3Aligner, datasets
from tests import stores


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures of 150 characters, and the names of 150 others."""
    stores.require("lance")
    monkeypatch.chdir(tmp_path)
    glyphs = datasets.glyphs(split="held_out")
    (tmp_path / "photos").mkdir()
    for i in range(150):
        Image.fromarray(glyphs.pictures[i]).save(tmp_path / "photos" / f"{i:03}.png")
    (tmp_path / "names.csv").write_text("caption\n" + "".join(f"{name}\n" for name in glyphs.names[150:300]))
    (tmp_path / "more.csv").write_text("caption\n" + "".join(f"{name}\n" for name in glyphs.names[300:310]))
    return glyphs


INDEX = ("index", "photos", "names.csv", "--encoder", "glyphs", "-o", "idx")


@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
def test_a_row_at_the_top_renames_the_others(folder, call, tmp_path):
    """Texts are named by their places: added above, each would be found under the name of another."""
    assert call(*INDEX)[0] == 0
    lines = (tmp_path / "names.csv").read_text().splitlines(keepends=True)
    (tmp_path / "names.csv").write_text("".join([*lines, "one more\n"]))
    assert call(*INDEX)[1] == "idx: 1 added, 301 in all\n"
    (tmp_path / "names.csv").write_text("".join([lines[0], "black chess knight\n", *lines[1:]]))
    code, out, err = call(*INDEX)
    assert (code, out) == (2, "")
    assert "names.csv has other texts than were indexed under the same names, 151 of 151, first" in err
    assert "add new rows at its end, or make a new index" in err


@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
def test_index_and_search(folder, call, monkeypatch):
    code, out, err = call(*INDEX)
    assert (code, out) == (0, "idx: 300 added, 300 in all\n"), err
    _, out, err = call(*INDEX)
    assert (out, "note: 300 known names, not read again" in err) == ("idx: 0 added, 300 in all\n", True)
    assert call("index", "more.csv", "--encoder", "glyphs", "-o", "idx")[1] == "idx: 10 added, 310 in all\n"
    code, out, _ = call("search", folder.names[7], "idx", "-k", 20, "--json")
    found = json.loads(out)["results"]
    assert (code, len(found)) == (0, 20)
    assert {result["modality"] for result in found} == {"image", "text"}
    assert [result["z"] for result in found] == sorted((result["z"] for result in found), reverse=True)
    assert "photos/007.png" in [result["id"] for result in found]
    code, out, _ = call("search", "photos/007.png", "idx", "-k", 1)
    assert (code, out.split()[1:]) == (0, ["image", "photos/007.png"])
    code, _, err = call("search", "photos/none.png", "idx")
    assert (code, "no file photos/none.png" in err) == (2, True)
    C3Aligner().fit(np.eye(256)[:40] + 1).save_pretrained("other")
    code, _, err = call("index", "more.csv", "--encoder", "glyphs", "-o", "idx", "-a", "other")
    assert (code, err[:32]) == (2, "error: --aligner must be the one")
    code, out, _ = call("search", folder.names[155], "idx", "-k", 1, "--only", "text")
    assert (code, out.split()[1:3]) == (0, ["text", "names.csv[5]"])
    assert folder.names[155] in out
    code, _, err = call("search", " ", "idx")
    assert code == 2
    assert "the query is empty" in err
    code, out, err = call("search", "x", "idx", "--only", "pdf")
    known = "must be one of the index ('image', 'text'), got 'pdf'; choose one of them, or omit it"
    assert (code, out, known in err) == (2, "", True)
    code, out, err = call("search", folder.names[7], "idx", "--only", "pdf", "--json")
    assert (code, out, err.count("\n"), known in err) == (2, "", 1, True)  # errors are no JSON, and stdout is empty
    every, some = (
        json.loads(call("search", folder.names[7], "idx", "-k", 310, "--json", *more)[1])["results"]
        for more in ((), ("--max-false-positive-rate", 0.05))
    )
    assert (len(every), some) == (310, every[: len(some)])
    assert 0 < len(some) < 60


@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
def test_a_cut_off_index_goes_on(folder, call, monkeypatch):
    from c3align.search import MixedIndex

    add, calls = MixedIndex.add, []

    def cut_off(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return add(self, *arguments, **options)

    monkeypatch.setattr(MixedIndex, "add", cut_off)
    assert call(*INDEX)[0] == 130
    assert call("search", folder.names[7], "idx")[0] == 0
    assert call(*INDEX)[1] == "idx: 150 added, 300 in all\n"


@pytest.mark.filterwarnings("default::c3align.errors.CalibrationWarning")
@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
def test_a_column_is_that_of_tables(folder, call):
    """Pictures beside a table were refused for its --column."""
    Path("titles.csv").write_text("title\n" + "".join(f"{n}\n" for n in folder.names[:40]))
    command = ("index", "photos", "titles.csv", "--encoder", "glyphs", "--column", "title", "-o", "idx")
    assert call(*command)[1] == "idx: 190 added, 190 in all\n"
    code, _, err = call("index", "photos", "--encoder", "glyphs", "--column", "title", "-o", "idx")
    assert (code, "photos has no columns" in err) == (2, True)


def test_a_warning_advises_a_command(folder, call):
    code, _, err = call(*INDEX)
    advice = "fit --pair --second-moments, and pass the aligner as --aligner; else ignore this"
    assert (code, advice in " ".join(err.split())) == (0, True)


def test_refusals(folder, call, tmp_path):
    code, _, err = call("index", "photos", "--encoder", "glyphs", "-o", "idx")
    assert (code, "to learn an aligner takes texts and another modality, got image; pass both" in err) == (2, True)
    C3Aligner().fit(*np.random.default_rng(0).normal(size=(2, 40, 256))).save_pretrained("plain")
    for command in (("index", "photos", "--encoder", "glyphs"), ("migrate", "photos")):
        code, _, err = call(*command, "-a", "plain", "-o", "new")
        assert (code, "plain has kept no rows, which scores are calibrated by; fit it again with" in err) == (2, True)
        assert "--second-moments" in err
        assert not (tmp_path / "new").exists()
    code, _, err = call("search", "x", "photos")
    assert (code, "photos is no index; pass a folder that `c3align index` wrote" in err) == (2, True)
    code, _, err = call("index", "photos", "names.csv", "--encoder", "glyphs", "-o", "photos")
    assert (code, "photos exists and is no index of c3align; choose another folder" in err) == (2, True)
    (tmp_path / "idx" / "index.json").write_text('{"encoder": "other", "fingerprint": "other@1"}')
    code, _, err = call(*INDEX)
    assert (code, "--encoder must be the one that" in err) == (2, True)
    (tmp_path / "idx" / "index.json").write_text('{"encoder": "glyphs", "fingerprint": "other@1"}')
    code, _, err = call("search", "x", "idx")
    assert (code, "has a fingerprint that begins" in err) == (2, True)
