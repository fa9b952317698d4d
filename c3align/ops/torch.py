"""The torch interface: `torch.ops.c3align.align` and `corrupt`, with shapes for tracing and gradients for training.

`c3align.ops` sends tensors here when autograd records them or `torch.compile` traces them, and goes straight to the
kernels otherwise, which is several times quicker on small batches. The kernels are opaque to the compiler: no graph
breaks, and nothing of them is traced. The gradient is that of both normalizations; noise is a constant. It
consists of torch operations on the rows' device, and can be differentiated again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from c3align.errors import C3AlignError
from c3align.ops import _matrix_noise, eager
from c3align.ops._compute import compute
from c3align.ops._floats import usual_floats
from c3align.ops._matrix_noise import check
from c3align.ops.reference import MAX_NORM, MIN_NORM
from c3align.ops.rowmap import Noise, NoiseRequest, Request, stream

__all__ = ["transform", "wanted"]

_library: Any = torch.library.Library("c3align", "DEF")  # type: ignore[no-untyped-call]
_MAP = "Tensor X, Tensor? mean, Tensor? scale, Tensor? shift, bool renormalize, bool keep_zero_rows"
_NOISE = (
    "float sigma, Tensor? columns, Tensor? direction, bool fixed_norm, bool random_strength, SymInt seed, "
    "SymInt row_offset, Tensor? first_row, Tensor? row_ids"
)
_library.define(f"align({_MAP}, bool is_raw=False) -> Tensor", tags=torch.Tag.pt2_compliant_tag)
_library.define(f"corrupt({_MAP}, {_NOISE}, bool is_raw=False) -> Tensor", tags=torch.Tag.pt2_compliant_tag)
_library.define(
    "matrix_noise(Tensor root, SymInt n_rows, SymInt seed, SymInt row_offset, Tensor? first_row, Tensor? row_ids) "
    "-> Tensor",
    tags=torch.Tag.pt2_compliant_tag,
)
_PLAIN = (torch.Tensor, torch.nn.Parameter)  # others, fake tensors among them, may have no memory to read
_NUMBER_OF_INPUTS = {"align": 7, "corrupt": 16}


def wanted(X: torch.Tensor, request: Request) -> bool:
    """Whether a call has to go through here: it is traced, or gradients are recorded."""
    if torch.compiler.is_compiling() or type(X) not in _PLAIN:
        return True
    if not torch.is_grad_enabled():
        return False
    vectors = (request.mean, request.scale, request.shift)
    return X.requires_grad or any(isinstance(v, torch.Tensor) and v.requires_grad for v in vectors)


def transform(X: torch.Tensor, request: Request, out: Any = None) -> torch.Tensor:
    """See `c3align.ops.align` and `corrupt`."""
    if out is not None:
        raise C3AlignError("out= has no gradient, cannot be traced, and takes no matrix sigma on a device; omit it")
    if request.goal is not None or request.norm != 1:
        raise C3AlignError("translate and invert have no gradient and cannot be traced; call on X.detach(), untraced")
    noise = request.noise
    if noise is not None and request.has_matrix:
        return _with_matrix(X, request, check(noise))
    columns = [_as_tensor(vector, X) for vector in request[:3]]
    settings = request.renormalize, request.zero_rows == "keep"
    if noise is None:
        return torch.ops.c3align.align(X, *columns, *settings, request.is_raw)
    return torch.ops.c3align.corrupt(X, *columns, *settings, *_noise_inputs(noise, X), request.is_raw)


def _noise_inputs(noise: NoiseRequest, X: torch.Tensor) -> tuple[Any, ...]:
    is_vector = not isinstance(noise.sigma, (int, float)) and getattr(noise.sigma, "ndim", 1) > 0
    sigma, columns = (1.0, _as_tensor(noise.sigma, X)) if is_vector else (float(noise.sigma), None)
    shape = (_as_tensor(noise.direction, X), noise.fixed_norm, noise.random_strength)
    return (sigma, columns, *shape, *_place(noise, X))


def _place(noise: NoiseRequest, X: torch.Tensor) -> tuple[Any, Any, torch.Tensor | None, torch.Tensor | None]:
    noise.check_one_place()
    first_row = noise.row_offset if isinstance(noise.row_offset, torch.Tensor) else None
    row_offset = noise.row_offset if first_row is None else 0
    if not torch.compiler.is_compiling():
        stream(noise.seed, row_offset)  # refuse what the schema would wrap
    return _signed(noise.seed), _signed(row_offset), first_row, _as_tensor(noise.row_ids, X)


def _with_matrix(X: torch.Tensor, request: Request, noise: NoiseRequest) -> torch.Tensor:
    """See `c3align.ops._matrix_noise`; only the noise is an op of its own, and has no gradient."""
    wide = X if X.dtype == torch.float64 else X.float()
    residual = transform(wide, request._replace(noise=None, renormalize=False))
    sigma = noise.sigma if isinstance(noise.sigma, torch.Tensor) else torch.tensor(noise.sigma)
    root = sigma.to("cpu" if X.device.type == "mps" else X.device, torch.float64)
    drawn = torch.ops.c3align.matrix_noise(root, X.shape[0], *_place(noise, X))
    noisy = residual + drawn.to(residual.dtype).to(residual.device)
    compares = request.renormalize and request.mean is not None and request.shift is None
    if compares or request.zero_rows == "keep":
        mean = _as_tensor(request.mean, X) if compares else None
        noisy = torch.where(_has_direction(wide, mean, request.zero_rows, request.is_raw), noisy, 0)
    if request.renormalize:
        noisy = transform(noisy, Request(renormalize=False, zero_rows=request.zero_rows))
    return noisy.to(X.dtype)


def _has_direction(X: torch.Tensor, mean: torch.Tensor | None, zero_rows: Any, is_raw: bool) -> torch.Tensor:
    """Which rows are neither zeros nor at the mean, (n_rows, 1) bool; the kernel says so, to its own bits."""
    mean = mean.detach() if mean is not None else None
    request = Request(mean, zero_rows=zero_rows, is_raw=is_raw)
    return transform(X.detach(), request).any(dim=1, keepdim=True)


def _shape_of_noise(root: torch.Tensor, n_rows: int, *_: Any) -> torch.Tensor:
    return root.new_empty((n_rows, root.shape[1]))


def _run_matrix_noise(
    root: torch.Tensor, n_rows: int, seed: int, row_offset: int, first_row: Any, row_ids: Any
) -> torch.Tensor:
    if not root.is_cpu:
        place = Noise(row_offset=row_offset % 2**64, row_ids=row_ids, first_row=first_row)
        return eager.matrix_noise(root, eager.numbers_of(place, n_rows, root.device), seed % 2**64)
    row_offset = int(row_offset if first_row is None else first_row) % 2**64
    request = NoiseRequest(root, None, False, False, seed % 2**64, row_offset, row_ids)
    return torch.from_numpy(_matrix_noise.normals(n_rows, root, **request.place(n_rows)))


def _as_tensor(vector: Any, X: torch.Tensor) -> torch.Tensor | None:
    if not torch.compiler.is_compiling() and isinstance(vector, np.ndarray) and min(vector.strides, default=0) < 0:
        vector = vector.copy()  # torch knows no such strides
    if vector is None or X.device.type != "mps":
        return None if vector is None else torch.as_tensor(vector, device=X.device)
    host = torch.as_tensor(vector)
    return host.to(X.device, torch.float32 if host.is_floating_point() else torch.int64)  # it has no float64


def _signed(number: Any) -> Any:
    """A 64-bit number as the schema's signed integers hold it."""
    return number - 2**64 if number >= 2**63 else number


def _run_align(
    X: Any, mean: Any, scale: Any, shift: Any, renormalize: bool, keep: bool, is_raw: bool = False
) -> torch.Tensor:
    request = Request(mean, scale, shift, None, renormalize, is_raw, zero_rows="keep" if keep else "raise")
    return usual_floats(compute)(X, request)


def _run_corrupt(
    X: Any,
    mean: Any,
    scale: Any,
    shift: Any,
    renormalize: bool,
    keep: bool,
    sigma: float,
    columns: Any,
    direction: Any,
    fixed_norm: bool,
    random_strength: bool,
    seed: int,
    row_offset: int,
    first_row: Any,
    row_ids: Any,
    is_raw: bool = False,
) -> torch.Tensor:
    strength, first = sigma if columns is None else columns, row_offset % 2**64 if first_row is None else first_row
    noise = NoiseRequest(strength, direction, fixed_norm, random_strength, seed % 2**64, first, row_ids)
    request = Request(mean, scale, shift, noise, renormalize, is_raw, zero_rows="keep" if keep else "raise")
    return usual_floats(compute)(X, request)


def _shape_of_result(X: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(X, memory_format=torch.contiguous_format)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    """Keep rows and vectors; the mapped rows are computed again, with their noise, which costs less than memory."""
    tensors = {i: value for i, value in enumerate(inputs) if isinstance(value, torch.Tensor)}
    ctx.save_for_backward(*tensors.values())
    ctx.places = tuple(tensors)
    ctx.others = {i: value for i, value in enumerate(inputs) if i not in tensors}


def _gradient(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    inputs = {**ctx.others, **dict(zip(ctx.places, ctx.saved_tensors))}
    arguments = [inputs[i] for i in range(len(inputs))]
    op = torch.ops.c3align.align if len(arguments) == _NUMBER_OF_INPUTS["align"] else torch.ops.c3align.corrupt
    X, mean, scale, shift, renormalize = arguments[:5]
    is_raw = arguments[-1]
    wide = X.double() if X.dtype == torch.float64 else X.float()
    g, unit, norms = grad.to(wide.dtype), *_unit(wide)
    unit = wide if is_raw else unit
    if renormalize:
        # zero rows went through or raised in the forward pass
        mapped = op(wide, mean, scale, shift, False, True, *arguments[6:])
        g = _through_normalization(g, *_unit(mapped))
        if mean is not None and shift is None:
            g = torch.where(_has_direction(wide, mean, "keep", is_raw), g, 0)
    through = g if scale is None else g * scale.to(g.dtype)
    found: list[Any] = [None] * len(arguments)
    found[0] = (through if is_raw else _through_normalization(through, unit, norms)).to(X.dtype)
    if mean is not None and ctx.needs_input_grad[1]:
        found[1] = -through.sum(0).to(mean.dtype)
    if scale is not None and ctx.needs_input_grad[2]:
        centred = unit if mean is None else unit - mean.to(g.dtype)
        found[2] = (g * centred).sum(0).to(scale.dtype)
    if shift is not None and ctx.needs_input_grad[3]:
        found[3] = g.sum(0).to(shift.dtype)
    return tuple(found)


def _unit(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows and norms; rows without a direction are zeros of infinite norm, so that they get no gradient."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    usable = (norms >= MIN_NORM) & (norms <= MAX_NORM)
    norms = torch.where(usable, norms, torch.inf)
    return torch.where(usable, rows / norms, 0), norms


def _through_normalization(g: torch.Tensor, unit: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Gradient of u = x / ||x||: the part of g across the row, over its norm."""
    return (g - (g * unit).sum(1, keepdim=True) * unit) / norms


_library.impl("matrix_noise", _run_matrix_noise, "CompositeExplicitAutograd")
torch.library.register_fake("c3align::matrix_noise", _shape_of_noise, lib=_library)
for _name, _run in (("align", _run_align), ("corrupt", _run_corrupt)):
    _library.impl(_name, _run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"c3align::{_name}", _shape_of_result, lib=_library)
    torch.library.register_autograd(f"c3align::{_name}", _gradient, setup_context=_remember, lib=_library)
