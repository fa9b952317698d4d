"""Sounds and videos that lead elsewhere, or are more than they seem."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from tests import media
from tests.attacks import attack
from tests.attacks.pictures import png, written

NOT_TAKEN = "cannot be read|Invalid|holds no"
TOO_LARGE = "in a file of .* allowed; remove it, or allow more with --max-pixels|cannot be read"
TOO_LONG = "samples in a file of .* allowed; remove it, or allow more with --max-samples"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm={} 50040 RTP/AVP {}\n"


def wave(
    data: bytes, rate: int = 48_000, channels: int = 1, bits: int = 16, size: int | None = None, kind: int = 1
) -> bytes:
    """A WAV with any header."""
    block = max(1, channels * bits // 8)
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    size = len(data) if size is None else size
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", (len(head) + size) & 0xFFFFFFFF) + head + data


def video(folder: Path, name: str = "a.mp4", size: tuple[int, int] = (64, 48), n_frames: int = 12, **options) -> Path:
    """An honest video of one color."""
    import av

    codec, form = options.pop("codec", "mpeg4"), options.pop("pixels", "yuv420p")
    with av.open(str(folder / name), "w", **options) as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = *size, form
        frame = av.VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8), format="rgb24")
        frame = frame.reformat(format=form)
        for i in range(n_frames):
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return folder / name


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def changed(path: Path, kind: bytes, place: int, value: bytes) -> Path:
    """A box of an MP4 with other bytes at a place in it."""
    content = bytearray(path.read_bytes())
    start = content.index(kind) + 4 + place
    content[start : start + len(value)] = value
    path.write_bytes(bytes(content))
    return path


@attack("video", NOT_TAKEN)
def is_a_session_named_mp4(folder: Path) -> Path:
    """An SDP named .mp4: libav would bind a UDP port and wait for a stream."""
    return written(folder, "a.mp4", SDP.format("video", "96\na=rtpmap:96 H264/90000").encode())


@attack("sound", NOT_TAKEN)
def is_a_session_named_wav(folder: Path) -> Path:
    """An SDP named .wav."""
    return written(folder, "a.wav", SDP.format("audio", "0").encode())


@attack("video", NOT_TAKEN)
def is_a_list_of_addresses(folder: Path) -> Path:
    """An HLS list named .mp4: libav would ask a server."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    return written(folder, "a.mp4", text.encode())


@attack("video", NOT_TAKEN)
def is_a_list_of_files(folder: Path) -> Path:
    """An HLS list that reads a file elsewhere."""
    text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    return written(folder, "a.m3u8", text.encode())


@attack("video", NOT_TAKEN)
def is_a_list_that_joins_addresses_and_files(folder: Path) -> Path:
    """An HLS list that sends a file to a server, by the protocol `concat:`."""
    text = "#EXTM3U\n#EXTINF:9,\nconcat:http://127.0.0.1:9/x?|file:///etc/passwd\n#EXT-X-ENDLIST\n"
    return written(folder, "a.avi", text.encode())


@attack("sound", NOT_TAKEN)
def joins_its_neighbours(folder: Path) -> Path:
    """An ffconcat named .wav that reads another sound."""
    media.write_sound(folder / "secret.wav", 8000)
    return written(folder, "a.wav", b"ffconcat version 1.0\nfile secret.wav\n")


@attack("video", NOT_TAKEN)
def is_a_manifest(folder: Path) -> Path:
    """A DASH manifest named .mp4."""
    text = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="x" type="static"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>http://127.0.0.1:9/</BaseURL>'
        '<SegmentList><SegmentURL media="a"/></SegmentList></Representation></AdaptationSet></Period></MPD>'
    )
    return written(folder, "a.mp4", text.encode())


@attack("sound", NOT_TAKEN)
def is_an_old_list(folder: Path) -> Path:
    """An ASX list, which names a server."""
    return written(folder, "a.wma", b'<asx version="3.0"><entry><ref href="rtsp://127.0.0.1:9/a"/></entry></asx>')


