"""Reading ahead, and other work that a second thread does while the first goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["beside", "read_ahead"]

_Block = TypeVar("_Block")
_Found = TypeVar("_Found")


def read_ahead(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """Blocks, the next of which is read while one is used; an error of reading it comes when it is asked for."""
    with ThreadPoolExecutor(1, "c3align-reads") as pool:
        coming = pool.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = pool.submit(next, blocks, None)
            yield block


@contextmanager
def beside(call: Callable[..., _Found], *arguments: Any) -> Iterator[Future[_Found]]:
    """A call that another thread makes while the block runs, which waits for it at its end and raises its errors."""
    with ThreadPoolExecutor(1, "c3align-beside") as pool:
        found = pool.submit(call, *arguments)
        yield found
        found.result()
