"""`DiffusersGenerator` on the real pipelines: what reaches their networks is what was asked for, to the value."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from c3align import C3Aligner
from c3align.decoders import DiffusersGenerator
from c3align.decoders.diffusion import BY_ROW, row_generator
from c3align.errors import C3AlignError, ModalityMeanWarning
from tests import tiny_encoders, tiny_pipelines

if not find_spec("diffusers"):  # to import it takes seconds, of each process that collects tests
    pytest.skip("diffusers is not installed", allow_module_level=True)

STEPS = {"num_inference_steps": 2, "height": tiny_pipelines.EDGE, "width": tiny_pipelines.EDGE}
NORM = 9.0


@pytest.fixture(scope="module", autouse=True)
def _torchvision():
    tiny_encoders.import_torchvision()


@pytest.fixture(scope="module")
def rows():
    found = np.random.default_rng(0).standard_normal((3, tiny_pipelines.N_DIMS)).astype(np.float32)
    return found * np.float32(NORM / np.linalg.norm(found, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def kandinsky():
    return tiny_pipelines.kandinsky()


@pytest.fixture(scope="module")
def wide():
    """One that takes CLIP's dimension."""
    return tiny_pipelines.kandinsky(512)


@pytest.fixture(scope="module")
def statistics():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tiny_pipelines.N_DIMS, generator=generator), 1.5 + torch.rand(
        tiny_pipelines.N_DIMS, generator=generator
    )


@pytest.fixture(scope="module")
def unclip(tmp_path_factory, statistics):
    return tiny_pipelines.unclip(tmp_path_factory.mktemp("unclip"), *statistics)


@pytest.fixture
def adapted(tmp_path):
    pipeline = tiny_pipelines.stable_diffusion(tmp_path)
    pipeline.load_ip_adapter(
        tiny_pipelines.ip_adapter(pipeline.unet), subfolder="", weight_name="", image_encoder_folder=None
    )
    return pipeline


class Spy:
    """Keeps what a network is called with."""

    def __init__(self, network):
        self.calls = []
        self.handle = network.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, _, arguments, named):
        self.calls.append((arguments, named))

    def __enter__(self):
        return self.calls

    def __exit__(self, *_):
        self.handle.remove()


def same(tensor, values):
    return torch.equal(tensor, torch.as_tensor(np.asarray(values)).to(tensor.dtype))


