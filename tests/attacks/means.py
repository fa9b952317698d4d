"""Means that others publish, as pickles: calls, steps without end, numbers that are not there."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

from tests.attacks import attack, honest


class Calls:
    """What pickle would call with these arguments."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def of(folder: Path, content: bytes) -> Path:
    (folder / "means.pkl").write_bytes(content)
    return folder / "means.pkl"


@attack("means", "it would call posix.system", signs=False)
def run_a_program(folder: Path) -> Path:
    """A pickle whose loading runs a shell."""
    command = f"touch {folder / 'ran'}"
    return of(folder, pickle.dumps({"center_image": Calls(os.system, command)}))


@attack("means", "it would call posix.system", signs=False)
def run_a_program_within_a_tensor(folder: Path) -> Path:
    """The same in the bytes from which a tensor's numbers would be loaded."""
    import torch

    inner = pickle.dumps(Calls(os.system, f"touch {folder / 'ran'}"))
    return of(folder, pickle.dumps({"center_image": Calls(torch.storage._load_from_bytes, inner)}))


@attack("means", "it would call posix.system", signs=False)
def run_a_program_in_a_zip(folder: Path) -> Path:
    """The same in a file of torch."""
    import torch

    torch.save({"center_image": Calls(os.system, f"touch {folder / 'ran'}")}, folder / "means.pkl")
    return folder / "means.pkl"


@attack("means", "a step INST", signs=False)
def make_an_object(folder: Path) -> Path:
    """An old step that imports and calls in one."""
    return of(folder, b"(ios\nsystem\n.")


@attack("means", "other keys than texts", signs=False)
def nest_a_key_too_deep(folder: Path) -> Path:
    """A key of 300,000 tuples in one another, which no stack can hash."""
    return of(folder, b"\x80\x04}" + b")" + b"\x85" * 300_000 + b"K\x01s.")


@attack("means", "more than vectors need", signs=False)
def make_a_million_arrays(folder: Path) -> Path:
    """The same megabyte, read again and again."""
    import torch

    buffer, numbers = io.BytesIO(), torch.zeros(1 << 18).untyped_storage()
    storage = torch.storage.TypedStorage(wrap_storage=numbers, dtype=torch.float32, _internal=True)
    torch.save(storage, buffer, _use_new_zipfile_serialization=False)
    inner = buffer.getvalue()
    return of(folder, pickle.dumps([Calls(torch.storage._load_from_bytes, inner) for _ in range(100_000)]))


@attack("means", "no vectors", signs=False)
def state_a_storage_of_gigabytes(folder: Path) -> Path:
    """A file of torch whose numbers are said to be 2**31."""
    content = honest.means(folder).read_bytes()
    return of(folder, content.replace(b"K\x08", b"J\xff\xff\xff\x7f"))


@attack("means", "it is packed|no vectors|larger than", signs=False)
def pack_a_gigabyte(folder: Path) -> Path:
    """A file of torch whose numbers are packed zeros."""
    import torch

    buffer = io.BytesIO()
    torch.save({"center_image": torch.zeros(8)}, buffer)
    with (
        zipfile.ZipFile(buffer) as source,
        zipfile.ZipFile(folder / "means.pkl", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for info in source.infolist():
            n_times = 1 << 25 if info.filename.endswith("data/0") else 1
            target.writestr(info.filename, source.read(info) * n_times, compresslevel=1)
    return folder / "means.pkl"
