"""`MemoryCaptioner`: nearest captions, consensus and projection, against float64; and the memory on disk."""

from __future__ import annotations

import json
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from c3align import C3Aligner, datasets, encoders
from c3align.decoders import MemoryCaptioner, PrefixCaptioner
from c3align.decoders.retrieval import Memory
from c3align.errors import C3AlignError, FormatError
from c3align.io import container, npy
from c3align.io.rows import RowSource
from tests import tiny_encoders, tiny_lms
from tests.conftest import DATA
from tests.signing import sign_captioner


@pytest.fixture(scope="session")
def captions(coco):
    found = json.loads((DATA / "coco-clip-vitb16" / "coco_captions_aligned.json").read_text())
    return [item["caption"].lower() for item in found]


@pytest.fixture(scope="session")
def aligner(coco):
    return C3Aligner().fit(*coco[::-1])


@pytest.fixture(scope="session")
def rows(coco, aligner):
    """Aligned images and texts."""
    return aligner.transform(coco[0], modality="image"), aligner.transform(coco[1], modality="text")


def word_f1(a, b):
    a, b = Counter(a.split()), Counter(b.split())
    common = sum((a & b).values())
    return 2 * common / (sum(a.values()) + sum(b.values()))


def test_frames_are_rows(coco):
    pandas = pytest.importorskip("pandas")
    image, text = coco
    names = [str(i) for i in range(len(text))]
    aligner = C3Aligner().set_output(transform="pandas").fit(text, image)
    rows = aligner.transform(image, modality="image")
    assert isinstance(rows, pandas.DataFrame)
    known = MemoryCaptioner().fit(text, names, aligner=aligner).generate(rows.to_numpy())
    frame = pandas.DataFrame(text)
    assert MemoryCaptioner().fit(frame, names, aligner=aligner).generate(rows) == known
    for wrong in (rows.assign(id=range(len(rows))), rows.assign(name="a")):
        with pytest.raises(C3AlignError):
            MemoryCaptioner().fit(wrong, names)


