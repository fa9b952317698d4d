"""Language models of many kinds behind `PrefixCaptioner`: the same captions from a folder, or a refusal beforehand."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

from c3align import C3Aligner
from c3align.decoders import EmbeddingGenerator, MemoryCaptioner, PrefixCaptioner
from c3align.errors import C3AlignError
from tests import tiny_encoders, tiny_lms

hf = pytest.importorskip("transformers")
rng = np.random.default_rng(0)
WORDS = ["a", "the", "cat", "dog", "sits", "on", "red", "blue", "mat", "two", "birds", "sing", "rain"]
CAPTIONS = [" ".join(rng.choice(WORDS, rng.integers(3, 7))) for _ in range(24)]
NOISE = rng.standard_normal((2, 24, 16)).astype(np.float32) * 0.15
TEXT, IMAGE = NOISE[0] + np.eye(16, dtype=np.float32)[0], NOISE[1] + np.eye(16, dtype=np.float32)[1]
ALIGNER = C3Aligner().fit(TEXT, IMAGE)
ROWS = ALIGNER.transform(IMAGE, modality="image")[:8]


@pytest.fixture(scope="module", autouse=True)
def _transformers():
    tiny_encoders.import_torchvision()


def captioner(kind="gpt2", lm=None, words=None, **settings):
    changes = settings.pop("changes", {})
    built = tiny_lms.build(kind, WORDS, **changes)
    lm, words = built[0] if lm is None else lm, built[1] if words is None else words
    return PrefixCaptioner(lm, words, n_dims=16, prefix_length=3, **settings)


def fitted(made, **options):
    return made.fit(
        TEXT, CAPTIONS, aligner=ALIGNER, progress=False, **{"epochs": 4, "batch_size": 8, "lr": 3e-2} | options
    )


def loaded(made, folder):
    made.save_pretrained(folder / "c")
    return PrefixCaptioner.from_pretrained(folder / "c")


class TestFamilies:
    @pytest.mark.parametrize("kind", [*tiny_lms.KINDS, *tiny_lms.MORE])
    def test_captions_of_one_row_of_eight_and_from_a_folder_are_the_same(self, kind, tmp_path):
        made = fitted(captioner(kind), epochs=1, lr=1e-2)
        said = made.generate(ROWS)
        assert said[:3] == made.generate(ROWS[:3], batch_size=1)  # padding is another in each, so that three tell
        assert said == loaded(made, tmp_path).generate(ROWS)

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("bart", "says other words behind padding"),  # its positions count padding
            ("bert", "sees words that it is to predict"),
            ("ctrl", "sees words|cannot caption rows"),
            ("electra", "sees words that it is to predict"),
            ("openai-gpt", "cannot caption rows"),  # its generate takes no embeddings
            ("recurrent_gemma", "says other words behind padding"),
            ("roberta", "sees words that it is to predict"),
            ("rwkv", "says other words behind padding"),  # it has no mask
        ],
    )
    def test_what_computes_otherwise_is_refused_before_it_learns(self, kind, reason):
        with pytest.raises(C3AlignError, match=f"lm cannot be used: a .* {reason}"):
            captioner(kind)

    def test_encoder_decoders_are_refused(self):
        sizes = {"d_model": 32, "d_ff": 64, "num_layers": 1, "num_heads": 2, "d_kv": 8, "decoder_start_token_id": 0}
        lm = hf.T5ForConditionalGeneration(hf.T5Config(vocab_size=16, **sizes))
        with pytest.raises(C3AlignError, match="T5ForConditionalGeneration is none that transformers would load again"):
            captioner(lm=lm)

    def test_a_model_that_its_configuration_does_not_describe(self):
        class Own(hf.GPT2LMHeadModel):
            pass

        shorter = tiny_lms.build("llama", WORDS)[0]
        shorter.model.layers = shorter.model.layers[:1]
        own = Own(tiny_lms.build("gpt2", WORDS)[0].config)
        for lm, reason in ((own, "Own would be loaded as a GPT2LMHeadModel"), (shorter, "has other tensors than")):
            with pytest.raises(C3AlignError, match=reason):
                captioner(lm=lm)


class Packed(torch.Tensor):
    """Weights of another kind behind those of a usual one, as torchao has them."""


class TestQuantized:
    """No folder would bring it back, so that it is refused before it learns, however it is tuned."""

    @staticmethod
    def as_bytes(lm):
        layer = lm.get_output_embeddings()
        layer.weight = torch.nn.Parameter(layer.weight.data.to(torch.int8), requires_grad=False)

    @staticmethod
    def as_other_tensors(lm):
        layer = lm.model.layers[0].mlp.up_proj
        layer.weight = torch.nn.Parameter(layer.weight.data.as_subclass(Packed))

    @staticmethod
    def by_configuration(lm):
        lm.config.quantization_config = {"quant_method": "gptq", "bits": 4}

    @pytest.mark.parametrize("tune", ["full", "frozen", "lora"])
    @pytest.mark.parametrize("change", [as_bytes, as_other_tensors, by_configuration])
    def test_by_weights_and_by_configuration(self, change, tune):
        lm = tiny_lms.build("llama", WORDS)[0]
        change(lm)
        with pytest.raises(C3AlignError, match=r"got a quantized LlamaForCausalLM .* load it without quantization"):
            captioner(lm=lm, tune=tune)

    @pytest.mark.filterwarnings("ignore")
    def test_by_torch_itself(self):
        lm = torch.ao.quantization.quantize_dynamic(tiny_lms.build("llama", WORDS)[0], {torch.nn.Linear})
        with pytest.raises(C3AlignError, match="has other tensors than its configuration says"):
            captioner(lm=lm)

    @pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "torchao", "awq"])
    def test_by_a_folder(self, method, tmp_path):
        lm, words = tiny_lms.build("llama", WORDS)
        for part in (lm, words):
            part.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        config["quantization_config"] = {"quant_method": method, "load_in_8bit": True}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(C3AlignError, match="'quantization_config': quantized weights are not read; save the model"):
            PrefixCaptioner.from_pretrained_lm(tmp_path, n_dims=16)


class TestTokenizers:
    def test_of_another_class_than_the_models_own(self, tmp_path):
        """A Qwen2 with words at white space; its type's tokenizer would join them."""
        made = fitted(captioner("qwen2"), epochs=15, lr=2e-2)
        again, said = loaded(made, tmp_path), made.generate(ROWS)
        assert " " in "".join(said)
        assert again.generate(ROWS) == said
        assert again.tokenizer(CAPTIONS)["input_ids"] == made.tokenizer(CAPTIONS)["input_ids"]

    def test_one_that_does_not_come_back_is_refused_before_it_learns(self):
        class Upper(hf.PreTrainedTokenizerFast):
            def __call__(self, texts, **options):
                return super().__call__([text.replace("cat", "dog") for text in texts], **options)

        words = Upper(tokenizer_object=tiny_lms.tokenizer(WORDS)._tokenizer, eos_token="</s>", unk_token="<unk>")
        made = captioner(words=words)
        with pytest.raises(C3AlignError, match="a Upper that comes back from a folder gives other tokens"):
            fitted(made)
        assert not made.is_fitted

    def test_one_without_rules_of_its_own_is_what_its_file_says(self, tmp_path):
        """transformers would make a Qwen2Tokenizer of it, which knows no space."""
        for part in tiny_lms.build("qwen2", WORDS):
            part.save_pretrained(tmp_path / "lm")
        words = PrefixCaptioner.from_pretrained_lm(tmp_path / "lm", n_dims=16).tokenizer
        assert words(CAPTIONS)["input_ids"] == tiny_lms.tokenizer(WORDS)(CAPTIONS)["input_ids"]

    @pytest.mark.parametrize(
        ("more", "captions", "reason"),
        [
            (["zebra"], ["a zebra"] * 24, "hold token 16, and the language model has 16; pass its own tokenizer"),
            ([], [*["a cat"] * 23, "a </s> cat"], "caption 23 holds the end-of-text token '</s>'"),
            ([], ["un chat"] * 23 + ["a cat"], "46 of 48 tokens of the captions are unknown"),
        ],
    )
    def test_captions_that_it_does_not_know(self, more, captions, reason):
        made = captioner(words=tiny_lms.tokenizer([*WORDS, *more]))
        with pytest.raises(C3AlignError, match=reason):
            made.fit(TEXT, captions, aligner=ALIGNER, progress=False)


class TestLora:
    @pytest.mark.parametrize(
        "lora",
        [
            {"target_modules": {"c_attn", "c_proj"}},
            {"target_modules": ("c_attn",), "use_dora": True},
            {"target_modules": "all-linear", "exclude_modules": {"c_proj"}},
            {"target_modules": ["wte"]},
            {"modules_to_save": ["lm_head"]},
            {"modules_to_save": ["wte", "ln_f"]},
            {"bias": "all"},
            {"init_lora_weights": "orthogonal", "rank_pattern": {"h.0.attn.c_attn": 4}},
        ],
        ids=["set", "tuple", "excluded", "words", "head", "layers", "bias", "ranks"],  # a set has no order
    )
    def test_what_is_taken_comes_back(self, lora, tmp_path):
        made = fitted(captioner(tune="lora", lora=lora))
        said = made.generate(ROWS)
        assert len(set(said)) > 1
        assert loaded(made, tmp_path).generate(ROWS) == said

    @pytest.mark.parametrize(
        "lora",
        [
            {"init_lora_weights": "pissa"},  # changes the language model's own weights
            {"trainable_token_indices": [3]},
            {"layer_replication": [[0, 2], [0, 2]]},
            {"target_parameters": ["wte.weight"]},
            {"inference_mode": True},
            {"use_qalora": True},
            {"r": 0},
            [8],
        ],
        ids=str,
    )
    def test_anything_else_is_refused_beforehand(self, lora):
        with pytest.raises(
            C3AlignError, match=r"LoRA that a folder can keep is needed, and .*; pass some of alpha_pattern"
        ):
            captioner(tune="lora", lora=lora)

    def test_a_model_that_has_adapters_already(self):
        import peft

        lm = tiny_lms.build("gpt2", WORDS)[0]
        for tune in ("full", "frozen", "lora"):
            with pytest.raises(C3AlignError, match=r"lm must be .* without adapters, .*; pass lm.merge_and_unload\(\)"):
                captioner(lm=peft.get_peft_model(lm, peft.LoraConfig()), tune=tune)


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_loaded_as_float32(self, dtype, tmp_path):
        for part in (tiny_lms.build("gpt2", WORDS)[0].to(dtype), tiny_lms.tokenizer(WORDS)):
            part.save_pretrained(tmp_path / "lm")
        made = PrefixCaptioner.from_pretrained_lm(tmp_path / "lm", n_dims=16, prefix_length=3)
        assert {weight.dtype for weight in made.lm.parameters()} == {torch.float32}
        before = made.lm.transformer.wte.weight.detach().clone()
        fitted(made, epochs=1, lr=2e-5, precision="bfloat16", warmup=0, weight_decay=0.0)
        # steps of 2e-5 are smaller than half a unit of bfloat16's last place, and none is lost
        assert (made.lm.transformer.wte.weight[3:] != before[3:]).float().mean() > 0.99

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_weights_that_learn_are_float32(self, dtype):
        with pytest.raises(C3AlignError, match=f"the weights must be float32, .*, got {str(dtype)[6:]}; pass lm.float"):
            captioner(lm=tiny_lms.build("gpt2", WORDS)[0].to(dtype))

    def test_weights_made_coarse_afterwards(self):
        made = captioner()
        made.lm.to(torch.bfloat16)
        with pytest.raises(C3AlignError, match=r"the weights must be float32, .*, got bfloat16"):
            fitted(made)

    @pytest.mark.parametrize("tune", ["frozen", "lora"])
    def test_weights_that_rest_may_be_half_and_stay_so(self, tune, tmp_path):
        made = fitted(captioner(lm=tiny_lms.build("gpt2", WORDS)[0].to(torch.bfloat16), tune=tune))
        again = loaded(made, tmp_path)
        assert again.lm.get_input_embeddings().weight.dtype == torch.bfloat16
        assert again.generate(ROWS) == made.generate(ROWS)

    def test_halves_are_compared_as_halves(self):
        """Whichever side is in float32: the last bits of bfloat16 depend on the machine."""
        from c3align.decoders.prefix import checks

        exact = torch.full((2, 4), 0.5781)
        other = exact + 0.002
        assert not checks._far(exact, other.bfloat16())
        assert not checks._far(exact.bfloat16(), other)
        assert checks._far(exact, other)

    def test_weights_that_are_lost_with_a_finite_loss_end_the_run(self, tmp_path, monkeypatch):
        path, step, n = tmp_path / "run.safetensors", torch.optim.AdamW.step, []

        def lost(self, *args, **options):
            found = step(self, *args, **options)
            n.append(1)
            if len(n) == 6:  # the last step of the second epoch
                self.param_groups[0]["params"][0].data.fill_(np.inf)
            return found

        made = fitted(captioner())
        monkeypatch.setattr(torch.optim.AdamW, "step", lost)
        with pytest.raises(C3AlignError, match=r"weight '.*' became NaN or infinite at step 6 of 12; lower lr"):
            fitted(made, checkpoint=path)
        assert not made.is_fitted
        from c3align.io import container

        config, tensors = container.read(path, "checkpoint")
        assert config["progress"]["step"] == 3
        assert all(np.isfinite(np.asarray(value)).all() for value in tensors.values())


@pytest.fixture(scope="module")
def made():
    made = fitted(captioner(), epochs=10, lr=2e-2)
    made.plain = made.generate(ROWS)
    ids = made.tokenizer(["a", "the", "cat"], add_special_tokens=False)["input_ids"]
    made.lm.generation_config.update(min_new_tokens=5, bad_words_ids=ids, num_return_sequences=3, num_beams=4)
    return made


def test_without_network_it_says_what_needs_none(monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    message = r"'gpt2' cannot be loaded: no network; pass a folder with .*; or small_lm\(captions\), which needs no"
    with pytest.raises(C3AlignError, match=message):
        PrefixCaptioner.from_pretrained_lm("gpt2", n_dims=4)


class TestOwnSettings:
    def test_are_told_once_and_kept(self, made):
        with pytest.warns(UserWarning, match=r"own settings change captions: .*min_new_tokens=5.*lm_settings='drop'"):
            kept = made.generate(ROWS)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            assert made.generate(ROWS) == kept == made.generate(ROWS, lm_settings="keep")
        assert not {"a", "the", "cat"} & {word for text in kept for word in text.split()}
        assert all(len(text.split()) >= 5 for text in kept)

    def test_or_dropped(self, made):
        assert made.generate(ROWS, lm_settings="drop") == made.plain
        assert made.generate(ROWS, num_beams=2, lm_settings="drop") != []
        with pytest.raises(C3AlignError, match="lm_settings must be one of 'keep', 'drop', got 'none'"):
            made.generate(ROWS, lm_settings="none")

    def test_what_cannot_be_done_is_one_line(self, made):
        for options in ({"stop_strings": ["cat"]}, {"max_new_tokens": 500, "min_new_tokens": 499}):
            with pytest.raises(C3AlignError, match=r"the language model cannot decode so: .*; pass other options"):
                made.generate(ROWS, lm_settings="drop", **options)

    def test_what_could_not_be_saved_is_refused_before_it_learns(self):
        lm = tiny_lms.build("gpt2", WORDS)[0]
        lm.generation_config.top_p = 0.5  # without do_sample
        with pytest.raises(C3AlignError, match=r"GPT2LMHeadModel is none that transformers would load again .*top_p"):
            captioner(lm=lm)

    def test_a_configuration_that_is_passed_is_followed(self, made):
        config = hf.GenerationConfig(num_beams=3, num_return_sequences=2, max_new_tokens=2)
        found = made.generate(ROWS, generation_config=config, lm_settings="drop")
        options = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 2}
        assert found == made.generate(ROWS, lm_settings="drop", **options)
        assert {len(texts) for texts in found} == {2}


