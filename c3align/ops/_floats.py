"""Default floating-point arithmetic: rounding to nearest even, subnormals kept.

A thread's control word can say otherwise (`torch.set_flush_denormal(True)`, -ffast-math in somebody's library,
`fesetround`), and results would differ in bits. The compiled core sets it for itself, on each of its threads; this does
so for the arithmetic of NumPy and Python around it, and for the reference.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_SMALLEST_NORMAL, _BELOW_LAST_BIT = 2.0**-1022, 2.0**-60
_BYTES_OF_ENVIRONMENT = 128  # more than any C library's fenv_t
_DEFAULT = ctypes.c_void_p(-1)  # FE_DFL_ENV of glibc and musl


def are_usual() -> bool:
    """Whether this thread rounds to nearest and keeps subnormals: determined by computing, which is quick."""
    return _SMALLEST_NORMAL / 2 > 0 and 1 + _BELOW_LAST_BIT == 1 and 1 - _BELOW_LAST_BIT == 1


def usual_floats(function: Callable[P, R]) -> Callable[P, R]:
    """Call with default floats and restore the thread's state; without C's fenv.h, call as it is."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if are_usual():
            return function(*args, **kwargs)
        library, before = _fenv(), ctypes.create_string_buffer(_BYTES_OF_ENVIRONMENT)
        if library is None:
            return function(*args, **kwargs)
        library.fegetenv(before)
        library.fesetenv(_DEFAULT)
        try:
            return function(*args, **kwargs)
        finally:
            library.fesetenv(before)

    return call


@functools.cache
def _fenv() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libm.so.6")
        return library if library.fegetenv and library.fesetenv else None
    except (OSError, AttributeError):
        return None
