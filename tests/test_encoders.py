"""Every backend on its library's real classes, tiny and random: one protocol, order, dtypes, norms, what is cut."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import types
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from c3align import C3Aligner, _imports, encoders
from c3align.encoders import base, fingerprints, imagebind
from c3align.encoders.transformers import unwrapped
from c3align.errors import C3AlignError, MissingExtraError, TruncationWarning
from tests import media, tiny_encoders

tiny_encoders.import_torchvision()
SENTENCES = ("sentence-transformers", "sentence-transformers of sounds")
KINDS = [*tiny_encoders.TRANSFORMERS, "open_clip", *SENTENCES]
TEXTS = ["a cat", "two small birds singing", "the dog on the red mat", "rain", "engine music", "blue rain", "a dog"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="session")
def loaded(folder):
    @functools.cache
    def load(kind):
        if kind == "open_clip":
            spec = tiny_encoders.write_open_clip(folder / kind)
        elif kind in SENTENCES:
            spec = tiny_encoders.write_sentence_transformers(folder / kind, of_sounds=kind == SENTENCES[1])
        else:
            spec = tiny_encoders.write_transformers(kind, folder / kind)
        return encoders.load(spec)

    return load


@pytest.fixture(params=KINDS)
def encoder(request, loaded):
    return loaded(request.param)


def items_of(modality, n=7):
    """Items that differ, of different sizes and lengths."""
    rng = np.random.default_rng(0)
    if modality == "text":
        return TEXTS[:n]
    if modality == "image":
        return [rng.integers(0, 256, (40 + 3 * i, 50, 3), dtype=np.uint8) for i in range(n)]
    if modality == "audio":  # some are longer than the two seconds that the towers take
        return [(0.3 * rng.standard_normal(12_000 + 9000 * i).astype("f4"), 16_000) for i in range(n)]
    return [rng.integers(0, 256, (3 + i, 40, 40, 3), dtype=np.uint8) for i in range(n)]


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_protocol(encoder):
    assert isinstance(encoder, encoders.Encoder)
    assert "text" in encoder.modalities
    for modality in encoder.modalities:
        found = encoder.encode(items_of(modality), modality=modality, batch_size=3)
        assert (found.shape, found.dtype) == ((7, encoder.n_dims), np.float32)
        assert np.isfinite(found).all()
        # random towers tell items apart, however little
        assert len({row.tobytes() for row in found}) == 7
        assert encoder.encode([], modality=modality).shape == (0, encoder.n_dims)


def test_one_equals_many_and_order_is_kept(encoder):
    for modality in encoder.modalities:
        items = items_of(modality)
        many = encoder.encode(items, modality=modality, batch_size=7)
        for batch_size in (1, 2):
            few = encoder.encode(items, modality=modality, batch_size=batch_size)
            assert np.abs(few - many).max() < 2e-5 * np.abs(many).max(), modality
        turned = encoder.encode(items[::-1], modality=modality, batch_size=3)
        assert np.abs(turned[::-1] - many).max() < 2e-5 * np.abs(many).max(), modality


def test_dtypes_and_devices(encoder):
    found = encoder.encode(TEXTS[:4], modality="text", dtype="float16", device="cpu")
    assert found.dtype == np.float16
    assert np.array_equal(found, encoder.encode(TEXTS[:4], modality="text").astype("f2"))
    assert str(encoder.device) == "cpu"
    with pytest.raises(C3AlignError, match="dtype must be one of 'float32', 'float16'"):
        encoder.encode(TEXTS, modality="text", dtype="int8")


def test_texts_too_long_are_cut_by_the_tokenizer_and_counted(encoder):
    limit = 77 if encoder.name.startswith("open_clip") else tiny_encoders.TEXT_LENGTH
    long = " ".join(["red"] * 3 * limit)
    with pytest.warns(TruncationWarning, match="2 of 5 texts are longer than .* and were cut"):
        found = encoder.encode(["a cat", long, "rain", long + " rain", "dog"], modality="text")
    assert cosine(found[1:2], found[3:4]) > 0.99999  # they differ behind the cut alone
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(["a cat", " ".join(["red"] * (limit - 2))], modality="text")


def test_refusals(encoder):
    with pytest.raises(C3AlignError, match="does not know modality 'smell'; pass one of"):
        encoder.encode(["a"], modality="smell")
    with pytest.raises(C3AlignError, match="items must be a list, got a single item"):
        encoder.encode("a cat", modality="text")
    with pytest.raises(C3AlignError, match="text 1 cannot be used: a text must be a string, got int"):
        encoder.encode(["a", 3], modality="text")
    with pytest.raises(C3AlignError, match="batch_size must be an integer of 1 or more, got 0"):
        encoder.encode(["a"], modality="text", batch_size=0)


def test_fingerprints_name_the_weights(loaded, folder):
    first = loaded("clip")
    again = encoders.load(f"transformers:{folder / 'clip'}")
    assert again.fingerprint == first.fingerprint
    assert f"/{first.n_dims}d/" in first.fingerprint
    with torch.no_grad():
        next(again._model.parameters()).add_(1e-3)
    assert fingerprints.weights_digest(again._model) != fingerprints.weights_digest(first._model)
    prints = [loaded(kind).fingerprint for kind in KINDS]
    assert len(set(prints)) == len(prints)


def test_no_unit_norm_is_assumed(loaded):
    """Towers that multiply their embeddings by 0.01 or 100 change nothing that an aligner makes of them."""
    encoder = loaded("clip")
    texts = TEXTS * 10
    plain = encoder.encode(texts, modality="text")
    aligned = C3Aligner(zero_rows="keep").fit(plain).transform(plain)
    weight = encoder._model.text_projection.weight
    for factor in (0.01, 100):
        with torch.no_grad():
            weight.mul_(factor)
        scaled = encoder.encode(texts, modality="text")
        with torch.no_grad():
            weight.div_(factor)
        assert np.allclose(np.linalg.norm(scaled, axis=1), factor * np.linalg.norm(plain, axis=1), rtol=1e-4)
        assert np.abs(C3Aligner(zero_rows="keep").fit(scaled).transform(scaled) - aligned).max() < 1e-3
    # and the mean of a video is that of unit embeddings: a frame cannot outweigh another
    frames = items_of("video", 1)[0]
    video = encoder.encode([frames], modality="video")[0]
    single = encoder.encode(list(frames), modality="image").astype("f8")
    expected = (single / np.linalg.norm(single, axis=1, keepdims=True)).mean(axis=0)
    assert np.abs(video - expected).max() < 1e-6


def test_real_media_through_the_whole_path(loaded, tmp_path):
    pictures = media.write_pictures(tmp_path)
    broken = pictures.pop("png broken")
    found = loaded("open_clip").encode(list(pictures.values()), modality="image")
    plain = dict(zip(pictures, found))
    for kind in ("jpeg cmyk", "jpeg rotated", "gif animated"):
        assert cosine(plain[kind][None], plain["png"][None]) > 0.99, kind
    assert cosine(plain["png 16"][None], plain["png grey"][None]) > 0.9999
    with pytest.raises(C3AlignError, match=r"image 1 \(.*png broken.png\) cannot be used: .*; remove or fix it"):
        loaded("open_clip").encode([pictures["png"], broken], modality="image")
    sounds = [media.write_sound(tmp_path / f"{rate}.wav", rate) for rate in (8000, 16000, 44100, 48000)]
    heard = loaded("clap").encode(sounds, modality="audio")
    assert cosine(heard[2:3], heard[3:4]) > 0.99
    video = media.write_video(tmp_path / "a.mp4")
    for kind in ("clip", "xclip"):
        assert loaded(kind).encode([video], modality="video").shape == (1, loaded(kind).n_dims)
    encoder = loaded("clip")
    eight, usual = encoder.encode([video], modality="video"), encoder.fingerprint
    encoder.frame_rate = 2  # of two seconds: frames 1, 4, 7, 10
    four = encoder.encode([video], modality="video")
    assert encoder.fingerprint == f"{usual}/2 frames a second"
    encoder.frame_rate, encoder.n_frames = None, 4
    assert np.array_equal(four, encoder.encode([video], modality="video"))
    assert encoder.fingerprint == f"{usual}/4 frames"
    encoder.n_frames = 0
    with pytest.raises(C3AlignError, match="n_frames must be an integer of 1 or more, got 0"):
        encoder.encode([video], modality="video")
    encoder.n_frames = 8
    assert encoder.fingerprint == usual
    assert not np.array_equal(four, eight)


@pytest.mark.parametrize("kind", ["clap", SENTENCES[1]])
def test_long_sounds_are_heard_whole_and_alike_every_time(loaded, kind):
    encoder = loaded(kind)
    rate, rng = 48_000, np.random.default_rng(1)
    first, second = 0.3 * rng.standard_normal((2, 2 * rate)).astype("f4")
    parts = encoder.encode([(first, rate), (second, rate)], modality="audio").astype("f8")
    whole = encoder.encode([(np.concatenate([first, second]), rate)], modality="audio")
    assert np.abs(whole[0] - (parts / np.linalg.norm(parts, axis=1, keepdims=True)).mean(axis=0)).max() < 1e-5
    state = np.random.get_state()[1].copy()  # noqa: NPY002  what the extractor itself would draw from
    assert np.array_equal(whole, encoder.encode([(np.concatenate([first, second]), rate)], modality="audio"))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_a_sound_that_fits_is_not_called_longer(loaded):
    """CLAP's extractor says so of one sound in every batch without a longer one, and the towers hear it otherwise."""
    encoder, rate = loaded("clap"), 48_000
    sound = 0.3 * np.random.default_rng(2).standard_normal(rate).astype("f4")
    inputs = encoder._processor.feature_extractor(sound, sampling_rate=rate, return_tensors="pt")
    heard = {}
    for longer in (False, True):
        inputs["is_longer"][:] = longer
        heard[longer] = unwrapped(encoder._model.get_audio_features(**inputs)).detach().numpy()[0]
    found = encoder.encode([(sound, rate)], modality="audio")[0]
    assert np.abs(found - heard[False]).max() < 1e-5 < 1e-3 < np.abs(found - heard[True]).max()


