"""Array functions on rows (n_rows, n_dims): normalize, align, corrupt, and exact moments.

They take NumPy arrays and torch tensors, and CuPy's and JAX's arrays by DLPack; float16, bfloat16, float32 or float64,
any strides, read-only memory too. Results have the library, dtype and device of X; the input is never written.
float16, bfloat16 and float32 rows are computed in float32 with float64 norms and rounded once at the end; float64 rows
in float64. Every backend and device gives the bits of `c3align.ops.reference`; tensors are computed on their own device
(devices without float64, such as Apple's MPS, come close: see `c3align.ops._eager_math`).
"""

from __future__ import annotations

from typing import Any

from c3align._arguments import check_whole
from c3align._typing import AnyArray, Array, Float64Array, ZeroRows
from c3align.ops import _checks, _moments, fixed, products
from c3align.ops._compute import device_backend
from c3align.ops._dispatch import run
from c3align.ops._floats import usual_floats
from c3align.ops._moments import Moments, PairMoments
from c3align.ops.arrays import as_rows, from_dlpack, is_foreign
from c3align.ops.backends import (
    backend,
    backend_reason,
    get_num_threads,
    load,
    num_threads_reason,
    pick,
    set_num_threads,
)
from c3align.ops.deferred import deferred_checks
from c3align.ops.rowmap import NoiseRequest, Request, stream

__all__ = ["Moments", "PairMoments", "align", "backend", "backend_reason", "column_products", "corrupt"]
__all__ += ["deferred_checks", "get_num_threads", "invert", "moments", "normalize", "num_threads_reason"]
__all__ += ["pair_moments", "philox_normal", "set_num_threads", "translate"]

NORM_BINS = fixed.NORM_BINS


def normalize(
    X: AnyArray, *, zero_rows: ZeroRows = "raise", out: Array | None = None, overwrite_out: bool = False
) -> AnyArray:
    """Divide each row by its Euclidean norm: ``u = x * fl(1 / ||x||)``.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor, floating
        Rows of any norm.
    zero_rows : "raise" or "keep"
        Whether rows without a direction (norm below 2**-126) are refused or returned as zeros.
    out : array or tensor like X, optional
        Where to write; may be X itself, or share memory with a vector. A refused batch leaves it unchanged: all rows
        are checked before the first is written, which takes about half as long again.
    overwrite_out : bool
        Whether a refused batch may leave zeros and some results in `out`, which saves the separate check; not where
        `out` is X or shares memory with a vector.

    Returns
    -------
    array or tensor like X
        Rows of norm 1, within 2 ULP of float32 (of float64 for float64 rows).

    Raises
    ------
    C3AlignError
        NaN or infinity (with their number and the first such row), zero rows, or an unsuitable shape or dtype.
    """
    return run(X, Request(renormalize=False, zero_rows=zero_rows), out, overwrite_out)


def align(
    X: AnyArray,
    mean: Array | None,
    *,
    scale: Array | None = None,
    shift: Array | None = None,
    normalize: bool = True,
    renormalize: bool = True,
    zero_rows: ZeroRows = "raise",
    out: Array | None = None,
    overwrite_out: bool = False,
) -> AnyArray:
    """Normalize rows, map their columns, normalize again: ``unit((unit(x) - mean) * scale + shift)``.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor, floating
        Rows of any norm.
    mean, scale, shift : (n_dims,), optional
        Rounded once to float32 (float64 for float64 rows). Collapse (C3, eq. 4) uses the mean alone.
    normalize : bool
        Whether rows are brought to norm 1 first; rows that something else has mapped are taken as they are.
    renormalize : bool
        Whether the result is brought to norm 1.
    zero_rows : "raise" or "keep"
        As in `normalize`. Rows that equal the mean up to its error count too, when the result is renormalized and no
        `shift` is added: a centered norm of at most 2**-22, or sqrt(n_dims) * 2**-40 for float64 rows.
    out, overwrite_out : optional
        As in `normalize`.

    Returns
    -------
    array or tensor like X
        The mapped rows; each depends only on its own row and the vectors.

    Raises
    ------
    C3AlignError
        As in `normalize`; also vectors of another width or not finite.
    """
    _checks.flags(normalize=normalize, renormalize=renormalize)
    request = Request(mean, scale, shift, None, renormalize, not normalize, zero_rows=zero_rows)
    return run(X, request, out, overwrite_out)