@attack("video", NOT_TAKEN)
def is_one_of_a_sequence(folder: Path) -> Path:
    """A picture with a pattern of numbers for a name, which libav reads as a sequence of files."""
    for number in range(3):
        written(folder, f"a{number}.png", png(8, 8))
    return written(folder, "a%d.png", png(8, 8))


@attack("video", NOT_TAKEN)
def has_the_name_of_a_protocol(folder: Path) -> Path:
    """A file called `subfile,,start,0,end,9,,:b.mp4`, which libav would take for an order."""
    video(folder, "b.mp4")
    return written(folder, "subfile,,start,0,end,9,,:b.mp4", b"nothing")


@attack("video", NOT_TAKEN)
def is_a_script_of_frames(folder: Path) -> Path:
    """A text that names files for subtitles, named .mkv."""
    return written(
        folder, "a.mkv", b"# VobSub index file, v7\nsize: 720x576\nid: en, index: 0\ntimestamp: 00:00:01:000\n"
    )


@attack("video")
def has_its_frames_in_another_file(folder: Path) -> Path:
    """A MOV whose data reference is a path to a file elsewhere."""
    video(folder, "b.mov", format="mov")
    path = video(folder, "a.mov", format="mov")
    return changed(path, b"url ", -4, b"alis" + bytes(4))


@attack("sound", "a sampling rate of 7999993 cannot be brought to 48000")
def has_a_rate_without_common_factors(folder: Path) -> Path:
    """244 bytes of WAV with a rate of 7,999,993, whose filter takes 5 GB."""
    return written(folder, "a.wav", wave(bytes(200), 7_999_993))


@attack("sound", "cannot be|holds no")
def has_the_highest_rate(folder: Path) -> Path:
    """A WAV with a rate of 2**31 - 1."""
    return written(folder, "a.wav", wave(bytes(200), 2**31 - 1))


@attack("sound", TOO_LONG)
def has_the_lowest_rate(folder: Path) -> Path:
    """100 kB of WAV with one sample a second, which lasts a day."""
    return written(folder, "a.wav", wave(bytes(200_000), 1))


@attack("sound", "cannot be|holds no")
def has_no_rate(folder: Path) -> Path:
    """A WAV with no samples a second."""
    return written(folder, "a.wav", wave(bytes(200), 0))


@attack("sound")
def has_sixty_thousand_channels(folder: Path) -> Path:
    """A WAV with 60,000 channels."""
    return written(folder, "a.wav", wave(bytes(1 << 18), channels=60_000, bits=8))


@attack("sound")
def states_four_gigabytes(folder: Path) -> Path:
    """A WAV of 300 bytes that states 4 GB."""
    return written(folder, "a.wav", wave(bytes(256), size=2**32 - 1))


@attack("sound", TOO_LONG)
def is_a_silence_of_hours(folder: Path) -> Path:
    """A FLAC of a few kB with hours of silence, in frames of one number."""
    return written(folder, "a.flac", silence(50_000))


@attack("sound", "sound of the codec .* are not read")
def is_a_codec_of_a_game(folder: Path) -> Path:
    """A WAV whose codec is one that a single game used."""
    return written(folder, "a.wav", wave(bytes(4096), kind=0x0270, bits=0))


@attack("video", NOT_TAKEN)
def is_a_video_of_nothing_but_text(folder: Path) -> Path:
    """An ANSI drawing, which libav plays as a video."""
    return written(folder, "a.ans", b"\x1b[2J\x1b[31mhello\r\n" * 500)


@attack("video", TOO_LARGE)
def has_frames_of_two_hundred_million_pixels(folder: Path) -> Path:
    """An MP4 of Motion JPEG with frames of 16,000 x 16,000 by their header."""
    path = video(folder, codec="mjpeg", pixels="yuvj420p", n_frames=3)
    content = bytearray(path.read_bytes())
    place = -1
    while (place := content.find(b"\xff\xc0\x00\x11\x08", place + 1)) >= 0:
        content[place + 5 : place + 9] = struct.pack(">HH", 16_000, 16_000)
    path.write_bytes(bytes(content))
    return path


