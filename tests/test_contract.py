"""scikit-learn's own checks, none of them expected to fail; run on the newest release and on 1.6, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from c3align import C3Aligner
from c3align.errors import C3AlignError, ZeroRowsWarning


@parametrize_with_checks(
    [
        C3Aligner(zero_rows="keep"),
        C3Aligner(renormalize=False, zero_rows="keep", noise_cosine=0.5),
        C3Aligner(noise="residual", zero_rows="keep"),
        C3Aligner(second_moments=True),
        C3Aligner(),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_check_estimator_of_the_default():
    """As a user runs it, on arrays of other libraries too, which the checks above leave out: zero failures."""
    code = "from sklearn.utils.estimator_checks import check_estimator; from c3align import C3Aligner; "
    code += "check_estimator(C3Aligner())"
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_zero_rows_of_integers_are_kept_and_told_of():
    """Counts may be zero; embeddings may not. scikit-learn's check of dtypes cuts floats to integers."""
    counts = np.array([[1, 2, 3], [0, 0, 0], [3, 1, 2], [2, 3, 1]])
    with pytest.warns(ZeroRowsWarning, match="1 of 4 integer rows have no direction"):
        aligner = C3Aligner().fit(counts)
    assert (aligner.statistics_["text"].n_rows, aligner.statistics_["text"].n_zero_rows) == (3, 1)
    with pytest.warns(ZeroRowsWarning, match="1 of 4 integer rows"):
        aligned = aligner.transform(counts)
    assert not aligned[1].any()
    with pytest.raises(C3AlignError, match="norm of zero"):
        aligner.transform(counts.astype(float))
    with pytest.raises(C3AlignError, match="norm of zero"):
        C3Aligner().fit(counts.astype(float))


def test_modality_is_routed():
    rng = np.random.default_rng(0)
    text, image = rng.normal(1, 1, (60, 8)), rng.normal(-1, 1, (60, 8))
    labels = np.arange(60) % 2
    with sklearn.config_context(enable_metadata_routing=True):
        aligner = C3Aligner().set_fit_request(modality=True).set_transform_request(modality=True)
        pipeline = Pipeline([("align", aligner), ("classify", LogisticRegression())])
        pipeline.fit(image, labels, modality="image")
        assert list(pipeline["align"].statistics_) == ["image"]
        assert pipeline.predict(image, modality="image").shape == (60,)
        with pytest.raises(NotFittedError) as caught:
            pipeline.predict(text, modality="text")
        # scikit-learn 1.6 says that the pipeline is not fitted, and keeps our reason as its cause
        assert "'text' (learned: 'image')" in str(caught.value.__cause__ or caught.value)


def test_fit_transform_knows_whose_rows_it_was_given():
    """Where the gap is small, no look at the rows would tell."""
    noise = np.random.default_rng(0).normal(size=(2, 300, 64))
    text, image = noise[0], noise[0] + 0.3 * noise[1] + 0.05
    with pytest.raises(C3AlignError, match="do not clearly belong"):
        C3Aligner().fit(text, image).transform(text)
    for n in (2, 300):
        for names in ({}, {"modality": "caption", "y_modality": "picture"}):
            found = C3Aligner().fit_transform(text[:n], image[:n], **names)
            expected = C3Aligner().fit(text[:n], image[:n], **names)
            assert np.array_equal(found, expected.transform(text[:n], modality=names.get("modality", "text")))
    with sklearn.config_context(enable_metadata_routing=True):
        aligner = C3Aligner().set_fit_request(modality=True).set_transform_request(modality=True)
        with warnings.catch_warnings(action="error"):
            found = Pipeline([("align", aligner)]).fit_transform(image, modality="image")
    assert np.array_equal(found, C3Aligner().fit(image, modality="image").transform(image, modality="image"))


def test_fit_transform_gives_frames_where_they_are_wanted():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(1, 1, (60, 3)), columns=list("abc"), index=range(9, 69))
    found = C3Aligner().set_output(transform="pandas").fit_transform(frame)
    assert list(found.columns) == ["a", "b", "c"]
    assert found.index.equals(frame.index)


def test_clone_keeps_parameters_and_forgets_the_rest():
    rows = np.random.default_rng(0).normal(1, 1, (30, 5))
    fitted = C3Aligner(seed=7, sigma=0.25).fit(rows)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "statistics_")
