"""Rows of many files: the same bytes as one file, exactly once under any kill, and one clear error (P7)."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from c3align import C3Aligner, cli
from c3align.cli import _learning
from c3align.io import rows as row_files
from c3align.io.mirror import Rules
from c3align.io.rows import Picked, RowSource
from c3align.io.shards import open_sources
from tests.test_ops import raw

ALIGNER = "aligner.safetensors"


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(1, 1, (100, 12)).astype(np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch, rows):
    """A tree `e` of ten shards in two folders, and `al`, fitted on all."""
    monkeypatch.chdir(tmp_path)
    for i in range(10):
        name = f"e/{'ab'[i // 5]}/x_{i}.npy"
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        np.save(name, rows[10 * i : 10 * i + 10])
    np.save("x.npy", rows)
    C3Aligner().fit(rows).save_pretrained("al")
    return tmp_path


@pytest.fixture
def often(monkeypatch):
    """Blocks of seven rows at most, and a checkpoint after every shard."""
    monkeypatch.setattr(row_files, "BLOCK_BYTES", 4 * 12 * 7)
    monkeypatch.setattr(_learning, "BLOCKS", 1)
    monkeypatch.setattr(_learning, "CHECKPOINT_SECONDS", 0.0)


def run(*arguments):
    return cli.run([*map(str, arguments)])


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


def shards_of(folder, names="*/*.npy"):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).glob(names))}


def joined(folder):
    return np.concatenate([np.asarray(block) for _, block in RowSource.open([f"{folder}/**"]).blocks()])


class TestSameBytes:
    def test_fit_of_a_tree_a_file_and_parts(self, here, often):
        assert run("fit", "e/**", "-o", "tree") == 0
        assert run("fit", "e", "-o", "folder") == 0
        assert run("fit", "x.npy", "-o", "file") == 0
        for i in range(10):
            assert run("fit", f"e/{'ab'[i // 5]}/x_{i}.npy", "-o", f"part-{i}") == 0
        assert run("merge", *(f"part-{i}" for i in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)), "-o", "merged") == 0
        found = {Path(name, ALIGNER).read_bytes() for name in ("tree", "folder", "file", "merged", "al")}
        assert len(found) == 1
        assert not list(Path().glob("*.checkpoint"))

    @pytest.mark.parametrize("command", ["transform", "corrupt", "translate"])
    def test_changed_shard_by_shard_or_at_once(self, here, rows, often, command):
        C3Aligner(seed=3).fit(rows, rows + 1).save_pretrained("al")
        options = ("--from", "text", "--to", "image") if command == "translate" else ("--modality", "text")
        assert run(command, "e", "-a", "al", "-o", "out", *options) == 0
        assert run(command, "x.npy", "-a", "al", "-o", "out.npy", *options) == 0
        fitted = C3Aligner.from_pretrained("al")
        how = {"source": "text", "target": "image"} if command == "translate" else {"modality": "text"}
        assert raw(joined("out")) == raw(np.load("out.npy")) == raw(getattr(fitted, command)(rows, **how))
        assert [*shards_of("out")] == [*shards_of("e")]

    def test_subtract_is_the_rest(self, here, rows, capsys):
        for name, part in (("whole", rows), ("gone", rows[30:60]), ("rest", np.concatenate([rows[:30], rows[60:]]))):
            C3Aligner().fit(part, part + 1).save_pretrained(name)
        assert run("subtract", "whole", "gone", "-o", "left") == 0
        assert "left: 70 image rows, 70 text rows" in capsys.readouterr().out
        assert Path("left", ALIGNER).read_bytes() == Path("rest", ALIGNER).read_bytes()
        C3Aligner().fit(rows[:9]).save_pretrained("unpaired")
        C3Aligner().fit(rows[:9] + 5).save_pretrained("others")
        C3Aligner(second_moments=True).fit(rows).save_pretrained("second")
        for whole, part, text in (
            ("whole", "unpaired", "learned as pairs"),
            ("al", "others", "could not come from any rows"),
            ("al", "whole", "must be among those learned"),
            ("al", "al", "some rows must be left"),
            ("second", "second", "must be learned anew"),
            ("whole", "second", "different settings"),
        ):
            assert run("subtract", whole, part, "-o", "no") == 2
            assert text in capsys.readouterr().err
        assert run("subtract", "whole", "gone", "gone", "-o", "no") == 2
        assert (
            "gone and gone have learned the same 'image' rows, which can be forgotten once" in capsys.readouterr().err
        )
        assert not Path("no").exists()

    def test_what_is_replaced_and_rows_of_another_modality_are_told(self, here, rows, capsys):
        C3Aligner().fit(rows, rows + 9).save_pretrained("al")
        np.save("y.npy", rows + 9)
        for command, how in (("transform", ("--modality", "text")), ("translate", ("--from", "text", "--to", "image"))):
            assert run(command, "x.npy", "-a", "al", "-o", "z.npy", *how) == 0
            err = capsys.readouterr().err
            assert "on the side of" not in err
            assert ("z.npy was there before, and was replaced" in err) == (command == "translate")
            assert run(command, "y.npy", "-a", "al", "-o", "z.npy", *how) == 0
            assert "on the side of 'image'" in capsys.readouterr().err


class TestFormats:
    def test_safetensors_and_parquet_stay_what_they_are(self, here, rows, often):
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        fitted = C3Aligner.from_pretrained("al")
        expected = fitted.transform(rows, modality="text")
        Path("s").mkdir()
        Path("p").mkdir()
        for i in range(2):
            part = rows[50 * i : 50 * i + 50]
            save_file({"rows": part}, f"s/{i}.safetensors", {"by": "me"})
            lists = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), 12) if i else pa.array(list(part))
            table = pa.table({"id": list(range(50 * i, 50 * i + 50)), "v": lists, "caption": ["a"] * 50})
            pq.write_table(table, f"p/{i}.parquet", row_group_size=13)
        for folder in "sp":
            assert run("transform", folder, "-a", "al", "--modality", "text", "-o", f"{folder}-out") == 0
            assert raw(joined(f"{folder}-out")) == raw(expected)
        assert [*load_file("s-out/0.safetensors")] == ["rows"]
        for i in range(2):
            before, after = (pq.read_table(f"{folder}/{i}.parquet") for folder in ("p", "p-out"))
            assert after.schema == before.schema
            assert after.drop(["v"]) == before.drop(["v"])
        assert run("transform", "p/0.parquet", "-a", "al", "--modality", "text", "-o", "z.npy") == 0
        assert raw(np.load("z.npy")) == raw(expected[:50])
        assert run("transform", "p", "-a", "al", "--modality", "text", "-o", "z.parquet") == 2

    def test_a_parquet_that_is_not_compressed(self, here, rows):
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.table({"v": list(rows)}), "plain.parquet", compression="NONE")
        assert run("transform", "plain.parquet", "-a", "al", "--modality", "text", "-o", "z.parquet") == 0
        assert pq.ParquetFile("z.parquet").metadata.row_group(0).column(0).compression == "UNCOMPRESSED"
        expected = C3Aligner.from_pretrained("al").transform(rows, modality="text")
        assert raw(np.array(pq.read_table("z.parquet")["v"].to_pylist(), np.float32)) == raw(expected)

    def test_one_file_does_not_become_a_folder(self, here, capsys):
        Path("there").mkdir()
        assert run("transform", "x.npy", "-a", "al", "--modality", "text", "-o", "there") == 2
        assert "there is a folder, and one file becomes one file; pass there/x.npy" in capsys.readouterr().err

    def test_a_tree_of_embed_is_one_again(self, here, capsys):
        """Manifest and digests: `fit`, `report` and `transform` read it, and `embed` does not write into it."""
        pytest.importorskip("pyarrow")
        Path("t.txt").write_text("".join(f"word {i}\n" for i in range(12)))
        embed = ("embed", "t.txt", "--encoder", "glyphs", "--modality", "text", "--shard-items", 5)
        assert run(*embed, "-o", "emb", "--fit", "al2") == 0
        assert run("transform", "emb", "-a", "al2", "-o", "out") == 0
        (before,), (after,) = open_sources(["emb"]), open_sources(["out"])
        assert (after.shape, after.modality) == (before.shape, "text")
        assert after.watch is not None
        assert after.fingerprint.startswith(f"{before.fingerprint} after transform by ")
        assert raw(after.read(0, 12)) == raw(
            C3Aligner.from_pretrained("al2").transform(before.read(0, 12), modality="text")
        )
        assert {*contents("emb/metadata")} == {*contents("out/metadata")}
        assert run("fit", "out", "-o", "al3") == 0
        assert run("report", "out", "emb", "--names", "a,b", "--json") == 2  # rows of two spaces
        capsys.readouterr()
        assert run("transform", "out", "-a", "al2", "-o", "out2") == 2
        assert "come from the encoder" in capsys.readouterr().err
        assert run(*embed, "-o", "out") == 2
        assert "holds another run" in capsys.readouterr().err
        damaged = Path("out/text_emb/text_emb_001.npy")
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x01")
        assert run("fit", "out", "-o", "al3") == 2
        assert "is damaged" in capsys.readouterr().err
        Path("out/embed_text.sha256").write_bytes(b"")
        assert run("fit", "out", "-o", "al3") == 2
        assert "run the same c3align transform again" in capsys.readouterr().err  # as embed would refuse that folder
        assert run("transform", "emb", "-a", "al2", "-o", "out") == 0
        assert run("fit", "out", "-o", "al3") == 0

    def test_both_modalities_of_a_tree(self, here, rows):
        for name, shift in (("img", 1), ("text", 0)):
            Path(f"emb/{name}_emb").mkdir(parents=True)
            np.save(f"emb/{name}_emb/{name}_emb_000.npy", rows + shift)
        assert run("fit", "emb", "-o", "both") == 0
        assert run("transform", "emb", "-a", "both", "-o", "out") == 0
        fitted = C3Aligner.from_pretrained("both")
        assert raw(np.load("out/text_emb/text_emb_000.npy")) == raw(fitted.transform(rows, modality="text"))
        assert raw(np.load("out/img_emb/img_emb_000.npy")) == raw(fitted.transform(rows + 1, modality="image"))

    def test_a_row_is_not_skipped_where_its_partner_would_stay(self, here, rows, capsys):
        pytest.importorskip("pyarrow")
        two_modalities(rows)
        assert run("fit", "emb", "-o", "both") == 0
        bad = rows.copy()
        bad[3] = np.nan
        np.save("emb/img_emb/img_emb_000.npy", bad)
        skip = ("-a", "both", "--on-error", "skip")
        assert run("transform", "emb", *skip, "-o", "out") == 2
        assert "of a row that is skipped the partner would stay; pass one of its folders" in capsys.readouterr().err
        assert not Path("out").exists()
        assert run("transform", "emb/img_emb", *skip, "-o", "out") == 0
        before = contents("out")
        for more in ((), ("--on-error", "skip")):
            assert run("transform", "emb/text_emb", "-a", "both", *more, "-o", "out") == 2
            assert "partners of these only as long as none is dropped" in capsys.readouterr().err
        assert contents("out") == before
        assert run("transform", "emb/text_emb", "-a", "both", "-o", "out2") == 0
        assert run("transform", "emb/img_emb", *skip, "-o", "out2") == 2

    def test_trees_with_tables_of_their_own_do_not_share_a_folder(self, here, capsys):
        """The second wrote its metadata over those of the first, in silence."""
        pytest.importorskip("pyarrow")
        Path("t.txt").write_text("".join(f"word {i}\n" for i in range(12)))
        np.save("p.npy", np.random.default_rng(0).integers(0, 256, (12, 32, 32), np.uint8))
        for modality, data in (("text", "t.txt"), ("image", "p.npy")):
            assert run("embed", data, "--encoder", "glyphs", "--modality", modality, "-o", f"emb-{modality}") == 0
        assert run("fit", "emb-text", "--pair", "emb-image", "-o", "both") == 0
        assert run("transform", "emb-text", "-a", "both", "-o", "out") == 0
        before = contents("out")
        for _ in ("with the record", "and as a run that was cut off leaves it"):
            capsys.readouterr()
            assert run("transform", "emb-image", "-a", "both", "-o", "out") == 2
            assert "holds text rows with tables of their own; pass another folder" in capsys.readouterr().err
            assert contents("out") == before
            Path("out/embed_text.json").unlink(missing_ok=True)
            before = contents("out")


def two_modalities(rows):
    """A tree `emb` with one table of metadata for pictures and texts, as clip-retrieval writes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, shift in (("img", 1), ("text", 0)):
        Path(f"emb/{name}_emb").mkdir(parents=True)
        np.save(f"emb/{name}_emb/{name}_emb_000.npy", rows + shift)
    Path("emb/metadata").mkdir()
    pq.write_table(pa.table({"caption": [f"word {i}" for i in range(len(rows))]}), "emb/metadata/metadata_000.parquet")


