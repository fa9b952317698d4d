"""Means of others: read as data from the kinds of files that CapDec, SpLiCE and TextME publish."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest

from c3align import C3Aligner, published
from c3align.errors import C3AlignError, FormatError
from c3align.io import vectors
from c3align.statistics import ModalityStatistics
from tests.attacks import honest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def fitted():
    aligner = C3Aligner().fit(honest.rows(500, 64, 0.3))
    return aligner.partial_fit(honest.rows(501, 64, -0.2)[1:], modality="image")


@pytest.fixture(scope="module")
def means(fitted):
    return {name: found.mean.astype(np.float32) for name, found in fitted.statistics_.items()}


def write(path, value, how):
    with open(path, "wb") as file:
        how(value, file)
    return path


OLD = partial(torch.save, _use_new_zipfile_serialization=False)
WAYS = {
    "npy": lambda value, file: np.save(file, value),
    "torch": lambda value, file: torch.save(torch.from_numpy(value), file),
    "old torch": lambda value, file: OLD(torch.from_numpy(value), file),
    "half": lambda value, file: torch.save(torch.from_numpy(value).half(), file),
    "double": lambda value, file: torch.save(torch.from_numpy(value).double(), file),
    "pickled tensor": lambda value, file: pickle.dump(torch.from_numpy(value), file),
    **{f"pickle {n}": lambda value, file, n=n: pickle.dump(value, file, protocol=n) for n in (3, 4, 5)},
    "swapped": lambda value, file: pickle.dump(value.astype(">f4"), file),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(64,), (1, 64)])
def test_a_vector(way, shape, means, tmp_path):
    path = write(tmp_path / "mean", means["image"].reshape(shape), WAYS[way])
    np.testing.assert_allclose(vectors.read(path), means["image"].reshape(shape), atol=5e-4 if way == "half" else 0)
    assert list(published.import_means({"image": path}, n_rows=9).statistics_) == ["image"]


def test_a_cut_file_of_old_torch_is_refused(tmp_path):
    """With one number left it was taken for all of them."""
    path = write(tmp_path / "mean", np.linspace(-0.1, 0.1, 16, dtype=np.float32), WAYS["old torch"])
    whole = path.read_bytes()
    for n_left in (15, 2, 1, 0):
        path.write_bytes(whole[: len(whole) - 4 * (16 - n_left)])
        with pytest.raises(FormatError):
            vectors.read(path)


@pytest.mark.parametrize("how", [torch.save, OLD])
def test_a_negative_of_what_is_stored_is_refused(how, tmp_path):
    """It was taken for what is stored."""
    value = torch._neg_view(torch.linspace(-0.1, 0.1, 16))
    how(value, tmp_path / "mean")
    with pytest.raises(FormatError, match="negative or the conjugate"):
        vectors.read(tmp_path / "mean")


@pytest.mark.parametrize("how", [pickle.dump, torch.save, OLD])
def test_a_dictionary_as_capdec_has_it(how, means, fitted, tmp_path):
    given = {f"center_{name}": torch.from_numpy(mean)[None] for name, mean in means.items()}
    path = write(tmp_path / "centers.pkl", {**given, "offset_to_add_in_training": given["center_text"]}, how)
    aligner = published.import_means(path, n_rows=500, encoder="tiny@1", seed=3)
    assert (aligner.seed, aligner.encoder_fingerprint_) == (3, "tiny@1")
    rows = honest.rows(500, 64, 0.3)
    expected = fitted.transform(rows, modality="text")
    np.testing.assert_allclose(aligner.transform(rows, modality="text"), expected, atol=1e-6)
    np.testing.assert_allclose(aligner.gap().norm, fitted.gap().norm, rtol=1e-6)
    for name, found in aligner.statistics_.items():
        assert found.problem() is None
        np.testing.assert_allclose(found.standard_error, fitted.statistics_[name].standard_error, rtol=1e-6)


def test_it_is_saved_and_goes_on_learning(means, fitted, tmp_path):
    path = write(tmp_path / "mean.npy", means["text"], WAYS["npy"])
    aligner = published.import_means({"text": path}, n_rows=500)
    aligner.save_pretrained(tmp_path / "saved")
    again = C3Aligner.from_pretrained(tmp_path / "saved")
    assert again.to_bytes() == aligner.to_bytes()
    more = honest.rows(499, 64, 0.3)
    mean = (500 * means["text"].astype(np.float64) + 499 * ModalityStatistics.from_rows(more).mean) / 999
    np.testing.assert_allclose(again.partial_fit(more).statistics_["text"].mean, mean, atol=1e-11)


def test_what_is_no_mean_of_unit_rows(means, tmp_path):
    long = write(tmp_path / "long.npy", 10 * means["image"], WAYS["npy"])
    for path in (long, write(tmp_path / "nan.npy", means["image"] * np.nan, WAYS["npy"])):
        with pytest.raises(C3AlignError, match=r"must be that of unit rows, .*normalize the rows"):
            published.import_means({"image": path}, n_rows=9)
    signalling = np.full(64, 0x7F800001, np.uint32).view(np.float32)
    for strange in (signalling, np.full(64, 1e300)):
        path = write(tmp_path / "strange.npy", strange, WAYS["npy"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(C3AlignError, match="must be that of unit rows"):
                published.import_means({"image": path}, n_rows=9)
    table = write(tmp_path / "table.npy", np.ones((2, 3)), WAYS["npy"])
    with pytest.raises(FormatError, match=r"one vector of floats, got float64 \(2, 3\)"):
        published.import_means({"image": table}, n_rows=9)
    np.save(tmp_path / "zeros.npy", np.zeros(8))
    with pytest.raises(FormatError, match="holds zeros alone, which are no mean"):
        published.import_means({"text": tmp_path / "zeros.npy"}, n_rows=10)
    with pytest.raises(FormatError, match="does not say whose means"):
        published.import_means(long, n_rows=9)
    with pytest.raises(C3AlignError, match="mapping must be 'center' for means alone"):
        published.import_means({"image": long}, n_rows=9, mapping="standardize")


def test_odd_files_and_arguments(means, tmp_path):
    """What is no path, no name of a file and no vector is refused as the rest is; a count of NumPy's is one."""
    for odd in (np.float32(1), np.zeros((3, 0), np.float32), np.zeros((1, 1, 0))):
        path = write(tmp_path / "odd.npy", odd, WAYS["npy"])
        with pytest.raises(C3AlignError, match=r"one vector of floats|mean must be a vector"):
            published.import_means({"image": path}, n_rows=9)
    for files, message in ((["x"], "files must be a path, or paths by modality"), ("a\0", "no file can be called")):
        with pytest.raises(C3AlignError, match=message):
            published.import_means(files, n_rows=9)
    path = write(tmp_path / "mean.npy", means["image"], WAYS["npy"])
    found = [published.import_means({"image": path}, n_rows=n).to_bytes() for n in (9, np.int64(9))]
    assert found[0] == found[1]


