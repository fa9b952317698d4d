"""Every door that a file comes in by, as a function of a path."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import tiny_encoders

__all__ = ["LOADERS", "warm"]

WARM = ("av", "open_clip", "peft", "pyarrow.parquet", "sentence_transformers", "c3align.pipeline", "c3align.published")
WARM += ("transformers.models.gpt2.modeling_gpt2", "c3align.encoders.transformers", "c3align.decoders.prefix.decoder")


def aligner(path: Path) -> Any:
    from c3align import C3Aligner

    return C3Aligner.from_pretrained(path)


def aligner_bytes(path: Path) -> Any:
    from c3align import C3Aligner

    return C3Aligner.from_bytes(path.read_bytes())


def statistics_bytes(path: Path) -> Any:
    from c3align.statistics import ModalityStatistics

    return ModalityStatistics.from_bytes(path.read_bytes())


def captioner(path: Path) -> Any:
    from c3align.decoders import PrefixCaptioner

    return PrefixCaptioner.from_pretrained(path)


def memory(path: Path) -> Any:
    from c3align.decoders import MemoryCaptioner

    return MemoryCaptioner.from_pretrained(path)


def generator(path: Path) -> Any:
    from c3align.decoders import EmbeddingGenerator

    return EmbeddingGenerator.from_pretrained(path)


def pipeline(path: Path) -> Any:
    from c3align import Pipeline

    return Pipeline.from_pretrained(path)


def encoder(path: Path) -> Any:
    """The file holds the spec."""
    from c3align import encoders

    return encoders.load(path.read_text())


def checkpoint(path: Path) -> Any:
    from c3align.io import container

    return container.read(path, "checkpoint")


def rows(path: Path) -> Any:
    from c3align.io.rows import RowSource

    return [part.sum() for _, part in RowSource.open([str(path)]).blocks()]


def tree(path: Path) -> Any:
    from c3align.io.shards import open_sources

    return [part.sum() for source in open_sources([str(path)]) for _, part in source.blocks()]


def precomputed(path: Path) -> Any:
    from c3align import encoders

    return encoders.load(f"precomputed:{path}").encode([0, 1], modality="text")


def table(path: Path) -> Any:
    from c3align.io import items

    return items.gather(str(path), "image")


def picture(path: Path) -> Any:
    from c3align.io import media

    return media.image(str(path))


def sound(path: Path) -> Any:
    from c3align.io import media

    return media.audio(str(path), 48_000)


def video(path: Path) -> Any:
    from c3align.io import media

    return media.frames(str(path))


def means(path: Path) -> Any:
    from c3align import published

    return published.import_means(path, n_rows=9)


def bridge(path: Path) -> Any:
    from c3align.bridge import Bridge

    return Bridge.load(path)


def journal(path: Path) -> Any:
    """The list of a run over shards, beside what the run has written."""
    from c3align.io.progress import Journal

    known = Journal(path)
    return [
        known.has(name, entry.get("input"), str(path), path.parent / name, True) for name, entry in known.done.items()
    ]


def code(path: Path) -> Any:
    """No door: what the sandbox itself is tried with."""
    return exec(path.read_text(), {"__name__": "code"})


LOADERS: dict[str, Callable[[Path], Any]] = {
    load.__name__: load
    for load in (
        aligner,
        aligner_bytes,
        statistics_bytes,
        captioner,
        memory,
        generator,
        pipeline,
        encoder,
        checkpoint,
        rows,
        tree,
        precomputed,
        table,
        picture,
        sound,
        video,
        means,
        bridge,
        journal,
        code,
    )
}


def warm() -> None:
    """Import what the loaders will, once for all children."""
    tiny_encoders.import_torchvision()
    for name in WARM:
        importlib.import_module(name)
    importlib.import_module("PIL.Image").init()
    importlib.import_module("torch").set_num_threads(1)
