"""Pooled ROC and precision-recall curves with a band: how far they move with other test patients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.intervals import draws_of
from sammil_cli.report.metrics import Predictions
from sammil_cli.training.thresholds import Labels, Values

_GRID = np.linspace(0, 1, 101)
_MOST_DRAWS = 1000  # a band is drawn, and read no finer than this


@dataclass(frozen=True, kw_only=True)
class Band:
    """A curve at g places of x between 0 and 1: `value`, and `low` and `high` of the band around it, (g,) each."""

    name: str
    x: Values
    value: Values
    low: Values
    high: Values


def roc_bands(rows: Predictions, classes: Sequence[str], *, level: float, draws: int) -> list[Band]:
    """The pooled ROC curve of class 1, or of each of more than two against the rest; none where one is missing.

    All test parts together; of several repeats the mean of their curves at equal false positive rates. The band holds
    the models as they are and draws patients anew (`intervals.bootstrap`): percentiles at each place of x.

    Args:
        level: of the band, such as 0.95. draws: of patients; 1000 at most are taken.
    """
    return _bands(rows, classes, _sensitivity, level, draws)


def pr_bands(rows: Predictions, classes: Sequence[str], *, level: float, draws: int) -> list[Band]:
    """As `roc_bands`: precision at the highest threshold that reaches a recall."""
    return _bands(rows, classes, _precision, level, draws)


_Height = Callable[[Values, Values], Values]  # hits and false alarms (D, k), both rising -> heights (D, g)


def _bands(rows: Predictions, classes: Sequence[str], height: _Height, level: float, draws: int) -> list[Band]:
    found = []
    for index in [1] if len(classes) == 2 else range(len(classes)):
        of_class = rows.against_rest(index)
        if 0 < of_class.labels.sum() < len(of_class.labels):
            value, low, high = _band(of_class, height, level, draws)
            found.append(Band(name=classes[index], x=_GRID, value=value, low=low, high=high))
    return found


def _band(rows: Predictions, height: _Height, level: float, draws: int) -> tuple[Values, Values, Values]:
    names, patient = np.unique(rows.patients, return_inverse=True)
    counts = np.concatenate([np.ones((1, len(names))), *draws_of(rows, patient, min(draws, _MOST_DRAWS))])
    heights = []
    for repeat in np.unique(rows.repeat):
        part = rows.repeat == repeat
        weights = counts[:, patient[part]]
        heights.append(height(*_along(rows.labels[part], rows.probabilities[part, 1], weights)))
    mean = np.mean(heights, axis=0)
    low, high = np.nanquantile(mean[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return mean[0], low, high


def _along(labels: Labels, scores: Values, weights: Values) -> tuple[Values, Values]:
    """Weighted hits and false alarms (D, k) at each of the k distinct scores, from the highest one on.

    Args:
        labels, scores: (s,). weights: (D, s).
    """
    order = np.argsort(-scores, kind="stable")
    ends: NDArray[np.int64] = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    positive = labels[order] == 1
    hits = np.cumsum(weights[:, order] * positive, axis=1)[:, ends]
    false = np.cumsum(weights[:, order] * ~positive, axis=1)[:, ends]
    return hits, false


def _sensitivity(hits: Values, false: Values) -> Values:
    """At each false positive rate of the grid; where the curve jumps, its upper end. NaN without one of the classes."""
    found = np.full((len(hits), len(_GRID)), np.nan)
    for place, (up, across) in enumerate(zip(hits, false, strict=True)):
        if up[-1] > 0 and across[-1] > 0:
            found[place] = np.interp(_GRID, np.r_[0, across / across[-1]], np.r_[0, up / up[-1]])
    return found


def _precision(hits: Values, false: Values) -> Values:
    """At each recall of the grid. NaN without class 1."""
    found = np.full((len(hits), len(_GRID)), np.nan)
    for place, (up, across) in enumerate(zip(hits, false, strict=True)):
        if up[-1] > 0:
            first = np.searchsorted(up / up[-1], np.maximum(_GRID, 1e-9) - 1e-12)
            found[place] = up[first] / (up[first] + across[first])
    return found
