"""Nearest rows: the exact ones, whatever the blocks, shards, threads and index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from c3align import neighbours
from c3align.errors import C3AlignError, MissingExtraError
from c3align.neighbours import Search, faiss_index, nearest
from tests import strategies


def expected(queries, memory, k, query_groups=None, memory_groups=None):
    """By sorting float64 products; equal ones by index."""
    scores = queries.astype(np.float64) @ memory.astype(np.float64).T
    if query_groups is not None:
        scores[np.equal.outer(query_groups, memory_groups)] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(scores, order, axis=1)
    return found, np.where(np.isneginf(found), -1, order)


def integers(rng, n, d, dtype="float32"):
    """Rows with many equal products, each exact in any order of addition."""
    return rng.integers(-2, 3, (n, d)).astype(dtype)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 60), st.integers(1, 20), st.data())
def test_the_sorted_products(seed, n, m, d, data):
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    queries, memory = integers(rng, n, d, dtype), integers(rng, m, d, dtype)
    k = data.draw(st.integers(1, m))
    groups = {}
    if data.draw(st.booleans()):
        groups = {"query_groups": rng.integers(0, 4, n), "memory_groups": rng.integers(0, 4, m)}
    scores, indices = nearest(
        data.draw(strategies.layouts(queries)), data.draw(strategies.layouts(memory)), k, **groups
    )
    found = expected(queries, memory, k, **groups)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, found[0])
    np.testing.assert_array_equal(indices, found[1])


class TestExactness:
    def test_real_rows(self, coco):
        image, text = coco
        scores, indices = nearest(image, text, 10)
        found = expected(image, text, 10)
        assert (indices == found[1]).all()
        assert np.abs(scores - found[0]).max() < 1e-7

    @pytest.mark.parametrize("block", [7, 8192])
    def test_near_ties_are_not_decided_by_rounding(self, coco, block, monkeypatch):
        """Rows that differ by less than a float32 product of them is off, in one block and over many."""
        monkeypatch.setattr(neighbours, "MEMORY_BLOCK", block)
        text = coco[1].astype(np.float64)
        rng = np.random.default_rng(0)
        memory = np.repeat(text[:100], 6, axis=0) * (1 + 1e-9 * rng.standard_normal((600, 1)))
        wanted = expected(text[:100], memory, 6)
        gaps = np.diff(wanted[0], axis=1)
        assert np.abs(gaps).max() < 1e-7  # closer than float32 tells
        for k in (3, 6):
            assert (nearest(text[:100], memory, k)[1] == wanted[1][:, :k]).all()
        narrow = text[:100].astype(np.float32) @ memory.astype(np.float32).T
        assert (np.argsort(-narrow, axis=1, kind="stable")[:, :6] != wanted[1]).any()

    def test_blocks_and_shards_change_nothing(self, coco, monkeypatch):
        image, text = coco
        whole = nearest(image, text, 20)
        for block in ((1, 1), (7, 3), (100, 499)):
            monkeypatch.setattr(neighbours, "QUERY_BLOCK", block[0])
            monkeypatch.setattr(neighbours, "MEMORY_BLOCK", block[1])
            parts = nearest(image[:30], [text[:123], text[123:124], text[124:]], 20)
            assert all((part == of_whole[:30]).all() for part, of_whole in zip(parts, whole))
        alone = [nearest(image[i : i + 1], text, 20) for i in range(30)]
        assert all((found[0] == whole[0][i]).all() for i, found in enumerate(alone))

    def test_rows_that_come_in_rising_order(self):
        """Each block has more good rows than all before it."""
        memory = np.linspace(0.1, 1, 30_000, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
        _scores, indices = nearest(np.ones((2, 3), np.float32), memory, 5)
        assert (indices == [29_999, 29_998, 29_997, 29_996, 29_995]).all()

    def test_equal_rows(self):
        indices = nearest(np.ones((3, 4), np.float32), np.ones((20_000, 4), np.float32), 7)[1]
        assert (indices == np.arange(7)).all()

    def test_memmap_and_tensors(self, coco, tmp_path):
        image, text = coco
        np.save(tmp_path / "memory.npy", text)
        mapped = np.load(tmp_path / "memory.npy", mmap_mode="r", allow_pickle=False)
        whole = nearest(image, text, 3)
        for memory, queries in [(mapped, image), (torch.from_numpy(text), torch.from_numpy(image))]:
            found = nearest(queries, memory, 3)
            assert (found[0] == whole[0]).all()
            assert (found[1] == whole[1]).all()

    def test_bfloat16(self, coco):
        image, text = (torch.from_numpy(rows).bfloat16() for rows in coco)
        wanted = expected(image.double().numpy(), text.double().numpy(), 3)
        assert (nearest(image, text, 3)[1] == wanted[1]).all()

    def test_no_queries(self, coco):
        scores, indices = nearest(coco[0][:0], coco[1], 3)
        assert scores.shape == indices.shape == (0, 3)


class TestIndex:
    def test_a_flat_one_gives_the_same(self, coco):
        image, text = coco
        doubled = np.concatenate([text, text])
        groups = {"query_groups": np.arange(500), "memory_groups": np.arange(1000) % 500}
        index = faiss_index(doubled)
        for options in ({}, groups):
            exact = nearest(image, doubled, 10, **options)
            found = nearest(image, [doubled[:300], doubled[300:]], 10, index=index, **options)
            assert all((a == b).all() for a, b in zip(exact, found))

    def test_one_that_is_trained_finds_most(self, coco):
        image, text = coco
        assert faiss_index(text, "IVF32,Flat").nprobe == 2
        index = faiss_index(text, "IVF8,Flat")
        index.nprobe = 4
        exact, found = nearest(image, text, 5)[1], nearest(image, text, 5, index=index)[1]
        share = np.mean([len({*a} & {*b}) / 5 for a, b in zip(exact, found)])
        assert share > 0.7
        index.nprobe = 1
        few = nearest(image, text, 200, index=index)
        assert (few[1] == -1).any()
        assert np.isneginf(few[0][few[1] == -1]).all()

    def test_of_another_memory(self, coco):
        with pytest.raises(C3AlignError, match="holds 400 rows and the memory 500; build it"):
            nearest(coco[0], coco[1], 3, index=faiss_index(coco[1][:400]))

    def test_of_another_width_or_of_distances(self, coco):
        import faiss

        narrow, distances = faiss_index(coco[1][:, :9]), faiss.IndexFlatL2(512)
        distances.add(coco[1])
        for index, text in ((narrow, "has 9 dimensions and the memory 512; build"), (distances, "compares distances")):
            with pytest.raises(C3AlignError, match=f"the index {text}"):
                nearest(coco[0], coco[1], 3, index=index)

    def test_too_few_rows_to_train_it(self, coco):
        with pytest.raises(C3AlignError, match=r"cannot build 'IVF4096,Flat' of 500 rows .*; pass one of fewer lists"):
            faiss_index(coco[1], "IVF4096,Flat")

    @pytest.mark.parametrize("n_rows", [199, 200, 201, 399])
    def test_no_more_rows_are_trained_on_than_said(self, coco, monkeypatch, n_rows):
        monkeypatch.setattr(neighbours, "TRAINING_ROWS", 200)
        trained = []

        class Index:
            is_trained = False
            train, add = (lambda self, rows: trained.append(len(rows))), (lambda self, rows: None)

        monkeypatch.setattr("faiss.index_factory", lambda *_: Index())
        monkeypatch.setattr("faiss.try_extract_index_ivf", lambda _: None)
        faiss_index(coco[1][:n_rows], "IVF8,Flat")
        assert 100 <= trained[0] <= 200

    def test_unknown_or_absent(self, coco, monkeypatch):
        with pytest.raises(C3AlignError, match="no index 'IVF'; pass one such as"):
            faiss_index(coco[1], "IVF")
        monkeypatch.setitem(__import__("sys").modules, "faiss", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'c3align\[search\]'"):
            faiss_index(coco[1])


def test_refusals(coco):
    image, text = coco
    bad = image.copy()
    bad[3, 7] = np.nan
    for options, message in [
        ({"queries": bad}, "queries holds NaN or infinity in 1 row, first in row 3"),
        ({"memory": bad}, "memory holds NaN or infinity in 1 row, first in row 3"),
        ({"queries": image[:, :9]}, "queries has 9 dimensions, not 512"),
        ({"memory": text[:0]}, "memory holds no rows"),
        ({"memory": []}, "memory holds no rows"),
        ({"memory": [text, text[:, :9]]}, "the parts of memory are not all of one width"),
        ({"k": 0}, r"k must be an integer in \[1, 500\], the number of rows, got 0"),
        ({"k": 501}, "got 501"),
        ({"k": True}, "got True"),
        ({"query_groups": np.arange(500)}, "one of query_groups and memory_groups is missing"),
        (
            {"query_groups": np.arange(500), "memory_groups": np.arange(9)},
            r"memory_groups must be 500 integers, got int64 of shape \(9,\)",
        ),
    ]:
        with pytest.raises(C3AlignError, match=message):
            nearest(**{"queries": image, "memory": text, "k": 3, **options})


def test_a_search_is_made_once_and_asked_often(coco):
    image, text = coco
    search = Search(text, groups=np.arange(500))
    own = search.nearest(image[5:9], 2, groups=np.arange(5, 9))[1]
    assert (own == nearest(image[5:9], text, 2, query_groups=np.arange(5, 9), memory_groups=np.arange(500))[1]).all()
    assert (search.nearest(image, 2)[1] == nearest(image, text, 2)[1]).all()
    with pytest.raises(C3AlignError, match=r"this memory has no groups, .*; pass Search\(\.\.\., groups=\)"):
        Search(text).nearest(image[:4], 2, groups=np.arange(4))
