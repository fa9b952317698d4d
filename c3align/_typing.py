"""The shapes of what goes in and out, for readers and type checkers."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any  # a NumPy array or a torch tensor; what comes out is what went in
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]
ZeroRows: TypeAlias = Literal["raise", "keep"]

__all__ = ["Array", "Float64Array", "Int64Array", "ZeroRows"]
