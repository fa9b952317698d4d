"""Every bit of what c3align saves, flipped: `make bits`, or `python -m tests.attacks.bits --kind aligner --step 97`.

In this process and not in the sandbox: a digest is compared before anything else of a file is believed. The metadata
of a tree of shards are left out, since nothing here reads them; ``sha256sum -c`` tells of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.honest import KINDS, SIGNED
from tests.attacks.loaders import LOADERS, warm

__all__ = ["SAVED", "accepted"]

SAVED = (*SIGNED, "tree")
UNREAD = ".parquet"


def accepted(kind: str, given: Path, step: int = 1, most: int | None = None) -> Iterator[str]:
    """The places of flips that were not refused, of every `step`-th bit, and of no more than about `most` a file."""
    paths = [given] if given.is_file() else sorted(path for path in given.rglob("*") if path.is_file())
    for path in paths:
        if path.suffix != UNREAD:
            content = path.read_bytes()
            fewer = step if most is None else max(step, 8 * len(content) // most | 1)
            for bit in range(0, 8 * len(content), fewer):
                flipped = bytearray(content)
                flipped[bit // 8] ^= 1 << bit % 8
                path.write_bytes(flipped)
                if not refused(kind, given):
                    yield f"{kind}: bit {bit} of {path.name} ({content[bit // 8 - 20 : bit // 8 + 20]!r})"
            path.write_bytes(content)
    LOADERS[kind](given)


def refused(kind: str, given: Path) -> bool:
    from c3align.errors import C3AlignError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an old file's warning is no refusal
            LOADERS[kind](given)
    except (C3AlignError, OSError) as error:
        return len(str(error).splitlines()) == 1
    except Warning:
        return False
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=SAVED, action="append")
    parser.add_argument("--step", type=int, default=1, help="flip every so manieth bit")
    asked = parser.parse_args()
    warm()
    found = []
    for kind in asked.kind or SAVED:
        for build in KINDS[kind]:
            with tempfile.TemporaryDirectory() as folder:
                given = build(Path(folder))
                passed = list(accepted(kind, given, asked.step))
            print(f"{given.name}: {len(passed)} flips were not refused", flush=True)
            found += passed
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
