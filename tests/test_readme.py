"""What the README files say is so: code and commands run, print what is shown, and links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from c3align import C3Aligner, cli, datasets, encoders
from c3align.errors import ModalityMeanWarning
from tests import tiny_encoders, tiny_lms
from tests.conftest import DATA

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md"] + [
    path for name in ("c3align", "benchmarks", "csrc", "tests") for path in sorted((ROOT / name).rglob("README.md"))
]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# what a page names and a test machine has not, and what stands in for it
PUBLISHED = {
    "open_clip:ViT-B-32/laion2b_s34b_b79k": "glyphs",
    "transformers:openai/clip-vit-base-patch32": "glyphs",
    "n_dims=512": "n_dims=256",
    "Linear(512, ": "Linear(256, ",
    "https://example.org/dog.png": "dog.png",
}
# commands that other tests run, or that set up a machine
ELSEWHERE = {
    "pip install": "the installation itself: tests/test_package.py",
    "make ": "the Makefile's targets are what runs these tests",
    "c3align demo": "tests/test_demo.py",
    "c3align index": "needs LanceDB: tests/test_search_command.py",
    "c3align search": "needs LanceDB: tests/test_search_command.py",
    "c3align serve": "runs until it is ended: tests/test_serve.py",
    "c3align migrate": "needs an index of others: tests/test_bridge.py",
    "python benchmarks/paper/score.py": "needs results to score: tests/test_score_command.py",
    "c3align draw": "needs a generator: tests/test_cli_decode.py",
}


def blocks(page):
    """Language, text and following block's printed result (or None) of each block."""
    found = list(BLOCK.finditer((ROOT / page).read_text()))
    following = [*found[1:], None]
    return [
        (block[1], block[2], after[2] if after and after[1] == "text" else None)
        for block, after in zip(found, following)
        if block[1] != "text"
    ]


def here(text):
    for name, stand_in in PUBLISHED.items():
        text = text.replace(name, stand_in)
    return text


def run(code, names):
    """What a block prints."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(here(code), "README", "exec"), names)
    return stream.getvalue()


@pytest.fixture(scope="module")
def glyphs():
    tiny_encoders.import_torchvision()
    whole = datasets.glyphs(split="held_out")
    return datasets.Glyphs(whole.pictures[:60], whole.names[:60], whole.code_points[:60])


@pytest.fixture
def place(glyphs, tmp_path, monkeypatch, glyphs_once):
    """A working folder with what the pages name: files, and a language model called gpt2."""
    encoder = encoders.load("glyphs")
    for name, rows in (
        ("image", encoder.encode(glyphs.pictures, modality="image")),
        ("text", encoder.encode(glyphs.names, modality="text")),
        ("audio", encoder.encode(glyphs.pictures[:30], modality="image")),
        ("prompts", encoder.encode(glyphs.names[:10], modality="text")),
    ):
        np.save(tmp_path / f"{name}.npy", rows)
    (tmp_path / "photos").mkdir()
    for i, picture in enumerate(glyphs.pictures):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{i:03}.png")
    for name in ("cat.jpg", "dog.jpg", "dog.png"):
        Image.fromarray(glyphs.pictures[0]).convert("RGB").save(tmp_path / name)
    (tmp_path / "captions.csv").write_text("caption\n" + "".join(f"{name}\n" for name in glyphs.names))
    (tmp_path / "captions.txt").write_text("".join(f"{name}\n" for name in glyphs.names))
    for part in tiny_lms.build("gpt2", glyphs.names):
        part.save_pretrained(tmp_path / "gpt2")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def names(place, glyphs):
    """The variables that the folders' pages take for granted."""
    image, text = np.load("image.npy"), np.load("text.npy")
    return {
        "image": image,
        "text": text,
        "old_image": image,
        "new_image": image,
        "img_emb": image,
        "text_emb": text,
        "aligner": C3Aligner().fit(text, image),
        "captions": glyphs.names,
        "pictures": glyphs.pictures,
        "photos": sorted((place / "photos").iterdir()),
        "pil_image": Image.fromarray(glyphs.pictures[0]),
        "array": np.repeat(glyphs.pictures[0][:, :, None], 3, axis=2),
    }