class Full(OSError):
    pass


def failing(monkeypatch, act, check, real=os.write):
    """Run `act` with a disk that is full at its first, second, ... write, until it is never full."""
    for fatal in range(1000):
        count = []

        def write(handle, content, count=count, fatal=fatal):
            count.append(1)
            if len(count) == fatal + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if len(count) == fatal:  # and before that it takes a part alone
                return real(handle, bytes(content)[: max(1, len(content) // 2)])
            return real(handle, content)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            code = act()
        if len(count) <= fatal:
            assert code == 0
            return fatal
        check(code)
    raise AssertionError("it never ends")


class TestFaults:
    def test_a_full_disk_at_every_write_of_a_tree(self, here, often, monkeypatch, capsys):
        command = ("transform", "e", "-a", "al", "--modality", "text")
        assert run(*command, "-o", "whole") == 0
        whole = contents("whole")
        capsys.readouterr()

        def check(code):
            assert code == 2
            err = capsys.readouterr().err
            assert "No space left on device" in err
            assert "out" in err
            assert err.count("\n") == 1
            assert all(whole[name] == content for name, content in shards_of("out").items())
            assert run(*command, "-o", "out") == 0
            assert contents("out") == whole
            shutil.rmtree("out")

        assert failing(monkeypatch, lambda: run(*command, "-o", "out"), check) > 30

    def test_a_shard_that_cannot_be_read_costs_no_other(self, here, rows, often, capsys):
        """Truncated, vanished, NaN: what is whole stays, and the shard is named."""
        command = ("transform", "e", "-a", "al", "--modality", "text", "-o", "out")
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "whole") == 0
        broken = rows[60:70].copy()
        broken[3, 2] = np.nan
        np.save("e/b/x_6.npy", broken)
        assert run(*command) == 2
        assert "x_6.npy, row 3: " in capsys.readouterr().err
        assert len(shards_of("out")) == 6
        content = Path("e/b/x_7.npy").read_bytes()
        Path("e/b/x_7.npy").write_bytes(content[:-5])
        assert run(*command) == 2
        assert "x_7.npy is not a whole file of numbers" in capsys.readouterr().err
        Path("e/b/x_7.npy").write_bytes(content)
        np.save("e/b/x_6.npy", rows[60:70])
        assert run(*command) == 0
        assert shards_of("out") == shards_of("whole")

    def test_a_shard_that_vanishes_or_shrinks_meanwhile(self, here, often, monkeypatch, capsys):
        real = C3Aligner.transform
        for act, text in (
            (lambda path: path.unlink(), "x_8.npy"),
            (lambda path: path.write_bytes(path.read_bytes()[:-9]), "x_8.npy was changed while it was read"),
        ):
            content = Path("e/b/x_8.npy").read_bytes()

            def transform(self, X, act=act, **how):
                if Path("e/b/x_8.npy").exists() and len(Path("e/b/x_8.npy").read_bytes()) == len(content):  # noqa: B023
                    act(Path("e/b/x_8.npy"))
                return real(self, X, **how)

            with monkeypatch.context() as patch:
                patch.setattr(C3Aligner, "transform", transform)
                assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 2
            assert text in capsys.readouterr().err
            assert len(shards_of("out")) == 8
            Path("e/b/x_8.npy").write_bytes(content)
            assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 0
            shutil.rmtree("out")

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is read-only for root")
    def test_a_target_that_is_read_only(self, here, capsys):
        Path("ro").mkdir(mode=0o500)
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "ro/out") == 2
        assert "Permission denied" in capsys.readouterr().err


class TestResumed:
    def test_what_is_whole_is_not_done_again(self, here, often, monkeypatch):
        done = []
        real = C3Aligner.transform

        def transform(self, X, **how):
            done.append(len(X))
            if len(done) == 7:
                raise KeyboardInterrupt
            return real(self, X, **how)

        command = ("transform", "e", "-a", "al", "--modality", "text", "-o", "out")
        monkeypatch.setattr(C3Aligner, "transform", transform)
        assert run(*command) == 130
        assert len(shards_of("out")) == 3  # of two blocks each
        before = {name: os.stat(f"out/{name}").st_mtime_ns for name in shards_of("out")}
        assert run(*command) == 0
        assert {name: os.stat(f"out/{name}").st_mtime_ns for name in before} == before
        assert sum(done) == 100 + 7
        done.clear()
        assert run(*command) == 0
        assert not done

    @pytest.mark.parametrize("command", ["fit", "transform"])
    def test_a_changed_shard_is_told_or_done_again(self, here, rows, often, monkeypatch, capsys, command):
        act = ("fit", "e", "-o", "out") if command == "fit" else ("transform", "e", "-a", "al", "-o", "out")
        act += ("--modality", "text")
        broken = rows[90:].copy()
        broken[:] = np.nan
        np.save("e/b/x_9.npy", broken)
        assert run(*act) == 2
        np.save("e/b/x_9.npy", rows[90:])
        np.save("e/a/x_1.npy", -rows[10:20])
        capsys.readouterr()
        assert run(*act) == 2
        assert "x_1.npy was changed since it was read for" in capsys.readouterr().err
        assert run(*act, "--changed", "redo") == 0
        changed = np.concatenate([rows[:10], -rows[10:20], rows[20:]])
        if command == "fit":
            assert C3Aligner.from_pretrained("out").statistics_ == C3Aligner().fit(changed).statistics_
        else:
            assert raw(joined("out")) == raw(C3Aligner.from_pretrained("al").transform(changed, modality="text"))

    def test_noise_follows_the_places_of_rows(self, here, rows, often, capsys):
        """Where shards before a shard come or go, its noise is another one."""
        act = ("corrupt", "e", "-a", "al", "--modality", "text", "-o")
        Path("e/a/x_3.npy").rename("later.npy")
        assert run(*act, "out") == 0
        Path("later.npy").rename("e/a/x_3.npy")
        assert run(*act, "out") == 2
        assert "was changed since it was read for" in capsys.readouterr().err
        assert run(*act, "out", "--changed", "redo") == run(*act, "fresh") == 0
        assert shards_of("out") == shards_of("fresh")

    def test_another_question_does_not_mix(self, here, rows, often, capsys):
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 0
        C3Aligner().fit(-rows).save_pretrained("other")
        capsys.readouterr()
        assert run("transform", "e", "-a", "other", "--modality", "text", "-o", "out") == 2
        assert "transform_rows.jsonl is of another run (aligner was" in capsys.readouterr().err
        Path("e/a/x_2.npy").unlink()
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 2
        assert "a/x_2.npy was read for" in capsys.readouterr().err
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out", "--changed", "redo") == 0
        assert len(shards_of("out")) == 9
        assert capsys.readouterr().out == "out: 90 rows, centered by the mean of 'text'; 1 file of gone rows removed\n"
        assert run("transform", "e", "-a", "al", "-o", "e") == 2
        assert "e is where the rows are; pass another folder" in capsys.readouterr().err

    def test_rows_of_another_time_are_not_replaced(self, here, capsys):
        """A folder of raw rows with some of the names; but where a list says so, a run is gone on with."""
        shutil.copytree("e/a", "raw/a")
        before = contents("raw")
        for output in ("raw", "link"):
            Path("link").symlink_to("raw") if output == "link" else None
            assert run("transform", "e", "-a", "al", "--modality", "text", "-o", output) == 2
            assert "raw holds a/x_0.npy of another time; pass another folder" in capsys.readouterr().err
            assert contents("raw") == before
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 0
        journal = Path("out/transform_rows.jsonl")
        journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))  # killed before the last line
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 0

    def test_lists_that_are_not_ours(self, here, rows, capsys):
        Path("out/transform_x.jsonl").mkdir(parents=True)
        Path("out/transform_log.jsonl").write_text('{"a": 1}\n{"shard": "a", "dropped": "no"}\n')
        Path("out/a").mkdir()
        np.save("out/a/._0.npy", rows[:3])
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 0
        assert "note:" not in capsys.readouterr().err
        np.save("out/a/.x.npy", rows[:3])
        assert run("corrupt", "e/b", "-a", "al", "--modality", "text", "-o", "out/a") == 0
        assert "note: out/a holds x_0.npy and " in capsys.readouterr().err  # aligned rows beside noisy ones

    def test_rows_of_another_time_in_the_folder_are_told_of(self, here, rows, capsys):
        assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 0
        assert "note:" not in capsys.readouterr().err
        for name in ("x_99.npy", "y.npy"):
            np.save(f"out/a/{name}", rows[:3])
        for _ in range(2):  # a rerun that finds all done says so too
            assert run("transform", "e", "-a", "al", "--modality", "text", "-o", "out") == 0
            told = "note: out holds a/x_99.npy and 1 more of another time, which its readers read too\n"
            assert capsys.readouterr().err == told

    def test_an_aligner_is_not_put_among_the_rows(self, here, capsys):
        before = contents("e")
        for given, output in (("e", "e"), ("e/a", "e/a"), ("e/a/x_1.npy", "e/a"), ("x.npy", ".")):
            assert run("fit", given, "-o", output) == 2
            assert f"{output} is where the rows are; pass another folder as --output" in capsys.readouterr().err
        assert run("fit", "x.npy", "--pair", "e/b", "-o", "e/b") == 2
        assert run("fit", "x.npy", "-o", "e/b") == 2  # rows of another time
        assert "e/b holds rows, " in capsys.readouterr().err
        assert contents("e") == before

    def test_a_fit_goes_on_behind_the_last_shard(self, here, rows, often, monkeypatch, capsys):
        assert run("fit", "e", "--pair", "x.npy", "-o", "whole") == 0
        done = []
        real = C3Aligner.partial_fit

        def partial_fit(self, X, y=None, **how):
            done.append(len(X))
            if len(done) == 10:
                raise KeyboardInterrupt
            return real(self, X, y, **how)

        monkeypatch.setattr(C3Aligner, "partial_fit", partial_fit)
        assert run("fit", "e", "--pair", "x.npy", "-o", "out") == 130
        assert Path("out.checkpoint").exists()
        assert run("fit", "e", "--pair", "x.npy", "-o", "out", "--seed", 5) == 2
        assert "out.checkpoint is of another run (settings was" in capsys.readouterr().err
        assert run("fit", "e", "--pair", "x.npy", "-o", "out") == 0
        assert sum(done) == 100 + 10
        assert Path("out", ALIGNER).read_bytes() == Path("whole", ALIGNER).read_bytes()
        assert not Path("out.checkpoint").exists()


