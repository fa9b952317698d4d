"""Tables whose rows lead elsewhere, or are more than they seem."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path

from tests.attacks import attack
from tests.attacks.pictures import png, written

LEAVES = "an absolute path or one that leaves .* --allow-absolute"
URL = "if you trust the table, pass --allow-urls"
CHAIN = "a table may name URLs of http, https, .* alone, without chains"


def rows(folder: Path, *values: str, name: str = "t.jsonl") -> Path:
    """A table of paths, with a picture beside it."""
    written(folder, "a.png", png(8, 8))
    return written(folder, name, "".join(json.dumps({"path": value}) + "\n" for value in ("a.png", *values)).encode())


def parquet(folder: Path, columns: dict, **options) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), folder / "t.parquet", **options)
    return folder / "t.parquet"


@attack("table", LEAVES)
def names_an_absolute_path(folder: Path) -> Path:
    """A row that names /etc/passwd."""
    return rows(folder, "/etc/passwd")


@attack("table", LEAVES)
def names_its_parent(folder: Path) -> Path:
    """A row that leaves the folder by `..`."""
    return rows(folder, "../../../../etc/passwd")


@attack("table", LEAVES)
def leaves_and_comes_back(folder: Path) -> Path:
    """A row that leaves the folder in its middle, by a folder that is there."""
    (folder / "inner").mkdir()
    return rows(folder, f"inner/../../{folder.name}x/a.png")


@attack("table", LEAVES)
def names_a_link_to_elsewhere(folder: Path) -> Path:
    """A row that names a link beside the table, which leads to /etc/passwd."""
    os.symlink("/etc/passwd", folder / "b.png")
    return rows(folder, "b.png")


@attack("table", LEAVES)
def names_a_file_behind_a_linked_folder(folder: Path) -> Path:
    """A row whose folder is a link to /etc."""
    os.symlink("/etc", folder / "b")
    return rows(folder, "b/passwd")


@attack("table", LEAVES)
def names_a_chain_of_links(folder: Path) -> Path:
    """A row that names a link to a link to /etc/passwd."""
    os.symlink("/etc/passwd", folder / "c.png")
    os.symlink("c.png", folder / "b.png")
    return rows(folder, "b.png")


@attack("table", LEAVES)
def names_a_file_by_its_url(folder: Path) -> Path:
    """A row of `file:///etc/passwd`."""
    return rows(folder, "file:///etc/passwd")


@attack("table", URL)
def names_a_server(folder: Path) -> Path:
    """A row of `http://`: who embeds the table tells its author."""
    return rows(folder, "http://127.0.0.1:9/a.png")


@attack("table", URL)
def names_a_service_inside(folder: Path) -> Path:
    """A row that asks the cloud's own service for credentials."""
    return rows(folder, "http://169.254.169.254/latest/meta-data/iam/security-credentials/")


@attack("table", CHAIN)
def names_a_chain_of_protocols(folder: Path) -> Path:
    """A row that fsspec would unpack: `zip://a.png::http://...`."""
    return rows(folder, "zip://a.png::http://127.0.0.1:9/a.zip")


@attack("table", CHAIN)
def names_a_cache(folder: Path) -> Path:
    """A row that fsspec would write to disk: `simplecache::file:///etc/passwd`."""
    return rows(folder, "simplecache::file:///etc/passwd")


@attack("table", CHAIN)
def chains_behind_what_is_allowed(folder: Path) -> Path:
    """A row that begins as an allowed URL does: `https://x::file:///etc/passwd`."""
    return rows(folder, "https://127.0.0.1::file:///etc/passwd")


@attack("table", CHAIN)
def names_a_protocol_of_memory_and_references(folder: Path) -> Path:
    """A row of `reference://`, whose JSON may name any URL."""
    return rows(folder, "reference://a.png?fo=a.json")


@attack("table", CHAIN)
def names_the_protocol_of_a_shell(folder: Path) -> Path:
    """A row of `sftp://`, which asks the user's own keys."""
    return rows(folder, "sftp://127.0.0.1/etc/passwd")


@attack("table", CHAIN)
def hides_its_protocol_in_capitals(folder: Path) -> Path:
    """A row of `FILE:///etc/passwd`."""
    return rows(folder, "FILE:///etc/passwd")


@attack("table", "which no file can be called")
def names_a_file_with_a_zero_in_it(folder: Path) -> Path:
    """A row with a zero byte, at which compiled code would cut the name."""
    return rows(folder, "a.png\0/../../../etc/passwd")


