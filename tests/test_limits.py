"""What an item may be and ask for: honest files of every kind pass, bounds can be widened, refusals are the item's."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from c3align import C3Aligner, cli, encoders
from c3align.cli import _app
from c3align.encoders import base
from c3align.errors import C3AlignError, MissingExtraError, one_line, printable
from c3align.io import limits, media, npy, opening, tables
from c3align.io.claims import check_lists
from c3align.io.items import gather
from c3align.io.rows import RowSource
from tests import media as made
from tests import tiny_encoders
from tests.attacks import media as hostile_media
from tests.attacks.pictures import png


class TestHonestFiles:
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "PPM", "JPEG2000"])
    def test_pictures_by_content_and_not_by_name(self, form, tmp_path):
        Image.init()
        if form not in Image.OPEN:
            pytest.skip(f"this Pillow reads no {form}")
        picture = Image.fromarray(made.colours())
        picture.save(tmp_path / "a.picture", form)
        found = np.asarray(media.image(tmp_path / "a.picture")).astype(int)
        assert np.abs(found[5:15, 5:20] - made.colours()[5:15, 5:20]).max() <= 40

    @pytest.mark.parametrize(
        ("suffix", "codec"),
        [
            *[("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "mp3"), ("ogg", "libopus"), ("opus", "libopus")],
            *[("m4a", "aac"), ("aiff", "pcm_s16be"), ("mov", "pcm_s16le"), ("mkv", "aac")],
        ],
    )
    def test_sounds(self, suffix, codec, tmp_path):
        av = pytest.importorskip("av")
        tone, path = made.tone(48_000, 2), tmp_path / f"a.{suffix}"
        with av.open(str(path), "w", format={"m4a": "mp4"}.get(suffix)) as container:
            sound = container.add_stream(codec, rate=48_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(
                np.rint(tone * 32767).astype(np.int16)[None], format="s16", layout="mono"
            )
            frame.rate = 48_000
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
        found = media.audio(path, 48_000)
        assert abs(len(found) - len(tone)) < 5000
        spectrum = np.abs(np.fft.rfft(found[24_000:72_000]))
        assert spectrum.argmax() == 440

    @pytest.mark.parametrize(
        ("suffix", "codec"),
        [
            *[("mp4", "mpeg4"), ("mp4", "libx264"), ("mkv", "mpeg4"), ("webm", "libvpx-vp9"), ("mov", "mjpeg")],
            *[("avi", "mpeg4"), ("mpg", "mpeg2video"), ("gif", "gif")],
        ],
    )
    def test_videos(self, suffix, codec, tmp_path):
        av = pytest.importorskip("av")
        if codec not in av.codecs_available:
            pytest.skip(f"no {codec} in this build of libav")
        form = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        path = hostile_media.video(tmp_path, f"a.{suffix}", codec=codec, pixels=form, n_frames=24)
        found = media.frames(path, 4)
        assert [frame.size for frame in found] == [(64, 48)] * 4

    def test_mp4_in_fragments_and_large_lists(self, tmp_path):
        path = hostile_media.video(tmp_path, options={"movflags": "frag_keyframe+empty_moov"})
        assert len(media.frames(path, 3)) == 3
        with open(path, "rb") as file:
            check_lists(file, path.stat().st_size)
            assert file.tell() == 0


class TestBounds:
    def test_pixels(self, tmp_path):
        (tmp_path / "a.png").write_bytes(png(7000, 5000))
        with pytest.raises(C3AlignError, match=r"35,000,000 pixels in a file of [\d,]+ bytes are more than the 34,"):
            media.image(tmp_path / "a.png")
        assert media.image(tmp_path / "a.png", max_pixels=35_000_000).size == (7000, 5000)
        with pytest.raises(C3AlignError, match=r"1,200 pixels .* the 1,199 allowed"):
            media.image(png(40, 30), max_pixels=1_199)

    def test_a_photograph_pays_for_its_pixels(self):
        allowed = limits.PIXELS.of
        assert allowed(5_000_000, None) == 1 << 27  # of a telephone with 108 million
        assert allowed(100, None) == (1 << 25) + 3200
        assert allowed(1 << 40, 7) == 7

    def test_samples(self, tmp_path):
        path = made.write_sound(tmp_path / "a.wav", 8000)
        assert len(media.audio(path, 48_000, max_samples=24_000)) == 24_000
        with pytest.raises(C3AlignError, match=r"24,000 samples .* the 23,999 allowed; .* --max-samples"):
            media.audio(path, 48_000, max_samples=23_999)

    @pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 44_099, 96_000, 192_000, 384_000, 500_000])
    def test_usual_and_odd_rates(self, rate):
        assert abs(len(media.audio((np.zeros(rate, np.float32), rate), 48_000)) - 48_000) <= 1

    def test_frames(self, tmp_path):
        path = hostile_media.video(tmp_path)
        assert len(media.frames(path, 2, max_pixels=2 * 64 * 48 * 6)) == 2
        with pytest.raises(C3AlignError, match=r"6,144 pixels in 2 frames .* the 6,143 allowed"):
            media.frames(path, 2, max_pixels=6_143)
        with pytest.raises(C3AlignError, match=r"36,864 pixels in 12 frames"):
            media.frames(path, 100, max_pixels=36_863)

    def test_encoders_pass_them_on(self):
        encoder = encoders.load("glyphs")
        assert encoder.prepare(png(32, 32), "image")
        encoder.max_pixels = 1_023
        with pytest.raises(C3AlignError, match="the 1,023 allowed"):
            encoder.prepare(png(32, 32), "image")

    def test_command(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        (tmp_path / "a.png").write_bytes(png(32, 32))
        given = ["embed", str(tmp_path / "a.png"), "--encoder", "glyphs", "--modality", "image"]
        assert cli.run([*given, "-o", str(tmp_path / "e"), "--max-pixels", "1023"]) == 2
        assert "--max-pixels" in capsys.readouterr().err
        assert cli.run([*given, "-o", str(tmp_path / "f"), "--max-pixels", "1024"]) == 0
        assert Image.MAX_IMAGE_PIXELS == 1024

    def test_an_item_beyond_is_the_items_error(self, tmp_path):
        """And not the run's: with skip it is listed, and the others are embedded."""

        class Loudness:
            modalities, n_dims, fingerprint = ("audio",), 1, "loudness"

            def prepare(self, item, modality):
                return base.Prepared(media.audio(item, 48_000))

            def encode(self, items, **options):
                return np.array([[np.abs(item.value).max()] for item in items], np.float32)

        paths = [made.write_sound(tmp_path / f"{i}.wav", 8000) for i in range(4)]
        paths[1].write_bytes(hostile_media.wave(bytes(200), 7_999_993))
        paths[2].write_bytes(hostile_media.wave(bytes(200), 2**31 - 1))
        (found,) = base.batches(Loudness(), paths, modality="audio", on_error="skip")
        assert found.kept == [0, 3]
        assert ["cannot be brought to 48000" in item.reason for item in found.broken] == [True, True]

    @pytest.mark.parametrize("error", [MemoryError(), OverflowError("too large"), RuntimeError("a\nb")])
    def test_whatever_a_decoder_raises_is_the_items_error(self, error, monkeypatch):
        monkeypatch.setattr(media, "_to_rgb", lambda picture: (_ for _ in ()).throw(error))
        with pytest.raises(C3AlignError, match=f"the picture cannot be read .{type(error).__name__}") as found:
            media.image(png(8, 8))
        assert len(str(found.value).splitlines()) == 1


