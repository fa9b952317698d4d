"""One aligner from rows that many processes hold: each learns its own, and what they learned is merged exactly.

`fit_distributed` is for processes of `torch.distributed`; `c3align.distributed.ray` for datasets of Ray.
"""

from __future__ import annotations

from typing import Any, TypeVar

from c3align._imports import need
from c3align._typing import Array
from c3align.aligner import C3Aligner
from c3align.errors import C3AlignError

__all__ = ["fit_distributed"]

_Aligner = TypeVar("_Aligner", bound=C3Aligner)


def fit_distributed(
    aligner: _Aligner,
    X: Array,
    y: Array | None = None,
    *,
    modality: str = "text",
    y_modality: str | None = None,
    group: Any = None,
) -> _Aligner:
    """Learn the rows of all processes of a `torch.distributed` group, as if this one had seen them all.

    Every process calls it with rows of its own, any number of them, none too, and gets the same aligner: with the bytes
    that one process would have learned (covariances, whose sums are in float64, up to their tolerance). An error of one
    process is raised in all of them, so that none waits for another.

    What travels is what was learned, not the rows: each process receives the bytes of all, and merges them in the order
    of ranks. (A sum by ``all_reduce`` would lose the carries between words of the 128-bit sums.) With nccl, set each
    process's device first, ``torch.cuda.set_device``: torch sends the bytes through it.

    Parameters
    ----------
    aligner : C3Aligner
        What it learned before is forgotten; its settings are the same in all processes.
    X, y : (n_rows, n_dims) array or tensor
        The rows that this process holds, as in `C3Aligner.fit`.
    modality, y_modality : str
        As in `C3Aligner.fit`.
    group : process group, optional
        By default that of all processes; of any backend (gloo, nccl).

    Returns
    -------
    C3Aligner
        The aligner itself.

    Raises
    ------
    C3AlignError
        Rows that any process cannot learn from, with its rank; no rows in any of them; settings that differ.
    """
    dist = need("torch.distributed", "torch")
    if not (dist.is_available() and dist.is_initialized()):
        raise C3AlignError("torch.distributed has no process group; call torch.distributed.init_process_group() first")
    mine = _learned(aligner, X, y, modality, y_modality)
    everyone: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(everyone, mine, group=group)
    wrong = [f"process {rank}: {reason}" for rank, (_, reason) in enumerate(everyone) if reason]
    if wrong:
        raise C3AlignError(f"{wrong[0]}{f' (and {len(wrong) - 1} more processes)' if wrong[1:] else ''}")
    parts = [C3Aligner.from_bytes(content) for content, _ in everyone if content is not None]
    if not parts:
        raise C3AlignError("no process has any rows; pass some to at least one of them")
    if any(part.get_params() != parts[0].get_params() for part in parts):
        raise C3AlignError("the aligners' settings differ between processes; create them alike")
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    aligner.state_ = merged.state_
    return aligner


def _learned(aligner: C3Aligner, X: Any, y: Any, modality: str, y_modality: str | None) -> tuple[bytes | None, str]:
    """The bytes of what these rows teach, None where there are none; and what is wrong with them."""
    try:
        if len(X) == 0:
            return None, ""
        fresh = C3Aligner(**aligner.get_params(deep=False))
        return fresh.fit(X, y, modality=modality, y_modality=y_modality).to_bytes(), ""
    except Exception as error:  # of any kind: the other processes wait for an answer
        return None, f"{error}" or type(error).__name__