class TestNearest:
    def test_the_caption_of_the_largest_cosine(self, coco, captions, aligner, rows):
        said = MemoryCaptioner().fit(coco[1], captions, aligner=aligner).generate(rows[0])
        cosines = rows[0].astype(np.float64) @ rows[1].astype(np.float64).T
        assert said == [captions[i] for i in cosines.argmax(axis=1)]

    @pytest.mark.parametrize("aligned", [False, True])
    def test_norms_do_not_matter(self, coco, captions, rows, aligned):
        """Neither those that a memory gets without an aligner, nor those that an aligner leaves as they are."""
        whole, coco, rows = coco, [part[:150] for part in coco], [part[:150] for part in rows]
        captions = captions[:150]
        if aligned:
            lengths = C3Aligner(renormalize=False).fit(*whole[::-1])
            texts, options = coco[1], {"aligner": lengths}
            queries = lengths.transform(coco[0], modality="image")
        else:
            sizes = np.random.default_rng(0).uniform(0.1, 10, (150, 2)).astype(np.float32)
            texts, options, queries = rows[1] * sizes[:, :1], {}, rows[0] * sizes[:, 1:]
        expected = MemoryCaptioner(k=3).fit(rows[1], captions)
        made = MemoryCaptioner(k=3).fit(texts, captions, **options)
        assert made.generate(queries) == expected.generate(rows[0])
        assert np.abs(made.project(queries) - expected.project(rows[0])).max() < 1e-5

    def test_consensus(self, coco, captions, aligner, rows):
        """Of ten neighbours the one with most words in common with all, weighted by their nearness."""
        said = MemoryCaptioner(k=10, temperature=0.05).fit(coco[1], captions, aligner=aligner).generate(rows[0])
        cosines = rows[0].astype(np.float64) @ rows[1].astype(np.float64).T
        for i in range(0, 500, 11):
            near = np.argsort(-cosines[i], kind="stable")[:10]
            weights = np.exp(cosines[i, near] / 0.05)
            votes = [sum(w * word_f1(captions[a], captions[b]) for b, w in zip(near, weights)) for a in near]
            assert said[i] == captions[near[int(np.argmax(votes))]]

    def test_unseen_characters(self, glyphs_once):
        """On glyphs, never seen: consensus names more of the words than the nearest name alone."""
        encoder, train, unseen = (
            encoders.load("glyphs"),
            datasets.glyphs(split="train"),
            datasets.glyphs(split="held_out"),
        )
        names, pictures = (encoder.encode(x, modality=m) for x, m in ((train.names, "text"), (train.pictures, "image")))
        fitted = C3Aligner().fit(names, pictures)
        aligned = fitted.transform(encoder.encode(unseen.pictures, modality="image"), modality="image")
        scores = []
        for k in (1, 5):
            said = MemoryCaptioner(k=k).fit(names, train.names, aligner=fitted).generate(aligned)
            scores.append(np.mean([word_f1(a, b) for a, b in zip(said, unseen.names)]))
        assert 0.49 < scores[0] < scores[1] - 0.01

    def test_batches_and_streams(self, coco, captions, aligner, rows):
        for settings_ in ({}, {"k": 7}):
            made = MemoryCaptioner(**settings_).fit(coco[1], captions, aligner=aligner)
            whole = made.generate(rows[0][:150])
            assert made.generate(rows[0][:150], batch_size=1) == whole
            assert list(made.stream(iter(rows[0][:150]), batch_size=7)) == whole

    def test_bad_rows(self, coco, captions, aligner, rows):
        made = MemoryCaptioner().fit(coco[1], captions, aligner=aligner)
        bad = rows[0].copy()
        bad[[4, 9], 3] = np.nan
        with pytest.raises(C3AlignError, match="embedding 4 cannot be used: it holds NaN"):
            made.generate(bad)
        with pytest.warns(UserWarning, match="2 embeddings could not be used"):
            said = made.generate(bad, on_error="skip")
        assert [i for i, text in enumerate(said) if text is None] == [4, 9]
        assert [text for text in said if text] == [c for i, c in enumerate(made.generate(rows[0])) if i not in (4, 9)]


class TestProjection:
    def test_against_float64(self, coco, captions, aligner, rows):
        made = MemoryCaptioner().fit(coco[1], captions, aligner=aligner)
        memory = rows[1].astype(np.float64)
        weights = np.exp(rows[0][:100].astype(np.float64) @ memory.T / 0.02)
        means = (weights / weights.sum(axis=1, keepdims=True)) @ memory
        wanted = means / np.linalg.norm(means, axis=1, keepdims=True)
        assert np.abs(made.project(rows[0][:100], temperature=0.02, k=500) - wanted).max() < 1e-6

    def test_the_nearest_256_weigh_all(self, coco, captions, aligner, rows):
        """At DeCap's temperature the rest weighs nothing."""
        made = MemoryCaptioner().fit(coco[1], captions, aligner=aligner)
        projected = [made.project(rows[0][:100]), made.project(rows[0][:100], k=500)]
        assert np.abs(projected[0] - projected[1]).max() < 1e-5
        assert not np.array_equal(*projected)

    @settings(max_examples=10)
    @given(st.integers(0, 499), st.integers(1, 40), st.integers(1, 60))
    def test_row_by_row(self, coco, captions, rows, first, n, k):
        made = MemoryCaptioner().fit(rows[1], captions)
        part = rows[0][first : first + n]
        assert np.array_equal(made.project(part, k=k), made.project(rows[0], k=k)[first : first + n])

    def test_refuses_what_generate_refuses(self, coco, captions, aligner, rows):
        made = MemoryCaptioner().fit(coco[1], captions, aligner=aligner)
        zero = np.array(rows[0][:20])
        zero[3] = 0
        for wrong, message in ((coco[0], "must be aligned rows"), (zero, "embedding 3 cannot be used: it is zero")):
            for take in (made.generate, made.project):
                with pytest.raises(C3AlignError, match=message):
                    take(wrong)
        behind = np.concatenate([rows[0][:64], coco[0][:64]])  # a batch that hides behind another
        with pytest.raises(C3AlignError, match="must be aligned rows"):
            made.project(behind)

    def test_brings_images_to_texts(self, coco, captions, aligner, rows):
        """A projected image lies nearer to its own text than the image did, and in the texts' span."""
        made = MemoryCaptioner().fit(coco[1], captions, aligner=aligner)
        projected = made.project(rows[0], temperature=0.05)
        before, after = ((x.astype(np.float64) * rows[1]).sum(axis=1).mean() for x in (rows[0], projected))
        assert after > before + 0.1

    def test_then_another_decoder(self, coco, captions, aligner, rows):
        """Projected rows are among those that a decoder takes."""
        tiny_encoders.import_torchvision()
        memory = MemoryCaptioner().fit(coco[1], captions, aligner=aligner)
        decoder = PrefixCaptioner(*tiny_lms.build("gpt2", captions), n_dims=512, prefix_length=2)
        decoder.fit(coco[1], captions, aligner=aligner, epochs=1, batch_size=64, lr=3e-3, progress=False)
        projected = memory.project(rows[0][:40])
        assert len(decoder.generate(projected, max_new_tokens=5)) == 40
        assert [decoder.generate(projected[i : i + 1], max_new_tokens=5) for i in range(3)]


