"""Every kind of file that rows are read from is the same rows: dtypes, columns, patterns, URLs."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from c3align import C3Aligner, cli
from c3align.errors import C3AlignError
from c3align.io import opening, tables
from c3align.io.columns import Column
from c3align.io.rows import RowSource
from c3align.io.shards import open_sources
from tests.test_ops import raw

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(1, 1, (60, 12)).astype(np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lists(rows, fixed=True):
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1]) if fixed else pa.array(list(rows))


def parquet(name, rows, fixed=True, column="embedding", **options):
    columns = {"id": list(range(len(rows))), column: lists(rows, fixed), "caption": ["a text"] * len(rows)}
    pq.write_table(pa.table(columns), name, **options)


def npy_bytes(rows):
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def as_read(given, **how):
    return np.concatenate([block for _, block in RowSource.open([given], **how).blocks(7)])


class TestParquet:
    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
    @pytest.mark.parametrize("fixed", [True, False])
    @pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"use_dictionary": False}])
    def test_every_kind_of_list(self, rows, here, dtype, fixed, options):
        rows = rows.astype(dtype)
        parquet("x.parquet", rows, fixed, row_group_size=23, **options)
        source = RowSource.of("x.parquet")
        assert (source.shape, source.dtype) == ((60, 12), rows.dtype.name)
        assert raw(as_read("x.parquet")) == raw(rows)
        numbers = np.array([59, 0, 31, 31, 4])
        assert raw(source.take(numbers).astype(dtype)) == raw(rows[numbers])

    @pytest.mark.parametrize("step", [1, 5, 100])
    def test_jumps(self, rows, here, step):
        parquet("x.parquet", rows, row_group_size=23)
        column = Column("x.parquet")
        column.step = step
        for start, stop in ((50, 60), (0, 5), (5, 9), (20, 30), (29, 30), (46, 47), (0, 60), (60, 60)):
            assert raw(column[start:stop]) == raw(rows[start:stop])
        assert raw(column[::7]) == raw(rows[::7])
        assert raw(pickle.loads(pickle.dumps(column))[3:9]) == raw(rows[3:9])

    def test_which_column(self, rows, here):
        table = pa.table({"image": lists(rows), "text": lists(-rows), "n": [1] * 60})
        pq.write_table(table, "x.parquet")
        with pytest.raises(C3AlignError, match=r"column of embeddings; it has the columns .* 'image', 'text'; pass"):
            RowSource.of("x.parquet")
        assert raw(as_read("x.parquet#text")) == raw(as_read("x.parquet", column="text")) == raw(-rows)
        assert raw(as_read("*.parquet#image")) == raw(rows)
        with pytest.raises(C3AlignError, match=r"and not 'n'; it has the columns"):
            RowSource.of("x.parquet#n")
        np.save("x.npy", rows)
        with pytest.raises(C3AlignError, match=r"--column is about .parquet; omit it"):
            RowSource.of("x.npy#n")
        Path("x.parquet").rename("x#1.parquet")
        assert raw(as_read("x#1.parquet", column="text")) == raw(-rows)

    @pytest.mark.parametrize(
        ("column", "text"),
        [
            ([[1.0, 2.0], [1.0]], "x.parquet, row 1 has 1 number, and others have 2; remove or fix it"),
            ([[1.0, 2.0]] * 2 + [[1.0, 2.0, 3.0], [4.0]], "x.parquet, row 2 has 3 numbers, and others have 2"),
            ([[1.0, 2.0]] * 5 + [[1.0, None], None], "x.parquet, row 5 holds a null"),
            ([[1.0, 2.0]] * 5 + [None, [1.0]], "x.parquet, row 5 is null"),
            ([None, None, [1.0, 2.0]], "x.parquet, row 0 is null"),
            (pa.array([[1.0, 2.0]] * 3 + [None], pa.list_(pa.float32(), 2)), "x.parquet, row 3 is null"),
            (["a"], "has no lists of floats"),
            ([[1, 2]], "has no lists of floats"),
        ],
    )
    def test_what_holds_no_rows(self, here, column, text):
        pq.write_table(pa.table({"x": column}), "x.parquet", row_group_size=2)
        with pytest.raises(C3AlignError, match=text):
            RowSource.of("x.parquet").read(0, 9)

    def test_a_file_that_changes(self, rows, here):
        parquet("x.parquet", rows)
        column = Column("x.parquet")
        parquet("x.parquet", -rows)
        with pytest.raises(C3AlignError, match=r"was changed while it was read"):
            column.read(0, 60)

    @pytest.mark.parametrize("kind", ["numbers", "texts", "both"])
    def test_pairs_by_a_column(self, rows, here, capsys, kind):
        """Partners in another order: `fit` is that of rows in order, and `report` takes them too."""
        text = rows @ np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0].astype(np.float32) + 1
        order = np.random.default_rng(2).permutation(60)
        for name, X, numbers, is_text in (
            ("text", text, np.arange(60), kind == "texts"),
            ("image", rows[order], order, kind != "numbers"),
        ):
            ids = [str(n) for n in numbers] if is_text else pa.array(numbers)
            pq.write_table(pa.table({"item": ids, "e": lists(X)}), f"{name}.parquet", row_group_size=23)
        C3Aligner().fit(text, rows).save_pretrained("whole")
        assert cli.run(["fit", "text.parquet", "--pair", "image.parquet", "--on", "item", "-o", "al"]) == 0
        assert "60 pairs by their item" in capsys.readouterr().out
        assert Path("al/aligner.safetensors").read_bytes() == Path("whole/aligner.safetensors").read_bytes()
        assert cli.run(["report", "text.parquet", "image.parquet", "--on", "item"]) == 0
        assert "60 pairs by their item" in capsys.readouterr().err

    def test_several_of_one_side_and_of_both(self, rows, here, capsys):
        for name, ids in (("a", [0, 0, 1, 1]), ("b", [1, 0, 7, 8]), ("c", [0, 2, 2, 1])):
            pq.write_table(pa.table({"id": ids, "e": lists(rows[:4])}), f"{name}.parquet")
        assert cli.run(["fit", "a.parquet", "--pair", "b.parquet", "--on", "id", "-o", "al"]) == 0
        told = "4 pairs by their id; left out, as without a partner, 2 of b.parquet: 7, 8"
        assert told in capsys.readouterr().out
        assert cli.run(["fit", "c.parquet", "--pair", "a.parquet", "--on", "id", "-o", "no"]) == 2
        told = "several rows of c.parquet and several of a.parquet have one 'id' (c.parquet, row 2 has '2' once more)"
        assert told in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("ids", "text"),
        [
            (["a", None, "b"], "x.parquet, row 1 has nothing in the column 'id'; write a text or a whole number there"),
            ([0.5, 1.5, 2.5], "x.parquet, row 0 has a float in the column 'id'"),
            (None, "x.parquet has no column 'id' among 'e'; pass one that it has"),
        ],
    )
    def test_columns_that_name_no_rows(self, rows, here, capsys, ids, text):
        np.save("y.npy", rows[:3])
        columns = {"e": lists(rows[:3])} | ({} if ids is None else {"id": ids})
        pq.write_table(pa.table(columns), "x.parquet")
        assert cli.run(["fit", "x.parquet", "--pair", "x.parquet", "--on", "id", "-o", "al"]) == 2
        assert text in capsys.readouterr().err
        assert cli.run(["fit", "y.npy", "--pair", "y.npy", "--on", "id", "-o", "al"]) == 2
        assert "y.npy, row 0 is neither of a tree that c3align embed wrote nor of a .parquet" in capsys.readouterr().err

    def test_one_long_name_of_many_rows_is_in_memory_once(self, rows, here):
        long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(60, np.int32)), ["a" * 10_000_000])
        pq.write_table(pa.table({"e": lists(rows[:60]), "id": long}), "x.parquet", store_schema=False)
        names = RowSource.open(["x.parquet#e"]).parts[0].names("id")
        assert (len(names), len({id(name) for name in names})) == (60, 1)

    def test_files_and_groups_without_rows(self, rows, here, capsys):
        """As Spark writes them where a partition is empty: of lists, whose length nothing then tells."""
        kind = pa.list_(pa.float32())
        parquet("part-0.parquet", rows[:20], fixed=False)
        pq.write_table(pa.table({"embedding": pa.array([], kind)}), "part-1.parquet")
        pq.ParquetWriter("part-2.parquet", pa.schema({"embedding": kind})).close()
        with pq.ParquetWriter("part-3.parquet", pa.schema({"embedding": kind})) as writer:
            for part in (rows[20:40], rows[:0], rows[40:], rows[:0]):
                writer.write_table(pa.table({"embedding": pa.array(part.tolist(), kind)}))
        assert np.array_equal(as_read("part-*.parquet"), rows)
        assert np.array_equal(RowSource.open(["part-1.parquet", "part-0.parquet"]).read(0, 20), rows[:20])
        assert cli.run(["fit", "part-*.parquet", "-o", "al"]) == 0
        assert C3Aligner.from_pretrained("al").to_bytes() == C3Aligner().fit(rows).to_bytes()
        assert cli.run(["transform", "part-*.parquet", "-a", "al", "-o", "out"]) == 0
        assert cli.run(["transform", "part-1.parquet", "-a", "al", "-o", "none.parquet"]) == 2
        assert "part-1.parquet holds no rows; pass some" in capsys.readouterr().err
        aligned = C3Aligner().fit(rows).transform(rows, modality="text")
        assert np.array_equal(as_read("out/part-*.parquet"), aligned)
        assert [pq.read_table(path).num_rows for path in sorted(Path("out").glob("*.parquet"))] == [20, 0, 0, 40]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_one_width_and_two_dtypes(rows, here, order):
    """The advice is Python that makes one dtype of them."""
    np.save("a.npy", rows.astype(np.float16))
    np.save("b.npy", rows)
    files = [f"{name}.npy" for name in order]
    with pytest.raises(C3AlignError) as error:
        RowSource.open(files)
    told, fix = str(error.value).split("; convert one in Python: ")
    assert "float16" in told
    subprocess.run([sys.executable, "-c", fix], check=True)
    assert RowSource.open(files).dtype == "float32"
    for name in order:
        np.save(f"{name}.npy", np.load(f"{name}.npy")[:, : 12 if name == "a" else 9])
    with pytest.raises(C3AlignError, match="pass files of one encoder and dtype"):
        RowSource.open(files)


class TestNumbers:
    @pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8"])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_swapped_bytes(self, rows, here, dtype, order):
        rows = rows.astype(dtype, order=order)
        np.save("x.npy", rows)
        assert raw(as_read("x.npy")) == raw(np.ascontiguousarray(rows, rows.dtype.newbyteorder("=")))
        assert raw(RowSource.of("x.npy").take([7, 3])) == raw(rows[[7, 3]].astype("f8" if dtype == ">f8" else "f4"))

    def test_int8_in_steps(self, here):
        steps = np.random.default_rng(0).integers(-127, 128, (60, 12)).astype(np.int8)
        np.save("x.npy", steps)
        assert raw(as_read("x.npy", scale=0.5)) == raw(steps * np.float32(0.5))
        with pytest.raises(C3AlignError, match=r"x.npy has dtype int8; convert it, or, to commands"):
            RowSource.of("x.npy")
        np.save("y.npy", steps.astype(np.float32))
        for scale in (0.0, -1.0, np.nan, np.inf):
            with pytest.raises(C3AlignError, match="--scale must be a finite number above 0"):
                RowSource.open(["x.npy"], scale=scale)
        with pytest.raises(C3AlignError, match=r"y.npy must be int8 to have a scale, got float32; omit --scale"):
            RowSource.open(["y.npy"], scale=0.5)

    def test_bfloat16(self, rows, here):
        torch = pytest.importorskip("torch")
        from safetensors.torch import save_file as save_tensors

        tensor = torch.from_numpy(rows).bfloat16()
        save_tensors({"rows": tensor}, "x.safetensors")
        assert raw(as_read("x.safetensors")) == raw(tensor.float().numpy())


class TestNames:
    def test_all_below_a_folder(self, rows, here):
        for i, name in enumerate(("a/x_10.npy", "a/b/x_2.npy", "a/x_9.npy")):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            np.save(name, rows[20 * i : 20 * i + 20])
        Path("a/metadata").mkdir()
        pq.write_table(pa.table({"caption": ["x"]}), "a/metadata/metadata_0.parquet")
        (Path("a") / "metadata" / "m.npy").write_bytes(Path("a/x_9.npy").read_bytes())
        Path("a/note.txt").write_text("hello")
        np.save("a/.hidden.npy", rows)
        source = RowSource.of("a/**")
        assert source.paths == ("a/b/x_2.npy", "a/x_9.npy", "a/x_10.npy")
        assert RowSource.of("a/**/*.npy").paths == source.paths
        assert open_sources(["a"])[0].paths == ("a/x_9.npy", "a/x_10.npy")
        for name in ("a/x_9.npy", "a/x_10.npy"):
            Path(name).unlink()
        assert open_sources(["a"])[0].paths == ("a/b/x_2.npy",)
        Path("a/b/x_2.npy").unlink()
        with pytest.raises(C3AlignError, match=r"a holds no embeddings"):
            open_sources(["a"])

    def test_many_files_of_one_row(self, rows, here):
        """Blocks across files keep the dtype, and find their files at once."""
        half = rows.astype(np.float16)
        Path("a").mkdir()
        for i, row in enumerate(half):
            np.save(f"a/{i}.npy", row[None] if i % 3 else half[:0])
        source = RowSource.of("a")
        kept = half[[i for i in range(60) if i % 3]]
        assert raw(np.concatenate([block for _, block in source.blocks(7)])) == raw(kept)
        assert source.where(0) == "a/1.npy, row 0"
        assert source.where(39) == "a/59.npy, row 0"


class TestUrls:
    @pytest.fixture
    def memory(self):
        files = pytest.importorskip("fsspec").filesystem("memory")
        yield files
        files.store.clear()
        files.pseudo_dirs[:] = [""]

    def test_every_kind(self, rows, here, memory):
        memory.pipe("/e/x_2.npy", npy_bytes(rows[:20]))
        memory.pipe("/e/x_10.npy", npy_bytes(rows[20:]))
        save_file({"rows": rows}, "x.safetensors")
        parquet("x.parquet", rows, row_group_size=23)
        for name in ("x.safetensors", "x.parquet"):
            memory.pipe(f"/f/{name}", Path(name).read_bytes())
        for given in ("memory://e", "memory://e/*.npy", "memory://e/**", "memory://f/x.safetensors"):
            assert raw(as_read(given)) == raw(rows)
        assert raw(as_read("memory://f/x.parquet")) == raw(as_read("memory://f/x.parquet#embedding")) == raw(rows)
        assert open_sources(["memory://e"])[0].paths == ("memory:///e/x_2.npy", "memory:///e/x_10.npy")

    def test_one_file_and_a_folder_of_one(self, rows, here, memory):
        """The commands took the first for a local path, and refused both."""
        for name in ("b/emb.npy", "f/x.npy"):
            memory.pipe(f"/{name}", npy_bytes(rows))
        C3Aligner().fit(rows).save_pretrained("al")
        expected = raw(C3Aligner().fit(rows).transform(rows, modality="text"))
        for given, output, file in (
            ("memory://b/emb.npy", "z", "z"),
            ("memory://f", "out", "out/x.npy"),
            ("memory://f/*.npy", "z2.npy", "z2.npy"),
        ):
            assert cli.run(["transform", given, "-a", "al", "--modality", "text", "-o", output]) == 0
            assert raw(np.load(file)) == expected

    def test_no_more_is_asked_for_than_is_read(self, rows, memory, monkeypatch):
        memory.pipe("/e/x.npy", npy_bytes(np.concatenate([rows] * 1000)))
        source, n_read = RowSource.of("memory://e/x.npy"), []
        real = opening.in_parts

        def counted(name):
            file = real(name)
            read = file.readinto
            file.readinto = lambda into: n_read.append(len(into)) or read(into)
            return file

        monkeypatch.setattr(opening, "in_parts", counted)
        source.read(30_000, 30_100)
        assert sum(n_read) == 100 * 12 * 4

    def test_what_is_wrong_with_them(self, rows, memory):
        memory.pipe("/e/x.npy", npy_bytes(rows))
        source = RowSource.of("memory://e/x.npy")
        memory.pipe("/e/x.npy", npy_bytes(-rows))
        with pytest.raises(C3AlignError, match=r"was changed while it was read"):
            source.read(0, 5)
        memory.pipe("/e/x.npy", npy_bytes(rows)[:-5])
        with pytest.raises(C3AlignError, match=r"not a whole file of numbers"):
            RowSource.of("memory://e/x.npy")
        for absent in ("memory://e/absent.npy", "nonsense://x.npy"):
            with pytest.raises((C3AlignError, OSError), match=r"absent|nonsense"):
                RowSource.of(absent)


def test_a_model_among_embeddings_is_named(rows, tmp_path):
    """In one line, however many tensors it has."""
    save_file({f"mapper.{i}": rows for i in range(30)}, tmp_path / "captioner.safetensors")
    np.save(tmp_path / "x.npy", rows)
    found = r"captioner\.safetensors .* got 30, first 'mapper\.0'; .*move it elsewhere"
    with pytest.raises(C3AlignError, match=found) as told:
        open_sources([str(tmp_path)])
    assert len(str(told.value)) < 400 + len(str(tmp_path))


def test_columns_with_dots_and_columns_of_one_name(rows, tmp_path):
    """A dot is a letter of a name, not a step into a struct; which of two columns of one name is meant nobody knows."""
    path = str(tmp_path / "x.parquet")
    for names in (["a.b"], ["a", "a.b"], ["a.b", "a"]):
        pq.write_table(pa.table({name: list(rows * len(name)) for name in names}), path)
        for name in names:
            found = RowSource.open([f"{path}#{name}"])
            np.testing.assert_array_equal(found.read(0, len(rows)), rows * len(name))
    pq.write_table(pa.Table.from_arrays([pa.array(list(rows))] * 2, names=["v", "v"]), path)
    with pytest.raises(C3AlignError, match="has two columns of the name 'v'; rename one"):
        RowSource.open([path])
    pq.write_table(pa.Table.from_arrays([pa.array(["x"])] * 2, names=["caption", "caption"]), path)
    with pytest.raises(C3AlignError, match="two columns have one name"):
        list(tables.read(path, lambda names: ["caption"]))
