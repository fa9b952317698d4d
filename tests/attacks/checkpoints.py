"""Checkpoints, of which the file alone is judged; whether it is of this run, `c3align.training` tells."""

from __future__ import annotations

import struct
from pathlib import Path

import torch

from c3align.io import container
from tests.attacks import attack, honest


def content_of(folder: Path, change) -> Path:
    given = honest.checkpoint(folder)
    given.write_bytes(change(given.read_bytes()))
    return given


@attack("checkpoint", "states a header of 1099511627776 bytes", signs=False)
def states_a_header_of_a_terabyte(folder: Path) -> Path:
    """The header claims to be longer than the file."""
    return content_of(folder, lambda content: struct.pack("<Q", 1 << 40) + content[8:])


@attack("checkpoint", "it is damaged", signs=False)
def has_another_weight(folder: Path) -> Path:
    """One bit of the first moments."""
    return content_of(folder, lambda c: c[: len(c) // 2] + bytes([c[len(c) // 2] ^ 4]) + c[len(c) // 2 + 1 :])


@attack("checkpoint", "it is damaged", signs=False)
def was_half_copied(folder: Path) -> Path:
    """The second half is zeros, as after a copy that was cut."""
    return content_of(folder, lambda c: c[: len(c) // 2] + bytes(len(c) - len(c) // 2))


@attack("checkpoint", "it has no digest")
def was_never_signed(folder: Path) -> Path:
    """Tensors and settings without a digest."""
    from safetensors.torch import save

    def unsigned(content):
        config, tensors = container.parse(content, "checkpoint", torch=True)
        return save(tensors, {"config": container.json.dumps(config)})

    return content_of(folder, unsigned)


@attack("checkpoint", "states a header")
def is_a_pickle(folder: Path) -> Path:
    """What torch.save writes."""
    torch.save({"step": 1}, folder / "run.checkpoint")
    return folder / "run.checkpoint"


@attack("checkpoint", "cannot be read")
def is_a_folder(folder: Path) -> Path:
    """A folder of the checkpoint's name."""
    (folder / "run.checkpoint").mkdir()
    return folder / "run.checkpoint"


def line_of(folder: Path, **line) -> Path:
    """The list of a run over shards, with a line more."""
    given = honest.journal(folder)
    with given.open("a") as file:
        file.write(container.json.dumps(line) + "\n")
    return given


@attack("journal", "a line that is not its own", signs=False)
def would_remove_a_file_elsewhere(folder: Path) -> Path:
    """A shard above the folder of the run, which would be removed where it is gone."""
    return line_of(folder, shard="../../elsewhere.npy")


@attack("journal", "a line that is not its own", signs=False)
def dropped_rows_without_numbers(folder: Path) -> Path:
    """Rows that were dropped are told by numbers."""
    return line_of(folder, shard="0.npy", dropped=["all"])


def bridge_of(folder: Path, change) -> Path:
    given = honest.bridge(folder)
    given.write_bytes(change(given.read_bytes()))
    return given


@attack("bridge", "it is damaged", signs=False)
def turns_rows_elsewhere(folder: Path) -> Path:
    """One bit of the matrix."""
    return bridge_of(folder, lambda c: c[: len(c) // 2] + bytes([c[len(c) // 2] ^ 4]) + c[len(c) // 2 + 1 :])


@attack("bridge", "states a header", signs=False)
def is_a_bridge_of_lines(folder: Path) -> Path:
    """Text."""
    return bridge_of(folder, lambda content: b"old, new\n" * 100)
