"""The command line: `c3align demo`, `embed`, `fit`, `transform`, `choose`, `report`, `caption`, `draw`, ...

Results go to stdout, all else to stderr. Errors are one line that ends with the fix. Exit codes: 0 done, 1 a bug,
2 wrong input or usage, 3 `check` found something, 130 interrupted, 143 and 129 ended by SIGTERM and SIGHUP.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

# a module of commands adds them to the application
from c3align.cli import _check, _choose, _decode, _demo, _embed, _fit, _index, _merge, _migrate, _report  # noqa: F401
from c3align.cli._app import app
from c3align.errors import one_line

INTERRUPTED = 130


class _Stopped(BaseException):
    """A signal that ends the process: an exception, so that what is half-written is removed on the way out."""


@contextmanager
def _signals() -> Iterator[None]:
    def stop(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise _Stopped(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    here = threading.current_thread() is threading.main_thread()
    # what is ignored, as under nohup, stays ignored
    ours = [number for number in numbers if here and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    with warnings.catch_warnings(), _signals():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {one_line(message)}", file=sys.stderr)
        try:
            given = sys.argv[1:] if arguments is None else arguments
            code = app(given or ["--help"], prog_name="c3align", standalone_mode=False, obj=given)
            sys.stdout.flush()
            if code == INTERRUPTED:  # which newer typer makes of Ctrl-C
                raise KeyboardInterrupt
            return code if isinstance(code, int) else 0
        except BrokenPipeError:  # `c3align report ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (KeyboardInterrupt, typer.Abort):
            print("interrupted; nothing half-written was kept", file=sys.stderr)
            return INTERRUPTED
        except _Stopped as stopped:
            name = signal.Signals(stopped.args[0]).name
            print(f"stopped by {name}; nothing half-written was kept", file=sys.stderr)
            return 128 + int(stopped.args[0])
        except Exception as error:
            return _explain(error)


def _explain(error: Exception) -> int:
    if os.environ.get("C3ALIGN_DEBUG"):
        traceback.print_exc()
    if hasattr(error, "format_message"):  # of typer: a wrong option or argument
        command = getattr(getattr(error, "ctx", None), "command_path", "c3align")
        print(f"error: {one_line(error.format_message())}; see {command} --help", file=sys.stderr)
        return 2
    if isinstance(error, (ValueError, TypeError, OSError)):
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    kind = type(error).__name__
    advice = "this is a bug; please report it with the output of C3ALIGN_DEBUG=1"
    print(f"error: {kind}: {one_line(error)}; {advice}", file=sys.stderr)
    return 1


def main() -> None:
    """Entry point of `c3align`."""
    sys.exit(run())
