"""`C3Aligner`: connect, collapse, corrupt, as a scikit-learn transformer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Self

from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags

from c3align import centering, persistence
from c3align._held_out import aligned_rows
from c3align._ingest import ingest, mapped_rows
from c3align._learn import learn, merged
from c3align._settings import check_used, wanted
from c3align._state import PairKey, learning, pair_key
from c3align._strength import noise_of, sigma
from c3align._typing import AnyRows, Array, ZeroRows
from c3align.covariance import CovarianceStatistics, PairCovariance, Precision
from c3align.geometry import GapReport, measure_gap
from c3align.mappings import Mapping
from c3align.mappings import rows as mapped
from c3align.noise import Noise, NoiseName, stream_seed
from c3align.statistics import ModalityStatistics, PairStatistics

if TYPE_CHECKING:
    from c3align.calibration import Calibration
    from c3align.drift import Drift
    from c3align.nn import AlignerModule

__all__ = ["C3Aligner"]


class C3Aligner(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Make embeddings of several modalities interchangeable: Connect, Collapse, Corrupt (C3, ICLR 2024).

    Contrastive encoders place a text and its picture a constant gap and some noise apart, ``e_x - e_y = c + eps``.
    `transform` removes the gap; `corrupt` also adds noise of eps's size, so that a decoder trained on one modality
    works on others. What was learned is `state_`, a frozen value that is replaced as a whole: threads may share it.

    Parameters
    ----------
    mapping : str or Mapping
        What rows become, by name or as an object of `c3align.mappings`: "center" subtracts each modality's mean;
        "barycenter" also brings covariances together, for one index; it takes statistics of every modality.
    renormalize : bool
        Whether aligned rows have norm 1.
    noise : str or Noise
        That of `corrupt`: "isotropic"; "residual", with the covariance of the pairs' residuals; see `c3align.noise`.
    noise_cosine : "auto" or float in (0, 1]
        Expected cosine between a clean row and the noisy one, over all modalities. "auto" takes it from the residuals
        of the pairs given to `fit`; with fewer than two, the paper's setting, sigma = sqrt(0.016) at 512 dimensions.
    sigma : float or None
        Standard deviation of the noise per coordinate; overrides `noise_cosine`.
    second_moments : bool
        Whether `fit` also learns each modality's covariance, (n_dims, n_dims) float64, by which even single rows find
        their modality where cones are wide (CLAP), and keeps 1,024 of its rows, which `calibrate` needs.
    seed : int in [0, 2**64)
        Seed of the noise.
    zero_rows : "raise" or "keep"
        Whether rows without a direction are refused, or kept as zeros, counted, and in no mean. Zero rows of integers,
        which are counts rather than embeddings, are always kept, with a `ZeroRowsWarning`.

    Examples
    --------
    >>> import numpy as np
    >>> from c3align import C3Aligner
    >>> text, noise = np.random.default_rng(0).normal(size=(2, 500, 64)) + 1
    >>> image = text + 2 * np.eye(64)[0] + 0.1 * noise
    >>> C3Aligner().fit(text, image).transform(image, modality="image").shape
    (500, 64)
    """

    def __init__(
        self,
        *,
        mapping: str | Mapping = "center",
        renormalize: bool = True,
        noise: NoiseName | Noise = "isotropic",
        noise_cosine: float | Literal["auto"] = "auto",
        sigma: float | None = None,
        second_moments: bool = False,
        seed: int = 0,
        zero_rows: ZeroRows = "raise",
    ) -> None:
        self.mapping = mapping
        self.renormalize = renormalize
        self.noise = noise
        self.noise_cosine = noise_cosine
        self.sigma = sigma
        self.second_moments = second_moments
        self.seed = seed
        self.zero_rows = zero_rows

    def fit(self, X: Array, y: Array | None = None, *, modality: str = "text", y_modality: str | None = None) -> Self:
        """Learn the statistics of one modality, or of two from pairs; forget what was learned before.

        Rows that are not finite, have no direction, are 8-bit integers (packed bits) or do not fit raise ValueError;
        nothing is learned then, nor forgotten.

        Parameters
        ----------
        X : (n_rows, n_dims) array, tensor or data frame
            Rows of any norm.
        y : (n_rows, n_dims) array, tensor or data frame, optional
            Partners of X's rows, in `y_modality`, which teach gap, residuals and sigma too. They are 2-d, floating and
            as wide as X, or named by `y_modality`. Any other y is a target of scikit-learn's, and ignored; but a
            string, a number, zero rows, and 64 or more floating columns, not as many as X's, are refused. Partners that
            another encoder seems to have made give an `EncoderMismatchWarning`; see `geometry.encoder_overlap`.
        modality, y_modality : str
            Any names but "auto" and "batch"; `y_modality` is "image" by default.

        Returns
        -------
        C3Aligner
            The aligner itself.
        """
        found = learn(vars(self), X, y, modality, y_modality)
        with learning():
            self.state_ = found
        return self

    def fit_transform(
        self, X: AnyRows, y: Array | None = None, *, modality: str = "text", y_modality: str | None = None
    ) -> AnyRows:
        """Fit, and align X by the mean of its own modality.

        Parameters
        ----------
        X, y, modality, y_modality : optional
            As in `fit`.

        Returns
        -------
        (n_rows, n_dims) array, tensor or data frame
            As `transform`, with the modality named.
        """
        return self.fit(X, y, modality=modality, y_modality=y_modality).transform(X, modality=modality)

    def partial_fit(
        self, X: Array, y: Array | None = None, *, modality: str | None = None, y_modality: str | None = None
    ) -> Self:
        """Learn more rows, as `fit` but without forgetting: all of the batch, or nothing on an error.

        Any order, split or threads give the same bytes of state (except covariances, which have a tolerance).

        Parameters
        ----------
        X, y, modality, y_modality : optional
            As in `fit`; a `ModalityMeanWarning` is given sooner where `modality` is not, a `PairOrderWarning` of pairs
            that are far less alike than those before (`geometry.later_doubt`).

        Returns
        -------
        C3Aligner
            The aligner itself.
        """
        found = learn(vars(self), X, y, modality, y_modality, getattr(self, "state_", None))
        with learning():
            before = getattr(self, "state_", None)
            self.state_ = found if before is None else before.reduced(wanted(vars(self))).merged(found)
        return self

    def merge(self, other: C3Aligner) -> Self:
        """Add what another aligner learned from other rows, exactly as if this one had seen them.

        Parameters
        ----------
        other : C3Aligner
            Of rows as wide, with the moments that this one's settings ask for, and bound to no other encoder.

        Returns
        -------
        C3Aligner
            The aligner itself.
        """
        theirs = centering.state_of(other, whose="the other")
        with learning():
            self.state_ = merged(vars(self), getattr(self, "state_", None), theirs)
        return self

    def bind_encoder(self, fingerprint: str) -> Self:
        """Bind the statistics to the encoder they come from, until a later `fit`.

        Parameters
        ----------
        fingerprint : str
            The encoder's; `EncoderMismatchError` if they are bound to another.

        Returns
        -------
        C3Aligner
            The aligner itself.
        """
        with learning():
            self.state_ = centering.state_of(self).bound(fingerprint)
        return self

    def transform(self, X: AnyRows, *, modality: str = "auto") -> AnyRows:
        """Align rows: normalize, subtract their modality's mean (or `mapping`), normalize again. Never noisy.

        Parameters
        ----------
        X : (n_rows, n_dims) array, tensor or data frame
            Rows of any norm.
        modality : str
            Whose mean to subtract: a fitted one, "batch" for X's own, or "auto", which decides by the table of
            `c3align.centering`: the fitted one that X clearly belongs to; else, if but one is fitted, X's own mean with
            a `ModalityMeanWarning`. Fewer than 8 rows show little: name what you know.

        Returns
        -------
        (n_rows, n_dims) array, tensor or data frame
            Of X's library (arrays for frames, but under `set_output`), dtype and device. With a named modality each row
            depends only on itself (for mappings by a matrix but for rounding). Raises as `fit`, `NotFittedError` for a
            mean that was not learned, and `C3AlignError` if it is unclear whose to subtract.
        """
        _, given, _, row_map, how = mapped_rows(self, X, modality, caller=4)  # scikit-learn wraps this method
        aligned = mapped.align(given.rows, row_map, **how)
        if given.is_integer:
            given.warn_of_zero_rows(int((~aligned.any(axis=1)).sum()), stacklevel=3)
        return given.like(aligned)

    def corrupt(
        self, X: AnyRows, *, modality: str = "text", seed: int | None = None, row_offset: int = 0, row_ids: Any = None
    ) -> AnyRows:
        """Align rows and add noise: what a decoder trains on (C3, eq. 5).

        The noise is a function of seed, modality, row and column: a row gets the same noise in any order and split,
        and two modalities get independent noise. With sigma 0 this is `transform` to the bit. A covariance is factored
        by LAPACK: on other machines or for other splits of `fit` its noise may differ by 1e-4 of its size.

        Parameters
        ----------
        X, modality : optional
            As in `transform`.
        seed : int in [0, 2**64), optional
            Replaces the aligner's own; use another one each epoch.
        row_offset : int in [0, 2**64)
            The number of X's first row in the noise.
        row_ids : (n_rows,) integers, optional
            The number of each row, for shuffled batches.

        Returns
        -------
        (n_rows, n_dims) array or tensor
            As `transform`, but an array under `set_output`, and no residual noise without two pairs (`C3AlignError`).
        """
        state, given, name, row_map, how = mapped_rows(self, X, modality, caller=3)
        own = stream_seed(self.seed if seed is None else seed, name)
        how |= {"seed": own, "row_offset": row_offset, "row_ids": row_ids, **noise_of(state, vars(self), name)}
        return given.like(mapped.corrupt(given.rows, row_map, **how))

    def translate(self, X: AnyRows, *, source: str, target: str) -> AnyRows:
        """Move rows of `source` to where a decoder trained on raw rows of `target` expects them.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor
            Rows of `source`, of any norm.
        source, target : str
            Fitted modalities.

        Returns
        -------
        (n_rows, n_dims) array or tensor
            Around target's mean, at its mean raw norm. Raises as `transform`, and for a norm float16 cannot hold.
        """
        state = centering.state_of(self, source, target, named=True)
        _, given, _, here, how = mapped_rows(self, X, source, caller=3)
        norm, there = state.statistics[target].mean_norm, state.row_map(target, self.mapping)
        raw = mapped.translate(given.rows, here, there, norm=norm, **how)
        given.refuse_overflow(raw, f"{target!r} rows have a norm of {norm:.3g}")
        return given.like(raw)

    def inverse_transform(self, Z: AnyRows, *, modality: str = "auto") -> AnyRows:
        """Recover unit rows from aligned ones, in closed form; see `c3align.ops.invert`.

        Parameters
        ----------
        Z : (n_rows, n_dims) array or tensor
            A result of `transform`, which does not hold the raw norms.
        modality : str
            A fitted modality, or "auto" if only one is (else `C3AlignError`). Another one than Z's moves rows there.

        Returns
        -------
        (n_rows, n_dims) array or tensor
            Rows of norm 1.
        """
        check_used(vars(self))
        state = centering.state_of(self, modality, named=modality == centering.BATCH)  # whose mean was not kept
        name = state.only if modality not in state.statistics else modality
        given = ingest(Z, n_dims=state.n_dims, known=state.feature_names)
        centering.warn_of_raw(given.rows, state, name, self.mapping)
        row_map, policy = state.row_map(name, self.mapping), given.policy(self.zero_rows)
        return given.like(mapped.invert(given.rows, row_map, renormalized=self.renormalize, zero_rows=policy))

    def gap(self, a: str | None = None, b: str | None = None) -> GapReport:
        """Measure the gap ``mean_a - mean_b`` of two modalities, with its error and, from pairs, the residual.

        Parameters
        ----------
        a, b : str, optional
            Fitted modalities, whose raw rows are measured; by default image and text, or the two that there are.

        Returns
        -------
        GapReport
            Prints as a sentence.
        """
        state, a, b = centering.two_of(self, a, b)
        return measure_gap(a, b, state.statistics[a], state.statistics[b], state.pairs.get(pair_key(a, b)))

    def calibrate(self) -> Calibration:
        """Make scores of all pairs of modalities comparable: z-scores, thresholds, false-positive rates.

        Returns
        -------
        Calibration
            For rows that `transform` has aligned; `C3AlignError` unless `fit` kept rows (`second_moments`). Rows about
            one thing are known by their partners; where that has several on both sides, see `Calibration.from_rows`.
        """
        from c3align.calibration import Calibration

        return Calibration.from_rows(**aligned_rows(centering.state_of(self), self.mapping, self.renormalize))

    def drift(self, X: Array, *, modality: str, seed: int = 0, groups: Any = None) -> Drift:
        """Tell whether rows are still like those that `fit` saw.

        Parameters
        ----------
        X, modality, seed, groups : array, str, int, integers
            As in `c3align.drift.drift`, which also says what is raised.

        Returns
        -------
        Drift
            Prints as a sentence.
        """
        from c3align.drift import drift

        return drift(self, X, modality=modality, seed=seed, groups=groups)

    def as_module(self) -> AlignerModule:
        """Make a torch module of the aligner as it is now.

        Returns
        -------
        AlignerModule
            `corrupt` with fresh noise at each call in train mode, `transform` in eval mode. Its `state_dict` is empty.
        """
        from c3align.nn import AlignerModule

        return AlignerModule(self)

    def save_pretrained(self, folder: str | os.PathLike[str], *, covariances: Precision = "float64") -> None:
        """Write `aligner.safetensors` and a readable `config.json`; see `persistence`.

        Parameters
        ----------
        folder, covariances : str or path, "float64" or "float32"
            Nothing is written if loading would refuse it (`C3AlignError`). Second moments in float32 are half as large.
        """
        persistence.save(self.get_params(deep=False), centering.state_of(self), folder, covariances)

    def to_bytes(self) -> bytes:
        """Serialize settings and state.

        Returns
        -------
        bytes
            Of `aligner.safetensors`; equal bytes mean equal aligners.
        """
        return persistence.dump(self.get_params(deep=False), centering.state_of(self))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Load the aligner that `to_bytes` serialized.

        Parameters
        ----------
        content : bytes
            What `to_bytes` returned; checked as in `from_pretrained`.
        """
        return persistence.restored(cls, *persistence.parse(content))

    @classmethod
    def from_pretrained(
        cls, folder_or_hub_id: str | os.PathLike[str], *, encoder: str | None = None, **hub: Any
    ) -> Self:
        """Load an aligner from a folder or the Hugging Face Hub.

        Parameters
        ----------
        folder_or_hub_id : str or path
            A folder if it exists, else "owner/name". `FormatError` if damaged or not c3align's; no code in it can run.
        encoder, **hub : str, optional
            Fingerprint of the encoder in use, `EncoderMismatchError` if the statistics come from another; and options
            of huggingface_hub: ``revision``, ``token``, ``cache_dir``, ``local_files_only``.
        """
        return persistence.restored(cls, *persistence.load(folder_or_hub_id, encoder, **hub))

    @property
    def statistics_(self) -> dict[str, ModalityStatistics]:
        """Exact statistics of each modality's unit rows."""
        return dict(self.state_.statistics)

    @property
    def pairs_(self) -> dict[PairKey, PairStatistics]:
        """Exact statistics of the differences first - second of pairs; names in alphabetical order."""
        return dict(self.state_.pairs)

    @property
    def second_moments_(self) -> dict[str, CovarianceStatistics]:
        """As `statistics_`, with products of columns; needs ``second_moments=True``."""
        return dict(self.state_.second_moments)

    @property
    def covariances_(self) -> dict[PairKey, PairCovariance]:
        """As `pairs_`, with products of columns; needs ``noise="residual"``."""
        return dict(self.state_.covariances)

    @property
    def encoder_fingerprint_(self) -> str | None:
        """The encoder whose rows were learned, if known (`bind_encoder`)."""
        return self.state_.fingerprint

    @property
    def n_features_in_(self) -> int:
        """The dimension of the rows."""
        return self.state_.n_dims

    @property
    def feature_names_in_(self) -> Any:
        """Columns (n_features_in_,) of the first data frame; those of other modalities may differ."""
        return self.state_.first_names

    @property
    def sigma_(self) -> float:
        """Standard deviation of the noise per coordinate, from `sigma`, `noise_cosine`, the pairs, or the paper."""
        return sigma(centering.state_of(self), vars(self))

    def __sklearn_is_fitted__(self) -> bool:
        return "state_" in self.__dict__

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags
