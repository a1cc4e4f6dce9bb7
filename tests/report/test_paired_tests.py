"""Tests of two judges: by hand, against their definitions, and how often they err."""

import math

import numpy as np
import pytest
from judged_cohorts import two_runs

from sammil_cli.report.intervals import delong
from sammil_cli.report.paired_tests import delong_test, holm, mcnemar

LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0])


def test_mcnemar_counts_the_slides_that_one_of_both_calls_right() -> None:
    first = np.array([1, 1, 1, 1, 0, 0, 0, 1])
    second = np.array([1, 0, 0, 0, 1, 1, 0, 1])  # five that the first alone calls right, none the other way round
    assert mcnemar(LABELS, first, second) == pytest.approx(2 * 0.5**5)
    assert mcnemar(LABELS, second, first) == mcnemar(LABELS, first, second)
    assert mcnemar(LABELS, first, first) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    found = holm([0.02, math.nan, 0.01])
    assert (found[0], found[2]) == pytest.approx((0.02, 0.02))
    assert math.isnan(found[1])


def test_delongs_variance_of_a_difference_by_hand() -> None:
    first = np.array([0.9, 0.8, 0.7, 0.35, 0.4, 0.3, 0.2, 0.1])
    second = np.array([0.9, 0.2, 0.7, 0.35, 0.4, 0.3, 0.25, 0.1])
    # Share of the negatives below each positive: 1, 1, 1, 3/4 and 1, 1/4, 1, 3/4: they differ by 0, -3/4, 0, 0.
    # Share of the positives above each negative: 3/4, 1, 1, 1 and 1/2, 3/4, 3/4, 1: by -1/4, -1/4, -1/4, 0.
    higher, lower = np.array([0, -0.75, 0, 0]), np.array([-0.25, -0.25, -0.25, 0])
    error = math.sqrt(higher.var(ddof=1) / 4 + lower.var(ddof=1) / 4)
    expected = math.erfc(0.1875 / error / math.sqrt(2))
    assert delong_test(LABELS, first, second) == pytest.approx(expected)
    assert delong_test(LABELS, first, first) == 1.0
    areas = [delong(LABELS, scores, level=0.95).value for scores in (first, second)]
    assert areas[1] - areas[0] == pytest.approx(-0.1875)


def test_without_a_variance_or_a_second_slide_delong_says_nothing() -> None:
    perfect = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    assert math.isnan(delong_test(LABELS, perfect, perfect))
    assert math.isnan(delong_test(LABELS, perfect, 1 - perfect))
    assert math.isnan(delong_test(LABELS[3:], perfect[3:], 1 - perfect[3:]))


def test_equal_judges_are_found_to_differ_in_about_5_of_100_cohorts() -> None:
    wrong = np.zeros(2)
    for seed in range(200):
        first, second = two_runs(60, seed=seed)
        scores = [run.probabilities[:, 1] for run in (first, second)]
        wrong += [
            delong_test(first.labels, *scores) < 0.05,
            mcnemar(first.labels, first.predicted, second.predicted) < 0.05,
        ]
    assert 2 <= wrong[0] <= 22
    assert wrong[1] <= 16  # exact: never more often than 5 in 100, and less often with few slides
