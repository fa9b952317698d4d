"""Arrays into and out of the ops: NumPy's and torch's, and by DLPack CuPy's and JAX's; four dtypes.

Every array becomes a `Rows`: a NumPy view of the caller's memory, never a copy on the CPU. bfloat16, which NumPy
lacks, is viewed as uint16 and recorded in `dtype`. Messages are built here, from dtype names and shapes that NumPy and
torch share, so that both fail with the same type and text.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.ma  # now, and not by a lazy import that a fork may interrupt
import numpy.typing as npt

from c3align.errors import C3AlignError

DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(slots=True, eq=False)
class Rows:
    """Rows (n_rows, n_dims) in memory: `values` (uint16 for bfloat16), `dtype` by name, `source` as given."""

    values: npt.NDArray[Any]
    dtype: str
    source: Any = None
    name: str = "X"  # what messages call them

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]

    @property
    def compute_dtype(self) -> type[np.float32] | type[np.float64]:
        return np.float64 if self.dtype == "float64" else np.float32

    def widened(self) -> npt.NDArray[Any]:
        """The rows in their compute dtype: exact, contiguous, read-only when no copy was needed."""
        if self.dtype == "bfloat16":
            return widen_bfloat16(self.values)
        return np.ascontiguousarray(self.values, self.compute_dtype)

    def in_compute_dtype(self) -> Rows:
        return Rows(self.widened(), self.compute_dtype.__name__, None, self.name)

    def take(self, index: Any) -> Rows:
        """Some of the rows, as a view where NumPy gives one."""
        return Rows(self.values[index], self.dtype, None, self.name)

    def restore(self, values: npt.NDArray[Any]) -> Any:
        """Convert `values` (dtype as in `self.values`) to the library, dtype and device of what the caller gave."""
        if is_tensor(self.source):
            torch = sys.modules["torch"]
            tensor = torch.from_numpy(values)
            if self.dtype == "bfloat16":
                tensor = tensor.view(torch.bfloat16)
            return tensor if self.source.is_cpu else tensor.to(self.source.device)
        return values.view(self.source.dtype) if self.dtype == "bfloat16" else values

    def narrowed(self, computed: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Round results in the compute dtype once, to nearest even, to the rows' own dtype."""
        if self.dtype == "bfloat16":
            return narrow_bfloat16(computed)
        with np.errstate(over="ignore"):
            return computed.astype(self.values.dtype, copy=False)


