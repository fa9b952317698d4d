"""What newcomers did by mistake, and what they are told: in one line, with the call that does it right."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

from c3align import C3Aligner, ModalityStatistics, encoders, geometry, merging, noise, ops, report
from c3align.calibration import Calibration
from c3align.choosing import choose
from c3align.errors import C3AlignError, ModalityMeanWarning

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(60, 6)) + 1
OTHER = ROWS + RNG.normal(size=(60, 6)) / 3 + np.eye(6)[0]
FITTED = C3Aligner(second_moments=True).fit(ROWS, OTHER)


class _Units(np.ndarray):
    """As the arrays of libraries of physical quantities are."""


def frames():
    pd = pytest.importorskip("pandas")
    days = {name: pd.date_range("2020", periods=60) for name in "abcdef"}
    yield from {
        "days": (pd.DataFrame(days), "times"),
        "one column of days": (pd.DataFrame(ROWS).assign(day=days["a"]), "times"),
        "days of a zone": (pd.DataFrame(days).apply(lambda column: column.dt.tz_localize("UTC")), "times"),
        "a series of days": (days["a"].to_series(), "times"),
        "durations": (pd.DataFrame({name: column - column[0] for name, column in days.items()}), "times"),
        "bools": (pd.DataFrame(ROWS > 0), "packed bits"),
        "nullable bools": (pd.DataFrame(ROWS > 0).astype("boolean"), "packed bits"),
        "texts": (pd.DataFrame(ROWS.astype(str)), "texts"),
        "categories": (pd.DataFrame(ROWS.round()).astype("category"), "texts"),
        "nullable, some missing": (pd.DataFrame(ROWS).astype("Float64").mask(pd.DataFrame(ROWS) > 2), "NaN"),
    }.items()


def kinds():
    scipy = pytest.importorskip("scipy.sparse")
    yield from {
        "days": (np.ones((60, 6), "M8[D]"), "times"),
        "durations": (np.ones((60, 6), "m8[s]"), "times"),
        "days as objects": (np.full((60, 6), np.datetime64("2020"), object), "must be a 2-d array of floats"),
        "nothing": (np.full((60, 6), None), "NaN"),
        "records": (np.zeros((60, 6), [("a", "f4")]), "records"),
        "bytes without a type": (np.zeros((60, 6), "V8"), "records"),
        "masked": (np.ma.masked_array(ROWS, ROWS > 2), "masked"),
        "complex": (ROWS + 1j, "Complex"),
        "bools": (ROWS > 0, "packed bits"),
        "a list of bools": ((ROWS > 0).tolist(), "packed bits"),
        "bools as objects": ((ROWS > 0).astype(object), "packed bits"),
        "strings": (ROWS.astype(str), "texts"),
        "strings in lists": (ROWS.astype(str).tolist(), "texts"),
        "sparse": (scipy.csr_array(ROWS), "toarray"),
        "one number": (np.array(1.0), "y must be rows|Reshape"),
        "empty": (ROWS[:0], "no rows|0 sample"),
        "lengths that differ": ([[1.0, 2.0], [3.0]], "must be a 2-d array of floats"),
    }.items()


@pytest.mark.parametrize(("name", "given"), [*kinds(), *frames()])
def test_what_holds_no_embeddings_is_refused(name, given):
    X, message = given
    for call in (
        lambda: C3Aligner().fit(X),
        lambda: FITTED.transform(X, modality="text"),
        lambda: C3Aligner().fit(ROWS, X, y_modality="image"),
    ):
        with pytest.raises(C3AlignError, match=message):
            call()


@pytest.mark.parametrize(
    "X",
    [ROWS.tolist(), memoryview(ROWS), ROWS.astype(object), ROWS[::-1, ::-1], ROWS.view(_Units), ROWS.astype(">f8")],
    ids=["lists", "memoryview", "objects", "negative strides", "units", "swapped bytes"],
)
def test_what_holds_floats_is_taken(X):
    fitted = C3Aligner().fit(X)
    expected = np.asarray(X, np.float64)
    np.testing.assert_allclose(fitted.statistics_["text"].mean, geometry.unit_rows(expected).mean(axis=0), atol=1e-9)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_swapped_bytes_are_those_of_this_machine(dtype):
    rows = ROWS.astype(f"<{dtype}").astype(np.dtype(dtype))
    swapped = rows.astype(rows.dtype.newbyteorder("S"))
    assert C3Aligner().fit(swapped, -swapped).statistics_ == C3Aligner().fit(rows, -rows).statistics_
    for call in (
        ops.normalize,
        lambda X: FITTED.transform(X, modality="text"),
        lambda X: FITTED.corrupt(X, modality="text"),
        lambda X: np.asarray(ops.moments(X)[1]),
    ):
        found, expected = call(swapped), call(rows)
        assert found.dtype == expected.dtype
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, expected)


NARROW = ROWS[:, :4]
CALLS = {
    "other lengths": (lambda: C3Aligner().fit(ROWS[:30], OTHER), "y must have one row for each of X's, got 60 for 30"),
    "no rows": (lambda: C3Aligner().fit(None), "X must be a 2-d array of floats"),
    "other widths later": (lambda: C3Aligner().fit(ROWS).partial_fit(NARROW), "expecting 6 features.*of the encoder"),
    "gap of widths": (lambda: geometry.distribution_gap(ROWS, NARROW), "a has 6 dimensions and b 4"),
    "line between widths": (lambda: geometry.linear_separability(ROWS, NARROW), "a has 6 dimensions and b 4"),
    "hubs of widths": (lambda: geometry.hubness(ROWS, NARROW), "queries has 6 dimensions and targets 4"),
    "bias of widths": (lambda: geometry.modality_bias(ROWS, NARROW), "a has 6 dimensions and b 4"),
    "places of widths": (lambda: geometry.misplaced(ROWS, NARROW), "pairs need equal shapes"),
    "order of widths": (lambda: geometry.order_evidence(ROWS, NARROW), "pairs need equal shapes"),
    "recall at nothing": (lambda: geometry.recall_at_k(ROWS, OTHER, [0]), "each of ks must be an integer of 1 or more"),
    "report of widths": (
        lambda: report.report(ROWS, OTHER, aligner=C3Aligner().fit(NARROW, NARROW + 1)),
        "expecting 4",
    ),
    "no lists": (lambda: merging.merge_by_rank([3, 4]), "list 0 must be a list of documents' names"),
    "lists of lists": (lambda: merging.merge_by_rank([[[1]], [[2]]]), "list 0 must be a list of documents' names"),
    "scores of texts": (lambda: merging.list_z_scores(["a"]), "scores must be numbers, got \\['a'\\]"),
    "no encoder": (lambda: encoders.load(None), "spec must be a string, got None"),
    "a stream without a name": (lambda: noise.stream_seed(7, 5), "modality must be a string, got 5"),
    "widths of noise": (lambda: noise.sigma_from_cosine(0.5, 0), "n_dims must be an integer of 1 or more, got 0"),
    "lopsided": (lambda: geometry.noise_fit(ROWS, np.triu(np.ones((6, 6)))), "must be symmetric"),
    "a root of the lopsided": (lambda: noise.Noise("own").root(np.triu(np.ones((6, 6))), 1), "must be symmetric"),
    "few columns, cca": (lambda: C3Aligner(mapping="cca").fit(ROWS, OTHER).transform(ROWS, modality="text"), r"CCA\("),
    "few columns, drop_unequal": (
        lambda: C3Aligner(mapping="drop_unequal").fit(ROWS, OTHER).transform(ROWS, modality="text"),
        r"mappings\.DropUnequal\(n_directions=3\)",
    ),
    "noise of quantiles": (
        lambda: C3Aligner(mapping="quantile", noise="half_power").fit(ROWS),
        "a mapping that is affine",
    ),
    "classes without labels": (lambda: choose(ROWS, OTHER, job="classification"), "needs the class of each row of Y"),
    "labels of no classes": (
        lambda: choose(ROWS, OTHER, job="search", labels=np.zeros(60, int)),
        "pass that job, or no",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS)
def test_mistakes(call, message):
    with pytest.raises(C3AlignError, match=message) as found:
        call()
    assert "\n" not in str(found.value)


def test_a_rate_that_no_number_of_scores_tells():
    few = Calibration.from_rows({"text": ROWS[:5]})
    with pytest.raises(C3AlignError, match="too few unrelated scores were seen to tell any false-positive rate"):
        few.threshold(false_positive_rate=0.1, query="text")


@pytest.mark.parametrize(
    "call",
    [
        lambda X: geometry.unit_rows(X),
        lambda X: Calibration.from_rows({"text": X}),
        lambda X: FITTED.calibrate().score(X, ROWS, query="text", document="text"),
        lambda X: noise.sigma_from_groups(X, np.arange(60) // 2),
        lambda X: report.report(X, OTHER),
        lambda X: choose(X, OTHER, job="search"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_no_option_is_advised_that_is_not_there(call):
    with pytest.raises(C3AlignError, match="remove those rows") as found:
        call(np.where(np.arange(60)[:, None] == 3, 0, ROWS))
    assert "zero_rows" not in str(found.value)
    with pytest.raises(C3AlignError, match="zero_rows='keep'"):
        C3Aligner().fit(np.zeros_like(ROWS))


def test_messages_are_short_whatever_was_given():
    with pytest.raises(C3AlignError) as found:
        C3Aligner().fit(ROWS, modality=ROWS.tolist())
    assert len(str(found.value)) <= 1000


@pytest.mark.filterwarnings("default::c3align.errors.PairOrderWarning")
def test_commands_advise_commands(call, tmp_path):
    rng = np.random.default_rng(1)
    text = rng.normal(size=(300, 10)) @ rng.normal(size=(10, 64)) + 1  # few directions, as of one encoder
    for name, rows in (("text", text), ("image", rng.permutation(text + rng.normal(size=text.shape) / 5))):
        np.save(tmp_path / f"{name}.npy", rows)
    code, _, err = call("fit", tmp_path / "text.npy", "--pair", tmp_path / "image.npy", "-o", tmp_path / "out")
    assert code == 0
    assert re.search("do not look like pairs.*c3align merge", err)
    assert "partial_fit" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "none.npy", "-a", "none"),
        ("report", "none.npy", "none-2.npy"),
        ("search", "a cat", "none"),
        ("migrate", "none", "-a", "none", "-o", "new"),
        ("embed", "none", "--encoder", "glyphs", "--modality", "image", "-o", "new"),
        ("caption", "none.png", "-p", "none"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_errors_beside_json_are_a_line_on_stderr(call, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments, "--json")
    assert (code, out, err.count("\n"), err[:7]) == (2, "", 1, "error: ")


def test_help_of_embed_names_pictures_in_one_file(call):
    assert ".npy of pictures" in " ".join(call("embed", "--help")[1].split())


class TestRawRowsAreScored:
    @pytest.fixture
    def known(self, coco):
        image, text = coco
        half = len(text) // 2
        aligner = C3Aligner(second_moments=True).fit(text[:half], image[:half])
        return aligner, aligner.calibrate(), text[half:], aligner.transform(image[half : half + 10], modality="image")

    def told(self, known, rows):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            known[1].score(rows, known[3], query="text", document="image")
        assert all(found.filename == __file__ for found in caught)
        return [str(found.message) for found in caught]

    def test_a_batch(self, known):
        aligner, _, text, _ = known
        assert self.told(known, text)[0].startswith("these look like raw rows of 'text'")
        assert not self.told(known, aligner.transform(text, modality="text"))

    def test_single_rows(self, known):
        aligner, _, text, _ = known
        raw = [bool(self.told(known, text[i : i + 1])) for i in range(100)]
        assert np.mean(raw) > 0.9
        aligned = aligner.transform(text, modality="text")
        assert not any(self.told(known, aligned[i : i + 1]) for i in range(100))

    def test_documents(self, known, coco):
        with pytest.warns(ModalityMeanWarning, match="raw rows of 'image'"):
            known[1].score(known[3], coco[0][:100], query="image", document="image")

    def test_copies_keep_it(self, known, coco):
        rows = [known[0].transform(side[:100], modality=name) for side, name in zip(coco, ("image", "text"))]
        more = known[1].with_pairs(*rows, query="image", document="text")
        assert more.raw is known[1].raw

    def test_means_of_others_are_refused(self):
        with pytest.raises(C3AlignError, match="raw_means must be one mean a modality"):
            Calibration.from_rows({"text": ROWS}, raw_means={"image": ROWS[0]})


def test_what_is_added_up_is_of_one_class():
    with pytest.raises(TypeError, match="cannot combine ModalityStatistics with int; pass what another"):
        ModalityStatistics.from_rows(ROWS).merge(3)


def test_corrupt_gives_arrays_under_set_output():
    pytest.importorskip("pandas")
    aligner = C3Aligner().set_output(transform="pandas").fit(ROWS)
    assert type(aligner.transform(ROWS, modality="text")).__name__ == "DataFrame"
    assert type(aligner.corrupt(ROWS, modality="text")) is np.ndarray
