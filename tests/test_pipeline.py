"""The pipeline: one modality alone reaches the decoder's fit, items of any number stream, one folder holds it all."""

from __future__ import annotations

import json
import os
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from c3align import C3Aligner, Pipeline, encoders
from c3align import datasets as data
from c3align.decoders import DiffusersGenerator, EmbeddingGenerator, MemoryCaptioner, PrefixCaptioner, small_lm
from c3align.errors import C3AlignError, EncoderMismatchError, FormatError
from tests import tiny_encoders
from tests.children import Child
from tests.signing import sign_pipeline
from tests.test_ops import raw

N = 300


@pytest.fixture(scope="module")
def glyphs():
    train = data.glyphs(split="train")
    return data.Glyphs(train.pictures[:N], train.names[:N], train.code_points[:N])


@pytest.fixture(scope="module")
def unseen():
    return data.glyphs(split="held_out")


class Spy:
    """The glyphs encoder, which notes what it was asked for."""

    def __init__(self):
        self._own = encoders.load("glyphs")
        self.modalities, self.n_dims, self.fingerprint = self._own.modalities, 256, self._own.fingerprint
        self.name, self.asked = "spy", []

    def encode(self, items, *, modality, **options):
        self.asked.append((modality, len(items)))
        return self._own.encode(items, modality=modality, **options)


class Nearest:
    """A decoder that keeps what it was shown, and answers with the target of the nearest row."""

    takes, modality_, n_dims = "aligned", "text", None

    def __init__(self):
        self.fits, self.calls = [], []

    def fit(self, embeddings, targets, *, aligner, modality, **options):
        self.fits.append((np.array(embeddings), targets, modality, options))
        self.memory, self.targets = aligner.transform(embeddings, modality=modality), targets
        return self

    def generate(self, embeddings, *, seed=0, row_offset=0, batch_size=64, **options):
        self.calls.append((len(embeddings), options))
        return [self.targets[i] for i in (np.asarray(embeddings) @ self.memory.T).argmax(axis=1)]


class TestOneModalityAlone:
    def test_no_picture_reaches_the_captioners_fit(self, glyphs):
        spy, decoder = Spy(), Nearest()
        pipeline = Pipeline(spy, decoder=decoder).fit_text(glyphs.names, epochs=3)
        assert spy.asked == [("text", N)]
        ((rows, targets, modality, options),) = decoder.fits
        assert raw(rows) == raw(encoders.load("glyphs").encode(glyphs.names, modality="text"))
        assert (targets, modality, options) == (glyphs.names, "text", {"epochs": 3})
        assert list(pipeline.aligner.statistics_) == ["text"]
        assert not pipeline.aligner.pairs_

    def test_no_text_reaches_the_generators_fit(self, glyphs):
        spy, decoder = Spy(), Nearest()
        pipeline = Pipeline(spy, decoder=decoder).fit_images(glyphs.pictures)
        assert spy.asked == [("image", N)]
        ((rows, targets, modality, _),) = decoder.fits
        assert raw(rows) == raw(encoders.load("glyphs").encode(glyphs.pictures, modality="image"))
        assert targets is glyphs.pictures
        assert modality == "image"
        assert list(pipeline.aligner.statistics_) == ["image"]

    def test_pictures_of_another_order_do_not_change_what_was_learned(self, glyphs):
        """`collect` gives a mean and nothing else: shuffled pictures, the same captions but for rounding.

        Some processors round a picture's row by its place in the batch.
        """
        order = np.random.default_rng(0).permutation(N)
        found = []
        for pictures in (glyphs.pictures, glyphs.pictures[order]):
            pipeline = Pipeline("glyphs", decoder=Nearest()).fit_text(glyphs.names).collect(pictures)
            found.append((pipeline.caption(glyphs.pictures), pipeline.aligner.statistics_["image"].mean))
        assert np.abs(found[0][1] - found[1][1]).max() < 1e-7
        assert np.mean([a == b for a, b in zip(found[0][0], found[1][0])]) > 0.99

    def test_a_mean_that_is_known_stays(self, glyphs):
        aligner = C3Aligner().fit(encoders.load("glyphs").encode(glyphs.names[:50], modality="text"))
        before = aligner.statistics_["text"]
        pipeline = Pipeline("glyphs", aligner, Nearest()).fit_text(glyphs.names)
        assert pipeline.aligner is aligner
        assert aligner.statistics_["text"] == before
        assert aligner.encoder_fingerprint_ == pipeline.encoder.fingerprint

    def test_a_failed_fit_leaves_the_aligner_as_it_was(self, glyphs):
        class Broken(Nearest):
            def fit(self, *arguments, **options):
                raise RuntimeError("out of memory")

        pipeline = Pipeline("glyphs", decoder=Broken())
        with pytest.raises(RuntimeError, match="out of memory"):
            pipeline.fit_text(glyphs.names)
        assert not hasattr(pipeline.aligner, "statistics_")

    def test_c3_names_pictures_it_never_saw_a_name_of(self, glyphs):
        """Names alone were learned, and pictures find theirs; without their mean they would not."""
        pipeline = Pipeline("glyphs", decoder=Nearest()).fit_text(glyphs.names).collect(glyphs.pictures)
        found = pipeline.caption(glyphs.pictures)
        assert np.mean([a == b for a, b in zip(found, glyphs.names)]) > 0.9


