"""Saving and loading: same bytes, crash-safe, bound to an encoder, and P6: no file does harm."""

from __future__ import annotations

import json
import pickle  # to make an attack file; the library never loads one
import struct
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from c3align import C3Aligner, persistence
from c3align.errors import C3AlignError, EncoderMismatchError, FormatError, MissingExtraError
from c3align.io import container
from tests import strategies
from tests.test_ops import raw


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(1, 1, (40, 12)), rng.normal(-1, 1, (40, 12))


@pytest.fixture
def folder(rows, tmp_path):
    C3Aligner(seed=3).fit(*rows).bind_encoder("clip@1").save_pretrained(tmp_path / "aligner")
    return tmp_path / "aligner"


class TestRoundTrip:
    @given(data=st.data(), n_dims=st.integers(1, 30))
    def test_save_load_save(self, data, n_dims, tmp_path_factory):
        X = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(20, n_dims)) + 0.1
        settings = {
            "renormalize": data.draw(st.booleans()),
            "noise_cosine": data.draw(st.sampled_from(["auto", 0.3])),
            "sigma": data.draw(st.sampled_from([None, 0.0, 0.1])),
            "seed": data.draw(strategies.SEEDS),
            "noise": data.draw(st.sampled_from(["isotropic", "residual"])),
        }
        aligner = C3Aligner(**settings).fit(X, -X, y_modality=data.draw(st.sampled_from(["image", "音", "a b"])))
        first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
        aligner.save_pretrained(first)
        again = C3Aligner.from_pretrained(first)
        again.save_pretrained(second)
        for name in (persistence.ALIGNER_FILE, persistence.CONFIG_FILE):
            assert (first / name).read_bytes() == (second / name).read_bytes()
        assert again.get_params() == aligner.get_params()
        assert (again.statistics_, again.pairs_) == (aligner.statistics_, aligner.pairs_)
        assert products(again) == products(aligner)
        assert len(products(again)) == (settings["noise"] == "residual")
        assert raw(again.corrupt(X, modality="text")) == raw(aligner.corrupt(X, modality="text"))

    @given(seed=st.integers(0, 1 << 30), n=st.integers(2, 40), d=st.integers(1, 12), alike=st.booleans())
    def test_covariances_in_float32(self, seed, n, d, alike, tmp_path_factory):
        """Right to 5e-7 of the columns' deviations, for columns that vary as one too; means and variances exact."""
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n, 1 if alike else d)) * np.ones(d) + rng.standard_normal(d)
        Y = X[::-1] + 0.1 * rng.standard_normal((n, d))
        made = C3Aligner(mapping="procrustes", noise="residual").fit(X, Y)
        folder = tmp_path_factory.mktemp("half")
        made.save_pretrained(folder, covariances="float32")
        again = C3Aligner.from_pretrained(folder)
        assert (again.statistics_, again.pairs_) == (made.statistics_, made.pairs_)
        old, new = made.state_, again.state_
        parts = [(old.second_moments[name], new.second_moments[name]) for name in old.statistics]
        parts += [(old.covariances[key], new.covariances[key]) for key in old.pairs]
        for before, after in parts:
            deviations = np.sqrt(before.statistics.variance) + 1e-8
            assert (np.abs(before.covariance - after.covariance) <= 5e-7 * np.outer(deviations, deviations)).all()
        before, after = old.across["image", "text"], new.across["image", "text"]
        sides = (np.sqrt(side.statistics.variance) + 1e-8 for side in (before.x, before.y))
        assert (np.abs(before.covariance - after.covariance) <= 5e-7 * np.outer(*sides)).all()
        assert again.partial_fit(X, Y).statistics_["text"].n_rows == 2 * n  # it learns on

    def test_float32_takes_half_the_room(self, rows, tmp_path):
        made = C3Aligner(noise="residual").fit(*(np.tile(part, 4) for part in rows))
        sizes = {}
        for dtype in ("float64", "float32"):
            made.save_pretrained(tmp_path, covariances=dtype)
            config, tensors = persistence.container.read(tmp_path / persistence.ALIGNER_FILE, "aligner")
            sizes[dtype] = tensors["pair.0.products"].nbytes
            assert config["format_version"] == (4 if dtype == "float64" else 5)
        assert sizes["float64"] == 2 * sizes["float32"]
        plain = C3Aligner().fit(*rows)
        plain.save_pretrained(tmp_path, covariances="float32")
        assert (tmp_path / persistence.ALIGNER_FILE).read_bytes() == plain.to_bytes()
        with pytest.raises(C3AlignError, match="covariances must be 'float64' or 'float32', got 'float16'"):
            made.save_pretrained(tmp_path, covariances="float16")

    def test_frames_keep_their_column_names(self, rows, tmp_path):
        frame = pd.DataFrame(rows[0], columns=[f"e{i}" for i in range(12)])
        C3Aligner().fit(frame).save_pretrained(tmp_path)
        again = C3Aligner.from_pretrained(tmp_path)
        assert list(again.feature_names_in_) == list(frame.columns)

    def test_numpy_numbers_as_settings(self, rows, tmp_path):
        C3Aligner(seed=np.int64(4), sigma=np.float32(0.5)).fit(rows[0]).save_pretrained(tmp_path)
        assert C3Aligner.from_pretrained(tmp_path).get_params()["seed"] == 4

    def test_a_size_that_travels(self, tmp_path):
        wide = np.random.default_rng(0).normal(1, 1, (10, 4096))
        C3Aligner().fit(wide, -wide).save_pretrained(tmp_path)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2**20

    def test_frames_of_two_modalities(self, rows, tmp_path):
        text, image = (pd.DataFrame(part, columns=[f"{name}{i}" for i in range(12)]) for name, part in zip("ab", rows))
        C3Aligner().fit(text, image).save_pretrained(tmp_path)
        again = C3Aligner.from_pretrained(tmp_path)
        assert list(again.feature_names_in_) == list(text.columns)
        assert raw(again.transform(image, modality="image")) == raw(again.transform(rows[1], modality="image"))

    def test_second_moments(self, rows, tmp_path):
        aligner = C3Aligner(second_moments=True).fit(*rows)
        aligner.save_pretrained(tmp_path)
        again = C3Aligner.from_pretrained(tmp_path)
        for name, found in aligner.second_moments_.items():
            assert raw(again.second_moments_[name].products) == raw(found.products)
        assert again.get_params()["second_moments"] is True

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (
                lambda aligner: [aligner.partial_fit(np.eye(12), modality=f"m{i}") for i in range(70)],
                "short list of names",
            ),
            (lambda aligner: aligner.set_params(sigma=-1), "sigma must be"),
            (lambda aligner: aligner.set_params(seed=2**70), "seed must be"),
            (lambda aligner: aligner.bind_encoder("\ud800"), "unpaired surrogates"),
        ],
    )
    def test_what_loading_refuses_is_not_saved(self, rows, tmp_path, change, reason):
        aligner = C3Aligner().fit(rows[0])
        aligner.save_pretrained(tmp_path)
        before = [(tmp_path / name).read_bytes() for name in (persistence.ALIGNER_FILE, persistence.CONFIG_FILE)]
        change(aligner)
        with pytest.raises(C3AlignError, match=reason):
            aligner.save_pretrained(tmp_path)
        assert [
            (tmp_path / name).read_bytes() for name in (persistence.ALIGNER_FILE, persistence.CONFIG_FILE)
        ] == before

    def test_bytes_come_back(self, folder, rows):
        aligner = C3Aligner.from_pretrained(folder)
        content = aligner.to_bytes()
        assert content == (folder / persistence.ALIGNER_FILE).read_bytes()
        assert C3Aligner.from_bytes(content).to_bytes() == content
        with pytest.raises(FormatError):
            C3Aligner.from_bytes(content[:-8])

    def test_encoder(self, folder, rows):
        assert C3Aligner.from_pretrained(folder, encoder="clip@1").encoder_fingerprint_ == "clip@1"
        with pytest.raises(EncoderMismatchError, match="clip@1 and not from clip@2"):
            C3Aligner.from_pretrained(folder, encoder="clip@2")

    def test_golden_file(self, golden, tmp_path):
        """These integers and their bytes, the version among them, stay as they are, or the version rises."""
        X = (np.arange(60, dtype=np.float32).reshape(10, 6) % 17) - 8
        C3Aligner().fit(X, X[::-1]).save_pretrained(tmp_path)
        import hashlib

        assert golden["numerics"] == persistence.NUMERICS
        assert hashlib.sha256((tmp_path / persistence.ALIGNER_FILE).read_bytes()).hexdigest() == golden["aligner"]