@attack("table", r"\\x1b\[2J")
def gives_orders_to_the_terminal(folder: Path) -> Path:
    """A row whose name holds escape sequences, in the error that refuses it."""
    return rows(folder, "/\x1b[2J\x1b]0;owned\x07\u202egnp.exe")


@attack("table", r"has the columns .*\\x1b")
def gives_orders_in_the_name_of_a_column(folder: Path) -> Path:
    """A column whose name holds escape sequences."""
    return written(folder, "t.csv", "\x1b[2J\x9b31m,b\n1,2\n".encode())


@attack("table", "cannot be read .*recursion")
def is_nested_a_million_deep(folder: Path) -> Path:
    """A line of JSON with a million brackets."""
    return written(folder, "t.jsonl", b'{"path": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}\n")


@attack("table", "cannot be read")
def has_a_number_of_a_million_digits(folder: Path) -> Path:
    """A line of JSON with a number of a million digits, which takes minutes to convert."""
    return written(folder, "t.jsonl", b'{"path": ' + b"9" * 1_000_000 + b"}\n")


@attack("table", "holds a list and not an object")
def has_lines_of_another_kind(folder: Path) -> Path:
    """A line of JSON that is a list."""
    return written(folder, "t.jsonl", b'["a.png"]\n')


@attack("table", "field larger than field limit")
def has_a_field_of_ten_megabytes(folder: Path) -> Path:
    """A CSV whose one quote is never closed."""
    return written(folder, "t.csv", b'path,b\n"' + b"a\n" * 5_000_000)


@attack("table", "is not UTF-8")
def is_not_text(folder: Path) -> Path:
    """A CSV of bytes that are no UTF-8."""
    return written(folder, "t.csv", b"path,b\n\xff\xfe\x00,\x80\n")


@attack("table", "rows in a file of")
def states_a_million_million_rows(folder: Path) -> Path:
    """A Parquet of three rows that states 2**40."""
    path = parquet(folder, {"path": ["a.png"] * 3})
    return with_numbers(path, {3: 1 << 40}, 1)


@attack("table", "cannot be read|rows in a file of|holds 3 rows and states")
def states_a_million_million_rows_everywhere(folder: Path) -> Path:
    """A Parquet of three rows that states a million in its header, its groups and its columns."""
    path = parquet(folder, {"path": ["a.png"] * 3})
    return with_numbers(path, {3: 1_000_000}, 9)


@attack("table", "bytes, unpacked, in a file of")
def states_fewer_bytes_than_it_unpacks_to(folder: Path) -> Path:
    """A Parquet of some 100 kB whose text unpacks to 300 MB in one page, and which states 64 bytes."""
    import pyarrow.parquet

    text = ["a" * 300_000_000]
    path = parquet(folder, {"path": text}, compression="zstd", use_dictionary=False, write_statistics=False)
    stated = pyarrow.parquet.read_metadata(path).row_group(0).column(0).total_uncompressed_size
    return with_numbers(path, {stated: 64}, 9)


@attack("table", "DELTA_BYTE_ARRAY are not read")
def repeats_what_stood_before(folder: Path) -> Path:
    """A Parquet of texts of a megabyte, each of which is said to begin as the one before it."""
    texts = ["a" * 1_000_000 + str(i) for i in range(300)]
    options = {"use_dictionary": False, "column_encoding": {"path": "DELTA_BYTE_ARRAY"}}
    return parquet(folder, {"path": texts}, compression="zstd", write_statistics=False, **options)


@attack("table", "rows in a file of")
def packs_twenty_million_equal_rows(folder: Path) -> Path:
    """A Parquet of a few kB with twenty million equal rows, each of them there."""
    import pyarrow

    equal = pyarrow.DictionaryArray.from_arrays(pyarrow.array(bytes(4_000_000), pyarrow.uint8()), ["a.png"])
    return parquet(folder, {"path": pyarrow.chunked_array([equal] * 5)}, compression="zstd")


@attack("table", "bytes, unpacked, in a file of")
def packs_a_gigabyte_of_text(folder: Path) -> Path:
    """A Parquet of some 100 kB whose texts unpack to 300 MB."""
    texts = ["a" * 1_000_000 + str(i) for i in range(300)]
    return parquet(folder, {"path": texts}, compression="zstd", use_dictionary=False)


@attack("table", "which no file can be called")
def repeats_a_megabyte_of_text(folder: Path) -> Path:
    """A Parquet with one text of a megabyte in ten thousand rows."""
    import pyarrow

    equal = pyarrow.DictionaryArray.from_arrays(pyarrow.array(bytes(10_000), pyarrow.uint8()), ["a" * 1_000_000])
    return parquet(folder, {"path": equal}, compression="zstd", store_schema=False)


@attack("table", "holds no texts")
def packs_lists_of_lists(folder: Path) -> Path:
    """A Parquet whose rows are lists of a million equal numbers."""
    return parquet(folder, {"path": [[[7] * 1_000_000]] * 20}, compression="zstd")


@attack("table", "cannot be read")
def ends_before_its_footer(folder: Path) -> Path:
    """A Parquet that is cut off."""
    path = parquet(folder, {"path": ["a.png"] * 1000})
    return written(folder, "t.parquet", path.read_bytes()[:-9])


@attack("table", "cannot be read")
def states_a_footer_of_two_gigabytes(folder: Path) -> Path:
    """A Parquet whose footer states its own length as 2 GB."""
    path = parquet(folder, {"path": ["a.png"] * 1000})
    return written(folder, "t.parquet", path.read_bytes()[:-8] + b"\xff\xff\xff\x7fPAR1")


@attack("table", "cannot be read .*thrift")
def has_a_footer_of_another_kind(folder: Path) -> Path:
    """A Parquet whose footer is no thrift, which arrow tells in two lines."""
    content = parquet(folder, {"path": ["a.png"] * 3}).read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    return written(folder, "t.parquet", content[:start] + b"\x0f" * (len(content) - 8 - start) + content[-8:])


@attack("table", "its header is not that of an array of numbers|holds no pictures")
def is_an_array_of_objects(folder: Path) -> Path:
    """A .npy of pictures that would be unpickled."""
    return written(folder, "t.npy", npy("|O", (3, 8, 8)) + b"cos\nsystem\n(S'touch ran'\ntR.")


@attack("table", "holds no pictures .* bytes long")
def states_pictures_that_are_not_there(folder: Path) -> Path:
    """A .npy that states a million pictures."""
    return written(folder, "t.npy", npy("|u1", (1_000_000, 1000, 1000)))


def with_numbers(path: Path, new: dict[int, int], most: int) -> Path:
    """A Parquet with other 64-bit numbers in its footer; of each, the first `most`."""
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    body, footer = content[:start], content[start:-8]
    for old, value in new.items():
        assert b"\x16" + varint(2 * old) in footer
        footer = footer.replace(b"\x16" + varint(2 * old), b"\x16" + varint(2 * value), most)
    return written(path.parent, path.name, body + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def varint(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    return bytes([number & 127 | 128]) + varint(number >> 7)


def npy(dtype: str, shape: tuple[int, ...], **changed: object) -> bytes:
    """The header of a .npy file, whatever follows."""
    return header(repr({"descr": dtype, "fortran_order": False, "shape": shape, **changed}))


def header(text: str) -> bytes:
    padded = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(padded).to_bytes(2, "little") + padded


@attack("table", "histogram", signs=False)
def contradicts_itself(folder: Path) -> Path:
    """Statistics of a column that contradict its levels, which PyArrow's own reading of the footer dies of."""
    path = folder / "table.parquet"
    path.write_bytes(zlib.decompress(base64.b85decode(_CONTRADICTS_ITSELF)))
    return path


_CONTRADICTS_ITSELF = (
    "c-rlh!EVz)5QfL5HFlLlTCppy<bw~?sze%EP%5Z;8J9Fdq)<nNw5MuuEGJc(xQ<KSp+}B98RCQxN8X{#u9LI~cmc#5c4ud1zkkQO"
    "@)35n*%Di0yv<AoYXFYF3;?p8jZy|GQDZi%GK*Q>4s0yzgj-IltDx#l8g0X{fk5xrahvKD=urvsV_7)Pus2Q}S{Bo>|9+77CN?ed"
    "r03^yFe04?{{{YKfy<eI`^#f;7KNmx5L#>HVX0-_`%YqFuK}(#iTlZgWJ|y*>!!OhxR7abmdT>O4sDOBb@+ZPvtlqF&0^dZo~Q-j"
    "v5IJbRTX#lF_YW;+Tb6JU^lS;)U>Ekr@&00p-R&p-w>7vK=pJNI#<=i&j$Zu1lMNp$@p7?zjJSH=3M@bAc4()m>@j2f}PHr?rzz;"
    "`_*`?YzLJ^SlTPZDTXN?Af~vV>R1>e9x7)a@ud#j&RDvor^nal1bs$M^Ps7N8q&mt#VUAydJ=BQ?(-`=JXZA)hLPg8RQ|;bw%8QC"
    "jpj<XN5%4dtzmK69S%>PhW%bE)%p2WaQ#f?msd%#8E4t1%=7Wo|B&Pp`nvv;Mt!TkEoyYL>T(6Wkt6zd{RC3|?>+"
)