@pytest.fixture(scope="module")
def pipeline(glyphs):
    return Pipeline("glyphs", decoder=Nearest()).fit_text(glyphs.names).collect(glyphs.pictures)


class TestCaption:
    def test_batches_leave_no_trace(self, pipeline, unseen):
        """Beyond rounding of the encoder: no near tie among these."""
        one, many = (pipeline.caption(unseen.pictures[:40], batch_size=size) for size in (1, 64))
        assert one == many
        assert len(one) == 40

    def test_options_go_to_the_decoder(self, pipeline, unseen):
        pipeline.caption(unseen.pictures[:3], num_beams=4)
        assert pipeline.decoder.calls[-1] == (3, {"num_beams": 4})

    def test_unknown_mean(self, glyphs, unseen):
        pipeline = Pipeline("glyphs", decoder=Nearest()).fit_text(glyphs.names)
        with pytest.raises(C3AlignError, match=r"call collect\(items, modality='image'\)"):
            pipeline.caption(unseen.pictures)
        with pytest.raises(C3AlignError, match="items must be a list"):
            pipeline.caption("a.png")

    def test_broken_items(self, pipeline, unseen, tmp_path):
        (tmp_path / "broken.png").write_bytes(b"no picture")
        items = [unseen.pictures[0], str(tmp_path / "broken.png"), unseen.pictures[1], unseen.pictures[2][:8]]
        with pytest.raises(C3AlignError, match=r"image 1 \(.*broken.png\) cannot be used"):
            pipeline.caption(items)
        with pytest.warns(UserWarning, match=r"2 of the image items .* first number 1 \(.*broken.png"):
            found = pipeline.caption(items, on_error="skip", batch_size=2)
        assert found[1] is found[3] is None
        assert [found[0], found[2]] == pipeline.caption(unseen.pictures[:2])

    @pytest.mark.parametrize("fault", [np.nan, np.inf, 0.0])
    def test_bad_embeddings(self, glyphs, unseen, fault):
        """An encoder that fails on one item says so by its number; the rest is unharmed."""

        class Faulty(Spy):
            def encode(self, items, *, modality, **options):
                rows = super().encode(items, modality=modality, **options)
                rows[[np.array_equal(getattr(item, "value", item), unseen.pictures[5]) for item in items]] = fault
                return rows

        pipeline = Pipeline(Faulty(), decoder=Nearest()).fit_text(glyphs.names).collect(glyphs.pictures)
        with pytest.raises(C3AlignError, match="image 5 cannot be used: its embedding is zero or not finite"):
            pipeline.caption(unseen.pictures[:20], batch_size=4)
        with pytest.warns(UserWarning, match="1 of the image items .* first number 5"):
            found = pipeline.caption(unseen.pictures[:20], batch_size=4, on_error="skip")
        good = Pipeline("glyphs", pipeline.aligner, pipeline.decoder).caption(unseen.pictures[:20], batch_size=4)
        assert found == [None if i == 5 else caption for i, caption in enumerate(good)]

    def test_collect_skips_what_is_broken(self, glyphs, tmp_path):
        (tmp_path / "broken.png").write_bytes(b"no picture")
        items = [*glyphs.pictures[:20], str(tmp_path / "broken.png")]
        pipeline = Pipeline("glyphs", decoder=Nearest()).fit_text(glyphs.names)
        with pytest.raises(C3AlignError, match="image 20"):
            pipeline.collect(items)
        assert list(pipeline.aligner.statistics_) == ["text"]
        with pytest.warns(UserWarning, match="1 of the image items"):
            pipeline.collect(items, on_error="skip")
        assert pipeline.aligner.statistics_["image"].n_rows == 20
        with pytest.raises(C3AlignError, match="no image items to learn the mean from"):
            Pipeline("glyphs", decoder=Nearest()).collect([])

    def test_ten_thousand_items_stream_in_bounded_memory(self, pipeline, unseen):
        def endless():
            for i in range(10_000):
                yield unseen.pictures[i % 7]

        places, tops = [], []
        tracemalloc.start()
        for result in pipeline.stream(endless(), modality="image", batch_size=256):
            places.append(result.place)
            if result.place in (1500, 9999):
                tops.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert places == list(range(10_000))
        assert tops[1] < 1.2 * tops[0] + 1e6  # all rows and pictures at once would be 20 MB


