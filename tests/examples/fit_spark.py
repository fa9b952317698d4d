"""An aligner learned by Spark: each partition gives the bytes of what it taught, and `reduce` merges them exactly.

`fit` takes a DataFrame of pyspark. Run here, without Spark, it gets a stand-in with the two methods that it calls of an
RDD; the functions that would travel to the executors are the same.
"""

from __future__ import annotations

import functools
import pickle
from collections import namedtuple
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from types import SimpleNamespace
from typing import Any

import numpy as np

from c3align import C3Aligner

AT_ONCE = 10_000  # rows of a partition, which need not fit in memory


def learned(rows: Iterable[Any], column: str) -> Iterator[bytes]:
    """For `mapPartitions`: nothing of an empty partition."""
    rows = iter(rows)
    aligner = C3Aligner()
    while some := [getattr(row, column) for row in islice(rows, AT_ONCE)]:
        aligner.partial_fit(np.array(some, np.float32))  # Spark hands out floats as Python's, which are wider
    if hasattr(aligner, "state_"):
        yield aligner.to_bytes()


def merged(a: bytes, b: bytes) -> bytes:
    return C3Aligner.from_bytes(a).merge(C3Aligner.from_bytes(b)).to_bytes()


def fit(frame: Any, column: str) -> C3Aligner:
    """The aligner of a column of lists of floats."""
    parts = frame.select(column).rdd.mapPartitions(functools.partial(learned, column=column))
    return C3Aligner.from_bytes(parts.treeReduce(merged))


class StandIn:
    """An RDD in this process; functions are pickled, as on their way to executors."""

    def __init__(self, parts: list[list[Any]]) -> None:
        self.parts = parts

    def mapPartitions(self, function: Any) -> StandIn:
        sent = pickle.dumps(function)
        return StandIn([list(pickle.loads(sent)(iter(part))) for part in self.parts])

    def treeReduce(self, function: Any) -> Any:
        return functools.reduce(function, chain(*self.parts))


if __name__ == "__main__":
    rows = np.random.default_rng(0).standard_normal((1000, 16)).astype("f4")
    Row = namedtuple("Row", ["embedding"])
    parts = [[Row(row.tolist()) for row in part] for part in np.split(rows, [10, 10, 400, 401])]  # one is empty
    frame = SimpleNamespace(select=lambda column: SimpleNamespace(rdd=StandIn(parts)))
    print(fit(frame, "embedding").to_bytes() == C3Aligner().fit(rows).to_bytes())
