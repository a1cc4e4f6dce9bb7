"""Tests of two judges of the same slides: the AUC by DeLong, decisions by McNemar; several p-values by Holm."""

import math
from collections.abc import Sequence
from statistics import NormalDist

from scipy.stats import binomtest

from sammil_cli.report.intervals import placements
from sammil_cli.training.thresholds import Labels, Values


def delong_test(labels: Labels, first: Values, second: Values) -> float:
    """Two-sided p of "both AUCs are equal", DeLong, DeLong and Clarke-Pearson 1988.

    Slides count as independent, so p is too small where patients have several. 1 where both rank alike, NaN where a
    class has fewer than two slides, or where the difference has no variance (both AUCs are 0 or 1).

    Args:
        labels: (s,) 0 or 1. first, second: (s,) probability of class 1 by each judge.
    """
    if min(labels.sum(), len(labels) - labels.sum()) < 2:
        return math.nan
    (positive, negative), (others, rest) = placements(labels, first), placements(labels, second)
    higher, lower = others - positive, rest - negative
    if not higher.any() and not lower.any():
        return 1.0 if 0 < positive.mean() < 1 else math.nan
    variance = higher.var(ddof=1) / len(higher) + lower.var(ddof=1) / len(lower)
    if not variance > 0:
        return math.nan
    return 2 * NormalDist().cdf(-abs(float(higher.mean())) / math.sqrt(variance))


def mcnemar(labels: Labels, first: Labels, second: Labels) -> float:
    """Two-sided exact p of "both call as many slides right": binomial, of the slides that one of them calls right.

    Slides count as independent. 1 where no such slide is found.

    Args:
        labels, first, second: (s,) the true class and that called by each judge.
    """
    right, also = first == labels, second == labels
    only_first, only_second = int((right & ~also).sum()), int((also & ~right).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979): below alpha they are wrong in no more than alpha of families.

    NaN stays NaN and does not count.
    """
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    adjusted, reached = [math.nan] * len(p), 0.0
    for rank, (value, place) in enumerate(known):
        reached = max(reached, min(1.0, (len(known) - rank) * value))
        adjusted[place] = reached
    return adjusted
