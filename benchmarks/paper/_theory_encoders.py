"""The gap of encoders that were never trained: real architectures of open_clip and transformers, random weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _lemmas
import numpy as np
import torch
from tqdm import tqdm

from c3align import datasets, geometry
from c3align._imports import need

Images, Texts = torch.Tensor, torch.Tensor
SMALL_OPEN_CLIP = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 4},
}
SMALL_TOWER = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}


@dataclass(frozen=True)
class Architecture:
    """A model with two towers, how its pictures are sized, and how many tokens its texts have and can be of."""

    name: str
    build: Callable[[], torch.nn.Module]
    size: int
    length: int = 77
    vocabulary: int = 49408


def architectures(quick: bool) -> Iterator[Architecture]:
    """Small configurations, and as `quick` is not asked for the published ones."""
    open_clip, hf = need("open_clip", "open_clip_torch"), need("transformers", "transformers")
    small_vision = {**SMALL_TOWER, "image_size": 64, "patch_size": 8}

    def clip(**settings: Any) -> torch.nn.Module:
        return hf.CLIPModel(hf.CLIPConfig(**settings))

    yield Architecture("open_clip, small ViT", lambda: open_clip.CLIP(**SMALL_OPEN_CLIP), 64)
    small = {"text_config": SMALL_TOWER, "vision_config": small_vision, "projection_dim": 128}
    yield Architecture("transformers CLIP, small", lambda: clip(**small), 64)
    if quick:
        return
    for name in ("ViT-B-32", "RN50"):
        yield Architecture(f"open_clip {name}", lambda n=name: open_clip.create_model(n, pretrained=None), 224)
    yield Architecture("transformers CLIP ViT-B/32", clip, 224)
    config = {"text_config": {}, "vision_config": {"image_size": 256, "patch_size": 32}}
    yield Architecture(
        "transformers SigLIP base, patch 32", lambda: hf.SiglipModel(hf.SiglipConfig(**config)), 256, 64, 32000
    )


def gaps_at_start(n_rows: int, seeds: Sequence[int], quick: bool) -> list[dict[str, Any]]:
    """Gap and prediction for each architecture, and each seed of the small ones."""
    import_libraries()
    found = []
    for architecture in tqdm([*architectures(quick)], desc="encoders", disable=None):
        for seed in seeds if "small" in architecture.name else seeds[:1]:
            torch.manual_seed(seed)
            model = architecture.build().eval()
            rows = embed(model, architecture, n_rows)
            size = sum(parameter.numel() for parameter in model.parameters())
            found.append({"name": architecture.name, "seed": seed, "parameters": size, **predicted(*rows)})
    return found


def import_libraries() -> None:
    """The tests' way around a torchvision that was built for another torch: it is not needed here."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from tests.tiny_encoders import import_torchvision

    import_torchvision()


def inputs(architecture: Architecture, n_rows: int) -> tuple[Images, Texts]:
    """Glyphs, enlarged to three equal channels of [-1, 1], and their names in open_clip's tokens."""
    drawn = datasets.glyphs()
    chosen = np.linspace(0, len(drawn) - 1, n_rows).astype(int)
    pictures = torch.from_numpy(drawn.pictures[chosen]).float()[:, None] / 127.5 - 1
    edge = (architecture.size, architecture.size)
    pictures = torch.nn.functional.interpolate(pictures, edge, mode="bilinear").expand(-1, 3, -1, -1)
    tokens = need("open_clip", "open_clip_torch").tokenize([drawn.names[i] for i in chosen])
    return pictures, tokens[:, : architecture.length] % architecture.vocabulary


@torch.no_grad()
def embed(model: Any, architecture: Architecture, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and text rows, whatever the library calls its towers."""
    pictures, tokens = inputs(architecture, n_rows)
    is_open_clip = hasattr(model, "encode_image")
    towers = (
        (model.encode_image, model.encode_text) if is_open_clip else (model.get_image_features, model.get_text_features)
    )
    rows = []
    for tower, items in zip(towers, (pictures, tokens)):
        parts = [tower(batch) for batch in tqdm(items.split(20), leave=False, disable=None)]
        rows.append(torch.cat([getattr(part, "pooler_output", part) for part in parts]).numpy())
    return rows[0], rows[1]


def predicted(image: np.ndarray, text: np.ndarray) -> dict[str, Any]:
    """The gap beside three predictions: of the paper, with dimensions of one side, and of means that are orthogonal."""
    dims = [geometry.effective_dimension(rows) for rows in (image, text)]
    n_dims = image.shape[1]
    both = max(0, n_dims - sum(dims))
    sides = tuple(dims) if sum(dims) <= n_dims else (n_dims - dims[1], dims[1])
    norms = [float(np.linalg.norm(geometry.unit_rows(rows).mean(axis=0))) for rows in (image, text)]
    return {
        "n_dims": n_dims,
        "effective_dimension": dims,
        "gap": float(np.linalg.norm(geometry.gap_vector(image, text))),
        "predicted": _lemmas.predicted_initial_gap(n_dims, both),
        "predicted_with_sides": _lemmas.predicted_initial_gap(n_dims, both, sides),
        "orthogonal_means": float(np.hypot(*norms)),
        "norms_of_means": norms,
    }
