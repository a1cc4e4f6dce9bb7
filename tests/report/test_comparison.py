"""Two runs compared: what retraining adds, when it cannot be known, and which words are said of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from judged_cohorts import two_runs
from scipy.stats import t

from sammil_cli.report.comparison import (
    HIGHER,
    LIKE_ANOTHER_SEED,
    LOWER,
    METRICS,
    NO_DIFFERENCE,
    ONE_REPEAT,
    Comparison,
    compare_metrics,
    compare_predictions,
    compare_unpaired,
    reach,
    verdict,
)
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.intervals import metrics_of_draws, paired_difference
from sammil_cli.report.metrics import Predictions, fold_metrics


def auc(rows: Predictions) -> float:
    return fold_metrics(rows.labels, rows.probabilities, rows.predicted)["auc"]


def test_with_one_repeat_the_models_are_held_and_it_is_said() -> None:
    first, second = two_runs(60, seed=1, areas=(0.7, 0.8))
    found = compare_predictions(first, second, "auc", level=0.95, draws=200)
    assert (found.retraining_known, found.repeats) == (False, (1, 1))
    assert found.value == found.fixed == paired_difference(first, second, "auc", level=0.95, draws=200)
    assert found.value.value == pytest.approx(auc(second) - auc(first))
    assert found.delong is not None


def test_the_variance_between_repeats_adds_to_that_over_patients() -> None:
    first, second = two_runs(60, seed=2, areas=(0.7, 0.8), repeats=3)
    found = compare_predictions(first, second, "auc", level=0.9, draws=300)
    gaps = np.array([auc(b) - auc(a) for a, b in zip(first.by_repeat(), second.by_repeat(), strict=True)])
    runs = metrics_of_draws(first, second, draws=300)
    drawn = (runs[1]["auc"] - runs[0]["auc"]).mean(axis=0)[1:]
    patients, training = drawn.var(ddof=1) * 60 / 59, gaps.var(ddof=1) / 3
    freedom = (patients + training) ** 2 / (patients**2 / 59 + training**2 / 2)
    half = t.ppf(0.95, freedom) * math.sqrt(patients + training)
    assert found.retraining_known
    assert (found.value.low, found.value.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))
    assert found.fixed.high - found.fixed.low < found.value.high - found.value.low
    assert found.p == pytest.approx(2 * t.sf(gaps.mean() / math.sqrt(patients + training), freedom))


def test_no_interval_reaches_further_than_a_difference_can() -> None:
    first, second = two_runs(20, seed=0, areas=(0.6, 0.9), repeats=2)
    value = compare_predictions(first, second, "auc", level=0.999, draws=200).value
    assert (value.low, value.high) == (-1, 1)


def test_repeats_on_other_folds_are_not_paired() -> None:
    first, second = two_runs(60, seed=3, repeats=2)
    paired = compare_predictions(first, second, "brier", level=0.95, draws=100).value
    other = replace(second, fold=(second.fold + 1) % 5)
    apart = compare_predictions(first, other, "brier", level=0.95, draws=100).value
    assert paired.value == pytest.approx(apart.value)
    assert (paired.low, paired.high) != pytest.approx((apart.low, apart.high))
    uneven = compare_predictions(first, second.rows(second.repeat == 0), "brier", level=0.95, draws=100)
    assert (uneven.repeats, uneven.retraining_known) == ((2, 1), False)


def test_with_three_classes_there_is_no_delong_and_all_else() -> None:
    first, second = two_runs(60, seed=4)
    three = [
        replace(
            run,
            labels=np.arange(60) % 3,
            probabilities=np.column_stack([run.probabilities / 2, np.full(60, 0.5)]),
            positive_class=None,
        )
        for run in (first, second)
    ]
    found = compare_metrics(*three, level=0.95, draws=100)
    assert set(found) == set(METRICS)
    assert found["auc"].delong is None
    assert all(one.value.low <= one.value.value <= one.value.high for one in found.values())


def test_runs_without_a_common_patient_have_the_variance_of_both() -> None:
    first, second = two_runs(60, seed=5)
    alone = compare_unpaired(first, second, level=0.95, draws=200)["auc"]
    paired = compare_predictions(first, second, "auc", level=0.95, draws=200)
    assert alone.value.value == pytest.approx(paired.value.value)
    assert alone.value.high - alone.value.low > 1.2 * (paired.value.high - paired.value.low)
    assert (alone.delong, alone.mcnemar, alone.retraining_known) == (None, None, False)


def test_the_interval_holds_with_training_noise_and_that_of_held_models_does_not() -> None:
    held, known = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        first, second = two_runs(100, seed=seed, repeats=3)
        # Each training of either model goes better or worse as a whole.
        runs = []
        for run in (first, second):
            score = np.log(run.probabilities[:, 1] / run.probabilities[:, 0])
            score = score + rng.normal(scale=0.6, size=3)[run.repeat] * (run.labels - 0.5)
            positive = 1 / (1 + np.exp(-score))
            runs.append(replace(run, probabilities=np.stack([1 - positive, positive], axis=1)))
        found = compare_predictions(runs[0], runs[1], "auc", level=0.95, draws=60)
        known += found.value.low <= 0 <= found.value.high
        held += found.fixed.low <= 0 <= found.fixed.high
    assert known >= 53
    assert held <= known - 5


# ---------------------------------------------------------------------------------------------- words


def comparison(value: Estimate, *, known: bool = True) -> Comparison:
    return Comparison(
        metric="auc",
        value=value,
        fixed=value,
        repeats=(3, 3) if known else (1, 1),
        retraining_known=known,
        p=0.01,
        delong=None,
        mcnemar=1.0,
        level=0.95,
    )


ABOVE, BELOW, ACROSS = Estimate(0.08, 0.03, 0.13), Estimate(-0.08, -0.13, -0.03), Estimate(0.02, -0.01, 0.05)


@pytest.mark.parametrize(
    ("value", "known", "seed", "adjusted", "said"),
    [
        (ABOVE, True, ACROSS, 0.01, HIGHER),
        (BELOW, True, ACROSS, None, LOWER),
        (ABOVE, True, None, None, HIGHER),
        (ABOVE, True, ACROSS, 0.06, NO_DIFFERENCE),  # of several runs
        (ACROSS, True, ACROSS, 0.01, NO_DIFFERENCE),
        (ABOVE, False, ACROSS, 0.01, ONE_REPEAT),
        (ABOVE, True, Estimate(0.01, -0.09, 0.05), 0.01, LIKE_ANOTHER_SEED),
        (BELOW, True, Estimate(0.01, -0.03, 0.08), 0.01, LIKE_ANOTHER_SEED),
        (ABOVE, True, Estimate(0.0, math.nan, math.nan), 0.01, LIKE_ANOTHER_SEED),
        (Estimate(0.1, math.nan, math.nan), True, None, None, NO_DIFFERENCE),
        (ABOVE, True, ACROSS, math.nan, NO_DIFFERENCE),
    ],
)
def test_higher_and_lower_are_said_only_where_everything_agrees(
    value: Estimate, known: bool, seed: Estimate | None, adjusted: float | None, said: str
) -> None:
    other = None if seed is None else comparison(seed)
    assert verdict(comparison(value, known=known), other, adjusted=adjusted) == said


def test_another_seed_reaches_as_far_as_its_interval() -> None:
    assert reach(comparison(Estimate(0.01, -0.04, 0.06))) == 0.06
    assert reach(comparison(Estimate(-0.01, -0.07, 0.05))) == 0.07
