"""Pictures that are something else, or more than they seem."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.attacks import attack

TOO_LARGE = r"(pixels in a file of .* allowed|pixels than Pillow takes).*; remove it, or allow more with --max-pixels"
UNKNOWN = "cannot identify image file"
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 72 72\n(ran) (w) file closefile\nshowpage\n%%EOF\n"


def png(width: int, height: int, *chunks: bytes, bits: int = 8, color: int = 0, data: bytes | None = None) -> bytes:
    """A PNG by its chunks; without data, of zeros."""
    if data is None:
        lines, packed = zlib.compressobj(9), []
        line = bytes(1 + (width * bits * {0: 1, 2: 3, 6: 4}[color] + 7) // 8)
        step = max(1, (1 << 20) // len(line))
        for first in range(0, height, step):
            packed.append(lines.compress(line * min(step, height - first)))
        data = b"".join([*packed, lines.flush()])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", head, *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def small(form: str, **options: object) -> bytes:
    """An honest picture of 8 x 8."""
    file = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, form, **options)
    return file.getvalue()


@functools.cache
def a_gigabyte() -> bytes:
    """Zeros, packed: sixteen megabytes of them again and again."""
    pack = zlib.compressobj(9, wbits=-15)
    part = pack.compress(bytes(1 << 24)) + pack.flush(zlib.Z_FULL_FLUSH)
    checksum = (2**30 % 65521 << 16) + 1
    return b"\x78\xda" + part * 64 + pack.flush() + struct.pack(">I", checksum)


def written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def tiff(*entries: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """A TIFF of one directory of (tag, type, count, value), then data."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + data


@attack("picture", UNKNOWN)
def is_postscript_named_png(folder: Path) -> Path:
    """An EPS named .png, which Pillow would hand to Ghostscript."""
    return written(folder, "a.png", POSTSCRIPT)


@attack("picture", UNKNOWN)
def is_postscript_behind_a_dos_header(folder: Path) -> Path:
    """An EPS with the binary header of DOS, named .jpg."""
    head = struct.pack("<IIIIIIIH", 0xC6D3D0C5, 30, len(POSTSCRIPT), 0, 0, 0, 0, 0xFFFF)
    return written(folder, "a.jpg", head + POSTSCRIPT)


@attack("picture", UNKNOWN)
def is_a_pdf_named_png(folder: Path) -> Path:
    """A PDF named .png."""
    return written(folder, "a.png", b"%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/Launch/F(ran)>>>>endobj\n%%EOF\n")


@attack("picture", UNKNOWN)
def is_an_svg_that_names_a_file(folder: Path) -> Path:
    """An SVG with an external entity, named .png."""
    text = '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>'
    return written(folder, "a.png", text.encode())


@attack("picture", UNKNOWN)
def is_of_a_format_that_nobody_looks_at(folder: Path) -> Path:
    """A Photo CD, whose reader in Pillow is as old as the format."""
    return written(folder, "a.png", bytes(2048) + b"PCD_" + bytes(1 << 16))


@attack("picture", UNKNOWN)
def is_a_windows_metafile(folder: Path) -> Path:
    """A WMF, which Pillow would hand to the system's own renderer where there is one."""
    return written(
        folder, "a.png", b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<hhhhH", 0, 0, 9, 9, 72) + bytes(4) + bytes(99)
    )


@attack("picture", UNKNOWN)
def is_a_fits_with_packed_data(folder: Path) -> Path:
    """A FITS, which Pillow would unpack to any size."""
    cards = [
        b"SIMPLE  =                    T",
        b"BITPIX  =                    8",
        b"NAXIS   =                    0",
        b"END",
    ]
    return written(folder, "a.png", b"".join(card.ljust(80) for card in cards).ljust(2880))


@attack("picture", TOO_LARGE)
def is_three_megabytes_of_png(folder: Path) -> Path:
    """A PNG of 3 MB with 900 million pixels."""
    return written(folder, "a.png", png(30_000, 30_000, data=b"", bits=8) + bytes(3_000_000))


