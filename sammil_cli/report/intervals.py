"""Intervals: patients drawn again (bootstrap) for every metric, DeLong's for the AUC, and differences of two runs.

All of them hold the trained models as they are: they say how far the numbers would move with other test patients, not
with other training patients.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata

from sammil_cli.errors import InputError
from sammil_cli.report.metrics import Predictions, weighted_metrics
from sammil_cli.training.thresholds import Labels, Values

_SEED = 20_240_229  # fixed: the same predictions give the same interval
_CELLS = 4_000_000  # weights held at once


@dataclass(frozen=True)
class Estimate:
    """A number and its interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def bootstrap(rows: Predictions, *, level: float, draws: int) -> dict[str, Estimate]:
    """Each metric of the pooled out-of-fold predictions with its percentile interval.

    Patients are drawn with replacement, with all their slides and in all repeats, within their class (a patient's
    highest one), so that each draw has the cohort's share of each class. With several repeats a metric is the mean
    over repeats of its value on that repeat's pooled predictions. Draws where a metric is not defined are left out
    of it.

    Args:
        level: confidence level, such as 0.95.
    """
    names, patient = np.unique(rows.patients, return_inverse=True)
    values = _statistic(rows, patient, np.ones((1, len(names))))
    drawn = [_statistic(rows, patient, counts) for counts in _draw(rows, patient, draws)]
    return {
        name: percentiles(float(values[name][0]), np.concatenate([one[name] for one in drawn]), level)
        for name in values
    }


def paired_difference(first: Predictions, second: Predictions, metric: str, *, level: float, draws: int) -> Estimate:
    """A metric of the second run minus that of the first, with its percentile interval.

    The same draws of patients are applied to both runs. The runs may differ in their folds and number of repeats.

    Args:
        metric: one of `weighted_metrics`.

    Raises:
        InputError: the runs differ in their slides, in the label or in the patient of a slide.
    """
    runs = metrics_of_draws(first, second, draws=draws)
    gap = runs[1][metric].mean(axis=0) - runs[0][metric].mean(axis=0)
    return percentiles(float(gap[0]), gap[1:], level)


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
    blocks = [np.ones((1, len(names))), *_draw(first, patient, draws)]
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
    together = rankdata(np.concatenate([positive, negative]))
    return (together[:m] - rankdata(positive)) / n, 1 - (together[m:] - rankdata(negative)) / m


def _delong(labels: Labels, scores: Values) -> tuple[float, float]:
    """AUC of scores (s,) and its variance."""
    of_positive, of_negative = placements(labels, scores)
    m, n = len(of_positive), len(of_negative)
    variance = of_positive.var(ddof=1) / m + of_negative.var(ddof=1) / n if min(m, n) > 1 else math.nan
    return float(of_positive.mean()), float(variance)


def _statistic(rows: Predictions, patient: NDArray[np.int64], counts: Values) -> dict[str, Values]:
    """Metrics (D,) when patient p counts counts[:, p] times: the mean over repeats."""
    return {name: found.mean(axis=0) for name, found in _of_repeats(rows, patient, counts).items()}


def _of_repeats(rows: Predictions, patient: NDArray[np.int64], counts: Values) -> dict[str, Values]:
    """Metrics (R, D) of each repeat when patient p counts counts[:, p] times."""
    found = []
    for repeat in np.unique(rows.repeat):
        part = rows.repeat == repeat
        weights = counts[:, patient[part]]
        found.append(weighted_metrics(rows.labels[part], rows.predicted[part], rows.probabilities[part], weights))
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def _draw(rows: Predictions, patient: NDArray[np.int64], draws: int) -> Iterator[Values]:
    """How often each patient is drawn, (D, P) in blocks of D that fit in memory."""
    top = np.zeros(int(patient.max()) + 1, np.int64)
    np.maximum.at(top, patient, rows.labels)
    return draw_patients(top, draws, max(1, _CELLS // len(patient)))


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
