"""What a command line replaces, it names: what was learned is not made again by typing a name twice."""

from __future__ import annotations

import numpy as np
import pytest

from c3align import C3Aligner


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32) + 1
    for name, part in (("a", rows[:20]), ("b", rows[20:]), ("whole", rows)):
        np.save(f"{name}.npy", part)
        C3Aligner().fit(part).save_pretrained(name)
    np.save("one.npy", rows[:1])
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "was"),
    [
        (("fit", "a.npy", "-o", "b"), "20 text rows"),
        (("merge", "a", "b", "-o", "a"), "20 text rows"),
        (("subtract", "whole", "a", "-o", "whole"), "40 text rows"),
    ],
)
def test_another_aligner_is_named(here, call, arguments, was):
    code, _, err = call(*arguments)
    assert code == 0
    told, again = f"note: {arguments[-1]} held another aligner, of {was}, and was replaced\n", ""
    if arguments[-1] == arguments[1]:  # what a script that is run again would do once more
        what = "rows count twice" if arguments[0] == "merge" else "rows are forgotten twice"
        again = f"note: {arguments[-1]} is replaced, and is another one now: if this is run again, {what}\n"
    assert err == again + told
    assert C3Aligner.from_pretrained(arguments[-1]).statistics_


@pytest.mark.parametrize(
    "arguments", [("fit", "a.npy", "-o", "a"), ("fit", "a.npy", "-o", "new"), ("merge", "a", "b", "-o", "whole")]
)
def test_nothing_is_said_of_the_same_one(here, call, arguments):
    assert call(*arguments)[::2] == (0, "")


def test_one_row_is_one_row(here, call):
    assert call("fit", "one.npy", "-o", "c")[1] == "c: 1 text row of 8 dimensions, sigma 1.0119\n"
