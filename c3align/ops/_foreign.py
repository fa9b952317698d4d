"""Arrays of other libraries (CuPy, JAX, ...) by DLPack: their memory is read where it is, and results are handed back.

On a device torch takes them over, because it makes the streams of both sides wait for each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align.errors import C3AlignError
from c3align.ops._rows import is_tensor

_CPU = 1  # DLPack's number for it


def is_foreign(X: Any) -> bool:
    """Whether X is an array of a library that speaks DLPack, other than NumPy and torch."""
    return hasattr(X, "__dlpack__") and hasattr(X, "__array_namespace__") and not isinstance(X, np.ndarray | np.generic)


def take_over(X: Any, name: str = "X") -> Any:
    """X's memory as a NumPy array, or as a tensor where NumPy cannot hold it (devices, bfloat16)."""
    if X.__dlpack_device__()[0] == _CPU and "bfloat16" not in str(X.dtype):
        return np.from_dlpack(X)
    try:
        import torch.utils.dlpack
    except ImportError as error:
        what = f"{name} is a {type(X).__module__} array that NumPy cannot hold"
        raise C3AlignError(f"{what}, and torch is not here to do it; pip install torch") from error
    return torch.utils.dlpack.from_dlpack(X)


def hand_back(result: Any, X: Any) -> Any:
    """A result as an array of X's library."""
    return result if is_tensor(X) else X.__array_namespace__().from_dlpack(result)
