"""A fitted aligner as a layer of a torch model."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["AlignerModule"]


class AlignerModule(torch.nn.Module):
    """Aligns rows in eval mode, and corrupts them with fresh noise at each call in train mode.

    The number of rows corrupted so far is a buffer: a checkpoint resumes the noise where it stopped.

    Parameters
    ----------
    aligner : C3Aligner, fitted
    """

    row_offset: torch.Tensor

    def __init__(self, aligner: Any) -> None:
        super().__init__()
        self.aligner = aligner
        self.register_buffer("row_offset", torch.zeros((), dtype=torch.int64))

    def forward(self, X: torch.Tensor, modality: str = "text") -> torch.Tensor:
        """Rows (n_rows, n_dims) of `modality`, which carry no gradient, to aligned (and noisy) rows."""
        if not self.training:
            aligned: torch.Tensor = self.aligner.transform(X, modality=modality)
            return aligned
        noisy: torch.Tensor = self.aligner.corrupt(X, modality=modality, row_offset=int(self.row_offset))
        self.row_offset += X.shape[0]
        return noisy
