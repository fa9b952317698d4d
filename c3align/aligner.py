"""`C3Aligner`: connect, collapse, corrupt, as a scikit-learn transformer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags

from c3align import mappings, ops
from c3align._corrupter import Corrupter
from c3align._ingest import ingest
from c3align._learner import pair_key
from c3align._typing import Array, Float64Array, ZeroRows
from c3align.gap import GapReport, measure_gap
from c3align.ops._rows import Rows

if TYPE_CHECKING:
    from c3align._module import AlignerModule

__all__ = ["C3Aligner"]


class C3Aligner(OneToOneFeatureMixin, TransformerMixin, Corrupter):
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
    covariances_ : dict of (str, str) to PairCovariance
        With ``noise="residual"`` the same with products of columns, else empty.
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
        if self.renormalize:  # the mean is no better than the rows it was learned from
            narrow = Rows(rows.widened(), rows.compute_dtype.__name__)
            aligned[~ops.align(narrow, mean, zero_rows=self.zero_rows).any(axis=1)] = 0
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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags
