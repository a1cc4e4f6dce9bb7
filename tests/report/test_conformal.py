"""Conformal sets: limits by hand, and whether they keep their coverage where it is known (simulated patients)."""

from functools import partial

import numpy as np
import pytest

from sammil_cli.report.abstention import abstains, cells_of, sets_out_of_fold, summarise_abstention
from sammil_cli.report.conformal import ConformalScores, scores_of
from sammil_cli.report.metrics import Predictions

CLASSES = ("normal", "tumour")
FOLDS = 5


def rows_of(patients: list[str], labels: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> Predictions:
    probabilities = np.stack([1 - positive, positive], axis=1)
    return Predictions(
        slides=tuple(f"{name}-{number}" for number, name in enumerate(patients)),
        patients=tuple(patients),
        repeat=np.zeros(len(labels), np.int64),
        fold=fold,
        labels=labels,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
    )


def test_a_limit_is_the_score_that_n_plus_1_asks_for_and_infinite_without_it() -> None:
    scores = ConformalScores(
        classes=CLASSES, scores=(tuple(np.arange(1, 20) / 20), tuple(np.arange(1, 9) / 10)), coverage=0.9
    )
    assert scores.limits.tolist() == [0.9, np.inf]  # the 18th of 19; the 9th of 8 is not there
    assert scores.too_few == ("tumour",)
    assert scores.least_patients == 9
    assert ConformalScores(classes=CLASSES, scores=((), ()), coverage=0.95).least_patients == 19
    sets = scores.sets(np.array([[0.05, 0.95], [0.2, 0.8]]))
    assert sets.tolist() == [[False, True], [True, True]]


def test_a_patient_has_one_score_in_each_class_the_largest_and_repeats_are_averaged() -> None:
    rows = rows_of(["A", "A", "B", "B"], np.array([1, 1, 0, 1]), np.array([0.9, 0.4, 0.3, 0.8]), np.zeros(4, np.int64))
    assert scores_of(rows, CLASSES, 0.5).scores == (pytest.approx((0.3,)), pytest.approx((0.2, 0.6)))
    again = Predictions(
        slides=("a", "a"),
        patients=("A", "A"),
        repeat=np.array([0, 1]),
        fold=np.array([0, 3]),
        labels=np.array([1, 1]),
        predicted=np.array([1, 0]),
        probabilities=np.array([[0.2, 0.8], [0.6, 0.4]]),
    )
    assert scores_of(again, CLASSES, 0.5).scores[1] == pytest.approx((0.4,))


def test_scores_come_back_from_their_json_and_others_are_refused() -> None:
    scores = ConformalScores(classes=CLASSES, scores=((0.1, 0.2), (0.3,)), coverage=0.9)
    assert ConformalScores.of_json(scores.as_json()) == scores
    for wrong in ({"coverage": 1.5}, {"scores": {"a": [0.3, 0.1]}}, {"scores": {"a": [2.0]}}):
        with pytest.raises(ValueError, match=r"is not between|do not rise"):
            ConformalScores.of_json({**scores.as_json(), **wrong})


def test_no_slide_is_judged_by_a_score_of_its_own_fold() -> None:
    """Fold 0 alone is bad: its slides do not widen their own sets, and those of the others do."""
    fold = np.repeat([0, 1, 2], 20)
    labels = np.tile([0, 1], 30)
    positive = np.where(labels == 1, 0.9, 0.1)
    positive[fold == 0] = 0.5
    rows = rows_of([f"P{n}" for n in range(60)], labels, positive, fold)
    sets = sets_out_of_fold(rows, 0.8)
    assert not sets[fold == 0].any()  # by the good folds 0.5 is neither
    assert sets[fold == 1].sum(axis=1).tolist() == [1] * 20  # 0.9 is within the limit 0.5, 0.1 is not


def test_a_slide_is_abstained_from_where_its_set_is_not_the_class_that_is_called() -> None:
    sets = np.array([[True, False], [True, True], [False, False], [True, False]])
    assert abstains(sets, np.array([0, 0, 0, 1])).tolist() == [False, True, True, True]
    assert cells_of(np.array([True, True]), 1, CLASSES) == ("normal | tumour", "true")
    assert cells_of(np.array([False, True]), 1, CLASSES) == ("tumour", "false")
    assert cells_of(np.array([False, False]), 1, CLASSES) == ("", "true")


@pytest.mark.parametrize(("positives", "said"), [(6, "every slide is abstained from"), (60, None)])
def test_too_few_patients_abstain_from_everything_and_say_so(positives: int, said: str | None) -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], positives)
    positive = np.clip(0.5 + 0.4 * (2 * labels - 1) + generator.normal(0, 0.05, len(labels)), 0, 1)
    fold = np.tile(np.arange(3), len(labels) // 3)
    found = summarise_abstention(rows_of([f"P{n}" for n in range(len(labels))], labels, positive, fold), CLASSES, 0.9)
    if said is None:
        assert found["remark"] is None
        assert found["abstained"] < 0.2
    else:
        assert said in found["remark"]
        assert "takes 9 of a class (normal 4, tumour 4)" in found["remark"]
        assert (found["abstained"], found["accuracy_decided"], found["covered"]) == (1.0, None, 1.0)


# ------------------------------------------------------------------------------------------ coverage, simulated


def simulate(patients: int, positives: int, coverage: float, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Covered or not, of a cross-validated cohort and of new patients by all of its models; the class of each.

    Patients have one to three slides; features are normal around a mean of the class; a model is the line between the
    class means of its training folds.
    """
    labels = np.arange(patients) < positives
    fold = np.empty(patients, np.int64)
    for kind in (labels, ~labels):
        fold[kind] = generator.permutation(np.arange(kind.sum())) % FOLDS
    slides = np.repeat(np.arange(patients), generator.integers(1, 4, patients))
    draw = partial(_features, generator)
    centre = draw(labels)
    features = centre[slides] + generator.normal(0, 0.5, (len(slides), 3))
    positive = np.empty(len(slides))
    models = []
    for number in range(FOLDS):
        here = fold[slides] == number
        models.append(_line(features[~here], labels[slides][~here]))
        positive[here] = models[-1](features[here])
    rows = rows_of([f"P{n}" for n in slides], labels[slides].astype(np.int64), positive, fold[slides])
    of_fold = sets_out_of_fold(rows, coverage)[np.arange(len(slides)), rows.labels]
    fresh = generator.random(200) < positives / patients
    seen = draw(fresh) + generator.normal(0, 0.5, (200, 3))
    said = np.mean([model(seen) for model in models], axis=0)
    sets = scores_of(rows, CLASSES, coverage).sets(np.stack([1 - said, said], axis=1))
    of_new = sets[np.arange(200), fresh.astype(np.int64)]
    whole = np.array([of_fold[slides == patient].all() for patient in range(patients)])
    return {"fold": whole, "fold_class": labels, "new": of_new, "new_class": fresh}


def _features(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return generator.normal(0, 1, (len(labels), 3)) + 0.9 * labels[:, None]


def _line(features: np.ndarray, labels: np.ndarray):  # type: ignore[no-untyped-def]
    means = [features[labels == kind].mean(axis=0) for kind in (False, True)]
    towards, middle = means[1] - means[0], (means[0] + means[1]) / 2
    return lambda other: 1 / (1 + np.exp(-(other - middle) @ towards))


def coverages(patients: int, positives: int, coverage: float, times: int) -> dict[str, float]:
    generator = np.random.default_rng(20261201)
    runs = [simulate(patients, positives, coverage, generator) for _ in range(times)]
    found = {}
    for kind in ("fold", "new"):
        covered = np.concatenate([run[kind] for run in runs])
        of = np.concatenate([run[f"{kind}_class"] for run in runs])
        found |= {kind: covered.mean(), f"{kind} 0": covered[~of].mean(), f"{kind} 1": covered[of].mean()}
    return found


@pytest.mark.parametrize(
    ("patients", "positives", "times"),
    [(20, 10, 100), (20, 2, 100), (50, 25, 60), (50, 5, 60), (200, 100, 15), (200, 20, 20)],
)
def test_the_coverage_is_kept_over_all_and_in_each_class(patients: int, positives: int, times: int) -> None:
    """Up to chance, which in these numbers is a standard error below 0.012."""
    found = coverages(patients, positives, 0.9, times)
    assert min(found.values()) > 0.87, found
