"""Whether probabilities mean on other slides what they meant: calibration intercept and slope (Cox 1958)."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from sammil_cli.report.estimate import Estimate
from sammil_cli.report.intervals import draw_patients, independent_patients, patients_of_classes
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.spread import spread, t_interval
from sammil_cli.training.thresholds import Labels, Values

_STEPS = 50
_CONVERGED = 1e-8
_FARTHEST = 50.0  # a slope or intercept beyond it runs away: the classes do not overlap
_CELLS = 1_000_000  # weights held at once
_MOST_LOST = 0.1  # share of draws without a fit above which their spread says nothing
_NONE = Estimate(math.nan, math.nan, math.nan)


def recalibration(rows: Predictions, *, level: float, draws: int) -> dict[str, Estimate]:
    """`intercept` and `slope` of two classes, NaN where no line fits: one class, or scores that do not overlap.

    logit P(y = 1) = slope * logit(p) + constant, by maximum likelihood; a slope of 1 is right, below 1 the
    probabilities are too extreme. The intercept is that of slope 1 (calibration in the large): 0 is right, above 0
    positives are commoner than the probabilities say. The intervals are Student's, of patients drawn anew from all
    (not within their class: how common the class is counts here).

    Args:
        rows: one repeat. level, draws: of the intervals.
    """
    truth, names = rows.labels, np.unique(rows.patients, return_inverse=True)[1]
    if len(np.unique(truth)) < 2 or rows.probabilities.shape[1] != 2:
        return {"intercept": _NONE, "slope": _NONE}
    tiny = np.finfo(np.float64).eps
    scores = logit(np.clip(rows.probabilities[:, 1], tiny, 1 - tiny))
    patients = int(names.max()) + 1
    drawn = draw_patients(np.zeros(patients, np.int64), draws, max(1, _CELLS // len(names)))
    blocks = [np.ones((1, patients)), *drawn]
    fits = np.concatenate([_fits(scores, truth, counts[:, names]) for counts in blocks])
    carrying = independent_patients("auc", patients_of_classes(rows))
    found = {}
    for place, name in enumerate(("intercept", "slope")):
        values = fits[:, place]
        estimate = t_interval(spread(values, carrying, None), level, math.inf)
        known = np.isnan(values[1:]).mean() <= _MOST_LOST
        found[name] = estimate if known else Estimate(estimate.value, math.nan, math.nan)
    return found


def _fits(scores: Values, truth: Labels, weights: Values) -> NDArray[np.float64]:
    """(D, 2): intercept at slope 1, and slope, for D weightings (D, s) of s slides, by Newton's method."""
    count = len(weights)
    at_one = _newton(scores[None] * np.ones((count, 1)), np.ones((1, len(scores))), truth, weights)
    both = _newton(np.zeros((count, len(scores))), np.stack([np.ones_like(scores), scores]), truth, weights)
    return np.stack([at_one[:, 0], both[:, 1]], axis=1)


def _newton(offset: Values, columns: Values, truth: Labels, weights: Values) -> NDArray[np.float64]:
    """Coefficients (D, k) of columns (k, s) besides an offset (D, s); NaN where they run away."""
    found = np.zeros((len(weights), len(columns)))
    moving = np.ones(len(weights), np.bool_)
    for _ in range(_STEPS):
        said = expit(offset[moving] + found[moving] @ columns)
        slope = (weights[moving] * (truth - said)) @ columns.T
        spread_of = weights[moving] * said * (1 - said)
        curve = np.einsum("ds,is,js->dij", spread_of, columns, columns) + 1e-12 * np.eye(len(columns))
        step = np.linalg.solve(curve, slope[:, :, None])[:, :, 0]
        step *= np.minimum(1, 2 / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-300))  # no wild first steps
        found[moving] += step
        still = (np.abs(step).max(axis=1) > _CONVERGED) & (np.abs(found[moving]).max(axis=1) < _FARTHEST)
        moving[np.flatnonzero(moving)[~still]] = False
        if not moving.any():
            break
    found[moving | (np.abs(found).max(axis=1) >= _FARTHEST)] = np.nan
    return found
