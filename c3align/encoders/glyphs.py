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

from c3align.encoders.base import Prepared, check_request
from c3align.errors import C3AlignError, MissingExtraError
from c3align.io import media

__all__ = ["WEIGHTS", "GlyphEncoder", "claim", "load"]

WEIGHTS = Path(__file__).with_name("glyphs.safetensors")
SIZE = 32


def claim(rest: str = "") -> str:
    """The start of the fingerprint: all but the digest of the weights."""
    return f"c3align:glyphs/{hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:12]}/"


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
    name = "glyphs"
    max_pixels: int | None = None  # of a file, before it is made small

    def __init__(self) -> None:
        try:
            import torch
            from safetensors.torch import load as load_tensors

            from c3align.encoders import _glyph_towers as towers
        except ImportError as error:
            raise MissingExtraError("the glyphs encoder needs torch; pip install 'c3align[encoders]'") from error
        content = WEIGHTS.read_bytes()
        self.n_dims = towers.N_DIMS
        self.fingerprint = f"{claim()}{self.n_dims}d/{SIZE}x{SIZE} grey, words and letter groups"
        with safetensors.safe_open(str(WEIGHTS), "np") as file:
            self.figures: dict[str, Any] = json.loads(file.metadata()["figures"])
        state = {name: value.float() for name, value in load_tensors(content).items()}
        self._torch, self._towers = torch, towers
        self._image = _loaded(towers.ImageTower(), state, "image.")
        self._text = _loaded(towers.TextTower(), state, "text.")

    def prepare(self, item: Any, modality: str) -> Prepared:
        """Check a name, or convert an item to a picture: gray, 32 x 32, ink 255."""
        if modality == "text":
            if not isinstance(item, str):
                raise C3AlignError(f"a text must be a string, got {type(item).__name__}")
            return Prepared(item)
        if isinstance(item, np.ndarray) and item.shape == (SIZE, SIZE) and item.dtype == np.uint8:
            return Prepared(item)
        picture = np.asarray(media.image(item, self.max_pixels).convert("L"))
        if picture.shape != (SIZE, SIZE):
            raise C3AlignError(
                f"the picture has {picture.shape[1]} x {picture.shape[0]} pixels; pass gray pictures of "
                f"{SIZE} x {SIZE}, ink white on black, as `c3align.datasets.glyphs` draws them"
            )
        return Prepared(picture)

    def encode(
        self,
        items: Sequence[Any],
        *,
        modality: str,
        batch_size: int = 256,
        device: Any = None,
        dtype: str = "float32",
        progress: bool = False,
    ) -> npt.NDArray[Any]:
        """Embed pictures or names.

        Parameters
        ----------
        items : sequence
            For "image": pictures (32, 32), 0 paper and 255 ink, as one uint8 array, or a list of arrays, PIL images,
            paths. For "text": strings.
        modality : "image" or "text"
        batch_size : int
            Number of items at a time; the result depends on it only by rounding.
        device : torch device or str, optional
            Where to compute; the towers stay there.
        dtype : "float32" or "float16"
            Dtype of the result.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        (n, 256) array
            In order, not normalized.

        Raises
        ------
        C3AlignError
            Another modality, a picture of another size, or a text that is not a string.
        """
        check_request(self, items, modality, batch_size, dtype)
        if device is not None:
            self._image.to(device)
            self._text.to(device)
        embed = self._embed_pictures if modality == "image" else self._embed_names
        starts = tqdm(range(0, len(items), batch_size), disable=not progress, unit="batch", desc=modality)
        parts = []
        with self._torch.inference_mode():
            for start in starts:
                batch = items[start : start + batch_size]
                parts.append(embed([self._value(item, start + i, modality) for i, item in enumerate(batch)]))
        return np.concatenate(parts).astype(dtype, copy=False) if parts else np.empty((0, self.n_dims), dtype)

    def picture_tower(self, pictures: Any) -> Any:
        """The image tower as a differentiable function: a critic for `EmbeddingGenerator.fit`.

        Parameters
        ----------
        pictures : (n, 1, 32, 32) tensor in [0, 1]

        Returns
        -------
        (n, 256) tensor
        """
        return self._image.to(pictures.device)(pictures[:, 0])

    def _value(self, item: Any, place: int, modality: str) -> Any:
        try:
            return (item if isinstance(item, Prepared) else self.prepare(item, modality)).value
        except C3AlignError as error:
            raise C3AlignError(f"{modality} {place}: {error}") from error

    def _embed_pictures(self, pictures: list[Any]) -> npt.NDArray[np.float32]:
        stack = self._torch.from_numpy(np.stack(pictures)).to(next(self._image.parameters()).device)
        return np.asarray(self._towers.embed_pictures(self._image, stack).cpu().numpy(), np.float32)

    def _embed_names(self, names: list[str]) -> npt.NDArray[np.float32]:
        tokens = self._towers.tokenize(names).to(next(self._text.parameters()).device)
        return np.asarray(self._text(tokens).cpu().numpy(), np.float32)


def _loaded(tower: Any, state: dict[str, Any], prefix: str) -> Any:
    """The tower with its weights, in eval mode; the counters of batch norm, unused there, are not shipped."""
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    missing, unexpected = tower.load_state_dict(own, strict=False)
    wrong = [name for name in missing if not name.endswith("num_batches_tracked")] + unexpected
    if wrong:
        raise C3AlignError(f"the weights do not fit the towers ({wrong[0]}); install c3align again")
    return tower.eval().requires_grad_(False)