class TestMemory:
    def test_on_disk_and_mapped(self, coco, captions, aligner, rows, tmp_path, monkeypatch):
        monkeypatch.setattr("c3align.training.rows.BLOCK_ROWS", 100)
        kept = MemoryCaptioner(k=5).fit(coco[1], captions, aligner=aligner)
        mapped = MemoryCaptioner(k=5).fit(coco[1], captions, aligner=aligner, folder=tmp_path / "m")
        assert isinstance(mapped.memory_.rows.parts[0], npy.Stored)
        assert np.array_equal(mapped.memory_.rows.read(0, 999), kept.memory_.rows.read(0, 999))
        assert np.array_equal(kept.memory_.rows.read(0, 999), rows[1])
        assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["captions.jsonl", "memory.npy"]
        asked = rows[0][:150]
        said = kept.generate(asked)
        assert mapped.generate(asked) == said
        assert np.array_equal(mapped.project(rows[0]), kept.project(rows[0]))
        mapped.save_pretrained(tmp_path / "m")  # over the memory that it reads
        assert mapped.generate(asked) == said  # of the file that has no name any more
        assert MemoryCaptioner.from_pretrained(tmp_path / "m").generate(asked) == said

    def test_a_file_that_is_cut_while_it_is_read(self, coco, captions, aligner, rows, tmp_path):
        """Touching a map would end the process by SIGBUS."""
        mapped = MemoryCaptioner(k=5).fit(coco[1], captions, aligner=aligner, folder=tmp_path / "m")
        os.truncate(tmp_path / "m" / "memory.npy", 4096)
        with pytest.raises(C3AlignError, match=r"memory\.npy was changed while it was read; run this again"):
            mapped.project(rows[0])
        with pytest.raises(C3AlignError, match=r"memory\.npy was changed while it was read; run this again"):
            mapped.generate(rows[0])

    def test_a_faiss_index(self, coco, captions, aligner, rows):
        pytest.importorskip("faiss")
        exact = MemoryCaptioner(k=5).fit(coco[1], captions, aligner=aligner).generate(rows[0])
        flat = MemoryCaptioner(k=5, index="Flat").fit(coco[1], captions, aligner=aligner).generate(rows[0])
        assert flat == exact
        near = MemoryCaptioner(index="HNSW16").fit(coco[1], captions, aligner=aligner).generate(rows[0])
        first = MemoryCaptioner().fit(coco[1], captions, aligner=aligner).generate(rows[0])
        assert np.mean([a == b for a, b in zip(near, first)]) > 0.9

    def test_groups_are_equal_texts(self, rows):
        memory = Memory(RowSource.of(rows[1][:5]), ["a", "b", "a", "c", "b"])
        assert memory.groups(["c", "a", "b", "z"]).tolist() == [2, 0, 1, -1]

    def test_fewer_texts_than_asked_for(self, rows):
        memory = Memory(RowSource.of(rows[1][:2]), ["a", "b"])
        scores, places = memory.nearest(rows[1][:1], 4)
        assert places.tolist() == [[0, 1, -1, -1]]
        assert np.isneginf(scores[0, 2:]).all()
        assert MemoryCaptioner(k=9).fit(rows[1][:2], ["a b", "c"]).generate(rows[1][:1]) == ["a b"]


