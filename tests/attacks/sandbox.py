"""A process that can do little: no socket, no other program, no file but those of a few folders.

Three walls. Landlock (Linux 5.13) and seccomp stand in the kernel, so that compiled code meets them too; Python's
audit events tell what was tried. Where the kernel lacks the first two, the third alone is left.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Trespass", "enter", "has_walls"]

READABLE = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt")
_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446  # system calls of Landlock, the same numbers everywhere
_READ, _WRITE = 0b1101, 0b1111111110010  # execute, read file and folder; write file, remove, make, refer
_TRUNCATE = 1 << 14
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
# socket, connect, execve, execveat: no program and no connection
_FORBIDDEN = {"x86_64": (41, 42, 59, 322), "aarch64": (198, 203, 221, 281)}
_KILL, _ALLOW = 0x80000000, 0x7FFF0000
_EVENTS = ("socket.__new__", "socket.connect", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
_libc = ctypes.CDLL(None, use_errno=True)


class Trespass(BaseException):
    """The loader tried what it may not; no `except Exception` of a library hides it."""


def has_walls() -> bool:
    """Whether this kernel has Landlock, and a filter for system calls is written for this processor."""
    return _abi() > 0 and platform.machine() in _FORBIDDEN


def _abi() -> int:
    return int(_libc.syscall(_RULESET, None, 0, 1)) if sys.platform == "linux" else -1


def enter(own: Path, repository: Path) -> list[str]:
    """Shut this process in for good; returns the list to which what it tries outside will be added."""
    readable = [*READABLE, sys.prefix, sys.base_prefix, sysconfig.get_paths()["purelib"], str(repository)]
    tried: list[str] = []
    sys.addaudithook(_watch([*map(os.path.realpath, readable)], os.path.realpath(own), tried))
    if _abi() > 0:
        _landlock(readable, own)
    if platform.machine() in _FORBIDDEN and sys.platform == "linux":
        _filter(_FORBIDDEN[platform.machine()])
    return tried


def _watch(readable: Iterable[str], own: str, tried: list[str]):
    roots = tuple(f"{root}{os.sep}" for root in (*readable, own))

    def hook(event: str, arguments: tuple) -> None:
        if event in _EVENTS:
            tried.append(f"{event} {arguments!r:.200}")
            raise Trespass(tried[-1])
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not f"{path}{os.sep}".startswith(roots):
                tried.append(f"open {path}")
                raise Trespass(tried[-1])
        if event == "exec" and arguments[0].co_filename.startswith(own + os.sep):
            tried.append(f"code of {arguments[0].co_filename}")
            raise Trespass(tried[-1])

    return hook


def _landlock(readable: Iterable[str], own: Path) -> None:
    handled = _READ | _WRITE | (_TRUNCATE if _abi() >= 3 else 0)
    ruleset = ctypes.create_string_buffer(struct.pack("=Q", handled))
    rules = _called(_RULESET, ruleset, 8, 0)
    for root, rights in [(root, _READ) for root in readable] + [(str(own), handled), ("/dev", handled)]:
        if os.path.exists(root):
            folder = os.open(root, os.O_PATH)
            _called(_ADD_RULE, rules, 1, ctypes.create_string_buffer(struct.pack("=Qi", rights, folder)), 0)
            os.close(folder)
    _called(None, _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _called(_RESTRICT, rules, 0)
    os.close(rules)


def _filter(numbers: tuple[int, ...]) -> None:
    """Kill the process at these system calls: load the number, compare with each, allow the rest."""
    steps = [struct.pack("=HBBI", 0x20, 0, 0, 0)]
    steps += [struct.pack("=HBBI", 0x15, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    steps += [struct.pack("=HBBI", 0x06, 0, 0, value) for value in (_ALLOW, _KILL)]
    program = ctypes.create_string_buffer(b"".join(steps))
    _called(None, _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    pointer = struct.pack("@HP", len(steps), ctypes.addressof(program))
    _called(None, _SECCOMP, _FILTER, ctypes.create_string_buffer(pointer), 0, 0)


def _called(number: int | None, *arguments) -> int:
    """A system call, or prctl where there is no number."""
    words = [a if not isinstance(a, int) else ctypes.c_long(a) for a in arguments]
    result = _libc.prctl(*words) if number is None else _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)
