"""A run over many files, started again: what is there is compared, touched files are known, one run at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from c3align import C3Aligner, cli
from c3align.cli import _learning
from c3align.io import atomic

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "transform": ("--modality", "text"),
    "corrupt": ("--modality", "text"),
    "translate": ("--from", "text", "--to", "image"),
}


def run(*arguments):
    return cli.run([*map(str, arguments)])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder `e` of three files, and `al`, fitted on their rows and partners."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(1, 1, (30, 12)).astype(np.float32)
    Path("e").mkdir()
    for i in range(3):
        np.save(f"e/x_{i}.npy", rows[10 * i : 10 * i + 10])
    C3Aligner().fit(rows, rows + 1).save_pretrained("al")
    return rows


def parquet(folder):
    """The same rows as files of another kind."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    Path(folder).mkdir()
    for path in sorted(Path("e").iterdir()):
        pq.write_table(pa.table({"v": list(np.load(path))}), f"{folder}/{path.stem}.parquet")
    return folder


def flip(path, place=-5):
    content = bytearray(Path(path).read_bytes())
    content[place] ^= 4
    Path(path).write_bytes(bytes(content))


def touch(path):
    os.utime(path, ns=(1, 1))


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.suffix != ".jsonl"}


class TestCompared:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_flipped_bit_is_written_again(self, here, capsys, command):
        asked = (command, "e", "-a", "al", "-o", "out", *COMMANDS[command])
        assert run(*asked) == 0
        whole = contents("out")
        flip("out/x_1.npy")
        capsys.readouterr()
        assert run(*asked) == 0
        assert contents("out") == whole
        assert "; 1 damaged or absent file written again" in capsys.readouterr().out

    def test_of_a_parquet_too(self, here, capsys):
        asked = ("transform", parquet("p"), "-a", "al", "-o", "out", "--modality", "text")
        assert run(*asked) == 0
        whole = contents("out")
        flip("out/x_1.parquet", 40)
        assert run(*asked) == 0
        assert contents("out") == whole

    def test_a_finished_run_says_so(self, here, capsys):
        asked = ("transform", "e", "-a", "al", "-o", "out", "--modality", "text")
        assert run(*asked) == 0
        assert "complete" not in capsys.readouterr().out
        assert run(*asked) == 0
        expected = "out: already complete: 30 rows in 3 files, the same as were written\n"
        assert capsys.readouterr().out == expected


class TestTouched:
    @pytest.mark.parametrize("kind", ["npy", "parquet"])
    def test_of_a_tree(self, here, capsys, kind):
        folder = "e" if kind == "npy" else parquet("p")
        asked = ("transform", folder, "-a", "al", "-o", "out", "--modality", "text")
        assert run(*asked) == 0
        os.remove(f"out/x_2.{kind}")
        touch(f"{folder}/x_0.{kind}")
        touch(f"{folder}/x_1.{kind}")
        before = os.stat(f"out/x_0.{kind}").st_mtime_ns
        assert run(*asked) == 0
        assert "2 files have a new time and their old content" in capsys.readouterr().out
        assert os.stat(f"out/x_0.{kind}").st_mtime_ns == before
        assert run(*asked) == 0
        assert "a new time" not in capsys.readouterr().out
        flip(f"{folder}/x_0.{kind}", 150 if kind == "npy" else 40)  # as long, and the same in no other way
        assert run(*asked) == 2
        assert f"x_0.{kind} was changed since it was read for" in capsys.readouterr().err

    def test_a_change_between_the_pieces_that_are_looked_at(self, here, capsys):
        rows = np.random.default_rng(0).normal(1, 1, (20_000, 12)).astype(np.float32)
        np.save("e/x_1.npy", rows)
        asked = ("transform", "e", "-a", "al", "-o", "out", "--modality", "text")
        assert run(*asked) == 0
        rows[1000, 0] += 1
        np.save("e/x_1.npy", rows)
        assert run(*asked) == 2
        assert "x_1.npy was changed since" in capsys.readouterr().err

    def test_of_what_was_learned(self, here, monkeypatch, capsys):
        monkeypatch.setattr(_learning, "BLOCKS", 1e-9)
        assert run("fit", "e", "-o", "whole") == 0
        real, done = C3Aligner.partial_fit, []

        def partial_fit(self, X, y=None, **how):
            done.append(len(X))
            if sum(done) == 25:
                raise KeyboardInterrupt
            return real(self, X, y, **how)

        monkeypatch.setattr(C3Aligner, "partial_fit", partial_fit)
        assert run("fit", "e", "-o", "out") == 130
        touch("e/x_0.npy")
        capsys.readouterr()
        assert run("fit", "e", "-o", "out") == 2
        assert "x_0.npy was changed since it was read for" in capsys.readouterr().err
        assert run("fit", "e", "-o", "out", "--changed", "redo") == 0
        assert Path("out/aligner.safetensors").read_bytes() == Path("whole/aligner.safetensors").read_bytes()
        assert sum(done) == 25 + 30

    def test_a_file_that_is_no_checkpoint_is_not_to_be_deleted(self, here, capsys):
        """The advice was to delete the user's own rows."""
        before = Path("e/x_0.npy").read_bytes()
        assert run("fit", "e", "-o", "out", "--checkpoint", "e/x_0.npy") == 2
        err = capsys.readouterr().err
        assert "x_0.npy is no whole checkpoint of c3align fit; pass another name as --checkpoint" in err
        assert "delete" not in err
        Path("b.safetensors").write_bytes(Path("al/aligner.safetensors").read_bytes())
        assert run("fit", "e", "-o", "out", "--checkpoint", "b.safetensors") == 2
        assert "b.safetensors is no whole checkpoint" in capsys.readouterr().err
        assert Path("e/x_0.npy").read_bytes() == before

    def test_a_list_of_another_run_is_not_to_be_deleted(self, here, capsys):
        """Without it the folder is one of rows of another time, which the command refuses."""
        act = ("transform", "e", "-a", "al", "-o", "out")
        assert run(*act, "--modality", "text") == 0
        capsys.readouterr()
        assert run(*act, "--modality", "batch") == 2
        assert capsys.readouterr().err.endswith("go on as before, or pass another folder as --output\n")