@attack("video", TOO_LARGE)
def has_a_single_color_in_8k(folder: Path) -> Path:
    """An MP4 of 8K that says in a few bytes a frame: as before."""
    return video(folder, size=(7680, 4320), n_frames=10)


@attack("video", TOO_LARGE)
def has_twenty_thousand_frames_of_nothing(folder: Path) -> Path:
    """An MP4 whose list repeats one small packet of a large frame twenty thousand times."""
    return repeated(video(folder, size=(1920, 1080), n_frames=2), 20_000)


@attack("video", "states 20,000,000 samples and 1 edits")
def states_more_samples_than_bytes(folder: Path) -> Path:
    """An MP4 whose list states 20 million samples of one byte each, which libav notes one by one."""
    one_chunk = {b"stsc": struct.pack(">IIII", 1, 1, 20_000_000, 1), b"stco": struct.pack(">II", 1, 48)}
    return with_lists(video(folder), {b"stsz": struct.pack(">II", 1, 20_000_000), **one_chunk})


@attack("video", "states 30,000,000 samples")
def has_a_fragment_of_a_thousand_million_samples(folder: Path) -> Path:
    """A fragmented MP4 with a run of 30 million samples, of which nothing but the number is told."""
    path = video(folder, options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    return changed(path, b"trun", 0, struct.pack(">II", 1, 30_000_000))


@attack("video", "states 2,000 samples and 5,000 edits")
def plays_itself_five_thousand_times(folder: Path) -> Path:
    """An MP4 of 2,000 frames with 5,000 edits, each of all frames."""
    edits = struct.pack(">I", 5000) + struct.pack(">IIHH", 80_000, 0, 1, 0) * 5000
    path = video(folder, size=(16, 16), n_frames=2000)
    return with_lists(path, {b"edts": box(b"elst", bytes(4), edits)})


@attack("video", "a packed header")
def has_a_packed_header(folder: Path) -> Path:
    """A MOV whose header is packed by Deflate, where no list is seen."""
    content = video(folder, format="mov", name="a.mov").read_bytes()
    moov = content.index(b"moov") - 4
    packed = struct.pack(">I", len(content) - moov) + zlib.compress(content[moov:])
    head = box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", packed)))
    return written(folder, "a.mov", content[:moov] + head)


@attack("video")
def has_times_for_a_thousand_million_frames(folder: Path) -> Path:
    """An MP4 whose table of times states 2**30 frames in one entry."""
    return changed(video(folder), b"stts", 8, struct.pack(">I", 1 << 30))


@attack("video")
def has_frames_too_far_apart(folder: Path) -> Path:
    """An MP4 with a frame every 2**31 ticks."""
    return changed(video(folder), b"stts", 12, struct.pack(">I", 2**31 - 1))


@attack("video", NOT_TAKEN)
def is_cut_in_the_middle(folder: Path) -> Path:
    """An MP4 without its second half, in which the lists are."""
    path = video(folder, n_frames=50)
    return written(folder, "a.mp4", path.read_bytes()[: path.stat().st_size // 2])


@attack("video", NOT_TAKEN)
def is_nested_ten_thousand_deep(folder: Path) -> Path:
    """An MP4 of boxes in boxes."""
    content = b""
    for _ in range(10_000):
        content = box(b"moov", content) if len(content) % 3 else box(b"trak", content)
    return written(folder, "a.mp4", box(b"ftyp", b"isom\0\0\2\0isom") + content)


@attack("video")
def states_an_element_of_the_largest_size(folder: Path) -> Path:
    """A WebM whose codec's settings state 2**40 bytes."""
    path = video(folder, "a.webm", codec="libvpx", format="webm")
    content = path.read_bytes()
    place = content.index(b"\x16\x54\xae\x6b")
    return written(folder, "a.webm", content[: place + 4] + b"\x01\x00\x01\x00\x00\x00\x00\x00" + content[place + 5 :])


@attack("sound", "holds no sound")
def is_a_video_without_sound(folder: Path) -> Path:
    """A video where a sound is asked for."""
    return video(folder)


@attack("sound")
def has_a_cover_of_a_thousand_million_pixels(folder: Path) -> Path:
    """An MP3 with a picture of 30,000 x 30,000 in its tags, which libav would decode to look at."""
    import av

    with av.open(str(folder / "a.mp3"), "w") as container:
        stream = container.add_stream("mp3", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), format="fltp", layout="mono")
        frame.rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    cover = b"\0image/png\0\3\0" + png(30_000, 30_000, data=b"x" * 100)
    frame_ = b"APIC" + struct.pack(">I", len(cover)) + b"\0\0" + cover
    size = bytes(len(frame_) >> shift & 127 for shift in (21, 14, 7, 0))
    return written(folder, "a.mp3", b"ID3\3\0\0" + size + frame_ + (folder / "a.mp3").read_bytes())


def silence(n_frames: int) -> bytes:
    """A FLAC of frames of 65,535 equal samples each, in a dozen bytes."""
    info = struct.pack(">HH", 65_535, 65_535) + bytes(6) + (48_000 << 44 | 15 << 36).to_bytes(8, "big") + bytes(16)
    frames = []
    for number in range(n_frames):
        head = b"\xff\xf8\x7a\x08" + utf8(number) + struct.pack(">H", 65_534)
        head += bytes([crc8(head)])
        frame = head + b"\0" + bytes(2)
        frames.append(frame + struct.pack(">H", crc16(frame)))
    return b"fLaC\x80\0\0\x22" + info + b"".join(frames)


def utf8(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")


def crc8(data: bytes) -> int:
    return crc(data, 8, 0x07)


def crc16(data: bytes) -> int:
    return crc(data, 16, 0x8005)


def crc(data: bytes, n_bits: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (n_bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (n_bits - 1) else 0)) & ((1 << n_bits) - 1)
    return value


def repeated(path: Path, n: int) -> Path:
    """An MP4 whose list of chunks names the last one `n` times over."""
    content = path.read_bytes()
    sizes = struct.unpack(">II", content[(place := content.rindex(b"stsz") + 16) : place + 8])
    offset = struct.unpack(">I", content[(place := content.rindex(b"stco") + 12) : place + 4])[0]
    new = {
        b"stsz": struct.pack(f">II{n}I", 0, n, sizes[0], *[sizes[1]] * (n - 1)),
        b"stsc": struct.pack(">IIII", 1, 1, 1, 1),
        b"stco": struct.pack(f">I{n}I", n, offset, *[offset + sizes[0]] * (n - 1)),
        b"stts": struct.pack(">III", 1, n, 512),
    }
    return with_lists(path, new)


def with_lists(path: Path, new: dict[bytes, bytes]) -> Path:
    """An MP4 with other lists in its header."""
    content = path.read_bytes()
    moov = content.rindex(b"moov") - 4
    path.write_bytes(content[:moov] + rebuilt(content[moov:], new))
    return path


def rebuilt(tree: bytes, new: dict[bytes, bytes]) -> bytes:
    """Boxes with other contents, and sizes that fit; edits go in front of the media."""
    out, place = [], 0
    while place < len(tree):
        size, kind = struct.unpack(">I4s", tree[place : place + 8])
        content = tree[place + 8 : place + size]
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            content = rebuilt(content, new)
        if kind == b"mdia" and b"edts" in new:
            out.append(box(b"edts", new[b"edts"]))
        if kind not in (b"stss", b"udta", b"edts"):
            out.append(box(kind, bytes(4) + new[kind] if kind in new else content))
        place += size
    return b"".join(out)
