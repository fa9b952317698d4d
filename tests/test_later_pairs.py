"""Pairs that are learned after others: shuffled, shifted, of another encoder, in batches of any size, or right."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c3align import C3Aligner
from c3align.errors import C3AlignError, ModalityMeanWarning, PairOrderWarning
from c3align.geometry import later_doubt, total_doubt
from c3align.statistics import paired_statistics

SETS = ("coco", "convirt", "glyphs")
NAMES = {"modality": "text", "y_modality": "image"}


def of(real_rows, name):
    """Texts and pictures of a set, in an order without neighbors that are alike."""
    order = np.random.default_rng(0).permutation(len(real_rows[name]["text"]))[:500]
    return real_rows[name]["text"][order], real_rows[name]["image"][order]


def warned(text, image, size, aligner=None):
    """The first words of each warning about the order of pairs, learned in batches."""
    aligner = aligner or C3Aligner()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for start in range(0, len(text), size):
            aligner.partial_fit(text[start : start + size], image[start : start + size], **NAMES)
    return [str(told.message) for told in caught if told.category is PairOrderWarning]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("size", [8, 100])
def test_right_pairs_are_no_false_alarm(real_rows, name, size):
    assert not warned(*of(real_rows, name), size)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("size", [16, 100])
def test_shuffled_after_right_ones(real_rows, name, size):
    text, image = of(real_rows, name)
    told = warned(text[250:], image[250:][::-1], size, C3Aligner().fit(text[:250], image[:250]))
    assert "pairs are far less alike than the 250 before them, with a centered cosine of" in told[0]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("size", [8, 29])
def test_shuffled_from_the_start(real_rows, name, size):
    """No batch is large enough to be judged alone."""
    text, image = of(real_rows, name)
    told = warned(text, image[::-1], size)
    assert told
    assert "pairs learned so far are no more alike than rows in any order" in told[0]


def test_pairs_that_are_hardly_alike_and_single_ones():
    """Neither rows of either side beyond the other's mean, nor the first few rows, are told of as strangers."""
    rng, scale = np.random.default_rng(5), np.arange(1.0, 129) ** -0.5
    turn = np.linalg.qr(rng.standard_normal((128, 128)))[0]  # so that columns' variances tell nothing
    shared, of_x, of_y = rng.standard_normal((3, 1000, 128)) * scale / np.linalg.norm(scale) @ turn
    mean, gap = rng.standard_normal((2, 128)) / 128**0.5
    x, y = shared + 4 * of_x + 0.5 * mean + 0.4 * gap, shared + 4 * of_y + 0.5 * mean - 0.4 * gap
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModalityMeanWarning)
        warnings.simplefilter("ignore", PairOrderWarning)
        for size, stop in ((1, 12), (2, 12), (16, 1000)):
            aligner = C3Aligner()
            for start in range(0, stop, size):
                aligner.partial_fit(x[start : start + size], y[start : start + size], **NAMES)


def test_a_row_is_missing_or_partners_are_of_another_encoder(coco):
    image, text = coco
    assert "before them" in warned(text[:-1], np.delete(image, 200, 0), 50)[0]
    turned = image[250:] @ np.linalg.qr(np.random.default_rng(0).standard_normal((512, 512)))[0].astype("f4")
    assert "another encoder" in warned(text[250:], turned, 250, C3Aligner().fit(text[:250], image[:250]))[0]


def test_merged_parts(coco):
    """Each too small to be judged; the sums of many are not."""
    image, text = coco
    aligner, told = C3Aligner(), []
    shuffled = np.random.default_rng(0).permutation
    for repeat in range(3):
        for start in range(0, 500, 20):
            order, part = shuffled(20), slice(start, start + 20)
            noise = 1e-4 * repeat * np.random.default_rng(start).standard_normal((20, 512))
            other = C3Aligner().fit(text[part] + noise, (image[part] + noise)[order])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                aligner = other if not hasattr(aligner, "state_") else aligner.merge(other)
            told += [str(one.message) for one in caught]
    assert any("all 1,040 pairs learned so far are no more alike" in one for one in told)
    assert total_doubt(*paired_statistics(np.tile(text, (3, 1)), np.tile(image, (3, 1)))) is None
    assert total_doubt(*paired_statistics(np.tile(text, (3, 1)), np.tile(image[::-1], (3, 1)))) is not None


def test_tensors_and_misfits(coco):
    image, text = (torch.from_numpy(rows) for rows in coco)
    before, now = paired_statistics(text[:250], image[:250]), paired_statistics(text[250:], image[250:].flip(0))
    assert isinstance(later_doubt(text[250:], image[250:].flip(0), before, now), PairOrderWarning)
    assert later_doubt(text[250:257], image[250:257], before, paired_statistics(text[250:257], image[250:257])) is None
    with pytest.raises(C3AlignError, match="pairs need equal shapes"):
        later_doubt(text[250:], image[251:], before, now)


@settings(max_examples=10)  # each learns some eighty batches
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(8, 64), noise=st.sampled_from([0.3, 1.0, 2.0]))
def test_planted_pairs(seed, size, noise):
    """Right ones of unequal quality never warn; half of them exchanged at random always do."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1.0, 65) ** -0.5
    x = scale * rng.standard_normal((640, 64))
    y = x + noise * scale * rng.standard_normal(x.shape) * rng.uniform(0.5, 1.5, (640, 1)) + 0.3
    assert not warned(x, y, size)
    y[320:] = y[320:][rng.permutation(320)]
    assert warned(x, y, size)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("n_dims", [1, 2, 16])
def test_rows_that_do_not_vary(n_dims):
    """Where all rows of a side are one, no pairs are less alike than others."""
    rng = np.random.default_rng(0)
    kinds = [np.ones((40, n_dims)), rng.choice([-1.0, 1.0], (40, n_dims)), np.eye(1, n_dims) * np.ones((40, 1))]
    for a, b in itertools.product(kinds, kinds):
        aligner = C3Aligner().fit(a, b)
        for x, y in ((b, a), (a, b)):
            aligner.partial_fit(x, y, modality="text", y_modality="image")
        assert aligner.gap().n_pairs == 120
