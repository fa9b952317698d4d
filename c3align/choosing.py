"""Which mapping, and for captioning which noise, suits a job: measured on rows that the statistics have not seen.

Half of the rows teach, the other half are scored, and again with other halves. Equal rows, and those of one group, are
never on both sides. "center" wins unless another candidate is better by more than three standard deviations, over these
splits, of its difference to it.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import _judging
from c3align._arguments import check_choice, checked
from c3align._halves import MAX_ROWS, Rows, draw
from c3align._typing import Array, Float64Array
from c3align.errors import C3AlignError

__all__ = ["JOBS", "Candidate", "Choice", "choose"]

JOBS = ("search", "retrieval", "captioning", "classification")
FEW_SPLITS = 5  # of fewer, differences are alike by chance: 3 or 4 of 30 times where nothing was better
BEYOND, _ROUNDING = 3.0, 1e-9  # with 2 center lost 3 of 60 times where nothing was better, with 3 never
_JUDGES = {
    "search": "a row finds its partner in one index that holds half of the items as rows of each modality",
    "retrieval": "a row finds its partner in the other modality; mean of both directions",
    "captioning": "how close a ridge regression, which learned to recover {0} rows from aligned and noisy ones, comes "
    "to the true {0} rows when it is given their partners",
    "classification": "the nearest class prompt is right",
}
_LIKENESS = (
    "largest over smallest share of scores above one threshold, within and across the modalities; 1 is fair, and half "
    "of a top ten. Without pairs the job itself is not measured"
)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A setting of `C3Aligner`, and what it scored.

    Parameters
    ----------
    name : str
        The mapping, "raw" for rows that are only normalized, and the noise where it is not the usual one.
    settings : dict
        What `C3Aligner` takes.
    figures : (n_seeds, n_columns) float64
        Scores on each split; the first column is what the candidate is judged by.
    """

    name: str
    settings: dict[str, Any]
    figures: Float64Array

    @property
    def mean(self) -> Float64Array:
        """Mean of each column (n_columns,) over the splits."""
        return np.asarray(self.figures.mean(axis=0), np.float64)

    @property
    def spread(self) -> Float64Array:
        """Standard deviation of each column (n_columns,) over the splits."""
        return np.asarray(self.figures.std(axis=0, ddof=1), np.float64)

    @property
    def line(self) -> str:
        """The line of code that makes this aligner, with ``from c3align import C3Aligner, mappings``."""
        return f"C3Aligner({', '.join(f'{name}={_code(value)}' for name, value in self.settings.items())})"


@dataclass(frozen=True, eq=False)
class Choice:
    """What `choose` found; it prints as a table with the reason and the line of code to use.

    Parameters
    ----------
    job : str
        What was asked for.
    judged_by : str
        What the first column measures.
    columns : tuple of str
        What the candidates' figures are.
    candidates : tuple of Candidate
        All that were tried, best first.
    winner : Candidate
        The one to use: center, or the best of those that are better beyond the spread.
    reason : str
        Why, in one sentence.
    notes : tuple of str
        What else to know: rows that were drawn, candidates that could not be tried, rows of two encoders.
    """

    job: str
    judged_by: str
    columns: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    winner: Candidate
    reason: str
    notes: tuple[str, ...]

    @property
    def line(self) -> str:
        """The line of code to use."""
        return self.winner.line

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values.

        Returns
        -------
        dict
            Ready for JSON, with the scores of each split.
        """
        candidates = [
            {"name": found.name, "line": found.line, "figures": dict(zip(self.columns, found.figures.T.tolist()))}
            for found in self.candidates
        ]
        known = {"job": self.job, "judged_by": self.judged_by, "winner": self.winner.name, "line": self.line}
        return {**known, "reason": self.reason, "notes": list(self.notes), "candidates": candidates}

    def __str__(self) -> str:
        width = max(len(found.name) for found in self.candidates)
        lines = [" " * (width + 2) + "".join(f"{column:>20}" for column in self.columns)]
        for found in self.candidates:
            cells = (f"{mean:.3f} +- {spread:.3f}" for mean, spread in zip(found.mean, found.spread))
            mark = "*" if found is self.winner else " "
            lines.append(f"{mark} {found.name:{width}}" + "".join(f"{cell:>20}" for cell in cells))
        judged = f"{self.job}, judged by {self.columns[0]}: {self.judged_by}"
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([judged, "", *lines, "", self.reason, f"use: {self.line}", *notes])


@checked
def choose(
    X: Array,
    Y: Array,
    *,
    job: str,
    pairs: bool = False,
    groups: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    names: tuple[str, str] = ("text", "image"),
    seeds: int = 5,
    max_rows: int = MAX_ROWS,
    progress: bool = False,
) -> Choice:
    """Try every mapping that the rows allow, and say which one to use for a job.

    Parameters
    ----------
    X, Y : (n_rows, n_dims) arrays, paths or row sources
        Raw rows of two modalities, of one encoder. For captioning X are those to train on, for classification the class
        prompts.
    job : "search", "retrieval", "captioning" or "classification"
        One index over both modalities; rows of the other modality; a reader that learns from X and is fed Y; classes.
    pairs : bool
        Whether row i of Y belongs to row i of X. The job itself is then measured, and mappings that learn from pairs
        are tried. Without pairs or labels only how alike the modalities become is measured, which says nothing about
        retrieval.
    groups : (n_rows,) integers, optional
        What each pair is about, where several are about one thing. Equal rows always are.
    labels : (n_rows of Y,) integers, optional
        For classification: the number of the row of X that is the prompt of each row's class.
    names : (str, str)
        The modalities of X and Y.
    seeds : int
        How many splits, 2 or more.
    max_rows : int
        The most rows of a modality that are drawn, evenly spaced; class prompts are all used.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Choice
        Its `line` is the code to use.

    Raises
    ------
    C3AlignError
        Fewer than 40 different rows or groups of a modality, or arguments that do not fit the job.

    Warns
    -----
    EncoderMismatchWarning
        Where the rows do not look like those of one encoder.
    """
    check_choice("job", job, JOBS)
    if job == "classification" and labels is None:
        raise C3AlignError("job='classification' needs the class of each row of Y; pass labels=")
    if job != "classification" and labels is not None:
        raise C3AlignError(f"labels must come with job='classification', got job={job!r}; pass that job, or no labels")
    if isinstance(seeds, bool) or not isinstance(seeds, int | np.integer) or seeds < 2:
        raise C3AlignError(f"seeds must be an integer of 2 or more, got {seeds!r}; omit it for 5")
    rows, notes = draw((X, Y), names, pairs=pairs, groups=groups, labels=labels, max_rows=max_rows)
    return _chosen(rows, notes, job, seeds, progress)


def _chosen(rows: Rows, notes: list[str], job: str, seeds: int, progress: bool) -> Choice:
    if seeds < FEW_SPLITS:
        notes.append(f"{seeds} splits show little of what chance does; choose by {FEW_SPLITS} before you rely on it")
    is_measured = rows.paired or rows.labels is not None
    judge, sign = (getattr(_judging, job), 1) if is_measured else (_judging.likeness, -1)
    wanted, noises = _judging.candidates(rows), _judging.NOISES if judge is _judging.captioning else {}
    with warnings.catch_warnings(), _bar(seeds * (len(wanted) + len(noises)), progress) as bar:
        warnings.simplefilter("ignore")  # of each half what was said of the whole
        trial = _judging.Trial(rows, judge, seeds, bar, notes)
        found = [Candidate(name, wanted[name], figures) for name, figures in trial.of(wanted).items()]
        center = found[0]
        winner = _best(found, center, sign) if is_measured or job != "retrieval" else center
        wanted = {f"{winner.name}, {name}": {**winner.settings, **noise} for name, noise in noises.items()}
        noisy = [Candidate(name, wanted[name], figures) for name, figures in trial.of(wanted).items()]
    winner = _best(noisy, winner, sign)
    found = sorted(found + noisy, key=lambda one: -sign * float(one.mean[0]))
    reason = _reason(winner, center, found[0] is center, trial.columns[0])
    if rows.is_doubted:
        winner, reason = center, "nothing can be chosen by rows like these, see below: keep center until that is clear"
    if job == "retrieval" and not is_measured:
        reason = "without pairs nothing here tells how well rows are retrieved: keep center, or pass pairs"
    judged_by = _JUDGES[job].format(*rows.names) if is_measured else _LIKENESS
    return Choice(job, judged_by, trial.columns, tuple(found), winner, reason, tuple(notes))


def _gain(found: Candidate, base: Candidate) -> tuple[float, float]:
    """Mean and standard deviation, over the splits, of the difference in what both are judged by."""
    difference = found.figures[:, 0] - base.figures[:, 0]
    return float(difference.mean()), float(difference.std(ddof=1))


def _best(candidates: list[Candidate], base: Candidate, sign: int) -> Candidate:
    """The best of those that are better than the base beyond the spread, else the base."""
    gains = [_gain(found, base) for found in candidates]
    beyond = [found for found, (mean, spread) in zip(candidates, gains) if sign * mean > BEYOND * spread + _ROUNDING]
    return max(beyond, key=lambda found: sign * float(found.mean[0]), default=base)


def _reason(winner: Candidate, center: Candidate, is_first: bool, column: str) -> str:
    if winner is center:
        return f"{'nothing does better' if is_first else 'no difference beyond the spread'}: keep center"
    mean, spread = _gain(winner, center)
    return (
        f"{winner.name} does better than center beyond the spread: {column} {winner.mean[0]:.3f} against "
        f"{center.mean[0]:.3f}, a difference of {mean:+.3f} +- {spread:.3f} over {len(winner.figures)} splits"
    )


def _bar(total: int, progress: bool) -> Any:
    """A bar on stderr, if it takes over a second and stderr is a terminal."""
    return tqdm(desc="choose", total=total, delay=1, leave=False, file=sys.stderr, disable=None if progress else True)


def _code(value: Any) -> str:
    """What a user types."""
    if isinstance(value, str):
        return f'"{value}"'
    return repr(value) if isinstance(value, float | bool) else f"mappings.{value!r}"