class TestSkipped:
    def test_bad_rows_are_left_out_and_listed(self, here, rows, often, capsys):
        broken = rows.copy()
        broken[[3, 47, 48]] = np.nan
        broken[71] = 0
        good = np.delete(rows, [3, 47, 48, 71], axis=0)
        for i in range(10):
            np.save(f"e/{'ab'[i // 5]}/x_{i}.npy", broken[10 * i : 10 * i + 10])
        np.save("x.npy", broken)
        listed = [("x_0", 3), ("x_4", 7), ("x_4", 8), ("x_7", 1)]

        def told(path):
            lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
            return [(Path(line["file"]).stem, line["row"]) for line in lines]

        fitted = C3Aligner().fit(good)
        skip = ("--on-error", "skip")
        assert run("fit", "e", "-o", "out", *skip) == 0
        assert "4 rows could not be used; see out.dropped.jsonl" in capsys.readouterr().out
        assert Path("out", ALIGNER).read_bytes() == fitted.to_bytes()
        assert told("out.dropped.jsonl") == listed
        expected = fitted.corrupt(good, modality="text", row_ids=np.delete(np.arange(100), [3, 47, 48, 71]))
        assert run("corrupt", "e", "-a", "out", "--modality", "text", "-o", "tree", *skip) == 0
        assert raw(joined("tree")) == raw(expected)
        assert told("tree/dropped_rows.jsonl") == listed
        assert run("corrupt", "x.npy", "-a", "out", "--modality", "text", "-o", "z.npy", *skip) == 0
        assert raw(np.load("z.npy")) == raw(expected)
        assert told("z.npy.dropped.jsonl") == [("x", row) for row in (3, 47, 48, 71)]
        assert run("corrupt", "e", "-a", "out", "--modality", "text", "-o", "no", "--on-error", "drop") == 2

    def test_a_strict_run_goes_on_with_a_lenient_one(self, here, rows, often, capsys):
        """It looks at the shards with rows that were left out once more, and at no others."""
        broken = rows[20:30].copy()
        broken[3] = np.nan
        np.save("e/a/x_2.npy", broken)
        act = ("transform", "e", "-a", "al", "--modality", "text", "-o", "out")
        assert run(*act, "--on-error", "skip") == 0
        lenient = shards_of("out")
        capsys.readouterr()
        assert run(*act) == 2
        assert "x_2.npy, row 3" in capsys.readouterr().err
        assert shards_of("out") == lenient
        np.save("e/a/x_2.npy", rows[20:30])
        assert run(*act, "--changed", "redo") == run(*act, "--on-error", "skip") == 0
        assert raw(joined("out")) == raw(C3Aligner.from_pretrained("al").transform(rows, modality="text"))
        assert not Path("out/dropped_rows.jsonl").exists()

    def test_pairs_go_together_and_tables_follow(self, here, rows, often):
        pytest.importorskip("pyarrow")
        broken = rows.copy()
        broken[5] = np.inf
        np.save("y.npy", broken)
        assert run("fit", "x.npy", "--pair", "y.npy", "-o", "out", "--on-error", "skip") == 0
        good = np.delete(rows, 5, axis=0)
        assert Path("out", ALIGNER).read_bytes() == C3Aligner().fit(good, good).to_bytes()

    @pytest.mark.parametrize(("side", "row"), [("x", 3), ("y", 27), ("y", 55)])
    def test_of_a_pair_the_row_that_is_bad_is_named(self, here, rows, often, capsys, side, row):
        """Errors and the list named the file and the row of X, where y's was the bad one."""
        both = {"x": rows, "y": rows + 1}
        both[side][row] = np.nan
        for name, whole in both.items():
            for i in range(5):
                np.save(f"{name}_{i}.npy", whole[20 * i : 20 * i + 20])
        fit = ("fit", "x_*.npy", "--pair", "y_*.npy")
        assert run(*fit, "-o", "strict") == 2
        place = f"{side}_{row // 20}.npy, row {row % 20}: counted from row"
        err = capsys.readouterr().err
        assert err.startswith(f"error: {place}")
        assert f" of {side.replace('x', 'X')}: {side.replace('x', 'X')} holds NaN" in err
        assert run(*fit, "--on-error", "skip", "-o", "out") == 0
        assert json.loads(Path("out.dropped.jsonl").read_text()) == {"file": f"{side}_{row // 20}.npy", "row": row % 20}

    @pytest.mark.parametrize("is_swapped", [False, True])
    def test_of_pairs_in_another_order_too(self, here, rows, often, is_swapped):
        order = np.random.default_rng(0).permutation(100)
        rows[7] = np.inf
        np.save("y.npy", rows)
        picked = Picked.from_source(RowSource.open(["y.npy"]), order)
        sides = (picked, RowSource.open(["x.npy"])) if is_swapped else (RowSource.open(["x.npy"]), picked)
        with pytest.raises(ValueError, match=r"^y.npy, row 7: counted from row \d+ of y: y holds NaN or infinity"):
            _learning.Learning(C3Aligner(), *sides).run(modality="text", y_modality="image")
        learning = _learning.Learning(C3Aligner(), *sides, rules=Rules(skip=True))
        learning.run(modality="text", y_modality="image")
        assert learning.dropped == [{"file": "y.npy", "row": 7}]