class TestKandinsky:
    def test_negatives_come_first_and_are_zeros(self, kandinsky, rows):
        with Spy(kandinsky.unet) as calls:
            pictures = DiffusersGenerator(kandinsky, norm=NORM).generate(rows, batch_size=2, **STEPS)
        assert [picture.size for picture in pictures] == [(16, 16)] * 3
        given = [named["added_cond_kwargs"]["image_embeds"] for _, named in calls]
        assert same(given[0], np.concatenate([np.zeros_like(rows[:2]), rows[:2]]))
        assert same(given[-1], np.concatenate([np.zeros_like(rows[:1]), rows[2:]]))
        assert len(given) == 2 * 2

    @pytest.mark.parametrize("kind", ["one", "each"])
    def test_given_negatives(self, kandinsky, rows, kind):
        negative = rows[0] / 2 if kind == "one" else rows[::-1].copy()
        with Spy(kandinsky.unet) as calls:
            DiffusersGenerator(kandinsky, norm=NORM).generate(rows, negative=negative, batch_size=2, **STEPS)
        expected = np.broadcast_to(negative, rows.shape)
        assert same(calls[0][1]["added_cond_kwargs"]["image_embeds"], np.concatenate([expected[:2], rows[:2]]))
        assert same(calls[-1][1]["added_cond_kwargs"]["image_embeds"], np.concatenate([expected[2:], rows[2:]]))

    def test_the_zero_image_of_a_prior(self, kandinsky, rows, tmp_path):
        prior = tiny_pipelines.kandinsky_prior(tmp_path)
        with torch.no_grad():
            black = prior.image_encoder(torch.zeros(1, 3, 32, 32)).image_embeds
        with Spy(kandinsky.unet) as calls:
            DiffusersGenerator(kandinsky, norm=NORM).generate(rows, negative=prior, **STEPS)
        given = calls[0][1]["added_cond_kwargs"]["image_embeds"]
        assert black.abs().max() > 0.01
        assert torch.equal(given, torch.cat([black.expand(3, -1), torch.from_numpy(rows)]))

    def test_without_guidance(self, kandinsky, rows):
        with Spy(kandinsky.unet) as calls:
            DiffusersGenerator(kandinsky, norm=NORM).generate(rows, guidance_scale=1.0, **STEPS)
        assert same(calls[0][1]["added_cond_kwargs"]["image_embeds"], rows)

    @pytest.mark.parametrize("scale", [1.0, 4.0])
    def test_half_precision(self, rows, scale):
        pipeline = tiny_pipelines.kandinsky().to(torch.bfloat16)
        with Spy(pipeline.unet) as calls:
            DiffusersGenerator(pipeline, norm=NORM).generate(rows.astype(np.float64), guidance_scale=scale, **STEPS)
        given = calls[0][1]["added_cond_kwargs"]["image_embeds"]
        assert given.dtype == torch.bfloat16
        assert same(given[-3:], rows)

    def test_guidance_matters(self, kandinsky, rows):
        """Negatives and embeddings in each other's place would be seen."""
        generator = DiffusersGenerator(kandinsky, norm=NORM)
        one, other = (
            np.stack([np.asarray(p) for p in generator.generate(rows, negative=negative, **STEPS)]).astype(int)
            for negative in (rows[0], rows[1])
        )
        assert (one != other).any()


class TestSeeds:
    def latents(self, pipeline, rows, **asked):
        with Spy(pipeline.unet) as calls:
            pictures = DiffusersGenerator(pipeline, norm=NORM).generate(rows, guidance_scale=1.0, **STEPS, **asked)
        first = [arguments[0] if arguments else named["sample"] for arguments, named in calls[::2]]
        return torch.cat(first), [np.asarray(picture).astype(int) for picture in pictures]

    def test_a_row_draws_its_own_noise_in_any_batch(self, kandinsky, rows):
        noise, pictures = self.latents(kandinsky, rows, seed=5)
        expected = [torch.randn(1, *noise.shape[1:], generator=row_generator(5, row)) for row in range(3)]
        assert torch.equal(noise, torch.cat(expected))
        for size in (1, 2):
            found, others = self.latents(kandinsky, rows, seed=5, batch_size=size)
            assert torch.equal(found, noise)
            assert max(np.abs(a - b).max() for a, b in zip(pictures, others)) <= 1

    def test_row_offset_counts_on(self, kandinsky, rows):
        noise, pictures = self.latents(kandinsky, rows, seed=5)
        found, others = self.latents(kandinsky, rows[1:], seed=5, row_offset=1)
        assert torch.equal(found, noise[1:])
        assert np.abs(pictures[1] - others[0]).max() <= 1

    def test_rows_and_seeds_differ(self, kandinsky, rows):
        noise, _ = self.latents(kandinsky, rows[[0, 0]], seed=5)
        other, _ = self.latents(kandinsky, rows[[0, 0]], seed=6)
        assert not torch.equal(noise[0], noise[1])
        assert not torch.equal(noise, other)

    def test_no_global_generator_is_touched(self, kandinsky, rows):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        DiffusersGenerator(kandinsky, norm=NORM).generate(rows, **STEPS)
        assert torch.equal(torch.get_rng_state(), before)


