"""Pictures against pictures: FID and KID by torchmetrics, retrieval and pixel error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from c3align import geometry
from c3align._imports import need
from c3align._typing import Float64Array
from c3align.errors import C3AlignError, MissingExtraError
from c3align.io import media

__all__ = ["PICTURE_METRICS", "picture_scores"]

PICTURE_METRICS = ("fid", "kid", "retrieval", "pixel_error")
PAIRED = ("retrieval", "pixel_error")
KS = (1, 5, 10)
SUBSET_SIZE, SUBSETS = 1000, 100  # of KID, torchmetrics' own


def picture_scores(
    generated: Any,
    real: Any,
    features: Any = None,
    metrics: Sequence[str] = ("fid", "kid"),
    *,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, float]:
    """Score generated pictures.

    Parameters
    ----------
    generated, real : (n, height, width[, 3]) uint8 array, or list of arrays, PIL images or paths, of any size
    features : optional
        Where pictures are compared. None: Inception v3 with the weights of torch-fidelity, at 2048 features, as in
        published figures. Or an encoder (anything with ``encode(pictures, modality="image")``): its unit rows. Or a
        function from a list of pictures to rows (n, d), taken as they are; or a torch module from one picture,
        (1, 3, height, width) uint8, to its row. Figures of other features than None compare with their like alone.
    metrics : list of str
        "fid"; "kid", mean and standard deviation over subsets of up to 1,000 pictures; and for pairs, where picture i
        of both belongs together, "retrieval", the share of generated pictures whose own real one is among the 1, 5,
        10 nearest by cosine, and "pixel_error", the mean squared difference in [0, 1].
    seed : int
        Chooses KID's subsets.
    progress : bool

    Returns
    -------
    dict of str to float
        "fid", "kid", "kid_std", "recall@1", "recall@5", "recall@10", "pixel_error". An FID from fewer pictures than
        features is far too high and compares only with one of equally many.

    Raises
    ------
    C3AlignError
        Fewer than two pictures, an unknown metric, unequal numbers for pairs, pictures that are none.
    MissingExtraError
        When torchmetrics, or torch-fidelity for its weights, is absent.
    """
    for name in metrics:
        if name not in PICTURE_METRICS:
            raise C3AlignError(f"metric {name!r} is unknown; pass some of {', '.join(PICTURE_METRICS)}")
    if min(len(generated), len(real)) < 2:
        raise C3AlignError(f"there are {len(generated)} and {len(real)} pictures; pass two or more of both")
    if set(metrics) & set(PAIRED) and len(generated) != len(real):
        raise C3AlignError(
            f"{' and '.join(PAIRED)} compare pairs, and there are {len(generated)} and {len(real)} pictures; pass "
            "picture i of both for one thing"
        )
    result: dict[str, float] = {}
    if set(metrics) != {"pixel_error"}:
        embed = _embedder(features)
        rows = [_finite(embed(pictures, progress)) for pictures in (generated, real)]
        known = {**_OF_ROWS, "fid": _fid_of_unit_rows} if _is_encoder(features) else _OF_ROWS
        for name in metrics:
            if name in known:
                result.update(known[name](rows[0], rows[1], seed))
    if "pixel_error" in metrics:
        result["pixel_error"] = _pixel_error(generated, real)
    return result


def _embedder(features: Any) -> Callable[[Any, bool], Float64Array]:
    if features is None:
        return _by_network(_inception_network())
    if _is_encoder(features):
        return lambda pictures, progress: geometry.unit_rows(
            features.encode(list(pictures), modality="image", progress=progress)
        )
    if hasattr(features, "parameters"):
        return _by_network(features)
    if callable(features):
        return lambda pictures, progress: np.asarray(features(list(pictures)), np.float64)
    raise C3AlignError(f"features are a {type(features).__name__}; pass None, an encoder, or a function to rows")


def _is_encoder(features: Any) -> bool:
    return hasattr(features, "encode")


def _finite(rows: Float64Array) -> Float64Array:
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise C3AlignError(f"the features have shape {rows.shape} or are not finite; return finite rows (n, d)")
    return rows


def _by_network(network: Any) -> Callable[[Any, bool], Float64Array]:
    """One picture at a time, which may have any size: a network of features resizes it."""
    import torch
    from tqdm import tqdm

    def embed(pictures: Any, progress: bool) -> Float64Array:
        parts = []
        with torch.inference_mode():
            for picture in tqdm(pictures, disable=not progress, desc="features", unit="picture"):
                parts.append(network(torch.from_numpy(_rgb(picture)).movedim(-1, 0)[None]).double().cpu())
        return torch.cat(parts).numpy()

    return embed


def _inception_network() -> Any:
    fid = need("torchmetrics.image.fid", "torchmetrics", "scores")
    try:
        return fid.FrechetInceptionDistance(feature=2048).inception
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "FID and KID of published figures need Inception's weights from torch-fidelity; pip install "
            "torch-fidelity, or pass features=encoder to compare in an encoder's space"
        ) from error
    except OSError as error:  # they are downloaded at first use
        raise MissingExtraError(
            f"Inception's weights could not be had ({error}); run it once where the network is, or pass "
            "features=encoder to compare in an encoder's space"
        ) from error


def _rgb(picture: Any) -> npt.NDArray[np.uint8]:
    """(height, width, 3) uint8."""
    return np.array(media.image(picture))


def _given(n_features: int) -> Any:
    """A feature network for torchmetrics that takes the features themselves."""
    import torch

    network: Any = torch.nn.Identity()
    network.num_features = n_features
    return network


def _fid(generated: Float64Array, real: Float64Array, seed: int) -> dict[str, float]:
    import torch

    metric = need("torchmetrics.image.fid", "torchmetrics", "scores").FrechetInceptionDistance(_given(real.shape[1]))
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(generated), real=False)
    return {"fid": float(metric.compute())}


def _fid_of_unit_rows(generated: Float64Array, real: Float64Array, seed: int) -> dict[str, float]:
    return {"fid": geometry.distribution_gap(generated, real).total}


def _kid(generated: Float64Array, real: Float64Array, seed: int) -> dict[str, float]:
    import torch

    room = need("torchmetrics.image.kid", "torchmetrics", "scores")
    size = min(SUBSET_SIZE, len(generated), len(real))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # that features are kept in memory
        torch.manual_seed(seed)
        metric = room.KernelInceptionDistance(_given(real.shape[1]), subsets=SUBSETS, subset_size=size)
        metric.update(torch.from_numpy(real), real=True)
        metric.update(torch.from_numpy(generated), real=False)
        mean, deviation = metric.compute()
    return {"kid": float(mean), "kid_std": float(deviation)}


def _retrieval(generated: Float64Array, real: Float64Array, seed: int) -> dict[str, float]:
    return {f"recall@{k}": share for k, share in geometry.recall_at_k(generated, real, KS).items()}


def _pixel_error(generated: Any, real: Any) -> float:
    errors = []
    for i, pair in enumerate(zip(generated, real)):
        a, b = (_rgb(picture) for picture in pair)
        if a.shape != b.shape:
            raise C3AlignError(
                f"pictures {i} are {a.shape} and {b.shape}; pass pictures of one size, or leave out pixel_error"
            )
        errors.append(np.mean((a.astype(np.float64) - b) ** 2) / 255**2)
    return float(np.mean(errors))


_OF_ROWS: dict[str, Callable[[Float64Array, Float64Array, int], dict[str, float]]] = {
    "fid": _fid,
    "kid": _kid,
    "retrieval": _retrieval,
}
