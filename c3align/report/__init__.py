"""What lies between modalities, before and after alignment: figures, pictures, one page.

`report` measures, `Report.to_html` renders the page, `str` a table for the terminal; `plot_*` draw with matplotlib.
"""

from __future__ import annotations

from c3align.report._advice import Advice
from c3align.report._figures import ModalityReport, PairMeasures, PairReport
from c3align.report._measure import report
from c3align.report._plots import (
    plot_cones,
    plot_gap_share,
    plot_noise_cosine,
    plot_overview,
    plot_recall,
    plot_residual_spectrum,
    plot_residuals,
    plot_similarities,
    plot_spectra,
    plot_variances,
)
from c3align.report._report import Report

__all__ = [
    "Advice",
    "ModalityReport",
    "PairMeasures",
    "PairReport",
    "Report",
    "plot_cones",
    "plot_gap_share",
    "plot_noise_cosine",
    "plot_overview",
    "plot_recall",
    "plot_residual_spectrum",
    "plot_residuals",
    "plot_similarities",
    "plot_spectra",
    "plot_variances",
    "report",
]
