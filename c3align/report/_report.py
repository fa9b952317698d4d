"""The result of `report`: its figures, in words, as a page, as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from c3align.errors import C3AlignError
from c3align.report import _advice, _page, _text
from c3align.report._advice import Advice
from c3align.report._figures import ModalityReport, PairReport
from c3align.report._samples import Samples

__all__ = ["Report"]


@dataclass(frozen=True, eq=False)
class Report:
    """Two or more modalities, each and in pairs; see `report`.

    Attributes
    ----------
    modalities : tuple of ModalityReport
    pairs : tuple of PairReport
        Each two of the modalities, the first of them first.
    aligned_by : str
        What "after" means, in words.
    samples : Samples
        The rows it was measured on, for the pictures.
    """

    modalities: tuple[ModalityReport, ...]
    pairs: tuple[PairReport, ...]
    aligned_by: str
    samples: Samples = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return self.samples.names

    @property
    def n_dims(self) -> int:
        return self.samples.n_dims

    def pair(self, a: str, b: str) -> PairReport:
        """The figures of two modalities, in the order they were given in."""
        for found in self.pairs:
            if set(found.names) == {a, b}:
                return found
        raise C3AlignError(f"no pair of {a!r} and {b!r} here; pass two of {', '.join(map(repr, self.names))}")

    def headline(self) -> str:
        """The gap in plain words."""
        return _text.headline(self.pairs, self.aligned_by)

    def advice(self) -> list[Advice]:
        """What to do next, in plain words, each computed from the figures."""
        return _advice.advice(self.modalities, self.pairs, self.samples)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        pairs = [asdict(pair) for pair in self.pairs]
        for pair in pairs:
            del pair["gap"]["vector"]
        return {
            "n_dims": self.n_dims,
            "paired": self.samples.paired,
            "headline": self.headline(),
            "advice": [item._asdict() for item in self.advice()],
            "aligned_by": self.aligned_by,
            "modalities": [asdict(part) for part in self.modalities],
            "pairs": pairs,
        }

    def to_html(self, *, provenance: dict[str, str] | None = None) -> str:
        """A page that stands on its own: no request, no script needed.

        Parameters
        ----------
        provenance : dict of str to str, optional
            What else to say about where the figures come from: a command, a date, fingerprints.
        """
        return _page.render(self, provenance or {})

    def __str__(self) -> str:
        last = f"{_text.sampling(self.modalities, self.samples)}; after: {self.aligned_by}"
        return "\n".join([self.headline(), "", *_text.tables(self.modalities, self.pairs), last])
