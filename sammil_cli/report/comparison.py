"""Two runs on the same test patients: how far their metrics differ, with other patients and trained anew."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from sammil_cli.report.intervals import Estimate, metrics_of_draws, percentiles
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.paired_tests import delong_test, mcnemar
from sammil_cli.training.thresholds import Values

METRICS = ("auc", "accuracy", "f1", "balanced_accuracy", "brier")
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A metric of the second run minus that of the first, over the same test patients.

    `fixed`: the trained models held as they are, patients drawn again. `value`: models trained anew (and folds drawn
    anew) as well; the same as `fixed` where no run has a second repeat, since nothing then says how far a training
    moves (`retraining_known` is false). `repeats`: of the first and the second run. `p`: two-sided, of "no difference",
    by the interval of `value`. `delong`: DeLong's paired test of the first repeat, for the AUC of two classes, else
    None; `mcnemar`: exact, of the decisions of the first repeat. Both take slides as independent and hold the models.
    """

    metric: str
    value: Estimate
    fixed: Estimate
    repeats: tuple[int, int]
    retraining_known: bool
    p: float
    delong: float | None
    mcnemar: float
    level: float


def compare_predictions(
    first: Predictions, second: Predictions, metric: str, *, level: float, draws: int
) -> Comparison:
    """One metric of two runs, see `Comparison`.

    Args:
        metric: one of `METRICS`. level: of the intervals, such as 0.95. draws: of patients.

    Raises:
        InputError: the runs differ in their slides, in the label or in the patient of a slide.
    """
    return compare_metrics(first, second, (metric,), level=level, draws=draws)[metric]


def compare_metrics(
    first: Predictions, second: Predictions, names: Sequence[str] = METRICS, *, level: float, draws: int
) -> dict[str, Comparison]:
    """Several metrics of two runs on the same draws of patients; see `compare_predictions`."""
    one, other = metrics_of_draws(first, second, draws=draws)
    tests = _tests(first, second)
    patients, paired = len(set(first.patients)), _same_folds(first, second)
    found = {}
    for name in names:
        gap = other[name].mean(axis=0) - one[name].mean(axis=0)
        fixed = percentiles(float(gap[0]), gap[1:], level)
        by_patients = float(np.nanvar(gap[1:], ddof=1)) if len(gap) > 2 else math.nan
        noise, freedom = _retraining(one[name][:, 0], other[name][:, 0], paired=paired)
        value, p = _with_noise(fixed, by_patients, patients - 1, noise, freedom, level)
        found[name] = Comparison(
            metric=name,
            value=value,
            fixed=fixed,
            repeats=(len(one[name]), len(other[name])),
            retraining_known=not math.isnan(noise),
            p=p,
            delong=tests[0] if name == "auc" else None,
            mcnemar=tests[1],
            level=level,
        )
    return found


def _retraining(first: Values, second: Values, *, paired: bool) -> tuple[float, float]:
    """The variance that training adds to the difference of mean values, and its degrees of freedom; NaN = unknown.

    Args:
        first, second: (R,) values of each repeat. paired: repeats of both have the same folds.
    """
    if paired and len(first) == len(second) > 1:
        return float((second - first).var(ddof=1)) / len(first), len(first) - 1.0
    if min(len(first), len(second)) < 2:
        return math.nan, math.nan
    parts = [(float(run.var(ddof=1)) / len(run), len(run) - 1) for run in (first, second)]
    total = sum(part for part, _ in parts)
    below = sum(part**2 / freedom for part, freedom in parts)
    return total, total**2 / below if below else min(freedom for _, freedom in parts)


def _with_noise(
    fixed: Estimate, by_patients: float, of_patients: float, noise: float, of_noise: float, level: float
) -> tuple[Estimate, float]:
    """The t-interval with Welch-Satterthwaite degrees of freedom, and p."""
    known = 0.0 if math.isnan(noise) else noise
    variance = by_patients + known
    if not variance > 0 or math.isnan(fixed.value):
        return fixed, 1.0 if fixed.value == 0 else math.nan
    below = by_patients**2 / of_patients + (known**2 / of_noise if known else 0.0)
    freedom, error = variance**2 / below, math.sqrt(variance)
    p = float(2 * student.sf(abs(fixed.value) / error, freedom))
    if math.isnan(noise):
        return fixed, p
    reach = float(student.ppf((1 + level) / 2, freedom)) * error
    return Estimate(fixed.value, fixed.value - reach, fixed.value + reach), p


def _same_folds(first: Predictions, second: Predictions) -> bool:
    """Whether both runs put every slide of every repeat into the same fold."""
    one, other = (
        {
            (slide, repeat): fold
            for slide, repeat, fold in zip(r.slides, r.repeat.tolist(), r.fold.tolist(), strict=True)
        }
        for r in (first, second)
    )
    return one == other


def _tests(first: Predictions, second: Predictions) -> tuple[float | None, float]:
    """DeLong's and McNemar's p of the first repeats."""
    one, other = (next(run.by_repeat()) for run in (first, second))
    order = [np.argsort(np.array(run.slides)) for run in (one, other)]
    labels = one.labels[order[0]]
    calls = [run.predicted[at] for run, at in zip((one, other), order, strict=True)]
    scores = [run.probabilities[at, 1] for run, at in zip((one, other), order, strict=True)]
    area = delong_test(labels, *scores) if one.probabilities.shape[1] == 2 else None
    return area, mcnemar(labels, *calls)


def verdict(comparison: Comparison, other_seed: Comparison | None, *, adjusted: float | None = None) -> str:
    """What a comparison shows, in a plain sentence: "higher" or "lower" only where all of this holds, else why not.

    The interval leaves out 0; retraining noise is in it; the difference is larger than all that the interval of the
    same model with another seed allows.

    Args:
        other_seed: the reference beside the same model trained with another seed; None = not trained.
        adjusted: p by `paired_tests.holm`, where several runs are compared; None = one comparison.
    """
    value = comparison.value
    shown = value.low > 0 or value.high < 0
    if not shown or (adjusted is not None and not adjusted < 1 - comparison.level):
        return NO_DIFFERENCE
    if not comparison.retraining_known:
        return f"{NO_DIFFERENCE}: one repeat says nothing of another training"
    if other_seed is not None and abs(value.value) <= reach(other_seed):
        return f"{NO_DIFFERENCE}: another seed alone may move it as far"
    return "higher" if value.value > 0 else "lower"


def reach(other_seed: Comparison) -> float:
    """How far another seed alone may move the metric: the far end of its interval; infinite where it has none."""
    ends = max(abs(other_seed.value.low), abs(other_seed.value.high))
    return math.inf if math.isnan(ends) else ends