class TestGroups:
    """Several captions of a picture are one neighbor, and so are copies of a caption."""

    @pytest.fixture
    def memory(self):
        """Ten captions of a near picture, copies among them, and one of each of three that lie farther and farther."""
        turn = [*np.linspace(0, 0.1, 10).tolist(), 0.5, 0.6, 0.7]
        rows = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
        texts = [
            "a red cat",
            *["a cat"] * 4,
            *[f"cat {i}" for i in range(5)],
            "two dogs sing",
            "two dogs run",
            "two dogs",
        ]
        return rows, texts, [7] * 10 + [1, 2, 3]

    def test_copies_count_once(self, memory):
        rows, texts, _ = memory
        found = MemoryCaptioner(k=4).fit(rows, texts).memory_
        assert found.of_different_things(rows[:1], 4)[1].tolist() == [[0, 1, 5, 6]]
        assert found.nearest(rows[:1], 4)[1].tolist() == [[0, 1, 2, 3]]  # as projections weigh them

    def test_neighbours_are_of_different_pictures(self, memory, tmp_path):
        rows, texts, groups = memory
        made = MemoryCaptioner(k=4, temperature=10).fit(rows, texts, groups=groups)
        scores, places = made.memory_.of_different_things(rows[[0, 12, 9]], 4)
        assert places.tolist() == [[0, 10, 11, 12], [12, 11, 10, 9], [9, 10, 11, 12]]
        assert (np.diff(scores) < 0).all()
        assert made.generate(rows[:1]) == ["two dogs"]
        assert MemoryCaptioner(k=4, temperature=10).fit(rows, texts).generate(rows[:1]) == ["a cat"]
        made.save_pretrained(tmp_path / "m")
        again = MemoryCaptioner.from_pretrained(tmp_path / "m")
        assert again.memory_.things.tolist() == groups
        assert again.generate(rows) == made.generate(rows)

    def test_fewer_pictures_than_asked_for(self, memory):
        rows, texts, groups = memory
        places = MemoryCaptioner().fit(rows, texts, groups=groups).memory_.of_different_things(rows[:1], 6)[1]
        assert places.tolist() == [[0, 10, 11, 12, -1, -1]]

    def test_other_groups_are_refused(self, memory):
        rows, texts, groups = memory
        for wrong in (groups[:-1], [0.5] * 13):
            with pytest.raises(C3AlignError, match="groups must be 13 integers"):
                MemoryCaptioner().fit(rows, texts, groups=wrong)