@pytest.mark.parametrize("longer", [1, -1])
def test_a_storage_of_another_length(longer, means, tmp_path):
    """The numbers beside a pickle are as many as it states, in both kinds of torch's files."""
    path = write(tmp_path / "mean.pt", torch.from_numpy(means["image"]), torch.save)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (key,) = (name for name in parts if name.endswith("/data/0"))
    parts[key] = parts[key] + b"\0" * 4 if longer > 0 else parts[key][:-4]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(FormatError, match="a storage is of another length"):
        vectors.read(path)


class Runs:
    """What pickle would call."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("how", [pickle.dump, torch.save, OLD])
def test_nothing_is_called(how, tmp_path):
    path = write(tmp_path / "mean.pkl", {"center_text": Runs(os.mkdir, str(tmp_path / "ran"))}, how)
    with pytest.raises(FormatError, match=r"it would call posix\.mkdir|it would call nt\.mkdir"):
        published.import_means(path, n_rows=9)
    assert not (tmp_path / "ran").exists()


def test_files_within_files_end(tmp_path):
    """Old files of torch in a pickle hold no further ones."""
    inner = pickle.dumps(Runs(torch.storage._load_from_bytes, b""))
    path = write(tmp_path / "mean.pkl", Runs(torch.storage._load_from_bytes, inner), pickle.dump)
    with pytest.raises(FormatError, match="it makes more than vectors need"):
        vectors.read(path)
    many = [Runs(torch.storage._load_from_bytes, pickle.dumps(1)) for _ in range(65)]
    with pytest.raises(FormatError, match="it makes more than vectors need"):
        vectors.read(write(path, many, pickle.dump))


def test_tensors_beyond_their_numbers(tmp_path):
    """Sizes and steps that lie would read memory that is not the file's."""
    given = torch.arange(64.0).reshape(8, 8).T
    with pytest.raises(FormatError, match="not in a row"):
        vectors.read(write(tmp_path / "turned.pt", given, torch.save))
    stored = Runs(
        torch._utils._rebuild_tensor_v2,
        torch.storage.TypedStorage(wrap_storage=torch.zeros(8).untyped_storage(), dtype=torch.float32, _internal=True),
        4,
        (8,),
        (1,),
        False,
        {},
    )
    with pytest.raises(FormatError, match="cannot reshape"):
        vectors.read(write(tmp_path / "long.pkl", stored, pickle.dump))


def test_rows_in_place_of_a_mean(tmp_path, monkeypatch):
    """Who has the rows was told to ask their owner for what they are."""
    monkeypatch.setattr(vectors, "MAX_BYTES", 1000)
    np.save(tmp_path / "rows.npy", np.ones((30, 40)))
    with pytest.raises(
        FormatError, match=r"rows.npy is larger than 1,000 bytes; pass the file of one mean, not of rows"
    ):
        vectors.read(tmp_path / "rows.npy")
