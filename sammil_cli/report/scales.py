"""Values of patches as places on a scale from 0 to 1, and lengths of scale bars."""

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MOST_TIMES = 100.0  # where the scale of attention ends: all above looks alike


def times_mean(attention: Values) -> Values:
    """Attention (n,) in times the slide's mean: 1 is what a patch has where all have the same."""
    total = float(attention.sum())
    return attention * (len(attention) / total) if total > 0 else np.ones_like(attention)


def attention_place(times: Values) -> Values:
    """Places of `times_mean`: 0 up to 1x, 0.5 at 10x, 1 from 100x on; logarithmic, and the same for every slide.

    What has less than the mean looks like what has the mean, so that a slide of even attention is of one colour, and a
    lone focus stands out by how much it has, however many patches there are.
    """
    return np.asarray(np.log(np.clip(times, 1, MOST_TIMES)) / math.log(MOST_TIMES), np.float64)


def evidence_place(evidence: Values, classes: int) -> Values:
    """Places of probabilities 0-1: 0.5 at 1 / `classes`, where a patch speaks for no class; straight to either end."""
    return np.interp(evidence, [0, 1 / classes, 1], [0, 0.5, 1])


def round_length(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return power * max(step for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))


def percentile_rank(values: Values) -> Values:
    """Rank of each value among all, 0-1, ties sharing their mean rank: a scale that one huge value cannot flatten."""
    from scipy.stats import rankdata  # here: it takes a second to load

    return np.asarray((rankdata(values) - 1) / max(len(values) - 1, 1), np.float64)


def min_max(values: Values) -> Values:
    """Values scaled to 0-1 by the least and the largest; 0 where all are equal."""
    low, span = values.min(initial=np.inf), np.ptp(values) if len(values) else 0.0
    return (values - low) / span if span > 0 else np.zeros_like(values)