class TestDraw:
    def test_pictures_from_texts(self, glyphs):
        pipeline = (
            Pipeline("glyphs", decoder=Nearest()).fit_images(glyphs.pictures).collect(glyphs.names, modality="text")
        )
        found = pipeline.draw(glyphs.names[:50])
        assert np.mean([np.array_equal(a, b) for a, b in zip(found, glyphs.pictures)]) > 0.9

    def test_a_decoder_of_raw_embeddings_gets_them(self, glyphs):
        """Such as a diffusion prior's: in the pictures' place, of their norm."""

        class Raw(Nearest):
            takes, modality_ = "raw", "image"

            def generate(self, embeddings, *, seed=0, row_offset=0, batch_size=64):
                self.rows = embeddings
                return list(embeddings)

        encoder = encoders.load("glyphs")
        text, image = (encoder.encode(x, modality=m) for x, m in ((glyphs.names, "text"), (glyphs.pictures, "image")))
        aligner = C3Aligner().fit(text).partial_fit(image, modality="image")
        decoder = Raw()
        Pipeline(encoder, aligner, decoder).draw(glyphs.names, batch_size=N)
        assert raw(decoder.rows) == raw(aligner.translate(text, source="text", target="image"))
        assert np.linalg.norm(decoder.rows, axis=1).mean() == pytest.approx(
            np.linalg.norm(image, axis=1).mean(), rel=0.01
        )

    def test_a_pipeline_of_diffusers(self, glyphs, tmp_path):
        """The real class with random weights: translated texts reach it, in any batch the same."""
        tiny_encoders.import_torchvision()
        from tests import tiny_pipelines

        encoder = encoders.load("glyphs")
        rows = [encoder.encode(x, modality=m) for x, m in ((glyphs.names, "text"), (glyphs.pictures, "image"))]
        aligner = C3Aligner().fit(rows[0]).partial_fit(rows[1], modality="image")
        decoder = DiffusersGenerator(tiny_pipelines.kandinsky(256), aligner=aligner)
        options = {"num_inference_steps": 1, "height": 32, "width": 32, "seed": 5}
        pipeline = Pipeline("glyphs", aligner, decoder)
        drawn = pipeline.draw(glyphs.names[:3], batch_size=2, **options)
        translated = aligner.translate(rows[0][:3], source="text", target="image")
        expected = decoder.generate(translated, **options)
        for found, wanted in zip(drawn, expected):
            assert np.abs(np.asarray(found, int) - np.asarray(wanted, int)).max() <= 1
        with pytest.raises(C3AlignError, match="a DiffusersGenerator cannot be saved with a pipeline"):
            pipeline.save_pretrained(tmp_path / "p")


