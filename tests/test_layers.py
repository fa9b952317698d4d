"""The plan of the house: imports go downward only, never in a circle, never to another room's private names.

Modules stay small, nothing unpickles, one room prints.
"""

from __future__ import annotations

import ast
import graphlib
import re
from functools import cache
from pathlib import Path

import pytest

import c3align

PACKAGE = Path(__file__).resolve().parents[1] / "c3align"
MODULES = sorted(PACKAGE.rglob("*.py"))

# lowest first; a module imports from its own room or from lower lines
LAYERS = [
    ("_typing", "errors", "_version", "_imports", "_arguments"),
    ("ops",),
    ("io",),
    ("_exact", "_matrices", "_units"),
    ("statistics", "covariance", "cross_covariance", "noise", "sample", "merging", "geometry", "neighbours"),
    ("mappings", "_unrelated", "_odds", "_raw"),
    ("calibration",),
    (
        "_state",
        "_kinds",
    ),
    ("_discriminant", "_held_out", "_strength", "_state_tensors"),
    ("centering",),
    ("_settings", "_ingest", "nn", "persistence", "drift", "bridge"),
    ("_learn",),
    ("aligner",),
    ("_halves",),
    ("_judging",),
    ("choosing", "training"),
    ("shards", "search", "export", "report", "datasets", "encoders", "decoders"),
    ("embed", "pipeline", "_pipeline_files", "distributed", "hub", "published"),
    ("cli", "__main__"),
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
OPTIONAL, COMMANDS = LEVEL["encoders"], LEVEL["cli"]
MOST_LINES, MOST_OF_A_CLASS = 350, 450  # a file that holds one documented class may be longer, rather than be cut
PRINTING = ("cli",)


def room_of(path):
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


parsed = cache(ast.parse)


@cache
def nodes_of(tree):
    return tuple(ast.walk(tree))


def imported_names(tree):
    """Every name of c3align that a module imports anywhere, as (module, name); name is "" for a whole module."""
    for node in nodes_of(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            if node.module.split(".")[0] == "c3align":
                yield from ((node.module.removeprefix("c3align").lstrip("."), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name.removeprefix("c3align."), "") for a in node.names if a.name.startswith("c3align."))


def imported_rooms(tree):
    """Rooms of c3align that a module imports anywhere, in functions and for type checking too."""
    return [(module or name).split(".")[0] for module, name in imported_names(tree)]


def name_of(path):
    """What a file is imported as, less the "c3align"."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


FILES = {name_of(path) for path in MODULES}


def without_types(tree):
    """The module less what it imports for type checking alone, which never runs."""
    body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    return ast.Module(body, tree.type_ignores)


def imported_files(tree):
    """Files that the names come from; those of the face (`from c3align import C3Aligner`) from their homes."""
    for module, name in imported_names(tree):
        submodule = f"{module}.{name}".strip(".")
        home = module or c3align._HOMES.get(name, "").removeprefix("c3align.")
        yield submodule if submodule in FILES else home


def circle(graph):
    """Files that import each other, the first also last; none if there is no such circle."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def borrowed(room, tree):
    """Private modules and names of other rooms that a module imports."""
    for module, name in imported_names(tree):
        parts = f"{module}.{name}".strip(".").split(".")
        private = [part.startswith("_") and not part.startswith("__") for part in parts]
        if parts[0] != room and any(private[1:]):
            yield f"{room}: {'.'.join(parts[: 2 + private[1:].index(True)])}"


def holds_one_class(tree):
    return sum(isinstance(node, ast.ClassDef) for node in tree.body) == 1


def offences(path, source):
    room, tree = room_of(path), parsed(source)
    if room == "__init__":
        return []
    found = []
    for other in imported_rooms(tree):
        if LEVEL[room] == COMMANDS and other in ("__version__", "C3Aligner", "Pipeline"):
            continue
        if other == room or LEVEL[other] < LEVEL[room] or (LEVEL[other] == LEVEL[room] != OPTIONAL):
            continue
        found.append(f"{path.name} imports {other}")
    for node in nodes_of(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and node.end_lineno - node.body[0].lineno + 1 > 60:
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


def test_no_files_import_in_a_circle():
    trees = {name_of(path): without_types(parsed(path.read_text())) for path in MODULES if name_of(path)}
    graph = {name: {other for other in imported_files(tree) if other and other != name} for name, tree in trees.items()}
    assert circle(graph) == []


def test_no_room_imports_what_is_private_to_another():
    found = {entry for path in MODULES for entry in borrowed(room_of(path), parsed(path.read_text()))}
    assert sorted(found) == []


def test_circles_and_borrowers_are_seen():
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == set("abc")
    assert circle({"a": {"b"}, "b": set()}) == []
    tree = ast.parse("def f():\n    from c3align.ops import _checks\n    from c3align.geometry._gap import MeanStd")
    assert sorted(borrowed("report", tree)) == ["report: geometry._gap", "report: ops._checks"]
    assert sorted(borrowed("geometry", tree)) == ["geometry: ops._checks"]
    assert list(imported_files(tree)) == ["ops._checks", "geometry._gap"]
    assert list(imported_files(ast.parse("from c3align import C3Aligner, ops"))) == ["aligner", "ops"]


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
