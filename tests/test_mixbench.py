"""MixBench's layout: a small folder of characters and their names, measured as a user measures the published one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from c3align import C3Aligner, datasets, encoders
from c3align.errors import C3AlignError
from tests import conftest

N = 90  # documents: a third of each kind


@pytest.fixture(scope="module")
def characters():
    return datasets.glyphs(split="held_out")


@pytest.fixture
def mixbench(monkeypatch):
    monkeypatch.syspath_prepend(str(conftest.ROOT / "benchmarks"))
    import _mixbench

    return _mixbench


@pytest.fixture
def folder(tmp_path, characters):
    """MSCOCO as MixBench25 has it, and OVEN whose queries are a picture and a text."""
    from PIL import Image

    for name, images in (("MSCOCO", "MSCOCO/images"), ("OVEN", "OVEN")):
        (tmp_path / images).mkdir(parents=True)
        (tmp_path / name / "qrels").mkdir(exist_ok=True)
        for i in range(N):
            Image.fromarray(characters.pictures[i]).save(tmp_path / images / f"{i}.png")
    for name, of_query in (("MSCOCO", lambda i: {}), ("OVEN", lambda i: {"image": f"OVEN/{(i + 1) % N}.png"})):
        pictures = [f"{i}.png" if name == "MSCOCO" else f"OVEN/{i}.png" for i in range(N)]
        parts = [{"text": characters.names[i], "image": pictures[i]} for i in range(N)]
        kept = [
            {key: part[key] for key in (("text",), ("image",), ("text", "image"))[i % 3]}
            for i, part in enumerate(parts)
        ]
        queries = [{"query_id": f"q{i}", "text": characters.names[i], **of_query(i)} for i in range(N)]
        write(tmp_path / name / "queries.jsonl", queries)
        write(tmp_path / name / "mixed_corpus.jsonl", [{"corpus_id": i, **part} for i, part in enumerate(kept)])
        lines = [f"q{i}\t{i}\t2\nq{i}\t{(i + 3) % N}\t1\n" for i in range(N)]
        (tmp_path / name / "qrels" / "qrels.tsv").write_text("query_id\tcorpus_id\tscore\n" + "".join(lines))
    return tmp_path


def write(path, entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def float64_scores(characters, mapping):
    """Cosines of text queries with all documents, computed again."""
    encoder = encoders.load("glyphs")
    sides = {
        "text": encoder.encode(characters.names[:N], modality="text").astype(np.float64),
        "image": encoder.encode(list(characters.pictures[:N]), modality="image").astype(np.float64),
    }
    kind = np.arange(N) % 3
    of = {"text": kind != 1, "image": kind != 0}
    sides = {name: unit(rows) for name, rows in sides.items()}
    weights = {"text": 1.0, "image": 1.0}
    if mapping == "center":
        sides = {name: unit(rows - rows[of[name]].mean(axis=0)) for name, rows in sides.items()}
        text, image = (sides[name][of[name]] for name in ("text", "image"))
        unrelated = {"text": (text @ text.T)[~np.eye(len(text), dtype=bool)], "image": text @ image.T}
        weights = {name: 1 / cosines.std() for name, cosines in unrelated.items()}
    fused = unit(sum(weights[name] * rows for name, rows in sides.items()))
    documents = np.where(kind[:, None] == 0, sides["text"], np.where(kind[:, None] == 1, sides["image"], fused))
    return sides["text"] @ documents.T


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
def test_figures_are_those_of_float64(folder, characters, tmp_path, run_here):
    target = tmp_path / "found.json"
    options = ["--mixbench", folder, "--encoder", "glyphs", "--out", target]
    done = run_here("benchmarks/search.py", *options, "--subset", "MSCOCO")
    assert done.returncode == 0, done.stderr
    records = {record["mapping"]: record for record in json.loads(target.read_text())["records"]}
    assert [*records] == ["raw", "center", "barycenter"]
    gains = 2 * np.eye(N) + np.roll(np.eye(N), 3, axis=1)
    kinds = np.array(["text", "image", "image+text"])[np.arange(N) % 3]
    for mapping in ("raw", "center"):
        scores, found = float64_scores(characters, mapping), records[mapping]["cosine"]
        assert found["ndcg"] == pytest.approx(ndcg_score(gains, scores, k=10), abs=1e-6)
        best = kinds[np.argsort(-scores, axis=1)[:, :10]]
        for kind in kinds[:3]:
            assert found["share"][kind] == pytest.approx((best == kind).mean() - 1 / 3, abs=1e-9)
            rows = kinds == kind
            assert found["ndcg of"][kind] == pytest.approx(ndcg_score(gains[rows], scores[rows], k=10), abs=1e-6)
    assert found["queries"] == N
    assert found["documents"] == dict.fromkeys(kinds[:3], N // 3)
    gaps = [max(map(abs, records[mapping]["cosine"]["share"].values())) for mapping in ("raw", "center")]
    assert gaps[1] < gaps[0] / 2
    assert records["barycenter"]["calibrated"]["ndcg"] > records["raw"]["cosine"]["ndcg"]


@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
def test_calibrated_scores_are_those_of_an_index(folder, mixbench):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    assert faiss
    from c3align.search import FaissStore, MixedIndex, calibrate_fused

    subset, encoder = mixbench.load(folder, "MSCOCO"), encoders.load("glyphs")
    queries, documents = (mixbench.embed(encoder, side, 32) for side in (subset.queries, subset.documents))
    scores = mixbench.scored(queries, documents, "barycenter")["calibrated"]
    aligner = C3Aligner(mapping="barycenter", second_moments=True)
    for modality in ("text", "image"):
        aligner.partial_fit(documents.parts(modality), modality=modality)
    calibration = calibrate_fused(aligner, {"image+text": documents.rows["image+text"]})
    index = MixedIndex(None, aligner, FaissStore(), calibration=calibration)
    for kind, rows in documents.rows.items():
        ids = [subset.documents[i].id for i in documents.places[kind]]
        index.add(rows if kind == "image+text" else rows[kind], modality=kind, ids=ids)
    for i in range(0, N, 9):
        found = index.query(queries.rows["text"]["text"][i], k=10)
        np.testing.assert_allclose([result.z for result in found], np.sort(scores[i])[::-1][:10], rtol=1e-4)
        assert found[0].id == subset.documents[scores[i].argmax()].id


@pytest.mark.filterwarnings("ignore::c3align.errors.CalibrationWarning")
def test_what_varies_between_versions(folder, mixbench):
    """Queries of both, qrels beside the rest and without a header, pictures in the table."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    oven = folder / "OVEN"
    before = mixbench.load(folder, "OVEN")
    assert {entry.kind for entry in before.queries} == {"image+text"}
    lines = (oven / "qrels" / "qrels.tsv").read_text().splitlines(keepends=True)
    (oven / "qrels" / "qrels.tsv").unlink()
    (oven / "qrels.tsv").write_text("".join(lines[1:]))
    for name, key in (("queries", "query_id"), ("mixed_corpus", "corpus_id")):
        entries = [json.loads(line) for line in (oven / f"{name}.jsonl").read_text().splitlines()]
        for entry in entries:
            entry["id"] = str(entry.pop(key))
            path = entry.pop("image", None)
            entry["image"] = path and {"bytes": (folder / path).read_bytes(), "path": path}
        parquet.write_table(pyarrow.Table.from_pylist(entries), oven / f"{name}.parquet")
        (oven / f"{name}.jsonl").unlink()
    after = mixbench.load(folder, "OVEN")
    assert after.gains == before.gains
    encoder = encoders.load("glyphs")
    scores = []
    for subset in (before, after):
        queries, documents = (mixbench.embed(encoder, side, 32) for side in (subset.queries[:9], subset.documents))
        scores.append(mixbench.scored(queries, documents, "center"))
    for how in ("cosine", "calibrated"):
        np.testing.assert_array_equal(scores[0][how], scores[1][how])
    assert mixbench.figures(after, scores[1]["cosine"])["queries"] == 9


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("queries.jsonl", "{", "line 1 of .*queries.jsonl is no JSON"),
        ("queries.jsonl", "[1]", "line 1 of .* is no JSON object"),
        ("queries.jsonl", POINTER, "is a pointer of Git LFS and not the file; run `git lfs pull`"),
        ("queries.jsonl", "", "queries.jsonl is empty"),
        ("queries.jsonl", '{"text": "a"}', "must have a query_id of its own, got None"),
        ("queries.jsonl", '{"query_id": "a", "text": "a"}\n{"query_id": "a", "text": "b"}', "line 2 of .* of its own"),
        ("mixed_corpus.jsonl", '{"corpus_id": 1, "text": " "}', "line 1 of .* has neither a text nor an image"),
        ("mixed_corpus.jsonl", '{"corpus_id": 1, "text": 3}', "the text of line 1 of .* must be a string, got 3"),
        ("mixed_corpus.jsonl", '{"corpus_id": 1, "image": ["a"]}', "must be a path, got"),
        ("mixed_corpus.jsonl", '{"corpus_id": 1, "image": "none.png"}', "must be a file inside .*none.png; download"),
        ("mixed_corpus.jsonl", '{"corpus_id": 1, "image": "../x.png"}', "must be a file inside"),
        ("qrels/qrels.tsv", "q1\t1", "line 1 of .* must be query_id, corpus_id and score"),
        ("qrels/qrels.tsv", "q1\t1\t-1", "line 1 of .* must be query_id, corpus_id and score"),
        ("qrels/qrels.tsv", "q1\t999\t1", "names '999', which is not there"),
        ("qrels/qrels.tsv", "q1\t1\t0", "has no relevant documents"),
        ("qrels/qrels.tsv", "q1\t1\t1\nq1\t1\t0", "line 2 of .* contradicts an earlier one"),
    ],
)
def test_what_is_refused(folder, mixbench, name, line, said):
    (folder.parent / "x.png").write_bytes((folder / "OVEN" / "1.png").read_bytes())
    (folder / "MSCOCO" / name).write_text(line)
    with pytest.raises(C3AlignError, match=said):
        mixbench.load(folder, "MSCOCO")


