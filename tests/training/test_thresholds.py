"""Thresholds by hand."""

import numpy as np
import pytest

from sammil_cli.training.decision import Decision
from sammil_cli.training.thresholds import (
    decide,
    fold_threshold,
    in_digits,
    mean_threshold,
    validation_threshold,
    youden_threshold,
)

LABELS = np.array([0, 0, 0, 1, 1, 1, 0, 1])
SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.3, 0.9, 0.6, 0.55])


def two(scores: np.ndarray) -> np.ndarray:
    """Probabilities of both classes from those of class 1."""
    return np.stack([1 - scores, scores], axis=1)


def test_the_threshold_is_the_first_of_the_best() -> None:
    # TPR - FPR is 2/4 - 0 at 0.8 and 3/4 - 1/4 at 0.55: the first one counts.
    assert youden_threshold(LABELS, SCORES) == 0.8


def test_the_threshold_for_other_slides_is_midway_to_the_next_lower_score() -> None:
    assert validation_threshold(LABELS, SCORES) == pytest.approx(0.7)
    assert decide(two(SCORES), 0.7).tolist() == decide(two(SCORES), 0.8).tolist()


def test_scores_that_separate_nothing_call_nobody_positive() -> None:
    labels, scores = np.array([1, 1, 0]), np.array([0.7, 0.7, 0.7])
    assert youden_threshold(labels, scores) == 1.0
    assert validation_threshold(labels, scores) == pytest.approx(0.85)


def test_a_threshold_below_all_scores_has_no_lower_neighbour() -> None:
    assert validation_threshold(np.array([1, 1]), np.array([0.6, 0.97])) == 0.5


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0]])
def test_one_class_gives_a_threshold_of_one_half(labels: list[int]) -> None:
    scores = np.array([0.1, 0.2, 0.97])
    assert youden_threshold(np.array(labels), scores) == 0.5


def test_scores_that_are_upside_down_call_nobody_positive() -> None:
    labels, scores = np.array([1, 0, 0]), np.array([0.1, 0.9, 0.8])
    assert decide(two(scores), youden_threshold(labels, scores)).tolist() == [0, 0, 0]
    assert decide(two(scores), validation_threshold(labels, scores)).tolist() == [0, 0, 0]


def test_a_score_at_the_threshold_is_positive() -> None:
    assert decide(two(np.array([0.29, 0.3, 0.31])), 0.3).tolist() == [0, 1, 1]


def test_without_a_threshold_the_largest_probability_wins() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.3, 0.3, 0.4]])
    assert decide(probabilities, None).tolist() == [1, 0, 2]


def test_a_fold_takes_the_threshold_of_its_protocol_and_none_with_three_classes() -> None:
    assert fold_threshold(LABELS, two(SCORES), Decision(protocol="paper")) == 0.8
    assert fold_threshold(LABELS, two(SCORES), Decision()) == pytest.approx(0.7)
    assert fold_threshold(np.array([0, 1, 2]), np.eye(3), Decision()) is None


def test_folds_together_have_the_mean_threshold_or_none() -> None:
    assert mean_threshold([0.2, 0.6]) == pytest.approx(0.4)
    assert mean_threshold([0.2, None]) is None


@pytest.mark.parametrize(
    ("probabilities", "threshold", "predicted", "shown"),
    [
        ([0.25, 0.75], 0.5, 1, (["0.250", "0.750"], "0.500")),
        ([0.5001, 0.4999], 0.50004, 0, (["0.5001", "0.4999"], "0.5000")),  # both are 0.500 with three decimals
        ([0.5, 0.5], 0.5, 1, (["0.500", "0.500"], "0.500")),  # at the threshold
        ([1.0, 2e-30], 3e-30, 0, (["1.0", "2e-30"], "3e-30")),
        ([0.3333, 0.3334, 0.3333], None, 1, (["0.3333", "0.3334", "0.3333"], "")),
        ([0.2, 0.3, 0.5], None, 2, (["0.200", "0.300", "0.500"], "")),
    ],
)
def test_as_many_decimals_are_written_as_show_the_decision(
    probabilities: list[float], threshold: float | None, predicted: int, shown: tuple[list[str], str]
) -> None:
    assert decide(np.array([probabilities]), threshold)[0] == predicted
    assert in_digits(np.array(probabilities), threshold, predicted, 3) == shown
