"""Media of every kind that people have, made here: pictures, sounds and videos, and a broken one of each."""

from __future__ import annotations

import struct
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

# left half red, right half blue, top brighter: a rotation or a swapped channel shows
SIZE = (60, 40)


def colours() -> np.ndarray:
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    picture[:, : SIZE[0] // 2, 0] = 200
    picture[:, SIZE[0] // 2 :, 2] = 200
    picture[: SIZE[1] // 2] += 40
    return picture


def write_pictures(folder: Path) -> dict[str, Path]:
    """Files by kind."""
    rgb = Image.fromarray(colours())
    grey = rgb.convert("L")
    made = {
        name: folder / f"{name}.{name.split()[0]}" for name in ("png", "png grey", "png alpha", "png 16", "png palette")
    }
    made |= {
        name: folder / f"{name}.{name.split()[0]}"
        for name in ("jpeg rotated", "jpeg cmyk", "gif animated", "tiff 16", "png broken")
    }
    rgb.save(made["png"])
    grey.save(made["png grey"])
    layer = rgb.convert("RGBA")
    layer.putalpha(Image.fromarray(np.where(np.arange(SIZE[0]) < 30, 255, 0).astype(np.uint8)[None].repeat(SIZE[1], 0)))
    layer.save(made["png alpha"])
    for name in ("png 16", "tiff 16"):
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(made[name])
    rgb.quantize(8).save(made["png palette"], transparency=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned a quarter to the right
    rgb.rotate(90, expand=True).save(made["jpeg rotated"], exif=exif, quality=95)
    rgb.convert("CMYK").save(made["jpeg cmyk"], quality=95)
    rgb.save(made["gif animated"], save_all=True, append_images=[Image.new("RGB", SIZE, "green")] * 3)
    made["png broken"].write_bytes(made["png"].read_bytes()[:100])
    return made


def tone(rate: int, seconds: float = 0.5, hertz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def write_sound(path: Path, rate: int, channels: int = 1) -> Path:
    """A tone as a 16-bit wave; a second channel is silent."""
    samples = np.zeros((int(rate * 0.5), channels), "<i2")
    samples[:, 0] = np.rint(tone(rate) * 32767)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def write_coded_sound(path: Path, samples: np.ndarray, rate: int = 48000) -> Path:
    """A sound in the codec that its suffix stands for."""
    import av

    codecs = {".mp3": "libmp3lame", ".mka": "libopus", ".m4a": "aac", ".aiff": "pcm_s16be", ".flac": "flac"}
    codecs |= {".opus": "libopus", ".ts": "aac", ".m2ts": "mp2", ".caf": "pcm_s16le", ".w64": "pcm_s16le"}
    codecs |= {".au": "pcm_s16be"}
    options = {"mpegts_m2ts_mode": "1"} if path.suffix == ".m2ts" else {}
    with av.open(str(path), "w", format="matroska" if path.suffix == ".mka" else None, options=options) as container:
        stream = container.add_stream(codecs[path.suffix], rate=rate, layout="mono")
        whole = av.AudioFrame.from_ndarray(np.rint(samples * 32767).astype(np.int16)[None], "s16", "mono")
        whole.sample_rate = rate
        for frame in av.AudioResampler(format=stream.format or "fltp", layout="mono", rate=rate).resample(whole):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_video(
    path: Path,
    n_frames: int = 12,
    times: list[int] | None = None,
    picture: np.ndarray | None = None,
    codec: str = "mpeg4",
    wide: Fraction = Fraction(1),
) -> Path:
    """Frames that grow brighter, so that which ones were taken can be read off; each at its sixth of a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=6)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.sample_aspect_ratio = wide
        for i in range(n_frames):
            shade = np.full((48, 64, 3), 20 * i, np.uint8)
            if picture is not None:
                shade[: picture.shape[0], : picture.shape[1]] = picture
            frame = av.VideoFrame.from_ndarray(shade, format="rgb24")
            frame.pts = i if times is None else times[i]
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def turn_video(path: Path, turns: int) -> None:
    """Note in an MP4 by how many quarters to the right it is to be shown turned, as phones do."""
    a, b = [(0, 1), (-1, 0), (0, -1)][turns - 1]
    show_video(path, a, b, -b, a)


def show_video(path: Path, *matrix: float) -> None:
    """Note in an MP4 where a step across and a step down lead when it is shown."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (round(value * (1 << 16)) for value in matrix)
    content[at : at + 20] = struct.pack(">5i", a, b, 0, c, d)
    path.write_bytes(content)
