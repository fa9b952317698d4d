"""The plan of the house: imports go downward only, rooms stay small, nothing unpickles, one room prints."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "c3align"
MODULES = sorted(PACKAGE.rglob("*.py"))

# lowest first; a module imports from its own room or from lower lines
LAYERS = [
    ("_typing", "errors", "_version", "_imports"),
    ("ops",),
    ("io",),
    ("statistics", "covariance", "noise", "mappings", "geometry", "gap", "neighbours"),
    ("_state",),
    ("_discriminant",),
    ("centering",),
    ("_settings", "_ingest", "nn", "persistence"),
    ("aligner",),
    ("training",),
    ("shards", "search", "report", "datasets", "encoders", "decoders", "scores"),
    ("embed", "pipeline", "_pipeline_files", "distributed"),
    ("cli", "_demo", "__main__"),
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
OPTIONAL, COMMANDS = LEVEL["encoders"], LEVEL["cli"]
MOST_LINES, MOST_OF_A_CLASS = 350, 450  # a file that holds one documented class may be longer, rather than be cut
PRINTING = ("cli", "_demo")


def room_of(path):
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imported_rooms(tree):
    """Rooms of c3align that a module imports anywhere, in functions and for type checking too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "c3align":
            assert node.level == 0
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [a.name.split(".")[1] for a in node.names if a.name.startswith("c3align.")]


def holds_one_class(tree):
    return sum(isinstance(node, ast.ClassDef) for node in tree.body) == 1


def offences(path, source):
    room, tree = room_of(path), ast.parse(source)
    if room == "__init__":
        return []
    found = []
    for other in imported_rooms(tree):
        if LEVEL[room] == COMMANDS and other in ("__version__", "C3Aligner", "Pipeline"):
            continue
        if other == room or LEVEL[other] < LEVEL[room] or (LEVEL[other] == LEVEL[room] != OPTIONAL):
            continue
        found.append(f"{path.name} imports {other}")
    for node in ast.walk(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and node.end_lineno - node.body[0].lineno > 60:
            found.append(f"{path.name}:{node.lineno} {node.name} is longer than 60 lines")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print" and room not in PRINTING:
            found.append(f"{path.name}:{node.lineno} prints")
    most = MOST_OF_A_CLASS if holds_one_class(tree) else MOST_LINES
    if source.count("\n") > most:
        found.append(f"{path.name} is longer than {most} lines")
    if re.search(r"import (c?pickle|cloudpickle|joblib|marshal|dill)|(?<![.\w])(eval|exec)\(", source):
        found.append(f"{path.name} could run what it loads")
    if re.search(r"np\.load\((?![^)]*allow_pickle=False)", source) or "weights_only=False" in source:
        found.append(f"{path.name} loads arrays without allow_pickle=False")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_plan_of_the_house(path):
    assert offences(path, path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from c3align.aligner import C3Aligner",
        "def f():\n    from c3align import report",
        "import c3align.cli",
        "import pickle",
        "x = eval('1')",
        "np.load(path)",
        "print(1)",
        "def f():\n" + "    x = 1\n" * 70,
        "\n" * 351,
    ],
)
def test_the_plan_can_be_broken(source):
    assert offences(PACKAGE / "noise.py", source)


def test_every_room_is_on_the_plan():
    assert {room_of(path) for path in MODULES} - {"__init__"} <= set(LEVEL)
