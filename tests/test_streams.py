"""Rows that go through a device: the bytes of rows that stay on the host, one clear error, and what the limit was.

The CPU stands in for the device here, on the way that a GPU takes too; so do streams that copy as late as they may. A
GPU does it in `tests/gpu`.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from c3align import cli
from c3align.cli import _learning
from c3align.io import device as streams
from c3align.io import rows as row_files
from c3align.io.device import Device
from tests.test_trees import contents

N_DIMS, SIZES = 12, (10, 3, 25, 1)  # the last block of most shards is short


def run(*arguments):
    return cli.run([*map(str, arguments)])


def take_seven(monkeypatch, folder):
    """Blocks of seven rows, in an empty folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(row_files, "BLOCK_BYTES", 4 * N_DIMS * 7)
    monkeypatch.setattr(_learning, "BLOCKS", 1)


@pytest.fixture
def in_blocks(tmp_path, monkeypatch):
    take_seven(monkeypatch, tmp_path)


def write_tree(folder, dtype, mean, save=np.save, sizes=SIZES, n_dims=N_DIMS):
    rng = np.random.default_rng(int(10 * mean))
    Path(folder).mkdir()
    for i, n_rows in enumerate(sizes):
        save(f"{folder}/x_{i}.npy", rng.normal(mean, 1, (n_rows, n_dims)).astype(dtype))


def check_same_bytes(device, dtype, **how):
    """Everything that a device can do, on it and on the host; called with cuda in `tests/gpu`."""
    write_tree("text", dtype, 0.3, **how)
    write_tree("image", dtype, 0.6, **how)
    found = []
    for how in ([], ["--device", device]):
        at = Path("on" if how else "off")
        assert run("fit", "text", "--pair", "image", "-o", at / "al", *how) == 0
        known = "-a", at / "al", *how
        assert run("transform", "image", "--modality", "image", "-o", at / "aligned", *known) == 0
        assert run("transform", "text", "--modality", "batch", "-o", at / "own", *known) == 0
        assert run("corrupt", "text", "--modality", "text", "--seed", 3, "-o", at / "noisy", *known) == 0
        assert run("translate", "text", "--from", "text", "--to", "image", "-o", at / "moved.npy", *known) == 0
        found.append(contents(at))
    assert len(found[0]) >= 3 * (1 + len(list(Path("text").iterdir())))
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_same_bytes(dtype, in_blocks):
    check_same_bytes("cpu", dtype)


def save_parquet(path, rows):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"row": pyarrow.array(list(rows)), "name": [f"n{i}" for i in range(len(rows))]}
    parquet.write_table(pyarrow.table(columns), str(path).replace(".npy", ".parquet"))


def test_bad_rows_are_skipped_alike_in_tables_too(in_blocks, monkeypatch):
    from c3align.io import columns

    monkeypatch.setattr(columns, "_BATCH_BYTES", 4 * N_DIMS * 7)

    def save(path, rows):
        rows[[0, -1]] = np.nan
        save_parquet(path, rows)

    write_tree("text", np.float32, 0.3, save, (10, 25))
    write_tree("image", np.float32, 0.6, save_parquet, (10, 25))
    found = []
    for how in ([], ["--device", "cpu"]):
        at, skip = Path("on" if how else "off"), ("--on-error", "skip", *how)
        assert run("fit", "text", "--pair", "image", "-o", at / "al", *skip) == 0
        assert run("corrupt", "text", "--modality", "text", "-a", at / "al", "-o", at / "noisy", *skip) == 0
        found.append(contents(at))
    assert b'x_1.parquet", "row": 24}' in found[0]["al.dropped.jsonl"]
    assert found[0] == found[1]


def check_refusal(device, capsys):
    write_tree("text", np.float32, 0.3)
    assert run("fit", "text", "-o", "al", "--device", device) == 0
    rows = np.load("text/x_2.npy")
    rows[17, 3] = np.inf
    np.save("text/x_2.npy", rows)
    for command in (["fit", "text"], ["transform", "text", "-a", "al", "--modality", "text"]):
        assert run(*command, "-o", "out", "--device", device) == 2
        assert "x_2.npy, row 17: counted from row" in capsys.readouterr().err


def test_a_refusal_names_shard_and_row(in_blocks, capsys):
    check_refusal("cpu", capsys)