class TestFiles:
    def test_groups_of_another_length_are_refused(self, coco, captions, tmp_path):
        made = MemoryCaptioner().fit(coco[1], captions, groups=np.arange(len(captions)))
        made.memory_.things = made.memory_.things[:-1]
        made.save_pretrained(tmp_path / "c")
        with pytest.raises(FormatError, match="its groups are int64"):
            MemoryCaptioner.from_pretrained(tmp_path / "c")

    @pytest.mark.parametrize("name", ["place.usual", "x"])
    def test_other_tensors_are_refused(self, tmp_path, name):
        MemoryCaptioner().fit(np.eye(3, dtype=np.float32), ["a", "b", "c"]).save_pretrained(tmp_path)
        (tmp_path / "config.json").unlink()
        path = tmp_path / "captioner.safetensors"
        config, tensors = container.read(path, "decoder")
        path.write_bytes(container.dump({**tensors, name: np.ones(2, np.float32)}, config))
        with pytest.raises(FormatError, match="'place.directions' is missing" if name != "x" else "unknown tensor 'x'"):
            MemoryCaptioner.from_pretrained(tmp_path)

    @pytest.mark.parametrize("settings_", [{}, {"k": 4, "temperature": 0.3, "index": "Flat"}])
    def test_round_trip(self, coco, captions, aligner, rows, tmp_path, settings_):
        bound = C3Aligner().fit(*coco[::-1]).bind_encoder("clip:1")
        made = MemoryCaptioner(**settings_).fit(coco[1], captions, aligner=bound)
        made.save_pretrained(tmp_path / "c")
        loaded = MemoryCaptioner.from_pretrained(tmp_path / "c")
        assert loaded.encoder_fingerprint_ == "clip:1"
        assert loaded.generate(rows[0]) == made.generate(rows[0])
        assert vars(loaded).keys() >= {"k", "temperature", "index"}
        assert (loaded.k, loaded.temperature, loaded.index) == (made.k, made.temperature, made.index)
        loaded.save_pretrained(tmp_path / "c")  # over the file that it reads
        assert MemoryCaptioner.from_pretrained(tmp_path / "c").generate(rows[0]) == made.generate(rows[0])

    def test_a_mode_that_is_no_more(self, coco, captions, aligner, tmp_path):
        MemoryCaptioner().fit(coco[1], captions, aligner=aligner).save_pretrained(tmp_path)
        path = tmp_path / "captioner.safetensors"
        (tmp_path / "config.json").unlink()
        config, tensors = container.read(path, "decoder")
        for mode in ("nearest", "project"):
            path.write_bytes(container.dump(tensors, {**config, "mode": mode, "k": None, "temperature": None}))
            if mode == "nearest":
                assert MemoryCaptioner.from_pretrained(tmp_path).k == 1
                continue
            with pytest.raises(C3AlignError, match=r"mode='project', which was removed; load .*decoder by Prefix"):
                MemoryCaptioner.from_pretrained(tmp_path)

    def test_attacks(self, captions, rows, tmp_path):
        made = MemoryCaptioner().fit(rows[1][:9], captions[:9])
        folder, at = tmp_path / "c", tmp_path / "c" / "memory"
        lines = "".join(json.dumps(text) + "\n" for text in captions[:9])
        other = np.zeros((9, 512), np.float32)
        for damage, message in [
            (lambda: np.save(at / "memory.npy", other[:8]), r"its memory is float32 \(8, 512\) for 9 texts"),
            (lambda: np.save(at / "memory.npy", other[:, :9]), "its memory is float32"),
            (lambda: np.save(at / "memory.npy", other.astype(np.float64)), "its memory is float64"),
            (lambda: np.save(at / "memory.npy", other.astype(object)), "its memory cannot be read"),
            (lambda: (at / "memory.npy").write_bytes(b"x"), "its memory cannot be read"),
            (lambda: (at / "captions.jsonl").write_text(lines[:-9]), "its memory cannot be read"),
            (lambda: (at / "captions.jsonl").write_text("3\n" * 9), "its captions are not texts"),
            (lambda: (at / "captions.jsonl").write_text(""), "for 0 texts"),
            (lambda: (folder / "captioner.safetensors").write_bytes(b"x"), "states a header"),
        ]:
            made.save_pretrained(folder)
            damage()
            with pytest.raises(FormatError, match="states a header" if "header" in message else "or another file"):
                MemoryCaptioner.from_pretrained(folder)
            if "header" in message:
                continue
            sign_captioner(folder)
            with pytest.raises(FormatError, match=message):
                MemoryCaptioner.from_pretrained(folder)
            (folder / "captioner.safetensors").touch()
        made.save_pretrained(folder)
        (folder / "memory" / "memory.npy").unlink()
        with pytest.raises(FormatError, match=r"memory\.npy' is absent; save it again"):
            MemoryCaptioner.from_pretrained(folder)
        made.save_pretrained(folder)
        with pytest.raises(FormatError, match="is unknown"):
            PrefixCaptioner.from_pretrained(folder)


