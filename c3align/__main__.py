"""`c3align` and `python -m c3align`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point; Ctrl-C while the command line is still being loaded ends it as later, with a word."""
    # streams that a shell closed (`>&-`), before a file of ours is opened in their place
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        from c3align.cli import run

        sys.exit(run())
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
