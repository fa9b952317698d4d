"""What is fitted goes to the Hub and comes back, by huggingface_hub's own code, against a small hub on this machine."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from c3align import C3Aligner, Pipeline
from c3align import hub as public
from c3align.decoders import MemoryCaptioner
from c3align.errors import C3AlignError, HubError
from c3align.io import hub, model_folders
from tests import hub_server
from tests.attacks import honest
from tests.children import Child

library = pytest.importorskip("huggingface_hub")

CLIENT = """
import json, os, sys
for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
    os.environ.pop(name, None)
for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
    del sys.modules[name]  # it reads the hub's address when it is imported
from huggingface_hub import HfApi
from c3align import C3Aligner, Pipeline
from c3align.decoders import MemoryCaptioner
from c3align.errors import C3AlignError
from c3align.hub import push_to_hub
from tests.attacks import honest
from tests.hub_server import TOKEN

def said(call):
    try:
        return call() and "nothing"
    except C3AlignError as error:
        return str(error)

aligner, rows = honest.learned().bind_encoder("tiny@1"), honest.partners()
kept = MemoryCaptioner().fit(honest.rows(4), honest.TEXTS)
whole = Pipeline("glyphs", decoder=MemoryCaptioner()).fit_text(honest.TEXTS)
found = {"url": push_to_hub(aligner, "me/first", license="mit", data="rows of the tests", token=TOKEN)}
push_to_hub(aligner, "me/changing", token=TOKEN)
push_to_hub(kept, "me/changing", token=TOKEN)
push_to_hub(whole, "me/private", token=TOKEN)
again = Pipeline.from_pretrained("me/private", token=TOKEN)
aligned = again.aligner.transform(again.encoder.encode(["a dog"], modality="text"), modality="text")
found["same"] = [
    C3Aligner.from_pretrained("me/first", encoder="tiny@1").to_bytes() == aligner.to_bytes(),
    C3Aligner.from_pretrained("me/first", local_files_only=True).to_bytes() == aligner.to_bytes(),
    MemoryCaptioner.from_pretrained("me/changing").generate(rows) == kept.generate(rows),
    list(again.decoder.generate(aligned)) == ["a dog"],
]
found["no revision"] = said(lambda: C3Aligner.from_pretrained("me/first", revision="v9"))
found["absent"] = said(lambda: C3Aligner.from_pretrained("me/nothing"))
found["secret"] = said(lambda: Pipeline.from_pretrained("me/private", cache_dir=sys.argv[1]))
found["no token"] = said(lambda: push_to_hub(aligner, "me/first"))
api = HfApi(token=TOKEN)
for name, path in (("me/model", "config.json"), ("me/data", "lm/notes.txt"), ("me/empty", "notes.txt")):
    api.create_repo(name)
    api.upload_file(path_or_fileobj=b"{}", path_in_repo=path, repo_id=name)
    found[name] = said(lambda: push_to_hub(whole, name, token=TOKEN))
