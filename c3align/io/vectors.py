"""Vectors that others have published, out of .npy files, pickles and files of torch, of which nothing is unpickled.

A pickle is a program. Here its steps are listed by the standard library, which runs none, and those few are followed
that make numbers, texts, lists and dictionaries. A name that it would call is looked for in a table of functions of
this module, and refused where it is not there; nothing is imported. Of torch's files the numbers are read as bytes.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable
from functools import cache
from pickletools import genops
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from c3align.errors import FormatError, one_line
from c3align.io import opening

__all__ = ["read"]

MAX_BYTES, MAX_CALLS, MAX_PARTS = 1 << 22, 64, 64
_MAGIC = 0x1950A86A20F9469CFC6C  # what files of torch before 1.6 begin with
_FLOATS = {"f2": np.dtype("<f2"), "f4": np.dtype("<f4"), "f8": np.dtype("<f8")}
_STORAGES = {"HalfStorage": "f2", "FloatStorage": "f4", "DoubleStorage": "f8"}
_SKIPPED = {"PROTO", "FRAME"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_GIVEN = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_GIVEN |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(NamedTuple):
    """What a pickle names; both are texts."""

    module: str
    name: str


class _Later:
    """An array or a dtype of NumPy, which a pickle makes in two steps."""

    value: Any = None


def read(path: str | os.PathLike[str]) -> Any:
    """An array, or a dictionary with arrays among its values, of a file of NumPy, torch or pickle.

    Raises
    ------
    FormatError
        For anything else, without a step of it being run.
    """
    with opening.opened(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise FormatError(f"{path} is larger than {MAX_BYTES:,} bytes; pass the file of one mean, not of rows")
    try:
        if content.startswith(b"\x93NUMPY"):
            whole = io.BytesIO(content)
            return np.load(whole, allow_pickle=False)
        found = _zipped(content) if content.startswith(b"PK") else _streamed(content)
    except Exception as error:  # a stranger's bytes
        reason = one_line(error)[:200] or type(error).__name__
        raise FormatError(f"{path} holds no vectors: {reason}; ask its owner for an .npy file") from error
    if isinstance(found, dict):
        return {name: value.value if isinstance(value, _Later) else value for name, value in found.items()}
    return found.value if isinstance(found, _Later) else found


def _streamed(content: bytes, inner: bool = False) -> Any:
    """What a pickle makes, or a file of torch before 1.6: five pickles, and the numbers behind them."""
    file, storages = io.BytesIO(content), dict[Any, npt.NDArray[Any]]()
    found = _followed(file, inner=inner)
    if type(found) is not int or found != _MAGIC:
        return found
    _followed(file, inner=True), _followed(file, inner=True)  # version, and machine

    def storage(kind: Any, key: Any, n: Any) -> npt.NDArray[Any]:
        if key not in storages:
            storages[key] = np.zeros(_whole(n, len(content)), kind)
        return storages[key]

    found = _followed(file, storage, inner=True)
    for key in _followed(file, inner=True):
        values = storages[key]
        n = int.from_bytes(file.read(8), "little")
        stored = np.frombuffer(file.read(values.nbytes), values.dtype)
        if not n == len(values) == len(stored):  # one number alone would be broadcast
            raise ValueError("a storage is of another length")
        values[:] = stored
    return found


def _zipped(content: bytes) -> Any:
    """What a file of torch since 1.6 holds: a pickle, and the numbers in files beside it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        known = {info.filename.partition("/")[2]: info for info in archive.infolist()[:MAX_PARTS]}

        @cache
        def part(name: str) -> bytes:
            info = known[name]
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(content):
                raise ValueError("it is packed")
            return archive.read(info)

        def storage(kind: Any, key: Any, n: Any) -> npt.NDArray[Any]:
            values = np.frombuffer(part(f"data/{key}"), kind)
            if _whole(n, len(content)) != len(values):
                raise ValueError("a storage is of another length")
            return values

        if "byteorder" in known and part("byteorder") != b"little":
            raise ValueError("its bytes are swapped")
        return _followed(io.BytesIO(part("data.pkl")), storage)


