"""Ray Data: columns of embeddings are learned in one pass over the blocks, merged exactly, and aligned in place.

What a block teaches travels as the bytes of an aligner, and merging is exact: no number of blocks, order or lost worker
shows in the result. Written for and tested with Ray 2.60.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from c3align._imports import need
from c3align._settings import check_modality_name
from c3align.aligner import C3Aligner
from c3align.errors import C3AlignError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AlignerPreprocessor"]

_RAY = ("ray", "ray")  # package and extra
_AggregateFn: Any = need("ray.data.aggregate", *_RAY).AggregateFnV2
_Preprocessor: Any = need("ray.data.preprocessor", *_RAY).SerializablePreprocessorBase
_registered = need("ray.data.preprocessors.version_support", *_RAY).SerializablePreprocessor
_accessor = need("ray.data.block", *_RAY).BlockAccessor
pa, pc = need("pyarrow", *_RAY), need("pyarrow.compute", *_RAY)
_NAME = "aligner"


@_registered(version=1, identifier="c3align.aligner_preprocessor")
class AlignerPreprocessor(_Preprocessor):
    """A `C3Aligner` for datasets of Ray: `fit` learns columns of embeddings in one pass, `transform` aligns them.

    Columns are lists of floats or tensors, of any norm; each comes back as it was, aligned, and the other columns are
    not touched. The result of `fit` has the bytes of one `C3Aligner` on one machine (covariances come within their
    tolerance), for any blocks, and whichever workers are lost.

    Parameters
    ----------
    columns : mapping of str to str
        For each modality the column that holds its embeddings.
    aligner : C3Aligner, optional
        With the settings. If it is fitted, nothing needs to be: `transform` aligns by a copy of it.
    output_columns : mapping of str to str, optional
        For each modality the column that its aligned rows go to; by default the one they came from.
    pairs : bool
        Whether the two columns of a row belong together, so that the gap's residuals and what the settings ask for are
        learned of pairs.
    """

    def __init__(
        self,
        columns: Mapping[str, str],
        *,
        aligner: C3Aligner | None = None,
        output_columns: Mapping[str, str] | None = None,
        pairs: bool = False,
    ) -> None:
        super().__init__()
        by_modality = _checked_columns(columns)
        outputs = by_modality if output_columns is None else _checked_columns(output_columns, "output_columns")
        if outputs.keys() != by_modality.keys():
            raise C3AlignError(f"output_columns must name the modalities {', '.join(by_modality)}; name all of them")
        for name, given in (("columns", by_modality), ("output_columns", outputs)):
            if len(set(given.values())) < len(given):
                raise C3AlignError(f"{name} must be another column for each modality, got {given}; name others")
        self._set(by_modality, outputs, _settings_of(aligner), pairs)
        if pairs and len(by_modality) != 2:
            raise C3AlignError(f"pairs=True needs 2 columns, got {len(by_modality)}; pass those that belong together")
        if aligner is not None and hasattr(aligner, "state_"):
            self.stats_ = {_NAME: C3Aligner.from_bytes(aligner.to_bytes())}

    def _set(self, columns: dict[str, str], outputs: dict[str, str], settings: dict[str, Any], pairs: bool) -> None:
        self._modalities, self._settings, self._pairs = [*columns], settings, pairs
        self._device: str | None = None
        self._columns, self._output_columns = [*columns.values()], [outputs[name] for name in columns]

    @property
    def aligner_(self) -> C3Aligner:
        """The aligner that was learned, to save, to merge with others, or to corrupt and calibrate with."""
        if _NAME not in self.stats_:
            raise C3AlignError("the preprocessor has learned nothing; call fit first, or pass aligner= a fitted one")
        found: C3Aligner = self.stats_[_NAME]
        return found

    def fit(self, ds: Any) -> Self:
        """Learn the columns' rows in one pass; forget what was learned before.

        Parameters
        ----------
        ds : ray.data.Dataset
            No other column of it is read.

        Returns
        -------
        AlignerPreprocessor
            The preprocessor itself.
        """
        known = ds.columns(fetch_if_missing=False)
        for column in self._columns if known is not None else ():
            _check_column(column, known)
        fitted: Self = super().fit(ds.select_columns(self._columns))
        return fitted

    def transform(self, ds: Any, **options: Any) -> Any:
        """Align the columns' rows, each by its modality's mean or map, in tasks.

        Parameters
        ----------
        ds : ray.data.Dataset
            With the columns.
        **options : optional
            Ray's: `batch_size`, `num_cpus`, `memory`, `concurrency`.

        Returns
        -------
        ray.data.Dataset
            In the order of `ds`, lazily.
        """
        return _in_order(super().transform(ds, **options))

    def map_batches(self, ds: Any, *, device: str | None = None, **options: Any) -> Any:
        """Align as `transform`, in actors that keep the aligner, and may each have a GPU.

        Parameters
        ----------
        ds : ray.data.Dataset
            With the columns.
        device : str, optional
            Where torch computes, such as "cuda", which takes ``num_gpus=1``; without one, the compiled core does. The
            bits are the same.
        **options : optional
            Those of ``ds.map_batches``: `compute`, `num_gpus`, `batch_size` (Ray asks for one with a GPU), ...

        Returns
        -------
        ray.data.Dataset
            In the order of `ds`, lazily.
        """
        self.aligner_  # noqa: B018 (which says that it was not fitted)
        how = {"fn_constructor_args": (self, device), "batch_format": "pyarrow", "zero_copy_batch": True}
        return _in_order(ds.map_batches(_Actor, **how, **options))

    def _fit(self, ds: Any) -> Self:
        statistics = _Statistics(self._by_modality(), self._settings, self._pairs)
        self.stat_computation_plan.add_aggregator(  # once, for all columns
            aggregator_fn=lambda _: statistics, post_process_fn=_learned, columns=self._columns[:1]
        )
        return self

    def _by_modality(self) -> dict[str, str]:
        return dict(zip(self._modalities, self._columns))

    def _transform_arrow(self, table: Any) -> Any:
        aligner, given = self.aligner_, table
        for modality, column, output in zip(self._modalities, self._columns, self._output_columns):
            _check_column(column, given.column_names)
            if output in given.column_names and output not in self._columns:
                raise C3AlignError(
                    f"output_columns must be new ones or those learned, got {output!r}, which is there; name another"
                )
            aligned = given[column]
            if given.num_rows:
                rows = _rows_of(given, column)
                with _told_of(column):
                    aligned = _as_column(_aligned(aligner, rows, modality, self._device), given[column].type)
            table = _accessor.for_block(table).upsert_column(output, aligned)
        return table

    def _get_serializable_fields(self) -> dict[str, Any]:
        outputs = dict(zip(self._modalities, self._output_columns))
        return {"arguments": (self._by_modality(), outputs, self._settings, self._pairs)}

    def _set_serializable_fields(self, fields: dict[str, Any], version: int) -> None:
        self._set(*fields["arguments"])

    def _get_stats(self) -> dict[str, Any]:
        return {name: aligner.to_bytes() for name, aligner in self.stats_.items()}

    def _set_stats(self, stats: dict[str, Any]) -> None:
        self.stats_ = {name: C3Aligner.from_bytes(content) for name, content in stats.items()}


class _Statistics(_AggregateFn):
    """What the columns of a dataset teach, as the bytes of an aligner; None for no rows.

    Beside another aggregation, or for groups, Ray would read none of the columns: it knows of one a function alone.
    """

    def __init__(self, columns: dict[str, str], settings: dict[str, Any], pairs: bool) -> None:
        self._by_modality, self._settings, self._pairs = columns, settings, pairs
        super().__init__(_NAME, bytes, on=None, ignore_nulls=True)

    def aggregate_block(self, block: Any) -> bytes | None:
        table = _accessor.for_block(block).to_arrow()
        if not table.num_rows:
            return None
        rows = {modality: _rows_of(table, column) for modality, column in self._by_modality.items()}
        if self._pairs:
            (x, X), (y, Y) = rows.items()
            with _told_of(*self._by_modality.values()):
                return C3Aligner(**self._settings).fit(X, Y, modality=x, y_modality=y).to_bytes()
        return reduce(self.combine, (self._learned(modality, X) for modality, X in rows.items()))

    def _learned(self, modality: str, X: Any) -> bytes:
        with _told_of(self._by_modality[modality]):
            return C3Aligner(**self._settings).fit(X, modality=modality).to_bytes()

    def combine(self, current_accumulator: bytes, new: bytes) -> bytes:
        return C3Aligner.from_bytes(current_accumulator).merge(C3Aligner.from_bytes(new)).to_bytes()


class _Actor:
    """One worker of `map_batches`."""

    def __init__(self, preprocessor: AlignerPreprocessor, device: str | None) -> None:
        self._preprocessor = copy.copy(preprocessor)
        self._preprocessor._device = device

    def __call__(self, table: Any) -> Any:
        return self._preprocessor.transform_batch(table)


def _in_order(ds: Any) -> Any:
    """The dataset, whose blocks come in order; Ray hands on the first that is done otherwise."""
    ds.context.execution_options.preserve_order = True
    return ds


def _checked_columns(columns: Any, name: str = "columns") -> dict[str, str]:
    if not isinstance(columns, Mapping) or not columns:
        raise C3AlignError(f"{name} must be a mapping, got {columns!r}; pass a column by modality: {{'text': 'emb'}}")
    for modality, column in columns.items():
        check_modality_name(modality)
        if not isinstance(column, str) or not column:
            raise C3AlignError(f"{name} must map modalities to names of columns, got {column!r}; pass a string")
    return dict(columns)


def _settings_of(aligner: Any) -> dict[str, Any]:
    if aligner is not None and not isinstance(aligner, C3Aligner):
        raise C3AlignError(f"aligner must be a C3Aligner, got {type(aligner).__name__}; omit it for one as it comes")
    settings: dict[str, Any] = (aligner or C3Aligner()).get_params(deep=False)
    return settings


def _check_column(column: str, known: list[str]) -> None:
    if column not in known:
        raise C3AlignError(f"columns must be in the dataset, got {column!r} for {', '.join(known)}; name one of these")


@contextmanager
def _told_of(*columns: str) -> Iterator[None]:
    """Let an error name its column, and the block in which rows are counted: it comes out of a worker, among others."""
    try:
        yield
    except C3AlignError as error:
        named = re.sub("^[Xy](?= )", lambda found: f"column {columns[found[0] == 'y']!r}", str(error))
        said = named if named != str(error) else f"columns {', '.join(map(repr, columns))}: {named}"
        raise C3AlignError(said.replace(" rows, first in row ", " rows of its block, first in row ")) from error


def _rows_of(table: Any, column: str) -> npt.NDArray[Any]:
    """The embeddings (n_rows, n_dims) of a column; of tensors, and of lists without gaps, no copy."""
    _check_column(column, table.column_names)
    values = table[column]
    if values.null_count:
        _refuse(column, pc.is_null(values), "hold an embedding in every row", "nulls", "filter or fill those rows")
    if not _is_list(values.type):
        found: npt.NDArray[Any] = _accessor.for_block(table.select([column])).to_numpy(column)
        return found
    whole = values.combine_chunks()
    lengths = pc.list_value_length(whole)
    if pc.any(other := pc.not_equal(lengths, lengths[0])).as_py():
        _refuse(column, other, f"hold lists of one length ({lengths[0]})", "others", "keep the rows of one encoder")
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), lengths[0].as_py())


def _refuse(column: str, wrong: Any, must: str, got: str, fix: str) -> None:
    where = f"in {pc.sum(wrong)} of {len(wrong)} rows of its block, first in row {pc.index(wrong, True)}"
    raise C3AlignError(f"column {column!r} must {must}, got {got} {where}; {fix}")


def _is_list(kind: Any) -> bool:
    return any(check(kind) for check in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _aligned(aligner: C3Aligner, rows: npt.NDArray[Any], modality: str, device: str | None) -> npt.NDArray[Any]:
    if device is None:
        return aligner.transform(rows, modality=modality)
    torch = need("torch", "torch")
    found: npt.NDArray[Any] = aligner.transform(torch.tensor(rows, device=device), modality=modality).cpu().numpy()
    return found


def _as_column(values: npt.NDArray[Any], kind: Any) -> Any:
    """Rows as lists of floats where they came so, else as Ray's tensors."""
    if _is_list(kind) and pa.types.is_floating(kind.value_type):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]).cast(kind)
    return _accessor.batch_to_block({"rows": values}).column("rows")


def _learned(content: bytes | None) -> C3Aligner:
    if content is None:
        raise C3AlignError("the dataset must have rows, got none; look at what was read and filtered")
    return C3Aligner.from_bytes(content)
