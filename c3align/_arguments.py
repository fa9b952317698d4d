"""Checks of arguments: by annotation, and of kinds of values that many functions take."""

from __future__ import annotations

import functools
import inspect
import operator
import os
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from c3align._typing import Float64Array, Int64Array
from c3align.errors import C3AlignError, InputTypeError

__all__ = ["as_floats", "as_groups", "check_choice", "check_number", "check_seed", "check_whole", "checked", "shown"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Check = Callable[[Any], bool]
_REST = inspect.Parameter.VAR_KEYWORD
_MOST_SHOWN = 80  # characters of a value that a message quotes


def shown(value: Any) -> str:
    """A value as messages quote it: short, and arrays by their shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and len(np.shape(value)):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in thousands of others
        return f"a {type(value).__name__}"
    if len(text) > _MOST_SHOWN or text.startswith("<"):
        return f"a {type(value).__name__}"
    return text


def checked(function: _Function) -> _Function:
    """Compare arguments with their annotations before the function runs: numbers, strings, options, own classes.

    Arrays are left to what reads them, and so is the range of numbers.

    Raises
    ------
    C3AlignError
        In the call, with the name of the argument and what it must be.
    """
    signature = inspect.signature(function)
    names = [name for name, found in signature.parameters.items() if found.kind is not found.VAR_POSITIONAL]
    if len(names) < len(signature.parameters):  # what comes by position is all its
        names = []

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        checks = _checks_of(function)
        for name, value in [*zip(names, arguments), *named.items()]:
            if name in checks:
                _compare(function, name, value, *checks[name])
        return function(*arguments, **named)

    return typing.cast("_Function", call)


def _compare(function: Any, name: str, value: Any, kind: str, default: Any, check: _Check) -> None:
    if not check(value):
        fix = f"see help({function.__qualname__})" if default is inspect.Parameter.empty else f"omit it for {default!r}"
        raise C3AlignError(f"{name} must be {kind}, got {shown(value)}; {fix}")


@functools.cache
def _checks_of(function: Any) -> dict[str, tuple[str, Any, _Check]]:
    """For each argument whose annotation says enough: what it must be, its default, and the check."""
    found = dict[str, tuple[str, Any, _Check]]()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.annotation is parameter.empty or parameter.kind in (parameter.VAR_POSITIONAL, _REST):
            continue
        try:
            annotation = _read(parameter.annotation, function.__globals__)
        except (NameError, TypeError):  # what only type checkers import, or know
            continue
        parts = [_part(kind) for kind in _alternatives(annotation)]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            check = functools.partial(_any_of, [test for _, test in known])
            found[name] = " or ".join(dict.fromkeys(kind for kind, _ in known)), parameter.default, check
    return found


def _read(annotation: str, names: dict[str, Any]) -> Any:
    """The type that an annotation of the library's own source means."""
    holder = type("holder", (), {"__annotations__": {"it": annotation}})
    return typing.get_type_hints(holder, names)["it"]


def _any_of(checks: Sequence[_Check], value: Any) -> bool:
    return any(check(value) for check in checks)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    is_union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    return typing.get_args(annotation) if is_union else (annotation,)


def _part(kind: Any) -> tuple[str, _Check] | None:
    """What one alternative of an annotation allows, in words and as a check; None where it says too little."""
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        choices = typing.get_args(kind)
        return " or ".join(map(repr, choices)), lambda value: isinstance(value, str) and value in choices
    if kind in _KINDS:
        return _KINDS[kind]
    if origin in (abc.Sequence, abc.Iterable):
        return "a list", _is_list
    if origin in (abc.Mapping, tuple):
        return f"a {'tuple' if origin is tuple else 'dict'}", lambda value: isinstance(value, origin)
    if kind is os.PathLike or origin is os.PathLike:
        return "a path", lambda value: isinstance(value, os.PathLike)
    if isinstance(kind, type) and kind.__module__.startswith("c3align") and not issubclass(kind, tuple):
        return f"of class {kind.__name__}", lambda value: isinstance(value, kind)
    return None


def _is_list(value: Any) -> bool:
    has_items = getattr(value, "ndim", 1) > 0 and not isinstance(value, str | bytes | type)
    return has_items and hasattr(value, "__iter__")


def _is_whole(value: Any) -> bool:
    try:
        return not isinstance(value, bool | np.bool_) and operator.index(value) is not None
    except TypeError:
        return False


def _is_real(value: Any) -> bool:
    value = value.item() if getattr(value, "shape", None) == () else value  # of an array or a tensor
    return isinstance(value, Real) and not isinstance(value, bool) and bool(value == value)  # not NaN


_KINDS: dict[Any, tuple[str, _Check]] = {
    int: ("an integer", _is_whole),
    float: ("a number", _is_real),
    bool: ("True or False", lambda value: isinstance(value, bool | np.bool_)),
    str: ("a string", lambda value: isinstance(value, str)),
    type(None): ("None", lambda value: value is None),
}


def check_by_modality(name: str, given: Any) -> None:
    """Refuse what is no dict with the names of modalities."""
    if not (isinstance(given, abc.Mapping) and given and all(isinstance(key, str) for key in given)):
        what = f"{type(given).__name__} {[*given] if isinstance(given, abc.Mapping) else ''}"
        raise C3AlignError(
            f"{name} must be by modality, such as {{'text': ...}}, got {what}; pass {name} of each by its name"
        )


def check_same_class(mine: Any, other: Any) -> None:
    """Refuse to add up what is not of one class."""
    if type(mine) is not type(other):
        own = type(mine).__name__
        raise InputTypeError(f"cannot combine {own} with {type(other).__name__}; pass what another {own} learned")


def check_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Check an integer between two bounds; returns it as an int."""
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        bounds = f"of {least} or more" if most is None else f"in [{least}, {most}]"
        raise C3AlignError(f"{name} must be an integer {bounds}, got {shown(value)}")
    return int(value)


def check_seed(seed: Any, name: str = "seed") -> int:
    """Check a seed; returns it as an int."""
    if not _is_whole(seed) or not 0 <= int(seed) < 2**64:
        raise C3AlignError(f"{name} must be an integer in [0, 2**64), got {shown(seed)}")
    return int(seed)


def check_number(name: str, value: Any, *, above: bool = False, most: float = sys.float_info.max) -> float:
    """Check a finite number of at least 0, or `above` 0, and `most`; returns it unchanged."""
    if not _is_real(value) or not 0 <= value <= most or (above and not value):
        bounds = f"in [0, {most}]" if most < sys.float_info.max else "above 0" if above else "of 0 or more"
        raise C3AlignError(f"{name} must be a finite number {bounds}, got {shown(value)}")
    return value


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """Refuse a value that is not one of the known ones."""
    if not isinstance(value, str) or value not in known:
        raise C3AlignError(f"{name} must be one of {', '.join(map(repr, known))}, got {shown(value)}")


def as_floats(name: str, values: Any) -> Float64Array:
    """Numbers of any shape in float64.

    Raises
    ------
    C3AlignError
        What is no array of real numbers.
    """
    try:
        found = np.asarray(values.detach() if hasattr(values, "detach") else values)
        if found.dtype.kind in "biufO":
            return np.asarray(found, np.float64)
    except (TypeError, ValueError):
        pass
    raise C3AlignError(f"{name} must be numbers, got {shown(values)}; pass an array of floats")


def as_groups(name: str, values: Any, n_rows: int, what: str = "row") -> Int64Array:
    """Numbers of groups, one for each row.

    Raises
    ------
    C3AlignError
        Another number of them, or what is no integer.
    """
    try:
        found = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (TypeError, ValueError):  # lists of different lengths
        found = np.empty(0)
    if found.shape != (n_rows,) or found.dtype.kind not in "iu":
        raise C3AlignError(
            f"{name} must be {n_rows} integers, got {shown(found) if found.ndim else shown(values)}; pass one for "
            f"each {what}"
        )
    return found.astype(np.int64)