def _followed(file: Any, storage: Callable[[Any, Any, Any], Any] | None = None, inner: bool = False) -> Any:
    """What the steps of a pickle make, from where a file is; an `inner` one holds no further files of torch."""
    stack, marks, memo, n_calls = list[Any](), list[int](), dict[Any, Any](), 0

    def since_mark() -> list[Any]:
        start = marks.pop()
        found = stack[start:]
        del stack[start:]
        return found

    argument: Any
    for opcode, argument, _ in genops(file):
        step = opcode.name
        if step in _SKIPPED:
            continue
        if step == "STOP":
            return stack.pop()
        if step in _CONSTANTS or step in _GIVEN:
            stack.append(_CONSTANTS.get(step, argument))
        elif step in _TUPLES or step == "TUPLE":
            n = _TUPLES.get(step)
            kept = since_mark() if n is None else [stack.pop() for _ in range(n)][::-1]
            stack.append(tuple(kept))
        elif step in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if step == "EMPTY_DICT" else [])
        elif step == "MARK":
            marks.append(len(stack))
        elif step in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if step == "MEMOIZE" else argument] = stack[-1]
        elif step in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif step in ("SETITEM", "SETITEMS"):
            items = since_mark() if step == "SETITEMS" else [stack.pop() for _ in range(2)][::-1]
            _put(stack[-1], items)
        elif step in ("APPEND", "APPENDS"):
            items = since_mark() if step == "APPENDS" else [stack.pop()]
            _list_of(stack[-1]).extend(items)
        elif step in ("GLOBAL", "STACK_GLOBAL"):
            words = argument.split(" ") if step == "GLOBAL" else [stack.pop() for _ in range(2)][::-1]
            stack.append(_named(*words))
        elif step == "REDUCE":
            arguments, name, n_calls = stack.pop(), stack.pop(), n_calls + 1
            if n_calls > MAX_CALLS or (inner and name == _NESTED):
                raise ValueError("it makes more than vectors need")
            stack.append(_made(name, arguments))
        elif step == "BUILD":
            _build(state=stack.pop(), what=stack[-1])
        elif step == "BINPERSID" and storage is not None:
            stack.append(_stored(storage, *stack.pop()))
        else:
            raise ValueError(f"it has a step {step}, which vectors do not need")
    raise ValueError("it has no end")


def _named(module: Any, name: Any) -> _Name:
    if type(module) is not str or type(name) is not str:
        raise ValueError("it names something by what is no text")
    return _Name(module, name)


def _put(target: Any, items: list[Any]) -> None:
    """Into a dictionary by texts alone: other keys could nest deeper than they can be compared."""
    if type(target) is not dict or not all(type(key) is str for key in items[::2]):
        raise ValueError("a dictionary has other keys than texts")
    target.update(zip(items[::2], items[1::2], strict=True))


def _list_of(target: Any) -> list[Any]:
    if type(target) is not list:
        raise ValueError("something is added to what is no list")
    return target


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("a number is no length")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    if type(value) is not tuple or len(value) > 2:
        raise ValueError("its arrays must be vectors")
    return tuple(_whole(n, MAX_BYTES) for n in value)


def _stored(storage: Callable[[Any, Any, Any], Any], what: Any, kind: Any, key: Any, *rest: Any) -> Any:
    """The numbers that a file of torch has beside its pickle."""
    if type(kind) is not _Name or kind.module != "torch" or kind.name not in _STORAGES:
        raise ValueError("its numbers are no floats of 16, 32 or 64 bits")
    if type(what) is not str or what != "storage" or type(key) is not str or not key.isdigit():
        raise ValueError("its numbers have no name")
    return storage(_FLOATS[_STORAGES[kind.name]], key, rest[1])


def _tensor(values: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    if any(rest[2:]):
        raise ValueError("it is the negative or the conjugate of what is stored")
    shape, start = _shape(size), _whole(offset, MAX_BYTES)
    steps = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    if type(stride) is not tuple or any(n > 1 and own != s for n, own, s in zip(shape, steps, stride, strict=True)):
        raise ValueError("its numbers are not in a row")
    return values[start : start + math.prod(shape)].reshape(shape)


def _dtype(name: Any, *_: Any) -> _Later:
    found = _Later()
    found.value = _FLOATS[name if type(name) is str else ""]
    return found


def _buffer(content: Any, dtype: Any, shape: Any, *_: Any) -> Any:
    return np.frombuffer(content, dtype.value).reshape(_shape(shape))


def _build(what: Any, state: Any) -> None:
    """The second step of an array, or of a dtype, of which the order of bytes counts."""
    if isinstance(what.value, np.dtype):
        order: Any = state[1]
        if order not in ("<", ">"):
            raise ValueError("its numbers are in no order")
        what.value = what.value.newbyteorder(order)
    else:
        what.value = _buffer(state[4], state[2], state[1])


_NESTED = _Name("torch.storage", "_load_from_bytes")
_CALLS: dict[_Name, Callable[..., Any]] = {
    _Name("collections", "OrderedDict"): lambda: {},
    _Name("numpy", "dtype"): _dtype,
    _Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    _NESTED: lambda content: _streamed(content, inner=True),
}
for _room in ("core", "_core"):  # before NumPy 2, and since
    _CALLS[_Name(f"numpy.{_room}.multiarray", "_reconstruct")] = lambda *_: _Later()
    _CALLS[_Name(f"numpy.{_room}.numeric", "_frombuffer")] = _buffer


def _made(name: Any, arguments: Any) -> Any:
    if type(name) is not _Name or name not in _CALLS:
        raise ValueError(f"it would call {name.module}.{name.name}" if type(name) is _Name else "it calls no name")
    if type(arguments) is not tuple:
        raise ValueError("it calls a name with no list of arguments")
    return _CALLS[name](*arguments)
