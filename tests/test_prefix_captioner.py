"""`PrefixCaptioner`: what it learns from, that it learns, that it goes on, and that captions depend on their row."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm.auto import tqdm

from c3align import C3Aligner
from c3align.decoders import MemoryCaptioner, PrefixCaptioner
from c3align.decoders.prefix import decoding
from c3align.decoders.prefix.task import IGNORED, CaptionTask, Retrieval
from c3align.decoders.prefix.tokens import Tokens
from c3align.decoders.retrieval import Memory
from c3align.errors import C3AlignError, EncoderMismatchError, FormatError, TruncationWarning
from c3align.io import container
from c3align.training import Training
from c3align.training.loop import Loop
from c3align.training.rows import TrainingRows, checked_rows, refuse_strays, seed_of
from tests import tiny_encoders, tiny_lms
from tests.children import Child
from tests.conftest import DATA
from tests.signing import sign_captioner

pytest.importorskip("transformers")
QUICK = {"epochs": 2, "batch_size": 16, "lr": 3e-3, "progress": False}
QUIET = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}  # of a GPT-2


@pytest.fixture(scope="module", autouse=True)
def _transformers():
    tiny_encoders.import_torchvision()


@pytest.fixture(scope="session")
def captions(coco):
    found = json.loads((DATA / "coco-clip-vitb16" / "coco_captions_aligned.json").read_text())
    return [" ".join(item["caption"].lower().strip(" .").split()[:8]) for item in found]


@pytest.fixture(scope="session")
def aligner(coco):
    image, text = coco
    return C3Aligner(noise_cosine=0.6).fit(text, image)


def captioner(captions, kind="gpt2", seed=0, **options):
    changes = {**({"num_hidden_layers": 1} if kind == "gpt2" else {}), **options.pop("lm", {})}
    lm, words = tiny_lms.build(kind, captions, seed, **changes)
    return PrefixCaptioner(lm, words, **{"n_dims": 512, "prefix_length": 3, **options})


@pytest.fixture(scope="module")
def trained(coco, captions, aligner):
    """One that has learned a little: its captions differ from row to row."""
    options = {"epochs": 32, "batch_size": 20, "lr": 1e-2, "progress": False}
    return captioner(captions, lm=QUIET).fit(coco[1][:200], captions[:200], aligner=aligner, **options)


@pytest.fixture(scope="module")
def aligned(coco, aligner):
    return aligner.transform(coco[0], modality="image")


def weights(made):
    return {name: value.detach().clone() for name, value in made._model.state_dict().items()}


def gradients(made):
    return {name: p.grad.clone() for name, p in made._model.named_parameters() if p.grad is not None}


def equal(a, b):
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


class TestTokens:
    @settings(max_examples=30)
    @given(st.lists(st.lists(st.integers(3, 30), max_size=6), min_size=1, max_size=12), st.data())
    def test_as_lists(self, texts, data):
        flat = [token for text in texts for token in [*text, 1]]
        tokens = Tokens(np.array(flat, np.int32), np.cumsum([0, *(len(text) + 1 for text in texts)]))
        numbers = data.draw(st.lists(st.integers(-1, len(texts) - 1), min_size=3, max_size=3))
        limit = data.draw(st.integers(1, 12))
        joined = tokens.joined(np.array([numbers]), limit)
        wanted = [token for i in numbers if i >= 0 for token in [*texts[i], 1]][:limit]
        assert joined.of_texts(np.array([0])).tolist() == wanted

    def test_the_papers_longest_is_cut_and_ended(self):
        texts = ["a b"] * 999 + ["a " * 500]
        words = tiny_lms.tokenizer(texts)
        tokens = Tokens.of(texts, words, 1)
        lengths = np.array([2] * 999 + [500])
        limit = int(lengths.mean() + 10 * lengths.std())
        assert tokens.lengths.max() == limit + 1 < 501
        for i in (0, 17, 999):
            assert tokens.of_texts(np.array([i])).tolist() == [*words(texts[i])["input_ids"][:limit], 1]
        with pytest.warns(TruncationWarning, match=f"1 of 1000 captions are .* cut to {limit} tokens; shorten"):
            tokens.warn_of_cuts()

    def test_a_fit_says_that_captions_are_cut(self, coco, captions, monkeypatch):
        made = captioner(captions[:3])
        monkeypatch.setattr(Tokens, "of", lambda *arguments, own=Tokens.of: replace(own(*arguments), n_cut=2))
        with pytest.warns(TruncationWarning, match="2 of 3 captions"):
            made.fit(coco[1][:3], captions[:3], **QUICK)


def feed_of(rows, aligner, captions, *, n_neighbours=0, as_captions=False, seed=3, **options):
    source = TrainingRows(checked_rows(rows), aligner, "text", seed)
    tokens = Tokens.of(captions, tiny_lms.tokenizer(captions), 1)
    feed = CaptionTask(source, tokens, np.ones(len(rows), bool), 16)
    if n_neighbours:
        memory = Memory.of(source, captions, None, None)
        retrieval = Retrieval(memory, n_neighbours, as_captions, tokens, 100)
        feed = replace(feed, retrieval=retrieval, groups=memory.groups(captions))
    return replace(feed, **options)


def pieces_of(feed, epoch, **options):
    return [piece for _, pieces in feed.epoch(epoch, **options) for piece in pieces]


class TestNoise:
    @settings(max_examples=10)
    @given(batch_size=st.integers(1, 90), n_processes=st.integers(1, 4), n_pieces=st.integers(1, 3))
    def test_a_function_of_seed_epoch_and_row(self, coco, captions, aligner, batch_size, n_processes, n_pieces):
        """For any batch size, number of processes and pieces: `corrupt` of the whole, row by row, once an epoch."""
        text = coco[1][:100]
        wanted = aligner.corrupt(text, modality="text", seed=seed_of(3, 5))
        feed = feed_of(text, aligner, captions[:100], batch_size=batch_size)
        seen = np.zeros(100, int)
        for rank in range(n_processes):
            for _, pieces in feed.epoch(5, share=(rank, n_processes, n_pieces)):
                for piece in pieces:
                    assert (piece.rows == wanted[piece.numbers]).all()
                    seen[piece.numbers[(piece.targets != IGNORED).any(axis=1)]] += 1
        assert (seen == 1).all()

    def test_fresh_every_epoch_and_seed(self, coco, captions, aligner):
        found = []
        for seed, epoch in [(3, 0), (3, 1), (4, 0)]:
            pieces = pieces_of(feed_of(coco[1], aligner, captions, seed=seed), epoch)
            order = np.argsort(np.concatenate([piece.numbers for piece in pieces]))
            found.append(np.concatenate([piece.rows for piece in pieces])[order])
        clean = aligner.transform(coco[1], modality="text")
        for rows in found:
            assert 0.55 < (rows * clean).sum(axis=1).mean() < 0.65  # the aligner's noise cosine
        for a, b in [(0, 1), (0, 2), (1, 2)]:
            assert (found[a] * found[b]).sum(axis=1).mean() < 0.45  # 0.6 squared: independent

    def test_blocks_of_a_memmap(self, coco, captions, aligner, tmp_path, monkeypatch):
        np.save(tmp_path / "text.npy", coco[1])
        mapped = np.load(tmp_path / "text.npy", mmap_mode="r", allow_pickle=False)
        wanted = aligner.corrupt(coco[1], modality="text", seed=seed_of(3, 0))
        monkeypatch.setattr("c3align.training.rows.BLOCK_ROWS", 90)
        feed = feed_of(mapped, aligner, captions)
        pieces = pieces_of(feed, 0)
        assert sorted(np.concatenate([piece.numbers for piece in pieces])) == list(range(500))
        assert all((piece.rows == wanted[piece.numbers]).all() for piece in pieces)
        assert len(pieces) == feed.n_batches

    def test_a_process_without_a_row_learns_nothing_from_the_one_it_reads(self, coco, captions, aligner):
        pieces = pieces_of(feed_of(coco[1][:33], aligner, captions[:33]), 0, share=(1, 2, 1))
        piece = pieces[[len(piece.numbers) for piece in pieces].index(1)]
        assert (piece.targets == IGNORED).all()

    def test_skipped_steps(self, coco, captions, aligner):
        feed = feed_of(coco[1][:90], aligner, captions[:90], n_neighbours=2)
        whole = pieces_of(feed, 1)
        for skip in (0, 1, 4, 5, 6):
            rest = pieces_of(feed, 1, skip=skip)
            assert len(rest) == len(whole) - skip
            assert all((a.rows == b.rows).all() and (a.tokens == b.tokens).all() for a, b in zip(rest, whole[skip:]))


class TestNeighbours:
    def test_those_of_the_noisy_row_without_its_own_caption(self, coco, captions, aligner):
        texts = [captions[i % 450] for i in range(500)]  # fifty captions belong to two rows
        clean = aligner.transform(coco[1], modality="text")
        numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        group = np.array([numbers[text] for text in texts])
        for piece in pieces_of(feed_of(coco[1], aligner, texts, n_neighbours=4), 0):
            scores = piece.rows.astype(np.float64) @ clean.astype(np.float64).T
            scores[group[piece.numbers][:, None] == group] = -np.inf
            nearest = np.argsort(-scores, axis=1, kind="stable")[:, :4]
            assert (piece.neighbours == clean[nearest]).all()

    def test_their_words_before_the_caption(self, coco, captions, aligner):
        words = tiny_lms.tokenizer(captions)
        rows = pieces_of(feed_of(coco[1], aligner, captions, n_neighbours=2), 0)
        shown = pieces_of(feed_of(coco[1], aligner, captions, n_neighbours=2, as_captions=True), 0)
        clean = aligner.transform(coco[1], modality="text")
        for near, piece in zip(rows, shown):
            assert piece.neighbours is None
            for i, number in enumerate(piece.numbers):
                places = [int(np.flatnonzero((clean == row).all(axis=1))[0]) for row in near.neighbours[i]]
                before = [token for place in places for token in [*words(captions[place])["input_ids"], 1]]
                own = [*words(captions[number])["input_ids"], 1]
                n = len(before) + len(own)
                assert piece.tokens[i, :n].tolist() == before + own
                assert piece.targets[i, :n].tolist() == [IGNORED] * len(before) + own
                assert (piece.targets[i, n:] == IGNORED).all()

    def test_a_memory_with_nothing_else_in_it(self, coco, captions, aligner):
        texts = [captions[0]] * 3 + captions[:2]
        pieces = pieces_of(feed_of(coco[1][:5], aligner, texts, n_neighbours=3), 0)
        first = next(p.neighbours[list(p.numbers).index(0)] for p in pieces if 0 in p.numbers)
        assert (first[1:] == 0).all()
        assert first[0].any()


class TestLoss:
    @pytest.mark.parametrize("kind", tiny_lms.KINDS)
    @pytest.mark.parametrize("mapper", ["mlp", "linear", "transformer"])
    def test_against_the_models_own_in_float64(self, coco, captions, aligner, kind, mapper):
        """Row by row, without padding, by transformers' own loss."""
        made = captioner(captions, kind, mapper=mapper, n_neighbours=2, neighbours_as="embeddings")
        piece = pieces_of(feed_of(coco[1][:40], aligner, captions[:40], n_neighbours=2), 0)[0]
        tensors = [torch.from_numpy(value) for value in (piece.rows, piece.neighbours, piece.tokens, piece.targets)]
        found = made._model(*tensors)
        model = made._model.double()
        total = 0.0
        for i in range(len(piece.numbers)):
            row, near = tensors[0][i : i + 1].double(), tensors[1][i : i + 1].double()
            near = near @ model.neighbour_mapper.weight.T + model.neighbour_mapper.bias + model.places
            prefix = torch.cat([near, model.mapper(row)], dim=1)
            tokens = tensors[2][i][tensors[3][i] != IGNORED]
            embedded = torch.cat([prefix[0], model.lm.get_input_embeddings()(tokens)])[None]
            labels = torch.cat([torch.full((prefix.shape[1],), -100), tokens])[None]
            total += float(model.lm(inputs_embeds=embedded, labels=labels).loss.detach()) * len(tokens)
        assert abs(float(found) - total) < 1e-4 * total

    def test_mappers_are_what_the_paper_says(self, captions):
        shapes = {}
        for kind in ("mlp", "linear", "transformer"):
            mapper = captioner(captions, mapper=kind, prefix_length=10)._model.mapper
            shapes[kind] = [tuple(p.shape) for name, p in mapper.named_parameters() if name.endswith("weight")]
        assert shapes["mlp"] == [(160, 512), (320, 160)]  # d -> k h / 2 -> k h, with h = 32
        assert shapes["linear"] == [(320, 512)]
        rows = torch.randn(2, 512)
        mlp = captioner(captions, prefix_length=10)._model.mapper
        first, second = mlp.net[0], mlp.net[2]
        wanted = torch.tanh(rows @ first.weight.T + first.bias) @ second.weight.T + second.bias
        assert torch.allclose(mlp(rows), wanted.view(2, 10, 32), atol=1e-6)
        layers = captioner(captions, mapper="transformer")._model.mapper.layers.layers
        assert (len(layers), layers[0].self_attn.num_heads) == (8, 8)


