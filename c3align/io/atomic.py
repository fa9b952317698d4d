"""Files and folders that are replaced whole: after a kill at any instant there is the old one or the new one.

What is written stands beside its place under a hidden name, is forced to disk, and is renamed; then the folder that
holds it is forced to disk too. Links are followed, the umask is respected, the mode of a replaced file stays. Devices
and pipes have no old content to keep: they are written directly. A writer holds a lock on its scratch, so that the
next one in the same place knows what a killed one left, and removes it.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from c3align.errors import C3AlignError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "SCRATCH",
    "alone",
    "clear",
    "found",
    "is_special",
    "local_path",
    "locked",
    "made",
    "named",
    "remove",
    "replaced_file",
    "replaced_folder",
]
__all__ += ["write"]

SCRATCH = ".c3align-"  # in the names of files and folders that are not whole yet
_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")  # they may lead to a regular file, which the shell holds open
_own_scratch: set[Path] = set()  # which this process holds the locks of
_NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # what file systems say that cannot force a folder to disk


def expanded(path: str | os.PathLike[str]) -> str:
    """A name with `~` expanded; neither empty, nor a URL, nor in the home folder of an unknown user."""
    if not isinstance(path, str | os.PathLike):
        raise C3AlignError(f"the name of a file or folder must be a string or a path, got a {type(path).__name__}")
    name = os.path.expanduser(os.fspath(path))
    if not name:
        raise C3AlignError("the name of a file or folder must not be empty; write . for the folder that you are in")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", name):  # pathlib makes s3:/ of s3://
        raise C3AlignError(f"{path} is a URL and must be a local path; copy files to or from it yourself")
    if name.startswith("~"):
        raise C3AlignError(f"{path} names a home folder that does not exist; write ./{path} if it is a file here")
    return name


def local_path(path: str | os.PathLike[str]) -> Path:
    """The absolute path that a name stands for, with `~` expanded and links followed; no URL."""
    return Path(os.path.realpath(expanded(path)))


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether a name stands for a device, a pipe, or a stream of this process."""
    name = os.path.abspath(path)
    if not os.path.exists(name):
        return False
    mode = os.stat(name).st_mode
    return name.startswith(_STREAMS) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """A folder is there, with those above it; where the block fails, the new ones that hold nothing are removed."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # one holds something
            for path in new:
                path.rmdir()
        raise


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the system name the file or folder that is written, not its scratch, and not nothing."""
    try:
        yield
    except OSError as error:
        if error.errno is None or SCRATCH not in str(error.filename or SCRATCH):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@contextmanager
