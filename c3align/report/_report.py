"""The result of `report`: figures, which it can put into words, on a page, or into JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from c3align.errors import C3AlignError
from c3align.report import _advice, _page, _text
from c3align.report._advice import Advice
from c3align.report._figures import ModalityReport, PairReport
from c3align.report._samples import Samples


@dataclass(frozen=True, eq=False)
class Report:
    """Two or more modalities, each alone and in pairs; see `report`.

    Parameters
    ----------
    modalities : tuple of ModalityReport
        One per modality, in the order given.
    pairs : tuple of PairReport
        One per two modalities, in the order given.
    aligned_by : str
        What "after" means, in words.
    samples : Samples
        The measured rows, for the pictures.
    """

    modalities: tuple[ModalityReport, ...]
    pairs: tuple[PairReport, ...]
    aligned_by: str
    samples: Samples = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return self.samples.names

    @property
    def n_dims(self) -> int:
        """Dimension of the rows."""
        return self.samples.n_dims

    def pair(self, a: str, b: str) -> PairReport:
        """Get the figures of two modalities.

        Parameters
        ----------
        a, b : str
            Names of the modalities, in either order.

        Returns
        -------
        PairReport
            Its own a and b are in the order given to `report`.
        """
        for found in self.pairs:
            if set(found.names) == {a, b}:
                return found
        raise C3AlignError(f"no pair of {a!r} and {b!r} was measured; pass two of {', '.join(map(repr, self.names))}")

    def headline(self) -> str:
        """Describe the widest gap in plain words.

        Returns
        -------
        str
            One sentence, after one for each two modalities that do not look like one encoder's.
        """
        return _text.headline(self.pairs, self.aligned_by)

    def advice(self) -> list[Advice]:
        """Say what to do next.

        Returns
        -------
        list of Advice
            In plain words, computed from the figures; for each pair of modalities, then for all.
        """
        return _advice.advice(self.modalities, self.pairs, self.samples)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values.

        Returns
        -------
        dict
            Figures, headline and advice, ready for JSON; without the gap vectors.
        """
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
        """Render a self-contained page.

        Parameters
        ----------
        provenance : dict of str to str, optional
            What else to say about the origin of the figures: a command, a date, fingerprints.

        Returns
        -------
        str
            HTML that loads nothing and needs no script.
        """
        return _page.render(self, provenance or {})

    def __str__(self) -> str:
        last = f"{_text.sampling(self.modalities, self.samples)}; after: {self.aligned_by}"
        return "\n".join([self.headline(), "", *_text.tables(self.modalities, self.pairs), last])
