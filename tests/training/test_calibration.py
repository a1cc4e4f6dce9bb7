"""Temperature scaling: the optimum by hand, its limits, and what it does to probabilities."""

import math

import numpy as np
import pytest

from sammil_cli.training.calibration import COLDEST, HOTTEST, SPREAD, apply, apply_to_threshold, fit_temperature


def two(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], axis=1)


@pytest.mark.parametrize(("right", "wrong"), [(30, 10), (25, 15), (5, 0), (500, 0)])
def test_the_optimum_by_hand(right: int, wrong: int) -> None:
    # Everything is said with probability 0.9, so that at T a class is said with q = 1 / (1 + exp(-z)), z = log(9) / T.
    # The derivative by log T of -right log q - wrong log(1 - q) is z (right - n q), of the other term
    # log T / SPREAD^2.
    count = right + wrong
    labels = np.arange(count) % 2
    called = np.where(np.arange(count) < right, labels, 1 - labels)
    temperature = fit_temperature(labels, two(np.where(called == 1, 0.9, 0.1)))
    z = math.log(9) / temperature
    q = 1 / (1 + math.exp(-z))
    assert z * (right - count * q) + math.log(temperature) / SPREAD**2 == pytest.approx(0, abs=1e-3)


def test_what_is_calibrated_stays_about_as_it_is() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.02, 0.98, 20_000)
    labels = (rng.random(20_000) < scores).astype(np.int64)
    assert fit_temperature(labels, two(scores)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("truth", [0.5, 3.0])
def test_too_shy_and_too_sure_models_are_mended(truth: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 3)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    said = np.exp(logits * truth) / np.exp(logits * truth).sum(axis=1, keepdims=True)
    assert fit_temperature(labels, said) == pytest.approx(truth, rel=0.05)


def test_validation_without_an_error_does_not_make_the_model_certain() -> None:
    labels = np.array([1] * 5 + [0] * 5)
    said = two(np.where(labels == 1, 0.9, 0.1))
    temperature = fit_temperature(labels, said)
    assert 0.5 < temperature < 1
    assert 0.95 < apply(said, temperature)[0, 1] < 0.99


def test_more_slides_without_an_error_allow_more_confidence() -> None:
    found = []
    for count in (5, 50, 500):
        labels = np.arange(2 * count) % 2
        found.append(fit_temperature(labels, two(np.where(labels == 1, 0.9, 0.1))))
    assert found[0] > found[1] > found[2] > COLDEST


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, 1, 1], [0.9, 0.8, 0.7]),  # one class
        ([1, 0], [0.0, 1.0]),  # certain and wrong
        ([1, 0], [1.0, 0.0]),  # certain and right
        ([1, 0, 1], [0.5, 0.5, 0.5]),  # nothing to scale
        ([0], [1e-300]),
    ],
)
def test_any_validation_part_gives_a_temperature_within_bounds(labels: list[int], scores: list[float]) -> None:
    temperature = fit_temperature(np.array(labels), two(np.array(scores)))
    assert COLDEST <= temperature <= HOTTEST


def test_no_validation_slide_leaves_probabilities_as_they_are() -> None:
    assert fit_temperature(np.array([], np.int64), np.empty((0, 2))) == pytest.approx(1)


def test_applying_a_temperature_is_dividing_the_logits() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    cooled = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum(axis=1, keepdims=True)
    assert apply(said, 2.5) == pytest.approx(cooled)
    assert apply(said, 1.0) == pytest.approx(said)


def test_the_order_of_slides_and_of_classes_stays() -> None:
    said = two(np.random.default_rng(2).random(50))
    after = apply(said, 4.0)
    assert np.argsort(after[:, 1]).tolist() == np.argsort(said[:, 1]).tolist()
    assert after.argmax(axis=1).tolist() == said.argmax(axis=1).tolist()


def test_a_probability_of_0_stays_a_number() -> None:
    after = apply(np.array([[0.0, 1.0], [1.0, 0.0]]), 20.0)
    assert np.isfinite(after).all()
    assert after.sum(axis=1) == pytest.approx(1)
    assert after[0, 1] > 0.999


@pytest.mark.parametrize("temperature", [0.3, 0.6, 1.0, 2.0, HOTTEST])
def test_a_calibrated_threshold_decides_as_the_threshold_did(temperature: float) -> None:
    scores = np.concatenate([np.random.default_rng(3).random(200), [1e-12, 0.5, 1 - 1e-12, 0.0, 1.0]])
    after = apply(two(scores), temperature)[:, 1]
    for threshold in (*scores[:20], 0.5, 1.0, 0.0):  # also on a slide, as in the published protocol
        assert ((after >= apply_to_threshold(float(threshold), temperature)) == (scores >= threshold)).all()
    assert apply_to_threshold(0.9, 2.0) == pytest.approx(0.75)
