"""What all decoders share: one protocol, and rows that are not what they take are refused where they are given."""

from __future__ import annotations

import numpy as np
import pytest

from c3align import C3Aligner
from c3align._typing import Decoder
from c3align.decoders import DiffusersGenerator, EmbeddingGenerator, MemoryCaptioner, PrefixCaptioner
from c3align.decoders.place import Place
from c3align.errors import C3AlignError
from c3align.ops.arrays import as_rows
from c3align.training.rows import TrainingRows
from tests import tiny_encoders, tiny_lms

NOT_ALIGNED = r"must be aligned rows, and these are raw or .* pass aligner\.transform\(rows, modality=\.\.\.\)"
STEPS = {"num_inference_steps": 1, "height": 16, "width": 16}
SETS = ["coco", "coco_random", "convirt", "convirt_random", "clap", "glyphs"]


def place_of(rows, modality, known=None):
    """The place of a decoder that learned from a modality, by an aligner that knows it and perhaps more."""
    aligner = C3Aligner()
    for name in known or rows:
        aligner.partial_fit(rows[name], modality=name)
    return Place.of(TrainingRows(as_rows(rows[modality]), aligner, modality, 0))


def aligned_rows(rows):
    return {name: np.asarray(C3Aligner().fit(X).transform(X, modality="text")) for name, X in rows.items()}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("knows", ["both", "its own"])
def test_no_aligned_row_is_refused(real_rows, name, first, knows):
    """Of six encoders, trained and not: alone, in small batches, of one direction, and repeated."""
    rows = real_rows[name]
    learned = list(rows)[first]
    place = place_of(rows, learned, None if knows == "both" else [learned])
    if place is None:
        assert name in ("coco_random", "convirt")  # too wide to tell
        return
    rng = np.random.default_rng(0)
    for aligned in aligned_rows(rows).values():
        for row in aligned:
            place.check(row[None], learned)
        for size in (2, 5, 8, 9, 30, len(aligned)):
            place.check(aligned[rng.permutation(len(aligned))[:size]], learned)
        for seed in aligned[::50]:  # a topic: a row and those nearest to it
            place.check(aligned[np.argsort(-(aligned @ seed))[:20]], learned)
        place.check(np.repeat(aligned[:1], 64, axis=0), learned)


@pytest.mark.parametrize("name", ["coco", "clap", "glyphs", "convirt_random"])
def test_rows_that_are_not_aligned_are_refused(real_rows, name):
    """Those of the modality that was learned, and those of another one."""
    rows = real_rows[name]
    for learned in rows:
        place = place_of(rows, learned)
        with pytest.raises(C3AlignError, match=NOT_ALIGNED):
            place.check(rows[learned], learned)
        other = next(X for other, X in rows.items() if other != learned)
        if name in ("coco", "glyphs"):  # elsewhere they may lie near neither mean nor gap
            with pytest.raises(C3AlignError, match=NOT_ALIGNED):
                place.check(other, learned)


@pytest.mark.parametrize("name", ["coco", "clap", "glyphs", "convirt", "convirt_random", "coco_random"])
def test_rows_centered_by_another_mean_are_refused(real_rows, name):
    rows = real_rows[name]
    for learned in rows:
        other = next(X for other, X in rows.items() if other != learned)
        aligner = C3Aligner().fit(rows[learned], modality=learned)
        with pytest.warns():
            wrong = aligner.transform(other, modality=learned)
        with pytest.raises(C3AlignError, match=NOT_ALIGNED):
            place_of(rows, learned).check(wrong, learned)


@pytest.mark.parametrize("name", ["coco", "glyphs"])
@pytest.mark.parametrize("kind", ["image", "text"])
def test_eight_raw_rows_are_nearly_always_refused(real_rows, name, kind):
    """As the page says."""
    place, rng, caught = place_of(real_rows[name], "text"), np.random.default_rng(0), 0
    for _ in range(100):
        try:
            place.check(rng.permutation(real_rows[name][kind])[:8], "text")
        except C3AlignError:
            caught += 1
    assert caught > 95


def test_few_raw_rows_of_clip_are_refused_too(coco):
    place = place_of({"image": coco[0], "text": coco[1]}, "text")
    caught = 0
    for row in coco[1]:
        try:
            place.check(row[None], "text")
        except C3AlignError:
            caught += 1
    assert caught > 0.8 * len(coco[1])


def test_without_collapse_all_rows_pass(coco):
    """C1 and C2_2: raw rows are what is learned from and run on."""
    image, text = coco
    source = TrainingRows(as_rows(text), None, "text", 0)
    assert Place.of(source) is None
    both = C3Aligner().fit(np.concatenate([text, -text])).partial_fit(np.concatenate([image, -image]), modality="image")
    place = Place.of(TrainingRows(as_rows(text), both, "text", 0))
    assert not len(place.directions)
    place.check(both.transform(image, modality="image"), "text")