class TestUnclip:
    def test_raw_rows_go_through_its_statistics(self, unclip, rows, statistics):
        """Conditions are, as published, ``unscale(sqrt(a) scale(x) + sqrt(1 - a) noise)`` and the level's embedding."""
        mean, std = statistics
        with Spy(unclip.unet) as calls:
            DiffusersGenerator(unclip).generate(rows, noise_level=10, batch_size=2, seed=1, **STEPS)
        given = calls[0][1]["class_labels"]
        assert given.shape == (4, 2 * tiny_pipelines.N_DIMS)
        assert not given[:2].any()
        kept = unclip.image_noising_scheduler.alphas_cumprod[10]
        noise = torch.cat([torch.randn(1, len(mean), generator=row_generator(1, row)) for row in range(2)])
        expected = mean + std * (kept.sqrt() * (torch.from_numpy(rows[:2]) - mean) / std + (1 - kept).sqrt() * noise)
        torch.testing.assert_close(given[2:, : len(mean)], expected)

    def test_every_row_has_a_prompt(self, unclip, rows):
        words = ["a cat", "", "two small birds"]
        for prompt in (None, words, "a dog"):
            asked = {} if prompt is None else {"prompt": prompt}
            with Spy(unclip.unet) as calls:
                DiffusersGenerator(unclip).generate(rows, batch_size=2, **STEPS, **asked)
            texts = [""] * 3 if prompt is None else [prompt] * 3 if isinstance(prompt, str) else prompt
            for call, part in ((calls[0], texts[:2]), (calls[-1], texts[2:])):
                wanted, empty = unclip.encode_prompt(part, "cpu", 1, True)
                torch.testing.assert_close(call[1]["encoder_hidden_states"], torch.cat([empty, wanted]))

    def test_its_own_statistics_tell_the_scale(self, unclip, rows, statistics):
        mean, std = statistics
        generator = DiffusersGenerator(unclip)
        assert generator.expected_norm == pytest.approx(float((mean**2 + std**2).sum().sqrt()))
        with pytest.raises(C3AlignError, match=r"mean norm of 1 and StableUnCLIPImg2ImgPipeline expects one of about"):
            generator.generate(rows / np.float32(NORM), **STEPS)

    def test_statistics_that_say_nothing(self, tmp_path):
        n = tiny_pipelines.N_DIMS
        assert DiffusersGenerator(tiny_pipelines.unclip(tmp_path, torch.zeros(n), torch.ones(n))).expected_norm is None

    def test_it_has_its_own_negative(self, unclip, rows):
        with pytest.raises(C3AlignError, match="sets its own negative embedding"):
            DiffusersGenerator(unclip).generate(rows, negative=rows[0], **STEPS)


