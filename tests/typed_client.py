"""What a user's type checker says of the public face: no error where it is right, and one in each line marked so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from c3align import C3Aligner, ops

rows: npt.NDArray[np.float32] = np.ones((9, 4), np.float32)
tensor = torch.ones(9, 4)

aligner = C3Aligner(noise="residual", zero_rows="keep").fit(rows, rows)
of_arrays: npt.NDArray[np.float32] = aligner.transform(rows, modality="text")
of_tensors: torch.Tensor = aligner.corrupt(tensor)
there: torch.Tensor = aligner.translate(tensor, source="text", target="image")
back: npt.NDArray[Any] = aligner.inverse_transform(rows, modality="text")
aligned: torch.Tensor = ops.align(tensor, None)
noisy: npt.NDArray[np.float32] = ops.corrupt(rows, None, sigma=0.1, seed=0)

C3Aligner(noise="gaussian")  # wrong
C3Aligner(zero_rows="drop")  # wrong
C3Aligner(mapping=1)  # wrong
wrong_library: torch.Tensor = ops.align(rows, None)  # wrong
wrong_result: torch.Tensor = aligner.transform(rows)  # wrong
ops.normalize("rows")  # wrong
ops.normalize(rows, zero_rows="drop")  # wrong
aligner.transform(rows, modality=3)  # wrong
