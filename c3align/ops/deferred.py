"""Checks of rows on a device that wait for the end of a block of code, so that no call in it waits for the device."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from c3align.errors import C3AlignError

__all__ = ["AT_MEAN_FLAG", "NEGATIVE", "SMALL", "UNUSABLE", "VECTOR", "deferred_checks", "flag_for", "is_wrong"]

SMALL, UNUSABLE, AT_MEAN_FLAG, NEGATIVE, VECTOR = 1, 2, 4, 8, 16  # bits; the first three are those of csrc/core/row.h
_TOLD = {
    UNUSABLE: "rows that hold NaN, infinity or a norm above 2**126",
    SMALL: "rows with a norm of zero or below 2**-126",
    AT_MEAN_FLAG: "rows that equal the mean",
    NEGATIVE: "negative row_ids",
    VECTOR: "a mean, scale or shift that holds NaN or infinity, or a target mean longer than 1",
}
_KEPT = ~(SMALL | AT_MEAN_FLAG)  # what is wrong in spite of zero_rows="keep"


class _Block:
    """A block that has begun: what was wrong in it, by device and policy, and whose calls are put off."""

    def __init__(self) -> None:
        self.flags: dict[tuple[Any, str], Any] = {}
        self.thread, self.is_over = threading.get_ident(), False


_blocks: ContextVar[_Block | None] = ContextVar("deferred_checks", default=None)


@contextmanager
def deferred_checks() -> Iterator[None]:
    """Put off the checks of rows on a device to the end of a ``with`` block, so that no call in it waits for them.

    `normalize`, `align`, `corrupt`, `invert` and `translate`, and what is built on them, otherwise wait once a call to
    learn whether a row was unusable. Inside, such a row comes out as zeros, in `out` too. Rows in memory are checked
    at once, and so are those of another thread. `AlignerModule` looks at the first batch of a modality, and
    `C3Aligner.transform` at some rows of each.

    Yields
    ------
    None

    Raises
    ------
    C3AlignError
        At the end of the outermost block, when a row of any call in it was unusable.

    Examples
    --------
    >>> import numpy as np
    >>> from c3align import ops
    >>> with ops.deferred_checks():
    ...     rows = ops.align(np.eye(3), np.full(3, 0.1))
    """
    if _block() is not None:  # the outer block tells
        yield
        return
    block = _Block()
    token = _blocks.set(block)
    try:
        yield
    finally:
        _blocks.reset(token)
        block.is_over = True  # for tasks that were made in it too
    for (device, policy), flag in block.flags.items():
        _raise_for(_read(flag), device, policy)


def flag_for(device: Any, policy: str) -> Any:
    """Where calls on this device add what was wrong, () int32; None outside of `deferred_checks`."""
    block = _block()
    if block is None:
        return None
    if (device, policy) not in block.flags:
        import torch

        block.flags[device, policy] = torch.zeros((), dtype=torch.int32, device=device)
    return block.flags[device, policy]


def _block() -> _Block | None:
    """The block that this thread's calls are in."""
    block = _blocks.get()
    return block if block is not None and not block.is_over and block.thread == threading.get_ident() else None


def _read(flag: Any) -> int:
    """The bits, once all streams of the device are done."""
    if flag.is_cuda:
        import torch

        torch.cuda.synchronize(flag.device)
    return int(flag)


def is_wrong(bits: int, policy: str) -> bool:
    """Whether these bits are refused under a policy for rows without a direction."""
    return bool(bits if policy == "raise" else bits & _KEPT)


def _raise_for(bits: int, device: Any, policy: str) -> None:
    if is_wrong(bits, policy):
        told = [what for bit, what in _TOLD.items() if bits & bit]
        raise C3AlignError(
            f"calls on {device} inside deferred_checks() were given {' and '.join(told)}, and zeros came out; run them "
            "outside of it to learn which rows"
        )
