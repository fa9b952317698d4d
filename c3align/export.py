"""An aligner for other programs: faiss, ONNX, torch and sentence-transformers, without c3align where they run.

A mapping that is affine is ``unit(unit(x) @ linear + offset)``, which all of these can say. What is exported is one
modality's map, in float32; nothing is refused any more: rows that are not finite, or without a direction, give numbers
that mean nothing.
"""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from c3align import centering
from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.io import atomic
from c3align.mappings import RowAffine

__all__ = ["OPSET", "affine", "to_faiss", "to_linear", "to_onnx", "to_sentence_transformers"]

Floats: TypeAlias = npt.NDArray[np.float32]
OPSET, _IR = 17, 8  # of ONNX: what runtimes since 2022 read


def affine(aligner: Any, modality: str) -> tuple[Floats, Floats]:
    """Get the map of a modality's unit rows, before they are brought to norm 1 again.

    Parameters
    ----------
    aligner : C3Aligner
        A fitted one.
    modality : str
        A fitted modality.

    Returns
    -------
    linear : (n_dims, n_dims) float32
        What a row is multiplied by, ``u @ linear + offset``.
    offset : (n_dims,) float32
        What is added.

    Raises
    ------
    C3AlignError
        For a mapping that is not affine, as "quantile".
    """
    row_map = _row_map(aligner, modality)
    return _matrix(row_map), row_map.offset.astype(np.float32)


def _row_map(aligner: Any, modality: str) -> RowAffine:
    row_map = centering.state_of(aligner, modality, named=True).row_map(modality, aligner.mapping)
    if not isinstance(row_map, RowAffine):
        raise C3AlignError(f"mapping must be affine to be exported, got {aligner.mapping!r}; apply it with transform")
    return row_map


def _matrix(row_map: RowAffine) -> Floats:
    linear = np.eye(row_map.n_dims) if row_map.linear is None else row_map.linear
    return np.ascontiguousarray(np.diag(linear) if linear.ndim == 1 else linear, np.float32)


def _steps(aligner: Any, modality: str) -> tuple[Floats, Floats, Floats]:
    """Mean, matrix and shift: subtracting the mean first is exact to a few more bits than adding an offset last."""
    row_map = _row_map(aligner, modality)
    shift = np.zeros(row_map.n_dims) if row_map.shift is None else row_map.shift
    return row_map.mean.astype(np.float32), _matrix(row_map), shift.astype(np.float32)


def to_linear(aligner: Any, modality: str) -> Any:
    """Make a torch layer of the map of unit rows.

    Parameters
    ----------
    aligner, modality : C3Aligner, str
        As in `affine`.

    Returns
    -------
    torch.nn.Linear
        For rows of norm 1; normalize what it gives if the aligner does. On CLIP's rows it is right to 4e-6.
    """
    torch = need("torch", "torch")
    linear, offset = affine(aligner, modality)
    layer = torch.nn.Linear(len(offset), len(offset))
    layer.load_state_dict({"weight": torch.from_numpy(linear.T.copy()), "bias": torch.from_numpy(offset)})
    return layer.requires_grad_(False)


def to_faiss(aligner: Any, modality: str, index: Any) -> Any:
    """Put the alignment before a faiss index, which then takes raw rows, and is saved with it.

    Parameters
    ----------
    aligner, modality : C3Aligner, str
        As in `affine`; rows of another modality are aligned beforehand, or by an index of their own.
    index : faiss.Index
        Of aligned rows.

    Returns
    -------
    faiss.IndexPreTransform
        Around `index`.
    """
    faiss = need("faiss", "faiss", "search")
    mean, linear, offset = _steps(aligner, modality)
    if index.d != len(offset):
        raise C3AlignError(f"index must take {len(offset)} dimensions, got {index.d}; make it for the aligner's")
    matrix = faiss.LinearTransform(len(offset), len(offset), True)
    faiss.copy_array_to_vector(np.ascontiguousarray(linear.T).ravel(), matrix.A)
    faiss.copy_array_to_vector(offset, matrix.b)
    matrix.is_trained = True
    center = faiss.CenteringTransform(len(offset))
    faiss.copy_array_to_vector(mean, center.mean)
    center.is_trained = True
    steps = [faiss.NormalizationTransform(len(offset), 2.0), center, matrix]
    if aligner.renormalize:
        steps.append(faiss.NormalizationTransform(len(offset), 2.0))
    whole = faiss.IndexPreTransform(index)
    for step in reversed(steps):
        whole.prepend_transform(step)
    return whole


def to_onnx(aligner: Any, modality: str, path: str | os.PathLike[str]) -> None:
    """Write an ONNX model of ``transform(X, modality=modality)``: "X" (n_rows, n_dims) float32 to "aligned".

    Parameters
    ----------
    aligner, modality : C3Aligner, str
        As in `affine`.
    path : str or path
        Replaced whole. Opset 17.
    """
    onnx = need("onnx", "onnx", "onnx")
    helper = onnx.helper
    mean, linear, offset = _steps(aligner, modality)
    parts = {"mean": mean, "linear": linear, "offset": offset}
    norm = {"axis": 1, "p": 2}
    last = "mapped" if aligner.renormalize else "aligned"
    nodes = [
        helper.make_node("LpNormalization", ["X"], ["unit"], **norm),
        helper.make_node("Sub", ["unit", "mean"], ["centered"]),
        helper.make_node("Gemm", ["centered", "linear", "offset"], [last]),
    ]
    if aligner.renormalize:
        nodes.append(helper.make_node("LpNormalization", ["mapped"], ["aligned"], **norm))
    rows = [helper.make_tensor_value_info(name, 1, ["n_rows", len(offset)]) for name in ("X", "aligned")]
    known = [onnx.numpy_helper.from_array(value, name) for name, value in parts.items()]
    graph = helper.make_graph(nodes, "c3align", rows[:1], rows[1:], known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="c3align")
    model.ir_version = _IR
    onnx.checker.check_model(model)
    atomic.write(path, model.SerializeToString())


def to_sentence_transformers(aligner: Any, modality: str = "text") -> list[Any]:
    """Make modules that end a sentence-transformers model: its embeddings come out aligned, and it is saved so.

    They are that library's own, so that a saved model needs nothing of c3align. All that the model embeds goes through
    the map of this one modality.

    Parameters
    ----------
    aligner, modality : C3Aligner, str
        As in `affine`.

    Returns
    -------
    list of sentence_transformers modules
        For ``SentenceTransformer(modules=[*model, *found])``.
    """
    library = need("sentence_transformers.sentence_transformer.modules", "sentence-transformers")
    torch = need("torch", "torch")
    linear, offset = affine(aligner, modality)
    weights = {"init_weight": torch.from_numpy(linear.T.copy()), "init_bias": torch.from_numpy(offset)}
    n = len(offset)
    dense = library.Dense(n, n, bias=True, activation_function=torch.nn.Identity(), **weights)
    return [library.Normalize(), dense, *([library.Normalize()] if aligner.renormalize else [])]
