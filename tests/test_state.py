"""What an aligner learns: one value after another, whatever the threads; what it takes for rows, pairs or labels."""

from __future__ import annotations

import copy
import importlib
import os
import pkgutil
import signal
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import c3align
from c3align import C3Aligner
from c3align._state import State, learning
from c3align.errors import C3AlignError
from tests.children import Child
from tests.test_ops import raw

# a child has imported c3align and what it needs; so c3align alone is fresh
ANEW = "import sys; [sys.modules.pop(name) for name in [*sys.modules] if name.partition('.')[0] == 'c3align']"


@pytest.fixture
def rows():
    """Text and image (120, 16), float32, a gap apart."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((120, 16))
    return tuple((shared + 5 * np.eye(16)[i] + 0.3 * rng.standard_normal((120, 16))).astype("f4") for i in (0, 1))


def in_threads(call, n_threads=4):
    """Run `call(i)` in threads that start together; returns the exceptions."""
    barrier, raised = threading.Barrier(n_threads), []

    def run(i):
        barrier.wait()
        try:
            call(i)
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


class TestThreads:
    def test_partial_fits_are_all_counted(self, rows, monkeypatch):
        """To the bytes of one thread; before, 4 threads lost up to three rows of four."""
        text, image = rows
        merged = State.merged
        monkeypatch.setattr(
            State, "merged", lambda self, other: time.sleep(2e-4) or merged(self, other)
        )  # another's turn
        aligner = C3Aligner()
        parts = [slice(i, i + 2) for i in range(0, 120, 2)]

        def learn(i):
            for part in parts[i::4]:
                aligner.partial_fit(text[part], image[part])

        assert in_threads(learn) == []
        assert aligner.state_ == C3Aligner().fit(text, image).state_

    def test_merges_are_all_counted(self, rows):
        aligner, other = C3Aligner().fit(rows[0]), C3Aligner().fit(rows[1])
        assert in_threads(lambda i: [aligner.merge(other) for _ in range(20)]) == []
        assert aligner.statistics_["text"].n_rows == 120 + 80 * 120

    def test_a_fit_never_leaves_others_without_a_state(self, rows):
        text, _ = rows
        aligner = C3Aligner().fit(text)
        expected, done = raw(aligner.transform(text)), threading.Event()

        def work(i):
            if i == 0:
                for _ in range(50):
                    aligner.fit(text)
                done.set()
            while not done.is_set():
                assert raw(aligner.transform(text)) == expected

        assert in_threads(work) == []

    def test_a_refused_batch_takes_no_other_rows_along(self, rows):
        text, _ = rows
        aligner, broken = C3Aligner(), text[:5].copy()
        broken[3] = np.nan

        def learn(i):
            for k in range(30):
                if i == 0:
                    with pytest.raises(C3AlignError):
                        aligner.partial_fit(broken)
                else:
                    aligner.partial_fit(text[k : k + 1])

        assert in_threads(learn) == []
        assert aligner.statistics_["text"].n_rows == 90

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
    def test_a_child_learns_while_a_thread_that_it_lacks_does(self, rows):
        learns, may_end = threading.Event(), threading.Event()

        def learn():
            with learning():
                learns.set()
                may_end.wait()

        thread = threading.Thread(target=learn)
        thread.start()
        learns.wait()
        child = os.fork()
        if not child:
            C3Aligner().fit(rows[0])
            os._exit(0)
        may_end.set()
        thread.join()
        for _ in range(200):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.05)
        else:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the child waits for a thread that it does not have")
        assert status == 0

    def test_what_was_worked_out_cannot_be_written(self, rows):
        found = C3Aligner().fit(rows[0]).statistics_["text"]
        for values in (found.mean, found.variance, found.sums):
            with pytest.raises(ValueError, match="read-only"):
                values[...] = 0


class TestWidths:
    def test_other_widths_are_refused_for_new_modalities_too(self, rows):
        aligner = C3Aligner().fit(rows[0])
        before = copy.copy(aligner.state_)
        with pytest.raises(ValueError, match="15 features, but C3Aligner is expecting 16"):
            aligner.partial_fit(rows[1][:, :-1], modality="image")
        with pytest.raises(C3AlignError, match="of 16 and of 15 dimensions"):
            aligner.merge(C3Aligner().fit(rows[1][:, :-1], modality="image"))
        assert aligner.state_ == before

    def test_second_moments_are_of_all_rows_or_refused(self, rows):
        text, image = rows
        aligner = C3Aligner().fit(text).set_params(second_moments=True)
        with pytest.raises(C3AlignError, match="rows of 'text' were learned without their second moments"):
            aligner.partial_fit(image, modality="image")
        whole = C3Aligner(second_moments=True).fit(text).partial_fit(image, modality="image")
        parts = C3Aligner(second_moments=True).fit(text[:50], image[:50]).partial_fit(text[50:], image[50:])
        for name, found in whole.second_moments_.items():
            assert np.abs(found.covariance - parts.second_moments_[name].covariance).max() < 1e-12
        assert whole.set_params(second_moments=False).partial_fit(text).second_moments_ == {}


class TestWhatYMeans:
    def test_pairs(self, rows):
        text, image = rows
        for y in (image, torch.from_numpy(image), image.astype("f8"), pd.DataFrame(image)):
            assert list(C3Aligner().fit(text, y).pairs_) == [("image", "text")]

    @pytest.mark.parametrize(
        "y",
        [
            np.arange(120),
            list("ab" * 60),
            np.zeros((120, 3)),
            np.ones((120, 16), int),
            np.zeros((120, 63)),
            pd.DataFrame({"a": range(120)}),
        ],
        ids=["labels", "names", "two targets", "as many labels as columns", "63 targets", "a frame"],
    )
    def test_targets_are_ignored(self, rows, y):
        assert C3Aligner().fit(rows[0], y).state_ == C3Aligner().fit(rows[0]).state_

    def test_two_targets_in_a_pipeline(self, rows):
        targets = np.random.default_rng(0).standard_normal((120, 2))
        assert make_pipeline(C3Aligner(), LinearRegression()).fit(rows[0], targets).predict(rows[0]).shape == (120, 2)

    def test_a_name_makes_it_pairs(self, rows):
        with pytest.raises(C3AlignError, match="y has 3 columns and X 16"):
            C3Aligner().fit(rows[0], np.zeros((120, 3)), y_modality="image")
        assert "audio" in C3Aligner().fit(*rows, y_modality="audio").statistics_

    @pytest.mark.parametrize(
        ("y", "text"),
        [
            ("image", "got 'image'; name the modality of X with modality='image'"),
            (3.0, "got float; omit it"),
            (np.float32(2), "omit it"),
            ([], "y has no rows"),
            (np.empty((0, 16)), "y has no rows"),
            (np.zeros((120, 512)), "y has 512 columns and X 16"),
        ],
    )
    def test_what_cannot_be_either_is_refused(self, rows, y, text):
        aligner = C3Aligner()
        with pytest.raises(C3AlignError, match=text):
            aligner.fit(rows[0], y)
        assert not hasattr(aligner, "state_")


class TestFrames:
    def test_frames_of_two_modalities(self, rows):
        frames = [pd.DataFrame(part, columns=[f"{name}{i}" for i in range(16)]) for name, part in zip("ti", rows)]
        text, image = frames
        aligner = C3Aligner().fit(text, image)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert raw(aligner.transform(image, modality="image")) == raw(
                C3Aligner().fit(*rows).transform(rows[1], modality="image")
            )
            aligner.transform(text, modality="text")
            aligner.partial_fit(image, modality="image")
        assert list(aligner.feature_names_in_) == list(text.columns)
        for frame in frames:
            with pytest.raises(ValueError, match="feature names should match"):
                aligner.transform(frame[frame.columns[::-1]])
        with pytest.raises(ValueError, match="feature names should match"):
            aligner.partial_fit(image[image.columns[::-1]], modality="image")

    def test_columns_in_another_order_are_refused(self, rows):
        text, image = (pd.DataFrame(part, columns=[f"e{i}" for i in range(16)]) for part in rows)
        with pytest.raises(C3AlignError, match="y has the columns of X in another order; reorder them"):
            C3Aligner().fit(text, image[image.columns[::-1]])
        with pytest.raises(C3AlignError, match="X has the columns of text in another order"):
            C3Aligner().fit(text).partial_fit(image[image.columns[::-1]], modality="image")

    def test_merges_look_at_columns_too(self, rows):
        frame = pd.DataFrame(rows[0], columns=[f"e{i}" for i in range(16)])
        aligner = C3Aligner().fit(frame)
        with pytest.raises(C3AlignError, match="columns of text in another order"):
            aligner.merge(C3Aligner().fit(frame[frame.columns[::-1]]))
        with pytest.raises(C3AlignError, match="'text' has columns of other names"):
            aligner.merge(C3Aligner().fit(frame.add_prefix("x")))
        assert aligner.merge(C3Aligner().fit(frame)).statistics_["text"].n_rows == 240

    def test_frames_one_after_the_other_are_quiet(self, rows):
        text, image = (pd.DataFrame(part, columns=[f"{n}{i}" for i in range(16)]) for n, part in zip("ti", rows))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            C3Aligner().fit(text).partial_fit(image, modality="image").transform(image, modality="image")

    def test_a_series_of_rows_is_taken_whole(self, rows):
        text, image = rows
        series = pd.Series(list(text))
        objects = np.empty(120, object)
        objects[:] = list(text)
        for X in (series, objects):
            assert C3Aligner().fit(X).state_ == C3Aligner().fit(text).state_
            assert raw(C3Aligner().fit(X).transform(X)) == raw(C3Aligner().fit(text).transform(text))
        assert C3Aligner().fit(series, pd.Series(list(image))).state_ == C3Aligner().fit(text, image).state_
        with pytest.raises(C3AlignError, match="rows of different lengths"):
            C3Aligner().fit(pd.Series([text[0], text[1, :5]]))

    def test_frames_that_yield_columns(self, rows):
        """As polars and pyarrow do: rows stay rows."""

        class Frame:
            def __init__(self, values):
                self.values, self.shape = values, values.shape
                self.columns = [f"c{i}" for i in range(values.shape[1])]

            def __array__(self, dtype=None, copy=None):
                return np.asarray(self.values, dtype)

            def __iter__(self):
                return iter(self.values.T)

            def __len__(self):
                return len(self.values)

        text, image = rows
        aligner = C3Aligner().fit(Frame(text), Frame(image), y_modality="image")
        assert aligner.n_features_in_ == 16
        assert aligner.statistics_ == C3Aligner().fit(text.astype("f8"), image.astype("f8")).statistics_

    def test_pairs_of_other_byte_order(self, rows):
        assert C3Aligner().fit(rows[0], rows[1].astype(">f8")).pairs_

    @pytest.mark.parametrize("dtype", ["uint8", "int8", "bool"])
    def test_packed_bits_are_refused(self, rows, dtype):
        bits = np.packbits(rows[0] > 0, axis=1).astype(dtype)
        for X in (bits, torch.from_numpy(bits)):
            with pytest.raises(C3AlignError, match=f"X holds {dtype}, packed bits or quantized"):
                C3Aligner().fit(X)


class TestNoise:
    def test_one_pair_is_no_residual(self, rows):
        text, image = rows
        aligner = C3Aligner().fit(text[:1], image[:1])
        assert aligner.sigma_ == C3Aligner().fit(text).sigma_ > 0.01
        aligner.partial_fit(text[1:], image[1:])
        assert aligner.sigma_ == C3Aligner().fit(text, image).sigma_
        with pytest.raises(C3AlignError, match="two pairs or more"):
            C3Aligner(noise="residual").fit(text[:1], image[:1]).corrupt(text, modality="text")

    def test_two_modalities_have_independent_noise(self):
        """Text row i and picture row i: the same rows under two names."""
        same = np.random.default_rng(0).standard_normal((2000, 16)) + 1
        aligner = C3Aligner(sigma=1.0, renormalize=False).fit(same).partial_fit(same, modality="image")
        clean = aligner.transform(same, modality="text")
        noise = [aligner.corrupt(same, modality=name) - clean for name in ("text", "image")]
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.02
        assert raw(aligner.corrupt(same, modality="text")) == raw(aligner.corrupt(same, modality="text"))

    def test_a_norm_beyond_float16(self, rows):
        text, image = rows
        aligner = C3Aligner().fit(text, image * np.float32(1e5))
        with pytest.raises(C3AlignError, match=r"'image' rows have a norm of .*, too large for float16"):
            aligner.translate(text.astype("f2"), source="text", target="image")
        assert np.isfinite(aligner.translate(text, source="text", target="image")).all()


class TestSettings:
    """What `set_params` changes after a fit is checked when it is used."""

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("noise", "Residual"),
            ("renormalize", None),
            ("renormalize", "no"),
            ("seed", 1.5),
            ("sigma", -1),
            ("sigma", 10**400),
            ("noise_cosine", "x"),
            ("noise_cosine", 1e-200),
            ("zero_rows", "k"),
            ("mapping", "q"),
        ],
    )
    def test_checked_on_use(self, rows, setting, value):
        aligner = C3Aligner().fit(rows[0]).set_params(**{setting: value})
        for call in (aligner.transform, aligner.corrupt, aligner.inverse_transform):
            with pytest.raises(C3AlignError, match=f"{setting} must be"):
                call(rows[0])

    def test_a_one_is_not_true(self, rows):
        """Settings that were found well before are remembered, with their types."""
        aligner = C3Aligner(seed=1).fit(rows[0])
        aligner.transform(rows[0])
        for setting, value in (("seed", True), ("renormalize", 1)):
            with pytest.raises(C3AlignError, match=f"{setting} must be"):
                C3Aligner(seed=1).fit(rows[0]).set_params(**{setting: value}).transform(rows[0])

    def test_numpys_booleans(self, rows):
        aligner = C3Aligner(renormalize=np.True_).fit(rows[0])
        assert raw(aligner.transform(rows[0])) == raw(C3Aligner().fit(rows[0]).transform(rows[0]))

    @pytest.mark.parametrize("seed", [1.5, "3", np.float64(2)])
    def test_seeds_are_integers(self, rows, seed):
        with pytest.raises(C3AlignError, match="seed must be an integer"):
            C3Aligner().fit(rows[0]).corrupt(rows[0], seed=seed)
        with pytest.raises(C3AlignError, match=r"seed must be an integer in \[0, 2\*\*64\), got -1"):
            C3Aligner().fit(rows[0]).corrupt(rows[0], seed=-1)


class TestFrontDoor:
    def test_inverse_transform_without_a_modality(self, rows):
        text, image = rows
        aligner = C3Aligner().fit(text)
        aligned = aligner.transform(text)
        assert raw(aligner.inverse_transform(aligned)) == raw(aligner.inverse_transform(aligned, modality="text"))
        with pytest.raises(C3AlignError, match=r"several modalities are fitted \('image', 'text'\); pass modality="):
            C3Aligner().fit(text, image).inverse_transform(aligned)

    def test_names_that_are_no_modality(self, rows):
        aligner = C3Aligner().fit(*rows)
        for source, target in (("auto", "image"), ("text", "batch")):
            with pytest.raises(C3AlignError, match="modality must be a fitted one"):
                aligner.translate(rows[0], source=source, target=target)
        with pytest.raises(C3AlignError, match="modality must be a fitted one"):
            aligner.inverse_transform(rows[0], modality="batch")
        with pytest.raises(C3AlignError, match="modality must be a string, got"):
            aligner.transform(rows[0], modality=["text"])

    def test_every_public_module_is_an_attribute(self):
        public = {m.name for m in pkgutil.iter_modules(c3align.__path__) if not m.name.startswith("_")}
        public -= {"aligner", "cli"}  # a class of the top level; a program
        assert public <= set(dir(c3align))
        names = ", ".join(f"c3align.{name}" for name in sorted(public))
        done = Child(f"{ANEW}; import c3align; {names}")
        told = done.communicate()[1]
        assert done.returncode == 0, told

    def test_no_module_shadows_a_function_of_its_name(self):
        for package in ("decoders", "encoders", "geometry", "ops", "report"):
            found = importlib.import_module(f"c3align.{package}")
            modules = {m.name for m in pkgutil.iter_modules(found.__path__)}
            own = "report" if package == "report" else None
            assert not set(found.__all__) & modules, package
            for name in set(found.__all__) - {own}:
                assert not isinstance(getattr(found, name), type(c3align)), name

    def test_small_lm_is_a_function(self):
        code = "from c3align.decoders import small_lm; import c3align.decoders as d; assert small_lm is d.small_lm; "
        code += "assert callable(small_lm)"
        done = Child(f"{ANEW}; {code}")
        told = done.communicate()[1]
        assert done.returncode == 0, told