class TestCrash:
    @pytest.mark.parametrize("call", ["fsync", "replace", "open"])
    def test_the_old_aligner_survives(self, folder, rows, monkeypatch, call):
        before = (folder / persistence.ALIGNER_FILE).read_bytes()

        def fail(*_arguments, **_keywords):
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(f"c3align.io.atomic.os.{call}", fail)
            with pytest.raises(OSError, match="disk full"):
                C3Aligner().fit(rows[1]).save_pretrained(folder)
        assert (folder / persistence.ALIGNER_FILE).read_bytes() == before
        assert {file.name for file in folder.iterdir()} <= {"aligner.safetensors", "config.json"}
        C3Aligner.from_pretrained(folder)


def products(aligner):
    return {names: raw(found.products) for names, found in aligner.covariances_.items()}


NO_DIGEST_YET = {container.DIGEST: np.arange(container.DIGEST_BYTES, dtype=np.uint8)}


def contents(folder):
    """Tensors and configuration of a saved aligner."""
    content = (folder / persistence.ALIGNER_FILE).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    config = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["config"])
    return {name: tensor.copy() for name, tensor in load(content).items() if name != container.DIGEST}, config


def rewrite(folder, tensors, config):
    content = save({**tensors, **NO_DIGEST_YET}, {"config": json.dumps(config)})
    (folder / persistence.ALIGNER_FILE).write_bytes(container.sign(content))
    (folder / persistence.CONFIG_FILE).unlink(missing_ok=True)


