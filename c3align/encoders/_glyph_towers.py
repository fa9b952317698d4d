"""The two towers of the embedded encoder, small enough to train on two cores."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

N_DIMS = 256
BUCKETS = 4096  # rows of the word-part table
MAX_WORDS, MAX_PARTS = 12, 32
WIDTH = 128


class ImageTower(nn.Module):
    """Pictures (n, 32, 32) in [0, 1] to embeddings (n, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            _convolution(1, 32, stride=2),
            _convolution(32, 64, stride=2),
            Residual(64),
            _convolution(64, 128, stride=2),
            Residual(128),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(128 * 16, 384), nn.LayerNorm(384), nn.GELU(), nn.Linear(384, N_DIMS)
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.head(self.stages(pictures[:, None]))
        return embeddings


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = x + self.body(x)
        return total


def _convolution(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(n_out), nn.GELU())


class TextTower(nn.Module):
    """Word parts (n, 12, 32) of names to embeddings (n, 256).

    A word is the sum of its own row and those of its letter groups in a hashed table, so that a word never seen,
    as in "canadian syllabics pwaa" or "braille pattern dots 1246", still has a meaning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.EmbeddingBag(BUCKETS + 1, WIDTH, mode="sum", padding_idx=0)
        nn.init.normal_(self.parts.weight, std=0.3)
        self.places = nn.Parameter(0.1 * torch.randn(MAX_WORDS, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, N_DIMS))

    def forward(self, parts: torch.Tensor) -> torch.Tensor:
        present = (parts > 0).any(-1)
        present[:, 0] |= ~present.any(-1)  # an empty name is one empty word
        words = self.parts(parts.flatten(0, 1)).unflatten(0, parts.shape[:2])
        count = (parts > 0).sum(-1, keepdim=True).clamp(min=1)
        mixed = self.layers(words / count.sqrt() + self.places, src_key_padding_mask=~present)
        mean = (mixed * present[..., None]).sum(1) / present.sum(1, keepdim=True).clamp(min=1)
        embeddings: torch.Tensor = self.head(mean)
        return embeddings


def tokenize(names: Sequence[str]) -> torch.Tensor:
    """Parts of the words of each name, (n, 12, 32) int64; 0 is none. Words beyond the twelfth are left out."""
    tokens = torch.zeros(len(names), MAX_WORDS, MAX_PARTS, dtype=torch.int64)
    for row, name in enumerate(names):
        for place, word in enumerate(name.lower().replace("-", " ").split()[:MAX_WORDS]):
            parts = _word_parts(word)[:MAX_PARTS]
            tokens[row, place, : len(parts)] = torch.tensor(parts)
    return tokens


def _word_parts(word: str) -> list[int]:
    """Buckets of the word itself, its letters, and its groups of two and three letters with the ends marked."""
    marked = f"<{word}>"
    groups = [marked[i : i + size] for size in (2, 3) for i in range(len(marked) - size + 1)]
    parts = [f"word {word}", *(f"letter {letter}" for letter in word), *groups]
    return list(dict.fromkeys(1 + zlib.crc32(part.encode()) % BUCKETS for part in parts))


def embed_pictures(tower: ImageTower, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 32, 32) uint8 to embeddings (n, 256) float32."""
    return tower(pictures.float() / 255)


def contrastive_loss(image: torch.Tensor, text: torch.Tensor, temperature: float) -> torch.Tensor:
    """Symmetric InfoNCE of paired rows (n, 256)."""
    logits = F.normalize(image) @ F.normalize(text).T / temperature
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
