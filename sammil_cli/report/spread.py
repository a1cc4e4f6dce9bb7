"""How far a number would move with other test patients and with models trained anew, and the intervals from that."""

import math
from dataclasses import dataclass

import numpy as np

from sammil_cli.report.estimate import Estimate
from sammil_cli.training.thresholds import Values


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """The variance that training (and drawing folds) anew adds to a mean over repeats, and its degrees of freedom."""

    variance: float
    freedom: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A value with its variance and the degrees of freedom of that variance; NaN where it is not defined."""

    value: float
    variance: float
    freedom: float


def of_repeats(values: Values) -> Retraining | None:
    """What the spread of repeats (R,) says of their mean; None with a single one, which says nothing.

    Repeats have other folds, seeds and orders, so their variance over R is what one more such training would add.
    """
    if len(values) < 2:
        return None
    return Retraining(variance=float(values.var(ddof=1)) / len(values), freedom=len(values) - 1.0)


def together(first: Retraining | None, second: Retraining | None) -> Retraining | None:
    """That of a difference of two runs whose repeats have nothing in common."""
    if first is None or second is None:
        return None
    variance = first.variance + second.variance
    return Retraining(variance=variance, freedom=_welch([first, second]))


def spread(drawn: Values, independent: int, retraining: Retraining | None) -> Spread:
    """Variance over patients plus that over trainings, with Welch-Satterthwaite degrees of freedom.

    The part of the patients is the variance of the bootstrap draws, times n / (n - 1), which a bootstrap is short of.

    Args:
        drawn: (1 + D,) the value, then that of each draw of patients; NaN where one is not defined.
        independent: n, patients that carry the number (`independent_patients`), 2 or more.
        retraining: None = the models are held as they are.
    """
    value, draws = float(drawn[0]), drawn[1:][~np.isnan(drawn[1:])]
    if math.isnan(value) or len(draws) < 2:
        return Spread(value=value, variance=math.nan, freedom=math.nan)
    patients = Retraining(
        variance=float(draws.var(ddof=1)) * independent / (independent - 1), freedom=independent - 1.0
    )
    parts = [part for part in (patients, retraining) if part is not None]
    return Spread(value=value, variance=sum(part.variance for part in parts), freedom=_welch(parts))


def difference(first: Spread, second: Spread) -> Spread:
    """Second minus first, of two numbers that have no patient and no training in common."""
    parts = [Retraining(variance=one.variance, freedom=one.freedom) for one in (first, second)]
    return Spread(value=second.value - first.value, variance=first.variance + second.variance, freedom=_welch(parts))


def _welch(parts: list[Retraining]) -> float:
    below = sum(part.variance**2 / part.freedom for part in parts)
    return sum(part.variance for part in parts) ** 2 / below if below else parts[0].freedom


def t_interval(found: Spread, level: float, most: float = 1.0) -> Estimate:
    """Student's interval of a difference, cut to what a difference can be.

    Args:
        most: the largest difference; of two numbers between 0 and 1 it is 1.
    """
    reach = _quantile(found, level) * math.sqrt(found.variance)
    return Estimate(found.value, max(found.value - reach, -most), min(found.value + reach, most))  # NaN stays NaN


def t_test(found: Spread) -> float:
    """Two-sided p of "the difference is 0", by the interval of `t_interval`; 1 where nothing differs in any draw."""
    if found.variance > 0:
        from scipy.stats import t as student  # here: it takes a second to load

        return float(2 * student.sf(abs(found.value) / math.sqrt(found.variance), found.freedom))
    return 1.0 if found.value == 0 and found.variance == 0 else math.nan


def score_interval(found: Spread, level: float, certain: int) -> Estimate:
    """Wilson's interval of a share, for any number between 0 and 1 (Wilson 1927; for the AUC Kottas et al. 2014).

    It takes the number as a share of n slides, with the n that gives its variance, and t for the normal quantile.

    Args:
        certain: patients that carry it: n where the number is 0 or 1 and has no variance, which is no certainty.
    """
    value, variance = found.value, found.variance
    if math.isnan(value) or math.isnan(variance):
        return Estimate(value, math.nan, math.nan)
    if not variance > 0 and 0 < value < 1:  # as the AUC of one score for all; of a single patient nothing is known
        return Estimate(value, value, value) if certain > 1 else Estimate(value, math.nan, math.nan)
    n = value * (1 - value) / variance if variance > 0 and 0 < value < 1 else float(certain)
    z = _quantile(found, level)
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + (z / (2 * n)) ** 2)
    # The ends reach 0 and 1 but for rounding.
    return Estimate(value, max(0.0, min(value, middle - reach)), min(1.0, max(value, middle + reach)))


def mean_of_shares(first: Estimate, second: Estimate) -> Estimate:
    """The interval of a mean of two numbers that vary apart, from those of both (Zou and Donner's MOVER 2008)."""
    value = (first.value + second.value) / 2
    down = math.hypot(first.value - first.low, second.value - second.low) / 2
    up = math.hypot(first.high - first.value, second.high - second.value) / 2
    return Estimate(value, value - down, value + up)


def difference_of(first: Estimate, second: Estimate) -> Estimate:
    """Second minus first, of two independent numbers, by the intervals of both (MOVER, Zou and Donner 2008)."""
    value = second.value - first.value
    down = math.hypot(second.value - second.low, first.high - first.value)
    up = math.hypot(second.high - second.value, first.value - first.low)
    return Estimate(value, value - down, value + up)


def log_interval(found: Spread, level: float) -> Estimate:
    """Student's interval on the logarithmic scale, for a positive number without a fixed end, such as a Brier score."""
    if not found.value > 0:
        return Estimate(found.value, math.nan, math.nan)
    reach = math.exp(_quantile(found, level) * math.sqrt(found.variance) / found.value)
    return Estimate(found.value, found.value / reach, found.value * reach)


def _quantile(found: Spread, level: float) -> float:
    from scipy.stats import t as student  # here: it takes a second to load

    return float(student.ppf((1 + level) / 2, found.freedom))
