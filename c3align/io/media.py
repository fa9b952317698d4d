"""From what people have to what encoders take: files, URLs, bytes, PIL images and arrays to pictures, sounds, frames.

Everything is decoded by kept libraries (Pillow, PyAV); what is decided here is what a picture with transparency, a
rotated photograph, a 16-bit scan or a stereo recording means to an encoder.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align.errors import C3AlignError, MissingExtraError

__all__ = ["EXTENSIONS", "audio", "frames", "image", "name_of"]

EXTENSIONS = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif"),
    "audio": (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".wma"),
    "video": (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".gif"),
}
_ORIENTATION = 0x0112  # of a photograph, as its camera wrote it
N_FRAMES = 8  # of a video, evenly spaced


def name_of(item: Any) -> str | None:
    """The path or URL of an item that is one."""
    return os.fspath(item) if isinstance(item, str | os.PathLike) else None


@contextmanager
def opened(item: Any) -> Iterator[Any]:
    """A binary file of a path, a URL (by fsspec) or bytes."""
    if isinstance(item, bytes | bytearray | memoryview):
        yield io.BytesIO(item)
        return
    name = name_of(item)
    if name is None:
        raise C3AlignError(f"a {type(item).__name__} is no file; pass a path, a URL, bytes or an array")
    if "://" not in name:
        with open(name, "rb") as file:
            yield file
        return
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(f"{name} needs fsspec; pip install 'c3align[encoders]'") from error
    with fsspec.open(name, "rb") as file:
        yield file


def image(item: Any) -> Any:
    """A PIL image in RGB, upright.

    Parameters
    ----------
    item : path, URL, bytes, PIL image, or array
        Arrays are (height, width), (height, width, 1), (height, width, 3) or (height, width, 4): uint8, uint16, or
        floats in [0, 1]. Of an animation the first frame is taken; transparent parts become white; 16 bits become 8.
    """
    image_module = _pillow()
    if isinstance(item, image_module.Image):
        return _to_rgb(item)
    if isinstance(item, np.ndarray):
        return _to_rgb(image_module.fromarray(_bytes_of_picture(item)))
    with opened(item) as file, image_module.open(file) as picture:
        picture.seek(0)
        picture.load()  # what is cut off shows here
        return _to_rgb(picture)


def _to_rgb(picture: Any) -> Any:
    from PIL import Image, ImageOps

    turned = picture.getexif().get(_ORIENTATION, 1) != 1
    upright = ImageOps.exif_transpose(picture) if turned else picture
    if upright.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
        deep = np.asarray(upright).astype(np.float64)
        upright = Image.fromarray(np.clip(np.rint(deep / 257), 0, 255).astype(np.uint8))
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        upright = Image.alpha_composite(paper, layer)
    return upright.convert("RGB")


def _bytes_of_picture(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise C3AlignError(f"a picture must be (height, width[, 1, 3 or 4]), got {array.shape}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return np.rint(array / 257).astype(np.uint8)
    if array.dtype.kind == "f" and array.size and array.min() >= 0 and array.max() <= 1:
        return np.rint(array * 255).astype(np.uint8)
    raise C3AlignError(f"a picture must be uint8, uint16, or floats in [0, 1], got {array.dtype}")


def audio(item: Any, rate: int) -> npt.NDArray[np.float32]:
    """A waveform (n,) float32 in [-1, 1], mono, at `rate` samples a second.

    Parameters
    ----------
    item : path, URL, bytes, or (waveform, rate)
        The waveform is (n,) or (channels, n), floats in [-1, 1] or integers of any width; channels are averaged.
    """
    waveform, own_rate = item if isinstance(item, tuple) else _decoded_audio(item)
    samples = np.asarray(waveform)
    if samples.ndim == 2:
        samples = _as_floats(samples).mean(axis=0)
    if samples.ndim != 1 or not samples.size:
        raise C3AlignError(f"a waveform must be (n,) or (channels, n), got {np.shape(waveform)}")
    return resampled(_as_floats(samples), int(own_rate), rate)


def _as_floats(samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if samples.dtype.kind == "i":
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    if samples.dtype == np.uint8:
        return ((samples.astype(np.float32) - 128) / 128).astype(np.float32)
    return samples.astype(np.float32)


def resampled(samples: npt.NDArray[np.float32], own_rate: int, rate: int) -> npt.NDArray[np.float32]:
    """Another sampling rate, by a polyphase filter."""
    if own_rate < 1:
        raise C3AlignError(f"a sampling rate must be above 0, got {own_rate}; pass (waveform, samples a second)")
    if own_rate == rate:
        return samples
    from scipy.signal import resample_poly

    common = gcd(own_rate, rate)
    return np.asarray(resample_poly(samples, rate // common, own_rate // common), np.float32)


def _decoded_audio(item: Any) -> tuple[npt.NDArray[np.float32], int]:
    av = _pyav()
    with opened(item) as file, av.open(file) as container:
        if not container.streams.audio:
            raise C3AlignError("the file holds no sound; pass one that does")
        stream = container.streams.audio[0]
        planes = av.AudioResampler(format="fltp")
        parts = [out.to_ndarray() for frame in container.decode(stream) for out in planes.resample(frame)]
        parts += [out.to_ndarray() for out in planes.resample(None)]
    if not parts:
        raise C3AlignError("the file holds no sound; pass one that does")
    return np.concatenate(parts, axis=1), int(stream.rate)


def frames(item: Any, n_frames: int = N_FRAMES, rate: float | None = None) -> list[Any]:
    """Frames of a video as PIL images in RGB: `n_frames` evenly spaced, or `rate` a second.

    Parameters
    ----------
    item : path, URL, bytes, array (frames, height, width, 3) uint8, or a list of pictures
    """
    if isinstance(item, list) or (isinstance(item, np.ndarray) and item.ndim == 4):
        if not len(item):
            raise C3AlignError("a video of no frames; pass some")
        return [image(item[i]) for i in evenly(len(item), n_frames)]
    with opened(item) as file:
        return _decoded_frames(io.BytesIO(file.read()) if "://" in (name_of(item) or "") else file, n_frames, rate)


def _decoded_frames(file: Any, n_frames: int, rate: float | None) -> list[Any]:
    """Frames are counted from the packets, without decoding, so that the ones wanted are known before."""
    av = _pyav()
    with av.open(file) as container:
        if not container.streams.video:
            raise C3AlignError("the file holds no pictures; pass a video")
        stream = container.streams.video[0]
        total = sum(1 for packet in container.demux(stream) if packet.size)
        per_second = float(stream.average_rate or stream.guessed_rate or 25)
        wanted = evenly(total, n_frames if rate is None else max(1, round(total / per_second * rate)))
        container.seek(0, stream=stream)
        stream.thread_type = "AUTO"
        found, last = {}, max(wanted, default=-1)
        for i, frame in enumerate(container.decode(stream)):
            if i in wanted:
                found[i] = frame.to_image().convert("RGB")
            if i >= last:
                break
    if not found:
        raise C3AlignError("the file holds no pictures; pass a video")
    return [found[i] for i in wanted if i in found]


def evenly(total: int, n: int) -> list[int]:
    """The middles of `n` equal stretches of `total` things; all of them when there are fewer."""
    n = min(n, total)
    return [(2 * i + 1) * total // (2 * n) for i in range(n)]


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pictures need Pillow; pip install 'c3align[encoders]'") from error
    return Image


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("sound and video files need PyAV; pip install 'c3align[encoders]'") from error
    return av