@pytest.mark.parametrize(("name", "said"), [("nonsense", "cannot be used here"), ("meta", "must be cpu or cuda")])
def test_other_devices(name, said, in_blocks, capsys):
    write_tree("text", np.float32, 0.3)
    assert run("fit", "text", "-o", "al", "--device", name) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "omit it to use the CPU" in found


class Clock(threading.local):
    """Time of its own for each thread, which stands still but for what is said to take any."""

    now = 0.0


STAGES = ("reading", "copying there", "computing", "writing")


@pytest.mark.parametrize("slow", STAGES)
def test_the_slow_stage_is_the_limit(slow, monkeypatch):
    clock, room = Clock(), streams._Lane._room

    def passes(stage, found=None):
        clock.now += 3600 if stage == slow else 1
        return found

    def slow_room(lane, rooms, *rest):
        found = room(lane, rooms, *rest)
        return passes("copying there", found) if rooms is lane._on_device else found

    monkeypatch.setattr(streams, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(streams._Lane, "_room", slow_room)
    device, rows = Device("cpu"), np.ones((20, 3))
    blocks = ((i, passes("reading", rows[i : i + 8])) for i in range(0, 20, 8))
    found = device.through(lambda empty: blocks, lambda i, block: (i, passes("computing", block + i)))
    for i, changed in found:
        assert (changed == 1 + i).all()
        passes("writing")
    took = ", ".join(f"{stage} {10800 if stage == slow else 3}.00 s" for stage in STAGES)
    assert device.limit() == f"\non cpu, side by side: {took}; the limit was {slow}"


class Queue:
    """A stream whose work is done at the last moment: when something waits for it."""

    def __init__(self):
        self.asked, self.n_done = [], 0


class Event:
    def wait(self, stream):
        self.synchronize()

    def record(self, stream):
        self.stream, self.place = stream, len(stream.asked)

    def is_over(self):
        return self.stream.n_done >= self.place

    def synchronize(self):
        while not self.is_over():
            self.stream.asked[self.stream.n_done]()
            self.stream.n_done += 1

    def elapsed_time(self, end):
        assert self.is_over()  # as CUDA has it
        assert end.is_over()
        return 1000.0


@pytest.fixture
def late(monkeypatch):
    """Streams of the CPU that copy as late as they may."""
    here, copy, own = threading.local(), torch.Tensor.copy_, Queue()

    @contextmanager
    def in_stream(stream):
        here.stream = stream
        yield
        here.stream = None

    def late_copy(tensor, rows, non_blocking=False):
        if not non_blocking:
            return copy(tensor, rows)
        here.stream.asked.append(lambda: copy(tensor, rows))
        return tensor

    torch_of_the_device = SimpleNamespace(stream=in_stream, current_stream=lambda device: own)
    monkeypatch.setattr(streams, "_of", lambda device: torch_of_the_device)
    monkeypatch.setattr(streams, "_stream", lambda device: Queue())
    monkeypatch.setattr(streams, "_event", lambda device: Event())
    monkeypatch.setattr(torch.Tensor, "copy_", late_copy)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_nothing_is_read_before_it_was_copied(elsewhere, late):
    """Of a GPU's copies none may be late enough to matter, and none reads a buffer that is in use again."""

    def blocks(empty):
        for i in range(9):
            rows = np.empty((5 - i % 3, 2)) if elsewhere else empty((5, 2), np.float64)[: 5 - i % 3]
            rows[:] = i
            yield i, rows

    device, found = Device("cpu"), []
    for i, rows in device.through(blocks, lambda i, rows: (i, rows + 10)):
        assert (rows == i + 10).all()
        found.append((i, len(rows)))
    assert found == [(i, 5 - i % 3) for i in range(9)]
    assert device.seconds["copying there"] == device.seconds["computing"] == device.seconds["copying back"] == 9


def test_both_sides_of_pairs_have_memory_of_their_own(late):
    def blocks(empty):
        for i in range(5):
            sides = tuple(empty((3, 2), np.float32) for _ in range(2))
            for number, side in enumerate(sides):
                side[:] = 10 * i + number
            yield i, sides

    for i, (x, y) in Device("cpu").loaded(blocks):
        assert (x == 10 * i).all()
        assert (y == 10 * i + 1).all()
