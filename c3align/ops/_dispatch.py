"""Where a request goes: one table of backends, by what the rows are.

=============================================== =========================== ==========================================
rows                                            backend                     what it is
=============================================== =========================== ==========================================
NumPy arrays, tensors in memory                 `native` or `reference`     C++, or the specification itself
CUDA tensors, see below                         `cuda`                      the CUDA kernels
other tensors on a device                       `eager`                     torch's own operations, to the same bits
tensors that autograd records or a graph traces `torch`                     torch ops, computed by the above
arrays of other libraries                       by DLPack, as above
=============================================== =========================== ==========================================

The CUDA kernels take tensors of a GPU on which their known answers came out right; all, with `C3ALIGN_BACKEND=native`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from c3align.errors import C3AlignError
from c3align.ops import _checks
from c3align.ops._compute import compute, device_backend
from c3align.ops._floats import usual_floats
from c3align.ops.arrays import Rows, from_dlpack, is_foreign, is_tensor, to_like
from c3align.ops.rowmap import Request

__all__ = ["run"]


@usual_floats
def run(X: Any, request: Request, out: Any = None, overwrite_out: bool = False) -> Any:
    """The mapped rows, of X's library, dtype and device; see `c3align.ops.align`."""
    _checks.zero_rows(request.zero_rows)
    if type(X) is not np.ndarray and type(X) is not Rows:
        if is_tensor(X):
            from c3align.ops import torch as recorded  # torch is there when a tensor is

            if recorded.wanted(X, request) or (request.has_matrix and device_backend(X) is not None):
                return recorded.transform(X, request, out)
        elif is_foreign(X):
            return _foreign(X, request, out)
    return compute(X, request, out, overwrite_out)


def _foreign(X: Any, request: Request, out: Any) -> Any:
    if out is not None:
        raise C3AlignError("out= takes NumPy arrays and torch tensors; omit it for arrays of other libraries")
    vectors = {name: getattr(request, name) for name in ("mean", "scale", "shift", "goal")}
    noise = request.noise
    if noise is not None:
        shape = {name: getattr(noise, name) for name in ("sigma", "direction", "row_ids")}
        noise = noise._replace(**_taken_over(shape))
    return to_like(run(from_dlpack(X), request._replace(noise=noise, **_taken_over(vectors))), X)


def _taken_over(vectors: dict[str, Any]) -> dict[str, Any]:
    return {name: from_dlpack(vector, name) for name, vector in vectors.items() if is_foreign(vector)}
