"""Decoding: pictures, sounds and videos of every kind come out as what a person sees and hears."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

from c3align.errors import C3AlignError
from c3align.io import media as _media
from c3align.io import videos
from c3align.io.items import gather
from tests import media


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return media.write_pictures(tmp_path_factory.mktemp("pictures"))


def close(picture, expected, bound):
    return np.abs(np.asarray(picture).astype(int) - np.asarray(expected).astype(int)).max() <= bound


@pytest.mark.parametrize(("kind", "bound"), [("png", 0), ("gif animated", 8), ("jpeg cmyk", 40), ("jpeg rotated", 40)])
def test_colours_and_orientation(pictures, kind, bound):
    found = _media.image(pictures[kind])
    assert (found.mode, found.size) == ("RGB", media.SIZE)
    # away from the seams, which JPEG blurs
    assert close(np.asarray(found)[5:15, 5:20], media.colours()[5:15, 5:20], bound)
    assert close(np.asarray(found)[25:35, 40:55], media.colours()[25:35, 40:55], bound)


@pytest.mark.parametrize("kind", ["png grey", "png 16", "tiff 16"])
def test_grey_of_any_depth(pictures, kind):
    grey = Image.fromarray(media.colours()).convert("L").convert("RGB")
    assert close(_media.image(pictures[kind]), grey, 1)


def test_transparency_becomes_white(pictures):
    found = np.asarray(_media.image(pictures["png alpha"]))
    assert (found[:, 30:] == 255).all()
    assert (found[:, :30] == media.colours()[:, :30]).all()
    assert _media.image(pictures["png palette"]).mode == "RGB"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", ["grey", "grey one", "rgb", "rgba"])
def test_arrays(dtype, shape):
    bytes_ = media.colours()
    if "grey" in shape:
        bytes_ = np.asarray(Image.fromarray(bytes_).convert("L"))
        bytes_ = bytes_[..., None] if "one" in shape else bytes_
    elif shape == "rgba":
        bytes_ = np.dstack([bytes_, np.full(bytes_.shape[:2], 255, np.uint8)])
    array = bytes_ if dtype == np.uint8 else bytes_.astype(dtype) * (257 if dtype == np.uint16 else 1 / np.float32(255))
    expected = bytes_[:, :, :3] if "rgb" in shape else np.repeat(bytes_.reshape(40, 60, 1), 3, axis=2)
    assert close(_media.image(array.astype(dtype)), expected, 0)


def test_other_pictures_are_refused(pictures):
    for wrong, text in [
        (np.zeros((4, 4, 2), np.uint8), r"got \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\)"),
        (np.full((4, 4), 3.0), "floats in \\[0, 1\\]"),
        (3, "a int is no file"),
    ]:
        with pytest.raises(C3AlignError, match=text):
            _media.image(wrong)
    with pytest.raises(OSError, match=r"truncated|broken|cannot identify"):
        _media.image(pictures["png broken"])


def test_deep_pictures_and_those_that_have_no_white(tmp_path):
    """Floats in [0, 1] and 16 bits have a white; other floats and 32-bit integers were black."""
    grey = np.asarray(Image.fromarray(media.colours()).convert("L"))
    expected = Image.fromarray(grey).convert("RGB")
    Image.fromarray((grey / np.float32(255)).astype(np.float32)).save(tmp_path / "f.tif")
    (tmp_path / "d.pgm").write_bytes(b"P5 60 40 65535\n" + (grey.astype(">u2") * 257).tobytes())
    for name in ("f.tif", "d.pgm"):
        assert close(_media.image(tmp_path / name), expected, 0)
    assert close(_media.image(Image.open(tmp_path / "f.tif")), expected, 0)
    assert close(_media.image(grey > 60), np.where(grey > 60, 255, 0)[..., None].repeat(3, 2), 0)
    for wrong, text in [
        (grey.astype(np.float32), "float32 from 23 to 100"),
        (grey.astype(np.int32), "int32 from 23 to 100"),
        (grey.astype(np.int32) * 257, "int32 from 5911 to 25700"),
        (np.full((4, 4), np.nan, np.float32), "float32 from nan to nan"),
    ]:
        Image.fromarray(wrong).save(tmp_path / "wrong.tif")
        for item in (tmp_path / "wrong.tif", Image.fromarray(wrong), wrong):
            with pytest.raises(C3AlignError, match=f"floats in .0, 1., got {text}; convert it"):
                _media.image(item)


def test_bytes_and_urls(pictures):
    assert close(_media.image(pictures["png"].read_bytes()), media.colours(), 0)
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://pictures/a.png", "wb") as file:
        file.write(pictures["png"].read_bytes())
    assert close(_media.image("memory://pictures/a.png"), media.colours(), 0)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_files_at_any_rate(tmp_path, rate, channels):
    found = _media.audio(media.write_sound(tmp_path / "tone.wav", rate, channels), 48000)
    expected = media.tone(48000) / channels
    assert found.dtype == np.float32
    assert len(found) == len(expected)
    assert np.abs(found - expected)[2000:-2000].max() < 0.01


@given(rate=st.sampled_from([8000, 22050, 44100]), target=st.sampled_from([16000, 48000]))
def test_arrays_of_sound(rate, target):
    whole = media.tone(rate)
    found = _media.audio((whole, rate), target)
    assert np.abs(found - media.tone(target)[: len(found)])[1000:-1000].max() < 0.01
    integers = np.rint(whole * 32767).astype(np.int16)
    assert np.abs(_media.audio((integers, rate), target) - found).max() < 1e-3
    stereo = np.stack([whole, np.zeros_like(whole)])
    assert np.abs(_media.audio((stereo, rate), target) - found / 2).max() < 1e-6


def test_other_sounds_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\x00\x00")
    with pytest.raises(Exception, match=r"a\.wav|Invalid data|End of file|no sound|invalid"):
        _media.audio(path, 16000)
    with pytest.raises(C3AlignError, match=r"waveform must be .*, got \(2, 3, 4\)"):
        _media.audio((np.zeros((2, 3, 4)), 16000), 16000)
    tone = media.tone(16000)
    for wrong, text in [
        (np.stack([tone, tone], axis=1), r"got \(8000, 2\); of \(n, channels\) pass waveform.T"),
        (np.where(np.arange(8000) == 7, np.nan, tone), "finite .* got a peak of nan"),
        (np.where(np.arange(8000) == 7, np.inf, tone), "finite .* got a peak of inf"),
        (tone * 32767, r"in \[-1, 1\], got a peak of 163"),
        (((tone + 1) * 32767).astype(np.uint16), "signed integers or uint8, got uint16"),
        (tone > 0, "got bool"),
        (tone.astype(np.complex64), "got complex64"),
    ]:
        with pytest.raises(C3AlignError, match=text):
            _media.audio((wrong, 16000), 16000)
    for wrong in (np.float32(np.nan), np.float32(30000)):
        samples = tone.copy()
        samples[7] = wrong
        wavfile.write(path, 16000, samples)
        with pytest.raises(C3AlignError, match=r"finite and in \[-1, 1\]"):
            _media.audio(path, 16000)
    with pytest.raises(C3AlignError, match="rate must be above 0, got 0"):
        _media.audio((np.zeros(4), 0), 16000)
    with pytest.raises(C3AlignError, match="no sound"):
        _media.audio(media.write_video(tmp_path / "silent.mp4"), 16000)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "mka", "aiff", "flac", "m4a", "mkv", "mp4", "avi"])
def test_files_that_were_cut_off(suffix, tmp_path):
    path, is_video = tmp_path / f"a.{suffix}", suffix in ("mkv", "mp4", "avi")
    if suffix == "wav":
        media.write_sound(path, 48000)
    elif is_video:
        media.write_video(path)
    else:
        media.write_coded_sound(path, media.tone(48000, 3))
    read = _media.frames if is_video else lambda path: _media.audio(path, 48000)
    assert len(read(path)) == 8 if is_video else len(read(path)) >= 24_000
    whole = path.read_bytes()
    for share in (0.3, 0.6):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises((C3AlignError, OSError), match=r"copy it again|Invalid data|Input/output|no pictures"):
            read(path)


@pytest.mark.parametrize("suffix", ["opus", "ts", "m2ts", "caf", "w64", "au", "flv", "gif"])
def test_files_that_end_in_the_middle(suffix, tmp_path):
    """Wherever it is cut; by its last page, packet or byte."""
    path, is_video = tmp_path / f"a.{suffix}", suffix in ("flv", "gif")
    read = _media.frames if is_video else lambda path: _media.audio(path, 48000)
    if is_video:
        media.write_video(path, codec={"flv": "flv", "gif": "gif"}[suffix])
    else:
        media.write_coded_sound(path, media.tone(48000, 3))
    whole = path.read_bytes()
    assert len(read(path)) >= 8
    for place in np.random.default_rng(0).integers(len(whole) // 3, len(whole) * 9 // 10, 8):
        place += place % 188 == 0 or place % 192 == 0  # between two packets it cannot be seen
        path.write_bytes(whole[: int(place)])
        with pytest.raises((C3AlignError, OSError), match=r"copy it again|Invalid data|End of file"):
            read(path)
    path.write_bytes(whole[: whole.rfind(b"OggS")] if suffix == "opus" else whole[:-1])  # without its last page
    if suffix not in ("au", "flv"):
        with pytest.raises((C3AlignError, OSError), match=r"copy it again|Invalid data"):
            read(path)


def test_a_wav_of_unknown_length(tmp_path):
    """As programs write it into a pipe."""
    path = media.write_sound(tmp_path / "a.wav", 16000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    assert len(_media.audio(path, 16000)) == 8000


def shades(frames):
    return [round(float(np.asarray(frame).mean()) / 20) for frame in frames]


def test_frames_of_a_video(tmp_path):
    path = media.write_video(tmp_path / "grow.mp4")
    assert shades(_media.frames(path, 4)) == [1, 4, 7, 10]
    assert shades(_media.frames(path, 100)) == list(range(12))
    assert shades(_media.frames(path, rate=2)) == [1, 4, 7, 10]  # two seconds
    assert shades(_media.frames(path.read_bytes(), 2)) == [3, 9]
    array = np.stack([np.full((8, 8, 3), 20 * i, np.uint8) for i in range(12)])
    assert shades(_media.frames(array, 4)) == shades(_media.frames(list(array), 4)) == [1, 4, 7, 10]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_by_time(suffix, tmp_path):
    """Six frames in the first second, six in the five that follow: as many frames as seconds are worth."""
    times = [*range(6), *range(6, 36, 5)]  # sixths of a second
    path = media.write_video(tmp_path / f"v.{suffix}", times=times)
    assert shades(_media.frames(path, 2)) == [6, 9]
    assert shades(_media.frames(path, 6)) == [2, 6, 7, 8, 9, 10]
    found = shades(_media.frames(path, rate=1))
    assert [*found[:2], *found[3:]] == [3, 6, 9, 10]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_videos_as_their_camera_was_held(turns, tmp_path):
    """A phone notes by how many quarters to the right a video is to be turned."""
    path = media.write_video(tmp_path / "v.mp4", picture=media.colours())
    upright = np.asarray(_media.frames(path, 1)[0]).astype(int)
    media.turn_video(path, turns)
    found = np.asarray(_media.frames(path, 1)[0]).astype(int)
    assert (found == np.rot90(upright, -turns)).all()


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
        ((1, 0, 0, -1), lambda x: x[::-1]),
        ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda x: x[::-1, ::-1].swapaxes(0, 1)),
        ((2, 0, 0, 2), lambda x: x),
        ((0, 0, 0, 0), lambda x: x),
    ],
)
def test_mirrored_videos(matrix, shown, tmp_path):
    """As some cameras note it for pictures of oneself; a scale is left to the encoder."""
    path = media.write_video(tmp_path / "v.mp4", picture=media.colours())
    plain = np.asarray(_media.frames(path, 1)[0])
    media.show_video(path, *matrix)
    assert (np.asarray(_media.frames(path, 1)[0]) == shown(plain)).all()


@pytest.mark.parametrize(("wide", "size"), [(2, (64, 24)), (Fraction(1, 2), (32, 48)), (Fraction(12, 11), (64, 44))])
def test_videos_of_pixels_that_are_not_square(wide, size, tmp_path):
    """As DV and DVDs have them; players stretch them, and a turn comes after."""
    path = media.write_video(tmp_path / "v.mp4", picture=media.colours(), wide=Fraction(wide))
    assert _media.frames(path, 1)[0].size == size
    media.turn_video(path, 1)
    assert _media.frames(path, 1)[0].size == size[::-1]


@pytest.mark.parametrize("ratio", [Fraction(1000), Fraction(1, 1000)])
def test_pixels_of_any_ratio_cost_no_memory(ratio):
    found = videos.squared(Image.new("RGB", (64, 48)), ratio)
    assert found.size == ((64, 1) if ratio > 1 else (1, 48))


@pytest.mark.parametrize("matrix", [(0.9, 0.44, -0.44, 0.9), (1, 0.3, 0, 1), (1, 0, 0.3, 1)])
def test_tilted_videos_are_refused(matrix, tmp_path):
    path = media.write_video(tmp_path / "v.mp4")
    media.show_video(path, *matrix)
    with pytest.raises(C3AlignError, match="to be shown tilted by"):
        _media.frames(path, 1)


def test_other_videos_are_refused(tmp_path):
    with pytest.raises(C3AlignError, match="holds no pictures"):
        _media.frames(media.write_sound(tmp_path / "a.wav", 8000))
    with pytest.raises(C3AlignError, match="no frames"):
        _media.frames([])
    broken = tmp_path / "b.mp4"
    broken.write_bytes(media.write_video(tmp_path / "whole.mp4").read_bytes()[:500])
    with pytest.raises(Exception, match=r"Invalid data|moov|End of file|no pictures"):
        _media.frames(broken)


@given(total=st.integers(1, 500), n=st.integers(1, 50))
def test_evenly(total, n):
    found = _media.evenly(total, n)
    assert len(found) == min(n, total) == len(set(found))
    assert found == sorted(found)
    steps = np.diff([found[0] - total // len(found), *found])
    assert steps.max() - steps.min() <= 1


class TestGather:
    def test_folders_patterns_and_single_files(self, tmp_path):
        made = media.write_pictures(tmp_path)
        (tmp_path / "notes.md").write_text("no picture")
        (tmp_path / "deep").mkdir()
        made["png"].rename(tmp_path / "deep" / "a.PNG")
        names = [item.name for item in gather(str(tmp_path), "image")]
        assert names == sorted(names)
        assert len(names) == len(made)
        assert len(gather(str(tmp_path / "*.jpeg*"), "image")) == 2
        assert gather(str(made["png grey"]), "image")[0].source == str(made["png grey"])
        assert len(gather(f"file://{tmp_path}", "image")) == len(made)
        assert len(gather(f"file://{tmp_path}/*.gif", "image")) == 1

    def test_what_a_folder_holds_besides(self, pictures, tmp_path, recwarn):
        """Counted, and told once; what is hidden is no picture, whatever it is called."""
        made = pictures["png"].read_bytes()
        names = ("a_10.png", "a_9.PNG", "deep/a_2.jfif", "b.heic", "c.jp2", "[d].tif", "e.jpe")
        others = (".thumbnails/t.png", ".h.png", "deep/._x.png", "bare", "n.txt", "m.txt", "v.mp4")
        for name in names + others:
            (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "p" / name).write_bytes(made)
        found = [item.name.removeprefix(str(tmp_path / "p") + "/") for item in gather(str(tmp_path / "p"), "image")]
        assert found == ["[d].tif", "a_9.PNG", "a_10.png", "b.heic", "c.jp2", "deep/a_2.jfif", "e.jpe"]
        (warning,) = recwarn
        told = ("more than was taken: 2 .txt, ", "1 without extension", "1 .mp4")
        assert all(part in str(warning.message) for part in told)
        assert gather(str(tmp_path / "p" / "[d].tif"), "image")[0].name.endswith("[d].tif")
        assert gather(str(tmp_path / "p" / "bare"), "image")[0].name.endswith("bare")

    def test_links_to_folders_are_followed_once(self, pictures, tmp_path, recwarn):
        """Around in circles, up and down, and by two names: a folder counts once, by its own name where it has one."""
        for folder in ("p/own", "else/deep", "else/.hidden"):
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / "a.png").write_bytes(pictures["png"].read_bytes())
        for link, to in [
            ("p/a_linked", "else"),
            ("p/b_linked", "else"),
            ("p/c_linked", "p/own"),
            ("p/loop", "p"),
            ("else/deep/up", "."),
            ("p/.l", "else"),
        ]:
            (tmp_path / link).symlink_to(tmp_path / to)
        (tmp_path / "p" / "lost").symlink_to(tmp_path / "none")
        found = [item.name.removeprefix(str(tmp_path)) for item in gather(str(tmp_path / "p"), "image")]
        assert found == ["/p/a_linked/deep/a.png", "/p/own/a.png"]
        assert "1 without extension" in str(recwarn.pop().message)

    def test_tables_of_captions(self, tmp_path):
        pytest.importorskip("pyarrow")
        import pandas as pd

        frame = pd.DataFrame(
            {"id": [1, 2], "caption": ["a cat, red", 'two "birds"'], "image_path": ["x.png", "/y.png"]}
        )
        frame.to_csv(tmp_path / "c.csv", index=False)
        frame.to_csv(tmp_path / "c.tsv", index=False, sep="\t")
        frame.to_json(tmp_path / "c.jsonl", orient="records", lines=True)
        frame.to_parquet(tmp_path / "c.parquet")
        (tmp_path / "c.txt").write_text('a cat, red\ntwo "birds"\n')
        for suffix in ("csv", "tsv", "jsonl", "parquet", "txt"):
            items = gather(str(tmp_path / f"c.{suffix}"), "text")
            assert [item.source for item in items] == ["a cat, red", 'two "birds"'], suffix
        for suffix in ("csv", "tsv", "jsonl", "parquet"):
            items = gather(str(tmp_path / f"c.{suffix}"), "image", allow_absolute=True)
            assert [item.source for item in items] == [str(tmp_path / "x.png"), "/y.png"]
            assert items[0].caption == "a cat, red"
            assert [item.id for item in items] == ["1", "2"]
        assert gather(str(tmp_path / "c.csv"), "text", "image_path")[0].source == "x.png"
        with pytest.raises(C3AlignError, match="has the columns 'id', 'caption', 'image_path'; pass the one of audio"):
            gather(str(tmp_path / "c.csv"), "audio")
        with pytest.raises(C3AlignError, match=r"row 0 .* has 1 in its column"):
            gather(str(tmp_path / "c.parquet"), "text", "id")

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("c.txt", "a cat\nbirds\n"),
            ("c.csv", "caption,id\na cat,1\n\nbirds,2\n"),
            ("c.tsv", "caption\tid\r\na cat\t1\r\nbirds\t2\r\n"),
            ("c.jsonl", '{"caption": "a cat"}\n{"caption": "birds"}\n'),
        ],
    )
    def test_a_mark_of_the_byte_order_is_no_text(self, name, content, tmp_path):
        (tmp_path / name).write_bytes(content.encode("utf-8-sig"))
        assert [item.source for item in gather(str(tmp_path / name), "text")] == ["a cat", "birds"]

    def test_backslashes_are_text(self, tmp_path):
        (tmp_path / "c.txt").write_text("C:\\users\\udon\n")
        assert gather(str(tmp_path / "c.txt"), "text")[0].source == "C:\\users\\udon"

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("c.txt", "a\n \nb\n\nc\n\n\n"),
            ("c.csv", "caption\na\n \nb\n\nc\n\n\n"),
            ("c.csv", 'caption,n\na,0\n" ",1\nb,2\n,3\nc,4\n\n'),
            ("c.jsonl", "".join(f'{{"caption": "{text}"}}\n' for text in ("a", " ", "b", "", "c"))),
        ],
    )
    def test_a_blank_caption_keeps_its_number(self, name, content, tmp_path):
        (tmp_path / name).write_text(content)
        items = gather(str(tmp_path / name), "text")
        assert [item.source.strip() for item in items] == ["a", "", "b", "", "c"]
        assert [item.is_blank for item in items] == [False, True, False, True, False]

    @pytest.mark.parametrize(
        ("given", "ids"),
        [
            ('{"n": 7}, {"n": 7.0}, {"n": "7"}, {"n": "07"}', ["7", "7", "7", "07"]),
            ('{"n": null}, {"n": NaN}, {"n": ""}, {"m": 1}', [None] * 4),
        ],
    )
    def test_ids_are_texts_or_whole_numbers(self, given, ids, tmp_path):
        rows = given.replace("{", '{"caption": "a", ').split("}, ")
        (tmp_path / "c.jsonl").write_text("}\n".join(rows) + "\n")
        assert [item.id for item in gather(str(tmp_path / "c.jsonl"), "text", id_column="n")] == ids

    @pytest.mark.parametrize("value", ["1.5", "true", "[1]", '"\\ud800"'])
    def test_other_ids_are_refused(self, value, tmp_path):
        (tmp_path / "c.jsonl").write_text(f'{{"caption": "a", "id": {value}}}\n')
        with pytest.raises(C3AlignError, match=r"row 0 of .* an id must be a text or a whole number"):
            gather(str(tmp_path / "c.jsonl"), "text")

    def test_columns_of_what_has_none(self, tmp_path, pictures):
        (tmp_path / "c.txt").write_text("a\n")
        (tmp_path / "c.csv").write_text("caption\na\n")
        for data, modality in ((tmp_path / "c.txt", "text"), (pictures["png"], "image")):
            for asked in ({"column": "caption"}, {"id_column": "id"}):
                with pytest.raises(C3AlignError, match="has no columns"):
                    gather(str(data), modality, **asked)
        with pytest.raises(C3AlignError, match="pass the one of ids as --id"):
            gather(str(tmp_path / "c.csv"), "text", id_column="id")

    @pytest.mark.parametrize(
        ("name", "content", "text"),
        [
            (
                "c.csv",
                "image,caption\na.png,birds\nb.png,a cat, red\n",
                r"row 1 of .*c.csv, at line 3, has 3 values and the header 2; put quotes",
            ),
            ("c.csv", "caption,image\nbirds\n", "at line 2, has 1 value and the header 2; write empty ones too"),
            ("c.csv", "id;caption\n1;a\n", "separated by ';', not ','; save it so"),
            ("c.tsv", "id,caption\n1,a\n", "separated by ',', not"),
            ("c.csv", "caption,caption\na,b\n", "two columns of .* have one name"),
            ("c.tsv", 'caption\tid\n"a" cat\t1\n', "expected after"),
            ("c.tsv", 'caption\tid\n"a cat\t1\nbirds\t2\n', "unexpected end of data.*close every quote"),
            ("c.txt", "a cat".encode("utf-16"), "is not UTF-8 .* save it as UTF-8"),
            ("c.jsonl", '{"caption": 5}\n', "row 0 .* has 5 in its column, which is no text"),
            ("c.jsonl", '{"caption": "a", "caption": "b"}\n', "a key twice: caption, caption"),
            ("c.jsonl", '{"caption": "a\\ud800"}\n', "row 0 .* with half of a character"),
        ],
    )
    def test_tables_that_would_be_cut_or_misread(self, name, content, text, tmp_path):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(C3AlignError, match=text):
            gather(str(tmp_path / name), "text")

    def test_nothing_there(self, tmp_path):
        with pytest.raises(C3AlignError, match="holds no image items"):
            gather(str(tmp_path), "image")
        with pytest.raises(C3AlignError, match="no file or folder"):
            gather(str(tmp_path / "none"), "image")
        with pytest.raises(C3AlignError, match="holds no texts"):
            gather(str(tmp_path), "text")
        with pytest.raises(C3AlignError, match="no file"):
            gather(str(tmp_path / "none.csv"), "text")

    def test_an_array_of_pictures(self, tmp_path):
        np.save(tmp_path / "p.npy", np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4))
        items = gather(str(tmp_path / "p.npy"), "image")
        assert [item.read().max() for item in items] == [15, 31, 47]
        np.save(tmp_path / "v.npy", np.zeros(3))
        with pytest.raises(C3AlignError, match=r"shape \(3,\)"):
            gather(str(tmp_path / "v.npy"), "image")
