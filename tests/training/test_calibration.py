"""Temperature scaling: the optimum by hand, its limits, and what it does to probabilities."""

import math

import numpy as np
import pytest

from sammil_cli.training.calibration import COLDEST, HOTTEST, apply, fit_temperature


def two(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], axis=1)


def test_the_optimum_by_hand() -> None:
    # 40 slides of each class, 30 of them right, all said with probability 0.9: targets of the true class are 41/42,
    # so the best probability for the called class is (30 * 41/42 + 10 * 1/42) / 40, and T = logit(0.9) / its logit.
    labels = np.array([1] * 40 + [0] * 40)
    said = np.array([0.9] * 30 + [0.1] * 10 + [0.1] * 30 + [0.9] * 10)
    best = (30 * 41 / 42 + 10 / 42) / 40
    expected = math.log(9) / math.log(best / (1 - best))
    assert fit_temperature(labels, two(said)) == pytest.approx(expected, rel=1e-3)


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
    # 5 and 5 slides, all right with 0.9: the rule of succession allows 6/7 at best.
    labels = np.array([1] * 5 + [0] * 5)
    said = two(np.where(labels == 1, 0.9, 0.1))
    temperature = fit_temperature(labels, said)
    assert apply(said, temperature)[0, 1] == pytest.approx(6 / 7, abs=1e-3)


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
    assert fit_temperature(np.array([], np.int64), np.empty((0, 2))) == 1.0


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
