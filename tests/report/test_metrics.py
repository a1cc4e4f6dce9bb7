"""Metrics and curves by hand; the check values of docs/methods.md §1."""

import math
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from sammil_cli.report.metrics import (
    Predictions,
    calibration_error,
    confusion,
    fold_metrics,
    mean_curve,
    over_folds,
    pr_points,
    reliability,
    roc_points,
    weighted_metrics,
)
from sammil_cli.training.loop import area_under_curve
from sammil_cli.training.thresholds import decide, youden_threshold

LABELS = np.array([0, 0, 0, 1, 1, 1, 0, 1])
SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.3, 0.9, 0.6, 0.55])


def two(scores: np.ndarray) -> np.ndarray:
    """Probabilities of both classes from those of class 1."""
    return np.stack([1 - scores, scores], axis=1)


def test_the_check_values_of_the_published_protocol() -> None:
    predicted = decide(two(SCORES), youden_threshold(LABELS, SCORES))
    assert predicted.tolist() == [0, 0, 0, 1, 0, 1, 0, 0]  # precision 1.0, recall 0.5
    found = fold_metrics(LABELS, two(SCORES), predicted)
    assert found == pytest.approx(
        {"accuracy": 0.75, "auc": 0.75, "f1": 2 / 3, "balanced_accuracy": 0.75, "sensitivity": 0.5, "specificity": 1.0}
    )


def test_metrics_of_three_classes_are_macro_means() -> None:
    labels, predicted = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 0])
    probabilities = np.eye(3)[predicted] * 0.7 + 0.1
    found = fold_metrics(labels, probabilities, predicted)
    assert found["accuracy"] == pytest.approx(3 / 5)
    # F1 by hand: class 0 P 1/2 R 1/2; class 1 P 1/2 R 1; class 2 P 1 R 1/2
    assert found["f1"] == pytest.approx((1 / 2 + 2 / 3 + 2 / 3) / 3)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert set(found) == {"auc", "accuracy", "f1", "balanced_accuracy"}


def test_a_fold_of_one_class_has_no_auc() -> None:
    found = fold_metrics(np.array([1, 1]), two(np.array([0.9, 0.2])), np.array([1, 0]))
    assert {name for name, value in found.items() if math.isnan(value)} == {"auc", "balanced_accuracy", "specificity"}
    assert found["accuracy"] == found["sensitivity"] == 0.5


def test_a_fold_without_positives_and_without_a_positive_call_has_no_f1() -> None:
    found = fold_metrics(np.array([0, 0]), two(np.array([0.1, 0.2])), np.array([0, 0]))
    assert math.isnan(found["f1"])
    assert found["specificity"] == 1.0


def test_a_class_that_neither_occurs_nor_is_called_is_left_out_of_the_macro_f1() -> None:
    labels, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    found = fold_metrics(labels, np.eye(3)[predicted], predicted)
    assert found["f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert math.isnan(found["auc"])


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_metrics_are_those_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, 60)]
    probabilities = np.round(rng.dirichlet(np.ones(classes), len(labels)) + 0.3 * np.eye(classes)[labels], 1)
    probabilities[:, -1] = 1.0 - probabilities[:, :-1].sum(axis=1)  # sums to 1, as scikit-learn wants; many ties
    predicted = probabilities.argmax(axis=1)
    found = fold_metrics(labels, probabilities, predicted)
    average = "binary" if classes == 2 else "macro"
    assert found["auc"] == pytest.approx(area_under_curve(labels, probabilities))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(f1_score(labels, predicted, average=average))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_weights_count_slides() -> None:
    predicted, probabilities = decide(two(SCORES), 0.5), two(SCORES)
    weights = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 1, 0, 1, 2]], np.float64)
    found = weighted_metrics(LABELS, predicted, probabilities, weights)
    taken = np.repeat(np.arange(8), weights[1].astype(int))
    one = fold_metrics(LABELS[taken], probabilities[taken], predicted[taken])
    assert {name: found[name][1] for name in one} == pytest.approx(one)


def test_the_brier_score_is_a_sum_over_classes() -> None:
    # (0.3, 0.7) for a positive: 0.09 + 0.09; (0.4, 0.6) for a negative: 0.36 + 0.36.
    found = weighted_metrics(np.array([1, 0]), np.array([1, 1]), two(np.array([0.7, 0.6])), np.ones((1, 2)))
    assert found["brier"] == pytest.approx([(0.18 + 0.72) / 2])


def test_the_calibration_error_by_hand() -> None:
    # Confidences 0.95, 0.94 (right, wrong: bin 14), 0.70 (right: bin 10): 2/3 |0.945 - 0.5| + 1/3 |0.7 - 1|.
    labels, probabilities = np.array([1, 1, 0]), two(np.array([0.95, 0.06, 0.30]))
    assert reliability(labels, probabilities) == [(pytest.approx(0.70), 1.0, 1), (pytest.approx(0.945), 0.5, 2)]
    assert calibration_error(labels, probabilities) == pytest.approx(2 / 3 * 0.445 + 1 / 3 * 0.3)


