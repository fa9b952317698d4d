"""Files of rows whose headers state what is not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.attacks import attack
from tests.attacks.pictures import written
from tests.attacks.tables import header, npy

NO_NUMBERS = "not a whole file of numbers"
NO_HEADER = "its header is not that of an array of numbers"


def safetensors(header: dict | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(**changed: object) -> dict:
    return {"rows": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64], **changed}}


@attack("rows", "bytes long, where")
def states_four_gigabytes(folder: Path) -> Path:
    """A .npy of 200 bytes that states 2**30 numbers."""
    return written(folder, "x.npy", npy("<f4", (1 << 20, 1 << 10)) + bytes(64))


@attack("rows", "bytes long, where")
def states_more_than_there_are_numbers_for(folder: Path) -> Path:
    """A .npy whose size in bytes does not fit in 64 bits."""
    return written(folder, "x.npy", npy("<f4", (1 << 40, 1 << 40)) + bytes(64))


@attack("rows", "bytes long, where")
def states_fewer_rows_than_it_holds(folder: Path) -> Path:
    """A .npy whose header was changed to a part of its rows."""
    return written(folder, "x.npy", npy("<f4", (2, 4)) + bytes(64))


@attack("rows")
def states_endless_empty_rows(folder: Path) -> Path:
    """A .npy of no rows, each of 2**62 numbers."""
    return written(folder, "x.npy", npy("<f4", (0, 1 << 62)))


@attack("rows", NO_HEADER)
def states_a_negative_shape(folder: Path) -> Path:
    """A .npy of -1 rows."""
    return written(folder, "x.npy", npy("<f4", (-1, 4)) + bytes(64))


@attack("rows", "it holds object and not numbers")
def holds_a_pickle(folder: Path) -> Path:
    """A .npy of objects: its data are a pickle that runs a program."""
    return written(folder, "x.npy", npy("|O", (1, 1)) + b"cos\nsystem\n(S'touch ran'\ntR.")


@attack("rows", "not a .npy file")
def is_a_pickle(folder: Path) -> Path:
    """A pickle named .npy."""
    return written(folder, "x.npy", b"cos\nsystem\n(S'touch ran'\ntR.")


@attack("rows", "not a .npy file")
def is_an_archive(folder: Path) -> Path:
    """A .npz, with objects in it, named .npy."""
    np.savez(folder / "x.npz", x=np.array([{}], object))
    return (folder / "x.npz").rename(folder / "x.npy")


@attack("rows", NO_HEADER)
def holds_structures(folder: Path) -> Path:
    """A .npy of structures."""
    return written(folder, "x.npy", header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4, 4), }"))


@attack("rows", "it holds .* and not numbers")
def hides_structures_in_a_text(folder: Path) -> Path:
    """A .npy whose type of numbers is a list in one text."""
    return written(folder, "x.npy", npy("f4,f4", (4, 2)) + bytes(64))


@attack("rows", NO_HEADER)
def holds_dates(folder: Path) -> Path:
    """A .npy of dates."""
    return written(folder, "x.npy", npy("<M8[s]", (4, 2)) + bytes(64))


@attack("rows", "it holds complex64 and not numbers")
def holds_complex_numbers(folder: Path) -> Path:
    """A .npy of complex numbers."""
    return written(folder, "x.npy", npy("<c8", (4, 2)) + bytes(64))


@attack("rows", NO_HEADER)
def has_a_header_that_calls(folder: Path) -> Path:
    """A .npy whose header is an expression."""
    return written(folder, "x.npy", header("__import__('os').system('touch ran')"))


@attack("rows", NO_HEADER)
def has_a_header_nested_deeply(folder: Path) -> Path:
    """A .npy whose header is nine thousand brackets, which the parser of Python counts on its stack."""
    return written(folder, "x.npy", header("(" * 4500 + ")" * 4500))


@attack("rows", NO_HEADER)
def has_a_header_of_nine_thousand_signs(folder: Path) -> Path:
    """A .npy whose shape has nine thousand signs before its number."""
    return written(
        folder, "x.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "-" * 9000 + "4, 4), }")
    )


@attack("rows", NO_NUMBERS)
def has_a_header_of_four_gigabytes(folder: Path) -> Path:
    """A .npy of version 2 whose header states its own length as 4 GB."""
    return written(folder, "x.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff{" + bytes(64))


@attack("rows", NO_NUMBERS)
def has_an_unknown_version(folder: Path) -> Path:
    """A .npy of version 9."""
    return written(folder, "x.npy", b"\x93NUMPY\x09\0" + npy("<f4", (4, 4))[8:] + bytes(64))


@attack("rows", "states a header of")
def has_a_safetensors_header_of_an_exabyte(folder: Path) -> Path:
    """A .safetensors whose header states its own length as 2**63."""
    return written(folder, "x.safetensors", (1 << 63).to_bytes(8, "little") + b"{}")


@attack("rows", "bytes long, where")
def has_a_tensor_that_is_not_there(folder: Path) -> Path:
    """A .safetensors that states 2**60 rows."""
    return written(folder, "x.safetensors", safetensors(tensor(shape=[1 << 60, 4]), bytes(64)))


@attack("rows", "it states the bytes")
def has_a_tensor_elsewhere(folder: Path) -> Path:
    """A .safetensors whose rows begin behind its end."""
    return written(folder, "x.safetensors", safetensors(tensor(data_offsets=[64, 128]), bytes(64)))


@attack("rows", "it states the shape")
def has_a_shape_of_other_things(folder: Path) -> Path:
    """A .safetensors whose shape holds fractions and texts."""
    return written(folder, "x.safetensors", safetensors(tensor(shape=[4.0, "4"]), bytes(64)))


@attack("rows", "it must hold one tensor")
def has_a_tensor_of_another_kind(folder: Path) -> Path:
    """A .safetensors whose tensor is a number."""
    return written(folder, "x.safetensors", safetensors({"rows": 7}, bytes(64)))


@attack("rows", NO_NUMBERS)
def has_a_header_of_nested_json(folder: Path) -> Path:
    """A .safetensors whose header is a million brackets."""
    return written(folder, "x.safetensors", safetensors(b"[" * 1_000_000))


@attack("rows", r"no file fits .*\\x1b")
def is_called_like_an_order_to_the_terminal(folder: Path) -> Path:
    """A name that is not there, with an escape sequence."""
    return folder / "\x1b[2J.npy"


@attack("precomputed", "holds NaN or infinity")
def holds_no_number(folder: Path) -> Path:
    """Rows of which one is NaN."""
    np.save(folder / "x.npy", np.array([[1, 2], [np.nan, 3], [4, 5]], np.float32))
    return folder / "x.npy"


@attack("precomputed", NO_HEADER)
def holds_dates_for_rows(folder: Path) -> Path:
    """Dates for rows."""
    return written(folder, "x.npy", npy("<m8[ns]", (4, 2)) + bytes(64))


@attack("precomputed", "bytes long, where")
def states_rows_that_are_not_there(folder: Path) -> Path:
    """A tree of shards whose second shard states a terabyte."""
    (folder / "text_emb").mkdir()
    np.save(folder / "text_emb" / "text_emb_000.npy", np.ones((4, 2), np.float32))
    written(folder / "text_emb", "text_emb_001.npy", npy("<f4", (1 << 37, 2)))
    return folder


@attack("precomputed", "names no encoder")
def has_an_order_to_the_terminal_for_a_name(folder: Path) -> Path:
    """A tree of shards whose encoder's name is an escape sequence."""
    states_rows_that_are_not_there(folder)
    written(folder, "embed_text.json", b'{"fingerprint": "\\u001b[2J\\u001b]0;owned\\u0007"}')
    return folder


