"""Intervals: DeLong by hand, the bootstrap against its own definition, coverage by simulation."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score, roc_auc_score

from sammil_cli.errors import InputError
from sammil_cli.report import intervals
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.intervals import bootstrap, delong, paired_difference
from sammil_cli.report.metrics import Predictions

# Positives score 0.8 and 0.4, negatives 0.6, 0.3, 0.1: each positive beats 3/3 and 2/3 of the negatives, each
# negative is beaten by 1/2, 1 and 1 of the positives. AUC 5/6; variance (1/18) / 2 + (1/12) / 3 = 1/18.
LABELS = np.array([1, 1, 0, 0, 0])
FIRST = np.array([0.8, 0.4, 0.6, 0.3, 0.1])


def cohort(
    patients: int, *, auc: float, seed: int, most_slides: int = 1, shared: float = 0.0, repeats: int = 1
) -> Predictions:
    """Slides with normal scores of a known AUC; `shared` is the part of the noise that a patient's slides share."""
    rng = np.random.default_rng(seed)
    distance = norm.ppf(auc) * math.sqrt(2)
    of_patient = np.repeat(np.arange(patients), rng.integers(1, most_slides + 1, patients))
    count = len(of_patient)
    labels = np.tile(of_patient % 2, repeats)
    own = np.tile(rng.normal(size=patients)[of_patient], repeats)
    score = distance * (labels - 0.5) + math.sqrt(shared) * own + math.sqrt(1 - shared) * rng.normal(size=len(labels))
    positive = 1 / (1 + np.exp(-score))
    return Predictions(
        slides=tuple(f"s{i}" for i in range(count)) * repeats,
        patients=tuple(f"p{i}" for i in of_patient) * repeats,
        repeat=np.repeat(np.arange(repeats), count),
        fold=np.tile(np.arange(count) % 5, repeats),
        labels=labels,
        predicted=(positive >= 0.5).astype(np.int64),
        probabilities=np.stack([1 - positive, positive], axis=1),
    )