class TestAdapter:
    @pytest.mark.parametrize("negative", [None, "given"])
    def test_every_row_alone_with_its_negative_first(self, adapted, rows, negative):
        other = None if negative is None else rows[::-1].copy()
        with Spy(adapted.unet.encoder_hid_proj.image_projection_layers[0]) as calls:
            DiffusersGenerator(adapted, norm=NORM).generate(rows, negative=other, batch_size=2, **STEPS)
        negatives = np.zeros_like(rows) if other is None else other
        assert len(calls) == 3 * STEPS["num_inference_steps"]
        for row, (arguments, _) in enumerate(calls[:: STEPS["num_inference_steps"]]):
            assert same(arguments[0], np.stack([negatives[row], rows[row]]))

    def test_without_guidance(self, adapted, rows):
        with Spy(adapted.unet.encoder_hid_proj.image_projection_layers[0]) as calls:
            DiffusersGenerator(adapted, norm=NORM).generate(rows, guidance_scale=1.0, **STEPS)
        assert same(torch.cat([arguments[0] for arguments, _ in calls[::2]]), rows)

    def test_an_embedding_reaches_its_own_picture_alone(self, adapted, rows):
        """In one call all would be mixed (diffusers issue 9813)."""
        generator, changed = DiffusersGenerator(adapted, norm=NORM), rows.copy()
        changed[1] = -changed[1]
        first, second = (
            [np.asarray(picture).astype(int) for picture in generator.generate(given, batch_size=3, **STEPS)]
            for given in (rows, changed)
        )
        moved = [np.abs(a - b).max() for a, b in zip(first, second)]
        assert moved[0] == moved[2] == 0 < moved[1]

    def test_prompts_stay_with_their_rows(self, adapted, rows):
        words = ["a cat", "two small birds", ""]
        with Spy(adapted.unet) as calls:
            DiffusersGenerator(adapted, norm=NORM).generate(rows, prompt=words, negative_prompt="red", **STEPS)
        for word, (_, named) in zip(words, calls[::2]):
            wanted, unwanted = adapted.encode_prompt([word], "cpu", 1, True, ["red"])
            torch.testing.assert_close(named["encoder_hidden_states"], torch.cat([unwanted, wanted]))

    def test_it_must_be_loaded(self, tmp_path):
        with pytest.raises(C3AlignError, match=r"has no IP-Adapter; call pipeline\.load_ip_adapter"):
            DiffusersGenerator(tiny_pipelines.stable_diffusion(tmp_path))

    def test_it_must_take_one_vector(self, tmp_path):
        pipeline = tiny_pipelines.stable_diffusion(tmp_path)
        weights = tiny_pipelines.ip_adapter(pipeline.unet, "full face")
        pipeline.load_ip_adapter(weights, subfolder="", weight_name="", image_encoder_folder=None)
        with pytest.raises(C3AlignError, match="IPAdapterFullImageProjection; load one plain IP-Adapter"):
            DiffusersGenerator(pipeline)

    def test_several(self, tmp_path):
        pipeline = tiny_pipelines.stable_diffusion(tmp_path)
        weights = tiny_pipelines.ip_adapter(pipeline.unet)
        pipeline.load_ip_adapter([weights] * 2, subfolder=["", ""], weight_name=["", ""], image_encoder_folder=None)
        with pytest.raises(C3AlignError, match="ImageProjection, ImageProjection; load one plain"):
            DiffusersGenerator(pipeline)


class TestScaleAndPlace:
    """What the aligner knows is held against the rows: real CLIP embeddings, at the raw norms that CLIP gives."""

    @pytest.fixture
    def raw(self, coco):
        image, text = coco
        strength = np.random.default_rng(0).uniform(9, 11, (500, 1)).astype(np.float32)
        return image * strength, text * (0.7 * strength)

    def test_translated_texts_pass(self, wide, raw, recwarn):
        image, text = raw
        aligner = C3Aligner().fit(text, image)
        generator = DiffusersGenerator(wide, aligner=aligner)
        assert generator.expected_norm == pytest.approx(10, rel=0.02)
        rows = aligner.translate(text[:2], source="text", target="image")
        with Spy(wide.unet) as calls:
            generator.generate(rows, **STEPS)
        assert same(calls[0][1]["added_cond_kwargs"]["image_embeds"][2:], rows)
        assert not [warning for warning in recwarn if issubclass(warning.category, ModalityMeanWarning)]

    def test_aligned_rows_are_refused(self, wide, raw):
        image, text = raw
        aligner = C3Aligner().fit(text, image)
        with pytest.raises(C3AlignError, match=r"mean norm of 1 and KandinskyV22Pipeline expects one of about 10"):
            DiffusersGenerator(wide, aligner=aligner).generate(aligner.transform(text[:2], modality="text"), **STEPS)

    def test_texts_warn(self, wide, raw):
        image, text = raw
        generator = DiffusersGenerator(wide, aligner=C3Aligner().fit(text, image))
        with pytest.warns(ModalityMeanWarning, match=r"nearest to the mean of 'text'.*translate\(rows"):
            generator.generate(text[:2], **STEPS)

    def test_pictures_pass(self, wide, raw, recwarn):
        image, text = raw
        DiffusersGenerator(wide, aligner=C3Aligner().fit(text, image)).generate(image[:2], **STEPS)
        assert not [warning for warning in recwarn if issubclass(warning.category, ModalityMeanWarning)]

    def test_an_aligner_that_saw_unit_rows_is_found_out(self, wide, coco):
        aligner = C3Aligner().fit(coco[1], coco[0])
        rows = aligner.translate(coco[1][:2], source="text", target="image")
        with pytest.warns(ModalityMeanWarning, match="have norm 1, but .* of an aligner fitted on raw rows"):
            DiffusersGenerator(wide, aligner=aligner).generate(rows, **STEPS)

    def test_unit_rows_that_are_right(self, wide, coco, recwarn):
        DiffusersGenerator(wide, norm=1).generate(coco[0][:2], **STEPS)
        assert not [warning for warning in recwarn if issubclass(warning.category, ModalityMeanWarning)]

    def test_unit_rows_warn_where_nothing_is_known(self, kandinsky, rows):
        with pytest.warns(ModalityMeanWarning, match="the rows have norm 1, but KandinskyV22Pipeline expects raw"):
            DiffusersGenerator(kandinsky).generate(rows / np.float32(NORM), **STEPS)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rows": np.ones((2, 7), np.float32)}, "must have 24 dimensions, got 7"),
        ({"rows": np.full((2, 24), np.nan, np.float32)}, "NaN or infinity in 2 of 2 rows, first in row 0"),
        ({"batch_size": 0}, "batch_size must be an integer of 1 or more, got 0"),
        ({"seed": -1}, "seed must be an integer in [0, 2**64), got -1"),
        ({"row_offset": 1.5}, "row_offset must be an integer of 0 or more, got 1.5"),
        ({"generator": None}, "generator is set by generate itself"),
        ({"num_images_per_prompt": 2}, "repeat rows for more pictures"),
        ({"output_type": "np"}, "output_type is set by generate itself"),
        ({"negative": np.ones(23, np.float32)}, "the negative embeddings are (1, 23); pass (24,) or (3, 24)"),
        ({"negative": np.ones((2, 24), np.float32)}, "pass (24,) or (3, 24)"),
    ],
)
def test_refusals(kandinsky, rows, change, text):
    asked = {"rows": rows, **STEPS, **change}
    with pytest.raises(C3AlignError) as caught:
        DiffusersGenerator(kandinsky, norm=NORM).generate(asked.pop("rows"), **asked)
    assert text in str(caught.value)


