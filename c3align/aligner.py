"""`C3Aligner`: connect, collapse, corrupt, as a scikit-learn transformer."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags

from c3align import mappings, noise, ops
from c3align._ingest import ingest
from c3align._learner import Learner, pair_key
from c3align._typing import Array, Float64Array, ZeroRows
from c3align.errors import ModalityMeanWarning
from c3align.gap import GapReport, measure_gap
from c3align.ops._rows import Rows
from c3align.statistics import ModalityStatistics

if TYPE_CHECKING:
    from c3align._module import AlignerModule

__all__ = ["C3Aligner"]


class C3Aligner(OneToOneFeatureMixin, TransformerMixin, Learner):
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
    noise : "isotropic"
        The kind of noise `corrupt` adds.
    noise_cosine : "auto" or float in (0, 1]
        Expected cosine between a clean row and the noisy one. "auto" takes the residuals of the pairs given to
        `fit`, and without pairs the paper's setting, sigma = sqrt(0.016) at 512 dimensions.
    sigma : float or None
        Standard deviation of the noise per coordinate; decides over `noise_cosine` when given.
    seed : int in [0, 2**64)
        Of the noise.
    zero_rows : "raise" or "keep"
        What becomes of rows without a direction: refused, or kept as zeros, counted, and in no mean.

    Attributes
    ----------
    statistics_ : dict of str to ModalityStatistics
        Exact statistics of each modality's unit rows.
    pairs_ : dict of (str, str) to PairStatistics
        Exact statistics of the differences first - second of paired rows; names in alphabetical order.
    sigma_ : float
        Standard deviation of the noise per coordinate.
    encoder_fingerprint_ : str or None
        The encoder whose rows were seen, when told (`bind_encoder`).
    n_features_in_ : int
        Dimension of the rows.
    feature_names_in_ : (n_features_in_,) array of str
        Only after a fit on a data frame.

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
        mapping: str = "center",
        renormalize: bool = True,
        noise: str = "isotropic",
        noise_cosine: str | float = "auto",
        sigma: float | None = None,
        seed: int = 0,
        zero_rows: ZeroRows = "raise",
    ) -> None:
        self.mapping = mapping
        self.renormalize = renormalize
        self.noise = noise
        self.noise_cosine = noise_cosine
        self.sigma = sigma
        self.seed = seed
        self.zero_rows = zero_rows

    def transform(self, X: Array, *, modality: str = "auto") -> Array:
        """Align rows: normalise, subtract their modality's mean, normalise again. Deterministic, never noisy.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor
        modality : str
            Whose mean to subtract: a fitted modality, "batch" for X's own, or "auto", which chooses by the table
            below and never takes a wrong mean in silence.

            * two or more fitted: the one clearly nearest to the batch, else an error that asks for `modality`;
            * one fitted and X near it: that one;
            * one fitted and X far from it (a gap, not a topic): from 64 rows on X's own mean, below that the fitted
              one, with a `ModalityMeanWarning` in both cases.

        Returns
        -------
        (n_rows, n_dims), of X's library, dtype and device. Under a given mean each row depends on itself alone.

        Raises
        ------
        NotFittedError
            When the named modality, or any at all, was not fitted.
        ValueError
            As in `fit`.
        """
        self._check_is_fitted(modality)
        rows, restore = ingest(self, X, reset=False)
        mean = self._mean_for(rows, modality, caller=4)  # scikit-learn wraps this method
        return restore(ops.align(rows, mean, renormalize=self.renormalize, zero_rows=self.zero_rows))

    def corrupt(self, X: Array, *, modality: str = "text", seed: int | None = None, row_offset: int = 0) -> Array:
        """Align rows and add noise: what a decoder trains on (C3, eq. 5).

        The noise is a function of seed, row and column: batch k of a shuffled epoch gets the same noise wherever
        and in whatever order it is computed. With sigma 0 this is `transform` to the bit.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor
        modality : str
            As in `transform`.
        seed : int in [0, 2**64), optional
            Instead of the aligner's own; take another one every epoch.
        row_offset : int in [0, 2**64)
            Number of X's first row in the noise.

        Returns
        -------
        (n_rows, n_dims), of X's library, dtype and device.
        """
        self._check_is_fitted(modality)
        rows, restore = ingest(self, X, reset=False)
        return restore(
            ops.corrupt(
                rows,
                self._mean_for(rows, modality),
                sigma=self.sigma_,
                seed=self.seed if seed is None else seed,
                row_offset=row_offset,
                renormalize=self.renormalize,
                zero_rows=self.zero_rows,
            )
        )

    def translate(self, X: Array, *, source: str, target: str) -> Array:
        """Rows of `source` as if they were rows of `target`: aligned, put around its mean, at its mean raw norm.

        What a decoder expects that was trained on raw embeddings of `target`, such as an image generator.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor, rows of `source`
        source, target : str
            Fitted modalities.

        Returns
        -------
        (n_rows, n_dims), of X's library, dtype and device.
        """
        self._check_is_fitted(source)
        self._check_is_fitted(target)
        rows, restore = ingest(self, X, reset=False)
        wide = Rows(rows.widened().astype(np.float64), "float64")
        mean = self._mean_for(rows, source)
        aligned = ops.align(wide, mean, renormalize=self.renormalize, zero_rows=self.zero_rows)
        unit = self._around(aligned, self.statistics_[target].mean)
        return restore(rows.narrowed(unit * self.statistics_[target].mean_norm))

    def inverse_transform(self, Z: Array, *, modality: str) -> Array:
        """Unit rows of `modality` from aligned ones, in closed form; see `c3align.mappings.invert_center`.

        Parameters
        ----------
        Z : (n_rows, n_dims) array or tensor
            What `transform` returned. The norm a row had before is not in it.
        modality : str
            A fitted modality. Another one than Z's gives unit rows in that modality's place.

        Returns
        -------
        (n_rows, n_dims) unit rows, of Z's library, dtype and device.
        """
        self._check_is_fitted(modality)
        rows, restore = ingest(self, Z, reset=False)
        wide = Rows(rows.widened().astype(np.float64), "float64")
        unit = ops.normalize(wide, zero_rows=self.zero_rows)
        aligned = unit if self.renormalize else wide.values
        return restore(rows.narrowed(self._around(aligned, self._mean_of(modality))))

    def _around(self, aligned: Float64Array, mean: Float64Array) -> Float64Array:
        unit = mappings.invert_center(aligned, mean, renormalized=self.renormalize)
        unit[~aligned.any(axis=1)] = 0  # rows kept as zeros stay so
        return unit

    def gap(self, a: str = "image", b: str = "text") -> GapReport:
        """The gap ``mean_a - mean_b`` of two fitted modalities, with its error and, from pairs, the residual."""
        self._check_is_fitted(a)
        self._check_is_fitted(b)
        pairs = self.pairs_.get(pair_key(a, b))
        return measure_gap(a, b, self.statistics_[a], self.statistics_[b], pairs)

    def as_module(self) -> AlignerModule:
        """A `torch.nn.Module`: `corrupt` with fresh noise at each call in train mode, `transform` in eval mode."""
        self._check_is_fitted()
        from c3align._module import AlignerModule

        return AlignerModule(self)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the aligner to `folder`: `aligner.safetensors` and a readable `config.json`; see `persistence`."""
        from c3align import persistence

        self._check_is_fitted()
        persistence.save(self, folder)

    @classmethod
    def from_pretrained(cls, folder_or_hub_id: str | os.PathLike[str], *, encoder: str | None = None) -> C3Aligner:
        """Read an aligner from a folder, or from the Hugging Face Hub when no such folder exists.

        Parameters
        ----------
        folder_or_hub_id : path, or "owner/name"
        encoder : str, optional
            Fingerprint of the encoder in use; statistics of another one are refused.

        Raises
        ------
        FormatError
            A file that is damaged or was not written by c3align, with the reason; no code in it can run.
        EncoderMismatchError
            When `encoder` is not the one the statistics come from.
        """
        from c3align import persistence

        aligner = persistence.load(cls, folder_or_hub_id)
        return aligner if encoder is None else aligner.bind_encoder(encoder)

    @property
    def sigma_(self) -> float:
        """Standard deviation of the noise per coordinate, from `sigma`, `noise_cosine`, the pairs, or the paper."""
        self._check_is_fitted()
        if self.sigma is not None:
            return float(self.sigma)
        if self.noise_cosine != "auto":
            return noise.sigma_from_cosine(float(self.noise_cosine), self.n_features_in_, norm=self._rms_norm())
        if self.pairs_:
            weights = [pairs.n_rows for pairs in self.pairs_.values()]
            squares = [pairs.sigma**2 for pairs in self.pairs_.values()]
            return float(np.sqrt(np.average(squares, weights=weights)))
        return noise.paper_sigma(self.n_features_in_)

    def _rms_norm(self) -> float:
        """Root mean square norm of the centred unit rows of all fitted modalities: ``sqrt(1 - ||mean||**2)``."""
        fitted = [statistics for statistics in self.statistics_.values() if statistics.n_rows]
        variances = [statistics.total_variance for statistics in fitted]
        return float(np.sqrt(np.average(variances, weights=[statistics.n_rows for statistics in fitted])))

    def _mean_for(self, rows: Rows, modality: str, caller: int = 3) -> Float64Array:
        choice = mappings.choose_mean(modality, self.statistics_, ModalityStatistics(*ops.peek(rows)))
        if choice.modality == mappings.BATCH:
            mean = ModalityStatistics.from_rows(rows, zero_rows=self.zero_rows).mean
        else:
            mean = self._mean_of(choice.modality)
        if choice.warning:
            warnings.warn(choice.warning, ModalityMeanWarning, stacklevel=caller)
        return mean

    def _mean_of(self, modality: str) -> Float64Array:
        return self.statistics_[modality].mean

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags
