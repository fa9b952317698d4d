"""Whose mean a batch gets, on real embeddings: the README's first line, false alarms, single rows, and the overlap.

For every set that is there (the folder of reference data, and the embedded encoder's characters) it measures

* the gap before and after ``C3Aligner().fit(A).transform(B)``, both ways round;
* false alarms: batches of one half of a modality against the other half, of 1 to 4,096 rows, taken for something else;
* batches of the other modality that are found, by their number of rows;
* single rows with both modalities fitted: wrong in silence, and refused, with and without second moments;
* `geometry.encoder_overlap` of the pair, and the largest with any other set's rows.

Examples
--------
    python benchmarks/which_mean.py
    python benchmarks/which_mean.py --splits 1000
    python benchmarks/which_mean.py --json benchmarks/results/which-mean.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _sets import DATA
from throughput import provenance
from tqdm import tqdm

from c3align import C3Aligner, centering, datasets, encoders
from c3align._state import State
from c3align.covariance import CovarianceStatistics
from c3align.errors import C3AlignError
from c3align.geometry import encoder_overlap, recall_at_k
from c3align.statistics import ModalityStatistics

PAIRS = {
    "CLIP, COCO": "coco-clip-vitb16/features_clip.npy",
    "ConVIRT": "convirt/features_convirt.npy",
    "CLIP, untrained": "coco-clip-vitb16/features_clip_random.npy",
    "ConVIRT, untrained": "convirt/features_convirt_random.npy",
}
SIZES = (1, 4, 8, 16, 32)
Sets = dict[str, dict[str, Any]]


def sets() -> Sets:
    """Rows by set and modality; the first two modalities of each are its pair."""
    found: Sets = {"glyphs": glyph_rows()}
    for name, path in PAIRS.items():
        if (DATA / path).exists():
            found[name] = dict(zip(("image", "text"), np.load(DATA / path, allow_pickle=False)))
    clap = DATA / "clap-esc50"
    if clap.exists():
        files = {"audio": "audio.npy", "text": "class_text.npy"}
        found["CLAP, ESC-50"] = {name: np.load(clap / file, allow_pickle=False) for name, file in files.items()}
    return found


def glyph_rows(n_rows: int = 2000) -> dict[str, Any]:
    encoder, chosen = encoders.load("glyphs"), datasets.glyphs()
    step = len(chosen.names) // n_rows
    items = {"image": list(chosen.pictures[::step]), "text": chosen.names[::step]}
    return {name: encoder.encode(part, modality=name) for name, part in items.items()}


def fitted(kind: Any, **rows: Any) -> State:
    state = State(next(iter(rows.values())).shape[1])
    for name, part in rows.items():
        state = state.with_modality(name, kind.from_rows(part))
    return state


def chosen(state: State, rows: Any) -> str | None:
    """The modality that "auto" takes, "batch", or None where it refuses."""
    try:
        return centering.center(centering.AUTO, state, rows).modality
    except C3AlignError:
        return None


def first_line(rows: dict[str, Any]) -> dict[str, Any]:
    """The gap of the means before and after, for both orders; warnings counted."""
    found = {}
    for a, b in itertools.permutations(rows, 2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            aligner = C3Aligner().fit(rows[a], modality=a)
            other = aligner.transform(rows[b])
        own = aligner.transform(rows[a], modality=a)
        means = [ModalityStatistics.from_rows(part).mean for part in (rows[a], rows[b])]
        found[f"{a} -> {b}"] = {
            "gap": round(float(np.linalg.norm(means[0] - means[1])), 3),
            "after": round(float(np.linalg.norm(own.mean(axis=0) - other.mean(axis=0))), 3),
            "warnings": len(caught),
        }
    return found


def halves(rows: Any, rng: Any) -> tuple[Any, Any]:
    order = rng.permutation(len(rows))
    return rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]


def recalls(rows: dict[str, Any]) -> dict[str, list[float]]:
    """R@1 of partners, as they are and centered by their own means; nothing where the rows are no pairs."""
    if len({len(part) for part in rows.values()}) > 1:
        return {}
    aligner, found = C3Aligner(), {}
    for name, part in rows.items():
        aligner.partial_fit(part, modality=name)
    after = {name: aligner.transform(part, modality=name) for name, part in rows.items()}
    for a, b in itertools.permutations(rows, 2):
        found[f"{a} -> {b}"] = [round(recall_at_k(given[a], given[b])[1], 3) for given in (rows, after)]
    return found


def false_alarms(rows: dict[str, Any], splits: int, rng: Any) -> dict[str, int]:
    """Batches of a modality that are not taken for it, over splits and sizes from 1 to 4,096 rows."""
    wrong = 0
    for name, _ in zip(itertools.cycle(rows), range(splits)):
        known, batch = halves(rows[name], rng)
        size = int(np.exp(rng.uniform(0, np.log(4097))))
        wrong += chosen(fitted(ModalityStatistics, **{name: known}), batch[:size]) != name
    return {"splits": splits, "wrong": wrong}


def detection(rows: dict[str, Any], rng: Any, n_batches: int = 50) -> dict[str, dict[int, float]]:
    """Share of the other modality's batches that are found (or, below 8 rows, refused)."""
    found: dict[str, dict[int, float]] = {}
    for a, b in itertools.permutations(rows, 2):
        state = fitted(ModalityStatistics, **{a: rows[a]})
        batches = {n: [rows[b][rng.permutation(len(rows[b]))[:n]] for _ in range(n_batches)] for n in SIZES}
        found[f"{a} -> {b}"] = {n: sum(chosen(state, x) != a for x in part) / n_batches for n, part in batches.items()}
    return found


def single_rows(rows: dict[str, Any], rng: Any) -> dict[str, dict[str, float]]:
    """Shares of rows that were not fitted: given the wrong mean in silence, and refused."""
    split = {name: halves(part, rng) for name, part in rows.items()}
    found = {}
    for called, kind in (("variances", ModalityStatistics), ("second moments", CovarianceStatistics)):
        state = fitted(kind, **{name: known for name, (known, _) in split.items()})
        given = [(name, chosen(state, row[None])) for name, (_, rest) in split.items() for row in rest]
        wrong, refused = (sum(test(*pair) for pair in given) / len(given) for test in (_is_wrong, _is_refused))
        found[called] = {"rows": len(given), "wrong": round(wrong, 5), "refused": round(refused, 4)}
    return found


def _is_wrong(name: str, taken: str | None) -> bool:
    return taken not in (None, name)


def _is_refused(name: str, taken: str | None) -> bool:
    return taken is None


def overlaps(found: Sets, name: str) -> dict[str, float]:
    """The overlap of the pair, and the largest with rows of another set, 200 rows of each."""
    own, others = list(found[name].values()), [part for n, rows in found.items() if n != name for part in rows.values()]
    mixes = [encoder_overlap(a[:200], b[:200]) for a in own for b in others if a.shape[1] == b.shape[1]]
    return {"pair": round(encoder_overlap(own[0], own[1]), 2), "most of a mix": round(max(mixes, default=0.0), 2)}


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=10_000, help="random halves, over all sets")
    parser.add_argument("--json", type=Path, help="file for the records")
    arguments = parser.parse_args()
    found, rng, records = sets(), np.random.default_rng(0), {}
    for name, rows in tqdm(found.items(), desc="sets", disable=None):
        records[name] = {
            "rows": {modality: len(part) for modality, part in rows.items()},
            "first line": first_line(rows),
            "R@1": recalls(rows),
            "false alarms": false_alarms(rows, arguments.splits // len(found), rng),
            "found": detection(rows, rng),
            "single rows": single_rows(rows, rng),
            "overlap": overlaps(found, name),
        }
        print(name, json.dumps(records[name], indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({**provenance("which_mean.py"), "sets": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