def test_one_tree_is_not_paired_with_a_part_of_another(here, rows, capsys):
    """The texts of the first were left out without a word."""
    pytest.importorskip("pyarrow")
    two_modalities(rows)
    assert run("fit", "emb", "--pair", "x.npy", "-o", "out") == 2
    assert "emb holds several modalities; omit --pair to pair those, or pass one" in capsys.readouterr().err


def test_a_fit_beside_the_folder_that_one_is_in(here, rows, monkeypatch):
    for folder, output in (("in", "."), ("in/deep", "..")):
        Path(folder).mkdir()
        monkeypatch.chdir(folder)
        assert run("fit", str(here / "x.npy"), "-o", output) == 0
        monkeypatch.chdir(here)
    assert Path("in", ALIGNER).read_bytes() == Path("al", ALIGNER).read_bytes()
    monkeypatch.setenv("HOME", str(here))
    bad = rows.copy()
    bad[3] = np.nan
    np.save("x.npy", bad)
    assert run("fit", "x.npy", "-o", "~/home", "--on-error", "skip") == 0
    assert Path("home.dropped.jsonl").exists()
    monkeypatch.chdir("in")
    assert run("fit", str(here / "x.npy"), "-o", ".", "--on-error", "skip") == 0
    assert (here / "in.dropped.jsonl").exists()


