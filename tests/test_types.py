"""The public face under a type checker, as a user's editor sees it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CLIENT = Path(__file__).with_name("typed_client.py")


def test_a_client_passes_and_fails_where_it_should():
    api = pytest.importorskip("mypy.api")

    found, _, _ = api.run([str(CLIENT), "--config-file", str(CLIENT.parents[1] / "pyproject.toml")])
    ours = re.findall(r"typed_client\.py:(\d+): error", found)
    expected = [str(n) for n, line in enumerate(CLIENT.read_text().splitlines(), 1) if line.endswith("# wrong")]
    assert sorted(set(ours), key=int) == expected, found
