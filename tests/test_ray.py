"""Ray Data: a real cluster of two workers learns the bytes of one machine, with workers lost too.

Of GPUs, of which there may be none, it is tested that actors ask for them and that rows go through torch.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c3align import C3Aligner
from c3align.errors import C3AlignError

ray = pytest.importorskip("ray", reason="ray is not installed")
data = pytest.importorskip("ray.data", reason="ray[data] is not installed")
pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
preprocessors = pytest.importorskip("ray.data.preprocessors")
c3ray = pytest.importorskip("c3align.distributed.ray")

AlignerPreprocessor = c3ray.AlignerPreprocessor
pytestmark = pytest.mark.slow
BOTH = {"text": "words", "image": "picture"}
rng = np.random.default_rng(0)
X = rng.standard_normal((300, 16)).astype("f4")
Y = X + 0.3 * rng.standard_normal(X.shape).astype("f4") + 1


def table(x=X, y=Y):
    """Two columns of embeddings, lists of each kind, and one of numbers with a gap."""
    pictures = pa.FixedSizeListArray.from_arrays(pa.array(y.ravel()), y.shape[1])
    numbers = pa.array([None, *range(1, len(x))], pa.int64())
    return pa.table({"words": pa.array(list(x)), "picture": pictures, "number": numbers})


def whole(ds):
    """The rows of a dataset as one table, as they come."""
    return pa.concat_tables(ray.get(ds.to_arrow_refs())).combine_chunks()


def rows(column):
    return np.stack(column.to_numpy())


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two workers, which stay: Ray would end those that wait for a second, and starting one takes seconds."""
    kept = {"idle_worker_killing_time_threshold_ms": 10**7, "num_workers_soft_limit": 8}
    small = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", log_to_driver=False, _temp_dir=folder, _system_config=kept, **small)
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.shuffle_input_batch_bytes = 1  # small blocks are learned one by one too
        yield
        ray.shutdown()


def taught(x, y, how):
    """One aligner on one machine, of the rows in one piece."""
    if how == "pairs":
        return C3Aligner().fit(x, y)
    return C3Aligner().fit(x) if how == "one" else C3Aligner().fit(x).partial_fit(y, modality="image")


def blocks_of(cuts):
    return [table().slice(a, b - a) for a, b in pairwise([0, *cuts, 300])]


@settings(max_examples=30)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=6).map(sorted),
    how=st.sampled_from(["one", "two", "pairs"]),
    seed=st.randoms(),
)
def test_any_blocks_teach_the_bytes_of_one_machine(cuts, how, seed):
    """What workers do with blocks, combined in any order."""
    known = c3ray._Statistics({"text": "words"} if how == "one" else BOTH, C3Aligner().get_params(), how == "pairs")
    parts = [part for part in map(known.aggregate_block, blocks_of(cuts)) if part is not None]
    while len(parts) > 1:
        a, b = (parts.pop(seed.randrange(len(parts))) for _ in range(2))
        parts.append(known.combine(a, b))
    assert parts == [taught(X, Y, how).to_bytes()]


@pytest.mark.parametrize(("how", "cuts"), [("one", [7]), ("two", [40, 40, 200]), ("pairs", range(0, 300, 50))])
def test_a_cluster_learns_the_bytes_of_one_machine(how, cuts):
    columns = {"text": "words"} if how == "one" else BOTH
    ds = data.from_arrow(blocks_of(cuts)[::-1])
    found = AlignerPreprocessor(columns, pairs=how == "pairs").fit(ds).aligner_
    assert found.to_bytes() == taught(X, Y, how).to_bytes()


