"""The mutants themselves: each has a line to change. And the list of faults: each has its test."""

from __future__ import annotations

import re

import pytest

from tests.mutants import MUTANTS, ROOT


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in MUTANTS}))
def test_the_lines_to_change_are_there(file):
    text = (ROOT / file).read_text()
    assert not [mutant.old for mutant in MUTANTS if mutant.file == file and mutant.old not in text]


def test_the_tests_that_hold_the_faults_are_there():
    """Whole names, their classes and files, and `..._ends` of names."""
    page = (ROOT / "tests" / "FAULTS.md").read_text()
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^\s*(?:def|class) ([Tt]est\w+)", text, re.MULTILINE))
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"\btest_\w+\.py", page)) <= files
    named = set(re.findall(r"\b(?:test_|Test[A-Z])\w+\b(?!\.py)", page))
    assert len(named) > 80
    assert named <= defined
    ends = set(re.findall(r"\.\.\.(_\w+)", page))
    assert [end for end in sorted(ends) if not any(name.endswith(end) for name in defined)] == []
