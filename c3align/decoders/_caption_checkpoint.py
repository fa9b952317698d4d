"""A training run on disk: one safetensors file, from which it goes on to the weights that it would have had."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3align.errors import C3AlignError
from c3align.io import atomic, container

if TYPE_CHECKING:
    from c3align.decoders._caption_training import CaptionTraining

__all__ = ["describe", "resume", "write"]

SAMPLED_ROWS = 256
_UNIMPORTANT = ("checkpoint_every", "accumulate")  # change when is written, and the rounding


def describe(run: CaptionTraining) -> dict[str, Any]:
    """What tells this run from another: weights, data, noise, settings and seed."""
    source, retrieval, weights = run.feed.source, run.feed.retrieval, hashlib.sha256()
    for name, value in sorted(run.model.state_dict().items()):
        weights.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        weights.update(_bytes_of(value))
    data = hashlib.sha256(source.sample(max(1, len(source) // SAMPLED_ROWS)).tobytes())
    data.update(run.feed.tokens.flat.tobytes())
    memory = None
    if retrieval is not None:
        texts = hashlib.sha256("\n".join(retrieval.memory.texts).encode()).hexdigest()
        memory = [retrieval.k, retrieval.as_captions, retrieval.limit, texts]
    return {
        "format": "c3align.PrefixCaptioner training",
        "weights": weights.hexdigest(),
        "rows and captions": data.hexdigest(),
        "number of rows": len(source),
        "seed": run.seed,
        "memory": memory,
        **{name: value for name, value in asdict(run.settings).items() if name not in _UNIMPORTANT},
    }


def _bytes_of(tensor: Any) -> Any:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(flat.new_empty(0).byte().dtype).numpy().data if flat.numel() else b""


def write(run: CaptionTraining, path: Path) -> None:
    """Replace the file; every process must call this."""
    sums = [run.over_processes(run.sums[0]), run.sums[1]]
    if not run.is_main_process:
        return
    names = list(run.trained())
    tensors = {f"weight.{name}": value for name, value in run.trained().items()}
    for i, moments in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{key}.{names[i]}": value for key, value in moments.items()}
    tensors |= {f"best.{name}": value for name, value in run.best.items()}
    lists = {"losses": run.losses, "validation_losses": run.validation_losses}
    path.parent.mkdir(parents=True, exist_ok=True)
    progress = {"step": run.step, "sums": sums, **lists}
    atomic.write(path, container.dump(tensors, {**run.identity, "progress": progress}))


def resume(run: CaptionTraining, path: Path) -> None:
    """Put the run where the file says.

    Raises
    ------
    C3AlignError
        The file is of another run, or damaged.
    """
    config, tensors = container.read(path, "decoder")
    progress = config.pop("progress", None)
    changed = sorted(name for name in {*run.identity, *config} if config.get(name) != run.identity.get(name))
    if changed or not isinstance(progress, dict):
        raise C3AlignError(
            f"{path} is the checkpoint of another run ({', '.join(changed) or 'its progress'} differ); delete it to "
            "begin anew, or pass what it was written with"
        )
    parts: dict[str, dict[str, Any]] = {"weight": {}, "optimizer": {}, "best": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        parts[kind][rest] = value
    run.load(parts["weight"])
    moments: dict[int, dict[str, Any]] = {}
    places = {name: i for i, name in enumerate(run.trained())}
    for key, value in parts["optimizer"].items():
        moment, _, owner = key.partition(".")
        moments.setdefault(places[owner], {})[moment] = value
    run.optimizer.load_state_dict({**run.optimizer.state_dict(), "state": moments})
    run.best = {name: value.to(run.device) for name, value in parts["best"].items()}
    run.step = progress["step"]
    run.sums = [progress["sums"][0] if run.is_main_process else 0.0, progress["sums"][1]]
    run.losses, run.validation_losses = progress["losses"], progress["validation_losses"]
