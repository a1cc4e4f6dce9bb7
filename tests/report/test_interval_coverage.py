"""benchmarks/interval_coverage.py: its truths are true; intervals and tests err as docs/evaluation.md says."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import interval_coverage

from sammil_cli.report.metrics import weighted_metrics


def test_the_truth_is_what_endless_patients_show() -> None:
    cohort = interval_coverage.Cohort(patients=40_000, share=1 / 11, most=1)
    (rows,) = interval_coverage.judged(cohort, 0.85, np.random.default_rng(0))
    found = weighted_metrics(rows.labels, rows.predicted, rows.probabilities, np.ones((1, len(rows.labels))))
    for name, wanted in interval_coverage.truth(cohort, 0.85).items():
        assert found[name][0] == pytest.approx(wanted, abs=0.012), name


def test_intervals_of_20_patients_hold_the_truth_where_percentiles_do_not() -> None:
    found = interval_coverage.coverage(interval_coverage.Cohort(patients=20, share=0.5, most=1), 0.9, 80, 100)
    for name in ("auc", "sensitivity"):
        ours, percentiles = map(int, found[name].rstrip(")").split(" ("))
        assert ours >= 90
        assert percentiles < ours - 2, name


def test_tests_of_equal_models_do_not_err_too_often() -> None:
    found = interval_coverage.sizes(
        interval_coverage.Cohort(patients=50, share=0.5, most=1), 0.25, interval_coverage.REPEATS[-1], 30, 60
    )
    assert all(int(found[name]) <= 20 for name in ("auc", "accuracy", "brier", "Holm"))
    assert int(found["unadjusted"]) >= int(found["Holm"])


def test_intervals_of_an_external_cohort_hold_the_difference() -> None:
    found = interval_coverage.apart(50, 1, 40, 100)
    held = [int(found[name]) for name in (*interval_coverage.APART, "intercept")]
    assert min(held) >= 85
    assert int(found["slope"].split(" of ")[0]) >= 85