def is_tensor(X: Any) -> bool:
    """Whether X is a torch tensor; imports nothing, as there are no tensors before torch is imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(X, torch.Tensor)


def is_on_device(X: Any) -> bool:
    """Whether X is a torch tensor on a device other than the CPU."""
    torch = sys.modules.get("torch")  # not by `is_tensor`: rows are asked this several times a call
    return torch is not None and isinstance(X, torch.Tensor) and not X.is_cpu


def as_rows(X: Any, name: str = "X") -> Rows:
    """View `X` as rows; `Rows` are returned unchanged.

    Raises
    ------
    C3AlignError
        When X is not a 2-d NumPy array or torch tensor of a floating dtype, is sparse or masked, or is a tensor
        that autograd records.
    """
    if type(X) is Rows:
        return X
    if type(X) is np.ndarray and X.ndim == 2 and X.shape[1] and X.dtype in _PLAIN:
        return Rows(X, _PLAIN[X.dtype], X, name)
    X = native(of_frame(X))
    values = tensor_values(X, name) if is_tensor(X) else _array_values(X, name)
    dtype = dtype_name(X)
    check_shape_and_dtype(tuple(values.shape), dtype, name)
    return Rows(values, dtype, X, name)


def of_frame(X: Any) -> Any:
    """A data frame of floating columns as an array; all else as it is."""
    dtypes = getattr(X, "dtypes", None)
    if dtypes is None or not hasattr(X, "to_numpy") or not all("float" in str(dtype).lower() for dtype in dtypes):
        return X
    return X.to_numpy()


def native(X: Any) -> Any:
    """Floats of swapped bytes, as some files have them, as floats of this machine; all else as it is."""
    if type(X) is np.ndarray and X.dtype.kind == "f" and not X.dtype.isnative:
        return X.astype(X.dtype.newbyteorder("="))
    return X


def check_shape_and_dtype(shape: tuple[int, ...], dtype: str, name: str) -> None:
    """Refuse what is not rows of floats."""
    if dtype not in DTYPES:
        raise C3AlignError(f"{name} has dtype {dtype}; convert it, for instance to float32")
    if len(shape) != 2:
        raise C3AlignError(
            f"{name} must be 2-d, (n_rows, n_dims), got shape {shape}; make a single row 2-d with {name}.reshape(1, -1)"
        )
    if shape[1] == 0:
        raise C3AlignError(f"{name} must have at least one column, got shape {shape}")


def dtype_name(X: Any) -> str:
    """Name of the dtype, the same for NumPy and torch."""
    name = _NAMES.get(X.dtype)
    if name is None:
        name = _NAMES[X.dtype] = str(X.dtype).removeprefix("torch.")
    return name


_NAMES: dict[Any, str] = {}
_PLAIN = {np.dtype(name): name for name in ("float16", "float32", "float64")}  # in this machine's byte order


def _array_values(X: Any, name: str) -> npt.NDArray[Any]:
    if hasattr(X, "toarray"):
        raise C3AlignError(f"{name} is sparse; make it dense with {name}.toarray()")
    if isinstance(X, np.ma.MaskedArray):
        raise C3AlignError(f"{name} is masked; drop the masked rows and pass {name}.data")
    if not isinstance(X, np.ndarray):
        kind = type(X).__name__
        raise C3AlignError(f"{name} is a {kind}, not an array; pass numpy.asarray({name}) or a torch tensor")
    return np.asarray(X.view(np.uint16) if dtype_name(X) == "bfloat16" else X)


def tensor_values(X: Any, name: str) -> npt.NDArray[Any]:
    torch = sys.modules["torch"]
    check_tensor(X, name)
    host = _on_host(X)
    try:
        return host.view(torch.uint16).numpy() if X.dtype == torch.bfloat16 else host.numpy()
    except TypeError as error:  # what NumPy has no dtype for
        raise C3AlignError(f"{name} has dtype {dtype_name(X)}; convert it, for instance to float32") from error


def _on_host(tensor: Any) -> Any:
    """The tensor in memory of the CPU, without its gradient; each of these calls takes a microsecond."""
    tensor = tensor.resolve_neg() if tensor.is_neg() else tensor  # a view, of which NumPy knows nothing
    return tensor if tensor.is_cpu and not tensor.requires_grad else tensor.detach().cpu()


def check_tensor(X: Any, name: str) -> None:
    """Refuse sparse tensors and those that autograd records."""
    torch = sys.modules["torch"]
    if X.layout != torch.strided:
        raise C3AlignError(f"{name} is sparse; make it dense with {name}.to_dense()")
    if X.requires_grad and torch.is_grad_enabled():
        raise C3AlignError(
            f"{name} requires a gradient, which this does not propagate; pass {name}.detach(), or call "
            "c3align.ops.align, corrupt or as_module(), which do"
        )


def widen_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def narrow_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Nearest even; values are finite or infinite, as the ops' results are."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)


def as_vector(vector: Any, n_dims: int, dtype: type[np.floating[Any]], name: str) -> npt.NDArray[Any]:
    """A per-column vector (n_dims,) in `dtype`, rounded once."""
    if is_tensor(vector):
        vector = _on_host(vector)
        vector = (vector.float() if dtype_name(vector) == "bfloat16" else vector).numpy()
    try:
        values = np.ascontiguousarray(vector, dtype)
    except (TypeError, ValueError) as error:
        raise C3AlignError(f"{name} must be {n_dims} numbers, got a {type(vector).__name__}; pass floats") from error
    if values.shape != (n_dims,):
        raise C3AlignError(
            f"{name} has shape {values.shape} and the rows have {n_dims} dimensions; pass one value per column"
        )
    if np.count_nonzero(np.isfinite(values)) != n_dims:  # faster than `all`
        raise C3AlignError(f"{name} holds NaN or infinity; pass finite values")
    return values


def first_non_finite(rows: Rows) -> tuple[int, int]:
    """Number of rows with a NaN or an infinity, and the first of them (-1 when there is none)."""
    bad = np.zeros(rows.shape[0], bool)
    step = max(1, (1 << 22) // rows.shape[1])
    for start in range(0, rows.shape[0], step):
        block = rows.values[start : start + step]
        if rows.dtype == "bfloat16":
            finite = (block & np.uint16(0x7F80)) != np.uint16(0x7F80)
        else:
            finite = np.isfinite(block)
        bad[start : start + step] = ~finite.all(axis=1)
    return int(bad.sum()), int(bad.argmax()) if bad.any() else -1


def first_bad(rows: Rows) -> int:
    """The place of the first row that is not finite, else of the first of zeros alone; -1 if there is none."""
    found, zeros = first_non_finite(rows)[1], np.flatnonzero(~rows.widened().any(axis=1))
    return found if found >= 0 or not len(zeros) else int(zeros[0])


_CPU = 1  # DLPack's number for it


def is_foreign(X: Any) -> bool:
    """Whether X is an array of a library that speaks DLPack, other than NumPy and torch."""
    if not hasattr(X, "__dlpack__") or isinstance(X, np.ndarray | np.generic) or is_tensor(X):
        return False
    return hasattr(_library_of(X), "from_dlpack")


def _library_of(X: Any) -> Any:
    """The namespace of X's functions: the array API's, or the package of its type (CuPy)."""
    if hasattr(X, "__array_namespace__"):
        return X.__array_namespace__()
    return sys.modules.get(type(X).__module__.partition(".")[0])


def from_dlpack(X: Any, name: str = "X") -> Any:
    """X's memory as a NumPy array, or as a tensor where NumPy cannot hold it (devices, bfloat16)."""
    if X.__dlpack_device__()[0] == _CPU and "bfloat16" not in str(X.dtype):
        return np.from_dlpack(X)
    try:
        import torch.utils.dlpack
    except ImportError as error:
        what = f"{name} is a {type(X).__module__} array that NumPy cannot hold"
        raise C3AlignError(f"{what}, and torch is not installed; pip install torch") from error
    return torch.utils.dlpack.from_dlpack(X)


def to_like(result: Any, X: Any) -> Any:
    """A result as an array of X's library."""
    return result if is_tensor(X) else _library_of(X).from_dlpack(result)