def test_lost_workers_change_no_bit(tmp_path, monkeypatch):
    """One dies while it makes a block, one while it learns from one; each is marked, so that it dies once."""

    def dies(name):
        if not (mark := tmp_path / name).exists():
            mark.touch()
            os._exit(1)

    def makes(block):
        if block["number"][0].as_py() == 100:
            dies("making")
        return block

    class Dying(c3ray._Statistics):
        def aggregate_block(self, block):
            if block.num_rows:
                dies("learning")
            return super().aggregate_block(block)

    monkeypatch.setattr(c3ray, "_Statistics", Dying)
    blocks = [table().slice(start, 100) for start in (0, 100, 200)]
    ds = data.from_arrow(blocks).map_batches(makes, batch_format="pyarrow", batch_size=None)
    found = AlignerPreprocessor(BOTH, pairs=True).fit(ds).aligner_
    assert sorted(mark.name for mark in tmp_path.iterdir()) == ["learning", "making"]
    assert found.to_bytes() == C3Aligner().fit(X, Y).to_bytes()


def test_what_is_merged_of_shards_is_the_same():
    parts = [C3Aligner().fit(X[a : a + 90], Y[a : a + 90]) for a in range(0, 300, 90)]
    merged = reduce(lambda a, b: a.merge(b), reversed(parts))
    assert merged.to_bytes() == C3Aligner().fit(X, Y).to_bytes()


@pytest.mark.parametrize("setting", [{"mapping": "quantile"}, {"noise": "residual"}, {"second_moments": True}])
def test_what_else_the_settings_ask_for(setting):
    aligner, paired = C3Aligner(**setting), "noise" in setting
    ds = data.from_arrow(table()).repartition(3)
    found = AlignerPreprocessor(BOTH, pairs=paired, aligner=aligner).fit(ds).aligner_
    alone = aligner.fit(X, Y) if paired else aligner.fit(X).partial_fit(Y, modality="image")
    assert found.get_params() == alone.get_params()
    assert found.statistics_ == alone.statistics_
    assert found.pairs_ == alone.pairs_
    for key, known in {**alone.second_moments_, **alone.covariances_}.items():
        other = {**found.second_moments_, **found.covariances_}[key]
        assert other.covariance == pytest.approx(known.covariance, abs=1e-12)
    if "mapping" in setting:
        assert found.to_bytes() == alone.to_bytes()


def test_transform_touches_no_other_column_and_keeps_kinds():
    ds = data.from_arrow(table()).repartition(4)
    fitted = AlignerPreprocessor(BOTH, output_columns={"text": "aligned", "image": "picture"}).fit(ds)
    found, alone = whole(fitted.transform(ds)), taught(X, Y, "two")
    assert found.column_names == ["words", "picture", "number", "aligned"]
    assert found.drop_columns(["aligned", "picture"]) == table().drop_columns(["picture"])
    assert found.schema.field("aligned").type == found.schema.field("words").type == pa.list_(pa.float32())
    assert found.schema.field("picture").type == table().schema.field("picture").type
    assert np.array_equal(rows(found["aligned"]), alone.transform(X, modality="text"))
    assert np.array_equal(rows(found["picture"]), alone.transform(Y, modality="image"))
    crossed = AlignerPreprocessor(BOTH, aligner=alone, output_columns={"text": "picture", "image": "words"})
    assert np.array_equal(rows(crossed.transform_batch(table())["words"]), alone.transform(Y, modality="image"))
    with pytest.raises(C3AlignError, match="'number', which is there"):
        AlignerPreprocessor(BOTH, aligner=alone, output_columns={"text": "number", "image": "o"}).transform_batch(
            table()
        )
    frame = fitted.transform_batch(table().to_pandas())
    assert np.array_equal(np.stack(frame["aligned"]), alone.transform(X, modality="text"))
    assert fitted.transform_batch(table().slice(0, 0)).num_rows == 0


def test_rows_stay_in_order(tmp_path):
    """Though the first block is made when the second is done."""
    mark = tmp_path / "second"

    def waits(block):
        if block["number"][0].as_py() is not None:
            mark.touch()
            return block
        ends = time.monotonic() + 30
        while not mark.exists() and time.monotonic() < ends:
            time.sleep(0.01)
        time.sleep(1)
        return block

    aligner = C3Aligner().fit(X)
    ds = data.from_arrow([table().slice(0, 150), table().slice(150)])
    ds = ds.map_batches(waits, batch_format="pyarrow", batch_size=None)
    found = whole(AlignerPreprocessor({"text": "words"}, aligner=aligner).transform(ds))
    assert np.array_equal(rows(found["words"]), aligner.transform(X, modality="text"))
    assert not data.DataContext.get_current().execution_options.preserve_order  # others' datasets are as they were


