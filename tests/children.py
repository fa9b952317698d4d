"""Python code in a process of its own, forked from one that has imported torch, which would take seconds.

For tests of kills, of several processes and of what another process makes of files. What must see a fresh interpreter,
or its memory, is started as one.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from multiprocessing.connection import Connection

from tests.conftest import ROOT

COMMAND = "from c3align.__main__ import main; main()"  # `c3align` with the child's arguments
CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = ["torch", "transformers", "c3align", "c3align.aligner", "c3align.cli", "c3align.decoders", "c3align.search"]
IMPORTED += ["faiss", "lance_namespace", "tests.tiny_lms", "tests.stores"]  # not lancedb itself, which starts a thread
CONTEXT.set_forkserver_preload(IMPORTED)  # those that are there


class Child:
    """`code` with `arguments`, in the folder of the checkout; what `environment` names is set for it."""

    def __init__(self, code, *arguments, **environment):
        given, self.stdin = _pipe()
        self.stdout, told = _pipe()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        ends = [Connection(os.dup(file.fileno())) for file in (given, told, self._errors)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._process = CONTEXT.Process(target=_run, args=(code, [*map(str, arguments)], environment, ends))
        self._process.start()
        for end in (given, told, *ends):
            end.close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.kill()  # which has ended, unless the test failed: nobody need wait for it

    def kill(self):
        self._process.kill()

    def wait(self, seconds):
        """How it ended; None where it has not."""
        self._process.join(seconds)
        return self._process.exitcode

    def communicate(self):
        """What it prints until it ends, and its errors; sets `returncode`."""
        self.stdin.close()
        told = self.stdout.read()
        self._process.join()
        self.returncode = self._process.exitcode
        self._errors.seek(0)
        return told, self._errors.read()


def _pipe():
    reader, writer = os.pipe()
    return os.fdopen(reader), os.fdopen(writer, "w")


def _run(code, arguments, environment, ends):
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<a test>", "exec"), {"__name__": "__main__"})
