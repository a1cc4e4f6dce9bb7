"""Calibration intercept and slope against scikit-learn, and cases with no line."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from sammil_cli.report.metrics import Predictions
from sammil_cli.report.recalibration import recalibration


def rows(labels: np.ndarray, positive: np.ndarray) -> Predictions:
    names, zeros = tuple(f"s{place}" for place in range(len(labels))), np.zeros(len(labels), np.int64)
    return Predictions(
        slides=names,
        patients=names,
        repeat=zeros,
        fold=zeros,
        labels=labels,
        predicted=(positive > 0.5).astype(np.int64),
        probabilities=np.stack([1 - positive, positive], axis=1),
        positive_class="b",
    )


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    said = rng.normal(0, 2, 300)  # twice as sure as it may be
    return rng.binomial(1, expit(0.5 + said / 2)), expit(said)


def test_slope_is_that_of_a_logistic_regression_on_the_logit(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, positive = drawn
    found = recalibration(rows(labels, positive), level=0.95, draws=200)
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(positive)[:, None], labels)
    assert found["slope"].value == pytest.approx(fitted.coef_[0, 0], abs=1e-4)
    assert found["slope"].low < 0.5 < found["slope"].high < 1  # the truth, and not 1


def test_intercept_makes_the_mean_probability_the_share(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, positive = drawn
    found = recalibration(rows(labels, positive), level=0.95, draws=200)["intercept"]
    assert expit(found.value + logit(positive)).mean() == pytest.approx(labels.mean(), abs=1e-9)
    assert 0 < found.low < found.value < found.high


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 1, 1, 1, 1], [1] * 8])
def test_classes_that_do_not_overlap_or_are_not_there_have_no_slope(labels: list[int]) -> None:
    found = recalibration(rows(np.array(labels), np.linspace(0.1, 0.9, 8)), level=0.95, draws=200)
    assert math.isnan(found["slope"].value)
    assert math.isnan(found["slope"].low)


def test_certain_probabilities_stay_finite() -> None:
    found = recalibration(
        rows(np.array([0, 1, 0, 1, 1, 0]), np.array([0.0, 1.0, 1.0, 0.0, 0.8, 0.1])), level=0.95, draws=200
    )
    assert math.isfinite(found["slope"].value)
