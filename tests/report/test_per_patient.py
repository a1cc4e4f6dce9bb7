"""Patients from their slides: every number here is worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from two_folds import PERFECT, POOR

from sammil_cli.errors import InputError
from sammil_cli.report.metrics import Predictions, fold_metrics
from sammil_cli.report.per_patient import (
    PatientRule,
    by_patient,
    mixed_patients,
    patient_threshold,
    patients_of_part,
    several_slides,
    torn_patients,
)
from sammil_cli.training.decision import Decision
from sammil_cli.training.thresholds import decide

Row = tuple[
    str, int, int, int, Sequence[float]
]  # patient, repeat, fold, label, probability of class 1 or of each class


def made(rows: Sequence[Row]) -> Predictions:
    """Slides that are called as a threshold of 0.5, or the largest class, has it."""
    scores = np.array([row[4] if len(row[4]) > 1 else [1 - row[4][0], row[4][0]] for row in rows])
    return Predictions(
        slides=tuple(f"s{place}" for place in range(len(rows))),
        patients=tuple(row[0] for row in rows),
        repeat=np.array([row[1] for row in rows]),
        fold=np.array([row[2] for row in rows]),
        labels=np.array([row[3] for row in rows]),
        predicted=decide(scores, 0.5 if scores.shape[1] == 2 else None),
        probabilities=scores,
        positive_class="tumour" if scores.shape[1] == 2 else None,
    )


# Fold 0: A (0.2, 0.6) normal, B (0.7) tumour. Fold 1: C (0.25, 0.5, 0.75) normal, D (0.4, 0.9) tumour.
TWO = made(
    [
        ("A", 0, 0, 0, [0.2]),
        ("B", 0, 0, 1, [0.7]),
        ("A", 0, 0, 0, [0.6]),
        ("C", 0, 1, 0, [0.25]),
        ("C", 0, 1, 0, [0.5]),
        ("D", 0, 1, 1, [0.4]),
        ("C", 0, 1, 0, [0.75]),
        ("D", 0, 1, 1, [0.9]),
    ]
)


def test_the_mean_of_two_classes_is_decided_by_the_threshold_of_each_fold() -> None:
    found = by_patient(TWO, "mean", {(0, 0): 0.4, (0, 1): 0.65})
    assert found.slides == found.patients == ("A", "B", "C", "D")
    assert found.probabilities[:, 1] == pytest.approx([0.4, 0.7, 0.5, 0.65])
    assert found.probabilities.sum(axis=1) == pytest.approx(1)
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert found.predicted.tolist() == [1, 1, 0, 1]  # A and D lie on the thresholds of their folds, and are positive
    assert found.fold.tolist() == [0, 0, 1, 1]
    assert found.positive_class == "tumour"


def test_max_takes_the_slide_that_is_most_probably_positive() -> None:
    found = by_patient(TWO, "max", {(0, 0): 0.65, (0, 1): 0.8})
    assert found.probabilities.tolist() == [TWO.probabilities[place].tolist() for place in (2, 1, 6, 7)]
    assert found.predicted.tolist() == [0, 1, 0, 1]
    # Patients: B lies above A and below C, D above both. Slides: B's above 4 of 5 normal ones, D's above 2 and above 5.
    assert fold_metrics(found.labels, found.probabilities, found.predicted)["auc"] == 3 / 4
    assert fold_metrics(TWO.labels, TWO.probabilities, TWO.predicted)["auc"] == pytest.approx(11 / 15)


def test_three_classes_are_averaged_and_the_largest_mean_wins() -> None:
    rows = made(
        [
            ("A", 0, 0, 2, [0.6, 0.0, 0.4]),  # two slides call class 0 and 1, their mean class 2
            ("A", 0, 0, 2, [0.0, 0.6, 0.4]),
            ("B", 0, 0, 1, [0.1, 0.5, 0.4]),
            ("B", 0, 0, 1, [0.1, 0.3, 0.6]),
            ("B", 0, 0, 1, [0.1, 0.7, 0.2]),
        ]
    )
    found = by_patient(rows, "mean", {})
    assert found.probabilities == pytest.approx(np.array([[0.3, 0.3, 0.4], [0.1, 0.5, 0.4]]))
    assert found.predicted.tolist() == [2, 1]
    assert found.labels.tolist() == [2, 1]
    with pytest.raises(InputError, match="patient_rule: max is defined for two classes, and there are 3"):
        by_patient(rows, "max", {})


def test_a_patient_of_slides_with_different_labels_is_left_out_by_mean_and_positive_by_max() -> None:
    rows = replace(TWO, labels=np.array([0, 1, 1, 0, 0, 1, 0, 1]))  # A has a normal and a tumour slide
    limits = dict.fromkeys([(0, 0), (0, 1)], 0.5)
    assert mixed_patients(rows) == ("A",)
    assert mixed_patients(TWO) == ()
    kept, all_of_them = by_patient(rows, "mean", limits), by_patient(rows, "max", limits)
    assert kept.patients == ("B", "C", "D")
    assert (all_of_them.patients, all_of_them.labels.tolist()) == (("A", "B", "C", "D"), [1, 1, 0, 1])


def test_nobody_is_left_where_all_patients_have_slides_of_both_classes() -> None:
    rows = made([("A", 0, 0, 0, [0.2]), ("A", 0, 0, 1, [0.9])])
    found = by_patient(rows, "mean", {(0, 0): 0.5})
    assert found.patients == ()
    assert found.probabilities.shape == (0, 2)


def test_repeats_are_apart() -> None:
    rows = made(
        [
            ("A", 0, 0, 1, [0.2]),
            ("A", 0, 0, 1, [0.4]),
            ("A", 1, 3, 1, [0.8]),  # in another fold, and by another model, in the next repeat
            ("A", 1, 3, 1, [0.6]),
        ]
    )
    found = by_patient(rows, "mean", {(0, 0): 0.5, (1, 3): 0.5})
    assert found.patients == ("A", "A")
    assert (found.repeat.tolist(), found.fold.tolist()) == ([0, 1], [0, 3])
    assert found.probabilities[:, 1] == pytest.approx([0.3, 0.7])
    assert found.predicted.tolist() == [0, 1]
    assert several_slides(rows) == 1
    assert several_slides(rows.rows(np.array([True, False, True, False]))) == 1  # s0 and s2 are two slides
    assert several_slides(PERFECT) == 0


@pytest.mark.parametrize("rule", ["mean", "max"])
@pytest.mark.parametrize("slides", [PERFECT, POOR])
def test_one_slide_per_patient_gives_the_rows_of_the_slides(rule: PatientRule, slides: Predictions) -> None:
    found = by_patient(slides, rule, {(0, 0): 0.5, (0, 1): 0.5})
    for name in ("patients", "repeat", "fold", "labels", "predicted", "probabilities"):
        assert np.array_equal(getattr(found, name), getattr(slides, name)), name


def test_one_slide_per_patient_gives_the_rows_of_three_classes_too() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(3), 8)
    slides = replace(PERFECT, probabilities=scores, predicted=scores.argmax(axis=1))
    found = by_patient(slides, "mean", {})
    assert np.array_equal(found.probabilities, scores)
    assert np.array_equal(found.predicted, slides.predicted)


def test_patients_with_the_same_slides_in_another_order_tie() -> None:
    scores = [0.1, 0.7, 0.3, 0.6]  # added up in turn, their sum depends on the order
    assert sum(scores) != sum(sorted(scores))
    rows = made(
        [
            *(("A", 0, 0, 1, [score]) for score in scores),
            *(("B", 0, 0, 0, [score]) for score in sorted(scores)),
            *(("C", 0, 0, 0, [0.1]) for _ in range(3)),
        ]
    )
    found = by_patient(rows, "mean", {(0, 0): 0.5})
    assert found.probabilities[0].tolist() == found.probabilities[1].tolist()
    assert found.probabilities[2].tolist() == [0.9, 0.1]  # three equal slides have their own probability as mean
    assert fold_metrics(found.labels, found.probabilities, found.predicted)["auc"] == 0.75  # a tie, a pair in order


def test_a_patient_in_two_folds_of_a_repeat_is_refused() -> None:
    torn = replace(TWO, fold=np.array([0, 0, 1, 1, 1, 1, 1, 1]))
    assert torn_patients(torn) == ("A",)
    assert torn_patients(TWO) == ()
    with pytest.raises(InputError, match="patient 'A' has slides in several folds of one repeat"):
        by_patient(torn, "mean", dict.fromkeys([(0, 0), (0, 1)], 0.5))


# ---------------------------------------------------------------------------------------------- the threshold


def chosen(rule: PatientRule, protocol: str = "honest", *, labels: Sequence[int] = (0, 0, 1, 1, 0)) -> float | None:
    """Of validation patients P (0.2, 0.6), Q (0.5, 0.7), R (0.3); the threshold of slides is 0.45."""
    positive = np.array([0.2, 0.6, 0.5, 0.7, 0.3])
    scores = np.stack([1 - positive, positive], axis=1)
    found = patients_of_part(("P", "P", "Q", "Q", "R"), np.array(labels), scores, rule)
    return patient_threshold(found, 0.45, Decision(protocol=protocol))


def test_the_threshold_is_chosen_on_patients_by_the_rule_that_judges_them() -> None:
    assert chosen("mean") == pytest.approx(0.5)  # midway between 0.4 of P and 0.6 of Q
    assert chosen("max") == pytest.approx(0.65)  # 0.6 of P, 0.7 of Q
    assert chosen("mean", "paper") == pytest.approx(0.6)  # the published choice is the upper end
    assert chosen("max", "paper") == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("decision", "threshold"),
    [
        (Decision(rule="sensitivity", target=1.0), 0.15),  # below R, the lowest of the positive patients
        (Decision(rule="specificity", target=1.0), 0.8),  # above Q, the only other one
        (Decision(rule="fixed", target=0.45), 0.45),
    ],
)
def test_the_threshold_of_patients_is_chosen_for_what_that_of_slides_is(decision: Decision, threshold: float) -> None:
    positive = np.array([0.2, 0.6, 0.5, 0.7, 0.3])
    scores = np.stack([1 - positive, positive], axis=1)
    found = patients_of_part(("P", "P", "Q", "Q", "R"), np.array((1, 1, 0, 0, 1)), scores, "mean")
    assert patient_threshold(found, 0.45, decision) == pytest.approx(threshold)


def test_the_threshold_of_slides_stands_where_patients_cannot_choose_another() -> None:
    assert chosen("mean", labels=(0, 1, 1, 1, 1)) == 0.45  # without the mixed P every patient is positive
    assert chosen("max", labels=(0, 1, 1, 1, 0)) == pytest.approx(0.45)  # P is positive: midway from 0.3 to 0.6
    alone = patients_of_part(("P", "Q"), np.array([0, 1]), np.array([[0.8, 0.2], [0.3, 0.7]]), "mean")
    assert patient_threshold(alone, 0.3, Decision()) == 0.3
    three = patients_of_part(("P", "P"), np.array([0, 0]), np.ones((2, 3)) / 3, "mean")
    assert patient_threshold(three, None, Decision()) is None