def test_full_confidence_falls_in_the_last_bin() -> None:
    assert reliability(np.array([1, 0]), two(np.array([1.0, 1.0]))) == [(1.0, 0.5, 2)]


def test_probabilities_that_are_right_as_often_as_they_say_are_calibrated() -> None:
    labels = np.array([1] * 8 + [0] * 2)
    assert calibration_error(labels, two(np.full(10, 0.8))) == pytest.approx(0)


def test_one_class_against_the_rest() -> None:
    rows = Predictions(
        slides=("a", "b", "c"),
        patients=("p", "p", "q"),
        repeat=np.zeros(3, np.int64),
        fold=np.array([0, 0, 1]),
        labels=np.array([0, 2, 1]),
        predicted=np.array([2, 2, 1]),
        probabilities=np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [0.2, 0.6, 0.2]]),
    )
    one = rows.against_rest(2)
    assert one.labels.tolist() == [0, 1, 0]
    assert one.predicted.tolist() == [1, 1, 0]
    assert one.probabilities[:, 1].tolist() == [0.7, 0.4, 0.2]
    assert [part.slides for part in rows.by_fold()] == [("a", "b"), ("c",)]


def test_a_fold_without_a_positive_call_has_an_f1_of_0() -> None:
    assert fold_metrics(np.array([0, 1]), two(np.array([0.2, 0.3])), np.array([0, 0]))["f1"] == 0.0


def test_folds_are_summed_up_by_mean_and_population_sd() -> None:
    found = over_folds([{"auc": 0.9, "f1": 0.5}, {"auc": 0.6, "f1": 0.5}, {"auc": 0.9, "f1": 0.8}])
    assert found["auc"] == {"mean": 0.8, "sd": round(math.sqrt(0.02), 6)}
    assert found["f1"] == {"mean": 0.6, "sd": round(math.sqrt(0.02), 6)}


def test_folds_where_a_metric_is_not_defined_are_left_out_of_it() -> None:
    found = over_folds([{"auc": math.nan, "f1": 0.2}, {"auc": 0.7, "f1": 0.4}])
    assert found["auc"] == {"mean": 0.7, "sd": 0.0}
    assert found["f1"] == {"mean": 0.3, "sd": 0.1}


def test_a_metric_that_no_fold_defines_is_none() -> None:
    assert over_folds([{"auc": math.nan}, {"auc": math.nan}]) == {"auc": {"mean": None, "sd": None}}


def test_the_roc_curve_by_hand() -> None:
    # Thresholds 0.9, 0.7, 0.4, 0.2 catch: 1 of 2 positives, 1 false of 2, the second positive, everything.
    points = roc_points(np.array([1, 0, 1, 0]), np.array([0.9, 0.7, 0.4, 0.2]))
    assert points == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]


def test_the_precision_recall_curve_by_hand_rises_in_recall() -> None:
    points = pr_points(np.array([1, 0, 1, 0]), np.array([0.9, 0.7, 0.4, 0.2]))
    assert points == [(0, 1), (0.5, 1), (0.5, 0.5), (1, pytest.approx(2 / 3)), (1, 0.5)]


@pytest.mark.parametrize("label", [0, 1])
def test_a_part_of_one_class_has_no_roc_curve(label: int) -> None:
    assert roc_points(np.array([label] * 3), np.array([0.1, 0.5, 0.9])) == []


def test_a_part_without_positives_has_no_precision_recall_curve() -> None:
    assert pr_points(np.array([0, 0]), np.array([0.1, 0.5])) == []
    assert pr_points(np.array([1, 1]), np.array([0.1, 0.5])) != []


def test_the_confusion_table_has_true_classes_in_rows() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 1, 1, 0])
    assert confusion(labels, predicted, 3).tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 0]]


def test_the_confusion_table_has_a_row_for_a_class_that_is_absent() -> None:
    assert confusion(np.array([1, 1]), np.array([1, 0]), 3).tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_the_mean_of_two_straight_curves_by_hand() -> None:
    curves = [("a", 0.0, 0.0), ("a", 1.0, 1.0), ("b", 0.0, 0.4), ("b", 0.5, 0.8), ("b", 1.0, 0.8)]
    assert mean_curve(curves, steps=5) == [(0, 0.2), (0.25, 0.425), (0.5, 0.65), (0.75, 0.775), (1, 0.9)]


def test_the_mean_of_no_curve_is_empty() -> None:
    assert mean_curve([]) == []


def test_a_curve_that_jumps_takes_its_last_value_there() -> None:
    curve = [("a", x, y) for x, y in ((0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1))]
    found = dict(mean_curve(curve, steps=3))
    assert found == {0.0: 0.5, 0.5: 1.0, 1.0: 1.0}


def test_a_step_stays_flat_until_it_jumps() -> None:
    curve = [("a", x, y) for x, y in ((0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1))]
    assert dict(mean_curve(curve, steps=5))[0.25] == 0.5


def test_the_mean_roc_curve_of_one_fold_has_the_area_of_the_fold() -> None:
    points = mean_curve([("a", x, y) for x, y in roc_points(LABELS, SCORES)], steps=1001)
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))
    assert area == pytest.approx(0.75, abs=0.002)
