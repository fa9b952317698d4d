"""`c3align embed`: the tree of clip-retrieval, the same after any kill, and an aligner fitted on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from c3align import C3Aligner, cli, datasets, embed, encoders, report
from c3align.embed import Tree
from c3align.errors import C3AlignError
from c3align.io.items import Item, gather
from tests import media, tiny_encoders
from tests.children import COMMAND, Child
from tests.test_ops import raw

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def characters():
    return datasets.glyphs()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, characters):
    """A folder of 30 character pictures, of which three are broken."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    for i in range(30):
        Image.fromarray(characters.pictures[i * 50]).save(folder / f"glyph_{i:03d}.png")
    for i in (3, 17, 18):
        path = folder / f"glyph_{i:03d}.png"
        path.write_bytes(path.read_bytes()[:60])
    return folder


def run(*arguments):
    return cli.run([*map(str, arguments)])


def files_of(tree: Path):
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


OPTIONS = ("--encoder", "glyphs", "--modality", "image", "--shard-items", 7, "--batch-size", 3)


class TestTree:
    def test_rows_and_metadata(self, pictures, tmp_path, capsys):
        assert run("embed", pictures, *OPTIONS, "-o", tmp_path / "emb", "--on-error", "skip", "--dtype", "float32") == 0
        out, err = capsys.readouterr()
        assert "27 rows of image" in out
        assert "3 of 30 items could not be read" in err
        paths = sorted((tmp_path / "emb" / "img_emb").glob("*.npy"))
        assert [path.name for path in paths] == [f"img_emb_{k:03d}.npy" for k in range(5)]
        rows = np.concatenate([np.load(path, allow_pickle=False) for path in paths])
        tables = [parquet.read_table(p).to_pylist() for p in sorted((tmp_path / "emb" / "metadata").glob("*"))]
        metadata = [row for table in tables for row in table]
        kept = [i for i in range(30) if i not in (3, 17, 18)]
        assert [row["item"] for row in metadata] == kept
        assert [Path(row["image_path"]).name for row in metadata] == [f"glyph_{i:03d}.png" for i in kept]
        expected = encoders.load("glyphs").encode([row["image_path"] for row in metadata], modality="image")
        assert np.abs(rows - expected).max() < 1e-5
        broken = [json.loads(line) for line in (tmp_path / "emb" / "broken_image.jsonl").read_text().splitlines()]
        assert [line["item"] for line in broken] == [3, 17, 18]
        assert all(line["name"].endswith(".png") and line["reason"] for line in broken)
        state = json.loads((tmp_path / "emb" / "embed_image.json").read_text())
        assert state["fingerprint"] == encoders.load("glyphs").fingerprint

    def test_a_broken_item_stops_the_run_unless_skipped(self, pictures, tmp_path, capsys):
        assert run("embed", pictures, *OPTIONS, "-o", tmp_path / "emb") == 2
        assert "glyph_003.png) cannot be used" in capsys.readouterr().err
        assert not list((tmp_path / "emb" / "metadata").iterdir())

    def test_a_file_is_no_folder(self, pictures, tmp_path, capsys):
        (tmp_path / "emb").write_text("mine")
        assert run("embed", pictures, *OPTIONS, "-o", tmp_path / "emb") == 2
        assert "emb is a file; pass the name of a folder" in capsys.readouterr().err

    @pytest.mark.parametrize("fault", ["another encoder", "a broken item"])
    def test_an_aligner_learns_none_of_another_or_half(self, pictures, tmp_path, fault):
        encoder, items = encoders.load("glyphs"), gather(str(pictures), "image")
        aligner = C3Aligner().fit(np.eye(256), modality="image")
        aligner.bind_encoder("clip@1" if fault == "another encoder" else encoder.fingerprint)
        before = aligner.statistics_["image"]
        text = "the encoder clip@1 and not from" if fault == "another encoder" else r"003\.png\) cannot be used"
        with pytest.raises(C3AlignError, match=text):
            embed.embed(
                encoder, items, tmp_path / "emb", modality="image", batch_size=2, shard_items=2, aligner=aligner
            )
        assert aligner.statistics_["image"] == before

    def test_after_a_broken_item_one_may_go_on_and_skip(self, pictures, tmp_path, capsys):
        """To the tree that a run which skips leaves; what a run has skipped, no other run passes over in silence."""
        asked = [*OPTIONS, "--shard-items", 2]
        assert run("embed", pictures, *asked, "-o", tmp_path / "emb") == 2
        assert "or pass --on-error skip" in capsys.readouterr().err
        assert len(list((tmp_path / "emb" / "metadata").iterdir())) == 1
        for folder in ("emb", "fresh"):
            assert run("embed", pictures, *asked, "-o", tmp_path / folder, "--on-error", "skip") == 0
        assert files_of(tmp_path / "emb") == files_of(tmp_path / "fresh")
        assert run("embed", pictures, *asked, "-o", tmp_path / "emb") == 2
        assert "glyph_003.png) cannot be used" in capsys.readouterr().err
        assert files_of(tmp_path / "emb") == files_of(tmp_path / "fresh")
        assert run("fit", tmp_path / "emb", "-o", tmp_path / "a") == 0

    def test_a_strict_run_goes_on_with_a_lenient_one(self, pictures, characters, tmp_path):
        """Once what was broken is whole."""
        from PIL import Image

        folder = shutil.copytree(pictures, tmp_path / "p")
        assert run("embed", folder, *OPTIONS, "-o", tmp_path / "emb", "--on-error", "skip") == 0
        for i in (3, 17, 18):
            Image.fromarray(characters.pictures[i]).save(folder / f"glyph_{i:03d}.png")
        for name in ("emb", "fresh"):
            assert run("embed", folder, *OPTIONS, "-o", tmp_path / name) == 0
        before, after = files_of(tmp_path / "emb"), files_of(tmp_path / "fresh")
        assert [*before] == [*after]
        assert before["embed_image.json"] == after["embed_image.json"]

    def test_no_aligner_among_the_shards(self, pictures, tmp_path, capsys):
        assert run("embed", pictures, *OPTIONS, "-o", tmp_path / "emb", "--fit", tmp_path / "emb") == 2
        assert "emb is where the rows are; pass another folder as --fit" in capsys.readouterr().err

    def test_a_broken_item_counts_from_the_first_of_all(self, pictures, tmp_path, capsys):
        options = ("--encoder", "glyphs", "--modality", "image", "--shard-items", 2)
        assert run("embed", pictures, *options, "-o", tmp_path / "emb") == 2
        assert "error: image 3 (" in capsys.readouterr().err

    def test_captions(self, characters, tmp_path, capsys):
        (tmp_path / "names.txt").write_text("\n".join(characters.names[:25]) + "\n")
        options = ("--encoder", "glyphs", "--modality", "text", "--json")
        assert run("embed", tmp_path / "names.txt", *options, "-o", tmp_path / "emb") == 0
        assert json.loads(capsys.readouterr().out)["n_rows"] == 25
        rows = np.load(tmp_path / "emb" / "text_emb" / "text_emb_000.npy")
        assert (rows.dtype, rows.shape) == (np.float16, (25, 256))
        table = parquet.read_table(tmp_path / "emb" / "metadata" / "metadata_000.parquet")
        assert table.column("caption").to_pylist() == characters.names[:25]

    def test_videos_and_how_they_are_looked_at(self, tmp_path, capsys, monkeypatch):
        for name in ("a", "b"):
            media.write_video(tmp_path / f"{name}.mp4")
        encoder = encoders.load(tiny_encoders.write_transformers("clip", tmp_path / "clip"))
        monkeypatch.setattr(encoders, "load", lambda spec: encoder)
        options = ("--encoder", "it", "--modality", "video", "-o", tmp_path / "emb")
        assert run("embed", tmp_path / "*.mp4", *options, "--frames", 3) == 0
        assert encoder.n_frames == 3
        assert run("embed", tmp_path / "*.mp4", *options, "--frame-rate", 2) == 2
        assert "/3 frames', now " in (err := capsys.readouterr().err)
        assert "/2 frames a second')" in err
        for wrong, text in ((("--frames", 0), "--frames must be"), (("--frame-rate", 0), "--frame-rate must be")):
            assert run("embed", tmp_path / "*.mp4", *options, *wrong) == 2
            assert text in capsys.readouterr().err
        assert run("embed", tmp_path / "*.mp4", *options, "--frames", 3, "--frame-rate", 2) == 2
        assert "exclude each other" in capsys.readouterr().err
        monkeypatch.setattr(type(encoder), "chooses_frames", False)
        assert run("embed", tmp_path / "*.mp4", *options, "--frames", 3) == 2
        assert "takes no number of frames" in capsys.readouterr().err
        assert np.load(tmp_path / "emb" / "video_emb" / "video_emb_000.npy").shape == (2, 24)

    def test_another_run_does_not_mix_with_it(self, pictures, tmp_path, capsys):
        assert run("embed", pictures, *OPTIONS, "-o", tmp_path, "--on-error", "skip") == 0
        before = files_of(tmp_path)
        for change, text in [
            (("--dtype", "float32"), "dtype was 'float16', now 'float32'"),
            (("--shard-items", 8), "shard_items was 7, now 8"),
        ]:
            assert run("embed", pictures, *OPTIONS, "-o", tmp_path, "--on-error", "skip", *change) == 2
            assert text in capsys.readouterr().err
        (tmp_path / "names.txt").write_text("a\n")
        wrong = ("--encoder", "glyphs", "--modality", "text", "-o", tmp_path)
        assert run("embed", tmp_path / "names.txt", *wrong) == 2
        assert "holds image embeddings; pass another folder" in capsys.readouterr().err
        (tmp_path / "names.txt").unlink()
        assert files_of(tmp_path) == before

    def test_too_large_for_float16(self, tmp_path):
        class Loud:
            modalities, n_dims, fingerprint = ("text",), 2, "loud"

            def encode(self, items, *, modality, batch_size, device=None, dtype="float32", progress=False):
                with np.errstate(over="ignore"):
                    return np.full((len(items), 2), 1e6).astype(dtype)

        with pytest.raises(C3AlignError, match="do not fit in float16; pass --dtype float32"):
            embed.embed(Loud(), [Item("a", "a")], tmp_path, modality="text")

    def test_rows_that_are_nan_are_not_written(self, tmp_path):
        class Lost:
            modalities, n_dims, fingerprint = ("text",), 2, "lost"

            def encode(self, items, *, modality, batch_size, device=None, dtype="float32", progress=False):
                return np.array([[1, np.nan if item == "b" else 1] for item in items], dtype)

        items = [Item(name, name) for name in "abcb"]
        with pytest.raises(C3AlignError, match="embeddings of b and 1 more items are NaN; remove those items"):
            embed.embed(Lost(), items, tmp_path, modality="text", on_error="skip")
        assert not list(tmp_path.glob("text_emb/*"))