def edited(change):
    def attack(folder):
        tensors, config = contents(folder)
        change(tensors, config)
        rewrite(folder, tensors, config)

    return attack


def bytes_of(change):
    def attack(folder):
        path = folder / persistence.ALIGNER_FILE
        path.write_bytes(change(path.read_bytes()))

    return attack


def set_tensor(name, change):
    return edited(lambda tensors, _: tensors.update({name: change(tensors[name])}))


def set_config(**values):
    return edited(lambda _, config: config.update(values))


def set_settings(**values):
    return edited(lambda _, config: config["settings"].update(values))


PRODUCTS = persistence.PRODUCTS


def nan_mean(tensors, _):
    tensors["modality.0.sums"] = tensors["modality.0.sums"].astype(np.float64)
    tensors["modality.0.sums"][0, 0] = np.nan


def beyond_unit_rows(array):
    array[0, 3] += 1  # 2**64 units of 2**-40
    return array


def one_bit_of_a_bin(array):
    array[250] ^= 1
    return array


def half_a_character(content):
    (length,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + length].decode().replace("center", "\\ud800", 1)
    return struct.pack("<Q", len(header)) + header.encode() + content[8 + length :]


def edited_bytes_without_digest(folder):
    tensors, config = contents(folder)
    (folder / persistence.ALIGNER_FILE).write_bytes(save(tensors, {"config": json.dumps(config)}))


