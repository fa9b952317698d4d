"""Each attack is refused in one line, and nothing else happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import attacks, signing
from tests.attacks import __main__, loaders, sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are watched through /proc")

ATTACKS = attacks.find()
REFUSALS = ("C3AlignError", "OSError")


@pytest.fixture(scope="session")
def load():
    """Load a file in a sandboxed child: load(loader, given, folder) -> what became of it."""
    command = [sys.executable, "-m", "tests.attacks.server"]
    where = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(where)}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"  # of large pages a fork has fewer to copy
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=where, env=environment) as process:
        assert process.stdout.readline() == "ready\n"

        def asked(loader, given, folder, **options):
            line = json.dumps({"loader": loader, "given": str(given), "own": str(folder), **options})
            print(line, file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield asked
        process.stdin.close()


def n_bytes(folder):
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_runs_calls_out_or_fills_the_memory(name, load, tmp_path):
    attack = ATTACKS[name]
    given = attack.build(tmp_path)
    if attack.signs:
        signing.sign(given)
    size = n_bytes(tmp_path)
    found = load(attack.loader, given, tmp_path)
    assert found["outcome"] in ("error", "loaded"), found
    assert found["tried"] == []
    assert not (tmp_path / "ran").exists()
    assert found["megabytes"] < 10 * size / 2**20 + 200, found
    if attack.refusal:
        assert found["outcome"] == "error", "it was loaded"
    if found["outcome"] == "error":
        assert set(REFUSALS) & set(found["kinds"]), found
        assert len(found["message"].splitlines()) == 1, found
        assert found["message"].isprintable(), found
        assert re.search(attack.refusal, found["message"]), found["message"]


class TestTheSandboxItself:
    """The walls stand: what an attack would do ends in an error that the test above would see."""

    def outcome(self, load, tmp_path, code, monkeypatch=None):
        (tmp_path / "code.py").write_text(code)
        return load("code", tmp_path / "code.py", tmp_path)

    def test_a_socket_is_seen(self, load, tmp_path):
        found = self.outcome(load, tmp_path, "import socket; socket.socket()")
        assert "socket.__new__" in found["tried"][0]

    def test_a_program_is_seen(self, load, tmp_path):
        found = self.outcome(load, tmp_path, "import os; os.system('true')")
        assert "os.system" in found["tried"][0]

    def test_a_file_elsewhere_is_seen(self, load, tmp_path, tmp_path_factory):
        other = tmp_path_factory.mktemp("other") / "file"
        other.write_text("secret")
        assert str(other) in self.outcome(load, tmp_path, f"open({str(other)!r})")["tried"][0]

    def test_code_of_the_stranger_is_seen(self, load, tmp_path):
        (tmp_path / "payload.py").write_text("open('ran', 'w')")
        code = "import sys; sys.path.insert(0, '.'); import payload"
        assert "payload.py" in self.outcome(load, tmp_path, code)["tried"][0]

    def test_a_hang_and_a_gigabyte_are_seen(self, load, tmp_path):
        (tmp_path / "code.py").write_text("while True: pass")
        assert load("code", tmp_path / "code.py", tmp_path, seconds=0.5)["outcome"] == "hangs"
        assert self.outcome(load, tmp_path, "x = bytearray(b'x') * (1 << 29)")["megabytes"] > 500

    @pytest.mark.skipif(not sandbox.has_walls(), reason="this kernel has no Landlock")
    def test_compiled_code_meets_walls_too(self, load, tmp_path, tmp_path_factory):
        code = "import ctypes; ctypes.CDLL(None).socket(2, 1, 0)"
        assert self.outcome(load, tmp_path, code)["message"] == "SIGSYS"
        other = tmp_path_factory.mktemp("other") / "file"
        other.write_text("secret")
        code = f"import ctypes; assert ctypes.CDLL(None).open({str(other).encode()!r}, 0) == -1; raise OSError('no')"
        assert self.outcome(load, tmp_path, code)["message"] == "no"


def test_every_door_is_tried_and_there_are_hundreds():
    assert len(ATTACKS) > 250
    assert {attack.loader for attack in ATTACKS.values()} >= {*loaders.LOADERS} - {"code"}


def test_the_table_lists_them_as_they_are():
    assert __main__.PAGE.read_text() == __main__.table(), "run: python -m tests.attacks"