class TestResuming:
    @pytest.fixture
    def whole(self, pictures, tmp_path):
        assert run("embed", pictures, *OPTIONS, "-o", tmp_path / "whole", "--on-error", "skip") == 0
        return files_of(tmp_path / "whole")

    def test_a_failure_at_any_write_loses_and_doubles_nothing(self, whole, pictures, tmp_path, monkeypatch):
        """Every rename of a run fails once; started again, the run ends with the same bytes."""
        real, calls = os.replace, []

        def count(source, target):
            calls.append(target)
            real(source, target)

        monkeypatch.setattr(os, "replace", count)
        run("embed", pictures, *OPTIONS, "-o", tmp_path / "count", "--on-error", "skip")
        assert len(calls) > 10
        for fatal in range(len(calls)):
            left = iter(range(len(calls)))

            def fail(source, target, left=left, fatal=fatal):
                if next(left) == fatal:
                    raise OSError("the disk went away")
                real(source, target)

            tree = tmp_path / f"tree {fatal}"
            monkeypatch.setattr(os, "replace", fail)
            assert run("embed", pictures, *OPTIONS, "-o", tree, "--on-error", "skip") == 2
            monkeypatch.setattr(os, "replace", real)
            assert not list(tree.rglob(".*")), "scratch files are removed"
            assert run("embed", pictures, *OPTIONS, "-o", tree, "--on-error", "skip") == 0
            assert files_of(tree) == whole

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
    def test_a_killed_process_goes_on(self, whole, pictures, tmp_path):
        command = ["embed", pictures, *OPTIONS, "-o", tmp_path / "emb", "--on-error", "skip"]
        for shards in (1, 3):
            child = Child(COMMAND, *command)
            while child.wait(0.001) is None:
                if len(list((tmp_path / "emb").glob("metadata/metadata*"))) >= shards:
                    child.kill()
        assert run(*command) == 0
        assert files_of(tmp_path / "emb") == whole  # no scratch file of a killed run is left

    def test_what_is_whole_is_not_embedded_again(self, whole, pictures, tmp_path, capsys):
        tree = tmp_path / "whole"
        (tree / "metadata" / "metadata_002.parquet").unlink()
        assert run("embed", pictures, *OPTIONS, "-o", tree, "--on-error", "skip", "--json") == 0
        assert json.loads(capsys.readouterr().out)["n_before"] == 23
        assert files_of(tree) == whole