class TestUrls:
    @pytest.fixture
    def remote(self):
        fsspec = pytest.importorskip("fsspec")
        with fsspec.open("memory://limits/a.png", "wb") as file:
            file.write(png(8, 8))
        return "memory://limits/a.png"

    def test_what_is_fetched_is_bounded(self, remote, monkeypatch):
        assert media.image(remote).size == (8, 8)
        monkeypatch.setattr(opening, "MAX_FETCHED", 20)
        with pytest.raises(C3AlignError, match="is longer than 20 bytes; download it and pass its path"):
            media.image(remote)

    def test_a_missing_library_is_the_runs_error(self, remote, monkeypatch):
        """With skip, each URL would count as broken."""
        import fsspec

        def missing(*arguments, **options):
            raise ImportError('HTTPFileSystem requires "requests" and "aiohttp" to be installed')

        monkeypatch.setattr(fsspec, "open", missing)
        with pytest.raises(MissingExtraError, match=r"aiohttp.*pip install 'c3align\[encoders\]'"):
            list(base.batches(encoders.load("glyphs"), [remote], modality="image", on_error="skip"))

    def test_the_extra_brings_what_https_needs(self):
        assert '"fsspec[http]' in (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()


class TestTables:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "data" / "tables").mkdir(parents=True)
        (tmp_path / "data" / "a.png").write_bytes(png(8, 8))
        (tmp_path / "data" / "tables" / "b.png").write_bytes(png(8, 8))
        return tmp_path / "data"

    def table(self, folder, *paths):
        path = folder / "tables" / "t.jsonl"
        path.write_text("".join(json.dumps({"path": path}) + "\n" for path in paths))
        return str(path)

    def test_a_root_may_be_wider(self, folder):
        table = self.table(folder, "b.png", "../a.png", "../tables/b.png")
        with pytest.raises(
            C3AlignError, match=r"row 1 of .* names '../a.png', .* leaves .*--allow-absolute.*or --root"
        ):
            gather(table, "image")
        found = gather(table, "image", root=str(folder))
        assert [os.path.realpath(item.source) for item in found][1] == str(folder / "a.png")
        with pytest.raises(C3AlignError, match="row 0"):
            gather(self.table(folder, "../../x.png"), "image", root=str(folder))

    def test_links_inside_are_no_way_out(self, folder):
        (folder / "tables" / "c.png").symlink_to("b.png")
        (folder / "tables" / "inner").symlink_to(".")
        assert len(gather(self.table(folder, "c.png", "inner/b.png", "./b.png"), "image")) == 3

    def test_a_table_by_a_relative_name(self, folder, monkeypatch):
        self.table(folder, "b.png")
        monkeypatch.chdir(folder / "tables")
        assert gather("t.jsonl", "image")[0].source == "b.png"

    def test_more_when_it_is_allowed(self, folder):
        table = self.table(folder, str(folder / "a.png"), f"file://{folder}/a.png", "../a.png")
        assert len(gather(table, "image", allow_absolute=True)) == 3
        table = self.table(folder, "https://a.example/b.png?size=3", "s3://bucket/c.png")
        assert gather(table, "image", allow_urls=True)[0].source == "https://a.example/b.png?size=3"
        with pytest.raises(C3AlignError, match="--allow-absolute"):
            gather(self.table(folder, "/etc/passwd"), "image", allow_urls=True)
        with pytest.raises(C3AlignError, match="--allow-urls"):
            gather(self.table(folder, "https://a.example/b.png"), "image", allow_absolute=True)

    def test_a_table_behind_a_url(self, folder):
        fsspec = pytest.importorskip("fsspec")
        for name, content in (("t.jsonl", b'{"path": "b.png"}\n'), ("u.jsonl", b'{"path": "x/%2e%2e/%2e%2e/b.png"}\n')):
            with fsspec.open(f"memory://tables/inner/{name}", "wb") as file:
                file.write(content)
        assert gather("memory://tables/inner/t.jsonl", "image")[0].source == "memory://tables/inner/b.png"
        with pytest.raises(C3AlignError, match="leaves memory://tables/inner"):
            gather("memory://tables/inner/u.jsonl", "image")

    @pytest.mark.parametrize("command", ["embed", "caption", "train-captioner"])
    def test_commands_pass_it_on(self, command, folder, monkeypatch, capsys):
        asked = []

        def seen(data, modality, column=None, id_column=None, **may):
            asked.append(may)
            raise C3AlignError("seen; go on")

        table = self.table(folder, "b.png")
        monkeypatch.setattr("c3align.io.items.gather", seen)
        options = {"embed": [table, "--encoder", "glyphs", "--modality", "image", "-o", str(folder / "o")]}
        options["caption"] = [table, "-p", str(folder / "P")]
        if command == "train-captioner":
            options[command] = self.training(folder, table, monkeypatch, seen)
        assert cli.run([command, *options[command], "--root", "R", "--allow-absolute", "--allow-urls"]) == 2
        assert asked[-1] == {"root": "R", "allow_absolute": True, "allow_urls": True}

    def training(self, folder, table, monkeypatch, seen):
        tiny_encoders.import_torchvision()
        from c3align.decoders import PrefixCaptioner, small_lm

        lm, tokenizer = small_lm(["one two"], width=32, n_layers=1, n_heads=2)
        decoder = PrefixCaptioner(lm, tokenizer, n_dims=256, prefix_length=2)
        monkeypatch.setattr(PrefixCaptioner, "from_pretrained_lm", lambda *_, **__: decoder)

        def texts_first(data, modality, column=None, **may):
            return gather(data, modality, column) if modality == "text" else seen(data, modality, column, **may)

        monkeypatch.setattr("c3align.io.items.gather", texts_first)
        (folder / "names.txt").write_text("one two\n")
        return [str(folder / "names.txt"), "--encoder", "glyphs", "--images", table, "-o", str(folder / "o")]

    def test_parquet_of_equal_texts_and_gaps(self, tmp_path):
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        path = tmp_path / "t.parquet"
        table = {"n": [1, 2, 3], "caption": ["a", "a", "b"], "image_path": ["x.png", "y.png", "z.png"]}
        parquet.write_table(pyarrow.table(table), path, row_group_size=2)
        assert list(tables.read(str(path), lambda names: ("image_path", "caption"))) == [
            ("x.png", "a"),
            ("y.png", "a"),
            ("z.png", "b"),
        ]
        assert list(tables.read(str(path), lambda names: ("caption", "caption")))[2] == ("b", "b")
        parquet.write_table(pyarrow.table({"caption": ["a", None]}), path)
        with pytest.raises(C3AlignError, match=r"row 1 of .* has nothing in its column"):
            gather(str(path), "text")
        parquet.write_table(pyarrow.table({"n": [1], "path": pyarrow.array(["a"], pyarrow.large_string())}), path)
        assert list(tables.read(str(path), lambda names: ("path", "caption"))) == [("a", None)]