class TestLoading:
    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ("open_clip:ViT-B-32", "names no weights; write open_clip:ViT-B-32/TAG with one of: openai"),
            ("open_clip:ViT-B-32/none", "names no weights"),
            ("open_clip:ViT-Z/openai", "open_clip has no model 'ViT-Z'"),
            ("open_clip:local-dir:/nowhere", "cannot load 'local-dir:/nowhere'"),
            ("transformers:/nowhere/at/all", "cannot load '/nowhere/at/all'.*; check the name"),
            ("sentence-transformers:", "no model is named"),
            ("sentence-transformers:/nowhere/at/all", "cannot load '/nowhere/at/all'"),
            ("precomputed:/nowhere", "holds no embeddings"),
            ("imagebind:large", "pass 'imagebind' alone"),
        ],
    )
    def test_wrong_specs(self, spec, text, loaded, monkeypatch):
        loaded("clip")  # torchvision can be imported then
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(C3AlignError, match=text):
            encoders.load(spec)

    def test_a_model_of_another_kind(self, tmp_path, loaded):
        loaded("clip")
        import transformers

        transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1).save_pretrained(tmp_path)
        with pytest.raises(
            C3AlignError,
            match=r"is a model of type 'bert', and here are models of clip, siglip, .*; no encoder of c3align",
        ):
            encoders.load(f"transformers:{tmp_path}")

    def test_weights_that_could_run_code_are_not_read(self, tmp_path, loaded, folder):
        loaded("clip")
        for path in (folder / "clip").iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "model.safetensors").unlink()
        torch.save({}, tmp_path / "pytorch_model.bin")
        with pytest.raises(C3AlignError, match="safetensors"):
            encoders.load(f"transformers:{tmp_path}")

    @pytest.mark.parametrize(("module", "spec"), [("open_clip", "open_clip:a/b"), ("transformers", "transformers:a"),
                                                  ("sentence_transformers", "sentence-transformers:a")])  # fmt: skip
    def test_a_missing_package_is_named_with_its_mend(self, module, spec, monkeypatch):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[encoders\]'"):
            encoders.load(spec)

    def test_imagebind_is_asked_for_by_its_own_command(self):
        with pytest.raises(MissingExtraError, match="pip install git"):
            encoders.load("imagebind")

    def test_torch_and_torchvision_of_different_builds(self):
        inner = RuntimeError("operator torchvision::nms does not exist")
        outer = ModuleNotFoundError("Could not import module 'CLIPModel'")
        outer.__cause__ = inner
        assert _imports.is_torchvision_mismatch(outer)
        assert not _imports.is_torchvision_mismatch(ModuleNotFoundError("No module named 'torchvision'"))
        text = str(_imports.torchvision_mismatch(outer))
        assert "torch 2" in text
        assert "torchvision::nms" in text
        assert "pip install --force-reinstall torch torchvision --index-url" in text

    def test_the_mismatch_of_this_machine_is_explained(self):
        """In a fresh process, where nothing has mended torchvision."""
        code = (
            "from c3align import encoders\n"
            "try:\n    import torchvision\n    print('they fit')\n"
            "except Exception:\n    pass\n"
            "try:\n    encoders.load('open_clip:ViT-B-32/none')\nexcept ValueError as error:\n    print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
        assert "they fit" in done.stdout or "do not fit each other" in done.stdout
        assert "names no weights" in done.stdout or "--index-url" in done.stdout

    def test_importing_imports_none(self):
        code = "import sys, c3align.encoders as e; e.available(); print(*{'torch', 'open_clip'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == ""


class TestImageBind:
    """A stand-in module with ImageBind's interface and its scales: 20 for sound, 5, 10, 5, a learned one for text."""

    SCALES = {"text": 37.0, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}  # noqa: RUF012

    def test_it_gets_photographs_upright(self, tmp_path):
        """Its own reader ignores how a camera was held."""
        from PIL import Image

        from c3align.encoders import imagebind

        made = media.write_pictures(tmp_path)
        with imagebind.as_file(str(made["jpeg rotated"]), "image") as path, Image.open(path) as picture:
            assert picture.size == media.SIZE
            assert not picture.getexif()

    @pytest.fixture
    def stand_in(self, monkeypatch):
        class Scaling(torch.nn.Module):
            def __init__(self, scale):
                super().__init__()
                self.log_logit_scale = torch.nn.Parameter(torch.tensor(float(np.log(scale))))
                self.max_logit_scale = 100

        places = types.SimpleNamespace(
            VISION="vision", TEXT="text", AUDIO="audio", DEPTH="depth", THERMAL="thermal", IMU="imu"
        )
        scales = self.SCALES

        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)))
                steps = {name: torch.nn.Sequential(Scaling(scale)) for name, scale in scales.items()}
                self.modality_postprocessors = torch.nn.ModuleDict({**steps, "vision": torch.nn.Sequential()})

            def forward(self, inputs):
                ((place, values),) = inputs.items()
                flat = torch.nn.functional.interpolate(values.flatten(1)[:, None].float(), 64)[:, 0]
                unit = torch.nn.functional.normalize(flat @ self.weight, dim=-1)
                return {place: unit * scales.get(place, 1.0)}

        def by_size(paths, device):
            return torch.stack([torch.tensor([os.path.getsize(p) % 97 + 1.0, 3.0]) for p in paths]).to(device)

        data = types.ModuleType("imagebind.data")
        data.load_and_transform_text = lambda texts, device: torch.tensor([[len(t) + 1.0, 5.0] for t in texts])
        for name in ("vision", "audio", "video"):
            setattr(data, f"load_and_transform_{name}_data", by_size)
        model = types.ModuleType("imagebind.models.imagebind_model")
        model.imagebind_huge, model.ModalityType = lambda pretrained: Model(), places
        modules = {"imagebind": types.ModuleType("imagebind"), "imagebind.models": types.ModuleType("imagebind.models")}
        modules["imagebind"].data, modules["imagebind.models"].imagebind_model = data, model
        modules |= {"imagebind.data": data, "imagebind.models.imagebind_model": model}
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def test_scales_are_undone(self, stand_in, tmp_path):
        encoder = encoders.load("imagebind")
        video = media.write_video(tmp_path / "a.mp4")
        items = {
            "text": ["a", "bb"],
            "image": [media.colours(), media.colours()[:20]],
            "audio": [media.write_sound(tmp_path / "a.wav", 16000), (media.tone(8000), 8000)],
            "video": [video, video.read_bytes()],
            "depth": np.random.default_rng(0).random((2, 1, 224, 224)),
            "thermal": torch.rand(2, 1, 224, 224),
            "imu": np.random.default_rng(1).random((2, 6, 2000)),
        }
        assert set(items) == set(encoder.modalities)
        for modality, some in items.items():
            found = encoder.encode(some, modality=modality)
            assert found.shape == (2, 16)
            assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5, modality
        with pytest.raises(C3AlignError, match=r"imu 0 cannot be used: a imu item has shape \(3, 2\)"):
            encoder.encode([np.zeros((3, 2))], modality="imu")

    def test_a_scale_that_was_learned_is_clipped_as_there(self, stand_in):
        encoder = encoders.load("imagebind")
        with torch.no_grad():
            encoder._model.modality_postprocessors["text"][0].log_logit_scale.fill_(10.0)
        assert encoder._scale("text") == 100.0

    def test_no_path_needs_the_package_itself(self):
        assert not any(name.startswith("imagebind") for name in dir(imagebind) if not name.startswith("_"))