class TestLearning:
    @pytest.mark.parametrize("kind", tiny_lms.KINDS)
    def test_says_what_it_learned_and_stops(self, coco, captions, kind):
        """Twenty captions by heart: words, order, and the end, which is trained."""
        made = captioner(captions[:20], kind, lm={"dropout": 0.0} if kind == "opt" else {})
        size = {"epochs": 160, "batch_size": 20} if kind == "opt" else {"epochs": 60, "batch_size": 10}
        made.fit(coco[1][:20], captions[:20], progress=False, lr=1e-2, warmup=5, **size)
        assert made.losses_[-1] < 0.3 < 2 < made.losses_[0]
        said = made.generate(coco[1][:20], max_new_tokens=30)
        assert np.mean([a == b for a, b in zip(said, captions)]) > 0.9

    def test_pictures_after_texts_alone(self, trained, aligned, captions):
        """Images of held-in captions: better than those of other images."""
        captions = captions[:200]
        said = [set(text.split()) for text in trained.generate(aligned[:200])]
        own = np.mean([len(a & set(b.split())) for a, b in zip(said, captions)])
        other = np.mean([len(a & set(b.split())) for a, b in zip(said, captions[7:] + captions[:7])])
        assert own > 1.25 * other

    def test_the_same_seed_gives_the_same_weights(self, coco, captions, aligner):
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        runs = []
        for seed in (0, 0, 1):
            torch.manual_seed(len(runs))
            state = torch.random.get_rng_state()
            made = captioner(captions).fit(coco[1], captions, aligner=aligner, seed=seed, **QUICK)
            assert torch.equal(torch.random.get_rng_state(), state)
            runs.append(weights(made))
        assert equal(runs[0], runs[1])
        assert not equal(runs[0], runs[2])

    @pytest.mark.parametrize("accumulate", [1, 3, 7])
    def test_the_gradient_is_that_of_a_token_on_average(self, coco, captions, aligner, accumulate, monkeypatch):
        """In however many pieces: that of the whole batch's loss, over its tokens, by autograd."""
        made, seen = captioner(captions, lm=QUIET), []
        monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: seen.append(gradients(made)))
        options = {**QUICK, "epochs": 1, "batch_size": 500, "accumulate": accumulate}
        made.fit(coco[1], captions, aligner=aligner, seed=3, **options)
        piece = pieces_of(feed_of(coco[1], aligner, captions, batch_size=500), 0)[0]
        made._model.zero_grad()
        loss = made._model(*(torch.from_numpy(v) for v in (piece.rows,)), None, *map(torch.from_numpy, piece[3:]))
        (loss / (piece.targets != IGNORED).sum()).backward()
        for name, wanted in gradients(made).items():
            assert (seen[0][name] - wanted).norm() < 1e-4 * wanted.norm()

    @pytest.mark.parametrize("tune", ["full", "frozen", "lora"])
    def test_what_learns(self, coco, captions, aligner, tune):
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        lora = {"r": 4} if tune == "lora" else None
        made = captioner(captions, tune=tune, lora=lora, lm={"num_hidden_layers": 2})
        before = weights(made)
        made.fit(coco[1], captions, aligner=aligner, **QUICK)
        moved = {name for name, value in weights(made).items() if not torch.equal(value, before[name])}
        assert {name for name in moved if not name.startswith("lm.")} == {
            name for name in before if not name.startswith("lm.")
        }
        of_lm = {name for name in moved if name.startswith("lm.")}
        if tune == "full":
            assert len(of_lm) > 20
        else:
            assert {name.split(".")[-3] for name in of_lm} == ({"lora_A", "lora_B"} if tune == "lora" else set())

    def test_bfloat16_and_clipping(self, coco, captions, aligner):
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        half = captioner(captions).fit(coco[1], captions, aligner=aligner, precision="bfloat16", **QUICK)
        full = captioner(captions).fit(coco[1], captions, aligner=aligner, **QUICK)
        assert 0 < abs(half.losses_[-1] - full.losses_[-1]) < 0.05
        assert next(half._model.parameters()).dtype == torch.float32
        options = {**QUICK, "optimizer": "adam", "epochs": 1, "batch_size": 500, "schedule": "constant", "warmup": 0}
        norms = []
        original = torch.nn.utils.clip_grad_norm_
        try:
            torch.nn.utils.clip_grad_norm_ = lambda p, n: norms.append((float(original(list(p), n)), n))
            captioner(captions).fit(coco[1], captions, aligner=aligner, max_grad_norm=0.01, **options)
        finally:
            torch.nn.utils.clip_grad_norm_ = original
        assert len(norms) == 1
        assert norms[0][0] > norms[0][1] == 0.01

    def test_the_best_epoch_on_texts_held_out(self, coco, captions, aligner):
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        options = {**QUICK, "epochs": 12, "lr": 4e-2}
        made = captioner(captions).fit(coco[1], captions, aligner=aligner, validation=0.2, **options)
        best = int(np.argmin(made.validation_losses_))
        assert 0 < best < 11 < len(made.validation_losses_)
        shorter = captioner(captions)
        feed = Loop._epoch
        try:  # the same run, ended where the best epoch was
            Loop._epoch = lambda self, epoch, bar: feed(self, epoch, bar) if epoch <= best else None
            shorter.fit(coco[1], captions, aligner=aligner, validation=0.2, **options)
        finally:
            Loop._epoch = feed
        assert equal(weights(made), weights(shorter))

    def test_goes_on_from_its_weights(self, coco, captions, aligner, trained, tmp_path):
        """Fine-tuning on pairs after texts (the paper's semi-supervised setting)."""
        trained.save_pretrained(tmp_path / "c")
        made = PrefixCaptioner.from_pretrained(tmp_path / "c")
        made.fit(coco[0][:200], captions[:200], aligner=aligner, modality="image", **QUICK)
        assert made.losses_[0] < trained.losses_[0] - 0.5

    def test_schedules(self):
        wanted = Training(10, 40, 2e-5, "linear", 5000, "adamw", 0.01)
        # torch's own schedule, warm-up and linear fall, is what the paper's code uses
        rates = [wanted.lr_at(step, 20_000) for step in (0, 2499, 4999, 5000, 12_500, 19_999)]
        assert rates == pytest.approx([2e-5 / 5001, 2e-5 / 2, 2e-5, 2e-5, 1e-5, 2e-5 / 15_000], rel=1e-3)
        constant = Training(lr=1e-3, schedule="constant", warmup=0)
        assert {constant.lr_at(step, 100) for step in range(100)} == {1e-3}
        cosine = Training(epochs=4, lr=2e-3, schedule="cosine", warmup=0.1)
        rates = [cosine.lr_at(step, 400) for step in (0, 20, 40, 220, 399)]
        assert rates == pytest.approx([2e-4, 1.1e-3, 2e-3, 1e-3, 0], abs=1e-7)

    def test_warm_up_in_steps_or_share(self):
        for steps, kept in [(np.int64(100), 100), (100, 100), (0.5, 0.5), (np.float32(0.5), 0.5), (1.0, 1.0)]:
            made = Training(warmup=steps).warmup
            assert (type(made), made) == (type(kept), kept)
        with pytest.raises(C3AlignError, match=r"or a share of at most 1, got 100\.0; pass 100 if these are steps"):
            Training(warmup=100.0)

    def test_progress_shows_loss_and_tokens(self, coco, captions, aligner, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        captioner(captions).fit(coco[1], captions, aligner=aligner, **{**QUICK, "progress": True})
        told = capsys.readouterr().err
        assert "epoch 2 of 2" in told
        assert "loss=" in told
        assert re.search(r"tokens=\d+/s]", told)

    def test_tokens_per_second_go_on_over_epochs(self, coco, captions, aligner, monkeypatch):
        """By a clock that takes a second for each step, they are the mean tokens of a step at any time."""
        shown = []

        class Bar(tqdm):
            format_dict = property(lambda self: {**super().format_dict, "elapsed": self.n + 1})

            def set_postfix(self, figures, **_):
                shown.append(int(figures["tokens"].removesuffix("/s")))

        monkeypatch.setattr("c3align.training.loop.tqdm", Bar)
        made = captioner(captions)
        made.fit(coco[1], captions, aligner=aligner, **{**QUICK, "progress": True})
        assert len(shown) > 2
        assert max(shown) < 1.3 * min(shown)


class TestNothingLearned:
    def test_a_small_step_from_random_weights_is_told(self, coco, captions, aligner):
        """Where the loss is that of the words' frequencies; a model that knows them may learn as slowly as it likes."""
        coco, captions = [rows[:200] for rows in coco], captions[:200]
        made, how = captioner(captions), {"aligner": aligner, "progress": False}
        words = Counter(word for text in captions for word in [*text.split(), "</s>"])
        shares = np.array([*words.values()]) / words.total()
        told = f"{-(shares @ np.log(shares)):.2f}"
        message = rf"hardly anything was learned.* alone give {told}; raise lr= \(it was 2e-05"
        with pytest.warns(UserWarning, match=message):
            made.fit(coco[1], captions, **how, epochs=2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made.fit(coco[1], captions, **how, epochs=8, batch_size=20, lr=5e-3)
            made.fit(coco[1], captions, **how, epochs=1)
        assert made.losses_[0] > 0.5 * -(shares @ np.log(shares))


class TestOneModalityAlone:
    def test_no_image_reaches_a_captioner_that_learns_from_texts(self, coco, captions, aligner):
        image, text = coco
        made = captioner(captions)
        before = weights(made)
        for fitted in (aligner, C3Aligner().fit(text)):
            with pytest.raises(C3AlignError, match="learns from one modality alone"):
                made.fit(image, captions, aligner=fitted, **QUICK)
        assert equal(weights(made), before)
        assert not made.is_fitted

    @pytest.mark.parametrize("row", [0, 250, 499])
    def test_not_even_one(self, coco, captions, aligner, row):
        mixed = coco[1].copy()
        mixed[row] = coco[0][row]
        with pytest.raises(C3AlignError, match=f"1 of 500 embeddings .* side of 'image', first row {row}"):
            captioner(captions).fit(mixed, captions, aligner=aligner, **QUICK)

    @pytest.mark.parametrize("data", ["coco", "coco_random", "convirt"])
    def test_every_row_is_told_apart(self, request, data):
        image, text = request.getfixturevalue(data)
        fitted = C3Aligner().fit(text, image)
        refuse_strays(text, fitted, "text")
        refuse_strays(image, fitted, "image")
        for rows, name in ((image, "text"), (text, "image")):
            with pytest.raises(C3AlignError, match=f"500 of 500 embeddings given as modality='{name}'"):
                refuse_strays(rows, fitted, name)

    def test_where_there_is_no_gap_nothing_is_refused(self, coco, captions):
        """C2_2: corrupt without collapse has means of zero, and no side to lie on."""
        image, text = coco
        both = (
            C3Aligner()
            .fit(np.concatenate([text, -text]))
            .partial_fit(np.concatenate([image, -image]), modality="image")
        )
        captioner(captions).fit(text, captions, aligner=both, **{**QUICK, "epochs": 1, "batch_size": 100})


class TestResume:
    def interrupted(self, captions, coco, aligner, path, stop, **options):
        """A run that ends before step `stop`, and one that goes on."""
        step = Loop._step
        try:
            Loop._step = lambda self, *a: step(self, *a) if self.step < stop else self.stop
            with pytest.raises(AttributeError):
                captioner(captions).fit(coco[1], captions, aligner=aligner, checkpoint=path, **options)
        finally:
            Loop._step = step
        made = captioner(captions)
        return made.fit(coco[1], captions, aligner=aligner, checkpoint=path, **options)

    @pytest.mark.parametrize("kind", ["plain", "neighbours", "lora", "validation"])
    def test_stopped_at_any_step(self, coco, captions, aligner, tmp_path, kind, monkeypatch):
        """Three steps an epoch: before, at and after a checkpoint, and where an epoch ends."""
        coco, captions = [rows[:72] for rows in coco], captions[:72]
        options = {**QUICK, "batch_size": 24, "checkpoint_every": 2, "epochs": 2}
        settings = {"neighbours": {"n_neighbours": 2}, "lora": {"tune": "lora"}}.get(kind, {})
        monkeypatch.setitem(globals(), "captioner", lambda captions: plain(captions, **settings))
        if kind == "validation":
            options["validation"] = 0.1
        whole = captioner(captions).fit(coco[1], captions, aligner=aligner, **options)
        for stop in (1, 2, 3, 5):
            path = tmp_path / f"{stop}.safetensors"
            made = self.interrupted(captions, coco, aligner, path, stop, **options)
            assert equal(weights(made), weights(whole))
            assert made.losses_ == pytest.approx(whole.losses_, rel=1e-12)
            assert made.validation_losses_ == whole.validation_losses_

    def test_a_finished_run_is_there_at_once(self, coco, captions, aligner, aligned, tmp_path, monkeypatch):
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        path = tmp_path / "run.safetensors"
        first = captioner(captions).fit(coco[1], captions, aligner=aligner, checkpoint=path, **QUICK)
        monkeypatch.setattr(Loop, "_step", None)
        again = captioner(captions).fit(coco[1], captions, aligner=aligner, checkpoint=path, **QUICK)
        assert equal(weights(first), weights(again))
        assert again.generate(aligned[:3]) == first.generate(aligned[:3])

    def test_another_run_is_refused(self, coco, captions, aligner, tmp_path):
        coco, captions, path = [rows[:96] for rows in coco], captions[:96], tmp_path / "run.safetensors"
        captioner(captions).fit(coco[1], captions, aligner=aligner, checkpoint=path, **QUICK)
        changed = [captions[1], captions[0], *captions[2:]]
        for options, what in [
            ({"seed": 1}, "seed"),
            ({"seed": 1, "captions": changed}, "rows and captions, seed"),
            ({"lr": 1e-3}, "lr"),
            ({"captions": changed}, "rows and captions"),
            ({"aligner": C3Aligner(noise_cosine=0.5).fit(*coco[::-1])}, "rows and captions"),
            ({"made": captioner(captions, seed=1)}, "weights"),
            ({"made": captioner(captions, tune="lora", lora={"lora_alpha": 3})}, "lora, weights"),
        ]:
            made = options.pop("made", None) or captioner(captions)
            texts = options.pop("captions", captions)
            with pytest.raises(C3AlignError, match=f"checkpoint of another run \\({what} differs?\\); delete it"):
                made.fit(coco[1], texts, **{"aligner": aligner, "checkpoint": path, **QUICK, **options})
        longer = {"aligner": aligner, **QUICK, "epochs": 3}
        told = r"\(epochs differs\); .*fit with epochs=2 and this checkpoint, then again with another one"
        with pytest.raises(C3AlignError, match=told):
            captioner(captions).fit(coco[1], captions, checkpoint=path, **longer)
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(FormatError, match="it is damaged"):
            captioner(captions).fit(coco[1], captions, aligner=aligner, checkpoint=path, **QUICK)

    @pytest.mark.parametrize("change", ["lora_alpha", "index"])
    def test_a_run_of_the_same_weights_is_refused(self, coco, captions, aligner, tmp_path, change):
        """Where LoRA or the search for neighbors is another one, of which no weight tells."""
        rows, captions, path = coco[1][:96], captions[:96], tmp_path / "run.safetensors"
        if change == "index":
            pytest.importorskip("faiss")
            some = [{"n_neighbours": 2, "index": index} for index in (None, "Flat")]
        else:
            some = [{"tune": "lora", "lora": {"r": 4, change: alpha}} for alpha in (8, 16)]
        options = {"aligner": aligner, "checkpoint": path, **QUICK, "epochs": 1}
        captioner(captions, **some[0]).fit(rows, captions, **options)
        captioner(captions, **some[0]).fit(rows, captions, **options)
        what = "memory" if change == "index" else "lora"
        with pytest.raises(C3AlignError, match=f"checkpoint of another run \\({what} differs\\); delete it"):
            captioner(captions, **some[1]).fit(rows, captions, **options)

    def test_all_rows_cannot_be_held_out(self, coco, captions, trained, tmp_path):
        trained.save_pretrained(tmp_path / "c")
        made = PrefixCaptioner.from_pretrained(tmp_path / "c")
        with pytest.raises(C3AlignError, match=r"validation=0\.1 holds out all of 1 row; pass more, or 0"):
            made.fit(coco[1][:1], captions[:1], validation=0.1, **QUICK)
        assert made.is_fitted

    def test_a_failed_write_leaves_the_checkpoint_before(self, coco, captions, aligner, tmp_path, monkeypatch):
        coco, captions, path = [rows[:96] for rows in coco], captions[:96], tmp_path / "run.safetensors"
        options = {**QUICK, "checkpoint": path, "checkpoint_every": 2}
        whole = captioner(captions).fit(coco[1], captions, aligner=aligner, **QUICK)
        replace, count = os.replace, []

        def failing(*paths):
            count.append(paths)
            if len(count) == 3:
                raise OSError("disk full")
            replace(*paths)

        monkeypatch.setattr(os, "replace", failing)
        with pytest.raises(OSError, match="disk full"):
            captioner(captions).fit(coco[1], captions, aligner=aligner, **options)
        made = captioner(captions).fit(coco[1], captions, aligner=aligner, **options)
        assert equal(weights(made), weights(whole))
        assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]

    @pytest.mark.slow
    def test_killed(self, coco, captions, aligner, tmp_path, one_thread):
        """A process is killed, at a step that is not that of a checkpoint, and another one goes on."""
        program = f"""
import os, signal
from c3align.training.loop import Loop
from tests import test_prefix_captioner as t
step = Loop._step
def dying(self, *rest):
    if self.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *rest)
Loop._step = dying
t.learn(*t.read({str(tmp_path)!r}), checkpoint={str(tmp_path / "run.safetensors")!r})
"""
        material = [*(rows[:96] for rows in coco), captions[:96]]
        write(tmp_path, *material)
        told = Child(program).communicate()[1]
        assert "Error" not in told, told
        assert (tmp_path / "run.safetensors").exists()
        made = learn(*material, checkpoint=tmp_path / "run.safetensors")
        assert equal(weights(made), weights(learn(*material)))

    @pytest.mark.slow
    def test_two_processes_learn_what_one_does(self, coco, captions, tmp_path, one_thread, monkeypatch):
        """By the variables of accelerate's own launcher, over gloo; gradients summed in another order, nothing else."""
        program = f"""
import json, os
import torch
from tests import test_prefix_captioner as t
material = t.read({str(tmp_path)!r})
t.captioner(material[-1])
rank = "1" if (child := os.fork()) == 0 else "0"  # here, where most is imported
os.environ.update(RANK=rank, LOCAL_RANK=rank)
norms = t.noted_norms(torch.nn.utils)
made = t.learn(*material, checkpoint={str(tmp_path / "2.safetensors")!r}, **t.SPLIT)
if os.environ["RANK"] == "0":
    made.save_pretrained({str(tmp_path / "2")!r})
    open({str(tmp_path / "norms.json")!r}, "w").write(json.dumps(norms))
    assert os.waitpid(child, 0)[1] == 0
"""
        material = [*(rows[:96] for rows in coco), captions[:96]]
        write(tmp_path, *material)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
        process = Child(program, **where, ACCELERATE_USE_CPU="true")
        told = process.communicate()[1]
        assert process.returncode == 0, told
        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.utils, "clip_grad_norm_", torch.nn.utils.clip_grad_norm_)
            norms = noted_norms(torch.nn.utils)
            one = learn(*material, checkpoint=tmp_path / "1.safetensors", **SPLIT)
        two = PrefixCaptioner.from_pretrained(tmp_path / "2")
        assert len(norms) == 2 * 7
        assert json.loads((tmp_path / "norms.json").read_text()) == pytest.approx(norms, rel=1e-3)
        assert two.losses_ == pytest.approx(one.losses_, rel=1e-4)
        assert two.validation_losses_ == pytest.approx(one.validation_losses_, rel=1e-4)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SPLIT = {"lr": 1e-3, "batch_size": 13, "validation": 0.1, "max_grad_norm": 1e9, "checkpoint_every": None}


