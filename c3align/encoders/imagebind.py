"""`imagebind`, if the user has installed it: six senses and texts in one space.

Its license forbids commercial use, so it is not a dependency and none of it is here. Its embeddings are scaled, each
modality by its own factor (sound by 20, texts by a learned one), which would be taken for a norm; this is undone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from c3align._imports import refuse_unsafe
from c3align.encoders import base, fingerprints
from c3align.errors import C3AlignError, MissingExtraError
from c3align.io import media

__all__ = ["ImageBindEncoder", "claim", "load"]

RATE = 16_000  # of the sounds it was trained on
LOADERS = {  # what prepares files and texts, in its module `data`
    "text": "load_and_transform_text",
    "image": "load_and_transform_vision_data",
    "audio": "load_and_transform_audio_data",
    "video": "load_and_transform_video_data",
}
PLACES = {"image": "VISION", "video": "VISION", "thermal": "THERMAL"}  # in its `ModalityType`; others: the name itself


def claim(rest: str = "") -> str:
    """How the fingerprint begins."""
    return "imagebind:huge/"


def load(rest: str = "") -> ImageBindEncoder:
    """ImageBind-Huge with its published weights; "imagebind" takes nothing after a colon."""
    if rest:
        raise C3AlignError(f"imagebind takes no {rest!r}; pass 'imagebind' alone")
    refuse_unsafe("imagebind")
    try:
        from imagebind import data  # type: ignore[import-not-found]
        from imagebind.models import imagebind_model  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingExtraError(
            "imagebind is not installed (its license allows no commercial use); "
            "pip install git+https://github.com/facebookresearch/ImageBind"
        ) from error
    return ImageBindEncoder(imagebind_model.imagebind_huge(pretrained=True), data, imagebind_model.ModalityType)


class ImageBindEncoder(base.TowerEncoder):
    """ImageBind's towers behind the one protocol.

    Depth and thermal pictures are arrays (1, 224, 224), IMU readings arrays (6, 2000), as its paper prepares them;
    texts, pictures, sounds and videos are what every encoder takes. It is made of the library's model, its module of
    loaders, and its `ModalityType`.
    """

    modalities = ("image", "text", "audio", "video", "depth", "thermal", "imu")
    name = "imagebind"

    def __init__(self, model: Any, data: Any, places: Any) -> None:
        super().__init__(model)
        self._data, self._places = data, places
        self.n_dims = int(self._rows([""], "text").shape[1])
        self.fingerprint = f"{claim()}{fingerprints.weights_digest(model)}/{self.n_dims}d/unscaled"

    def prepare(self, item: Any, modality: str) -> base.Prepared:
        """One item as a tensor for the towers; ImageBind's loaders read files, so other items are written to one."""
        import torch

        if modality in LOADERS:
            if modality == "text":
                return super().prepare(item, modality)
            with as_file(item, modality) as path:
                return base.Prepared(getattr(self._data, LOADERS[modality])([path], "cpu")[0])
        values = torch.as_tensor(np.asarray(item), dtype=torch.float32)
        expected = (6, 2000) if modality == "imu" else (1, 224, 224)
        if tuple(values.shape) != expected:
            raise C3AlignError(f"a {modality} item has shape {tuple(values.shape)}; pass arrays of shape {expected}")
        return base.Prepared(values)

    _embed_videos = True  # and not frame by frame
    chooses_frames = False  # its own loader does

    def _embed(self, batch: list[Any], modality: str) -> Any:
        import torch

        place = getattr(self._places, PLACES.get(modality, modality.upper()))
        if modality == "text":
            inputs = self._data.load_and_transform_text(batch, self.device)
        else:
            inputs = torch.stack(batch).to(self.device)
        return self._model({place: inputs})[place] / self._scale(place)

    def _scale(self, place: str) -> float:
        """The factor by which a modality's last step scales its unit embeddings; 1 if it has none."""
        for step in self._model.modality_postprocessors[place].modules():
            if hasattr(step, "log_logit_scale"):
                return float(step.log_logit_scale.detach().exp().clamp(max=step.max_logit_scale))
        return 1.0


@contextmanager
def as_file(item: Any, modality: str) -> Iterator[str]:
    """The path of an item, which is written to a file if it has none on this machine."""
    name = media.name_of(item)
    if name is not None and "://" not in name and modality != "image":  # whose reader knows no EXIF, and no 16 bits
        media.check(name, modality)  # ImageBind's own readers take any format
        yield name
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _written(item, modality, Path(folder))


def _written(item: Any, modality: str, folder: Path) -> str:
    from scipy.io import wavfile

    if modality == "image":
        path = folder / "item.png"
        media.image(item).save(path)
    elif modality == "audio":
        path = folder / "item.wav"
        waveform = np.rint(np.clip(media.audio(item, RATE), -1, 1) * 32767).astype("<i2")
        wavfile.write(path, RATE, waveform)
    else:
        path = folder / "item.mp4"
        with media.opened(item) as file:
            path.write_bytes(file.read())
    return str(path)
