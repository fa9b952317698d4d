"""scikit-learn's own checks, none of them expected to fail; run on the newest release and on 1.6, without torch."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import check_estimators_dtypes, estimator_checks_generator, parametrize_with_checks

from c3align import C3Aligner


@parametrize_with_checks(
    [
        C3Aligner(zero_rows="keep"),
        C3Aligner(renormalize=False, zero_rows="keep", noise_cosine=0.5),
        C3Aligner(noise="residual", zero_rows="keep"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def name_of(check):
    return getattr(check, "func", check).__name__


DEFAULT_CHECKS = [check for _, check in estimator_checks_generator(C3Aligner())]


@pytest.mark.parametrize("check", [c for c in DEFAULT_CHECKS if name_of(c) != "check_estimators_dtypes"], ids=name_of)
def test_scikit_learn_checks_by_default(check):
    """All but one: `check_estimators_dtypes` cuts floats to integers and so fits on a row of zeros, refused here."""
    check(C3Aligner())


def test_the_one_check_left_out_meets_a_zero_row():
    with pytest.raises(ValueError, match=r"norm of zero .* in 1 of 20 rows, first in row 15"):
        check_estimators_dtypes("C3Aligner", C3Aligner())


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


def test_clone_keeps_parameters_and_forgets_the_rest():
    rows = np.random.default_rng(0).normal(1, 1, (30, 5))
    fitted = C3Aligner(seed=7, sigma=0.25).fit(rows)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "statistics_")