class TestStoredRows:
    @pytest.fixture
    def rows(self):
        return np.random.default_rng(0).standard_normal((500, 24)).astype(np.float32)

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_they_are_those_of_numpy(self, rows, order, dtype, tmp_path):
        kept = np.array(rows, dtype, order=order)
        np.save(tmp_path / "x.npy", kept)
        found = npy.stored(tmp_path / "x.npy")
        assert np.array_equal(found[:], kept)
        assert np.array_equal(found[3:77], kept[3:77])
        assert np.array_equal(found[5:400:7], kept[5:400:7])
        assert np.array_equal(found[600:], kept[600:])
        numbers = np.array([499, 0, 7, 7])
        assert np.array_equal(found.take(numbers), kept[numbers])
        assert np.array_equal(pickle.loads(pickle.dumps(found.held()))[3:77], kept[3:77])

    @pytest.mark.parametrize("after", ["blocks", "take"])
    def test_a_file_that_is_cut_while_it_is_read(self, rows, after, tmp_path, monkeypatch):
        """Touching a map would end the process by SIGBUS."""
        monkeypatch.setattr("c3align.io.rows.BLOCK_BYTES", 100 * 24 * 4)
        np.save(tmp_path / "x.npy", rows)
        source = RowSource.open([str(tmp_path / "x.npy")])
        blocks = source.blocks()
        next(blocks)
        os.truncate(tmp_path / "x.npy", 1000)
        with pytest.raises(C3AlignError, match=r"x\.npy was changed while it was read; run this again"):
            next(blocks) if after == "blocks" else source.take([400])

    def test_a_file_that_is_exchanged_while_it_is_read(self, rows, tmp_path):
        np.save(tmp_path / "x.npy", rows)
        source = RowSource.open([str(tmp_path / "x.npy")])
        np.save(tmp_path / "y.npy", rows + 1)
        os.replace(tmp_path / "y.npy", tmp_path / "x.npy")
        with pytest.raises(C3AlignError, match="was changed while it was read"):
            source.read(0, 3)

    def test_a_short_read_is_no_end(self, rows, tmp_path, monkeypatch):
        np.save(tmp_path / "x.npy", rows)
        found = npy.stored(tmp_path / "x.npy")

        read = npy._read
        monkeypatch.setattr(npy, "_read", lambda file, into, place: read(file, into[:1000], place))
        assert np.array_equal(found[:], rows)
        monkeypatch.setattr(npy, "_HAS_PREADV", False)  # of systems that have none
        assert np.array_equal(found[7:], rows[7:])

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("shape", [(5, 3, 4), (5, 3, 4, 2)])
    def test_pictures(self, order, shape, tmp_path):
        pictures = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8).copy(order)
        np.save(tmp_path / "x.npy", pictures)
        found = [item.read() for item in gather(str(tmp_path / "x.npy"), "image")]
        assert len(found) == 5
        assert all(np.array_equal(a, b) for a, b in zip(found, pictures))

    def test_pictures_that_are_cut_while_they_are_read(self, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros((500, 8, 8), np.uint8))
        items = gather(str(tmp_path / "x.npy"), "image")
        os.truncate(tmp_path / "x.npy", 1000)
        with pytest.raises(C3AlignError, match=r"x\.npy was changed while it was read; run this again"):
            items[400].read()

    def test_pictures_without_points(self, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros((1 << 40, 0, 8), np.uint8))
        with pytest.raises(C3AlignError, match=r"has shape .*save pictures as"):
            gather(str(tmp_path / "x.npy"), "image")

    def test_headers_of_other_writers(self, rows, tmp_path):
        """Other spaces, another order of the keys, a long integer of Python 2."""
        for text in (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (500, 24), }",
            "{'shape':(500,24),'fortran_order':False,'descr':'<f4'}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (500L, 24L), }",
        ):
            head = text.encode().ljust(117) + b"\n"
            (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + rows.tobytes())
            assert np.array_equal(npy.stored(tmp_path / "x.npy")[:], rows), text

    def test_a_fit_does_not_differ(self, rows, tmp_path):
        np.save(tmp_path / "x.npy", rows)
        learned = C3Aligner()
        for _, block in RowSource.open([str(tmp_path / "x.npy")]).blocks():
            learned.partial_fit(block)
        assert learned.to_bytes() == C3Aligner().fit(rows).to_bytes()


