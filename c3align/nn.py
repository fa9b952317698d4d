"""A fitted aligner as a layer of a torch model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from c3align import centering, mappings, noise, ops
from c3align._strength import noise_of
from c3align.centering import BATCH
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.mappings import RowAffine
from c3align.mappings.rows import mapped
from c3align.statistics import ModalityStatistics

__all__ = ["AlignerModule"]

_PLAIN = (torch.Tensor, torch.nn.Parameter)  # others, fake tensors among them, may have no values to look at
_PARTS = ("mean", "linear", "shift")  # of a modality's map
_SHAPES = ("sigma", "direction")  # of a modality's noise, where they are arrays
_STEPS = 2**62  # places in the noise stream where a forward pass may begin


class AlignerModule(torch.nn.Module):
    """Align rows in eval mode; corrupt them with fresh noise at each call in train mode.

    **Noise behaves as in** `torch.nn.Dropout`: each forward pass in train mode draws its place in the noise stream from
    torch's generator for X's device. So `torch.manual_seed` repeats it, `fork_rng` isolates it, activation
    checkpointing recomputes it, each worker of a loader has its own, compiled functions and CUDA graphs draw new noise,
    and a saved random state of torch resumes it. Processes of a distributed run have their own where seeds differ, and
    the same where all are seeded alike, as many trainers do: pass `row_ids` there. With `row_offset` or
    `row_ids` the noise is instead that of `C3Aligner.corrupt` for these rows, independent of the generator: the same
    for any batches and processes.

    **It is a snapshot.** Means, noise, seed and settings are those of the aligner at `as_module()`; it does not see
    what the aligner learns later. **Its `state_dict` is empty**: a checkpoint of a model's weights holds nothing of it;
    keep it by the aligner's `save_pretrained`, and make the module anew after loading.

    Whether named rows lie near their mean is checked once for each modality, in the first unrecorded forward pass after
    each switch between training and evaluation; "auto" and "batch" look at each batch. Recorded graphs
    (`torch.compile`, `torch.export`, CUDA graphs) and rows on the meta device cannot be looked at; name a fitted
    modality there.

    Parameters
    ----------
    aligner : C3Aligner
        A fitted aligner.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from c3align import C3Aligner
    >>> text = np.random.default_rng(0).normal(size=(500, 64)) + 1
    >>> module = C3Aligner().fit(text).as_module()
    >>> noisy = module(torch.from_numpy(text[:32]))  # train mode, as every new module
    >>> aligned = module.eval()(torch.from_numpy(text[:32]))
    """

    def __init__(self, aligner: Any) -> None:
        super().__init__()
        self.state_ = centering.state_of(aligner)  # frozen
        self._settings = {"renormalize": aligner.renormalize, "zero_rows": aligner.zero_rows}
        self._maps = {name: self.state_.row_map(name, aligner.mapping) for name in self.state_.usable}
        self._mapping = aligner.mapping
        shape = noise.load(aligner.noise)
        named = shape.covariance == "own" or shape.orthogonal  # what rows of no fitted modality have no noise of
        names = self._maps if named else (*self._maps, BATCH)
        self._noise = {name: noise_of(self.state_, vars(aligner), name) for name in names}
        # no buffers: casting the module to half precision must not round the means
        self._vectors = {
            (name, part): np.array(vector)
            for name, row_map in self._maps.items()
            if isinstance(row_map, RowAffine)
            for part in _PARTS
            if (vector := getattr(row_map, part)) is not None
        }
        for name, found in self._noise.items():
            for part in _SHAPES:
                if isinstance(found.get(part), np.ndarray):
                    self._vectors[name, part] = np.array(found[part])
        self._seeds = {name: noise.stream_seed(aligner.seed, name) for name in (*self.state_.statistics, BATCH)}
        self._looked: set[str] = set()
        self._uploaded: dict[tuple[Any, torch.device, torch.dtype], torch.Tensor] = {}
        self._upload(torch.device("cpu"))

    def _upload(self, device: torch.device) -> None:
        """Upload vectors in both compute dtypes before a graph is recorded, which could not wait for them."""
        for row_map in self._maps.values():
            getattr(row_map, "gain", None)  # cached from here on
        for name, vector in self._vectors.items():
            for dtype in (torch.float32, torch.float64):
                home = _home(device, dtype)
                if (name, home, dtype) not in self._uploaded:
                    self._uploaded[name, home, dtype] = torch.from_numpy(vector).to(dtype).to(home)

    def train(self, mode: bool = True) -> AlignerModule:
        """Set train or eval mode; named rows are checked again, as evaluation often means another modality.

        Parameters
        ----------
        mode : bool
            True for train mode.

        Returns
        -------
        AlignerModule
            The module itself.
        """
        if mode != self.training:
            self._looked.clear()
        return super().train(mode)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], *rest: Any, **more: Any) -> AlignerModule:
        """Follow `to`, `cuda` and similar calls, also on models that contain this one."""
        self._upload(fn(torch.empty(0)).device)
        return super()._apply(fn, *rest, **more)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is on a device; a copy uploads its own."""
        return {**self.__dict__, "_uploaded": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._upload(torch.device("cpu"))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict.pop(f"{prefix}row_offset", None)  # written by versions that counted rows themselves
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(
        self, X: torch.Tensor, modality: str = "text", *, row_offset: Any = None, row_ids: Any = None
    ) -> torch.Tensor:
        """Align rows, and add noise in train mode.

        Parameters
        ----------
        X : (n_rows, n_dims) tensor, floating
            Rows of any norm.
        modality : str
            As in `C3Aligner.transform`.
        row_offset : int in [0, 2**64), or int64 tensor () on X's device, optional
            The number of X's first row in the noise, in train mode.
        row_ids : (n_rows,) int64, optional
            The number of each row in the noise, in train mode.

        Returns
        -------
        (n_rows, n_dims) tensor
            Of X's dtype, on its device.
        """
        is_tensor = isinstance(X, torch.Tensor)
        if not is_tensor or X.shape[1:] != (self.state_.n_dims,) or not X.is_floating_point():
            found = f"{X.dtype} {tuple(X.shape)}" if is_tensor else type(X).__name__
            raise C3AlignError(
                f"X must be a floating tensor (n_rows, {self.state_.n_dims}), got {found}; pass rows as fitted"
            )
        modality, vectors = self._center(X, modality)
        rows, row_map, given = X, self._maps.get(modality), self._settings
        if row_map is not None and not (isinstance(row_map, RowAffine) and not row_map.has_matrix):
            rows, vectors, given = self._mapped(X, row_map, vectors), {"mean": None}, {**given, "normalize": False}
        if torch.onnx.is_in_onnx_export():
            return self._plain(X, vectors)
        if not self.training:
            aligned: torch.Tensor = ops.align(rows, **vectors, **given)
            return aligned.to(X.dtype)
        place = {"row_offset": row_offset, "row_ids": row_ids}
        place = {name: value for name, value in place.items() if value is not None} or {"row_offset": _draw(X.device)}
        noisy: torch.Tensor = ops.corrupt(
            rows, **vectors, seed=self._seeds[modality], **self._shape_on(X, modality), **place, **given
        )
        return noisy.to(X.dtype)

    def _shape_on(self, X: torch.Tensor, modality: str) -> dict[str, Any]:
        """Strength and shape of a modality's noise, its arrays on X's device."""
        if modality not in self._noise:
            raise C3AlignError("this noise is that of a fitted modality; pass its name as modality=")
        names = [part for part in _SHAPES if (modality, part) in self._vectors]
        vectors = {part: self._vector((modality, part), X, torch.float64) for part in names}
        return {**self._noise[modality], **vectors}

    def _mapped(self, X: torch.Tensor, row_map: Any, vectors: dict[str, Any]) -> torch.Tensor:
        """The rows through a map that mixes columns, in their compute dtype."""
        wide = X if X.dtype == torch.float64 else X.float()
        parts = None
        if isinstance(row_map, RowAffine):
            parts = tuple(
                None if vector is None else torch.as_tensor(vector, device=X.device).to(wide.dtype)
                for vector in (vectors["mean"], vectors["scale"], vectors["shift"])
            )
        found: torch.Tensor = mapped(wide, row_map, self._settings["zero_rows"], parts)
        return found

    def _plain(self, X: torch.Tensor, vectors: dict[str, Any]) -> torch.Tensor:
        """`align` in operations that ONNX knows, within 2**-21 of it for float32; no rows are refused."""
        if self.training:
            raise C3AlignError("ONNX has no seeded noise; export the module after .eval()")
        if not mappings.is_plain(self._mapping):
            raise C3AlignError("only mapping='center' is exported to ONNX; apply another one to the rows beforehand")
        wide = X.double() if X.dtype == torch.float64 else X.float()
        mean = torch.as_tensor(vectors["mean"], dtype=wide.dtype)
        centered = torch.nn.functional.normalize(wide, dim=1) - mean
        aligned = torch.nn.functional.normalize(centered, dim=1) if self._settings["renormalize"] else centered
        return aligned.to(X.dtype)

    def _center(self, X: torch.Tensor, modality: str) -> tuple[str, dict[str, Any]]:
        """Whose rows these are, and the vectors of its map; warns as `C3Aligner.transform` does."""
        if not _can_be_seen(X):
            if modality not in self.state_.statistics:
                raise C3AlignError(
                    f"modality={modality!r} cannot be decided where rows cannot be seen (in a recorded graph, on the "
                    "meta device); pass a fitted modality's name"
                )
        elif modality not in self._looked:
            modality = self._looked_at(X, modality)
        if modality == BATCH:
            mappings.refuse_own_mean(self._mapping)
            return BATCH, {"mean": ModalityStatistics.from_rows(X.detach(), zero_rows=self._settings["zero_rows"]).mean}
        if modality not in self._maps:
            self.state_.row_map(modality)  # no rows were learned; this raises an error that says so
        dtype = torch.float64 if X.dtype == torch.float64 else torch.float32
        names = zip(("mean", "scale", "shift"), _PARTS)
        return modality, {name: self._vector((modality, part), X, dtype) for name, part in names}

    def _looked_at(self, X: torch.Tensor, modality: str) -> str:
        choice = centering.center(modality, centering.state_of(self, modality), X.detach())
        if choice.warning:
            warnings.warn(choice.warning, ModalityMeanWarning, stacklevel=6)
        if modality in self.state_.statistics:
            self._looked.add(modality)
        return choice.modality

    def _vector(self, name: Any, X: torch.Tensor, dtype: torch.dtype) -> Any:
        """A part of a map, or the noise's root, on X's device in `dtype`: uploaded once, by an eager call at latest.

        None where a map has no such part.
        """
        key = (name, _home(X.device, dtype), dtype)
        if name not in self._vectors:
            return None
        is_recorded = torch.compiler.is_compiling()
        if type(X) not in _PLAIN and not is_recorded:
            return self._vectors[name]  # fake tensors cannot be combined with real ones
        if key not in self._uploaded:
            if is_recorded:
                return self._vectors[name]
            self._upload(X.device)
        return self._uploaded[key]


def _home(device: torch.device, dtype: torch.dtype) -> torch.device:
    """Where a vector lies for rows on `device`, which may have no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device


def _draw(device: torch.device) -> torch.Tensor:
    """A place in the noise stream, () int64 from the device's own generator."""
    if device.type == "mps":  # draws 31 bits at a time
        high, low = torch.randint(0, 2**31, (2,), dtype=torch.int64, device=device)
        return high << 31 | low
    return torch.randint(0, _STEPS, (), dtype=torch.int64, device=device)


def _can_be_seen(X: torch.Tensor) -> bool:
    """Whether the host may look at the rows: not while a graph is recorded, nor where they have no values."""
    if torch.compiler.is_compiling() or X.is_meta or type(X) not in _PLAIN:
        return False
    return not (X.is_cuda and torch.cuda.is_current_stream_capturing())
