"""Tables of one index over two modalities, from results/search.json."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from _tables import RESULTS

MAPPINGS = {"raw": "as they are", "center": "centered", "barycenter": "`barycenter`"}
STORES = {"lance": "LanceDB", "faiss": "faiss, in memory", "pgvector": "PostgreSQL", "qdrant": "Qdrant, its local mode"}


def _records(what: str) -> list[dict[str, Any]]:
    found = json.loads((RESULTS / "search.json").read_text())
    return [record for record in found["records"] if record["what"] == what]


def search_quality() -> list[str]:
    """What a query of COCO's mixed corpus finds through each store, mean over the splits that all of them did."""
    records = _records("quality")
    done = {(record["store"], record["mapping"]): set[int]() for record in records}
    for record in records:
        done[record["store"], record["mapping"]].add(record["seed"])
    records = [record for record in records if record["seed"] in set.intersection(*done.values())]
    head = "| rows | store | NDCG@10 | needle | pictures in the top ten, less a fair share | false positives |"
    lines = [head, "|---|---|---|---|---|---|"]
    for mapping, text in MAPPINGS.items():
        for store in ["arrays", *STORES]:
            chosen = [record for record in records if (record["mapping"], record["store"]) == (mapping, store)]
            if not chosen:
                continue
            ndcg, needle, share = (np.mean([record[name] for record in chosen]) for name in ("ndcg", "needle", "share"))
            rates = [rate for record in chosen for rate in record.get("false positives", {}).values()]
            false = f"{100 * min(rates):.2f} to {100 * max(rates):.2f} %" if rates else ""
            name = STORES.get(store, "arrays, not calibrated")
            lines.append(f"| {text} | {name} | {ndcg:.3f} | {needle:.3f} | {100 * share:+.0f} % | {false} |")
    return lines


def search_cost() -> list[str]:
    """What a query and adding cost in each store."""
    head = "| store | rows | added a second | a query | of it aligning | of its ten nearest found |"
    lines = [head, "|---|---|---|---|---|---|"]
    for record in _records("cost"):
        cells = f"{record['rows']:,} | {record['rows a second']:,.0f} | {record['query ms']:.1f} ms"
        lines.append(
            f"| {STORES[record['store']]} | {cells} | {record['align ms']:.2f} ms | {100 * record['recall']:.0f} % |"
        )
    return lines


def search_bridge() -> list[str]:
    """What search over a bridge between two encoders keeps."""
    (record,) = _records("bridge")
    new, moved, as_they_are = record["recall@10"].values()
    pictures, kept = f"{record['n_held_out']} new pictures", f"{100 * record['kept']:.0f} %"
    return [
        f"> Of the recall at ten that {pictures} have, it keeps {kept} ({moved:.3f} of {new:.3f}; without it "
        f"{as_they_are:.3f}).",
        "",
    ]
