"""Which recipe for which job? Every mapping x noise x decoder, on the same rows, seeds and scores.

A recipe is a mapping of the rows (`c3align.mappings`), noise while a decoder learns from texts, and a way to score.
Mappings that need no pairs and those that do are told apart, as are ways that merge two lists, one a modality.

Measured where the set allows it: the gap of the means and of the distributions (Frechet distance of Gaussians), R@k
counting all rows that belong together, one index of both modalities (NDCG@10 by the similarity of captions, the share
of the other modality in the top ten less its fair share, and how a text finds its own item there), false positives of
pairs of one modality at the threshold that lets 1 % of texts with the other through, with and without calibrated
scores, clusters against classes, class prompts, and words read off rows of the other modality by what learned from
texts alone. Statistics are of rows that are not tested.

A folder of your own holds, as NumPy files of n rows each,
    text.npy and one other <modality>.npy    (n, d) of any norm; as many rows of both are pairs, row by row
    text_groups.npy, <modality>_groups.npy   optional, (n,) integers: rows of one number belong together
    text_labels.npy, <modality>_labels.npy   optional, (n,) integers: classes; texts that are one a class are prompts
    texts.txt                                optional, a line for each row of text.npy: what it says

Examples
--------
    python benchmarks/recipes.py                                  # all sets at hand
    python benchmarks/recipes.py --data glyphs my_rows/ --seeds 5
    python benchmarks/recipes.py --data my_rows/ --out found.json --picture found.png
    python benchmarks/recipes.py --out benchmarks/results/recipes.json --picture benchmarks/results/recipes.png
    python benchmarks/recipes.py --captions --out benchmarks/results/recipes-captions.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import _measures
import _reading
import _recipe_tables
import torch
from _recipes import FREE, LISTS, PAIRED
from _sets import Embeddings, built_in, cut, load
from tqdm import tqdm

from c3align.errors import C3AlignError

sys.path.append(str(Path(__file__).parent / "paper"))

from _results import Results

SETTINGS = {
    "cosines": _reading.COSINES,
    "least_texts": _reading.LEAST_TEXTS,
    "reader": [_reading.HIDDEN, _reading.BATCH, _reading.RATE, _reading.LEAST_EPOCHS, _reading.STEPS],
    "temperature": _reading.TEMPERATURE,
}


def recipes(found: Embeddings) -> list[str]:
    """Names of the mappings and ways of scoring that this set allows."""
    return [*FREE, *(PAIRED if found.is_paired else ()), *LISTS]


def tried(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What was found, or why a mapping has no solution on these rows."""
    try:
        return measure(*arguments)
    except C3AlignError as error:
        return {"failed": str(error)}


def run(names: list[str], only: list[str] | None, n_seeds: int, results: Results) -> None:
    """Every set, recipe and seed, each a record that is written when it is done."""
    steps = tqdm(disable=None, unit="step")
    for name in names:
        found = load(name)
        chosen = [recipe for recipe in recipes(found) if only is None or recipe in only]
        readers = [recipe for recipe in chosen if recipe not in LISTS] if found.texts and found.is_paired else []
        jobs = [("rows", _measures.measure, recipe) for recipe in chosen]
        jobs += [("reading", _reading.measure, recipe) for recipe in readers]
        steps.total = (steps.total or 0) + n_seeds * len(jobs)
        for seed in range(n_seeds):
            parts = cut(found, seed)
            for job, measure, recipe in jobs:
                steps.set_description(f"{found.name}, seed {seed}, {recipe}, {job}")
                key = {"set": found.name, "seed": seed, "recipe": recipe, "job": job}
                results.run(key, partial(tried, measure, found, parts, recipe, seed))
                steps.update()
    steps.close()


def run_captions(n_seeds: int, results: Results) -> None:
    """The chosen recipes with a captioner, on the embedded encoder's characters."""
    import _recipe_captions

    found = load("glyphs")
    for seed, (recipe, noise, cosine) in tqdm([*product(range(n_seeds), _recipe_captions.CHOSEN)], disable=None):
        key = {"set": found.name, "seed": seed, "recipe": recipe, "job": "captions", "noise": noise, "cosine": cosine}
        results.run(key, lambda: _recipe_captions.measure(found, recipe, noise, cosine, seed))  # noqa: B023


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", metavar="SET", help=f"folders, or names of {', '.join(built_in())}")
    parser.add_argument(
        "--recipes", nargs="+", choices=[*FREE, *PAIRED, *LISTS], metavar="NAME", help="not all of them"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many; means and deviations are over them")
    parser.add_argument("--captions", action="store_true", help="train captioners instead, a minute or two each")
    parser.add_argument("--out", type=Path, help="JSON of all records; started again, it goes on")
    parser.add_argument("--picture", type=Path, help="PNG of the most important figures")
    return parser.parse_args()


def main() -> None:
    """Measure, save as it goes, print the tables."""
    options = parse()
    torch.set_num_threads(1)  # the networks are small
    results = Results(options.out, SETTINGS)
    try:
        if options.captions:
            run_captions(options.seeds, results)
        else:
            run(options.data or built_in(), options.recipes, options.seeds, results)
    except C3AlignError as error:
        sys.exit(str(error))
    print("\n".join(_recipe_tables.drawn(results.records)))
    if options.picture:
        import _recipe_picture

        _recipe_picture.draw(results.records, options.picture)


if __name__ == "__main__":
    main()