class TestBinding:
    def test_another_encoders_aligner(self, glyphs):
        aligner = C3Aligner().fit(np.eye(256)).bind_encoder("clip@1")
        with pytest.raises(EncoderMismatchError, match="clip@1 and not from c3align:glyphs"):
            Pipeline("glyphs", aligner, Nearest())

    @pytest.mark.parametrize("kind", ["memory", "generator"])
    def test_another_encoders_decoder(self, glyphs, kind):
        """The aligner of this encoder does not make it one of this encoder."""
        other = C3Aligner().fit(np.random.default_rng(0).standard_normal((20, 256)), modality="text")
        other = other.partial_fit(-np.eye(256)[:20], modality="image").bind_encoder("clip@1")
        rows = np.random.default_rng(1).standard_normal((20, 256))
        if kind == "memory":
            decoder = MemoryCaptioner().fit(rows, glyphs.names[:20], aligner=other)
        else:
            options = {"aligner": other, "epochs": 1, "progress": False, "modality": "text"}
            decoder = EmbeddingGenerator(width=8).fit(rows, glyphs.pictures[:20], **options)
        with pytest.raises(EncoderMismatchError, match="decoder comes from the encoder clip@1 and not from c3align"):
            Pipeline("glyphs", C3Aligner(), decoder)

    def test_another_encoders_decoder_by_its_width(self):
        decoder = MemoryCaptioner().fit(np.eye(3), ["a", "b", "c"])
        with pytest.raises(EncoderMismatchError, match=r"takes rows of 3 dimensions and c3align:glyphs.* makes 256"):
            Pipeline("glyphs", decoder=decoder)

    def test_parts_in_each_others_places(self, tmp_path):
        with pytest.raises(C3AlignError, match="aligner must be a C3Aligner, got MemoryCaptioner; pass it as decoder="):
            Pipeline("glyphs", MemoryCaptioner())
        with pytest.raises(C3AlignError, match=r"got PosixPath; load one by C3Aligner\.from_pretrained\(folder\)"):
            Pipeline("glyphs", tmp_path, MemoryCaptioner())
        with pytest.raises(C3AlignError, match=r"encoder must be a spec, .* got object; pass one such as 'glyphs'"):
            Pipeline(object(), decoder=MemoryCaptioner())

    def test_a_raw_decoder_stays_where_it_is(self, glyphs):
        """It draws rows of pictures; texts that it were fitted on would not become such."""
        decoder = Nearest()
        decoder.takes, decoder.modality_ = "raw", "image"
        with pytest.raises(C3AlignError, match="in the place of 'image' and cannot learn from 'text'; call collect"):
            Pipeline("glyphs", decoder=decoder).fit_text(glyphs.names)
        assert not decoder.fits
        Pipeline("glyphs", decoder=decoder).fit_images(glyphs.pictures)

    def test_a_generator_of_pictures(self, glyphs):
        pipeline = Pipeline("glyphs", decoder=Nearest()).fit_images(picture for picture in glyphs.pictures[:5])
        assert pipeline.aligner.statistics_["image"].n_rows == 5

    @pytest.mark.parametrize("size", [0, -1, 1.5, True])
    def test_batches_of_no_items(self, pipeline, glyphs, size):
        with pytest.raises(C3AlignError, match="batch_size must be an integer of 1 or more"):
            pipeline.caption(glyphs.pictures[:3], batch_size=size)

    def test_what_a_decoder_does_not_make(self, glyphs):
        pipeline = Pipeline("glyphs", decoder=MemoryCaptioner()).fit_text(glyphs.names)
        with pytest.raises(C3AlignError, match=r"MemoryCaptioner, makes no pictures; call caption\(items\)"):
            pipeline.draw(glyphs.names[:3])
        drawer = Pipeline("glyphs", decoder=Nearest()).fit_images(glyphs.pictures)
        with pytest.raises(C3AlignError, match=r"Nearest, makes no captions; call draw\(texts\)"):
            drawer.caption(glyphs.pictures[:3])

    def test_no_decoder(self):
        for decoder in (None, object()):
            with pytest.raises(C3AlignError, match=r"decoder must have takes.* got (NoneType|object); pass one such"):
                Pipeline("glyphs", decoder=decoder)


