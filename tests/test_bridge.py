"""Bridges from encoder to encoder, and indexes of raw vectors made aligned ones."""

from __future__ import annotations

import json
import uuid
import warnings

import numpy as np
import pytest

from c3align import C3Aligner, search
from c3align.bridge import Bridge, bridge
from c3align.errors import C3AlignError, FormatError, PairOrderWarning
from c3align.io import container
from c3align.search import MixedIndex, migrate, raw_rows
from tests import stores
from tests.test_search import DIMS, N, material

RAW = ("--table", "photos", "--id", "name", "--vector", "clip")
COLUMNS = {"id_column": "name", "vector_column": "clip", "modality_column": "kind"}


@pytest.fixture(scope="module")
def address():
    with stores.postgres() as found:
        yield found


def towers(kind, seed=0, n=1000):
    """Rows of two encoders of one kind of thing: a rotation, or a distortion, and noise."""
    rng = np.random.default_rng(seed)
    old = rng.normal(size=(n, 24)) * np.geomspace(1, 0.3, 24) + 0.5
    if kind == "procrustes":
        linear = np.linalg.qr(rng.normal(size=(32, 24)))[0].T
    else:
        linear = rng.normal(size=(24, 32)) * np.geomspace(2, 0.2, 24)[:, None]
    return old, old @ linear + 0.01 * rng.normal(size=(n, 32)) - 0.3


