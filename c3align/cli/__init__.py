"""The command line: `c3align demo`, `embed`, `fit`, `transform`, `choose`, `report`, `caption`, `draw`, ...

Results go to stdout, all else to stderr. Errors are one line that ends with the fix. Exit codes: 0 done, 1 a bug,
2 wrong input or usage, 3 `check` found something, 130 interrupted, 141 nobody reads on, 143 and 129 ended by SIGTERM
and SIGHUP.
"""

from __future__ import annotations

import functools
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
from c3align.cli import (  # noqa: F401
    _check,
    _choose,
    _decode,
    _demo,
    _embed,
    _fit,
    _index,
    _merge,
    _migrate,
    _report,
    _serve,
    _transform,
)
from c3align.cli._app import app, tell
from c3align.errors import ALONE, PAIRED, one_line

INTERRUPTED, UNREAD = 130, 141
_KEPT = "nothing half-written was kept; the same command again goes on or begins anew"
# what messages advise in Python, the longest first, and what a command line has for it
_COMMAND_FOR = {
    "fit C3Aligner(second_moments=True) on them, or run c3align fit": "run c3align fit",
    "fit C3Aligner(second_moments=True)": "run c3align fit --second-moments",
    "C3Aligner(second_moments=True)": "c3align fit --second-moments",
    "second_moments=True": "--second-moments",
}


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
        warnings.showwarning = _told
        _write_any_text()
        try:
            given = sys.argv[1:] if arguments is None else arguments
            code = _commands()(given or ["--help"], prog_name="c3align", standalone_mode=False, obj=given)
            sys.stdout.flush()
            if code == INTERRUPTED:  # which newer typer makes of Ctrl-C
                raise KeyboardInterrupt
            return code if isinstance(code, int) else 0
        except BrokenPipeError:  # `c3align report ... | head`
            return _unread()
        except SystemExit as ended:  # which typer makes of it
            if isinstance(ended.__context__, BrokenPipeError):
                return _unread()
            raise
        except (KeyboardInterrupt, typer.Abort):
            print(f"interrupted; {_KEPT}", file=sys.stderr)
            return INTERRUPTED
        except _Stopped as stopped:
            name = signal.Signals(stopped.args[0]).name
            print(f"stopped by {name}; {_KEPT}", file=sys.stderr)
            return 128 + int(stopped.args[0])
        except Exception as error:
            return _explain(error)


@functools.cache
def _commands() -> Any:
    """Built once: a call of `app` builds all of them anew, which takes longer than many a command."""
    return typer.main.get_command(app)


def _told(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning, with a command where it advises a call of Python's."""
    text = str(message).replace(ALONE, "fit each without --pair under its --modality, and c3align merge the two")
    pairs = "fit them by c3align fit --pair --second-moments, and pass the aligner as --aligner; else ignore this"
    text = text.replace(PAIRED, pairs)
    tell("warning", _as_command(text))


def _as_command(message: object) -> str:
    """One line, with the option of a command in place of Python's."""
    text = one_line(message)
    for call, command in _COMMAND_FOR.items():
        text = text.replace(call, command)
    return text


def _write_any_text() -> None:
    """Characters that a terminal's encoding lacks are written as escapes, rather than ending a command."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _unread() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try again at its end
    return UNREAD


def _explain(error: Exception) -> int:
    if os.environ.get("C3ALIGN_DEBUG"):
        traceback.print_exc()
    if hasattr(error, "format_message"):  # of typer: a wrong option or argument
        command = getattr(getattr(error, "ctx", None), "command_path", "c3align")
        tell("error", f"{one_line(error.format_message())}; see {command} --help")
        return 2
    if isinstance(error, (ValueError, TypeError, OSError)):
        tell("error", _as_command(error))
        return 2
    kind = type(error).__name__
    advice = "this is a bug; please report it with the output of C3ALIGN_DEBUG=1"
    tell("error", f"{kind}: {one_line(error)}; {advice}")
    return 1
