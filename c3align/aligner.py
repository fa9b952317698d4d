"""`C3Aligner`: connect, collapse, corrupt, as a scikit-learn transformer."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags

from c3align import centering, noise, ops
from c3align._ingest import Ingested, ingest, ingest_more, ingest_partners, warn_of_two_encoders
from c3align._settings import check_modality_name, check_settings, check_used
from c3align._state import PairKey, State, learning, pair_key
from c3align._typing import AnyRows, Array, Float64Array, ZeroRows
from c3align.covariance import CovarianceStatistics, PairCovariance
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.geometry import GapReport, measure_gap
from c3align.statistics import ModalityStatistics, PairStatistics

if TYPE_CHECKING:
    from typing_extensions import Self

    from c3align.nn import AlignerModule

__all__ = ["C3Aligner"]


class C3Aligner(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Make embeddings of several modalities interchangeable: Connect, Collapse, Corrupt (C3, ICLR 2024).

    Contrastive encoders put a text and its picture a constant gap and some noise apart, ``e_x - e_y = c + eps``.
    `transform` takes the gap away (rows are normalised, their modality's own mean is subtracted, and they are
    normalised again); `corrupt` adds noise of eps's size, so that a decoder trained on one modality runs on others.

    Parameters
    ----------
    mapping : "center"
        The deterministic part of the alignment.
    renormalize : bool
        Whether aligned rows have norm 1.
    noise : "isotropic" or "residual"
        The kind of noise `corrupt` adds: alike in all directions, or with the covariance of the residuals eps of the
        pairs given to `fit`, which lie in few of the dimensions.
    noise_cosine : "auto" or float in (0, 1]
        Expected cosine between a clean row and the noisy one. "auto" takes the residuals of the pairs given to
        `fit`, and with fewer than two pairs the paper's setting, sigma = sqrt(0.016) at 512 dimensions.
    sigma : float or None
        Standard deviation of the noise per coordinate; decides over `noise_cosine` when given.
    second_moments : bool
        Whether `fit` also learns each modality's covariance, (n_dims, n_dims) float64: single rows then find their
        modality where cones are wide (CLAP).
    seed : int in [0, 2**64)
        Of the noise.
    zero_rows : "raise" or "keep"
        What becomes of rows without a direction: refused, or kept as zeros, counted, and in no mean. Zero rows of
        integers, which are counts and not embeddings, are always kept, with a `ZeroRowsWarning`.

    Attributes
    ----------
    state_ : State
        All that was learned, one frozen value: `partial_fit` and `merge` put another in its place, or raise. Calls from
        several threads are exact.
    statistics_ : dict of str to ModalityStatistics, exact statistics of each modality's unit rows
    second_moments_ : dict of str to CovarianceStatistics, the same with products of columns (``second_moments=True``)
    pairs_ : dict of (str, str) to PairStatistics, of differences first - second; names in alphabetical order
    covariances_ : dict of (str, str) to PairCovariance, the same with products of columns (``noise="residual"``)
    sigma_ : float, standard deviation of the noise per coordinate
    encoder_fingerprint_ : str or None, the encoder whose rows were seen, when told (`bind_encoder`)
    n_features_in_ : int, the dimension of the rows
    feature_names_in_ : (n_features_in_,) array of str, columns of the first data frame; others may differ

    Examples
    --------
    >>> import numpy as np
    >>> from c3align import C3Aligner
    >>> rng = np.random.default_rng(0)
    >>> text = rng.normal(size=(500, 64)) + 1
    >>> image = text + 2 * np.eye(64)[0] + 0.1 * rng.normal(size=(500, 64))
    >>> aligner = C3Aligner().fit(text, image)
    >>> aligner.transform(image, modality="image").shape
    (500, 64)
    """

    def __init__(
        self,
        *,
        mapping: Literal["center"] = "center",
        renormalize: bool = True,
        noise: Literal["isotropic", "residual"] = "isotropic",
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
        """Learn the statistics of one modality, or of two from pairs; forgets what was learned before.

        Parameters
        ----------
        X : (n_rows, n_dims) array, tensor or data frame
            Rows of `modality`, of any norm.
        y : (n_rows, n_dims) array, tensor or data frame, optional
            Row i is the partner of row i of X, in `y_modality`: gap, residuals and sigma are learned too, and with
            ``noise="residual"`` the residuals' covariance. y holds pairs when it is 2-d, floating and as wide as X, or
            when `y_modality` is given. Any other y is a target, as scikit-learn's tools pass it, and ignored; but a
            string, a number, no rows, and 64 or more floating columns that are not as many as X's are refused.
        modality, y_modality : str
            Any names but "auto" and "batch"; partners are of "image" by default.

        Raises
        ------
        ValueError
            Input that is not finite, has rows without a direction, holds 8-bit integers (packed bits), or has a shape
            that does not fit. Nothing is learned then, and what was learned before stays.

        Warns
        -----
        EncoderMismatchWarning
            Pairs that do not look like rows of one encoder; see `geometry.encoder_overlap`.
        """
        found = self._learned(X, y, modality, y_modality, None)
        with learning():
            self.state_ = found
        return self

    def partial_fit(
        self, X: Array, y: Array | None = None, *, modality: str = "text", y_modality: str | None = None
    ) -> Self:
        """Add rows to the statistics, as `fit` but without forgetting: all of the batch, or nothing on an error.

        Any order, split or threads give the same bytes of state (covariances aside, which carry a tolerance).
        """
        found = self._learned(X, y, modality, y_modality, getattr(self, "state_", None))
        with learning():
            before = getattr(self, "state_", None)
            self.state_ = found if before is None else self._kept(before).merged(found)
        return self

    def _learned(self, X: Array, y: Array | None, modality: str, y_modality: str | None, before: State | None) -> State:
        """What these rows alone teach."""
        check_settings(vars(self))
        other = "image" if y_modality is None else y_modality
        for name in (modality, other):
            check_modality_name(name)
        given = ingest(X) if before is None else ingest_more(X, before.n_dims, before.feature_names, modality)
        centering.warn_of_strangers(modality, before, given.rows)
        partners = ingest_partners(given.rows, given.names, y, is_named=y_modality is not None)
        state = State(given.rows.shape[1])
        if partners is None:
            return state.with_modality(modality, given.learned(self.second_moments, self.zero_rows), given.names)
        if modality == other:
            raise C3AlignError(f"X and y are both {modality!r}; pass another y_modality=")
        rows, names = partners
        of_x, of_y, of_pairs = given.learned_with(rows, vars(self))
        state = state.with_modality(modality, of_x, given.names).with_modality(other, of_y, names)
        state = state.with_pairs(modality, other, of_pairs)
        if before is None or pair_key(modality, other) not in before.pairs:
            warn_of_two_encoders(given.rows, rows, state)
        return state

    def _kept(self, state: State) -> State:
        """The state less what the settings no longer ask for."""
        return state.reduced(second_moments=self.second_moments, covariances=self.noise == "residual")

    def merge(self, other: C3Aligner) -> Self:
        """Add what another aligner learned from other rows, exactly as if `self` had seen them; returns self.

        Raises
        ------
        C3AlignError
            When the widths differ, when `other` learned without the second moments or the pairs' covariance that the
            settings ask for, and `EncoderMismatchError` when both are bound to different encoders.
        """
        theirs = self._kept(centering.state_of(other))
        with learning():
            self.state_ = self._kept(centering.state_of(self)).merged(theirs)
        return self

    def bind_encoder(self, fingerprint: str) -> Self:
        """Tie the statistics to the encoder they come from, until a later `fit`; returns self.

        Raises `EncoderMismatchError` when they are tied to another one.
        """
        with learning():
            self.state_ = centering.state_of(self).bound(fingerprint)
        return self

    def transform(self, X: AnyRows, *, modality: str = "auto") -> AnyRows:
        """Align rows: normalize, subtract their modality's mean, normalize again. Deterministic, never noisy.

        Parameters
        ----------
        X : (n_rows, n_dims) array, tensor or data frame
        modality : str
            Whose mean to subtract: a fitted modality, "batch" for X's own, or "auto", which chooses by the table of
            `c3align.centering`; what fewer than 8 rows show is little, so name what you know.

            * two or more fitted: the one that the batch clearly belongs to, else (a mixture too) an error;
            * one fitted, and no shift of X's mean that chance does not explain: that one;
            * one fitted and a shift: from 8 rows on X's own mean, with a `ModalityMeanWarning`; fewer are refused.

        Returns
        -------
        (n_rows, n_dims), of X's library, dtype and device. Under a given mean each row depends on itself alone.

        Raises
        ------
        NotFittedError
            When the named modality, or any at all, was not fitted.
        ValueError
            When it is open whose mean to take (`C3AlignError`); and as in `fit`.
        """
        state = centering.state_of(self, modality)
        given = self._given(X, state)
        name = self._center(given, modality, state, caller=4)  # scikit-learn wraps this method
        mean = self._mean(given, name, state)
        aligned = ops.align(given.rows, mean, renormalize=self.renormalize, zero_rows=given.policy(self.zero_rows))
        if given.is_integer:
            given.warn_of_zero_rows(int((~aligned.any(axis=1)).sum()), stacklevel=3)
        return given.like(aligned)

    def corrupt(
        self, X: AnyRows, *, modality: str = "text", seed: int | None = None, row_offset: int = 0, row_ids: Any = None
    ) -> AnyRows:
        """Align rows and add noise: what a decoder trains on (C3, eq. 5).

        The noise is a function of seed, modality, row and column: batch k of a shuffled epoch gets the same noise
        wherever and in whatever order it is computed, and rows of two modalities get independent noise. With sigma 0
        this is `transform` to the bit.

        With ``noise="residual"`` it is ``unit(unit(x) - mean + s L z)``, L the symmetric root of eps's covariance over
        the pairs (CLOSE, ICCV 2023), by LAPACK: other machines or splits may differ by 1e-4 of the noise's size.

        Parameters
        ----------
        X, modality : as in `transform`
        seed : int in [0, 2**64), optional
            Instead of the aligner's own; take another one every epoch.
        row_offset : int in [0, 2**64), number of X's first row in the noise
        row_ids : (n_rows,) integers, optional; the number of each row, for batches that were shuffled

        Returns
        -------
        (n_rows, n_dims), of X's library, dtype and device.

        Raises
        ------
        C3AlignError
            With ``noise="residual"`` when fewer than two pairs were learned; and as in `transform`.
        """
        state = centering.state_of(self, modality)
        given = self._given(X, state)
        name = self._center(given, modality, state, caller=3)
        noisy = ops.corrupt(
            given.rows,
            self._mean(given, name, state),
            sigma=self._strength(state),
            seed=noise.stream_seed(self.seed if seed is None else seed, name),
            row_offset=row_offset,
            row_ids=row_ids,
            renormalize=self.renormalize,
            zero_rows=given.policy(self.zero_rows),
        )
        return given.like(noisy)

    def translate(self, X: AnyRows, *, source: str, target: str) -> AnyRows:
        """Rows of `source` as a decoder trained on raw rows of `target` expects them: around its mean, at its norm.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor, rows of `source`
        source, target : str, fitted modalities

        Raises
        ------
        C3AlignError
            A raw norm that float16 cannot hold; and as in `transform`.
        """
        state = centering.state_of(self, source, target)
        if not {source, target} <= set(state.statistics):
            raise C3AlignError(f"source and target must be fitted modalities, got {source!r} and {target!r}; name both")
        given = self._given(X, state)
        self._center(given, source, state, caller=3)
        norm = state.statistics[target].mean_norm
        mean, goal = state.mean_for(source, given.rows), state.mean_for(target, given.rows)
        policy = given.policy(self.zero_rows)
        raw = ops.translate(given.rows, mean, goal, norm=norm, renormalize=self.renormalize, zero_rows=policy)
        given.refuse_overflow(raw, f"{target!r} rows have a norm of {norm:.3g}")
        return given.like(raw)

    def inverse_transform(self, Z: AnyRows, *, modality: str = "auto") -> AnyRows:
        """Unit rows of `modality` from aligned ones, in closed form; see `c3align.ops.invert`.

        Parameters
        ----------
        Z : (n_rows, n_dims) array or tensor that `transform` returned; the norm a row had before is not in it
        modality : str
            A fitted modality; "auto" where only one is. Another one than Z's gives unit rows in that modality's place.

        Raises
        ------
        C3AlignError
            With "auto" when several modalities are fitted.
        """
        state = centering.state_of(self, modality)
        name = state.only if modality not in state.statistics else modality
        given = self._given(Z, state)
        mean, policy = state.mean_for(name, given.rows), given.policy(self.zero_rows)
        return given.like(ops.invert(given.rows, mean, renormalized=self.renormalize, zero_rows=policy))

    def gap(self, a: str = "image", b: str = "text") -> GapReport:
        """The gap ``mean_a - mean_b`` of two fitted modalities, with its error and, from pairs, the residual."""
        state = centering.state_of(self, a, b)
        return measure_gap(a, b, state.statistics[a], state.statistics[b], state.pairs.get(pair_key(a, b)))

    def as_module(self) -> AlignerModule:
        """A `torch.nn.Module`: `corrupt` with fresh noise at each call in train mode, `transform` in eval mode."""
        from c3align.nn import AlignerModule

        centering.state_of(self)
        return AlignerModule(self)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the aligner to `folder`: `aligner.safetensors` and a readable `config.json`; see `persistence`.

        Raises
        ------
        C3AlignError
            Settings or statistics that loading would refuse; nothing is written then.
        """
        from c3align import persistence

        persistence.save(self.get_params(deep=False), centering.state_of(self), folder)

    def to_bytes(self) -> bytes:
        """Settings and state as bytes, those of `aligner.safetensors`: equal bytes, equal aligners."""
        from c3align import persistence

        return persistence.dump(self.get_params(deep=False), centering.state_of(self))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The aligner of which `to_bytes` made these; checked as `from_pretrained` checks."""
        from c3align import persistence

        return cls._restored(*persistence.parse(content))

    @classmethod
    def _restored(cls, settings: dict[str, Any], state: State) -> Self:
        aligner = cls(**settings)
        aligner.state_ = state
        return aligner

    @classmethod
    def from_pretrained(cls, folder_or_hub_id: str | os.PathLike[str], *, encoder: str | None = None) -> Self:
        """Read an aligner from a folder, or else from the Hub ("owner/name").

        `encoder` is the fingerprint of the encoder in use, where it shall be checked.

        Raises
        ------
        FormatError
            A file that is damaged or was not written by c3align, with the reason; no code in it can run.
        EncoderMismatchError
            When `encoder` is not the one the statistics come from.
        """
        from c3align import persistence

        aligner = cls._restored(*persistence.load(folder_or_hub_id))
        return aligner if encoder is None else aligner.bind_encoder(encoder)

    @property
    def statistics_(self) -> dict[str, ModalityStatistics]:
        return dict(self.state_.statistics)

    @property
    def pairs_(self) -> dict[PairKey, PairStatistics]:
        return dict(self.state_.pairs)

    @property
    def second_moments_(self) -> dict[str, CovarianceStatistics]:
        return dict(self.state_.second_moments)

    @property
    def covariances_(self) -> dict[PairKey, PairCovariance]:
        return dict(self.state_.covariances)

    @property
    def encoder_fingerprint_(self) -> str | None:
        return self.state_.fingerprint

    @property
    def n_features_in_(self) -> int:
        return self.state_.n_dims

    @property
    def feature_names_in_(self) -> Any:
        names = self.state_.feature_names
        if names:
            return np.array(next(iter(names.values())), dtype=object)
        raise AttributeError("feature_names_in_ is there only after a fit on a data frame")

    @property
    def sigma_(self) -> float:
        """Standard deviation of the noise per coordinate, from `sigma`, `noise_cosine`, the pairs, or the paper."""
        return centering.state_of(self).sigma(self.sigma, self.noise_cosine)

    def _strength(self, state: State) -> float | Float64Array:
        """What `ops.corrupt` takes as sigma: a number, or a square root of the noise's covariance."""
        sigma = state.sigma(self.sigma, self.noise_cosine)
        return state.residual_root(sigma) if self.noise == "residual" and sigma else sigma

    def _given(self, X: Array, state: State) -> Ingested:
        check_used(vars(self))
        return ingest(X, n_dims=state.n_dims, known=state.feature_names)

    def _center(self, given: Ingested, modality: str, state: State, caller: int) -> str:
        """Whose mean to subtract, or "batch"; what has to be said of it is said to the `caller` frames up."""
        found = centering.center(modality, state, given.rows)
        if found.warning:
            warnings.warn(found.warning, ModalityMeanWarning, stacklevel=caller)
        return found.modality

    def _mean(self, given: Ingested, name: str, state: State) -> Any:
        if name == centering.BATCH:
            return ModalityStatistics.from_rows(given.rows, zero_rows=given.policy(self.zero_rows)).mean
        return state.mean_for(name, given.rows)

    def __sklearn_is_fitted__(self) -> bool:
        return "state_" in self.__dict__

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags
