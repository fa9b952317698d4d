"""Public docstrings are whole: numpydoc's validation of every public name.

Parameters in the order of the signature, each with a type and a description; what is returned or yielded; a summary
that is one line and a sentence. Examples, "See Also" and extended summaries are left to judgment. A method that does
what a public protocol says may point there, "See `Mapping.solve`.", and says no more.
"""

from __future__ import annotations

import doctest
import importlib.util
import inspect
from functools import cached_property

import pytest

validate = pytest.importorskip("numpydoc.validate", reason="numpydoc is not installed; `make test` does it").validate

ROOMS = [
    "",
    "bridge",
    "calibration",
    "choosing",
    "covariance",
    "cross_covariance",
    "datasets",
    "decoders",
    "drift",
    "encoders",
    "errors",
    "export",
]
ROOMS += ["geometry", "mappings", "merging", "neighbours", "nn", "noise", "ops", "persistence", "pipeline", "report"]
ROOMS += ["hub", "published", "sample", "search", "statistics", "distributed"]
if importlib.util.find_spec("ray"):
    ROOMS += ["distributed.ray"]
EXEMPT = {"EX01", "SA01", "ES01"}
INNER = {"offset_for", "on_covariance", "rounded", "turned", "vectors_for"}  # of RowAffine, for c3align's own rooms
METHODS = (classmethod, staticmethod, property, cached_property)


def documented(room):
    """A room's public functions and classes, and their public methods and properties that c3align defines."""
    module = importlib.import_module(f"c3align.{room}".rstrip("."))
    for name in module.__all__:
        item = getattr(module, name)
        if inspect.isfunction(item) or inspect.isclass(item):
            yield f"{module.__name__}.{name}", item
        if inspect.isclass(item):
            ours = [base for base in item.__mro__ if base.__module__.startswith("c3align")]
            members = {member: value for base in reversed(ours) for member, value in vars(base).items()}
            for member, value in members.items():
                is_public = not member.startswith("_") and member not in INNER
                if is_public and (inspect.isfunction(value) or isinstance(value, METHODS)):
                    yield f"{module.__name__}.{name}.{member}", value


def faults(room):
    """What numpydoc says about each name; a protocol's signature is not its own, and what it says may be pointed to."""
    items = dict(documented(room))
    protocols = {item.__name__: item for item in items.values() if getattr(item, "_is_protocol", False)}
    for name, item in items.items():
        *_, owner, member = name.split(".")
        pointers = {f"See `{protocol}.{member}`." for protocol in protocols if hasattr(protocols[protocol], member)}
        if owner not in protocols and item.__doc__ in pointers:
            continue
        exempt = EXEMPT | {"PR01"} if member in protocols else EXEMPT
        yield from (f"{name}: {code} {text}" for code, text in validate(name)["errors"] if code not in exempt)


@pytest.mark.parametrize("room", ROOMS)
def test_numpydoc_finds_no_fault_with_public_docstrings(room):
    assert not list(faults(room))


def test_examples_print_what_they_say():
    items = [item for room in ROOMS for _, item in documented(room)]
    homes = {item.__module__ for item in items if inspect.isclass(item) or inspect.isfunction(item)}
    assert [home for home in sorted(homes) if doctest.testmod(importlib.import_module(home)).failed] == []
