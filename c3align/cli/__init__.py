"""The command line: `c3align demo`, `embed`, `fit`, `transform`, `choose`, `report`, `caption`, `draw`, ...

Results go to stdout, all else to stderr. Errors are one line that ends with the fix. Exit codes: 0 done, 1 a bug,
2 wrong input or usage, 3 `check` found something, 130 interrupted, 141 nobody reads on, 143 and 129 ended by SIGTERM
and SIGHUP.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
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
    ALONE: "fit each without --pair under its --modality, and c3align merge the two",
    PAIRED: "fit them by c3align fit --pair --second-moments, and pass the aligner as --aligner; else ignore this",
    "fit C3Aligner(second_moments=True) on them, or run c3align fit": "run c3align fit",
    "fit C3Aligner(second_moments=True)": "run c3align fit --second-moments",
    "C3Aligner(second_moments=True)": "c3align fit --second-moments",
    "second_moments=True": "--second-moments",
}
# a whole call; or an argument and its value, if there is one, but not a folder's name such as modality=image/0.parquet
_ARGUMENT = re.compile(r"\w\([^)]*\)|(?<![\w./-])(\w+)=('[^']*'|[\w-]+(?:\.\d+)?)?(?=[\s,;:)]|\.?$|\.\s)")


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
    given = sys.argv[1:] if arguments is None else arguments
    with warnings.catch_warnings(), _signals():
        warnings.showwarning = lambda message, *_, **__: tell("warning", _as_command(message, given))
        _write_any_text()
        try:
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
            return _explain(error, given)


@functools.cache
def _commands() -> Any:
    """Built once: a call of `app` builds all of them anew, which takes longer than many a command."""
    return typer.main.get_command(app)


def _as_command(message: object, given: list[str]) -> str:
    """One line, with the options of the given command in place of Python's arguments."""
    text = one_line(message)
    for call, command in _COMMAND_FOR.items():
        text = text.replace(call, command)
    running = _commands().commands.get(given[0]) if given else None
    options = {option for parameter in getattr(running, "params", ()) for option in parameter.opts}

    def option_for(found: re.Match[str]) -> str:
        option = f"--{(found[1] or '').replace('_', '-')}"
        if option not in options or any(found[0] in argument for argument in given):
            return found[0]
        value = (found[2] or "True").strip("'")
        return option if value == "True" else f"{option} {shlex.quote(value)}"

    return _ARGUMENT.sub(option_for, text)


def _write_any_text() -> None:
    """Characters that a terminal's encoding lacks are written as escapes, rather than ending a command."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _unread() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try again at its end
    return UNREAD


def _explain(error: Exception, given: list[str]) -> int:
    if os.environ.get("C3ALIGN_DEBUG"):
        traceback.print_exc()
    if hasattr(error, "format_message"):  # of typer: a wrong option or argument
        command = getattr(getattr(error, "ctx", None), "command_path", "c3align")
        tell("error", f"{one_line(error.format_message())}; see {command} --help")
        return 2
    if isinstance(error, (ValueError, TypeError, OSError, Warning)):  # the last under PYTHONWARNINGS=error
        tell("error", _as_command(error, given))
        return 2
    kind = type(error).__name__
    advice = "this is a bug; please report it with the output of C3ALIGN_DEBUG=1"
    tell("error", f"{kind}: {one_line(error)}; {advice}")
    return 1
