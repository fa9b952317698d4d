"""c3align: make the embeddings of contrastive encoders interchangeable across modalities.

>>> from c3align import C3Aligner  # doctest: +SKIP
>>> aligned = C3Aligner().fit(text_embeddings).transform(image_embeddings)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from c3align._version import __version__

if TYPE_CHECKING:
    from c3align.aligner import C3Aligner
    from c3align.geometry import GapReport
    from c3align.pipeline import Pipeline
    from c3align.statistics import ModalityStatistics, PairStatistics

__all__ = ["C3Aligner", "GapReport", "ModalityStatistics", "PairStatistics", "Pipeline", "__version__"]

_HOMES = {
    "C3Aligner": "c3align.aligner",
    "GapReport": "c3align.geometry",
    "ModalityStatistics": "c3align.statistics",
    "PairStatistics": "c3align.statistics",
    "Pipeline": "c3align.pipeline",
}
# every public module and package; the command line is a program
_ROOMS = (
    "bridge",
    "calibration",
    "centering",
    "choosing",
    "covariance",
    "cross_covariance",
    "datasets",
    "decoders",
    "distributed",
    "drift",
    "embed",
    "encoders",
    "errors",
    "export",
    "geometry",
    "hub",
    "io",
    "mappings",
    "merging",
    "neighbours",
    "nn",
    "noise",
    "ops",
    "persistence",
    "pipeline",
    "published",
    "report",
    "sample",
    "search",
    "statistics",
    "training",
)


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import c3align` costs nothing but itself."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"c3align.{name}")
    raise AttributeError(f"module 'c3align' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})
