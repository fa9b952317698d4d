"""An aligner learned by Daft: an aggregation whose state is the bytes of what rows taught, merged exactly."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import daft
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from c3align import C3Aligner


@daft.udaf(return_dtype=daft.DataType.binary(), state=daft.DataType.binary())
class Learned:
    def aggregate(self, rows: daft.Series) -> bytes:
        values = rows.to_arrow().flatten().to_numpy()  # of float32, where lists of Python are float64
        return C3Aligner().fit(values.reshape(len(rows), -1)).to_bytes()

    def combine(self, states: daft.Series) -> bytes:
        merged, *others = map(C3Aligner.from_bytes, states.to_pylist())
        for other in others:
            merged.merge(other)
        return merged.to_bytes()

    def finalize(self, state: bytes) -> bytes:
        return state


if __name__ == "__main__":
    rows = np.random.default_rng(0).standard_normal((1000, 16)).astype("f4")
    with TemporaryDirectory() as folder:
        for number, part in enumerate(np.array_split(rows, 7)):
            column = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), 16)
            pq.write_table(pa.table({"embedding": column}), Path(folder) / f"{number}.parquet")
        frame = daft.read_parquet(folder)
        found = frame.agg(Learned()(frame["embedding"]).alias("aligner")).to_pydict()["aligner"][0]
    print(found == C3Aligner().fit(rows).to_bytes())