def learn(image, text, captions, **options):
    """What both processes of a test do."""
    quiet = QUIET if "validation" in options else {}
    made = captioner(captions, lm=quiet, n_neighbours=2 if quiet else 0)
    aligner = C3Aligner(noise_cosine=0.6).fit(text, image)
    return made.fit(text, captions, aligner=aligner, **{**QUICK, "checkpoint_every": 3, **options})


def noted_norms(module):
    norms, clip = [], module.clip_grad_norm_
    module.clip_grad_norm_ = lambda parameters, norm: norms.append(float(clip(list(parameters), norm)))
    return norms


def write(folder, image, text, captions):
    np.save(folder / "rows.npy", np.stack([image, text]))
    (folder / "captions.txt").write_text("\n".join(captions))


def read(folder):
    folder = Path(folder)
    torch.set_num_threads(1)
    return [*np.load(folder / "rows.npy"), (folder / "captions.txt").read_text().split("\n")]


plain = captioner

DECODING = [
    {},
    {"num_beams": 3},
    {"do_sample": True, "top_p": 0.9, "temperature": 0.8, "top_k": 0},
    {"do_sample": True, "num_beams": 2},
    {"num_beams": 3, "length_penalty": 0.5, "repetition_penalty": 1.2},
]


class TestGenerate:
    @pytest.mark.parametrize("options", DECODING, ids=lambda options: "-".join(options) or "greedy")
    def test_captions_do_not_depend_on_the_batch(self, trained, aligned, options):
        """Eighty rows, which are five blocks; batch 1, 7 and all, and again: equal to the letter."""
        aligned = aligned[:80]
        whole = trained.generate(aligned, seed=5, **options)
        assert len(set(whole)) > 40
        assert trained.generate(aligned, seed=5, **options) == whole
        for batch_size, n_rows in ((1, 6), (7, 33), (80, 80)):
            assert trained.generate(aligned[:n_rows], seed=5, batch_size=batch_size, **options) == whole[:n_rows]

    def test_nor_on_the_place(self, trained, aligned):
        """A row that is captioned alone, or among others in another order."""
        aligned = aligned[:160]
        whole = trained.generate(aligned)
        order = np.random.default_rng(0).permutation(160)
        assert trained.generate(aligned[order]) == [whole[i] for i in order]
        assert [trained.generate(aligned[i : i + 1])[0] for i in range(0, 160, 9)] == whole[::9]

    @pytest.mark.parametrize("batch_size", [1, 5, 100])
    def test_the_model_always_sees_blocks_of_one_size(self, trained, aligned, batch_size, monkeypatch):
        """What makes the above hold: a product of another shape is rounded in another way."""
        shapes = set()
        watch = trained.lm.transformer.register_forward_hook(
            lambda module, args, options, out: shapes.add(out[0].shape[:2]), with_kwargs=True
        )
        trained.generate(aligned[:100], batch_size=batch_size, max_new_tokens=2, min_new_tokens=2)
        watch.remove()
        assert shapes == {(16, 4), (16, 1)}
        layer = torch.nn.Linear(512, 512)
        rows = torch.from_numpy(aligned)
        assert any(not torch.equal(layer(rows[:n]), layer(rows)[:n]) for n in range(1, 40))

    def test_with_neighbours(self, coco, captions, aligner, aligned):
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        for shown in ("captions", "embeddings"):
            made = captioner(captions, n_neighbours=3, neighbours_as=shown)
            made.fit(coco[1], captions, aligner=aligner, **QUICK)
            whole = made.generate(aligned[:48], num_beams=2)
            assert made.generate(aligned[:8], num_beams=2, batch_size=1) == whole[:8]
            assert made.generate(aligned[7:40], num_beams=2) == whole[7:40]

    @pytest.mark.parametrize("kind", ["llama", "qwen2", "opt"])
    def test_by_other_models_as_without_blocks(self, coco, captions, aligner, aligned, kind):
        """Greedy by hand: one row, no padding, the likeliest word each time."""
        made = captioner(captions, kind, n_neighbours=2).fit(coco[1], captions, aligner=aligner, **QUICK)
        said = made.generate(aligned[:24])
        embed = made.lm.get_input_embeddings()
        for i in range(24):
            words = torch.from_numpy(made._retrieval.of(aligned[i : i + 1])[1].flat.astype(np.int64))
            with torch.inference_mode():
                prefix = made._model.prefix(torch.from_numpy(aligned[i : i + 1]))
                embedded, tokens = torch.cat([prefix, embed(words)[None]], dim=1), []
                while len(tokens) < made.max_tokens_:
                    token = made.lm(inputs_embeds=embedded).logits[0, -1].argmax()
                    if token == 1:
                        break
                    tokens.append(int(token))
                    embedded = torch.cat([embedded, embed(token)[None, None]], dim=1)
            assert said[i] == made.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    def test_sampling(self, trained, aligned):
        a, b = (trained.generate(aligned[:50], do_sample=True, seed=seed) for seed in (0, 1))
        assert sum(x != y for x, y in zip(a, b)) > 25
        moved = trained.generate(aligned[10:50], do_sample=True, row_offset=10)
        assert moved == a[10:]
        same = trained.generate(np.repeat(aligned[:1], 64, axis=0), do_sample=True)
        assert len(set(same)) > 32  # another draw for each row number
        several = trained.generate(aligned[:50], do_sample=True, num_return_sequences=3)
        assert [texts[0] for texts in several] == a
        assert np.mean([len(set(texts)) for texts in several]) > 2

    @pytest.mark.parametrize("n_neighbours", [0, 4])
    def test_consensus_of_draws_and_neighbours(self, coco, captions, aligner, aligned, n_neighbours):
        """The one with the largest expected word F1, counted here by sets of numbered words."""
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        made = captioner(captions, n_neighbours=n_neighbours, neighbours_as="embeddings")
        made.fit(coco[1], captions, aligner=aligner, **QUICK)
        draws = made.generate(aligned[:20], do_sample=True, top_k=0, num_return_sequences=6, seed=2)
        said = made.generate(aligned[:20], consensus=6, seed=2)
        clean = aligner.transform(coco[1], modality="text").astype(np.float64)

        def numbered(text):
            words = text.split()
            return {(word, words[:i].count(word)) for i, word in enumerate(words)}

        for row, found, text in zip(aligned, draws, said):
            cosines = clean @ row.astype(np.float64)
            near = np.argsort(-cosines, kind="stable")[:n_neighbours]
            voters = [(candidate, 1 / 6) for candidate in found]
            shares = np.exp(cosines[near] / 0.1) / np.exp(cosines[near] / 0.1).sum()
            voters += [(captions[i], share) for i, share in zip(near, shares)]
            scores = []
            for a, _ in voters:
                pairs = [(numbered(a), numbered(b), weight) for b, weight in voters]
                scores.append(sum(w * 2 * len(x & y) / max(1, len(x) + len(y)) for x, y, w in pairs))
            best = [candidate for (candidate, _), score in zip(voters, scores) if score > max(scores) - 1e-9]
            assert text in best
        assert made.generate(aligned[:20], consensus=6, seed=2, batch_size=1) == said
        with pytest.raises(C3AlignError, match="consensus must be an integer of 1 or more, got 0"):
            made.generate(aligned[:2], consensus=0)
        with pytest.raises(C3AlignError, match="consensus= draws captions, which num_beams= would change"):
            made.generate(aligned[:2], consensus=3, num_beams=2)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"generation_config": {"num_beams": 2}}, "generation_config must be one of transformers, got .*; pass"),
            ({"block_size": 0}, "block_size must be an integer of 1 or more, got 0"),
            ({"block_size": 2.5}, "block_size must be an integer of 1 or more, got 2.5"),
        ],
        ids=str,
    )
    def test_what_generate_cannot_take(self, trained, aligned, options, text):
        with pytest.raises(C3AlignError, match=text):
            trained.generate(aligned[:2], **options)

    def test_draws_follow_the_softmax(self):
        from c3align.decoders.prefix.decoding import DrawnNoise

        logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0, -float("inf")])
        noise = DrawnNoise(seed=1, first_row=0, n_each=2)
        n = 40_000
        counts = np.zeros(6)
        for step in range(4):
            ids = torch.zeros(n // 4, step, dtype=torch.long)
            counts += np.bincount(noise(ids, logits.expand(n // 4, -1)).argmax(dim=1), minlength=6)
        expected = n * logits.softmax(0).numpy()
        chi = ((counts - expected)[:5] ** 2 / expected[:5]).sum()
        assert chi < 18.5  # 0.999 of chi-squared with 4 degrees of freedom
        assert counts[5] == 0

    def test_no_global_generator_is_touched(self, trained, aligned):
        for options in DECODING:
            state = torch.random.get_rng_state()
            trained.generate(aligned[:5], **options)
            assert torch.equal(torch.random.get_rng_state(), state)

    def test_options_go_to_transformers(self, trained, aligned):
        short = trained.generate(aligned[:20], max_new_tokens=2)
        assert all(len(text.split()) <= 2 for text in short)
        banned = trained.tokenizer("a")["input_ids"]
        assert not any("a" in text.split() for text in trained.generate(aligned[:20], bad_words_ids=[banned]))
        with pytest.raises(ValueError, match="nonsense"):
            trained.generate(aligned[:2], nonsense=3)
        with pytest.raises(C3AlignError, match="num_beams must be an integer of 1 or more"):
            trained.generate(aligned[:2], num_beams=0)

    def test_float64_float16_tensors_and_lists(self, trained, aligned):
        whole = trained.generate(aligned[:8])
        for rows in (aligned[:8].astype(np.float64), torch.from_numpy(aligned[:8]), aligned[:8].tolist()):
            assert trained.generate(rows) == whole
        assert len(trained.generate(aligned[:8].astype(np.float16))) == 8


class TestBadRows:
    @pytest.fixture
    def rows(self, aligned):
        rows = list(aligned[:40])
        rows[3], rows[20], rows[21] = rows[3] * np.nan, rows[20][:100], rows[21] * np.inf
        return rows

    def test_named(self, trained, aligned, rows):
        bad = aligned[:40].copy()
        bad[17, 5] = np.nan
        with pytest.raises(C3AlignError, match="embedding 17 cannot be used: it holds NaN or infinity; remove or fix"):
            trained.generate(bad)
        with pytest.raises(C3AlignError, match=r"embedding 20 cannot be used: it has shape \(100,\) and not \(512,\)"):
            trained.generate(rows[20:], row_offset=20)
        with pytest.raises(C3AlignError, match="the rows have 9 columns and this decoder takes 512; pass rows of"):
            trained.generate(aligned[:, :9])

    def test_the_rest_is_unharmed(self, trained, aligned, rows):
        whole = trained.generate(aligned[:40], do_sample=True)
        with pytest.warns(
            UserWarning, match=r"3 embeddings could not be used and have no caption, first number 3 \(it"
        ):
            said = trained.generate(rows, on_error="skip", do_sample=True, batch_size=6)
        assert [i for i, text in enumerate(said) if text is None] == [3, 20, 21] == [row for row, _ in trained.skipped]
        assert all(a == b for a, b in zip(said, whole) if a is not None)

    def test_rows_of_another_encoder(self, coco, captions, aligned):
        coco, captions = [rows[:160] for rows in coco], captions[:160]
        bound = C3Aligner(noise_cosine=0.6).fit(*coco[::-1]).bind_encoder("clip:1")
        made = captioner(captions).fit(coco[1], captions, aligner=bound, **QUICK)
        whole = made.generate(aligned[:4], fingerprint="clip:1")
        assert made.generate(aligned[:4]) == whole
        with pytest.raises(EncoderMismatchError, match="embedding 0 cannot be used: it comes from the encoder other"):
            made.generate(aligned[:4], fingerprint="other")
        marks = ["clip:1", "other", "clip:1", "clip:1"]
        with pytest.warns(UserWarning, match="it comes from the encoder other and not from clip:1"):
            said = made.generate(aligned[:4], fingerprint=marks, on_error="skip")
        assert said == [whole[0], None, *whole[2:]]

    def test_a_stream_is_read_as_captions_are_asked_for(self, trained, aligned):
        read = 0

        def endless():
            nonlocal read
            while True:
                yield aligned[read % 500]
                read += 1

        captions = trained.stream(endless(), batch_size=16)
        first = [next(captions) for _ in range(40)]
        assert first == trained.generate(aligned[:40])
        assert read <= 48

    def test_thousands_in_bounded_memory(self, captions):
        import tracemalloc

        made = captioner(captions, n_dims=1000, prefix_length=1, lm={"hidden_size": 8})
        rows = np.random.default_rng(0).standard_normal((100, 1000)).astype(np.float32)
        made.fit(rows, captions[:100], **QUICK)
        blocks = (rows + i for i in range(40))
        tracemalloc.start()
        n_captions = sum(1 for _ in made.stream(blocks, batch_size=250, max_new_tokens=2, block_size=250))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_captions == 4000
        assert peak < 4000 * 1000 * 4 / 4  # a quarter of what the rows take


class TestFiles:
    @pytest.mark.parametrize(
        "settings",
        [{}, {"tune": "frozen"}, {"tune": "lora", "lora": {"r": 2}}, {"n_neighbours": 3}, {"mapper": "transformer"}],
        ids=str,
    )
    def test_round_trip(self, coco, captions, aligner, aligned, tmp_path, settings):
        coco, captions = [rows[:96] for rows in coco], captions[:96]
        made = captioner(captions, **settings).fit(coco[1], captions, aligner=aligner, **QUICK)
        made.save_pretrained(tmp_path / "c")
        loaded = PrefixCaptioner.from_pretrained(tmp_path / "c")
        assert equal(weights(loaded), weights(made))
        assert loaded.generate(aligned[:40]) == made.generate(aligned[:40])
        assert (loaded.losses_, loaded.training) == (made.losses_, made.training)
        loaded.save_pretrained(tmp_path / "d")
        first, second = (
            {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            for folder in (tmp_path / "c", tmp_path / "d")
        )
        configs = []
        for files in (first, second):
            config, _ = container.parse(files.pop("captioner.safetensors"), "decoder")
            del config["files"]["lm/tokenizer_config.json"]  # a tokenizer that was loaded writes how
            del files["lm/tokenizer_config.json"], files["config.json"]
            configs.append(config)
        assert first == second
        assert configs[0] == configs[1]
        assert not [name for name in first if not name.endswith((".safetensors", ".json", ".jsonl", ".npy"))]
        more = [c.fit(coco[1], captions, aligner=aligner, **QUICK) for c in (made, loaded)]
        assert equal(*map(weights, more))

    def test_a_language_model_by_folder(self, captions, tmp_path):
        lm, words = tiny_lms.build("gpt2", captions)
        lm.save_pretrained(tmp_path / "lm")
        words.save_pretrained(tmp_path / "lm")
        made = PrefixCaptioner.from_pretrained_lm(tmp_path / "lm", n_dims=512, prefix_length=2)
        assert torch.equal(made.lm.transformer.wte.weight, lm.transformer.wte.weight)
        (tmp_path / "lm" / "model.safetensors").unlink()
        torch.save(lm.state_dict(), tmp_path / "lm" / "pytorch_model.bin")
        with pytest.raises(C3AlignError, match=r"are pickles \(.pytorch_model.bin.\), .*; convert them"):
            PrefixCaptioner.from_pretrained_lm(tmp_path / "lm", n_dims=512)

    def test_no_code_runs(self, trained, tmp_path):
        trained.save_pretrained(tmp_path / "c")
        folder, ran = tmp_path / "c" / "lm", tmp_path / "ran"
        (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
        (folder / "custom_generate").mkdir()
        (folder / "custom_generate" / "generate.py").write_text(f"open({str(ran)!r}, 'w')\ndef generate(**k): pass\n")
        for name in ("config.json", "tokenizer_config.json"):
            config = json.loads((folder / name).read_text())
            config["auto_map"] = {
                "AutoConfig": "evil.Evil",
                "AutoModelForCausalLM": "evil.Evil",
                "AutoTokenizer": ["evil.Evil", "evil.Evil"],
            }
            (folder / name).write_text(json.dumps(config))
        sign_captioner(tmp_path / "c")
        with contextlib.suppress(C3AlignError):
            PrefixCaptioner.from_pretrained(tmp_path / "c")
        assert not ran.exists()

    def test_attacks(self, trained, tmp_path):
        trained.save_pretrained(tmp_path / "c")
        path = tmp_path / "c" / "captioner.safetensors"
        whole = path.read_bytes()
        config, tensors = container.parse(whole, "decoder", torch=True)
        (tmp_path / "c" / "config.json").unlink()
        for change, message in [
            ({"mapper": "evil"}, "its settings do not fit"),
            ({"n_dims": 10**9}, "tensor 'place.directions' is"),
            ({"prefix_length": "3"}, "its settings do not fit"),
            ({"prefix_length": 4}, "tensor 'mapper.net.0.weight' is"),
            ({"training": {"epochs": 0}}, "its settings do not fit"),
            ({"training": {"nonsense": 0}}, "its settings do not fit"),
            ({"max_tokens": 10**9}, "captions of 1000000000"),
            ({"losses": ["a"]}, "its losses are not numbers"),
            ({"encoder_fingerprint": 3}, "fingerprint is not a text"),
            ({"more": 1}, "unknown or missing keys"),
            ({"format_version": 9}, "version 9 is unknown"),
        ]:
            path.write_bytes(container.dump(tensors, {**config, **change}))
            with pytest.raises(FormatError, match=message):
                PrefixCaptioner.from_pretrained(tmp_path / "c")
        for content in (whole[:-5], b"", whole[: len(whole) // 2], tensors_with(tensors, config, float("nan"))):
            path.write_bytes(content)
            with pytest.raises(FormatError):
                PrefixCaptioner.from_pretrained(tmp_path / "c")
        path.unlink()
        with pytest.raises(FileNotFoundError, match="pass a folder that PrefixCaptioner"):
            PrefixCaptioner.from_pretrained(tmp_path / "c")

    def test_all_or_nothing(self, trained, aligned, tmp_path, monkeypatch):
        trained.save_pretrained(tmp_path / "c")
        said = trained.generate(aligned[:5])
        rename, count = os.rename, []
        for failing in range(1, 3):

            def broken(*paths, failing=failing):
                count.append(paths)
                if len(count) == failing:
                    raise OSError("no")
                rename(*paths)

            count.clear()
            with monkeypatch.context() as patched:
                patched.setattr(os, "rename", broken)
                with pytest.raises(OSError, match="no"):
                    trained.save_pretrained(tmp_path / "c")
            assert PrefixCaptioner.from_pretrained(tmp_path / "c").generate(aligned[:5]) == said
            assert [p.name for p in tmp_path.iterdir()] == ["c"]
        # killed between the two: what was there before stands aside, whole
        rename(tmp_path / "c", tmp_path / ".c.c3align-before")
        assert PrefixCaptioner.from_pretrained(tmp_path / "c").generate(aligned[:5]) == said
        trained.save_pretrained(tmp_path / "c")
        assert [p.name for p in tmp_path.iterdir()] == ["c"]

    def test_a_folder_of_something_else_stays(self, trained, tmp_path):
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(C3AlignError, match="exists and is not a saved captioner alone; choose another folder"):
            trained.save_pretrained(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def tensors_with(tensors, config, value):
    changed = {**tensors, "mapper.net.0.bias": torch.full_like(tensors["mapper.net.0.bias"], value)}
    return container.dump(changed, config)


def _what_it_reads(made, rows):
    """What the language model is given: the prefixes of rows and the words of their neighbours."""
    return decoding._prompted(made._model, rows, made._retrieval, made._prompt_tokens)[0]


def test_another_memory(coco, captions, aligner, aligned):
    coco, captions = [rows[:160] for rows in coco], captions[:160]
    made = captioner(captions, n_neighbours=3).fit(coco[1], captions, aligner=aligner, **QUICK)
    other = MemoryCaptioner().fit(coco[1][:50], captions[:50], aligner=aligner)
    limit, before = made._prompt_tokens, _what_it_reads(made, aligned[:30])
    assert torch.equal(before, _what_it_reads(made, aligned[:30]))
    assert not torch.equal(before, _what_it_reads(made.use_memory(other), aligned[:30]))
    assert made._prompt_tokens == limit == made._retrieval.limit
    given = captioner(captions, n_neighbours=3).fit(coco[1], captions, aligner=aligner, memory=other, **QUICK)
    assert given._retrieval.memory is other.memory_
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="remembers nothing yet"):
        made.fit(coco[1], captions, aligner=aligner, memory=MemoryCaptioner(), **QUICK)
    with pytest.raises(C3AlignError, match="uses no memory; create it with n_neighbours"):
        captioner(captions).fit(coco[1], captions, aligner=aligner, memory=other, **QUICK)


def test_refusals(coco, captions, aligner, trained):
    lm, words = tiny_lms.build("gpt2", captions)
    for settings_, message in [
        ({"mapper": "rnn"}, "mapper must be one of 'mlp', 'transformer', 'linear', got 'rnn'"),
        ({"tune": "half"}, "tune must be one of .*, got 'half'"),
        ({"n_dims": 0}, r"n_dims must be an integer in \[1, 65536\], got 0"),
        ({"prefix_length": 0}, "prefix_length must be an integer .*, got 0"),
        ({"n_neighbours": -1}, "n_neighbours must be an integer .*, got -1"),
        ({"neighbours_as": "x"}, "neighbours_as must be one of 'captions', 'embeddings', got 'x'"),
        ({"lora": {"r": 2}}, "lora= needs tune='lora', got tune='full'"),
        ({"tune": "lora", "lora": {"target_modules": ["nothing"]}}, "LoRA cannot be put into a GPT2LMHeadModel"),
        ({"training": {}}, "training must be a c3align.training.Training, got {}"),
        ({"index": 3}, "index must be None or what faiss.index_factory takes, got 3"),
    ]:
        with pytest.raises(C3AlignError, match=message):
            PrefixCaptioner(lm, words, **{"n_dims": 512, **settings_})
    with pytest.raises(C3AlignError, match="lm must be a causal language model of transformers, got a Linear"):
        PrefixCaptioner(torch.nn.Linear(2, 2), words, n_dims=512)
    made = captioner(captions)
    before = weights(made)
    bad = coco[1].copy()
    bad[4] = np.nan
    for rows, texts, options, message in [
        (bad, captions, {}, "NaN or infinity in 1 of 500 rows, first in row 4"),
        (coco[1][:, :9], captions, {}, "must have 512 dimensions, got 9"),
        (coco[1], captions[:-1], {}, "there are 500 embeddings and 499 captions"),
        (
            coco[1],
            [*captions[:-1], 3],
            {},
            "caption 499 must be a text, got a int; a captioner learns from texts alone: .*fit_text",
        ),
        (coco[1], "a cat", {}, "captions must be a list of texts"),
        (coco[1], captions, {"epoch": 3}, "unknown training setting 'epoch'; pass some of epochs, batch_size"),
        (coco[1], captions, {"epochs": 0}, "epochs must be an integer of 1 or more, got 0"),
        (coco[1], captions, {"lr": -1}, "lr must be a finite number of 0 or more, got -1"),
        (coco[1], captions, {"schedule": "steps"}, "schedule must be one of .*, got 'steps'"),
        (coco[1], captions, {"validation": 1.0}, "validation must be a share below 1, got 1.0"),
        (coco[1], captions, {"seed": -1}, r"seed must be an integer in \[0, 2\*\*64\), got -1"),
    ]:
        with pytest.raises(C3AlignError, match=message):
            made.fit(rows, texts, **{"aligner": aligner, **QUICK, **options})
    assert equal(weights(made), before)
    long = captioner(captions, prefix_length=125)
    with pytest.raises(C3AlignError, match=r"need 1\d\d places and the language model has 128; shorten"):
        long.fit(coco[1], captions, aligner=aligner, **QUICK)
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="has learned nothing yet"):
        made.generate(coco[1])
    for options, message in [
        ({"batch_size": 0}, "batch_size must be an integer"),
        ({"on_error": "x"}, "on_error must be one of"),
    ]:
        with pytest.raises(C3AlignError, match=message):
            trained.generate(coco[1], **options)
