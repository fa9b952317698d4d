"""Files and folders replaced whole (P7), one source of rows, and what outsiders lost by writing."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from c3align import C3Aligner, cli, ops, persistence
from c3align.errors import C3AlignError, FormatError
from c3align.io import atomic, container, shards
from c3align.io import rows as row_files
from c3align.io.patterns import NoFileError, files_of, natural
from c3align.io.rows import RowSource, write_npy
from tests.children import Child
from tests.test_ops import raw

posix = pytest.mark.skipif(os.name != "posix", reason="signals and devices of POSIX")


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(1, 1, (60, 12)).astype(np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return cli.run([*map(str, arguments)])


class Killed(BaseException):
    """As a kill: what would clean up afterwards finds nothing that still works."""


def mortal(call, count, fatal):
    """A call that works `fatal` times, all such calls together; no process is left for the later ones."""

    def step(*arguments, **options):
        count.append(1)
        if len(count) > fatal:
            raise Killed
        return call(*arguments, **options)

    return step


def killed_at_each_step(monkeypatch, act, check):
    """Run `act` again and again, killed at the first, second, ... call that changes the disk; `check` each time."""
    names = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir")
    for fatal in range(1000):
        count = []
        with monkeypatch.context() as patch:
            for name in names:
                patch.setattr(os, name, mortal(getattr(os, name), count, fatal))
            try:
                act()
            except Killed:
                pass
            else:
                return fatal
        check()
    raise AssertionError("it never ends")


class TestKills:
    def test_an_aligner_loads_after_a_kill_at_any_step(self, rows, tmp_path, monkeypatch):
        old, new = C3Aligner(seed=1).fit(rows), C3Aligner(seed=2, sigma=0.5).fit(-rows)
        folder = tmp_path / "a"
        old.save_pretrained(folder)
        seen = set()

        def check():
            found = C3Aligner.from_pretrained(folder)
            seen.add(found.seed)
            assert found.statistics_ == {1: old, 2: new}[found.seed].statistics_
            shutil.rmtree(folder)
            old.save_pretrained(folder)

        assert killed_at_each_step(monkeypatch, lambda: new.save_pretrained(folder), check) > 5
        assert seen == {1, 2}
        assert C3Aligner.from_pretrained(folder).seed == 2

    def test_a_folder_is_found_after_a_kill_at_any_step(self, tmp_path, monkeypatch):
        def fill(text):
            with atomic.replaced_folder(tmp_path / "f", "thing", lambda folder: True) as scratch:
                (scratch / "a").write_text(text)
                (scratch / "b").write_text(text)

        def check():
            folder = atomic.found(tmp_path / "f")
            assert {(folder / name).read_text() for name in "ab"} in ({"old"}, {"new"})
            shutil.rmtree(folder)
            shutil.rmtree(atomic.found(tmp_path / "f"), ignore_errors=True)
            fill("old")

        fill("old")
        assert killed_at_each_step(monkeypatch, lambda: fill("new"), check) > 5
        assert (tmp_path / "f" / "a").read_text() == "new"

    @posix
    def test_real_kills(self, rows, tmp_path):
        """A process saves over and over, and is killed at a moment that chance chooses."""
        np.save(tmp_path / "x.npy", rows)
        code = (
            f"import itertools, os, numpy as np; from c3align import C3Aligner; os.chdir({str(tmp_path)!r})\n"
            "x = np.load('x.npy')\n"
            "made = [C3Aligner(seed=i).fit(x * (1 - 2 * i)) for i in range(2)]\n"
            "for _ in range(6):\n"  # forks, so that all this is imported once
            "    pid = os.fork()\n"
            "    if not pid:\n"
            "        for i in itertools.count(): made[i % 2].save_pretrained('a')\n"
            "    print(pid, flush=True)\n"
            "    os.waitpid(pid, 0)\n"
            "    print('gone', flush=True)\n"
            "    input()\n"
        )
        chance = random.Random(0)
        with Child(code) as process:
            for _ in range(6):
                pid = int(process.stdout.readline())
                while not (tmp_path / "a" / persistence.ALIGNER_FILE).exists():
                    time.sleep(0.001)
                time.sleep(chance.random() / 50)
                os.kill(pid, signal.SIGKILL)
                assert process.stdout.readline() == "gone\n"
                found = C3Aligner.from_pretrained(tmp_path / "a")
                assert found.statistics_ == C3Aligner().fit(rows * (1 - 2 * found.seed)).statistics_
                print(file=process.stdin, flush=True)
            process.communicate()

    @posix
    def test_signals_leave_no_scratch(self, rows, tmp_path):
        C3Aligner().fit(rows).save_pretrained(tmp_path / "a")
        np.save(tmp_path / "x.npy", rows)
        expected = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}
        program = (
            f"import os, signal, sys, time; from c3align import C3Aligner, cli; os.chdir({str(tmp_path)!r})\n"
            # as in a shell's foreground: what nohup or a shell's background ignores is ignored by all that they start
            "signal.signal(signal.SIGHUP, signal.SIG_DFL); signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "def wait(self, X, **_): print('inside', os.getpid(), flush=True); time.sleep(60)\n"
            "C3Aligner.transform = wait\n"
            f"for _ in range({len(expected)}):\n"  # forks, so that all this is imported once
            "    pid = os.fork()\n"
            "    if not pid: sys.exit(cli.run(['transform', 'x.npy', '-a', 'a', '-o', 'z.npy']))\n"
            "    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)\n"
        )
        with Child(program) as process:
            for number, code in expected.items():
                where, pid = process.stdout.readline().split()
                assert where == "inside"
                assert any(atomic.SCRATCH in path.name for path in tmp_path.iterdir())
                os.kill(int(pid), number)
                assert int(process.stdout.readline()) == code
                assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "x.npy"]
            err = process.communicate()[1]
        assert err.count("nothing half-written was kept") == len(expected)


class TestLoadingWhileSaving:
    def test_another_thread_saves_changed_settings(self, rows, tmp_path):
        """Neither readers nor a second writer meet a folder whose two files disagree."""
        made = [C3Aligner(seed=i).fit(rows) for i in range(3)]
        made[0].save_pretrained(tmp_path / "a")
        stop = threading.Event()

        def save(aligner):
            while not stop.is_set():
                aligner.save_pretrained(tmp_path / "a")

        writers = [threading.Thread(target=save, args=(aligner,)) for aligner in made[1:]]
        for writer in writers:
            writer.start()
        try:
            for _ in range(60):
                assert C3Aligner.from_pretrained(tmp_path / "a").seed in (0, 1, 2)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert C3Aligner.from_pretrained(tmp_path / "a").seed in (1, 2)

    def test_a_file_exchanged_for_another(self, rows, tmp_path):
        C3Aligner().fit(rows).save_pretrained(tmp_path / "a")
        C3Aligner().fit(-rows).save_pretrained(tmp_path / "b")
        shutil.copy(tmp_path / "a" / persistence.ALIGNER_FILE, tmp_path / "b")
        with pytest.raises(FormatError, match=r"damaged, or not the file that config\.json was written with"):
            C3Aligner.from_pretrained(tmp_path / "b")


def test_bytes_are_the_primitive(rows, tmp_path):
    aligner = C3Aligner(seed=5).fit(rows)
    from c3align import centering

    content = persistence.dump(aligner.get_params(deep=False), centering.state_of(aligner))
    aligner.save_pretrained(tmp_path)
    assert (tmp_path / persistence.ALIGNER_FILE).read_bytes() == content
    settings, state = persistence.parse(content)
    assert settings["seed"] == 5
    assert state.statistics == aligner.statistics_


class TestNames:
    @pytest.mark.parametrize("content", ['{"model_type": "gpt2"}', "not JSON", '{"format": "c3align.Other"}', "[1]"])
    def test_another_models_config_stays(self, rows, tmp_path, content):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(C3AlignError, match="belongs to something else; choose another folder"):
            C3Aligner().fit(rows).save_pretrained(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
        assert (tmp_path / "config.json").read_text() == content

    def test_urls_and_homes(self, rows, here, monkeypatch, capsys):
        """No folder `s3:` or `~` is made."""
        (here / "home").mkdir()
        monkeypatch.setenv("HOME", str(here / "home"))
        monkeypatch.setenv("USERPROFILE", str(here / "home"))
        np.save("x.npy", rows)
        aligner = C3Aligner().fit(rows)
        for url in ("s3://bucket/a", Path("gs://bucket/a"), "https://x.org/a"):
            with pytest.raises(C3AlignError, match="is a URL and must be a local path"):
                aligner.save_pretrained(url)
        for command in (("fit", "x.npy"), ("transform", "x.npy", "-a", "~/a"), ("report", "x.npy", "x.npy")):
            aligner.save_pretrained("~/a")
            assert run(*command, "-o", "s3://bucket/a", *(("--names", "a,b") if "report" in command else ())) == 2
            assert "is a URL" in capsys.readouterr().err
        (here / "t.txt").write_text("a\n")
        assert run("embed", "t.txt", "--encoder", "glyphs", "--modality", "text", "-o", "s3://b/e") == 2
        assert run("fit", "~/x.npy", "-o", "a") == 2
        assert run("transform", "x.npy", "-a", "~/a", "-o", "~/z.npy") == 0
        assert sorted(path.name for path in here.iterdir()) == ["home", "t.txt", "x.npy"]
        assert sorted(path.name for path in (here / "home").iterdir()) == ["a", "z.npy"]
        assert C3Aligner.from_pretrained("~/a").statistics_ == aligner.statistics_
        with pytest.raises(C3AlignError, match="home folder that does not exist"):
            aligner.save_pretrained("~nobody-of-this-name/a")

    @posix
    def test_devices_and_pipes_are_written_and_not_replaced(self, rows, here):
        np.save("x.npy", rows)
        C3Aligner().fit(rows).save_pretrained("a")
        os.mkfifo("pipe")
        got = []
        reader = threading.Thread(target=lambda: got.append(Path("pipe").read_bytes()), daemon=True)
        reader.start()
        assert run("transform", "x.npy", "-a", "a", "-o", "pipe") == 0
        assert stat.S_ISFIFO(os.stat("pipe").st_mode)  # before the device, which root could replace
        reader.join(60)
        assert run("transform", "x.npy", "-a", "a", "-o", os.devnull) == 0
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
        write_npy("z.npy", rows.shape, rows.dtype, [C3Aligner().fit(rows).transform(rows)])
        assert got[0] == Path("z.npy").read_bytes()
        command = [sys.executable, "-m", "c3align", "transform", "x.npy", "-a", "a", "-o", "/dev/stdout"]
        done = subprocess.run(command, capture_output=True, check=True)
        assert done.stdout == got[0]
        assert b"60 rows, centered" in done.stderr

    @posix
    def test_links_modes_and_the_umask(self, rows, here):
        (here / "real").mkdir()
        os.symlink("real", "link")
        aligner = C3Aligner().fit(rows)
        before = os.umask(0o027)
        try:
            aligner.save_pretrained("link")
            assert stat.S_IMODE(os.stat("real/aligner.safetensors").st_mode) == 0o640
            os.chmod("real/aligner.safetensors", 0o600)
            aligner.save_pretrained("link")
            assert stat.S_IMODE(os.stat("real/aligner.safetensors").st_mode) == 0o600
            with atomic.replaced_folder("deep/f", "thing", lambda folder: True) as scratch:
                (scratch / "x").write_text("x")
            assert stat.S_IMODE(os.stat("deep/f").st_mode) == 0o750
        finally:
            os.umask(before)
        os.symlink("deep/f", "f")
        for _ in range(2):
            with atomic.replaced_folder("f", "thing", lambda folder: True) as scratch:
                (scratch / "y").write_text("y")
        assert os.path.islink("f")
        assert os.listdir("f") == ["y"]

    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no reservation of space")
    def test_a_full_disk_is_named_before_anything_is_computed(self, rows, here, monkeypatch, capsys):
        np.save("x.npy", rows)
        C3Aligner().fit(rows).save_pretrained("a")

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", full)
        assert run("transform", "x.npy", "-a", "a", "-o", "z.npy") == 2
        assert "No space left on device (2,880 bytes are needed): 'z.npy'" in capsys.readouterr().err
        assert sorted(path.name for path in here.iterdir()) == ["a", "x.npy"]

    def test_a_full_disk_is_named_and_no_empty_folder_left(self, rows, here, monkeypatch, capsys):
        np.save("x.npy", rows)
        (here / "t.txt").write_text("a word\n")
        before = sorted(here.rglob("*"))

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        for command in (("fit", "x.npy"), ("embed", "t.txt", "--encoder", "glyphs", "--modality", "text")):
            assert run(*command, "-o", "new/deep/out") == 2
            assert "No space left on device: '" in (told := capsys.readouterr().err)
            assert "new/deep/out/" in told
            assert sorted(here.rglob("*")) == before


class TestContainer:
    def test_nan_is_not_written(self):
        with pytest.raises(C3AlignError, match="NaN or infinity cannot be saved"):
            container.dump({}, {"loss": float("nan")})

    def test_a_header_that_lies_is_not_read(self, tmp_path):
        (tmp_path / "x").write_bytes((2**40).to_bytes(8, "little") + b"{}")
        with pytest.raises(FormatError, match="states a header of 1099511627776 bytes"):
            container.read_config(tmp_path / "x", "file")

    def test_json_is_bounded(self, tmp_path):
        (tmp_path / "x").write_bytes(b" " * 100)
        with pytest.raises(FormatError, match="larger than 50 bytes"):
            container.read_json(tmp_path / "x", "file", 50)


class TestRowSource:
    def test_all_below_a_folder_as_glob_would_find_it(self, tmp_path):
        for name in (
            "b/x_10.npy",
            "b/x_9.npy",
            "b/.x_1.npy",
            ".hidden/x.npy",
            "metadata/x.parquet",
            "a.npy",
            "note.txt",
        ):
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "x_11.npy").touch()
        (tmp_path / "tree" / "b" / "link").symlink_to(tmp_path / "elsewhere")
        pattern = f"{tmp_path}/tree/**"
        found = [path for path, _ in files_of(pattern)]
        assert [os.path.relpath(path, tmp_path / "tree") for path in found] == [
            "a.npy",
            "b/link/x_11.npy",
            "b/x_9.npy",
            "b/x_10.npy",
        ]
        assert set(found) == {path for path, _ in files_of(f"{tmp_path}/[t]ree/**")}  # by `glob` itself
        (tmp_path / "elsewhere" / "x_11.npy").rename(tmp_path / "elsewhere" / "x.txt")
        with pytest.raises(NoFileError):  # one file, and not of rows
            files_of(f"{tmp_path}/elsewhere/**")

    def test_natural_order(self):
        names = ["x_10.npy", "x_9.npy", "x_01.npy", "x_1.npy", "y.npy", "x.npy"]
        assert sorted(names, key=natural) == ["x.npy", "x_01.npy", "x_1.npy", "x_9.npy", "x_10.npy", "y.npy"]

    def test_every_kind_is_the_same_rows(self, rows, here):
        torch = pytest.importorskip("torch")
        Path("shards").mkdir()
        for i in range(12):
            np.save(f"shards/x_{i}.npy", rows[5 * i : 5 * i + 5])
        np.save("x.npy", rows)
        save_file({"rows": rows}, "x.safetensors")
        for given in (
            rows,
            "x.npy",
            Path("x.safetensors"),
            "shards",
            "shards/*.npy",
            [rows[:7], rows[7:]],
            torch.from_numpy(rows),
            [f"shards/x_{i}.npy" for i in range(12)],
        ):
            source = RowSource.of(given)
            assert (source.shape, source.dtype) == ((60, 12), "float32")
            assert raw(np.concatenate([np.asarray(block) for _, block in source.blocks(7)])) == raw(rows)
            assert [start for start, _ in source.blocks(7)] == list(range(0, 60, 7))
            numbers = np.array([59, 0, 31, 31, 4])
            assert raw(source.take(numbers)) == raw(rows[numbers])
            assert raw(source.sample(4)) == raw(rows[[0, 19, 39, 59]])

    def test_places(self, rows, here):
        np.save("a.npy", rows[:20])
        np.save("b.npy", rows[20:])
        source = RowSource.open(["a.npy", "b.npy"])
        assert source.where(19) == "a.npy, row 19"
        assert source.where(20) == "b.npy, row 0"
        assert source.where(99) == "X"

    @pytest.mark.parametrize(
        ("tensors", "text"),
        [({"a": np.ones((2, 3)), "b": np.ones((2, 3))}, "one tensor"), ({"a": np.ones(3, np.int8)}, "one tensor")],
    )
    def test_safetensors_that_are_no_rows(self, here, tensors, text):
        save_file(tensors, "x.safetensors")
        with pytest.raises(C3AlignError, match=text):
            RowSource.of("x.safetensors")

    def test_damaged_safetensors(self, rows, here):
        save_file({"rows": rows}, "x.safetensors")
        content = Path("x.safetensors").read_bytes()
        for damaged in (content[:-1], content[:20], b"", content + b"x"):
            Path("x.safetensors").write_bytes(damaged)
            with pytest.raises(C3AlignError, match="not a whole file of numbers"):
                RowSource.of("x.safetensors")

    def test_bytes_in_the_other_order_and_integers(self, rows, here):
        """Read as they are meant, or refused by fit as by transform."""
        C3Aligner().fit(rows).save_pretrained("a")
        for dtype, text in (("i1", "dtype int8; convert it, or, to commands"), ("i4", "dtype int32; convert it")):
            np.save("x.npy", rows.astype(dtype))
            with pytest.raises(C3AlignError, match=text):
                RowSource.of("x.npy")
        np.save("x.npy", rows.astype(">f4"))
        assert raw(RowSource.of("x.npy").read(0, 60)) == raw(rows)

    def test_wrong_numbers_of_rows_are_not_written(self, rows, here):
        with pytest.raises(C3AlignError, match="must get 60 rows, got 59"):
            write_npy("x.npy", rows.shape, rows.dtype, [rows[:-1]])
        assert not list(here.iterdir())


class TestShell:
    def test_shards_in_the_order_of_their_numbers(self, here, capsys):
        """Shards t_1..t_12 beside i_001..i_012, and a transform of x_0..x_11."""
        rng = np.random.default_rng(0)
        text = rng.normal(1, 1, (120, 8)).astype(np.float32)
        image = text + rng.normal(0, 0.1, text.shape).astype(np.float32)
        for i in range(12):
            np.save(f"t_{i + 1}.npy", text[10 * i : 10 * i + 10])
            np.save(f"i_{i + 1:03d}.npy", image[10 * i : 10 * i + 10])
        assert run("fit", "t_*.npy", "--pair", "i_*.npy", "-o", "a") == 0
        err = capsys.readouterr().err
        assert err == ""
        fitted = C3Aligner.from_pretrained("a")
        assert fitted.pairs_ == C3Aligner().fit(text, image).pairs_
        assert run("transform", "t_*.npy", "-a", "a", "--modality", "text", "-o", "z.npy") == 0
        assert raw(np.load("z.npy")) == raw(fitted.transform(text, modality="text"))
        assert run("fit", "t_1.npy", "t_2.npy", "--pair", "i_002.npy", "--pair", "i_001.npy", "-o", "b") == 0
        assert "t_1.npy is paired with i_002.npy, and the numbers in their names differ" in capsys.readouterr().err

    def test_the_bad_shard_is_named(self, rows, here, capsys):
        """NaN in one of ten, and a row of zeros."""
        C3Aligner().fit(rows).save_pretrained("a")
        for i in range(10):
            np.save(f"x_{i}.npy", rows)
        for bad in (np.nan, 0.0):
            broken = rows.copy()
            broken[17] = bad
            np.save("x_7.npy", broken)
            for command in (("fit", "x_*.npy"), ("transform", "x_*.npy", "-a", "a", "--modality", "text")):
                assert run(*command, "-o", "out") == 2
                assert "x_7.npy, row 17: " in capsys.readouterr().err
            assert sorted(path.name for path in (here / "out").glob("*.npy")) == [f"x_{i}.npy" for i in range(7)]
            shutil.rmtree("out")

    def test_a_tree_that_is_not_finished(self, here, capsys):
        pytest.importorskip("pyarrow")
        (here / "t.txt").write_text("a\nb\nc\nd\n")
        options = ("--encoder", "glyphs", "--modality", "text", "--shard-items", 2, "-o", "emb")
        assert run("embed", "t.txt", *options) == 0
        (here / "emb" / "metadata" / "metadata_001.parquet").unlink()
        assert run("fit", "emb", "-o", "a") == 2
        assert "emb is not finished: 1 of 2 shards of text are whole" in capsys.readouterr().err
        for name in ("--batch-size", "--shard-items"):
            assert run("embed", "t.txt", *options[:-1], "new", name, 0) == 2
            assert "must be an integer of 1 or more, got 0" in capsys.readouterr().err
        assert run("embed", "t.txt", *options[:-1], "new", "--dtype", "bfloat16") == 2
        assert run("embed", "t.txt", *options[:-1], "new", "--device", "nonsense") == 2
        assert "--device 'nonsense' cannot be used here" in capsys.readouterr().err
        assert not (here / "new").exists()

    def test_help(self, capsys):
        for arguments in ((), ("-h",), ("fit", "-h")):
            assert run(*arguments) == 0
            out, err = capsys.readouterr()
            assert "Usage: c3align" in out
            assert err == ""

    def test_a_huge_field_of_a_table(self, here, capsys):
        (here / "t.csv").write_text('caption\n"' + "x" * 200_000 + '"\n')
        assert run("embed", "t.csv", "--encoder", "glyphs", "--modality", "text", "-o", "e") == 2
        assert "t.csv is not as its separators say (field larger than field limit" in capsys.readouterr().err

    def test_a_folder_that_is_not_there_is_named(self, rows, here, monkeypatch, capsys):
        hub = pytest.importorskip("huggingface_hub")

        def unreachable(*_, **__):
            raise OSError("offline")

        monkeypatch.setattr(hub, "snapshot_download", unreachable)
        np.save("x.npy", rows)
        assert run("transform", "x.npy", "-a", "models/typo", "-o", "z.npy") == 2
        assert "models/typo, and the Hub says: offline; check the name" in capsys.readouterr().err


def test_modalities_and_fingerprints_of_trees(rows, here):
    for name in ("img_emb", "audio_emb"):
        (here / "emb" / name).mkdir(parents=True)
        np.save(here / "emb" / name / f"{name}_0.npy", rows)
    (here / "emb" / "embed_image.json").write_text('{"fingerprint": "clip@1"}')
    found = shards.open_sources(["emb"])
    assert [(source.modality, source.fingerprint) for source in found] == [("audio", "clip@1"), ("image", "clip@1")]
    (here / "emb" / "embed_image.json").write_text("[]")
    with pytest.raises(FormatError, match="names no encoder"):
        shards.open_sources(["emb"])


def test_transform_by_its_own_mean_is_the_batch(rows, here):
    np.save("x.npy", rows)
    C3Aligner().fit(-rows).save_pretrained("a")
    assert run("transform", "x.npy", "-a", "a", "--modality", "batch", "-o", "z.npy") == 0
    assert raw(np.load("z.npy")) == raw(C3Aligner().fit(-rows).transform(rows, modality="batch"))
    assert raw(np.load("z.npy")) == raw(ops.align(rows, C3Aligner().fit(rows).statistics_["text"].mean))


def test_memory_is_given_back(rows, here, monkeypatch):
    monkeypatch.setattr(row_files, "BLOCK_BYTES", 4 * 12 * 7)
    np.save("x.npy", rows)
    assert len(list(RowSource.of("x.npy").blocks())) == 9
