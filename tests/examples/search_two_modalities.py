"""One search index over pictures and texts: what a query finds before and after each modality is centred.

A name of a character searches among all pictures and all other names. Before, names find names only. Prints the share
of pictures among the ten nearest, and how often the picture of that very character is among them.
"""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from c3align import C3Aligner, datasets, encoders, ops


def search(image: np.ndarray, text: np.ndarray) -> tuple[float, float]:
    """Share of pictures among a name's ten nearest, and of names that find their own picture there."""
    index = NearestNeighbors(n_neighbors=11, algorithm="brute").fit(np.concatenate([image, text]))
    found = index.kneighbors(text, return_distance=False)
    own = len(image) + np.arange(len(text))
    others = np.array([row[row != number][:10] for row, number in zip(found, own)])
    return float((others < len(image)).mean()), float((others == np.arange(len(text))[:, None]).any(axis=1).mean())


def main() -> None:
    encoder = encoders.load("glyphs")
    seen, unseen = datasets.glyphs(split="train"), datasets.glyphs(split="held_out")
    aligner = C3Aligner().fit(encoder.encode(seen.names, modality="text"))
    aligner.partial_fit(encoder.encode(seen.pictures, modality="image"), modality="image")
    rows = {
        "image": encoder.encode(unseen.pictures, modality="image"),
        "text": encoder.encode(unseen.names, modality="text"),
    }
    raw = search(*(ops.normalize(rows[name]) for name in ("image", "text")))
    aligned = search(*(aligner.transform(rows[name], modality=name) for name in ("image", "text")))
    for when, (pictures, own) in (("before", raw), ("after", aligned)):
        print(f"{when:6}: {pictures:4.0%} of the ten nearest are pictures; its own picture is there for {own:.0%}")


if __name__ == "__main__":
    main()
