"""Positive slides in bins of the area of their lesions, and the share of each bin that is found.

With Wilson's interval, for as many trials as the patients are worth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.estimate import Estimate

_BINS = 3


@dataclass(frozen=True, kw_only=True)
class Positives:
    """What a model says of the positive slides: `found` (s,), the share of repeats that call it positive.

    `probability` (s,): mean over repeats, calibrated; `area` (s,): of the lesions, mm².
    """

    slides: Sequence[str]
    patients: Sequence[str]
    area: NDArray[np.float64]
    found: NDArray[np.float64]
    probability: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Positive slides with lesions from `low` to `high` mm², and the share of them that is found."""

    low: float
    high: float
    slides: int
    patients: int
    recall: Estimate


def bins_of(positives: Positives, edges: Sequence[float], *, level: float) -> list[Bin]:
    """The bins between edges (mm²) that hold a slide; a slide on an edge belongs to the upper one."""
    number = np.searchsorted(np.array(edges), positives.area, side="right")
    limits = [0.0, *edges, math.inf]
    found = []
    for place in range(len(limits) - 1):
        own = np.flatnonzero(number == place)
        if len(own):
            patients = [positives.patients[i] for i in own.tolist()]
            recall = recall_of(positives.found[own], patients, level=level)
            found.append(
                Bin(
                    low=limits[place],
                    high=limits[place + 1],
                    slides=len(own),
                    patients=len(set(patients)),
                    recall=recall,
                )
            )
    return found


def recall_of(found: NDArray[np.float64], patients: Sequence[str], *, level: float) -> Estimate:
    """The share of slides that are found, with Wilson's interval for as many trials as the patients are worth.

    Slides of a patient may all be found or missed together. So the number of trials is Kish's (Σm)² / Σm² for
    patients of m slides each: the number of slides where each has one, fewer otherwise. Unlike a bootstrap's, the
    interval has a width where all slides are found.
    """
    _, sizes = np.unique(patients, return_counts=True)
    trials = float(sizes.sum() ** 2 / (sizes**2).sum())
    share = float(found.mean())
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    reach = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return Estimate(share, max(0.0, middle - reach), min(1.0, middle + reach))


def terciles(areas: NDArray[np.float64]) -> list[float]:
    """Edges that give bins of equal numbers, half-way between two areas."""
    ordered = np.unique(areas)
    places = [round(len(ordered) * part / _BINS) for part in range(1, _BINS)]
    return sorted({float(math.sqrt(ordered[at - 1] * ordered[at])) for at in places if 0 < at < len(ordered)})
