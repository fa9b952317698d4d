"""What a checkpoint must hold for a run to go on from it, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from c3align.io import container


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
