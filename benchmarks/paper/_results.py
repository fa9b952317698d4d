"""Results that survive an interruption: one record for each run, appended when it is done, and tables of them."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("C3ALIGN_DATA", ROOT.parent / "shared" / "data"))


class Results:
    """A JSON file of records; a run whose key is there is not run again.

    Parameters
    ----------
    path : Path or None
        Without one, records are kept in memory.
    settings : dict
        What all runs share. A file of other settings is refused.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path = path
        self.head = {**provenance(), "settings": json.loads(json.dumps(settings, default=str))}
        self.records: list[dict[str, Any]] = []
        if path is not None and path.exists():
            before = json.loads(path.read_text())
            if before["settings"] != self.head["settings"]:
                sys.exit(f"{path} holds results of other settings; pass another --json, or remove it")
            self.head, self.records = {**self.head, "commands": before["commands"]}, before["records"]
            self.head["commands"] = list(dict.fromkeys([*before["commands"], *provenance()["commands"]]))

    def run(self, key: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The record of `key`: the one that is there, or what `measure` finds now."""
        for record in self.records:
            if all(record.get(name) == value for name, value in key.items()):
                return record
        record = {**key, **measure()}
        self.records.append(record)
        self._write()
        return record

    def _write(self) -> None:
        if self.path is None:
            return
        handle, scratch = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps({**self.head, "records": self.records}, indent=1) + "\n")
        os.chmod(scratch, 0o644)
        os.replace(scratch, self.path)


def provenance() -> dict[str, Any]:
    """What was run, and by what; without folders that only this machine has."""
    arguments = [
        str(Path(argument).relative_to(ROOT)) if argument.startswith(str(ROOT)) else argument
        for argument in sys.argv[1:]
    ]
    arguments = [os.path.basename(argument) if os.path.isabs(argument) else argument for argument in arguments]
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
    packages = ("numpy", "torch", "transformers", "scikit-learn")
    return {
        "commands": [" ".join(["python", str(name), *arguments])],
        "commit": _git("rev-parse", "--short", "HEAD"),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in packages},
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def spread(values: Iterable[float], scale: float = 1.0, digits: int = 3) -> str:
    """Mean and standard deviation over seeds."""
    found = [value * scale for value in values]
    text = f"{statistics.fmean(found):.{digits}f}"
    return f"{text} ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, as wide as what is in them."""
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [head, *rows]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