ATTACKS = {
    "empty": (bytes_of(lambda _: b""), "states a header"),
    "truncated": (bytes_of(lambda content: content[:-100]), "it is damaged"),
    "no digest": (edited_bytes_without_digest, "it has no digest"),
    "truncated header": (bytes_of(lambda content: content[:60]), "states a header"),
    "oversized header": (
        bytes_of(lambda c: struct.pack("<Q", 2**60) + c[8:]),
        "states a header of 1152921504606846976",
    ),
    "long header": (bytes_of(lambda c: struct.pack("<Q", len(c)) + c[8:]), "states a header"),
    "padding": (bytes_of(lambda content: content + bytes(100)), "it is damaged"),
    "a gigabyte": (bytes_of(lambda content: content + bytes(2**22)), "larger than its 2 modalities need"),
    "pickle in disguise": (bytes_of(lambda _: pickle.dumps({"a": 1}, protocol=2) + bytes(100)), "states a header"),
    "not JSON": (bytes_of(lambda c: c[:8] + b"x" + c[9:]), "header is not JSON"),
    "deep JSON": (bytes_of(lambda _: struct.pack("<Q", 200000) + b"[" * 200000), "is not JSON"),
    "wrong dtype": (set_tensor("modality.0.norms", lambda a: a.astype(np.float64)), "float64 .* and not int64"),
    "smaller dtype": (set_tensor("pair.0.counts", lambda a: a.astype(np.int32)), "int32"),
    "NaN in the mean": (edited(nan_mean), "'modality.0.sums' is float64"),
    "wrong shape": (set_tensor("modality.0.sums", lambda a: a[:, :-1].copy()), r"\(2, 11\)"),
    "count too small": (set_tensor("modality.0.counts", lambda a: a // 2), "count contradicts"),
    "count too large": (set_tensor("modality.1.counts", lambda a: a * 2), "count contradicts"),
    "count negative": (set_tensor("modality.0.counts", lambda a: -a), "negative"),
    "count zero": (set_tensor("modality.0.counts", lambda a: a * 0), "no rows, yet sums"),
    "pair count": (set_tensor("pair.0.counts", lambda a: np.array([1, 0])), "contradicts"),
    "sums too large": (set_tensor("modality.0.sums", beyond_unit_rows), "count contradicts the sums"),
    "squares negative": (set_tensor("modality.0.squares", lambda a: -a), "count contradicts the sums"),
    "norms of a number that no row has": (set_tensor("modality.0.norms", one_bit_of_a_bin), "contradicts the norms"),
    "half a character": (bytes_of(half_a_character), "it is damaged"),
    "a sigma of 400 digits": (set_settings(sigma=10**400), "settings do not fit"),
    "norms negative": (set_tensor("modality.0.norms", lambda a: -a), "contradicts the norms"),
    "unknown tensor": (edited(lambda t, _: t.update(extra=np.zeros(3))), "unknown tensor 'extra'"),
    "missing tensor": (edited(lambda t, _: t.pop("pair.0.sums")), "'pair.0.sums' is missing"),
    "unknown key": (set_config(loader="os.system"), r"unknown or missing keys \(\['loader'\]\)"),
    "missing key": (edited(lambda _, config: config.pop("pairs")), "unknown or missing keys"),
    "unknown setting": (set_settings(callback="x"), "settings are not a table"),
    "setting out of range": (set_settings(sigma=-1), "settings do not fit"),
    "settings as a list": (set_config(settings=[1]), "settings are not a table"),
    "NaN in JSON": (set_config(settings={"sigma": float("nan")}), "NaN is not allowed"),
    "another format": (set_config(format="sklearn"), "format 'sklearn'"),
    "a newer format": (set_config(format_version=6), "format version 6 .* upgrade c3align"),
    "true as a version": (set_config(format_version=True), "version True is unknown"),
    "an older format": (set_config(format_version=2), r"format 2.* fit it again"),
    "products that are not there": (set_config(modality_products=PRODUCTS), "'modality.0.products' is missing"),
    "other numerics": (set_config(numerics=99), "numerics 99"),
    "huge dimension": (set_config(n_features_in=2**62), "a dimension of"),
    "dimension as text": (set_config(n_features_in="12"), "a dimension of"),
    "true as a dimension": (set_config(n_features_in=True), "a dimension of"),
    "other dimension": (set_config(n_features_in=13), r"not int64 \(2, 13\)"),
    "no modality": (set_config(modalities=[]), "short list of names"),
    "modalities as text": (set_config(modalities="ab"), "short list of names"),
    "modality named auto": (set_config(modalities=["auto", "text"]), "is reserved"),
    "modality as a number": (set_config(modalities=["image", 3]), "must be a short printable string"),
    "modalities unsorted": (set_config(modalities=["text", "image"]), "not in order"),
    "modality twice": (set_config(modalities=["text", "text"]), "not in order"),
    "pair of strangers": (set_config(pairs=[["audio", "text"]]), "not in order"),
    "pairs as text": (set_config(pairs="x"), "not in order"),
    "fingerprint as a list": (set_config(encoder_fingerprint=[1]), "fingerprint is not a string"),
    "feature names": (set_config(feature_names=[["text", ["a"]]]), "feature names"),
    "feature names of strangers": (set_config(feature_names=[["audio", ["a"] * 12]]), "feature names"),
    "feature names of two": (set_config(feature_names=[["text", ["a"] * 12]] * 2), "feature names"),
    "feature names as text": (set_config(feature_names="text"), "feature names"),
}


def off_diagonal(array):
    array[1] = 1e3
    return array


SHAPED = {
    "products NaN": (set_tensor("pair.0.products", lambda a: np.where(a == a[1], np.nan, a)), "not finite"),
    "products infinite": (set_tensor("pair.0.products", lambda a: np.where(a == a[1], np.inf, a)), "not finite"),
    "products of other pairs": (set_tensor("pair.0.products", lambda a: a * 2), "contradict the sums of squares"),
    "products beyond variances": (set_tensor("pair.0.products", off_diagonal), "contradict the variances"),
    "products in full": (set_tensor("pair.0.products", lambda a: np.zeros((12, 12))), r"float64 \(12, 12\)"),
    "products as integers": (set_tensor("pair.0.products", lambda a: a.astype(np.int64)), "int64 .* and not float64"),
    "products missing": (edited(lambda t, _: t.pop("pair.0.products")), "'pair.0.products' is missing"),
    "products without pairs": (set_config(pairs=[]), r"for pairs \[\]"),
    "products in another layout": (set_config(pair_products="full"), "pair_products are given as 'full'"),
    "products in an old version": (set_config(format_version=1), "format 1.* fit it again"),
    "shaped, pair count": (set_tensor("pair.0.counts", lambda a: np.array([1, 0])), "contradict"),
    "shaped, a gigabyte": (bytes_of(lambda content: content + bytes(2**22)), "larger than its 2 modalities need"),
}


@pytest.mark.parametrize("name", [*ATTACKS, *SHAPED])
def test_p6_attack_files(folder, rows, name):
    attack, reason = {**ATTACKS, **SHAPED}[name]
    if name in SHAPED:
        C3Aligner(noise="residual").fit(*rows).save_pretrained(folder)
        C3Aligner.from_pretrained(folder)
    attack(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    tracemalloc.start()
    with pytest.raises(FormatError, match=reason):
        C3Aligner.from_pretrained(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * size + 2**20


def test_p6_memory_is_bounded_by_the_file(tmp_path):
    wide = np.random.default_rng(0).normal(1, 1, (20, 300))
    C3Aligner(noise="residual").fit(wide, -wide).save_pretrained(tmp_path)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size < 8 * 300 * 301 / 2 + 2**16
    tracemalloc.start()
    C3Aligner.from_pretrained(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * size


def test_p6_a_duplicate_key(folder):
    content = (folder / persistence.ALIGNER_FILE).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + length].rstrip()
    doubled = header[:-1] + b',"__metadata__":{}}'
    (folder / persistence.ALIGNER_FILE).write_bytes(struct.pack("<Q", len(doubled)) + doubled + content[8 + length :])
    with pytest.raises(FormatError, match="twice"):
        C3Aligner.from_pretrained(folder)


@given(data=st.data())
def test_p6_every_flipped_bit_is_refused(rows, data, tmp_path_factory):
    """Beside its config.json, and alone."""
    folder = tmp_path_factory.mktemp("flip")
    aligner = C3Aligner(noise=data.draw(st.sampled_from(["isotropic", "residual"]))).fit(*rows)
    aligner.save_pretrained(folder)
    path = folder / persistence.ALIGNER_FILE
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(FormatError):
        C3Aligner.from_pretrained(folder)
    (folder / persistence.CONFIG_FILE).unlink()
    with pytest.raises(FormatError):
        C3Aligner.from_pretrained(folder)


@given(junk=st.binary(max_size=400))
def test_p6_random_bytes(junk, tmp_path_factory):
    folder = tmp_path_factory.mktemp("junk")
    (folder / persistence.ALIGNER_FILE).write_bytes(junk)
    with pytest.raises(FormatError):
        C3Aligner.from_pretrained(folder)


class TestConfigCopy:
    def test_absent(self, folder):
        (folder / persistence.CONFIG_FILE).unlink()
        assert C3Aligner.from_pretrained(folder).seed == 3

    def test_edited(self, folder):
        path = folder / persistence.CONFIG_FILE
        path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
        with pytest.raises(FormatError, match=r"differs.*delete config\.json"):
            C3Aligner.from_pretrained(folder)

    def test_damaged_or_huge(self, folder):
        path = folder / persistence.CONFIG_FILE
        path.write_bytes(b"{\xff")
        with pytest.raises(FormatError, match="not JSON"):
            C3Aligner.from_pretrained(folder)
        path.write_bytes(b" " * (2**20 + 1))
        with pytest.raises(FormatError, match="larger than"):
            C3Aligner.from_pretrained(folder)


def test_no_such_place(tmp_path, rows, monkeypatch):
    with pytest.raises(FileNotFoundError, match="Hub id 'owner/name'"):
        C3Aligner.from_pretrained(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"aligner\.safetensors is absent"):
        C3Aligner.from_pretrained(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match="pip install huggingface_hub"):
        C3Aligner.from_pretrained("owner/name-that-is-no-folder")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        C3Aligner().fit(rows[0]).save_pretrained(tmp_path / "file")


def test_parameters_of_a_subclass_are_said_to_be_lost(coco, tmp_path):
    class Mine(C3Aligner):
        def __init__(self, *, depth: int = 3, noise: str = "isotropic", **others):
            super().__init__(noise=noise)
            self.depth = depth

        def get_params(self, deep=True):
            return {**C3Aligner(noise=self.noise).get_params(deep), "depth": self.depth}

    aligner = Mine(depth=5).fit(coco[1])
    with pytest.warns(UserWarning, match="not saved: depth; set them after loading") as caught:
        content = aligner.to_bytes()
    with pytest.warns(UserWarning, match="not saved: depth") as again:
        aligner.save_pretrained(tmp_path)
    assert caught[0].filename == again[0].filename == __file__
    assert Mine.from_bytes(content).depth == 3