def test_parquet_in_and_out(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        pq.write_table(table().slice(100 * number, 100), tmp_path / "in" / f"{number}.parquet")
    ds = data.read_parquet(str(tmp_path / "in"))
    fitted = AlignerPreprocessor(BOTH, pairs=True).fit(ds)
    assert fitted.aligner_.to_bytes() == C3Aligner().fit(X, Y).to_bytes()
    fitted.transform(ds).write_parquet(str(tmp_path / "out"))
    found = pq.read_table(tmp_path / "out").sort_by([("number", "ascending")])  # the gap, of row 0, comes last
    expected = fitted.aligner_.transform(Y, modality="image")
    assert np.array_equal(rows(found["picture"]), np.roll(expected, -1, axis=0))
    assert found.schema.field("words").type == pa.list_(pa.float32())


def test_npy_in_and_out(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        np.save(tmp_path / "in" / f"{number}.npy", X[100 * number :][:100])
    ds = data.read_numpy(str(tmp_path / "in"))
    fitted = AlignerPreprocessor({"text": "data"}).fit(ds)
    assert fitted.aligner_.to_bytes() == C3Aligner().fit(X).to_bytes()
    fitted.transform(ds).write_numpy(str(tmp_path / "out"), column="data")
    found = np.concatenate([np.load(path) for path in sorted((tmp_path / "out").iterdir())])
    assert found.dtype == np.float32
    assert np.array_equal(found, C3Aligner().fit(X).transform(X, modality="text"))


def test_actors_align_by_torch():
    ds, aligner = data.from_arrow(table()).repartition(3), taught(X, Y, "two")
    fitted = AlignerPreprocessor(BOTH, aligner=aligner)
    found = whole(
        fitted.map_batches(ds, device="cpu", compute=data.ActorPoolStrategy(size=1), num_gpus=0.5, batch_size=64)
    )
    assert found == whole(fitted.transform(ds))
    assert np.array_equal(rows(found["words"]), aligner.transform(X, modality="text"))


def test_actors_get_what_is_asked_for():
    class Recorded:
        context = data.DataContext.get_current().copy()

        def map_batches(self, actor, **options):
            self.actor, self.options = actor, options
            return self

    actors = data.ActorPoolStrategy(min_size=1, max_size=4)
    ds = AlignerPreprocessor(BOTH, aligner=taught(X, Y, "two")).map_batches(
        Recorded(), device="meta", num_gpus=1, compute=actors, batch_size=4096
    )
    assert {name: ds.options[name] for name in ("num_gpus", "compute", "batch_size")} == {
        "num_gpus": 1,
        "compute": actors,
        "batch_size": 4096,
    }
    with pytest.raises((NotImplementedError, RuntimeError)):  # a device without values: rows were put there
        ds.actor(*ds.options["fn_constructor_args"])(table())
    with pytest.raises(C3AlignError, match="has learned nothing; call fit first"):
        AlignerPreprocessor(BOTH).map_batches(ds)


@pytest.mark.parametrize(
    "way",
    [lambda fitted: pickle.loads(pickle.dumps(fitted)), lambda fitted: type(fitted).deserialize(fitted.serialize())],
)
def test_saved_and_loaded(way):
    """With settings, columns and all that was learned; before `fit` too."""
    aligner, outputs = C3Aligner(seed=7, renormalize=False).fit(X, Y), {"text": "a", "image": "b"}
    fitted = AlignerPreprocessor(BOTH, aligner=aligner, output_columns=outputs, pairs=True)
    again = way(fitted)
    assert again.aligner_.to_bytes() == aligner.to_bytes()
    assert again.transform_batch(table()) == fitted.transform_batch(table())
    fresh = way(AlignerPreprocessor(BOTH, aligner=C3Aligner(seed=7), pairs=True))
    assert fresh.fit_status() == fresh.FitStatus.NOT_FITTED
    assert fresh.fit(data.from_arrow(table())).aligner_.to_bytes() == C3Aligner(seed=7).fit(X, Y).to_bytes()


def test_in_a_chain():
    scaler = preprocessors.StandardScaler(["number"])
    chain = preprocessors.Chain(scaler, AlignerPreprocessor({"text": "words"}))
    found = whole(chain.fit_transform(data.from_arrow(table()).repartition(2)))
    assert np.array_equal(rows(found["words"]), C3Aligner().fit(X).transform(X, modality="text"))
    assert np.nanstd(found["number"].to_numpy()) == pytest.approx(1)


def changed(row, value):
    values = X.copy()
    values[row] = value
    return table(values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            changed(7, np.nan),
            "column 'words' holds NaN or infinity in 1 of 300 rows of its block, first in row 7; remove",
        ),
        (changed(9, 0), "column 'words' has a norm of zero .* in 1 of 300 rows of its block, first in row 9; remove"),
        (
            table().set_column(0, "words", pa.array([*X[:5], None, *X[6:]])),
            "column 'words' must hold an embedding in every row, got nulls in 1 of 300 .*, first in row 5; filter",
        ),
        (
            table().set_column(0, "words", pa.array([*X[:5], X[5, :3], *X[6:]])),
            r"column 'words' must hold lists of one length \(16\), got others in 1 of 300 .* first in row 5; keep",
        ),
        (table().set_column(0, "words", pa.array(["cat"] * 300)), "column 'words' holds .*, texts or records"),
    ],
)
def test_bad_rows_are_told_with_column_and_row(content, words):
    with pytest.raises(C3AlignError, match=words):
        AlignerPreprocessor(BOTH).fit(data.from_arrow(content))
    with pytest.raises(Exception, match=words):  # Ray's own kind, with ours among its causes
        AlignerPreprocessor(BOTH, aligner=taught(X, Y, "two")).transform(data.from_arrow(content)).materialize()


