"""One aligner from rows that many processes hold: each learns its own, and what they learned is merged exactly.

`fit_distributed` is for processes of `torch.distributed`; `c3align.distributed.ray` for datasets of Ray.
"""

from __future__ import annotations

from typing import Any, TypeVar

from c3align._imports import need
from c3align._typing import Array
from c3align.aligner import C3Aligner
from c3align.errors import C3AlignError
from c3align.ops.arrays import is_on_device

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
    of ranks. (A sum by ``all_reduce`` would lose the carries between words of the 128-bit sums.) With nccl they go
    through the device that the group is bound to, ``init_process_group(device_id=...)``, else through that of the rows,
    else through the process's own, ``torch.cuda.set_device``.

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
    learned, reason = _learned(aligner, X, y, modality, y_modality)
    reasons = _of_all(reason.encode(errors="replace"), X, group)
    wrong = [f"process {rank}: {reason.decode()}" for rank, reason in enumerate(reasons) if reason]
    if wrong:
        raise C3AlignError(f"{wrong[0]}{f' (and {len(wrong) - 1} more processes)' if wrong[1:] else ''}")
    parts = [C3Aligner.from_bytes(content) for content in _of_all(learned, X, group) if content]
    if not parts:
        raise C3AlignError("no process has any rows; pass some to at least one of them")
    if any(part.get_params() != parts[0].get_params() for part in parts):
        raise C3AlignError("the aligners' settings differ between processes; create them alike")
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    aligner.state_ = merged.state_
    return aligner


def _of_all(mine: bytes, X: Any, group: Any) -> list[bytes]:
    """The bytes of every process, in the order of ranks; nothing is unpickled."""
    torch, dist = need("torch", "torch"), need("torch.distributed", "torch")
    where, n_processes = _device_of(group, X), dist.get_world_size(group)
    size = torch.tensor([len(mine)], device=where)
    sizes = [torch.empty_like(size) for _ in range(n_processes)]
    dist.all_gather(sizes, size, group=group)
    content = torch.zeros(max(1, *map(int, sizes)), dtype=torch.uint8)  # all of one length, as collectives need it
    content[: len(mine)] = torch.frombuffer(bytearray(mine or b"\0"), dtype=torch.uint8)[: len(mine)]
    found = [torch.empty_like(content, device=where) for _ in range(n_processes)]
    dist.all_gather(found, content.to(where), group=group)
    return [part[:n].cpu().numpy().tobytes() for part, n in zip(found, sizes)]


def _device_of(group: Any, X: Any) -> Any:
    """Where tensors lie that the group's backend sends: gloo takes the CPU's, nccl those of a GPU alone."""
    torch, dist = need("torch", "torch"), need("torch.distributed", "torch")
    kinds = [pair.partition(":")[0] for pair in str(dist.get_backend_config(group)).split(",")]
    if "cpu" in kinds:
        return torch.device("cpu")
    bound = (group or dist.group.WORLD).bound_device_id
    if bound is not None or (is_on_device(X) and X.device.type in kinds):
        return bound or X.device
    return torch.device(kinds[0], torch.get_device_module(kinds[0]).current_device())


def _learned(aligner: C3Aligner, X: Any, y: Any, modality: str, y_modality: str | None) -> tuple[bytes, str]:
    """The bytes of what these rows teach, none where there are no rows; and what is wrong with them."""
    try:
        if len(X) == 0:
            return b"", ""
        fresh = C3Aligner(**aligner.get_params(deep=False))
        return fresh.fit(X, y, modality=modality, y_modality=y_modality).to_bytes(), ""
    except Exception as error:  # of any kind: the other processes wait for an answer
        return b"", f"{error}" or type(error).__name__
