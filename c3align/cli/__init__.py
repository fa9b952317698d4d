"""The command line: `c3align demo`, `embed`, `fit`, `transform`, `report`, `train-captioner`, `caption`, `draw`, ...

Results go to stdout, all else to stderr. Errors are one line that ends with the mend. Exit codes: 0 done, 1 an error
of ours, 2 wrong input or usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import Any

import typer

# a module of commands adds them to the application
from c3align.cli import _decode, _demo, _embed, _fit, _report  # noqa: F401
from c3align.cli._app import app


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {_one_line(message)}", file=sys.stderr)
        try:
            given = sys.argv[1:] if arguments is None else arguments
            code = app(given, prog_name="c3align", standalone_mode=False, obj=given)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except BrokenPipeError:  # `c3align report ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (KeyboardInterrupt, typer.Abort):
            print("interrupted; nothing half-written was kept", file=sys.stderr)
            return 130
        except Exception as error:
            return _explain(error)


def _explain(error: Exception) -> int:
    if os.environ.get("C3ALIGN_DEBUG"):
        traceback.print_exc()
    if hasattr(error, "format_message"):  # of typer: a wrong option or argument
        print(f"error: {_one_line(error.format_message())}; see c3align --help", file=sys.stderr)
        return 2
    if isinstance(error, (ValueError, TypeError, OSError)):
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    kind = type(error).__name__
    print(f"error: {kind}: {_one_line(error)}; this is our fault: report it with C3ALIGN_DEBUG=1", file=sys.stderr)
    return 1


def _one_line(message: Any) -> str:
    return " ".join(str(message).split())


def main() -> None:
    """Entry point of `c3align`."""
    sys.exit(run())