def translate(
    X: AnyArray,
    mean: Array | None,
    goal: Array,
    *,
    norm: float = 1.0,
    renormalize: bool = True,
    zero_rows: ZeroRows = "raise",
    out: Array | None = None,
    overwrite_out: bool = False,
) -> AnyArray:
    """Move rows from around one mean to around another: `align`, then `invert` with the other mean, times a norm.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor, floating
        Rows of any norm.
    mean : (n_dims,) or None
        The mean of X's own modality, subtracted from the unit rows.
    goal : (n_dims,)
        The mean of the other modality's unit rows, of norm 1 at most.
    norm : float in [2**-126, 2**126]
        The norm of the resulting rows.
    renormalize : bool
        Whether aligned rows have norm 1; if not, the result is ``norm * unit(unit(x) - mean + goal)``.
    zero_rows, out, overwrite_out : optional
        As in `align`.

    Returns
    -------
    array or tensor like X
        The moved rows.
    """
    _checks.flags(renormalize=renormalize)
    if not renormalize:
        return run(X, Request(mean, shift=goal, norm=norm, zero_rows=zero_rows), out, overwrite_out)
    return run(X, Request(mean, goal=goal, norm=norm, zero_rows=zero_rows), out, overwrite_out)


def invert(
    Z: AnyArray,
    mean: Array,
    *,
    renormalized: bool = True,
    zero_rows: ZeroRows = "raise",
    out: Array | None = None,
    overwrite_out: bool = False,
) -> AnyArray:
    """Recover the unit rows u that `align` turned into Z: ``u = mean + t z`` with ``||u|| = 1``, z the unit rows of Z.

    ``t = -mean . z + sqrt((mean . z)**2 + 1 - ||mean||**2)`` is the only positive root while ``||mean|| < 1``.

    Parameters
    ----------
    Z : (n_rows, n_dims) array or tensor, floating
        Aligned rows.
    mean : (n_dims,)
        The mean that `align` subtracted, of norm 1 at most where `renormalized`.
    renormalized : bool
        Whether `align` renormalized; if not, the result is ``unit(z + mean)`` with the rows z as given.
    zero_rows, out, overwrite_out : optional
        As in `align`.

    Returns
    -------
    array or tensor like Z
        The unit rows; with ``zero_rows="keep"`` rows of zeros stay zeros.
    """
    _checks.flags(renormalized=renormalized)
    if renormalized:
        return run(Z, Request(renormalize=False, goal=mean, zero_rows=zero_rows), out, overwrite_out)
    return run(Z, Request(shift=mean, is_raw=True, zero_rows=zero_rows), out, overwrite_out)


def corrupt(
    X: AnyArray,
    mean: Array | None,
    *,
    sigma: float | Array,
    seed: int,
    row_offset: Any = 0,
    row_ids: Array | None = None,
    scale: Array | None = None,
    shift: Array | None = None,
    direction: Array | None = None,
    fixed_norm: bool = False,
    random_strength: bool = False,
    normalize: bool = True,
    renormalize: bool = True,
    zero_rows: ZeroRows = "raise",
    out: Array | None = None,
    overwrite_out: bool = False,
) -> AnyArray:
    """Align rows and add noise before the second normalization: ``unit(unit(x) - mean + sigma * z)``.

    ``z`` is a function of (seed, row_offset + row, column), see `philox_normal`: the same noise for any split of
    the rows, on every machine. ``sigma=0`` gives the bits of `align`.

    Parameters
    ----------
    X, mean : optional
        As in `align`.
    sigma : float >= 0, (n_dims,), or (n_dims, n_dims)
        Standard deviation of the noise per coordinate (C3, eq. 5), for all columns or for each. A matrix A gives the
        noise the covariance ``A^T A``: ``z @ A`` replaces ``sigma * z``, with z rounded to 2**-20 and A to 2**-28 of
        its largest column, so that batches, threads and BLAS change no bit. It excludes `direction`, `fixed_norm` and
        `random_strength`, and never leaves rows of a refused batch in `out`.
    seed, row_offset : int in [0, 2**64)
        The noise stream, and the number of X's first row in it. A `row_offset` that is an int64 tensor on X's device is
        read there when the kernel runs, so that a replayed CUDA graph can draw new noise.
    row_ids : (n_rows,) int64 or uint64, optional
        The number of each row in the stream, instead of `row_offset`: row i gets the noise of row ``row_ids[i]`` in
        any batch, so that a shuffled epoch can be split at will. A tensor on X's device is read there.
    scale, shift : (n_dims,), optional
        As in `align`.
    direction : (n_dims,), optional
        A vector that the noise is made orthogonal to, such as the gap: ``z - (z . v) v``, v its unit vector.
    fixed_norm : bool
        Whether every row's noise has the norm ``sqrt(sum(sigma**2))``, which is ``sigma * sqrt(d)`` for a single sigma.
        LAFITE's ``(1 - a) x + a eps / ||eps||`` is this, renormalized, with `c3align.noise.sigma_from_lafite_mix`.
    random_strength : bool
        Whether each row's noise is multiplied by its own uniform number in (0, 1).
    normalize, renormalize, zero_rows, out, overwrite_out : optional
        As in `align`.

    Returns
    -------
    array or tensor like X
        The noisy rows; each depends only on its own row, its number in the stream, and the settings.
    """
    _checks.flags(fixed_norm=fixed_norm, random_strength=random_strength)
    _checks.flags(normalize=normalize, renormalize=renormalize)
    noise = NoiseRequest(sigma, direction, fixed_norm, random_strength, seed, row_offset, row_ids)
    request = Request(mean, scale, shift, noise, renormalize, not normalize, zero_rows=zero_rows)
    return run(X, request, out, overwrite_out)


