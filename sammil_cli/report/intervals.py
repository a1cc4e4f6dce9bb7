"""Intervals: of every metric from patients drawn again (bootstrap), of the AUC by DeLong.

With several repeats they say how far a number would move with other test patients and with models trained anew; with
one, with other test patients only: one training says nothing of the next.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from sammil_cli.errors import InputError
from sammil_cli.report.estimate import Estimate as Estimate
from sammil_cli.report.metrics import Predictions, weighted_metrics
from sammil_cli.report.spread import (
    Spread,
    log_interval,
    mean_of_shares,
    of_repeats,
    score_interval,
    spread,
    t_interval,
)
from sammil_cli.training.thresholds import Labels, Values

_SEED = 20_240_229  # fixed: the same predictions give the same interval
_CELLS = 4_000_000  # weights held at once


def bootstrap(rows: Predictions, *, level: float, draws: int) -> dict[str, Estimate]:
    """Each metric of the pooled out-of-fold predictions with its interval.

    Patients are drawn with replacement, with all their slides and in all repeats, within their class (a patient's
    highest one), so that each draw has the cohort's share of each class. With several repeats a metric is the mean
    over repeats of its value on that repeat's pooled predictions, and the variance between repeats is in the interval.
    Draws where a metric is not defined are left out of it. The draws give the variance; the interval is Wilson's with
    that variance, which keeps to 0 and 1 and holds the truth as often as it says down to 20 patients, where
    percentiles of the draws do not (docs/evaluation.md has both, simulated).

    Args:
        level: confidence level, such as 0.95.
    """
    names, patient = np.unique(rows.patients, return_inverse=True)
    blocks = [np.ones((1, len(names))), *draws_of(rows, patient, draws)]
    parts = [_of_repeats(rows, patient, counts) for counts in blocks]
    sizes = patients_of_classes(rows)
    found = {}
    for name in parts[0]:
        drawn = np.concatenate([part[name] for part in parts], axis=1)
        found[name] = spread(drawn.mean(axis=0), independent_patients(name, sizes), of_repeats(drawn[:, 0]))
    return {name: _interval(name, found, sizes, level) for name in found}


def _interval(name: str, found: Mapping[str, Spread], sizes: Sequence[int], level: float) -> Estimate:
    if name == "brier":
        several = _patients_of(name, sizes) > 1  # draws of a single patient do not vary
        return log_interval(found[name], level) if several else Estimate(found[name].value, math.nan, math.nan)
    if name == "balanced_accuracy" and "specificity" in found:
        return mean_of_shares(*(_interval(one, found, sizes, level) for one in ("sensitivity", "specificity")))
    return score_interval(found[name], level, _patients_of(name, sizes))


def patients_of_classes(rows: Predictions) -> list[int]:
    """How many patients each class has that has any; a patient counts for its highest one."""
    names, patient = np.unique(rows.patients, return_inverse=True)
    return [int(size) for size in np.unique(_highest(rows, patient, len(names)), return_counts=True)[1]]


def independent_patients(metric: str, sizes: Sequence[int]) -> int:
    """How many patients carry a metric, 2 at least: of a mean over classes as many as if all had the rarest one's.

    Args:
        sizes: patients of each class.
    """
    of_all = metric in ("auc", "f1", "balanced_accuracy")
    return max(2, _patients_of(metric, sizes) * (len(sizes) if of_all else 1))


def _patients_of(metric: str, sizes: Sequence[int]) -> int:
    if metric in ("accuracy", "brier"):
        return sum(sizes)
    if metric in ("sensitivity", "specificity"):
        return sizes[-1] if metric == "sensitivity" else sizes[0]
    return min(sizes)


def paired_difference(first: Predictions, second: Predictions, metric: str, *, level: float, draws: int) -> Estimate:
    """A metric of the second run minus that of the first, the models held as they are: Student's interval.

    For what retraining adds see `report.comparison`.

    Args:
        metric: one of `weighted_metrics`.

    Raises:
        InputError: the runs differ in their slides, in the label or in the patient of a slide.
    """
    one, other = metrics_of_draws(first, second, draws=draws)
    gap = other[metric].mean(axis=0) - one[metric].mean(axis=0)
    return t_interval(
        spread(gap, independent_patients(metric, patients_of_classes(first)), None), level, largest(metric)
    )


def largest(metric: str) -> float:
    """The largest value of a metric, and so the largest difference of two."""
    return 2.0 if metric == "brier" else 1.0


def metrics_of_draws(
    first: Predictions, second: Predictions, *, draws: int
) -> tuple[dict[str, Values], dict[str, Values]]:
    """Each metric of both runs on the same draws of patients.

    Returns:
        Of each run, metric -> (R, 1 + D): its R repeats; the cohort as it is, then D draws.

    Raises:
        InputError: the runs differ in their slides, in the label or in the patient of a slide.
    """
    _check_same_slides(first, second)
    names, patient = np.unique(first.patients, return_inverse=True)
    other = np.searchsorted(names, np.array(second.patients))
    blocks = [np.ones((1, len(names))), *draws_of(first, patient, draws)]
    found = []
    for run, of in ((first, patient), (second, other)):
        parts = [_of_repeats(run, of, counts) for counts in blocks]
        found.append({name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]})
    return found[0], found[1]


def delong(labels: Labels, scores: Values, *, level: float) -> Estimate:
    """AUC with the interval of DeLong, DeLong and Clarke-Pearson 1988, on the logit scale, so that it stays in (0, 1).

    Slides count as independent. The interval is NaN where the variance is 0 (an AUC of 0 or 1: no pair is out of
    order, and nothing says how rare such pairs are) or a class has fewer than two slides.

    Args:
        labels: (s,) 0 or 1. scores: (s,) probability of class 1.
    """
    if not 0 < labels.sum() < len(labels):
        return Estimate(math.nan, math.nan, math.nan)
    value, variance = _delong(labels, scores)
    if not variance > 0 or not 0 < value < 1:
        return Estimate(value, math.nan, math.nan)
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance) / (value * (1 - value))
    return Estimate(value, float(expit(logit(value) - reach)), float(expit(logit(value) + reach)))


def placements(labels: Labels, scores: Values) -> tuple[Values, Values]:
    """DeLong's components from midranks, as Sun and Xu 2014 compute them; the mean of either is the AUC.

    Args:
        labels: (s,) 0 or 1, both there. scores: (s,).

    Returns:
        V10 (m,): share of the negatives below each positive. V01 (n,): share of the positives above each negative.
    """
    positive, negative = scores[labels == 1], scores[labels == 0]
    m, n = len(positive), len(negative)
    from scipy.stats import rankdata  # here: it takes a second to load

    together = rankdata(np.concatenate([positive, negative]))
    return (together[:m] - rankdata(positive)) / n, 1 - (together[m:] - rankdata(negative)) / m


def _delong(labels: Labels, scores: Values) -> tuple[float, float]:
    """AUC of scores (s,) and its variance."""
    of_positive, of_negative = placements(labels, scores)
    m, n = len(of_positive), len(of_negative)
    variance = of_positive.var(ddof=1) / m + of_negative.var(ddof=1) / n if min(m, n) > 1 else math.nan
    return float(of_positive.mean()), float(variance)


def _of_repeats(rows: Predictions, patient: NDArray[np.int64], counts: Values) -> dict[str, Values]:
    """Metrics (R, D) of each repeat when patient p counts counts[:, p] times."""
    found = []
    for repeat in np.unique(rows.repeat):
        part = rows.repeat == repeat
        weights = counts[:, patient[part]]
        found.append(weighted_metrics(rows.labels[part], rows.predicted[part], rows.probabilities[part], weights))
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def draws_of(rows: Predictions, patient: NDArray[np.int64], draws: int) -> Iterator[Values]:
    """How often each patient is drawn, (D, P) in blocks of D that fit in memory.

    Args:
        patient: (r,) of each row, 0 to P - 1.
    """
    top = _highest(rows, patient, int(patient.max()) + 1)
    return draw_patients(top, draws, max(1, _CELLS // len(patient)))


def _highest(rows: Predictions, patient: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The highest class of each patient's slides, (P,)."""
    top = np.zeros(count, np.int64)
    np.maximum.at(top, patient, rows.labels)
    return top


