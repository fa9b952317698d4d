"""Rows on disk through a card and back: the bytes of the CPU, also where copies and kernels overlap."""

from __future__ import annotations

import pytest
import torch

from c3align.io.device import Device
from tests.test_streams import check_refusal, check_same_bytes, take_seven

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_same_bytes(dtype, tmp_path, monkeypatch):
    take_seven(monkeypatch, tmp_path)
    check_same_bytes("cuda", dtype)


def test_same_bytes_of_large_blocks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check_same_bytes("cuda", "float16", sizes=(60_000, 50_001), n_dims=768)
    assert "\non cuda:0, side by side: reading " in capsys.readouterr().out


def test_a_refusal_names_shard_and_row(tmp_path, monkeypatch, capsys):
    take_seven(monkeypatch, tmp_path)
    check_refusal("cuda", capsys)


def test_buffers_of_the_host_are_pinned():
    found = []

    def blocks(empty):
        for i in range(4):
            rows = empty((5, 3), "float32")
            rows[:] = i
            found.append(torch.from_numpy(rows).is_pinned())
            yield i, rows

    for i, rows in Device("cuda").through(blocks, lambda i, rows: (i, rows + (1 if rows.is_cuda else 9))):
        assert (rows == i + 1).all()
        found.append(torch.from_numpy(rows).is_pinned())
    assert found == [True] * 8
