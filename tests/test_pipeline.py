"""The pipeline: one modality alone reaches the decoder's fit, items of any number stream, one folder holds it all."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from c3align import C3Aligner, Pipeline, encoders
from c3align.datasets import glyphs as data
from c3align.errors import C3AlignError, EncoderMismatchError
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

    def __init__(self):
        self.fits, self.calls = [], []

    def fit(self, embeddings, targets, *, aligner, modality, **options):
        self.fits.append((np.array(embeddings), targets, modality, options))
        self.memory, self.targets = aligner.transform(embeddings, modality=modality), targets
        return self

    def generate(self, embeddings, *, batch_size, **options):
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
        """`collect` gives a mean and nothing else: shuffled pictures, the same captions."""
        order = np.random.default_rng(0).permutation(N)
        found = []
        for pictures in (glyphs.pictures, glyphs.pictures[order]):
            pipeline = Pipeline("glyphs", decoder=Nearest()).fit_text(glyphs.names).collect(pictures)
            found.append((pipeline.caption(glyphs.pictures), raw(pipeline.aligner.statistics_["image"].mean)))
        assert found[0] == found[1]

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
        with pytest.raises(C3AlignError, match="pass a list of them"):
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
        with pytest.raises(C3AlignError, match="image 5 cannot be used: its embedding is not finite or zero"):
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
        with pytest.raises(C3AlignError, match="there is no image to learn the mean from"):
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
            translates_to = "image"

            def generate(self, embeddings, *, batch_size):
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


class TestBinding:
    def test_another_encoders_aligner(self, glyphs):
        aligner = C3Aligner().fit(np.eye(256)).bind_encoder("clip@1")
        with pytest.raises(EncoderMismatchError, match="clip@1 and not from c3align:glyphs"):
            Pipeline("glyphs", aligner, Nearest())

    def test_no_decoder(self):
        with pytest.raises(C3AlignError, match="needs a decoder"):
            Pipeline("glyphs")