@usual_floats
def moments(X: Array, *, zero_rows: ZeroRows = "raise") -> Moments:
    """Sum the unit rows of X, their squares and their raw norms exactly.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor, floating
        Rows of any norm.
    zero_rows : "raise" or "keep"
        Whether rows without a direction are refused or left out and counted.

    Returns
    -------
    Moments
        The same integers for any order and any split of the rows (promise P1).
    """
    _checks.zero_rows(zero_rows)
    X = from_dlpack(X) if is_foreign(X) else X
    where = device_backend(X)
    if where is not None:
        return Moments(*load("_device").moments(where, X, zero_rows))
    return _moments.of_rows(as_rows(X), zero_rows)


@usual_floats
def pair_moments(
    X: Array, y: Array, *, zero_rows: ZeroRows = "raise", y_zero_rows: ZeroRows | None = None
) -> PairMoments:
    """Sum both sides of pairs and the differences of their unit rows exactly, in one pass.

    Parameters
    ----------
    X, y : (n_rows, n_dims) arrays or tensors, floating
        Partners on one device, of any norm; their dtypes may differ. Raises as `moments` of X, then
        of y, and for different shapes.
    zero_rows : "raise" or "keep"
        Whether rows without a direction are refused or left out, with their pairs.
    y_zero_rows : "raise" or "keep", optional
        The same for y, if it differs.

    Returns
    -------
    PairMoments
        Moments of X, of y, and of the differences.
    """
    policies = zero_rows, zero_rows if y_zero_rows is None else y_zero_rows
    for policy in policies:
        _checks.zero_rows(policy)
    X, y = (from_dlpack(Z, name) if is_foreign(Z) else Z for Z, name in ((X, "X"), (y, "y")))
    for Z, name in ((X, "X"), (y, "y")):
        if not hasattr(Z, "shape"):
            as_rows(Z, name)  # refuses
    _checks.pairs(X, y)
    where = device_backend(X)
    if where is not None:
        return PairMoments.of(*load("eager").pair_moments(where, X, y, *policies))
    return _moments.of_pairs(as_rows(X), as_rows(y, "y"), *policies)


def column_products(X: Array, *, zero_rows: ZeroRows = "raise") -> Float64Array:
    """Sum the products of columns over the unit rows, ``sum(u u^T)``: float64 by BLAS, block by block.

    Parameters
    ----------
    X : (n_rows, n_dims) array or tensor, floating
        Rows of any norm; the products of a tensor are computed on its device (if that has float64).
    zero_rows : "raise" or "keep"
        Whether rows without a direction are refused or add nothing.

    Returns
    -------
    (n_dims, n_dims) float64
        NumPy array, symmetric, within ``1e-12 * n_rows`` of exact; not reproducible to the bit.
    """
    X = from_dlpack(X) if is_foreign(X) else X
    moments(X, zero_rows=zero_rows)  # refuses with the row's number in the whole
    return products.of_rows(X)


def philox_normal(n_rows: int, n_dims: int, *, seed: int, row_offset: int = 0) -> Any:
    """Draw standard normals as a function of (seed, row, column): Philox4x32-10 and Box-Muller in float32.

    Parameters
    ----------
    n_rows, n_dims : int
        Shape of the result, ``n_rows >= 0`` and ``n_dims >= 1``.
    seed, row_offset : int in [0, 2**64)
        The noise stream, and the number of the first row in it.

    Returns
    -------
    (n_rows, n_dims) float32
        NumPy array; its rows a to b are ``philox_normal(b - a, n_dims, seed=seed, row_offset=row_offset + a)``.
    """
    n_rows, n_dims = check_whole("n_rows", n_rows, 0), check_whole("n_dims", n_dims)
    return pick().philox_normal(n_rows, n_dims, **stream(seed, row_offset, n_rows))
