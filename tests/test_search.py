"""Search over several modalities: stores agree with exact search, survive, and refuse what is not theirs."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from c3align import C3Aligner, search
from c3align.errors import C3AlignError, EncoderMismatchError, FormatError, MissingExtraError
from c3align.search import Batch, MixedIndex
from c3align.search import card as search_card
from tests import stores
from tests.children import Child

ROOT = Path(__file__).resolve().parents[1]
N, DIMS = 600, 32


@pytest.fixture(scope="module")
def address(request):
    with stores.postgres() as found:
        yield found


@pytest.fixture(params=stores.NAMES)
def opened(request, tmp_path):
    """Open the store of this test, again and again."""
    where = request.getfixturevalue("address") if request.param == "pgvector" else None
    held = []

    def again():
        if held:
            stores.close(held.pop())
        held.append(stores.open_store(request.param, tmp_path, where))
        return held[0]

    again.name = request.param
    yield again
    if held:
        stores.close(held.pop())


@pytest.fixture
def store(tmp_path):
    stores.require("faiss")
    return search.FaissStore(tmp_path / "rows.faiss")


def material(n=N, seed=0):
    """Texts and pictures of n things: unlike means and covariances, as two modalities have."""
    rng = np.random.default_rng(seed)
    things = rng.normal(size=(n, DIMS))
    text = things * np.geomspace(2, 0.3, DIMS) + 0.3 * rng.normal(size=(n, DIMS)) + 1
    image = things * np.geomspace(1, 0.8, DIMS) + 0.3 * rng.normal(size=(n, DIMS)) - 1
    return text.astype(np.float32), image.astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return C3Aligner(mapping="barycenter").fit(*material())


class Encoder:
    """Texts and pictures by number."""

    modalities, n_dims, fingerprint = ("text", "image"), DIMS, "by number@1"

    def encode(self, items, *, modality, **options):
        return material(seed=1)[modality == "image"][[int(item) for item in items]]


def filled(fitted, store, **options):
    index = MixedIndex(Encoder(), fitted, store, **options)
    text, image = material(seed=1)
    about = [{"even": i % 2 == 0, "n": i, "name": f"it's {i}"} for i in range(N)]
    assert index.add(text[:300], modality="text", ids=[f"t{i}" for i in range(300)], metadata=about[:300]) == 300
    assert index.add(image, modality="image", ids=[f"i{i}" for i in range(N)], metadata=about) == N
    return index


class TestStores:
    def test_they_keep_the_protocol(self, opened):
        assert isinstance(opened(), search.Store)

    def test_nothing_is_in_a_new_one(self, opened):
        store = opened()
        assert (store.about(), store.count(), store.ids(), store.ids(["a"])) == (None, 0, set(), set())
        assert store.query(np.ones(4, np.float32), 3) == []
        assert [len(batch.ids) for batch in store.scan() if batch.ids] == []

    def test_top_ten_of_exact_search_before_and_after_a_restart(self, opened):
        rng = np.random.default_rng(0)
        rows, queries = rng.normal(size=(600, 16)).astype("f4"), rng.normal(size=(5, 16)).astype("f4")
        names = [f"row {i}" for i in range(600)]
        kinds = ["image" if i % 3 else "text" for i in range(600)]
        about = [{"color": "red" if i % 5 == 0 else "it's blue", "n": i % 7, "is_new": i % 2 == 0} for i in range(600)]
        store = opened()
        store.set_about({"first": 1})
        store.set_about({"rows": "random", "é": [1.5, None]})
        for start in range(0, 600, 250):
            part = slice(start, start + 250)
            store.add(Batch(names[part], kinds[part], rows[part], about[part]))
        masks = {
            None: np.ones(600, bool),
            ("modality", "image"): np.array(kinds) == "image",
            ("color", "it's blue"): np.arange(600) % 5 != 0,
            ("n", 3): np.arange(600) % 7 == 3,
            ("is_new", True): np.arange(600) % 2 == 0,
            ("n", True): np.zeros(600, bool),
        }
        for _ in range(2):
            assert store.about() == {"rows": "random", "é": [1.5, None]}
            assert store.count() == 600
            assert store.ids() == set(names)
            assert store.ids([*names[:450], "none"]) == set(names[:450])
            for filter, mask in masks.items():
                for query in queries:
                    scores = np.where(mask, rows @ query, -np.inf)
                    best = np.argsort(-scores)[: min(10, mask.sum())]
                    found = store.query(query, 10, filter=None if filter is None else dict([filter]))
                    assert [hit.id for hit in found] == [names[i] for i in best]
                    assert [(hit.modality, hit.metadata) for hit in found] == [(kinds[i], about[i]) for i in best]
                    np.testing.assert_allclose([hit.score for hit in found], scores[best], rtol=1e-5, atol=2e-6)
            both = {"color": "red", "modality": "text"}
            assert {hit.id for hit in store.query(queries[0], 200, filter=both)} == set(names[::15])
            read = {name: row for batch in store.scan() for name, row in zip(batch.ids, batch.rows)}
            np.testing.assert_array_equal([read[name] for name in names], rows)
            store = opened()

    def test_what_is_refused_changes_nothing(self, opened):
        store = opened()
        store.add(Batch(["a", "b"], ["text"] * 2, np.eye(2, 3, dtype="f4"), [{}, {}]))
        with pytest.raises(C3AlignError, match=r"ids must be new, got 'b', which the index has"):
            store.add(Batch(["c", "b"], ["text"] * 2, np.eye(2, 3, dtype="f4"), [{}, {}]))
        with pytest.raises(C3AlignError, match="rows must have 3 dimensions as in the index, got 2"):
            store.add(Batch(["c"], ["text"], np.eye(1, 2, dtype="f4"), [{}]))
        with pytest.raises(C3AlignError, match="rows must have 3 dimensions as in the index, got 2"):
            store.query(np.ones(2, np.float32), 1)
        with pytest.raises(C3AlignError, match=r"filter must map names to strings, .* got 'x': 0\.5"):
            store.query(np.ones(3, np.float32), 1, filter={"x": 0.5})
        assert (store.count(), store.ids()) == (2, {"a", "b"})

    def test_no_acknowledged_row_is_lost_by_a_kill(self, opened, tmp_path, request):
        """A child adds batches until it is killed; all that it had told of are there, each once, and more go in."""
        where = request.getfixturevalue("address") if opened.name == "pgvector" else ""
        stores.close(stores.open_store(opened.name, tmp_path, where))
        for seconds in (0.0, 0.05):
            child = Child(ADDS, opened.name, tmp_path, where, seconds)
            told = [child.stdout.readline() for _ in range(3)]
            time.sleep(seconds)
            child.kill()
            told += child.stdout.readlines()
            whole = [line for line in told if line.endswith("\n") and line.strip()]
            assert len(whole) >= 3
            store = stores.open_store(opened.name, tmp_path, where)
            names = [f"{seconds} {line.strip()} {i}" for line in whole for i in range(20)]
            assert store.ids(names) == set(names)
            assert sum(len(batch.ids) for batch in store.scan()) == store.count() == len(store.ids())
            assert store.about() == {"seconds": str(seconds)}
            store.add(Batch([f"after {seconds}"], ["text"], np.ones((1, 8), np.float32), [{}]))
            stores.close(store)


# prints a number when the batch of that number is acknowledged
ADDS = """
import sys
from pathlib import Path
import numpy as np
from c3align.search import Batch
from tests import stores
name, place, address, seconds = sys.argv[1:]
store = stores.open_store(name, Path(place), address)
store.set_about({"seconds": seconds})
for number in range(10_000):
    names = [f"{seconds} {number} {i}" for i in range(20)]
    store.add(Batch(names, ["text"] * 20, np.full((20, 8), number, np.float32), [{}] * 20))
    if name == "faiss":
        store.save()
    print(number, flush=True)
