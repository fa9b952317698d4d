"""Python code in a process of its own, forked from one that has imported what the tests do, which would take seconds.

For tests of kills, of several processes and of what another process makes of files. What must see a fresh interpreter,
or its memory, is started as one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from multiprocessing.connection import Connection

from tests.conftest import ROOT

IMPORTED = ["torch", "transformers", "c3align", "c3align.aligner", "c3align.cli", "c3align.decoders", "c3align.search"]
IMPORTED += ["faiss", "lance_namespace", "tests.tiny_lms", "tests.stores"]  # not lancedb itself, which starts a thread
COMMAND = "from c3align.__main__ import main; main()"  # `c3align` with the child's arguments


class Child:
    """`code` with `arguments`, in the folder of the checkout; what `environment` names is set for it."""

    def __init__(self, code, *arguments, **environment):
        given, self.stdin = _pipe()
        self.stdout, told = _pipe()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._keeper, theirs = multiprocessing.Pipe()
        with given, told, theirs:
            ends = [theirs.fileno(), given.fileno(), told.fileno(), self._errors.fileno()]
            socket.send_fds(_forker(), [b"!"], ends)
        self._keeper.send((code, [*map(str, arguments)], environment))
        self._pid, self._ended = self._keeper.recv(), None

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.kill()  # which has ended, unless the test failed: nobody need wait for it

    def kill(self):
        if self.wait(0) is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def wait(self, seconds):
        """How it ended; None where it has not."""
        if self._ended is None and self._keeper.poll(seconds):
            self._ended = self._keeper.recv()
        return self._ended

    def communicate(self):
        """What it prints until it ends, and its errors; sets `returncode`."""
        self.stdin.close()
        told = self.stdout.read()
        self.returncode = self.wait(None)
        self._errors.seek(0)
        return told, self._errors.read()


def _pipe():
    reader, writer = os.pipe()
    return os.fdopen(reader), os.fdopen(writer, "w")


def prepare():
    """Fork the process that children are forked from, now: what is imported later, or changed, is unknown to them."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        try:
            ours.close()
            _fork_all(theirs)
        finally:
            os._exit(0)
    theirs.close()
    _PREPARED.append(ours)


_PREPARED: list[socket.socket] = []


def _forker():
    if not _PREPARED:
        prepare()
    return _PREPARED[-1]


def _fork_all(asked):
    """Until the tests have ended, fork a process for each child that is asked for, which waits for it."""
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody need wait for those processes
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in map(int, os.listdir("/dev/fd")):  # others read what the tests' process writes, to its end
        if number not in (nothing, asked.fileno()):
            os.dup2(nothing, number)
    while ends := socket.recv_fds(asked, 1, 4)[1]:
        for name in IMPORTED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        if os.fork() == 0:
            asked.close()
            _fork_one(*map(Connection, ends))
            os._exit(0)
        for end in ends:
            os.close(end)


def _fork_one(keeper, *ends):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(*keeper.recv(), ends))
    process.start()
    for end in ends:
        end.close()
    keeper.send(process.pid)
    process.join()
    with contextlib.suppress(OSError):  # nobody waits for it
        keeper.send(process.exitcode)


def _run(code, arguments, environment, ends):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<a test>", "exec"), {"__name__": "__main__"})
