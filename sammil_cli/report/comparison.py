"""Two runs on the same test patients: how far their metrics differ, with other patients and trained anew."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sammil_cli.report.estimate import Estimate
from sammil_cli.report.intervals import independent_patients, largest, metrics_of_draws, patients_of_classes
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.paired_tests import delong_test, mcnemar
from sammil_cli.report.shared_slides import fold_of
from sammil_cli.report.spread import Retraining, difference, of_repeats, spread, t_interval, t_test, together
from sammil_cli.training.thresholds import Values

METRICS = ("auc", "accuracy", "f1", "balanced_accuracy", "brier")
HIGHER, LOWER = "higher", "lower"
NO_DIFFERENCE = "no difference shown"
ONE_REPEAT = "open: needs repeats"  # an interval without 0, of models of one training each
LIKE_ANOTHER_SEED = "no more than a seed"
WHAT_VERDICTS_MEAN = (
    f"{HIGHER.capitalize()} or {LOWER}: the interval leaves out 0, p (Holm) agrees, and another seed alone moves the "
    f"number less. {ONE_REPEAT.capitalize()}: one training of each says nothing of the next one; set repeats to 3 or "
    f"more. {LIKE_ANOTHER_SEED.capitalize()}: the same model with another seed may differ as much. "
    f"{NO_DIFFERENCE.capitalize()}: that proves no equality, least of all where the interval has no width, since both "
    "call these very patients alike."
)


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
    mcnemar: float | None
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
    """Several metrics of two runs on the same draws of patients; see `compare_predictions`.

    The variance of a difference is that over draws of patients, of the mean over repeats, plus that between repeats
    over their number; the interval is Student's with Welch-Satterthwaite degrees of freedom. The two parts share what
    chance in training does to single patients, so with few repeats the interval holds the truth a little more often
    than it says (docs/evaluation.md).
    """
    one, other = metrics_of_draws(first, second, draws=draws)
    area, decisions = _tests(first, second)
    sizes, paired = patients_of_classes(first), fold_of(first) == fold_of(second)
    found = {}
    for name in names:
        gap = other[name].mean(axis=0) - one[name].mean(axis=0)
        patients = independent_patients(name, sizes)
        noise = _retraining(one[name][:, 0], other[name][:, 0], paired=paired)
        whole = spread(gap, patients, noise)
        found[name] = Comparison(
            metric=name,
            value=t_interval(whole, level, largest(name)),
            fixed=t_interval(spread(gap, patients, None), level, largest(name)),
            repeats=(len(one[name]), len(other[name])),
            retraining_known=noise is not None,
            p=t_test(whole),
            delong=area if name == "auc" else None,
            mcnemar=decisions,
            level=level,
        )
    return found


def compare_unpaired(
    first: Predictions, second: Predictions, names: Sequence[str] = METRICS, *, level: float, draws: int
) -> dict[str, Comparison]:
    """Several metrics of two runs that share no patient: the variances of both add up, and no test is paired."""
    runs = [(run, metrics_of_draws(run, run, draws=draws)[0], patients_of_classes(run)) for run in (first, second)]
    found = {}
    for name in names:
        alone = [
            (drawn[name].mean(axis=0), independent_patients(name, sizes), of_repeats(drawn[name][:, 0]))
            for _, drawn, sizes in runs
        ]
        fixed = difference(*(spread(values, patients, None) for values, patients, _ in alone))
        noises = [noise for *_, noise in alone]
        known = None not in noises
        whole = difference(*(spread(values, n, noise) for values, n, noise in alone)) if known else fixed
        found[name] = Comparison(
            metric=name,
            value=t_interval(whole, level, largest(name)),
            fixed=t_interval(fixed, level, largest(name)),
            repeats=(len(runs[0][1][name]), len(runs[1][1][name])),
            retraining_known=known,
            p=t_test(whole),
            delong=None,
            mcnemar=None,
            level=level,
        )
    return found


def _retraining(first: Values, second: Values, *, paired: bool) -> Retraining | None:
    """What training anew adds to the difference of means over repeats.

    Args:
        first, second: (R,) values of each repeat. paired: repeats of both have the same folds.
    """
    if paired:
        return of_repeats(second - first)
    return together(of_repeats(first), of_repeats(second))


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
    """What a comparison shows: `HIGHER` or `LOWER` only where all of this holds, else which of it does not.

    The interval leaves out 0 (and the adjusted p is below 1 - level); retraining noise is in it; the difference is
    larger than all that the interval of the same model with another seed allows.

    Args:
        other_seed: the reference beside the same model trained with another seed; None = not trained.
        adjusted: p by `paired_tests.holm`, where several runs are compared; None = one comparison.
    """
    value = comparison.value
    shown = value.low > 0 or value.high < 0
    if not shown or (adjusted is not None and not adjusted < 1 - comparison.level):
        return NO_DIFFERENCE
    if not comparison.retraining_known:
        return ONE_REPEAT
    if other_seed is not None and abs(value.value) <= reach(other_seed):
        return LIKE_ANOTHER_SEED
    return HIGHER if value.value > 0 else LOWER


def reach(other_seed: Comparison) -> float:
    """How far another seed alone may move the metric: the far end of its interval; infinite where it has none."""
    ends = max(abs(other_seed.value.low), abs(other_seed.value.high))
    return math.inf if math.isnan(ends) else ends