def test_a_file_that_is_named_twice_by_a_link(here, capsys):
    Path("link.npy").symlink_to(Path("e/a/x_0.npy").resolve())
    assert run("fit", "e/a/x_0.npy", "link.npy", "-o", "twice") == 2
    assert "x_0.npy is given twice" in capsys.readouterr().err
    assert not Path("twice").exists()


def test_a_table_of_other_rows_is_told_of(here, rows, capsys):
    pytest.importorskip("pyarrow")
    two_modalities(rows)
    assert run("fit", "emb/text_emb", "-o", "al") == 0
    assert run("transform", "emb/text_emb", "-a", "al", "-o", "right") == 0
    assert "about each other" not in capsys.readouterr().err
    np.save("emb/text_emb/text_emb_000.npy", rows[:-1])
    assert run("transform", "emb/text_emb", "-a", "al", "-o", "out") == 0
    n, told = len(rows), capsys.readouterr().err
    assert re.search(rf"metadata_000.parquet has {n} lines and \S*text_emb_000.npy {n - 1} rows, so that", told)


def test_a_file_that_is_given_twice(here, capsys):
    assert run("fit", "e/a/*.npy", "./e/a/../a/x_0.npy", "-o", "twice") == 2
    assert "x_0.npy is given twice" in capsys.readouterr().err
    assert not Path("twice").exists()


