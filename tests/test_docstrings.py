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
from pathlib import Path

import pytest

import c3align
from tests import tiny_encoders

validate = pytest.importorskip("numpydoc.validate", reason="numpydoc is not installed; `make test` does it").validate

PACKAGE = Path(c3align.__file__).parent
ROOMS = ["", *c3align._ROOMS]
if importlib.util.find_spec("ray"):
    ROOMS += ["distributed.ray"]
EXEMPT = {"EX01", "SA01", "ES01"}
INNER = {"offset_for", "on_covariance", "rounded", "turned", "vectors_for"}  # of RowAffine, for c3align's own rooms
METHODS = (classmethod, staticmethod, property, cached_property)


def documented(room):
    """A room's public functions and classes, and their public methods and properties that c3align defines."""
    module = importlib.import_module(f"c3align.{room}".rstrip("."))
    for name in getattr(module, "__all__", ()):
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


@pytest.fixture(autouse=True, scope="module")
def torchvision():
    tiny_encoders.import_torchvision()


@pytest.mark.parametrize("room", ROOMS)
def test_numpydoc_finds_no_fault_with_public_docstrings(room):
    assert not list(faults(room))


def test_examples_print_what_they_say():
    """In every file that holds any."""
    files = [path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text()]
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files]
    tried = {name: doctest.testmod(importlib.import_module(name.removesuffix(".__init__"))) for name in names}
    assert [name for name, found in tried.items() if found.failed] == []
    assert sum(found.attempted for found in tried.values()) > 80