@pytest.fixture(scope="module")
def saved(glyphs, tmp_path_factory):
    """Pipelines of each decoder of the package, trained a little, and the folders they were saved in."""
    tiny_encoders.import_torchvision()
    lm, tokenizer = small_lm(glyphs.names, width=32, n_layers=1, n_heads=2)
    prefix = PrefixCaptioner(lm, tokenizer, n_dims=256, prefix_length=2)
    made = {
        "prefix": Pipeline("glyphs", decoder=prefix).fit_text(glyphs.names, epochs=1, progress=False),
        "memory": Pipeline("glyphs", decoder=MemoryCaptioner()).fit_text(glyphs.names),
        "generator": Pipeline("glyphs", decoder=EmbeddingGenerator(width=8)),
    }
    made["generator"].fit_images(glyphs.pictures, epochs=1, progress=False).collect(glyphs.names, modality="text")
    folder = tmp_path_factory.mktemp("pipelines")
    for name, pipeline in made.items():
        if name != "generator":
            pipeline.collect(glyphs.pictures)
        pipeline.save_pretrained(folder / name)
    return made, folder


LOAD = """
import json, sys
from tests.tiny_encoders import import_torchvision
import_torchvision()
from c3align import Pipeline
from c3align.datasets import glyphs
pipeline = Pipeline.from_pretrained(sys.argv[1])
print(json.dumps(pipeline.caption(glyphs(split="held_out").pictures[:20])))
"""