def test_prompts_fit_the_rows(unclip, rows):
    with pytest.raises(C3AlignError, match="3 rows and 2 of prompt; pass one, or one per row"):
        DiffusersGenerator(unclip).generate(rows, prompt=["a", "b"], **STEPS)


def test_no_prompt_is_as_if_it_were_left_out(unclip, rows):
    made = DiffusersGenerator(unclip)
    plain, none = (made.generate(rows[:1], **STEPS, **asked) for asked in ({}, dict.fromkeys(BY_ROW)))
    assert (np.asarray(plain[0]) == np.asarray(none[0])).all()


def test_other_pipelines():
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    net = UNet2DModel(block_out_channels=(8, 8), norm_num_groups=4, down_block_types=("DownBlock2D",) * 2,
                      up_block_types=("UpBlock2D",) * 2, layers_per_block=1)  # fmt: skip
    with pytest.raises(C3AlignError, match="DDIMPipeline takes no image embeddings; pass a Kandinsky"):
        DiffusersGenerator(DDIMPipeline(net, DDIMScheduler()))
    with pytest.raises(C3AlignError, match="norm must be a finite number above 0, got -1"):
        DiffusersGenerator(tiny_pipelines.kandinsky(), norm=-1)


@pytest.mark.parametrize("before", [None, {"disable": False, "desc": "mine"}])
def test_the_pipelines_bar_is_as_it_was(rows, before, capsys):
    pipeline = tiny_pipelines.kandinsky()
    if before:
        pipeline.set_progress_bar_config(**before)
    DiffusersGenerator(pipeline, norm=NORM).generate(rows, **STEPS)
    assert "it/s" not in capsys.readouterr().err
    assert getattr(pipeline, "_progress_bar_config", None) == before


def test_no_rows(kandinsky):
    assert DiffusersGenerator(kandinsky, norm=NORM).generate(np.empty((0, 24), np.float32), **STEPS) == []
