"""An aligner learned by Dask: each partition gives the bytes of what it taught, and a fold merges them exactly."""

from __future__ import annotations

import dask.bag
import numpy as np

from c3align import C3Aligner


def learned(rows: np.ndarray) -> bytes:
    return C3Aligner().fit(rows).to_bytes()


def merged(a: bytes, b: bytes) -> bytes:
    return C3Aligner.from_bytes(a).merge(C3Aligner.from_bytes(b)).to_bytes()


def fit(shards: dask.bag.Bag) -> C3Aligner:
    """The aligner of a bag of arrays (n_rows, n_dims)."""
    return C3Aligner.from_bytes(shards.map(learned).fold(merged, split_every=3).compute(scheduler="threads"))


if __name__ == "__main__":
    rows = np.random.default_rng(0).standard_normal((1000, 16))
    found = fit(dask.bag.from_sequence(np.array_split(rows, 7), npartitions=7))
    print(found.to_bytes() == C3Aligner().fit(rows).to_bytes())