class TestFolder:
    def test_it_does_the_same_after_saving(self, saved, unseen, glyphs):
        made, folder = saved
        for name in ("prefix", "memory"):
            loaded = Pipeline.from_pretrained(folder / name)
            assert loaded.caption(unseen.pictures[:20]) == made[name].caption(unseen.pictures[:20])
            assert type(loaded.decoder) is type(made[name].decoder)
        drawn = Pipeline.from_pretrained(folder / "generator").draw(unseen.names[:5])
        assert raw(np.stack(drawn)) == raw(np.stack(made["generator"].draw(unseen.names[:5])))

    def test_on_another_machine(self, saved, unseen, tmp_path):
        """The folder moved, another process: nothing of where it was made is needed."""
        made, folder = saved
        shutil.copytree(folder / "prefix", tmp_path / "moved")
        told, errors = Child(LOAD, tmp_path / "moved").communicate()
        assert told, errors
        assert json.loads(told) == made["prefix"].caption(unseen.pictures[:20])
        text = "".join(path.read_text("utf-8", "ignore") for path in (tmp_path / "moved").rglob("*") if path.is_file())
        assert str(folder) not in text

    def test_nothing_in_it_is_a_pickle(self, saved):
        _, folder = saved
        suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert suffixes <= {".json", ".safetensors", ".npy", ".jsonl"}
        for path in folder.rglob("*.npy"):
            np.load(path, allow_pickle=False)

    def test_another_encoder_is_refused(self, saved):
        _, folder = saved
        other = Spy()
        other.fingerprint = "clip@2"
        with pytest.raises(EncoderMismatchError, match=r"the encoder c3align:glyphs.* and not from clip@2"):
            Pipeline.from_pretrained(folder / "memory", encoder=other)

    def test_an_encoder_given_as_an_object_must_be_given_again(self, glyphs, unseen, tmp_path):
        pipeline = Pipeline(encoders.load("glyphs"), decoder=MemoryCaptioner()).fit_text(glyphs.names)
        pipeline.collect(glyphs.pictures).save_pretrained(tmp_path / "p")
        with pytest.raises(C3AlignError, match="pass encoder=, the one with the fingerprint c3align:glyphs"):
            Pipeline.from_pretrained(tmp_path / "p")
        loaded = Pipeline.from_pretrained(tmp_path / "p", encoder="glyphs")
        assert loaded.caption(unseen.pictures[:5]) == pipeline.caption(unseen.pictures[:5])

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda c: "{", "not JSON"),
            (lambda c: "[" * 100_000, "not JSON"),
            (lambda c: "[]", "format is not c3align.Pipeline"),
            (lambda c: {**c, "format": "x"}, "format is not c3align.Pipeline"),
            (lambda c: {**c, "format_version": 3}, "reads up to 2; install the c3align that wrote it"),
            (lambda c: {**c, "decoder": "subprocess.Popen"}, "decoder 'subprocess.Popen' are unknown"),
            (lambda c: {**c, "decoder": "Training"}, "decoder 'Training' are unknown"),
            (lambda c: {**c, "decoder": []}, "unknown"),
            (lambda c: {**c, "more": 1}, "its keys"),
            (lambda c: {**c, "encoder": "glyphs"}, "its encoder is not described"),
            (lambda c: {**c, "encoder": {"spec": 1, "fingerprint": "x"}}, "not described by texts"),
            (lambda c: " " * (1 << 21), "larger than"),
            (lambda c: {**c, "written_by": "me"}, "the digest is that of other content"),
            (lambda c: json.dumps(c, indent=2), "the digest is that of other content"),
            (lambda c: {**c, "format_version": 1}, "its keys"),
        ],
    )
    def test_damage_is_named(self, saved, tmp_path, change, text):
        _, folder = saved
        shutil.copytree(folder / "memory", tmp_path / "p")
        path = tmp_path / "p" / "pipeline.json"
        found = change(json.loads(path.read_text()))
        path.write_text(found if isinstance(found, str) else json.dumps(found))
        with pytest.raises(FormatError, match=re.escape(text)):
            Pipeline.from_pretrained(tmp_path / "p")

    def test_fingerprints_must_agree(self, saved, tmp_path):
        """The aligner of another pipeline put into this one."""
        _, folder = saved
        shutil.copytree(folder / "memory", tmp_path / "p")
        C3Aligner().fit(np.eye(256)).bind_encoder("clip@1").save_pretrained(tmp_path / "p" / "aligner")
        with pytest.raises(FormatError, match="the digests are those of another aligner or decoder"):
            Pipeline.from_pretrained(tmp_path / "p")
        sign_pipeline(tmp_path / "p")
        with pytest.raises(EncoderMismatchError, match="clip@1"):
            Pipeline.from_pretrained(tmp_path / "p")

    def test_absent(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
            Pipeline.from_pretrained(tmp_path / "nowhere")
        with pytest.raises(FormatError, match=r"no pipeline \(no pipeline.json in it\)"):
            Pipeline.from_pretrained(tmp_path)

    def test_what_cannot_be_saved(self, glyphs, tmp_path):
        with pytest.raises(C3AlignError, match="has learned nothing yet"):
            Pipeline("glyphs", decoder=MemoryCaptioner()).save_pretrained(tmp_path / "p")
        with pytest.raises(C3AlignError, match="a Nearest cannot be saved"):
            Pipeline("glyphs", decoder=Nearest()).fit_text(glyphs.names).save_pretrained(tmp_path / "p")
        pipeline = Pipeline("glyphs", decoder=MemoryCaptioner()).fit_text(glyphs.names)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("x")
        with pytest.raises(C3AlignError, match="exists and is not a saved pipeline alone; choose another folder"):
            pipeline.save_pretrained(tmp_path / "mine")
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]

    def test_a_crash_leaves_the_old_or_the_new(self, saved, glyphs, unseen, tmp_path, monkeypatch):
        made, folder = saved
        target = tmp_path / "p"
        shutil.copytree(folder / "memory", target)
        before = made["memory"].caption(unseen.pictures[:9])
        new = Pipeline("glyphs", decoder=MemoryCaptioner()).fit_text(glyphs.names[:40]).collect(glyphs.pictures)
        after = new.caption(unseen.pictures[:9])
        assert before != after

        def crash(*arguments):
            raise OSError("disk full")

        for place in ("C3Aligner.save_pretrained", "decoders.MemoryCaptioner.save_pretrained", "os.rename"):
            with monkeypatch.context() as patch:
                patch.setattr(f"c3align._pipeline_files.{place}", crash)
                with pytest.raises(OSError, match="disk full"):
                    new.save_pretrained(target)
            assert Pipeline.from_pretrained(target).caption(unseen.pictures[:9]) == before
            assert [path.name for path in tmp_path.iterdir()] == ["p"]
        rename, asked = os.rename, []

        def crash_into_place(source, goal):
            asked.append(Path(source).name)
            if Path(goal) == target and "before" not in asked[-1]:
                raise OSError("disk full")
            rename(source, goal)

        with monkeypatch.context() as patch:
            patch.setattr("c3align.io.atomic.os.rename", crash_into_place)
            with pytest.raises(OSError, match="disk full"):
                new.save_pretrained(target)
        assert asked[-1] == ".p.c3align-before"  # back again
        assert [path.name for path in tmp_path.iterdir()] == ["p"]
        assert Pipeline.from_pretrained(target).caption(unseen.pictures[:9]) == before
        new.save_pretrained(target)
        assert Pipeline.from_pretrained(target).caption(unseen.pictures[:9]) == after
        assert [path.name for path in tmp_path.iterdir()] == ["p"]

    def test_a_kill_between_the_renames(self, saved, unseen, tmp_path):
        made, folder = saved
        shutil.copytree(folder / "memory", tmp_path / ".p.c3align-before")
        found = Pipeline.from_pretrained(tmp_path / "p").caption(unseen.pictures[:9])
        assert found == made["memory"].caption(unseen.pictures[:9])

    def test_sampled_captions_do_not_depend_on_the_batch(self, saved, unseen):
        """What is drawn is a function of the row's number, which the pipeline hands on."""
        made, _ = saved
        options = {"do_sample": True, "temperature": 2.0, "seed": 3}
        found = [made["prefix"].caption(unseen.pictures[:20], batch_size=size, **options) for size in (1, 64)]
        assert found[0] == found[1]
        assert found[0] != made["prefix"].caption(unseen.pictures[:20], **{**options, "seed": 4})


def test_one_item_is_no_list(glyphs, tmp_path):
    """The letters of a name would be taken for items."""
    pipeline = Pipeline("glyphs", decoder=Nearest())
    for call in (pipeline.fit_text, pipeline.fit_images):
        with pytest.raises(C3AlignError, match="items must be a list, got a single item; pass"):
            call("a cat")
    pipeline.fit_text(glyphs.names)
    for one in ("pics/", tmp_path, b"pics", 3):
        for call in (pipeline.collect, pipeline.caption, lambda items: pipeline.stream(items, modality="text")):
            with pytest.raises(C3AlignError, match="items must be a list, got a single item; pass"):
                call(one)
