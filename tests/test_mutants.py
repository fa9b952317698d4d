"""The mutants themselves: each has a line to change."""

from __future__ import annotations

import pytest

from tests.mutants import MUTANTS, ROOT


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in MUTANTS}))
def test_the_lines_to_change_are_there(file):
    text = (ROOT / file).read_text()
    assert not [mutant.old for mutant in MUTANTS if mutant.file == file and mutant.old not in text]