class TestPrecomputed:
    def test_rows_by_number(self, tmp_path):
        rows = np.random.default_rng(0).standard_normal((10, 6)).astype("f4")
        np.save(tmp_path / "rows.npy", rows)
        encoder = encoders.load(f"precomputed:{tmp_path / 'rows.npy'}")
        assert len(encoder) == 10
        assert np.array_equal(encoder.encode([7, 0, 7], modality="image"), rows[[7, 0, 7]])
        assert encoder.encode([1], modality="text", dtype="float16").dtype == np.float16
        with pytest.raises(C3AlignError, match="rows 0 to 9"):
            encoder.encode([10], modality="image")
        other = rows.copy()
        other[0] += 1
        np.save(tmp_path / "other.npy", other)
        assert encoders.load(f"precomputed:{tmp_path / 'other.npy'}").fingerprint != encoder.fingerprint

    @pytest.mark.parametrize(
        "items",
        [[True, False], np.array([True, False, True]), [1.7], ["a.png"], [[0], [1]], [[0], [1, 2]], [None]],
        ids=str,
    )
    def test_what_is_no_number_of_a_row(self, tmp_path, items):
        np.save(tmp_path / "rows.npy", np.eye(3, dtype=np.float32))
        encoder = encoders.load(f"precomputed:{tmp_path / 'rows.npy'}")
        with pytest.raises(C3AlignError, match=r"are row numbers, got .*; pass integers, such as np\.flatnonzero"):
            encoder.encode(items, modality="text")
        with pytest.raises(C3AlignError, match=r"items must be a list, got a generator; pass list\(items\)"):
            encoder.encode((i for i in range(2)), modality="text")
        assert encoder.encode([], modality="text").shape == (0, 3)
        assert encoder.encode(range(2), modality="text").shape == (2, 3)

    def test_every_row_counts(self, tmp_path):
        """Files without a fingerprint, of which one row differs."""
        rows = np.random.default_rng(0).standard_normal((500, 4)).astype(np.float32)
        found = set()
        for i in (None, 1, 250, 499):
            changed = rows.copy()
            if i is not None:
                changed[i, 2] += 1
            np.save(tmp_path / "rows.npy", changed)
            found.add(encoders.load(f"precomputed:{tmp_path / 'rows.npy'}").fingerprint)
        assert len(found) == 4

    def test_a_tree_of_shards(self, tmp_path):
        rows = np.random.default_rng(0).standard_normal((10, 6)).astype("f2")
        for name in ("img", "text"):
            (tmp_path / f"{name}_emb").mkdir()
            for k, part in enumerate(np.split(rows, [4, 9])):
                np.save(tmp_path / f"{name}_emb" / f"{name}_emb_{k:03d}.npy", part)
        encoder = encoders.load(f"precomputed:{tmp_path}")
        assert encoder.modalities == ("image", "text")
        assert np.array_equal(encoder.encode([9, 3, 4], modality="text"), rows[[9, 3, 4]].astype("f4"))
        np.save(tmp_path / "text_emb" / "text_emb_003.npy", np.zeros((2, 5)))
        with pytest.raises(C3AlignError, match="pass files of one encoder and dtype"):
            encoders.load(f"precomputed:{tmp_path}")