def test_rows_aligned_before_are_no_training_rows(glyph_rows):
    image, text = glyph_rows
    aligner = C3Aligner().fit(text, image)
    with pytest.raises(C3AlignError, match="around zero, as rows do that were aligned before; pass raw rows"):
        MemoryCaptioner().fit(aligner.transform(text, modality="text"), ["a"] * len(text), aligner=aligner)


def test_half_of_a_character_is_no_caption(coco):
    with pytest.raises(C3AlignError, match="caption 1 holds half of a character"):
        MemoryCaptioner().fit(coco[1][:3], ["a", "b\ud800", "ä"])


def test_norms_are_those_of_training(coco, made, tmp_path):
    """Scaled rows gave other captions and pictures without a word; nearest texts do not depend on norms."""
    image, text = coco
    aligner, (prefix, memory, generator) = made
    aligned = aligner.transform(image[:20], modality="image")
    prefix.save_pretrained(tmp_path / "prefix")
    for decoder in (prefix, PrefixCaptioner.from_pretrained(tmp_path / "prefix"), generator):
        for scale in (0.1, 0.7, 1.4, 50):
            with pytest.raises(C3AlignError, match=r"norms around .*, and the decoder learned from rows of norm 1;"):
                decoder.generate(scale * aligned)
    assert memory.generate(7 * aligned) == memory.generate(aligned)
    free = C3Aligner(renormalize=False).fit(text, image)
    place = Place.of(TrainingRows(as_rows(text), free, "text", 0))
    for rows, name in ((text, "text"), (image, "image")):
        for scale in (0.1, 1, 2):  # rows of other modalities may well be longer or shorter
            place.check(scale * free.transform(rows, modality=name), "text")


@pytest.fixture(scope="module")
def made(coco):
    """Each decoder of aligned rows, fitted on texts."""
    tiny_encoders.import_torchvision()
    image, text = coco
    aligner, texts = C3Aligner().fit(text, image), [f"text {i % 9}" for i in range(500)]
    options = {"aligner": aligner, "modality": "text"}
    quick = {"epochs": 1, "batch_size": 100, "progress": False}
    lm, words = tiny_lms.build("gpt2", texts)
    prefix = PrefixCaptioner(lm, words, n_dims=512, prefix_length=2).fit(text, texts, **options, **quick)
    pictures = np.zeros((500, 8, 8), np.uint8)
    generator = EmbeddingGenerator(width=8).fit(text, pictures, **options, **quick)
    return aligner, [prefix, MemoryCaptioner().fit(text, texts, **options), generator]


def test_generate_refuses_what_fit_refuses(coco, made, tmp_path):
    """Before and after saving; what a decoder learned from is in the message."""
    image, text = coco
    aligner, decoders = made
    for decoder in decoders:
        decoder.save_pretrained(tmp_path / type(decoder).__name__)
        for one in (decoder, type(decoder).from_pretrained(tmp_path / type(decoder).__name__)):
            assert isinstance(one, Decoder)
            assert (one.takes, one.modality_, one.n_dims) == ("aligned", "text", 512)
            assert len(one.generate(aligner.transform(image[:20], modality="image"), seed=1, row_offset=3)) == 20
            for rows in (text[:20], image[:20]):
                with pytest.raises(C3AlignError, match=NOT_ALIGNED.replace(" .* ", r" .*learned from 'text'\); ")):
                    one.generate(rows)


class TestRaw:
    @pytest.fixture
    def pipeline(self):
        tiny_encoders.import_torchvision()
        from tests import tiny_pipelines

        return tiny_pipelines.kandinsky(512)

    def test_aligned_rows_of_norm_one_are_refused(self, pipeline, coco):
        """Where the aligner saw unit rows, and the norm tells nothing."""
        image, text = coco
        aligner = C3Aligner().fit(text, image)
        generator = DiffusersGenerator(pipeline, aligner=aligner, norm=1)
        for rows, modality in ((text[:2], "text"), (image[:9], "image")):
            with pytest.raises(C3AlignError, match=r"raw rows in the place of 'image'.*pass aligner\.translate"):
                generator.generate(aligner.transform(rows, modality=modality), **STEPS)
        assert generator.generate(image[:1], **STEPS)

    def test_fit_remembers_what_raw_rows_are(self, pipeline, coco):
        generator = DiffusersGenerator(pipeline)
        assert isinstance(generator, Decoder)
        assert (generator.takes, generator.modality_, generator.expected_norm) == ("raw", "image", None)
        assert generator.fit(9 * coco[0]).expected_norm == pytest.approx(9, rel=1e-3)
        aligner = C3Aligner().fit(7 * coco[1], 5 * coco[0])
        assert generator.fit(coco[0], aligner=aligner).expected_norm == pytest.approx(5, rel=0.01)
