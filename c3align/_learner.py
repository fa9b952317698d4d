"""How an aligner learns: the half of `C3Aligner` that changes its state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from c3align import mappings
from c3align._ingest import ingest, ingest_partners
from c3align._settings import check_modality_name, check_settings
from c3align._typing import Array, ZeroRows
from c3align.covariance import PairCovariance
from c3align.errors import C3AlignError, EncoderMismatchError
from c3align.statistics import ModalityStatistics, PairStatistics

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Learner", "pair_key"]


class Learner(BaseEstimator):
    """Fits, merges and binds the statistics; every change is whole, or does not happen."""

    statistics_: dict[str, ModalityStatistics]
    pairs_: dict[tuple[str, str], PairStatistics]
    covariances_: dict[tuple[str, str], PairCovariance]
    encoder_fingerprint_: str | None
    n_features_in_: int
    noise: str
    zero_rows: ZeroRows

    def fit(self, X: Array, y: Array | None = None, *, modality: str = "text", y_modality: str = "image") -> Self:
        """Learn the statistics of one modality, or of two from pairs; forgets what was learned before.

        Parameters
        ----------
        X : (n_rows, n_dims) array or tensor
            Rows of `modality`, of any norm.
        y : (n_rows, n_dims) array or tensor, optional
            Row i is the partner of row i of X, in `y_modality`: gap, residuals and sigma are learned too, and with
            ``noise="residual"`` the residuals' covariance. A 1-d y (labels, as scikit-learn's tools pass them) is
            ignored.
        modality, y_modality : str
            Any names but "auto" and "batch".

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Input that is not finite, has rows without a direction, or a shape that does not fit. Nothing is learned
            then, and what was learned before stays.
        """
        with self._unchanged_on_error():
            for name in ("statistics_", "pairs_", "covariances_", "encoder_fingerprint_"):
                self.__dict__.pop(name, None)
            self._learn(X, y, modality, y_modality, reset=True)
        return self

    def partial_fit(
        self, X: Array, y: Array | None = None, *, modality: str = "text", y_modality: str = "image"
    ) -> Self:
        """Add rows to the statistics, as `fit` but without forgetting: all of the batch, or nothing on an error.

        Any order and any split of the rows give the same bytes of state (covariances aside, which carry a tolerance).
        """
        with self._unchanged_on_error():
            self._learn(X, y, modality, y_modality, reset=not self._is_fitted())
        return self

    def _learn(self, X: Array, y: Array | None, modality: str, y_modality: str, *, reset: bool) -> None:
        check_settings(self)
        for name in (modality, y_modality):
            check_modality_name(name)
        rows, _ = ingest(self, X, reset=reset)
        partners = ingest_partners(rows, y)
        statistics = dict(getattr(self, "statistics_", {}))
        pairs, covariances = dict(getattr(self, "pairs_", {})), dict(getattr(self, "covariances_", {}))
        _add(statistics, modality, ModalityStatistics.from_rows(rows, zero_rows=self.zero_rows))
        if partners is not None:
            if modality == y_modality:
                raise C3AlignError(f"X and y are both {modality!r}; pass another y_modality=")
            _add(statistics, y_modality, ModalityStatistics.from_rows(partners, zero_rows=self.zero_rows))
            kind = PairCovariance if self.noise == "residual" else PairStatistics
            found = kind.from_rows(rows, partners, zero_rows=self.zero_rows)
            ordered = found if modality < y_modality else found.negated()
            _add_pairs(pairs, covariances, pair_key(modality, y_modality), ordered)
        covariances = self._covariances_of(pairs, covariances)
        self.statistics_, self.pairs_, self.covariances_ = statistics, pairs, covariances
        self.encoder_fingerprint_ = getattr(self, "encoder_fingerprint_", None)

    def _covariances_of(self, pairs: dict[Any, PairStatistics], found: dict[Any, PairCovariance]) -> dict[Any, Any]:
        """The covariances where the noise asks for them, and then of every pair, else none."""
        if self.noise != "residual":
            return {}
        for names, statistics in pairs.items():
            if names not in found or found[names].n_rows != statistics.n_rows:
                raise C3AlignError(
                    f"pairs of {' and '.join(names)} were learned without their covariance; "
                    "fit on all pairs with noise='residual'"
                )
        return found

    def merge(self, other: Learner) -> Self:
        """Add what another aligner learned from other rows, exactly as if `self` had seen them; returns self.

        Raises
        ------
        C3AlignError
            When the widths differ, with ``noise="residual"`` when `other` learned pairs without their covariance, and
            `EncoderMismatchError` when both are bound to different encoders.
        """
        self._check_is_fitted()
        other._check_is_fitted()
        fingerprints = {a.encoder_fingerprint_ for a in (self, other)} - {None}
        if len(fingerprints) > 1:
            raise EncoderMismatchError(
                "these aligners learned from different encoders "
                f"({self.encoder_fingerprint_} and {other.encoder_fingerprint_}); merge those of one encoder"
            )
        statistics, pairs, covariances = dict(self.statistics_), dict(self.pairs_), dict(self.covariances_)
        for name, found in other.statistics_.items():
            _add(statistics, name, found)
        for names, found_pairs in other.pairs_.items():
            _add_pairs(pairs, covariances, names, other.covariances_.get(names, found_pairs))
        covariances = self._covariances_of(pairs, covariances)
        self.statistics_, self.pairs_, self.covariances_ = statistics, pairs, covariances
        self.encoder_fingerprint_ = next(iter(fingerprints), None)
        return self

    def bind_encoder(self, fingerprint: str) -> Self:
        """Tie the statistics to the encoder they come from; a later `fit` unties them. Returns self.

        Raises
        ------
        EncoderMismatchError
            When they are tied to another encoder already.
        """
        self._check_is_fitted()
        if not isinstance(fingerprint, str) or not fingerprint:
            raise C3AlignError(f"{fingerprint!r} is no fingerprint; pass the encoder's .fingerprint")
        if self.encoder_fingerprint_ not in (None, fingerprint):
            raise EncoderMismatchError(
                f"these statistics come from the encoder {self.encoder_fingerprint_} and not from {fingerprint}; "
                "use that encoder, or fit an aligner on rows of this one"
            )
        self.encoder_fingerprint_ = fingerprint
        return self

    def _is_fitted(self) -> bool:
        return hasattr(self, "statistics_")

    __sklearn_is_fitted__ = _is_fitted

    def _check_is_fitted(self, modality: str = mappings.AUTO) -> None:
        if not self._is_fitted():
            raise NotFittedError("this C3Aligner has learned nothing yet; call fit(X) with rows of one modality first")
        if modality not in (mappings.AUTO, mappings.BATCH, *self.statistics_):
            fitted = ", ".join(repr(name) for name in self.statistics_)
            raise NotFittedError(
                f"no mean was learned for modality {modality!r} (learned: {fitted}); "
                f"call partial_fit(X, modality={modality!r}) with rows of it first"
            )

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise


def pair_key(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _add_pairs(pairs: dict[Any, Any], covariances: dict[Any, Any], key: tuple[str, str], found: Any) -> None:
    if isinstance(found, PairCovariance):
        _add(covariances, key, found)
        found = found.statistics
    _add(pairs, key, found)


def _add(known: dict[Any, Any], key: Any, found: Any) -> None:
    """Merge into a dictionary that is kept in alphabetical order, so that no trace of the order remains."""
    known[key] = known[key] + found if key in known else found
    items = sorted(known.items())
    known.clear()
    known.update(items)