@pytest.mark.parametrize("nothing", ["none/*.npy", "e"])
def test_a_pattern_that_fits_nothing_beside_one_that_does(here, capsys, nothing):
    """The folder has its files below others: they were left out without a word."""
    assert run("fit", nothing, "x.npy", "-o", "some") == 2
    assert f"no file fits {nothing}" in capsys.readouterr().err


class TestOthersFiles:
    """What is none of a run's own is neither removed nor replaced by it."""

    @pytest.mark.parametrize("name", ["../precious.txt", "/precious.txt"])
    def test_names_in_a_list_lead_nowhere_else(self, here, capsys, name):
        run("transform", "e", "-a", "al", "-o", "out", "--modality", "text")
        Path("precious.txt").write_text("mine")
        lines = Path("out/transform_rows.jsonl").read_text().splitlines()
        name = str(here / name[1:]) if name[0] == "/" else name
        lines.append(json.dumps({**json.loads(lines[-1]), "shard": name}))
        Path("out/transform_rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
        assert run("transform", "e", "-a", "al", "-o", "out", "--modality", "text", "--changed", "redo") == 2
        assert "holds a line that is not its own" in capsys.readouterr().err
        assert Path("precious.txt").read_text() == "mine"

    def test_odd_lines_are_told(self, here, capsys):
        run("transform", "e", "-a", "al", "-o", "out", "--modality", "text")
        for line in ("[" * 100_000, json.dumps({"shard": "a/x_0.npy", "dropped": 7})):
            with Path("out/transform_rows.jsonl").open("a") as file:
                file.write(f"{line}\n")
        assert run("transform", "e", "-a", "al", "-o", "out", "--modality", "text") == 2
        assert "holds a line that is not its own" in capsys.readouterr().err

    def test_a_link_to_what_is_read(self, here, rows, capsys):
        Path("out/a").mkdir(parents=True)
        Path("out/a/x_0.npy").symlink_to(here / "e/a/x_0.npy")
        assert run("transform", "e", "-a", "al", "-o", "out", "--modality", "text") == 2
        assert "links to files that are to be read" in capsys.readouterr().err
        assert raw(np.load("e/a/x_0.npy")) == raw(rows[:10])

    def test_two_commands_have_folders_of_their_own(self, here, capsys):
        assert run("transform", "e", "-a", "al", "-o", "out", "--modality", "text") == 0
        before = contents("out")
        assert run("corrupt", "e", "-a", "al", "-o", "out", "--modality", "text") == 2
        assert "holds what transform_rows.jsonl tells of" in capsys.readouterr().err
        assert contents("out") == before
