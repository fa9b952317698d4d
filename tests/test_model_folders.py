"""Honest folders of other libraries, in the forms that people have them, are loaded; versions with holes are not."""

from __future__ import annotations

import json
import shutil
from importlib import metadata

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from c3align import _imports, encoders
from c3align.cli import doctor
from c3align.decoders.prefix.language_models import load_lm
from c3align.errors import C3AlignError, EncoderMismatchError, MissingExtraError
from c3align.io import model_configs, model_folders
from tests import tiny_encoders, tiny_lms
from tests.attacks.encoders import changed

TEXTS = ["a cat", "two small birds"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "model"
    tiny_encoders.write_transformers("clip", folder)
    return folder


@pytest.fixture
def own(clip, tmp_path):
    return shutil.copytree(clip, tmp_path / "model")


@pytest.fixture
def gpt2(tmp_path):
    lm, words = tiny_lms.build("gpt2", TEXTS)
    for part in (lm, words):
        part.save_pretrained(tmp_path / "lm")
    return tmp_path / "lm"


def rows(folder):
    return encoders.load(f"transformers:{folder}").encode(TEXTS, modality="text")


class TestFormsOfFolders:
    def test_the_cache_of_the_hub_links_to_files_beside_it(self, clip, tmp_path):
        cache, commit = tmp_path / "models--a--b", "0123456789abcdef0123456789abcdef01234567"
        snapshot = cache / "snapshots" / commit
        snapshot.mkdir(parents=True)
        shutil.copytree(clip, cache / "blobs")
        for path in (cache / "blobs").iterdir():
            (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
        found = encoders.load(f"transformers:{snapshot}")
        assert np.array_equal(found.encode(TEXTS, modality="text"), rows(clip))
        assert found.fingerprint.startswith("transformers:local/")

    def test_in_several_files(self, own, clip):
        tensors = load_file(own / "model.safetensors")
        names, weight_map = sorted(tensors), {}
        for number, part in enumerate((names[::2], names[1::2]), 1):
            file = f"model-0000{number}-of-00002.safetensors"
            save_file({name: tensors[name] for name in part}, own / file, {"format": "pt"})
            weight_map |= dict.fromkeys(part, file)
        (own / "model.safetensors").unlink()
        (own / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        assert np.array_equal(rows(own), rows(clip))

    def test_as_older_releases_wrote_them(self, own, clip):
        """Names of other machines, a preprocessor of its own file, a pickle beside the safetensors, code unnamed."""
        prepared = json.loads((own / "processor_config.json").read_text())["image_processor"]
        (own / "processor_config.json").unlink()
        del prepared["image_processor_type"]
        prepared |= {"feature_extractor_type": "CLIPFeatureExtractor", "size": 32, "crop_size": 32}
        (own / "preprocessor_config.json").write_text(json.dumps(prepared))
        stale = {"special_tokens_map_file": "./special_tokens_map.json", "tokenizer_file": "/nowhere/tokenizer.json"}
        changed(own / "tokenizer_config.json", name_or_path="openai/clip", model_max_length=10**30, **stale)
        (own / "pytorch_model.bin").write_bytes(b"")
        (own / "handler.py").write_text("raise SystemExit")
        weights = load_file(own / "model.safetensors")
        weights["text_model.embeddings.position_ids"] = torch.arange(16)[None]  # no longer a weight
        save_file(weights, own / "model.safetensors", {"format": "pt"})
        changed(own / "config.json", torch_dtype="float32", transformers_version="4.20.0", _name_or_path="a/b")
        assert np.array_equal(rows(own), rows(clip))

    def test_in_half_precision(self, own, clip):
        weights = load_file(own / "model.safetensors")
        save_file({name: value.half() for name, value in weights.items()}, own / "model.safetensors", {"format": "pt"})
        assert np.abs(rows(own) - rows(clip)).max() < 1e-2

    def test_a_language_model_without_its_prefix_and_with_masks(self, gpt2):
        """As the first GPT-2 of the Hub: names of the inner model, and its masks among the weights."""
        lm = load_lm(gpt2)[0]
        weights = load_file(gpt2 / "model.safetensors")
        older = {name.removeprefix("transformer."): value for name, value in weights.items()}
        older["h.0.attn.bias"] = torch.ones(1, 1, 128, 128)
        save_file(older, gpt2 / "model.safetensors", {"format": "pt"})
        again = load_lm(gpt2)[0]
        assert all(torch.equal(a, b) for a, b in zip(lm.parameters(), again.parameters()))

    @pytest.mark.parametrize("kind", tiny_lms.KINDS)
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_language_models(self, kind, dtype, tmp_path):
        lm, words = tiny_lms.build(kind, TEXTS)
        for part in (lm.to(getattr(torch, dtype)), words):
            part.save_pretrained(tmp_path / "lm")
        assert all(torch.equal(a, b) for a, b in zip(lm.parameters(), load_lm(tmp_path / "lm", "auto")[0].parameters()))

    def test_published_configurations(self, tmp_path):
        """Numbers and names that real ones hold."""
        for name, found in {
            "config.json": {"block_ff_dim": 12_288, "max_position_embeddings": 10_485_760, "block_size": 8192},
            "generation_config.json": {"eos_token_id": [151_645, 151_643], "max_length": 32_768},
            "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer", "max_length": 10**9, "extra_ids": 100},
            "preprocessor_config.json": {"feature_extractor_type": "ViTFeatureExtractor", "size": 448},
            "config_sentence_transformers.json": {"prompts": {"auto": "a"}, "__version__": {"pytorch": "2.6"}},
        }.items():
            model_configs.check_config(tmp_path / name, found, 10)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    tiny_encoders.write_sentence_transformers(tmp_path_factory.mktemp("st") / "st")
    return tmp_path_factory.getbasetemp() / "st0" / "st" / "model"


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    tiny_encoders.write_open_clip(tmp_path_factory.mktemp("oc") / "model")
    return tmp_path_factory.getbasetemp() / "oc0" / "model"


def _edited(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class TestFingerprints:
    """They cover what changes a row, and nothing else."""

    @pytest.fixture(params=["transformers:", "open_clip:local-dir:", "sentence-transformers:"])
    def given(self, request, clip, towers, sentences, tmp_path):
        folder = {"t": clip, "o": towers, "s": sentences}[request.param[0]]
        return request.param, shutil.copytree(folder, tmp_path / "elsewhere"), folder

    def test_a_folders_name_changes_nothing(self, given):
        backend, copy, folder = given
        assert encoders.load(f"{backend}{copy}").fingerprint == encoders.load(f"{backend}{folder}").fingerprint

    def test_weights_change_it(self, given):
        backend, copy, folder = given
        path = next(copy.glob("*.safetensors"))
        tensors = load_file(path)
        name = next(name for name in tensors if "bias" in name)
        save_file({**tensors, name: tensors[name] + 1e-3}, path, {"format": "pt"})
        assert encoders.load(f"{backend}{copy}").fingerprint != encoders.load(f"{backend}{folder}").fingerprint

    def test_preprocessing_changes_it(self, given):
        backend, copy, folder = given
        for path in (copy / "processor_config.json", copy / "open_clip_config.json"):
            if path.is_file():
                path.write_text(
                    path.read_text().replace("0.48145466", "0.5").replace("[0.5, 0.5, 0.5]", "[0.4, 0.4, 0.4]")
                )
        assert encoders.load(f"{backend}{copy}").fingerprint != encoders.load(f"{backend}{folder}").fingerprint

    def test_what_computes_with_the_weights_changes_it(self, given):
        """Another activation, with the same tensors."""
        backend, copy, folder = given
        path = next(path for path in (copy / "config.json", copy / "open_clip_config.json") if path.is_file())
        found = json.loads(path.read_text())
        if "model_cfg" in found:
            found["model_cfg"]["quick_gelu"] = True
        else:
            found["text_config"]["hidden_act"] = "gelu"
        path.write_text(json.dumps(found))
        a, b = (encoders.load(f"{backend}{each}") for each in (folder, copy))
        assert not np.array_equal(a.encode(TEXTS, modality="text"), b.encode(TEXTS, modality="text"))
        assert a.fingerprint != b.fingerprint

    def test_a_word_of_the_tokenizer_changes_it(self, own, clip, sentences, tmp_path):
        """Two words that changed places: as many, of as many tokens."""
        for backend, folder in (("transformers", clip), ("sentence-transformers", sentences)):
            copy = shutil.copytree(folder, tmp_path / backend)
            core = json.loads((copy / "tokenizer.json").read_text())
            words = core["model"]["vocab"]
            words["cat"], words["dog"] = words["dog"], words["cat"]
            (copy / "tokenizer.json").write_text(json.dumps(core))
            a, b = (encoders.load(f"{backend}:{path}") for path in (folder, copy))
            assert not np.array_equal(a.encode(["cat"], modality="text"), b.encode(["cat"], modality="text"))
            assert a.fingerprint != b.fingerprint

    def test_a_default_prompt_changes_it(self, sentences, tmp_path):
        copy = shutil.copytree(sentences, tmp_path / "model")
        path = copy / "config_sentence_transformers.json"
        found = set()
        for prompts, default in (
            ({"q": "red "}, "q"),
            ({"q": "blue "}, "q"),
            ({"q": "blue ", "d": "a "}, "q"),
            ({}, None),
        ):
            _edited(path, prompts=prompts, default_prompt_name=default)
            found.add(encoders.load(f"sentence-transformers:{copy}").fingerprint)
        assert len(found) == 3
        assert encoders.load(f"sentence-transformers:{sentences}").fingerprint in found


def test_tensors_under_another_name_are_missing(given_renamed):
    backend, folder = given_renamed
    for _ in range(2):
        with pytest.raises(C3AlignError, match=r"is not loaded: its weights lack '.*bias'|cannot load"):
            encoders.load(f"{backend}{folder}")


@pytest.fixture(params=["transformers:", "open_clip:local-dir:", "sentence-transformers:"])
def given_renamed(request, clip, towers, sentences, tmp_path):
    """As many numbers as the configuration wants, one tensor of them under a name that nothing asks for."""
    folder = shutil.copytree({"t": clip, "o": towers, "s": sentences}[request.param[0]], tmp_path / "renamed")
    path = next(folder.glob("*.safetensors"))
    tensors = load_file(path)
    name = next(name for name in tensors if "bias" in name)
    save_file({"another": tensors.pop(name), **tensors}, path, {"format": "pt"})
    return request.param, folder


class TestWhoTakesIt:
    def test_another_backend_is_named(self, clip, towers, sentences, tmp_path):
        strange = tmp_path / "strange"
        strange.mkdir()
        (strange / "config.json").write_text(json.dumps({"model_type": "aimv2", "auto_map": {"AutoModel": "m.M"}}))
        nothing = "no encoder of c3align takes it; .* 'precomputed:FOLDER'"
        for spec, fix in [
            (f"transformers:{towers}", f"pass 'open_clip:local-dir:{towers}'"),
            (f"sentence-transformers:{towers}", f"pass 'open_clip:local-dir:{towers}'"),
            (f"open_clip:local-dir:{clip}", f"pass 'transformers:{clip}'"),
            (f"open_clip:local-dir:{sentences}", f"pass 'sentence-transformers:{sentences}'"),
            (f"transformers:{strange}", nothing),
            (f"open_clip:local-dir:{strange}", nothing),
        ]:
            with pytest.raises(C3AlignError, match=fix) as raised:
                encoders.load(spec)
            assert "trust_remote_code" not in str(raised.value)

    def test_all_of_them_are_listed(self):
        found = {known.spec.partition(":")[0]: known for known in encoders.list()}
        assert [*found] == encoders.available()
        assert found["transformers"].version == metadata.version("transformers")
        assert found["glyphs"].is_installed
        assert not found["imagebind"].is_installed


def test_siglip_2_of_fixed_resolution_reads_lower_case(tmp_path):
    spec = tiny_encoders.write_transformers("siglip2 of fixed resolution", tmp_path / "model")
    small, capital = encoders.load(spec).encode(["a photo of the cat", "A Photo of the CAT"], modality="text")
    assert np.array_equal(small, capital)


def test_nothing_is_allocated_for_what_is_refused(tmp_path):
    weights = model_folders.Weights({"a": (4, 4)}, 64)
    assert isinstance(
        model_folders.check_size(lambda: torch.nn.Linear(4, 4, bias=False), weights, "x"), torch.nn.Linear
    )
    with pytest.raises(C3AlignError, match=r"'x' is not loaded: its configuration wants 20 numbers, .* hold 16"):
        model_folders.check_size(lambda: torch.nn.Linear(4, 4), weights, "x")

    class Tables(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.zeros(1 << 40), persistent=False)

    with pytest.raises(C3AlignError, match="wants tables of 4398046511104 bytes beside 64"):
        model_folders.check_size(Tables, weights, "x")


class TestVersions:
    @pytest.mark.parametrize(
        ("module", "package", "old", "fix"),
        [
            ("transformers", "transformers", "5.2.0", "pip install -U 'transformers>=5.3'"),
            ("transformers.utils.logging", "transformers", "4.57.6", "CVE-2026-4372"),
            ("sentence_transformers", "sentence-transformers", "5.7.0", "pip install -U 'sentence-transformers>=6.0'"),
            ("open_clip", "torch", "2.5.1+cpu", "CVE-2025-32434.*pip install -U 'torch>=2.6'"),
            ("pyarrow.parquet", "pyarrow", "14.0.0", "CVE-2023-47248"),
        ],
    )
    def test_with_holes_are_refused_with_the_fix(self, module, package, old, fix, monkeypatch):
        version = metadata.version
        monkeypatch.setattr(metadata, "version", lambda name: old if name == package else version(name))
        _imports.refuse_unsafe.cache_clear()
        with pytest.raises(MissingExtraError, match=f"^{package} {old.replace('+', '.')} .*{fix}"):
            _imports.need(module, package)
        assert f"  refused: {package} {old} " in "\n".join(doctor.lines(doctor.examine()))

    def test_those_here_are_not(self):
        assert doctor.examine()["unsafe"] == []

    def test_bounds_of_the_package_are_no_older(self):
        import re

        from tests.test_layers import PACKAGE

        text = (PACKAGE.parent / "pyproject.toml").read_text()
        encoders_extra = text[text.index("encoders = [") : text.index("captions = [")]
        for name, least in {(name, least) for found in _imports.LEAST.values() for name, least, _ in found}:
            extra = encoders_extra if f'"{name}' in encoders_extra else text
            assert re.search(rf'"{name}(\[data\])?>={re.escape(least)}"', extra)


def test_what_a_fingerprint_claims(clip, own):
    found = encoders.load(f"transformers:{clip}")
    encoders.check_claim(f"transformers:{clip}", found.fingerprint)
    encoders.check_claim("glyphs", encoders.load("glyphs").fingerprint)
    encoders.check_claim("colours", "anything of another package")
    for spec in ("glyphs", "transformers:openai/clip", "open_clip:ViT-B-32/openai", f"sentence-transformers:{clip}"):
        with pytest.raises(EncoderMismatchError, match="has a fingerprint that begins"):
            encoders.check_claim(spec, found.fingerprint)
