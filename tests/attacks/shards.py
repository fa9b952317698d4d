"""Trees of shards: rows, names and lists that are not those that `c3align embed` wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.attacks import attack, honest

LIST, RUN = "embed_text.sha256", "embed_text.json"
SHARD = "text_emb/text_emb_000.npy"


def tree(folder: Path, change) -> Path:
    given = honest.tree(folder)
    change(given)
    return given


def rewritten(name: str, change):
    """A change of one file."""

    def rewrite(given: Path) -> None:
        (given / name).write_bytes(change((given / name).read_bytes()))

    return rewrite


@attack("tree", r"text_emb_000\.npy' is damaged")
def has_another_number(folder: Path) -> Path:
    """One bit of a row."""
    return tree(folder, rewritten(SHARD, lambda content: content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]))


@attack("tree", "its files are not those of embed_text.sha256")
def has_a_shard_more(folder: Path) -> Path:
    """Rows of somebody else beside those that were embedded."""
    return tree(folder, lambda given: np.save(given / "text_emb" / "text_emb_001.npy", np.ones((2, 256), np.float16)))


@attack("tree", "its files are not those of|no file|not finished|holds no")
def has_a_shard_less(folder: Path) -> Path:
    """The rows are gone, and their metadata say that they are whole."""
    return tree(folder, lambda given: (given / SHARD).rename(given / "text_emb" / "text_emb_001.npy"))


@attack("tree", "is not the one in embed_text.sha256")
def names_another_encoder(folder: Path) -> Path:
    """The fingerprint was changed, so that foreign rows pass for those of this encoder."""
    return tree(folder, rewritten(RUN, lambda content: content.replace(b"c3align:", b"stranger:")))


@attack("tree", "its files are not those of embed_text.sha256")
def lost_its_list(folder: Path) -> Path:
    """The digests are gone, of a version that writes them."""
    return tree(folder, lambda given: (given / LIST).unlink())


@attack("tree", "its files are not those of embed_text.sha256")
def has_a_list_with_more(folder: Path) -> Path:
    """A line that is none."""
    return tree(folder, rewritten(LIST, lambda content: content + b"and more\n"))


@attack("tree", "its files are not those of embed_text.sha256")
def has_a_list_of_capitals(folder: Path) -> Path:
    """Digests in capitals say the same, and are not what was written."""
    return tree(folder, rewritten(LIST, lambda content: content[:64].upper() + content[64:]))


@attack("tree", "its files are not those of embed_text.sha256")
def has_a_list_with_a_way_out(folder: Path) -> Path:
    """A name in the list that leads out of the tree."""
    line = f"{'0' * 64}  text_emb/../../../etc/passwd\n".encode()
    return tree(folder, rewritten(LIST, lambda content: content + line))


@attack("tree", "names no encoder|is not the one in")
def asks_nothing(folder: Path) -> Path:
    """What was asked for is a list."""
    return tree(folder, rewritten(RUN, lambda _: b"[]"))


@attack("tree", "larger than")
def asks_without_end(folder: Path) -> Path:
    """What was asked for takes two megabytes."""
    return tree(folder, rewritten(RUN, lambda content: content[:-2] + b" " * (1 << 21) + b"}"))


@attack("tree", "is not the one in|not finished")
def states_a_billion_items(folder: Path) -> Path:
    """Items enough that looking for their shards would take hours."""

    def more(content):
        return json.dumps({**json.loads(content), "n_items": 10**12, "shard_items": 1}).encode()

    return tree(folder, rewritten(RUN, more))


@attack("rows", "its header is not that of an array of numbers")
def comments_on_its_header(folder: Path) -> Path:
    """A header whose closing bracket stands in a comment, at which Python's tokenizer stumbles."""
    given = honest.npy(folder)
    given.write_bytes(given.read_bytes().replace(b" 'fortran", b"#'fortran", 1))
    return given
