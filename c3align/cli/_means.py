"""Whose mean the rows of a command are centered by: decided once, for the whole of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from c3align import centering, mappings
from c3align._strength import noise_of
from c3align.cli._learning import Learning
from c3align.errors import ModalityMeanWarning
from c3align.io.device import Device
from c3align.io.mirror import Rules, bad_rows
from c3align.io.rows import RowSource
from c3align.mappings import rows as mapped
from c3align.noise import stream_seed

__all__ = ["OwnMean", "looked_at", "mean_of"]

SAMPLE_ROWS = 4096  # of a source, by which the mean for all its rows is chosen
_OWN = "these rows"  # what they are learned as, for no aligner learns of a "batch"


@dataclass(frozen=True)
class OwnMean:
    """What the fitted aligner makes of a "batch", block by block: the mean of all its rows was learned before."""

    fitted: Any
    learned: Any  # an aligner that knows these rows alone

    @property
    def sigma_(self) -> float:
        return float(self.fitted.sigma_)

    def to_bytes(self) -> bytes:
        """What the result depends on: the noise is that of the fitted aligner's pairs."""
        return bytes(self.fitted.to_bytes() + self.learned.to_bytes())

    def transform(self, block: Any, modality: str) -> Any:
        return self.learned.transform(block, modality=_OWN)

    def corrupt(self, block: Any, modality: str, seed: int | None = None, **place: Any) -> Any:
        from c3align._ingest import ingest  # which brings scikit-learn

        settings, given = self.fitted.get_params(deep=False), ingest(block, n_dims=self.fitted.n_features_in_)
        how = {"renormalize": settings["renormalize"], "zero_rows": given.policy(settings["zero_rows"])}
        how["seed"] = stream_seed(settings["seed"] if seed is None else seed, modality)
        how |= noise_of(self.fitted.state_, settings, modality)
        return given.like(mapped.corrupt(given.rows, self.learned.state_.row_map(_OWN), **place, **how))


def mean_of(
    fitted: Any, source: RowSource, modality: str, policy: Rules, device: Device | None
) -> tuple[Any, str, str]:
    """The aligner, and whose mean all the rows are centered by, decided once for the whole of them; and what to say."""
    from sklearn.base import clone

    choice = looked_at(fitted, source, _modality_of(source.modality, modality, fitted), policy)
    if choice.modality != centering.BATCH:
        return fitted, choice.modality, f", centered by the mean of {choice.modality!r}"
    mappings.refuse_own_mean(fitted.mapping)
    learning = Learning(clone(fitted), source, rules=policy, device=device)
    learning.run(modality=_OWN)
    return OwnMean(fitted, learning.aligner), centering.BATCH, ", centered by the mean of these rows themselves"


def looked_at(fitted: Any, source: RowSource, asked: str, policy: Rules) -> centering.Center:
    """Whose rows these are, by a sample of the whole; warns if they do not look like it."""
    sample = source.sample(SAMPLE_ROWS)
    if policy.skip:
        sample = sample[~bad_rows(sample, policy.zeros_too)]
    choice = centering.center(asked, centering.state_of(fitted, asked), sample, source.n_rows)
    if choice.warning:
        warnings.warn(choice.warning, ModalityMeanWarning, stacklevel=3)
    return choice


def _modality_of(known: str | None, asked: str, fitted: Any) -> str:
    """What the folder says where nothing else is asked; one that was not fitted has a mean of its own."""
    if asked != "auto" or known is None:
        return asked
    if known in fitted.statistics_:
        return known
    names = ", ".join(map(repr, fitted.statistics_))
    warnings.warn(
        f"the folder holds {known!r} rows and the aligner knows {names}: they are centered by their own mean; to keep "
        f"that mean, fit {known!r} rows too, as with --pair",
        ModalityMeanWarning,
        stacklevel=2,
    )
    return "batch"