class TestStrays:
    """A few rows on the other side of the gap."""

    @pytest.mark.parametrize("kind", ["prefix", "memory", "pictures"])
    def test_are_left_out_on_request_and_listed(self, kind):
        mixed, kept = TEXT.copy(), np.delete(np.arange(24), [5, 20])
        mixed[[5, 20]] = IMAGE[:2]
        items = np.zeros((24, 4, 4), np.uint8) if kind == "pictures" else CAPTIONS

        def learned(rows, items, **options):
            if kind == "prefix":
                made = captioner(n_neighbours=2)
                return made.fit(rows, items, aligner=ALIGNER, epochs=1, progress=False, **options)
            if kind == "memory":
                return MemoryCaptioner().fit(rows, items, aligner=ALIGNER, **options)
            quick = {"epochs": 1, "modality": "text", "progress": False}
            return EmbeddingGenerator(width=8).fit(rows, items, aligner=ALIGNER, **quick, **options)

        with pytest.raises(C3AlignError, match=r"2 of 24 .* on the side of 'image', first row 5; .*on_error='skip'"):
            learned(mixed, items)
        with pytest.warns(UserWarning, match="2 of 24 embeddings given as 'text' are left out, first row 5"):
            made = learned(mixed, items, on_error="skip")
        fewer = items[kept] if kind == "pictures" else [items[i] for i in kept]
        assert made.losses_ == learned(TEXT[kept], fewer).losses_ if kind != "memory" else made.memory_.texts == fewer
        assert [found.row for found in made.skipped] == [5, 20]
        assert learned(TEXT, items, on_error="skip").skipped == []

    def test_another_modality_as_a_whole_is_refused_all_the_same(self):
        with pytest.raises(C3AlignError, match="learns from one modality alone"):
            MemoryCaptioner().fit(IMAGE, CAPTIONS, aligner=ALIGNER, on_error="skip")
