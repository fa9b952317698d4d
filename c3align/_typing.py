"""The shapes of what goes in and out, for readers and type checkers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any  # a NumPy array or a torch tensor; what comes out is what went in
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]
ZeroRows: TypeAlias = Literal["raise", "keep"]

__all__ = ["Array", "Decoder", "Encoder", "Float64Array", "Int64Array", "ZeroRows"]


@runtime_checkable
class Encoder(Protocol):
    """What every encoder offers.

    Attributes
    ----------
    modalities : tuple of str
    n_dims : int
    fingerprint : str
        Names library, model, weights, dimension and preprocessing: equal fingerprints, one space.
    """

    modalities: tuple[str, ...]
    n_dims: int
    fingerprint: str

    def encode(
        self,
        items: Sequence[Any],
        *,
        modality: str,
        batch_size: int = 32,
        device: Any = None,
        dtype: str = "float32",
        progress: bool = False,
    ) -> npt.NDArray[Any]:
        """Embeddings (n, n_dims) of the items, float32 or float16, in order, not normalized.

        An encoder that also has ``prepare(item, modality)``, which may run in many threads and whose results `encode`
        takes as items, is never kept waiting for files.
        """
        ...


@runtime_checkable
class Decoder(Protocol):
    """What learns from embeddings of one modality, and makes something of those of another.

    `fit` and `generate` may take more keyword arguments of their own.

    Attributes
    ----------
    takes : "aligned" or "raw"
        What `generate` takes: rows that `C3Aligner.transform` made, or raw rows in the place of `modality_`, which
        `C3Aligner.translate` makes.
    modality_ : str
        The modality that it learned from.
    n_dims : int or None
        Dimension of the rows; None while it is not known.
    """

    @property
    def takes(self) -> Literal["aligned", "raw"]: ...
    @property
    def modality_(self) -> str: ...
    @property
    def n_dims(self) -> int | None: ...

    def fit(self, rows: Array, targets: Any, /, *, aligner: Any = None, modality: str = ...) -> Any:
        """Learn from raw rows (n_rows, n_dims) of one modality and what belongs to each of them."""
        ...

    def generate(self, rows: Array, /, *, seed: int = 0, row_offset: int = 0, batch_size: int = ...) -> Iterable[Any]:
        """Make something of each row; what is drawn at random is a function of seed and row number alone."""
        ...