class TestStream:
    def test_broken_items_are_left_out_and_named(self, loaded, tmp_path):
        pictures = media.write_pictures(tmp_path)
        items = [pictures["png"], pictures["png broken"], tmp_path / "none.png", pictures["jpeg cmyk"]] * 3
        found = list(base.batches(loaded("open_clip"), items, modality="image", batch_size=5, on_error="skip"))
        assert [place for batch in found for place in batch.kept] == [0, 3, 4, 7, 8, 11]
        broken = [item for batch in found for item in batch.broken]
        assert [item.place for item in broken] == [1, 2, 5, 6, 9, 10]
        assert broken[1].name.endswith("none.png")
        assert "FileNotFoundError" in broken[1].reason
        rows = np.concatenate([batch.rows for batch in found])
        expected = loaded("open_clip").encode([items[i] for i in (0, 3)] * 3, modality="image")
        assert np.abs(rows - expected).max() < 1e-5
        with pytest.raises(C3AlignError, match=r"image 1 \(.*broken"):
            list(base.batches(loaded("open_clip"), items, modality="image"))
        with pytest.raises(C3AlignError, match="on_error must be one of 'raise', 'skip', got 'drop'"):
            next(base.batches(loaded("clip"), [], modality="image", on_error="drop"))

    def test_cut_texts_are_counted_over_all_batches(self, loaded):
        long = " ".join(["red"] * 40)
        with pytest.warns(TruncationWarning, match="3 of 9 texts") as caught:
            list(base.batches(loaded("clip"), ["a", long, "b"] * 3, modality="text", batch_size=2))
        assert len([w for w in caught if w.category is TruncationWarning]) == 1

    def test_items_are_decoded_ahead_and_no_further(self):
        taken = []

        def items():
            for i in range(1000):
                taken.append(i)
                yield str(i)

        prepared = base.prepared_batches(items(), lambda item: base.Prepared(item), 10, workers=2)
        assert [item.value for item in next(prepared)] == [str(i) for i in range(10)]
        assert len(taken) <= 10 * (base.BATCHES_AHEAD + 2)
        assert sum(len(batch) for batch in prepared) == 990

    def test_errors_of_the_machine_are_no_broken_items(self):
        def prepare(item):
            raise MissingExtraError("no Pillow; pip install pillow")

        with pytest.raises(MissingExtraError, match="pip install"):
            next(base.prepared_batches(["a"], prepare, 1))

    @pytest.mark.parametrize("kind", ["clip", "glyphs"])
    def test_fit_stream_has_the_bytes_of_a_second_pass(self, loaded, kind):
        encoder = encoders.load("glyphs") if kind == "glyphs" else loaded(kind)
        streamed = encoders.fit_stream(C3Aligner(), encoder, TEXTS, modality="text", batch_size=4)
        rows = np.concatenate([encoder.encode(TEXTS[i : i + 4], modality="text") for i in range(0, len(TEXTS), 4)])
        assert streamed.statistics_["text"] == C3Aligner().fit(rows).statistics_["text"]
        assert streamed.encoder_fingerprint_ == encoder.fingerprint

    @pytest.mark.parametrize("fault", ["another encoder", "a broken item"])
    def test_fit_stream_learns_none_of_another_or_half(self, fault):
        encoder = encoders.load("glyphs")
        bound = "clip@1" if fault == "another encoder" else encoder.fingerprint
        aligner = C3Aligner().fit(np.eye(256)).bind_encoder(bound)
        before = aligner.statistics_["text"]
        items = TEXTS if fault == "another encoder" else [*TEXTS, 3]
        text = "the encoder clip@1" if bound == "clip@1" else "text 7 cannot be used: .*; remove or fix it$"
        with pytest.raises(C3AlignError, match=text):
            encoders.fit_stream(aligner, encoder, items, modality="text", batch_size=2)
        assert aligner.statistics_["text"] == before

    def test_encoders_of_others_need_no_prepare(self):
        class Lengths:
            modalities, n_dims, fingerprint = ("text",), 2, "lengths"

            def encode(self, items, *, modality, batch_size, device=None, dtype="float32", progress=False):
                return np.array([[len(item), 1] for item in items], dtype)

        found = list(base.batches(Lengths(), ["a", "bb", "ccc"], modality="text", batch_size=2))
        assert np.concatenate([batch.rows for batch in found]).tolist() == [[1, 1], [2, 1], [3, 1]]