def draw_patients(strata: NDArray[np.int64], draws: int, block: int) -> Iterator[Values]:
    """How often each patient is drawn with replacement, (D, P) in blocks of at most `block` draws; seeded.

    Args:
        strata: (P,) of each patient; those of one are drawn for one another.
    """
    generator = np.random.default_rng(_SEED)
    for start in range(0, draws, block):
        counts = np.zeros((min(block, draws - start), len(strata)))
        for one in np.unique(strata):
            members = np.flatnonzero(strata == one)
            counts[:, members] = generator.multinomial(
                len(members), np.full(len(members), 1 / len(members)), size=len(counts)
            )
        yield counts


def percentiles(value: float, drawn: Values, level: float) -> Estimate:
    """A number with the percentile interval of its draws (D,); draws that are NaN are left out."""
    drawn = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not len(drawn):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def _check_same_slides(first: Predictions, second: Predictions) -> None:
    one, other = (
        dict(zip(run.slides, zip(run.patients, run.labels.tolist(), strict=True), strict=True))
        for run in (first, second)
    )
    only = {name: sorted(a.keys() - b.keys()) for name, a, b in (("first", one, other), ("second", other, one))}
    if missing := [f"{len(ids)} only in the {name}, such as {ids[0]!r}" for name, ids in only.items() if ids]:
        raise InputError(
            f"the two runs judge different slides: {'; '.join(missing)}",
            remedy="compare runs on the same bags and labels",
        )
    for slide, facts in one.items():
        if facts != other[slide]:
            what = "patient" if facts[0] != other[slide][0] else "label"
            raise InputError(
                f"slide {slide!r} has another {what} in the second run", remedy="run both with the same labels.csv"
            )
