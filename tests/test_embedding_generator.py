"""`EmbeddingGenerator`: it learns from pictures alone, draws from texts, and goes on where it was stopped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from c3align import C3Aligner, encoders, geometry, ops
from c3align import datasets as data
from c3align.decoders import EmbeddingGenerator
from c3align.decoders.pictures import decoder
from c3align.errors import C3AlignError, FormatError
from c3align.io import atomic, container
from c3align.training import rows as _rows

SMALL = {"epochs": 2, "progress": False}


@pytest.fixture(scope="module")
def glyphs():
    """Six hundred training characters and half of the held-out ones, with their raw rows."""
    encoder, found = encoders.load("glyphs"), {}
    for split, step in (("train", 8), ("held_out", 2)):
        whole = data.glyphs(split=split)
        pictures, names = whole.pictures[::step], whole.names[::step]
        rows = {m: encoder.encode(items, modality=m) for m, items in (("image", pictures), ("text", names))}
        found[split] = {"pictures": pictures, **rows}
    return found


@pytest.fixture(scope="module")
def aligner(glyphs):
    train = glyphs["train"]
    made = C3Aligner(noise_cosine=0.7).fit(train["text"]).partial_fit(train["image"], modality="image")
    return made.bind_encoder(encoders.load("glyphs").fingerprint)


@pytest.fixture(scope="module")
def trained(glyphs, aligner):
    train = glyphs["train"]
    how = {"aligner": aligner, "epochs": 8, "batch_size": 16, "progress": False}
    return EmbeddingGenerator().fit(train["image"], train["pictures"], **how)


def small(rng, n=20, d=6, shape=(9, 7)):
    return rng.standard_normal((n, d)).astype(np.float32), rng.integers(0, 256, (n, *shape), dtype=np.uint8)


def of_place(n_dims):
    """Tensors that say where rows lie."""
    one = np.ones(1, np.float32)
    return {"place.directions": np.ones((1, n_dims), np.float32), "place.usual": one, "place.wrong": one}


class TestDrawing:
    def test_texts_never_seen_are_drawn(self, glyphs, aligner, trained):
        """Better than any one picture could, and recognised by the encoder, which had no part in it."""
        held_out = glyphs["held_out"]
        drawn = trained.generate(aligner.transform(held_out["text"], modality="text"))
        real, mean = held_out["pictures"] / 255, glyphs["train"]["pictures"].mean(axis=0) / 255
        assert ((drawn / 255 - real) ** 2).mean() < 0.9 * ((mean - real) ** 2).mean()
        seen = encoders.load("glyphs").encode(drawn, modality="image")
        assert geometry.recall_at_k(seen, held_out["image"], (5,))[5] > 5 * 5 / len(drawn)

    def test_batches_differ_by_one_grey_level_at_most(self, glyphs, aligner, trained):
        rows = aligner.transform(glyphs["held_out"]["text"][:64], modality="text")
        whole = trained.generate(rows, batch_size=64)
        for size in (1, 7):
            assert np.abs(trained.generate(rows, batch_size=size).astype(int) - whole).max() <= 1

    def test_tensors_and_halves(self, glyphs, aligner, trained):
        rows = aligner.transform(glyphs["held_out"]["text"][:5], modality="text")
        assert (trained.generate(torch.from_numpy(rows)) == trained.generate(rows)).all()
        halves = trained.generate(rows.astype(np.float16)).astype(int)
        assert np.abs(halves - trained.generate(rows)).max() <= 4

    @pytest.mark.parametrize("shape", [(9, 7), (16, 16, 1), (5, 12, 3), (40, 33, 3), (1, 1)])
    def test_any_size_and_channels(self, shape):
        """Few pictures are learned by heart: every pixel finds its place."""
        rows, pictures = small(np.random.default_rng(0), n=4, shape=shape)
        made = EmbeddingGenerator(width=16).fit(rows, pictures, epochs=150, lr=1e-2, progress=False)
        drawn = made.generate(rows)
        assert drawn.shape == pictures.shape
        assert drawn.dtype == np.uint8
        error, others = (np.abs(drawn.astype(int) - which).mean() for which in (pictures, pictures[::-1]))
        assert error < 0.5 * others

    def test_no_rows(self, trained):
        assert trained.generate(np.empty((0, 256), np.float32)).shape == (0, 32, 32)


def batches_of(rows, epoch, batch_size):
    for batches, first, block in rows.blocks(epoch, batch_size):
        yield from ((numbers, block[numbers - first]) for numbers in batches)


class TestRows:
    def test_noise_is_the_aligners_whatever_the_batch_size(self, glyphs, aligner, monkeypatch):
        rows = glyphs["train"]["image"]
        whole = _rows.TrainingRows(_rows.checked_rows(rows), aligner, "image", 3)
        expected = aligner.corrupt(rows, modality="image", seed=_rows.seed_of(3, 1))
        for block_rows in (1 << 16, 300):
            monkeypatch.setattr(_rows, "BLOCK_ROWS", block_rows)
            for batch_size in (1, 64, 5000):
                seen = np.full_like(expected, np.nan)
                batches = list(batches_of(whole, 1, batch_size))
                assert len(batches) == whole.n_batches(batch_size)
                for numbers, batch in batches:
                    seen[numbers] = batch
                assert (seen == expected).all()

    def test_order_and_noise_are_new_every_epoch(self, glyphs, aligner):
        rows = _rows.TrainingRows(_rows.checked_rows(glyphs["train"]["image"]), aligner, "image", 3)
        first, second = (next(batches_of(rows, epoch, 4000)) for epoch in (0, 1))
        assert (first[0] != second[0]).any()
        assert (first[1][np.argsort(first[0])] != second[1][np.argsort(second[0])]).any()

    def test_batch_size_leaves_the_order_alone(self, glyphs, aligner):
        rows = _rows.TrainingRows(_rows.checked_rows(glyphs["train"]["image"]), aligner, "image", 3)
        orders = [np.concatenate([numbers for numbers, _ in batches_of(rows, 0, size)]) for size in (1, 64)]
        assert (orders[0] == orders[1]).all()
        assert sorted(orders[0]) == list(range(len(rows)))


class TestOneModalityAlone:
    """No text reaches `fit`."""

    def refused(self, rows, aligner, pictures=None):
        generator = EmbeddingGenerator()
        pictures = np.zeros((len(rows), 8, 8), np.uint8) if pictures is None else pictures
        with pytest.raises(C3AlignError, match="learns from one modality alone") as caught:
            generator.fit(rows, pictures, aligner=aligner, **SMALL)
        assert generator.n_dims is None
        return str(caught.value)

    def test_texts_of_clip(self, coco):
        image, text = coco
        images_only = C3Aligner().fit(image, modality="image")
        assert "lie 0.85 from its mean (its own rows 0.68)" in self.refused(text, images_only)
        assert "on the side of 'text'" in self.refused(text, C3Aligner().fit(text, image))

    def test_texts_of_an_encoder_with_a_small_gap(self, glyphs, aligner):
        assert "on the side of 'text'" in self.refused(glyphs["train"]["text"], aligner)

    def test_texts_behind_pictures(self, glyphs, aligner, monkeypatch):
        monkeypatch.setattr(_rows, "BLOCK_ROWS", 250)
        train = glyphs["train"]
        mixed = np.concatenate([train["image"], train["text"][:250]])
        assert "on the side of 'text', first row 626" in self.refused(mixed, aligner)  # a block of both
        apart = np.concatenate([train["image"][:500], train["text"][:250]])
        assert "on the side of 'text'" in self.refused(apart, aligner)

    def test_pictures_pass(self, coco):
        image, text = coco
        _rows.refuse_other_modality(image, C3Aligner().fit(text, image), "image")
        _rows.refuse_other_modality(image, C3Aligner().fit(image, modality="image"), "image")

    def test_rows_between_two_means_pass(self, glyphs, aligner):
        between = np.concatenate([glyphs["train"]["image"], glyphs["train"]["text"]])
        _rows.refuse_other_modality(between, aligner, "image")


class TestRuns:
    def test_a_seed_is_a_generator(self, glyphs, aligner):
        image, pictures = glyphs["train"]["image"][:300], glyphs["train"]["pictures"][:300]
        torch.manual_seed(7)
        before = torch.get_rng_state()
        first, again, other = (
            EmbeddingGenerator().fit(image, pictures, aligner=aligner, seed=seed, **SMALL)
            for seed in (5, np.int64(5), 6)
        )
        rows = aligner.transform(image[:50], modality="image")
        assert (first.generate(rows) == again.generate(rows)).all()
        assert first.losses_ == again.losses_
        assert (first.generate(rows) != other.generate(rows)).any()
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("stopped_after", [1, 3])
    def test_a_stopped_run_goes_on_to_the_same_bits(self, glyphs, aligner, tmp_path, monkeypatch, stopped_after):
        image, pictures = glyphs["train"]["image"][:200], glyphs["train"]["pictures"][:200]
        asked = {"aligner": aligner, "epochs": 4, "progress": False}
        straight = EmbeddingGenerator(width=8).fit(image, pictures, **asked)
        path, write, written = tmp_path / "run.safetensors", atomic.write, []

        def write_some(*arguments):
            write(*arguments)
            written.append(1)
            if len(written) == stopped_after:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(atomic, "write", write_some)
            with pytest.raises(KeyboardInterrupt):
                EmbeddingGenerator(width=8).fit(image, pictures, checkpoint=path, **asked)
        resumed = EmbeddingGenerator(width=8).fit(image, pictures, checkpoint=path, **asked)
        assert resumed.losses_ == straight.losses_
        rows = aligner.transform(image, modality="image")
        assert (resumed.generate(rows) == straight.generate(rows)).all()
        done = EmbeddingGenerator(width=8).fit(image, pictures, checkpoint=path, **asked)
        assert done.losses_ == straight.losses_

    @pytest.mark.parametrize("change", ["seed", "lr", "pictures", "aligner", "epochs", "width", "critic"])
    def test_a_checkpoint_of_another_run_is_refused(self, glyphs, aligner, tmp_path, change):
        image, pictures = glyphs["train"]["image"][:64], glyphs["train"]["pictures"][:64]
        asked = {"aligner": aligner, "checkpoint": tmp_path / "c.safetensors", **SMALL}
        EmbeddingGenerator(width=8).fit(image, pictures, **asked)
        others = {
            "critic": encoders.load("glyphs").picture_tower,
            "seed": 1,
            "lr": 1e-4,
            "epochs": 3,
            "aligner": C3Aligner().fit(image, modality="image"),
        }
        if change in others:
            asked[change] = others[change]
        with pytest.raises(C3AlignError, match="checkpoint of another run"):
            EmbeddingGenerator(width=16 if change == "width" else 8).fit(
                image, 255 - pictures if change == "pictures" else pictures, **asked
            )

    @pytest.mark.parametrize("kind", ["function", "module", "another weight", "without"])
    def test_a_run_of_another_critic_is_refused(self, tmp_path, kind):
        rows, pictures = small(np.random.default_rng(0))

        def critic(seed, name):
            torch.manual_seed(seed)
            tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(63, 6))
            return tower if name == "module" else lambda shown: tower(shown)

        asked = {"checkpoint": tmp_path / "c.safetensors", **SMALL}
        EmbeddingGenerator(width=8).fit(rows, pictures, critic=critic(0, kind), **asked)
        EmbeddingGenerator(width=8).fit(rows, pictures, critic=critic(0, kind), **asked)
        other = {"another weight": {"critic": critic(0, kind), "critic_weight": 0.25}, "without": {}}
        with pytest.raises(C3AlignError, match=r"checkpoint of another run \(critic"):
            EmbeddingGenerator(width=8).fit(rows, pictures, **other.get(kind, {"critic": critic(1, kind)}), **asked)

    def test_input_is_never_written(self, glyphs, aligner):
        image, pictures = (glyphs["train"][name][:64].copy() for name in ("image", "pictures"))
        image.flags.writeable = pictures.flags.writeable = False
        kept = image.copy(), pictures.copy()
        EmbeddingGenerator(width=8).fit(image, pictures, aligner=aligner, **SMALL)
        assert (kept[0] == image).all()
        assert (kept[1] == pictures).all()

    def test_what_was_learned_stays_after_a_refusal(self):
        rows, pictures = small(np.random.default_rng(0))
        made = EmbeddingGenerator(width=8).fit(rows, pictures, **SMALL)
        before = made.generate(rows)
        with pytest.raises(C3AlignError):
            made.fit(rows, pictures[:3], **SMALL)
        assert (made.generate(rows) == before).all()


class TestMemory:
    def test_texts_gain_by_it(self, glyphs, aligner, trained):
        held_out, memory = glyphs["held_out"], aligner.transform(glyphs["train"]["image"], modality="image")
        rows, recalls, errors = aligner.transform(held_out["text"], modality="text"), [], []
        for near in (None, memory):
            drawn = trained.generate(rows, memory=near)
            seen = encoders.load("glyphs").encode(drawn, modality="image")
            recalls.append(geometry.recall_at_k(seen, held_out["image"], (5,))[5])
            errors.append(((drawn / 255 - held_out["pictures"] / 255) ** 2).mean())
        assert recalls[1] > recalls[0]
        assert errors[1] < errors[0]

    def test_half_way_to_the_projection(self):
        """Worked in float64, over several blocks."""
        rng = np.random.default_rng(0)
        rows, memory = (ops.normalize(rng.standard_normal((n, 5))).astype(np.float32) for n in (7, 11))
        weights = np.exp(rows.astype(float) @ memory.T.astype(float) / 0.1)
        means = ops.normalize((weights / weights.sum(axis=1, keepdims=True)) @ memory.astype(float))
        expected = ops.normalize(rows + means)
        near = decoder._memory_of(rng.uniform(0.1, 10, (11, 1)) * memory, 5)  # norms do not matter
        np.testing.assert_allclose(decoder._halfway(rows, near, 0.1), expected, atol=1e-6)
        np.testing.assert_allclose(decoder._halfway(3 * rows, near, 0.1), expected, atol=1e-6)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("c3align.decoders.retrieval._BLOCK_ELEMENTS", 25)
            np.testing.assert_allclose(decoder._halfway(rows, near, 0.1), expected, atol=1e-6)

    def test_batches_differ_by_one_grey_level_at_most(self, glyphs, aligner, trained):
        rows = aligner.transform(glyphs["held_out"]["text"][:64], modality="text")
        memory = aligner.transform(glyphs["train"]["image"], modality="image")
        whole = trained.generate(rows, memory=memory)
        assert np.abs(trained.generate(rows, memory=memory, batch_size=1).astype(int) - whole).max() <= 1

    @pytest.mark.parametrize(
        ("asked", "text"),
        [
            ({"memory": np.ones((3, 255))}, "must have 256 dimensions, got 255"),
            ({"memory": np.full((3, 256), np.nan)}, "in 3 of 3 rows, first in row 0"),
            ({"memory": np.empty((0, 256))}, "the memory holds no rows"),
            ({"memory": np.ones((3, 256)), "temperature": 0}, "temperature must be a finite number above 0, got 0"),
        ],
    )
    def test_refusals(self, trained, asked, text):
        with pytest.raises(C3AlignError) as caught:
            trained.generate(np.eye(256)[:2], **asked)
        assert text in str(caught.value)


class TestCritic:
    def test_drawn_pictures_look_like_their_embeddings(self, glyphs, aligner):
        encoder, cosines = encoders.load("glyphs"), []
        image, pictures = glyphs["train"]["image"][:128], glyphs["train"]["pictures"][:128]
        how = {"aligner": aligner, "epochs": 8, "batch_size": 8, "progress": False}
        for critic in (None, encoder.picture_tower):
            made = EmbeddingGenerator(width=16).fit(image, pictures, critic=critic, critic_weight=1.0, **how)
            drawn = made.generate(aligner.transform(image, modality="image"))
            cosines.append(geometry.pair_cosine(encoder.encode(drawn, modality="image"), image))
        assert cosines[1] > cosines[0] + 0.02

    def test_the_loss_is_the_cosine_with_the_clean_row(self, glyphs):
        """Worked in NumPy: a quarter of the batch is looked at, and the noise of the rows is not the critic's."""
        from c3align.decoders.pictures.task import Critic

        rng = np.random.default_rng(0)
        mix, logits, clean = (rng.standard_normal(shape) for shape in ((6, 5), (9, 1, 2, 3), (9, 5)))
        encode = lambda pictures: pictures.flatten(1) @ torch.from_numpy(mix)  # noqa: E731
        loss = Critic(encode, 0.7).loss(torch.from_numpy(logits).requires_grad_(), torch.from_numpy(clean))
        seen = (1 / (1 + np.exp(-logits[:3].reshape(3, 6)))) @ mix
        cosines = (ops.normalize(seen) * ops.normalize(clean[:3])).sum(axis=1)
        assert float(loss.detach()) == pytest.approx(0.7 * (1 - cosines).mean(), rel=1e-9)

    def test_the_tower_is_the_encoder(self, glyphs):
        encoder, pictures = encoders.load("glyphs"), glyphs["train"]["pictures"][:50]
        with torch.no_grad():
            rows = encoder.picture_tower(torch.from_numpy(pictures.copy())[:, None].float() / 255).numpy()
        np.testing.assert_allclose(rows, glyphs["train"]["image"][:50], rtol=1e-4, atol=1e-4)

    def test_it_learns_nothing_itself(self):
        rows, pictures = small(np.random.default_rng(0))
        critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(63, 6))
        before = [parameter.clone() for parameter in critic.parameters()]
        EmbeddingGenerator(width=8).fit(rows, pictures, critic=critic, **SMALL)
        for parameter, old in zip(critic.parameters(), before):
            assert parameter.grad is None
            assert torch.equal(parameter, old)

    @pytest.mark.parametrize(
        "critic",
        [
            lambda pictures: pictures.flatten(1)[:, :5],
            lambda pictures: pictures.flatten(1)[:, :6].detach(),
        ],
    )
    def test_what_cannot_be_one(self, critic):
        rows, pictures = small(np.random.default_rng(0))
        with pytest.raises(C3AlignError, match="pass the image tower that made the embeddings"):
            EmbeddingGenerator(width=8).fit(rows, pictures, critic=critic, **SMALL)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rows": np.ones((20, 6), int)}, "embeddings"),
        ({"pictures": np.zeros((20, 9, 7))}, "the pictures are float64 (20, 9, 7); pass uint8"),
        ({"pictures": np.zeros((20, 9), np.uint8)}, "pass uint8 (n, height, width)"),
        ({"pictures": np.zeros((19, 9, 7), np.uint8)}, "20 embeddings and 19 pictures"),
        ({"pictures": [np.zeros((9, 7), np.uint8)] * 19 + [np.zeros((9, 8), np.uint8)]}, "resize them to one size"),
        ({"pictures": np.zeros((20, 3, 9, 7), np.uint8)}, "channels first; pass np.moveaxis(pictures, 1, -1)"),
        ({"pictures": [Image.new("P", (9, 7))] * 20}, "numbers of a palette; pass picture.convert('RGB') of each"),
        ({"pictures": np.zeros((20, 4097, 1), np.uint8)}, "(4097, 1) are more than the largest"),
        ({"width": 2048}, "width must be an integer in [1, 1024], got 2048"),
        ({"epochs": 0}, "epochs must be an integer of 1 or more, got 0"),
        ({"batch_size": True}, "batch_size must be an integer of 1 or more, got True"),
        ({"seed": -1}, "seed must be an integer in [0, 2**64), got -1"),
        ({"lr": float("nan")}, "lr must be a finite number above 0, got nan"),
        ({"critic_weight": -0.5}, "critic_weight must be a finite number of 0 or more, got -0.5"),
    ],
)
def test_refusals_of_fit(change, text):
    rows, pictures = small(np.random.default_rng(0))
    asked = {"rows": rows, "pictures": pictures, **SMALL, **change}
    with pytest.raises(C3AlignError) as caught:
        EmbeddingGenerator(width=asked.pop("width", 32)).fit(asked.pop("rows"), asked.pop("pictures"), **asked)
    assert text in str(caught.value)


