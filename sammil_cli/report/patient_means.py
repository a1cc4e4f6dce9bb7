"""A mean over slides, with an interval from patients drawn anew."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.estimate import Estimate
from sammil_cli.report.intervals import draw_patients
from sammil_cli.report.spread import score_interval, spread, t_interval


def mean_share(values: NDArray[np.float64], patients: Sequence[str], *, level: float, draws: int) -> Estimate:
    """The mean of numbers (s,) from 0 to 1, such as AUCs and hits, with Wilson's interval (`spread.score_interval`).

    A patient is drawn with all its slides.

    Args:
        patients: of each slide. level: of the interval, such as 0.95. draws: how often patients are drawn.
    """
    drawn, count = _draws(values, patients, draws)
    return score_interval(spread(drawn, max(count, 2), None), level, count)


def mean_difference(values: NDArray[np.float64], patients: Sequence[str], *, level: float, draws: int) -> Estimate:
    """As `mean_share`, of numbers from -1 to 1 with Student's interval; one patient has no interval."""
    drawn, count = _draws(values, patients, draws)
    found = t_interval(spread(drawn, max(count, 2), None), level)
    return found if count > 1 else Estimate(found.value, math.nan, math.nan)


def _draws(values: NDArray[np.float64], patients: Sequence[str], draws: int) -> tuple[NDArray[np.float64], int]:
    """(1 + D,) the mean, then that of each draw; and how many patients there are."""
    names, patient = np.unique(list(patients), return_inverse=True)
    drawn = [values.mean(keepdims=True)]
    for counts in draw_patients(np.zeros(len(names), np.int64), draws, draws):
        weights = counts[:, patient]
        drawn.append(weights @ values / weights.sum(axis=1))
    return np.concatenate(drawn), len(names)
