"""Nothing changed passes, and nothing is half: digests, old files without, kills and full disks."""

from __future__ import annotations

import base64
import json
import os
import resource
import shutil
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from c3align import C3Aligner, statistics
from c3align.embed import Tree
from c3align.errors import C3AlignError, FormatError, NoDigestWarning
from c3align.io import atomic, container, digests
from c3align.io.shards import open_sources
from c3align.training.rows import TrainingRows, checked_rows, digest_of
from tests import tiny_encoders
from tests.attacks import bits, honest, kills
from tests.attacks.loaders import LOADERS
from tests.signing import sign_captioner
from tests.test_io import killed_at_each_step

pytest.importorskip("transformers")
tiny_encoders.import_torchvision()
posix = pytest.mark.skipif(os.name != "posix", reason="forks and limits of POSIX")
OLD = {"aligner": "aligner", "captioner": "captioner", "memory": "memory", "generator": "generator", "tree": "tree"}


@pytest.fixture
def old(tmp_path):
    """Folders as they were written before files held digests."""
    found = json.loads(Path(__file__).with_name("before_digests.json").read_text())
    for name, content in found.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(zlib.decompress(base64.b64decode(content)))
    return tmp_path


def warned(load, *arguments, **options):
    """What is loaded, with exactly one warning that there is no digest."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load(*arguments, **options)
    found = [str(w.message) for w in caught if issubclass(w.category, NoDigestWarning)]
    assert len(found) == 1, found
    assert "written by an older c3align, without a digest" in found[0]
    return loaded


class Tiny:
    """The encoder of the old pipeline."""

    modalities, n_dims, fingerprint, name = ("image", "text"), 4, "tiny:1", "tiny"

    def encode(self, items, **options):
        raise NotImplementedError


class TestOldFiles:
    @pytest.mark.parametrize("kind", OLD)
    def test_they_load_with_one_warning(self, old, kind):
        loaded = warned(LOADERS[kind], old / OLD[kind])
        if kind != "tree":
            loaded.save_pretrained(old / "again")
            with warnings.catch_warnings():
                warnings.simplefilter("error", NoDigestWarning)
                LOADERS[kind](old / "again")

    def test_what_is_in_them_is_what_was(self, old):
        text = (np.random.default_rng(0).normal(size=(12, 4)) + 1).astype(np.float32)
        assert warned(C3Aligner.from_pretrained, old / "aligner").statistics_["text"] == (
            statistics.ModalityStatistics.from_rows(text)
        )
        for kind in ("Modality", "Pair"):
            found = getattr(statistics, f"{kind}Statistics")
            content = (old / "statistics" / kind.lower()).read_bytes()
            again = warned(found.from_bytes, content)
            assert again.n_rows == 12
            assert found.from_bytes(again.to_bytes()) == again

    def test_a_pipeline_warns_once_for_all_its_parts(self, old):
        from c3align import Pipeline

        loaded = warned(Pipeline.from_pretrained, old / "pipeline", encoder=Tiny())
        assert loaded.decoder.memory_.texts[:2] == ["a b", "b c"]
        loaded.save_pretrained(old / "again")
        with warnings.catch_warnings():
            warnings.simplefilter("error", NoDigestWarning)
            Pipeline.from_pretrained(old / "again", encoder=Tiny())

    def test_a_null_is_no_digest(self, old):
        path = old / "aligner" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": None}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoDigestWarning)
            with pytest.raises(FormatError, match="damaged, or not the file"):
                C3Aligner.from_pretrained(old / "aligner")


class TestBits:
    @pytest.mark.parametrize(("kind", "build"), [(kind, b) for kind in bits.SAVED for b in honest.KINDS[kind]])
    def test_flips_are_refused(self, kind, build, tmp_path):
        """A few hundred; all of them by `make bits`."""
        given = build(tmp_path)
        assert list(bits.accepted(kind, given, 97, most=60)) == []

    @pytest.mark.parametrize("kind", [statistics.ModalityStatistics, statistics.PairStatistics])
    def test_all_flips_of_statistics(self, kind):
        rows = np.random.default_rng(0).standard_normal((2, 9, 2))
        content = kind.from_rows(*rows[: 1 if kind is statistics.ModalityStatistics else 2]).to_bytes()
        for bit in range(8 * len(content)):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(FormatError):
                kind.from_bytes(bytes(flipped))

    def test_a_tensor_that_would_stand_in_its_place(self):
        with pytest.raises(C3AlignError, match="bools cannot be saved with a digest"):
            container.dump({"mask": np.ones(64, bool)}, {})

    def test_hidden_files_are_left_alone(self, tmp_path):
        given = honest.memory(tmp_path)
        (given / "memory" / ".DS_Store").write_bytes(b"x")
        LOADERS["memory"](given)


class TestShards:
    @pytest.fixture
    def tree(self, tmp_path):
        rows = np.random.default_rng(0).standard_normal((90, 6)).astype(np.float32)

        class Drawn:
            modalities, n_dims, fingerprint = ("text",), 6, "drawn:1"

            def encode(self, items, *, dtype, **_):
                return rows[[int(item) for item in items]].astype(dtype)

        from c3align.embed import embed
        from c3align.io.items import Item

        def made(n_items=50, **options):
            items = [Item(str(i), str(i), str(i)) for i in range(n_items)]
            return embed(Drawn(), items, tmp_path / "t", modality="text", shard_items=16, dtype="float32", **options)

        made()
        made.path, made.rows = tmp_path / "t", rows[:50]
        return made

    def flip(self, tree, shard):
        path = tree.path / "text_emb" / f"text_emb_{shard:03d}.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    @pytest.mark.parametrize("step", [1, 7, 16, 50])
    def test_whole_reads_compare_and_others_do_not(self, tree, step):
        (source,) = open_sources([str(tree.path)])
        assert np.concatenate([block for _, block in source.blocks(step)]).tobytes() == tree.rows.tobytes()
        for start, stop in ((0, 4), (40, 48), (20, 32), (4, 8), (0, 16)):
            assert source.read(start, stop).tobytes() == tree.rows[start:stop].tobytes()
        self.flip(tree, 2)
        (source,) = open_sources([str(tree.path)])
        assert (source.take(np.arange(40)) == tree.rows[:40]).all()
        blocks = source.blocks(step)
        with pytest.raises(FormatError, match=r"text_emb_002\.npy' is damaged, or another file"):
            for _ in blocks:
                pass

    def test_the_command_line_refuses_both_sides(self, tree, call, tmp_path):
        assert call("fit", tree.path, "-o", tmp_path / "a")[0] == 0
        np.save(tmp_path / "y.npy", tree.rows)
        self.flip(tree, 3)
        for command in (("fit", tree.path), ("fit", tmp_path / "y.npy", "--pair", tree.path)):
            code, _, err = call(*command, "-o", tmp_path / "b")
            assert (code, "text_emb_003.npy' is damaged" in err) == (2, True)
            assert not (tmp_path / "b").exists()
        assert call("transform", tree.path, "-a", tmp_path / "a", "-o", tmp_path / "z.npy")[0] == 2
        assert not (tmp_path / "z.npy").exists()

    @pytest.mark.parametrize("kind", ["rows", "metadata"])
    @pytest.mark.parametrize("damage", ["flipped", "cut", "absent"])
    def test_a_damaged_shard_is_embedded_again(self, tree, kind, damage):
        """As the errors about it say; an aligner on the way learns what it ought to."""
        before = kills.contents(tree.path)
        shard = Tree(tree.path, "text")
        path = shard.shard_path(1) if kind == "rows" else shard.metadata_path(1)
        if damage == "absent":
            path.unlink()
        else:
            content = path.read_bytes()
            path.write_bytes(content[:-9] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
        aligner = C3Aligner()
        counts = tree(aligner=aligner)
        n_lost = 0 if (kind, damage) == ("metadata", "absent") else 16  # that shard is none
        assert (counts.n_repaired, counts.n_before, counts.n_rows) == (n_lost, 34, 50)
        assert kills.contents(tree.path) == before
        assert aligner.statistics_ == C3Aligner().fit(tree.rows).statistics_
        assert tree().n_repaired == 0

    def test_what_is_damaged_of_another_list_too(self, tree):
        self.flip(tree, 1)
        counts = tree(n_items=90)
        assert (counts.n_new, counts.n_before, counts.n_rows) == (56, 34, 90)
        (source,) = open_sources([str(tree.path)])
        assert source.read(0, 50).tobytes() == tree.rows.tobytes()

    def test_a_list_that_was_cut_is_mended(self, tree):
        path = tree.path / "embed_text.sha256"
        whole = path.read_bytes()
        for size in (0, 10, 100, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(FormatError, match="run the same c3align embed again"):
                open_sources([str(tree.path)])
            tree()
            assert path.read_bytes() == whole
        path.unlink()
        tree()
        assert path.read_bytes() == whole

    def test_it_is_the_list_of_sha256sum(self, tree):
        lines = (tree.path / "embed_text.sha256").read_text().splitlines()[1:]
        found = {path.relative_to(tree.path).as_posix() for path in tree.path.rglob("*") if path.is_file()}
        assert {line[66:] for line in lines} == found - {"embed_text.sha256"}
        assert all(digests.of_file(tree.path / line[66:]) == line[:64] for line in lines)

    def test_an_old_tree_gets_its_list(self, old):
        warned(open_sources, [str(old / "tree")])
        Tree(old / "tree", "text").finish(2)
        with warnings.catch_warnings():
            warnings.simplefilter("error", NoDigestWarning)
            (source,) = open_sources([str(old / "tree")])
        assert len(source.read(0, 3)) == 3


class TestKills:
    @posix
    @pytest.mark.parametrize("name", ["memory", "pipeline", "checkpoint", "embed", "transform", "fit-resumed"])
    def test_real_kills(self, name):
        """Fifty of each kind by `make kills`."""
        assert len(kills.kill(name, 2)) == 2

    def test_a_memory_after_a_kill_at_any_step(self, tmp_path, monkeypatch):
        """One kill after the other, in the same place."""
        kind = kills.KINDS["memory"](tmp_path)
        kind.save(0)
        seen = set()
        steps = killed_at_each_step(monkeypatch, lambda: kind.save(1), lambda: seen.add(kind.version()))
        assert steps > 10
        assert seen == {False, True}
        assert kind.version() == 1


class TestScratch:
    @posix
    def test_of_the_dead_alone_is_removed(self, tmp_path):
        dead = [tmp_path / f".x{atomic.SCRATCH}0123456{i}" for i in range(2)]
        dead[0].write_bytes(b"x")
        (dead[1] / "lm").mkdir(parents=True)
        others = [tmp_path / name for name in (f".x{atomic.SCRATCH}before", f".y{atomic.SCRATCH}01234567", ".x")]
        for path in others:
            path.write_bytes(b"x")
        with atomic.replaced_file(tmp_path / "x") as first:
            first.write_bytes(b"1")
            with atomic.replaced_file(tmp_path / "x") as second:
                assert first.read_bytes() == b"1"
                second.write_bytes(b"2")
        assert (tmp_path / "x").read_bytes() == b"1"
        assert {*tmp_path.iterdir()} == {tmp_path / "x", *others}

    @posix
    @pytest.mark.parametrize("kind", ["aligner", "captioner", "memory", "generator", "pipeline", "checkpoint"])
    def test_a_full_disk(self, kind, tmp_path):
        """An error, the old one stays, and nothing is left. The limit is of one file, which the system keeps."""
        made = kills.KINDS[kind](tmp_path)
        made.save(0)
        before = kills.contents(tmp_path)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        sizes = [len(content) for name, content in before.items() if name.endswith((".safetensors", ".checkpoint"))]
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(sizes) - 8, limits[1]))
        try:
            with pytest.raises((OSError, C3AlignError), match="File too large"):
                made.save(1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert kills.contents(tmp_path) == before
        assert made.version() == 0


class TestNames:
    def test_no_name_is_no_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        aligner = honest.learned()
        with pytest.raises(C3AlignError, match="must not be empty"):
            aligner.save_pretrained("")
        assert not [*tmp_path.iterdir()]
        aligner.save_pretrained(".")
        assert (tmp_path / "aligner.safetensors").exists()

    @pytest.mark.parametrize("content", [b"mine", None])
    def test_the_file_of_something_else_stays(self, tmp_path, content):
        path = tmp_path / "aligner.safetensors"
        path.write_bytes(container.dump({}, {"format": "other"}) if content is None else content)
        before = path.read_bytes()
        with pytest.raises(C3AlignError, match=r"aligner\.safetensors belongs to something else; choose"):
            honest.learned().save_pretrained(tmp_path)
        assert path.read_bytes() == before
        assert [*tmp_path.iterdir()] == [path]

    def test_a_damaged_one_of_ours_is_saved_again(self, tmp_path):
        given = honest.aligner(tmp_path)
        (given / "aligner.safetensors").write_bytes(b"damaged")
        honest.aligner(tmp_path)
        LOADERS["aligner"](given)

    @pytest.mark.parametrize("kind", ["memory", "pipeline"])
    def test_what_lies_beside_it_is_not_deleted(self, kind, tmp_path):
        given = honest.KINDS[kind][0](tmp_path)
        (given / "thesis.tex").write_text("x")
        with pytest.raises(C3AlignError, match=r"is not a saved .* alone; choose another folder"):
            LOADERS[kind](given).save_pretrained(given)
        assert (given / "thesis.tex").exists()


class TestCheckpoints:
    def test_every_row_counts(self):
        rows = np.random.default_rng(0).normal(1, 1, (600, 5)).astype(np.float32)
        aligner = C3Aligner().fit(rows)

        def digest(found, aligner=aligner):
            return TrainingRows(checked_rows(found), aligner, "text", 0).digest()

        seen = {digest(rows)}
        for i in range(600):
            changed = rows.copy()
            changed[i, 2] = np.nextafter(changed[i, 2], np.float32(9))
            seen.add(digest(changed))
        for i in range(599):
            seen.add(digest(np.concatenate([rows[:i], rows[i : i + 2][::-1], rows[i + 2 :]])))
        seen.add(digest(rows, C3Aligner().fit(rows + 1)))
        assert len(seen) == 1 + 600 + 599 + 1

    def test_every_caption_counts(self):
        texts = [f"{i % 7} {i % 5}" for i in range(300)]
        _, words = honest.tiny_lms.build("gpt2", texts, n_embd=8, n_layer=1)
        from c3align.decoders.prefix.tokens import Tokens

        def digest(found):
            tokens = Tokens.of(found, words, 1)
            return digest_of(tokens.flat) + digest_of(tokens.starts)

        whole = digest(texts)
        for i in range(0, 299, 13):
            assert digest([*texts[:i], "6 6", *texts[i + 1 :]]) != whole
            assert digest([*texts[:i], *texts[i : i + 2][::-1], *texts[i + 2 :]]) != whole

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda config, tensors: tensors.pop("weight.mapper.net.0.bias"), "is missing"),
            (lambda config, tensors: tensors.update({"weight.x": tensors["weight.mapper.net.0.bias"] + 1}), "unknown"),
            (lambda config, tensors: tensors["optimizer.exp_avg.mapper.net.0.bias"].fill_(float("nan")), "not finite"),
            (lambda config, tensors: tensors.update({"weight.mapper.net.0.bias": honest.rows(1)}), "is torch.float32"),
            (lambda config, tensors: config["progress"].update(step=10**9), "a progress of"),
            (lambda config, tensors: config["progress"].update(step="1"), "a progress of"),
            (lambda config, tensors: config["progress"].update(losses=[]), "a progress of"),
            (lambda config, tensors: config["progress"].update(sums=[0.0]), "a progress of"),
            (lambda config, tensors: config.update(progress=None), "a progress of"),
            (lambda config, tensors: config.pop("progress"), "a progress of"),
        ],
    )
    def test_a_signed_one_that_no_run_wrote(self, tmp_path, change, text):
        path = honest.checkpoint(tmp_path)
        config, tensors = container.read(path, "checkpoint")
        change(config, tensors)
        if any(isinstance(value, np.ndarray) for value in tensors.values()):
            tensors = {name: np.asarray(value) for name, value in tensors.items()}
        path.write_bytes(container.dump(tensors, config))
        with pytest.raises(FormatError, match=f"{text}.*delete it to begin anew"):
            honest.trained(checkpoint=path)

    def test_one_of_before_is_refused(self, tmp_path):
        path = honest.checkpoint(tmp_path)
        config, tensors = container.read(path, "checkpoint")
        from safetensors.torch import save

        del config["format_version"]
        path.write_bytes(save(tensors, {"config": json.dumps(config)}))
        with pytest.raises(FormatError, match="it has no digest; delete it to begin anew"):
            honest.trained(checkpoint=path)

    def test_a_loss_that_is_lost_ends_the_run(self, tmp_path, monkeypatch):
        from c3align.decoders.prefix.task import CaptionTask

        path = honest.checkpoint(tmp_path)
        before = path.read_bytes()
        loss, count = CaptionTask.loss, []

        def lost(*arguments):
            count.append(1)
            return loss(*arguments) * (float("nan") if len(count) == 2 else 1)

        monkeypatch.setattr(CaptionTask, "loss", lost)
        monkeypatch.setitem(honest.QUICK, "epochs", 3)
        shutil.move(path, tmp_path / "before")
        with pytest.raises(C3AlignError, match="the loss became nan at step 1 of 3; lower lr"):
            honest.trained(checkpoint=path)
        kept, _ = container.read(path, "checkpoint")
        assert kept["progress"]["step"] == 1
        assert (tmp_path / "before").read_bytes() == before


def test_a_captioner_that_says_too_little(tmp_path):
    """Signed by whoever changed it."""
    given = honest.memory(tmp_path)
    for files in (None, [], {}, {"memory/memory.npy": "0" * 64}):
        sign_captioner(given, files=files)
        with pytest.raises(FormatError, match=r"which files belong to it|does not belong to it"):
            LOADERS["memory"](given)
