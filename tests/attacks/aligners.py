"""Aligners and statistics: headers that lie, numbers that contradict one another, digests of other content."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from c3align.io import container, digests
from c3align.statistics import ModalityStatistics
from tests.attacks import attack, honest

FILE = "aligner.safetensors"
DIGEST = {container.DIGEST: np.arange(container.DIGEST_BYTES, dtype=np.uint8)}


def changed(folder: Path, change=lambda tensors, config: None, digest: dict = DIGEST, build=honest.aligner) -> Path:
    """An aligner whose tensors and configuration were changed, without the copy that would tell."""
    given = build(folder)
    content = (given / FILE).read_bytes()
    tensors = {name: value.copy() for name, value in load(content).items() if name != container.DIGEST}
    config, _ = container.parse(content, "aligner")
    change(tensors, config)
    (given / FILE).write_bytes(save({**tensors, **digest}, {"config": json.dumps(config)}))
    (given / container.CONFIG_FILE).unlink()
    return given


def tensor(folder: Path, name: str, change, build=honest.aligner) -> Path:
    return changed(folder, lambda tensors, _: tensors.update({name: change(tensors[name])}), build=build)


def setting(folder: Path, **settings) -> Path:
    return changed(folder, lambda _, config: config["settings"].update(settings), build=honest.mapped_aligner)


def content_of(folder: Path, change) -> Path:
    """An aligner of other bytes, beside its configuration."""
    given = honest.aligner(folder)
    (given / FILE).write_bytes(change((given / FILE).read_bytes()))
    return given


def flipped(content: bytes, place: int) -> bytes:
    found = bytearray(content)
    found[place] ^= 1
    return bytes(found)


def statistics(folder: Path, change) -> Path:
    given = honest.statistics_bytes(folder)
    given.write_bytes(change(given.read_bytes()))
    return given


@attack("aligner", "states a header of 4294967296 bytes in a file of", signs=False)
def states_a_header_of_4_gib(folder: Path) -> Path:
    """The safetensors header claims to be longer than the file."""
    return content_of(folder, lambda content: struct.pack("<Q", 1 << 32) + content[8:])


@attack("aligner", "states a header", signs=False)
def states_a_header_of_no_length(folder: Path) -> Path:
    """The safetensors header claims to be empty."""
    return content_of(folder, lambda content: bytes(8) + content[8:])


@attack("aligner", "is not JSON", signs=False)
def nests_its_header(folder: Path) -> Path:
    """A header of 200,000 brackets."""
    return content_of(folder, lambda _: struct.pack("<Q", 200_000) + b"[" * 200_000)


@attack("aligner", "it is damaged", signs=False)
def flips_a_bit_of_a_norm(folder: Path) -> Path:
    """One bit of the sums of norms, where no other number tells."""
    given = content_of(folder, lambda content: flipped(content, -1000))
    (given / container.CONFIG_FILE).unlink()
    return given


@attack("aligner", "it is damaged", signs=False)
def pads_its_header(folder: Path) -> Path:
    """Eight spaces more in the header, which change no value."""

    def padded(content):
        size = int.from_bytes(content[:8], "little")
        return (size + 8).to_bytes(8, "little") + content[8 : 8 + size] + b" " * 8 + content[8 + size :]

    given = content_of(folder, padded)
    (given / container.CONFIG_FILE).unlink()
    return given


@attack("aligner", "it has no digest")
def has_no_digest(folder: Path) -> Path:
    """Of the present format, without the digest that it has."""
    return changed(folder, digest={})


@attack("aligner", "it is damaged", signs=False)
def has_the_digest_of_other_content(folder: Path) -> Path:
    """The digest was not made anew."""
    return changed(folder, lambda tensors, _: tensors["modality.0.norms"].__iadd__(0))


@attack("aligner", "config.json differs", signs=False)
def tells_people_other_settings(folder: Path) -> Path:
    """config.json was edited, and the file that counts was not."""
    given = honest.aligner(folder)
    path = given / container.CONFIG_FILE
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    return given


@attack("aligner", "or not the file that config.json was written with", signs=False)
def has_a_copy_without_digest(folder: Path) -> Path:
    """The digest in config.json is null."""
    given = honest.aligner(folder)
    path = given / container.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), container.DIGEST: None}, indent=1))
    return given


@attack("aligner", "contradicts the norms")
def wraps_the_sum_of_norms(folder: Path) -> Path:
    """Norms whose sum is right modulo 2**64, and whose mean would be 1.75e48."""

    def wrapped(norms):
        norms[200:204] = 1 << 62  # 2**64 together
        return norms

    return tensor(folder, "modality.0.norms", wrapped)


@attack("aligner", "contradicts the sums")
def wraps_the_sum_of_squares(folder: Path) -> Path:
    """Squares whose sum is right modulo 2**128."""

    def wrapped(squares):
        squares[:, :2] = [[0, 0], [1 << 62, 1 << 62]]
        return squares

    return tensor(folder, "modality.0.squares", wrapped)


@attack("aligner", "a count is negative or beyond")
def counts_more_rows_than_there_can_be(folder: Path) -> Path:
    """2**62 rows."""
    return tensor(folder, "modality.0.counts", lambda counts: counts + (1 << 62))


@attack("aligner", "'modality.0.sums' is float64")
def has_means_of_nan(folder: Path) -> Path:
    """Sums of another type, which can be NaN."""
    return tensor(folder, "modality.0.sums", lambda sums: np.full(sums.shape, np.nan))


@attack("aligner", r"not int64 \(2, 65536\)")
def states_dimensions_without_numbers(folder: Path) -> Path:
    """65,536 dimensions where there are numbers of 8."""
    return changed(folder, lambda _, config: config.update(n_features_in=1 << 16))


@attack("aligner", "unknown tensor 'more'")
def hides_a_tensor(folder: Path) -> Path:
    """A tensor that nothing asks for."""
    return changed(folder, lambda tensors, _: tensors.update(more=np.zeros(1000)))


@attack("aligner", "settings do not fit|a sigma|must be")
def has_noise_of_a_billion(folder: Path) -> Path:
    """A setting out of its range."""
    return changed(folder, lambda _, config: config["settings"].update(noise_cosine=1e9))


@attack("aligner", "larger than its")
def is_padded_with_zeros(folder: Path) -> Path:
    """Four megabytes behind the last tensor."""
    return content_of(folder, lambda content: content + bytes(1 << 22))


@attack("aligner_bytes", "it is damaged", signs=False)
def are_cut(folder: Path) -> Path:
    """The last bytes are missing."""
    given = honest.aligner_bytes(folder)
    given.write_bytes(given.read_bytes()[:-40])
    return given


@attack("statistics_bytes", "their digest is another")
def are_flipped(folder: Path) -> Path:
    """One bit of a sum."""
    return statistics(folder, lambda content: flipped(content, 40))


@attack("statistics_bytes", "these are not the bytes")
def state_dimensions_of_gigabytes(folder: Path) -> Path:
    """A dimension of 2**40, signed."""
    head = b"c3stats\x02" + struct.pack("<3q", 10, 0, 1 << 40)
    return statistics(folder, lambda content: digests.signed(head + content[32:-32]))


@attack("statistics_bytes", "damaged")
def contradict_themselves(folder: Path) -> Path:
    """Twice the rows, signed."""
    rows = ModalityStatistics.from_rows(honest.rows())
    wrong = ModalityStatistics(2 * rows.n_rows, 0, rows.sums, rows.squares, rows.norms)
    return statistics(folder, lambda _: wrong.to_bytes())


@attack("statistics_bytes", "these are not the bytes")
def pass_for_old_ones(folder: Path) -> Path:
    """A version that is not there, so that the bytes would be of the format without a digest."""
    return statistics(folder, lambda content: flipped(content, 7))


@attack("aligner", "mapping must be one of")
def names_a_mapping_of_another_package(folder: Path) -> Path:
    """A mapping that an entry point would import."""
    return setting(folder, mapping="os:system")


@attack("aligner", "takes the parameters")
def asks_for_a_billion_steps(folder: Path) -> Path:
    """A mapping whose solution never ends."""
    asked = {"name": "barycenter", "strength": 1.0, "shrinkage": None, "tolerance": 0.0, "max_steps": 10**9}
    return setting(folder, mapping=asked)


@attack("aligner", "Infinity is not allowed")
def asks_for_a_tolerance_of_infinity(folder: Path) -> Path:
    """A number that JSON does not have."""
    asked = {"name": "barycenter", "strength": 1.0, "shrinkage": None, "tolerance": 1e999, "max_steps": 9}
    return setting(folder, mapping=asked)


@attack("aligner", "not of norm 1")
def samples_rows_of_any_length(folder: Path) -> Path:
    """Rows by which scores would be calibrated."""
    return tensor(folder, "modality.0.sample.rows", lambda rows: rows * np.float32(1e30), honest.mapped_aligner)


@attack("aligner", "keys of a sample are not those")
def samples_rows_of_others(folder: Path) -> Path:
    """Rows beside the keys of other ones."""
    return tensor(folder, "modality.0.sample.rows", lambda rows: rows[::-1].copy(), honest.mapped_aligner)


@attack("aligner", "its samples are no short list")
def samples_a_billion_rows(folder: Path) -> Path:
    """A number of rows that is not there."""

    def billion(_, config):
        config["samples"][0][1:] = [10**9, 10**9]

    return changed(folder, billion, build=honest.mapped_aligner)


@attack("aligner", "across contradict the variances")
def has_products_across_of_other_pairs(folder: Path) -> Path:
    """Numbers from which noise would be made."""
    return tensor(folder, "pair.0.across", lambda products: products * 1e6, honest.mapped_aligner)


@attack("aligner", "across contradict the variances")
def has_covariances_across_of_other_pairs(folder: Path) -> Path:
    """The same in float32."""
    return tensor(folder, "pair.0.across", lambda covariances: covariances * 1e6, honest.half_aligner)


@attack("aligner", "contradict the variances")
def has_covariances_of_other_rows(folder: Path) -> Path:
    """Numbers from which a mapping would be made."""
    return tensor(folder, "modality.0.products", lambda covariances: covariances * 1e6, honest.half_aligner)


@attack("aligner", "is not finite")
def has_covariances_of_infinity(folder: Path) -> Path:
    """Numbers in float32 that are no numbers."""
    infinity = np.float32(np.inf)
    return tensor(folder, "modality.0.products", lambda covariances: covariances + infinity, honest.half_aligner)


@attack("aligner", "products across as 'float16'")
def names_another_kind_of_products(folder: Path) -> Path:
    """A kind of numbers that nobody wrote."""
    return changed(folder, lambda _, config: config.update(across="float16"), build=honest.half_aligner)


@attack("aligner", "unknown or missing keys")
def has_products_across_of_no_pairs(folder: Path) -> Path:
    """Products of pairs that were not learned."""
    return changed(folder, lambda _, config: config.update(across=True))


@attack("aligner", "counts are negative")
def counts_negative_rows_in_a_bin(folder: Path) -> Path:
    """Quantiles of rows that cannot be."""

    def moved(counts):
        counts[0, :2] += [1 << 40, -(1 << 40)]
        return counts

    return tensor(folder, "modality.0.sketch", moved, honest.sketched_aligner)