@attack("picture", TOO_LARGE)
def is_just_below_the_bound_of_pillow(folder: Path) -> Path:
    """A PNG of 100 kB with 87 million pixels, which Pillow opens without a warning."""
    return written(folder, "a.png", png(9300, 9300))


@attack("picture", TOO_LARGE)
def is_one_long_line(folder: Path) -> Path:
    """A PNG of one line of two thousand million pixels."""
    return written(folder, "a.png", png(2**31 - 1, 1, data=b""))


@attack("picture", TOO_LARGE)
def is_a_large_jpeg(folder: Path) -> Path:
    """A JPEG of 65,500 x 65,500 by its header."""
    content = bytearray(small("JPEG"))
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", 65_500, 65_500)
    return written(folder, "a.jpg", bytes(content))


@attack("picture", TOO_LARGE)
def is_a_large_gif(folder: Path) -> Path:
    """A GIF of 65,535 x 65,535."""
    content = bytearray(small("GIF"))
    content[6:10] = struct.pack("<HH", 65_535, 65_535)
    return written(folder, "a.gif", bytes(content))


@attack("picture", TOO_LARGE)
def has_a_frame_larger_than_its_screen(folder: Path) -> Path:
    """A GIF of 8 x 8 whose first frame is 60,000 x 60,000."""
    content = bytearray(small("GIF"))
    place = content.index(b",", 13 + 3 * 2 ** ((content[10] & 7) + 1))
    content[place + 5 : place + 9] = struct.pack("<HH", 60_000, 60_000)
    return written(folder, "a.gif", bytes(content))


@attack("picture", TOO_LARGE)
def is_a_large_bitmap(folder: Path) -> Path:
    """A BMP of 40,000 x 40,000, packed by run length."""
    content = bytearray(small("BMP"))
    content[18:26] = struct.pack("<ii", 40_000, 40_000)
    return written(folder, "a.bmp", bytes(content))


@attack("picture", TOO_LARGE)
def is_a_large_webp(folder: Path) -> Path:
    """A WebP of 16,383 x 16,383 in one color: 10 kB."""
    file = io.BytesIO()
    Image.new("L", (16_383, 4_000)).save(file, "WEBP", lossless=True, method=0)
    return written(folder, "a.webp", file.getvalue())


@attack("picture", TOO_LARGE)
def is_a_large_portable_map(folder: Path) -> Path:
    """A PPM of 100,000 x 100,000 in a file of 20 bytes."""
    return written(folder, "a.ppm", b"P6 100000 100000 255\n")


@attack("picture", TOO_LARGE)
def is_a_large_tiff(folder: Path) -> Path:
    """A TIFF of 60,000 x 60,000 that states one strip."""
    entries = [(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    return written(folder, "a.tif", tiff(*entries, (273, 4, 1, 0), (277, 3, 1, 1), (278, 4, 1, 60_000)))


@attack("picture", TOO_LARGE)
def has_tiles_larger_than_itself(folder: Path) -> Path:
    """A TIFF of 8 x 8 with one tile of 30,000 x 30,000, packed by Deflate."""
    data = zlib.compress(bytes(30_000 * 1000), 9)
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    entries += [(322, 4, 1, 30_000), (323, 4, 1, 30_000), (324, 4, 1, 14 + 12 * 10), (325, 4, 1, len(data))]
    return written(folder, "a.tif", tiff(*entries, data=data))


@attack("picture")
def has_a_directory_that_leads_to_itself(folder: Path) -> Path:
    """A TIFF whose next directory is the first."""
    content = bytearray(small("TIFF"))
    first = struct.unpack("<I", content[4:8])[0]
    count = struct.unpack("<H", content[first : first + 2])[0]
    content[first + 2 + 12 * count : first + 6 + 12 * count] = struct.pack("<I", first)
    return written(folder, "a.tif", bytes(content))


@attack("picture")
def has_a_tag_of_four_gigabytes(folder: Path) -> Path:
    """A TIFF that states 2**32 - 1 values in one tag."""
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    return written(folder, "a.tif", tiff(*entries, (277, 3, 2**32 - 1, 8), (279, 4, 1, 64), data=bytes(64)))


@attack("picture")
def has_a_color_profile_of_a_gigabyte(folder: Path) -> Path:
    """A PNG whose packed ICC profile is a gigabyte of zeros."""
    return written(folder, "a.png", png(8, 8, chunk(b"iCCP", b"icc\0\0" + a_gigabyte())))


@attack("picture", "text")
def has_texts_of_a_gigabyte(folder: Path) -> Path:
    """A PNG of a hundred packed texts, each as large as Pillow takes one."""
    packed = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes((1 << 20) - 1), 9))
    return written(folder, "a.png", png(8, 8, packed * 100))


