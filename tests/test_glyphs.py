"""The embedded encoder: its pictures and names, its figures, and that nobody trains on what is held out."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import safetensors
from PIL import Image

from c3align import C3Aligner, encoders, geometry
from c3align import datasets as data
from c3align.encoders import glyphs as module
from c3align.errors import C3AlignError, MissingExtraError


@pytest.fixture(scope="module")
def encoder():
    return encoders.load("glyphs")


@pytest.fixture(scope="module")
def held_out():
    return data.glyphs(split="held_out")


class TestPictures:
    def test_splits(self):
        whole, train, held = (data.glyphs(split=split) for split in ("all", "train", "held_out"))
        assert len(whole) == len(train) + len(held) == 5573
        assert not set(train.code_points) & set(held.code_points)
        assert 0.08 < len(held) / len(whole) < 0.12
        bold = data.glyphs("DejaVuSans-Bold", "train")
        assert not set(bold.code_points) & set(held.code_points)

    @pytest.mark.parametrize("split", ["all", "train"])
    def test_nobody_can_change_them_for_others(self, split):
        found, names = data.glyphs(split=split), [*data.glyphs(split=split).names]
        found.names.reverse()
        assert data.glyphs(split=split).names == names
        for values in (found.pictures, found.code_points):
            with pytest.raises(ValueError, match="read-only"):
                values[0] = 0

    def test_a_known_character(self):
        found = data.glyphs()
        i = int(np.flatnonzero(found.code_points == ord("-"))[0])
        assert found.names[i] == "hyphen minus"
        rows, columns = np.nonzero(found.pictures[i] > 128)
        assert rows.max() - rows.min() < 3 < columns.max() - columns.min() < 12
        assert abs(rows.mean() - 15.5) < 4  # the box reaches down to the baseline
        assert abs(columns.mean() - 15.5) < 2

    def test_all_have_ink_and_names(self):
        for font in data.FONTS:
            found = data.glyphs(font)
            assert found.pictures.dtype == np.uint8
            assert found.pictures.shape == (len(found), 32, 32)
            assert found.pictures.any(axis=(1, 2)).all()
            assert all(name == name.lower() != "" and "-" not in name for name in found.names)
            assert (np.diff(found.code_points) > 0).all()

    def test_the_split_is_for_good(self):
        assert [chr(point) for point in range(33, 127) if data.is_held_out(point)] == ["%", "'", "h", "o"]

    def test_another_font_file_or_unicode_is_said(self, monkeypatch):
        data._render.cache_clear()
        with monkeypatch.context() as patch:
            patch.setitem(data.FONTS, "DejaVuSans", "0" * 12)
            patch.setattr(data, "UNICODE_DIGEST", "0" * 12)
            with pytest.warns(UserWarning, match="measured with") as caught:
                data.glyphs()
        texts = " ".join(str(warning.message) for warning in caught)
        assert "3fdf69cabf06, not 000000000000" in texts
        assert "Unicode" in texts
        data._render.cache_clear()

    def test_refusals(self, monkeypatch):
        with pytest.raises(C3AlignError, match="font must be one of 'DejaVuSans'"):
            data.glyphs("Arial")
        with pytest.raises(C3AlignError, match="split must be one of 'train', 'held_out', 'all'"):
            data.glyphs(split="test")
        data._render.cache_clear()
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[plots\]'"):
            data.glyphs()


class TestEncoder:
    def test_figures(self, encoder, held_out):
        """The promised figures, measured again on the shipped weights, and equal to those in their metadata."""
        image = encoder.encode(held_out.pictures, modality="image")
        text = encoder.encode(held_out.names, modality="text")
        assert len(held_out) >= 563
        each = np.arange(len(held_out))  # letters of two scripts that look alike are two
        there, back = (geometry.recall_at_k(*rows, groups=each) for rows in ((image, text), (text, image)))
        gap = np.linalg.norm(geometry.gap_vector(image, text))
        assert there[1] >= 0.60
        assert gap >= 0.40
        assert gap == pytest.approx(encoder.figures["gap_norm"], abs=1e-3)
        assert list(there.values()) == pytest.approx(encoder.figures["recall_image_to_text"], abs=0.004)
        assert list(back.values()) == pytest.approx(encoder.figures["recall_text_to_image"], abs=0.004)

    def test_the_aligner_closes_its_gap(self, encoder, held_out, glyphs_once):
        train = data.glyphs(split="train")
        text, image = (
            encoder.encode(items, modality=modality)
            for items, modality in ((train.names, "text"), (train.pictures, "image"))
        )
        aligner = C3Aligner().fit(text, image).bind_encoder(encoder.fingerprint)
        aligned = [
            aligner.transform(encoder.encode(items, modality=modality), modality=modality)
            for items, modality in ((held_out.pictures, "image"), (held_out.names, "text"))
        ]
        assert np.linalg.norm(geometry.gap_vector(*aligned)) < 0.15

    def test_protocol(self, encoder):
        assert isinstance(encoder, encoders.Encoder)
        assert (encoder.modalities, encoder.n_dims) == (("image", "text"), 256)
        assert encoder.fingerprint.startswith("c3align:glyphs/")
        assert encoders.available()[0] == "glyphs"

    def test_batches_and_order(self, encoder, held_out):
        for items, modality in ((held_out.pictures[:40], "image"), (held_out.names[:40], "text")):
            whole = encoder.encode(items, modality=modality)
            assert whole.dtype == np.float32
            assert whole.shape == (40, 256)
            alone = np.concatenate([encoder.encode(items[i : i + 1], modality=modality) for i in range(40)])
            assert np.abs(whole - alone).max() < 1e-4
            backwards = encoder.encode(items[::-1], modality=modality, batch_size=7)
            assert np.abs(backwards[::-1] - whole).max() < 1e-4
            assert np.abs(np.linalg.norm(whole, axis=1) - 1).min() > 1e-3  # raw norms

    def test_kinds_of_pictures(self, encoder, held_out):
        expected = encoder.encode(held_out.pictures[:3], modality="image")
        images = [Image.fromarray(picture) for picture in held_out.pictures[:3]]
        with pytest.raises(C3AlignError, match="black on white; pass ink white on black"):
            encoder.encode([*images, Image.fromarray(255 - held_out.pictures[0])], modality="image")
        assert np.abs(encoder.encode(images, modality="image") - expected).max() < 1e-5

    def test_arrays_black_on_white_warn(self, encoder, held_out, recwarn):
        """They are taken as they are, for an array says nothing of its paper; but none of the data set is bright."""
        module._warn_of_paper(data.glyphs().pictures)  # all, without embedding them
        encoder.encode(held_out.pictures[:3], modality="image")
        assert not recwarn
        with pytest.warns(UserWarning, match="2 pictures of .* mostly bright, .* pass 255 - pictures"):
            encoder.encode([*held_out.pictures[:3], *(255 - held_out.pictures[:2])], modality="image")

    def test_names_never_seen(self, encoder):
        found = encoder.encode(["zzz qqq", "", "a " * 40], modality="text")
        assert np.isfinite(found).all()

    def test_nothing_is_something_too(self, encoder):
        assert encoder.encode([], modality="text").shape == (0, 256)

    @pytest.mark.parametrize(
        ("items", "modality", "text"),
        [
            (["a"], "audio", "pass one of 'image', 'text'"),
            ("a", "text", "items must be a list"),
            ([3], "text", "text 0 cannot be used: a text must be a string, got int"),
            (np.zeros((2, 28, 28), np.uint8), "image", "image 0 cannot be used: the picture has 28 x 28 pixels"),
            (np.full((2, 32, 32), 7.0), "image", "float64"),
        ],
    )
    def test_refusals(self, encoder, items, modality, text):
        with pytest.raises(C3AlignError, match=text):
            encoder.encode(items, modality=modality)

    def test_unknown_encoders(self):
        with pytest.raises(C3AlignError, match="encoder 'glyfs' is unknown; pass one of glyphs"):
            encoders.load("glyfs")
        with pytest.raises(C3AlignError, match="pass 'glyphs' alone"):
            encoders.load("glyphs:large")

    def test_without_torch(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[encoders\]'"):
            encoders.load("glyphs")

    def test_third_parties(self, monkeypatch):
        from importlib import metadata

        point = metadata.EntryPoint("mine", "tests.test_glyphs:make_mine", encoders.ENTRY_POINTS)
        monkeypatch.setattr(metadata, "entry_points", lambda **_: [point])
        assert encoders.load("mine:big") == "mine big"
        assert {"glyphs", "mine", "open_clip", "transformers"} <= set(encoders.available())


def make_mine(rest):
    return f"mine {rest}"


def test_weights_travel_with_their_origin():
    assert module.WEIGHTS.stat().st_size < 5_000_000
    with safetensors.safe_open(str(module.WEIGHTS), "np") as file:
        metadata = file.metadata()
    assert json.loads(metadata["fonts"]) == data.FONTS
    assert json.loads(metadata["unicode_digest"]) == data.UNICODE_DIGEST
    assert json.loads(metadata["temperature"]) == 0.01
    assert json.loads(metadata["figures"])["gap_norm"] >= 0.4
