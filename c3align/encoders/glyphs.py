"""`glyphs`: the embedded encoder, of characters and their names, with its weights in the package.

Two small towers, trained contrastively at the temperature of CLIP by `benchmarks/train_glyphs.py`, on pictures of
`c3align.datasets.glyphs`. Nothing is downloaded, and the gap between its modalities is as real as CLIP's.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors

from c3align._imports import need
from c3align.encoders.base import Prepared, TowerEncoder
from c3align.errors import C3AlignError, counted
from c3align.io import media

__all__ = ["WEIGHTS", "GlyphEncoder", "claim", "load"]

WEIGHTS = Path(__file__).with_name("glyphs.safetensors")
SIZE, PAPER = 32, 127  # pixels; what most of a picture is at most


def claim(rest: str = "") -> str:
    """The start of the fingerprint: all but the digest of the weights."""
    return f"c3align:glyphs/{hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:12]}/"


def load(rest: str = "") -> GlyphEncoder:
    """The encoder; "glyphs" takes nothing after a colon."""
    if rest:
        raise C3AlignError(f"glyphs takes no {rest!r}; pass 'glyphs' alone")
    return GlyphEncoder()


class GlyphEncoder(TowerEncoder):
    """Characters (pictures of 32 x 32 pixels) and their Unicode names in one space of 256 dimensions.

    Its `figures` are what the training script measured on held-out characters, from the weights' metadata.
    """

    modalities = ("image", "text")
    name = "glyphs"

    def __init__(self) -> None:
        torch, towers = need("torch", "torch"), need("c3align.encoders._glyph_towers", "torch")
        content = WEIGHTS.read_bytes()
        self.n_dims = towers.N_DIMS
        self.fingerprint = f"{claim()}{self.n_dims}d/{SIZE}x{SIZE} grey, words and letter groups"
        with safetensors.safe_open(str(WEIGHTS), "np") as file:
            self.figures: dict[str, Any] = json.loads(file.metadata()["figures"])
        state = {name: value.float() for name, value in need("safetensors.torch", "torch").load(content).items()}
        self._torch, self._towers = torch, towers
        self._image = _loaded(towers.ImageTower(), state, "image.")
        self._text = _loaded(towers.TextTower(), state, "text.")
        super().__init__(torch.nn.ModuleList([self._image, self._text]))

    def prepare(self, item: Any, modality: str) -> Prepared:
        """Check a name, or convert an item to a picture: gray, 32 x 32, ink 255."""
        if modality == "text":
            return super().prepare(item, modality)
        if isinstance(item, np.ndarray) and item.shape == (SIZE, SIZE) and item.dtype == np.uint8:
            return Prepared(item)
        picture = np.asarray(media.image(item, self.max_pixels).convert("L"))
        if picture.shape != (SIZE, SIZE):
            raise C3AlignError(
                f"the picture has {picture.shape[1]} x {picture.shape[0]} pixels; pass gray pictures of "
                f"{SIZE} x {SIZE}, ink white on black, as `c3align.datasets.glyphs` draws them"
            )
        if np.median(picture) > PAPER:
            raise C3AlignError(
                "the picture is black on white; pass ink white on black, as `c3align.datasets.glyphs` draws it"
            )
        return Prepared(picture)

    def encode(self, items: Sequence[Any], *, batch_size: int = 256, **options: Any) -> npt.NDArray[Any]:
        """Embed pictures or names; see `Encoder.encode`.

        Pictures are (32, 32), 0 paper and 255 ink: one uint8 array, or a list of arrays, PIL images, paths.
        """
        return super().encode(items, batch_size=batch_size, **options)

    def picture_tower(self, pictures: Any) -> Any:
        """The image tower, (n, 1, 32, 32) in [0, 1] to (n, 256), differentiable: a critic for `EmbeddingGenerator`."""
        return self._image.to(pictures.device)(pictures[:, 0])

    def _embed(self, batch: list[Any], modality: str) -> Any:
        if modality == "text":
            return self._text(self._towers.tokenize(batch).to(_device(self._text)))
        stack = np.stack(batch)
        _warn_of_paper(stack)
        return self._towers.embed_pictures(self._image, self._torch.from_numpy(stack).to(_device(self._image)))


def _warn_of_paper(stack: npt.NDArray[np.uint8]) -> None:
    """Say how many arrays are mostly bright, as no picture of `datasets.glyphs` is; bright files are refused."""
    n_bright = int((np.count_nonzero(stack > PAPER, axis=(1, 2)) > SIZE * SIZE / 2).sum())
    if n_bright:
        warnings.warn(
            f"{counted(n_bright, 'picture')} of the glyphs encoder are mostly bright, as black on white is; if they "
            "are that, pass 255 - pictures",
            stacklevel=5,
        )


def _device(tower: Any) -> Any:
    """A tower's own: `picture_tower` moves one alone."""
    return next(tower.parameters()).device


def _loaded(tower: Any, state: dict[str, Any], prefix: str) -> Any:
    """The tower with its weights, in eval mode; the counters of batch norm, unused there, are not shipped."""
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    missing, unexpected = tower.load_state_dict(own, strict=False)
    wrong = [name for name in missing if not name.endswith("num_batches_tracked")] + unexpected
    if wrong:
        raise C3AlignError(f"the weights do not fit the towers ({wrong[0]}); install c3align again")
    return tower.eval().requires_grad_(False)