def test_no_image_reaches_the_memory(coco, captions, aligner):
    for rows, fitted in ((coco[0], aligner), (coco[0], C3Aligner().fit(coco[1]))):
        with pytest.raises(C3AlignError, match="learns from one modality alone"):
            MemoryCaptioner().fit(rows, captions, aligner=fitted)
    mixed = coco[1].copy()
    mixed[7] = coco[0][7]
    with pytest.raises(C3AlignError, match="first row 7"):
        MemoryCaptioner().fit(mixed, captions, aligner=aligner)


def test_refusals(coco, captions, rows):
    from sklearn.exceptions import NotFittedError

    for options, message in [
        ({"k": 0}, r"k must be an integer in \[1, 1048576\], got 0"),
        ({"k": True}, "k must be an integer .*, got True"),
        ({"temperature": 0}, "temperature must be a finite number above 0, got 0"),
        ({"index": ""}, "index must be None or what faiss.index_factory takes, got ''"),
    ]:
        with pytest.raises(C3AlignError, match=message):
            MemoryCaptioner(**options)
    with pytest.raises(NotFittedError, match="remembers nothing yet; call fit"):
        MemoryCaptioner().generate(rows[0])
    made = MemoryCaptioner().fit(rows[1], captions)
    with pytest.raises(C3AlignError, match="does not use 'num_beams'; remove it"):
        made.generate(rows[0], num_beams=3)
    with pytest.raises(C3AlignError, match="temperature must be"):
        made.project(rows[0], temperature=-1)
    with pytest.raises(C3AlignError, match="there are 500 embeddings and 3 captions"):
        made.fit(rows[1], captions[:3])


class TestWhatIsNoRow:
    """Refused in one sentence by what all captioners share."""

    @pytest.fixture
    def captioner(self):
        return MemoryCaptioner().fit(np.eye(4, dtype=np.float32), ["one", "two", "three", "four"])

    @pytest.mark.parametrize("rows", [None, "one", {"text": 1}, 3, sparse.csr_matrix(np.eye(4))])
    def test_no_rows_at_all(self, captioner, rows):
        with pytest.raises(C3AlignError, match=r"rows must be an array, a tensor or an iterable of rows, got .*; pass"):
            captioner.generate(rows)

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (np.zeros(4, np.float32), "it is zero, and has no direction"),
            (["a", "b", "c", "d"], "it is no row of numbers but a list"),
            (None, r"it has shape \(\) and not \(4,\)"),
            (np.ones(4, np.int64), "it is int64 and not of floats"),
        ],
    )
    def test_one_of_them(self, captioner, row, reason):
        rows = [np.eye(4, dtype=np.float32)[2], row]
        with pytest.raises(C3AlignError, match=f"embedding 1 cannot be used: {reason}"):
            captioner.generate(rows)
        with pytest.warns(UserWarning, match="1 embeddings could not be used"):
            assert captioner.generate(rows, on_error="skip") == ["three", None]

    def test_one_row_alone(self, captioner):
        with pytest.raises(C3AlignError, match=r"rows must be .*, got float32 of shape \(4,\); pass rows\.reshape"):
            captioner.generate(np.ones(4, np.float32))
        assert captioner.generate(np.empty(0, np.float32)) == []

    @pytest.mark.parametrize(
        ("n", "text"), [(1, "are 1 fingerprints and more rows"), (3, "are 2 rows and more finger")]
    )
    def test_a_fingerprint_for_each(self, captioner, n, text):
        """Fewer would leave rows without a caption, in silence."""
        rows = np.eye(4, dtype=np.float32)[:2]
        assert captioner.generate(rows, fingerprint=iter(["a", "a"])) == ["one", "two"]
        with pytest.raises(C3AlignError, match=f"there {text}.*; pass one fingerprint, or one per row"):
            captioner.generate(rows, fingerprint=["a"] * n)
        with pytest.raises(C3AlignError, match="fingerprint must be one or a list, got 3; pass"):
            captioner.generate(rows, fingerprint=3)
