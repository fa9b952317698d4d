"""What a checkpoint must hold for a run to go on from it, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from c3align.errors import C3AlignError
from c3align.io import container

_DIGEST = 64  # letters of a digest; that of rows stands before that of their noise


def check(
    progress: Any, tensors: Mapping[str, Any], trained: Mapping[str, torch.Tensor], n_steps: int, n_batches: int
) -> None:
    """Refuse tensors of other names, types and shapes than the trained ones, and progress that no such run has made."""
    weights = container.layout(trained)
    expected = {f"weight.{name}": found for name, found in weights.items()}
    for name, found in weights.items():
        if f"optimizer.step.{name}" in tensors:  # one that got no gradient has no moments
            expected |= {f"optimizer.{part}.{name}": found for part in ("exp_avg", "exp_avg_sq")}
            expected[f"optimizer.step.{name}"] = (torch.float32, ())
    if any(name.startswith("best.") for name in tensors):
        expected |= {f"best.{name}": found for name, found in weights.items()}
    container.check_tensors(tensors, expected, "checkpoint")
    if not _is_progress(progress, n_steps, n_batches):
        raise container.refusal("checkpoint", f"a progress of {progress!r:.80}")


def check_run(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of another run, and say what differs."""
    changed = sorted(name for name in {*wanted, *found} if found.get(name) != wanted.get(name))
    if "seed" in changed:  # with it the noise, which is in the digests of the rows
        changed = [name for name in changed if _without_noise(found.get(name)) != _without_noise(wanted.get(name))]
    if not changed:
        return
    fix = "delete it to begin anew, or pass what it was written with"
    if changed == ["epochs"]:
        before = f"{found.get('epochs')!r:.20}"
        fix = (
            f"lr depends on their number. To train longer, fit with epochs={before} and this checkpoint, "
            "then again with another one: the second fit goes on from the weights of the first"
        )
    verb = "differs" if len(changed) == 1 else "differ"
    raise C3AlignError(f"{path} is the checkpoint of another run ({', '.join(changed)} {verb}); {fix}")


def _without_noise(value: Any) -> Any:
    """An identity's digests less the noise, which is a function of the seed."""
    if isinstance(value, list) and value and isinstance(value[0], str) and len(value[0]) == 2 * _DIGEST:
        return [value[0][:_DIGEST], *value[1:]]
    return value


def _is_progress(found: Any, n_steps: int, n_batches: int) -> bool:
    """Whether this is where a run can be."""
    if not isinstance(found, dict) or set(found) != {"step", "sums", "losses", "validation_losses"}:
        return False
    lists = found["sums"], found["losses"], found["validation_losses"]
    if not all(isinstance(values, list) and all(type(value) in (int, float) for value in values) for values in lists):
        return False
    step = found["step"]
    is_step = type(step) is int and 0 <= step <= n_steps
    return is_step and len(lists[0]) == 2 and len(lists[1]) == step // n_batches