class TestTheReadme:
    def test_its_code_prints_what_it_shows(self, place):
        """In one session from the top, and without a warning about means."""
        shown, session, first = [], {}, None
        if (DATA / "clap-esc50").exists():  # the rows that its figures are of
            np.save("audio.npy", np.load(DATA / "clap-esc50" / "audio.npy"))
            np.save("prompts.npy", np.load(DATA / "clap-esc50" / "class_text.npy"))
        with warnings.catch_warnings():
            warnings.simplefilter("error", ModalityMeanWarning)
            for language, code, expected in blocks("README.md"):
                if language == "python":
                    printed = run(code, session)
                    assert printed == (expected or "")
                    shown.append(expected)
                    first = session["aligner"] if len(shown) == 1 else first
        assert len([text for text in shown if text]) >= 3
        assert len(session["captions"]) == 566
        assert set(map(type, session["captions"])) == {str}
        exact = np.mean([said == name for said, name in zip(session["captions"], session["glyphs"].names)])
        assert "# one in five exact" in (ROOT / "README.md").read_text()
        assert 1 / 6 < exact < 1 / 4
        np.testing.assert_array_equal(session["noisy"], first.corrupt(session["text"], seed=0)[32:64])
        if (DATA / "clap-esc50").exists():
            right = (session["classes"] == np.load(DATA / "clap-esc50" / "labels.npy")).mean()
            assert f"| {right:.3f} |" in (ROOT / "README.md").read_text()

    def test_it_is_short(self):
        text = (ROOT / "README.md").read_text()
        assert len(text.splitlines()) <= 150
        assert len(re.findall(r"!\[", text)) == 1
        assert all(len(code.split("\n\n", 1)[-1].splitlines()) <= 8 for _, code, _ in blocks("README.md"))


@pytest.mark.parametrize("page", [name for name in NAMES if name != "README.md"])
def test_code_of_the_folders(page, names):
    """Each block on its own."""
    for language, code, _ in blocks(page):
        if language == "python" and "DiffusersGenerator" not in code:
            run(code, dict(names))


def test_loops_of_ones_own(names):
    """Each row has noise of its own in each epoch; a saved aligner makes the same layer."""
    numbered, layered = [
        code for _, code, _ in blocks("c3align/decoders/README.md") if "corrupt(" in code or "as_mod" in code
    ]
    run(numbered, names)
    whole = names["aligner"].corrupt(names["text"], seed=1)
    np.testing.assert_array_equal(names["noisy"], whole[names["batch"]])
    run(layered, names)
    rows = names["torch"].from_numpy(names["image"])
    again = C3Aligner.from_pretrained("aligner").as_module().eval()(rows, modality="image")
    np.testing.assert_array_equal(names["layer"](rows, modality="image").numpy(), again.numpy())
    np.testing.assert_array_equal(again.numpy(), names["aligner"].transform(names["image"], modality="image"))
    assert not names["layer"].state_dict()


def test_names_of_the_decoders_page(place):
    """The first block needs nothing but files."""
    code = next(code for language, code, _ in blocks("c3align/decoders/README.md") if language == "python")
    found = {}
    run(code.partition("captioner =")[0], found)
    assert len(found["text_emb"]) == len(found["captions"]) == 60
    assert set(found["aligner"].statistics_) == {"text", "image"}


def test_the_first_example_of_search_needs_nothing_else(place):
    code = next(code for language, code, _ in blocks("c3align/search/README.md") if language == "python")
    assert run(code, {}).splitlines()


def test_diffusers(names, place):
    from tests import tiny_pipelines

    (code,) = [code for _, code, _ in blocks("c3align/decoders/README.md") if "DiffusersGenerator" in code]
    pipeline = tiny_pipelines.kandinsky(256)
    scale = np.float32(9)  # rows of unit norm are not what such a pipeline takes
    rows = {name: scale * names[name] for name in ("img_emb", "text_emb")}
    names |= {**rows, "aligner": C3Aligner().fit(rows["text_emb"], rows["img_emb"]), "pretrained": pipeline}
    names["text_emb"] = names["text_emb"][:2]
    run(code.replace("num_inference_steps=50", "num_inference_steps=2, height=64, width=64"), names)
    assert len(names["drawn"]) == 2


def commands(page):
    lines = [line for language, text, _ in blocks(page) if language == "sh" for line in text.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines]


@pytest.mark.parametrize("page", [name for name in NAMES if commands(name)])
def test_commands(page, place, capsys):
    """In their order, in one folder; a language model is trained for a step."""
    for command in commands(page):
        if not command.startswith(tuple(ELSEWHERE)):
            program, *arguments = shlex.split(here(command))
            assert program == "c3align"
            assert cli.run(arguments) == 0, (command, capsys.readouterr().err)


@pytest.mark.parametrize("page", [*NAMES, "CONTRIBUTING.md"])
def test_links(page):
    """Files and headings that are there."""
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("http"):
            path, _, heading = target.partition("#")
            found = (ROOT / page).parent / path if path else ROOT / page
            assert found.exists(), target
            assert not heading or heading in headings(found), target


def headings(page):
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_a_command_that_fails_is_found(place):
    assert cli.run(shlex.split("transform nothing.npy --aligner aligner -o aligned.npy")) != 0