def test_of_several_aligners_the_damaged_one_is_named(here, capsys):
    for name in ("a", "b", "c"):
        assert run("fit", "e", "-o", name) == 0
    flip("b/aligner.safetensors")
    capsys.readouterr()
    assert run("merge", "a", "b", "c", "-o", "out") == 2
    assert "b/aligner.safetensors: not a whole c3align aligner: it is damaged" in capsys.readouterr().err


HOLDS = """
import sys
from pathlib import Path
from c3align.io import atomic
with atomic.alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held():
    """Let another process write to a place, until it is told to end."""
    children = []

    def hold(place):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen([sys.executable, "-c", HOLDS, str(place)], cwd=ROOT, **pipes))
        assert children[-1].stdout.readline() == "held\n"
        return children[-1]

    yield hold
    for child in children:
        child.kill()
        child.communicate()


@pytest.mark.skipif(os.name != "posix", reason="without such locks")
class TestAlone:
    @pytest.mark.parametrize(
        ("arguments", "place"),
        [
            *(((name, "e", "-a", "al", "-o", "out", *more), "out") for name, more in COMMANDS.items()),
            (("fit", "e", "-o", "out"), "out.checkpoint"),
            (("embed", "t.txt", "--encoder", "glyphs", "--modality", "text", "-o", "out"), "out"),
        ],
    )
    def test_a_second_run_is_refused_until_the_first_has_ended(self, here, held, capsys, tmp_path, arguments, place):
        Path("t.txt").write_text("one\ntwo\n")
        if place == "out":
            Path("out").mkdir()
        child = held(tmp_path / place)
        assert run(*arguments) == 2
        err = capsys.readouterr().err
        assert "is being written by another run; wait until that has ended, or choose another place" in err
        child.kill()
        child.wait()
        assert run(*arguments) == 0
        assert not list(Path().rglob(f"*{atomic.SCRATCH}*"))

    def test_a_lock_that_its_holder_removed_meanwhile_is_none(self, tmp_path, monkeypatch):
        """Between the opening of its file and the locking of that."""
        fcntl = pytest.importorskip("fcntl")
        real, lock, locked = fcntl.flock, tmp_path / f".x{atomic.SCRATCH}lock", []

        def flock(handle, how):
            if not locked:
                lock.unlink()
            locked.append(handle)
            real(handle, how)

        monkeypatch.setattr(fcntl, "flock", flock)
        with atomic.alone(tmp_path / "x"):
            assert lock.exists()
            assert len(locked) == 2
        assert not lock.exists()

    def test_many_at_once_are_one_after_another(self, tmp_path):
        """Each adds one to a number in a file; those that are refused try again."""
        program = (
            "import sys, time; from pathlib import Path; from c3align.io import atomic\n"
            "place = Path(sys.argv[1])\n"
            "for _ in range(20):\n"
            "    while True:\n"
            "        try:\n"
            "            with atomic.alone(place / 'x'):\n"
            "                n = int((place / 'n').read_text())\n"
            "                (place / 'n').write_text(str(n + 1))\n"
            "            break\n"
            "        except ValueError:\n"
            "            time.sleep(0.001)\n"
        )
        (tmp_path / "n").write_text("0")
        command = [sys.executable, "-c", program, str(tmp_path)]
        children = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
        assert [child.wait() for child in children] == [0, 0, 0]
        assert (tmp_path / "n").read_text() == "60"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["n"]