@pytest.mark.parametrize("changed", ["queries.jsonl", "qrels/qrels.tsv", "images/1.png"])
def test_records_of_other_data_are_not_taken(folder, mixbench, changed):
    before, path = mixbench.load(folder, "MSCOCO").digest(), folder / "MSCOCO" / changed
    if changed.endswith("png"):
        path.write_bytes((folder / "MSCOCO" / "images" / "2.png").read_bytes())
    else:
        path.write_text(
            path.read_text().replace("letter", "word", 1)
            if "queries" in changed
            else path.read_text()[: -len("q89\t3\t1\n")]
        )
    assert mixbench.load(folder, "MSCOCO").digest() != before


def test_queries_without_an_answer_are_told(folder, run_here):
    path = folder / "MSCOCO" / "qrels" / "qrels.tsv"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("q0\t")))
    done = run_here("benchmarks/search.py", "--mixbench", folder, "--encoder", "glyphs", "--subset", "MSCOCO")
    assert f"MSCOCO: 1 of {N} queries have no answer and count nowhere" in done.stderr


def test_which_subsets(folder, mixbench, run_here):
    assert mixbench.subsets(folder, None) == ["MSCOCO", "OVEN"]
    with pytest.raises(C3AlignError, match="has no folder VisualNews, it has MSCOCO, OVEN; pass the folder"):
        mixbench.subsets(folder, ["OVEN", "VisualNews"])
    with pytest.raises(C3AlignError, match="has no folder MSCOCO, it has none of the subsets"):
        mixbench.subsets(folder / "OVEN", None)
    (folder / "OVEN" / "queries.jsonl").unlink()
    with pytest.raises(C3AlignError, match=r"has no queries.jsonl or queries.parquet; see --help"):
        mixbench.load(folder, "OVEN")
    assert "--mixbench and --encoder go together" in run_here("benchmarks/search.py", "--mixbench", folder).stderr
    assert "qrels/qrels.tsv" in run_here("benchmarks/search.py", "--help").stdout