def replaced_file(path: str | os.PathLike[str], *, alone: bool = False) -> Iterator[Path]:
    """A scratch file to be written, which takes the place of `path` in the end and is removed on an error.

    Whoever is `alone` in the folder has called `clear`, which looks through it once and not for every file.
    """
    if is_special(path):
        with named(path):
            yield Path(path)
        return
    target = local_path(path)
    if target.is_dir() or not target.parent.is_dir():
        raise C3AlignError(f"cannot write {path}; pass the name of a file in a folder that exists")
    with named(path):
        scratch, lock = _scratch_for(target, partial(Path.touch, exist_ok=False), alone)
        try:
            yield scratch
            _force_to_disk(scratch)
            if target.exists():
                shutil.copymode(target, scratch)
            os.replace(scratch, target)
            _force_to_disk(target.parent)
        finally:
            scratch.unlink(missing_ok=True)
            _own_scratch.discard(scratch)
            _close(lock)


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace a file by `content`."""
    with replaced_file(path) as scratch:
        scratch.write_bytes(content)


def remove(path: Path) -> None:
    """Delete a file, if there is one, for good."""
    if path.exists():
        path.unlink()
        _force_to_disk(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time changes what is in a folder, where the system has such locks; they end with the process."""
    handle = None if folder in _own_scratch else _handle(folder)
    try:
        if handle is not None:
            _lock(handle, wait=True)
        yield
    finally:
        _close(handle)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Let one process at a time write to a folder that is there, or to a file, and refuse the second one.

    The lock is a hidden file, in the folder or beside the file, which is removed in the end; that of a process which
    was killed holds nobody up. Where the system or the file system has no locks nobody is refused.
    """
    lock = place / f"{SCRATCH}lock" if place.is_dir() else place.with_name(f".{place.name}{SCRATCH}lock")
    with made(lock.parent):
        handle = _first(lock, place) if fcntl else None
        try:
            yield
        finally:
            if handle is not None:
                lock.unlink(missing_ok=True)
                os.close(handle)


def _first(lock: Path, place: Path) -> int:
    """The handle of a lock that nobody else holds."""
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(place)) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            fix = "wait until that has ended, or choose another place"
            raise C3AlignError(f"{place} is being written by another run; {fix}") from error
        except OSError:  # the file system has no locks
            return handle
        if _is_at(handle, lock):  # else its holder has removed it meanwhile
            return handle
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(path))
    return False


def _lock(handle: int, wait: bool) -> bool:
    """Whether this process holds the lock now; no, where the system or the file system has none."""
    if not fcntl:
        return False
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    return False


@contextmanager
def replaced_folder(folder: str | os.PathLike[str], kind: str, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """A scratch folder to be filled, which takes the place of `folder` in the end.

    What was there steps aside before the last rename; `found` finds it when a kill comes between the two. A folder that
    is not empty must be one that `is_ours`; `kind` is what is saved, for errors.
    """
    target = local_path(folder)
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not is_ours(target))):
        raise C3AlignError(f"{folder} exists and is not a saved {kind} alone; choose another folder")
    with named(folder), made(target.parent):
        scratch, lock = _scratch_for(target, os.mkdir)
        try:
            yield scratch
            for path in (*scratch.rglob("*"), scratch):
                _force_to_disk(path)
            with locked(target.parent):
                _put(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            _own_scratch.discard(scratch)
            _close(lock)


def found(folder: str | os.PathLike[str]) -> Path:
    """The folder, or what stepped aside for it when a kill came between two renames."""
    path = local_path(folder)
    return _aside(path) if not path.exists() and _aside(path).exists() else path


def _put(scratch: Path, target: Path) -> None:
    aside = _aside(target)
    if target.exists():
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(target, aside)
    try:
        os.rename(scratch, target)
    except BaseException:
        if aside.exists():
            os.rename(aside, target)
        raise
    _force_to_disk(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.parent / f".{target.name}{SCRATCH}before"


def _scratch_for(target: Path, make: Callable[[Path], None], alone: bool = False) -> tuple[Path, int | None]:
    """A new scratch beside a place, and the handle whose lock says that its writer lives."""
    prefix = f".{target.name[:40]}{SCRATCH}"
    if not alone:
        _remove_left(target.parent, glob.escape(prefix))
    while True:
        scratch = target.parent / f"{prefix}{secrets.token_hex(4)}"
        make(scratch)
        handle = _handle(scratch)
        if handle is not None:
            _lock(handle, wait=True)
        if scratch.exists():  # else another writer took it for one that was left
            _own_scratch.add(scratch)
            return scratch, handle
        _close(handle)


def _handle(path: Path) -> int | None:
    with suppress(OSError):  # it is gone
        return os.open(path, os.O_RDONLY) if fcntl else None
    return None


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def clear(folder: Path) -> None:
    """Remove from a folder what writers that were killed left there."""
    _remove_left(folder, f".*{SCRATCH}")


def _remove_left(folder: Path, prefix: str) -> None:
    """Remove the scratch of writers that were killed: nobody holds its lock."""
    for path in folder.glob(prefix + "[0-9a-f]" * 8):
        handle = _handle(path)
        if handle is not None and _lock(handle, wait=False):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        _close(handle)


def _force_to_disk(path: Path) -> None:
    """A file's content, or the names in a folder where the system can force them."""
    is_folder, is_posix = path.is_dir(), os.name == "posix"
    if is_folder and not is_posix:
        return
    handle = os.open(path, os.O_RDONLY if is_posix else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (is_folder and error.errno in _NO_FSYNC):
            raise
    finally:
        os.close(handle)
