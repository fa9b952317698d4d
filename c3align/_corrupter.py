"""How an aligner adds noise: the half of `C3Aligner` that chooses a mean and a noise, and `corrupt`."""

from __future__ import annotations

import warnings

import numpy as np

from c3align import mappings, noise, ops
from c3align._ingest import ingest
from c3align._learner import Learner
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.ops._rows import Rows
from c3align.statistics import ModalityStatistics

__all__ = ["Corrupter"]


class Corrupter(Learner):
    """Rows with noise, in the strength and the shape that were asked for or learned."""

    noise_cosine: str | float
    sigma: float | None
    seed: int
    renormalize: bool

    def corrupt(self, X: Array, *, modality: str = "text", seed: int | None = None, row_offset: int = 0) -> Array:
        """Align rows and add noise: what a decoder trains on (C3, eq. 5).

        The noise is a function of seed, row and column: batch k of a shuffled epoch gets the same noise wherever
        and in whatever order it is computed. With sigma 0 this is `transform` to the bit.

        With ``noise="residual"`` it is ``unit(unit(x) - mean + s L z)``, z standard normals and L the symmetric square
        root of the covariance of eps over the pairs given to `fit`: eps is a difference of unit rows less its mean, so
        it lives where the noise is added. s is 1 for what was learned; where `sigma` or `noise_cosine` asks for another
        strength, s makes the covariance's trace ``n_dims * sigma_**2``. It is the covariance noise of CLOSE (ICCV 2023)
        on centred rows. A fitted aligner gives the same bits for any batches; but its covariance is summed by BLAS and
        L found by LAPACK, so that other machines or libraries, and other splits of the pairs while fitting, may give
        noise that differs by up to 1e-4 of its size. It takes a product with an (n_dims, n_dims) matrix, on the host.

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

        Raises
        ------
        C3AlignError
            With ``noise="residual"`` when no pairs were learned; and as in `transform`.
        """
        self._check_is_fitted(modality)
        rows, restore = ingest(self, X, reset=False)
        return restore(
            ops.corrupt(
                rows,
                self._mean_for(rows, modality),
                sigma=self._strength(),
                seed=self.seed if seed is None else seed,
                row_offset=row_offset,
                renormalize=self.renormalize,
                zero_rows=self.zero_rows,
            )
        )

    @property
    def sigma_(self) -> float:
        """Standard deviation of the noise per coordinate, from `sigma`, `noise_cosine`, the pairs, or the paper."""
        self._check_is_fitted()
        if self.sigma is not None:
            return float(self.sigma)
        if self.noise_cosine != "auto":
            return noise.sigma_from_cosine(float(self.noise_cosine), self.n_features_in_, norm=self._rms_norm())
        return self._pairs_sigma() if self.pairs_ else noise.paper_sigma(self.n_features_in_)

    def _pairs_sigma(self) -> float:
        weights = [pairs.n_rows for pairs in self.pairs_.values()]
        squares = [pairs.sigma**2 for pairs in self.pairs_.values()]
        return float(np.sqrt(np.average(squares, weights=weights)))

    def _strength(self) -> float | Float64Array:
        """What `ops.corrupt` takes as sigma: a number, or a square root of the noise's covariance."""
        sigma = self.sigma_
        if self.noise != "residual" or not sigma:
            return sigma
        if not self.covariances_:
            raise C3AlignError(
                "noise='residual' takes its covariance from pairs, and none were learned with it; "
                "call fit(X, y) with row i of y as the partner of row i of X, or choose noise='isotropic'"
            )
        learned = self._pairs_sigma()
        if not learned:
            raise C3AlignError("the pairs have no residuals to take a covariance from; choose noise='isotropic'")
        root = noise.residual_root(self.covariances_.values())
        return root if sigma == learned else root * (sigma / learned)

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
