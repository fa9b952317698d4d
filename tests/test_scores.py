"""Scores of captions and pictures against figures worked by hand, published ones, and independent computations."""

from __future__ import annotations

import gzip
import json
import math
import shutil
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scores
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg
from scores import _captions, _words, caption_scores, picture_scores

from c3align import datasets as data
from c3align import encoders, geometry
from c3align.errors import C3AlignError, MissingExtraError
from tests import tiny_encoders
from tests.conftest import _load

if not (find_spec("torchmetrics") and find_spec("pycocoevalcap")):
    pytest.skip("the extra scores is not installed", allow_module_level=True)
needs_java = pytest.mark.skipif(not shutil.which("java"), reason="no java on the PATH")
LETTERS = st.lists(st.sampled_from("abcdef"), max_size=12)
WORDS = ["word_f1", "exact", "bigram_precision", "word_map"]


@pytest.fixture
def no_java(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture(scope="session")
def coco_captions():
    """500 items: a caption, and its references without it."""
    rows = json.loads(_load("coco-clip-vitb16/coco_captions_aligned.json").read_text())
    references = [[text for text in row["references"] if text != row["caption"]] for row in rows]
    return [row["caption"] for row in rows], references


class TestBleu:
    def test_the_published_example_of_clipping(self):
        """Papineni et al. (2002), example 2: modified unigram precision 2/7, and no bigram."""
        references = [["The cat is on the mat.", "There is a cat on the mat."]]
        found = caption_scores(["the the the the the the the."], references, ["bleu"])
        assert found["bleu_1"] == pytest.approx(2 / 7, abs=1e-6)
        assert found["bleu_2"] < 1e-6

    def test_by_hand(self):
        found = caption_scores(["one two three four"], [["one two three five six"]], ["bleu"], tokenizer="plain")
        brevity = math.exp(1 - 5 / 4)
        assert found["bleu_1"] == pytest.approx(3 / 4 * brevity, rel=1e-6)
        assert found["bleu_2"] == pytest.approx(math.sqrt(3 / 4 * 2 / 3) * brevity, rel=1e-6)
        assert found["bleu_3"] == pytest.approx((3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3) * brevity, rel=1e-6)

    def test_it_is_of_the_corpus(self):
        """Counts are summed over items before they are divided."""
        found = caption_scores(["a b", "c x y z"], [["a b"], ["c d e f"]], ["bleu"], tokenizer="plain")
        assert found["bleu_1"] == pytest.approx(3 / 6, rel=1e-6)


class TestRougeL:
    @pytest.mark.parametrize(
        ("candidate", "expected"), [("police kill the gunman", 3 / 4), ("the gunman kill police", 2 / 4)]
    )
    def test_the_published_example(self, candidate, expected):
        """Lin (2004), section 3.1: against "police killed the gunman"."""
        found = caption_scores([candidate], [["police killed the gunman"]], ["rouge_l"])
        assert found["rouge_l"] == pytest.approx(expected)

    def test_by_hand_with_unequal_lengths(self):
        """beta = 1.2; the best precision and the best recall, be they of different references."""
        found = caption_scores(["a b c"], [["a x b y c z", "a b"]], ["rouge_l"], tokenizer="plain")
        precision, recall = 3 / 3, 2 / 2
        assert found["rouge_l"] == pytest.approx(2.44 * precision * recall / (recall + 1.44 * precision))
        found = caption_scores(["a b c d"], [["a x b y z"]], ["rouge_l"], tokenizer="plain")
        precision, recall = 2 / 4, 2 / 5
        assert found["rouge_l"] == pytest.approx(2.44 * precision * recall / (recall + 1.44 * precision))


def cider_d(candidates, references):
    """CIDEr-D of tokens, after Vedantam et al. (2015), equations 1 to 5 and section 6, sigma 6, times 10."""

    def grams(words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    total = 0.0
    for n in (1, 2, 3, 4):
        holds = [{gram for words in refs for gram in grams(words, n)} for refs in references]
        frequency = Counter(gram for found in holds for gram in found)
        vocabulary = sorted({*frequency, *(gram for words in candidates for gram in grams(words, n))})
        place = {gram: i for i, gram in enumerate(vocabulary)}
        weight = np.array([math.log(len(candidates) / max(1, frequency[gram])) for gram in vocabulary])

        def vector(words, n=n, place=place, weight=weight):
            found = np.zeros(len(place))
            for gram, count in grams(words, n).items():
                found[place[gram]] = count
            return found * weight

        for words, refs in zip(candidates, references):
            own = vector(words)
            for ref in refs:
                other = vector(ref)
                norms = np.linalg.norm(own) * np.linalg.norm(other)
                cosine = np.minimum(own, other) @ other / norms if norms else 0.0
                total += cosine * math.exp(-((len(words) - len(ref)) ** 2) / 72) / len(refs)
    return 10 * total / 4 / len(candidates)


class TestCider:
    def test_the_formula_on_coco(self, coco_captions):
        candidates, references = (part[:120] for part in coco_captions)
        shifted = [candidates[i - i % 2] for i in range(120)]  # half of them are of another picture
        found = caption_scores(shifted, references, ["cider"], tokenizer="plain")
        tokens = [_words.plain_words(caption) for caption in shifted]
        refs = [[_words.plain_words(caption) for caption in captions] for captions in references]
        # the package measures lengths in bigrams: the same difference, but for captions of no word
        assert found["cider"] == pytest.approx(cider_d(tokens, refs), rel=1e-9)
        assert 0.3 < found["cider"] < caption_scores(candidates, references, ["cider"], tokenizer="plain")["cider"]

    def test_one_item_has_no_rare_words(self):
        with pytest.raises(C3AlignError, match="there is one; pass more items"):
            caption_scores(["a cat"], [["a cat"]], ["cider"])


@needs_java
class TestJava:
    def test_tokens_are_those_of_pycocoevalcap(self, coco_captions):
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        captions = [*coco_captions[0][:50], "A cat's hat, isn't it? (No!) -- \"yes\"; 3.5 o'clock...", ""]
        theirs = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(captions)})
        assert _captions._ptb(captions) == [theirs[i][0] for i in range(len(captions))]

    def test_no_caption_moves_into_another_ones_place(self):
        captions = ["one\u2028two\x0bthree\rfour\nfive", "", "caf\u00e9 ||| bar", " "]
        assert _captions._ptb(captions) == ["one two three four five", "", "caf\u00e9 bar", ""]

    def test_meteor_knows_stems_and_synonyms(self, monkeypatch, tmp_path):
        """Its jar beside a table without paraphrases, of which it reads sixty megabytes for ten seconds."""
        from pycocoevalcap.meteor import meteor

        shutil.copy(Path(meteor.__file__).with_name(meteor.METEOR_JAR), tmp_path)
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "paraphrase-en.gz").write_bytes(gzip.compress(b""))
        monkeypatch.setattr(meteor, "__file__", str(tmp_path / "meteor.py"))
        texts, others = ["the dogs running fast", "a big dog"], ["the dog runs fast", "a large dog"]
        found = caption_scores(texts, [[other] for other in others], ["meteor", "word_f1"])
        assert (found["n_items"], found["tokenizer"]) == (2, "ptb")
        assert found["word_f1"] < 0.6 < 0.7 < found["meteor"] < 1

    def test_a_broken_java_is_explained(self, monkeypatch, tmp_path):
        fake = tmp_path / "java"
        fake.write_text("#!/bin/sh\necho no memory >&2\nexit 3\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
        with pytest.raises(C3AlignError, match=r"ended with 3 and 0 of 2 captions \(no memory\); repair the Java"):
            caption_scores(["a"], [["a"]], ["bleu"])
        with pytest.raises(C3AlignError, match="METEOR's Java gave no score"):
            caption_scores(["a"], [["a"]], ["meteor"], tokenizer="plain")

    def test_spice_never_downloads(self, monkeypatch):
        from pycocoevalcap.spice import get_stanford_models, spice

        monkeypatch.setattr(get_stanford_models, "urlretrieve", None)
        monkeypatch.setattr(_captions, "_SPICE_FILES", ("absent.jar",))
        with pytest.raises(MissingExtraError, match=r"needs absent\.jar in .*get_stanford_models downloads them"):
            caption_scores(["a"], [["a"]], ["spice"])
        monkeypatch.setattr(_captions, "_SPICE_FILES", ())
        monkeypatch.setattr(spice, "get_stanford_models", lambda: None)
        monkeypatch.setattr(spice, "SPICE_JAR", "absent.jar")
        with pytest.raises(C3AlignError, match="SPICE's Java failed"):
            caption_scores(["a"], [["a"]], ["spice"])


class TestWithoutJava:
    def test_three_scores_remain_and_the_tokenizer_is_named(self, no_java):
        found = caption_scores(["A cat, sat.", "two dogs"], [["a cat sat"], ["two cats"]])
        assert found["tokenizer"] == "plain"
        assert set(found["absent"]) == {"meteor", "spice"}
        assert all("install a JRE" in reason for reason in found["absent"].values())
        assert found["bleu_1"] == pytest.approx(4 / 5, rel=1e-6)
        assert {"rouge_l", "cider"} <= set(found)

    @pytest.mark.parametrize(
        "asked", [{"metrics": ["meteor"]}, {"metrics": ["spice"]}, {"metrics": ["bleu"], "tokenizer": "ptb"}]
    )
    def test_what_needs_it_says_so(self, no_java, asked):
        with pytest.raises(MissingExtraError, match=r"no `java` is on the PATH; install a JRE .* tokenizer='plain'"):
            caption_scores(["a"], [["a"]], **asked)

    def test_bags_of_words_need_nothing(self, no_java):
        assert caption_scores(["A cat"], [["a cat!"]], WORDS) == {"n_items": 1, **dict.fromkeys(WORDS, 1.0)}


class TestWords:
    @pytest.mark.parametrize(
        ("candidate", "references", "f1", "same", "bigrams"),
        [
            ("greek small letter alpha", ["greek small letter beta"], 3 / 4, 0, 2 / 3),
            ("a a b", ["a b b"], 2 / 3, 0, 1 / 2),
            ("b a", ["a b"], 1, 0, 0),
            ("A b.", ["x", "a, B"], 1, 1, 1),
            ("a b c d", ["a b", "c d"], 2 * 2 / 6, 0, 2 / 3),
            ("a", ["a b"], 2 / 3, 0, 0),
            ("a b a b", ["a b", "a b"], 2 / 3, 0, 1 / 3),
            ("", ["a"], 0, 0, 0),
            ("...", [""], 1, 1, 0),
        ],
    )
    def test_by_hand(self, candidate, references, f1, same, bigrams):
        found = caption_scores([candidate], [references], WORDS)
        assert found["word_f1"] == pytest.approx(f1)
        assert found["exact"] == same
        assert found["bigram_precision"] == pytest.approx(bigrams)

    def test_bigram_precision_is_of_the_corpus(self):
        found = caption_scores(["a b c d e", "x y"], [["a b"], ["x y"]], ["bigram_precision"])
        assert found["bigram_precision"] == 2 / 5

    @pytest.mark.parametrize(
        ("samples", "references", "expected"),
        [
            (["a x b"], ["a b"], (1 / 1 + 2 / 3) / 2),
            (["a x b"], ["a b c d"], (1 / 1 + 2 / 3) / 4),
            (["x a", "y a", "z a b"], ["a b"], (1 / 1 + 2 / 5) / 2),  # ranked a x y z b
            (["x a", "a x", "a"], ["a"], 1.0),
            (["x"], ["a"], 0.0),
            ([""], ["a"], 0.0),
            (["a a a"], ["a", "b"], 1 / 2),
        ],
    )
    def test_word_map_by_hand(self, samples, references, expected):
        assert caption_scores([samples], [references], ["word_map"])["word_map"] == pytest.approx(expected)

    def test_samples_count_for_word_map_alone(self):
        found = caption_scores([["x", "a"]], [["a"]], WORDS)
        assert (found["word_f1"], found["word_map"]) == (0, 1 / 2)

    @given(
        st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12), st.lists(st.sampled_from("abcdef"), max_size=12)
    )
    def test_bounds_and_agreement(self, a, b):
        a, b = " ".join(a), " ".join(b)
        found = caption_scores([b], [[a]], WORDS)
        assert all(0 <= found[name] <= 1 for name in WORDS)
        assert found["word_f1"] == pytest.approx(caption_scores([a], [[b]], ["word_f1"])["word_f1"])
        assert caption_scores([a], [[b, a]], ["word_f1", "exact", "word_map"])["exact"] == 1
        assert caption_scores([a], [[a]], ["word_map"])["word_map"] == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((["a"], [["a"], ["b"]]), "1 candidates and references of 2 items"),
        (([], []), "0 candidates"),
        ((["a"], ["a"]), "a string stands where an item's references are"),
        ((["a"], [[]]), "the references of item 0 are []"),
        ((["a", None], [["a"], ["b"]]), "pass a string or more"),
        ((["a"], [["a"]], ["blue"]), "metric 'blue' is unknown; pass some of bleu, rouge_l"),
    ],
)
def test_refusals_of_captions(arguments, text):
    with pytest.raises((C3AlignError, TypeError)) as caught:
        caption_scores(*arguments)
    assert text in str(caught.value) or "NoneType" in str(caught.value)


def frechet(a, b):
    """Of two Gaussians, by the matrix square root."""
    root = linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)


def squared_mmd(a, b):
    """Unbiased, of the kernel (x.y / d + 1)^3 (Binkowski et al., 2018)."""

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    own = [(kernel(x, x).sum() - np.trace(kernel(x, x))) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return sum(own) - 2 * kernel(a, b).mean()


@pytest.fixture(scope="module")
def sets():
    """Two sets of pictures, and features of them: their pixels, mixed."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 255, (60, 4, 4), dtype=np.uint8), rng.integers(40, 200, (60, 4, 4), dtype=np.uint8)
    mix = rng.standard_normal((16, 6)) / 255

    def features(pictures):
        return np.stack([picture.ravel() @ mix for picture in pictures])

    return a, b, features


class TestPictures:
    @pytest.fixture(autouse=True)
    def _torchvision(self):
        tiny_encoders.import_torchvision()

    def test_fid_and_kid_are_those_of_the_papers(self, sets):
        a, b, features = sets
        found = picture_scores(a, b, features)
        assert found["fid"] == pytest.approx(frechet(features(a), features(b)), rel=1e-6)
        assert found["kid"] == pytest.approx(squared_mmd(features(a), features(b)), rel=1e-6)
        assert found["kid_std"] < 1e-9  # all subsets are the whole
        assert abs(picture_scores(a, a, features)["fid"]) < 1e-9

    def test_subsets_follow_from_the_seed(self, sets, monkeypatch):
        import torch
        from scores import _pictures

        monkeypatch.setattr(_pictures, "SUBSET_SIZE", 20)
        a, b, features = sets
        torch.manual_seed(1)
        before = torch.get_rng_state()
        found = [picture_scores(a, b, features, ["kid"], seed=seed) for seed in (0, 0, 1)]
        assert found[0] == found[1] != found[2]
        assert found[0]["kid_std"] > 0
        assert torch.equal(torch.get_rng_state(), before)

    def test_an_encoder_and_pairs(self):
        glyphs = data.glyphs(split="held_out").pictures[:80]
        encoder = encoders.load("glyphs")
        metrics = ["fid", "retrieval", "pixel_error"]
        same = picture_scores(glyphs, glyphs, encoder, metrics)
        assert (same["recall@1"], same["pixel_error"]) == (1.0, 0.0)
        assert abs(same["fid"]) < 1e-6
        other = picture_scores(glyphs[::-1], glyphs, encoder, metrics)
        assert other["recall@1"] == 0
        assert other["pixel_error"] == pytest.approx(((glyphs[::-1] / 255 - glyphs / 255) ** 2).mean())
        worn = picture_scores(glyphs // 4, glyphs, encoder, ["fid"])
        assert worn["fid"] > 0.05

        def unit_rows(pictures):
            return geometry.unit_rows(encoder.encode(pictures, modality="image"))

        assert worn["fid"] == pytest.approx(picture_scores(glyphs // 4, glyphs, unit_rows, ["fid"])["fid"], rel=1e-3)

    def test_files_arrays_and_images_are_alike(self, tmp_path):
        from PIL import Image

        glyphs = data.glyphs(split="held_out").pictures[:3]
        images = [Image.fromarray(picture) for picture in glyphs]
        for i, image in enumerate(images):
            image.save(tmp_path / f"{i}.png")
        paths = [tmp_path / f"{i}.png" for i in range(3)]
        for pictures in (images, paths, [np.stack([p] * 3, axis=-1) for p in glyphs], glyphs[..., None]):
            assert picture_scores(pictures, glyphs, None, ["pixel_error"]) == {"pixel_error": 0.0}

    def test_without_inception(self, sets):
        pytest.importorskip("torchmetrics")
        try:
            import torch_fidelity  # noqa: F401
        except ImportError:
            with pytest.raises(MissingExtraError, match="pip install torch-fidelity, or pass features=encoder"):
                picture_scores(*sets[:2])
        else:
            pytest.skip("torch-fidelity is installed")

    def test_inception_takes_pictures_of_any_size(self, sets, monkeypatch):
        """The network's place is taken by one that says what it was given."""
        import torch
        from scores import _pictures

        seen = []

        def network(picture):
            seen.append((tuple(picture.shape), picture.dtype))
            return picture.double().mean(dim=(2, 3))

        monkeypatch.setattr(_pictures, "_inception_network", lambda: network)
        colours = np.random.default_rng(0).integers(1, 255, (4, 3))
        real = [np.full((5 + i, 7, 3), colours[i], np.uint8) for i in range(4)]
        drawn = [np.full((6, 6), 20 * i + 1, np.uint8) for i in range(4)]
        found = picture_scores(drawn, real, metrics=["fid", "retrieval"])
        assert seen[0] == ((1, 3, 6, 6), torch.uint8)
        assert seen[-1] == ((1, 3, 8, 7), torch.uint8)
        grey, colours = np.repeat(20.0 * np.arange(4) + 1, 3).reshape(4, 3), colours.astype(float)
        distance = ((grey.mean(0) - colours.mean(0)) ** 2).sum()
        assert found["fid"] >= distance > 0
        recalls = geometry.recall_at_k(grey, colours, (1, 5))
        assert (found["recall@1"], found["recall@5"]) == (recalls[1], recalls[5])

    def test_a_network_of_features(self, sets):
        import torch

        class Means(torch.nn.Module):
            def forward(self, picture):
                return picture.double().mean(dim=3).flatten(1)

        a, b, _ = sets
        found = picture_scores(a, b, Means(), ["retrieval"])
        rows = [np.tile(pictures.mean(axis=2), 3) for pictures in (a, b)]
        assert found["recall@5"] == geometry.recall_at_k(*rows, ks=(5,))[5]

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"generated": np.zeros((1, 4, 4), np.uint8)}, "1 and 60 pictures; pass two or more"),
            ({"metrics": ["fib"]}, "metric 'fib' is unknown; pass some of fid, kid"),
            ({"generated": np.zeros((9, 4, 4), np.uint8), "metrics": ["retrieval"]}, "compare pairs"),
            ({"features": 3}, "features are a int; pass None, an encoder"),
            ({"features": lambda pictures: np.full((len(pictures), 3), np.nan)}, "not finite"),
            ({"generated": np.zeros((60, 5, 5), np.uint8), "metrics": ["pixel_error"]}, "pass pictures of one size"),
            (
                {"generated": np.full((60, 4, 4), 3.0), "metrics": ["pixel_error"]},
                "floats in [0, 1], got float64 from 3 to 3",
            ),
        ],
    )
    def test_refusals(self, sets, change, text):
        asked = {"generated": sets[0], "real": sets[1], "features": sets[2], "metrics": ["fid"], **change}
        with pytest.raises(C3AlignError) as caught:
            picture_scores(**asked)
        assert text in str(caught.value)


COCO = {"images": [{"id": 7}, {"id": 9}], "annotations": [
    {"id": 100, "image_id": 7, "caption": "a cat"},
    {"id": 101, "image_id": 9, "caption": "two dogs"},
    {"id": 102, "image_id": 7, "caption": "the cat"},
]}  # fmt: skip


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "content", "ids", "captions"),
        [
            ("a.txt", "a cat\n\ntwo dogs\r\n", None, [["a cat"], [""], ["two dogs"]]),
            ("a.json", json.dumps(COCO), ["7", "9"], [["a cat", "the cat"], ["two dogs"]]),
            ("a.json", json.dumps([{"image_id": 9, "caption": "x"}]), ["9"], [["x"]]),
            ("a.json", json.dumps(["a", ["b", "c"]]), None, [["a"], ["b", "c"]]),
            ("a.json", json.dumps({"7": ["a", "b"], "9": "c"}), ["7", "9"], [["a", "b"], ["c"]]),
            ("a.json", json.dumps({"7": [{"caption": "a"}]}), ["7"], [["a"]]),
            ("a.jsonl", '{"caption": "a"}\n{"captions": ["b", "c"]}\n', None, [["a"], ["b", "c"]]),
            ("a.jsonl", '"a"\n["b", "c"]\n', None, [["a"], ["b", "c"]]),
            (
                "a.csv",
                'file_name,caption\nx.wav,a\ny.wav,"b, c"\nx.wav,d\n',
                ["x.wav", "y.wav"],
                [["a", "d"], ["b, c"]],
            ),
            ("a.tsv", "text\na\n", None, [["a"]]),
            ("a.txt", "\ufeffa\n", None, [["a"]]),
        ],
    )
    def test_formats(self, tmp_path, name, content, ids, captions):
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
        found = scores.read_captions(tmp_path / name)
        assert (found.ids, found.captions) == (ids, captions)

    @pytest.mark.parametrize(
        ("name", "content", "text"),
        [
            ("a.doc", b"", "pass one that ends with .txt"),
            ("a.txt", b"", "holds no captions"),
            ("a.txt", b"\xff\xfe", "cannot be read"),
            ("a.json", b"{", "cannot be read"),
            ("a.json", b"3", "row 0 of"),
            ("a.jsonl", b'{"caption": "a"}\n{"text": 3}', "row 1 of"),
            ("a.jsonl", b'{"caption": "a", "id": 1}\n{"caption": "b"}', "row 1 of"),
            ("a.csv", b"size\n3\n", "row 0 of"),
        ],
    )
    def test_refusals(self, tmp_path, name, content, text):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(C3AlignError) as caught:
            scores.read_captions(tmp_path / name)
        assert text in str(caught.value)

    def test_ids_join_in_any_order(self):
        given = scores.Captions("c", [["x"], ["y"]], ["9", "7"])
        first = scores.Captions("r", [["a", "b"], ["c"], ["d"]], ["7", "8", "9"])
        assert scores.join(given, [first]) == ([["x"], ["y"]], [["d"], ["a", "b"]], 1)
        plain = scores.Captions("p", [["e"], ["f"]], None)
        assert scores.join(given, [first, plain])[1] == [["d", "e"], ["a", "b", "f"]]

    @pytest.mark.parametrize(
        ("ids", "captions", "text"),
        [(["7"], [["a"]], "1 of 2 items of c are not in r, first '9'"), (None, [["a"]], "c holds 2 items and r 1")],
    )
    def test_what_does_not_join(self, ids, captions, text):
        with pytest.raises(C3AlignError) as caught:
            scores.join(scores.Captions("c", [["x"], ["y"]], ["9", "7"]), [scores.Captions("r", captions, ids)])
        assert text in str(caught.value)
