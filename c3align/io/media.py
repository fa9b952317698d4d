"""From what people have to what encoders take: files, URLs, bytes, PIL images and arrays to pictures, sounds, frames.

Everything is decoded by kept libraries (Pillow, PyAV); what is decided here is what a picture with transparency, a
rotated photograph, a 16-bit scan or a stereo recording means to an encoder, and what a file may be: one of the listed
formats, whatever it is called, of bounded size (`limits`), that leads to no other file and no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align._imports import need
from c3align.errors import C3AlignError
from c3align.io import heic, videos
from c3align.io.claims import check_lists, whole_packets
from c3align.io.limits import DECODED, FRAMES, PIXELS, SAMPLES, item_errors
from c3align.io.opening import name_of, opened, size_of

__all__ = ["EXTENSIONS", "audio", "check", "frames", "image", "name_of", "opened"]

_ENDINGS = {
    "image": ".png .jpg .jpeg .jpe .jfif .jp2 .j2k .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .avif .heic .heif",
    "audio": ".wav .wave .w64 .flac .mp3 .ogg .oga .opus .m4a .aac .aiff .aif .au .caf .amr .mka .wma",
    "video": ".mp4 .m4v .mkv .webm .avi .mov .mpg .mpeg .ogv .wmv .flv .3gp .ts .m2ts .mts .gif",
}
EXTENSIONS = {modality: tuple(endings.split()) for modality, endings in _ENDINGS.items()}
# Pillow's names; it knows others that run programs (EPS) or that nobody has looked at for years
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "PPM", "JPEG2000")
# libav's names; it knows others that open files and sockets (SDP, HLS, DASH, concat), or devices
CONTAINERS = "wav,w64,aiff,au,caf,flac,mp3,aac,amr,ogg,asf,mov,matroska,avi,mpeg,mpegts,mpegvideo,m4v,flv,gif"
CODECS = (
    "aac,aac_latm,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,alac,amrnb,amrwb,av1,cinepak,dca,dnxhd,dvvideo,eac3,ffv1,"
    "ffvhuff,flac,flv,gif,h263,h264,hevc,huffyuv,libdav1d,libopencore_amrnb,libopencore_amrwb,libopus,libvorbis,"
    "libvpx,libvpx-vp9,mjpeg,mp1float,mp2,mp2float,mp3,mp3float,mpeg1video,mpeg2video,mpeg4,msmpeg4,msmpeg4v1,"
    "msmpeg4v2,opus,pcm_alaw,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,"
    "pcm_s24le,pcm_s32be,pcm_s32le,pcm_s64le,pcm_s8,pcm_u16le,pcm_u24le,pcm_u32le,pcm_u8,png,prores,qtrle,rawvideo,"
    "speex,svq1,svq3,theora,utvideo,vc1,vorbis,vp6,vp6f,vp8,vp9,wavpack,wmalossless,wmapro,wmav1,wmav2,wmv1,wmv2,wmv3"
)
_DEEP = ("PNG", "PPM")  # whose 16 bits Pillow may hand over in 32
_ORIENTATION = 0x0112  # of a photograph, as its camera wrote it
_TILE = 322, 323  # its width and length, in the tags of a TIFF
_MOST_PASSES = 100  # of a JPEG; those that are made for the web have ten
_STRIP = 256  # lines of a picture that are converted at a time
_LOUDEST = 2.0  # of samples, where full scale is 1
_LARGEST_RATIO = 200_000  # of two sampling rates, in lowest terms
N_FRAMES = 8  # of a video, evenly spaced


def image(item: Any, max_pixels: int | None = None) -> Any:
    """A PIL image in RGB, upright, from a path, URL, bytes, PIL image, or array.

    Arrays are (height, width), (height, width, 1), (height, width, 3) or (height, width, 4): bool, uint8, uint16, or
    floats in [0, 1]; a grey picture of floats likewise. 32-bit integers are refused, which do not say what white is.
    Files are of `FORMATS`, whatever they are called. The first frame stands for an animation; transparent parts become
    white; 16 bits become 8. By default a file may have 34 million pixels, and up to 134 million where it
    has a byte for every 32 of them; more are refused before they are decoded.
    """
    image_module = need("PIL.Image", "pillow")
    if isinstance(item, image_module.Image):
        found = _to_rgb(item)
        return item.copy() if found is item else found
    if isinstance(item, np.ndarray):
        return _to_rgb(image_module.fromarray(_bytes_of_picture(item)))
    with opened(item) as file, item_errors("the picture"), _picture_of(file, max_pixels) as picture:
        if picture.format != "HEIF":  # whose main picture need not be its first
            picture.seek(0)
        picture.load()  # what is cut off shows here
        return _to_rgb(picture)


def _picture_of(file: Any, max_pixels: int | None) -> Any:
    """A PIL image of which no more than the header is read."""
    from PIL import Image, UnidentifiedImageError

    Image.init()  # or the formats that Pillow knows are not known yet
    n_bytes = size_of(file)
    try:
        picture = Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise C3AlignError(
            f"more pixels than Pillow takes ({error}); {PIXELS.fix} and Image.MAX_IMAGE_PIXELS"
        ) from error
    except UnidentifiedImageError:
        if not heic.is_heic(file):
            raise
        picture = heic.picture_of(file)
    tags = getattr(picture, "tag_v2", {})  # of a TIFF, whose tiles are decoded whole
    n_pixels = max(picture.width * picture.height, tags.get(_TILE[0], 1) * tags.get(_TILE[1], 1))
    PIXELS.check(n_pixels, "pixels", n_bytes, max_pixels)
    if "progressive" in picture.info:
        _check_passes(file)
    return picture


def _check_passes(file: Any) -> None:
    """A progressive JPEG goes over all its pixels in each pass, which may be a few bytes."""
    place = file.tell()
    file.seek(0)
    n_passes = file.read().count(b"\xff\xda")  # within data, a 255 is followed by 0
    file.seek(place)
    if n_passes > _MOST_PASSES:
        raise C3AlignError(f"a JPEG of {n_passes} passes, more than the {_MOST_PASSES} allowed; save it again")


def _to_rgb(picture: Any) -> Any:
    from PIL import Image, ImageOps

    if picture.mode == "F" or (picture.mode == "I" and picture.format not in _DEEP):
        return _to_rgb(Image.fromarray(_bytes_of_picture(np.asarray(picture))))
    turned = picture.getexif().get(_ORIENTATION, 1) != 1
    upright = ImageOps.exif_transpose(picture) if turned else picture
    if upright.mode == "RGB" and "transparency" not in upright.info:
        return upright
    found = Image.new("RGB", upright.size)
    for top in range(0, upright.height, _STRIP):  # in parts, since some steps need many times the memory
        box = (0, top, upright.width, min(top + _STRIP, upright.height))
        found.paste(_strip_to_rgb(upright.crop(box)), box)
    return found


def _strip_to_rgb(strip: Any) -> Any:
    from PIL import Image

    if strip.mode == "I" or strip.mode.startswith("I;16"):
        deep = np.asarray(strip).astype(np.float64)
        strip = Image.fromarray(np.clip(np.rint(deep / 257), 0, 255).astype(np.uint8))
    if strip.mode in ("RGBA", "LA", "PA") or "transparency" in strip.info:
        layer = strip.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        strip = Image.alpha_composite(paper, layer)
    return strip.convert("RGB")


def _bytes_of_picture(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or not array.size or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise C3AlignError(f"a picture must be (height, width[, 1, 3 or 4]), got {array.shape}")
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return np.rint(array / 257).astype(np.uint8)
    if array.dtype.kind == "f" and array.size and array.min() >= 0 and array.max() <= 1:
        return np.rint(array * 255).astype(np.uint8)
    span = f" from {array.min():g} to {array.max():g}" if array.size and array.dtype.kind in "iuf" else ""
    raise C3AlignError(f"a picture must be uint8, uint16, or floats in [0, 1], got {array.dtype}{span}; convert it")


def audio(item: Any, rate: int, max_samples: int | None = None) -> npt.NDArray[np.float32]:
    """A waveform (n,) float32 in [-1, 1], mono, at `rate` samples a second, from a path, URL, bytes, or with its rate.

    A waveform is (n,) or (channels, n), floats in [-1, 1] (decoders may overshoot), signed integers of any width, or
    uint8 around 128; channels are averaged. Files are of `CONTAINERS` and `CODECS`, whatever they are called, and no
    shorter than they state. By default a channel of a file may have 17 million samples (6
    minutes), before and after it is brought to `rate`, and up to 2**30 where the file has a byte for every 32 of them.
    """
    with item_errors("the sound"):
        if isinstance(item, tuple):
            waveform, own_rate = np.asarray(item[0]), int(item[1])
        else:
            waveform, own_rate = _decoded_audio(item, rate, max_samples)
        channels = waveform[None] if waveform.ndim == 1 else waveform
        if channels.ndim != 2 or not channels.size or channels.shape[1] < len(channels):
            raise C3AlignError(
                f"a waveform must be (n,) or (channels, n), got {waveform.shape}; of (n, channels) pass waveform.T"
            )
        floats = _as_floats(channels)
        peak = float(np.abs(floats).max())
        if not peak <= _LOUDEST:  # nor NaN
            raise C3AlignError(f"a waveform must be finite and in [-1, 1], got a peak of {peak:g}; scale or mend it")
        return resampled(floats.mean(axis=0), own_rate, rate)


def _as_floats(samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if samples.dtype.kind == "i":
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    if samples.dtype == np.uint8:
        return ((samples.astype(np.float32) - 128) / 128).astype(np.float32)
    if samples.dtype.kind != "f":
        raise C3AlignError(f"a waveform must be floats, signed integers or uint8, got {samples.dtype}; convert it")
    return samples.astype(np.float32)


def resampled(samples: npt.NDArray[np.float32], own_rate: int, rate: int) -> npt.NDArray[np.float32]:
    """Another sampling rate, by a polyphase filter."""
    if own_rate < 1:
        raise C3AlignError(f"a sampling rate must be above 0, got {own_rate}; pass (waveform, samples a second)")
    if own_rate == rate:
        return samples
    from scipy.signal import resample_poly

    common = gcd(own_rate, rate)
    if max(own_rate, rate) // common > _LARGEST_RATIO:  # the filter has twenty times as many weights
        raise C3AlignError(f"a sampling rate of {own_rate} cannot be brought to {rate}; save the sound at a usual rate")
    return np.asarray(resample_poly(samples, rate // common, own_rate // common), np.float32)


def _decoded_audio(item: Any, rate: int, max_samples: int | None) -> tuple[npt.NDArray[np.float32], int]:
    """The mean of the channels of a file's first stream of sound, counted as it is decoded, and its rate."""
    with opened(item) as file:
        n_bytes = size_of(file)
        with _container_of(file, PIXELS.of(n_bytes, None)) as container:
            stream = _first(container.streams.audio, "sound", "one that does")
            planes, found = need("av", "av").AudioResampler(format="fltp"), bytearray()
            own_rate, packets = max(1, int(stream.rate or 0)), whole_packets(container, file)
            frames = (frame for packet in packets if packet.stream is stream for frame in packet.decode())
            for frame in chain(frames, [None]):
                for part in planes.resample(frame):
                    found += part.to_ndarray().mean(axis=0).tobytes()
                n_samples = len(found) // 4
                SAMPLES.check(max(n_samples, n_samples * rate // own_rate), "samples", n_bytes, max_samples)
    if not found:
        raise C3AlignError("the file holds no sound; pass one that does")
    return np.frombuffer(found, np.float32), int(stream.rate)


def frames(item: Any, n_frames: int = N_FRAMES, rate: float | None = None, max_pixels: int | None = None) -> list[Any]:
    """Frames of a video as PIL images in RGB, upright: `n_frames` evenly spaced in time, or `rate` a second.

    A video is a path, URL, bytes, array (frames, height, width, 3) uint8, or a list of pictures. Files are of
    `CONTAINERS` and `CODECS`, whatever they are called. All frames returned of a file together are bounded as for
    `image`, but with no upper bound.
    """
    if isinstance(item, list) or (isinstance(item, np.ndarray) and item.ndim == 4):
        if not len(item):
            raise C3AlignError("a video of no frames; pass some")
        return [image(item[i], max_pixels) for i in evenly(len(item), n_frames)]
    with opened(item) as file, item_errors("the video"):
        return _decoded_frames(file, n_frames, rate, max_pixels)


def _decoded_frames(file: Any, n_frames: int, rate: float | None, max_pixels: int | None) -> list[Any]:
    """Which frames are wanted is known from the packets, before any is decoded."""
    n_bytes = size_of(file)
    most = FRAMES.of(n_bytes, max_pixels)
    with _container_of(file, most) as container:
        stream = _first(container.streams.video, "pictures", "a video")
        shown = videos.shown_at(stream, whole_packets(container, file))
        seconds = float((shown[-1] - shown[0]) * stream.time_base) if shown else 0.0
        total = len(shown) - 1
        wanted = videos.at_times(shown, min(total, n_frames if rate is None else max(1, round(seconds * rate))))
        last = max(wanted, default=-1)
        n_pixels = stream.codec_context.width * stream.codec_context.height
        FRAMES.check(n_pixels * len(wanted), f"pixels in {len(wanted)} frames", n_bytes, max_pixels)
        DECODED.check(n_pixels * (last + 1), f"pixels in {last + 1} frames", n_bytes, max_pixels)
        container.seek(0, stream=stream)
        stream.thread_type = "AUTO"
        stream.codec_context.options = _at_most(most // max(1, len(wanted)))  # frames may grow later
        found, chosen = {}, set(wanted)
        for i, frame in enumerate(container.decode(stream)):
            if i in chosen:
                found[i] = videos.as_shown(frame, stream)
            if i >= last:
                break
    if not found:
        raise C3AlignError("the file holds no pictures; pass a video")
    return [found[i] for i in wanted if i in found]


def check(item: Any, modality: str, max_pixels: int | None = None) -> None:
    """Refuse a file that `image`, `audio` or `frames` would not open, for encoders that open it themselves."""
    if modality == "audio":
        audio(item, 16_000)  # how much it holds shows when it is decoded
        return
    with opened(item) as file, item_errors(f"the {modality} item"):
        if modality == "image":
            _picture_of(file, max_pixels)
            return
        with _container_of(file, PIXELS.of(size_of(file), max_pixels)) as container:
            _first(container.streams.video, "pictures", "a video")


@contextmanager
def _container_of(file: Any, max_pixels: int) -> Iterator[Any]:
    """A file's streams, by libav. It gets an open file and may open none by name, nor any but the listed formats."""
    check_lists(file, size_of(file))
    allowed = {"format_whitelist": CONTAINERS, "codec_whitelist": CODECS, "protocol_whitelist": "none"}
    with need("av", "av").open(file, container_options=allowed, options=_at_most(max_pixels)) as container:
        yield container


def _at_most(n_pixels: int) -> dict[str, str]:
    """The option of libav's decoders, which count margins too."""
    return {"max_pixels": str(2 * n_pixels + (1 << 16))}


def _first(streams: Any, what: str, instead: str) -> Any:
    """The first stream, of a codec that is allowed."""
    if not streams:
        raise C3AlignError(f"the file holds no {what}; pass {instead}")
    codec = getattr(streams[0].codec_context, "name", None)
    if codec not in CODECS.split(","):
        raise C3AlignError(f"{what} of the codec {codec!r} are not read; convert the file, for instance to MP4")
    return streams[0]


def evenly(total: int, n: int) -> list[int]:
    """The middles of `n` equal stretches of `total` things; all of them when there are fewer."""
    n = min(n, total)
    return [(2 * i + 1) * total // (2 * n) for i in range(n)]
