"""`c3align` and `python -m c3align`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point; Ctrl-C while the command line is still being loaded ends it as later, with a word."""
    try:
        from c3align.cli import run

        sys.exit(run())
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
