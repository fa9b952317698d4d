"""Types of what goes in and out, for readers and type checkers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any  # a NumPy array or a torch tensor; what comes out is what went in
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]
ZeroRows: TypeAlias = Literal["raise", "keep"]

__all__ = ["AnyArray", "AnyRows", "Array", "Decoder", "Encoder", "Float64Array", "Int64Array", "ZeroRows"]


class _HasShape(Protocol):
    @property
    def shape(self) -> Any: ...


class _HasDtype(_HasShape, Protocol):
    @property
    def dtype(self) -> Any: ...


AnyRows = TypeVar("AnyRows", bound=_HasShape)  # arrays, tensors and data frames
AnyArray = TypeVar("AnyArray", bound=_HasDtype)  # arrays and tensors: what comes out is what went in


@runtime_checkable
class Encoder(Protocol):
    """The interface of every encoder.

    Attributes
    ----------
    modalities : tuple of str
        The modalities that it embeds.
    n_dims : int
        Dimension of the embeddings.
    fingerprint : str
        Names library, model, weights, dimension and preprocessing: equal fingerprints mean the same space.
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
        """Embed items.

        An encoder may also have ``prepare(item, modality)``, which runs in many threads and whose results `encode`
        accepts as items; it then never waits for files.

        Parameters
        ----------
        items : sequence
            Texts are strings; pictures, sounds and videos are paths, URLs, bytes, PIL images, arrays, (waveform, rate).
        modality : str
            One of `modalities`.
        batch_size : int
            Number of items at a time; the result depends on it only by rounding.
        device : torch device or str, optional
            Where to compute.
        dtype : "float32" or "float16"
            Dtype of the result.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        (n, n_dims) array
            In order, not normalized.
        """
        ...


@runtime_checkable
class Decoder(Protocol):
    """The interface of every decoder: it learns from one modality's embeddings, and decodes another's.

    `fit` and `generate` may have more keyword arguments.

    Attributes
    ----------
    takes : "aligned" or "raw"
        The rows that `generate` takes: results of `C3Aligner.transform`, or raw rows around the mean of `modality_`,
        which `C3Aligner.translate` returns.
    modality_ : str
        The modality that it learned from.
    n_dims : int or None
        Dimension of the rows; None while unknown.
    """

    @property
    def takes(self) -> Literal["aligned", "raw"]: ...
    @property
    def modality_(self) -> str: ...
    @property
    def n_dims(self) -> int | None: ...

    def fit(self, rows: Array, targets: Any, /, *, aligner: Any = None, modality: str = ...) -> Any:
        """Learn from raw rows (n_rows, n_dims) of one modality, with one target per row."""
        ...

    def generate(self, rows: Array, /, *, seed: int = 0, row_offset: int = 0, batch_size: int = ...) -> Iterable[Any]:
        """Decode each row; randomness is a function of seed and row number alone."""
        ...