class TestAligners:
    def test_fit_on_the_way_and_from_the_tree(self, pictures, tmp_path, capsys):
        skip = ("--on-error", "skip")
        assert run("embed", pictures, *OPTIONS, *skip, "-o", tmp_path / "emb", "--fit", tmp_path / "on the way") == 0
        assert run("fit", tmp_path / "emb", "-o", tmp_path / "after") == 0
        first, second = (C3Aligner.from_pretrained(tmp_path / name) for name in ("on the way", "after"))
        assert first.statistics_["image"] == second.statistics_["image"]
        assert first.encoder_fingerprint_ == second.encoder_fingerprint_ == encoders.load("glyphs").fingerprint
        # a run that finds all shards there fits all the same
        assert run("embed", pictures, *OPTIONS, *skip, "-o", tmp_path / "emb", "--fit", tmp_path / "again") == 0
        assert C3Aligner.from_pretrained(tmp_path / "again").statistics_["image"] == first.statistics_["image"]
        capsys.readouterr()
        assert run("transform", tmp_path / "emb", "-a", tmp_path / "after", "-o", tmp_path / "z.npy") == 0
        assert "centered by the mean of 'image'" in capsys.readouterr().out
        rows = np.concatenate([np.load(path) for path in sorted((tmp_path / "emb" / "img_emb").glob("*"))])
        assert raw(np.load(tmp_path / "z.npy")) == raw(second.transform(rows, modality="image"))

    def test_pairs_of_two_trees(self, characters, tmp_path, capsys):
        np.save(tmp_path / "p.npy", characters.pictures[:40])
        (tmp_path / "n.txt").write_text("\n".join(characters.names[:40]) + "\n")
        options = ("--encoder", "glyphs", "--dtype", "float32", "--shard-items", 16)
        assert run("embed", tmp_path / "p.npy", *options, "--modality", "image", "-o", tmp_path / "image") == 0
        assert run("embed", tmp_path / "n.txt", *options, "--modality", "text", "-o", tmp_path / "text") == 0
        assert run("fit", tmp_path / "text", "--pair", tmp_path / "image", "-o", tmp_path / "a") == 0
        fitted = C3Aligner.from_pretrained(tmp_path / "a")
        assert set(fitted.statistics_) == {"text", "image"}
        assert fitted.pairs_["image", "text"].n_rows == 40
        # one folder with both, as clip-retrieval writes it
        (tmp_path / "image" / "img_emb").rename(tmp_path / "text" / "img_emb")
        assert run("fit", tmp_path / "text", "-o", tmp_path / "b") == 0
        assert C3Aligner.from_pretrained(tmp_path / "b").pairs_ == fitted.pairs_
        assert run("transform", tmp_path / "text", "-a", tmp_path / "b", "-o", tmp_path / "z.npy") == 2
        assert "several modalities" in capsys.readouterr().err

    def test_pairs_by_item(self, characters, tmp_path, capsys, monkeypatch):
        """Broken pictures leave gaps; pairs are those of the items, whatever the blocks, and what is alone is told."""
        from PIL import Image

        (tmp_path / "p").mkdir()
        for i in range(40):
            Image.fromarray(characters.pictures[i]).save(tmp_path / "p" / f"{i:02d}.png")
        for i in (0, 7, 20, 21, 39):
            (tmp_path / "p" / f"{i:02d}.png").write_bytes(b"no picture")
        (tmp_path / "n.txt").write_text("\n".join(characters.names[:40]))
        options = ("--encoder", "glyphs", "--dtype", "float32", "--on-error", "skip", "--batch-size", 1)
        for n_items, given, modality in ((16, "p", "image"), (11, "n.txt", "text")):
            asked = (*options, "--shard-items", n_items, "--modality", modality)
            assert run("embed", tmp_path / given, *asked, "-o", tmp_path / modality) == 0
        kept = [i for i in range(40) if i not in (0, 7, 20, 21, 39)]
        text, image = (
            np.concatenate([np.load(path) for path in sorted((tmp_path / folder).glob("*"))])
            for folder in ("text/text_emb", "image/img_emb")
        )
        expected = C3Aligner().fit(text[kept], image)
        for rows_of_a_block in (None, 3):
            if rows_of_a_block:
                monkeypatch.setattr("c3align.io.rows.BLOCK_BYTES", 4 * 256 * rows_of_a_block)
            for sides in (("text", "image"), ("image", "text")):
                capsys.readouterr()
                first, second = (tmp_path / side for side in sides)
                assert run("fit", first, "--pair", second, "-o", tmp_path / "a") == 0
                out = capsys.readouterr().out
                assert "35 pairs by the numbers of their items" in out
                assert "left out, as without a partner, 5 of text: 0, 7, 20, 21, 39" in out
                found = C3Aligner.from_pretrained(tmp_path / "a")
                assert found.statistics_ == expected.statistics_
                assert found.pairs_ == expected.pairs_
        (tmp_path / "n.txt").write_text("\n".join(characters.names[:39]))  # all behind one may be another's
        asked = (*options, "--modality", "text", "-o", tmp_path / "less")
        assert run("embed", tmp_path / "n.txt", *asked) == 0
        assert run("fit", tmp_path / "less", "--pair", tmp_path / "image", "-o", tmp_path / "b") == 2
        assert "lists of 39 and 40 items, whose numbers do not correspond" in capsys.readouterr().err
        np.save(tmp_path / "text.npy", text[:35])
        assert run("fit", tmp_path / "text.npy", "--pair", tmp_path / "image", "-o", tmp_path / "b") == 2
        assert "pass a folder of c3align embed on both sides" in capsys.readouterr().err
        np.save(tmp_path / "image.npy", image)
        assert run("fit", tmp_path / "text.npy", "--pair", tmp_path / "image.npy", "-o", tmp_path / "b") == 0
        assert "pairs by their places" in capsys.readouterr().out

    def test_pairs_without_an_item_in_common(self, pictures, tmp_path, capsys):
        for name, lost in (("a", (0, 1, 2, 4, 9)), ("b", range(5, 10))):  # 3 is broken in both
            folder = shutil.copytree(pictures, tmp_path / name)
            for i in range(10, 30):
                (folder / f"glyph_{i:03d}.png").unlink()
            for i in lost:
                (folder / f"glyph_{i:03d}.png").write_bytes(b"no picture")
            assert run("embed", folder, *OPTIONS, "--on-error", "skip", "-o", tmp_path / f"emb {name}") == 0
        trees = (tmp_path / "emb a", "--pair", tmp_path / "emb b", "--modality", "x", "--pair-modality", "y")
        assert run("fit", *trees, "-o", tmp_path / "z") == 2
        assert "no item in common" in capsys.readouterr().err
        both = [tmp_path / "emb a" / "img_emb", tmp_path / "emb b" / "img_emb"]
        assert run("choose", *both, "--names", "a,b", "--job", "search", "--pairs") == 2
        assert "no item in common" in capsys.readouterr().err
        assert run("report", *both, "--names", "a,b", "--json") == 0
        out, err = capsys.readouterr()
        assert not json.loads(out)["paired"]
        assert "measured without pairs: the rows and their partners have no item in common" in err
        assert (
            run("embed", tmp_path / "b", *OPTIONS, "--on-error", "skip", "-o", tmp_path / "emb b") == 0
        )  # an empty shard

    @pytest.fixture
    def of_tables(self, characters, tmp_path):
        """Trees of 12 pictures and of 30 captions of 10 of them, in another order; and which picture is whose."""
        from PIL import Image

        (tmp_path / "p").mkdir()
        for i in range(12):
            Image.fromarray(characters.pictures[i]).save(tmp_path / "p" / f"{i:02d}.png")
        (tmp_path / "p" / "05.png").write_bytes(b"no picture")
        lines = [f"k{(7 * i) % 12},p/{(7 * i) % 12:02d}.png" for i in range(12)]
        (tmp_path / "p.csv").write_text("\n".join(["key,path", *lines]))
        whose = [(7 * i) % 10 for i in range(30)]
        lines = [f"k{j},{characters.names[j]} {i}" for i, j in enumerate(whose)]
        (tmp_path / "c.csv").write_text("\n".join(["key,caption", *lines]))
        options = ("--encoder", "glyphs", "--dtype", "float32", "--on-error", "skip", "--shard-items", 7, "--id", "key")
        for given, modality in (("p.csv", "image"), ("c.csv", "text")):
            assert run("embed", tmp_path / given, *options, "--modality", modality, "-o", tmp_path / modality) == 0
        return tmp_path, whose

    def test_pairs_by_a_column(self, of_tables, capsys, monkeypatch):
        """Several captions of a picture, in any order, for any blocks; what is alone is told."""
        folder, whose = of_tables
        image, text = (
            np.concatenate([np.load(path) for path in sorted((folder / name).glob("*.npy"))])
            for name in ("image/img_emb", "text/text_emb")
        )
        known = [(7 * i) % 12 for i in range(12) if (7 * i) % 12 != 5]
        kept = [i for i in range(30) if whose[i] != 5]
        pictures = image[[known.index(whose[i]) for i in kept]]
        expected = C3Aligner().fit(text[kept], pictures)
        for rows_of_a_block in (None, 4):
            if rows_of_a_block:
                monkeypatch.setattr("c3align.io.rows.BLOCK_BYTES", 4 * 256 * rows_of_a_block)
            for sides in (("text", "image"), ("image", "text")):
                first, second = (folder / side for side in sides)
                capsys.readouterr()
                assert run("fit", first, "--pair", second, "--on", "id", "-o", folder / "a") == 0
                out = capsys.readouterr().out
                assert f"{len(kept)} pairs by their id" in out
                assert "left out, as without a partner, 3 of text: k5, k5, k5" in out
                assert "of image: k" in out
                found = C3Aligner.from_pretrained(folder / "a")
                assert found.statistics_ == expected.statistics_
                assert found.pairs_ == expected.pairs_
        assert run("report", folder / "image", folder / "text", "--on", "id", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["paired"]
        assert f"{len(kept)} pairs by their id" in found["provenance"]["Pairs"]
        same = report.report(pictures, text[kept], names=("image", "text")).to_dict()
        assert found["pairs"] == json.loads(json.dumps(same["pairs"]))

    def test_a_tree_and_a_parquet(self, of_tables, capsys):
        """The number of an item is a number there, and a text here."""
        folder, _ = of_tables
        parquet = pytest.importorskip("pyarrow.parquet")
        table = {"item": ["3", "1", "99"], "rows": list(np.eye(3, 256, dtype=np.float32))}
        parquet.write_table(pytest.importorskip("pyarrow").table(table), folder / "x.parquet")
        assert run("fit", folder / "text", "--pair", folder / "x.parquet", "--on", "item", "-o", folder / "a") == 0
        out = capsys.readouterr().out
        assert "2 pairs by their item" in out
        assert "1 of " in out
        assert "x.parquet: 99" in out

    def test_columns_that_do_not_pair(self, of_tables, capsys):
        folder, _ = of_tables
        asked = ("fit", folder / "text", "--pair", folder / "image", "-o", folder / "a")
        for more, text in [
            (("--on", "key"), "have no 'key' but 'item', 'caption', 'id', 'sha256'; pass one that all sides have"),
            (("--on", "sha256"), "have no sha256 in common"),
            ((), "lists of 30 and 12 items, whose numbers do not correspond; embed two lists"),
        ]:
            assert run(*asked, *more) == 2
            assert text in capsys.readouterr().err
        assert (
            run("fit", folder / "text", "--pair", folder / "text", "--pair-modality", "x", "--on", "id", "-o", "a") == 2
        )
        assert "several rows of text and several of text have one 'id'" in capsys.readouterr().err
        np.save(folder / "x.npy", np.zeros((30, 256), np.float32))
        assert run("fit", folder / "text", "--pair", folder / "x.npy", "--on", "id", "-o", folder / "a") == 2
        assert "x.npy, row 0 is neither of a tree that c3align embed wrote" in capsys.readouterr().err
        assert run("fit", folder / "text", "--on", "id", "-o", folder / "a") == 2
        assert "pass the other as --pair" in capsys.readouterr().err
        assert run("report", folder / "text", folder / "image", "--on", "id", "--unpaired") == 2
        assert "contradict each other" in capsys.readouterr().err

    def test_numbers_that_ids_contradict(self, characters, tmp_path, capsys):
        for name, ids in (("a", "123"), ("b", "132")):
            (tmp_path / f"{name}.csv").write_text(
                "id,caption\n" + "".join(f"{j},{characters.names[int(j)]} {name}\n" for j in ids)
            )
            asked = ("--encoder", "glyphs", "--modality", "text", "-o", tmp_path / name)
            assert run("embed", tmp_path / f"{name}.csv", *asked) == 0
        asked = ("fit", tmp_path / "a", "--pair", tmp_path / "b", "--pair-modality", "b", "-o", tmp_path / "x")
        assert run(*asked) == 2
        assert "item 1 has the id '2' on one side and '3' on another; pass --on id to" in capsys.readouterr().err
        for column, partner in (("id", [0, 2, 1]), ("item", [0, 1, 2])):
            assert run(*asked, "--on", column) == 0
            a, b = (np.load(tmp_path / name / "text_emb" / "text_emb_000.npy") for name in "ab")
            assert (
                C3Aligner.from_pretrained(tmp_path / "x").pairs_
                == C3Aligner().fit(a, b[partner], modality="text", y_modality="b").pairs_
            )

    def test_folders_of_which_each_lacks_a_file(self, pictures, tmp_path, capsys):
        """The numbers of what lies between the two have moved, and names say so."""
        whole = [path for path in sorted(pictures.iterdir()) if path.stem[-3:] not in ("003", "017", "018")]
        for name, gone in (("a", 5), ("b", 9), ("c", 5)):
            (tmp_path / name).mkdir()
            for path in whole[:gone] + whole[gone + 1 :]:
                shutil.copy(path, tmp_path / name)
            assert run("embed", tmp_path / name, *OPTIONS, "-o", tmp_path / f"emb-{name}") == 0
        capsys.readouterr()
        for other, says in (("b", True), ("c", False)):
            asked = ("fit", tmp_path / "emb-a", "--pair", tmp_path / f"emb-{other}", "--pair-modality", "other")
            assert run(*asked, "-o", tmp_path / other / "al") == 0
            err = capsys.readouterr().err
            said = [part in err for part in ("item 6 is ", "if a file is absent on one side, embed tables with")]
            assert said == [says, says]

    def test_rows_of_another_encoder_are_refused(self, pictures, tmp_path, capsys):
        skip = ("--on-error", "skip")
        assert run("embed", pictures, *OPTIONS, *skip, "-o", tmp_path / "emb", "--fit", tmp_path / "a") == 0
        state = tmp_path / "emb" / "embed_image.json"
        state.write_text(state.read_text().replace("c3align:glyphs", "c3align:other"))
        assert run("transform", tmp_path / "emb", "-a", tmp_path / "a", "-o", tmp_path / "z.npy") == 2
        assert "embed_image.json is not the one in embed_image.sha256" in capsys.readouterr().err
        Tree(tmp_path / "emb", "image").finish(5)
        assert run("transform", tmp_path / "emb", "-a", tmp_path / "a", "-o", tmp_path / "z.npy") == 2
        assert "come from the encoder c3align:glyphs" in capsys.readouterr().err
        assert run("fit", tmp_path / "emb", "--encoder", "mine", "-o", tmp_path / "b") == 2
        assert "come from different encoders" in capsys.readouterr().err
        assert run("fit", tmp_path, "-o", tmp_path / "b") == 2  # which has an aligner below it
        assert "aligner.safetensors is not a whole file of numbers" in capsys.readouterr().err


def test_memory_stays_flat(tmp_path, characters):
    """Ten times the items in shards of the same size: the same peak, but for the list of names."""
    code = (
        "import sys, resource, numpy as np\n"
        "from c3align import embed, encoders\n"
        "from c3align.io.items import Item\n"
        "class Zeros:\n"
        "    modalities, n_dims, fingerprint = ('text',), 512, 'zeros'\n"
        "    def encode(self, items, *, modality, batch_size, device=None, dtype='float32', progress=False):\n"
        "        return np.ones((len(items), 512), dtype)\n"
        "n = int(sys.argv[1])\n"
        "embed.embed(Zeros(), [Item('a', 'a')] * n, sys.argv[2], modality='text', batch_size=500, shard_items=1000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for n in (2000, 40_000):
        command = [sys.executable, "-c", code, str(n), str(tmp_path / str(n))]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 30_000  # kilobytes; all rows together would be 40 MB of float16


def test_gather_is_what_embed_sees(pictures):
    assert len(gather(str(pictures), "image")) == 30
    assert Tree(pictures, "audio").shard_path(12).name == "audio_emb_012.npy"


class TestChanges:
    """A rerun embeds what is not what it was, and says so: the tree is that of a fresh run."""

    def again(self, given, tmp_path, capsys, modality="image"):
        """What a second run counts; its files are those of a fresh run."""
        # a batch of one, since a row may differ by a rounding from batch to batch
        options = ("--encoder", "glyphs", "--modality", modality, "--shard-items", 7, "--batch-size", 1, "--json")
        options = (*options, "--on-error", "skip")
        capsys.readouterr()
        for folder in ("emb", "fresh"):
            assert run("embed", given, *options, "-o", tmp_path / folder) == 0
        counted = json.loads(capsys.readouterr().out.partition("}")[0] + "}")
        assert files_of(tmp_path / "emb") == files_of(tmp_path / "fresh")
        shutil.rmtree(tmp_path / "fresh")
        return {name: counted[name] for name in ("n_changed", "n_mended", "n_broken", "n_before")}

    def test_pictures_replaced_mended_and_broken(self, pictures, characters, tmp_path, capsys):
        from PIL import Image

        folder = shutil.copytree(pictures, tmp_path / "p")
        self.again(folder, tmp_path, capsys)
        same = {"n_changed": 0, "n_mended": 0, "n_broken": 3, "n_before": 30}
        assert self.again(folder, tmp_path, capsys) == same
        Image.fromarray(characters.pictures[7]).save(folder / "glyph_010.png")
        os.utime(folder / "glyph_010.png", ns=(1, 1))  # by its bytes, not by its date
        Image.fromarray(characters.pictures[8]).save(folder / "glyph_017.png")
        (folder / "glyph_020.png").write_bytes(b"no picture")
        found = self.again(folder, tmp_path, capsys)
        assert found == {"n_changed": 2, "n_mended": 1, "n_broken": 3, "n_before": 27}
        for i in (3, 18, 20):
            Image.fromarray(characters.pictures[i]).save(folder / f"glyph_{i:03d}.png")
        assert self.again(folder, tmp_path, capsys) == {**same, "n_mended": 3, "n_broken": 0, "n_before": 27}
        assert not (tmp_path / "emb" / "broken_image.jsonl").exists()

    def test_captions_of_as_many_lines(self, tmp_path, capsys):
        path = tmp_path / "t.txt"
        path.write_text("\n".join(f"letter {i}" for i in range(20)))
        self.again(path, tmp_path, capsys, "text")
        path.write_text("\n".join(f"letter {i if i != 9 else 'nine'}" for i in range(20)))
        assert self.again(path, tmp_path, capsys, "text")["n_changed"] == 1

    def test_pictures_of_an_array(self, characters, tmp_path, capsys):
        np.save(tmp_path / "p.npy", characters.pictures[:9])
        self.again(tmp_path / "p.npy", tmp_path, capsys)
        np.save(tmp_path / "p.npy", characters.pictures[[0, 1, 2, 3, 4, 50, 6, 7, 60]])
        assert self.again(tmp_path / "p.npy", tmp_path, capsys)["n_changed"] == 2

    def test_a_caption_beside_a_picture(self, pictures, tmp_path, capsys):
        table = tmp_path / "t.csv"
        for text in ("old", "new"):
            table.write_text(f"image_path,caption\n{pictures / 'glyph_000.png'},{text}\n")
            assert run("embed", table, *OPTIONS, "--allow-absolute", "-o", tmp_path / "emb") == 0
        assert parquet.read_table(tmp_path / "emb" / "metadata" / "metadata_000.parquet")["caption"].to_pylist() == [
            "new"
        ]
        assert "1 changed since and embedded again" in capsys.readouterr().out

    def test_an_id(self, tmp_path, capsys):
        path = tmp_path / "t.csv"
        for ids in ("ab", "ac"):
            path.write_text("id,caption\n" + "".join(f"{name},letter {i}\n" for i, name in enumerate(ids)))
            self.again(path, tmp_path, capsys, "text")
        assert parquet.read_table(tmp_path / "emb" / "metadata" / "metadata_000.parquet")["id"].to_pylist() == [
            "a",
            "c",
        ]

    def test_blank_captions_are_broken(self, tmp_path, capsys):
        path = tmp_path / "t.txt"
        path.write_text("letter a\n \nletter b\n\n")
        asked = ("embed", path, "--encoder", "glyphs", "--modality", "text", "-o", tmp_path / "emb")
        assert run(*asked) == 2
        assert "error: text 1 (" in (err := capsys.readouterr().err)
        assert "t.txt[1]) cannot be used: its text is blank; remove or fix it, or pass --on-error skip" in err
        assert run(*asked, "--on-error", "skip") == 0
        found = parquet.read_table(tmp_path / "emb" / "metadata" / "metadata_000.parquet")
        assert found["item"].to_pylist() == [0, 2]
        path.write_text("letter a\nletter c\nletter b\n")
        assert run(*asked, "--on-error", "skip") == 0
        assert "1 no longer broken" in capsys.readouterr().out

    def test_a_failure_at_any_write_leaves_no_row_that_is_old(self, characters, tmp_path, monkeypatch):
        path, real, calls = tmp_path / "t.txt", os.replace, []
        options = ("--encoder", "glyphs", "--modality", "text", "--shard-items", 3)

        def embed_into(folder):
            return run("embed", path, *options, "-o", folder)

        def write(*changed):
            path.write_text("\n".join(f"letter {i}{'x' * (i in changed)}" for i in range(9)))

        write()
        assert embed_into(tmp_path / "before") == 0
        write(1, 7)
        assert embed_into(tmp_path / "fresh") == 0
        monkeypatch.setattr(os, "replace", lambda source, target: (calls.append(target), real(source, target)))
        assert embed_into(shutil.copytree(tmp_path / "before", tmp_path / "count")) == 0
        for fatal in range(len(calls)):
            left = iter(range(len(calls)))

            def fail(source, target, left=left, fatal=fatal):
                if next(left) == fatal:
                    raise OSError("the disk went away")
                real(source, target)

            tree = shutil.copytree(tmp_path / "before", tmp_path / f"tree {fatal}")
            monkeypatch.setattr(os, "replace", fail)
            assert embed_into(tree) == 2
            monkeypatch.setattr(os, "replace", real)
            assert embed_into(tree) == 0
            assert files_of(tree) == files_of(tmp_path / "fresh")

    def test_a_broken_item_among_changed_ones_has_its_own_number(self, tmp_path, capsys, characters):
        from PIL import Image

        for i in range(5):
            Image.fromarray(characters.pictures[i]).save(tmp_path / f"{i}.png")
        assert run("embed", tmp_path, *OPTIONS, "-o", tmp_path / "emb") == 0
        (tmp_path / "3.png").write_bytes(b"no picture")
        assert run("embed", tmp_path, *OPTIONS, "-o", tmp_path / "emb") == 2
        assert "error: image 3 (" in capsys.readouterr().err

    def test_what_lies_behind_urls_is_not_fetched_again(self, pictures, tmp_path, capsys):
        fsspec = pytest.importorskip("fsspec")
        with fsspec.open("memory://changes/a.png", "wb") as file:
            file.write((pictures / "glyph_000.png").read_bytes())
        for _ in range(2):
            assert run("embed", "memory://changes", *OPTIONS, "-o", tmp_path / "emb") == 0
        assert "1 behind URLs and not compared" in capsys.readouterr().out

    def test_what_was_too_large_is_tried_again(self, tmp_path, pictures, capsys):
        asked = (shutil.copytree(pictures, tmp_path / "p"), *OPTIONS, "--on-error", "skip", "-o", tmp_path / "emb")
        assert run("embed", *asked, "--max-pixels", 10) == 0
        assert run("embed", *asked, "--max-pixels", 10_000) == 0
        assert "27 rows of image, 3 of them before, 27 no longer broken" in capsys.readouterr().out

    def test_damaged_metadata_are_refused_by_others_and_written_again(self, tmp_path, pictures, capsys):
        asked = (pictures, *OPTIONS, "--on-error", "skip", "-o", tmp_path)
        assert run("embed", *asked) == 0
        path = tmp_path / "metadata" / "metadata_001.parquet"
        content = bytearray(path.read_bytes())
        content[len(content) // 4] ^= 1
        path.write_bytes(content)
        assert run("fit", tmp_path, "--pair", tmp_path, "--pair-modality", "b", "-o", tmp_path / "a") == 2
        assert "metadata_001.parquet is damaged, or another file" in capsys.readouterr().err
        assert run("embed", *asked) == 0
        assert ", 7 of damaged files and embedded again" in capsys.readouterr().out
        assert run("embed", *asked) == 0
        assert "of damaged" not in capsys.readouterr().out

    @pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
    def test_a_name_that_is_no_text(self, tmp_path, pictures, capsys):
        folder = shutil.copytree(pictures, tmp_path / "p")
        os.rename(folder / "glyph_000.png", os.fsencode(folder) + b"/\xff.png")
        self.again(folder, tmp_path, capsys)
        found = parquet.read_table(tmp_path / "emb" / "metadata" / "metadata_004.parquet")["image_path"].to_pylist()
        assert found[-1].endswith("/p/\\xff.png")

    def test_an_item_that_cannot_be_opened_is_broken(self, tmp_path, pictures):
        table = tmp_path / "t.csv"
        table.write_text(f"image_path\n{pictures / 'glyph_000.png'}\n{tmp_path / 'absent.png'}\n{tmp_path}\n")
        asked = (table, *OPTIONS, "--allow-absolute", "--on-error", "skip", "-o", tmp_path / "emb")
        assert run("embed", *asked) == run("embed", *asked) == 0
        assert len((tmp_path / "emb" / "broken_image.jsonl").read_text().splitlines()) == 2

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
    def test_a_pipe_in_a_table_is_broken(self, tmp_path, pictures):
        """It would be waited for without end, by the digests and by the reader."""
        os.mkfifo(tmp_path / "f.png")
        shutil.copy(pictures / "glyph_000.png", tmp_path)
        (tmp_path / "t.csv").write_text("image_path\nf.png\nglyph_000.png\n")
        child = Child(COMMAND, "embed", tmp_path / "t.csv", *OPTIONS, "-o", tmp_path / "emb", "--on-error", "skip")
        assert child.wait(60) == 0
        assert "is a pipe or a device; pass a file" in (tmp_path / "emb" / "broken_image.jsonl").read_text()

    def test_a_strict_run_behind_a_lenient_one_that_was_cut_off(self, characters, tmp_path):
        """It waits for dead links again, for it is to raise."""
        pytest.importorskip("fsspec")
        items = [Item(characters.pictures[0], "a"), Item("memory://gone/b.png", "b")]

        def made(on_error):
            return embed.embed(encoders.load("glyphs"), items, tmp_path, modality="image", on_error=on_error)

        assert made("skip").n_broken == 1
        path = tmp_path / "embed_image.sha256"
        path.write_text(path.read_text().partition("\n")[2])  # as before the end of a run
        with pytest.raises(C3AlignError, match=r"image 1 \(memory://gone/b.png\) cannot be used"):
            made("raise")

    def test_objects_are_embedded_again(self, characters, tmp_path):
        from PIL import Image

        items = [Item(Image.fromarray(characters.pictures[0]), "a"), Item(characters.pictures[1], "b")]
        counts = [embed.embed(encoders.load("glyphs"), items, tmp_path, modality="image") for _ in range(2)]
        assert [count.n_changed for count in counts] == [0, 1]


class TestAnotherList:
    """Items that come and go: what is the same is not embedded again, and the tree is that of a fresh run."""

    options = ("--encoder", "glyphs", "--shard-items", 7, "--batch-size", 1, "--on-error", "skip")

    def again(self, given, tmp_path, capsys, *more, modality="image"):
        capsys.readouterr()
        for folder in ("emb", "fresh"):
            own = more if folder == "emb" else ()
            command = ("embed", given, *self.options, "--modality", modality, "--json", *own, "-o", tmp_path / folder)
            assert run(*command) == 0, capsys.readouterr().err
        counted = json.loads(capsys.readouterr().out.partition("}")[0] + "}")
        assert files_of(tmp_path / "emb") == files_of(tmp_path / "fresh")
        assert not list((tmp_path / "emb").glob(".*"))
        shutil.rmtree(tmp_path / "fresh")
        return tuple(counted[name] for name in ("n_before", "n_new", "n_gone"))

    def test_a_folder_that_grew_and_shrank(self, pictures, characters, tmp_path, capsys, monkeypatch):
        from PIL import Image

        folder = shutil.copytree(pictures, tmp_path / "p")
        self.again(folder, tmp_path, capsys)
        for name in ("glyph_0005", "zz"):
            Image.fromarray(characters.pictures[41 + len(name)]).save(folder / f"{name}.png")
        assert self.again(folder, tmp_path, capsys) == (27, 5, 0)  # three are broken, and tried again
        (folder / "glyph_007.png").unlink()
        (folder / "glyph_008.png").rename(folder / "a.png")
        capsys.readouterr()
        was = files_of(tmp_path / "emb")
        assert run("embed", folder, *self.options, "--modality", "image", "-o", tmp_path / "emb") == 2
        err = capsys.readouterr().err
        assert "2 items no longer" in err
        assert "glyph_007.png; put back what is gone, or pass --gone drop to drop its rows" in err
        assert files_of(tmp_path / "emb") == was
        assert self.again(folder, tmp_path, capsys, "--gone", "drop") == (28, 3, 2)

    def test_lines_of_a_text(self, tmp_path, capsys):
        path = tmp_path / "t.txt"
        path.write_text("".join(f"letter {i}\n" for i in range(20)))
        self.again(path, tmp_path, capsys, modality="text")
        path.write_text("".join(f"letter {i}\n" for i in [5, 77, *range(20), 50]))
        assert self.again(path, tmp_path, capsys, modality="text") == (21, 2, 0)
        command = ("embed", path, *self.options, "--modality", "text", "-o", tmp_path / "emb")
        path.write_text("letter 1\n")
        assert run(*command) == 2
        assert "22 items no longer" in capsys.readouterr().err
        assert self.again(path, tmp_path, capsys, "--gone", "drop", modality="text") == (1, 0, 22)

    def test_lines_of_another_file_of_texts(self, tmp_path, capsys):
        """As many lines, and others: the rows of the first file were dropped, whatever --gone said."""
        a, b, both = (tmp_path / f"{name}.txt" for name in ("a", "b", "both"))
        a.write_text("".join(f"letter {i}\n" for i in range(20)))
        b.write_text("".join(f"letter {i}\n" for i in range(15, 35)))
        both.write_text(b.read_text() + a.read_text())
        self.again(a, tmp_path, capsys, modality="text")
        was = files_of(tmp_path / "emb")
        assert run("embed", b, *self.options, "--modality", "text", "-o", tmp_path / "emb") == 2
        assert "15 items no longer there, such as line 0; put back" in capsys.readouterr().err
        assert files_of(tmp_path / "emb") == was
        assert self.again(both, tmp_path, capsys, modality="text") == (25, 15, 0)
        assert self.again(b, tmp_path, capsys, "--gone", "drop", modality="text") == (20, 0, 15)

    def test_a_damaged_shard_of_the_earlier_list_is_embedded_again(self, tmp_path, capsys):
        path, shard = tmp_path / "t.txt", tmp_path / "emb" / "text_emb" / "text_emb_000.npy"
        path.write_text("".join(f"letter {i}\n" for i in range(20)))
        self.again(path, tmp_path, capsys, modality="text")
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
        path.write_text("".join(f"letter {i}\n" for i in range(21)))
        assert self.again(path, tmp_path, capsys, modality="text") == (13, 8, 0)

    def test_a_failure_at_any_rename_loses_nothing(self, tmp_path, capsys, monkeypatch):
        """Cut off wherever, then with yet another list, and again: the rows are those of a fresh run."""
        path, real = tmp_path / "t.txt", os.rename
        path.write_text("".join(f"letter {i}\n" for i in range(20)))
        self.again(path, tmp_path, capsys, modality="text")
        for fatal in range(6):
            count = []

            def fail(*given, count=count, fatal=fatal):
                count.append(1)
                if len(count) > fatal:
                    raise OSError("the disk is gone")
                return real(*given)

            path.write_text("".join(f"letter {i}\n" for i in range(fatal + 1, -1, -1)) + path.read_text())
            command = ("embed", path, *self.options, "--modality", "text", "-o", tmp_path / "emb")
            with monkeypatch.context() as patch:
                patch.setattr(os, "rename", fail)
                run(*command)
            assert self.again(path, tmp_path, capsys, modality="text")[2] == 0


def test_a_column_that_is_there_and_empty(pictures, tmp_path, capsys):
    """Pictures have no captions unless a file beside them says one."""
    for folder in ("a", "b"):
        assert run("embed", pictures, *OPTIONS, "-o", tmp_path / folder, "--on-error", "skip") == 0
    capsys.readouterr()
    assert run("fit", tmp_path / "a", "--pair", tmp_path / "b", "--on", "caption", "-o", tmp_path / "al") == 2
    assert "is empty; pass one with values" in capsys.readouterr().err
