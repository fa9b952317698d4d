"""Noise in other people's training loops: the Trainer's epochs, resumed runs, repeated rows, soft tokens."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from c3align import C3Aligner
from c3align.errors import C3AlignError
from c3align.training import make_corrupted
from c3align.training.rows import seed_of
from tests import tiny_encoders, tiny_lms

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")
tiny_encoders.import_torchvision()
hf_training = pytest.importorskip("c3align.training.hf")
CorruptedCollator, NoiseOfEpoch = hf_training.CorruptedCollator, hf_training.NoiseOfEpoch

ROWS = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32) + 1


@pytest.fixture(scope="module")
def aligner():
    return C3Aligner().fit(ROWS)


def examples(numbers=range(12)):
    return [{"rows": ROWS[i], "number": i, "label": i % 2} for i in numbers]


class TestCollator:
    def test_noise_is_that_of_each_number_and_epoch(self, aligner):
        collator = CorruptedCollator(aligner, seed=5)
        first = collator(examples())
        assert set(first) == {"rows", "labels"}
        assert first["labels"].tolist() == [i % 2 for i in range(12)]
        expected = aligner.corrupt(ROWS, modality="text", seed=seed_of(5, 0))
        np.testing.assert_array_equal(first["rows"].numpy(), expected)
        some = [7, 2, 11]
        np.testing.assert_array_equal(collator(examples(some))["rows"].numpy(), expected[some])
        collator.set_epoch(1)
        later = collator(examples())["rows"]
        np.testing.assert_array_equal(later.numpy(), aligner.corrupt(ROWS, modality="text", seed=seed_of(5, 1)))

    def test_evaluation_has_no_noise(self, aligner):
        found = CorruptedCollator(aligner)([{"rows": row} for row in ROWS])
        assert set(found) == {"rows"}
        np.testing.assert_array_equal(found["rows"].numpy(), aligner.transform(ROWS, modality="text"))
        with pytest.raises(C3AlignError, match="all examples of a batch or none must have 'number'"):
            CorruptedCollator(aligner)([*examples([0]), {"rows": ROWS[1], "label": 0}])

    def test_epochs_are_whole_and_batches_have_examples(self, aligner):
        for epoch in (1.5, -1, "a"):
            with pytest.raises(C3AlignError, match="epoch must be an integer of 0 or more"):
                CorruptedCollator(aligner).set_epoch(epoch)
        with pytest.raises(C3AlignError, match="a batch needs an example"):
            CorruptedCollator(aligner)([])

    def test_workers_that_live_on_see_the_epoch(self, aligner):
        collator = CorruptedCollator(aligner)
        options = {"num_workers": 1, "persistent_workers": True, "batch_size": 12, "collate_fn": collator}
        loader = torch.utils.data.DataLoader(examples(), **options, multiprocessing_context="fork")
        seen = []
        for epoch in range(2):
            collator.set_epoch(epoch)
            seen += [batch["rows"].numpy() for batch in loader]
        for epoch in range(2):
            np.testing.assert_array_equal(seen[epoch], aligner.corrupt(ROWS, modality="text", seed=seed_of(0, epoch)))


class Head(torch.nn.Linear):
    def forward(self, rows, labels=None):
        logits = super().forward(rows)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def trained(aligner, folder, steps=None, resume=None, learner=None, given=None):
    """A head after four epochs of three steps; with `steps` it is stopped and goes on from there."""

    class Stop(hf.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = steps is not None and state.global_step >= steps

    torch.manual_seed(0)
    collator, head = CorruptedCollator(aligner), Head(8, 2) if learner is None else learner
    how = {"num_train_epochs": 4, "per_device_train_batch_size": 4, "learning_rate": 0.1, "report_to": []}
    how |= {"save_steps": 1, "save_strategy": "steps", "disable_tqdm": True, "remove_unused_columns": False}
    arguments = hf.TrainingArguments(str(folder), **how, use_cpu=True, seed=1, logging_steps=100)
    callbacks = [NoiseOfEpoch(collator), Stop()]
    hf.Trainer(head, arguments, collator, given or examples(), callbacks=callbacks).train(resume_from_checkpoint=resume)
    return head, collator


def test_a_resumed_trainer_learns_the_same(aligner, tmp_path):
    """At the end of an epoch, and within one."""
    whole, collator = trained(aligner, tmp_path / "whole")
    assert int(collator._epoch) == 3
    for steps in (3, 7):
        trained(aligner, tmp_path / f"{steps}", steps)
        resumed, _ = trained(aligner, tmp_path / f"{steps}", resume=str(tmp_path / f"{steps}/checkpoint-{steps}"))
        assert torch.equal(resumed.weight, whole.weight)


class TestRepeats:
    def test_rows_and_targets(self, aligner):
        X, y = make_corrupted(aligner, ROWS, np.arange(12), n_repeats=3, seed=2)
        for i in range(3):
            part = slice(12 * i, 12 * (i + 1))
            np.testing.assert_array_equal(X[part], aligner.corrupt(ROWS, modality="text", seed=seed_of(2, i)))
            assert y[part].tolist() == list(range(12))
        assert not np.array_equal(X[:12], X[12:24])

    def test_refusals(self, aligner):
        with pytest.raises(C3AlignError, match="y must have one target a row"):
            make_corrupted(aligner, ROWS, np.arange(11))
        with pytest.raises(C3AlignError, match="n_repeats must be"):
            make_corrupted(aligner, ROWS, np.arange(12), n_repeats=0)


def test_examples_without_a_number_are_told_once_there_was_none():
    aligner = C3Aligner().fit(np.random.default_rng(0).normal(size=(50, 8)) + 1)
    from c3align.training import CorruptedCollator

    collate = CorruptedCollator(aligner)
    rows = np.random.default_rng(1).normal(size=(4, 8)) + 1
    with pytest.warns(UserWarning, match="no example had 'number' yet, so none is noisy"):
        collate([{"rows": row} for row in rows])
    collate([{"rows": row, "number": i} for i, row in enumerate(rows)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collate([{"rows": row} for row in rows])  # an evaluation
    with pytest.raises(C3AlignError, match=r"must have 'rows'.*remove_unused_columns=False"):
        collate([{"number": 0}])


class TestProjector:
    @pytest.mark.parametrize("wrong", [{"tune": "foo"}, {"mapper": "foo"}, {"length": 0}, {"lora": {"r": 2}}])
    def test_wrong_settings_are_refused(self, wrong):
        from c3align.decoders import Projector

        with pytest.raises(C3AlignError, match=next(iter(wrong))):
            Projector(None, 8, **wrong)

    TEXTS = ("a cat", "two birds")

    def made(self, tie_word_embeddings=True, **options):
        from c3align.decoders import Projector

        sizes = {"n_embd": 8, "n_layer": 1, "n_positions": 16, "tie_word_embeddings": tie_word_embeddings}
        lm, words = tiny_lms.build("gpt2", self.TEXTS, **sizes)
        torch.manual_seed(0)
        return Projector(lm, 8, length=3, **options).eval(), words

    def test_the_loss_is_that_of_each_word_behind_the_row(self):
        projector, _ = self.made()
        rows, words = torch.from_numpy(ROWS[:2]), torch.tensor([[1, 2, 3], [3, 1, 0]])
        labels = words.masked_fill(torch.tensor([[0, 0, 0], [0, 0, 1]]) == 1, -100)
        found = projector(rows, words, labels)
        total = 0.0
        for i, n in enumerate((3, 2)):
            for j in range(n):
                seen = projector.lm.get_input_embeddings()(words[i : i + 1, :j])
                given = torch.cat([projector.prefix(rows[i : i + 1]), seen], dim=1)
                logits = projector.lm(inputs_embeds=given).logits[0, -1]
                total -= torch.log_softmax(logits, dim=0)[words[i, j]].item()
        assert found["loss"].item() == pytest.approx(total / 5, rel=1e-5)
        assert "loss" not in projector(rows, words)

    def test_a_mask_of_the_words_is_one_of_the_soft_tokens_too(self, monkeypatch):
        projector, _ = self.made()
        rows, words = torch.from_numpy(ROWS[:2]), torch.tensor([[1, 2, 3], [3, 1, 0]])
        mask, seen = torch.tensor([[1, 1, 1], [1, 1, 0]]), []
        projector.lm.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
        found = projector(rows, words, attention_mask=mask)["logits"]
        assert seen[0]["attention_mask"].tolist() == [[1] * 6, [1] * 5 + [0]]
        expected = projector(rows, words)["logits"]
        torch.testing.assert_close(found[mask == 1], expected[mask == 1])
        for wrong, message in ((mask[:, :2], "like input_ids"), (mask.flip(1), "padding on the right")):
            with pytest.raises(C3AlignError, match=message):
                projector(rows, words, attention_mask=wrong)

    def test_rows_of_another_type_are_cast(self):
        """NumPy's own are float64."""
        projector, _ = self.made()
        rows, how = torch.from_numpy(ROWS[:2]), {"max_new_tokens": 2, "do_sample": False, "pad_token_id": 0}
        assert torch.equal(projector.prefix(rows.double()), projector.prefix(rows))
        assert torch.equal(projector.generate(rows.double(), **how), projector.generate(rows, **how))

    def test_what_learns(self):
        frozen, _ = self.made()
        assert {name.split(".")[0] for name, p in frozen.named_parameters() if p.requires_grad} == {"mapper"}
        full, _ = self.made(tune="full")
        assert all(p.requires_grad for p in full.parameters())

    def test_it_says_the_greedy_words(self):
        projector, _ = self.made()
        row = torch.from_numpy(ROWS[:1])
        said = projector.generate(row, max_new_tokens=2, min_new_tokens=2, do_sample=False, pad_token_id=0)
        first = projector.lm(inputs_embeds=projector.prefix(row)).logits[0, -1]
        first[projector.lm.generation_config.eos_token_id or 1] = -np.inf  # which min_new_tokens forbids
        assert int(said[0, 0]) == int(first.argmax())

    @pytest.mark.parametrize("tune", ["full", "lora", "frozen"])
    @pytest.mark.parametrize("tied", [True, False])
    def test_a_trainer_keeps_it_and_goes_on(self, aligner, tmp_path, tied, tune):
        """Its files hold every weight; where two are one, both learn on together."""
        from safetensors.torch import load_file

        def learned(folder, **stopped):
            projector, _ = self.made(tune=tune, tie_word_embeddings=tied)
            head = projector.lm.get_output_embeddings().weight
            assert (head is projector.lm.get_input_embeddings().weight) == tied
            words = [
                {"input_ids": torch.tensor([1 + i % 3, 2, 0]), "labels": torch.tensor([1, 2, 0])} for i in range(12)
            ]
            given = [{"rows": ROWS[i], "number": i, **said} for i, said in enumerate(words)]
            return trained(aligner, folder, **stopped, learner=projector, given=given)[0]

        whole = learned(tmp_path / "whole").state_dict()
        learned(tmp_path / "parts", steps=7)
        checkpoint = tmp_path / "parts" / "checkpoint-7"
        resumed = learned(tmp_path / "parts", resume=str(checkpoint)).state_dict()
        kept = load_file(checkpoint / "model.safetensors")
        assert set(kept) == set(whole) == set(resumed)
        assert any(not torch.equal(kept[name], value) for name, value in whole.items())
        for name, value in whole.items():
            assert torch.equal(resumed[name], value), name
        again, _ = self.made(tune=tune, tie_word_embeddings=tied)
        again.load_state_dict(kept)
        head = again.lm.get_output_embeddings().weight
        assert (head is again.lm.get_input_embeddings().weight) == tied
        for name, value in again.state_dict().items():
            assert torch.equal(kept[name], value), name
