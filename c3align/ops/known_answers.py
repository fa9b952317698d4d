"""Whether a GPU's kernels may be used: a few milliseconds of known answers, at its first use in a process.

The kernels' bits are compared with those of the compiled core on the CPU: dtypes, widths, strides, every kind of noise,
rows that are refused, moments. Where one differs, or nothing runs (no kernel for this card, a driver too old), torch's
own operations compute on the device, to the same bits, and one warning names the reason.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator

import numpy as np
import torch

from c3align.errors import one_line
from c3align.ops import _device, cuda, native
from c3align.ops.arrays import Rows, as_rows
from c3align.ops.rowmap import NoiseRequest, Request

__all__ = ["are_right", "verdict"]

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
WIDTHS = (5, 768, 1025)  # narrower than a warp, the usual kind, and one that no vector load divides
_N_ROWS = 40
_verdicts: dict[int | None, str] = {}
_lock = threading.Lock()


def are_right(device: torch.device) -> bool:
    """Whether the kernels of this device gave every known answer; False while a graph is recorded before they did."""
    if device.index not in _verdicts and torch.cuda.is_current_stream_capturing():
        return False
    return not verdict(device)


def verdict(device: torch.device) -> str:
    """What is wrong with the kernels on this device, found out once and told in one warning; "" where nothing is."""
    with _lock:
        if device.index not in _verdicts:
            _verdicts[device.index] = found = _examined(device)
            if found:
                warnings.warn(
                    f"the CUDA kernels are not used on {device}: {found}; torch computes there instead, slower and to "
                    "the same bits; `c3align doctor` tells more",
                    stacklevel=2,
                )
        return _verdicts[device.index]


def _examined(device: torch.device) -> str:
    try:
        return next(_differences(device), "")
    except Exception as error:  # a slower right answer exists, whatever this is
        return one_line(error) or type(error).__name__


def _differences(device: torch.device) -> Iterator[str]:
    """What came out otherwise than on the CPU."""
    for dtype in DTYPES:
        for width in WIDTHS:
            here = _rows(width).to(dtype)
            there = here.to(device)
            for step in (1, 2):
                X, on_device = here[:, ::step], there[:, ::step]
                for name, request in _requests(X.shape[1]).items():
                    if not _is_same(X, on_device, request):
                        yield f"{name} of {width // step} columns in {dtype}"
                if not _has_same_moments(as_rows(X), on_device):
                    yield f"moments of {width // step} columns in {dtype}"
    normals = cuda.philox_normal(9, 131, seed=3, row_offset=2**32 - 3, device=device).cpu().numpy()
    if normals.tobytes() != native.philox_normal(9, 131, seed=3, row_offset=2**32 - 3).tobytes():
        yield "normals"


def _rows(width: int) -> torch.Tensor:
    """Float32 rows with some that are refused: without a direction, not finite, too long."""
    rows = torch.from_numpy(3 * native.philox_normal(_N_ROWS, width, seed=1, row_offset=0))
    rows[3], rows[5, -1], rows[7, 0], rows[9] = 0, float("nan"), float("inf"), rows[9] * 1e-30
    return rows


def _requests(n_dims: int) -> dict[str, Request]:
    mean, scale = np.linspace(-0.02, 0.03, n_dims), np.linspace(0.5, 2, n_dims)
    ids = np.arange(_N_ROWS)[::-1] * 2**33
    kinds = {
        "isotropic noise": (0.1, None, False, False, 2**63 + 1, 2**32 - 20, None),
        "shaped noise": (0.1 * scale, np.linspace(-1, 2, n_dims), False, False, 5, 0, ids),
        "noise of one norm": (0.1, None, True, True, 5, 7, None),
    }
    noises = {name: Request(mean, noise=NoiseRequest(*kind)) for name, kind in kinds.items()}
    plain = {
        "normalize": Request(),
        "align": Request(mean),
        "align with scale and shift": Request(mean, scale, mean, renormalize=False),
    }
    return plain | noises


def _is_same(X: torch.Tensor, on_device: torch.Tensor, request: Request) -> bool:
    rows = as_rows(X)
    expected = np.empty(rows.shape, rows.values.dtype)
    status = native.transform(rows, expected, request.on_host(rows))
    out = torch.empty(X.shape, dtype=X.dtype, device=on_device.device)
    flag = torch.zeros((), dtype=torch.int32, device=on_device.device)
    found = cuda.run(on_device, out, _device.on_device(request, on_device), flag)
    wanted = torch.from_numpy(np.zeros(len(X), np.uint8) if status is None else status)
    is_told = torch.equal(found.cpu(), wanted) and int(flag) == int(_device.kinds_of(X, wanted))
    return is_told and as_rows(out.cpu()).values.tobytes() == expected.tobytes()


def _has_same_moments(rows: Rows, on_device: torch.Tensor) -> bool:
    totals, verdicts = (found.cpu().numpy() for found in cuda.summed(on_device))
    sums, squares, norms, status = native.moments(rows)
    n_kept = np.array([np.sum(status == 0)])
    expected = np.concatenate([sums, squares, native.binned(norms, status), n_kept])
    return np.array_equal(totals, expected) and np.array_equal(verdicts, status)
