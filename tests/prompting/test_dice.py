"""Dice and IoU by hand, and intervals of patients against their definition and by simulation."""

import math

import numpy as np
import pytest

from sammil_cli.prompting.dice import held, mean_over_patients, overlap, too_few

EMPTY = np.zeros((4, 6), np.bool_)
WHOLE = np.ones((4, 6), np.bool_)
LEFT = np.arange(6)[None] < np.full((4, 1), 3)  # 12 pixels
MOST = np.arange(6)[None] < np.full((4, 1), 5)  # 20 pixels, LEFT among them


def test_both_numbers_by_hand() -> None:
    found = overlap(LEFT, MOST)
    assert found.dice == pytest.approx(2 * 12 / 32)
    assert found.iou == pytest.approx(12 / 20)
    assert overlap(MOST, LEFT) == found
    apart = overlap(LEFT, ~LEFT)
    assert (apart.dice, apart.iou) == (0, 0)


def test_empty_masks_are_defined() -> None:
    assert (overlap(EMPTY, EMPTY).dice, overlap(EMPTY, EMPTY).iou) == (1, 1)
    for one, other in ((EMPTY, WHOLE), (WHOLE, EMPTY)):
        assert (overlap(one, other).dice, overlap(one, other).iou) == (0, 0)


def test_patients_are_drawn_with_all_their_samples() -> None:
    # Draws are {a, a}, {a, b} and {b, b}, in the proportion 1 : 2 : 1, whose samples have means of 0, 3/4 and 1.
    values, patients = np.array([0.0, 1.0, 1.0, 1.0]), ["a", "b", "b", "b"]
    found = mean_over_patients(values, patients, level=0.4, draws=4000)
    assert (found.value, found.low, found.high) == (0.75, 0.75, 0.75)
    found = mean_over_patients(values, patients, level=0.6, draws=4000)
    assert (found.low, found.high) == (0, 1)
    # Were samples drawn one by one, all of them would be of "a" in 1 of 256 draws only.
    alone = mean_over_patients(values, ["a", "b", "c", "d"], level=0.6, draws=4000)
    assert alone.low > 0.25


def test_the_same_scores_give_the_same_interval_in_any_order() -> None:
    rng = np.random.default_rng(0)
    values, patients = rng.random(40), [f"p{i % 7}" for i in range(40)]
    found = mean_over_patients(values, patients, level=0.95, draws=500)
    order = rng.permutation(40)
    again = mean_over_patients(values[order], [patients[i] for i in order], level=0.95, draws=500)
    assert (again.low, again.high) == pytest.approx((found.low, found.high))
    assert found.low < found.value < found.high


def test_one_patient_gives_a_mean_and_no_interval() -> None:
    found = mean_over_patients(np.array([0.2, 0.4]), ["a", "a"], level=0.95, draws=200)
    assert found.value == pytest.approx(0.3)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(mean_over_patients(np.array([]), [], level=0.95, draws=200).value)


@pytest.mark.parametrize("patients", [4, 12])
def test_how_often_an_interval_holds_the_truth_is_as_said(patients: int) -> None:
    rng = np.random.default_rng(1)
    names = [f"p{i}" for i in range(patients)]
    intervals = [mean_over_patients(rng.normal(size=patients), names, level=0.9, draws=400) for _ in range(1500)]
    share = np.mean([one.low < 0 < one.high for one in intervals])
    assert share == pytest.approx(held(patients, 0.9), abs=0.03)  # 3 standard errors: 0.027
    assert held(patients, 0.9) < 0.88


def test_few_patients_are_called_few() -> None:
    assert "no interval" in str(too_few(1, 0.95))
    assert "5 patients are few: such an interval holds the truth 85% of the time rather than 95%" in str(
        too_few(5, 0.95)
    )
    assert too_few(21, 0.95) is not None
    assert too_few(22, 0.95) is None