class TestBridge:
    @pytest.mark.parametrize("kind", ["procrustes", "ridge"])
    def test_the_better_one_is_chosen_and_recall_is_stated(self, kind):
        old, new = towers(kind)
        n = 100 if kind == "procrustes" else 700  # few rows determine a rotation sooner
        found = bridge(old[:n], new[:n])
        assert found.kind == kind
        moved = found.apply(old[700:])
        target = new[700:] / np.linalg.norm(new[700:], axis=1, keepdims=True)
        np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-6)
        best, mine = (np.argsort(-(target @ rows.T - 9 * np.eye(300)), axis=1)[:, :10] for rows in (target, moved))
        recall = np.mean([np.isin(a, b).mean() for a, b in zip(best, mine)])
        assert recall > 0.9
        assert found.recall == pytest.approx(recall, abs=0.1)
        share = f"{found.recall:.1%} of the 10 nearest of new ones, where chance finds {found.chance:.0%}"
        assert str(found) == f"{kind} bridge from {n} items: finds {share}"

    @pytest.mark.parametrize(("n", "chance"), [(50, 10 / 24), (100, 10 / 49), (500, 10 / 99), (1000, 10 / 199)])
    def test_rows_of_other_things_have_no_bridge(self, n, chance):
        rng = np.random.default_rng(0)
        with pytest.warns(UserWarning, match="no bridge was found: .* the same items in the same order"):
            found = bridge(rng.normal(size=(n, 24)), rng.normal(size=(n, 24)))
        assert found.chance == chance
        assert found.recall < 1.3 * chance  # the best of five by chance

    @pytest.mark.parametrize("n", [200, 1000])
    def test_an_item_that_one_side_lacks(self, n):
        """Half of a bridge is learned from others' partners then; right items in the same order are told of nothing."""
        rng, scale = np.random.default_rng(n), np.arange(1.0, 65) ** -0.5
        old = scale * rng.standard_normal((n, 64)) + 0.2
        new = (old + 0.2 * scale * rng.standard_normal(old.shape)) @ np.linalg.qr(rng.standard_normal((64, 64)))[0]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bridge(old, new)
        with pytest.warns(PairOrderWarning, match="with old as X and new as y: from row .* to row"):
            bridge(old[:-1], np.delete(new, n // 2, 0))

    def test_it_is_saved_whole(self, tmp_path):
        found = bridge(*towers("ridge", n=200))
        found.save(tmp_path / "bridge.safetensors")
        again = Bridge.load(tmp_path / "bridge.safetensors")
        assert str(again) == str(found)
        np.testing.assert_array_equal(again.apply(towers("ridge")[0]), found.apply(towers("ridge")[0]))
        content = bytearray((tmp_path / "bridge.safetensors").read_bytes())
        content[-40] ^= 1
        (tmp_path / "bridge.safetensors").write_bytes(content)
        with pytest.raises(FormatError):
            Bridge.load(tmp_path / "bridge.safetensors")

    def test_refusals(self):
        old, new = towers("ridge", n=100)
        with pytest.raises(C3AlignError, match="old and new must be rows of the same items, got 100 and 99"):
            bridge(old, new[:99])
        with pytest.raises(C3AlignError, match="old and new must be of 50 different items or more, got 49"):
            bridge(old[:49], new[:49])
        with pytest.raises(C3AlignError, match="X must have the old encoder's 24 dimensions, got 32"):
            bridge(old, new).apply(new)
        for seed in (-1, "x", 1.5):
            with pytest.raises(C3AlignError, match="seed must be an integer in"):
                bridge(old, new, seed=seed)
        for a, b in ((np.ones_like(old), new), (old, np.ones_like(new))):
            with pytest.raises(C3AlignError, match="50 different items or more, got 1"):
                bridge(a, b)

    def test_equal_items_are_one(self):
        """Else an item would be learned and held out, and the recall be that of what is known."""
        rng = np.random.default_rng(0)
        old, new = rng.normal(size=(2, 60, 24))
        once, thrice = bridge(old, new), bridge(np.tile(old, (3, 1)), np.tile(new, (3, 1)))
        assert (thrice.n_rows, thrice.recall) == (60, once.recall)
        with pytest.raises(C3AlignError, match="50 different items or more, got 40"):
            bridge(np.tile(old[:40], (3, 1)), np.tile(new[:40], (3, 1)))

    def test_bfloat16(self):
        torch = pytest.importorskip("torch")
        old, new = (torch.tensor(rows).bfloat16() for rows in towers("procrustes", n=200))
        expected = bridge(old.float().numpy(), new.float().numpy())
        found = bridge(old, new)
        assert found.recall == expected.recall
        np.testing.assert_array_equal(found.apply(old[:3]), expected.apply(old[:3].float().numpy()))

    def test_odd_files(self, tmp_path):
        found, path = bridge(*towers("ridge", n=100)), tmp_path / "b"
        found.save(path)
        content = path.read_bytes()
        tensors = {"old_mean": found.old_mean, "new_mean": found.new_mean, "linear": found.linear}
        told = {"format": "c3align.Bridge", "format_version": container.SIGNED_SINCE}
        told |= {"kind": found.kind, "recall": found.recall, "n_rows": 100}
        assert container.dump(tensors, told) == content
        wrong = [
            b"",
            content[:9],
            content[: len(content) // 2],
            b"hello world" * 50,
            C3Aligner().fit(found.linear).to_bytes(),
        ]
        for change in (
            {"kind": 5},
            {"recall": "x"},
            {"recall": 7.0},
            {"n_rows": -3},
            {"n_rows": [1]},
            {"n_rows": None},
        ):
            wrong.append(container.dump(tensors, {**told, **change}))
        for bad in wrong:
            path.write_bytes(bad)
            with pytest.raises(FormatError, match="; save "):
                Bridge.load(path)
        with pytest.raises(FormatError, match="is a folder and must be a file"):
            Bridge.load(tmp_path)


def raw_index(kind, place, address):
    """An index as others fill it; returns its address."""
    stores.require(kind)
    text, image = material(seed=1)
    rows = np.concatenate([text[:100], image[:100]])
    kinds, names = ["text"] * 100 + ["image"] * 100, [f"n{i}" for i in range(200)]
    if kind == "lance":
        import lancedb

        records = [
            {"name": i, "clip": row, "kind": m, "price": k} for k, (i, row, m) in enumerate(zip(names, rows, kinds))
        ]
        lancedb.connect(str(place / "raw")).create_table("photos", records)
        return place / "raw"
    import psycopg
    from pgvector.psycopg import register_vector

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        connection.execute("DROP TABLE IF EXISTS photos")
        connection.execute(f"CREATE TABLE photos (name text, clip vector({DIMS}), kind text, price int)")
        for k, (name, row, modality) in enumerate(zip(names, rows, kinds)):
            connection.execute("INSERT INTO photos VALUES (%s, %s, %s, %s)", (name, row, modality, k))
    return address


@pytest.fixture(params=["lance", "pgvector"])
def raw(request, tmp_path):
    """Address of a raw index, and a fresh aligned one beside it."""
    where = request.getfixturevalue("address") if request.param == "pgvector" else None
    found = raw_index(request.param, tmp_path, where)
    return found, lambda: search.open_store(found if where else tmp_path / "new", f"new-{tmp_path.name}")


@pytest.fixture(scope="module")
def fitted():
    return C3Aligner(mapping="barycenter").fit(*material())


class TestMigrate:
    def test_what_was_raw_is_aligned(self, fitted, raw, monkeypatch):
        place, new = raw
        monkeypatch.setattr("c3align.search.places._BLOCK", 64)
        read = lambda: raw_rows(place, "photos", **COLUMNS)  # noqa: E731
        first, calls = MixedIndex(None, fitted, new()), []

        def cut_off(rows):
            calls.append(len(rows))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return rows

        with pytest.raises(KeyboardInterrupt):
            migrate(read, first, moved={"text": cut_off, "image": cut_off})
        assert 0 < len(first) < 200
        done = migrate(read, MixedIndex(None, fitted, new()))
        assert done.n_rows == 200
        assert done.n_added == 200 - sum(calls[:2])
        assert done.difference < 1e-6
        assert migrate(read, MixedIndex(None, fitted, new())) == done._replace(n_added=0)
        found = MixedIndex(None, fitted, new()).query(material(seed=1)[0][7], k=3, filter={"modality": "text"})
        assert (found[0].id, found[0].metadata) == ("n7", {"price": 7})
        other = MixedIndex(None, fitted, search.FaissStore())
        other.add(material(seed=1)[0], modality="text", ids=[f"n{i}" for i in range(N)])
        assert found[0].z == pytest.approx(other.query(material(seed=1)[0][7])[0].z, abs=1e-4)

    @pytest.mark.parametrize("fault", ["a row more", "a row changed", "two rows exchanged"])
    def test_a_difference_is_found(self, fitted, fault, tmp_path):
        place = raw_index("lance", tmp_path, None)
        read = lambda: raw_rows(place, "photos", **COLUMNS)  # noqa: E731
        index = MixedIndex(None, fitted, search.FaissStore())
        text, image = material(seed=1)
        rows = np.concatenate([text[:100], image[:100]])
        if fault == "a row changed":
            rows[3] *= np.where(np.arange(DIMS) == 0, 1.01, 1)
        if fault == "two rows exchanged":
            rows[[3, 4]] = rows[[4, 3]]
        index.add(rows[:100], modality="text", ids=[f"n{i}" for i in range(100)])
        index.add(rows[100:], modality="image", ids=[f"n{i}" for i in range(100, 200)])
        if fault == "a row more":
            index.add(text[:1], modality="text", ids=["more"])
        with pytest.raises(C3AlignError, match="the index must hold the 200 rows of the raw one and no others"):
            migrate(read, index)

    @pytest.mark.parametrize(
        ("column", "value", "text"),
        [
            ("name", None, r"ids must be strings, whole numbers or UUIDs, got None in 'name'; give each row one"),
            ("kind", None, "row 'b' has no modality in 'kind'; write down what each row is"),
            ("price", float("nan"), "row 'b' has nan in 'price', which JSON cannot hold; write null, or remove"),
        ],
    )
    def test_rows_that_lack_something(self, fitted, tmp_path, column, value, text):
        stores.require("lance")
        import lancedb
        import pyarrow as pa

        rows = material(seed=1)[0]
        columns = {"name": ["a", "b"], "kind": ["text"] * 2, "price": [1.0, 2.0], "clip": [rows[0].tolist()] * 2}
        columns[column][1] = value
        columns["clip"] = pa.array(columns["clip"], pa.list_(pa.float32(), DIMS))
        lancedb.connect(str(tmp_path / "raw")).create_table("photos", pa.table(columns))
        index = MixedIndex(None, fitted, search.FaissStore())
        with pytest.raises(C3AlignError, match=text):
            migrate(lambda: raw_rows(tmp_path / "raw", "photos", **COLUMNS), index)
        assert len(index) == 0

    def test_of_qdrant(self, fitted, tmp_path, monkeypatch):
        stores.require("qdrant")
        import qdrant_client
        from qdrant_client import models

        client = qdrant_client.QdrantClient(path=str(tmp_path / "raw"))
        vectors = models.VectorParams(size=DIMS, distance=models.Distance.DOT)
        client.create_collection("photos", vectors_config=vectors)
        rows, names = material(seed=1)[1][:30], [str(uuid.uuid4()) for _ in range(30)]
        points = [
            models.PointStruct(id=i, vector=v.tolist(), payload={"n": k}) for k, (i, v) in enumerate(zip(names, rows))
        ]
        client.upsert("photos", points)
        monkeypatch.setattr(qdrant_client, "QdrantClient", lambda address: client)
        index = MixedIndex(None, fitted, search.FaissStore())
        done = migrate(lambda: raw_rows("http://localhost:6333", "photos", modality="image"), index)
        assert (done.n_rows, done.n_added) == (30, 30)
        assert index.store.ids() == set(names)

    def test_of_qdrant_named_vectors(self, fitted, tmp_path, monkeypatch):
        stores.require("qdrant")
        import qdrant_client
        from qdrant_client import models

        client = qdrant_client.QdrantClient(path=str(tmp_path / "raw"))
        vectors = models.VectorParams(size=DIMS, distance=models.Distance.DOT)
        client.create_collection("photos", vectors_config={"clip": vectors, "dino": vectors})
        client.create_collection("plain", vectors_config=vectors)
        rows = material(seed=1)[1]
        for i in range(5):
            point = {"clip": rows[i].tolist(), "dino": rows[i + 5].tolist()}
            client.upsert("photos", [models.PointStruct(id=i, vector=point)])
            client.upsert("plain", [models.PointStruct(id=i, vector=rows[i].tolist())])
        monkeypatch.setattr(qdrant_client, "QdrantClient", lambda address: client)

        def read(name, **columns):
            return [*raw_rows("http://localhost:6333", name, modality="image", **columns)]

        (batch,) = read("photos", vector_column="dino")
        assert np.abs(batch.rows - rows[5:10]).max() < 1e-6
        for name, columns, text in (
            ("photos", {}, "the points have the vectors 'clip', 'dino'; pass one as --vector"),
            ("plain", {"vector_column": "clip"}, "the points have one vector, and none named 'clip'; omit --vector"),
            ("plain", {"id_column": "name"}, "ids of Qdrant are the points' own, and not in 'name'; omit --id"),
        ):
            with pytest.raises(C3AlignError, match=text):
                read(name, **columns)
        with pytest.raises(C3AlignError, match="the collection 'photos' has named vectors"):
            search.open_store("http://localhost:6333", "photos")

    @pytest.mark.filterwarnings("ignore:Failed to obtain server version")
    @pytest.mark.parametrize("nowhere", ["http://127.0.0.1:9", "postgresql://x@127.0.0.1:9/none"])
    def test_a_server_that_is_not_there(self, fitted, raw, call, tmp_path, monkeypatch, nowhere):
        for name in ("qdrant", "pgvector"):
            stores.require(name)
        monkeypatch.chdir(tmp_path)
        fitted.save_pretrained("al")
        server, names = "Qdrant" if nowhere[0] == "h" else "PostgreSQL", ("--modality", "image", "-a", "al")
        for arguments in ((nowhere, *names, "-o", "new"), (raw[0], *names, *RAW, "-o", nowhere)):
            code, _, err = call("migrate", *arguments)
            assert (code, f"error: {server} refused (" in err) == (2, True)
            assert err.endswith("; check the address and the names\n")
        with pytest.raises(C3AlignError, match=f"{server} refused"):
            search.places.drop_table(nowhere, "rows")

    def test_the_command_and_its_queries(self, fitted, raw, call, tmp_path, monkeypatch):
        """Where the index says what its queries are, that may be omitted, as the message advises."""
        monkeypatch.chdir(tmp_path)
        fitted.save_pretrained("al")
        arguments = ("migrate", raw[0], *RAW, "--modality", "image", "-a", "al", "-o", "new")
        assert call(*arguments, "--query", "image")[0] == 0
        assert call(*arguments)[0] == 0
        code, _, err = call(*arguments, "--query", "text")
        assert (code, "pass that as --query, or omit it" in err) == (2, True)

    def test_the_command(self, fitted, raw, call, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        place, _ = raw
        fitted.save_pretrained("al")
        names = ("--table", "photos", "--id", "name", "--vector", "clip", "--modality-column", "kind")
        arguments = ("migrate", place, *names, "-a", "al", "-o", place, "--to", f"aligned-{tmp_path.name}")
        code, out, err = call(*arguments)
        assert (code, err) == (0, "")
        assert "200 rows, 200 of them now; both sides have one sum of vectors" in out
        code, out, _ = call(*arguments, "--json")
        assert (code, json.loads(out)["n_added"]) == (0, 0)
        assert len(MixedIndex(None, fitted, search.open_store(place, f"aligned-{tmp_path.name}"))) == 200
        assert sum(len(batch.ids) for batch in raw_rows(place, "photos", **COLUMNS)) == 200
        assert call("migrate", place, "--table", "photos", "-a", "al", "-o", "new")[0] == 2
        code, _, err = call("migrate", place, "--table", "photos", "--modality", "text", "-a", "al", "-o", "new2")
        assert (code, "the table must have the column 'id', got " in err) == (2, True)
        kept = call("migrate", place, *names, "-a", "al", "-o", "kept.faiss")
        assert (kept[0], search.FaissStore("kept.faiss").count()) == (0, 200)
        assert call(*arguments, "--drop")[0] == 0
        assert call(*arguments)[0] == 2

    def test_across_encoders(self, raw, call, tmp_path, monkeypatch):
        """Raw rows of an old encoder go over a bridge into an index of the new one."""
        monkeypatch.chdir(tmp_path)
        place, _ = raw
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMS, DIMS)))[0]
        text, image = (rows @ turn for rows in material())
        C3Aligner(mapping="barycenter").fit(text, image).save_pretrained("al")
        for name, rows in (("text", material()[0]), ("image", material()[1])):
            bridge(rows, rows @ turn).save(f"{name}.safetensors")
        names = ("--table", "photos", "--id", "name", "--vector", "clip", "--modality-column", "kind")
        bridges = ("--bridge", "text=text.safetensors", "--bridge", "image=image.safetensors")
        code, _, err = call("migrate", place, *names, "-a", "al", "-o", "doubtful", "--drop")
        assert (code, "the raw table is kept, as the warning casts doubt" in err) == (2, True)
        assert call("migrate", place, *names, "-a", "al", "-o", "new", *bridges, "--drop")[0] == 0
        index = MixedIndex(None, C3Aligner.from_pretrained("al"), search.open_store("new"))
        found = index.query(material(seed=1)[0][7] @ turn, k=1)
        assert found[0].id == "n7"
        assert found[0].cosine > 0.99