class TestTerminals:
    HOSTILE = "a\x1b[2J\x9b31m\u202eb\udcff\x07"
    SHOWN = r"a\x1b[2J\x9b31m\u202eb\udcff\x07"

    def test_what_is_shown(self):
        assert printable(self.HOSTILE) == self.SHOWN
        assert printable("naïve 日本\u3000語 \u200d👩\u200d🔬") == "naïve 日本\u3000語 \u200d👩\u200d🔬"
        assert str(C3AlignError(f"no file {self.HOSTILE}\n  here")) == f"no file {self.SHOWN} here"
        assert str(MissingExtraError("a\x1bb")) == r"a\x1bb"
        assert one_line("a\tb\n c") == "a b c"

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_results_are_exact_where_no_terminal_is(self, is_terminal, monkeypatch):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
        expected = f"{self.SHOWN}\nc" if is_terminal else f"{self.HOSTILE}\nc"
        assert _app.visible(f"{self.HOSTILE}\nc", stream) == expected

    def test_errors_of_the_system(self, capsys):
        assert cli.run(["report", "\x1b[2J.npy", "b.npy"]) == 2
        assert "\x1b" not in capsys.readouterr().err


def test_a_protocol_whose_package_is_absent(monkeypatch):
    """It was called a bug."""
    fsspec = pytest.importorskip("fsspec")

    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(
        MissingExtraError, match=r"s3://bucket/photos cannot be opened \(Install s3fs .*\); install that"
    ):
        gather("s3://bucket/photos", "image")
