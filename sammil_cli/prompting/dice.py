"""How well a mask meets the true one: Dice and IoU, and intervals of their means that draw patients anew.

Both numbers are always named: a mask of IoU 0.5 has a Dice of 0.67.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from sammil_cli.report.intervals import Estimate, draw_patients, percentiles

Mask = NDArray[np.bool_]
Scores = NDArray[np.float64]

_CELLS = 4_000_000  # counts held at once
_HOLDS = 0.02  # an interval that holds the truth more seldom than its level, by more than this, is called too narrow


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Of a mask A and the true one B: `dice` = 2 |A ∩ B| / (|A| + |B|), `iou` = |A ∩ B| / |A ∪ B|; 0 to 1."""

    dice: float
    iou: float


def overlap(mask: Mask, truth: Mask) -> Overlap:
    """Dice and IoU of two masks of one shape. Both are 1 where both masks are empty, 0 where one of them is."""
    shared, together = int(np.count_nonzero(mask & truth)), int(np.count_nonzero(mask | truth))
    if not together:
        return Overlap(dice=1.0, iou=1.0)
    return Overlap(dice=2 * shared / (shared + together), iou=shared / together)


def mean_over_patients(values: Scores, patients: Sequence[str], *, level: float, draws: int) -> Estimate:
    """The mean of samples with its percentile interval: patients are drawn with replacement, with all their samples.

    The difference of two models that answered the same samples is the mean of the samples' differences. With one
    patient the ends are NaN: nothing says how patients differ. See `held` for how few are too few.

    Args:
        values: (n,) one per sample. patients: n ids.
        level: confidence level, such as 0.95.
    """
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan)
    names, patient = np.unique(patients, return_inverse=True)
    value = float(np.mean(values))
    if len(names) < 2:
        return Estimate(value, math.nan, math.nan)
    sums, sizes = np.bincount(patient, weights=values), np.bincount(patient)
    blocks = draw_patients(np.zeros(len(names), np.int64), draws, max(1, _CELLS // len(names)))
    return percentiles(value, np.concatenate([(counts @ sums) / (counts @ sizes) for counts in blocks]), level)


def held(patients: int, level: float) -> float:
    """How often such an interval of a mean over these patients holds the truth; `level` at best, NaN for one patient.

    For patients of one size with normal means: their bootstrap takes the variance n / (n - 1) too small and the normal
    quantile for Student's.
    """
    if patients < 2:
        return math.nan
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt((patients - 1) / patients)
    return float(1 - 2 * student.sf(reach, patients - 1))


def too_few(patients: int, level: float) -> str | None:
    """What is to be said of intervals of so few patients; None where they are enough (22 for a level of 0.95)."""
    if patients < 2:
        return "All samples are of one patient: nothing says how patients differ, and no interval can be given."
    share = held(patients, level)
    if level - share <= _HOLDS:
        return None
    return (
        f"{patients} patients are few: such an interval holds the truth {share:.0%} of the time rather than "
        f"{level:.0%} (if patients' means are normal), so it is too narrow."
    )
