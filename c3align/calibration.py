"""Scores that mean the same for every pair of modalities: z-scores, thresholds, probabilities, and merged lists.

After alignment two texts still score higher than a text and a picture, related or not: scores of unrelated rows of
modalities q and d, with means m and covariances S, have the mean ``m_q . m_d`` and the variance
``tr(S_q S_d) + m_q' S_d m_q + m_d' S_q m_d``, which differ from pair to pair. A score less its mean and over its
standard deviation does not. The variance comes from a sample of rows: that of all scores between rows that are not
related, which is that formula without the bias that plugging in covariances of few rows would have.

Where one standard deviation a pair is not enough, as with encoders of few heavy directions, a calibration notices, on
the rows it saw, warns, and maps scores by the quantiles of those of unrelated rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import ops
from c3align._arguments import check_by_modality
from c3align._odds import chances
from c3align._raw import RawPlace, places_of, warn_of_raw
from c3align._typing import Array, Float64Array, Int64Array
from c3align._unrelated import (
    KNOTS,
    SHARES,
    Sampled,
    as_values,
    common_place,
    few_message,
    is_number,
    is_unequal,
    like,
    piecewise,
    rate_message,
    sampled,
    scores_of_pairs,
    share_above,
    unequal_message,
    uneven_message,
    unit_rows,
    unrelated,
    weights_of,
)
from c3align.errors import C3AlignError, CalibrationWarning
from c3align.ops.arrays import is_tensor
from c3align.sample import SIZE

__all__ = ["LEVELS", "Calibration"]

LEVELS = (0.01, 0.001)  # the false-positive rates of the self-test
MIN_EXCEEDING = 10  # scores that a rate is read off
_MOST_COSINE = 1.001  # the rounding of half precision
_BLOCK_SCORES, _DEVICE_SCORES = 1 << 18, 1 << 24


@dataclass(frozen=True, eq=False)
class Calibration:
    """What unrelated rows of each pair of modalities score; made by `from_rows`.

    A *score* is the cosine of two aligned rows; rows of any norm are taken, and refused where they hold NaN. "Aligned"
    is what `C3Aligner.transform` gives, and always the same kind of rows as `from_rows` saw.

    Parameters
    ----------
    modalities : tuple of str
        The m names in alphabetical order, the order of the arrays' axes: query, document.
    means, deviations : (m, m) float64
        Mean and standard deviation of the scores of unrelated rows; the mean is that of all scores, ``m_q . m_d``, but
        where more than one in a hundred is of related rows.
    n_scores : (m, m) int64
        How many of them were seen.
    quantiles : (m, m, 137) float64
        Quantiles of these scores, at the levels of 137 evenly spaced points of a standard normal.
    rates : (m, m, 2) float64
        The self-test: share of unrelated documents above the one threshold in ``(score - mean) / deviation`` that, on
        average over the modalities of documents, lets 1 % and 0.1 % through.
    uses_quantiles : bool
        Whether the self-test failed, so that z-scores are mapped by the quantiles.
    n_pairs : (m, m) int64
        How many pairs `with_pairs` has learned; 0 by default.
    related : (m, m, 137) float64
        Quantiles of the pairs' scores, at the levels of `quantiles`; zeros where none were learned.
    is_held_out : bool
        Whether `from_rows` was given folds, so that thresholds hold with few rows too.
    raw : mapping of str to RawPlace
        Where raw rows of modalities lie, as far as that is known; `score` warns of such rows.

    Examples
    --------
    >>> import numpy as np
    >>> wide, narrow = np.random.default_rng(0).normal(size=(2, 500, 64)) * [[np.ones(64)], [np.arange(64) < 16]]
    >>> calibration = Calibration.from_rows({"image": wide, "text": narrow})
    >>> calibration.deviations.round(2)
    array([[0.13, 0.13],
           [0.13, 0.25]])
    >>> z = calibration.score(narrow[:9], wide, query="text", document="image")
    >>> z.shape, bool(abs(z.std() - 1) < 0.05)
    ((9, 500), True)
    """

    modalities: tuple[str, ...]
    means: Float64Array
    deviations: Float64Array
    n_scores: Int64Array
    quantiles: Float64Array
    rates: Float64Array
    uses_quantiles: bool
    n_pairs: Int64Array
    related: Float64Array
    is_held_out: bool = False
    raw: Mapping[str, RawPlace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for array in self._arrays():
            array.flags.writeable = False

    def _arrays(self) -> list[Any]:
        return [self.means, self.deviations, self.n_scores, self.quantiles, self.n_pairs, self.related, self.rates]

    @classmethod
    def from_rows(
        cls,
        rows: Mapping[str, Array],
        *,
        groups: Mapping[str, npt.ArrayLike] | None = None,
        folds: Mapping[str, npt.ArrayLike] | None = None,
        size: int = SIZE,
        raw_means: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Calibration:
        """Calibrate on aligned rows; pairs are not needed.

        Parameters
        ----------
        rows : mapping of str to (n_rows, n_dims) array or tensor
            Aligned rows of each modality, the same for any order of the rows: a `RowSample` of them is used.
        groups : mapping of str to (n_rows,) integers, optional
            What each row is about. Rows of one number are related, and their scores left out; without it only equal
            rows are. It matters where related rows are many: with class prompts, of which one in n_classes fits, and
            below some thousand rows, where pairs are a share of ``1 / n_rows`` of all scores.
        folds : mapping of str to (n_rows,) integers, optional
            Rows of one fold alone are scored against each other: for rows of a cross-validation, where a map that the
            other folds have taught aligns each fold. `C3Aligner.calibrate` does so with few rows.
        size : int
            The most rows of a modality that are used.
        raw_means : mapping of str to (n_dims,), optional
            Mean of the raw unit rows of each modality, by which raw rows are told; `C3Aligner.calibrate` gives them.

        Raises
        ------
        C3AlignError
            Rows of different widths, or that `ops.normalize` refuses; groups of other rows; scores that do not vary.

        Warns
        -----
        CalibrationWarning
            Where the self-test fails.
        """
        samples = sampled(rows, {} if groups is None else groups, folds, size)
        names, m = tuple(samples), len(samples)
        means, deviations = np.zeros((2, m, m))
        n_scores, quantiles = np.zeros((m, m), np.int64), np.zeros((m, m, len(KNOTS)))
        for i, j in zip(*np.triu_indices(m)):
            found = unrelated(samples[names[i]], samples[names[j]], f"{names[i]!r} with {names[j]!r}")
            target: Any
            for target, value in zip((means, deviations, n_scores, quantiles), found):
                target[[i, j], [j, i]] = value
        rates, n_pairs, related = np.zeros((m, m, len(LEVELS))), np.zeros((m, m), np.int64), np.zeros_like(quantiles)
        untested = cls(names, means, deviations, n_scores, quantiles, rates, False, n_pairs, related, folds is not None)
        if raw_means is not None:
            untested = replace(untested, raw=places_of({name: samples[name].rows for name in names}, raw_means))
        return untested._tested(list(samples.values()))

    def _tested(self, samples: Sequence[Sampled]) -> Calibration:
        """With the rates of the self-test, and what follows from them."""
        rates, unequal = np.zeros_like(self.rates), []
        for i, query in enumerate(self.modalities):
            found = [self._rates(samples, i, level) for level in LEVELS]
            rates[i] = np.array([[rate for rate, _ in documents] for documents in found]).T
            if is_unequal([r for r, n in zip(found[0], self.n_scores[i]) if n * LEVELS[0] >= MIN_EXCEEDING]):
                unequal.append(unequal_message(query, self.modalities, rates[i, :, 0]))
        if unequal:
            warnings.warn(unequal[0], CalibrationWarning, stacklevel=3)
        return replace(self, rates=rates, uses_quantiles=bool(unequal))

    def _rates(self, samples: Sequence[Sampled], i: int, level: float) -> list[tuple[float, float]]:
        """For each modality of documents the share above the common threshold, and its sampling error."""
        common = common_place([self._z(self.quantiles[i, j], i, j) for j in range(len(samples))], 1 - level)
        limits = self.means[i] + self.deviations[i] * common
        return [share_above(samples[i], sample, limit) for sample, limit in zip(samples, limits)]

    def score(self, Q: Array, D: Array, *, query: str, document: str) -> Array:
        """Compute z-scores of documents for queries: standard deviations above what unrelated rows score.

        Parameters
        ----------
        Q : (n, n_dims) array or tensor
            Aligned rows of the modality `query`, of any norm.
        D : (m, n_dims) array or tensor
            Aligned rows of the modality `document`; where Q is on a device, there too.
        query, document : str
            Modalities of Q and of D.

        Returns
        -------
        (n, m) float32 array or tensor
            The z-scores, of Q's library and on its device.

        Raises
        ------
        C3AlignError
            A modality that was not calibrated; rows that are not finite, have no direction, or other widths.
        """
        i, j = self._place(query, document)
        q, d = unit_rows(Q, "Q"), unit_rows(D, "D")
        if is_tensor(q) != is_tensor(d) or (is_tensor(q) and q.device != d.device):
            raise C3AlignError("Q and D are on different devices; pass both on one")
        if q.shape[1] != d.shape[1]:
            raise C3AlignError(f"Q has {q.shape[1]} dimensions and D {d.shape[1]}; pass rows of one encoder")
        for unit, name in ((q, query), (d, document)):
            warn_of_raw(unit, name, self.raw)
        scores = q @ d.T
        step = max(1, (_DEVICE_SCORES if is_tensor(q) else _BLOCK_SCORES) // max(1, scores.shape[1]))
        for start in range(0, scores.shape[0], step):
            block = slice(start, start + step)
            scores[block] = self._z(scores[block], i, j)
        return like(scores, Q)

    def z_scores(self, scores: Array, *, query: str, document: str) -> Array:
        """Turn cosines that an index has found into z-scores, so that lists of several modalities merge by score.

        Parameters
        ----------
        scores : array or tensor, floating, of any shape
            Cosines of aligned rows; NaN, and what is beyond [-1.001, 1.001], is refused.
        query, document : str
            Modalities of the queries and of the documents that were scored.

        Returns
        -------
        array or tensor like `scores`
            Their z-scores.

        Raises
        ------
        C3AlignError
            A modality that was not calibrated; scores that are no cosines.
        """
        i, j = self._place(query, document)
        values = as_values(scores)
        if not bool((abs(values) <= _MOST_COSINE).all()):
            raise C3AlignError("scores must be cosines, from -1 to 1; pass inner products of unit rows")
        return like(self._z(values, i, j), scores)

    def threshold(self, *, false_positive_rate: float, query: str, document: str | None = None) -> float:
        """Find the z-score above which a share `false_positive_rate` of unrelated documents comes.

        Parameters
        ----------
        false_positive_rate : float
            From ten over the number of unrelated scores that were seen, `n_scores`, to below 1.
        query : str
            Modality of the queries.
        document : str, optional
            Without it one threshold for an index of all modalities, of that share on average over them.

        Returns
        -------
        float
            A limit for what `score` and `z_scores` return.

        Raises
        ------
        C3AlignError
            A rate that too few scores were seen for; a modality that was not calibrated.
        """
        i, j = self._place(query, query if document is None else document)
        documents = range(len(self.modalities)) if document is None else [j]
        least = max(MIN_EXCEEDING / int(self.n_scores[i, list(documents)].min()), 1 - SHARES[-1])
        if not (is_number(false_positive_rate) and least <= false_positive_rate < 1):
            raise C3AlignError(rate_message(least, false_positive_rate))
        if not self.is_held_out and (message := few_message(self.n_scores)):
            warnings.warn(message, CalibrationWarning, stacklevel=2)
        return common_place([self._z(self.quantiles[i, k], i, k) for k in documents], 1 - false_positive_rate)

    def row_scale(self, *, query: str) -> dict[str, float]:
        """Give what to multiply aligned documents of each modality by for a plain inner-product index.

        Queries stay as they are. Scores are then z-scores but for the pair's mean, which centering leaves near zero.

        Parameters
        ----------
        query : str
            Modality of all queries.

        Returns
        -------
        dict of str to float
            ``1 / deviation`` of each modality of documents.

        Warns
        -----
        CalibrationWarning
            Where one number a pair is known not to do, and where the pairs' means differ.
        """
        i, _ = self._place(query, query)
        message = unequal_message(query, self.modalities, self.rates[i, :, 0]) if self.uses_quantiles else None
        if message := message or uneven_message(self.means[i] / self.deviations[i]):
            warnings.warn(message, CalibrationWarning, stacklevel=2)
        return {name: 1 / float(deviation) for name, deviation in zip(self.modalities, self.deviations[i])}

    def fuse(self, rows: Mapping[str, Array], *, query: str, weights: Mapping[str, float] | None = None) -> Array:
        """Make one row of each document that has several: the unit row of the sum of their weighted z-scores.

        The result is a modality of its own: give rows of it to `from_rows` by a name such as "image+text".

        Parameters
        ----------
        rows : mapping of str to (n_rows, n_dims) array or tensor
            Aligned rows; row i of each is of document i.
        query : str
            The modality of the queries, whose deviations make the rows comparable.
        weights : mapping of str to float, optional
            By default 1 each.

        Returns
        -------
        (n_rows, n_dims) array or tensor
            Unit rows, of the library of the first.

        Raises
        ------
        C3AlignError
            Shapes that differ; weights that are not of these modalities, below zero, or all zero; rows that cancel out.
        """
        check_by_modality("rows", rows)
        given = weights_of(rows, weights)
        units = {name: unit_rows(X, name) for name, X in rows.items()}
        if len({(tuple(unit.shape), str(getattr(unit, "device", "cpu"))) for unit in units.values()}) > 1:
            raise C3AlignError(
                "the rows of a document's modalities differ in shape or device; pass row i of each for document i"
            )
        scales = {name: given[name] / float(self.deviations[self._place(query, name)]) for name in rows}
        total: Any = sum(scale * units[name] for name, scale in scales.items())
        return like(ops.normalize(total), next(iter(rows.values())))

    def with_pairs(self, X: Array, Y: Array, *, query: str, document: str) -> Calibration:
        """Learn what `probability` needs: how pairs score, to set against how unrelated rows do.

        Parameters
        ----------
        X, Y : (n_pairs, n_dims) array or tensor
            Aligned rows; row i of Y is related to row i of X. Have some of every quality that will come, and, where
            `mapping` was learned from pairs ("ridge", "procrustes"), others than those: its own score too high.
        query, document : str
            Modalities of X and of Y; what is learned serves either way.

        Returns
        -------
        Calibration
            A copy that knows these pairs.

        Raises
        ------
        C3AlignError
            An unknown modality, fewer than ten pairs, other shapes, or pairs that score no higher than unrelated rows.

        Warns
        -----
        PairOrderWarning
            From 30 pairs, where they do not look like pairs in this order.
        """
        i, j = self._place(query, document)
        scores = scores_of_pairs(X, Y, float(self.means[i, j]), (query, document), self.raw)
        n_pairs, related = self.n_pairs.copy(), self.related.copy()
        n_pairs[[i, j], [j, i]], related[[i, j], [j, i]] = len(scores), np.quantile(scores, SHARES)
        return replace(self, n_pairs=n_pairs, related=related)

    def probability(self, scores: Array, *, query: str, document: str, prior: float) -> Array:
        """Compute the probability that documents are related to the query from their z-scores.

        ``log(p / (1 - p)) = a + sum_k s_k length_k(z)``: lines in ten places, with slopes above zero, fitted to pairs
        and to unrelated scores at this prior, and the straighter the fewer there are (a logistic regression).

        Parameters
        ----------
        scores : array or tensor, floating, of any shape
            What `score` or `z_scores` gave.
        query, document : str
            Modalities of the queries and of the documents.
        prior : float in (0, 1)
            The share of related documents among those that were scored: ``1 / n`` for one in an index of n. No
            score tells it, and the probability depends on it.

        Returns
        -------
        array or tensor of the shape of `scores`
            Probabilities, in the same library and on the same device.

        Raises
        ------
        C3AlignError
            A modality that was not calibrated; no pairs of these two; scores that hold NaN; a prior beyond (0, 1).
        """
        i, j = self._place(query, document)
        if not self.n_pairs[i, j]:
            raise C3AlignError(
                f"no pairs of {query!r} and {document!r} were learned; call with_pairs() with some first"
            )
        pairs, others = (self._z(knots[i, j], i, j) for knots in (self.related, self.quantiles))
        seen = {"n_pairs": int(self.n_pairs[i, j]), "n_scores": int(self.n_scores[i, j])}
        return chances(scores, pairs, others, prior=prior, **seen)

    def __str__(self) -> str:
        lines = ["query        document       mean  deviation   above 1 %  above 0.1 %"]
        for i, query in enumerate(self.modalities):
            for j, document in enumerate(self.modalities):
                rates = "  ".join(f"{rate:10.3%}" for rate in self.rates[i, j])
                lines.append(
                    f"{query:12} {document:12} {self.means[i, j]:+.4f}     {self.deviations[i, j]:.4f}  {rates}"
                )
        return "\n".join([*lines, "z-scores by " + ("quantiles" if self.uses_quantiles else "mean and deviation")])

    def _place(self, query: str, document: str) -> tuple[int, int]:
        for what, name in (("query", query), ("document", document)):
            if not isinstance(name, str) or name not in self.modalities:
                names = ", ".join(map(repr, self.modalities))
                raise C3AlignError(f"{what} must be one of {names}, got {name!r}; calibrate with rows of it")
        return self.modalities.index(query), self.modalities.index(document)

    def _curve(self, i: int, j: int) -> tuple[Float64Array, Float64Array]:
        """Scores, rising, and their z-scores: one point where mean and deviation do, else the quantiles."""
        if not self.uses_quantiles:
            return self.means[i, j][None], np.zeros(1)
        # beyond what ten scores tell a curve goes on by the deviation
        seen = np.minimum(SHARES, 1 - SHARES) * self.n_scores[i, j] >= min(MIN_EXCEEDING, self.n_scores[i, j] / 2)
        points, which = np.unique(self.quantiles[i, j][seen], return_inverse=True)
        return points, np.bincount(which, KNOTS[seen]) / np.bincount(which)

    def _z(self, scores: Any, i: int, j: int) -> Any:
        """z-scores of scores of any shape, in their dtype and on their device."""
        points, z = self._curve(i, j)
        deviation = float(self.deviations[i, j])
        if len(points) == 1:
            return (scores - float(points[0])) / deviation + float(z[0])
        return piecewise(scores, points, z, 1 / deviation)
