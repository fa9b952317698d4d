"""A fitted aligner as a layer of a torch model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from c3align import centering, ops
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.statistics import ModalityStatistics

__all__ = ["AlignerModule"]


class AlignerModule(torch.nn.Module):
    """Aligns rows in eval mode, and corrupts them with fresh noise at each call in train mode.

    Gradients go through both normalisations, and `torch.compile(fullgraph=True)` and CUDA graphs take it whole. The
    number of rows corrupted so far is a buffer: a checkpoint resumes the noise where it stopped, and a replayed graph
    goes on with new noise. The processes of a distributed run should start it far apart (``module.row_offset +=
    rank * 2**40``), or they share their noise. Noise of kind "residual" is made on the host: gradients and
    `torch.compile` take it, CUDA graphs do not.

    Parameters
    ----------
    aligner : C3Aligner, fitted
    """

    row_offset: torch.Tensor

    def __init__(self, aligner: Any) -> None:
        super().__init__()
        self.aligner = aligner
        self.register_buffer("row_offset", torch.zeros((), dtype=torch.int64))
        # no buffers: a module cast to half precision keeps its means whole
        self._means = {name: torch.from_numpy(found.mean) for name, found in aligner.statistics_.items()}
        self._settings = {"renormalize": aligner.renormalize, "zero_rows": aligner.zero_rows}
        strength, self._seed = aligner._strength(aligner.state_), aligner.seed
        self._sigma = torch.tensor(strength) if isinstance(strength, np.ndarray) else strength

    def forward(self, X: torch.Tensor, modality: str = "text") -> torch.Tensor:
        """Rows (n_rows, n_dims) of `modality` to aligned (and, in train mode, noisy) rows of the same dtype."""
        mean = self._mean(X, modality)
        if not self.training:
            aligned: torch.Tensor = ops.align(X, mean, **self._settings)
            return aligned
        # what the op reads must not move on with the buffer before the gradient is computed
        place = self.row_offset.clone()
        if isinstance(self._sigma, torch.Tensor):
            self._sigma = self._sigma.to(X.device)
        noisy: torch.Tensor = ops.corrupt(
            X, mean, sigma=self._sigma, seed=self._seed, row_offset=place, **self._settings
        )
        self.row_offset += X.shape[0]
        return noisy

    def _mean(self, X: torch.Tensor, modality: str) -> torch.Tensor:
        if not _is_recorded(X):
            modality = self._checked(X, modality)
        elif modality not in self._means:
            raise C3AlignError(f"modality={modality!r} cannot be chosen in a recorded graph; pass a fitted one's name")
        if modality == centering.BATCH:
            rows = X.detach().double().cpu()
            return torch.from_numpy(ModalityStatistics.from_rows(rows, zero_rows=self.aligner.zero_rows).mean)
        self._means[modality] = self._means[modality].to(X.device)
        return self._means[modality]

    def _checked(self, X: torch.Tensor, modality: str) -> str:
        """The modality whose mean is taken; what has to be said about it is said, as in `C3Aligner.transform`."""
        choice = centering.center(modality, centering.state_of(self.aligner, modality), X.detach())
        if choice.warning:
            warnings.warn(choice.warning, ModalityMeanWarning, stacklevel=4)
        return choice.modality


def _is_recorded(X: torch.Tensor) -> bool:
    """Whether this call becomes part of a graph, which cannot stop for a glance at the rows."""
    return torch.compiler.is_compiling() or (X.is_cuda and torch.cuda.is_current_stream_capturing())