def lists(folder: Path, rows: np.ndarray, **options: object) -> Path:
    """A .parquet of rows."""
    import pyarrow
    from pyarrow import parquet

    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), rows.shape[1])
    parquet.write_table(pyarrow.table({"rows": column}), folder / "x.parquet", **options)
    return folder / "x.parquet"


@attack("rows", "numbers in a file of .* are more than")
def packs_many_rows_of_nothing(folder: Path) -> Path:
    """A .parquet of 64 megabytes of zeros, in a few hundred bytes."""
    return lists(folder, np.zeros((1 << 14, 1 << 10), np.float32), compression="zstd")


@attack("rows", "x.parquet cannot be read")
def is_a_parquet_that_ends_early(folder: Path) -> Path:
    """A .parquet without the last bytes of its footer."""
    path = lists(folder, np.ones((40, 8), np.float32))
    return written(folder, "x.parquet", path.read_bytes()[:-9])


@attack("rows", "x.parquet cannot be read|ends before its|without a size")
def is_a_parquet_whose_pages_are_noise(folder: Path) -> Path:
    """A .parquet with an honest footer behind bytes that are no pages."""
    content = lists(folder, np.ones((40, 8), np.float32), use_dictionary=False).read_bytes()
    return written(folder, "x.parquet", content[:4] + b"\xff" * 200 + content[204:])
