"""Search through the stores people use: what it finds, and what it costs.

Quality: COCO's captions and pictures (or a set of `recipes.py`), 40 % of the items to learn from without pairs, an
index of 45 % that has each as its caption or as its picture by a coin, and captions of the other 15 % as queries:
NDCG@10 by the captions' similarity, the share of pictures in the top ten less the fair one, the needle (a caption whose
own item is there as a picture alone), and unrelated texts above the threshold that lets 1 % of unrelated documents
through, beside the same in plain arrays.

Cost: rows added a second, and what a query takes from a raw row to results, of which the alignment; the top ten beside
those of exact search in float64. A bridge: two encoders of glyphs trained from different seeds, and what retrieval over
moved pictures keeps of the recall of new ones.

MixBench, with `--mixbench`: what an encoder finds in a corpus of texts, pictures and documents of both, raw and
aligned: NDCG@10, also of the queries for each kind of document, and the share of each kind in the top ten less the fair
one.

Examples
--------
    python benchmarks/search.py --out benchmarks/results/search.json
    python benchmarks/search.py --stores lance faiss --rows 10000 --seeds 1
    python benchmarks/search.py --towers old.safetensors new.safetensors  # of train_glyphs.py --seed
    python benchmarks/search.py --mixbench MixBench25 --encoder open_clip:ViT-B-32/laion2b_s34b_b79k --subset MSCOCO
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import _measures
import _mixbench
import numpy as np
from _recipes import Index, fit
from _sets import Cut, Embeddings, cut, load

from c3align import C3Aligner, encoders, geometry
from c3align.bridge import bridge
from c3align.errors import C3AlignError, CalibrationWarning, ModalityMeanWarning
from c3align.mappings import Center
from c3align.search import MixedIndex

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).parent / "paper"))

from _results import Results

from tests import stores

MAPPINGS = {"raw": Center(strength=0.0), "center": "center", "barycenter": "barycenter"}
TOP, QUERIES, BATCH = 10, 200, 10_000
FEWER = {"qdrant": 5_000}  # without a server it is made for trials
Figures = dict[str, Any]


def quality(found: Embeddings, name: str, seed: int, store: Any) -> Figures:
    """The figures of `_measures.mixed_index`, and false positives, by what a store finds."""
    parts = cut(found, seed)
    aligner = C3Aligner(mapping=MAPPINGS[name], second_moments=True)
    for modality, numbers in parts.fit.items():
        aligner.partial_fit(found.rows[modality][numbers], modality=modality)
    index = MixedIndex(None, aligner, store)
    coin = np.random.default_rng([seed, 1]).random(len(parts.corpus)) < 0.5
    items = {"text": parts.corpus[~coin], found.other: parts.corpus[coin]}
    rows = {m: np.flatnonzero(np.isin(found.groups[m], groups)) for m, groups in items.items()}
    for modality, numbers in rows.items():
        index.add(found.rows[modality][numbers], modality=modality, ids=[f"{modality} {i}" for i in numbers])
    names = [f"{modality} {i}" for modality, numbers in rows.items() for i in numbers]
    place, is_other = {name: i for i, name in enumerate(names)}, np.array([name[:4] != "text" for name in names])
    queries, own = parts.queries, items[found.other]
    best = np.array([[place[r.id] for r in index.query(found.rows["text"][i], k=TOP)] for i in queries])
    hits = [[r.id == f"{found.other} {i}" for r in index.query(found.rows["text"][i], k=TOP)] for i in own]
    figures = {"share": float(is_other[best].mean() - is_other.mean())}
    if found.texts is not None:
        figures["ndcg"] = _measures._ndcg(found, queries, parts.corpus, rows, best)
    figures["needle"] = float((np.array(hits) @ _measures._discounts(TOP)).mean())
    return figures | {"false positives": passed(found, index, queries, len(names))}


def passed(found: Embeddings, index: MixedIndex, queries: Any, n: int) -> Figures:
    """Shares of documents of each modality above the threshold that lets 1 % of unrelated ones through."""
    counts = {"text": 0, found.other: 0}
    for i in queries:
        for result in index.query(found.rows["text"][i], k=n, max_false_positive_rate=0.01):
            counts[result.modality] += 1
    sizes = {modality: sum(m == modality for b in index.store.scan() for m in b.modalities) for modality in counts}
    return {modality: count / (len(queries) * sizes[modality]) for modality, count in counts.items()}


def in_arrays(found: Embeddings, name: str, seed: int) -> Figures:
    parts: Cut = cut(found, seed)
    fitted = fit(found, name, parts.fit)
    calibrated = Index(found, fitted, parts.fit, "calibrated")
    return _measures.mixed_index(found, parts, fitted, calibrated, seed)


def cost(found: Embeddings, n_rows: int, store: Any) -> Figures:
    """Rows a second, milliseconds a query and recall, on rows like those of the set."""
    rng = np.random.default_rng(0)
    aligner = C3Aligner(mapping="barycenter").fit(found.rows["text"]).partial_fit(found.rows[found.other], modality="b")
    source = {"text": found.rows["text"], "b": found.rows[found.other]}
    index, aligned, seconds = MixedIndex(None, aligner, store), [], 0.0
    for start in range(0, n_rows, BATCH):
        modality, n = ("text", "b")[start // BATCH % 2], min(BATCH, n_rows - start)
        own = source[modality]
        rows = own[rng.integers(len(own), size=n)] + 0.03 * rng.normal(size=(n, own.shape[1])).astype("f4")
        names, begin = [f"{start + i}" for i in range(n)], time.perf_counter()
        index.add(rows, modality=modality, ids=names)
        seconds += time.perf_counter() - begin
        aligned.append(index.stored(rows, modality).astype(np.float64))
    stored, queries = np.concatenate(aligned), source["text"][rng.integers(len(source["text"]), size=QUERIES)]
    queries = queries + 0.03 * rng.normal(size=queries.shape).astype("f4")
    times, alone, searched, right = [], [], [], []
    for query in queries:
        begin = time.perf_counter()
        index.query(query, k=TOP)
        times.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        row = aligner.transform(query[None], modality="text")
        alone.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        results = store.query(row[0], TOP)
        searched.append(time.perf_counter() - begin)
        exact = np.argpartition(-(stored @ row[0]), TOP)[:TOP]
        right.append(len({int(result.id) for result in results} & set(exact.tolist())) / TOP)
    medians = {f"{what} ms": 1e3 * float(np.median(each)) for what, each in (("query", times), ("align", alone))}
    more = {"store ms": 1e3 * float(np.median(searched)), "recall": float(np.mean(right))}
    return {"rows": n_rows, "rows a second": n_rows / seconds, **medians, **more}


def over_a_bridge(old: Path, new: Path) -> Figures:
    """Recall@10 of new names among held-out pictures, aligned: new rows, and old ones over a bridge of 2,000 others."""
    import train_glyphs

    towers = [train_glyphs.load(path) for path in (old, new)]
    (old_known, _), (new_known, names_known) = (train_glyphs.embed(side, "train", 2000) for side in towers)
    (old_held, _), (new_held, text) = (train_glyphs.embed(side, "held_out") for side in towers)
    found = bridge(old_known, new_known)
    aligner = C3Aligner().fit(names_known, new_known)
    queries, sides = aligner.transform(text, modality="text"), (new_held, found.apply(old_held), old_held)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModalityMeanWarning)  # of old rows as they are
        aligned = [aligner.transform(rows, modality="image") for rows in sides]
    recalls = [geometry.recall_at_k(queries, rows)[TOP] for rows in aligned]
    names = ("new pictures", "old ones over the bridge", "old ones as they are")
    kept = recalls[1] / recalls[0]
    return {"bridge": str(found), "recall@10": dict(zip(names, recalls)), "kept": kept, "n_held_out": len(text)}


def parse() -> argparse.Namespace:
    how = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_mixbench.LAYOUT, formatter_class=how)
    parser.add_argument("--data", default="CLIP, COCO", help="a set of recipes.py, or a folder as it takes")
    parser.add_argument("--stores", nargs="+", choices=stores.NAMES, default=stores.NAMES)
    parser.add_argument("--rows", type=int, default=100_000, help="of the measurement of cost")
    parser.add_argument("--seeds", type=int, default=5, help="of the measurement of quality")
    parser.add_argument("--towers", type=Path, nargs=2, metavar="FILE", help="of train_glyphs.py, of two seeds")
    parser.add_argument("--mixbench", type=Path, metavar="FOLDER", help="measure this alone; see below")
    parser.add_argument("--encoder", metavar="NAME", help="of MixBench, as c3align embed takes it")
    parser.add_argument(
        "--subset", nargs="+", choices=_mixbench.SUBSETS, help="of MixBench, by default all that are there"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="of the encoder")
    parser.add_argument("--out", type=Path, help="JSON of all records; started again, it goes on")
    options = parser.parse_args()
    if (options.mixbench is None) != (options.encoder is None):
        parser.error("--mixbench and --encoder go together; pass both, or neither")
    return options


def main() -> None:
    """Measure, save as it goes, print line by line."""
    warnings.simplefilter("ignore", CalibrationWarning)  # it then scores by quantiles
    options = parse()
    if options.mixbench:
        mixbench(options)
        return
    found, results = load(options.data), Results(options.out, {"set": options.data, "rows": options.rows})

    def told(key: Figures, measured: Callable[[], Figures]) -> None:
        print(json.dumps(results.run(key, measured)), flush=True)

    for name, seed in product(MAPPINGS, range(options.seeds)):
        key = {"what": "quality", "store": "arrays", "mapping": name, "seed": seed}
        told(key, partial(in_arrays, found, name, seed))
    for kind in options.stores:
        measure(found, kind, options, told)
    if options.towers:
        digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in options.towers]
        told({"what": "bridge", "towers": digests}, partial(over_a_bridge, *options.towers))


def mixbench(options: argparse.Namespace) -> None:
    """Every subset by every mapping; one that is in the results whole is not embedded again."""
    chosen = _mixbench.subsets(options.mixbench, options.subset)
    encoder = encoders.load(options.encoder)
    results = Results(options.out, {"mixbench": options.mixbench.resolve().name, "encoder": encoder.fingerprint})
    for name in chosen:
        subset = _mixbench.load(options.mixbench, name)
        digest, n_left = subset.digest(), len(subset.queries) - len(subset.gains)
        if n_left:
            print(
                f"{name}: {n_left} of {len(subset.queries)} queries have no answer and count nowhere", file=sys.stderr
            )
        sides = cache(partial(_mixbench.embed, encoder, batch_size=options.batch_size))
        for mapping in MAPPINGS:

            def found(mapping: str = mapping, subset: _mixbench.Subset = subset, embed: Any = sides) -> Figures:
                rows = embed(subset.queries), embed(subset.documents)
                scores = _mixbench.scored(*rows, None if mapping == "raw" else mapping)
                return {how: _mixbench.figures(subset, table) for how, table in scores.items()}

            key = {"what": "mixbench", "subset": name, "digest": digest, "mapping": mapping}
            print(json.dumps(results.run(key, found)), flush=True)


def measure(found: Embeddings, kind: str, options: argparse.Namespace, told: Any) -> None:
    """Quality and cost of one store; LanceDB, the default, by every mapping and seed."""
    with stores.postgres() if kind == "pgvector" else nullcontext() as address:
        for name in MAPPINGS if kind == "lance" else ["barycenter"]:
            for seed in range(options.seeds if kind == "lance" else min(2, options.seeds)):
                key = {"what": "quality", "store": kind, "mapping": name, "seed": seed}
                with tempfile.TemporaryDirectory() as place:
                    told(key, partial(quality, found, name, seed, stores.open_store(kind, Path(place), address)))
        with tempfile.TemporaryDirectory() as place:
            store, n_rows = stores.open_store(kind, Path(place), address), min(options.rows, FEWER.get(kind, 10**9))
            told({"what": "cost", "store": kind}, partial(cost, found, n_rows, store))


if __name__ == "__main__":
    try:
        main()
    except C3AlignError as error:
        sys.exit(f"error: {error}")
