"""Free embeddings under the contrastive loss: Figure 4 of the paper, and the temperatures that it did not try."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import _lemmas
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from c3align import geometry, ops

Floats = npt.NDArray[Any]
CLIP_TAU = float(np.exp(-2.6593))  # CLIP's first temperature, as the notebook rounds it


@dataclass(frozen=True)
class Setting:
    """Pairs of free rows; dimensions that both use, that a alone and that b alone uses, and the rest: nobody does."""

    n_pairs: int = 500
    n_dims: int = 512
    shared: int = 0
    effective: tuple[int, int] = (25, 230)
    tau: float = CLIP_TAU
    rate: float = 0.1
    seed: int = 0

    @property
    def ineffective(self) -> slice:
        return slice(self.shared + sum(self.effective), self.n_dims)


def start(setting: Setting) -> tuple[Floats, Floats]:
    """Normals where a modality uses a dimension, one normal for all rows where it does not."""
    n, d, seed = setting.n_pairs, setting.n_dims, setting.seed
    constants = ops.philox_normal(2, d, seed=seed)
    rows = [np.repeat(constants[i : i + 1], n, axis=0) for i in range(2)]
    first, second = setting.shared + setting.effective[0], setting.ineffective.start
    used = [slice(0, first), [*range(setting.shared), *range(first, second)]]
    for i in range(2):
        rows[i][:, used[i]] = ops.philox_normal(n, d, seed=seed, row_offset=2 + i * n)[:, used[i]]
    return rows[0], rows[1]


def descend(x: Floats, y: Floats, tau: float, rate: float) -> float:
    """One step of gradient descent, in place and in the rows' dtype; returns the loss before it.

    `_lemmas.contrastive_gradient`, with one exponential for both directions: float32 holds those of tau above 0.012.
    """
    norms = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y)]
    u, v = x / norms[0], y / norms[1]
    pull = u @ v.T
    pull /= tau
    own = np.diagonal(pull).copy()
    np.exp(pull, out=pull)
    sums = pull.sum(axis=1), pull.sum(axis=0)
    loss = float(np.mean([(np.log(total) - own).mean() for total in sums]))
    pull *= 1 / sums[0][:, None] + 1 / sums[1]
    pull.flat[:: len(x) + 1] -= 2
    pull /= 2 * len(x) * tau
    for rows, unit, norm, gradient in ((x, u, norms[0], pull @ v), (y, v, norms[1], pull.T @ u)):
        gradient -= (gradient * unit).sum(axis=1, keepdims=True) * unit
        gradient *= rate / norm
        rows -= gradient
    return loss


def measured(x: Floats, y: Floats, setting: Setting) -> dict[str, float]:
    """The columns of the notebook's table, and how far the pairs still are."""
    gap = geometry.gap_vector(x, y)
    return {
        "loss": _lemmas.contrastive_loss(x, y, setting.tau),
        "gap": float(np.linalg.norm(gap)),
        "gap_ineffective": float(np.linalg.norm(gap[setting.ineffective])),
        "pair_cosine": geometry.pair_cosine(x, y),
    }


def log_variances(x: Floats, y: Floats) -> list[list[float]]:
    """Natural log of the variance of each dimension of the unit rows, of both; what float32 cannot hold is -40."""
    return [np.log(np.maximum(geometry.unit_rows(rows).var(axis=0), np.exp(-40))).tolist() for rows in (x, y)]


def draws(setting: Setting, seeds: Sequence[int], steps: int) -> list[dict[str, Any]]:
    """Start and end of figure 4 for other draws: how fast the loss falls is a matter of the constants' norms."""
    found = []
    for seed in tqdm(seeds, desc="draws", disable=None):
        drawn = replace(setting, seed=seed)
        x, y = compressed(*start(drawn), drawn)
        first = measured(x, y, drawn)
        for _ in tqdm(range(steps), leave=False, disable=None):
            descend(x, y, drawn.tau, drawn.rate)
        found.append({"seed": seed, "start": first, "end": measured(x, y, drawn)})
    return found


