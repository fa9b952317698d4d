"""Exports round-trip: what other programs compute from a file is what `transform` does."""

from __future__ import annotations

import numpy as np
import pytest

from c3align import C3Aligner, export
from c3align.errors import C3AlignError

MAPPINGS = ["center", "standardize", "barycenter", "coral"]


@pytest.fixture(params=MAPPINGS, scope="module")
def fitted(request, coco):
    return C3Aligner(mapping=request.param).fit(coco[1], coco[0])


@pytest.fixture(scope="module")
def plain(coco):
    return C3Aligner(renormalize=False).fit(coco[1], coco[0])


def raw(coco):
    """Rows of many norms."""
    return (coco[0][:50] * np.geomspace(0.1, 30, 50)[:, None]).astype(np.float32)


def test_onnx_to_a_millionth(fitted, plain, coco, tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for aligner in (fitted, plain):
        export.to_onnx(aligner, "image", tmp_path / "image.onnx")
        assert onnx.load(tmp_path / "image.onnx").opset_import[0].version == export.OPSET == 17
        session = runtime.InferenceSession(tmp_path / "image.onnx", providers=["CPUExecutionProvider"])
        for rows in (raw(coco), raw(coco)[:1]):
            (found,) = session.run(["aligned"], {"X": rows})
            np.testing.assert_allclose(found, aligner.transform(rows, modality="image"), rtol=0, atol=1e-6)


def test_a_torch_linear(fitted, coco):
    torch = pytest.importorskip("torch")
    layer = export.to_linear(fitted, "image")
    assert isinstance(layer, torch.nn.Linear)
    unit = torch.nn.functional.normalize(torch.from_numpy(raw(coco)), dim=1)
    found = torch.nn.functional.normalize(layer(unit), dim=1).numpy()
    np.testing.assert_allclose(found, fitted.transform(raw(coco), modality="image"), rtol=0, atol=4e-6)
    again = torch.nn.Linear(512, 512)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(unit), layer(unit))


def test_a_faiss_index_takes_raw_rows(fitted, plain, coco, tmp_path):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    for aligner in (fitted, plain):
        index = export.to_faiss(aligner, "image", faiss.IndexFlatIP(512))
        index.add(coco[0])
        faiss.write_index(index, str(tmp_path / "index.faiss"))
        again = faiss.read_index(str(tmp_path / "index.faiss"))
        aligned = aligner.transform(coco[0], modality="image")
        queries = aligner.transform(raw(coco), modality="image")
        wanted = np.sort(-(queries @ aligned.T), axis=1)[:, :10]
        for each in (index, again):
            np.testing.assert_allclose(each.search(raw(coco), 10)[0], -wanted, atol=2e-6)
    with pytest.raises(C3AlignError, match="index must take 512 dimensions, got 5"):
        export.to_faiss(plain, "image", faiss.IndexFlatIP(5))


def test_a_sentence_transformers_model(tmp_path):
    from tests import tiny_encoders

    tiny_encoders.import_torchvision()
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers import SentenceTransformer

    from c3align import encoders

    spec = tiny_encoders.write_sentence_transformers(tmp_path)
    texts = [f"a {color} {thing}" for color in ("red", "blue", "green") for thing in ("bag", "hat", "dog", "car")]
    rows = encoders.load(spec).encode(texts, modality="text")
    for settings in ({}, {"renormalize": False}, {"mapping": "standardize"}):
        aligner = C3Aligner(**settings).fit(rows).partial_fit(-rows, modality="image")
        model = SentenceTransformer(spec.partition(":")[2])
        SentenceTransformer(modules=[*model, *export.to_sentence_transformers(aligner)]).save(str(tmp_path / "aligned"))
        assert "c3align" not in (tmp_path / "aligned" / "modules.json").read_text()
        found = SentenceTransformer(str(tmp_path / "aligned")).encode(texts)
        np.testing.assert_allclose(found, aligner.transform(rows, modality="text"), rtol=0, atol=2e-6)


def test_a_map_that_is_not_affine_is_refused(coco):
    aligner = C3Aligner(mapping="quantile").fit(coco[1], coco[0])
    with pytest.raises(C3AlignError, match="mapping must be affine to be exported, got 'quantile'; apply it with"):
        export.affine(aligner, "image")