def test_partners_are_told_apart():
    broken = Y.copy()
    broken[3] = np.inf
    with pytest.raises(C3AlignError, match="column 'picture' holds NaN or infinity in 1 of 300 rows of its block"):
        AlignerPreprocessor(BOTH, pairs=True).fit(data.from_arrow(table(X, broken)))


def test_datasets_without_rows_or_columns():
    ds = data.from_arrow(table().slice(0, 0))
    with pytest.raises(C3AlignError, match="the dataset must have rows, got none"):
        AlignerPreprocessor(BOTH).fit(ds)
    with pytest.raises(C3AlignError, match="columns must be in the dataset, got 'sound' for words, picture, number"):
        AlignerPreprocessor({"audio": "sound"}).fit(data.from_arrow(table()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"columns": "emb"}, "columns must be a mapping, got 'emb'; pass a column by modality"),
        ({"columns": {}}, "columns must be a mapping"),
        ({"columns": {"text": 3}}, "columns must map modalities to names of columns, got 3"),
        ({"columns": {"auto": "emb"}}, "modality 'auto' is reserved"),
        ({"columns": {"text": "emb"}, "pairs": True}, "pairs=True needs 2 columns, got 1"),
        ({"columns": {"text": "emb"}, "aligner": "center"}, "aligner must be a C3Aligner, got str"),
        (
            {"columns": {"text": "emb"}, "output_columns": {"image": "x"}},
            "output_columns must name the modalities text",
        ),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(C3AlignError, match=words):
        AlignerPreprocessor(**arguments)


def test_columns_that_would_hide_one_another():
    with pytest.raises(C3AlignError, match="another column for each modality"):
        AlignerPreprocessor({"text": "t", "image": "i"}, output_columns={"text": "o", "image": "o"})