def test_the_encoder_of_another_package_in_the_contributors_guide(monkeypatch, tmp_path):
    guide = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()
    code = guide.split("```python\n")[1].split("```")[0]
    assert code.count("\n") <= 31
    (tmp_path / "colours.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    point = metadata.EntryPoint("colours", "colours:load", encoders.ENTRY_POINTS)
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [point])
    encoder = encoders.load("colours")
    assert isinstance(encoder, encoders.Encoder)
    pictures = media.write_pictures(tmp_path)
    items = [pictures["png"], pictures["jpeg rotated"]]
    (batch,) = base.batches(encoder, items, modality="image")
    assert np.abs(batch.rows[0] - batch.rows[1]).max() < 0.02
    assert encoder.encode(["red and blue"], modality="text")[0] == pytest.approx([1.001, 0.001, 1.001])


@pytest.mark.skipif(os.environ.get("C3ALIGN_ONLINE") != "1", reason="needs a model hub; set C3ALIGN_ONLINE=1")
class TestPublishedWeights:
    """Against figures that the models' own pages print."""

    def test_openai_clip(self):
        """The two cats of COCO 000000039769: 0.9949 and 0.0051 for a photo of a cat and of a dog."""
        url = "http://images.cocodataset.org/val2017/000000039769.jpg"
        texts = ["a photo of a cat", "a photo of a dog"]
        for spec in ("transformers:openai/clip-vit-base-patch32", "open_clip:ViT-B-32-quickgelu/openai"):
            encoder = encoders.load(spec)
            image = encoder.encode([url], modality="image")
            text = encoder.encode(texts, modality="text")
            unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text)]
            scores = np.exp(100 * unit[0] @ unit[1].T)[0]
            assert scores[0] / scores.sum() == pytest.approx(0.9949, abs=0.002)

    def test_siglip(self):
        """The same picture: 31.9 % that it is a photo of 2 cats (a sigmoid, with the model's own scale and bias)."""
        encoder = encoders.load("transformers:google/siglip-base-patch16-224")
        image = encoder.encode(["http://images.cocodataset.org/val2017/000000039769.jpg"], modality="image")
        text = encoder.encode(["a photo of 2 cats", "a photo of 2 dogs"], modality="text")
        model = encoder._model
        logits = float(model.logit_scale.exp()) * cosine(image, text[:1])[0] + float(model.logit_bias)
        assert 1 / (1 + np.exp(-logits)) == pytest.approx(0.319, abs=0.01)
