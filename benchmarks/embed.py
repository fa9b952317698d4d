"""What bounds `c3align embed`: decoding, the encoder, or the two together. Twenty thousand glyph pictures by default.

The pictures are written as PNG files first. Then, in turn and some rounds: decoding alone (the pool of threads, no
towers), the towers alone (on pictures that are decoded already), and the whole of `embed`, to the disk. Where embedding
spends its time in the towers, files are not waited for; that it is slower than the towers alone is what decoding takes
of the same processors. Peak memory is that of the whole process.

Examples
--------
    python benchmarks/embed.py
    python benchmarks/embed.py --items 2000 --rounds 1
    python benchmarks/embed.py --json benchmarks/results/embed-cpu.json
    python benchmarks/embed.py --manifest   # what it takes to note the digest of every item, by turns with and without
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from throughput import provenance
from tqdm import tqdm

from c3align import datasets, embed, encoders
from c3align.encoders import base
from c3align.io.items import gather


def write_pictures(folder: Path, n_items: int) -> None:
    pictures = itertools.cycle(picture for font in datasets.FONTS for picture in datasets.glyphs(font).pictures)
    for i, picture in enumerate(tqdm(itertools.islice(pictures, n_items), "write pictures", n_items, disable=None)):
        Image.fromarray(picture).save(folder / f"{i:06d}.png")


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


class Watched:
    """An encoder whose time in the towers is added up."""

    def __init__(self, encoder: Any) -> None:
        self._encoder, self.seconds = encoder, 0.0
        self.modalities, self.n_dims, self.fingerprint = encoder.modalities, encoder.n_dims, encoder.fingerprint
        self.prepare = encoder.prepare

    def encode(self, items: Any, **settings: Any) -> Any:
        begin = time.perf_counter()
        rows = self._encoder.encode(items, **settings)
        self.seconds += time.perf_counter() - begin
        return rows


def measure(n_items: int, rounds: int, batch_size: int) -> dict[str, float]:
    encoder = encoders.load("glyphs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        write_pictures(folder / "pictures", n_items)
        items = gather(str(folder / "pictures"), "image")
        sources = [item.source for item in items]

        def decode() -> list[base.Prepared]:
            prepared = base.prepared_batches(sources, lambda s: encoder.prepare(s, "image"), batch_size)
            return [item for batch in prepared for item in batch if isinstance(item, base.Prepared)]

        ready = decode()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times: dict[str, list[float]] = {"decoding alone": [], "towers alone": [], "embed": []}
        shares = []
        for k in tqdm(range(rounds), desc="rounds", disable=None):
            times["decoding alone"].append(seconds(decode))
            times["towers alone"].append(
                seconds(lambda: encoder.encode(ready, modality="image", batch_size=batch_size))
            )
            output, watched = folder / f"emb {k}", Watched(encoder)
            took = seconds(
                lambda o=output, w=watched: embed.embed(w, items, o, modality="image", batch_size=batch_size)
            )
            times["embed"].append(took)
            shares.append(watched.seconds / took)
        found = {f"{what}, items/s": n_items / float(np.median(taken)) for what, taken in times.items()}
        found["embed, share of time in towers"] = float(np.median(shares))
        found["peak memory above start, MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def manifest(n_items: int, rounds: int, batch_size: int) -> dict[str, float]:
    """Least seconds of `embed`, and of its process on all processors, with the digests of its items and without."""
    encoder, contents = encoders.load("glyphs"), embed._contents
    least: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        write_pictures(folder / "pictures", n_items)
        items = gather(str(folder / "pictures"), "image")
        for k in tqdm(range(2 * rounds), desc="runs", disable=None):
            what = "without digests" if k % 2 else "with digests"
            embed._contents = (lambda part, modality: [None] * len(part)) if k % 2 else contents
            begin, output = time.process_time(), folder / f"emb {k}"
            took = seconds(lambda o=output: embed.embed(encoder, items, o, modality="image", batch_size=batch_size))
            for unit, value in (("s", took), ("s of processors", time.process_time() - begin)):
                least[f"{what}, {unit}"] = min(value, least.get(f"{what}, {unit}", value))
    embed._contents = contents
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--manifest", action="store_true", help="measure the digests of the items instead")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    found = (manifest if arguments.manifest else measure)(arguments.items, arguments.rounds, arguments.batch_size)
    for what, figure in found.items():
        print(f"{what:34}{figure:>12.3f}")
    if arguments.json:
        origin = provenance("embed.py")
        arguments.json.write_text(json.dumps({**origin, "items": arguments.items, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