def compressed(x: Floats, y: Floats, setting: Setting) -> tuple[Floats, Floats]:
    """The same pairs with the ineffective dimensions turned into the two that both constants span.

    The loss knows products alone, and its gradient stays in the span of the rows: every figure stays the same.
    """
    unused = setting.ineffective
    basis = _basis(setting)
    turned = [np.concatenate([rows[:, : unused.start], rows[:, unused] @ basis], axis=1) for rows in (x, y)]
    return turned[0], turned[1]


def expanded(x: Floats, y: Floats, setting: Setting) -> tuple[Floats, Floats]:
    """The way back from `compressed`, also after training."""
    unused, basis = setting.ineffective, _basis(setting)
    turned = [np.concatenate([rows[:, : unused.start], rows[:, unused.start :] @ basis.T], axis=1) for rows in (x, y)]
    return turned[0], turned[1]


def _basis(setting: Setting) -> Floats:
    """(n_ineffective, 2), orthonormal."""
    x, y = (rows[0, setting.ineffective] for rows in start(setting))
    return np.linalg.qr(np.stack([x, y], axis=1))[0]


def figure_4(setting: Setting, steps: int, every: int, checkpoint: Path | None) -> dict[str, Any]:
    """Train free embeddings, and say every so many steps where they are; a checkpoint goes on where it was left."""
    x, y = compressed(*start(setting), setting)
    head = {"setting": json.loads(json.dumps(asdict(setting))), "every": every}
    found: dict[str, Any] = {**head, "log_variances": {"0": log_variances(*start(setting))}, "records": []}
    if checkpoint is not None and checkpoint.exists():
        with np.load(checkpoint, allow_pickle=False) as kept:
            before = json.loads(str(kept["found"]))
            if {name: before[name] for name in head} == head:
                x, y, found = kept["x"], kept["y"], before
    done = found["records"][-1]["step"] if found["records"] else -1  # x and y are those of this record
    if done > steps:
        sys.exit(f"{checkpoint} is at step {done} already; ask for more --steps, or remove it")
    first = max(0, done)
    for step in tqdm(range(first, steps + 1), initial=first, total=steps + 1, desc="figure 4", disable=None):
        if step % every == 0 and step > done:
            found["records"].append({"step": step, **measured(x, y, setting)})
            if checkpoint is not None:
                _keep(checkpoint, x=x, y=y, found=json.dumps(found))
        if step < steps:
            descend(x, y, setting.tau, setting.rate)
    found["log_variances"][str(steps)] = log_variances(*expanded(x, y, setting))
    return found


def temperatures(setting: Setting, taus: Sequence[float], steps: int, delta: float) -> list[dict[str, Any]]:
    """Train the same pairs at each temperature, and say where they entered the stable region and where they ended.

    A step turns a row by as much at any temperature, at most a tenth of a radian at first: the rate is
    ``0.1 tau n d``.
    """
    found = []
    for tau in tqdm(taus, desc="temperatures", disable=None):
        x, y = (rows.astype(np.float64) for rows in start(setting))
        rate, entered = 0.1 * tau * setting.n_pairs * setting.n_dims, None
        for step in range(steps):
            if entered is None and step % 5 == 0 and (at := _region(x, y, tau, delta, setting))["inside"] == 1:
                entered = {"step": step, **at}
            descend(x, y, tau, rate)
        found.append({"tau": tau, "entered": entered, "end": _region(x, y, tau, delta, setting)})
    return found


def _region(x: Floats, y: Floats, tau: float, delta: float, setting: Setting) -> dict[str, float]:
    both = [_lemmas.stable_region(*pair, tau, delta) for pair in ((x, y), (y, x))]
    gap = geometry.gap_vector(x, y)
    return {
        "loss": float(np.mean([region.loss.mean() for region in both])),
        "inside": float(np.mean([region.inside.mean() for region in both])),
        "margin": float(np.mean([region.margin.mean() for region in both])),
        "required": float(np.mean([region.required.mean() for region in both])),
        "residual": geometry.residual_sigma(x, y) * setting.n_dims**0.5,
        "gap": float(np.linalg.norm(gap)),
        "pair_cosine": geometry.pair_cosine(x, y),
    }


def _keep(path: Path, **arrays: Any) -> None:
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".npz")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, **arrays)
    os.replace(scratch, path)