def test_a_bad_row_is_named(trained):
    rows = ops.normalize(np.random.default_rng(0).standard_normal((9, 256)).astype(np.float32))
    rows[4, 2] = np.nan
    with pytest.raises(C3AlignError, match="1 of 9 rows, first in row 4; remove or fix"):
        trained.generate(rows)
    with pytest.raises(C3AlignError, match="must have 256 dimensions, got 255"):
        trained.generate(rows[:, :255])


def test_before_fit():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="call fit"):
        EmbeddingGenerator().generate(np.ones((2, 3)))


class TestSaved:
    def test_a_round_trip(self, glyphs, aligner, trained, tmp_path):
        trained.save_pretrained(tmp_path / "generator")
        loaded = EmbeddingGenerator.from_pretrained(tmp_path / "generator")
        rows = aligner.transform(glyphs["held_out"]["text"][:20], modality="text")
        assert (loaded.generate(rows) == trained.generate(rows)).all()
        assert loaded.encoder_fingerprint_ == trained.encoder_fingerprint_ == encoders.load("glyphs").fingerprint
        assert (loaded.losses_, loaded.shape_, loaded.n_dims) == (trained.losses_, (32, 32), 256)
        loaded.save_pretrained(tmp_path / "again")
        for name in ("generator.safetensors", "config.json"):
            assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "generator" / name).read_bytes()

    @pytest.mark.parametrize(
        ("attack", "text"),
        [
            (lambda config, tensors: tensors.pop("first.0.bias"), "tensor 'first.0.bias' is missing"),
            (lambda config, tensors: tensors.update(x=np.ones(3, np.float32)), "unknown tensor 'x'"),
            (lambda config, tensors: tensors.update({"first.0.bias": np.ones(3, np.float32)}), "is torch.float32 (3,)"),
            (lambda config, tensors: tensors["first.0.bias"].fill(np.nan), "is not finite"),
            (lambda config, tensors: config.update(width=10**9), "or a width of"),
            (lambda config, tensors: config.update(shape=[10**9, 10**9]), "pictures of shape"),
            (lambda config, tensors: config.update(shape="32"), "pictures of shape"),
            (lambda config, tensors: config.update(n_dims=True), "a dimension of True"),
            (lambda config, tensors: config.update(losses="low"), "its losses are not numbers"),
            (lambda config, tensors: config.update(encoder_fingerprint=3), "its encoder fingerprint is not a text"),
            (
                lambda config, tensors: tensors.update({"place.usual": np.ones(1, np.float32)}),
                "'place.directions' is missing",
            ),
            (lambda config, tensors: tensors.update(of_place(7)), "'place.directions' is torch.float32 (1, 7) and not"),
            (
                lambda config, tensors: tensors.update({**of_place(6), "place.x": np.ones(1)}),
                "unknown tensor 'place.x'",
            ),
            (lambda config, tensors: config.update(code="import os"), "unknown or missing keys"),
            (lambda config, tensors: config.update(format="other"), "format 'other' version 2 is unknown"),
        ],
    )
    def test_attacks(self, tmp_path, attack, text):
        rows, pictures = small(np.random.default_rng(0))
        EmbeddingGenerator(width=8).fit(rows, pictures, **SMALL).save_pretrained(tmp_path)
        path = tmp_path / "generator.safetensors"
        config, tensors = container.parse(path.read_bytes(), "decoder")
        tensors = {name: tensor.copy() for name, tensor in tensors.items()}
        attack(config, tensors)
        path.write_bytes(container.dump(tensors, config))
        (tmp_path / "config.json").unlink()
        with pytest.raises(FormatError) as caught:
            EmbeddingGenerator.from_pretrained(tmp_path)
        assert text in str(caught.value)

    def test_a_file_of_before_there_were_fingerprints(self, tmp_path):
        rows, pictures = small(np.random.default_rng(0))
        made = EmbeddingGenerator(width=8).fit(rows, pictures, **SMALL)
        made.save_pretrained(tmp_path)
        path = tmp_path / "generator.safetensors"
        config, tensors = container.parse(path.read_bytes(), "decoder")
        del config["encoder_fingerprint"]
        path.write_bytes(container.dump(tensors, config))
        (tmp_path / "config.json").unlink()
        loaded = EmbeddingGenerator.from_pretrained(tmp_path)
        assert loaded.encoder_fingerprint_ is None
        assert (loaded.generate(rows) == made.generate(rows)).all()

    @pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"\xff" * 100])
    def test_other_files(self, tmp_path, content):
        (tmp_path / "generator.safetensors").write_bytes(content)
        with pytest.raises(FormatError, match=r"cannot be read|states a header"):
            EmbeddingGenerator.from_pretrained(tmp_path)

    def test_a_changed_copy_of_the_configuration(self, tmp_path):
        rows, pictures = small(np.random.default_rng(0))
        EmbeddingGenerator(width=8).fit(rows, pictures, **SMALL).save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        path.write_text(path.read_text().replace('"width": 8', '"width": 9'))
        with pytest.raises(FormatError, match=r"delete config\.json to load"):
            EmbeddingGenerator.from_pretrained(tmp_path)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"EmbeddingGenerator\.save_pretrained wrote"):
            EmbeddingGenerator.from_pretrained(tmp_path)
