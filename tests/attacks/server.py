"""Loads hostile files, each in a child of its own: `python -m tests.attacks.server`, one JSON line for each in and out.

The libraries are imported once; a child is a fork, so that a crash, a hang or a gigabyte is the child's alone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tests.attacks import loaders, sandbox

SECONDS = 10
REPOSITORY = Path(__file__).resolve().parents[2]


def loaded(loader: str, given: str, own: str, seconds: float = SECONDS) -> dict[str, Any]:
    """What became of a file: "error" with its type and message, "loaded", "killed" or "hangs"."""
    reader, writer = os.pipe()
    begin = time.monotonic()
    child = os.fork()
    if not child:
        os.close(reader)
        _load(loader, Path(given), Path(own), writer)
    os.close(writer)
    told, is_over = _told(reader, seconds)
    os.close(reader)
    if not is_over:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    found = {"seconds": time.monotonic() - begin}
    if not is_over:
        return {**found, "outcome": "hangs"}
    if not told:
        end = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
        return {**found, "outcome": "killed", "message": end}
    return {**found, **json.loads(told)}


def _told(reader: int, seconds: float) -> tuple[bytes, bool]:
    """What the child wrote, and whether it ended in time."""
    told, end = b"", time.monotonic() + seconds
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(reader, 1 << 16)
        if not part:
            return told, True
        told += part
    return told, False


def _load(loader: str, given: Path, own: Path, writer: int) -> None:
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    os.chdir(own)
    before = _resident("VmRSS")
    tried = sandbox.enter(own, REPOSITORY)
    found: dict[str, Any] = {"outcome": "loaded"}
    try:
        with warnings.catch_warnings(record=True):
            loaders.LOADERS[loader](given)
    except BaseException as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        found = {"outcome": "error", "kinds": kinds, "message": str(error)}
    found |= {"tried": tried, "megabytes": (_resident("VmHWM") - before) / 1024}
    os.write(writer, json.dumps(found).encode())
    os._exit(0)


def _resident(what: str) -> int:
    """Memory of this process in kB, now or at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


def main() -> None:
    loaders.warm()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(loaded(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