"""


class TestMixedIndex:
    def test_results_are_those_of_arrays(self, fitted, opened):
        """By every store, for queries of both modalities: the ranking by z-score that plain arrays give."""
        index = filled(fitted, opened())
        text, image = material(seed=1)
        rows = [fitted.transform(text[:300], modality="text"), fitted.transform(image, modality="image")]
        names = [f"t{i}" for i in range(300)] + [f"i{i}" for i in range(N)]
        calibration = fitted.calibrate()
        assert len(index) == 900
        for modality, raw in (("text", text), ("image", image)):
            for place in (3, 400):
                query = fitted.transform(raw[place : place + 1], modality=modality)
                pairs = zip(("text", "image"), rows)
                z = [calibration.score(query, part, query=modality, document=name)[0] for name, part in pairs]
                z = np.concatenate(z)
                best = np.argsort(-z)[:10]
                found = index.query(raw[place], modality=modality)
                assert [result.id for result in found] == [names[i] for i in best]
                np.testing.assert_allclose([result.z for result in found], z[best], atol=2e-4)
                cosines = (np.concatenate(rows) @ query[0])[best]
                np.testing.assert_allclose([result.cosine for result in found], cosines, atol=2e-5)

    def test_what_an_aligner_learns_later_does_not_reach_it(self, store):
        """Rows of two states in one index found nothing of each other."""
        aligner, (text, image) = C3Aligner(mapping="barycenter").fit(*material()), material(seed=1)
        index = MixedIndex(None, aligner, store)
        index.add(image[:50], modality="image", ids=[f"{i}" for i in range(50)])
        before = index.query(text[7])
        aligner.fit(text[:, ::-1], image[:, ::-1])
        assert index.query(text[7]) == before
        assert index.add(image[50:60], modality="image", ids=[f"{i}" for i in range(50, 60)]) == 10
        MixedIndex(None, C3Aligner(mapping="barycenter").fit(*material()), store)

    def test_bfloat16_and_what_is_no_row(self, fitted, store):
        index, (text, image) = MixedIndex(None, fitted, store), material(seed=1)
        rounded = torch.from_numpy(image[:5]).bfloat16()
        index.add(rounded, modality="image", ids=list("abcde"))
        np.testing.assert_allclose(index.stored(rounded, "image"), index.stored(image[:5], "image"), atol=0.05)
        assert index.query(torch.from_numpy(text[0]).bfloat16())[0].id
        for wrong in (text[:3], [0.5, 0.25], text[0].astype(np.int8)):
            with pytest.raises(
                C3AlignError, match=r"items must be floating rows .n_rows, n_dims., and a query one of them"
            ):
                index.query(wrong)

    def test_uneven_means_take_a_list_for_each_modality(self, fitted, store):
        """Where a scale alone does not rank by z-score: mean scores of unrelated rows that differ."""
        known = fitted.calibrate()
        uneven = replace(known, means=known.means + np.diag([0.0, 0.4]))  # of texts with texts
        index = filled(fitted, store, calibration=uneven)
        rows = [fitted.transform(part, modality=m) for m, part in zip(("text", "image"), material(seed=1))]
        query = rows[0][7:8]
        pairs = zip(("text", "image"), (rows[0][:300], rows[1]))
        z = [index.calibration.score(query, part, query="text", document=name)[0] for name, part in pairs]
        names = np.array([f"t{i}" for i in range(300)] + [f"i{i}" for i in range(N)])
        best = names[np.argsort(-np.concatenate(z))[:10]]
        assert [result.id for result in index.query(material(seed=1)[0][7])] == best.tolist()
        assert [name[0] for name in best].count("i") > 5

    def test_items_go_through_the_encoder_and_roles(self, store):
        text, image = material()
        aligner = C3Aligner(second_moments=True).fit(text, image).partial_fit(text + 0.2, modality="query")
        index = MixedIndex(Encoder(), aligner, store, query="query", roles={"query": "text"})
        index.add(["5", "6"], modality="image", ids=["a", "b"])
        by_item, by_row = index.query("5"), index.query(material(seed=1)[0][5])
        assert by_item == by_row
        assert by_item[0].id == "a"
        with pytest.raises(C3AlignError, match="items must be floating rows"):
            MixedIndex(None, C3Aligner(second_moments=True).fit(text, image), search.FaissStore()).query("5")

    def test_one_threshold(self, fitted, store):
        index = filled(fitted, store)
        limit = fitted.calibrate().threshold(false_positive_rate=0.05, query="text")
        every = index.query(material(seed=1)[0][7], k=900)
        some = index.query(material(seed=1)[0][7], k=900, max_false_positive_rate=0.05)
        assert some == [result for result in every if result.z > limit]
        assert 0.02 < len(some) / 900 < 0.10
        assert some[0].id == "t7"

    def test_filters(self, fitted, store):
        index = filled(fitted, store)
        found = index.query(material(seed=1)[0][7], filter={"modality": "image", "even": False})
        assert found[0].id == "i7"
        assert {result.modality for result in found} == {"image"}
        assert not any(result.metadata["even"] for result in found)

    def test_probabilities_where_pairs_were_learned(self, fitted, store):
        index = filled(fitted, store)
        assert index.query(material(seed=1)[0][7])[0].probability is None
        text, image = (fitted.transform(rows, modality=m) for m, rows in zip(("text", "image"), material(seed=2)))
        known = fitted.calibrate().with_pairs(text, image, query="text", document="image")
        found = MixedIndex(Encoder(), fitted, store, calibration=known).query(material(seed=1)[0][400])
        chances = [result.probability for result in found if result.modality == "image"]
        assert found[0].id == "i400"
        assert chances[0] > 0.5 > chances[1]
        again = MixedIndex(Encoder(), fitted, store).query(material(seed=1)[0][400])
        assert again == found
        other = C3Aligner(second_moments=True).fit(*material()).calibrate()
        with pytest.raises(C3AlignError, match="calibration must be the one that the index was made with"):
            MixedIndex(Encoder(), fitted, store, calibration=other)

    def test_documents_of_two_modalities(self, fitted, store):
        text, image = material(seed=3)
        fused = {"image+text": {"image": image, "text": text}}
        calibration = search.calibrate_fused(fitted, fused)
        index = filled(fitted, store, calibration=calibration)
        own_text, own_image = material(seed=1)
        both = {"image": own_image[500:], "text": own_text[500:]}
        index.add(both, modality="image+text", ids=[f"b{i}" for i in range(500, N)])
        found = index.query(own_text[510])
        assert found[0].id == "b510"
        assert found[0].modality == "image+text"
        again = MixedIndex(Encoder(), fitted, store)
        assert again.query(own_text[510]) == found
        share = np.mean([r.modality == "image+text" for row in text[:50] for r in again.query(row)])
        assert 0.04 < share < 0.25  # of 1,000 rows 100
        with pytest.raises(C3AlignError, match="fused documents must have a name of their own"):
            search.calibrate_fused(fitted, {"text": both})

    def test_another_encoder_or_aligner_is_refused(self, fitted, opened):
        filled(fitted, opened())
        other = Encoder()
        other.fingerprint = "by number@2"
        with pytest.raises(EncoderMismatchError, match=r"encoder 'by number@1', and these come from 'by"):
            MixedIndex(other, fitted, opened())
        with pytest.raises(EncoderMismatchError, match="encoder 'by number@1', and these come from None"):
            MixedIndex(None, fitted, opened())
        later = C3Aligner(mapping="barycenter").fit(*material(seed=5))
        with pytest.raises(EncoderMismatchError, match="rows of the aligner"):
            MixedIndex(Encoder(), later, opened())
        changed = C3Aligner.from_bytes(fitted.to_bytes()).set_params(mapping="coral")
        with pytest.raises(EncoderMismatchError, match="rows of the mapping"):
            MixedIndex(Encoder(), changed, opened())
        with pytest.raises(EncoderMismatchError, match="rows scaled for queries of 'text', and not of 'image'"):
            MixedIndex(Encoder(), fitted, opened(), query="image")
        louder = C3Aligner.from_bytes(fitted.to_bytes()).set_params(noise_cosine=0.3)
        assert len(MixedIndex(Encoder(), louder, opened())) == 900

    def test_an_aligner_of_another_encoder_is_refused(self, store):
        bound = C3Aligner(second_moments=True).fit(*material()).bind_encoder("another@1")
        with pytest.raises(EncoderMismatchError, match="the aligner learned from the encoder another@1"):
            MixedIndex(Encoder(), bound, store)
        assert store.about() is None

    def test_rows_of_others_are_refused(self, fitted, store):
        store.add(Batch(["a"], ["text"], np.ones((1, DIMS), np.float32), [{}]))
        with pytest.raises(C3AlignError, match="the store holds rows of unknown origin"):
            MixedIndex(Encoder(), fitted, store)
        store.set_about({"format": "another"})
        with pytest.raises(FormatError, match="rows that no MixedIndex of this version has written"):
            MixedIndex(Encoder(), fitted, store)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n_scores", 0),
            ("n_scores", 10**30),
            ("means", 10**400),
            ("means", float("nan")),
            ("deviations", 1e-300),
            ("uses_quantiles", "false"),
            ("modalities", ["text", "image"]),
            ("quantiles", 2.0),
        ],
    )
    def test_a_calibration_that_contradicts_itself_is_refused(self, fitted, name, value):
        about = search_card.card("encoder", fitted, "text", fitted.calibrate())
        assert str(search_card.calibration_of(about)) == str(fitted.calibrate())
        given = about["calibration"]
        if isinstance(given[name], list) and name != "modalities":
            given[name] = np.full(np.shape(given[name]), value, object).tolist()
        else:
            given[name] = value
        with pytest.raises(FormatError, match="the calibration of the index is damaged"):
            search_card.calibration_of(about)

    @pytest.mark.parametrize("place", ["deviations", "quantiles", "n_pairs"])
    def test_a_damaged_calibration_is_refused(self, fitted, store, place):
        MixedIndex(Encoder(), fitted, store)
        about = store.about()
        about["calibration"][place] = about["calibration"][place][:1]
        store.set_about(about)
        with pytest.raises(FormatError, match="the calibration of the index is damaged"):
            MixedIndex(Encoder(), fitted, store)

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"items": np.full((2, DIMS), np.nan, "f4")}, "NaN"),
            ({"items": np.ones((2, 5), "f4")}, "rows must have 32 dimensions, got 5"),
            ({"items": np.zeros((2, DIMS), "f4")}, "row 0"),
            ({"items": np.ones((3, DIMS), "f4")}, "items must be as many as ids, got 3 and 2"),
            ({"ids": ["a", "a"]}, "ids must be unlike each other, got 'a' twice"),
            ({"ids": ["a", "t3"]}, "ids must be new, got 't3'"),
            ({"ids": ["a", ""]}, "ids must be a list of strings that are not empty"),
            ({"ids": "ab"}, "ids must be a list of strings"),
            ({"ids": ["a", 1]}, "ids must be a list of strings"),
            ({"metadata": [{"x": float("nan")}, {}]}, "metadata must be JSON objects"),
            ({"metadata": [{"x": b""}, {}]}, "metadata must be JSON objects"),
            ({"metadata": [{1: "a", "x": "b"}, {}]}, "got others .a name that is no text, 1"),
            ({"metadata": [{}]}, "metadata must be 2 objects"),
            ({"metadata": [{"modality": "x"}, {}]}, "without the name 'modality'"),
            ({"modality": "audio"}, "modality must be one that was calibrated"),
        ],
    )
    def test_what_is_wrong_changes_nothing(self, fitted, store, change, text):
        index = filled(fitted, store)
        before = [batch.rows.tobytes() for batch in store.scan()]
        given = {"items": material(2, seed=9)[0], "modality": "text", "ids": ["a", "b"], **change}
        with pytest.raises(C3AlignError, match=text):
            index.add(given.pop("items"), **given)
        assert [batch.rows.tobytes() for batch in store.scan()] == before
        assert len(index) == store.count() == 900

    def test_an_addition_is_completed(self, fitted, store):
        index = filled(fitted, store)
        names, rows = [f"t{i}" for i in range(298, 305)], material(seed=1)[0][298:305]
        assert index.add(rows, modality="text", ids=names, skip_known=True) == 5
        assert index.add(list("0123456"), modality="text", ids=names, skip_known=True) == 0
        assert len(index) == 905
        assert index.query(rows[-1])[0].id == "t304"

    def test_a_faiss_file_is_whole(self, fitted, tmp_path):
        stores.require("faiss")
        path = tmp_path / "rows.faiss"
        index = filled(fitted, search.FaissStore(path))
        index.store.save()
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(FormatError):
            search.FaissStore(path)
        with pytest.raises(C3AlignError, match="path must name a file to save to"):
            search.FaissStore().save()

    def test_a_faiss_file_of_two_writers(self, fitted, tmp_path):
        """The second to save would erase what the first saved."""
        stores.require("faiss")
        path = tmp_path / "rows.faiss"
        first, second = (search.MixedIndex(None, fitted, search.FaissStore(path)) for _ in range(2))
        for index, part in ((first, slice(0, 5)), (second, slice(5, 7))):
            index.add(material()[1][part], modality="image", ids=[str(i) for i in range(7)][part])
        first.store.save()
        with pytest.raises(C3AlignError, match="written by another store since it was read here; make this one anew"):
            second.store.save()
        first.store.save()
        assert search.FaissStore(path).ids() == set("01234")
        path.unlink()
        second.store.save()
        assert search.FaissStore(path).ids() == set("56")


def test_an_absent_package_is_named(monkeypatch, tmp_path):
    for module in ("faiss", "lancedb", "qdrant_client", "qdrant_client.models", "psycopg"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[search\]'"):
        search.FaissStore()
    with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[search\]'"):
        search.LanceStore(tmp_path)
    with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[qdrant\]'"):
        search.QdrantStore(None)
    with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[pgvector\]'"):
        search.PgvectorStore("")


def test_nothing_of_the_stores_is_imported_before_it_is_used():
    code = "import sys, c3align.search; print({'lancedb', 'faiss', 'psycopg', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def nested(depth):
    found = {}
    for _ in range(depth):
        found = {"a": found}
    return found


class TestOdd:
    """What is not right is refused alike by every store, in one line, and the index is what it was."""

    def test_ids_metadata_and_items(self, fitted, opened):
        index, rows = MixedIndex(Encoder(), fitted, opened()), material(seed=1)[0]
        index.add(rows[:3], modality="text", ids=["a", "b", "c"])
        good = {"modality": "text", "ids": ["d"]}
        for ids in (["d\ud800"], ["d\0"], [" "], ["d" * 2001], "d", 5, None, [5]):
            with pytest.raises(C3AlignError, match="ids must be "):
                index.add(rows[:1], **{**good, "ids": ids})
        for about in (
            *(nested(depth) for depth in (65, 10_000)),
            *(
                {"x": value}
                for value in (float("nan"), float("inf"), "\udc80", "a\0b", 2**63, {"\ud800": 1}, [-(2**70)])
            ),
            *(None, [("x", 1)], "x"),
        ):
            with pytest.raises(C3AlignError, match="metadata must be JSON objects that every store can hold"):
                index.add(rows[:1], **good, metadata=[about])
        for items, modality in ((5, "text"), (rows[:1], ["text"]), (rows[:1], "audio")):
            with pytest.raises(C3AlignError, match=r"(items|modality) must be"):
                index.add(items, ids=["d"], modality=modality)
        assert (len(index), index.store.ids()) == (3, {"a", "b", "c"})
        about = {"deep": nested(60), "least": -(2**63), "most": 2**63 - 1, "text": "\U0001f600 '\"\\"}
        assert index.add(rows[3:4], **good, metadata=[about]) == 1
        assert index.query(rows[3], k=1)[0].metadata == about

    def test_k_and_filters(self, fitted, opened):
        index, rows = MixedIndex(Encoder(), fitted, opened()), material(seed=1)[0]
        index.add(rows[:3], modality="text", ids=["a", "b", "c"], metadata=[{"n": i} for i in range(3)])
        for k in (0, -1, True, 2.0, None, "3"):
            with pytest.raises(C3AlignError, match="k must be an integer of 1 or more"):
                index.query(rows[0], k=k)
        for k in (3, np.int64(3), 2**40, 2**70):
            assert [result.id for result in index.query(rows[0], k=k)][:1] == ["a"]
            assert len(index.query(rows[0], k=k)) == 3
        for filter in (["n"], "n = 1", 5, {"n": {"$gt": 1}}, {"n": None}, {"n": 0.5}, {5: 1}, {"n": 10**5000}):
            with pytest.raises(C3AlignError, match=r"^filter must map names to strings, whole numbers or bools, got "):
                index.query(rows[0], filter=filter)
        for filter in ({"n": "\ud800"}, {"n\0": 1}, {"modality": 5}):
            with pytest.raises(C3AlignError, match="filter must "):
                index.query(rows[0], filter=filter)
        assert index.query(rows[0], filter={"'\"\\": "'; -- %s"}) == []

    @pytest.mark.parametrize("fault", ["absent", "empty", "cut", "other", "a file", "no table"])
    def test_a_damaged_folder_of_lancedb(self, fitted, tmp_path, fault):
        stores.require("lance")
        index = MixedIndex(Encoder(), fitted, search.LanceStore(tmp_path / "idx"))
        index.add(material(seed=1)[0], modality="text", ids=[f"t{i}" for i in range(N)])
        (path,) = (tmp_path / "idx" / "rows.lance" / "data").iterdir()
        if fault == "absent":
            path.unlink()
        elif fault in ("empty", "cut", "other"):
            content = path.read_bytes()
            path.write_bytes({"empty": b"", "cut": content[:500], "other": bytes(len(content))}[fault])
        else:
            path = next((tmp_path / "idx" / "rows.lance" / "_versions").glob("*.manifest"))
            path.write_bytes(b"no table" * 20)
        if fault == "a file":
            (tmp_path / "x").write_text("x")
        place = tmp_path / ("x" if fault == "a file" else "idx")

        def use():
            opened = MixedIndex(Encoder(), fitted, search.LanceStore(place))
            list(opened.store.scan())

        with pytest.raises(
            C3AlignError, match=r"cannot be used by LanceDB .* restore them from a copy, or index"
        ) as told:
            use()
        assert str(place) in str(told.value)
        assert "\n" not in str(told.value)


MAKES = """
import sys, time
from pathlib import Path
import numpy as np
from c3align import C3Aligner
from c3align.errors import C3AlignError
from c3align.search import MixedIndex
from tests import stores
from tests.test_search import material
name, place, address, seed = sys.argv[1:]
aligner = C3Aligner(mapping="barycenter").fit(*material(seed=int(seed)))
store = stores.open_store(name, Path(place), address)
print("ready", flush=True)
sys.stdin.readline()
try:
    index = MixedIndex(None, aligner, store)
    index.add(material(seed=9)[0][:5], modality="text", ids=[f"{seed} {i}" for i in range(5)])
    print("made")
except C3AlignError as error:
    print(error)
"""


def test_two_makers_of_one_index(opened, tmp_path, request):
    """With two aligners at once: one makes it, the other is refused, and all rows are those of one."""
    if opened.name not in ("lance", "pgvector"):
        pytest.skip("of this store each process has its own")
    stores.close(opened())
    where = request.getfixturevalue("address") if opened.name == "pgvector" else ""
    children = [Child(MAKES, opened.name, tmp_path, where, seed) for seed in (0, 1)]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 2
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    told = sorted(child.communicate()[0] for child in children)
    assert told[0] == "made\n"
    assert "the index holds rows of the aligner" in told[1]
    assert len(opened().ids()) == 5
