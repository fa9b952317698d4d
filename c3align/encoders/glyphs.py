"""`glyphs`: the embedded encoder, of characters and their names, with its weights in the package.

Two small towers, trained contrastively at the temperature of CLIP by `benchmarks/train_glyphs.py`, on pictures of
`c3align.datasets.glyphs`. Nothing is downloaded, and the gap between its modalities is as real as CLIP's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from tqdm import tqdm

from c3align.errors import C3AlignError, MissingExtraError

__all__ = ["WEIGHTS", "GlyphEncoder", "load"]

WEIGHTS = Path(__file__).with_name("glyphs.safetensors")
SIZE = 32


def load(rest: str = "") -> GlyphEncoder:
    """The encoder; "glyphs" takes nothing after a colon."""
    if rest:
        raise C3AlignError(f"glyphs takes no {rest!r}; pass 'glyphs' alone")
    return GlyphEncoder()


class GlyphEncoder:
    """Characters (pictures of 32 x 32 pixels) and their Unicode names in one space of 256 dimensions.

    Attributes
    ----------
    modalities : ("image", "text")
    n_dims : 256
    fingerprint : str
        Names the weights by their hash.
    figures : dict
        What the training script measured on held-out characters, from the weights' metadata.
    """

    modalities = ("image", "text")

    def __init__(self) -> None:
        try:
            import torch
            from safetensors.torch import load as load_tensors

            from c3align.encoders import _glyph_towers as towers
        except ImportError as error:
            raise MissingExtraError("the glyphs encoder needs torch; pip install 'c3align[encoders]'") from error
        content = WEIGHTS.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:12]
        self.n_dims = towers.N_DIMS
        self.fingerprint = f"c3align:glyphs/{digest}/{self.n_dims}d/{SIZE}x{SIZE} grey, words and letter groups"
        with safetensors.safe_open(str(WEIGHTS), "np") as file:
            self.figures: dict[str, Any] = json.loads(file.metadata()["figures"])
        state = {name: value.float() for name, value in load_tensors(content).items()}
        self._torch, self._towers = torch, towers
        self._image = _loaded(towers.ImageTower(), state, "image.")
        self._text = _loaded(towers.TextTower(), state, "text.")

    def encode(
        self, items: Sequence[Any], *, modality: str, batch_size: int = 256, progress: bool = False
    ) -> npt.NDArray[np.float32]:
        """Embed pictures or names.

        Parameters
        ----------
        items : sequence
            For "image": pictures (32, 32), uint8 with 0 paper and 255 ink, as one array or a list of arrays or PIL
            images. For "text": strings.
        modality : "image" or "text"
        batch_size : int
            Items at a time; the result does not depend on it beyond float32 rounding.
        progress : bool
            Show a bar.

        Returns
        -------
        (n, 256) float32, in order, of any norm.

        Raises
        ------
        C3AlignError
            Another modality, a picture of another shape or dtype, or an item that is no text.
        """
        if modality not in self.modalities:
            raise C3AlignError(f"glyphs does not know modality {modality!r}; pass 'image' or 'text'")
        if isinstance(items, str):
            raise C3AlignError("items is one string; pass a list of them")
        if batch_size < 1:
            raise C3AlignError(f"batch_size={batch_size}; pass 1 or more")
        embed = self._embed_pictures if modality == "image" else self._embed_names
        starts = tqdm(range(0, len(items), batch_size), disable=not progress, unit="batch", desc=modality)
        with self._torch.inference_mode():
            parts = [embed(items[start : start + batch_size], start) for start in starts]
        return np.concatenate(parts) if parts else np.empty((0, self.n_dims), np.float32)

    def _embed_pictures(self, items: Sequence[Any], start: int) -> npt.NDArray[np.float32]:
        pictures = [np.asarray(item) for item in items]
        for i, picture in enumerate(pictures):
            if picture.shape != (SIZE, SIZE) or picture.dtype != np.uint8:
                raise C3AlignError(
                    f"picture {start + i} is {picture.dtype} {picture.shape} and not uint8 ({SIZE}, {SIZE}); "
                    f"pass grey pictures of that size, ink 255 (PIL: image.convert('L').resize(({SIZE}, {SIZE})))"
                )
        embedded = self._towers.embed_pictures(self._image, self._torch.from_numpy(np.stack(pictures)))
        return np.asarray(embedded.numpy(), np.float32)

    def _embed_names(self, items: Sequence[Any], start: int) -> npt.NDArray[np.float32]:
        for i, name in enumerate(items):
            if not isinstance(name, str):
                raise C3AlignError(f"item {start + i} is a {type(name).__name__} and not a text; pass strings")
        return np.asarray(self._text(self._towers.tokenize(items)).numpy(), np.float32)


def _loaded(tower: Any, state: dict[str, Any], prefix: str) -> Any:
    """The tower with its weights, in eval mode; the counters of batch norm, unused there, are not shipped."""
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    missing, unexpected = tower.load_state_dict(own, strict=False)
    wrong = [name for name in missing if not name.endswith("num_batches_tracked")] + unexpected
    if wrong:
        raise C3AlignError(f"the weights do not fit the towers ({wrong[0]}); install c3align again")
    return tower.eval()