def mean_metrics(rows: Predictions, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics (D,) of each draw of patients: the mean over repeats."""
    _, patient = np.unique(rows.patients, return_inverse=True)
    return {name: found.mean(axis=0) for name, found in intervals._of_repeats(rows, patient, counts).items()}


def gap(first: Predictions, second: Predictions, draws: int = 100) -> Estimate:
    """AUC of the second minus that of the first, the models held."""
    return paired_difference(first, second, "auc", level=0.95, draws=draws)


# ---------------------------------------------------------------------------------------------- DeLong


def test_delong_by_hand() -> None:
    found = delong(LABELS, FIRST, level=0.95)
    assert found.value == pytest.approx(5 / 6)
    reach = 1.959964 * math.sqrt(1 / 18) / (5 / 36)
    assert found.low == pytest.approx(1 / (1 + math.exp(-(math.log(5) - reach))), abs=1e-6)
    assert found.high == pytest.approx(1 / (1 + math.exp(-(math.log(5) + reach))), abs=1e-6)


def test_delong_counts_ties_half() -> None:
    # The positive 0.5 ties with one of two negatives: (1 + 1/2) / 2; the other positive beats both.
    found = delong(np.array([1, 1, 0, 0]), np.array([0.9, 0.5, 0.5, 0.2]), level=0.9)
    assert found.value == pytest.approx((1 + 0.75) / 2)


def test_the_interval_never_leaves_0_to_1_where_the_plain_one_would() -> None:
    found = delong(LABELS, FIRST, level=0.99)
    assert 5 / 6 + 2.5758 * math.sqrt(1 / 18) > 1
    assert 0 < found.low < found.value < found.high < 1


@pytest.mark.parametrize(
    ("labels", "scores", "value"),
    [
        ([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], 1.0),  # no pair out of order: the variance is 0, which is no certainty
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], 0.0),
        ([1, 0, 0, 0], [0.5, 0.6, 0.2, 0.1], 2 / 3),  # one positive has no variance
    ],
)
def test_without_a_variance_there_is_no_interval(labels: list[int], scores: list[float], value: float) -> None:
    found = delong(np.array(labels), np.array(scores), level=0.95)
    assert found.value == pytest.approx(value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_auc(label: int) -> None:
    labels, scores = np.full(4, label), np.arange(4.0)
    assert math.isnan(delong(labels, scores, level=0.95).value)


def test_the_order_of_the_slides_does_not_matter() -> None:
    rows = cohort(60, auc=0.8, seed=3)
    order = np.random.default_rng(0).permutation(60)
    one = delong(rows.labels, rows.probabilities[:, 1], level=0.95)
    other = delong(rows.labels[order], rows.probabilities[order, 1], level=0.95)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


# ---------------------------------------------------------------------------------------------- bootstrap


def test_the_value_is_the_metric_itself_and_lies_in_its_interval() -> None:
    rows = cohort(80, auc=0.8, seed=1, most_slides=3, shared=0.5)
    found = bootstrap(rows, level=0.9, draws=300)
    labels, predicted = rows.labels, rows.predicted
    expected = {
        "auc": roc_auc_score(labels, rows.probabilities[:, 1]),
        "accuracy": accuracy_score(labels, predicted),
        "f1": f1_score(labels, predicted),
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "sensitivity": recall_score(labels, predicted),
        "specificity": recall_score(labels, predicted, pos_label=0),
        "brier": np.mean(2 * (rows.probabilities[:, 1] - labels) ** 2),
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)
    assert all(one.low < one.value < one.high for one in found.values())


def test_a_draw_takes_whole_patients_and_keeps_the_patients_of_each_class() -> None:
    rows = cohort(30, auc=0.8, seed=2, most_slides=4)
    names, patient = np.unique(rows.patients, return_inverse=True)
    counts = np.concatenate(list(intervals.draws_of(rows, patient, 50)))
    positive = np.array([int(name[1:]) % 2 == 1 for name in names])
    assert counts.shape == (50, 30)
    assert (counts[:, positive].sum(axis=1) == 15).all()
    assert (counts[:, ~positive].sum(axis=1) == 15).all()
    assert len(np.unique(counts, axis=0)) == 50


def test_a_patient_counts_for_the_highest_class_of_its_slides() -> None:
    rows = replace(
        cohort(6, auc=0.8, seed=2), patients=("a", "a", "b", "b", "c", "c"), labels=np.array([0, 1, 0, 0, 0, 0])
    )
    _, patient = np.unique(rows.patients, return_inverse=True)
    counts = np.concatenate(list(intervals.draws_of(rows, patient, 40)))
    assert (counts[:, 0] == 1).all()  # the only patient of class 1 is in every draw
    assert set(counts[:, 1]) == {0, 1, 2}


def test_weights_give_what_repeated_slides_give() -> None:
    rows = cohort(24, auc=0.7, seed=4, most_slides=3, repeats=2)
    rows = replace(rows, probabilities=np.round(rows.probabilities, 1))  # ties
    _, patient = np.unique(rows.patients, return_inverse=True)
    counts = np.concatenate(list(intervals.draws_of(rows, patient, 5)))
    found = mean_metrics(rows, counts)
    for index, count in enumerate(counts):
        areas, f1s = [], []
        for repeat in (0, 1):
            taken = np.repeat(np.arange(len(patient)), np.where(rows.repeat == repeat, count[patient], 0).astype(int))
            areas.append(roc_auc_score(rows.labels[taken], rows.probabilities[taken, 1]))
            f1s.append(f1_score(rows.labels[taken], rows.predicted[taken]))
        assert found["auc"][index] == pytest.approx(np.mean(areas))
        assert found["f1"][index] == pytest.approx(np.mean(f1s))


def test_the_interval_is_wilsons_with_the_variance_of_the_draws() -> None:
    rows = cohort(40, auc=0.8, seed=5)
    _, patient = np.unique(rows.patients, return_inverse=True)
    drawn = np.concatenate([mean_metrics(rows, counts)["auc"] for counts in intervals.draws_of(rows, patient, 400)])
    found = bootstrap(rows, level=0.8, draws=400)["auc"]
    slides = found.value * (1 - found.value) / (drawn.var(ddof=1) * 40 / 39)  # as many right as wrong pairs would be
    reach = t.ppf(0.9, 39) ** 2  # where (value - end)^2 = reach * end * (1 - end) / slides
    for end in (found.low, found.high):
        assert (found.value - end) ** 2 == pytest.approx(reach * end * (1 - end) / slides)
    assert found.low < found.value < found.high


def test_repeats_that_lie_apart_widen_the_interval() -> None:
    alike, apart = cohort(200, auc=0.8, seed=5, repeats=2), cohort(200, auc=0.8, seed=5, repeats=2)
    worse = np.where(apart.repeat == 1, 0.5, 1.0)  # the second training went badly: its positives score lower
    positive = apart.probabilities[:, 1] * np.where(apart.labels == 1, worse, 1.0)
    apart = replace(apart, probabilities=np.stack([1 - positive, positive], axis=1))
    narrow, wide = (bootstrap(rows, level=0.95, draws=200)["auc"] for rows in (alike, apart))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_perfect_ranks_are_no_certainty() -> None:
    rows = cohort(20, auc=0.8, seed=5)
    positive = np.where(rows.labels == 1, 0.9, 0.1)
    perfect = replace(rows, predicted=rows.labels, probabilities=np.stack([1 - positive, positive], axis=1))
    found = bootstrap(perfect, level=0.95, draws=100)
    assert (found["auc"].value, found["auc"].high) == (1.0, 1.0)
    reach = t.ppf(0.975, 19) ** 2
    assert found["auc"].low == pytest.approx(10 / (10 + reach))  # ten of ten
    assert found["accuracy"].low == pytest.approx(20 / (20 + reach))


def test_a_rare_class_makes_the_interval_of_the_auc_wide_and_not_that_of_the_accuracy() -> None:
    rows = cohort(40, auc=0.8, seed=5)
    rare = rows.rows((rows.labels == 0) | (np.arange(40) < 6))  # 20 and 3
    assert intervals.patients_of_classes(rare) == [20, 3]
    names = ("auc", "f1", "balanced_accuracy", "accuracy", "brier", "sensitivity", "specificity")
    carry = [intervals.independent_patients(name, [20, 3]) for name in names]
    assert carry == [6, 6, 6, 23, 23, 3, 20]


def test_the_same_predictions_give_the_same_interval() -> None:
    rows = cohort(40, auc=0.8, seed=6)
    assert bootstrap(rows, level=0.95, draws=200) == bootstrap(rows, level=0.95, draws=200)


def test_slides_of_one_patient_do_not_count_as_many_patients() -> None:
    rows = cohort(40, auc=0.8, seed=7, most_slides=8, shared=0.95)
    clustered = bootstrap(rows, level=0.95, draws=500)["auc"]
    naive = bootstrap(replace(rows, patients=rows.slides), level=0.95, draws=500)["auc"]
    assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)


def test_the_same_slides_again_in_another_repeat_do_not_narrow_the_interval() -> None:
    once = cohort(40, auc=0.8, seed=8)
    twice = Predictions(
        slides=once.slides * 2,
        patients=once.patients * 2,
        repeat=np.repeat([0, 1], 40),
        fold=np.tile(once.fold, 2),
        labels=np.tile(once.labels, 2),
        predicted=np.tile(once.predicted, 2),
        probabilities=np.tile(once.probabilities, (2, 1)),
    )
    one, other = (bootstrap(rows, level=0.95, draws=300)["auc"] for rows in (once, twice))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_a_metric_that_is_not_defined_has_no_interval() -> None:
    rows = cohort(20, auc=0.8, seed=9)
    found = bootstrap(rows.rows(rows.labels == 0), level=0.95, draws=100)
    assert math.isnan(found["auc"].value)
    assert math.isnan(found["auc"].low)
    assert not math.isnan(found["accuracy"].low)


def test_draws_are_made_in_blocks_that_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = cohort(20, auc=0.8, seed=9)
    monkeypatch.setattr(intervals, "_CELLS", 20 * 64)
    _, patient = np.unique(rows.patients, return_inverse=True)
    assert [len(block) for block in intervals.draws_of(rows, patient, 150)] == [64, 64, 22]


def test_a_large_cohort_takes_about_a_second() -> None:
    rows = cohort(400, auc=0.85, seed=10, repeats=3)
    start = time.perf_counter()
    bootstrap(rows, level=0.95, draws=2000)
    assert time.perf_counter() - start < 10  # 0.4 s when the machine is idle


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_95_percent_intervals_hold_the_truth_about_95_times_in_100(shared: float) -> None:
    runs = 150
    hits = {"bootstrap": 0, "delong": 0}
    for seed in range(runs):
        rows = cohort(100, auc=0.8, seed=1000 + seed, most_slides=3 if shared else 1, shared=shared)
        patients = bootstrap(rows, level=0.95, draws=200)["auc"]
        slides = delong(rows.labels, rows.probabilities[:, 1], level=0.95)
        hits["bootstrap"] += patients.low <= 0.8 <= patients.high
        hits["delong"] += slides.low <= 0.8 <= slides.high
    assert 0.89 <= hits["bootstrap"] / runs <= 0.99
    # DeLong takes slides for independent: where those of a patient are alike, its interval is too narrow.
    assert hits["delong"] / runs < 0.89 if shared else 0.89 <= hits["delong"] / runs <= 0.99


# ---------------------------------------------------------------------------------------------- two runs


def test_a_run_does_not_differ_from_itself() -> None:
    rows = cohort(40, auc=0.8, seed=11)
    assert gap(rows, rows, 200) == Estimate(0.0, 0.0, 0.0)


def test_the_difference_is_second_minus_first_whatever_the_order_of_the_slides() -> None:
    first = cohort(60, auc=0.7, seed=12, most_slides=2)
    noise = np.random.default_rng(1).normal(size=len(first.labels))
    positive = 1 / (1 + np.exp(-(2.0 * first.labels + noise)))
    second = replace(first, probabilities=np.stack([1 - positive, positive], axis=1))
    order = np.random.default_rng(2).permutation(len(positive))
    shuffled = Predictions(
        slides=tuple(second.slides[i] for i in order),
        patients=tuple(second.patients[i] for i in order),
        repeat=second.repeat,
        fold=second.fold[order],
        labels=second.labels[order],
        predicted=second.predicted[order],
        probabilities=second.probabilities[order],
    )
    one = gap(first, second, 300)
    other = gap(first, shuffled, 300)
    areas = [roc_auc_score(run.labels, run.probabilities[:, 1]) for run in (first, second)]
    assert one.value == pytest.approx(areas[1] - areas[0])
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert one.low < one.value < one.high


def test_pairing_is_sharper_than_two_intervals() -> None:
    first = cohort(60, auc=0.8, seed=13)
    nudged = first.probabilities[:, 1] + np.random.default_rng(3).normal(scale=0.02, size=60)
    second = replace(first, probabilities=np.stack([1 - nudged, nudged], axis=1))
    paired = gap(first, second, 300)
    alone = bootstrap(first, level=0.95, draws=300)["auc"]
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_runs_of_different_numbers_of_repeats_can_be_compared() -> None:
    both = cohort(40, auc=0.8, seed=14, repeats=2)
    found = gap(both.rows(both.repeat == 0), both)
    parts = [roc_auc_score(part.labels, part.probabilities[:, 1]) for part in both.by_repeat()]
    assert found.value == pytest.approx(np.mean(parts) - parts[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slides": ("other", *[f"s{i}" for i in range(1, 20)])}, "1 only in the first, such as 's0'; 1 only in the"),
        ({"patients": ("other", *[f"p{i}" for i in range(1, 20)])}, "slide 's0' has another patient"),
        ({"labels": 1 - np.arange(20) % 2}, "slide 's0' has another label"),
    ],
)
def test_runs_of_different_slides_are_refused(changes: dict[str, object], message: str) -> None:
    rows = cohort(20, auc=0.8, seed=15)
    with pytest.raises(InputError, match=message):
        gap(rows, replace(rows, **changes))


def test_slides_of_a_single_patient_give_no_interval_and_one_score_for_all_gives_a_certain_auc() -> None:
    one = Predictions(
        slides=("a", "b"),
        patients=("p", "p"),
        repeat=np.zeros(2, np.int64),
        fold=np.zeros(2, np.int64),
        labels=np.array([1, 1]),
        predicted=np.array([1, 0]),
        probabilities=np.array([[0.2, 0.8], [0.6, 0.4]]),
        positive_class="tumour",
    )
    found = bootstrap(one, level=0.95, draws=100)
    for name, value in (("accuracy", 0.5), ("sensitivity", 0.5), ("brier", 0.4)):
        assert found[name].value == pytest.approx(value)
        assert math.isnan(found[name].low), name
    flat = replace(
        one,
        slides=tuple("abcd"),
        patients=tuple("pqrs"),
        repeat=np.zeros(4, np.int64),
        fold=np.zeros(4, np.int64),
        labels=np.array([0, 1, 0, 1]),
        predicted=np.ones(4, np.int64),
        probabilities=np.full((4, 2), 0.5),
    )
    assert bootstrap(flat, level=0.95, draws=100)["auc"] == Estimate(0.5, 0.5, 0.5)