found["another"] = said(lambda: C3Aligner.from_pretrained("me/first", encoder="tiny@2"))
damaged = aligner.to_bytes()[:-1] + b"?"
api.upload_file(path_or_fileobj=damaged, path_in_repo="aligner.safetensors", repo_id="me/first")
found["damaged"] = said(lambda: C3Aligner.from_pretrained("me/first"))
print(json.dumps(found))
"""


def test_a_link_to_what_is_gone_does_not_lead_to_the_hub(tmp_path, monkeypatch):
    from c3align import C3Aligner
    from c3align.errors import HubError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").symlink_to(tmp_path / "moved")
    with pytest.raises(HubError, match=r"owner/name is a link to .*moved, which is gone; put that back"):
        C3Aligner.from_pretrained("owner/name")


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory):
    """What another process found, whose huggingface_hub knows this hub alone, and the hub afterwards."""
    folder = tmp_path_factory.mktemp("client")
    with hub_server.running() as (known, endpoint):
        environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        done = Child(CLIENT, folder / "elsewhere", **environment)
        told, errors = done.communicate()
        assert done.returncode == 0, errors
        yield json.loads(told.splitlines()[-1]), known


def test_what_was_pushed_is_what_is_loaded(both_ways):
    found, known = both_ways
    assert found["url"].endswith("/me/first")
    assert found["same"] == [True] * 4
    assert {*known.files("me/private")} == {
        *(".gitattributes", "README.md", "pipeline.json", "aligner/aligner.safetensors", "aligner/config.json"),
        *("decoder/captioner.safetensors", "decoder/config.json", "decoder/memory/memory.npy"),
        "decoder/memory/captions.jsonl",
    }
    assert b"license: mit" in known.files("me/first")["README.md"]


def test_files_of_an_earlier_push_are_removed(both_ways):
    before, after = both_ways[1].repos["me/changing"][1:]
    assert "aligner.safetensors" in before
    assert "aligner.safetensors" not in after
    assert ".gitattributes" in after


def test_files_of_another_project_are_not_removed(both_ways):
    """A pipeline was pushed over the configuration of a model."""
    found, known = both_ways
    for name, path in (("me/model", "config.json"), ("me/data", "lm/notes.txt")):
        assert found[name] == f"{name} holds {path}, which is not of c3align; push to another repository"
        assert {*known.files(name)} == {".gitattributes", path}
    assert found["me/empty"] == "nothing"
    assert {"notes.txt", "pipeline.json"} < {*known.files("me/empty")}


def test_no_file_but_ours_is_asked_for(both_ways):
    asked = [line.rpartition("/")[2] for line in both_ways[1].asked if "/resolve/" in line]
    assert "aligner.safetensors" in asked
    assert not {"README.md", ".gitattributes"} & {*asked}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no revision", "me/first, and the Hub says: it has no such revision; pass another revision="),
        ("absent", "the Hub says: it is absent or private; check the name, or log in"),
        ("secret", "the Hub says: it is absent or private; check the name, or log in"),
        ("no token", r"cannot push to me/first, and the Hub says: you may not \(401\); log in"),
        ("another", "come from the encoder tiny@1 and not from tiny@2"),
        ("damaged", "it is damaged"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(both_ways, what, words):
    assert re.search(words, both_ways[0][what])


def test_a_folder_on_disk_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(library, "snapshot_download", lambda *_, **__: pytest.fail("the Hub was asked"))
    honest.learned().save_pretrained("me/first")
    assert C3Aligner.from_pretrained("me/first").n_features_in_ == 8
    with pytest.raises(C3AlignError, match="revision= must be that of a Hub id"):
        C3Aligner.from_pretrained("me/first", revision="main")
    for name in ("me/first/more", "../first", "/me/first", "first", "me/fir st", ".me/first"):
        with pytest.raises(HubError, match="or a Hub id 'owner/name'"):
            C3Aligner.from_pretrained(f"{name}-absent")
    for kind in (Pipeline, MemoryCaptioner):
        with pytest.raises(FileNotFoundError, match="or a Hub id"):
            kind.from_pretrained("absent")


def test_the_hub_is_asked_with_what_was_passed(monkeypatch):
    asked = {}
    monkeypatch.setattr(library, "snapshot_download", lambda name, **how: asked.update(how, name=name) or "/")
    options = {"revision": "v1", "token": "t", "cache_dir": "c", "local_files_only": True}
    hub.folder("me/first", hub.ALIGNER, **options)
    assert asked == {"name": "me/first", "allow_patterns": ["aligner.safetensors", "config.json"], **options}


def test_errors_of_the_network():
    errors = library.errors
    for error, words in (
        (
            errors.LocalEntryNotFoundError("many\nlines"),
            "x: it is not in the cache, and cannot be reached; check the",
        ),
        (errors.OfflineModeIsEnabled("?"), "x: offline mode is on; unset HF_HUB_OFFLINE"),
        (type("ConnectError", (Exception,), {})("refused"), "x: it cannot be reached; check the network"),
        (RuntimeError("two\nlines"), "x: two lines; check the name"),
    ):
        with pytest.raises(HubError) as caught, hub.said("x"):
            raise error
        assert str(caught.value).startswith(words)


def test_a_language_model_in_the_cache_of_the_hub(tmp_path):
    """lm/ lies two folders deeper than the snapshots, whose files are links to blobs; other links lead out."""
    lm, blobs = tmp_path / "snapshots" / "0123" / "decoder" / "lm", tmp_path / "blobs"
    lm.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "abc").write_text("{}")
    (lm / "config.json").symlink_to(blobs / "abc")
    model_folders.check_files(lm)
    (tmp_path / "secret").write_text("")
    (lm / "model.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(C3AlignError, match="a link out of the folder"):
        model_folders.check_files(lm)


class TestCard:
    def test_of_an_aligner(self):
        aligner = C3Aligner(second_moments=True).fit(honest.rows(), honest.partners()).bind_encoder("tiny@1")
        text = public.card(aligner, "me/first", license="cc-by-4.0", data="forty\nrows")
        head, body = text.split("---\n")[1:]
        assert head == (
            'library_name: c3align\ntags: ["c3align", "modality-gap", "image", "text"]\nlicense: cc-by-4.0\n'
        )
        norms = {name: np.linalg.norm(rows, axis=1).mean() for name, rows in (("text", honest.rows()),)}
        assert f"| text | 40 | {norms['text']:.4g} |" in body
        assert f"- {aligner.gap('image', 'text')}" in body
        for line in ("Encoder: `tiny@1`", "Dimensions: 8", "Data: forty rows", "Licence: cc-by-4.0"):
            assert f"\n{line}\n" in body
        assert "It holds 40 unit rows of image." in body

    def test_its_code_runs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        aligner = honest.learned()
        aligner.save_pretrained("me/first")
        code = public.card(aligner, "me/first").split("```")[1].removeprefix("python\n")
        found = {"rows": honest.partners()}
        exec(code, found)
        np.testing.assert_array_equal(found["aligned"], aligner.transform(honest.partners(), modality="image"))

    def test_of_a_decoder(self):
        kept = MemoryCaptioner().fit(honest.rows(4), honest.TEXTS)
        text = public.card(kept, "me/kept")
        assert "Learned from text rows" in text
        assert "Encoder: not stated." in text
        assert "Licence: not stated; ask the owner before you use it." in text
        assert "license:" not in text

    def test_refusals(self):
        with pytest.raises(NotFittedError):
            public.card(C3Aligner(), "me/first")
        for options in ({"repo_id": "first"}, {"license": "MIT\ntags: x"}, {"obj": np.zeros(3)}):
            with pytest.raises(C3AlignError, match="must be"):
                public.push_to_hub(**{"obj": honest.learned(), "repo_id": "me/first", **options})
