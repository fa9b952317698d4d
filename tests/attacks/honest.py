"""A small honest file for every door: what is changed at random by `fuzz`, bit by bit by `bits`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from c3align import C3Aligner, Pipeline
from c3align.decoders import EmbeddingGenerator, MemoryCaptioner, PrefixCaptioner
from c3align.embed import embed
from c3align.io import items
from c3align.mappings import Barycenter
from c3align.statistics import ModalityStatistics
from tests import media, tiny_encoders, tiny_lms

__all__ = ["HONEST", "KINDS", "SIGNED"]

TEXTS = ["a cat", "a dog", "two birds", "red rain"]
QUICK = {"epochs": 1, "progress": False}


def rows(n: int = 40, d: int = 8, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(n + d).standard_normal((n, d)).astype(np.float32) + shift


def partners(d: int = 8) -> np.ndarray:
    """Of `rows`: like them, and elsewhere."""
    return rows(d=d) + 0.5 * rows(41, d, 6)[1:]


def learned(d: int = 8) -> C3Aligner:
    return C3Aligner().fit(rows(d=d), partners(d))


def aligner(folder: Path) -> Path:
    learned().save_pretrained(folder / "aligner")
    return folder / "aligner"


def mapped_aligner(folder: Path) -> Path:
    """With second moments, samples and products across."""
    C3Aligner(mapping=Barycenter()).fit(rows(), partners()).save_pretrained(folder / "mapped")
    return folder / "mapped"


def half_aligner(folder: Path) -> Path:
    """With second moments and products across in float32."""
    learned = C3Aligner(mapping=Barycenter()).fit(rows(), partners())
    learned.save_pretrained(folder / "half", covariances="float32")
    return folder / "half"


def sketched_aligner(folder: Path) -> Path:
    """With quantiles of its columns."""
    C3Aligner(mapping="quantile", sigma=0.1).fit(rows(d=2)).save_pretrained(folder / "sketched")
    return folder / "sketched"


def aligner_bytes(folder: Path) -> Path:
    (folder / "aligner.bin").write_bytes(learned().to_bytes())
    return folder / "aligner.bin"


def statistics_bytes(folder: Path) -> Path:
    (folder / "statistics.bin").write_bytes(ModalityStatistics.from_rows(rows()).to_bytes())
    return folder / "statistics.bin"


def trained(**options: Any) -> PrefixCaptioner:
    lm, words = tiny_lms.build("gpt2", TEXTS, n_embd=8, n_layer=1, n_positions=16)
    captioner = PrefixCaptioner(lm, words, n_dims=8, prefix_length=2)
    return captioner.fit(rows(4), TEXTS, aligner=None, **QUICK, **options)


def captioner(folder: Path) -> Path:
    trained().save_pretrained(folder / "captioner")
    return folder / "captioner"


def memory(folder: Path) -> Path:
    MemoryCaptioner().fit(rows(4), TEXTS).save_pretrained(folder / "memory")
    return folder / "memory"


def generator(folder: Path) -> Path:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 9, 7), dtype=np.uint8)
    EmbeddingGenerator(width=4).fit(rows(4), pictures, **QUICK).save_pretrained(folder / "generator")
    return folder / "generator"


def pipeline(folder: Path) -> Path:
    Pipeline("glyphs", decoder=MemoryCaptioner()).fit_text(TEXTS).save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def checkpoint(folder: Path) -> Path:
    trained(checkpoint=folder / "run.checkpoint")
    return folder / "run.checkpoint"


def encoder(kind: str, folder: Path) -> Path:
    write = {
        "transformers": partial(tiny_encoders.write_transformers, "clip"),
        "open_clip": tiny_encoders.write_open_clip,
        "sentence-transformers": tiny_encoders.write_sentence_transformers,
    }[kind]
    (folder / "spec.txt").write_text(write(folder / "model"))
    return folder / "spec.txt"


def npy(folder: Path) -> Path:
    np.save(folder / "rows.npy", rows())
    return folder / "rows.npy"


def tree(folder: Path) -> Path:
    made = [items.Item(str(i), text, text) for i, text in enumerate(TEXTS)]
    from c3align import encoders

    embed(encoders.load("glyphs"), made, folder / "tree", modality="text")
    return folder / "tree"


def precomputed(folder: Path) -> Path:
    return tree(folder)


def means(folder: Path) -> Path:
    import pickle

    import torch

    found = {f"center_{name}": torch.from_numpy(rows(1)[0] / 9) for name in ("image", "text")}
    (folder / "means.pkl").write_bytes(pickle.dumps(found, protocol=4))
    return folder / "means.pkl"


def bridge(folder: Path) -> Path:
    from c3align.bridge import bridge

    bridge(rows(60), rows(60, shift=1.0)).save(folder / "bridge")
    return folder / "bridge"


def journal(folder: Path) -> Path:
    from c3align import cli

    (folder / "rows").mkdir()
    for i in range(2):
        np.save(folder / "rows" / f"{i}.npy", rows(40 + i))
    learned().save_pretrained(folder / "aligner")
    asked = ["transform", folder / "rows", "-a", folder / "aligner", "-o", folder / "out", "--modality", "text"]
    if cli.run([str(word) for word in asked]):
        raise RuntimeError("the honest run failed")
    return next((folder / "out").rglob("transform*.jsonl"))


def table(suffix: str, folder: Path) -> Path:
    path = folder / f"table.{suffix}"
    (folder / "a.png").write_bytes(b"")
    found = [{"image_path": "a.png", "caption": text} for text in TEXTS]
    if suffix == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(found), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
    else:
        path.write_text("".join(",".join(row) + "\n" for row in [found[0], *(row.values() for row in found)]))
    return path


def picture(suffix: str, folder: Path) -> Path:
    from PIL import Image

    Image.fromarray(media.colours()).save(folder / f"picture.{suffix}")
    return folder / f"picture.{suffix}"


def sound(folder: Path) -> Path:
    return media.write_sound(folder / "sound.wav", 8000)


def video(folder: Path) -> Path:
    return media.write_video(folder / "video.mp4")


KINDS: dict[str, list[Callable[[Path], Path]]] = {
    **{f.__name__: [f] for f in (aligner, aligner_bytes, statistics_bytes, captioner, memory, generator, pipeline)},
    **{f.__name__: [f] for f in (checkpoint, tree, precomputed, sound, video, means, bridge, journal)},
    "aligner": [aligner, mapped_aligner, half_aligner, sketched_aligner],
    "rows": [npy],
    "encoder": [partial(encoder, kind) for kind in ("transformers", "open_clip", "sentence-transformers")],
    "table": [partial(table, suffix) for suffix in ("parquet", "jsonl", "csv")],
    "picture": [partial(picture, suffix) for suffix in ("png", "jpg", "webp", "gif", "tiff", "bmp", "avif")],
}
# kinds of which every bit is signed: no change of any of them may load
SIGNED = ("aligner", "aligner_bytes", "statistics_bytes", "captioner", "memory", "generator", "pipeline", "checkpoint")
SIGNED += ("bridge",)
HONEST = [(loader, build) for loader, builds in KINDS.items() for build in builds]