@attack("picture")
def has_one_text_of_a_gigabyte(folder: Path) -> Path:
    """A PNG with one packed international text of a gigabyte."""
    return written(folder, "a.png", png(8, 8, chunk(b"iTXt", b"a\0\1\0\0\0" + a_gigabyte())))


@attack("picture")
def has_exif_that_leads_in_circles(folder: Path) -> Path:
    """A JPEG whose EXIF directory names itself as the next and the inner one, and asks for a turn."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x8769, 4, 1, 8)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 8)
    return written(folder, "a.jpg", small("JPEG", exif=exif))


@attack("picture")
def has_exif_that_is_cut_off(folder: Path) -> Path:
    """A JPEG whose EXIF asks for a turn and states values that are not there."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x0100, 12, 2**28, 2**31)
    return written(folder, "a.jpg", small("JPEG", exif=b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries))


@attack("picture")
def has_a_hundred_thousand_frames(folder: Path) -> Path:
    """A GIF of a hundred thousand frames in a megabyte; the first is looked at."""
    content = small("GIF")
    place = content.index(b",", 13 + 3 * 2 ** ((content[10] & 7) + 1))
    frame = b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return written(folder, "a.gif", content[:place] + frame * 100_000 + b";")


@attack("picture")
def states_more_lines_than_it_has(folder: Path) -> Path:
    """A PNG of 5,000 x 5,000 that ends after one line."""
    return written(folder, "a.png", png(5000, 5000, data=zlib.compress(bytes(5001))))


@attack("picture", "a JPEG of 1001 passes")
def is_a_jpeg_of_a_thousand_passes(folder: Path) -> Path:
    """A progressive JPEG of 30 million pixels with a thousand passes over all of them, each of a few bytes."""
    return written(folder, "a.jpg", progressive(5_500, 5_500, 1_000))


@attack("picture", "directory|Is a")
def is_a_folder(folder: Path) -> Path:
    """A folder named .png."""
    (folder / "a.png").mkdir()
    return folder / "a.png"


@attack("picture", "cannot identify|empty")
def is_empty(folder: Path) -> Path:
    """A file of no bytes."""
    return written(folder, "a.png", b"")


@attack("picture", UNKNOWN)
def is_called_like_an_order_to_the_terminal(folder: Path) -> Path:
    """A file that is no picture, in whose name stand an escape sequence and a line break."""
    return written(folder, "\x1b[2J\x1b[31m\nerror: none\x07.png", b"no picture")


def progressive(width: int, height: int, n_scans: int) -> bytes:
    """A grey progressive JPEG: a first pass of the means, then passes that say of 32,767 blocks at once: nothing."""
    n_blocks = -(-width // 8) * -(-height // 8)
    head = b"\xff\xd8" + segment(0xDB, b"\0" + bytes([1] * 64))
    head += segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    # one symbol each: difference 0 of the means; a run of 2**14 blocks without anything
    head += segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0") + segment(
        0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0"
    )
    means = segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-n_blocks // 8))
    runs = "".join("0" + f"{0:014b}" for _ in range(-(-n_blocks // (1 << 14))))
    runs += "1" * (-len(runs) % 8)
    empty = bytes(int(runs[i : i + 8], 2) for i in range(0, len(runs), 8))
    passes = [segment(0xDA, b"\1\1\0" + bytes([1 + i % 63, 1 + i % 63, 0])) + empty for i in range(n_scans)]
    return head + means + b"".join(passes) + b"\xff\xd9"


def segment(kind: int, content: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(content) + 2) + content
