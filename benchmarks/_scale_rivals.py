"""What people write by hand, or take from other libraries, to center shards of rows: the rivals of `scale.py`.

Each takes the folder of shards and one to write into. What a rival prepares apart from its work is in `PREPARED`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 10_000
PREPARED: dict[str, Callable[[Path], Any]] = {}


def _shards(tree: Path) -> list[Path]:
    return sorted(tree.iterdir())


def _blocks(path: Path) -> Any:
    rows = np.load(path, mmap_mode="r")
    return (rows[start : start + BLOCK].astype(np.float32) for start in range(0, len(rows), BLOCK))


def _unit(wide: Any) -> Any:
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def numpy_fit(tree: Path, made: Path) -> None:
    total, n_rows = 0.0, 0
    for path in _shards(tree):
        for wide in _blocks(path):
            total = total + _unit(wide).sum(axis=0, dtype=np.float64)
            n_rows += len(wide)
    np.save(made / "mean.npy", total / n_rows)


def _rewrite(tree: Path, made: Path, change: Callable[[Any], Any]) -> None:
    for path in _shards(tree):
        rows = np.load(path, mmap_mode="r")
        out = np.lib.format.open_memmap(made / path.name, "w+", rows.dtype, rows.shape)
        for i, wide in enumerate(_blocks(path)):
            out[BLOCK * i : BLOCK * i + len(wide)] = change(wide)
        out.flush()


def numpy_transform(tree: Path, made: Path) -> None:
    mean = np.full(np.load(_shards(tree)[0], mmap_mode="r").shape[1], 0.01, np.float32)
    _rewrite(tree, made, lambda wide: _unit(_unit(wide) - mean))


def four_passes(tree: Path, made: Path) -> None:
    """Normalize, average, subtract, normalize: a script for each, with files between them."""
    folders = [made / name for name in ("unit", "centered", "aligned")]
    for folder in folders:
        folder.mkdir()
    _rewrite(tree, folders[0], _unit)
    total, n_rows = 0.0, 0
    for path in _shards(folders[0]):
        for wide in _blocks(path):
            total, n_rows = total + wide.sum(axis=0, dtype=np.float64), n_rows + len(wide)
    mean = (total / n_rows).astype(np.float32)
    _rewrite(folders[0], folders[1], lambda wide: wide - mean)
    _rewrite(folders[1], folders[2], _unit)


def sklearn_fit(tree: Path, made: Path) -> None:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for path in _shards(tree):
        for wide in _blocks(path):
            scaler.partial_fit(wide)


def _start_ray(task: Callable[[Path, Path], None]) -> None:
    """Workers that have done the task once, with a few rows, and so imported what it needs."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    n = int(os.environ.get("WORKERS", "2"))
    ray.init(address="local", num_cpus=n, log_to_driver=False, include_dashboard=False, object_store_memory=4 << 30)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as small:
        for i in range(4 * n):
            np.save(Path(small) / f"{i}.npy", np.random.default_rng(i).standard_normal((10, 8)))
        task(Path(small), Path(small))


def _dataset(tree: Path) -> Any:
    import ray

    return ray.data.read_numpy([str(path) for path in _shards(tree)])


def ray_fit(tree: Path, made: Path) -> None:
    """This library, by Ray Data."""
    from c3align.distributed.ray import AlignerPreprocessor

    AlignerPreprocessor({"text": "data"}).fit(_dataset(tree))


def ray_scaler(tree: Path, made: Path) -> None:
    """Ray's own scaler, which takes a column for each dimension, and does not normalize."""
    from ray.data.preprocessors import StandardScaler

    width = np.load(_shards(tree)[0], mmap_mode="r").shape[1]

    def wide(batch: dict[str, Any]) -> dict[str, Any]:
        return {f"x{i}": batch["data"][:, i].astype(np.float32) for i in range(width)}

    StandardScaler([f"x{i}" for i in range(width)]).fit(_dataset(tree).map_batches(wide))


def _write_tables(tree: Path) -> None:
    """The shards as tables with a column of float32 for each dimension, which Daft can average."""
    import daft
    import pyarrow
    from pyarrow import parquet

    assert daft
    folder = tree.with_name("tables")
    if not folder.exists():
        folder.mkdir()
        for path in _shards(tree):
            rows = np.load(path, allow_pickle=False).astype(np.float32)
            table = pyarrow.table({f"x{i}": column for i, column in enumerate(rows.T)})
            parquet.write_table(table, folder / f"{path.stem}.parquet", compression="none", use_dictionary=False)


def daft_mean(tree: Path, made: Path) -> None:
    """Daft's mean of a column for each dimension, which does not normalize."""
    import daft

    frame = daft.read_parquet(str(tree.with_name("tables")))
    frame.agg(*(frame[name].mean() for name in frame.column_names)).collect()


PREPARED["ray_fit"] = lambda tree: _start_ray(ray_fit)
PREPARED["ray_scaler"] = lambda tree: _start_ray(ray_scaler)
PREPARED["daft_mean"] = _write_tables
